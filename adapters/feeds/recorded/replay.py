"""A recorded market from files: bars at their true closes, merged by instant, with corporate actions between them.

What can go wrong. A bar is delivered before it was known, or an action on the wrong side of a bar. A bad print inside a
longer bar becomes its high. A market that is truncated for a study still has later data in its arrays.

What the order of the steps guarantees. Whether the interval, clock and calendar of the bars are right is judged on all
bars, before bars of extended hours are omitted: these are the evidence of a wrong calendar or clock. Finer bars and
trades are checked before a bar is built of them, and the built bar is checked again. A bar without a readable time is
quarantined, not omitted with the bars outside the range. A bar that closes at the instant of an action precedes the
action, and the action precedes the next bar. `until` copies the columns, so that nothing later is reachable through
them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property, partial
from pathlib import Path
from typing import Final, NoReturn

import numpy as np
from msgspec import structs

from quantd.adapters.calendars import day_ns
from quantd.adapters.feeds.bars.announced_actions import ActionFault
from quantd.adapters.feeds.bars.answers import Answers, Settled, Spikes, settle
from quantd.adapters.feeds.bars.checks import BadBar, Reason, Reasons, judge
from quantd.adapters.feeds.bars.merge import Columns, bad_bar, bad_bars, horizon, merge, place_all, places, timed
from quantd.adapters.feeds.bars.rows import NO_STAMP, ORDER, ActionRow, Rows, repeats
from quantd.adapters.feeds.bars.stamps import BarTimes, IntervalError, Stamps, interval_ns, warm_from
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.recorded.aggregation import bars_of, part_ns, place_parts
from quantd.adapters.feeds.recorded.bar_files import (
    BarFrame,
    BarSource,
    actions_within_bars,
    digest,
    mostly_without_offset,
    read_actions,
    read_bars,
    read_trades,
    statements_of,
)
from quantd.adapters.feeds.recorded.evidence import misfits
from quantd.adapters.feeds.recorded.exception_files import read_exceptions
from quantd.adapters.feeds.recorded.misfit import Misfit, stopped
from quantd.adapters.feeds.recorded.reading import Reading
from quantd.adapters.feeds.table_files.statement import Statement
from quantd.trading.events import Action, Tick
from quantd.trading.instruments import Universe, several_calendars
from quantd.trading.market import Block, Bools, Ints, Jump, MarketSlice, Opening
from quantd.trading.sessions import DAY_NS, Sessions

LONGEST_NS: Final = DAY_NS
"""The longest bar."""

BLOCK_ROWS: Final = 4096
"""Slices per block. The integers of a block are Python lists, so that blocks are built on demand."""


@dataclass(frozen=True, slots=True)
class OpenQuestions:
    """Prices that need a person's answer before a backtest.

    `jumps` are changes of the price level that no action explains, `faults` are actions that the prices do not show,
    both in order of time. `bars` are the suspicious bars without an answer.
    """

    jumps: tuple[Jump, ...] = ()
    faults: tuple[ActionFault, ...] = ()
    bars: tuple[BadBar, ...] = ()

    def until(self, ts: int) -> "OpenQuestions":
        """Return the questions about bars known at `ts` (ns UTC)."""
        return OpenQuestions(
            tuple(jump for jump in self.jumps if jump.ts <= ts),
            tuple(fault for fault in self.faults if fault.ts_event <= ts),
            tuple(bar for bar in self.bars if bar.ts_event <= ts),
        )


@dataclass(kw_only=True, eq=False)
class Replay:
    """A recorded market over files. Its items are in time order: an action precedes the first slice after it.

    `quarantined` are the rejected bars. `jumps` are the apparent splits that no action announces; their bars are in the
    slices. Adjusted prices have no jumps, because their moves are real. `spikes` are bars whose prices are out of all
    proportion and that [feed] spikes accepts as real; `answered` are such bars that a line of the file of exceptions
    accepts. `shifts` are changes of the price level that were accepted as real, each dated by its first bar. All these
    lists are sorted by time. `open` has the questions without an answer. `start_key` is the date (ns at 00:00 UTC) from
    which trading may begin; earlier slices are warm-up. `extended` is the number of bars omitted because they lie
    before the open or after the close. `read` int64[N] counts the checked bars of each symbol.
    """

    universe: Universe
    interval_ns: int
    digest: str
    columns: Columns
    actions: tuple[Action, ...]
    quarantined: tuple[BadBar, ...]
    jumps: tuple[Jump, ...]
    start_key: int
    extended: int
    read: Ints
    spikes: tuple[BadBar, ...] = ()
    answered: tuple[BadBar, ...] = ()
    misfits: tuple[Misfit, ...] = ()
    """Evidence that bars are of another interval, calendar or clock than they are read as; a backtest stops for it."""
    statements: tuple[Statement, ...] = ()
    """Statements of the meaning of each column of a foreign table; none for bars in the columns of quantd."""
    shifts: tuple[Jump, ...] = ()
    open: "OpenQuestions" = field(default_factory=lambda: OpenQuestions())
    ahead: tuple[Opening, ...] = ()
    """The bars that were in progress at the end of a truncated market; empty for a whole one."""

    def __post_init__(self) -> None:
        self._block: Block | None = None
        # An action precedes the first slice known after it; a bar that closes at the same instant precedes the action.
        after = np.searchsorted(self.columns.ts_event, [a.ts for a in self.actions], side="right")
        self._action_row: list[int] = after.tolist()

    # Long because a replay has 14 settings, and its steps hand on the same rows and places of bars: read, place, omit,
    # check, build, check again, merge.
    @classmethod
    def load(
        cls,
        path: BarSource | Sequence[BarSource],
        *,
        universe: Universe,
        sessions: Mapping[str, Sessions],
        stamps: Stamps = "session",
        interval: str = "1d",
        actions: Path | None = None,
        start: date | None = None,
        end: date | None = None,
        warmup: int = 0,
        adjusted: bool = False,
        now: int | None = None,
        build_from: str = "",
        spikes: Spikes = "reject",
        jumps_real: bool = False,
        first_bars: bool = True,
        exceptions: Path | None = None,
        zone: str = "",
    ) -> "Replay":
        """Read, place, check and merge the bars of `universe` in files or a frame.

        `sessions` has the calendar of each instrument and of the account. The calendars must cover `start` less
        `warmup` samples; bars before a calendar's begin are omitted. `start` and `end` are session dates, both
        inclusive. `adjusted` with an actions file is refused, because a split would count twice; every move of adjusted
        prices is real. Bars stamped later than `now` (ns UTC, if given) are quarantined. With `build_from` the files
        contain bars of that shorter interval, or "trades", and bars are built from the good parts. `spikes`,
        `jumps_real`, `first_bars` and the file of `exceptions` are a person's answers about suspicious prices. `zone`
        is the clock of stamps without an offset from UTC. Raises FeedError.
        """
        paths = (path,) if isinstance(path, Path | BarFrame) else tuple(path)
        try:
            length = interval_ns(interval)
        except IntervalError as error:
            raise FeedError("[feed] interval", f'"{interval}" is not known', error.remedy) from None
        part = part_ns(build_from, length)
        _require_settings(stamps, part, build_from or interval, actions, start, end, adjusted=adjusted)
        for name in {universe.calendar, *(i.calendar for i in universe.instruments)}:
            if name not in sessions:
                raise FeedError("[universe] calendar", f"no sessions of {name}", f'Pass sessions["{name}"] to the feed')

        rows = read_trades(paths, universe, zone) if part == 1 else read_bars(paths, universe, zone)
        if part != 1 and (repeated := repeats(rows)).any():
            rows = rows.take(~repeated)
        placed = place_parts(rows, universe, sessions, stamps, part)
        house = sessions[universe.calendar]
        lower = np.iinfo(np.int64).min if start is None else warm_from(house, day_ns(start), warmup, length)
        upper = np.iinfo(np.int64).max if end is None else day_ns(end)
        chosen = (
            (placed.ts_event > lower) & (placed.day <= upper) & (rows.ts >= horizon(universe, sessions)[rows.column])
        )
        chosen |= rows.ts == NO_STAMP  # its time is unknown: it is quarantined rather than omitted
        rows, placed = rows.take(chosen), placed.take(chosen)
        naive = partial(mostly_without_offset, paths, universe.symbols)
        readings = misfits(Reading(rows, placed, universe, sessions, stamps, part, zone, naive))
        extended = int(placed.extended.sum())
        rows, placed = rows.take(~placed.extended), placed.take(~placed.extended)
        read = np.bincount(rows.column, minlength=universe.size)
        where = ", ".join(p.name for p in paths)
        if not len(rows):
            _no_bars(where, start, end, readings)
        statements = () if part == 1 else statements_of(paths, universe.symbols)
        listed = timed(_action_rows(actions, () if adjusted else paths, universe), universe, sessions)
        answers = Answers(spikes, jumps_real or adjusted, first_bars=first_bars)
        check = _Check(listed, now, answers, universe, where, stamps, exceptions, readings)
        good = check.good(rows, placed, part)
        if build_from:
            rows = bars_of(rows.take(good), universe, sessions, stamps, part, length)
            placed = place_all(rows, universe, sessions, "open", length)
            good = check.good(rows, placed, length)
        rows, placed = rows.take(good), placed.take(good)
        slices = places(rows.column, placed, universe.size, daily=length == DAY_NS)
        del placed  # of millions of bars, as large as three of the seven tables that follow
        columns = merge(rows, slices, universe.size)
        del rows, slices
        selection = f"1|{universe.symbols}|{stamps}|{interval}|{start}|{end}|{warmup}|{adjusted}|{actions is not None}"
        selection += (f"|{build_from}" if build_from else "") + ("|spikes" if spikes == "real" else "") + check.unlike
        selection += f"|zone {zone}" if zone else ""
        return cls(
            universe=universe,
            interval_ns=length,
            digest=digest(paths if actions is None else (*paths, actions), selection),
            columns=columns,
            actions=tuple(a for a in listed if columns.ts_open[0] < a.ts <= columns.ts_event[-1]),
            quarantined=tuple(check.bad),
            jumps=() if adjusted else check.jumps,
            shifts=check.shifts,
            start_key=int(columns.key[0]) - int(columns.key[0]) % DAY_NS if start is None else day_ns(start),
            extended=extended,
            read=read,
            spikes=tuple(check.real),
            answered=tuple(check.answered),
            open=replace(check.questions, bars=tuple(check.unanswered)),
            misfits=readings,
            statements=statements,
        )

    @property
    def count(self) -> int:
        return len(self.columns.ts_event)

    @property
    def first_ts(self) -> int:
        """The `ts_event` of the first slice, ns UTC."""
        return int(self.columns.ts_event[0])

    @property
    def last_ts(self) -> int:
        """The `ts_event` of the last slice, ns UTC."""
        return int(self.columns.ts_event[-1])

    def items(self, first: int = 0) -> Iterator[Action | MarketSlice]:
        """Iterate over actions and slices in time order, from slice `first` (from 0) and the actions just before it."""
        due_actions = [k for k, action_row in enumerate(self._action_row) if action_row >= first]
        action_rows = [self._action_row[k] for k in due_actions]
        next_row = first
        for k, action_row in zip(due_actions, action_rows, strict=True):
            yield from self._slices(next_row, action_row)
            yield self.actions[k]
            next_row = action_row
        yield from self._slices(next_row, self.count)

    def until(self, ts: int) -> "Replay":
        """Return the same market truncated after the last slice known at `ts` (ns UTC).

        The data are copies, so that nothing later is reachable. The opens of bars in progress at `ts` are in the field
        `ahead` of the result. Raises ValueError when nothing is known at `ts`.

        `open` are the questions that need a person's answer.
        """
        count = int(np.searchsorted(self.columns.ts_event, ts, side="right"))
        if not count:
            raise ValueError(f"no bar is known at {ts}")
        columns = Columns(**{name: getattr(self.columns, name)[:count].copy() for name in Columns.__slots__})
        return replace(
            self,
            digest=f"{self.digest} until {columns.ts_event[-1]}",
            columns=columns,
            actions=tuple(action for action in self.actions if action.ts <= columns.ts_event[-1]),
            quarantined=tuple(bar for bar in self.quarantined if bar.ts_event <= ts),
            spikes=tuple(bar for bar in self.spikes if bar.ts_event <= ts),
            answered=tuple(bar for bar in self.answered if bar.ts_event <= ts),
            shifts=tuple(shift for shift in self.shifts if shift.ts <= ts),
            open=self.open.until(ts),
            ahead=self.opened_at(ts),
            jumps=tuple(jump for jump in self.jumps if jump.ts <= ts),
        )

    def with_opens(self, tick: Tick) -> Tick:
        """Return `tick` with the bars in progress added, if agents decide at its instant or the account is valued then
        (a sample).

        With a single calendar no bar is in progress at a sample.
        """
        if tick.warmup or not (tick.due or (tick.sample and self._several_calendars)):
            return tick
        opened = self.opened_at(tick.ts)
        return structs.replace(tick, opened=opened) if opened else tick

    @cached_property
    def _several_calendars(self) -> bool:
        return several_calendars(self.universe)

    def opened_at(self, ts: int) -> tuple[Opening, ...]:
        """Return the bars in progress at `ts` (ns UTC): they opened before it and end after it.

        `ahead` has the bars in progress at the end of a truncated market, which its columns lack. LONGEST_NS is the
        length of the longest bar.
        """
        columns, openings = self.columns, []
        next_row = int(np.searchsorted(columns.ts_event, ts, side="right"))
        while next_row < self.count and columns.ts_event[next_row] <= ts + LONGEST_NS:
            if columns.ts_open[next_row] < ts:
                begins, ends = int(columns.ts_open[next_row]), int(columns.ts_event[next_row])
                openings += [
                    Opening(
                        begins,
                        ends,
                        column,
                        int(columns.open_nano[next_row, column]),
                        float(columns.volume[next_row, column]),
                    )
                    for column in np.flatnonzero(columns.fresh[next_row]).tolist()
                ]
            next_row += 1
        return (*openings, *(opening for opening in self.ahead if opening.ts_open < ts < opening.ts_event))

    def slice_at(self, index: int) -> MarketSlice:
        """Return the slice with this index, from 0. Raises IndexError when there is none."""
        if not 0 <= index < self.count:
            raise IndexError(f"slice {index} of a feed of {self.count}")
        block = self._block_of(index)
        return MarketSlice(block, index - block.index0)

    def _slices(self, row: int, stop: int) -> Iterator[MarketSlice]:
        while row < stop:
            block = self._block_of(row)
            end = min(stop - block.index0, len(block))
            for at in range(row - block.index0, end):
                yield MarketSlice(block, at)
            row = block.index0 + end

    def _block_of(self, index: int) -> Block:
        index0 = index - index % BLOCK_ROWS
        block = self._block  # reports read slices in another thread: the checked block must be the returned one
        if block is None or block.index0 != index0:
            rows = slice(index0, index0 + BLOCK_ROWS)
            block = Block(**{n: getattr(self.columns, n)[rows] for n in Columns.__slots__}, index0=index0)
            self._block = block
        return block


def _action_rows(actions: Path | None, sources: Sequence[BarSource], universe: Universe) -> list[ActionRow]:
    """Return the actions of the file `actions` and those in the columns of the bars, equal ones once.

    Raises FeedError for an action that cannot be read.
    """
    rows = actions_within_bars(tuple(sources), universe)
    if actions is not None:
        listed = read_actions(actions, universe)
        rows = [*listed, *(row for row in rows if row not in listed)]
    return sorted(rows, key=lambda row: (row.day_ns, row.column, ORDER[row.kind]))


def _require_settings(
    stamps: Stamps,
    part: int,
    interval: str,
    actions: Path | None,
    start: date | None,
    end: date | None,
    *,
    adjusted: bool,
) -> None:
    """Raise FeedError for settings that contradict each other.

    `part` is the length of a bar of the files in ns, 1 for trades.
    """
    if 1 < part < DAY_NS and stamps == "session":
        raise FeedError("[feed] stamps", f'"session" cannot date bars of {interval}', 'Write "open" or "close"')
    if adjusted and actions is not None:
        raise FeedError(actions.name, "adjusted prices hold their splits and dividends already", "Leave out actions")
    if start is not None and end is not None and end < start:
        raise FeedError("[feed] end", f"{end} is before start {start}", "Give a later end")


def _no_bars(where: str, start: date | None, end: date | None, readings: Sequence[Misfit]) -> NoReturn:
    """Raise FeedError for a range without a bar; `readings`, the wrong readings, explain it if there are any."""
    if readings:
        raise FeedError(where, *stopped(readings))
    raise FeedError(
        where, f"no bar between {start or 'its start'} and {end or 'its end'}", "Widen [feed] start and end"
    )


class _Check:
    """The check of all bars of a market: first of the inputs (trades or finer bars) from which bars are built, then
    of the bars."""

    def __init__(
        self,
        actions: Sequence[Action],
        now: int | None,
        answers: Answers,
        universe: Universe,
        where: str,
        stamps: Stamps,
        exceptions: Path | None,
        readings: Sequence[Misfit],
    ) -> None:
        """Read the exceptions; `good` makes the check. Bars after `now` (ns UTC) are refused; None omits this check.

        `where` names the files in errors, and `readings` are the wrong readings that may explain bars outside of
        sessions.

        `bad` has the rejected bars, `real` the bars that a rule accepts, `answered` the bars that a line of the
        exceptions accepts, and `unanswered` the suspicious bars without an answer. `unlike` names the bars that are
        used or omitted contrary to the rule.
        """
        self._actions, self._now, self._universe = actions, now, universe
        self._answers = replace(answers, listed=read_exceptions(exceptions, universe))
        self._where, self._stamps, self._readings = where, stamps, readings
        self.bad: list[BadBar] = []
        self.real: list[BadBar] = []
        self.answered: list[BadBar] = []
        self.unanswered: list[BadBar] = []
        self.questions = OpenQuestions()
        self.jumps: tuple[Jump, ...] = ()
        self.shifts: tuple[Jump, ...] = ()
        self.unlike = ""

    def good(self, rows: Rows, placed: BarTimes, interval: int) -> Bools:
        """Check R bars; return bool[R], True for the bars to use. Raises FeedError where none is good.

        Rejected, accepted and unanswered bars are added to the lists of this object. The questions, jumps (apparent
        splits) and shifts (new price levels) of an earlier call, for the inputs of the bars, are replaced.
        """
        universe = self._universe
        settled = settle(judge(rows, placed, interval, self._actions, self._now), rows, placed, self._answers)
        if not settled.good.any():
            raise _unusable(settled.reason, self._where, self._stamps, self._readings)
        self.bad += bad_bars(rows, placed, settled.reason, universe)
        self.answered += _spikes(rows, placed, settled.listed, universe)
        self.real += _spikes(rows, placed, np.setdiff1d(settled.real, settled.listed), universe)
        self.questions = questions_of(rows, placed, settled, universe)
        self.unanswered += self.questions.bars
        self.jumps, self.shifts = settled.jumps, settled.real_shifts
        self.unlike += f"|{settled.unlike}" if settled.unlike else ""
        return settled.good


def _spikes(rows: Rows, placed: BarTimes, numbers: Ints, universe: Universe) -> list[BadBar]:
    """Return the suspicious bars whose row numbers are in `numbers`, in order of time."""
    bars = [bad_bar(rows, placed, k, universe, Reason.SPIKE.name.lower()) for k in numbers.tolist()]
    return sorted(bars, key=lambda bar: bar.ts_event)


def questions_of(rows: Rows, placed: BarTimes, settled: Settled, universe: Universe) -> OpenQuestions:
    """Return the questions about checked bars that a person must answer."""
    faults = tuple(sorted(settled.faults, key=lambda fault: (fault.ts_event, fault.symbol)))
    return OpenQuestions(settled.open_jumps, faults, tuple(_spikes(rows, placed, settled.unanswered, universe)))


def _unusable(reason: Reasons, where: str, stamps: Stamps, readings: Sequence[Misfit]) -> FeedError:
    """Return the error for bars of which none is good: a wrong reading if `readings` show one, else the main reason."""
    if readings:
        return FeedError(where, *stopped(readings))
    why = Reason(int(np.bincount(reason).argmax())).name.lower()
    remedy = "Check the file with quantd data check"
    if why == "session":
        remedy = f'Check [feed] stamps = "{stamps}" and the instruments\' calendars: no stamp falls into a session'
    return FeedError(where, f"none of its {len(reason)} bars is usable (mostly: {why})", remedy)
