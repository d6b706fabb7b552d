"""The full check of a store, for `quantd doctor --store`: everything that can be derived is derived again.

SQLite's own integrity check sees few flipped bits; the hashes and the second fold see the rest.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from adapters.store.chain import GENESIS, HeadFile, broken, row_digest, unpack
from adapters.store.driver import Driver, SqliteDriver, failures
from adapters.store.errors import StoreError, StoreFailing
from adapters.store.projection import COLUMNS, OUTBOX, Projection, message_id
from adapters.store.records import link_of, run_records
from adapters.store.schema import statements
from adapters.store.store import HEAD, locate
from adapters.store.writing import (
    JOURNAL_COLUMNS,
    OUTBOX_COLUMNS,
    QUARANTINE_COLUMNS,
    RUN_COLUMNS,
    SNAPSHOT_COLUMNS,
    check_head,
    write_rows,
)
from trading import codec

FINDINGS_OF_A_KIND: Final = 20

_DIGESTED: Final[dict[str, Sequence[str]]] = {
    "runs": RUN_COLUMNS,
    "snapshots": SNAPSHOT_COLUMNS,
    "outbox": OUTBOX_COLUMNS,
    "quarantine": QUARANTINE_COLUMNS,
}
_KEYS: Final = {"orders": 4}
"""Leading columns that make a row's key; 3 where not named."""


def verify(where: str | Path) -> list[str]:
    """What is wrong with the SQLite store in a state folder, one sentence each; empty when it is whole. Only reads.

    A daemon may be writing meanwhile: the head is read first, and all else in one transaction.
    """
    _, _, path = locate(where)
    if path is None:
        raise StoreFailing(f"{where}: only a store in SQLite can be checked so far")
    found: list[str] = []
    try:
        with failures(f"checking {path}"):
            head = HeadFile(path.parent / HEAD).read()
            driver = SqliteDriver(path, read_only=True)
            try:
                driver.execute("BEGIN")
                for check in (_integrity, _schema, _digests, _journal):
                    found += check(driver)
                (last,) = driver.execute("SELECT COALESCE(MAX(number), 0) FROM journal").fetchone()
                check_head(driver, head, last, str(path.parent / HEAD))
            finally:
                driver.close()
    except StoreError as wrong:
        found.append(str(wrong))
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, IndexError, KeyError) as wrong:
        found.append(f"checking {path}: {wrong}")
    return found


def _integrity(driver: Driver) -> list[str]:
    rows = [str(row[0]) for row in driver.execute("PRAGMA integrity_check(20)")]
    return [] if rows == ["ok"] else [f"sqlite: {text}" for text in rows]


def _schema(driver: Driver) -> list[str]:
    """The tables are the ones this version makes, to the letter."""
    ours = sqlite3.connect(":memory:")
    try:
        for statement in statements("sqlite"):
            ours.execute(statement)
        expected = set(ours.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema"))
    finally:
        ours.close()
    stored = set(map(tuple, driver.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall()))
    found = [f"schema: {row[1]} is not as quantd makes it" for row in sorted(expected ^ stored, key=str)]
    facts = driver.execute("SELECT name, value FROM meta ORDER BY name").fetchall()
    names = [row[0] for row in facts]
    if names != ["outbox_dropped", "schema"] or facts[1][1] != "1" or not str(facts[0][1]).isdigit():
        found.append(f"meta: unexpected facts {facts!r}")
    return found


def _digests(driver: Driver) -> list[str]:
    """Rows outside the chain carry a digest of their own."""
    found: list[str] = []
    for table, columns in _DIGESTED.items():
        for row in driver.execute(f"SELECT {', '.join(columns)} FROM {table}"):
            if row_digest(*row[:-1]) != row[-1] and len(found) < FINDINGS_OF_A_KIND:
                found.append(f"{table}: the row {', '.join(map(str, row[:3]))} was changed")
    return found


def _journal(driver: Driver) -> list[str]:
    """Walk the chain, fold the entries again beside, and compare the read models."""
    rebuilt = sqlite3.connect("", isolation_level=None)  # a temporary database, spilled to disk when large
    try:
        for statement in statements("sqlite"):
            rebuilt.execute(statement)
        rebuilt.execute("BEGIN")
        found = _fold(driver, _Rebuilt(rebuilt))
        if not found:
            for table, columns in COLUMNS.items():
                found += _compare(table, columns, driver, rebuilt)
            found += _outbox(driver, rebuilt)
        return found
    finally:
        rebuilt.close()


def _fold(driver: Driver, rebuilt: "_Rebuilt") -> list[str]:
    runs = {record.run: record for record in run_records(driver)}
    folds = {name: Projection(name, record.universe.symbols) for name, record in runs.items()}
    seqs: dict[str, int] = {}
    prev = GENESIS
    rows = driver.execute(f"SELECT {', '.join(JOURNAL_COLUMNS)} FROM journal ORDER BY number")
    for number, link in enumerate(map(link_of, rows), 1):
        if wrong := broken(link, prev, number):
            return [f"journal: {wrong}"]
        prev = link.hash
        entries = unpack(link.packing, link.blob)
        expected = seqs.get(link.run, 0) + 1
        seqs[link.run] = link.last_seq
        if link.first_seq != expected or len(entries) != link.count or link.last_seq != expected + link.count - 1:
            return [f"journal: row {number} holds other entries than it says"]
        fold = folds.get(link.run)
        if fold is None:
            return [f"journal: row {number} is of run {link.run}, which is not in runs"]
        fold.agents = runs[link.run].agents_at(link.first_seq)
        for seq, data in enumerate(entries, link.first_seq):
            entry = codec.decode(data)
            fold.add(seq, entry.event, entry.effects)
        made = fold.take()
        write_rows(rebuilt, made)
        for message in made.get(OUTBOX, []):
            rebuilt.execute("INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?, 0, x'')", message)
    return []


class _Rebuilt:
    """The temporary database as a Driver, as far as `write_rows` needs one."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def execute(self, sql: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        return self._db.execute(sql, values)

    def begin(self, *, durable: bool) -> None:
        self._db.execute("BEGIN")

    def commit(self) -> None:
        self._db.execute("COMMIT")

    def rollback(self) -> None:
        self._db.execute("ROLLBACK")

    def close(self) -> None:
        self._db.close()


def _compare(table: str, columns: Sequence[str], stored: Driver, rebuilt: sqlite3.Connection) -> list[str]:
    size = _KEYS.get(table, 3)
    sql = f"SELECT {', '.join(columns)} FROM {table} ORDER BY {', '.join(columns[:size])}"
    found: list[str] = []
    for one, other in _merged(stored.execute(sql), rebuilt.execute(sql), size):
        key = ", ".join(map(str, (one or other or ())[:size]))
        if one is None:
            found.append(f"{table}: the row {key} is missing")
        elif other is None:
            found.append(f"{table}: the row {key} does not come from the journal")
        else:
            for name, kept, derived in zip(columns, one, other, strict=True):
                if kept != derived or type(kept) is not type(derived):
                    found.append(
                        f"{table}: the row {key} has {name} {_shown(kept)}, the journal says {_shown(derived)}"
                    )
        if len(found) >= FINDINGS_OF_A_KIND:
            return [*found, f"{table}: and perhaps more"]
    return found


def _merged(one: Any, other: Any, size: int) -> Iterator[tuple[Any, Any]]:
    """Pairs of rows that differ, by key, from two sorted sources; None where one has no such row."""
    done = object()
    a, b = iter(one), iter(other)
    x, y = next(a, done), next(b, done)
    while x is not done or y is not done:
        if x == y and list(map(type, x)) == list(map(type, y)):  # type: ignore[call-overload]
            x, y = next(a, done), next(b, done)
        elif y is done or (x is not done and _order(x, size) < _order(y, size)):
            yield x, None
            x = next(a, done)
        elif x is done or _order(y, size) < _order(x, size):
            yield None, y
            y = next(b, done)
        else:
            yield x, y
            x, y = next(a, done), next(b, done)


def _order(row: Any, size: int) -> list[tuple[str, Any]]:
    return [(type(value).__name__, value) for value in row[:size]]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _outbox(driver: Driver, rebuilt: sqlite3.Connection) -> list[str]:
    """What waits was really said. Messages that arrived, or that a full outbox lost, are rightly absent."""
    found = []
    for row in driver.execute("SELECT run, seq, k, ts, level, kind, body FROM outbox"):
        told = rebuilt.execute(
            "SELECT run, seq, k, ts, level, kind, body FROM outbox WHERE run = ? AND seq = ? AND k = ?", row[:3]
        ).fetchone()
        if told != tuple(row):
            found.append(f"outbox: message {message_id(*row[:3])} does not come from the journal")
    return found[:FINDINGS_OF_A_KIND]
