"""Rollouts: T steps of B environments in preallocated tensors, with advantages.

The stored action is the executed action. The return of a truncated episode includes the value of its last observation;
a terminated episode has no further value.

The carry is the state of a recurrent network.

What can go wrong. An episode that a time limit cut would be valued as if it had terminated, or by the first observation
of the next episode: so the last observation of a cut episode is stored, with the carry at that time. The carry of an
ended episode would reach the next episode: so the carry is cleared. An environment may overwrite its observation: so
the rollout copies it.

What the order guarantees. The carry of a cut episode is stored first and cleared after that. The network runs the last
observations first and the rows after them, because the network's `pull` differentiates its last recorded run.

Source of the advantages: Schulman et al. 2016, equation 16.
"""

from typing import Final, NamedTuple

import torch
from torch import Tensor

from quantd.training.learners.distributions import Family
from quantd.training.market.arrays import view
from quantd.training.market.vector_env import VectorEnv
from quantd.training.networks.actor_critic import ActorCritic, Heads


class Now(NamedTuple):
    """The current state of B environments."""

    observation: Tensor
    """float32[B, D]."""
    started: Tensor
    """bool[B]: whether the observation is the first of its episode."""
    carry: Tensor
    """float32[B, C]: the network's carry before the observation."""
    earned: Tensor
    """float32[B]: reward of the episode so far."""


class Rollout:
    """T steps of B environments as T x B rows. `collect` fills the rows and `value` computes their advantages; both are
    called for each rollout anew."""

    def __init__(self, env: VectorEnv, length: int) -> None:
        """Make zero tensors for `length` steps of all environments; `collect` fills them."""
        self._env: Final = env
        shape = (length, env.batch)
        device = env.device
        action = () if env.kind == "discrete" else (env.action_size,)
        integral = env.kind == "discrete"
        self.length: Final = length
        self.observation = torch.zeros((*shape, env.observation_size), device=device)
        self.action = torch.zeros((*shape, *action), device=device, dtype=torch.int64 if integral else torch.float32)
        self.reward = torch.zeros(shape, device=device)
        self.started = torch.zeros(shape, device=device, dtype=torch.bool)
        self.done = torch.zeros(shape, device=device, dtype=torch.bool)
        self.cut_value = torch.zeros(shape, device=device)
        """Value of the last observation where a time limit ended an episode, else 0."""
        self.carry = torch.zeros((env.batch, 0), device=device)
        """The network's carry at the start of the first row."""
        # views by step, created once
        columns = (self.observation, self.action, self.reward, self.done)
        self._rows = list(zip(*(column.unbind(0) for column in columns), strict=True))
        self._cut: list[tuple[int, Tensor, Tensor, Tensor]] = []
        """Episodes that a time limit ended: step, indices of their environments, last observations, carry for these."""
        self.returns = torch.zeros(0, device=device)
        """float32[E]: total rewards of the episodes that ended in these rows."""
        self._recorded = False

    def collect(
        self, network: ActorCritic, family: Family, now: Now, random: torch.Generator, *, keep: bool = False
    ) -> Now:
        """Fill every row of the rollout from the state `now`, with one device transfer per step.

        Returns the environments' state afterwards.

        With `keep`, a network that can do so records its passes. The passes then serve `value` and the gradient, until
        the weights change.
        """
        observation, started, carry, earned = now
        self._recorded = keep and network.records
        self.carry = carry
        self.started[0] = started
        self._cut.clear()
        spread = network.spread.detach()
        # the four are views of the tensors of this rollout at step t, filled here
        for t, (observation_row, action_row, reward_row, done_row) in enumerate(self._rows):
            observation_row.copy_(observation)
            if self._recorded:
                actor = network.record(observation_row, t, self.length)
            else:
                actor, carry = network.act(observation_row, carry)
            action_row.copy_(family.sample(actor, spread, random))
            step = self._env.step(action_row)
            observation = step.observation
            reward_row.copy_(step.reward)
            torch.logical_or(step.terminated, step.truncated, out=done_row)
            if bool(step.truncated.any()):
                # before the carry is cleared below: the last observation is valued with the episode's memory
                cut_rows = (step.truncated & ~step.terminated).nonzero().squeeze(1)
                self._cut.append(
                    (t, cut_rows, step.final.to(self.observation).index_select(0, cut_rows), carry[cut_rows])
                )
            if network.recurrent:
                carry = carry * (~done_row).unsqueeze(-1)
        self.started[1:] = self.done[:-1]
        self.returns, earned = episode_returns(self.reward, self.done, earned)
        # a copy, because the environment may overwrite its tensor at the next step
        return Now(observation.to(self.observation, copy=True), self.done[-1].clone(), carry, earned)

    def value(
        self, network: ActorCritic, now: Now, gamma: float, trace: float, *, keep: bool = False
    ) -> tuple[Tensor, Tensor, Heads]:
        """Return (advantages float32[T, B], critic targets float32[T, B], the network's outputs for the rows).

        With `keep`, the network records this run, so that its `pull` can compute gradients. `trace` is lambda of the
        advantage estimates. Axes: T steps, B environments.
        """
        # the last observations are first, because `keep` applies to the last run
        last = self._last_values(network, now)
        if self._recorded:
            heads = network.recorded(self.observation)
        else:
            heads = network.run(self.observation, self.started, self.carry, keep=keep)
        following = torch.cat([heads.value[1:], last.unsqueeze(0)]).where(~self.done, self.cut_value)
        advantage = advantages(self.reward, heads.value, following, self.done, gamma, trace)
        return advantage, advantage + heads.value, heads

    def _last_values(self, network: ActorCritic, now: Now) -> Tensor:
        """Return the values float[B] of the observations after the rollout.

        Set `cut_value`, the values of truncated episodes, in the same run of the network. Axes: B environments.
        """
        self.cut_value.zero_()
        observation, started, carry = now.observation, now.started, now.carry
        if self._cut:
            _, _, observations, carries = zip(*self._cut, strict=True)
            observation, carry = torch.cat([observation, *observations]), torch.cat([carry, *carries])
            started = torch.cat([started, started.new_zeros(len(observation) - len(started))])
        value = network.run(observation.unsqueeze(0), started.unsqueeze(0), carry).value[0]
        if self._cut:
            batch = len(now.started)
            # the values of cut episodes follow those of the present observations
            cut_positions = torch.cat([indices + t * batch for t, indices, _, _ in self._cut])
            self.cut_value.view(-1)[cut_positions] = value[batch:]
            value = value[:batch]
        return value


def advantages(reward: Tensor, value: Tensor, following: Tensor, done: Tensor, gamma: float, trace: float) -> Tensor:
    """Return generalised advantage estimates (Schulman et al. 2016, equation 16), all float[T, B].

    `trace` is lambda of the estimates. `following` is the value of the next state: 0 after termination, and the value
    of the episode's last observation after truncation. `done` bool[T, B] ends the sum in both cases. Axes: T steps, B
    environments.
    """
    surprise = torch.add(reward, following, alpha=gamma).sub_(value)
    decay = (~done).to(reward.dtype).mul_(gamma * trace)
    estimate = torch.empty_like(reward)
    # numpy's calls are shorter, and a short rollout is all calls
    deltas, factors, sums = view(surprise), view(decay), view(estimate)
    next_estimate = view(torch.zeros_like(reward[0]))
    for t in range(len(sums) - 1, -1, -1):
        next_estimate = sums[t] = deltas[t] + factors[t] * next_estimate
    return estimate


def episode_returns(reward: Tensor, done: Tensor, earned: Tensor) -> tuple[Tensor, Tensor]:
    """Return (undiscounted returns float[E] of E ended episodes, reward so far float[B] of B open episodes).

    `earned` float[B] is the reward, from earlier rollouts, of the episodes that are open at the first row.
    """
    if not bool(done.any()):
        return reward.new_zeros(0), earned + reward.sum(0)
    total = reward.cumsum(0) + earned
    environment, step = done.t().nonzero(as_tuple=True)
    ended = total[step, environment]
    # Episodes are ordered by environment, then time: each begins where the previous one ended.
    earlier = torch.zeros_like(ended)
    earlier[1:] = ended[:-1].where(environment[1:] == environment[:-1], 0.0)
    is_last = torch.ones_like(environment, dtype=torch.bool)
    is_last[:-1] = environment[1:] != environment[:-1]
    return ended - earlier, total[-1] - torch.zeros_like(earned).index_copy(0, environment[is_last], ended[is_last])
