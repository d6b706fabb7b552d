"""Protective exits: a position whose mark comes to its level is closed whole, whatever its policy wants.

Decided on the close of any bar, filled at the next open, through the gate like every order. What is under way is
kept by agent and column until nothing is held; then the symbol is blocked for the cooldown.
"""

from collections.abc import Sequence

import numpy as np

from quantd.daemon.engine.alerts import alert
from quantd.daemon.engine.planning.plan import plan
from quantd.daemon.engine.planning.targets import in_flight, withdraw
from quantd.daemon.engine.state import AgentState, Exit, State
from quantd.daemon.engine.stops.venue_stops import in_the_way, own_levels, waits_for_its_stop
from quantd.risk.protective import Breach, Guards, Levels, breaches, levels, touched, trailed
from quantd.risk.switch import HALT
from quantd.trading.effects import Effect, Protected
from quantd.trading.instruments import MICRO
from quantd.trading.market import Floats
from quantd.trading.orders import OrderBasket, price_text


def check_levels(state: State) -> Sequence[Effect]:
    """After the marks moved: exits that begin, and what is left of those under way."""
    begun: list[Effect] = []
    guards = state.guards
    if guards is not None:
        now = state.levels = current_levels(state, guards)
        state.best = now.best
        if now.held:
            if guards.trails:
                now = state.levels = trailed(guards, now, state.marks)
                state.best = now.best
            if touched(now, state.marks):
                begun = [effect for found in breaches(guards, now, state.marks) for effect in _begin(state, found)]
    for agent in state.agents:
        if agent.exits:
            return [*begun, *ask_for_exits(state)]
    return begun


def current_levels(state: State, guards: Guards) -> Levels:
    """The levels of what is held now. They are kept from a bar to the next booking: a stop that trails knows no price
    between two closes, nor what a position that is being built cost so far."""
    if state.levels is not None:
        return state.levels
    books = state.ledger.books
    lots = np.array([book.lots for book in books[:-1]], dtype=np.float64)
    cost = np.array([book.cost_micro for book in books[:-1]], dtype=np.float64)
    return levels(guards, lots, cost, state.universe.lot_size, state.best, own_levels(state))


def forget_best(state: State) -> None:
    """Drop the best prices of positions that are closed. One that is opened again before the next bar that is seen has
    seen none of them."""
    if state.levels is None and state.guards is not None and state.guards.trails:
        side = np.sign(np.array([book.lots for book in state.ledger.books[:-1]], dtype=np.float64))
        state.best = np.where(state.best * side > 0.0, state.best, np.nan)


def _halted(state: State, agent: AgentState) -> bool:
    return max(state.switch.state, agent.switch.state) == HALT


def _begin(state: State, found: Breach) -> list[Effect]:
    """Note a position that is to be closed, once, and say so."""
    agent = state.agents[found.book]
    if found.symbol in agent.exits or _halted(state, agent):
        return []
    agent.exits[found.symbol] = Exit(found.kind, found.entry, found.mark, found.level)
    if found.kind == "take_profit":
        return []  # what the plan was after; the order that closes it carries the reason
    mark, entry = price_text(round(found.mark * 1e9)), price_text(round(found.entry * 1e9))
    since = f"the best price since entry at {entry}" if found.kind == "trailing_stop" else f"the entry price {entry}"
    below = (found.mark < found.entry) if found.kind != "trailing_stop" else state.lots(found.book)[found.symbol] > 0.0
    text = (
        f"{found.kind.replace('_', ' ')}: {state.universe.symbols[found.symbol]} at {mark} is {found.moved:.1%} "
        f"{'below' if below else 'above'} {since}, limit {found.bound:.1%}; the position is closed at the next open"
    )
    return [
        alert(
            state, "WARNING", "protective", text, agent=found.book, symbol=found.symbol, value=found.moved,
            bound=found.bound,
        )
    ]  # fmt: skip


def _forget(agent: AgentState, symbol: int) -> None:
    """What is left of an earlier decision does not enter again what is being closed."""
    if agent.follow_up is not None:
        weights = np.frombuffer(agent.follow_up.weights).copy()
        weights[symbol] = 0.0
        agent.follow_up.weights = weights.tobytes()


def settle_exits(state: State) -> None:
    """Exits that are over, because nothing is held any more. The cooldown begins with the next sample."""
    for number, agent in enumerate(state.agents):
        if not agent.exits:
            continue
        lots = state.ledger.books[number].lots
        for symbol in [symbol for symbol in agent.exits if not lots[symbol]]:
            del agent.exits[symbol]
            _forget(agent, symbol)
            if state.guards is not None and state.guards.cooldown[number]:
                agent.blocked[symbol] = state.sample_no + state.guards.cooldown[number]


def release_blocked(state: State) -> None:
    """Forget cooldowns that are over, at a sample."""
    for agent in state.agents:
        if agent.blocked:
            agent.blocked = {s: last for s, last in agent.blocked.items() if state.sample_no <= last}


def ask_for_exits(state: State, freed: bool = False) -> list[Effect]:
    """Ask for what is left of every exit, once an instant: first the agent's orders that add are cancelled, and the
    exit waits until they have ended; what already reduces the position is counted, and goes on. `freed`: only for
    those that waited for a stop."""
    settle_exits(state)
    effects: list[Effect] = []
    changes: dict[int, Floats] = {}
    for number, agent in enumerate(state.agents):
        due = [
            s
            for s, each in agent.exits.items()
            if (each.held if freed else each.tried != state.now)
            and s not in state.halted
            and (each.kind == "take_profit" or not waits_for_its_stop(state, number, s, each.since))
        ]
        if not due or _halted(state, agent):
            continue
        lots, open_lots = state.lots(number), in_flight(state, number)
        change = np.zeros(state.universe.size)
        change[due] = -lots[due] - open_lots[due]
        adding = (open_lots * lots > 0.0) & (change != 0.0)
        if adding.any():
            effects.extend(withdraw(state, number, adding))
            change = np.where(in_flight(state, number) * lots > 0.0, 0.0, change)
        change = np.where(change * lots < 0.0, change, 0.0)
        if change.any():
            changes[number] = change
    if changes and state.stops:
        columns, cancels = in_the_way(state, changes)
        effects.extend(cancels)
        for number, change in changes.items():
            for symbol in columns:
                if change[symbol]:
                    state.agents[number].exits[symbol].held = True  # asked for when the venue has said that they ended
                    change[symbol] = 0.0
        changes = {number: change for number, change in changes.items() if change.any()}
    if changes:
        effects.extend(_planned(state, changes))
    if freed:
        for number, change in changes.items():
            for symbol in change.nonzero()[0].tolist():
                state.agents[number].exits[symbol].tried = 0  # the bar of this instant may still come, with other marks
    return effects


def _planned(state: State, changes: dict[int, Floats]) -> list[Effect]:
    """Through the gate as one round, and which order carries which exit."""
    state.revalue()
    answers = {number: _weights(state, number, change) for number, change in changes.items()}
    effects = list(plan(state, answers, sample=state.sample, lots=changes))
    sent = next((e for e in effects if type(e) is OrderBasket), None)
    for number, change in changes.items():
        for symbol in change.nonzero()[0].tolist():
            each = state.agents[number].exits[symbol]
            n = sent.n if sent is not None and symbol in sent.sym else 0
            if n or not each.tried:
                effects.append(
                    Protected(
                        state.now, state.sample, n, number, symbol, each.kind, each.entry, each.mark, each.level
                    )
                )  # fmt: skip
            each.tried, each.held = state.now, False
    return effects


def _weights(state: State, number: int, change: Floats) -> bytes:
    """float64[N] the agent's present weights, 0 where it exits."""
    equity = state.books_micro[number]
    value = np.nan_to_num(state.lots(number) * state.marks * state.universe.lot_size)
    weights = value * (MICRO / equity) if equity > 0 else np.zeros_like(value)
    weights[change != 0.0] = 0.0
    return weights.tobytes()


def split_exits(state: State, symbol: int, numerator: int, denominator: int) -> None:
    """Prices that are kept are worth that much less; entry prices follow from cost and lots by themselves."""
    state.best = state.best.copy()
    state.best[:, symbol] *= denominator / numerator
    for agent in state.agents:
        each = agent.exits.get(symbol)
        if each is not None:
            each.entry, each.mark, each.level = (
                price * denominator / numerator for price in (each.entry, each.mark, each.level)
            )
