"""Narrows the worst prices of orders to the exchange's price limits (limit up, limit down) of their symbols."""

from collections.abc import Sequence

from quantd.daemon.engine.state import State
from quantd.trading.market import Floats


def within_limits(state: State, lots: Floats, caps: Sequence[int]) -> Sequence[int]:
    """`caps` narrowed to the limit up where `lots` (float64[N], signed) buy, to the limit down where they sell.

    `caps` are worst prices in nano-currency by column, 0 where an order has none; empty where no order has one.
    """
    if not state.restrictions.limited:
        return caps
    narrowed = list(caps) or [0] * len(lots)
    for symbol, (down, up) in state.restrictions.limited.items():
        limit = up if lots[symbol] > 0.0 else down
        if limit:
            cap = narrowed[symbol] or limit
            narrowed[symbol] = min(limit, cap) if lots[symbol] > 0.0 else max(limit, cap)
    return narrowed
