"""Linked pairs: two symbols whose losses go together may weigh so much together, while the lesser is not small.

What can go wrong: two orders that comply alone and not together, and a result that depends on the order of the columns.
Orders are accepted one after another, the larger notional first and equal ones by name. Each sees the sides that the
earlier ones took.

`clip` runs twice. The first pass lowers equity by the accepted orders only, so that a single order gets the most lots.
After the common factor the second takes the equity that all orders leave.

Correlations of N symbols cost N x N. Nothing is read while twice the heaviest side, or the two heaviest together,
comply; then only links between sides that matter are made. A correlation that is not a number counts as linked.
"""

from math import inf, nan

from quantd.risk.pretrade.gate_bounds import Bounds
from quantd.risk.pretrade.scenes import Scene
from quantd.risk.pretrade.standing import Basket, Standing
from quantd.trading.number_types import Floats, Ints, float_zeros, int_zeros

UNLINKED = 0
LINKED = 1
NOT_KNOWN = -1


class Pairs:
    """The pairs of one basket. A side is a symbol where it is short, and n more where it is long."""

    basket: Basket
    bounds: Bounds
    scene: Scene
    binding: bool
    """Whether a pair may weigh too much."""
    order: Ints
    sides: Ints
    """Sides whose weight matters."""
    taken: Floats
    """float64[2N]: exposure of each side with the orders accepted so far."""

    def __init__(self, basket: Basket) -> None:
        self.basket = basket
        self.order, self.sides, self.taken = int_zeros(basket.n), int_zeros(2 * basket.n), float_zeros(2 * basket.n)

    def begin(self, bounds: Bounds, scene: Scene) -> None:
        """A new basket."""
        self.bounds, self.scene, self.binding = bounds, scene, False

    def linked(self, one: int, other: int) -> int:
        """Whether two sides lose together."""
        a: int = one % self.basket.n
        b: int = other % self.basket.n
        if a == b:
            return UNLINKED
        link: float = self.scene.links[a, b]
        if link == 0.0:
            return UNLINKED
        if link == 2.0:
            return LINKED
        if link > 2.0:
            return NOT_KNOWN
        return LINKED if (link > 0.0) == ((one < self.basket.n) == (other < self.basket.n)) else UNLINKED

    def link(self, sides: int) -> None:
        """Have the links between the first `sides` of `sides` at hand."""
        scene: Scene = self.scene
        missing: bool = not scene.has_links
        if not missing:
            for a in range(sides):
                for b in range(a):
                    if self.linked(self.sides[a], self.sides[b]) == NOT_KNOWN:
                        missing = True
        if missing:
            scene.ask_links(self.sides, sides)

    def clip(self, state: Standing, final: bool) -> None:
        """Cut adding lots so that every pair complies, larger notionals first.

        Without `final`, equity falls by accepted orders and the order itself, so that a single order gets the most.
        With it, equity is the lowest of the whole basket.
        """
        basket: Basket = self.basket
        n: int = basket.n
        state.reach()
        low: float = state.equity_after
        joint: float = self.bounds.joint * state.wider
        # no two together weigh more than the heaviest twice
        if 2.0 * state.heaviest <= joint * low:
            return
        edge: float = self.bounds.least * state.wider * low + basket.near
        sides: int = self.weigh(state, edge, joint * low + basket.near)
        if sides == 0:
            return
        self.binding = True
        for a in range(sides):
            side: int = self.sides[a]
            self.taken[side] = state.outer(side)
        length: int = basket.by_value(self.order, self.bounds.names)
        equity: float = low if final else state.equity
        for place in range(length):
            k: int = self.order[place]
            size: float = basket.size[k]
            slip: float = 0.0 if final else state.slip * basket.px[k]
            at: int = n + k if basket.wish[k] > 0.0 else k
            most: float = size
            if state.full(at) > edge:
                most = basket.whole(self.most(state, k, at, sides, equity, slip))
                self.taken[at] += most * basket.px[k]
                if most < size:
                    basket.size[k] = most
                    basket.reason[k] = self.bounds.correlation
                    basket.changes += 1
            equity -= most * slip

    def weigh(self, state: Standing, edge: float, most_of_two: float) -> int:
        """Write the sides above `edge` with all adding orders; returns how many, 0 where no linked pair of them weighs
        more than `most_of_two`."""
        sides: int = 0
        first: float = 0.0
        second: float = 0.0
        for side in range(2 * self.basket.n):
            weight: float = state.full(side)
            if weight > edge:
                self.sides[sides] = side
                sides += 1
                if weight > first:
                    second = first
                    first = weight
                elif weight > second:
                    second = weight
        if sides < 2 or not first + second > most_of_two:
            return 0
        self.link(sides)
        return sides if self.beyond(state, sides, most_of_two) else 0

    def most(self, state: Standing, k: int, at: int, sides: int, equity: float, slip: float) -> float:
        """The lots of an order on side `at` with which its pairs comply at this equity."""
        near: float = self.basket.near
        lot: float = self.basket.px[k]
        least: float = self.bounds.least * state.wider
        joint: float = self.bounds.joint * state.wider
        lots: float = self.basket.size[k]
        for b in range(sides):
            partner: int = self.sides[b]
            if self.linked(at, partner) != LINKED:
                continue
            alone_lots: float = (least * equity + near - self.taken[at]) / (lot + least * slip)
            pair_value: float = self.taken[at] + self.taken[partner]
            pair_lots: float = (joint * equity + near - pair_value) / (lot + joint * slip)
            # the partner is too small to matter, and stays so while equity falls by this order
            free: float = equity * least + near - self.taken[partner]
            small_lots: float = 0.0
            if free >= 0.0:
                small_lots = free / (least * slip) if least * slip > 0.0 else inf
            best: float = alone_lots if alone_lots >= pair_lots else pair_lots
            best = best if best >= small_lots else small_lots
            lots = lots if lots <= best else best
        return lots

    def beyond(self, state: Standing, sides: int, most_of_two: float) -> bool:
        """Whether a linked pair weighs too much with all adding orders."""
        for a in range(sides):
            for b in range(a):
                one: int = self.sides[a]
                other: int = self.sides[b]
                if self.linked(one, other) == LINKED:
                    weight: float = state.full(one)
                    beside: float = state.full(other)
                    if weight + beside > most_of_two:
                        return True
        return False

    def quotient(self, value: float, bound: float) -> float:
        """value / bound; a bound of 0 asks for all the equity there is."""
        if bound > 0.0:
            return value / bound
        return inf if value > 0.0 else nan

    def side_now(self, state: Standing, side: int) -> float:
        """What stands on a side, negative on the other one."""
        return state.stands(side - self.basket.n) if side >= self.basket.n else -state.stands(side)

    def equity(self, state: Standing) -> float:
        """Least equity at which existing pairs comply at their largest."""
        n: int = self.basket.n
        near: float = self.basket.near
        least: float = self.bounds.least * state.wider
        joint: float = self.bounds.joint * state.wider
        edge: float = least * state.equity_after
        enough: float = state.now + near
        sides: int = 0
        for side in range(2 * n):
            weight: float = state.outer(side)
            if weight > edge:
                self.sides[sides] = side
                sides += 1
        self.link(sides)
        need: float = 0.0
        for a in range(sides):
            one: int = self.sides[a]
            large: float = state.outer(one)
            now: float = self.side_now(state, one)
            for b in range(a):
                other: int = self.sides[b]
                if self.linked(one, other) != LINKED:
                    continue
                both: float = state.outer(other)
                beside: float = self.side_now(state, other)
                # a pair that breaches already is not made to comply by refusing others; one of which nothing is held,
                # or that an open order makes larger, is not such a pair
                small: float = self.quotient(now if now < beside else beside, least)
                sum_now: float = self.quotient(now + beside, joint)
                grows: bool = large > now + near or both > beside + near
                if grows or not (small > enough and sum_now > enough):
                    lesser: float = self.quotient(large if large < both else both, least)
                    together: float = self.quotient(large + both, joint)
                    lesser = lesser if lesser < together else together
                    need = need if need >= lesser else lesser
        return need
