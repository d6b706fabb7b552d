"""A basket at the gate: its orders, and the book without the adding ones in its one or two states.

What can go wrong: a position that two orders close, and a figure of an earlier basket. A reduction is at most the
position less what open orders may already close; beyond that it would cross zero. What `reach` computes is kept until
`Basket.changes` grows, so each cut of `size` must add to it.

`Standing` holds the worst of all fills: the range of each exposure, the lowest equity and the most cash in use. It is
not the worst single fill: a search over fills was rejected (docs/decisions/009). `now` and `before` are the equity of
the book as it stands, which decides whether a limit is breached already. A second state, after all fills at reference
prices, is used where a limit is wider while orders are in flight (docs/decisions/003).
"""

from math import inf

from quantd.risk.limits.case import SLACK
from quantd.risk.pretrade.gate_bounds import Bounds
from quantd.trading.number_types import Floats, Ints, float_zeros, int_zeros

EXACT = 9007199254740992.0
"""2^53: every larger float is whole."""


class Basket:
    """The orders of one basket. Arrays are float64[N]; lots are unsigned but for `wish`, `lots` and `reduced`."""

    n: int
    px: Floats
    """Value of one lot; 0 without a price."""
    wish: Floats
    """Signed lots asked for; 0 where they are not finite."""
    lots: Floats
    """Positions."""
    up: Floats
    down: Floats
    """Open lots of buys and of sells."""
    size: Floats
    """Lots of adding orders that are left."""
    reduced: Floats
    """Lots of reducing orders."""
    reason: Ints
    """The limit that cut each symbol."""
    finite: bool
    """Whether every number is finite and every position has a price."""
    adding: int
    reductions: int
    """Numbers of orders."""
    cash: float
    equity: float
    up_cash: float
    """The largest cost of open buys."""
    open_loss: float
    """The largest fall of equity when open orders fill; `derived` from `up_cash` and the collars instead."""
    derived: bool
    open_gain: float
    traded: float
    near: float
    """Tolerance for rounding, in account currency."""
    changes: int
    """Number of cuts so far: what was computed from `size` at a smaller one is out of date."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.wish, self.lots, self.up, self.down = float_zeros(n), float_zeros(n), float_zeros(n), float_zeros(n)
        self.size, self.reduced, self.reason = float_zeros(n), float_zeros(n), int_zeros(n)
        self.px = self.size

    def passed(self, out: Floats) -> None:
        """Write the signed lots that pass."""
        for k in range(self.n):
            lots: float = self.size[k] if self.wish[k] > 0.0 else -self.size[k]
            out[k] = lots + self.reduced[k] if lots != 0.0 else self.reduced[k]

    def refuse(self, code: int) -> None:
        """Refuse all adding orders."""
        for k in range(self.n):
            if self.size[k] > 0.0:
                self.reason[k] = code
                self.size[k] = 0.0

    def floor(self, value: float) -> float:
        """The largest whole number at most `value`, which is not negative."""
        if value < EXACT:
            integer: int = int(value)
            return float(integer)
        return value

    def whole(self, most: float) -> float:
        """Whole lots within `most`, with a tolerance for rounding; 0 for NaN."""
        return self.floor((most if most > 0.0 else 0.0) * (1.0 + SLACK))

    def split(self, barred: Floats, not_finite: int, zero_crossing: int) -> None:
        """Separate whole reducing lots from adding ones. `barred` has the reason why no order may reduce a symbol."""
        money: float = self.cash + self.equity + self.up_cash + self.open_gain + self.traded
        if not self.derived:
            money += self.open_loss
        self.finite, self.adding, self.reductions = money - money == 0.0, 0, 0
        for k in range(self.n):
            wish: float = self.wish[k]
            position: float = self.lots[k]
            more: float = self.up[k]
            less: float = self.down[k]
            total: float = wish + position + more + less
            if total - total != 0.0:
                sound: bool = position - position == 0.0 and more - more == 0.0 and less - less == 0.0
                if not sound:
                    self.finite = False
                if not (sound and wish - wish == 0.0):
                    if wish != 0.0:
                        self.reason[k] = not_finite
                    wish = 0.0
                    self.wish[k] = 0.0
            if not self.px[k] > 0.0 and (position != 0.0 or more != 0.0 or less != 0.0):
                self.finite = False
            most: float = self.floor(wish if wish > 0.0 else -wish)
            if wish * position < 0.0:
                closable: float = position - less if position > 0.0 else -position - more
                closable = self.floor(closable) if closable > 0.0 else 0.0
                if most > closable:
                    self.reason[k] = zero_crossing
                    most = closable
                if barred[k] > 0.0:
                    # an order of less than one lot is none
                    if not -1.0 < wish < 1.0:
                        code: int = int(barred[k])
                        self.reason[k] = code
                    most = 0.0
                if most > 0.0:
                    self.reductions += 1
                self.reduced[k] = most if wish > 0.0 else -most
                self.size[k] = 0.0
            else:
                self.reduced[k] = 0.0
                self.size[k] = most
                if most > 0.0:
                    self.adding += 1

    def cap(self, k: int, most: float, code: int) -> None:
        """Cut the adding lots of a symbol to `most`."""
        size: float = self.size[k]
        if size > 0.0 and not size <= most:
            self.reason[k] = code
            whole_lots: float = self.whole(most)
            if whole_lots < size:
                self.size[k] = whole_lots
                self.changes += 1

    def left(self) -> int:
        """Number of adding orders that are left."""
        count: int = 0
        for k in range(self.n):
            if self.size[k] > 0.0:
                count += 1
        return count

    def by_value(self, order: Ints, names: Ints) -> int:
        """Write the symbols with adding orders, the largest notional first and equal ones by name, into `order`;
        returns how many (D. Shell, 1959)."""
        count: int = 0
        for k in range(self.n):
            if self.size[k] > 0.0:
                order[count] = k
                count += 1
        gap: int = count // 2
        while gap > 0:
            for start in range(gap, count):
                symbol: int = order[start]
                value: float = self.size[symbol] * self.px[symbol]
                at: int = start
                while at >= gap:
                    other: int = order[at - gap]
                    other_value: float = self.size[other] * self.px[other]
                    if other_value > value or (other_value == value and names[other] < names[symbol]):
                        break
                    order[at] = other
                    at -= gap
                order[at] = symbol
            gap //= 2
        return count


class Standing:
    """A book without its adding orders: the worst while orders are in flight, or settled after all fills at reference
    prices.

    `low` (negated) and `high` are the range of each exposure over every subset and partial fill, `shorts` and `longs`
    their positive parts; `full_short` and `full_long` include all adding orders. Money is in account currency.
    """

    settled: bool
    basket: Basket
    low: Floats
    high: Floats
    shorts: Floats
    longs: Floats
    full_short: Floats
    full_long: Floats
    before: float
    """Equity that decides whether a limit is already breached."""
    equity: float
    """Lowest equity over all fills of open and reducing orders."""
    now: float
    """Equity of the book as it stands."""
    slip: float
    """Loss of an adding order, as a share of its value."""
    spent: float
    """Cash in use."""
    traded: float
    wider: float
    """Factor of the bounds in this state."""
    sum_low: float
    sum_high: float
    sum_short: float
    sum_long: float
    heaviest: float
    more_short: float
    more_long: float
    equity_after: float
    """Equity after all adding orders."""
    fresh: int
    """The changes of the basket at which what includes adding orders was computed."""

    def __init__(self, basket: Basket, settled: bool) -> None:
        n: int = basket.n
        self.basket, self.settled = basket, settled
        self.low, self.high, self.shorts, self.longs = float_zeros(n), float_zeros(n), float_zeros(n), float_zeros(n)
        self.full_short, self.full_long = float_zeros(n), float_zeros(n)

    def settle(self, bounds: Bounds) -> None:
        """The range of exposures, equity and cash, with all open and reducing orders."""
        basket: Basket = self.basket
        opened: float = 0.0
        closed: float = 0.0
        covers: float = 0.0
        sales: float = 0.0
        for k in range(basket.n):
            price: float = basket.px[k]
            position: float = basket.lots[k]
            more: float = basket.up[k]
            less: float = basket.down[k]
            back: float = basket.reduced[k]
            low: float = position - less
            high: float = position + more
            opened += more * price
            closed += less * price
            if back > 0.0:
                high += back
                covers += back * price
            else:
                low += back
                sales -= back * price
            if self.settled:
                exposed: float = (low + high - position) * price
                self.low[k] = -exposed
                self.high[k] = exposed
            else:
                self.low[k] = -(low * price)
                self.high[k] = high * price
        self.sums()
        self.traded = basket.traded + opened + closed + (covers + sales)
        if self.settled:
            self.count_settled(bounds, opened, closed, covers, sales)
        else:
            self.count_worst(bounds, opened, closed, covers, sales)

    def count_worst(self, bounds: Bounds, opened: float, closed: float, covers: float, sales: float) -> None:
        """Equity and cash after the worst fills of open buys and sells and of reducing ones."""
        basket: Basket = self.basket
        covered: float = bounds.covered
        loss: float = basket.open_loss
        if basket.derived:
            worst: float = opened * bounds.paid
            extra: float = basket.up_cash - opened
            loss = (worst if worst > extra else extra) + closed * (bounds.sold + bounds.fee)
        lowest: float = basket.equity - loss
        # largest permitted cash debit: a share of the equity left by all open orders, less what a sale of this basket
        # costs of that share beyond what it brings
        lost: float = sales * covered
        owed: float = bounds.debit * lost - (sales - lost)
        owed = (owed if owed > 0.0 else 0.0) - bounds.debit * (lowest - covers * covered)
        spent: float = basket.up_cash - basket.cash + bounds.reserve * basket.equity
        self.equity = lowest - (covers + sales) * covered
        self.before = basket.equity + basket.open_gain
        self.slip = bounds.paid
        self.spent = spent + covers * (1.0 + covered) + owed
        self.wider = 1.0 + bounds.in_flight
        self.now = basket.equity

    def count_settled(self, bounds: Bounds, opened: float, closed: float, covers: float, sales: float) -> None:
        """Equity and cash after all fills at reference prices."""
        basket: Basket = self.basket
        fee: float = bounds.fee
        settled: float = basket.equity - (opened + closed) * fee
        spent: float = basket.up_cash - basket.cash + bounds.reserve * basket.equity
        self.equity = settled - (covers + sales) * fee
        self.before = settled
        self.slip = fee
        self.spent = spent + covers * (1.0 + fee) - sales * (1.0 - fee) - closed * (1.0 - fee)
        self.wider = 1.0
        self.now = settled

    def sums(self) -> None:
        """The positive parts of the range, and the sums of all."""
        low: float = 0.0
        high: float = 0.0
        sold: float = 0.0
        bought: float = 0.0
        for k in range(self.basket.n):
            below: float = self.low[k]
            above: float = self.high[k]
            low += below
            high += above
            if not below > 0.0:
                below = 0.0
            if not above > 0.0:
                above = 0.0
            self.shorts[k] = below
            self.longs[k] = above
            sold += below
            bought += above
        self.sum_low, self.sum_high, self.sum_short, self.sum_long = low, high, sold, bought
        self.fresh = -1

    def reach(self) -> None:
        """The largest exposures with all adding orders, and the equity left after them."""
        basket: Basket = self.basket
        if self.fresh == basket.changes:
            return
        self.fresh = basket.changes
        heaviest: float = 0.0
        longer: float = 0.0
        shorter: float = 0.0
        for k in range(basket.n):
            sold: float = self.shorts[k]
            bought: float = self.longs[k]
            notional: float = basket.size[k]
            if notional > 0.0:
                notional *= basket.px[k]
                if basket.wish[k] > 0.0:
                    bought += notional
                    longer += notional
                else:
                    sold += notional
                    shorter += notional
            self.full_short[k] = sold
            self.full_long[k] = bought
            if sold > heaviest:
                heaviest = sold
            if bought > heaviest:
                heaviest = bought
        self.heaviest, self.more_long, self.more_short = heaviest, longer, shorter
        self.equity_after = self.equity - self.slip * (longer + shorter)

    def outer(self, side: int) -> float:
        """The largest exposure of a side: a symbol where it is short, and n more where it is long."""
        n: int = self.basket.n
        return self.shorts[side] if side < n else self.longs[side - n]

    def full(self, side: int) -> float:
        """The exposure of a side with all adding orders; the short sides come first, then the long ones."""
        n: int = self.basket.n
        return self.full_short[side] if side < n else self.full_long[side - n]

    def stands(self, k: int) -> float:
        """Signed exposure of a symbol without the adding orders, exact. It decides whether a limit is already breached.
        In flight it is the present position, else the position after all other fills."""
        return self.high[k] if self.settled else self.basket.lots[k] * self.basket.px[k]


class Factor:
    """One factor for all adding orders, or caps of single orders where a limit is breached already."""

    n: int
    value: float
    code: int
    """The limit that gives it."""
    capped: bool
    """Whether a breached limit caps single orders."""
    cap_code: int
    ceiling: Floats

    def __init__(self, n: int) -> None:
        self.n, self.ceiling = n, float_zeros(n)

    def begin(self) -> None:
        """Starts with the factor 1 and without a cap."""
        self.value, self.code, self.capped = 1.0, 0, False

    def take(self, value: float, code: int) -> None:
        """A factor; the first of equal ones gives the reason."""
        if not value > 0.0:
            value = 0.0
        if value < self.value:
            self.value, self.code = value, code

    def bar(self, code: int) -> None:
        """Begin caps of single orders: none yet."""
        for k in range(self.n):
            self.ceiling[k] = inf
        self.capped, self.cap_code = False, code

    def stop(self, k: int) -> None:
        """Nothing of this order."""
        self.ceiling[k] = 0.0
        self.capped = True
