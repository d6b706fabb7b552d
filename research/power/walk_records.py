"""The records of a walk-forward by year: a line of JSON for each account and year, and what the rule says of them.

What can go wrong: two walks in one file are taken for one. A record has the digest of its plan, costs and data; of a
repeated year the last line counts. Each walk with a learned account in the file is a look, also one that is not
finished, so that nobody has to remember how many there were.
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

PARTS: Final = 1e6
"""Daily log returns are stored as whole millionths."""


class Growth(Struct, frozen=True):
    """The daily log returns of an account in millionths, and its turnover a year."""

    daily: tuple[int, ...]
    turnover_annual: float

    @classmethod
    def of(cls, daily: Floats, turnover_annual: float) -> "Growth":
        """Return the growth of daily log returns float64[T]."""
        return cls(tuple(np.rint(daily * PARTS).astype(int).tolist()), round(turnover_annual, 3))


class WalkedYear(Struct, frozen=True, forbid_unknown_fields=True):
    """One account in one test year, after costs.

    `walk` is the digest of plan, costs and data. `seed` and `step` are 0 for a rule without training; `step` is 0, too,
    where the untrained policy was chosen. `daily` are log returns in millionths.
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
        return np.array(self.daily, dtype=np.float64) / PARTS

    @property
    def growth(self) -> float:
        """Log growth a year."""
        return float(self.returns.mean()) * PERIODS_PER_YEAR


class AccountRow(Struct, frozen=True):
    """An account over all of its years, the mean of its seeds; growths are logarithmic, a year.

    `seeds` is 0 for a rule without training. `excess` is above equal weight. `above` counts the years in which the mean
    of the seeds is above it. `untrained` is the share of the years in which the untrained policy was chosen.
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
    """One walk: its records by account and seed, then by year."""

    records: tuple[WalkedYear, ...]

    @property
    def first(self) -> WalkedYear:
        """The first year: what it has in common with the others, such as the account."""
        return self.records[0]

    @property
    def learned(self) -> tuple[WalkedYear, ...]:
        """The records of the seeds."""
        return tuple(record for record in self.records if record.seed > 0)

    def excess(self, account: str) -> dict[int, dict[int, Floats]]:
        """Return the daily log returns above equal weight by seed and year, of years that equal weight has."""
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
        """Return a row for each account, equal weight first."""
        names = dict.fromkeys([EQUAL_WEIGHT, *(record.account for record in self.records)])
        return [self._row(name) for name in names if any(record.account == name for record in self.records)]

    def _row(self, account: str) -> AccountRow:
        records = [record for record in self.records if record.account == account]
        grown: dict[int, list[float]] = {}
        for record in records:
            grown.setdefault(record.year, []).append(record.growth)
        above: dict[int, list[float]] = {}
        for years in self.excess(account).values():
            for year, daily in years.items():
                above.setdefault(year, []).append(float(daily.mean()) * PERIODS_PER_YEAR)
        means = [float(np.mean(values)) for values in above.values()]
        return AccountRow(
            account=account,
            seeds=len({record.seed for record in records if record.seed}),
            years=len({record.year for record in records}),
            growth=float(np.mean([np.mean(values) for values in grown.values()])),
            excess=float(np.mean(means)) if means else 0.0,
            above=sum(value > 0.0 for value in means),
            turnover_annual=float(np.mean([record.turnover_annual for record in records])),
            cpu_s=float(np.mean([record.cpu_s for record in records])),
            untrained=float(np.mean([record.step == 0 for record in records])) if records[0].seed else 0.0,
        )

    def verdict(self, looks: int) -> ShippingVerdict:
        """Apply the rule. Raises ValueError as `shipping_verdict`, and for a walk without a seed."""
        if not self.learned:
            raise ValueError("no seed was trained")
        return shipping_verdict(self.excess(self.learned[0].account), self.rivals, looks)


def read_walks(path: Path) -> list[Walked]:
    """Return the walks of a file, none where there is no file; of a repeated year the last. Raises FindingsError."""
    walks: dict[str, dict[tuple[str, int, int], WalkedYear]] = {}
    for record in read_lines(path, WalkedYear):
        walks.setdefault(record.walk, {})[record.account, record.seed, record.year] = record
    return [Walked(tuple(walk[key] for key in sorted(walk))) for walk in walks.values()]


def looks_of(walks: Iterable[Walked]) -> int:
    """Return the number of walks with a learned account, at least 1."""
    return max(1, sum(bool(walk.learned) for walk in walks))
