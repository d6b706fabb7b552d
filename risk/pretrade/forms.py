"""Quadratic forms: volatility, normal value at risk and concentration.

What can go wrong: a covariance that rewards a position which does not exist yet. An open order that hedges may never
fill, so each product of two exposures is taken at its worst corner. That sum is never too small. It is exact while no
range of an exposure crosses zero.

Cheap bounds come first: the sum of deviations, and the heaviest exposure times the gross. The matrix is made only where
they do not suffice. The common factor is the smaller positive root of a quadratic, because equity falls with the orders
as well. Whether the limit is breached already is decided by the exact form of the present book (docs/decisions/009).
"""

from math import sqrt

from quantd.risk.pretrade.gate_bounds import Form
from quantd.risk.pretrade.loops import Loops, Sides
from quantd.risk.pretrade.scenes import Scene, Spread
from quantd.risk.pretrade.standing import Basket, Factor, Standing
from quantd.trading.number_types import Floats, float_zeros


class Forms:
    """The forms of one basket."""

    basket: Basket
    factor: Factor
    loops: Loops
    scene: Scene
    sized: Sides
    corners: Sides
    squared: float
    """The largest form of the book without the adding orders; of these in `ordered`, of both together in `crossed`."""
    crossed: float
    ordered: float
    stands: Floats
    product: Floats

    def __init__(self, basket: Basket, factor: Factor, loops: Loops) -> None:
        self.basket, self.factor, self.loops = basket, factor, loops
        self.sized, self.corners = Sides(basket.n), Sides(basket.n)
        self.stands, self.product = float_zeros(basket.n), float_zeros(basket.n)

    def begin(self, scene: Scene) -> None:
        """A new basket."""
        self.scene = scene

    def scale(self, state: Standing, form: Form, spread: Spread) -> bool:
        """The root of sum C_ij e_i e_j <= bound x equity, each entry at its worst corner.

        With outer sizes y and inner sizes z of each range, by side, the largest sum is at most y'My - z'Wz
        (`Loops.corners`), and equal while no range crosses zero.
        """
        basket: Basket = self.basket
        factor: Factor = self.factor
        near: float = basket.near
        bound: float = form.settled_bound if state.settled else form.bound
        allowed: float = bound * state.equity_after + near
        if not spread.identity:
            deviation: float = 0.0
            for k in range(self.basket.n):
                deviation += spread.deviation[k] * (state.full_short[k] + state.full_long[k])
            # no correlation can make it more than the sum of deviations
            if deviation <= allowed:
                return False
            if not spread.ready:
                self.scene.ask_matrices()
        else:
            gross: float = state.sum_long + state.sum_short + state.more_long + state.more_short
            # the sum of squares is at most the heaviest times the sum
            if state.heaviest * gross <= allowed * allowed and allowed >= 0.0:
                return False
        self.add_corners(state, spread)
        base: float = self.squared
        cross: float = self.crossed
        square: float = self.ordered
        if allowed >= 0.0 and base + 2.0 * cross + square <= allowed * allowed:
            return False
        squares: float = self.present_squares(state, spread)
        if not sqrt(0.0 if squares <= 0.0 else squares) - bound * state.now <= near:
            # the form is breached already: every order in a symbol that moves would add to it
            factor.bar(form.code)
            for k in range(self.basket.n):
                if basket.size[k] > 0.0 and (spread.identity or spread.matrix[k, k] > 0.0):
                    factor.stop(k)
            return factor.capped
        target: float = bound * state.equity + near
        fall: float = bound * (state.equity - state.equity_after)
        # (square - fall^2) f^2 + 2 (cross + target fall) f - (target^2 - base) = 0, the smaller positive root
        a: float = square - fall * fall
        b: float = cross + target * fall
        c: float = target * target - base
        root: float = b * b + a * c
        fraction: float = 0.0
        if c > 0.0 and target > 0.0:
            fraction = c / (b + sqrt(0.0 if root <= 0.0 else root))
        factor.take(fraction, form.code)
        return False

    def add_corners(self, state: Standing, spread: Spread) -> None:
        """Write `squared`, `crossed` and `ordered`."""
        basket: Basket = self.basket
        loops: Loops = self.loops
        of: Sides = self.sized
        n: int = basket.n
        for k in range(n):
            of.shorts[k], of.longs[k] = state.shorts[k], state.longs[k]
            of.less[k] = of.more[k] = 0.0
            if basket.size[k] > 0.0:
                if basket.wish[k] > 0.0:
                    of.more[k] = basket.size[k] * basket.px[k]
                else:
                    of.less[k] = basket.size[k] * basket.px[k]
        if spread.identity:
            self.add_squares()
            return
        for k in range(n):
            # an order that reduces its own position can take the smallest size to zero
            of.under[k] = -state.high[k] if state.high[k] < 0.0 and not of.more[k] > 0.0 else 0.0
            of.over[k] = -state.low[k] if state.low[k] < 0.0 and not of.less[k] > 0.0 else 0.0
        sums: Sides = self.corners
        loops.corners(sums, spread.matrix, of, n, state.sum_short + state.more_short > 0.0)
        self.squared = loops.dot(sums.shorts, of.shorts, n) + loops.dot(sums.longs, of.longs, n)
        self.squared -= loops.dot(sums.under, of.under, n) + loops.dot(sums.over, of.over, n)
        self.crossed = loops.dot(sums.shorts, of.less, n) + loops.dot(sums.longs, of.more, n)
        self.ordered = loops.dot(sums.less, of.less, n) + loops.dot(sums.more, of.more, n)

    def add_squares(self) -> None:
        """Set the sums of squares, where the matrix is the identity: over the short sides, then over the long ones."""
        of: Sides = self.sized
        base: float = 0.0
        cross: float = 0.0
        square: float = 0.0
        for k in range(self.basket.n):
            base += of.shorts[k] * of.shorts[k]
            cross += of.less[k] * of.shorts[k]
            square += of.less[k] * of.less[k]
        for k in range(self.basket.n):
            base += of.longs[k] * of.longs[k]
            cross += of.more[k] * of.longs[k]
            square += of.more[k] * of.more[k]
        self.squared, self.crossed, self.ordered = base, cross, square

    def present_squares(self, state: Standing, spread: Spread) -> float:
        """The form of the book as it stands, exact."""
        total: float = 0.0
        for k in range(self.basket.n):
            self.stands[k] = state.stands(k)
        if spread.identity:
            for k in range(self.basket.n):
                total += self.stands[k] * self.stands[k]
            return total
        self.loops.product(self.product, spread.matrix, self.stands, self.basket.n)
        return self.loops.dot(self.product, self.stands, self.basket.n)
