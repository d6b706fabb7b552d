"""The input of the gate (the check of limits): the account of a book with its open orders, and its limits."""

from collections.abc import Iterable
from math import ceil
from typing import Any

import numpy as np

from quantd.daemon.engine.planning.buying_power import left_micro, limit
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.state.engine_state import InForce
from quantd.daemon.engine.state.open_orders import Key
from quantd.daemon.engine.state.settings import MarketRegime
from quantd.risk.limits.catalogue import Limits, override
from quantd.risk.limits.context import Context
from quantd.risk.limits.ruleset import prepare, with_bounds
from quantd.risk.pretrade.gate import Account
from quantd.trading.instruments import MICRO


def limits_in_force(state: State, book: int) -> Limits:
    """The limits in force of an agent or of the whole account.

    The limits of the house include [live], the venue's buying power and symbols that cannot be borrowed, and a lower
    exposure while the market is volatile.
    """
    rules = state.rules
    if book != HOUSE:
        return rules.agents[book].limits
    regime = rules.regime if state.noted.volatile else None
    if rules.live is None and regime is None and state.venue.buying_power_micro is None and not state.venue.unlent:
        return rules.house
    remaining_micro = left_micro(state)
    lasting, inputs = (regime, state.venue.unlent), (state.equity_micro, state.live_sessions, remaining_micro)
    cached = state.allowed
    if cached is not None and cached.lasting == lasting and cached.inputs == inputs:
        return cached.limits
    # of these limits only bounds move, at every sample
    steady = cached.steady if cached is not None and cached.lasting == lasting else _steady_limits(state, regime)
    bounds: dict[str, Any] = {}
    if rules.live is not None:
        bounds = rules.live.bounds(steady, state.equity_micro, state.live_sessions)
    if remaining_micro is not None:
        bounds["buying_power"] = limit(state.equity_micro, remaining_micro)
    limits = with_bounds(steady, bounds)
    if cached is not None:
        prepare(cached.limits, limits, state.universe)
    state.allowed = InForce(lasting, inputs, steady, limits)
    return limits


def _steady_limits(state: State, regime: MarketRegime | None) -> Limits:
    """The limits of the whole account in force, without the bounds that follow from equity, time or the venue."""
    limits = state.rules.house
    if state.rules.live is not None:
        limits = state.rules.live.orders(limits)
    if regime is not None:
        gross = 1.0 if limits.max_gross_exposure is None else limits.max_gross_exposure
        limits = override(limits, volatile_exposure=regime.exposure * gross)
    if state.venue.unlent:
        limits = override(limits, no_borrow=tuple(state.universe.symbols[k] for k in state.venue.unlent))
    return limits


def short_ratio(mark_nano: int, limit_nano: int) -> float:
    """The factor by which a lot that opens a short position weighs more at its limit price than at the mark; 1 where
    the limit is not above the mark."""
    return limit_nano / mark_nano if limit_nano > mark_nano > 0 else 1.0


def account_of(
    state: State, book: int, *, by_hand: bool = False, without: frozenset[tuple[Key, int] | str] = frozenset()
) -> Account:
    """The account of an agent or of the whole account for the check of limits, with all orders and crosses
    (trades between agents) that may still fill, `without` these orders: (key of the basket, row), or the cause of a
    stop order that waits for its price.

    Lots of a resting sale that open a short position count as the lots that weigh at the mark what it fills at.

    `by_hand` marks an operator's order, which may reduce a position in a symbol whose trading is blocked after a price
    jump.
    """
    limits = limits_in_force(state, book)
    if state.counting:
        state.activity.roll(state.now, state.rules.house_sessions())
    account = Account(
        lots=state.lots(book),
        cash=state.account(book).cash_micro / MICRO,
        equity=state.equity_of(book) / MICRO,
        traded=state.activity.books[book].traded,
        recent_orders=state.activity.recent(book, state.now, limits),
        session_orders=state.activity.books[book].orders,
        # duplicates are found per agent: the sum of several agents may well be the same twice
        repeated=None if book == HOUSE else state.activity.repeated(book, state.now, limits),
        blocked=None if book == HOUSE else state.mask(_blocked(state, book)),
        halted=state.mask(state.restrictions.halted),
        jumped=state.mask(state.restrictions.jumped),
        by_hand=by_hand,
    )
    if state.working or state.crosses or state.venue.foreign or state.awaiting:
        _add_open_orders(state, account, book, without)
    return account


def _add_open_orders(state: State, account: Account, book: int, without: frozenset[tuple[Key, int] | str]) -> None:
    """Add to an account the orders and crosses (trades between agents) of its book that may still fill: the unsigned
    lots of purchases (`up`) and sales (`down`) by symbol, and what their fills may cost, lose and gain."""
    up, down = np.zeros(state.universe.size), np.zeros(state.universe.size)
    up_cash = loss = gain = 0.0
    rows, fee = state.open_rows(book, without), state.rules.house.fee_bp / 1e4
    px = np.nan_to_num(state.marks * state.universe.lot_size)
    beyond: dict[int, float] = {}
    for symbol, lots, worst, rests in rows:
        mark = float(px[symbol])
        if lots > 0:
            up[symbol] += lots
            up_cash += lots * worst * (1.0 + fee)
            loss += lots * max(worst * (1.0 + fee) - mark, 0.0)
            gain += lots * max(mark - worst, 0.0)
        else:
            down[symbol] -= lots
            loss -= lots * max(mark - worst * (1.0 - fee), 0.0)
            gain -= lots * max(worst - mark, 0.0)
            if rests and worst > mark > 0.0:
                beyond[symbol] = max(beyond.get(symbol, 1.0), worst / mark)
    for symbol, ratio in beyond.items():
        opening = down[symbol] - max(float(account.lots[symbol]), 0.0)
        down[symbol] += ceil(max(opening, 0.0) * (ratio - 1.0))
    orders = len(rows)
    if book == HOUSE:
        # an order of several agents is one order
        held = sum(1 for _ in state.held_stops())
        orders = len(state.venue.foreign) + sum(work.live for work in state.working.values()) + held - len(without)
    account.up, account.down, account.up_cash, account.open_orders = up, down, up_cash, orders
    account.open_loss, account.open_gain = loss, gain


def _blocked(state: State, agent: int) -> Iterable[int]:
    """Columns of the symbols that an agent may not enter yet after a protective exit."""
    return (symbol for symbol, last in state.agents[agent].blocked.items() if state.sample_no <= last)


def market_context(state: State) -> Context:
    """The market data, at this instant, that all gates (checks of limits) and the monitor share."""
    cached = state.watch.context
    if cached is not None and cached[0] == state.now and cached[1] is state.marks:
        return cached[2]
    lot_size = state.universe.lot_size
    context = Context(
        px=state.marks * lot_size,
        prices_nano=state.marks_nano,
        age_ns=state.now - state.mark_ts,
        volume_lots=state.average_volume() / lot_size,
        returns=state.history.synchronous.returns,  # of the samples of one date in all calendars
        sums=state.history.synchronous.sums,
        universe=state.universe,
    )
    state.watch.context = state.now, state.marks, context
    return context
