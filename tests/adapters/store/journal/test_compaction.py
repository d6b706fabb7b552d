"""Old journal rows in archives: one chain over the cut, read as before, and no instant at which anything is lost."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from hashlib import blake2b

import pytest

from quantd.adapters.store.handle import Store, read_only
from quantd.adapters.store.journal import compaction
from quantd.adapters.store.journal.compaction import Keep
from quantd.adapters.store.journal.writer import SnapshotOf
from quantd.adapters.store.store_errors import StoreDamaged
from quantd.adapters.store.tables.projection import COLUMNS
from quantd.adapters.store.upkeep.verify import verify
from quantd.trading import codec
from quantd.trading.sessions import DAY_NS
from tests.support.store import AGENTS, START, UNIVERSE, Desk, batch, entries, image, lay, put_snapshot

RUN = "7f3k2m1a"
SEED = int(os.environ.get("QUANTD_STORE_SEED", "1"))
DAY = entries(240, SEED)
TRUTH = [codec.encode(*entry) for entry in DAY[:200]]
ALL = Keep(journal_days=0)


def fill(desk: Desk, last: int = 200, size: int = 10, snapshots: tuple[int, ...] = (100, 150)) -> None:
    """Rows of `size` entries, a day apart, with snapshots after some."""
    with desk.open() as store:
        fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
        first = store.last_seq(RUN) + 1
        while first <= last:
            entry_batch = batch(fold, first, DAY[first - 1 : first - 1 + size], durable=True)
            entry_batch.ts = START + first // size * DAY_NS
            end = first + len(entry_batch.entries) - 1
            if end in snapshots:
                entry_batch.snapshot = SnapshotOf(end, "1", b"state %d" % end)
            store.commit(entry_batch)
            first = end + 1


def rows(desk: Desk) -> list[int]:
    return [number for (number,) in desk.sql("SELECT number FROM journal ORDER BY number")]


@pytest.mark.long
def test_rows_before_the_oldest_snapshot_go_and_everything_reads_as_before(desk):
    fill(desk)
    before = {table: sorted(desk.sql(f"SELECT * FROM {table}"), key=repr) for table in COLUMNS}
    with desk.open() as store:
        done = store.compact(ALL)
        assert done.rows == 10
        assert rows(desk) == list(range(11, 21))
        for start in (0, 1, 55, 100, 101, 102, 200, 201):
            assert [seq for seq, _ in store.entries(RUN, start)] == list(range(max(start, 1), 201))
        assert [data for _, data in desk.read_only().entries(RUN)] == TRUTH
        assert store.latest_snapshot(RUN) == (150, b"state 150")
        assert verify(store.where, store.folder) == []
        assert store.compact(ALL).rows == 0  # again: nothing is left to do
    (path,) = (desk.state / "archives").glob("*.parquet")
    assert done.files == [str(path)]
    # the checksum beside it is what b2sum writes
    assert path.with_suffix(".parquet.b2").read_text().split() == [blake2b(path.read_bytes()).hexdigest(), path.name]
    assert {table: sorted(desk.sql(f"SELECT * FROM {table}"), key=repr) for table in COLUMNS} == before
    with desk.open() as store:  # and the chain goes on
        fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
        assert store.last_seq(RUN) == 200
        store.commit(batch(fold, 201, DAY[200:], durable=True))
        assert verify(store.where, store.folder) == []


@pytest.mark.long
def test_what_is_young_or_needed_or_the_newest_stays(desk):
    fill(desk, snapshots=())
    with desk.open() as store:
        assert store.compact(ALL).rows == 0  # without a snapshot recovery begins at the beginning
        put_snapshot(store, RUN, 200, "1", b"state")
        assert store.compact(Keep(journal_days=12)).rows == 8  # the newest is of day 19, row 8 of day 7
        assert rows(desk)[0] == 9
        assert store.compact(ALL).rows == 11
        assert rows(desk) == [20]
        assert verify(store.where, store.folder) == []
        store.finish(RUN, START, "fresh")
        assert store.compact(ALL).rows == 0
        fold = store.begin("second00", UNIVERSE, agents=AGENTS)
        entry_batch = batch(fold, 1, DAY[:10], durable=True)
        store.commit(entry_batch)
        assert store.compact(ALL).rows == 1  # an ended run goes whole; the newest row of all stays
        assert rows(desk) == [21]
        assert store.last_seq(RUN) == 200
        assert [data for _, data in store.entries(RUN)] == TRUTH
        assert verify(store.where, store.folder) == []
    with desk.open() as store:
        assert (store.last_seq(RUN), store.last_seq("second00")) == (200, 10)


@pytest.mark.long
def test_a_row_that_the_head_names_stays_with_all_that_follow(desk):
    fill(desk, 100, snapshots=(100,))
    with desk.open() as store:
        fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
        for first in (101, 111, 121):  # not durable: the head stays at row 10
            store.commit(batch(fold, first, DAY[first - 1 : first + 9]))
        put_snapshot(store, RUN, 130, "1", b"state")
        put_snapshot(store, RUN, 129, "1", b"state")
        put_snapshot(store, RUN, 128, "1", b"state")
        assert store.compact(ALL).rows == 9
    with desk.open() as store:
        assert verify(store.where, store.folder) == []


@pytest.mark.long
def test_archives_may_lie_elsewhere_and_a_large_journal_becomes_several(desk, tmp_path, monkeypatch):
    fill(desk)
    monkeypatch.setattr(compaction, "ARCHIVE_BYTES", 4_000)
    with desk.open() as store:
        done = store.compact(ALL, tmp_path / "elsewhere")
        assert len(done.files) > 2
        assert not (desk.state / "archives").exists()
        assert [data for _, data in store.entries(RUN)] == TRUTH
        assert verify(store.where, store.folder) == []
    shutil.move(tmp_path / "elsewhere", desk.state / "archives")  # or in the state folder, wherever they were before
    assert desk.verify() == []
    shutil.rmtree(desk.state / "archives")
    with pytest.raises(StoreDamaged, match=r"rows 1 to \d+ were moved to .*, which is not there: put it back"):
        list(desk.read_only().entries(RUN))
    assert [seq for seq, _ in desk.read_only().entries(RUN, 101)] == list(
        range(101, 201)
    )  # recovery needs none of them
    assert any("which is not there" in text for text in desk.verify())


@pytest.mark.long
def test_the_journal_is_compacted_while_a_daemon_commits(desk):
    fill(desk, 150, snapshots=(100, 120, 140))
    with desk.open() as store:
        fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
        futures = [store.submit(batch(fold, first, DAY[first - 1 : first], durable=True)) for first in range(151, 156)]
        assert store.compact(ALL).rows == 10
        futures += [store.submit(batch(fold, first, DAY[first - 1 : first], durable=True)) for first in range(156, 161)]
        for future in futures:
            future.result()
        assert verify(store.where, store.folder) == []
        assert [data for _, data in store.entries(RUN)] == TRUTH[:160]


@pytest.mark.quick_cases(4)
@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("UPDATE archives SET last = last - 1", "archives: the row of journal-"),
        ("UPDATE archives SET runs = '[]'", "archives: the row of journal-"),
        ("DELETE FROM archives", "journal: row 1 is missing (next is 11)"),
        ("DELETE FROM journal WHERE number = 11", "journal: row 11 is missing (next is 12)"),
        ("UPDATE retention SET before_ts = before_ts + 1", "retention: the row 7f3k2m1a, alerts"),
        ("DELETE FROM retention", "alerts: the row"),
    ],
)
def test_tampering_with_the_cut_is_found(desk, sql, says):
    fill(desk)
    with desk.open() as store:
        store.compact(Keep(0, alerts_days=5))
    assert desk.verify() == []
    desk.sql(sql)
    findings = desk.verify()
    assert any(says in text for text in findings), findings


@pytest.mark.long
def test_a_flipped_bit_of_an_archive_is_always_found(tmp_path):
    desk = Desk(tmp_path, tmp_path)
    fill(desk)
    with desk.open() as store:
        store.compact(ALL)
    (path,) = (tmp_path / "archives").glob("*.parquet")
    content = path.read_bytes()
    rng = random.Random(SEED)
    for _ in range(40):
        data = bytearray(content)
        bit = rng.randrange(len(data) * 8)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        assert verify(tmp_path) != [], f"bit {bit}"
        with contextlib.suppress(StoreDamaged):  # a reader that does not look at the whole file gives no wrong entry
            assert [e for _, e in read_only(tmp_path).entries(RUN)] == TRUTH
    path.write_bytes(content[: len(content) // 2])
    assert verify(tmp_path) != []
    path.write_bytes(content)
    assert verify(tmp_path) == []


@pytest.mark.long
def test_a_loss_of_power_at_any_write_leaves_the_rows_or_their_archive(tmp_path, monkeypatch):
    """Images at each step of a compaction into several files: a file torn before its transaction, a log torn within it,
    sectors of it lost. Each is the store before, or after, and checks whole."""
    monkeypatch.setattr(compaction, "ARCHIVE_BYTES", 9_000)
    rng = random.Random(SEED)
    desk = Desk(tmp_path / "real", tmp_path / "real")
    fill(desk)
    steps: list[tuple[str, dict[str, bytes]]] = []

    class Watched(Store):
        def _in_thread(self, work, *values):
            steps.append(("written", image(desk.state)))
            done = super()._in_thread(work, *values)
            steps.append(("cut", image(desk.state)))
            return done

    with Watched.open(desk.state) as store:
        steps.append(("cut", image(desk.state)))
        store.compact(ALL)
        count = len(steps)
    del steps[count:]  # what closing did
    assert sum(kind == "written" for kind, _ in steps) >= 3
    folder = tmp_path / "image"
    seen = set()
    for _ in range(40):
        k = rng.randrange(len(steps) - 1)
        (_, old), (kind, new) = steps[k], steps[k + 1]
        files = dict(old)
        if kind == "written":  # before its transaction: a file that is being written, under any of its names
            for name in new.keys() - old.keys():
                content = new[name]
                files[rng.choice([name, name.replace(".parquet", ".partial")])] = content[
                    : rng.randint(0, len(content))
                ]
        else:
            log = bytearray(new["quantd.db-wal"])
            synced = len(old.get("quantd.db-wal", b""))
            if rng.random() < 0.5:
                log = log[: rng.randint(min(synced, len(log)), len(log))]
            else:
                for start in range(synced, len(log), 512):
                    if rng.random() < 0.3:
                        log[start : start + 512] = bytes(len(log[start : start + 512]))
            files["quantd.db-wal"] = bytes(log)
        lay(folder, files)
        with Store.open(folder) as store:
            assert [data for _, data in store.entries(RUN)] == TRUTH
            kept = rows(Desk(folder, folder))[0]
            assert verify(store.where, store.folder) == []
            seen.add(kept)
            store.compact(ALL)  # and what was cut off is done again
            assert rows(Desk(folder, folder))[0] == 11
            assert verify(store.where, store.folder) == []
    assert len(seen) >= 3


COMPACT = """
import os, sys
from quantd.adapters.store.journal import compaction, archives
from quantd.adapters.store.journal.compaction import Keep
from quantd.adapters.store.handle import Store
import polars
compaction.ARCHIVE_BYTES = 3_000
print("ready", flush=True)
for folder in sys.stdin:
    pid = os.fork()
    if pid == 0:
        with Store.open(folder.strip()) as store:
            store.compact(Keep(journal_days=0))
        os._exit(0)
    print(pid, flush=True)
    os.waitpid(pid, 0)
    print("over", flush=True)
"""


@pytest.mark.long
def test_kills_in_the_midst_of_compaction_lose_nothing(tmp_path):
    """Each kill meets a fresh copy: a child forked from a process that has imported all it needs."""
    rng = random.Random(SEED)
    real = Desk(tmp_path / "real", tmp_path / "real")
    fill(real)
    kept = set()
    with subprocess.Popen(
        [sys.executable, "-c", COMPACT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as mill:
        assert mill.stdin is not None
        assert mill.stdout is not None
        mill.stdout.readline()
        for kill in range(10):
            desk = Desk(tmp_path / str(kill), tmp_path / str(kill))
            shutil.copytree(real.state, desk.state)
            mill.stdin.write(f"{desk.state}\n")
            mill.stdin.flush()
            pid = int(mill.stdout.readline())
            wanted = kill % 5  # archives that are there when it ends, or about to be
            deadline = time.monotonic() + 20
            while len(list(desk.state.glob("archives/*.parquet"))) < wanted and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(rng.uniform(0.0, 0.01))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            assert mill.stdout.readline() == "over\n"
            assert verify(desk.state) == []
            assert [data for _, data in read_only(desk.state).entries(RUN)] == TRUTH
            kept.add(rows(desk)[0])
            with desk.open() as store:
                store.compact(ALL)
            assert rows(desk)[0] == 11
            assert verify(desk.state) == []
        mill.stdin.close()
    assert len(kept) >= 2, "the kills came too early or too late to cut anything"
