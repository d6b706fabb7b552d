"""Upgrade, backup, restore and compaction as an operator does them: the same account afterwards, to the digest."""

import json
import shutil
import sqlite3
import time
from pathlib import Path

import msgspec
import pytest

from quantd.adapters.store.handle import Store
from tests.support.command_line import CONFIG, answer, quantd, write
from tests.support.postgres import postgres_server
from tests.support.store import new_schema

# paced, so that the journal has many rows
PACED = CONFIG.replace('pace = "fast"', 'pace = "60/s"').replace("end = 2019-03-29", "end = 2019-02-28")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A folder with a finished run, what the run printed, and what it held."""
    folder = tmp_path_factory.mktemp("ran")
    write(folder, PACED)
    run = answer(quantd(folder, "run", "--json"))
    assert run["fills"] > 5
    return folder, run, answer(quantd(folder, "positions", "--json"))["positions"]


@pytest.fixture
def copied(ran, tmp_path):
    """The same, to do as one likes with."""
    folder, run, positions = ran
    shutil.copytree(folder, tmp_path / "desk")
    return tmp_path / "desk", run, positions


@pytest.fixture
def database():
    """`--set` that puts the store into PostgreSQL."""
    return ("--set", f"store.url={new_schema(postgres_server()[0])}")


def same_account(folder: Path, run: dict, positions: dict, *more: str) -> None:
    """Replay, positions and the check of the whole store say what the run said when it ended."""
    replay = answer(quantd(folder, "replay", run["run"], "--json", *more))
    assert replay["same"], replay["difference"]
    for what in ("digest", "equity", "cash", "positions", "orders", "fills"):
        assert replay[what] == run[what], what
    assert answer(quantd(folder, "positions", "--json", *more))["positions"] == positions
    (store,) = [
        c for c in answer(quantd(folder, "doctor", "--store", "--json", *more))["checks"] if c["name"] == "store"
    ]
    assert store["ok"], store["text"]


@pytest.mark.long
def test_backup_wipe_restore_and_the_digest_is_the_same(copied):
    folder, run, positions = copied
    backup = answer(quantd(folder, "backup", "kept.tar", "--json"))
    assert [(r["run"], r["steps"] > 50) for r in backup["runs"]] == [(run["run"], True)]
    assert set(backup["runs"][0]["models"]) <= {"even", "trend"}
    unnamed = Path(answer(quantd(folder, "backup", "--json"))["backup"])
    assert (unnamed.parent, (folder / unnamed).is_file()) == (Path("state/backups"), True)
    shutil.rmtree(folder / "state")
    assert quantd(folder, "status", "--json").returncode != 0
    assert (quantd(folder, "backup").returncode, (folder / "state").exists()) == (1, False)
    back = answer(quantd(folder, "restore", "kept.tar", "--json"))
    assert (back["hash"], back["aside"]) == (backup["hash"], None)
    same_account(folder, run, positions)
    assert quantd(folder, "restore", "kept.tar").returncode == 1  # not 75: it would fail again
    refused = quantd(folder, "restore", "kept.tar")
    assert "--force" in refused.stderr
    kept = quantd(folder, "restore", "kept.tar", "--force")
    assert kept.returncode == 0
    assert "the previous store is in state/before-restore-" in kept.stdout
    again = answer(quantd(folder, "run", "--json"))  # and it is the same run that goes on
    assert (again["run"], again["digest"]) == (run["run"], run["digest"])


@pytest.mark.long
def test_a_backup_goes_into_postgresql_and_back_with_the_same_digest(copied, database):
    folder, run, positions = copied
    answer(quantd(folder, "backup", "kept.tar", "--json"))
    answer(quantd(folder, "restore", "kept.tar", "--state", "server", "--json", *database))
    assert not (folder / "server" / "quantd.db").exists()
    same_account(folder, run, positions, "--state", "server", *database)
    answer(quantd(folder, "backup", "again.tar", "--state", "server", "--json", *database))
    answer(quantd(folder, "restore", "again.tar", "--state", "back", "--json"))
    same_account(folder, run, positions, "--state", "back")


@pytest.mark.long
def test_a_compacted_journal_replays_and_explains_its_oldest_orders(copied):
    folder, run, positions = copied
    orders = answer(quantd(folder, "orders", "--last", "1000", "--json"))["orders"]
    why = answer(quantd(folder, "why", orders[0]["id"], "--json"))
    before = (folder / "state" / "quantd.db").stat().st_size
    done = answer(quantd(folder, "store", "compact", "--keep-days", "0", "--json"))
    assert done["rows"] > 20
    assert len(done["files"]) == 1
    assert (folder / "state" / "quantd.db").stat().st_size < before
    same_account(folder, run, positions)
    after = answer(quantd(folder, "why", orders[0]["id"], "--json"))
    assert after == why
    assert "no journal row is old enough" in quantd(folder, "store", "compact", "--keep-days", "0").stdout
    backup = answer(quantd(folder, "backup", "kept.tar", "--json"))  # with its archives
    shutil.rmtree(folder / "state")
    answer(quantd(folder, "restore", "kept.tar", "--json"))
    assert backup["rows"] > done["rows"]
    same_account(folder, run, positions)


@pytest.mark.long
def test_old_read_models_go_by_their_days(copied):
    folder, _, _ = copied
    compaction = quantd(folder, "store", "compact", "--equity-days", "20", "--set", "store.orders_days=30")
    assert compaction.returncode == 0, compaction.stderr
    assert "rows of equity were deleted" in compaction.stdout
    assert "rows of orders were deleted" in compaction.stdout
    assert "alerts" not in compaction.stdout  # what nobody named stays
    quantd(folder, "store", "compact", "--set", "store.archives=away", "--set", "store.keep_days=0")
    assert list((folder / "away").glob("journal-*.parquet"))
    (store,) = [c for c in answer(quantd(folder, "doctor", "--store", "--json"))["checks"] if c["name"] == "store"]
    assert store["ok"], store["text"]


def test_a_store_in_use_can_be_backed_up_but_not_compacted_restored_or_upgraded(copied):
    folder, _, _ = copied
    with Store.open(folder / "state"):
        assert quantd(folder, "backup", "kept.tar").returncode == 0
        for words in (("store", "compact"), ("restore", "kept.tar", "--force")):
            refused = quantd(folder, *words)
            assert refused.returncode == 75
            assert "already uses this state folder" in refused.stderr


def test_a_store_of_a_newer_quantd_is_refused_by_every_command_with_exit_78(copied):
    folder, _, _ = copied
    with sqlite3.connect(folder / "state" / "quantd.db") as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
    for words in (("upgrade",), ("replay",), ("backup", "x.tar"), ("store", "compact"), ("run",)):
        refused = quantd(folder, *words)
        assert refused.returncode == 78, words
        assert "Install the newer version again" in refused.stderr, words


def test_the_manifest_of_a_backup_is_plain_json_for_whoever_looks(copied):
    folder, run, _ = copied
    quantd(folder, "backup", "kept")
    manifest = json.loads((folder / "kept" / "manifest.json").read_text())
    assert manifest["runs"][0]["run"] == run["run"]
    assert set(manifest["files"]) >= {"quantd.db", "journal.head"}
    assert time.time_ns() - manifest["made_ns"] < 60e9
    assert msgspec.json.decode((folder / "kept" / "manifest.json").read_bytes())["revision"] == "0009"
