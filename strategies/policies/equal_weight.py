"""Equal weight: every instrument that has a price gets the same share of the book."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Final

import numpy as np
from msgspec import Meta, Struct

from quantd.strategies.policies.params import parse
from quantd.strategies.policies.record import PolicyRecord
from quantd.trading.market import Floats
from quantd.trading.view import Memory, View


class EqualWeightParams(Struct, frozen=True):
    """`invested` is the fraction of the book that is spread; the rest stays cash."""

    invested: Annotated[float, Meta(ge=0.0, le=1.0)] = 1.0


@cache
def _equal(size: int, invested: float) -> Floats:
    weights = np.full(size, invested / size)
    weights.flags.writeable = False
    return weights


def equal_weights(prices: Floats, invested: float = 1.0) -> Floats:
    """float64[N], `invested` / n for each of the n instruments with a price, 0 for the others. Read-only."""
    # a NaN anywhere makes the product NaN: one call instead of a mask on every decision
    square = prices.dot(prices)
    if square == square:
        return _equal(len(prices), invested)
    priced = np.isfinite(prices)
    return priced * (invested / max(1, int(priced.sum())))


@dataclass(frozen=True, slots=True)
class EqualWeight:
    """Reads no returns at all, so it trades from the first sample."""

    params: EqualWeightParams

    @property
    def lookback(self) -> int:
        return 1

    def act(self, view: View, memory: Memory) -> tuple[Floats, Memory]:
        return equal_weights(view.prices, self.params.invested), memory


def make_equal_weight(params: Mapping[str, object]) -> EqualWeight:
    return EqualWeight(parse("equal_weight", params, EqualWeightParams))


RECORDS: Final = (PolicyRecord("equal_weight", make_equal_weight, EqualWeightParams),)
