"""What PostgreSQL holds is what SQLite holds, and a server that is away is said to be."""

import threading
import time

import pytest

from quantd.adapters.store.handle import Store
from quantd.adapters.store.store_errors import StoreFailing
from quantd.adapters.store.upkeep.verify import verify
from quantd.trading import codec
from tests.support.store import AGENTS, UNIVERSE, batch, entries

RUN = "7f3k2m1a"


def test_a_server_that_is_away_is_a_failing_store(tmp_path):
    pytest.importorskip("psycopg", reason="psycopg, the PostgreSQL driver, is not installed")
    with pytest.raises(StoreFailing, match="making the store"):
        Store.open(f"postgresql://quantd@/postgres?host={tmp_path}", state=tmp_path / "state")
    with pytest.raises(StoreFailing, match="needs a state folder"):
        Store.open("postgresql://quantd@/postgres")
    for wrong in ("mysql://host/db", "postgres//x://"):
        with pytest.raises(StoreFailing, match=r"write postgresql://USER@HOST"):
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
