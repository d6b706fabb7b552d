"""Time-series momentum, long or flat: holds instruments that have risen; the share of all others is cash."""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

import numpy as np
from msgspec import Meta, Struct

from quantd.strategies.policies.inverse_volatility import inverse_deviations, rolling_inverse_deviations
from quantd.strategies.policies.params import Lookback
from quantd.strategies.policies.record import record
from quantd.strategies.weights.stale_prices import rolling_still, standing_still
from quantd.trading.market import Floats, Ints
from quantd.trading.view import BlockView, Memory, View


class MomentumParams(Struct, frozen=True):
    """Parameters of Momentum: the signal is the total return over `lookback` samples that ended `skip` samples ago.

    `size` gives every instrument an equal part, or a part in proportion to its inverse volatility.
    """

    lookback: Lookback = 126
    skip: Annotated[int, Meta(ge=0, le=2500)] = 0
    size: Literal["equal", "inverse_volatility"] = "equal"


@dataclass(frozen=True, slots=True)
class Momentum:
    """Time-series momentum of Moskowitz, Ooi and Pedersen (2012), without the short side.

    Each instrument with a complete window and no stale price has a part of the book. The part is invested while the
    past total return is positive, and cash otherwise.
    """

    params: MomentumParams

    @property
    def lookback(self) -> int:
        """The number of samples of returns: the window, and the newest ones that it skips."""
        return self.params.lookback + self.params.skip

    def act(self, view: View, memory: Memory) -> tuple[Floats, Memory]:
        """Implements `Policy.act`: part_i / sum(part_j) where the total return over the window is positive, else 0.

        The part of an instrument is 1, or its inverse volatility where the parameter `size` is "inverse_volatility".
        """
        window, skip = self.params.lookback, self.params.skip
        risen = view.momentum(window, skip)
        # NaN (no full history) compares false both times: no part and no weight
        sizes = risen >= -1.0 if self.params.size == "equal" else view.shared(inverse_deviations, window, skip)
        parts = np.where(view.shared(standing_still, self.lookback), 0.0, sizes)
        total = np.add.reduce(parts)
        return (parts * (risen > 0.0) / total if total > 0.0 else parts), memory

    def act_rows(self, view: BlockView, rows: Ints) -> Floats:
        """Return float64[T, N], the weights that `act` would return at T samples, the `rows` of a block of samples."""
        window, skip = self.params.lookback, self.params.skip
        risen = view.momentum(window, rows, skip)
        equal = self.params.size == "equal"
        sizes = risen >= -1.0 if equal else view.rolling(rolling_inverse_deviations, window, rows, skip)
        parts = np.where(view.rolling(rolling_still, self.lookback, rows), 0.0, sizes)
        totals = np.add.reduce(parts, axis=-1, keepdims=True)
        return np.divide(parts * (risen > 0.0), totals, out=parts, where=totals > 0.0)


RECORDS: Final = (record("momentum", MomentumParams, Momentum),)
