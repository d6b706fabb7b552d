"""Archives of old journal rows in parquet files: written once, verified from the file, read like journal rows.

A file holds the rows with all their columns, so that the hash chain continues through it. A second file beside the
archive has its BLAKE2b checksum in the format of `b2sum --check`.
"""

from collections.abc import Iterator, Sequence
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from quantd.adapters.store.driver import Driver
from quantd.adapters.store.journal.chain import JOURNAL_COLUMNS, Link, broken, link_of, row_digest, sync
from quantd.adapters.store.store_errors import StoreDamaged
from quantd.adapters.store.tables.table_models import columns_of
from quantd.regular_file import move, new_file, write_whole

ROWS_READ: Final = 512
"""Rows of a file in memory at a time, and in one row group."""

CHECKSUMS: Final = ".b2"
"""Suffix of the file with an archive's checksum."""

Span = tuple[str, int, int]
"""(run, first entry, last entry)."""


class Archive(Struct, frozen=True):
    """A parquet file that replaces the journal rows `first` to `last`.

    `prev` is the hash of the row before `first`, `hash` the hash of row `last`. `runs` lists the archived entries of
    each run. `size` is in bytes. `folder` is the folder in which the file was written.
    """

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
        """Return the archive file's path, in `folder` or its original folder. Raises StoreDamaged when the file is
        in neither."""
        candidates = [parent / self.file for parent in (folder, Path(self.folder)) if parent is not None]
        existing = next((path for path in candidates if path.exists()), None)
        if existing is None:
            raise StoreDamaged(
                f"journal: rows {self.first} to {self.last} were moved to {candidates[-1]}, which is not there: put it "
                "back, or restore it from a backup"
            )
        return existing


def row_of(archive: Archive) -> tuple[object, ...]:
    """Return the values of an archive for the table `archives`, without the digest of the row."""
    row = msgspec.structs.astuple(archive)
    return (*row[:4], msgspec.json.encode(archive.runs).decode(), *row[5:])


def archives_of(driver: Driver) -> list[Archive]:
    """Return all archives, oldest rows first. Raises StoreDamaged when a row does not match its digest.

    A row has the numbers of the first and last journal row, the hash of the row before the first one and of the last
    row, the entries of each run, and the file with its size and checksum.
    """
    archives = []
    for row in driver.execute(f"SELECT {', '.join(columns_of('archives'))} FROM archives ORDER BY first").fetchall():
        first, last, prev, hash, runs, folder, file, size, checksum, digest = row
        fields = (first, last, bytes(prev), bytes(hash), runs, folder, file, size, bytes(checksum))
        if row_digest(*fields) != bytes(digest):
            raise StoreDamaged(
                f"archives: the row of {file} does not match its digest, so it was changed outside quantd. Restore a "
                "backup with `quantd restore`"
            )
        archives.append(Archive(*fields[:4], msgspec.json.decode(runs, type=tuple[Span, ...]), *fields[5:]))
    return archives


def last_seqs(driver: Driver) -> dict[str, int]:
    """Return the number of each run's last entry, whether it is in the journal or in an archive."""
    last_by_run: dict[str, int] = {}
    for archive in archives_of(driver):
        last_by_run.update((run, last) for run, _, last in archive.runs)
    last_by_run.update(driver.execute("SELECT run, MAX(last_seq) FROM journal GROUP BY run").fetchall())
    return last_by_run


def rows_of(archive: Archive, folder: Path | None, run: str | None = None, from_seq: int = 0) -> Iterator[Link]:
    """Iterate over the journal rows of an archive, in order. Raises StoreDamaged for an unreadable file.

    With `run`, only the rows of that run that have entries from `from_seq` on are returned.

    `folder` is where the archive may have been moved to, None for the folder in which it was written.
    """
    import polars

    path = archive.path(folder)
    try:
        scan = polars.scan_parquet(path).select(JOURNAL_COLUMNS)
        for start in range(0, archive.last - archive.first + 1, ROWS_READ):
            frame = scan.slice(start, ROWS_READ).collect()
            if run is not None:
                frame = frame.filter(polars.col("run") == run, polars.col("last_seq") >= from_seq)
            yield from map(link_of, frame.rows())
    except (polars.exceptions.PolarsError, OSError) as wrong:
        raise StoreDamaged(f"journal: archive {path} cannot be read: {wrong}") from None


def write(rows: Sequence[Link], folder: Path) -> Archive:
    """Write at least one row to a new archive file, which is complete, synced and re-read before it gets its name.

    Raises OSError, and StoreDamaged when the re-read data differ from the written data.

    The rows are a hash chain: each has the hash of the previous row (`prev`) and its own hash.
    """
    import polars

    spans: dict[str, tuple[int, int]] = {}  # by run: its first and last entry in the archive
    for link in rows:
        spans[link.run] = (spans.get(link.run, (link.first_seq, 0))[0], link.last_seq)
    first, last, row_count = rows[0].number, rows[-1].number, len(rows)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"journal-{first:012d}-{last:012d}.parquet"
    unfinished = path.with_suffix(".partial")
    # the columns that are not integers
    column_types = {"run": polars.String, "blob": polars.Binary, "prev": polars.Binary, "hash": polars.Binary}
    schema = {name: column_types.get(name, polars.Int64) for name in JOURNAL_COLUMNS}
    frame = polars.DataFrame(list(map(msgspec.structs.astuple, rows)), schema, orient="row")
    with new_file(unfinished) as file:
        frame.write_parquet(file, compression="zstd", row_group_size=ROWS_READ)
    sync(unfinished)
    checksum, size = checksum_of(unfinished)
    runs = tuple((run, *span) for run, span in spans.items())
    archive = Archive(first, last, rows[0].prev, rows[-1].hash, runs, str(folder.resolve()), path.name, size, checksum)
    checksum_file = path.with_suffix(path.suffix + CHECKSUMS)
    # before the archive gets its name: an archive without a checksum file would be found after an interruption
    write_whole(checksum_file, f"{checksum.hex()}  {path.name}\n".encode())
    move(unfinished, path)
    sync(folder)
    if polars.scan_parquet(path).select(polars.len()).collect().item() != row_count:
        raise StoreDamaged(f"{path} does not hold the {row_count} rows that were written")
    rows_read = 0
    prev = archive.prev
    for link in rows_of(archive, folder):
        if wrong := broken(link, prev, first + rows_read):
            raise StoreDamaged(f"{path}: {wrong}, read right after it was written")
        prev = link.hash
        rows_read += 1
    if rows_read != row_count or prev != archive.hash:
        raise StoreDamaged(f"{path}: {rows_read} rows came back of the {row_count} that were written")
    return archive


def wrong_with(archive: Archive, folder: Path | None) -> str:
    """Return why an archive file differs from the file that was written; empty if every byte is equal."""
    try:
        path = archive.path(folder)
        checksum, size = checksum_of(path)
    except (StoreDamaged, OSError) as why:
        return str(why)
    if (checksum, size) != (archive.checksum, archive.size):
        return (
            f"journal: archive {path} was changed: its checksum is not the one it was written with; restore it from a "
            "backup"
        )
    return ""


def checksum_of(path: Path) -> tuple[bytes, int]:
    """Return the BLAKE2b-512 of a file, and its size in bytes."""
    with path.open("rb") as file:
        return file_digest(file, blake2b).digest(), file.tell()
