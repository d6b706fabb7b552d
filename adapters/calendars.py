"""Provides exchange calendars as plain arrays of sessions, and converts text to instants.

The bundled calendars are tables, and "24/7" is computed. The library `exchange_calendars`, in the extra `calendars`,
has other calendars and further years. If the library is newer than the tables, it is used instead of them. Its import
takes about two seconds, so that its calendars are stored in files with a checksum, and it is imported only where such a
file is missing.
"""

import os
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable
from datetime import date, datetime, tzinfo
from difflib import SequenceMatcher, get_close_matches
from functools import cache as once
from functools import lru_cache
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from itertools import compress, takewhile
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from quantd.adapters.session_tables import tables
from quantd.extras import remedy
from quantd.regular_file import write_whole
from quantd.trading.display_text import session_date
from quantd.trading.exit_codes import CONFIG, ExplainedError
from quantd.trading.instruments import NANO
from quantd.trading.sessions import DAY_NS, Sessions

ALWAYS_OPEN: Final = "24/7"
_FORMAT: Final = 1
_EPOCH: Final = date(1970, 1, 1)


class CalendarError(ExplainedError, ValueError):
    """A calendar without sessions. The text has the remedy."""

    exit_code = CONFIG


class UnknownCalendar(CalendarError):
    """An unknown calendar name. `nearest` is the most similar valid name, or empty."""

    def __init__(self, name: str, valid: Iterable[str]) -> None:
        """Name the most similar of the `valid` names as the remedy."""
        by_folded = {valid_name.casefold(): valid_name for valid_name in valid}
        # of equally similar names the one with the longest common prefix: XNYZ means XNYS, not XNZE
        close = get_close_matches(name.casefold(), by_folded, n=8, cutoff=0.5)
        best = max(close, key=lambda candidate: _similarity(name.casefold(), candidate), default="")
        self.name = name
        self.nearest = by_folded.get(best, "")
        self.remedy = (
            f"did you mean {self.nearest}?" if self.nearest else 'use an exchange\'s code such as "XNYS", or "24/7"'
        )
        super().__init__(f'"{name}" is not a calendar: {self.remedy}')


def _similarity(name: str, other: str) -> tuple[float, int]:
    common_prefix = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(name, other, strict=False)))
    return SequenceMatcher(None, other, name).ratio(), common_prefix


class CalendarNotBundled(CalendarError):
    """A calendar, or a year of one, that is not bundled with quantd, while the library `exchange_calendars` is not
    installed."""

    def __init__(self, name: str, start: date, end: date) -> None:
        file = tables()
        years = f"{file.first.year} to {file.last.year}"
        if file.resolved(name) is None:
            lack = f'the calendar "{name}" is not bundled with quantd'
        else:
            lack = f'the bundled calendar "{name}" has the years {years}, but {start.year} to {end.year} are needed'
        super().__init__(f"{lack}: {remedy('calendars')}")


class CalendarNotBuilt(CalendarError):
    """A calendar that the installed library `exchange_calendars` knows and cannot build."""

    def __init__(self, name: str) -> None:
        library = f"exchange_calendars {library_version()}"
        super().__init__(
            f'the calendar "{name}" cannot be built with the installed {library}: '
            'name the calendar of another exchange with the same days, or "24/7" (--calendar, [universe] calendar)'
        )


class _CacheFile(Struct, frozen=True):
    """The content of a cache file: the sessions dated from `start` to `end`, both inclusive, in ns of 00:00 UTC."""

    format: int
    library: str
    start: int
    end: int
    sessions: Sessions


def day_ns(day: date) -> int:
    """Return 00:00 UTC of `day` in ns, which is the form of a session's date."""
    return (day - _EPOCH).days * DAY_NS


def instant_ns(text: str, zone: tzinfo | None = None) -> int:
    """Convert ISO 8601 text with up to nine digits of a second to ns UTC.

    Text without an offset is in `zone`. Raises ValueError for other text, and for text without an offset if `zone` is
    None.
    """
    body, _, fraction = text.strip().partition(".")
    # only the leading digits: an offset may follow them
    digits = fraction[: len(fraction) - len(fraction.lstrip("0123456789"))]
    moment = datetime.fromisoformat(body + fraction[len(digits) :])
    if moment.tzinfo is None:
        if zone is None:
            raise ValueError(f"{text[:40]} has no time zone; write it with Z or an offset")
        moment = moment.replace(tzinfo=zone)
    return int(moment.timestamp()) * NANO + int(digits.ljust(9, "0")[:9])


def shared_cache() -> Path:
    """Return the default folder of cached calendars, for work outside a state folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quantd" / "calendars"


@once
def library_version() -> str | None:
    """Return the version of the installed library `exchange_calendars`, None without it."""
    try:
        return version("exchange_calendars")
    except PackageNotFoundError:
        return None


@once
def _library_is_newer() -> bool:
    """Whether the installed library `exchange_calendars` is newer than the bundled tables, and thus used instead of
    them."""
    installed = library_version()
    return installed is not None and _version_numbers(installed) > _version_numbers(tables().library)


def _version_numbers(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: (4, 5) of "4.5" or "4.5.dev1"."""
    return tuple(int(part) for part in takewhile(str.isdecimal, text.split(".")))


def names() -> tuple[str, ...]:
    """Return every valid calendar name, including aliases such as "NYSE". Imports the library `exchange_calendars` if
    it is newer than the bundled tables."""
    if not _library_is_newer():
        return tables().names
    import exchange_calendars  # type: ignore[import-untyped]

    return tuple(exchange_calendars.get_calendar_names(include_aliases=True))


def sessions(
    name: str, start: date, end: date, *, cache: Path | None = None, closed: Collection[date] = ()
) -> Sessions:
    """Return the sessions of calendar `name` dated from `start` to `end`, both inclusive, without the dates in
    `closed`.

    Future sessions are those announced so far. `cache` is a folder for calendars built by the library
    `exchange_calendars`; a file that is damaged, or of another library version, is built again. Raises UnknownCalendar,
    CalendarNotBundled where the missing library would be needed, CalendarNotBuilt for a name whose calendar the library
    cannot build, and ValueError when `end` is before `start`.
    """
    if end < start:
        raise ValueError(f"sessions of {name}: the range ends ({end}) before it starts ({start})")
    if name == ALWAYS_OPEN:
        days = tuple(range(day_ns(start), day_ns(end) + 1, DAY_NS))
        return _without_closed(
            Sessions(ALWAYS_OPEN, "UTC", days, days, tuple(day_start + DAY_NS for day_start in days)), closed
        )
    file = tables()
    # the bundled tables, unless they lack the range or the name, or an installed library is newer
    if file.first <= start and end <= file.last and file.resolved(name) is not None and not _library_is_newer():
        return _without_closed(_bundled_sessions(name, start, end), closed)
    # whole years, so that a small change of the configured dates is served by the same cache file
    return _without_closed(_between(_library_years(name, start.year, end.year, cache), start, end), closed)


def _between(wide: Sessions, start: date, end: date) -> Sessions:
    """Return the sessions dated from `start` to `end`, both inclusive."""
    span = slice(bisect_left(wide.day_ns, day_ns(start)), bisect_right(wide.day_ns, day_ns(end)))
    return Sessions(wide.name, wide.zone, wide.day_ns[span], wide.open_ns[span], wide.close_ns[span])


def _without_closed(calendar: Sessions, closed: Collection[date]) -> Sessions:
    closed_ns = {day_ns(day) for day in closed}
    is_open = [day not in closed_ns for day in calendar.day_ns]
    if all(is_open):
        return calendar
    columns = (calendar.day_ns, calendar.open_ns, calendar.close_ns)
    return Sessions(calendar.name, calendar.zone, *(tuple(compress(column, is_open)) for column in columns))


@lru_cache(maxsize=64)
def _bundled_sessions(name: str, start: date, end: date) -> Sessions:
    return tables().sessions(name, start, end)


@lru_cache(maxsize=64)
def _library_years(name: str, first: int, last: int, cache: Path | None) -> Sessions:
    """Return the sessions of the years `first` to `last`, or of a longer cached range, from the cache or the library.

    The cache file is written again if it is of another format or library version, or lacks a year.
    """
    start, end = date(first, 1, 1), date(last, 12, 31)
    library = library_version()
    if library is None:
        valid = names()
        raise CalendarNotBundled(name, start, end) if name in valid else UnknownCalendar(name, (*valid, ALWAYS_OPEN))
    if cache is None:
        return _built_range(name, start, end)
    path = cache / f"calendar-{''.join(c if c.isalnum() else '_' for c in name)}.msgpack"
    cached = _read_cache(path)
    if cached is not None and cached.format == _FORMAT and cached.library == library and cached.sessions.name == name:
        if cached.start <= day_ns(start) and day_ns(end) <= cached.end:
            return cached.sessions
        # the range grows and never shrinks: otherwise two configurations with one cache would replace each other's file
        start = min(start, session_date(cached.start))
        end = max(end, session_date(cached.end))
    fresh = _built_range(name, start, end)
    _write_cache(path, _CacheFile(_FORMAT, library, day_ns(start), day_ns(end), fresh))
    return fresh


_widest: dict[str, tuple[date, date, Sessions]] = {}
"""The widest range that this process has built of each calendar. A build takes 0.1 s, whatever its range."""


def _built_range(name: str, start: date, end: date) -> Sessions:
    """Return the sessions of a range, cut from the widest range that the library has built so far. That range is
    widened if necessary."""
    widest = _widest.get(name)
    if widest is None or start < widest[0] or widest[1] < end:
        first, last = (start, end) if widest is None else (min(start, widest[0]), max(end, widest[1]))
        widest = _widest[name] = first, last, library_sessions(name, first, last)
    return _between(widest[2], start, end)


def library_sessions(name: str, start: date, end: date) -> Sessions:
    """Return the sessions from the installed library `exchange_calendars`. Raises UnknownCalendar, and
    CalendarNotBuilt."""
    import exchange_calendars
    from exchange_calendars.errors import InvalidCalendarName  # type: ignore[import-untyped]

    try:
        calendar = exchange_calendars.get_calendar(name, start=start.isoformat(), end=end.isoformat())
    except InvalidCalendarName:
        raise UnknownCalendar(name, (*names(), ALWAYS_OPEN)) from None
    except Exception:  # the holidays of some exchanges are recorded for certain years only
        try:
            return _recorded_years(name, start, end)
        except Exception:  # any error of pandas, for rules that it cannot evaluate
            raise CalendarNotBuilt(name) from None
    return _sessions_of(name, calendar)


def _recorded_years(name: str, start: date, end: date) -> Sessions:
    """Return the sessions of those years in the range for which the library `exchange_calendars` has holidays."""
    import exchange_calendars

    calendar = exchange_calendars.get_calendar(name)
    lowest, highest = calendar.bound_min(), calendar.bound_max()
    first = start if lowest is None else max(start, lowest.date())
    last = end if highest is None else min(end, highest.date())
    if last <= first:
        return Sessions(name, str(calendar.tz), (), (), ())
    return _sessions_of(name, exchange_calendars.get_calendar(name, start=first.isoformat(), end=last.isoformat()))


def _sessions_of(name: str, calendar: Any) -> Sessions:
    return Sessions(
        name=name,
        zone=str(calendar.tz),
        day_ns=tuple(calendar.sessions_nanos.tolist()),
        open_ns=tuple(calendar.opens_nanos.tolist()),
        close_ns=tuple(calendar.closes_nanos.tolist()),
    )


_decoder = msgspec.msgpack.Decoder(_CacheFile)


def _read_cache(path: Path) -> _CacheFile | None:
    """Return the content of a cache file; None if it is missing or damaged. The file begins with a digest of 32
    bytes."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, body = data[:32], data[32:]
    if blake2b(body, digest_size=32).digest() != digest:
        return None
    try:
        return _decoder.decode(body)
    except msgspec.DecodeError:
        return None


def _write_cache(path: Path, content: _CacheFile) -> None:
    """Store a calendar in the cache. A failure to write is ignored: it only costs time at the next start."""
    body = msgspec.msgpack.encode(content)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, blake2b(body, digest_size=32).digest() + body, 0o600, durable=False)
    except OSError:
        return
