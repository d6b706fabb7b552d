"""Backups and compaction by schedule: done beside trading, kept to a number, and a failure is heard of and stops
nothing."""

import asyncio
import shutil
from pathlib import Path

import pytest

from quantd.adapters.store.upkeep.backup import read_manifest
from quantd.adapters.store.upkeep.restore import restore
from quantd.adapters.store.upkeep.verify import verify
from quantd.daemon.config import read
from quantd.daemon.jobs.maintenance import Upkeep
from quantd.daemon.jobs.runner import Jobs
from quantd.daemon.runtime.timeline import instants
from quantd.daemon.views.run_summary import summary
from quantd.trading.events import Stopping
from tests.support.checkout import ROOT
from tests.support.command_line import CONFIG, answer, quantd, write
from tests.support.known_names import KNOWN
from tests.support.mqtt import until
from tests.support.service_kit import TEXT, Kit, backtest, world


def upkeep_of(kit: Kit, folder: Path, *sets: str) -> Jobs:
    kit.service.config = read(TEXT, KNOWN, sets=sets)
    work = Upkeep(kit.service, kit.store, folder, folder).work
    return Jobs(kit.service, {"backup": work, "compact": work})


@pytest.mark.long
async def test_a_backup_and_a_compaction_beside_trading_leave_the_run_what_it_was(tmp_path: Path) -> None:
    of = world()
    kit = Kit(tmp_path, of)
    stepping = asyncio.create_task(kit.service.step_forever())
    some = list(instants(of.items(), kit.shell.ts))
    await kit.service.inbox.put(some[:40])
    upkeep = upkeep_of(kit, tmp_path, "store.keep_days=0")
    keeping = asyncio.create_task(upkeep.run())
    await until(lambda: kit.store.last_seq("run00001") >= 30)
    kit.service.shell.snapshot_wanted = True
    upkeep.due |= {"compact": 1, "backup": 1}
    await until(lambda: list((tmp_path / "backups").glob("*.tar")))
    await kit.service.inbox.put(some[40:])
    await kit.service.inbox.put([[Stopping(0, False, "test")]])
    await asyncio.wait_for(stepping, 20)
    await asyncio.wait_for(keeping, 20)
    upkeep.due["compact"] = 2  # the round at the stop may be over before the stepping is
    await upkeep.once()
    digest = summary(kit.shell, "x", "paper", 1.0).digest
    assert digest == backtest(of)
    kit.store.close()
    assert list((tmp_path / "archives").glob("*.parquet")), "rows that no recovery needs have left the journal"
    assert verify(tmp_path) == []
    again = Kit(tmp_path, of)
    assert summary(again.shell, "x", "paper", 1.0).digest == digest
    again.store.close()
    (backup,) = (tmp_path / "backups").glob("scheduled-*.tar")
    back = tmp_path / "back"
    restore(backup, back, back)
    assert verify(back) == []


async def test_only_so_many_backups_stay_and_nobody_elses_go(tmp_path: Path) -> None:
    kit = Kit(tmp_path, world())
    kept = upkeep_of(kit, tmp_path, "store.keep_backups=2", "store.backups=" + str(tmp_path / "there"))
    (tmp_path / "there").mkdir()
    for name in ("monday.tar", "scheduled-other-20200101T000000Z.tar"):
        (tmp_path / "there" / name).touch()
    for day in ("01", "02", "03"):
        (tmp_path / "there" / f"scheduled-paper-202001{day}T000000Z.tar").touch()
    kept.due["backup"] = 1
    kit.service.over = True
    await kept.run()
    names = sorted(p.name for p in (tmp_path / "there").iterdir())
    assert names[:2] == ["monday.tar", "scheduled-other-20200101T000000Z.tar"]
    assert names[2] == "scheduled-paper-20200103T000000Z.tar"
    assert len(names) == 4
    assert read_manifest(tmp_path / "there" / names[3]).files
    kit.store.close()


LEARNED = 'name = "even"\npolicy = "models/shipped/scorer"\n'


@pytest.mark.long
@pytest.mark.requirement("R-228")
@pytest.mark.parametrize("way", ["schedule", "command"])
def test_a_backup_has_the_models_that_decide_and_a_restore_brings_them_back(way: str, tmp_path: Path) -> None:
    jobs = '[[schedules]]\nname = "backup"\ndo = "backup"\nat = "close"\n' if way == "schedule" else ""
    path = write(tmp_path, CONFIG.replace('name = "even"\npolicy = "equal_weight"\n', LEARNED) + jobs)
    (mine := tmp_path / "models/shipped").mkdir(parents=True)
    shutil.copytree(ROOT / "models/shipped/scorer", mine / "scorer")
    answer(quantd(tmp_path, "run", "--json"))
    backup_path = tmp_path / "made.tar"
    if way == "schedule":
        backup_path = sorted((tmp_path / "state/backups").glob("scheduled-*.tar"))[-1]
    else:
        done = quantd(tmp_path, "backup", str(backup_path))
        assert done.returncode == 0, done.stderr
        assert "in artifacts/scorer-" in done.stdout
    original = {file.name: file.read_bytes() for file in (mine / "scorer").iterdir()}
    shutil.rmtree(tmp_path / "models")
    shutil.rmtree(tmp_path / "state" / "archives", ignore_errors=True)
    back = quantd(tmp_path, "restore", str(backup_path), "--state", "back", "--config", str(path))
    assert back.returncode == 0, back.stderr
    (folder,) = (tmp_path / "back/artifacts").iterdir()
    assert folder.name.startswith("scorer-")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == original
    assert quantd(tmp_path, "doctor", "--store", "--state", "back").returncode == 0
    assert quantd(tmp_path, "models", "list", str(folder)).returncode == 0


@pytest.mark.long
def test_a_backup_without_a_readable_configuration_says_that_it_has_no_models(tmp_path: Path) -> None:
    write(tmp_path)
    answer(quantd(tmp_path, "run", "--json"))
    write(tmp_path, CONFIG + "[wrong]\n")
    done = quantd(tmp_path, "backup", "made.tar", "--state", "state")
    assert done.returncode == 0, done.stderr
    assert "no model is backed up, because the configuration cannot be read" in done.stderr
