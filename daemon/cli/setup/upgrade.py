"""Upgrade a store of an older version, after a backup. Does nothing when it is up to date."""

import time
from pathlib import Path
from typing import Annotated, Final

import typer

from quantd.adapters.store.errors import StoreFailing
from quantd.adapters.store.handle import for_reading
from quantd.adapters.store.lease import refuse_held
from quantd.adapters.store.lock import StateLock
from quantd.adapters.store.migrations.upgrade import Step, migrate, revision_of, steps_from
from quantd.adapters.store.tables.schema import REVISION
from quantd.adapters.store.upkeep.backup import backup
from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Json, Sets, State
from quantd.daemon.cli.output import print_json, progress, say
from quantd.daemon.cli.places import Place, place


def upgrade(
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    sets: Sets = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    as_json: Json = False,
) -> None:
    where = place(config, state, sets)
    revision, steps = _lacking(where)
    kept: Path | None = None
    if not as_json:
        _say_steps(where, revision, steps)
    if steps and not dry:
        kept = _upgraded(where, revision, as_json)
        if not as_json:
            say(f"the store is of revision {REVISION} now; the backup is {kept}")
    if as_json:
        print_json(
            {
                "from": revision,
                "to": REVISION,
                "steps": [{"revision": s.revision, "text": s.text} for s in steps],
                "done": bool(steps) and not dry,
                "backup": None if kept is None else str(kept),
            }
        )


def _lacking(where: Place) -> tuple[str, list[Step]]:
    _, connect, path = for_reading(where.store, where.folder)
    if path is not None and not path.exists():
        raise StoreFailing(f"{path}: there is no store here; `quantd run` makes one")
    driver = connect()
    try:
        revision = revision_of(driver)
    finally:
        driver.close()
    if not revision:
        raise StoreFailing(f"{where.folder}: there is no store in this database; `quantd run` makes one")
    return revision, steps_from(revision)


def _upgraded(where: Place, revision: str, as_json: bool) -> Path:
    """Backup, then the revisions, while no daemon can start here; where the backup is."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    target = where.folder / "backups" / f"before-{REVISION}-{stamp}.tar"
    lock = StateLock(where.folder)
    try:
        _, connect, path = for_reading(where.store, where.folder)
        if revision >= "0003":  # from here on there are leases
            driver = connect()
            try:
                refuse_held(driver, lock.seat if path is None else "beside")
            finally:
                driver.close()
        target.parent.mkdir(exist_ok=True, mode=0o700)
        with progress("backup", shown=not as_json) as bar:
            backup(where.store, where.folder, target, bar)
        migrate(path or str(where.store))
    finally:
        lock.release()
    return target


def _say_steps(where: Place, revision: str, steps: list[Step]) -> None:
    if not steps:
        say(f"{where.folder}: the store is of revision {revision}, the newest; there is nothing to do")
        return
    say(f"{where.folder}: the store is of revision {revision}; to come, after a backup:")
    for step in steps:
        what = "adds tables" if step.adds_tables_only else "changes what is there"
        say(f"  {step.revision}  {step.text} ({what})")


COMMAND: Final = Command("Set up", 30, upgrade)
