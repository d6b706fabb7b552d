"""Frames of bars in the shapes that users have."""

import datetime as dt

import pandas as pd
import polars as pl
import pytest

import quantd
from quantd.adapters.feeds.bars.rows import BARS
from quantd.research.python_api.bar_frame import bar_frame


def columns(frame):
    table = bar_frame(frame).frame
    return table.with_columns(pl.col("ts").cast(pl.Datetime("ns")))


def test_other_names_and_capitals_are_known(bars):
    renamed = bars.rename({"ts": "Date", "symbol": "Ticker", "open": "Open", "volume": "V"})
    assert tuple(columns(renamed).columns) == BARS
    assert bar_frame(renamed).frame.equals(bar_frame(bars).frame)


def test_columns_of_pairs_as_yfinance_makes_them(bars):
    wide = bars.to_pandas().pivot(index="ts", columns="symbol", values=["open", "high", "low", "close", "volume"])
    wide.columns = wide.columns.set_levels([n.title() for n in wide.columns.levels[0]], level=0)
    for frame in (wide, wide.swaplevel(axis=1)):
        table = columns(frame)
        assert table.drop("ts").equals(columns(bars).drop("ts"))
        assert table["ts"].equals(columns(bars)["ts"])


def test_one_instrument_needs_no_column_of_symbols(bars):
    spy = bars.filter(pl.col("symbol") == "SPY").drop("symbol")
    assert set(bar_frame(spy).frame["symbol"]) == {"ASSET"}
    indexed = spy.to_pandas().set_index("ts")
    assert bar_frame(indexed).frame["close"].to_list() == spy["close"].to_list()


def test_several_instruments_without_symbols_are_refused(bars):
    with pytest.raises(quantd.Error, match="times repeat"):
        bar_frame(bars.drop("symbol"))


def test_a_lazy_frame_is_collected(bars):
    assert bar_frame(bars.lazy()).frame.equals(bar_frame(bars).frame)


def test_dates_and_instants_with_a_zone_are_one_day(bars):
    frame = bars.to_pandas()
    zoned = frame.assign(ts=frame["ts"].dt.tz_convert("UTC"))
    dated = frame.assign(ts=[stamp.date() for stamp in frame["ts"]])
    assert isinstance(dated["ts"][0], dt.date)
    assert columns(zoned)["ts"].equals(columns(dated)["ts"])


def test_an_index_of_times_is_found_under_any_name(bars):
    frame = bars.to_pandas().set_index("ts")
    frame.index.name = None
    assert isinstance(frame.index, pd.DatetimeIndex)
    assert columns(frame).equals(columns(bars))


def test_the_example_bars_are_all_good(folder):
    result = quantd.backtest("equal_weight", bars=quantd.example_bars(), compare=False)
    assert result.rejected == 0
    assert len(result.equity) > 2_000


@pytest.mark.parametrize(
    ("symbol", "stated", "currency"), [("VOD.L", "", "GBX"), ("VOD.L", "GBP", "GBP"), ("X", "", "USD")]
)
def test_an_account_is_in_the_currency_of_its_bars(bars, symbol, stated, currency):
    frame = bars.filter(pl.col("symbol") == "SPY").with_columns(symbol=pl.lit(symbol))
    frame = frame.with_columns(Currency=pl.lit(stated)).rename({"ts": "date"}) if stated else frame
    known = {"universe.calendar": "XNYS", "feed.holes": "known"}
    assert quantd.backtest({symbol: 0.5}, frame, known, compare=False).config.universe.currency == currency


@pytest.mark.parametrize(
    ("names", "form", "currency"),
    [("{} (EUR)", "{}", "EUR"), ("{}_GBp", "{}", "GBX"), ("{}", "€{}", "EUR"), ("{}", "${}", "USD")],
)
def test_a_currency_beside_the_prices_is_that_of_the_account_or_a_doubt(bars, names, form, currency):
    """In the names of the prices, in their fields, and in a column beside columns in the names of quantd."""
    spy = bars.filter(pl.col("symbol") == "SPY")
    prices = ("open", "high", "low", "close")
    frame = spy.with_columns(pl.format(form, pl.col(name)) for name in prices)
    frame = frame.rename({name: names.format(name) for name in prices})
    assert quantd.backtest({"SPY": 0.5}, frame, compare=False).config.universe.currency == currency
    beside = spy.with_columns(currency=pl.lit(currency))
    assert quantd.backtest({"SPY": 0.5}, beside, compare=False).config.universe.currency == currency
    text = str(quantd.backtest({"SPY": 0.5}, beside, {"universe.currency": "CHF"}, compare=False))
    assert f"the prices of bars are in {currency}, and the account is in CHF" in text


def test_a_row_that_repeats_another_counts_once(bars):
    spy = bars.filter(pl.col("symbol") == "SPY").drop("symbol")
    once = quantd.backtest({"ASSET": 0.5}, spy, compare=False)
    twice = quantd.backtest({"ASSET": 0.5}, pl.concat([spy, spy.tail(90)]), compare=False)
    assert (once.digest, once.rejected) == (twice.digest, twice.rejected)
    assert "90 rows are no bars and are left out: line 503 (it repeats an earlier row)" in str(twice)
    with pytest.raises(quantd.Error, match="times repeat"):
        quantd.backtest({"ASSET": 0.5}, pl.concat([spy, spy.tail(90).with_columns(pl.col("volume") + 1)]))


def test_bars_of_weeks_are_refused_in_a_sentence(bars):
    spy = bars.filter((pl.col("symbol") == "SPY") & (pl.col("ts").dt.weekday() == 5))
    sundays = spy.with_columns(pl.col("ts") + pl.duration(days=2))
    with pytest.raises(
        quantd.Error, match=r"bars of 1d\. A run needs bars of a day or shorter: give a file of 1d bars"
    ):
        quantd.backtest({"SPY": 0.5}, sundays, compare=False)


def test_an_empty_column_of_volumes_is_none(bars):
    result = quantd.backtest({"SPY": 0.5}, bars.with_columns(volume=pl.lit(None, pl.Float64)), compare=False)
    assert result.config.broker.participation == 0
    assert result.fills.height
