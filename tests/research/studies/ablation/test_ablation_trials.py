"""Trials of an ablation: stored when done, so that a killed study repeats at most one."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import msgspec
import pytest

from quantd.research.studies.ablation.ablation_trials import digest_of
from tests.support.command_line import quantd
from tests.support.studies import plan, text

COLUMNS = ["rsi_14", "macd", "volatility_20"]
COMMAND = (
    sys.executable, "-m", "quantd.daemon.cli", "ablate", "plan.toml", "--without=RSI", "--without=MACD",
    "--json", "--out",
)  # fmt: skip


def environment(results: Path) -> dict[str, str]:
    return {**os.environ, "RESULTS_DIR": str(results)}


@pytest.mark.long
@pytest.mark.requirement("R-255")
def test_a_killed_study_repeats_at_most_one_trial_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(text(steps=320, **{"sight.columns": COLUMNS, "sight.features": []}))
    reference, broken = tmp_path / "whole", tmp_path / "broken"
    begun = [*COMMAND, "broken.csv"]
    with subprocess.Popen(
        begun, cwd=tmp_path, env=environment(broken), stdout=subprocess.PIPE, start_new_session=True
    ) as killed:
        until = monotonic() + 120.0
        while len(done := list((broken / "ablation").glob("*.json"))) < 3 and killed.poll() is None:
            assert monotonic() < until
            sleep(0.005)
        os.killpg(killed.pid, signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL
    done = list((broken / "ablation").glob("*.json"))
    assert 3 <= len(done) < 6
    before = {path: path.stat().st_ino for path in done}
    again = quantd(tmp_path, *COMMAND[3:], "broken.csv", env={"RESULTS_DIR": str(broken)})
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_ino for path in done} == before  # a finished trial is not made again
    once = quantd(tmp_path, *COMMAND[3:], "whole.csv", env={"RESULTS_DIR": str(reference)})
    assert once.returncode == 0, once.stderr
    assert len(list((reference / "ablation").glob("*.json"))) == 6
    assert again.stdout == once.stdout
    assert (tmp_path / "broken.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    files = {path.name: path.read_bytes() for path in (broken / "ablation").glob("*.json")}
    assert files == {path.name: path.read_bytes() for path in (reference / "ablation").glob("*.json")}


def test_the_name_of_a_trial_changes_with_what_decides_it_and_with_nothing_else(tmp_path: Path) -> None:
    full = plan()
    digest = digest_of(full, 1)
    assert digest == digest_of(msgspec.structs.replace(full, seeds=(1, 2, 3), name="other"), 1)
    assert len({digest, digest_of(full, 2), digest_of(plan(steps=321), 1), digest_of(full, 1, "with limits")}) == 4
    rates = tmp_path / "rates.csv"
    names = set()
    for rate in ("0.01", "0.02"):
        rates.write_text(f"date,rate\n2000-01-03,{rate}\n")
        names.add(digest_of(plan(**{"market.cash_rate": str(rates)}), 1))
    assert len(names) == 2
