"""The implementation shortfall of real runs, folded from what they journalled."""

from fractions import Fraction

import numpy as np
import pytest
from msgspec import structs

from quantd.daemon.engine.state.parents import Execution
from quantd.daemon.views.shortfall import NO_BARS, Totals, by_symbol, fold, of_order, of_whole
from quantd.risk.limits.catalogue import PROFILES
from quantd.trading.codec import decode
from quantd.trading.effects import Filled, Planned
from quantd.trading.events import Action
from quantd.trading.execution import Costs
from quantd.trading.market import MarketSlice
from quantd.trading.sessions import DAY_NS
from tests.support.engine import START, Kept, World, block
from tests.support.minutes import MINUTE, SESSION, Minutes, at, drift, minutes

NOON = at(0, 120)


def half(view) -> np.ndarray:
    return np.full(view.universe.size, 0.5 / view.universe.size)


def run(style: str, bars=None, log=None, **keys):
    costs = keys.pop("costs", Costs())
    return Minutes(
        minutes(drift(1, 1, 5, 0.002)) if bars is None else bars, [half], Execution(style=style, **keys), [NOON],
        costs=costs, log=log,
    ).run()  # fmt: skip


def test_the_gap_from_the_mark_decided_on_to_the_next_open_is_delay_and_what_the_fill_paid_is_impact() -> None:
    log = Kept(live=True)
    close = np.full((SESSION, 1), 100.0)
    gap = close.copy()
    gap[120:] = 101.0
    world = run("marketable", minutes(close, open_=gap), log, costs=Costs(slippage_bp=10.0, commission_bp=5.0))
    shortfalls = fold(world.universe, map(decode, log.entries))
    ((key, order),) = shortfalls.orders.items()
    cost = of_order(shortfalls, key, "q")
    assert order.pieces[0].price_nano == 101_101_000_000
    assert (cost.filled, cost.unfilled, cost.decision) == ("5000", "0", "100.00")
    assert (cost.delay, cost.impact) == ("5000.00", "505.00")
    assert cost.delay_bp == pytest.approx(100.0)
    assert cost.impact_bp == pytest.approx(10.1)
    assert float(cost.fees) == pytest.approx(0.0005 * 5_000 * 101.101)
    assert float(cost.total) == pytest.approx(float(cost.delay) + float(cost.impact) + float(cost.fees))
    assert of_whole(shortfalls, key) is None


def overnight(log: Kept, **keys) -> World:
    """Decided at 100 on a close; the next day opens at 110."""
    close = np.array([[100.0], [100.0], [112.0], [112.0]])
    opens = np.array([[100.0], [100.0], [110.0], [112.0]])
    acts = [lambda view: half(view) if view.time > START + DAY_NS + DAY_NS // 2 else view.weights]
    world = World(block(close, opens), acts, house=structs.replace(PROFILES["research"], collar=0.2), log=log, **keys)
    world.run()
    return world


def test_without_the_bars_of_a_recorded_run_the_gap_is_in_impact_and_that_is_said() -> None:
    log = Kept()
    world = overnight(log, costs=Costs(slippage_bp=20.0))
    blind, seeing = (
        fold(world.universe, map(decode, log.entries), slices)
        for slices in (None, lambda index: MarketSlice(world.bars, index))
    )
    key = next(key for key, order in blind.orders.items() if order.decision_nano == 100 * 10**9)
    without, cost = of_order(blind, key, "q"), of_order(seeing, key, "q")
    assert (without.note, cost.note) == (NO_BARS, "")
    assert (without.delay, without.impact) == ("0.00", without.total)
    assert cost.delay_bp == pytest.approx(1_000.0)
    assert cost.total == without.total
    assert {row.note for row in by_symbol(blind)} == {NO_BARS}


def test_an_order_that_fills_before_another_bar_opens_arrived_at_the_mark_it_was_sent_at() -> None:
    """A venue across a network fills inside a minute: the open of the next one is not what the order met."""
    log = Kept(live=True)
    world = overnight(log)
    entries = [decode(data) for data in log.entries]
    early = [
        structs.replace(
            e, effects=[structs.replace(f, ts=f.ts - DAY_NS // 4) if isinstance(f, Filled) else f for f in e.effects]
        )
        for e in entries
    ]
    shortfalls = fold(world.universe, early)
    key = next(key for key, order in shortfalls.orders.items() if order.decision_nano == 100 * 10**9)
    cost = of_order(shortfalls, key, "q")
    assert cost.delay == "0.00"
    assert cost.impact_bp == pytest.approx(1_000.0)


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize("style", ["twap", "vwap", "participation", "chase"])
def test_the_parts_of_what_was_worked_add_up_to_paper_less_real(style) -> None:
    log = Kept(live=True)
    bars = minutes(drift(1, 1, 5, 0.002), np.full((SESSION, 1), 150.0))
    world = run(style, bars, log, costs=Costs(commission_bp=2.0, spread_bp=4.0, participation=0.5), step_bp=0.5, most=2)
    shortfalls = fold(world.universe, map(decode, log.entries))
    plan = next(p for p in (e for data in log.entries for e in _effects(data)) if isinstance(p, Planned))
    lots = int(np.frombuffer(plan.allowed, "<i8")[0])
    cost = shortfalls.of_whole(shortfalls.wholes[plan.ts, 0])
    fills = [e for data in log.entries for e in _effects(data) if isinstance(e, Filled)]
    (end,) = {round(shortfalls.wholes[plan.ts, 0].end_nano / 1e9, 2)}
    paper = lots * (Fraction(str(end)) - Fraction(str(plan_price(plan))))
    real = sum(
        k * (Fraction(str(end)) - Fraction(price, 10**9)) - Fraction(fee, 10**6)
        for f in fills
        for k, price, fee in zip(f.lots, f.price_nano, f.fee_micro, strict=True)
    )
    assert cost.total_micro is not None
    assert abs(Fraction(cost.total_micro, 10**6) - (paper - real)) < Fraction(1, 1000)
    done = sum(k for f in fills for k in f.lots)
    assert (cost.opportunity_micro != 0) == (done != lots)
    assert cost.delay_micro != 0
    (everything, symbol) = by_symbol(shortfalls)
    assert everything.total == symbol.total
    assert symbol.what == "S0"


def totals(world, entries, since: int = 0, until: int = 2**63 - 1) -> Totals:
    sums = Totals(world.universe, None, since, until)
    for entry in entries:
        sums.add(entry)
    return sums


def split_log(log: Kept) -> World:
    """A split of two for one between the decision and its fill."""
    prices = np.array([[100.0], [100.0], [50.0], [50.0]])
    split = Action(START + 2 * DAY_NS + 10 * DAY_NS // 24, START + 2 * DAY_NS, 0, "split", 2, 1)
    acts = [lambda view: half(view) if view.time > START + DAY_NS + DAY_NS // 2 else view.weights]
    world = World(block(prices, prices.copy()), acts, house=PROFILES["research"], actions=[split], log=log)
    world.run()
    return world


RUNS = {
    "whole": lambda log: overnight(log, costs=Costs(slippage_bp=20.0, commission_bp=3.0)),
    "in parts": lambda log: run("marketable", log=log, costs=Costs(commission_bp=2.0, participation=0.01)),
    "parent": lambda log: run("twap", log=log, slices=3, over_ns=9 * MINUTE, costs=Costs(commission_bp=3.0)),
    "split": split_log,
}


@pytest.mark.parametrize("name", RUNS)
def test_the_sums_of_a_span_are_those_of_its_single_orders(name: str) -> None:
    log = Kept(live=True)
    world = RUNS[name](log)
    entries = [decode(data) for data in log.entries]
    shortfalls = fold(world.universe, entries)
    sums = totals(world, entries)
    assert sums.complete
    assert by_symbol(sums) == by_symbol(shortfalls) != []
    decided = sorted(
        {order.ts for order in shortfalls.orders.values()} | {parent.ts for parent in shortfalls.wholes.values()}
    )
    for since, until in ((decided[0], 2**63 - 1), (0, decided[-1] - 1), (decided[0] - 1, decided[0])):
        sums = totals(world, entries, since, until)
        assert by_symbol(sums, since, until) == by_symbol(shortfalls, since, until)


def test_a_trade_that_the_venue_takes_back_later_makes_the_sums_incomplete() -> None:
    log = Kept(live=True)
    world = overnight(log)
    entries = [decode(data) for data in log.entries]
    fill = next(effect for entry in entries for effect in entry.effects if isinstance(effect, Filled))
    back = structs.replace(fill, lots=[-k for k in fill.lots])
    assert not totals(world, [*entries, structs.replace(entries[-1], effects=[back])]).complete


def plan_price(plan: Planned) -> float:
    return round(float(np.frombuffer(plan.prices, "<f8")[0]), 2)


def _effects(data: bytes):
    return decode(data).effects


def test_an_order_that_expires_has_an_opportunity_at_the_mark_of_its_end() -> None:
    log = Kept(live=True)
    close = np.full((SESSION, 1), 100.0)
    close[120:] = 110.0
    world = run("marketable", minutes(close, open_=np.full_like(close, 110.0)), log)
    shortfalls = fold(world.universe, map(decode, log.entries))
    ((key, order),) = shortfalls.orders.items()
    cost = of_order(shortfalls, key, "q")
    assert order.pieces == []
    assert (cost.filled, cost.unfilled) == ("0", "5000")
    assert (cost.opportunity, cost.total, cost.total_bp) == ("50000.00", "50000.00", 1000.0)
