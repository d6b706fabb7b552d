"""A Gaussian actor with a state-dependent standard deviation, and twin critics of observation and action, with ReLU
layers.

With products in bfloat16, the sums, heads and parameters stay in float32.

What can go wrong. A log standard deviation that is clipped at its bounds, as published, passes back no gradient: so it
approaches the bounds smoothly, by x / (1 + |x|). For few rows, rounding the weights would cost more than the product
saves: so the products of few rows stay in float32.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softsign

from quantd.training.networks.actor_critic import flatten, layer, rounded
from quantd.training.networks.onnx_nodes import Graph

LOG_SPREAD_LEAST, LOG_SPREAD_MOST = -5.0, 2.0
"""Bounds of the log standard deviation, approached by x / (1 + |x|): a cut, as published, has no gradient back."""

HALF_RANGE = 0.5 * (LOG_SPREAD_MOST - LOG_SPREAD_LEAST)

ROUNDED_ROWS = 16
"""Fewer rows are always multiplied in float32, because rounding the weights costs more than the product."""


def bounded(spread: Tensor) -> Tensor:
    """Map the network's output for the spread to a log standard deviation within its bounds."""
    return LOG_SPREAD_LEAST + HALF_RANGE * (1.0 + softsign(spread))


def _hidden(layers: Sequence[nn.Linear], x: Tensor, rounds: bool) -> Tensor:
    """Map R rows float32[R, D] through layers with ReLU to float32[R, H]; `rounds` rounds the factors of large products
    to bfloat16.

    Axes: D entries of a row, H outputs of the last layer.
    """
    rounds = rounds and len(x) >= ROUNDED_ROWS
    for linear_layer in layers:
        x = torch.relu(rounded(x, linear_layer) if rounds else linear(x, linear_layer.weight, linear_layer.bias))
    return x


def _layers(widths: Sequence[int], random: torch.Generator) -> list[nn.Linear]:
    return [layer(a, b, 2**0.5, random) for a, b in pairwise(widths)]


class GaussianActor(nn.Module):
    """Maps R observations float32[R, D] to mean and log standard deviation, float32[R, K] each, of K coordinates.

    Axes: D entries of an observation.
    """

    def __init__(
        self,
        observation_size: int,
        coordinates: int,
        random: torch.Generator,
        *,
        hidden: Sequence[int] = (256, 256),
        bfloat16: bool = False,
    ) -> None:
        """Make the layers with random weights, and move all parameters into one vector. `bfloat16` rounds the factors
        of large products."""
        super().__init__()
        self.layers: Final = _layers([observation_size, *hidden], random)
        # 0.01: small initial weights, so that at first both outputs hardly depend on the observation
        self.mean, self.spread = (layer(hidden[-1], coordinates, 0.01, random) for _ in range(2))
        self.trunk = nn.ModuleList(self.layers)
        self.rounded: Final = bfloat16
        self.leaves: Final[list[Tensor]] = list(self.parameters())
        self.vector, self.gradient = flatten(self.leaves)

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log standard deviation, float32[R, K] each.

        Axes: R observations, K coordinates of an action.
        """
        x = _hidden(self.layers, observation, self.rounded)
        spread = linear(x, self.spread.weight, self.spread.bias)
        return linear(x, self.mean.weight, self.mean.bias), bounded(spread)

    def write(self, graph: Graph, given: str, prefix: str = "") -> str:
        """Add the nodes that compute the mean from the observation `given`. Returns the name of the mean in `graph`."""
        x = given
        for depth, linear_layer in enumerate(self.layers):
            x = graph.node("Relu", [graph.linear(f"{prefix}layer{depth}", linear_layer, x)])
        return graph.linear(f"{prefix}mean", self.mean, x)


class TwinCritics(nn.Module):
    """Two separate critics (Fujimoto and others 2018).

    The critics map observations float32[R, D] and actions float32[R, A] to values float32[2, R]. Axes: R observations,
    D entries of an observation, A entries of an action.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        random: torch.Generator,
        *,
        hidden: Sequence[int] = (256, 256),
        bfloat16: bool = False,
    ) -> None:
        """Make two critics with separate random weights, and move all their parameters into one vector.

        `bfloat16` rounds the factors of large products.
        """
        super().__init__()
        # the third argument of `layer` is the gain of its initial weights
        widths = [observation_size + action_size, *hidden]
        self.pair: Final = [(_layers(widths, random), layer(hidden[-1], 1, 1.0, random)) for _ in range(2)]
        self.trunks = nn.ModuleList(linear_layer for layers, _ in self.pair for linear_layer in layers)
        self.values = nn.ModuleList(value for _, value in self.pair)
        self.rounded: Final = bfloat16
        self.leaves: Final[list[Tensor]] = list(self.parameters())
        self.vector, self.gradient = flatten(self.leaves)

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        """Return the values float32[2, R] by both critics of R observations and actions."""
        joined = torch.cat((observation, action), -1)
        values = []
        for layers, value in self.pair:
            x = _hidden(layers, joined, self.rounded)
            values.append(linear(x, value.weight, value.bias).squeeze(-1))
        return torch.stack(values)
