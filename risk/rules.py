"""The limits of a basket: caps, linear rows (and families of them), tails of scenario losses, quadratic forms.

Each kind is a table from a key of `Limits` to one function; the gate walks the tables and knows no limit by
name. All measures are monotone in the lots that add risk, which is what makes one common factor enough.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import gcd, inf, sqrt
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantd.risk.case import SLACK, Account, Case, Extent
from quantd.risk.context import Bools, Floats, Scenarios, Spread
from quantd.risk.limits import Limits, Reason
from quantd.risk.measures import SAMPLES_PER_YEAR, tail_count
from quantd.risk.stress import shock_returns
from quantd.risk.tails import normal_quantile, normal_shortfall
from quantd.trading.instruments import NANO, Universe

# ---- caps: most lots of one symbol -------------------------------------------------------------

Cap = Callable[[Case, Floats], Floats | None]
"""(case, lots) -> float64[N], the most unsigned lots that may be added of each symbol, whatever is asked of it;
None where `lots` keep it anyway. Not-a-number is 0."""


def _refused(bad: Bools) -> Floats:
    return np.where(bad, 0.0, inf)


def price_missing(case: Case, lots: Floats) -> Floats | None:
    return None if case.ctx.all_priced else _refused(~case.ctx.priced)


def price_age(case: Case, lots: Floats) -> Floats | None:
    """A price from the future is as bad as an old one."""
    ctx, most = case.ctx, case.rules.limits.max_price_age_ns
    if ctx.youngest_ns >= 0 and ctx.oldest_ns <= most:
        return None
    return _refused(~((ctx.age_ns >= 0) & (ctx.age_ns <= most)))


def worst_price(case: Case, lots: Floats) -> Floats | None:
    bad = case.ctx.off_grid(case.rules.limits.collar, case.rules.ticks, case.rules.widest_tick)
    return None if bad is None else _refused(bad)


def restricted(case: Case, lots: Floats) -> Floats | None:
    return None if case.rules.restricted is None else _refused(case.rules.restricted)


def short(case: Case, lots: Floats) -> Floats | None:
    if case.rules.limits.allow_short or not ((lots > 0.0) > case.buys).nonzero()[0].size:
        return None
    return _refused(~case.buys)


def no_borrow(case: Case, lots: Floats) -> Floats | None:
    """What the venue does not lend may be sold as far as it is held, and no further."""
    unlent = case.rules.no_borrow
    return None if unlent is None else _refused(unlent & ~case.buys)


def order_notional(case: Case, lots: Floats) -> Floats | None:
    """An order's notional is what its worst price can make of it: a buy's is above the mark."""
    most = case.rules.limits.max_order_notional
    if most is None or float(np.maximum.reduce(case.sides(lots))) * (1.0 + case.rules.limits.collar) <= most:
        return None
    price = np.where(case.buys, case.ctx.px * (1.0 + case.rules.limits.collar), case.ctx.px)
    with np.errstate(divide="ignore", invalid="ignore"):
        return most * (1.0 + SLACK) / price


def duplicate(case: Case, lots: Floats) -> Floats | None:
    """The same lots of the same symbol that were asked within `duplicate_window`: a message that came twice."""
    repeated = case.account.repeated
    if repeated is None:
        return None
    # written so that what is not a number refuses
    return _refused(~(np.where(case.buys, lots, -lots) != repeated) | np.isnan(repeated))


def blocked(case: Case, lots: Floats) -> Floats | None:
    """What a protective exit closed is not entered again before its cooldown is over."""
    return None if case.account.blocked is None else _refused(case.account.blocked)


def sector_missing(case: Case, lots: Floats) -> Floats | None:
    return None if case.rules.no_sector is None else _refused(case.rules.no_sector)


def shock_missing(case: Case, lots: Floats) -> Floats | None:
    """A book that holds what no scenario knows is unknown whole."""
    unknown, account = case.rules.no_shock, case.account
    if unknown is None:
        return None
    carried = account.lots != 0.0
    for side in (account.up, account.down):
        if side is not None:
            carried = carried | (side != 0.0)
    return _refused(unknown | bool((carried & unknown).any()))


def volume_missing(case: Case, lots: Floats) -> Floats | None:
    limits = case.rules.limits
    if limits.max_share_of_volume is None and limits.liquidity is None:
        return None
    if case.ctx.volumes_known:
        return None
    return _refused(~((case.ctx.volume_lots >= 0.0) & (case.ctx.volume_lots < inf)))


def share_of_volume(case: Case, lots: Floats) -> Floats | None:
    """Open orders of the symbol share the same volume."""
    share = case.rules.limits.max_share_of_volume
    if share is None:
        return None
    most = share * case.ctx.volume_lots
    account = case.account
    if account.up is not None:
        most = most - account.up
    if account.down is not None:
        most = most - account.down
    return most


def liquidity(case: Case, lots: Floats) -> Floats | None:
    """A position, with all that is open on its side, that can be sold within the days at the participation."""
    spec = case.rules.limits.liquidity
    if spec is None:
        return None
    account = case.account
    held = np.where(case.buys, account.lots, -account.lots)
    if account.up is not None:
        held = held + np.where(case.buys, account.up, 0.0)
    if account.down is not None:
        held = held + np.where(case.buys, 0.0, account.down)
    return spec.days * spec.participation * case.ctx.volume_lots - held


def weights_keep(case: Case, extent: Extent, lots: Floats, weight: float) -> bool:
    """Whether every position, traded or not, keeps its weight when all of `lots` and the open orders fill."""
    bound = weight if extent.settled else weight * (1.0 + case.rules.limits.in_flight)
    _, heaviest, slip = extent.reach(case, lots)
    return heaviest <= bound * (extent.equity - slip) + case.tolerance


def position_weight(case: Case, lots: Floats) -> Floats | None:
    """|position| <= weight x equity, with equity as low as the order's own worst price makes it."""
    weight = case.rules.weight
    if weight is None:
        return None
    case.weights_keep = all(weights_keep(case, extent, lots, weight) for extent in case.extents)
    if case.weights_keep:
        return None
    most: Floats | None = None
    for extent in case.extents:
        bound = weight if extent.settled else weight * (1.0 + case.rules.limits.in_flight)
        room = bound * extent.equity + case.tolerance - case.side(extent.y)
        with np.errstate(divide="ignore", invalid="ignore"):
            lots = room / (case.ctx.px + bound * extent.slip)
        most = lots if most is None else np.minimum(most, lots)
    return most


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


class Row(NamedTuple):
    """`held` . [y | w | cash_used | traded] + `load` . added <= `bound` x equity, load by side of symbol.

    `settled_load` and `settled_bound` hold after all fills, `bound` on the way there.
    """

    key: str
    reason: Reason
    held: Floats
    load: Floats
    bound: float
    settled_load: Floats
    settled_bound: float


def _row(
    limits: Limits, key: str, reason: Reason, load: Floats, bound: float, *, net: bool = False, traded: bool = False
) -> Row:
    size = len(load)
    held = np.zeros(2 * size + 2)
    if traded:
        held[-1] = 1.0
    else:
        held[size : 2 * size] = load if net else 0.0
        held[:size] = 0.0 if net else load
    return Row(key, reason, held, load, bound * (1.0 + limits.in_flight), load, bound)


def gross_rows(limits: Limits, universe: Universe) -> list[Row]:
    """Long sum and short sum, each at its own worst."""
    if limits.max_gross_exposure is None:
        return []
    load = np.ones(2 * universe.size)
    return [_row(limits, "max_gross_exposure", Reason.GROSS, load, limits.max_gross_exposure)]


def account_rows(limits: Limits, universe: Universe) -> list[Row]:
    """Gross exposure again, under what a live account may hold in all: absolute, so nothing on the way may exceed it."""
    return [
        _row(limits, key, reason, np.ones(2 * universe.size), cap.limit)._replace(bound=cap.limit)
        for key, reason, cap in (
            ("max_account_notional", Reason.ACCOUNT_NOTIONAL, limits.max_account_notional),
            ("ramp", Reason.RAMP, limits.ramp),
        )
        if cap is not None
    ]


def net_rows(limits: Limits, universe: Universe) -> list[Row]:
    """Net long with every buy and no sale filled, net short the other way round."""
    if limits.max_net_exposure is None:
        return []
    rows = []
    for side in (slice(universe.size, None), slice(0, universe.size)):
        load = np.zeros(2 * universe.size)
        load[side] = 1.0
        rows.append(_row(limits, "max_net_exposure", Reason.NET, load, limits.max_net_exposure, net=True))
    return rows


def leverage_rows(limits: Limits, universe: Universe) -> list[Row]:
    """Assets over equity, max(long, equity + short) / equity: long within leverage x equity, short within
    (leverage - 1) x equity."""
    if limits.max_leverage is None:
        return []
    n, leverage = universe.size, limits.max_leverage
    long, short = np.zeros(2 * n), np.zeros(2 * n)
    long[n:], short[:n] = 1.0, 1.0
    way = max(leverage * (1.0 + limits.in_flight) - 1.0, 0.0)
    borrowed = _row(limits, "max_leverage", Reason.LEVERAGE, short, leverage)
    return [
        _row(limits, "max_leverage", Reason.LEVERAGE, long, leverage),
        borrowed._replace(bound=way, settled_bound=max(leverage - 1.0, 0.0)),
    ]


def turnover_rows(limits: Limits, universe: Universe) -> list[Row]:
    """What this session has traded, may still trade from open orders, and this basket trades, reductions included."""
    if limits.max_turnover is None:
        return []
    load = np.ones(2 * universe.size)
    return [_row(limits, "max_turnover", Reason.TURNOVER, load, limits.max_turnover, traded=True)]


def cash_rows(limits: Limits, universe: Universe) -> list[Row]:
    """On the way: buys at worst prices with fees, sales not counted, within cash + max_cash_debit x equity.
    After all fills, at reference prices and with the sales: within cash. The reserve stays in both."""
    size, fee = universe.size, limits.fee_bp * 1e-4
    held = np.zeros(4 * size + 2)
    held[-2] = 1.0
    load = np.zeros(2 * size)
    paid = (1.0 + limits.collar) * (1.0 + fee)
    # the debit is a share of equity, which falls by what a buy pays above the mark; sales would raise cash by more
    load[size:] = paid + limits.max_cash_debit * (paid - 1.0)
    settled = np.full(2 * size, fee - 1.0)
    settled[size:] = 1.0 + fee
    return [Row("cash", Reason.CASH, held, load, 0.0, settled, 0.0)]


def buying_power_rows(limits: Limits, universe: Universe) -> list[Row]:
    """What adds risk, bought or sold short, at worst prices with fees, within what the venue says may still be bought: that
    has the open orders in it, and nothing held uses it. Absolute, on the way as at the end."""
    if limits.buying_power is None:
        return []
    paid = (1.0 + limits.collar) * (1.0 + limits.fee_bp * 1e-4)
    held, load, bound = np.zeros(4 * universe.size + 2), np.full(2 * universe.size, paid), limits.buying_power.limit
    return [Row("buying_power", Reason.BUYING_POWER, held, load, bound, load, bound)]


def equity_rows(limits: Limits, universe: Universe) -> list[Row]:
    """Equity at worst prices stays positive, limits or none."""
    none = np.zeros(2 * universe.size)
    return [Row("equity", Reason.EQUITY, np.zeros(4 * universe.size + 2), none, 1.0, none, 1.0)]


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


class Family(NamedTuple):
    """Gross exposure of all symbols with one label <= `bound` x equity, for each label from 1 to `names`; 0 is none.

    `settled_bound` holds after all fills, `bound` on the way there; `largest` is the most symbols with one label.
    """

    key: str
    reason: Reason
    labels: NDArray[np.int64]
    names: int
    bound: float
    settled_bound: float
    largest: int

    def sums(self, both: Floats) -> Floats:
        """float64[1 + names], what float64[N] sizes add up to under each label, that of none first."""
        found: Floats = np.bincount(self.labels, both)  # type: ignore[assignment]
        return found

    def over(self, both: Floats, most: float) -> list[int]:
        """The labels under which float64[N] sizes add up to more than `most`, or to no number."""
        beyond = ~(self.sums(both) <= most)
        beyond[0] = False
        found: list[int] = beyond.nonzero()[0].tolist()
        return found


def _family(limits: Limits, key: str, reason: Reason, bound: float, names: Sequence[str]) -> Family:
    """A family of the symbols that bear the same name; "" is none."""
    known = sorted(set(names) - {""})
    labels = np.array([known.index(name) + 1 if name else 0 for name in names], dtype=np.int64)
    largest = max((names.count(name) for name in known), default=0)
    return Family(key, reason, labels, len(known), bound * (1.0 + limits.in_flight), bound, largest)


def sector_families(limits: Limits, universe: Universe) -> list[Family]:
    """Each known sector; `sector_missing` refuses instruments without one."""
    bound = limits.max_sector_weight
    return [] if bound is None else [_family(limits, "max_sector_weight", Reason.SECTOR, bound, universe.sectors)]


def group_families(limits: Limits, universe: Universe) -> list[Family]:
    """Each group that has a cap; groups may overlap."""
    members = dict(universe.groups)
    return [
        _family(
            limits,
            f"group_caps.{group}",
            Reason.GROUP,
            bound,
            [group if symbol in members[group] else "" for symbol in universe.symbols],
        )
        for group, bound in limits.group_caps
    ]


def asset_families(limits: Limits, universe: Universe) -> list[Family]:
    """Each asset that several instruments are claims on; of a lone instrument `position_weight` has the cap."""
    assets, bound = universe.assets, limits.max_concentration
    shared = [asset if assets.count(asset) > 1 else "" for asset in assets]
    if bound is None or not any(shared):
        return []
    return [_family(limits, "max_concentration", Reason.CONCENTRATION, bound, shared)]


FAMILIES: Final[list[Callable[[Limits, Universe], list[Family]]]] = [sector_families, group_families, asset_families]


# ---- tails: monotone in each scenario's loss ---------------------------------------------------


Measure = Callable[[Floats], Floats]
"""float64[..., m], the m worst losses with the least of them first -> float64[...], their measure."""

Largest = Callable[[Floats, Floats, int, float, float], float]
"""(base, adding, m, target, fall) -> the largest factor f that keeps measure(base + f adding) <= target - f fall."""


class TailLimit(NamedTuple):
    """`measure(losses)` of the worst-first tail x `scale` <= `bound` x equity.

    Of the returns of `lookback`, `filtered` or as they were, or of the `fixed` scenarios of which each counts.
    """

    key: str
    reason: Reason
    confidence: float
    lookback: int
    scale: float
    bound: float
    measure: Measure
    largest: Largest
    filtered: bool = False
    fixed: Scenarios | None = None

    def of(self, known: dict[int, Scenarios]) -> tuple[Scenarios, int]:
        """The scenarios, given those of each lookback, and how many of the worst are looked at."""
        if self.fixed is not None:
            return self.fixed, 1
        scenarios = known[self.lookback]
        if self.filtered:
            scenarios = scenarios.filtered
        return scenarios, tail_count(len(scenarios), self.confidence)


def var_of(tail: Floats) -> Floats:
    """VaR of float64[..., m], the m worst losses, the least of them first."""
    return tail[..., 0]


def cvar_of(tail: Floats) -> Floats:
    """Expected shortfall of float64[..., m], the m worst losses."""
    return tail.dot(_equal_parts(tail.shape[-1]))


@lru_cache(maxsize=256)
def _equal_parts(m: int) -> Floats:
    return np.full(m, 1.0 / m)


def var_largest(base: Floats, adding: Floats, m: int, target: float, fall: float) -> float:
    """Largest f with VaR(base + f adding) <= target - f fall, in closed form.

    Scenario s keeps within up to t_s = (target - base_s) / (adding_s + fall); VaR is the m-th worst loss,
    so it keeps within as long as fewer than m scenarios do not: up to the m-th smallest t_s.
    """
    room, growth = target - base, adding + fall
    t = np.where(room >= 0.0, inf, -inf)
    np.divide(room, growth, out=t, where=growth > 0.0)
    nth = m - 1
    return float(np.partition(t, nth)[nth])


def cvar_largest(base: Floats, adding: Floats, m: int, target: float, fall: float) -> float:
    """Largest f <= 1 with CVaR(base + f adding) <= target - f fall.

    CVaR is the largest mean over m scenarios, each linear in f: Newton's method from f = 1 takes the set that
    is worst there and goes down to where that set complies, until no other set is worse. Each step is exact,
    the sets are finite (W. Dinkelbach, On nonlinear fractional programming, 1967).
    """
    f = 1.0
    while f > 0.0:
        losses = base + f * adding
        worst = np.argpartition(losses, len(losses) - m)[len(losses) - m :]
        room = target - float(base[worst].mean())
        growth = float(adding[worst].mean()) + fall
        step = room / growth if growth > 0.0 else (inf if room >= 0.0 else -inf)
        if step >= f * (1.0 - SLACK):
            return f
        f = step
    return 0.0


TAILS: Final[dict[str, tuple[Reason, Measure, Largest]]] = {
    "var": (Reason.VAR, var_of, var_largest),
    "cvar": (Reason.CVAR, cvar_of, cvar_largest),
}


def tail_limits(limits: Limits, universe: Universe) -> list[TailLimit]:
    found = []
    for key, (reason, measure, largest) in TAILS.items():
        spec = getattr(limits, key)
        if spec is not None and spec.method in ("historical", "filtered"):
            scale, again = sqrt(spec.horizon), spec.method == "filtered"
            found.append(
                TailLimit(key, reason, spec.confidence, spec.lookback, scale, spec.limit, measure, largest, again)
            )
    if limits.stress is not None:
        moves = shock_returns(limits.stress.shocks, universe)
        # an unknown move is refused by `shock_missing`: its value is never read
        fixed = Scenarios(np.where(np.isnan(moves), 0.0, moves))
        bound = limits.stress.limit
        found.append(TailLimit("stress", Reason.STRESS, 0.0, 0, 1.0, bound, var_of, var_largest, False, fixed))
    return found


# ---- quadratic forms ----------------------------------------------------------------------------


class Quad(NamedTuple):
    """scale x sum C_ij e_i e_j <= (bound x equity)^2, every entry at its own worst corner.

    `spread` gives the covariance C of the scenarios of `lookback`; None for the identity. `settled_bound` holds after
    all fills, `bound` on the way there.
    """

    key: str
    reason: Reason
    lookback: int
    scale: float
    bound: float
    settled_bound: float
    spread: Callable[[Scenarios], Spread] | None


SPREADS: Final[dict[str, Callable[[Scenarios], Spread]]] = {
    "parametric": lambda scenarios: scenarios.shrunk,
    "ewma": lambda scenarios: scenarios.weighted,
}
"""Method of a normal VaR -> its covariance."""


def volatility_quads(limits: Limits) -> list[Quad]:
    if limits.max_volatility is None:
        return []
    year, bound, rows = float(SAMPLES_PER_YEAR), limits.max_volatility, limits.volatility_lookback
    way = bound * (1.0 + limits.in_flight)
    return [Quad("max_volatility", Reason.VOLATILITY, rows, year, way, bound, lambda s: s.sample)]


def normal_quads(limits: Limits) -> list[Quad]:
    """VaR and CVaR of a normal book are so many of its deviations."""
    found = []
    for key, reason, deviations in (("var", Reason.VAR, normal_quantile), ("cvar", Reason.CVAR, normal_shortfall)):
        spec = getattr(limits, key)
        if spec is not None and spec.method in SPREADS:
            scale, way = deviations(spec.confidence) ** 2 * spec.horizon, spec.limit * (1.0 + limits.in_flight)
            found.append(Quad(key, reason, spec.lookback, scale, way, spec.limit, SPREADS[spec.method]))
    return found


def herfindahl_quads(limits: Limits) -> list[Quad]:
    """The sum of squared weights (Herfindahl's index) as a quadratic form: the limit itself is that of the square."""
    most = limits.max_herfindahl
    if most is None:
        return []
    way = sqrt(most * (1.0 + limits.in_flight))
    return [Quad("max_herfindahl", Reason.HERFINDAHL, 0, 1.0, way, sqrt(most), None)]


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
