"""Dates and times as programs write them, into dates, instants, or times of a clock that is named elsewhere.

02/03/2024 is a day in two readings. One day beyond the twelfth decides for a file, because a program writes one order;
two that contradict each other are a fault, and where none decides the reader asks. A date with points has the day
first, because no country writes the month first with points. An integer is a number of seconds, milliseconds,
microseconds or nanoseconds since 1970, or the digits of a date: the reading has to lie between 1980 and the next years.
No integer has two such readings; the years before 1980 have, so that the reader asks about them.

An offset of the exchange's own clock at midnight is a date. Which clock that is, the offsets of summer and winter tell.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, NamedTuple
from zoneinfo import available_timezones

import numpy as np
import polars as pl

from quantd.adapters.feeds.errors import FeedError

MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_DATES: Final = {
    r"(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})": "%Y-%m-%d",
    r"(?P<y>\d{4})/(?P<m>\d{1,2})/(?P<d>\d{1,2})": "%Y/%m/%d",
    r"(?P<y>\d{4})\.(?P<m>\d{1,2})\.(?P<d>\d{1,2})": "%Y.%m.%d",
    r"(?P<y>(19|20)\d\d)(?P<m>0[1-9]|1[0-2])(?P<d>0[1-9]|[12]\d|3[01])": "%Y%m%d",
    r"(?P<a>\d{1,2})\.(?P<b>\d{1,2})\.(?P<y>\d{4})": "%d.%m.%Y",
    r"(?P<a>\d{1,2})/(?P<b>\d{1,2})/(?P<y>\d{4})": "%A/%B/%Y",
    r"(?P<a>\d{1,2})-(?P<b>\d{1,2})-(?P<y>\d{4})": "%A-%B-%Y",
    r"(?P<a>\d{1,2})/(?P<b>\d{1,2})/(?P<y>\d\d)": "%A/%B/%y",
    r"(?P<a>\d{1,2})-(?P<b>\d{1,2})-(?P<y>\d\d)": "%A-%B-%y",
    r"(?P<b>[A-Za-z]{3}) (?P<a>\d{1,2}),? (?P<y>\d{4})": "%b %d, %Y",
    r"(?P<b>[A-Za-z]{4,9}) (?P<a>\d{1,2}),? (?P<y>\d{4})": "%B %d, %Y",
    r"(?P<a>\d{1,2})[ -](?P<b>[A-Za-z]{3})[ -](?P<y>\d{4})": "%d-%b-%Y",
    r"(?P<a>\d{1,2})\.?[ -](?P<b>[A-Za-z]{4,9})[ -](?P<y>\d{4})": "%d-%B-%Y",
    r"(?P<a>\d{1,2})[ -](?P<b>[A-Za-z]{3})[ -](?P<y>\d\d)": "%d-%b-%y",
}
"""Pattern of a date -> its format; %A and %B stand for the two readings of day and month."""

_TIMES: Final = {
    r"\d{1,2}:\d\d:\d\d[.,]\d{1,9}": "%H:%M:%S%.f",
    r"\d{1,2}:\d\d:\d\d": "%H:%M:%S",
    r"\d{1,2}:\d\d": "%H:%M",
    r"\d{1,2}:\d\d:\d\d ?[AaPp][Mm]": "%I:%M:%S %p",
    r"\d{1,2}:\d\d ?[AaPp][Mm]": "%I:%M %p",
    r"\d{1,2} ?[AaPp][Mm]": "%I %p",
    r"\d{2}-\d{2}-[AaPp][Mm]": "%I-%M-%p",
    r"\d{2}-[AaPp][Mm]": "%I-%p",
    r"\d{6}": "%H%M%S",
    r"\d{4}": "%H%M",
}
_OFFSET: Final = r"(?P<offset>Z| ?(UTC|GMT)?[+-]\d\d:?\d\d| (UTC|GMT)| [A-Z][A-Za-z_]+/[A-Za-z_/]+)?"
_DAYS: Final = "|".join(re.sub(r"\?P<[a-z]+>", "", date) for date in _DATES)
_STAMP: Final = re.compile(rf"(?P<date>{_DAYS})((?P<joint>T| |, |;|-)(?P<time>{'|'.join(_TIMES)}))?T?{_OFFSET}")
_BARE_OFFSET: Final = _OFFSET.replace("?P<offset>", "").removesuffix("?") + "$"
_WEEKDAY: Final = r"(?i)^(mon|tues?|wed(nes)?|thu(rs)?|fri|sat(ur)?|sun)(day)?,? "
_CLOCK: Final = re.compile(rf"({'|'.join(_TIMES)})")

UNITS: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
"""Units of stamps in integers -> how many a second has."""

_WORDS: Final = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_FROM: Final = 315_532_800
"""1980-01-01 in seconds."""

_YEARS_AHEAD: Final = 3
_EXCEL: Final = (29_221, 55_000)
"""Days since 1899-12-30, as spreadsheets count, from 1980 to 2050."""


class Moments(NamedTuple):
    """The stamps of a table: Date, Datetime in UTC, or Datetime of a clock that is not named; `text` says how read."""

    values: pl.Series
    text: str

    @property
    def dated(self) -> bool:
        """Whether they are dates, without a time of day."""
        return self.values.dtype == pl.Date


def is_stamp(field: str) -> bool:
    """Whether a field is a date, a time of a date or an integer that is one."""
    text = re.sub(_WEEKDAY, "", " ".join(field.strip().strip('"').split()))
    if text.isdecimal() or re.fullmatch(r"\d{9,19}\.\d+", text):
        return bool(_readings_of(float(text))) or bool(re.fullmatch(r"(19|20)\d{6}(\d{4}|\d{6})?", text))
    return _STAMP.fullmatch(text) is not None


def is_clock(field: str) -> bool:
    """Return whether a field is a time of the day, for a column of times beside one of dates."""
    return _CLOCK.fullmatch(field.strip()) is not None


def moments(values: pl.Series, where: str, *, dates: str = "", unit: str = "") -> Moments:
    """Read stamps of any form; null where a field is no stamp as the others.

    `dates` is "day-first" or "month-first" and `unit` a key of UNITS where a person says it. Raises FeedError where two
    readings fit, or none.
    """
    if values.dtype == pl.Categorical:
        return _of_repeated(values, where, dates, unit)
    if values.dtype == pl.Date:
        return Moments(values, "dates")
    if isinstance(values.dtype, pl.Datetime):
        aware = values.dtype.time_zone
        return Moments(values.dt.convert_time_zone("UTC") if aware else values, f"in {aware}" if aware else "")
    if values.dtype.is_integer() and not unit and _digits(values.drop_nulls().cast(pl.String)) is not None:
        values = values.cast(pl.String)
    if values.dtype.is_numeric():
        return _of_numbers(values, where, unit)
    text = values.cast(pl.String).str.strip_chars().str.replace_all(r"\s+", " ").str.replace(_WEEKDAY, "")
    filled = text.drop_nulls().filter(text.drop_nulls() != "")
    if not len(filled):
        raise FeedError(where, "no line has a time", "Give each bar its date or time")
    if filled.str.ends_with("T").all():
        text, filled = text.str.strip_suffix("T"), filled.str.strip_suffix("T")
    if filled.str.contains(r"^\d+(\.\d+)?$").all():
        digits = _digits(filled)
        if digits is not None:
            return _of_text(text, filled, where, dates)
        return _of_numbers(text.cast(pl.Float64 if filled.str.contains(".", literal=True).any() else pl.Int64,
                                     strict=False), where, unit)  # fmt: skip
    return _of_text(text, filled, where, dates)


def _of_repeated(values: pl.Series, where: str, dates: str, unit: str) -> Moments:
    """Read stamps that repeat, each text once."""
    texts = values.unique(maintain_order=True)
    once = moments(texts.cast(pl.String), where, dates=dates, unit=unit)
    places = np.full(int(texts.to_physical().max() or 0) + 2, -1, dtype=np.int64)  # type: ignore[arg-type]
    places[texts.to_physical().fill_null(len(places) - 1).to_numpy()] = np.arange(len(texts))
    rows = places[values.to_physical().fill_null(len(places) - 1).to_numpy()]
    return Moments(once.values.gather(pl.Series(rows)), once.text)


def _digits(filled: pl.Series) -> str | None:
    """Return the format of digits that are a date, 20240102, with or without a time; None for another integer."""
    for pattern, form in (("", "%Y%m%d"), (r"([01]\d|2[0-3])[0-5]\d", "%Y%m%d%H%M"),
                          (r"([01]\d|2[0-3])[0-5]\d[0-5]\d", "%Y%m%d%H%M%S")):  # fmt: skip
        if filled.str.contains(rf"^(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01]){pattern}$").all():
            return form
    return None


def _of_text(text: pl.Series, filled: pl.Series, where: str, dates: str) -> Moments:
    """Read dates and times of text; the forms are those of the first that is one."""
    if (form := _digits(filled)) is not None:
        read = text.str.to_datetime(form, strict=False, time_unit="us") if form != "%Y%m%d" else None
        values = text.str.to_date("%Y%m%d", strict=False) if read is None else read
        return Moments(values, "digits of a date")
    first = next((match for field in filled.head(1_000).to_list() if (match := _STAMP.fullmatch(field))), None)
    if first is None:
        shown = str(filled[0])[:40]
        raise FeedError(where, f'"{shown}" is not read as a time', "Write 2024-07-03 or 2024-07-03T17:00:00Z")
    date_form = next(form for pattern, form in _DATES.items() if re.fullmatch(pattern, first["date"]))
    said = ""
    if "%A" in date_form:
        date_form, said = _order(filled, date_form, where, dates)
    clocked = first["time"] is not None
    # without a time, the end of 01-02-2024 would be an offset
    bare = text.str.replace(_BARE_OFFSET, "") if clocked or first["offset"] else text
    if not clocked:
        return Moments(_dates_of(bare, date_form), said or "dates")
    time_form = next(form for pattern, form in _TIMES.items() if re.fullmatch(pattern, first["time"]))
    stamps = _clocked(bare, date_form, first["joint"], time_form)
    return _with_offsets(stamps, text, filled, first["offset"] or "", said)


def _dates_of(text: pl.Series, form: str) -> pl.Series:
    """Return dates of text of one format; two spellings of separators count as one."""
    if "%b" in form or "%B" in form:
        text = text.str.replace_all(r"[ ,-]+", "-")
        form = re.sub(r"[ ,-]+", "-", form)
    return text.str.to_date(form, strict=False)


def _clocked(text: pl.Series, date_form: str, joint: str, time_form: str) -> pl.Series:
    """Return times of text: of `time_form`, and where a file leaves out zero seconds or times, of these."""
    split = text.str.extract_groups(rf"^(.*?){re.escape(joint)}((?:{'|'.join(_TIMES)}))$").struct.unnest()
    days = _dates_of(split.to_series(0).fill_null(text), date_form)
    clock = split.to_series(1).str.to_uppercase().str.replace(",", ".", literal=True)
    clock = clock.str.replace(r"(\d)([AP]M)$", "$1 $2")
    spent = _time_of_day(clock, time_form)
    at_midnight = split.to_series(1).is_null() & days.is_not_null()
    return days.cast(pl.Datetime("ns")) + spent.zip_with(~at_midnight, pl.Series([0], dtype=pl.Duration("ns")))


def _time_of_day(clock: pl.Series, form: str) -> pl.Series:
    """Return times of the day as durations: of one format, and where a file leaves out zero seconds, without them."""
    read = clock.str.to_time(form, strict=False)
    for other in (*_TIMES.values(),) if read.null_count() > clock.null_count() else ():
        read = read.fill_null(clock.str.to_time(other, strict=False))
    return read.cast(pl.Duration("ns"))


def _with_offsets(stamps: pl.Series, text: pl.Series, filled: pl.Series, offset: str, said: str) -> Moments:
    """Return instants where the text has offsets from UTC, a named clock or Z."""
    offset = offset.strip()
    if not offset:
        return Moments(stamps, said)
    if offset in ("Z", "UTC", "GMT"):
        return Moments(stamps.dt.replace_time_zone("UTC"), said or "in UTC")
    if "/" in offset:
        if offset not in available_timezones():
            return Moments(stamps, said)
        moved = stamps.dt.replace_time_zone(offset, ambiguous="earliest", non_existent="null")
        return Moments(moved.dt.convert_time_zone("UTC"), f"in {offset}")
    parts = text.str.extract_groups(r"([+-])(\d\d):?(\d\d)$").struct.unnest()
    sign = parts.to_series(0).replace_strict({"+": 1, "-": -1}, default=None, return_dtype=pl.Int64)
    minutes = sign * (parts.to_series(1).cast(pl.Int64) * 60 + parts.to_series(2).cast(pl.Int64))
    minutes = minutes.zip_with(~text.str.contains(r"(Z|UTC|GMT)$"), pl.Series([0], dtype=pl.Int64))
    shift = pl.DataFrame({"m": minutes}).select(pl.duration(minutes=pl.col("m"), time_unit="ns")).to_series()
    offsets = sorted({field for field in filled.str.extract(r"([+-]\d\d:?\d\d)$").unique().to_list() if field})
    return Moments((stamps - shift).dt.replace_time_zone("UTC"), said or f"with offset {', '.join(offsets[:3])}")


def _order(filled: pl.Series, form: str, where: str, dates: str) -> tuple[str, str]:
    """Return the format of dates whose day and month could change places, and what shows it."""
    parts = filled.str.extract_groups(r"^(\d{1,2})[/.-](\d{1,2})[/.-]").struct.unnest()
    first, second = (parts.to_series(k).cast(pl.Int64, strict=False) for k in (0, 1))
    day_first, month_first = (first > 12).any(), (second > 12).any()
    day, month = (form.replace("%A", a).replace("%B", b) for a, b in (("%d", "%m"), ("%m", "%d")))
    if dates:
        return (day if dates == "day-first" else month), f"{dates.replace('-', ' ')}, as told"
    if day_first and month_first:
        a, b = filled.filter(first > 12)[0], filled.filter(second > 12)[0]
        raise FeedError(
            where, f"{a} has the day first and {b} the month", "Write all dates in one order, as 2024-07-03"
        )
    if day_first or month_first:
        shown = filled.filter(first > 12 if day_first else second > 12)[0]
        return (day if day_first else month), f"{'day' if day_first else 'month'} first, as {shown} shows"
    shown = str(filled[0])
    bare = filled.head(1).str.extract(r"^([\d/.-]+)")
    a, b = (bare.str.to_date(reading, strict=False)[0] for reading in (day, month))
    raise FeedError(
        where, f"{shown} has two readings: {a} with the day first, {b} with the month first",
        "Add --dates day-first or --dates month-first",
    )  # fmt: skip


def _readings_of(value: float) -> list[str]:
    """Return the units in which an integer is an instant from 1980 to a few years ahead."""
    until = datetime.now(UTC).timestamp() + _YEARS_AHEAD * 31_557_600
    return [name for name, per_second in UNITS.items() if _FROM <= value / per_second <= until]


def _of_numbers(values: pl.Series, where: str, unit: str) -> Moments:
    """Read stamps that are numbers: since 1970, in one unit."""
    filled = values.drop_nulls()
    if values.dtype.is_float():
        filled = filled.filter(filled.is_finite())
    if not len(filled):
        raise FeedError(where, "no line has a time", "Give each bar its date or time")
    least, largest = float(filled.min()), float(filled.max())  # type: ignore[arg-type]
    if not unit and _EXCEL[0] <= least and largest <= _EXCEL[1]:
        days = (values.cast(pl.Float64) * 86_400_000).round(0).cast(pl.Int64, strict=False)
        since = days.cast(pl.Duration("ms")) + pl.lit(datetime(1899, 12, 30)).cast(pl.Datetime("ms"))
        stamps = pl.select(since).to_series()
        return Moments(stamps if (stamps.dt.date().cast(pl.Datetime("ms")) != stamps).any() else stamps.dt.date(),
                       "days of a spreadsheet")  # fmt: skip
    units = [unit] if unit else [name for name in _readings_of(largest) if name in _readings_of(least)]
    if len(units) != 1:
        early = {name: largest / per_second for name, per_second in UNITS.items() if 0 <= largest / per_second < 4e9}
        shown = ", or ".join(
            f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d} in {_WORDS[name]}" for name, seconds in early.items()
        )
        raise FeedError(
            where, f"the stamp {largest:.0f} has several readings: {shown or 'none is a time'}",
            f"Add --unit with that of the stamps, {', '.join(early or UNITS)}",
        )  # fmt: skip
    per_second = UNITS[units[0]]
    if values.dtype.is_float():
        ns = (values * (1_000_000_000 / per_second)).round(0).cast(pl.Int64, strict=False)
    else:
        ns = values.cast(pl.Int64) * (1_000_000_000 // per_second)
    return Moments(ns.cast(pl.Datetime("ns", "UTC")), f"{_WORDS[units[0]]} since 1970, in UTC")


def joined_clock(days: Moments, clock: pl.Series) -> Moments:
    """Return the stamps of a column of dates joined with a column of times; `days` where all times are midnight."""
    if clock.dtype == pl.Time:
        time_of_day = clock.cast(pl.Duration("ns"))
    else:
        text = clock.cast(pl.String).str.strip_chars()
        if text.str.contains(r"^\d{1,6}$").all():
            text = text.str.zfill(6 if (text.str.len_chars() > 4).any() else 4)
        text = text.str.to_uppercase().str.replace(",", ".", literal=True).str.replace(r"(\d)([AP]M)$", "$1 $2")
        time_of_day = _time_of_day(text, "%H:%M:%S")
    if not (time_of_day.dt.total_nanoseconds() != 0).any():
        return days
    return Moments(days.values.cast(pl.Datetime("ns")) + time_of_day, days.text)


def clock_of(stamps: pl.Series, zones: Iterable[str]) -> str:
    """Return the first zone in which each of the instants is midnight; empty where none is."""
    sample = stamps.drop_nulls()
    if not len(sample):
        return ""
    if len(sample) > 2_000:
        sample = sample.gather(np.linspace(0, len(sample) - 1, 2_000).astype(int))
    for zone in zones:
        local = sample.dt.convert_time_zone(zone)
        if ((local.dt.hour() == 0) & (local.dt.minute() == 0) & (local.dt.second() == 0)).all():
            return zone
    return ""
