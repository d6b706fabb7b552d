"""An account with loaded artifacts, a promotion, a portfolio and an outside agent, carried over by real processes."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import quantd as package
from tests.daemon.running_daemon import running, until
from tests.support.artifacts import written
from tests.support.calendar_files import with_calendar
from tests.support.command_line import CONFIG, answer, quantd, write

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


@contextmanager
def trading(folder: Path, text: str, *options: str) -> Iterator[package.Client]:
    """A client of a daemon that has come to the end of its market, and is stopped in order."""
    (folder / "state" / "api.json").unlink(missing_ok=True)
    with running(folder, text, "--quiet", *options) as daemon:
        token = (folder / "state" / "token").read_text().strip()
        client = package.Client(f"http://127.0.0.1:{daemon.place['port']}", token)
        until(lambda: client.status().status == "ended", "the market did not end")
        yield client
        assert daemon.stop() == 0


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder whose daemon was stopped after four changes by its API, and the run; the tests go on with copies."""
    folder = tmp_path_factory.mktemp("changed")
    written(folder / "models" / "first", universe=("SPY", "QQQ", "IWM"))
    written(folder / "models" / "second", universe=("SPY", "QQQ", "IWM"), seed=7)
    with trading(folder, FIRST) as client:
        client.load_model("learned", "newer", path="models/second")
        client.change_model("rival", "promote", "seen enough")
        client.open_portfolio("core", "the mandate", capital="10000", symbols=("SPY", "IWM"))
        client.propose("guest", "a-1", "x", weights={"SPY": 0.3})
        return folder, client.house().run


@pytest.fixture
def folder(changed: tuple[Path, str], tmp_path: Path) -> Path:
    return shutil.copytree(changed[0], tmp_path / "copy")


@pytest.mark.long
def test_loads_promotions_portfolios_and_ids_are_carried_over_and_each_loss_is_an_alert(
    folder: Path, changed: tuple[Path, str]
) -> None:
    with trading(folder, LATER, "--carry") as client:
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
    assert answer(quantd(folder, "replay", "--policies", "--json"))["policy_differences"] == 0
    with trading(folder, LATER) as client:
        assert client.model("learned").model.policy == "models/second"
        assert client.model("rival").model.decides_for == "even"


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
    with trading(folder, LATER.replace("models/first", "models/third"), "--carry") as client:
        assert client.model("learned").model.policy == "models/third"
        texts = [alert.text for alert in client.alerts(limit=200).alerts if alert.kind == "carried"]
    assert any(text.startswith("not carried over: models/second, which api:owner loaded for learned") for text in texts)
