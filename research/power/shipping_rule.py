"""The rule by which a trained policy may be shipped as better than equal weight, on a walk-forward by year.

What can go wrong: one lucky seed, year or plan of many counts as skill. The rule asks for several seeds and years, and
judges the mean of all seeds. The confidence interval has the level 1 - 0.05 / looks (Bonferroni), where looks is the
number of plans that were tried on these years. So a further plan makes the interval wider and never narrower. A policy
that holds what a simple rule holds has learned nothing. So it must also earn more than each of several simple rules,
its rivals.

The rule was written before any result of a walk-forward was known. A change of the rule makes the earlier verdicts
void.
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
"""The mean of the seeds must be above equal weight in more than this share of the years."""

ERROR: Final = 0.05
"""Probability, for all looks together, that the interval leaves out a mean of 0."""

RESAMPLES: Final = 10_000
"""Number of resamples of an interval, the same for any number of looks: one more look never makes it narrower."""

RIVALS: Final = ("inverse_volatility", "linear_ranker")
"""Policies without training. The trained policy must have earned more than each of them."""

Years = Mapping[int, Floats]
"""Daily log returns float64[T] minus the returns of equal weight, after costs, by test year."""


class Check(Struct, frozen=True):
    """One condition of the shipping rule: what it requires, what was measured, and whether it holds."""

    condition: str
    measured: str
    holds: bool


class ShippingVerdict(Struct, frozen=True):
    """The conditions of the shipping rule, checked on one walk-forward.

    `excess` is the log growth a year above equal weight, the mean of the seeds. `low` and `high` are its confidence
    interval at the level 1 - ERROR / looks, where looks is the number of plans tried; None where there is no interval.
    """

    excess: float
    low: float | None
    high: float | None
    looks: int
    checks: tuple[Check, ...]

    @property
    def ships(self) -> bool:
        """True when every condition of the rule holds: the policy may be shipped as better than equal weight."""
        return all(check.holds for check in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The conditions of the shipping rule that do not hold, each with the measured value."""
        return tuple(f"{check.condition}: {check.measured}" for check in self.checks if not check.holds)

    def lines(self) -> tuple[str, ...]:
        """Return the verdict in words, then each condition with the measured value."""
        ships = "may" if self.ships else "may not"
        check_lines = [
            f"  {'yes' if check.holds else 'no '}  {check.condition}: {check.measured}" for check in self.checks
        ]
        return (f"The policy {ships} be shipped as better than equal weight.", *check_lines)


def shipping_verdict(seeds: Mapping[int, Years], rivals: Mapping[str, Years], looks: int) -> ShippingVerdict:
    """Apply the shipping rule to the daily returns above equal weight of each seed and of each rival.

    `looks` is the number of combinations of plan and costs that were tried on these years, the present one included.
    The rule fails where a rival of RIVALS is missing, or where a seed lacks a year. The figures are then computed
    without such seeds. If every seed lacks a year, they are computed from the years that all seeds have.

    Raises ValueError where no year has all seeds, where a rival lacks one of the years, where accounts have a different
    number of days in a year, and for looks below 1.
    """
    if looks < 1:
        raise ValueError(f"looks {looks}: the number must be 1 or more, because this look counts")
    seed_count = len(seeds)
    all_years = set[int]().union(*seeds.values())
    complete_seeds = {seed: by_year for seed, by_year in seeds.items() if set(by_year) == all_years}
    seeds = complete_seeds or seeds
    years = sorted(set.intersection(*(set(by_year) for by_year in seeds.values()))) if seeds else []
    if not years:
        raise ValueError("no year has all seeds; finish the walk-forward")
    daily_by_seed = {seed: _days_of_years(by_year, years) for seed, by_year in seeds.items()}
    daily_by_rival = {name: _days_of_years(by_year, years) for name, by_year in rivals.items()}
    for year in years:
        days = {len(by_year[year]) for by_year in (*seeds.values(), *rivals.values())}
        if len(days) > 1:
            raise ValueError(f"{year}: the accounts have {min(days)} to {max(days)} days; trade all on the same days")
    mean_daily = np.mean(list(daily_by_seed.values()), axis=0)
    bounds = mean_bounds(mean_daily, looks)
    low, high = (None, None) if bounds is None else (_annual(bounds[0]), _annual(bounds[1]))
    seeds_above = sum(float(daily.mean()) > 0.0 for daily in daily_by_seed.values())
    good_years = sum(float(np.mean([by_year[year].mean() for by_year in seeds.values()])) > 0.0 for year in years)
    growth = _annual(float(mean_daily.mean()))
    confidence = f"{1.0 - ERROR / looks:.2%}".replace(".00%", "%")
    checks = [
        Check(f"at least {YEARS} test years", f"{len(years)}", len(years) >= YEARS),
        Check(f"at least {SEEDS} seeds", f"{len(seeds)}", len(seeds) >= SEEDS),
        Check("every seed has every year", f"{len(complete_seeds)} of {seed_count}", len(complete_seeds) == seed_count),
        Check(
            f"lower bound above 0 ({confidence}, {looks} look{'' if looks == 1 else 's'})",
            "no interval" if low is None else f"{low:+.3f} a year",
            low is not None and low > 0.0,
        ),
        Check(
            f"at least {SEEDS_ABOVE:.0%} of the seeds above equal weight",
            f"{seeds_above} of {len(seeds)}",
            seeds_above >= SEEDS_ABOVE * len(seeds),
        ),
        Check(
            "above equal weight in most years",
            f"{good_years} of {len(years)}",
            good_years > YEARS_ABOVE * len(years),
        ),
        *(_rival_check(name, growth, daily_by_rival.get(name)) for name in dict.fromkeys((*RIVALS, *rivals))),
    ]
    return ShippingVerdict(growth, low, high, looks, tuple(checks))


def mean_bounds(daily: Floats, looks: int = 1) -> tuple[float, float] | None:
    """Return the confidence interval of the mean of `daily` float64[T] at the level 1 - ERROR / looks, where `looks` is
    the number of plans tried.

    The interval comes from the stationary bootstrap (Politis and Romano 1994). The result is None for fewer days than
    MIN_SAMPLES, and where all days are equal.
    """
    if len(daily) < MIN_SAMPLES or float(daily.std()) == 0.0:
        return None
    draw = np.random.default_rng(STATIONARY_SEED)
    chunks = index_chunks(len(daily), stationary_length(daily), RESAMPLES, draw)
    means = np.concatenate([daily[indices].mean(axis=1) for _, indices in chunks])
    low, high = np.quantile(means, (ERROR / looks / 2.0, 1.0 - ERROR / looks / 2.0))
    return float(low), float(high)


def _days_of_years(by_year: Years, years: list[int]) -> Floats:
    """Return the daily returns of all `years` in one array. Raises ValueError for a year that is missing."""
    if missing := [year for year in years if year not in by_year]:
        raise ValueError(f"{missing[0]}: a rival has no returns; every rival needs each year of the seeds")
    return np.concatenate([by_year[year] for year in years])


def _rival_check(name: str, growth: float, rival_daily: Floats | None) -> Check:
    """Return the condition that `growth` exceeds the growth of a rival (simple rule), both per year above equal weight.

    Without returns of the rival (None), the condition does not hold.
    """
    condition = f"more growth than {name}"
    if rival_daily is None:
        return Check(condition, "not measured", holds=False)
    rival_growth = _annual(float(rival_daily.mean()))
    return Check(condition, f"{growth:+.3f} and {rival_growth:+.3f} a year above equal weight", growth > rival_growth)


def _annual(daily: float) -> float:
    """Return the annual log growth for a mean daily log return."""
    return daily * PERIODS_PER_YEAR
