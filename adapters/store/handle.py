"""The store as the daemon holds it: opened once, written by one thread, read from any.

store = Store.open("state")
fold = store.begin(run, universe, agents=names)        # the projection of the run
fold.add(seq, event, effects)                          # for each entry of a batch
store.commit(Batch(run, first_seq, entries, ts, fold.take(), durable=True))
"""

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from quantd.adapters.store.driver import Driver, SqliteDriver, UrlDriver, failures, table_names
from quantd.adapters.store.errors import StoreDamaged, StoreFailing, StoreFull, StoreVersion
from quantd.adapters.store.journal.chain import GENESIS, Head, HeadFile, sync_folder
from quantd.adapters.store.journal.records import Epoch, Records, RunRecord
from quantd.adapters.store.journal.writer import Batch, SnapshotOf, Writer
from quantd.adapters.store.lease import LEASE_S, Claim, Lease, Renewing, Unleased, led_elsewhere, refuse_held, take
from quantd.adapters.store.lock import StateLock
from quantd.adapters.store.migrations.upgrade import make, migrate, refuse_other, revision_of, steps_from
from quantd.adapters.store.tables.outbox_bound import CAPACITY, Key, Message
from quantd.adapters.store.tables.projection import Projection
from quantd.adapters.store.tables.schema import REVISION
from quantd.trading.instruments import Universe

if TYPE_CHECKING:
    from quantd.adapters.store.journal.compaction import Compacted, Keep

_T = TypeVar("_T")

FILE: Final = "quantd.db"
HEAD: Final = "journal.head"
ARCHIVES: Final = "archives"

_IN_FLIGHT: Final = 8
"""Batches on their way to the writer; one more waits in `submit`."""


class Store:
    """One state folder, held by one process. Made by `Store.open`; methods may be called from any thread.

    `where` is the database, `folder` the state folder.
    """

    def __init__(
        self,
        where: str | Path,
        lock: StateLock,
        writer: Writer,
        records: Records,
        thread: ThreadPoolExecutor,
        lease: Lease | Unleased,
        folder: Path,
    ) -> None:
        self.where = where
        self.folder = folder
        self._head = HeadFile(folder / HEAD)
        self.lease: Final = lease
        """Ask `lease.valid()` right before anything leaves the process."""
        self._lock = lock
        self._writer = writer
        self._thread = thread
        self._slots = BoundedSemaphore(_IN_FLIGHT)
        self.records = records
        self._renewing: Renewing | None = None
        self._unrenewed = ""
        if isinstance(lease, Lease):
            self._renewing = Renewing(lease, self._renew)
            self._renewing.start()

    @classmethod
    def open(
        cls,
        where: str | Path,
        *,
        state: Path | None = None,
        create: bool = True,
        capacity: int = CAPACITY,
        account: str | None = None,
        holder: str = "",
        lease_s: float = LEASE_S,
    ) -> "Store":
        """Open a state folder, a database file in one, or a database URL with `state` for lock and head.

        With an `account` (see `lease.account_key`) this process leads it while the store is open; `holder` is what another
        one is told. An older store to which tables are only added is brought up to date.

        Raises StoreLocked, Held, StoreVersion, StoreDamaged (also when the journal does not reach its head), StoreFull,
        StoreFailing.
        """
        folder, connect, path = locate(where, state)
        if not create and path is not None and not path.exists() and not (folder / HEAD).exists():
            raise StoreFailing(f"{path}: there is no store here")
        with failures(f"opening {folder}"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = StateLock(folder)
        thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        head = HeadFile(folder / HEAD)
        # a lock beside the store's own file says by itself that no other writes to it
        seat = "beside" if path is not None and path.parent.resolve() == folder.resolve() else lock.seat
        claim = None if account is None else Claim(account, holder, seat, lease_s)
        writer: Writer | None = None
        try:
            lease = thread.submit(_prepare, where, path, connect, head, seat, claim).result()
            writer = Writer(connect, head, capacity, lease)
            thread.submit(writer.open).result()
        except BaseException:
            if writer is not None:
                thread.submit(writer.close).result()
            thread.shutdown()
            lock.release()
            raise
        records = Records(partial(_reading, path, connect), folder / ARCHIVES)
        return cls(where, lock, writer, records, thread, lease or Unleased(), folder)

    def begin(
        self, run: str, universe: Universe, *, agents: Sequence[str] = (), mode: str = "paper", ts: int = 0
    ) -> Projection:
        """Start a run or continue one, with the projection that goes on where the store is.

        Raises StoreFailing when the run has ended or had other symbols.
        """
        known = next((r for r in self.runs() if r.run == run), None)
        epochs: list[Epoch] = []
        if known is not None:
            if known.ended:
                raise StoreFailing(f"run {run} has ended ({known.ended}); start a fresh one with --fresh")
            if known.universe.symbols != universe.symbols:
                raise StoreFailing(f"run {run} has other symbols; start a fresh one with --fresh")
            epochs = list(known.epochs)
        if not epochs or epochs[-1][1] != tuple(agents):
            first = self.last_seq(run) + 1
            epochs = [epoch for epoch in epochs if epoch[0] < first]
            epochs.append((first, tuple(agents)))
            self._do(self._writer.begin, (run, ts, mode, _json(universe)), _json(epochs))
        return Projection(run, universe.symbols, agents, self.records.resting(run, universe.index))

    def finish(self, run: str, ts: int, why: str) -> None:
        """Mark a run as ended: it is kept, and cannot be continued."""
        self._do(self._writer.finish, run, ts, why)

    def submit(self, batch: Batch) -> "Future[None]":
        """Hand a batch to the writer; the future is done once it is committed (and synced, when durable).

        Batches are committed in the order of submission. When one fails those behind it fail too, as the
        numbers of their entries no longer follow: commit them again in order.
        """
        self._slots.acquire()
        future = self._thread.submit(self._writer.write, batch)
        future.add_done_callback(lambda _: self._slots.release())
        return future

    def commit(self, batch: Batch) -> None:
        """Commit and wait. Raises StoreFull, StoreFailing or StoreDamaged; the same batch may be tried again."""
        self.submit(batch).result()

    async def write(self, batch: Batch) -> None:
        """Commit without blocking the event loop. Raises as `commit`."""
        await asyncio.wrap_future(self.submit(batch))
        self._unrenewed = ""

    def put_snapshot(self, run: str, seq: int, version: str, data: bytes) -> None:
        """Keep a snapshot by itself; with its entries in one transaction it goes in the Batch."""
        self._do(self._writer.snapshot, run, SnapshotOf(seq, version, data))

    def acknowledge(self, keys: Sequence[Key]) -> int:
        """Forget messages that arrived; how many of them still waited."""
        return self._do(self._writer.acknowledge, list(keys))

    def compact(self, keep: "Keep | None" = None, folder: Path | None = None) -> "Compacted":
        """Move old journal rows into archives in `folder` (`archives` in the state folder), and let go old read models
        where `keep` says so. The files are written in this thread: commits go on meanwhile. Raises as `commit`."""
        from quantd.adapters.store.journal.compaction import Compacted, Keep, archived, forget_old, last_to_move

        keep = keep or Keep()
        done = Compacted()
        with self.records.connection() as driver:
            first, last = last_to_move(driver, self._head.read(), keep.journal_days)
            for archive in archived(driver, first, last, folder or self.folder / ARCHIVES) if last >= first else ():
                self._do(self._writer.cut, archive)
                done.files.append(str(archive.path(folder)))
                done.rows += archive.last - archive.first + 1
        with self.records.connection() as driver:
            done.forgotten = forget_old(driver, keep, partial(self._do, self._writer.forget))
        return done

    def trouble(self) -> str:
        """Why the store would lose or refuse the next batch, seen without writing one: its file is gone, or the lease's
        timer found it full or damaged. Empty when nothing is wrong."""
        return self._writer.missing() or self._unrenewed

    def _renew(self) -> "Future[None]":
        def noted(done: "Future[None]") -> None:
            error = None if done.cancelled() else done.exception()
            self._unrenewed = str(error) if isinstance(error, StoreFull | StoreDamaged) else ""

        future = self._thread.submit(self._writer.renew)
        future.add_done_callback(noted)
        return future

    def vacuum(self) -> None:
        """Give the space of deleted rows back to the disk, where that is the store's to do: in SQLite. Needs as much room
        as the store then has; commits wait for it."""
        self._do(self._writer.vacuum)

    def close(self) -> None:
        """Wait for the writer, close, give the folder free. A second call does nothing."""
        if self._lock.held:
            if self._renewing is not None:
                self._renewing.end()
            self._do(self._writer.close)
            self._thread.shutdown()
        self._lock.release()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # what is read: see Records

    def runs(self) -> list[RunRecord]:
        return self.records.runs()

    def current_run(self) -> str | None:
        return self.records.current_run()

    def last_seq(self, run: str) -> int:
        return self.records.last_seq(run)

    def entries(self, run: str, from_seq: int = 0) -> Iterator[tuple[int, bytes]]:
        return self.records.entries(run, from_seq)

    def latest_snapshot(
        self, run: str, version: str | None = None, before: int | None = None
    ) -> tuple[int, bytes] | None:
        return self.records.latest_snapshot(run, version, before)

    def pending(self, limit: int = 100) -> list[Message]:
        return self.records.pending(limit)

    def waiting(self) -> int:
        """How many messages wait for the bus."""
        return self.records.waiting()

    def dropped(self) -> int:
        """How many messages for the bus a full outbox has cost, ever."""
        return self.records.outbox_dropped()

    def _do(self, work: Callable[..., _T], *values: object) -> _T:
        return self._thread.submit(work, *values).result()


def locate(where: str | Path, state: Path | None = None) -> tuple[Path, Callable[[], Driver], Path | None]:
    """State folder, how to connect for writing, and the file when there is one."""
    if "://" in str(where):
        if state is None:
            raise StoreFailing(f"{where}: a database by URL needs a state folder for its lock and head")
        return state, partial(UrlDriver, str(where)), None
    path = Path(where)
    path = path if path.suffix == ".db" else path / FILE
    return state or path.parent, partial(SqliteDriver, path), path


def for_reading(where: str | Path, state: Path | None = None) -> tuple[Path | None, Callable[[], Driver], Path | None]:
    """As `locate`, with connections that do not write; no folder where a store by URL has none named."""
    if state is None and "://" in str(where):
        return None, partial(UrlDriver, str(where)), None
    folder, connect, path = locate(where, state)
    return folder, partial(_reading, path, connect), path


def read_only(where: str | Path, state: Path | None = None) -> Records:
    """The records of a store that another process may be writing; `state` is the state folder of a store by URL, for its
    archives. Raises StoreFailing when there is none, and StoreVersion when it is of another version."""
    folder, connect, path = for_reading(where, state)
    if path is not None and not path.exists():
        raise StoreFailing(f"{path}: there is no store here; `quantd run` makes one")
    records = Records(connect, None if folder is None else folder / ARCHIVES)
    with records.connection() as driver:
        refuse_other(driver)
    return records


def _reading(path: Path | None, connect: Callable[[], Driver]) -> Driver:
    return connect() if path is None else SqliteDriver(path, read_only=True)


def _prepare(
    where: str | Path,
    path: Path | None,
    connect: Callable[[], Driver],
    head: HeadFile,
    seat: str,
    claim: Claim | None,
) -> Lease | None:
    """Make file, tables and head where there are none, and take the lease. A crash in between leaves what the next start
    completes."""
    with failures("making the store"):
        if path is not None and not path.exists():
            known = head.read()
            if known is not None and known.number:
                raise StoreDamaged(f"{path} is missing, but {head.path} says that its journal had {known.number} rows")
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            sync_folder(path.parent)
        driver = connect()
        try:
            revision = revision_of(driver)
            if not revision:
                make(driver)
            elif revision != REVISION:
                _bring_up(driver, path or str(where), revision, seat)
            refuse_held(driver, seat)
            if head.read() is None:
                # a journal led from another state folder before has its head there
                _begin_head(driver, head, claim is not None and path is None and led_elsewhere(driver, seat))
            return None if claim is None else take(driver, claim)
        finally:
            driver.close()


def _bring_up(driver: Driver, where: str | Path, revision: str, seat: str) -> None:
    """An older store to the newest revision, when that only adds tables. Raises StoreVersion otherwise."""
    steps = steps_from(revision)
    changing = [f"{step.revision} ({step.text})" for step in steps if not step.adds_tables_only]
    if changing:
        raise StoreVersion(
            f"the store is of revision {revision}, and {', '.join(changing)} changes what is in it: run `quantd upgrade`,"
            " which makes a backup first"
        )
    if "lease" in table_names(driver):
        refuse_held(driver, seat)
    driver.rollback()
    migrate(where)


def _begin_head(driver: Driver, head: HeadFile, elsewhere: bool) -> None:
    """The head of a new journal; or, where the account was led from another state folder before, of the journal as it
    stands. Without either a missing head is damage, which the writer says."""
    row = driver.execute("SELECT number, run, last_seq, hash FROM journal ORDER BY number DESC LIMIT 1").fetchone()
    driver.rollback()
    if row is None:
        head.write(Head(0, "", 0, GENESIS))
    elif elsewhere:
        head.write(Head(row[0], row[1], row[2], bytes(row[3])))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
