"""Networks of SAC and DQN that all assets share: a Gaussian actor, twin critics, and values of single assets.

The networks encode assets like the networks of `quantd.training.networks.shared`. A critic reads the weight of each
asset in the action beside the asset's entries, and takes the mean over assets. So the sessions of all assets teach the
same parameters, and no result depends on the order of the assets.

What can go wrong. A gradient by actions would overwrite the critics' stored gradient: so autograd is asked for the
gradient by the actions alone. A target network would keep a graph that nothing uses: so no graph is made where no
parameter learns. An allocation over several assets has no score of one asset: so the number of allocations is checked.
"""

from collections.abc import Sequence
from itertools import combinations
from math import comb
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from quantd.training.networks.actor_critic import flatten, layer
from quantd.training.networks.gaussian import bounded
from quantd.training.networks.onnx_nodes import Graph
from quantd.training.networks.q_network import Noise
from quantd.training.networks.shared import Body, scores, write_scores
from quantd.training.networks.sizes import Layout


class Acted(NamedTuple):
    """Outputs float[R, N] of an actor with their autograd graph.

    Axes: R observations, N assets.
    """

    mean: Tensor
    spread: Tensor


class Judged(NamedTuple):
    """Values float[2, R] of actions float[R, A], with their autograd graph.

    Axes: R observations, A entries of an action.
    """

    values: Tensor
    action: Tensor


class SharedActor(nn.Module):
    """Maps R observations float32[R, D] to mean and log standard deviation, float32[R, N] each, one coordinate for each
    asset.

    Raises ValueError unless the number of coordinates is the number N of assets. Axes: D entries of an observation.
    """

    def __init__(
        self, observation_size: int, coordinates: int, random: torch.Generator, *, layout: Layout,
        hidden: Sequence[int] = (64, 64), invested: float = 0.0,
    ) -> None:  # fmt: skip
        """Make the body and two heads, for mean and log deviation; `invested` is the initial mean of each asset.

        The gain 0.01 of the heads makes their first outputs hardly depend on the observation.
        """
        super().__init__()
        if coordinates != layout.assets:
            raise ValueError(
                f"network shared: {coordinates} coordinates are not one for each of {layout.assets} assets"
            )
        self.body = Body(observation_size, layout, hidden, random)
        self.mean, self.spread = (layer(hidden[-1], 1, 0.01, random) for _ in range(2))
        nn.init.constant_(self.mean.bias, invested)
        self.vector, self.gradient = flatten(list(self.parameters()))

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log standard deviation, float32[R, N] each, one coordinate per asset.

        Axes: R observations, N assets.
        """
        mean, spread = self._heads(observation)
        return mean, bounded(spread)

    def run(self, observation: Tensor) -> tuple[Tensor, Tensor, Any]:
        """Return (mean, log standard deviation before `bounded` limits it, stored values), which `pull` needs for the
        gradient.
        """
        with torch.enable_grad():
            kept = self._heads(observation)
        return kept.mean.detach(), kept.spread.detach(), kept

    def pull(self, d_mean: Tensor, d_spread: Tensor, kept: Any) -> None:
        """Compute a loss's gradient with respect to all parameters, from the gradients with respect to mean (`d_mean`)
        and log standard deviation (`d_spread`).
        """
        self.gradient.zero_()
        torch.autograd.backward(kept, (d_mean, d_spread))

    def write(self, graph: Graph, given: str, prefix: str = "") -> str:
        """Add the nodes that compute the mean float[1, N] from an observation. Returns the name of the mean in `graph`.

        `given` is the name of the observation, float[1, D]. Axes: N assets, D entries of an observation.
        """
        return write_scores(graph, self.body.write(graph, given, prefix), self.mean, None, prefix)

    def _heads(self, observation: Tensor) -> Acted:
        x = self.body(observation)
        return Acted(self.mean(x).squeeze(-1), self.spread(x).squeeze(-1))


class SharedCritics(nn.Module):
    """Two separate critics (Fujimoto and others 2018).

    The critics map observations float32[R, D] and actions float32[R, A] to values float32[2, R]. The inputs of an asset
    include its weight in the action. The weight of cash, the last of A, is no input, since it is 1 less the other
    weights. Raises ValueError unless A is N or N + 1. Axes: R observations, D entries of an observation.
    """

    def __init__(
        self, observation_size: int, action_size: int, random: torch.Generator, *, layout: Layout,
        hidden: Sequence[int] = (64, 64),
    ) -> None:  # fmt: skip
        """Make two critics with separate random weights, which read the weights of an action."""
        super().__init__()
        if action_size not in (layout.assets, layout.assets + 1):
            raise ValueError(
                f"network shared: actions of {action_size} entries are not the weights of {layout.assets} assets"
            )
        self.pair = nn.ModuleList(Body(observation_size, layout, hidden, random, weighted=True) for _ in range(2))
        # 1.0 is the gain of the initial weights
        self.heads = nn.ModuleList(layer(hidden[-1], 1, 1.0, random) for _ in range(2))
        self.assets: Final = layout.assets
        self.vector, self.gradient = flatten(list(self.parameters()))
        self._leaves: Final = list(self.parameters())

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        """Return the values float32[2, R] by both critics of R observations and actions."""
        weights = action[..., : self.assets]
        values = [
            head(body(observation, weights).mean(-2)).squeeze(-1)
            for body, head in zip(self.pair, self.heads, strict=True)
        ]
        return torch.stack(values)

    def run(self, observation: Tensor, action: Tensor) -> tuple[Tensor, Any]:
        """Return the values float32[2, R], and stored values, from which `pull` and `by_action` compute gradients."""
        learns = self._leaves[0].requires_grad
        action = action.detach().requires_grad_(learns)
        with torch.set_grad_enabled(learns):
            values = self(observation, action)
        return values.detach(), Judged(values, action)

    def pull(self, d: Tensor, kept: Any) -> None:
        """Compute a loss's gradient with respect to all parameters, from the gradients `d` float32[2, R] with respect
        to the values.
        """
        self.gradient.zero_()
        torch.autograd.backward(kept.values, d, inputs=self._leaves)

    def by_action(self, d: Tensor, kept: Any, size: int) -> Tensor:
        """Return the gradients float32[R, size] of a loss with respect to the last `size` entries of the actions.

        `d` float32[2, R] are the gradients of the loss with respect to the values. The stored gradient is unchanged.
        """
        (slope,) = torch.autograd.grad(kept.values, kept.action, d)
        return slope[:, -size:]


RESTING: Final = 0.1
"""Initial value of equal weight: above all other initial values, which are near 0, and below what a signal earns."""


class SharedQ(nn.Module):
    """Maps observations float32[.., D] to the values float32[.., A] of allocations.

    The allocations are all sets of `layout.held` assets, then, where the plan has them, cash and equal weight of all
    assets. The value of a set is the mean of its assets' values (Sunehag et al. 2018), so that one network of single
    assets values all sets. An untrained network prefers equal weight, where this is an allocation: a policy that
    learned nothing stays at equal weight and pays no costs. Raises ValueError unless A is the number of sets, or 1 or 2
    more. Axes: D entries of an observation.
    """

    def __init__(
        self, observation_size: int, choices: int, random: torch.Generator, *, layout: Layout,
        hidden: Sequence[int] = (64, 64),
    ) -> None:  # fmt: skip
        """Make the network for `choices` allocations: all sets of assets, and up to two further ones (cash, equal
        weight)."""
        super().__init__()
        self.sets: Final = comb(layout.assets, layout.held)
        """Number of sets of assets that an action can hold."""
        further = choices - self.sets
        if further not in (0, 1, 2):
            needed = "one for each" if layout.held == 1 else f"one for each {layout.held}"
            raise ValueError(f"network shared: {choices} allocations are not {needed} of {layout.assets} assets")
        self.body = Body(observation_size, layout, hidden, random)
        # with equal weight, all other values begin near 0, below its initial value
        gain = 0.01 if further == 2 else 1.0
        self.score = layer(hidden[-1], 1, gain, random)
        # outputs of allocations that are no sets: cash, or cash and equal weight
        self.cash = layer(hidden[-1], further, gain, random) if further else None
        if self.cash is not None and further == 2:
            with torch.no_grad():
                self.cash.bias[1] = RESTING
        # maps the scores of assets, cash and equal weight to values of sets, cash and equal weight; None where a set is
        # one asset, whose score is the value
        self.parts: Final = None if layout.held == 1 else _part_matrix(layout, further).to(random.device)
        self.vector, self.gradient = flatten(list(self.parameters()))
        self._values: Tensor | None = None
        """The values of the last `run` with their autograd graph, for `pull`."""

    def draw(self, random: torch.Generator) -> None:
        """Return None in place of noise: no layer of this network is noisy."""

    def forward(self, observation: Tensor, noise: Noise | None = None) -> Tensor:
        """Map observations float[.., D] to values float[.., A].

        Axes: D entries of an observation, A allocations.
        """
        x = self.body(observation)
        by_asset = scores(x, x.mean(-2), self.score, self.cash)
        return by_asset if self.parts is None else by_asset @ self.parts

    def values(self, observation: Tensor, noise: Noise | None = None) -> Tensor:
        """Map observations float[.., D] to values float[.., A], without storing what a gradient needs.

        Axes: D entries of an observation, A allocations."""
        with torch.no_grad():
            return self.forward(observation)

    def run(self, observation: Tensor, noise: Noise | None = None) -> Tensor:
        """Return the values float[R, A], detached, and store what `pull` needs for the gradient.

        Axes: R observations, A allocations.
        """
        with torch.enable_grad():
            self._values = self.forward(observation)
        return self._values.detach()

    def pull(self, slope: Tensor) -> None:
        """Compute the gradient of a loss with respect to all parameters, and write it into `gradient`.

        `slope` float[R, A] are the gradients with respect to the values that the last `run` returned. Axes: R
        observations, A allocations.
        """
        assert self._values is not None
        values, self._values = self._values, None  # frees the graph: a second `pull` needs another `run`
        self.gradient.zero_()
        torch.autograd.backward(values, slope)

    def write(self, graph: Graph, given: str, prefix: str = "") -> str:
        """Add the nodes that compute the values float[1, A] from an observation.

        Returns the name of the values in `graph`. `given` is the name of the observation, float[1, D]. Axes: A
        allocations, D entries of an observation.
        """
        by_asset = write_scores(graph, self.body.write(graph, given, prefix), self.score, self.cash, prefix)
        if self.parts is None:
            return by_asset
        return graph.node("MatMul", [by_asset, graph.constant(f"{prefix}parts", self.parts.cpu().numpy())])


def _part_matrix(layout: Layout, further: int) -> Tensor:
    """Return float32[N + further, A]: the weight of each score in the value of each allocation.

    The scores are those of N assets, then the `further` (1 or 2) scores: of cash, or of cash and equal weight.

    The allocations are in the order of `quantd.training.market.tensors.grid`.
    """
    # `held` is the number of assets in a set
    sets = list(combinations(range(layout.assets), layout.held))
    parts = torch.zeros((layout.assets + further, len(sets) + further))
    for index, members in enumerate(sets):
        parts[list(members), index] = 1.0 / layout.held
    parts[layout.assets :, len(sets) :] = torch.eye(further)
    return parts
