"""Target shares of capital, from the agents' configured shares and their performance.

Pure functions of numbers; their results do not depend on the order of the agents.
"""

from collections.abc import Sequence
from math import exp, sqrt
from typing import Final, Literal

import numpy as np
from msgspec import Struct

from quantd.trading.market import Floats
from quantd.trading.statistics import (
    PERIODS_PER_YEAR,
    RISK_FREE_ANNUAL,
    RiskFree,
    mean_correlation,
    newest,
    sharpe,
    sum_in_order,
    volatility,
)

LEAST: Final = 20
"""Least returns for a measure of performance."""

TILT_MOST: Final = 3.0
"""Largest annual Sharpe ratio, in absolute value, that counts; more is luck or an error."""

Method = Literal["fixed", "equal_risk", "performance", "regime"]


class Regime(Struct, frozen=True):
    """Shares by agent, with sum 1, while annual volatility is at least `above`."""

    name: str
    above: float
    shares: tuple[float, ...]


class CapitalRules(Struct, frozen=True):
    """The table [capital]. `agents` are the indices of the agents that take part, `base` their configured shares.

    The method's shares are moved towards `base` by the fraction `shrink` of the way, and bounded by `floor` and
    `ceiling`. A share changes by at most `max_step` at once. `benchmark` is the column whose volatility selects the
    regime (-1: the house, the whole account).
    """

    method: Method
    agents: tuple[int, ...]
    base: tuple[float, ...]
    lookback: int = 126
    shrink: float = 0.5
    floor: float = 0.0
    ceiling: float = 1.0
    max_step: float = 1.0
    tilt: float = 0.5
    regimes: tuple[Regime, ...] = ()
    benchmark: int = -1


class Wanted(Struct, frozen=True):
    """Target shares with sum 1, and their reason. If `shares` is empty, no capital moves."""

    shares: tuple[float, ...]
    why: str


def wanted(
    rules: CapitalRules,
    returns: Sequence[Floats],
    names: Sequence[str],
    market_volatility: float,
    risk_free: Sequence[RiskFree] = (),
) -> Wanted:
    """The shares of capital by the configured method, within their bounds. `returns` are float64[T] of each agent,
    time-weighted, newest last. `risk_free` are the annual rates for these samples; `market_volatility` is annual, NaN
    where unknown."""
    if rules.method == "fixed":
        return Wanted(rules.base, "the configured shares")
    if rules.method == "regime":
        if not market_volatility >= 0.0:
            return Wanted((), "the market's volatility is not known yet")
        reached = [regime for regime in rules.regimes if regime.above <= market_volatility]
        if not reached:
            return Wanted((), f"no regime begins at or below a volatility of {market_volatility:.1%}")
        current = max(reached, key=lambda regime: regime.above)
        why = f"regime {current.name}: volatility {market_volatility:.1%} is at least {current.above:.1%}"
        return Wanted(_within_rules(rules, current.shares), why)
    recent = [series[-rules.lookback :] for series in returns]
    too_short = [name for name, series in zip(names, recent, strict=True) if len(series) < LEAST]
    if too_short:
        return Wanted((), f"{', '.join(too_short)}: fewer than {LEAST} returns are known")
    if rules.method == "equal_risk":
        risks = [volatility(series) for series in recent]
        if min(risks) <= 1e-9:
            idle = [name for name, risk in zip(names, risks, strict=True) if risk <= 1e-9]
            return Wanted((), f"{', '.join(idle)}: no risk was taken, so that none can be equal to it")
        why = ", ".join(f"{name} {risk:.1%}" for name, risk in zip(names, risks, strict=True))
        return Wanted(_within_rules(rules, [1.0 / risk for risk in risks]), f"volatility a year: {why}")
    correlation = mean_correlation(recent)
    samples = min(len(series) for series in recent)
    risk_free_rates = [
        newest(rate, len(series))
        for rate, series in zip(risk_free or [RISK_FREE_ANNUAL] * len(recent), recent, strict=True)
    ]
    ratios = [_bounded_sharpe(series, rate) for series, rate in zip(recent, risk_free_rates, strict=True)]
    scores = shrunken(ratios, samples, 0.0 if correlation != correlation else correlation)
    why = ", ".join(f"{name} {score:+.2f}" for name, score in zip(names, scores, strict=True))
    raw = [base * exp(rules.tilt * score) for base, score in zip(rules.base, scores, strict=True)]
    return Wanted(_within_rules(rules, raw), f"Sharpe ratio above the mean of all, shrunken: {why}")


def _bounded_sharpe(returns: Floats, risk_free_annual: RiskFree) -> float:
    """A book's annual Sharpe ratio, limited to +-TILT_MOST; 0 for a book without returns."""
    ratio = sharpe(returns, PERIODS_PER_YEAR, risk_free_annual)
    return min(max(ratio, -TILT_MOST), TILT_MOST) if ratio == ratio else 0.0


def shrunken(ratios: Sequence[float], samples: int, together: float = 0.0) -> list[float]:
    """Shrunk distances of annual Sharpe ratios from their mean; `samples` is the number of returns behind each ratio.

    The estimator is the positive part of James and Stein (1961) about the mean (Efron and Morris, 1975), with the
    standard error of a ratio of Lo (2002). The mean correlation `together` of the returns reduces that error (Jobson
    and Korkie, 1981). Fewer than four ratios permit no such estimator: each distance is halved.
    """
    count, mean = len(ratios), sum_in_order(ratios) / len(ratios)
    distances = [ratio - mean for ratio in ratios]
    spread = sum_in_order(distance * distance for distance in distances)
    if spread <= 0.0:
        return [0.0] * count
    if count < 4:
        return [0.5 * distance for distance in distances]
    daily_mean = mean / sqrt(PERIODS_PER_YEAR)
    error = (1.0 + 0.5 * daily_mean * daily_mean) / samples * PERIODS_PER_YEAR * (1.0 - min(max(together, 0.0), 1.0))
    kept = max(0.0, 1.0 - (count - 3) * error / spread)
    return [kept * distance for distance in distances]


def _within_rules(rules: CapitalRules, raw: Sequence[float]) -> tuple[float, ...]:
    """`raw` scaled to sum 1, shrunk towards the configured shares, and within floor and ceiling."""
    total = sum_in_order(raw)
    pulled = [
        rules.shrink * base + (1.0 - rules.shrink) * value / total for base, value in zip(rules.base, raw, strict=True)
    ]
    return within(pulled, rules.floor, rules.ceiling)


def within(shares: Sequence[float], floor: float, ceiling: float) -> tuple[float, ...]:
    """The projection of `shares` onto shares with sum 1 between `floor` and `ceiling`; `shares` unchanged where no such
    shares exist.

    Bisection finds the amount to subtract from each share before it is clipped to the bounds.
    """
    n = len(shares)
    if floor * n > 1.0 or ceiling * n < 1.0:
        return tuple(shares)
    low, high = min(shares) - 1.0, max(shares) + 1.0
    for _ in range(100):  # more halvings than float64 has bits
        subtracted = 0.5 * (low + high)
        if sum_in_order(min(max(share - subtracted, floor), ceiling) for share in shares) > 1.0:
            low = subtracted
        else:
            high = subtracted
    return tuple(min(max(share - high, floor), ceiling) for share in shares)


def stepped(now: Sequence[float], target: Sequence[float], max_step: float) -> tuple[float, ...]:
    """Shares from `now` towards `target`, each by the same fraction of its way, so that none changes by more than
    `max_step`."""
    largest = max(abs(after - before) for before, after in zip(now, target, strict=True))
    fraction = 1.0 if largest <= max_step else max_step / largest
    return tuple(before + fraction * (after - before) for before, after in zip(now, target, strict=True))


def amounts(pool_micro: int, shares: Sequence[float]) -> list[int]:
    """Integer amounts with the exact sum `pool_micro`, in proportion to `shares`.

    The amounts with the largest fractions are rounded up; of equal fractions the first ones.
    """
    total = sum_in_order(shares)
    exact = [pool_micro * share / total for share in shares]
    rounded = [int(np.floor(amount)) for amount in exact]
    remainder = pool_micro - sum(rounded)
    order = sorted(range(len(rounded)), key=lambda k: rounded[k] - exact[k])
    # float64 is exact to 2**53: a larger pool may leave more than one unit per part
    extra, leftover = divmod(remainder, len(rounded))
    for rank, k in enumerate(order):
        rounded[k] += extra + (rank < leftover)
    return rounded
