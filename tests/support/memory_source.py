"""Sources of bars in memory for the wrappers' tests: what they give is known, and they fail on command."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from quantd.adapters.feeds.bars.rows import ActionRow, Rows, within
from quantd.adapters.feeds.bars.stamps import Stamps
from quantd.adapters.feeds.source import SourceError
from quantd.trading.instruments import NANO


@dataclass
class Recorded:
    """A Source over rows. `failing` errors are raised one by one before it answers; `asked` lists the ranges
    asked for."""

    rows: Rows
    name: str = "recorded"
    stamps: Stamps = "open"
    adjusted: bool = False
    listed: Sequence[ActionRow] = ()
    failing: list[SourceError] = field(default_factory=list)
    asked: list[tuple[int, int]] = field(default_factory=list)
    asked_actions: list[tuple[int, int]] = field(default_factory=list)
    closed: bool = False

    async def bars(self, start_ns: int, end_ns: int) -> Rows:
        self.asked.append((start_ns, end_ns))
        if self.failing:
            raise self.failing.pop(0)
        return within(self.rows, start_ns, end_ns)

    async def actions(self, start_ns: int, end_ns: int) -> list[ActionRow]:
        self.asked_actions.append((start_ns, end_ns))
        if self.failing:
            raise self.failing.pop(0)
        return [a for a in self.listed if start_ns <= a.day_ns < end_ns]

    async def close(self) -> None:
        self.closed = True


def market(stamps: Sequence[int], columns: Sequence[int], price: float = 100.0) -> Rows:
    """Bars whose prices tell them apart: `price` plus a cent for each place."""
    ts = np.array(stamps, dtype=np.int64)
    cents = np.round(price * 100) + np.arange(len(ts))
    closes = cents / 100
    nano = (cents * (NANO // 100)).astype(np.int64)
    ones = np.ones(len(ts))
    return Rows(
        ts, np.array(columns, dtype=np.int64), closes, closes + 1, closes - 1, closes.copy(), 10 * ones, nano,
        nano.copy(),
        np.zeros(len(ts), dtype=np.int64),
    )  # fmt: skip


def same(left: Rows, right: Rows) -> bool:
    """Each symbol's bars alike, in their order."""
    for column in {*left.column.tolist(), *right.column.tolist()}:
        mine, theirs = (rows.take(rows.column == column) for rows in (left, right))
        for name in Rows.__slots__:
            if not np.array_equal(getattr(mine, name), getattr(theirs, name), equal_nan=name not in _INTS):
                return False
    return True


_INTS = {"ts", "column", "open_nano", "close_nano", "source"}
