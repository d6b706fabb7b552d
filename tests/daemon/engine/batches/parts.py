"""Bars, rings and sets of limits of the kernels of batches, with what a test says and nothing else."""

from typing import Any

import numpy as np

from quantd.daemon.engine.batches.columns import Bars, Rings, Sets
from quantd.risk.pretrade.gate import LOOPS
from quantd.trading.fill_prices import Columns
from quantd.trading.ledger.book import Postings

Array = np.ndarray[Any, Any]


def bars_with(close: Array, close_nano: Array | None = None) -> Bars:
    """Bars of which only the closes are read."""
    nano = np.zeros(1, dtype=np.int64).data if close_nano is None else close_nano.ravel().data
    return Bars(nano, close.ravel().data, columns_with(np.zeros((1, 1), dtype=np.int64), *[np.zeros((1, 1))] * 3))


def columns_with(open_nano: Array, *others: Array) -> Columns:
    """The columns that fills need: opens, lows, highs and volumes."""
    return Columns(open_nano.data, *[each.data for each in others])


def rings_with(columns: Array, *rows: Array) -> Rings:
    """Rings whose `columns` are the synchronous returns; the others are `rows`, or are not read."""
    given = rows or (np.zeros(1),) * 3 + (np.zeros((1, 1)),)
    return Rings(*[each.ravel().data for each in given[:3]], given[3].data, columns.data)


def sets_with(
    size: int, width: int = 1, first: Array | None = None, house: Array | None = None, freed: Array | None = None
) -> Sets:
    """Sets of limits with scratch for losses of a width, and reasons of cuts."""
    codes = [np.zeros(1, dtype=np.int8) if each is None else each for each in (first, house, freed)]
    found = Sets(size, LOOPS, *[each.data for each in codes])
    found.widen(width)
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
