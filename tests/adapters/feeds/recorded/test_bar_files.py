"""Files of bars: fields beyond the header are refused with their line, and times without an offset have a zone."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.recorded.bar_files import (
    BarFrame,
    has_no_offset,
    mostly_without_offset,
    nanoseconds,
    read_actions,
    read_bars,
)
from quantd.trading.instruments import Instrument, Universe

SPY = Universe((Instrument("SPY"),))
HEADER = "ts,symbol,open,high,low,close,volume"
GOOD = "2024-01-02,SPY,10,11,9,10.5,798339"


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("2024-01-03,SPY,10,11,9,10.5,798,339", 8),
        ("2024-01-03,SPY,10,11,9,10.5,1,115,370", 9),
        ("2024-01-03,SPY,10,11,9,10.5,798339,", 8),
        ("2024-01-03,SPY,1,010,1,011,1,009,1,010,798339", 11),
        ('2024-01-03,SPY,10,11,9,10.5,"798,339",note', 8),
        ("2024-01-03,SPY,10,11,9,10.5,798339,split,2:1", 9),
    ],
)
@pytest.mark.parametrize("before", [0, 1, 500])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_fields_beyond_the_header_are_refused_with_their_line(
    tmp_path: Path, line: str, fields: int, before: int, ending: str
) -> None:
    path = tmp_path / "bars.csv"
    path.write_text(ending.join((HEADER, *[GOOD] * before, line, GOOD, "")), newline="")
    with pytest.raises(FeedError) as refused:
        read_bars((path,), SPY)
    assert str(refused.value).startswith(f"bars.csv:{before + 2}: {fields} fields under a header of 7. ")
    # the remedy: the number without commas, or in quotes
    path.write_text(ending.join((HEADER, *[GOOD] * before, GOOD, GOOD, "")), newline="")
    assert read_bars((path,), SPY).volume.tolist() == [798339.0] * (before + 2)


def test_a_comma_in_quotes_is_no_field(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text(f'{HEADER},note\n{GOOD},"one, two, three"\n{GOOD},"four"\n')
    assert len(read_bars((path,), SPY)) == 2


def test_columns_beyond_the_bars_and_short_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text(f"{HEADER},adj_close,x\n{GOOD},1,2\n2024-01-03,SPY,10,11,9,10.5\n")
    rows = read_bars((path,), SPY)
    assert len(rows) == 2
    assert np.isnan(rows.volume[1])


def test_a_file_without_a_line_of_bars_is_no_fault_of_its_fields(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text(HEADER)
    with pytest.raises(FeedError, match="no bar of SPY"):
        read_bars((path,), SPY)


def test_a_file_of_actions_is_refused_with_its_line_too(tmp_path: Path) -> None:
    path = tmp_path / "actions.csv"
    path.write_text("ts,symbol,kind,ratio,cash\n2024-01-02,SPY,dividend,,1,250\n")
    with pytest.raises(FeedError, match=r"actions\.csv:2: 6 fields under a header of 5"):
        read_actions(path, SPY)


@pytest.mark.parametrize("header", ["", "date,symbol,kind,ratio,amount\n", "Date,Ticker,Type,Ratio,Cash\n"])
def test_a_file_of_actions_has_the_lines_of_a_remedy_and_usual_names(tmp_path: Path, header: str) -> None:
    """A remedy such as "add 2020-08-31,SPY,split,4:1," makes a first file whose only line it is."""
    path, plain = tmp_path / "actions.csv", tmp_path / "plain.csv"
    lines = "2020-08-31,SPY,split,4:1,\n2020-08-07,SPY,Dividend,,0.82\n"
    path.write_text(header + lines)
    plain.write_text("ts,symbol,kind,ratio,cash\n" + lines)
    assert read_actions(path, SPY) == read_actions(plain, SPY) != []
    path.write_text(f"{header}2020-08-07,SPY,dividend,,x\n")
    with pytest.raises(FeedError, match=rf"actions\.csv:{2 if header else 1}: "):
        read_actions(path, SPY)


ZONES = ["America/New_York", "Europe/London", "Asia/Tokyo", "Asia/Kolkata", "Australia/Sydney", "America/Sao_Paulo"]
TEXTS = ["2024-01-02 09:30:00", "2024-07-02T09:30:00", "2024-07-02 09:30", " 2024-12-31 23:59:59.5"]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("kind", ["text", "datetime"])
def test_times_without_an_offset_are_those_of_the_zone(zone: str, kind: str) -> None:
    texts = pl.Series(TEXTS)
    naive = pl.Series(nanoseconds(texts)).cast(pl.Datetime("ns"))
    expected = naive.dt.replace_time_zone(zone).dt.epoch("ns").to_list()
    assert nanoseconds(texts if kind == "text" else naive, zone).tolist() == expected
    assert nanoseconds(texts, "UTC").tolist() == nanoseconds(texts).tolist() == naive.dt.epoch("ns").to_list()


@pytest.mark.parametrize("zone", ZONES)
def test_dates_and_times_with_an_offset_stay(zone: str) -> None:
    texts = pl.Series(["2024-01-02", "2024-07-02T13:30:00Z", "2024-07-02 13:30:00+00:00", "2024-07-02 15:30:00+0200"])
    assert nanoseconds(texts, zone).tolist() == nanoseconds(texts).tolist()
    assert not has_no_offset(texts).any()
    aware = pl.Series(nanoseconds(texts)).cast(pl.Datetime("ns", "UTC")).cast(pl.Datetime("us", "UTC"))
    assert nanoseconds(aware, zone).tolist() == nanoseconds(texts).tolist()
    dates = pl.Series(["2024-01-02"]).str.to_date()
    assert nanoseconds(dates, zone).tolist() == nanoseconds(dates).tolist()
    assert not has_no_offset(dates).any()


def test_a_time_that_the_clock_skips_is_unreadable_and_one_that_it_repeats_is_the_first() -> None:
    skipped, repeated = "2024-03-10 02:30:00", "2024-11-03 01:30:00"
    ts = nanoseconds(pl.Series([skipped, repeated]), "America/New_York")
    assert ts[0] == np.iinfo(np.int64).min
    assert ts[1] == nanoseconds(pl.Series(["2024-11-03T05:30:00Z"]))[0]


def test_most_stamps_decide_whether_there_is_an_offset() -> None:
    texts = ["2024-01-02 09:30:00", "2024-01-02T14:35:00Z", "2024-01-02 09:40:00"]
    assert mostly_without_offset((BarFrame(pl.DataFrame({"ts": texts})),))
    assert not mostly_without_offset((BarFrame(pl.DataFrame({"ts": texts[:2]})),))
