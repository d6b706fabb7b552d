"""Backups: the whole store as of one instant as a state folder of its own, or that folder in one tar file.

For any source database, the copy is a SQLite store with its head file, archives, saved configurations and a manifest
with the checksum of each file. The copy can be verified like any store, and restored into SQLite or PostgreSQL.
"""

import os
import shutil
import sqlite3
import tarfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from itertools import chain, count, islice
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec
from msgspec import Struct

from quantd.adapters.store.driver import Driver, SqliteDriver, UrlDriver, failures, insert, table_names
from quantd.adapters.store.journal.archives import archives_of, checksum_of, wrong_with
from quantd.adapters.store.journal.chain import HeadFile, newest, sync
from quantd.adapters.store.journal.records import Records, run_records
from quantd.adapters.store.last_state import locate
from quantd.adapters.store.lock import ARCHIVES, FILE, HEAD
from quantd.adapters.store.migrations.upgrade import make, migrate
from quantd.adapters.store.store_errors import StoreDamaged, StoreError, StoreMismatch, StoreUnavailable
from quantd.adapters.store.tables.revision import REVISION, refuse_unknown, revision_of
from quantd.adapters.store.tables.schema import NAMES
from quantd.adapters.store.upkeep.verify import verify
from quantd.regular_file import move, new_file, remove, remove_folder
from quantd.trading import codec
from quantd.trading.events import Started

MANIFEST: Final = "manifest.json"
CONFIGS: Final = "configs"
HALT: Final = "HALT"
BACKUPS: Final = "backups"
"""Folder of backups in the state folder."""
ARTIFACTS: Final = "artifacts"
"""Folder of models, one folder each. A restore puts it into the state folder."""
FORMAT: Final = 1

_PAGES: Final = 2048  # of a SQLite file, copied between two reports of progress
_ROWS: Final = 2_000  # in memory at a time

Progress = Callable[[float], None]
"""Is called with the completed share of the work, 0 to 1."""


class RunKept(Struct, frozen=True):
    """One run in a backup: its last entry, and its policies with their digests."""

    run: str
    last_seq: int
    ended: str
    models: dict[str, str]


class Manifest(Struct, frozen=True):
    """Content of a backup. `files` maps each name to its size in bytes and its BLAKE2b-512 in hexadecimal."""

    format: int
    made_ns: int
    revision: str
    rows: int
    hash: str
    runs: tuple[RunKept, ...]
    files: dict[str, tuple[int, str]]


def backup(
    where: str | Path,
    state: Path,
    target: Path,
    progress: Progress = lambda share: None,
    models: Mapping[str, Path] = MappingProxyType({}),
) -> Manifest:
    """Write a backup of the store at `where` (a state folder, or a URL) to a new folder or tar file, and verify it.

    `models` are folders of artifacts by their names in the backup. A daemon may run meanwhile. A file or folder named
    `target` appears only when the backup is complete and verified. Raises StoreDamaged for a damaged store,
    StoreMismatch for a `target` in use, and StoreFull where the disk is full.
    """
    if target.exists() and (target.is_file() or any(target.iterdir())):
        raise StoreMismatch(f"{target}: is there already; name a new file (ending in .tar) or a new folder")
    folder = target.with_name(f"{target.name}.partial")
    with failures(f"backing up to {target}"):
        remove_folder(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        try:
            _copy_models(folder, models)
            manifest = _fill(folder, where, state, progress)
            if target.name.endswith((".tar", ".tar.gz", ".tgz")):
                _pack(folder, manifest, target)
            else:
                move(folder, target)
            sync(target.parent)
        finally:
            remove_folder(folder, ignore_errors=True)
    return manifest


def before_upgrade(where: str | Path, state: Path, progress: Progress = lambda share: None) -> Path:
    """Back up an older store into `backups/` of its state folder before its schema changes; return the file.

    If the store has not changed since the last backup of this kind, as after a failed upgrade, that backup is returned.
    Raises StoreDamaged, StoreFailing or StoreFull; the store is then unchanged, and the message has the remedy.
    """
    if (saved := _saved_before(where, state)) is not None:
        return saved
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    folder = state / BACKUPS
    suffixes = chain([""], (f"-{k}" for k in count(2)))
    names = (f"before-{REVISION}-{stamp}{suffix}.tar" for suffix in suffixes)
    target = next(folder / name for name in names if not (folder / name).exists())
    try:
        with failures(f"backing up to {target}"):
            folder.mkdir(exist_ok=True, mode=0o700)
        backup(where, state, target, progress)
    except StoreUnavailable as error:
        raise type(error)(
            f"{error}. The store needs an upgrade, and a backup before it. Nothing was changed; make space in "
            f"{folder}, or let this user write there, and start again"
        ) from error
    return target


def _saved_before(where: str | Path, state: Path) -> Path | None:
    """Return the newest backup before this upgrade, if the store still has the same revision, entries and HALT file;
    else None."""
    files = sorted((state / BACKUPS).glob(f"before-{REVISION}-*.tar"), key=lambda file: file.stat().st_mtime_ns)
    if not files:
        return None
    # the second result of `locate` connects to the store
    with failures("reading the store"), closing(locate(where, state)[1]()) as source:
        revision, head = revision_of(source), newest(source)
        source.rollback()
    with suppress(StoreError):
        manifest = read_manifest(files[-1])
        content = revision, head.number, head.hash.hex(), os.path.lexists(state / HALT)
        if content == (manifest.revision, manifest.rows, manifest.hash, HALT in manifest.files):
            return files[-1]
    return None


def _fill(folder: Path, where: str | Path, state: Path, progress: Progress) -> Manifest:
    """Copy the store into a new folder, verify the copy, and write its manifest.

    `progress` is called with the share that is done, 0 to 1; the copy takes the first half of it.
    """
    copy = folder / FILE
    path = locate(where, state)[2]
    if path is not None:
        _copy_file(path, copy, progress)
    else:
        _copy_tables(str(where), copy)
    with closing(SqliteDriver(copy, read_only=True)) as driver:
        revision = revision_of(driver)
        refuse_unknown(revision)
        head = newest(driver)
        for archive in archives_of(driver):
            if wrong := wrong_with(archive, state / ARCHIVES):
                raise StoreDamaged(wrong)
            (folder / ARCHIVES).mkdir(exist_ok=True, mode=0o700)
            shutil.copyfile(archive.path(state / ARCHIVES), folder / ARCHIVES / archive.file)
    HeadFile(folder / HEAD).write(head)
    if (state / CONFIGS).is_dir():
        (folder / CONFIGS).mkdir(mode=0o700)
        for file in sorted((state / CONFIGS).glob("*.json")):
            shutil.copyfile(file, folder / CONFIGS / file.name)
    if os.path.lexists(state / HALT):  # a halted store is restored halted
        (folder / HALT).touch()
    progress(0.6)
    if faults := verify(folder):
        raise StoreDamaged(f"the copy is damaged, most likely because the store is: {faults[0]}")
    for name in ("quantd.db-wal", "quantd.db-shm"):  # empty files of a reader
        remove(folder / name, missing_ok=True)
    runs = _run_summaries(folder)
    files = {}
    for file in _files_in(folder):
        checksum, size = checksum_of(file)
        files[file.relative_to(folder).as_posix()] = (size, checksum.hex())
    manifest = Manifest(FORMAT, time.time_ns(), revision, head.number, head.hash.hex(), runs, files)
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    for file in _files_in(folder):
        sync(file)
    progress(1.0)
    return manifest


def _copy_models(folder: Path, models: Mapping[str, Path]) -> None:
    for name, artifact in models.items():
        (folder / ARTIFACTS / name).mkdir(parents=True, mode=0o700)
        for file in sorted(path for path in artifact.iterdir() if path.is_file()):
            shutil.copyfile(file, folder / ARTIFACTS / name / file.name)


def _copy_file(path: Path, copy: Path, progress: Progress) -> None:
    """Copy the file with SQLite's backup function; a read transaction ensures that the copy is of one instant."""
    if not path.exists():
        raise StoreMismatch(f"{path}: there is no store here")
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)) as source:
        source.execute("BEGIN")
        # BEGIN alone fixes no instant: the first read does
        source.execute("SELECT COUNT(*) FROM meta").fetchone()
        with closing(sqlite3.connect(copy)) as into:
            source.backup(
                into, pages=_PAGES, progress=lambda _, remaining, all: progress(0.5 * (1 - remaining / max(all, 1)))
            )
            into.execute("PRAGMA journal_mode=DELETE")


def _copy_tables(url: str, copy: Path) -> None:
    """Copy all tables of a PostgreSQL store as of one instant into a new SQLite store of the same revision."""
    with closing(UrlDriver(url)) as source:
        source.snapshot()
        revision = revision_of(source)
        if not revision:
            raise StoreMismatch("there is no store in this database; `quantd run` makes one")
        refuse_unknown(revision)
        copy.touch(mode=0o600)
        if revision != REVISION:
            migrate(copy, revision)  # makes the empty tables of the older revision
        with closing(SqliteDriver(copy)) as into:
            if revision == REVISION:
                make(into)
            into.begin(durable=True)
            copy_rows(source, into)
            into.commit()
            into.execute("PRAGMA journal_mode=DELETE")


def copy_rows(source: Driver, into: Driver) -> None:
    """Copy every row of every table that both databases have, in the caller's transaction."""
    for table in sorted(table_names(source) & table_names(into) & set(NAMES)):
        into.execute(f"DELETE FROM {table}")
        columns = [column[0] for column in into.execute(f"SELECT * FROM {table}").description]
        rows = source.stream(f"SELECT {', '.join(columns)} FROM {table}")
        while chunk := list(islice(rows, _ROWS)):
            insert(into, table, columns, chunk)


def _run_summaries(folder: Path) -> tuple[RunKept, ...]:
    """Return the runs of a copied store, each with the policies of its last start."""
    records = Records(lambda: SqliteDriver(folder / FILE, read_only=True), folder / ARCHIVES)
    with records.connection() as driver:
        run_rows = run_records(driver)
    summaries = []
    for record in run_rows:
        models: dict[str, str] = {}
        last = 0
        for last, data in records.entries(record.run, 1):  # noqa: B007 - the last one is what is wanted
            # the search in the bytes is fast: only likely entries are decoded
            if b"Started" in data and isinstance(event := codec.decode(data).event, Started):
                models = {name: digest for name, digest in event.artifacts.items() if digest}
        summaries.append(RunKept(record.run, last, record.ended, models))
    return tuple(summaries)


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _pack(folder: Path, manifest: Manifest, target: Path) -> None:
    """Pack the folder into a tar file, the manifest first. The file is re-read before it gets its final name."""
    unfinished = target.with_name(f"{target.name}.new")
    with (
        new_file(unfinished) as file,
        tarfile.open(fileobj=file, mode="w:gz" if target.name.endswith("gz") else "w") as tar,
    ):
        for name in (MANIFEST, *manifest.files):
            tar.add(folder / name, arcname=name, recursive=False)
    sync(unfinished)
    unpack(unfinished, folder / "again")
    move(unfinished, target)


def read_manifest(source: Path) -> Manifest:
    """Read the manifest of a backup. Raises StoreMismatch when `source` is no backup, StoreDamaged when it cannot be
    read."""
    try:
        if source.is_dir():
            data = (source / MANIFEST).read_bytes()
        else:
            with tarfile.open(source) as tar:
                member = tar.next()
                file = tar.extractfile(member) if member is not None and member.name == MANIFEST else None
                if file is None:
                    raise StoreMismatch(f"{source}: is no backup of quantd: it does not begin with {MANIFEST}")
                data = file.read(1 << 26)  # at most 64 MiB of a file that may be no backup
        manifest = msgspec.json.decode(data, type=Manifest)
    except (OSError, tarfile.TarError, EOFError) as wrong:
        raise StoreMismatch(f"{source}: is no backup of quantd: {wrong}") from None
    except msgspec.MsgspecError as wrong:
        raise StoreDamaged(f"{source}: its {MANIFEST} cannot be read: {wrong}; restore another backup") from None
    if manifest.format != FORMAT:
        raise StoreMismatch(f"{source}: is a backup of format {manifest.format}; this quantd reads format {FORMAT}")
    refuse_unknown(manifest.revision)
    for name in manifest.files:
        parts = Path(name).parts
        top_names = (FILE, HEAD, ARCHIVES, CONFIGS, HALT, ARTIFACTS)
        deepest = 3 if parts[:1] == (ARTIFACTS,) else 2
        if not parts or parts[0] not in top_names or ".." in parts or len(parts) > deepest:
            raise StoreDamaged(f"{source}: {MANIFEST} names {name!r}, which no backup has; restore another backup")
    return manifest


def unpack(source: Path, folder: Path) -> Manifest:
    """Extract exactly the files that the manifest lists into a new folder, verified by checksum. Raises StoreMismatch
    and StoreDamaged."""
    manifest = read_manifest(source)
    folder.mkdir(parents=True, mode=0o700)
    for name in manifest.files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        if source.is_dir():
            for name in manifest.files:
                shutil.copyfile(source / name, folder / name)
        else:
            with tarfile.open(source) as tar:
                for member in tar:
                    file = tar.extractfile(member) if member.isfile() and member.name in manifest.files else None
                    if file is not None:
                        with (folder / member.name).open("wb") as into:
                            shutil.copyfileobj(file, into)
        for name, (size, checksum) in manifest.files.items():
            if checksum_of(folder / name) != (bytes.fromhex(checksum), size):
                raise StoreDamaged(f"{source}: {name} differs from the file that was backed up; restore another backup")
    except (tarfile.TarError, EOFError) as wrong:
        raise StoreDamaged(f"{source}: cannot be read: {wrong}; restore another backup") from None
    except FileNotFoundError as wrong:
        raise StoreDamaged(f"{source}: {Path(str(wrong.filename)).name} is missing; restore another backup") from None
    return manifest
