"""Loops over the market of one sample: its quotes, and rows of returns."""

from math import inf, sqrt

from quantd.trading.number_types import FloatRows, Floats, ReadFloats, ReadInts, ReadRows

BLOCK = 8
"""Number of rows that are transposed together: eight floats fill a line of a processor's cache."""


class Quotes:
    """A summary of the quotes of all symbols: extremes, and whether all are known."""

    priced: bool
    """Whether every price is finite and positive."""
    lowest_nano: int
    oldest_ns: int
    youngest_ns: int
    volumes_known: bool
    """Whether every average volume is finite and not negative."""


class MarketLoops:
    """Loops over the market of one sample, as methods of a class without data. Each method checks the lengths of its
    arrays, because a build compiles the inner loops without bounds checks."""

    def read(self, px: ReadFloats, nano: ReadInts, age: ReadInts, volume: ReadFloats) -> Quotes:
        """Summarise prices per lot, prices in nano-currency, their ages and average volumes. Raises IndexError
        without a symbol."""
        quotes: Quotes = Quotes()
        quotes.priced = quotes.volumes_known = True
        quotes.lowest_nano = nano[0]
        quotes.oldest_ns = quotes.youngest_ns = age[0]
        for k in range(len(px)):
            if not (0.0 < px[k] < inf and nano[k] > 0):
                quotes.priced = False
            if nano[k] < quotes.lowest_nano:
                quotes.lowest_nano = nano[k]
            if age[k] > quotes.oldest_ns:
                quotes.oldest_ns = age[k]
            if age[k] < quotes.youngest_ns:
                quotes.youngest_ns = age[k]
            if not 0.0 <= volume[k] < inf:
                quotes.volumes_known = False
        return quotes

    def spans(self, rows: int, n: int, returns: ReadRows) -> float:
        """Check that `returns` has `rows` x `n` elements by reading the last one, which is returned. Raises
        IndexError if there are fewer."""
        return returns[rows - 1, n - 1]

    def moments(self, deviation: Floats, size: Floats, returns: ReadRows, rows: int) -> bool:
        """Write each symbol's standard deviation (divisor `rows` - 1) into `deviation`, and into `size` its absolute
        mean with a margin for rounding. Returns whether all returns are finite.
        """
        n: int = len(deviation)
        self.spans(rows, n, returns)  # raises IndexError where `returns` has fewer elements
        for k in range(n):
            deviation[k] = size[k] = 0.0
        # at first `size` has the sums of the returns, and `deviation` those of their squares
        self._add_rows(size, deviation, returns, rows, n)
        finite: bool = True
        count: float = float(rows)
        degrees: float = float(rows - 1 if rows > 1 else 1)
        per_row: float = (1.0 + 1e-9) / count
        for k in range(n):
            total: float = size[k]
            # true of NaN and infinity only
            if total - total != 0.0:
                finite = False
            squares: float = deviation[k] - total * total / count
            # rounding can make the variance of a constant slightly negative
            deviation[k] = sqrt((0.0 if squares <= 0.0 else squares) / degrees)
            size[k] = (-total if total < 0.0 else total) * per_row
        return finite

    def _add_rows(self, sums: Floats, squares: Floats, returns: ReadRows, rows: int, n: int) -> None:
        """Add each symbol's returns to `sums` and their squares to `squares`, in order of rows.

        Four rows are added at a time, so that the sums are read and written once for these rows.
        """
        row: int = 0
        while row < rows - 3:
            second: int = row + 1
            third: int = row + 2
            fourth: int = row + 3
            for k in range(n):
                first_return: float = returns[row, k]
                second_return: float = returns[second, k]
                third_return: float = returns[third, k]
                fourth_return: float = returns[fourth, k]
                sums[k] = sums[k] + first_return + second_return + third_return + fourth_return
                squares[k] = (
                    squares[k]
                    + first_return * first_return
                    + second_return * second_return
                    + third_return * third_return
                    + fourth_return * fourth_return
                )
            row += 4
        while row < rows:
            for k in range(n):
                value: float = returns[row, k]
                sums[k] += value
                squares[k] += value * value
            row += 1

    def transpose(self, out: FloatRows, returns: ReadRows, rows: int, n: int) -> None:
        """Write returns float64[rows, n] transposed, as float64[n, rows]."""
        self.spans(rows, n, returns)
        self.spans(n, rows, out)
        self._transpose(out, returns, rows, n)

    def _transpose(self, out: FloatRows, returns: ReadRows, rows: int, n: int) -> None:
        """Transpose BLOCK rows at a time, so that each line of the processor's cache is filled once."""
        start: int = 0
        while start < rows:
            end: int = start + BLOCK if start + BLOCK < rows else rows
            for k in range(n):
                for row in range(start, end):
                    out[k, row] = returns[row, k]
            start = end
