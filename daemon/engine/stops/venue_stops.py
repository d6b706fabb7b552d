"""Stops at the venue as orders: which rest, what is in their way, taking them back, and what their fills are.

The rule all of it keeps: what stops and reducing orders may still fill is never more than the position, of the house
and of each book. So no fill, in whatever order they come and however late they are told, can take a position across
zero.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from quantd.daemon.engine.alerts import alert
from quantd.daemon.engine.state import Exit, State
from quantd.daemon.engine.stops.records import Retry
from quantd.daemon.engine.venue.open_orders import Working
from quantd.trading.effects import Cancel, Effect, Protected, Query
from quantd.trading.execution import split_stop
from quantd.trading.instruments import NANO
from quantd.trading.market import Floats
from quantd.trading.orders import ENDED, TRANSITIONS, Cause, OrderState, price_text

PATIENCE_NS: Final = 10 * NANO
"""How long a stop that the market has come to may go on filling at the venue before its position is sold otherwise."""

RETRY_NS: Final = 60 * NANO
"""Until a stop that the venue did not take, or ended by itself, is tried again; twice as long each time, an hour at
most."""


class Live(NamedTuple):
    """A stop that has not ended: its basket and row, whose it is, and the unsigned lots it may still fill."""

    key: tuple[int, int]
    row: int
    agent: int
    symbol: int
    left: int
    going: bool
    """It is to be cancelled: it goes, or fills before that."""


def live_stops(state: State) -> list[Live]:
    """Every stop that may still fill, oldest basket first."""
    return [
        Live(key, row, who, work.basket.sym[row], abs(lots), state.rests[key].asked[row] > 0)
        for key, work in state.stops.items()
        for row, who, lots in work.open_shares()
    ]


def take_back(state: State, stops: Sequence[Live]) -> list[Effect]:
    """Cancel stops that are not being cancelled yet."""
    return [_cancel(state, stop) for stop in stops if not stop.going]


def _cancel(state: State, stop: Live) -> Effect:
    work = state.stops[stop.key]
    work.state[stop.row] = TRANSITIONS[work.state[stop.row]][Cause.CANCEL_ASKED]
    state.rests[stop.key].asked[stop.row] = state.now
    return Cancel(*stop.key, stop.row, state.now)


class Flight(NamedTuple):
    """Unsigned lots by column that may still take from the house's position, and by agent from its own."""

    house: list[int]
    books: dict[int, list[int]]


def flight(state: State) -> Flight:
    """What orders and crosses that are on their way, and parents that are worked, may still take from positions."""
    size = state.universe.size
    house, books = [0] * size, {number: [0] * size for number in range(len(state.agents))}
    held = state.ledger.house.lots

    def count(agent: int, symbol: int, lots: int, of_house: bool) -> None:
        if of_house and held[symbol] * lots < 0:
            house[symbol] += abs(lots)
        if state.ledger.books[agent].lots[symbol] * lots < 0:
            books[agent][symbol] += abs(lots)

    for work in state.working.values():
        for row, agent, lots in work.open_shares():
            count(agent, work.basket.sym[row], lots, True)
    for cross in state.crosses:
        for agent, lots in cross.shares:
            count(agent, cross.symbol, lots, False)
    return Flight(house, books)


def in_the_way(state: State, changes: dict[int, Floats]) -> tuple[list[int], list[Effect]]:
    """(columns in which stops must end before these changes, float64[N] by agent, can be asked for; their cancels).

    Where orders on their way, the changes that reduce and all stops fit into the position together, nothing is. Else an
    agent's own stop goes first, and all of the symbol where that is not enough.
    """
    stops = live_stops(state)
    if not stops:
        return [], []
    away: Flight | None = None
    columns: list[int] = []
    gone: list[Live] = []
    held = state.ledger.house.lots
    for symbol in sorted({stop.symbol for stop in stops}):
        here = [stop for stop in stops if stop.symbol == symbol]
        asked = {agent: int(change[symbol]) for agent, change in changes.items() if change[symbol]}
        less = {a: abs(k) for a, k in asked.items() if k * held[symbol] < 0}
        own = {a: abs(k) for a, k in asked.items() if k * state.ledger.books[a].lots[symbol] < 0}
        if not less and not own:
            continue
        away = away or flight(state)
        mine = [
            stop
            for stop in here
            if stop.agent in own
            and own[stop.agent]
            + away.books[stop.agent][symbol]
            + sum(other.left for other in here if other.agent == stop.agent)
            > abs(state.ledger.books[stop.agent].lots[symbol])
        ]
        kept = sum(stop.left for stop in here if stop not in mine)
        if less and sum(less.values()) + away.house[symbol] + kept > abs(held[symbol]):
            mine = here
        if mine:
            columns.append(symbol)
            gone += mine
    return columns, take_back(state, gone)


def waits_for_its_stop(state: State, agent: int, symbol: int, since: int) -> bool:
    """Whether a stop of this position is still at work at the venue, and was given time enough."""
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
    """What a fill of a stop is: the exit of the agent whose level it carries, noted once and told."""
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
        yield alert(state, "WARNING", "protective", text, agent=rest.agent, symbol=symbol,
            value=abs(price / NANO / entry - 1.0))  # fmt: skip


def stops_ended(state: State, key: tuple[int, int], work: Working, rows: Sequence[int]) -> None:
    """Note stops that ended though nobody here wanted it: they are tried again, not at once."""
    rest = state.rests[key]
    for row in rows:
        at = rest.agent, work.basket.sym[row]
        exit_ = state.agents[rest.agent].exits.get(at[1])
        if exit_ is not None:
            exit_.held = True  # what it left of the position is asked for at once
        if rest.asked[row] and work.state[row] != OrderState.REJECTED:
            continue
        times = state.retries[at].times + 1 if at in state.retries else 1
        state.retries[at] = Retry(*at, times, state.now + min(RETRY_NS * 2 ** min(times - 1, 10), 60 * RETRY_NS))


def ask_again(state: State, at_tick: bool) -> list[Effect]:
    """Cancel again what was to be cancelled a while ago, or at a tick, when every stop is asked for as well: news may
    be lost, and a cancel refused."""
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
    """float64[A, N] stops and targets that people gave, currency per unit, NaN where they gave none; None for none."""
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
    """Drop levels of positions that are closed, once nothing that would open them is on its way."""
    busy = {(who, work.basket.sym[row]) for work in state.working.values() for row, who, _ in work.open_shares()}
    busy |= {(who, symbol) for each in state.postponed for who in each.lots or () for symbol in each.symbols}
    gone = [at for at in state.own if not state.ledger.books[at[0]].lots[at[1]] and at not in busy]
    for at in gone:
        del state.own[at]
    if gone:
        state.govern(state.rules)


def split_stops(state: State, symbol: int, numerator: int, denominator: int) -> None:
    """Triggers, entries and levels that people gave are worth that much less after a split."""
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
