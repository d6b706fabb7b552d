"""Stamps with several units, short names of clocks, the repeated hour, and labels below the bars."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.table_files.moments import UNITS, moments, zoned
from quantd.adapters.feeds.table_files.reader import ReadOptions, read_tables

HEADER = "Date,Open,High,Low,Close,Volume"


def hours(count: int, first: datetime = datetime(2024, 12, 30, tzinfo=UTC)) -> list[datetime]:
    return [first + timedelta(hours=k) for k in range(count)]


def csv(folder: Path, stamps: list[str], name: str = "BTC-USD.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([HEADER, *(f"{ts},10,12,9,11,{k}" for k, ts in enumerate(stamps)), ""]))
    return path


@pytest.mark.parametrize("before", UNITS)
@pytest.mark.parametrize("after", UNITS)
def test_a_column_of_two_units_is_read_each_stamp_by_its_size(tmp_path: Path, before: str, after: str) -> None:
    instants = hours(48)
    stamps = [str(int(ts.timestamp()) * UNITS[before if k < 20 else after]) for k, ts in enumerate(instants)]
    assert read_tables(csv(tmp_path, stamps)).frame["ts"].cast(pl.Datetime("us", "UTC")).to_list() == instants


def test_ticks_of_dotnet_are_no_nanoseconds_of_1990(tmp_path: Path) -> None:
    instants = hours(48)
    stamps = [str(int(ts.timestamp()) * 10**7 + 621_355_968_000_000_000) for ts in instants]
    assert read_tables(csv(tmp_path, stamps)).frame["ts"].cast(pl.Datetime("us", "UTC")).to_list() == instants


def test_seconds_in_32_bits_are_times() -> None:
    seconds = pl.Series([int(ts.timestamp()) for ts in hours(48)], dtype=pl.Int32)
    assert moments(seconds, "").values.cast(pl.Datetime("us", "UTC")).to_list() == hours(48)


@pytest.mark.parametrize(
    ("zone", "first"),
    [("America/New_York", datetime(2024, 3, 8)), ("America/Denver", datetime(2024, 11, 1)),
     ("Europe/Berlin", datetime(2024, 3, 29)), ("America/Los_Angeles", datetime(2024, 11, 2)),
     ("Australia/Sydney", datetime(2024, 4, 5)), ("Asia/Tokyo", datetime(2024, 4, 5))],
)  # fmt: skip
def test_short_names_of_winter_and_summer_are_read(tmp_path: Path, zone: str, first: datetime) -> None:
    instants = hours(96, first.replace(tzinfo=UTC))
    stamps = [f"{ts.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M:%S %Z}" for ts in instants]
    table = read_tables(csv(tmp_path, stamps))
    assert table.frame["ts"].cast(pl.Datetime("us", "UTC")).to_list() == instants
    assert zone in table.statements[0].time


@pytest.mark.parametrize("name", ["EST", "CST", "IST", "XYZ"])
@pytest.mark.parametrize("month", [1, 7])
def test_a_name_that_does_not_decide_is_refused_whole_and_the_offered_clocks_work(
    tmp_path: Path, name: str, month: int
) -> None:
    local = [datetime(2024, month, 8, 10) + timedelta(hours=k) for k in range(6)]
    path = csv(tmp_path, [f"{ts:%Y-%m-%d %H:%M:%S} {name}" for ts in local])
    if (name, month) == ("EST", 1):
        assert read_tables(path).frame["ts"][0] == datetime(2024, 1, 8, 15, tzinfo=UTC)
        return
    with pytest.raises(FeedError, match=f'"2024-0{month}-08 10:00:00 {name}"') as error:
        read_tables(path)
    shared = {"CST": ("America/Chicago", "Asia/Shanghai"), "IST": ("Asia/Kolkata", "Asia/Jerusalem")}
    for zone in shared.get(name, ("America/New_York", "Etc/GMT+5")):
        assert f"--zone {zone}" in str(error.value)
        expected = local[0].replace(tzinfo=ZoneInfo(zone))
        assert read_tables(path, ReadOptions(zone=zone)).frame["ts"][0] == expected


@pytest.mark.parametrize("minutes", [5, 15, 30, 60])
@pytest.mark.parametrize("order", ["oldest first", "newest first"])
@pytest.mark.parametrize("symbols", [1, 2])
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Sydney"])
def test_the_second_bar_of_the_repeated_hour_is_an_hour_later(
    minutes: int, order: str, symbols: int, zone: str
) -> None:
    day = {"Europe/Berlin": (10, 27), "America/New_York": (11, 3), "Australia/Sydney": (4, 7)}[zone]
    first = datetime(2024, *day, tzinfo=UTC) - timedelta(hours=30)
    instants = [first + timedelta(minutes=minutes * k) for k in range(60 * 60 // minutes)]
    local = [ts.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for ts in instants]
    assert len(set(local)) < len(local)
    rows = [(ts, name, instant) for ts, instant in zip(local, instants, strict=True) for name in range(symbols)]
    rows = rows if order == "oldest first" else rows[::-1]
    read = zoned(pl.Series([row[0] for row in rows]), zone, pl.Series([row[1] for row in rows]))
    assert read.to_list() == [row[2] for row in rows]


@pytest.mark.parametrize("labels", [["Average"], ["Average", "Total"], ["Ø", "Summe:"], ["Mean", "St. Dev."]])
def test_labels_below_the_bars_are_left_out_and_named(tmp_path: Path, labels: list[str]) -> None:
    table = read_tables(csv(tmp_path, [*(f"2024-01-{day:02}" for day in range(2, 12)), *labels]))
    assert len(table.frame) == 10
    assert table.frame["ts"].dtype == pl.Date
    assert all(label in table.statements[0].text() for label in labels)


def test_a_label_among_the_bars_is_a_fault_of_its_line(tmp_path: Path) -> None:
    table = read_tables(csv(tmp_path, ["2024-01-02", "Average", "2024-01-03"]))
    assert table.frame["ts"].null_count() == 1


@pytest.mark.parametrize("number", [31, 19_902, 739_431, 2_024_180])
def test_a_number_that_no_unit_makes_a_time_is_refused_without_an_option_that_would_fail(number: int) -> None:
    with pytest.raises(FeedError, match="is no date, and no time") as refused:
        moments(pl.Series([number, number + 1]), "bars")
    assert "--unit" not in str(refused.value)


@pytest.mark.parametrize("digits", [6, 8, 10])
def test_a_time_in_days_of_a_spreadsheet_is_read_to_the_second(digits: int) -> None:
    column = pl.Series([f"{45_293 + hour / 24:.{digits}f}" for hour in range(1, 24)])
    first = datetime(2024, 1, 2)
    assert moments(column, "bars").values.to_list() == [first + timedelta(hours=hour) for hour in range(1, 24)]


NAMES = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "de short": "Jan Feb Mrz Apr Mai Jun Jul Aug Sep Okt Nov Dez",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "pt": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "nl": "januari februari maart april mei juni juli augustus september oktober november december",
    "pl": "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia",
    "tr": "Ocak Şubat Mart Nisan Mayıs Haziran Temmuz Ağustos Eylül Ekim Kasım Aralık",
    "ru": "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
}
FORMS = {
    "{d}. {m} {y}": "de", "{d:02d}-{m}-{y}": "de", "{d:02d} {m} {s:02d}": "", "{d} {m} {y}": "",
    "Mo., {d:02d}. {m}. {y}": "de", "{d} de {m} de {y}": "es",
}  # fmt: skip


@pytest.mark.one_of(3)
@pytest.mark.parametrize("language", NAMES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("clock", ["", " 15:30"])
def test_months_are_read_by_their_names_in_ten_languages(tmp_path: Path, language: str, form: str, clock: str) -> None:
    """Dates of a year, each with the name of its month: all are read, and none is another date."""
    names = NAMES[language].split()
    dates = [datetime(2024, 1, 2) + timedelta(days=5 * k) for k in range(72)]
    stamps = [form.format(d=ts.day, m=names[ts.month - 1], y=ts.year, s=ts.year % 100) + clock for ts in dates]
    read = read_tables(csv(tmp_path, [f'"{ts}"' for ts in stamps])).frame["ts"]
    whole = [ts.replace(hour=15, minute=30) for ts in dates] if clock else [ts.date() for ts in dates]
    assert read.to_list() == whole


@pytest.mark.parametrize("form", ["{y}年{m}月{d}日", "{y}年{m:02d}月{d:02d}日", "{y}년 {m}월 {d}일"])
def test_dates_whose_numbers_have_their_units_are_read(tmp_path: Path, form: str) -> None:
    dates = [datetime(2024, 1, 2) + timedelta(days=5 * k) for k in range(72)]
    stamps = [form.format(d=ts.day, m=ts.month, y=ts.year) for ts in dates]
    assert read_tables(csv(tmp_path, stamps)).frame["ts"].to_list() == [ts.date() for ts in dates]


def test_a_month_that_no_language_has_is_named_with_its_line(tmp_path: Path) -> None:
    stamps = [f"{1 + k % 28} {'Foober' if k > 27 else 'January'} 2024" for k in range(40)]
    (note,) = [note for note in read_tables(csv(tmp_path, stamps)).statements[0].notes if "Foober" in note]
    assert note.startswith('"1 Foober 2024" in column Date, line 30, is no time, as 11 more')
