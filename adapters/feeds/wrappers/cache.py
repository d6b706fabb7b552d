"""What was downloaded once is not downloaded again: closed, final bars and past actions of any source, kept on disk.

Nothing is kept of a failed answer, and the bar that is still being made is never kept.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import numpy as np
from msgspec.structs import replace

from quantd.adapters.feeds.bars.rows import ORDER, ActionRow, Rows, joined, rows_of, within
from quantd.adapters.feeds.bars.stamps import UNITS_NS, interval_ns
from quantd.adapters.feeds.source import PartialAnswer, Source
from quantd.adapters.feeds.wrappers.cache_files import Note, Ranges, Shelf, merged, packed, uncovered, unpacked
from quantd.adapters.feeds.wrappers.wrapper import Passing
from quantd.trading.instruments import Universe
from quantd.trading.sessions import DAY_NS

SETTLE_NS: Final = {True: 6 * UNITS_NS["h"], False: 15 * UNITS_NS["m"]}
"""How long after its end a bar (of a day: True, shorter: False) may still be corrected by its vendor."""

LATE_NS: Final = 5 * DAY_NS
"""A vendor that has sent nothing for the newest days may be late; for older ones there was nothing."""


class Cached(Passing):
    """`source` behind `folder`/<source>/<interval>-<raw|adjusted>/. Bars come back as the source gave them, symbol by
    symbol.

    What vendors correct after SETTLE_NS is not seen: remove the folder for it. A vendor computes adjusted prices anew
    with each dividend, so pieces of two downloads are never joined: a longer range is downloaded as a whole. `now`
    gives ns UTC.
    `downloads` counts the questions that went to the source, `put_aside` lists damaged files, `trouble` says why the
    newest answer could not be kept (a full disk costs the cache, not the bars).
    """

    def __init__(
        self, source: Source, universe: Universe, interval: str, folder: Path, *, now: Callable[[], int] = time.time_ns
    ) -> None:
        super().__init__(source)
        self._universe, self._now = universe, now
        self._length_ns = interval_ns(interval)
        self._shelf = Shelf(folder_of(folder, source.name, interval, adjusted=source.adjusted))
        # after its newest bar a vendor that may be late has none for this long; days opened at midnight can be an hour
        # short
        short_ns = 2 * UNITS_NS["h"] if self._length_ns == DAY_NS and source.stamps == "open" else 0
        self._apart_ns = 1 if source.stamps == "close" else self._length_ns - short_ns
        self._turn = asyncio.Lock()
        self.downloads = 0
        self.trouble = ""

    @property
    def put_aside(self) -> list[Path]:
        return self._shelf.put_aside

    async def bars(self, start_ns: int, end_ns: int) -> Rows:
        """Raises SourceError where the source does: of a failed answer nothing is kept."""
        async with self._turn:
            series = await asyncio.to_thread(self._noted)
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
            known = [symbol not in missing for symbol in self._universe.symbols]
            rows = rows.take(np.array(known)[rows.column])
        rows = rows.take(np.argsort(rows.column, kind="stable"))
        if missing:
            raise PartialAnswer(self.name, rows, tuple(missing), why)
        return rows

    async def actions(self, start_ns: int, end_ns: int) -> list[ActionRow]:
        """Raises SourceError where the source does."""
        async with self._turn:
            notes = await asyncio.to_thread(lambda: [self._found(symbol) for symbol in self._universe.symbols])
            gaps = _gaps([note.actions_covered for note in notes], start_ns, end_ns)
            known = [a for column, note in enumerate(notes) for a in unpacked(note, column)]
            for begin, end in gaps:
                self.downloads += 1
                found = await self._source.actions(begin, end)
                known = [a for a in known if not begin <= a.day_ns < end] + found
                past = (begin, min(end, self._now() - LATE_NS))
                if past[0] < past[1]:
                    notes = [
                        replace(
                            note,
                            actions=packed(
                                [a for a in known if a.column == column and _in(a.day_ns, note.actions_covered, past)]
                            ),
                            actions_covered=merged(note.actions_covered, past),
                        )
                        for column, note in enumerate(notes)
                    ]
                    await asyncio.to_thread(self._note, notes)
        wanted = [a for a in known if start_ns <= a.day_ns < end_ns]
        return sorted(wanted, key=lambda a: (a.day_ns, a.column, ORDER[a.kind]))

    def _noted(self) -> "list[_Series]":
        return [_Series(self._found(symbol), None) for symbol in self._universe.symbols]

    def _opened(self, column: int, one: "_Series") -> "_Series":
        """With its bars. A file that is damaged or gone counts as never downloaded."""
        if one.rows is not None:
            return one
        try:
            rows = self._shelf.bars(one.note, column)
        except OSError as error:
            self.trouble = str(error)
            rows = None
        return _Series(replace(one.note, file="", covered=()), rows_of(())) if rows is None else _Series(one.note, rows)

    def _found(self, symbol: str) -> Note:
        try:
            return self._shelf.note(symbol)
        except OSError as error:
            self.trouble = str(error)
            return Note(symbol)

    def _keep(self, series: "list[_Series]", answer: Rows, begin: int, end: int) -> "list[_Series]":
        """Put what of an answer to [begin, end) is closed and final beside what was kept before."""
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
                try:
                    one = _Series(self._shelf.keep(one.note, rows), rows)
                except OSError as error:
                    self.trouble = str(error)
            out.append(one)
        return out

    def _known_until(self, bars: Rows, begin: int, end: int) -> int:
        """Up to which instant of [begin, end) an answer of `bars` is the last word; `begin` where nothing of it is."""
        now = self._now()
        final_ns = now - SETTLE_NS[self._length_ns == DAY_NS] - (0 if self.stamps == "close" else self._length_ns)
        final = bars.ts[bars.ts <= final_ns]
        if not len(final):
            return begin
        if end <= now - LATE_NS:
            return end  # everything in it is final: LATE_NS is longer than the longest bar and its settling
        unsure = bars.ts[bars.ts > final_ns]
        return min(end, int(final.max()) + self._apart_ns, *unsure.tolist())

    def _note(self, notes: Sequence[Note]) -> None:
        for note in notes:
            try:
                self._shelf.keep(note)
            except OSError as error:
                self.trouble = str(error)


@dataclass(frozen=True, slots=True)
class _Series:
    """One symbol: what the note says, and the bars that it names, None before they were needed."""

    note: Note
    rows: Rows | None

    @property
    def bars(self) -> Rows:
        return rows_of(()) if self.rows is None else self.rows


_FIRST: Final = int(np.iinfo(np.int64).min)
_LAST: Final = int(np.iinfo(np.int64).max)


def folder_of(folder: Path, source: str, interval: str, *, adjusted: bool) -> Path:
    """Where a series lies in a cache folder."""
    return folder / quote(source, safe="+") / f"{interval}-{'adjusted' if adjusted else 'raw'}"


def _gaps(covered: Sequence[Ranges], start: int, end: int) -> Ranges:
    """What of [start, end) is not kept of every symbol."""
    out: Ranges = ()
    for ranges in covered:
        for gap in uncovered(ranges, start, end):
            out = merged(out, gap)
    return out


def _in(ts: int, ranges: Ranges, one: tuple[int, int]) -> bool:
    return any(begin <= ts < end for begin, end in (*ranges, one))
