"""Narrows the worst prices of orders to the limits up and down of their symbols."""

from collections.abc import Sequence

from quantd.daemon.engine.state import State
from quantd.trading.market import Floats


def within_limits(state: State, lots: Floats, caps: Sequence[int]) -> Sequence[int]:
    """`caps` (worst prices in nano by column, 0 for none; may be empty) narrowed by price limits on the side of `lots`,
    float64[N]."""
    if not state.restrictions.limited:
        return caps
    narrowed = list(caps) or [0] * len(lots)
    for symbol, (down, up) in state.restrictions.limited.items():
        limit = up if lots[symbol] > 0.0 else down
        if limit:
            other = narrowed[symbol] or limit
            narrowed[symbol] = min(limit, other) if lots[symbol] > 0.0 else max(limit, other)
    return narrowed
