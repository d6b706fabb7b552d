"""Backups and compaction of the store, beside trading, after the commit in which they are due."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quantd.adapters.store.handle import Store
from quantd.adapters.store.journal.compaction import Keep
from quantd.adapters.store.journal.job_runs import JobRun
from quantd.adapters.store.upkeep.backup import backup
from quantd.daemon.config import Config
from quantd.daemon.policies.model_folders import loaded_models
from quantd.daemon.runtime.service import Service
from quantd.regular_file import remove

BACKUPS: Final = "backups"
"""Folder of backups in the state folder, unless [store] backups names another one."""

_PREFIX: Final = "scheduled-"


def keep_of(config: Config) -> Keep:
    """The retention times of compaction."""
    table = config.store
    return Keep(table.keep_days, table.alerts_days, table.equity_days, table.orders_days)


@dataclass(frozen=True, slots=True)
class Upkeep:
    """Backups and compaction of one service's store. `where` is the state folder or a URL."""

    service: Service
    store: Store
    folder: Path
    where: str | Path

    async def work(self, run: JobRun) -> str:
        """Back up or compact in a thread; returns the result as text."""
        return await asyncio.to_thread(self._back_up if run.job == "backup" else self._compact)

    def _back_up(self) -> str:
        config = self.service.config
        place = config.at(config.store.backups) if config.store.backups else self.folder / BACKUPS
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        target = place / f"{_PREFIX}{config.quantd.name}-{stamp}.tar"
        backup(self.where, self.folder, target, models=loaded_models(self.service.shell.seats.all()))
        # after the new archive is complete and checked, so that a failed backup never removes a good older one
        mine = sorted(place.glob(f"{_PREFIX}{config.quantd.name}-????????T??????Z.tar"))
        for old in mine[: -config.store.keep_backups]:
            remove(old)
        return str(target)

    def _compact(self) -> str:
        config = self.service.config
        compaction = self.store.compact(
            keep_of(config), config.at(config.store.archives) if config.store.archives else None
        )
        return f"{compaction.rows} rows into {len(compaction.files)} archives"
