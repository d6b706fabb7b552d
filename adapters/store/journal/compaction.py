"""Compaction of the journal: rows not needed for recovery move into archives, and old read models (derived tables) are
deleted on request.

An archive is written, synced and re-read first. Then one transaction records its name in the store and deletes its
rows. After any interruption, at least one of the rows and the archive is valid.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from quantd.adapters.store.driver import Driver
from quantd.adapters.store.journal.archives import Archive, write
from quantd.adapters.store.journal.chain import JOURNAL_COLUMNS, Head, Link, link_of
from quantd.adapters.store.journal.records import run_records
from quantd.adapters.store.tables.retention import MODELS
from quantd.trading.sessions import DAY_NS

ARCHIVE_BYTES: Final = 32 << 20
"""Approximate size of the packed entries in one archive, which are in memory while it is written."""


class Keep(Struct, frozen=True):
    """For how many days each kind of data is retained, counted back from the newest row of a run; None for ever."""

    journal_days: float = 30.0
    alerts_days: float | None = None
    equity_days: float | None = None
    orders_days: float | None = None


class Compacted(Struct):
    """The result of a compaction: number of moved journal rows, archive files, and deleted rows by read model."""

    rows: int = 0
    files: list[str] = []
    forgotten: dict[str, int] = {}


def last_to_move(driver: Driver, head: Head | None, journal_days: float) -> tuple[int, int]:
    """Return (first, last) of the journal rows that may be archived, contiguous from the journal's start; last < first
    if none.

    These rows stay in the journal:

    - rows of a run that has not ended, with entries after its oldest snapshot, because a recovery reads them;
    - rows less than `journal_days` older than the newest row of their run;
    - the row that the head file names, and the newest row.
    """
    ended = {record.run for record in run_records(driver) if record.ended}
    snapshots = dict(driver.execute("SELECT run, MIN(seq) FROM snapshots GROUP BY run").fetchall())
    (first, newest) = driver.execute(
        "SELECT COALESCE(MIN(number), 1), COALESCE(MAX(number), 0) FROM journal"
    ).fetchone()
    last = min(newest, head.number if head is not None else 0) - 1
    keep_ns = round(journal_days * DAY_NS)
    for run, newest_ts in driver.execute("SELECT run, MAX(ts) FROM journal GROUP BY run").fetchall():
        # entries after this one are needed for a recovery: all without a snapshot, none (None) of an ended run
        recovered_from = None if run in ended else snapshots.get(run, 0)
        sql = "SELECT MIN(number) FROM journal WHERE run = ? AND (ts > ?"
        values: list[object] = [run, newest_ts - keep_ns]
        if recovered_from is not None:
            sql += " OR last_seq > ?"
            values.append(recovered_from)
        (first_needed,) = driver.execute(f"{sql})", values).fetchone()
        if first_needed is not None:
            last = min(last, first_needed - 1)
    return first, last


def archived(driver: Driver, first: int, last: int, folder: Path) -> Iterator[Archive]:
    """Write the journal rows `first` to `last` into as many archive files as necessary. No row is deleted from the
    journal.

    An archive file is complete once its rows (links) have ARCHIVE_BYTES.
    """
    driver.snapshot()
    columns = ", ".join(JOURNAL_COLUMNS)
    rows = driver.stream(
        f"SELECT {columns} FROM journal WHERE number >= ? AND number <= ? ORDER BY number", (first, last)
    )
    links: list[Link] = []
    size = 0
    for link in map(link_of, rows):
        links.append(link)
        size += len(link.blob)
        if size >= ARCHIVE_BYTES:
            yield write(links, folder)
            links, size = [], 0
    if links:
        yield write(links, folder)


def ages(keep: Keep) -> dict[str, float]:
    """Return the retention in days by read model, for those whose retention is limited."""
    return {model: days for model in MODELS if (days := getattr(keep, f"{model}_days")) is not None}


def forget_old(driver: Driver, keep: Keep, forget: Callable[[str, str, int], int]) -> dict[str, int]:
    """Delete old rows of read models, in one transaction for each; returns the number of rows by model.

    `forget`(run, model, before_ts) deletes the rows before an instant (ns UTC) and returns their number.
    """
    deleted: dict[str, int] = {}
    newest = driver.execute("SELECT run, MAX(ts) FROM journal GROUP BY run").fetchall()
    driver.rollback()  # ends the read transaction: `forget` writes through another connection
    for model, days in ages(keep).items():
        deleted[model] = sum(forget(run, model, ts - round(days * DAY_NS)) for run, ts in newest)
    return deleted
