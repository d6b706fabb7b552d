"""The history of the books of a stored run, from its journal."""

from collections.abc import Callable, Iterator
from typing import cast

import numpy as np
from msgspec import Struct

from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.store.store_errors import StoreError
from quantd.daemon.assembly.parts import Parts
from quantd.daemon.recovery.replay import Records
from quantd.research.attribution.book_history import CASH, BookHistory
from quantd.research.attribution.book_history_log import BookHistoryLog
from quantd.research.attribution.linking import period_return, profit_factors
from quantd.research.attribution.profit import by_book_and_symbol
from quantd.research.runs.stored_run import RunUnusable
from quantd.trading.codec import decode
from quantd.trading.effects import Effect
from quantd.trading.events import Event
from quantd.trading.ledger.errors import LedgerBroken

Watched = Callable[[Iterator[tuple[int, bytes]]], Iterator[tuple[int, bytes]]]
"""Returns an iterator over the same entries, for example one that pauses."""


class SymbolPart(Struct, frozen=True):
    """The contribution of one symbol, or of "cash", to the return of a period.

    `weight` is the mean share of equity, and `asset_return` the total return of the symbol itself, None for cash. The
    contribution of cash is everything that belongs to no symbol. All contributions add up to the period's return.
    """

    symbol: str
    weight: float
    asset_return: float | None
    contribution: float


class Parting(Struct, frozen=True):
    """The time-weighted return of the account over a period, `total`, and its parts by symbol."""

    total: float
    symbols: list[SymbolPart]


class StoredHistory:
    """The history of the books of the run named `run`, from its journal in `store`. Each entry is read once.

    `watched` wraps the iterator over the journal, for example to pause.
    """

    def __init__(self, parts: Parts, store: Records, run: str, watched: Watched = iter) -> None:
        self._store, self._run, self._watched = store, run, watched
        self._log = BookHistoryLog(parts.rules, slices=parts.slices)
        self._seq = 0

    def newest(self) -> BookHistory:
        """Return the history up to the last sample. Raises RunUnusable with the reason where the books do not add up,
        as in a run that continues another account; this object can then not be used again."""
        try:
            for seq, data in self._watched(iter(self._store.entries(self._run, self._seq + 1))):
                entry = decode(data)
                self._log.add(cast(Event, entry.event), cast(list[Effect], entry.effects))
                self._seq = seq
            return self._log.history()
        except (FeedError, LedgerBroken, StoreError, ValueError) as why:
            raise RunUnusable(f"the run has no attribution: {why}") from None


def parting(history: BookHistory) -> Parting:
    """Return the parts of a history's return by symbol. Raises ValueError where the whole account was lost.

    The last part is cash, which has no return of its own (None).
    """
    by_symbol = by_book_and_symbol(history, profit_factors(history)).sum(axis=0).tolist()
    # the mean of the weights at the beginning of each interval, so without the last sample
    weights = history.weights()[:-1].mean(axis=0) if history.intervals else np.zeros(len(history.symbols))
    asset_returns = (1.0 + history.asset_returns()).prod(axis=0) - 1.0
    rows = [
        SymbolPart(symbol, float(weight), float(asset_return), part)
        for symbol, weight, asset_return, part in zip(
            history.symbols, weights, asset_returns, by_symbol[:-1], strict=True
        )
    ]
    rows.append(SymbolPart(CASH, float(1.0 - weights.sum()), None, by_symbol[-1]))
    return Parting(period_return(history.returns()), rows)
