"""Compares each announced action with the change of the price beside it.

What goes wrong otherwise: prices that are adjusted for splits, with the splits in the actions, multiply an account by
each ratio; so does a ratio that is written the wrong way round. A dividend that was recorded in another unit is paid
as written. No comparison with a tolerance finds these: a large split that is applied twice looks like a bad print, and
then like a new level. Here the open after a split of r is assigned to the nearest of three readings, in logs: the close
/ r (applied), the close (absent from the prices), the close x r (reversed). A dividend is shown if the price is nearer
to the close less the dividend than to the close.

Rejected: to test the sum of all actions of a symbol, which finds no single fault; to trust the nearest reading where
the usual move is as large as the split, since 21:20 cannot be told from noise in a volatile stock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal

import numpy as np

from quantd.adapters.feeds.bars.dividends import dividend_doubts
from quantd.adapters.feeds.bars.jumps import SPLIT_SIGMAS, WINDOW, Series, Shift, deviation
from quantd.adapters.feeds.bars.ratios import nearest_ratio
from quantd.adapters.feeds.bars.rows import exact_nano
from quantd.trading.events import Action
from quantd.trading.instruments import NANO
from quantd.trading.market import Ints, Jump

MOST_YIELD: Final = 0.15
"""Largest dividend, as a share of the close before it, that needs no fall of the price.

The price of a smaller one falls by less than an ordinary day's move in a bad market.
"""

LEAST_YIELD: Final = 0.035
"""Smallest dividend whose fall can be seen, in a share whose nights are calm."""

YIELD_NIGHTS: Final = 5.0
"""Usual moves from a close to the next open from which a dividend has to show.

The largest of 4,955 dividends of recorded stocks and funds that no fall shows has 2.6.
"""

FEW_BARS_SIGMA: Final = 0.02
"""The usual move where too few bars precede an action."""

NEARBY: Final = 5
"""Bars on each side of an action among which the price may show it on another date."""

LEAST_MISS: Final = 0.08
"""Smallest distance, in logs, between a price and its reading that counts as a difference."""

Reading = Literal["absent", "reversed", "another_date", "another_ratio", "repeated", "unit"]


@dataclass(frozen=True, slots=True)
class ActionFault:
    """An action that the price beside it does not show.

    `action` is as announced; `ts_event` and `ts_open` are those of its first bar, ns UTC. `before_nano` is the close
    before it, `after_nano` its open, nano-currency. `reading` is what the price shows instead: nothing, the reverse of
    the ratio, the same ratio on another date (`shown_open`, the open of that bar), or another ratio (`shown`). A
    dividend may repeat the one before it (`other`), or be right only as `shown` times its amount, by `other` or by the
    price. `explains` are the `ts_event` of the bars whose moves the fault explains.
    """

    action: Action
    ts_event: int
    ts_open: int
    before_nano: int
    after_nano: int
    reading: Reading
    shown: Fraction = Fraction(1)
    shown_open: int = 0
    explains: tuple[int, ...] = ()
    other: Action | None = None

    @property
    def symbol(self) -> int:
        """The column of the action's symbol."""
        return self.action.symbol


def action_faults(
    bars: Series, actions: Sequence[Action], jumps: Sequence[Jump], shifts: Sequence[Shift]
) -> list[ActionFault]:
    """Return the actions that the prices do not show, in the order of `actions`.

    `jumps` and `shifts` are those of the same bars with the same actions: at an announced split they are what the ratio
    leaves unexplained.
    """
    changed = {(jump.symbol, jump.ts) for jump in jumps}
    changed |= {(shift.jump.symbol, shift.first_ts) for shift in shifts}
    faults: list[ActionFault] = []
    by_bar = _by_bar(bars, actions)
    for row, symbol, beside in by_bar:
        faults += _faults_at(bars, row, beside, (symbol, int(bars.ts_event[row])) in changed)
    doubts = _doubts(bars, by_bar)
    doubted = {(fault.symbol, fault.action) for fault in doubts}
    return [*(fault for fault in faults if (fault.symbol, fault.action) not in doubted), *doubts]


def _doubts(bars: Series, by_bar: Sequence[tuple[int, int, list[Action]]]) -> list[ActionFault]:
    """Return the dividends that the other dividends of their symbol contradict."""
    faults = []
    for symbol in sorted({column for _, column, _ in by_bar}):
        row_of = {action: row for row, column, beside in by_bar if column == symbol for action in beside}
        dividends = [action for action in row_of if action.kind == "dividend"]
        for doubt in dividend_doubts(dividends, [action for action in row_of if action.kind == "split"]):
            row = row_of[doubt.action]
            before, opened = exact_nano(np.array([bars.close[row - 1], bars.open[row]])).tolist()
            place = int(bars.ts_event[row]), int(bars.ts_open[row]), before, opened
            explains = _explained(bars, row, int(np.searchsorted(bars.column, symbol, side="right")))
            faults.append(
                ActionFault(doubt.action, *place, doubt.kind, doubt.factor, explains=explains, other=doubt.other)
            )
    return faults


def _by_bar(bars: Series, actions: Sequence[Action]) -> list[tuple[int, int, list[Action]]]:
    """Return (number of the bar, column, its splits and dividends) for each bar that actions precede."""
    beside: dict[int, list[Action]] = {}
    for action in actions:
        start, stop = np.searchsorted(bars.column, [action.symbol, action.symbol + 1]).tolist()
        at = start + int(np.searchsorted(bars.ts_event[start:stop], action.ts, side="right"))
        if start < at < stop and action.kind in ("split", "dividend"):
            beside.setdefault(at, []).append(action)
    return [(row, int(bars.column[row]), listed) for row, listed in sorted(beside.items())]


def _faults_at(bars: Series, row: int, beside: Sequence[Action], changed: bool) -> list[ActionFault]:
    """Compare the actions before one bar with its open and close; `changed` marks a change that they do not explain."""
    first = int(np.searchsorted(bars.column, bars.column[row]))
    last = int(np.searchsorted(bars.column, bars.column[row], side="right"))
    closes = bars.close[max(first, row - WINDOW - 1) : row]
    sigma = deviation(np.diff(np.log(closes)))
    sigma = FEW_BARS_SIGMA if sigma != sigma else sigma
    before = float(bars.close[row - 1])
    prices = float(bars.open[row]), float(bars.close[row])
    paid = [action for action in beside if action.kind == "dividend"]
    cash = sum(action.cash_nano for action in paid) / NANO
    splits = [action for action in beside if action.kind == "split" and action.numerator != action.denominator]
    shares = float(np.prod([action.numerator / action.denominator for action in splits])) if splits else 1.0
    if any(action.kind == "split" and action.numerator == action.denominator for action in beside):
        return []  # a person has looked at this bar
    nano = exact_nano(np.array([before, prices[0]])).tolist()
    place = int(bars.ts_event[row]), int(bars.ts_open[row]), nano[0], nano[1]
    explains = _explained(bars, row, last)
    large = [action for action in paid if action.cash_nano / NANO >= MOST_YIELD * before / 2]
    if splits and cash >= MOST_YIELD * before and _for_new_shares(before, cash, shares, prices[0], sigma):
        ratio = Fraction(splits[0].numerator, splits[0].denominator)
        return [ActionFault(action, *place, "unit", ratio, explains=explains) for action in large]
    small = cash if cash < MOST_YIELD * before else 0.0
    faults: list[ActionFault] = []
    reading = None if not splits else _reading(np.log(np.array(prices) / (before - small)), np.log(shares), sigma)
    if reading is not None and small < cash < before:  # a large dividend of the same day may hide the split
        with_cash = _reading(np.log(np.array(prices) / (before - cash)), np.log(shares), sigma)
        reading = reading if with_cash is not None else None
    if reading is not None:
        other = _other_bar(bars, row, first, last, float(np.log(shares)), sigma) if reading == "absent" else None
        if other is not None:
            more = {"reading": "another_date", "shown_open": int(bars.ts_open[other])}
            explains = (*explains, *_explained(bars, other, last))
            faults += [ActionFault(action, *place, explains=explains, **more) for action in splits]  # type: ignore[arg-type]
        else:
            faults += [ActionFault(action, *place, reading, explains=explains) for action in splits]
        shares = 1.0 if reading == "absent" else 1.0 / shares
    elif splits and changed and len(splits) == 1:
        shown = nearest_ratio((before - small) / prices[0], sigma / 3)
        faults.append(ActionFault(splits[0], *place, "another_ratio", shown, explains=explains))
        shares = float(shown)
    shown_fall = min(price * shares for price in prices) < before - cash / 2 and cash < before
    least = _least_yield(bars, row, first) * before
    if cash >= least and not shown_fall:
        faults += [
            ActionFault(action, *place, "absent", explains=explains)
            for action in paid
            if action.cash_nano / NANO >= least / 2
        ]
    return faults


def _for_new_shares(before: float, cash: float, shares: float, opened: float, sigma: float) -> bool:
    """Whether the open after a split shows a dividend only if it was paid on the shares after the split."""

    def miss(paid: float) -> float:
        return abs(float(np.log((before - paid) / shares / opened))) if paid < before else np.inf

    return miss(cash * shares) < max(LEAST_MISS, 2 * sigma) < miss(cash)


def _least_yield(bars: Series, row: int, first: int) -> float:
    """Return the smallest dividend before a bar, as a share of the close, whose fall has to show.

    A share that is not traded keeps its price, whatever it pays.
    """
    start = max(first + 1, row - WINDOW)
    if not bars.volume[row] > 0 or not np.median(bars.volume[start : row + 1]) > 0:
        return MOST_YIELD
    night = deviation(np.log(bars.open[start:row] / bars.close[start - 1 : row - 1]))
    return min(MOST_YIELD, max(LEAST_YIELD, YIELD_NIGHTS * night)) if night == night else MOST_YIELD


def _reading(moves: np.ndarray, ratio: float, sigma: float) -> Literal["absent", "reversed"] | None:
    """Return what open and close show of a split whose log is `ratio`; None where one of them shows it, or none can."""
    readings = np.abs(np.stack([moves + ratio, moves, moves - ratio]))
    nearest = readings.argmin(axis=0)
    if (nearest == 0).any() or bool((readings[0] <= SPLIT_SIGMAS * sigma).any()):
        return None
    return "absent" if nearest[0] == 1 else "reversed"


def _other_bar(bars: Series, row: int, first: int, last: int, ratio: float, sigma: float) -> int | None:
    """Return the nearest bar around `row` whose open shows the split instead; None without one."""
    miss = min(max(LEAST_MISS, SPLIT_SIGMAS * sigma / 2), abs(ratio) / 2)
    near: Ints = np.arange(max(first + 1, row - NEARBY), min(last, row + NEARBY + 1))
    shows = np.abs(np.log(bars.open[near] / bars.close[near - 1]) + ratio) < miss
    other_rows = near[shows & (near != row)]
    return int(other_rows[np.abs(other_rows - row).argmin()]) if len(other_rows) else None


def _explained(bars: Series, row: int, last: int) -> tuple[int, ...]:
    """Return the `ts_event` of a bar and of those that look like bad prints until the level is accepted."""
    return tuple(bars.ts_event[row : min(row + 3, last)].tolist())
