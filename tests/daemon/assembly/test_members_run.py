"""A backtest over a universe by date."""

import polars as pl
import pytest

import quantd
from tests.support.checkout import DATA
from tests.support.command_line import one_agent

SYMBOLS = ("AAPL", "BAC", "IWM", "QQQ", "SPY")
TEXT = one_agent(
    SYMBOLS, feed=f'actions = "{DATA}/us_actions.csv"\nstart = 2019-01-02\nend = 2020-12-31',
    path=f"{DATA}/us_daily.parquet",
).replace("[feed]", 'members = "members.csv"\n[feed]')  # fmt: skip
ALWAYS = [f"{symbol},1990-01-01," for symbol in SYMBOLS]
DATED = [
    "SPY,1990-01-01,", "IWM,1990-01-01,2019-07-01", "AAPL,2019-04-01,", "BAC,2019-09-03,2020-03-02",
    "BAC,2020-09-01,", "QQQ,2030-01-01,",
]  # fmt: skip


@pytest.fixture
def ran(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(rows, text=TEXT, **settings):
        (tmp_path / "members.csv").write_text("\n".join(["symbol,joined,left", *rows]) + "\n")
        (tmp_path / "config.toml").write_text(text)
        return quantd.backtest("config.toml", settings=settings)

    return run


def held(result):
    """Symbol -> (first and last date of a fill, quantity at the end)."""
    signed = pl.when(pl.col("side") == "buy").then(pl.col("quantity")).otherwise(-pl.col("quantity"))
    date = pl.col("ts").dt.date().cast(pl.String)
    rows = result.fills.group_by("symbol").agg(date.min().alias("a"), date.max().alias("b"), signed.sum().alias("q"))
    return {symbol: (first, last, quantity) for symbol, first, last, quantity in rows.sort("symbol").iter_rows()}


def test_members_are_bought_from_the_day_they_join_and_sold_when_they_leave(ran):
    holdings = held(ran(DATED))
    assert set(holdings) == {"SPY", "IWM", "AAPL", "BAC"}  # QQQ never joins
    assert holdings["AAPL"][0] == "2019-04-02"  # decided on the close of the first day, filled at the next open
    assert holdings["IWM"][1:] == ("2019-07-02", 0.0)
    assert holdings["BAC"][0] == "2019-09-04"
    assert holdings["BAC"][2] > 0.0


def test_equal_weight_beside_it_has_the_members_of_the_day_too(ran):
    result = ran(DATED)
    assert result.verdict.difference.sharpe == pytest.approx(0.0, abs=1e-12)


def test_a_universe_whose_members_never_change_is_the_universe_without_dates(ran):
    without = TEXT.replace('members = "members.csv"\n', "")
    assert ran(ALWAYS).digest == ran(ALWAYS, without).digest


@pytest.mark.long
def test_other_dates_are_another_market(ran):
    results = [ran(DATED), ran([*DATED[:-1], "QQQ,2020-01-02,"])]
    assert results[0].digest != results[1].digest
    assert [result.verdict.trials for result in results] == [1, 2]


@pytest.mark.long
def test_members_that_join_later_change_nothing_before(ran):
    early, late = ran(DATED), ran([*DATED[:-1], "QQQ,2020-06-01,"])
    before = pl.col("ts") < pl.datetime(2020, 6, 1, time_zone="UTC", time_unit="ns")
    assert early.fills.filter(before).equals(late.fills.filter(before))
    assert not early.fills.equals(late.fills)


def test_a_missing_file_and_a_missing_symbol_are_mistakes(ran, tmp_path):
    with pytest.raises(quantd.Error, match="no row of QQQ"):
        ran(DATED[:-1])
    with pytest.raises(quantd.ConfigError, match="nowhere"):
        ran(DATED, TEXT.replace("members.csv", "nowhere.csv"))
