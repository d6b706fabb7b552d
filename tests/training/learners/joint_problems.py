"""A problem that several agents solve only by agreeing who does what; its best is known in closed form."""

from collections.abc import Mapping

import torch
from torch import Tensor

from quantd.training.market.terms import Kind
from quantd.training.market.vector_env import Step


class CooperativeSplit:
    """A agents, A + 1 assets, one of them closed at each step, which all see. What an agent has in an open asset earns
    as much, what it has in the closed one loses as much, and two agents in one asset pay `overlap` of what they both
    have there.

    Each agent's pay is linear in its own weights, so that the best is at corners: every agent all in an open asset of
    its own, 1 each. Who ignores the closed asset, or the others, cannot come near it: agents that all do the same get
    at most 1 - overlap (A - 1) / A each.
    """

    kind: Kind = "simplex"
    device = torch.device("cpu")

    def __init__(
        self, desks: int = 8, agents: int = 3, overlap: float = 1.0, noise: float = 0.1, length: int = 25
    ) -> None:
        self.agents, self.batch = agents, desks * agents
        self.action_size = self.observation_size = agents + 1
        self.overlap, self.noise, self.length = overlap, noise, length
        self._random = torch.Generator().manual_seed(0)
        self._age = torch.zeros(desks, dtype=torch.int64)
        self._closed = torch.zeros(desks, dtype=torch.int64)

    def reset(self, seed: int | None = None) -> Tensor:
        if seed is not None:
            self._random.manual_seed(seed)
        self._age = torch.arange(len(self._age)) % self.length
        self._closed = self._draw(len(self._age))
        return self._shown(self._closed)

    def step(self, action: Tensor) -> Step:
        earned = self.worth(self._shown(self._closed), action)
        reward = earned + self.noise * torch.randn(self.batch, generator=self._random)
        self._age += 1
        ended = self._age >= self.length
        self._age[ended] = 0
        self._closed = self._draw(len(self._age))
        observations, over = self._shown(self._closed), ended.repeat_interleave(self.agents)
        return Step(observations, reward, torch.zeros_like(over), over, observations)

    def worth(self, observation: Tensor, action: Tensor) -> Tensor:
        """float[B] expected reward of actions, agents of a desk side by side."""
        held = action.view(-1, self.agents, self.action_size)
        other_holdings = held.sum(1, keepdim=True) - held
        pays = 1.0 - 2.0 * observation.view_as(held)
        return (held * (pays - self.overlap * other_holdings)).sum(-1).view(-1)

    def best(self, observation: Tensor) -> Tensor:
        return torch.ones(len(observation))

    def sights(self, count: int, seed: int) -> Tensor:
        """`count` is of rows, and rounded up to whole desks."""
        drawn = torch.randint(
            self.action_size, (-(-count // self.agents),), generator=torch.Generator().manual_seed(seed)
        )
        return self._shown(drawn)

    def state(self) -> dict[str, Tensor]:
        return {"random": self._random.get_state(), "age": self._age.clone(), "closed": self._closed.clone()}

    def load(self, state: Mapping[str, Tensor]) -> Tensor:
        self._random.set_state(state["random"])
        self._age, self._closed = state["age"].clone(), state["closed"].clone()
        return self._shown(self._closed)

    def _draw(self, desks: int) -> Tensor:
        return torch.randint(self.action_size, (desks,), generator=self._random)

    def _shown(self, closed: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(closed, self.action_size).float().repeat_interleave(self.agents, 0)
