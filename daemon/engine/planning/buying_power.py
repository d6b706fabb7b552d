"""What the venue still lets be bought: what it said last, less what was sent since that it may not have counted.

Sales and deposits raise it only once the venue says so: what it lends, and when a sale settles, is the venue's to know.
"""

from collections.abc import Sequence
from math import ceil
from typing import Final

from quantd.daemon.engine.state import State
from quantd.daemon.engine.venue.open_orders import Key, Working
from quantd.risk.limits.catalogue import AccountCap, Reason
from quantd.trading.effects import Effect, Planned
from quantd.trading.instruments import MICRO
from quantd.trading.orders import ENDED, OrderBasket, OrderState

UNHEARD: Final = frozenset({OrderState.SENT, OrderState.CANCELLING, OrderState.UNKNOWN})
"""Where an order may be that the venue has not heard of."""

ATTO_PER_MICRO: Final = 10**12


def spend(state: State, out: OrderBasket) -> None:
    """Note what the rows of a basket that add risk can cost at their worst prices with fees, until the venue has
    counted them; where the venue says what may be bought."""
    if state.buying_power_micro is None:
        return
    held, lot_nano = state.ledger.house.lots, state.universe.lot_nano
    fee = 1.0 + state.rules.house.fee_bp / 1e4
    rows = []
    for row, (symbol, lots, worst) in enumerate(zip(out.sym, out.lots, out.worst_nano, strict=True)):
        if held[symbol] * lots >= 0:
            # a short sale is reserved at the mark or above: its limit is below
            price = max(worst, int(state.marks_nano[symbol]))
            rows.append((row, ceil(abs(lots) * lot_nano[symbol] * price * fee / ATTO_PER_MICRO)))
    if rows:
        state.spending[(out.sample, out.n)] = rows


def counted(state: State) -> tuple[Key, ...]:
    """The baskets that the venue has surely heard of: what it says from now on of what may be bought has them in it."""
    return tuple(key for key in state.spending if _heard(_working(state, key)))


def left_micro(state: State) -> int | None:
    """What may be bought now, micro-currency; None where the venue does not say. Below 0 where more was sent."""
    said = state.buying_power_micro
    if said is None or not state.spending:
        return said
    for key, rows in state.spending.items():
        work = _working(state, key)
        for row, micro in rows:
            whole = abs(work.lots[row]) if work is not None else 0
            if work is not None and whole and work.state[row] in ENDED:
                micro = -(-micro * work.filled[row] // whole)  # what ended unfilled is not bought
            said -= micro
    return said


def limit(equity_micro: int, left: int) -> AccountCap:
    """What is left as a limit of the house: money, which is so much of the equity now."""
    money = max(left, 0)
    return AccountCap(money / equity_micro if equity_micro > 0 else 0.0, money / MICRO)


def cut_by_venue(effects: Sequence[Effect]) -> bool:
    """Whether something was not sent for want of buying power: it is worth while to ask the venue anew."""
    return any(type(effect) is Planned and int(Reason.BUYING_POWER) in effect.reason for effect in effects)


def _working(state: State, key: Key) -> Working | None:
    found = state.working.get(key)
    return found if found is not None else next((work for ended, work in state.ended if ended == key), None)


def _heard(work: Working | None) -> bool:
    """Whether the venue has answered for each row; a basket that ended so long ago that it is forgotten has been."""
    return work is None or UNHEARD.isdisjoint(work.state)
