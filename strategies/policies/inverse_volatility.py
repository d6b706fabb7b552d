"""Inverse volatility: each instrument in proportion to one over its own volatility."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
from msgspec import Meta, Struct

from quantd.strategies.policies.params import parse
from quantd.strategies.policies.record import PolicyRecord
from quantd.strategies.weights.stale_prices import standing_still
from quantd.trading.market import Floats
from quantd.trading.view import Memory, View

VARIANCE_FLOOR = 1e-18
"""Below this variance a sample a price has not moved: what cannot be measured is not bought."""


class InverseVolatilityParams(Struct, frozen=True):
    """`lookback` samples of returns; `invested` is the fraction of the book that is spread."""

    lookback: Annotated[int, Meta(ge=2, le=5000)] = 63
    invested: Annotated[float, Meta(ge=0.0, le=1.0)] = 1.0


def inverse_deviations(returns: Floats) -> Floats:
    """float64[N], 1 / standard deviation (n - 1) of each column of float64[k, N].

    0 where a return is missing or the price stands still (quantd.strategies.weights.stale_prices): no measure, no
    weight.
    """
    k = len(returns)
    centred = returns - returns.sum(axis=0) / k
    variance = np.einsum("ij,ij->j", centred, centred) / (k - 1)
    out = np.zeros(len(variance))
    np.divide(1.0, np.sqrt(variance), out=out, where=(variance > VARIANCE_FLOOR) & ~standing_still(returns))
    return out


@dataclass(frozen=True, slots=True)
class InverseVolatility:
    """An instrument takes part once all its `lookback` returns are known; until one does, all is cash."""

    params: InverseVolatilityParams

    @property
    def lookback(self) -> int:
        return self.params.lookback

    def act(self, view: View, memory: Memory) -> tuple[Floats, Memory]:
        weights = inverse_deviations(view.returns(self.params.lookback))
        total = weights.sum()
        if total > 0.0:
            weights *= self.params.invested / total
        return weights, memory


def make_inverse_volatility(params: Mapping[str, object]) -> InverseVolatility:
    return InverseVolatility(parse("inverse_volatility", params, InverseVolatilityParams))


RECORDS: Final = (PolicyRecord("inverse_volatility", make_inverse_volatility, InverseVolatilityParams),)
