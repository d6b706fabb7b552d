"""A plug-in and a policy file that were written for commit 16991315 work with the present code, unchanged.

Where a module that one of them imports has moved, the start refuses it and names the old path and the new one.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from quantd.moved_modules import OldImport, old_imports
from tests.support.checkout import ROOT, copy_package, environment

HERE: Final = Path(__file__).parent
PROJECT: Final = HERE / "quantd_example_1"
MODULES: Final = PROJECT / "quantd_example_1"
POLICY_FILE: Final = HERE / "ten_imports.py"

MARKET: Final = f"""
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
"""

OF_THE_PLUG_IN: Final = """policy = "lowest_volatility"
params = { lookback = 20 }
[risk]
max_price = 165
max_drawdown = 0.01
[alerts.sinks.lines]
path = "alerts.jsonl"
"""

Done = subprocess.CompletedProcess[str]


class Site(NamedTuple):
    """A folder of installed packages: the plug-in, beside a copy of quantd."""

    packages: Path

    def quantd(self, folder: Path, *words: str) -> Done:
        """A command of this quantd in a folder."""
        variables = environment(ROOT) | {"PYTHONPATH": str(self.packages), "COLUMNS": "200"}
        variables |= {"XDG_CACHE_HOME": str(folder / ".cache"), "XDG_STATE_HOME": str(folder / ".state")}
        return subprocess.run(
            [sys.executable, "-m", "quantd.daemon.cli", *words], cwd=folder, env=variables, text=True,
            capture_output=True, timeout=200, check=False,
        )  # fmt: skip


def pip(*words: str) -> None:
    """Run pip with the packages that are here; it asks no index."""
    command = [sys.executable, "-m", "pip", *words, "--no-deps", "--no-index", "-q", "--disable-pip-version-check"]
    subprocess.run(command, check=True, timeout=200)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The wheel of the project, built and installed by pip into the folder in which quantd lies."""
    folder = tmp_path_factory.mktemp("site")
    project = shutil.copytree(PROJECT, folder / "project")
    pip("wheel", "--no-build-isolation", "-w", str(folder), str(project))
    packages = copy_package(folder) / "src"
    (wheel,) = folder.glob("*.whl")
    pip("install", "--no-warn-conflicts", "--prefix", str(folder / "prefix"), str(wheel))
    (built,) = (folder / "prefix").rglob("site-packages")
    shutil.copytree(built, packages, dirs_exist_ok=True)
    return Site(packages)


def imports_of(*files: Path) -> list[OldImport]:
    """The imports by old paths in these files."""
    return [entry for file in files for entry in old_imports(file.read_text())]


def worked(done: Done, files: Sequence[Path]) -> bool:
    """Whether a command went well. It must where no import of the files is old, and names the old ones otherwise."""
    old = imports_of(*files)
    if not old:
        assert done.returncode == 0, done.stderr
        return True
    assert done.returncode == 78, done.stderr
    assert "Traceback" not in done.stderr
    assert any(f"{entry.old} is now {entry.new}: change the import in" in done.stderr for entry in old)
    return False


def test_the_plug_in_is_installed_and_nothing_of_it_has_an_import_that_is_not_of_the_recipes() -> None:
    assert sorted(path.stem for path in MODULES.glob("*.py")) == ["__init__", "feed", "limit", "policy", "sink"]
    lines = [line for line in POLICY_FILE.read_text().splitlines() if line.startswith(("from quantd", "import quantd"))]
    assert len(lines) == 10


@pytest.mark.long
def test_its_policy_trades_under_its_limit_and_its_sink_has_the_alerts(site: Site, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(MARKET + OF_THE_PLUG_IN)
    files = [MODULES / f"{name}.py" for name in ("policy", "limit", "feed", "sink")]
    if not worked(site.quantd(tmp_path, "config", "check"), files):
        return
    result = json.loads(site.quantd(tmp_path, "backtest", "--json", "--no-compare").stdout)
    assert result["fills"]
    assert result["refused"], "QQQ is above max_price in the end"
    done = site.quantd(tmp_path, "run", "--json")
    assert done.returncode == 0, done.stderr
    alerts = [json.loads(line) for line in (tmp_path / "alerts.jsonl").read_text().splitlines()]
    assert ("CRITICAL", "switch") in [(alert["level"], alert["kind"]) for alert in alerts]
    assert "the price is above max_price" in site.quantd(tmp_path, "why", "QQQ").stdout


@pytest.mark.long
def test_its_feed_brings_bars(site: Site, tmp_path: Path) -> None:
    dates = ("--calendar", "24/7", "--from", "2024-01-01", "--to", "2024-01-31", "--out", "bars.parquet", "--json")
    done = site.quantd(tmp_path, "data", "fetch", "SPY", "--source", "sawtooth", "--exchange", "north", *dates)
    if worked(done, [MODULES / f"{name}.py" for name in ("limit", "feed")]):
        assert json.loads(done.stdout)["bars"] == 31


@pytest.mark.long
def test_its_command_is_listed_and_answers(site: Site, tmp_path: Path) -> None:
    files = [PROJECT / "command" / "halted.py"]
    listed = site.quantd(tmp_path, "--help").stdout
    assert "List the symbols without new orders" in listed
    done = site.quantd(tmp_path, "halted", "--state", str(tmp_path), "--json")
    if imports_of(*files):
        assert not worked(done, files)
    else:
        assert (done.returncode, done.stderr) == (1, "")
        assert json.loads(done.stdout) == {"running": False, "halted": {}}


@pytest.mark.long
def test_the_policy_file_trades(tmp_path: Path) -> None:
    shutil.copy(POLICY_FILE, tmp_path)
    (tmp_path / "config.toml").write_text(MARKET + 'policy = "ten_imports.py:act"\n')
    here = Site(ROOT / "src")
    if worked(here.quantd(tmp_path, "backtest", "--json", "--no-compare"), [POLICY_FILE]):
        done = here.quantd(tmp_path, "run", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["fills"]
