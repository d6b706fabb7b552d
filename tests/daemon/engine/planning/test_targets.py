"""A change of position, and the open orders that it keeps or cancels."""

import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np

from quantd.daemon.engine.planning.plan import plan
from quantd.daemon.engine.planning.targets import hold_back, in_flight, withdraw
from quantd.daemon.engine.safety.monitor import watch_plan
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.open_orders import Cross
from quantd.trading.effects import Cancel
from quantd.trading.market import Floats
from quantd.trading.orders import OrderBasket
from tests.support.engine import OPEN, World, block


def test_a_thread_that_replays_rounds_changes_no_lots_of_the_engine() -> None:
    """A report replays while the engine plans: with arrays of all states, the lots of one in ten runs were others."""
    engine, report = (
        World(block(np.full((4, 3), 100.0)), [lambda view: np.zeros(3)], house=OPEN).run().shell.state for _ in range(2)
    )
    replayed, planned = np.array([0.0, 0.1, 0.5]), np.array([0.3, 0.2, 0.0])
    ended, before = Event(), sys.getswitchinterval()

    def lots(state: State, weights: Floats) -> list[list[int]]:
        effects = plan(state, {0: weights.tobytes()}, watch=watch_plan, sample=state.sample)
        state.working.clear()
        state.activity.books[0].forget()
        return [effect.lots for effect in effects if isinstance(effect, OrderBasket)]

    def replay() -> None:
        while not ended.is_set():
            lots(report, replayed)

    expected = lots(engine, planned)
    with ThreadPoolExecutor(1) as other:
        other.submit(replay)
        sys.setswitchinterval(1e-6)
        try:
            changes = [lots(engine, planned) for _ in range(1_000)]
        finally:
            sys.setswitchinterval(before)
            ended.set()
    assert expected == [[3_000, 2_000]]
    assert [change for change in changes if change != expected] == []


def test_only_the_open_orders_that_differ_from_the_new_change_are_cancelled() -> None:
    world = World(block(np.full((4, 3), 100.0)), [lambda view: np.zeros(3)], house=OPEN).run()
    state = world.shell.state
    plan(state, {0: np.array([0.3, 0.2, 0.0]).tobytes()}, watch=watch_plan, sample=state.sample)
    assert in_flight(state, 0).tolist() == [3_000.0, 2_000.0, 0.0]
    change, effects = hold_back(state, 0, np.array([3_000.0, 1_000.0, 500.0]))
    assert change.tolist() == [0.0, 0.0, 500.0]
    ((sample, n),) = state.working
    assert effects == [Cancel(sample, n, 1, state.now)]
    assert hold_back(state, 0, np.array([3_000.0, 1_000.0, 500.0]))[1] == [], "it is being cancelled"


def test_only_the_crosses_of_the_agent_in_these_symbols_are_dropped() -> None:
    state = World(block(np.full((4, 2), 100.0)), [lambda view: np.zeros(2)] * 3, house=OPEN).run().shell.state

    def cross(symbol: int, *shares: tuple[int, int]) -> Cross:
        return Cross(state.sample, state.now, symbol, list(shares), 105 * 10**9, 95 * 10**9, 0)

    own_cross, cross_of_others, elsewhere = (
        cross(0, (0, 5), (1, -5)),
        cross(0, (1, 5), (2, -5)),
        cross(1, (0, 5), (1, -5)),
    )
    state.crosses.keep([own_cross, cross_of_others, elsewhere])
    assert withdraw(state, 0, np.array([True, False])) == []
    assert list(state.crosses) == [cross_of_others, elsewhere]
