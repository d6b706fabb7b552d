"""The section of a report on the Sharpe ratio's significance, and the whole account against each benchmark."""

from typing import Final

from quantd.daemon.views.report.markup import row
from quantd.research.reports.page_parts import figure, formatted, paragraph, table
from quantd.research.reports.report_contents import BacktestReport, Versus
from quantd.research.reports.sections.section import Charts, Section, Table

TESTS: Final = {
    "paired_t": "paired t", "wilcoxon": "Wilcoxon", "kolmogorov_smirnov": "Kolmogorov-Smirnov",
    "ledoit_wolf": "Ledoit-Wolf",
}  # fmt: skip
"""Field of Versus -> title of the test."""


def statistics(report: BacktestReport, _: Charts) -> str:
    """Return the significance of the house's Sharpe ratio, and the tests against each benchmark, as HTML.

    The house is the whole account. The helper `figure` makes a cell from the number's path in the report's JSON, the
    number and its unit.
    """
    figures_of_house = report.statistics
    house_rows = [
        row(name, figure(f"statistics.{key}", getattr(figures_of_house, key), unit))
        for name, key, unit in (
            ("Sharpe ratio", "sharpe", "ratio"), ("95 % interval, low", "low", "ratio"),
            ("95 % interval, high", "high", "ratio"),
            ("probability that it is above 0", "probabilistic_sharpe", "fraction"),
            ("deflated by the known trials", "deflated_sharpe", "fraction"),
            ("known trials", "trials", "count"), ("of these withdrawn", "withdrawn", "count"),
            ("shortest track record above 0 at 95 %, samples", "minimum_samples", "samples"),
            ("the same, years", "minimum_years", "ratio"),
        )
        if figures_of_house.withdrawn or key != "withdrawn"
    ]  # fmt: skip
    rows = [_versus_row(f"statistics.versus.{k}", versus) for k, versus in enumerate(figures_of_house.versus)]
    head = ("against", "Sharpe difference", "low", "high", *(f"{name}{part}" for name in TESTS.values()
                                                           for part in (", p", ", Holm")))  # fmt: skip
    relative = [
        row(metric.title, *(figure(f"statistics.versus.{k}.relative.{metric.name}", versus.relative[metric.name],
                                   metric.unit) for k, versus in enumerate(figures_of_house.versus)))
        for metric in report.metrics if metric.needs == "benchmark"
    ]  # fmt: skip
    text = (
        "Intervals: circular block bootstrap, 95 %. Paired t and Wilcoxon compare returns, Kolmogorov-Smirnov their "
        "distributions, Ledoit-Wolf the Sharpe ratios. Holm: p adjusted for all benchmarks of this table."
    )
    if not rows:
        return table((), house_rows)
    return "".join(
        (
            table((), house_rows),
            "<h3>The house less each benchmark</h3>",
            table(head, rows),
            paragraph(text),
            "<h3>The house relative to each benchmark</h3>",
            table(("", *(versus.benchmark for versus in figures_of_house.versus)), relative),
        )
    )


def _versus_row(path: str, versus: Versus) -> str:
    cells = [figure(f"{path}.{name}", getattr(versus, name), "ratio") for name in ("sharpe_difference", "low", "high")]
    for name in TESTS:
        value = getattr(versus, name)
        cells += [figure(f"{path}.{name}.{part}", getattr(value, part), "p") for part in ("p", "holm")]
    return row(versus.benchmark, *cells)


def tables(report: BacktestReport) -> tuple[Table, ...]:
    """Return the table of tests against each benchmark for Markdown."""
    rows = [
        (
            versus.benchmark,
            *(formatted(value, "ratio") for value in (versus.sharpe_difference, versus.low, versus.high)),
            *(
                f"{formatted(test.p, 'p')} ({formatted(test.holm, 'p')})"
                for test in (getattr(versus, name) for name in TESTS)
            ),
        )
        for versus in report.statistics.versus
    ]
    head = ("against", "Sharpe", "low", "high", *(f"{name}, p (Holm)" for name in TESTS.values()))
    return (Table("The house less each benchmark", head, rows),)


SECTION: Final = Section(
    "statistics",
    110,
    "Statistics",
    statistics,
    tables,
    about="interval of the Sharpe ratio; difference to each benchmark with p-values; deflated Sharpe ratio",
)
