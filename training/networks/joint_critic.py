"""Actors of several agents with individual observations, and critics with joint observations.

The structure of the networks is figure 1 of Lowe et al. 2017.

All agents' networks are computed at once. They share no weights, except a transformer for the market window that all
critics see.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import torch
from torch import Tensor, nn

from quantd.training.networks.actor_critic import flatten
from quantd.training.networks.layer_stack import Linear, Perceptron
from quantd.training.networks.onnx_nodes import Graph
from quantd.training.networks.sizes import Layout, Sizes
from quantd.training.networks.transformer import Encoder

if TYPE_CHECKING:
    from quantd.training.networks.shared_agents import SharedActors


class Body(NamedTuple):
    """The network of actors or critics: layers of widths `hidden`, or with `sizes` a transformer, which needs `layout`.
    In a critic, `hidden` layers follow the transformer."""

    hidden: Sequence[int]
    layout: Layout | None
    sizes: Sizes | None

    def encoder(self, copies: int, observation_size: int, random: torch.Generator) -> Encoder | None:
        """Return a transformer with `copies` separate copies, or None for a body without `sizes`.

        Raises ValueError without a layout.
        """
        if self.sizes is None:
            return None
        if self.layout is None:
            raise ValueError("network transformer needs the layout of its observations: set layout")
        return Encoder(copies, observation_size, self.layout, self.sizes, random)


class Actors(nn.Module):
    """Maps R observations of each of A agents, float32[A, R, D], to action coordinates float32[A, R, K].

    Axes: D entries of an observation, K coordinates of an
        action.
    """

    def __init__(
        self, agents: int, observation_size: int, coordinates: int, random: torch.Generator, body: Body
    ) -> None:
        """Make A separate copies of the network that `body` describes: a transformer, or else a perceptron."""
        super().__init__()
        self.body: Final[Perceptron | Encoder] = body.encoder(agents, observation_size, random) or Perceptron(
            agents, observation_size, body.hidden, random
        )
        self.head = Linear(agents, self.body.outputs, coordinates, 0.01, random)
        self.vector, self.gradient = flatten(list(self.parameters()))
        self.leaves: Final = list(self.parameters())

    def forward(self, observation: Tensor) -> Tensor:
        """Return action coordinates float32[A, R, K], before their conversion to actions (readout).

        Axes: A agents, R joint observations, K coordinates of an action.
        """
        output: Tensor = self.head(self.body(observation))
        return output

    def write(self, graph: Graph, given: str, prefix: str, agent: int) -> str:
        """Add the nodes of one agent to an ONNX graph, and return the name of their output.

        The nodes map the agent's observation float[1, D] to its coordinates float[1, K]. `given` is the name of their
        input; the names of their parameters begin with `prefix`. Axes: D entries of an observation, K coordinates of an
        action.
        """
        output = self.body.write(graph, given, prefix, agent)
        return self.head.write(graph, output, f"{prefix}actor", agent)


class Seated(NamedTuple):
    """The network of one agent among `actors`."""

    actors: "Actors | SharedActors"
    agent: int

    def write(self, graph: Graph, given: str, prefix: str = "") -> str:
        """Add the nodes of this agent's actor to an ONNX graph, from the observation `given`. Returns the name of the
        output, float[1, K].

        Axes: K coordinates of an action.
        """
        return self.actors.write(graph, given, prefix, self.agent)


class Critics(nn.Module):
    """Critics of A agents: map joint observations float32[R, P] and the actions of all agents to a value for each
    agent.

    The observation is encoded separately, so that several actions in the same state need one encoding. Axes: R joint
    observations, P entries of a joint observation.
    """

    def __init__(self, agents: int, state_size: int, action_size: int, random: torch.Generator, body: Body) -> None:
        super().__init__()
        self.encoder = body.encoder(1, state_size, random)
        encoded_size = state_size if self.encoder is None else self.encoder.outputs
        self.body = Perceptron(agents, encoded_size + agents * action_size, body.hidden, random)
        self.head = Linear(agents, body.hidden[-1], 1, 1.0, random)
        self.agents: Final = agents
        self.vector, self.gradient = flatten(list(self.parameters()))
        self.leaves: Final = list(self.parameters())

    def read(self, state: Tensor) -> Tensor:
        """Encode R joint observations float[R, P] as float[R, E], the input of the critics.

        Axes: P entries of a joint observation, E entries of an encoding.
        """
        if self.encoder is None:
            return state
        encoded: Tensor = self.encoder(state.unsqueeze(0))
        return encoded[0]

    def judge(self, read: Tensor, action: Tensor) -> Tensor:
        """Return values float[A, R] of encoded states float[R, E] and actions float[R, A, K] (or float[A, R, A, K]).

        Axes: A agents, R joint observations, E entries of an encoding, K coordinates of an action.
        """
        joint_action = action.flatten(-2)
        parts = [tensor.expand(self.agents, *tensor.shape[-2:]) for tensor in (read, joint_action)]
        output: Tensor = self.head(self.body(torch.cat(parts, 2)))
        return output.squeeze(2)
