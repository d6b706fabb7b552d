"""A copy of an account for hostile calls: configuration, limits and state in a folder of its own, without network.

What can go wrong: a call reaches the running daemon, its files or a venue. So the store is read once. The copy has
tokens of its own, the paper broker, recorded bars, and no message bus and no alert sink.
"""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from aiohttp import web

from quantd.adapters.listener import is_loopback
from quantd.adapters.store.handle import Store
from quantd.adapters.store.lock import ARCHIVES, FILE, HEAD
from quantd.adapters.store.store_errors import StoreError
from quantd.adapters.store.upkeep.backup import CONFIGS, backup
from quantd.bundled import find
from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import Assembly, assemble
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.places import Place
from quantd.daemon.config import Config, read
from quantd.daemon.config.agent_tables import Agent
from quantd.daemon.policies.isolation.worker import Apart
from quantd.daemon.recovery.stored_run import CannotStart, new_run, same_run, with_record
from quantd.daemon.runtime.service import Service
from quantd.daemon.runtime.timeline import Item, instants
from quantd.server.api import server
from quantd.server.api.access.keyring import Keyring
from quantd.server.api.run_reader import RunReader
from quantd.server.cli.operate.agent import with_agent
from quantd.server.cli.setup.rehearsal import serving
from quantd.server.gateway.alpaca import Gateway
from quantd.trading.events import Tick
from quantd.trading.exit_codes import CONFIG

ADDED: Final = "redteam"
"""Name of the agent of the copy where the configuration has no outside agent."""

NEIGHBOUR: Final = "neighbour"
"""Name of an outside agent on paper that the copy has beside it, whose texts nobody else may read."""

SAMPLES: Final = 20
"""Samples of a new account before the first call, so that the other agents hold positions."""

BUNDLED: Final = {True: "data/crypto_daily.parquet", False: "data/us20_daily.parquet"}
"""Bars in place of a live feed: for markets that never close, and for all others."""


RATES: Final = {"reads": 10_000, "reads_burst": 10_000, "posts": 10_000, "posts_burst": 10_000}
"""Requests of the copy; the rate of proposals is that of the configuration."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy that answers: `origin` says what it is a copy of, `rest` has the instants of its market that follow."""

    service: Service
    api: server.Api
    gateway: str
    folder: Path
    agent: str
    origin: str
    rest: Iterator[list[Item]]

    async def go(self, samples: int = 1) -> None:
        """Step the market until its agents could decide so many times; to its end at most."""
        for instant in self.rest:
            await self.service.inbox.put([instant])
            last = instant[-1]
            samples -= isinstance(last, Tick) and last.sample and not last.warmup
            if samples <= 0:
                break
        await self.service.drained()


def subject(file: Path, sets: tuple[str, ...], config: Config, name: str) -> tuple[Config, str]:
    """(Configuration with the outside agent to be tried, its name): `name`, else the first one that trades, else a new
    one as `quantd agent add` makes it. Raises Failure for a name that is no outside agent.
    """
    outside = [agent.name for agent in (*config.agents, *config.shadows) if agent.policy == "external"]
    if name and name not in outside:
        there = f"; the outside agents are {', '.join(outside)}" if outside else ""
        raise Failure(f"{file} has no outside agent {name!r:.80}{there}; leave --agent out to try a new one", CONFIG)
    if outside:
        return config, name or outside[0]
    text, _ = with_agent(file, ADDED, 0.2, None, {})
    return read(text, known_names(), file=str(file), folder=file.parent, environ=os.environ, sets=sets), ADDED


def offline(config: Config, folder: Path) -> Config:
    """The configuration of a copy: paper broker, recorded bars, and no bus, sink, TLS or port of the daemon."""
    document, api = config.document, config.api
    reads = api.open_reads and is_loopback(api.host)
    changes: dict[str, object] = {
        "api": type(api)(port=0, open_reads=reads, rate=api.rate.model_copy(update=RATES)),
        "bus": type(document.bus)(port=0),
        "store": type(document.store)(),
        "alerts": type(document.alerts)(),
        "broker": config.broker.model_copy(update={"kind": "paper", "venue": "", "url": ""}),
    }
    if config.feed.kind != "replay":
        start = date(2019, 1, 2)
        feed = {"kind": "replay", "path": str(_bars(config, folder)), "stamps": "session", "start": start, "end": None}
        feed |= {"interval_ns": 86_400 * 10**9, "actions": "", "exceptions": "", "fallback": (), "build_from": ""}
        changes["feed"] = config.feed.model_copy(update=feed | {"jumps": "real", "holes": "known", "spikes": "real"})
        changes["execution"] = type(document.execution)()
    return Config(document.model_copy(update=changes), config.source)


def _bars(config: Config, folder: Path) -> Path:
    """Write bundled daily bars under the names of the symbols of a live feed, in the order of both."""
    import polars as pl

    bars = pl.read_parquet(find(BUNDLED[config.universe.calendar == "24/7"]))
    names = sorted(bars["symbol"].unique())
    of_symbol = [
        bars.filter(pl.col("symbol") == names[k % len(names)]).with_columns(pl.lit(symbol).alias("symbol"))
        for k, symbol in enumerate(config.universe.symbols)
    ]
    path = folder / "bars.parquet"
    pl.concat(of_symbol).sort("ts", "symbol").write_parquet(path)
    return path


def _with_neighbour(config: Config) -> Config:
    """The configuration with one more outside agent, on paper: it takes no capital of others."""
    neighbour = Agent(name=NEIGHBOUR, policy="external", capital=0.2, shadow=True)
    agents = (*config.document.agents, neighbour)
    return Config(config.document.model_copy(update={"agents": agents}), config.source)


def _stored(config: Config, where: Place, folder: Path) -> str:
    """Copy the store of a run into the folder; the reason why it is not copied, empty where it is."""
    if config.feed.kind != "replay":
        return "its market is live, and positions are not carried to other prices"
    if not where.folder.exists():
        return "there is no run yet"
    try:
        if where.store != where.folder or (where.folder / f"{FILE}-wal").exists():
            backup(where.store, where.folder, folder)
            return ""
        # no daemon writes: SQLite would put files beside a store that it opens
        folder.mkdir(mode=0o700)
        for name in (FILE, HEAD):
            shutil.copyfile(where.folder / name, folder / name)
        for name in (CONFIGS, ARCHIVES):
            if (where.folder / name).is_dir():
                shutil.copytree(where.folder / name, folder / name)
    except (OSError, StoreError) as why:
        return f"its store cannot be copied: {why}"
    return ""


@asynccontextmanager
async def copied(config: Config, where: Place, agent: str, temporary: Path) -> AsyncIterator[Copy]:
    """Start the copy of an account in a temporary folder, with the state of its run if that can be taken over.

    Else it is a new account of the same configuration. Raises Failure.
    """
    folder = temporary / "state"
    why = "no outside agent is configured" if agent == ADDED else _stored(config, where, folder)
    config = offline(config, temporary)
    if not why:
        try:
            async with _started(config, folder, agent, "") as copy:
                yield copy
                return
        except CannotStart as error:
            why = str(error)
    async with _started(_with_neighbour(config), temporary / "new", agent, f"a new account: {why}") as copy:
        yield copy


@asynccontextmanager
async def _started(config: Config, folder: Path, agent: str, new: str) -> AsyncIterator[Copy]:
    """Start a service with its API and gateway in a folder; with a text `new` a new run, which `new` explains.

    Raises CannotStart where the run in the folder does not go on under this configuration.
    """
    parts = assemble(config, cache=folder / "cache", isolation=Apart(folder), places=True)
    with Store.open(folder) as store:
        run = new_run()
        if not new:
            recorded, run = with_record(parts, store), store.current_run() or ""
            if not run or not isinstance(recorded, Assembly):
                raise CannotStart("there is no run yet")
            parts = recorded
            same_run(parts, store, run)
        async with serving(config, parts, store, folder, run, fresh=bool(new), jobs=True) as (service, api):
            gateway = Gateway(
                RunReader(service, parts, config, folder), Keyring(folder, "token", service.alert, notes=False)
            )
            await gateway.rebuild()
            runner = web.AppRunner(gateway.application(), access_log=None, handle_signals=False)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            address, origin = f"http://127.0.0.1:{runner.addresses[0][1]}", new or f"run {run} at its last step"
            copy = Copy(service, api, address, folder, agent, origin, instants(parts.items(), service.shell.ts))
            try:
                if new:
                    await copy.go(SAMPLES)
                yield copy
            finally:
                await runner.cleanup()
