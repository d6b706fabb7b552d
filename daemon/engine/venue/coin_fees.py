"""Fees that a venue charges in the bought instrument. Books hold whole lots; the remainder of a lot is dust.

A fee takes whole lots from the buyers at the price of the fill, as a sale whose whole amount is the fee. Lots plus dust
equal the venue's units to the nano; cash does not change.
"""

from collections.abc import Sequence

from quantd.daemon.engine.state import State
from quantd.trading.effects import Effect, Filled
from quantd.trading.execution import round_micro
from quantd.trading.ledger.shares import share


def pay_in_coin(
    state: State,
    key: tuple[int, int],
    ts: int,
    sym: int,
    price_nano: int,
    fee_nano: int,
    shares: Sequence[tuple[int, int]],
) -> list[Effect]:
    """Pay `fee_nano` units of a column from the dust, then in whole lots of the books; `shares` are (book, signed lots)
    of the fill."""
    lot = state.universe.lot_nano[sym]
    left = state.dust.get(sym, 0) - fee_nano
    lots = -(left // lot) if left < 0 else 0
    state.dust[sym] = left + lots * lot
    if not lots:
        return []
    paid = [(who, -part) for who, part in share(lots, [(who, abs(part)) for who, part in shares]) if part]
    amount = round_micro(lots * lot * price_nano)[0]
    state.ledger.fills([sym], [-lots], [price_nano], [amount], [paid])
    state.booked()
    return [Filled(*key, ts, [sym], [-lots], [price_nano], [amount], [paid])]


def dust_micro(state: State, sym: int) -> int:
    """Value of a column's dust at the mark, micro-currency; it is in no equity."""
    return round_micro(state.dust.get(sym, 0) * int(state.marks_nano[sym]))[0]
