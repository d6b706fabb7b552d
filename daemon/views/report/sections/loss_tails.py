"""Measures of risk: losses in the tail, by position, under stress, and the test of the VaR model."""

from collections.abc import Mapping
from typing import Final

from quantd.daemon.views.report.contents import Report
from quantd.daemon.views.report.section_parts import Cell, Heading, Note, Part, Row, Section, Table, cells
from quantd.risk.assessment import METHODS

RATIOS: Final = {
    "volatility": "fraction", "max_drawdown": "fraction", "sharpe": "ratio", "sortino": "ratio", "calmar": "ratio",
    "beta": "ratio", "correlation": "ratio", "diversification": "ratio",
}  # fmt: skip
POSITION: Final = {
    "weight": "fraction", "component_var": "fraction", "component_volatility": "fraction", "marginal_var": "fine",
    "incremental_var": "fraction",
}  # fmt: skip
POSITION_HEAD: Final = (
    "symbol", "weight", "component VaR", "component volatility", "marginal VaR", "incremental VaR", "days to unwind",
)  # fmt: skip


def title(report: Report) -> str:
    assessment = report.assessment
    assert assessment is not None  # SECTION needs the assessment
    return f"VaR and CVaR at {assessment.confidence:.0%}, {assessment.horizon} sample ahead"


def tails(report: Report) -> list[Part]:
    """VaR and CVaR, risk by position, ratios, stress, the days to unwind, and the test of the VaR."""
    assessment = report.assessment
    if assessment is None:
        return []
    rows = []
    for method in METHODS:
        tail = getattr(assessment, method)
        losses = cells(f"assessment.{method}", tail, var="fraction", cvar="fraction") if tail else ["unknown", ""]
        rows.append(Row(method.replace("_", "-"), losses))
    parts: list[Part] = [
        Table(("method", "VaR", "CVaR"), rows),
        Note(f"Of {assessment.samples} samples, as a share of equity."),
    ]
    days = assessment.unwind_days
    positions = [
        Row(
            symbol,
            [
                *cells(f"assessment.positions.{symbol}", one, **POSITION),
                Cell(f"assessment.unwind_days.{symbol}", days.get(symbol), "ratio"),
            ],
        )
        for symbol, one in sorted((assessment.positions or {}).items(), key=lambda pair: -abs(pair[1].weight))
    ]
    if positions:
        parts += [Heading("Risk by position"), Table(POSITION_HEAD, positions)]
    ratios = [] if report.metrics is None else [
        Row(name.replace("_", " "), cells("metrics", report.metrics, **{name: unit})) for name, unit in RATIOS.items()
    ]  # fmt: skip
    note = "Over the last year of samples; beta and correlation to the benchmark."
    parts += [Heading("Ratios"), Table((), ratios), Note(note)]
    stress = dict(sorted(assessment.stress.items()))
    parts += _by_name("Stress: loss of equity", "assessment.stress", stress, "fraction")
    parts += _by_name("Days to unwind", "assessment.book_days", assessment.book_days or {}, "ratio", " of the book")
    return parts + _backtest(report)


def _by_name(title: str, at: str, values: Mapping[str, float | None], unit: str, more: str = "") -> list[Part]:
    """A heading and a table of figures by name; nothing without a figure."""
    rows = [Row(f"{name}{more}", [Cell(f"{at}.{name}", value, unit)]) for name, value in values.items()]
    return [Heading(title), Table((), rows)] if rows else []


def _backtest(report: Report) -> list[Part]:
    """The test of the VaR; nothing if it was not tested."""
    test = report.var_backtest
    if test is None:
        return []
    rows = [
        Row(name, [*cells("var_backtest", test, **{field: unit}), *more])
        for name, field, unit, more in (
            ("samples", "samples", "count", ()), ("exceeded", "exceedances", "text", ("times",)),
            ("expected", "expected", "ratio", ("times",)), ("coverage (Kupiec), p", "p_coverage", "p", ()),
            ("independence (Christoffersen), p", "p_independence", "p", ()), ("both, p", "p_conditional", "p", ()),
            ("traffic light", "zone", "text", ()),
        )
    ]  # fmt: skip
    note = "The VaR recorded at each sample against the return that followed. p below 0.05 rejects the VaR model."
    return [Heading("VaR backtest"), Table((), rows), Note(note)]


SECTION: Final = Section("risk", 40, title, tails, needs="assessment")
