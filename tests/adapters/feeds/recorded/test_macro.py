"""Macro series and series per symbol from files: dated by when they could be read."""

import datetime as dt
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from quantd.adapters.calendars import sessions
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.recorded.macro import (
    MacroFile,
    SymbolSeries,
    read_series,
    read_symbol_series,
    series_digest,
)
from quantd.trading.macro import Available, on_sessions
from quantd.trading.sessions import DAY_NS, Sessions

HOUSE = sessions("XNYS", dt.date(2020, 11, 1), dt.date(2021, 1, 31))
FRIDAY, SATURDAY, MONDAY = (int(np.datetime64(d, "ns").astype(np.int64)) for d in ("2020-11-27", "2020-11-28",
    "2020-11-30"))  # fmt: skip


def written(folder: Path, text: str) -> Path:
    path = folder / "series.csv"
    path.write_text(text)
    return path


def row(day: int) -> int:
    return HOUSE.row_of_day[day]


known_from = pytest.mark.parametrize(
    ("day", "available", "start_ns"),
    [
        (FRIDAY, "next_open", HOUSE.open_ns[row(MONDAY)]),
        (FRIDAY, "close", HOUSE.close_ns[row(FRIDAY)]),
        (SATURDAY, "next_open", HOUSE.open_ns[row(MONDAY)]),
        (SATURDAY, "close", HOUSE.close_ns[row(MONDAY)]),
    ],
)
"""Date of a value, its availability, and the instant from which it is known."""


@pytest.mark.requirement("R-022")
@known_from
def test_a_value_is_known_from_its_instant_on_and_not_a_nanosecond_before(
    tmp_path: Path, day: int, available: Available, start_ns: int
) -> None:
    date = str(np.datetime64(day, "ns").astype("datetime64[D]"))
    series = MacroFile("x", written(tmp_path, f"ts,value\n2020-11-16,1.5\n{date},2.5\n"), available, HOUSE)
    assert (series.at(start_ns - 1), series.at(start_ns)) == (1.5, 2.5)
    assert np.isnan(series.at(HOUSE.open_ns[0]))


def test_of_what_became_known_at_one_instant_the_newest_counts_and_order_and_gaps_do_not_matter(tmp_path: Path) -> None:
    text = "ts,value\n2020-11-29,3\n2020-11-27,1\n2020-11-28,2\n2020-12-01,\n2021-06-01,9\n"
    series = MacroFile("x", written(tmp_path, text), "next_open", HOUSE)
    assert series.at(HOUSE.open_ns[row(MONDAY)]) == 3.0
    # an empty value is none, and what the calendar does not reach is never known
    assert series.at(HOUSE.close_ns[-1] + 400 * DAY_NS) == 3.0


@pytest.mark.requirement("R-022")
def test_the_bundled_vix_is_the_day_befores_at_a_close() -> None:
    path = Path("data/vix_daily.parquet")
    series = MacroFile("vix", path, "next_open", HOUSE)
    rows = pl.read_parquet(path).filter(pl.col("ts").dt.date() == dt.date(2020, 11, 25))
    # 2020-11-26 is a holiday
    assert series.at(HOUSE.close_ns[row(FRIDAY)]) == rows["close"][0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ts,price\n2020-11-27,1\n", "it has the columns ts, price. Name two of them ts and value"),
        ("ts,symbol,value\n2020-11-27,A,1\n2020-11-27,B,1\n", "more than one symbol"),
        ("ts,value\n2020-11-27,1\nsoon,2\n", "series.csv:3: the date cannot be read"),
        ("ts,value\n2020-11-27T21:00:00Z,1\n", "series.csv:2: ts has an hour"),
        ("ts,value\n2020-11-27,1\n2020-11-27,2\n", "2020-11-27 has two values"),
        ("ts,value\n2020-11-27,\n", "no row has a date and a number"),
    ],
)
def test_a_file_that_is_no_series_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(FeedError) as error:
        read_series(written(tmp_path, text))
    assert said in str(error.value)


NAMES = ("AAA", "BBB", "CCC")


def symbol_series(folder: Path, text: str, **settings: Any) -> SymbolSeries:
    return SymbolSeries("esg", written(folder, text), NAMES, HOUSE, **settings)


def test_each_symbol_has_its_newest_value_in_the_order_of_the_universe(tmp_path: Path) -> None:
    text = (
        "ts,symbol,value\n2020-11-24,BBB,2\n2020-11-27,AAA,1.5\n2020-11-24,AAA,7\n2020-11-24,ZZZ,9\n2020-11-25,BBB,\n"
    )
    series = symbol_series(tmp_path, text)
    assert series.columns == ("esg AAA", "esg BBB", "esg CCC")
    start_ns = HOUSE.open_ns[row(MONDAY)]
    np.testing.assert_array_equal(series.known(start_ns - 1), [7.0, 2.0, np.nan])
    np.testing.assert_array_equal(series.known(start_ns), [1.5, 2.0, np.nan])
    assert np.isnan(series.known(HOUSE.open_ns[0] - 1)).all()


@known_from
def test_a_value_of_a_symbol_is_known_from_the_instant_of_a_macro_series(
    tmp_path: Path, day: int, available: Available, start_ns: int
) -> None:
    date = str(np.datetime64(day, "ns").astype("datetime64[D]"))
    rows = f"ts,symbol,value\n2020-11-16,AAA,1.5\n{date},AAA,2.5\n"
    series = symbol_series(tmp_path, rows, available=available)
    assert (series.known(start_ns - 1)[0], series.known(start_ns)[0]) == (1.5, 2.5)
    # the date of publication replaces the date that the value describes
    rows = f"ts,symbol,value,available\n2020-11-01,AAA,1.5,2020-11-16\n2020-11-02,AAA,2.5,{date}\n"
    series = symbol_series(tmp_path, rows, available=available)
    assert (series.known(start_ns - 1)[0], series.known(start_ns)[0]) == (1.5, 2.5)


@pytest.mark.parametrize("available", ["next_open", "close"])
def test_a_value_is_unknown_once_more_than_its_valid_days_have_passed(tmp_path: Path, available: Available) -> None:
    # known on Monday, the 30th, with either availability
    date = "2020-11-29" if available == "close" else "2020-11-27"
    series = symbol_series(
        tmp_path, f"ts,symbol,value\n{date},AAA,1\n2020-12-10,BBB,2\n", available=available, valid_days=3
    )
    thursday = row(MONDAY) + 3
    assert series.known(HOUSE.close_ns[thursday])[0] == 1.0
    assert series.known(HOUSE.open_ns[thursday + 1])[0] == 1.0
    assert np.isnan(series.known(HOUSE.open_ns[thursday + 1] + 1)[0])


def test_the_values_at_closes_are_those_that_training_computes_from_dates(tmp_path: Path) -> None:
    rows = [f"2020-11-{day},{symbol},{day + k}" for k, symbol in enumerate(NAMES) for day in range(10 + k, 29, 4 + k)]
    round_the_clock = sessions("24/7", dt.date(2020, 11, 1), dt.date(2020, 12, 31))
    path = written(tmp_path, "\n".join(["ts,symbol,value", *rows]) + "\n")
    calendars: tuple[tuple[Sessions, Available], ...] = (
        (HOUSE, "next_open"), (HOUSE, "close"), (round_the_clock, "close"),
    )  # fmt: skip
    for (house, available), valid_days in product(calendars, (0, 1, 5)):
        series = SymbolSeries("esg", path, NAMES, house, available, valid_days=valid_days)
        table = on_sessions(read_symbol_series(path, NAMES), 3, house.days, available, valid_days).at_closes()
        assert np.isfinite(table).any()
        np.testing.assert_array_equal([series.known(close) for close in house.close_ns], table)


@pytest.mark.requirement("R-019")
def test_another_column_of_a_file_of_bars_is_a_series(tmp_path: Path) -> None:
    path = tmp_path / "bars.parquet"
    dates = [dt.date(2020, 11, 24), dt.date(2020, 11, 25)]
    frame = pl.DataFrame({"ts": dates, "symbol": ["AAA"] * 2, "close": [9.0, 8.0], "regime": [1, 2]})
    frame.write_parquet(path)
    series = SymbolSeries("regime", path, NAMES, HOUSE, column="regime")
    assert series.known(HOUSE.close_ns[row(FRIDAY)])[0] == 2.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ts,value\n2020-11-27,1\n", "column symbol is missing (it has ts, value). Name the columns ts, symbol, value"),
        ("ts,symbol,score\n2020-11-27,AAA,1\n", "column value is missing"),
        (
            "ts,symbol,value\n2020-11-27,AAA,1\n2020-11-27,bbb,1\n",
            "series.csv: it has bbb, and the universe has BBB, which differ in their case or sign alone. Write BBB",
        ),
        ("ts,symbol,value\n2020-11-27,ZZZ,1\n", "no row is of a symbol of the universe"),
        ("ts,symbol,value\n2020-11-27,AAA,\n", "no row of a symbol of the universe has a value"),
        (
            "ts,symbol,value\n2020-11-27,ZZZ,1\n2020-11-27,AAA,bull\n",
            'series.csv:3: value = "bull" is not a number. Write numbers',
        ),
        ("ts,symbol,value\n2020-11-27,AAA,inf\n", 'series.csv:2: value = "inf" is not a number'),
        ("ts,symbol,value\n2020-11-27,AAA,1\nsoon,BBB,2\n", "series.csv:3: the date cannot be read"),
        ("ts,symbol,value\n2020-11-27T21:00:00Z,AAA,1\n", "series.csv:2: ts has an hour"),
        (
            "ts,symbol,value,available\n2020-11-27,AAA,1,\n",
            "series.csv:2: the date in column available cannot be read",
        ),
        (
            "ts,symbol,value\n2020-11-27,AAA,1\n2020-11-27,BBB,2\n2020-11-27,AAA,3\n",
            "series.csv:4: AAA has two values of 2020-11-27",
        ),
    ],
)
def test_a_file_that_is_no_series_per_symbol_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(FeedError) as error:
        read_symbol_series(written(tmp_path, text), NAMES)
    assert said in str(error.value)


@pytest.mark.long
def test_text_in_parquet_is_refused_and_truth_values_are_numbers(tmp_path: Path) -> None:
    path, days = tmp_path / "x.parquet", [dt.date(2020, 11, 24), dt.date(2020, 11, 25)]
    frame = pl.DataFrame({"ts": days, "symbol": ["AAA", "BBB"], "value": [True, False]})
    frame.write_parquet(path)
    assert read_symbol_series(path, NAMES).values.tolist() == [1.0, 0.0]
    regimes = pl.Series("value", ["bear", "bull"], dtype=pl.Categorical)
    frame.with_columns(regimes).write_parquet(path)
    with pytest.raises(FeedError, match='value = "bear" is not a number'):
        read_symbol_series(path, NAMES)
    frame.with_columns(pl.lit(dt.date(2020, 1, 1)).alias("value")).write_parquet(path)
    with pytest.raises(FeedError, match="column value holds Date, not numbers"):
        read_symbol_series(path, NAMES)


@pytest.mark.parametrize("symbol", ["", "AAA,"])
def test_a_changed_file_is_read_again_and_an_unreadable_one_leaves_the_known_values(
    tmp_path: Path, symbol: str
) -> None:
    first = f"ts,{'symbol,' if symbol else ''}value\n2020-11-25,{symbol}1\n"
    path, ts = written(tmp_path, first), HOUSE.close_ns[row(MONDAY)]
    series = SymbolSeries("esg", path, NAMES, HOUSE) if symbol else MacroFile("x", path, "next_open", HOUSE)

    def value() -> float:
        return float(series.known(ts)[0]) if isinstance(series, SymbolSeries) else series.at(ts)

    written(tmp_path, f"{first}2020-11-27,{symbol}2\n")
    assert value() == 1.0
    series.refresh()
    assert value() == 2.0
    written(tmp_path, "nothing\n")
    with pytest.raises(FeedError):
        series.refresh()
    assert value() == 2.0


def test_the_digest_is_of_the_content_and_every_setting(tmp_path: Path) -> None:
    path, other = written(tmp_path, "ts,symbol,value,other\n2020-11-25,AAA,1,2\n"), tmp_path / "other.csv"
    other.write_text("ts,symbol,value,other\n2020-11-25,AAA,1,3\n")
    macro, changed = tmp_path / "macro.csv", tmp_path / "changed.csv"
    macro.write_text("ts,value\n2020-11-25,1\n")
    changed.write_text("ts,value\n2020-11-25,2\n")
    series: list[MacroFile | SymbolSeries] = [
        MacroFile("x", macro, "next_open", HOUSE), MacroFile("y", macro, "next_open", HOUSE),
        MacroFile("x", macro, "close", HOUSE), MacroFile("x", changed, "next_open", HOUSE),
        SymbolSeries("esg", path, NAMES, HOUSE), SymbolSeries("esg", other, NAMES, HOUSE),
        SymbolSeries("mood", path, NAMES, HOUSE), SymbolSeries("esg", path, NAMES, HOUSE, "close"),
        SymbolSeries("esg", path, NAMES, HOUSE, column="other"), SymbolSeries("esg", path, NAMES, HOUSE, valid_days=3),
    ]  # fmt: skip
    digests = {series_digest("feed", [one]) for one in series} | {series_digest("other", series[:1])}
    assert len(digests | {"feed"}) == len(series) + 2
    assert series_digest("feed", series[:1]) == series_digest("feed", [MacroFile("x", macro, "next_open", HOUSE)])
    assert series_digest("feed", []) == "feed"
