"""Backups and compaction of the store, beside trading, after the commit in which they came due."""

import asyncio
import time
from pathlib import Path
from typing import Final

from quantd.adapters.store.handle import Store
from quantd.adapters.store.journal.compaction import Keep
from quantd.adapters.store.upkeep.backup import backup
from quantd.daemon.config import Config
from quantd.daemon.runtime.service import Service

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

    async def work(self, job: str, due: int) -> str:
        """Back up or compact in a thread; what was made."""
        return await asyncio.to_thread(self._back_up if job == "backup" else self._compact)

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
