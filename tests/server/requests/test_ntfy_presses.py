"""Buttons of ntfy: a press publishes its code as the app does, and takes risk away once."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from quantd.adapters.sinks.ntfy import Ntfy, NtfyOptions
from quantd.risk.switch import HALT, RUN
from quantd.server.requests import buttons
from quantd.server.requests.ntfy_presses import NtfyPresses
from tests.server.requests.command_desk import Watched, happened
from tests.support.api_world import World, standing_at_the_end
from tests.support.sink_servers import ALERT, NtfyServer


class Desk(Watched):
    """A daemon at the end of its market, the server of its topics, and the phone that follows them."""

    def __init__(self, world: World, server: NtfyServer, sink: Ntfy) -> None:
        self.world, self.server, self.sink = world, server, sink

    async def actions(self, **change: Any) -> dict[str, dict[str, Any]]:
        """Deliver an alert; label -> action of its buttons."""
        await self.sink.deliver(replace(ALERT, **change))
        return {action["label"]: action for action in json.loads(self.server.headers[-1].get("Actions", "[]"))}

    async def press(self, action: dict[str, Any], within_s: float = 10.0) -> str:
        """Do what the app does for an action of the kind http; the answer of the daemon, empty for none."""
        before = len(self.said())
        async with aiohttp.ClientSession() as phone, phone.post(action["url"], data=action["body"]) as response:
            assert response.status == 200
        return self.said()[-1] if await happened(lambda: len(self.said()) > before, within_s) else ""

    def said(self) -> list[str]:
        return [each["message"] for each in self.server.heard if each["topic"] == "alerts"]


@asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[Desk]:
    server = NtfyServer()
    await server.start()
    page = "https://quantd.example"
    sink = Ntfy(NtfyOptions("alerts", server.url, answers="presses", page=page), {"ntfy_token": ""})
    async with standing_at_the_end(folder) as world:
        following = asyncio.create_task(NtfyPresses(world.service, sink).run())
        await asyncio.sleep(0.1)
        yield Desk(world, server, sink)
        following.cancel()
    await sink.close()
    await server.stop()


async def test_a_press_halts_once_and_the_answer_is_in_the_topic_of_alerts(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        actions = await at.actions(level="CRITICAL")
        assert list(actions) == ["Reduce only", "Halt all"]
        assert at.server.headers[-1]["Click"] == "https://quantd.example"
        assert "Authorization" not in json.dumps(actions), "a login would be readable by all who follow the topic"
        assert "Done by ntfy presses: halt." in await at.press(actions["Halt all"])
        assert at.switch == HALT
        assert [(event.command, event.who) for event in at.operators()] == [("halt", "ntfy presses")]
        assert "over" in await at.press(actions["Halt all"])
        assert len(at.operators()) == 1
        assert await at.press(actions["Halt all"], 0.5) == "", "a flood is answered once a minute"


async def test_a_notification_has_at_most_three_buttons_and_keeps_the_halt(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        name = at.world.service.shell.state.rules.names()[0]
        at.world.service.alert("the feed is away", "feed")
        await happened(lambda: bool(at.world.service.incidents.active()))
        (incident,) = at.world.service.incidents.active()
        actions = await at.actions(agent=name, state="raised", incident=incident.id)
        assert list(actions) == ["Acknowledge", f"Pause {name}", "Halt all"]
        assert await at.actions(state="cleared", incident=incident.id) == {}


@pytest.mark.parametrize("threat", ["an old message", "a forged code", "a code of before the start", "no code"])
async def test_what_must_not_act_does_not_act(tmp_path: Path, threat: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if threat == "an old message":
        monkeypatch.setattr(buttons, "LASTS_S", -1.0)
    async with desk(tmp_path) as at:
        action = (await at.actions(level="CRITICAL"))["Halt all"]
        if threat == "a forged code":
            action["body"] = action["body"][:-1] + ("A" if action["body"][-1] != "A" else "B")
        if threat == "a code of before the start":
            action["body"] = "0" * 22
        if threat == "no code":
            action["body"] = "\N{BOMB}" * 1_000
        assert await at.press(action) == buttons.OVER
        assert (at.switch, at.operators()) == (RUN, [])
