"""Alarms of one's own: raised and cleared by the figures of the account, and changed while the daemon runs."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from quantd.daemon.config.alarm_bounds import Alarm, alarm_of
from quantd.daemon.monitoring.alarms import alarms, look, value_of
from quantd.daemon.recovery.replay import save_config
from tests.support.api_world import get, standing_at_the_end
from tests.support.command_line import CONFIG

ALARMS = ["equity > 1", "drawdown > 0.9", "price SPY < 1", "weight SPY > 0.0001", "day < -0.5"]


def alarm(text: str) -> Alarm:
    parsed = alarm_of(text)
    assert parsed is not None
    return parsed


async def raised(world: Any) -> list[tuple[str, str]]:
    """Level and kind of each alert of an alarm, in their order."""
    _, answer = await get(world, "/api/v1/alerts?limit=200&search=alarm")
    rows = reversed(answer["alerts"])
    return [(alert["level"], alert["kind"]) for alert in rows if alert["kind"].startswith("job_alarm_")]


async def until(world: Any, count: int) -> list[tuple[str, str]]:
    for _ in range(600):
        if len(alerts := await raised(world)) >= count:
            return alerts
        await world.service.changed(0.05)
    raise AssertionError(f"there are not {count} alerts: {alerts}")


async def change(world: Any, value: list[str]) -> None:
    """What the page does: look at a change, and send it."""
    asked = {"setting": "alerts.alarms", "value": str(value)}
    async with world.session.post("/api/v1/settings/preview", json=asked, headers=world.bearer) as response:
        saved = await response.json()
        assert (response.status, saved["takes"]) == (200, "now"), saved
    body = {**asked, "plan": saved["plan"], "reason": "a test"}
    async with world.session.post("/api/v1/settings", json=body, headers=world.bearer) as response:
        assert response.status == 200, await response.json()


@pytest.mark.long
async def test_an_alarm_is_an_incident_while_its_figure_is_beyond_the_bound(tmp_path: Path) -> None:
    text = CONFIG.replace("[bus]", '[alerts]\nalarms = ["equity > 1000000"]\n[bus]')
    async with standing_at_the_end(tmp_path, text) as world:
        save_config(world.folder, world.config, tmp_path / "config.toml", (), {})
        looking = asyncio.create_task(alarms(world.service))
        await change(world, ALARMS)
        kinds = ["job_alarm_equity_above_1", "job_alarm_weight_SPY_above_0_0001"]
        assert await until(world, 2) == [("WARNING", kind) for kind in kinds]
        _, active = await get(world, "/api/v1/alerts/active", headers=world.bearer)
        assert {incident["kind"] for incident in active["incidents"]} >= set(kinds)
        looking.cancel()
        look(world.service)  # as after a restart: what is open is not raised again
        await change(world, ["equity < 1"])
        look(world.service)
        assert await until(world, 4) == [*[("WARNING", kind) for kind in kinds], *[("INFO", kind) for kind in kinds]]
        _, active = await get(world, "/api/v1/alerts/active", headers=world.bearer)
        assert not {incident["kind"] for incident in active["incidents"]} & set(kinds)


@pytest.mark.long
async def test_the_figures_of_alarms_are_those_of_the_overview(tmp_path: Path) -> None:
    async with standing_at_the_end(tmp_path, CONFIG) as world:
        _, now = await get(world, "/api/v1/status")
        _, positions = await get(world, "/api/v1/positions")
    spy = next(row for row in positions["positions"] if row["symbol"] == "SPY")
    expected = {
        "equity > 1": float(now["equity"]), "drawdown > 0": now["drawdown"], "day > 0": now["today"],
        "price SPY > 1": float(spy["price"]), "weight SPY > 0": spy["weight"],
    }  # fmt: skip
    for text, value in expected.items():
        assert value_of(world.service, alarm(text)) == pytest.approx(value), text
    assert value_of(world.service, alarm("price NONE > 1")) is None
