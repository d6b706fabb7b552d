"""Compares each announced action (split or dividend) with the price change on its date.

What goes wrong otherwise: prices that are adjusted for splits, with the splits in the actions, multiply an account by
each ratio; so does a ratio that is written the wrong way round. A dividend that was recorded in another unit is paid as
written. A comparison with a tolerance misses these faults: a large split that is applied twice looks like a bad print,
and then like a new level. Here the open after a split of ratio r is assigned to the nearest of three expected prices,
in logs: the previous close / r (applied), the previous close (absent from the prices), the previous close x r
(reversed). The price shows a dividend if it is nearer to the previous close less the dividend than to the previous
close.

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
    """A split or dividend that the price change on its date does not show.

    `action` is as announced. `ts_open` and `ts_event` (ns UTC) belong to the first bar after the action: `before_nano`
    is the previous close and `after_nano` the open of that bar, in nano-currency. `reading` is what the price shows
    instead: nothing, the reverse of the ratio, the same ratio on another date (`shown_open` is the open of that bar, ns
    UTC), or another ratio (`shown`). A dividend may repeat an earlier dividend (`other`), or be in another unit: then
    `shown` times its amount is correct, judged by the dividend `other` or by the price. `explains` has the `ts_event`
    of each bar whose move the fault explains.
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
        """The column (index in the universe) of the action's symbol."""
        return self.action.symbol


def action_faults(
    bars: Series, actions: Sequence[Action], jumps: Sequence[Jump], shifts: Sequence[Shift]
) -> list[ActionFault]:
    """Return the actions that the prices do not show, in the order of `actions`.

    `jumps` and `shifts` must come from `examine` with the same bars and actions. At an announced split they are
    measured after the split's ratio was taken out.

    A jump is a move that looks like an unannounced split, a shift a new price level that no action explains. `by_bar`
    has (row of the first bar after the actions, column, actions).
    """
    changed = {(jump.symbol, jump.ts) for jump in jumps}
    changed |= {(shift.jump.symbol, shift.first_ts) for shift in shifts}
    faults: list[ActionFault] = []
    by_bar = _by_bar(bars, actions)
    for row, symbol, actions_before in by_bar:
        faults += _faults_at(bars, row, actions_before, (symbol, int(bars.ts_event[row])) in changed)
    doubts = _doubts(bars, by_bar)
    doubted = {(fault.symbol, fault.action) for fault in doubts}
    return [*(fault for fault in faults if (fault.symbol, fault.action) not in doubted), *doubts]


def _doubts(bars: Series, by_bar: Sequence[tuple[int, int, list[Action]]]) -> list[ActionFault]:
    """Return the dividends that the other dividends of their symbol contradict.

    A doubt names the dividend, what is wrong with it, the factor that corrects it, and the dividend `other` by which it
    is judged.
    """
    faults = []
    for symbol in sorted({column for _, column, _ in by_bar}):
        # a list, because a dividend that is listed twice is equal to itself
        before_bars = [(row, action) for row, column, actions in by_bar if column == symbol for action in actions]
        row_of = {action: row for row, action in before_bars}
        dividends = [action for _, action in before_bars if action.kind == "dividend"]
        for doubt in dividend_doubts(dividends, [action for action in row_of if action.kind == "split"]):
            row = row_of[doubt.action]
            before, opened = exact_nano(np.array([bars.close[row - 1], bars.open[row]])).tolist()
            bar_fields = int(bars.ts_event[row]), int(bars.ts_open[row]), before, opened
            explains = _explained(bars, row, int(np.searchsorted(bars.column, symbol, side="right")))
            faults.append(
                ActionFault(doubt.action, *bar_fields, doubt.kind, doubt.factor, explains=explains, other=doubt.other)
            )
    return faults


def _by_bar(bars: Series, actions: Sequence[Action]) -> list[tuple[int, int, list[Action]]]:
    """Return (row of the bar, column, splits and dividends before it) for each bar that an action precedes."""
    actions_before: dict[int, list[Action]] = {}
    for action in actions:
        start, stop = np.searchsorted(bars.column, [action.symbol, action.symbol + 1]).tolist()
        row = start + int(np.searchsorted(bars.ts_event[start:stop], action.ts, side="right"))
        if start < row < stop and action.kind in ("split", "dividend"):
            actions_before.setdefault(row, []).append(action)
    return [(row, int(bars.column[row]), bar_actions) for row, bar_actions in sorted(actions_before.items())]


def _faults_at(bars: Series, row: int, actions_before: Sequence[Action], changed: bool) -> list[ActionFault]:
    """Return the faults of the actions between the bar in `row` and the previous bar. `changed` means that the actions
    do not explain all of the bar's move.

    A fault says what the prices show instead: nothing (absent), another ratio or date, or an amount per new share.
    """
    first = int(np.searchsorted(bars.column, bars.column[row]))
    stop = int(np.searchsorted(bars.column, bars.column[row], side="right"))
    closes = bars.close[max(first, row - WINDOW - 1) : row]
    sigma = deviation(np.diff(np.log(closes)))  # the usual move, in logs
    sigma = FEW_BARS_SIGMA if sigma != sigma else sigma  # NaN: too few bars
    close_before = float(bars.close[row - 1])
    open_and_close = float(bars.open[row]), float(bars.close[row])
    dividends = [action for action in actions_before if action.kind == "dividend"]
    cash = sum(action.cash_nano for action in dividends) / NANO
    splits = [action for action in actions_before if action.kind == "split" and action.numerator != action.denominator]
    new_per_old = float(np.prod([action.numerator / action.denominator for action in splits])) if splits else 1.0
    if any(action.kind == "split" and action.numerator == action.denominator for action in actions_before):
        return []  # a person has looked at this bar
    nano = exact_nano(np.array([close_before, open_and_close[0]])).tolist()
    bar_fields = int(bars.ts_event[row]), int(bars.ts_open[row]), nano[0], nano[1]
    explains = _explained(bars, row, stop)  # times of the bars whose moves a fault explains
    large = [action for action in dividends if action.cash_nano / NANO >= MOST_YIELD * close_before / 2]
    if (
        splits
        and cash >= MOST_YIELD * close_before
        and _for_new_shares(close_before, cash, new_per_old, open_and_close[0], sigma)
    ):
        ratio = Fraction(splits[0].numerator, splits[0].denominator)
        return [ActionFault(action, *bar_fields, "unit", ratio, explains=explains) for action in large]
    small_cash = cash if cash < MOST_YIELD * close_before else 0.0  # a large dividend may itself be wrong
    faults: list[ActionFault] = []
    reading = None
    if splits:
        cash_amounts = (small_cash, cash) if small_cash < cash < close_before else (small_cash,)
        reading = _split_reading(open_and_close, close_before, cash_amounts, new_per_old, sigma)
    if reading is not None:
        shown_row = (
            _other_bar(bars, row, first, stop, float(np.log(new_per_old)), sigma) if reading == "absent" else None
        )
        if shown_row is not None:
            shown_there = {"reading": "another_date", "shown_open": int(bars.ts_open[shown_row])}
            explains = (*explains, *_explained(bars, shown_row, stop))
            faults += [ActionFault(action, *bar_fields, explains=explains, **shown_there) for action in splits]  # type: ignore[arg-type]
        else:
            faults += [ActionFault(action, *bar_fields, reading, explains=explains) for action in splits]
        new_per_old = 1.0 if reading == "absent" else 1.0 / new_per_old  # the ratio that the prices show
    elif splits and changed and len(splits) == 1:
        shown_ratio = nearest_ratio((close_before - small_cash) / open_and_close[0], sigma / 3)
        faults.append(ActionFault(splits[0], *bar_fields, "another_ratio", shown_ratio, explains=explains))
        new_per_old = float(shown_ratio)
    # whether the price fell by half of the dividends at least
    shown_fall = min(price * new_per_old for price in open_and_close) < close_before - cash / 2 and cash < close_before
    least_cash = _least_yield(bars, row, first) * close_before
    if cash >= least_cash and not shown_fall:
        paid = [action for action in dividends if action.cash_nano / NANO >= least_cash / 2]
        faults += [ActionFault(action, *bar_fields, "absent", explains=explains) for action in paid]
    return faults


def _for_new_shares(close_before: float, cash: float, new_per_old: float, open_price: float, sigma: float) -> bool:
    """Whether the open after a split shows a dividend only if `cash` is the amount for each share after the split.

    `new_per_old` is the ratio of the split, new shares for one old.

    `sigma` is the usual move from close to close, in logs.
    """

    def miss(amount: float) -> float:
        """Return the distance, in logs, from the open to the price after the split and a dividend of `amount`."""
        return (
            abs(float(np.log((close_before - amount) / new_per_old / open_price))) if amount < close_before else np.inf
        )

    return miss(cash * new_per_old) < max(LEAST_MISS, 2 * sigma) < miss(cash)


def _least_yield(bars: Series, row: int, first: int) -> float:
    """Return the least dividend that must be visible as a fall of the price, as a fraction of the close before the bar.

    The result is largest for a share that is not traded: its price stays, whatever it pays. `first` is the first row of
    the symbol.
    """
    start = max(first + 1, row - WINDOW)
    if not bars.volume[row] > 0 or not np.median(bars.volume[start : row + 1]) > 0:
        return MOST_YIELD
    night = deviation(np.log(bars.open[start:row] / bars.close[start - 1 : row - 1]))
    return min(MOST_YIELD, max(LEAST_YIELD, YIELD_NIGHTS * night)) if night == night else MOST_YIELD


def _split_reading(
    open_and_close: tuple[float, float],
    close_before: float,
    cash_amounts: Sequence[float],
    new_per_old: float,
    sigma: float,
) -> Literal["absent", "reversed"] | None:
    """Return how the prices contradict a split ("absent" or "reversed") if the first of `cash_amounts` is the dividend
    of its day. None if they agree with the split and any of the amounts: a large dividend may hide a split."""
    prices, log_ratio = np.array(open_and_close), float(np.log(new_per_old))
    readings = [_reading(np.log(prices / (close_before - cash)), log_ratio, sigma) for cash in cash_amounts]
    return None if None in readings else readings[0]


def _reading(log_moves: np.ndarray, log_ratio: float, sigma: float) -> Literal["absent", "reversed"] | None:
    """Return how open and close contradict a split ("absent" or "reversed"); None where one of them shows the split, or
    the move is too small to tell.

    `log_moves` are the logs of open and close over the previous close; `log_ratio` is the log of new shares for one
    old.
    """
    # one line for each reading: applied, absent, reversed
    readings = np.abs(np.stack([log_moves + log_ratio, log_moves, log_moves - log_ratio]))
    nearest = readings.argmin(axis=0)
    if (nearest == 0).any() or bool((readings[0] <= SPLIT_SIGMAS * sigma).any()):
        return None
    return "absent" if nearest[0] == 1 else "reversed"


def _other_bar(bars: Series, row: int, first: int, stop: int, log_ratio: float, sigma: float) -> int | None:
    """Return the row of the nearest bar, at most NEARBY bars away, whose open shows the split instead; None without
    one.

    `log_ratio` is the log of new shares for one old. The symbol's rows are [first, stop).
    """
    miss = min(max(LEAST_MISS, SPLIT_SIGMAS * sigma / 2), abs(log_ratio) / 2)
    near_rows: Ints = np.arange(max(first + 1, row - NEARBY), min(stop, row + NEARBY + 1))
    shows_split = np.abs(np.log(bars.open[near_rows] / bars.close[near_rows - 1]) + log_ratio) < miss
    other_rows = near_rows[shows_split & (near_rows != row)]
    return int(other_rows[np.abs(other_rows - row).argmin()]) if len(other_rows) else None


def _explained(bars: Series, row: int, stop: int) -> tuple[int, ...]:
    """Return the closes (`ts_event`, ns UTC) of the bar in `row` and of the two bars after it. They look like bad
    prints until the new level is accepted. The symbol's rows end at `stop`."""
    return tuple(bars.ts_event[row : min(row + 3, stop)].tolist())
