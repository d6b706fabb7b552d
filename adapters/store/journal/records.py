"""Read access to a store for recovery, the bus and the command line: runs, journal entries, snapshots, the outbox."""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from quantd.adapters.store.driver import Driver, Queries, failures
from quantd.adapters.store.incidents.incident_fold import Incident, Incidents
from quantd.adapters.store.journal.archives import archives_of, last_seqs, rows_of
from quantd.adapters.store.journal.chain import JOURNAL_COLUMNS, Link, broken, check_run, link_of, row_digest, unpack
from quantd.adapters.store.journal.job_runs import JobRun, job_runs
from quantd.adapters.store.journal.queues import BUS, count, waiting
from quantd.adapters.store.journal.writer import RUN_COLUMNS, SNAPSHOT_COLUMNS
from quantd.adapters.store.store_errors import NO_RUN, StoreDamaged, StoreMismatch
from quantd.adapters.store.tables.outbox_bound import Message
from quantd.adapters.store.tables.projection import OpenBasket, Projection, Rows
from quantd.adapters.store.tables.table_models import columns_of
from quantd.trading import codec
from quantd.trading.instruments import Universe
from quantd.trading.orders import ENDED, OrderState

MAX_SEQ: Final = 2**63 - 1
"""Larger than the number of any entry."""

INTO: Final = "carried into "
"""Start of the recorded reason for the end of a run whose account was carried over; the name of the new run follows."""

Epoch = tuple[int, tuple[str, ...]]
"""(first entry with these agents, names of the agents by index)."""

# the states of orders that have not ended, for SQL
_WORKING = ", ".join(str(int(s)) for s in OrderState if s not in ENDED)


class RunRecord(Struct, frozen=True):
    """One account history (run).

    `ended` is the reason why the run cannot be continued, empty while it can. `epochs` has one member for each set of
    agents over time, oldest first.
    """

    number: int
    run: str
    ts: int
    mode: str
    universe: Universe
    epochs: tuple[Epoch, ...]
    ended_ts: int
    ended: str

    @property
    def agents(self) -> tuple[str, ...]:
        return self.epochs[-1][1]

    def agents_at(self, seq: int) -> tuple[str, ...]:
        """Return the names of the agents at the time of journal entry `seq`."""
        return next((names for first, names in reversed(self.epochs) if first <= seq), ())

    def index_at(self, agent: str, seq: int) -> int:
        """Return the index of an agent at the time of journal entry `seq`; -2, which no book has, where it had none."""
        names = self.agents_at(seq)
        return names.index(agent) if agent in names else -2


class Records:
    """Reads a store through its own connections, each closed after its call; it never waits for the writer."""

    def __init__(self, connect: Callable[[], Driver], archives: Path | None = None) -> None:
        self._connect = connect
        self.archives: Final = archives
        """The first folder to search for archives of the journal."""

    @contextmanager
    def connection(self) -> Iterator[Driver]:
        """Yield a connection for reading, which is closed at the end. Raises StoreError where the store fails."""
        with failures("reading the store"), closing(self._connect()) as driver:
            yield driver

    def runs(self) -> list[RunRecord]:
        """Return all runs, oldest first."""
        with self.connection() as driver:
            return run_records(driver)

    def run(self, name: str | None = None) -> RunRecord:
        """Return one run by name, by default the newest. Raises StoreMismatch for an unknown run, with the names of the
        existing ones."""
        records = {record.run: record for record in self.runs()}
        if name is None and not records:
            raise StoreMismatch(NO_RUN)
        record = records.get(next(reversed(records)) if name is None else name)
        if record is None:
            raise StoreMismatch(f"there is no run {name}; there are: {', '.join(records) or 'none'}")
        return record

    def carried_run(self, run: str) -> str | None:
        """Return the name of the run whose account was carried over into `run`; None for a run that carries none."""
        return next((record.run for record in self.runs() if record.ended == INTO + run), None)

    def chain(self, run: str) -> list[str]:
        """Return the names of a run and of all runs whose account it continues, the oldest first."""
        chain = [run]
        while (before := self.carried_run(chain[0])) is not None:
            chain.insert(0, before)
        return chain

    def current_run(self) -> str | None:
        """Return the newest run, ended or not; None in a new store."""
        runs = self.runs()
        return runs[-1].run if runs else None

    def job_runs(self, run: str) -> list[JobRun]:
        """Return the runs of scheduled jobs, oldest first."""
        with self.connection() as driver:
            return job_runs(driver, run)

    def identity(self, run: str) -> dict[str, str]:
        """Return what a run was last connected to, by name; empty before its first connection.

        Raises StoreDamaged for a changed row.
        """
        identity = {}
        with self.connection() as driver:
            sql = "SELECT name, value, digest FROM identities WHERE run = ? ORDER BY name"
            for name, value, digest in driver.execute(sql, (run,)).fetchall():
                if row_digest(run, name, value) != bytes(digest):
                    raise StoreDamaged(f"identities: the row {run}, {name} does not match its digest")
                identity[name] = value
        return identity

    def order_state(self, run: str, order: str) -> int | None:
        """Return the state of an order of the run by its id; None for an unknown id."""
        with self.connection() as driver:
            row = driver.execute("SELECT state FROM orders WHERE run = ? AND id = ?", (run, order)).fetchone()
            return None if row is None else int(row[0])

    def last_seq(self, run: str) -> int:
        """Return the number of the run's last entry; 0 without entries."""
        with self.connection() as driver:
            return last_seqs(driver).get(run, 0)

    def entries(self, run: str, from_seq: int = 0) -> Generator[tuple[int, bytes], None, None]:
        """Iterate over (seq, entry) of a run in order, from `from_seq` on, from archives and journal.

        Each row's hash is verified before its entries are returned. Raises StoreDamaged for a changed or missing row.
        """
        previous: Link | None = None
        with self.connection() as driver:
            for link in links(driver, self.archives, run, from_seq):
                # a row of another run may lie between: its hash is not read here, and only `link` itself is checked
                prev = previous.hash if previous is not None and previous.number == link.number - 1 else link.prev
                if wrong := broken(link, prev, link.number):
                    raise StoreDamaged(f"journal: {wrong}")
                # The first row may begin before `from_seq`; every other row begins where the previous one ended.
                expected = min(link.first_seq, max(from_seq, 1)) if previous is None else previous.last_seq + 1
                if link.first_seq != expected:
                    raise StoreDamaged(f"journal: entries {expected} to {link.first_seq - 1} of run {run} are missing")
                previous = link
                entries = unpack(link.packing, link.blob)
                skip = max(from_seq - link.first_seq, 0)
                yield from enumerate(entries[skip:], link.first_seq + skip)

    def sending_entry(self, run: str, sample: int, n: int) -> tuple[int, bytes] | None:
        """Return (seq, entry) of the journal entry that sent order basket `n` of `sample`; None for an unknown basket.

        Raises StoreDamaged for a changed or missing journal row.
        """
        with self.connection() as driver:
            sql = "SELECT MIN(seq) FROM orders WHERE run = ? AND sample = ? AND n = ?"
            (seq,) = driver.execute(sql, (run, sample, n)).fetchone()
        if seq is None:
            return None
        with closing(self.entries(run, int(seq))) as entries:
            return next(entries, None)

    def latest_snapshot(
        self, run: str, version: str | None = None, before: int | None = None
    ) -> tuple[int, bytes] | None:
        """Return (seq, data) of the newest snapshot; None without one. Raises StoreDamaged for a changed row.

        With `version`, only snapshots of that code version count. With `before`, only snapshots after an entry whose
        number is less than `before` count.
        """
        sql = f"SELECT {', '.join(SNAPSHOT_COLUMNS)} FROM snapshots WHERE run = ?"
        values = tuple(value for value in (run, version, before) if value is not None)
        with self.connection() as driver:
            conditions = ("" if version is None else " AND version = ?") + ("" if before is None else " AND seq < ?")
            row = driver.execute(f"{sql}{conditions} ORDER BY seq DESC LIMIT 1", values).fetchone()
        if row is None:
            return None
        # a row is (run, seq, version, data, digest)
        if row_digest(*row[:3], bytes(row[3])) != bytes(row[4]):
            raise StoreDamaged(f"snapshots: the snapshot of run {run} after entry {row[1]} does not match its digest")
        return int(row[1]), bytes(row[3])

    def pending(self, limit: int = 100, sink: str = BUS) -> list[Message]:
        """Return the messages queued for a sink, by default the bus, oldest first."""
        with self.connection() as driver:
            return waiting(driver, limit, sink)

    def waiting(self, sink: str = BUS) -> int:
        """Return the number of messages queued for a sink, by default the bus."""
        with self.connection() as driver:
            return count(driver, sink)

    def dropped(self) -> int:
        """Return the number of messages that a full outbox ever dropped."""
        with self.connection() as driver:
            row = driver.execute("SELECT value FROM meta WHERE name = 'outbox_dropped'").fetchone()
        return int(row[0])

    def open_baskets(self, run: str, columns: dict[str, int]) -> dict[tuple[int, int], OpenBasket]:
        """Return the baskets (orders of one decision) that have an open order, by (sample, n). Each has its ended
        orders too.

        `columns` maps a symbol to its column.
        """
        with self.connection() as driver:
            keys = driver.execute(
                f"SELECT DISTINCT sample, n FROM orders WHERE run = ? AND state IN ({_WORKING}) ORDER BY sample, n",
                (run,),
            ).fetchall()
            baskets = {}
            for sample, n in keys:
                rows = driver.execute(
                    "SELECT state, filled, ended_ts, note, symbol FROM orders WHERE run = ? AND sample = ? AND n = ?"
                    " ORDER BY row",
                    (run, sample, n),
                ).fetchall()
                state, filled, ended, note, symbol = (list(column) for column in zip(*rows, strict=True))
                baskets[sample, n] = OpenBasket(state, filled, ended, note, [columns[name] for name in symbol])
        return baskets

    def incidents(self, run: str) -> Incidents:
        """Return the incidents of a run, to which later journal entries can be applied."""
        with self.connection() as driver:
            return Incidents(incidents_of(driver, run))

    def incident(self, run: str, id: str) -> Incident | None:
        """Return an incident by its id, cleared or not; None for an unknown one."""
        columns = columns_of("incidents")
        sql = f"SELECT {', '.join(columns)} FROM incidents WHERE run = ? AND id = ? ORDER BY seq DESC, k DESC LIMIT 1"
        with self.connection() as driver:
            row = driver.execute(sql, (run, id)).fetchone()
        return None if row is None else incident_of(dict(zip(columns, row, strict=True)))


def incidents_of(driver: Queries, run: str, until_seq: int = MAX_SEQ) -> list[Incident]:
    """Return the newest incident of each kind, agent and symbol, as of journal entry `until_seq`: the state to which
    later entries can be applied."""
    columns = columns_of("incidents")
    sql = (
        f"SELECT {', '.join(f'i.{name}' for name in columns)} FROM incidents AS i JOIN (SELECT kind, agent, symbol,"
        " MAX(seq) AS seq FROM incidents WHERE run = ? AND seq <= ? GROUP BY kind, agent, symbol) AS n"
        " ON i.seq = n.seq AND i.kind = n.kind AND i.agent = n.agent AND i.symbol = n.symbol"
        " WHERE i.run = ? ORDER BY i.seq, i.k"
    )
    rows = driver.execute(sql, (run, until_seq, run)).fetchall()
    incident_rows = (dict(zip(columns, row, strict=True)) for row in rows)
    newest = {(row["kind"], row["agent"], row["symbol"]): row for row in incident_rows}
    return [incident_of(row) for row in newest.values()]


def incident_of(row: Mapping[str, Any]) -> Incident:
    """Convert a row of the table of incidents, given by column name, to an Incident."""
    fields = {name: row[name] for name in Incident.__struct_fields__}
    sinks = tuple(msgspec.json.decode(row["sinks"], type=list[str]))
    return Incident(**(fields | {"sinks": sinks, "told": bool(row["told"])}))


def links(driver: Driver, folder: Path | None, run: str, from_seq: int) -> Iterator[Link]:
    """Iterate over the journal rows of a run with entries from `from_seq` on, archives first, as of one instant of
    the store."""
    driver.snapshot()
    for archive in archives_of(driver):
        if any(name == run and last >= from_seq for name, _, last in archive.runs):
            yield from rows_of(archive, folder, run, from_seq)
    sql = f"SELECT {', '.join(JOURNAL_COLUMNS)} FROM journal WHERE run = ? AND last_seq >= ? ORDER BY number"
    yield from map(link_of, driver.stream(sql, (run, from_seq)))


class Refold:
    """Applies the journal's entries a second time, to compute the read-model rows again for a comparison."""

    def __init__(self, driver: Queries) -> None:
        self.runs = {record.run: record for record in run_records(driver)}
        self.folds = {name: Projection(name, record.universe.symbols) for name, record in self.runs.items()}

    def rows(self, link: Link) -> Rows:
        """Return the rows of the read models (derived tables) that follow from one journal row.

        Raises StoreDamaged for an unknown run or a malformed entry.
        """
        fold = self.folds.get(link.run)  # the projection of the run, which converts entries to rows
        if fold is None:
            raise StoreDamaged(f"journal: row {link.number} is of run {link.run}, which the table `runs` lacks")
        entries = unpack(link.packing, link.blob)
        if len(entries) != link.count:
            raise StoreDamaged(f"journal: row {link.number} does not have as many entries as its column `count` says")
        fold.agents = self.runs[link.run].agents_at(link.first_seq)
        for seq, data in enumerate(entries, link.first_seq):
            entry = codec.decode(data)
            fold.add(seq, entry.event, entry.effects)
        return fold.take()


def run_records(driver: Queries) -> list[RunRecord]:
    """Return all runs, oldest first. Raises StoreDamaged for a changed row."""
    rows = driver.execute(f"SELECT {', '.join(RUN_COLUMNS)} FROM runs ORDER BY number").fetchall()
    records = []
    for number, run, ts, mode, universe, agents, ended_ts, ended in map(check_run, rows):
        run_universe = msgspec.json.decode(universe, type=Universe)
        epochs = msgspec.json.decode(agents, type=tuple[Epoch, ...])
        records.append(RunRecord(number, run, ts, mode, run_universe, epochs, ended_ts, ended))
    return records
