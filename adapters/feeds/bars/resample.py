"""Builds bars of an interval from trades or finer bars.

Bars begin and end with their session, early closes included. An interval without trades gives no bar.

What can go wrong. A trade at the exact close of a session opens a bar of its own, or is lost. Trades of one instant are
reordered, which changes an open or a close. A NaN price of a part (a trade or finer bar) is ignored when the maximum is
taken.

What the order of the steps guarantees. Trades at the close itself belong to the last bar. Parts are sorted by time, and
parts of one instant keep the order of the file. A NaN in a part makes the whole bar NaN, which the checks then reject.
A finer bar that ends after the end of its bar is refused: it would bring a later price into an earlier close.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from quantd.adapters.feeds.bars.merge import place_all
from quantd.adapters.feeds.bars.rows import Rows
from quantd.adapters.feeds.bars.stamps import Stamps
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.trading.instruments import Universe
from quantd.trading.market import Floats, Ints
from quantd.trading.sessions import DAY_NS, Sessions

_VALUES: Final = ("open", "high", "low", "close", "volume", "open_nano", "close_nano")
SCHEMA: Final = {
    **dict.fromkeys(("column", "begin", "end", "first", "last"), pl.Int64),
    **{name: pl.Int64 if name.endswith("_nano") else pl.Float64 for name in _VALUES},
}
"""The columns of a frame of parts."""


@dataclass(frozen=True, slots=True)
class Resampler:
    """Builds bars of `interval_ns` (DAY_NS: whole sessions), stamped with their open.

    The inputs, called parts, are bars of `finer_ns` with the stamp convention `stamps`. With `finer_ns` 0 they are
    trades, each a row of one price. Trades at the exact close of a session belong to its last bar. Parts outside of
    sessions give no bar.
    """

    universe: Universe
    sessions: Mapping[str, Sessions]
    interval_ns: int
    stamps: Stamps = "open"
    finer_ns: int = 0

    def __post_init__(self) -> None:
        """Raise FeedError when `interval_ns` is no multiple of `finer_ns`."""
        if self.finer_ns and (self.interval_ns % self.finer_ns or self.finer_ns >= self.interval_ns):
            raise FeedError(
                "[feed] interval",
                f"bars of {self.finer_ns // 10**9} s do not add up to {self.interval_ns // 10**9} s",
                "Ask the vendor for an interval that divides the wanted one",
            )

    def whole(self, parts: Rows) -> Rows:
        """Return all bars built from `parts` (trades or finer bars), sorted by time, then column."""
        return rows_of(fold(self.placed(parts)))

    def placed(self, parts: Rows) -> pl.DataFrame:
        """Return a frame with a row for each part: the time [first, last] of the part, and the time [begin, end] of the
        bar in which it begins.

        Raises FeedError for a part that ends after its bar.

        Parts are bars of `finer_ns`, or trades if that is 0: a trade begins and ends at its stamp.
        """
        if self.finer_ns:
            placed = place_all(parts, self.universe, self.sessions, self.stamps, self.finer_ns)
            first, last, inside = placed.ts_open, placed.ts_event, placed.inside
        else:
            first, last, inside = parts.ts, parts.ts, np.ones(len(parts), dtype=np.bool_)
        bar_begin, bar_end, in_session = self._bars_of(first, parts.column)
        inside = inside & in_session
        if bool(np.any(inside & (last > bar_end))):
            raise FeedError(
                "[feed] interval",
                f"finer bars cross the end of a bar of {self.interval_ns // 10**9} s; bars begin with the session",
                "Ask the vendor for a shorter interval",
            )
        columns: dict[str, Floats | Ints] = {"column": parts.column, "begin": bar_begin, "end": bar_end}
        columns |= {"first": first, "last": last, **{name: getattr(parts, name) for name in _VALUES}}
        return pl.DataFrame(columns, schema=SCHEMA).filter(pl.Series(inside, dtype=pl.Boolean))

    def _bars_of(self, ts: Ints, column: Ints) -> tuple[Ints, Ints, np.ndarray]:
        """Return int64[R] begin and end of the bar at each instant (ns UTC), and bool[R], False outside of sessions."""
        begin, end, inside = ts.copy(), ts.copy(), np.zeros(len(ts), dtype=np.bool_)
        calendars = [instrument.calendar for instrument in self.universe.instruments]
        for name in set(calendars):
            of_calendar = np.array([calendar == name for calendar in calendars])[column]
            calendar_sessions = self.sessions[name]
            if not len(calendar_sessions.opens) or not of_calendar.any():
                continue
            session = np.searchsorted(calendar_sessions.opens, ts[of_calendar], side="right") - 1
            opens, closes = (
                calendar_sessions.opens[np.maximum(session, 0)],
                calendar_sessions.closes[np.maximum(session, 0)],
            )
            if self.interval_ns >= DAY_NS:
                begin[of_calendar], end[of_calendar] = opens, closes
            else:
                inside_bar = np.minimum(ts[of_calendar], closes - 1)  # a trade at the close is in the last bar
                begin[of_calendar] = inside_bar - (inside_bar - opens) % self.interval_ns
                end[of_calendar] = np.minimum(begin[of_calendar] + self.interval_ns, closes)
            inside[of_calendar] = (session >= 0) & (ts[of_calendar] <= closes)
        return begin, end, inside


def fold(parts: pl.DataFrame) -> pl.DataFrame:
    """Combine parts (trades or finer bars) into one bar each: the open of the earliest, the close of the latest;
    parts of equal time keep their order."""
    return (
        parts.sort("first", maintain_order=True)
        .group_by(["column", "begin", "end"], maintain_order=True)
        .agg(
            pl.col("first", "open", "open_nano").first(),
            pl.col("high").nan_max(),  # a NaN part makes the whole bar NaN, which is then rejected
            pl.col("low").nan_min(),
            pl.col("volume").sum(),
            pl.col("last", "close", "close_nano").sort_by("last", maintain_order=True).last(),
        )
        .sort("begin", "column")
        .select(list(SCHEMA))
    )


def rows_of(bars: pl.DataFrame) -> Rows:
    return Rows(
        ts=bars["begin"].to_numpy(),
        column=bars["column"].to_numpy(),
        **{n: bars[n].to_numpy() for n in _VALUES},
        source=np.zeros(len(bars), dtype=np.int64),
    )
