"""`plan`: what would be traded now is what would be traded, and asking changes nothing."""

import numpy as np
import pytest

from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.parents import Execution
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.daemon.policies.loading import answer
from quantd.daemon.views.preview import PlanNow, plan_now
from quantd.risk.limits.catalogue import PROFILES, Limits, override
from quantd.trading.effects import Ask
from quantd.trading.events import Decided, Operator, Tick
from quantd.trading.execution import Costs
from quantd.trading.orders import OrderBasket
from tests.support.engine import Act, Plain, World, block, taken, walk
from tests.support.minutes import Minutes, at, drift, minutes

COSTS = Costs(commission_bp=2.0, spread_bp=4.0, slippage_bp=1.0)


def world(acts: list[Act] | None = None, **rules: object) -> World:
    acts = acts or [
        lambda view: np.array([0.5, 0.2, 0.0]) * (1.0 + 0.3 * np.sin(view.time)),
        lambda view: np.array([0.0, -0.2, 0.7]),
    ]
    limits = Limits(max_position_weight=0.3, collar=0.05, fee_bp=2.0)
    return World(
        block(walk(40, 3, 8)), acts, house=limits, agent=Limits(collar=0.05, fee_bp=2.0), costs=COSTS, **rules
    ).run()


def test_before_the_first_session_the_note_has_the_time_of_the_first_decision() -> None:
    run = world()
    first = 1_583_182_800 * 10**9
    fresh = freeze(State(run.rules))
    now = plan_now(run.rules, fresh, lambda ask: answer(run.policies[ask.agent], ask), COSTS, "run", first=first)
    assert now.note.endswith("no price to decide on. The first decision can be at 2020-03-02 16:00 New York")
    assert (now.ts, now.orders) == (0, [])


def quiet() -> World:
    """Agents that trade only what is worth it, so that nothing is on its way; now one wants something else."""
    run = world([lambda view: np.array([0.5, 0.2, 0.0]), lambda view: np.array([0.0, -0.2, 0.7])], min_trade=0.15)
    assert not run.shell.state.working
    run.policies[0] = Plain(lambda view: np.array([0.1, 0.2, 0.3]))
    return run


def planned(run: World, acts: list[Act] | None = None) -> PlanNow:
    policies = run.policies if acts is None else [Plain(act) for act in acts]
    state = run.shell.state
    return plan_now(state.rules, freeze(state), lambda ask: answer(policies[ask.agent], ask), COSTS, "run")


def worked(style: str, **limits: object) -> PlanNow:
    """The plan of a run whose orders are worked over time, or sent into an auction."""
    house = override(PROFILES["research"], **limits)
    acts = [lambda view: np.array([0.5, 0.2])]
    run = Minutes(minutes(drift(1, 2, 1)), acts, Execution(style=style), [], house=house)  # type: ignore[arg-type]
    for item in run.items():
        run.shell.take(item)
        if run.shell.state.now >= at(0, 100):
            break
    return planned(run)


def really(run: World) -> list[OrderBasket]:
    """The baskets of a tick at which every agent is asked, on a copy."""
    state = thaw(run.rules, freeze(run.shell.state))
    for book in state.activity.books:
        book.request.drop()
    baskets = []
    queue = list(taken(state, Tick(state.now, due=(0, 1))))
    for effect in queue:
        if isinstance(effect, Ask):
            queue.extend(taken(state, answer(run.policies[effect.agent], effect)))
        if isinstance(effect, OrderBasket):
            baskets.append(effect)
    return baskets


@pytest.mark.requirement("R-123", "R-133", "R-268", "F-41")
def test_the_plan_is_what_a_round_would_trade() -> None:
    run = quiet()
    now = planned(run)
    (basket,) = really(run)
    symbols = run.universe.symbols
    assert [(o.symbol, (1 if o.side == "buy" else -1) * int(o.qty)) for o in now.orders] == [
        (symbols[k], lots) for k, lots in zip(basket.sym, basket.lots, strict=True)
    ]
    assert now.orders
    assert any(cut.who == "house" and cut.reason == "position_weight" for cut in now.refused)
    for cut in now.refused:
        assert int(cut.allowed) < int(cut.asked)
        assert cut.text
    assert {row.limit for row in now.limits} >= {"max_position_weight", "cash"}
    for row in now.limits:
        if row.limit == "max_position_weight":
            assert row.after is not None
            assert row.after <= 0.3 + 1e-9


def test_costs_are_those_of_the_venue_at_the_last_price() -> None:
    run = quiet()
    now = planned(run)
    assert now.orders
    for order in now.orders:
        column = run.universe.index[order.symbol]
        value = int(order.qty) * float(run.shell.state.marks[column])
        assert order.value == pytest.approx(value)
        assert order.commission == pytest.approx(value * 2e-4, rel=1e-4)
        assert order.slippage == pytest.approx(value * 3e-4, rel=1e-6)
    assert now.value == pytest.approx(sum(o.value for o in now.orders))


def test_what_was_asked_a_moment_ago_is_no_duplicate_when_it_is_planned() -> None:
    act: Act = lambda view: np.array([0.3, 0.0, 0.0])  # noqa: E731
    limits = Limits(restricted=("S0",))
    run = World(block(walk(40, 3, 8)), [act], house=limits, agent=limits).run()
    assert run.shell.state.activity.repeated(0, run.shell.state.now, limits) is not None
    (cut,) = planned(run).refused
    assert (cut.who, cut.symbol, cut.reason, cut.most) == ("a0", "S0", "restricted", "0")


def test_what_waits_for_a_sale_is_named() -> None:
    limits = Limits(max_position_weight=1.0, collar=0.05)
    hold: Act = lambda view: np.array([0.7, 0.0, 0.0])  # noqa: E731
    run = World(block(walk(40, 3, 8)), [hold], house=limits, agent=limits, min_trade=0.05).run()
    run.policies[0] = Plain(lambda view: np.array([0.0, 0.7, 0.0]))
    now = planned(run)
    sold, *bought = now.orders
    (waits,) = now.refused
    assert (sold.symbol, sold.side) == ("S0", "sell")
    assert (waits.who, waits.symbol, waits.side, waits.reason) == ("a0", "S1", "buy", "sale")
    assert int(waits.allowed) == sum(int(order.qty) for order in bought)
    assert int(waits.asked) > int(waits.allowed)


def test_a_policy_that_fails_holds_and_says_why() -> None:
    def broken(view: object) -> object:
        raise ValueError("no idea")

    now = planned(world(), [broken, lambda view: np.zeros(3)])
    failed, other = now.answers
    assert "no idea" in failed.failed
    assert not other.failed
    assert not any("a0" in order.agents for order in now.orders)


def test_a_halted_house_asks_nobody() -> None:
    run = world()
    run.shell.run(Operator(run.shell.state.now, "halt", "lunch", "me"))
    asked: list[Ask] = []

    def note(ask: Ask) -> Decided:
        asked.append(ask)
        return answer(run.policies[ask.agent], ask)

    now = plan_now(run.rules, freeze(run.shell.state), note, COSTS, "run")
    assert now.switch == "HALT"
    assert "lunch" in now.note or "operator" in now.note
    assert (asked, now.orders, now.answers) == ([], [], [])


@pytest.mark.parametrize("style", ["chase", "twap", "vwap", "participation"])
def test_what_would_be_worked_is_told_whole(style: str) -> None:
    straight, by_parts = worked("marketable"), worked(style)
    assert [(o.symbol, o.side, o.qty, o.limit) for o in by_parts.orders] == [
        (o.symbol, o.side, o.qty, o.limit) for o in straight.orders
    ]
    assert [o.style for o in by_parts.orders] == [style, style]
    assert [o.style for o in straight.orders] == ["", ""]
    assert by_parts.value == straight.value
    assert [row.after for row in by_parts.limits] == [row.after for row in straight.limits]


def test_what_a_limit_cuts_of_the_whole_is_told_once() -> None:
    refused = worked("twap", max_position_weight=0.3).refused
    assert [(r.who, r.symbol, r.reason) for r in refused] == [
        (r.who, r.symbol, r.reason) for r in worked("marketable", max_position_weight=0.3).refused
    ]
    assert refused


def test_an_order_for_an_auction_is_named() -> None:
    assert [o.style for o in worked("close").orders] == ["close", "close"]
