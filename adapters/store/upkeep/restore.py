"""Restores a backup where no store is, into SQLite or PostgreSQL, with verification before and after.

An existing store is replaced only on request, and is then moved aside.

What can go wrong. The backup is damaged, and the store that it replaces is gone. A daemon trades the account while its
tables change. A process that held the lease (the right to trade the account) at the time of the backup wakes, and finds
its old lease in the restored store.

What the order of the steps guarantees. The backup is unpacked and verified beside the store before anything is moved.
If a daemon holds the account's lease, the restoration is refused before anything is moved, and again inside the
transaction that replaces the tables. If that transaction fails, the files move back. Leases in the backup are ended and
their tokens increased, so that no earlier holder finds its token again. A state folder with a HALT file keeps it.
"""

import time
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec

from quantd.adapters.store.driver import Driver, SqliteDriver, UrlDriver, failures, table_names
from quantd.adapters.store.journal.archives import archives_of, row_of
from quantd.adapters.store.journal.chain import insert_digested, sync
from quantd.adapters.store.lease import refuse_held
from quantd.adapters.store.lock import ARCHIVES, FILE, HEAD, StateLock
from quantd.adapters.store.migrations.upgrade import ONE_AT_A_TIME, migrate
from quantd.adapters.store.store_errors import StoreDamaged, StoreMismatch
from quantd.adapters.store.tables.revision import REVISION, revision_of
from quantd.adapters.store.tables.schema import NAMES, statements
from quantd.adapters.store.upkeep.backup import (
    ARTIFACTS,
    CONFIGS,
    HALT,
    Manifest,
    backup,
    copy_rows,
    read_manifest,
    unpack,
)
from quantd.adapters.store.upkeep.verify import verify
from quantd.regular_file import move, remove, remove_folder

STORE_FILES: Final = (FILE, f"{FILE}-wal", f"{FILE}-shm", ARCHIVES, CONFIGS, ARTIFACTS, HALT, HEAD)
"""Files of a store in a state folder. The head is last, because a store without it is not opened."""

STAGING: Final = ".restoring"


def restore(source: Path, where: str | Path, state: Path, *, force: bool = False) -> tuple[Manifest, Path | None]:
    """Restore a backup into a state folder, and its tables into the database at `where` when that is a URL.

    Returns the manifest and, with `force`, the folder with the replaced store. Raises StoreMismatch when a store exists
    without `force`, StoreLocked or Held when a daemon uses it. Raises StoreDamaged for a damaged backup, and
    StoreVersion for a backup of a newer quantd.
    """
    read_manifest(source)
    url = str(where) if "://" in str(where) else ""
    with failures(f"restoring {source}"):
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = StateLock(state)
        staging = state / STAGING
        try:
            existing = occupied(url, state)
            if existing and not force:
                raise StoreMismatch(
                    f"{existing}: there is a store here already. Restore to another --state, or give --force, which "
                    "moves it aside"
                )
            remove_folder(staging, ignore_errors=True)
            manifest = unpack(source, staging)
            _adapt(staging, state, manifest)
            if url:
                _refuse_led(url, lock.seat)  # `seat`: the id of this folder's lock file
            aside = _move_aside(url, state) if existing else None
            if url:
                try:
                    _replace_tables(staging / FILE, url, lock.seat)
                except BaseException:
                    _move_back(aside, state)
                    raise
                remove(staging / FILE)
            # the head is moved last: an interrupted restore leaves a folder that no daemon opens
            for name in STORE_FILES:
                if (staging / name).exists():
                    move(staging / name, state / name)
                    sync(state)
        finally:
            remove_folder(staging, ignore_errors=True)
            lock.release()
    if faults := verify(where, state):
        raise StoreDamaged(f"the store restored to {state} is damaged: {faults[0]}")
    return manifest, aside


def occupied(url: str, state: Path) -> str:
    """Return the place of an existing store, the database URL or the state folder, as text; empty if neither has a
    store."""
    for name in STORE_FILES:
        # a folder with a halt and nothing else has no store
        if name != HALT and (state / name).exists():
            return str(state / name)
    if url:
        with closing(UrlDriver(url)) as driver:
            if "journal" in table_names(driver) and driver.execute("SELECT number FROM runs LIMIT 1").fetchone():
                return "the database"
    return ""


def _adapt(staging: Path, state: Path, manifest: Manifest) -> None:
    """Verify the unpacked store and adapt it to the state folder: newest schema revision, archives in this folder,
    no lease."""
    if faults := verify(staging):
        raise StoreDamaged(f"the backup is damaged: {faults[0]}")
    if manifest.revision != REVISION:
        migrate(staging / FILE)
    with closing(SqliteDriver(staging / FILE)) as driver:
        driver.begin(durable=True)
        entries = archives_of(driver)
        driver.execute("DELETE FROM archives")
        archive_folder = str((state / ARCHIVES).resolve())
        insert_digested(
            driver, "archives", (row_of(msgspec.structs.replace(archive, folder=archive_folder)) for archive in entries)
        )
        # The account's leader at the time of the backup does not lead this store; its tokens become invalid.
        driver.execute("UPDATE lease SET expires_ns = 0, seat = '', token = token + 1")
        driver.commit()
        driver.execute("PRAGMA journal_mode=DELETE")


def _move_aside(url: str, state: Path) -> Path:
    """Move the existing store into a new folder: files unchanged, a PostgreSQL database as a backup."""
    aside = state / time.strftime("before-restore-%Y%m%dT%H%M%SZ", time.gmtime())
    aside.mkdir(mode=0o700)
    if url:
        with closing(UrlDriver(url)) as driver:
            has_tables = bool(revision_of(driver))
        if has_tables:
            backup(url, state, aside / "store.tar")
    for name in STORE_FILES:
        if name != HALT and (state / name).exists():  # without HALT: a halted folder stays halted
            move(state / name, aside / name)
    sync(aside)
    return aside


def _move_back(aside: Path | None, state: Path) -> None:
    """Move the files of the earlier store back, because the new tables could not be written to the database."""
    for name in STORE_FILES:
        if aside is not None and (aside / name).exists():
            move(aside / name, state / name)


def _refuse_led(url: str, lock_id: str) -> None:
    """Raise Held while a daemon holds the lease of an account in the database, before anything is moved."""
    with closing(UrlDriver(url)) as driver:
        if "lease" in table_names(driver):
            refuse_held(driver, lock_id)


def _replace_tables(copy: Path, url: str, lock_id: str) -> None:
    """Replace the tables in the database by those of a SQLite store, in one transaction.

    `lock_id` is the id of the caller's lock file. A lease (the right to trade an account) has a token, a number that
    rises with each new leader.
    """
    with closing(SqliteDriver(copy, read_only=True)) as source, closing(UrlDriver(url)) as into:
        into.begin(durable=True)
        into.execute("SET LOCAL lock_timeout = 30000")  # ms
        into.execute(f"SELECT pg_advisory_xact_lock({ONE_AT_A_TIME})")
        tokens = _drop_tables(into, lock_id)
        for statement in statements("postgresql"):
            into.execute(statement)
        copy_rows(source, into)
        # a leader suspended during the restore must not find its token again: the sum is above both tokens
        for account, token in tokens:
            into.execute("UPDATE lease SET token = token + ? WHERE account = ?", (token, account))
            # an account that the backup lacks: an expired lease without a holder
            into.execute(
                "INSERT INTO lease VALUES (?, ?, '', '', 0, '', 0, 0) ON CONFLICT (account) DO NOTHING",
                (account, token + 1),
            )
        into.commit()


def _drop_tables(driver: Driver, lock_id: str) -> list[tuple[str, int]]:
    """Drop the store's tables and return the (account, token) of its leases. Raises Held while a daemon with another
    lock file than `lock_id` holds the lease of an account."""
    tables = table_names(driver)
    tokens: list[tuple[str, int]] = []
    if "lease" in tables:
        driver.execute("LOCK TABLE lease IN EXCLUSIVE MODE")
        refuse_held(driver, lock_id)
        tokens = driver.execute("SELECT account, token FROM lease").fetchall()
    for name in NAMES:
        if name in tables:
            driver.execute(f"DROP TABLE {name}")
    return tokens
