"""The shell around the pure core, and the only place of the program that acts.

`Shell` takes one thing at a time, steps it, journals it with its effects and carries the effects out. What it
produces itself (simulated reports, answers of policies) is stepped before the next thing is taken.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

from quantd.daemon.engine import step
from quantd.daemon.engine.settings import Rules
from quantd.daemon.engine.snapshot import freeze, thaw
from quantd.daemon.engine.state import State
from quantd.daemon.runtime.digest import Digest
from quantd.daemon.runtime.tally import Tally
from quantd.daemon.runtime.timeline import Item
from quantd.trading.effects import Again, Ask, Cancel, Effect, Query, Shadowed, Snapshot, Stop
from quantd.trading.events import Action, Condition, Decided, Event, Shade, Started, Tick, Unknown
from quantd.trading.market import MarketSlice
from quantd.trading.orders import OrderBasket
from quantd.trading.ports import BrokerNews, SimulatedBroker

Answer = Callable[[Ask], Decided]


class Meanwhile(Protocol):
    """Answers questions while the loop goes on."""

    def begin(self, question: Ask) -> bool:
        """Begin to ask; False where the question is answered at once."""
        ...


class Log(Protocol):
    """Where steps are kept, and where recorded answers come from while a record lasts."""

    def answer(self, ask: Ask) -> Decided | None:
        """The recorded answer to this Ask, or None when the policy must be asked."""
        ...

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        """Keep one step, or compare it with the record."""
        ...


class NoLog:
    """A backtest without a journal."""

    def answer(self, ask: Ask) -> Decided | None:
        return None

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        return None


class Kept(Struct, frozen=True):
    """A snapshot: the state, the simulated venue, the digest and the counts after everything up to `ts`; `config` is
    the digest of the configuration it was made under."""

    ts: int
    config: str
    state: bytes
    broker: bytes
    digest: bytes
    tally: Tally
    ticked: int = 0
    shadows: dict[str, bytes] = {}
    """By name: the simulated venue of each shadow agent."""


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
        """Who is asked before `answer`, where somebody waits for `waits`."""
        self.waits: Ask | None = None
        """The question whose answer must be stepped, by `answered`, before anything else is taken."""
        self._after_wait: deque[Event | Ask] = deque()
        self.log: Log = log or NoLog()
        self.digest = Digest(state.universe, state.ledger.names, interval_ns)
        self.tally = Tally()
        self.ts = 0
        self.config = ""
        self.stopped = ""
        self.snapshot_wanted = False
        self.remote = remote
        """Whether the venue is across a network: its answers come through the inbox, and what its broker does is
        known by its own news."""
        self.ticked = 0
        """The instant of the last tick: what is due later is still to come, whatever bars came since."""
        self.shadows = list(shadows)
        """The simulated venues of shadow agents, in order. They see the same bars, and nobody else's orders."""
        self.guarded = False
        """Whether an exception of the venue is a broker that went down, as in a daemon, or an error, as in a
        backtest."""

    def take(self, item: Item) -> None:
        """The next thing of a replayed market: first to the simulated venue, then to the core."""
        tally = self.tally
        if type(item) is MarketSlice:
            for news in self._ask_venue(self._slice_at_venue, item):
                self.run(news)
            if self.shadows:
                self._shades(lambda venue: venue.on_slice(item))
            ts = item.ts_event
            tally.slices += 1
            tally.symbol_bars += len(item.fresh) if item.full else int(item.fresh.sum())
            self.ts = ts
            self.digest.settle(ts)
        elif type(item) is Tick:
            self.ts = max(self.ts, item.ts)
            self.ticked = item.ts
            for news in self._ask_venue(self.broker.on_time, item.ts):
                self.run(news)
            if self.shadows:
                self._shades(lambda venue: venue.on_time(item.ts))
        elif type(item) is Action:
            self.ts = item.ts
            for news in self._ask_venue(self.broker.on_action, item):
                self.run(news)
            if self.shadows:
                self._shades(lambda venue: venue.on_action(item))
        self.run(item)

    def answered(self, decided: Decided) -> None:
        """Step the answer to the question that waits, and what follows from it."""
        queue, self.waits = self._after_wait, None
        self.run(decided, queue)

    def run(self, event: Event, queue: "deque[Event | Ask] | None" = None) -> Sequence[Effect]:
        """Step an event, then everything that follows from it, in order, up to a question that waits; the effects of
        the event itself."""
        if type(event) is Started:
            self.config = event.config
        current: Event = event  # most events have no effect that brings another
        first: Sequence[Effect] | None = None
        while True:
            effects = step(self.state, current)
            if first is None:
                first = effects
            self.log.add(current, effects)
            if effects:
                self.digest.add(effects)
                self.tally.add(effects)
                if queue is None:
                    queue = deque()
                for effect in effects:
                    self._act(effect, queue)
            if not queue:
                return first
            following = queue.popleft()
            if isinstance(following, Ask):
                self.waits, self._after_wait = following, queue
                return first
            current = following

    def _act(self, effect: Effect, queue: "deque[Event | Ask]") -> None:
        match effect:
            case OrderBasket():
                key = effect.sample, effect.n
                queue.extend(self._ask_venue(self.broker.submit, effect, key=key, rows=range(len(effect.sym))))
            case Ask():
                recorded = self.log.answer(effect)
                waits = recorded is None and self.meanwhile is not None and self.meanwhile.begin(effect)
                queue.append(effect if waits else recorded or self.answer(effect))
            case Again():
                key = effect.sample, effect.n
                basket = self.state.at_venue()[key].basket
                queue.extend(self._ask_venue(self.broker.submit, basket, effect.row, key=key, rows=effect.row))
            case Cancel():
                key = effect.sample, effect.n
                queue.extend(
                    self._ask_venue(self.broker.cancel, *key, effect.row, effect.ts, key=key, rows=[effect.row])
                )
            case Query():
                queue.extend(self._ask_venue(self.broker.query, effect.sample, effect.n, effect.row))
            case Shadowed():
                self._act_shadowed(effect, queue)
            case Snapshot():
                self.snapshot_wanted = True
            case Stop():
                self.stopped = effect.reason
            case _:  # a record or an alert: for the journal, the store and the bus
                pass

    def _shades(self, look: Callable[[SimulatedBroker], Sequence[BrokerNews]]) -> None:
        """Step what the shadows' venues say, in their order."""
        first = len(self.state.agents)
        for k, venue in enumerate(self.shadows):
            for news in look(venue):
                self.run(Shade(first + k, news))  # type: ignore[arg-type]  # a simulated venue is never down

    def _act_shadowed(self, shadowed: Shadowed, queue: "deque[Event | Ask]") -> None:
        """What a shadow wants goes to its own simulated venue, whatever the house's is."""
        k = shadowed.agent - len(self.state.agents)
        venue, told = self.shadows[k], list[BrokerNews]()
        for effect in shadowed.effects:
            match effect:
                case OrderBasket():
                    told.extend(venue.submit(effect))
                case Cancel():
                    told.extend(venue.cancel(effect.sample, effect.n, effect.row, effect.ts))
                case Query():
                    told.extend(venue.query(effect.sample, effect.n, effect.row))
                case Again():
                    work = self.state.shadows[k].working[effect.sample, effect.n]
                    told.extend(venue.submit(work.basket, effect.row))
                case _:  # a record
                    pass
        queue.extend(Shade(shadowed.agent, news) for news in told)  # type: ignore[arg-type]

    def _ask_venue(
        self,
        call: Callable[..., Sequence[BrokerNews]],
        *args: object,
        key: tuple[int, int] = (0, 0),
        rows: Sequence[int] = (),
    ) -> Sequence[BrokerNews]:
        """The news of one call of the venue. In a daemon an exception is news too: the outcome of `rows` of the basket
        `key` is unknown, and the broker is down."""
        try:
            return call(*args)
        except Exception as error:
            if not self.guarded:
                raise
            text = f"{type(error).__name__}: {error}"[:500]
        news: list[BrokerNews] = []
        if rows:
            news.append(Unknown(*key, self.state.now, list(rows), text))
        if "broker" not in self.state.down:
            news.append(Condition(self.state.now, "broker", False, text))
        return news

    def _slice_at_venue(self, market: MarketSlice) -> Sequence[BrokerNews]:
        """The venue's news of a slice. A simulated venue that answers is up again."""
        news = self.broker.on_slice(market)
        if "broker" in self.state.down and not self.remote:
            return [Condition(self.state.now, "broker", True, "the venue answers"), *news]
        return news

    def keep(self) -> bytes:
        """A snapshot of everything, between two instants of the timeline."""
        self.snapshot_wanted = False
        return msgspec.msgpack.encode(
            Kept(
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

    def restore(self, rules: Rules, kept: bytes) -> None:
        """Take up where `keep` put down, under the same rules."""
        snapshot = msgspec.msgpack.decode(kept, type=Kept)
        self.state = thaw(rules, snapshot.state)
        self.broker.thaw(snapshot.broker)
        for shadow, venue in zip(self.state.shadows, self.shadows, strict=True):
            kept_venue = snapshot.shadows.get(shadow.rules.agents[0].name)
            if kept_venue is not None:
                venue.thaw(kept_venue)
        self.digest.thaw(snapshot.digest)
        self.tally = snapshot.tally
        self.ts = snapshot.ts
        self.ticked = snapshot.ticked
        self.config = snapshot.config
