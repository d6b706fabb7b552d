"""A small world for tests of the engine: synthetic daily bars, real gate, ledger and paper venue."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from msgspec.structs import replace

from quantd.adapters.brokers.paper.broker import Paper
from quantd.daemon.engine import step
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.settings import AgentRules, Rules
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.daemon.policies.loading import answer
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.step_log import Log, Unanswered
from quantd.daemon.runtime.timeline import Item, sample_ticks, timeline
from quantd.risk.limits.catalogue import PROFILES, Limits, override
from quantd.trading.codec import encode
from quantd.trading.effects import Ask, Effect
from quantd.trading.events import Action, Decided, Event, Tick
from quantd.trading.execution import Costs
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.market import Block, MarketSlice, PriceJumped
from quantd.trading.sessions import DAY_NS, Sessions
from quantd.trading.view import Memory, View

COLLARED = override(PROFILES["research"], collar=0.05, reduce_collar=0.15, flatten_collar=0.10)
"""The profile `research` with the usual collars."""

Act = Callable[[View], object]

CASH = 1_000_000
OPEN = Limits(in_flight=1.0, max_cash_debit=1.0)
"""No limit but those that always hold."""
START = 20_000 * DAY_NS


class Plain:
    """A policy from a function of the view."""

    lookback = 5

    def __init__(self, act: Act) -> None:
        self._act = act

    def act(self, view: View, memory: Memory) -> tuple[np.ndarray, Memory]:
        return self._act(view), memory  # type: ignore[return-value]


def sessions(days: int) -> Sessions:
    """A session a day from 10:00 to 16:00 UTC, beginning at START."""
    first = START + np.arange(days + 30, dtype=np.int64) * DAY_NS
    hour = DAY_NS // 24
    return Sessions(
        "X", "UTC", tuple(first.tolist()), tuple((first + 10 * hour).tolist()), tuple((first + 16 * hour).tolist())
    )


def block(
    close: np.ndarray,
    open_: np.ndarray | None = None,
    fresh: np.ndarray | None = None,
    volume: np.ndarray | None = None,
) -> Block:
    """Daily bars with these closes; opens are the closes before, unless given."""
    days = len(close)
    first = START + np.arange(days, dtype=np.int64) * DAY_NS
    hour = DAY_NS // 24
    if open_ is None:
        open_ = np.vstack([close[:1], close[:-1]])
    fresh = np.isfinite(close) if fresh is None else fresh
    return Block(
        ts_open=first + 10 * hour, ts_event=first + 16 * hour, key=first, open=open_,
        high=np.maximum(open_, close) * 1.02, low=np.minimum(open_, close) * 0.98, close=close,
        volume=np.full(close.shape, 1e7) if volume is None else volume, fresh=fresh,
    )  # fmt: skip


def walk(days: int, symbols: int, seed: int) -> np.ndarray:
    """float64[days, symbols] closes to the cent."""
    rng = np.random.default_rng(seed)
    return np.round(100 * np.exp(rng.normal(0.0003, 0.012, (days, symbols)).cumsum(axis=0)), 2)


class Kept(Unanswered):
    """A log of all steps: their events with their effects, and their entries as the journal has them."""

    def __init__(self, live: bool = False) -> None:
        self.live = live
        self.entries: list[bytes] = []
        self.steps: list[tuple[Event, Sequence[Effect]]] = []

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        self.entries.append(encode(event, effects, self.live))
        self.steps.append((event, effects))

    @property
    def effects(self) -> list[Effect]:
        """The effects of all steps."""
        return [effect for _, effects in self.steps for effect in effects]


class Silent:
    """A venue that takes everything and answers nothing."""

    def fill_terms(self) -> None:
        """Nobody knows its fills."""

    def __getattr__(self, name: str) -> object:
        return lambda *_: ()


class Awaited:
    """Policies whose answers never come."""

    def begin(self, question: Ask) -> bool:
        return True


def taken(state: State, event: Event) -> Sequence[Effect]:
    """The effects of an event, or of an item of the market, on a state whose venue and policies answer nothing."""
    if not isinstance(event, MarketSlice | Tick):
        return step(state, event)
    log = Kept()
    shell = Shell(state, Silent(), lambda ask: Decided(0, 0), interval_ns=DAY_NS, log=log)  # type: ignore[arg-type]
    shell.meanwhile = Awaited()
    shell.take(event)
    shell._release()
    return log.effects


class World(Unanswered):
    """One run over given bars; `effects` and `events` collect what happened."""

    def __init__(
        self,
        bars: Block,
        acts: Sequence[Act],
        *,
        house: Limits | None = None,
        agent: Limits | None = None,
        costs: Costs | None = None,
        actions: Sequence[Action | PriceJumped] = (),
        shares: Sequence[float] | None = None,
        log: Log | None = None,
        min_trade: float = 0.0,
        shadows: Sequence[Act] = (),
        **rules: object,
    ) -> None:
        size = bars.close.shape[1]
        self.universe = Universe(tuple(Instrument(f"S{k}", calendar="X") for k in range(size)), calendar="X")
        self.sessions = sessions(len(bars))
        house = house or Limits()
        shares = shares or [1.0 / len(acts)] * len(acts)
        agents = tuple(
            AgentRules(f"a{k}", int(CASH * 1_000_000 * share), agent or house, min_trade=min_trade)
            for k, share in enumerate(shares)
        )
        self.rules = Rules(
            self.universe,
            (self.sessions,),
            (0,) * size,
            agents,
            house,
            CASH * 1_000_000,
            seats=(*(f"a{k}" for k in range(len(acts))), *(f"s{k}" for k in range(len(shadows)))),
            **rules,  # type: ignore[arg-type]
        )
        cash_micro = CASH * 1_000_000
        beside = [
            replace(
                self.rules, agents=(AgentRules(f"s{k}", cash_micro, agent or house, min_trade=min_trade),), house=OPEN,
                cash_micro=cash_micro, capital=None, first_seat=len(acts) + k, challenges=(),
            )
            for k in range(len(shadows))
        ]  # fmt: skip
        self.rules = replace(self.rules, shadows=tuple(beside))
        self.bars = bars
        self.actions = sorted(actions, key=lambda a: a.ts)
        self.costs = costs or Costs()
        self.policies = [Plain(act) for act in (*acts, *shadows)]
        self.events: list[Event] = []
        self.effects: list[Effect] = []
        self.shell = self.fresh(log or self)

    def fresh(self, log: Log | None = None) -> Shell:
        """A shell at the start of this run."""

        def ask(question: Ask) -> Decided:
            return answer(self.policies[question.policy], question)

        venue = Paper(self.universe, self.costs)
        beside = [Paper(self.universe, self.costs) for _ in self.rules.shadows]
        return Shell(State(self.rules), venue, ask, interval_ns=DAY_NS, log=log, shadows=beside)

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        self.events.append(event)
        self.effects.extend(effects)

    def items(self) -> Iterator[Item]:
        return timeline(self._market(), self._ticks())

    def _ticks(self) -> Iterator[Tick]:
        last = self.bars.ts_event[-1]
        return sample_ticks(self.sessions, [self.sessions], DAY_NS, START, last, START)

    def _market(self) -> Iterator[Action | PriceJumped | MarketSlice]:
        waiting = list(self.actions)
        for row in range(len(self.bars)):
            while waiting and waiting[0].ts <= self.bars.ts_event[row]:
                yield waiting.pop(0)
            yield MarketSlice(self.bars, row)

    def run(self, items: Iterator[Item] | None = None) -> "World":
        """Take everything; the books add up to the house after every item."""
        for item in items or self.items():
            self.shell.take(item)
            self.shell.state.ledger.check()
        return self

    def restart(self, state: State | None = None) -> State:
        """Go on with another state, as thawed from the bytes of the present one unless given; the venue and the log
        stay. Returns it."""
        shell = self.shell
        state = thaw(self.rules, freeze(shell.state)) if state is None else state
        shell._release()
        shell._state = state
        return state

    def of(self, kind: type) -> list[Effect]:
        """The effects of one kind."""
        return [e for e in self.effects if isinstance(e, kind)]
