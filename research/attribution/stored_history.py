"""Rebuilds the history of a stored run's books by a replay of its journal."""

from pathlib import Path

import numpy as np
from msgspec import Struct

from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.store.store_errors import StoreError
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
"""The errors with which a replay of a stored run may fail."""


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


def stored_history(parts: Parts, records: Records, run: str, folder: Path, watched: Watched = iter) -> BookHistory:
    """Return the history of the run named `run` up to its last sample, by a replay of its journal in `records`.

    `watched` wraps the iterator over the market, for example to pause. Raises RunUnusable with the reason where the
    replay fails.
    """
    try:
        log = BookHistoryLog(parts.rules)
        # not strict: a run of two configurations or with deposits has an attribution, too
        replay_into(log, parts, records, run, folder, watched, strict=False)
        return log.history()
    except FAULTS as why:
        raise RunUnusable(f"the run cannot be replayed for its attribution: {why}") from None


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
