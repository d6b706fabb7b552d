"""Builds bars of an interval from trades or finer bars, in one pass or incrementally.

Bars begin and end with their session, early closes included. An interval without trades gives no bar. Parts of a bar
can be added in any order, so both ways give the same bars (volume up to the rounding of a float sum).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from quantd.adapters.feeds.bars.merge import place_all
from quantd.adapters.feeds.bars.rows import Rows
from quantd.adapters.feeds.bars.stamps import Stamps
from quantd.adapters.feeds.errors import FeedError
from quantd.trading.instruments import Universe
from quantd.trading.market import Floats, Ints
from quantd.trading.sessions import DAY_NS, Sessions

_FLOATS: Final = ("open", "high", "low", "close", "volume")
_EXACT: Final = ("open_nano", "close_nano")


@dataclass(frozen=True, slots=True)
class Trades:
    """R trades in order of arrival.

    `ts` is in ns UTC, `column` is the symbol's, `price` and `size` are float64[R], `price_nano` is the exact price.
    """

    ts: Ints
    column: Ints
    price: Floats
    price_nano: Ints
    size: Floats

    def __len__(self) -> int:
        return len(self.ts)


class Resampler:
    """Builds bars of `interval_ns` (DAY_NS: whole sessions), stamped with their open.

    `stamps` and `finer_ns` are the stamp convention and length of finer bars. Trades at the exact close of a session
    belong to its last bar. Parts outside of sessions give no bar.
    """

    def __init__(
        self,
        universe: Universe,
        sessions: Mapping[str, Sessions],
        interval_ns: int,
        *,
        stamps: Stamps = "open",
        finer_ns: int = 0,
    ) -> None:
        """Raises FeedError when bars of `finer_ns` do not divide the interval."""
        if finer_ns and (interval_ns % finer_ns or finer_ns >= interval_ns):
            raise FeedError(
                "[feed] interval",
                f"bars of {finer_ns // 10**9} s do not add up to {interval_ns // 10**9} s",
                "Ask the vendor for an interval that divides the wanted one",
            )
        self._universe: Final = universe
        self._sessions: Final = sessions
        self._interval: Final = interval_ns
        self._stamps: Final = stamps
        self._finer: Final = finer_ns
        self._forming = _empty()
        self._given_until = np.full(universe.size, np.iinfo(np.int64).min)
        self.late = 0
        """Number of parts that arrived after their bar was returned; they are in no bar."""

    def whole(self, parts: Rows | Trades) -> Rows:
        """Return all bars of these parts, by time, then column, including unfinished ones."""
        return _rows(_fold(self.placed(parts)))

    def add(self, parts: Rows | Trades) -> Rows:
        """Add parts and return the bars that they complete: those before the newest bar of their symbol."""
        new = self.placed(parts)
        in_time = pl.Series(new["end"].to_numpy() > self._given_until[new["column"].to_numpy()], dtype=pl.Boolean)
        self.late += len(new) - int(in_time.sum())
        self._forming = _fold(pl.concat([self._forming, new.filter(in_time)]))
        newest = pl.col("begin").max().over("column")
        return self._give(self._forming.select(pl.col("begin") < newest).to_series())

    def until(self, ts: int) -> Rows:
        """Return the bars that end at or before `ts`, which can receive no more parts."""
        return self._give(self._forming["end"] <= ts)

    def _give(self, which: pl.Series) -> Rows:
        out = self._forming.filter(which)
        self._forming = self._forming.filter(~which)
        np.maximum.at(self._given_until, out["column"].to_numpy(), out["end"].to_numpy())
        return _rows(out)

    def placed(self, parts: Rows | Trades) -> pl.DataFrame:
        """Return a frame with one row per part [first, last] and the bar [begin, end] that contains it."""
        if isinstance(parts, Trades):
            first = last = parts.ts
            inside = np.ones(len(parts), dtype=np.bool_)
            values: dict[str, Floats | Ints] = dict.fromkeys(("open", "high", "low", "close"), parts.price)
            values |= {"volume": parts.size, "open_nano": parts.price_nano, "close_nano": parts.price_nano}
        else:
            placed = place_all(parts, self._universe, self._sessions, self._stamps, self._finer or self._interval)
            first, last, inside = placed.ts_open, placed.ts_event, placed.inside
            values = {n: getattr(parts, n) for n in (*_FLOATS, *_EXACT)}
        begin, end, where = self._bars_of(first, parts.column)
        inside = inside & where
        if bool(np.any(inside & (last > end))):
            raise FeedError(
                "[feed] interval",
                f"finer bars reach over the end of bars of {self._interval // 10**9} s, which begin with the session",
                "Ask the vendor for a shorter interval",
            )
        columns: dict[str, Floats | Ints] = {"column": parts.column, "begin": begin, "end": end}
        columns |= {"first": first, "last": last, **values}
        return pl.DataFrame(columns, schema=_SCHEMA).filter(pl.Series(inside, dtype=pl.Boolean))

    def _bars_of(self, ts: Ints, column: Ints) -> tuple[Ints, Ints, np.ndarray]:
        """Return int64[R] begin and end of the bar of each instant, and bool[R] whether it exists."""
        begin, end, inside = ts.copy(), ts.copy(), np.zeros(len(ts), dtype=np.bool_)
        calendars = [i.calendar for i in self._universe.instruments]
        for name in set(calendars):
            mine = np.array([c == name for c in calendars])[column]
            s = self._sessions[name]
            if not len(s.opens) or not mine.any():
                continue
            row = np.searchsorted(s.opens, ts[mine], side="right") - 1
            opens, closes = s.opens[np.maximum(row, 0)], s.closes[np.maximum(row, 0)]
            if self._interval >= DAY_NS:
                begin[mine], end[mine] = opens, closes
            else:
                at = np.minimum(ts[mine], closes - 1)  # the trades of the close itself
                begin[mine] = at - (at - opens) % self._interval
                end[mine] = np.minimum(begin[mine] + self._interval, closes)
            inside[mine] = (row >= 0) & (ts[mine] <= closes)
        return begin, end, inside


_SCHEMA: Final = {
    **dict.fromkeys(("column", "begin", "end", "first", "last"), pl.Int64),
    **dict.fromkeys(_FLOATS, pl.Float64),
    **dict.fromkeys(_EXACT, pl.Int64),
}


def _empty() -> pl.DataFrame:
    return pl.DataFrame(schema=_SCHEMA)


def _fold(parts: pl.DataFrame) -> pl.DataFrame:
    """Combine parts of one bar: the open of the earliest, the close of the latest; equal times keep their order."""
    by_first = parts.sort("first", maintain_order=True)
    keys = ["column", "begin", "end"]
    opens = by_first.group_by(keys, maintain_order=True).agg(
        pl.col("first").first(),
        pl.col("open", "open_nano").first(),
        pl.col("high").nan_max(),  # a NaN part makes the whole bar NaN, which is then rejected
        pl.col("low").nan_min(),
        pl.col("volume").sum(),
    )
    closes = (
        parts.sort("last", maintain_order=True)
        .group_by(keys, maintain_order=True)
        .agg(pl.col("last", "close", "close_nano").last())
    )
    return opens.join(closes, on=keys).sort("begin", "column").select(list(_SCHEMA))


def _rows(bars: pl.DataFrame) -> Rows:
    return Rows(
        ts=bars["begin"].to_numpy(),
        column=bars["column"].to_numpy(),
        **{n: bars[n].to_numpy() for n in (*_FLOATS, *_EXACT)},
        source=np.zeros(len(bars), dtype=np.int64),
    )
