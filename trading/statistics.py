"""Statistics of returns for research, the simulator, training and reports, derived from series of wealth."""

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from operator import add
from typing import Any, Final, TypeVar, cast

import numpy as np
from msgspec import Struct
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from quantd.trading.market import Floats

A = TypeVar("A", bound=NDArray[Any])

PERIODS_PER_YEAR: Final = 252
"""Samples per year on a stock exchange's sessions."""

RISK_FREE_ANNUAL: Final = 0.02

RiskFree = float | Floats
"""An annual risk-free rate, or float64[T] with an annualised rate per return.

Each element is the interest on cash in that sample times the samples per year.
"""

_SHARPE: Final = (
    "Sharpe: mean excess return a sample over the standard deviation (n - 1) of returns, times the square root of "
    f"{PERIODS_PER_YEAR}; "
)

SHARPE_DEFINITION: Final = (
    f"{_SHARPE}risk-free {RISK_FREE_ANNUAL:.0%} a year unless set, divided by the samples in a year"
)
"""Printed beside every Sharpe ratio."""


def sharpe_definition(risk_free: str) -> str:
    """Return the text that defines the Sharpe ratio, with the text `risk_free` for a rate that varies by sample."""
    return f"{_SHARPE}{risk_free}; the deviation is that of excess returns" if risk_free else SHARPE_DEFINITION


def sum_in_order(values: Iterable[float]) -> float:
    """Return the sum of floats, added one after the other with rounding at each step.

    From Python 3.12 on, `sum` compensates for rounding errors: its last bit may differ from an older version's `sum`,
    and with it the digest of a run.
    """
    return reduce(add, values, 0.0)


class Performance(Struct, frozen=True, omit_defaults=True):
    """Performance of an equity series. Values are fractions, not percent; `max_drawdown` is positive.

    `sortino` (the Sortino ratio) is None where no return fell short of the risk-free rate, and in records older than
    this field.
    """

    total_return: float
    annual_return: float
    volatility_annual: float
    sharpe: float
    max_drawdown: float
    samples: int
    sortino: float | None = None


def newest(risk_free_annual: RiskFree, count: int) -> RiskFree:
    """Return the risk-free rate for the newest `count` returns: the same number, or the end of the array."""
    return risk_free_annual if isinstance(risk_free_annual, float | int) else risk_free_annual[-count:]


def simple_returns(equity: Floats) -> Floats:
    """Return float64[T-1] simple returns of a wealth series float64[T]. Raises ValueError unless T > 1 and all values
    are finite and positive."""
    if len(equity) < 2 or not bool(np.all(np.isfinite(equity) & (equity > 0.0))):
        raise ValueError("a wealth series needs at least two samples, all finite and positive")
    return equity[1:] / equity[:-1] - 1.0


def mean_correlation(series: Sequence[Floats], *, absolute: bool = False) -> float:
    """Return the mean pairwise correlation of return series over their common newest samples. With `absolute`, the mean
    is over absolute values. NaN for fewer than two series that vary, or fewer than three samples."""
    length = min((len(returns) for returns in series), default=0)
    if length < 3:
        return float("nan")
    normalised = np.array([returns[-length:] for returns in series])
    normalised = normalised - normalised.mean(axis=1, keepdims=True)
    norms = np.sqrt((normalised * normalised).sum(axis=1))
    # series that do not vary are omitted
    normalised = normalised[norms > 1e-15] / norms[norms > 1e-15, None]
    varying_count = len(normalised)
    if varying_count < 2:
        return float("nan")
    pairs = (normalised @ normalised.T)[np.triu_indices(varying_count, 1)]
    return float((np.abs(pairs) if absolute else pairs).mean())


def means(returns: Floats) -> Floats:
    """Return float64[.., N], the mean over the k samples of each column of float64[.., k, N]; NaN where a return is
    missing."""
    return np.add.reduce(returns, axis=-2) / returns.shape[-2]


def variances(returns: Floats) -> Floats:
    """Return float64[.., N], the variance (divisor k - 1) of each column of float64[.., k, N]; NaN where a return is
    missing.

    The result of a window has the same bits whether it is computed alone or in an array of windows.
    """
    centred = returns - np.add.reduce(returns, axis=-2, keepdims=True) / returns.shape[-2]
    sums_of_squares: Floats = np.einsum("...ij,...ij->...j", centred, centred)
    return sums_of_squares / max(returns.shape[-2] - 1, 1)


def deviations(returns: Floats) -> Floats:
    """Return float64[.., N], the standard deviation (divisor k - 1) of each column of float64[.., k, N]; NaN where a
    return is missing."""
    return np.sqrt(variances(returns))


def momentum_of(returns: Floats) -> Floats:
    """Return float64[.., N], the total return over all rows of float64[.., k, N]; NaN where a return is missing."""
    growth: Floats = np.multiply.reduce(returns + 1.0, axis=-2)
    return growth - 1.0


def rolling_momentum(returns: Floats, k: int) -> Floats:
    """Return float64[R - k + 1, N], the total return over each window of k consecutive rows of float64[R, N]. The
    result has the same bits as `momentum_of` for each window."""
    growth_factors, window_count = returns + 1.0, len(returns) - k + 1
    growth: Floats = growth_factors[:window_count].copy()
    for row in range(1, k):
        growth *= growth_factors[row : row + window_count]
    return growth - 1.0


def windows_of(rows: Floats, k: int) -> Floats:
    """Return float64[R - k + 1, k, N], all windows of k consecutive rows of float64[R, N], as a read-only view."""
    return sliding_window_view(rows, k, axis=0).transpose(0, 2, 1)


CELLS: Final = 2**17
"""Most numbers in the windows of one call of a statistic: 1 MiB, which fits the cache of a processor."""


def rolling(statistic: Callable[[Floats], A], returns: Floats, k: int) -> A:
    """Return `statistic` for each window of k consecutive rows of float64[R, N]; the first axis is the window.

    The statistic takes T windows at once, float64[T, k, N], and must give each window the same bits as if the window
    were computed alone.
    """
    windows = windows_of(returns, k)
    # as many windows at once as have CELLS numbers together
    step = max(1, CELLS // max(windows[0].size, 1))
    estimates: Any = np.concatenate(
        [statistic(windows[first : first + step]) for first in range(0, len(windows), step)]
    )
    return cast(A, estimates)


def compounded(returns: Floats) -> Floats:
    """Return float64[T+1], the wealth from an initial 1 after float64[T] simple returns."""
    wealth: Floats = np.multiply.accumulate(np.concatenate((np.ones(1), 1.0 + returns)))
    return wealth


def time_weighted_returns(equity: Floats, flows: Floats) -> Floats:
    """Return float64[T-1] time-weighted returns of an account with `equity` float64[T].

    `flows` float64[T] are cumulative deposits less withdrawals at each sample. A flow between two samples is neither
    profit nor loss, and counts as invested from the second sample on. A return from an equity of 0 or less is 0.
    """
    start_equity, net_flows = equity[:-1], flows[1:] - flows[:-1]
    returns = np.zeros(len(start_equity))
    np.divide(equity[1:] - net_flows, start_equity, out=returns, where=start_equity > 0.0)
    np.subtract(returns, 1.0, out=returns, where=start_equity > 0.0)
    return returns


def book_returns(equity: Floats, flows: Floats, moved: Floats | None = None) -> Floats:
    """Return the simple returns of a book at T samples, float64[T], 0 at the first one; deposits are not profit.

    `flows` float64[T] are cumulative deposits. `moved` float64[T] is capital that the book got right after the
    valuation of each sample; it earns from that sample on. The first deposit of a book without equity earns at once.
    """
    base, new_deposits = equity[:-1] if moved is None else equity[:-1] + moved[:-1], flows[1:] - flows[:-1]
    returns = np.zeros(len(equity))
    if moved is None or not moved.any():
        returns[1:] = time_weighted_returns(equity, flows)
    else:
        np.divide(equity[1:] - new_deposits - base, base, out=returns[1:], where=base > 0.0)
    np.divide(equity[1:] - new_deposits, new_deposits, out=returns[1:], where=(base <= 0.0) & (new_deposits > 0.0))
    return returns


def total_return(equity: Floats) -> float:
    """Return the simple return of float64[T] equity from its first sample to its last."""
    return float(equity[-1] / equity[0] - 1.0)


def annual_return(equity: Floats, periods: float = PERIODS_PER_YEAR) -> float:
    """Return the compound annual growth: (last / first) ** (periods / (T - 1)) - 1."""
    return float((equity[-1] / equity[0]) ** (periods / (len(equity) - 1)) - 1.0)


def volatility(returns: Floats, periods: float = PERIODS_PER_YEAR) -> float:
    """Return the annualised standard deviation (divisor n - 1) of n returns; 0 for fewer than two."""
    return float(returns.std(ddof=1) * np.sqrt(periods)) if len(returns) > 1 else 0.0


def sharpe(returns: Floats, periods: float = PERIODS_PER_YEAR, risk_free_annual: RiskFree = RISK_FREE_ANNUAL) -> float:
    """Return the Sharpe ratio (Sharpe 1994): mean excess return over the standard deviation of returns, annualised; NaN
    for constant returns.

    If `risk_free_annual` has a rate for each return, mean and deviation are computed from the excess returns.
    """
    if not isinstance(risk_free_annual, float | int):
        returns, risk_free_annual = returns - risk_free_annual / periods, 0.0
    return _excess_over(float(returns.std(ddof=1)) if len(returns) > 1 else 0.0, returns, periods, risk_free_annual)


def _excess_over(deviation: float, returns: Floats, periods: float, risk_free_annual: float) -> float:
    """Return the annualised mean excess return divided by `deviation`; NaN for a `deviation` of rounding error."""
    if deviation <= 1e-15:
        return float("nan")
    return float((returns.mean() - risk_free_annual / periods) / deviation * np.sqrt(periods))


def downside_deviation(
    returns: Floats, periods: float = PERIODS_PER_YEAR, minimum_annual: RiskFree = RISK_FREE_ANNUAL
) -> float:
    """Return the root mean square (divisor n) of shortfalls below the minimum acceptable return, per sample. Source: F.
    Sortino and R. van der Meer (1991)."""
    short = np.minimum(returns - minimum_annual / periods, 0.0)
    return float(np.sqrt(short.dot(short) / len(short))) if len(short) else 0.0


def sortino(returns: Floats, periods: float = PERIODS_PER_YEAR, risk_free_annual: RiskFree = RISK_FREE_ANNUAL) -> float:
    """Return the annualised mean excess return over the downside deviation below the risk-free rate. Source: F. Sortino
    and L. Price (1994). NaN where no return fell short."""
    deviation = downside_deviation(returns, periods, risk_free_annual)
    if not isinstance(risk_free_annual, float | int):
        returns, risk_free_annual = returns - risk_free_annual / periods, 0.0
    return _excess_over(deviation, returns, periods, risk_free_annual)


def calmar(equity: Floats, periods: float = PERIODS_PER_YEAR) -> float:
    """Return compound annual growth over the largest drawdown of the same samples; NaN without a drawdown. Source: T.
    Young (1991), with the whole series instead of 36 months."""
    worst = float(drawdowns(equity).max())
    return annual_return(equity, periods) / worst if worst > 1e-15 else float("nan")


def drawdowns(equity: Floats) -> Floats:
    """Return float64[T], the fraction lost since the highest value so far."""
    return 1.0 - equity / np.maximum.accumulate(equity)


def performance(
    equity: Floats, periods: float = PERIODS_PER_YEAR, risk_free_annual: RiskFree = RISK_FREE_ANNUAL
) -> Performance:
    """Compute all statistics of wealth float64[T]. `risk_free_annual` is one annual rate, or float64[T - 1] with a
    rate for each return."""
    returns = simple_returns(equity)
    ratio = sortino(returns, periods, risk_free_annual)
    return Performance(
        total_return=total_return(equity),
        annual_return=annual_return(equity, periods),
        volatility_annual=volatility(returns, periods),
        sharpe=sharpe(returns, periods, risk_free_annual),
        max_drawdown=float(drawdowns(equity).max()),
        samples=len(equity),
        sortino=ratio if np.isfinite(ratio) else None,
    )
