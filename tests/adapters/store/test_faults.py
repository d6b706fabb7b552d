"""The store under fault: killed, out of power, corrupted, out of space. Short forms of `make prove`.

Each test prints nothing and draws from a fixed seed; QUANTD_STORE_SEED sets another. `pytest -m slow` has more kills,
images and flips.
"""

import gc
import os
import random
import resource
import select
import shutil
import signal
import struct
import time
from pathlib import Path

import pytest

from quantd.adapters.store.driver import SqliteDriver
from quantd.adapters.store.handle import Store, read_only
from quantd.adapters.store.journal.chain import HeadFile
from quantd.adapters.store.journal.writer import SnapshotOf, Writer
from quantd.adapters.store.store_errors import StoreDamaged, StoreError, StoreFailing, StoreFull
from quantd.adapters.store.upkeep.verify import verify
from quantd.trading import codec
from tests.support.store import AGENTS, UNIVERSE, batch, entries, image, lay

RUN = "7f3k2m1a"
SEED = int(os.environ.get("QUANTD_STORE_SEED", "1"))


def coded(day: list) -> list[bytes]:
    return [codec.encode(*entry) for entry in day]


def stored(folder: Path) -> list[bytes]:
    return [data for _, data in read_only(folder).entries(RUN)]


def in_child(work) -> int:
    """Fork, run `work`, and leave without the parent's exit handlers; the child's process id."""
    pid = os.fork()
    if pid == 0:
        gc.freeze()  # a collection would touch, and so copy, each page of the parent's objects
        try:
            work()
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    return pid


@pytest.mark.long
@pytest.mark.parametrize("kills", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_kills_in_the_midst_of_commits_lose_nothing_that_was_acted_upon(tmp_path, kills):
    """Twenty kills; `pytest -m slow` has a hundred."""
    rng = random.Random(SEED)
    day = entries(8_000, SEED)
    truth = coded(day)
    read_end, tell = os.pipe()

    def write() -> None:
        with Store.open(tmp_path) as store:
            fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
            first = store.last_seq(RUN) + 1
            chance = random.Random(first)
            while first < len(day):
                size = chance.randint(1, 6)
                durable = chance.random() < 0.5
                commit = batch(fold, first, day[first - 1 : first - 1 + size], durable=durable)
                if chance.random() < 0.1:
                    commit.snapshot = SnapshotOf(first + size - 1, "1", truth[first - 1])
                store.commit(commit)
                first += len(commit.entries)
                if durable:  # an effect leaves the process
                    os.write(tell, struct.pack("<q", first - 1))
            time.sleep(60)

    kept = 0
    for kill in range(kills):
        child = in_child(write)
        if kill % 3:  # else: while it starts
            select.select([read_end], [], [], 10.0)
        time.sleep(rng.uniform(0.0, 0.02))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the writer ended by itself"
        os.set_blocking(read_end, False)
        acted = 0
        try:
            while seen := os.read(read_end, 8 * 1024):
                acted = struct.unpack("<q", seen[-8:])[0]
        except BlockingIOError:
            pass
        if (tmp_path / "quantd.db").exists() and (tmp_path / "journal.head").exists():
            with Store.open(tmp_path) as store:  # raises when the chain does not reach its head
                last = store.last_seq(RUN)
            assert last >= max(acted, kept)
            kept = last
        else:
            assert not acted
        if kill in (10, kills // 2 - 1, kills - 1):
            assert stored(tmp_path) == truth[:kept]
            assert verify(tmp_path) == []
    os.close(read_end)
    os.close(tell)
    assert kept > 2 * kills, "too few commits to have been cut"


def test_only_durable_batches_are_synced_and_move_the_head(tmp_path):
    """A head ahead of what was synced would call a legal loss of power damage."""
    day = entries(30, SEED)
    with Store.open(tmp_path) as store:
        fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
        heads = []
        for first, durable in ((1, True), (11, False), (21, True)):
            store.commit(batch(fold, first, day[first - 1 : first + 9], durable=durable))
            head = HeadFile(tmp_path / "journal.head").read()
            assert head is not None
            heads.append(head.seq)
    assert heads == [10, 10, 30]
    driver = SqliteDriver(tmp_path / "quantd.db")
    for durable, level in ((True, 2), (False, 1), (True, 2)):  # FULL, NORMAL
        driver.begin(durable=durable)
        assert driver.execute("PRAGMA synchronous").fetchone() == (level,)
        driver.rollback()
    driver.close()


@pytest.mark.long
@pytest.mark.parametrize("count", [75, pytest.param(300, marks=pytest.mark.slow)])
def test_a_loss_of_power_at_any_write_is_recovered_or_refused(tmp_path, count):
    """Images are cut from the log of real commits: what was synced stays, what was not is there in part.

    Sectors not yet synced may be missing in any subset; a checkpoint may have reached any subset of pages.
    There are 75 images; `pytest -m slow` has 300.
    """
    rng = random.Random(SEED)
    day = entries(60, SEED)
    truth = coded(day)
    images: list[tuple[int, dict[str, bytes]]] = []
    with Store.open(tmp_path / "real") as store:
        fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
        images.append((0, image(tmp_path / "real")))
        first = 1
        while first <= len(day):
            commit = batch(fold, first, day[first - 1 : first + 4], durable=True)
            store.commit(commit)
            first += len(commit.entries)
            images.append((first - 1, image(tmp_path / "real")))
    final = image(tmp_path / "real")  # closed: all pages checkpointed, no log
    refused = recovered = 0
    folder = tmp_path / "image"
    for _ in range(count):
        k = rng.randrange(len(images) - 1)
        (before, old), (after, new) = images[k], images[k + 1]
        files = dict(old)
        synced, log = len(old["quantd.db-wal"]), bytearray(new["quantd.db-wal"])
        kind = rng.choice(["torn log", "sectors", "torn head", "checkpoint", "lost log"])
        possible = {before, after}
        if kind == "torn log":
            files["quantd.db-wal"] = bytes(log[: rng.randint(synced, len(log))])
        elif kind == "sectors":
            for start in range(synced, len(log), 512):
                if rng.random() < 0.3:
                    log[start : start + 512] = bytes(len(log[start : start + 512]))
            files["quantd.db-wal"] = bytes(log)
        elif kind == "torn head":  # the log is synced before the head is written
            files["quantd.db-wal"] = bytes(log)
            cut = rng.randint(0, 512)
            files["journal.head"] = new["journal.head"][:cut] + old["journal.head"][cut:]
            possible = {after}
        elif kind == "checkpoint":  # the whole log is synced before a page of the file is written
            last = images[-1][1]
            pages = bytearray(last["quantd.db"].ljust(len(final["quantd.db"]), b"\0"))
            for start in range(0, len(pages), 4096):
                if rng.random() < 0.5:
                    pages[start : start + 4096] = final["quantd.db"][start : start + 4096]
            files = {**last, "quantd.db": bytes(pages)}
            possible = {len(day)}
        elif k:  # a disk that lied about syncing: the head is ahead of the log
            files["quantd.db-wal"] = bytes(log[: rng.randint(0, synced - 1)])
            possible = set()
        lay(folder, files)
        try:
            with Store.open(folder) as store:
                last_seq = store.last_seq(RUN)
        except StoreDamaged:
            assert not possible, f"{kind} at {before}: refused without need"
            refused += 1
            continue
        assert last_seq in (possible or {before}), f"{kind} at {before}: came back at {last_seq}"
        assert stored(folder) == truth[:last_seq]
        assert verify(folder) == []
        recovered += 1
    assert refused > count // 15
    assert recovered > count // 2


@pytest.mark.long
@pytest.mark.parametrize("flips", [60, pytest.param(200, marks=pytest.mark.slow)])
def test_a_flipped_bit_is_found_or_does_no_harm(tmp_path, flips):
    rng = random.Random(SEED)
    day = entries(40, SEED)
    truth = coded(day)
    real = tmp_path / "real"
    with Store.open(real) as store:
        fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
        for first in range(1, 41, 8):
            commit = batch(fold, first, day[first - 1 : first + 7], durable=True)
            commit.snapshot = SnapshotOf(first + 7, "1", rng.randbytes(500))
            store.commit(commit)
        live = image(real)
        snapshot = store.latest_snapshot(RUN)
    closed = image(real)
    dump = _models(real)
    assert verify(real) == []
    faults = 0
    folder = tmp_path / "flipped"
    for k in range(flips):
        files = dict(live if k % 2 else closed)
        name = rng.choices(list(files), [10 if n != "journal.head" else 1 for n in files])[0]
        data = bytearray(files[name])
        bit = rng.randrange(len(data) * 8)
        data[bit // 8] ^= 1 << bit % 8
        files[name] = bytes(data)
        lay(folder, files)
        if verify(folder):
            faults += 1
        else:
            assert stored(folder) == truth, f"bit {bit} of {name}"
            assert _models(folder) == dump, f"bit {bit} of {name}"
            assert read_only(folder).latest_snapshot(RUN) == snapshot
    assert faults > flips // 4  # the other flips hit the empty space of pages, of which each table has one


def _models(folder: Path) -> list[list]:
    with read_only(folder).connection() as db:
        tables = ("orders", "fills", "crosses", "decisions", "equity", "alerts", "bookings", "switches", "outbox")
        return [db.execute(f"SELECT * FROM {t} ORDER BY 1, 2, 3, 4").fetchall() for t in tables]


@pytest.mark.quick_cases(8)
@pytest.mark.parametrize("room", range(25))
def test_a_full_disk_keeps_nothing_by_halves_and_the_same_batch_goes_in_later(tmp_path, room):
    """The n-th page is refused by SQLite as a full disk would be; the writer is the real one."""
    day = entries(120, SEED)
    Store.open(tmp_path).close()
    limit = [1 << 30]

    class Limited(SqliteDriver):
        def begin(self, *, durable: bool) -> None:
            self.execute(f"PRAGMA max_page_count={limit[0]}")  # at least the present size
            super().begin(durable=durable)

    writer = Writer(lambda: Limited(tmp_path / "quantd.db"), HeadFile(tmp_path / "journal.head"))
    writer.open()
    writer.begin((RUN, 0, "paper", "{}"), "[]")
    from quantd.adapters.store.tables.projection import Projection

    fold = Projection(RUN, UNIVERSE.symbols, AGENTS)
    writer.write(batch(fold, 1, day[:20], durable=True))
    (pages,) = SqliteDriver(tmp_path / "quantd.db", read_only=True).execute("PRAGMA page_count").fetchone()
    limit[0] = pages + room
    big = batch(fold, 21, day[20:])
    big.snapshot = SnapshotOf(120, "1", random.Random(room).randbytes(110_000))
    with pytest.raises(StoreFull, match="entries 21 to 120 of run 7f3k2m1a: no space left"):
        writer.write(big)
    assert read_only(tmp_path).last_seq(RUN) == 20
    assert read_only(tmp_path).latest_snapshot(RUN) is None
    with pytest.raises(StoreFull):
        writer.write(big)
    limit[0] = 1 << 30
    writer.write(big)
    writer.close()
    assert stored(tmp_path) == coded(day)


@pytest.mark.long
def test_a_write_that_the_system_refuses_is_failing_not_damage_and_is_tried_again(tmp_path):
    """RLIMIT_FSIZE cuts real writes of a real store, at 25 places, in a child."""

    def cut(room: int) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        day = entries(200, SEED)
        folder = tmp_path / str(room)
        with Store.open(folder) as store:
            fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
            size = (folder / "quantd.db-wal").stat().st_size
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, hard))
            failed = 0
            for first in range(1, 201, 20):
                entry_batch = batch(fold, first, day[first - 1 : first + 19], durable=True)
                try:
                    store.commit(entry_batch)
                except (StoreFailing, StoreFull):
                    failed += 1
                    assert store.last_seq(RUN) == first - 1
                    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
                    store.commit(entry_batch)
            assert failed == 1
        assert stored(folder) == coded(day)
        assert verify(folder) == []

    def cut_everywhere() -> None:
        for k in range(25):
            cut(k * 2_500 + 100)

    _, status = os.waitpid(in_child(cut_everywhere), 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_head_that_cannot_be_written_fails_the_batch_and_the_same_batch_mends_it(tmp_path):
    day = entries(20, SEED)
    with Store.open(tmp_path) as store:
        fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
        head = tmp_path / "journal.head"
        shutil.move(head, tmp_path / "aside")
        head.mkdir()  # root may write anything but a folder
        entry_batch = batch(fold, 1, day[:10], durable=True)
        with pytest.raises(StoreError, match="entries 1 to 10"):
            store.commit(entry_batch)
        head.rmdir()
        shutil.move(tmp_path / "aside", head)
        store.commit(entry_batch)
        store.commit(batch(fold, 11, day[10:], durable=True))
        stored_head = HeadFile(head).read()
        assert stored_head is not None
        assert stored_head.seq == 20
    assert verify(tmp_path) == []
