"""`quantd doctor` from outside."""

import contextlib
import json
import shutil
import sqlite3
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from quantd.server.cli.setup.doctor_checks import Check
from quantd.server.cli.setup.readiness import BY_HAND, readiness
from tests.support.checkout import ROOT
from tests.support.command_line import CONFIG, answer, environment, quantd, write


@pytest.mark.requirement("R-271")
def test_the_doctor_finds_all_well_and_a_policy_that_draws_random_numbers(ran, tmp_path):
    folder, _ = ran
    assert answer(quantd(folder, "doctor", "--store", "--json"))["ok"]
    write(tmp_path, CONFIG.replace('"equal_weight"', '"dice.py:act"'))
    (tmp_path / "dice.py").write_text("import random\n\ndef act(view):\n    return [random.random() / 9] * 3\n")
    done = quantd(tmp_path, "doctor", "--json")
    assert done.returncode == 1
    (bad,) = [c for c in json.loads(done.stdout)["checks"] if c["ok"] is False]
    assert bad["name"] == "policy"
    assert "random numbers" in bad["text"]


@pytest.mark.long
def test_the_doctor_and_the_version_tell_whether_the_engine_is_compiled(tmp_path):
    environ = environment() | {"QUANTD_UNCOMPILED": "1"}
    command = [sys.executable, "-m", "quantd.daemon.cli"]

    def out(*words):
        return subprocess.run([*command, *words], cwd=tmp_path, env=environ, capture_output=True, text=True).stdout

    write(tmp_path)
    (engine,) = [c for c in json.loads(out("doctor", "--json"))["checks"] if c["name"] == "engine"]
    assert (engine["ok"], engine["text"]) == (None, "uncompiled: QUANTD_UNCOMPILED is set; unset it")
    assert out("--version").endswith(", engine uncompiled\n")


@pytest.mark.quick_cases(2)
@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("UPDATE journal SET blob = zeroblob(length(blob)) WHERE number = 2", "journal: row 2 (run"),
        ("DELETE FROM journal WHERE number = 1", "journal: row 1 is missing"),
        ("UPDATE fills SET price_nano = price_nano + 1 WHERE seq = (SELECT MIN(seq) FROM fills)", "price_nano"),
        ("UPDATE equity SET equity_micro = 'abc' WHERE seq = (SELECT MAX(seq) FROM equity)", "equity_micro 'abc'"),
        ("CREATE TRIGGER foreign_one AFTER INSERT ON fills BEGIN SELECT 1; END", "schema: foreign_one"),
    ],
)
def test_what_the_doctor_finds_in_a_store_that_was_changed_a_start_refuses(ran, tmp_path, sql, says):
    folder, _ = ran
    shutil.copytree(folder / "state", tmp_path / "state")
    write(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "quantd.db")) as db:
        db.execute(sql)
        db.commit()
    done = quantd(tmp_path, "doctor", "--store", "--json")
    assert done.returncode == 1
    assert any(says in c["text"] for c in json.loads(done.stdout)["checks"] if c["ok"] is False)
    started = quantd(tmp_path, "run", "--json")
    assert started.returncode == 1
    assert says in started.stderr
    assert "Restore a backup" in started.stderr
    assert "fault of quantd" not in started.stderr


def test_an_empty_store_is_named_by_doctor_and_run(ran, tmp_path):
    folder, _ = ran
    shutil.copytree(folder / "state", tmp_path / "state")
    write(tmp_path)
    (tmp_path / "state" / "quantd.db").write_bytes(b"")
    done = quantd(tmp_path, "doctor", "--store", "--json")
    (bad,) = [c["text"] for c in json.loads(done.stdout)["checks"] if c["ok"] is False]
    assert "quantd.db is empty: it has none of quantd's tables. Restore a backup" in bad
    assert quantd(tmp_path, "run").returncode == 1


@pytest.mark.long
def test_rights_of_others_on_the_state_are_named_by_the_doctor_and_taken_by_a_start(ran, tmp_path):
    folder, _ = ran
    shutil.copytree(folder / "state", tmp_path / "state")
    write(tmp_path)
    state = tmp_path / "state"
    loose = {state: 0o777, state / "token": 0o666, state / "quantd.db": 0o666}
    for path, mode in loose.items():
        path.chmod(mode)
    done = quantd(tmp_path, "doctor", "--json")
    (bad,) = [c["text"] for c in json.loads(done.stdout)["checks"] if c["ok"] is False]
    assert "other users may write state: chmod go-w state" in bad
    assert "other users may read state/token: chmod 600 state/token" in bad
    started = quantd(tmp_path, "run", "--json")
    assert started.returncode == 0, started.stderr
    assert started.stderr.count("state.tightened") == 3
    assert [stat.S_IMODE(path.stat().st_mode) for path in loose] == [0o775, 0o600, 0o664]
    assert "state.tightened" not in quantd(tmp_path, "run", "--json").stderr


NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CHECKS = [Check("mode", True, 'mode = "live"'), Check("keys", None, "not\nchecked | here")]


@pytest.mark.requirement("R-229")
def test_one_failed_check_is_not_ready_and_checks_without_live_are_no_readiness() -> None:
    failed = [*CHECKS, Check("disk", False, "full"), Check("disk", False, "slow")]
    page = readiness(failed, "desk", "live", True, NOW)
    assert "desk: not ready\n" in page
    assert "- Failed: disk (2 of 4 checks)\n" in page
    assert "desk: in order\n" in readiness(CHECKS, "desk", "paper", False, NOW)


@pytest.mark.requirement("R-229")
def test_the_command_prints_the_report_only_with_the_code_of_its_checks(tmp_path: Path) -> None:
    write(tmp_path)
    done = quantd(tmp_path, "doctor", "--live", "--report")
    assert (done.returncode, done.stdout.startswith("# Readiness of quantd ")) == (1, True)
    assert "| mode | FAILED |" in done.stdout
    assert "| paper run | FAILED |" in done.stdout
    wrong = quantd(tmp_path, "doctor", "--report", "--set", "risk.max_drawdwon=1")
    assert (wrong.returncode, "max_drawdwon" in wrong.stdout, "not ready" in wrong.stdout) == (1, True, True)


@pytest.mark.requirement("R-229")
def test_pages_that_the_report_names_are_there() -> None:
    named = [word.strip("()") for text in BY_HAND for word in text.split() if "docs/" in word]
    assert len(named) >= 4
    assert [page for page in named if not (ROOT / page).is_file()] == []
