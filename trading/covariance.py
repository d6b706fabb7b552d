"""Covariance estimators for risk, allocators and research.

Returns float64[S, N] are simple, per sample, oldest first and finite. A covariance float64[N, N] is per sample.
"""

from functools import lru_cache
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantd.trading.market import Bools, Floats

Ints = NDArray[np.int64]

DECAY: Final = 0.94
"""Lambda of exponentially weighted estimates for daily data (RiskMetrics Technical Document, 4th ed., 1996)."""

PER_RETURN: Final = 2.0**40
"""Units of whole-number sums of returns in 1."""

PER_SQUARE: Final = 2.0**50
"""Units of whole-number sums of squares and products of returns in 1."""


@lru_cache(maxsize=64)
def ones(count: int) -> Floats:
    """Return float64[count] of ones for column sums. The array is shared and read-only."""
    found = np.ones(count)
    found.flags.writeable = False
    return found


def covariance(returns: Floats, sums: Floats | None = None) -> Floats:
    """Return the sample covariance float64[N, N] (divisor S - 1). `sums` float64[N] are column sums, when already
    known."""
    if sums is None:
        sums = ones(len(returns)).dot(returns)
    centred = returns - sums / len(returns)
    return centred.T.dot(centred) / max(len(returns) - 1, 1)


def ledoit_wolf(returns: Floats, cov: Floats | None = None) -> Floats:
    """Return the Ledoit-Wolf covariance float64[N, N], shrunk towards equal variances without correlation.

    The shrinkage intensity minimises the expected squared error. The divisor is S, as in the source, not S - 1. `cov`
    is the sample's `covariance`, when already known. Source: O. Ledoit and M. Wolf, A well-conditioned estimator for
    large-dimensional covariance matrices (2004).
    """
    rows, size = returns.shape
    centred = returns - ones(rows).dot(returns) / rows
    found = centred.T.dot(centred) / rows if cov is None else cov * ((rows - 1) / rows)
    mean = float(found.trace()) / size
    flat = found.ravel("K")  # a view, by rows or by columns
    norm = float(flat.dot(flat))
    # Squared Frobenius distances to the target, divided by N: of the sample covariance, and the part that is noise.
    apart = norm / size - mean * mean
    squares = np.einsum("ij,ij->i", centred, centred)
    noise = (float(squares.dot(squares)) / rows - norm) / (rows * size)
    # At intensity 1, the estimate equals the target.
    intensity = min(max(noise, 0.0) / apart, 1.0) if apart > 0.0 else 0.0
    found *= 1.0 - intensity
    flat[:: size + 1] += intensity * mean
    return found


@lru_cache(maxsize=64)
def decay_weights(rows: int, decay: float) -> Floats:
    """Return float64[S] weights that decay geometrically into the past and add up to 1, oldest first, read-only."""
    found = decay ** np.arange(rows - 1, -1, -1.0)
    found /= found.sum()
    found.flags.writeable = False
    return found


def ewma_covariance(returns: Floats, decay: float = DECAY) -> Floats:
    """Return the exponentially weighted covariance float64[N, N] per sample with zero mean; row weights add up to 1.
    Source: J.P. Morgan/Reuters, RiskMetrics Technical Document, 4th ed. (1996), chapter 5."""
    scaled = returns * np.sqrt(decay_weights(len(returns), decay))[:, None]
    return scaled.T.dot(scaled)


def _terms(rows: Floats, most: float) -> Ints:
    """Return int64[k, 4N] of float64[k, N]: returns and squares in their units, then 1 for a missing or large one."""
    size = rows.shape[1]
    found = np.empty((len(rows), 4 * size))
    summed = np.abs(rows) <= most
    if np.count_nonzero(summed) == summed.size:
        found[:, 2 * size :] = 0.0
    else:
        found[:, 2 * size : 3 * size] = gaps = np.isnan(rows)
        found[:, 3 * size :] = ~(summed | gaps)
        rows = np.where(summed, rows, 0.0)
    np.multiply(rows, PER_RETURN, out=found[:, :size])
    np.multiply(rows, rows, out=found[:, size : 2 * size])
    found[:, size : 2 * size] *= PER_SQUARE
    return np.rint(found, out=found).astype(np.int64)


class Moments:
    """Running sums of the newest k returns of each symbol, as whole numbers.

    What is added is taken off to the last bit, so the sums do not drift and do not depend on the order. Each term is
    rounded to half a unit: 2^-41 of a return, 2^-51 of a square or product. A missing return, and one above
    `most`, whose square could exceed 64 bits in a sum of k, count as 0 and are counted in `missing` and `large`.
    """

    def __init__(self, k: int, size: int) -> None:
        self.k: Final = k
        self.most: Final = min(64.0, sqrt(2.0**12 / k))
        """Largest absolute return that is summed."""
        self._table: Ints = np.zeros(4 * size, dtype=np.int64)
        self.sums, self.squares, self.missing, self.large = self._table.reshape(4, size)
        self._products: Ints | None = None
        self._at = self._products_at = -1
        self._rows: Floats = np.empty((0, size))

    def update(self, rows: Floats, count: int) -> None:
        """Move to the newest k of `rows` float64[any, N], oldest first, the last of `count` rows ever appended."""
        self._rows = rows
        new = count - self._at
        if not new:
            return
        first = self._left(self._at, count)
        self._at = count
        if first is None:
            window = rows[-self.k :]
            self._table[:] = 0
            self.missing += self.k - len(window)
            self._add(window, 1)
        else:
            self._add(rows[-new:], 1)
            self._add(rows[first : first + new], -1)

    def _left(self, at: int, count: int) -> int | None:
        """The first row of the window at an earlier count; None where a sum from scratch is needed or cheaper."""
        new = count - at
        first = len(self._rows) - self.k - new
        return None if at < 0 or first < 0 or 2 * new > self.k else first

    def _add(self, rows: Floats, sign: int) -> None:
        self._table += sign * np.add.reduce(_terms(rows, self.most), axis=0)

    @property
    def complete(self) -> Bools:
        """bool[N]: symbols of which every return of the window is in the sums."""
        return np.bitwise_or(self.missing, self.large) == 0

    @property
    def known(self) -> bool:
        """Whether that holds for every symbol."""
        return not np.count_nonzero(self._table[2 * len(self.sums) :])

    def mean(self) -> Floats:
        """Return float64[N] means per sample; NaN where the sums are not complete."""
        return np.where(self.complete, self.sums / (PER_RETURN * self.k), np.nan)

    def deviation(self) -> Floats:
        """Return float64[N] standard deviations per sample (divisor k - 1); NaN where the sums are not complete."""
        sums = self.sums / PER_RETURN
        spread = self.squares / PER_SQUARE - sums * sums / self.k
        # rounding can leave a little below zero where nothing moves
        found = np.sqrt(np.maximum(spread, 0.0) / max(self.k - 1, 1))
        return found if self.known else np.where(self.complete, found, np.nan)

    def products(self) -> Ints:
        """Return int64[N, N], the sums of products in units of 2^-50. They are updated when asked for."""
        if self._products is None:
            self._products = np.zeros((len(self.sums),) * 2, dtype=np.int64)
        new, rows = self._at - self._products_at, self._rows
        if new:
            first = self._left(self._products_at, self._at)
            self._products_at = self._at
            if first is None:
                self._products[:] = 0
                self._add_products(rows[-self.k :], 1)
            else:
                self._add_products(rows[-new:], 1)
                self._add_products(rows[first : first + new], -1)
        return self._products

    def _add_products(self, rows: Floats, sign: int) -> None:
        assert self._products is not None
        for row in np.where(np.abs(rows) <= self.most, rows, 0.0):
            self._products += sign * np.rint(np.multiply.outer(row, row) * PER_SQUARE).astype(np.int64)

    def covariance(self) -> Floats:
        """Return float64[N, N], the sample covariance (divisor k - 1); NaN where the sums are not complete."""
        sums = self.sums / PER_RETURN
        spread = self.products() / PER_SQUARE - np.multiply.outer(sums, sums) / self.k
        spread /= max(self.k - 1, 1)
        lacks = ~self.complete
        spread[lacks] = spread[:, lacks] = np.nan
        return spread
