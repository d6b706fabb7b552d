"""Bars that several files have."""

import re
from pathlib import Path

import polars as pl
import pytest

from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.table_files.containers import LARGE
from quantd.adapters.feeds.table_files.reader import ReadOptions, read_tables
from tests.support.command_line import quantd


def written(folder: Path, name: str, days: range, shift: float = 0.0) -> None:
    lines = [
        f"2024-01-{day:02},{10 + day + shift},{12 + day + shift},{9 + day},{11 + day + shift},{day}00" for day in days
    ]
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join(["Date,Open,High,Low,Close,Volume", *lines, ""]))


@pytest.mark.parametrize("first_days", [range(2, 12), range(8, 20)])
def test_equal_bars_of_two_files_count_once_and_the_statement_has_their_number(
    tmp_path: Path, first_days: range
) -> None:
    folder = tmp_path / "bars"
    written(folder, "AAPL_a.csv", first_days)
    written(folder, "AAPL_b.csv", range(2, 12) if first_days[0] == 8 else range(8, 20))
    table = read_tables(folder)
    assert sorted(table.frame["ts"].dt.day().to_list()) == list(range(2, 20))
    assert "4 bars are in several files, with equal values" in table.statements[0].text()


@pytest.mark.parametrize("which", ["first", "last"])
def test_differing_bars_are_refused_with_both_files_and_one_pair_and_the_offered_option_chooses(
    tmp_path: Path, which: str
) -> None:
    folder = tmp_path / "bars"
    written(folder, "AAPL_a.csv", range(2, 12))
    written(folder, "AAPL_b.csv", range(8, 20), shift=0.25)
    with pytest.raises(FeedError, match=r"AAPL at 2024-01-08, with close 19\.0 and 19\.25; 3 more bars") as error:
        read_tables(folder)
    assert {"bars/AAPL_a.csv", "bars/AAPL_b.csv"} <= set(re.findall(r"\S+\.csv", str(error.value)))
    assert f"--overlap {which}" in str(error.value)
    table = read_tables(folder, ReadOptions(overlap=which))
    close = table.frame.filter(pl.col("ts").dt.day() == 8)["close"].cast(pl.Float64).to_list()
    assert close == [19.0 if which == "first" else 19.25]
    assert len(table.frame) == 18
    assert f"4 bars are in several files, those of the {which} file are taken" in table.statements[0].text()
    done = quantd(tmp_path, "data", "import", "bars", "--overlap", which, "--calendar", "24/7")
    assert done.returncode == 0 and "18 bars" in done.stdout  # noqa: PT018
    assert quantd(tmp_path, "data", "import", "bars").returncode == 78


def test_a_bar_that_one_file_has_twice_stays_a_fault(tmp_path: Path) -> None:
    folder = tmp_path / "bars"
    written(folder, "AAPL_a.csv", range(2, 12))
    written(folder, "AAPL_b.csv", range(12, 20))
    path = folder / "AAPL_b.csv"
    path.write_text(path.read_text() + "2024-01-19,29,31,28,30,100\n")
    assert len(read_tables(folder).frame) == 19


def test_a_large_text_and_a_small_one_of_a_folder_are_joined(tmp_path: Path) -> None:
    """A large file has its symbols as categories, a small one as text."""
    for name, count in (("AAA", 6_000), ("BBB", 300)):
        lines = [f"{1_000_000_000 + 86_400 * k},{name},10.1,11.1,9.1,10.{k % 7}2,1000" for k in range(count)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["Date,Ticker,Open,High,Low,Close,Volume", *lines, ""]))
    assert (tmp_path / "AAA.csv").stat().st_size > LARGE
    table = read_tables(tmp_path)
    counts = table.frame.group_by(pl.col("symbol").cast(pl.String)).len().sort("symbol")
    assert counts.rows() == [("AAA", 6_000), ("BBB", 300)]
