"""A later version with another schema backs up a store of this one, and brings it to its own."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from quantd.adapters.store.handle import Store
from quantd.adapters.store.tables.revision import REVISION
from quantd.adapters.store.upkeep.backup import before_upgrade, read_manifest
from tests.recorded_runs.archive import STORES, place, unpack
from tests.support.checkout import copy_package, environment
from tests.support.command_line import Done, answer, quantd
from tests.support.postgres import postgres_server
from tests.support.store import Desk, new_schema

LATER = "0010"
TABLE = """

class NoteRow(SQLModel, table=True):
    __tablename__ = "notes"
    name: str = Field(primary_key=True)
"""
GENERATE = f"""
from alembic import command
from quantd.adapters.store.migrations.upgrade import config, engine_of_store
settings = config()
settings.set_main_option("file_template", "r%%(rev)s_%%(slug)s")
with engine_of_store("state").begin() as settings.attributes["connection"]:
    command.revision(settings, "notes", autogenerate=True, rev_id="{LATER}")
"""
RUN = ("run", "--set", "feed.pace=fast", "--set", "log.level=warning")
COMMANDS = (("upgrade",), ("store", "compact"), RUN)


@pytest.fixture
def recorded(tmp_path):
    """A run of this version, stopped in order."""
    unpack(STORES / "gtc_partial_fills.tar.xz", tmp_path)
    place(tmp_path)
    assert revision(tmp_path / "state") == REVISION
    return tmp_path


@pytest.fixture(scope="module")
def later(tmp_path_factory):
    """The environment of a version with one table more, by the revision that Alembic generates for it."""
    folder = tmp_path_factory.mktemp("later")
    root = copy_package(folder)
    Store.open(folder / "state").close()
    tables = root / "adapters" / "store" / "tables"
    with (tables / "table_models.py").open("a") as models:
        models.write(TABLE)
    environ = environment(root) | {"COLUMNS": "200"}
    subprocess.run([sys.executable, "-c", GENERATE], cwd=folder, env=environ, check=True, capture_output=True)
    (written,) = (root / "adapters" / "store" / "migrations" / "versions").glob(f"r{LATER}_*.py")
    assert "sqlmodel.sql.sqltypes.AutoString()" in written.read_text(), "a type that the revision must import"
    stated = tables / "revision.py"
    stated.write_text(stated.read_text().replace(f'REVISION: Final = "{REVISION}"', f'REVISION: Final = "{LATER}"'))
    return environ


def command(folder, environ, *words, under=()):
    """One command of the later version."""
    done = subprocess.run(
        [*under, sys.executable, "-m", "quantd.daemon.cli", *words],
        cwd=folder, env=environ, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


def sql(state, statement):
    with sqlite3.connect(state / "quantd.db") as db:
        return db.execute(statement).fetchall()


def revision(state):
    return sql(state, "SELECT version_num FROM alembic_version")[0][0]


def backups(folder):
    return sorted((folder / "state" / "backups").glob("*.tar"))


def sound(folder, environ, *where):
    """Whether the later version finds no fault in a store."""
    checks = answer(command(folder, environ, "doctor", "--store", "--json", *where))["checks"]
    return next(check for check in checks if check["name"] == "store")["ok"]


@pytest.mark.one_of(3)
@pytest.mark.long
@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_every_command_that_upgrades_a_store_makes_the_same_backup_before(recorded, later, words):
    done = command(recorded, later, *words)
    assert done.returncode == 0, done.stderr
    assert revision(recorded / "state") == LATER
    (saved,) = backups(recorded)
    assert saved.name.startswith(f"before-{LATER}-")
    assert saved.name in done.stdout + done.stderr
    assert read_manifest(saved).revision == REVISION


@pytest.mark.long
def test_a_store_is_upgraded_once_and_its_backup_comes_back_to_this_version(recorded, later):
    journal = sql(recorded / "state", "SELECT * FROM journal ORDER BY number")
    refused = command(recorded, later, "status")
    assert refused.returncode == 78
    assert f"this quantd reads {LATER}: `quantd upgrade` brings it there" in refused.stderr
    done = answer(command(recorded, later, "upgrade", "--json"))
    assert (done["from"], done["to"], done["done"]) == (REVISION, LATER, True)
    assert sql(recorded / "state", "SELECT * FROM notes") == []
    assert sql(recorded / "state", "SELECT * FROM journal ORDER BY number") == journal
    assert "there is nothing to do" in command(recorded, later, "upgrade").stdout
    assert [str(path) for path in backups(recorded)] == [str(recorded / done["backup"])]
    assert sound(recorded, later)
    refused = quantd(recorded, "status")
    assert refused.returncode == 78
    assert f"revision {LATER}, made by a newer quantd" in refused.stderr
    answer(quantd(recorded, "restore", done["backup"], "--state", "again", "--json"))
    assert sql(recorded / "again", "SELECT * FROM journal ORDER BY number") == journal


@pytest.mark.long
def test_a_store_in_postgresql_is_upgraded_and_its_backup_restored_by_the_later_version(recorded, later):
    answer(quantd(recorded, "backup", "kept.tar", "--json"))
    url = new_schema(postgres_server()[0])
    where = ("--state", "server", "--set", f"store.url={url}")
    answer(quantd(recorded, "restore", "kept.tar", "--json", *where))
    said = command(recorded, later, "upgrade", "--dry-run", *where)
    assert f"revision {REVISION}; the steps after a backup are:\n  {LATER}  notes\n" in said.stdout
    done = answer(command(recorded, later, "upgrade", "--json", *where))
    assert (done["from"], done["to"], done["done"]) == (REVISION, LATER, True)
    assert Desk(url, recorded / "server").sql("SELECT * FROM notes") == []
    assert sound(recorded, later, *where)
    answer(command(recorded, later, "restore", done["backup"], "--state", "again", "--json"))
    assert revision(recorded / "again") == LATER


@pytest.mark.long
def test_a_full_disk_refuses_the_start_and_changes_nothing(recorded, later):
    """`backups` is a file system of 128 KiB, in a mount namespace of its own."""
    (recorded / "state" / "backups").mkdir()
    mount = "mount -t tmpfs -o size=128k none state/backups"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], cwd=recorded, capture_output=True).returncode:
        pytest.skip("this machine permits no mount namespaces")
    refused = command(recorded, later, "run", under=("unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh"))
    assert refused.returncode == 75, refused.stderr
    assert "No space left on device" in refused.stderr or "no space left" in refused.stderr
    assert "Nothing was changed; make space in" in refused.stderr
    assert revision(recorded / "state") == REVISION


@pytest.mark.long
def test_an_upgrade_killed_after_its_backup_leaves_the_old_store_or_the_new_one(recorded, later):
    """Killed at several instants after the backup has its name; the last attempt is let through."""
    shutil.copytree(recorded / "state", recorded / "before")
    for delay_s in (0.0, 0.15, 0.4):
        child = subprocess.Popen(
            [sys.executable, "-m", "quantd.daemon.cli", "upgrade"], cwd=recorded, env=later, stdout=subprocess.DEVNULL
        )
        while not backups(recorded) and child.poll() is None:
            time.sleep(0.001)
        time.sleep(delay_s)
        os.kill(child.pid, signal.SIGKILL) if child.poll() is None else None
        child.wait()
        tables = {name for (name,) in sql(recorded / "state", "SELECT name FROM sqlite_schema")}
        assert (revision(recorded / "state"), "notes" in tables) in ((REVISION, False), (LATER, True))
        assert all(read_manifest(saved).revision == REVISION for saved in backups(recorded))
        shutil.rmtree(recorded / "state")
        shutil.copytree(recorded / "before", recorded / "state")
    assert command(recorded, later, "upgrade").returncode == 0
    assert revision(recorded / "state") == LATER


@pytest.mark.long
def test_a_store_of_revision_0008_is_refused_with_the_remedy_and_a_start_upgrades_it(tmp_path):
    unpack(STORES / "gtc_partial_fills.tar.xz", tmp_path)
    database = tmp_path / "state" / "quantd.db"
    before = database.read_bytes()
    place(tmp_path)
    for file in tmp_path.glob("state/quantd.db*"):
        file.unlink()
    database.write_bytes(before)
    assert revision(tmp_path / "state") == "0008"
    refused = quantd(tmp_path, "status")
    assert refused.returncode == 78
    assert "revision 0008, but this quantd reads 0009: `quantd upgrade` brings it there" in refused.stderr
    done = quantd(tmp_path, *RUN)
    assert done.returncode == 0, done.stderr
    (saved,) = backups(tmp_path)
    assert saved.name.startswith("before-0009-")
    assert revision(tmp_path / "state") == REVISION
    assert sql(tmp_path / "state", "SELECT * FROM identities") == []


def test_one_store_has_one_backup_before_an_upgrade_until_the_store_changes(recorded):
    state = recorded / "state"
    saved = before_upgrade(state, state)
    assert before_upgrade(state, state) == saved
    (state / "HALT").touch()
    other = before_upgrade(state, state)
    assert other.name != saved.name, "a restore of the first one would trade; both may be of one second"
