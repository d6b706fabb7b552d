"""Loops over scenarios and symbols of a batch, each with its sums in their order."""

from quantd.trading.number_types import FloatRows, Floats


class BatchLoops:
    """The functions; the class has no data. Each checks the lengths for its inner loop, which a build compiles without
    bounds checks. Scenarios are the columns from `first` up to and without `size`."""

    def fits(self, first: int, size: int, room: int) -> None:
        """Raises IndexError for a buffer that does not reach from `first` to `size`."""
        if first < 0 or size < first or size > room:
            raise IndexError(f"elements {first} to {size} in a buffer of {room}")

    def reaches(self, rows: FloatRows, row: int, column: int) -> float:
        """An element of a row. Raises IndexError where it is not there."""
        return rows[row, column]

    def losses(self, out: Floats, first: int, size: int, returns: FloatRows, fall: Floats) -> None:
        """The losses of float64[N, W] `returns`, of which those of each symbol lose `fall` times their fall."""
        self.fits(first, size, len(out))
        if first < size and len(fall) > 0:
            self.reaches(returns, len(fall) - 1, size - 1)
            self._losses(out, first, size, returns, fall)

    def _losses(self, out: Floats, first: int, size: int, returns: FloatRows, fall: Floats) -> None:
        for at in range(first, size):
            out[at] = 0.0
        for k in range(len(fall)):
            factor: float = -fall[k]
            if factor != 0.0:
                for at in range(first, size):
                    out[at] += returns[k, at] * factor

    def total(self, values: Floats, first: int, size: int) -> float:
        """The sum of values."""
        self.fits(first, size, len(values))
        return self._total(values, first, size)

    def _total(self, values: Floats, first: int, size: int) -> float:
        found: float = 0.0
        for at in range(first, size):
            found += values[at]
        return found

    def squares(self, values: Floats, first: int, size: int, mean: float) -> float:
        """The sum of squared distances from `mean`."""
        self.fits(first, size, len(values))
        return self._squares(values, first, size, mean)

    def _squares(self, values: Floats, first: int, size: int, mean: float) -> float:
        found: float = 0.0
        for at in range(first, size):
            found += (values[at] - mean) * (values[at] - mean)
        return found

    def below(self, values: Floats, first: int, size: int, scale: float, edge: float) -> int:
        """The number of values that are below an edge once they are scaled."""
        self.fits(first, size, len(values))
        return self._below(values, first, size, scale, edge)

    def _below(self, values: Floats, first: int, size: int, scale: float, edge: float) -> int:
        found: int = 0
        for at in range(first, size):
            if values[at] * scale < edge:
                found += 1
        return found

    def above(self, values: Floats, first: int, size: int, scale: float, edge: float) -> int:
        """The number of values that are above an edge once they are scaled."""
        self.fits(first, size, len(values))
        return self._above(values, first, size, scale, edge)

    def _above(self, values: Floats, first: int, size: int, scale: float, edge: float) -> int:
        found: int = 0
        for at in range(first, size):
            if values[at] * scale > edge:
                found += 1
        return found

    def moments(self, totals: Floats, squared: Floats, returns: FloatRows, first: int, rows: int, n: int) -> None:
        """The sums of the returns of `n` symbols in the rows from `first` up to and without `rows`, and of their
        squares."""
        self.fits(0, n, len(totals))
        self.fits(0, n, len(squared))
        self.fits(0, first, rows)
        if n > 0 and first < rows:
            self.reaches(returns, rows - 1, n - 1)
            self._moments(totals, squared, returns, first, rows, n)

    def _moments(self, totals: Floats, squared: Floats, returns: FloatRows, first: int, rows: int, n: int) -> None:
        for k in range(n):
            totals[k] = squared[k] = 0.0
        for row in range(first, rows):
            for k in range(n):
                value: float = returns[row, k]
                totals[k] += value
                squared[k] += value * value
