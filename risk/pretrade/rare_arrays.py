"""The protocol by which a scene (the gate's market data) gets arrays that are made only when a basket needs them."""

from typing import Protocol

from quantd.trading.number_types import FloatRows


class Rare(Protocol):
    """Computes the arrays of a scene (a market) that few baskets of orders need. The object has no reference to the
    scene, so that the memory of both is freed at once.
    """

    def add_returns(self) -> None:
        """Fill in the returns of the sampled scenarios, by symbol, for each measure of loss that lacks them."""
        ...

    def add_matrices(self) -> None:
        """Fill in the covariance matrix of each quadratic limit."""
        ...

    def add_links(self, sides: list[int]) -> FloatRows | None:
        """Return codes of correlated pairs of symbols (links), at least between the symbols of `sides`; None if the
        scene (the market) has them already.
        """
