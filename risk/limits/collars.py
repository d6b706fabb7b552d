"""Limit prices of marketable orders: the mark price plus or minus a collar (the maximum distance), in whole ticks.

What can go wrong: an order fills at a worse price than the risk gate assumed. Prices are therefore exact integers, and
are rounded to the tick inside the collar: down for a purchase, up for a sale. An order that reduces a position has a
wider collar, but only while its mark price is fresh.
"""

from collections.abc import Sequence

from quantd.trading.execution import ANY_BUY, ANY_SALE
from quantd.trading.integers import ratio
from quantd.trading.number_types import Ints, ReadFloats, ReadInts, int_zeros


class Collar:
    """A collar (maximum distance of a limit price from the mark) of one width.

    A purchase may pay the mark times `up` / `one`, a sale must get at least the mark times `down` / `one`, both
    fractions in lowest terms. `down` is 0 without a collar: any price is then accepted.
    """

    up: int
    down: int
    one: int
    tick: Ints
    """The tick of each column, in nano-currency."""

    def __init__(self, up: int, down: int, one: int, ticks: Sequence[int]) -> None:
        self.up, self.down, self.one, self.tick = up, down, one, int_zeros(len(ticks))
        for k in range(len(ticks)):
            self.tick[k] = ticks[k]

    def equals(self, other: "Collar") -> bool:
        """Whether another collar (limit distance) of the same instruments has the same factors."""
        return self.up == other.up and self.down == other.down and self.one == other.one

    def narrower(self, other: "Collar") -> bool:
        """Whether a purchase may pay less under this collar (limit distance) than under the other."""
        return float(self.up) * float(other.one) < float(other.up) * float(self.one)

    def price(self, k: int, buys: bool, mark: int) -> int:
        """Return the limit price of an order in column `k`, given the mark price; both in nano-currency.

        The price is the mark times `up` / `one` for a purchase and times `down` / `one` for a sale, in whole ticks,
        rounded down for a purchase, up for a sale. Without a collar (`down` 0) the price limits nothing.
        Raises OverflowError for a price of more than 62 bits.
        """
        if self.down == 0:
            return ANY_BUY if buys else ANY_SALE
        floor_nano: int
        remainder: int
        # mark x factor / one, rounded down
        floor_nano, remainder = ratio(mark, self.up if buys else self.down, 1, self.one)
        tick: int = self.tick[k]
        ticks: int = floor_nano // tick
        # between two ticks the price of a sale is rounded up
        if not buys and (remainder > 0 or ticks * tick != floor_nano):
            ticks += 1
        return ticks * tick


class Collars:
    """The collars (limit distances) of a set of limits: for orders that add to a position, for orders that reduce it,
    and for orders that reduce it at an old price.
    """

    adding: Collar
    reducing: Collar
    old: Collar
    most_age: int
    """The largest age in nanoseconds of a price that is not old."""

    def __init__(self, adding: Collar, reducing: Collar, old: Collar, most_age: int) -> None:
        self.adding, self.reducing, self.old, self.most_age = adding, reducing, old, most_age

    def equals(self, other: "Collars") -> bool:
        """Whether another set gives each order the same limit price."""
        if not self.adding.equals(other.adding) or not self.reducing.equals(other.reducing):
            return False
        return self.old.equals(other.old) and self.most_age == other.most_age

    def price(self, k: int, lots: float, held: float, mark: int, age: int) -> int:
        """Return the limit price in nano-currency of an order for signed `lots` in column `k`, of which the account has
        `held`, at a `mark` of an `age` in ns.

        An order that adds to a position has the collar (limit distance) `adding`, one that reduces it `reducing`, or
        `old` if the mark is older than `most_age` or of a later instant. Raises OverflowError for a price of more than
        62 bits.
        """
        collar: Collar = self.adding
        if held * lots < 0.0:
            collar = self.reducing if 0 <= age <= self.most_age else self.old
        return collar.price(k, lots > 0.0, mark)

    def prices(self, lots: ReadFloats, held: ReadFloats, marks: ReadInts, age: ReadInts) -> list[int]:
        """Return the `price` of each signed order, by column; 0 for an order without lots."""
        return [self.price(k, lots[k], held[k], marks[k], age[k]) if lots[k] != 0.0 else 0 for k in range(len(lots))]
