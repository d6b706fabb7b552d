"""Return statistics, once: for research, the simulator, training and reports. Every figure is derived from wealth."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.trading.market import Floats

PERIODS_PER_YEAR: Final = 252
"""Samples a year of a house that trades on a stock exchange's sessions."""

RISK_FREE_ANNUAL: Final = 0.02

RiskFree = float | Floats
"""A year's risk-free rate, or float64[T] of one for each of T returns: what cash earned in that time x the samples in a
year."""

_SHARPE: Final = (
    "Sharpe: mean excess return a sample over the standard deviation (n - 1) of returns, times the square root of "
    f"{PERIODS_PER_YEAR}; "
)

SHARPE_DEFINITION: Final = (
    f"{_SHARPE}risk-free {RISK_FREE_ANNUAL:.0%} a year unless set, divided by the samples in a year"
)
"""Printed beside every Sharpe ratio."""

OWN_CLOSES: Final = (
    "Returns value each instrument at its own close of the date, the later ones too; equity, orders and limits are at "
    "last known prices."
)
"""Printed where some instrument's day ends after the sample, as a coin's after New York's close."""


def sharpe_definition(risk_free: str) -> str:
    """The definition with the risk-free rate in words, where one is set: the rate then has a value for each return."""
    return f"{_SHARPE}{risk_free}; the deviation is that of excess returns" if risk_free else SHARPE_DEFINITION


class Performance(Struct, frozen=True):
    """What an equity series did. Fractions, not percent; `max_drawdown` is positive."""

    total_return: float
    annual_return: float
    volatility_annual: float
    sharpe: float
    max_drawdown: float
    samples: int


def newest(risk_free_annual: RiskFree, count: int) -> RiskFree:
    """The rate of the newest `count` returns."""
    return risk_free_annual if isinstance(risk_free_annual, float | int) else risk_free_annual[-count:]


def simple_returns(equity: Floats) -> Floats:
    """float64[T-1] simple returns of a wealth series float64[T]; ValueError unless T > 1 and all is finite and positive."""
    if len(equity) < 2 or not bool(np.all(np.isfinite(equity) & (equity > 0.0))):
        raise ValueError("a wealth series needs at least two samples, all finite and positive")
    return equity[1:] / equity[:-1] - 1.0


def mean_correlation(series: Sequence[Floats], *, absolute: bool = False) -> float:
    """Mean of the correlations of each two of these series of returns, over the samples that all have last; of their absolute
    values when `absolute`. NaN for fewer than two series that vary, or fewer than three samples."""
    length = min((len(each) for each in series), default=0)
    if length < 3:
        return float("nan")
    rows = np.array([each[-length:] for each in series])
    rows = rows - rows.mean(axis=1, keepdims=True)
    sizes = np.sqrt((rows * rows).sum(axis=1))
    rows = rows[sizes > 1e-15] / sizes[sizes > 1e-15, None]
    count = len(rows)
    if count < 2:
        return float("nan")
    pairs = (rows @ rows.T)[np.triu_indices(count, 1)]
    return float((np.abs(pairs) if absolute else pairs).mean())


def compounded(returns: Floats) -> Floats:
    """float64[T+1], what 1 became by float64[T] simple returns."""
    found: Floats = np.multiply.accumulate(np.concatenate((np.ones(1), 1.0 + returns)))
    return found


def time_weighted_returns(equity: Floats, flows: Floats) -> Floats:
    """float64[T-1] returns of an account of `equity` float64[T] into which `flows` float64[T], the sum of deposits less
    withdrawals by each sample, had gone: money that came or went between two samples is neither profit nor loss, and earns
    from the second on. 0 where there was no equity before."""
    before, moved = equity[:-1], flows[1:] - flows[:-1]
    found = np.zeros(len(before))
    np.divide(equity[1:] - moved, before, out=found, where=before > 0.0)
    np.subtract(found, 1.0, out=found, where=before > 0.0)
    return found


def total_return(equity: Floats) -> float:
    return float(equity[-1] / equity[0] - 1.0)


def annual_return(equity: Floats, periods: float = PERIODS_PER_YEAR) -> float:
    """Compound growth a year: (last / first) ** (periods / (T - 1)) - 1."""
    return float((equity[-1] / equity[0]) ** (periods / (len(equity) - 1)) - 1.0)


def volatility(returns: Floats, periods: float = PERIODS_PER_YEAR) -> float:
    """Standard deviation (n - 1) of returns, a year; 0 for fewer than two of them."""
    return float(returns.std(ddof=1) * np.sqrt(periods)) if len(returns) > 1 else 0.0


def sharpe(returns: Floats, periods: float = PERIODS_PER_YEAR, risk_free_annual: RiskFree = RISK_FREE_ANNUAL) -> float:
    """SHARPE_DEFINITION (Sharpe 1994); NaN where returns do not vary, for then there is none. With a rate for each
    return, mean and deviation are of the excess returns."""
    if not isinstance(risk_free_annual, float | int):
        returns, risk_free_annual = returns - risk_free_annual / periods, 0.0
    deviation = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    if deviation <= 1e-15:  # rounding of a constant return, not a risk
        return float("nan")
    return float((returns.mean() - risk_free_annual / periods) / deviation * np.sqrt(periods))


def downside_deviation(
    returns: Floats, periods: float = PERIODS_PER_YEAR, minimum_annual: RiskFree = RISK_FREE_ANNUAL
) -> float:
    """Root mean square (divisor n) of what returns fall short of the least acceptable one, a sample. F. Sortino and
    R. van der Meer (1991)."""
    short = np.minimum(returns - minimum_annual / periods, 0.0)
    return float(np.sqrt(short.dot(short) / len(short))) if len(short) else 0.0


def sortino(returns: Floats, periods: float = PERIODS_PER_YEAR, risk_free_annual: RiskFree = RISK_FREE_ANNUAL) -> float:
    """Mean excess return a sample over the downside deviation below the risk-free rate, times the square root of the
    samples in a year (F. Sortino and L. Price, 1994); NaN where no return fell short, for then there is none."""
    deviation = downside_deviation(returns, periods, risk_free_annual)
    if deviation <= 1e-15:
        return float("nan")
    if not isinstance(risk_free_annual, float | int):
        returns, risk_free_annual = returns - risk_free_annual / periods, 0.0
    return float((returns.mean() - risk_free_annual / periods) / deviation * np.sqrt(periods))


def calmar(equity: Floats, periods: float = PERIODS_PER_YEAR) -> float:
    """Compound growth a year over the largest drawdown of the same samples (T. Young, 1991, with the whole series
    instead of 36 months); NaN without a drawdown."""
    worst = float(drawdowns(equity).max())
    return annual_return(equity, periods) / worst if worst > 1e-15 else float("nan")


def drawdowns(equity: Floats) -> Floats:
    """float64[T], the fraction lost since the highest value so far."""
    return 1.0 - equity / np.maximum.accumulate(equity)


def performance(
    equity: Floats, periods: float = PERIODS_PER_YEAR, risk_free_annual: RiskFree = RISK_FREE_ANNUAL
) -> Performance:
    """All of it, from wealth float64[T]; a rate for each return is float64[T - 1]."""
    returns = simple_returns(equity)
    return Performance(
        total_return=total_return(equity),
        annual_return=annual_return(equity, periods),
        volatility_annual=volatility(returns, periods),
        sharpe=sharpe(returns, periods, risk_free_annual),
        max_drawdown=float(drawdowns(equity).max()),
        samples=len(equity),
    )
