"""Trades that the venue busts or corrects: the fill is reversed exactly, then the correction is booked.

What can go wrong: a bust is reported twice, or of a fill that the books do not have in this form. Each bust has an id
and is booked once. A fill that is unknown here, or that was split since, is a contradiction for an operator.

The reversal is at the price of the fill, and in proportion to the lots that each book has of the order's fills. The
correction is divided as the reversal was, so that no lot moves to another book.
"""

from collections.abc import Sequence

from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.open_orders import Working
from quantd.daemon.engine.venue.reports import contradiction
from quantd.trading.effects import Effect, Filled
from quantd.trading.events import Busted
from quantd.trading.ledger.shares import share
from quantd.trading.orders import price_text, quantity_text


def on_busted(state: State, news: Busted) -> Sequence[Effect]:
    """Reverse a fill once, in proportion to the fills of the order's books, with an alert.

    A fill that is unknown here or was split since is a contradiction, which an operator reconciles.
    """
    bust_id = f"bust {news.id}"
    if bust_id in state.venue.flows:
        return ()
    state.venue.flows.append(bust_id)
    work = state.basket((news.sample, news.n))
    if work is None or not 0 <= news.row < len(work.lots):
        return contradiction(state, -1, f"a trade taken back of basket {(news.sample, news.n)}, which is not ours")
    symbol, ordered = work.basket.sym[news.row], work.lots[news.row]
    filled = _filled_shares(work, news.row)
    if ordered != work.basket.lots[news.row] or not 0 < news.lots <= sum(lots for _, lots in filled):
        return contradiction(state, symbol, "a trade taken back that is not known here")
    side = 1 if ordered > 0 else -1
    parts = share(news.lots, filled)
    effects = [_book_fill(state, news, symbol, -side, parts, news.price_nano)]
    _adjust_sent_shares(work, news.row, parts, -1)  # -1: subtracted
    size = state.universe.lot_nano[symbol]
    text = f"the venue took back a trade: {quantity_text(news.lots, size)} at {price_text(news.price_nano)}"
    if news.new_lots:
        correction = share(news.new_lots, parts)
        effects.append(_book_fill(state, news, symbol, side, correction, news.new_price_nano))
        _adjust_sent_shares(work, news.row, correction, 1)  # 1: added
        text += f"; it is {quantity_text(news.new_lots, size)} at {price_text(news.new_price_nano)} now"
    state.booked()
    return [*effects, alert(state, "CRITICAL", "broker", f"{text}. Lots and cash are booked back", symbol=symbol)]


def _filled_shares(work: Working, row: int) -> list[tuple[int, int]]:
    """(agent, unsigned lots) of the fills of one order so far, less busted (reversed) fills."""
    if not work.sent_shares:  # absent from an old snapshot; known for a lone agent
        work.shares_record = [
            [(shares[0][0], shares[0][1] + filled)] if len(shares) == 1 else []
            for shares, filled in zip(work.shares, list(work.filled), strict=True)
        ]
    remaining = dict(work.shares_of(row))
    return [(who, lots - remaining.get(who, 0)) for who, lots in work.sent_shares[row] if lots > remaining.get(who, 0)]


def _adjust_sent_shares(work: Working, row: int, parts: Sequence[tuple[int, int]], sign: int) -> None:
    """Subtract busted lots (`sign` -1) from the lots of a row as sent, or add their correction (1), by agent."""
    changed = dict(parts)
    shares = work.sent_shares
    shares[row] = [(who, lots + sign * changed.get(who, 0)) for who, lots in shares[row]]


def _book_fill(
    state: State, news: Busted, symbol: int, side: int, parts: Sequence[tuple[int, int]], price_nano: int
) -> Effect:
    """Book the lots of `parts` (agent, unsigned lots) on a side, without a fee; returns the record of the fill."""
    signed = [(who, side * lots) for who, lots in parts if lots]
    lots = sum(part for _, part in signed)
    state.ledger.fills([symbol], [lots], [price_nano], [0], [signed])
    return Filled(news.sample, news.n, news.ts, [symbol], [lots], [price_nano], [0], [signed])
