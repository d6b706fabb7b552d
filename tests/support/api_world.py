"""A run that is held at the end of its market, with its API, and requests to it."""

import asyncio
import contextlib
import time

import aiohttp
import pytest
import pytest_asyncio

from quantd.adapters.bus.messages import Composer
from quantd.adapters.store.handle import Store
from quantd.daemon.assembly.job_records import JobContext
from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.config import load
from quantd.daemon.jobs.job_lanes import JobLanes, works_of
from quantd.daemon.recovery.start import begin
from quantd.daemon.runtime.alert_filter import AlertFilter
from quantd.daemon.runtime.committed_folds import BatchMessages
from quantd.daemon.runtime.feeder import feed_recorded
from quantd.daemon.runtime.journal import Journal
from quantd.daemon.runtime.service import Service
from quantd.daemon.runtime.timeline import instants
from quantd.server.api.server import Api
from tests.support.command_line import CONFIG, write

RUN = "7f3k2m1a"
RATES = "rate = { reads = 10000, reads_burst = 100000, posts = 10000, posts_burst = 100000 }\n"
"""More than the tests of one world ask for."""


class World:
    """A run that is held at the end of its market, and its API on a free port."""

    def __init__(self, folder, text=CONFIG):
        self.folder = folder / "state"
        self.config = load(write(folder, text), known_names())
        self.published = []
        self.assembly = assemble(self.config, cache=self.folder / "cache", places=True)
        self.store = Store.open(self.folder)
        names = [a.name for a in self.config.agents]
        projection = self.store.begin(RUN, self.assembly.universe, agents=names, ts=time.time_ns())
        journal = Journal()
        shell = self.assembly.shell(journal)
        self.service = Service(
            shell,
            journal,
            self.store,
            projection,
            config=self.config,
            run=RUN,
            state_folder=self.folder,
            alerts=AlertFilter(("CRITICAL",), 60, "", "UTC"),
            messages=BatchMessages(
                Composer(RUN, "paper", self.assembly.universe, names),
                lambda states, entries: self.published.extend(states),
                lambda message: None,
            ),
        )
        begin(shell, self.assembly, self.config, RUN, fresh=True)
        works = works_of(JobContext(self.service, self.assembly, self.folder, self.folder))
        self.lanes = JobLanes(self.service, self.assembly, works)
        address = "mqtt://127.0.0.1:1"
        self.api = Api(self.service, self.assembly, self.config, self.folder, None, address, self.lanes)
        self.token = (self.folder / "token").read_text().strip()

    @property
    def bearer(self):
        return {"Authorization": f"Bearer {self.token}"}


@contextlib.asynccontextmanager
async def standing_at_the_end(folder, text=CONFIG, kind=World):
    """A world whose market has ended, answering."""
    world = kind(folder, text)
    await world.api.start()
    stepping = asyncio.create_task(world.service.step_forever())
    await feed_recorded(world.service, instants(world.assembly.items()), "fast", "wait")
    # the inbox is empty before its last chunk has been stepped, and only the loop that steps may commit
    feed, service = world.assembly.feed, world.service
    while service.shell.ts < feed.last_ts or world.store.last_seq(RUN) < service.journal.seq:
        await service.changed(0.05)
    # a connection is not kept: the loop stands between two tests that share it, and the server closes what was idle
    async with aiohttp.ClientSession(world.api.url, connector=aiohttp.TCPConnector(force_close=True)) as session:
        world.session = session
        yield world
    world.service.shell.stopped = "the test is over"
    await stepping
    await world.api.stop()
    world.store.close()


def standing(text=CONFIG):
    """A fixture: a world of one test under this configuration."""

    @pytest.fixture
    async def standing_world(tmp_path):
        async with standing_at_the_end(tmp_path, text) as world:
            yield world

    return standing_world


def standing_shared(text):
    """A fixture: one world of a module under this configuration."""

    @pytest_asyncio.fixture(scope="module", loop_scope="module")
    async def standing_world(tmp_path_factory):
        async with standing_at_the_end(tmp_path_factory.mktemp("shared"), text) as world:
            yield world

    return standing_world


world = standing()
shared = standing_shared(CONFIG + RATES)
"""For the tests of a module that change nothing in it."""

in_shared_loop = pytest.mark.asyncio(loop_scope="module")
"""Of a test with `shared`."""


async def get(world, path, **kwargs):
    async with world.session.get(path, **kwargs) as response:
        return response.status, await response.json()


async def command(world, body, headers=None):
    async with world.session.post("/api/v1/commands", json=body, headers=headers) as response:
        return response.status, await response.json()


async def raw(world, request: bytes) -> tuple[int, bytes]:
    """The answer to bytes that no client library would send: its status, and all of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(world.api.url.rsplit(":", 1)[1].strip("/")))
    writer.write(request)
    text = await asyncio.wait_for(reader.read(4096), 60)
    writer.close()
    return int(text.split(b" ")[1]), text
