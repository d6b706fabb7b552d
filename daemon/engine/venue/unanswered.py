"""Orders without an answer of the venue: their clocks, the lots and cash they may change, and the end of a flatten.

What can go wrong: everything that depends on one order without an answer waits, without an end and without an alert. So
each wait has a clock, one CRITICAL alert when its time is over, and a way out that the alert names: `quantd settle` for
an order, `quantd emergency` for a position that the venue does not close.

`reach` and `cash_reach` bound the lots and the cash that these orders may have changed. The comparison of the account
reports no difference for a value within these bounds. The bounds are wide: a price is at the order's limit or better,
and within BAND of the mark. Without a mark there is no bound on cash, and cash is not compared.

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
"""Largest rounding of an amount that a venue books: a cent."""


def check_clocks(state: State) -> list[Effect]:
    """Begin and end the clocks of orders without an answer. Returns a CRITICAL alert for each that passes its limit.

    The limit is UNANSWERED_NS; each clock raises one alert. A simulated venue, which is never compared, has no clocks.
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
            effects.append(_late_alert(state, clock, work))
    return effects


def _late_alert(state: State, clock: Unanswered, work: Working) -> Effect:
    """The CRITICAL alert about an order that has waited too long for an answer, with the command that settles it.

    The clock names the order; `work` is its basket.
    """
    symbol, lots = work.basket.sym[clock.row], work.lots[clock.row]
    name, lot_nano = order_name(state, (clock.sample, clock.n), symbol), state.universe.lot_nano[symbol]
    side = side_text(lots)
    unfilled = quantity_text(abs(lots) - work.filled[clock.row], lot_nano)
    size = quantity_text(abs(lots), lot_nano)
    text = (
        f"the venue has not confirmed the order to {side} {size} for {MINUTES} min; {unfilled} of it may be filled. "
        f"Look at the venue, then: quantd settle {name} --filled QUANTITY@PRICE --reason REASON, or --never-sent"
    )
    return alert(state, "CRITICAL", "order_unanswered", text, symbol=symbol)


def order_name(state: State, key: Key, symbol: int) -> str:
    """The id of the order of basket `key` in the column `symbol`."""
    return order_id(state.venue.waits.run, key[0], state.universe.symbols[symbol], key[1])


def reach(state: State) -> dict[int, tuple[int, int]]:
    """Column -> (least, largest) signed lots by which orders without an answer may have changed the venue's
    position."""
    bounds: dict[int, tuple[int, int]] = {}
    for _, work, row in uncertain_rows(state):
        column, lots = work.basket.sym[row], work.lots[row]
        unfilled = abs(lots) - work.filled[row]
        low, high = bounds.get(column, (0, 0))
        bounds[column] = (low, high + unfilled) if lots > 0 else (low - unfilled, high)
    return bounds


def cash_reach(state: State, lots: Sequence[int]) -> tuple[int, int] | None:
    """Least and largest change of the venue's cash (micro) by orders without an answer; None where no bound can be
    given.

    `lots` are by column the venue's lots less ours. Where all orders without an answer in a column are on one side,
    `lots` tell how much of these orders was filled; with both sides open, each may be filled from 0 to all its lots. A
    price is at the order's limit or better, and within the factor BAND of the mark. A purchase lowers the cash.
    """
    sides: dict[tuple[int, bool], list[int]] = {}  # (column, whether it buys) -> [unfilled lots, worst price]
    for _, work, row in uncertain_rows(state):
        column, size = work.basket.sym[row], work.lots[row]
        side = sides.setdefault((column, size > 0), [0, work.worst_nano[row]])
        side[0] += abs(size) - work.filled[row]
        side[1] = (max if size > 0 else min)(side[1], work.worst_nano[row])
    coin_fee = state.rules.coin_fee_bp / 10_000
    low = high = 0.0
    for (column, buy), (most_lots, worst) in sides.items():
        mark = int(state.marks_nano[column])
        if mark <= 0:
            return None
        cheap, dear = mark / BAND, mark * BAND
        if worst not in UNLIMITED:
            cheap, dear = (min(cheap, worst), worst) if buy else (worst, max(dear, worst))
        least_lots = 0
        if (column, not buy) not in sides:
            least_lots = min(max(lots[column] if buy else -lots[column], 0), most_lots)
            # the venue may have taken its fee from the coin, and rounds lots down
            most_lots = min(most_lots, ceil(least_lots * (1.0 + 2.0 * coin_fee)) + (1 if coin_fee else 0))
        micro_per_nano = state.universe.lot_nano[column] / NANO * MICRO / NANO
        fee = state.rules.house.fee_bp / 10_000 + coin_fee
        if buy:
            low, high = (
                low - most_lots * dear * micro_per_nano * (1.0 + fee),
                high - least_lots * cheap * micro_per_nano,
            )
        else:
            low, high = (
                low + least_lots * cheap * micro_per_nano * (1.0 - fee),
                high + most_lots * dear * micro_per_nano,
            )
    return floor(low) - ROUNDING_MICRO * len(sides), ceil(high) + ROUNDING_MICRO * len(sides)


def all_late(state: State) -> bool:
    """Whether some order waits for an answer, and the clock of every order that waits has reached its limit."""
    late = [is_late(state, key, row) for key, _, row in waiting_rows(state)]
    return bool(late) and all(late)


def only_late(state: State) -> bool:
    """Whether every open order is late: it has waited too long for an answer. True without open orders."""
    return all(
        is_late(state, key, row)
        for key, work in state.working.items()
        for row, order_state in enumerate(work.state)
        if order_state not in ENDED
    )


def exit_refused(state: State, symbol: int, reason: str) -> list[Effect]:
    """Begin a clock after the venue refused an order that closes a position; one CRITICAL alert when its time is over.

    The clock of a column begins with the first refusal. It ends when the position is closed, or is no longer to be
    closed.
    """
    if not state.venue.waits.compared:
        return []
    held = state.ledger.house.held
    _forget_refused(state)
    if not (held[symbol] and _is_closing(state, symbol)):
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
    """End the clocks of positions that are closed, or are no longer to be closed."""
    held = state.ledger.house.held
    state.venue.waits.refused = [
        refused_exit
        for refused_exit in state.venue.waits.refused
        if held[refused_exit.symbol] and _is_closing(state, refused_exit.symbol)
    ]


def _is_closing(state: State, symbol: int) -> bool:
    """Whether a position is being closed: by a protective exit, or by a flatten of all positions."""
    return state.flattening or any(symbol in agent.exits for agent in state.agents)


def flatten_is_late(state: State) -> list[Effect]:
    """One CRITICAL alert for a flatten (closing of all positions) that has not ended in time.

    A simulated venue answers at once and is never compared: it raises no alert.
    """
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
