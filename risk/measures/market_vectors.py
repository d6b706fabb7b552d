"""The functions of `market_loops` with numpy, for an installation that is not compiled.

The results have the same bits, because sums have the same order.
"""

from typing import Any

import numpy as np

from quantd.risk.measures import market_loops
from quantd.risk.measures.market_loops import MarketLoops, Quotes
from quantd.risk.measures.portfolio import least, total
from quantd.trading.number_types import FloatRows, Floats, ReadFloats, ReadInts, ReadRows


class MarketVectors(MarketLoops):
    """`MarketLoops` with numpy: each method gives the same result."""

    def read(self, px: ReadFloats, nano: ReadInts, age: ReadInts, volume: ReadFloats) -> Quotes:
        prices, lots, ages, quotes = np.asarray(px), np.asarray(volume), np.asarray(age), Quotes()
        quotes.lowest_nano = int(np.minimum.reduce(nano))
        # the sum is finite only if all numbers are
        quotes.priced = bool(np.isfinite(total(prices))) and least(prices) > 0.0 and quotes.lowest_nano > 0
        quotes.oldest_ns, quotes.youngest_ns = int(np.maximum.reduce(ages)), int(np.minimum.reduce(ages))
        quotes.volumes_known = bool(np.isfinite(total(lots))) and least(lots) >= 0.0
        return quotes

    def moments(self, deviation: Floats, size: Floats, returns: ReadRows, rows: int) -> bool:
        """Write the standard deviation of each symbol (divisor `rows` - 1) into `deviation`, and into `size` the
        absolute mean with a margin for rounding. Returns False, with nothing written, if a return is not finite."""
        table, spread, mean = np.asarray(returns), np.asarray(deviation), np.asarray(size)
        sums = _column_sums(table)
        if not np.isfinite(total(sums)):
            return False
        squares = _column_sums(table * table)
        squares -= sums * sums / rows
        # rounding can make the variance of a constant slightly negative
        np.sqrt(np.maximum(squares, 0.0) / max(rows - 1, 1), out=spread)
        np.multiply(np.abs(sums), (1.0 + 1e-9) / rows, out=mean)
        return True

    def transpose(self, out: FloatRows, returns: ReadRows, rows: int, n: int) -> None:
        np.asarray(out)[:] = np.asarray(returns).T


def _column_sums(rows: Any) -> Any:
    """Return the sums of the columns of float64[S, N], each added row by row."""
    # numpy adds a single column in pairs: `accumulate` adds it in order
    return np.add.reduce(rows, axis=0) if rows.shape[1] > 1 else np.add.accumulate(rows, axis=0)[-1]


def quickest() -> MarketLoops:
    """Return the loops if they are compiled, else the numpy version."""
    return MarketVectors() if str(market_loops.__file__).endswith(".py") else MarketLoops()
