"""Restrictions of trading by symbol: halts, price limits, and holds (blocks of trading) after a jump of the price."""

from typing import NamedTuple

from quantd.daemon.engine.state.price_holds import PriceHold


class FrozenRestrictions(NamedTuple):
    """The trading restrictions by symbol in a snapshot."""

    halted: dict[int, tuple[int, str]]
    limited: dict[int, tuple[int, int]]
    jumped: dict[int, PriceHold]


class Restrictions:
    """The present restrictions of orders by symbol."""

    __slots__ = ("halted", "jumped", "limited")

    def __init__(self) -> None:
        self.halted: dict[int, tuple[int, str]] = {}
        """Column -> (since, reason) of trading halts."""
        self.limited: dict[int, tuple[int, int]] = {}
        """Column -> (limit down, limit up) in nano of prices at a limit; 0 for none."""
        self.jumped: dict[int, PriceHold] = {}
        """Column -> the unexplained jump of its price for which it is held."""

    def freeze(self) -> FrozenRestrictions:
        return FrozenRestrictions(self.halted, self.limited, self.jumped)

    def thaw(self, frozen: FrozenRestrictions) -> None:
        """Take the trading restrictions from a snapshot."""
        self.halted, self.limited, self.jumped = frozen
