"""Halts and limits up or down, as states of a symbol: no new orders, and what rests at the venue stays there.

Who says it: a Halted event, which another one ends; or the venue's words when it refuses an order, which the next bar
that trades ends.
"""

from collections.abc import Sequence
from typing import Final

from daemon.engine.alerts import alert
from daemon.engine.state import State, Working
from trading.effects import Effect
from trading.events import Halted
from trading.market import MarketSlice
from trading.orders import OrderState, Reports

WORDS: Final = ("halt", "limit up", "limit down", "luld", "limit_up", "limit_down", "trading pause", "not trading")
"""What venues say when they refuse an order for a symbol that does not trade."""

REFUSED: Final = "refused: "
"""How the detail of a halt begins that only a refusal told of."""


def on_halted(state: State, news: Halted) -> Sequence[Effect]:
    """Take the venue's word, or a person's."""
    state.now = max(state.now, news.ts)
    known = state.halted.get(news.symbol)
    if news.halted:
        since = known[0] if known is not None else state.now
        state.halted[news.symbol] = since, news.detail
        return () if known is not None else (_told(state, news.symbol, news.detail),)
    if known is None:
        return ()
    del state.halted[news.symbol]
    return (_over(state, news.symbol, news.detail),)


def refused_as_halted(state: State, work: Working, reports: Reports, rows: list[int]) -> list[Effect]:
    """Halts that the words of a rejection tell of."""
    said = reports.reason.lower()
    if not any(word in said for word in WORDS):
        return []
    effects: list[Effect] = []
    for row in rows:
        symbol = work.basket.sym[row]
        if work.state[row] == OrderState.REJECTED and symbol not in state.halted:
            state.halted[symbol] = state.now, f"{REFUSED}{reports.reason}"
            effects.append(_told(state, symbol, reports.reason))
    return effects


def trades_again(state: State, market: MarketSlice) -> list[Effect]:
    """End halts that a refusal told of, where a bar that opened since has traded."""
    effects: list[Effect] = []
    for symbol, (since, detail) in list(state.halted.items()):
        traded = market.fresh[symbol] and market.ts_open >= since and market.volume[symbol] > 0.0
        if traded and detail.startswith(REFUSED):
            del state.halted[symbol]
            effects.append(_over(state, symbol, "a bar has traded"))
    return effects


def _told(state: State, symbol: int, detail: str) -> Effect:
    why = f": {detail}" if detail else ""
    return alert(state, "WARNING", "halted", f"trading is halted{why}; no new orders for it", symbol=symbol)


def _over(state: State, symbol: int, detail: str) -> Effect:
    why = f": {detail}" if detail else ""
    return alert(state, "INFO", "halted", f"trading goes on{why}", symbol=symbol)
