"""A set of limits prepared for a universe: caps, linear rows, families of rows, tails, quadratic forms and counts.

The gate walks these tables and knows no limit by name. All measures are monotone in the adding lots, so one common
factor suffices.
"""

from math import gcd
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantd.risk.limits.catalogue import EXTRA, FIELDS, LIMITS, K, Limits, Reason, bound_of, kinds_of, value_of
from quantd.risk.limits.eligibility import blocked, no_borrow, price_age, price_missing, restricted, short, worst_price
from quantd.risk.limits.kinds import Cap, Count, family_of, quad_of, row_of
from quantd.risk.limits.orders import duplicate, liquidity, order_notional, share_of_volume, volume_missing
from quantd.risk.limits.position import position_weight, sector_missing
from quantd.risk.limits.record import Capped, Counts, Families, Forms, Limit, Rows, Tails
from quantd.risk.limits.tail_risk import shock_missing
from quantd.risk.measures.stress import shock_returns
from quantd.trading.instruments import NANO, Universe

CAPS: Final = kinds_of(Capped)
ROWS: Final = kinds_of(Rows)
FAMILIES: Final = kinds_of(Families)
TAILS: Final = kinds_of(Tails)
FORMS: Final = kinds_of(Forms)
COUNTS: Final = kinds_of(Counts)
MEASURED: Final = [(limit.key, limit.measure) for limit in LIMITS.values() if limit.measure is not None]

KNOWN_CAPS: Final[frozenset[Cap]] = frozenset({
    duplicate, price_missing, price_age, worst_price, restricted, blocked, sector_missing, shock_missing, short,
    no_borrow,
    order_notional, volume_missing, share_of_volume, liquidity, position_weight,
})  # fmt: skip
"""The caps that the fast path knows; it does not answer when another one is declared."""

_LONG_KINDS: Final = {
    "max_gross_exposure": 0, "max_account_notional": 0, "ramp": 0, "max_net_exposure": 0, "max_leverage": 0,
    "max_turnover": 1, "cash": 2,
}  # fmt: skip
"""Rows with equal coefficients for all symbols of a long-only book: exposure, turnover, cash."""

_SIDED_KINDS: Final = {
    "max_gross_exposure": 0, "max_account_notional": 0, "ramp": 0, "max_net_exposure": 1, "max_leverage": 3,
    "max_turnover": 5,
    "cash": 6, "equity": 7,
}  # fmt: skip
"""Rows of a book with shorts: gross, net long, net short, long, short, turnover, cash."""

_BY_SIDE: Final = frozenset({"max_net_exposure", "max_leverage"})
"""Limits with two rows: long side, then short side."""


class Rules:
    """A set of limits for one universe, as arrays; `rules_of` caches it."""

    def __init__(self, limits: Limits, universe: Universe) -> None:
        self.limits: Final = limits
        self.universe: Final = universe
        self.size: Final = universe.size
        self.weights: Final = [w for w in (limits.max_position_weight, limits.max_concentration) if w is not None]
        self.weight: Final = min(self.weights, default=None)
        """The largest weight of one instrument."""
        self.weight_code: Final = (
            Reason.POSITION_WEIGHT if self.weight == limits.max_position_weight else Reason.CONCENTRATION
        )
        unknown_keys = [key for key, _ in limits.extra or () if key not in EXTRA]
        if unknown_keys:
            raise ValueError(f"no limit has the keys {', '.join(unknown_keys)}: what they bound is not known")
        self.caps: Final = self._caps()
        self.rows: Final = [
            row_of(limits, self.size, limit.key, limit.refusals[0].code, linear)
            for limit, kind, value in self._on(ROWS)
            for linear in kind.make(value, limits, universe)
        ]
        self.equity_row: Final = [r.reason for r in self.rows].index(Reason.EQUITY)
        self.held: Final = np.array([r.held for r in self.rows])
        self.load: Final = np.array([r.load for r in self.rows])
        self.full: Final = np.hstack((self.held, self.load))
        self.bound: Final = np.array([r.bound for r in self.rows])
        self.settled_load: Final = np.array([r.settled_load for r in self.rows])
        self.settled_bound: Final = np.array([r.settled_bound for r in self.rows])
        self.settled_full: Final = np.hstack((self.held, self.settled_load))
        self.families: Final = [
            family_of(limits, limit.key, limit.refusals[0].code, labels)
            for limit, kind, value in self._on(FAMILIES)
            for labels in kind.make(value, limits, universe)
        ]
        self.tails: Final = [
            losses._replace(key=limit.key, reason=limit.refusals[0].code)
            for limit, kind, value in self._on(TAILS)
            for losses in kind.make(value, limits, universe)
        ]
        self.quads: Final = [
            quad_of(limits, limit.key, limit.refusals[0].code, form)
            for limit, kind, value in self._on(FORMS)
            for form in kind.make(value, limits)
        ]
        self.counts: Final = [
            Count(limit.key, limit.refusals[0].code, kind.most(value), kind.used)
            for limit, kind, value in self._on(COUNTS)
        ]
        trading = {row.key for row in self.rows if row.held[-1]}
        measured = [(key, bound_of(limits, key), measure) for key, measure in MEASURED]
        on = [each for each in measured if each[1] == each[1]]
        self.held_measures: Final = [each for each in on if each[0] not in trading]
        """Measures of the positions, without families."""
        self.traded_measures: Final = [each for each in on if each[0] in trading]
        self.unmeasured: Final = [row for row in self.rows if row.key in EXTRA and LIMITS[row.key].measure is None]
        """Rows measured by their coefficients."""
        lookbacks = {t.lookback for t in self.tails if t.fixed is None} | {q.lookback for q in self.quads if q.lookback}
        if limits.correlation is not None:
            lookbacks.add(limits.correlation.lookback)
        self.lookbacks: Final = tuple(sorted(lookbacks))
        self.two_states: Final = limits.in_flight > 0.0 or limits.max_cash_debit > 0.0
        self.restricted: Final = _mask([s in limits.restricted for s in universe.symbols])
        self.no_borrow: Final = _mask([s in limits.no_borrow for s in universe.symbols])
        self.no_sector: Final = _mask([limits.max_sector_weight is not None and not s for s in universe.sectors])
        moves = shock_returns(limits.stress.shocks if limits.stress is not None else (), universe)
        self.no_shock: Final = _mask(np.isnan(moves).any(axis=0))
        self.ticks: Final = np.array([i.tick_nano for i in universe.instruments], dtype=np.float64)
        self.widest_tick: Final = float(self.ticks.max())
        self.fee: Final = limits.fee_bp * 1e-4
        missing = (self.restricted, self.no_borrow, self.no_sector, self.no_shock)
        # the fast path knows the rows of `_SIDED_KINDS` only; the row `buying_power` is none of them
        self.plain: Final = (
            not self.two_states
            and all(largest in KNOWN_CAPS for _, largest in self.caps)
            and all(each is None for each in missing)
            and all(r.key in _SIDED_KINDS for r in self.rows)
        )
        self.weighs_volume: Final = limits.max_share_of_volume is not None or limits.liquidity is not None
        self.long_rows: Final = [
            (_LONG_KINDS[r.key], r.reason, r.bound, float(r.load[-1])) for r in self.rows if self.plain and r.load[-1]
        ]
        self.sided_rows: Final = [
            (_SIDED_KINDS[r.key] + int(r.key in _BY_SIDE and r.load[0] > 0.0), r.bound)
            for r in self.rows
            if self.plain and r.reason != Reason.EQUITY
        ]
        self.paid_slip: Final = (1.0 + limits.collar) * (1.0 + self.fee) - 1.0
        self.covered_slip: Final = (1.0 + limits.reduce_collar) * (1.0 + self.fee) - 1.0
        self._collars: dict[int, list[tuple[int, int, int]]] = {}

    def _on(self, table: list[tuple[Limit, K]]) -> list[tuple[Limit, K, Any]]:
        """The limits of a table that are on, with their values; a condition is always on."""
        found = []
        for limit, own in table:
            settable = limit.key in FIELDS or limit.key in EXTRA
            value = value_of(self.limits, limit.key) if settable else True
            if value is not None:
                found.append((limit, own, value))
        return found

    def _caps(self) -> list[tuple[int, Cap]]:
        """(code, cap) in their order. Caps of fields of `Limits` check for themselves whether they are on; the others
        are present only where they are on."""
        found = []
        for limit, kind in CAPS:
            if limit.key in EXTRA and value_of(self.limits, limit.key) is None:
                continue
            code = limit.refusals[0].code if kind.code is None else kind.code
            found.append((self.weight_code if code == Reason.POSITION_WEIGHT else code, kind.largest))
        return found

    def collar_ratios(self, width_nano: int) -> list[tuple[int, int, int]]:
        """(up, down, one) of each column: mark x up // one and mark x down / one are the ticks at the mark plus and
        minus a collar, in lowest terms because small ints are fast."""
        found = self._collars.get(width_nano)
        if found is None:
            found = []
            for tick in (i.tick_nano for i in self.universe.instruments):
                up, down, one = NANO + width_nano, NANO - width_nano, NANO * tick
                common = gcd(gcd(up, down), one)
                found.append((up // common, down // common, one // common))
            self._collars[width_nano] = found
        return found


def _mask(marked: ArrayLike) -> NDArray[np.bool_] | None:
    """bool[N] of the marked symbols; None without one."""
    found = np.array(marked, dtype=np.bool_)
    return found if found.any() else None


_ready: dict[tuple[int, int], Rules] = {}
_MOST_READY: Final = 256


def rules_of(limits: Limits, universe: Universe) -> Rules:
    """The rules of `limits`, cached by identity because hashing a universe costs more than a gate call."""
    key = (id(limits), id(universe))
    found = _ready.get(key)
    # an entry holds its objects, so that their ids cannot come to mean others
    if found is None:
        if len(_ready) >= _MOST_READY:
            _ready.clear()
        found = _ready[key] = Rules(limits, universe)
    return found
