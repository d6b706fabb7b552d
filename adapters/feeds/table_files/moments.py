"""Converts dates and times in the forms that programs write to dates, instants, or local times whose time zone is given
elsewhere.

02/03/2024 has two readings. One day above 12 decides for a whole file, because a program writes one order of day and
month. Two dates that contradict each other are an error; if no date decides, the error asks for an option. A date with
points has the day first, because no country writes the month first with points. An integer is a number of seconds,
milliseconds, microseconds or nanoseconds since 1970, or the digits of a date, and must be between 1980 and a few years
from now. Within this range no integer has two readings. For earlier years some would, so that an option must decide.

Instants that are all midnight on an exchange's clock are read as dates. The offsets from UTC in summer and winter show
which clock it is.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, NamedTuple
from unicodedata import combining, normalize
from zoneinfo import available_timezones

import numpy as np
import polars as pl

from quantd.adapters.feeds.bars.stamps import CLOCKS
from quantd.adapters.feeds.feed_errors import FeedError

MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_MONTH_WORDS: Final = (
    "jan ene gen sty oca янв", "feb fev lut sub фев", "mar mrz maa мар", "apr abr avr kwi nis апр",
    "may mai mag mei maj май мая", "jun juin giu cze haz июн", "jul juil lug lip tem июл",
    "aug ago aou sie agu авг", "sep set wrz eyl сен", "oct okt out ott paz eki окт", "nov lis kas ноя",
    "dec dez dic gru ara дек",
)  # fmt: skip
"""First letters of the names of each month, without accents: English, German, French, Spanish, Italian, Portuguese,
Dutch, Polish, Turkish and Russian."""

_WORDED: Final = (
    r"^(?:[^\W\d_]+[.,]*\s)?(\d{1,2})(?:\.|er|º)?[ -]?(?:de )?([^\W\d_]{3,})\.?,?(?: de)?[ -](\d{4}|\d\d)\b(.*)$"
)
"""A date with the name of a month after the day, as 2. Januar 2024, 02-Mrz-24 or 2 de enero de 2024."""

_SIGNED: Final = r"^(\d{4})[年년] ?(\d{1,2})[月월] ?(\d{1,2})[日일]"
"""A date whose numbers have their unit behind them, as 2024年1月2日."""

_DATES: Final = {
    r"(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})": "%Y-%m-%d",
    r"(?P<y>\d{4})/(?P<m>\d{1,2})/(?P<d>\d{1,2})": "%Y/%m/%d",
    r"(?P<y>\d{4})\.(?P<m>\d{1,2})\.(?P<d>\d{1,2})": "%Y.%m.%d",
    r"(?P<y>(19|20)\d\d)(?P<m>0[1-9]|1[0-2])(?P<d>0[1-9]|[12]\d|3[01])": "%Y%m%d",
    r"(?P<a>\d{1,2})\.(?P<b>\d{1,2})\.(?P<y>\d{4})": "%d.%m.%Y",
    r"(?P<a>\d{1,2})/(?P<b>\d{1,2})/(?P<y>\d{4})": "%A/%B/%Y",
    r"(?P<a>\d{1,2})-(?P<b>\d{1,2})-(?P<y>\d{4})": "%A-%B-%Y",
    r"(?P<a>\d{1,2})\.(?P<b>\d{1,2})\.(?P<y>\d\d)": "%d.%m.%y",
    r"(?P<a>\d{1,2})/(?P<b>\d{1,2})/(?P<y>\d\d)": "%A/%B/%y",
    r"(?P<a>\d{1,2})-(?P<b>\d{1,2})-(?P<y>\d\d)": "%A-%B-%y",
    r"(?P<b>[A-Za-z]{3}) (?P<a>\d{1,2}),? (?P<y>\d{4})": "%b %d, %Y",
    r"(?P<b>[A-Za-z]{4,9}) (?P<a>\d{1,2}),? (?P<y>\d{4})": "%B %d, %Y",
    r"(?P<a>\d{1,2})[ -](?P<b>[A-Za-z]{3})[ -](?P<y>\d{4})": "%d-%b-%Y",
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
_OFFSET: Final = r"(?P<offset>Z| ?(UTC|GMT)?[+-]\d\d:?\d\d| (UTC|GMT)| [A-Z]{3,4}| [A-Z][A-Za-z_]+/[A-Za-z_/]+)?"
_NAMED_CLOCKS: Final = {
    "EST": "America/New_York", "EDT": "America/New_York", "CDT": "America/Chicago", "MST": "America/Denver",
    "MDT": "America/Denver", "PST": "America/Los_Angeles", "PDT": "America/Los_Angeles", "CET": "Europe/Berlin",
    "CEST": "Europe/Berlin", "BST": "Europe/London", "JST": "Asia/Tokyo", "HKT": "Asia/Hong_Kong",
    "AEST": "Australia/Sydney", "AEDT": "Australia/Sydney",
}  # fmt: skip
"""Short name of a clock -> its zone. CST is of Chicago and of Shanghai, IST of three countries: they need an option."""

_SHARED_NAMES: Final = {"CST": ("America/Chicago", "Asia/Shanghai"), "IST": ("Asia/Kolkata", "Asia/Jerusalem")}
"""Short name of several clocks -> the two most usual zones."""

_DAYS: Final = "|".join(re.sub(r"\?P<[a-z]+>", "", date) for date in _DATES)
_STAMP: Final = re.compile(rf"(?P<date>{_DAYS})((?P<joint>T| |, |;|-)(?P<time>{'|'.join(_TIMES)}))?T?{_OFFSET}")
_BARE_OFFSET: Final = _OFFSET.replace("?P<offset>", "").removesuffix("?") + "$"
_WEEKDAY: Final = r"(?i)^(mon|tues?|wed(nes)?|thu(rs)?|fri|sat(ur)?|sun)(day)?,? "
_AROUND: Final = " \t\r\n\"'"
"""Signs around a time that are no part of it: a spreadsheet writes an apostrophe before text."""

_CLOCK: Final = re.compile(rf"({'|'.join(_TIMES)})")

UNITS: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
"""Unit of integer stamps -> units per second."""

_WORDS: Final = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_FROM: Final = 315_532_800
"""1980-01-01 in seconds."""

_MOST_LABELS: Final = 12
"""Most rows of labels below the bars of a table."""

_YEAR_S: Final = 31_557_600
_YEARS_AHEAD: Final = 3
_TICKS_OF_1970: Final = 621_355_968_000_000_000
_TICKS: Final = (_TICKS_OF_1970 + 315_532_800 * 10**7, _TICKS_OF_1970 + 2_000_000_000 * 10**7)
"""Ticks of .NET from 1980 to 2033. As nanoseconds since 1970 they would all be of half a year around 1990."""

_EXCEL: Final = (29_221, 55_000)
"""Days since 1899-12-30, as spreadsheets count, from 1980 to 2050."""


class Moments(NamedTuple):
    """The time stamps of a table: Date, Datetime in UTC, or Datetime without a zone for local times of an unknown zone.

    `text` says how the stamps were read.
    """

    values: pl.Series
    text: str

    @property
    def dated(self) -> bool:
        """Whether the stamps are dates, without a time of day."""
        return self.values.dtype == pl.Date


def is_stamp(field: str) -> bool:
    """Whether a field is a date, a date with a time, or an integer that can be read as one."""
    text = re.sub(_WEEKDAY, "", " ".join(field.strip(_AROUND).split()))
    if not text.isascii() or re.match(_WORDED, text):
        text = str(_in_english(pl.Series([text]))[0])
    if text.isdecimal() or re.fullmatch(r"\d{9,19}\.\d+", text):
        return bool(_readings_of(float(text))) or bool(re.fullmatch(r"(19|20)\d{6}(\d{4}|\d{6})?", text))
    return _STAMP.fullmatch(text) is not None


def is_clock(field: str) -> bool:
    """Return whether a field is a time of day, as in a column of times beside a column of dates."""
    return _CLOCK.fullmatch(field.strip()) is not None


def moments(values: pl.Series, where: str, *, dates: str = "", unit: str = "", zone: str = "") -> Moments:
    """Read stamps of any form; null for a field whose form differs from the first stamp's.

    `dates` ("day-first" or "month-first"), `unit` (a key of UNITS) and `zone` are options of the user, empty if not
    given; `zone` is the clock of times with a short name such as EST. Raises FeedError if two readings are possible, or
    none.

    The result has the stamps, and a text that says how they were read. Digits such as 20240703 are a date, other
    numbers a time in units.
    """
    if values.dtype == pl.Categorical:
        return _of_categories(values, where, dates, unit, zone)
    if values.dtype == pl.Date:
        return Moments(values, "dates")
    if isinstance(values.dtype, pl.Datetime):
        zone_name = values.dtype.time_zone
        return Moments(
            values.dt.convert_time_zone("UTC") if zone_name else values, f"in {zone_name}" if zone_name else ""
        )
    if values.dtype.is_integer() and not unit and _digit_format(values.drop_nulls().cast(pl.String)) is not None:
        values = values.cast(pl.String)
    if values.dtype.is_numeric():
        return _number_moments(values, where, unit)
    text = values.cast(pl.String).str.strip_chars(_AROUND).str.replace_all(r"\s+", " ").str.replace(_WEEKDAY, "")
    text = _in_english(text)
    filled = text.drop_nulls().filter(text.drop_nulls() != "")
    if not len(filled):
        raise FeedError(where, "no line has a time", "Give each bar its date or time")
    if filled.str.contains(r"\dT$").all():  # 2024-07-03T: dates without a time
        text, filled = text.str.strip_suffix("T"), filled.str.strip_suffix("T")
    if filled.str.contains(r"^\d+(\.\d+)?$").all():
        digits = _digit_format(filled)
        if digits is not None:
            return _text_moments(text, filled, where, dates, zone)
        return _number_moments(text.cast(pl.Float64 if filled.str.contains(".", literal=True).any() else pl.Int64,
                                     strict=False), where, unit)  # fmt: skip
    return _text_moments(text, filled, where, dates, zone)


def _in_english(text: pl.Series) -> pl.Series:
    """Return dates with the name of their month, in any known language, as 2-jan-2024, and 2024年1月2日 as 2024-1-2.

    Other text stays as it is.
    """
    sample = text.drop_nulls().head(1_000)
    if not sample.str.contains(r"[^\W\d_]{3}|[年년]").any():
        return text
    if sample.str.contains(_SIGNED).any():
        return text.str.replace(_SIGNED, "$1-$2-$3")
    parts = text.str.extract_groups(_WORDED).struct.unnest()
    names = parts.to_series(1).drop_nulls().unique().to_list()
    months = {name: short for name in names if (short := _month(name))}
    if not months:
        return text
    month = parts.to_series(1).replace_strict(months, default=None, return_dtype=pl.String)
    day, year, rest = (parts.to_series(k) for k in (0, 2, 3))
    return (day + "-" + month + "-" + year + rest).fill_null(text)


def _month(name: str) -> str:
    """Return the English short name of a month, from its name in one of the known languages; empty for another word."""
    plain = _plain(name)
    starts = ((month, start) for month, words in zip(MONTHS, _MONTH_WORDS, strict=True) for start in words.split())
    return next((month for month, start in starts if plain.startswith(_plain(start))), "")


def _plain(word: str) -> str:
    """Return a word in lower case without accents."""
    return "".join(sign for sign in normalize("NFKD", word.lower()) if not combining(sign))


def _of_categories(values: pl.Series, where: str, dates: str, unit: str, zone: str) -> Moments:
    """Read stamps of a categorical column: each distinct text is read once."""
    distinct_texts = values.unique(maintain_order=True)
    distinct = moments(distinct_texts.cast(pl.String), where, dates=dates, unit=unit, zone=zone)
    index_of_code = np.full(int(distinct_texts.to_physical().max() or 0) + 2, -1, dtype=np.int64)  # type: ignore[arg-type]
    index_of_code[distinct_texts.to_physical().fill_null(len(index_of_code) - 1).to_numpy()] = np.arange(
        len(distinct_texts)
    )
    distinct_rows = index_of_code[values.to_physical().fill_null(len(index_of_code) - 1).to_numpy()]
    return Moments(distinct.values.gather(pl.Series(distinct_rows)), distinct.text)


def _digit_format(filled: pl.Series) -> str | None:
    """Return the format of stamps that are the digits of a date, such as 20240102, with or without a time; else
    None."""
    for pattern, form in (("", "%Y%m%d"), (r"([01]\d|2[0-3])[0-5]\d", "%Y%m%d%H%M"),
                          (r"([01]\d|2[0-3])[0-5]\d[0-5]\d", "%Y%m%d%H%M%S")):  # fmt: skip
        if filled.str.contains(rf"^(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01]){pattern}$").all():
            return form
    return None


def _text_moments(text: pl.Series, filled: pl.Series, where: str, dates: str, zone: str) -> Moments:
    """Read dates and times from text, in the forms of the first field that is a stamp. `filled` has no empty field.

    In a format, %A and %B stand for the two readings of day and month. Digits of eight characters are dates, longer
    ones have a time.
    """
    if (form := _digit_format(filled)) is not None:
        instants = text.str.to_datetime(form, strict=False, time_unit="us") if form != "%Y%m%d" else None
        values = text.str.to_date("%Y%m%d", strict=False) if instants is None else instants
        return Moments(values, "digits of a date")
    first_stamp = next((match for field in filled.head(1_000).to_list() if (match := _STAMP.fullmatch(field))), None)
    if first_stamp is None:
        shown = str(filled[0])[:40]
        raise FeedError(where, f'"{shown}" is not read as a time', "Write 2024-07-03 or 2024-07-03T17:00:00Z")
    date_form = next(form for pattern, form in _DATES.items() if re.fullmatch(pattern, first_stamp["date"]))
    order_text = ""
    if not dates and (year_first := _year_first(filled, date_form)):
        date_form, order_text = year_first, "year first, as their order shows"
    elif "%A" in date_form:
        date_form, order_text = _day_month_format(filled, date_form, where, dates)
    has_time = first_stamp["time"] is not None
    # without a time, the end of 01-02-2024 would be an offset
    without_offset = text.str.replace(_BARE_OFFSET, "") if has_time or first_stamp["offset"] else text
    if not has_time:
        return Moments(_dates_of(without_offset, date_form), order_text or "dates")
    time_form = next(form for pattern, form in _TIMES.items() if re.fullmatch(pattern, first_stamp["time"]))
    stamps = _clocked(without_offset, date_form, first_stamp["joint"], time_form)
    if re.fullmatch(r" (?!UTC|GMT)[A-Z]{3,4}", first_stamp["offset"] or ""):
        return Moments(stamps, order_text) if zone else _of_named_clock(stamps, text, where)
    return _with_offsets(stamps, text, filled, first_stamp["offset"] or "", order_text)


def _dates_of(text: pl.Series, form: str) -> pl.Series:
    """Convert text to dates; in a format with names of months, different separators count as the same."""
    if "%b" in form or "%B" in form:
        text = text.str.replace_all(r"[ ,-]+", "-")
        form = re.sub(r"[ ,-]+", "-", form)
    return text.str.to_date(form, strict=False)


def _clocked(text: pl.Series, date_form: str, joint: str, time_form: str) -> pl.Series:
    """Convert text to dates with times. Files that omit zero seconds, or the time at midnight, are read too.

    `joint` is the text between date and time.
    """
    date_and_time = text.str.extract_groups(rf"^(.*?){re.escape(joint)}((?:{'|'.join(_TIMES)}))$").struct.unnest()
    days = _dates_of(date_and_time.to_series(0).fill_null(text), date_form)
    clock = date_and_time.to_series(1).str.to_uppercase().str.replace(",", ".", literal=True)
    clock = clock.str.replace(r"(\d)([AP]M)$", "$1 $2")
    time_of_day = _time_of_day(clock, time_form)
    at_midnight = date_and_time.to_series(1).is_null() & days.is_not_null()
    return days.cast(pl.Datetime("ns")) + time_of_day.zip_with(~at_midnight, pl.Series([0], dtype=pl.Duration("ns")))


def _time_of_day(clock: pl.Series, form: str) -> pl.Series:
    """Convert times of day in one format to durations; other known formats are tried for values that `form` does not
    fit."""
    times = clock.str.to_time(form, strict=False)
    for other_form in (*_TIMES.values(),) if times.null_count() > clock.null_count() else ():
        times = times.fill_null(clock.str.to_time(other_form, strict=False))
    return times.cast(pl.Duration("ns"))


def _with_offsets(stamps: pl.Series, text: pl.Series, filled: pl.Series, offset: str, order_text: str) -> Moments:
    """Return instants if the text has offsets from UTC, a zone's name or Z; else local times of an unknown zone.

    `offset` is the offset of the first stamp, empty without one.

    `order_text` says how day and month were told apart, empty if that was clear.
    """
    offset = offset.strip()
    if not offset:
        return Moments(stamps, order_text)
    if offset in ("Z", "UTC", "GMT"):
        return Moments(stamps.dt.replace_time_zone("UTC"), order_text or "in UTC")
    if "/" in offset:
        if offset not in available_timezones():
            return Moments(stamps, order_text)
        zoned = stamps.dt.replace_time_zone(offset, ambiguous="earliest", non_existent="null")
        return Moments(zoned.dt.convert_time_zone("UTC"), f"in {offset}")
    offset_parts = text.str.extract_groups(r"([+-])(\d\d):?(\d\d)$").struct.unnest()
    sign = offset_parts.to_series(0).replace_strict({"+": 1, "-": -1}, default=None, return_dtype=pl.Int64)
    minutes = sign * (offset_parts.to_series(1).cast(pl.Int64) * 60 + offset_parts.to_series(2).cast(pl.Int64))
    # a field that ends with Z or a name of UTC has the offset 0
    minutes = minutes.zip_with(~text.str.contains(r"(Z|UTC|GMT)$"), pl.Series([0], dtype=pl.Int64))
    offset_duration = pl.DataFrame({"m": minutes}).select(pl.duration(minutes=pl.col("m"), time_unit="ns")).to_series()
    offsets = sorted({field for field in filled.str.extract(r"([+-]\d\d:?\d\d)$").unique().to_list() if field})
    return Moments(
        (stamps - offset_duration).dt.replace_time_zone("UTC"), order_text or f"with offset {', '.join(offsets[:3])}"
    )


def _of_named_clock(stamps: pl.Series, text: pl.Series, where: str) -> Moments:
    """Return the instants of times with the short name of a clock, such as EST in winter and EDT in summer.

    Raises FeedError for an unknown name, for several clocks, and where the zone has another name at a time: some files
    write EST all year, by the clock of New York or five hours behind UTC.
    """
    names = text.str.extract(r" ([A-Z]{3,4})$")
    zones = {_NAMED_CLOCKS.get(name, "") for name in names.drop_nulls().unique().to_list() if name != "CST"}
    zone = next(iter(zones)) if len(zones) == 1 else ""
    if zone:
        early, late = (
            stamps.dt.replace_time_zone(zone, ambiguous=which, non_existent="null") for which in ("earliest", "latest")
        )
        read = early.zip_with((early.dt.strftime("%Z") == names).fill_null(value=True), late)
        if (read.dt.strftime("%Z") == names).fill_null(value=True).all():
            listed = " and ".join(sorted(names.drop_nulls().unique().to_list()))
            return Moments(read.dt.convert_time_zone("UTC"), f"of the clock in {zone}, as {listed} show")
    example = str(text.drop_nulls()[0])
    shared = next((_SHARED_NAMES[name] for name in names.to_list() if name in _SHARED_NAMES), None)
    one, other = shared or (zone or "America/New_York", "Etc/GMT+5 for a clock that is five hours behind UTC all year")
    remedy = f"Add --zone {one}, or --zone {other}"
    fault = f'"{example}" has the short name of a clock, which does not decide for all of these times'
    raise FeedError(where, fault, remedy)


def zoned(stamps: pl.Series, zone: str, symbols: pl.Series | None = None) -> pl.Series:
    """Return local times as instants in UTC, null for a time that the clock skips.

    In the hour that the clock repeats in autumn, the second bar of a symbol at the same local time is an hour later;
    where the newest bar comes first, the first one is. Raises PolarsError for an unknown zone.
    """
    early, late = (
        stamps.dt.replace_time_zone(zone, ambiguous=which, non_existent="null").dt.convert_time_zone("UTC")
        for which in ("earliest", "latest")
    )
    rows = (early != late).fill_null(value=False).arg_true()
    if not len(rows):
        return early
    owner = pl.repeat(0, len(rows), eager=True) if symbols is None else symbols.gather(rows)
    keys = pl.DataFrame({"ts": stamps.gather(rows), "symbol": owner})
    place, count = keys.select(
        pl.int_range(pl.len()).over("ts", "symbol").alias("place"), pl.len().over("ts", "symbol").alias("count")
    )
    present = stamps.drop_nulls()
    later = (place == 1) if present[0] <= present[-1] else (place == 0) & (count > 1)
    second = rows.filter(later)
    return early.scatter(second, late.gather(second)) if len(second) else early


def _year_first(filled: pl.Series, form: str) -> str:
    """Return the format of dates such as 24-01-31 if the year is their first number; else an empty text.

    Then the usual distance of two dates is less than half of that with the year as the last number.
    """
    if re.fullmatch(r"%[Ad]([-/.])%[Bm]\1%y", form) is None:
        return ""
    sign = form[2]
    date = filled.str.extract(r"^([\d/.-]+)")

    def distance(order: str) -> float:
        steps = date.str.to_date(order.replace("-", sign), strict=False).cast(pl.Int32).diff().abs()
        return float(steps.filter(steps > 0).median() or np.inf)  # type: ignore[arg-type]

    usual = min(distance("%d-%m-%y"), distance("%m-%d-%y"))
    return f"%y{sign}%m{sign}%d" if distance("%y-%m-%d") < usual / 2 else ""


def _day_month_format(filled: pl.Series, form: str, where: str, dates: str) -> tuple[str, str]:
    """Return the format of dates in which day and month could be swapped, and a text that says what decided the
    order.

    `form` has %A and %B for the first and second number. A number above 12 is a day; else `dates`, the option of the
    user, decides.
    """
    first_numbers = filled.str.extract_groups(r"^(\d{1,2})[/.-](\d{1,2})[/.-]").struct.unnest()
    first, second = (first_numbers.to_series(k).cast(pl.Int64, strict=False) for k in (0, 1))
    day_first, month_first = (first > 12).any(), (second > 12).any()
    day, month = (
        form.replace("%A", first_code).replace("%B", second_code)
        for first_code, second_code in (("%d", "%m"), ("%m", "%d"))
    )
    if dates:
        return (day if dates == "day-first" else month), f"{dates.replace('-', ' ')}, as told"
    if day_first and month_first:
        day_first_date, month_first_date = filled.filter(first > 12)[0], filled.filter(second > 12)[0]
        raise FeedError(
            where,
            f"{day_first_date} has the day first and {month_first_date} the month",
            "Write all dates in one order, as 2024-07-03",
        )
    if day_first or month_first:
        example = filled.filter(first > 12 if day_first else second > 12)[0]
        return (day if day_first else month), f"{'day' if day_first else 'month'} first, as {example} shows"
    example = str(filled[0])
    example_text = filled.head(1).str.extract(r"^([\d/.-]+)")
    first_reading, second_reading = (example_text.str.to_date(reading, strict=False)[0] for reading in (day, month))
    raise FeedError(
        where, f"{example} has two readings: {first_reading} with the day first, {second_reading} with the month first",
        "Add --dates day-first or --dates month-first",
    )  # fmt: skip


def _readings_of(value: float) -> list[str]:
    """Return the units (keys of UNITS) in which a number is an instant from 1980 to a few years from now."""
    until = datetime.now(UTC).timestamp() + _YEARS_AHEAD * _YEAR_S
    return [name for name, per_second in UNITS.items() if _FROM <= value / per_second <= until]


def _number_moments(values: pl.Series, where: str, unit: str) -> Moments:
    """Read stamps that are numbers: units since 1970, or days of a spreadsheet.

    Without the option `unit`, exactly one unit must give a plausible time. Raises FeedError otherwise.

    A spreadsheet counts days from 1899-12-30; _EXCEL is the range of such numbers that are read as dates.
    """
    values = values.cast(pl.Int64) if values.dtype.is_integer() else values
    filled = values.drop_nulls()
    if values.dtype.is_float():
        filled = filled.filter(filled.is_finite())
    if not len(filled):
        raise FeedError(where, "no line has a time", "Give each bar its date or time")
    smallest, largest = float(filled.min()), float(filled.max())  # type: ignore[arg-type]
    if not unit and (mixed := _mixed_units(values, filled)) is not None:
        return mixed
    if not unit and _EXCEL[0] <= smallest and largest <= _EXCEL[1]:
        # six decimals of a day are exact to 43 milliseconds
        milliseconds = (values.cast(pl.Float64) * 86_400).round(0).cast(pl.Int64, strict=False) * 1_000
        instants = milliseconds.cast(pl.Duration("ms")) + pl.lit(datetime(1899, 12, 30)).cast(pl.Datetime("ms"))
        stamps = pl.select(instants).to_series()
        return Moments(stamps if (stamps.dt.date().cast(pl.Datetime("ms")) != stamps).any() else stamps.dt.date(),
                       "days of a spreadsheet")  # fmt: skip
    if not unit and _TICKS[0] <= smallest and largest <= _TICKS[1]:
        ns = (values.cast(pl.Int64) - _TICKS_OF_1970) * 100
        return Moments(ns.cast(pl.Datetime("ns", "UTC")), "ticks of 100 ns since the year 1, in UTC")
    units = [unit] if unit else [name for name in _readings_of(largest) if name in _readings_of(smallest)]
    if len(units) != 1:
        dates_by_unit = {
            name: largest / per_second for name, per_second in UNITS.items() if _YEAR_S <= largest / per_second < 4e9
        }
        if not dates_by_unit:
            raise FeedError(
                where, f"the number {largest:.12g} is no date, and no time since 1970 in seconds or smaller units",
                "Write 2024-07-03 or 2024-07-03T17:00:00Z",
            )  # fmt: skip
        readings = ", or ".join(
            f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d} in {_WORDS[name]}"
            for name, seconds in dates_by_unit.items()
        )
        raise FeedError(
            where, f"the stamp {largest:.0f} has several readings: {readings}",
            f"Add --unit with that of the stamps, {', '.join(dates_by_unit)}",
        )  # fmt: skip
    per_second = UNITS[units[0]]
    if values.dtype.is_float():
        ns = (values * (1_000_000_000 / per_second)).round(0).cast(pl.Int64, strict=False)
    else:
        ns = values.cast(pl.Int64) * (1_000_000_000 // per_second)
    return Moments(ns.cast(pl.Datetime("ns", "UTC")), f"{_WORDS[units[0]]} since 1970, in UTC")


def _mixed_units(values: pl.Series, filled: pl.Series) -> Moments | None:
    """Return the stamps of a column with several units, such as milliseconds up to 2024 and microseconds later; None
    for one unit, and if any number is no time in one of them."""
    until = datetime.now(UTC).timestamp() + _YEARS_AHEAD * _YEAR_S
    units = [
        name for name, per_second in UNITS.items() if filled.is_between(_FROM * per_second, until * per_second).any()
    ]
    if len(units) < 2:
        return None
    ns, used = pl.repeat(None, len(values), dtype=pl.Int64, eager=True), 0
    for name in units:
        in_unit = values.is_between(_FROM * UNITS[name], until * UNITS[name]).fill_null(value=False)
        # a product beyond 64 bits is of another unit, and is not taken
        of_unit = (values * (1_000_000_000 // UNITS[name])).cast(pl.Int64, strict=False, wrap_numerical=True)
        ns = of_unit.zip_with(in_unit, ns)
        used += int(in_unit.sum())
    if used < len(filled):
        return None
    words = " and ".join(_WORDS[name] for name in units)
    return Moments(ns.cast(pl.Datetime("ns", "UTC")), f"{words} since 1970, each by its size, in UTC")


def footer(column: pl.Series) -> list[str]:
    """Return the labels below the times of a column, such as Average and Total; empty where the last row has a time, or
    no text."""
    if column.dtype not in (pl.String, pl.Categorical):
        return []
    labels: list[str] = []
    for field in reversed(column.tail(_MOST_LABELS + 1).cast(pl.String).to_list()):
        if field is None or not re.fullmatch(r"[^\W\d][^\d]*", field.strip(_AROUND)) or is_stamp(field):
            break
        labels.insert(0, field.strip(_AROUND))
    return labels if len(labels) <= _MOST_LABELS and len(labels) < len(column) else []


def joined_clock(days: Moments, clock: pl.Series) -> Moments:
    """Return the stamps of a column of dates joined with a column of times; `days` unchanged if all times are
    midnight.

    Times may be digits without colons. They have seconds if any of them has more than four digits.
    """
    if clock.dtype == pl.Time:
        time_of_day = clock.cast(pl.Duration("ns"))
    else:
        text = clock.cast(pl.String).str.strip_chars()
        if text.str.contains(r"^([01]?\d|2[0-3])$").all():  # hours, of a column with nothing else
            text = text + ":00"
        elif text.str.contains(r"^\d{1,6}$").all():
            text = text.str.zfill(6 if (text.str.len_chars() > 4).any() else 4)
        text = text.str.to_uppercase().str.replace(",", ".", literal=True).str.replace(r"(\d)([AP]M)$", "$1 $2")
        time_of_day = _time_of_day(text, "%H:%M:%S")
    if not (time_of_day.dt.total_nanoseconds() != 0).any():
        return days
    return Moments(days.values.cast(pl.Datetime("ns")) + time_of_day, days.text)


def is_midnight(values: pl.Series) -> bool:
    """Return whether all of some times are midnight, as they are written."""
    present = values.drop_nulls()
    return bool(len(present) and (present.dt.truncate("1d") == present).all())


def clock_of(stamps: pl.Series, zones: Iterable[str]) -> str:
    """Return the first of `zones` in which every instant is midnight; empty if there is none."""
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


def local_days(stamps: pl.Series) -> pl.Series:
    """Return the dates of stamps as text; instants that are all midnight on an exchange's clock become dates of that
    clock."""
    if isinstance(stamps.dtype, pl.Datetime) and stamps.dtype.time_zone and (zone := clock_of(stamps, CLOCKS)):
        stamps = stamps.dt.convert_time_zone(zone)
    return stamps.dt.strftime("%Y-%m-%d")


def stamp_text(stamps: pl.Series) -> pl.Series:
    """Convert dates, instants or local times of an unknown zone to ISO text, which can express all three in one
    column."""
    if stamps.dtype == pl.Date:
        return stamps.dt.strftime("%Y-%m-%d")
    text = stamps.dt.strftime("%Y-%m-%d %H:%M:%S%.f")
    return text + "+00:00" if stamps.dtype.time_zone else text  # type: ignore[attr-defined]
