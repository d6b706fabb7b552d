"""One basket in the gate: its book, and the range of exposures that open orders can reach."""

from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
from msgspec import Struct

from quantd.risk.limits.context import Bools, Context, Floats, Scenarios
from quantd.risk.measures.portfolio import most

if TYPE_CHECKING:
    from quantd.risk.limits.catalogue import Correlation
    from quantd.risk.limits.ruleset import Rules

SLACK: Final = 1e-12
"""Relative tolerance of each comparison, for rounding of floats."""


class Account(Struct, kw_only=True, eq=False):
    """The book of an agent or of the house, with its open orders.

    `lots` float64[N] is signed. `cash` and `equity` are in account currency at the marks. `up` and `down` float64[N]
    are the remaining unsigned lots of open, unknown and held-back buy and sell orders; None for none. `up_cash` is the
    largest cost of those buys, with fees. `open_orders` counts them. `open_loss` is the largest fall of equity when
    they fill; None derives it from `up_cash` and the collars, which is exact while the marks stay. `open_gain` is the
    largest rise, where marks have passed their prices. `traded` is the value traded in this session. `recent_orders`
    counts orders within `order_rate.per`, `session_orders` those of this session. `repeated` float64[N] are the signed
    lots requested within `duplicate_window`; None for none. `blocked` bool[N] marks the cooldown after a protective
    exit, `halted` bool[N] a trading halt.
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

    def carried(self) -> Bools:
        """bool[N]: positions and open orders; NaN counts as one."""
        found: Bools = self.lots != 0.0
        for side in (self.up, self.down):
            if side is not None:
                found = found | (side != 0.0)
        return found

    def closable(self) -> Floats:
        """float64[N] lots that can close a position, less open orders against it; negative if they may cross 0."""
        left, long = np.abs(self.lots), self.lots > 0.0
        if self.down is not None:
            left = left - np.where(long, self.down, 0.0)
        if self.up is not None:
            left = left - np.where(long, 0.0, self.up)
        return left


class Extent(Struct, eq=False, dict=True):
    """The range of exposures before the new adding orders, in account currency.

    `w` float64[2N] is [-lowest | highest] exposure of each symbol over every subset and partial fill of open and
    reducing orders; `y` is its positive part, short | long. `equity` is the lowest equity over those fills. `before` is
    the equity that decides whether a limit is already breached. `slip` float64[N] is the largest loss of one more lot.
    `cash_used` is the cash already committed. `traded` is the session's traded value with all open orders and
    reductions. `settled`: the state after all fills at reference prices, not the worst state in flight.
    """

    w: Floats
    equity: float
    before: float
    slip: Floats
    cash_used: float
    traded: float
    settled: bool
    _lots: Floats | None = None
    _reach: tuple[Floats, float, float] | None = None

    @cached_property
    def y(self) -> Floats:
        return np.maximum(self.w, 0.0)

    def reach(self, case: "Case", lots: Floats) -> tuple[Floats, float, float]:
        """After adding unsigned `lots`: float64[2N] largest exposures short | long, their maximum, and the largest loss
        of `lots`."""
        # several limits in a row look at the same lots; arrays of lots are replaced, never written
        if self._reach is None or lots is not self._lots:
            full = self.y + case.sides(lots)
            self._lots = lots
            self._reach = full, most(full), float(self.slip.dot(lots))
        return self._reach


class Case(Struct, eq=False, dict=True):
    """One basket in the gate: reducing orders are settled, adding orders are being sized."""

    ctx: Context
    account: Account
    rules: "Rules"
    buys: Bools
    extents: list[Extent]
    scenarios: dict[int, Scenarios] = {}
    weights_keep: bool = True
    """All requested lots comply with the weight limits, so fewer lots do too."""
    pairs: "Correlation | None" = None
    """The correlation limit; None where all pairs are known to comply."""
    _lots: Floats | None = None
    _added: Floats | None = None

    @cached_property
    def tolerance(self) -> float:
        return SLACK * abs(self.account.equity)

    def standing(self, extent: Extent) -> tuple[Floats, float]:
        """float64[2N] [-e | e] exposures and equity without the adding orders, exact: they decide whether a limit is
        already breached. In flight these are the current positions, else the positions after all other fills."""
        if extent.settled:
            return extent.w, extent.before
        held = self.account.lots * self.ctx.px
        return np.concatenate((-held, held)), self.account.equity

    def side(self, both: Floats) -> Floats:
        """The entries float64[N] of a float64[2N] for the side of each adding order."""
        return np.where(self.buys, both[self.rules.size :], both[: self.rules.size])

    def sides(self, lots: Floats) -> Floats:
        """float64[2N] value of unsigned `lots` on the sell side | the buy side."""
        if self._added is not None and lots is self._lots:
            return self._added
        value = lots * self.ctx.px
        size = self.rules.size
        out = np.empty(2 * size)
        np.multiply(value, self.buys, out=out[size:])
        np.subtract(value, out[size:], out=out[:size])
        self._lots, self._added = lots, out
        return out
