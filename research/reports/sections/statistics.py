"""The section of a report on the Sharpe ratio's significance, and the whole account against each benchmark."""

from typing import Final

from quantd.daemon.views.report.section_parts import Cell, Note, Part, Row, Section, Table, cells
from quantd.research.reports.report_contents import BacktestReport, Versus

TESTS: Final = {
    "paired_t": "paired t", "wilcoxon": "Wilcoxon", "kolmogorov_smirnov": "Kolmogorov-Smirnov",
    "ledoit_wolf": "Ledoit-Wolf",
}  # fmt: skip
"""Field of Versus -> title of the test."""

HOUSE: Final = (
    ("Sharpe ratio", "sharpe", "ratio"), ("95 % interval, low", "low", "ratio"),
    ("95 % interval, high", "high", "ratio"), ("probability that it is above 0", "probabilistic_sharpe", "fraction"),
    ("deflated by the known trials", "deflated_sharpe", "fraction"), ("known trials", "trials", "count"),
    ("of these withdrawn", "withdrawn", "count"),
    ("shortest track record above 0 at 95 %, samples", "minimum_samples", "samples"),
    ("the same, years", "minimum_years", "ratio"),
)  # fmt: skip
"""Name, field and unit of the figures of the whole account."""


def statistics(report: BacktestReport) -> list[Part]:
    """Return the significance of the house's Sharpe ratio, and the tests against each benchmark."""
    house = report.statistics
    significance = Table(
        (),
        [
            Row(name, cells("statistics", house, **{field: unit}))
            for name, field, unit in HOUSE
            if house.withdrawn or field != "withdrawn"
        ],
    )
    rows = [_versus_row(f"statistics.versus.{k}", versus) for k, versus in enumerate(house.versus)]
    if not rows:
        return [significance]
    tests = (f"{name}{part}" for name in TESTS.values() for part in (", p", ", Holm"))
    relative = [
        Row(metric.title, [Cell(f"statistics.versus.{k}.relative.{metric.name}", versus.relative[metric.name],
                                metric.unit) for k, versus in enumerate(house.versus)])
        for metric in report.metrics if metric.needs == "benchmark"
    ]  # fmt: skip
    text = (
        "Intervals: circular block bootstrap, 95 %. Paired t and Wilcoxon compare returns, Kolmogorov-Smirnov their "
        "distributions, Ledoit-Wolf the Sharpe ratios. Holm: p adjusted for all benchmarks of this table."
    )
    names = [versus.benchmark for versus in house.versus]
    return [
        significance,
        Table(("against", "Sharpe difference", "low", "high", *tests), rows, "The house less each benchmark"),
        Note(text),
        Table(("", *names), relative, "The house relative to each benchmark"),
    ]


def _versus_row(path: str, versus: Versus) -> Row:
    figures = cells(path, versus, sharpe_difference="ratio", low="ratio", high="ratio")
    for name in TESTS:
        figures += cells(f"{path}.{name}", getattr(versus, name), p="p", holm="p")
    return Row(versus.benchmark, figures)


SECTION: Final = Section(
    "statistics",
    110,
    "Statistics",
    statistics,
    about="interval of the Sharpe ratio; difference to each benchmark with p-values; deflated Sharpe ratio",
)
