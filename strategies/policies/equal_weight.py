"""Equal weight: every instrument that has a price gets the same share of the book."""

from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Final

import numpy as np
from msgspec import Struct

from quantd.strategies.policies.params import Share
from quantd.strategies.policies.record import record
from quantd.trading.market import Floats, Ints
from quantd.trading.view import HOLD, BlockView, Hold, Memory, View


class EqualWeightParams(Struct, frozen=True):
    """Parameters of equal weight: `invested` is the invested fraction of the book; the rest is cash."""

    invested: Share = 1.0


@cache
def _equal(size: int, invested: float) -> Floats:
    """Return float64[size] of equal weights, read-only because the cache gives the same array to every caller."""
    weights = np.full(size, invested / size)
    weights.flags.writeable = False
    return weights


def equal_weights(prices: Floats, invested: float = 1.0) -> Floats:
    """Return read-only float64[N]: `invested` / n for each of the n instruments with a price, 0 for others."""
    # a NaN anywhere makes the product NaN: one call instead of a mask on every decision
    square = prices.dot(prices)
    if square == square:  # NaN differs from itself
        return _equal(len(prices), invested)
    priced = np.isfinite(prices)
    return priced * (invested / max(1, int(priced.sum())))


@dataclass(frozen=True, slots=True)
class EqualWeight:
    """Equal weight: 1 / n of the book in each instrument with a price, from the first sample on."""

    params: EqualWeightParams

    lookback: ClassVar[int] = 1

    def act(self, view: View, memory: Memory) -> tuple[Floats, Memory]:
        """Implements `Policy.act`: the invested fraction divided by n, for each of the n instruments with a price."""
        return equal_weights(view.prices, self.params.invested), memory

    def act_rows(self, view: BlockView, rows: Ints) -> Floats:
        """Return float64[T, N], the weights that `act` would return at T samples, the `rows` of a block of samples."""
        priced = np.isfinite(view.prices[rows])
        if priced.all():
            return np.full(priced.shape, self.params.invested / priced.shape[1])
        return priced * (self.params.invested / np.maximum(1, np.add.reduce(priced, axis=-1, keepdims=True)))


class BuyAndHoldParams(Struct, frozen=True):
    """Parameters of buy and hold: there are none."""


@dataclass(frozen=True, slots=True)
class BuyAndHold:
    """Buy and hold: buys equal weights once, and again after the book was emptied."""

    lookback: ClassVar[int] = 1

    def act(self, view: View, memory: Memory) -> tuple[Floats | Hold, Memory]:
        """Implements `Policy.act`: equal weights of the instruments with a price while the book is empty, then HOLD."""
        return (HOLD if view.weights.any() else equal_weights(view.prices)), memory


RECORDS: Final = (
    record("equal_weight", EqualWeightParams, EqualWeight),
    record("buy_and_hold", BuyAndHoldParams, lambda _: BuyAndHold()),
)
