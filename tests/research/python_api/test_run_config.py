"""`quantd.load` and the configuration around a frame."""

import datetime as dt
import tomllib
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import quantd
from quantd.research.python_api.bar_frame import DEFAULT_SYMBOL, bar_frame
from quantd.research.python_api.run_config import around, sets_of
from quantd.trading.display_text import toml_value
from tests.support.command_line import write


def test_settings_replace_keys_by_name(folder):
    write(folder)
    config = quantd.load("config.toml", {"risk.max_drawdown": 0.2, "feed.end": dt.date(2020, 1, 2)})
    assert config.risk.max_drawdown == 0.2
    assert config.feed.end == dt.date(2020, 1, 2)
    assert isinstance(config, quantd.Config)


def test_a_mistake_names_file_line_key_and_remedy(folder):
    write(folder)
    path = folder / "config.toml"
    path.write_text(path.read_text() + "\n[risk.wrong]\nkey = 1\n")
    with pytest.raises(quantd.ConfigError) as caught:
        quantd.load(path)
    mistake = caught.value.mistakes[0]
    assert mistake.file == str(path)
    assert mistake.line > 0
    assert "risk" in mistake.path or "wrong" in mistake.text
    with pytest.raises(quantd.ConfigError, match="max_drawdown"):
        quantd.load(path, {"risk.max_drawdwon": 0.2})


def test_the_environment_applies_as_in_a_command(folder, monkeypatch):
    write(folder)
    monkeypatch.setenv("QUANTD_BROKER__COMMISSION_BP", "7")
    assert quantd.load("config.toml").broker.commission_bp == 7
    assert quantd.load("config.toml", {"broker.commission_bp": 8}).broker.commission_bp == 8


@pytest.mark.parametrize(
    "value",
    [
        True,
        3,
        0.1,
        "text",
        'with "quotes" \\ and\nlines',
        dt.date(2020, 1, 2),
        ["a", "b"],
        [1, 2.5],
        {"a": 1, "b c": "x"},
    ],
)
def test_a_value_becomes_toml_and_back(value):
    assert tomllib.loads(f"x = {toml_value(value)}")["x"] == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("10000.50"), "10000.50"), (dt.datetime(2020, 1, 2), "2020-01-02"), (Path("a/b"), "a/b"),
        (np.float64(3), "3.0"),
    ],
)  # fmt: skip
def test_a_setting_of_another_type_is_read_as_its_value(value, text):
    assert sets_of({"feed.start": value}) == (f"feed.start={text}",)


@pytest.mark.parametrize(("value", "text"), [(None, "None for feed.start"), (object, "is no value of a key")])
def test_a_setting_without_a_value_is_misused(value, text):
    with pytest.raises(quantd.Error, match=text):
        sets_of({"feed.start": value})


def stamped(stamps, symbol="A"):
    count = len(stamps)
    return bar_frame(
        pl.DataFrame(
            {
                "ts": stamps,
                "symbol": [symbol] * count,
                **{n: [1.0] * count for n in ("open", "high", "low", "close", "volume")},
            }
        )
    )


def test_interval_and_calendar_follow_from_the_stamps():
    day = dt.datetime(2024, 1, 5, tzinfo=dt.UTC)  # a Friday
    daily = around(stamped([day, day + dt.timedelta(days=3)]), "equal_weight", {}, None)
    assert (daily.feed.interval_ns, daily.feed.stamps, daily.universe.calendar) == (86_400 * 10**9, "session", "XNYS")
    for symbol, calendar in (("A", "XNYS"), ("BTCUSDT", "24/7"), (DEFAULT_SYMBOL, "24/7")):
        weekend = around(stamped([day, day + dt.timedelta(days=1)], symbol), "equal_weight", {}, None)
        assert weekend.universe.calendar == calendar
    minutes = [day + dt.timedelta(hours=15, minutes=5 * k) for k in (0, 1, 2, 3, 9)]
    intraday = around(stamped(minutes), "equal_weight", {}, None)
    assert (intraday.feed.interval_ns, intraday.feed.stamps) == (300 * 10**9, "open")


def test_settings_replace_the_defaults_around_a_frame(bars):
    config = around(bar_frame(bars), "momentum", {"lookback": 60}, {"risk.profile": "balanced", "broker.cash": "5000"})
    assert config.risk.profile == "balanced"
    assert config.broker.cash_micro == 5_000_000_000
    assert config.agents[0].params["lookback"] == 60


def several(symbols, ts):
    parts = [
        pl.DataFrame({"ts": ts, "symbol": name, "close": 50 + np.arange(len(ts)) / 100}).with_columns(
            open=pl.col("close"), high=pl.col("close") * 1.01, low=pl.col("close") * 0.99, volume=pl.lit(1e6)
        )
        for name in symbols
    ]
    return bar_frame(pl.concat(parts))


WEEKDAYS = [dt.datetime(2024, 12, 2) + dt.timedelta(days=k) for k in range(5)]
WEEK = [dt.datetime(2024, 12, 2) + dt.timedelta(days=k) for k in range(7)]
HOURS = [dt.datetime(2024, 12, 3) + dt.timedelta(hours=k) for k in range(48)]


@pytest.mark.parametrize(
    ("symbols", "ts", "calendars"),
    [
        (["SPY"], WEEKDAYS, ["XNYS"]),
        (["BTC-USD"], WEEKDAYS, ["24/7"]),
        (["BTC-USD"], HOURS, ["24/7"]),
        (["ETH/USDT", "BTC/USD"], HOURS, ["24/7", "24/7"]),
        (["BTC"], WEEK, ["24/7"]),
        (["ETHUSDC"], WEEK, ["24/7"]),
        (["PIPE"], WEEK, ["XNYS"]),
        (["BTCUSDT", "COIN"], WEEK, ["24/7", "XNYS"]),
        (["BTC-USD", "SPY"], WEEKDAYS, ["24/7", "XNYS"]),
    ],
)
def test_each_symbol_has_its_usual_calendar_as_in_the_commands(symbols, ts, calendars):
    universe = around(several(symbols, ts), "equal_weight", {}, None).instruments()
    by_name = dict(zip(symbols, calendars, strict=True))
    assert {instrument.symbol: instrument.calendar for instrument in universe.instruments} == by_name
    assert universe.calendar == ("24/7" if set(calendars) == {"24/7"} else "XNYS")


def test_days_stamped_by_tokyos_midnight_are_no_weekend():
    ts = [day - dt.timedelta(hours=9) for day in WEEKDAYS]
    assert around(several(["7203.T"], ts), "equal_weight", {}, None).universe.calendar == "XTKS"


def test_extended_hours_of_a_friday_are_no_weekend():
    ts = [dt.datetime(2024, 12, 6, 9) + dt.timedelta(minutes=30 * k) for k in range(32)]
    assert ts[-1] == dt.datetime(2024, 12, 7, 0, 30), "half past seven in the evening in New York"
    assert around(several(["SPY"], ts), "equal_weight", {}, None).universe.calendar == "XNYS"


def test_an_index_among_the_bars_is_the_benchmark_and_no_symbol():
    universe = around(several(["SAP.DE", "^GDAXI"], WEEKDAYS), "equal_weight", {}, None).universe
    assert (universe.symbols, universe.benchmark, universe.calendar) == (("SAP.DE",), "^GDAXI", "XETR")


def test_symbols_of_several_exchanges_have_their_own_calendars():
    config = around(several(["SAP.DE", "AIR.PA", "SPY", "BMW.DE"], WEEKDAYS), "equal_weight", {}, None)
    calendars = {instrument.symbol: instrument.calendar for instrument in config.instruments().instruments}
    assert calendars == {"SAP.DE": "XETR", "AIR.PA": "XPAR", "SPY": "XNYS", "BMW.DE": "XETR"}
    assert config.universe.calendar == "XETR"


def test_a_time_of_day_that_all_days_share_changes_no_result(bars):
    equities = [
        quantd.backtest("equal_weight", bars=bars.with_columns(pl.col("ts").dt.offset_by(time))).record.equity_micro
        for time in ("0s", "15h59m59s", "23h59m59s", "21h")
    ]
    assert all(list(equity) == list(equities[0]) for equity in equities)
