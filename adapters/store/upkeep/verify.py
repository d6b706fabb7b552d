"""Verification of a store: all derived data are derived again and compared.

`quantd doctor --store` verifies the whole store, a start only the newest entries. SQLite's own integrity check detects
few flipped bits; the hashes and the second derivation detect the others.

What can go wrong. A daemon writes while the store is read, and an intact store looks damaged. One fault of the journal
makes every read model differ, and hides its cause.

What the order of the steps guarantees. The head file is read first, and everything else in one transaction: a head file
read later could name a row that the transaction does not see. Read models are compared only when the chain has no
fault. Entries are folded by the code that writes them, into a temporary database, so that there is no second definition
of a row.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlmodel import SQLModel

from quantd.adapters.store.driver import Driver, failures, insert, table_names
from quantd.adapters.store.incidents.incident_fold import Incidents
from quantd.adapters.store.journal.archives import archives_of, rows_of, wrong_with
from quantd.adapters.store.journal.chain import GENESIS, JOURNAL_COLUMNS, HeadFile, Link, broken, link_of, row_digest
from quantd.adapters.store.journal.records import Refold, incidents_of
from quantd.adapters.store.journal.writer import check_head, write_rows
from quantd.adapters.store.last_state import for_reading
from quantd.adapters.store.lock import ARCHIVES, HEAD
from quantd.adapters.store.migrations.upgrade import sqlite_schema_at
from quantd.adapters.store.store_errors import StoreDamaged, StoreError, StoreMismatch
from quantd.adapters.store.tables.projection import COLUMNS, OUTBOX, OpenBasket, message_id
from quantd.adapters.store.tables.retention import delete_old
from quantd.adapters.store.tables.revision import REVISION, refuse_unknown, revision_of
from quantd.adapters.store.tables.schema import NAMES, statements
from quantd.adapters.store.tables.table_models import columns_of
from quantd.trading.orders import OrderState

FINDINGS_OF_A_KIND: Final = 20
"""Maximum number of reported faults of one table, and of all digests."""

NEWEST: Final = 100_000
"""Minimum number of entries that a start folds again and compares with the read models: 0.4 to 1.6 s of one core."""


def verify(where: str | Path, state: Path | None = None, newest: int | None = None) -> list[str]:
    """Return the faults of a store, one sentence each; empty for an intact store. The function only reads.

    `state` is the state folder of a store by URL; without it the head of the journal is not compared. A daemon may
    write meanwhile: the head is read first, and everything else in one transaction. `newest` selects the shorter check
    of a start: tables, digests, and the hash chain of every row that is not archived. Read models are compared for at
    least that many newest entries, and for all entries since each run's last snapshot. Raises StoreMismatch where there
    is no store.
    """
    folder, connect, path = for_reading(where, state)
    if path is not None and not path.exists():
        raise StoreMismatch(f"{path}: there is no store here")
    shown = path or "the store"
    faults: list[str] = []
    try:
        with failures(f"checking {shown}"):
            # before the snapshot: the head of a later commit would name a row that the snapshot does not have
            head = None if folder is None else HeadFile(folder / HEAD).read()
            with closing(connect()) as driver:
                driver.snapshot()
                revision = revision_of(driver)
                if not revision:
                    raise StoreDamaged(f"{shown} is empty: it has none of quantd's tables")
                refuse_unknown(revision)
                if path is not None and newest is None:
                    # at most 20 faults; a sound file has the one row "ok"
                    rows = [str(text) for (text,) in driver.execute("PRAGMA integrity_check(20)")]
                    faults += [f"sqlite: {text}" for text in rows if rows != ["ok"]]
                for check in (_schema if path is not None else _columns, _facts, _digests):
                    faults += check(driver)
                faults += _journal(driver, None if folder is None else folder / ARCHIVES, newest)
                (last,) = driver.execute("SELECT COALESCE(MAX(number), 0) FROM journal").fetchone()
                if folder is not None:
                    check_head(driver, head, last, str(folder / HEAD))
    except StoreError as wrong:
        faults.append(str(wrong))
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, IndexError, KeyError) as wrong:
        faults.append(f"checking {shown}: {wrong}")
    return faults


def _schema(driver: Driver) -> list[str]:
    """Compare the table definitions, character by character, with those that their schema revision creates."""
    expected = sqlite_schema_at(revision_of(driver))
    stored = set(map(tuple, driver.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall()))
    return [f"schema: {row[1]} is not as quantd makes it" for row in sorted(expected ^ stored, key=str)]


def _facts(driver: Driver) -> list[str]:
    """Check that the table `meta` has its two entries, `schema` and a number of dropped messages."""
    facts = dict(driver.execute("SELECT name, value FROM meta ORDER BY name").fetchall())
    if facts.pop("schema", "") != "3" or facts.keys() != {"outbox_dropped"} or not str(*facts.values()).isdigit():
        return [f"meta: unexpected facts {sorted(facts.items())!r}"]
    return []


def _columns(driver: Driver) -> list[str]:
    """Check in PostgreSQL that the tables have the declared columns."""
    tables = table_names(driver)
    # an older revision lacks later tables
    missing = sorted(set(NAMES) - tables) if revision_of(driver) == REVISION else []
    faults = [f"schema: the table {name} is missing" for name in missing]
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
            faults.append(f"schema: the columns of {name} are not as quantd makes them")
    return faults


def _digests(driver: Driver) -> list[str]:
    """Check the digests of rows outside the hash chain. A fault names a row by its first three columns."""
    faults: list[str] = []
    tables = table_names(driver)
    for table in SQLModel.metadata.tables:
        columns = columns_of(table)
        if columns[-1] != "digest" or table not in tables:
            continue
        for row in driver.stream(f"SELECT {', '.join(columns)} FROM {table}"):
            if row_digest(*row[:-1]) != row[-1] and len(faults) < FINDINGS_OF_A_KIND:
                faults.append(f"{table}: the row {', '.join(map(str, row[:3]))} does not match its digest")
    return faults


def _journal(driver: Driver, archives: Path | None, newest: int | None) -> list[str]:
    """Check the hash chain, apply the entries again, and compare the read models, for all entries (`newest` is None) or
    for at least the `newest` ones; return the faults.

    `archives` is the folder of the archived rows; None if it is unknown.
    """
    # a temporary database, spilled to disk when large
    with closing(sqlite3.connect("", isolation_level=None, factory=_Rebuilt)) as rebuilt:
        for statement in statements("sqlite"):
            rebuilt.execute(statement)
        rebuilt.execute("BEGIN")
        fold = _Fold(driver, rebuilt)
        faults = fold.all(archives) if newest is None else fold.newest(newest)
        if not faults:
            tables = table_names(driver)
            for run, model, before_ts in driver.execute("SELECT run, model, before_ts FROM retention").fetchall():
                delete_old(rebuilt, run, model, before_ts)
            for table, columns in COLUMNS.items():
                if table in tables:
                    faults += _compare(table, columns, driver, rebuilt, None if newest is None else fold.bounds())
            for table in ("deliveries", "outbox"):
                faults += _queue_faults(table, driver, rebuilt, fold.last_unfolded)
        return faults


class _Fold:
    """Derives the read-model rows of a journal's entries a second time, into the temporary database.

    `last_unfolded` has, for each run, its last entry that was not derived. It is empty if all entries were derived,
    from the first row of the journal on.
    """

    def __init__(self, driver: Driver, rebuilt: "_Rebuilt") -> None:
        self._driver = driver
        self._rebuilt = rebuilt
        self._refold = Refold(driver)
        self._seqs: dict[str, int] = {}
        self.last_unfolded: dict[str, int] = {}

    def bounds(self) -> list[tuple[str, int]]:
        """Return (run, entry) for every run; the entries after that one were applied again, to compare rows."""
        return [(run, self.last_unfolded.get(run, 0)) for run in sorted(self._refold.runs)]

    def all(self, archives: Path | None) -> list[str]:
        """Check the hash chain and apply the entries from the first row on, archived or not. Return the faults."""
        faults: list[str] = []
        return self._rows(_links(self._driver, archives, faults), GENESIS, 1, 0, faults)

    def newest(self, least: int) -> list[str]:
        """Check the hash chain of all rows that are not archived, apply the newest entries again, and return the
        faults.

        At least `least` entries are applied, and all entries since each run's last snapshot. The list has at most one
        fault; it is empty for an intact journal. An archive's `runs` are (run, first entry, last entry).
        """
        prev, first = GENESIS, 1
        for archive in archives_of(self._driver):
            prev, first = archive.hash, archive.last + 1
            self._seqs |= {run: last for run, _, last in archive.runs}
        return self._rows(_journal_rows(self._driver), prev, first, self._last_row_before_fold(least), [])

    def _last_row_before_fold(self, least: int) -> int:
        """Return the number of the last journal row that need not be applied again; 0 if every row must be.

        A row holds the entries of one commit. The rows after that row have at least `least` entries in all. They
        include every entry since the last snapshot of each run.
        """
        last_skipped, total = 0, 0
        for number, count in self._driver.execute("SELECT number, count FROM journal ORDER BY number DESC").fetchall():
            total += count
            if total >= least:
                last_skipped = number - 1
                break
        for run, seq in self._driver.execute("SELECT run, MAX(seq) FROM snapshots GROUP BY run").fetchall():
            (after,) = self._driver.execute(
                "SELECT MIN(number) FROM journal WHERE run = ? AND last_seq > ?", (run, seq)
            ).fetchone()
            last_skipped = last_skipped if after is None else min(last_skipped, after - 1)
        return last_skipped

    def _rows(self, links: Iterator[Link], prev: bytes, first: int, last_skipped: int, faults: list[str]) -> list[str]:
        """Check the hash chain of `links` and apply the rows after number `last_skipped`, up to the first fault.

        Return the faults. `first` is the number of the first row, and `prev` the hash of the row before it. `links` may
        add to `faults` while it is read.
        """
        # time (ns) of the last row that is not applied; None if all rows are, or once a row was applied
        before_ts: int | None = 0 if first > 1 else None
        for number, link in enumerate(links, first):
            if wrong := broken(link, prev, number):
                return [*faults, f"journal: {wrong}"]
            prev = link.hash
            expected = self._seqs.get(link.run, 0) + 1
            if link.first_seq != expected or link.last_seq != expected + link.count - 1:
                return [*faults, f"journal: row {number} does not have the entries that its columns say"]
            if number > last_skipped:
                if before_ts is not None:
                    self._open_orders(before_ts)
                    before_ts = None
                try:
                    self._fold(link)
                except StoreDamaged as damage:
                    return [*faults, str(damage)]
            else:
                before_ts = link.ts
            self._seqs[link.run] = link.last_seq
        return faults

    def _fold(self, link: Link) -> None:
        """Write the read-model rows of one journal row. Raises StoreDamaged for a malformed entry."""
        rows_by_table = self._refold.rows(link)
        write_rows(self._rebuilt, rows_by_table)
        for message in rows_by_table.get(OUTBOX, []):
            self._rebuilt.execute("INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?, 0, x'')", message[:7])

    def _open_orders(self, since_ts: int) -> None:
        """Load the baskets that were open at `since_ts`, for a derivation that begins in the middle of the journal.

        A basket is the orders with one `sample` and `n`. Its later fills and ends are derived; the baskets themselves
        are not compared, so that every order is loaded as SENT (any open state serves) with nothing filled.
        """
        self.last_unfolded = dict(self._seqs)
        columns = COLUMNS["orders"]
        for run, seq in self.last_unfolded.items():
            self._refold.folds[run].incidents = Incidents(incidents_of(self._driver, run, seq))
            rows = self._driver.execute(
                f"SELECT {', '.join(columns)} FROM orders AS o WHERE run = ? AND seq <= ? AND EXISTS (SELECT 1 FROM "
                "orders AS p WHERE p.run = o.run AND p.sample = o.sample AND p.n = o.n AND (p.ended_ts = 0 OR "
                "p.ended_ts >= ?)) ORDER BY sample, n, row",
                (run, seq, since_ts),
            ).fetchall()
            insert(self._rebuilt, "orders", columns, rows)
            index = self._refold.runs[run].universe.index
            for row in rows:
                order = dict(zip(columns, row, strict=True))
                basket = self._refold.folds[run].open_baskets.setdefault(
                    (order["sample"], order["n"]), OpenBasket([], [], [], [], [])
                )
                basket.states.append(int(OrderState.SENT))
                basket.filled.append(0)
                basket.ended_ts.append(0)
                basket.note.append("")
                basket.sym.append(index[order["symbol"]])


def _links(driver: Driver, folder: Path | None, faults: list[str]) -> Iterator[Link]:
    """Iterate over every journal row from the first, archived or not. Faults of whole files are appended to
    `faults`."""
    for archive in archives_of(driver):
        if wrong := wrong_with(archive, folder):
            faults.append(wrong)
        last = None
        for link in rows_of(archive, folder):
            last = link
            yield link
        if last is None or (last.number, last.hash) != (archive.last, archive.hash):
            faults.append(f"archives: {archive.file} does not end with row {archive.last}")
    yield from _journal_rows(driver)


def _journal_rows(driver: Driver) -> Iterator[Link]:
    return map(link_of, driver.stream(f"SELECT {', '.join(JOURNAL_COLUMNS)} FROM journal ORDER BY number"))


class _Rebuilt(sqlite3.Connection):
    """The temporary database with the read-model rows that were derived a second time."""

    dialect: Final = "sqlite"


def _compare(
    table: str,
    columns: Sequence[str],
    stored: Driver,
    rebuilt: _Rebuilt,
    bounds: list[tuple[str, int]] | None,
) -> list[str]:
    """Return the differences between a table and its rows derived a second time.

    `bounds` are (run, entry): only rows of later entries are compared. With None all rows are compared.
    """
    size = 4 if table == "orders" else 3  # leading columns that form a row's key
    # text in byte order, as in SQLite, independent of the server's locale
    run_column = 'run COLLATE "C"' if stored.dialect == "postgresql" else "run"
    where = "" if bounds is None else " WHERE run = ? AND seq > ?"
    sql = f"SELECT {', '.join(columns)} FROM {table}{where} ORDER BY "
    faults: list[str] = []
    for values in [()] if bounds is None else bounds:
        for stored_row, derived_row in _differing_rows(
            stored.stream(f"{sql}{', '.join((run_column, *columns[1:size]))}", values),
            rebuilt.execute(f"{sql}{', '.join(columns[:size])}", values),
            size,
        ):
            key = ", ".join(map(str, (stored_row or derived_row or ())[:size]))
            if stored_row is None:
                faults.append(f"{table}: the row {key} is missing")
            elif derived_row is None:
                faults.append(f"{table}: the row {key} does not come from the journal")
            else:
                for name, stored_value, derived_value in zip(columns, stored_row, derived_row, strict=True):
                    if stored_value != derived_value or type(stored_value) is not type(derived_value):
                        faults.append(
                            f"{table}: the row {key} has {name} {_shortened(stored_value)}, "
                            f"the journal says {_shortened(derived_value)}"
                        )
            if len(faults) >= FINDINGS_OF_A_KIND:
                return [*faults, f"{table}: and perhaps more"]
    return faults


def _types(row: Any) -> list[type]:
    """Return the types of a row's values: 1 and 1.0 are equal, and yet not the same value of a store."""
    return [type(value) for value in row]


def _differing_rows(stored: Any, derived: Any, size: int) -> Iterator[tuple[Any, Any]]:
    """Iterate over pairs (stored row, derived row) that differ, from two sorted sources; None for a row that one source
    lacks.

    The first `size` columns are the key.
    """
    end = object()
    stored_rows, derived_rows = iter(stored), iter(derived)
    stored_row, derived_row = next(stored_rows, end), next(derived_rows, end)
    while stored_row is not end or derived_row is not end:
        if stored_row == derived_row and _types(stored_row) == _types(derived_row):
            stored_row, derived_row = next(stored_rows, end), next(derived_rows, end)
        elif derived_row is end or (stored_row is not end and _order(stored_row, size) < _order(derived_row, size)):
            yield stored_row, None
            stored_row = next(stored_rows, end)
        elif stored_row is end or _order(derived_row, size) < _order(stored_row, size):
            yield None, derived_row
            derived_row = next(derived_rows, end)
        else:
            yield stored_row, derived_row
            stored_row, derived_row = next(stored_rows, end), next(derived_rows, end)


def _order(row: Any, size: int) -> list[tuple[str, Any]]:
    return [(type(value).__name__, value) for value in row[:size]]


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _queue_faults(table: str, driver: Driver, rebuilt: _Rebuilt, start_seqs: Mapping[str, int]) -> list[str]:
    """Check that each queued message equals the message derived a second time; return the faults.

    An absent message is no fault: it was delivered or dropped. `start_seqs` has, by run, the last entry whose messages
    were not derived.
    """
    faults = []
    for row in driver.execute(f"SELECT run, seq, k, ts, level, kind, body FROM {table}"):
        if row[1] <= start_seqs.get(row[0], 0):
            continue
        expected = rebuilt.execute(
            "SELECT run, seq, k, ts, level, kind, body FROM outbox WHERE run = ? AND seq = ? AND k = ?", row[:3]
        ).fetchone()
        if expected is None or tuple(expected) != tuple(row):
            faults.append(f"{table}: message {message_id(*row[:3])} does not come from the journal")
    return faults[:FINDINGS_OF_A_KIND]
