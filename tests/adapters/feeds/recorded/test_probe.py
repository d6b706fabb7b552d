"""Unknown parquet files are read in a child process first: a bound on what they hold, and no way to end the daemon."""

import subprocess
from pathlib import Path

import polars as pl
import pytest

from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.recorded import bar_files
from quantd.adapters.feeds.recorded.bar_files import probe
from tests.support.checkout import DATA


@pytest.fixture(autouse=True)
def children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The child processes that were begun, with marks in a folder of this test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    begun: list[str] = []
    run = subprocess.run

    def counted(command: list[str], **given: object) -> object:
        begun.append(command[4])
        return run(command, **given)  # type: ignore[call-overload]

    monkeypatch.setattr(bar_files.subprocess, "run", counted)
    return begun


@pytest.mark.long
def test_a_file_is_probed_once_until_it_changes_and_a_bundled_one_never(tmp_path: Path, children: list[str]) -> None:
    path = tmp_path / "bars.parquet"
    path.write_bytes((DATA / "vix_daily.parquet").read_bytes())
    for _ in range(3):
        probe(path)
        probe(DATA / "us_daily.parquet")
    assert children == [str(path)]
    path.write_bytes((DATA / "crypto_daily.parquet").read_bytes())
    probe(path)
    assert children == [str(path)] * 2


@pytest.mark.long
def test_a_small_file_of_too_many_cells_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.parquet"
    rows = 30_000_000
    pl.select(pl.repeat(1.0, rows).alias("close"),
        *(pl.repeat(0, rows, dtype=pl.Int8).alias(n) for n in "abc")).write_parquet(path)  # fmt: skip
    assert path.stat().st_size < 2_000_000
    with pytest.raises(FeedError, match="120,000,000 cells are more than 100,000,000") as caught:
        probe(path)
    assert "Split the file" in caught.value.remedy
    with pytest.raises(FeedError, match="cells"):
        probe(path)  # it is not known for having been looked at


@pytest.mark.parametrize("code", ["import os; os.abort()", "raise SystemExit('polars panicked')"])
def test_a_reader_that_dies_is_an_error_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(bar_files, "_PROBE", code)
    path = tmp_path / "bars.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(FeedError, match=r"bars\.parquet: it cannot be read as parquet \((signal 6|polars panicked)\)"):
        probe(path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bars.parquet"
    good = (DATA / "vix_daily.parquet").read_bytes()
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(FeedError, match="cannot be read as parquet"):
        probe(path)
