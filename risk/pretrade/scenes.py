"""The risk gate's market data at one sample: prices, scenarios, covariances and links between symbols."""

from quantd.risk.pretrade.rare_arrays import Rare
from quantd.trading.number_types import FloatRows, Floats, Ints

UNKNOWN = 0
READY = 1
TOO_FEW = 2
"""States of the rows of returns of a `Scene`. UNKNOWN: they depend on the symbols that the caps leave."""


class Losses:
    """The `size` scenarios of one limit on tail losses. Per unit of exposure the mean of the `worst` largest losses
    is at most `beyond` x `deviation` + `mean`, both float64[N]. `returns` float64[N, S] has the scenarios by symbol,
    once they are `ready`."""

    deviation: Floats
    mean: Floats
    beyond: float
    ready: bool
    returns: FloatRows
    size: int
    worst: int
    number: int
    """Tails with the same number have the same scenarios."""

    def __init__(self, deviation: Floats, mean: Floats, beyond: float, size: int, worst: int, number: int) -> None:
        self.deviation, self.mean, self.beyond = deviation, mean, beyond
        self.size, self.worst, self.number = size, worst, number
        self.ready = False


class Spread:
    """The covariance `matrix` of one quadratic limit, once it is `ready`; `deviation` float64[N] are upper bounds of
    standard deviations. With `identity` the quadratic form is the sum of squares."""

    identity: bool
    deviation: Floats
    ready: bool
    matrix: FloatRows

    def __init__(self, identity: bool, deviation: Floats) -> None:
        self.identity, self.deviation, self.ready = identity, deviation, identity


class Scene:
    """The market at one sample under one set of rules. `rare` computes the arrays that few baskets of orders need, when
    they are asked for.
    """

    px: Floats
    volume: Floats
    """Average volume in lots; NaN where none is known."""
    barred: Floats
    """Reason code why no order may reduce a position in the symbol; 0 where orders may."""
    lacking: Floats
    """1 for symbols with too few returns."""
    any_lacking: bool
    rows: int
    """READY, TOO_FEW or UNKNOWN."""
    losses: list[Losses]
    width: int
    """The largest number of scenarios of a tail."""
    spreads: list[Spread]
    links: FloatRows
    has_links: bool
    rare: Rare

    def __init__(self, px: Floats, barred: Floats, rows: int, rare: Rare) -> None:
        self.px, self.barred, self.rows, self.rare = px, barred, rows, rare
        self.any_lacking = self.has_links = False
        self.lacking, self.volume = barred, px
        self.losses, self.spreads, self.width = [], [], 0

    def ask_returns(self) -> None:
        """Compute the returns of all tail limits, once."""
        self.rare.add_returns()

    def ask_matrices(self) -> None:
        """Compute the covariance matrices of all quadratic limits, once."""
        self.rare.add_matrices()

    def ask_links(self, sides: Ints, count: int) -> None:
        """Compute the links (codes of correlated pairs) between the symbols of the first `count` elements of
        `sides`, if they are missing."""
        links = self.rare.add_links([sides[at] for at in range(count)])
        if links is not None:
            self.links, self.has_links = links, True
