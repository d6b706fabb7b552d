"""A basket at the risk gate: its orders, and the book without the orders that add to positions, in one or two states.

What can go wrong: two orders close the same position, or a result for an earlier state of the basket is used. A
reduction is therefore at most the position less the lots that open orders may already close: more would cross zero. The
results of `reach` are valid until `Basket.changes` grows, so that each change of `size` must increase `changes`.

`Standing` has the worst values over all fills: the range of each exposure, the lowest equity and the most cash in use.
These values need not belong to the same fills: a search over fills was rejected (docs/decisions/009). `now` and
`before` are the equity that decides whether a limit is breached already. A second state, after all fills at reference
prices, is used where a limit is wider while orders are in flight (docs/decisions/003).
"""

from math import inf

from quantd.risk.limits.case import SLACK
from quantd.risk.pretrade.gate_bounds import Bounds
from quantd.trading.number_types import Floats, Ints, float_zeros, int_zeros

EXACT = 9007199254740992.0
"""2^53: every float of at least this size is a whole number."""


class Basket:
    """The orders of one basket (one sample). Arrays are float64[N]; lots are unsigned, except in `wish`, `lots` and
    `reduced`.
    """

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
    """Lots of adding orders that remain after the cuts so far."""
    reduced: Floats
    """Lots of reducing orders."""
    reason: Ints
    """The limit that cut each symbol."""
    finite: bool
    """Whether every number is finite and every position has a price."""
    adding: int
    reductions: int
    """Numbers of adding and of reducing orders."""
    cash: float
    equity: float
    up_cash: float
    """The largest cost of open buys."""
    open_loss: float
    """The largest fall of equity when open orders fill."""
    derived: bool
    """Whether `open_loss` is not given, and is computed from `up_cash` and the collars."""
    open_gain: float
    traded: float
    near: float
    """Tolerance for rounding, in account currency."""
    changes: int
    """Number of cuts so far: a result that was computed from `size` at a smaller number is out of date."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.wish, self.lots, self.up, self.down = float_zeros(n), float_zeros(n), float_zeros(n), float_zeros(n)
        self.size, self.reduced, self.reason = float_zeros(n), float_zeros(n), int_zeros(n)
        self.px = self.size

    def passed(self, out: Floats) -> None:
        """Write the signed lots that pass to `out`."""
        for k in range(self.n):
            lots: float = self.size[k] if self.wish[k] > 0.0 else -self.size[k]
            out[k] = lots + self.reduced[k] if lots != 0.0 else self.reduced[k]

    def refuse(self, code: int) -> None:
        """Refuse all orders that add to positions, with the reason `code`."""
        for k in range(self.n):
            if self.size[k] > 0.0:
                self.reason[k] = code
                self.size[k] = 0.0

    def floor(self, value: float) -> float:
        """Return the largest whole number at most `value`, which must not be negative."""
        if value < EXACT:
            integer: int = int(value)
            return float(integer)
        return value

    def whole(self, most: float) -> float:
        """Return the largest whole number of lots within `most`, with a tolerance for rounding; 0 for NaN."""
        return self.floor((most if most > 0.0 else 0.0) * (1.0 + SLACK))

    def split(self, barred: Floats, not_finite: int, zero_crossing: int) -> None:
        """Separate the whole lots that reduce positions (`reduced`, signed) from those that add (`size`, unsigned).

        `wish` are the signed lots asked for, `up` and `down` the lots of open buys and sells. A reduction is at most
        the position less the lots with which open orders may already close it.

        `barred` has the reason code why no order may reduce a symbol, 0 for none. `not_finite` and `zero_crossing` are
        the reason codes for requests that are not finite, or cross zero.
        """
        # x - x is not 0 where x is NaN or infinite: one sum shows whether any amount is
        money: float = self.cash + self.equity + self.up_cash + self.open_gain + self.traded
        if not self.derived:
            money += self.open_loss
        self.finite, self.adding, self.reductions = money - money == 0.0, 0, 0
        for k in range(self.n):
            wish: float = self.wish[k]
            position: float = self.lots[k]
            open_buys: float = self.up[k]
            open_sells: float = self.down[k]
            total: float = wish + position + open_buys + open_sells
            if total - total != 0.0:
                finite: bool = (
                    position - position == 0.0 and open_buys - open_buys == 0.0 and open_sells - open_sells == 0.0
                )
                if not finite:
                    self.finite = False
                if not (finite and wish - wish == 0.0):
                    if wish != 0.0:
                        self.reason[k] = not_finite
                    wish = 0.0
                    self.wish[k] = 0.0
            # the value of a position or open order without a price is unknown
            if not self.px[k] > 0.0 and (position != 0.0 or open_buys != 0.0 or open_sells != 0.0):
                self.finite = False
            whole_wish: float = self.floor(wish if wish > 0.0 else -wish)
            if wish * position < 0.0:
                closable: float = position - open_sells if position > 0.0 else -position - open_buys
                closable = self.floor(closable) if closable > 0.0 else 0.0
                if whole_wish > closable:
                    self.reason[k] = zero_crossing
                    whole_wish = closable
                if barred[k] > 0.0:
                    # an order of less than one lot is none
                    if not -1.0 < wish < 1.0:
                        code: int = int(barred[k])
                        self.reason[k] = code
                    whole_wish = 0.0
                if whole_wish > 0.0:
                    self.reductions += 1
                self.reduced[k] = whole_wish if wish > 0.0 else -whole_wish
                self.size[k] = 0.0
            else:
                self.reduced[k] = 0.0
                self.size[k] = whole_wish
                if whole_wish > 0.0:
                    self.adding += 1

    def cap(self, k: int, most: float, code: int) -> None:
        """Reduce the adding lots of symbol `k` to `most`, with the reason `code`."""
        size: float = self.size[k]
        if size > 0.0 and not size <= most:
            self.reason[k] = code
            whole_lots: float = self.whole(most)
            if whole_lots < size:
                self.size[k] = whole_lots
                self.changes += 1

    def left(self) -> int:
        """Return the number of adding orders that remain."""
        count: int = 0
        for k in range(self.n):
            if self.size[k] > 0.0:
                count += 1
        return count

    def by_value(self, order: Ints, names: Ints) -> int:
        """Write the symbols with adding orders into `order`, the largest notional first and equal ones by name; returns
        how many there are. `names` has the rank of each symbol's name. The sort is D. Shell's (1959)."""
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
                place: int = start
                while place >= gap:
                    earlier: int = order[place - gap]
                    earlier_value: float = self.size[earlier] * self.px[earlier]
                    if earlier_value > value or (earlier_value == value and names[earlier] < names[symbol]):
                        break
                    order[place] = earlier
                    place -= gap
                order[place] = symbol
            gap //= 2
        return count


class Standing:
    """A book without its adding orders: at its worst while orders are open, or, if `settled`, after all fills at
    reference prices.

    Each exposure is from -`low` to `high`, over every subset and partial fill of the other orders; `shorts` and
    `longs` are the positive parts of `low` and `high`. `full_short` and `full_long` include all adding orders. Money is
    in account currency.
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
    """Equity, with gains of open orders, that decides whether net exposure, cash or turnover is already breached."""
    equity: float
    """Lowest equity over all fills of open and reducing orders."""
    now: float
    """Equity of the book as it stands."""
    slip: float
    """Fall of equity when an adding order fills, as a fraction of its value."""
    spent: float
    """Cash in use."""
    traded: float
    wider: float
    """Factor by which bounds are wider in this state."""
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
    """`Basket.changes` at the last computation of `reach`."""

    def __init__(self, basket: Basket, settled: bool) -> None:
        n: int = basket.n
        self.basket, self.settled = basket, settled
        self.low, self.high, self.shorts, self.longs = float_zeros(n), float_zeros(n), float_zeros(n), float_zeros(n)
        self.full_short, self.full_long = float_zeros(n), float_zeros(n)

    def settle(self, bounds: Bounds) -> None:
        """Compute the range of exposures, equity and cash, with all open and reducing orders.

        A symbol's exposure is from -`low` to `high` over all fills, in account currency.
        """
        basket: Basket = self.basket
        # values of open buys, open sells, reducing purchases and reducing sales
        opened: float = 0.0
        closed: float = 0.0
        covers: float = 0.0
        sales: float = 0.0
        for k in range(basket.n):
            price: float = basket.px[k]
            position: float = basket.lots[k]
            open_buys: float = basket.up[k]
            open_sells: float = basket.down[k]
            reduced: float = basket.reduced[k]
            low: float = position - open_sells
            high: float = position + open_buys
            opened += open_buys * price
            closed += open_sells * price
            if reduced > 0.0:
                high += reduced
                covers += reduced * price
            else:
                low += reduced
                sales -= reduced * price
            if self.settled:
                # after all fills the exposure is one value and no range
                settled_value: float = (low + high - position) * price
                self.low[k] = -settled_value
                self.high[k] = settled_value
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
        """Compute equity and cash after the worst fills of open and reducing orders.

        `opened` and `closed` are the values of open buys and sells, `covers` and `sales` the values of reducing ones.
        `covered` is the largest cost of a reducing order, as a fraction of its value. `equity` is the lowest, `now` the
        present one, and `before` the present one with gains of open orders. `spent` is the cash in use, `slip` the cost
        of an adding order as a fraction of its value, and `wider` the factor of the bounds while orders are open.
        """
        basket: Basket = self.basket
        covered: float = bounds.covered
        loss: float = basket.open_loss
        # the account has no loss of its open orders: an upper bound at their worst prices
        if basket.derived:
            worst_cost: float = opened * bounds.paid
            cost_above_mark: float = basket.up_cash - opened
            loss = (worst_cost if worst_cost > cost_above_mark else cost_above_mark) + closed * (
                bounds.sold + bounds.fee
            )
        lowest: float = basket.equity - loss
        # `owed`: minus the permitted cash debit, a share of equity after all open orders; a sale of this basket reduces
        # the debit by its costs, where these exceed its proceeds
        sale_costs: float = sales * covered
        owed: float = bounds.debit * sale_costs - (sales - sale_costs)
        owed = (owed if owed > 0.0 else 0.0) - bounds.debit * (lowest - covers * covered)
        spent: float = basket.up_cash - basket.cash + bounds.reserve * basket.equity
        self.equity = lowest - (covers + sales) * covered
        self.before = basket.equity + basket.open_gain
        self.slip = bounds.paid
        self.spent = spent + covers * (1.0 + covered) + owed
        self.wider = 1.0 + bounds.in_flight
        self.now = basket.equity

    def count_settled(self, bounds: Bounds, opened: float, closed: float, covers: float, sales: float) -> None:
        """Compute equity and cash after all fills at reference prices, at which only fees lower equity.

        `opened` and `closed` are the values of open buys and sells, `covers` and `sales` the values of reducing ones.
        `slip` is the cost of an adding order as a fraction of its value; `wider` is 1 because no order is open. `spent`
        is the cash in use, with the reserve; `up_cash` is the largest cost of open buys.
        """
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
        """Compute `shorts` and `longs`, the positive parts of `low` and `high`, and the sum of each of these four
        arrays.

        `fresh` -1 marks the exposures with all adding orders (`reach`) as out of date.
        """
        low_sum: float = 0.0
        high_sum: float = 0.0
        short_sum: float = 0.0
        long_sum: float = 0.0
        for k in range(self.basket.n):
            below: float = self.low[k]
            above: float = self.high[k]
            low_sum += below
            high_sum += above
            if not below > 0.0:
                below = 0.0
            if not above > 0.0:
                above = 0.0
            self.shorts[k] = below
            self.longs[k] = above
            short_sum += below
            long_sum += above
        self.sum_low, self.sum_high, self.sum_short, self.sum_long = low_sum, high_sum, short_sum, long_sum
        self.fresh = -1

    def reach(self) -> None:
        """Compute the largest exposures with all adding orders, and the equity after them, if `size` has changed.

        `changes` counts the cuts of orders, and `fresh` is that count at the last call. `slip` is the fall of equity
        when an adding order fills, as a fraction of its value.
        """
        basket: Basket = self.basket
        if self.fresh == basket.changes:
            return
        self.fresh = basket.changes
        heaviest: float = 0.0
        added_long: float = 0.0
        added_short: float = 0.0
        for k in range(basket.n):
            short_value: float = self.shorts[k]
            long_value: float = self.longs[k]
            notional: float = basket.size[k]
            if notional > 0.0:
                notional *= basket.px[k]
                if basket.wish[k] > 0.0:
                    long_value += notional
                    added_long += notional
                else:
                    short_value += notional
                    added_short += notional
            self.full_short[k] = short_value
            self.full_long[k] = long_value
            if short_value > heaviest:
                heaviest = short_value
            if long_value > heaviest:
                heaviest = long_value
        self.heaviest, self.more_long, self.more_short = heaviest, added_long, added_short
        self.equity_after = self.equity - self.slip * (added_long + added_short)

    def outer(self, side: int) -> float:
        """Return the largest exposure of a side without the adding orders.

        The side k is symbol k held short, k + n the same symbol held long.
        """
        n: int = self.basket.n
        return self.shorts[side] if side < n else self.longs[side - n]

    def full(self, side: int) -> float:
        """Return the largest exposure of a side with all adding orders.

        The side k is symbol k held short, k + n the same symbol held long.
        """
        n: int = self.basket.n
        return self.full_short[side] if side < n else self.full_long[side - n]

    def stands(self, k: int) -> float:
        """Return the signed exposure of a symbol without the adding orders. It is exact, and decides whether a limit is
        already breached.

        While orders are open it is the present position, else the position after all other fills.
        """
        return self.high[k] if self.settled else self.basket.lots[k] * self.basket.px[k]


class Factor:
    """The common factor by which all adding orders are scaled, or ceilings of single orders if a limit is already
    breached."""

    n: int
    value: float
    code: int
    """Reason code of the limit that gives the factor."""
    capped: bool
    """Whether a breached limit caps single orders."""
    cap_code: int
    ceiling: Floats

    def __init__(self, n: int) -> None:
        self.n, self.ceiling = n, float_zeros(n)

    def begin(self) -> None:
        """Start a new basket with the factor 1 and without ceilings."""
        self.value, self.code, self.capped = 1.0, 0, False

    def take(self, value: float, code: int) -> None:
        """Lower the factor to `value`, if that is smaller. The reason is `code`; of equal factors, the first
        gives the reason."""
        if not value > 0.0:
            value = 0.0
        if value < self.value:
            self.value, self.code = value, code

    def bar(self, code: int) -> None:
        """Begin to cap single orders for an already breached limit with the reason `code`; no order has a cap yet."""
        for k in range(self.n):
            self.ceiling[k] = inf
        self.capped, self.cap_code = False, code

    def stop(self, k: int) -> None:
        """Refuse the order in symbol `k` by a ceiling of 0."""
        self.ceiling[k] = 0.0
        self.capped = True
