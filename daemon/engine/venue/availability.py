"""Lots of the books that can be closed at the venue.

A venue may hold less than the books: somebody sold there by hand, or an order that is not ours holds the lots. Such a
venue refuses an order of the books' size as a whole, at every bar. So an order to close has the smaller of the two
sizes. The missing lots are known from the comparison of the account. Our fills change the books and the venue by the
same lots, so the missing lots stay as they are until the next comparison, a correction or a split.

Rejected: to read the available quantity from the text of a refusal. Each venue words it differently, and after a change
of the text the missing lots would no longer be noticed.
"""

from collections.abc import Sequence

from quantd.daemon.engine.planning.closing_lots import gap_text
from quantd.daemon.engine.planning.pauses import try_at_once
from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.state import State
from quantd.trading.effects import Effect, Ended
from quantd.trading.events import Event, Operator, Tick
from quantd.trading.orders import OrderState


def note_available(state: State, available: Sequence[int]) -> Sequence[Effect]:
    """Record the lots that the venue lets us close, signed, by column; `available` is empty where it does not report
    them.

    While all positions are being closed, a CRITICAL alert names each position of which the venue has fewer lots
    than the books.
    """
    held, missing_before = state.ledger.house.held, state.venue.waits.missing
    state.venue.waits.missing = {
        column: abs(held[column]) - closable
        for column, lots in enumerate(available)
        if held[column]
        for closable in [max(lots if held[column] > 0 else -lots, 0)]
        if closable < abs(held[column])
    }
    try_at_once(state, [k for k in range(len(held)) if state.venue.waits.missing.get(k) != missing_before.get(k)])
    if not state.flattening:
        return ()
    new = {
        column: lots for column, lots in state.venue.waits.missing.items() if state.venue.waits.told.get(column) != lots
    }
    state.venue.waits.told |= new
    return [
        alert(state, "CRITICAL", "flatten", f"{gap_text(state, column)}; the lesser is closed", symbol=column)
        for column in new
    ]


def asks_for_comparison(state: State, event: Event, effects: Sequence[Effect]) -> bool:
    """Whether the account should be compared soon: an order was refused, or everything is being closed."""
    if type(event) is Operator:
        return event.command == "flatten"
    if type(event) is Tick:
        return state.flattening and bool(state.venue.waits.missing)
    return any(type(effect) is Ended and OrderState.REJECTED in effect.state for effect in effects)


def corrected(state: State, column: int, lots: int) -> None:
    """Update the missing lots of a column, which the venue does not let us close, after a correction of the books.

    `lots` are the signed lots by which the books moved towards the venue's holding.
    """
    gap = state.venue.waits.missing.pop(column, 0)
    try_at_once(state, [column])
    held = state.ledger.house.held[column]
    missing = gap - max(-lots if held - lots > 0 else lots, 0)
    if gap and missing > 0 and held:
        state.venue.waits.missing[column] = min(missing, abs(held))


def split_missing(state: State, column: int, numerator: int, denominator: int) -> None:
    """Rescale the missing lots, which the venue does not let us close, by a split.

    They are rounded up: a venue refuses a closing order that is too large.
    """
    if lots := state.venue.waits.missing.get(column, 0):
        state.venue.waits.missing[column] = -(-lots * numerator // denominator)
