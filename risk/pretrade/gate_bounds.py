"""The limits of a set of rules as the gate walks them: typed objects, made once for a set of limits and a universe."""

from quantd.trading.number_types import Floats, Ints

MASK = 0
ROOM = 1
WEIGHT = 2
VOLUME = 3
NOTIONAL = 4

BY_SIDE = 0
NET = 1
TRADED = 2
CASH = 3
NOTHING = 4


class Cap:
    """What bounds each order by itself: a mask of reasons, a room in lots, the weight of a position, a part of the
    average volume, or a notional.

    `sells` and `buys` float64[N] are the reasons (0: free) or the rooms. `held`, `same` and `other` are the parts of
    the position and of open lots on each side that count. `most` is the part of the volume or the notional, and `paid`
    the price of a buy as a multiple of the mark.
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
    """held + growth <= bound x equity. Coefficients by side, of every symbol or of each; in flight and settled."""

    code: int
    kind: int
    bound: float
    settled_bound: float
    by_symbol: bool
    per_short: float
    per_long: float
    """Of what is held, for every symbol alike, and of growth in flight."""
    settled_short: float
    settled_long: float
    """Of growth after all fills."""
    short_loads: Floats
    long_loads: Floats
    settled_short_loads: Floats
    settled_long_loads: Floats
    """The same for each symbol."""

    def __init__(self, code: int, kind: int, bound: float, settled_bound: float) -> None:
        self.code, self.kind, self.bound, self.settled_bound = code, kind, bound, settled_bound
        self.by_symbol = False
        self.per_short = self.per_long = self.settled_short = self.settled_long = 0.0

    def load(self, settled: bool, k: int, buys: bool) -> float:
        """What an order of this symbol adds for each unit of its value."""
        if self.by_symbol:
            if settled:
                return self.settled_long_loads[k] if buys else self.settled_short_loads[k]
            return self.long_loads[k] if buys else self.short_loads[k]
        if settled:
            return self.settled_long if buys else self.settled_short
        return self.per_long if buys else self.per_short


class Family:
    """The gross exposure of each group <= bound x equity. `labels` int64[N] has the group of each symbol, 1 to
    `groups`; 0: none."""

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
    """VaR, or with `mean` the mean of the worst losses, <= bound x equity."""

    code: int
    mean: bool
    bound: float
    scale: float

    def __init__(self, code: int, mean: bool, bound: float, scale: float) -> None:
        self.code, self.mean, self.bound, self.scale = code, mean, bound, scale


class Form:
    """The root of sum C_ij e_i e_j <= bound x equity."""

    code: int
    bound: float
    settled_bound: float

    def __init__(self, code: int, bound: float, settled_bound: float) -> None:
        self.code, self.bound, self.settled_bound = code, bound, settled_bound


class Bounds:
    """All limits of a set, and the numbers that they share."""

    rows: list[Row]
    families: list[Family]
    tails: list[Tail]
    forms: list[Form]
    counts: Ints
    """Reason of each count."""
    names: Ints
    """Rank of each symbol's name."""
    two_states: bool
    paid: float
    """What a buy may pay above the mark, fees included; `covered` for reducing orders."""
    covered: float
    fee: float
    sold: float
    in_flight: float
    reserve: float
    debit: float
    weight: float
    first_weight: float
    second_weight: float
    """The two limits on weights; -1: off. `weight` is the smaller one."""
    pairs: bool
    least: float
    joint: float
    """Of linked pairs."""
    weight_code: int
    not_finite: int
    zero_crossing: int
    switched: int
    equity: int
    history: int
    correlation: int
    cash: int
    cash_row: Row
    """The row whose reason is CASH."""
