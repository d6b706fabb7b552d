"""Synchronous rows of a recorded market: each instrument's bar of one session date, with the opens that follow.

What can go wrong: a factor mixes bars of instruments that close at different times. So a row is one session date, and
is known once the bars of all its instruments are known. Where every instrument closes with the account's calendar, a
row is known at its sample.

A return begins at the first open at which a decision on the row could fill, the latency included. Where this open is
not earlier than the next decision, there is no fill.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from quantd.daemon.assembly.parts import Assembly
from quantd.daemon.views.outside_wealth import grown
from quantd.trading.bars import BarRing, CorporateAction
from quantd.trading.events import Action, Tick
from quantd.trading.history import Ring
from quantd.trading.instruments import NANO, Universe
from quantd.trading.macro import MacroHistory
from quantd.trading.market import Bools, Floats, Ints
from quantd.trading.view import View

LAST: Final = np.iinfo(np.int64).max // 2
"""An instant later than every bar; a latency can be added to it."""


@dataclass(frozen=True, slots=True)
class SynchronousRows:
    """T rows (session dates) of N instruments.

    `ts` int64[T] are the closes of the account's calendar, in ns UTC, `key` int64[T] the session dates, in ns.
    `decided` int64[T] is the first sample at which a row is known. `trading` is True from the first row of the trading
    period on. `open` float64[T, N] is the price of the fill of a decision at `decided`, NaN without a fill before the
    next decision. `wealth` is `open` with splits and dividends reinvested: its growth between two rows is the total
    return. `worth` is `wealth` carried over rows without a fill; from a delisting on, it is the delisting payment.
    `equity` is the account's cash.
    """

    universe: Universe
    ts: Ints
    key: Ints
    decided: Ints
    trading: Bools
    open: Floats
    wealth: Floats
    worth: Floats
    equity: float
    _prices: Floats
    _returns: Floats
    _bars: Floats
    _macro: Floats
    _series: tuple[str, ...]

    @property
    def count(self) -> int:
        """The number of rows, T."""
        return len(self.ts)

    @property
    def late(self) -> bool:
        """True if some instruments close after the account's calendar, so that a row is known one sample later."""
        return bool((self.decided > self.ts).any())

    def view(self, row: int, lookback: int) -> View:
        """Return what a policy sees at a row: copies of this row and of at most `lookback` earlier rows."""
        size = len(self.universe.symbols)
        first = max(0, row - lookback)
        past = slice(first, row + 1)
        ring = Ring(size, lookback + 1)
        ring.restore(self._prices[past], self._returns[past], row + 1)
        bars = BarRing(size, lookback + 1)
        # of the seven fields of a bar the last two are the links of price and volume, which continue a split series
        links = self._bars[5:, row]
        unfinished_bar = np.full((5, size), np.nan).tobytes()  # the row is complete: no bar is in progress
        bars.thaw(
            (
                row + 1,
                self._bars[:, past].tobytes(),
                self.key[past].tobytes(),
                unfinished_bar,
                np.ascontiguousarray(links).tobytes(),
            )
        )
        macro = None
        if self._series:
            macro = MacroHistory(self._series, lookback + 1)
            macro.thaw({name: self._macro[past, k].tobytes() for k, name in enumerate(self._series)})
        # no positions: the weights are 0, and the cash is 1.0 of the equity
        weights, prices = np.zeros(size), self._prices[row].copy()
        weights.flags.writeable = prices.flags.writeable = False
        ts = int(self.ts[row])
        return View(
            universe=self.universe, ring=ring, prices=prices, weights=weights, cash=1.0, equity=self.equity, time=ts,
            sample_time=ts, bars=bars, macro=macro,
        )  # fmt: skip


def synchronous_rows(assembly: Assembly) -> SynchronousRows:
    """Return the rows (session dates) of a recorded market that are complete at its end."""
    ticks = [tick for tick in assembly.ticks() if tick.sample and tick.final <= assembly.feed.last_ts]
    histories = _histories(assembly, ticks)
    ts = np.array([tick.ts for tick in ticks], dtype=np.int64)
    final = np.array([tick.final for tick in ticks], dtype=np.int64)
    # a row is decided at the first sample from which all bars of its date are known
    decided_rows = np.searchsorted(ts, final)
    # a last row that is known after the last sample gets the instant LAST, later than every open: it has no fill
    decided = np.r_[ts, LAST][decided_rows]
    opens, wealth, worth = fill_prices(assembly, decided)
    names = tuple(name for series in assembly.macro for name in series.columns)
    macro = np.array([tick.macro for tick in ticks], dtype=np.float64).reshape(len(ticks), len(names))
    return SynchronousRows(
        universe=assembly.universe,
        ts=ts,
        key=np.array([tick.key for tick in ticks], dtype=np.int64),
        decided=decided,
        trading=np.array([not tick.warmup for tick in ticks], dtype=np.bool_),
        open=opens,
        wealth=wealth,
        worth=worth,
        equity=assembly.rules.cash_micro / 1e6,
        _prices=histories[0],
        _returns=histories[1],
        _bars=histories[2],
        _macro=macro,
        _series=names,
    )


def _histories(assembly: Assembly, ticks: list[Tick]) -> tuple[Floats, Floats, Floats]:
    """Return the prices and the returns of N instruments at the T rows (session dates), float64[T, N] each.

    Also returns their bars, float64[7, T, N]: open, high, low, close, volume, and the cumulative factors of
    price and volume for splits and dividends.
    """
    size, total = assembly.universe.size, len(ticks)
    prices, returns, bars = (
        np.full((total, size), np.nan),
        np.full((total, size), np.nan),
        np.full((7, total, size), np.nan),
    )
    ring, bar_ring, marks = Ring(size, 1), BarRing(size, 1), np.full(size, np.nan)
    items = list(assembly.feed.items())
    # a bar belongs to its date, not to its instant; an action precedes the bars of its ex date
    order = sorted(range(len(items)), key=lambda k: (items[k].key, not isinstance(items[k], Action)))
    next_item = 0
    for row, tick in enumerate(ticks):
        actions: list[CorporateAction] = []
        while next_item < len(order) and items[order[next_item]].key <= tick.key:
            item = items[order[next_item]]
            next_item += 1
            if not isinstance(item, Action):
                marks = np.where(item.fresh, item.close, marks)
                bar_ring.slice(item)
            elif item.kind == "split":
                ratio = item.numerator / item.denominator
                marks[item.symbol] /= ratio
                actions.append((item.symbol, ratio, 0.0))
                bar_ring.split(item.symbol, ratio)
            elif item.kind == "dividend":
                actions.append((item.symbol, 1.0, item.cash_nano / NANO))
            else:  # a delisting ends the prices
                marks[item.symbol] = np.nan
        bar_ring.sample(tick.key, marks, actions)
        ring.append(marks.copy(), actions)
        prices[row], returns[row], bars[:, row] = marks, ring.returns(1)[0], bar_ring.rows[:, bar_ring.end - 1]
    return prices, returns, bars


def fill_prices(assembly: Assembly, decided: Ints) -> tuple[Floats, Floats, Floats]:
    """Return (fill prices, wealth, worth), float64[T, N] each, of decisions at the T instants `decided`.

    Wealth is the fill price with splits and dividends reinvested. Worth is wealth carried over rows without a fill.
    A decision fills at the first open after the decision and the latency, if this open precedes the next decision.
    """
    total, size = len(decided), assembly.universe.size
    columns, latency = assembly.feed.columns, assembly.costs.latency_ns
    opens, wealth, worth = (np.full((total, size), np.nan) for _ in range(3))
    for symbol in range(size):
        bars_with_open = np.flatnonzero(columns.fresh[:, symbol] & (columns.open[:, symbol] > 0.0))
        open_times, price = columns.ts_open[bars_with_open], columns.open[bars_with_open, symbol]
        symbol_actions = [action for action in assembly.feed.actions if action.symbol == symbol]
        wealth_index = price * np.cumprod(grown(symbol_actions, open_times, price)) if len(bars_with_open) else price
        # only opens before a delisting fill; afterwards the worth is the payment
        delisting = next((action for action in symbol_actions if action.kind == "delisting"), None)
        tradable = int(np.searchsorted(open_times, delisting.ts)) if delisting is not None else len(bars_with_open)
        first_open = np.searchsorted(open_times, decided + latency)
        is_filled = first_open < tradable
        is_filled[:-1] &= (
            open_times[np.minimum(first_open[:-1], len(bars_with_open) - 1)] < decided[1:]
            if len(bars_with_open)
            else False
        )
        fill_rows = first_open[is_filled]
        opens[is_filled, symbol], wealth[is_filled, symbol] = price[fill_rows], wealth_index[fill_rows]
        newest_fill = np.maximum.accumulate(np.where(is_filled, np.arange(total), -1))
        carried = np.where(newest_fill >= 0, wealth[np.maximum(newest_fill, 0), symbol], np.nan)
        if delisting is not None and tradable:
            # in the unit of `wealth`: per share held at the last open before the delisting
            payment = delisting.cash_nano / NANO * wealth_index[tradable - 1] / price[tradable - 1]
            is_delisted = np.r_[decided[1:], LAST] > delisting.ts
            carried = np.where(is_delisted & ~is_filled & (newest_fill >= 0), payment, carried)
        worth[:, symbol] = carried
    return opens, wealth, worth
