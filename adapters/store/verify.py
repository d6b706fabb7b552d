"""The full check of a store, for `quantd doctor --store`: everything that can be derived is derived again.

SQLite's own integrity check sees few flipped bits; the hashes and the second fold see the rest.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlmodel import SQLModel

from adapters.store.archives import ARCHIVE_COLUMNS, archives_of, rows_of, wrong_with
from adapters.store.chain import GENESIS, JOURNAL_COLUMNS, HeadFile, Link, broken, link_of, row_digest, unpack
from adapters.store.driver import Driver, failures, table_names
from adapters.store.errors import StoreError, StoreFailing
from adapters.store.projection import COLUMNS, OUTBOX, Projection, message_id
from adapters.store.records import run_records
from adapters.store.retention import RETENTION_COLUMNS, let_go
from adapters.store.schema import NAMES, REVISION, VERSIONS, statements
from adapters.store.store import ARCHIVES, HEAD, for_reading
from adapters.store.tables import SCHEMA_VERSION
from adapters.store.upgrading import refuse_newer, revision_of, sqlite_schema_at
from adapters.store.writing import (
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
    "archives": ARCHIVE_COLUMNS,
    "retention": RETENTION_COLUMNS,
}
_KEYS: Final = {"orders": 4}
"""Leading columns that make a row's key; 3 where not named."""


def verify(where: str | Path, state: Path | None = None) -> list[str]:
    """What is wrong with a store, one sentence each; empty when it is whole. Only reads. `state` is the state folder of a
    store by URL; without it the head of the journal is not compared.

    A daemon may be writing meanwhile: the head is read first, and all else in one transaction.
    """
    folder, connect, path = for_reading(where, state)
    if path is not None and not path.exists():
        raise StoreFailing(f"{path}: there is no store here")
    shown = path or "the store"
    found: list[str] = []
    try:
        with failures(f"checking {shown}"):
            head = None if folder is None else HeadFile(folder / HEAD).read()
            driver = connect()
            try:
                driver.snapshot()
                revision = revision_of(driver)
                refuse_newer(revision)
                checks = (_integrity, _schema, _digests) if path is not None else (_columns, _digests)
                for check in checks:
                    found += check(driver)
                found += _journal(driver, None if folder is None else folder / ARCHIVES)
                (last,) = driver.execute("SELECT COALESCE(MAX(number), 0) FROM journal").fetchone()
                if folder is not None:
                    check_head(driver, head, last, str(folder / HEAD))
            finally:
                driver.close()
    except StoreError as wrong:
        found.append(str(wrong))
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, IndexError, KeyError) as wrong:
        found.append(f"checking {shown}: {wrong}")
    return found


def _integrity(driver: Driver) -> list[str]:
    rows = [str(row[0]) for row in driver.execute("PRAGMA integrity_check(20)")]
    return [] if rows == ["ok"] else [f"sqlite: {text}" for text in rows]


def _schema(driver: Driver) -> list[str]:
    """The tables are the ones that their revision makes, to the letter."""
    revision = revision_of(driver)
    expected = sqlite_schema_at(revision)
    stored = set(map(tuple, driver.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall()))
    if VERSIONS.name not in table_names(driver):  # made before there were revisions
        expected = {row for row in expected if row[2] != VERSIONS.name}
    found = [f"schema: {row[1]} is not as quantd makes it" for row in sorted(expected ^ stored, key=str)]
    return found + _facts(driver)


def _facts(driver: Driver) -> list[str]:
    facts = dict(driver.execute("SELECT name, value FROM meta ORDER BY name").fetchall())
    schema = "1" if "lease" not in table_names(driver) else str(SCHEMA_VERSION)
    if (
        facts.keys() != {"outbox_dropped", "schema"}
        or facts["schema"] != schema
        or not str(facts["outbox_dropped"]).isdigit()
    ):
        return [f"meta: unexpected facts {sorted(facts.items())!r}"]
    return []


def _columns(driver: Driver) -> list[str]:
    """PostgreSQL: the tables have the declared columns."""
    tables = table_names(driver)
    # an older revision lacks what came later
    missing = sorted(set(NAMES) - tables) if revision_of(driver) == REVISION else []
    found = [f"schema: the table {name} is missing" for name in missing]
    for name, table in SQLModel.metadata.tables.items():
        if name not in tables:
            continue
        stored = driver.execute(
            "SELECT column_name, is_nullable FROM information_schema.columns"
            " WHERE table_schema = current_schema() AND table_name = ? ORDER BY ordinal_position",
            (name,),
        ).fetchall()
        expected = [(column.name, "YES" if column.nullable else "NO") for column in table.columns]
        if list(map(tuple, stored)) != expected:
            found.append(f"schema: the columns of {name} are not as quantd makes them")
    return found + _facts(driver)


def _digests(driver: Driver) -> list[str]:
    """Rows outside the chain carry a digest of their own."""
    found: list[str] = []
    tables = table_names(driver)
    for table, columns in _DIGESTED.items():
        if table not in tables:
            continue
        for row in driver.stream(f"SELECT {', '.join(columns)} FROM {table}"):
            if row_digest(*row[:-1]) != row[-1] and len(found) < FINDINGS_OF_A_KIND:
                found.append(f"{table}: the row {', '.join(map(str, row[:3]))} was changed")
    return found


def _journal(driver: Driver, archives: Path | None) -> list[str]:
    """Walk the chain through archives and journal, fold the entries again beside, and compare the read models."""
    rebuilt = sqlite3.connect("", isolation_level=None)  # a temporary database, spilled to disk when large
    try:
        for statement in statements("sqlite"):
            rebuilt.execute(statement)
        rebuilt.execute("BEGIN")
        beside = _Rebuilt(rebuilt)
        found = _fold(driver, beside, archives)
        if not found:
            tables = table_names(driver)
            if "retention" in tables:
                for run, model, before_ts in driver.execute("SELECT run, model, before_ts FROM retention").fetchall():
                    let_go(beside, run, model, before_ts)
            for table, columns in COLUMNS.items():
                if table in tables:
                    found += _compare(table, columns, driver, rebuilt)
            found += _outbox(driver, rebuilt)
        return found
    finally:
        rebuilt.close()


def _fold(driver: Driver, rebuilt: "_Rebuilt", archives: Path | None) -> list[str]:
    runs = {record.run: record for record in run_records(driver)}
    folds = {name: Projection(name, record.universe.symbols) for name, record in runs.items()}
    seqs: dict[str, int] = {}
    prev = GENESIS
    found: list[str] = []
    for number, link in enumerate(_links(driver, archives, found), 1):
        if wrong := broken(link, prev, number):
            return [*found, f"journal: {wrong}"]
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
    return found


def _links(driver: Driver, folder: Path | None, found: list[str]) -> Iterator[Link]:
    """Every row from the first, archived or not; what is wrong with a file as a whole goes to `found`."""
    for archive in archives_of(driver):
        if wrong := wrong_with(archive, folder):
            found.append(wrong)
        last = None
        for link in rows_of(archive, folder):
            last = link
            yield link
        if last is None or (last.number, last.hash) != (archive.last, archive.hash):
            found.append(f"archives: {archive.file} does not end with row {archive.last}")
    yield from map(link_of, driver.stream(f"SELECT {', '.join(JOURNAL_COLUMNS)} FROM journal ORDER BY number"))


class _Rebuilt:
    """The temporary database as a Driver, as far as `write_rows` and `let_go` need one."""

    dialect = "sqlite"

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def execute(self, sql: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        return self._db.execute(sql, values)

    def stream(self, sql: str, values: Sequence[object] = ()) -> Iterator[Any]:
        return self._db.execute(sql, values)

    def snapshot(self) -> None:
        self._db.execute("BEGIN")

    def begin(self, *, durable: bool) -> None:
        self._db.execute("BEGIN")

    def commit(self) -> None:
        self._db.execute("COMMIT")

    def missing(self) -> str:
        return ""

    def rollback(self) -> None:
        self._db.execute("ROLLBACK")

    def close(self) -> None:
        self._db.close()


def _compare(table: str, columns: Sequence[str], stored: Driver, rebuilt: sqlite3.Connection) -> list[str]:
    size = _KEYS.get(table, 3)
    sql = f"SELECT {', '.join(columns)} FROM {table} ORDER BY "
    # text in the order of its bytes, as SQLite has it, whatever the server's language
    theirs = 'run COLLATE "C"' if stored.dialect == "postgresql" else "run"
    found: list[str] = []
    for one, other in _merged(
        stored.stream(f"{sql}{', '.join((theirs, *columns[1:size]))}"),
        rebuilt.execute(f"{sql}{', '.join(columns[:size])}"),
        size,
    ):
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
