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
from typing import Final, TypeVar

import msgspec

from adapters.store.chain import GENESIS, Head, HeadFile, sync_folder
from adapters.store.driver import Driver, SqliteDriver, UrlDriver, failures
from adapters.store.errors import StoreDamaged, StoreFailing
from adapters.store.lock import StateLock
from adapters.store.outbox import CAPACITY, Key, Message
from adapters.store.projection import Projection
from adapters.store.records import Epoch, Records, RunRecord
from adapters.store.writing import Batch, SnapshotOf, Writer
from trading.instruments import Universe

_T = TypeVar("_T")

FILE: Final = "quantd.db"
HEAD: Final = "journal.head"

_IN_FLIGHT: Final = 8
"""Batches on their way to the writer; one more waits in `submit`."""


class Store:
    """One state folder, held by one process. Made by `Store.open`; methods may be called from any thread."""

    def __init__(
        self, where: str | Path, lock: StateLock, writer: Writer, records: Records, thread: ThreadPoolExecutor
    ) -> None:
        self._where = where
        self._lock = lock
        self._writer = writer
        self._thread = thread
        self._slots = BoundedSemaphore(_IN_FLIGHT)
        self.records = records

    @classmethod
    def open(
        cls,
        where: str | Path,
        *,
        state: Path | None = None,
        create: bool = True,
        capacity: int = CAPACITY,
    ) -> "Store":
        """Open a state folder, a database file in one, or a database URL with `state` for lock and head.

        Raises StoreLocked, StoreDamaged (also when the journal does not reach its head), StoreFull, StoreFailing.
        """
        folder, connect, path = locate(where, state)
        if not create and path is not None and not path.exists() and not (folder / HEAD).exists():
            raise StoreFailing(f"{path}: there is no store here")
        with failures(f"opening {folder}"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = StateLock(folder)
        thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        head = HeadFile(folder / HEAD)
        writer = Writer(connect, head, capacity)
        try:
            thread.submit(_prepare, path, connect, head).result()
            thread.submit(writer.open).result()
        except BaseException:
            thread.submit(writer.close).result()
            thread.shutdown()
            lock.release()
            raise
        return cls(where, lock, writer, Records(partial(_reading, path, connect)), thread)

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

    def put_snapshot(self, run: str, seq: int, version: str, data: bytes) -> None:
        """Keep a snapshot by itself; with its entries in one transaction it goes in the Batch."""
        self._do(self._writer.snapshot, run, SnapshotOf(seq, version, data))

    def acknowledge(self, keys: Sequence[Key]) -> int:
        """Forget messages that arrived; how many of them still waited."""
        return self._do(self._writer.acknowledge, list(keys))

    def close(self) -> None:
        """Wait for the writer, close, give the folder free. A second call does nothing."""
        if self._lock.held:
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

    def verify(self) -> list[str]:
        """The full check of `adapters.store.verify`, in this thread: seconds for a long journal."""
        from adapters.store.verify import verify

        return verify(self._where)

    def waiting(self) -> int:
        """How many messages wait for the bus."""
        return self.records.waiting()

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


def read_only(where: str | Path) -> Records:
    """The records of a store that another process may be writing. Raises StoreFailing when there is none."""
    _, connect, path = locate(where, Path())
    if path is not None and not path.exists():
        raise StoreFailing(f"{path}: there is no store here; `quantd run` makes one")
    return Records(partial(_reading, path, connect))


def _reading(path: Path | None, connect: Callable[[], Driver]) -> Driver:
    return connect() if path is None else SqliteDriver(path, read_only=True)


def _prepare(path: Path | None, connect: Callable[[], Driver], head: HeadFile) -> None:
    """Make file, tables and head where there are none. A crash in between leaves what the next start completes."""
    with failures("making the store"):
        if path is not None and not path.exists():
            known = head.read()
            if known is not None and known.number:
                raise StoreDamaged(f"{path} is missing, but {head.path} says that its journal had {known.number} rows")
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            sync_folder(path.parent)
        driver = connect()
        try:
            version = _schema_version(driver)
            dialect = "sqlite" if path is not None else "postgresql"
            if version is None:
                _create(driver, dialect)
            elif version == "1":
                _complete(driver, dialect)
            else:
                raise StoreFailing(f"the store has schema {version}, this version of quantd knows schema 1")
            if head.read() is None and driver.execute("SELECT number FROM journal LIMIT 1").fetchone() is None:
                head.write(Head(0, "", 0, GENESIS))
        finally:
            driver.close()


def _schema_version(driver: Driver) -> str | None:
    try:
        row = driver.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
    except Exception as wrong:
        if "meta" in str(wrong):  # no such table, as each database says it
            return None
        raise
    return None if row is None else str(row[0])


def _create(driver: Driver, dialect: str) -> None:
    from adapters.store.schema import statements

    driver.begin(durable=True)
    for statement in statements(dialect):
        driver.execute(statement)
    driver.execute("INSERT INTO meta (name, value) VALUES ('schema', '1'), ('outbox_dropped', '0')")
    driver.commit()


def _complete(driver: Driver, dialect: str) -> None:
    """Add the tables that came after a store was made: what they hold is folded from entries that it has none of."""
    from adapters.store.schema import LATER, statement_of

    for table in LATER:
        try:
            driver.execute(f"SELECT run FROM {table.__tablename__} LIMIT 1").fetchone()
        except Exception as wrong:
            if str(table.__tablename__) not in str(wrong):  # no such table, as each database says it
                raise
            driver.begin(durable=True)
            driver.execute(statement_of(table, dialect))
            driver.commit()


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
