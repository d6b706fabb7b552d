"""The default network: tanh and LayerNorm layers of width 256, shared by the heads of actor and critic.

The gradient is explicit, because an autograd graph for such small matrices costs as much as the arithmetic. A test
compares it with autograd.

What can go wrong. A gradient would use activations of another pass: a `run` with `keep` clears the activations of the
previous run, and `recorded` replaces them. So neither may come between a run and its `pull`. With bfloat16, the
products of the few rows of one step stay in float32, and the products of a whole rollout do not. Recorded steps would
differ from a run: so a network with bfloat16 does not record.

What the order guarantees. Parts of the rows are differentiated in the order in which they were run. The first part
replaces the stored gradient, and each further part adds to it.

tanh(h) is 2 sigmoid(2h) - 1. So LayerNorm of tanh(h) equals LayerNorm of sigmoid(2h) with a quarter of epsilon.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from quantd.training.networks.actor_critic import ActorCritic, Heads, flatten, layer, slope_of
from quantd.training.networks.onnx_nodes import Graph
from quantd.training.networks.products import product

EPSILON = 1e-5
"""Epsilon of LayerNorm, torch's default."""


ROUNDED_ROWS = 64
"""Fewer rows are always multiplied in float32, because rounding the weights costs more than the product."""

PART = 256
"""Number of rows processed together on a CPU: a layer's output then stays in the cache for the next layer."""


class _Activations(NamedTuple):
    """Values of one layer's forward pass, for its backward pass."""

    given: Tensor
    """The layer's input, in the precision of the products."""
    bent: Tensor
    """sigmoid(2h) of the layer's pre-activations h."""
    mean: Tensor
    scale: Tensor


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
        self.trunk = nn.Sequential(*(nn.Sequential(linear, nn.Tanh(), norm) for linear, norm in self.blocks))
        # the initial policy is nearly uniform (Andrychowicz et al. 2021)
        self.actor = layer(widths[-1], outputs, 0.01, random)
        self.critic = layer(widths[-1], 1, 1.0, random)
        self.spread = nn.Parameter(torch.full((spread,), start, device=random.device))
        self._rounded = bfloat16
        # adjacent heads at the end: one product computes both
        heads: list[Tensor] = [self.actor.weight, self.critic.weight, self.actor.bias, self.critic.bias]
        self.vector, self.gradient = flatten([*self.trunk.parameters(), self.spread, *heads])
        self._rounded_layers: list[Tensor] = []
        """The trunk's weights in bfloat16, as of the last pass."""
        # of the last forward pass that is needed backwards, for each part of its rows: activations, input of the heads
        self._tapes: list[tuple[list[_Activations], Tensor]] = []
        self._record_shape = (0, 0)
        self._record: list[Tensor] = []
        """Steps of `record`: the sigmoid of each layer, float[T, B, width], and the outputs of the heads."""
        self._record_rows: list[list[Tensor]] = []
        """Views of `_record` for each step."""
        self._views()

    def _views(self) -> None:
        """Set views of the parameters and gradients. The two heads, adjacent in the vector, are one view."""
        shape, size = (self.actor.out_features + 1, self.actor.in_features), self.actor.out_features + 1
        weights = shape[0] * shape[1]

        def joined(flat: Tensor) -> tuple[Tensor, Tensor]:
            return flat[-weights - size : -size].view(shape), flat[-size:]

        self._head, self._head_slope = joined(self.vector), joined(self.gradient)
        self._head_across = self._head[0].t()
        self._layers = [
            (linear_layer.weight.data.t(), linear_layer.bias.data, norm.weight.data, norm.bias.data)
            for linear_layer, norm in self.blocks
        ]
        self._slopes = [
            tuple(slope_of(p) for p in (linear_layer.weight, linear_layer.bias, norm.weight, norm.bias))
            for linear_layer, norm in self.blocks
        ]
        self._spread_slope = slope_of(self.spread)

    def write(self, graph: Graph, given: str, prefix: str = "") -> str:
        x = given
        for depth, (linear, norm) in enumerate(self.blocks):
            bent = graph.node("Tanh", [graph.linear(f"{prefix}layer{depth}", linear, x)])
            x = graph.norm(f"{prefix}norm{depth}", norm, bent)
        return graph.linear(f"{prefix}actor", self.actor, x)

    def act(self, observation: Tensor, carry: Tensor) -> tuple[Tensor, Tensor]:
        self._round(observation)
        return self._forward(observation, keep=False)[:, :-1], carry

    def run(self, observation: Tensor, started: Tensor, carry: Tensor, *, keep: bool = False) -> Heads:
        rows = observation.reshape(-1, observation.shape[-1])
        self._round(rows)
        if keep:
            self._tapes.clear()
        outputs = [self._forward(part, keep) for part in self._parts(rows)]
        heads = (outputs[0] if len(outputs) == 1 else torch.cat(outputs)).view(*observation.shape[:-1], -1)
        return Heads(heads[..., :-1], heads[..., -1])

    @property
    def records(self) -> bool:
        # a product of few rows is never rounded, but one of a whole rollout is
        return not self._rounded

    def record(self, observation: Tensor, step: int, steps: int) -> Tensor:
        """Run step `step` of `steps` on its observations float[B, D], and store each layer's activations at this index.
        Returns the actor's outputs float[B, P].

        Axes: B environments, D entries of an observation, P outputs of the actor."""
        if self._record_shape != (steps, len(observation)):
            self._record_shape = (steps, len(observation))
            widths = [*(bias.numel() for _, bias, *_ in self._layers), self._head[1].numel()]
            self._record = [self.vector.new_empty((*self._record_shape, width)) for width in widths]
            self._record_rows = [list(rows) for rows in zip(*self._record, strict=True)]
        *rows, heads = self._record_rows[step]
        x = observation
        # `across` are a layer's weights, transposed, and `bent` its output after the sigmoid
        for (across, bias, gain, shift), bent in zip(self._layers, rows, strict=True):
            # sigmoid(2 (x W + b)), for which `_forward` gives the reason
            torch.addmm(bias, x, across, beta=2, alpha=2, out=bent).sigmoid_()
            x = torch.native_layer_norm(bent, gain.shape, gain, shift, EPSILON / 4.0)[0]
        return torch.addmm(self._head[1], x, self._head_across, out=heads)[:, :-1]

    def recorded(self, observation: Tensor) -> Heads:
        """Return the outputs of all recorded steps, with the observations float[T, B, D], and prepare the activations
        for `pull`, which computes the gradient.

        Axes: T steps, B environments, D entries of an observation."""
        *layers, heads = self._record
        x, kept = observation.flatten(0, 1), []
        # computing the norms of all rows again takes less time than joining the norms of each step
        for (_, _, gain, shift), rows in zip(self._layers, layers, strict=True):
            # the layer's output after the sigmoid
            bent = rows.flatten(0, 1)
            normal, mean, scale = torch.native_layer_norm(bent, gain.shape, gain, shift, EPSILON / 4.0)
            kept.append(
                [_Activations(*tensors) for tensors in zip(*map(self._parts, (x, bent, mean, scale)), strict=True)]
            )
            x = normal
        self._tapes = [(list(activations), part) for *activations, part in zip(*kept, self._parts(x), strict=True)]
        # the last column is the value
        return Heads(heads[..., :-1], heads[..., -1])

    def pull(self, d_actor: Tensor, d_spread: Tensor, d_value: Tensor) -> None:
        d = torch.cat([d_actor.reshape(-1, d_actor.shape[-1]), d_value.reshape(-1, 1)], dim=1)
        if d_spread.numel():
            self._spread_slope.copy_(d_spread)
        for index, (part, (kept, last)) in enumerate(zip(self._parts(d), self._tapes, strict=True)):
            self._backward(part, kept, last, float(index > 0))

    def _round(self, rows: Tensor) -> None:
        if self._rounded and len(rows) >= ROUNDED_ROWS:
            self._rounded_layers = [across.bfloat16() for across, *_ in self._layers]

    def _parts(self, rows: Tensor) -> Sequence[Tensor]:
        """Split rows into parts of PART rows, for a CPU; a GPU computes all rows at once."""
        if rows.is_cuda or len(rows) <= PART:
            return (rows,)
        return rows.tensor_split(tuple(range(PART, len(rows), PART)))

    def _backward(self, d: Tensor, kept: Sequence[_Activations], last: Tensor, before: float) -> None:
        """Backpropagate `d`, the gradient with respect to the outputs of actor and critic, for one part of the rows.

        The result is added to `before` times the stored gradient: `before` is 0 for the first part, which replaces the
        gradient, and 1 for each further part. `kept` are the activations of each layer, and `last` is the input of the
        heads (the output layers).
        """
        weight, _ = self._head
        self._add(self._head_slope, d, last, before)
        d = torch.mm(d, weight)
        for depth in range(len(self._layers) - 1, -1, -1):
            # `given` is the layer's input, `across` its weights, transposed, `bent` its output after the sigmoid
            across, _, gain, shift = self._layers[depth]
            weight_slope, bias_slope, gain_slope, shift_slope = self._slopes[depth]
            given, bent, mean, scale = kept[depth]
            d, d_gain, d_shift = torch.ops.aten.native_layer_norm_backward(
                d, bent, gain.shape, mean, scale, gain, shift, [True, True, True]
            )
            torch.add(d_gain, gain_slope, alpha=before, out=gain_slope)
            torch.add(d_shift, shift_slope, alpha=before, out=shift_slope)
            d = torch.ops.aten.sigmoid_backward(d, bent).mul_(2.0)
            self._add((weight_slope, bias_slope), d, given, before)
            if depth:
                factor = across if given.dtype == across.dtype else self._rounded_layers[depth]
                is_unrounded = given.dtype == d.dtype
                d = product(d, factor.t()) if is_unrounded else torch.mm(d.to(given.dtype), factor.t()).float()

    def _add(self, slopes: tuple[Tensor, Tensor], d: Tensor, given: Tensor, before: float) -> None:
        """Accumulate the gradient of a linear layer's weight and bias; `before` is the factor of the gradient stored
        earlier: 0 to replace it, 1 to add to it.
        """
        weight, bias = slopes
        torch.add(d.sum(0), bias, alpha=before, out=bias)
        if given.dtype == torch.bfloat16:
            torch.add(torch.mm(d.bfloat16().t(), given).float(), weight, alpha=before, out=weight)
        else:
            torch.add(product(d.t(), given), weight, alpha=before, out=weight)

    def _forward(self, x: Tensor, keep: bool) -> Tensor:
        """Map R observations float[R, D] to float[R, P + 1]: the P outputs of the actor and the value.

        With bfloat16, the factors and products of the hidden layers are rounded; sums, norms, heads and the optimiser
        stay float32. `keep` stores the activations for the gradient. Axes: D entries of an observation.
        """
        kept = []
        rounded = self._rounded and len(x) >= ROUNDED_ROWS
        # `across` are a layer's weights, transposed, and `bent` its output after the sigmoid
        for depth, (across, bias, gain, shift) in enumerate(self._layers):
            # tanh(h) = 2 sigmoid(2h) - 1. Its LayerNorm equals the LayerNorm of the sigmoid alone at a quarter of
            # epsilon.
            if rounded:
                x = x.bfloat16()
                bent = torch.add(bias + bias, torch.mm(x, self._rounded_layers[depth]).float(), alpha=2.0).sigmoid_()
            else:
                bent = product(x, across, bias).mul_(2.0).sigmoid_()
            normal, mean, scale = torch.native_layer_norm(bent, gain.shape, gain, shift, EPSILON / 4.0)
            if keep:
                kept.append(_Activations(x, bent, mean, scale))
            x = normal
        if keep:
            self._tapes.append((kept, x))
        return torch.addmm(self._head[1], x, self._head_across)
