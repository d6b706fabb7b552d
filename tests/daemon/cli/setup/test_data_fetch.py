"""A download prints what its symbols may be used for, and lines of config.toml that work when they are pasted."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.support.command_line import Done, quantd
from tests.support.venues.random_listing import listing
from tests.support.venues.served import served
from tests.support.venues.yahoo import Yahoo, home

REST = """
[broker]
cash = "100000"
[risk]
profile = "research"
[[agents]]
name = "even"
policy = "equal_weight"
capital = 1.0
profile = "research"
"""


VENUE = Yahoo({
    "TSCO.L": listing("TSCO.L", 280.0),
    "SAP.DE": listing("SAP.DE"),
    "AIR.PA": listing("AIR.PA"),
    "7203.T": listing("7203.T"),
    "BRK-B": listing("BRK.B"),
    "SPY": listing("SPY"),
    "BTC-USD": listing("BTC-USD"),
    "EURUSD=X": listing("EURUSD=X", 1.1, 0.0),
    "CL=F": listing("CL=F"),
    "^VIX": listing("^VIX", 20.0, 0.0),
    "^GSPC": listing("^GSPC", 4000.0),
    "^FTSE": listing("^FTSE", 7000.0, 0.0),
    "^FOO": listing("^FOO"),
})  # fmt: skip


def fetch(folder: Path, *arguments: str) -> Done:
    with served(VENUE.app()) as port:
        return quantd(
            folder, "data", "fetch", *arguments, "--url", f"http://127.0.0.1:{port}", "--from", "2023-01-03",
            "--to", "2024-12-20", "--cache", str(folder / ".bars"), env=home(),
        )  # fmt: skip


def pasted(stdout: str, use: str = "") -> str:
    """The lines of config.toml for a use, as they were printed."""
    _, _, after = stdout.partition(f"in config.toml{use and ', '}{use}:\n\n")
    return after.partition("\n\n")[0] + "\n"


def merged(text: str) -> str:
    """A configuration of pasted lines and an agent; [broker] of the lines precedes that of the agent."""
    if "[broker]" in text:
        return text + REST.replace("[broker]\n", "")
    return text + REST


@pytest.mark.long
@pytest.mark.requirement("R-012")
@pytest.mark.parametrize(
    ("symbols", "asked", "universe"),
    [
        (["TSCO.L"], ["TSCO.L"], {"calendar": "XLON", "currency": "GBX"}),
        (["SAP.DE", "AIR.PA"], ["AIR.PA", "SAP.DE"], {"calendar": "XETR", "currency": "EUR"}),
        (["7203.T"], ["7203.T"], {"calendar": "XTKS", "currency": "JPY"}),
        (["BRK.B"], ["BRK-B"], {"calendar": "XNYS"}),
        (["BTC-USD", "SPY"], ["BTC-USD", "SPY"], {"calendar": "XNYS"}),
        (["CL=F"], ["CL=F"], {"calendar": "CMES"}),
        (["EURUSD=X"], ["EURUSD=X"], {"calendar": "24/5"}),
        (["SPY", "^FTSE"], ["SPY", "^FTSE"], {"calendar": "XNYS", "benchmark": "^FTSE"}),
    ],
)
def test_the_printed_lines_work_when_they_are_pasted(
    tmp_path: Path, symbols: list[str], asked: list[str], universe: dict[str, Any]
) -> None:
    before = len(VENUE.asked)
    done = fetch(tmp_path, *symbols)
    assert done.returncode == 0, done.stderr + done.stdout
    assert sorted({symbol for symbol, _ in VENUE.asked[before:]}) == asked
    assert "quarantined" not in done.stdout
    text = pasted(done.stdout)
    for key, value in universe.items():
        assert f'{key} = "{value}"' in text
    (tmp_path / "config.toml").write_text(merged(text))
    checked = quantd(tmp_path, "config", "check", env=home())
    assert checked.returncode == 0, checked.stderr
    run = quantd(tmp_path, "backtest", "--json", "--no-compare", env=home())
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    assert result["fills"] > 0
    if "benchmark" in universe:
        assert any(f"Benchmark {universe['benchmark']}, which is not traded: " in note for note in result["notes"])


@pytest.mark.long
def test_an_index_alone_prints_the_lines_of_a_series_and_of_the_benchmark_and_both_work(tmp_path: Path) -> None:
    shares, index = fetch(tmp_path, "SPY"), fetch(tmp_path, "^VIX")
    assert index.returncode == 0, index.stderr
    assert "^VIX: an index cannot trade; it can be a series for features, or the benchmark" in index.stdout
    series, benchmark = (pasted(index.stdout, use) for use in ("as a series for features", "as the benchmark"))
    assert series == '[[feed.macro]]\nname = "vix"\npath = "vix_1d.parquet"\n'
    assert benchmark == '[universe]\nbenchmark = "^VIX"\nbenchmark_path = "vix_1d.parquet"\n'
    text = pasted(shares.stdout).replace("[universe]\n", benchmark) + series + REST
    (tmp_path / "config.toml").write_text(text)
    run = quantd(tmp_path, "backtest", "--json", "--no-compare")
    assert run.returncode == 0, run.stderr
    assert any(note.startswith("Benchmark ^VIX") for note in json.loads(run.stdout)["notes"])
    listed = quantd(tmp_path, "features", "list")
    assert "vix" in listed.stdout


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize(
    ("symbol", "words"),
    [
        ("EURUSD=X", "EURUSD=X: no bar has a volume, so that orders fill only with [broker] participation = 0"),
        ("CL=F", "CL=F: a continuous future joins contracts; its prices are of no contract that trades"),
        ("^FOO", "^FOO: the exchange is not known, and XNYS is assumed; --calendar names another"),
        ("TSCO.L", "prices are in pence (GBX), as London quotes them"),
    ],
)
def test_one_line_names_the_restriction_of_a_kind(tmp_path: Path, symbol: str, words: str) -> None:
    done = fetch(tmp_path, symbol)
    assert done.stdout.count(words) == 1
    assert fetch(tmp_path, "SPY").stdout.count(words) == 0


def test_a_calendar_that_is_given_is_that_of_all_symbols(tmp_path: Path) -> None:
    done = fetch(tmp_path, "^FOO", "--calendar", "XNYS")
    assert "the exchange is not known" not in done.stdout


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize(
    ("symbols", "options", "name"),
    [
        (["SPY"], (), "spy_1d.parquet"),
        (["SPY,BTC-USD"], (), "spy_btc-usd_1d.parquet"),
        (["^VIX"], (), "vix_1d.parquet"),
        (["TSCO.L"], (), "tsco.l_1d.parquet"),
        (["SPY"], ("--adjusted",), "spy_1d_adjusted.parquet"),
        (["SPY"], ("--adjusted", "-i", "1wk"), "spy_1wk_adjusted.parquet"),
        (["SPY", "BTC-USD", "CL=F", "BRK.B", "^GSPC"], (), "spy_btc-usd_cl-f_brk.b_and-1-more_1d.parquet"),
    ],
)
def test_a_download_without_a_name_is_named_by_symbols_and_interval(
    tmp_path: Path, symbols: list[str], options: tuple[str, ...], name: str
) -> None:
    done = fetch(tmp_path, *symbols, *options)
    assert done.returncode == 0, done.stderr
    assert f"{name}: " in done.stdout
    assert [path.name for path in tmp_path.glob("*.parquet")] == [name]


def test_a_download_without_a_name_lies_in_data_where_that_folder_is(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    done = fetch(tmp_path, "SPY", "--json")
    assert json.loads(done.stdout)["file"] == "data/spy_1d.parquet"
    assert (tmp_path / "data/spy_1d.parquet").is_file()


@pytest.mark.long
def test_a_download_replaces_none_but_one_of_the_same_and_prints_it(tmp_path: Path) -> None:
    assert fetch(tmp_path, "SPY").returncode == 0
    again = fetch(tmp_path, "SPY")
    assert again.returncode == 0
    assert "it replaces 496 bars of 2023-01-03 to 2024-12-20" in again.stdout
    file = tmp_path / "spy_1d.parquet"
    kept = pl.read_parquet(file)
    kept.with_columns(symbol=pl.lit("QQQ")).write_parquet(file, metadata=pl.read_parquet_metadata(file))
    for content in (file.read_bytes(), b"no parquet", b""):
        file.write_bytes(content)
        refused = fetch(tmp_path, "SPY")
        assert refused.returncode == 2
        assert (
            "spy_1d.parquet exists and is no earlier download of these bars: name another file with --out"
            in refused.stderr
        )
        assert file.read_bytes() == content
    assert fetch(tmp_path, "SPY", "--out", "spy_1d.parquet").returncode == 0, "a name that is given is meant"


def test_actions_of_an_earlier_download_are_named(tmp_path: Path) -> None:
    (tmp_path / "spy_1d.actions.csv").write_text("ts,symbol,kind,ratio,cash\n2024-01-02,SPY,dividend,,1\n")
    done = fetch(tmp_path, "SPY")
    assert "spy_1d.actions.csv is of an earlier download, and this one has no action: remove it" in done.stdout
