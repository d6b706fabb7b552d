"""The kinds of risk limits: the inputs of each kind, and the function that prepares it for a universe."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantd.risk.limits.case import SLACK, Account
from quantd.risk.limits.context import Bools, Context, Floats, Scenarios, Spread
from quantd.risk.limits.settings import Limits, reserved
from quantd.risk.measures.portfolio import tail_count

if TYPE_CHECKING:
    from quantd.risk.limits.ruleset import Rules

Held = Literal["side", "net", "traded", "cash", "nothing"]
"""The exposure of a `Row` that counts before the basket; see `Linear`."""


class Refused(NamedTuple):
    """Symbols that no order may buy (`buys` bool[N]), and symbols that no order may sell (`sells`); None for none.

    Such a limit never refuses an order that reduces a position.
    """

    buys: Bools | None = None
    sells: Bools | None = None


class Room(NamedTuple):
    """The largest permitted order in unsigned lots, float64[N]: `buys` for purchases, `sells` for sales. NaN means 0.

    With `held`, the existing position counts too. `open` says which open orders count: `none`, those on the same
    `side`, or those on `both` sides.
    """

    buys: Floats
    sells: Floats
    held: bool = False
    open: Literal["none", "side", "both"] = "none"


class Weighed(NamedTuple):
    """The limit on each position: at most `Rules.weight` (a fraction) of the equity after the order's own costs."""


Cap = Callable[[Context, "Rules"], Refused | Room | Weighed | None]
"""(market, rules) -> the bound on each order by itself; None for no bound. The result is used for the whole sample."""


@dataclass(frozen=True, slots=True, eq=False)
class OfVolume:
    """A cap on an order: at most a fraction (`part`) of the symbol's average volume.

    `part` returns None if the limit is off. `held` and `open` are as in `Room`: whether the position and which open
    orders count. The gate reads these fields and multiplies only for the symbols that are ordered. Calling the object
    computes the largest orders (`Room`) of all symbols.
    """

    part: Callable[[Limits], float | None]
    held: bool = False
    open: Literal["none", "side", "both"] = "none"

    def __call__(self, ctx: Context, rules: "Rules") -> Room | None:
        part = self.part(rules.limits)
        if part is None:
            return None
        most = part * ctx.volume_lots
        return Room(most, most, self.held, self.open)


@dataclass(frozen=True, slots=True, eq=False)
class OfNotional:
    """A cap on the notional of an order at its worst price, which for a buy is above the mark price.

    `most` returns None if the limit is off. The gate reads this field and divides only for the symbols that are
    ordered. Calling the object computes the largest orders (`Room`) of all symbols.
    """

    most: Callable[[Limits], float | None]

    def lots(self, limits: Limits) -> tuple[float, float] | None:
        """Return the largest value of a sale, with a tolerance for rounding, and the factor by which a buy's worst
        price exceeds the mark; None if off."""
        most = self.most(limits)
        return None if most is None else (most * (1.0 + SLACK), 1.0 + reserved(limits.collar))

    def __call__(self, ctx: Context, rules: "Rules") -> Room | None:
        notional = self.lots(rules.limits)
        if notional is None:
            return None
        # `price_missing` refuses symbols without a price: 1.0 only avoids a division by 0
        sold = notional[0] / (ctx.px if ctx.all_priced else np.where(ctx.priced, ctx.px, 1.0))
        return Room(sold / notional[1], sold)


Bar = Callable[["Rules", Account, Floats], Bools | None]
"""(rules, account, requested float64[N] signed lots) -> bool[N] refused symbols; None for none."""


Opening = Callable[[Context, "Rules", Account, Floats], Bools | None]
"""(market, rules, account, float64[N] signed lots that comply with all other limits) -> bool[N] refused symbols; None
for none."""


def refused(bad: Bools) -> Refused:
    """Refuse both purchases and sales of the symbols marked in `bad`."""
    return Refused(bad, bad)


class Row(NamedTuple):
    """A linear limit in coefficients: the scalar products `held` . e + `load` . a <= `bound` x equity.

    e is the exposure before the basket (orders of one sample), float64[4N + 2]. Four blocks have a value for each
    symbol: [size of the short side | size of the long side | net exposure, sign reversed | net exposure]; then [cash in
    use | value traded]. a is the value that the basket adds, float64[2N]: [sold | bought] of each symbol. `load` and
    `bound` apply while orders are open, `settled_load` and `settled_bound` after all fills. `kind` names the exposure
    that `held` selects.
    """

    key: str
    reason: int
    kind: Held
    held: Floats
    load: Floats
    bound: float
    settled_load: Floats
    settled_bound: float


class Linear(NamedTuple):
    """One linear limit in coefficients: some exposure may be at most `bound` x equity.

    A unit of currency that is added on the long side raises this exposure by `long`, on the short side by `short`; each
    is one value or float64[N]. `held` is the exposure that counts before the basket (the orders of one sample): of each
    `side`, `net` of the other side, value `traded` in this session, `cash` in use, or `nothing`. `way` is the bound
    while orders are open; if it is None, that bound is wider than `bound` by the fraction `in_flight`. `settled` are
    the coefficients (long, short) after all fills; if it is None, they are the same as before.
    """

    bound: float
    long: float | Floats = 0.0
    short: float | Floats = 0.0
    held: Held = "side"
    way: float | None = None
    settled: tuple[float | Floats, float | Floats] | None = None


def row_of(limits: Limits, size: int, key: str, reason: int, linear: Linear) -> Row:
    """Return the `Row` of the linear limit `key` for `size` symbols; `reason` is the code of its refusals.

    A row bounds the exposure before the basket (the orders of one sample) plus what the orders add. Raises ValueError
    for a coefficient that is negative or not finite.
    """
    load, held_coefficients = _sides(size, linear.long, linear.short), np.zeros(4 * size + 2)
    # of n symbols: 2n exposures by side, 2n net exposures, the cash in use, the value traded
    match linear.held:
        case "side":
            held_coefficients[: 2 * size] = load
        case "net":
            held_coefficients[2 * size : 4 * size] = load
        case "traded":
            held_coefficients[-1] = 1.0
        case "cash":
            held_coefficients[-2] = 1.0
        case "nothing":
            pass
    if not (np.isfinite(load).all() and (load >= 0.0).all()):
        raise ValueError(
            f"{key}: a coefficient is negative or not finite, so that an order could add risk within the limit"
        )
    # `settled`: coefficients after all fills; None for the same
    settled = load if linear.settled is None else _sides(size, *linear.settled)
    row = Row(key, reason, linear.held, held_coefficients, load, 0.0, settled, 0.0)  # bounds follow
    return bounded(row, limits, linear)


def bounded(row: Row, limits: Limits, linear: Linear) -> Row:
    """Return a row with the bounds of `linear`, whose coefficients it has."""
    in_flight = linear.bound * (1.0 + limits.in_flight) if linear.way is None else linear.way
    return row._replace(bound=in_flight, settled_bound=linear.bound)


def _sides(size: int, long: float | Floats, short: float | Floats) -> Floats:
    """Return float64[2N]: the value `short` for the short side of each symbol, then `long` for each long side."""
    both = np.empty(2 * size)
    both[:size], both[size:] = short, long
    return both


class Family(NamedTuple):
    """A bound for each group of symbols: the gross exposure of a group <= bound x equity.

    `labels` int64[N] has the group of each symbol, 1 to `names`; 0 is in no group and without a bound. `bound` applies
    while orders are open, at their worst fills; `settled_bound` after all fills. `largest` is the size of the largest
    group, in symbols.
    """

    key: str
    reason: int
    labels: NDArray[np.int64]
    names: int
    bound: float
    settled_bound: float
    largest: int


class Labels(NamedTuple):
    """A name for each symbol, "" for none: symbols with the same name may weigh `bound` together.

    `part` is appended to the key of the limit.
    """

    names: Sequence[str]
    bound: float
    part: str = ""


def family_of(limits: Limits, key: str, reason: int, labels: Labels) -> Family:
    """Return the `Family` (limit by group) for some labels. Groups are numbered from 1 in order of names; 0 is for
    symbols without a name."""
    names, bound = labels.names, labels.bound
    distinct_names = sorted(set(names) - {""})
    numbers = np.array([distinct_names.index(name) + 1 if name else 0 for name in names], dtype=np.int64)
    largest = max((names.count(name) for name in distinct_names), default=0)
    name = f"{key}.{labels.part}" if labels.part else key
    return Family(name, reason, numbers, len(distinct_names), bound * (1.0 + limits.in_flight), bound, largest)


class Losses(NamedTuple):
    """A limit on tail losses: the measured worst losses x `scale` <= `bound` x equity.

    The losses are over the returns of `lookback`, `filtered` (rescaled to the present volatility) or unchanged, or over
    `fixed` scenarios. The measure is the loss at the rank of `confidence` (VaR), or with `mean` the mean of this loss
    and all larger ones (expected shortfall). With `fixed` scenarios it is the worst loss. `ruleset` sets `key` and
    `reason`.
    """

    bound: float
    mean: bool = False
    confidence: float = 0.0
    lookback: int = 0
    scale: float = 1.0
    filtered: bool = False
    fixed: Scenarios | None = None
    key: str = ""
    reason: int = 0

    def of(self, by_lookback: dict[int, Scenarios]) -> tuple[Scenarios, int]:
        """Return the scenarios of this limit, taken from `by_lookback` unless they are fixed, and the number of
        worst losses that count."""
        if self.fixed is not None:
            return self.fixed, 1
        scenarios = by_lookback[self.lookback]
        if self.filtered:
            scenarios = scenarios.filtered
        return scenarios, tail_count(len(scenarios), self.confidence)

    def measure(self, tail: Floats) -> Floats:
        """Return the measured loss float64[...]: with `mean` the mean of the m worst losses, else the smallest of them.

        `tail` float64[..., m] has the m worst losses of each portfolio, in ascending order.
        """
        return tail.dot(_mean_weights(tail.shape[-1])) if self.mean else tail[..., 0]


@lru_cache(maxsize=256)
def _mean_weights(m: int) -> Floats:
    """Return float64[m] with 1 / m in each element: its product with m losses is their mean."""
    return np.full(m, 1.0 / m)


class Quad(NamedTuple):
    """A quadratic limit: scale x sum over i, j of C_ij e_i e_j <= (bound x equity)^2, where e_i is the exposure in
    symbol i.

    Each product e_i e_j is taken at its largest value, whichever open orders fill. `spread` gives the covariance C from
    the scenarios of `lookback`; None for the identity. `bound` applies while orders are open, `settled_bound` after all
    fills.
    """

    key: str
    reason: int
    lookback: int
    scale: float
    bound: float
    settled_bound: float
    spread: Callable[[Scenarios], Spread] | None


class Form(NamedTuple):
    """A quadratic limit as its module declares it: sqrt(scale x sum C_ij e_i e_j) <= `bound` x equity, with
    exposures e and covariance C. `way` is the bound while orders are open; None: (1 + fraction `in_flight`) x `bound`.
    `spread` gives C from the scenarios of `lookback`; None for the identity."""

    bound: float
    spread: Callable[[Scenarios], Spread] | None = None
    lookback: int = 0
    scale: float = 1.0
    way: float | None = None


def quad_of(limits: Limits, key: str, reason: int, form: Form) -> Quad:
    """Return the quadratic limit `form` for a set of limits.

    While orders are open, its bound is wider by the fraction `in_flight`, unless the form has a bound of its own for
    that time.
    """
    way = form.bound * (1.0 + limits.in_flight) if form.way is None else form.way
    return Quad(key, reason, form.lookback, form.scale, way, form.bound, form.spread)


class Count(NamedTuple):
    """A limit on a number of orders: the orders that `used` counts plus all orders of a basket (orders of one sample)
    <= `most`.

    Orders that reduce a position count, but are always permitted.
    """

    key: str
    reason: int
    most: int
    used: Callable[[Account], int]
