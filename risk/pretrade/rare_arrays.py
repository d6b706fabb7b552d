"""The protocol by which a scene gets arrays that are made only when a basket needs them."""

from typing import Protocol

from quantd.trading.number_types import FloatRows


class Rare(Protocol):
    """Makes the arrays that few baskets need. It has no reference to the scene, so that both are freed at once."""

    def add_returns(self) -> None:
        """Fill the returns of the sampled scenarios, by symbol, of each measure of loss that lacks them."""
        ...

    def add_matrices(self) -> None:
        """Fill the covariance matrix of each quadratic form."""
        ...

    def add_links(self, sides: list[int]) -> FloatRows | None:
        """The links; None where the scene has them already."""
