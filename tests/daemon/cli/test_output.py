"""Cells of CSV files, and folders of files that a command writes."""

import pytest

from quantd.daemon.cli.output import cell
from tests.support.command_line import quantd, write


@pytest.mark.parametrize(
    ("text", "written"),
    [("=SPY", "'=SPY"), ("+1+1", "'+1+1"), ("-SPY", "'-SPY"), ("@SUM(A1)", "'@SUM(A1)"), ("-12.50", "-12.50"),
    ("A=B", "A=B")],
)  # fmt: skip
def test_text_that_a_spreadsheet_takes_for_a_formula_is_exported_as_text(text, written):
    assert cell(text) == written


@pytest.mark.parametrize(
    "words",
    [
        ("backtest", "--report", "none/r.html"),
        ("sweep", "--over", "agents.0.capital=0.1,0.2", "--report", "none/r.html"),
        ("study", "signal", "rsi_14", "--out", "none/r.csv"),
        ("study", "rebalance", "--out", "none/r.csv"),
    ],
)
def test_a_missing_folder_is_refused_before_the_work(tmp_path, words):
    write(tmp_path)
    done = quantd(tmp_path, *words)
    assert done.returncode == 2
    assert "there is no folder none; make it" in done.stderr
    assert not (tmp_path / "state").exists()
