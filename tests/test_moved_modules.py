"""An import by an old path is refused at the start: the message names the file or package, both paths and the line."""

import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from quantd import moved_modules
from quantd.moved_modules import MOVED, OldImport, explained, new_path, old_imports
from tests.support.checkout import copy_package, environment

PLANTED = {
    "quantd.daemon.cli.old_places": "quantd.daemon.cli.places",
    "quantd.adapters.old_plugins": "quantd.adapters.plugins",
    "quantd.adapters.old_sinks": "quantd.adapters.sinks",
    "quantd.risk.limits.old_bounds": "quantd.risk.limits.bounds",
    "quantd.trading.market:OldFloats": "quantd.trading.market:Floats",
    "quantd.trading.old_view": "quantd.trading.view",
}

MODULES = Path(__file__).parent / "plugins" / "quantd_example_1" / "quantd_example_1"

KINDS = {
    "policy": ("quantd.policies", "lowest_volatility", "RECORD", "quantd.trading.view"),
    "limit": ("quantd.limits", "price_ceiling", "LIMITS", "quantd.risk.limits.bounds"),
    "feed": ("quantd.feeds", "sawtooth", "VENDOR", "quantd.adapters.plugins"),
    "sink": ("quantd.sinks", "lines", "SINK", "quantd.adapters.sinks.sink"),
}
"""Module of the plug-in -> group and name of its entry point, its record, and an import that gets its old path."""

CONFIG = """
[universe]
symbols = ["SPY", "QQQ"]
[feed]
path = "data/us_daily.parquet"
stamps = "session"
start = 2019-01-02
end = 2019-01-10
warmup = 10
[broker]
cash = "100000.00"
[[agents]]
name = "own"
capital = 1.0
policy = "POLICY"
"""


def is_there(path: str) -> bool:
    """Whether a module, or `module:name`, can be imported."""
    module, _, name = path.partition(":")
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        return False
    return spec is not None and (not name or hasattr(import_module(module), name))


def test_every_new_path_of_the_table_is_there_and_no_old_one() -> None:
    assert [new for new in MOVED.values() if not is_there(new)] == []
    assert [old for old in MOVED if is_there(old)] == []


def test_the_test_of_the_table_sees_a_path_that_is_there() -> None:
    assert is_there("quantd.trading.view")
    assert is_there("quantd.trading.view:HOLD")
    assert not is_there("quantd.trading.view:Old")
    assert not is_there("quantd.trading.old_view")
    assert not is_there("quantd.old.view")


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table with the planted lines."""
    monkeypatch.setattr(moved_modules, "MOVED", PLANTED)


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("quantd.trading.old_view", "quantd.trading.view"),
        ("quantd.trading.old_view:HOLD", "quantd.trading.view:HOLD"),
        ("quantd.adapters.old_sinks.sink", "quantd.adapters.sinks.sink"),
        ("quantd.trading.market:OldFloats", "quantd.trading.market:Floats"),
        ("quantd.trading.market:Floats", ""),
        ("quantd.trading.old_views", ""),
        ("quantd", ""),
    ],
)
def test_a_module_and_what_lies_below_it_have_a_new_path(old: str, new: str) -> None:
    assert new_path(old) == new


SOURCE = """
import numpy
import quantd.adapters.old_sinks.sink as sink
from quantd.trading import old_view, market
from quantd.trading.market import Floats, OldFloats
def late():
    from quantd.trading.old_view import HOLD, Hold
from .old_view import other
"""


@pytest.mark.usefixtures("table")
def test_each_import_of_a_file_by_an_old_path_is_listed_once_with_its_line() -> None:
    assert old_imports(SOURCE) == [
        OldImport(3, "quantd.adapters.old_sinks.sink", "quantd.adapters.sinks.sink"),
        OldImport(4, "quantd.trading.old_view", "quantd.trading.view"),
        OldImport(5, "quantd.trading.market:OldFloats", "quantd.trading.market:Floats"),
        OldImport(7, "quantd.trading.old_view", "quantd.trading.view"),
    ]
    assert old_imports("def broken(") == []


@pytest.mark.long
@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("text", "explanation"),
    [
        ("import quantd.trading.old_view", "quantd.trading.old_view is now quantd.trading.view: change the import in "),
        ("import quantd.trading.other_view", ""),
        ("import nothing_that_is_there", ""),
        ("1 / 0", ""),
    ],
)
def test_only_an_import_by_an_old_path_is_explained(text: str, explanation: str, tmp_path: Path) -> None:
    path = tmp_path / "theirs.py"
    path.write_text(text)
    with pytest.raises((ImportError, ZeroDivisionError)) as caught:
        exec(compile(text, str(path), "exec"))
    assert explained(caught.value) == (f"{explanation}{path}, line 1" if explanation else "")


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package whose table has the planted lines."""
    root = copy_package(tmp_path_factory.mktemp("moved"))
    path = root / "src/quantd/moved_modules.py"
    text = path.read_text()
    start = text.index("MOVED: Final[Mapping[str, str]] = {")
    end = text.index("}\n", start)
    path.write_text(f"{text[:start]}MOVED: Final[Mapping[str, str]] = {PLANTED!r}{text[end + 1 :]}")
    return root


def quantd(root: Path, folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """A command of the copy, with the packages that lie in the folder."""
    variables: Mapping[str, str] = environment(root) | {"COLUMNS": "200", "XDG_CACHE_HOME": str(folder / ".cache")}
    variables = {**variables, "PYTHONPATH": f"{root / 'src'}:{folder}"}
    command = [sys.executable, "-m", "quantd.daemon.cli", *words]
    return subprocess.run(command, cwd=folder, env=variables, text=True, capture_output=True, timeout=100, check=False)


def with_old_import(source: str, new: str) -> tuple[str, str, int]:
    """The source with the old path in place of a new one, the old path, and the line of the import."""
    old = next(new.replace(path, old, 1) for old, path in PLANTED.items() if f"{new}.".startswith(f"{path}."))
    text = source.replace(f"from {new} import", f"from {old} import")
    (line,) = (number for number, row in enumerate(text.splitlines(), 1) if row.startswith(f"from {old} import"))
    return text, old, line


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_the_start_refuses_a_plug_in_with_an_old_import_and_names_both_paths(
    moved: Path, tmp_path: Path, kind: str
) -> None:
    group, name, record, new = KINDS[kind]
    text, old, line = with_old_import((MODULES / f"{kind}.py").read_text(), new)
    package = tmp_path / "quantd_example_1"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / f"{kind}.py").write_text(text)
    metadata = tmp_path / "quantd_example_1-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: quantd-example-1\nVersion: 1.0\n")
    (metadata / "top_level.txt").write_text("quantd_example_1\n")
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{name} = quantd_example_1.{kind}:{record}\n")
    policy = "lowest_volatility" if kind == "policy" else "momentum"
    (tmp_path / "config.toml").write_text(CONFIG.replace("POLICY", policy))
    process = quantd(moved, tmp_path, "config", "check")
    where = f"{old} is now {new}: change the import in {package / kind}.py, line {line}"
    assert (process.returncode, "Traceback" in process.stderr) == (78, False), process.stderr
    assert where in " ".join(process.stderr.split())
    assert process.stderr.count("quantd-example-1: ") == 1


@pytest.mark.long
def test_a_command_with_an_old_import_is_refused_and_the_others_run(moved: Path, tmp_path: Path) -> None:
    source = (MODULES.parent / "command/halted.py").read_text()
    source = source.replace("quantd.daemon.cli.client", "quantd.server.cli.client")
    text, old, line = with_old_import(source, "quantd.daemon.cli.places")
    (tmp_path / "config.toml").write_text(CONFIG.replace("POLICY", "momentum"))
    path = moved / "daemon/cli/look/halted.py"
    path.write_text(text)
    try:
        process = quantd(moved, tmp_path, "halted", "--json")
        assert quantd(moved, tmp_path, "config", "check").returncode == 0
    finally:
        path.unlink()
    where = f"{old} is now quantd.daemon.cli.places: change the import in "
    assert (process.returncode, "Traceback" in process.stderr) == (78, False)
    assert where in process.stderr
    assert process.stderr.rstrip().endswith(f"daemon/cli/look/halted.py, line {line}")


@pytest.mark.long
@pytest.mark.parametrize("command", [("backtest", "--no-compare"), ("run",)])
def test_a_policy_file_with_old_imports_is_refused_with_all_of_them(
    moved: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    source = (MODULES.parents[1] / "ten_imports.py").read_text()
    text = source.replace("quantd.trading.view import", "quantd.trading.old_view import")
    text = text.replace("from quantd.trading.market import Floats", "from quantd.trading.market import OldFloats")
    lines = {row.split()[1]: number for number, row in enumerate(text.splitlines(), 1) if row.startswith("from quantd")}
    (tmp_path / "own.py").write_text(text)
    (tmp_path / "config.toml").write_text(CONFIG.replace("POLICY", "own.py:act"))
    process = quantd(moved, tmp_path, *command)
    assert (process.returncode, "Traceback" in process.stderr) == (78, False), process.stderr
    printed = " ".join(process.stderr.split())
    for old, new in (
        ("quantd.trading.market:OldFloats", "quantd.trading.market:Floats"),
        ("quantd.trading.old_view", "quantd.trading.view"),
    ):
        assert f"{old} is now {new}: change the import in " in printed
        assert f"own.py, line {lines[old.partition(':')[0]]}" in printed
