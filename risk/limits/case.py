"""A basket on its way through the gate: the book it belongs to and how far its exposures can go."""

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
"""Relative tolerance of every comparison: rounding of floats, never a lot of anything."""


class Account(Struct, kw_only=True, eq=False):
    """One book, an agent's or the house's, with what may still fill.

    `lots` float64[N] signed; `cash` and `equity` in account currency at the marks; `up` and `down` float64[N]
    remaining lots of open, unknown and held-back buy and sell orders, unsigned, None for none; `up_cash` what
    those buys can cost at their worst prices with fees; `open_orders` how many rows that are.
    `open_loss`: what equity loses at most when they fill at their worst prices with fees; None: taken from
    `up_cash` and the collars, which is exact while the marks have not moved since. `open_gain`: what it gains at most
    by them, where the marks have moved past their prices.
    `traded` is what was traded in this session already, in currency; `recent_orders` how many orders
    were sent within `order_rate.per`, `session_orders` in this session; `repeated` float64[N] the signed lots asked
    within `duplicate_window`, None for none; `blocked` bool[N] what a protective exit closed too recently to be entered
    again; `halted` bool[N] what the venue does not trade now.
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
        """bool[N]: what is held or may still fill; what is not a number is."""
        found: Bools = self.lots != 0.0
        for side in (self.up, self.down):
            if side is not None:
                found = found | (side != 0.0)
        return found

    def closable(self) -> Floats:
        """float64[N] lots by which a position can be made smaller without crossing zero: what open orders against it
        leave, below 0 where they may cross it themselves."""
        left, long = np.abs(self.lots), self.lots > 0.0
        if self.down is not None:
            left = left - np.where(long, self.down, 0.0)
        if self.up is not None:
            left = left - np.where(long, 0.0, self.up)
        return left


class Extent(Struct, eq=False, dict=True):
    """How far exposures can go before the new adding orders, in account currency.

    `w` float64[2N] is [-lowest | highest] exposure of each symbol over every subset and partial fill of
    open and reducing orders, `y` its positive part: short | long at their worst. `equity` is the lowest over
    those fills, `before` that by which a limit is breached already, without this basket, and `slip` float64[N] what one
    more lot can take from it. `cash_used` is what cash must still cover, `traded` what this session has traded, with
    all that is open and the basket's reductions.
    `settled`: the state after all of them have filled at reference prices, instead of the worst on the way.
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
        """With `lots` (unsigned) added: float64[2N] exposures short | long at their worst, the heaviest of them, and
        what `lots` can take from equity."""
        # several limits in a row look at the same lots; arrays of lots are replaced, never written
        if self._reach is None or lots is not self._lots:
            full = self.y + case.sides(lots)
            self._lots = lots
            self._reach = full, most(full), float(self.slip.dot(lots))
        return self._reach


class Case(Struct, eq=False, dict=True):
    """One basket under way through the gate: its reducing part is settled, the adding part is being sized."""

    ctx: Context
    account: Account
    rules: "Rules"
    buys: Bools
    extents: list[Extent]
    scenarios: dict[int, Scenarios] = {}
    weights_keep: bool = True
    """Known to comply with all lots still under way: then they do with any fewer."""
    pairs: "Correlation | None" = None
    """The limit of pairs, where they are not known to comply."""
    _lots: Floats | None = None
    _added: Floats | None = None

    @cached_property
    def tolerance(self) -> float:
        return SLACK * abs(self.account.equity)

    def standing(self, extent: Extent) -> tuple[Floats, float]:
        """float64[2N], [-e | e], and equity without the adding orders, exactly: what says whether a limit is
        breached already. On the way that is what is held now, else what is held after the other fills."""
        if extent.settled:
            return extent.w, extent.before
        held = self.account.lots * self.ctx.px
        return np.concatenate((-held, held)), self.account.equity

    def side(self, both: Floats) -> Floats:
        """float64[N] of a float64[2N]: the side each adding order is on."""
        return np.where(self.buys, both[self.rules.size :], both[: self.rules.size])

    def sides(self, lots: Floats) -> Floats:
        """float64[2N], currency that adding `lots` (unsigned) puts on the sell side | the buy side."""
        if self._added is not None and lots is self._lots:
            return self._added
        value = lots * self.ctx.px
        size = self.rules.size
        out = np.empty(2 * size)
        np.multiply(value, self.buys, out=out[size:])
        np.subtract(value, out[size:], out=out[:size])
        self._lots, self._added = lots, out
        return out
