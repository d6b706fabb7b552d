"""A set of limits prepared for a universe: caps on single orders, linear limits (rows), limits by group (families), on
tail losses (tails), quadratic limits (forms), and counts of orders.

What can go wrong: a limit is declared and enforced nowhere. The gate therefore reads only these tables and knows no
limit by name, and a key of `extra` without a record is refused, not ignored.

All measures grow with the lots that orders add, so that scaling all orders by one common factor suffices to comply.
Rules are cached by the identity of limits and universe, because hashing a universe costs more than a call of the gate.
"""

from collections.abc import Mapping
from copy import copy
from functools import cached_property
from math import gcd
from operator import attrgetter
from typing import Any, Final

import numpy as np
from msgspec.structs import force_setattr
from numpy.typing import ArrayLike, NDArray

from quantd.risk.limits.average_correlation import KEY as AVERAGE
from quantd.risk.limits.catalogue import (
    EXTRA,
    FIELDS,
    LIMIT_OF,
    LIMITS,
    K,
    Limits,
    Reason,
    bound_of,
    kinds_of,
    value_of,
)
from quantd.risk.limits.collars import Collar, Collars
from quantd.risk.limits.kinds import Bar, Cap, Count, Opening, Row, bounded, family_of, quad_of, row_of
from quantd.risk.limits.record import Barred, Capped, Counts, Families, Forms, Limit, Openings, Rows, Tails
from quantd.risk.measures.portfolio import FEW
from quantd.risk.measures.stress import shock_returns
from quantd.trading.instruments import NANO, Universe

CAPS: Final = kinds_of(Capped)
BARS: Final = kinds_of(Barred)
ROWS: Final = kinds_of(Rows)
FAMILIES: Final = kinds_of(Families)
TAILS: Final = kinds_of(Tails)
FORMS: Final = kinds_of(Forms)
COUNTS: Final = kinds_of(Counts)
OPENINGS: Final = kinds_of(Openings)
MOVING: Final = ("buying_power", "max_account_notional", "ramp")
"""Limits whose bound follows the venue, equity or time: linear limits without other settings."""

MOVING_ROWS: Final = [(limit, kind) for limit, kind in ROWS if limit.key in MOVING]
_BOUNDS: Final = attrgetter(*MOVING)
_LASTING: Final = attrgetter(*(key for key in Limits.__struct_fields__ if key not in MOVING))
MEASURED: Final = [(limit.key, limit.measure) for limit in LIMITS.values() if limit.measure is not None]


class Rules:
    """A set of limits for one universe, as arrays; `rules_of` caches it.

    Raises ValueError for a key that no limit has.
    """

    prepared: Any = None
    """The gate's `Prepared` of these rules; None until the gate has made it."""

    # Long because each list that the gate walks is made once, here, with its meaning.
    def __init__(self, limits: Limits, universe: Universe) -> None:
        self.limits = limits
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
            raise ValueError(f"no limit has the keys {', '.join(unknown_keys)}; install the package that declares them")
        self.caps: Final[list[tuple[int, int, Cap]]] = [
            (kind.place, self._code(limit, kind.code), kind.largest) for limit, kind in self._bounded(CAPS)
        ]
        """(place, code, cap) of the caps. The cap of a field of `Limits` returns None where the limit is off."""
        self.lasting: Final = [kind.lasting for _, kind in self._bounded(CAPS)]
        """Whether each cap is the same at every sample."""
        self.bars: Final[list[tuple[int, int, Bar]]] = [
            (kind.place, self._code(limit, kind.code), kind.refused) for limit, kind in self._bounded(BARS)
        ]
        """(place, code, refusal) of the refusals that depend on the account."""
        self.rows = [row for limit, kind, value in self._on(ROWS) for row in self._rows_of(limit, kind, value)]
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
        self.openings: Final[list[tuple[int, Opening]]] = [
            (limit.refusals[0].code, kind.refused) for limit, kind, _ in self._on(OPENINGS)
        ]
        self.average: Final[float | None] = value_of(limits, AVERAGE)
        """The largest average correlation of the positions."""
        trading = {row.key for row in self.rows if row.held[-1]}
        measured = [(key, bound_of(limits, key), measure) for key, measure in MEASURED]
        on = [entry for entry in measured if entry[1] == entry[1]]
        self.held_measures = [entry for entry in on if entry[0] not in trading]
        """Measures of the positions, without families."""
        self.traded_measures: Final = [entry for entry in on if entry[0] in trading]
        self.unmeasured: Final = [row for row in self.rows if row.key in EXTRA and LIMITS[row.key].measure is None]
        """Rows without a measure, which are measured by their coefficients."""
        lookbacks = {t.lookback for t in self.tails if t.fixed is None} | {q.lookback for q in self.quads if q.lookback}
        if limits.correlation is not None:
            lookbacks.add(limits.correlation.lookback)
        if self.average is not None:
            lookbacks.add(limits.volatility_lookback)
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

    def _on(self, table: list[tuple[Limit, K]]) -> list[tuple[Limit, K, Any]]:
        """Return the limits of a table of (limit, kind) that are on, as (limit, kind, value).

        A limit without a setting, such as the refusal of an order without a price, is always on; its value is True.
        """
        enabled = []
        for limit, kind in table:
            settable = limit.key in FIELDS or limit.key in EXTRA
            value = value_of(self.limits, limit.key) if settable else True
            if value is not None:
                enabled.append((limit, kind, value))
        return enabled

    def _rows_of(self, limit: Limit, kind: Rows, value: Any) -> list[Row]:
        linears = kind.make(value, self.limits, self.universe)
        return [row_of(self.limits, self.size, limit.key, limit.refusals[0].code, linear) for linear in linears]

    def moved(self, limits: Limits) -> "Rules":
        """The rules of limits that differ from these in the bounds of moving limits alone."""
        rules = copy(self)
        rules.limits, rules.prepared = limits, None
        linears = {
            limit.key: iter(kind.make(value, limits, self.universe)) for limit, kind, value in rules._on(MOVING_ROWS)
        }
        rules.rows = [bounded(row, limits, next(linears[row.key])) if row.key in linears else row for row in self.rows]
        rules.held_measures = [
            (key, bound_of(limits, key), measure) if key in linears else (key, bound, measure)
            for key, bound, measure in self.held_measures
        ]
        return rules

    def _bounded(self, table: list[tuple[Limit, K]]) -> list[tuple[Limit, K]]:
        """Return the limits of a table that have a bound. Limits of `extra` that are off are omitted."""
        return [(limit, kind) for limit, kind in table if limit.key not in EXTRA or self._value(limit) is not None]

    def _value(self, limit: Limit) -> Any:
        """Return the value of a limit in this set; None where the limit is off."""
        return value_of(self.limits, limit.key)

    def _code(self, limit: Limit, code: int | None) -> int:
        """Return the reason code of a limit on single orders: `code`, else the limit's first code.

        The limit on position weights has the code of the tighter of its two bounds, weight and concentration.
        """
        refusal_code = limit.refusals[0].code if code is None else code
        return self.weight_code if refusal_code == Reason.POSITION_WEIGHT else refusal_code

    @cached_property
    def over_losses(self) -> frozenset[str]:
        """Return the keys of the limits that one matrix product of returns and positions can measure for several books
        at once.

        The last bits of their values depend on which books are in that product.
        """
        forms = [quad.key for quad in self.quads if quad.spread is not None and self.size > FEW]
        return frozenset([*forms, *(tail.key for tail in self.tails)])

    @cached_property
    def over_scenarios(self) -> frozenset[str]:
        """Return the keys of the limits that are measured on scenarios of returns."""
        forms = [quad.key for quad in self.quads if quad.spread is not None]
        return self.over_losses.union(forms, ("correlation", AVERAGE))

    @cached_property
    def valued(self) -> frozenset[str]:
        """Return the keys under which `quantd.risk.limits.values` records a value for these rules."""
        measures = [*self.held_measures, *self.traded_measures]
        return self.over_losses.union(
            ("cash", "buying_power", "equity", "correlation", AVERAGE),
            (key for key, *_ in measures),
            (named.key for table in (self.families, self.unmeasured, self.quads) for named in table),
        )

    @cached_property
    def keys_by_code(self) -> dict[int, tuple[str, ...]]:
        """Return, by code that a limit writes where it cuts lots, the keys of this limit's values, one or several
        (`sector.energy`)."""
        keys: dict[str, list[str]] = {}
        for key in sorted(self.valued):
            keys.setdefault(key.partition(".")[0], []).append(key)
        return {code: tuple(keys[limit]) for code, limit in LIMIT_OF.items() if limit in keys}

    @cached_property
    def collars(self) -> Collars:
        """The collars (limit distances) of orders. The collar at an old price is at most as wide as the collar of
        reducing orders."""
        limits, ticks = self.limits, [i.tick_nano for i in self.universe.instruments]
        collar, reduce, stale = (round(c * NANO) for c in (limits.collar, limits.reduce_collar, limits.flatten_collar))
        adding, reducing, old = (self._collar(width, ticks) for width in (collar, reduce, min(reduce, stale)))
        return Collars(adding, reducing, old, limits.max_price_age_ns)

    def _collar(self, width: int, ticks: list[int]) -> Collar:
        """Return the collar (limit distance) of a `width` in nano (1e9 is 100 %), with its fractions in lowest
        terms."""
        common = gcd(gcd(NANO + width, NANO - width), NANO)
        return Collar((NANO + width) // common, (NANO - width) // common, NANO // common, ticks)


def _mask(marked: ArrayLike) -> NDArray[np.bool_] | None:
    """Return bool[N], True for the marked symbols; None if no symbol is marked."""
    mask = np.array(marked, dtype=np.bool_)
    return mask if mask.any() else None


_ready: dict[tuple[int, int], Rules] = {}
_MOST_READY: Final = 256


def moves(before: Limits, after: Limits) -> bool:
    """Whether only bounds of moving limits differ, and the same of them are on."""
    return _LASTING(before) == _LASTING(after) and all(
        (one is None) == (other is None) for one, other in zip(_BOUNDS(before), _BOUNDS(after), strict=True)
    )


def with_bounds(limits: Limits, bounds: Mapping[str, Any]) -> Limits:
    """Return `limits` with other bounds of moving limits (key -> value), which were computed and are not checked."""
    moved = copy(limits)
    for key, bound in bounds.items():
        force_setattr(moved, key, bound)
    return moved


def prepare(before: Limits, after: Limits, universe: Universe) -> None:
    """Make the rules of limits from the rules of the limits in force before them, where only bounds moved.

    A live account has other bounds at every sample, and making all of the rules costs more than the plan.
    """
    rules = _ready.get((id(before), id(universe)))
    if rules is not None and len(_ready) < _MOST_READY and moves(before, after):
        _ready[id(after), id(universe)] = rules.moved(after)


def rules_of(limits: Limits, universe: Universe) -> Rules:
    """Return the prepared rules of `limits`, cached by identity because hashing a universe costs more than a call of
    the gate."""
    identity = (id(limits), id(universe))
    rules = _ready.get(identity)
    # an entry refers to its limits and universe: while it exists, no new object can have their ids
    if rules is None:
        if len(_ready) >= _MOST_READY:
            _ready.clear()
        rules = _ready[identity] = Rules(limits, universe)
    return rules
