"""The rule by which a trained policy may be shipped as better than equal weight, on a walk-forward by year.

What can go wrong: one lucky seed, year or plan of many counts as skill. The rule asks for several seeds and years, and
judges the mean of all seeds. Its interval has the level 1 - 0.05 / looks (Bonferroni). So a further plan on the same
years makes it wider and never narrower. A policy that holds what a simple rule holds has learned nothing: it must also
earn more than each rival.

The rule was written before any result of a walk-forward was known. A change of it makes the earlier verdicts void.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.trading.bootstrap import MIN_SAMPLES, STATIONARY_SEED, index_chunks, stationary_length
from quantd.trading.market import Floats
from quantd.trading.statistics import PERIODS_PER_YEAR

YEARS: Final = 8
"""Fewest test years."""

SEEDS: Final = 5
"""Fewest seeds, each with every year."""

SEEDS_ABOVE: Final = 0.8
"""Least share of the seeds that are above equal weight: 4 of 5."""

YEARS_ABOVE: Final = 0.5
"""The mean of the seeds is above equal weight in more than this share of the years."""

ERROR: Final = 0.05
"""Probability, for all looks together, that the interval leaves out a mean of 0."""

RESAMPLES: Final = 10_000
"""Resamples of an interval, as many for each number of looks, so that one more look never makes it narrower."""

RIVALS: Final = ("inverse_volatility", "linear_ranker")
"""Policies without training that must have earned less."""

Years = Mapping[int, Floats]
"""Daily log returns float64[T] above those of equal weight, after costs, by test year."""


class Check(Struct, frozen=True):
    """One condition: what is asked for, what was measured, and whether it holds."""

    condition: str
    measured: str
    holds: bool


class ShippingVerdict(Struct, frozen=True):
    """The conditions of the rule on one walk-forward; growths are logarithmic, a year, above equal weight.

    `low` and `high` bound the mean over the seeds, at the level 1 - ERROR / looks; None where there is no interval.
    """

    excess: float
    low: float | None
    high: float | None
    looks: int
    checks: tuple[Check, ...]

    @property
    def ships(self) -> bool:
        """Whether the policy may be shipped as better than equal weight."""
        return all(check.holds for check in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The conditions that do not hold, each with what was measured."""
        return tuple(f"{check.condition}: {check.measured}" for check in self.checks if not check.holds)

    def lines(self) -> tuple[str, ...]:
        """Return the verdict in words, then each condition with what was measured."""
        ships = "may" if self.ships else "may not"
        marks = [f"  {'yes' if check.holds else 'no '}  {check.condition}: {check.measured}" for check in self.checks]
        return (f"The policy {ships} be shipped as better than equal weight.", *marks)


def shipping_verdict(seeds: Mapping[int, Years], rivals: Mapping[str, Years], looks: int) -> ShippingVerdict:
    """Apply the rule to the excess of each seed and of each rival on the same days. A missing rival fails the rule.

    `looks` is the number of combinations of plan and costs that were tried on these years, this one included. A seed
    without one of the years fails the rule. The figures are then those of the seeds with every year, or, where there is
    none, of the years that every seed has. Raises ValueError without such a year, for a rival without one of them, for
    days that differ, and for looks below 1.
    """
    if looks < 1:
        raise ValueError(f"looks {looks}: the number must be 1 or more, because this look counts")
    every = len(seeds)
    most = set[int]().union(*seeds.values())
    finished = {seed: of for seed, of in seeds.items() if set(of) == most}
    seeds = finished or seeds
    years = sorted(set.intersection(*(set(of) for of in seeds.values()))) if seeds else []
    if not years:
        raise ValueError("no year has all seeds; finish the walk-forward")
    by_seed = {seed: _joined(of, years) for seed, of in seeds.items()}
    rival_days = {name: _joined(of, years) for name, of in rivals.items()}
    for year in years:
        days = {len(of[year]) for of in (*seeds.values(), *rivals.values())}
        if len(days) > 1:
            raise ValueError(f"{year}: the accounts have {min(days)} to {max(days)} days; they must have the same")
    mean = np.mean(list(by_seed.values()), axis=0)
    bounds = mean_bounds(mean, looks)
    low, high = (None, None) if bounds is None else (_annual(bounds[0]), _annual(bounds[1]))
    above = sum(float(daily.mean()) > 0.0 for daily in by_seed.values())
    good_years = sum(float(np.mean([of[year].mean() for of in seeds.values()])) > 0.0 for year in years)
    growth = _annual(float(mean.mean()))
    level = f"{1.0 - ERROR / looks:.2%}".replace(".00%", "%")
    checks = [
        Check(f"at least {YEARS} test years", f"{len(years)}", len(years) >= YEARS),
        Check(f"at least {SEEDS} seeds", f"{len(seeds)}", len(seeds) >= SEEDS),
        Check("every seed has every year", f"{len(finished)} of {every}", len(finished) == every),
        Check(
            f"lower bound above 0 ({level}, {looks} look{'' if looks == 1 else 's'})",
            "no interval" if low is None else f"{low:+.3f} a year",
            low is not None and low > 0.0,
        ),
        Check(
            f"at least {SEEDS_ABOVE:.0%} of the seeds above equal weight",
            f"{above} of {len(seeds)}",
            above >= SEEDS_ABOVE * len(seeds),
        ),
        Check(
            "above equal weight in most years",
            f"{good_years} of {len(years)}",
            good_years > YEARS_ABOVE * len(years),
        ),
        *(_against(name, growth, rival_days.get(name)) for name in dict.fromkeys((*RIVALS, *rivals))),
    ]
    return ShippingVerdict(growth, low, high, looks, tuple(checks))


def mean_bounds(daily: Floats, looks: int = 1) -> tuple[float, float] | None:
    """Return the bounds of the mean of float64[T] at the level 1 - ERROR / looks, of the stationary bootstrap.

    Source: Politis and Romano 1994. None for fewer days than MIN_SAMPLES, and where all days are equal.
    """
    if len(daily) < MIN_SAMPLES or float(daily.std()) == 0.0:
        return None
    draw = np.random.default_rng(STATIONARY_SEED)
    chunks = index_chunks(len(daily), stationary_length(daily), RESAMPLES, draw)
    means = np.concatenate([daily[indices].mean(axis=1) for _, indices in chunks])
    low, high = np.quantile(means, (ERROR / looks / 2.0, 1.0 - ERROR / looks / 2.0))
    return float(low), float(high)


def _joined(of: Years, years: list[int]) -> Floats:
    """Return the days of all years. Raises ValueError for a year that is missing."""
    if missing := [year for year in years if year not in of]:
        raise ValueError(f"{missing[0]}: no returns; every rival needs each year of the seeds")
    return np.concatenate([of[year] for year in years])


def _against(name: str, growth: float, rival: Floats | None) -> Check:
    """Return the condition of more growth than a rival."""
    condition = f"more growth than {name}"
    if rival is None:
        return Check(condition, "not measured", holds=False)
    earned = _annual(float(rival.mean()))
    return Check(condition, f"{growth:+.3f} and {earned:+.3f} a year above equal weight", growth > earned)


def _annual(daily: float) -> float:
    return daily * PERIODS_PER_YEAR
