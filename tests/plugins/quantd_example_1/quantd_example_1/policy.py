"""Lowest volatility: the whole book in the one instrument that moved least."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.strategies.policies.params import Lookback
from quantd.strategies.policies.record import record
from quantd.trading.market import Floats
from quantd.trading.view import HOLD, Hold, Memory, View


class LowestVolatilityParams(Struct, frozen=True):
    """Volatility over `lookback` samples."""

    lookback: Lookback = 60


@dataclass(frozen=True, slots=True)
class LowestVolatility:
    params: LowestVolatilityParams

    @property
    def lookback(self) -> int:
        return self.params.lookback

    def act(self, view: View, memory: Memory) -> tuple[Floats | Hold, Memory]:
        deviations = view.deviation(self.lookback)
        known = np.isfinite(deviations)
        if not known.any():
            return HOLD, memory
        weights = np.zeros(len(deviations))
        weights[np.where(known, deviations, np.inf).argmin()] = 1.0
        return weights, memory


RECORD: Final = record("lowest_volatility", LowestVolatilityParams, LowestVolatility)
