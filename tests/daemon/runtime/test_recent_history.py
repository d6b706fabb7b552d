"""What a daemon remembers of its past: never more than its bounds, and after a restart what the store has."""

from pathlib import Path

import numpy as np
import pytest

from quantd.adapters.store.queries import Reader
from quantd.daemon.config.risk_tables import History
from quantd.daemon.runtime.recent_history import Histories
from quantd.trading.effects import AgentPlan, Assessed, Planned, Valued
from tests.daemon.runtime.test_service import Kit, world

DEFAULT = (10_000, 5_000, 5_000)


def planned(ts: int) -> Planned:
    nothing = bytes(16)
    part = AgentPlan(0, np.array([0.25, 0.5]).tobytes(), 0.9, nothing, nothing, bytes(2), {})
    return Planned(ts, 1, ts, [part], nothing, nothing, nothing, nothing, nothing, bytes(2), {}, {"var": (0.1, 0.2)})


@pytest.mark.requirement("R-159", "F-42")
@pytest.mark.long
def test_memory_is_bounded_by_10000_states_5000_assessments_and_5000_allocations() -> None:
    histories = Histories()
    for ts in range(1, 12_002):
        histories.add(ts, [Valued(ts, 10**12, 10**11, [10**12, 0], 0.9, 0.0), Assessed(ts, {"var": (0.1, 0.2)})])
    for ts in range(1, 6_002):
        histories.add(20_000 + ts, [planned(ts)])
    assert histories.sizes() == DEFAULT
    assert [p.ts for p in histories.portfolio.newest(2)] == [12_000, 12_001]
    assert histories.portfolio.newest(1)[0].equity_micro == 10**12
    assert histories.risk.newest(1)[0].kind == "plan"
    assert len(histories.portfolio.newest(20_000)) == 10_000


def test_the_bounds_are_those_of_the_configuration() -> None:
    histories = Histories(History(portfolio=3, risk=2, allocations=1))
    for ts in range(1, 9):
        histories.add(ts, [Valued(ts, 10**12, 0, [], 0.0, 0.0), planned(ts)])
    assert histories.sizes() == (3, 2, 1)
    (only,) = histories.allocations.newest(9)
    assert only.ts == 8
    assert [(agent, scale) for agent, _, scale in only.parts] == [(0, 0.9)]
    assert np.frombuffer(only.parts[0][1]).tolist() == [0.25, 0.5]


@pytest.mark.requirement("R-159")
@pytest.mark.parametrize("bounds", [History(), History(portfolio=20, risk=5, allocations=7)])
async def test_a_restart_remembers_what_the_store_has(tmp_path: Path, bounds: History) -> None:
    kit = Kit(tmp_path, world())
    kit.service.histories = Histories(bounds)
    await kit.run()
    kit.store.close()
    before = kit.service.histories
    again = Histories(bounds)
    again.read(Reader.open(tmp_path))
    assert again.sizes() == before.sizes()
    assert again.portfolio.newest(9_999) == before.portfolio.newest(9_999)
    assert again.allocations.newest(9_999) == before.allocations.newest(9_999)
    assert again.risk.newest(9_999) == before.risk.newest(9_999)
    assert again.sizes()[0] == min(bounds.portfolio, 60)
    assert again.sizes()[1] > 0


async def test_a_daemon_has_all_limits_of_a_plan_of_which_the_store_has_those_in_use(tmp_path: Path) -> None:
    kit = Kit(tmp_path, world())
    await kit.run()
    kit.store.close()
    plans = [point for point in kit.service.histories.risk.newest(9_999) if point.kind == "plan"]
    stored = [point for point in Reader.open(tmp_path).risk() if point.kind == "plan"]
    assert [point.ts for point in plans] == [point.ts for point in stored]
    assert len(plans) > 0
    for whole, kept in zip(plans, stored, strict=True):
        assert "cash" in whole.measures
        assert kept.measures.keys() < whole.measures.keys()
        assert all(whole.measures[key] == pytest.approx(pair) for key, pair in kept.measures.items())
