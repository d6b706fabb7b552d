"""From names of symbols to a first backtest: by a vendor, by files, and what each failure says to do next."""

import os
import pty
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from tests.support.command_line import ROOT, Done, environment, quantd
from tests.support.venues.random_listing import listing
from tests.support.venues.served import served
from tests.support.venues.yahoo import Yahoo, home

VENUE = Yahoo({"MSFT": listing("MSFT"), "NVDA": listing("NVDA"), "^GSPC": listing("^GSPC", 4000.0)})


def fetched(folder: Path, *arguments: str) -> Done:
    with served(VENUE.app()) as port:
        return quantd(folder, "init", *arguments, "--url", f"http://127.0.0.1:{port}", env=home())


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file in the columns of a page for each of three symbols."""
    folder = tmp_path_factory.mktemp("prices")
    bars = pl.read_parquet(ROOT / "data/us_daily.parquet").filter(pl.col("ts").dt.date() >= date(2017, 1, 1))
    for symbol in ("BAC", "SPY", "IWM"):
        of = bars.filter(pl.col("symbol") == symbol).with_columns(pl.col("ts").dt.date().alias("Date"))
        columns = [pl.col(name).alias(name.title()) for name in ("open", "high", "low", "close", "volume")]
        of.select("Date", *columns).write_csv(folder / f"{symbol}.csv")
    return folder


@pytest.mark.long
def test_symbols_of_a_vendor_are_fetched_checked_and_backtested(tmp_path: Path) -> None:
    done = fetched(tmp_path, "--symbols", "MSFT,NVDA", "--from", "2023")
    assert done.returncode == 0, done.stderr + done.stdout
    document = tomllib.loads((tmp_path / "config.toml").read_text())
    assert document["universe"]["symbols"] == ["MSFT", "NVDA"]
    assert "benchmark" not in document["universe"]
    assert document["feed"]["path"] == "msft_nvda_1d.parquet"
    assert "start" not in document["feed"]
    assert "slices" in done.stdout
    assert done.stdout.index("wrote config.toml") < done.stdout.index("equal weight")
    assert "Next: quantd run trades it on paper" in done.stdout
    assert quantd(tmp_path, "backtest", "--no-compare").returncode == 0


@pytest.mark.long
def test_an_index_among_the_symbols_is_the_benchmark(tmp_path: Path) -> None:
    done = fetched(tmp_path, "mine", "--symbols", "MSFT,NVDA", "--symbols", "^GSPC", "--from", "2023-01-03")
    assert done.returncode == 0, done.stderr + done.stdout
    universe = tomllib.loads((tmp_path / "mine/config.toml").read_text())["universe"]
    assert (universe["symbols"], universe["benchmark"]) == (["MSFT", "NVDA"], "^GSPC")
    assert "Benchmark ^GSPC, which is not traded" in done.stdout
    assert "Next: quantd run -c mine/config.toml" in done.stdout


@pytest.mark.long
def test_symbols_of_a_folder_of_files_are_imported_and_backtested(tmp_path: Path, prices: Path) -> None:
    done = quantd(tmp_path, "init", "--symbols", "BAC,SPY", "--from", "2018", "--data", str(prices))
    assert done.returncode == 0, done.stderr + done.stdout
    bars = pl.read_parquet(tmp_path / "bars.parquet")
    assert sorted(bars["symbol"].unique()) == ["BAC", "SPY"]
    assert bars["ts"].min().date() == date(2018, 1, 2)  # type: ignore[union-attr]
    assert tomllib.loads((tmp_path / "config.toml").read_text())["universe"]["symbols"] == ["BAC", "SPY"]
    assert "this run" in done.stdout
    assert "Next: quantd run" in done.stdout


@pytest.mark.long
def test_without_an_answer_the_message_ends_with_the_commands_that_take_a_file(tmp_path: Path) -> None:
    done = quantd(tmp_path, "init", "mine", "--symbols", "KO", "--url", "http://127.0.0.1:9", env=home())
    assert done.returncode == 75
    *_, file, vendor = done.stderr.strip().splitlines()
    assert file == "Next, with a file or a folder of their bars: quantd init mine --symbols KO --data FILE"
    assert vendor.endswith("quantd init mine --symbols KO --source alpaca")
    assert not (tmp_path / "mine").exists()


@pytest.mark.long
def test_a_person_at_a_terminal_is_asked_for_a_file(tmp_path: Path, prices: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "quantd.daemon.cli", "init", "--symbols", "BAC", "--url", "http://127.0.0.1:9"]
    begun = subprocess.Popen(
        command, cwd=tmp_path, env=environment() | home(), stdin=theirs, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.write(ours, f"{prices / 'BAC.csv'}\n".encode())
    out, error = begun.communicate(timeout=120)
    os.close(ours)
    os.close(theirs)
    assert begun.returncode == 0, error
    assert "A file or a folder of bars of BAC (Enter ends): " in out
    assert tomllib.loads((tmp_path / "config.toml").read_text())["universe"]["symbols"] == ["BAC"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--symbols", "KO", "--data", "{prices}"), 1, "no bar of KO (it has BAC, IWM, SPY). Next: add the file of KO"),
        (("--symbols", "KO", "--data", "absent"), 64, "absent: there is no such file. Next: name the file"),
        (("--symbols", ","), 64, "Next: quantd init --symbols MSFT,NVDA,KO"),
        (("--symbols", "BAC", "--data", "{prices}", "--from", "2040"), 1, "no bar from 2040-01-01 on"),
        (("--from", "2015"), 64, "name the symbols with --symbols A,B"),
        (("--symbols", "KO", "--json"), 64, "quantd backtest --json"),
        (("--symbols", "KO", "--policy", "mine"), 64, "`quantd init --symbols A,B` first"),
    ],
)
def test_each_mistake_names_the_next_command_and_writes_nothing(
    tmp_path: Path, prices: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = quantd(tmp_path, "init", *(word.format(prices=prices) for word in arguments))
    assert done.returncode == (2 if code == 64 else code), done.stderr
    assert words in done.stderr
    assert not list(tmp_path.glob("*.toml"))
    assert not list(tmp_path.glob("*.parquet"))


def test_a_table_with_two_readings_leads_to_the_import_that_asks(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("Date,Open,High,Low,Close,Volume\n2024-03-08,1,2,1,2,3\n2024-03-11,1,2,1,2,3\n")
    done = quantd(tmp_path, "init", "--symbols", "AB,CD", "--data", "table.csv")
    assert done.returncode == 1
    assert "Next: " in done.stderr


def test_a_split_that_no_action_announces_stops_before_the_backtest(tmp_path: Path) -> None:
    bars = pl.read_parquet(ROOT / "data/us_daily.parquet").filter(pl.col("symbol") == "AAPL")
    bars.with_columns(pl.col("ts").dt.date()).write_csv(tmp_path / "AAPL.csv")
    done = quantd(tmp_path, "init", "--symbols", "AAPL", "--from", "2020", "--data", "AAPL.csv")
    assert done.returncode == 1
    assert "jump: AAPL opened at 127.67 on 2020-08-31" in done.stdout
    assert done.stdout.rstrip().endswith("Next: quantd backtest names the lines that answer what stops it")
    assert "2020-08-31" in quantd(tmp_path, "backtest").stderr


def test_a_configuration_that_is_there_stays(tmp_path: Path, prices: Path) -> None:
    (tmp_path / "config.toml").write_text("# mine\n")
    done = quantd(tmp_path, "init", "--symbols", "BAC", "--data", str(prices))
    assert done.returncode == 1
    assert f"Next: quantd data import {prices} --into config.toml" in done.stderr
    assert (tmp_path / "config.toml").read_text() == "# mine\n"
