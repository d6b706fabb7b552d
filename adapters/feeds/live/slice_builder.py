"""Builds slices: bars arrive in any order, slices leave in time order. Pure; the caller supplies the time.

A slice is emitted when every symbol that can have a bar has one. It is also emitted after its grace time, if a reliable
source confirms that no more bars are coming. Such a source is a vendor queried after that time, or a stream without
interruption that sent data at this close. Without a confirmation no slice is emitted, because the silence may be a lost
connection.

What can go wrong. This process was suspended, and a stream brings bars that were unfinished then. A query is answered
late, and a bar that was unfinished when it was asked looks final. An action arrives after the prices that it changes.

What the order guarantees. The instant of a query counts as its request, not its answer. Bars stamped inside a
suspension are left to a query. Before an open whose actions were not queried, the time stops for the grace time. A jump
precedes the slice of its bar, and actions precede both. Nothing earlier than `emitted_until` leaves: such a bar is
reported as corrected or late.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np

from quantd.adapters.feeds.bars.checks import BadBar, Reason, judge
from quantd.adapters.feeds.bars.merge import Columns, bad_bar, bad_bars, horizon, merge, place_all
from quantd.adapters.feeds.bars.rows import NO_STAMP, ActionRow, Rows, concatenated
from quantd.adapters.feeds.bars.stamps import Placed, Stamps
from quantd.adapters.feeds.live.announcements import Announcements
from quantd.adapters.feeds.live.closes import Closes
from quantd.adapters.feeds.live.recent_bars import RecentBars
from quantd.trading.events import Action
from quantd.trading.instruments import Universe
from quantd.trading.market import Block, Bools, Ints, Jump, MarketSlice
from quantd.trading.ports import Until
from quantd.trading.sessions import DAY_NS, Sessions

PutAside = Callable[[BadBar, BadBar | None], None]
"""Receives each rejected bar, and the bar emitted in its place, if any."""

BLOCK_ROWS: Final = 4096
SKEW_NS: Final = 60_000_000_000
"""A bar that opens later than this after now is invalid."""

CONTEXT: Final = 512
"""Number of bars before the start that are requested as reference for checks.

They cover a session of minutes and the usual values before it, so that a restart hides no jump.
"""

_MOST_REPORTED: Final = 10_000
"""Maximum number of remembered rejections, so that a repeated bad bar is not reported again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveMarket:
    """The market of a live feed, and its rules of time. `sessions` has the calendar of each instrument.

    `grace_ns` after its close, a slice is emitted without the missing symbols. For another `late_ns` they may arrive in
    a slice of their own. `put_aside` receives each rejected bar.
    """

    universe: Universe
    sessions: Mapping[str, Sessions]
    stamps: Stamps
    interval_ns: int
    grace_ns: int
    late_ns: int
    put_aside: PutAside


class SliceBuilder:
    """State of a live feed: received data and emitted slices.

    Everything up to `emitted_until` (ns UTC) has been emitted; `newest` is the last slice's `ts_event`. `take` receives
    bars from a stream, `answer` those of a vendor query.
    """

    def __init__(self, after: int, market: LiveMarket, *, safe_ns: int, stall_ns: int) -> None:
        """Time signals lag by `safe_ns`. A pause of this process above `stall_ns` counts as a suspension."""
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
        self._looked: int | None = None
        self._slept = (0, 0)
        self._first: Final = horizon(market.universe, market.sessions)
        self._recent: Final = RecentBars(market.universe.size)
        self._waiting: list[tuple[Rows, Placed, int]] = []
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
        places = self._place(rows)
        rows = rows.take((places.ts_event <= slept) | (places.ts_event > woke))
        self._heard.update(self._admit(rows, now, now, NO_STAMP))

    def answer(self, rows: Rows, asked: int, now: int) -> bool:
        """Receive bars of a vendor queried at `asked` for everything since `start`.

        Returns True when they contain bars of a close that the connected stream omitted.
        """
        if self._last_query is None:
            rows = self._seed(rows)
        # a bar unfinished at the time of the query stays unfinished, even if the answer took long
        came = self._admit(rows, asked, now, asked - self._grace - self._late)
        self._last_query = asked if self._last_query is None else max(self._last_query, asked)
        since = self._heard_since
        return since is not None and any(t >= since and t not in self._heard for t in came)

    def lose_stream(self) -> None:
        """Record that the stream is lost: its silence is no confirmation until it sends data again."""
        self._heard_since = None

    def _wake(self, now: int) -> None:
        """Detect that this process was suspended or overloaded: data of a stream may still be unread."""
        if self._looked is not None and now - self._looked > self._stall:
            self._slept = self._looked, now
            self.lose_stream()
        self._looked = now

    def announce(self, listed: Sequence[ActionRow], until: int) -> None:
        """Receive the vendor's actions; the query covered all with an open at or before `until`."""
        self._actions.add(listed, until, self.emitted_until)

    def accept_price(self, column: int) -> None:
        """Take the newest suspicious bar of a column as real: the next bars are compared with it."""
        self._recent.accept(column)

    def start(self) -> int:
        """Return the stamp from which to query: the newest instant, at first the reference for checks."""
        since = self.newest - 1 if self._last_query is not None else self.closes.back(self.after, CONTEXT)
        return self.closes.stamp_after(since, self._market.stamps)

    def missing(self, now: int) -> int | None:
        """Return the first close up to `now` that is not complete, None without one."""
        ts = max(self.emitted_until, self._resolved())
        while (due := self.closes.after(ts)) is not None and due[0] <= now:
            if not self._complete(*due):
                return due[0]
            ts = due[0]
        return None

    @property
    def answered(self) -> bool:
        """Whether the vendor has ever answered."""
        return self._last_query is not None

    def silent_since(self, until: int) -> int | None:
        """Return the last slice's instant if two later closes up to `until` had no good bar, else None."""
        first = self.closes.after(self.newest)
        second = None if first is None else self.closes.after(first[0])
        return self.newest if second is not None and second[0] <= min(until, self.emitted_until) else None

    def heard(self, close: int) -> bool:
        """Whether the stream has sent data without interruption since `close`."""
        return self._heard_since is not None and self._heard_since <= close

    def actions_from(self) -> int:
        """Return the open before which actions must be queried, ns UTC; 0 before the first query."""
        if self._actions.queried_until is None:
            return 0
        return self.closes.open_after(self._actions.queried_until) or np.iinfo(np.int64).max

    def give(self, now: int) -> list[Action | Jump | MarketSlice | Until]:
        """Return new items known at `now`, in time order, and the time up to which the market is known.

        A jump immediately precedes the slice of its bar.
        """
        self._wake(now)
        limit = self._limit(now)
        out: list[Action | Jump | MarketSlice | Until] = []
        for market, jumps in self._slices(limit):
            out += (*self._actions.take(market.ts_event), *jumps, market)
        out += self._actions.take(limit + 1)
        self.emitted_until = max(self.emitted_until, limit)
        for ts in [t for t in self._arrived if t <= self.emitted_until and t != self.newest]:
            del self._arrived[ts]
        self._heard = {t for t in self._heard if t > self.emitted_until}
        out.append(Until(self.emitted_until))
        return out

    def _resolved(self) -> int:
        """Return the instant up to which every close has arrived or is confirmed absent."""
        return (
            self.emitted_until if self._last_query is None else max(self.emitted_until, self._last_query - self._grace)
        )

    def _complete(self, ts: int, who: Bools) -> bool:
        here = self._arrived.get(ts)
        return here is not None and bool(np.all(here[who]))

    def _limit(self, now: int) -> int:
        if self._last_query is None:
            return self.emitted_until  # not even the closing times of its bars are known yet
        resolved_until = self._resolved()
        while (due := self.closes.after(resolved_until)) is not None and due[0] <= now:
            ts, who = due
            silent = now >= ts + self._grace and ts in self._heard and self.heard(ts)
            if not (self._complete(ts, who) or silent):
                break
            resolved_until = ts
        safe_until = now - self._safe if due is None else min(now - self._safe, due[0] - 1)
        return self._held_open(self._without_actions(max(resolved_until, safe_until), now), resolved_until, now)

    def _without_actions(self, limit: int, now: int) -> int:
        """Stop before an open whose actions were not queried yet."""
        asked = self._actions.queried_until
        opened = self.closes.open_after(self.emitted_until if asked is None else max(asked, self.emitted_until))
        if opened is None or opened > limit or (asked is not None and now >= opened + self._grace):
            return limit
        return max(self.emitted_until, opened - 1)

    def _held_open(self, limit: int, done: int, now: int) -> int:
        """After a slice that lacks symbols, wait at its instant for a while: they may still arrive."""
        ripe = [int(e.max()) for e in (p.ts_event[p.ts_event <= limit] for _, p, _ in self._waiting) if len(e)]
        last = max(ripe, default=self.newest)
        due = self.closes.after(last - 1)
        if due is None or due[0] != last or last < self.emitted_until or now >= last + self._grace + self._late:
            return limit
        following = self.closes.after(last)
        over = following is not None and following[0] <= done
        return limit if over or self._complete(*due) else last

    def _place(self, rows: Rows) -> Placed:
        market = self._market
        return place_all(rows, market.universe, market.sessions, market.stamps, market.interval_ns)

    def _admit(self, rows: Rows, known_at: int, now: int, settled: int) -> list[int]:
        """Admit bars known at `known_at` that arrived at `now`. Returns their closes later than `settled`."""
        rows = rows.take((rows.ts == NO_STAMP) | (rows.ts >= self._first[rows.column]))
        placed = self._place(rows)
        outside = ~placed.inside & ~placed.extended
        if outside.any():
            wrong, where = rows.take(outside), placed.take(outside)
            self._report(bad_bars(wrong, where, judge(wrong, where, self._market.interval_ns).reason, self._universe))
        never = placed.inside & (placed.ts_open > now + min(self._market.interval_ns, SKEW_NS))
        if never.any():
            why = np.full(int(np.sum(never)), Reason.FUTURE, dtype=np.int8)
            self._report(bad_bars(rows.take(never), placed.take(never), why, self._universe))
        over = placed.inside & (placed.ts_event <= known_at)  # the others are unfinished
        if not over.all():
            rows, placed = rows.take(over), placed.take(over)
        if not len(rows):
            return []
        self.closes.learn(rows.column, placed)
        new = placed.ts_event > self.emitted_until
        if not new.all():
            self._old(rows.take(~new), placed.take(~new), now)
            rows, placed = rows.take(new), placed.take(new)
        if len(rows):
            self._waiting.append((rows, placed, now))
        return self._note(rows.column, placed.ts_event, settled)

    def _note(self, column: Ints, event: Ints, settled: int) -> list[int]:
        fresh = event > settled
        column, event = column[fresh], event[fresh]
        came = np.unique(event).tolist()
        for ts in came:
            self._arrived.setdefault(ts, np.zeros(self._universe.size, dtype=np.bool_))[column[event == ts]] = True
        return came

    def _seed(self, rows: Rows) -> Rows:
        """Store bars from before the start as reference for checks. Returns the others."""
        placed = self._place(rows)
        before = placed.inside & (placed.ts_event <= self.after)
        self._recent.extend(rows.take(before), placed.take(before), self._market.interval_ns, self._actions.known)
        return rows.take(~before)

    def _old(self, rows: Rows, placed: Placed, now: int) -> None:
        """Process bars of instants that were already emitted: repeated, corrected, or late."""
        for k, (column, event) in enumerate(zip(rows.column.tolist(), placed.ts_event.tolist(), strict=True)):
            row = self._recent.find(column, event)
            which = np.array([k])
            if row is not None:
                before, good = self._recent.bar(row, self._universe)
                if self._recent.same(row, rows, k):
                    continue
                if good:
                    self._report([bad_bar(rows, placed, k, self._universe, "corrected")], before)
                    continue
            elif event <= self.after or event <= self._recent.oldest(column):
                continue  # it is unknown whether it was emitted
            if event == self.newest == self.emitted_until:
                self._waiting.append((rows.take(which), placed.take(which), now))
                self._note(rows.column[which], placed.ts_event[which], event - 1)
            else:
                self._report([bad_bar(rows, placed, k, self._universe, "late")])

    def _report(self, bars: Sequence[BadBar], given: BadBar | None = None) -> None:
        for bar in bars:
            # compared as text, because NaN is not equal to itself
            name = (bar.ts, bar.symbol, bar.reason, str((bar.open, bar.high, bar.low, bar.close, bar.volume)))
            if name in self._reported:
                continue
            while len(self._reported) >= _MOST_REPORTED:
                del self._reported[next(iter(self._reported))]
            self._reported[name] = None
            self._market.put_aside(bar, given)

    def _slices(self, limit: int) -> Iterator[tuple[MarketSlice, Sequence[Jump]]]:
        """Yield the good queued bars up to `limit`, checked against earlier bars and merged by instant, and the jumps
        of each instant."""
        chunks = [(rows, placed, seen) for rows, placed, seen in self._waiting if np.any(placed.ts_event <= limit)]
        if not chunks:
            return
        self._waiting = [chunk for chunk in self._waiting if not np.any(chunk[1].ts_event <= limit)]
        rows, placed = concatenated([r for r, _, _ in chunks]), concatenated([p for _, p, _ in chunks])
        seen = np.concatenate([np.full(len(r), t, dtype=np.int64) for r, _, t in chunks])
        keep = placed.ts_event > limit
        for t in np.unique(seen[keep]).tolist():
            mine = keep & (seen == t)
            self._waiting.append((rows.take(mine), placed.take(mine), t))
        order = np.flatnonzero(~keep)
        order = order[np.lexsort((order, placed.ts_event[order], rows.column[order]))]
        column, event = rows.column[order], placed.ts_event[order]
        last = np.ones(len(order), dtype=np.bool_)  # the newest version of a repeated bar
        last[:-1] = (column[1:] != column[:-1]) | (event[1:] != event[:-1])
        order = order[last]
        rows, placed, seen = rows.take(order), placed.take(order), seen[order]
        checked = self._recent.extend(rows, placed, self._market.interval_ns, self._actions.known)
        self._report(bad_bars(rows, placed, checked.reason, self._universe))
        good = checked.reason == Reason.GOOD
        if good.any():
            daily = self._market.interval_ns >= DAY_NS
            columns = merge(rows.take(good), placed.take(good), self._universe.size, daily=daily)
            at = np.searchsorted(columns.ts_event, placed.ts_event[good])
            came = np.zeros(len(columns.ts_event), dtype=np.int64)
            np.maximum.at(came, at, seen[good])
            self.newest = max(self.newest, int(columns.ts_event[-1]))
            jumps = {ts: tuple(group) for ts, group in groupby(checked.jumps, key=lambda jump: jump.ts)}
            for market in self._blocks(columns, np.maximum.accumulate(came)):
                yield market, jumps.pop(market.ts_event, ())

    def _blocks(self, columns: Columns, seen: Ints) -> Iterator[MarketSlice]:
        for row in range(0, len(seen), BLOCK_ROWS):
            rows = slice(row, row + BLOCK_ROWS)
            parts = {n: getattr(columns, n)[rows] for n in Columns.__slots__}
            block = Block(**parts, ts_seen=seen[rows], index0=self._count)
            self._count += len(block)
            for at in range(len(block)):
                yield MarketSlice(block, at)
