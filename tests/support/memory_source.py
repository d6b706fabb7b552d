"""Sources of bars in memory that fail on command, and the check that every source of bars passes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from quantd.adapters.feeds.bars.rows import ActionRow, Rows, joined, within
from quantd.adapters.feeds.bars.stamps import Stamps
from quantd.adapters.feeds.source import Source, SourceError
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


def same(bars: Rows, expected_bars: Rows) -> bool:
    """Each symbol's bars alike, in their order."""
    for column in {*bars.column.tolist(), *expected_bars.column.tolist()}:
        symbol_bars, expected_symbol_bars = (rows.take(rows.column == column) for rows in (bars, expected_bars))
        for name in Rows.__slots__:
            if not np.array_equal(
                getattr(symbol_bars, name), getattr(expected_symbol_bars, name), equal_nan=name not in _INTS
            ):
                return False
    return True


_INTS = {"ts", "column", "open_nano", "close_nano", "source"}


async def keeps_its_promises(source: Source, truth: Rows, start_ns: int, end_ns: int) -> None:
    """`truth` are the bars of [start_ns, end_ns), symbol by symbol in time order; `source` is closed in the end.

    Half-open ranges that fit together, types and shapes, exact money beside floats, no bar of a time that was not asked
    for.
    """
    assert source.name
    assert source.stamps in ("session", "open", "close")
    assert isinstance(source.adjusted, bool)
    stamps = np.unique(truth.ts)
    middle = int(stamps[len(stamps) // 2])
    answers = [await source.bars(start_ns, end_ns)]
    parts = [
        await source.bars(begin, end) for begin, end in ((start_ns, middle), (middle, middle + 1), (middle + 1, end_ns))
    ]
    answers.append(joined(parts))
    assert parts[1].ts.tolist() == [middle] * int((truth.ts == middle).sum()), "a range of one instant holds its bars"
    assert not (parts[0].ts >= middle).any()
    assert not (parts[2].ts <= middle).any()
    for rows in answers:
        assert same(_plain(rows), _plain(within(truth, start_ns, end_ns)))
        for name in Rows.__slots__:
            kind = np.int64 if name in {"ts", "column", "open_nano", "close_nano", "source"} else np.float64
            assert getattr(rows, name).dtype == kind, name
            assert getattr(rows, name).shape == (len(rows),)
        np.testing.assert_allclose(rows.open_nano / 1e9, rows.open, rtol=1e-15)
    for action in await source.actions(start_ns, end_ns):
        assert start_ns <= action.day_ns < end_ns
        assert action.day_ns % 86_400_000_000_000 == 0
        assert (action.cash_nano > 0) == (action.kind == "dividend")
        assert action.numerator > 0
        assert action.denominator > 0
    await source.close()
    await source.close()


def _plain(rows: Rows) -> Rows:
    """Without saying whose they are."""
    kept = {name: getattr(rows, name) for name in Rows.__slots__}
    return Rows(**{**kept, "source": np.zeros(len(rows), dtype=np.int64)})
