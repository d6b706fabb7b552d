"""The same store in PostgreSQL: a cluster of its own in a temporary folder, where PostgreSQL is installed."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.store.errors import StoreDamaged, StoreFailing
from adapters.store.projection import COLUMNS
from adapters.store.reading import Reader, engine_of
from adapters.store.store import Store
from adapters.store.writing import BadBar, SnapshotOf
from tests.adapters.store.store_days import AGENTS, START, UNIVERSE, batch, entries

RUN = "7f3k2m1a"


def _missing(what: str) -> None:
    if os.environ.get("QUANTD_REQUIRE_SERVICES") == "1":
        pytest.fail(f"{what}, and QUANTD_REQUIRE_SERVICES=1")
    pytest.skip(what)


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    pytest.importorskip("psycopg", reason="psycopg, the PostgreSQL driver, is not installed")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = str(found[-1]) if found else shutil.which("initdb")
    if initdb is None:
        _missing("PostgreSQL is not installed")
        return
    folder = Path("/tmp") / f"quantd-pg-{os.getpid()}"  # a socket's path must be short, and its user reach it
    folder.mkdir(mode=0o700)
    demote: dict[str, object] = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        demote = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    ctl = str(Path(initdb).with_name("pg_ctl"))

    def call(*words: str) -> None:
        subprocess.run(words, check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=120, **demote)  # type: ignore[call-overload]

    try:
        call(initdb, "-D", f"{folder}/data", "-A", "trust", "-U", "quantd", "--no-sync")
        call(
            ctl, "-D", f"{folder}/data", "-o", f"-k {folder} -c listen_addresses=", "-l", f"{folder}/log", "-w", "start"
        )
        try:
            yield f"postgresql://quantd@/postgres?host={folder}"
        finally:
            call(ctl, "-D", f"{folder}/data", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_postgresql_holds_what_sqlite_holds(url, tmp_path):
    day = entries(300, 5)
    dumps = []
    for where, state in ((url, tmp_path / "state"), (tmp_path / "file", None)):
        first = 1
        for _ in range(3):
            with Store.open(where, state=state, capacity=20) as store:
                fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
                for _ in range(10):
                    made = batch(fold, first, day[first - 1 : first + 9], durable=first % 20 == 1)
                    made.snapshot = SnapshotOf(first + 9, "1", b"state %d" % first)
                    made.quarantine = [BadBar(START, "SPY", "nan", "x")]
                    store.commit(made)
                    store.acknowledge([m.key for m in store.pending(1)])
                    first += 10
        with Store.open(where, state=state, capacity=20) as store:
            read = Reader(engine_of(where), store.runs()[0])
            with store.records.connection() as db:
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
                    "dropped": store.records.outbox_dropped(),
                }
            )
    assert dumps[0] == dumps[1]

    with Store.open(url, state=tmp_path / "state") as store:
        with pytest.raises(StoreFailing, match="entry 301 of run 7f3k2m1a is next"):
            store.commit(batch(store.begin(RUN, UNIVERSE, agents=AGENTS), 900, day[:2]))
        with store.records.connection() as db:
            db.begin(durable=True)
            db.execute("DELETE FROM journal WHERE number >= 29")
            db.commit()
    with pytest.raises(StoreDamaged, match="the journal ends at row 28"):
        Store.open(url, state=tmp_path / "state")


def test_a_server_that_is_away_is_a_failing_store(tmp_path):
    pytest.importorskip("psycopg", reason="psycopg, the PostgreSQL driver, is not installed")
    with pytest.raises(StoreFailing, match="making the store"):
        Store.open(f"postgresql://quantd@/postgres?host={tmp_path}", state=tmp_path / "state")
    with pytest.raises(StoreFailing, match="needs a state folder"):
        Store.open("postgresql://quantd@/postgres")
