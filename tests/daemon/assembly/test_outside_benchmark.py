"""A benchmark outside the universe is read from the feed's file or its own, is compared, and changes no trade."""

import json
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from quantd.adapters.feeds.recorded.origin import Origin
from quantd.daemon.cli.setup.bar_files import parquet
from tests.support.checkout import ROOT
from tests.support.command_line import CONFIG, quantd, write

OTHERS = CONFIG.replace('symbols = ["SPY", "QQQ", "IWM"]', 'symbols = ["QQQ", "IWM"]')
OUTSIDE = OTHERS.replace("[universe]", '[universe]\nbenchmark = "SPY"')


def spy(first: str = "2010-01-01", last: str = "2021-01-01") -> pl.DataFrame:
    frame = pl.read_parquet(ROOT / "data/us_daily.parquet").filter(pl.col("symbol") == "SPY")
    begin, end = (datetime.fromisoformat(day).replace(tzinfo=frame["ts"][0].tzinfo) for day in (first, last))
    return frame.filter(pl.col("ts").is_between(begin, end))


def own_file(folder: Path, frame: pl.DataFrame, name: str) -> None:
    (folder / name).write_bytes(parquet(frame, Origin("yahoo", "1d", "session")))


def run(folder: Path, text: str, *options: str) -> dict:
    write(folder, text)
    done = quantd(folder, "backtest", "--json", "--no-compare", *options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def note_of(result: dict) -> str:
    (note,) = [note for note in result["notes"] if "enchmark " in note]
    return note


@pytest.mark.long
def test_a_benchmark_outside_the_universe_changes_neither_a_trade_nor_the_digest(tmp_path: Path) -> None:
    plain, outside = run(tmp_path, OTHERS), run(tmp_path, OUTSIDE)
    assert outside["digest"] == plain["digest"]
    assert outside["positions"] == plain["positions"]
    assert "SPY" not in outside["positions"]
    assert not [note for note in plain["notes"] if "enchmark " in note]
    assert note_of(outside).startswith("Benchmark SPY, which is not traded: +")


@pytest.mark.long
@pytest.mark.parametrize("with_path", [False, True])
def test_its_own_file_gives_the_same_figures_as_the_feeds(tmp_path: Path, with_path: bool) -> None:
    own_file(tmp_path, spy(), "spy.parquet")
    if with_path:  # as `quantd data fetch` writes them, beside the bars
        rows = (ROOT / "data/us_actions.csv").read_text().splitlines()
        lines = [row for row in rows if row.split(",")[1] in ("symbol", "SPY")]
        (tmp_path / "spy.actions.csv").write_text("\n".join(lines) + "\n")
    ours = run(tmp_path, OUTSIDE.replace('benchmark = "SPY"', 'benchmark = "SPY"\nbenchmark_path = "spy.parquet"'))
    same = note_of(ours) == note_of(run(tmp_path, OUTSIDE))
    assert same == with_path, "without the actions beside it, its dividends are missing"


@pytest.mark.long
def test_bars_that_do_not_cover_the_run_are_a_note_and_not_a_figure(tmp_path: Path) -> None:
    text = OUTSIDE.replace('benchmark = "SPY"', 'benchmark = "SPY"\nbenchmark_path = "spy.parquet"')
    for first, last, words in (
        ("2019-02-01", "2020-01-01", "the bars of SPY begin on 2019-02-01, after the first sample, 2019-01-02"),
        ("2018-01-02", "2019-02-28", "the bars of SPY end on 2019-02-28, before the last sample, 2019-03-29"),
    ):
        own_file(tmp_path, spy(first, last), "spy.parquet")
        assert note_of(run(tmp_path, text)) == f"The benchmark SPY is not compared: {words}."


@pytest.mark.parametrize("command", [("config", "check"), ("backtest", "--no-compare")])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "^GSPC",
            "no bar of ^GSPC. Write benchmark_path, a file of its bars (quantd data fetch ^GSPC)",
        ),
        ("QQ", "no bar of QQ. Did you mean QQQ? Write benchmark_path"),
    ],
)
def test_a_benchmark_without_bars_is_one_sentence_with_its_remedy(
    tmp_path: Path, command: tuple[str, ...], name: str, words: str
) -> None:
    write(tmp_path, OUTSIDE.replace('benchmark = "SPY"', f'benchmark = "{name}"'))
    done = quantd(tmp_path, *command)
    assert done.returncode == 78
    assert f'[universe] benchmark = "{name}": ' in done.stderr
    assert words in done.stderr


def test_a_regime_by_the_volatility_of_the_benchmark_needs_it_among_the_symbols(tmp_path: Path) -> None:
    share = 'name = "calm"\nshares = [{ agent = "even", share = 1.0 }]'
    table = f'[capital]\nmethod = "regime"\n[[capital.regimes]]\n{share}\n'
    write(tmp_path, OUTSIDE.replace("[[agents]]", table + "[[agents]]", 1))
    done = quantd(tmp_path, "config", "check")
    assert done.returncode == 78
    assert 'SPY" is outside [universe] symbols; write volatility_of = "house"' in done.stderr


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('[[schedules]]\nname = "r"\ndo = "backup"\nat = "close-400m"\n', "write less than 390m, the longest session"),
        ('[alerts.sinks.webhook]\nurl = "http://localhost:1"\nkinds = []\n', "kinds is empty; name kinds of alerts"),
    ],
)
def test_a_check_refuses_what_a_start_refuses_and_what_no_alert_would_reach(
    tmp_path: Path, table: str, words: str
) -> None:
    write(tmp_path, OUTSIDE + table)
    done = quantd(tmp_path, "config", "check")
    assert (done.returncode, words in done.stderr) == (78, True), done.stderr
