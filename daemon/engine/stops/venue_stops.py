"""Protective stops at the venue as orders: conflicts with other orders, cancels and fills.

Invariant: stops and reducing orders together never exceed the position, of the whole account and of each
book. So no fill, in whatever order reports arrive, takes a position across zero.

What can go wrong: a cancel or a report is lost, or a cancel is refused. So the instant of a cancel is stored with the
stop. The cancel is repeated after PATIENCE_NS and at each tick, at which every stop is queried too. Without the stored
instant a cancel that the venue refused was sent twenty thousand times in one instant of a simulated run
(docs/decisions/008).

A stop that ends without a cancel of ours is not sent again at once: a venue that ends it once may end it again.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from quantd.daemon.engine.planning.pauses import pause_after
from quantd.daemon.engine.planning.stop_conflicts import cancel_stop, live_stops
from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.state import Exit, State
from quantd.daemon.engine.state.open_orders import Working
from quantd.trading.effects import Effect, Protected, Query
from quantd.trading.execution import split_stop
from quantd.trading.instruments import NANO
from quantd.trading.market import Floats
from quantd.trading.orders import ENDED, OrderState, price_text

PATIENCE_NS: Final = 10 * NANO
"""Time for which a triggered stop may fill at the venue before its position is closed by other orders."""


def stop_may_fill(state: State, agent: int, symbol: int, since: int) -> bool:
    """Whether a stop of this position may still fill at the venue, because it was triggered at `since` (ns), less than
    PATIENCE_NS ago."""
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
    """Begin the exit of each position whose stop has filled, once, with an alert; returns the effects.

    `sym`, `lots` (signed) and `price_nano` are the fills of the basket of stops `key`.
    """
    record = state.protection.rests[key]
    agent = state.agents[record.agent]
    for symbol, filled, price in zip(sym, lots, price_nano, strict=True):
        row = work.basket.sym.index(symbol)
        level, entry, kind = record.stop_nano[row] / NANO, record.entry[row], record.kind[row]
        yield Protected(state.now, *key, record.agent, symbol, kind, entry, price / NANO, level)
        if symbol in agent.exits:
            continue
        agent.exits[symbol] = Exit(kind, entry, price / NANO, level, since=state.now)
        agent.lacks.exit(symbol, float(-filled), float(state.lot_values()[symbol]))
        state.protecting = True
        text = (
            f"{kind.replace('_', ' ')} at the venue: {'sold' if filled < 0 else 'bought back'} at {price_text(price)}, "
            f"stop {price_text(record.stop_nano[row])}, entry price {price_text(round(entry * NANO))}"
        )
        moved = abs(price / NANO / entry - 1.0)
        yield alert(state, "WARNING", "protective", text, agent=record.agent, symbol=symbol, value=moved)


def stops_ended(state: State, key: tuple[int, int], work: Working, rows: Sequence[int]) -> None:
    """Begin a pause for each stop that ended without a cancel of ours. A rejected stop gets its pause, with the venue's
    words, in `refusals`.

    Where an exit waits for the stop, the remaining position is ordered at once.
    """
    record = state.protection.rests[key]
    for row in rows:
        position = record.agent, work.basket.sym[row]
        exit_ = state.agents[record.agent].exits.get(position[1])
        if exit_ is not None:
            exit_.held = True  # `order_exits` with `freed` orders the remaining position now
        if not record.asked[row] and work.state[row] != OrderState.REJECTED:
            pause_after(state, *position, "stop", "")  # "": the venue gave no words


def repeat_cancels(state: State, at_tick: bool) -> list[Effect]:
    """Repeat cancels after PATIENCE_NS and at each tick, and query every stop at a tick: reports may be lost."""
    effects = [
        cancel_stop(state, stop)
        for stop in live_stops(state)
        if stop.going and (at_tick or state.now - state.protection.rests[stop.key].asked[stop.row] >= PATIENCE_NS)
    ]
    if at_tick:
        for (sample, n), work in state.protection.stops.items():
            effects.append(
                Query(sample, n, [row for row, order_state in enumerate(work.state) if order_state not in ENDED])
            )
    return effects


def own_levels(state: State) -> "tuple[Floats, Floats] | None":
    """Operators' (stops, targets), each float64[A, N] for A agents and N symbols in currency per unit, NaN for no
    level; None if no operator has set one."""
    if not state.protection.own:
        return None
    stops, targets = np.full(state.best.shape, np.nan), np.full(state.best.shape, np.nan)
    for (agent, symbol), levels in state.protection.own.items():
        if levels.stop_nano:
            stops[agent, symbol] = levels.stop_nano / NANO
        if levels.target_nano:
            targets[agent, symbol] = levels.target_nano / NANO
    return stops, targets


def forget_own(state: State) -> None:
    """Drop operators' protective levels of closed positions, unless an open or waiting order may open them again."""
    busy = {(who, work.basket.sym[row]) for work in state.working.values() for row, who, _ in work.open_shares()}
    busy |= {
        (who, symbol)
        for waiting in state.protection.postponed
        for who in waiting.lots or ()
        for symbol in waiting.symbols
    }
    closed = [
        position
        for position in state.protection.own
        if not state.ledger.books[position[0]].held[position[1]] and position not in busy
    ]
    for position in closed:
        del state.protection.own[position]
    if closed:
        state.govern(state.rules)


def split_stops(state: State, symbol: int, numerator: int, denominator: int) -> None:
    """Rescale the triggers and entry prices of stops, and operators' levels, of a symbol by a split."""
    for key, stops in state.protection.rests.items():
        for row, column in enumerate(state.protection.stops[key].basket.sym):
            if column == symbol:
                buys = state.protection.stops[key].lots[row] > 0
                stops.stop_nano[row] = split_stop(stops.stop_nano[row], buys, numerator, denominator)
                stops.entry[row] *= denominator / numerator
    for (_, column), levels in state.protection.own.items():
        if column == symbol:
            levels.stop_nano = levels.stop_nano * denominator // numerator
            levels.target_nano = levels.target_nano * denominator // numerator
