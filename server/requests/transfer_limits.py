"""Limits on a transfer between books or out of the account, which is checked like an order of the same lots.

What can go wrong: a transfer sends no order, so the gate (the risk checks of every order) never checks it. A hand-over
of positions from one book to another could put a restricted symbol into a book. A deposit, then an order, then a
withdrawal could leave a position above a limit of the whole account. So the functions here check transfers.

A transfer is refused only if it breaks a limit, or breaks it further: a book that is above a limit already may still be
made smaller. So the values of the limits are measured on the states before and after the event. All functions work on a
copy of the state.
"""

from typing import Final

import numpy as np

from quantd.daemon.engine import step
from quantd.daemon.engine.agents.portfolios import place_of
from quantd.daemon.engine.planning.gate_account import account_of, market_context
from quantd.daemon.engine.safety.monitor import basket_values
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.venue.account import agent_of
from quantd.daemon.views.limit_rows import reason_text
from quantd.risk.limits.catalogue import Reason
from quantd.risk.limits.values import Values
from quantd.risk.monitor.levels import UNWATCHED, share_of
from quantd.risk.pretrade.gate import gate
from quantd.trading.events import Flow, PortfolioClosed
from quantd.trading.instruments import MICRO
from quantd.trading.market import Floats

MARGIN: Final = 0.1
"""Extra cash for the gate's check, as a share of the received value.

The gate counts an order at its worst price; transferred lots arrive at the mark and cost less.
"""

SMALL: Final = 1e-9
"""Tolerance for the rounding of floats in a share of a bound."""


def withdrawal_fault(copy: State, moved: Flow) -> str:
    """The reason why a withdrawal breaks a limit of the whole account or of its book; empty when it breaks none.

    `copy` is a copy of the state, on which the withdrawal is carried out. A book index below 0 is the unallocated book,
    which has no limits of its own.
    """
    if not copy.sample:  # before the first sample no limit is measured
        return ""
    book_index = agent_of(copy, moved.agent)
    books = [HOUSE] if book_index is None or book_index < 0 else [HOUSE, book_index]
    copy.revalue()
    values_by_book = [basket_values(copy, book) for book in books]
    step(copy, moved)
    copy.revalue()
    for book, values_before in zip(books, values_by_book, strict=True):
        if why := _worsened_limit(values_before, basket_values(copy, book)):
            return f"{'the house' if book == HOUSE else copy.rules.agents[book].name}: {why}"
    return ""


def hand_over_fault(copy: State, closed: PortfolioClosed) -> str:
    """The reason why the receiving book may not take over a portfolio; empty when it may, or has nothing to take.

    `copy` is a copy of the state, on which the hand-over is carried out.
    """
    giver, receiver = place_of(copy, closed.name), agent_of(copy, closed.to)
    # below 0 is the unallocated book, which has no limits
    if giver is None or receiver is None or receiver < 0:
        return ""
    lots = np.array(copy.ledger.books[giver].lots, dtype=np.float64)
    if not lots.any() or not copy.sample:
        return ""
    copy.revalue()
    values_before = basket_values(copy, receiver)
    if why := _gate_refusal(copy, giver, receiver, lots):
        return why
    step(copy, closed)
    if place_of(copy, closed.name) is not None:
        return ""  # not handed over yet: open orders are cancelled first
    copy.revalue()
    return _worsened_limit(values_before, basket_values(copy, receiver))


def _gate_refusal(state: State, giver: int, receiver: int, lots: Floats) -> str:
    """The reason why the risk checks would reduce an order of the receiving book for `lots`; empty if they would not.

    For the checks, the equity of the giving book is added to the receiving book as cash, which pays for the order.
    `lots` float64[N] are signed lots by column of the universe. `giver` and `receiver` are indices of books.
    """
    account = account_of(state, receiver, by_hand=True)
    moved_equity = state.equity_of(giver) / MICRO
    moved_positions = moved_equity - state.account(giver).cash_micro / MICRO
    account.equity += moved_equity
    # MARGIN: the gate counts an order at its worst price, and moved lots arrive at the mark
    account.cash += moved_equity + MARGIN * abs(moved_positions)
    # a hand-over is no order that an agent repeats
    account.repeated = None
    strictest_switch = max(state.agents[receiver].switch.state, state.switch.state)
    verdict = gate(market_context(state), account, lots, state.rules.agents[receiver].limits, strictest_switch)
    cut_columns = (verdict.lots != lots).nonzero()[0].tolist()
    if not cut_columns:
        return ""
    symbol = state.universe.symbols[cut_columns[0]]
    return f"{symbol}: {reason_text(Reason(int(verdict.reason[cut_columns[0]])), verdict.recorded, symbol)}"


def _worsened_limit(before: Values, after: Values) -> str:
    """A text about the first limit that a transfer breaks, or breaks further; empty for none.

    `before` and `after` map the name of a limit to (value, bound) of a book before and after the transfer.
    """
    for key, (value, bound) in sorted(after.items()):
        share = share_of(key, value, bound)
        share_before = share_of(key, *before[key]) if key in before else 0.0
        if key not in UNWATCHED and share > 1.0 + SMALL and share > share_before + SMALL:
            return f"{key} would be {value:.4f}, and its bound is {bound:.4f}"
    return ""
