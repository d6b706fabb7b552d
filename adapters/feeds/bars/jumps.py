"""Detection of implausible prices: bad prints and unannounced splits, distinguished from real crashes.

The thresholds were set on recorded markets: 26 years of stocks and funds, VIX and bitcoin. They must accept these real
moves: bitcoin -20 % in an hour (2020-03-12) and -8 % in three minutes (2023-08-17), AAPL -52 % and HIG +102 % in a day,
VIX +116 % (2018-02-05) and its spike of 2024-08-05. They must reject these recorded errors: AAPL at 184 with a low of
10.59 (2009-09-21), IWM at 75 with a high of 156.51 (2008-09-19).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from quantd.adapters.feeds.bars.stamps import UNITS_NS
from quantd.trading.events import Action
from quantd.trading.instruments import NANO
from quantd.trading.market import Bools, Floats, Ints
from quantd.trading.sessions import DAY_NS

WINDOW: Final = 63
"""Number of earlier bars that define the usual move."""

MOVE_SIGMAS: Final = 30.0
MOVE_FLOOR: Final = 0.35
MOVE_CAP: Final = 1.25
"""Bounds of a close's move in logs, in robust standard deviations.

A move below the floor always passes, and a move above the cap (x 3.5, or -71 %) never does.
"""

REACH_SIGMAS: Final = 30.0
REACH_FLOOR: Final = 0.30
REACH_CAP: Final = 1.0
"""The same bounds for the reach of open, high and low beyond the two closes."""

RETURN_AFTER: Final = 3
"""A level that lasts this many bars is accepted: a takeover bid persists, a bad print does not."""

GAP_NS: Final = 10 * DAY_NS
"""After a longer gap, the usual price is unknown."""

SPLITS: Final = np.log(np.array([1.5, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 100]))
SPLIT_MARGIN: Final = (0.02, 0.08)
"""Tolerance between an open and a split ratio, in logs: 1.5 standard deviations within these bounds."""

SPLIT_SIGMAS: Final = 5.0
"""Minimum move of a split candidate in standard deviations: a volatile instrument may move by a third at an open."""

SPLIT_VOLUME: Final = 2.5
"""Maximum relative volume of a split candidate, because a split does not change the traded value.

AAPL's fall of 2000-09-29, to 0.526 of the close, came with ten times the usual volume.
"""


@dataclass(frozen=True, slots=True)
class Series:
    """R bars, symbol after symbol, each in time order; [R] columns, `ts_event` in ns UTC."""

    column: Ints
    ts_event: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats


def previous_closes(bars: Series, actions: Sequence[Action]) -> tuple[Floats, Bools]:
    """Return float64[R], the close before each bar after announced actions, and bool[R], bars after an announced split.

    The close is NaN at a symbol's first bar. A split of 1:1 changes no price and marks a human check: that bar is not
    compared (NaN).
    """
    previous = np.full(len(bars.close), np.nan)
    previous[1:] = np.where(bars.column[1:] == bars.column[:-1], bars.close[:-1], np.nan)
    announced = np.zeros(len(previous), dtype=np.bool_)
    for action in actions:
        start, stop = np.searchsorted(bars.column, [action.symbol, action.symbol + 1]).tolist()
        at = start + int(np.searchsorted(bars.ts_event[start:stop], action.ts, side="right"))
        if at in (start, stop):
            continue
        if action.kind == "dividend":
            left = previous[at] - action.cash_nano / NANO
            previous[at] = left if left > 0 else np.nan
            continue
        announced[at] = True
        previous[at] *= np.nan if action.numerator == action.denominator else action.denominator / action.numerator
    return previous, announced


@dataclass(frozen=True, slots=True)
class _Found:
    """The comparison of one suspicious bar with the bars before it.

    Its close moved by `move`, of which `limit` is plausible. `reaches` marks an implausible open, high or low, and
    `split` an open like that of a split.
    """

    row: int
    move: float
    limit: float
    moved: bool
    reaches: bool
    split: bool


def jumps(bars: Series, actions: Sequence[Action], interval: int) -> tuple[Bools, Bools]:
    """Return bool[R] spikes and bool[R] unannounced splits. `interval` is in ns.

    Bars after a spike are rejected until the price returns, or the new level has lasted RETURN_AFTER bars. After an
    apparent split, every bar is rejected until the price jumps back or an action is announced, because lots and stops
    would be wrong.
    """
    spike, split = np.zeros(len(bars.close), dtype=np.bool_), np.zeros(len(bars.close), dtype=np.bool_)
    previous, announced = previous_closes(bars, actions)
    with np.errstate(divide="ignore", invalid="ignore"):
        move = np.log(bars.close / previous)
        top, bottom = np.fmax(previous, bars.close), np.fmin(previous, bars.close)
        reach = np.maximum(
            np.log(np.maximum(bars.open, bars.high) / top), np.log(bottom / np.minimum(bars.open, bars.low))
        )
        gap = np.log(bars.open / previous)
    shrink = min(1.0, interval / DAY_NS) ** (1 / 6)
    smallest = SPLITS[0] - SPLIT_MARGIN[1]
    looked_at = (np.abs(move) > MOVE_FLOOR * shrink) | (reach > REACH_FLOOR * shrink) | (np.abs(gap) > smallest)
    candidates = np.flatnonzero(looked_at | announced)
    symbol = bars.column[candidates]
    starts, stops = np.searchsorted(bars.column, symbol), np.searchsorted(bars.column, symbol, side="right")
    found = [
        _examine(bars, k, start, move, reach, gap, interval)
        for k, start in zip(candidates.tolist(), starts.tolist(), strict=True)
    ]
    for first in np.unique(starts).tolist():
        mine = np.flatnonzero(starts == first)
        _follow(bars, previous, announced, [found[m] for m in mine], int(stops[mine[0]]), spike, split)
    return spike, split


def _examine(bars: Series, k: int, start: int, move: Floats, reach: Floats, gap: Floats, interval: int) -> _Found:
    """Compare one bar with the WINDOW bars before it."""
    silence = int(bars.ts_event[k] - bars.ts_event[k - 1]) if k > start else 0
    before = np.abs(move[max(start + 1, k - WINDOW) : k])
    # 1.4826 x the median absolute value is the standard deviation of a normal (Hampel, 1974)
    sigma = 1.4826 * float(np.nanmedian(before)) if len(before) >= 10 and not np.isnan(before).all() else np.nan
    bar = 4 * DAY_NS if interval == DAY_NS else interval  # a long weekend is one step of daily bars
    steps = max(1.0, silence / bar)
    sigma *= steps**0.5
    shrink = min(1.0, max(interval, silence) / DAY_NS) ** (1 / 6)

    def limit(sigmas: float, floor: float, cap: float) -> float:
        return cap if np.isnan(sigma) else min(cap, max(floor * shrink, sigmas * sigma))

    new_session = interval == DAY_NS or silence > interval
    known = k > start and silence <= GAP_NS
    most = limit(MOVE_SIGMAS, MOVE_FLOOR, MOVE_CAP)
    return _Found(
        row=k,
        move=float(move[k]),
        limit=most,
        moved=known and bool(abs(move[k]) > most),
        reaches=bool(reach[k] > limit(REACH_SIGMAS, REACH_FLOOR, REACH_CAP)),
        split=known and new_session and _like_a_split(bars, k, start, float(gap[k]), float(move[k]), sigma),
    )


def _like_a_split(bars: Series, k: int, start: int, gap: float, move: float, sigma: float) -> bool:
    if np.isnan(gap) or not abs(gap) > SPLIT_SIGMAS * sigma:  # also false while the usual move is unknown
        return False
    nearest = float(SPLITS[np.argmin(np.abs(SPLITS - abs(gap)))])
    margin = float(np.clip(1.5 * sigma, *SPLIT_MARGIN))
    stays = abs(move - np.sign(gap) * nearest) < 2 * SPLIT_MARGIN[1]
    if abs(abs(gap) - nearest) > margin or not stays:
        return False
    usual = float(np.median(bars.volume[max(start, k - WINDOW) : k]))
    shares = np.exp(nearest) if gap < 0 else np.exp(-nearest)
    return bool(0 < bars.volume[k] <= SPLIT_VOLUME * shares * usual)  # an index has no volume, and no splits


def _follow(
    bars: Series, previous: Floats, announced: Bools, found: list[_Found], stop: int, spike: Bools, split: Bools
) -> None:
    """Process one symbol's suspicious bars. Every bar between two of them agrees with its predecessor."""
    away, like_split, since, reference = False, False, 0, np.nan
    for it, following in zip(found, [*(f.row for f in found[1:]), stop], strict=True):
        k, jump = it.row, it.moved or it.split
        if announced[k]:
            reference *= previous[k] / bars.close[k - 1]
            away = away and not np.isnan(reference)  # a 1:1 split marks a human check
        if away and _is_back(bars, it, reference):
            away = False
        elif jump:
            like_split = it.split or (away and like_split)
            reference = reference if away else float(previous[k])
            away, since = True, k
        elif it.reaches and not away:
            spike[k] = True
        if away and like_split:
            split[k:following] = True
        elif away:
            believed = since + RETURN_AFTER - 1
            spike[k : min(following, believed)] = True
            away = following < believed


def _is_back(bars: Series, it: _Found, reference: float) -> bool:
    """Whether this bar returned most of the way to the last accepted close."""
    level = bars.close[it.row - 1]
    return bool(
        abs(np.log(bars.close[it.row] / reference)) <= it.limit and abs(it.move) > abs(np.log(level / reference)) / 2
    )


def huge_volume(column: Ints, volume: Floats, interval: int) -> Bools:
    """Return bool[R]: volumes above 100 times the maximum of the WINDOW bars before (1,000 times for intraday bars).

    Thin intraday markets have long quiet periods. The largest real volumes are 27 times the maximum.
    """
    most = 100.0 if interval >= 12 * UNITS_NS["h"] else 1000.0
    out = np.zeros(len(volume), dtype=np.bool_)
    while True:
        # a rejected volume is no reference for the next one, so the check repeats without it
        frame = pl.DataFrame({"c": column, "v": np.where(out, np.nan, volume)}).with_columns(pl.col("v").fill_nan(None))
        before = pl.col("v").shift(1).rolling_max(WINDOW, min_samples=20).over("c")
        usual: Floats = frame.select(before.fill_null(float("nan"))).to_series().to_numpy()
        found = (usual > 0) & (volume > most * usual) | out
        if np.array_equal(found, out):
            return out
        out = found
