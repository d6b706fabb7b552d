"""What a book lacks of what was asked of it, with one cause for each lot, on average over the samples.

What can go wrong: a position drifts after its decision, so weights would count a move of prices as lots that are
missing. So the target is kept in lots, with their fractions, at the prices of its decision, until the next one. And a
lot may be counted twice, as cut by an agent's limit and by the house's. So the parts are nested: the target, its whole
lots, the lots that a plan goes towards, those that it asks for, those that pass the agent's limits and those that pass
the account's. A part is the loss of overlap with the target from one of these to the next, so that the sum of the parts
is what a plan lacks. What the plan has and the book has not is left: orders that did not fill.
"""

from math import inf
from typing import Final

from quantd.daemon.engine.core.lots import AT_LIMIT, LEAST_REST, truncated
from quantd.risk.limits.catalogue import Reason
from quantd.trading.number_types import Floats, ReadCodes, ReadFloats, ReadInts, float_zeros

LOTS: Final = int(max(Reason)) + 1
"""Code of fractions of a lot, after the reason codes of the limits."""
SMALL: Final = LOTS + 1
"""Code of changes worth less than `min_trade`."""
SCALED: Final = LOTS + 2
"""Code of weights that exceed exposure or cash limits, even after all fills."""
EXIT: Final = LOTS + 3
"""Code of a symbol in a protective exit."""
NEAR: Final = LOTS + 4
"""Code of a position that stands near its limit, a little less than the target asks for."""
WAITS: Final = LOTS + 5
"""Code of lots that wait for a sale."""
CODES: Final = LOTS + 6


class Lacks:
    """The target of one book, what its last plan lacks of it, and the sums of both over samples."""

    size: int
    asks: bool
    """Whether a target was asked of the book."""
    target: Floats
    """Lots, with fractions."""
    parts: Floats
    """By code, the value that the last plan lacks."""
    samples: int
    asked: float
    held: float
    """Sums over `samples` of the value of the target and of the part of it that is held, over the account's equity."""
    sums: Floats
    """By code, sums over samples of `parts` over the account's equity."""

    def __init__(self, size: int) -> None:
        self.size, self.samples = size, 0
        self.asked, self.held, self.asks = 0.0, 0.0, False
        self.target, self.parts, self.sums = float_zeros(size), float_zeros(CODES), float_zeros(CODES)

    def clear(self) -> None:
        """Ask for no position."""
        self.asks = False
        for k in range(self.size):
            self.target[k] = 0.0
        for code in range(len(self.parts)):
            self.parts[code] = 0.0

    def overlap(self, k: int, lots: float) -> float:
        """Return how many of the target's lots in symbol `k` are among `lots`."""
        most: float = self.target[k]
        if most > 0.0:
            return min(max(lots, 0.0), most)
        return min(max(-lots, 0.0), -most)

    def note(
        self, weights: ReadFloats, equity: float, scale: float, held: ReadFloats, change: ReadFloats, kept: ReadFloats,
        why: ReadCodes, px: ReadFloats, min_trade: float,
    ) -> None:  # fmt: skip
        """Take another target, `weights` of the book's `equity` at the values of a lot `px`, and write what it lacks
        before limits are asked, by code: of weights times `scale`, with `change` to be asked and `kept` for the reasons
        `why`. A change worth less than `min_trade` of equity may be omitted. A symbol without a price has no lots to
        ask for, and is not counted."""
        self.clear()
        self.asks = True
        least: float = max(min_trade, LEAST_REST) * equity
        for k in range(self.size):
            price: float = px[k]
            want: float = weights[k] * equity / price if 0.0 < price < inf else 0.0
            if want == 0.0 or not -inf < want < inf:
                continue
            self.target[k] = want
            covered: float = self.overlap(k, want * scale)
            self.parts[SCALED] += (abs(want) - covered) * price
            lots: float = truncated(want * scale * (1.0 + 1e-12))
            reached: float = self.overlap(k, lots)
            self.parts[LOTS] += (covered - reached) * price
            covered = reached
            after: float = held[k] + change[k]
            reached = self.overlap(k, after + kept[k])
            small: bool = abs(lots - after - kept[k]) * price < least + price
            self.parts[SMALL if small else EXIT] += (covered - reached) * price
            covered = reached
            code: int = NEAR if why[k] == AT_LIMIT else why[k] if why[k] != 0 else WAITS
            self.parts[code] += (covered - self.overlap(k, after)) * price

    def cut(self, held: ReadFloats, asked: ReadFloats, passed: ReadFloats, reason: ReadCodes, px: ReadFloats) -> None:
        """Add to what is lacked the lots `asked` that did not pass, for the codes `reason`."""
        for k in range(self.size):
            if asked[k] != passed[k] and self.target[k] != 0.0:
                lost: float = self.overlap(k, held[k] + asked[k]) - self.overlap(k, held[k] + passed[k])
                self.parts[reason[k]] += lost * px[k]

    def cut_by_house(
        self, held: ReadFloats, passed: ReadFloats, surviving: ReadInts, net: ReadFloats, allowed: ReadFloats,
        reason: ReadCodes, px: ReadFloats,
    ) -> None:  # fmt: skip
        """Add the agent's part of what the account's limits cut from the `net` lots of all agents: in proportion to its
        lots `surviving` the crosses, of those that its own limits `passed`."""
        for k in range(self.size):
            if net[k] != allowed[k] and surviving[k] != 0 and self.target[k] != 0.0:
                after: float = held[k] + passed[k]
                share: float = float(surviving[k]) * (1.0 - allowed[k] / net[k])
                self.parts[reason[k]] += (self.overlap(k, after) - self.overlap(k, after - share)) * px[k]

    def exit(self, k: int, lots: float, price: float) -> None:
        """Add the `lots` held of symbol `k`, which a protective exit closes."""
        self.parts[EXIT] += self.overlap(k, lots) * price

    def sample(self, held: ReadFloats, px: ReadFloats, equity: float) -> None:
        """Add a sample with an account's `equity`, at the book's lots `held`."""
        if not self.asks:
            return
        asked: float = 0.0
        has: float = 0.0
        for k in range(self.size):
            price: float = px[k]
            if self.target[k] != 0.0 and 0.0 < price < inf:
                asked += abs(self.target[k]) * price
                has += self.overlap(k, held[k]) * price
        self.samples += 1
        self.asked += asked / equity
        self.held += has / equity
        for code in range(len(self.parts)):
            self.sums[code] += self.parts[code] / equity

    def split(self, k: int, ratio: float) -> None:
        """Replace each lot of symbol `k` by `ratio` lots."""
        self.target[k] *= ratio
