"""A Gaussian actor with a state-dependent standard deviation, and twin critics of observation and action, with ReLU
layers.

The gradients are explicit; a test compares them with autograd. With products in bfloat16, the sums, heads and
parameters stay in float32.

What can go wrong. A log standard deviation that is clipped at its bounds, as published, passes back no gradient: so it
approaches the bounds smoothly, by x / (1 + |x|). For few rows, rounding the weights would cost more than the product
saves: so the products of few rows stay in float32. The gradient by actions would overwrite the critics' stored
gradient: so `by_action` stores none.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softsign

from quantd.training.networks.actor_critic import flatten, layer, slope_of
from quantd.training.networks.onnx_nodes import Graph
from quantd.training.networks.products import product

LOG_SPREAD_LEAST, LOG_SPREAD_MOST = -5.0, 2.0
"""Bounds of the log standard deviation, approached by x / (1 + |x|): a cut, as published, has no gradient back."""

HALF_RANGE = 0.5 * (LOG_SPREAD_MOST - LOG_SPREAD_LEAST)

ROUNDED_ROWS = 16
"""Fewer rows are always multiplied in float32, because rounding the weights costs more than the product."""


class Activations(NamedTuple):
    """Values that the backward pass of hidden layers needs: their inputs and outputs.

    The inputs `given` are in the precision of the products; `made` are the outputs.
    """

    given: list[Tensor]
    made: list[Tensor]


class _Layer(NamedTuple):
    """Views of a linear layer in its network's vectors, which are faster to reach than a module's attributes."""

    weight: Tensor
    bias: Tensor
    weight_slope: Tensor
    bias_slope: Tensor


def _views(linear_layer: nn.Linear) -> _Layer:
    return _Layer(
        linear_layer.weight.data, linear_layer.bias.data, slope_of(linear_layer.weight), slope_of(linear_layer.bias)
    )


def _run(layers: Sequence[_Layer], x: Tensor, rounded: bool) -> tuple[Tensor, Activations]:
    """Map R rows float32[R, D] through layers with ReLU to float32[R, H], without an autograd graph.

    `rounded` rounds the factors of the products to bfloat16. The activations are the input of each layer (`given`) and
    its output (`made`), for `_pull`.

    Axes: D entries of an observation, H outputs of the last hidden layer.
    """
    activations = Activations([], [])
    for weight, bias, _, _ in layers:
        if rounded:
            x = x.bfloat16()
            activations.given.append(x)
            x = torch.mm(x, weight.bfloat16().t()).float().add_(bias).relu_()
        else:
            activations.given.append(x)
            x = product(x, weight.t(), bias).relu_()
        activations.made.append(x)
    return x, activations


def _pull(layers: Sequence[_Layer], d: Tensor, kept: Activations, *, slopes: bool) -> Tensor:
    """Backpropagate `d` float32[R, H], the gradient with respect to the outputs, to the first layer's pre-activations.

    With `slopes` the function also writes the parameters' gradients. Axes: R observations, H outputs of the last hidden
    layer.
    """
    for depth in range(len(layers) - 1, -1, -1):
        (weight, _, weight_slope, bias_slope), given = layers[depth], kept.given[depth]
        # the gradient of ReLU is 0 where its output was 0
        d = torch.ops.aten.threshold_backward.default(d, kept.made[depth], 0.0)
        factor, rounded = d.to(given.dtype), given.dtype != weight.dtype
        if slopes:
            weight_slope.copy_(torch.mm(factor.t(), given) if rounded else product(factor.t(), given))
            torch.sum(d, 0, out=bias_slope)
        if depth:
            d = torch.mm(factor, weight.to(given.dtype)).float() if rounded else product(d, weight)
    return d


def _pull_head(last_layer: _Layer, d: Tensor, x: Tensor) -> Tensor:
    """Write the gradients of the last layer, in float32, from `d`, the gradient with respect to its output.

    Return the gradient with respect to its input `x`.
    """
    torch.mm(d.t(), x, out=last_layer.weight_slope)
    torch.sum(d, 0, out=last_layer.bias_slope)
    return torch.mm(d, last_layer.weight)


def bounded(spread: Tensor) -> Tensor:
    """Map the network's output for the spread to a log standard deviation within its bounds."""
    return LOG_SPREAD_LEAST + HALF_RANGE * (1.0 + softsign(spread))


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
        self.vector, self.gradient = flatten(list(self.parameters()))
        self._hidden: Final = [_views(linear_layer) for linear_layer in self.layers]
        self._heads: Final = (_views(self.mean), _views(self.spread))

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log standard deviation, float32[R, K] each.

        Axes: R observations, K coordinates of an action.
        """
        x = observation
        for linear_layer in self.layers:
            if self.rounded and len(x) >= ROUNDED_ROWS:  # the bias is added in float32: only factors are rounded
                x = torch.relu(torch.mm(x.bfloat16(), linear_layer.weight.t().bfloat16()).float() + linear_layer.bias)
            else:
                x = torch.relu(linear(x, linear_layer.weight, linear_layer.bias))
        spread = linear(x, self.spread.weight, self.spread.bias)
        return linear(x, self.mean.weight, self.mean.bias), bounded(spread)

    @torch.no_grad()
    def run(self, observation: Tensor) -> tuple[Tensor, Tensor, Activations]:
        """Return (mean, log standard deviation before `bounded` limits it, activations), which `pull` needs for the
        gradient.
        """
        x, kept = _run(self._hidden, observation.contiguous(), self.rounded)
        mean, spread = (torch.addmm(head.bias, x, head.weight.t()) for head in self._heads)
        return mean, spread, kept

    @torch.no_grad()
    def pull(self, d_mean: Tensor, d_spread: Tensor, kept: Activations) -> None:
        """Compute a loss's gradient with respect to all parameters, from the gradients with respect to mean (`d_mean`)
        and log standard deviation (`d_spread`).
        """
        x = kept.made[-1]
        mean, spread = self._heads
        d = _pull_head(mean, d_mean, x).add_(_pull_head(spread, d_spread, x))
        _pull(self._hidden, d, kept, slopes=True)

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
        self.vector, self.gradient = flatten(list(self.parameters()))
        self._twins: Final = [
            ([_views(linear_layer) for linear_layer in layers], _views(value)) for layers, value in self.pair
        ]

    @torch.no_grad()
    def run(self, observation: Tensor, action: Tensor) -> tuple[Tensor, list[Activations]]:
        """Return the values float32[2, R], and the activations, from which `pull` and `by_action` compute gradients."""
        joined = torch.cat((observation, action), -1)
        values, kept = [], []
        for layers, value in self._twins:
            x, activations = _run(layers, joined, self.rounded)
            values.append(torch.addmm(value.bias, x, value.weight.t()).squeeze(-1))
            kept.append(activations)
        return torch.stack(values), kept

    @torch.no_grad()
    def pull(self, d: Tensor, kept: Sequence[Activations]) -> None:
        """Compute a loss's gradient with respect to all parameters.

        `d` float32[2, R] are its gradients with respect to the values of both critics at R observations; `kept` are the
        activations that `run` returned.
        """
        for (layers, value), slope, activations in zip(self._twins, d, kept, strict=True):
            _pull(layers, _pull_head(value, slope.unsqueeze(-1), activations.made[-1]), activations, slopes=True)

    @torch.no_grad()
    def by_action(self, d: Tensor, kept: Sequence[Activations], size: int) -> Tensor:
        """Return the gradients float32[R, A] of a loss with respect to the actions; the stored gradient is unchanged.

        Axes: R observations, A entries of an action.
        """
        gradients = []
        for (layers, value), slope, activations in zip(self._twins, d, kept, strict=True):
            by_first_layer = _pull(layers, slope.unsqueeze(-1) * value.weight, activations, slopes=False)
            gradients.append(torch.mm(by_first_layer, layers[0].weight[:, -size:]))
        return gradients[0] + gradients[1]
