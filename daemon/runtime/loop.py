"""The shell around the pure engine: the only part of the program that acts.

`Shell` takes one item at a time, steps it, journals it with its effects and carries the effects out. Events that follow
from it (simulated reports, answers of policies) are stepped before the next item.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from quantd.daemon.engine import step
from quantd.daemon.engine.quiet.kernel import QUIET
from quantd.daemon.engine.quiet.run import plain, resting, run_quiet
from quantd.daemon.engine.settings import Rules
from quantd.daemon.engine.snapshot import freeze, thaw
from quantd.daemon.engine.state import State
from quantd.daemon.runtime.digest import Digest
from quantd.daemon.runtime.outbound import rows_of
from quantd.daemon.runtime.tally import Tally
from quantd.daemon.runtime.timeline import Item
from quantd.trading.effects import Again, Ask, Cancel, Effect, Query, Shadowed, Snapshot, Stop
from quantd.trading.events import Action, Condition, Decided, Event, Shade, Started, Tick, Unknown
from quantd.trading.market import Block, MarketSlice
from quantd.trading.orders import OrderBasket
from quantd.trading.ports import BrokerNews, SimulatedBroker

Answer = Callable[[Ask], Decided]

LONGEST: Final = 256
"""Most quiet samples in one call."""


class Meanwhile(Protocol):
    """Answers Asks while the loop continues."""

    def begin(self, question: Ask) -> bool:
        """Start an answer; False when the policy answers at once."""
        ...


class Log(Protocol):
    """Records steps, and has the recorded answers of a replay. One whose `records` is False needs no `Assessed`."""

    def answer(self, ask: Ask) -> Decided | None:
        """The recorded answer to this Ask; None when the policy must answer."""
        ...

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        """Record a step, or compare it with the record."""
        ...


class NoLog:
    """A backtest without a journal."""

    records = False

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
    ) -> None:
        self.state = state
        self.broker = broker
        self.answer = answer
        self.meanwhile: Meanwhile | None = None
        """Answers before `answer`, when the caller can wait for `waits`."""
        self.waits: Ask | None = None
        """The Ask whose answer `answered` must step before the next item."""
        self._after_wait: deque[Event | Ask] = deque()
        self.log: Log = log or NoLog()
        self.digest = Digest(state.universe, state.ledger.names, interval_ns)
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
        self.guarded = False
        """Whether an exception of the venue means a broker that is down (daemon), or an error (backtest)."""

    def take(self, item: Item) -> None:
        """The next item of the market: first for the venues, then for the engine."""
        if type(item) is MarketSlice:
            self._open(item)
        elif type(item) is Tick:
            self.ts = max(self.ts, item.ts)
            self.ticked = item.ts
            self._at_venues(lambda venue: venue.on_time(item.ts))
        elif type(item) is Action:
            self.ts = item.ts
            self._at_venues(lambda venue: venue.on_action(item))
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

    def take_all(self, items: Sequence[Item]) -> None:
        """Items of a recorded market, in order; quiet samples are taken together where kernels are compiled."""
        at, end = 0, len(items)
        while at < end:
            item = items[at]
            if QUIET.arrays and type(item) is MarketSlice and not self.remote:
                self._open(item)
                taken = self._take_quiet(items, at, item)
                if taken:
                    at += taken
                    continue
                self.run(item)
            else:
                self.take(item)
            at += 1

    def _take_quiet(self, items: Sequence[Item], at: int, first: MarketSlice) -> int:
        """The number of items from the slice `first` at `at` on that are quiet samples, which are taken. The last of
        them may ask agents."""
        if not resting(self.state):
            return 0
        block, row = first.block, first.row
        ticks: list[Tick] = []
        for k in range(at + 1, min(at + 1 + 2 * LONGEST, len(items)), 2):
            tick, market = items[k], items[k - 1]
            if type(tick) is not Tick or not plain(tick) or (ticks and not _follows(market, block, row + len(ticks))):
                break
            ticks.append(tick)
            if tick.due:
                break
        done = run_quiet(self.state, block, row, ticks, getattr(self.log, "records", True)) if ticks else []
        if not done:
            return 0
        for k, effects in enumerate(done):
            self.log.add(items[at + 2 * k], ())
            self.log.add(items[at + 2 * k + 1], effects)
            self.digest.add(effects)
            self.tally.add(effects)
        if len(done) > 1:
            self._count(first, len(done) - 1)
            self.broker.on_slice(MarketSlice(block, row + len(done) - 1))
        self.ts = self.ticked = ticks[len(done) - 1].ts
        queue: deque[Event | Ask] = deque()
        for effect in done[-1]:
            self._act(effect, queue)
        self._follow(queue)
        return 2 * len(done)

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
        first = self._step(event)
        if first:
            queue = deque() if queue is None else queue
            for effect in first:
                self._act(effect, queue)
        if queue:
            self._follow(queue)
        return first

    def _step(self, event: Event) -> Sequence[Effect]:
        """Step an event, and record it."""
        effects = step(self.state, event)
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
                queue.extend(self._call_venue(_request(self.broker, self.state, effect), effect))
            case Ask():
                recorded = self.log.answer(effect)
                waits = recorded is None and self.meanwhile is not None and self.meanwhile.begin(effect)
                queue.append(effect if waits else recorded or self.answer(effect))
            case Shadowed():
                # to the shadow's own simulated venue, whatever that of the house is
                k = effect.agent - len(self.state.agents)
                for own in effect.effects:
                    if isinstance(own, OrderBasket | Again | Cancel | Query):
                        news = _request(self.shadows[k], self.state.shadows[k], own)()
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


def _request(
    venue: SimulatedBroker, house: State, effect: OrderBasket | Again | Cancel | Query
) -> Callable[[], Sequence[BrokerNews]]:
    """The call of a venue that carries out an effect of `house`."""
    match effect:
        case OrderBasket():
            return partial(venue.submit, effect)
        case Again():
            return partial(venue.submit, house.at_venue()[effect.sample, effect.n].basket, effect.row)
        case Cancel():
            return partial(venue.cancel, effect.sample, effect.n, effect.row, effect.ts)
        case Query():
            return partial(venue.query, effect.sample, effect.n, effect.row)


def _follows(item: Item, block: Block, row: int) -> bool:
    """Whether an item is this row of a block."""
    return type(item) is MarketSlice and item.block is block and item.row == row
