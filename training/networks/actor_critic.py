"""The network interface of policy-gradient learners, and flat parameter vectors.

All parameters are views of one vector, and all gradients of another one. So an optimiser's step, a norm and a
checkpoint are one operation each.

What can go wrong. A parameter that is created after `flatten` belongs to no vector: the optimiser would never move it,
and no checkpoint would have it. So subclasses call `flatten` last. A network drawn from the global generator would
depend on earlier draws: so layers draw from the generator of their seed alone.
"""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from quantd.training.networks.onnx_nodes import Graph


class Heads(NamedTuple):
    """Outputs of the two heads for T x B observations."""

    actor: Tensor
    """float[T, B, P]: parameters of the distribution of actions."""
    value: Tensor
    """float[T, B]."""


class ActorCritic(nn.Module):
    """A policy and a value in one network. `carry` float[B, C] is its recurrent state; C is 0 without recurrence.

    A subclass adds `forward`, which maps observations float[.., D] to Heads, and `write`, and calls `_flatten` when its
    parameters exist. A recurrent one also has `begin`, `act` and `run` of its own.
    """

    recurrent: ClassVar[bool] = False
    """Whether observations must be given in time order."""
    vector: Tensor
    """float[M]: every parameter; writes to it change the network."""
    gradient: Tensor
    """float[M]: the result of the last `slope`."""
    leaves: list[Tensor]
    """All parameters."""
    spread: nn.Parameter
    """float[S]: distribution parameters that do not depend on the observation."""

    def write(self, graph: Graph, given: str, prefix: str = "") -> str:
        """Add the actor to an ONNX graph, with the node `given` as its input. Returns the name of its output.

        A recurrent network reads the input "carry" and writes the output "carried". Raises NotImplementedError in this
        base class.
        """
        raise NotImplementedError

    def begin(self, batch: int) -> Tensor:
        """Return the initial recurrent state (carry) float[B, C] of B new episodes."""
        return self.vector.new_zeros((batch, 0))

    @torch.no_grad()
    def act(self, observation: Tensor, carry: Tensor) -> tuple[Tensor, Tensor]:
        """Map observations float[B, D] to actor outputs float[B, P] and the next recurrent state, without autograd.

        Axes: B environments, D entries of an observation, P outputs of the actor.
        """
        return self(observation).actor, carry

    def run(self, observation: Tensor, started: Tensor, carry: Tensor, *, keep: bool = False) -> Heads:
        """Run on observations float[T, B, D]; `started` bool[T, B] is True for the first observation of an episode.

        Only with `keep` do the outputs have their autograd graph. Axes: T steps, B environments, D entries of an
        observation.
        """
        with torch.set_grad_enabled(keep):
            heads: Heads = self(observation)
        return heads

    def _flatten(self) -> None:
        self.leaves = list(self.parameters())
        self.vector, self.gradient = flatten(self.leaves)


class Flat(Protocol):
    """A network whose parameters, the `leaves`, have their gradients in one vector."""

    gradient: Tensor

    @property
    def leaves(self) -> list[Tensor]: ...


def slope(network: Flat, loss: Tensor) -> Tensor:
    """Return the gradient float[M] of a loss by the M parameters of one network, which is also its `gradient`.

    Other networks that the loss went through keep theirs.
    """
    network.gradient.zero_()
    loss.backward(inputs=network.leaves)  # type: ignore[no-untyped-call]
    return network.gradient


def rounded(x: Tensor, linear_layer: nn.Linear) -> Tensor:
    """Map rows float32[R, I] to float32[R, O] by a layer whose product has factors rounded to bfloat16; the bias is
    added in float32.

    Axes: I inputs, O outputs.
    """
    return torch.mm(x.bfloat16(), linear_layer.weight.t().bfloat16()).float() + linear_layer.bias


def flatten(parameters: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Move the parameters, in this order, and their `.grad` into two vectors. Returns (vector, gradient)."""
    vector = torch.cat([parameter.detach().reshape(-1) for parameter in parameters])
    gradient = torch.zeros_like(vector)
    sizes = [parameter.numel() for parameter in parameters]
    for parameter, values, slopes in zip(
        parameters, vector.split_with_sizes(sizes), gradient.split_with_sizes(sizes), strict=True
    ):
        parameter.data = values.view_as(parameter)
        parameter.grad = slopes.view_as(parameter)
    return vector, gradient


def slope_of(parameter: Tensor) -> Tensor:
    """Return the gradient of a parameter, a view of the gradient vector that `flatten` made for the network.

    Raises ValueError for a parameter of another network.
    """
    if parameter.grad is None:
        raise ValueError("the parameter has no gradient view: call flatten on its network first")
    return parameter.grad


def layer(inputs: int, outputs: int, gain: float, random: torch.Generator) -> nn.Linear:
    """Return a layer with orthogonal weights (Saxe et al. 2014) and zero bias; draws from `random` only."""
    # A layer on "meta" draws nothing: the same seed gives the same network, independent of the global generator.
    # `skip_init` does the same, but imports sympy, which takes a process that trains half a second.
    new_layer = nn.Linear(inputs, outputs, device="meta")
    new_layer.weight = nn.Parameter(torch.empty((outputs, inputs), device=random.device))
    new_layer.bias = nn.Parameter(torch.empty(outputs, device=random.device))
    nn.init.orthogonal_(new_layer.weight, gain, generator=random)
    nn.init.zeros_(new_layer.bias)
    return new_layer
