"""Evidence that intraday bars have the clock, calendar and end of bar with which a run reads them.

A clock of the symbol's own calendar is tried before any other calendar, and bars that a vendor adds up to the usual
close of a half day prove nothing. If only a calendar fits that the symbol's spelling does not name, the times alone do
not decide: New York's padded half days fit Toronto. Such a finding has all its answers side by side.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from quantd.adapters.feeds.bars.stamps import UNITS_NS, Stamps, place
from quantd.adapters.feeds.recorded.misfit import Named, setting
from quantd.adapters.feeds.recorded.reading import (
    BETTER,
    CALENDARS,
    MOST_SEARCHES,
    TOLERATED,
    ZONES,
    Reading,
    calendar_answers,
    read_in_zone,
    sessions_around,
)
from quantd.trading.instruments import calendar_of, listed_calendar
from quantd.trading.market import Bools, Ints
from quantd.trading.sessions import Sessions, interval_text

_COVERED, _PART_NS = 0.85, 30 * UNITS_NS["m"]
"""Share of a calendar's session that intraday bars have to cover, by half hours, for the calendar to be theirs."""

_BREAK_NS: Final = 5 * UNITS_NS["h"] // 2
"""Longest distance between bars that counts as a break at noon: Shanghai pauses for 90 minutes, Hong Kong for 60."""

_BREAKS: Final = {"XSHG": (120, 210), "XHKG": (150, 210), "XTKS": (150, 210)}
"""Calendar -> (start, end) of its break at noon, in minutes after the open. A bar inside the break proves another
calendar: without this check, part of a New York session would fill a session in Shanghai."""

_AT_EDGE: Final = 0.5
_AT_OTHER_EDGE: Final = 0.05
"""Stamps are opens if at least _AT_EDGE of the sessions have one at the open and at most _AT_OTHER_EDGE at the close.

A thin symbol lacks some first bars. The opposite error, closes that are read as opens, does less harm (bars are known
late) and needs more evidence: a stamp at the close of nine sessions in ten, of five at least, and none at an open.
"""

_BEFORE_NS: Final = 11 * UNITS_NS["h"] // 2
_AFTER_NS: Final = 4 * UNITS_NS["h"]
"""Extended hours of the American exchanges, before the open and after the close."""


def wrong_edges(columns: Sequence[int], reading: Reading) -> Iterator[tuple[int, Named]]:
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
        zoned_ts = read_in_zone(ts, reading.zone, own_calendar.zone) if reading.unzoned else ts
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


def intraday_misfits(columns: Sequence[int], reading: Reading) -> Iterator[Named]:
    """Yield the symbols whose intraday bars are outside their calendar's hours, but fit another clock or calendar."""
    last_result, fruitless = ("", ""), 0
    for column in columns:
        ts, own_calendar = reading.of(column)
        symbol = reading.universe.symbols[column]
        outside = _outside(ts, own_calendar, reading)
        few = outside <= TOLERATED * len(ts)  # all others are padding after half days
        if not outside or (few and not (reading.unzoned and fruitless < MOST_SEARCHES)):
            continue
        # a result is (calendar, clock), empty where the present one stays
        suffix_calendar = listed_calendar(symbol)
        suffix_results = [(suffix_calendar, "")]
        if suffix_calendar and reading.unzoned:
            suffix_results.append((suffix_calendar, sessions_around(suffix_calendar, ts).zone))
        likely = [pair for pair in (*suffix_results, last_result) if any(pair) and pair[0] != own_calendar.name]
        home, try_all = calendar_of(symbol), fruitless < MOST_SEARCHES
        own, other = _best_hours(ts, own_calendar, outside, reading, likely, home=home, try_all=try_all)
        if few and (other or own is None or _outside(read_in_zone(ts, reading.zone, own[1]), own_calendar, reading)):
            own = other = None  # few bars need an explanation only where another clock leaves none of them
        if own is None and other is None:
            fruitless += 1
            continue
        last_result, fruitless = own or other or last_result, 0
        texts, remedies = [], list[str]()
        for name, zone in filter(None, (own, other)):
            sessions = sessions_around(name, ts) if name else own_calendar
            inside_count = len(ts) - _outside(read_in_zone(ts, reading.zone, zone), sessions, reading)
            clock = f" as {zone}" + (", the exchange's own clock" if zone == sessions.zone else "") if zone else ""
            texts.append(f"{'all' if inside_count == len(ts) else f'{inside_count:,}'} fit {sessions.name}{clock}")
            remedies += _zone_remedies(reading, zone) if zone else ()
            remedies += calendar_answers(column, name, reading) if name else ()
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
    """Return the best of some readings and the share of its sessions that the bars cover; (None, 0) without one.

    A clock is better if it leaves fewer bars outside with stamps at either edge of the bars: which edge it is, is
    judged only after the clock.
    """
    best: tuple[int, int, float, str, str] | None = None
    other_edge = replace(reading, stamps="close" if reading.stamps == "open" else "open")
    for name, zone in pairs:
        sessions = sessions_around(name, ts) if name else own_calendar
        zoned_ts = read_in_zone(ts, reading.zone, zone)
        still_outside, covered = _outside(zoned_ts, sessions, reading), _covered(zoned_ts, sessions, reading)
        if still_outside * BETTER > outside or (name and covered < _COVERED):
            continue
        if name and _at_noon(zoned_ts, sessions, reading) > TOLERATED * len(ts):  # bars in its break at noon
            continue
        least = still_outside and min(still_outside, _outside(zoned_ts, sessions, other_edge))
        if best is None or (least, still_outside, -covered) < best[:3]:
            best = least, still_outside, -covered, name, zone
        if not still_outside and covered > (1 - TOLERATED if name else _COVERED):
            break  # another calendar has to cover more of its sessions than the present one
    return (None, 0.0) if best is None else (best[3:], -best[2])


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
        zone = sessions_around(name, ts).zone
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
    as_read, on_own_clock = share_beyond(ts), share_beyond(read_in_zone(ts, reading.zone, own_calendar.zone))
    return as_read > BETTER * TOLERATED and on_own_clock <= TOLERATED


def _zone_remedies(reading: Reading, zone: str) -> tuple[str, ...]:
    if reading.unzoned:
        return (setting("feed", zone=zone),)
    return (f"the stamps carry a wrong offset: write them without it, and {setting('feed', zone=zone)}",)
