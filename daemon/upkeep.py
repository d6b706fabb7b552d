"""What schedules ask to be done to the store beside trading: backups and compaction, in a thread, after the commit in which they
came due. One that fails raises an alert and stops nothing."""

import asyncio
import time
from pathlib import Path
from typing import Final

import structlog

from adapters.store.backup import backup
from adapters.store.compaction import Keep
from adapters.store.errors import StoreError
from adapters.store.store import Store
from daemon.config import Config
from daemon.inbox import InboxFull
from daemon.service import Service
from trading.events import Condition

log = structlog.get_logger("quantd.upkeep")

PACE_S: Final = 1.0
"""Least time between two jobs: while a recorded market is caught up with, many come due at once."""

BACKUPS: Final = "backups"
"""Where backups lie in the state folder, unless [store] backups names another place."""

_PREFIX: Final = "scheduled-"


def keep_of(config: Config) -> Keep:
    """What compaction leaves where it is."""
    said = config.store
    return Keep(said.keep_days, said.alerts_days, said.equity_days, said.orders_days)


class Upkeep:
    """Of one service. `where` is the state folder or a URL."""

    def __init__(self, service: Service, store: Store, folder: Path, where: str | Path) -> None:
        self._service = service
        self._store = store
        self._folder = folder
        self._where = where
        self._done = 0.0

    async def run(self) -> None:
        """Do what is due until the service has stopped, and what is due then."""
        while not self._service.over:
            await self._service.changed(0.5)
            if self._service.upkeep and time.monotonic() - self._done >= PACE_S:
                await self._do_due()
        await self._do_due()

    async def _do_due(self) -> None:
        # a backup first: it holds what compaction moves
        jobs = sorted(self._service.upkeep)
        self._service.upkeep.clear()
        for job in jobs:
            began = time.monotonic()
            try:
                said = await asyncio.to_thread(self._back_up if job == "backup" else self._compact)
            except (StoreError, OSError) as why:
                log.error("upkeep.failed", job=job, error=str(why))
                self._alert(f"{job} failed: {why}")
            else:
                log.info("upkeep", job=job, done=said, seconds=round(time.monotonic() - began, 3))
            self._done = time.monotonic()

    def _alert(self, text: str) -> None:
        if self._service.over:
            return  # nothing is journalled any more: the log has it
        try:
            self._service.inbox.command(Condition(self._service.shell.state.now, "upkeep", False, text[:500]))
        except InboxFull:
            log.error("upkeep.unheard", text=text)

    def _back_up(self) -> str:
        config = self._service.config
        place = config.at(config.store.backups) if config.store.backups else self._folder / BACKUPS
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        target = place / f"{_PREFIX}{config.quantd.name}-{stamp}.tar"
        backup(self._where, self._folder, target)
        # only now that a newer one is complete and checked
        mine = sorted(place.glob(f"{_PREFIX}{config.quantd.name}-????????T??????Z.tar"))
        for old in mine[: -config.store.keep_backups]:
            old.unlink()
        return str(target)

    def _compact(self) -> str:
        config = self._service.config
        done = self._store.compact(keep_of(config), config.at(config.store.archives) if config.store.archives else None)
        return f"{done.rows} rows into {len(done.files)} archives"
