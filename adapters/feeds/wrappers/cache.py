"""A cache on disk for the final bars and past actions of any source.

Failed answers and unfinished bars are never stored. A disk that fails costs the cache, not the bars.
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
"""Time after its end in which a vendor may still correct a bar (True: of a day, False: shorter)."""

LATE_NS: Final = 5 * DAY_NS
"""A vendor without bars of the newest days may be late; for older days there are none."""


class Cached(Forwarding):
    """A source with a cache in `folder`/<source>/<interval>-<raw|adjusted>/. Bars come symbol by symbol.

    Corrections later than SETTLE_NS are missed until the folder is removed. A vendor recomputes adjusted prices with
    each dividend, so two downloads of them are never joined: a longer range is downloaded as a whole. `now` is in ns
    UTC. `downloads` counts the requests to the source, `put_aside` lists damaged files.
    """

    def __init__(
        self, source: Source, universe: Universe, interval: str, folder: Path, *, now: Callable[[], int] = time.time_ns
    ) -> None:
        super().__init__(source)
        self._universe, self._now = universe, now
        self._length_ns = interval_ns(interval)
        series = f"{interval}-{'adjusted' if source.adjusted else 'raw'}"
        self._shelf = Shelf(folder / quote(source.name, safe="+") / series)
        # a vendor that may be late has no bar for this long after its newest one; a day that opens at midnight can be
        # an hour shorter
        short_ns = 2 * UNITS_NS["h"] if self._length_ns == DAY_NS and source.stamps == "open" else 0
        self._apart_ns = 1 if source.stamps == "close" else self._length_ns - short_ns
        self._turn = asyncio.Lock()
        self.put_aside: Final = self._shelf.put_aside
        self.downloads = 0

    async def bars(self, start_ns: int, end_ns: int) -> Rows:
        """Implements `Source.bars`: stored bars, and downloads of what they lack.

        Raises the source's SourceError, and PartialAnswer for symbols that a download lacked.
        """
        async with self._turn:
            series = [_Series(note, None) for note in await asyncio.to_thread(self._notes)]
            gaps = _gaps([one.note.covered for one in series], start_ns, end_ns)
            if gaps != ((start_ns, end_ns),):
                series = await asyncio.to_thread(lambda: [self._opened(k, one) for k, one in enumerate(series)])
                gaps = _gaps([one.note.covered for one in series], start_ns, end_ns)  # a damaged file covers nothing
            if self.adjusted and gaps:
                gaps = ((start_ns, end_ns),)
            pieces = [
                (begin, within(joined(one.bars for one in series), begin, end))
                for begin, end in uncovered(gaps, start_ns, end_ns)
            ]
            missing: dict[str, None] = {}
            why = ""
            for begin, end in gaps:
                self.downloads += 1
                try:
                    rows = await self._source.bars(begin, end)
                except PartialAnswer as error:
                    rows, why = error.rows, error.why
                    missing |= dict.fromkeys(error.missing)
                pieces.append((begin, rows))
                series = await asyncio.to_thread(self._keep, series, rows, begin, end)
        rows = joined(rows for _, rows in sorted(pieces, key=lambda piece: piece[0]))
        if missing:
            rows = rows.take(np.array([symbol not in missing for symbol in self._universe.symbols])[rows.column])
        rows = rows.take(np.argsort(rows.column, kind="stable"))
        if missing:
            raise PartialAnswer(self.name, rows, tuple(missing), why)
        return rows

    async def actions(self, start_ns: int, end_ns: int) -> list[ActionRow]:
        """Raises the source's SourceError."""
        async with self._turn:
            notes = await asyncio.to_thread(self._notes)
            gaps = _gaps([note.actions_covered for note in notes], start_ns, end_ns)
            actions = [a for column, note in enumerate(notes) for a in unpacked(note, column)]
            for begin, end in gaps:
                self.downloads += 1
                new_actions = await self._source.actions(begin, end)
                actions = [a for a in actions if not begin <= a.day_ns < end] + new_actions
                past = (begin, min(end, self._now() - LATE_NS))
                if past[0] < past[1]:
                    notes = [
                        replace(
                            note,
                            actions=packed(
                                [a for a in actions if a.column == column and _in(a.day_ns, note.actions_covered, past)]
                            ),
                            actions_covered=merged(note.actions_covered, past),
                        )
                        for column, note in enumerate(notes)
                    ]
                    await asyncio.to_thread(self._note, notes)
        return actions_within(actions, start_ns, end_ns)

    def _opened(self, column: int, one: "_Series") -> "_Series":
        """The series with its bars; a missing or damaged file counts as never downloaded."""
        if one.rows is not None:
            return one
        rows = None
        with suppress(OSError):
            rows = self._shelf.bars(one.note, column)
        return _Series(replace(one.note, file="", covered=()), rows_of(())) if rows is None else _Series(one.note, rows)

    def _notes(self) -> list[Note]:
        try:
            return [self._shelf.note(symbol) for symbol in self._universe.symbols]
        except OSError:
            return [Note(symbol) for symbol in self._universe.symbols]

    def _keep(self, series: "list[_Series]", answer: Rows, begin: int, end: int) -> "list[_Series]":
        """Add the final bars of an answer to [begin, end) to the stored ones."""
        out = []
        for column, one in enumerate(series):
            bars = within(answer.take(answer.column == column), begin, end)
            stop = self._known_until(bars, begin, end)
            if begin < stop:
                one = self._opened(column, one)
                old = rows_of(()) if self.adjusted else one.bars
                covered = merged(() if self.adjusted else one.note.covered, (begin, stop))
                rows = joined((within(old, _FIRST, begin), within(bars, begin, stop), within(old, stop, _LAST)))
                one = _Series(replace(one.note, covered=covered), rows)
                with suppress(OSError):
                    one = _Series(self._shelf.keep(one.note, rows), rows)
            out.append(one)
        return out

    def _known_until(self, bars: Rows, begin: int, end: int) -> int:
        """The end of the final part of [begin, end) in an answer of `bars`; `begin` without one."""
        now = self._now()
        final_ns = now - SETTLE_NS[self._length_ns == DAY_NS] - (0 if self.stamps == "close" else self._length_ns)
        final = bars.ts[bars.ts <= final_ns]
        if not len(final):
            return begin
        if end <= now - LATE_NS:
            return end  # everything in it is final: LATE_NS is longer than the longest bar and its settling
        return min(end, int(final.max()) + self._apart_ns, *bars.ts[bars.ts > final_ns].tolist())

    def _note(self, notes: Sequence[Note]) -> None:
        with suppress(OSError):
            for note in notes:
                self._shelf.keep(note)


@dataclass(frozen=True, slots=True)
class _Series:
    """One symbol: its note, and the bars of its file, None before they were read."""

    note: Note
    rows: Rows | None

    @property
    def bars(self) -> Rows:
        return rows_of(()) if self.rows is None else self.rows


_FIRST: Final = int(np.iinfo(np.int64).min)
_LAST: Final = int(np.iinfo(np.int64).max)


def _gaps(covered: Sequence[Ranges], start: int, end: int) -> Ranges:
    """The parts of [start, end) that are missing for some symbol."""
    out: Ranges = ()
    for ranges in covered:
        for gap in uncovered(ranges, start, end):
            out = merged(out, gap)
    return out


def _in(ts: int, ranges: Ranges, one: tuple[int, int]) -> bool:
    return any(begin <= ts < end for begin, end in (*ranges, one))
