"""Detection of bad prints, which are rejected, and of jumps that look like a split, which are reported.

The thresholds were set on recorded markets: 26 years of stocks and funds, VIX and bitcoin. They must accept these real
moves: bitcoin -20 % in an hour (2020-03-12) and -8 % in three minutes (2023-08-17), AAPL -52 % and HIG +102 % in a day,
VIX +116 % (2018-02-05) and its spike of 2024-08-05. They must reject these recorded errors: AAPL at 184 with a low of
10.59 (2009-09-21), IWM at 75 with a high of 156.51 (2008-09-19).

Prices alone cannot tell a split from a real move of the same size: NFLX opened at 0.63 of its close on 2011-10-25. A
jump therefore rejects no bar. A person decides what it is.

A new level that lasts is a `Shift`, whatever its ratio is: a larger one is no better explained than a small one. Its
first bars look like bad prints until the level has lasted. Rejecting them for good was wrong: a 1:35 split that no
action announces then multiplies an account by 35, with two bars rejected.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
import polars as pl
from msgspec.structs import replace

from quantd.adapters.feeds.bars.ratios import nearest_ratio
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

SHIFT_SIGMAS: Final = 15.0
"""Minimum move of a shift to an unusual ratio that is no bad print, in standard deviations; SPLIT_VOLUME applies too.

NFLX opened 13 deviations lower on 2011-10-25.
"""

CRASH_VALUE: Final = 4.0
CRASH_RANGE: Final = 0.25
"""Smallest traded value of a crash, in usual ones, and its smallest range from low to high, in logs.

A split changes neither. KALA fell by 89 % on 2025-09-29, with 9 times the value and a range of 0.8; the open looks like
a split of 13:1. SOXS at 1:15 of its price on 2026-05-26, by a vendor's fault, had 1.2 times the value and 0.12.
"""

SHIFT_NIGHTS: Final = 10.0
"""The same for daily bars in usual moves from a close to the next open; the smaller of both counts.

Half of a volatile share's move comes by day, and a split at the open alone. 0 of 450,000 bars of stocks and funds in 26
years are named by it.
"""

UNKNOWN_SIGMA: Final = 0.04
"""The usual daily move while fewer than LEAST_BARS bars are before a bar: that of a volatile stock."""

LEAST_BARS: Final = 10
"""Bars before a bar from which its usual move can be estimated."""


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


@dataclass(frozen=True, slots=True)
class Shift:
    """A new level of the price that no action explains, whose nearest ratio is that of `jump`.

    `jump` is dated by the bar with which the level is accepted; `first_ts` and `first_open` (ns UTC) are the close and
    the open of its first bar. `rows` are the numbers of the bars in between, which looked like bad prints. `crash`
    marks a fall that trade explains, and no split could.
    """

    jump: Jump
    first_ts: int
    first_open: int
    rows: tuple[int, ...] = ()
    crash: bool = False

    @property
    def dated(self) -> Jump:
        """The jump, dated by the first bar of the level: the day of a split."""
        return replace(self.jump, ts=self.first_ts, ts_open=self.first_open)


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
            ex_close = previous[at] - action.cash_nano / NANO
            previous[at] = ex_close if ex_close > 0 else np.nan
            continue
        announced[at] = True
        previous[at] *= np.nan if action.numerator == action.denominator else action.denominator / action.numerator
    return previous, announced


@dataclass(frozen=True, slots=True)
class _Found:
    """The comparison of one suspicious bar with the bars before it.

    Its close moved by `move`, of which `limit` is plausible. `reaches` marks an implausible open, high or low. `sigma`
    is the usual move, `usual` the usual volume; `opens` marks the first bar of a session after a short gap, where a
    split takes effect. `resumes` marks the first bar after a long gap. `night` is the usual move from a close to the
    next open, and `shift` the smallest one that may be a shift to an unusual ratio.
    """

    row: int
    move: float
    limit: float
    moved: bool
    reaches: bool
    opens: bool
    resumes: bool
    sigma: float
    usual: float
    night: float
    shift: float


def examine(bars: Series, actions: Sequence[Action], interval: int) -> tuple[Bools, list[Jump], list[Shift]]:
    """Return bool[R] spikes, the jumps that look like a split no action announces, and the shifts. `interval` is in ns.

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
    comparisons = [
        _compared(bars, k, start, move, reach, gap, interval)
        for k, start in zip(candidates.tolist(), starts.tolist(), strict=True)
    ]
    jumps: list[Jump] = []
    shifts: list[Shift] = []
    for first in np.unique(starts).tolist():
        mine = np.flatnonzero(starts == first)
        changes = _follow(bars, previous, announced, [comparisons[m] for m in mine], int(stops[mine[0]]), spike)
        jumps += changes[0]
        shifts += changes[1]
    jumps.sort(key=lambda jump: (jump.ts, jump.symbol))
    return spike, jumps, sorted(shifts, key=lambda shift: (shift.jump.ts, shift.jump.symbol))


def deviation(moves: Floats) -> float:
    """Return the robust standard deviation of moves around zero; NaN for fewer than LEAST_BARS."""
    if len(moves) < LEAST_BARS or np.isnan(moves).all():
        return float("nan")
    # 1.4826 x the median absolute value is the standard deviation of a normal (Hampel, 1974)
    return 1.4826 * float(np.nanmedian(np.abs(moves)))


def _compared(bars: Series, k: int, start: int, move: Floats, reach: Floats, gap: Floats, interval: int) -> _Found:
    """Compare one bar with the WINDOW bars before it."""
    silence = int(bars.ts_event[k] - bars.ts_event[k - 1]) if k > start else 0
    before = slice(max(start + 1, k - WINDOW), k)
    sigma = deviation(move[before])
    bar = 4 * DAY_NS if interval == DAY_NS else interval  # a long weekend is one step of daily bars
    steps = max(1.0, silence / bar)
    sigma *= steps**0.5
    shrink = min(1.0, max(interval, silence) / DAY_NS) ** (1 / 6)

    def limit(sigmas: float, floor: float, cap: float) -> float:
        return cap if np.isnan(sigma) else min(cap, max(floor * shrink, sigmas * sigma))

    new_session = interval == DAY_NS or silence > interval
    comparable = k > start and silence <= GAP_NS
    move_limit = limit(MOVE_SIGMAS, MOVE_FLOOR, MOVE_CAP)
    night = deviation(gap[before])
    shift = SPLIT_SIGMAS * UNKNOWN_SIGMA if np.isnan(sigma) else SHIFT_SIGMAS * sigma
    if interval == DAY_NS and night > 0:
        shift = min(shift, SHIFT_NIGHTS * night)
    return _Found(
        row=k,
        move=float(move[k]),
        limit=move_limit,
        moved=comparable and bool(abs(move[k]) > move_limit),
        reaches=bool(reach[k] > limit(REACH_SIGMAS, REACH_FLOOR, REACH_CAP)),
        opens=comparable and new_session,
        resumes=k > start and silence > GAP_NS,
        sigma=sigma,
        usual=float(np.median(bars.volume[max(start, k - WINDOW) : k])) if k > start else np.nan,
        night=night,
        shift=shift,
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
    bars: Series, previous: Floats, announced: Bools, comparisons: list[_Found], stop: int, spike: Bools
) -> tuple[list[Jump], list[Shift]]:
    """Process one symbol's suspicious bars; returns its jumps and shifts.

    Every bar between two of them agrees with its predecessor.
    """
    jumps: list[Jump] = []
    shifts: list[Shift] = []
    away, since, reference, began, older = False, 0, np.nan, 0, np.nan
    for it, following in zip(comparisons, [*(f.row for f in comparisons[1:]), stop], strict=True):
        k = it.row
        if announced[k]:
            reference *= previous[k] / bars.close[k - 1]
            away = away and not np.isnan(reference)  # a 1:1 split marks a human check
        reference = reference if away else float(previous[k])
        if away and _is_back(bars, it, reference):
            away = False
        elif jump := _jump(bars, it, reference):
            if not _returned(bars, k, older, it.limit):
                jumps.append(jump)
            away = False
        elif it.moved:
            away, since, began = True, k, began if away else k
        else:
            if it.reaches and not away:
                spike[k] = True
            if not away and (shift := _quiet_shift(bars, it, reference)):
                shifts.append(shift)
        if away:
            believed = since + RETURN_AFTER - 1
            spike[k : min(following, believed)] = True
            away = following < believed
            if not away and believed < stop:
                if not _lasts(bars, believed, reference, it.limit):
                    older = reference
                elif not _returned(bars, believed, older, it.limit):
                    older = np.nan
                    if _gapped(bars, it, reference):
                        shifts.append(_shift(bars, it, reference, believed, range(began, believed)))
    return jumps, shifts


def _lasts(bars: Series, believed: int, reference: float, limit: float) -> bool:
    """Whether the bar that confirms a new level is still nearer to it than to the last accepted close."""
    level, close = bars.close[believed - 1], bars.close[believed]
    return bool(abs(np.log(close / reference)) > min(limit, abs(np.log(level / reference))) / 2)


def _returned(bars: Series, believed: int, older: float, limit: float) -> bool:
    """Whether a level is the one before a bad print of several bars."""
    return bool(abs(np.log(bars.close[believed] / older)) <= limit)


def _gapped(bars: Series, it: _Found, reference: float) -> bool:
    """Whether a new level is beyond any move, or begins at an open, as a split does and a crash within a bar does not.

    Bitcoin fell by 37 % on 2020-03-12 and opened at the close before.
    """
    gap, move = float(np.log(bars.open[it.row] / reference)), float(np.log(bars.close[it.row] / reference))
    return abs(move) > MOVE_CAP or (gap * move > 0 and abs(gap) > abs(move) / 2)


def _shift(bars: Series, it: _Found, reference: float, believed: int, rows: Sequence[int]) -> Shift:
    """Return the change from the last accepted close to the level that begins at a bar."""
    k = it.row
    gap, move = float(np.log(bars.open[k] / reference)), float(np.log(bars.close[k] / reference))
    price = bars.open[k] if gap * move > 0 and abs(gap) > abs(move) / 2 else bars.close[k]
    ratio = nearest_ratio(reference / float(price), it.sigma if it.resumes else it.night)
    before, after = exact_nano(np.array([reference, price])).tolist()
    jump = Jump(
        ts=int(bars.ts_event[believed]), ts_open=int(bars.ts_open[believed]), symbol=int(bars.column[k]),
        before_nano=before, after_nano=after, numerator=ratio.numerator, denominator=ratio.denominator,
    )  # fmt: skip
    return Shift(jump, int(bars.ts_event[k]), int(bars.ts_open[k]), tuple(rows), _crashed(bars, it, reference))


def _crashed(bars: Series, it: _Found, reference: float) -> bool:
    """Whether the first bar of a lower level was traded as in a crash."""
    k = it.row
    value = bars.volume[k] * bars.close[k]
    wide = np.log(bars.high[k] / bars.low[k]) >= CRASH_RANGE
    return bool(bars.close[k] < reference and value >= CRASH_VALUE * it.usual * reference > 0 and wide)


def _quiet_shift(bars: Series, it: _Found, reference: float) -> Shift | None:
    """Return the shift at a bar that is no bad print: after a long gap, with few bars before it, or at an unusual
    ratio."""
    if not reference > 0:
        return None
    k = it.row
    gap, move = float(np.log(bars.open[k] / reference)), float(np.log(bars.close[k] / reference))
    if it.resumes:
        shifts = abs(gap) > MOVE_CAP and abs(move) > MOVE_CAP
    elif not it.opens:
        return None
    else:
        usual = bars.volume[k] > 0 and abs(np.log(bars.volume[k] / it.usual) + gap) <= np.log(SPLIT_VOLUME)
        far = abs(gap) > max(it.shift, SPLITS[0] - SPLIT_MARGIN[0])
        shifts = bool(usual and far and abs(move - gap) < 2 * SPLIT_MARGIN[1])
    return _shift(bars, it, reference, k, ()) if shifts else None


def _is_back(bars: Series, it: _Found, reference: float) -> bool:
    """Whether this bar returned most of the way to the last accepted close."""
    level = bars.close[it.row - 1]
    return bool(
        abs(np.log(bars.close[it.row] / reference)) <= it.limit and abs(it.move) > abs(np.log(level / reference)) / 2
    )


def huge_volume(column: Ints, volume: Floats, close: Floats, interval: int) -> Bools:
    """Return bool[R]: volumes above 100 times the maximum of the WINDOW bars before (1,000 times for intraday bars).

    The traded value must be as far above its maximum: a split of 200:1 multiplies the volume and not the value. Thin
    intraday markets have long quiet periods. The largest real volumes are 27 times the maximum.
    """
    most = 100.0 if interval >= 12 * UNITS_NS["h"] else 1000.0
    out = np.zeros(len(volume), dtype=np.bool_)
    while True:
        # a rejected volume is no reference for the next one, so the check repeats without it
        frame = pl.DataFrame({
            "c": column, "v": np.where(out, np.nan, volume), "x": np.where(out, np.nan, volume * close),
        }).with_columns(pl.col("v", "x").fill_nan(None))  # fmt: skip
        before = pl.col("v", "x").shift(1).rolling_max(WINDOW, min_samples=20).over("c")
        usual = frame.select(before.fill_null(float("nan")))
        is_huge = (usual["v"].to_numpy() > 0) & (volume > most * usual["v"].to_numpy())
        is_huge = is_huge & (volume * close > most * usual["x"].to_numpy()) | out
        if np.array_equal(is_huge, out):
            return out
        out = is_huge
