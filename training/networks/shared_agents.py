"""Actors and critics of several agents, with networks that all assets share: the structure of `joint_critic` with the
layers of `shared`.

Every agent has one network that scores each asset from its encoding and the mean over all assets, and one critic that
reads the weight of each asset in every agent's action. The sessions of all assets teach the same parameters. Agents
share no weights.

What can go wrong. An asset's score might depend on its position: so the input of an asset has only this asset's
entries, beside the entries that all assets have in common. A critic that reads only sums of the agents' weights could
not tell which agent holds which asset: so each agent's weight is a separate entry, and the weight of the critic's agent
is also multiplied by the asset's entries. Growth is a sum of such products.
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
    """C separate encoders of assets: float[C, R, N, E] -> float[C, R, N, H], tanh layers of widths `hidden` with norms.

    The last layer also reads the mean of all assets. Axes: R joint observations, N assets, E entries of an asset, H
    numbers of an encoded asset.
    """

    def __init__(self, copies: int, entries: int, hidden: Sequence[int], random: torch.Generator) -> None:
        super().__init__()
        *inner, outputs = hidden
        self.layers = nn.ModuleList(Linear(copies, a, b, 2**0.5, random) for a, b in pairwise((entries, *inner)))
        width = inner[-1] if inner else entries
        self.mixed, self.pooled = (Linear(copies, width, outputs, 1.0, random) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Encode the assets float[C, R, N, E] with C copies of the layers, as float[C, R, N, H].

        Axes: R joint observations, N assets, E entries of an asset, H numbers of an encoded asset.
        """
        copies, rows, assets, _ = x.shape
        x = x.flatten(1, 2)
        for linear in self.layers:
            x = normal(torch.tanh(linear(x)))
        mean = x.view(copies, rows, assets, -1).mean(2)
        pooled = self.pooled(mean).unsqueeze(2)
        return normal(torch.tanh(self.mixed(x).view(copies, rows, assets, -1) + pooled))

    def write(self, graph: Graph, x: str, prefix: str, copy: int) -> str:
        """Add the nodes of one copy to an ONNX graph, from assets float[N, E] to encodings float[N, H].

        Returns the name of the last node's output. Axes: N assets, E entries of an asset, H numbers of an encoded
        asset.
        """
        node = graph.node
        for depth, linear in enumerate(self.layers):
            assert isinstance(linear, Linear)
            activation = node("Tanh", [linear.write(graph, x, f"{prefix}layer{depth}", copy)])
            x = write_norm(graph, activation, linear.outputs)
        pooled = self.pooled.write(graph, mean_of(graph, x), f"{prefix}pooled", copy)
        total = node("Add", [self.mixed.write(graph, x, f"{prefix}mixed", copy), pooled])
        return write_norm(graph, node("Tanh", [total]), self.mixed.outputs)


class SharedActors(nn.Module):
    """Actors of A agents: map each agent's observations float32[A, R, D] to a score of each asset, float32[A, R, N].

    Raises ValueError unless there is one coordinate for each asset. Axes: R joint observations, D entries of an
    observation, N assets.
    """

    def __init__(
        self, agents: int, observation_size: int, coordinates: int, random: torch.Generator, *, layout: Layout,
        hidden: Sequence[int], invested: float = 0.0,
    ) -> None:  # fmt: skip
        """Make A copies of the layers; `invested` is the initial score of each asset."""
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
        """Return action coordinates float32[A, R, N], before their conversion to actions (readout).

        Axes: A agents, R joint observations, N assets.
        """
        x = self.body(assets_of(observation, self.layout, self.common))
        scores: Tensor = self.head(x.flatten(1, 2))
        return scores.view(x.shape[:3])

    def write(self, graph: Graph, given: str, prefix: str, agent: int) -> str:
        """Add the nodes of one agent to an ONNX graph, and return the name of their output.

        The nodes map the agent's observation float[1, D] to its coordinates float[1, N]. `given` is the name of their
        input; the names of their parameters begin with `prefix`. Axes: D entries of an observation, N assets.
        """
        x = self.body.write(graph, write_assets(graph, given, self.layout, self.common, prefix), prefix, agent)
        return graph.node("Transpose", [self.head.write(graph, x, f"{prefix}actor", agent)], perm=[1, 0])


class SharedCritics(nn.Module):
    """Critics of A agents: map joint observations float32[R, P] and the actions of all agents to a value for each
    agent.

    The inputs of an asset include its weight in every agent's action, divided by equal weight and less 1. Critic i also
    reads the products of agent i's weight of the asset (in the same form) and the asset's entries. Raises ValueError
    unless actions are weights of the assets, with or without cash. Axes: R joint observations, P entries of a joint
    observation.
    """

    def __init__(
        self, agents: int, state_size: int, action_size: int, random: torch.Generator, *, layout: Layout,
        hidden: Sequence[int],
    ) -> None:  # fmt: skip
        """Make A copies of the layers, whose inputs are the entries of an asset, its weights in all actions, and
        products of both.
        """
        super().__init__()
        if action_size not in (layout.assets, layout.assets + 1):
            raise ValueError(
                f"network shared: actions of {action_size} entries are not the weights of {layout.assets} assets"
            )
        self.layout: Final = layout
        self.common: Final = common_of(layout, state_size)
        self.agents: Final = agents
        # the entries, their products with the own weight, and the weight in each agent's action
        self.body = Bodies(agents, 2 * _entries(layout, self.common) + agents, hidden, random)
        self.head = Linear(agents, hidden[-1], 1, 1.0, random)  # 1.0 is the gain of the initial weights
        self.vector, self.gradient = flatten(list(self.parameters()))
        self.leaves: Final = list(self.parameters())

    def read(self, state: Tensor) -> Tensor:
        """Rearrange joint observations float[R, P] as the entries of each asset, float[R, N, E].

        Axes: R joint observations, P entries of a joint observation, N assets, E entries of an asset.
        """
        return assets_of(state, self.layout, self.common)

    def judge(self, read: Tensor, action: Tensor) -> Tensor:
        """Return values float[A, R] of states that `read` rearranged, float[R, N, E] and actions float[R, A, K] (or
        float[A, R, A, K]).

        Axes: A agents, R joint observations, N assets, E entries of an asset, K coordinates of an action.
        """
        agents, assets = self.agents, self.layout.assets
        # 0 for equal weight, -1 for an asset without weight
        excess = action[..., :assets].expand(agents, *action.shape[-3:-1], assets) * assets - 1.0
        entries = read.expand(agents, *read.shape)
        # the weight in the action of the critic's agent: [critic, R, agent, N] at critic = agent, as [A, R, N, 1]
        own_excess = excess.diagonal(dim1=0, dim2=2).permute(2, 0, 1).unsqueeze(-1)
        encoded = self.body(torch.cat([entries, excess.transpose(2, 3), own_excess * entries], -1))
        values: Tensor = self.head(encoded.mean(2))
        return values.squeeze(2)


def _entries(layout: Layout, common: Sequence[int]) -> int:
    """Return the number of entries of one asset: features, returns, any held weight, and the `common` ones."""
    return layout.features + layout.window + (layout.weights is not None) + len(common)
