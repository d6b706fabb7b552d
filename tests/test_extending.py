"""One new file adds a learner or a policy: the files of docs/develop/extending.md run in a copy of the package."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import training as world
from tests.support.checkout import ROOT
from tests.support.package_copy import copy_package, environment

PAGE = (ROOT / "docs/develop/extending.md").read_text(encoding="utf-8")


def file_of(section: str) -> str:
    """The Python file that a section of the page shows."""
    text = PAGE.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


def quantd(root: Path, *words: str, folder: Path) -> str:
    """The standard output of a command of the copied package."""
    variables = environment(root) | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    command = [sys.executable, "-m", "quantd.daemon.cli", *words]
    done = subprocess.run(command, cwd=folder, env=variables, text=True, capture_output=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = copy_package(tmp_path_factory.mktemp("extended"))
    (root / "models/learners/reinforce.py").write_text(file_of("A learner"))
    (root / "strategies/policies/lowest_volatility.py").write_text(file_of("A policy"))
    return root


def test_one_file_adds_a_learner(extended: Path, tmp_path: Path) -> None:
    bars = world.bars(tmp_path)
    assert "reinforce" in quantd(extended, "train", "--help", folder=tmp_path)
    plan = tmp_path / "plan.toml"
    plan.write_text(
        f'agent = "reinforce"\nsteps = 400\nevaluate_every = 200\nseeds = [1]\nwarmup_days = 170\n'
        f'[data]\nbars = "{bars}"\nactions = ""\nsymbols = ["AAA", "BBB", "CCC"]\n[splits]\n'
        "train = { first = 2015-07-01, last = 2016-06-30 }\nvalidation = { first = 2016-07-01, last = 2016-12-31 }\n"
        "test = { first = 2017-01-01, last = 2017-06-30 }\n[learner]\nhidden = [8]\n[market.episodes]\nlength = 30\n"
    )
    space = json.loads(quantd(extended, "tune", str(plan), "--show", "--json", folder=tmp_path))
    assert set(space) == {"learner.learning_rate", "learner.gamma"}
    card = quantd(extended, "train", str(plan), "--out", "artifact", "--tracker", "none", folder=tmp_path)
    assert "A policy trained by REINFORCE" in card
    shown = json.loads(quantd(extended, "models", "info", "artifact", "--json", folder=tmp_path))
    assert shown["algorithm"] == "reinforce"
    quantd(extended, "models", "verify", "artifact", folder=tmp_path)


def test_one_file_adds_a_policy(extended: Path, tmp_path: Path) -> None:
    config = (
        '[universe]\nsymbols = ["SPY", "QQQ", "IWM", "AAPL", "BAC"]\n'
        '[feed]\npath = "data/us_daily.parquet"\nactions = "data/us_actions.csv"\nstamps = "session"\n'
        "start = 2020-01-02\nend = 2020-03-31\n"
        '[broker]\ncash = "100000.00"\n[[agents]]\nname = "calm"\ncapital = 1.0\npolicy = "lowest_volatility"\nparams = { lookback = 20 }\n'
    )
    (tmp_path / "config.toml").write_text(config)
    quantd(extended, "config", "check", folder=tmp_path)
    result = json.loads(quantd(extended, "backtest", "--json", "--no-compare", folder=tmp_path))
    assert result["fills"]

    (tmp_path / "config.toml").write_text(config.replace("lookback", "lokback"))
    variables = environment(extended)
    command = [sys.executable, "-m", "quantd.daemon.cli", "config", "check"]
    done = subprocess.run(command, cwd=tmp_path, env=variables, text=True, capture_output=True, timeout=100)
    assert (done.returncode, "Did you mean lookback?" in done.stdout + done.stderr) == (78, True)
