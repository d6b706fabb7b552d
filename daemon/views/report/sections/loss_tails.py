"""Measures of risk: losses in the tail, by position, under stress, and the test of the VaR model."""

from typing import Final

from quantd.daemon.views.report.contents import Report
from quantd.daemon.views.report.markup import row
from quantd.daemon.views.report.page_parts import COUNT, NUMBER, PERCENT, cells, figure, section, table
from quantd.daemon.views.report.sections.section import Section
from quantd.risk.assessment import METHODS

RATIOS: Final = (
    "volatility", "max_drawdown", "sharpe", "sortino", "calmar", "beta", "correlation", "diversification",
)  # fmt: skip  # fmt: skip
FRACTIONS: Final = ("volatility", "max_drawdown")
POSITION: Final = {
    "weight": PERCENT, "component_var": PERCENT, "component_volatility": PERCENT, "marginal_var": "{:.4f}",
    "incremental_var": PERCENT,
}  # fmt: skip  # fmt: skip


def tails(report: Report) -> str:
    """The sections of VaR and CVaR, of risk by position, of ratios, of stress and of the days to unwind."""
    assessment = report.assessment
    assert assessment is not None  # SECTION needs the assessment
    rows = []
    for method in METHODS:
        tail = getattr(assessment, method)
        losses = (
            cells(f"assessment.{method}", tail, var=PERCENT, cvar=PERCENT) if tail else ["<td>unknown</td><td></td>"]
        )
        rows.append(row(method.replace("_", "-"), *losses))
    position_rows = [
        row(
            symbol,
            *cells(f"assessment.positions.{symbol}", part, **POSITION),
            figure(f"assessment.unwind_days.{symbol}", assessment.unwind_days.get(symbol), NUMBER),
        )
        for symbol, part in sorted((assessment.positions or {}).items(), key=lambda pair: -abs(pair[1].weight))
    ]
    metrics = report.metrics
    ratios = [] if metrics is None else [
        row(name.replace("_", " "), *cells("metrics", metrics, **{name: PERCENT if name in FRACTIONS else NUMBER}))
        for name in RATIOS
    ]  # fmt: skip
    stress = [
        row(name, figure(f"assessment.stress.{name}", loss, PERCENT))
        for name, loss in sorted(assessment.stress.items())
    ]
    unwind_rows = [row(f"{share} of the book", figure(f"assessment.book_days.{share}", day, NUMBER)) for share, day in
            (assessment.book_days or {}).items()]  # fmt: skip
    return "".join(
        (
            section(
                f"VaR and CVaR at {assessment.confidence:.0%}, {assessment.horizon} sample ahead",
                table(("method", "VaR", "CVaR"), rows),
                f"<p>Of {assessment.samples} samples, as a share of equity.</p>",
            ),
            section(
                "Risk by position",
                table(
                    ("symbol", "weight", "component VaR", "component volatility", "marginal VaR", "incremental VaR",
                     "days to unwind"),
                    position_rows,
                ),
            ) if position_rows else "",
            section("Ratios", table((), ratios),
                     "<p>Over the last year of samples; beta and correlation to the benchmark.</p>"),
            section("Stress: loss of equity", table((), stress)) if stress else "",
            section("Days to unwind", table((), unwind_rows)) if unwind_rows else "",
            _backtest(report),
        )
    )  # fmt: skip


def _backtest(report: Report) -> str:
    """The section of the test of the VaR; empty if it was not tested."""
    test = report.var_backtest
    if test is None:
        return ""
    rows = (
        row("samples", figure("var_backtest.samples", test.samples, COUNT)),
        row("exceeded", figure("var_backtest.exceedances", test.exceedances), "<td>times</td>"),
        row("expected", figure("var_backtest.expected", test.expected, NUMBER), "<td>times</td>"),
        row("coverage (Kupiec)", figure("var_backtest.p_coverage", test.p_coverage, "p = {:.3f}")),
        row("independence (Christoffersen)", figure("var_backtest.p_independence", test.p_independence, "p = {:.3f}")),
        row("both", figure("var_backtest.p_conditional", test.p_conditional, "p = {:.3f}")),
        row("traffic light", figure("var_backtest.zone", test.zone)),
    )
    note = "The VaR recorded at each sample against the return that followed. p below 0.05 rejects the VaR model."
    return section("VaR backtest", table((), rows), f"<p>{note}</p>")


SECTION: Final = Section("risk", 40, tails, needs="assessment")
