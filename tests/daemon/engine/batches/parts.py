"""Bars, rings and sets of limits of the kernels of batches, with the values of a test and nothing else."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from quantd.daemon.engine.batches.columns import Bars, Sets, Watched
from quantd.risk.limits.catalogue import Limits
from quantd.risk.limits.ruleset import rules_of
from quantd.risk.monitor.ceilings import Bands
from quantd.risk.monitor.holdings import Holdings
from quantd.risk.pretrade.gate import LOOPS
from quantd.trading.fill_prices import Columns
from quantd.trading.history import Ring
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.ledger.book import Postings

Array = np.ndarray[Any, Any]


def bars_with(close: Array, close_nano: Array | None = None) -> Bars:
    """Bars of which only the closes are read."""
    nano = np.zeros(1, dtype=np.int64).data if close_nano is None else close_nano.ravel().data
    rows = close.reshape(-1, close.shape[-1])
    columns = columns_with(np.zeros((1, 1), dtype=np.int64), *[np.zeros((1, 1))] * 3)
    return Bars(nano, close.ravel().data, rows.data, columns)


def columns_with(open_nano: Array, *others: Array) -> Columns:
    """The columns that fills need: opens, lows, highs and volumes."""
    return Columns(open_nano.data, *[each.data for each in others])


def ring_with(returns: Array) -> Ring:
    """A ring whose newest returns are float64[R, N]."""
    made = Ring(returns.shape[1], len(returns) + 1)
    made.append(np.full(returns.shape[1], 100.0))
    for row in 100.0 * np.cumprod(1.0 + returns, axis=0):
        made.append(row)
    return made


def sets_with(
    size: int,
    first: Array | None = None,
    house: Array | None = None,
    freed: Array | None = None,
    limits: Sequence[Limits] = (),
    levels: dict[str, int] | None = None,
) -> Sets:
    """Sets of limits with reasons of cuts, and the `levels` of books with `limits`, the house first."""
    codes = [np.zeros(1, dtype=np.int8) if each is None else each for each in (first, house, freed)]
    found = Sets(size, LOOPS, Watched(Holdings(size)), *[each.data for each in codes])
    universe = Universe(tuple(Instrument(f"S{k}") for k in range(size)))
    rules = [rules_of(each, universe) for each in limits]
    found.watched.bands = [Bands(each, levels or {}) for each in rules]
    found.watched.rising = [Bands(each, levels or {}, True) for each in rules]
    return found


def books_with(lots: Array, cost: Array | None = None, cash: Array | None = None) -> Postings:
    """The books of int[B, N] lots, the house first; a lot at a price in nano is worth a thousandth of it in micro."""
    count, size = lots.shape
    made = Postings([(1, 1000)] * size, count - 1)
    for k, book in enumerate((made.house, *made.books)):
        book.held[:] = np.array(lots[k], dtype=np.int64).data
        if cost is not None:
            book.cost[:] = np.array(cost[k], dtype=np.int64).data
        if cash is not None:
            book.cash_micro = int(cash[k])
    return made
