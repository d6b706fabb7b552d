"""A reload reads the configuration in a thread, so that a file system that hangs stops neither trading nor the API."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from quantd.daemon.assembly.names import known_names
from quantd.daemon.config import Config, read
from quantd.daemon.monitoring.signals import reload
from tests.support.api_world import World, standing
from tests.support.command_line import CONFIG

world = standing()


async def test_the_api_answers_while_a_configuration_is_read(world: World) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def read() -> Config:
        begun.set()
        assert go_on.wait(20), "nobody could answer"
        return world.config

    reloading = asyncio.ensure_future(reload(world.service, read, world.assembly))
    await asyncio.to_thread(begun.wait, 20)
    async with world.session.get("/health") as response:
        assert response.status == 200
    assert not reloading.done()
    go_on.set()
    assert await reloading == []


def edited(*pairs: tuple[str, str]) -> Callable[[], Config]:
    """A configuration with these texts replaced."""
    text = CONFIG
    for before, after in pairs:
        assert before in text
        text = text.replace(before, after, 1)
    return lambda: read(text, known_names())


async def settled(world: World) -> None:
    for _ in range(100):
        if world.service._committed == world.service.journal.seq and not len(world.service.inbox):
            return
        await world.service.changed(0.1)


def open_now(world: World) -> list[str]:
    return [incident.text for incident in world.service.incidents.active() if incident.kind == "job_config"]


@pytest.mark.long
async def test_a_key_that_may_not_change_is_told_until_it_agrees_and_holds_up_no_tighter_limit(world: World) -> None:
    service = world.service
    both = ("max_drawdown = 0.25", "max_drawdown = 0.10"), ("capital = 0.5", "capital = 0.4")
    line = CONFIG.splitlines().index("capital = 0.5") + 1
    refused = await reload(service, edited(*both), world.assembly)
    await settled(world)
    assert service.shell.state.rules.house.max_drawdown == 0.10
    (mistake,) = refused
    assert (mistake.line, service.config.agents[0].capital) == (line, 0.5)
    (text,) = open_now(world)
    assert f":{line}: " in text
    assert "capital = 0.4 is not in force, 0.5 is" in text
    async with world.session.get("/api/v1/status") as response:
        assert (await response.json())["differs"] == [str(mistake)]
    async with world.session.get("/api/v1/config") as response:
        rows = {row["key"]: row for row in (await response.json())["settings"]}
    assert rows["risk.max_drawdown"]["value"] == 0.10
    assert rows["agents[0].capital"]["value"] == 0.5
    assert f"{line} is not in force" in rows["agents[0].capital"]["source"]
    # a looser limit alone: told too, and what was tightened stays
    await reload(service, edited(("max_drawdown = 0.25", "max_drawdown = 0.3")), world.assembly)
    await settled(world)
    assert service.shell.state.rules.house.max_drawdown == 0.10
    (text,) = open_now(world)
    assert "max_drawdown = 0.3 may be looser than the present value, 0.1" in text
    # a file that cannot be read
    await reload(service, edited(("max_drawdown = 0.25", 'max_drawdown = "x"')), world.assembly)
    await settled(world)
    assert len(open_now(world)) == 1
    # the file of the first edit, without the key that may not change
    assert await reload(service, edited(both[0]), world.assembly) == []
    await settled(world)
    assert open_now(world) == []
    assert service.differs == []
