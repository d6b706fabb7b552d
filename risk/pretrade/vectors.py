"""The functions of `loops` with numpy, for a gate that is not compiled.

The results have the same bits, because sums have the same order.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantd.risk.pretrade import loops
from quantd.risk.pretrade.loops import Loops, Sides
from quantd.risk.pretrade.standing import Basket
from quantd.trading.number_types import Codes, FloatRows, Floats, ReadCodes, ReadFloats

INF = np.inf

BLOCK = 32
"""Symbols whose losses are computed together: few enough for the processor's cache."""


def _row(buffer: Any, size: int) -> NDArray[np.float64]:
    """Return an array on the memory of the first `size` elements of a buffer."""
    return np.frombuffer(buffer, np.float64, size)


class Vectors(Loops):
    """`Loops` with numpy: each method gives the same result."""

    def begin(self, basket: Basket, asked: ReadFloats, lots: ReadFloats, reason: ReadCodes) -> None:
        _row(basket.wish, basket.n)[:], _row(basket.lots, basket.n)[:] = asked, lots
        _row(basket.up, basket.n)[:] = _row(basket.down, basket.n)[:] = 0.0
        np.asarray(basket.reason)[:] = reason

    def finish(self, basket: Basket, out: Floats, reason: Codes) -> None:
        basket.passed(out)
        np.asarray(reason)[:] = basket.reason

    def sum_above(self, row: Floats, size: int, edge: float) -> float:
        beyond = _row(row, size) - edge
        return float(np.cumsum(np.where(beyond <= 0.0, 0.0, beyond))[-1])

    def count_above(self, row: Floats, size: int, bound: float) -> int:
        return size - int(np.count_nonzero(_row(row, size) <= bound))

    def dot(self, row: Floats, values: Floats, size: int) -> float:
        return float(np.cumsum(np.multiply(_row(row, size), _row(values, size)))[-1])

    def nth(self, row: Floats, spare: Floats, size: int, rank: int) -> float:
        values = _row(row, size).copy()
        values.partition(rank)
        return float(values[rank])

    def sum_worst(self, values: Floats, losses: Floats, size: int, edge: float, m: int) -> float:
        lost = _row(losses, size)
        worst = lost > edge
        worst[(lost == edge).nonzero()[0][: m - int(np.count_nonzero(worst))]] = True
        return 0.0 + float(np.cumsum(_row(values, size)[worst])[-1])

    def losses(self, out: Floats, size: int, returns: FloatRows, fall: Floats, rise: Floats) -> None:
        """Write the loss in each of `size` scenarios: the sum over symbols of `fall` x return + `rise` x the positive
        part of the return.

        The result equals `Loops.losses` to the bit, because symbols are added in the same order.
        """
        table, sums, n = np.asarray(returns), _row(out, size), len(returns)
        falls, rises = _row(fall, n)[:, None], _row(rise, n)[:, None]
        for start in range(0, n, BLOCK):
            rows = table[start : start + BLOCK, :size]
            # the sum so far is the first to be added
            before = 1 if start else 0
            terms = np.empty((len(rows) + before, size))
            terms[:before] = sums
            np.multiply(rows, falls[start : start + BLOCK], out=terms[before:])
            terms[before:] += np.maximum(rows, 0.0) * rises[start : start + BLOCK]
            # numpy adds a single column in pairs: `accumulate` adds it in order
            sums[:] = np.add.reduce(terms, axis=0) if size > 1 else np.add.accumulate(terms, axis=0)[-1]

    def add_order(self, out: Floats, size: int, returns: FloatRows, k: int, value: float, buys: bool) -> None:
        losses, row = _row(out, size), np.asarray(returns)[k, :size]
        if buys:
            losses += row * -value
        losses += np.maximum(row, 0.0) * value

    def copy(self, out: Floats, row: Floats, size: int) -> None:
        _row(out, size)[:] = _row(row, size)

    def clear(self, out: Floats, size: int) -> None:
        _row(out, size)[:] = 0.0

    def add_scaled(self, out: Floats, base: Floats, adding: Floats, size: int, factor: float) -> None:
        np.add(_row(base, size), _row(adding, size) * factor, out=_row(out, size))

    def factors(self, out: Floats, base: Floats, adding: Floats, size: int, target: float, fall: float) -> None:
        room, growth, factors = target - _row(base, size), _row(adding, size) + fall, _row(out, size)
        factors[:] = np.where(room >= 0.0, INF, -INF)
        np.divide(room, growth, out=factors, where=growth > 0.0)

    def corners(self, out: Sides, matrix: FloatRows, of: Sides, n: int, sided: bool) -> None:
        """Write into `out`, by side (long or short), the products of a matrix with the sizes in `of`, from which a
        bound on a quadratic form is computed.

        Equal sides use the positive entries of `matrix`, opposite sides its negative entries with the sign reversed.
        For the smallest sizes, `under` and `over`, the two are exchanged. Rows are added in order.
        """
        # without `sided` nothing is short, and the products of the short side are 0
        entries = np.asarray(matrix)
        like = np.maximum(entries, 0.0)
        unlike = like - entries
        for short_products, long_products, short_sizes, long_sizes, same_side, opposite_side in (
            (out.shorts, out.longs, of.shorts, of.longs, like, unlike),
            (out.less, out.more, of.less, of.more, like, unlike),
            (out.under, out.over, of.under, of.over, unlike, like),
        ):
            below, above = _row(short_sizes, n)[:, None], _row(long_sizes, n)[:, None]
            _row(long_products, n)[:] = np.add.accumulate(same_side * above + opposite_side * below, axis=0)[-1]
            _row(short_products, n)[:] = (
                np.add.accumulate(same_side * below + opposite_side * above, axis=0)[-1] if sided else 0.0
            )

    def product(self, out: Floats, matrix: FloatRows, values: Floats, size: int) -> None:
        scaled = np.asarray(matrix) * _row(values, size)[:, None]
        _row(out, size)[:] = np.add.accumulate(scaled, axis=0)[-1]


def quickest() -> Loops:
    """Return the loops if they are compiled, else the numpy version."""
    return Vectors() if str(loops.__file__).endswith(".py") else Loops()
