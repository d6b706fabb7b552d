"""The network interface of policy-gradient learners, and flat parameter vectors.

With one vector of parameters and one of gradients, an optimiser's step, a norm and a checkpoint are one operation each.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from quantd.models.networks.onnx_nodes import Graph


class Heads(NamedTuple):
    """Outputs of the two heads for T x B observations."""

    actor: Tensor
    """float[T, B, P]: parameters of the distribution of actions."""
    value: Tensor
    """float[T, B]."""


class ActorCritic(Protocol):
    """A policy and a value in one network; `carry` float[B, C] is its recurrent memory, with C of 0 for others."""

    @property
    def recurrent(self) -> bool:
        """Whether observations must be given in time order."""
        ...

    @property
    def vector(self) -> Tensor:
        """float[M]: every parameter; writes to it change the network."""
        ...

    @property
    def gradient(self) -> Tensor:
        """float[M]: the result of the last `pull`."""
        ...

    @property
    def spread(self) -> nn.Parameter:
        """float[S]: distribution parameters that do not depend on the observation."""
        ...

    def write(self, graph: Graph, given: str, prefix: str = "") -> str:
        """Add the actor to an ONNX graph, from the node `given`. Returns the output's name.

        A recurrent network reads the input "carry" and writes the output "carried".
        """
        ...

    def begin(self, batch: int) -> Tensor:
        """Return the carry float[B, C] of new episodes."""
        ...

    def act(self, observation: Tensor, carry: Tensor) -> tuple[Tensor, Tensor]:
        """Map float[B, D] to actor outputs float[B, P] and the next carry, without an autograd graph."""
        ...

    def run(self, observation: Tensor, started: Tensor, carry: Tensor, *, keep: bool = False) -> Heads:
        """Run on float[T, B, D], with bool[T, B] marking first observations; with `keep`, `pull` may follow."""
        ...

    def pull(self, d_actor: Tensor, d_spread: Tensor, d_value: Tensor) -> None:
        """Compute the gradient of a loss from its derivatives by the outputs of the last kept `run`."""
        ...


def flatten(parameters: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Move the parameters, in this order, and their `.grad` into two vectors. Returns (vector, gradient)."""
    vector = torch.cat([each.detach().reshape(-1) for each in parameters])
    gradient = torch.zeros_like(vector)
    sizes = [each.numel() for each in parameters]
    for each, values, slopes in zip(
        parameters, vector.split_with_sizes(sizes), gradient.split_with_sizes(sizes), strict=True
    ):
        each.data = values.view_as(each)
        each.grad = slopes.view_as(each)
    return vector, gradient


def slope_of(parameter: Tensor) -> Tensor:
    """Return the gradient view of a parameter of a flattened network."""
    if parameter.grad is None:
        raise ValueError("the parameter is not part of a flattened network")
    return parameter.grad


class Tape:
    """The gradient of a network by autograd, for one `run` and its `pull`."""

    def __init__(self, network: nn.Module, spread: nn.Parameter, gradient: Tensor) -> None:
        self._leaves = [each for each in network.parameters() if each is not spread]
        self._spread_slope, self._gradient = slope_of(spread), gradient
        self._heads: Heads | None = None

    def keep(self, heads: Heads) -> Heads:
        """Keep outputs with their autograd graph. Returns them without it."""
        self._heads = heads
        return Heads(heads.actor.detach(), heads.value.detach())

    def pull(self, d_actor: Tensor, d_spread: Tensor, d_value: Tensor) -> None:
        """Compute the gradient as in `ActorCritic.pull`."""
        assert self._heads is not None
        heads, self._heads = self._heads, None
        self._gradient.zero_()
        slopes = [d_actor.view_as(heads.actor), d_value.view_as(heads.value)]
        torch.autograd.backward(heads, slopes, inputs=self._leaves)
        if d_spread.numel():
            self._spread_slope.copy_(d_spread)


def layer(inputs: int, outputs: int, gain: float, random: torch.Generator) -> nn.Linear:
    """Return a layer with orthogonal weights (Saxe et al. 2014) and zero bias; draws from `random` only."""
    # On the generator's device: the same seed gives the same network, independent of the global generator.
    made: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs, device=random.device)  # type: ignore[no-untyped-call]
    nn.init.orthogonal_(made.weight, gain, generator=random)
    nn.init.zeros_(made.bias)
    return made
