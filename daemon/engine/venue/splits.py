"""Applies a split to the engine's records: lots, marks, levels, stops and orders, also held ones."""

from msgspec.structs import replace

from quantd.daemon.engine.state import State
from quantd.daemon.engine.stops.exits import split_exits
from quantd.daemon.engine.stops.venue_stops import split_stops
from quantd.daemon.engine.venue.availability import split_missing
from quantd.daemon.engine.venue.settlements import split_settled
from quantd.trading.effects import Booked, payment
from quantd.trading.events import Proposed
from quantd.trading.execution import truncate
from quantd.trading.orders import Wish


def scale_mark(state: State, symbol: int, numerator: int, denominator: int) -> None:
    """Scale the mark of a symbol by a split: marks are prices as traded, which nothing else adjusts."""
    marks, marks_nano = state.marks.copy(), state.marks_nano.copy()
    marks[symbol] *= denominator / numerator
    marks_nano[symbol] = int(marks_nano[symbol]) * denominator // numerator
    state.set_marks(marks, marks_nano)


def split_books(state: State, ts: int, symbol: int, numerator: int, denominator: int) -> tuple[Booked, ...]:
    """Replace `denominator` old shares by `numerator` new ones in books, levels and orders; the mark is scaled already.

    Returns the cash for fractions of a lot, if any is booked. Where the venue pays that cash itself, the unallocated
    book (what no agent has) advances it to the agents until then.
    """
    lieu, parts = state.ledger.split(symbol, numerator, denominator, int(state.marks_nano[symbol]))
    if lieu and state.rules.venue_pays:
        state.ledger.income(-lieu, ())
        parts = [*parts, (-1, -lieu)]
        lieu = 0
    state.booked()
    for agent in state.agents:
        agent.lacks.split(symbol, numerator / denominator)
    split_exits(state, symbol, numerator, denominator)
    for parent in state.parents:
        parent.split(symbol, numerator, denominator)
    split_stops(state, symbol, numerator, denominator)
    split_missing(state, symbol, numerator, denominator)
    split_settled(state, symbol)
    for work in state.at_venue().values():
        work.split(symbol, numerator, denominator)
    state.awaiting = [_split_held(state, proposal, symbol, numerator, denominator) for proposal in state.awaiting]
    for bracket in state.brackets:
        bracket.entry = _split_held(state, bracket.entry, symbol, numerator, denominator)
        if bracket.entry.orders[0].symbol == symbol:
            bracket.left = truncate(bracket.left, numerator, denominator)
    state.crosses.drop(symbol)  # the next decision plans these trades between agents again
    return payment(ts, "cash_in_lieu", symbol, (lieu, parts))


def _split_held(state: State, proposal: Proposed, symbol: int, numerator: int, denominator: int) -> Proposed:
    """Rescale the orders in a symbol that the engine holds, as the venue does with resting ones. Prices are rounded to
    the tick: limits in the owner's favour, stops so that they never fire later."""
    tick = state.universe.instruments[symbol].tick_nano

    def price(nano: int, side: int) -> int:
        return side * (side * (nano * denominator) // (tick * numerator)) * tick

    def rescaled(wish: Wish) -> Wish:
        if wish.symbol != symbol:
            return wish
        side = 1 if wish.lots > 0 else -1
        lots, trigger = truncate(wish.lots, numerator, denominator), price(wish.trigger_nano, side)
        exits = tuple(price(nano, -side) for nano in wish.exits)
        return replace(wish, lots=lots, limit_nano=price(wish.limit_nano, side), trigger_nano=trigger, exits=exits)

    return replace(proposal, orders=tuple(map(rescaled, proposal.orders)))
