"""The row of the reference test: runs by the protocol have one, and other runs are named with what differs."""

import json
import re
from pathlib import Path

import pytest

from scripts.results.benchmark_row import faults, main
from tests.support.checkout import ROOT
from tests.support.command_line import quantd

PAGE = (ROOT / "docs/develop/reference-row.md").read_text(encoding="utf-8")


@pytest.mark.long
def test_the_command_of_the_page_makes_the_row_of_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (words,) = re.findall(r"^quantd (backtest .+) --json > row\.json$", PAGE, re.MULTILINE)
    arguments = [word.strip("'") for word in re.findall(r"'[^']*'|\S+", words)]
    arguments[2] = str(ROOT / arguments[2])
    process = quantd(tmp_path, *arguments, "--json", "--state", str(tmp_path / "state"))
    assert process.returncode == 0, process.stderr
    run = json.loads(process.stdout)
    assert faults(run) == []
    (tmp_path / "row.json").write_text(process.stdout)
    monkeypatch.chdir(tmp_path)
    assert main(["inverse volatility, 63 samples", "row.json"]) == 0
    assert capsys.readouterr().out.strip() in PAGE
