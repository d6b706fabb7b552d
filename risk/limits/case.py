"""The account that the order gate decides for: positions, cash and open orders."""

from typing import Final

from msgspec import Struct

from quantd.risk.limits.context import Bools, Floats

SLACK: Final = 1e-12
"""Relative tolerance of each comparison, for rounding of floats."""


class Account(Struct, kw_only=True, eq=False):
    """The book of an agent or of the whole account, with its open orders, as the order gate sees it.

    - `lots` float64[N] are signed. `cash` and `equity` are in account currency at the mark prices.
    - `up` and `down` float64[N] are the unfilled unsigned lots of buy and sell orders that are open, held back or in an
      unknown state; None for none.
    - `up_cash` is the largest cost of these buy orders, with fees. `open_orders` counts all these orders.
    - `open_loss` is the largest fall of equity when they fill; None derives it from `up_cash` and the collars, which is
      exact while mark prices do not change. `open_gain` is the largest rise of equity when they fill: above 0 only
      where a mark price has passed the worst price of an order.
    - `traded` is the value traded in this session.
    - `recent_orders` counts orders within the period of the limit `order_rate`, `session_orders` those of this session.
    - `repeated` float64[N] are the signed lots requested within `duplicate_window`; None for none.
    - `blocked` bool[N] marks the cooldown after a protective exit, `halted` bool[N] a trading halt.
    - `jumped` bool[N] marks symbols on hold after a jump of their price, in which no order passes. With `by_hand`, the
      order is an operator's, and may still reduce a position in such a symbol.
    """

    lots: Floats
    cash: float
    equity: float
    up: Floats | None = None
    down: Floats | None = None
    up_cash: float = 0.0
    open_orders: int = 0
    open_loss: float | None = None
    open_gain: float = 0.0
    traded: float = 0.0
    recent_orders: int = 0
    session_orders: int = 0
    repeated: Floats | None = None
    blocked: Bools | None = None
    halted: Bools | None = None
    jumped: Bools | None = None
    by_hand: bool = False

    def carried(self) -> Bools:
        """Return bool[N], True for a symbol with a position or an open order; NaN counts as a position."""
        carried: Bools = self.lots != 0.0
        for side in (self.up, self.down):
            if side is not None:
                carried = carried | (side != 0.0)
        return carried
