"""Orders of unknown state, and refused cancels: they are queried, never assumed.

What can go wrong: an order without an answer counts as rejected although the venue has it; or it is sent again, and the
venue fills both. So an unknown order keeps its reserved risk and is queried by its client id. It is sent again only
after the venue has answered that it never had the order.

What the order guarantees. An order that is UNKNOWN already is queried at the next tick and not at once: a venue that
does not answer would otherwise be asked without an end. An answer NOT FOUND has the number of resubmissions at the time
of its query. It is ignored for an order that was sent again since then. An order is sent again, SENDINGS times at most,
while its decision is valid: its price is fresh, it has not expired, and the kill switch permits it. Otherwise it ends
as never sent, and its reserved risk is free.
"""

from collections.abc import Sequence
from typing import Final

from quantd.daemon.engine.planning.late_orders import clock_of
from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.open_orders import UNCONFIRMED, Working
from quantd.daemon.engine.venue.reports import post
from quantd.daemon.engine.venue.settlements import take_not_found
from quantd.daemon.engine.venue.unanswered import check_clocks
from quantd.risk.switch import REDUCE
from quantd.trading.effects import Again, Effect, Query
from quantd.trading.events import CancelReported, NotFound, Unknown
from quantd.trading.orders import ENDED, TRANSITIONS, Cause, OrderState, Reports, transition

SENDINGS: Final = 3
"""The largest number of resubmissions of an order."""


def on_cancel_reported(state: State, report: CancelReported) -> Sequence[Effect]:
    work = state.basket((report.sample, report.n))
    if work is None or work.state[report.row] in ENDED:
        return ()
    return (Query(report.sample, report.n, [report.row]),)


def on_unknown(state: State, unknown: Unknown) -> Sequence[Effect]:
    """Mark orders as UNKNOWN, with their risk reserved, and query the venue by client id."""
    work = state.basket((unknown.sample, unknown.n))
    if work is None:
        return ()
    # rows that were UNKNOWN before are queried at the next tick: an UNKNOWN answer must not cause a query at once
    rows = [row for row in unknown.row if work.state[row] not in ENDED and work.state[row] != OrderState.UNKNOWN]
    for row in rows:
        work.state[row] = TRANSITIONS[work.state[row]][Cause.TIMED_OUT]
    key = unknown.sample, unknown.n
    # an order with a clock was reported as unknown before: a cancel of it that gets no answer raises no second alert
    new = [row for row in rows if clock_of(state, key, row) is None]
    clocks = check_clocks(state)
    if not rows:
        return clocks
    names = ", ".join(state.universe.symbols[work.basket.sym[row]] for row in new)
    text = f"outcome unknown ({unknown.reason}): {names}; asking the venue"
    return [
        Query(unknown.sample, unknown.n, rows),
        *([alert(state, "WARNING", "order", text)] if new else []),
        *clocks,
    ]


def on_not_found(state: State, answer: NotFound) -> Sequence[Effect]:
    """Resubmit an order that never reached the venue while its decision is valid; else it ends as expired.

    `answer.again` is the number of times that the order had been sent again when the venue was queried. Orders that
    the venue has confirmed or filled are left as they are.
    """
    key = answer.sample, answer.n
    settled_effects = take_not_found(state, key, answer.row) if state.venue.waits.settled else []
    work = state.working.get(key) or state.protection.stops.get(key)
    if work is None:
        return settled_effects
    state.now = max(state.now, answer.ts)
    # CANCELLING and SENT count too: a cancel may be on its way, or the answer to the submission not overdue yet. For
    # an order that was sent again since the query, this answer is out of date
    rows = [
        row
        for row in answer.row
        if work.state[row] in UNCONFIRMED and not work.filled[row] and work.again.get(row, 0) <= answer.again
    ]
    resubmitted = [row for row in rows if _may_resubmit(state, work, row)]
    for row in rows:  # the table of order states has the next moves from UNKNOWN
        work.state[row] = OrderState.UNKNOWN
    effects: list[Effect] = settled_effects
    if resubmitted:
        for row in resubmitted:
            work.state[row] = transition(work.state[row], Cause.SENT_AGAIN)
            work.again[row] = work.again.get(row, 0) + 1
        names = ", ".join(state.universe.symbols[work.basket.sym[row]] for row in resubmitted)
        effects.append(Again(answer.sample, answer.n, resubmitted))
        effects.append(alert(state, "INFO", "order", f"never reached the venue, sent again: {names}"))
        rows = [row for row in rows if row not in resubmitted]
        if not rows:
            return effects
    return [*effects, *post(state, unsent(answer.sample, answer.n, answer.ts, rows, Cause.NOT_FOUND, "never sent"))]


def unsent(sample: int, n: int, ts: int, rows: list[int], cause: Cause, reason: str) -> Reports:
    """A report that orders (`rows` of a basket) ended without having reached the venue."""
    zeros = [0] * len(rows)
    return Reports(
        sample=sample, n=n, ts=ts, row=rows, cum=zeros, lots=zeros, price_nano=zeros, fee_micro=zeros,
        cause=[int(cause)] * len(rows), reason=reason,
    )  # fmt: skip


def _may_resubmit(state: State, work: Working, row: int) -> bool:
    """Whether an order may be resubmitted: not cancelled, price fresh, not expired, and permitted by the kill switch.

    The order's risk was reserved all along. It may be sent again SENDINGS times, and not after a split changed its
    lots. In the switch state REDUCE only an order that reduces the position of the whole account may be
    sent.
    """
    basket, lots = work.basket, work.lots[row]
    if work.state[row] == OrderState.CANCELLING or work.again.get(row, 0) >= SENDINGS or lots != basket.lots[row]:
        return False
    if 0 < basket.end[row] <= state.now or state.now - basket.ts > state.rules.house.max_price_age_ns:
        return False
    held = state.ledger.house.held[basket.sym[row]]
    return state.switch.state < REDUCE or (state.switch.state == REDUCE and held * lots < 0 and abs(lots) <= abs(held))
