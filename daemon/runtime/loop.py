"""The shell around the pure engine: the only part of the program that acts.

`Shell` takes one item at a time, steps it, journals it with its effects and carries the effects out. Events that follow
from it (simulated reports, answers of policies) are stepped before the next item.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol, runtime_checkable

import msgspec
from msgspec import Struct

from quantd.daemon.engine import step
from quantd.daemon.engine.batches.batch import Batch, Told
from quantd.daemon.engine.batches.eligibility import begin_batch
from quantd.daemon.engine.batches.filled_orders import FillColumns
from quantd.daemon.engine.batches.kernel import (
    DUE,
    ENDED,
    LEVELS_OF_PLAN,
    LEVELS_OF_ROW,
    OTHER_PLAN,
    OTHER_ROW,
)
from quantd.daemon.engine.batches.layout import MOST_AHEAD
from quantd.daemon.engine.batches.row_effects import SampleRows
from quantd.daemon.engine.settings import Rules
from quantd.daemon.engine.snapshot import freeze, thaw
from quantd.daemon.engine.state import State
from quantd.daemon.policies.seats import Seats, no_artifact
from quantd.daemon.runtime.digest import Digest, NoDigest
from quantd.daemon.runtime.outbound import request_of, rows_of
from quantd.daemon.runtime.tally import Tally
from quantd.daemon.runtime.timeline import Item, PlainRows, plain_rows
from quantd.engine_build import finder
from quantd.trading.display_text import instant_text
from quantd.trading.effects import Again, Ask, Cancel, Effect, Query, Shadowed, Snapshot, Stop
from quantd.trading.events import Action, Condition, Decided, Event, Shade, Started, Tick, Unknown, split_of
from quantd.trading.history.rings import Ring
from quantd.trading.market import Floats, JumpExplained, MarketSlice, PriceJumped
from quantd.trading.orders import OrderBasket
from quantd.trading.ports import BrokerNews, KernelVenue, SimulatedBroker

Answer = Callable[[Ask], Decided]

MOST_SKIPPED: Final = 8
"""Most slices that are stepped one by one after a batch that did not pay."""


class Meanwhile(Protocol):
    """Answers Asks while the loop continues."""

    def begin(self, question: Ask) -> bool:
        """Start an answer; False when the policy answers at once."""
        ...


class Log(Protocol):
    """Records steps, and has the recorded answers of a replay."""

    rows_only: bool
    """Whether it reads valuations, fills and bookings only; then it may get the fills of a bar with its slice."""

    def answer(self, ask: Ask) -> Decided | None:
        """The recorded answer to this Ask; None when the policy must answer. Each Ask is passed once."""
        ...

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        """Record a step, or compare it with the record."""
        ...


@runtime_checkable
class SampleLog(Log, Protocol):
    """A log with `rows_only` that takes the samples of a batch as columns."""

    def add_samples(self, market: MarketSlice, filled: Sequence[tuple[int, FillColumns]], rows: SampleRows) -> None:
        """Record fills with the rows of their bars, and the samples from `market` on; there may be none."""
        ...

    def told(self, agent: int, ts: int, questions: int) -> None:
        """Record questions whose answers were told in advance, the last one at an instant."""
        ...


@runtime_checkable
class Foreseen(Protocol):
    """Answers of policies to recorded samples that can be told before the engine asks."""

    def ahead(self, rows: Sequence[tuple[int, int, list[int]]], seats: Sequence[int]) -> list[Told]:
        """The answers of all agents to the first of `rows`: row, instant and agents due. `seats` are those of the
        agents."""
        ...

    def planned(self, told: Sequence[Told], prices: Floats, ring: Ring, later: int) -> None:
        """Take note of answers that were planned at float64[T, N] prices. `ring` has `later` rows after the last.

        Raises an error where the engine had another market than the answers.
        """
        ...


class NoLog:
    """A backtest without a journal."""

    rows_only: bool = True

    def answer(self, ask: Ask) -> Decided | None:
        return None

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        return None


class RunSnapshot(Struct, frozen=True):
    """A snapshot of a run at `ts`: state, simulated venue, digest and tally. `config` is the configuration's digest."""

    ts: int
    config: str
    state: bytes
    broker: bytes
    digest: bytes
    tally: Tally
    ticked: int = 0
    shadows: dict[str, bytes] = {}
    """By name: the simulated venue of each shadow."""


class Shell:
    """Engine, simulated venue, policies and journal of one run."""

    def __init__(
        self,
        state: State,
        broker: SimulatedBroker,
        answer: Answer,
        *,
        interval_ns: int,
        log: Log | None = None,
        remote: bool = False,
        shadows: Sequence[SimulatedBroker] = (),
        hashed: bool = True,
    ) -> None:
        self.state = state
        self.broker = broker
        self.answer = answer
        self.seats = Seats((), (), no_artifact, dict)
        """The policies by seat, with artifacts loaded at run time; empty where `answer` needs none."""
        self.meanwhile: Meanwhile | None = None
        """Answers before `answer`, when the caller can wait for `waits`."""
        self.waits: Ask | None = None
        """The Ask whose answer `answered` must step before the next item."""
        self._after_wait: deque[Event | Ask] = deque()
        self.log: Log = log or NoLog()
        self._sample_log: SampleLog | None = None
        self._foreseen: Foreseen | None = None
        self._reach = MOST_AHEAD
        """Most answers that are told in advance: twice those that the last call could plan."""
        self.digest = (Digest if hashed else NoDigest)(state.universe, state.ledger.names, interval_ns)
        self.tally = Tally()
        self.ts = 0
        self.config = ""
        self.stopped = ""
        self.snapshot_wanted = False
        self.remote = remote
        """Whether the venue is real: its reports arrive through the inbox."""
        self.ticked = 0
        """The instant of the last tick; later ticks are still due, whatever bars arrived since."""
        self.shadows = list(shadows)
        """The simulated venues of the shadows, in order, on the same bars."""
        self._skip = self._skipped = 0
        """Slices to step before the next batch, and twice those after the last one."""
        self.in_batches = finder.loaded() is not None
        """Whether `take_all` takes plain rows together."""
        self.guarded = False
        """Whether an exception of the venue means a broker that is down (daemon), or an error (backtest)."""

    def take(self, item: Item) -> None:
        """The next item of the market: first for the venues, then for the engine."""
        if type(item) is MarketSlice:
            self._open(item)
        elif type(item) is Tick:
            self.ts = max(self.ts, item.ts)
            self.ticked = item.ts
            self._at_venues(lambda venue: venue.on_time(item.ts, item.opened))
        elif type(item) is Action:
            self.ts = item.ts
            self._at_venues(lambda venue: venue.on_action(item))
        elif type(item) is PriceJumped:
            self.ts = max(self.ts, item.ts)
        self.run(item)

    def _open(self, market: MarketSlice) -> None:
        """A slice at the venues: its fills, and the ends of orders."""
        self._at_venues(lambda venue: self._slice_at(venue, market))
        self._count(market, 1)
        self.ts = market.ts_event
        self.digest.settle(self.ts)

    def _count(self, market: MarketSlice, slices: int) -> None:
        """Count slices, all full or one."""
        self.tally.slices += slices
        self.tally.symbol_bars += slices * len(market.fresh) if market.full else int(market.fresh.sum())

    def take_all(self, items: Sequence[Item], known: dict[int, PlainRows] | None = None) -> None:
        """Items of a recorded market, in order; plain rows are taken together where the engine is compiled.

        `known` keeps the plain rows of a list of items for its next run under the same rules."""
        at, end = 0, len(items)
        rows, known = PlainRows([], {}, {}), {} if known is None else known
        self._sample_log = self.log if isinstance(self.log, SampleLog) else None
        counts = type(self.log) is NoLog or (self.log.rows_only and self._sample_log is not None)
        self._foreseen = self.answer if counts and isinstance(self.answer, Foreseen) else None
        while at < end:
            item = items[at]
            if self.in_batches and type(item) is MarketSlice and not self.remote:
                if at not in rows.places:
                    rows = known.get(at) or plain_rows(items, at, paid_by_venue=self.state.rules.venue_pays)
                    known[at] = rows
                if self._skip:
                    self._skip -= 1
                elif at in rows.places and (after := self._take_batch(items, rows, at)):
                    at = after
                    continue
            self.take(item)
            at += 1

    def _take_batch(self, items: Sequence[Item], rows: PlainRows, at: int) -> int:
        """The place behind the items that a batch takes from the slice at `at` on; 0 where it takes none."""
        first, number = items[at], rows.places[at]
        assert isinstance(first, MarketSlice)
        rows_only = self.log.rows_only
        venue = self.broker if rows_only and self.meanwhile is None and isinstance(self.broker, KernelVenue) else None
        ticks, hashed = rows.ticks[number:], type(self.digest) is not NoDigest
        batch = begin_batch(self.state, first.block, first.row, ticks, venue, not rows_only, hashed)
        if batch is None:
            return 0
        batch.pauses = sorted(row - number for row in rows.dividends if number < row < number + len(batch.ticks))
        left = self._drive(batch, rows, number, rows_only)
        basket = batch.close(venue)
        self._wait_for_batch(batch.rows)
        if not batch.rows:
            return 0
        last = batch.ticks[batch.rows - 1]
        self._count(first, batch.rows)
        self.tally.samples += batch.rows
        refused, clipped = batch.cuts()
        self.tally.refused += refused
        self.tally.clipped += clipped
        self.ts = self.ticked = last.ts
        if venue is None:
            self.broker.on_slice(MarketSlice(first.block, first.row + batch.rows - 1))
        queue: deque[Event | Ask] = deque()
        if basket is not None:
            queue.extend(self._call_venue(partial(self.broker.submit, basket), basket))
            self._follow(queue)
        if left is None:
            effects = batch.finish_tick()
            self.log.add(last, [*batch.held, *effects])
            self.digest.add(effects)
            self.tally.add(effects)
            for effect in effects:
                self._act(effect, queue)
        elif left:
            batch.reopen(left)
            queue.extend(left)
        self._follow(queue)
        places, taken = list(rows.places), number + batch.rows
        # the dividends before the next row may have been stepped
        return places[taken] if batch.paid == batch.rows else places[taken - 1] + 2

    def _pay(self, batch: Batch, dividends: Sequence[Action]) -> None:
        """Step the dividends before the next row of a batch."""
        for action in dividends:
            self.ts = action.ts
            self._at_venues(lambda venue, action=action: venue.on_action(action))  # type: ignore[misc]
            self._step(action)
            batch.adjust()

    def _wait_for_batch(self, rows: int) -> None:
        """Step some slices one by one after a batch without rows."""
        self._skipped = 0 if rows else min(2 * self._skipped + 1, MOST_SKIPPED)
        self._skip = max(self._skip, self._skipped // 2)

    def _drive(self, batch: Batch, rows: PlainRows, number: int, rows_only: bool) -> list[Decided] | None:
        """Take rows, and ask agents. Returns answers that the engine must plan; None where it must finish a tick."""
        answers: list[Decided] | None = []
        while True:
            before = batch.rows
            status = batch.take()
            if status == OTHER_PLAN:
                return answers
            if batch.told:
                self._reach = min(max(2 * len(batch.planned), 1), MOST_AHEAD)
            if batch.planned:
                self._note_planned(batch)
            finish = status == DUE and not batch.gated
            self._record(batch, before, rows_only, hold=finish)
            answers = []
            if batch.pauses and status == ENDED:
                batch.paid = batch.pauses.pop(0)
                self._pay(batch, rows.dividends[number + batch.paid])
                continue
            if status == LEVELS_OF_PLAN:
                self.tally.add(batch.check_plan())
                continue
            if status == LEVELS_OF_ROW:
                self.tally.add(batch.check_levels())
            elif status != DUE:
                self._skip = int(status == OTHER_ROW)
                return answers
            due = batch.due()
            follows = False if finish else batch.follow(due)
            if follows is False:
                return None
            if follows:
                answers = None
            elif due:
                answers = [self.log.answer(ask) or self.answer(ask) for ask in batch.asks(due)]
                if not batch.answer(answers):
                    return answers
                if self._foreseen is not None:
                    batch.tell(self._foreseen.ahead(batch.coming(self._reach), self.state.seats))

    def _note_planned(self, batch: Batch) -> None:
        """Count the answers told in advance that a call of a batch planned."""
        assert self._foreseen is not None
        told, first = batch.planned, batch.first
        prices = batch.block.close[[first + each.row for each in told]]
        self._foreseen.planned(told, prices, self.state.history.known, batch.rows - 1 - told[-1].row)
        if self._sample_log is not None:
            for agent in range(len(self.state.agents)):
                asked = [each.ts for each in told if agent in each.answers]
                if asked:
                    self._sample_log.told(agent, asked[-1], len(asked))

    def _record(self, batch: Batch, before: int, rows_only: bool, *, hold: bool) -> None:
        """Log, hash and count the rows of the last call. With `hold`, the effects of the last tick wait."""
        self.digest.add_rows(batch.digest_rows(before))
        self.tally.orders += batch.sent
        self.tally.fills += batch.fills
        if type(self.log) is NoLog:
            return
        filled, last = [(each.row, each.columns()) for each in batch.filled()], batch.rows - hold
        if rows_only and self._sample_log is not None:
            market = MarketSlice(batch.block, batch.first + before)
            self._sample_log.add_samples(market, filled, batch.samples(before, last))
        else:
            effects = {row: [each.effect()] for row, each in filled}
            for row in range(before, batch.rows):
                self.log.add(MarketSlice(batch.block, batch.first + row), effects.get(batch.first + row, ()))
                if row < last:
                    self.log.add(batch.ticks[row], batch.records(row, losses=not rows_only))
        if hold:
            batch.held = batch.records(last, losses=not rows_only)

    def answered(self, decided: Decided) -> None:
        """Step the answer to the waiting Ask, and the events that follow."""
        queue, self.waits = self._after_wait, None
        self.run(decided, queue)

    def run(self, event: Event, queue: "deque[Event | Ask] | None" = None) -> Sequence[Effect]:
        """Step an event, then the events that follow from it, up to an Ask that waits.

        Returns the effects of the event itself.
        """
        if type(event) is Started:
            self.config = event.config
        elif type(event) is JumpExplained and event.symbol in self.state.jumped and (split := split_of(event)):
            self._at_venues(lambda venue: venue.on_action(split))
        first = self._step(event)
        if first:
            queue = deque() if queue is None else queue
            for effect in first:
                self._act(effect, queue)
        if queue:
            self._follow(queue)
        return first

    def _step(self, event: Event) -> Sequence[Effect]:
        """Step an event, and record it. An exception names the event."""
        try:
            effects = step(self.state, event)
        except Exception as error:
            ts = event.ts_event if type(event) is MarketSlice else getattr(event, "ts", 0) or self.state.now
            error.add_note(f"It happened in the event {type(event).__name__} of {instant_text(ts)}.")
            raise
        self.log.add(event, effects)
        if effects:
            self.digest.add(effects)
            self.tally.add(effects)
        return effects

    def _follow(self, queue: "deque[Event | Ask]") -> None:
        """Step the events of a queue and those that follow from them, up to an Ask that waits."""
        while queue:
            following = queue.popleft()
            if isinstance(following, Ask):
                self.waits, self._after_wait = following, queue
                return
            for effect in self._step(following):
                self._act(effect, queue)

    def _act(self, effect: Effect, queue: "deque[Event | Ask]") -> None:
        match effect:
            case OrderBasket() | Again() | Cancel() | Query():
                queue.extend(self._call_venue(request_of(self.broker, self.state, effect), effect))
            case Ask():
                recorded = self.log.answer(effect)
                waits = recorded is None and self.meanwhile is not None and self.meanwhile.begin(effect)
                queue.append(effect if waits else recorded or self.answer(effect))
            case Shadowed():
                # to the shadow's own simulated venue, whatever that of the house is
                k = effect.agent - len(self.state.agents)
                for own in effect.effects:
                    if isinstance(own, OrderBasket | Again | Cancel | Query):
                        news = request_of(self.shadows[k], self.state.shadows[k], own)()
                        queue.extend(Shade(effect.agent, each) for each in news)  # type: ignore[arg-type]
            case Snapshot():
                self.snapshot_wanted = True
            case Stop():
                self.stopped = effect.reason
            case _:  # a record or an alert: for the journal, the store and the bus
                pass

    def _at_venues(self, look: Callable[[SimulatedBroker], Sequence[BrokerNews]]) -> None:
        """Step the reports of the venue, then those of the shadows' venues in their order."""
        for news in self._call_venue(partial(look, self.broker)):
            self.run(news)
        for number, venue in enumerate(self.shadows, len(self.state.agents)):
            for news in look(venue):
                self.run(Shade(number, news))  # type: ignore[arg-type]  # a simulated venue is never down

    def _call_venue(
        self, call: Callable[[], Sequence[BrokerNews]], effect: OrderBasket | Again | Cancel | Query | None = None
    ) -> Sequence[BrokerNews]:
        """The reports of one call of the venue.

        In a daemon an exception is a report too: the order is UNKNOWN, and the broker is down.
        """
        try:
            return call()
        except Exception as error:
            if not self.guarded:
                raise
            text = f"{type(error).__name__}: {error}"[:500]
        news: list[BrokerNews] = []
        if effect is not None and not isinstance(effect, Query):
            news.append(Unknown(effect.sample, effect.n, self.state.now, rows_of(effect), text))
        if "broker" not in self.state.down:
            news.append(Condition(self.state.now, "broker", False, text))
        return news

    def _slice_at(self, venue: SimulatedBroker, market: MarketSlice) -> Sequence[BrokerNews]:
        """A venue's reports on a slice. The run's simulated venue is up again when it answers."""
        news = venue.on_slice(market)
        if venue is self.broker and "broker" in self.state.down and not self.remote:
            return [Condition(self.state.now, "broker", True, "the venue answers"), *news]
        return news

    def keep(self) -> bytes:
        """A snapshot between two instants of the timeline."""
        self.snapshot_wanted = False
        return msgspec.msgpack.encode(
            RunSnapshot(
                ts=self.ts,
                config=self.config,
                state=freeze(self.state),
                broker=self.broker.freeze(),
                digest=self.digest.freeze(),
                tally=self.tally,
                ticked=self.ticked,
                shadows={
                    shadow.rules.agents[0].name: venue.freeze()
                    for shadow, venue in zip(self.state.shadows, self.shadows, strict=True)
                },
            )
        )

    def restore(self, rules: Rules, encoded: bytes) -> None:
        """Continue from a snapshot under the same rules."""
        snapshot = msgspec.msgpack.decode(encoded, type=RunSnapshot)
        self.state = thaw(rules, snapshot.state)
        self.broker.thaw(snapshot.broker)
        for shadow, venue in zip(self.state.shadows, self.shadows, strict=True):
            frozen = snapshot.shadows.get(shadow.rules.agents[0].name)
            if frozen is not None:
                venue.thaw(frozen)
        self.digest.thaw(snapshot.digest)
        self.tally = snapshot.tally
        self.ts = snapshot.ts
        self.ticked = snapshot.ticked
        self.config = snapshot.config
