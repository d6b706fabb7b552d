"""Actors and critics of several agents, with networks that all assets share: `joint_critic` with bodies as in `shared`.

Every agent has one network that scores each asset from its encoding and the mean over all assets, and one critic that
reads the weight of each asset in every agent's action. The sessions of all assets teach the same parameters. Agents
share no weights.

What can go wrong. An asset's score might depend on its position: so each asset shows its entries only, beside the
entries that all assets have in common. A critic that reads only sums of the agents' weights could not tell who holds
what: so each agent's weight is a separate entry, and the weight of the critic's agent is also multiplied by the asset's
entries, since growth is a sum of such products.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn

from quantd.training.networks.actor_critic import flatten
from quantd.training.networks.layer_stack import Linear
from quantd.training.networks.onnx_nodes import Graph
from quantd.training.networks.shared import assets_of, common_of, mean_of, normal, write_assets, write_norm
from quantd.training.networks.sizes import Layout


class Bodies(nn.Module):
    """C separate bodies: float[C, R, N, E] -> float[C, R, N, H], tanh layers of widths `hidden` with norms.

    The last layer also reads the mean of all assets.
    """

    def __init__(self, copies: int, entries: int, hidden: Sequence[int], random: torch.Generator) -> None:
        super().__init__()
        *inner, outputs = hidden
        self.layers = nn.ModuleList(Linear(copies, a, b, 2**0.5, random) for a, b in pairwise((entries, *inner)))
        width = inner[-1] if inner else entries
        self.mixed, self.pooled = (Linear(copies, width, outputs, 1.0, random) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Encode the assets of every copy."""
        copies, rows, assets, _ = x.shape
        x = x.flatten(1, 2)
        for linear in self.layers:
            x = normal(torch.tanh(linear(x)))
        mean = x.view(copies, rows, assets, -1).mean(2)
        pooled = self.pooled(mean).unsqueeze(2)
        return normal(torch.tanh(self.mixed(x).view(copies, rows, assets, -1) + pooled))

    def write(self, graph: Graph, x: str, prefix: str, copy: int) -> str:
        """Add one copy's nodes, from assets float[N, E] to float[N, H]. Returns the name of the last node's output."""
        node = graph.node
        for depth, linear in enumerate(self.layers):
            assert isinstance(linear, Linear)
            activation = node("Tanh", [linear.write(graph, x, f"{prefix}layer{depth}", copy)])
            x = write_norm(graph, activation, linear.outputs)
        pooled = self.pooled.write(graph, mean_of(graph, x), f"{prefix}pooled", copy)
        total = node("Add", [self.mixed.write(graph, x, f"{prefix}mixed", copy), pooled])
        return write_norm(graph, node("Tanh", [total]), self.mixed.outputs)


class SharedActors(nn.Module):
    """Maps float32[A, R, D] to a score of each asset, float32[A, R, N], agent by agent.

    Raises ValueError unless there is one coordinate for each asset.
    """

    def __init__(
        self, agents: int, observation_size: int, coordinates: int, random: torch.Generator, *, layout: Layout,
        hidden: Sequence[int], invested: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        if coordinates != layout.assets:
            raise ValueError(
                f"network shared: {coordinates} coordinates for {layout.assets} assets; one each is needed"
            )
        self.layout: Final = layout
        self.common: Final = common_of(layout, observation_size)
        self.body = Bodies(agents, _entries(layout, self.common), hidden, random)
        # the initial policy is nearly uniform (Andrychowicz et al. 2021)
        self.head = Linear(agents, hidden[-1], 1, 0.01, random)
        nn.init.constant_(self.head.bias, invested)
        self.vector, self.gradient = flatten(list(self.parameters()))
        self.leaves: Final = list(self.parameters())

    def forward(self, observation: Tensor) -> Tensor:
        """Return action coordinates float32[A, R, N] before the readout."""
        x = self.body(assets_of(observation, self.layout, self.common))
        scores: Tensor = self.head(x.flatten(1, 2))
        return scores.view(x.shape[:3])

    def write(self, graph: Graph, given: str, prefix: str, agent: int) -> str:
        """Add one agent's nodes, from its observation float[1, D] to its coordinates float[1, N]."""
        x = self.body.write(graph, write_assets(graph, given, self.layout, self.common, prefix), prefix, agent)
        return graph.node("Transpose", [self.head.write(graph, x, f"{prefix}actor", agent)], perm=[1, 0])


class SharedCritics(nn.Module):
    """Maps all observations float32[R, P] and actions to the value for each agent; see `joint_critic.Critics`.

    The inputs of an asset include its weight in every agent's action, divided by equal weight and less 1. Critic i also
    reads the products of agent i's value of that input with the asset's entries. Raises ValueError for actions that are
    not weights of the assets, with or without cash.
    """

    def __init__(
        self, agents: int, state_size: int, action_size: int, random: torch.Generator, *, layout: Layout,
        hidden: Sequence[int],
    ) -> None:  # fmt: skip
        super().__init__()
        if action_size not in (layout.assets, layout.assets + 1):
            raise ValueError(
                f"network shared: actions of {action_size} entries are not the weights of {layout.assets} assets"
            )
        self.layout: Final = layout
        self.common: Final = common_of(layout, state_size)
        self.agents: Final = agents
        self.body = Bodies(agents, 2 * _entries(layout, self.common) + agents, hidden, random)
        self.head = Linear(agents, hidden[-1], 1, 1.0, random)
        self.vector, self.gradient = flatten(list(self.parameters()))
        self.leaves: Final = list(self.parameters())

    def read(self, state: Tensor) -> Tensor:
        """Rearrange joint observations float[R, P] as the entries of each asset, float[R, N, E]."""
        return assets_of(state, self.layout, self.common)

    def judge(self, read: Tensor, action: Tensor) -> Tensor:
        """Return values float[A, R] of read states float[R, N, E] and actions float[R, A, K] (or float[A, R, A, K])."""
        agents, assets = self.agents, self.layout.assets
        excess = action[..., :assets].expand(agents, *action.shape[-3:-1], assets) * assets - 1.0
        entries = read.expand(agents, *read.shape)
        # the weight in the action of the critic's agent: [critic, R, agent, N] at critic = agent, as [A, R, N, 1]
        own_excess = excess.diagonal(dim1=0, dim2=2).permute(2, 0, 1).unsqueeze(-1)
        encoded = self.body(torch.cat([entries, excess.transpose(2, 3), own_excess * entries], -1))
        values: Tensor = self.head(encoded.mean(2))
        return values.squeeze(2)


def _entries(layout: Layout, common: Sequence[int]) -> int:
    """Return the number of entries that `assets_of` gives an asset."""
    return layout.features + layout.window + (layout.weights is not None) + len(common)
