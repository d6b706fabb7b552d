"""From files of one's own to a paper run, one command line each, in an empty folder: nothing else is typed."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.support.command_line import answer, program, quantd
from tests.support.yahoo_files import three


@pytest.mark.long
@pytest.mark.timeout(600)
def test_import_train_evaluate_backtest_and_run_are_one_command_line_each(tmp_path: Path) -> None:
    files = three(tmp_path, 1_000)
    imported = quantd(tmp_path, "data", "import", *files, "--into", "config.toml")
    assert imported.returncode == 0, imported.stderr
    train = re.search(r"quantd (train --bars \S+ --into \S+)", imported.stdout)
    assert train is not None, imported.stdout

    trained = quantd(tmp_path, *train[1].split(), "--steps", "500", "--seeds", "1", "--tracker", "none")
    assert trained.returncode == 0, trained.stderr
    assert "test" in trained.stdout
    following = re.search(r"Next: quantd (evaluate \S+), quantd (backtest [^,]+), or quantd (run)", trained.stderr)
    assert following is not None, trained.stderr
    config = tomllib.loads((tmp_path / "config.toml").read_text())
    assert config["agents"][0]["policy"] == following[1].split()[1]

    evaluated = quantd(tmp_path, *following[1].split())
    assert evaluated.returncode == 0, evaluated.stderr
    assert "lies inside the policy's training window" in evaluated.stdout
    assert re.search(r"None of the \d+ sessions", evaluated.stdout)
    tested = quantd(tmp_path, *following[2].split())
    assert tested.returncode == 0, tested.stderr
    assert "equal weight" in tested.stdout
    fast = ("--set", "feed.pace=fast", "--set", "feed.at_end=stop", "--set", "api.port=0", "--set", "bus.port=0")
    ran = program(tmp_path, following[3], *fast)
    assert ran.returncode == 0, ran.stderr
    assert int(re.search(r"(\d+) fills", ran.stdout)[1]) > 0  # type: ignore[index]
    assert "in-sample" in ran.stdout
    assert answer(quantd(tmp_path, "status", "--json"))["agents"] == ["learned", "parity", "trend"]
