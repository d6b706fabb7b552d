"""Observations of some assets, and their permutations."""

import torch
from msgspec.structs import replace

from quantd.training.networks.sizes import Layout

ASSETS = 3
LAYOUT = Layout(assets=ASSETS, features=2, window=5, weights=23)
SIZE = LAYOUT.market + 2 + ASSETS + 1
"""Two shared columns, the weights and cash follow the assets."""

GAINS = replace(LAYOUT, gains=True)
"""Each asset has learned factors of its entries."""

BARE = Layout(assets=ASSETS, features=0, window=7)
"""Neither columns, nor shared ones, nor a book."""


def random_of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def permuted(observation: torch.Tensor, order: list[int]) -> torch.Tensor:
    """Return the observation with its assets in another order."""
    assets = observation[..., : LAYOUT.market].unflatten(-1, (ASSETS, -1))[..., order, :].flatten(-2)
    weights = observation[..., 23:26][..., order]
    return torch.cat([assets, observation[..., 21:23], weights, observation[..., 26:]], -1)
