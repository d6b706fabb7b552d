"""The section of a report on losses in the tail, and the contributions of symbols to risk."""

from typing import Final

from quantd.daemon.views.report.section_parts import Cell, Grid, Row, Section, Table
from quantd.research.reports.report_contents import BacktestReport
from quantd.research.reports.sections.account_columns import metric_rows, names_of

TAILS: Final = ("var_95", "cvar_95", "var_99", "cvar_99", "max_drawdown")
COLUMNS: Final = ("weights", "volatility_by_asset", "var_by_asset", "cvar_by_asset")


def risk(report: BacktestReport) -> tuple[Table, Grid]:
    """Return the table of tail risk. With a history of the books, each symbol's part in the risk follows."""
    grids = []
    for basis, title in (("last", "at the last weights"), ("average", "at the average weights")):
        one = getattr(report.risk, basis)
        if one is None:
            continue
        rows = [
            Row(symbol, [Cell(f"risk.{basis}.{name}.{symbol}", getattr(one, name)[symbol], "fraction")
                         for name in COLUMNS])
            for symbol in sorted(one.weights)
        ]  # fmt: skip
        totals = [Cell(f"risk.{basis}.{name}", getattr(one, name), "fraction", "n own") for name in
                 ("volatility", "var", "cvar")]  # fmt: skip
        head = ("symbol", "weight", "volatility", "VaR 95 %", "CVaR 95 %")
        grids.append([Table(head, [*rows, Row("whole", ["", *totals])], f"Contributions {title}")])
    return Table(("", *names_of(report)), metric_rows(report, TAILS)), Grid(grids)


SECTION: Final = Section(
    "risk",
    90,
    "Risk",
    risk,
    about="VaR and CVaR; the parts of volatility, VaR and CVaR by symbol",
)
