"""Protective stops at the venue that conflict with orders: they end before the orders are sent.

Invariant: stops and reducing orders together never exceed the position, of the whole account and of each
book. So no fill, in whatever order reports arrive, takes a position across zero.

The stop of the agent that sells is cancelled first. All stops of the symbol are cancelled only where that does not
suffice, because a position without a stop is watched by the daemon alone. While trading in a symbol is blocked after a
price jump, a cancelled stop could not be replaced, so only an operator's order cancels its stops.
"""

from collections.abc import Sequence
from typing import NamedTuple

from quantd.daemon.engine.state import HOUSE, State
from quantd.trading.effects import Effect
from quantd.trading.market import Floats


class Live(NamedTuple):
    """A protective stop that has not ended: its basket of orders and row in it, its agent, and the unsigned lots that
    may still fill."""

    key: tuple[int, int]
    row: int
    agent: int
    symbol: int
    lots: int
    going: bool
    """Whether it is being cancelled."""


def live_stops(state: State) -> list[Live]:
    """Every protective stop at the venue that may still fill, oldest basket first."""
    return [
        Live(key, row, who, work.basket.sym[row], abs(lots), state.protection.rests[key].asked[row] > 0)
        for key, work in state.protection.stops.items()
        for row, who, lots in work.open_shares()
    ]


def cancel_stops(state: State, stops: Sequence[Live]) -> list[Effect]:
    """Cancel the given protective stops, except any that is being cancelled already."""
    return [cancel_stop(state, stop) for stop in stops if not stop.going]


def cancel_stop(state: State, stop: Live) -> Effect:
    """Cancel a protective stop at the venue, and note the instant of the cancel."""
    state.protection.rests[stop.key].asked[stop.row] = state.now
    return state.protection.stops[stop.key].cancel(stop.row, state.now)


def reducing_lots(state: State) -> dict[int, list[int]]:
    """Book -> unsigned lots, one number per column, that open orders and crosses (trades between agents) may still
    close."""
    reducing = {book: [0] * state.universe.size for book in (HOUSE, *range(len(state.agents)))}

    def count(book: int, symbol: int, lots: int) -> None:
        if state.account(book).lots[symbol] * lots < 0:
            reducing[book][symbol] += abs(lots)

    for work in state.working.values():
        for row, agent, lots in work.open_shares():
            count(HOUSE, work.basket.sym[row], lots)
            count(agent, work.basket.sym[row], lots)
    for cross in state.crosses:
        for agent, lots in cross.shares:
            count(agent, cross.symbol, lots)
    return reducing


def cancel_conflicts(state: State, changes: dict[int, Floats], by_hand: bool = False) -> tuple[list[int], list[Effect]]:
    """Cancel the stops that must end before orders for `changes` (agent -> float64[N] signed lots) may be sent.

    Returns the columns of these stops, and the cancels. A stop conflicts where open orders, the changes that reduce and
    all stops together exceed the position. The stop of the agent that sells is cancelled first; all stops of the symbol
    where that does not suffice. In a symbol that is blocked after a price jump only changes `by_hand` conflict: the
    gate (the check of limits) refuses all other changes.
    """
    stops = live_stops(state)
    if not stops:
        return [], []
    open_reducing: dict[int, list[int]] | None = None
    columns: list[int] = []
    conflicting: list[Live] = []
    held = state.ledger.house.lots
    for symbol in sorted({stop.symbol for stop in stops}):
        if symbol in state.restrictions.jumped and not by_hand:
            continue
        symbol_stops = [stop for stop in stops if stop.symbol == symbol]
        requested = {agent: int(change[symbol]) for agent, change in changes.items() if change[symbol]}
        house_reductions = {agent: abs(lots) for agent, lots in requested.items() if lots * held[symbol] < 0}
        closing_lots = {
            agent: abs(lots) for agent, lots in requested.items() if lots * state.ledger.books[agent].held[symbol] < 0
        }
        if not house_reductions and not closing_lots:
            continue
        open_reducing = open_reducing or reducing_lots(state)
        to_cancel = [
            stop
            for stop in symbol_stops
            if stop.agent in closing_lots
            and closing_lots[stop.agent]
            + open_reducing[stop.agent][symbol]
            + sum(other.lots for other in symbol_stops if other.agent == stop.agent)
            > abs(state.ledger.books[stop.agent].held[symbol])
        ]
        remaining_lots = sum(stop.lots for stop in symbol_stops if stop not in to_cancel)
        if house_reductions and sum(house_reductions.values()) + open_reducing[HOUSE][symbol] + remaining_lots > abs(
            held[symbol]
        ):
            to_cancel = symbol_stops
        if to_cancel:
            columns.append(symbol)
            conflicting += to_cancel
    return columns, cancel_stops(state, conflicting)
