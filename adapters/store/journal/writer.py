"""The single writer: each batch is one transaction of journal row, read models, snapshot, outbox and quarantine.

What can go wrong. A commit fails, or its answer is lost, or power fails after it. Another process takes over the
account while this one is suspended. A journal that lost its end looks like a shorter journal.

What the order of the steps guarantees. Each transaction first renews the lease (the right to write), so that a process
with an old token commits nothing. The end of the chain and the lengths of the queues change in memory after the commit.
After a failure nothing of the batch is stored or counted, and the same batch can be written again. The head file
follows a durable commit, and effects follow the head. A batch that is already the newest row is recognised: only the
answer to its commit was lost.

Rejected: a row for each event (docs/decisions/002). A batch becomes durable as a whole, and with a row for each event,
hash, insert and index entry would be computed for each. Only one thread uses the writer.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from msgspec import Struct

from quantd.adapters.store.driver import Driver, Queries, failures, insert
from quantd.adapters.store.incidents.incident_fold import Route
from quantd.adapters.store.journal.archives import Archive, last_seqs, row_of
from quantd.adapters.store.journal.chain import (
    GENESIS,
    JOURNAL_COLUMNS,
    Head,
    HeadFile,
    insert_digested,
    link_hash,
    pack,
    unpack,
)
from quantd.adapters.store.journal.job_runs import JobRun, put_job_runs
from quantd.adapters.store.journal.quarantine import BadBar
from quantd.adapters.store.journal.queues import BUS, Queued, post, queues_of, remove
from quantd.adapters.store.lease import Lease
from quantd.adapters.store.store_errors import Fenced, StoreDamaged, StoreFailing
from quantd.adapters.store.tables.outbox_bound import CAPACITY, Key
from quantd.adapters.store.tables.projection import COLUMNS, LATE, MOVED, OUTBOX, Row, Rows
from quantd.adapters.store.tables.retention import delete_old
from quantd.adapters.store.tables.table_models import columns_of
from quantd.trading.codec import CODEC_VERSION

SNAPSHOTS_KEPT: Final = 3

RUN_COLUMNS, SNAPSHOT_COLUMNS = map(columns_of, ("runs", "snapshots"))

# One statement changes several rows. VALUES names its columns column1, column2, .. in SQLite and PostgreSQL alike.
_MOVE = (
    "UPDATE orders SET state = v.column1, filled = v.column2, ended_ts "
    "= v.column3, note = v.column4 FROM (VALUES {}) AS v"
    " WHERE orders.run = v.column5 AND orders.sample = v.column6 AND orders.n = v.column7 AND orders.row = v.column8"
)
_MOVE_ROWS: Final = 256  # of 8 values each: SQLite permits 32,766 values in a statement
# a fill that was reported after its order's end
_LATE = (
    "UPDATE orders SET filled = CASE WHEN filled < ? THEN ? ELSE filled END"
    " WHERE run = ? AND sample = ? AND n = ? AND row = ?"
)


class SnapshotOf(Struct, frozen=True):
    """The frozen state after entry `seq`, as written by code `version`."""

    seq: int
    version: str
    data: bytes


class Batch(Struct):
    """Data committed in one transaction.

    `entries` are numbered consecutively from `first_seq` (the first of a run is 1), and `ts` is the time of the last
    entry. `rows` come from `Projection.take`. Alerts are queued for the bus, and for each sink of `sinks` whose
    function returns True for the alert's OUTBOX row. A `durable` batch is synced to disk before the commit returns. The
    newest `snapshots_kept` snapshots of the run stay, older ones are deleted.
    """

    run: str
    first_seq: int
    entries: list[bytes]
    ts: int
    rows: Rows = {}
    durable: bool = False
    snapshot: SnapshotOf | None = None
    snapshots_kept: int = SNAPSHOTS_KEPT
    quarantine: list[BadBar] = []
    sinks: Mapping[str, Callable[[Row], bool]] = {}


def write_rows(driver: Queries, rows: Rows) -> None:
    """Write read-model rows to their tables, in an open transaction.

    `rows` has the new rows by table, the new states of orders from earlier batches (MOVED), and fills that were
    reported after the end of their order (LATE).
    """
    for table, columns in COLUMNS.items():
        if table_rows := rows.get(table):
            insert(driver, table, columns, table_rows)
    moved = rows.get(MOVED, [])
    for start in range(0, len(moved), _MOVE_ROWS):
        chunk = moved[start : start + _MOVE_ROWS]
        marks = ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?)"] * len(chunk))
        driver.execute(_MOVE.format(marks), [value for row in chunk for value in row])
    for filled, *key in rows.get(LATE, []):
        driver.execute(_LATE, (filled, filled, *key))


class Writer:
    """Writes batches through one connection, and reconnects after a failure that broke it."""

    def __init__(
        self, connect: Callable[[], Driver], head: HeadFile, capacity: int = CAPACITY, lease: Lease | None = None
    ) -> None:
        """Prepare the writer; `open` or the first batch connects and reads the end of the journal.

        `head` is the file that names the newest durable row, `capacity` the largest number of messages in a queue.
        `lease` is None for a store that no other process can write to.
        """
        self._connect = connect
        self._lease = lease
        self._head = head
        self._capacity = capacity
        self._driver: Driver | None = None
        self._number = 0  # of the newest row of the journal
        self._hash = GENESIS  # of that row
        self._seqs: dict[str, int] = {}  # run -> its last entry
        self._queues: dict[str, Queued] = {}  # sink -> the counts of its queue

    @property
    def head(self) -> Head:
        """The newest row of the journal as this writer has committed it."""
        return Head(self._number, "", 0, self._hash)

    def open(self) -> None:
        """Connect and read the newest row of the hash chain. Raises StoreDamaged when the chain does not reach its
        head."""
        with failures("opening the store"):
            self._ready()

    def close(self) -> None:
        """Release the lease and disconnect."""
        if self._lease is not None and not self._lease.fenced:
            with suppress(Exception):  # a store that fails here keeps the lease until it expires
                self._give_back(self._lease)
            self._lease.fenced = f"the store of account {self._lease.account} is closed"
        if self._driver is not None:
            self._driver.close()
            self._driver = None

    def _give_back(self, lease: Lease) -> None:
        if self._driver is None:  # the lease may have been taken before the store failed to open
            self._driver = self._connect()
        self._driver.begin(durable=False)
        lease.release(self._driver)
        self._driver.commit()

    def begin(self, fields: Sequence[object], epochs: str) -> None:
        """Store a new run (account history). If the run is stored already, only its agents are replaced.

        `fields` are the values of RUN_COLUMNS from `run` to `universe`; for a stored run only `run` is used. `epochs`
        is the JSON of the run's agents.
        """
        run = fields[0]
        with self._transaction("beginning a run") as driver:
            # a row is (number, run, ts, mode, universe, epochs, ended_ts, ended, digest)
            row = _run_row(driver, run)
            if row is None:
                (number,) = driver.execute("SELECT COALESCE(MAX(number), 0) + 1 FROM runs").fetchone()
                row = (number, *fields, epochs, 0, "")
            # only `epochs` (index 5) changes; `digest` (index 8) is left out, since it is computed again
            _replace_run(driver, run, (*row[:5], epochs, *row[6:8]))

    def finish(self, run: str, ts: int, why: str) -> None:
        """Mark a run as ended at `ts` (ns UTC), with the reason. Raises StoreFailing without such a run."""
        with self._transaction("ending a run") as driver:
            row = _run_row(driver, run)
            if row is None:
                raise StoreFailing(f"there is no run {run} to end")
            _replace_run(driver, run, (*row[:6], ts, why))

    def cut(self, archive: Archive) -> None:
        """Replace journal rows by the archive that contains them, in one transaction.

        Raises StoreFailing if the archive does not begin with the journal's first row, or its last hash differs.
        """
        with self._transaction(f"cutting the journal after row {archive.last}") as driver:
            (first,) = driver.execute("SELECT MIN(number) FROM journal").fetchone()
            (hash,) = driver.execute("SELECT hash FROM journal WHERE number = ?", (archive.last,)).fetchone() or (b"",)
            if first != archive.first or bytes(hash) != archive.hash or archive.last >= self._number:
                raise StoreFailing(
                    f"archive {archive.file} does not have the oldest rows of this journal; nothing was deleted"
                )
            insert_digested(driver, "archives", [row_of(archive)])
            driver.execute("DELETE FROM journal WHERE number <= ?", (archive.last,))

    def forget(self, run: str, model: str, before_ts: int) -> int:
        """Delete the rows of a read model (derived table) before `before_ts` (ns UTC), orders only as whole ended
        baskets. Returns the number of deleted rows."""
        with self._transaction(f"deleting old {model}") as driver:
            deleted = delete_old(driver, run, model, before_ts)
            driver.execute("DELETE FROM retention WHERE run = ? AND model = ?", (run, model))
            insert_digested(driver, "retention", [(run, model, before_ts)])
        return deleted

    def vacuum(self) -> None:
        """Return free pages to the disk; PostgreSQL does this itself."""
        with failures("making the store smaller"):
            driver = self._ready()
            if driver.dialect == "sqlite":
                driver.execute("VACUUM")
                driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self._driver = None  # the next connection reads the new schema version
                driver.close()

    def missing(self) -> str:
        """Return the reason why commits would be lost, such as a deleted file; empty if none, or if unconnected."""
        driver = self._driver
        return "" if driver is None else driver.missing()

    def renew(self) -> None:
        """Renew the lease by an empty transaction, while there are no commits."""
        with self._transaction("renewing the lease", durable=False):
            pass

    def acknowledge(self, keys: Sequence[Key], sink: str) -> int:
        """Delete delivered messages; returns the number of them that were still queued."""
        with self._transaction("acknowledging messages", durable=False) as driver:
            deleted = remove(driver, sink, keys)
        if queue := self._queues.get(sink):
            for level, count in deleted.items():
                queue.levels[level] -= count
        return sum(deleted.values())

    def note_jobs(self, run: str, runs: Sequence[JobRun]) -> None:
        """Write records of scheduled jobs' runs in one transaction."""
        with self._transaction("writing runs of jobs") as driver:
            put_job_runs(driver, run, runs)

    def note_identity(self, run: str, values: Mapping[str, str]) -> None:
        """Write what a run is connected to, by name, in one transaction; other names of the run stay."""
        with self._transaction("writing what a run is connected to") as driver:
            for name in values:
                driver.execute("DELETE FROM identities WHERE run = ? AND name = ?", (run, name))
            insert_digested(driver, "identities", [(run, name, value) for name, value in values.items()])

    def dropped(self, sink: str) -> int:
        """Return the number of messages of a sink that this process dropped from a full queue."""
        return self._queues[sink].dropped if sink in self._queues else 0

    def write(self, batch: Batch) -> None:
        """Commit one batch. Raises StoreFull, StoreFailing or StoreDamaged; nothing of the batch is then stored.

        A batch with entries becomes the next row of the journal; if it is the newest row already, because only the
        answer was lost, it is not written again. A batch without entries has a snapshot or rejected bars.
        """
        last_seq = batch.first_seq + len(batch.entries) - 1
        doing = f"committing entries {batch.first_seq} to {last_seq} of run {batch.run}"
        with failures(doing):
            self._ready()
            if batch.entries:
                expected = self._seqs.get(batch.run, 0) + 1
                if batch.first_seq == expected:
                    self._append(doing, batch, last_seq)
                elif not self._is_newest(batch, last_seq):
                    raise StoreFailing(
                        f"entry {expected} of run {batch.run} is next, not {batch.first_seq}; commit in order"
                    )
                # after the commit: the head of a row that a loss of power takes away would be reported as damage
                if batch.durable:
                    self._head.write(Head(self._number, batch.run, last_seq, self._hash))
            elif batch.quarantine or batch.snapshot is not None:
                with self._transaction(doing, durable=batch.durable) as driver:
                    self._put_batch(driver, batch, None)  # no row of the journal

    def _append(self, doing: str, batch: Batch, last_seq: int) -> None:
        """Commit the batch as the next row of the hash chain; `doing` begins the message of a failure.

        Each row has the hash of the previous row (`prev`), its own hash (`digest`) and the packed entries (`blob`).
        """
        packing, blob = pack(batch.entries)
        number, prev = self._number + 1, self._hash
        fields = (number, batch.run, batch.first_seq, last_seq, len(batch.entries), batch.ts, CODEC_VERSION, packing)
        digest = link_hash(prev, fields, blob)
        link = (*fields, blob, prev, digest)
        with self._transaction(doing, durable=batch.durable) as driver:
            queues = self._put_batch(driver, batch, link)
        # after the commit: the next attempt at a failed batch needs the old end of the chain
        self._number, self._hash, self._seqs[batch.run] = number, digest, last_seq
        self._queues |= queues

    def _is_newest(self, batch: Batch, last_seq: int) -> bool:
        """Whether the batch is already the newest row in the database: an earlier commit succeeded, and only its answer
        or the head file was lost."""
        driver = self._ready()
        row = driver.execute(
            "SELECT run, first_seq, last_seq, packing, blob FROM journal WHERE number = ?", (self._number,)
        ).fetchone()
        driver.rollback()
        return (
            row is not None
            and tuple(row[:3]) == (batch.run, batch.first_seq, last_seq)
            and unpack(row[3], row[4]) == batch.entries
        )

    def _ready(self) -> Driver:
        """Return the connection. Without one, connect under the lease and read the newest row of the chain.

        `fenced` is empty while this process has the lease, afterwards the reason of the loss.
        """
        if self._lease is not None and self._lease.fenced:
            raise Fenced(self._lease.fenced)
        if self._driver is not None:
            return self._driver
        driver = self._connect()
        try:
            if self._lease is not None:  # before the tail is read, because another process may have the lease by now
                self._lease.prepare(driver)
                driver.begin(durable=False)
                asked_s = self._lease.renew(driver)
                driver.commit()
                self._lease.renewed(asked_s)
            self._read_tail(driver)
            driver.rollback()  # a read opens a transaction in PostgreSQL
        except BaseException:
            driver.close()
            raise
        self._driver = driver
        return driver

    def _read_tail(self, driver: Driver) -> None:
        """Read the newest row of the chain, the last entry of each run and the queues. Raises StoreDamaged if rows
        are lost."""
        head = self._head.read()
        row = driver.execute("SELECT number, hash FROM journal ORDER BY number DESC LIMIT 1").fetchone()
        self._number, self._hash = (0, GENESIS) if row is None else (row[0], bytes(row[1]))
        check_head(driver, head, self._number, str(self._head.path))
        self._seqs = last_seqs(driver)
        # the database does not have these counts of this process: they outlive a connection
        dropped = {sink: queue.dropped for sink, queue in self._queues.items()}
        self._queues = queues_of(driver)
        for sink, queue in self._queues.items():
            queue.dropped = dropped.get(sink, 0)

    @contextmanager
    def _transaction(self, doing: str, *, durable: bool = True) -> Iterator[Driver]:
        """A context manager for one transaction under the lease. Raises Fenced when another process has the lease.

        `doing` names the operation in messages; a `durable` transaction is on disk when it ends.
        """
        with failures(doing):
            driver = self._begin_transaction(durable)
            try:
                # before any change: a writer whose token is old raises here, and its transaction is empty
                # `asked_s`: seconds since boot just before the renewal, from which the length of the lease counts
                asked_s = None if self._lease is None else self._lease.renew(driver)
                yield driver
                driver.commit()
            except BaseException:
                self._roll_back(driver)
                raise
            if self._lease is not None and asked_s is not None:
                self._lease.renewed(asked_s)

    def _begin_transaction(self, durable: bool) -> Driver:
        """Return the connection in a new transaction; connects again to a server that was restarted."""
        driver = self._ready()
        tail = self._number, self._hash
        try:
            driver.begin(durable=durable)
            return driver
        except BaseException as wrong:
            self._roll_back(driver)
            if driver.dialect == "sqlite" or not isinstance(wrong, Exception):
                raise
        self._driver = None
        with suppress(Exception):
            driver.close()
        driver = self._ready()
        if (self._number, self._hash) != tail:  # the batch under way was hashed with the old end
            raise StoreFailing(f"the journal ends at row {self._number}, not at {tail[0]}: another process wrote to it")
        driver.begin(durable=durable)
        return driver

    def _roll_back(self, driver: Driver) -> None:
        """Roll back the transaction; if that fails, drop the connection."""
        try:
            driver.rollback()
        except Exception:
            self._driver = None
            with suppress(Exception):
                driver.close()

    def _put_batch(self, driver: Driver, batch: Batch, link: Row | None) -> dict[str, Queued]:
        """Write everything of one batch. Returns the queues that it changed.

        With a `link` (the new row of the journal), the function also writes read models and message queues; without
        one, only the snapshot and the rejected bars.

        OUTBOX are the rows of new messages. Messages of an escalation go to its receivers, not to the bus.
        """
        queues: dict[str, Queued] = {}
        if link is not None:
            insert(driver, "journal", JOURNAL_COLUMNS, [link])
            write_rows(driver, batch.rows)
            if arrived := batch.rows.get(OUTBOX):
                for_bus = [row for row in arrived if not _is_for_escalation_only(row)]
                if for_bus:
                    queues = {BUS: post(driver, BUS, self._queues.get(BUS), for_bus, self._capacity)}
                for sink, selects in batch.sinks.items():
                    for_sink = [row for row in arrived if selects(row)]
                    if for_sink:
                        queues[sink] = post(driver, sink, self._queues.get(sink), for_sink, self._capacity)
        if batch.snapshot is not None:
            self._put_snapshot(driver, batch.run, batch.snapshot, batch.snapshots_kept)
        if batch.quarantine:
            (newest,) = driver.execute("SELECT COALESCE(MAX(number), 0) FROM quarantine").fetchone()
            bars = enumerate(batch.quarantine, newest + 1)
            rows = (
                (number, batch.run, rejected.ts, rejected.symbol, rejected.reason, rejected.bar)
                for number, rejected in bars
            )
            insert_digested(driver, "quarantine", rows)
        return queues

    def _put_snapshot(self, driver: Driver, run: str, snapshot: SnapshotOf, limit: int) -> None:
        key = (run, snapshot.seq, snapshot.version)
        driver.execute("DELETE FROM snapshots WHERE run = ? AND seq = ? AND version = ?", key)
        insert_digested(driver, "snapshots", [(*key, snapshot.data)])
        driver.execute(
            "DELETE FROM snapshots WHERE run = ? AND seq NOT IN"
            " (SELECT seq FROM snapshots WHERE run = ? ORDER BY seq DESC LIMIT ?)",
            (run, run, limit),
        )


def _is_for_escalation_only(row: Row) -> bool:
    """Whether an OUTBOX row is only for receivers of an escalation, and not for the bus."""
    route = row[7]  # the last column, which is not stored
    return isinstance(route, Route) and route.only


def _replace_run(driver: Driver, run: object, row: Row) -> None:
    driver.execute("DELETE FROM runs WHERE run = ?", (run,))
    insert_digested(driver, "runs", [row])


def _run_row(driver: Driver, run: object) -> Row | None:
    row: Row | None = driver.execute(f"SELECT {', '.join(RUN_COLUMNS)} FROM runs WHERE run = ?", (run,)).fetchone()
    return row


def check_head(driver: Driver, head: Head | None, last: int, where: str) -> None:
    """Raise StoreDamaged when the hash chain up to row `last` does not contain the row that its head file names.

    A head file names the newest durable row, None stands for a missing file. `last` is the number of the newest row of
    the chain, 0 without one.
    """
    if head is None:
        if last:
            raise StoreDamaged(f"{where} is missing, but the journal has {last} rows")
        return
    if head.number > last:
        raise StoreDamaged(
            f"the journal ends at row {last}, but {where} names row {head.number} (entry {head.seq} of run"
            f" {head.run}), which was acted upon: later rows are lost"
        )
    if head.number:
        (stored_hash,) = driver.execute("SELECT hash FROM journal WHERE number = ?", (head.number,)).fetchone() or (
            b"",
        )
        if bytes(stored_hash) != head.hash:
            raise StoreDamaged(f"journal row {head.number} has another hash than the row that {where} names")
