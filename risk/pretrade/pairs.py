"""The limit on linked pairs: two symbols that tend to lose together have a largest joint weight, unless the lighter one
is below a certain weight.

What can go wrong: two orders comply alone and not together, or the result depends on the order of the columns. Orders
are therefore accepted one after another, the larger notional first and equal ones by name. Each order sees the
exposures that the earlier ones added.

`clip` runs twice. The first call lowers equity by the accepted orders only, so that a single order gets the most lots.
The second call, after the common factor, uses the equity that remains after all orders.

Correlations of N symbols cost N x N operations. None is computed if twice the heaviest side complies, or the two
heaviest sides together do; otherwise only links between heavy sides are made. A correlation that is not a number counts
as linked.
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
    """The pairs of one basket (the orders of one sample) of n symbols. A side is an index: k for symbol k held short, n
    + k for it held long.
    """

    basket: Basket
    bounds: Bounds
    scene: Scene
    binding: bool
    """Whether a linked pair may weigh too much: then `clip` runs again after the common factor."""
    order: Ints
    sides: Ints
    """Sides that are heavy enough to matter; the number of valid elements is passed as `sides`."""
    taken: Floats
    """float64[2N]: exposure of each side, in account currency, with the orders accepted so far."""

    def __init__(self, basket: Basket) -> None:
        self.basket = basket
        self.order, self.sides, self.taken = int_zeros(basket.n), int_zeros(2 * basket.n), float_zeros(2 * basket.n)

    def begin(self, bounds: Bounds, scene: Scene) -> None:
        """Begin a new basket; `scene` is the market of its sample."""
        self.bounds, self.scene, self.binding = bounds, scene, False

    def linked(self, first_side: int, second_side: int) -> int:
        """Return whether two sides tend to lose together: LINKED, UNLINKED or NOT_KNOWN (not measured yet). Side k
        is symbol k held short, side n + k the same symbol held long."""
        first_symbol: int = first_side % self.basket.n
        second_symbol: int = second_side % self.basket.n
        if first_symbol == second_symbol:
            return UNLINKED
        link: float = self.scene.links[first_symbol, second_symbol]  # a code of `links_of`
        if link == 0.0:
            return UNLINKED
        if link == 2.0:
            return LINKED
        if link > 2.0:
            return NOT_KNOWN
        # 1 links equal sides, -1 opposite sides
        return LINKED if (link > 0.0) == ((first_side < self.basket.n) == (second_side < self.basket.n)) else UNLINKED

    def link(self, sides: int) -> None:
        """Make sure that the links between the first `sides` elements of `self.sides` are known."""
        scene: Scene = self.scene
        missing: bool = not scene.has_links
        if not missing:
            for first in range(sides):
                for second in range(first):
                    if self.linked(self.sides[first], self.sides[second]) == NOT_KNOWN:
                        missing = True
        if missing:
            scene.ask_links(self.sides, sides)

    def clip(self, state: Standing, final: bool) -> None:
        """Reduce the orders that add to positions so that every pair complies, larger notionals first.

        Without `final`, equity falls by accepted orders and the order itself, so that a single order gets the most
        lots. With `final`, equity is the lowest that all orders may leave. Side k is symbol k held short, side
        n + k the same symbol held long. `state` is the book without its adding orders.
        """
        basket: Basket = self.basket
        n: int = basket.n
        state.reach()
        lowest_equity: float = state.equity_after
        pair_share: float = self.bounds.joint * state.wider
        # cheap, and before any link is computed: no two sides together weigh more than twice the heaviest one
        if 2.0 * state.heaviest <= pair_share * lowest_equity:
            return
        light_value: float = self.bounds.least * state.wider * lowest_equity + basket.near
        sides: int = self.weigh(state, light_value, pair_share * lowest_equity + basket.near)
        if sides == 0:
            return
        self.binding = True
        # `taken` is the exposure of a side with the orders accepted so far
        for index in range(sides):
            side: int = self.sides[index]
            self.taken[side] = state.outer(side)
        length: int = basket.by_value(self.order, self.bounds.names)
        equity: float = lowest_equity if final else state.equity
        for rank in range(length):
            k: int = self.order[rank]
            size: float = basket.size[k]
            slip: float = 0.0 if final else state.slip * basket.px[k]
            order_side: int = n + k if basket.wish[k] > 0.0 else k
            lots: float = size
            if state.full(order_side) > light_value:
                lots = basket.whole(self.largest_lots(state, k, order_side, sides, equity, slip))
                self.taken[order_side] += lots * basket.px[k]
                if lots < size:
                    basket.size[k] = lots
                    basket.reason[k] = self.bounds.correlation
                    basket.changes += 1
            equity -= lots * slip

    def weigh(self, state: Standing, light_value: float, most_of_two: float) -> int:
        """Write into `self.sides` the sides (symbols long or short) whose exposure with all adding orders exceeds
        `light_value`.

        Returns the number of these sides; 0 where no linked pair of them weighs more than `most_of_two` together. Side
        k is symbol k held short, side n + k the same symbol held long. Linked sides tend to lose together.
        """
        sides: int = 0
        heaviest: float = 0.0
        second_heaviest: float = 0.0
        for side in range(2 * self.basket.n):
            weight: float = state.full(side)
            if weight > light_value:
                self.sides[sides] = side
                sides += 1
                if weight > heaviest:
                    second_heaviest = heaviest
                    heaviest = weight
                elif weight > second_heaviest:
                    second_heaviest = weight
        if sides < 2 or not heaviest + second_heaviest > most_of_two:
            return 0
        self.link(sides)
        return sides if self.beyond(state, sides, most_of_two) else 0

    def largest_lots(self, state: Standing, k: int, side: int, sides: int, equity: float, slip: float) -> float:
        """Return the largest lots of the order in symbol `k` with which every linked pair of the order's `side`
        complies.

        The possible partners are the first `sides` elements of `self.sides`. `slip` is the fall of `equity` with each
        lot. A pair complies if one of three holds: this side is at most `light_share` of equity, the partner's side is,
        or both together are at most `pair_share`. The largest of the three corresponding lots is therefore permitted.
        """
        tolerance: float = self.basket.near
        lot_value: float = self.basket.px[k]
        # bounds are wider while orders are open; `taken` is a side's exposure with the orders accepted so far
        light_share: float = self.bounds.least * state.wider
        pair_share: float = self.bounds.joint * state.wider
        lots: float = self.basket.size[k]
        for index in range(sides):
            partner: int = self.sides[index]
            if self.linked(side, partner) != LINKED:
                continue
            # solves exposure + lots x lot_value <= share x (equity - lots x slip), for this side and for the pair
            side_lots: float = (light_share * equity + tolerance - self.taken[side]) / (lot_value + light_share * slip)
            pair_value: float = self.taken[side] + self.taken[partner]
            pair_lots: float = (pair_share * equity + tolerance - pair_value) / (lot_value + pair_share * slip)
            # a light partner remains light only while the order does not lower equity too far
            partner_room: float = equity * light_share + tolerance - self.taken[partner]
            partner_lots: float = 0.0
            if partner_room >= 0.0:
                partner_lots = partner_room / (light_share * slip) if light_share * slip > 0.0 else inf
            permitted: float = side_lots if side_lots >= pair_lots else pair_lots
            permitted = permitted if permitted >= partner_lots else partner_lots
            lots = lots if lots <= permitted else permitted
        return lots

    def beyond(self, state: Standing, sides: int, most_of_two: float) -> bool:
        """Whether a linked pair (two sides that tend to lose together) weighs more than `most_of_two`, in account
        currency, with all adding orders. The sides are the first `sides` elements of `self.sides`."""
        for first in range(sides):
            for second in range(first):
                first_side: int = self.sides[first]
                second_side: int = self.sides[second]
                if self.linked(first_side, second_side) == LINKED:
                    weight: float = state.full(first_side)
                    second_weight: float = state.full(second_side)
                    if weight + second_weight > most_of_two:
                        return True
        return False

    def quotient(self, value: float, bound: float) -> float:
        """Return the equity at which `value` equals `bound` x equity: value / bound.

        For a bound of 0 the result is infinite, or NaN if the value is 0 too.
        """
        if bound > 0.0:
            return value / bound
        return inf if value > 0.0 else nan

    def side_now(self, state: Standing, side: int) -> float:
        """Return the present exposure of a symbol on a side (long or short); negative where the position is on the
        other side."""
        return state.stands(side - self.basket.n) if side >= self.basket.n else -state.stands(side)

    def equity(self, state: Standing) -> float:
        """Return the least equity at which existing linked pairs comply at their largest exposures.

        A pair complies if its lighter side is light enough, or if both sides together comply. `..._now` are values at
        present, `..._most` the largest over all fills of open orders.
        """
        n: int = self.basket.n
        tolerance: float = self.basket.near
        light_share: float = self.bounds.least * state.wider
        pair_share: float = self.bounds.joint * state.wider
        light_value: float = light_share * state.equity_after
        equity_now: float = state.now + tolerance
        sides: int = 0
        for side in range(2 * n):
            weight: float = state.outer(side)
            if weight > light_value:
                self.sides[sides] = side
                sides += 1
        self.link(sides)
        least_equity: float = 0.0
        for first in range(sides):
            first_side: int = self.sides[first]
            first_most: float = state.outer(first_side)
            first_now: float = self.side_now(state, first_side)
            for second in range(first):
                second_side: int = self.sides[second]
                if self.linked(first_side, second_side) != LINKED:
                    continue
                second_most: float = state.outer(second_side)
                second_now: float = self.side_now(state, second_side)
                # a pair that breaches already, and that no open order makes larger, needs no equity: to refuse other
                # orders would not make it comply
                light_now: float = self.quotient(first_now if first_now < second_now else second_now, light_share)
                pair_now: float = self.quotient(first_now + second_now, pair_share)
                grows: bool = first_most > first_now + tolerance or second_most > second_now + tolerance
                if grows or not (light_now > equity_now and pair_now > equity_now):
                    single_needed: float = self.quotient(
                        first_most if first_most < second_most else second_most, light_share
                    )
                    pair_needed: float = self.quotient(first_most + second_most, pair_share)
                    single_needed = single_needed if single_needed < pair_needed else pair_needed
                    least_equity = least_equity if least_equity >= single_needed else single_needed
        return least_equity
