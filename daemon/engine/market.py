"""Handlers of market slices (the bars of one instant) and of corporate actions."""

from collections.abc import Sequence

import numpy as np

from quantd.daemon.engine.planning.execution import see_volume
from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.state import State
from quantd.daemon.engine.stops.exits import check_levels
from quantd.daemon.engine.venue.account import entitle
from quantd.daemon.engine.venue.halts import trades_again
from quantd.daemon.engine.venue.price_jumps import closes_before, jump_announced, mark_held
from quantd.daemon.engine.venue.splits import scale_mark, split_books
from quantd.trading.effects import Cancel, Crossed, Effect, payment
from quantd.trading.events import Action
from quantd.trading.instruments import NANO
from quantd.trading.market import MarketSlice
from quantd.trading.orders import ENDED


def keep_bar(state: State, market: MarketSlice) -> None:
    """Store a bar for policies that read bars, with the prices before the jump of symbols that are held."""
    held_columns: Sequence[int] = ()
    if state.restrictions.jumped:
        state.market_columns.waiting = False  # its closes are not those of the history
        held_columns = mark_held(state, market)
        closes = closes_before(state, market.close, market.ts_event)
        state.history.bar(market.key, market.fresh, market.full, closes)
    if state.history.bars is not None:
        state.history.bars.slice(market, held_columns)


def rest_of_bar(state: State, market: MarketSlice) -> list[Effect]:
    """End trading halts after a bar's closes are the marks, then check protective levels, then count for parents."""
    effects: list[Effect] = []
    if state.restrictions.halted or state.restrictions.limited:
        effects.extend(trades_again(state, market))
    if state.protecting and market.ts_event >= state.carried[1]:  # earlier bars are history of a carried account
        effects.extend(check_levels(state))
    if state.parents:
        see_volume(state, market)
    return effects


def book_crosses(state: State, market: MarketSlice) -> list[Effect]:
    """Book crosses between agents at the first open within both worst prices; expired ones lapse."""
    effects: list[Effect] = []
    waiting = []
    for cross in state.crosses:
        eligible = market.fresh[cross.symbol] and market.ts_open >= cross.ts
        price = int(market.open_nano[cross.symbol])
        if eligible and cross.sell_worst_nano <= price <= cross.buy_worst_nano:
            state.ledger.cross(cross.symbol, price, cross.shares)
            state.booked()
            if state.counting:
                state.activity.roll(market.ts_open, state.rules.house_sessions())
                state.activity.cross(price, cross.shares, float(state.universe.lot_size[cross.symbol]))
            effects.append(Crossed(cross.sample, market.ts_open, cross.symbol, price, cross.shares))
        elif not (cross.end and cross.end <= market.ts_event):
            waiting.append(cross)
    state.crosses.keep(waiting)
    return effects


def on_action(state: State, action: Action) -> Sequence[Effect]:
    """Apply a split, dividend or delisting at the ex date's open to the positions of the previous close.

    An account that was carried over from an earlier run contains the actions up to `state.carried[0]` already. A venue
    that pays dividends itself (`venue_pays`) reports the cash later. A split of a symbol that is blocked after a jump
    of its price may explain the jump.
    """
    symbol, is_carried = action.symbol, action.ts <= state.carried[0]
    if action.kind == "dividend":
        state.history.action(action.key, symbol, 1.0, action.cash_nano / 1e9)  # the ratio 1: no split
        if is_carried:
            return ()  # the carried account has it
        if state.rules.venue_pays:
            entitle(state, action)
            return ()
        posted = state.ledger.dividend(symbol, action.cash_nano)
        state.booked()
        return payment(action.ts, "dividend", symbol, posted)
    if is_carried and action.kind == "delisting":
        return ()
    if action.kind == "delisting":
        return _delist(state, action)
    numerator, denominator = action.numerator, action.denominator
    if symbol in state.restrictions.jumped and not is_carried:
        return jump_announced(state, action)
    state.history.action(action.key, symbol, numerator / denominator, 0.0)  # no cash
    scale_mark(state, symbol, numerator, denominator)  # marks are raw prices: from the ex date on they are scaled
    if is_carried:
        return ()
    booked = split_books(state, action.ts, symbol, numerator, denominator)
    text = f"{numerator}:{denominator} split of {state.universe.symbols[symbol]}"
    return [alert(state, "INFO", "action", text), *booked]


def _delist(state: State, action: Action) -> Sequence[Effect]:
    """Turn the position of a delisted symbol into cash, cancel its orders and drop its price, so that it is not bought.

    A venue that pays the cash itself reports it as a flow: in this case the lots stay until the next reconciliation.
    """
    symbol, name = action.symbol, state.universe.symbols[action.symbol]
    effects: list[Effect] = [
        Cancel(sample, n, row, state.now)
        for (sample, n), work in state.working.items()
        for row, column in enumerate(work.basket.sym)
        if column == symbol and work.state[row] not in ENDED
    ]
    state.crosses.drop(symbol)
    state.restrictions.jumped.pop(symbol, None)
    house_lots = state.ledger.house.held[symbol]
    text = f"{name} was delisted at {action.cash_nano / NANO:g} a share"
    effects.append(alert(state, "WARNING" if house_lots else "INFO", "action", text, symbol=symbol))
    if state.rules.venue_pays:
        return effects
    marks, marks_nano = state.marks.copy(), state.marks_nano.copy()
    marks[symbol], marks_nano[symbol] = np.nan, 0
    state.set_marks(marks, marks_nano)
    posted = state.ledger.delist(symbol, action.cash_nano)
    state.best = state.best.copy()
    state.best[:, symbol] = np.nan
    for agent in state.agents:
        agent.exits.pop(symbol, None)
        agent.lacks.split(symbol, 0.0)
    state.booked()
    return [*effects, *payment(action.ts, "delisting", symbol, posted)]
