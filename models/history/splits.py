"""Parts of a history for training, validation and test; overlapping parts are refused.

What can go wrong. The outcome of a decision lasts `horizon` rows. An outcome that was used in a fit could therefore
reach into the rows on which the fit is tested, and noise would look like skill.

Rows whose outcome ends in the later part are therefore omitted (purging), and so are `embargo` further rows between the
parts (M. López de Prado, "Advances in Financial Machine Learning", 2018, chapter 7). Neither is needed after the tested
rows, because all fitted rows are earlier than the tested rows. Features look back from one part into the earlier one,
which is no leak, because those values were known.
"""

from datetime import date, timedelta
from itertools import pairwise

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

DAY_NS = 86_400_000_000_000


class Split(Struct, frozen=True):
    """First and last date of one part of a history, both inclusive. Raises ValueError when the last date is before
    the first."""

    name: str
    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last <= self.first:
            raise ValueError(f"{self.name} ends on {self.last}, which is not after its begin, {self.first}")

    def rows(self, day_ns: NDArray[np.int64]) -> range:
        """Return the rows of the sessions between the two dates. Raises ValueError for fewer than two rows."""
        lo = int(np.searchsorted(day_ns, _ns(self.first), side="left"))
        hi = int(np.searchsorted(day_ns, _ns(self.last), side="right"))
        if hi - lo < 2:
            raise ValueError(f"{self.name}: fewer than two sessions between {self.first} and {self.last}")
        return range(lo, hi)

    @property
    def end_ns(self) -> int:
        """The end of the part's last day, in ns UTC: every market of that date has closed."""
        return _ns(self.last) + DAY_NS


class Splits(Struct, frozen=True):
    """The parts `train`, `validation` and `test`, in this order of time. Raises ValueError when two overlap.

    The outcome of a decision lies in the same part as the decision, so that the last row of a part is only an outcome.
    Features look back from one part into the earlier one, which is no leak because those values were known.
    """

    train: Split
    validation: Split
    test: Split

    def __post_init__(self) -> None:
        for earlier, later in pairwise((self.train, self.validation, self.test)):
            if later.first <= earlier.last:
                raise ValueError(
                    f"{later.name} begins {later.first}, inside or before {earlier.name} (to {earlier.last}); "
                    "move one of them, since parts may not overlap"
                )


USUAL_SPLITS = Splits(
    Split("train", date(1998, 7, 6), date(2012, 12, 31)),
    Split("validation", date(2013, 1, 2), date(2016, 12, 30)),
    Split("test", date(2017, 1, 3), date(2018, 12, 31)),
)


def day_of(ns: int) -> date:
    """Return the date of an instant, UTC."""
    return date(1970, 1, 1) + timedelta(days=int(ns) // DAY_NS)


def _ns(day: date) -> int:
    return int(np.datetime64(day, "ns").astype(np.int64))


class Fold(Struct, frozen=True):
    """One step of walk-forward validation: training rows and later test rows, [start, stop) each.

    The outcome of the last training decision is `horizon` rows after it. Raises ValueError unless more than `embargo`
    rows lie between this outcome and the first test decision. The gap is the purging and embargo of López de Prado
    (2018), for training rows that are always earlier than test rows.
    """

    train: tuple[int, int]
    test: tuple[int, int]
    horizon: int
    embargo: int

    def __post_init__(self) -> None:
        """Raise ValueError for an impossible horizon or embargo, a part without rows, and outcomes known too late.

        `train` and `test` are the first row and the row after the last. The outcome of a row is known `horizon` rows
        later.
        """
        if self.horizon < 1 or self.embargo < 0:
            raise ValueError(f"horizon {self.horizon} must be 1 row or more, and embargo {self.embargo} 0 or more")
        if self.train[1] <= self.train[0] or self.test[1] <= self.test[0]:
            raise ValueError(f"a fold has no rows: {self.train} to fit on, {self.test} to judge on")
        gap = self.test[0] - (self.train[1] - 1 + self.horizon)
        if gap <= self.embargo:
            raise ValueError(
                f"the outcome of the last fitted row is known {gap} rows before the first judged one; the embargo is "
                f"{self.embargo} rows"
            )


def walk_forward(first: int, stop: int, folds: int, horizon: int, embargo: int) -> tuple[Fold, ...]:
    """Return `folds` walk-forward steps over the rows [first, stop), each of which has a known outcome.

    The rows are cut into folds + 1 equal parts. Each part but the first tests a fit of all earlier rows, except those
    that purging and embargo exclude. Raises ValueError when there are too few rows.
    """
    part_edges = [first + (stop - first) * k // (folds + 1) for k in range(folds + 2)]
    steps = []
    for test_start, test_stop in pairwise(part_edges[1:]):
        train_stop = test_start - horizon - embargo
        if train_stop <= first or test_stop <= test_start:
            raise ValueError(
                f"{stop - first} rows are too few for {folds} steps with a horizon of {horizon} and an embargo of "
                f"{embargo}; ask for fewer steps or give more history"
            )
        steps.append(Fold((first, train_stop), (test_start, test_stop), horizon, embargo))
    return tuple(steps)
