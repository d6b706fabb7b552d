"""Passive policies, as baselines for the others."""

from dataclasses import dataclass
from typing import ClassVar, Final

from msgspec import Struct

from quantd.strategies.policies.equal_weight import equal_weights
from quantd.strategies.policies.record import record
from quantd.trading.market import Floats
from quantd.trading.view import HOLD, Hold, Memory, View


class PassiveParams(Struct, frozen=True):
    """No parameters."""


@dataclass(frozen=True, slots=True)
class HoldAll:
    """Never trades; a book that starts in cash stays in cash."""

    lookback: ClassVar[int] = 1

    def act(self, view: View, memory: Memory) -> tuple[Hold, Memory]:
        return HOLD, memory


@dataclass(frozen=True, slots=True)
class BuyAndHold:
    """Buys equal weights once, and again after the book was emptied."""

    lookback: ClassVar[int] = 1

    def act(self, view: View, memory: Memory) -> tuple[Floats | Hold, Memory]:
        return (HOLD if view.weights.any() else equal_weights(view.prices)), memory


RECORDS: Final = (
    record("buy_and_hold", PassiveParams, lambda _: BuyAndHold()),
    record("hold", PassiveParams, lambda _: HoldAll()),
    # a book whose targets come as events, from a portfolio's rebalance: between them it holds
    record("targets", PassiveParams, lambda _: HoldAll()),
)
