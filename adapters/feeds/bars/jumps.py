"""Detection of bad prints, which are rejected, and of jumps that look like a split, which are reported.

The thresholds were set on recorded markets: 26 years of stocks and funds, VIX and bitcoin. They must accept these real
moves: bitcoin -20 % in an hour (2020-03-12) and -8 % in three minutes (2023-08-17), AAPL -52 % and HIG +102 % in a day,
VIX +116 % (2018-02-05) and its spike of 2024-08-05. They must reject these recorded errors: AAPL at 184 with a low of
10.59 (2009-09-21), IWM at 75 with a high of 156.51 (2008-09-19).

Prices alone cannot tell a split from a real move of the same size: NFLX opened at 0.63 of its close on 2011-10-25. A
jump therefore rejects no bar. A person decides what it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
import polars as pl

from quantd.adapters.feeds.bars.rows import exact_nano
from quantd.adapters.feeds.bars.stamps import UNITS_NS
from quantd.trading.events import Action
from quantd.trading.instruments import NANO
from quantd.trading.market import Bools, Floats, Ints, Jump
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

RATIOS: Final = (Fraction(3, 2), *map(Fraction, (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 100)))
SPLITS: Final = np.log(np.array([float(ratio) for ratio in RATIOS]))
"""The usual ratios of splits, and their logs."""

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
    """R bars, symbol after symbol, each in time order; [R] columns, `ts_open` and `ts_event` in ns UTC."""

    column: Ints
    ts_open: Ints
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

    Its close moved by `move`, of which `limit` is plausible. `reaches` marks an implausible open, high or low. `sigma`
    is the usual move, `usual` the usual volume; `opens` marks the first bar of a session after a short gap, where a
    split takes effect.
    """

    row: int
    move: float
    limit: float
    moved: bool
    reaches: bool
    opens: bool
    sigma: float
    usual: float


def examine(bars: Series, actions: Sequence[Action], interval: int) -> tuple[Bools, list[Jump]]:
    """Return bool[R] spikes, and the jumps that look like a split no action announces. `interval` is in ns.

    Bars after a spike are rejected until the price returns, or the new level has lasted RETURN_AFTER bars. A jump
    rejects no bar. Each verdict depends on that bar and earlier ones only.
    """
    spike = np.zeros(len(bars.close), dtype=np.bool_)
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
        _compared(bars, k, start, move, reach, interval)
        for k, start in zip(candidates.tolist(), starts.tolist(), strict=True)
    ]
    jumps: list[Jump] = []
    for first in np.unique(starts).tolist():
        mine = np.flatnonzero(starts == first)
        jumps += _follow(bars, previous, announced, [found[m] for m in mine], int(stops[mine[0]]), spike)
    return spike, sorted(jumps, key=lambda jump: (jump.ts, jump.symbol))


def _compared(bars: Series, k: int, start: int, move: Floats, reach: Floats, interval: int) -> _Found:
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
        opens=known and new_session,
        sigma=sigma,
        usual=float(np.median(bars.volume[max(start, k - WINDOW) : k])) if k > start else np.nan,
    )


def _jump(bars: Series, it: _Found, reference: float) -> Jump | None:
    """Return the jump from the last accepted close to this bar if it looks like a split, else None."""
    k = it.row
    if not it.opens or not reference > 0:
        return None
    gap, move = float(np.log(bars.open[k] / reference)), float(np.log(bars.close[k] / reference))
    if not abs(gap) > SPLIT_SIGMAS * it.sigma:  # also false while the usual move is unknown
        return None
    at = int(np.argmin(np.abs(SPLITS - abs(gap))))
    nearest, ratio = float(SPLITS[at]), RATIOS[at] if gap < 0 else 1 / RATIOS[at]
    margin = float(np.clip(1.5 * it.sigma, *SPLIT_MARGIN))
    stays = abs(move - np.sign(gap) * nearest) < 2 * SPLIT_MARGIN[1]
    shares = float(ratio)
    # an index has no volume, and no splits
    if abs(abs(gap) - nearest) > margin or not stays or not 0 < bars.volume[k] <= SPLIT_VOLUME * shares * it.usual:
        return None
    before, after = exact_nano(np.array([reference, bars.open[k]])).tolist()
    return Jump(
        ts=int(bars.ts_event[k]), ts_open=int(bars.ts_open[k]), symbol=int(bars.column[k]), before_nano=before,
        after_nano=after, numerator=ratio.numerator, denominator=ratio.denominator,
    )  # fmt: skip


def _follow(
    bars: Series, previous: Floats, announced: Bools, found: list[_Found], stop: int, spike: Bools
) -> list[Jump]:
    """Process one symbol's suspicious bars; returns its jumps. Every bar between two of them agrees with its
    predecessor."""
    jumps: list[Jump] = []
    away, since, reference = False, 0, np.nan
    for it, following in zip(found, [*(f.row for f in found[1:]), stop], strict=True):
        k = it.row
        if announced[k]:
            reference *= previous[k] / bars.close[k - 1]
            away = away and not np.isnan(reference)  # a 1:1 split marks a human check
        reference = reference if away else float(previous[k])
        if away and _is_back(bars, it, reference):
            away = False
        elif jump := _jump(bars, it, reference):
            jumps.append(jump)
            away = False
        elif it.moved:
            away, since = True, k
        elif it.reaches and not away:
            spike[k] = True
        if away:
            believed = since + RETURN_AFTER - 1
            spike[k : min(following, believed)] = True
            away = following < believed
    return jumps


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
