"""`quantd upgrade`, `backup`, `restore` and `store compact`: what an operator does to a store while nothing trades in it,
except for `backup`, which a running daemon does not notice."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from quantd.adapters.store.errors import StoreFailing
from quantd.adapters.store.handle import Store, for_reading
from quantd.adapters.store.journal.compaction import Keep
from quantd.adapters.store.lease import account_key, refuse_held
from quantd.adapters.store.lock import StateLock
from quantd.adapters.store.migrations.upgrade import Step, migrate, revision_of, steps_from
from quantd.adapters.store.tables.schema import REVISION
from quantd.adapters.store.upkeep.backup import Manifest, read_manifest
from quantd.adapters.store.upkeep.backup import backup as make_backup
from quantd.adapters.store.upkeep.restore import restore as put_back
from quantd.daemon.cli.configuration import read
from quantd.daemon.cli.output import print_json, progress, say
from quantd.daemon.cli.places import Place, place
from quantd.daemon.jobs.maintenance import keep_of


def backup(config: Path, state: Path | None, sets: tuple[str, ...], target: Path, *, as_json: bool) -> None:
    """Write and check a backup. Raises what `quantd.daemon.cli.failures` explains."""
    where = place(config, state, sets)
    with progress("backup", shown=not as_json) as bar:
        manifest = make_backup(where.store, where.folder, target, bar)
    if as_json:
        print_json({"backup": str(target), **_told(manifest)})
        return
    say(f"{target}: checked and complete")
    _say(manifest)
    say(f"  quantd restore {target} --state DIR puts it back")


def restore(
    config: Path, state: Path | None, sets: tuple[str, ...], source: Path, *, force: bool, as_json: bool
) -> None:
    """Put a backup back. Raises what `quantd.daemon.cli.failures` explains."""
    where = place(config, state, sets)
    read_manifest(source)
    with progress("restore", shown=not as_json):
        manifest, aside = put_back(source, where.store, where.folder, force=force)
    if as_json:
        print_json({"state": str(where.folder), "aside": None if aside is None else str(aside), **_told(manifest)})
        return
    say(f"{where.folder}: restored from {source} and checked")
    _say(manifest)
    if aside is not None:
        say(f"  what was there is kept in {aside}")


def upgrade(config: Path, state: Path | None, sets: tuple[str, ...], *, dry: bool, as_json: bool) -> None:
    """Bring a store to this version's revision, after a backup. Raises what `quantd.daemon.cli.failures` explains."""
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
            make_backup(where.store, where.folder, target, bar)
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


def compact(
    config: Path,
    state: Path | None,
    sets: tuple[str, ...],
    *,
    days: Mapping[str, float | None],
    to: Path | None,
    as_json: bool,
) -> None:
    """Archive old journal rows of a stopped daemon's store. `days` override those of [store]. Raises what
    `quantd.daemon.cli.failures` explains."""
    where = place(config, state, sets)
    keep = Keep()
    if config.exists():
        found = read(config, sets)
        keep = keep_of(found)
        to = to or (found.at(found.store.archives) if found.store.archives else None)
    keep = msgspec.structs.replace(keep, **{name: value for name, value in days.items() if value is not None})
    account = account_key("store", "compact")
    with (
        Store.open(
            where.store, state=where.folder, create=False, account=account, holder="quantd store compact"
        ) as store,
        progress("compact", shown=not as_json),
    ):
        done = store.compact(keep, to)
        if done.rows or any(done.forgotten.values()):
            store.vacuum()
    if as_json:
        print_json({"rows": done.rows, "files": done.files, "forgotten": done.forgotten})
        return
    moved = f"{done.rows:,} journal rows were moved into {len(done.files)} archive{'' if len(done.files) == 1 else 's'}"
    say(moved if done.rows else "no journal row is old enough")
    for file in done.files:
        say(f"  {file}")
    for model, rows in done.forgotten.items():
        say(f"  {rows:,} rows of {model} were let go; the journal still has what made them")


def _told(manifest: Manifest) -> dict[str, Any]:
    return {
        "revision": manifest.revision,
        "rows": manifest.rows,
        "hash": manifest.hash,
        "bytes": sum(size for size, _ in manifest.files.values()),
        "runs": [{"run": r.run, "steps": r.last_seq, "ended": r.ended, "models": r.models} for r in manifest.runs],
    }


def _say(manifest: Manifest) -> None:
    size = sum(size for size, _ in manifest.files.values())
    say(
        f"  {len(manifest.files)} files, {size / 2**20:,.1f} MiB; {manifest.rows:,} journal rows; revision {manifest.revision}"
    )
    for run in manifest.runs:
        say(f"  run {run.run}: {run.last_seq:,} steps{f', ended ({run.ended})' if run.ended else ''}")
        for name, digest in run.models.items():
            say(f"    {name}: policy {digest[:16]}, which is not in the backup")
