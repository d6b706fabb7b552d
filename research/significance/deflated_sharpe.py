"""Significance of a Sharpe ratio, given the number of trials (Bailey & López de Prado 2012, 2014).

What can go wrong: the best of many trials counts as skill, or a further trial makes an unchanged result look better. A
trial whose ratio is near an earlier one shrinks the variance of the ratios. This can lower the expected maximum by more
than the larger number of trials raises it. So the hurdle is the largest expected maximum after any trial in their
order.

Rejected: a variance of at least 1 / (T - 1) alone. After ten trials with different ratios, ten more at their mean would
still raise the deflated ratio. Rejected, too: sums of floats for the variance. They lose the variance of near-equal
ratios, and depend on the order. All ratios here are per sample, not annual.
"""

from collections.abc import Iterable, Iterator
from math import e, inf, nan, sqrt
from statistics import NormalDist
from typing import Final, NamedTuple

from quantd.trading.market import Floats

EULER: Final = 0.5772156649015329
"""Euler-Mascheroni constant, used in the expected maximum of normal draws."""

NORMAL: Final = NormalDist()


def moments(returns: Floats) -> tuple[float, float]:
    """Return (skewness, kurtosis) of float64[T]; a normal law has kurtosis 3. Constant returns give (0, 3)."""
    deviations = returns - returns.mean()
    variance = float((deviations**2).mean())
    if variance <= 1e-30:
        return 0.0, 3.0
    return float((deviations**3).mean()) / variance**1.5, float((deviations**4).mean()) / variance**2


def probabilistic_sharpe(sharpe: float, benchmark: float, samples: int, skewness: float, kurtosis: float) -> float:
    """Return the probability that the true ratio exceeds `benchmark`, given `sharpe` measured on `samples` returns.

    Source: Bailey & López de Prado 2012. The result is NaN where the estimate has no variance.
    """
    variance = 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2
    if samples < 2 or not variance > 0.0:
        return nan
    return NORMAL.cdf((sharpe - benchmark) * sqrt(samples - 1) / sqrt(variance))


def expected_maximum(trials: int, variance: float) -> float:
    """Return the expected maximum of `trials` ratios without skill, whose variance is `variance`; 0 for one trial.
    Source: Bailey & López de Prado 2014, eq. 1."""
    if trials < 2:
        return 0.0
    return sqrt(variance) * (
        (1.0 - EULER) * NORMAL.inv_cdf(1.0 - 1.0 / trials) + EULER * NORMAL.inv_cdf(1.0 - 1.0 / (trials * e))
    )


def minimum_track_record(
    sharpe: float, benchmark: float, skewness: float, kurtosis: float, *, confidence: float = 0.95
) -> float:
    """Return the number of samples from which `sharpe` exceeds `benchmark` with probability `confidence`.

    Both ratios are per sample, not annual; the kurtosis of a normal distribution is 3. Source: Bailey & López de Prado
    2012, eq. 13. The result is infinite where `sharpe` is not above `benchmark`, and NaN where the estimate has no
    variance. Raises ValueError for a confidence outside (0.5, 1).
    """
    if not 0.5 < confidence < 1.0:
        raise ValueError(f"the confidence must be above 0.5 and below 1, not {confidence}")
    variance = 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2
    if not variance > 0.0:
        return nan
    if not sharpe > benchmark:
        return inf
    return 1.0 + variance * (NORMAL.inv_cdf(confidence) / (sharpe - benchmark)) ** 2


class Prefix(NamedTuple):
    """The first trials of a sequence of trials.

    `trials` is their number, and `variance` the sample variance of their Sharpe ratios, 0 for fewer than two trials.
    """

    trials: int
    variance: float


class Spread:
    """The sample variance of a changing set of Sharpe ratios.

    Sums are exact integers in units of 2**-60, because sums of floats lose the variance of near-equal ratios, and the
    loss depends on the order of additions and removals.
    """

    __slots__ = ("_count", "_squares", "_sum")

    def __init__(self) -> None:
        self._count = self._sum = self._squares = 0

    def add(self, ratio: float) -> None:
        """Add a ratio, rounded to a multiple of 2**-60."""
        value = round(ratio * _UNIT)
        self._count, self._sum, self._squares = self._count + 1, self._sum + value, self._squares + value * value

    def remove(self, ratio: float) -> None:
        value = round(ratio * _UNIT)
        self._count, self._sum, self._squares = self._count - 1, self._sum - value, self._squares - value * value

    @property
    def variance(self) -> float:
        """The sample variance (divisor n - 1); 0 for fewer than two ratios."""
        n = self._count
        return (n * self._squares - self._sum**2) / (n * (n - 1) * _UNIT**2) if n > 1 else 0.0


_UNIT: Final = 1 << 60


def prefixes(ratios: Iterable[float]) -> Iterator[Prefix]:
    """Yield the `Prefix` after each trial. `ratios` are Sharpe ratios of distinct trials in the order of evaluation."""
    spread = Spread()
    for count, ratio in enumerate(ratios, 1):
        spread.add(ratio)
        yield Prefix(count, spread.variance)


def highest_hurdle(chain: Iterable[Prefix], samples: int) -> float:
    """Return the largest expected maximum ratio after any trial of a sequence; 0 without a trial.

    `samples` is the number T of returns of the result. A variance counts as at least 1 / (T - 1), the variance of the
    estimated ratio of a strategy without skill. This floor alone is not enough: trials near the mean of the earlier
    ones shrink the variance by more than their number raises the expected maximum. The maximum over prefixes cannot
    fall when a trial is appended.
    """
    variance_floor = 1.0 / max(samples - 1, 1)
    return max((expected_maximum(trials, max(variance, variance_floor)) for trials, variance in chain), default=0.0)


def deflated_sharpe(returns: Floats, sharpe: float, hurdle: float) -> float:
    """Return the probability that the true ratio of `returns` float64[T] exceeds `hurdle` (`highest_hurdle`).

    `sharpe` is the measured ratio. The hurdle of a single trial is 0: the result is then the probability that the true
    ratio is above zero. The result is NaN where the estimate has no variance.
    """
    return probabilistic_sharpe(sharpe, hurdle, len(returns), *moments(returns))
