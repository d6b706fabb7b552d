"""Synchronous rows of a recorded market: each instrument's own bar of a session date, with the opens that follow.

What can go wrong: a factor mixes instruments with other closes. So a row is one session date, and counts once the bars
of all its instruments are known. Where every instrument closes with the house, that is the house's own sample.

A return begins at the first open at which a decision on the row could fill, the latency included. A fill after the next
decision is none.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from quantd.daemon.assembly.parts import Assembly
from quantd.research.runs.total_returns import grown
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
    """T rows of N instruments.

    `ts` int64[T] are the house's closes, `key` the dates. `decided` is the first sample at which a row is known. `open`
    float64[T, N] is the price of the first fill of a decision at `decided`, NaN without a fill before the next one.
    `wealth` is the same price with splits and dividends reinvested; the growth between two rows is the total return.
    `worth` is `wealth` carried over rows without a fill, and the last payment of a delisted instrument.
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
        """Whether some instruments close after the house, so that a row is known one sample later."""
        return bool((self.decided > self.ts).any())

    def view(self, row: int, lookback: int) -> View:
        """Return the view of a policy at this row: copies of at most `lookback` + 1 rows, nothing later."""
        size = len(self.universe.symbols)
        first = max(0, row - lookback)
        past = slice(first, row + 1)
        ring = Ring(size, lookback + 1)
        ring.restore(self._prices[past], self._returns[past], row + 1)
        bars = BarRing(size, lookback + 1)
        links = self._bars[5:, row]
        blank = np.full((5, size), np.nan).tobytes()
        bars.thaw(
            (
                row + 1,
                self._bars[:, past].tobytes(),
                self.key[past].tobytes(),
                blank,
                np.ascontiguousarray(links).tobytes(),
            )
        )
        macro = None
        if self._series:
            macro = MacroHistory(self._series, lookback + 1)
            macro.thaw({name: self._macro[past, k].tobytes() for k, name in enumerate(self._series)})
        weights, prices = np.zeros(size), self._prices[row].copy()
        weights.flags.writeable = prices.flags.writeable = False
        ts = int(self.ts[row])
        return View(
            universe=self.universe, ring=ring, prices=prices, weights=weights, cash=1.0, equity=self.equity, time=ts,
            sample_time=ts, bars=bars, macro=macro,
        )  # fmt: skip


def synchronous_rows(assembly: Assembly) -> SynchronousRows:
    """Return the rows of a recorded market that are complete at its end."""
    ticks = [tick for tick in assembly.ticks() if tick.sample and tick.final <= assembly.feed.last_ts]
    filled = _filled(assembly, ticks)
    ts = np.array([tick.ts for tick in ticks], dtype=np.int64)
    final = np.array([tick.final for tick in ticks], dtype=np.int64)
    place = np.searchsorted(ts, final)
    # the sample after the last row is not in the market; its instant only has to be later than every open
    decided = np.r_[ts, LAST][place]
    opens, wealth, worth = _fills(assembly, decided)
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
        _prices=filled[0],
        _returns=filled[1],
        _bars=filled[2],
        _macro=macro,
        _series=names,
    )


def _filled(assembly: Assembly, ticks: list[Tick]) -> tuple[Floats, Floats, Floats]:
    """Return prices and returns float64[T, N], and the fields of a BarRing float64[7, T, N], row by row."""
    size, total = assembly.universe.size, len(ticks)
    prices, returns, bars = (
        np.full((total, size), np.nan),
        np.full((total, size), np.nan),
        np.full((7, total, size), np.nan),
    )
    ring, forming, marks = Ring(size, 1), BarRing(size, 1), np.full(size, np.nan)
    items = list(assembly.feed.items())
    # a bar belongs to its date, not to its instant; an action precedes the bars of its ex date
    order = sorted(range(len(items)), key=lambda k: (items[k].key, not isinstance(items[k], Action)))
    at = 0
    for row, tick in enumerate(ticks):
        actions: list[CorporateAction] = []
        while at < len(order) and items[order[at]].key <= tick.key:
            item = items[order[at]]
            at += 1
            if not isinstance(item, Action):
                marks = np.where(item.fresh, item.close, marks)
                forming.slice(item)
            elif item.kind == "split":
                ratio = item.numerator / item.denominator
                marks[item.symbol] /= ratio
                actions.append((item.symbol, ratio, 0.0))
                forming.split(item.symbol, ratio)
            elif item.kind == "dividend":
                actions.append((item.symbol, 1.0, item.cash_nano / NANO))
            else:
                marks[item.symbol] = np.nan
        forming.sample(tick.key, marks, actions)
        ring.append(marks.copy(), actions)
        prices[row], returns[row], bars[:, row] = marks, ring.returns(1)[0], forming.rows[:, forming.end - 1]
    return prices, returns, bars


def _fills(assembly: Assembly, decided: Ints) -> tuple[Floats, Floats, Floats]:
    """Return the opens that fill decisions at `decided`, and their index of wealth, each float64[T, N]."""
    total, size = len(decided), assembly.universe.size
    columns, latency = assembly.feed.columns, assembly.costs.latency_ns
    opens, wealth, worth = (np.full((total, size), np.nan) for _ in range(3))
    for symbol in range(size):
        rows = np.flatnonzero(columns.fresh[:, symbol] & (columns.open[:, symbol] > 0.0))
        at, price = columns.ts_open[rows], columns.open[rows, symbol]
        symbol_actions = [action for action in assembly.feed.actions if action.symbol == symbol]
        index = price * np.cumprod(grown(symbol_actions, at, price)) if len(rows) else price
        # fills before a delisting only; its payment is the last value
        ended = next((action for action in symbol_actions if action.kind == "delisting"), None)
        last = int(np.searchsorted(at, ended.ts)) if ended is not None else len(rows)
        place = np.searchsorted(at, decided + latency)
        there = place < last
        there[:-1] &= at[np.minimum(place[:-1], len(rows) - 1)] < decided[1:] if len(rows) else False
        fill_rows = place[there]
        opens[there, symbol], wealth[there, symbol] = price[fill_rows], index[fill_rows]
        newest_fill = np.maximum.accumulate(np.where(there, np.arange(total), -1))
        carried = np.where(newest_fill >= 0, wealth[np.maximum(newest_fill, 0), symbol], np.nan)
        if ended is not None and last:
            paid = ended.cash_nano / NANO * index[last - 1] / price[last - 1]
            gone = np.r_[decided[1:], LAST] > ended.ts
            carried = np.where(gone & ~there & (newest_fill >= 0), paid, carried)
        worth[:, symbol] = carried
    return opens, wealth, worth
