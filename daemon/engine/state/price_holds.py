"""The record of a symbol whose trading is blocked (held) after a jump of its price."""

from msgspec import Struct

from quantd.trading.events import Action
from quantd.trading.market import PriceJumped


class PriceHold(Struct):
    """A symbol whose trading is blocked since the instant `since`, the open of a bar: its price jumped near a split
    ratio.

    `before_nano` is the last price before the jump, `after_nano` the first one after it, `newest_nano` the newest one.
    A split of `numerator` new shares for `denominator` old ones would explain the jump.
    """

    since: int
    before_nano: int
    after_nano: int
    newest_nano: int
    numerator: int
    denominator: int

    @classmethod
    def of(cls, jump: PriceJumped) -> "PriceHold":
        prices = jump.before_nano, jump.after_nano, jump.after_nano
        return cls(jump.ts, *prices, jump.numerator, jump.denominator)

    def worse_nano(self, lots: int) -> int:
        """The worse of the last price before the jump and the newest price, for a position of `lots` (signed)."""
        return (max if lots < 0 else min)(self.before_nano, self.newest_nano)

    def explained_by(self, split: Action) -> bool:
        return split.numerator * self.denominator == split.denominator * self.numerator

    def split(self, numerator: int, denominator: int) -> None:
        """Scale the hold's prices by a split other than the one that would explain the jump."""
        for name in ("before_nano", "after_nano", "newest_nano"):
            setattr(self, name, getattr(self, name) * denominator // numerator)
