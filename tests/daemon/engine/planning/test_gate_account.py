"""The account that the gate sees: its open orders count at their worst prices, with fees."""

import numpy as np
import pytest

from quantd.daemon.engine.planning.gate_account import account_of
from quantd.daemon.engine.planning.plan import plan
from quantd.daemon.engine.safety.monitor import watch_plan
from quantd.daemon.engine.state import HOUSE
from quantd.risk.limits.catalogue import override
from tests.support.engine import OPEN, World, block


def test_open_orders_may_lose_the_way_to_their_worst_price_and_the_fee() -> None:
    """A purchase of 1,000 lots at 105 at most, and a sale of 2,000 at 85 at least, at a mark of 100."""
    house = override(OPEN, fee_bp=10.0, collar=0.05, reduce_collar=0.15)
    world = World(block(np.full((4, 2), 100.0)), [lambda view: np.array([0.3, 0.0])], house=house).run()
    state = world.shell.state
    assert state.ledger.house.lots == [3_000, 0]
    plan(state, {0: np.array([0.1, 0.1]).tobytes()}, watch=watch_plan, sample=state.sample)
    (work,) = state.working.values()
    assert (list(work.lots), list(work.worst_nano)) == ([-2_000, 1_000], [85 * 10**9, 105 * 10**9])
    account = account_of(state, HOUSE)
    assert account.up is not None
    assert account.down is not None
    assert (account.up.tolist(), account.down.tolist()) == ([0.0, 1_000.0], [2_000.0, 0.0])
    assert account.up_cash == pytest.approx(1_000 * 105 * 1.001)
    assert account.open_loss == pytest.approx(1_000 * (105 * 1.001 - 100) + 2_000 * (100 - 85 * 0.999))
    assert account.open_gain == 0.0
