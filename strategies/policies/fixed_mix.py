"""A fixed mix, such as 60/40: constant weights by symbol."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from typing import ClassVar, Final

import numpy as np
from msgspec import Struct

from quantd.strategies.policies.allocator import by_symbol
from quantd.strategies.policies.params import ParamsError, parse
from quantd.strategies.policies.record import PolicyRecord
from quantd.trading.instruments import Universe
from quantd.trading.market import Floats, Ints
from quantd.trading.view import BlockView, Memory, View


class FixedMixParams(Struct, frozen=True):
    """Parameters of a fixed mix: `weights` maps symbols to fractions of the book.

    The absolute values of the weights add up to at most 1. Raises ValueError for a larger sum.
    """

    weights: dict[str, float]

    def __post_init__(self) -> None:
        total = sum(abs(w) for w in self.weights.values())
        if not isfinite(total) or total > 1.0 + 1e-9:
            raise ValueError(
                f"weights add up to {total:g} in absolute value; write finite weights with a sum of at most 1"
            )


@lru_cache(maxsize=64)
def _row(mix: tuple[tuple[str, float], ...], symbols: tuple[str, ...]) -> Floats:
    """Return float64[N], the weights of `mix` in the order of `symbols`, read-only because the cache shares them."""
    by_symbol("fixed_mix", "weights", dict(mix), symbols)
    row = np.array([dict(mix).get(s, 0.0) for s in symbols])
    row.flags.writeable = False
    return row


@dataclass(frozen=True, slots=True)
class FixedMix:
    """A policy of constant weights; the share of an instrument without a price is cash."""

    mix: tuple[tuple[str, float], ...]

    lookback: ClassVar[int] = 1

    def fit(self, universe: Universe) -> None:
        """Raise ParamsError if the mix has a symbol that is not in `universe`."""
        _row(self.mix, universe.symbols)

    def act(self, view: View, memory: Memory) -> tuple[Floats, Memory]:
        """Implements `Policy.act`: the mix, with zero for an instrument without a price.

        Raises ParamsError for a symbol that is not in the universe.
        """
        row = _row(self.mix, view.universe.symbols)
        square = view.prices.dot(view.prices)  # NaN, which differs from itself, if any price is NaN
        return (row if square == square else np.where(np.isfinite(view.prices), row, 0.0)), memory

    def act_rows(self, view: BlockView, rows: Ints) -> Floats:
        """Return float64[T, N], the weights that `act` would return at T samples, the `rows` of a block of samples.

        Raises ParamsError for a symbol that is not in the universe.
        """
        return np.where(np.isfinite(view.prices[rows]), _row(self.mix, view.universe.symbols), 0.0)


def make_fixed_mix(params: Mapping[str, object]) -> FixedMix:
    """Return the fixed mix of `params`. Raises ParamsError without weights, or for invalid weights."""
    if not params:
        raise ParamsError("fixed_mix needs weights, such as { SPY = 0.6, TLT = 0.4 }")
    return FixedMix(tuple(sorted(parse("fixed_mix", params, FixedMixParams).weights.items())))


RECORDS: Final = (PolicyRecord("fixed_mix", make_fixed_mix, FixedMixParams),)
