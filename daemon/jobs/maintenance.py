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
"""Folder of backups in the state folder, unless [store] backups names another folder."""

_PREFIX: Final = "scheduled-"
"""Start of the names of scheduled backups; a backup by hand has another name and is never deleted here."""


def keep_of(config: Config) -> Keep:
    """The retention times of the store's compaction, from [store]."""
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
        """Write a backup of the store, then delete the oldest archives beyond the configured number; returns the path
        of the backup.

        The archive contains the models that the policies have loaded.
        """
        config = self.service.config
        backup_folder = config.at(config.store.backups) if config.store.backups else self.folder / BACKUPS
        backup_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        target = backup_folder / f"{_PREFIX}{config.quantd.name}-{stamp}.tar"
        backup(self.where, self.folder, target, models=loaded_models(self.service.shell.seats.all()))
        # deleted only now, when the new archive is complete and checked: a failed backup must not cost an older one
        archives = sorted(backup_folder.glob(f"{_PREFIX}{config.quantd.name}-????????T??????Z.tar"))
        for archive in archives[: -config.store.keep_backups]:
            remove(archive)
        return str(target)

    def _compact(self) -> str:
        config = self.service.config
        compaction = self.store.compact(
            keep_of(config), config.at(config.store.archives) if config.store.archives else None
        )
        return f"{compaction.rows} rows into {len(compaction.files)} archives"
