"""The protective levels and exits of a state in the columns of the compiled fold."""

from math import inf

import numpy as np

from quantd.daemon.engine.planning.closing_lots import closing_lots
from quantd.daemon.engine.state import State
from quantd.daemon.engine.stops.exits import due_exits, settle_exits
from quantd.trading.effects import Effect, Protected
from quantd.trading.market import Floats
from quantd.trading.orders import OrderBasket


def load_guards(state: State) -> None:
    """Read exits in progress, cooldowns, and the protective levels of each agent: fractions, infinite for no level."""
    guards, state.guarded = state.guards, state.protecting
    state.trailing = guards is not None and guards.trails
    for agent, columns in enumerate(state.agent_columns):
        columns.stop, columns.target = (
            (inf, inf) if guards is None else (_level(guards.stop, agent), _level(guards.target, agent))
        )
    _load_exits(state)


def _level(levels: Floats, agent: int) -> float:
    value = float(levels[agent, 0])
    return inf if value != value else value  # NaN: no level


def _load_exits(state: State) -> None:
    state.exiting = any(agent.exits for agent in state.agents)
    state.cooling = any(agent.blocked for agent in state.agents)


def load_changes(state: State) -> bool:
    """End the exits of closed positions, and write to the columns the lots that close the remaining positions.

    `columns.change` are the signed lots of the orders of an agent, `columns.taking` says whether there are any. Returns
    True if there are lots to close.
    """
    settle_exits(state)
    _load_exits(state)
    for agent, columns in enumerate(state.agent_columns):
        due, columns.taking = due_exits(state, agent), False
        if due:
            change = np.zeros(state.universe.size)
            change[due] = closing_lots(state, agent)[due]
            columns.change[:] = change.data
            columns.taking = bool(change.any())
    return any(columns.taking for columns in state.agent_columns)


def protections(state: State, basket: OrderBasket | None) -> list[Effect]:
    """The records of the protective exits in the columns; `basket` has their orders, None where no order was sent.

    A record has the number of the basket in its sample, 0 without an order. An exit without an order is recorded at its
    first attempt only.
    """
    effects: list[Effect] = []
    for agent, columns in enumerate(state.agent_columns):
        if not columns.taking:
            continue
        for symbol in np.asarray(columns.change).nonzero()[0].tolist():
            protective_exit = state.agents[agent].exits[symbol]
            n = basket.n if basket is not None and symbol in basket.sym else 0
            if n or not protective_exit.tried:
                levels = protective_exit.kind, protective_exit.entry, protective_exit.mark, protective_exit.level
                effects.append(Protected(state.now, state.sample, n, agent, symbol, *levels))
    return effects


def note_orders(state: State) -> None:
    """Note that the exits in the columns were ordered at this instant."""
    for agent, columns in zip(state.agents, state.agent_columns, strict=True):
        for symbol, protective in agent.exits.items():
            if columns.taking and columns.change[symbol]:
                protective.tried, protective.held = state.now, False
