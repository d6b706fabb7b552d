"""The network interface of policy-gradient learners, and flat parameter vectors.

All parameters are views of one vector, and all gradients of another one. So an optimiser's step, a norm and a
checkpoint are one operation each.

What can go wrong. A parameter that is created after `flatten` belongs to no vector: the optimiser would never move it,
and no checkpoint would have it. So subclasses call `flatten` last. A network drawn from the global generator would
depend on earlier draws: so layers draw from the generator of their seed alone.
"""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

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

    A subclass adds `write`, `act` and `run`, and calls `_flatten` when its parameters exist. The gradient is by
    autograd, over the outputs that `run` passed to `_keep`, unless the subclass overrides `pull`. In this base class
    these methods raise NotImplementedError.
    """

    recurrent: ClassVar[bool] = False
    """Whether observations must be given in time order."""
    vector: Tensor
    """float[M]: every parameter; writes to it change the network."""
    gradient: Tensor
    """float[M]: the result of the last `pull`."""
    spread: nn.Parameter
    """float[S]: distribution parameters that do not depend on the observation."""
    _heads: Heads | None = None

    def write(self, graph: Graph, given: str, prefix: str = "") -> str:
        """Add the actor to an ONNX graph, with the node `given` as its input. Returns the name of its output.

        A recurrent network reads the input "carry" and writes the output "carried". Raises NotImplementedError in this
        base class.
        """
        raise NotImplementedError

    def begin(self, batch: int) -> Tensor:
        """Return the initial recurrent state (carry) float[B, C] of B new episodes."""
        return self.vector.new_zeros((batch, 0))

    def act(self, observation: Tensor, carry: Tensor) -> tuple[Tensor, Tensor]:
        """Map observations float[B, D] to actor outputs float[B, P] and the next recurrent state, without autograd.

        Raises NotImplementedError in this base class. Axes: B environments, D entries of an observation, P outputs of
        the actor.
        """
        raise NotImplementedError

    def run(self, observation: Tensor, started: Tensor, carry: Tensor, *, keep: bool = False) -> Heads:
        """Run on observations float[T, B, D]; `started` bool[T, B] is True for the first observation of an episode.

        Only a run with `keep` may be followed by `pull`, which computes gradients.

        Raises NotImplementedError in this base class. Axes: T steps, B environments, D entries of an observation.
        """
        raise NotImplementedError

    @property
    def records(self) -> bool:
        """Whether `record` may replace `run`: the passes that choose actions then store the activations that a gradient
        needs.
        """
        return False

    def record(self, observation: Tensor, step: int, steps: int) -> Tensor:
        """Map the observations float[B, D] of step `step` of `steps` to actor outputs float[B, P], and store the
        activations. Steps come in order, from 0.

        Raises NotImplementedError unless the network `records`. Axes: B environments, D entries of an observation, P
        outputs of the actor.
        """
        raise NotImplementedError

    def recorded(self, observation: Tensor) -> Heads:
        """Return the outputs for `observation` float[T, B, D], the observations of all recorded steps, in order.

        `pull` may follow, to compute gradients. The next call of `record` overwrites the outputs. Raises
        NotImplementedError unless the network `records`. Axes: T steps, B environments, D entries of an observation.
        """
        raise NotImplementedError

    def pull(self, d_actor: Tensor, d_spread: Tensor, d_value: Tensor) -> None:
        """Compute the gradient of a loss with respect to all parameters and write it into `gradient`. The arguments are
        the derivatives with respect to the actor's outputs, the spread and the value of the last `run` with `keep`.
        """
        assert self._heads is not None
        heads, self._heads = self._heads, None
        self.gradient.zero_()
        slopes = [d_actor.view_as(heads.actor), d_value.view_as(heads.value)]
        torch.autograd.backward(heads, slopes, inputs=self._leaves)
        if d_spread.numel():
            slope_of(self.spread).copy_(d_spread)

    def _flatten(self) -> None:
        self.vector, self.gradient = flatten(list(self.parameters()))
        self._leaves = [parameter for parameter in self.parameters() if parameter is not self.spread]

    def _keep(self, heads: Heads) -> Heads:
        """Store outputs with their autograd graph, from which `pull` computes gradients. Return the outputs without the
        graph.
        """
        self._heads = heads
        return Heads(heads.actor.detach(), heads.value.detach())


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
