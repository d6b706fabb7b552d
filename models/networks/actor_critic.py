"""What a policy-gradient learner asks of its network, and parameters laid end to end in one vector.

One vector of parameters and one of gradients make an optimiser's step, a norm and a checkpoint one operation each.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from quantd.models.networks.onnx_nodes import Graph


class Heads(NamedTuple):
    """What the two heads say of T x B observations."""

    actor: Tensor
    """float[T, B, P]: parameters of the distribution of actions."""
    value: Tensor
    """float[T, B]."""


class ActorCritic(Protocol):
    """A policy and a value in one network. `carry` float[B, C] is what a recurrent one remembers; C is 0 for the others."""

    @property
    def recurrent(self) -> bool:
        """Whether observations must be given in their order."""
        ...

    @property
    def vector(self) -> Tensor:
        """float[M]: every parameter; writing to it changes them."""
        ...

    @property
    def gradient(self) -> Tensor:
        """float[M]: what the last `pull` wrote."""
        ...

    @property
    def spread(self) -> nn.Parameter:
        """float[S]: parameters of the distribution that no observation changes."""
        ...

    def write(self, graph: Graph, given: str, prefix: str = "") -> str:
        """Adds the actor to an ONNX graph, from the observation called `given`; the name of what it gives. A recurrent one reads the
        input "carry" and gives the output "carried"."""
        ...

    def begin(self, batch: int) -> Tensor:
        """float[B, C]: the carry of new episodes."""
        ...

    def act(self, observation: Tensor, carry: Tensor) -> tuple[Tensor, Tensor]:
        """float[B, D] -> actor float[B, P] and the next carry, without a graph."""
        ...

    def run(self, observation: Tensor, started: Tensor, carry: Tensor, *, keep: bool = False) -> Heads:
        """float[T, B, D], bool[T, B] first observations of episodes; with `keep`, `pull` can follow."""
        ...

    def pull(self, d_actor: Tensor, d_spread: Tensor, d_value: Tensor) -> None:
        """Writes the gradient of a loss from its derivatives by what the last kept `run` gave."""
        ...


def flatten(parameters: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """(vector, gradient): the parameters, in this order, and their `.grad` become views of two vectors."""
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
    """The view of the gradient that belongs to a parameter of a flattened network."""
    if parameter.grad is None:
        raise ValueError("the parameter is not part of a flattened network")
    return parameter.grad


def layer(inputs: int, outputs: int, gain: float, random: torch.Generator) -> nn.Linear:
    """Orthogonal weights (Saxe et al. 2014), zero bias; draws from `random` only."""
    # on the generator's device: the same seed then gives the same network whatever the global generator did
    made: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs, device=random.device)  # type: ignore[no-untyped-call]
    nn.init.orthogonal_(made.weight, gain, generator=random)
    nn.init.zeros_(made.bias)
    return made
