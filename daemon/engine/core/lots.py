"""Weights to lots: the change of position for a target.

What can go wrong: a sum in another order has other last bits, and a target that equals the position then loses a lot.
So `total` adds in the order of `numpy.add.reduce`, by halves and blocks of eight sums, and gives the same bits: the
same plan has the same lots by the fold (the compiled fast path), by `step` (in Python) and in a replay. The target has
a factor of 1 + 1e-12 against the loss of a lot by rounding.

A target is what a book holds after all fills at last prices. Worst prices bound what may be bought at once (`fit`), and
never the target: a book at its target would otherwise sell at each decision what it may not buy at once. What is kept
back is a rest of the decision, which follows when fills have left the cash for it.
"""

from math import inf
from typing import Final

from quantd.risk.limits.catalogue import REFUSALS, Reason
from quantd.trading.number_types import Codes, Floats, ReadCodes, ReadFloats, ReadInts, float_zeros

WHOLE: Final = 4503599627370496.0
"""2**52: every float of at least this size is a whole number."""

BLOCK: Final = 128
"""The largest count of numbers that numpy adds up without halving them first."""

LEAST_REST: Final = 0.001
"""A rest of a decision that is worth less than this share of equity does not follow."""

BY_SALES: Final = 1
"""Bit of a cut whose lots the proceeds of sales of the same decision may permit."""
BY_FILLS: Final = 2
"""Bit of a cut at worst prices by a bound on one position, which fills at better prices leave free."""
BY_TIME: Final = 4
"""Bit of a cut by volume or a count, which a later time may permit."""

LATER: Final = memoryview(bytearray(128)).cast("b")
"""LATER[reason]: when lots that this reason cut may pass, as bits BY_SALES, BY_FILLS and BY_TIME; 0 for never."""
for _code, _refusal in REFUSALS.items():
    LATER[_code] = BY_SALES * _refusal.sales_free | BY_FILLS * _refusal.fills_free | BY_TIME * _refusal.time_frees

AT_LIMIT: Final = int(Reason.POSITION_WEIGHT)
TOO_OLD: Final = int(Reason.PRICE_AGE)


def truncated(value: float) -> float:
    """Return a float without its fraction; infinity and NaN as they are."""
    return float(int(value)) if -WHOLE < value < WHOLE else value


def block_total(values: ReadFloats, start: int, size: int) -> float:
    """Return the sum of at most 128 numbers in the order of numpy: eight sums, then pairs of them, then the rest."""
    total: float = 0.0
    if size < 8:
        for k in range(size):
            total += values[start + k]
        return total
    a: float = values[start]
    b: float = values[start + 1]
    c: float = values[start + 2]
    d: float = values[start + 3]
    e: float = values[start + 4]
    f: float = values[start + 5]
    g: float = values[start + 6]
    h: float = values[start + 7]
    at: int = start + 8
    end: int = start + size - size % 8
    while at < end:
        a += values[at]
        b += values[at + 1]
        c += values[at + 2]
        d += values[at + 3]
        e += values[at + 4]
        f += values[at + 5]
        g += values[at + 6]
        h += values[at + 7]
        at += 8
    total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    while at < start + size:
        total += values[at]
        at += 1
    return total


class Targets:
    """Computes the changes of position for target weights of a book of `n` symbols."""

    n: int
    change: Floats
    """Signed lots to trade, of the last call of `change_to`, and of `fit` after it."""
    changed: int
    """Number of symbols that change."""
    kept: Floats
    """Signed lots of the target that wait: `fit` kept them back, a position of the other sign is closed first, or the
    price is too old."""
    why: Codes
    """By symbol the reason code of the lots `kept`, where a limit has one: AT_LIMIT or TOO_OLD."""
    waits: float
    """Value of `kept` without what is AT_LIMIT."""
    rest: float
    renews: bool
    """The results of `find_rest`."""
    scratch: Floats

    def __init__(self, n: int) -> None:
        self.n, self.changed, self.waits, self.rest, self.renews = n, 0, 0.0, 0.0, False
        self.change, self.kept, self.scratch = float_zeros(n), float_zeros(n), float_zeros(n)
        self.why = memoryview(bytearray(n)).cast("b")

    def total(self, values: ReadFloats, start: int, size: int) -> float:
        """Return the sum of `size` numbers from the index `start` on, equal to the last bit to that of
        `numpy.add.reduce`.

        More than BLOCK numbers are split in two at a multiple of 8, and the sums of both parts are added.
        """
        if size <= BLOCK:
            return block_total(values, start, size)
        half: int = size // 2
        half -= half % 8
        return self.total(values, start, half) + self.total(values, start + half, size - half)

    def factor(self, weights: ReadFloats, gross: float, net: float) -> float:
        """Return the factor, at most 1, by which all weights are scaled, so that gross exposure is at most `gross` and
        the sum of the weights at most `net`."""
        scale: float = 1.0
        for k in range(self.n):
            self.scratch[k] = abs(weights[k])
        exposure: float = self.total(self.scratch, 0, self.n)
        if exposure > 0.0:
            scale = min(scale, gross / exposure)
            sum_of_all: float = self.total(weights, 0, self.n)
            if sum_of_all > 0.0:
                scale = min(scale, net / sum_of_all)
        return scale

    def change_to(
        self,
        weights: ReadFloats,
        held: ReadFloats,
        px: ReadFloats,
        age: ReadInts,
        most_age: int,
        value: float,
        least: float,
        most: float,
        aimed: float,
    ) -> None:
        """Write the signed lots to trade into `change`.

        The target is weight x `value` / value of a lot `px`, truncated to lots. A symbol without a price keeps its
        lots. So does one with a price older than `most_age`, whose trade waits (`kept`), and one whose trade is worth
        less than `least`, unless its target is zero, or all such trades together are worth `least` (`join`). A position
        never changes its sign in one step: a target of the other sign becomes zero, and waits.

        `most` is the largest value of one position, and `aimed`, a little less, leaves fees: a target at its limit aims
        at `aimed`. A position beyond `aimed` is reduced to it, however small the trade, because the gate lets no other
        order pass that would lower equity below what the position needs.
        """
        # the last factor prevents the loss of a lot by rounding when a weight equals the position
        budget: float = value * (1.0 + 1e-12)
        small: Floats = self.scratch
        self.changed, self.waits = 0, 0.0
        for k in range(self.n):
            self.change[k] = self.kept[k] = small[k] = 0.0
            self.why[k] = 0
            price: float = px[k]
            if not 0.0 < price < inf:
                continue
            target: float = truncated(weights[k] * budget / price)
            if not -inf < target < inf:
                continue
            if age[k] > most_age:
                self.why[k] = TOO_OLD
                self.keep(k, target - held[k], price, least)
                continue
            if abs(target) * price > aimed:
                target = self.at_limit(k, target, held[k], price, most, aimed, least)
            if target * held[k] < 0.0:
                self.keep(k, target, price, 0.0)
                target = 0.0
            change: float = target - held[k]
            if least > 0.0 and target != 0.0 and abs(change) * price < least and abs(held[k]) * price <= aimed:
                small[k] = change
                change = 0.0
            self.change[k] = change
            if change != 0.0:
                self.changed += 1
        if least > 0.0:
            self.join(held, px, least)

    def at_limit(
        self, k: int, target: float, held: float, price: float, most: float, aimed: float, least: float
    ) -> float:
        """Return the lots to aim at for a target worth more than `aimed`: as asked, where the gate is to cut it; or the
        limit, where it permits the target or the position stands there."""
        lots: float = truncated(aimed / price) if target > 0.0 else -truncated(aimed / price)
        if abs(target) * price <= most * (1.0 + 1e-9):
            return lots
        if target * held > 0.0 and abs(held - lots) * price < max(least, most - aimed + price):
            self.why[k] = AT_LIMIT
            self.kept[k] = target - lots
            return lots
        return lots if target * held > 0.0 and abs(held) > abs(lots) else target

    def keep(self, k: int, lots: float, price: float, least: float) -> None:
        """Let signed lots of symbol `k` wait, unless they are worth less than `least`."""
        value: float = abs(lots) * price
        if value >= least:
            self.kept[k] = lots
            self.waits += value

    def join(self, held: ReadFloats, px: ReadFloats, least: float) -> None:
        """Make trades that are each too small, the largest first, while those that add or those that reduce exceed the
        others by `least` in sum: many names that each lack a little are cash that was to be invested. Trades that
        offset each other are drift."""
        small: Floats = self.scratch
        excess: float = 0.0
        for k in range(self.n):
            if small[k] != 0.0:
                excess += abs(small[k]) * (-px[k] if small[k] * held[k] < 0.0 else px[k])
        while abs(excess) >= least:
            largest: int = 0
            most: float = 0.0
            for k in range(self.n):
                value: float = abs(small[k]) * px[k]
                if value > most and (small[k] * held[k] >= 0.0) == (excess > 0.0):
                    largest, most = k, value
            if not most > 0.0:
                return
            self.change[largest] = small[largest]
            small[largest] = 0.0
            self.changed += 1
            excess -= most if excess > 0.0 else -most

    def fit(
        self,
        held: ReadFloats,
        px: ReadFloats,
        equity: float,
        cash: float,
        gross: float,
        reserve: float,
        debit: float,
        cost: float,
        reduce_cost: float,
    ) -> None:
        """Scale the changes that add to positions by one factor, so that exposure and cash stay within their limits
        while orders are open, at worst prices and without the proceeds of sales.

        The limits are those of `settings.BuyingRoom`. What this takes away is added to `kept`.
        """
        standing: float = 0.0
        bought: float = 0.0
        adds: float = 0.0
        reduces: float = 0.0
        for k in range(self.n):
            price: float = px[k]
            if not 0.0 < price < inf:
                continue
            standing += abs(held[k]) * price
            change: float = self.change[k]
            value: float = abs(change) * price
            if change * held[k] < 0.0:
                reduces += value
            else:
                adds += value
                if change > 0.0:
                    bought += value
        if not adds > 0.0:
            return
        worst: float = equity - reduce_cost * reduces
        part: float = 1.0
        if gross < inf:
            part = min(part, (gross * worst - standing) / (adds * (1.0 + gross * cost)))
        if bought > 0.0:
            part = min(part, (cash - reserve * equity + debit * worst) / (bought * (1.0 + cost) + debit * cost * adds))
        if part >= 1.0:
            return
        part = max(part, 0.0)
        for k in range(self.n):
            lots: float = self.change[k]
            if lots == 0.0 or lots * held[k] < 0.0:
                continue
            fewer: float = truncated(lots * part)
            if fewer != lots:
                self.kept[k] += lots - fewer
                self.waits += abs(lots - fewer) * px[k]
                self.change[k] = fewer
                if fewer == 0.0:
                    self.changed -= 1

    def omit(self, k: int, price: float) -> None:
        """Leave symbol `k` at its lots: an exit overrides the policy."""
        if self.why[k] != AT_LIMIT:
            self.waits -= abs(self.kept[k]) * price
        if self.change[k] != 0.0:
            self.changed -= 1
        self.change[k] = self.kept[k] = 0.0
        self.why[k] = 0

    def find_rest(
        self, asked: ReadFloats, passed: ReadFloats, reason: ReadCodes, later: ReadCodes, held: ReadFloats,
        px: ReadFloats, most: float,
    ) -> None:  # fmt: skip
        """Write the value of the lots that limits cut and that may pass without a sale into `rest`, and whether an
        order that volume or a count cut passed in part into `renews`.

        `later` has by reason code when cut lots may pass: BY_FILLS up to the value `most` of one position, or BY_TIME.
        """
        self.rest, self.renews = 0.0, False
        for k in range(self.n):
            code: int = later[reason[k]]
            if code < BY_FILLS or asked[k] == passed[k]:
                continue
            cut: float = abs(asked[k] - passed[k]) * px[k]
            if code < BY_TIME:
                cut = max(min(cut, most - abs(held[k] + passed[k]) * px[k]), 0.0)
            elif passed[k] != 0.0:
                self.renews = True
            self.rest += cut
