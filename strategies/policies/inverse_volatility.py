"""Weights in proportion to the inverse of each instrument's volatility."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.strategies.allocators.estimates import VARIANCE_FLOOR
from quantd.strategies.policies.params import Lookback, Share
from quantd.strategies.policies.record import record
from quantd.strategies.weights.stale_prices import rolling_still, standing_still
from quantd.trading.market import Bools, Floats, Ints
from quantd.trading.statistics import rolling, variances
from quantd.trading.view import BlockView, Memory, View


class InverseVolatilityParams(Struct, frozen=True):
    """Parameters of inverse volatility: `lookback` is the window of the volatility in samples.

    `invested` is the invested fraction of the book; the rest is cash.
    """

    lookback: Lookback = 63
    invested: Share = 1.0


def inverse_deviations(returns: Floats) -> Floats:
    """Return float64[N]: 1 / standard deviation (n - 1) of N instruments' returns float64[k, N].

    The value is 0 for missing or stale data.
    """
    return _inverse_of_moving(variances(returns), standing_still(returns))


def rolling_inverse_deviations(returns: Floats, k: int) -> Floats:
    """Return float64[R - k + 1, N], 1 / standard deviation (n - 1) of each k consecutive rows of float64[R, N]."""
    return _inverse_of_moving(rolling(variances, returns, k), rolling_still(returns, k))


def _inverse_of_moving(variance: Floats, still: Bools) -> Floats:
    """Return 1 / sqrt(variance) of each instrument; 0 for a constant or stale (`still`) price, and for NaN."""
    moves = (variance > VARIANCE_FLOOR) & ~still
    if np.count_nonzero(moves) == moves.size:
        return 1.0 / np.sqrt(variance)
    inverse = np.zeros(variance.shape)
    np.divide(1.0, np.sqrt(variance), out=inverse, where=moves)
    return inverse


@dataclass(frozen=True, slots=True)
class InverseVolatility:
    """Weights by inverse volatility among instruments with `lookback` known returns; all cash while there is none."""

    params: InverseVolatilityParams

    @property
    def lookback(self) -> int:
        """The number of samples of returns in the window of the volatility."""
        return self.params.lookback

    def act(self, view: View, memory: Memory) -> tuple[Floats, Memory]:
        """Implements `Policy.act`: w_i = invested fraction x (1 / s_i) / sum(1 / s_j), with s the standard deviation (n
        - 1) of the last `lookback` returns.
        """
        parts = view.shared(inverse_deviations, self.params.lookback)
        total = np.add.reduce(parts)
        return parts * (self.params.invested / total if total > 0.0 else 0.0), memory

    def act_rows(self, view: BlockView, rows: Ints) -> Floats:
        """Return float64[T, N], the weights that `act` would return at T samples, the `rows` of a block of samples."""
        parts = view.rolling(rolling_inverse_deviations, self.params.lookback, rows)
        totals = np.add.reduce(parts, axis=-1, keepdims=True)
        return parts * np.divide(self.params.invested, totals, out=np.zeros_like(totals), where=totals > 0.0)


RECORDS: Final = (record("inverse_volatility", InverseVolatilityParams, InverseVolatility),)
