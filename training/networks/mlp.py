"""The default network: tanh and LayerNorm layers of width 256, shared by the heads of actor and critic.

What can go wrong. With bfloat16, rounding the weights costs more than a product of few rows: so the products of the few
rows of one step stay in float32, and the products of a whole rollout do not.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear

from quantd.training.networks.actor_critic import ActorCritic, Heads, flatten, layer, rounded
from quantd.training.networks.onnx_nodes import Graph

EPSILON = 1e-5
"""Epsilon of LayerNorm, torch's default."""


ROUNDED_ROWS = 64
"""Fewer rows are always multiplied in float32, because rounding the weights costs more than the product."""


class Mlp(ActorCritic):
    """A linear layer, tanh and LayerNorm for each width in `hidden`; then actor and critic, one linear layer each."""

    def __init__(
        self,
        observation_size: int,
        outputs: int,
        spread: int,
        random: torch.Generator,
        *,
        hidden: Sequence[int] = (256, 256),
        start: float = 0.0,
        bfloat16: bool = False,
    ) -> None:
        """Make the network with random weights, and move all parameters into one vector. `spread` is the number of log
        standard deviations, which begin at `start`."""
        super().__init__()
        # the third argument of `layer` is the gain of its initial weights
        widths = [observation_size, *hidden]
        self.blocks: list[tuple[nn.Linear, nn.LayerNorm]] = [
            (layer(given, width, 2**0.5, random), nn.LayerNorm(width, EPSILON, device=random.device))
            for given, width in pairwise(widths)
        ]
        self.trunk = nn.Sequential(*(nn.Sequential(linear_layer, norm) for linear_layer, norm in self.blocks))
        # the initial policy is nearly uniform (Andrychowicz et al. 2021)
        self.actor = layer(widths[-1], outputs, 0.01, random)
        self.critic = layer(widths[-1], 1, 1.0, random)
        self.spread = nn.Parameter(torch.full((spread,), start, device=random.device))
        self._rounded = bfloat16
        # the order of the parameters in checkpoints
        heads: list[Tensor] = [self.actor.weight, self.critic.weight, self.actor.bias, self.critic.bias]
        self.leaves = [*self.trunk.parameters(), self.spread, *heads]
        self.vector, self.gradient = flatten(self.leaves)

    def forward(self, observation: Tensor) -> Heads:
        """Map observations float[.., D] to the outputs of actor and critic.

        Axes: D entries of an observation.
        """
        x = observation.reshape(-1, observation.shape[-1])
        rounds = self._rounded and len(x) >= ROUNDED_ROWS
        for linear_layer, norm in self.blocks:
            x = rounded(x, linear_layer) if rounds else linear(x, linear_layer.weight, linear_layer.bias)
            x = layer_norm(torch.tanh(x), norm.normalized_shape, norm.weight, norm.bias, EPSILON)
        x = x.view(*observation.shape[:-1], -1)
        return Heads(
            linear(x, self.actor.weight, self.actor.bias), linear(x, self.critic.weight, self.critic.bias).squeeze(-1)
        )

    def write(self, graph: Graph, given: str, prefix: str = "") -> str:
        x = given
        for depth, (linear_layer, norm) in enumerate(self.blocks):
            bent = graph.node("Tanh", [graph.linear(f"{prefix}layer{depth}", linear_layer, x)])
            x = graph.norm(f"{prefix}norm{depth}", norm, bent)
        return graph.linear(f"{prefix}actor", self.actor, x)
