"""What PostgreSQL holds is what SQLite holds, and a server that is away is said to be."""

import threading
import time

import pytest

from quantd.adapters.store.handle import Store
from quantd.adapters.store.journal.writer import BadBar, SnapshotOf
from quantd.adapters.store.queries import Reader, engine_of
from quantd.adapters.store.store_errors import StoreDamaged, StoreFailing, StoreMismatch
from quantd.adapters.store.tables.projection import COLUMNS
from quantd.adapters.store.upkeep.verify import verify
from quantd.trading import codec
from tests.support.store import AGENTS, START, UNIVERSE, batch, entries

RUN = "7f3k2m1a"


@pytest.mark.long
def test_postgresql_holds_what_sqlite_holds(postgres, tmp_path):
    url = postgres.where
    day = entries(300, 5)
    dumps = []
    for where, state in ((url, tmp_path / "state"), (tmp_path / "file", None)):
        first = 1
        for _ in range(3):
            with Store.open(where, state=state, capacity=20) as store:
                fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
                for _ in range(10):
                    entry_batch = batch(fold, first, day[first - 1 : first + 9], durable=first % 20 == 1)
                    entry_batch.snapshot = SnapshotOf(first + 9, "1", b"state %d" % first)
                    entry_batch.quarantine = [BadBar(START, "SPY", "nan", "x")]
                    store.commit(entry_batch)
                    store.acknowledge([m.key for m in store.pending(1)])
                    first += 10
        with Store.open(where, state=state, capacity=20) as store:
            read = Reader(engine_of(where), store.runs()[0])
            with store.connection() as db:
                models = {t: db.execute(f"SELECT {', '.join(c)} FROM {t}").fetchall() for t, c in COLUMNS.items()}
            dumps.append(
                {
                    "models": {
                        t: sorted(map(tuple, rows)) for t, rows in models.items() if t not in ("alerts", "decisions")
                    },
                    "alerts": read.alerts(),
                    "entries": list(store.entries(RUN)),
                    "snapshot": store.latest_snapshot(RUN),
                    "pending": store.pending(),
                    "orders": read.orders(),
                    "fills": read.shares(),
                    "decisions": read.decisions(),
                    "dropped": store.dropped(),
                }
            )
    assert dumps[0] == dumps[1]

    with Store.open(url, state=tmp_path / "state") as store:
        with pytest.raises(StoreFailing, match="entry 301 of run 7f3k2m1a is next"):
            store.commit(batch(store.begin(RUN, UNIVERSE, agents=AGENTS), 900, day[:2]))
        with store.connection() as db:
            db.begin(durable=True)
            db.execute("DELETE FROM journal WHERE number >= 29")
            db.commit()
    with pytest.raises(StoreDamaged, match="the journal ends at row 28"):
        Store.open(url, state=tmp_path / "state")


def test_a_server_that_is_away_is_a_failing_store(tmp_path):
    pytest.importorskip("psycopg", reason="psycopg, the PostgreSQL driver, is not installed")
    with pytest.raises(StoreFailing, match="making the store"):
        Store.open(f"postgresql://quantd@/postgres?host={tmp_path}", state=tmp_path / "state")
    with pytest.raises(StoreMismatch, match="needs a state folder"):
        Store.open("postgresql://quantd@/postgres")
    for wrong in ("mysql://host/db", "postgres//x://"):
        with pytest.raises(StoreMismatch, match=r"write postgresql://USER@HOST"):
            Store.open(wrong, state=tmp_path / "state")


@pytest.mark.long
def test_a_server_that_crashes_between_and_within_commits_costs_nothing(postgres, crash):
    """What failed is tried again, as the daemon does: nothing is lost and nothing is there twice."""
    day = entries(120, 8)
    failed = 0
    with postgres.open(account="paper:one", lease_s=60.0) as store:
        fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
        crasher = None
        for first in range(1, 121, 2):
            if first % 40 == 21:
                crasher = threading.Thread(target=crash)
                crasher.start()
            if crasher is not None and crasher.is_alive():
                time.sleep(0.05)  # some commits before it goes, some while it is away
            entry_batch = batch(fold, first, day[first - 1 : first + 1], durable=True)
            deadline = time.monotonic() + 60
            while True:
                try:
                    store.commit(entry_batch)
                    break
                except StoreFailing:
                    failed += 1
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            assert store.lease.valid()
            if crasher is not None and first % 40 == 39:
                crasher.join()
        assert [data for _, data in store.entries(RUN)] == [codec.encode(*entry) for entry in day]
        assert verify(store.where, store.folder) == []
    assert failed > 0, "the server was never away"
