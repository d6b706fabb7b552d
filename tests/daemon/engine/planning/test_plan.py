"""A round: what crosses between agents, at which prices, and what waits for the proceeds of its own sales."""

import msgspec
import numpy as np
import pytest

from quantd.daemon.engine.planning.plan import plan
from quantd.daemon.engine.safety.monitor import watch_plan
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.risk.limits.catalogue import Limits, override
from quantd.trading.effects import Crossed, Planned
from quantd.trading.sessions import DAY_NS
from tests.support.engine import COLLARED, OPEN, START, Act, World, block


def swapped() -> list[Act]:
    """Two agents: the second takes over on day 2 what the first sells."""

    def seller(view: object) -> np.ndarray:
        return np.array([0.8 if (view.time - START) // DAY_NS < 2 else 0.0])  # type: ignore[attr-defined]

    def buyer(view: object) -> np.ndarray:
        return np.array([0.0 if (view.time - START) // DAY_NS < 2 else 0.8])  # type: ignore[attr-defined]

    return [seller, buyer]


def test_the_record_of_a_round_counts_each_crossed_lot_once() -> None:
    world = World(block(np.full((6, 1), 100.0)), swapped(), house=COLLARED).run()
    (crossed,) = world.of(Crossed)
    assert sorted(lots for _, lots in crossed.shares) == [-4_000, 4_000]
    recorded = [np.frombuffer(record.crossed, dtype="<i8").tolist() for record in world.of(Planned)]
    assert [lots for lots in recorded if any(lots)] == [[4_000]]


@pytest.mark.parametrize(("gap", "crosses"), [(1.01, True), (1.03, False), (0.99, True), (0.97, False)])
def test_agents_cross_at_no_price_beyond_the_collar_of_either(gap: float, crosses: bool) -> None:
    """The house permits 5 % from the last price, the agents 2 %."""
    closes = np.full((6, 1), 100.0)
    closes[3:] *= gap
    agent_limits = override(COLLARED, collar=0.02)
    world = World(block(closes, open_=closes), swapped(), house=COLLARED, agent=agent_limits).run()
    assert (int(world.bars.ts_open[3]) in [crossed.ts for crossed in world.of(Crossed)]) is crosses


def rotated(house: Limits, weight: float) -> tuple[State, bytes, Planned]:
    """Two agents without limits of their own sell what they hold, 0.9 of equity, for a weight of another symbol."""
    start = [lambda view: np.array([0.9, 0.0, 0.0])] * 2
    world = World(block(np.full((4, 3), 100.0)), start, house=house, agent=OPEN, follow_ups=2).run()
    state = world.shell.state
    assert state.ledger.house.lots == [9_000, 0, 0]
    other = np.array([0.0, weight, 0.0]).tobytes()
    (planned,) = [
        e for e in plan(state, {0: other, 1: other}, watch=watch_plan, sample=state.sample) if isinstance(e, Planned)
    ]
    return state, other, planned


def test_a_purchase_that_has_no_cash_waits_for_the_sale_of_the_same_decision() -> None:
    """The house may not owe cash, which the agents may: the purchases of both are bounded by the house's rule."""
    state, other, planned = rotated(Limits(), 0.9)
    # each has 50,000 of cash, and pays at most 105 for a lot
    assert np.frombuffer(planned.net, dtype="<i8").tolist() == [-9_000, 2 * 476, 0]
    assert planned.allowed == planned.net
    assert [np.frombuffer(agent.kept, dtype="<i8").tolist() for agent in planned.agents] == [[0, 4_500 - 476, 0]] * 2
    assert [bytes(agent.follow_up.weights) for agent in state.agents] == [other] * 2


def test_a_purchase_that_the_house_cut_waits_for_the_sale_of_the_same_decision() -> None:
    """Both positions would be too many for a limit of the house, which the agents do not have; cash is there."""
    state, other, planned = rotated(Limits(max_herfindahl=0.9), 0.04)
    assert np.frombuffer(planned.net, dtype="<i8").tolist() == [-9_000, 400, 0]
    assert not any(agent.kept for agent in planned.agents)
    # 0.9 squared of equity, less what the sale may lose, is above the limit until it has filled
    assert np.frombuffer(planned.allowed, dtype="<i8").tolist() == [-9_000, 0, 0]
    rests = [agent.follow_up for agent in state.agents]
    assert [(follow_up.sample, bytes(follow_up.weights), follow_up.used) for follow_up in rests] == [
        (state.sample, other, 0)
    ] * 2
    assert all(follow_up.waits() for follow_up in rests)
    kept = {"sample": state.sample, "weights": other, "used": 0}
    data = freeze(state)
    assert [agent[2] for agent in msgspec.msgpack.decode(data)["agents"]] == [kept] * 2
    assert [list(agent[2]) for agent in msgspec.msgpack.decode(data)["agents"]] == [["sample", "weights", "used"]] * 2
    again = thaw(state.rules, data)
    assert freeze(again) == data
    again.agents[1].follow_up.drop()
    assert msgspec.msgpack.decode(freeze(again))["agents"][1][2] is None


def test_a_list_that_asks_for_them_gets_the_gate_calls_of_a_round_the_house_last() -> None:
    world = World(block(np.full((4, 2), 100.0)), [lambda view: np.zeros(2)] * 2, house=OPEN).run()
    state = world.shell.state
    state.judged = []
    plan(
        state,
        {0: np.array([0.2, 0.0]).tobytes(), 1: np.array([0.0, 0.4]).tobytes()},
        watch=watch_plan,
        sample=state.sample,
    )
    assert [(call.book, call.asked.tolist()) for call in state.judged] == [
        (0, [1_000.0, 0.0]), (1, [0.0, 2_000.0]), (HOUSE, [1_000.0, 2_000.0]),
    ]  # fmt: skip
