"""Trading halts and price limits of a symbol. A halted symbol has no new orders; open ones stay at the venue.

A halt begins with a Halted event of a venue or an operator, or with the text of a rejection. It ends with another
Halted event. A halt from a rejection or a stream also ends with the next bar that trades, because the event of its end
may be missed.
"""

from collections.abc import Sequence
from typing import Final

from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.open_orders import Working
from quantd.trading.effects import Effect
from quantd.trading.events import Halted, Limited
from quantd.trading.market import MarketSlice
from quantd.trading.orders import OrderState, Reports, price_text

WORDS: Final = ("halt", "limit up", "limit down", "luld", "limit_up", "limit_down", "trading pause", "not trading")
"""Words in a venue's rejection of an order for a halted symbol."""

REFUSED: Final = "refused: "
"""Prefix of the detail of a halt that is known from a rejection."""

ANNOUNCED: Final = "announced: "
"""Prefix of the detail of a halt that is known from a stream."""

UNLISTED: Final = "the venue does not trade it: "
"""Prefix of the detail of a halt by the venue's list of instruments. Only the list ends the halt."""

SUSPICIOUS: Final = "suspicious price: "
"""Prefix of the detail of an announced halt for a bar with an implausible price, until the next plausible bar."""

BY_HAND: Final = "by hand: "
"""Prefix of the detail of an operator's halt. Only an operator ends the halt."""


def on_halted(state: State, news: Halted) -> Sequence[Effect]:
    """Begin or end a trading halt of a symbol; a venue cannot end an operator's halt.

    `news.who` is empty for a report of the venue. The stored detail of a halt begins with its source.
    """
    earlier = state.restrictions.halted.get(news.symbol)
    if earlier is not None and earlier[1].startswith(BY_HAND) and not news.who:
        return ()
    detail = f"{news.who}: {news.detail}" if news.who else news.detail
    if news.halted:
        since = earlier[0] if earlier is not None else state.now
        kind = BY_HAND if news.who else ANNOUNCED if news.announced else ""
        state.restrictions.halted[news.symbol] = since, kind + detail
        # a repeated report raises no second alert, unless its words about an unlisted symbol changed
        repeat = earlier is not None and not news.who and not (detail.startswith(UNLISTED) and earlier[1] != detail)
        return () if repeat else (_halt_alert(state, news.symbol, detail),)
    if earlier is None:
        return ()
    del state.restrictions.halted[news.symbol]
    return (_end_alert(state, news.symbol, detail),)


def on_limited(state: State, news: Limited) -> Sequence[Effect]:
    """Record that a symbol's price is at a limit up or down: from now on no order has a price beyond the limits."""
    is_limited = news.symbol in state.restrictions.limited
    state.restrictions.limited[news.symbol] = news.down_nano, news.up_nano
    if is_limited:
        return ()
    text = f"the price is at a limit: no order goes beyond {limits_text(news.down_nano, news.up_nano)}"
    return (alert(state, "WARNING", "halted", text, symbol=news.symbol),)


def limits_text(down_nano: int, up_nano: int) -> str:
    """The prices of a limit down and up in words; `down_nano` and `up_nano` are in nano-currency."""
    return f"{price_text(down_nano)} to {price_text(up_nano)}"


def refused_as_halted(state: State, work: Working, reports: Reports, rows: list[int]) -> list[Effect]:
    """Begin the trading halts that the text of a venue's rejection reports."""
    if not any(word in reports.reason.lower() for word in WORDS):
        return []
    effects: list[Effect] = []
    for row in rows:
        symbol = work.basket.sym[row]
        if work.state[row] == OrderState.REJECTED and symbol not in state.restrictions.halted:
            state.restrictions.halted[symbol] = state.now, f"{REFUSED}{reports.reason}"
            effects.append(_halt_alert(state, symbol, reports.reason))
    return effects


def trades_again(state: State, market: MarketSlice) -> list[Effect]:
    """End each halt that a rejection or a stream began and whose symbol trades in a later bar. End price limits once
    the price of a bar is inside them."""
    effects: list[Effect] = []
    for symbol, (since, detail) in list(state.restrictions.halted.items()):
        traded = market.fresh[symbol] and market.ts_open >= since and market.volume[symbol] > 0.0
        if traded and detail.startswith((REFUSED, ANNOUNCED)):
            del state.restrictions.halted[symbol]
            effects.append(_end_alert(state, symbol, "a bar has traded"))
    for symbol, (down, up) in list(state.restrictions.limited.items()):
        close = int(market.close_nano[symbol])
        # an upper limit of 0 is none
        if market.fresh[symbol] and down < close and (not up or close < up):
            del state.restrictions.limited[symbol]
            effects.append(alert(state, "INFO", "halted", "the price is inside its limits again", symbol=symbol))
    return effects


def _halt_alert(state: State, symbol: int, detail: str) -> Effect:
    """The alert that a halt has begun; CRITICAL where a position cannot be sold because the symbol is unlisted."""
    why = f": {detail}" if detail else ""
    if detail.startswith(UNLISTED) and state.ledger.house.held[symbol]:
        text = f"trading is halted{why}; its position stays in the books and cannot be sold here"
        return alert(state, "CRITICAL", "halted", text, symbol=symbol)
    return alert(state, "WARNING", "halted", f"trading is halted{why}; no new orders for it", symbol=symbol)


def _end_alert(state: State, symbol: int, detail: str) -> Effect:
    why = f": {detail}" if detail else ""
    return alert(state, "INFO", "halted", f"trading goes on{why}", symbol=symbol)
