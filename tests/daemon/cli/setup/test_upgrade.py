"""A store of an older version is backed up before any command changes its schema."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from quantd.adapters.store import handle
from quantd.adapters.store.handle import Store, read_only
from quantd.adapters.store.store_errors import StoreFailing
from quantd.adapters.store.tables.schema import REVISION
from quantd.adapters.store.upkeep.backup import before_upgrade, read_manifest
from tests.recorded_runs.archive import STORES, place, unpack
from tests.support.checkout import ROOT, environment
from tests.support.command_line import answer, program, quantd

OLDER = "0007"
RUN = ("run", "--set", "feed.pace=fast", "--set", "log.level=warning")
COMMANDS = (("upgrade",), ("store", "compact"), RUN)


@pytest.fixture
def recorded(tmp_path):
    """A run that was recorded at revision 0007, stopped in order."""
    unpack(STORES / "gtc_partial_fills.tar.xz", tmp_path)
    place(tmp_path)
    assert revision(tmp_path / "state") == OLDER
    return tmp_path


def sql(state, statement):
    with sqlite3.connect(state / "quantd.db") as db:
        return db.execute(statement).fetchall()


def revision(state):
    return sql(state, "SELECT version_num FROM alembic_version")[0][0]


def backups(folder):
    return sorted((folder / "state" / "backups").glob("*.tar"))


@pytest.mark.long
@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_every_command_that_upgrades_a_store_makes_the_same_backup_before(recorded, words):
    journal = sql(recorded / "state", "SELECT * FROM journal ORDER BY number")
    done = quantd(recorded, *words)
    assert done.returncode == 0, done.stderr
    assert revision(recorded / "state") == REVISION
    (saved,) = backups(recorded)
    assert saved.name.startswith(f"before-{REVISION}-")
    assert read_manifest(saved).revision == OLDER
    answer(quantd(recorded, "restore", str(saved), "--state", "again", "--json"))
    assert sql(recorded / "again", "SELECT * FROM journal ORDER BY number") == journal
    assert quantd(recorded, *words).returncode == 0
    assert backups(recorded) == [saved], "an up-to-date store needs none"


@pytest.mark.long
def test_a_start_and_a_command_name_the_backup(recorded):
    state = recorded / "state"
    shutil.copytree(state, recorded / "other")
    assert "the store was upgraded; the backup before it is" in quantd(recorded, "store", "compact").stdout
    started = program(recorded, *RUN, "--state", "other")
    assert "store.upgraded" in started.stderr + started.stdout
    assert str(next((recorded / "other" / "backups").glob("*.tar")).name) in started.stderr + started.stdout


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_a_file_in_place_of_the_backups_leaves_the_store_as_it_is(recorded, words):
    (recorded / "state" / "backups").write_text("in the way")
    before = sql(recorded / "state", "SELECT * FROM sqlite_schema")
    refused = quantd(recorded, *words)
    assert refused.returncode == 78
    assert "backups: is a regular file, not a folder" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert sql(recorded / "state", "SELECT * FROM sqlite_schema") == before
    assert revision(recorded / "state") == OLDER


@pytest.mark.long
def test_a_full_disk_refuses_the_start_and_changes_nothing(recorded):
    """`backups` is a file system of 128 KiB, in a mount namespace of its own."""
    (recorded / "state" / "backups").mkdir()
    mount = "mount -t tmpfs -o size=128k none state/backups"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], cwd=recorded, capture_output=True).returncode:
        pytest.skip("this machine permits no mount namespaces")
    program = f"{mount} && exec {sys.executable} -m quantd.daemon.cli run"
    refused = subprocess.run(
        ["unshare", "-rm", "sh", "-c", program], cwd=recorded, capture_output=True, text=True, env=environment(ROOT)
    )
    assert refused.returncode == 75, refused.stderr
    assert "No space left on device" in refused.stderr or "no space left" in refused.stderr
    assert "Nothing was changed; make space in" in refused.stderr
    assert revision(recorded / "state") == OLDER
    assert quantd(recorded, "upgrade").returncode == 0, "with space it goes on"


@pytest.mark.long
def test_a_start_killed_between_backup_and_upgrade_is_done_again(recorded):
    """Killed as soon as the backup has its name: the store is old or new, and the next start makes it new."""
    seen = set()
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-m", "quantd.daemon.cli", "upgrade"], cwd=recorded, env=environment(ROOT),
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        count = len(backups(recorded))
        while len(backups(recorded)) == count and child.poll() is None:
            time.sleep(0.001)
        os.kill(child.pid, signal.SIGKILL) if child.poll() is None else None
        child.wait()
        seen.add(revision(recorded / "state"))
    assert seen <= {OLDER, REVISION}
    assert all(read_manifest(saved).revision == OLDER for saved in backups(recorded))
    assert quantd(recorded, *RUN).returncode == 0
    assert revision(recorded / "state") == REVISION
    assert read_only(recorded / "state").runs()


def test_starts_whose_upgrade_fails_share_one_backup_until_the_store_changes(recorded, monkeypatch):
    state = recorded / "state"

    def fails(where):
        raise StoreFailing("the disk is full")

    monkeypatch.setattr(handle, "migrate", fails)
    for _ in range(3):
        with pytest.raises(StoreFailing, match="the disk is full"):
            Store.open(state, state=state, save=before_upgrade)
    assert revision(state) == OLDER
    (saved,) = backups(recorded)
    assert before_upgrade(state, state) == saved
    (state / "HALT").touch()
    assert before_upgrade(state, state) != saved, "a restore of the first one would trade"


def test_two_backups_of_one_second_have_two_names(recorded):
    state = recorded / "state"
    first = before_upgrade(state, state)
    (state / "HALT").touch()
    assert before_upgrade(state, state).name != first.name


def test_a_backup_that_cannot_be_read_is_made_again(recorded):
    state = recorded / "state"
    first = before_upgrade(state, state)
    first.write_bytes(b"cut")
    assert read_manifest(before_upgrade(state, state)).revision == OLDER
