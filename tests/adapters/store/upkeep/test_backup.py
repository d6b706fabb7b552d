"""Backup, wipe, restore: the same store, in each database and from one into the other, also while a daemon writes."""

import json
import os
import random
import shutil
import tarfile
import threading
from pathlib import Path

import pytest

from quantd.adapters.store.journal.compaction import Keep
from quantd.adapters.store.journal.writer import BadBar, SnapshotOf
from quantd.adapters.store.store_errors import Held, StoreDamaged, StoreError, StoreLocked, StoreMismatch, StoreVersion
from quantd.adapters.store.tables.projection import COLUMNS
from quantd.adapters.store.tables.schema import NAMES
from quantd.adapters.store.upkeep.backup import MANIFEST, backup, read_manifest, unpack
from quantd.adapters.store.upkeep.restore import restore
from quantd.adapters.store.upkeep.verify import verify
from quantd.trading import codec
from tests.support.store import AGENTS, UNIVERSE, Desk, batch, entries, put_snapshot

RUN = "7f3k2m1a"
DAY = entries(160, 4)
TRUTH = [codec.encode(*entry) for entry in DAY]
SAME = (*COLUMNS, "runs", "journal", "snapshots", "outbox", "quarantine", "meta", "retention")


@pytest.fixture
def kept(desk: Desk) -> Desk:
    """A store with all it can have: archives, snapshots, waiting messages, refused bars, saved configurations."""
    with desk.open(account="paper:one") as store:
        fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
        for first in range(1, 121, 20):
            entry_batch = batch(fold, first, DAY[first - 1 : first + 19], durable=True)
            entry_batch.snapshot = SnapshotOf(first + 19, "1", b"state %d" % first)
            entry_batch.quarantine = [BadBar(first, "SPY", "nan", "x")]
            store.commit(entry_batch)
        assert store.compact(Keep(journal_days=0)).rows > 0
    (desk.state / "configs").mkdir()
    (desk.state / "configs" / "0123456789abcdef.json").write_text("{}")
    (desk.state / "token").write_text("a secret")
    return desk


def tables(desk: Desk) -> dict[str, list]:
    """Every row of every table; what bytes databases give back differently is made alike."""
    return {t: sorted(repr(row) for row in desk.sql(f"SELECT * FROM {t}")) for t in SAME}


def wipe(desk: Desk) -> None:
    shutil.rmtree(desk.state)
    if desk.postgres:
        for name in NAMES:
            desk.sql(f"DROP TABLE {name}")


@pytest.mark.one_of(2)
@pytest.mark.requirement("R-228")
@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("name", ["kept.tar", "kept.tar.gz", "kept"])
def test_backup_wipe_restore_is_the_same_store_and_it_goes_on(kept, tmp_path_factory, name):
    target = tmp_path_factory.mktemp("away") / name
    before = tables(kept)
    manifest = backup(kept.where, kept.state, target)
    assert [p.name for p in target.parent.iterdir()] == [name]
    assert [(r.run, r.last_seq) for r in manifest.runs] == [(RUN, 120)]
    wipe(kept)
    assert restore(target, kept.where, kept.state) == (manifest, None)
    assert tables(kept) == before
    assert kept.verify() == []
    assert (kept.state / "configs" / "0123456789abcdef.json").read_text() == "{}"
    assert not (kept.state / "token").exists(), "a backup holds no secrets"
    with kept.open(account="paper:one") as store:
        assert [data for _, data in store.entries(RUN)] == TRUTH[:120]
        assert store.lease.token > 1
        fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
        store.commit(batch(fold, 121, DAY[120:], durable=True))
        assert verify(store.where, store.folder) == []


@pytest.mark.long
def test_a_backup_taken_while_a_daemon_commits_is_of_one_instant(desk, tmp_path_factory):
    away = tmp_path_factory.mktemp("away")
    done = threading.Event()
    with desk.open(account="paper:one") as store:
        fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
        store.commit(batch(fold, 1, DAY[:20], durable=True))

        def trade() -> None:
            for first in range(21, 161):
                store.commit(batch(fold, first, DAY[first - 1 : first], durable=first % 3 == 0))
            done.set()

        trading = threading.Thread(target=trade)
        trading.start()
        steps = []
        while not done.is_set() or not steps:
            manifest = backup(desk.where, desk.state, away / f"{len(steps)}.tar")  # checks all of what it wrote
            steps.append(manifest.runs[0].last_seq)
        trading.join()
    assert steps == sorted(steps)
    folder = away / "again"
    restore(away / "0.tar", folder, folder)
    with Desk(folder, folder).open() as store:
        assert [data for _, data in store.entries(RUN)] == TRUTH[: steps[0]]


@pytest.mark.long
def test_a_place_with_a_store_is_refused_and_with_force_it_is_kept_aside(kept, tmp_path_factory):
    target = tmp_path_factory.mktemp("away") / "kept.tar"
    backup(kept.where, kept.state, target)
    (kept.state / "HALT").touch()
    with kept.open() as store:
        fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
        store.commit(batch(fold, 121, DAY[120:], durable=True))
    with pytest.raises(StoreMismatch, match=r"there is a store here already.*--force"):
        restore(target, kept.where, kept.state)
    with kept.open(account="paper:one") as store, pytest.raises(StoreLocked):
        restore(target, kept.where, kept.state, force=True)
    if kept.postgres:  # a leader in another state folder
        other = Desk(kept.where, kept.state.parent / "leader")
        with other.open(account="paper:one") as store, pytest.raises(Held):
            restore(target, kept.where, kept.state, force=True)
    _, aside = restore(target, kept.where, kept.state, force=True)
    assert aside is not None
    assert (kept.state / "HALT").exists(), "what was halted stays halted"
    with kept.open() as store:
        assert store.last_seq(RUN) == 120
    # and what was there comes back from where it was kept
    folder = kept.state.parent / "old"
    if kept.postgres:
        restore(aside / "store.tar", folder, folder)
        old = Desk(folder, folder)
    else:
        old = Desk(aside, aside)
    assert old.verify() == []
    with old.open() as store:
        assert store.last_seq(RUN) == 160


def test_a_backup_of_another_version_is_refused_before_anything_is_touched(tmp_path):
    desk = Desk(tmp_path / "state", tmp_path / "state")
    desk.open().close()
    backup(desk.where, desk.state, tmp_path / "kept")
    manifest = json.loads((tmp_path / "kept" / MANIFEST).read_text())
    for revision, remedy in (("9999", "Install the newer version"), ("0007", "Start a new run in another folder")):
        (tmp_path / "kept" / MANIFEST).write_text(json.dumps(manifest | {"revision": revision}))
        with pytest.raises(StoreVersion, match=remedy):
            restore(tmp_path / "kept", tmp_path / "new", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "kept" / MANIFEST).write_text(json.dumps(manifest | {"format": 2}))
    with pytest.raises(StoreMismatch, match="format 2"):
        read_manifest(tmp_path / "kept")


@pytest.mark.parametrize("name", ["../outside", "token", "configs/../../x", "archives/deep/x", "/etc/passwd"])
def test_names_that_no_backup_has_are_refused(tmp_path, name):
    desk = Desk(tmp_path / "state", tmp_path / "state")
    desk.open().close()
    backup(desk.where, desk.state, tmp_path / "kept")
    manifest = json.loads((tmp_path / "kept" / MANIFEST).read_text())
    manifest["files"][name] = [0, "00"]
    (tmp_path / "kept" / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(StoreDamaged, match="which no backup has"):
        unpack(tmp_path / "kept", tmp_path / "new")


def test_files_that_the_manifest_does_not_name_stay_in_the_tar(tmp_path):
    desk = Desk(tmp_path / "state", tmp_path / "state")
    desk.open().close()
    target = tmp_path / "kept.tar"
    backup(desk.where, desk.state, target)
    with tarfile.open(target, "a") as tar:
        (tmp_path / "evil").write_text("x")
        tar.add(tmp_path / "evil", arcname="../evil2")
        tar.add(tmp_path / "evil", arcname="HALT2")
        link = tarfile.TarInfo("quantd.db")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    unpack(target, tmp_path / "new")
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["journal.head", "quantd.db"]
    assert not (tmp_path / "evil2").exists()


def test_a_damaged_backup_is_refused_and_a_damaged_store_is_not_backed_up(tmp_path):
    desk = Desk(tmp_path / "state", tmp_path / "state")
    with desk.open() as store:
        fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
        store.commit(batch(fold, 1, DAY[:40], durable=True))
    target = tmp_path / "kept.tar"
    backup(desk.where, desk.state, target)
    content = target.read_bytes()
    rng = random.Random(1)
    folder = tmp_path / "new"
    for _ in range(25):
        data = bytearray(content)
        bit = rng.randrange(len(data) * 8)
        data[bit // 8] ^= 1 << bit % 8
        target.write_bytes(data)
        try:
            restore(target, folder, folder)
        except StoreError:
            assert not (folder / "quantd.db").exists()
            continue
        # a bit in the padding of the tar: what was restored is what was backed up
        with Desk(folder, folder).open() as store:
            assert [entry for _, entry in store.entries(RUN)] == TRUTH[:40]
        shutil.rmtree(folder)
    target.write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreError):
        restore(target, folder, folder)
    desk.sql("UPDATE orders SET filled = filled + 1")
    with pytest.raises(StoreDamaged, match="damaged"):
        backup(desk.where, desk.state, tmp_path / "other.tar")
    assert not (tmp_path / "other.tar").exists()
    assert not list(tmp_path.glob("*.partial"))


def test_a_backup_is_not_written_over_another_and_none_is_made_of_nothing(tmp_path):
    desk = Desk(tmp_path / "state", tmp_path / "state")
    desk.open().close()
    for name in ("kept.tar", "kept"):
        backup(desk.where, desk.state, tmp_path / name)
        with pytest.raises(StoreMismatch, match="is there already"):
            backup(desk.where, desk.state, tmp_path / name)
    (tmp_path / "empty").mkdir()
    backup(desk.where, desk.state, tmp_path / "empty")
    with pytest.raises(StoreMismatch, match="there is no store here"):
        backup(tmp_path / "nothing", tmp_path / "nothing", tmp_path / "x.tar")
    with pytest.raises(StoreMismatch, match="is no backup of quantd"):
        restore(Path("/etc/hostname"), tmp_path / "new", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_restore_that_is_cut_off_leaves_a_place_that_says_so_or_the_whole_store(tmp_path, monkeypatch):
    """Power is lost before each of the names is put in place; what is there then is not opened as if it were whole."""
    desk = Desk(tmp_path / "state", tmp_path / "state")
    with desk.open() as store:
        fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
        store.commit(batch(fold, 1, DAY[:40], durable=True))
        put_snapshot(store, RUN, 40, "1", b"state")
    (desk.state / "configs").mkdir()
    (desk.state / "configs" / "0123456789abcdef.json").write_text("{}")
    backup(desk.where, desk.state, tmp_path / "kept.tar")

    class PowerLost(BaseException):
        pass

    for names in range(4):
        folder = tmp_path / f"new{names}"
        names_to_place = [names]

        def sync(_: Path, countdown: list[int] = names_to_place) -> None:
            countdown[0] -= 1
            if countdown[0] < 0:
                raise PowerLost

        monkeypatch.setattr("quantd.adapters.store.upkeep.restore.sync", sync)
        try:
            restore(tmp_path / "kept.tar", folder, folder)
        except PowerLost:
            pass
        else:
            assert names == 3
        monkeypatch.undo()
        there = sorted(os.listdir(folder))
        try:
            with Desk(folder, folder).open() as store:
                last = store.last_seq(RUN)
        except StoreDamaged:
            assert "journal.head" not in there
            restore(tmp_path / "kept.tar", folder, folder, force=True)
        else:
            assert last == (40 if "quantd.db" in there else 0)
