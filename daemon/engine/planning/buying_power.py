"""Remaining buying power: the venue's last report, less the cost of orders that it may not include.

Sales and deposits raise buying power only with the venue's next report: margin and settlement are the venue's rules.
"""

from collections.abc import Sequence
from math import ceil
from typing import Final

from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.open_orders import UNCONFIRMED, Key
from quantd.risk.limits.catalogue import AccountCap, Reason
from quantd.trading.effects import Effect, Planned
from quantd.trading.instruments import MICRO
from quantd.trading.orders import ENDED, OrderBasket

ATTO_PER_MICRO: Final = 10**12


def spend(state: State, out: OrderBasket) -> None:
    """Record the worst cost, with fees, of the orders of a basket that add risk, where the venue reports buying power.

    The cost is in micro-currency. The size of a lot (1e-9 units) times a price (1e-9 of the currency) is in 1e-18 of
    the currency (atto).
    """
    if state.venue.buying_power_micro is None:
        return
    held, lot_nano = state.ledger.house.lots, state.universe.lot_nano
    fee = 1.0 + state.rules.house.fee_bp / 1e4
    rows = []
    for row, (symbol, lots, worst) in enumerate(zip(out.sym, out.lots, out.worst_nano, strict=True)):
        if held[symbol] * lots >= 0:
            # the limit price of a short sale is below the mark, and the venue reserves at the mark or above
            price = max(worst, int(state.marks_nano[symbol]))
            rows.append((row, ceil(abs(lots) * lot_nano[symbol] * price * fee / ATTO_PER_MICRO)))
    if rows:
        state.venue.spending[(out.sample, out.n)] = rows


def counted(state: State) -> tuple[Key, ...]:
    """The baskets with recorded costs that the venue has certainly received: its next report of buying power includes
    their costs."""
    works = {key: state.basket(key) for key in state.venue.spending}
    return tuple(key for key, work in works.items() if work is None or UNCONFIRMED.isdisjoint(work.state))


def left_micro(state: State) -> int | None:
    """Remaining buying power in micro-currency, below 0 where orders exceed it; None where the venue does not report
    it."""
    remaining = state.venue.buying_power_micro
    if remaining is None or not state.venue.spending:
        return remaining
    for key, rows in state.venue.spending.items():
        work = state.basket(key)
        for row, micro in rows:
            size = abs(work.lots[row]) if work is not None else 0
            if work is not None and size and work.state[row] in ENDED:
                micro = -(-micro * work.filled[row] // size)  # rounded up; the unfilled lots cost nothing
            remaining -= micro
    return remaining


def limit(equity_micro: int, remaining_micro: int) -> AccountCap:
    """Remaining buying power as a limit of the whole account: a fraction of equity, and the money in currency."""
    money = max(remaining_micro, 0)
    return AccountCap(money / equity_micro if equity_micro > 0 else 0.0, money / MICRO)


def cut_by_venue(effects: Sequence[Effect]) -> bool:
    """Whether the venue's buying power cut an order in `effects`: the venue should then be queried again."""
    return any(type(effect) is Planned and int(Reason.BUYING_POWER) in effect.reason for effect in effects)
