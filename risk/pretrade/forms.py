"""Quadratic forms: volatility, normal value at risk and concentration.

What can go wrong: an open order that hedges lowers the measured risk, and then never fills. Each product of two
exposures is therefore taken at its largest over the ranges in which the exposures may end up (the worst corner). The
sum of these products is never too small, and is exact while no range crosses zero.

Cheap bounds come first: the sum of deviations, and the heaviest exposure times gross exposure. The product with the
covariance matrix is computed only where these bounds do not suffice. The common factor by which all orders are scaled
is the smaller positive root of a quadratic equation, because equity falls with the orders too. Whether the limit is
already breached is decided by the exact value for the present book (docs/decisions/009).
"""

from math import sqrt

from quantd.risk.pretrade.gate_bounds import Form
from quantd.risk.pretrade.loops import Loops, Sides
from quantd.risk.pretrade.scenes import Scene, Spread
from quantd.risk.pretrade.standing import Basket, Factor, Standing
from quantd.trading.number_types import Floats, float_zeros


class Forms:
    """The quadratic limits of one basket (the orders of one sample). `sized` has the sizes of exposures and orders,
    `corners` the matrix products with them.
    """

    basket: Basket
    factor: Factor
    loops: Loops
    scene: Scene
    sized: Sides
    corners: Sides
    squared: float
    """The largest form of the book without the adding orders."""
    crossed: float
    """The largest sum of products of an exposure of the book and an adding order."""
    ordered: float
    """The largest form of the adding orders alone."""
    stands: Floats
    """float64[N]: present signed exposures."""
    product: Floats
    """float64[N]: scratch."""

    def __init__(self, basket: Basket, factor: Factor, loops: Loops) -> None:
        self.basket, self.factor, self.loops = basket, factor, loops
        self.sized, self.corners = Sides(basket.n), Sides(basket.n)
        self.stands, self.product = float_zeros(basket.n), float_zeros(basket.n)

    def begin(self, scene: Scene) -> None:
        """Begin a new basket; `scene` is the market of its sample."""
        self.scene = scene

    def scale(self, state: Standing, form: Form, spread: Spread) -> bool:
        """Lower the common factor f of the orders to the largest with which sqrt(sum of C_ij e_i e_j) <= bound x
        equity. Here e_i is the exposure in symbol i, and C is the covariance. Each product is taken at its largest
        over what may fill.

        Returns True if the limit is already breached: every order in a symbol with a variance is then refused. The sum
        is replaced by an upper bound (`add_corners`), which is exact while no range of exposure crosses zero. `state`
        is the book without its adding orders: while orders are open, or (`settled`) after all fills.
        """
        basket: Basket = self.basket
        factor: Factor = self.factor
        tolerance: float = basket.near
        bound: float = form.settled_bound if state.settled else form.bound
        allowed: float = bound * state.equity_after + tolerance
        if not spread.identity:
            deviation: float = 0.0
            for k in range(self.basket.n):
                deviation += spread.deviation[k] * (state.full_short[k] + state.full_long[k])
            # with any correlation, the root of the form is at most the sum of deviations
            if deviation <= allowed:
                return False
            if not spread.ready:
                self.scene.ask_matrices()
        else:
            gross: float = state.sum_long + state.sum_short + state.more_long + state.more_short
            # the sum of squares is at most the heaviest exposure times the sum of exposures
            if state.heaviest * gross <= allowed * allowed and allowed >= 0.0:
                return False
        self.add_corners(state, spread)
        book_sum: float = self.squared
        cross_sum: float = self.crossed
        order_sum: float = self.ordered
        if allowed >= 0.0 and book_sum + 2.0 * cross_sum + order_sum <= allowed * allowed:
            return False
        squares: float = self.present_squares(state, spread)
        if not sqrt(0.0 if squares <= 0.0 else squares) - bound * state.now <= tolerance:
            # the form is breached already: every order in a symbol that moves would add to it
            factor.bar(form.code)
            for k in range(self.basket.n):
                if basket.size[k] > 0.0 and (spread.identity or spread.matrix[k, k] > 0.0):
                    factor.stop(k)
            return factor.capped
        target: float = bound * state.equity + tolerance
        bound_fall: float = bound * (state.equity - state.equity_after)
        # book + 2 cross f + order f^2 = (target - fall f)^2 as (order - fall^2) f^2 + 2 (cross + target fall) f
        # - (target^2 - book) = 0, that is a f^2 + 2 b f - c = 0: its smaller positive root
        a: float = order_sum - bound_fall * bound_fall
        b: float = cross_sum + target * bound_fall
        c: float = target * target - book_sum
        root: float = b * b + a * c
        fraction: float = 0.0
        if c > 0.0 and target > 0.0:
            fraction = c / (b + sqrt(0.0 if root <= 0.0 else root))
        factor.take(fraction, form.code)
        return False

    def add_corners(self, state: Standing, spread: Spread) -> None:
        """Compute the sums `squared`, `crossed` and `ordered` of the quadratic form from the ranges of the book and
        the adding orders.

        `squared` is the form of the book without adding orders, `crossed` the products of the book with them and
        `ordered` the form of the orders alone. By symbol, `shorts` and `longs` are the largest sizes of the range of an
        exposure, `under` and `over` its smallest, and `less` and `more` the values of adding sales and purchases.
        """
        basket: Basket = self.basket
        loops: Loops = self.loops
        sizes: Sides = self.sized
        n: int = basket.n
        for k in range(n):
            sizes.shorts[k], sizes.longs[k] = state.shorts[k], state.longs[k]
            sizes.less[k] = sizes.more[k] = 0.0
            if basket.size[k] > 0.0:
                if basket.wish[k] > 0.0:
                    sizes.more[k] = basket.size[k] * basket.px[k]
                else:
                    sizes.less[k] = basket.size[k] * basket.px[k]
        if spread.identity:
            self.add_squares()
            return
        for k in range(n):
            # the smallest size of a range that does not contain 0; 0 where an order on the other side may reach it
            sizes.under[k] = -state.high[k] if state.high[k] < 0.0 and not sizes.more[k] > 0.0 else 0.0
            sizes.over[k] = -state.low[k] if state.low[k] < 0.0 and not sizes.less[k] > 0.0 else 0.0
        products: Sides = self.corners
        loops.corners(products, spread.matrix, sizes, n, state.sum_short + state.more_short > 0.0)
        self.squared = loops.dot(products.shorts, sizes.shorts, n) + loops.dot(products.longs, sizes.longs, n)
        self.squared -= loops.dot(products.under, sizes.under, n) + loops.dot(products.over, sizes.over, n)
        self.crossed = loops.dot(products.shorts, sizes.less, n) + loops.dot(products.longs, sizes.more, n)
        self.ordered = loops.dot(products.less, sizes.less, n) + loops.dot(products.more, sizes.more, n)

    def add_squares(self) -> None:
        """Compute the sums `squared`, `crossed` and `ordered` where the matrix is the identity: over the short
        sides, then over the long ones. By symbol, `shorts` and `longs` are the largest exposures of the book without
        adding orders, and `less` and `more` the values of adding sales and purchases."""
        sizes: Sides = self.sized
        book_sum: float = 0.0
        cross_sum: float = 0.0
        order_sum: float = 0.0
        for k in range(self.basket.n):
            book_sum += sizes.shorts[k] * sizes.shorts[k]
            cross_sum += sizes.less[k] * sizes.shorts[k]
            order_sum += sizes.less[k] * sizes.less[k]
        for k in range(self.basket.n):
            book_sum += sizes.longs[k] * sizes.longs[k]
            cross_sum += sizes.more[k] * sizes.longs[k]
            order_sum += sizes.more[k] * sizes.more[k]
        self.squared, self.crossed, self.ordered = book_sum, cross_sum, order_sum

    def present_squares(self, state: Standing, spread: Spread) -> float:
        """Return the exact value of the quadratic form for the present book."""
        total: float = 0.0
        for k in range(self.basket.n):
            self.stands[k] = state.stands(k)
        if spread.identity:
            for k in range(self.basket.n):
                total += self.stands[k] * self.stands[k]
            return total
        self.loops.product(self.product, spread.matrix, self.stands, self.basket.n)
        return self.loops.dot(self.product, self.stands, self.basket.n)
