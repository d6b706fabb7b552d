"""Examples with generated bars run as their first lines say."""

import json
import re
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest

from tests.support.checkout import ROOT
from tests.support.command_line import quantd

GENERATED = sorted(
    path.stem for path in (ROOT / "examples").glob("*.toml") if "quantd data fetch --synthetic" in path.read_text()
)


def test_there_are_examples_of_currencies_and_commodities() -> None:
    assert GENERATED == ["commodities", "currencies"]


@pytest.mark.quick_cases(1)
@pytest.mark.requirement("R-127")
@pytest.mark.parametrize("name", GENERATED)
def test_an_example_with_generated_bars_runs_by_its_own_commands(name: str, tmp_path: Path) -> None:
    for folder in ("examples", "state"):
        (tmp_path / folder).mkdir()
    shutil.copy(ROOT / f"examples/{name}.toml", tmp_path / "examples")
    text = (tmp_path / f"examples/{name}.toml").read_text()
    assert {instrument["asset"] for instrument in tomllib.loads(text)["universe"]["instruments"]} in (
        {"currency"},
        {"commodity"},
    )
    generate, backtest = re.findall(r"^#   quantd (.+)$", text.replace(" \\\n#", ""), re.MULTILINE)
    generator = quantd(tmp_path, *shlex.split(generate))
    assert generator.returncode == 0, generator.stderr
    process = quantd(tmp_path, *shlex.split(backtest), "--json")
    assert process.returncode == 0, process.stderr
    report = json.loads(process.stdout)
    assert report["fills"] > 100
    assert "SYNTHETIC" in process.stdout + process.stderr
