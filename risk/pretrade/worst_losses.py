"""Limits on tail losses: value at risk, expected shortfall and stress, over the worst losses of scenarios.

What can go wrong: the scenarios that are worst without an order are not the worst with it. The factor by which orders
are scaled is therefore not computed on a fixed set of scenarios. For VaR it is an order statistic of the factors of the
single scenarios. For a mean of losses it is found exactly after finitely many sets of scenarios (W. Dinkelbach, 1967).

In every scenario each range of exposures counts with its largest loss, whichever orders fill. Cheap upper bounds come
first: deviations and means of the losses. The next bound is for VaR the number of losses above the limit's bound, and
for a mean the sum of the losses above a threshold (R. Rockafellar and S. Uryasev, 2000). Losses are sorted only where
these bounds do not suffice.
Consecutive limits over the same scenarios share `lossy`, the losses of the book with all orders.
"""

from math import inf

from quantd.risk.limits.case import SLACK
from quantd.risk.pretrade.gate_bounds import Bounds, Tail
from quantd.risk.pretrade.loops import Loops
from quantd.risk.pretrade.scenes import Losses, Scene
from quantd.risk.pretrade.standing import Basket, Factor, Standing
from quantd.trading.number_types import Floats, float_zeros


class Tails:
    """The limits on tail losses of one basket (the orders of one sample). Arrays float64[S] are by scenario."""

    basket: Basket
    factor: Factor
    loops: Loops
    bounds: Bounds
    scene: Scene
    fall: Floats
    rise: Floats
    """float64[N]: factors of the return r, and of max(r, 0), of each symbol in a loss (see `Loops.losses`)."""
    width: int
    """The number of scenarios for which the arrays have room."""
    lossy: Floats
    """Losses of the book with all adding orders."""
    base: Floats
    """Losses of the book without the adding orders."""
    adding: Floats
    """Losses of the adding orders."""
    now: Floats
    spare: Floats
    """Scratch."""
    alone: Floats
    """Losses of one order."""

    def __init__(self, basket: Basket, factor: Factor, loops: Loops) -> None:
        self.basket, self.factor, self.loops = basket, factor, loops
        self.fall, self.rise = float_zeros(basket.n), float_zeros(basket.n)
        self.width = -1
        self.widen(0)

    def begin(self, bounds: Bounds, scene: Scene) -> None:
        """Begin a new basket; `scene` is the market of its sample."""
        self.bounds, self.scene = bounds, scene
        self.widen(scene.width)

    def widen(self, scenarios: int) -> None:
        """Enlarge the arrays to hold `scenarios` scenarios."""
        if scenarios <= self.width:
            return
        self.width = scenarios
        self.lossy, self.base, self.adding = float_zeros(scenarios), float_zeros(scenarios), float_zeros(scenarios)
        self.now, self.spare, self.alone = float_zeros(scenarios), float_zeros(scenarios), float_zeros(scenarios)

    def book_losses(self, state: Standing, losses: Losses, out: Floats, book: bool, orders: bool) -> None:
        """Write the largest loss in each scenario: with `book` of the book without the adding orders, with `orders` of
        the adding orders.

        With a return r, a range of exposures from `low` to `high` loses at most max(r, 0) (high - low) - r high.
        """
        basket: Basket = self.basket
        for k in range(self.basket.n):
            below: float = 0.0
            above: float = 0.0
            if book:
                below = state.low[k]
                above = state.high[k]
            if orders and basket.size[k] > 0.0:
                if basket.wish[k] > 0.0:
                    above += basket.size[k] * basket.px[k]
                else:
                    below += basket.size[k] * basket.px[k]
            self.fall[k] = -above
            self.rise[k] = below + above  # high - low: `state.low` has the opposite sign
        self.loops.losses(out, losses.size, losses.returns, self.fall, self.rise)

    def measure(self, mean: bool, m: int, row: Floats, size: int) -> float:
        """Return the VaR of the losses in `row`, or with `mean` the mean of the m worst losses."""
        edge: float = self.loops.nth(row, self.spare, size, size - m)
        if not mean:
            return edge
        return edge + self.loops.sum_above(row, size, edge) / m

    def factor_of(self, mean: bool, m: int, size: int, target: float, fall: float, adding: Floats) -> float:
        """Return the largest factor f (for a mean at most 1) with measure(base + f adding) <= target - f fall.

        `base` are the losses without the orders, `adding` the losses of the orders. `target` is the bound,
        and `fall` the fall of the bound when all orders fill, because they lower equity.

        VaR is the m-th worst loss, and scenario s complies up to (target - base_s) / (adding_s + fall), so that VaR
        complies up to the m-th smallest of these factors. The mean of the m worst losses is the largest mean over any m
        scenarios, each of which is linear in f. Newton's method starts at f = 1 with the worst set, goes down to where
        that set complies, and repeats until no other set is worse. Each step is exact and the sets are finite (W.
        Dinkelbach, On nonlinear fractional programming, 1967).
        """
        loops: Loops = self.loops
        if not mean:
            loops.factors(self.now, self.base, adding, size, target, fall)
            return loops.nth(self.now, self.spare, size, m - 1)
        factor: float = 1.0
        while factor > 0.0:
            loops.add_scaled(self.now, self.base, adding, size, factor)
            edge: float = loops.nth(self.now, self.spare, size, size - m)
            room: float = target - loops.sum_worst(self.base, self.now, size, edge, m) / m
            growth: float = loops.sum_worst(adding, self.now, size, edge, m) / m + fall
            step: float = inf if room >= 0.0 else -inf
            if growth > 0.0:
                step = room / growth
            if step >= factor * (1.0 - SLACK):
                return factor
            factor = step
        return 0.0

    def scale(self, state: Standing) -> bool:
        """Lower the common factor to the largest with which the worst losses of each tail limit stay within bound x
        equity.

        A limit needs no factor where a bound from deviations, a count of losses (VaR) or a mean of the worst losses
        shows that the book with all orders complies. Returns True if a tail limit is already breached, so that single
        orders are capped: the factor then has no meaning.
        """
        tolerance: float = self.basket.near
        scenario_number: int = -1
        has_losses: bool = False
        deviation: float = 0.0
        mean: float = 0.0
        for index in range(len(self.bounds.tails)):
            tail: Tail = self.bounds.tails[index]
            losses: Losses = self.scene.losses[index]
            # bounds are wider while orders are open; losses are per sample, the bound is over the horizon
            bound: float = tail.bound * state.wider / tail.scale
            # other scenarios than those of the previous limit: their sums are computed anew
            if losses.number != scenario_number:
                scenario_number, has_losses, deviation, mean = losses.number, False, 0.0, 0.0
                for k in range(self.basket.n):
                    gross: float = state.full_short[k] + state.full_long[k]
                    deviation += losses.deviation[k] * gross
                    mean += losses.mean[k] * gross
            # the mean of the worst losses of a book with these exposures is at most this (see `Losses`)
            if losses.beyond * deviation + mean <= bound * state.equity_after:
                continue
            if not losses.ready:
                self.scene.ask_returns()
            target: float = bound * state.equity_after + tolerance
            size: int = losses.size
            if not has_losses:
                has_losses = True
                # of the book together with all adding orders
                self.book_losses(state, losses, self.lossy, True, True)
            if not tail.mean:
                if self.loops.count_above(self.lossy, size, target) < losses.worst:
                    continue
            else:
                # an upper bound at any edge (R. Rockafellar and S. Uryasev, Optimization of conditional VaR, 2000)
                edge: float = 0.75 * target
                if edge + self.loops.sum_above(self.lossy, size, edge) / losses.worst <= target:
                    continue
                if self.measure(True, losses.worst, self.lossy, size) <= target:
                    continue
            if self.bind(state, tail, losses, bound):
                return True
        return False

    def bind(self, state: Standing, tail: Tail, losses: Losses, bound: float) -> bool:
        """Lower the common factor if the book complies with the limit without the orders; else cap the orders that add
        to its losses.

        By scenario, `base` has the losses of the book without the adding orders, `adding` the losses of the orders and
        `now` the losses of the present positions, until it is overwritten. The measure is the m-th worst loss, or the
        mean of the m worst.

        Returns whether orders were capped.
        """
        basket: Basket = self.basket
        factor: Factor = self.factor
        tolerance: float = basket.near
        size: int = losses.size
        m: int = losses.worst
        self.book_losses(state, losses, self.base, True, False)
        self.book_losses(state, losses, self.adding, False, True)
        for k in range(self.basket.n):
            self.fall[k] = -state.stands(k)
            self.rise[k] = 0.0
        self.loops.losses(self.now, size, losses.returns, self.fall, self.rise)
        # measured before any factor: `factor_of` and `cap_losses` overwrite `now`
        present: float = self.measure(tail.mean, m, self.now, size)
        if present <= bound * state.now + tolerance:
            target: float = bound * state.equity + tolerance
            fall: float = bound * (state.equity - state.equity_after)
            factor.take(self.factor_of(tail.mean, m, size, target, fall, self.adding), tail.code)
            return False
        # breached already: no order may make it larger, alone or with others
        present += tolerance
        factor.bar(tail.code)
        for k in range(self.basket.n):
            if basket.size[k] > 0.0:
                self.cap_losses(losses, tail.mean, k, present)
                if basket.whole(factor.ceiling[k]) < basket.size[k]:
                    factor.capped = True
        if factor.capped:
            return True
        factor.take(self.factor_of(tail.mean, m, size, present, 0.0, self.adding), tail.code)
        return False

    def cap_losses(self, losses: Losses, mean: bool, k: int, present: float) -> None:
        """Write the ceiling of the order in symbol `k`: the lots up to which the measure does not exceed `present`,
        its present value. `mean` takes the mean of the worst losses, else the smallest of them (VaR)."""
        basket: Basket = self.basket
        loops: Loops = self.loops
        size: int = losses.size
        m: int = losses.worst
        buys: bool = basket.wish[k] > 0.0
        loops.copy(self.now, self.base, size)
        loops.add_order(self.now, size, losses.returns, k, basket.px[k], buys)
        if self.measure(mean, m, self.now, size) <= present:
            loops.clear(self.alone, size)
            loops.add_order(self.alone, size, losses.returns, k, basket.size[k] * basket.px[k], buys)
            fraction: float = self.factor_of(mean, m, size, present, 0.0, self.alone)
            self.factor.ceiling[k] = fraction * basket.size[k]
        else:
            self.factor.ceiling[k] = 0.0
