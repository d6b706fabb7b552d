"""Protective stops at the venue as orders: conflicts with other orders, cancels and fills.

Invariant: stops and reducing orders together never exceed the position, of the house and of each book. So no fill, in
whatever order reports arrive, takes a position across zero.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.state import HOUSE, Exit, State
from quantd.daemon.engine.venue.open_orders import Working
from quantd.daemon.engine.venue.refusals import pause_after
from quantd.trading.effects import Effect, Protected, Query
from quantd.trading.execution import split_stop
from quantd.trading.instruments import NANO
from quantd.trading.market import Floats
from quantd.trading.orders import ENDED, OrderState, price_text

PATIENCE_NS: Final = 10 * NANO
"""Time for which a triggered stop may fill at the venue before its position is closed by other orders."""


class Live(NamedTuple):
    """A stop that has not ended: its basket and row, its agent, and the unsigned lots it may still fill."""

    key: tuple[int, int]
    row: int
    agent: int
    symbol: int
    left: int
    going: bool
    """Whether it is being cancelled."""


def live_stops(state: State) -> list[Live]:
    """Every stop that may still fill, oldest basket first."""
    return [
        Live(key, row, who, work.basket.sym[row], abs(lots), state.rests[key].asked[row] > 0)
        for key, work in state.stops.items()
        for row, who, lots in work.open_shares()
    ]


def cancel_stops(state: State, stops: Sequence[Live]) -> list[Effect]:
    """Cancel stops that are not being cancelled yet."""
    return [_cancel(state, stop) for stop in stops if not stop.going]


def _cancel(state: State, stop: Live) -> Effect:
    state.rests[stop.key].asked[stop.row] = state.now
    return state.stops[stop.key].cancel(stop.row, state.now)


def reducing_lots(state: State) -> dict[int, list[int]]:
    """Unsigned lots by book and column by which open orders and crosses may still reduce positions."""
    found = {book: [0] * state.universe.size for book in (HOUSE, *range(len(state.agents)))}

    def count(book: int, symbol: int, lots: int) -> None:
        if state.account(book).lots[symbol] * lots < 0:
            found[book][symbol] += abs(lots)

    for work in state.working.values():
        for row, agent, lots in work.open_shares():
            count(HOUSE, work.basket.sym[row], lots)
            count(agent, work.basket.sym[row], lots)
    for cross in state.crosses:
        for agent, lots in cross.shares:
            count(agent, cross.symbol, lots)
    return found


def cancel_conflicts(state: State, changes: dict[int, Floats], by_hand: bool = False) -> tuple[list[int], list[Effect]]:
    """(columns in which stops must end before orders for these changes, float64[N] by agent; cancels of the stops).

    A stop conflicts where open orders, the changes that reduce and all stops together exceed the position. An agent's
    own stop is cancelled first; all stops of the symbol where that does not suffice. In a symbol that is held after a
    price jump only changes `by_hand` conflict: the gate refuses the others.
    """
    stops = live_stops(state)
    if not stops:
        return [], []
    away: dict[int, list[int]] | None = None
    columns: list[int] = []
    gone: list[Live] = []
    held = state.ledger.house.lots
    for symbol in sorted({stop.symbol for stop in stops}):
        if symbol in state.jumped and not by_hand:
            continue
        here = [stop for stop in stops if stop.symbol == symbol]
        requested = {agent: int(change[symbol]) for agent, change in changes.items() if change[symbol]}
        less = {a: abs(k) for a, k in requested.items() if k * held[symbol] < 0}
        own = {a: abs(k) for a, k in requested.items() if k * state.ledger.books[a].held[symbol] < 0}
        if not less and not own:
            continue
        away = away or reducing_lots(state)
        mine = [
            stop
            for stop in here
            if stop.agent in own
            and own[stop.agent]
            + away[stop.agent][symbol]
            + sum(other.left for other in here if other.agent == stop.agent)
            > abs(state.ledger.books[stop.agent].held[symbol])
        ]
        others = sum(stop.left for stop in here if stop not in mine)
        if less and sum(less.values()) + away[HOUSE][symbol] + others > abs(held[symbol]):
            mine = here
        if mine:
            columns.append(symbol)
            gone += mine
    return columns, cancel_stops(state, gone)


def stop_may_fill(state: State, agent: int, symbol: int, since: int) -> bool:
    """Whether a stop of this position may still fill at the venue within PATIENCE_NS."""
    return state.now - since < PATIENCE_NS and any(
        stop.agent == agent and stop.symbol == symbol and not stop.going for stop in live_stops(state)
    )


def stops_filled(
    state: State,
    key: tuple[int, int],
    work: Working,
    sym: Sequence[int],
    lots: Sequence[int],
    price_nano: Sequence[int],
) -> Iterator[Effect]:
    """The effects of fills of stops: the exit of the agent, recorded once, with an alert."""
    rest = state.rests[key]
    agent = state.agents[rest.agent]
    for symbol, filled, price in zip(sym, lots, price_nano, strict=True):
        row = work.basket.sym.index(symbol)
        level, entry, kind = rest.stop_nano[row] / NANO, rest.entry[row], rest.kind[row]
        yield Protected(state.now, *key, rest.agent, symbol, kind, entry, price / NANO, level)
        if symbol in agent.exits:
            continue
        agent.exits[symbol] = Exit(kind, entry, price / NANO, level, since=state.now)
        state.protecting = True
        text = (
            f"{kind.replace('_', ' ')} at the venue: {'sold' if filled < 0 else 'bought back'} at {price_text(price)}, "
            f"stop {price_text(rest.stop_nano[row])}, entry price {price_text(round(entry * NANO))}"
        )
        moved = abs(price / NANO / entry - 1.0)
        yield alert(state, "WARNING", "protective", text, agent=rest.agent, symbol=symbol, value=moved)


def stops_ended(state: State, key: tuple[int, int], work: Working, rows: Sequence[int]) -> None:
    """Pause before a new attempt for stops that ended without our cancel; a rejection is counted with its words."""
    rest = state.rests[key]
    for row in rows:
        at = rest.agent, work.basket.sym[row]
        exit_ = state.agents[rest.agent].exits.get(at[1])
        if exit_ is not None:
            exit_.held = True  # the rest of the position is ordered at once
        if not rest.asked[row] and work.state[row] != OrderState.REJECTED:
            pause_after(state, *at, "stop", "")


def repeat_cancels(state: State, at_tick: bool) -> list[Effect]:
    """Repeat cancels after PATIENCE_NS and at each tick, and query every stop at a tick: reports may be lost."""
    effects = [
        _cancel(state, stop)
        for stop in live_stops(state)
        if stop.going and (at_tick or state.now - state.rests[stop.key].asked[stop.row] >= PATIENCE_NS)
    ]
    if at_tick:
        for (sample, n), work in state.stops.items():
            effects.append(Query(sample, n, [row for row, now in enumerate(work.state) if now not in ENDED]))
    return effects


def own_levels(state: State) -> "tuple[Floats, Floats] | None":
    """float64[A, N] stops and targets of operators, currency per unit, NaN where there is none; None without any."""
    if not state.own:
        return None
    stops, targets = np.full(state.best.shape, np.nan), np.full(state.best.shape, np.nan)
    for (agent, symbol), each in state.own.items():
        if each.stop_nano:
            stops[agent, symbol] = each.stop_nano / NANO
        if each.target_nano:
            targets[agent, symbol] = each.target_nano / NANO
    return stops, targets


def forget_own(state: State) -> None:
    """Drop operators' levels of closed positions that no open order opens again."""
    busy = {(who, work.basket.sym[row]) for work in state.working.values() for row, who, _ in work.open_shares()}
    busy |= {(who, symbol) for each in state.postponed for who in each.lots or () for symbol in each.symbols}
    gone = [at for at in state.own if not state.ledger.books[at[0]].held[at[1]] and at not in busy]
    for at in gone:
        del state.own[at]
    if gone:
        state.govern(state.rules)


def split_stops(state: State, symbol: int, numerator: int, denominator: int) -> None:
    """Rescale triggers, entries and operators' levels."""
    for key, rest in state.rests.items():
        for row, column in enumerate(state.stops[key].basket.sym):
            if column == symbol:
                buys = state.stops[key].lots[row] > 0
                rest.stop_nano[row] = split_stop(rest.stop_nano[row], buys, numerator, denominator)
                rest.entry[row] *= denominator / numerator
    for (_, column), each in state.own.items():
        if column == symbol:
            each.stop_nano = each.stop_nano * denominator // numerator
            each.target_nano = each.target_nano * denominator // numerator
