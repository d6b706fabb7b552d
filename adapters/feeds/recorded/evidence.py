"""Evidence that bars have the interval, clock, calendar and unit of price with which a run reads them.

A wrong reading ends in a finished backtest with a wrong number: a close seen hours early, or two thirds of the bars
left out as lying outside trading hours. A check of the share of bars outside sessions alone would stop sound files with
extended hours or stray bars on a holiday. Here a reading is wrong only if bars lie in no session and another reading
explains the data better: with another calendar or clock these bars are inside sessions, and no more sessions lack a
bar. So every stop names a remedy. Spacing is checked first: bars of another length fit no session.

A clock of the symbol's own calendar is tried before any other calendar, and bars that a vendor adds up to the usual
close of a half day prove nothing. If only a calendar fits that the symbol's spelling does not name, the times alone do
not decide: New York's padded half days fit Toronto. Such a finding has all its answers side by side.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import Final, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from quantd.adapters import calendars
from quantd.adapters.feeds.bars.rows import NO_STAMP, PRICES, Rows
from quantd.adapters.feeds.bars.spacing import Spacing, wrong_spacings
from quantd.adapters.feeds.bars.stamps import UNITS_NS, BarTimes, Stamps, place
from quantd.adapters.feeds.recorded.bar_files import nanoseconds
from quantd.adapters.feeds.recorded.misfit import UNDECIDED, Misfit, Named, evident_misfits, grouped, setting
from quantd.adapters.feeds.table_files.file_symbol import names_coin
from quantd.trading.display_text import session_date
from quantd.trading.instruments import LARGE_EXCHANGES, Universe, calendar_of, listed_calendar
from quantd.trading.market import Bools, Ints
from quantd.trading.sessions import DAY_NS, Sessions, interval_text

CALENDARS: Final = tuple(dict.fromkeys((calendars.ALWAYS_OPEN, "24/5", "XNYS", *LARGE_EXCHANGES.values())))
"""The calendars that are tried."""

ZONES: Final = (
    "UTC", "America/New_York", "America/Chicago", "America/Los_Angeles", "Europe/London", "Europe/Berlin",
    "Europe/Athens", "Asia/Kolkata", "Asia/Hong_Kong", "Asia/Tokyo", "Australia/Sydney",
    *(f"Etc/GMT{offset:+d}" for offset in (5, 4, 6, 8, 3, -1, -2, -3, -8)),
)  # fmt: skip
"""The clocks that are tried besides the exchanges' clocks; MetaTrader's brokers use Europe/Athens.

Etc/GMT+5 is five hours behind UTC in summer and winter: HistData writes such times.
"""

TOLERATED: Final = 0.01
"""Largest share of a symbol's bars outside sessions that needs no explanation."""

BETTER: Final = 5
"""A reading is better than another one if it has at most 1 / BETTER as many bars outside sessions."""

_COVERED, _PART_NS = 0.85, 30 * UNITS_NS["m"]
"""Share of a calendar's session that intraday bars have to cover, by half hours, for the calendar to be theirs."""

_BREAK_NS: Final = 5 * UNITS_NS["h"] // 2
"""Longest distance between bars that counts as a break at noon: Shanghai pauses for 90 minutes, Hong Kong for 60."""

_BREAKS: Final = {"XSHG": (120, 210), "XHKG": (150, 210), "XTKS": (150, 210)}
"""Calendar -> (start, end) of its break at noon, in minutes after the open. A bar inside the break proves another
calendar: without this check, part of a New York session would fill a session in Shanghai."""

_ABSENT: Final = (2.0, 6.0)
"""How many expected bars a thin symbol must lack, on days on which only its present calendar is open, to prove another:
the calendar of its suffix, or any other. One of 400 markets lacks six by chance (exp(-6))."""

_AT_EDGE: Final = 0.5
_AT_OTHER_EDGE: Final = 0.05
"""Stamps are opens if at least _AT_EDGE of the sessions have one at the open and at most _AT_OTHER_EDGE at the close.

A thin symbol lacks some first bars. The opposite error, closes that are read as opens, does less harm (bars are known
late) and needs more evidence: a stamp at the close of nine sessions in ten, of five at least, and none at an open.
"""

_BEFORE_NS: Final = 11 * UNITS_NS["h"] // 2
_AFTER_NS: Final = 4 * UNITS_NS["h"]
"""Extended hours of the American exchanges, before the open and after the close."""

_MOST_BARS: Final = 20_000
"""Most bars of one symbol that are tried against calendars and clocks; the newest are taken."""

_LEAST_BARS: Final = 5
"""Fewest bars of a symbol that can prove another calendar or clock."""

_MOST_SEARCHES: Final = 5
"""After this many symbols without a result, the next symbols are compared with the last result only, to save time."""


@dataclass(frozen=True)
class Reading:
    """The bars of a market and how they are read. `zone` is the clock of stamps without an offset from UTC.

    `actual` are the sessions of each calendar by name, `length` is the interval in ns; 1 means trades, whose distances
    are not checked. `without_offset` returns whether the stamps have no offset.
    """

    rows: Rows
    placed: BarTimes
    universe: Universe
    actual: Mapping[str, Sessions]
    stamps: Stamps
    length: int
    zone: str = ""
    without_offset: Callable[[], bool] = lambda: False

    @cached_property
    def unzoned(self) -> bool:
        """Whether the stamps of the files have no offset from UTC; the files are read once for this."""
        return self.without_offset()

    def of(self, column: int) -> tuple[Ints, Sessions]:
        """Return the newest readable stamps of one symbol, and the sessions of its calendar."""
        by_symbol, columns = self._by_symbol
        start, stop = np.searchsorted(columns, [column, column + 1])
        ts = self.rows.ts[by_symbol[start:stop]]
        return ts[ts != NO_STAMP][-_MOST_BARS:], self.calendar_of(column)

    def calendar_of(self, column: int) -> Sessions:
        """Return the sessions of a symbol's calendar."""
        return self.actual[self.universe.instruments[column].calendar]

    @cached_property
    def _by_symbol(self) -> tuple[NDArray[np.intp], Ints]:
        """The indices of the bars grouped by symbol, and the symbol of each; sorted once for all symbols."""
        order = np.argsort(self.rows.column, kind="stable")
        return order, self.rows.column[order]


def misfits(reading: Reading) -> tuple[Misfit, ...]:
    """Return the wrong readings of a market's bars, each with the settings that correct it; empty if none is found."""
    return tuple(grouped(symbol_misfits(reading), reading.universe))


def symbol_misfits(reading: Reading) -> list[Named]:
    """Return the wrong readings of each symbol's bars. A row without any price is no bar: Yahoo writes such rows."""
    reading = _priced(reading)
    rows, placed, universe = reading.rows, reading.placed, reading.universe
    spacings: list[Spacing] = []
    if reading.length > 1:
        spacings = wrong_spacings(rows.ts, rows.column, placed, universe, reading.actual, reading.length)
    settled = {spacing.column for spacing in spacings}  # symbols with a misfit
    daily = reading.length == DAY_NS
    symbol_faults = [*evident_misfits(rows, placed, universe, reading.actual), *_interval_misfits(spacings, reading)]
    readable = rows.ts != NO_STAMP
    # the number of bars of each symbol, and of its bars in no session
    total = np.bincount(rows.column[readable], minlength=universe.size)
    outside = np.bincount(rows.column[readable & ~placed.inside], minlength=universe.size)
    suspects = (outside > 0) if daily or reading.length > 1 else (outside > TOLERATED * total)
    if not daily and reading.length > 1:
        edges = dict(_wrong_edges([k for k in range(universe.size) if k not in settled and total[k]], reading))
        settled |= set(edges)
        symbol_faults += edges.values()
    columns = [k for k in np.flatnonzero(suspects & (total >= _LEAST_BARS)).tolist() if k not in settled]
    symbol_faults += _daily_misfits(columns, reading) if daily else _intraday_misfits(columns, reading)
    if daily:
        symbol_faults += _days_off_midnight([k for k in range(universe.size) if k not in settled and total[k]], reading)
    return symbol_faults


def _priced(reading: Reading) -> Reading:
    """Return the same bars and settings without the rows that have no price at all."""
    empty = np.logical_and.reduce([np.isnan(getattr(reading.rows, name)) for name in PRICES])
    if not empty.any():
        return reading
    return replace(reading, rows=reading.rows.take(~empty), placed=reading.placed.take(~empty))


def _interval_misfits(spacings: Sequence[Spacing], reading: Reading) -> Iterator[Named]:
    """Yield the symbols whose stamps are at another distance than the interval, with the setting that fits."""
    stated = interval_text(reading.length)
    for spacing in spacings:
        symbol = reading.universe.symbols[spacing.column]
        text = f"its stamps are {spacing.text} apart, and they are read as bars of {stated}"
        if spacing.step > DAY_NS:
            yield "interval", symbol, text, (f"a run needs bars of a day or shorter: give a file of {stated} bars",)
        elif DAY_NS % spacing.step:
            remedy = "name the column of the times at which its bars begin: data import --column time=NAME"
            yield "interval", symbol, f"{text}; that divides no day", (remedy,)
        elif spacing.step == DAY_NS:
            yield "interval", symbol, text, (setting("feed", interval="1d"),)
        else:
            stamps = (setting("feed", stamps="open"),) if reading.stamps == "session" else ()
            yield "interval", symbol, text, (setting("feed", interval=spacing.text), *stamps)


# daily bars


@dataclass(frozen=True, slots=True)
class Fit:
    """How daily bars fit a calendar: the number of bars outside sessions, and of sessions without a bar between its
    first and last bar."""

    outside: int
    missing: int

    @property
    def faults(self) -> int:
        """Number of bars outside sessions plus sessions without a bar."""
        return self.outside + self.missing


def _fit(ts: Ints, sessions: Sessions, stamps: Stamps) -> Fit:
    placed = place(ts, sessions, stamps, DAY_NS)
    days = np.unique(placed.day[placed.inside])
    if not len(days):
        return Fit(len(ts), 0)
    sessions_spanned = np.searchsorted(sessions.days, days[-1]) - np.searchsorted(sessions.days, days[0]) + 1
    # two bars in one session: one of them belongs to another date, and counts as outside
    repeated = int(placed.inside.sum()) - len(days)
    return Fit(int(np.sum(~placed.inside)) + repeated, int(sessions_spanned) - len(days))


def _daily_misfits(columns: Sequence[int], reading: Reading) -> Iterator[Named]:
    """Yield the symbols whose daily bars lie in no session as read, but fit other stamps or another calendar."""
    last_calendar, fruitless = "", 0
    for column in columns:
        ts, own_calendar = reading.of(column)
        symbol, own_fit = reading.universe.symbols[column], _fit(ts, own_calendar, reading.stamps)
        outside_text = f"{own_fit.outside:,} bars lie on no session of {own_calendar.name}"
        if edge := _edge_of_sessions(ts, own_calendar, reading):
            text = f"{outside_text}; all {len(ts):,} are at {edge}s of its sessions as {own_calendar.zone}"
            yield "zone", symbol, text, (setting("feed", zone=own_calendar.zone, stamps=edge),)
            continue
        for stamps in get_args(Stamps):
            other_fit = _fit(ts, own_calendar, stamps)
            if (
                stamps != reading.stamps
                and own_fit.outside > len(ts) // 8
                and other_fit.outside * BETTER <= own_fit.outside
            ):
                counted = _count_of(len(ts), other_fit)
                text = f'{outside_text} with stamps = "{reading.stamps}"; {counted} fit "{stamps}"'
                yield "stamps", symbol, text, (setting("feed", stamps=stamps),)
                break
        else:
            if own_fit.outside < 2 and own_fit.outside <= TOLERATED * len(ts):
                continue
            candidates = CALENDARS if fruitless < _MOST_SEARCHES else ()  # a search of all takes long
            best = _best_calendar(
                ts, own_calendar, own_fit, reading.stamps, (last_calendar, listed_calendar(symbol)), candidates
            )
            if best is None:
                fruitless += 1
                continue
            last_calendar, fruitless = best[0], 0
            text = f"{outside_text}; {_count_of(len(ts), best[1])} fit {last_calendar}"
            yield "calendar", symbol, text, _calendar_answers(column, last_calendar, reading)


def _edge_of_sessions(ts: Ints, own_calendar: Sessions, reading: Reading) -> Stamps | None:
    """Return "open" or "close" if daily stamps without an offset are that of sessions on the exchange's own clock, and
    no meaning fits all as they are read; else None."""
    if reading.zone or own_calendar.zone == "UTC" or not reading.unzoned:
        return None
    instants = _read_in_zone(ts, "", own_calendar.zone)
    at_close, at_open = (np.isin(instants, edges).all() for edges in (own_calendar.closes, own_calendar.opens))
    if (at_close or at_open) and all(_fit(ts, own_calendar, stamps).outside for stamps in get_args(Stamps)):
        return "close" if at_close else "open"
    return None


def _best_calendar(
    ts: Ints,
    own_calendar: Sessions,
    own_fit: Fit,
    stamps: Stamps,
    likely_names: Sequence[str],
    candidates: Sequence[str],
) -> tuple[str, Fit] | None:
    """Return the calendar that explains the bars outside `own_calendar`, and its fit; None without one.

    Far fewer bars must lie outside that calendar. It must also have at most a third of the faults, or prove itself: it
    contains all bars, and the symbol lacks the bars expected on the days on which only `own_calendar` is open.
    """
    best: tuple[str, Fit] | None = None
    for name in dict.fromkeys(filter(None, (*likely_names, *candidates))):
        if name == own_calendar.name:
            continue
        sessions = _sessions(name, ts)
        other_fit = _fit(ts, sessions, stamps)
        fewer_faults = other_fit.faults * 3 <= own_fit.faults
        least_absent = _ABSENT[0] if name in likely_names else _ABSENT[1]  # number of expected bars that must be absent
        proved_by_absence = (
            other_fit.outside == 0 and own_fit.outside > 2 and _expected(ts, own_calendar, sessions) >= least_absent
        )
        if other_fit.outside * BETTER <= own_fit.outside and (fewer_faults or proved_by_absence):
            if not other_fit.faults:
                return name, other_fit
            if best is None or other_fit.faults < best[1].faults:
                best = name, other_fit
    return best


def _expected(ts: Ints, own_calendar: Sessions, other_calendar: Sessions) -> float:
    """Return how many bars to expect on the days on which only `own_calendar` is open: the days times the symbol's
    average number of bars per session."""
    own_days = own_calendar.days[(own_calendar.days >= ts.min() - DAY_NS) & (own_calendar.days <= ts.max())]
    return len(np.setdiff1d(own_days, other_calendar.days)) * len(ts) / max(len(own_days), 1)


def _days_off_midnight(columns: Sequence[int], reading: Reading) -> Iterator[Named]:
    """Yield the symbols whose daily bars begin at another time than midnight UTC, in a market that never closes.

    Such a bar is read as a UTC day and ends after that day, so that a backtest would know it too early.
    """
    for column in columns:
        own_calendar = reading.calendar_of(column)
        if own_calendar.name != calendars.ALWAYS_OPEN:
            continue
        ts, _ = reading.of(column)
        times, counts = np.unique(ts % DAY_NS, return_counts=True)
        if counts[times == 0].sum() * 2 >= len(ts):
            continue
        hour = str(np.datetime64(int(times[counts.argmax()]), "ns"))[11:16]
        text = (
            f"its days begin or end at {hour} UTC, and a day of {own_calendar.name} is from midnight to midnight UTC: "
            "the bars would be known hours early"
        )
        remedies = (
            "give days that begin at midnight UTC (`quantd data fetch` has them from yfinance and from ccxt)",
            'or build days of shorter bars: a file of hours with [feed] build_from = "1h"',
        )
        yield "day", reading.universe.symbols[column], text, remedies


# intraday bars


def _wrong_edges(columns: Sequence[int], reading: Reading) -> Iterator[tuple[int, Named]]:
    """Yield (column, misfit) of the symbols whose stamps are read as the wrong end of their bars.

    A session's first bar opens with it and its last bar closes with it. Stamps of opens therefore include the session's
    open and not its close. Opens read as closes would make each bar known one bar early. Markets without a pause have
    no first or last bar, and stamps of extended hours lie at both ends of a session: neither proves anything.
    """
    length = reading.length
    for column in columns:
        ts, own_calendar = reading.of(column)
        if (
            len(own_calendar.opens) < 2
            or float(np.median(own_calendar.opens[1:] - own_calendar.closes[:-1])) < 2 * length
        ):
            continue
        session_rows = np.unique(np.minimum(np.searchsorted(own_calendar.closes, ts), len(own_calendar.closes) - 1))
        session_rows = session_rows[
            (own_calendar.opens[session_rows] <= ts.max()) & (own_calendar.closes[session_rows] >= ts.min())
        ]
        at_open = _stamped(ts, own_calendar.opens[session_rows] - length + 1, own_calendar.opens[session_rows])
        at_close = _stamped(ts, own_calendar.closes[session_rows], own_calendar.closes[session_rows] + length - 1)
        opens, closes, count = int(at_open.sum()), int(at_close.sum()), len(session_rows)
        early = opens >= max(1, _AT_EDGE * count) and closes <= _AT_OTHER_EDGE * count
        late = closes >= max(5, 0.9 * count) and not opens  # stricter than `early`: see _AT_OTHER_EDGE
        true_stamps: Stamps
        if reading.stamps == "close" and early:
            true_stamps, edges_text = (
                "open",
                f"{opens} of {count} sessions have a stamp at the open, and {closes} at the close",
            )
            harm = f"each bar would be known {interval_text(length)} before its close"
        elif reading.stamps == "open" and late:
            true_stamps, edges_text = (
                "close",
                f"{closes} of {count} sessions have a stamp at the close, and none at the open",
            )
            harm = f"each bar would be known {interval_text(length)} late"
        else:
            continue
        tolerated = TOLERATED / BETTER * len(ts)  # so few bars are outside with stamps that are read correctly
        if _outside(ts, own_calendar, replace(reading, stamps=true_stamps)) > tolerated:
            continue  # another clock moves the edges too, and leaves bars outside
        zoned_ts = _read_in_zone(ts, reading.zone, own_calendar.zone) if reading.unzoned else ts
        if not np.array_equal(zoned_ts, ts) and _outside(zoned_ts, own_calendar, reading) <= tolerated:
            continue  # a clock one bar away explains the same stamps, so nothing is proved
        text = (
            f'{edges_text}: its stamps are the {true_stamps}s of its bars, read as stamps = "{reading.stamps}"; {harm}'
        )
        yield column, ("stamps", reading.universe.symbols[column], text, (setting("feed", stamps=true_stamps),))


def _stamped(ts: Ints, first: Ints, last: Ints) -> Bools:
    """Return bool[R], True where a stamp lies in the span [first, last], both included; `ts` may have any order."""
    ordered = np.sort(ts)
    return np.searchsorted(ordered, last, side="right") > np.searchsorted(ordered, first)


def _intraday_misfits(columns: Sequence[int], reading: Reading) -> Iterator[Named]:
    """Yield the symbols whose intraday bars are outside their calendar's hours, but fit another clock or calendar."""
    last_result, fruitless = ("", ""), 0
    for column in columns:
        ts, own_calendar = reading.of(column)
        symbol = reading.universe.symbols[column]
        outside = _outside(ts, own_calendar, reading)
        few = outside <= TOLERATED * len(ts)  # all others are padding after half days
        if not outside or (few and not (reading.unzoned and fruitless < _MOST_SEARCHES)):
            continue
        # a result is (calendar, clock), empty where the present one stays
        suffix_calendar = listed_calendar(symbol)
        suffix_results = [
            (suffix_calendar, ""),
            *([(suffix_calendar, _sessions(suffix_calendar, ts).zone)] if suffix_calendar and reading.unzoned else []),
        ]
        likely = [pair for pair in (*suffix_results, last_result) if any(pair) and pair[0] != own_calendar.name]
        home, try_all = calendar_of(symbol), fruitless < _MOST_SEARCHES
        own, other = _best_hours(ts, own_calendar, outside, reading, likely, home=home, try_all=try_all)
        if few and (other or own is None or _outside(_read_in_zone(ts, reading.zone, own[1]), own_calendar, reading)):
            own = other = None  # few bars need an explanation only where another clock leaves none of them
        if own is None and other is None:
            fruitless += 1
            continue
        last_result, fruitless = own or other or last_result, 0
        texts, remedies = [], list[str]()
        for name, zone in filter(None, (own, other)):
            sessions = _sessions(name, ts) if name else own_calendar
            inside_count = len(ts) - _outside(_read_in_zone(ts, reading.zone, zone), sessions, reading)
            clock = f" as {zone}" + (", the exchange's own clock" if zone == sessions.zone else "") if zone else ""
            texts.append(f"{'all' if inside_count == len(ts) else f'{inside_count:,}'} fit {sessions.name}{clock}")
            remedies += _zone_remedies(reading, zone) if zone else ()
            remedies += _calendar_answers(column, name, reading) if name else ()
        as_read = f"as {reading.zone}" if reading.zone else "as UTC" if reading.unzoned else "as they say"
        text = f"{len(ts) - outside:,} of {len(ts):,} bars lie inside sessions of {own_calendar.name} {as_read}; "
        yield "zone" if own or (other and other[1]) else "calendar", symbol, text + " or ".join(texts), tuple(remedies)


Hours = tuple[str, str] | None
"""A reading of intraday bars as (calendar, clock), each empty where the present one stays; None without one."""


def _best_hours(
    ts: Ints,
    own_calendar: Sessions,
    outside: int,
    reading: Reading,
    likely: Sequence[tuple[str, str]],
    *,
    home: str,
    try_all: bool,
) -> tuple[Hours, Hours]:
    """Return the readings that fit the bars outside `own_calendar` best: (with another clock only, with another
    calendar).

    The calendar of the symbol's spelling (`home`) comes first. Another one is sought only if no clock fits whose bars
    fill the sessions. The `likely` pairs are tried first; with `try_all`, all others too. `outside` is as read now.
    """
    pairs = tuple(dict.fromkeys((*likely, *(_all_readings(ts, own_calendar, reading) if try_all else ()))))
    spelled, _ = _best_of([pair for pair in likely if pair[0] == home], ts, own_calendar, outside, reading)
    if spelled is not None:
        return None, spelled
    own, own_share = _best_of([pair for pair in pairs if not pair[0]], ts, own_calendar, outside, reading)
    if own_share >= _COVERED:
        return own, None
    other, _ = _best_of([pair for pair in pairs if pair[0]], ts, own_calendar, outside, reading)
    if own is None and other is None and _moves_extended(ts, own_calendar, reading):
        own = "", own_calendar.zone
    return own, other


def _best_of(
    pairs: Sequence[tuple[str, str]], ts: Ints, own_calendar: Sessions, outside: int, reading: Reading
) -> tuple[Hours, float]:
    """Return the best of some readings and the share of its sessions that the bars cover; (None, 0) without one."""
    best: tuple[int, float, str, str] | None = None
    for name, zone in pairs:
        sessions = _sessions(name, ts) if name else own_calendar
        zoned_ts = _read_in_zone(ts, reading.zone, zone)
        still_outside, covered = _outside(zoned_ts, sessions, reading), _covered(zoned_ts, sessions, reading)
        if still_outside * BETTER > outside or (name and covered < _COVERED):
            continue
        if name and _at_noon(zoned_ts, sessions, reading) > TOLERATED * len(ts):  # bars in its break at noon
            continue
        if best is None or (still_outside, -covered) < best[:2]:
            best = still_outside, -covered, name, zone
        if not still_outside and covered > (1 - TOLERATED if name else _COVERED):
            break  # another calendar has to cover more of its sessions than the present one
    return (None, 0.0) if best is None else (best[2:], -best[1])


def _all_readings(ts: Ints, own_calendar: Sessions, reading: Reading) -> Iterator[tuple[str, str]]:
    """Yield other readings as (calendar, zone), empty where unchanged; a change of the clock alone comes first."""
    as_read = reading.zone or "UTC"
    pauses = own_calendar.zone != "UTC"  # without a pause any fixed offset fits
    for zone in (own_calendar.zone, *(ZONES if reading.unzoned else ())):
        if zone != as_read and (pauses or not zone.startswith("Etc/")):
            yield "", zone
    for name in CALENDARS:
        if name == own_calendar.name:
            continue
        yield name, ""
        zone = _sessions(name, ts).zone
        if reading.unzoned and zone not in ("UTC", as_read):
            yield name, zone


def _outside(ts: Ints, sessions: Sessions, reading: Reading) -> int:
    """Return the number of bars outside sessions, without those from the close of a half day to the usual close."""
    outside = ~place(ts, sessions, reading.stamps, reading.length).inside
    if not len(sessions.opens):
        return len(ts)
    begin = ts if reading.stamps == "open" else ts - reading.length
    newest_open = sessions.opens[np.maximum(np.searchsorted(sessions.opens, begin, side="right") - 1, 0)]
    padding = (begin >= newest_open) & (begin < newest_open + np.median(sessions.closes - sessions.opens))
    return int(np.sum(outside & ~padding))


def _at_noon(ts: Ints, sessions: Sessions, reading: Reading) -> int:
    """Return the number of bars inside the break at noon of a calendar."""
    if (pause := _BREAKS.get(sessions.name)) is None:
        return 0
    placed = place(ts, sessions, reading.stamps, reading.length)
    session = np.minimum(np.searchsorted(sessions.days, placed.day), len(sessions.opens) - 1)
    since, until = ((at - sessions.opens[session]) // UNITS_NS["m"] for at in (placed.ts_open, placed.ts_event))
    return int(np.sum(placed.inside & (since >= pause[0]) & (until <= pause[1])))


def _covered(ts: Ints, sessions: Sessions, reading: Reading) -> float:
    """Return the smaller of two shares: of a session's half hours that have bars, and of sessions that have a bar.

    A break at noon has no bars and counts as covered. `unit` is the part of a session (ns) that one bar covers.
    """
    placed = place(ts, sessions, reading.stamps, reading.length)
    if not placed.inside.any():
        return 0.0
    session = np.searchsorted(sessions.days, placed.day[placed.inside])
    half_hours = np.unique((placed.ts_open[placed.inside] - sessions.opens[session]) // _PART_NS)
    unit = max(_PART_NS, reading.length)
    gaps = np.append(np.diff(half_hours) * _PART_NS, unit)
    covered = np.where(gaps <= max(_BREAK_NS, unit), gaps, unit).sum() / np.median(sessions.closes - sessions.opens)
    sessions_with_bars = np.unique(session)
    return float(min(1.0, covered, len(sessions_with_bars) / (sessions_with_bars[-1] - sessions_with_bars[0] + 1)))


def _moves_extended(ts: Ints, own_calendar: Sessions, reading: Reading) -> bool:
    """Return whether the bars fit the extended hours on the exchange's own clock, and not as they are read."""

    def share_beyond(stamps: Ints) -> float:
        """Return the share of the bars that begin outside their session's extended hours."""
        begin = stamps if reading.stamps == "open" else stamps - reading.length
        session = np.minimum(
            np.searchsorted(own_calendar.closes + _AFTER_NS, begin, side="right"), len(own_calendar.days) - 1
        )
        return float(
            np.mean(
                (begin < own_calendar.opens[session] - _BEFORE_NS) | (begin >= own_calendar.closes[session] + _AFTER_NS)
            )
        )

    if own_calendar.zone == (reading.zone or "UTC"):
        return False
    as_read, on_own_clock = share_beyond(ts), share_beyond(_read_in_zone(ts, reading.zone, own_calendar.zone))
    return as_read > BETTER * TOLERATED and on_own_clock <= TOLERATED


def _read_in_zone(ts: Ints, from_zone: str, to_zone: str) -> Ints:
    """Return int64[n], the stamps (ns UTC) read in another zone: the clock time of `ts` in `from_zone` (empty: UTC) is
    taken as a time in `to_zone`. With an empty `to_zone`, the stamps stay."""
    if not to_zone:
        return ts
    clock = (
        pl.Series(ts).cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone(from_zone or "UTC").dt.replace_time_zone(None)
    )
    return nanoseconds(clock, to_zone)


def _count_of(bars: int, fit: Fit) -> str:
    return f"all {bars:,}" if not fit.outside else f"{bars - fit.outside:,} of {bars:,}"


def _zone_remedies(reading: Reading, zone: str) -> tuple[str, ...]:
    if reading.unzoned:
        return (setting("feed", zone=zone),)
    return (f"the stamps carry a wrong offset: write them without it, and {setting('feed', zone=zone)}",)


def _calendar_answers(column: int, name: str, reading: Reading) -> tuple[str, ...]:
    """Return the remedies for bars of a symbol that fit a calendar: the calendar alone where it is decided.

    It is decided if the symbol's spelling names it. For a coin without a separator, such as BTCUSDT, that is 24/7
    unless its prices stand still on weekends.
    """
    calendar, symbol = setting("universe", calendar=name), reading.universe.symbols[column]
    own = reading.rows.column == column
    weekend = own & ((reading.rows.ts // DAY_NS + 3) % 7 >= 5) & (reading.rows.ts != NO_STAMP)
    moves = reading.rows.high[weekend] > reading.rows.low[weekend]
    trades = name == calendars.ALWAYS_OPEN and names_coin(symbol) and moves.sum() >= (len(moves) + 1) // 2
    return (calendar,) if name == calendar_of(symbol) or trades else (calendar, *UNDECIDED)


def _sessions(name: str, ts: Ints) -> Sessions:
    """Return the sessions of a calendar around the stamps; empty if the calendar cannot be built."""
    margin = timedelta(days=10)
    first, last = session_date(int(ts.min())) - margin, session_date(int(ts.max())) + margin
    try:
        return calendars.sessions(name, first, last, cache=calendars.shared_cache())
    except calendars.CalendarError:
        return Sessions(name, "UTC", (), (), ())
