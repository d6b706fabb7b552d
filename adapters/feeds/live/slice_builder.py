"""Builds slices (the bars of one instant): bars arrive in any order, slices leave in time order. Pure; the caller
supplies the time.

A slice is emitted when every symbol that can have a bar has one. A slice is also emitted after a grace time, if the
vendor confirms that no more bars are coming: the vendor was queried after that time, or its stream had no interruption
and sent data at this close. Without a confirmation no slice is emitted, because the silence may be a lost connection.

What can go wrong. This process was suspended, and a stream delivers bars that were unfinished then. A query is answered
late, and a bar that was unfinished when the query was sent looks final. An action arrives after the prices that it
changes.

What the order of the steps guarantees. A query counts at the time when it was sent, not when it was answered. Stream
bars from a time of suspension are ignored: a query fetches them. If the actions of an open were not queried yet,
nothing later than that open is emitted for the grace time. A price jump precedes the slice of its bar, and actions
precede both. Nothing up to `emitted_until` is emitted again: a bar of an earlier instant is reported as corrected or
late.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np

from quantd.adapters.feeds.bars.checks import BadBar, Reason, judge
from quantd.adapters.feeds.bars.merge import Columns, bad_bar, bad_bars, horizon, merge, place_all, places
from quantd.adapters.feeds.bars.rows import NO_STAMP, ActionRow, Rows, concatenated
from quantd.adapters.feeds.bars.stamps import BarTimes, Stamps
from quantd.adapters.feeds.live.announcements import Announcements
from quantd.adapters.feeds.live.closes import Closes
from quantd.adapters.feeds.live.recent_bars import RecentBars
from quantd.trading.events import Action
from quantd.trading.instruments import Universe
from quantd.trading.market import Block, Bools, Ints, Jump, MarketSlice
from quantd.trading.ports import Until
from quantd.trading.sessions import DAY_NS, Sessions

PutAside = Callable[[BadBar, BadBar | None], None]
"""Receives each rejected bar, and the bar that was emitted instead of it, None without one."""

BLOCK_ROWS: Final = 4096
SKEW_NS: Final = 60_000_000_000
"""How far after now (ns) a bar may open, as clocks differ; a bar that opens later is rejected."""

CONTEXT: Final = 512
"""Number of bars before the start that are requested as reference for checks.

For bars of a minute they cover one session and the earlier bars that define its usual values, so that a restart hides
no jump.
"""

_MOST_REPORTED: Final = 10_000
"""Maximum number of rejections to remember: a bad bar that is sent again is not reported again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveMarket:
    """The market of a live feed, and its time limits. `sessions` has the calendar of each instrument.

    A slice (the bars of one close) waits for missing symbols until `grace_ns` after the close. For another `late_ns`
    their bars may follow in a second slice of that close. `put_aside` receives each rejected bar.
    """

    universe: Universe
    sessions: Mapping[str, Sessions]
    stamps: Stamps
    interval_ns: int
    grace_ns: int
    late_ns: int
    put_aside: PutAside


class SliceBuilder:
    """The state of a live feed: received data and emitted slices (the bars of one instant).

    Everything up to `emitted_until` (ns UTC) has been emitted; `newest` is the last slice's `ts_event`. `take` receives
    the bars of a stream, `answer` the bars of a vendor query.
    """

    def __init__(self, after: int, market: LiveMarket, *, safe_ns: int, stall_ns: int) -> None:
        """Begin with items later than `after`. Emitted times stay `safe_ns` behind the clock. A pause of more than
        `stall_ns` counts as a suspension.

        Times are in ns UTC. `_waiting` has (bars, their sessions, time of arrival) that were not emitted; `_arrived`
        maps a close to the symbols with a bar of it. `_heard` are closes of which the stream sent a bar, `_heard_since`
        is the time since which it sends without interruption, None while it is lost.
        """
        self.closes: Final = Closes(market.universe, market.sessions, market.interval_ns)
        self.after: Final = after
        self.emitted_until = after
        self.newest = after
        self._market: Final = market
        self._universe: Final = market.universe
        self._grace: Final = market.grace_ns
        self._late: Final = market.late_ns
        self._safe: Final = safe_ns
        self._stall: Final = stall_ns
        self._looked: int | None = None  # the last call of `_wake` (ns UTC)
        self._slept = (0, 0)  # the last suspension: its begin and end (ns UTC)
        self._first: Final = horizon(market.universe, market.sessions)
        self._recent: Final = RecentBars(market.universe.size)
        self._waiting: list[tuple[Rows, BarTimes, int]] = []
        self._arrived: dict[int, Bools] = {}
        self._heard: set[int] = set()
        self._heard_since: int | None = None
        self._last_query: int | None = None
        self._actions: Final = Announcements(after, market.universe, market.sessions)
        self._reported: dict[tuple[object, ...], None] = {}
        self._count = 0

    def take(self, rows: Rows, now: int) -> None:
        """Receive bars of a stream."""
        self._wake(now)
        if self._heard_since is None:
            self._heard_since = now
        # bars unread during a suspension may be unfinished versions of bars that are complete by now
        slept, woke = self._slept
        placed = self._place(rows)
        rows = rows.take((placed.ts_event <= slept) | (placed.ts_event > woke))
        self._heard.update(self._admit(rows, now, now, NO_STAMP))

    def answer(self, rows: Rows, asked: int, now: int) -> bool:
        """Receive the vendor's answer to a query sent at `asked` (ns UTC) for all bars since the stamp that `start`
        returned.

        Returns True when the answer includes a close for which the connected stream sent no bar.

        Bars of the first answer that closed before the start are stored for the checks, and not emitted.
        """
        if self._last_query is None:
            rows = self._seed(rows)
        # a bar unfinished at the time of the query stays unfinished, even if the answer took long
        closes = self._admit(rows, asked, now, asked - self._grace - self._late)
        self._last_query = asked if self._last_query is None else max(self._last_query, asked)
        heard_since = self._heard_since
        return heard_since is not None and any(close >= heard_since and close not in self._heard for close in closes)

    def lose_stream(self) -> None:
        """Record that the stream is lost: its silence is no confirmation until it sends data again."""
        self._heard_since = None

    def _wake(self, now: int) -> None:
        """Detect that this process was suspended or overloaded; data of the stream may then still be unread."""
        if self._looked is not None and now - self._looked > self._stall:
            self._slept = self._looked, now
            self.lose_stream()
        self._looked = now

    def announce(self, listed: Sequence[ActionRow], until: int) -> None:
        """Receive the vendor's actions; the query covered all that take effect at an open up to `until` (ns UTC)."""
        self._actions.add(listed, until, self.emitted_until)

    def holds(self, action: Action) -> bool:
        """Whether an action was received and not emitted yet."""
        return self._actions.holds(action)

    def accept_price(self, column: int) -> None:
        """Accept the newest suspicious bar of a column (symbol) as real, as a person decided: the next bars are
        compared with it."""
        self._recent.accept(column)

    def start(self) -> int:
        """Return the stamp from which to query bars: the stamp of the newest slice. Before the first query, it is the
        stamp of the earliest bar that checks need."""
        from_instant = self.newest - 1 if self._last_query is not None else self.closes.back(self.after, CONTEXT)
        return self.closes.stamp_after(from_instant, self._market.stamps)

    def missing(self, now: int) -> int | None:
        """Return the first close up to `now` (ns UTC) for which bars are still missing; None if there is none."""
        ts = max(self.emitted_until, self._resolved())
        while (due := self.closes.after(ts)) is not None and due[0] <= now:
            if not self._complete(*due):
                return due[0]
            ts = due[0]
        return None

    @property
    def answered(self) -> bool:
        return self._last_query is not None

    def silent_since(self, until: int) -> int | None:
        """Return the last slice's `ts_event` (ns UTC) if two later closes, both up to `until`, have passed without a
        slice; else None."""
        next_close = self.closes.after(self.newest)
        close_after_next = None if next_close is None else self.closes.after(next_close[0])
        return (
            self.newest
            if close_after_next is not None and close_after_next[0] <= min(until, self.emitted_until)
            else None
        )

    def heard(self, close: int) -> bool:
        """Whether the stream has sent data without interruption since the instant `close` (ns UTC)."""
        return self._heard_since is not None and self._heard_since <= close

    def actions_from(self) -> int:
        """Return the next open (ns UTC) whose actions are not queried yet; 0 before the first query."""
        if self._actions.queried_until is None:
            return 0
        return self.closes.open_after(self._actions.queried_until) or np.iinfo(np.int64).max

    def give(self, now: int) -> list[Action | Jump | MarketSlice | Until]:
        """Return the new items known at `now`, in time order, then the time up to which the market is known.

        A jump (an apparent split) immediately precedes the slice of its bar.

        The records of emitted closes are dropped, except for the newest close, which a late bar may still join.
        """
        self._wake(now)
        emit_until = self._limit(now)
        items: list[Action | Jump | MarketSlice | Until] = []
        for market, jumps in self._slices(emit_until):
            items += (*self._actions.take(market.ts_event), *jumps, market)
        items += self._actions.take(emit_until + 1)
        self.emitted_until = max(self.emitted_until, emit_until)
        for ts in [close for close in self._arrived if close <= self.emitted_until and close != self.newest]:
            del self._arrived[ts]
        self._heard = {close for close in self._heard if close > self.emitted_until}
        items.append(Until(self.emitted_until))
        return items

    def _resolved(self) -> int:
        """Return the instant up to which every close has arrived or is confirmed absent."""
        return (
            self.emitted_until if self._last_query is None else max(self.emitted_until, self._last_query - self._grace)
        )

    def _complete(self, ts: int, expected: Bools) -> bool:
        arrived = self._arrived.get(ts)
        return arrived is not None and bool(np.all(arrived[expected]))

    def _limit(self, now: int) -> int:
        """Return the instant (ns UTC) up to which everything can be emitted.

        A close is resolved if all its bars have arrived or are confirmed as absent. A stream confirms it after the
        grace time, if it sent other bars of the close and was not interrupted since. The instant is max(last resolved
        close, min(`now` - `safe_ns`, next close - 1)). An open without queried actions, and a newest slice that may
        still grow, make the instant earlier.
        """
        if self._last_query is None:
            return self.emitted_until  # not even the closing times of its bars are known yet
        resolved_until = self._resolved()
        while (next_close := self.closes.after(resolved_until)) is not None and next_close[0] <= now:
            ts, expected = next_close
            silent = now >= ts + self._grace and ts in self._heard and self.heard(ts)
            if not (self._complete(ts, expected) or silent):
                break
            resolved_until = ts
        safe_until = now - self._safe if next_close is None else min(now - self._safe, next_close[0] - 1)
        return self._held_open(self._without_actions(max(resolved_until, safe_until), now), resolved_until, now)

    def _without_actions(self, emit_until: int, now: int) -> int:
        """Return `emit_until`, or the instant before an earlier open whose actions were not queried yet.

        A first answer is awaited without limit, a later one for the grace time.
        """
        queried_until = self._actions.queried_until
        next_open = self.closes.open_after(
            self.emitted_until if queried_until is None else max(queried_until, self.emitted_until)
        )
        if (
            next_open is None
            or next_open > emit_until
            or (queried_until is not None and now >= next_open + self._grace)
        ):
            return emit_until
        return max(self.emitted_until, next_open - 1)

    def _held_open(self, emit_until: int, resolved_until: int, now: int) -> int:
        """Return `emit_until`, or the instant of the newest close if bars that its slice lacks may still arrive.

        The wait ends after the grace time and late time of that close, or when the next close is resolved (complete or
        confirmed as absent).
        """
        last_closes = [
            int(closes.max())
            for closes in (placed.ts_event[placed.ts_event <= emit_until] for _, placed, _ in self._waiting)
            if len(closes)
        ]
        newest_close = max(last_closes, default=self.newest)
        its_close = self.closes.after(newest_close - 1)
        # not a close of the calendars, a close that was passed, or one whose wait is over
        if (
            its_close is None
            or its_close[0] != newest_close
            or newest_close < self.emitted_until
            or now >= newest_close + self._grace + self._late
        ):
            return emit_until
        next_close = self.closes.after(newest_close)
        next_close_resolved = next_close is not None and next_close[0] <= resolved_until
        return emit_until if next_close_resolved or self._complete(*its_close) else newest_close

    def _place(self, rows: Rows) -> BarTimes:
        market = self._market
        return place_all(rows, market.universe, market.sessions, market.stamps, market.interval_ns)

    def _admit(self, rows: Rows, known_at: int, now: int, noted_after: int) -> list[int]:
        """Queue bars known at `known_at` that arrived at `now`. Returns their closes later than `noted_after`.

        Bars outside of sessions or in the future are reported, unfinished ones are left out, and bars of emitted
        instants are handled as repetitions, corrections or late bars.

        `known_at` is the time of the query (ns UTC), or of the arrival for a stream.
        """
        rows = rows.take((rows.ts == NO_STAMP) | (rows.ts >= self._first[rows.column]))
        placed = self._place(rows)
        outside = ~placed.inside & ~placed.extended
        if outside.any():
            outside_rows, outside_placed = rows.take(outside), placed.take(outside)
            self._report(
                bad_bars(
                    outside_rows,
                    outside_placed,
                    judge(outside_rows, outside_placed, self._market.interval_ns).reason,
                    self._universe,
                )
            )
        in_future = placed.inside & (placed.ts_open > now + min(self._market.interval_ns, SKEW_NS))
        if in_future.any():
            future_reasons = np.full(int(np.sum(in_future)), Reason.FUTURE, dtype=np.int8)
            self._report(bad_bars(rows.take(in_future), placed.take(in_future), future_reasons, self._universe))
        finished = placed.inside & (placed.ts_event <= known_at)  # the others are unfinished
        if not finished.all():
            rows, placed = rows.take(finished), placed.take(finished)
        if not len(rows):
            return []
        self.closes.learn(rows.column, placed)
        new = placed.ts_event > self.emitted_until
        if not new.all():
            self._old(rows.take(~new), placed.take(~new), now)
            rows, placed = rows.take(new), placed.take(new)
        if len(rows):
            self._drop_repeated(rows, placed)
            self._waiting.append((rows, placed, now))
        return self._note(rows.column, placed.ts_event, noted_after)

    def _drop_repeated(self, rows: Rows, placed: BarTimes) -> None:
        """Drop the queued bars that `rows` has anew: while nothing can be emitted, each answer has all of them."""
        anew = set(zip(rows.column.tolist(), placed.ts_event.tolist(), strict=True))
        waiting = []
        for queued, times, received_at in self._waiting:
            pairs = zip(queued.column.tolist(), times.ts_event.tolist(), strict=True)
            stays = np.array([pair not in anew for pair in pairs], dtype=np.bool_)
            if stays.any():
                waiting.append((queued.take(stays), times.take(stays), received_at))
        self._waiting = waiting

    def _note(self, column: Ints, event: Ints, noted_after: int) -> list[int]:
        is_noted = event > noted_after
        column, event = column[is_noted], event[is_noted]
        closes = np.unique(event).tolist()
        for ts in closes:
            self._arrived.setdefault(ts, np.zeros(self._universe.size, dtype=np.bool_))[column[event == ts]] = True
        return closes

    def _seed(self, rows: Rows) -> Rows:
        """Store the bars from before the start, with which checks compare later bars. Returns the later bars."""
        placed = self._place(rows)
        before_start = placed.inside & (placed.ts_event <= self.after)
        self._recent.extend(
            rows.take(before_start), placed.take(before_start), self._market.interval_ns, self._actions.known
        )
        return rows.take(~before_start)

    def _old(self, rows: Rows, placed: BarTimes, now: int) -> None:
        """Process bars of instants up to `emitted_until`: each is repeated, corrected, or late.

        A repetition is ignored, and a correction of a good bar is reported. A further bar of the newest emitted close
        follows in a second slice; any other one is reported as late.
        """
        for k, (column, event) in enumerate(zip(rows.column.tolist(), placed.ts_event.tolist(), strict=True)):
            stored_row = self._recent.find(column, event)
            one_row = np.array([k])
            if stored_row is not None:
                stored_bar, was_good = self._recent.bar(stored_row, self._universe)
                if self._recent.same(stored_row, rows, k):
                    continue
                if was_good:
                    self._report([bad_bar(rows, placed, k, self._universe, "corrected")], stored_bar)
                    continue
            elif event <= self.after or event <= self._recent.oldest(column):
                continue  # it is unknown whether it was emitted
            if event == self.newest == self.emitted_until:
                self._waiting.append((rows.take(one_row), placed.take(one_row), now))
                self._note(rows.column[one_row], placed.ts_event[one_row], event - 1)
            else:
                self._report([bad_bar(rows, placed, k, self._universe, "late")])

    def _report(self, bars: Sequence[BadBar], emitted_instead: BadBar | None = None) -> None:
        """Report rejected bars, each once. `emitted_instead` is the bar that was emitted before its correction."""
        for bar in bars:
            # compared as text, because NaN is not equal to itself
            identity = (bar.ts, bar.symbol, bar.reason, str((bar.open, bar.high, bar.low, bar.close, bar.volume)))
            if identity in self._reported:
                continue
            while len(self._reported) >= _MOST_REPORTED:
                del self._reported[next(iter(self._reported))]
            self._reported[identity] = None
            self._market.put_aside(bar, emitted_instead)

    def _slices(self, limit: int) -> Iterator[tuple[MarketSlice, Sequence[Jump]]]:
        """Yield the good queued bars up to `limit`, checked against earlier bars and merged by instant, and the jumps
        (apparent splits) of each instant.

        A chunk of `_waiting` is (bars, their sessions, time of arrival); its bars later than `limit` wait again.
        """
        due_chunks = [
            (rows, placed, received_at)
            for rows, placed, received_at in self._waiting
            if np.any(placed.ts_event <= limit)
        ]
        if not due_chunks:
            return
        self._waiting = [chunk for chunk in self._waiting if not np.any(chunk[1].ts_event <= limit)]
        rows, placed = (
            concatenated([chunk_rows for chunk_rows, _, _ in due_chunks]),
            concatenated([chunk_placed for _, chunk_placed, _ in due_chunks]),
        )
        received_at = np.concatenate(
            [np.full(len(chunk_rows), time, dtype=np.int64) for chunk_rows, _, time in due_chunks]
        )
        not_due = placed.ts_event > limit
        for time in np.unique(received_at[not_due]).tolist():
            of_time = not_due & (received_at == time)
            self._waiting.append((rows.take(of_time), placed.take(of_time), time))
        due_order = np.flatnonzero(~not_due)
        due_order = due_order[np.lexsort((due_order, placed.ts_event[due_order], rows.column[due_order]))]
        column, event = rows.column[due_order], placed.ts_event[due_order]
        is_newest = np.ones(len(due_order), dtype=np.bool_)  # the newest version of a repeated bar
        is_newest[:-1] = (column[1:] != column[:-1]) | (event[1:] != event[:-1])
        due_order = due_order[is_newest]
        rows, placed, received_at = rows.take(due_order), placed.take(due_order), received_at[due_order]
        checked = self._recent.extend(rows, placed, self._market.interval_ns, self._actions.known)
        self._report(bad_bars(rows, placed, checked.reason, self._universe))
        good = checked.reason == Reason.GOOD
        if good.any():
            daily = self._market.interval_ns >= DAY_NS
            chosen, size = rows.take(good), self._universe.size
            columns = merge(chosen, places(chosen.column, placed.take(good), size, daily=daily), size)
            slice_of_bar = np.searchsorted(columns.ts_event, placed.ts_event[good])
            last_received = np.zeros(len(columns.ts_event), dtype=np.int64)
            np.maximum.at(last_received, slice_of_bar, received_at[good])
            self.newest = max(self.newest, int(columns.ts_event[-1]))
            jumps = {ts: tuple(group) for ts, group in groupby(checked.jumps, key=lambda jump: jump.ts)}
            for market in self._blocks(columns, np.maximum.accumulate(last_received)):
                yield market, jumps.pop(market.ts_event, ())

    def _blocks(self, columns: Columns, received_at: Ints) -> Iterator[MarketSlice]:
        for first_row in range(0, len(received_at), BLOCK_ROWS):
            block_rows = slice(first_row, first_row + BLOCK_ROWS)
            columns_of_block = {n: getattr(columns, n)[block_rows] for n in Columns.__slots__}
            block = Block(**columns_of_block, ts_seen=received_at[block_rows], index0=self._count)
            self._count += len(block)
            for k in range(len(block)):
                yield MarketSlice(block, k)
