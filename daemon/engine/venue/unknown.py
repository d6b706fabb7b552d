"""Outcomes that are unknown or refused: asked for, never guessed."""

from collections.abc import Sequence
from typing import Final

from quantd.daemon.engine.alerts import alert
from quantd.daemon.engine.state import State
from quantd.daemon.engine.venue.open_orders import Working
from quantd.daemon.engine.venue.reports import find_basket, post
from quantd.risk.switch import REDUCE
from quantd.trading.effects import Again, Effect, Query
from quantd.trading.events import CancelReported, NotFound, Unknown
from quantd.trading.orders import ENDED, TRANSITIONS, Cause, OrderState, Reports, transition

SENDINGS: Final = 3
"""How often an order is sent again; a venue that loses it each time is not asked for ever."""

UNCONFIRMED: Final = frozenset({OrderState.SENT, OrderState.CANCELLING, OrderState.UNKNOWN})


def on_cancel_reported(state: State, report: CancelReported) -> Sequence[Effect]:
    """A cancel that the venue refused: the order is as it was, and its truth is asked for."""
    work = find_basket(state, (report.sample, report.n))
    if work is None or work.state[report.row] in ENDED:
        return ()
    return (Query(report.sample, report.n, [report.row]),)


def on_unknown(state: State, unknown: Unknown) -> Sequence[Effect]:
    """Neither filled nor rejected: the risk stays reserved and the venue is asked by client id."""
    work = find_basket(state, (unknown.sample, unknown.n))
    if work is None:
        return ()
    rows = [r for r in unknown.row if work.state[r] not in ENDED]
    # what was unknown before has been asked for, and is again at the next tick: a venue that does not know either
    # must not be asked in circles
    rows = [r for r in rows if work.state[r] != OrderState.UNKNOWN]
    for row in rows:
        work.state[row] = TRANSITIONS[work.state[row]][Cause.TIMED_OUT]
    if not rows:
        return ()
    names = ", ".join(state.universe.symbols[work.basket.sym[r]] for r in rows)
    return (
        Query(unknown.sample, unknown.n, rows),
        alert(state, "WARNING", "order", f"outcome unknown ({unknown.reason}): {names}; asking the venue"),
    )


def on_not_found(state: State, found: NotFound) -> Sequence[Effect]:
    """The venue never had it. While its decision still holds it is sent again, with the same id; else it ends as
    expired, never sent."""
    key = found.sample, found.n
    work = state.working.get(key) or state.stops.get(key)
    if work is None:
        return ()
    state.now = max(state.now, found.ts)
    # a cancel may be on its way, or the answer to the submit not yet overdue; of a row that was sent again since the
    # query, this answer is out of date
    rows = [
        row
        for row in found.row
        if work.state[row] in UNCONFIRMED and not work.filled[row] and work.again.get(row, 0) <= found.again
    ]
    again = [row for row in rows if timely(state, work, row)]
    for row in rows:
        work.state[row] = OrderState.UNKNOWN
    effects: list[Effect] = []
    if again:
        for row in again:
            work.state[row] = transition(work.state[row], Cause.SENT_AGAIN)
            work.again[row] = work.again.get(row, 0) + 1
        names = ", ".join(state.universe.symbols[work.basket.sym[row]] for row in again)
        effects.append(Again(found.sample, found.n, again))
        effects.append(alert(state, "INFO", "order", f"never reached the venue, sent again: {names}"))
        rows = [row for row in rows if row not in again]
        if not rows:
            return effects
    ended = post(
        state,
        Reports(
            sample=found.sample,
            n=found.n,
            ts=found.ts,
            row=rows,
            cum=[0] * len(rows),
            lots=[0] * len(rows),
            price_nano=[0] * len(rows),
            fee_micro=[0] * len(rows),
            cause=[int(Cause.NOT_FOUND)] * len(rows),
            reason="never sent",
        ),
    )
    return [*effects, *ended]


def timely(state: State, work: Working, row: int) -> bool:
    """Whether an order that never arrived may be sent again: nobody withdrew it, its price is not old, its time is not
    over, and the switch passes it. Its risk was reserved all along."""
    basket, lots = work.basket, work.lots[row]
    if work.state[row] == OrderState.CANCELLING or work.again.get(row, 0) >= SENDINGS or lots != basket.lots[row]:
        return False
    if 0 < basket.end[row] <= state.now or state.now - basket.ts > state.rules.house.max_price_age_ns:
        return False
    held = state.ledger.house.lots[basket.sym[row]]
    return state.switch.state < REDUCE or (state.switch.state == REDUCE and held * lots < 0 and abs(lots) <= abs(held))
