"""The shell around the pure engine: the only part of the program that acts.

`Shell` takes one item at a time, steps it, journals it with its effects and carries the effects out. Events that follow
from it (simulated reports, answers of policies) are stepped before the next item.

What the order guarantees. A step is in the log before one of its effects is carried out: an effect without a record
could not be explained, and a replay would differ. Venues see an item before the engine does, so that fills at the open
of a bar are booked before its closes become the marks. Events that follow from a step wait in one queue, first in,
first out, so that a replay has them in the same order. A venue across a network gets nothing here: `Wire` holds its
orders until the commit.

While the fold, the compiled fast path, takes items, the venue, the log and the counts are behind the state. `state`,
`broker`, `tally` and `market` bring them up to date for whoever reads them, and the loop does not read them at each bar
(docs/decisions/023). Whoever steps an event settles them first: a handler must not send to a venue that lacks orders.

What can go wrong: a thread reads the state while the loop plans a round. The columns would be brought up to date in
the middle of the plan, and its basket would be recorded as accepted and never reach the venue. So only the thread that
steps may read them; another thread reads `unsettled`, or gets values that the loop has read.

In a daemon an exception of a venue becomes a report (the order is unknown, the broker is down), because positions and
operators still need the loop. In a backtest it is an error.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from threading import get_ident

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from quantd.daemon.engine import step
from quantd.daemon.engine.agents.promotion import note_decision
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.settings import Rules
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.daemon.policies.seats import Seats, no_artifact
from quantd.daemon.runtime.digest import Digest, NoDigest
from quantd.daemon.runtime.host.fold_host import FoldHost
from quantd.daemon.runtime.host.shell_parts import Parts
from quantd.daemon.runtime.outbound import Outgoing, Wire, request_of, rows_of
from quantd.daemon.runtime.shadow_log import MARKET, AccountLog, ShadowLog
from quantd.daemon.runtime.step_log import Answer, Log, Meanwhile, NoLog
from quantd.daemon.runtime.tally import Tally
from quantd.daemon.runtime.timeline import Item
from quantd.trading.display_text import instant_text
from quantd.trading.effects import Again, Ask, Cancel, Effect, Query, Shadowed, Snapshot, Stop
from quantd.trading.events import Action, Condition, Decided, Event, ShadowReport, Started, Tick, Unknown, split_of
from quantd.trading.market import JumpExplained, MarketSlice, PriceJumped
from quantd.trading.orders import OrderBasket
from quantd.trading.ports import BrokerNews, SimulatedBroker


class RunSnapshot(Struct, frozen=True):
    """A snapshot of a run at `ts`: state, simulated venue, digest of its trades, and tally (counts of its effects).

    `config` is the digest of the configuration."""

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
    """Runs one engine: applies events to its state, with its simulated venue, policies and journal."""

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
        """`answer` calls a policy; `shadows` are the venues of agents on paper; `hashed` asks for a digest of
        trading."""
        self._state = state
        self._parts = Parts(broker, Tally())
        self._parts.tally.prepare(state)
        self.answer = answer
        self.seats = Seats((), (), no_artifact, dict)
        """The policies by seat, with artifacts loaded at run time; empty where `answer` needs none."""
        self.meanwhile: Meanwhile | None = None
        """Answers questions instead of `answer`, where the caller can wait for the answer (see `waits`)."""
        self.waits: Ask | None = None
        """The Ask whose answer `answered` must step before the next item."""
        self._after_wait: deque[Event | Ask] = deque()
        self.shadows: list[Shell] = []
        """The shells of the shadows (agents on paper), in order, with venues of their own on the same items."""
        self._shadow_logs: list[ShadowLog] = []
        for k, venue in enumerate(shadows):
            beside = ShadowLog(self, k)
            self._shadow_logs.append(beside)
            self.shadows.append(
                Shell(state.shadows[k], venue, answer, interval_ns=interval_ns, log=beside, hashed=False)
            )
            self.shadows[k].meanwhile = beside
        self._shadows_have: Item | None = None
        """The last item that the shadows took."""
        self._shadow_asks: list[Effect] = []
        self._after_account: deque[Event | Ask] = deque()
        """Questions and answers of shadows at the last item, while the account awaits an answer."""
        self.log = log or NoLog()
        self.digest = (Digest if hashed else NoDigest)(state.universe, state.ledger.names, interval_ns)
        self.config = ""
        """Digest of the configuration of the newest start."""
        self.stopped = ""
        """Reason of a Stop effect; empty while the run goes on."""
        self.snapshot_wanted = False
        self.remote = remote
        """Whether the venue is real: its reports arrive through the inbox."""
        self._host: FoldHost | None = None
        self._venues_have: Item | None = None
        """The last item that the venues got."""
        self._thread = 0
        """The thread that took the last item, answer or event. A learner's market may move to another thread."""
        self._stepped = self._folded = 0
        """Samples that Python took, and that the fold took, before the last `restore`."""
        self.guarded = False
        """Whether an exception of the venue is reported as a broker that is down (daemon), or raised (backtest)."""

    @property
    def log(self) -> Log:
        """The log of the run."""
        return self._log

    @log.setter
    def log(self, log: Log) -> None:
        self._log = log
        # a log of rows gets no items, so that `take` lets the shadows take them
        self.steps: Log = AccountLog(log, self._shadows_take) if self.shadows and not log.rows_only else log
        """The log of the steps, which adds what the shadows do at an item."""

    @property
    def state(self) -> State:
        """The state after the last item (bar, action or tick).

        While an item is being taken, or a policy's answer is awaited, orders may be older.

        Raises RuntimeError in a thread that does not step, as do `broker`, `tally` and `market`.
        """
        self._show()
        return self._state

    def _show(self) -> None:
        """Bring venue, log and counts up to date, but not in the middle of an item or a round."""
        if self._state.folding and self._host is not None:
            self._require_own_thread()
            # while the fold is in an item or a round, orders cannot be synchronised
            if self._state.fold_items is not None or self._host.open_round.awaits:
                self._host.show()
            else:
                self._host.sync()
        for shadow in self.shadows:
            shadow._show()

    def _require_own_thread(self) -> None:
        if get_ident() != self._thread:
            raise RuntimeError(
                "this thread reads the state, and another thread steps it; read Shell.unsettled in this one"
            )

    @property
    def unsettled(self) -> State:
        """The state without the columns of the fold (the compiled fast path); any thread may read it.

        Clocks, numbers of samples and rounds, marks, books, kill switches and settings are up to the last item. Orders
        may be behind.
        """
        return self._state

    @property
    def broker(self) -> SimulatedBroker:
        """The simulated venue after the last item of the market."""
        self._show()
        return self._parts.broker

    @broker.setter
    def broker(self, broker: SimulatedBroker) -> None:
        self.settle()
        self._parts.broker = broker

    def outgoing(self) -> list[Outgoing]:
        """The orders for a venue across a network since the last call; empty for a simulated venue."""
        return self._parts.broker.taken() if isinstance(self._parts.broker, Wire) else []

    @property
    def tally(self) -> Tally:
        """The counts (orders, fills, refusals, bars and so on) up to the last item of the market."""
        self._show()
        return self._parts.tally

    @property
    def market(self) -> MarketSlice | None:
        """The last bar of the market; None before the first, and after a restore."""
        self._show()
        return self._parts.market

    @property
    def ts(self) -> int:
        """The instant of the last item of the market, ns UTC."""
        return self._state.fold_ts if self._state.folding else self._parts.ts

    @property
    def ticked(self) -> int:
        """The instant of the last tick; later ticks are still due, whatever bars arrived since."""
        return self._state.fold_ticked if self._state.folding else self._parts.ticked

    @property
    def samples(self) -> tuple[int, int]:
        """(samples that the fold, the compiled fast path, took; samples that Python took) since the process began."""
        return self._folded + self._state.samples_taken, self._stepped + self._state.samples_called

    def settle(self) -> None:
        """Bring the state to the last item, where the columns of the fold (the compiled fast path) are ahead of it."""
        if self._state.folding and self._host is not None:
            self._require_own_thread()
            self._host.sync()
        for shadow in self.shadows:
            shadow.settle()

    def take(self, item: Item) -> None:
        """Take the next item of the market: by the compiled fold, or else at the venues first, then in the engine."""
        self._thread = get_ident()
        host = self._fold_host()
        try:
            # the index of the first item that the fold did not take: 1 where it took this one
            if self._state.fold((item,), 0, 1):
                host.flush()
            else:
                host.sync()
                self._take_event(item)
        except Exception as error:
            self._name_event(error, item)
            raise
        if self.shadows:
            self._end_item(item)

    def take_all(self, items: Sequence[Item]) -> None:
        """Take items of a recorded market, in order; where answers may be awaited, one by one with `take`.

        The compiled fold takes items until an event that handlers take (a split, a price jump), and goes on behind it.
        """
        if self.meanwhile is not None or self.shadows:
            for item in items:
                self.take(item)
            return
        index, end = 0, len(items)
        self._thread = get_ident()
        host = self._fold_host()
        try:
            while (index := self._state.fold(items, index, end)) < end:
                host.sync()
                self._take_event(items[index])
                index += 1
        except Exception as error:
            self._name_event(error, items[self._state.fold_at])
            raise
        finally:
            self._release()

    def _take_event(self, item: Item) -> None:
        """Give an item that is an event of `step` to the venue, which moves to its instant, then to the engine."""
        self.tell_venues(item)
        self.run(item)

    def _shadows_take(self, item: Item) -> list[Effect]:
        """Let the shadows take an item, once; returns their effects at it, as effects of the account."""
        if item is self._shadows_have or not isinstance(item, MARKET):
            return []
        self._shadows_have, effects = item, list[Effect]()
        for k, (shadow, log) in enumerate(zip(self.shadows, self._shadow_logs, strict=True)):
            shadow._follow_state(self._state.shadows[k])
            shadow.take(log.open_item(item))
            effects.extend(log.at_item)
        self._shadow_asks = [effect for effect in effects if isinstance(effect, Ask)]
        self._count(effects)
        return effects

    def _follow_state(self, state: State) -> None:
        """Go on with the state that the account has for this shadow."""
        if self._state is not state:
            self._release()
            self._state = state

    def _end_item(self, item: Item) -> None:
        """Record what the shadows did after their item, and put their questions, when the account has taken it."""
        self._shadows_take(item)  # a log of rows has not asked for it
        for log in self._shadow_logs:
            log.close()
        queue: deque[Event | Ask] = deque()
        asks, self._shadow_asks = self._shadow_asks, []
        for ask in asks:
            self._act(ask, queue)
        if self.waits is None:
            self._follow(queue)
        else:
            self._after_account = queue

    def tell_venues(self, item: Item) -> None:
        """Give an item to the account's venue, once, and step its reports of fills and ended orders. A price jump
        concerns no venue."""
        if item is self._venues_have:  # a venue that gets a bar twice fills twice
            return
        self._venues_have, parts = item, self._parts
        if type(item) is MarketSlice:
            self._at_venue(lambda venue: self._slice_at(venue, item))
        elif type(item) is Tick:
            parts.ts = max(parts.ts, item.ts)
            parts.ticked = item.ts
            self._at_venue(lambda venue: venue.on_time(item.ts, item.opened))
        elif type(item) is Action:
            parts.ts = item.ts
            self._at_venue(lambda venue: venue.on_action(item))
        elif type(item) is PriceJumped:
            parts.ts = max(parts.ts, item.ts)

    def _fold_host(self) -> FoldHost:
        """The host of the compiled fold for the present state, log and answers.

        A new host is made where the state was replaced.
        """
        if self._host is not None and self._host.state is not self._state:
            self._host = None
        if self._host is None:
            self._host = FoldHost(self._state)
        if not self._host.serves(self, self._parts):
            self._host.begin(self, self._parts)
        return self._host

    def _release(self) -> None:
        """Bring the state to the last item, and end the fold's host, so that host and shell no longer refer to each
        other."""
        if self._host is not None:
            self._host.end()
        for shadow in self.shadows:
            shadow._release()

    def follow(self, events: Sequence[Event]) -> None:
        self.settle()
        self._follow(deque(events))

    def carry_out(self, effects: Sequence[Effect]) -> None:
        """Carry out effects of a step, and step the events that follow from them."""
        self.settle()
        queue: deque[Event | Ask] = deque()
        for effect in effects:
            self._act(effect, queue)
        self._follow(queue)

    def answered(self, decided: Decided) -> None:
        """Take the answer to the waiting Ask (question to a policy), and step the events that follow."""
        self._thread = get_ident()
        queue, self.waits = self._after_wait, None
        try:
            if self.shadows and self._to_shadow(decided):
                self._follow(queue)
                return
            taken = self._host is not None and self._state.folding and self._host.open_round.take(decided)
        except Exception as error:
            self._name_event(error, decided)
            raise
        if not taken:
            self.run(decided, queue)
        if self.waits is None and self._after_account:
            queue, self._after_account = self._after_account, deque()
            self._follow(queue)

    def wait(self, question: Ask, queue: "deque[Event | Ask]") -> None:
        """Note that a policy's answer to `question` is awaited; the events of `queue` are stepped after the answer."""
        self.waits, self._after_wait = question, queue

    def run(self, event: Event, queue: "deque[Event | Ask] | None" = None) -> Sequence[Effect]:
        """Step an event, then the events that follow from it, until an answer is awaited.

        `queue` has events that wait already. Returns the effects of the event itself. A price jump that a person
        explains as a split is told to the venues first, as any split is.
        """
        self._thread = get_ident()
        self.settle()
        if type(event) is Started:
            self.config = event.config
        elif (
            type(event) is JumpExplained
            and event.symbol in self._state.restrictions.jumped
            and (split := split_of(event))
        ):
            self._at_venue(lambda venue: venue.on_action(split))
            for number, shadow in enumerate(self.shadows, len(self._state.agents)):
                for news in shadow._parts.broker.on_action(split):
                    self.run(ShadowReport(number, news))  # type: ignore[arg-type]  # a simulated venue is never down
        effects = self._step(event)
        if effects:
            queue = deque() if queue is None else queue
            for effect in effects:
                self._act(effect, queue)
        if queue:
            self._follow(queue)
        return effects

    def _step(self, event: Event) -> Sequence[Effect]:
        """Step an event, and record it. The event is added to the text of an exception."""
        if self.shadows and self._to_shadow(event):
            return ()
        for shadow in self.shadows:
            shadow.settle()
        try:
            effects = step(self._state, event)
        except Exception as error:
            self._name_event(error, event)
            raise
        self.steps.add(event, effects)  # before any effect is carried out: an effect that fails leaves its event
        if effects:
            self.digest.add(effects)
            self._parts.tally.add(effects)
        return effects

    def record(self, event: Event, effects: Sequence[Effect]) -> None:
        """Record and count a step of a shadow."""
        self.log.add(event, effects)
        self._count(effects)

    def _count(self, effects: Sequence[Effect]) -> None:
        self.digest.add(effects)
        self._parts.tally.add(effects)

    def _to_shadow(self, event: Event) -> bool:
        """Give the answer of a shadow's policy to its shell. Returns False for any other event."""
        if not isinstance(event, Decided):
            return False
        k = event.agent - len(self._state.agents)
        if not 0 <= k < len(self.shadows):
            return False
        if not event.failed:
            note_decision(self._state, event.agent)
        shadow = self.shadows[k]
        shadow._follow_state(self._state.shadows[k])
        self._shadow_logs[k].open()
        shadow.answered(replace(event, agent=0))
        return True

    def _name_event(self, error: Exception, event: Event) -> None:
        """Add the event and its instant to an exception, unless an inner call has added them."""
        if not hasattr(error, "__notes__"):
            ts = event.ts_event if type(event) is MarketSlice else getattr(event, "ts", 0) or self._state.now
            error.add_note(f"It happened in the event {type(event).__name__} of {instant_text(ts)}.")

    def _follow(self, queue: "deque[Event | Ask]") -> None:
        """Step the events of a queue and those that follow from them, until an answer is awaited."""
        while queue:
            following = queue.popleft()
            if isinstance(following, Ask):
                self.wait(following, queue)
                return
            for effect in self._step(following):
                self._act(effect, queue)

    def _act(self, effect: Effect, queue: "deque[Event | Ask]") -> None:
        """Carry out one effect. Reports of a venue and answers of policies go to `queue`, as does an awaited Ask.

        A request to a venue becomes a call of the venue. In a replay, an Ask (a question to a policy) takes the
        recorded answer. All effects of a shadow (an agent on paper) come inside one effect Shadowed.
        """
        match effect:
            case OrderBasket() | Again() | Cancel() | Query():
                queue.extend(self._call_venue(request_of(self._parts.broker, self._state, effect), effect))
            case Ask():
                recorded = self.log.answer(effect)
                waits = recorded is None and self.meanwhile is not None and self.meanwhile.begin(effect)
                queue.append(effect if waits else recorded or self.answer(effect))
            case Shadowed():
                # a shadow always trades at its simulated venue, also where the house's venue is real
                shadow_index = effect.agent - len(self._state.agents)
                for shadow_effect in effect.effects:
                    if isinstance(shadow_effect, OrderBasket | Again | Cancel | Query):
                        news = request_of(
                            self.shadows[shadow_index]._parts.broker, self._state.shadows[shadow_index], shadow_effect
                        )()
                        queue.extend(ShadowReport(effect.agent, report) for report in news)  # type: ignore[arg-type]
            case Snapshot():
                self.snapshot_wanted = True
            case Stop():
                self.stopped = effect.reason
            case _:  # a record or an alert: for the journal, the store and the bus
                pass

    def _at_venue(self, call: Callable[[SimulatedBroker], Sequence[BrokerNews]]) -> None:
        """Step the reports that `call` gets from the account's venue."""
        for news in self._call_venue(partial(call, self._parts.broker)):
            self.run(news)

    def _call_venue(
        self, call: Callable[[], Sequence[BrokerNews]], effect: OrderBasket | Again | Cancel | Query | None = None
    ) -> Sequence[BrokerNews]:
        """The reports of one call of the venue; `effect` is the request, None for a bar, tick or action.

        In a daemon an exception becomes reports: the order is UNKNOWN, and the broker is down.
        """
        try:
            return call()
        except Exception as error:
            if not self.guarded:
                raise
            text = f"{type(error).__name__}: {error}"[:500]
        news: list[BrokerNews] = []
        if effect is not None and not isinstance(effect, Query):
            news.append(Unknown(effect.sample, effect.n, self._state.now, rows_of(effect), text))
        if "broker" not in self._state.down:
            news.append(Condition(self._state.now, "broker", False, text))
        return news

    def _slice_at(self, venue: SimulatedBroker, market: MarketSlice) -> Sequence[BrokerNews]:
        """A venue's reports on a slice (bars of one instant). The run's simulated venue is up again when it answers."""
        news = venue.on_slice(market)
        if venue is self._parts.broker and "broker" in self._state.down and not self.remote:
            return [Condition(self._state.now, "broker", True, "the venue answers"), *news]
        return news

    def keep(self) -> bytes:
        """Encode a snapshot of the run. Call it between two instants of the market only."""
        self.snapshot_wanted = False
        self.settle()
        state, parts = self._state, self._parts
        return msgspec.msgpack.encode(
            RunSnapshot(
                ts=parts.ts,
                config=self.config,
                state=freeze(state),
                broker=parts.broker.freeze(),
                digest=self.digest.freeze(),
                tally=parts.tally,
                ticked=parts.ticked,
                shadows={
                    shadow.rules.agents[0].name: shell._parts.broker.freeze()
                    for shadow, shell in zip(state.shadows, self.shadows, strict=True)
                },
            )
        )

    def restore(self, rules: Rules, encoded: bytes) -> None:
        """Continue from an encoded snapshot, with the rules under which it was taken.

        A shadow (agent on paper) that the snapshot does not have begins with a new venue.
        """
        snapshot = msgspec.msgpack.decode(encoded, type=RunSnapshot)
        self._release()
        self._folded, self._stepped = self.samples
        self._state, broker = thaw(rules, snapshot.state), self._parts.broker
        broker.thaw(snapshot.broker)
        for shadow, shell in zip(self._state.shadows, self.shadows, strict=True):
            frozen = snapshot.shadows.get(shadow.rules.agents[0].name)
            shell._parts = Parts(shell._parts.broker, Tally(), None, snapshot.ts, snapshot.ticked)
            if frozen is not None:
                shell._parts.broker.thaw(frozen)
        self.digest.thaw(snapshot.digest)
        self._parts = Parts(broker, snapshot.tally, None, snapshot.ts, snapshot.ticked)  # None: no bar since
        self.config = snapshot.config
