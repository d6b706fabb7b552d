"""Protective exits: a position whose mark reaches its level is closed whole, whatever the target of its policy.

The close of a bar triggers an exit; its order passes the gate (the check of limits) and fills at the next open. An exit
is in progress until the position is closed; then the symbol is blocked for the cooldown.

What can go wrong: the rest of an earlier decision, or an order that adds to the position, reopens it. Therefore the
agent's orders that add are cancelled, and the exit waits for their end. Its orders that reduce count as part of the
exit, so that it is not sold twice; those that rest at a price which the market has not reached end first, like those
that add. When the exit ends, the rest of an earlier decision loses the symbol.

An exit is ordered at most once an instant, because the bar and the tick of one instant both run this module. Where a
stop at the venue covers the position, the exit waits until the stop has ended. In a symbol that is blocked after a
price jump no exit begins, because the jump may be a split.
"""

from collections.abc import Sequence

import numpy as np

from quantd.daemon.engine.planning.closing_lots import closing_lots
from quantd.daemon.engine.planning.plan import plan
from quantd.daemon.engine.planning.stop_conflicts import cancel_conflicts
from quantd.daemon.engine.planning.targets import at_rest, in_flight, withdraw
from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.safety.monitor import watch_plan
from quantd.daemon.engine.state import AgentState, Exit, State
from quantd.daemon.engine.stops.venue_stops import own_levels, stop_may_fill
from quantd.risk.protective import Breach, Guards, Levels, breaches, levels, touched, trailed
from quantd.risk.switch import HALT
from quantd.trading.effects import Effect, Protected
from quantd.trading.market import Floats
from quantd.trading.orders import OrderBasket, price_text


def check_levels(state: State) -> Sequence[Effect]:
    """After a change of marks: begin new exits, and order the exits in progress."""
    begun = begin_exits(state)
    return [*begun, *order_exits(state)] if any(agent.exits for agent in state.agents) else begun


def begin_exits(state: State) -> list[Effect]:
    """Begin the exits of positions whose marks are at or beyond a protective level. Trailing levels follow marks."""
    guards = state.guards
    if guards is None:
        return []
    present_levels = state.levels = current_levels(state, guards)
    state.best = present_levels.best  # side (1 long, -1 short) x the best mark since entry
    if present_levels.held and guards.trails:  # `held`: any level exists
        present_levels = state.levels = trailed(guards, present_levels, state.marks)
        state.best = present_levels.best
    if not present_levels.held or not touched(present_levels, state.marks):
        return []
    return [effect for breach in breaches(guards, present_levels, state.marks) for effect in _begin(state, breach)]


def current_levels(state: State, guards: Guards) -> Levels:
    """The levels of the present positions, valid from a bar to the next booking: a trailing stop uses closes only."""
    if state.levels is not None:
        return state.levels
    books = state.ledger.books[:-1]
    lots = np.array([book.lots for book in books], dtype=np.float64)
    cost = np.array([book.cost_micro for book in books], dtype=np.float64)
    return levels(guards, lots, cost, state.universe.lot_size, state.best, own_levels(state))


def forget_best(state: State) -> None:
    """Drop the best prices of closed positions: a position reopened before the next bar must not use them."""
    if state.levels is None and state.guards is not None and state.guards.trails:
        side = np.sign(np.array([book.lots for book in state.ledger.books[:-1]], dtype=np.float64))
        state.best = np.where(state.best * side > 0.0, state.best, np.nan)


def _halted(state: State, agent: AgentState) -> bool:
    """Whether the kill switch of the whole account or of an agent is at HALT."""
    return max(state.switch.state, agent.switch.state) == HALT


def _begin(state: State, breach: Breach) -> list[Effect]:
    agent = state.agents[breach.book]
    if breach.symbol in agent.exits or breach.symbol in state.restrictions.jumped or _halted(state, agent):
        return []
    agent.exits[breach.symbol] = Exit(breach.kind, breach.entry, breach.mark, breach.level)
    lots, value = state.lots(breach.book), state.lot_values()
    agent.lacks.exit(breach.symbol, float(lots[breach.symbol]), float(value[breach.symbol]))
    if breach.kind == "take_profit":
        return []  # the exit closed the position as planned: its order has the reason, and no alert is needed
    mark, entry = price_text(round(breach.mark * 1e9)), price_text(round(breach.entry * 1e9))
    since = f"the best price since entry at {entry}" if breach.kind == "trailing_stop" else f"the entry price {entry}"
    # from the best price a long position falls, and a short one rises
    below = (
        (breach.mark < breach.entry) if breach.kind != "trailing_stop" else state.lots(breach.book)[breach.symbol] > 0.0
    )
    text = (
        f"{breach.kind.replace('_', ' ')}: {state.universe.symbols[breach.symbol]} at {mark} is {breach.moved:.1%} "
        f"{'below' if below else 'above'} {since}, limit {breach.bound:.1%}; the position is closed at the next open"
    )
    measured = {"value": breach.moved, "bound": breach.bound}
    return [alert(state, "WARNING", "protective", text, agent=breach.book, symbol=breach.symbol, **measured)]


def settle_exits(state: State) -> None:
    """End the protective exits of closed positions. The cooldown, in which the symbol is blocked, begins with the next
    sample."""
    for number, agent in enumerate(state.agents):
        if not agent.exits:
            continue
        lots = state.ledger.books[number].lots
        for symbol in [symbol for symbol in agent.exits if not lots[symbol]]:
            del agent.exits[symbol]
            if agent.follow_up.waits():  # the rest of an earlier decision must not reopen the position
                agent.follow_up.weights[symbol] = 0.0
            if state.guards is not None and state.guards.cooldown[number]:
                agent.blocked[symbol] = state.sample_no + state.guards.cooldown[number]


def release_blocked(state: State) -> None:
    """Drop the cooldowns (blocks of a symbol after its exit) that are over."""
    for agent in state.agents:
        if agent.blocked:
            agent.blocked = {s: last for s, last in agent.blocked.items() if state.sample_no <= last}


def due_exits(state: State, number: int, freed: bool = False) -> list[int]:
    """Columns of an agent's exits that are ordered at this instant; with `freed` only exits that waited for a stop.

    None is due while the agent is halted, or in a symbol that is halted or blocked after a price jump. While a stop at
    the venue may still fill, only a take-profit is due.
    """
    agent = state.agents[number]
    due = [
        symbol
        for symbol, exit_ in agent.exits.items()
        if (exit_.held if freed else exit_.tried != state.now)  # waits for a stop, or not tried at this instant
        and symbol not in state.restrictions.halted
        and symbol not in state.restrictions.jumped
        and (exit_.kind == "take_profit" or not stop_may_fill(state, number, symbol, exit_.since))
    ]
    return [] if _halted(state, agent) else due


def order_exits(state: State, freed: bool = False) -> list[Effect]:
    """Order the remaining lots of every exit, once an instant; with `freed` only of exits that waited for a stop.

    The agent's orders that add to the position are cancelled first, and the exit waits for their end. Orders that
    reduce it count as part of the exit.
    """
    settle_exits(state)
    effects: list[Effect] = []
    changes: dict[int, Floats] = {}
    for number in range(len(state.agents)):
        due = due_exits(state, number, freed)
        if not due:
            continue
        lots, open_lots = state.lots(number), in_flight(state, number)
        change = np.zeros(state.universe.size)
        change[due] = closing_lots(state, number)[due] - open_lots[due]
        adding = (open_lots * lots > 0.0) & (change != 0.0)
        if adding.any():
            effects.extend(withdraw(state, number, adding))
            change = np.where(in_flight(state, number) * lots > 0.0, 0.0, change)
        resting = np.zeros(state.universe.size, dtype=np.bool_)
        resting[due] = at_rest(state, number)[due] * lots[due] < 0.0
        if resting.any():  # an order that may rest for ever closes nothing, and could fill beside the exit
            effects.extend(withdraw(state, number, resting))
            change[resting] = 0.0
        change = np.where(change * lots < 0.0, change, 0.0)
        if change.any():
            changes[number] = change
    if changes and state.protection.stops:
        columns, cancels = cancel_conflicts(state, changes)
        effects.extend(cancels)
        for number, change in changes.items():
            for symbol in columns:
                if change[symbol]:
                    state.agents[number].exits[symbol].held = True  # after its stops have ended: both could fill
                    change[symbol] = 0.0
        changes = {number: change for number, change in changes.items() if change.any()}
    if changes:
        effects.extend(_plan_exits(state, changes, freed))
    return effects


def _plan_exits(state: State, changes: dict[int, Floats], freed: bool) -> list[Effect]:
    """Send exits through the gate (the check of limits) together, and record the order of each.

    An exit without an order is recorded at its first attempt only, with the order number 0. `freed` exits waited for
    the end of a stop.
    """
    state.revalue()
    answers = {
        number: np.where(change != 0.0, 0.0, state.held_weights(number)).tobytes() for number, change in changes.items()
    }
    effects = list(plan(state, answers, watch=watch_plan, sample=state.sample, lots=changes))
    sent = next((e for e in effects if type(e) is OrderBasket), None)
    for number, change in changes.items():
        for symbol in change.nonzero()[0].tolist():
            exit_ = state.agents[number].exits[symbol]
            n = sent.n if sent is not None and symbol in sent.sym else 0
            if n or not exit_.tried:
                levels = exit_.kind, exit_.entry, exit_.mark, exit_.level
                effects.append(Protected(state.now, state.sample, n, number, symbol, *levels))
            # 0: the bar of this instant may come after the end of a stop, and order the exit again at its marks
            exit_.tried, exit_.held = 0 if freed else state.now, False
    return effects


def split_exits(state: State, symbol: int, numerator: int, denominator: int) -> None:
    """Rescale the recorded prices of a symbol's exits and trailing stops by a split; entry prices follow from cost and
    lots."""
    state.best = state.best.copy()
    state.best[:, symbol] *= denominator / numerator
    for agent in state.agents:
        exit_ = agent.exits.get(symbol)
        if exit_ is not None:
            exit_.entry, exit_.mark, exit_.level = (
                price * denominator / numerator for price in (exit_.entry, exit_.mark, exit_.level)
            )
