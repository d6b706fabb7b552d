"""The ratio of a split that would explain a change of a price's level.

A measured ratio is off by the move of one night, so that the quotient of two prices (35.18) is never the exact ratio.
The nearest whole number may be wrong for a large ratio: one percent of 190 is about two. Each candidate is therefore
weighed by its distance from the measured ratio and by how usual it is. The weights express which ratios are more usual,
not frequencies: real ratios are small whole numbers, multiples of 5 and 10, halves and thirds.
"""

from collections.abc import Iterator
from fractions import Fraction
from math import exp, floor, log
from typing import Final

LEAST_DEVIATION: Final = 0.003
"""Smallest standard deviation of a measured ratio, in logs: an overnight move of a calm fund."""

MOST_DEVIATION: Final = 0.05
"""Largest standard deviation of a measured ratio, in logs: with a larger one every ratio would fit."""

UNKNOWN_DEVIATION: Final = 0.012
"""Standard deviation to assume, in logs, where too few bars are known: the overnight move of a volatile stock."""

SMALL: Final = 12
"""Whole ratios up to this one are all usual."""


def nearest_ratio(shares: float, deviation: float) -> Fraction:
    """Return the most plausible ratio near `shares`, new shares for one old; below 1 for a reverse split.

    `deviation` is the standard deviation of an overnight move in logs, NaN if unknown.
    """
    sigma = min(max(deviation, LEAST_DEVIATION), MOST_DEVIATION) if deviation == deviation else UNKNOWN_DEVIATION
    ratio_above_1 = shares if shares >= 1.0 else 1.0 / shares
    # candidates lie within three standard deviations of the measured ratio, and within 1 at least
    reach = max(1.0, ratio_above_1 * (exp(3 * sigma) - 1.0))

    # half the squared distance in standard deviations is what a normal error costs in log likelihood
    def distance(candidate: Fraction) -> float:
        return (log(float(candidate) / ratio_above_1) / sigma) ** 2 / 2 + _unusual(candidate)

    best = min(_candidates(ratio_above_1, reach), key=distance)
    return best if shares >= 1.0 else 1 / best


def _candidates(ratio_above_1: float, reach: float) -> Iterator[Fraction]:
    """Yield the whole ratios that differ from the measured ratio by at most `reach`, from 10,000 on those of three
    digits and zeros. If the measured ratio is small, also yield the nearest multiples of 1/2 to 1/5."""
    step = 10 ** (len(str(floor(ratio_above_1))) - 3) if ratio_above_1 >= 10_000 else 1
    first, last = (floor(edge / step) for edge in (ratio_above_1 - reach, ratio_above_1 + reach))
    yield from (Fraction(n * step) for n in range(max(1, first), last + 2))
    if ratio_above_1 < SMALL:
        yield from (Fraction(round(ratio_above_1 * q), q) for q in (2, 3, 4, 5) if round(ratio_above_1 * q) > 0)


def _unusual(ratio: Fraction) -> float:
    """Return a penalty, in log likelihood, for an unusual ratio of 1 or more; 0 for the usual ratios.

    A penalty of p means that a ratio counts as e**p times rarer than a usual one. A ratio of 1 is no split; halves are
    commoner than other fractions, and fractions are rare from 4 on; of whole ratios round ones are commoner.
    """
    if ratio == 1:
        return 12.0
    if ratio.denominator > 1:
        return {2: 1.0, 3: 3.0, 4: 3.0, 5: 4.0}[ratio.denominator] + (0.0 if ratio < 4 else 4.0)
    n = ratio.numerator
    if n <= SMALL or (n <= 100 and n % 5 == 0) or n % 100 == 0:
        return 0.0
    if n % 50 == 0:
        return 0.5
    if n % 10 == 0 or n % 25 == 0:
        return 2.0
    return 3.0 if n < 50 else 5.0
