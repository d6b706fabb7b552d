"""Short variables of the environment: over the file, below those with the prefix, and shown as the source."""

import io
import json
from pathlib import Path

import pytest
import structlog

from quantd.bundled import find, placed
from quantd.daemon.config import ConfigError, load, of_keys, read
from quantd.daemon.monitoring.metrics import configure
from quantd.server.api.client_side.api_error import ApiError
from quantd.server.api.client_side.python_client import Client
from quantd.server.api.client_side.transport import usual_address
from tests.support.checkout import ROOT
from tests.support.command_line import quantd
from tests.support.known_names import KNOWN, SMALL

TEXT = SMALL.replace("[risk]\nmax_drawdown = 0.25\n", "")
S = 10**9
ROWS = [
    # variable, text, key, its default or value in the file, its value by the variable, line of the file
    ("API_PORT", "9000", "api.port", 8000, 9000, "[api]\nport = 8001\n"),
    ("MONITOR_INTERVAL", "60", "risk.monitor_interval_ns", 300 * S, 60 * S, '[risk]\nmonitor_interval = "2m"\n'),
    ("MONITOR_INTERVAL", "10m", "risk.monitor_interval_ns", 300 * S, 600 * S, ""),
    ("LOG_LEVEL", "WARNING", "log.level", "info", "warning", '[log]\nlevel = "debug"\n'),
    ("DATA_PATH", "mine.csv", "feed.path", "bars.parquet", "mine.csv", ""),
]
PREFIXED = {
    "API_PORT": ("QUANTD_API__PORT", "9001", 9001),
    "MONITOR_INTERVAL": ("QUANTD_RISK__MONITOR_INTERVAL", "1h", 3600 * S),
    "LOG_LEVEL": ("QUANTD_LOG__LEVEL", "error", "error"),
    "DATA_PATH": ("QUANTD_FEED__PATH", "other.csv", "other.csv"),
}


def value(key: str, more: str = "", **environ: str) -> object:
    config = read(TEXT + more, KNOWN, environ=environ)
    section, name = key.split(".")
    return getattr(getattr(config, section), name)


@pytest.mark.requirement("R-261")
@pytest.mark.parametrize(("variable", "text", "key", "usual", "given", "line"), ROWS)
def test_the_environment_goes_over_the_file_and_the_file_over_the_default(
    variable: str, text: str, key: str, usual: object, given: object, line: str
) -> None:
    assert value(key) == usual
    assert not line or value(key, line) not in (usual, given)
    assert value(key, line, **{variable: text}) == given
    assert value(key, line, **{variable: ""}) == value(key, line)
    name, prefixed, expected = PREFIXED[variable]
    assert value(key, line, **{variable: text, name: prefixed}) == expected


def test_the_path_of_bars_does_not_reach_a_feed_of_a_vendor() -> None:
    vendor = TEXT.replace('path = "bars.parquet"', 'kind = "yfinance"')
    for text, environ in ((vendor, {}), (TEXT.replace('path = "bars.parquet"', ""), {"QUANTD_FEED__KIND": "yfinance"})):
        assert read(text, KNOWN, environ=environ | {"DATA_PATH": "mine.csv"}).feed.path == ""


def test_a_value_that_a_key_does_not_take_names_the_variable() -> None:
    for variable, text in (("LOG_LEVEL", "chatty"), ("API_PORT", "http"), ("MONITOR_INTERVAL", "often")):
        with pytest.raises(ConfigError, match=f"^{variable}"):
            read(TEXT, KNOWN, environ={variable: text})


def test_variables_of_keys_are_saved_with_a_run_and_others_are_not() -> None:
    given = {"API_PORT": "1", "QUANTD_LOG__LEVEL": "info", "QUANTD_ALPACA_KEY": "x", "PATH": "/bin", "DATA_DIR": "d"}
    assert of_keys(given) == {"API_PORT": "1", "QUANTD_LOG__LEVEL": "info"}


@pytest.mark.requirement("R-261")
def test_config_show_names_the_variable_as_the_source() -> None:
    shown = quantd(ROOT, "config", "check", "--show", env={"API_PORT": "9000"}).stdout
    (line,) = [line for line in shown.splitlines() if line.startswith("api.port ")]
    assert "9000" in line
    assert line.split()[-1] == "API_PORT"


@pytest.mark.requirement("R-026")
@pytest.mark.parametrize(("variable", "first"), [("DATA_DIR", "data"), ("MODELS_DIR", "models")])
def test_a_file_in_the_named_folder_goes_before_that_of_the_configuration_and_the_bundled_one(
    variable: str, first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, folder = f"{first}/us_daily.parquet", tmp_path / "here"
    (folder / first).mkdir(parents=True)
    (folder / name).touch()
    (there := tmp_path / "there").mkdir()
    monkeypatch.setenv(variable, str(there))
    assert find(name, folder) == folder / name
    (there / "us_daily.parquet").touch()
    assert find(name, folder) == there / "us_daily.parquet"
    assert find("us_daily.parquet", folder) == folder / "us_daily.parquet"
    monkeypatch.delenv(variable)
    assert find(name, folder) == folder / name


def test_a_variable_without_text_names_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESULTS_DIR", "")
    assert placed("RESULTS_DIR", "state") == Path("state")


@pytest.mark.requirement("R-261")
def test_the_client_takes_an_address_of_this_machine_from_the_environment_and_sends_no_token_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert usual_address({}) == "http://127.0.0.1:8000"
    assert usual_address({"API_URL": "http://localhost:9000"}) == "http://localhost:9000"
    monkeypatch.setenv("API_URL", "https://api.example.com")
    with pytest.raises(ApiError, match=r"API_URL = 'https://api.example.com' is another machine"):
        Client(token="secret")
    Client("https://api.example.com", token="secret")


@pytest.mark.requirement("R-026")
def test_log_lines_are_also_in_the_named_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGS_DIR", str(tmp_path / "logs"))
    stream = io.StringIO()
    try:
        configure(format="console", stream=stream, instance="paper")
        structlog.get_logger("quantd.loop").info("one", lots=7)
    finally:
        monkeypatch.delenv("LOGS_DIR")
        configure(instance="paper")
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["paper.log"]
    (line,) = (tmp_path / "logs/paper.log").read_text().splitlines()
    assert json.loads(line)["event"] == "one"
    assert "one" in stream.getvalue()


@pytest.mark.requirement("R-026")
def test_a_file_of_symbols_follows_the_folder_of_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = TEXT.replace('["SPY", "QQQ"]', '"data/x.txt"')
    for folder, symbol in (("data", "SPY"), ("moved", "QQQ")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.txt").write_text(f"{symbol}\n")
    (config := tmp_path / "config.toml").write_text(text)
    assert load(config, KNOWN).universe.symbols == ("SPY",)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "moved"))
    assert load(config, KNOWN).universe.symbols == ("QQQ",)
    (tmp_path / "moved" / "x.txt").unlink()
    assert load(config, KNOWN).universe.symbols == ("SPY",)
