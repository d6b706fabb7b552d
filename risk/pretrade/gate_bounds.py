"""The limits of a set of rules in the form that the gate reads: typed objects, made once for limits and universe."""

from quantd.trading.number_types import Floats, Ints

MASK = 0
ROOM = 1
WEIGHT = 2
VOLUME = 3
NOTIONAL = 4
"""Kinds of `Cap`."""

BY_SIDE = 0
NET = 1
TRADED = 2
CASH = 3
NOTHING = 4
"""Kinds of `Row`: the exposure that counts before the basket, as `quantd.risk.limits.kinds.Linear` describes it."""


class Cap:
    """A limit on each order by itself: a mask of refused symbols, permitted lots, the weight of a position, a fraction
    of the average volume, or a notional.

    `sells` and `buys` float64[N] are reason codes (0: not refused) or permitted lots. `held`, `same` and `other` are 1
    if the position, open lots on the same side and open lots on the other side count against the limit, else 0. `most`
    is the fraction of the volume or the notional, and `paid` the price of a buy as a multiple of the mark.
    """

    kind: int
    code: int
    sells: Floats
    buys: Floats
    held: float
    same: float
    other: float
    most: float
    paid: float

    def __init__(self, kind: int, code: int, sells: Floats, buys: Floats) -> None:
        self.kind, self.code, self.sells, self.buys = kind, code, sells, buys
        self.held = self.same = self.other = self.most = 0.0
        self.paid = 1.0


class Row:
    """A linear limit: exposure held + growth by the orders <= bound x equity.

    There are coefficients for each side, for the time while orders are open and for the time after all fills (settled).
    With `by_symbol` each symbol has its own coefficients, else all symbols have the same.
    """

    code: int
    kind: int
    bound: float
    settled_bound: float
    by_symbol: bool
    per_short: float
    per_long: float
    """Coefficients, for every symbol, of the exposure held, and of growth while orders are open."""
    settled_short: float
    settled_long: float
    """Coefficients, for every symbol, of growth after all fills."""
    short_loads: Floats
    long_loads: Floats
    settled_short_loads: Floats
    settled_long_loads: Floats
    """float64[N]: the same coefficients for each symbol."""

    def __init__(self, code: int, kind: int, bound: float, settled_bound: float) -> None:
        self.code, self.kind, self.bound, self.settled_bound = code, kind, bound, settled_bound
        self.by_symbol = False
        self.per_short = self.per_long = self.settled_short = self.settled_long = 0.0

    def load(self, settled: bool, k: int, buys: bool) -> float:
        """Return the coefficient of an order in symbol `k`: the growth of the limited exposure for each unit of the
        order's value."""
        if self.by_symbol:
            if settled:
                return self.settled_long_loads[k] if buys else self.settled_short_loads[k]
            return self.long_loads[k] if buys else self.short_loads[k]
        if settled:
            return self.settled_long if buys else self.settled_short
        return self.per_long if buys else self.per_short


class Family:
    """A limit by group: gross exposure of each group <= bound x equity. `labels` int64[N] has the group of each
    symbol, 1 to `groups`; 0: none."""

    code: int
    groups: int
    largest: int
    labels: Ints
    bound: float
    settled_bound: float

    def __init__(self, code: int, groups: int, largest: int, labels: Ints, bound: float, settled_bound: float) -> None:
        self.code, self.groups, self.largest, self.labels = code, groups, largest, labels
        self.bound, self.settled_bound = bound, settled_bound


class Tail:
    """A limit on tail losses: scale x VaR, or with `mean` scale x the mean of the worst losses, <= bound x equity."""

    code: int
    mean: bool
    bound: float
    scale: float

    def __init__(self, code: int, mean: bool, bound: float, scale: float) -> None:
        self.code, self.mean, self.bound, self.scale = code, mean, bound, scale


class Form:
    """A quadratic limit: sqrt(sum over i, j of C_ij e_i e_j) <= bound x equity, with exposures e and covariance C."""

    code: int
    bound: float
    settled_bound: float

    def __init__(self, code: int, bound: float, settled_bound: float) -> None:
        self.code, self.bound, self.settled_bound = code, bound, settled_bound


class Bounds:
    """All limits of a set in the form that the gate reads, and the numbers that several of these limits use."""

    rows: list[Row]
    families: list[Family]
    tails: list[Tail]
    forms: list[Form]
    counts: Ints
    """Reason code of each limit on a number of orders."""
    names: Ints
    """Rank of each symbol's name."""
    two_states: bool
    paid: float
    """Largest cost of a buy above the mark with fees, as a fraction of the mark; `covered` for reducing orders."""
    covered: float
    fee: float
    sold: float
    """Largest fraction of the mark that a sale may bring less than the mark."""
    in_flight: float
    reserve: float
    debit: float
    weight: float
    first_weight: float
    second_weight: float
    """The two limits on weights, -1 where off; `weight` is the smaller one."""
    pairs: bool
    least: float
    joint: float
    """Limits on linked pairs: `min_weight` and the largest joint weight."""
    weight_code: int
    not_finite: int
    zero_crossing: int
    switched: int
    equity: int
    history: int
    correlation: int
    cash: int
    """Reason codes."""
    cash_row: Row
    """The row with the reason CASH."""
