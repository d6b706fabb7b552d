"""Limits at a transfer between books or out of the account: it is measured as an order of the same lots would be.

What can go wrong: a transfer sends no order, so the gate never sees it. A hand-over could put a restricted symbol into
a book. A deposit, an order and a withdrawal would make any limit of the house a larger one.

Only what a transfer makes worse counts: a book that is above a limit already may still be made smaller. So values are
measured before the event is stepped and after it. All functions work on a copy of the state.
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
"""Share of the received value that the gate counts as further cash: lots arrive at the mark, not at a worst price."""

SMALL: Final = 1e-9


def withdrawal_fault(copy: State, moved: Flow) -> str:
    """The reason why a withdrawal breaks a limit of the house or of its book; empty when it breaks none."""
    if not copy.sample:
        return ""
    number = agent_of(copy, moved.agent)
    books = [HOUSE] if number is None or number < 0 else [HOUSE, number]
    copy.revalue()
    before = [basket_values(copy, book) for book in books]
    step(copy, moved)
    copy.revalue()
    for book, earlier in zip(books, before, strict=True):
        if why := _worse(earlier, basket_values(copy, book)):
            return f"{'the house' if book == HOUSE else copy.rules.agents[book].name}: {why}"
    return ""


def hand_over_fault(copy: State, closed: PortfolioClosed) -> str:
    """The reason why the receiving book may not take over a portfolio; empty when it may."""
    giver, to = place_of(copy, closed.name), agent_of(copy, closed.to)
    if giver is None or to is None or to < 0:
        return ""
    lots = np.array(copy.ledger.books[giver].lots, dtype=np.float64)
    if not lots.any() or not copy.sample:
        return ""
    copy.revalue()
    before = basket_values(copy, to)
    if why := _refused(copy, giver, to, lots):
        return why
    step(copy, closed)
    if place_of(copy, closed.name) is not None:
        return ""  # open orders are cancelled first
    copy.revalue()
    return _worse(before, basket_values(copy, to))


def _refused(state: State, giver: int, to: int, lots: Floats) -> str:
    """The gate's verdict on an order of the same lots by the receiving book, which has their value in cash."""
    account = account_of(state, to, by_hand=True)
    moved = state.equity_of(giver) / MICRO
    value = moved - state.account(giver).cash_micro / MICRO
    account.equity += moved
    account.cash += moved + MARGIN * abs(value)
    account.repeated = None
    mode = max(state.agents[to].switch.state, state.switch.state)
    verdict = gate(market_context(state), account, lots, state.rules.agents[to].limits, mode)
    cut = (verdict.lots != lots).nonzero()[0].tolist()
    if not cut:
        return ""
    symbol = state.universe.symbols[cut[0]]
    return f"{symbol}: {reason_text(Reason(int(verdict.reason[cut[0]])), verdict.recorded, symbol)}"


def _worse(before: Values, after: Values) -> str:
    """The first limit that is broken afterwards, and was not, or not as much, before."""
    for key, (value, bound) in sorted(after.items()):
        share = share_of(key, value, bound)
        earlier = share_of(key, *before[key]) if key in before else 0.0
        if key not in UNWATCHED and share > 1.0 + SMALL and share > earlier + SMALL:
            return f"{key} would be {value:.4f}, and its bound is {bound:.4f}"
    return ""
