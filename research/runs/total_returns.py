"""Total returns of a recorded market: splits and dividends reinvested."""

from typing import Final
from weakref import WeakKeyDictionary

import numpy as np

from quantd.adapters.feeds.recorded.replay import Replay
from quantd.daemon.views.outside_wealth import grown
from quantd.models.history.fingerprints import Fingerprint, fingerprints

_FINGERPRINTS: Final[WeakKeyDictionary[Replay, dict[str, Fingerprint]]] = WeakKeyDictionary()
"""Market -> fingerprint of each symbol, computed once because all points of a sweep have the same market."""


def fingerprints_of(feed: Replay) -> dict[str, Fingerprint]:
    """Return the fingerprint of each symbol's total returns (a byte for each weekly return) from the first trading date
    on.

    Fingerprints are cached for each feed.
    """
    if feed not in _FINGERPRINTS:
        _FINGERPRINTS[feed] = _computed_fingerprints(feed)
    return _FINGERPRINTS[feed]


def _computed_fingerprints(feed: Replay) -> dict[str, Fingerprint]:
    """Return the fingerprint (a byte for each weekly return) of each symbol's total return.

    The total return is the return of the close times the growth of the number of shares by splits and dividends.
    """
    columns = feed.columns
    rows = columns.key >= feed.start_key
    keys, open_times = columns.key[rows], columns.ts_open[rows]
    found: dict[str, Fingerprint] = {}
    for symbol, name in enumerate(feed.universe.symbols):  # one at a time: the tables of a large market are 80 MB each
        close = np.where(columns.fresh[rows, symbol], columns.close[rows, symbol], np.nan)
        rows_with_close = np.flatnonzero(np.isfinite(close))
        symbol_actions = [action for action in feed.actions if action.symbol == symbol]
        price, wealth = close[rows_with_close], np.full((len(close), 1), np.nan)
        wealth[rows_with_close, 0] = price * np.cumprod(grown(symbol_actions, open_times[rows_with_close], price))
        found |= fingerprints([name], keys, wealth)
    return found
