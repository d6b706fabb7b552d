"""Halts and limits as states of a symbol: who says them, who ends them, and what is not sent meanwhile."""

import numpy as np
import pytest

from quantd.daemon.engine import step
from quantd.daemon.engine.agents.carry_over import carry_of
from quantd.daemon.engine.planning.price_limits import within_limits
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.risk.limits.catalogue import Limits, Reason
from quantd.trading.effects import Planned, Publish
from quantd.trading.events import Carried, Halted, Limited
from quantd.trading.market import MarketSlice
from quantd.trading.orders import OrderBasket
from tests.support.engine import World, block, taken, walk

DAYS = 12


def world(act=lambda view: np.array([0.4, 0.4])) -> World:  # type: ignore[no-untyped-def]
    return World(block(walk(DAYS, 2, 5)), [act], house=Limits(collar=0.05))


def texts(effects: object) -> list[str]:
    return [e.text for e in effects if isinstance(e, Publish) and e.kind == "halted"]  # type: ignore[attr-defined]


def bar(run: World, row: int) -> MarketSlice:
    return MarketSlice(run.bars, row)


def test_only_a_person_ends_what_a_person_halted() -> None:
    state = world().shell.state
    assert texts(step(state, Halted(5, 1, True, "earnings", "ann"))) == [
        "trading is halted: ann: earnings; no new orders for it"
    ]
    assert state.restrictions.halted == {1: (5, "by hand: ann: earnings")}
    assert step(state, Halted(6, 1, False, "Trading Resumption")) == ()
    assert step(state, Halted(6, 1, True, "Trading Halt", announced=True)) == ()
    run = world()
    run.restart(thaw(state.rules, freeze(state)))
    run.run()
    assert 1 in run.shell.state.restrictions.halted
    assert all(1 not in basket.sym for basket in run.of(OrderBasket))  # type: ignore[attr-defined]
    assert texts(step(run.shell.state, Halted(9, 1, False, "it is over", "bob"))) == [
        "trading goes on: bob: it is over"
    ]
    assert run.shell.state.restrictions.halted == {}


def test_a_person_may_take_over_a_venues_halt() -> None:
    state = world().shell.state
    step(state, Halted(5, 0, True, "pause", announced=True))
    assert texts(step(state, Halted(7, 0, True, "wait", "ann")))
    assert state.restrictions.halted == {0: (5, "by hand: ann: wait")}


@pytest.mark.parametrize(("announced", "halts"), [(True, set()), (False, {0})])
def test_a_bar_that_opened_since_ends_what_a_stream_announced(announced: bool, halts: set[int]) -> None:
    run = world()
    state = run.shell.state
    step(state, Halted(int(run.bars.ts_open[3]) + 1, 0, True, "pause", announced=announced))
    taken(state, bar(run, 3))
    assert set(state.restrictions.halted) == {0}, "this bar opened before"
    taken(state, bar(run, 4))
    assert set(state.restrictions.halted) == halts


def test_a_halted_symbol_is_refused_with_its_reason() -> None:
    run = world()
    step(run.shell.state, Halted(1, 0, True, "by request", "ann"))
    run.run()
    codes = {int(c) for p in run.of(Planned) for c in np.frombuffer(p.agents[0].reason, np.int8)}
    assert Reason.HALTED in codes


def test_no_order_goes_beyond_a_limit_that_the_price_is_at() -> None:
    run = world()
    items = run.items()
    state = run.shell.state
    run.shell.take(next(items))
    mark = int(state.marks_nano[0])
    step(state, Limited(state.now, 0, mark * 9 // 10, mark))
    run.shell.take(next(items))
    (basket,) = run.of(OrderBasket)
    worst = dict(zip(basket.sym, basket.worst_nano, strict=True))  # type: ignore[attr-defined]
    assert worst[0] == mark
    assert worst[1] == pytest.approx(int(state.marks_nano[1]) * 1.05, rel=1e-3)


def test_limits_narrow_each_side_to_its_own_and_the_nearer_cap_holds() -> None:
    state = world().shell.state
    assert within_limits(state, np.array([1.0, 1.0]), ()) == ()
    step(state, Limited(1, 0, 90, 110))
    assert list(within_limits(state, np.array([1.0, 1.0]), ())) == [110, 0]
    assert list(within_limits(state, np.array([-1.0, 1.0]), ())) == [90, 0]
    assert list(within_limits(state, np.array([1.0, 1.0]), [105, 7])) == [105, 7]
    assert list(within_limits(state, np.array([1.0, 1.0]), [115, 7])) == [110, 7]
    assert list(within_limits(state, np.array([-1.0, 1.0]), [95, 7])) == [95, 7]
    assert list(within_limits(state, np.array([-1.0, 1.0]), [85, 7])) == [90, 7]


def test_a_limit_ends_with_a_bar_that_closes_inside_and_is_told_once() -> None:
    run = world()
    state = run.shell.state
    close = int(run.bars.close_nano[0, 0])
    said = texts(step(state, Limited(1, 0, close - 10**9, close)))
    assert len(said) == 1
    assert "no order goes beyond" in said[0]
    assert step(state, Limited(2, 0, close - 2 * 10**9, close)) == ()
    assert thaw(state.rules, freeze(state)).restrictions.limited == {0: (close - 2 * 10**9, close)}
    assert texts(taken(state, bar(run, 0))) == [], "it closed at the limit"
    step(state, Limited(3, 0, close - 10**9, close + 1))
    assert texts(taken(state, bar(run, 0))) == ["the price is inside its limits again"]
    assert state.restrictions.limited == {}


def test_a_persons_halt_and_the_dust_of_fees_are_carried_into_another_run() -> None:
    state = world().shell.state
    step(state, Halted(5, 1, True, "earnings", "ann"))
    state.venue.dust = {0: 7}
    names = [agent.name for agent in state.rules.agents]
    account = carry_of(freeze(state), state.universe, names, simulated=True)
    other = world().shell.state
    step(other, Carried(9, "run00001", account))
    assert other.restrictions.halted == {1: (5, "by hand: ann: earnings")}
    assert other.venue.dust == {0: 7}
