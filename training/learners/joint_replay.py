"""Joint observations, actions and rewards of a desk's agents, and a ring buffer of such steps.

A desk is a group of agents on one path of the market; each agent has its own account.

What can go wrong. The observation of one desk would stand beside the action of another desk: so a row of the buffer is
one step of one desk, with all its agents and the observation that follows. No row depends on the next one, so a restart
of the environments needs no mark in the buffer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from torch import Tensor

from quantd.training.market.vector_env import Step, VectorEnv


@dataclass(frozen=True, slots=True)
class Views:
    """Layout of the observations of G desks (groups of agents) with A = `agents` agents each.

    An observation has D = `shared` + `own` entries. The first `shared` entries of an observation are equal for all
    agents of a desk; the further `own` entries differ by agent.
    """

    agents: int
    shared: int
    own: int

    @property
    def size(self) -> int:
        """The number P of entries of a joint observation, which has the entries shared by all agents once."""
        return self.shared + self.agents * self.own

    def together(self, rows: Tensor) -> Tensor:
        """Join observations float[G A, D], a row per agent, to joint observations float[G, P], a row per desk.

        Axes: G desks, A agents of a desk, D entries of an observation, P entries of a joint observation.
        """
        desks = rows.view(-1, self.agents, self.shared + self.own)
        return torch.cat((desks[:, 0, : self.shared], desks[:, :, self.shared :].flatten(1)), 1)

    def each(self, state: Tensor) -> Tensor:
        """Split joint observations float[R, P] into the observations of each agent, float[A, R, D].

        Axes: R joint observations, P entries of a joint observation, A agents of a desk, D entries of an observation.
        """
        shared = state[:, : self.shared].expand(self.agents, -1, -1)
        if not self.own:
            return shared
        private = state[:, self.shared :].reshape(-1, self.agents, self.own).transpose(0, 1)
        return torch.cat((shared, private), 2)

    def apart(self, rows: Tensor) -> Tensor:
        """Reshape rows float[G A, D], with the A agents of each of G desks adjacent, to float[A, G, D].

        Axes: D entries of an observation.
        """
        return rows.view(-1, self.agents, rows.shape[-1]).transpose(0, 1)


class JointBatch(NamedTuple):
    """A sample of R steps of desks, which are groups of A agents. K is the size of an action, P the size of a joint
    observation.
    """

    state: Tensor
    """float32[R, P]."""
    action: Tensor
    """float32[R, A, K], as executed."""
    reward: Tensor
    """float32[R, A]."""
    going: Tensor
    """float32[R, A]: 1, or 0 where the agent's episode terminated."""
    following: Tensor
    """float32[R, P]."""


class JointReplay:
    """The last `capacity` env-steps (steps of single accounts), stored by step and desk; sampled uniformly with
    replacement.

    A desk is a group of agents. Raises ValueError where the environment's rows are no whole number of desks.
    """

    def __init__(self, env: VectorEnv, views: Views, capacity: int) -> None:
        """Make room for `capacity` env-steps. A row is one step of one desk, a group of agents on one path of the
        market. A row has the joint state before and after the step, the actions, the rewards, and flags (0 where an
        agent's episode terminated, else 1).

        `views` is the layout of the observations. `_sizes` are the widths of these five parts of a row.
        """
        if env.batch % views.agents:
            raise ValueError(f"a batch of {env.batch} is no whole number of desks of {views.agents} agents")
        self.desks: Final = env.batch // views.agents
        self.length: Final = max(capacity // env.batch, 1)
        self.views: Final = views
        self._acts: Final = env.action_size
        self._sizes = (views.size, views.size, views.agents * env.action_size, views.agents, views.agents)
        self._rows = torch.zeros((self.length, self.desks, sum(self._sizes)), device=env.device)
        self._flat = self._rows.view(-1, sum(self._sizes))
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, self.length) * self.desks

    def add(self, observation: Tensor, action: Tensor, step: Step) -> None:
        """Store one step of all desks (groups of agents). The arguments have the agents of a desk in adjacent rows."""
        columns = (
            self.views.together(observation),
            self.views.together(step.final),
            action.view(self.desks, -1),
            step.reward.view(self.desks, -1),
            (~step.terminated).view(self.desks, -1),
        )
        torch.cat([column.float() for column in columns], 1, out=self._rows[self._added % self.length])
        self._added += 1

    def cut(self) -> None:
        """No-op for a restart of the environments, as each row already contains the observation that follows."""

    def sample(self, rows: int, random: torch.Generator) -> JointBatch:
        """Draw `rows` steps of desks (groups of agents), uniformly with replacement. Raises ValueError for an empty
        memory.
        """
        if not len(self):
            raise ValueError("nothing to draw yet: the replay memory is empty")
        drawn = torch.randint(len(self), (rows,), generator=random, device=self._flat.device)
        state, following, action, reward, going = self._flat.index_select(0, drawn).split_with_sizes(self._sizes, 1)
        return JointBatch(state, action.view(rows, -1, self._acts), reward, going, following)

    def state(self) -> dict[str, Tensor]:
        """Return the stored rows and their number, for `load` into a memory of the same shape."""
        return {"rows": self._rows[: min(self._added, self.length)].clone(), "added": torch.tensor(self._added)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore a `state` that `state()` returned. Raises ValueError for a different shape."""
        rows = state["rows"]
        if rows.shape[1:] != self._rows.shape[1:] or len(rows) > self.length:
            raise ValueError(
                f"saved steps of shape {list(rows.shape)} do not fit this memory of shape {list(self._rows.shape)}"
            )
        self._rows[: len(rows)] = rows
        self._added = int(state["added"])
