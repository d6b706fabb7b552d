"""Evidence that bars have the interval, clock, calendar and unit of price with which a run reads them.

A wrong reading ends in a finished backtest with a wrong number: a close seen hours early, or two thirds of the bars
left out as lying outside trading hours. A check of the share of bars outside sessions alone would stop sound files with
extended hours or stray bars on a holiday. Here a reading is wrong only if bars lie in no session and another reading
explains the data better: with another calendar or clock these bars are inside sessions, and no more sessions lack a
bar. So every stop names a remedy. Spacing is checked first: bars of another length fit no session.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, get_args

import numpy as np

from quantd.adapters import calendars
from quantd.adapters.feeds.bars.rows import NO_STAMP, PRICES
from quantd.adapters.feeds.bars.spacing import Spacing, wrong_spacings
from quantd.adapters.feeds.bars.stamps import Stamps
from quantd.adapters.feeds.recorded.intraday_evidence import intraday_misfits, wrong_edges
from quantd.adapters.feeds.recorded.misfit import Misfit, Named, evident_misfits, grouped, setting
from quantd.adapters.feeds.recorded.reading import (
    BETTER,
    CALENDARS,
    MOST_SEARCHES,
    TOLERATED,
    Fit,
    Reading,
    calendar_answers,
    read_in_zone,
    sessions_around,
)
from quantd.trading.instruments import listed_calendar
from quantd.trading.market import Ints
from quantd.trading.sessions import DAY_NS, Sessions, interval_text

_ABSENT: Final = (2.0, 6.0)
"""How many expected bars a thin symbol must lack, on days on which only its present calendar is open, to prove another:
the calendar of its suffix, or any other. One of 400 markets lacks six by chance (exp(-6))."""

_LEAST_BARS: Final = 5
"""Fewest bars of a symbol that can prove another calendar or clock."""


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
        edges = dict(wrong_edges([k for k in range(universe.size) if k not in settled and total[k]], reading))
        settled |= set(edges)
        symbol_faults += edges.values()
    columns = [k for k in np.flatnonzero(suspects & (total >= _LEAST_BARS)).tolist() if k not in settled]
    symbol_faults += _daily_misfits(columns, reading) if daily else intraday_misfits(columns, reading)
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


def _daily_misfits(columns: Sequence[int], reading: Reading) -> Iterator[Named]:
    """Yield the symbols whose daily bars lie in no session as read, but fit other stamps or another calendar."""
    last_calendar, fruitless = "", 0
    for column in columns:
        ts, own_calendar = reading.of(column)
        symbol, own_fit = reading.universe.symbols[column], reading.fit(ts, own_calendar, reading.stamps)
        outside_text = f"{own_fit.outside:,} bars lie on no session of {own_calendar.name}"
        if edge := _edge_of_sessions(ts, own_calendar, reading):
            text = f"{outside_text}; all {len(ts):,} are at {edge}s of its sessions as {own_calendar.zone}"
            yield "zone", symbol, text, (setting("feed", zone=own_calendar.zone, stamps=edge),)
            continue
        for stamps in get_args(Stamps):
            other_fit = reading.fit(ts, own_calendar, stamps)
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
            candidates = CALENDARS if fruitless < MOST_SEARCHES else ()  # a search of all takes long
            best = _best_calendar(
                ts, own_calendar, own_fit, reading, (last_calendar, listed_calendar(symbol)), candidates
            )
            if best is None:
                fruitless += 1
                continue
            last_calendar, fruitless = best[0], 0
            text = f"{outside_text}; {_count_of(len(ts), best[1])} fit {last_calendar}"
            yield "calendar", symbol, text, calendar_answers(column, last_calendar, reading)


def _edge_of_sessions(ts: Ints, own_calendar: Sessions, reading: Reading) -> Stamps | None:
    """Return "open" or "close" if daily stamps without an offset are that of sessions on the exchange's own clock, and
    no meaning fits all as they are read; else None."""
    if reading.zone or own_calendar.zone == "UTC" or not reading.unzoned:
        return None
    instants = read_in_zone(ts, "", own_calendar.zone)
    at_close, at_open = (np.isin(instants, edges).all() for edges in (own_calendar.closes, own_calendar.opens))
    if (at_close or at_open) and all(reading.fit(ts, own_calendar, stamps).outside for stamps in get_args(Stamps)):
        return "close" if at_close else "open"
    return None


def _best_calendar(
    ts: Ints,
    own_calendar: Sessions,
    own_fit: Fit,
    reading: Reading,
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
        sessions = sessions_around(name, ts)
        other_fit = reading.fit(ts, sessions, reading.stamps)
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
        dated = reading.stamps == "session" and not reading.fit(ts, own_calendar, "session").outside
        if dated or counts[times == 0].sum() * 2 >= len(ts):
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


def _count_of(bars: int, fit: Fit) -> str:
    return f"all {bars:,}" if not fit.outside else f"{bars - fit.outside:,} of {bars:,}"
