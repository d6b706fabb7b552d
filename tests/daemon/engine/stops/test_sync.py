"""Protective stops at the venue: equal to the book after every event, never more than the position, never two."""

import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from quantd.daemon.engine.planning.stop_conflicts import live_stops, reducing_lots
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.state.parents import Execution
from quantd.daemon.engine.state.snapshot import freeze, in_force, thaw
from quantd.risk.limits.catalogue import PROFILES, Limits, Protective, override
from quantd.trading.effects import (
    Again,
    Ask,
    Cancel,
    Effect,
    Ended,
    Filled,
    Protected,
    Publish,
    Query,
    Rested,
    Snapshot,
    Stop,
)
from quantd.trading.events import (
    Action,
    CancelReported,
    Decided,
    Event,
    NotFound,
    Operator,
    Reloaded,
    Stopping,
    Tick,
    Unknown,
)
from quantd.trading.market import MarketSlice
from quantd.trading.orders import Cause, OrderBasket, Reports
from quantd.trading.sessions import DAY_NS
from quantd.trading.view import HOLD
from tests.support.engine import COLLARED, START, World, block, taken, walk
from tests.support.examples import examples
from tests.support.orders_by_hand import by_hand

HOUR = DAY_NS // 24
MINUTE = HOUR // 60


def resting(stop: float = 0.08, **keys: object) -> Limits:
    spec = {"take_profit": None, "cooldown": 1, **keys}
    return override(COLLARED, protective=Protective(stop_loss=stop, at_venue=True, **spec))


def in_order(state: State) -> None:
    """What stops and reducing orders may still fill is never more than the position, of the house and of each book; one
    stop that is not going for each position."""
    away = reducing_lots(state)
    books = state.ledger.books
    stops = live_stops(state)
    assert len({(s.agent, s.symbol) for s in stops if not s.going}) == sum(not s.going for s in stops)
    for symbol in {stop.symbol for stop in stops}:
        here = [stop for stop in stops if stop.symbol == symbol]
        held = state.ledger.house.lots[symbol]
        assert all(state.protection.stops[s.key].lots[s.row] * held < 0 for s in here)
        assert sum(s.lots for s in here) + away[HOUSE][symbol] <= abs(held)
        for agent in {s.agent for s in here}:
            stop_lots = sum(s.lots for s in here if s.agent == agent)
            assert stop_lots + away[agent][symbol] <= abs(books[agent].lots[symbol])


class Adversary:
    """A venue that fills, loses, doubles, delays, refuses and forgets at will, and a market, all from one seed."""

    def __init__(self, seed: int, limits: Limits, agents: int, shorts: bool, style: str = "marketable") -> None:
        self.rng = random.Random(seed)
        self.np = np.random.default_rng(seed)
        self.world = World(block(walk(130, 2, seed)), [lambda v: v.weights] * agents, house=limits)
        self.world.rules = structs.replace(self.world.rules, execution=Execution(style=style, over_ns=4 * HOUR))
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
        for row in range(71):
            self.step(MarketSlice(self.world.bars, row))
            ts = int(self.world.bars.ts_event[row])
            self.step(Tick(ts, True, int(self.world.bars.key[row]), ts, warmup=row < 70))

    def step(self, event: Event) -> None:
        for effect in taken(self.state, event):
            if isinstance(effect, OrderBasket | Cancel | Query | Again):
                self.coming.append(effect)
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
        """Whatever the venue fills next, of what it has and of what is on its way to it, nothing is sold that is not
        held."""
        if self.shorts:
            return
        for column in range(2):
            open_ = [r for rows in self.orders.values() for r in rows if r[0] == column and r[3] < 0 and r[1] < 0]
            selling = sum(-r[1] - r[2] for r in open_)
            selling += sum(
                -lots
                for basket in self.coming
                if isinstance(basket, OrderBasket)
                for c, lots in zip(basket.sym, basket.lots, strict=True)
                if c == column and lots < 0
            )
            assert selling <= self.position[column]

    def say(self, key: tuple[int, int], row: int, cause: Cause, lots: int = 0) -> None:
        cum = self.orders[key][row][2]
        price = int(self.state.marks_nano[self.orders[key][row][0]]) if lots else 0
        report = Reports(*key, self.ts, [row], [cum], [lots], [price], [0], [int(cause)])
        self.said[key].append(report)
        self.news.append(report)

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
                self.news.append((Unknown if waits else NotFound)(*key, self.ts, effect.row, *(["?"] if waits else [])))
            else:
                self.news.extend(r for r in self.said[key] if r.row[0] in effect.row)

    def fill(self) -> None:
        rows = [(key, k, r) for key, rows in self.orders.items() for k, r in enumerate(rows) if r[3] < 0]
        if not rows:
            return
        key, row, order = self.rng.choice(rows)
        open_lots = abs(order[1]) - order[2]
        lots = self.rng.choice([open_lots, self.rng.randint(1, open_lots)])
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


@pytest.mark.long
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 2), st.booleans(), st.booleans(), st.sampled_from(["marketable", "twap"])
)
def test_whatever_a_venue_does_nothing_is_sold_that_is_not_held(
    seed: int, agents: int, shorts: bool, trailing: bool, style: str
) -> None:
    limits = override(resting(0.02, trailing=trailing, take_profit=0.03), duplicate_window_ns=0)
    Adversary(seed, limits, agents, shorts, style).play(250)


# one story at a time, at the paper venue


def story(closes: list[float], wants: list[float | None], limits: Limits | None = None, **keys: object) -> World:
    """One symbol with these closes, opens the closes before; an agent that wants these weights, close by close,
    and with None, and after them, says nothing."""
    targets = iter(wants)

    def act(view: object) -> object:
        want = next(targets, None)
        return HOLD if want is None else np.array([want])

    acts = keys.pop("acts", [act])
    return World(block(np.array(closes)[:, None]), acts, house=limits or resting(), **keys)  # type: ignore[arg-type]


def rests(state: State) -> list[tuple[int, int, float]]:
    """(agent, lots, trigger) of each stop that rests and is not going."""
    return [
        (s.agent, s.lots, state.protection.rests[s.key].stop_nano[s.row] / 1e9)
        for s in live_stops(state)
        if not s.going
    ]


def sent(world: World) -> list[tuple[int, str, list[int]]]:
    """(day, kind, lots) of each basket."""
    kinds = {0: "limit", 1: "stop"}
    return [((b.ts - START) // DAY_NS, kinds[b.kind[0] if b.kind else 0], b.lots) for b in world.of(OrderBasket)]


def test_a_stop_rests_from_the_fill_on_and_the_venue_closes_the_position_inside_the_bar() -> None:
    closes = [100.0, 100.0, 97.0, 95.0, 93.0, 99.0, 99.0, 99.0]
    world = story(closes, [0.5, *[None] * 5, 0.5], resting(cooldown=2))
    seen: list[list[tuple[int, int, float]]] = []
    for item in world.items():
        world.shell.take(item)
        if isinstance(item, Tick):
            seen.append(rests(world.shell.state))
    # the low of day 4 is 91.14: the close of 93 is above the level
    assert seen[:5] == [[], [(0, 5000, 92.0)], [(0, 5000, 92.0)], [(0, 5000, 92.0)], []]
    _, stop = world.of(OrderBasket)[:2]
    assert (stop.kind, stop.stop_nano, stop.worst_nano, stop.lots) == ([1], [92 * 10**9], [78_200_000_000], [-5000])
    fill = world.of(Filled)[1]
    assert (fill.sample, fill.n, fill.price_nano, fill.shares) == (stop.sample, stop.n, [92 * 10**9], [[(0, -5000)]])
    (said,) = world.of(Protected)
    assert said == Protected(fill.ts, stop.sample, stop.n, 0, 0, "stop_loss", 100.0, 92.0, 92.0)
    assert world.of(Rested) == [
        Rested(stop.ts, stop.sample, stop.n, 0, 0, "stop_loss", 100.0, 92.0),
        *world.of(Rested)[1:],
    ]
    (alert,) = [p for p in world.of(Publish) if p.kind == "protective"]
    assert alert.text == "stop loss at the venue: sold at 92.00, stop 92.00, entry price 100.00"
    assert (alert.level, alert.agent, alert.symbol, alert.value) == ("WARNING", "a0", "S0", pytest.approx(0.08))
    # two samples of cooldown: closes of days 4 and 5 buy nothing
    assert [(day, kind) for day, kind, _ in sent(world)] == [(0, "limit"), (1, "stop"), (6, "limit"), (7, "stop")]


def test_what_a_rebalance_sells_waits_for_the_cancel_and_the_stop_comes_back_for_the_rest() -> None:
    world = story([100.0] * 6, [0.5, 0.2, None, 0.0]).run()
    assert sent(world) == [
        (0, "limit", [5000]), (1, "stop", [-5000]), (1, "limit", [-3000]), (1, "stop", [-2000]), (3, "limit", [-2000]),
    ]  # fmt: skip
    assert world.shell.state.ledger.house.lots == [0]
    assert not world.shell.state.protection.stops
    assert not world.shell.state.protection.rests
    # the cancel goes before the sale, and the sale before the stop of the rest
    cancelled = [e for e in world.effects if isinstance(e, Cancel)]
    assert len(cancelled) == 2
    ended = next(k for k, e in enumerate(world.effects) if isinstance(e, Ended))
    sale = next(k for k, e in enumerate(world.effects) if isinstance(e, OrderBasket) and e.lots == [-3000])
    assert world.effects.index(cancelled[0]) < ended < sale


def test_a_stop_is_raised_when_what_adds_has_filled_and_its_level_follows_the_average_cost() -> None:
    world = story([100.0, 100.0, 100.0, 110.0, 110.0], [0.2, None, 0.42]).run()
    kinds = [row for row in sent(world) if row[1] == "stop"]
    bought = world.of(OrderBasket)[2].lots[0]
    assert kinds == [(1, "stop", [-2000]), (3, "stop", [-2000 - bought])]
    assert rests(world.shell.state) == [(0, 2000 + bought, 92.0)]


def test_a_trailing_stop_is_moved_at_samples_and_not_for_less_than_a_thousandth() -> None:
    world = story([100.0, 100.0, 100.05, 104.0, 103.0, 103.0], [0.5], resting(trailing=True)).run()
    stops = [(b.stop_nano[0], (b.ts - START) // DAY_NS) for b in world.of(OrderBasket) if b.kind]
    assert stops == [(92 * 10**9, 1), (95_680_000_000, 3)]
    assert [r.kind for r in world.of(Rested)] == ["stop_loss", "trailing_stop"]
    assert world.of(Rested)[1].entry == 104.0


def test_a_target_is_watched_here_and_takes_its_stop_away_first() -> None:
    world = story([100.0, 100.0, 111.0, 112.0, 112.0], [0.5], resting(take_profit=0.1, cooldown=99)).run()
    assert sent(world) == [(0, "limit", [5000]), (1, "stop", [-5000]), (2, "limit", [-5000])]
    assert [p.kind for p in world.of(Protected)] == ["take_profit"]
    assert not world.shell.state.protection.stops


def test_a_split_rescales_the_stop_at_the_venue_and_here_alike() -> None:
    split = Action(START + 3 * DAY_NS + 10 * HOUR, START + 3 * DAY_NS, 0, "split", 4, 1)
    world = story([100.0, 100.0, 100.0, 25.0, 25.0, 22.9, 22.9], [0.5], actions=[split]).run()
    assert [row for row in sent(world) if row[1] == "stop"][:1] == [(1, "stop", [-5000])]
    fill = world.of(Filled)[1]
    assert (fill.lots, fill.price_nano) == ([-20000], [23 * 10**9])
    assert world.of(Protected)[0].entry == 25.0


def test_halt_takes_stops_back_and_resuming_sends_them_again_while_reduce_keeps_them() -> None:
    world = story([100.0] * 9, [0.5])
    state = world.shell.state
    for k, item in enumerate(world.items()):
        world.shell.take(item)
        if k == 5:
            world.shell.run(Operator(state.now, "reduce", "test", "me"))
            assert rests(state) == [(0, 5000, 92.0)]
            world.shell.run(Operator(state.now, "halt", "test", "me"))
            assert rests(state) == []
            assert not state.protection.stops
        if k == 9:
            assert rests(state) == []
            world.shell.run(Operator(state.now, "resume", "test", "me"))
            assert rests(state) == [(0, 5000, 92.0)]
    assert len([row for row in sent(world) if row[1] == "stop"]) == 2


def test_flatten_takes_the_stops_back_and_then_sells() -> None:
    world = story([100.0] * 6, [0.5])
    for k, item in enumerate(world.items()):
        world.shell.take(item)
        if k == 5:
            world.shell.run(Operator(world.shell.state.now, "flatten", "test", "me"))
            assert not world.shell.state.protection.stops
    assert sent(world)[2:] == [(2, "limit", [-5000])]
    assert world.shell.state.ledger.house.lots == [0]


@pytest.mark.parametrize("cancel", [True, False])
def test_a_stop_of_the_daemon_keeps_them_unless_everything_open_is_to_be_cancelled(cancel: bool) -> None:
    world = story([100.0] * 4, [0.5]).run()
    effects = world.shell.run(Stopping(world.shell.state.now, cancel, "test"))
    assert [type(e) for e in effects] == [*[Cancel] * cancel, Snapshot, Stop]
    assert bool(world.shell.state.protection.stops) is not cancel


def test_each_agent_has_a_stop_of_its_own_and_the_nearest_are_covered_where_the_house_has_less() -> None:
    def keep(weight: float) -> object:
        return lambda view: view.weights if view.weights.any() else np.array([weight])

    closes = np.full((5, 1), 100.0)
    world = World(
        block(closes), [keep(0.6), keep(0.6), keep(-0.6)], house=resting(0.2),  # type: ignore[list-item]
        shares=[0.4, 0.4, 0.2],
    )  # fmt: skip
    limits = [resting(0.2), resting(0.05), COLLARED]
    agents = tuple(structs.replace(a, limits=k) for a, k in zip(world.rules.agents, limits, strict=True))
    world.rules = structs.replace(world.rules, agents=agents, house=COLLARED)
    world.shell = world.fresh(world)
    world.run()
    state = world.shell.state
    assert [book.lots[0] for book in state.ledger.books[:3]] == [2400, 2400, -1200]
    # 3,600 in all: the nearer stop is whole, the other one has what is left
    assert sorted(rests(state)) == [(0, 1200, 80.0), (1, 2400, 95.0)]


def test_a_house_that_is_short_has_stops_that_buy() -> None:
    world = story([100.0, 100.0, 104.0, 106.0, 107.0, 100.0], [-0.5], resting(cooldown=99)).run()
    stop = world.of(OrderBasket)[1]
    assert (stop.lots, stop.stop_nano, stop.worst_nano) == ([5000], [108 * 10**9], [124_200_000_000])
    assert world.of(Filled)[1].price_nano == [108 * 10**9]
    (alert,) = [p for p in world.of(Publish) if p.kind == "protective"]
    assert alert.text.startswith("stop loss at the venue: bought back at 108.00")


def ended(state: State, cause: Cause, reason: str = "") -> Reports:
    """What the venue says when it ends the one stop there is."""
    ((sample, n),) = state.protection.stops
    return Reports(sample, n, state.now, [0], [0], [0], [0], [0], [int(cause)], reason)


@pytest.mark.parametrize("cause", [Cause.CANCELLED, Cause.EXPIRED, Cause.REJECTED])
def test_a_stop_that_the_venue_ends_is_sent_again_after_a_minute_then_two_and_a_new_one_each_time(cause: Cause) -> None:
    world = story([100.0] * 4, [0.5]).run()
    state, before = world.shell.state, len(world.of(OrderBasket))
    for wait in (60, 120, 240):
        world.shell.run(ended(state, cause))
        assert not state.protection.stops
        world.shell.take(Tick(state.now + wait * 10**9 - 1))
        assert not state.protection.stops
        world.shell.take(Tick(state.now + 1))
        assert rests(state) == [(0, 5000, 92.0)]
    keys = [(b.sample, b.n) for b in world.of(OrderBasket)[before:]]
    assert len(set(keys)) == 3


def test_a_stop_that_part_fills_may_go_on_for_ten_seconds_and_then_the_rest_is_sold_otherwise() -> None:
    world = story([100.0] * 4, [0.5]).run()
    state = world.shell.state
    ((sample, n),) = state.protection.stops
    price = [92 * 10**9]
    part = Reports(sample, n, state.now, [0], [2000], [2000], price, [0], [int(Cause.PART_FILL)])
    world.shell.run(part)
    assert state.agents[0].exits[0].kind == "stop_loss"
    assert rests(state) == [(0, 3000, 92.0)]
    world.shell.take(Tick(state.now + 9_999_999_999))
    assert rests(state) == [(0, 3000, 92.0)]
    world.shell.take(Tick(state.now + 1))
    assert rests(state) == []
    world.shell.run(Reports(sample, n, state.now, [0], [2000], [0], [0], [0], [int(Cause.CANCELLED)]))
    assert not state.protection.stops
    assert world.of(OrderBasket)[-1].lots == [-3000]
    assert [p.text for p in world.of(Publish) if p.kind == "protective"] == [
        "stop loss at the venue: sold at 92.00, stop 92.00, entry price 100.00"
    ]


@pytest.mark.parametrize(("newer", "sold", "stops"), [(None, -3000, -2000), (0.4, -1000, -4000)])
def test_a_lost_cancel_holds_a_sale_back_until_it_is_heard_of_and_a_newer_decision_takes_its_place(
    newer: float | None, sold: int, stops: int
) -> None:
    world = story([100.0] * 8, [0.5, None, 0.2, newer])
    silent = iter([True, True])
    real = world.shell.broker.cancel
    world.shell.broker.cancel = lambda *a: () if next(silent, False) else real(*a)  # type: ignore[method-assign]
    world.run()
    # asked for on day 2, again with the bar of day 3 and with its sample: then it is told, and the sale goes out
    assert sent(world)[2:] == [(3, "limit", [sold]), (3, "stop", [stops])]


def test_an_order_by_hand_that_waited_sells_its_own_lots_whatever_the_price_is_then() -> None:
    world = story([100.0, 100.0, 100.0, 120.0, 120.0], [0.5])
    items = list(world.items())
    for item in items[:6]:
        world.shell.take(item)
    state, real = world.shell.state, world.shell.broker.cancel
    world.shell.broker.cancel = lambda *_: ()  # type: ignore[method-assign]
    world.shell.run(by_hand(state.now, "a0", 0, -1500, "out", "me"))
    assert sent(world)[2:] == [], "its stop has not ended"
    world.shell.broker.cancel = real  # type: ignore[method-assign]
    for item in items[6:]:
        world.shell.take(item)
    assert [lots for _, kind, lots in sent(world)[2:] if kind == "limit"] == [[-1500]]
    assert state.ledger.house.lots == [3500]


def test_a_plan_that_waits_leaves_the_stops_of_what_it_does_not_reduce() -> None:
    """The first agent sells half of its position in one symbol, and sells short where the other one is short too."""

    def first(view: object) -> object:
        day = (view.time - START) // DAY_NS  # type: ignore[attr-defined]
        return np.array([0.6, 0.0, 0.0]) if day < 2 else np.array([0.3, -0.2, 0.0]) if day == 2 else HOLD

    def second(view: object) -> object:
        return HOLD if view.weights.any() else np.array([0.0, -0.4, 0.4])  # type: ignore[attr-defined]

    world = World(block(np.full((6, 3), 100.0)), [first, second], house=resting())  # type: ignore[list-item]
    cancelled: list[int] = []
    for item in world.items():
        before = len(world.effects)
        world.shell.take(item)
        at_venue = {(basket.sample, basket.n): basket for basket in world.of(OrderBasket)}
        gone = [e for e in world.effects[before:] if isinstance(e, Cancel)]
        cancelled += [at_venue[cancel.sample, cancel.n].sym[cancel.row] for cancel in gone]
    assert cancelled == [0]
    assert world.shell.state.ledger.house.lots == [1500, -3000, 2000]


def test_without_at_venue_nothing_rests_and_turning_it_off_takes_them_back() -> None:
    plain = override(COLLARED, protective=Protective(stop_loss=0.08, cooldown=1))
    assert all(row[1] == "limit" for row in sent(story([100.0] * 4, [0.5], plain).run()))
    world = story([100.0] * 4, [0.5]).run()
    rules = structs.replace(
        world.rules, house=plain, agents=tuple(structs.replace(a, limits=plain) for a in world.rules.agents)
    )
    world.shell.run(Reloaded(world.shell.state.now, "d", ("risk.protective.at_venue",), in_force(rules)))
    assert not world.shell.state.protection.stops


# levels that people give a position


PLAIN = override(COLLARED, protective=Protective(stop_loss=0.2, cooldown=1))


def bought(limits: Limits, closes: list[float], **levels: int) -> World:
    """A book of orders by hand that buys 1,000 at 100 on the first close, with levels."""
    world = story(closes, [], limits)
    for k, item in enumerate(world.items()):
        world.shell.take(item)
        if k == 1:
            nano = {name: price * 10**9 for name, price in levels.items()}
            world.shell.run(by_hand(world.shell.state.now, "a0", 0, 1000, "try", "me", **nano))
        world.shell.state.ledger.check()
    return world


def test_levels_of_an_order_by_hand_are_its_positions_and_are_watched_where_stops_do_not_rest() -> None:
    world = bought(PLAIN, [100.0, 100.0, 96.0, 94.0, 94.0, 94.0], stop_nano=95, target_nano=120)
    assert sent(world) == [(0, "limit", [1000]), (3, "limit", [-1000])]
    (said,) = world.of(Protected)
    assert (said.kind, said.entry, said.mark, said.level) == ("stop_loss", 100.0, 94.0, 95.0)
    texts = [p.text for p in world.of(Publish)]
    assert "by hand: buy 1000 S0, stop 95.00, target 120.00 (me: try)" in texts
    assert any(t.startswith("stop loss: S0 at 94.00 is 6.0% below the entry price 100.00, limit 5.0%") for t in texts)
    assert world.shell.state.protection.own == {}, "they went with the position"
    again = bought(PLAIN, [100.0, 100.0, 121.0, 121.0, 121.0], stop_nano=95, target_nano=120)
    assert [(p.kind, p.level) for p in again.of(Protected)] == [("take_profit", 120.0)]
    assert not any(p.kind == "protective" for p in again.of(Publish)), "a target is what the order was after"


def test_levels_of_an_order_by_hand_rest_at_the_venue_where_stops_do_also_without_a_stop_of_the_book() -> None:
    only = override(COLLARED, protective=Protective(at_venue=True))
    world = bought(only, [100.0, 100.0, 97.5, 97.5, 96.0, 96.0], stop_nano=95)
    assert sent(world) == [(0, "limit", [1000]), (1, "stop", [-1000])]
    assert world.of(Filled)[1].price_nano == [95 * 10**9]
    assert world.shell.state.protection.own == {}
    assert world.shell.state.guards is None


def test_newer_levels_take_the_place_of_older_ones_at_once_and_a_snapshot_keeps_them() -> None:
    world = bought(resting(), [100.0] * 4, stop_nano=95)
    state = world.shell.state
    assert rests(state) == [(0, 1000, 95.0)]
    world.shell.run(by_hand(state.now, "a0", 0, 10, "more", "me", stop_nano=90 * 10**9))
    assert rests(state) == [(0, 1000, 90.0)]
    again = thaw(world.rules, freeze(state))
    assert again.protection.own == state.protection.own
    assert freeze(again) == freeze(state)


def test_an_order_that_is_refused_leaves_the_levels_of_its_position() -> None:
    world = bought(PLAIN, [100.0] * 4, stop_nano=95)
    state = world.shell.state
    world.shell.run(Operator(state.now, "reduce", "test", "me"))
    world.shell.run(by_hand(state.now, "a0", 0, 1000, "try", "me", stop_nano=99 * 10**9))
    (levels,) = state.protection.own.values()
    assert levels.stop_nano == 95 * 10**9


def test_a_split_rescales_levels_that_people_gave() -> None:
    world = bought(resting(), [100.0] * 4, stop_nano=95, target_nano=130)
    state = world.shell.state
    world.shell.take(Action(state.now + 1, 0, 0, "split", 2, 1))
    (levels,) = state.protection.own.values()
    assert (levels.stop_nano, levels.target_nano) == (47_500_000_000, 65 * 10**9)
    assert rests(state) == [(0, 2000, 47.5)]


@pytest.mark.parametrize(("weight", "worst"), [(0.5, 1), (-0.5, 2**62 - 1)])
def test_a_stop_without_a_collar_has_a_limit_that_any_price_keeps(weight: float, worst: int) -> None:
    free = override(PROFILES["research"], protective=Protective(stop_loss=0.08, at_venue=True, cooldown=99))
    world = story([100.0] * 4, [weight], free).run()
    assert world.of(OrderBasket)[1].worst_nano == [worst]
