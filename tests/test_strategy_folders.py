"""Each folder of examples/strategies is whole: its test passes, it looks only backwards, and its README has its result.

A new folder is found by its config.toml.
"""

import inspect
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from scripts.site.strategy_results import described, folders, result
from tests.support.checkout import ROOT
from tests.support.command_line import quantd

FOLDERS = folders()
HEADINGS = ["Result", "When it fails", "Take it away"]

each_folder = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def test_there_are_seven_strategies_and_the_page_lists_each() -> None:
    assert len(FOLDERS) >= 7
    page = (ROOT / "examples/strategies/README.md").read_text(encoding="utf-8")
    assert {name for name, _ in re.findall(r"\[(\w+)\]\((\w+)/README\.md\)", page)} == {f.name for f in FOLDERS}


@each_folder
def test_a_folder_has_its_four_files_and_its_headings(folder: Path) -> None:
    files = {path.name for path in folder.iterdir() if path.is_file()}
    assert files == {"README.md", "config.toml", "policy.py", f"test_{folder.name}.py"}
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    assert len(text.split("## When it fails\n\n")[1].split("\n\n")[0]) > 100, "when it fails is not optional"


@each_folder
def test_the_parameters_of_a_policy_are_its_constants_and_lookback_sets_its_window(folder: Path) -> None:
    module = runpy.run_path(str(folder / "policy.py"))
    defaults = {name: one.default for name, one in inspect.signature(module["act"]).parameters.items()}
    del defaults["view"]
    assert "lookback" in defaults
    assert defaults == {name: module[name.upper()] for name in defaults}
    read: list[int] = []

    def returns(k: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        read.append(k)
        return np.random.default_rng(1).normal(0.001, 0.01, (k, 3))

    universe = SimpleNamespace(symbols=("SPY", "QQQ", "IWM"))
    module["act"](SimpleNamespace(returns=returns, weights=np.zeros(3), universe=universe), lookback=60)
    assert max(read) == 60


@pytest.mark.long
@each_folder
def test_the_test_of_a_folder_passes_where_it_was_copied_to(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "mine")
    command = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", str(copy), str(copy)]
    variables = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # their import takes three seconds
    process = subprocess.run(command, cwd=tmp_path, env=variables, text=True, capture_output=True)
    assert process.returncode == 0, process.stdout
    assert re.search(r"^[3-9] passed", process.stdout, re.MULTILINE)


@pytest.mark.one_of(4)
@pytest.mark.long
@pytest.mark.parametrize("start", ["2020-01-02", pytest.param("", marks=pytest.mark.slow, id="whole")])
@each_folder
def test_a_policy_looks_only_backwards_where_it_was_copied_to(folder: Path, tmp_path: Path, start: str) -> None:
    """CI takes the last years of the market, the long form all of it."""
    shutil.copytree(folder, tmp_path / "mine")
    words = ["study", "lookahead", "mine/policy.py:act", "--config", "mine/config.toml", "--cuts", "4"]
    process = quantd(tmp_path, *words, *(["--set", f"feed.start={start}"] if start else []))
    assert process.returncode == 0, process.stderr
    assert "looks only backwards" in process.stdout


@pytest.mark.one_of(2)
@pytest.mark.long
@each_folder
def test_the_readme_has_the_result_beside_equal_weight(folder: Path) -> None:
    block = result(folder)
    assert "equal weight" in block.split("deflated")[0], "the verdict names both"
    assert (folder / "README.md").read_text(encoding="utf-8") == described(folder, block), "run make strategies"


def test_a_readme_that_has_lost_its_marks_is_named(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# A\n\n## Result\n")
    with pytest.raises(ValueError, match="has lost the marks"):
        described(tmp_path, "x")
