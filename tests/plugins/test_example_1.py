"""An installed package adds a policy, a limit, a feed and a sink to quantd by its entry points."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.checkout import ROOT, environment

PROJECT: Final = Path(__file__).parent / "quantd_example_1"

CONFIG: Final = f"""
[universe]
symbols = ["QQQ", "IWM", "AAPL"]
[feed]
path = "{ROOT}/data/us_daily.parquet"
actions = "{ROOT}/data/us_actions.csv"
stamps = "session"
start = 2019-01-02
end = 2019-03-29
warmup = 60
pace = "fast"
at_end = "stop"
[broker]
cash = "100000.00"
[bus]
port = 0
[api]
port = 0
[[agents]]
name = "calm"
capital = 1.0
policy = "lowest_volatility"
params = {{ lookback = 20 }}
[risk]
max_price = 165
max_drawdown = 0.01
[alerts.sinks.lines]
path = "alerts.jsonl"
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which pip has installed the project; pip asks no index."""
    folder = tmp_path_factory.mktemp("site")
    words = ("install", "--no-build-isolation", "--no-deps", "--no-index", "-q", "--no-warn-conflicts", "--target")
    project = shutil.copytree(PROJECT, folder / "project")
    command = (sys.executable, "-m", "pip", *words, str(folder / "packages"), str(project))
    subprocess.run(command, check=True, timeout=200)
    return folder / "packages"


def quantd(packages: Path, folder: Path, *words: str) -> str:
    """The output of a command in a folder, with the installed packages."""
    variables = environment(ROOT) | {"PYTHONPATH": f"{ROOT / 'src'}:{packages}", "COLUMNS": "200"}
    variables |= {"XDG_CACHE_HOME": str(folder / ".cache")}
    command = [sys.executable, "-m", "quantd.daemon.cli", *words]
    done = subprocess.run(command, cwd=folder, env=variables, text=True, capture_output=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.long
def test_its_policy_trades_under_its_limit_and_its_sink_has_the_alerts(packages: Path, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG)
    result = json.loads(quantd(packages, tmp_path, "backtest", "--json", "--no-compare"))
    assert result["fills"]
    assert result["refused"], "QQQ is above max_price in the end"
    quantd(packages, tmp_path, "run", "--json")
    alerts = [json.loads(line) for line in (tmp_path / "alerts.jsonl").read_text().splitlines()]
    assert ("CRITICAL", "switch") in [(alert["level"], alert["kind"]) for alert in alerts]
    assert "the price is above max_price" in quantd(packages, tmp_path, "why", "QQQ")


@pytest.mark.long
def test_its_feed_brings_bars(packages: Path, tmp_path: Path) -> None:
    dates = ("--calendar", "24/7", "--from", "2024-01-01", "--to", "2024-01-31", "--out", "bars.parquet", "--json")
    fetch = ("data", "fetch", "SPY", "--source", "sawtooth", "--exchange", "north", *dates)
    assert json.loads(quantd(packages, tmp_path, *fetch))["bars"] == 31
