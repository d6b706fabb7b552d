"""Execution styles through the real gate, ledger and paper venue: what is sent when, how much, and what goes before."""

from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.daemon.engine.state.parents import (
    Execution,
    chase_nano,
    vwap_lots,
)
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.risk.limits.catalogue import PROFILES, Protective, Rate, Reason, override
from quantd.trading.codec import encode
from quantd.trading.effects import Cancel, Crossed, Ended, Filled, Planned, Portion, Publish, Worked
from quantd.trading.events import Action, Halted, Operator, Reports, Tick
from quantd.trading.execution import Costs
from quantd.trading.market import MarketSlice
from quantd.trading.orders import Cause, Kind, OrderBasket
from tests.support.engine import COLLARED
from tests.support.examples import examples
from tests.support.minutes import MINUTE, SESSION, Minutes, at, drift, minutes

NOON = at(0, 120)
STYLES = ("twap", "vwap", "participation", "chase")


def half(view: object) -> np.ndarray:
    return np.full(view.universe.size, 0.5 / view.universe.size)  # type: ignore[attr-defined]


def flat(price: float = 100.0, days: int = 1, symbols: int = 1) -> np.ndarray:
    return np.full((days * SESSION, symbols), price)


def world(style: str, bars: object = None, **keys: object) -> Minutes:
    rules = {name: keys.pop(name) for name in Execution.__struct_fields__ if name in keys}
    asked = keys.pop("asked", [NOON])
    acts = keys.pop("acts", [half])
    bars = minutes(flat()) if bars is None else bars
    return Minutes(bars, acts, Execution(style=style, **rules), asked, **keys)  # type: ignore[arg-type]


def sent(run: Minutes) -> list[tuple[int, int]]:
    """(minutes after noon, lots) of the first symbol in each basket."""
    return [((b.ts - NOON) // MINUTE, b.lots[b.sym.index(0)]) for b in run.of(OrderBasket) if 0 in b.sym]


def acting(run: Minutes, acts: dict[int, Callable[[int], object]]) -> None:
    """Run all bars; `acts` maps a minute of the first day to what follows its bar, at that instant."""
    for item in run.items():
        run.shell.take(item)
        if isinstance(item, MarketSlice) and item.ts_event in {at(0, minute) for minute in acts}:
            acts[(item.ts_event - at(0, 0)) // MINUTE](item.ts_event)


def whole(run: Minutes) -> Planned:
    return next(p for p in run.of(Planned) if p.portion and not p.portion.decided)


def allowed(plan: Planned) -> list[int]:
    return np.frombuffer(plan.allowed, dtype="<i8").tolist()


def test_twap_sends_as_many_lots_in_each_slice_at_even_times():
    run = world("twap", over_ns=30 * MINUTE, slices=6).run()
    assert sent(run) == [(0, 833), (5, 833), (10, 834), (15, 833), (20, 833), (25, 834)]
    assert whole(run).n == 0
    assert allowed(whole(run)) == [5_000]
    assert [w.reason for w in run.of(Worked)] == ["filled"]
    assert run.shell.state.lots(0).tolist() == [5_000.0]


def test_the_plan_of_a_child_names_the_plan_of_the_whole():
    run = world("twap", slices=3).run()
    children = [p for p in run.of(Planned) if p.portion and p.portion.decided]
    assert {p.portion for p in children} == {Portion("twap", whole(run).ts)}
    assert {agent.scale for p in children for agent in p.agents} == {1.0}
    assert [p.n for p in children] == [1, 2, 3]
    assert {p.sample for p in run.of(Planned)} == {whole(run).sample}


def test_vwap_sends_what_the_profile_gives_each_time():
    # two parts of a session of 360 minutes, the second with three times the volume; decided an hour before its middle
    run = world("vwap", over_ns=120 * MINUTE, slices=4, profile=(1.0, 3.0)).run()
    assert sent(run) == [(0, 625), (30, 625), (60, 1875), (90, 1875)]


def test_the_profile_without_one_is_a_u():
    first, middle, last = (
        vwap_lots(Execution(over_ns=30 * MINUTE), 10_000, 6, at(0, m), at(0, 0), at(0, SESSION)) for m in (0, 170, 330)
    )
    assert first == middle == last == 10_000
    day = Execution(over_ns=SESSION * MINUTE, slices=13)
    by_slice = [vwap_lots(day, 130_000, k, at(0, 0), at(0, 0), at(0, SESSION)) for k in range(14)]
    slice_lots = [b - a for a, b in pairwise(by_slice)]
    assert slice_lots[0] > slice_lots[6] < slice_lots[12]
    assert min(slice_lots) == slice_lots[6]


def test_participation_sends_a_share_of_what_was_seen_to_trade():
    volume = np.full((SESSION, 1), 1_000.0)
    volume[125] = 20_000.0
    run = world("participation", minutes(flat(), volume), participation=0.1).run()
    lots = dict(sent(run))
    assert lots[1] == 100
    assert lots[6] == 2_000
    seen = 0.0
    for minute, _ in sent(run):
        seen = volume[120 : 120 + minute].sum()
        assert sum(k for m, k in sent(run) if m <= minute) <= 0.1 * seen
    assert sum(lots.values()) == 5_000


def test_chase_takes_its_order_back_for_a_worse_price_and_never_beyond_the_first_worst():
    close = flat()
    close[120:, 0] = np.round(100.0 * 1.004 ** np.arange(1, SESSION - 119), 2)  # runs away from every limit
    run = world("chase", minutes(close, open_=close * 1.0015), every_ns=MINUTE, step_bp=5.0, most=3).run()
    baskets = run.of(OrderBasket)
    assert len(baskets) == 4
    assert len(run.of(Cancel)) == 3
    limits = [b.worst_nano[0] / 1e9 for b in baskets]
    assert limits[0] == pytest.approx(100.05)
    assert all(a < b for a, b in pairwise(limits))
    for basket, mark in zip(baskets[1:], close[120:, 0], strict=False):
        assert basket.worst_nano[0] / 1e9 <= mark * 1.0021
    far = flat()
    far[120:, 0] = np.round(100.0 * 1.01 ** np.arange(1, SESSION - 119), 2)
    capped = world("chase", minutes(far, open_=far * 1.009), every_ns=MINUTE, step_bp=5.0, most=30).run()
    most = 100.0 * 1.05
    assert max(b.worst_nano[0] for b in capped.of(OrderBasket)) == round(most * 1e9)
    assert any(w.filled == [0] and w.reason == "its session ended" for w in capped.of(Worked))


def test_the_next_child_of_a_chase_is_sent_as_soon_as_the_one_before_has_ended():
    close = flat()
    close[120:, 0] = np.round(100.0 * 1.004 ** np.arange(1, SESSION - 119), 2)
    run = world("chase", minutes(close, open_=close * 1.0015), every_ns=MINUTE, step_bp=5.0, most=3)
    run.shell.broker.cancel = lambda *_: ()  # type: ignore[method-assign]
    for item in run.items():
        run.shell.take(item)
        if isinstance(item, Tick) and run.of(Cancel):
            break
    (first,) = run.of(OrderBasket)
    run.shell.run(Reports(first.sample, first.n, item.ts, [0], [0], [0], [0], [0], [Cause.CANCELLED]))
    assert [basket.ts for basket in run.of(OrderBasket)] == [NOON, item.ts]


def test_chase_fills_where_the_market_comes_back():
    close = flat()
    close[121:, 0] = 100.04
    run = world("chase", minutes(close)).run()
    assert len(run.of(OrderBasket)) == 1
    assert run.shell.state.lots(0).tolist() == [5_000.0]


def test_the_price_of_a_chase_is_on_the_tick_and_no_further():
    rules = Execution(step_bp=5.0)
    assert chase_nano(rules, 100_037 * 10**6, True, 0, 10**7) == 100_080 * 10**6
    assert chase_nano(rules, 100_037 * 10**6, False, 0, 10**7) == 99_990 * 10**6
    assert chase_nano(rules, 100_000 * 10**6, True, 1, 10**7) == 100_100 * 10**6


@pytest.mark.parametrize(
    ("style", "kind", "day", "fills"), [("close", Kind.CLOSE, 0, at(0, SESSION)), ("open", Kind.OPEN, 1, at(1, 0))]
)
def test_an_order_for_an_auction_fills_there_and_nowhere_else(style, kind, day, fills):
    close = drift(2, 1, 1)
    run = world(style, minutes(close)).run()
    (basket,) = run.of(OrderBasket)
    assert (basket.kind, basket.ts, basket.end) == ([kind], NOON, [at(day, SESSION)])
    (fill,) = run.of(Filled)
    assert (fill.ts, fill.price_nano) == (fills, [round(close[SESSION - 1, 0] * 1e9)])


def test_an_auction_that_prints_beyond_the_limit_fills_nothing():
    close = drift(2, 1, 3)
    close[SESSION:] = np.round(close[SESSION:] * 1.2, 2)
    run = world("open", minutes(close, open_=close)).run()
    assert run.of(Filled) == []
    assert [e.state for e in run.of(Ended)] == [[8]]


def test_the_first_bar_that_is_missing_is_no_auction():
    close = drift(2, 1, 4)
    close[SESSION] = np.nan
    assert world("open", minutes(close)).run().of(Filled) == []
    close = drift(2, 1, 4)
    close[SESSION - 1] = np.nan
    assert world("close", minutes(close)).run().of(Filled) == []


def test_a_new_decision_takes_the_place_of_what_is_worked():
    asked = [NOON, at(0, 132)]
    acts = [lambda view: half(view) if view.time < at(0, 130) else np.array([0.2])]
    run = world("twap", over_ns=60 * MINUTE, slices=6, asked=asked, acts=acts).run()
    assert sum(lots for _, lots in sent(run)) == 2_000
    reasons = [(w.lots, w.filled, w.reason) for w in run.of(Worked)]
    assert reasons == [([5_000], [1_666], "decided anew"), ([334], [334], "filled")]


def test_what_is_worked_ends_with_its_session():
    run = world("twap", minutes(flat(days=2)), over_ns=60 * MINUTE, slices=4, asked=[at(0, SESSION - 10)]).run()
    assert sum(lots for _, lots in sent(run)) == 5_000
    assert max(ts for ts, _ in sent(run)) < SESSION - 120
    asked = [at(0, SESSION)]
    later = world("twap", minutes(flat(days=2)), over_ns=30 * MINUTE, slices=3, asked=asked).run()
    assert [b.ts for b in later.of(OrderBasket)] == [at(1, 1), at(1, 10), at(1, 20)]


@pytest.mark.parametrize("style", STYLES)
def test_halt_ends_what_is_worked_at_once(style):
    run = world(style, minutes(flat(), np.full((SESSION, 1), 500.0)), over_ns=60 * MINUTE, most=100, step_bp=0.0)
    for item in run.items():
        run.shell.take(item)
        if isinstance(item, MarketSlice) and item.ts_event == at(0, 131):
            before = len(run.of(OrderBasket))
            run.shell.run(Operator(item.ts_event, "halt", "stop", "me"))
            assert run.shell.state.parents == []
            run.shell.run(Operator(item.ts_event, "resume", "go on", "me"))
    assert len(run.of(OrderBasket)) == before


def test_reduce_ends_what_adds_and_lets_go_on_what_reduces():
    asked = [at(0, 60), NOON]
    acts = [lambda view: np.array([0.4, 0.0]) if view.time < NOON else np.array([0.1, 0.3])]
    run = world("twap", minutes(flat(symbols=2)), slices=6, asked=asked, acts=acts)
    acting(run, {127: lambda ts: run.shell.run(Operator(ts, "reduce", "careful", "me"))})
    assert run.shell.state.lots(0).tolist() == [1_000.0, 1_000.0]
    assert [(w.sym, w.reason) for w in run.of(Worked)][1:] == [([1], "the switch"), ([0], "filled")]


def test_reduce_ends_what_would_open_a_position_before_its_first_fill():
    run = world("twap", slices=6)
    for item in run.items():
        run.shell.take(item)
        if isinstance(item, Tick) and item.due:
            assert run.shell.state.parents
            run.shell.run(Operator(item.ts, "reduce", "careful", "me"))
            assert run.shell.state.parents == []
    assert [(w.sym, w.filled, w.reason) for w in run.of(Worked)] == [([0], [0], "the switch")]


def test_a_child_is_no_request_that_a_new_decision_could_repeat():
    """After 1,666 of 5,000 lots the agent decides for 833 more, as many as the last child had."""
    asked = [NOON, at(0, 127)]
    acts = [lambda view: half(view) if view.time < at(0, 127) else np.array([0.2499])]
    house = override(COLLARED, duplicate_window_ns=20 * MINUTE)
    run = world("twap", over_ns=30 * MINUTE, slices=6, asked=asked, acts=acts, house=house).run()
    assert sent(run)[:2] == [(0, 833), (5, 833)]
    wholes = [p for p in run.of(Planned) if p.portion and not p.portion.decided]
    assert [allowed(p) for p in wholes] == [[5_000], [833]]
    assert run.shell.state.lots(0).tolist() == [2_499.0]


def test_an_exit_takes_the_place_of_what_is_worked():
    close = flat()
    close[140:, 0] = 90.0
    house = override(PROFILES["research"], protective=Protective(stop_loss=0.05, cooldown=100))
    run = world("twap", minutes(close), over_ns=60 * MINUTE, slices=12, house=house).run()
    assert run.shell.state.lots(0).tolist() == [0.0]
    assert [w.reason for w in run.of(Worked)] == ["a protective exit"]
    last = run.of(OrderBasket)[-1]
    assert last.lots[0] < 0
    assert last.kind == []
    assert last.ts == at(0, 141)


def test_a_halted_symbol_is_asked_for_nothing_and_caught_up_afterwards():
    run = world("twap", over_ns=60 * MINUTE, slices=6)
    acting(run, {
        121: lambda ts: run.shell.run(Halted(ts, 0, True, "LULD pause")),
        152: lambda ts: run.shell.run(Halted(ts, 0, False)),
    })  # fmt: skip
    assert sent(run) == [(0, 833), (32, 2_500), (40, 833), (50, 834)]
    said = [p.text for p in run.of(Publish) if p.kind == "halted"]
    assert said == ["trading is halted: LULD pause; no new orders for it", "trading goes on"]


def test_the_other_symbols_of_a_decision_go_on_while_one_is_halted():
    run = world("twap", minutes(flat(symbols=2)), over_ns=30 * MINUTE, slices=6)
    acting(run, {121: lambda ts: run.shell.run(Halted(ts, 0, True))})
    assert run.shell.state.lots(0).tolist() == [416.0, 2_500.0]


def test_the_gate_refuses_a_halted_symbol_by_name():
    run = world("marketable", minutes(flat(symbols=2)))
    for item in run.items():
        if isinstance(item, Tick) and item.due:
            run.shell.run(Halted(item.ts, 1, True))
        run.shell.take(item)
    (basket,) = run.of(OrderBasket)
    assert basket.sym == [0]
    (plan,) = run.of(Planned)
    assert np.frombuffer(plan.agents[0].reason, np.int8).tolist() == [0, Reason.HALTED]


def test_a_refusal_that_names_a_halt_is_one_until_a_bar_trades():
    run = world("marketable", minutes(flat(symbols=2)), asked=[NOON])
    items = list(run.items())
    for item in items:
        run.shell.take(item)
        if isinstance(item, Tick) and item.due:
            (key,) = run.shell.state.working
            none = [0, 0]
            run.shell.run(
                Reports(*key, item.ts, [0, 1], none, none, none, none, [Cause.REJECTED] * 2, "symbol is halted (LULD)")
            )
            assert set(run.shell.state.restrictions.halted) == {0, 1}
            thawed = thaw(run.rules, freeze(run.shell.state))
            assert thawed.restrictions.halted == run.shell.state.restrictions.halted
    assert run.shell.state.restrictions.halted == {}
    assert Counter(p.text.partition(":")[0] for p in run.of(Publish) if p.kind == "halted") == {
        "trading is halted": 2,
        "trading goes on": 2,
    }


def test_another_refusal_is_no_halt():
    run = world("marketable", asked=[NOON])
    for item in run.items():
        run.shell.take(item)
        if isinstance(item, Tick) and item.due:
            (key,) = run.shell.state.working
            run.shell.run(
                Reports(*key, item.ts, [0], [0], [0], [0], [0], [Cause.REJECTED], "insufficient buying power")
            )
            assert run.shell.state.restrictions.halted == {}


def test_a_split_rescales_what_is_worked():
    run = world("twap", minutes(np.vstack([flat()[:130], flat(50.0)[130:]])), over_ns=60 * MINUTE, slices=6,
                actions=[Action(at(0, 130), 0, 0, "split", 2, 1)])  # fmt: skip
    run.run()
    assert run.shell.state.lots(0).tolist() == [10_000.0]


def test_each_child_passes_the_limits_of_its_own_time():
    acts = [lambda view: np.array([0.9])]
    house = override(COLLARED, max_order_notional=50_000.0)
    run = world("twap", over_ns=60 * MINUTE, slices=6, acts=acts, house=house).run()
    # the whole was cut to one order's worth, and so is each child
    assert allowed(whole(run))[0] < 500
    assert all(lots * 105.0 <= 50_000.0 for _, lots in sent(run))


def test_what_a_limit_cut_of_a_child_is_due_again_with_the_next_slice():
    """One order in 7 minutes: the children after 5 and 15 minutes are refused, and so is the last one."""
    house = override(COLLARED, order_rate=Rate(1, 7 * MINUTE))
    run = world("twap", over_ns=30 * MINUTE, slices=6, house=house).run()
    assert sent(run) == [(0, 833), (10, 1_667), (20, 1_666)]


def test_what_a_limit_cut_of_a_participation_is_due_again_with_the_next_volume():
    """The order after the second volume is refused, and nothing is traded after it."""
    volume = np.zeros((SESSION, 1))
    volume[[120, 123]] = 10_000.0
    house = override(COLLARED, order_rate=Rate(1, 7 * MINUTE))
    run = world("participation", minutes(flat(), volume), participation=0.1, house=house).run()
    assert sent(run) == [(1, 1_000)]


def test_a_decision_for_one_lot_is_worked_on_its_side():
    weights = iter([0.0001, 0.0])
    run = world("twap", slices=2, asked=[NOON, at(0, 240)], acts=[lambda view: np.array([next(weights)])]).run()
    assert [b.lots for b in run.of(OrderBasket)] == [[1], [-1]]
    assert run.shell.state.lots(0).tolist() == [0.0]


def test_what_two_agents_want_of_each_other_crosses_when_it_is_decided_and_the_rest_is_worked():
    asked = [at(0, 30), NOON]
    acts = [
        lambda view: np.array([0.0 if view.time < NOON else 0.5]),
        lambda view: np.array([0.3 if view.time < NOON else 0.0]),
    ]
    run = world("twap", asked=asked, acts=acts, slices=2, over_ns=10 * MINUTE).run()
    (cross,) = run.of(Crossed)
    assert sorted(lots for _, lots in cross.shares) == [-1_500, 1_500]
    assert sent(run)[2:] == [(0, 500), (5, 500)]
    assert [run.shell.state.lots(k).tolist() for k in (0, 1)] == [[2_500.0], [0.0]]


def test_an_agent_whose_lots_all_crossed_has_nothing_to_work():
    asked = [NOON, at(0, 240)]
    acts = [
        lambda view: np.array([0.0 if view.time < at(0, 240) else 0.4]),
        lambda view: np.array([0.2 if view.time < at(0, 240) else 0.0]),
    ]
    run = world("twap", slices=2, asked=asked, acts=acts)
    worked = set()
    for item in run.items():
        run.shell.take(item)
        worked |= {(parent.ts, parent.agent, *parent.lots) for parent in run.shell.state.parents}
    assert worked == {(NOON, 1, 1_000), (at(0, 240), 0, 1_000)}
    assert [(progress.agent, progress.lots) for progress in run.of(Worked)] == [(1, [1_000]), (0, [1_000])]
    assert [run.shell.state.lots(agent).tolist() for agent in (0, 1)] == [[2_000.0], [0.0]]


def test_the_bar_that_a_decision_falls_into_is_not_participated_in():
    run = world("participation", asked=[NOON + MINUTE // 2], participation=0.1).run()
    assert sent(run)[0] == (2, 1_000)


def test_a_halt_that_a_refusal_told_of_outlasts_bars_that_opened_before_it():
    run = world("marketable")
    ends = []
    for item in run.items():
        run.shell.take(item)
        if isinstance(item, Tick) and item.due:
            (key,) = run.shell.state.working
            late = item.ts + MINUTE // 2
            run.shell.run(Reports(*key, late, [0], [0], [0], [0], [0], [Cause.REJECTED], "trading pause"))
        if isinstance(item, MarketSlice) and item.ts_event > NOON:
            ends.append(bool(run.shell.state.restrictions.halted))
    assert ends[:3] == [True, False, False]


@pytest.mark.long
@settings(max_examples=examples(25), deadline=None)
@given(
    st.sampled_from(STYLES), st.integers(0, 10**6), st.integers(1, 3), st.lists(st.integers(1, 700), max_size=5),
    st.sampled_from([0.0, 0.02, 0.2]), st.booleans(),
)  # fmt: skip
def test_children_never_exceed_their_parent_and_all_come_from_the_gate(style, seed, agents, asks, cap, strict):
    rng = np.random.default_rng(seed)
    size = 2
    wishes = rng.uniform(-0.5 if not strict else 0.0, 0.5, (len(asks) + 1, agents, size))
    count = [0] * agents

    def act(number):
        def wish(view):
            count[number] += 1
            return wishes[(count[number] - 1) % len(wishes), number]

        return wish

    volume = rng.uniform(0.0, 5_000.0, (2 * SESSION, size))
    instants = sorted({at(m // SESSION, m % SESSION) for m in [90, *asks]})
    house = PROFILES["research"] if strict else override(PROFILES["research"], allow_short=True)
    run = world(
        style, minutes(drift(2, size, seed, 0.002), volume), asked=instants, acts=[act(k) for k in range(agents)],
        costs=Costs(commission_bp=1.0, participation=cap), house=house, over_ns=40 * MINUTE, slices=5,
    ).run()  # fmt: skip
    plans = {(p.sample, p.n): p for p in run.of(Planned) if p.n}
    # two rests may be planned at one instant, and their parents have the same `decided`
    least, most = (defaultdict(lambda: np.zeros(size, dtype=np.int64)) for _ in range(2))
    for worked in run.of(Worked):
        for lots, filled in zip(worked.lots, worked.filled, strict=True):
            assert 0 <= filled <= abs(lots)
    for plan in run.of(Planned):
        if not plan.portion.decided:
            passed = np.frombuffer(plan.allowed, "<i8")
            least[plan.ts] += np.minimum(passed, 0)
            most[plan.ts] += np.maximum(passed, 0)
    filled_by_parent: dict[int, np.ndarray] = {}
    for fill in run.of(Filled):
        plan = plans[fill.sample, fill.n]  # every order that filled has its plan, and a parent
        assert plan.portion.decided in most
        into = filled_by_parent.setdefault(plan.portion.decided, np.zeros(size, dtype=np.int64))
        for symbol, lots in zip(fill.sym, fill.lots, strict=True):
            into[symbol] += lots
    for parent, lots in filled_by_parent.items():
        assert (least[parent] <= lots).all()
        assert (lots <= most[parent]).all()
    for basket in run.of(OrderBasket):
        passed = np.frombuffer(plans[basket.sample, basket.n].allowed, "<i8")
        assert passed[basket.sym].tolist() == basket.lots


@pytest.mark.long
@pytest.mark.parametrize("style", STYLES)
def test_a_run_frozen_at_every_step_and_thawed_goes_on_the_same(style):
    """At every step while orders are worked, and at some between."""
    asked = [at(0, 30), at(0, 200)]
    keys = {"over_ns": 20 * MINUTE, "slices": 4, "asked": asked, "most": 3}
    bars = minutes(drift(1, 2, 7, 0.001), np.full((SESSION, 2), 3_000.0))
    straight = world(style, bars, **keys, costs=Costs(participation=0.1))
    straight.run()
    again = world(style, bars, **keys, costs=Costs(participation=0.1))
    for k, item in enumerate(again.items()):
        again.shell.take(item)
        if k % 40 == 0 or any(0 <= again.shell.ts - t <= 25 * MINUTE for t in asked):
            kept = again.shell.keep()
            again.shell = again.fresh(again.shell.log)
            again.shell.restore(again.rules, kept)
    assert len(straight.of(OrderBasket)) > 3
    assert again.shell.digest.hexdigest() == straight.shell.digest.hexdigest()
    steps = [encode(e, ()) for e in straight.events], [encode(e, ()) for e in again.events]
    assert steps[0] == steps[1]


def test_order_numbers_of_what_is_worked_do_not_start_again_while_others_trade():
    run = world("twap", over_ns=60 * MINUTE, slices=30)
    # as if others had decided at three hundred samples since
    acting(run, {130: lambda ts: run.shell.state.orders_at.update({NOON + k: 1 for k in range(1, 301)})})
    keys = [(b.sample, b.n) for b in run.of(OrderBasket)]
    assert len(keys) == len(set(keys)) == 30
    assert len(run.shell.state.orders_at) < 200
