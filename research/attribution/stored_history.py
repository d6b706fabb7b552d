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
from quantd.research.attribution.breakdown import breakdown
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


def stored_history(parts: Parts, store: Records, run: str, watched: Watched = iter) -> BookHistory:
    """Return the history of the run named `run` up to its last sample, from its journal in `store`.

    `watched` wraps the iterator over the journal, for example to pause. Raises RunUnusable with the reason where the
    books do not add up, as in a run that continues another account.
    """
    log = BookHistoryLog(parts.rules, slices=parts.slices)
    try:
        for _, data in watched(iter(store.entries(run, 1))):
            entry = decode(data)
            log.add(cast(Event, entry.event), cast(list[Effect], entry.effects))
        return log.history()
    except (FeedError, LedgerBroken, StoreError, ValueError) as why:
        raise RunUnusable(f"the run has no attribution: {why}") from None


def parting(history: BookHistory) -> Parting:
    """Return the parts of a history's return by symbol. Raises ValueError where the whole account was lost.

    The last part is cash, which has no return of its own (None).
    """
    contributions = breakdown(history)
    # the mean of the weights at the beginning of each interval, so without the last sample
    weights = history.weights()[:-1].mean(axis=0) if history.intervals else np.zeros(len(history.symbols))
    asset_returns = (1.0 + history.asset_returns()).prod(axis=0) - 1.0
    rows = [
        SymbolPart(symbol, float(weight), float(asset_return), contributions.by_asset[symbol])
        for symbol, weight, asset_return in zip(history.symbols, weights, asset_returns, strict=True)
    ]
    rows.append(SymbolPart(CASH, float(1.0 - weights.sum()), None, contributions.by_asset[CASH]))
    return Parting(contributions.total, rows)
