"""Parts of a history for fitting, choosing and judging: objects that refuse to overlap."""

from datetime import date
from itertools import pairwise

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

DAY_NS = 86_400_000_000_000


class Split(Struct, frozen=True):
    """Dates of one part, both inclusive. ValueError when it ends before it begins."""

    name: str
    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last <= self.first:
            raise ValueError(f"{self.name} ends {self.last}, not after it begins ({self.first})")

    def rows(self, day_ns: NDArray[np.int64]) -> range:
        """Rows of the sessions inside; ValueError when there are fewer than two."""
        lo = int(np.searchsorted(day_ns, _ns(self.first), side="left"))
        hi = int(np.searchsorted(day_ns, _ns(self.last), side="right"))
        if hi - lo < 2:
            raise ValueError(f"{self.name}: fewer than two sessions between {self.first} and {self.last}")
        return range(lo, hi)

    @property
    def end_ns(self) -> int:
        """The end of its last day, UTC: every market of that date has closed."""
        return _ns(self.last) + DAY_NS


class Splits(Struct, frozen=True):
    """`train` fits, `validation` chooses, `test` judges, in this order of time. ValueError when two overlap.

    A decision's outcome is inside its own part: the last row of a part is only an outcome. Features look
    back across the border, which is no leak: they were known.
    """

    train: Split
    validation: Split
    test: Split

    def __post_init__(self) -> None:
        for earlier, later in pairwise((self.train, self.validation, self.test)):
            if later.first <= earlier.last:
                raise ValueError(
                    f"{later.name} begins {later.first}, inside or before {earlier.name} (to {earlier.last}); "
                    "parts may not overlap"
                )


def _ns(day: date) -> int:
    return int(np.datetime64(day, "ns").astype(np.int64))
