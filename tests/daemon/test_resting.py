"""Protective stops at the venue: equal to the book after every event, never more than the position, never two."""

import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from daemon.engine import step
from daemon.engine.freezing import freeze, thaw
from daemon.engine.parents import Execution
from daemon.engine.state import State
from daemon.engine.stops import flight, live_stops
from risk.limits import PROFILES, Limits, Protective, override
from tests.engine_world import START, World, block, walk
from trading.effects import Again, Ask, Cancel, Effect, Query
from trading.events import Action, CancelReported, Decided, Event, NotFound, Operator, Tick, Unknown
from trading.market import MarketSlice
from trading.orders import Cause, Kind, OrderBasket, Reports
from trading.sessions import DAY_NS

HOUR = DAY_NS // 24
MINUTE = HOUR // 60


def resting(stop: float = 0.08, **keys: object) -> Limits:
    spec = {"take_profit": None, "cooldown": 1, **keys}
    return override(PROFILES["research"], protective=Protective(stop_loss=stop, at_venue=True, **spec))  # type: ignore[arg-type]


def in_order(state: State) -> None:
    """What stops and reducing orders may still fill is never more than the position, of the house and of each book; one
    stop that is not going for each position."""
    away = flight(state)
    books = state.ledger.books
    stops = live_stops(state)
    assert len({(s.agent, s.symbol) for s in stops if not s.going}) == sum(not s.going for s in stops)
    for symbol in {stop.symbol for stop in stops}:
        here = [stop for stop in stops if stop.symbol == symbol]
        held = state.ledger.house.lots[symbol]
        assert all(state.stops[s.key].lots[s.row] * held < 0 for s in here)
        assert sum(s.left for s in here) + away.house[symbol] <= abs(held)
        for agent in {s.agent for s in here}:
            own = sum(s.left for s in here if s.agent == agent)
            assert own + away.books[agent][symbol] <= abs(books[agent].lots[symbol])


class Adversary:
    """A venue that fills, loses, doubles, delays, refuses and forgets at will, and a market, all from one seed."""

    def __init__(self, seed: int, limits: Limits, agents: int, shorts: bool, style: str = "marketable") -> None:
        self.rng = random.Random(seed)
        self.np = np.random.default_rng(seed)
        self.world = World(block(walk(130, 2, seed)), [lambda v: v.weights] * agents, house=limits)
        self.world.rules = structs.replace(self.world.rules, execution=Execution(style=style, over_ns=4 * HOUR))  # type: ignore[arg-type]
        self.state = State(self.world.rules)
        self.shorts = shorts
        self.orders: dict[tuple[int, int], list[list[int]]] = {}
        """By basket, rows of [column, signed lots, filled, ended or -1]."""
        self.said: dict[tuple[int, int], list[Reports]] = {}
        self.coming: list[Effect] = []
        self.news: list[Event] = []
        self.position = [0, 0]
        self.row = 70
        self.ts = int(self.world.bars.ts_event[70])
        self.stopped = 0
        for row in range(71):
            self.step(MarketSlice(self.world.bars, row))
            ts = int(self.world.bars.ts_event[row])
            self.step(Tick(ts, True, int(self.world.bars.key[row]), ts, warmup=row < 70))

    def step(self, event: Event) -> None:
        for effect in step(self.state, event):
            if isinstance(effect, OrderBasket | Cancel | Query | Again):
                self.coming.append(effect)
                self.stopped += isinstance(effect, OrderBasket) and effect.kind == [Kind.STOP] * len(effect.sym)
            elif isinstance(effect, Ask):
                self.answer(effect)
        in_order(self.state)
        self.true()

    def answer(self, ask: Ask) -> None:
        size = self.state.universe.size
        weights = np.round(self.np.uniform(-0.4 if self.shorts else 0.0, 0.45, size), 1)
        if self.rng.random() < 0.3:
            weights[self.rng.randrange(size)] = 0.0
        self.step(Decided(ask.round, ask.agent, weights.tobytes()))

    def true(self) -> None:
        """Whatever the venue fills next, of what it has and of what is on its way to it, nothing is sold that is not held."""
        if self.shorts:
            return
        for column in range(2):
            open_ = [r for rows in self.orders.values() for r in rows if r[0] == column and r[3] < 0 and r[1] < 0]
            selling = sum(-r[1] - r[2] for r in open_)
            selling += sum(
                -lots
                for each in self.coming
                if isinstance(each, OrderBasket)
                for c, lots in zip(each.sym, each.lots, strict=True)
                if c == column and lots < 0
            )
            assert selling <= self.position[column]

    def say(self, key: tuple[int, int], row: int, cause: Cause, lots: int = 0) -> None:
        cum = self.orders[key][row][2]
        price = int(self.state.marks_nano[self.orders[key][row][0]]) if lots else 0
        told = Reports(*key, self.ts, [row], [cum], [lots], [price], [0], [int(cause)])
        self.said[key].append(told)
        self.news.append(told)

    def arrive(self) -> None:
        """The oldest of what was sent reaches the venue."""
        effect = self.coming.pop(0)
        key = effect.sample, effect.n  # type: ignore[union-attr]
        lost = self.rng.random() < 0.15
        if isinstance(effect, OrderBasket | Again):
            rows = effect.row if isinstance(effect, Again) else list(range(len(effect.sym)))
            basket = self.state.at_venue()[key].basket if isinstance(effect, Again) else effect
            if lost and self.rng.random() < 0.5:
                self.news.append(Unknown(*key, self.ts, rows, "never came"))
                return
            self.orders.setdefault(key, [[c, k, 0, -1] for c, k in zip(basket.sym, basket.lots, strict=True)])
            self.said.setdefault(key, [])
            for row in rows:
                refused = self.rng.random() < 0.1
                if refused:
                    self.orders[key][row][3] = int(Cause.REJECTED)
                self.say(key, row, Cause.REJECTED if refused else Cause.ACCEPTED)
            if lost:
                self.news.append(Unknown(*key, self.ts, rows, "no answer"))
        elif isinstance(effect, Cancel):
            order = self.orders.get(key, [None] * 9)[effect.row]
            if order is None or order[3] >= 0 or lost:
                self.news.append(CancelReported(*key, self.ts, effect.row, "cannot"))
            else:
                order[3] = int(Cause.CANCELLED)
                self.say(key, effect.row, Cause.CANCELLED)
        elif isinstance(effect, Query):
            if key not in self.orders:
                waits = any(isinstance(e, OrderBasket | Again) and (e.sample, e.n) == key for e in self.coming)
                self.news.append((Unknown if waits else NotFound)(*key, self.ts, effect.row, *(["?"] if waits else [])))  # type: ignore[arg-type]
            else:
                self.news.extend(r for r in self.said[key] if r.row[0] in effect.row)

    def fill(self) -> None:
        rows = [(key, k, r) for key, rows in self.orders.items() for k, r in enumerate(rows) if r[3] < 0]
        if not rows:
            return
        key, row, order = self.rng.choice(rows)
        left = abs(order[1]) - order[2]
        lots = self.rng.choice([left, self.rng.randint(1, left)])
        order[2] += lots
        side = 1 if order[1] > 0 else -1
        self.position[order[0]] += side * lots
        last = order[2] == abs(order[1])
        if last:
            order[3] = int(Cause.LAST_FILL)
        self.say(key, row, Cause.LAST_FILL if last else Cause.PART_FILL, lots)

    def end(self) -> None:
        """The venue cancels something by itself."""
        rows = [(key, k, r) for key, rows in self.orders.items() for k, r in enumerate(rows) if r[3] < 0]
        if rows:
            key, row, order = self.rng.choice(rows)
            order[3] = int(self.rng.choice([Cause.CANCELLED, Cause.EXPIRED]))
            self.say(key, row, Cause(order[3]))

    def hear(self) -> None:
        """Some news, not always the oldest, sometimes twice."""
        at = 0 if self.rng.random() < 0.7 else self.rng.randrange(len(self.news))
        event = self.news[at] if self.rng.random() < 0.15 else self.news.pop(at)
        self.step(event)

    def market(self) -> None:
        self.row += 1
        self.ts = int(self.world.bars.ts_event[self.row])
        self.step(MarketSlice(self.world.bars, self.row))
        self.step(Tick(self.ts, True, int(self.world.bars.key[self.row]), self.ts))

    def later(self, by_ns: int) -> None:
        """Time goes on inside a bar."""
        if self.row < 128 and self.ts + by_ns < self.world.bars.ts_event[self.row + 1]:
            self.ts += by_ns
            self.step(Tick(self.ts))

    def play(self, moves: int) -> None:
        for _ in range(moves):
            kinds = ["arrive"] * 6 + ["fill"] * 3 + ["hear"] * 6 + ["market"] * 2
            kinds += ["calm", "later", "later", "later", "later", "end", "thaw", "operator"]
            match self.rng.choice(kinds):
                case "arrive" if self.coming:
                    self.arrive()
                case "hear" if self.news:
                    self.hear()
                case "fill":
                    self.fill()
                case "end":
                    self.end()
                case "calm":
                    while self.coming or self.news:
                        self.arrive() if self.coming else self.step(self.news.pop(0))
                case "later":
                    self.later(self.rng.choice([MINUTE, HOUR, 19 * HOUR, 19 * HOUR]))
                case "market" if self.row < 128:
                    self.market()
                case "thaw" if self.rng.random() < 0.3:
                    self.state = thaw(self.world.rules, freeze(self.state))
                case "operator" if self.rng.random() < 0.2:
                    word = self.rng.choice(["halt", "reduce", "resume", "resume", "resume", "flatten"])
                    self.step(Operator(self.ts, word, "test", "me"))  # type: ignore[arg-type]
                case _:
                    pass
            self.true()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(1, 2), st.booleans(), st.booleans(), st.sampled_from(["marketable", "twap"]))
def test_whatever_a_venue_does_nothing_is_sold_that_is_not_held(
    seed: int, agents: int, shorts: bool, trailing: bool, style: str
) -> None:
    limits = override(resting(0.02, trailing=trailing, take_profit=0.03), duplicate_window_ns=0)
    Adversary(seed, limits, agents, shorts, style).play(250)


def test_the_adversary_does_place_stops() -> None:
    assert sum(_played(seed).stopped for seed in range(5)) > 20


def _played(seed: int) -> Adversary:
    found = Adversary(seed, override(resting(0.02), duplicate_window_ns=0), 2, False)
    found.play(250)
    return found
