"""The protective levels and exits of a state in the columns of the fold."""

from math import inf

import numpy as np

from quantd.daemon.engine.planning.closing_lots import closing_lots
from quantd.daemon.engine.state import State
from quantd.daemon.engine.stops.exits import due_exits, settle_exits
from quantd.trading.effects import Effect, Protected
from quantd.trading.market import Floats
from quantd.trading.orders import OrderBasket


def load_guards(state: State) -> None:
    """Read the levels of each agent as fractions, infinite where it has none, exits in progress and cooldowns."""
    guards, state.guarded = state.guards, state.protecting
    for number, columns in enumerate(state.agent_columns):
        columns.stop, columns.target = (
            (inf, inf) if guards is None else (_level(guards.stop, number), _level(guards.target, number))
        )
    _load_exits(state)


def _level(levels: Floats, number: int) -> float:
    value = float(levels[number, 0])
    return inf if value != value else value


def _load_exits(state: State) -> None:
    state.exiting = any(agent.exits for agent in state.agents)
    state.cooling = any(agent.blocked for agent in state.agents)


def load_changes(state: State) -> bool:
    """End the exits of closed positions, and write the lots that close the others; whether there are any."""
    settle_exits(state)
    _load_exits(state)
    for number, columns in enumerate(state.agent_columns):
        due, columns.taking = due_exits(state, number), False
        if due:
            change = np.zeros(state.universe.size)
            change[due] = closing_lots(state, number)[due]
            columns.change[:] = change.data
            columns.taking = bool(change.any())
    return any(columns.taking for columns in state.agent_columns)


def protections(state: State, basket: OrderBasket | None) -> list[Effect]:
    """The records of the exits in the columns, which `basket` closes; None where no order was sent."""
    effects: list[Effect] = []
    for number, columns in enumerate(state.agent_columns):
        if not columns.taking:
            continue
        for symbol in np.asarray(columns.change).nonzero()[0].tolist():
            closed = state.agents[number].exits[symbol]
            n = basket.n if basket is not None and symbol in basket.sym else 0
            if n or not closed.tried:
                levels = closed.kind, closed.entry, closed.mark, closed.level
                effects.append(Protected(state.now, state.sample, n, number, symbol, *levels))
    return effects


def note_orders(state: State) -> None:
    """Note that the exits of the columns were ordered at this instant."""
    for agent, columns in zip(state.agents, state.agent_columns, strict=True):
        for symbol, protective in agent.exits.items():
            if columns.taking and columns.change[symbol]:
                protective.tried, protective.held = state.now, False
