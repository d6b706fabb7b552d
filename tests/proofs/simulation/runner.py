"""Another shell around the same engine: journal first, act after, over a network that fails, in a process that dies.

`simulate(seed)` runs one random world to its end and says what was broken, if anything.
"""

import traceback
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from quantd.adapters.brokers.paper.broker import Paper
from quantd.daemon.engine.state import snapshot as states
from quantd.daemon.policies.loading import answer
from quantd.daemon.runtime import journal as recovery
from quantd.daemon.views.account_history import decode_folded
from quantd.daemon.views.movements import Movements
from quantd.daemon.views.run_ledger import RunLedger
from quantd.risk.switch import HALT, RUN
from quantd.trading.codec import decode, encode, slice_of
from quantd.trading.effects import Again, Ask, Cancel, Effect, Ended, Publish, Query
from quantd.trading.events import (
    Action,
    Bars,
    Condition,
    Decided,
    Event,
    Flow,
    Operator,
    Tick,
    Unknown,
)
from quantd.trading.instruments import MICRO
from quantd.trading.market import JumpExplained, MarketSlice, PriceJumped
from quantd.trading.orders import ENDED, OrderBasket, OrderState
from tests.proofs.simulation.guarded import guarded
from tests.proofs.simulation.link import Faults, Link
from tests.proofs.simulation.setting import Setting, setting
from tests.proofs.simulation.truth import Truth, Violation
from tests.support.engine import taken

MOST_STEPS = 20_000
"""Steps of one world; more means that engine and venue talk in circles."""

QUIET_TICKS = 12


class Crash(Exception):
    """The process is gone, at this very point."""


@dataclass(slots=True)
class Outcome:
    """What one world came to. `digest` is over journal, orders, fills and equity."""

    seed: int
    days: int
    violations: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    entries: int = 0
    orders: int = 0
    fills: int = 0
    boundaries: int = 0
    digest: str = ""


def simulate(seed: int, faults: Faults | None = None, crash_at: frozenset[int] = frozenset()) -> Outcome:
    """One world with its faults; `crash_at` are effect boundaries, by number, at which the process dies besides."""
    if faults is None:
        faults = Faults() if seed % 3 else Faults().times(3.0)
    run = Run(setting(seed), faults, crash_at)
    outcome = Outcome(seed, run.setting.days)
    try:
        run.to_the_end()
    except Violation as violation:
        outcome.violations.append(str(violation))
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        outcome.violations.append(f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})")
    outcome.faults = run.link.counts
    outcome.entries = len(run.journal)
    outcome.orders = len(run.baskets)
    outcome.fills = run.truth.fills
    outcome.boundaries = run.boundaries
    digest = blake2b(digest_size=16)
    for entry in run.journal:
        digest.update(entry)
    digest.update(repr((run.truth.lots, run.truth.cash, run.truth.fees_micro)).encode())
    outcome.digest = digest.hexdigest()
    return outcome


class Run:
    """What outlives the process: market, venue, truth, journal and snapshots; and the process while it lives."""

    def __init__(self, world: Setting, faults: Faults, crash_at: frozenset[int]) -> None:
        self.setting = world
        self.faults = faults
        self.rng = np.random.default_rng([world.seed, 2])
        self.truth = Truth(world.universe, world.rules.house, world.rules.cash_micro)
        self.link = Link(Paper(world.universe, world.costs), self.truth, faults, np.random.default_rng([world.seed, 3]))
        self.guarded = guarded(world.rules.house.protective, [a.limits.protective for a in world.rules.agents])
        self.journal: list[bytes] = []
        self.snapshots: list[tuple[int, bytes]] = []
        self.known: list[tuple[int, bytes]] = []
        self.baskets: dict[tuple[int, int], OrderBasket] = {}
        self.never_sent: dict[tuple[int, int], set[int]] = {}
        self.taken = 0
        self.boundaries = 0
        self.crash_at = crash_at
        self.people: deque[tuple[int, Event]] = deque()
        self.steps = 0
        # some worlds end with the switch away from RUN: what it leaves open must be gone by then
        self.last_word = len(world.items) - 3 if self.rng.random() < 0.6 else -1
        self.begin()

    # the process

    def begin(self) -> None:
        """A fresh process: nothing is known but the journal."""
        self.state, self.asks = self._recovered(self._snapshot())
        if self.state.round is None and not self.asks:
            self.known.append((len(self.journal), states.freeze(self.state)))
        working = self.state.at_venue().items()
        self.link.again = {(*key, row): times for key, work in working for row, times in work.again.items()}

    def _recovered(self, kept: tuple[int, bytes] | None) -> tuple[states.State, dict[tuple[int, int], Ask]]:
        """The state at the end of the journal from a snapshot, or from nothing. Where the fold meets a known state, it
        continues from the newest one: equal states fold alike."""
        seq = kept[0] if kept else 0
        later = [snapshot for snapshot in self.known if snapshot[0] > seq]
        if not later:
            return refold(self.setting, self.journal, kept)
        met, _ = refold(self.setting, self.journal[: later[0][0]], kept)
        if states.freeze(met) != later[0][1]:
            raise Violation(f"a snapshot at step {seq} gives another state at step {later[0][0]}")
        return refold(self.setting, self.journal, later[-1])

    def _snapshot(self) -> tuple[int, bytes] | None:
        if not self.snapshots or self.rng.random() < 0.05:
            return None
        return self.snapshots[-1 if self.rng.random() < 0.8 else int(self.rng.integers(len(self.snapshots)))]

    def boundary(self) -> None:
        """A point at which the process may die."""
        self.boundaries += 1
        if self.boundaries in self.crash_at:
            self.link.counts["crash"] += 1
            raise Crash
        if not self.link.reliable and self.rng.random() < self.faults.crash:
            self.link.counts["crash"] += 1
            raise Crash

    def step(self, event: Event, *, item: bool = False) -> None:
        """Take an event and everything that follows from it."""
        queue: deque[Event] = deque((event,))
        while queue:
            current = queue.popleft()
            self.steps += 1
            if self.steps > MOST_STEPS:
                raise Violation(f"more than {MOST_STEPS} steps; the last is {current!r:.200}")
            self.boundary()
            effects = taken(self.state, current)
            failed = not self.link.reliable and self.rng.random() < self.faults.commit_failed
            if failed:
                self.link.counts["commit_failed"] += 1
                if self.rng.random() < 0.5:
                    raise Crash  # the store gave up: nothing of this step is durable, and nothing was acted on
                for up in (False, True):
                    queue.append(Condition(self.state.now, "store", up, "a batch could not be written"))
                self._resume_later()
            self._commit(current, effects, item)
            item = False
            self._act(effects, queue)
            self._check(current, effects)

    def _commit(self, event: Event, effects: Sequence[Effect], item: bool) -> None:
        """Durable from here on. What the world counts as said by the daemon is what is in the journal."""
        self.journal.append(encode(event, effects, live=True))
        if item:
            self.taken += 1
            if isinstance(event, MarketSlice):
                self.truth.market(event)
            elif isinstance(event, Action):
                self.link.action(event)
            elif isinstance(event, PriceJumped):
                self.link.counts["unannounced_split"] += 1
                self.truth.jump(event)
            elif isinstance(event, JumpExplained):
                self.link.explained(event)
        if isinstance(event, Flow):
            self.truth.flow(event.amount_micro)
        open_orders, stops = self.link.open_rows(), self.link.open_rows(stops=True)
        for effect in effects:
            if isinstance(effect, OrderBasket):
                key = effect.sample, effect.n
                if key in self.baskets:
                    raise Violation(f"two baskets have the number {key}")
                self.baskets[key] = effect
                self.truth.marked(self.state.marks_nano.tolist(), [0] * len(self.truth.lots))
                by_hand = self.state.flattening and self.state.flattens_jumped
                self.truth.judge(effect, open_orders, stops, by_hand=by_hand)
                (stops if effect.kind else open_orders).extend(
                    zip(effect.sym, effect.lots, effect.worst_nano, strict=True)
                )
            elif isinstance(effect, Ended) and effect.reason == "never sent":
                self.never_sent.setdefault((effect.sample, effect.n), set()).update(effect.row)
        if isinstance(event, MarketSlice):
            self.truth.marked(self.state.marks_nano.tolist(), self.state.ledger.house.lots)
        self.guarded.saw(self.state, event, effects)

    def _act(self, effects: Sequence[Effect], queue: deque[Event]) -> None:
        self.asks = {}
        for effect in effects:
            self.boundary()
            match effect:
                case OrderBasket():
                    self.link.submit(effect)
                case Again():
                    self.link.submit(self.state.at_venue()[effect.sample, effect.n].basket, effect.row)
                case Cancel():
                    self.link.cancel(effect)
                case Query():
                    self.link.query(effect)
                case Ask():
                    queue.append(self._answer(effect))
                case _:
                    continue
            self.boundary()

    def _answer(self, ask: Ask) -> Decided:
        return answer(self.setting.policies[ask.agent], ask)

    def _resume_later(self) -> None:
        if self.rng.random() < 0.2:
            return
        when = self.taken + 1 + int(self.rng.integers(6))
        self.people.append((when, Operator(0, "resume", "looked at it", "simulation")))

    # the day

    def to_the_end(self) -> None:
        """Items, crashes and restarts, then quiet; then everything must agree."""
        while True:
            try:
                self._live()
                self._quiet()
                break
            except Crash:
                self.link.crashed()
                self.begin()
                self._restart()
        self._agree("at the end")
        self._replay()

    def _restart(self) -> None:
        """After a crash: what was sent and never answered is unknown; a round under way is asked again."""
        while True:
            try:
                asks = list(self.asks.values())
                unknown = recovery.unanswered(self.state)
                self._nothing_is_passed_over(unknown)
                for report in unknown:
                    self.step(report)
                for ask in asks:
                    self.step(self._answer(ask))
                return
            except Crash:
                self.link.crashed()
                self.begin()

    def _nothing_is_passed_over(self, unknown: Sequence[Unknown]) -> None:
        waiting = OrderState.SENT, OrderState.CANCELLING
        open_rows = {
            (*key, row) for key, w in self.state.at_venue().items() for row, now in enumerate(w.state) if now in waiting
        }
        missing_rows = open_rows - {(u.sample, u.n, row) for u in unknown for row in u.row}
        if missing_rows:
            raise Violation(f"after a restart nobody asks for {sorted(missing_rows)}")

    def _live(self) -> None:
        items = self.setting.items
        while self.taken < len(items):
            item = items[self.taken]
            unseen = isinstance(item, Action | PriceJumped | JumpExplained)  # by the venue
            if not unseen and self.link.now <= self.taken:
                self.link.market(item)
            elif unseen and self.link.now <= self.taken:
                self.link.now += 1
            if isinstance(item, Action | JumpExplained):
                self._catch_up()
                self._agree("before an action")
            self._deliver()
            self._people()
            if self.taken == self.last_word:
                self.last_word = -1
                self.people.clear()
                command = str(self.rng.choice(["halt", "reduce"]))
                self.step(Operator(self.state.now, command, "the last word", "simulation"))  # type: ignore[arg-type]
            if isinstance(item, MarketSlice) and self.taken and self.rng.random() < self.faults.feed_gap:
                self.link.counts["feed_gap"] += 1
                self.taken += 1
                continue
            self.step(item, item=True)
            if self.rng.random() < self.faults.snapshot and self.state.round is None:
                self.snapshots.append((len(self.journal), states.freeze(self.state)))
                self.known.append(self.snapshots[-1])

    def _deliver(self) -> None:
        """News that have come, in the order in which they came."""
        while (news := self.link.news()) is not None:
            if isinstance(news, Unknown) and not self._in_doubt(news):
                continue
            self.step(news)

    def _in_doubt(self, unknown: Unknown) -> bool:
        """Whether a time-out is one: an answer may have come meanwhile. Now and then it fires all the same."""
        work = self.state.at_venue().get((unknown.sample, unknown.n))
        waiting = OrderState.SENT, OrderState.CANCELLING, OrderState.UNKNOWN
        return (work is not None and any(work.state[r] in waiting for r in unknown.row)) or self.rng.random() < 0.05

    def _people(self) -> None:
        """Operators, clocks and money from outside."""
        now, rng, faults = self.state.now, self.rng, self.faults
        drawn = rng.random(4)
        if drawn[0] < faults.operator:
            self.link.counts["operator"] += 1
            command = str(rng.choice(["halt", "reduce", "flatten"]))
            self._resume_later()
            self.step(Operator(now, command, "at random", "simulation"))  # type: ignore[arg-type]
        if drawn[1] < faults.clock_jump:
            self.link.counts["clock_jump"] += 1
            self._resume_later()
            self.step(Condition(now, "clock", False, "jumped"))
            self.step(Condition(now, "clock", True, "steady again"))
        if drawn[2] < faults.deposit:
            self.link.counts["deposit"] += 1
            self.step(Flow(now, int(rng.integers(1, 100_000)) * MICRO))
        waiting, self.people = self.people, deque()
        for when, event in waiting:
            if when > self.taken:
                self.people.append((when, event))
            else:
                self.step(event)
                for agent in self.setting.rules.agents:
                    if drawn[3] < 0.3:
                        self.step(Operator(now, "resume", "looked at it", "simulation", agent.name))

    def _catch_up(self) -> None:
        """Before a corporate action, and at the end, everything open is asked for until nothing is in doubt."""
        self.link.reliable = True
        try:
            for _ in range(3):
                self.link.lands()
                self._deliver()
                for key, work in list(self.state.at_venue().items()):
                    rows = [row for row, now in enumerate(work.state) if now not in ENDED]
                    for news in self.link.answer(key, rows):
                        self.step(news)
                self._deliver()
        finally:
            self.link.reliable = False

    def _quiet(self) -> None:
        """The faults end. A few more ticks, by which the engine finds out all that it does not know."""
        self.link.reliable = True
        ts = self.state.now
        for _ in range(QUIET_TICKS):
            ts += 12 * 3_600_000_000_000
            tick = Tick(ts)
            self.link.market(tick)
            self.link.lands()
            self._deliver()
            self.step(tick)
            self._deliver()

    # what must hold

    def _check(self, event: Event, effects: Sequence[Effect]) -> None:
        """After every event."""
        state, venue = self.state, self.link.venue
        state.ledger.check()
        for effect in effects:
            if isinstance(effect, Publish) and effect.level == "CRITICAL" and "reconcile" in effect.text:
                raise Violation(f"an honest venue was accused: {effect.text}")
        if isinstance(event, Tick):
            asked = {(q.sample, q.n, row) for q in effects if isinstance(q, Query) for row in q.row}
            for key, work in state.at_venue().items():
                for row, now in enumerate(work.state):
                    if now == OrderState.UNKNOWN and (*key, row) not in asked:
                        raise Violation(f"row {row} of {key} is unknown, and a tick does not ask for it")
        for key, work in state.at_venue().items():
            resting = venue._by_key.get(key)
            for row, filled in enumerate(work.filled):
                # rows that have ended are no longer rescaled by splits
                if work.state[row] not in ENDED and filled > (resting.cum[row] if resting is not None else 0):
                    raise Violation(f"{filled} lots of row {row} of {key} are booked that the venue never filled")
                if resting is not None and work.state[row] in ENDED and row in resting.open:
                    raise Violation(f"row {row} of {key} is {OrderState(work.state[row]).name}, but open at the venue")

    def _journal_has_the_money(self) -> None:
        """What `Movements` reads from the journal alone is the ledger, book by book, and its marks."""
        rules, ledger = self.setting.rules, self.state.ledger
        movements = Movements(rules.universe)
        flows = [agent.capital_micro for agent in rules.agents]
        flows.append(rules.cash_micro - sum(flows))
        cash, fees = list(flows), [0] * len(flows)
        for data in self.journal:
            entry = decode(data)
            for _, moved in movements.add(entry.event, entry.effects):
                for movement in moved:
                    book = movement.book
                    cash[book] += movement.amount_micro + movement.flow_micro - movement.fee_micro
                    flows[book] += movement.flow_micro
                    fees[book] += movement.fee_micro
        none = np.zeros(rules.universe.size, dtype=np.int64)
        for number in (*range(len(rules.agents)), -1):
            book, lots = ledger.books[number], movements.lots_of.get(number, none).tolist()
            read = cash[number], flows[number], fees[number], lots
            booked = book.cash_micro, book.flows_micro, book.fees_micro, book.lots
            if read != booked:
                raise Violation(f"the journal has {read} for book {number}, the ledger {booked}")
        if movements.marks_nano.tolist() != self.state.marks_nano.tolist():
            raise Violation(f"the journal has the marks {movements.marks_nano}, the engine {self.state.marks_nano}")
        again = RunLedger(rules.universe, [agent.name for agent in rules.agents])
        for data in self.journal:
            again.add(*decode_folded(data))
        posted, ours = (of.cells()[:, :-2].tolist() for of in (again.ledger, ledger))  # without the residue of rounding
        if posted != ours:
            raise Violation(f"the journal posts the books {posted}, the ledger has {ours}")

    def _agree(self, when: str) -> None:
        """Orders and account here are those of the venue, to the unit."""
        ours = {
            key: {row: work.filled[row] for row, now in enumerate(work.state) if now not in ENDED}
            for key, work in self.state.at_venue().items()
        }
        theirs = self.link.open_at_venue()
        if ours != theirs:
            raise Violation(f"{when} these orders are open here: {ours}; there: {theirs}")
        if when == "at the end":
            self._switch_is_obeyed()
            self._journal_has_the_money()
        house = self.state.ledger.house
        if house.lots != self.truth.lots:
            raise Violation(f"{when} {house.lots} lots are booked, {self.truth.lots} are held")
        atto = self.truth.cash * 10**18
        if house.cash_micro * 10**12 + house.residue_atto != atto or house.fees_micro != self.truth.fees_micro:
            raise Violation(f"{when} cash differs by {float(atto / 10**18) - house.cash_micro / 1e6:.9f}")
        for key, basket in self.baskets.items():
            gone = self.never_sent.get(key, set())
            if key not in self.link.arrived and key not in self.state.at_venue() and len(gone) < len(basket.sym):
                raise Violation(f"basket {key} was lost: neither at the venue nor ended")
        late = [key for key, rows in theirs.items() if any(0 < self.baskets[key].end[r] < self.link.ts for r in rows)]
        if late:
            raise Violation(f"{when} orders are open after their time: {late}")

    def _switch_is_obeyed(self) -> None:
        """In HALT nothing rests at the venue but what flattens, in REDUCE nothing that adds risk."""
        state = self.state
        for column, lots, _ in (*self.link.open_rows(), *self.link.open_rows(stops=True)):
            adds = self.truth.lots[column] * lots >= 0
            if state.switch.state != RUN and (adds or (state.switch.state == HALT and not state.flattening)):
                raise Violation(
                    f"{lots} lots of column {column} still rest at the venue in switch {state.switch.state}"
                )

    def _replay(self) -> None:
        """The whole journal again, from nothing: the same bytes and the same state."""
        again, _ = refold(self.setting, self.journal, None)
        frozen = states.freeze(self.state)
        if states.freeze(again) != frozen:
            raise Violation("the journal folded again gives another state")
        for kept in self.snapshots[len(self.snapshots) // 3 :][:1]:
            again, _ = refold(self.setting, self.journal, kept)
            if states.freeze(again) != frozen:
                raise Violation(f"a snapshot at step {kept[0]} gives another state at the end")


def refold(
    world: Setting, journal: Sequence[bytes], kept: tuple[int, bytes] | None
) -> tuple[states.State, dict[tuple[int, int], Ask]]:
    """The state at the end of a journal, from its beginning or a snapshot, and the asks that have no answer yet.

    Raises Violation when a step does not have its recorded effects, byte by byte.
    """
    if kept is None:
        seq, state = 0, states.State(world.rules)
    else:
        seq, state = kept[0], states.thaw(world.rules, kept[1])
    asks: dict[tuple[int, int], Ask] = {}
    for number, data in enumerate(journal[seq:], seq):
        event = decode(data).event
        if isinstance(event, Bars):
            event = slice_of(event)
        effects = taken(state, event)  # type: ignore[arg-type]
        if encode(event, effects, live=True) != data:  # type: ignore[arg-type]
            raise Violation(f"step {number + 1} has other effects when it is folded again")
        if isinstance(event, Decided):
            asks.pop((event.round, event.agent), None)
        asks.update({(e.round, e.agent): e for e in effects if isinstance(e, Ask)})
    return state, asks
