"""Backtests of VaR forecasts: exceedances counted and tested.

What can go wrong: the number of exceedances is right, but they all follow each other, which a count accepts.
Independence (P. Christoffersen, 1998) is therefore tested besides coverage (P. Kupiec, 1995). A sample without a
forecast is skipped and counted as skipped, and the samples before and after it do not count as neighbours. A loss of
exactly the forecast is no exceedance.

Returns and forecasts are fractions of the same equity; a forecast is a positive loss, made before its day.
"""

from math import erfc, exp, log, sqrt
from typing import Final, Literal

import numpy as np
from msgspec import Struct

from quantd.risk.measures.portfolio import Floats

ZONE_SAMPLES: Final = 250
"""Number of samples of the traffic light (Basel Committee, 1996)."""

Zone = Literal["green", "yellow", "red"]


class VarBacktest(Struct, frozen=True):
    """The result of a VaR backtest. `lr_*` are likelihood ratios, `p_*` their p-values: below 0.05 the forecasts are
    rejected at 95 %. `coverage` tests the number of exceedances (losses above VaR), `independence` whether they
    cluster, `conditional` number and clustering together. None means too few samples. `skipped` counts samples
    without a forecast or return. `zone` is the Basel traffic light (green, yellow, red) of the newest `zone_samples`
    samples."""

    confidence: float
    samples: int
    skipped: int
    exceedances: int
    expected: float
    lr_coverage: float | None
    p_coverage: float | None
    lr_independence: float | None
    p_independence: float | None
    lr_conditional: float | None
    p_conditional: float | None
    zone: Zone | None
    zone_samples: int
    zone_exceedances: int


def chi_square_tail(value: float, degrees: Literal[1, 2]) -> float:
    """Return the probability that a chi-square variable of 1 or 2 degrees of freedom exceeds `value`, in closed
    form."""
    return erfc(sqrt(value / 2.0)) if degrees == 1 else exp(-value / 2.0)


def _likelihood(misses: int, hits: int, probability: float) -> float:
    """Return the logarithm of p^hits (1 - p)^misses, with p = `probability` and 0 log 0 = 0."""
    return (hits * log(probability) if hits else 0.0) + (misses * log(1.0 - probability) if misses else 0.0)


def kupiec(samples: int, exceedances: int, confidence: float) -> float:
    """Return the likelihood ratio of unconditional coverage (proportion of exceedances), which is chi-square with 1
    degree of freedom.

    Source: P. Kupiec, Techniques for verifying the accuracy of risk measurement models (1995).
    """
    misses, expected = samples - exceedances, 1.0 - confidence
    ratio = _likelihood(misses, exceedances, exceedances / samples) - _likelihood(misses, exceedances, expected)
    return max(2.0 * ratio, 0.0)


def christoffersen(pairs: tuple[int, int, int, int]) -> float:
    """Return the likelihood ratio of independence of the exceedances against a first-order Markov chain, chi-square
    with 1 degree of freedom.

    `pairs` are four counts of pairs of neighbouring samples, by which of the two is an exceedance (a loss above the
    forecast): (neither, only the later, only the earlier, both). Source: P. Christoffersen, Evaluating interval
    forecasts (1998).
    """
    n00, n01, n10, n11 = pairs
    transitions = n00 + n01 + n10 + n11
    chain = _likelihood(n00, n01, n01 / (n00 + n01) if n01 else 0.0)
    chain += _likelihood(n10, n11, n11 / (n10 + n11) if n11 else 0.0)
    return max(2.0 * (chain - _likelihood(n00 + n10, n01 + n11, (n01 + n11) / transitions)), 0.0)


def zone(samples: int, exceedances: int, confidence: float) -> Zone:
    """Return the Basel traffic light for a number of exceedances (losses above VaR).

    Yellow begins at the smallest number that a correct model does not exceed with probability 95 %, red at the number
    for 99.99 %. For 250 samples at 99 % these are 5 and 10. Source: Basel Committee on Banking Supervision, Supervisory
    framework for the use of backtesting (1996), table 2.
    """
    exceedance_rate = 1.0 - confidence
    probability = confidence**samples
    at_most = probability
    # binomial: `probability` of exactly k exceedances of a correct model, `at_most` of k or fewer
    for k in range(1, exceedances + 1):
        probability *= (samples - k + 1) / k * exceedance_rate / confidence
        at_most += probability
    return "red" if at_most >= 0.9999 else "yellow" if at_most >= 0.95 else "green"


def backtest(returns: Floats, forecasts: Floats, confidence: float) -> VarBacktest:
    """Test VaR `forecasts` float64[T] against `returns` float64[T] of the same T samples.

    A sample with a forecast or return that is not finite is skipped and counted; the samples before and after it do not
    count as neighbours.
    """
    valid = np.isfinite(returns) & np.isfinite(forecasts)
    exceeded = -returns > forecasts
    hits = exceeded[valid]
    samples, count = len(hits), int(hits.sum())
    linked = valid[:-1] & valid[1:]
    before, after = exceeded[:-1][linked], exceeded[1:][linked]
    # n01: a sample within its forecast, then one that exceeds it; the others likewise
    n11 = int((before & after).sum())
    n10, n01 = int(before.sum()) - n11, int(after.sum()) - n11
    pairs = (len(before) - n11 - n10 - n01, n01, n10, n11)
    coverage = kupiec(samples, count, confidence) if samples else None
    independence = christoffersen(pairs) if len(before) else None
    # the sum of both has 2 degrees of freedom, each alone has 1
    conditional = coverage + independence if coverage is not None and independence is not None else None
    newest = hits[-ZONE_SAMPLES:]
    in_zone = int(newest.sum())
    return VarBacktest(
        confidence=confidence,
        samples=samples,
        skipped=len(returns) - samples,
        exceedances=count,
        expected=samples * (1.0 - confidence),
        lr_coverage=coverage,
        p_coverage=None if coverage is None else chi_square_tail(coverage, 1),
        lr_independence=independence,
        p_independence=None if independence is None else chi_square_tail(independence, 1),
        lr_conditional=conditional,
        p_conditional=None if conditional is None else chi_square_tail(conditional, 2),
        zone=zone(len(newest), in_zone, confidence) if len(newest) else None,
        zone_samples=len(newest),
        zone_exceedances=in_zone,
    )
