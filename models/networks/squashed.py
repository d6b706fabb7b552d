"""A Gaussian actor whose spread depends on what it sees, and twin critics of observation and action, of ReLU layers.

Products in bfloat16 keep sums, heads and parameters in float32; gradients flow through the rounding.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softsign

from models.networks.actor_critic import flatten, layer
from models.networks.graph import Graph, Readout

LOG_SPREAD_LEAST, LOG_SPREAD_MOST = -5.0, 2.0
"""Bounds of the logarithm of the standard deviation, come near by x / (1 + |x|): the published code cuts, and where it is cut (or
a tanh is flat) there is no slope that leads back."""


def _product(x: Tensor, made: nn.Linear, rounded: bool) -> Tensor:
    if not rounded:
        return linear(x, made.weight, made.bias)
    # the bias is added in float32: only factors are rounded
    return torch.mm(x.bfloat16(), made.weight.t().bfloat16()).float() + made.bias


def _layers(widths: Sequence[int], random: torch.Generator) -> list[nn.Linear]:
    return [layer(a, b, 2**0.5, random) for a, b in pairwise(widths)]


class GaussianActor(nn.Module):
    """float32[R, D] -> mean float32[R, K] and logarithm of the standard deviation float32[R, K] of K coordinates."""

    def __init__(
        self,
        observation_size: int,
        coordinates: int,
        random: torch.Generator,
        *,
        hidden: Sequence[int] = (256, 256),
        bfloat16: bool = False,
    ) -> None:
        super().__init__()
        self.layers: Final = _layers([observation_size, *hidden], random)
        self.mean, self.spread = (layer(hidden[-1], coordinates, 0.01, random) for _ in range(2))
        self.trunk = nn.ModuleList(self.layers)
        self.rounded: Final = bfloat16
        self.vector, self.gradient = flatten(list(self.parameters()))
        self.leaves: Final = list(self.parameters())

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        x = observation
        for made in self.layers:
            x = torch.relu(_product(x, made, self.rounded))
        spread = linear(x, self.spread.weight, self.spread.bias)
        half = 0.5 * (LOG_SPREAD_MOST - LOG_SPREAD_LEAST)
        return linear(x, self.mean.weight, self.mean.bias), LOG_SPREAD_LEAST + half * (1.0 + softsign(spread))

    def write(self, graph: Graph, given: str, prefix: str = "") -> str:
        """Adds the mean to `graph`, from the observation called `given`; its name."""
        x = given
        for depth, made in enumerate(self.layers):
            x = graph.node("Relu", [graph.linear(f"{prefix}layer{depth}", made.weight, made.bias, x)])
        return graph.linear(f"{prefix}mean", self.mean.weight, self.mean.bias, x)


class TwinCritics(nn.Module):
    """float32[R, D] and float32[R, A] -> float32[2, R]: two networks that share nothing (Fujimoto et al. 2018)."""

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        random: torch.Generator,
        *,
        hidden: Sequence[int] = (256, 256),
        bfloat16: bool = False,
    ) -> None:
        super().__init__()
        widths = [observation_size + action_size, *hidden]
        self.pair: Final = [(_layers(widths, random), layer(hidden[-1], 1, 1.0, random)) for _ in range(2)]
        self.trunks = nn.ModuleList(made for layers, _ in self.pair for made in layers)
        self.values = nn.ModuleList(value for _, value in self.pair)
        self.rounded: Final = bfloat16
        self.vector, self.gradient = flatten(list(self.parameters()))
        self.leaves: Final = list(self.parameters())

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        both = torch.cat((observation, action), -1)
        told = []
        for layers, value in self.pair:
            x = both
            for made in layers:
                x = torch.relu(_product(x, made, self.rounded))
            told.append(linear(x, value.weight, value.bias).squeeze(-1))
        return torch.stack(told)


def to_onnx(actor: GaussianActor, readout: Readout) -> bytes:
    """observation float32[1, D] -> weights float32[1, A]: the image of the mean."""
    graph = Graph()
    graph.readout(actor.write(graph, "observation"), readout)
    size = actor.mean.out_features + (readout == "softmax_gaussian")
    return graph.model("gaussian_actor", {"observation": actor.layers[0].in_features}, {"weights": size})
