"""The loops of the risk gate over scenarios and symbols. Each adds up its sums in a fixed order.

Arrays are one-dimensional and read up to `size`.
"""

from math import inf

from quantd.risk.pretrade.standing import Basket
from quantd.trading.number_types import Codes, FloatRows, Floats, ReadCodes, ReadFloats, float_zeros


class Sides:
    """Six arrays float64[N] of sizes by symbol, for the short and the long side.

    `shorts` and `longs` are the largest sizes of the range of an exposure, `under` and `over` its smallest sizes.
    `less` and `more` are the sizes of adding sales and purchases.
    """

    shorts: Floats
    longs: Floats
    less: Floats
    more: Floats
    under: Floats
    over: Floats

    def __init__(self, n: int) -> None:
        self.shorts, self.longs, self.less, self.more = float_zeros(n), float_zeros(n), float_zeros(n), float_zeros(n)
        self.under, self.over = float_zeros(n), float_zeros(n)


class Loops:
    """The loops over scenarios and symbols, as methods of a class without data. Each method checks the lengths of
    its arrays, because a build compiles the inner loops without bounds checks."""

    def fits(self, size: int, room: int) -> None:
        """Raise IndexError if a buffer of `room` elements is too small for `size` elements."""
        if size < 1 or size > room:
            raise IndexError(f"{size} elements do not fit into a buffer of {room}")

    def reaches(self, rows: FloatRows, k: int, size: int) -> float:
        """Check that row `k` has `size` elements by reading the last one, which is returned. Raises IndexError if it
        has fewer."""
        return rows[k, size - 1]

    def begin(self, basket: Basket, asked: ReadFloats, lots: ReadFloats, reason: ReadCodes) -> None:
        """Begin a basket (the orders of one sample): write the requested lots, the positions and the reason codes so
        far; there are no open orders.
        """
        for k in range(basket.n):
            basket.wish[k], basket.lots[k], basket.reason[k] = asked[k], lots[k], reason[k]
            basket.up[k] = basket.down[k] = 0.0

    def finish(self, basket: Basket, out: Floats, reason: Codes) -> None:
        """Write the signed lots that pass to `out`, and the reason codes to `reason`."""
        basket.passed(out)
        for k in range(basket.n):
            reason[k] = basket.reason[k]

    def sum_above(self, row: Floats, size: int, edge: float) -> float:
        """Return by how much elements exceed `edge`, as a sum over the first `size` elements; smaller ones count 0."""
        self.fits(size, len(row))
        return self._sum_above(row, size, edge)

    def _sum_above(self, row: Floats, size: int, edge: float) -> float:
        total: float = 0.0
        for k in range(size):
            beyond: float = row[k] - edge
            total += 0.0 if beyond <= 0.0 else beyond
        return total

    def count_above(self, row: Floats, size: int, bound: float) -> int:
        """Return the number of elements above `bound`; NaN counts as above."""
        self.fits(size, len(row))
        return self._count_above(row, size, bound)

    def _count_above(self, row: Floats, size: int, bound: float) -> int:
        count: int = 0
        for k in range(size):
            if not row[k] <= bound:
                count += 1
        return count

    def dot(self, row: Floats, values: Floats, size: int) -> float:
        """Return the sum of the products of the first `size` elements."""
        total: float = row[0] * values[0]
        for k in range(1, size):
            total += row[k] * values[k]
        return total

    def nth(self, row: Floats, spare: Floats, size: int, rank: int) -> float:
        """Return the element with this `rank` in ascending order, from 0; a zero may have either sign. `spare` is
        memory for intermediate results. The algorithm is C. Hoare's (Algorithm 65: Find)."""
        self.fits(size, len(row))
        self.fits(size, len(spare))
        self.fits(rank + 1, size)
        self._copy(spare, row, size)
        return self._nth(spare, size, rank)

    def _nth(self, spare: Floats, size: int, rank: int) -> float:
        """Return the element of the `size` elements of `spare` that has index `rank` in ascending order; `spare` is
        reordered (quickselect)."""
        low: int = 0
        high: int = size - 1
        while low < high:
            pivot: float = spare[(low + high) // 2]
            forward: int = low
            backward: int = high
            while forward <= backward:
                while spare[forward] < pivot:
                    forward += 1
                while pivot < spare[backward]:
                    backward -= 1
                if forward <= backward:
                    moved: float = spare[forward]
                    spare[forward] = spare[backward]
                    spare[backward] = moved
                    forward += 1
                    backward -= 1
            if rank <= backward:
                high = backward
            elif rank >= forward:
                low = forward
            else:
                break
        return spare[rank]

    def sum_worst(self, values: Floats, losses: Floats, size: int, edge: float, m: int) -> float:
        """Return the sum of `values` over the m scenarios with the worst losses, of which the smallest loss is
        `edge`."""
        self.fits(size, len(values))
        self.fits(size, len(losses))
        return self._sum_worst(values, losses, size, edge, m)

    def _sum_worst(self, values: Floats, losses: Floats, size: int, edge: float, m: int) -> float:
        """Return the sum of `values` over the scenarios of the m largest `losses`, of which `edge` is the smallest.

        Of the scenarios that lose exactly `edge`, only the first are counted, up to m in all.
        """
        ties: int = m
        for k in range(size):
            if losses[k] > edge:
                ties -= 1
        total: float = 0.0
        for k in range(size):
            if losses[k] > edge:
                total += values[k]
            elif losses[k] == edge and ties > 0:
                ties -= 1
                total += values[k]
        return total

    def losses(self, out: Floats, size: int, returns: FloatRows, fall: Floats, rise: Floats) -> None:
        """Write the loss in each scenario: the sum over symbols of r x `fall` + max(r, 0) x `rise`, where r is the
        symbol's return in `returns` float64[N, S]; `fall` and `rise` float64[N] are the symbol's coefficients."""
        self.fits(size, len(out))
        self.fits(len(fall), len(rise))
        self.reaches(returns, len(fall) - 1, size)
        self.clear(out, size)
        self._losses(out, size, returns, fall, rise)

    def _losses(self, out: Floats, size: int, returns: FloatRows, fall: Floats, rise: Floats) -> None:
        """Add to `out`, for each symbol, `fall` x return and `rise` x the positive part of the return, in each of
        `size` scenarios. `returns` is float64[N, S]: a row for each symbol, a column for each scenario."""
        for k in range(len(fall)):
            per_return: float = fall[k]
            per_gain: float = rise[k]
            if per_gain != 0.0:
                for s in range(size):
                    value: float = returns[k, s]
                    out[s] += value * per_return + (0.0 if value <= 0.0 else value) * per_gain
            elif per_return != 0.0:
                for s in range(size):
                    out[s] += returns[k, s] * per_return

    def add_order(self, out: Floats, size: int, returns: FloatRows, k: int, value: float, buys: bool) -> None:
        """Add the loss of an order of `value` in symbol `k` to each scenario's loss; a gain counts 0, because the order
        may stay unfilled."""
        self.fits(size, len(out))
        self.reaches(returns, k, size)
        self._add_order(out, size, returns, k, value, buys)

    def _add_order(self, out: Floats, size: int, returns: FloatRows, k: int, value: float, buys: bool) -> None:
        if buys:
            for s in range(size):
                out[s] += returns[k, s] * -value
        for s in range(size):
            change: float = returns[k, s]
            out[s] += (0.0 if change <= 0.0 else change) * value

    def copy(self, out: Floats, row: Floats, size: int) -> None:
        """Copy the first `size` elements of `row` to `out`."""
        self.fits(size, len(out))
        self.fits(size, len(row))
        self._copy(out, row, size)

    def _copy(self, out: Floats, row: Floats, size: int) -> None:
        for k in range(size):
            out[k] = row[k]

    def clear(self, out: Floats, size: int) -> None:
        """Set the first `size` elements to zero."""
        for k in range(size):
            out[k] = 0.0

    def add_scaled(self, out: Floats, base: Floats, adding: Floats, size: int, factor: float) -> None:
        self.fits(size, len(out))
        self.fits(size, len(base))
        self.fits(size, len(adding))
        self._add_scaled(out, base, adding, size, factor)

    def _add_scaled(self, out: Floats, base: Floats, adding: Floats, size: int, factor: float) -> None:
        for s in range(size):
            out[s] = base[s] + adding[s] * factor

    def factors(self, out: Floats, base: Floats, adding: Floats, size: int, target: float, fall: float) -> None:
        """Write for each scenario the largest factor f of the orders with base + f adding <= target - f fall.

        `base` are the losses of the book without the orders, `adding` the losses of the orders. `target` is the largest
        permitted loss, and `fall` the fall of `target` when all orders fill. Where adding + fall is not positive, the
        factor is inf if the book complies without the orders, else -inf.
        """
        self.fits(size, len(out))
        self.fits(size, len(base))
        self.fits(size, len(adding))
        self._factors(out, base, adding, size, target, fall)

    def _factors(self, out: Floats, base: Floats, adding: Floats, size: int, target: float, fall: float) -> None:
        for s in range(size):
            room: float = target - base[s]
            growth: float = adding[s] + fall
            if growth > 0.0:
                out[s] = room / growth
            else:
                out[s] = inf if room >= 0.0 else -inf

    def corners(self, out: Sides, matrix: FloatRows, of: Sides, n: int, sided: bool) -> None:
        """Write into `out`, by side (long or short), the matrix products M y, M z and W v, from which a bound on a
        quadratic form is computed.

        From `of`, y are the largest sizes (`shorts`, `longs`), z the orders (`less`, `more`) and v the smallest sizes
        (`under`, `over`); none is negative. M has the positive entries of float64[N, N] `matrix` for pairs of equal
        sides, and the absolute values of its negative entries for pairs of opposite sides. W has the positive entries
        for opposite sides, and the absolute negative ones for equal sides. Without `sided` nothing is short, and the
        products of the short side are 0.
        """
        self.clear(out.shorts, n)
        self.clear(out.longs, n)
        self.clear(out.less, n)
        self.clear(out.more, n)
        self.clear(out.under, n)
        self.clear(out.over, n)
        self.fits(n, len(of.shorts))
        self.fits(n, len(of.longs))
        self.fits(n, len(of.less))
        self.fits(n, len(of.more))
        self.fits(n, len(of.under))
        self.fits(n, len(of.over))
        self.reaches(matrix, n - 1, n)
        self._add_corners(
            out.longs, out.more, out.over, matrix, n, of.longs, of.shorts, of.more, of.less, of.over, of.under
        )
        if sided:
            self._add_corners(
                out.shorts, out.less, out.under, matrix, n, of.shorts, of.longs, of.less, of.more, of.under, of.over
            )

    def _add_corners(
        self, outer: Floats, orders: Floats, inner: Floats, matrix: FloatRows, n: int,
        like_outer: Floats, unlike_outer: Floats, like_orders: Floats, unlike_orders: Floats, like_inner: Floats,
        unlike_inner: Floats,
    ) -> None:  # fmt: skip
        """Add the products of one side to `outer` (M y), `orders` (M z) and `inner` (W v). Arrays `like_...` are of the
        same side, arrays `unlike_...` of the opposite side.

        y are the largest sizes of exposures, z the orders, v the smallest sizes. M has the positive entries of `matrix`
        for equal sides and the absolute negative entries for opposite sides. W has the two exchanged.
        """
        for k in range(n):
            like_y: float = like_outer[k]
            unlike_y: float = unlike_outer[k]
            like_z: float = like_orders[k]
            unlike_z: float = unlike_orders[k]
            like_v: float = like_inner[k]
            unlike_v: float = unlike_inner[k]
            if like_y + unlike_y + like_z + unlike_z + like_v + unlike_v == 0.0:
                continue
            for j in range(n):
                value: float = matrix[k, j]
                like: float = 0.0 if value <= 0.0 else value
                unlike: float = like - value
                outer[j] += like * like_y + unlike * unlike_y
                orders[j] += like * like_z + unlike * unlike_z
                inner[j] += unlike * like_v + like * unlike_v

    def product(self, out: Floats, matrix: FloatRows, values: Floats, size: int) -> None:
        """Write the product of the symmetric float64[N, N] `matrix` and float64[N] `values`, added row by row."""
        self.fits(size, len(out))
        self.fits(size, len(values))
        self.reaches(matrix, size - 1, size)
        self.clear(out, size)
        self._add_product(out, matrix, values, size)

    def _add_product(self, out: Floats, matrix: FloatRows, values: Floats, size: int) -> None:
        for k in range(size):
            factor: float = values[k]
            if factor != 0.0:
                for j in range(size):
                    out[j] += matrix[k, j] * factor
