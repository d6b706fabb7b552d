"""Outcomes that are unknown, refused or not ours: asked for, never guessed."""

from collections.abc import Sequence
from typing import Final

from daemon.engine.alerts import alert
from daemon.engine.reports import find_basket, on_reports
from daemon.engine.state import HOUSE, State
from daemon.engine.switching import move_switch
from risk.switch import REDUCE
from trading.effects import (
    Effect,
    Query,
)
from trading.events import (
    CancelReported,
    ForeignFound,
    NotFound,
    Reconciled,
    Unknown,
)
from trading.instruments import MICRO
from trading.orders import ENDED, TRANSITIONS, Cause, OrderState, Reports

UNCONFIRMED: Final = frozenset({OrderState.SENT, OrderState.CANCELLING, OrderState.UNKNOWN})


def on_cancel_reported(state: State, report: CancelReported) -> Sequence[Effect]:
    """A cancel that the venue refused: the order is as it was, and its truth is asked for."""
    state.now = max(state.now, report.ts)
    work = find_basket(state, (report.sample, report.n))
    if work is None or work.state[report.row] in ENDED:
        return ()
    return (Query(report.sample, report.n, [report.row]),)


def on_unknown(state: State, unknown: Unknown) -> Sequence[Effect]:
    """Neither filled nor rejected: the risk stays reserved and the venue is asked by client id."""
    state.now = max(state.now, unknown.ts)
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
    """The venue never had it. Planned orders belong to their decision's moment: it ends as expired, never sent."""
    work = state.working.get((found.sample, found.n))
    if work is None:
        return ()
    # a cancel may have been asked for, or the answer to the submit not yet missed, when the venue says so
    rows = [r for r in found.row if work.state[r] in UNCONFIRMED and not work.filled[r]]
    for row in rows:
        work.state[row] = OrderState.UNKNOWN
    return on_reports(
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


def on_reconciled(state: State, venue: Reconciled) -> Sequence[Effect]:
    """Compare the venue's account with ours; a difference leaves only reducing orders."""
    state.now = max(state.now, venue.ts)
    differences = [
        f"{state.universe.symbols[k]} {theirs} there, {ours} here"
        for k, (theirs, ours) in enumerate(zip(venue.lots, state.ledger.house.lots, strict=True))
        if theirs != ours
    ]
    cash = state.ledger.house.cash_micro
    if venue.cash_micro is not None and venue.cash_micro != cash:
        differences.append(f"cash {venue.cash_micro / MICRO} there, {cash / MICRO} here")
    if not differences:
        return ()
    text = "reconciliation: " + "; ".join(differences)
    return [
        alert(state, "CRITICAL", "reconciliation", text),
        *move_switch(state, HOUSE, REDUCE, "reconciliation", text),
    ]


def on_foreign(state: State, found: ForeignFound) -> Sequence[Effect]:
    """Orders that are not ours reserve risk; they are never touched."""
    state.now = max(state.now, found.ts)
    state.foreign = [(o.symbol, o.lots, o.limit_nano) for o in found.orders]
    return tuple(
        alert(state, "WARNING", "foreign", f"order {o.venue_id} at the venue is not ours", symbol=o.symbol)
        for o in found.orders
    )
