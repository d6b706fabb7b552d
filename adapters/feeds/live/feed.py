"""A live market: one vendor's history, then its stream or polled answers, as slices (the bars of one instant) in time
order.

One mechanism recovers everything that was missed: at the start, after a lost stream, and for a missing bar, the vendor
is queried for everything since the last emitted instant. quantd.adapters.feeds.live.slice_builder processes the data.
This module has the tasks that listen, query and wait.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Final, NamedTuple, TypeVar

from quantd.adapters.feeds.bars.merge import timed
from quantd.adapters.feeds.bars.stamps import LATE_NS, UNITS_NS
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.live.closes import Closes
from quantd.adapters.feeds.live.slice_builder import LiveMarket, PutAside, SliceBuilder
from quantd.adapters.feeds.source import Announced, PartialAnswer, Source, SourceError, Stream, TellsHalts
from quantd.trading.display_text import instant_text
from quantd.trading.events import Action, Halted, Limited
from quantd.trading.instruments import NANO, Universe
from quantd.trading.market import Jump, MarketSlice
from quantd.trading.ports import Until
from quantd.trading.sessions import DAY_NS, Sessions

T = TypeVar("T")

BEAT_S: Final = 0.2
"""Seconds between two checks of the time while no data arrive."""

ANSWER_WITHIN_S: Final = 60.0
"""Time limit of a query to the vendor, in seconds."""

SAFE_NS: Final = 20_000_000
"""Delay of the time that the feed reports as known, because two stamps of one clock may arrive out of order."""

BACK_OFF_S: Final = (1.0, 60.0)
"""Seconds to wait after a first failure, doubled with each further failure, and the longest wait."""

ACTIONS_BACK_NS: Final = 7 * DAY_NS
"""Splits and dividends of the last week are queried again, because some are announced late."""

ACTIONS_LEAD_NS: Final = 15 * UNITS_NS["m"]
"""Lead time before an open at which its splits and dividends are queried."""

_SILENT_CLOSES: Final = 2
"""A stream is reconnected after this many closes in a row for which it sent no data although the vendor has bars."""


class Live:
    """A live feed of one vendor's bars (quantd.trading.ports.LiveFeed): from its `stream` if it has one, else polled
    after each close.

    `sessions` has the calendar of each instrument and of the account, far enough into the future. A slice (the bars of
    one close) waits for missing symbols until `grace_ns` after the close; for another `grace_ns` their bars may follow
    in a later slice. `put_aside` receives each rejected bar. `now` returns UTC in ns, `sleep` takes seconds. `poll_ns`
    is the delay of a poll after a close. A bar that a stream lacks is queried after half of `grace_ns`, or `poll_ns` if
    that is longer.
    """

    def __init__(
        self,
        source: Source,
        stream: Stream | None = None,
        *,
        universe: Universe,
        sessions: Mapping[str, Sessions],
        interval_ns: int,
        grace_ns: int,
        now: Callable[[], int],
        put_aside: PutAside,
        poll_ns: int = 2 * NANO,
        beat_s: float = BEAT_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Raises FeedError for a missing calendar, and for intraday bars of a source that stamps session dates only.

        Times ending in `_ns` are in ns. `beat_s` is the number of seconds between two looks at the clock. `jitter`
        returns a random number from 0 to 1 for the length of pauses. A bar that the stream lacks is queried after
        `_mend` ns. `_failing` maps a data path (source, stream or actions) to the time of its first failure and its
        text; `_began` is the time at which `items` began.
        """
        for name in {universe.calendar, *(i.calendar for i in universe.instruments)}:
            if name not in sessions:
                raise FeedError("[universe] calendar", f"no sessions of {name}", f'Pass sessions["{name}"] to the feed')
        if interval_ns < DAY_NS and source.stamps == "session":
            raise FeedError(source.name, "session dates cannot stamp bars inside a day", 'Use interval = "1d"')
        self.universe: Final = universe
        self.interval_ns: Final = interval_ns
        self._source: Final = source
        self._stream: Final = stream
        self._market: Final = LiveMarket(
            universe=universe, sessions=sessions, stamps=source.stamps, interval_ns=interval_ns, grace_ns=grace_ns,
            late_ns=grace_ns, put_aside=put_aside,
        )  # fmt: skip
        self._grace: Final = grace_ns
        self._poll: Final = poll_ns
        self._mend: Final = max(poll_ns, grace_ns // 2)
        self._now: Final = now
        self._beat: Final = beat_s
        self._sleep: Final = sleep
        self._jitter: Final = jitter
        self._failing: Final[dict[str, tuple[int, str]]] = {}
        self._builder: SliceBuilder | None = None
        self._reader: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._woken = asyncio.Event()
        self._closed = False
        self._began = 0
        self.absent: tuple[str, ...] = ()
        """Symbols without a due bar in the vendor's newest answer."""

    def tell_halts(self, receiver: Callable[[Halted | Limited], None]) -> None:
        """Register the receiver of halts and price limits from a stream, which do not wait for bars."""
        stream: object = self._stream
        if isinstance(stream, TellsHalts):
            stream.tell_halts(receiver)

    def accept_price(self, column: int) -> None:
        """Accept the newest suspicious bar of a column (symbol) as real, as a person decided: the next bars are
        compared with it."""
        if self._builder is not None:
            self._builder.accept_price(column)

    async def announced(self, after: int) -> Announced:
        """Query the vendor's actions now, up to those of the next opens. An action that `items` has missed so far is
        due there at once. Before `items` begins, the actions later than `after` (ns UTC) count as coming. Raises
        SourceError."""
        builder, market = self._builder, self._market
        if builder is not None:
            after = builder.emitted_until
            if builder.actions_from():
                await self._ask_actions(builder)
        closes = Closes(market.universe, market.sessions, market.interval_ns)
        last_day = closes.day_of(closes.open_after(self._now()) or self._now())
        first = after - DAY_NS
        listed = await self._within(self._source.actions(first - first % DAY_NS, last_day + DAY_NS))
        around = [action for action in timed(listed, market.universe, market.sessions) if action.ts > first]
        coming = [action for action in around if action.ts > after or (builder is not None and builder.holds(action))]
        return Announced(coming, [action for action in around if action not in coming])

    @property
    def trouble(self) -> str:
        """The current failure of the feed as text.

        Empty within the grace time, and while the source makes up for a failed stream, or the stream for a failed
        source. Corporate actions come from the source alone.

        A data path is the source, the stream or the actions. Bars are overdue after the grace time and one poll.
        """
        now = self._now()
        failing = {data_path: why for data_path, (since, why) in self._failing.items() if now - since > self._grace}
        data_paths = {"source"} if self._stream is None else {"source", "stream"}
        builder = self._builder
        missing_close = None if builder is None else builder.missing(now)
        overdue = missing_close is not None and now > max(missing_close, self._began) + self._grace + self._poll
        if overdue or data_paths <= failing.keys() or "actions" in failing:
            why = "; ".join(why for _, why in self._failing.values())
            return why or f"{self._source.name}: no answer yet about the bars of {instant_text(missing_close or now)}"
        if builder is None:
            return ""
        if builder.closes.after(now) is None:
            return "the calendars end today: restart the daemon to extend them"
        silent = builder.silent_since(now - self._grace)
        return (
            f"{self._source.name}: no good bar of any symbol since {instant_text(silent)}" if silent is not None else ""
        )

    async def items(self, after: int) -> AsyncIterator[Action | Jump | MarketSlice | Until]:
        """Yield actions, jumps (apparent splits), slices and times later than `after` (ns UTC), in time order, until
        `close`.

        Raises FeedError when prices that are already adjusted come with splits or dividends, which would count twice.

        An Until is the time up to which the market is known. The error of a task that failed is raised here.
        """
        stall_ns = max(NANO, 4 * int(self._beat * NANO))
        builder = self._builder = SliceBuilder(after, self._market, safe_ns=SAFE_NS, stall_ns=stall_ns)
        tasks = self._tasks = [asyncio.create_task(self._ask(builder)), asyncio.create_task(self._beat_on())]
        if self._stream is not None:
            tasks.append(asyncio.create_task(self._listen(self._stream, builder)))
        self._began = self._now()
        try:
            while not self._closed:
                self._woken.clear()
                for item in builder.give(self._now()):
                    yield item
                for task in tasks:
                    if task.done() and not self._closed:
                        task.result()
                await self._woken.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """End `items`, cancel the tasks that read, and close stream and source."""
        self._closed = True
        self._woken.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._stream is not None:
            await self._stream.close()
        await self._source.close()

    async def _beat_on(self) -> None:
        while True:
            await self._sleep(self._beat)
            self._woken.set()

    async def _listen(self, stream: Stream, builder: SliceBuilder) -> None:
        """Read the stream forever, and reconnect it after a failure; `_ask` queries the bars missed meanwhile."""
        failures = 0
        try:
            while True:
                started_at = self._now()
                reader = self._reader = asyncio.create_task(self._read(stream, builder))
                await asyncio.wait([reader])
                builder.lose_stream()
                error = None if reader.cancelled() else reader.exception()
                if error is not None and not isinstance(error, SourceError):
                    raise error
                self._fails("stream", str(error or SourceError(self._source.name, "its stream fell silent")))
                self._woken.set()
                failures = 0 if self._now() - started_at > BACK_OFF_S[1] * NANO else failures + 1
                await self._sleep(self._back_off(error, failures))
        finally:
            if self._reader is not None:
                self._reader.cancel()
                await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self, stream: Stream, builder: SliceBuilder) -> None:
        async with aclosing(stream.bars()) as bars:
            async for rows in bars:
                self._failing.pop("stream", None)
                builder.take(rows, self._now())
                self._woken.set()
        raise SourceError(self._source.name, "its stream ended")

    async def _ask(self, builder: SliceBuilder) -> None:
        """Query the vendor forever, whenever something is due and missing.

        Actions are queried before the next opens, and bars after each close that lacks some. An answer without some of
        the symbols counts if it has bars.

        `silences` counts consecutive answers that have bars of a close for which the stream sent none.
        """
        failures, silences, not_before = 0, 0, 0
        last = _Asked(None, 0, 0)  # no query yet
        while True:
            now = self._now()
            if now >= max(not_before, builder.actions_from() - ACTIONS_LEAD_NS):
                not_before = await self._ask_actions(builder)
                continue
            missing = builder.missing(now)
            due = self._due(builder, missing, last, now)
            if now < due:
                await self._sleep(min(self._beat, (due - now) / NANO))
                continue
            last = _Asked(missing, now, last.tries + 1 if missing == last.close else 0)
            try:
                try:
                    rows = await self._within(self._source.bars(builder.start(), self._end(now)))
                    self.absent = ()
                except PartialAnswer as error:
                    # other symbols continue: an absent one is not fresh, and its price becomes stale
                    rows, self.absent = error.rows, error.missing
                    if not len(rows):
                        raise
            except SourceError as error:
                failures += 1
                self._fails("source", str(error))
                await self._sleep(self._back_off(error, failures))
                continue
            failures = 0
            self._failing.pop("source", None)
            silences = silences + 1 if builder.answer(rows, now, self._now()) else 0
            # the vendor has bars that its stream did not send: `_listen` connects the stream again
            if silences >= _SILENT_CLOSES and self._reader is not None:
                silences = 0
                self._reader.cancel()
            self._woken.set()

    def _due(self, builder: SliceBuilder, missing: int | None, last: "_Asked", now: int) -> int:
        """Return the time (ns UTC) of the next query. `missing` is the close (ns UTC) whose bars are missing, None
        if none is missing.

        The first query for a close follows `_poll` ns after it, or later if the stream is at work and may still send
        the bar. The pause between repeated queries doubles, up to a quarter of the grace time.
        """
        if not builder.answered:
            return now
        if missing is None:
            return now + int(self._beat * NANO)
        if missing != last.close:
            return missing + (self._mend if self._stream is not None and builder.heard(missing) else self._poll)
        # the shift doubles the pause with each try
        next_query = last.at + min(self._poll << min(last.tries, 16), max(self._poll, self._grace // 4))
        # One query follows the end of the grace time, because only a later answer proves that no bar is coming.
        return min(next_query, missing + self._grace) if last.at < missing + self._grace else next_query

    def _end(self, now: int) -> int:
        return now + 1 + (LATE_NS if self._source.stamps == "close" and self.interval_ns >= DAY_NS else 0)

    async def _ask_actions(self, builder: SliceBuilder) -> int:
        """Query splits and dividends up to the next opens. Returns the earliest time (ns UTC) of the next query.

        The earliest time is 0 after an answer: the next query is then due before the next open.
        """
        now = self._now()
        actions_since = builder.emitted_until - ACTIONS_BACK_NS if builder.actions_from() else builder.start()
        until = now + ACTIONS_LEAD_NS
        try:
            listed = await self._within(
                self._source.actions(actions_since - actions_since % DAY_NS, builder.closes.day_of(until) + DAY_NS)
            )
        except SourceError as error:
            self._fails("actions", f"splits and dividends are not known: {error}")
            since_ns, _ = self._failing["actions"]
            return now + int(self._back_off(error, 1 + (now - since_ns) // (10 * NANO)) * NANO)
        if listed and self._source.adjusted:
            raise FeedError(
                self._source.name,
                "adjusted prices hold their splits and dividends already, yet it lists some",
                "Ask it for raw prices, or for no actions",
            )
        self._failing.pop("actions", None)
        builder.announce(listed, until)
        self._woken.set()
        return 0

    async def _within(self, answer: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return await answer
        except TimeoutError:
            raise SourceError(self._source.name, f"no answer within {ANSWER_WITHIN_S:g} s") from None

    def _back_off(self, error: BaseException | None, failures: int) -> float:
        """Return the seconds to wait: doubled with each failure, less a random share up to half, to spread clients.

        The wait is never shorter than the vendor requests. Where a repeat cannot succeed, the longest wait replaces the
        doubled one.
        """
        shortest, longest = BACK_OFF_S
        permanent = isinstance(error, SourceError) and not error.again
        wait_s = longest if permanent else min(longest, shortest * 2.0 ** min(max(failures - 1, 0), 16))
        requested_s = error.after_s if isinstance(error, SourceError) else 0.0
        return max(requested_s, wait_s * (1.0 - self._jitter() / 2))

    def _fails(self, data_path: str, why: str) -> None:
        since, _ = self._failing.get(data_path, (self._now(), ""))
        self._failing[data_path] = (since, why)


class _Asked(NamedTuple):
    """The last query: `close` is the close whose bars it asked for (ns UTC), None if none was due, and `at` the time of
    the query (ns UTC). `tries` is the number of earlier queries for that close."""

    close: int | None
    at: int
    tries: int
