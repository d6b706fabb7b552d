"""The named default: a trunk of tanh and LayerNorm layers of 256, shared by the actor's and the critic's heads.

The gradient is written out beside the function: with matrices this small, a graph costs as much as the arithmetic. A
test holds it to autograd.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from models.networks.actor_critic import Heads, flatten, layer, slope_of
from models.networks.graph import Graph, Readout

EPSILON = 1e-5
"""Of LayerNorm, torch's default."""


class _Kept(NamedTuple):
    """Of one layer's forward pass, for its backward pass."""

    given: Tensor
    bent: Tensor
    """sigmoid(2h) of the layer's sums h."""
    mean: Tensor
    scale: Tensor


def tanh(x: Tensor) -> Tensor:
    """2 sigmoid(2x) - 1, to 3e-7 the same and several times as fast as torch's own on a CPU."""
    return torch.sigmoid(x * 2.0) * 2.0 - 1.0


class Mlp(nn.Module):
    """Linear, tanh, LayerNorm for each of `hidden`; then actor and critic, one linear layer each."""

    recurrent: Final = False

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
        super().__init__()
        widths = [observation_size, *hidden]
        self.blocks: list[tuple[nn.Linear, nn.LayerNorm]] = [
            (layer(given, width, 2**0.5, random), nn.LayerNorm(width, EPSILON, device=random.device))
            for given, width in pairwise(widths)
        ]
        self.trunk = nn.Sequential(*(nn.Sequential(linear, nn.Tanh(), norm) for linear, norm in self.blocks))
        # a nearly uniform policy to begin with (Andrychowicz et al. 2021)
        self.actor = layer(widths[-1], outputs, 0.01, random)
        self.critic = layer(widths[-1], 1, 1.0, random)
        self.spread: Final = nn.Parameter(torch.full((spread,), start, device=random.device))
        self._rounded = bfloat16
        # heads last and side by side: one product then computes both
        heads: list[Tensor] = [self.actor.weight, self.critic.weight, self.actor.bias, self.critic.bias]
        self.vector, self.gradient = flatten([*self.trunk.parameters(), self.spread, *heads])
        self._kept: list[_Kept] = []
        self._last = torch.empty(0)
        self._views()

    def _views(self) -> None:
        shape, size = (self.actor.out_features + 1, self.actor.in_features), self.actor.out_features + 1
        weights = shape[0] * shape[1]

        def joined(flat: Tensor) -> tuple[Tensor, Tensor]:
            return flat[-weights - size : -size].view(shape), flat[-size:]

        self._head, self._head_slope = joined(self.vector), joined(self.gradient)
        self._layers = [
            (each.weight.data, each.bias.data, norm.weight.data, norm.bias.data) for each, norm in self.blocks
        ]
        self._slopes = [
            tuple(slope_of(p) for p in (each.weight, each.bias, norm.weight, norm.bias)) for each, norm in self.blocks
        ]
        self._spread_slope = slope_of(self.spread)

    def forward(self, observation: Tensor) -> Heads:
        """float[.., D], with torch's graph: the definition."""
        x = observation
        for linear, norm in self.blocks:
            x = norm(tanh(linear(x)))
        return Heads(self.actor(x), self.critic(x).squeeze(-1))

    def begin(self, batch: int) -> Tensor:
        return self.vector.new_zeros((batch, 0))

    @torch.no_grad()
    def act(self, observation: Tensor, carry: Tensor) -> tuple[Tensor, Tensor]:
        return self._forward(observation, keep=False)[:, :-1], carry

    @torch.no_grad()
    def run(self, observation: Tensor, started: Tensor, carry: Tensor, *, keep: bool = False) -> Heads:
        heads = self._forward(observation.reshape(-1, observation.shape[-1]), keep).view(*observation.shape[:-1], -1)
        return Heads(heads[..., :-1], heads[..., -1])

    @torch.no_grad()
    def pull(self, d_actor: Tensor, d_spread: Tensor, d_value: Tensor) -> None:
        d = torch.cat([d_actor.reshape(-1, d_actor.shape[-1]), d_value.reshape(-1, 1)], dim=1)
        weight, _ = self._head
        slope, bias_slope = self._head_slope
        self._product(d.t(), self._last, slope)
        torch.sum(d, 0, out=bias_slope)
        if d_spread.numel():
            self._spread_slope.copy_(d_spread)
        d = self._product(d, weight)
        for depth in range(len(self._layers) - 1, -1, -1):
            weight, _, gain, shift = self._layers[depth]
            slopes = self._slopes[depth]
            kept = self._kept[depth]
            d, d_gain, d_shift = torch.ops.aten.native_layer_norm_backward(
                d, kept.bent, gain.shape, kept.mean, kept.scale, gain, shift, [True, True, True]
            )
            slopes[2].copy_(d_gain)
            slopes[3].copy_(d_shift)
            d = torch.ops.aten.sigmoid_backward(d, kept.bent).mul_(2.0)
            self._product(d.t(), kept.given, slopes[0])
            torch.sum(d, 0, out=slopes[1])
            if depth:
                d = self._product(d, weight)

    def _forward(self, x: Tensor, keep: bool) -> Tensor:
        """float[R, D] -> float[R, P + 1]: the actor's columns and the value."""
        kept = []
        for weight, bias, gain, shift in self._layers:
            # tanh(h) = 2 sigmoid(2h) - 1, and LayerNorm of that is LayerNorm of the sigmoid alone at a quarter of epsilon
            if self._rounded:
                bent = self._product(x, weight.t()).add_(bias).mul_(2.0).sigmoid_()
            else:
                bent = torch.addmm(bias, x, weight.t(), beta=2, alpha=2).sigmoid_()
            normal, mean, scale = torch.native_layer_norm(bent, gain.shape, gain, shift, EPSILON / 4.0)
            if keep:
                kept.append(_Kept(x, bent, mean, scale))
            x = normal
        if keep:
            self._kept, self._last = kept, x
        weight, bias = self._head
        return torch.addmm(bias, x, weight.t())

    def _product(self, a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
        """float32[R, C]. With bfloat16 the factors are rounded; sums, norms, heads' outputs and the optimiser stay float32."""
        if not self._rounded:
            return torch.mm(a, b, out=out)
        product = torch.mm(a.bfloat16(), b.bfloat16())
        return product.float() if out is None else out.copy_(product)


def to_onnx(network: Mlp, readout: Readout) -> bytes:
    """observation float32[1, D] -> weights float32[1, A] (probabilities for discrete ones), written node by node."""
    graph = Graph()
    x = "observation"
    for depth, (linear, norm) in enumerate(network.blocks):
        bent = graph.node("Tanh", [graph.linear(f"layer{depth}", linear.weight, linear.bias, x)])
        gain, shift = graph.constant(f"gain{depth}", norm.weight), graph.constant(f"shift{depth}", norm.bias)
        x = graph.node("LayerNormalization", [bent, gain, shift], axis=-1, epsilon=EPSILON)
    actor = graph.linear("actor", network.actor.weight, network.actor.bias, x)
    graph.readout(actor, readout)
    size = network.actor.out_features + (readout == "softmax_gaussian")
    inputs = {"observation": network.blocks[0][0].in_features}
    return graph.model("mlp", inputs, {"weights": size})
