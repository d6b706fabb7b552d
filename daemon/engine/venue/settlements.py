"""Orders without an answer of the venue that an operator settles, and the venue's later reports on them.

An operator's settlement is booked as a fill, or ends the order as never sent. It is only a claim: the venue may still
report what happened, after a minute or after a restart, and its report wins. The whole claim is booked back before the
venue's first report on the order is posted, so that each execution is in the books once, as the venue recorded it.

An account that was corrected in between (`reconcile --adopt`) already contains the venue's fills of the order: up to
the quantity that the venue reported then, or all lots where the order was no longer open. These fills are not posted,
and the claim is not booked back: the correction was computed from books that contained it.

Rejected: to leave the claim in the books, and to post only its difference to the venue's report. Two executions that
arrive one by one would each be compared with the whole claim, and after a restart in between it would not be known how
much of the claim was already compared.
"""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from quantd.daemon.engine.planning.execution import count_fills
from quantd.daemon.engine.planning.late_orders import is_late, waits_for_answer
from quantd.daemon.engine.safety.alerts import alert, refuse_command
from quantd.daemon.engine.safety.switch import move_switch
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.state.open_orders import Key, Working
from quantd.daemon.engine.state.waits import Settlement
from quantd.daemon.engine.stops.venue_stops import stops_ended, stops_filled
from quantd.daemon.engine.venue.unanswered import check_clocks, order_name
from quantd.risk.switch import REDUCE
from quantd.trading.effects import Cancel, Effect, Ended, Filled, Query
from quantd.trading.events import Correction, OrderSettled
from quantd.trading.ledger.shares import share
from quantd.trading.orders import (
    ENDED,
    TRANSITIONS,
    Cause,
    OpenOrder,
    OrderState,
    Reports,
    price_text,
    quantity_text,
)

ENDING: Final = frozenset({Cause.LAST_FILL, Cause.CANCELLED, Cause.REJECTED, Cause.EXPIRED})
"""Causes that end an order."""

MOST_SETTLEMENTS: Final = 32
"""Largest number of settlements that wait for the venue's report; their baskets are remembered until then."""


def why_not_settled(state: State, key: Key, row: int, cum: int) -> str:
    """Why an order cannot be settled as filled up to `cum` lots now; empty if it can.

    `key` and `row` name the order. An order may be settled if the venue has not answered for long enough, or was
    settled before and the venue has said nothing since: the new settlement then replaces the earlier one.
    """
    work = state.basket(key)
    if work is None or not 0 <= row < len(work.state):
        return "no such order is known here"
    earlier = settlement_of(state, key, row)
    # included < 0: no later correction of the account contains the lots of the earlier settlement
    if earlier is not None and not earlier.replaced and earlier.included < 0:
        booked = earlier.low  # without the lots of the earlier settlement, which is booked back
    elif work.state[row] in ENDED:
        return f"the order is {OrderState(work.state[row]).name.lower()}"
    elif not waits_for_answer(work, row):
        return "the venue has answered: the order is open there; cancel it"
    elif not is_late(state, key, row):
        return "the order has not waited for its time yet; the venue may still answer"
    else:
        booked = work.filled[row]
    lot_nano = state.universe.lot_nano[work.basket.sym[row]]
    if cum < booked:
        return f"{quantity_text(booked, lot_nano)} of it are filled in the books; name at least that quantity"
    if cum > abs(work.lots[row]):
        return f"the order is of {quantity_text(abs(work.lots[row]), lot_nano)}; name at most that quantity"
    if earlier is None and len(state.venue.waits.settled) >= MOST_SETTLEMENTS:
        return f"{MOST_SETTLEMENTS} settled orders wait for the venue's word; wait for it, or adopt the account"
    return ""


def on_order_settled(state: State, settled: OrderSettled) -> Sequence[Effect]:
    """Book an operator's settlement of an order without an answer, and end the order.

    `settled.cum` are the lots that the operator says are filled in all; the lots above those in the books are the
    claim, which is booked as a fill at the operator's price without a fee. An earlier settlement of the order
    is booked back first; it has ended the order already.
    """
    key, row = (settled.sample, settled.n), settled.row
    if why := why_not_settled(state, key, row, settled.cum):
        return refuse_command(state, "conflict", "order", f"not settled: {why}")
    work = state.basket(key)
    assert work is not None
    effects: list[Effect] = []
    earlier = settlement_of(state, key, row)
    if earlier is not None:
        effects.extend(_book_claim(state, key, work, earlier, -1))  # -1: booked back
        state.venue.waits.settled.remove(earlier)
    low = work.filled[row]
    new = settled.cum - low
    side = 1 if work.lots[row] > 0 else -1
    parts = [(who, side * lots) for who, lots in share(new, work.shares_of(row)) if lots] if new else []
    claim = Settlement(*key, row, low, new, settled.price_nano, parts, settled.who)
    state.venue.waits.settled.append(claim)
    stops = key in state.protection.stops
    effects.extend(_book_claim(state, key, work, claim, 1))
    symbol = work.basket.sym[row]
    if stops and new:
        effects.extend(stops_filled(state, key, work, [symbol], [side * new], [settled.price_nano]))
    if earlier is None:
        effects.extend(_end_order(state, key, work, claim, settled, stops))
    text = f"{settled.who} settled {_id_of(state, claim, work)} as {_claim_text(state, claim, work)}: {settled.reason}"
    outlook = "the venue's later word replaces it"
    return [alert(state, "WARNING", "order", f"{text}; {outlook}", symbol=symbol), *effects, *check_clocks(state)]


def _end_order(
    state: State, key: Key, work: Working, claim: Settlement, settled: OrderSettled, stops: bool
) -> list[Effect]:
    """End the order that a claim settles; returns the effects. `stops` is True for a protective stop.

    The order ends as filled if all its lots are filled, as never sent if no lot is, else as cancelled.
    """
    row, symbol = claim.row, work.basket.sym[claim.row]
    cause = Cause.LAST_FILL if settled.cum == abs(work.lots[row]) else Cause.CANCELLED
    if not settled.cum:
        cause = Cause.NOT_FOUND
    work.state[row] = TRANSITIONS[OrderState.UNKNOWN][cause]
    work.live -= 1
    effects: list[Effect] = []
    if work.state[row] != OrderState.FILLED:
        reason, mark = f"settled by {settled.who}: {settled.reason}", int(state.marks_nano[symbol])
        ended = Ended(*key, settled.ts, [row], [work.state[row]], reason, sym=[symbol], mark_nano=[mark])
        effects.append(ended)
    if stops:
        stops_ended(state, key, work, [row] if work.state[row] != OrderState.FILLED else [])
    if work.live == 0 and (stops or key in state.working):  # all orders of the basket have ended
        state.working.pop(key, None)
        if stops:
            del state.protection.stops[key], state.protection.rests[key]
        state.ended.append(key, work)
    # the baskets of settled orders are remembered until the venue reports on them
    state.ended.hold({(settlement.sample, settlement.n) for settlement in state.venue.waits.settled})
    return effects


def _book_claim(state: State, key: Key, work: Working, claim: Settlement, sign: int) -> list[Effect]:
    """Book the fill that an operator claimed (`sign` 1), or book it back (-1).

    Each book's unfilled share of the order falls by its part of the fill, or grows again with -1.
    """
    if not claim.claimed:
        return []
    row, symbol = claim.row, work.basket.sym[claim.row]
    parts = [(who, sign * lots) for who, lots in claim.parts]
    lots = sum(part for _, part in parts)
    lots_by_book = dict(claim.parts)
    work.filled[row] += sign * claim.claimed
    work.put_shares(row, [(who, lots - sign * abs(lots_by_book.get(who, 0))) for who, lots in work.shares_of(row)])
    state.ledger.fills([symbol], [lots], [claim.price_nano], [0], [parts])  # 0: a claim has no fee
    state.booked()
    if sign > 0:  # a claim that is booked back was no new activity
        if state.counting:
            state.activity.roll(state.now, state.rules.house_sessions())
            state.activity.fill([symbol], [claim.price_nano], [parts], state.universe.lot_size)
        if state.parents:
            count_fills(state, *key, [symbol], [parts])
    return [Filled(*key, state.now, [symbol], [lots], [claim.price_nano], [0], [parts])]


def take_word(state: State, key: Key, work: Working, reports: Reports) -> tuple[Reports, list[Effect]]:
    """Handle the venue's report on a basket with settled orders: book their claims back, once.

    A claim is the fill that an operator reported for an order. Returns the report without fills that a correction of
    the account already contains (up to `claim.included` lots, -1 without a correction), and the effects. An order that
    the venue still has open is cancelled, because the operator ended it.
    """
    effects: list[Effect] = []
    for claim in [settlement for settlement in state.venue.waits.settled if (settlement.sample, settlement.n) == key]:
        report_rows = [k for k, row in enumerate(reports.row) if row == claim.row]
        if not report_rows:
            continue
        # an answer to a query repeats fills up to `claim.low` lots, which were booked before the claim
        fills = [(reports.lots[k], reports.price_nano[k]) for k in report_rows if reports.cum[k] > claim.low]
        fills = [fill for fill in fills if fill[0]]
        cum = max(reports.cum[k] for k in report_rows)
        ends = any(reports.cause[k] in ENDING for k in report_rows)
        effects.extend(_replace_claim(state, key, work, claim, fills, cum, ends=ends))
        if claim.included >= 0:
            reports = _without_rows(
                reports, {k for k in report_rows if reports.lots[k] and reports.cum[k] <= claim.included}
            )
        elif ends and cum > claim.low + sum(lots for lots, _ in fills):
            effects.append(Query(*key, [claim.row]))
            continue  # an earlier execution is missing: the settlement waits for its report too
        if ends:
            state.venue.waits.settled.remove(claim)
        else:
            effects.append(Cancel(*key, claim.row, state.now))
    state.ended.hold({(settlement.sample, settlement.n) for settlement in state.venue.waits.settled})
    return reports, effects


def _replace_claim(
    state: State, key: Key, work: Working, claim: Settlement, fills: list[tuple[int, int]], cum: int, *, ends: bool
) -> list[Effect]:
    """Book a claim back, once, before the venue's report on its order is posted; an alert names claim and report.

    `fills` are (unsigned lots, price in nano-currency) of the report, `cum` the filled lots after it, and `ends` is
    True where it ends the order. A report that differs from the claim also sets the kill switch to REDUCE. A claim that
    a correction of the account contains is not booked back.
    """
    if claim.replaced:
        return []
    claim.replaced = True
    effects = [] if claim.included >= 0 else _book_claim(state, key, work, claim, -1)  # -1: booked back
    symbol = work.basket.sym[claim.row]
    lots, value = sum(size for size, _ in fills), sum(size * price for size, price in fills)
    agrees = ends and lots == claim.claimed and value == lots * claim.price_nano
    name, claimed = _id_of(state, claim, work), _claim_text(state, claim, work)
    if agrees and cum == claim.low + claim.claimed:
        text = f"the venue confirms {name} as {claimed}"
        return [*effects, alert(state, "INFO", "order", text, symbol=symbol)]
    lot_nano = state.universe.lot_nano[symbol]
    price = f" at {price_text(value // lots)}" if lots else ""
    word = f"filled {quantity_text(max(cum, lots), lot_nano)}{price}{'' if ends else ', and open'}"
    text = f"{claim.who} settled {name} as {claimed}, and the venue now reports {word}; the venue's word is booked"
    critical = alert(state, "CRITICAL", "order", text, symbol=symbol)
    return [*effects, critical, *move_switch(state, HOUSE, REDUCE, "settlement", text)]


def take_not_found(state: State, key: Key, rows: Sequence[int]) -> list[Effect]:
    """Handle the venue's answer that it never had orders which were settled: book their claims back.

    `rows` are the orders of the basket `key` in the answer. A claim of filled lots, which is now wrong, sets the kill
    switch to REDUCE with a CRITICAL alert. A settlement without filled lots is confirmed.
    """
    effects: list[Effect] = []
    for claim in [
        settlement
        for settlement in state.venue.waits.settled
        if (settlement.sample, settlement.n) == key and settlement.row in rows
    ]:
        work = state.basket(key)
        if work is None:
            continue
        state.venue.waits.settled.remove(claim)
        name, claimed = _id_of(state, claim, work), _claim_text(state, claim, work)
        symbol = work.basket.sym[claim.row]
        # nothing is booked for the claim: it has no lots, was booked back before, or a correction contains them
        if not claim.claimed or claim.replaced or claim.included >= 0:
            effects.append(alert(state, "INFO", "order", f"the venue confirms that it never had {name}", symbol=symbol))
            continue
        effects.extend(_book_claim(state, key, work, claim, -1))  # -1: booked back
        text = (
            f"{claim.who} settled {name} as {claimed}, and the venue reports that it never had it; that is booked back"
        )
        effects.append(alert(state, "CRITICAL", "order", text, symbol=symbol))
        effects.extend(move_switch(state, HOUSE, REDUCE, "settlement", text))
    state.ended.hold({(settlement.sample, settlement.n) for settlement in state.venue.waits.settled})
    return effects


def adopt_settled(state: State, lots: Sequence[int], cash_micro: int, ours: Sequence[OpenOrder]) -> None:
    """Note which fills of settled orders a correction of the account contains.

    A correction by `lots` (by column) and `cash_micro` makes the books equal to the venue. So it contains all fills of
    settled orders up to now, if it changes the column's position or the cash. `ours` are our orders that are open at
    the venue, with their filled lots; an order that is not among them is taken as filled in all its lots.
    """
    open_lots = {(order.sample, order.n, order.row): order.cum for order in ours}
    for claim in state.venue.waits.settled:
        work = state.basket((claim.sample, claim.n))
        if work is None or not (lots[work.basket.sym[claim.row]] or cash_micro):
            continue
        size = abs(work.lots[claim.row])
        claim.included = open_lots.get((claim.sample, claim.n, claim.row), size)
        work.filled[claim.row] = claim.included
        work.odd.pop(claim.row, None)
        work.put_shares(claim.row, share(size - claim.included, _shares_when_sent(work, claim.row)))


def split_settled(state: State, symbol: int) -> None:
    """At a split, mark the claims of a symbol as contained in the account: they are not booked back any more."""
    for claim in state.venue.waits.settled:
        work = state.basket((claim.sample, claim.n))
        if work is not None and work.basket.sym[claim.row] == symbol:
            claim.included = abs(work.lots[claim.row])


def corrected_orders(state: State, correction: Correction) -> None:
    """Note which fills of settled orders an operator's correction of the account contains (`adopt_settled`).

    A fence, which only excludes a difference, leaves the books as they are.
    """
    if correction.how != "fence":
        adopt_settled(state, correction.lots, correction.cash_micro, correction.orders)


def settlement_of(state: State, key: Key, row: int) -> Settlement | None:
    """The settlement of an order that still waits for the venue's report; None if there is none."""
    return next(
        (
            settlement
            for settlement in state.venue.waits.settled
            if (settlement.sample, settlement.n, settlement.row) == (*key, row)
        ),
        None,
    )


def settled_orders(state: State, ours: Sequence[OpenOrder]) -> tuple[OpenOrder, ...]:
    """Our orders that an operator settled, and that are open at the venue all the same."""
    return tuple(o for o in ours if settlement_of(state, (o.sample, o.n), o.row) is not None)


def _shares_when_sent(work: Working, row: int) -> list[tuple[int, int]]:
    """(agent, unsigned lots) of a row when it was sent; in a state from an old snapshot, of the lots that remain."""
    shares = work.sent_shares
    return shares[row] if shares and shares[row] else work.shares_of(row)


def _without_rows(reports: Reports, omitted: set[int]) -> Reports:
    """A venue's report without some of its rows (orders)."""
    remaining = [k for k in range(len(reports.row)) if k not in omitted]
    columns = ("row", "cum", "lots", "price_nano", "fee_micro", "cause")
    fees = [reports.fee_nano[k] for k in remaining] if reports.fee_nano else []
    return replace(reports, **{name: [getattr(reports, name)[k] for k in remaining] for name in columns}, fee_nano=fees)


def _id_of(state: State, claim: Settlement, work: Working) -> str:
    """The id of the order that an operator's claim settles."""
    return order_name(state, (claim.sample, claim.n), work.basket.sym[claim.row])


def _claim_text(state: State, claim: Settlement, work: Working) -> str:
    """What an operator's claim says of its order, as text."""
    lot = state.universe.lot_nano[work.basket.sym[claim.row]]
    if not claim.claimed:
        return f"filled {quantity_text(claim.low, lot)}" if claim.low else "never sent"
    return f"filled {quantity_text(claim.low + claim.claimed, lot)} at {price_text(claim.price_nano)}"
