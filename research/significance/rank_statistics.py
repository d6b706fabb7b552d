"""Ranks, and the distributions of the paired tests: Student's t, Wilcoxon's signed ranks, and Smirnov's distance.

What can go wrong: a small p-value is computed as the difference of two numbers near 1, or by a fraction that converges
slowly. So the continued fraction of Student's law is evaluated on the side on which it converges fast. The
distributions of ranks and of the distance are exact.

Rejected: scipy. Each report of a backtest has these three p-values, and scipy was 114 MB of every installation. The
tests compare with it.
"""

from math import exp, lgamma, log, log1p
from typing import Final

import numpy as np

from quantd.trading.market import Floats, Ints

_MOST_TERMS: Final = 10_000
"""Most terms of a continued fraction. It needs about sqrt(degrees of freedom) terms to converge."""

_TINY: Final = 1e-300
"""Replaces a denominator of 0 (Lentz 1976)."""

_CONVERGED: Final = 1e-16
"""The continued fraction has converged where a further term changes it by less than this share."""


def average_ranks(values: Floats) -> Floats:
    """Return the ranks of float64[N], from 1 on; equal values have the average of their ranks."""
    _, rank_index, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2.0)[rank_index]


def student_two_sided(t: float, degrees: int) -> float:
    """Return P(|T| >= |t|) of Student's law with `degrees` degrees of freedom."""
    if not np.isfinite(t):
        return 0.0 if np.isinf(t) else float("nan")
    # P(|T| >= |t|) = I_x(a, b), the regularised incomplete beta function; `complement` is 1 - x without cancellation
    x, complement = degrees / (degrees + t * t), t * t / (degrees + t * t)
    a, b = degrees / 2.0, 0.5
    if complement == 0.0:
        return 1.0
    # the fraction of I_x(a, b) converges fast only for x below about a / (a + b); else use 1 - I_{1-x}(b, a)
    below_mean = x < (a + 1.0) / (a + b + 2.0)
    power = a * (log1p(-complement) if complement < 0.5 else log(x)) + b * log(complement)
    front = exp(power + lgamma(a + b) - lgamma(a) - lgamma(b))
    return front * _beta_fraction(x, a, b) / a if below_mean else 1.0 - front * _beta_fraction(complement, b, a) / b


def _beta_fraction(x: float, a: float, b: float) -> float:
    """Return the continued fraction of the incomplete beta function I_x(a, b) (Abramowitz & Stegun 1964, 26.5.8),
    evaluated from the front by the algorithm of Lentz."""
    numerator, denominator = 1.0, 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    value = denominator
    for m in range(1, _MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            denominator = 1.0 / _away_from_zero(1.0 + term * denominator)
            numerator = _away_from_zero(1.0 + term / numerator)
            value *= numerator * denominator
        if abs(numerator * denominator - 1.0) < _CONVERGED:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def signed_rank_two_sided(ranks: Floats, positive: float) -> float:
    """Return the exact two-sided p-value of `positive`, the sum of the ranks of the positive differences.

    Under the hypothesis each rank has either sign with probability 1/2. The p-value is twice the smaller tail, at most
    1. The ranks are whole numbers or, with ties, halves.
    """
    # doubled, so that half ranks are integers; law[s] is the probability that the doubled sum is s
    doubled: Ints = np.rint(2.0 * ranks).astype(np.int64)
    law = np.zeros(int(doubled.sum()) + 1)
    law[0] = 1.0
    for rank in doubled.tolist():
        # a sum below `rank` is only reached without this rank, a larger one with it or without it
        law[rank:] = (law[rank:] + law[: len(law) - rank]) / 2.0 if rank else law
        law[:rank] /= 2.0
    observed = round(2.0 * positive)
    return float(min(1.0, 2.0 * min(law[: observed + 1].sum(), law[observed:].sum())))


def smirnov_two_sided(distance: int, samples: int) -> float:
    """Return the exact P(D >= distance / samples) for two samples of `samples` independent values of one distribution.

    D is the largest distance of the two empirical distributions. The 2 * samples values in ascending order form a path:
    up for a value of the first sample, down for one of the second. p is the share of paths that leave the band of +/-
    `distance`. Source: Hodges 1958, a nested sum over the number k of crossings, evaluated from the innermost term.
    """
    if distance == 0:
        return 1.0
    steps = np.arange(distance)
    one_sided = 0.0
    for k in range(samples // distance, -1, -1):
        one_sided = float(np.prod((samples - k * distance - steps) / (samples + k * distance + steps + 1.0))) * (
            1.0 - one_sided
        )
    return min(1.0, 2.0 * one_sided)
