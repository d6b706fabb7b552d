"""Loops over scenarios and symbols, each with its sums in their order.

Arrays are one-dimensional and read up to `size`. `quantd.risk.pretrade.vectors` does the same with numpy, for a gate
that is not compiled; both give the same bits.
"""

from math import inf

from quantd.trading.number_types import FloatRows, Floats, float_zeros


class Sides:
    """Six arrays float64[N]: outer sizes `shorts` and `longs`, those of orders `less` and `more`, inner sizes `under`
    and `over`."""

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
    """The functions; the class has no data."""

    def sum_above(self, row: Floats, size: int, edge: float) -> float:
        """The sum of what elements exceed `edge` by."""
        found: float = 0.0
        for k in range(size):
            beyond: float = row[k] - edge
            found += 0.0 if beyond <= 0.0 else beyond
        return found

    def count_above(self, row: Floats, size: int, bound: float) -> int:
        """The number of elements that are not at most `bound`; NaN counts."""
        found: int = 0
        for k in range(size):
            if not row[k] <= bound:
                found += 1
        return found

    def dot(self, row: Floats, values: Floats, size: int) -> float:
        """The sum of products."""
        found: float = row[0] * values[0]
        for k in range(1, size):
            found += row[k] * values[k]
        return found

    def nth(self, row: Floats, spare: Floats, size: int, rank: int) -> float:
        """The element of `rank` in ascending order, from 0; of zeros either sign (C. Hoare, Algorithm 65: Find)."""
        for k in range(size):
            spare[k] = row[k]
        low: int = 0
        high: int = size - 1
        while low < high:
            pivot: float = spare[(low + high) // 2]
            left: int = low
            right: int = high
            while left <= right:
                while spare[left] < pivot:
                    left += 1
                while pivot < spare[right]:
                    right -= 1
                if left <= right:
                    moved: float = spare[left]
                    spare[left] = spare[right]
                    spare[right] = moved
                    left += 1
                    right -= 1
            if rank <= right:
                high = right
            elif rank >= left:
                low = left
            else:
                break
        return spare[rank]

    def sum_worst(self, values: Floats, losses: Floats, size: int, edge: float, m: int) -> float:
        """The sum of `values` in the m scenarios with the worst losses, of which the least is `edge`."""
        left: int = m
        for k in range(size):
            if losses[k] > edge:
                left -= 1
        found: float = 0.0
        for k in range(size):
            if losses[k] > edge:
                found += values[k]
            elif losses[k] == edge and left > 0:
                left -= 1
                found += values[k]
        return found

    def losses(self, out: Floats, size: int, returns: FloatRows, first: int, fall: Floats, rise: Floats) -> None:
        """The loss of each scenario from column `first` on: the sum of r `fall` + max(r, 0) `rise` over the symbols of
        float64[N, S] `returns`."""
        for s in range(size):
            out[s] = 0.0
        for k in range(len(fall)):
            per_return: float = fall[k]
            per_gain: float = rise[k]
            if per_gain != 0.0:
                for s in range(size):
                    value: float = returns[k, first + s]
                    out[s] += value * per_return + (0.0 if value <= 0.0 else value) * per_gain
            elif per_return != 0.0:
                for s in range(size):
                    out[s] += returns[k, first + s] * per_return

    def add_order(
        self, out: Floats, size: int, returns: FloatRows, k: int, first: int, value: float, buys: bool
    ) -> None:
        """Adds the worst losses of an order of `value` in symbol `k`."""
        if buys:
            for s in range(size):
                out[s] += returns[k, first + s] * -value
        for s in range(size):
            change: float = returns[k, first + s]
            out[s] += (0.0 if change <= 0.0 else change) * value

    def copy(self, out: Floats, row: Floats, size: int) -> None:
        """Set a row to another."""
        for k in range(size):
            out[k] = row[k]

    def clear(self, out: Floats, size: int) -> None:
        """Set a row to zeros."""
        for k in range(size):
            out[k] = 0.0

    def add_scaled(self, out: Floats, base: Floats, adding: Floats, size: int, factor: float) -> None:
        """out = base + adding x factor, by element."""
        for s in range(size):
            out[s] = base[s] + adding[s] * factor

    def factors(self, out: Floats, base: Floats, adding: Floats, size: int, target: float, fall: float) -> None:
        """The largest factor f of each scenario with base + f adding <= target - f fall."""
        for s in range(size):
            room: float = target - base[s]
            growth: float = adding[s] + fall
            if growth > 0.0:
                out[s] = room / growth
            else:
                out[s] = inf if room >= 0.0 else -inf

    def corners(self, out: Sides, matrix: FloatRows, of: Sides, n: int, sided: bool) -> None:
        """M y, M z and W v by side, of the y, z and v of `of`, none negative.

        M has the positive entries of float64[N, N] `matrix` on like sides and the negative ones on unlike sides, W the
        other way round. Without `sided` nothing is short, and its products are 0.
        """
        for j in range(n):
            out.shorts[j] = 0.0
            out.longs[j] = 0.0
            out.less[j] = 0.0
            out.more[j] = 0.0
            out.under[j] = 0.0
            out.over[j] = 0.0
        for k in range(n):
            sold: float = of.shorts[k]
            bought: float = of.longs[k]
            less: float = of.less[k]
            more: float = of.more[k]
            under: float = of.under[k]
            over: float = of.over[k]
            if sold + bought + less + more + under + over == 0.0:
                continue
            for j in range(n):
                value: float = matrix[k, j]
                like: float = 0.0 if value <= 0.0 else value
                unlike: float = like - value
                out.longs[j] += like * bought + unlike * sold
                out.more[j] += like * more + unlike * less
                out.over[j] += unlike * over + like * under
                if sided:
                    out.shorts[j] += like * sold + unlike * bought
                    out.less[j] += like * less + unlike * more
                    out.under[j] += unlike * under + like * over

    def product(self, out: Floats, matrix: FloatRows, values: Floats, size: int) -> None:
        """The product of float64[N, N] `matrix` and float64[N] `values`, by rows of the matrix."""
        for j in range(size):
            out[j] = 0.0
        for k in range(size):
            if values[k] != 0.0:
                for j in range(size):
                    out[j] += matrix[k, j] * values[k]
