"""Detection of bad prints, which are rejected, and of jumps that look like a split, which are reported.

The thresholds were set on recorded markets: 26 years of stocks and funds, VIX and bitcoin. The thresholds must accept
these real moves: bitcoin -20 % in an hour (2020-03-12) and -8 % in three minutes (2023-08-17), AAPL -52 % and HIG +102
% in a day, VIX +116 % (2018-02-05) and its spike of 2024-08-05. They must reject these recorded errors: AAPL at 184
with a low of 10.59 (2009-09-21), IWM at 75 with a high of 156.51 (2008-09-19).

Prices alone cannot tell a split from a real move of the same size: NFLX opened at 0.63 of its close on 2011-10-25. A
jump therefore rejects no bar. A person decides what it is.

A new price level that lasts is a `Shift`, whatever its ratio is: a large change is no better explained than a small
one. Its first bars look like bad prints until the level has lasted. To reject them and report no `Shift` would be
wrong: a 1:35 split that no action announces would multiply an account by 35, with two bars rejected.
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

The move has to exceed MOVE_SIGMAS standard deviations to be suspicious. A move below MOVE_FLOOR always passes, and one
above MOVE_CAP (a price x 3.5, or -71 %) never does.
"""

REACH_SIGMAS: Final = 30.0
REACH_FLOOR: Final = 0.30
REACH_CAP: Final = 1.0
"""The same bounds for how far open, high or low may lie beyond this close and the close before, in logs."""

RETURN_AFTER: Final = 3
"""A level that lasts this many bars is accepted: a takeover bid persists, a bad print does not."""

GAP_NS: Final = 10 * DAY_NS
"""After a longer gap, no bar is a bad print: the price may have moved in the meantime."""

LONG_WEEKEND_NS: Final = 4 * DAY_NS
"""After a longer silence a session or more has no bar."""

GAP_FLOOR: Final = 0.2
GAP_SIGMAS: Final = 4.0
"""Smallest move of a shift after a session without a bar: in logs, and in standard deviations of a move over the gap.

Any ratio counts, because the move over the gap blurs it. After GAP_NS any volume counts too: behind the gap may be
another company with the same symbol, or shares that were consolidated while they did not trade. After a shorter gap
more volume than a split brings shows a real move, such as the falls of 2001-09-17 after six days without trading.
"""

RATIOS: Final = (Fraction(3, 2), *map(Fraction, (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 100)))
SPLITS: Final = np.log(np.array([float(ratio) for ratio in RATIOS]))
"""The logs of RATIOS, the usual ratios of splits (new shares for one old)."""

SPLIT_MARGIN: Final = (0.02, 0.08)
"""Tolerance between an open and a split ratio, in logs: 1.5 standard deviations within these bounds."""

LEAST_SHIFT: Final = float(np.log(5 / 4)) - SPLIT_MARGIN[0]
LEAST_SIGMAS: Final = 7.0
"""Smallest move of a shift at an unusual ratio, in logs: that of a 5:4 split, the smallest that is not rare.

Below 3:2 it also has to be LEAST_SIGMAS usual moves: shares that move by 6 % a day open 25 % away by themselves.
"""

SPLIT_SIGMAS: Final = 5.0
"""Minimum move of a split candidate in standard deviations: a volatile instrument may move by a third at an open."""

SPLIT_VOLUME: Final = 2.5
"""Maximum relative volume of a split candidate, because a split does not change the traded value.

AAPL's fall of 2000-09-29, to 0.526 of the close, came with ten times the usual volume.
"""

SHIFT_SIGMAS: Final = 15.0
"""Minimum move, in standard deviations, of a shift at an unusual ratio that is no bad print; SPLIT_VOLUME applies too.

NFLX opened 13 deviations lower on 2011-10-25.
"""

CRASH_VALUE: Final = 4.0
CRASH_RANGE: Final = 0.25
"""Smallest traded value of a crash, as a multiple of the usual value, and its smallest range from low to high, in logs.

A split changes neither of them. KALA fell by 89 % on 2025-09-29, with 9 times the value and a range of 0.8, though its
open looks like a split of 13:1. SOXS at 1:15 of its price on 2026-05-26, by a vendor's fault, had 1.2 times the value
and a range of 0.12.
"""

SHIFT_NIGHTS: Final = 10.0
"""Minimum move of such a shift in daily bars, in usual moves from a close to the next open.

The smaller of this limit and SHIFT_SIGMAS counts. Half of a volatile share's move comes during the day, but all of a
split's at the open. The limit names none of 450,000 bars of stocks and funds in 26 years.
"""

UNKNOWN_SIGMA: Final = 0.04
"""The usual daily move, of a volatile stock, to assume for a bar with fewer than LEAST_BARS bars before it."""

LEAST_BARS: Final = 10
"""Fewest earlier bars from which the usual move of a bar can be estimated."""


@dataclass(frozen=True, slots=True)
class Series:
    """R bars, symbol after symbol, each symbol's bars in time order; `ts_open` and `ts_event` are in ns UTC."""

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
    """A new level of the price that no action explains; `jump` has the nearest ratio.

    `jump` is dated by the bar with which the level is accepted. `first_ts` and `first_open` (ns UTC) are the times of
    the close and of the open of the first bar of the level. `rows` are the rows of the bars of the level before the
    accepting bar, which looked like bad prints. `crash` marks a fall with the traded value and range of a crash.
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
    """Return (each bar's previous close as float64[R], adjusted for the announced actions in between; bool[R]).

    The close is NaN at a symbol's first bar. The bool[R] marks the first bar after an announced split or delisting. A
    split of 1:1 changes no price: a person enters it to state that a move was checked, so that its bar is compared with
    no previous close (NaN).

    R is the number of bars.
    """
    previous = np.full(len(bars.close), np.nan)
    previous[1:] = np.where(bars.column[1:] == bars.column[:-1], bars.close[:-1], np.nan)
    announced = np.zeros(len(previous), dtype=np.bool_)
    for action in actions:
        start, stop = np.searchsorted(bars.column, [action.symbol, action.symbol + 1]).tolist()
        row = start + int(np.searchsorted(bars.ts_event[start:stop], action.ts, side="right"))
        if row in (start, stop):  # no bar before the action, or none after it
            continue
        if action.kind == "dividend":
            ex_close = previous[row] - action.cash_nano / NANO
            previous[row] = ex_close if ex_close > 0 else np.nan
            continue
        announced[row] = True
        previous[row] *= np.nan if action.numerator == action.denominator else action.denominator / action.numerator
    return previous, announced


@dataclass(frozen=True, slots=True)
class _Comparison:
    """The comparison of one suspicious bar with the bars before it.

    All moves are differences of logs. The close moved by `move`; a move up to `limit` is plausible, and `moved` is True
    above it. `reaches` marks an implausible open, high or low. `sigma` is the usual move, `usual` the usual volume;
    `opens` marks the first bar of a session after a short gap, where a split takes effect. `resumes` marks the first
    bar after a long gap (GAP_NS). `night` is the usual move from a close to the next open, and `shift` the smallest
    move that may be a shift at an unusual ratio. After a session without a bar, `shift_over_gap` is the smallest
    move that may be a shift at any ratio; it is infinite otherwise.
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
    shift_over_gap: float


def examine(bars: Series, actions: Sequence[Action], interval: int) -> tuple[Bools, list[Jump], list[Shift]]:
    """Return (bool[R], True for spikes; the jumps that look like an unannounced split; the shifts) of R bars.

    `interval` is in ns. Bars after a spike are rejected until the price returns, or the new level has lasted
    RETURN_AFTER bars. A jump rejects no bar. Each verdict depends on that bar and earlier ones only.

    A spike is a bar that looks like a bad print. A shift is a new price level that no action explains. Moves are in
    logs, relative to the previous close. `reach` is how far open, high or low lie beyond this and the previous close.
    """
    spike = np.zeros(len(bars.close), dtype=np.bool_)
    previous, announced = previous_closes(bars, actions)
    with np.errstate(divide="ignore", invalid="ignore"):
        close_move = np.log(bars.close / previous)
        top, bottom = np.fmax(previous, bars.close), np.fmin(previous, bars.close)
        reach = np.maximum(
            np.log(np.maximum(bars.open, bars.high) / top), np.log(bottom / np.minimum(bars.open, bars.low))
        )
        open_move = np.log(bars.open / previous)
    # the sixth root: with the length of a bar the limits fall more slowly than usual moves, which fall with its square
    # root
    interval_scale = min(1.0, interval / DAY_NS) ** (1 / 6)
    notable = (
        (np.abs(close_move) > MOVE_FLOOR * interval_scale)
        | (reach > REACH_FLOOR * interval_scale)
        | (np.abs(open_move) > LEAST_SHIFT)
        | (np.abs(open_move) > GAP_FLOOR) & (np.diff(bars.ts_event, prepend=0) > LONG_WEEKEND_NS)
    )
    candidates = np.flatnonzero(notable | announced)
    symbol = bars.column[candidates]
    starts, stops = np.searchsorted(bars.column, symbol), np.searchsorted(bars.column, symbol, side="right")
    comparisons = [
        _comparison(bars, k, start, close_move, reach, open_move, interval)
        for k, start in zip(candidates.tolist(), starts.tolist(), strict=True)
    ]
    jumps: list[Jump] = []
    shifts: list[Shift] = []
    for first in np.unique(starts).tolist():
        of_symbol = np.flatnonzero(starts == first)
        changes = _changes_of_symbol(
            bars,
            previous,
            announced,
            [comparisons[candidate] for candidate in of_symbol],
            int(stops[of_symbol[0]]),
            spike,
        )
        jumps += changes[0]
        shifts += changes[1]
    jumps.sort(key=lambda jump: (jump.ts, jump.symbol))
    return spike, jumps, sorted(shifts, key=lambda shift: (shift.jump.ts, shift.jump.symbol))


def deviation(moves: Floats) -> float:
    """Return a robust estimate of the standard deviation of moves around zero; NaN for fewer than LEAST_BARS moves."""
    if len(moves) < LEAST_BARS or np.isnan(moves).all():
        return float("nan")
    # 1.4826 x the median absolute value is the standard deviation of a normal (Hampel, 1974)
    return 1.4826 * float(np.nanmedian(np.abs(moves)))


def _comparison(
    bars: Series, row: int, start: int, close_moves: Floats, reach: Floats, open_moves: Floats, interval: int
) -> _Comparison:
    """Compare the bar in `row` with the WINDOW bars before it; the rows of its symbol begin at `start`.

    The limits grow with the usual move (`sigma`), which grows with the time since the previous bar. Without a usual
    move the largest limits count.

    Moves are in logs. `silence` is the time since the previous bar (ns, 0 without one). A limit is `sigmas` times the
    usual move, at least `floor` (less for short intervals) and at most `cap`. `reaches` is True if open, high or low
    lie too far beyond both closes.
    """
    silence = int(bars.ts_event[row] - bars.ts_event[row - 1]) if row > start else 0
    earlier = slice(max(start + 1, row - WINDOW), row)
    sigma = deviation(close_moves[earlier])
    step_ns = LONG_WEEKEND_NS if interval == DAY_NS else interval  # a long weekend is one step of daily bars
    steps = max(1.0, silence / step_ns)
    sigma *= steps**0.5
    interval_scale = min(1.0, max(interval, silence) / DAY_NS) ** (1 / 6)

    def limit(sigmas: float, floor: float, cap: float) -> float:
        return cap if np.isnan(sigma) else min(cap, max(floor * interval_scale, sigmas * sigma))

    new_session = interval == DAY_NS or silence > interval
    comparable = row > start and silence <= GAP_NS
    move_limit = limit(MOVE_SIGMAS, MOVE_FLOOR, MOVE_CAP)
    usual_night = deviation(open_moves[earlier])  # the usual move from a close to the next open
    smallest_shift = SPLIT_SIGMAS * UNKNOWN_SIGMA if np.isnan(sigma) else SHIFT_SIGMAS * sigma
    if interval == DAY_NS and usual_night > 0:
        smallest_shift = min(smallest_shift, SHIFT_NIGHTS * usual_night)
    usual_ratio = float(SPLITS[0]) - SPLIT_MARGIN[0]
    least_ratio = usual_ratio if np.isnan(sigma) else min(max(LEAST_SIGMAS * sigma, LEAST_SHIFT), usual_ratio)
    sigma_over_gap = UNKNOWN_SIGMA * steps**0.5 if np.isnan(sigma) else sigma
    shift_over_gap = min(MOVE_CAP, max(GAP_FLOOR, GAP_SIGMAS * sigma_over_gap))
    return _Comparison(
        row=row,
        move=float(close_moves[row]),
        limit=move_limit,
        moved=comparable and bool(abs(close_moves[row]) > move_limit),
        reaches=bool(reach[row] > limit(REACH_SIGMAS, REACH_FLOOR, REACH_CAP)),
        opens=comparable and new_session,
        resumes=row > start and silence > GAP_NS,
        sigma=sigma,
        usual=float(np.median(bars.volume[max(start, row - WINDOW) : row])) if row > start else np.nan,
        night=usual_night,
        shift=max(smallest_shift, least_ratio),
        shift_over_gap=shift_over_gap if silence > LONG_WEEKEND_NS else np.inf,
    )


def _jump(bars: Series, comparison: _Comparison, reference: float) -> Jump | None:
    """Return the jump from the last accepted close to this bar if it looks like a split, else None.

    A bar looks like a split if it opens a session with a large gap near a usual ratio, if the gap lasts until its
    close, and if its volume is no larger than after such a split.

    SPLITS are the logs of RATIOS, the usual ratios. `gap` and `move` are the logs of open and close over `reference`.
    The usual volume grows by the ratio of the split, because there are more shares.
    """
    row = comparison.row
    if not comparison.opens or not reference > 0:
        return None
    gap, move = float(np.log(bars.open[row] / reference)), float(np.log(bars.close[row] / reference))
    if not abs(gap) > SPLIT_SIGMAS * comparison.sigma:  # also false while the usual move is unknown
        return None
    candidate = int(np.argmin(np.abs(SPLITS - abs(gap))))
    nearest, ratio = float(SPLITS[candidate]), RATIOS[candidate] if gap < 0 else 1 / RATIOS[candidate]
    margin = float(np.clip(1.5 * comparison.sigma, *SPLIT_MARGIN))
    stays = abs(move - np.sign(gap) * nearest) < 2 * SPLIT_MARGIN[1]
    shares = float(ratio)
    # an index has no volume, and no splits
    if (
        abs(abs(gap) - nearest) > margin
        or not stays
        or not 0 < bars.volume[row] <= SPLIT_VOLUME * shares * comparison.usual
    ):
        return None
    before, after = exact_nano(np.array([reference, bars.open[row]])).tolist()
    return Jump(
        ts=int(bars.ts_event[row]), ts_open=int(bars.ts_open[row]), symbol=int(bars.column[row]), before_nano=before,
        after_nano=after, numerator=ratio.numerator, denominator=ratio.denominator,
    )  # fmt: skip


def _changes_of_symbol(
    bars: Series, previous: Floats, announced: Bools, comparisons: list[_Comparison], stop: int, spike: Bools
) -> tuple[list[Jump], list[Shift]]:
    """Follow one symbol's price through its suspicious bars. Returns its jumps (apparent splits) and shifts (new price
    levels), and marks bad prints in `spike`.

    Bars that are not suspicious agree with their predecessor and need no decision. `stop` is the end of the symbol's
    rows.

    A price that moves far is off its level. If it stays away for RETURN_AFTER bars, it has a new level; if it returns
    earlier, the move was a bad print. A new level that does not last was a longer bad print.
    """
    jumps: list[Jump] = []
    shifts: list[Shift] = []
    # `reference` is the last accepted close: it stays while the price is off that level. `first_row` is the first bar
    # of the new level, `last_move_row` its last large move, `level_before_print` the close before a longer bad print.
    off_level, last_move_row, reference, first_row, level_before_print = False, 0, np.nan, 0, np.nan
    for comparison, following in zip(comparisons, [*(later.row for later in comparisons[1:]), stop], strict=True):
        row = comparison.row
        if announced[row]:
            reference *= previous[row] / bars.close[row - 1]  # by the ratio of the announced split
            off_level = off_level and not np.isnan(reference)  # a 1:1 split marks a human check
        reference = reference if off_level else float(previous[row])
        if off_level and _is_back(bars, comparison, reference):
            off_level = False
        elif jump := _jump(bars, comparison, reference):
            if not _returned(bars, row, level_before_print, comparison.limit):
                jumps.append(jump)
            off_level = False
        elif comparison.moved:
            off_level, last_move_row, first_row = True, row, first_row if off_level else row
        else:
            if comparison.reaches and not off_level:
                spike[row] = True
            if not off_level and (shift := _quiet_shift(bars, comparison, reference)):
                shifts.append(shift)
        if off_level:
            accepted_row = last_move_row + RETURN_AFTER - 1
            spike[row : min(following, accepted_row)] = True
            off_level = following < accepted_row
            if not off_level and accepted_row < stop:
                if not _lasts(bars, accepted_row, reference, comparison.limit):
                    level_before_print = reference
                elif not _returned(bars, accepted_row, level_before_print, comparison.limit):
                    level_before_print = np.nan
                    if _gapped(bars, comparison, reference):
                        shifts.append(_shift(bars, comparison, reference, accepted_row, range(first_row, accepted_row)))
    return jumps, shifts


def _lasts(bars: Series, accepted_row: int, reference: float, limit: float) -> bool:
    """Whether the bar that confirms a new price level is still nearer to that level than to the last accepted close."""
    level, close = bars.close[accepted_row - 1], bars.close[accepted_row]
    return bool(abs(np.log(close / reference)) > min(limit, abs(np.log(level / reference))) / 2)


def _returned(bars: Series, accepted_row: int, level_before_print: float, limit: float) -> bool:
    """Whether the price, after a bad print of several bars, is back at the level before that print, to within `limit`
    in logs."""
    return bool(abs(np.log(bars.close[accepted_row] / level_before_print)) <= limit)


def _gapped(bars: Series, comparison: _Comparison, reference: float) -> bool:
    """Whether a new price level is farther away than any real move, or begins at the open of a bar.

    A crash usually begins within a bar: bitcoin fell by 37 % on 2020-03-12 and opened at the previous close.

    A level begins at an open if the move up to that open (`gap`) has the direction of the whole move and is more than
    half of it.
    """
    gap, move = (
        float(np.log(bars.open[comparison.row] / reference)),
        float(np.log(bars.close[comparison.row] / reference)),
    )
    return abs(move) > MOVE_CAP or (gap * move > 0 and abs(gap) > abs(move) / 2)


def _shift(
    bars: Series, comparison: _Comparison, reference: float, accepted_row: int, spike_rows: Sequence[int]
) -> Shift:
    """Return the Shift from the last accepted close (`reference`) to a new level.

    The bar in `accepted_row` confirms the level; those in `spike_rows`, before it, looked like bad prints.
    """
    row = comparison.row
    gap, move = float(np.log(bars.open[row] / reference)), float(np.log(bars.close[row] / reference))
    # the level begins at the open if more than half of the move came before it, as at a split; else at the close
    price = bars.open[row] if gap * move > 0 and abs(gap) > abs(move) / 2 else bars.close[row]
    # the level may miss the ratio by a usual move of the time without bars: of the long gap, or of one night
    ratio = nearest_ratio(reference / float(price), comparison.sigma if comparison.resumes else comparison.night)
    before, after = exact_nano(np.array([reference, price])).tolist()
    jump = Jump(
        ts=int(bars.ts_event[accepted_row]), ts_open=int(bars.ts_open[accepted_row]), symbol=int(bars.column[row]),
        before_nano=before, after_nano=after, numerator=ratio.numerator, denominator=ratio.denominator,
    )  # fmt: skip
    return Shift(
        jump, int(bars.ts_event[row]), int(bars.ts_open[row]), tuple(spike_rows), _crashed(bars, comparison, reference)
    )


def _crashed(bars: Series, comparison: _Comparison, reference: float) -> bool:
    """Whether the first bar of a lower level has the traded value, and the range from low to high, of a crash."""
    row = comparison.row
    value = bars.volume[row] * bars.close[row]
    wide_range = np.log(bars.high[row] / bars.low[row]) >= CRASH_RANGE
    return bool(bars.close[row] < reference and value >= CRASH_VALUE * comparison.usual * reference > 0 and wide_range)


def _quiet_shift(bars: Series, comparison: _Comparison, reference: float) -> Shift | None:
    """Return the shift (new price level) at a bar that does not look like a bad print, None without one.

    After a session without a bar, both open and close must be far away (`shift_over_gap`); after a short gap the volume
    must also be no larger than after a split. At another open, the move before it must be large, the close must stay
    near the open, and the volume must change only as a split changes it. A bar inside a session has no such shift.
    """
    if not reference > 0 or not (comparison.opens or comparison.resumes):
        return None
    row = comparison.row
    gap, move = float(np.log(bars.open[row] / reference)), float(np.log(bars.close[row] / reference))
    with np.errstate(divide="ignore"):
        volume_move = float(np.log(bars.volume[row] / comparison.usual)) if comparison.usual > 0 else np.nan
    # a split multiplies the volume by the ratio by which it divides the price
    usual_volume = abs(volume_move + gap) <= np.log(SPLIT_VOLUME)
    opens_far = abs(gap) > comparison.shift
    shifts = comparison.opens and usual_volume and opens_far and abs(move - gap) < 2 * SPLIT_MARGIN[1]
    if gap * move > 0 and min(abs(gap), abs(move)) > comparison.shift_over_gap:
        shifts |= comparison.resumes or not volume_move > np.log(SPLIT_VOLUME) + max(0.0, -gap)
    return _shift(bars, comparison, reference, row, ()) if shifts else None


def _is_back(bars: Series, comparison: _Comparison, reference: float) -> bool:
    """Whether the close of the compared bar is back most of the way to the last accepted close, `reference`."""
    level = bars.close[comparison.row - 1]
    return bool(
        abs(np.log(bars.close[comparison.row] / reference)) <= comparison.limit
        and abs(comparison.move) > abs(np.log(level / reference)) / 2
    )


def huge_volume(column: Ints, volume: Floats, close: Floats, interval: int) -> Bools:
    """Return bool[R]: volumes above 100 times the maximum of the previous WINDOW bars (1,000 times for intraday bars).

    The traded value (volume x close) must exceed its own maximum by the same factor: a split of 200:1 multiplies the
    volume and not the value. Thin intraday markets have long quiet periods. The largest real volumes found are 27 times
    the earlier maximum.

    R is the number of bars, `column` the index of the symbol of each. A maximum needs 20 earlier bars.
    """
    multiple = 100.0 if interval >= 12 * UNITS_NS["h"] else 1000.0
    huge = np.zeros(len(volume), dtype=np.bool_)
    while True:
        # a rejected volume is no reference for the next one, so the check repeats without it
        # c is the symbol of a bar, v its volume and x its traded value
        frame = pl.DataFrame({
            "c": column, "v": np.where(huge, np.nan, volume), "x": np.where(huge, np.nan, volume * close),
        }).with_columns(pl.col("v", "x").fill_nan(None))  # fmt: skip
        earlier_maximum = pl.col("v", "x").shift(1).rolling_max(WINDOW, min_samples=20).over("c")
        maximum = frame.select(earlier_maximum.fill_null(float("nan")))
        is_huge = (maximum["v"].to_numpy() > 0) & (volume > multiple * maximum["v"].to_numpy())
        is_huge = is_huge & (volume * close > multiple * maximum["x"].to_numpy()) | huge
        if np.array_equal(is_huge, huge):
            return huge
        huge = is_huge
