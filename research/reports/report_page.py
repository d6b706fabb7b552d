"""The page of a backtest's report: one HTML file that loads no other file, for light and dark screens, phones and
paper.

Each cell of a figure has the path of the figure in the report's JSON (`data-figure`) and its value there
(`data-value`). A test compares them with the JSON.
"""

from quantd.research.reports.page_curves import charts_of
from quantd.research.reports.page_parts import chart_document
from quantd.research.reports.page_sections import SECTIONS, top
from quantd.research.reports.report_contents import BacktestReport


def page(report: BacktestReport) -> str:
    h, charts = report.header, charts_of(report)
    parts = (top(report), *(section.html(report, charts) for section in SECTIONS))
    return chart_document(f"Backtest of {h.name}, {h.first} to {h.last}", "\n".join(parts), charts)
