"""Time-series momentum, long or flat: hold what has risen, leave the place of the rest in cash."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import numpy as np
from msgspec import Meta, Struct

from quantd.strategies.policies.inverse_volatility import inverse_deviations
from quantd.strategies.policies.params import parse
from quantd.strategies.policies.record import PolicyRecord
from quantd.strategies.weights.stale_prices import standing_still
from quantd.trading.market import Floats
from quantd.trading.view import Memory, View


class MomentumParams(Struct, frozen=True):
    """The signal is the total return over `lookback` samples that ended `skip` samples ago.

    `size`: every instrument has an equal place, or one in proportion to its inverse volatility.
    """

    lookback: Annotated[int, Meta(ge=2, le=5000)] = 126
    skip: Annotated[int, Meta(ge=0, le=2500)] = 0
    size: Literal["equal", "inverse_volatility"] = "equal"


@dataclass(frozen=True, slots=True)
class Momentum:
    """Moskowitz, Ooi and Pedersen (2012), without the short side.

    Each instrument whose window is known and does not stand still (quantd.strategies.weights.stale_prices) has a place
    of its own; it is filled while the past total return is positive and cash otherwise, so the book is out of a market
    that falls as a whole.
    """

    params: MomentumParams

    @property
    def lookback(self) -> int:
        return self.params.lookback + self.params.skip

    def act(self, view: View, memory: Memory) -> tuple[Floats, Memory]:
        recent = view.returns(self.lookback)
        returns = recent[: self.params.lookback]
        growth = np.multiply.reduce(returns + 1.0, axis=0)
        # NaN (no full history) compares false both times: no place and no weight
        places = (growth >= 0.0) * 1.0 if self.params.size == "equal" else inverse_deviations(returns)
        places[standing_still(recent)] = 0.0
        total = places.sum()
        return (places * (growth > 1.0) / total if total > 0.0 else places), memory


def make_momentum(params: Mapping[str, object]) -> Momentum:
    return Momentum(parse("momentum", params, MomentumParams))


RECORDS: Final = (PolicyRecord("momentum", make_momentum, MomentumParams),)
