"""Q-networks of discrete allocations: plain, dueling (Wang et al. 2016) and noisy (Fortunato et al. 2018).

What can go wrong. The outputs determine only the sum of value and advantage of a dueling network: so the mean advantage
is subtracted (equation 9 of Wang et al.). Noise that never changes would explore nothing, and noise in evaluation would
change answers: so each update draws new noise, and greedy actions use none.

The gradient of plain layers is explicit, because an autograd graph costs more than products of this size. Dueling and
noisy networks use autograd.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear

from quantd.training.networks.actor_critic import flatten, layer, slope_of
from quantd.training.networks.mlp import EPSILON
from quantd.training.networks.onnx_nodes import Graph

NOISE_AT_START = 0.5
"""sigma 0 of Fortunato et al. 2018, section 3.2, for factorised noise."""

Noise = dict[str, tuple[Tensor, Tensor]]
"""Name of a noisy layer -> (noise of its inputs, noise of its outputs), as `NoisyLinear.draw` returns."""


class NoisyLinear(nn.Module):
    """A linear layer whose weights and biases have random noise, each with a learned scale.

    The noise of a weight is the product of the noise of its input and the noise of its output. The noise of a bias is
    the noise of its output. Source: Fortunato et al. 2018, equations 9 to 11.
    """

    def __init__(self, inputs: int, outputs: int, random: torch.Generator) -> None:
        """Draw weights and biases uniformly within 1 / root of `inputs`, and begin the scales of their noise with one
        constant."""
        super().__init__()
        bound = inputs**-0.5

        def uniform(*shape: int) -> nn.Parameter:
            drawn = torch.rand(shape, generator=random, device=random.device)
            return nn.Parameter((drawn * 2.0 - 1.0) * bound)

        def constant(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.full(shape, NOISE_AT_START * bound, device=random.device))

        self.weight, self.bias = uniform(outputs, inputs), uniform(outputs)
        self.weight_spread, self.bias_spread = constant(outputs, inputs), constant(outputs)

    def draw(self, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw (noise of each input, noise of each output): sign(x) sqrt(|x|) of standard normal numbers x."""
        drawn = torch.randn(sum(self.weight.shape), generator=random, device=random.device)
        bent = drawn.sign() * drawn.abs().sqrt_()
        return bent[: self.weight.shape[1]], bent[self.weight.shape[1] :]

    def forward(self, x: Tensor, noise: tuple[Tensor, Tensor] | None) -> Tensor:
        """Map inputs float[.., I] to outputs float[.., O]; without `noise` the layer is an ordinary one."""
        if noise is None:
            return linear(x, self.weight, self.bias)
        input_noise, output_noise = noise
        # the outer product is avoided: S o (e i^T) x = e o (S (i o x))
        return linear(x, self.weight, self.bias) + output_noise * linear(
            x * input_noise, self.weight_spread, self.bias_spread
        )


class QNetwork(nn.Module):
    """Maps observations float32[.., D] to values float32[.., A] of A allocations, through ReLU layers `hidden` and one
    linear layer.

    With `streams` above 0, a LayerNorm follows each ReLU, and the value and the advantages have separate streams of
    that width. With `noisy`, all layers after the features are noisy. Axes: D entries of an observation.
    """

    def __init__(
        self,
        observation_size: int,
        choices: int,
        random: torch.Generator,
        hidden: Sequence[int] = (128, 64),
        streams: int = 0,
        noisy: bool = False,
    ) -> None:
        """Make the layers with random weights, and move all parameters into one vector.

        `streams` 0 makes one head; otherwise value and advantages have two layers each, of width `streams`.
        """
        super().__init__()
        # the third argument of `layer` and `head` is the gain of the initial weights
        widths = [observation_size, *hidden]
        self.streams: Final = streams
        self.noisy: Final = noisy
        # plain lists for use at each step: iteration over a ModuleList costs more than a product of this size
        self.layers: Final = [layer(a, b, 2**0.5, random) for a, b in pairwise(widths)]
        self.scales: Final = [nn.LayerNorm(b, EPSILON, device=random.device) for b in hidden if streams]
        self.features, self.norms = nn.ModuleList(self.layers), nn.ModuleList(self.scales)

        def head(inputs: int, outputs: int, gain: float) -> nn.Linear | NoisyLinear:
            return NoisyLinear(inputs, outputs, random) if noisy else layer(inputs, outputs, gain, random)

        last = widths[-1]
        self.head: Final[dict[str, nn.Linear | NoisyLinear]] = (
            {
                "value": head(last, streams, 2**0.5),
                "value_out": head(streams, 1, 1.0),
                "advantage": head(last, streams, 2**0.5),
                "advantage_out": head(streams, choices, 1.0),
            }
            if streams
            else {"out": head(last, choices, 1.0)}
        )
        self.heads = nn.ModuleDict(self.head)
        self.vector, self.gradient = flatten(list(self.parameters()))
        plain = [*self.layers, *(head_layer for head_layer in self.head.values() if isinstance(head_layer, nn.Linear))]
        # views, because access to a module's attributes costs more than a product of this size
        self._steps: Final = [(linear_layer.weight.data, linear_layer.bias.data) for linear_layer in plain]
        self._slopes: Final = [(slope_of(linear_layer.weight), slope_of(linear_layer.bias)) for linear_layer in plain]
        self._for_gradient: list[Tensor] = []
        """What `run` stored for `pull`: with autograd the values alone, else the inputs of all layers, at least two."""

    def draw(self, random: torch.Generator) -> Noise | None:
        """Draw the noise of all noisy layers, for `forward`; None when no layer is noisy."""
        drawn = {
            name: head_layer.draw(random)
            for name, head_layer in self.head.items()
            if isinstance(head_layer, NoisyLinear)
        }
        return drawn or None

    def forward(self, observation: Tensor, noise: Noise | None = None) -> Tensor:
        """Map observations float[.., D] to values float[.., A].

        Axes: D entries of an observation, A allocations.
        """
        x = observation
        for depth, linear_layer in enumerate(self.layers):
            x = torch.relu(linear(x, linear_layer.weight, linear_layer.bias))
            if self.streams:
                scale = self.scales[depth]
                x = layer_norm(x, scale.normalized_shape, scale.weight, scale.bias, EPSILON)

        def head(name: str, given: Tensor) -> Tensor:
            head_layer = self.head[name]
            if isinstance(head_layer, NoisyLinear):
                return head_layer.forward(given, noise[name] if noise else None)
            return linear(given, head_layer.weight, head_layer.bias)

        if not self.streams:
            return head("out", x)
        value = head("value_out", torch.relu(head("value", x)))
        advantage = head("advantage_out", torch.relu(head("advantage", x)))
        # equation 9 of Wang et al.: without the mean, value and advantage would not be identifiable
        return value + advantage - advantage.mean(-1, keepdim=True)

    def values(self, observation: Tensor, noise: Noise | None = None) -> Tensor:
        """Map observations float[.., D] to values float[.., A], without storing what a gradient needs.

        Axes: D entries of an observation, A allocations."""
        if self.streams or noise or self.noisy:
            return self.forward(observation, noise)
        *hidden, (weight, bias) = self._steps
        x = observation
        for inner, shift in hidden:
            x = torch.relu_(torch.addmm(shift, x, inner.t()))
        return torch.addmm(bias, x, weight.t())

    def run(self, observation: Tensor, noise: Noise | None = None) -> Tensor:
        """Return the values float[R, A], detached, and store what `pull` needs for the gradient.

        Axes: R observations, A allocations.
        """
        if self.streams or self.noisy:
            with torch.enable_grad():
                values = self.forward(observation, noise)
            self._for_gradient = [values]
            return values.detach()
        # the gradient of a plain layer sequence is explicit: an autograd graph costs more than products this small
        *hidden, (weight, bias) = self._steps
        inputs = [observation]
        for inner, shift in hidden:
            inputs.append(torch.relu_(torch.addmm(shift, inputs[-1], inner.t())))
        self._for_gradient = inputs
        return torch.addmm(bias, inputs[-1], weight.t())

    def pull(self, slope: Tensor) -> None:
        """Compute the gradient of a loss with respect to all parameters, and write it into `gradient`.

        `slope` float[R, A] are the gradients with respect to the values that the last `run` returned. Axes: R
        observations, A allocations.
        """
        if len(self._for_gradient) == 1:  # the values with their autograd graph
            self.gradient.zero_()
            self._for_gradient[0].backward(slope)  # type: ignore[no-untyped-call]
            return
        for depth in range(len(self._steps) - 1, -1, -1):
            (weight_slope, bias_slope), inputs = self._slopes[depth], self._for_gradient[depth]
            # both are views of `gradient`
            torch.mm(slope.t(), inputs, out=weight_slope)
            torch.sum(slope, 0, out=bias_slope)
            if depth:  # the slope by the output of the layer below, 0 where its ReLU returned 0
                slope = torch.ops.aten.threshold_backward.default(torch.mm(slope, self._steps[depth][0]), inputs, 0)

    def write(self, graph: Graph, given: str, prefix: str = "") -> str:
        """Add the nodes that compute the values from the observation `given`, without noise.

        Returns the name of the values.
        """
        x = given
        for depth, linear_layer in enumerate(self.layers):
            x = graph.node("Relu", [graph.linear(f"{prefix}layer{depth}", linear_layer, x)])
            if self.streams:
                x = graph.norm(f"{prefix}norm{depth}", self.scales[depth], x)

        def head(name: str, seen: str) -> str:
            return graph.affine(f"{prefix}{name}", self.head[name].weight, self.head[name].bias, seen)

        if not self.streams:
            return head("out", x)
        value = head("value_out", graph.node("Relu", [head("value", x)]))
        advantage = head("advantage_out", graph.node("Relu", [head("advantage", x)]))
        centred = graph.node("Sub", [advantage, graph.node("ReduceMean", [advantage], axes=[-1], keepdims=1)])
        return graph.node("Add", [value, centred])
