"""Proximal policy optimisation (Schulman et al. 2017): several passes over each rollout, with bounded policy changes.

The gradients of the loss are explicit; distributions and networks propagate them. A test compares them with autograd.

What can go wrong. Several passes would move the policy further than its rollout justifies: so the ratio of the new
probability of an action to the old one is clipped, and beyond the bound the gradient is 0. Single rows of a recurrent
network would lack the state from earlier rows: so a recurrent network uses whole sequences, from the recurrent state
(carry) of their first row.

What the order guarantees. Advantages, targets and old log-probabilities are computed once, before the first gradient
step. Computed later, they would belong to a policy that did not choose the actions.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from quantd.training.learners.algorithms.on_policy import OnPolicy
from quantd.training.learners.distributions import Evaluation
from quantd.training.learners.optimisers import Adam
from quantd.training.learners.ppo import PpoPlan
from quantd.training.learners.rollout import Now, Rollout


class Batch(NamedTuple):
    """R rows of a rollout: observations float[R, D], or sequences float[T, b, D] for a recurrent network.

    T is the length of the rollout, b the number of environments in the batch. Only recurrent networks use `started`
    bool[T, b], True where an episode begins, and `carry` float[b, C], their state of C numbers.
    """

    observation: Tensor
    started: Tensor
    carry: Tensor
    coordinates: Tensor
    """The distribution's coordinates of the executed actions, one row each."""
    old_log_prob: Tensor
    """float[R]: the log-probability of the action when it was executed."""
    advantage: Tensor
    target: Tensor
    """float[R]: the critic's target."""


class Slopes(NamedTuple):
    """Gradients of a minibatch's loss, and its reported losses."""

    log_prob: Tensor
    """float[R]."""
    entropy: float
    """Equal for every row."""
    value: Tensor
    """float[R]."""
    losses: Tensor
    """float[5], in the order of `Ppo.losses`."""


def slopes(judged: Evaluation, value: Tensor, batch: Batch, plan: PpoPlan, tell: bool) -> Slopes:
    """Return the gradients of the loss: value_weight x squared error - entropy_weight x entropy - clipped surrogate.

    The terms of the loss are equations 7 and 9 of Schulman et al. 2017, means over the R rows. `judged` has the
    log-probabilities and entropies of the actions, and `value` float[R] the critic's values. The gradients are with
    respect to log-probability, entropy and value. With `tell`, the losses are included.
    """
    rows = len(value)
    variance, mean = torch.var_mean(batch.advantage, correction=0)
    advantage = (batch.advantage - mean).div_(variance.sqrt_().add_(1e-8))
    log_ratio = judged.log_prob - batch.old_log_prob
    ratio = log_ratio.exp()
    surrogate = ratio * advantage
    clipped = ratio.clamp(1.0 - plan.clip, 1.0 + plan.clip).mul_(advantage)
    # where the clipped surrogate is the smaller one it is constant, with gradient 0
    unclipped = surrogate <= clipped
    error = value - batch.target
    losses = torch.empty(0)
    if tell:
        policy, squared = -torch.minimum(surrogate, clipped).mean(), (error * error).mean()
        kl = (ratio - 1.0 - log_ratio).mean()
        losses = torch.stack([policy, squared, judged.entropy.mean(), kl, 1.0 - unclipped.float().mean()])
    return Slopes(
        (surrogate * unclipped).mul_(-1.0 / rows),
        -plan.entropy_weight / rows,
        error.mul_(2.0 * plan.value_weight / rows),
        losses,
    )


class Ppo(OnPolicy):
    """The learner PPO; it learns in any VectorEnv. A rollout is `plan.horizon` steps of all its environments."""

    plan: PpoPlan
    losses = ("policy", "value", "entropy", "approx_kl", "clipped")

    def _optimiser(self) -> Adam:
        plan = self.plan
        return Adam(self.network.vector, plan.learning_rate, plan.adam_epsilon, plan.max_grad_norm)

    def _update(self, rollout: Rollout, now: Now, tell: bool) -> Tensor | None:
        """Update the policy from a rollout.

        Return the losses float[5], means over the last epoch, if `tell`; else None.
        """
        network, plan = self.network, self.plan
        advantage, target, heads = rollout.value(network, now, plan.gamma, plan.gae_lambda)
        coordinates = self.family.coordinates(rollout.action)
        # before the first step: later log-probabilities would be those of a policy that did not act
        full_batch = Batch(
            rollout.observation,
            rollout.started,
            rollout.carry,
            coordinates,
            self._judge(heads.actor, coordinates).log_prob.view_as(advantage),
            advantage,
            target,
        )
        reported = []
        for epoch in range(plan.epochs):
            for batch in self._sequences(full_batch) if network.recurrent else self._rows(full_batch):
                losses = self._descend(batch, tell=tell and epoch == plan.epochs - 1)
                if len(losses):
                    reported.append(losses)
        return torch.stack(reported).mean(0) if reported else None

    def _descend(self, batch: Batch, tell: bool) -> Tensor:
        """Make one gradient step. Returns the losses float[5], or an empty tensor without `tell`."""
        network = self.network
        heads = network.run(batch.observation, batch.started, batch.carry, keep=True)
        judged = self._judge(heads.actor, batch.coordinates)
        slope = slopes(judged, heads.value.reshape(-1), batch, self.plan, tell)
        d_actor, d_spread = judged.pull(slope.log_prob, slope.entropy)
        network.pull(d_actor, d_spread, slope.value)
        self.optimiser.step(network.gradient)
        return slope.losses

    def _judge(self, actor: Tensor, coordinates: Tensor) -> Evaluation:
        rows = actor.reshape(-1, actor.shape[-1])
        return self.family.judge(rows, self.network.spread.detach(), coordinates.reshape(len(rows), -1))

    def _rows(self, full_batch: Batch) -> Iterator[Batch]:
        """Yield every row once, in random order, in minibatches."""
        rows = full_batch.advantage.numel()
        # one gather of all rows and a split are faster than a gather for each minibatch
        order = torch.randperm(rows, generator=self.random, device=full_batch.advantage.device)
        cuts = tuple(range(self.plan.minibatch, rows, self.plan.minibatch))
        flat = [
            tensor.reshape(rows, *tensor.shape[2:]).index_select(0, order).tensor_split(cuts)
            for tensor in (
                full_batch.observation,
                full_batch.coordinates,
                full_batch.old_log_prob,
                full_batch.advantage,
                full_batch.target,
            )
        ]
        for observation, coordinates, old_log_prob, advantage, target in zip(*flat, strict=True):
            yield Batch(observation, full_batch.started, full_batch.carry, coordinates, old_log_prob, advantage, target)

    def _sequences(self, full_batch: Batch) -> Iterator[Batch]:
        """Yield minibatches of whole sequences, each of some environments; every environment occurs once, in random
        order.

        A recurrent network runs over each sequence in order of time, from its recurrent state before the first step
        (`carry`).
        """
        length, batch = full_batch.advantage.shape
        order = torch.randperm(batch, generator=self.random, device=full_batch.advantage.device)
        at_once = max(1, round(self.plan.minibatch / length))
        for environments in order.tensor_split(tuple(range(at_once, batch, at_once))):
            observation, started, coordinates = (
                tensor.index_select(1, environments)
                for tensor in (full_batch.observation, full_batch.started, full_batch.coordinates)
            )
            # one number per row: the loss is over rows of one step, so only the network needs the axis of time
            rows = (
                tensor.index_select(1, environments).reshape(-1)
                for tensor in (full_batch.old_log_prob, full_batch.advantage, full_batch.target)
            )
            yield Batch(observation, started, full_batch.carry.index_select(0, environments), coordinates, *rows)
