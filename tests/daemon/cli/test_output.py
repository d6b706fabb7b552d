"""Folders of files that a command writes, and the summary of a run."""

import pytest

from quantd.daemon.cli import output
from quantd.daemon.cli.output import closing
from quantd.daemon.views.run_summary import Summary
from tests.support.command_line import quantd, write


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


@pytest.mark.parametrize(
    ("words", "suffixes"),
    [
        (("sweep", "--over", "agents.0.capital=0.1,0.2", "--report", "r.json"), ".html"),
        (("study", "signal", "rsi_14", "--out", "r.html"), ".csv"),
        (("study", "rebalance", "--out", "r.json"), ".csv or .html"),
        (("study", "costs", "--out", "r.csv"), ".json"),
        (("report", "--export", "fills", "--out", "r.html"), ".csv"),
        (("report", "--statement", "--out", "r.json"), ".csv"),
        (("report", "--out", "r.csv"), ".html"),
    ],
)
def test_a_file_of_another_format_is_refused_before_the_work(tmp_path, words, suffixes):
    write(tmp_path)
    done = quantd(tmp_path, *words)
    assert (done.returncode, done.stderr) == (2, f"{words[-1]}: name a file that ends in {suffixes}\n")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "holds nothing"), (2, "holds 1 S0, 2 S1\n"), (10, "9 S8, 10 S9\n"),
        (50, "holds 50 positions: 1 S0, 2 S1, 3 S2, 4 S3, 5 S4 and 45 more\n"),
    ],
)  # fmt: skip
def test_the_summary_of_a_run_names_a_few_positions_and_the_number_of_the_others(count: int, text: str) -> None:
    positions = {f"S{k}": str(k + 1) for k in range(count)}
    assert text in closing(Summary("r", "paper", 0, 0, 0, 0, 0, 0, 0, "1", "1", positions, 0, 0.1, 0.0, "d")) + "\n"


def test_a_signal_study_without_a_horizon_is_a_mistake(tmp_path):
    write(tmp_path)
    done = quantd(tmp_path, "study", "signal", "momentum_21", "--horizons", "")
    assert done.returncode == 2
    assert "--horizons ''" in done.stderr


def test_a_program_is_named_as_it_can_be_typed(tmp_path, monkeypatch):
    program_path = tmp_path / ".venv" / "bin" / "quantd"
    program_path.parent.mkdir(parents=True)
    program_path.write_text("#!/bin/sh\n")
    program_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(program_path)])
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert output.program() == ".venv/bin/quantd"
    monkeypatch.setenv("PATH", str(program_path.parent))
    assert output.program() == "quantd"


def test_a_program_gets_progress_as_lines_even_where_no_bar_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(output.PROGRESS, "lines")
    monkeypatch.setattr(output, "PACE_S", 0.0)
    with output.progress("backtest") as bar:
        for share in (0.25, 1.5, -1.0):
            bar(share)
    assert capsys.readouterr().err == "progress 0.2500\nprogress 1.0000\nprogress 0.0000\n"
    monkeypatch.setattr(output, "PACE_S", 60.0)
    with output.progress("backtest") as bar:
        bar(0.1)
        bar(0.2)
    assert capsys.readouterr().err == "progress 0.1000\n"
