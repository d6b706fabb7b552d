"""A cache on disk for the final bars and past actions of any source.

Failed answers and unfinished bars are never stored. If the disk fails, bars are downloaded again and none is lost.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import numpy as np
from msgspec.structs import replace

from quantd.adapters.feeds.bars.rows import ActionRow, Rows, actions_within, joined, rows_of, within
from quantd.adapters.feeds.bars.stamps import UNITS_NS, interval_ns
from quantd.adapters.feeds.source import PartialAnswer, Source
from quantd.adapters.feeds.wrappers.cache_files import Note, Ranges, Shelf, merged, packed, uncovered, unpacked
from quantd.adapters.feeds.wrappers.wrapper import Forwarding
from quantd.trading.instruments import Universe
from quantd.trading.sessions import DAY_NS

SETTLE_NS: Final = {True: 6 * UNITS_NS["h"], False: 15 * UNITS_NS["m"]}
"""How long after a bar's end a vendor may still correct it, in ns. True: a daily bar. False: a shorter bar."""

LATE_NS: Final = 5 * DAY_NS
"""If a vendor's answer lacks bars of the days within this time before now, the vendor may be late. Older bars that it
lacks do not exist."""


class Cached(Forwarding):
    """A source of bars that wraps another one, with a cache in `folder`/<source>/<interval>-<raw|adjusted>/. Bars are
    returned symbol by symbol.

    Corrections that a vendor makes later than SETTLE_NS are missed until the folder is removed. A vendor recomputes
    adjusted prices with each dividend, so that two downloads of adjusted prices are never joined: a longer range is
    downloaded as a whole. `now` returns ns UTC. `downloads` counts the requests to the source, `put_aside` lists
    damaged files.
    """

    def __init__(
        self, source: Source, universe: Universe, interval: str, folder: Path, *, now: Callable[[], int] = time.time_ns
    ) -> None:
        """Prepare the cache; a folder belongs to one source, interval and kind of prices.

        `now` is our clock (ns UTC). `_shelf` has the files of each symbol, and `_turn` lets one request run at a time.
        """
        super().__init__(source)
        self._universe, self._now = universe, now
        self._length_ns = interval_ns(interval)
        series = f"{interval}-{'adjusted' if source.adjusted else 'raw'}"
        self._shelf = Shelf(folder / quote(source.name, safe="+") / series)
        # How long after the newest bar no other bar can exist. A day that opens at midnight can be an hour shorter when
        # clocks change.
        short_ns = 2 * UNITS_NS["h"] if self._length_ns == DAY_NS and source.stamps == "open" else 0
        self._apart_ns = 1 if source.stamps == "close" else self._length_ns - short_ns
        self._turn = asyncio.Lock()
        self.put_aside: Final = self._shelf.put_aside
        self.downloads = 0

    async def bars(self, start_ns: int, end_ns: int) -> Rows:
        """Return the bars of all symbols: the stored ones, and downloads of the ranges that are not stored.

        Raises the wrapped source's SourceError, and PartialAnswer for symbols that a download lacked.

        A note is the record of one symbol's stored ranges; a series is the note with its bars. `pieces` are (begin,
        bars) of the ranges in the answer.
        """
        async with self._turn:
            # without bars (None): they are read only if the cache has a part of the range
            stored_series = [_Series(note, None) for note in await asyncio.to_thread(self._notes)]
            missing_ranges = _missing_ranges([stored.note.covered for stored in stored_series], start_ns, end_ns)
            if missing_ranges != ((start_ns, end_ns),):
                stored_series = await asyncio.to_thread(
                    lambda: [self._with_bars(column, stored) for column, stored in enumerate(stored_series)]
                )
                missing_ranges = _missing_ranges(
                    [stored.note.covered for stored in stored_series], start_ns, end_ns
                )  # a damaged file covers nothing
            # adjusted prices of two downloads are of two scales
            if self.adjusted and missing_ranges:
                missing_ranges = ((start_ns, end_ns),)
            pieces = [
                (begin, within(joined(stored.bars for stored in stored_series), begin, end))
                for begin, end in uncovered(missing_ranges, start_ns, end_ns)  # the ranges that are stored
            ]
            missing: dict[str, None] = {}
            why = ""
            for begin, end in missing_ranges:
                self.downloads += 1
                try:
                    rows = await self._source.bars(begin, end)
                except PartialAnswer as error:
                    rows, why = error.rows, error.why
                    missing |= dict.fromkeys(error.missing)
                pieces.append((begin, rows))
                stored_series = await asyncio.to_thread(self._keep, stored_series, rows, begin, end)
        rows = joined(rows for _, rows in sorted(pieces, key=lambda piece: piece[0]))
        if missing:
            rows = rows.take(np.array([symbol not in missing for symbol in self._universe.symbols])[rows.column])
        rows = rows.take(np.argsort(rows.column, kind="stable"))
        if missing:
            raise PartialAnswer(self.name, rows, tuple(missing), why)
        return rows

    async def actions(self, start_ns: int, end_ns: int) -> list[ActionRow]:
        """Return the splits and dividends: the stored ones, and downloads of the ranges that are not stored.

        Raises the wrapped source's SourceError.

        Of a download, the actions older than LATE_NS are stored, because a vendor may announce newer actions late.
        """
        async with self._turn:
            notes = await asyncio.to_thread(self._notes)
            missing_ranges = _missing_ranges([note.actions_covered for note in notes], start_ns, end_ns)
            actions = [action for column, note in enumerate(notes) for action in unpacked(note, column)]
            for begin, end in missing_ranges:
                self.downloads += 1
                new_actions = await self._source.actions(begin, end)
                actions = [action for action in actions if not begin <= action.day_ns < end] + new_actions
                final_range = (begin, min(end, self._now() - LATE_NS))
                if final_range[0] < final_range[1]:
                    notes = [
                        replace(
                            note,
                            actions=packed(
                                [
                                    action
                                    for action in actions
                                    if action.column == column
                                    and _is_covered(action.day_ns, note.actions_covered, final_range)
                                ]
                            ),
                            actions_covered=merged(note.actions_covered, final_range),
                        )
                        for column, note in enumerate(notes)
                    ]
                    await asyncio.to_thread(self._note, notes)
        return actions_within(actions, start_ns, end_ns)

    def _with_bars(self, column: int, stored: "_Series") -> "_Series":
        """Return the series with its bars read; a missing or damaged file counts as never downloaded."""
        if stored.rows is not None:
            return stored
        rows = None
        with suppress(OSError):
            rows = self._shelf.bars(stored.note, column)
        return (
            _Series(replace(stored.note, file="", covered=()), rows_of(()))
            if rows is None
            else _Series(stored.note, rows)
        )

    def _notes(self) -> list[Note]:
        try:
            return [self._shelf.note(symbol) for symbol in self._universe.symbols]
        except OSError:
            return [Note(symbol) for symbol in self._universe.symbols]

    def _keep(self, series: "list[_Series]", answer: Rows, begin: int, end: int) -> "list[_Series]":
        """Store the final bars of an answer for [begin, end) with the older ones; return the updated series.

        Adjusted bars replace all older ones. A file that cannot be written is no failure: its bars are downloaded
        again.
        """
        series_after = []
        for column, stored in enumerate(series):
            bars = within(answer.take(answer.column == column), begin, end)
            final_until = self._final_until(bars, begin, end)
            if begin < final_until:
                stored = self._with_bars(column, stored)
                old_bars = rows_of(()) if self.adjusted else stored.bars
                covered = merged(() if self.adjusted else stored.note.covered, (begin, final_until))
                rows = joined(
                    (
                        within(old_bars, _FIRST, begin),
                        within(bars, begin, final_until),
                        within(old_bars, final_until, _LAST),
                    )
                )
                stored = _Series(replace(stored.note, covered=covered), rows)
                with suppress(OSError):
                    stored = _Series(self._shelf.keep(stored.note, rows), rows)
            series_after.append(stored)
        return series_after

    def _final_until(self, bars: Rows, begin: int, end: int) -> int:
        """Return the instant up to which the answer `bars` for the range [begin, end) will not change; `begin` if
        nothing is final."""
        now = self._now()
        final_ns = now - SETTLE_NS[self._length_ns == DAY_NS] - (0 if self.stamps == "close" else self._length_ns)
        final_stamps = bars.ts[bars.ts <= final_ns]
        if not len(final_stamps):
            return begin
        if end <= now - LATE_NS:
            return end  # all bars are final: LATE_NS is longer than the longest bar plus SETTLE_NS
        return min(end, int(final_stamps.max()) + self._apart_ns, *bars.ts[bars.ts > final_ns].tolist())

    def _note(self, notes: Sequence[Note]) -> None:
        with suppress(OSError):
            for note in notes:
                self._shelf.keep(note)


@dataclass(frozen=True, slots=True)
class _Series:
    """One symbol's note (the record of its stored ranges), and the bars of its file; `rows` is None before they are
    read."""

    note: Note
    rows: Rows | None

    @property
    def bars(self) -> Rows:
        return rows_of(()) if self.rows is None else self.rows


_FIRST: Final = int(np.iinfo(np.int64).min)
_LAST: Final = int(np.iinfo(np.int64).max)


def _missing_ranges(covered: Sequence[Ranges], start: int, end: int) -> Ranges:
    """Return the parts of [start, end) that at least one symbol lacks; `covered` has each symbol's stored ranges."""
    ranges_missing: Ranges = ()
    for ranges in covered:
        for gap in uncovered(ranges, start, end):
            ranges_missing = merged(ranges_missing, gap)
    return ranges_missing


def _is_covered(ts: int, ranges: Ranges, added: tuple[int, int]) -> bool:
    return any(begin <= ts < end for begin, end in (*ranges, added))
