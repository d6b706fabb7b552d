"""One file adds a feed, a broker or a sink of alerts: `docs/develop/extending.md` has each, and they run as they stand
there."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkout import ROOT, copy_package, environment
from tests.support.command_line import CONFIG

PAGE = (ROOT / "docs/develop/extending.md").read_text(encoding="utf-8")


def example(path: str) -> str:
    """The file of the page that lies at `path` in adapters/."""
    match = re.search(rf"```python\n# {re.escape(path)}\n(.*?)```", PAGE, re.DOTALL)
    assert match is not None, path
    return match[1]


ADDED = ("feeds/sources/sawtooth.py", "brokers/offline.py", "sinks/lines.py")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the feed, the broker and the sink of the page."""
    root = copy_package(tmp_path_factory.mktemp("copy"))
    for path in ADDED:
        (root / "adapters" / path).write_text(example(path), encoding="utf-8")
    return root


def quantd(root: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "quantd.daemon.cli", *arguments],
        cwd=root, env=environment(root) | {"XDG_CACHE_HOME": str(root / "cache")} | more, capture_output=True,
        text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_a_feed_is_one_file(checkout: Path) -> None:
    check = ("config", "check", "--set", "feed.kind=sawtooth", "--set", 'feed.path=""')
    done = quantd(checkout, *check)
    assert done.returncode == 78
    assert 'name its instance, venue = "north"' in done.stderr
    done = quantd(checkout, *check, "--set", "feed.venue=north", QUANTD_SAWTOOTH_KEY="x")
    assert done.returncode == 0, done.stderr
    dates = ("--calendar", "24/7", "--from", "2024-01-01", "--to", "2024-01-31", "--out", "bars.parquet", "--json")
    done = quantd(checkout, "data", "fetch", "SPY", "--source", "sawtooth", *dates)
    assert done.returncode == 2
    assert "sawtooth needs --exchange north" in done.stderr
    done = quantd(checkout, "data", "fetch", "SPY", "--source", "sawtooth", "--exchange", "north", *dates)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bars"] == 31


@pytest.mark.long
def test_a_broker_is_one_file(checkout: Path) -> None:
    chosen = ("--set", "feed.kind=yfinance", "--set", "broker.kind=offline")
    done = quantd(checkout, "config", "check", *chosen, QUANTD_OFFLINE_KEY="x")
    assert done.returncode == 0, done.stderr
    done = quantd(checkout, "doctor", "--live", "--json", *chosen, QUANTD_OFFLINE_KEY="x")
    check_by_name = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert check_by_name["keys"]["ok"], check_by_name["keys"]
    assert "offline: nobody answers" in check_by_name["venue"]["text"]
    done = quantd(checkout, "config", "check", "--set", "broker.kind=offlin")
    assert "Did you mean offline?" in done.stderr


@pytest.mark.slow
def test_a_sink_of_alerts_is_one_file(checkout: Path, tmp_path: Path) -> None:
    ours, copied = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*.py")}
        for root in (ROOT / "adapters", checkout / "adapters")
    )
    # the checkout may have them already
    assert {str(path) for path, _ in copied.items() - ours.items()} <= set(ADDED) <= set(map(str, copied))
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.toml").write_text(CONFIG.replace("max_drawdown = 0.25", "max_drawdown = 0.01"))
    at = ("--config", str(folder / "config.toml"))
    done = quantd(checkout, "config", "check", *at, "--set", "alerts.sinks.lines.path=alerts.txt")
    assert done.returncode == 78
    assert '[alerts] sinks.lines.path = "alerts.txt" is not a file of JSON lines; write "alerts.jsonl"' in done.stderr
    sink = ("--set", f"alerts.sinks.lines.path={folder}/alerts.jsonl")
    done = quantd(checkout, "config", "check", *at, *sink)
    assert done.returncode == 0, done.stderr
    done = quantd(checkout, "run", "--json", *at, *sink)
    assert done.returncode == 0, done.stderr
    alerts = [json.loads(line) for line in (folder / "alerts.jsonl").read_text().splitlines()]
    assert ("CRITICAL", "switch") in [(alert["level"], alert["kind"]) for alert in alerts]
    done = quantd(checkout, "alerts", "--json", *at)
    # the sink is told of the ends of incidents too
    sink_texts = [alert["text"] for alert in alerts if not alert["text"].startswith("cleared: ")]
    assert [alert["text"] for alert in json.loads(done.stdout)["alerts"]] == sink_texts
