"""Ranks, and the laws of the paired tests: Student's t, Wilcoxon's signed ranks, and Smirnov's distance.

What can go wrong: a small p-value is computed as the difference of two numbers near 1, or by a fraction that converges
slowly. So the continued fraction of Student's law is evaluated on the side on which it converges fast. The laws of
ranks and of the distance are exact.

Rejected: scipy. Each report of a backtest has these three p-values, and scipy was 114 MB of every installation. The
tests compare with it.
"""

from math import exp, lgamma, log, log1p
from typing import Final

import numpy as np

from quantd.trading.market import Floats, Ints

_FRACTIONS: Final = 10_000
"""Bound of the terms of a continued fraction. It needs some sqrt(degrees of freedom) of them."""

_TINY: Final = 1e-300
"""Replaces a denominator of 0 (Lentz 1976)."""

_ENOUGH: Final = 1e-16


def average_ranks(values: Floats) -> Floats:
    """Return the ranks of float64[N], from 1 on; equal values have the average of their ranks."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2.0)[place]


def student_two_sided(t: float, degrees: int) -> float:
    """Return P(|T| >= |t|) of Student's law with `degrees` degrees of freedom."""
    if not np.isfinite(t):
        return 0.0 if np.isinf(t) else float("nan")
    x, away = degrees / (degrees + t * t), t * t / (degrees + t * t)
    a, b = degrees / 2.0, 0.5
    if away == 0.0:
        return 1.0
    # I_x(a, b) converges fast below its mean only; above it, it is 1 - I_{1-x}(b, a)
    low = x < (a + 1.0) / (a + b + 2.0)
    power = a * (log1p(-away) if away < 0.5 else log(x)) + b * log(away)
    front = exp(power + lgamma(a + b) - lgamma(a) - lgamma(b))
    return front * _beta_fraction(x, a, b) / a if low else 1.0 - front * _beta_fraction(away, b, a) / b


def _beta_fraction(x: float, a: float, b: float) -> float:
    """Return the continued fraction of the incomplete beta function (Abramowitz & Stegun 1964, 26.5.8), by Lentz."""
    numerator, denominator = 1.0, 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    value = denominator
    for m in range(1, _FRACTIONS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            denominator = 1.0 / _away_from_zero(1.0 + term * denominator)
            numerator = _away_from_zero(1.0 + term / numerator)
            value *= numerator * denominator
        if abs(numerator * denominator - 1.0) < _ENOUGH:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def signed_rank_two_sided(ranks: Floats, positive: float) -> float:
    """Return twice the smaller tail of the sum of positive ranks at `positive`, at most 1, over all signs of `ranks`.

    The ranks are whole or half numbers. The law is exact.
    """
    doubled: Ints = np.rint(2.0 * ranks).astype(np.int64)
    law = np.zeros(int(doubled.sum()) + 1)
    law[0] = 1.0
    for rank in doubled.tolist():
        law[rank:] = (law[rank:] + law[: len(law) - rank]) / 2.0 if rank else law
        law[:rank] /= 2.0
    place = round(2.0 * positive)
    return float(min(1.0, 2.0 * min(law[: place + 1].sum(), law[place:].sum())))


def smirnov_two_sided(distance: int, samples: int) -> float:
    """Return P(D >= distance / samples) for two samples of `samples` independent values of one law (Hodges 1958).

    Of the 2 * samples values in order, it is the share of paths that leave the band of +/- `distance`. It is exact.
    """
    if distance == 0:
        return 1.0
    steps = np.arange(distance)
    outside = 0.0
    for k in range(samples // distance, -1, -1):
        outside = float(np.prod((samples - k * distance - steps) / (samples + k * distance + steps + 1.0))) * (
            1.0 - outside
        )
    return min(1.0, 2.0 * outside)
