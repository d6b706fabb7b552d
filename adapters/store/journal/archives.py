"""Old rows of the journal in parquet files: written once, checked from the file itself, read as if they were still there.

A file holds the rows with all their columns, so that the hash chain goes through it. Beside it lies its BLAKE2b checksum,
as `b2sum --check` reads it.
"""

import os
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from quantd.adapters.store.driver import Driver, table_names
from quantd.adapters.store.errors import StoreDamaged
from quantd.adapters.store.journal.chain import JOURNAL_COLUMNS, Link, broken, link_of, row_digest, sync_folder

if TYPE_CHECKING:
    import polars

ARCHIVE_COLUMNS: Final = ("first", "last", "prev", "hash", "runs", "folder", "file", "size", "checksum", "digest")

ROWS_READ: Final = 512
"""Rows of a file in memory at a time, and in one of its row groups."""

CHECKSUMS: Final = ".b2"

Span = tuple[str, int, int]
"""(run, first entry, last entry)."""


class Archive(Struct, frozen=True):
    """A file that stands for the journal's rows `first` to `last`; `prev` is the hash before them, `hash` the last one's.
    `folder` is where it was written to."""

    first: int
    last: int
    prev: bytes
    hash: bytes
    runs: tuple[Span, ...]
    folder: str
    file: str
    size: int
    checksum: bytes

    def path(self, folder: Path | None) -> Path:
        """The file, in `folder` or where it was written to. Raises StoreDamaged when it is in neither."""
        places = [place / self.file for place in (folder, Path(self.folder)) if place is not None]
        found = next((path for path in places if path.exists()), None)
        if found is None:
            raise StoreDamaged(
                f"journal: rows {self.first} to {self.last} were moved to {places[-1]}, which is not there: put it back, or"
                " restore it from a backup"
            )
        return found


def row_of(archive: Archive) -> tuple[object, ...]:
    """As the table `archives` has it."""
    runs = msgspec.json.encode(archive.runs).decode()
    row = (archive.first, archive.last, archive.prev, archive.hash, runs, *msgspec.structs.astuple(archive)[5:])
    return (*row, row_digest(*row))


def archives_of(driver: Driver) -> list[Archive]:
    """All archives, oldest rows first. Raises StoreDamaged when what the store says of one was changed."""
    if "archives" not in table_names(driver):  # a store of an older revision
        return []
    out = []
    for row in driver.execute(f"SELECT {', '.join(ARCHIVE_COLUMNS)} FROM archives ORDER BY first").fetchall():
        first, last, prev, hash, runs, folder, file, size, checksum, digest = row
        fields = (first, last, bytes(prev), bytes(hash), runs, folder, file, size, bytes(checksum))
        if row_digest(*fields) != bytes(digest):
            raise StoreDamaged(f"archives: the row of {file} was changed")
        spans = msgspec.json.decode(runs, type=tuple[Span, ...])
        out.append(Archive(*fields[:4], spans, *fields[5:]))
    return out


def last_seqs(driver: Driver) -> dict[str, int]:
    """The last entry of each run, in journal or archive."""
    found: dict[str, int] = {}
    for archive in archives_of(driver):
        found.update((run, last) for run, _, last in archive.runs)
    found.update(driver.execute("SELECT run, MAX(last_seq) FROM journal GROUP BY run").fetchall())
    return found


def rows_of(archive: Archive, folder: Path | None, run: str | None = None, from_seq: int = 0) -> Iterator[Link]:
    """The journal rows in a file, in order; of one run, those with entries from `from_seq` on. Raises StoreDamaged."""
    import polars

    path = archive.path(folder)
    try:
        scan = polars.scan_parquet(path).select(JOURNAL_COLUMNS)
        for start in range(0, archive.last - archive.first + 1, ROWS_READ):
            part = scan.slice(start, ROWS_READ).collect()
            if run is not None:
                part = part.filter(polars.col("run") == run, polars.col("last_seq") >= from_seq)
            yield from map(link_of, part.rows())
    except (polars.exceptions.PolarsError, OSError) as wrong:
        raise StoreDamaged(f"journal: archive {path} cannot be read: {wrong}") from None


def write(rows: Iterable[Link], folder: Path) -> Archive:
    """A file of these rows, at least one, complete and synced before it has its name, and read again from there. Raises
    OSError, and StoreDamaged when what was read is not what was written."""
    import polars

    columns: dict[str, list[Any]] = {name: [] for name in JOURNAL_COLUMNS}
    spans: dict[str, tuple[int, int]] = {}
    links = 0
    for link in rows:
        links += 1
        for name, value in zip(JOURNAL_COLUMNS, msgspec.structs.astuple(link), strict=True):
            columns[name].append(value)
        spans[link.run] = (spans.get(link.run, (link.first_seq, 0))[0], link.last_seq)
    first, last = columns["number"][0], columns["number"][-1]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"journal-{first:012d}-{last:012d}.parquet"
    unfinished = path.with_suffix(".partial")
    frame = polars.DataFrame(columns, schema=_schema())
    frame.write_parquet(unfinished, compression="zstd", row_group_size=ROWS_READ)
    _synced(unfinished)
    checksum, size = checksum_of(unfinished)
    runs = tuple((run, *span) for run, span in spans.items())
    made = Archive(
        first, last, columns["prev"][0], columns["hash"][-1], runs, str(folder.resolve()), path.name, size, checksum
    )
    beside = path.with_suffix(path.suffix + CHECKSUMS)
    beside.write_text(f"{checksum.hex()}  {path.name}\n")
    _synced(beside)
    unfinished.replace(path)
    sync_folder(folder)
    if polars.scan_parquet(path).select(polars.len()).collect().item() != links:
        raise StoreDamaged(f"{path} holds another number of rows than the {links} that were written")
    read = 0
    prev = made.prev
    for link in rows_of(made, folder):
        if wrong := broken(link, prev, first + read):
            raise StoreDamaged(f"{path}: {wrong}, read right after it was written")
        prev = link.hash
        read += 1
    if read != links or prev != made.hash:
        raise StoreDamaged(f"{path}: {read} rows came back of the {links} that were written")
    return made


def wrong_with(archive: Archive, folder: Path | None) -> str:
    """What is wrong with a file as a whole; empty when it is the one that was written, byte by byte."""
    try:
        path = archive.path(folder)
        checksum, size = checksum_of(path)
    except (StoreDamaged, OSError) as why:
        return str(why)
    if (checksum, size) != (archive.checksum, archive.size):
        return f"journal: archive {path} was changed: its checksum is not the one it was written with"
    return ""


def checksum_of(path: Path) -> tuple[bytes, int]:
    """BLAKE2b-512 of a file, and its size in bytes."""
    digest = blake2b()
    size = 0
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
            size += len(part)
    return digest.digest(), size


def _synced(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _schema() -> "dict[str, type[polars.DataType]]":
    import polars

    kinds = {"run": polars.String, "blob": polars.Binary, "prev": polars.Binary, "hash": polars.Binary}
    return {name: kinds.get(name, polars.Int64) for name in JOURNAL_COLUMNS}
