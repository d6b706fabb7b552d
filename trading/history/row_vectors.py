"""The functions of `row_loops` with numpy, for an engine that is not compiled.

The results have the same bits, except in the methods `dot` and `spread`, which add floats in another order.
"""

from math import inf
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from quantd.trading.history import row_loops
from quantd.trading.history.row_loops import ENDLESS, HAIR, RETURN, SQUARE, RowLoops, Sums
from quantd.trading.number_types import FloatRows, Floats

INTERPRETED: Final = str(row_loops.__file__).endswith(".py")


def _ints(buffer: Any) -> NDArray[np.int64]:
    return np.frombuffer(buffer, np.int64)


def _floats(buffer: Any) -> NDArray[np.float64]:
    return np.frombuffer(buffer, np.float64)


def _rows(buffer: Any, n: int) -> NDArray[np.float64]:
    return np.frombuffer(buffer, np.float64).reshape(-1, n)


class RowVectors(RowLoops):
    """The methods of `RowLoops`, with numpy."""

    def returns(self, out: FloatRows, prices: FloatRows, n: int, first: int, last: int) -> None:
        every, rows = _rows(prices, n), _rows(out, n)[first:last]
        np.divide(every[first:last], every[first - 1 : last - 1], out=rows)
        rows -= 1.0

    def add(self, sums: Sums, rows: FloatRows, first: int, last: int, edge: float) -> int:
        return _count(sums, _rows(rows, sums.n)[first:last], edge, 1)

    def remove(self, sums: Sums, rows: FloatRows, first: int, last: int, edge: float) -> int:
        return _count(sums, _rows(rows, sums.n)[first:last], edge, -1)

    def exchange(self, sums: Sums, rows: FloatRows, old: int, new: int, edge: float) -> int:
        """Add row `new` and subtract row `old` at once; a row with a NaN or a return that is too large is left to the
        loop of `RowLoops`.

        Returns the change of the number of complete rows, which is 0 where both rows are complete."""
        # `edge` is the largest square of a return that is summed
        all_rows = _rows(rows, sums.n)
        pair = np.array((all_rows[new], all_rows[old]))
        squares = pair * pair
        if not float(np.add.reduce(squares, axis=None)) <= edge:
            return super().exchange(sums, rows, old, new, edge)
        added, removed = np.rint(pair * RETURN).astype(np.int64)
        returns, sum_of_squares = _ints(sums.returns), _ints(sums.squares)
        returns += added - removed
        added, removed = np.rint(squares * SQUARE).astype(np.int64)
        sum_of_squares += added - removed
        return 0

    def variances(self, out: Floats, sums: Sums, size: int) -> None:
        least = np.maximum(np.abs(_ints(sums.returns)) / RETURN - size * 2.0**-41, 0.0)
        squares = np.maximum(_most(sums, size) - least * least / (size * HAIR), 0.0)
        np.divide(squares, max(size - 1, 1), out=_floats(out))

    def least_variances(self, out: Floats, sums: Sums, size: int) -> None:
        high = np.abs(_ints(sums.returns)) / RETURN + size * 2.0**-41
        low = (_ints(sums.squares) / SQUARE - size * 2.0**-51) / HAIR - high * high * HAIR / size
        np.divide(np.maximum(low, 0.0), max(size - 1, 1), out=_floats(out))

    def means(self, out: Floats, sums: Sums, size: int) -> None:
        means = np.abs(_ints(sums.returns)) / RETURN + size * 2.0**-41
        np.multiply(means, HAIR / size, out=_floats(out))

    def squares(self, out: Floats, sums: Sums, size: int) -> None:
        _floats(out)[:] = _most(sums, size)

    def norms(self, roots: Floats, sums: Sums) -> None:
        norms = _floats(roots)
        norms *= HAIR
        norms[_ints(sums.large) > 0] = ENDLESS

    def spread(self, sums: Sums, size: Floats, rows: int) -> float:
        weights = _floats(size)
        if _ints(sums.large).any():
            return inf
        return float(np.add.reduce(weights)) * float(weights.dot(_most(sums, rows)))

    def dot(self, row: Floats, values: Floats, n: int) -> float:
        return float(_floats(row)[:n].dot(_floats(values)[:n]))


def _count(sums: Sums, rows: NDArray[np.float64], edge: float, sign: int) -> int:
    """Add rows of returns to the sums if `sign` is 1, subtract them if it is -1.

    Returns the number of complete rows among them: rows in which all squares of returns are at most `edge`.
    """
    with np.errstate(over="ignore"):
        squares = rows * rows
    within_edge = squares <= edge  # a return with a larger square is not summed
    returns, sum_of_squares, large = _ints(sums.returns), _ints(sums.squares), _ints(sums.large)
    large += sign * np.add.reduce(squares > edge, axis=0, dtype=np.int64)
    counted, squares = np.where(within_edge, rows, 0.0), np.where(within_edge, squares, 0.0)
    returns += sign * np.add.reduce(np.rint(counted * RETURN).astype(np.int64), axis=0)
    sum_of_squares += sign * np.add.reduce(np.rint(squares * SQUARE).astype(np.int64), axis=0)
    return int(np.count_nonzero(np.logical_and.reduce(within_edge, axis=1)))


def _most(sums: Sums, size: int) -> NDArray[np.float64]:
    """Return float64[N], upper bounds of each instrument's sum of `size` squared returns."""
    bounds: NDArray[np.float64] = (_ints(sums.squares) / SQUARE + size * 2.0**-51) * HAIR
    return bounds


def quickest() -> RowLoops:
    """Return the loops if they are compiled, else the numpy functions, which are then faster than interpreted loops."""
    return RowVectors() if INTERPRETED else RowLoops()
