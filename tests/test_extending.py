"""One new file adds a learner, a policy or a command, two add an event: the files of docs/develop/extending.md run in a
copy of the package."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkout import ROOT, copy_package, environment

PAGE = (ROOT / "docs/develop/extending.md").read_text(encoding="utf-8")


def blocks_of(section: str) -> list[str]:
    """The Python blocks that a section of the page shows."""
    text = PAGE.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


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
    (root / "training/learners/reinforce.py").write_text(blocks_of("A learner")[0])
    (root / "strategies/policies/lowest_volatility.py").write_text(blocks_of("A policy")[0])
    (root / "daemon/cli/look/halted.py").write_text(blocks_of("A command")[0])
    return root


@pytest.mark.long
def test_one_file_adds_a_learner(extended: Path, tmp_path: Path) -> None:
    from tests.support import training as world  # PyTorch

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


@pytest.mark.requirement("R-116")
def test_one_file_adds_a_policy(extended: Path, tmp_path: Path) -> None:
    config = (
        '[universe]\nsymbols = ["SPY", "QQQ", "IWM", "AAPL", "BAC"]\n'
        '[feed]\npath = "data/us_daily.parquet"\nactions = "data/us_actions.csv"\nstamps = "session"\n'
        "start = 2020-01-02\nend = 2020-03-31\n"
        '[broker]\ncash = "100000.00"\n[[agents]]\nname = "calm"\ncapital = 1.0\npolicy = "lowest_volatility"\nparams '
        "= { lookback = 20 }\n"
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


def test_one_file_adds_a_command(extended: Path, tmp_path: Path) -> None:
    lines = quantd(extended, "--help", folder=tmp_path).splitlines()
    (at,) = (number for number, line in enumerate(lines) if "│ halted " in line)
    assert "List the symbols without new orders" in lines[at]
    assert "│ status " in lines[at - 1]  # order 15 in the panel Look
    assert "│ serve " in lines[at + 1]
    assert "--state" in quantd(extended, "halted", "--help", folder=tmp_path)

    command = [sys.executable, "-m", "quantd.daemon.cli", "halted", "--state", str(tmp_path), "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(extended), text=True, capture_output=True, timeout=100)
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout) == {"running": False, "halted": {}}


REMARK = """
import numpy as np
from quantd.daemon.runtime.journal import Journal, fold_live
from quantd.trading.codec import decode, encode
from quantd.trading.events import Remark
from tests.support.engine import START, World, block

def world(log):
    made = World(block(np.full((3, 1), 100.0)), [lambda view: np.array([0.5])])
    made.shell.log = log
    return made

written = Journal()
event = Remark(START, 0, "the listing moves", "ada")
(effect,) = world(written).shell.run(event)
(data,) = written.entries
again = Journal([data])
fold_live(world(again).shell, again)
print(effect.text, decode(data).event == event, again.compared, sep="|")
"""


def in_copy(root: Path, program: str) -> "subprocess.CompletedProcess[str]":
    variables = environment(root)
    variables["PYTHONPATH"] += f":{ROOT}"
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=root, env=variables, text=True, capture_output=True, timeout=100)


def test_a_struct_and_a_handler_add_an_event_that_is_stepped_journalled_and_replayed(tmp_path: Path) -> None:
    root = copy_package(tmp_path)
    struct, handler = blocks_of("An event")
    events = root / "trading/events.py"
    text = events.read_text().replace("External = (\n", "External = (\n    Remark |\n", 1)
    events.write_text(text.replace("External = (", f"{struct}\n\nExternal = (", 1))
    missing = in_copy(root, "import quantd.daemon.engine")
    assert "defines on_remark, the handler of Remark" in missing.stderr
    (root / "daemon/engine/remarks.py").write_text(handler)
    done = in_copy(root, REMARK)
    assert (done.stdout, done.stderr) == ("ada: the listing moves|True|1\n", "")
