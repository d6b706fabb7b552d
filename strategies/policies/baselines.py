"""Policies that do (almost) nothing: the baselines every other one has to justify itself against."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from msgspec import Struct

from quantd.strategies.policies.equal_weight import equal_weights
from quantd.strategies.policies.params import parse
from quantd.strategies.policies.record import PolicyRecord
from quantd.trading.market import Floats
from quantd.trading.view import HOLD, Hold, Memory, View


class PassiveParams(Struct, frozen=True):
    """There is nothing to set."""


@dataclass(frozen=True, slots=True)
class HoldAll:
    """Keeps whatever the book holds; a book that starts in cash stays in cash."""

    @property
    def lookback(self) -> int:
        return 1

    def act(self, view: View, memory: Memory) -> tuple[Hold, Memory]:
        return HOLD, memory


@dataclass(frozen=True, slots=True)
class BuyAndHold:
    """Buys equal weights once, then lets them drift. A book that was emptied is bought again."""

    @property
    def lookback(self) -> int:
        return 1

    def act(self, view: View, memory: Memory) -> tuple[Floats | Hold, Memory]:
        return (HOLD if view.weights.any() else equal_weights(view.prices)), memory


def make_hold_all(params: Mapping[str, object]) -> HoldAll:
    parse("hold", params, PassiveParams)
    return HoldAll()


def make_buy_and_hold(params: Mapping[str, object]) -> BuyAndHold:
    parse("buy_and_hold", params, PassiveParams)
    return BuyAndHold()


RECORDS: Final = (
    PolicyRecord("buy_and_hold", make_buy_and_hold, PassiveParams),
    PolicyRecord("hold", make_hold_all, PassiveParams),
)
