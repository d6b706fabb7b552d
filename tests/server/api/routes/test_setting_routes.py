"""/api/v1/settings: a limit, a share, a schedule or receivers, changed in file and run, which agree afterwards."""

import asyncio
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import limits_of_config
from quantd.daemon.config import load
from quantd.daemon.engine.state import Loosening
from quantd.daemon.engine.state.live_caps import LOOSEN_AFTER_NS
from quantd.daemon.engine.state.snapshot import in_force
from quantd.daemon.monitoring.signals import reload
from quantd.daemon.recovery.tightening import change_of_limits, limits_of, loosened
from quantd.server.api.access import keyring
from quantd.server.requests.tokens import created, rotated
from quantd.trading.events import Approved, Flow, Reloaded, Stopping
from quantd.trading.orders import money_text
from tests.server.requests.orders_by_hand import journalled
from tests.support.api_world import RATES, World, command, get, standing, standing_at_the_end
from tests.support.command_line import CONFIG

TEXT = CONFIG.replace("max_drawdown = 0.25", "max_drawdown = 0.25   # mine").replace(
    "capital = 0.5", "capital = 0.5\nlimits = { max_position_weight = 0.2 }   # of even"
)
REASON = {"reason": "a test"}


world = standing(TEXT + RATES)


async def post(world: World, body: dict[str, Any], token: str = "", key: str = "", to: str = "") -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token or world.token}"} | ({"Idempotency-Key": key} if key else {})
    async with world.session.post(f"/api/v1/settings{to}", json=body, headers=headers) as response:
        return response.status, await response.json()


async def approve(world: World, token: str) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"}
    async with world.session.post("/api/v1/limits/approve", json={"reason": "agreed"}, headers=headers) as response:
        return response.status, await response.json()


async def previewed(world: World, key: str, value: str) -> Any:
    status, change = await post(world, {"setting": key, "value": value}, to="/preview")
    assert status == 200, change
    return change


async def changed(world: World, key: str, value: str, token: str = "") -> tuple[int, Any]:
    """Preview a change and make it."""
    plan = (await previewed(world, key, value))["plan"]
    return await post(world, {"setting": key, "value": value, "plan": plan, **REASON}, token)


def text_of(world: World) -> str:
    return (world.folder.parent / "config.toml").read_text()


async def agrees(world: World) -> bool:
    """Whether a reload of the file finds that file and run agree."""
    file = world.folder.parent / "config.toml"
    return await reload(world.service, lambda: load(file, known_names()), world.assembly) == []


async def test_a_tighter_limit_is_in_force_at_once_and_the_comments_of_the_file_stay(world: World) -> None:
    settings = {each["key"]: each for each in (await get(world, "/api/v1/settings"))[1]["settings"]}
    line = TEXT.split("\n").index("max_drawdown = 0.25   # mine") + 1
    shown = settings["risk.max_drawdown"]
    assert (shown["kind"], shown["value"]) == ("limit", "0.25")
    assert shown["source"].endswith(f"config.toml:{line}")
    kinds = {key: each["kind"] for key, each in settings.items()}
    assert {"share", "schedule", "receiver"} <= set(kinds.values())
    assert not [key for key in kinds if key.startswith(("api", "broker", "feed", "store", "alerts.sinks", "approvals"))]
    change = await previewed(world, "risk.max_drawdown", "0.10")
    assert (change["takes"], change["looser"], change["needs"]) == ("now", [], "")
    assert text_of(world) == TEXT + RATES
    status, done = await changed(world, "risk.max_drawdown", "0.10")
    assert (status, done["before"], done["after"]) == (200, "0.25", "0.1")
    assert world.service.shell.state.rules.house.max_drawdown == 0.10
    assert text_of(world) == (TEXT + RATES).replace("max_drawdown = 0.25   #", "max_drawdown = 0.1    #")
    assert journalled(world, Reloaded)[-1].changed == ("risk.max_drawdown by api:owner: a test",)
    assert await agrees(world)
    assert world.service.differs == []
    # a key of an inline table, and a limit that the file did not have
    assert (await changed(world, "agents[0].limits.max_position_weight", "0.1"))[0] == 200
    assert "limits = { max_position_weight = 0.1 }   # of even" in text_of(world)
    assert (await changed(world, "agents.trend.limits.max_drawdown", "0.2"))[0] == 200
    assert world.service.shell.state.rules.agents[1].limits.max_drawdown == 0.2
    assert await agrees(world)


async def test_a_looser_limit_waits_in_every_mode_and_a_restart_or_a_tighter_one_does_not_end_the_wait(
    world: World,
) -> None:
    state = world.service.shell.state
    status, done = await changed(world, "risk.max_drawdown", "0.30")
    assert (status, done["takes"], done["looser"]) == (200, "delay", ["risk.max_drawdown"])
    assert state.rules.house.max_drawdown == 0.25
    assert state.loosening.due == state.loosening.since + LOOSEN_AFTER_NS
    assert "max_drawdown = 0.3 " in text_of(world)
    assert await agrees(world)
    assert "risk.max_drawdown" in (await get(world, "/api/v1/status"))[1]["loosening"]
    # a tighter one of the same agent is in force at once, and the looser one still waits
    status, done = await changed(world, "risk.max_position_weight", "0.2")
    assert (status, done["takes"], done["needs"]) == (200, "now", "")
    assert (state.rules.house.max_position_weight, state.rules.house.max_drawdown) == (0.2, 0.25)
    assert state.loosening.looser == ("risk.max_drawdown",)
    # the first steps of a restart, under the file
    file = load(world.folder.parent / "config.toml", known_names())
    rules = limits_of_config(world.assembly, file)
    assert loosened(limits_of(state), rules, file, state.loosening.limits) == []
    event = change_of_limits(state, rules, state.now, "c", ("limits",), limits_of(state))
    assert (event.later, event.due) == (state.loosening.limits, state.loosening.due)
    assert (await approve(world, world.token))[0] == 403, "the owner is no second person"


async def test_who_asks_for_a_looser_limit_does_not_approve_it(world: World) -> None:
    """On a recorded market, whose clock is years behind that of the tokens. A later change of another person does not
    make the first one a second person; one who only made a limit tighter is one."""
    ann, bob, eve = (created(world.folder, name, "admin")[1] for name in ("ann", "bob", "eve"))
    again = rotated(world.folder, "ann", overlap_ns=600 * 10**9)[1]  # a second secret of the same name, and as old
    await asyncio.sleep(keyring.CHECK_S)
    assert (await changed(world, "risk.max_drawdown", "0.30", ann))[0] == 200
    assert (await changed(world, "risk.max_drawdown", "0.35", bob))[0] == 200
    assert (await changed(world, "risk.max_position_weight", "0.2", eve))[0] == 200
    await asyncio.sleep(keyring.CHECK_S)
    state = world.service.shell.state
    for who in (ann, again, bob):
        status, answer = await approve(world, who)
        assert (status, answer["code"], "asked for the looser limits" in answer["detail"]) == (403, "second", True)
    newest = created(world.folder, "newest", "admin")[1]
    await asyncio.sleep(keyring.CHECK_S)
    status, answer = await approve(world, newest)
    assert (status, "made before they were requested" in answer["detail"]) == (403, True), answer
    assert state.rules.house.max_drawdown == 0.25
    assert (await approve(world, eve))[0] == 200
    assert state.rules.house.max_drawdown == 0.35


async def test_a_share_moves_cash_and_is_in_the_file(world: World) -> None:
    state = world.service.shell.state
    share = state.equity_of(0) / state.equity_micro
    status, done = await changed(world, "agents[0].capital", f"{share + 0.02:.4f}")
    assert (status, done["kind"], done["needs"]) == (200, "share", "admin")
    moved = [(each.agent, each.amount_micro) for each in journalled(world, Flow)][-2:]
    assert [agent for agent, _ in moved] == ["", "even"]
    assert sum(amount for _, amount in moved) == 0
    assert done["note"] == f"{money_text(moved[1][1])} of cash moves from the unallocated book to the agent, at once"
    assert state.equity_of(0) / state.equity_micro == pytest.approx(share + 0.02, abs=1e-4)
    assert tomllib.loads(text_of(world))["agents"][0]["capital"] == pytest.approx(share + 0.02, abs=1e-4)
    assert await agrees(world)
    before = text_of(world)
    status, answer = await post(world, {"setting": "agents[0].capital", "value": "0.99"}, to="/preview")
    assert (status, answer["code"]) == (422, "command"), "all shares together are more than one"
    assert "config.toml:" in answer["detail"]
    assert text_of(world) == before


async def test_what_receivers_get_is_in_force_and_a_schedule_restarts_the_daemon(world: World) -> None:
    same = {"setting": "alerts.levels", "value": '["INFO", "WARNING", "CRITICAL"]'}
    status, answer = await post(world, same, to="/preview")
    assert (status, "already" in answer["detail"]) == (422, True)
    status, _ = await changed(world, "alerts.levels", '["CRITICAL"]')
    assert status == 200
    assert not world.service._alerts.passes("WARNING", "limit")
    assert await agrees(world)
    status, done = await changed(world, "schedules[0].enabled", "false")
    assert (status, done["takes"]) == (200, "restart")
    assert "decides at every sample" in done["note"]
    for _ in range(100):
        if journalled(world, Stopping):
            break
        await asyncio.sleep(0.05)
    assert journalled(world, Stopping)[-1].reason == "a schedule is switched on or off"
    assert tomllib.loads(text_of(world))["schedules"][0]["enabled"] is False


async def test_a_repeated_key_changes_nothing_twice_and_a_halt_is_never_held_up(world: World) -> None:
    plan = (await previewed(world, "risk.max_drawdown", "0.2"))["plan"]
    body = {"setting": "risk.max_drawdown", "value": "0.2", "plan": plan, **REASON}
    first = await post(world, body, key="k-1")
    assert first[0] == 200
    assert await post(world, body, key="k-1") == first
    assert (await post(world, body | {"value": "0.1"}, key="k-1"))[0] == 422
    changes = [event for event in journalled(world, Reloaded) if event.changed and "risk" in event.changed[0]]
    assert len(changes) == 1
    async with world.service.reloading:
        assert (await command(world, {"command": "halt", "reason": "now"}, world.bearer))[0] == 200
    trade = created(world.folder, "desk", "trade")[1]
    await asyncio.sleep(keyring.CHECK_S)
    assert (await changed(world, "risk.max_drawdown", "0.15", trade))[0] == 200, "a tighter limit needs no more"


async def test_only_an_admin_token_from_before_approves(tmp_path: Path) -> None:
    async with standing_at_the_end(tmp_path, CONFIG) as world:
        scopes: dict[str, Any] = {"second": "admin", "trade": "trade"}
        secrets = {"owner": world.token} | {name: created(world.folder, name, scopes[name])[1] for name in scopes}
        await asyncio.sleep(keyring.CHECK_S)
        status, answer = await approve(world, secrets["second"])
        assert (status, "no looser limits wait" in answer["detail"]) == (409, True)
        state = world.service.shell.state
        state.loosening = Loosening(time.time_ns(), 2**62, in_force(state.rules), ("risk.max_drawdown",))
        secrets["later"] = created(world.folder, "later", "admin")[1]
        await asyncio.sleep(keyring.CHECK_S)
        assert (await get(world, "/api/v1/status"))[1]["loosening"].startswith("risk.max_drawdown from ")
        for who, status, code in (
            ("owner", 403, "second"), ("later", 403, "second"), ("trade", 403, "scope"), ("second", 200, ""),
        ):  # fmt: skip
            got, answer = await approve(world, secrets[who])
            assert (got, answer.get("code", "")) == (status, code), (who, answer)
            assert (state.loosening is None) == (status == 200)
        assert answer["looser"] == ["risk.max_drawdown"]
        approved = journalled(world, Approved)
        assert [(approval.reason, approval.who.split(":")[1]) for approval in approved] == [("agreed", "second")]
