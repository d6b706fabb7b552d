"""Bars of an interval out of trades or of finer bars: in one go, or as they come.

Bars begin with their session and end with it, an early close too; an interval in which nothing happened gives no bar.
Parts of a bar add up in any order, so both ways give the same bars (volume to the last rounding of a float sum).
"""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from quantd.adapters.feeds.errors import FeedError
from quantd.adapters.feeds.files import ActionRow, Rows
from quantd.adapters.feeds.merged import place_all
from quantd.adapters.feeds.partial import PartialAnswer
from quantd.adapters.feeds.source import Source, Stream
from quantd.adapters.feeds.stamps import Stamps
from quantd.trading.instruments import Universe
from quantd.trading.market import Floats, Ints
from quantd.trading.sessions import DAY_NS, Sessions

_FLOATS: Final = ("open", "high", "low", "close", "volume")
_EXACT: Final = ("open_nano", "close_nano")


@dataclass(frozen=True, slots=True)
class Trades:
    """R trades in the order in which they came: `ts` in ns UTC, `column` the symbol's, `price` and `size` float64[R],
    `price_nano` the exact price."""

    ts: Ints
    column: Ints
    price: Floats
    price_nano: Ints
    size: Floats

    def __len__(self) -> int:
        return len(self.ts)


class Resampler:
    """Bars of `interval_ns` (DAY_NS: of whole sessions), stamped with their open.

    `stamps` and `finer_ns` say how finer bars are dated and how long they are. Trades of a session's very close belong
    to its last bar; what lies in no session gives no bar.
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
        """Raises FeedError when bars of `finer_ns` do not fill the interval."""
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
        """Parts that came after their bar had been given; they are in no bar."""

    def whole(self, parts: Rows | Trades) -> Rows:
        """All bars of these parts, by time, then column; what is known of those still open too."""
        return _rows(_fold(self.placed(parts)))

    def add(self, parts: Rows | Trades) -> Rows:
        """The bars that these parts end: those of before the newest bar of their symbol."""
        new = self.placed(parts)
        in_time = pl.Series(new["end"].to_numpy() > self._given_until[new["column"].to_numpy()], dtype=pl.Boolean)
        self.late += len(new) - int(in_time.sum())
        self._forming = _fold(pl.concat([self._forming, new.filter(in_time)]))
        newest = pl.col("begin").max().over("column")
        return self._give(self._forming.select(pl.col("begin") < newest).to_series())

    def until(self, ts: int) -> Rows:
        """The bars that end at or before `ts`: nothing of them comes any more."""
        return self._give(self._forming["end"] <= ts)

    def _give(self, which: pl.Series) -> Rows:
        out = self._forming.filter(which)
        self._forming = self._forming.filter(~which)
        np.maximum.at(self._given_until, out["column"].to_numpy(), out["end"].to_numpy())
        return _rows(out)

    def placed(self, parts: Rows | Trades) -> pl.DataFrame:
        """Each part [first, last] with the bar [begin, end] that it belongs to, one row of a frame each."""
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
        """int64[R] begin and end of the bar of each instant, and bool[R] whether there is one."""
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
    """Parts of one bar added up: the open of the earliest, the close of the latest, of equal ones as they came."""
    by_first = parts.sort("first", maintain_order=True)
    keys = ["column", "begin", "end"]
    opens = by_first.group_by(keys, maintain_order=True).agg(
        pl.col("first").first(),
        pl.col("open", "open_nano").first(),
        pl.col("high").nan_max(),  # a part that is no number makes a bar that is none, and is put aside as such
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


class Resampled:
    """An quantd.adapters.feeds.source.Source of bars out of a vendor's finer ones.

    A bar whose last part is missing may be one in whose end nothing traded, or one of a vendor that is late: until `settle_ns`
    after its end by `now` (ns UTC) it is not given.
    """

    def __init__(
        self,
        source: Source,
        universe: Universe,
        sessions: Mapping[str, Sessions],
        interval_ns: int,
        finer_ns: int,
        *,
        now: Callable[[], int] = time.time_ns,
        settle_ns: int = 0,
    ) -> None:
        """Raises FeedError, as Resampler does."""
        self._now: Final = now
        self._settle: Final = settle_ns
        self.name: Final = source.name
        self.stamps: Final[Stamps] = "open"
        self.adjusted: Final = source.adjusted
        self._source: Final = source
        self._interval: Final = interval_ns
        self._making: Final = Resampler(universe, sessions, interval_ns, stamps=source.stamps, finer_ns=finer_ns)

    async def bars(self, start_ns: int, end_ns: int) -> Rows:
        now = self._now()
        missing: PartialAnswer | None = None
        try:
            finer = await self._source.bars(start_ns, end_ns + self._interval)
        except PartialAnswer as error:
            finer, missing = error.rows, error
        parts = self._making.placed(finer).unique(["column", "first"], keep="last", maintain_order=True)
        bars = _fold(parts)
        rows = _rows(bars.filter((pl.col("last") >= pl.col("end")) | (pl.col("end") <= now - self._settle)))
        rows = rows.take((rows.ts >= start_ns) & (rows.ts < end_ns))
        if missing is not None:
            raise PartialAnswer(self.name, rows, missing.missing, missing.why, again=missing.again)
        return rows

    async def actions(self, start_ns: int, end_ns: int) -> list[ActionRow]:
        return await self._source.actions(start_ns, end_ns)

    async def close(self) -> None:
        await self._source.close()


class ResampledStream:
    """An quantd.adapters.feeds.source.Stream of bars out of a vendor's finer ones.

    A bar is given when every finer bar of it has come, and again when one of them comes corrected. Where one is missing
    nobody here can know whether it was lost or never was: such a bar is left to whoever asks for the vendor's records.
    """

    def __init__(
        self,
        stream: Stream,
        universe: Universe,
        sessions: Mapping[str, Sessions],
        interval_ns: int,
        finer_ns: int,
        stamps: Stamps = "open",
    ) -> None:
        """Raises FeedError, as Resampler does."""
        self._stream: Final = stream
        self._finer: Final = finer_ns
        self._making: Final = Resampler(universe, sessions, interval_ns, stamps=stamps, finer_ns=finer_ns)

    async def bars(self) -> AsyncIterator[Rows]:
        finer = self._stream.bars()
        kept = _empty()
        try:
            async for rows in finer:
                new = self._making.placed(rows)
                kept = pl.concat([kept, new]).unique(["column", "first"], keep="last", maintain_order=True)
                parts = -(-(pl.col("end") - pl.col("begin")) // self._finer)
                bar = ["column", "begin"]
                whole = kept.filter(pl.len().over(bar) == parts).join(new, on=bar, how="semi")
                if len(whole):
                    yield _rows(_fold(whole))
                # a bar and the one before it: a correction may still come
                kept = kept.filter(pl.col("begin").rank("dense", descending=True).over("column") <= 2)
        finally:
            if isinstance(finer, AsyncGenerator):
                await finer.aclose()

    def tell_halts(self, told: Callable[[Any], None]) -> None:
        """What the stream of finer bars hears of halts passes through, where it hears of any."""
        tells = getattr(self._stream, "tell_halts", None)
        if tells is not None:
            tells(told)

    async def close(self) -> None:
        await self._stream.close()
