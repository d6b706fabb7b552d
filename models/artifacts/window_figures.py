"""Performance figures of an account over one window, as they are recorded for a training and an evaluation."""

from math import isfinite, nan

from msgspec.structs import asdict

from quantd.trading.market import Floats
from quantd.trading.statistics import PERIODS_PER_YEAR, RISK_FREE_ANNUAL, Performance, RiskFree, calmar, performance


class WindowFigures(Performance, frozen=True, omit_defaults=True, kw_only=True):
    """A performance with its Calmar ratio: None where the wealth never fell, and in records older than this field.

    `sharpe` is NaN, and no part of the record, where the returns do not vary, as of a policy that holds nothing.
    """

    sharpe: float = nan
    calmar: float | None = None


def window_figures(
    equity: Floats, periods: float = PERIODS_PER_YEAR, risk_free_annual: RiskFree = RISK_FREE_ANNUAL
) -> WindowFigures:
    """Compute the figures of an equity float64[T]. `risk_free_annual` is one annual rate, or float64[T - 1] with a
    rate for each return."""
    ratio = calmar(equity, periods)
    figures = performance(equity, periods, risk_free_annual)
    defined = {name: value for name, value in asdict(figures).items() if name != "sharpe" or isfinite(value)}
    return WindowFigures(**defined, calmar=ratio if isfinite(ratio) else None)
