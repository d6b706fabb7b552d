"""The section of a report on losses in the tail, and the contributions of symbols to risk."""

from typing import Final

from quantd.daemon.views.report.markup import row
from quantd.research.reports.page_parts import figure, formatted, table
from quantd.research.reports.report_contents import BacktestReport
from quantd.research.reports.sections.account_columns import metric_rows, names_of
from quantd.research.reports.sections.section import Charts, Section, Table


def risk(report: BacktestReport, _: Charts) -> str:
    """Return the table of tail risk as HTML. With a history of the books, each symbol's part in the risk follows.

    The helper `figure` makes a cell from the number's path in the report's JSON, the number, its unit and a CSS class.
    """
    tails = table(
        ("", *names_of(report)), metric_rows(report, ("var_95", "cvar_95", "var_99", "cvar_99", "max_drawdown"))
    )
    grids = []
    for basis, title in (("last", "at the last weights"), ("average", "at the average weights")):
        contributions = getattr(report.risk, basis)
        if contributions is None:
            continue
        columns = ("weights", "volatility_by_asset", "var_by_asset", "cvar_by_asset")
        rows = [
            row(symbol, *(figure(f"risk.{basis}.{name}.{symbol}", getattr(contributions, name)[symbol], "fraction")
                          for name in columns))
            for symbol in sorted(contributions.weights)
        ]  # fmt: skip
        totals = [figure(f"risk.{basis}.{name}", getattr(contributions, name), "fraction", "n own") for name in
                  ("volatility", "var", "cvar")]  # fmt: skip
        rows.append(row("whole", "<td></td>", *totals))
        head = ("symbol", "weight", "volatility", "VaR 95 %", "CVaR 95 %")
        grids.append(f"<div><h3>Contributions {title}</h3>{table(head, rows)}</div>")
    return f'{tails}<div class="grid">{"".join(grids)}</div>'


def tables(report: BacktestReport) -> tuple[Table, ...]:
    r = report.risk.last
    if r is None:
        return ()
    columns = (r.weights, r.volatility_by_asset, r.var_by_asset, r.cvar_by_asset)
    rows = [(symbol, *(formatted(column[symbol], "fraction") for column in columns)) for symbol in sorted(r.weights)]
    return (Table("Risk at the last weights", ("symbol", "weight", "volatility", "VaR 95 %", "CVaR 95 %"), rows),)


SECTION: Final = Section(
    "risk",
    90,
    "Risk",
    risk,
    tables,
    about="VaR and CVaR; the parts of volatility, VaR and CVaR by symbol",
)
