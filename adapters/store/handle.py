"""The daemon's interface to the store: opened once, written by one thread, readable from any thread.

store = Store.open("state")
fold = store.begin(run, universe, agents=names)        # the projection of the run
fold.add(seq, event, effects)                          # for each entry of a batch
store.commit(Batch(run, first_seq, entries, ts, fold.take(), durable=True))
"""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import BoundedSemaphore
from typing import Final, TypeVar

import msgspec

from quantd.adapters.store.driver import Driver, failures
from quantd.adapters.store.journal.chain import Head, HeadFile, newest, sync
from quantd.adapters.store.journal.compaction import Compacted, Keep, archived, forget_old, last_to_move
from quantd.adapters.store.journal.job_runs import JobRun
from quantd.adapters.store.journal.queues import BUS
from quantd.adapters.store.journal.records import Epoch, Records
from quantd.adapters.store.journal.writer import Batch, Writer
from quantd.adapters.store.last_state import connect_to_read, locate, to_read
from quantd.adapters.store.lease import LEASE_S, Claim, Lease, Renewing, Unleased, led_elsewhere, refuse_held, take
from quantd.adapters.store.lock import ARCHIVES, HEAD, StateLock
from quantd.adapters.store.migrations.upgrade import make, migrate
from quantd.adapters.store.store_errors import StoreDamaged, StoreFull, StoreMismatch, StoreVersion
from quantd.adapters.store.tables.outbox_bound import CAPACITY, Key
from quantd.adapters.store.tables.projection import Projection
from quantd.adapters.store.tables.revision import REVISION, refuse_unknown, revision_of
from quantd.regular_file import open_regular
from quantd.trading.instruments import Universe

_T = TypeVar("_T")


Save = Callable[[str | Path, Path], Path]
"""Makes a backup of an older store: (folder, file or URL of the store; its state folder) -> the backup file.

`upkeep.backup.before_upgrade` is such a function.
"""

_IN_FLIGHT: Final = 8
"""Batches queued for the writer; a further one blocks in `submit`."""


class Store(Records):
    """The store of one state folder, locked by one process: its records, and the writer of new ones.

    Methods may be called from any thread. `Store.open` creates the object. `where` is the database, `folder` the state
    folder.
    """

    def __init__(
        self,
        where: str | Path,
        lock: StateLock,
        writer: Writer,
        connect: Callable[[], Driver],
        thread: ThreadPoolExecutor,
        lease: Lease | Unleased,
        folder: Path,
        saved: Path | None = None,
    ) -> None:
        """Begin to renew the lease, if there is one; `open` calls this with everything opened.

        `lock` excludes other processes from the state folder, `lease` other writers from the account. `writer` runs in
        `thread` only, and `connect` opens connections for reading.
        """
        super().__init__(connect, folder / ARCHIVES)
        self.where = where
        self.folder = folder
        self.saved: Final = saved
        """The backup that was made before this opening upgraded the store; None without an upgrade."""
        self._head = HeadFile(folder / HEAD)
        self.lease: Final = lease
        """Check `lease.valid()` immediately before anything leaves the process."""
        self._lock = lock
        self._writer = writer
        self._thread = thread
        self._slots = BoundedSemaphore(_IN_FLIGHT)
        self._renewing: Renewing | None = None
        self._unrenewed = ""  # the error of the last renewal, when it found the store full or damaged
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
        save: Save | None = None,
    ) -> "Store":
        """Open a store: a state folder, a database file in one, or a database URL with `state` as the folder of the
        lock file and the head file.

        With an `account` (the key of a venue's account or of a paper run), this process holds the account's lease while
        the store is open. `holder` is the name of this process in messages to a competing process. An older store is
        upgraded after `save` has made a backup of it; without `save` it is refused. Raises StoreLocked, Held,
        StoreVersion, StoreDamaged (also when the journal is shorter than its head file says), StoreFull and
        StoreMismatch.

        The head file names the newest durable row of the journal. `capacity` is the largest number of messages in a
        queue, `lease_s` the length of the lease in seconds.
        """
        folder, connect, path = locate(where, state)
        if not create and path is not None and not path.exists() and not (folder / HEAD).exists():
            raise StoreMismatch(f"{path}: there is no store here; name the state folder of a run with --state")
        with failures(f"opening {folder}"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = StateLock(folder)
        thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        head = HeadFile(folder / HEAD)
        # The lock of its folder excludes every other writer of a database file in it. A constant id therefore lets this
        # process take over the lease of an earlier writer at once, also after a restart of the machine.
        lock_id = "beside" if path is not None and path.parent.resolve() == folder.resolve() else lock.seat
        claim = None if account is None else Claim(account, holder, lock_id, lease_s)
        writer: Writer | None = None
        try:
            saver = None if save is None else partial(save, where, folder)
            lease, saved = thread.submit(_prepare, where, path, connect, head, lock_id, claim, saver).result()
            writer = Writer(connect, head, capacity, lease)
            thread.submit(writer.open).result()
        except BaseException:
            if writer is not None:
                thread.submit(writer.close).result()
            thread.shutdown()
            lock.release()
            raise
        return cls(
            where, lock, writer, partial(connect_to_read, path, connect), thread, lease or Unleased(), folder, saved
        )

    def begin(
        self, run: str, universe: Universe, *, agents: Sequence[str] = (), mode: str = "paper", ts: int = 0
    ) -> Projection:
        """Start or continue a run (one account history), and return its projection at the store's current position.

        The projection derives the read models. Raises StoreMismatch when the run has ended or has other symbols.

        If the agents changed, a new epoch (first entry, names of the agents) is stored. `ts` is the start of a new run
        (ns UTC).
        """
        record = next((stored_run for stored_run in self.runs() if stored_run.run == run), None)
        epochs: list[Epoch] = []
        if record is not None:
            if record.ended:
                raise StoreMismatch(f"run {run} has ended ({record.ended}); start a fresh one with --fresh")
            if record.universe.symbols != universe.symbols:
                raise StoreMismatch(
                    f"run {run} has other symbols than the configuration; start a fresh one with --fresh"
                )
            epochs = list(record.epochs)
        if not epochs or epochs[-1][1] != tuple(agents):
            first = self.last_seq(run) + 1
            epochs = [epoch for epoch in epochs if epoch[0] < first]  # agents that never had an entry are replaced
            epochs.append((first, tuple(agents)))
            self._in_thread(self._writer.begin, (run, ts, mode, _json(universe)), _json(epochs))
        return Projection(run, universe.symbols, agents, self.open_baskets(run, universe.index), self.incidents(run))

    def finish(self, run: str, ts: int, why: str) -> None:
        """Mark a run as ended: it is retained, and cannot be continued."""
        self._in_thread(self._writer.finish, run, ts, why)

    def submit(self, batch: Batch) -> "Future[None]":
        """Queue a batch for the writer. The future completes once the batch is committed (and synced, when durable).

        Batches are committed in order of submission. When one batch fails, those queued after it fail too, because
        their entry numbers would leave a gap. The caller then commits them again in order.
        """
        self._slots.acquire()
        future = self._thread.submit(self._writer.write, batch)
        future.add_done_callback(lambda _: self._slots.release())
        return future

    def commit(self, batch: Batch) -> None:
        """Commit a batch and wait. Raises StoreFull, StoreFailing or StoreDamaged; the same batch may be tried
        again."""
        self.submit(batch).result()

    @property
    def head(self) -> Head:
        """The newest row that this process has committed; call it when no commit is in progress."""
        return self._writer.head

    async def write(self, batch: Batch) -> None:
        """Commit a batch without blocking the event loop. Raises StoreFull, StoreFailing or StoreDamaged."""
        await asyncio.wrap_future(self.submit(batch))
        self._unrenewed = ""  # this commit renewed the lease

    def acknowledge(self, keys: Sequence[Key], sink: str = BUS) -> int:
        """Delete messages that a sink, by default the bus, has delivered; returns how many of them were still
        queued."""
        return self._in_thread(self._writer.acknowledge, list(keys), sink)

    def note_jobs(self, run: str, runs: Sequence[JobRun]) -> None:
        """Write records of scheduled jobs' runs. Raises StoreFull, StoreFailing or StoreDamaged."""
        self._in_thread(self._writer.note_jobs, run, runs)

    def note_identity(self, run: str, values: Mapping[str, str]) -> None:
        """Write what a run is connected to, by name. Raises StoreFull, StoreFailing or StoreDamaged."""
        self._in_thread(self._writer.note_identity, run, values)

    def compact(self, keep: Keep | None = None, folder: Path | None = None) -> Compacted:
        """Move old journal rows into archives in `folder`, by default `archives` in the state folder.

        Old read models (derived tables) are deleted as `keep` specifies. The calling thread writes the files, and
        commits continue meanwhile. Raises StoreFull, StoreFailing or StoreDamaged.

        `keep` says for how many days journal and read models stay; `folder` None means the state folder.
        """
        keep = keep or Keep()
        compacted = Compacted()
        with self.connection() as driver:
            first, last = last_to_move(driver, self._head.read(), keep.journal_days)
            for archive in archived(driver, first, last, folder or self.folder / ARCHIVES) if last >= first else ():
                self._in_thread(self._writer.cut, archive)
                compacted.files.append(str(archive.path(folder)))
                compacted.rows += archive.last - archive.first + 1
        with self.connection() as driver:
            compacted.forgotten = forget_old(driver, keep, partial(self._in_thread, self._writer.forget))
        return compacted

    def trouble(self) -> str:
        """Return, without a write, why the store would lose or refuse the next batch; empty if it would not.

        Detected faults are a deleted file, and a full or damaged store at the last renewal of the lease.
        """
        return self._writer.missing() or self._unrenewed

    def _renew(self) -> "Future[None]":
        """Renew the lease in the writer's thread, and note whether the store was full or damaged."""

        def note_fault(renewal: "Future[None]") -> None:
            error = None if renewal.cancelled() else renewal.exception()
            self._unrenewed = str(error) if isinstance(error, StoreFull | StoreDamaged) else ""

        future = self._thread.submit(self._writer.renew)
        future.add_done_callback(note_fault)
        return future

    def vacuum(self) -> None:
        """Return the space of deleted rows to the disk, for SQLite.

        The operation needs free space of the size of the store, and commits wait until it ends.
        """
        self._in_thread(self._writer.vacuum)

    def close(self) -> None:
        """Wait for the writer, close the connection and release the state folder. A second call has no effect."""
        if self._lock.held:
            if self._renewing is not None:
                self._renewing.end()
            self._in_thread(self._writer.close)
            self._thread.shutdown()
        self._lock.release()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def lock_lost(self) -> str:
        """Return the reason why another process could open this state folder for writing (a lost lock); empty while
        none can."""
        return self._lock.lost() if self._lock.held else ""

    def dropped(self, sink: str = BUS) -> int:
        """Return how many messages a full queue dropped: for the bus since the store exists, for a sink since this
        process started."""
        return super().dropped() if sink == BUS else self._writer.dropped(sink)

    def _in_thread(self, work: Callable[..., _T], *values: object) -> _T:
        """Call `work` in the writer's thread and wait for its result."""
        return self._thread.submit(work, *values).result()


def read_only(where: str | Path, state: Path | None = None) -> Records:
    """Open the records of a store for reading; another process may write meanwhile.

    `state` is the state folder of a store by URL, with its archives. Raises StoreMismatch if there is no store, and
    StoreVersion for a store of another version.
    """
    folder, connect = to_read(where, state)
    return Records(connect, None if folder is None else folder / ARCHIVES)


def _prepare(
    where: str | Path,
    path: Path | None,
    connect: Callable[[], Driver],
    head: HeadFile,
    lock_id: str,
    claim: Claim | None,
    save: Callable[[], Path] | None,
) -> tuple[Lease | None, Path | None]:
    """Create file, tables and head file of the store where missing, and take the lease. If the call is interrupted, the
    next start completes it.

    Returns the lease, and the backup of an older store that was upgraded.

    `lock_id` names the lock file that excludes other writers, `claim` the account whose lease is taken (None: no
    lease), `save` makes a backup.
    """
    saved: Path | None = None
    with failures("making the store"):
        if path is not None and not path.exists():
            stored_head = head.read()
            if stored_head is not None and stored_head.number:
                raise StoreDamaged(f"{path} is missing, but {head.path} names row {stored_head.number} of its journal")
            os.close(open_regular(path, os.O_RDWR | os.O_CREAT))
            sync(path.parent)
        with closing(connect()) as driver:
            revision = revision_of(driver)
            if not revision:
                make(driver)
            elif revision != REVISION:
                saved = _bring_up(driver, path or str(where), revision, lock_id, save)
            refuse_held(driver, lock_id)
            if head.read() is None:
                last = newest(driver)
                # a journal written from another state folder has its head file there; any other missing head is damage,
                # which the writer reports
                if not last.number or (claim is not None and path is None and led_elsewhere(driver, lock_id)):
                    head.write(last)
                driver.rollback()
            return None if claim is None else take(driver, claim), saved


def _bring_up(driver: Driver, where: str | Path, revision: str, lock_id: str, save: Callable[[], Path] | None) -> Path:
    """Upgrade an older store to the newest revision after a backup; return the backup.

    Raises StoreVersion for an unknown revision, or without `save`. A failed backup leaves the store unchanged.

    `lock_id` names the lock file that excludes other writers.
    """
    refuse_unknown(revision)
    if save is None:
        raise StoreVersion(f"the store is of revision {revision}; run `quantd upgrade`, which brings it to {REVISION}")
    refuse_held(driver, lock_id)
    driver.rollback()
    saved = save()
    migrate(where)
    return saved


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
