"""The section of a report with the hashes of the run's inputs, and the notes."""

from typing import Final

from quantd.daemon.views.report.markup import row
from quantd.research.reports.page_parts import figure, paragraph, table
from quantd.research.reports.report_contents import BacktestReport
from quantd.research.reports.sections.section import Charts, Section


def provenance(report: BacktestReport, _: Charts) -> str:
    """Return what the result was computed from (digests, code, capital), and the notes, as HTML.

    The helper `figure` makes a cell from the number's path in the report's JSON, the number, its unit and a CSS class.
    """
    header = report.header
    rows = [
        row("configuration", figure("header.config", header.config, "text", "hash")),
        row("market data", figure("header.market", header.market, "text", "hash")),
        row("effects of the run", figure("header.digest", header.digest, "text", "hash")),
        row("code", figure("header.version", header.version, "text", "hash")),
        row("commit", figure("header.commit", header.commit, "text", "hash")),
        row("source of the bars", figure("header.source", header.source, "text", "hash")),
        row("seed of the costs", figure("header.seed", header.seed, "text", "")),
        row("capital", figure("header.capital", header.capital, "money", "")),
        row("samples", figure("header.samples", header.samples, "count", "")),
        row("risk-free rate, annual", figure("header.risk_free_annual", header.risk_free_annual, "fraction", "")),
    ]
    return table((), rows) + "".join(map(paragraph, report.notes))


SECTION: Final = Section(
    "provenance",
    140,
    "Provenance",
    provenance,
    heading="Provenance and notes",
    about="hashes of configuration, bars and effects; version of the code; notes",
)
