"""Checks on every bar before it is used. A bad bar is quarantined with its reason, never repaired or replaced.

A bar is *impossible* (low above high, not a number, zero or below, out of order) or *suspicious*: its price is out of
all proportion (SPIKE). Prices alone cannot tell a bad print from a real crash, so a suspicious bar is marked, and a
person or [feed] spikes decides whether it is used. Two kinds of bars are rejected whatever the answer: a volume a
hundred times the earlier maximum, which would fill any order, and a bar that repeats the bars before it to the last
digit, which has no new price. Neither rejection removes a move of the market.

A jump that looks like a split is reported, and its bar is good. Every check uses earlier bars only. A filter that uses
tomorrow's bar to reject today's is look-ahead.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.adapters.feeds.bars.announced_actions import ActionFault, action_faults
from quantd.adapters.feeds.bars.jumps import Series, Shift, examine, huge_volume
from quantd.adapters.feeds.bars.rows import NO_STAMP, Rows
from quantd.adapters.feeds.bars.stamps import BarTimes
from quantd.trading.events import Action
from quantd.trading.execution import MOST
from quantd.trading.market import Bools, Floats, Jump
from quantd.trading.sessions import DAY_NS


class Reason(IntEnum):
    """The reason for which a bar is quarantined. If several apply, the smallest value counts."""

    GOOD = 0
    STAMP = 1
    NAN = 2
    INFINITE = 3
    NON_POSITIVE = 4
    VOLUME = 5
    CROSSED = 6
    SESSION = 7
    FUTURE = 8
    OUT_OF_ORDER = 9
    DUPLICATE = 10
    STALE = 11
    SPIKE = 12


REASON_TEXT: Final = {
    Reason.GOOD: "nothing is wrong with it",
    Reason.STAMP: "its stamp cannot be read",
    Reason.NAN: "a price or the volume is missing or not a number",
    Reason.INFINITE: "a price or the volume is infinite",
    Reason.NON_POSITIVE: "a price is zero, negative or too large to be counted in nano-units",
    Reason.VOLUME: "the volume is negative or beyond belief",
    Reason.CROSSED: "high and low do not contain open and close",
    Reason.SESSION: "its stamp lies in no session of its calendar",
    Reason.FUTURE: "it is stamped later than now",
    Reason.OUT_OF_ORDER: "its stamp is out of order",
    Reason.DUPLICATE: "there is already a bar of this symbol and time",
    Reason.STALE: "it repeats the bars before it unchanged",
    Reason.SPIKE: "its price is out of all proportion to the bars before it",
}


class BadBar(Struct, frozen=True):
    """A quarantined bar.

    `ts` is the bar's stamp in the file and `ts_event` the time at which the bar would have been known, ns UTC. `reason`
    is a Reason's name in lower case. Prices and volume are as read, NaN where the file has no number.
    """

    ts: int
    ts_event: int
    symbol: str
    reason: str
    open: float
    high: float
    low: float
    close: float
    volume: float


CROSSED_TOLERANCE: Final = 1e-6
"""Relative tolerance: adjusted prices of one bar are rounded separately, at the sixth digit."""

STALE_AFTER: Final = 3
"""A run of repeated bars is stale from its third repetition on."""

Reasons = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Checked:
    """The verdict on R bars: `reason` int8[R] is the Reason of each, `jumps` are the apparent splits, in order of time.

    `shifts` are the other changes of the price level that no action explains; their `rows` are indices among the R
    bars. `faults` are the splits and dividends that the prices do not show.
    """

    reason: Reasons
    jumps: tuple[Jump, ...] = ()
    shifts: tuple[Shift, ...] = ()
    faults: tuple[ActionFault, ...] = ()


MOST_AT_ONCE: Final = 500_000
"""Most bars that are checked at once, because the checks take several times the memory of the bars."""


def judge(
    rows: Rows,
    placed: BarTimes,
    interval: int,
    actions: Sequence[Action] = (),
    now: int | None = None,
) -> Checked:
    """Check bars; each verdict depends on that bar and earlier ones of its symbol only.

    `rows` are in file order, `actions` in time order, `interval` is in ns; 1 means trades, which may share an instant,
    repeat a price and come in any order. Bars known after `now` (ns) are in the future; None omits this check. More
    than MOST_AT_ONCE bars are checked by groups of symbols.
    """
    if len(rows) <= MOST_AT_ONCE:
        return _judge(rows, placed, interval, actions, now)
    group_of = ((np.cumsum(np.bincount(rows.column)) - 1) // MOST_AT_ONCE).astype(np.int32)  # of each symbol
    group = group_of[rows.column]
    reason = np.zeros(len(rows), dtype=np.int8)
    jumps, shifts, faults = list[Jump](), list[Shift](), list[ActionFault]()
    for number in np.unique(group_of).tolist():
        which = np.flatnonzero(group == number)
        of_group = [action for action in actions if action.symbol < len(group_of) and group_of[action.symbol] == number]
        checked = _judge(rows.take(which), placed.take(which), interval, of_group, now)
        reason[which] = checked.reason
        jumps += checked.jumps
        shifts += (replace(shift, rows=tuple(which[list(shift.rows)].tolist())) for shift in checked.shifts)
        faults += checked.faults
    jumps.sort(key=lambda jump: (jump.ts, jump.symbol))
    shifts.sort(key=lambda shift: (shift.jump.ts, shift.jump.symbol))
    return Checked(reason, tuple(jumps), tuple(shifts), tuple(faults))


def _judge(rows: Rows, placed: BarTimes, interval: int, actions: Sequence[Action], now: int | None) -> Checked:
    """Check bars at once, as `judge`."""
    reason = np.zeros(len(rows), dtype=np.int8)

    def mark(bad: Bools, why: Reason) -> None:
        reason[bad & (reason == Reason.GOOD)] = why  # the first reason stays

    columns = (rows.open, rows.high, rows.low, rows.close, rows.volume)
    mark(rows.ts == NO_STAMP, Reason.STAMP)
    mark(np.logical_or.reduce([np.isnan(column) for column in columns]), Reason.NAN)
    mark(np.logical_or.reduce([np.isinf(column) for column in columns]), Reason.INFINITE)
    mark(np.logical_or.reduce([column <= 0 for column in columns[:4]]), Reason.NON_POSITIVE)
    for nano in (rows.open_nano, rows.close_nano):
        mark((nano <= 0) | (nano > MOST), Reason.NON_POSITIVE)  # below 1e-9, or above 4.6e9: beyond the ledger
    mark(rows.volume < 0, Reason.VOLUME)
    mark(_crossed(rows), Reason.CROSSED)
    mark(~placed.inside, Reason.SESSION)
    if now is not None:
        mark(placed.ts_event > now, Reason.FUTURE)
    if interval == 1:  # trades: the checks below assume bars in order
        return Checked(reason)
    mark(_out_of_order(rows, reason == Reason.GOOD), Reason.OUT_OF_ORDER)

    order, bars = _series(rows, placed, reason)
    for check in (_unrepeated, _stale, _volume):
        reason[order] = verdicts = check(bars, interval)
        if verdicts.any():
            del bars  # before the next is made: one is 70 MB at 500 symbols and 2,500 bars
            order, bars = _series(rows, placed, reason)
    spike, jumps, shifts = examine(bars, actions, interval)
    reason[order[spike]] = Reason.SPIKE
    numbered = tuple(replace(shift, rows=tuple(order[list(shift.rows)].tolist())) for shift in shifts)
    return Checked(reason, tuple(jumps), numbered, tuple(action_faults(bars, actions, jumps, shifts)))


def _series(rows: Rows, placed: BarTimes, reason: Reasons) -> tuple[NDArray[np.intp], Series]:
    """Return the indices of the good bars in `rows`, symbol by symbol in time order, and these bars."""
    good = np.flatnonzero(reason == Reason.GOOD)
    column, event = rows.column[good], placed.ts_event[good]
    if np.any((np.diff(column) < 0) | ((np.diff(column) == 0) & (np.diff(event) < 0))):
        good = good[np.lexsort((event, column))]
    prices = (rows.open[good], rows.high[good], rows.low[good], rows.close[good])
    return good, Series(rows.column[good], placed.ts_open[good], placed.ts_event[good], *prices, rows.volume[good])


def _crossed(rows: Rows) -> Bools:
    slack: Floats = np.abs(rows.close) * CROSSED_TOLERANCE
    top, bottom = np.maximum(rows.open, rows.close), np.minimum(rows.open, rows.close)
    return (rows.high + slack < top) | (rows.low - slack > bottom)


def _out_of_order(rows: Rows, good: Bools) -> Bools:
    """Return bool[R], True for the fewest bars without which each symbol's stamps ascend within each file."""
    good_rows = np.flatnonzero(good)
    # one number for each symbol in each file
    file_group = rows.column[good_rows] * (int(rows.source.max(initial=0)) + 1) + rows.source[good_rows]
    order = np.argsort(file_group, kind="stable")
    good_rows, file_group = good_rows[order], file_group[order]
    ts = rows.ts[good_rows]
    falls = (np.diff(ts) < 0) & (np.diff(file_group) == 0)
    out_of_order = np.zeros(len(rows), dtype=np.bool_)
    for group in np.unique(file_group[1:][falls]).tolist():
        start, stop = np.searchsorted(file_group, [group, group + 1])
        out_of_order[good_rows[start:stop]] = ~_longest_rise(ts[start:stop].tolist())
    return out_of_order


def _longest_rise(values: list[int]) -> Bools:
    """Return bool[n], True for the values of a longest non-decreasing subsequence (patience sorting: Aldous and
    Diaconis, 1999).

    A rise is such a subsequence. `tops` has the smallest last value of a rise of each length, from 1, and `top_at` the
    index of that value. `previous_at` has, for each value, the index of its predecessor in its rise, -1 for the first.
    """
    tops: list[int] = []
    top_at: list[int] = []
    previous_at: list[int] = []
    for k, value in enumerate(values):
        pile = bisect_right(tops, value)
        previous_at.append(top_at[pile - 1] if pile else -1)
        if pile == len(tops):
            tops.append(value)
            top_at.append(k)
        else:
            tops[pile], top_at[pile] = value, k
    in_rise = np.zeros(len(values), dtype=np.bool_)
    k = top_at[-1]
    while k >= 0:
        in_rise[k] = True
        k = previous_at[k]
    return in_rise


def _unrepeated(bars: Series, interval: int) -> Reasons:
    repeated = np.zeros(len(bars.close), dtype=np.bool_)
    repeated[1:] = (bars.ts_event[1:] == bars.ts_event[:-1]) & (bars.column[1:] == bars.column[:-1])
    return np.where(repeated, Reason.DUPLICATE, Reason.GOOD).astype(np.int8)


def _stale(bars: Series, interval: int) -> Reasons:
    columns = (bars.column, bars.open, bars.high, bars.low, bars.close, bars.volume)
    same = np.zeros(len(bars.close), dtype=np.bool_)
    same[1:] = np.logical_and.reduce([c[1:] == c[:-1] for c in columns])
    quiet = ~(bars.volume > 0) & (bars.high == bars.low)
    # an illiquid share that has traded before has such days; without any volume the same days may be a dead feed
    row = np.arange(len(same))
    first_row = np.maximum.accumulate(np.where(np.diff(bars.column, prepend=-1) != 0, row, 0))
    traded_before = np.maximum.accumulate(np.where(bars.volume > 0, row, -1)) >= first_row
    same &= ~quiet | ((interval == DAY_NS) & ~traded_before)  # intraday bars may have no trades at all
    repetitions = np.arange(len(same)) - np.maximum.accumulate(np.where(same, 0, np.arange(len(same))))
    return np.where(repetitions >= STALE_AFTER, Reason.STALE, Reason.GOOD).astype(np.int8)


def _volume(bars: Series, interval: int) -> Reasons:
    huge = huge_volume(bars.column, bars.volume, bars.close, interval)
    return np.where(huge, Reason.VOLUME, Reason.GOOD).astype(np.int8)
