"""Macro series from files: dated by when they could be read."""

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from quantd.adapters.calendars import sessions
from quantd.adapters.feeds.errors import FeedError
from quantd.adapters.feeds.recorded.macro import Available, MacroFile, read_series, series_digest
from quantd.trading.sessions import DAY_NS

HOUSE = sessions("XNYS", dt.date(2020, 11, 1), dt.date(2021, 1, 31))
FRIDAY, SATURDAY, MONDAY = (int(np.datetime64(d, "ns").astype(np.int64)) for d in ("2020-11-27", "2020-11-28",
    "2020-11-30"))  # fmt: skip


def written(folder: Path, text: str) -> Path:
    path = folder / "series.csv"
    path.write_text(text)
    return path


def row(day: int) -> int:
    return HOUSE.row_of_day[day]


@pytest.mark.parametrize(
    ("day", "available", "known"),
    [
        (FRIDAY, "next_open", HOUSE.open_ns[row(MONDAY)]),
        (FRIDAY, "close", HOUSE.close_ns[row(FRIDAY)]),
        (SATURDAY, "next_open", HOUSE.open_ns[row(MONDAY)]),
        (SATURDAY, "close", HOUSE.close_ns[row(MONDAY)]),
    ],
)
def test_a_value_is_known_from_its_instant_on_and_not_a_nanosecond_before(
    tmp_path: Path, day: int, available: Available, known: int
) -> None:
    date = str(np.datetime64(day, "ns").astype("datetime64[D]"))
    series = MacroFile("x", written(tmp_path, f"ts,value\n2020-11-16,1.5\n{date},2.5\n"), available, HOUSE)
    assert (series.at(known - 1), series.at(known)) == (1.5, 2.5)
    assert np.isnan(series.at(HOUSE.open_ns[0]))


def test_of_what_became_known_at_one_instant_the_newest_counts_and_order_and_gaps_do_not_matter(tmp_path: Path) -> None:
    text = "ts,value\n2020-11-29,3\n2020-11-27,1\n2020-11-28,2\n2020-12-01,\n2021-06-01,9\n"
    series = MacroFile("x", written(tmp_path, text), "next_open", HOUSE)
    assert series.at(HOUSE.open_ns[row(MONDAY)]) == 3.0
    # an empty value is none, and what the calendar does not reach is never known
    assert series.at(HOUSE.close_ns[-1] + 400 * DAY_NS) == 3.0


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


def test_it_is_read_again_when_it_was_written_and_what_cannot_be_read_leaves_what_was_known(tmp_path: Path) -> None:
    path = written(tmp_path, "ts,value\n2020-11-25,1\n")
    series, ts = MacroFile("x", path, "next_open", HOUSE), HOUSE.close_ns[row(MONDAY)]
    written(tmp_path, "ts,value\n2020-11-25,1\n2020-11-27,2\n")
    assert series.at(ts) == 1.0
    series.refresh()
    assert series.at(ts) == 2.0
    written(tmp_path, "ts,worth\n2020-11-25,1\n2020-11-27,22\n")
    with pytest.raises(FeedError):
        series.refresh()
    assert series.at(ts) == 2.0


def test_the_digest_is_of_content_name_and_availability(tmp_path: Path) -> None:
    path = written(tmp_path, "ts,value\n2020-11-25,1\n")
    first = series_digest("feed", [MacroFile("x", path, "next_open", HOUSE)])
    assert first == series_digest("feed", [MacroFile("x", path, "next_open", HOUSE)])
    others = {
        series_digest("other", [MacroFile("x", path, "next_open", HOUSE)]),
        series_digest("feed", [MacroFile("y", path, "next_open", HOUSE)]),
        series_digest("feed", [MacroFile("x", path, "close", HOUSE)]),
        series_digest("feed", [MacroFile("x", written(tmp_path, "ts,value\n2020-11-25,2\n"), "next_open", HOUSE)]),
    }
    assert len(others | {first}) == 5
