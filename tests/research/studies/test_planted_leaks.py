"""Each planted leak is found by the guard that the documentation names; its twin without the leak is not accused."""

from datetime import date
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest

from quantd.daemon.assembly.parts import assemble
from quantd.daemon.cli.configuration import read
from quantd.research.runs.backtest import drive
from quantd.research.runs.comparison import unlimited
from quantd.research.runs.run_record import Record
from quantd.research.studies.factors import source_of
from quantd.research.studies.lookahead import Lookahead, lookahead
from quantd.research.studies.signal_study import study_signals
from tests.support.checkout import DATA
from tests.support.leaks import ABOVE, LEAKS, Leak

CONFIG = """
[quantd]
state = "state"
[universe]
symbols = [{symbols}]
{instruments}
[feed]
path = "{market}/bars.parquet"
actions = "{market}/actions.csv"
stamps = "session"
start = {start}
warmup = {warmup}
macro = [{macro}]
[broker]
cash = "100000"
[[agents]]
name = "mine"
policy = "mine.py:act"
capital = 1.0
params = {params}
[bus]
port = 0
[api]
port = 0
"""
SYMBOLS = ("SPY", "QQQ", "IWM", "AAPL")
SOURCES = [leak for leak in LEAKS if leak.leak]


def closes_with_a_gap_and_an_end() -> pl.DataFrame:
    """Thirty sessions of 2019 after a warm-up: QQQ has no bar for nine of them, AAPL none from March on."""
    day = pl.col("ts").dt.date()
    frame = pl.read_parquet(DATA / "us_daily.parquet").filter(day.is_between(date(2018, 11, 1), date(2019, 3, 15)))
    gap = (pl.col("symbol") == "QQQ") & day.is_between(date(2019, 2, 11), date(2019, 2, 22))
    ended = (pl.col("symbol") == "AAPL") & (day >= date(2019, 3, 1))
    return frame.filter(pl.col("symbol").is_in(SYMBOLS) & ~gap & ~ended)


@cache
def files(coins: bool) -> TemporaryDirectory[str]:
    """The files of the market, for all policies: a file that is new to quantd is read by a process of its own first."""
    held = TemporaryDirectory()
    folder = Path(held.name)
    if coins:
        frame = pl.read_parquet(DATA / "us_daily.parquet").select(pl.exclude("adj_close"))
        coin = pl.read_parquet(DATA / "crypto_daily.parquet").select(frame.columns)
        day = pl.col("ts").dt.date().is_between(date(2019, 1, 2), date(2019, 3, 15))
        both = pl.concat([frame.filter(pl.col("symbol") == "SPY"), coin.filter(pl.col("symbol") == "BTC-USD")])
        both.filter(day).sort("symbol", "ts").write_parquet(folder / "bars.parquet")
    else:
        closes_with_a_gap_and_an_end().write_parquet(folder / "bars.parquet")
    (folder / "actions.csv").write_text((DATA / "us_actions.csv").read_text())
    (folder / "vix.parquet").write_bytes((DATA / "vix_daily.parquet").read_bytes())
    return held


def market(folder: Path, leak: Leak, body: str) -> Path:
    coins = "another calendar" in leak.name
    there = Path(files(coins).name).resolve()
    named = {"BARS": there / "bars.parquet", "ACTIONS": there / "actions.csv", "MACRO": there / "vix.parquet"}
    paths = "".join(f"{key} = {str(path)!r}\n" for key, path in named.items()) + f"HERE = {str(folder.resolve())!r}\n"
    (folder / "mine.py").write_text(paths + f"MEMO = {str(folder)!r}\n" + ABOVE + body)
    text = CONFIG.format(
        symbols=", ".join(f'"{s}"' for s in (("SPY", "BTC-USD") if coins else SYMBOLS)),
        instruments='[[universe.instruments]]\nsymbol = "BTC-USD"\ncalendar = "24/7"' if coins else "",
        market=there,
        start="2019-02-01",
        warmup=15 if coins else 50,
        macro=f'{{ name = "vix", path = "{there}/vix.parquet" }}',
        params=f'{{ path = "{there / "bars.parquet"}" }}' if "*, path" in body else "{}",
    )
    (folder / "config.toml").write_text(text)
    return folder / "config.toml"


def guarded(folder: Path, cache: Path, leak: Leak, body: str) -> Lookahead:
    config = read(market(folder, leak, body))
    if leak.command == "study lookahead":
        return lookahead(config, "mine.py:act", cuts=4, cache=cache)
    alone = unlimited(config, {}, name="studied", policy="equal_weight", params={})
    source = source_of("mine.py:signal", folder, ())
    return study_signals(assemble(alone, cache=cache), [source], horizons=(1,), cuts=3).studies[0].guard


@pytest.fixture(scope="module")
def calendars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("calendars")


def found_by(report: Lookahead) -> set[str]:
    spoken = {
        "truncated markets": report.differences,
        "files of the market": report.market_files,
        "two runs": report.unsteady,
        "later dates": report.dated,
    }
    return {guard for guard, evidence in spoken.items() if evidence}


@pytest.mark.long
@pytest.mark.parametrize("leak", SOURCES, ids=lambda leak: leak.name)
def test_a_planted_leak_is_found_by_the_named_guard(leak: Leak, tmp_path: Path, calendars: Path) -> None:
    report = guarded(tmp_path, calendars, leak, leak.leak)
    assert not report.clean
    assert report.failed == 0, report.failure
    assert leak.guard in found_by(report), report


@pytest.mark.one_of(3)
@pytest.mark.long
@pytest.mark.parametrize("leak", SOURCES, ids=lambda leak: leak.name)
def test_the_twin_without_the_leak_is_not_accused(leak: Leak, tmp_path: Path, calendars: Path) -> None:
    report = guarded(tmp_path, calendars, leak, leak.twin)
    assert report.failed == 0, report.failure
    # a rule of the season is not accused, and not cleared either: it answers by date only
    assert report.clean is (None if leak.guard == "later dates" and "month" in leak.twin else True), report
    assert found_by(report) == set()


def test_a_fill_at_the_close_that_the_decision_saw_is_impossible(tmp_path: Path) -> None:
    """The policy buys after a day that rose. A fill at the close it saw has another price than the engine's."""
    body = "def act(view):\n    return [0.2 if r > 0 else 0.0 for r in view.returns(1)[-1]]\n"
    config = read(market(tmp_path, LEAKS[0], body))
    assembly = assemble(unlimited(config, {}, name="mine", policy="mine.py:act", params={}))
    record = Record(assembly.universe)
    drive(assembly, assembly.config, "fills", record, None, lambda share: None)
    columns = assembly.feed.columns
    assert len(record.fills) > 20
    differs = 0
    for fill in record.fills:
        for column, price in zip(fill.sym, fill.price_nano, strict=True):
            seen = int(np.searchsorted(columns.ts_event, fill.sample))
            assert columns.ts_event[seen] == fill.sample
            after = next(k for k in range(seen + 1, len(columns.ts_event)) if columns.fresh[k, column])
            assert fill.ts == columns.ts_open[after] > fill.sample
            # the spread and the slippage of the default costs, and nothing in the decision's favour
            assert abs(price / columns.open_nano[after, column] - 1.0) < 3e-4
            differs += abs(price / columns.close_nano[seen, column] - 1.0) > 3e-4
    assert differs > 20


def test_a_value_of_a_macro_series_is_known_after_its_availability_date_only(tmp_path: Path) -> None:
    """The twin reads `view.macro`; a look at the value of the same date would have another answer."""
    body = "def act(view):\n    return [view.macro('vix', 1)[-1] / 1000] * 4\n"
    config = read(market(tmp_path, LEAKS[0], body))
    assembly = assemble(unlimited(config, {}, name="mine", policy="mine.py:act", params={}))
    vix = pl.read_parquet(DATA / "vix_daily.parquet").sort("ts")
    days, values = vix["ts"].dt.epoch("ns").to_numpy(), vix["close"].to_numpy()
    matches = before = 0
    for tick in assembly.ticks():
        if tick.sample and not tick.warmup:
            row = int(np.searchsorted(days, tick.key))
            matches += tick.macro[0] == values[row]
            before += tick.macro[0] == values[row - 1]
    assert before == 30
    assert matches <= 1


"""Leaks that are no policy file, and the test that plants each."""
