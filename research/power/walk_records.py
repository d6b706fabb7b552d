"""The records of a walk-forward by year, a line of JSON for each account and year, and the shipping rule's verdict.

What can go wrong: two walk-forwards in one file are mistaken for one. So each record has the digest of its plan, costs
and data. Where a year of an account is repeated, the last line counts. Each walk-forward of a trained policy in the
file counts as a look (an evaluation on these years), even if it is not finished, so that nobody has to remember the
number of looks.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.research.power.shipping_rule import ShippingVerdict, Years, shipping_verdict
from quantd.trading.market import Floats
from quantd.trading.statistics import PERIODS_PER_YEAR
from quantd.training.power.findings import read_lines

EQUAL_WEIGHT: Final = "equal_weight"
"""The account of equal weight."""

PARTS_OF_ONE: Final = 1e6
"""Daily log returns are stored as integers, in this many parts of 1."""


class Growth(Struct, frozen=True):
    """The daily log returns of an account in millionths, and its turnover a year."""

    daily: tuple[int, ...]
    turnover_annual: float

    @classmethod
    def of(cls, daily: Floats, turnover_annual: float) -> "Growth":
        """Return the growth from daily log returns float64[T]."""
        return cls(tuple(np.rint(daily * PARTS_OF_ONE).astype(int).tolist()), round(turnover_annual, 3))


class WalkedYear(Struct, frozen=True, forbid_unknown_fields=True):
    """One account in one test year, after costs.

    `walk` is the digest of the plan, costs and data of the walk-forward. `step` is the training step at which the
    chosen policy was saved, 0 for the untrained policy. A rule without training has `seed` and `step` 0. `daily` are
    log returns in millionths.
    """

    walk: str
    plan: str
    account: str
    cost_bp: float
    year: int
    seed: int
    step: int
    turnover_annual: float
    cpu_s: float
    commit: str
    daily: tuple[int, ...]

    @property
    def returns(self) -> Floats:
        """The daily log returns float64[T]."""
        return np.array(self.daily, dtype=np.float64) / PARTS_OF_ONE

    @property
    def growth(self) -> float:
        """The annual log growth of the account."""
        return float(self.returns.mean()) * PERIODS_PER_YEAR


class AccountRow(Struct, frozen=True):
    """The figures of an account over all of its years, averaged over its seeds. Growths are log growths a year.

    `seeds` is 0 for a rule without training. `excess` is the growth above equal weight. `above` is the number of years
    in which the mean growth of the seeds is above equal weight's. `untrained` is the share of the years in which the
    untrained policy was chosen.
    """

    account: str
    seeds: int
    years: int
    growth: float
    excess: float
    above: int
    turnover_annual: float
    cpu_s: float
    untrained: float


class Walked(Struct, frozen=True):
    """One walk-forward by year: its records, in the order of account, seed and year."""

    records: tuple[WalkedYear, ...]

    @property
    def first(self) -> WalkedYear:
        """The first record of the walk-forward. All its records have the same plan and costs."""
        return self.records[0]

    @property
    def learned(self) -> tuple[WalkedYear, ...]:
        return tuple(record for record in self.records if record.seed > 0)

    def excess(self, account: str) -> dict[int, dict[int, Floats]]:
        """Return an account's daily log returns less equal weight's, by seed and year, for the years that both have."""
        equal = {record.year: record.returns for record in self.records if record.account == EQUAL_WEIGHT}
        by_seed: dict[int, dict[int, Floats]] = {}
        for record in self.records:
            if record.account == account and record.year in equal:
                by_seed.setdefault(record.seed, {})[record.year] = record.returns - equal[record.year]
        return by_seed

    @property
    def rivals(self) -> Mapping[str, Years]:
        """The daily excess of each rule without training, by year."""
        names = dict.fromkeys(record.account for record in self.records if record.seed == 0)
        return {name: self.excess(name)[0] for name in names if name != EQUAL_WEIGHT}

    def rows(self) -> list[AccountRow]:
        """Return the figures of each account, equal weight first."""
        names = dict.fromkeys([EQUAL_WEIGHT, *(record.account for record in self.records)])
        return [self._row(name) for name in names if any(record.account == name for record in self.records)]

    def _row(self, account: str) -> AccountRow:
        """Return the figures of one account, with its excess over equal weight. Each year has the same weight, however
        many seeds it has.

        A rule has no seeds: its records have the seed 0. The step 0 means that the untrained policy was chosen.
        """
        records = [record for record in self.records if record.account == account]
        growth_by_year: dict[int, list[float]] = {}
        for record in records:
            growth_by_year.setdefault(record.year, []).append(record.growth)
        excess_by_year: dict[int, list[float]] = {}
        for daily_by_year in self.excess(account).values():
            for year, daily in daily_by_year.items():
                excess_by_year.setdefault(year, []).append(float(daily.mean()) * PERIODS_PER_YEAR)
        yearly_excess = [float(np.mean(values)) for values in excess_by_year.values()]
        return AccountRow(
            account=account,
            seeds=len({record.seed for record in records if record.seed}),
            years=len({record.year for record in records}),
            growth=float(np.mean([np.mean(values) for values in growth_by_year.values()])),
            excess=float(np.mean(yearly_excess)) if yearly_excess else 0.0,
            above=sum(value > 0.0 for value in yearly_excess),
            turnover_annual=float(np.mean([record.turnover_annual for record in records])),
            cpu_s=float(np.mean([record.cpu_s for record in records])),
            untrained=float(np.mean([record.step == 0 for record in records])) if records[0].seed else 0.0,
        )

    def verdict(self, looks: int) -> ShippingVerdict:
        """Apply the shipping rule. Raises ValueError where no account was trained, no year has all seeds, the accounts
        differ in their years or days, or `looks` is below 1."""
        if not self.learned:
            raise ValueError("no seed was trained; finish a year of at least one seed")
        return shipping_verdict(self.excess(self.learned[0].account), self.rivals, looks)


def read_walks(path: Path) -> list[Walked]:
    """Return the walk-forwards in a file, none where there is no file. Raises FindingsError for an unreadable file.

    Where a year of an account and seed is repeated, the last record counts.
    """
    walks: dict[str, dict[tuple[str, int, int], WalkedYear]] = {}
    for record in read_lines(path, WalkedYear):
        walks.setdefault(record.walk, {})[record.account, record.seed, record.year] = record
    return [Walked(tuple(walk[key] for key in sorted(walk))) for walk in walks.values()]


def looks_of(walks: Iterable[Walked]) -> int:
    """Return the number of looks (evaluations on these years): the walk-forwards with a trained policy.

    The number is at least 1, because the judged walk-forward is a look itself.
    """
    return max(1, sum(bool(walk.learned) for walk in walks))
