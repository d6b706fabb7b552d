"""Halts and limits up or down, as states of a symbol: no new orders, and what rests at the venue stays there; at a
limit, none beyond it.

Who says it: a Halted event of a venue or of a person, which another one of the same ends; or the venue's words when it
refuses an order. What only a refusal or a stream told of ends with the next bar that trades as well: the word that ends
it may be missed.
"""

from collections.abc import Sequence
from typing import Final

from quantd.daemon.engine.alerts import alert
from quantd.daemon.engine.state import State
from quantd.daemon.engine.venue.open_orders import Working
from quantd.trading.effects import Effect
from quantd.trading.events import Halted, Limited
from quantd.trading.market import Floats, MarketSlice
from quantd.trading.orders import OrderState, Reports, price_text

WORDS: Final = ("halt", "limit up", "limit down", "luld", "limit_up", "limit_down", "trading pause", "not trading")
"""What venues say when they refuse an order for a symbol that does not trade."""

REFUSED: Final = "refused: "
"""How the detail of a halt begins that only a refusal told of."""

ANNOUNCED: Final = "announced: "
"""How the detail of a halt begins that a stream told of, whose end may be missed."""

BY_HAND: Final = "by hand: "
"""How the detail of a person's halt begins: only a person ends it."""


def on_halted(state: State, news: Halted) -> Sequence[Effect]:
    """Take the venue's word, or a person's; a venue says nothing about a person's halt."""
    known = state.halted.get(news.symbol)
    if known is not None and known[1].startswith(BY_HAND) and not news.who:
        return ()
    said = f"{news.who}: {news.detail}" if news.who else news.detail
    if news.halted:
        since = known[0] if known is not None else state.now
        kind = BY_HAND if news.who else ANNOUNCED if news.announced else ""
        state.halted[news.symbol] = since, kind + said
        return () if known is not None and not news.who else (_told(state, news.symbol, said),)
    if known is None:
        return ()
    del state.halted[news.symbol]
    return (_over(state, news.symbol, said),)


def on_limited(state: State, news: Limited) -> Sequence[Effect]:
    """A price has come to a limit up or down: from here on no order goes beyond the limits."""
    known = news.symbol in state.limited
    state.limited[news.symbol] = news.down_nano, news.up_nano
    if known:
        return ()
    said = f"the price is at a limit: no order goes beyond {limits_text(news.down_nano, news.up_nano)}"
    return (alert(state, "WARNING", "halted", said, symbol=news.symbol),)


def limits_text(down_nano: int, up_nano: int) -> str:
    return f"{price_text(down_nano)} to {price_text(up_nano)}"


def within_limits(state: State, lots: Floats, caps: Sequence[int]) -> Sequence[int]:
    """`caps` (prices in nano-currency by column that no order goes beyond, 0 or none at all for none) with the limits
    that prices are at; `lots` float64[N] say which side each order is on."""
    if not state.limited:
        return caps
    found = list(caps) or [0] * len(lots)
    for symbol, (down, up) in state.limited.items():
        mine = up if lots[symbol] > 0.0 else down
        if mine:
            other = found[symbol] or mine
            found[symbol] = min(mine, other) if lots[symbol] > 0.0 else max(mine, other)
    return found


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
    """End halts that a refusal or a stream told of, where a bar that opened since has traded, and limits that a bar
    closed inside of."""
    effects: list[Effect] = []
    for symbol, (since, detail) in list(state.halted.items()):
        traded = market.fresh[symbol] and market.ts_open >= since and market.volume[symbol] > 0.0
        if traded and detail.startswith((REFUSED, ANNOUNCED)):
            del state.halted[symbol]
            effects.append(_over(state, symbol, "a bar has traded"))
    for symbol, (down, up) in list(state.limited.items()):
        if (
            market.fresh[symbol]
            and down < int(market.close_nano[symbol])
            and (not up or market.close_nano[symbol] < up)
        ):
            del state.limited[symbol]
            effects.append(alert(state, "INFO", "halted", "the price is inside its limits again", symbol=symbol))
    return effects


def _told(state: State, symbol: int, detail: str) -> Effect:
    why = f": {detail}" if detail else ""
    return alert(state, "WARNING", "halted", f"trading is halted{why}; no new orders for it", symbol=symbol)


def _over(state: State, symbol: int, detail: str) -> Effect:
    why = f": {detail}" if detail else ""
    return alert(state, "INFO", "halted", f"trading goes on{why}", symbol=symbol)
