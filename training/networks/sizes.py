"""Sizes of a transformer network, and the layout of the observation that it reads. This module imports no torch."""

import msgspec


class Layout(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Layout of an observation: where the entries of each asset are.

    For each of the `assets` assets, the observation has its `features` features (the flag `known` included), then its
    last `window` returns, oldest first. The columns that all assets share, and the entries of the account, follow after
    all assets. Raises ValueError without assets, and for negative numbers.
    """

    assets: int
    features: int
    window: int
    weights: int | None = None
    """Position of the first held weight, one for each asset; None where the book has none."""
    held: int = 1
    """Number of assets that a discrete action holds in equal parts."""
    gains: bool = False
    """Whether a shared network learns gains of its own for the entries of each asset."""

    def __post_init__(self) -> None:
        if self.assets < 1 or self.features < 0 or self.window < 0:
            raise ValueError(f"layout {self}: assets must be 1 or more, features and window 0 or more")
        if not 1 <= self.held <= self.assets:
            raise ValueError(f"layout {self}: held must be 1 to {self.assets}, the number of assets")

    @property
    def market(self) -> int:
        """Number of market entries of an observation: features and returns of all assets, without the account."""
        return self.assets * (self.features + self.window)


def required(layout: Layout | None, network: str) -> Layout:
    """Return the layout that a network needs. Raises ValueError for a layout of None."""
    if layout is None:
        raise ValueError(f"network {network}: layout is missing; say where its observations show the market")
    return layout


class Sizes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sizes of a transformer. Raises ValueError for a size below 1, and for a width that is no multiple of heads."""

    width: int = 128
    heads: int = 8
    layers: int = 4
    widening: int = 4
    """Width of the inner layer of a block's perceptron, as a multiple of `width`."""

    def __post_init__(self) -> None:
        if min(self.width, self.heads, self.layers, self.widening) < 1 or self.width % self.heads:
            raise ValueError(f"transformer {self}: sizes must be 1 or more, and heads must divide width")
