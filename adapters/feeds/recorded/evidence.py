"""Evidence that bars are what a run reads them as: their interval, their clock, their calendar.

A wrong reading ends in a finished backtest with a wrong number: a close seen hours early, or two thirds of the bars
left out as lying outside trading hours. A check of the share of bars outside alone would stop honest extended hours and
stray bars on a holiday. Here a reading is wrong only if another one explains what it does not: bars lie on no session,
and of the calendars and clocks that are tried one holds all of them without lacking more. Thus no data stops without
a remedy that is named. Spacing comes first: bars of another length have no place in a session.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import Final, Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from quantd.adapters import calendars
from quantd.adapters.feeds.bars.rows import NO_STAMP, PRICES, Rows
from quantd.adapters.feeds.bars.spacing import Spacing, wrong_spacings
from quantd.adapters.feeds.bars.stamps import UNITS_NS, Placed, Stamps, place
from quantd.adapters.feeds.recorded.bar_files import nanoseconds
from quantd.adapters.feeds.source import some
from quantd.trading.display_text import session_date, toml_value
from quantd.trading.instruments import LARGE_EXCHANGES, Universe, listed_calendar
from quantd.trading.market import Bools, Ints
from quantd.trading.sessions import DAY_NS, Sessions, interval_text

Kind = Literal["interval", "stamps", "zone", "calendar", "day"]

CALENDARS: Final = tuple(dict.fromkeys((calendars.ALWAYS_OPEN, "24/5", "XNYS", *LARGE_EXCHANGES.values())))
"""The calendars that are tried."""

ZONES: Final = (
    "UTC", "America/New_York", "America/Chicago", "America/Los_Angeles", "Europe/London", "Europe/Berlin",
    "Europe/Athens", "Asia/Kolkata", "Asia/Hong_Kong", "Asia/Tokyo", "Australia/Sydney",
)  # fmt: skip
"""The clocks that are tried beside those of the exchanges; Europe/Athens is that of MetaTrader's brokers."""

TOLERATED: Final = 0.01
"""Largest share of a symbol's bars outside sessions that needs no explanation."""

BETTER: Final = 5
"""A reading explains what another does not if it leaves this many times fewer bars outside."""

_COVERED: Final = 0.85
_PART_NS: Final = 30 * UNITS_NS["m"]
"""Share of a calendar's session that intraday bars have to cover, by half hours, for the calendar to be theirs."""

_BREAK_NS: Final = 5 * UNITS_NS["h"] // 2
"""Longest distance over a break at noon; those of Shanghai and Hong Kong are 90 and 60 minutes."""

_BREAKS: Final = {"XSHG": (120, 210), "XHKG": (150, 210), "XTKS": (150, 210)}
"""Calendar -> minutes after the open in which its exchange pauses at noon: part of a session in New York would fill
a session in Shanghai otherwise."""

_ABSENT: Final = (2.0, 6.0)
"""Bars that a thin symbol must lack on the days on which only its own calendar is open, for another to be its: of the
calendar of its suffix, and of any other. One in 400 markets (exp(-6)) lacks six by chance."""

_AT_EDGE: Final = 0.5
_AT_OTHER_EDGE: Final = 0.05
"""Shares of the sessions that have a stamp at the open, at least, and at the close, at most, for stamps that are opens.

A thin symbol lacks the first bar of some sessions. A close that is read as an open is only known late, so that it needs
the edge of nine sessions in ten, five at least, and no stamp at the other.
"""

_BEFORE_NS: Final = 11 * UNITS_NS["h"] // 2
_AFTER_NS: Final = 4 * UNITS_NS["h"]
"""Extended hours of the American exchanges, before the open and after the close."""

MOST_LINES: Final = 10
"""Faults that one message lists."""

_MOST_BARS: Final = 20_000
"""Bars of one symbol that are tried against calendars and clocks: the newest."""

_LEAST_BARS: Final = 5
"""Fewest bars of a symbol that show another calendar or clock."""

_MOST_SEARCHES: Final = 5
"""Searches of a market without a result, after which its other symbols are compared with earlier results only."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """A wrong reading of symbols: what contradicts it, the readings that fit, and the settings that give them."""

    kind: Kind
    symbols: tuple[str, ...]
    text: str
    remedies: tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """How the bars of a market are read. `zone` is that of stamps without an offset, `unzoned` tells if they have none.

    `actual` are the sessions by calendar, `length` is the interval in ns; 1 means trades, which have no distance.
    """

    rows: Rows
    placed: Placed
    universe: Universe
    actual: Mapping[str, Sessions]
    stamps: Stamps
    length: int
    zone: str = ""
    without_offset: Callable[[], bool] = lambda: False

    @cached_property
    def unzoned(self) -> bool:
        """Whether the stamps of the files have no offset from UTC, read at most once."""
        return self.without_offset()

    def of(self, column: int) -> tuple[Ints, Sessions]:
        """Return the stamps of one symbol, and its sessions."""
        order, columns = self._by_symbol
        start, stop = np.searchsorted(columns, [column, column + 1])
        ts = self.rows.ts[order[start:stop]]
        return ts[ts != NO_STAMP][-_MOST_BARS:], self.calendar_of(column)

    def calendar_of(self, column: int) -> Sessions:
        """Return the sessions of a symbol's own calendar."""
        return self.actual[self.universe.instruments[column].calendar]

    @cached_property
    def _by_symbol(self) -> tuple[NDArray[np.intp], Ints]:
        """The numbers of the bars symbol by symbol, and their symbols: one pass for all symbols."""
        order = np.argsort(self.rows.column, kind="stable")
        return order, self.rows.column[order]


def misfits(reading: Reading) -> tuple[Misfit, ...]:
    """Return the wrong readings of a market, each with the settings that mend it; empty where nothing contradicts.

    A row without any price is no bar: Yahoo writes one for a day without data, a holiday for instance.
    """
    reading = _priced(reading)
    rows, placed, universe = reading.rows, reading.placed, reading.universe
    spacings: list[Spacing] = []
    if reading.length > 1:
        spacings = wrong_spacings(rows.ts, rows.column, placed, universe, reading.actual, reading.length)
    settled = {spacing.column for spacing in spacings}
    daily = reading.length == DAY_NS
    named = list(_of_spacings(spacings, reading))
    readable = rows.ts != NO_STAMP
    total = np.bincount(rows.column[readable], minlength=universe.size)
    missed = np.bincount(rows.column[readable & ~placed.inside], minlength=universe.size)
    suspects = (missed > 0) if daily else (missed > TOLERATED * total)
    if not daily and reading.length > 1:
        edges = dict(_edges([k for k in range(universe.size) if k not in settled and total[k]], reading))
        settled |= set(edges)
        named += edges.values()
    columns = [k for k in np.flatnonzero(suspects & (total >= _LEAST_BARS)).tolist() if k not in settled]
    named += _days(columns, reading) if daily else _hours(columns, reading)
    if daily:
        named += _early_days([k for k in range(universe.size) if k not in settled and total[k]], reading)
    return tuple(_grouped(named, universe))


def _priced(reading: Reading) -> Reading:
    """Return a reading without the rows that have no price at all."""
    empty = np.logical_and.reduce([np.isnan(getattr(reading.rows, name)) for name in PRICES])
    if not empty.any():
        return reading
    return replace(reading, rows=reading.rows.take(~empty), placed=reading.placed.take(~empty))


Named = tuple[Kind, str, str, tuple[str, ...]]
"""A misfit of one symbol: kind, symbol, text after the symbol, remedies."""


def _grouped(named: Sequence[Named], universe: Universe) -> Iterator[Misfit]:
    """Yield one misfit for all symbols with the same text and remedies.

    The calendar of a part of the symbols is that of their own tables, not of the universe.
    """
    wanted = {symbol: set(remedies) for _, symbol, _, remedies in named}
    groups: dict[tuple[Kind, str, tuple[str, ...]], list[str]] = {}
    for kind, symbol, text, remedies in named:
        groups.setdefault((kind, text, remedies), []).append(symbol)
    for (kind, text, remedies), symbols in groups.items():
        for_all = {remedy for remedy in remedies if all(remedy in wanted.get(name, ()) for name in universe.symbols)}
        settings = [
            remedy
            if remedy in for_all or not remedy.startswith("[universe]")
            else _tables(symbols, remedy.split('"')[1])
            for remedy in remedies
        ]
        yield Misfit(kind, tuple(symbols), f"{some(symbols)}: {text}", tuple(settings))


def _tables(symbols: Sequence[str], calendar: str) -> str:
    """Return the tables of instruments with a calendar of their own, as they are written in config.toml."""
    tables = [f"{{ symbol = {toml_value(symbol)}, calendar = {toml_value(calendar)} }}" for symbol in symbols]
    return f"[universe] instruments = [{', '.join(tables)}]"


def _of_spacings(spacings: Sequence[Spacing], reading: Reading) -> Iterator[Named]:
    stated = interval_text(reading.length)
    for spacing in spacings:
        symbol = reading.universe.symbols[spacing.column]
        text = f"its stamps are {spacing.text} apart, and they are read as bars of {stated}"
        if spacing.step > DAY_NS:
            yield "interval", symbol, text, (f"a run needs bars of a day or shorter: give a file of {stated} bars",)
        elif spacing.step == DAY_NS:
            yield "interval", symbol, text, (_setting("feed", "interval", "1d"),)
        else:
            stamps = (_setting("feed", "stamps", "open"),) if reading.stamps == "session" else ()
            yield "interval", symbol, text, (_setting("feed", "interval", spacing.text), *stamps)


# daily bars


@dataclass(frozen=True, slots=True)
class Fit:
    """How daily bars fit a calendar: bars on no session, and sessions without a bar between the first and the last."""

    outside: int
    missing: int

    @property
    def faults(self) -> int:
        """Number of bars and sessions that do not fit."""
        return self.outside + self.missing


def _fit(ts: Ints, sessions: Sessions, stamps: Stamps) -> Fit:
    placed = place(ts, sessions, stamps, DAY_NS)
    days = np.unique(placed.day[placed.inside])
    if not len(days):
        return Fit(len(ts), 0)
    between = np.searchsorted(sessions.days, days[-1]) - np.searchsorted(sessions.days, days[0]) + 1
    # two bars of one session are no two sessions: one of them belongs to another date
    repeated = int(placed.inside.sum()) - len(days)
    return Fit(int(np.sum(~placed.inside)) + repeated, int(between) - len(days))


def _days(columns: Sequence[int], reading: Reading) -> Iterator[Named]:
    """Yield the daily bars that lie on no session of their calendar, and on those of another one or by other stamps."""
    last, fruitless = "", 0
    for column in columns:
        ts, home = reading.of(column)
        symbol, fit = reading.universe.symbols[column], _fit(ts, home, reading.stamps)
        outside = f"{fit.outside:,} bars lie on no session of {home.name}"
        for stamps in get_args(Stamps):
            other = _fit(ts, home, stamps)
            if stamps != reading.stamps and fit.outside > len(ts) // 8 and other.outside * BETTER <= fit.outside:
                text = f'{outside} with stamps = "{reading.stamps}"; {_all(len(ts), other)} fit "{stamps}"'
                yield "stamps", symbol, text, (_setting("feed", "stamps", stamps),)
                break
        else:
            if fit.outside < 2 and fit.outside <= TOLERATED * len(ts):
                continue
            candidates = CALENDARS if fruitless < _MOST_SEARCHES else ()
            best = _best_calendar(ts, home, fit, reading.stamps, (last, listed_calendar(symbol)), candidates)
            if best is None:
                fruitless += 1
                continue
            last, fruitless = best[0], 0
            yield "calendar", symbol, f"{outside}; {_all(len(ts), best[1])} fit {last}", _calendar(last)


def _best_calendar(
    ts: Ints, home: Sessions, fit: Fit, stamps: Stamps, suffixed: Sequence[str], candidates: Sequence[str]
) -> tuple[str, Fit] | None:
    """Return the calendar that explains the bars outside `home`, and its fit; None without one."""
    best: tuple[str, Fit] | None = None
    for name in dict.fromkeys(filter(None, (*suffixed, *candidates))):
        if name == home.name:
            continue
        sessions = _sessions(name, ts)
        other = _fit(ts, sessions, stamps)
        fewer = other.faults * 3 <= fit.faults
        absent = _ABSENT[0] if name in suffixed else _ABSENT[1]
        thin = other.outside == 0 and fit.outside > 2 and _expected(ts, home, sessions) >= absent
        if other.outside * BETTER <= fit.outside and (fewer or thin):
            if not other.faults:
                return name, other
            if best is None or other.faults < best[1].faults:
                best = name, other
    return best


def _expected(ts: Ints, home: Sessions, other: Sessions) -> float:
    """Return the expected number of bars on the days on which only `home` is open, at a symbol's density of bars."""
    within = home.days[(home.days >= ts.min() - DAY_NS) & (home.days <= ts.max())]
    return len(np.setdiff1d(within, other.days)) * len(ts) / max(len(within), 1)


def _early_days(columns: Sequence[int], reading: Reading) -> Iterator[Named]:
    """Yield the days of a market that never closes which do not begin with its day: they would be known too early."""
    for column in columns:
        home = reading.calendar_of(column)
        if home.name != calendars.ALWAYS_OPEN:
            continue
        ts, _ = reading.of(column)
        times, counts = np.unique(ts % DAY_NS, return_counts=True)
        if counts[times == 0].sum() * 2 >= len(ts):
            continue
        hour = str(np.datetime64(int(times[counts.argmax()]), "ns"))[11:16]
        text = (
            f"its days begin or end at {hour} UTC, and a day of {home.name} is from midnight to midnight UTC: "
            "the bars would be known hours early"
        )
        yield "day", reading.universe.symbols[column], text, (
            "give days that begin at midnight UTC (`quantd data fetch` has them from yfinance and from ccxt)",
            'or build days of shorter bars: a file of hours with [feed] build_from = "1h"',
        )  # fmt: skip


# intraday bars


def _edges(columns: Sequence[int], reading: Reading) -> Iterator[tuple[int, Named]]:
    """Yield the symbols whose stamps are the other end of their bars: opens read as closes, or closes as opens.

    A day's first bar opens with the session and its last one closes with it, so that stamps of opens have one at the
    open and none at the close. A close that is stamped by its open would be known one bar early. A market without a
    pause has no edges, and stamps of extended hours have both: neither shows anything.
    """
    length = reading.length
    for column in columns:
        ts, home = reading.of(column)
        if len(home.opens) < 2 or float(np.median(home.opens[1:] - home.closes[:-1])) < 2 * length:
            continue
        rows = np.unique(np.minimum(np.searchsorted(home.closes, ts), len(home.closes) - 1))
        rows = rows[(home.opens[rows] <= ts.max()) & (home.closes[rows] >= ts.min())]
        at_open = _stamped(ts, home.opens[rows] - length + 1, home.opens[rows])
        at_close = _stamped(ts, home.closes[rows], home.closes[rows] + length - 1)
        opens, closes, count = int(at_open.sum()), int(at_close.sum()), len(rows)
        early = opens >= max(1, _AT_EDGE * count) and closes <= _AT_OTHER_EDGE * count
        late = closes >= max(5, 0.9 * count) and not opens
        right: Stamps
        if reading.stamps == "close" and early:
            right, shown = "open", f"{opens} of {count} sessions have a stamp at the open, and {closes} at the close"
            harm = f"each bar would be known {interval_text(length)} before its close"
        elif reading.stamps == "open" and late:
            right, shown = "close", f"{closes} of {count} sessions have a stamp at the close, and none at the open"
            harm = f"each bar would be known {interval_text(length)} late"
        else:
            continue
        few = TOLERATED / BETTER * len(ts)
        if _outside(ts, home, replace(reading, stamps=right)) > few:
            continue  # another clock moves the edges too, and leaves bars outside
        moved = _moved(ts, reading.zone, home.zone) if reading.unzoned else ts
        if not np.array_equal(moved, ts) and _outside(moved, home, reading) <= few:
            continue  # hours of a clock one hour away are both, and the clock is right in winter too
        text = f'{shown}: its stamps are the {right}s of its bars, read as stamps = "{reading.stamps}"; {harm}'
        yield column, ("stamps", reading.universe.symbols[column], text, (_setting("feed", "stamps", right),))


def _stamped(ts: Ints, first: Ints, last: Ints) -> Bools:
    """bool[R], whether a stamp lies in each of R spans, both ends included; `ts` may have any order."""
    ordered = np.sort(ts)
    return np.searchsorted(ordered, last, side="right") > np.searchsorted(ordered, first)


def _hours(columns: Sequence[int], reading: Reading) -> Iterator[Named]:
    """Yield the intraday bars outside their calendar's hours that another clock or calendar holds."""
    last, fruitless = ("", ""), 0
    for column in columns:
        ts, home = reading.of(column)
        symbol = reading.universe.symbols[column]
        outside = _outside(ts, home, reading)
        suffixed = listed_calendar(symbol)
        named = [(suffixed, ""), *([(suffixed, _sessions(suffixed, ts).zone)] if suffixed and reading.unzoned else [])]
        first = [pair for pair in (last, *named) if any(pair) and pair[0] != home.name]
        best = _best_hours(ts, home, outside, reading, first, all_of_them=fruitless < _MOST_SEARCHES)
        if best is None:
            fruitless += 1
            continue
        (name, zone), last, fruitless = best, best, 0
        held = len(ts) - _outside(_moved(ts, reading.zone, zone), _sessions(name, ts) if name else home, reading)
        as_read = f"as {reading.zone}" if reading.zone else "as UTC" if reading.unzoned else "as they say"
        text = f"{len(ts) - outside:,} of {len(ts):,} bars lie inside sessions of {home.name} {as_read}; "
        text += f"{'all' if held == len(ts) else f'{held:,}'} fit {name or home.name}"
        remedies = _calendar(name) if name else ()
        if zone:
            own_clock = ", the exchange's own clock" if zone == (_sessions(name, ts) if name else home).zone else ""
            text += f" as {zone}{own_clock}"
            remedies = (*_zone_remedies(reading, zone), *remedies)
        yield "zone" if zone else "calendar", symbol, text, remedies


def _best_hours(
    ts: Ints, home: Sessions, outside: int, reading: Reading, first: Sequence[tuple[str, str]], *, all_of_them: bool
) -> tuple[str, str] | None:
    """Return (calendar, zone) that hold the bars outside `home`, empty where they stay; None without one."""
    best: tuple[int, float, str, str] | None = None
    for name, zone in dict.fromkeys((*first, *(_all_readings(ts, home, reading) if all_of_them else ()))):
        sessions = _sessions(name, ts) if name else home
        moved = _moved(ts, reading.zone, zone)
        other, covered = _outside(moved, sessions, reading), _covered(moved, sessions, reading)
        if other * BETTER > outside or (name and covered < _COVERED):
            continue
        if name and _at_noon(moved, sessions, reading) > TOLERATED * len(ts):
            continue
        if best is None or (other, -covered) < best[:2]:
            best = other, -covered, name, zone
        if not other and covered > (1 - TOLERATED if name else _COVERED):
            break  # the own calendar needs less than another
    if best is None:
        return ("", home.zone) if _moves_extended(ts, home, reading) else None
    return best[2:]


def _all_readings(ts: Ints, home: Sessions, reading: Reading) -> Iterator[tuple[str, str]]:
    """Yield the other readings, the likeliest first: another clock, another calendar, or both."""
    as_read = reading.zone or "UTC"
    for zone in (home.zone, *(ZONES if reading.unzoned else ())):
        if zone != as_read:
            yield "", zone
    for name in CALENDARS:
        if name == home.name:
            continue
        yield name, ""
        zone = _sessions(name, ts).zone
        if reading.unzoned and zone not in ("UTC", as_read):
            yield name, zone


def _outside(ts: Ints, sessions: Sessions, reading: Reading) -> int:
    return int(np.sum(~place(ts, sessions, reading.stamps, reading.length).inside))


def _at_noon(ts: Ints, sessions: Sessions, reading: Reading) -> int:
    """Return the number of bars within the break at noon of a calendar."""
    if (pause := _BREAKS.get(sessions.name)) is None:
        return 0
    placed = place(ts, sessions, reading.stamps, reading.length)
    row = np.minimum(np.searchsorted(sessions.days, placed.day), len(sessions.opens) - 1)
    since, until = ((at - sessions.opens[row]) // UNITS_NS["m"] for at in (placed.ts_open, placed.ts_event))
    return int(np.sum(placed.inside & (since >= pause[0]) & (until <= pause[1])))


def _covered(ts: Ints, sessions: Sessions, reading: Reading) -> float:
    """Return the share of the half hours of a session that have bars, or of sessions with one: the smaller of both.

    An exchange's break at noon has no bars, and leaves nothing uncovered.
    """
    placed = place(ts, sessions, reading.stamps, reading.length)
    if not placed.inside.any():
        return 0.0
    row = np.searchsorted(sessions.days, placed.day[placed.inside])
    part = np.unique((placed.ts_open[placed.inside] - sessions.opens[row]) // _PART_NS)
    unit = max(_PART_NS, reading.length)
    gaps = np.append(np.diff(part) * _PART_NS, unit)
    covered = np.where(gaps <= max(_BREAK_NS, unit), gaps, unit).sum() / np.median(sessions.closes - sessions.opens)
    rows = np.unique(row)
    return float(min(1.0, covered, len(rows) / (rows[-1] - rows[0] + 1)))


def _moves_extended(ts: Ints, home: Sessions, reading: Reading) -> bool:
    """Return whether bars of extended hours fit the exchange's own clock, and do not fit as they are read."""

    def beyond(stamps: Ints) -> float:
        begin = stamps if reading.stamps == "open" else stamps - reading.length
        row = np.minimum(np.searchsorted(home.closes + _AFTER_NS, begin, side="right"), len(home.days) - 1)
        return float(np.mean((begin < home.opens[row] - _BEFORE_NS) | (begin >= home.closes[row] + _AFTER_NS)))

    if home.zone == (reading.zone or "UTC"):
        return False
    as_read, moved = beyond(ts), beyond(_moved(ts, reading.zone, home.zone))
    return as_read > BETTER * TOLERATED and moved <= TOLERATED


def _moved(ts: Ints, was: str, to: str) -> Ints:
    """Return the instants at which the clock of `to` shows what that of `was` (empty: UTC) shows at `ts`."""
    if not to:
        return ts
    clock = pl.Series(ts).cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone(was or "UTC").dt.replace_time_zone(None)
    return nanoseconds(clock, to)


# words


def misfit_lines(readings: Sequence[Misfit]) -> list[str]:
    """Return wrong readings in words, then the settings that mend them."""
    remedies = list(dict.fromkeys(remedy for misfit in readings for remedy in misfit.remedies))
    heading = "the remedy" if len(remedies) == 1 else "the remedies"
    return [
        *listed([misfit.text for misfit in readings]),
        f"  {heading}:",
        *(f"  - {remedy}" for remedy in remedies[:MOST_LINES]),
    ]


def stopped(readings: Sequence[Misfit]) -> tuple[str, str]:
    """Return (what, remedy) of an error about bars that are all read wrongly."""
    remedies = dict.fromkeys(remedy for misfit in readings for remedy in misfit.remedies)
    return "; ".join(listed([misfit.text for misfit in readings])), "Write " + "; ".join(remedies)


def listed(texts: Sequence[str]) -> list[str]:
    """Return the first MOST_LINES texts, and the number of the others."""
    more = len(texts) - MOST_LINES
    return [*texts[:MOST_LINES], *([f"and {more:,} more"] if more > 0 else [])]


def _all(bars: int, fit: Fit) -> str:
    return f"all {bars:,}" if not fit.outside else f"{bars - fit.outside:,} of {bars:,}"


def _zone_remedies(reading: Reading, zone: str) -> tuple[str, ...]:
    if reading.unzoned:
        return (_setting("feed", "zone", zone),)
    return (f"the stamps carry a wrong offset: write them without it, and {_setting('feed', 'zone', zone)}",)


def _calendar(name: str) -> tuple[str, ...]:
    return (_setting("universe", "calendar", name),)


def _setting(section: str, key: str, value: str) -> str:
    """Return a setting as it is written in config.toml, for `quantd data check` and in Python."""
    python = f'settings={{"{section}.{key}": "{value}"}}'
    return f'[{section}] {key} = "{value}" (data check: --{key} {value}; Python: {python})'


def _sessions(name: str, ts: Ints) -> Sessions:
    """Return the sessions of a calendar around stamps; none where it cannot be built."""
    margin = timedelta(days=10)
    first, last = session_date(int(ts.min())) - margin, session_date(int(ts.max())) + margin
    try:
        return calendars.sessions(name, first, last, cache=calendars.shared_cache())
    except calendars.CalendarError:
        return Sessions(name, "UTC", (), (), ())
