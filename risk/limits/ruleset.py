"""The limits of a basket: caps, linear rows (and families of them), tails of scenario losses, quadratic forms.

Each kind is a table from a key of `Limits` to one function; the gate walks the tables and knows no limit by
name. All measures are monotone in the lots that add risk, which is what makes one common factor enough.
"""

from collections.abc import Callable
from math import gcd
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantd.risk.limits.case import Account
from quantd.risk.limits.cash import buying_power_rows, cash_rows, equity_rows
from quantd.risk.limits.catalogue import Limits, Reason
from quantd.risk.limits.eligibility import (
    blocked,
    no_borrow,
    price_age,
    price_missing,
    restricted,
    sector_missing,
    shock_missing,
    short,
    worst_price,
)
from quantd.risk.limits.exposure import account_rows, gross_rows, leverage_rows, net_rows, turnover_rows
from quantd.risk.limits.kinds import Cap, Family, Quad, Row
from quantd.risk.limits.orders import duplicate, liquidity, order_notional, share_of_volume, volume_missing
from quantd.risk.limits.position import (
    asset_families,
    group_families,
    herfindahl_quads,
    position_weight,
    sector_families,
)
from quantd.risk.limits.tail_risk import normal_quads, tail_limits, volatility_quads
from quantd.risk.measures.stress import shock_returns
from quantd.trading.instruments import NANO, Universe

# ---- caps: most lots of one symbol -------------------------------------------------------------


CAPS: Final[list[tuple[Reason, Cap]]] = [
    (Reason.DUPLICATE, duplicate),
    (Reason.PRICE_MISSING, price_missing),
    (Reason.PRICE_AGE, price_age),
    (Reason.WORST_PRICE, worst_price),
    (Reason.RESTRICTED, restricted),
    (Reason.PROTECTED, blocked),
    (Reason.SECTOR_MISSING, sector_missing),
    (Reason.SHOCK_MISSING, shock_missing),
    (Reason.SHORT, short),
    (Reason.NO_BORROW, no_borrow),
    (Reason.ORDER_NOTIONAL, order_notional),
    (Reason.VOLUME_MISSING, volume_missing),
    (Reason.SHARE_OF_VOLUME, share_of_volume),
    (Reason.LIQUIDITY, liquidity),
    (Reason.POSITION_WEIGHT, position_weight),
]
"""In this order."""


# ---- counts: most orders -----------------------------------------------------------------------


class Count(NamedTuple):
    """Orders that count already and all of a basket, reductions too, <= `most`; reductions pass whatever their
    number."""

    key: str
    reason: Reason
    most: int
    used: Callable[[Account], int]


def counts(limits: Limits) -> list[Count]:
    rate = None if limits.order_rate is None else limits.order_rate.orders
    found = (
        ("max_open_orders", Reason.OPEN_ORDERS, limits.max_open_orders, lambda account: account.open_orders),
        ("order_rate", Reason.ORDER_RATE, rate, lambda account: account.recent_orders),
        (
            "max_orders_per_day",
            Reason.ORDERS_PER_DAY,
            limits.max_orders_per_day,
            lambda account: account.session_orders,
        ),
    )
    return [Count(key, reason, most, used) for key, reason, most, used in found if most is not None]


COUNTS: Final[list[Callable[[Limits], list[Count]]]] = [counts]


# ---- rows: linear in exposures ---------------------------------------------------------------


ROWS: Final[list[Callable[[Limits, Universe], list[Row]]]] = [
    gross_rows,
    account_rows,
    net_rows,
    leverage_rows,
    turnover_rows,
    cash_rows,
    buying_power_rows,
    equity_rows,
]


# ---- families: rows of a few symbols each ------------------------------------------------------


FAMILIES: Final[list[Callable[[Limits, Universe], list[Family]]]] = [sector_families, group_families, asset_families]


# ---- tails: monotone in each scenario's loss ---------------------------------------------------


# ---- quadratic forms ----------------------------------------------------------------------------


QUADS: Final[list[Callable[[Limits], list[Quad]]]] = [volatility_quads, normal_quads, herfindahl_quads]


# ---- a set of limits, made ready ------------------------------------------------------------------


KNOWN_CAPS: Final = [
    duplicate, price_missing, price_age, worst_price, restricted, blocked, sector_missing, shock_missing, short, no_borrow,
    order_notional, volume_missing, share_of_volume, liquidity, position_weight,
]  # fmt: skip
"""The caps that the short way judges: with any other one declared it does not answer."""

_LONG_KINDS: Final = {
    "max_gross_exposure": 0, "max_account_notional": 0, "ramp": 0, "max_net_exposure": 0, "max_leverage": 0,
    "max_turnover": 1, "cash": 2,
}  # fmt: skip
"""Rows that are the same for every symbol of a book without shorts: of exposure, of turnover, of cash."""

_SIDED_KINDS: Final = {
    "max_gross_exposure": 0, "max_account_notional": 0, "ramp": 0, "max_net_exposure": 1, "max_leverage": 3, "max_turnover": 5,
    "cash": 6, "equity": 7,
}  # fmt: skip
"""Rows of a book with shorts: gross, net long, net short, long, short, turnover, cash."""

_BY_SIDE: Final = frozenset({"max_net_exposure", "max_leverage"})
"""Two rows each: of the long side, then of the short."""


class Rules:
    """A set of limits for one universe, as arrays. Made once, found again by `rules_of`."""

    def __init__(self, limits: Limits, universe: Universe) -> None:
        self.limits: Final = limits
        self.universe: Final = universe
        self.size: Final = universe.size
        self.weights: Final = [w for w in (limits.max_position_weight, limits.max_concentration) if w is not None]
        self.weight: Final = min(self.weights, default=None)
        """The most that one instrument may weigh: the tighter of `weights`."""
        self.weight_code: Final = (
            Reason.POSITION_WEIGHT if self.weight == limits.max_position_weight else Reason.CONCENTRATION
        )
        self.rows: Final = [row for make in ROWS for row in make(limits, universe)]
        self.equity_row: Final = [r.reason for r in self.rows].index(Reason.EQUITY)
        self.held: Final = np.array([r.held for r in self.rows])
        self.load: Final = np.array([r.load for r in self.rows])
        self.full: Final = np.hstack((self.held, self.load))
        self.bound: Final = np.array([r.bound for r in self.rows])
        self.settled_load: Final = np.array([r.settled_load for r in self.rows])
        self.settled_bound: Final = np.array([r.settled_bound for r in self.rows])
        self.settled_full: Final = np.hstack((self.held, self.settled_load))
        self.families: Final = [family for make in FAMILIES for family in make(limits, universe)]
        self.tails: Final = tail_limits(limits, universe)
        self.quads: Final = [quad for make in QUADS for quad in make(limits)]
        self.counts: Final = [count for make in COUNTS for count in make(limits)]
        lookbacks = {t.lookback for t in self.tails if t.fixed is None} | {q.lookback for q in self.quads if q.lookback}
        if limits.correlation is not None:
            lookbacks.add(limits.correlation.lookback)
        self.lookbacks: Final = tuple(sorted(lookbacks))
        self.two_states: Final = limits.in_flight > 0.0 or limits.max_cash_debit > 0.0
        mask = np.array([s in limits.restricted for s in universe.symbols], dtype=np.bool_)
        self.restricted: Final[NDArray[np.bool_] | None] = mask if mask.any() else None
        unlent = np.array([s in limits.no_borrow for s in universe.symbols], dtype=np.bool_)
        self.no_borrow: Final[NDArray[np.bool_] | None] = unlent if unlent.any() else None
        nameless = np.array([not s for s in universe.sectors], dtype=np.bool_)
        self.no_sector: Final = nameless if limits.max_sector_weight is not None and nameless.any() else None
        unknown = np.zeros(self.size, dtype=np.bool_)
        if limits.stress is not None:
            unknown |= np.isnan(shock_returns(limits.stress.shocks, universe)).any(axis=0)
        self.no_shock: Final = unknown if unknown.any() else None
        self.ticks: Final = np.array([i.tick_nano for i in universe.instruments], dtype=np.float64)
        self.widest_tick: Final = float(self.ticks.max())
        self.fee: Final = limits.fee_bp * 1e-4
        # what the short way reads: books without shorts, where a row is one number a currency unit bought
        missing = (self.restricted, self.no_borrow, self.no_sector, self.no_shock)
        # it answers where it knows every row by name: of what a venue says may be bought only a basket that adds uses
        # some, which it does not tell apart
        self.plain: Final = (
            not self.two_states
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

    def collar_ratios(self, width_nano: int) -> list[tuple[int, int, int]]:
        """(up, down, one) of each column: mark x up // one and mark x down / one are the ticks at the mark plus and
        minus a collar, in lowest terms, since small ints are quick."""
        found = self._collars.get(width_nano)
        if found is None:
            found = []
            for tick in (i.tick_nano for i in self.universe.instruments):
                up, down, one = NANO + width_nano, NANO - width_nano, NANO * tick
                common = gcd(gcd(up, down), one)
                found.append((up // common, down // common, one // common))
            self._collars[width_nano] = found
        return found


_ready: dict[tuple[int, int], Rules] = {}
_MOST_READY: Final = 256


def rules_of(limits: Limits, universe: Universe) -> Rules:
    """The ready form of `limits`; kept by identity, since hashing a universe costs more than a gate."""
    key = (id(limits), id(universe))
    found = _ready.get(key)
    # an entry holds its objects, so that their ids cannot come to mean others
    if found is None:
        if len(_ready) >= _MOST_READY:
            _ready.clear()
        found = _ready[key] = Rules(limits, universe)
    return found
