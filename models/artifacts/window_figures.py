"""Performance figures of an account over one window, as they are recorded for a training and an evaluation."""

from math import isfinite

from msgspec.structs import asdict

from quantd.trading.market import Floats
from quantd.trading.statistics import PERIODS_PER_YEAR, RISK_FREE_ANNUAL, Performance, RiskFree, calmar, performance


class WindowFigures(Performance, frozen=True, omit_defaults=True):
    """A performance with its Calmar ratio: None where the wealth never fell, and in records older than this field."""

    calmar: float | None = None


def window_figures(
    equity: Floats, periods: float = PERIODS_PER_YEAR, risk_free_annual: RiskFree = RISK_FREE_ANNUAL
) -> WindowFigures:
    """Compute the figures of an equity float64[T]. `risk_free_annual` is one annual rate, or float64[T - 1] with a
    rate for each return."""
    ratio = calmar(equity, periods)
    figures = performance(equity, periods, risk_free_annual)
    return WindowFigures(**asdict(figures), calmar=ratio if isfinite(ratio) else None)
