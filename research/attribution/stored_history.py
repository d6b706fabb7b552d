"""The history of a stored run's books, by a replay of its journal."""

from pathlib import Path

import numpy as np
from msgspec import Struct

from quantd.adapters.feeds.errors import FeedError
from quantd.adapters.store.errors import StoreError
from quantd.daemon.assembly.parts import Parts
from quantd.daemon.config import ConfigError
from quantd.daemon.recovery.replay import ConfigLost, Records, Watched
from quantd.daemon.runtime.journal import RecordTooLong, ReplayDifference
from quantd.research.attribution.book_history import CASH, BookHistory
from quantd.research.attribution.book_history_log import BookHistoryLog
from quantd.research.attribution.breakdown import breakdown
from quantd.research.runs.stored_run import RunUnusable, replay_into
from quantd.trading.ledger.errors import LedgerBroken

FAULTS = (ConfigLost, ConfigError, FeedError, LedgerBroken, RecordTooLong, ReplayDifference, StoreError, ValueError)


class SymbolPart(Struct, frozen=True):
    """One symbol in the return of a period, or "cash" for what belongs to no symbol.

    `weight` is the mean share of equity, `asset_return` the symbol's own total return; None for cash. The
    contributions of all rows add up to the period's return.
    """

    symbol: str
    weight: float
    asset_return: float | None
    contribution: float


class Parting(Struct, frozen=True):
    """The time-weighted return of the account over a period, by symbol."""

    total: float
    symbols: list[SymbolPart]


def stored_history(parts: Parts, records: Records, run: str, folder: Path, watched: Watched = iter) -> BookHistory:
    """Return the history of a run up to its last sample. Raises RunUnusable with the reason."""
    try:
        log = BookHistoryLog(parts.rules)
        replay_into(log, parts, records, run, folder, watched, strict=False)
        return log.history()
    except FAULTS as why:
        raise RunUnusable(f"the run cannot be replayed for its attribution: {why}") from None


def parting(history: BookHistory) -> Parting:
    """Return the parts of a history's return by symbol. Raises ValueError where the whole account was lost."""
    parts = breakdown(history)
    weights = history.weights()[:-1].mean(axis=0) if history.intervals else np.zeros(len(history.symbols))
    asset_returns = (1.0 + history.asset_returns()).prod(axis=0) - 1.0
    rows = [
        SymbolPart(symbol, float(weight), float(of_asset), parts.by_asset[symbol])
        for symbol, weight, of_asset in zip(history.symbols, weights, asset_returns, strict=True)
    ]
    rows.append(SymbolPart(CASH, float(1.0 - weights.sum()), None, parts.by_asset[CASH]))
    return Parting(parts.total, rows)
