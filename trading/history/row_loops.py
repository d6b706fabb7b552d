"""Loops over rows of prices and of returns, for `quantd.trading.history.rings`.

What can go wrong: results that differ between a compiled and an interpreted engine, and an index beyond a buffer.
A build compiles the inner loops without bounds checks. Each public function therefore checks the lengths first, and its
inner loop (the private function of that name) has no other caller.
"""

from math import inf
from typing import Any, Final

import numpy as np

from quantd.trading.number_types import FloatRows, Floats, Ints, int_zeros

RETURN: Final = 2.0**40
"""A return is counted as an integer in units of 1 / RETURN, rounded: its error is at most 2^-41."""
SQUARE: Final = 2.0**50
"""The square of a return is counted in units of 1 / SQUARE: its error is at most 2^-51."""
ROOM: Final = 2.0**12
"""The sum of squares of a window stays below ROOM, so that the integers fit 63 bits."""
HAIR: Final = 1.0 + 1e-14
"""Factor on a bound that covers the rounding of its floats."""
ENDLESS: Final = 1e300
"""Stands for the norm of an instrument with a return that is too large. Not infinity, because 0 x ENDLESS must be 0."""

_ONE_RETURN: Final = 2.0**-40
_HALF_RETURN: Final = 2.0**-41
_ONE_SQUARE: Final = 2.0**-50
_HALF_SQUARE: Final = 2.0**-51

_BESIDE: Final = 6755399441055744.0
_BESIDE_BITS: Final = 4843621399236968448
"""1.5 x 2^52 and its bits, to round a float x: the bits of (x + _BESIDE) less _BESIDE_BITS are the integer nearest to
x, ties to even, for |x| < 2^51. No conversion of C rounds in this way."""
_ABOVE: Final = 4503599627370496.0
_ABOVE_BITS: Final = 4841369599423283200
"""2^52 and its bits, to round x from 0 to 2^52 in the same way. From 2^52 on every float is an integer."""


class Sums:
    """Integer sums for `n` instruments: of returns in units of 1 / RETURN, and of squared returns in units of 1 /
    SQUARE.

    `large` is, for each instrument, the number of returns that are too large to be summed.
    """

    n: int
    returns: Ints
    squares: Ints
    large: Ints
    number: Floats
    bits: Ints
    """Scratch to round a float: `bits` is the same memory as `number`, read as an integer."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.returns, self.squares, self.large = int_zeros(n), int_zeros(n), int_zeros(n)
        memory: Any = np.zeros(1)
        self.number, self.bits = memory.data, memory.view(np.int64).data


class RowLoops:
    """The loops over rows of prices and returns, as methods of a class without data.

    Each method checks the lengths for its inner loop, which a build compiles without bounds checks.
    """

    def fits(self, size: int, room: int) -> None:
        """Raise IndexError if a buffer of `room` elements is too small for `size` elements."""
        if size > room:
            raise IndexError(f"{size} elements do not fit into a buffer of {room}")

    def reaches(self, rows: FloatRows, first: int, last: int, size: int) -> float:
        """Read element `size` - 1 of row `last` - 1, so that IndexError is raised if the buffer lacks these rows."""
        self.fits(0, first)
        return rows[last - 1, size - 1]

    def returns(self, out: FloatRows, prices: FloatRows, n: int, first: int, last: int) -> None:
        """Write the returns of rows [first, last) of `n` prices, without splits and dividends, which the caller adds.

        A previous price of 0 gives infinity or NaN, as an IEEE 754 division does."""
        if n > 0 and first < last:
            self.reaches(prices, first - 1, last, n)
            self.reaches(out, first, last, n)
            for row in range(first, last):
                self._returns(out, prices, n, row)

    def _returns(self, out: FloatRows, prices: FloatRows, n: int, row: int) -> None:
        for k in range(n):
            before: float = prices[row - 1, k]
            if before != 0.0:
                out[row, k] = prices[row, k] / before - 1.0
            else:
                out[row, k] = prices[row, k] * inf - 1.0

    def add(self, sums: Sums, rows: FloatRows, first: int, last: int, edge: float) -> int:
        """Add rows [first, last) of returns to the sums, and return the number of complete rows among them.

        A row is complete if the squares of all its returns are at most `edge`.
        """
        return self.count_rows(sums, rows, first, last, edge, True)

    def remove(self, sums: Sums, rows: FloatRows, first: int, last: int, edge: float) -> int:
        """Subtract rows [first, last) of returns from the sums, and return the number of complete rows among them.

        A row is complete if the squares of all its returns are at most `edge`.
        """
        return self.count_rows(sums, rows, first, last, edge, False)

    def exchange(self, sums: Sums, rows: FloatRows, old: int, new: int, edge: float) -> int:
        """Add row `new` to the sums and subtract row `old`, as usual at a sample.

        Returns the change of the number of complete rows: those in which all squares of returns are at most `edge`.
        """
        came: int = self.add(sums, rows, new, new + 1, edge)
        return came - self.remove(sums, rows, old, old + 1, edge)

    def count_rows(self, sums: Sums, rows: FloatRows, first: int, last: int, edge: float, comes: bool) -> int:
        """Add rows [first, last) of returns to the sums if `comes`, else subtract these rows.

        Returns the number of complete rows among them: rows in which all squares of returns are at most `edge`.
        """
        n: int = sums.n
        complete_rows: int = 0
        if n > 0 and first < last:
            # raises IndexError for a buffer that is too small; the compiled loop checks no bounds
            self.reaches(rows, first, last, n)
            self.fits(n, len(sums.returns))
            self.fits(n, len(sums.squares))
            self.fits(n, len(sums.large))
            self.fits(1, len(sums.number))
            self.fits(1, len(sums.bits))
            for row in range(first, last):
                if self._count(sums, rows, row, edge, comes):
                    complete_rows += 1
        return complete_rows

    def _count(self, sums: Sums, rows: FloatRows, row: int, edge: float, comes: bool) -> bool:
        """Add row `row` of returns to the sums if `comes`, else subtract this row.

        Returns True for a complete row, in which the squares of all returns are at most `edge`.

        Returns are counted in units of 1 / RETURN, squares in units of 1 / SQUARE, both rounded to integers by the bits
        of a float. A return whose square is larger than `edge` is counted in `sums.large` instead; NaN is not counted.
        """
        returns: Ints = sums.returns
        squares: Ints = sums.squares
        number: Floats = sums.number
        bits: Ints = sums.bits
        complete: bool = True
        for k in range(sums.n):
            value: float = rows[row, k]
            square: float = value * value
            if square <= edge:
                # `bits` is the memory of `number` as an integer: adding the constant rounds to the nearest integer
                number[0] = value * RETURN + _BESIDE
                return_units: int = bits[0] - _BESIDE_BITS
                square_units: int = 0
                square *= SQUARE
                if square < _ABOVE:
                    number[0] = square + _ABOVE
                    square_units = bits[0] - _ABOVE_BITS
                else:
                    square_units = int(square)
                if comes:
                    returns[k] += return_units
                    squares[k] += square_units
                else:
                    returns[k] -= return_units
                    squares[k] -= square_units
            else:
                complete = False
                if square > edge:
                    sums.large[k] += 1 if comes else -1
        return complete

    def squares(self, out: Floats, sums: Sums, size: int) -> None:
        """Write to `out` an upper bound, for each instrument, of the sum of `size` squared returns.

        Callers take the square roots with numpy: `math.sqrt` would be a Python call in compiled code.
        """
        self.fits(sums.n, len(out))
        self.fits(sums.n, len(sums.squares))
        self._squares(out, sums.squares, sums.n, float(size) * _HALF_SQUARE)

    def _squares(self, out: Floats, squares: Ints, n: int, extra: float) -> None:
        for k in range(n):
            out[k] = (float(squares[k]) * _ONE_SQUARE + extra) * HAIR

    def variances(self, out: Floats, sums: Sums, size: int) -> None:
        """Write to `out` an upper bound, for each instrument, of the sample variance of S = `size` returns.

        The divisor of the variance is S - 1.
        """
        self.squares(out, sums, size)
        self.fits(sums.n, len(sums.returns))
        divisor: float = float(size - 1 if size > 1 else 1)
        self._variances(out, sums.returns, sums.n, float(size) * _HALF_RETURN, float(size) * HAIR, divisor)

    def _variances(self, out: Floats, returns: Ints, n: int, less: float, size: float, divisor: float) -> None:
        for k in range(n):
            least: float = abs(float(returns[k])) * _ONE_RETURN - less
            if least < 0.0:
                least = 0.0
            squares: float = out[k] - least * least / size
            out[k] = (squares if squares > 0.0 else 0.0) / divisor

    def least_variances(self, out: Floats, sums: Sums, size: int) -> None:
        """Write to `out` a lower bound, for each instrument, of the sample variance of S = `size` returns.

        The divisor of the variance is S - 1.
        """
        self.fits(sums.n, len(out))
        self.fits(sums.n, len(sums.returns))
        self.fits(sums.n, len(sums.squares))
        divisor: float = float(size - 1 if size > 1 else 1)
        self._least_variances(out, sums.returns, sums.squares, sums.n, float(size), divisor)

    def _least_variances(self, out: Floats, returns: Ints, squares: Ints, n: int, size: float, divisor: float) -> None:
        for k in range(n):
            high: float = abs(float(returns[k])) * _ONE_RETURN + size * _HALF_RETURN
            low: float = (float(squares[k]) * _ONE_SQUARE - size * _HALF_SQUARE) / HAIR - high * high * HAIR / size
            out[k] = (low if low > 0.0 else 0.0) / divisor

    def means(self, out: Floats, sums: Sums, size: int) -> None:
        """Write to `out` an upper bound, for each instrument, of the absolute mean of `size` returns."""
        self.fits(sums.n, len(out))
        self.fits(sums.n, len(sums.returns))
        self._means(out, sums.returns, sums.n, float(size) * _HALF_RETURN, HAIR / float(size))

    def _means(self, out: Floats, returns: Ints, n: int, extra: float, share: float) -> None:
        for k in range(n):
            out[k] = (abs(float(returns[k])) * _ONE_RETURN + extra) * share

    def norms(self, roots: Floats, sums: Sums) -> None:
        """Change `roots` into upper bounds of the Euclidean norm of each instrument's returns, in place.

        `roots` are the square roots of bounds of the sums of squared returns. A bound is ENDLESS (1e300) for an
        instrument with a return that is too large to count.
        """
        self.fits(sums.n, len(roots))
        self.fits(sums.n, len(sums.large))
        self._norms(roots, sums.large, sums.n)

    def _norms(self, roots: Floats, large: Ints, n: int) -> None:
        for k in range(n):
            roots[k] = ENDLESS if large[k] > 0 else roots[k] * HAIR

    def spread(self, sums: Sums, size: Floats, rows: int) -> float:
        """Return (sum of the weights) x (sum of weight x upper bound of the instrument's sum of squared returns).

        The result is an upper bound of the squared norm of a book's returns over `rows` samples. `size` are the book's
        absolute weights. The result is infinite if a return of any instrument is too large to count.
        """
        self.fits(sums.n, len(size))
        self.fits(sums.n, len(sums.squares))
        self.fits(sums.n, len(sums.large))
        return self._spread(sums.squares, sums.large, size, sums.n, float(rows) * _HALF_SQUARE)

    def _spread(self, squares: Ints, large: Ints, size: Floats, n: int, extra: float) -> float:
        gross: float = 0.0
        total: float = 0.0
        endless: bool = False
        for k in range(n):
            gross += size[k]
            total += size[k] * (float(squares[k]) * _ONE_SQUARE + extra) * HAIR
            endless = endless or large[k] > 0
        return inf if endless else gross * total

    def dot(self, row: Floats, values: Floats, n: int) -> float:
        """Return the sum of the products of the first `n` elements."""
        self.fits(n, len(row))
        self.fits(n, len(values))
        return self._dot(row, values, n)

    def _dot(self, row: Floats, values: Floats, n: int) -> float:
        """Return the scalar product of the first `n` elements, by four partial sums that a processor adds at once."""
        first_sum: float = 0.0
        second_sum: float = 0.0
        third_sum: float = 0.0
        fourth_sum: float = 0.0
        for k in range(0, n - 3, 4):
            first_sum += row[k] * values[k]
            second_sum += row[k + 1] * values[k + 1]
            third_sum += row[k + 2] * values[k + 2]
            fourth_sum += row[k + 3] * values[k + 3]
        for k in range(n - n % 4, n):
            first_sum += row[k] * values[k]
        return (first_sum + second_sum) + (third_sum + fourth_sum)
