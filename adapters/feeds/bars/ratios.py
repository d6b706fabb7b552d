"""The ratio of a split that would explain a change of a price's level.

A measured ratio is off by the move of one night, so that the exact quotient of two prices (35.18) is never the answer,
and its nearest whole number is wrong for large ratios: one percent of 190 is two. Each candidate is therefore weighed
by how far it is from the measured one and by how usual it is. The weights are an order, not frequencies: real ratios
are small whole numbers, multiples of 5 and 10, halves and thirds.
"""

from collections.abc import Iterator
from fractions import Fraction
from math import exp, floor, log
from typing import Final

LEAST_DEVIATION: Final = 0.003
"""Smallest standard deviation of a measured ratio, in logs: an overnight move of a calm fund."""

MOST_DEVIATION: Final = 0.05
"""Largest one: beyond it every ratio would fit."""

UNKNOWN_DEVIATION: Final = 0.012
"""The one to assume where too few bars are known: that of a volatile stock."""

SMALL: Final = 12
"""Whole ratios up to this one are all usual."""


def nearest_ratio(shares: float, deviation: float) -> Fraction:
    """Return the most plausible ratio near `shares`, new shares for one old; below 1 for a reverse split.

    `deviation` is the standard deviation of an overnight move in logs, NaN if unknown.
    """
    spread = min(max(deviation, LEAST_DEVIATION), MOST_DEVIATION) if deviation == deviation else UNKNOWN_DEVIATION
    large = shares if shares >= 1.0 else 1.0 / shares
    reach = max(1.0, large * (exp(3 * spread) - 1.0))

    def distance(candidate: Fraction) -> float:
        return (log(float(candidate) / large) / spread) ** 2 / 2 + _unusual(candidate)

    best = min(_candidates(large, reach), key=distance)
    return best if shares >= 1.0 else 1 / best


def _candidates(large: float, reach: float) -> Iterator[Fraction]:
    """Yield whole ratios within `reach`, and small fractions."""
    yield from (Fraction(n) for n in range(max(1, floor(large - reach)), floor(large + reach) + 2))
    if large < SMALL:
        yield from (Fraction(round(large * q), q) for q in (2, 3, 4, 5) if round(large * q) > 0)


def _unusual(ratio: Fraction) -> float:
    """Return how unusual a ratio of 1 or more is: 0 for the usual ones."""
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
