"""An account with loaded artifacts, a promotion, a portfolio and an outside agent, carried over by real processes."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import quantd as package
from tests.support.artifacts import written
from tests.support.calendar_files import with_calendar
from tests.support.command_line import CONFIG, answer, environment, quantd, write

AGENTS = """\
[portfolios]
places = 1
[[agents]]
name = "learned"
policy = "models/first"
capital = 0.4
[[agents]]
name = "even"
policy = "equal_weight"
capital = 0.2
[[agents]]
name = "rival"
policy = "momentum"
capital = 0.5
shadow = true
challenges = "even"
[[agents]]
name = "guest"
policy = "external"
capital = 0.5
shadow = true
challenges = "learned"
"""
FIRST = CONFIG[: CONFIG.index("[[agents]]")] + AGENTS + CONFIG[CONFIG.index("[bus]") :]
FIRST = FIRST.replace('at_end = "stop"', 'at_end = "wait"')
FIRST = FIRST.replace("max_position_weight = 0.25", "max_position_weight = 0.6")
FIRST = FIRST.replace("var = { limit = 0.03 }", 'profile = "research"')
LATER = FIRST.replace("start = 2019-01-02", "start = 2019-04-01").replace("end = 2019-03-29", "end = 2019-06-28")
LATER = LATER.replace("[[agents]]", '[[agents]]\nname = "third"\npolicy = "hold"\ncapital = 0.05\n[[agents]]', 1)


class Daemon:
    """A daemon as a process that has come to the end of its market, with a client of its API."""

    def __init__(self, folder: Path, *options: str) -> None:
        (folder / "state" / "api.json").unlink(missing_ok=True)
        command = [sys.executable, "-m", "quantd.daemon.cli", "run", "--quiet", *options]
        with_calendar(folder)
        self.process = subprocess.Popen(command, cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 60.0
        while not (folder / "state" / "api.json").exists() and self.process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.1)
        if self.process.poll() is not None:
            return
        port = json.loads((folder / "state" / "api.json").read_text())["port"]
        self.client = package.Client(f"http://127.0.0.1:{port}", (folder / "state" / "token").read_text().strip())
        last = "2019-06-28" if "2019-06-28" in (folder / "config.toml").read_text() else "2019-03-29"
        while not self.client.status().time.startswith(last):
            assert time.monotonic() < end, self.client.status().time
            time.sleep(0.1)

    def stop(self) -> str:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        _, said = self.process.communicate(timeout=30)
        return said


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder whose daemon was stopped after four changes by its API, and the run; the tests go on with copies."""
    folder = tmp_path_factory.mktemp("changed")
    written(folder / "models" / "first", universe=("SPY", "QQQ", "IWM"))
    written(folder / "models" / "second", universe=("SPY", "QQQ", "IWM"), seed=7)
    write(folder, FIRST)
    first = Daemon(folder)
    client = first.client
    client.load_model("learned", "newer", path="models/second")
    client.change_model("rival", "promote", "seen enough")
    client.open_portfolio("core", "the mandate", capital="10000", symbols=("SPY", "IWM"))
    client.propose("guest", "a-1", "x", weights={"SPY": 0.3})
    run = client.house().run
    first.stop()
    return folder, run


@pytest.fixture
def folder(changed: tuple[Path, str], tmp_path: Path) -> Path:
    return shutil.copytree(changed[0], tmp_path / "copy")


@pytest.mark.long
def test_loads_promotions_portfolios_and_ids_are_carried_over_and_each_loss_is_an_alert(
    folder: Path, changed: tuple[Path, str]
) -> None:
    write(folder, LATER)
    second = Daemon(folder, "--carry")
    client = second.client
    assert client.model("learned").model.policy == "models/second"
    assert client.model("rival").model.decides_for == "even"
    assert [portfolio.name for portfolio in client.portfolios().portfolios] == ["core"]
    with pytest.raises(package.Error, match="a-1"):
        client.propose("guest", "a-1", "x", weights={"SPY": 0.2})
    levels = {alert.text: alert.level for alert in client.alerts(limit=200).alerts if alert.kind == "carried"}
    for words, level in (
        ("learned continues with models/second, which api:owner loaded: newer", "INFO"),
        ("the policy of rival, which was promoted, continues to decide for even", "INFO"),
        ("not carried over: shadow rival begins anew: its book, and its comparison of 0 samples", "WARNING"),
        ("not carried over: shadow guest begins anew", "WARNING"),
        ("not carried over: orders and changes of portfolio-1 that were under way lapsed; rebalance portfolio core",
         "WARNING"),
    ):  # fmt: skip
        assert [levels[text] for text in levels if words in text] == [level], "\n".join(levels)
    assert client.house().run != changed[1]
    second.stop()
    assert answer(quantd(folder, "replay", "--policies", "--json"))["policy_differences"] == 0
    again = Daemon(folder)
    assert again.client.model("learned").model.policy == "models/second"
    assert again.client.model("rival").model.decides_for == "even"
    again.stop()


@pytest.mark.long
def test_a_loaded_artifact_is_lost_with_an_alert_where_the_configuration_names_another_and_refused_where_it_is_gone(
    folder: Path,
) -> None:
    shutil.move(folder / "models" / "second", folder / "aside")
    write(folder, LATER)
    refused = quantd(with_calendar(folder), "run", "--quiet", "--carry")
    assert refused.returncode == 78
    assert "models/second, which api:owner loaded" in refused.stderr
    assert "restore that artifact, or name another policy in config.toml" in refused.stderr
    shutil.copytree(folder / "models" / "first", folder / "models" / "third")
    write(folder, LATER.replace("models/first", "models/third"))
    second = Daemon(folder, "--carry")
    assert second.client.model("learned").model.policy == "models/third"
    texts = [alert.text for alert in second.client.alerts(limit=200).alerts if alert.kind == "carried"]
    assert any(text.startswith("not carried over: models/second, which api:owner loaded for learned") for text in texts)
    second.stop()
