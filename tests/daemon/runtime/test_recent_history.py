"""What a daemon remembers of its past: never more than its bounds, and after a restart what the store has."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from quantd.adapters.store.last_state import Peak
from quantd.adapters.store.queries import Reader
from quantd.adapters.store.read_models import RiskPoint
from quantd.daemon.config.risk_tables import History
from quantd.daemon.runtime.recent_history import Histories
from quantd.daemon.runtime.timeline import instants
from quantd.trading.effects import AgentPlan, Assessed, Planned, Valued
from quantd.trading.events import Stopping
from tests.support.fold import by_handlers
from tests.support.service_kit import Kit, world

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
    equity = kit.shell.state.equity_micro
    assert again.peak.drawdown(equity) == before.peak.drawdown(equity)
    assert again.peak.ts == before.peak.ts > 0
    assert again.portfolio.newest(9_999) == before.portfolio.newest(9_999)
    assert again.allocations.newest(9_999) == before.allocations.newest(9_999)
    assert again.risk.newest(9_999) == before.risk.newest(9_999)
    assert again.sizes()[0] == min(bounds.portfolio, 60)
    assert again.sizes()[1] > 0


def test_the_peak_of_the_account_is_moved_by_no_resume_and_no_deposit() -> None:
    """100 -> 120 -> 90; a resume sets the mark of the limit to 90; 90 are paid in, and then all grows by a tenth."""
    peak = Peak()
    for ts, equity, of_the_limit in ((1, 100, 0.0), (2, 120, 0.0), (3, 90, 0.25), (4, 90, 0.0)):
        peak.add((ts, equity * 10**6, of_the_limit))
    assert peak.drawdown(90 * 10**6) == pytest.approx(0.25)
    peak.add((5, 90 * 10**6, None))
    assert peak.drawdown(180 * 10**6) == pytest.approx(0.25)
    peak.add((6, 198 * 10**6, 0.0))
    assert peak.drawdown(198 * 10**6) == pytest.approx(1.0 - (0.75 + 18 / 120))
    assert peak.ts == 2


def test_the_peak_begins_with_the_mark_before_the_first_valuation() -> None:
    peak = Peak([(1, 90 * 10**6, 0.1)])
    assert peak.drawdown(90 * 10**6) == pytest.approx(0.1)
    assert peak.ts == 0


def plans_of(kit: Kit, folder: Path) -> list[tuple[RiskPoint, RiskPoint]]:
    """Each plan as a daemon has it in memory, and as the store has it."""
    kit.store.close()
    plans = [point for point in kit.service.histories.risk.newest(9_999) if point.kind == "plan"]
    stored = [point for point in Reader.open(folder).risk() if point.kind == "plan"]
    assert [point.ts for point in plans] == [point.ts for point in stored]
    assert len(plans) > 0
    return list(zip(plans, stored, strict=True))


def has_all_limits(point: RiskPoint, kept: RiskPoint) -> bool:
    """Whether it has more than the store, whose limits it has too."""
    assert all(point.measures[key] == pytest.approx(pair) for key, pair in kept.measures.items())
    return "cash" in point.measures and kept.measures.keys() < point.measures.keys()


@pytest.mark.long
@pytest.mark.parametrize("handled", [False, True])
async def test_a_daemon_at_the_pace_of_its_market_has_all_limits_of_each_plan(tmp_path: Path, handled: bool) -> None:
    kit = Kit(tmp_path, world())
    if handled:
        by_handlers(kit.shell)
    service = kit.service

    async def paced() -> None:
        """Give each instant to the daemon once it has begun to commit the one before."""
        for instant in instants(kit.world.items(), kit.shell.ts):
            await service.inbox.put([instant])
            while len(service.inbox) or service._stepping:  # noqa: ASYNC110
                await asyncio.sleep(0)
        await service.inbox.put([[Stopping(service.shell.unsettled.now, False, "the end")]])

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(paced())
        await service.step_forever()
    assert all(has_all_limits(point, kept) for point, kept in plans_of(kit, tmp_path))


@pytest.mark.parametrize("handled", [False, True])
async def test_a_daemon_at_full_speed_has_all_limits_of_one_plan_of_a_commit(tmp_path: Path, handled: bool) -> None:
    kit = Kit(tmp_path, world())
    if handled:
        by_handlers(kit.shell)
    commits, commit = 0, kit.service.commit

    async def counted() -> None:
        nonlocal commits
        commits += 1
        await commit()

    kit.service.commit = counted  # type: ignore[method-assign]
    await kit.run()
    pairs = plans_of(kit, tmp_path)
    all_limits = [has_all_limits(point, kept) for point, kept in pairs]
    assert all_limits[0]
    assert sum(all_limits) <= commits
    assert all(point.measures == kept.measures or more for (point, kept), more in zip(pairs, all_limits, strict=True))
