"""Total returns of a recorded market: splits and dividends reinvested."""

from collections.abc import Sequence
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np

from quantd.adapters.feeds.recorded.replay import Replay
from quantd.models.history.fingerprints import Fingerprint, fingerprints
from quantd.trading.bars import CorporateAction, per_share
from quantd.trading.events import Action
from quantd.trading.instruments import NANO
from quantd.trading.market import Floats, Ints

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
    close = np.where(columns.fresh[rows], columns.close[rows], np.nan)
    open_times = columns.ts_open[rows]
    wealth = np.full(close.shape, np.nan)
    for symbol in range(feed.universe.size):
        rows_with_close = np.flatnonzero(np.isfinite(close[:, symbol]))
        symbol_actions = [action for action in feed.actions if action.symbol == symbol]
        price = close[rows_with_close, symbol]
        wealth[rows_with_close, symbol] = price * np.cumprod(grown(symbol_actions, open_times[rows_with_close], price))
    return fingerprints(feed.universe.symbols, columns.key[rows], wealth)


def grown(actions: Sequence[Action], times: Ints, price: Floats) -> Floats:
    """Return float64[T], the growth of the number of shares at each of T instants by splits and by dividends that are
    reinvested at `price`; 1 without either.

    `actions` are of one symbol. Each action takes effect at the first of the instants `times` (int64[T], ns UTC) at
    or after it.
    """
    growth = np.ones(len(times))
    actions_by_row: dict[int, list[CorporateAction]] = {}
    for action in actions:
        ratio = action.numerator / action.denominator if action.kind == "split" else 1.0
        dividend = action.cash_nano / NANO if action.kind == "dividend" else 0.0
        actions_by_row.setdefault(int(np.searchsorted(times, action.ts)), []).append(
            (0, ratio, dividend)
        )  # 0: the only symbol
    for row, row_actions in actions_by_row.items():
        if row < len(times):  # else the action is after the last instant
            shares, cash = per_share(row_actions)[0]
            growth[row] = shares + cash / price[row]
    return growth
