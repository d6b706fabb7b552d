"""A run with an agent that decides outside, and the proposals that it has journalled."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from quantd.daemon.engine.agents.promotion import exchange_policies
from quantd.daemon.runtime.feeder import feed_recorded
from quantd.daemon.runtime.timeline import instants, time_of
from quantd.trading.codec import decode
from quantd.trading.events import Proposed
from tests.support.api_world import RUN, World, standing
from tests.support.command_line import CONFIG

OUTSIDE = (
    CONFIG.replace("capital = 0.4", "capital = 0.3")
    .replace("[risk]", "[risk]\nallow_short = true")
    .replace(
        "[[schedules]]",
        """[[agents]]
name = "guest"
policy = "external"
capital = 0.3
shadow = true
challenges = "trend"
limits = { max_position_weight = 0.5 }
[promotion]
samples = 40
[[schedules]]
name = "compare"
do = "promote"
cron = "0 16 * * fri"
[[schedules]]""",
        1,
    )
    + "rate = { proposals = 90 }\n"
)


world = standing(OUTSIDE)


def journalled(world: Any) -> list[Any]:
    return [event for _, data in world.store.entries(RUN, 1) if isinstance(event := decode(data).event, Proposed)]


def promote(world: Any) -> None:
    """Exchange the policies of the guest and its champion, as the promotion test does."""
    exchange_policies(world.service.shell.state, 0, 1)


REVIEWED = OUTSIDE.replace('policy = "external"', 'policy = "external"\napproval = "person"', 1)


class Market(World):  # type: ignore[misc]
    """A world whose market stands, and goes on by whole instants."""

    async def go(self, count: int) -> None:
        """Feed the next instants, and wait until they are in the store."""
        part = [next(self.rest) for _ in range(count)]
        await feed_recorded(self.service, iter(part), "fast", "wait")
        while self.service.shell.ts < time_of(part[-1][-1]) or self.store.last_seq(RUN) < self.service.journal.seq:
            await self.service.changed(0.05)
        self.service.status = "running"


@asynccontextmanager
async def market(folder: Path, text: str = OUTSIDE, left: int = 40) -> AsyncIterator[Any]:
    """A world that answers so many instants before the end of its market."""
    world = Market(folder, text)
    await world.api.start()
    stepping = asyncio.create_task(world.service.step_forever())
    every = list(instants(world.assembly.items()))
    world.rest = iter(every)
    await world.go(len(every) - left)
    async with aiohttp.ClientSession(world.api.url, headers=world.bearer) as session:
        world.session = session
        yield world
    world.service.shell.stopped = "the test is over"
    await stepping
    await world.api.stop()
    world.store.close()
