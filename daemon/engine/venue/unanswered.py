"""Orders without an answer of the venue: their clocks, what they may still change, and the end of a flatten.

What can go wrong: one order without an answer makes whatever depends on it wait, without an end and without an alert.
So each wait has a clock, one CRITICAL alert when it passes, and a way out that the alert names: `quantd settle` for an
order, `quantd emergency` for a position that the venue does not close.

`reach` and `cash_reach` bound what such orders may have changed. The comparison of the account calls a value within
these bounds no difference. The bounds are wide: a price is at the order's limit or better, and within BAND of the mark.
Without a mark there is no bound on cash, and cash is not compared.

The clocks count only once a comparison has named the run. Journals of earlier versions have no such comparison, and
replay without new alerts.
"""

from collections.abc import Sequence
from math import ceil, floor
from typing import Final

from quantd.daemon.engine.planning.late_orders import is_late, uncertain_rows, waiting_rows
from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.open_orders import Key, Working
from quantd.daemon.engine.state.waits import UNANSWERED_NS, RefusedExit, Unanswered
from quantd.trading.effects import Effect
from quantd.trading.execution import UNLIMITED
from quantd.trading.instruments import MICRO, NANO
from quantd.trading.orders import ENDED, order_id, quantity_text, side_text

MINUTES: Final = UNANSWERED_NS // NANO // 60

BAND: Final = 2.0
"""Largest factor between the mark and the price of a fill that nobody has reported."""

ROUNDING_MICRO: Final = 10_000
"""Rounding of an amount that a venue books: a cent."""


def check_clocks(state: State) -> list[Effect]:
    """Begin and end the clocks of orders without an answer. Returns a CRITICAL alert for each that passes its limit.

    The limit is UNANSWERED_NS.
    """
    if not state.venue.waits.compared:
        return []
    if state.venue.waits.refused:
        _forget_refused(state)
    unanswered_rows = {(*key, row): work for key, work, row in waiting_rows(state)}
    clocks = [clock for clock in state.venue.waits.unanswered if (clock.sample, clock.n, clock.row) in unanswered_rows]
    new_keys = unanswered_rows.keys() - {(clock.sample, clock.n, clock.row) for clock in clocks}
    state.venue.waits.unanswered = [*clocks, *(Unanswered(*at, state.now) for at in sorted(new_keys))]
    effects: list[Effect] = []
    for clock in state.venue.waits.unanswered:
        if not clock.alerted and state.now - clock.since >= UNANSWERED_NS:
            clock.alerted = True
            work = unanswered_rows[clock.sample, clock.n, clock.row]
            effects.append(_late(state, clock, work))
    return effects


def _late(state: State, clock: Unanswered, work: Working) -> Effect:
    symbol, lots = work.basket.sym[clock.row], work.lots[clock.row]
    name, lot = order_name(state, (clock.sample, clock.n), symbol), state.universe.lot_nano[symbol]
    side = side_text(lots)
    unfilled = quantity_text(abs(lots) - work.filled[clock.row], lot)
    size = quantity_text(abs(lots), lot)
    text = (
        f"the venue has not confirmed the order to {side} {size} for {MINUTES} min; {unfilled} of it may be filled. "
        f"Look at the venue, then: quantd settle {name} --filled QUANTITY@PRICE --reason REASON, or --never-sent"
    )
    return alert(state, "CRITICAL", "order_unanswered", text, symbol=symbol)


def order_name(state: State, key: Key, symbol: int) -> str:
    """The id of the order of a basket in a column."""
    return order_id(state.venue.waits.run, key[0], state.universe.symbols[symbol], key[1])


def reach(state: State) -> dict[int, tuple[int, int]]:
    """By column: least and largest signed lots by which orders without an answer may have changed the venue's."""
    bounds: dict[int, tuple[int, int]] = {}
    for _, work, row in uncertain_rows(state):
        column, lots = work.basket.sym[row], work.lots[row]
        unfilled = abs(lots) - work.filled[row]
        low, high = bounds.get(column, (0, 0))
        bounds[column] = (low, high + unfilled) if lots > 0 else (low - unfilled, high)
    return bounds


def cash_reach(state: State, lots: Sequence[int]) -> tuple[int, int] | None:
    """Least and largest change of the venue's cash, micro, by orders without an answer; None where none can be said.

    `lots` are the venue's by column less ours. Where all such orders of a column are on one side, they tell how much of
    them was filled. A price is at the order's limit or better, and within BAND of the mark.
    """
    sides: dict[tuple[int, bool], list[int]] = {}
    for _, work, row in uncertain_rows(state):
        column, size = work.basket.sym[row], work.lots[row]
        side = sides.setdefault((column, size > 0), [0, work.worst_nano[row]])
        side[0] += abs(size) - work.filled[row]
        side[1] = (max if size > 0 else min)(side[1], work.worst_nano[row])
    coin_fee = state.rules.coin_fee_bp / 10_000
    low = high = 0.0
    for (column, buy), (most, worst) in sides.items():
        mark = int(state.marks_nano[column])
        if mark <= 0:
            return None
        cheap, dear = mark / BAND, mark * BAND
        if worst not in UNLIMITED:
            cheap, dear = (min(cheap, worst), worst) if buy else (worst, max(dear, worst))
        least = 0
        if (column, not buy) not in sides:
            least = min(max(lots[column] if buy else -lots[column], 0), most)
            # the venue may have taken its fee from the coin, and rounds lots down
            most = min(most, ceil(least * (1.0 + 2.0 * coin_fee)) + (1 if coin_fee else 0))
        money = state.universe.lot_nano[column] / NANO * MICRO / NANO
        fee = state.rules.house.fee_bp / 10_000 + coin_fee
        if buy:
            low, high = low - most * dear * money * (1.0 + fee), high - least * cheap * money
        else:
            low, high = low + least * cheap * money * (1.0 - fee), high + most * dear * money
    return floor(low) - ROUNDING_MICRO * len(sides), ceil(high) + ROUNDING_MICRO * len(sides)


def all_late(state: State) -> bool:
    """Whether orders wait for an answer, and the clock of each has passed."""
    late = [is_late(state, key, row) for key, _, row in waiting_rows(state)]
    return bool(late) and all(late)


def only_late(state: State) -> bool:
    """Whether no order works but such whose clock has passed."""
    return all(
        is_late(state, key, row)
        for key, work in state.working.items()
        for row, now in enumerate(work.state)
        if now not in ENDED
    )


def exit_refused(state: State, symbol: int, reason: str) -> list[Effect]:
    """The venue refused an order that closes a position; one CRITICAL alert where it still does when the clock passes.

    The clock of a column begins with the first refusal, and ends when the position is closed or not to be closed.
    """
    if not state.venue.waits.compared:
        return []
    held = state.ledger.house.held
    _forget_refused(state)
    if not (held[symbol] and _closes(state, symbol)):
        return []
    clock = next((refused_exit for refused_exit in state.venue.waits.refused if refused_exit.symbol == symbol), None)
    if clock is None:
        state.venue.waits.refused.append(RefusedExit(symbol, state.now))
        return []
    if clock.alerted or state.now - clock.since < UNANSWERED_NS:
        return []
    clock.alerted = True
    size = quantity_text(abs(held[symbol]), state.universe.lot_nano[symbol])
    minutes = (state.now - clock.since) // NANO // 60
    text = (
        f"the venue refuses for {minutes} min to close {size}: {reason or 'no reason given'}. "
        "It is tried again; `quantd emergency` closes at the venue itself, `quantd reconcile` compares the account"
    )
    return [alert(state, "CRITICAL", "exit_refused", text, symbol=symbol)]


def _forget_refused(state: State) -> None:
    """End the clocks of positions that are closed, or not to be closed any more."""
    held = state.ledger.house.held
    state.venue.waits.refused = [
        refused_exit
        for refused_exit in state.venue.waits.refused
        if held[refused_exit.symbol] and _closes(state, refused_exit.symbol)
    ]


def _closes(state: State, symbol: int) -> bool:
    """Whether a position is being closed: by a protective exit, or with all others."""
    return state.flattening or any(symbol in agent.exits for agent in state.agents)


def flatten_is_late(state: State) -> list[Effect]:
    """One CRITICAL alert for a flatten that has not ended when its clock passes."""
    waits = state.venue.waits
    if not (state.flattening and waits.compared) or waits.late or state.now - waits.flatten_since < UNANSWERED_NS:
        return []
    waits.late = True
    universe, held = state.universe, state.ledger.house.held
    positions = [
        f"{quantity_text(abs(held[k]), universe.lot_nano[k])} {symbol}"
        for k, symbol in enumerate(universe.symbols)
        if held[k]
    ]
    text = (
        f"everything is being closed for {MINUTES} min, and the books still have {', '.join(positions)}; "
        "`quantd orders` has the venue's words. It is tried again; `quantd emergency` closes at the venue itself"
    )
    return [alert(state, "CRITICAL", "flatten", text)]
