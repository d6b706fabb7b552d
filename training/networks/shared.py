"""One network for all assets, which returns a score of each asset and one value (Zaheer et al. 2017, Deep Sets).

Each asset is encoded from its entries of the observation, its held weight and the entries that all assets have in
common. Then each asset is scored from its encoding and the mean encoding. A permutation of the assets permutes the
scores. The sessions of all assets teach the same parameters. So an asset with two years of prices is traded with
parameters that were learned on fifteen years of the other assets.

With `Layout.gains` each asset multiplies its market entries by factors of its own, which begin at 1 and are learned. So
a signal that only one asset has is read for this asset, and its noise in other assets is ignored. With gains, a
permutation of the assets changes the scores.

What can go wrong. Held weights among the common entries would have an order, and a permutation would change the scores:
so each asset sees only its own weight. `normalise` scales by entry, so that equal raw values of two assets can be
different inputs: the permutation holds for scaled entries only. Actions that are not scores of single assets cannot be
computed by a shared network: so the grid of a discrete plan is refused.

Rejected: a training plan without `normalise`. It found 32 % of a planted signal instead of 70 %, and does not scale
rewards either.

Rejected: a one-hot entry that identifies each asset. It lets an asset have a constant score whatever its features are,
and a policy learns to hold the asset that rose most in training. Gains only multiply features. Measured on a signal of
one asset of five, in other stocks: +0.12 and +0.11 a year above equal weight with gains, -0.01 and -0.03 with one-hot
entries, 0.00 without both (docs/learn/power.md).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from quantd.training.networks.actor_critic import ActorCritic, Heads, layer
from quantd.training.networks.mlp import EPSILON
from quantd.training.networks.onnx_nodes import Graph
from quantd.training.networks.sizes import Layout

INVESTED: Final = 1.5
"""Initial score of an asset; that of cash is 0. With equal scores, five assets and cash would each get a sixth of the
capital: a policy that learns nothing would stay there, and lose the market's growth on the cash."""


class Body(nn.Module):
    """Encodes each asset: tanh layers of widths `hidden` with norms; the last one also reads the mean of all assets.

    The inputs of an asset are its market entries, its held weight, and the entries that all assets have in common. With
    `weighted`, the inputs also have the asset's weight in an action, divided by equal weight and less 1, and the
    products of this number with the other inputs. An account's growth is a sum of such products of weights and returns.
    Raises ValueError for observations shorter than the layout.
    """

    def __init__(
        self, observation_size: int, layout: Layout, hidden: Sequence[int], random: torch.Generator, *,
        weighted: bool = False,
    ) -> None:  # fmt: skip
        """Make the layers, whose inputs are the entries of one asset. With `weighted`, the inputs also have the asset's
        weight in an action, and the product of this weight with each entry."""
        super().__init__()
        weights = layout.assets if layout.weights is not None else 0
        self.gains: Final = gains_of(layout, random.device)
        if layout.market + weights > observation_size:
            raise ValueError(
                f"network shared: {layout} is longer than the {observation_size} entries of an observation"
            )
        self.layout: Final = layout
        self.common: Final = common_of(layout, observation_size)
        """Positions of the entries that all assets have in common."""
        entries = layout.features + layout.window + (weights > 0) + len(self.common)
        if weighted:
            # the weight of the asset in the action, and its product with each entry
            entries += entries + 1
        *inner, outputs = hidden
        self.layers = nn.ModuleList(layer(a, b, 2**0.5, random) for a, b in pairwise((entries, *inner)))
        width = inner[-1] if inner else entries
        # 1.0 is the gain of the initial weights
        self.mixed, self.pooled = (layer(width, outputs, 1.0, random) for _ in range(2))

    def forward(self, observation: Tensor, action: Tensor | None = None) -> Tensor:
        """Map observations float[.., D] to encoded assets float[.., N, H].

        A `weighted` body also takes the weights float[.., N] of an action. Axes: D entries of an observation, N assets,
        H numbers of an encoded asset.
        """
        x = assets_of(observation, self.layout, self.common, self.gains)
        if action is not None:
            # 0 for equal weight, -1 for an asset without weight
            excess = (action * self.layout.assets - 1.0).unsqueeze(-1)
            x = torch.cat([x, excess, excess * x], -1)
        for linear in self.layers:
            x = normal(torch.tanh(linear(x)))
        return normal(torch.tanh(self.mixed(x) + self.pooled(x.mean(-2, keepdim=True))))

    def write(self, graph: Graph, given: str, prefix: str = "") -> str:
        """Add the nodes that encode an observation float[1, D] as N assets float[N, H] to an ONNX graph; there is no
        action.

        Axes: D entries of an observation, H numbers of an encoded asset.
        """
        node = graph.node
        x = write_assets(graph, given, self.layout, self.common, prefix, self.gains)
        for depth, linear in enumerate(self.layers):
            assert isinstance(linear, nn.Linear)
            x = write_norm(graph, node("Tanh", [graph.linear(f"{prefix}layer{depth}", linear, x)]), linear.out_features)
        pooled = graph.linear(f"{prefix}pooled", self.pooled, mean_of(graph, x))
        mixed = node("Add", [graph.linear(f"{prefix}mixed", self.mixed, x), pooled])
        return write_norm(graph, node("Tanh", [mixed]), self.mixed.out_features)


class Shared(ActorCritic):
    """An actor-critic that scores each asset, and computes one value for all assets together.

    Raises ValueError unless an action is one score for each asset, with or without one more for cash.
    """

    def __init__(
        self, observation_size: int, outputs: int, spread: int, random: torch.Generator, *, layout: Layout,
        hidden: Sequence[int] = (64, 64), start: float = 0.0, invested: float = INVESTED,
    ) -> None:  # fmt: skip
        """Make the body and its heads. `outputs` is the number of assets, or one more with a separate score of cash.

        `invested` is the initial score of an asset above the score of cash. `spread` is the number of log standard
        deviations, which begin at `start`.
        """
        super().__init__()
        if outputs not in (layout.assets, layout.assets + 1):
            raise ValueError(f"network shared: {outputs} actions are not one score for each of {layout.assets} assets")
        self.body = Body(observation_size, layout, hidden, random)
        # the initial policy is nearly uniform (Andrychowicz et al. 2021)
        self.score = layer(hidden[-1], 1, 0.01, random)
        self.critic = layer(hidden[-1], 1, 1.0, random)
        self.cash = layer(hidden[-1], 1, 0.01, random) if outputs > layout.assets else None
        # cash has the score 0, or an output for its score: an initial share of a few percent in both cases
        if self.cash is None:
            nn.init.constant_(self.score.bias, invested)
        else:
            nn.init.constant_(self.cash.bias, -invested)
        self.spread = nn.Parameter(torch.full((spread,), start, device=random.device))
        self._flatten()

    def forward(self, observation: Tensor) -> Heads:
        """Map observations float[.., D] to the outputs of actor and critic.

        Axes: D entries of an observation.
        """
        x = self.body(observation)
        mean = x.mean(-2)
        return Heads(scores(x, mean, self.score, self.cash), self.critic(mean).squeeze(-1))

    @torch.no_grad()
    def act(self, observation: Tensor, carry: Tensor) -> tuple[Tensor, Tensor]:
        return self(observation).actor, carry

    def run(self, observation: Tensor, started: Tensor, carry: Tensor, *, keep: bool = False) -> Heads:
        with torch.set_grad_enabled(keep):
            heads: Heads = self(observation)
        return self._keep(heads) if keep else heads

    def write(self, graph: Graph, given: str, prefix: str = "") -> str:
        """Add the nodes that map an observation float[1, D] to the actor's outputs float[1, P] to an ONNX graph.

        Axes: D entries of an observation, P outputs of the actor.
        """
        x = self.body.write(graph, given, prefix)
        return write_scores(graph, x, self.score, self.cash, prefix)


def common_of(layout: Layout, size: int) -> list[int]:
    """Return the indices of the entries that all assets have in common, in an observation of `size` entries."""
    first = layout.market if layout.weights is None else layout.weights
    last = first if layout.weights is None else first + layout.assets
    return [*range(layout.market, first), *range(last, size)]


def gains_of(layout: Layout, device: torch.device) -> nn.Parameter | None:
    """Return learnable factors float32[N, M], initially 1, of the M market entries of each of N assets; None for a
    layout without gains.
    """
    size = (layout.assets, layout.features + layout.window)
    return nn.Parameter(torch.ones(size, device=device)) if layout.gains else None


def assets_of(observation: Tensor, layout: Layout, common: Sequence[int], gains: nn.Parameter | None = None) -> Tensor:
    """Map observations float[.., D] to float[.., N, E]: each asset's entries, its held weight, and the `common`
    entries.

    `gains` float[N, M] are factors of the M market entries, which are the first of E. Axes: D entries of an
    observation, N assets.
    """
    market = observation[..., : layout.market].reshape(*observation.shape[:-1], layout.assets, -1)
    parts = [market if gains is None else market * gains]
    if layout.weights is not None:
        parts.append(observation[..., layout.weights : layout.weights + layout.assets].unsqueeze(-1))
    if common:
        entries = observation[..., common].unsqueeze(-2)
        parts.append(entries.expand(*entries.shape[:-2], layout.assets, -1))
    return torch.cat(parts, -1)


def write_assets(
    graph: Graph, given: str, layout: Layout, common: Sequence[int], prefix: str = "", gains: Tensor | None = None
) -> str:
    """Add the nodes of `assets_of` to an ONNX graph: from an observation float[1, D] to a row float[N, E] for each of N
    assets. Returns the name of the last node.
    """
    # `given` is the name of the observation in the graph
    node = graph.node
    shape = graph.integers(f"{prefix}market", layout.assets, layout.features + layout.window)
    parts = [node("Reshape", [graph.columns(given, 0, layout.market), shape])]
    if gains is not None:
        parts = [node("Mul", [parts[0], graph.constant(f"{prefix}gains", gains.detach().cpu().numpy())])]
    if layout.weights is not None:
        held_weights = graph.columns(given, layout.weights, layout.weights + layout.assets)
        parts.append(node("Transpose", [held_weights], perm=[1, 0]))
    if common:
        entries = node("Gather", [given, graph.integers(f"{prefix}common", *common)], axis=1)
        parts.append(node("Expand", [entries, graph.integers(f"{prefix}each", layout.assets, len(common))]))
    return node("Concat", parts, axis=1) if len(parts) > 1 else parts[0]


def scores(x: Tensor, mean: Tensor, score: nn.Linear, cash: nn.Linear | None) -> Tensor:
    """Map encoded assets float[.., N, H] and their `mean` to a score of each asset, float[.., N].

    With `cash`, a score of cash follows: float[.., N + 1]. Axes: N assets, H numbers of an encoded asset.
    """
    by_asset = score(x).squeeze(-1)
    return by_asset if cash is None else torch.cat([by_asset, cash(mean)], -1)


def write_scores(graph: Graph, x: str, score: nn.Linear, cash: nn.Linear | None, prefix: str = "") -> str:
    """Add the nodes that score each asset (and cash, if not None) to an ONNX graph: from float[N, H] of node `x` to
    float[1, N or N + 1].

    Returns the name of the last node. Axes: N assets, H numbers of an encoded asset.
    """
    by_asset = graph.node("Transpose", [graph.linear(f"{prefix}score", score, x)], perm=[1, 0])
    if cash is None:
        return by_asset
    return graph.node("Concat", [by_asset, graph.linear(f"{prefix}cash", cash, mean_of(graph, x))], axis=1)


def normal(x: Tensor) -> Tensor:
    """Scale rows to mean 0 and variance 1 over the last dimension."""
    return layer_norm(x, x.shape[-1:], eps=EPSILON)


def write_norm(graph: Graph, x: str, width: int) -> str:
    """Add the nodes that scale the rows of `x`, `width` numbers each, to mean 0 and variance 1, to an ONNX graph.
    Returns the name of the output."""
    ones = graph.constant(f"ones{width}", np.ones(width, dtype=np.float32))
    return graph.node("LayerNormalization", [x, ones], axis=-1, epsilon=EPSILON)


def mean_of(graph: Graph, x: str) -> str:
    """Add the mean float[1, width] of the rows float[N, width] of node `x` to an ONNX graph. Returns its name.

    Axes: N assets.
    """
    return graph.node("ReduceMean", [x], axes=[0], keepdims=1)
