"""Soft actor-critic (Haarnoja et al. 2018, "Algorithms and Applications"): maximises return plus entropy.

The learner has twin critics (Fujimoto et al. 2018), slowly updated targets, and an automatic temperature (the weight of
the entropy).

What can go wrong. A single critic would be too optimistic where it errs: so targets take the smaller value of two
critics. A saturated action passes back no gradient: so the loss includes the square of the means, with weight `pull`. A
temperature below 0 would reward certainty: so its logarithm is learned.

What the order guarantees. The critics step first, so that the actor follows the critics as they are after their step.
The temperature uses the entropy of the actions that the actor drew. The target networks move last.

The gradients are explicit; a test compares them with autograd.
"""

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import softplus

from quantd.training.learners.algorithms.off_policy import OffPolicy
from quantd.training.learners.distributions import LOG_2PI, family, uniform
from quantd.training.learners.optimisers import Adam
from quantd.training.learners.record import Actor
from quantd.training.learners.replay import Replay
from quantd.training.learners.sac import SacPlan
from quantd.training.market.terms import Kind
from quantd.training.networks.gaussian import HALF_RANGE, GaussianActor, TwinCritics, bounded
from quantd.training.networks.shared import INVESTED
from quantd.training.networks.shared_critics import SharedActor, SharedCritics
from quantd.training.networks.sizes import required


class Squash:
    """Actions as transforms of Gaussian coordinates. Raises ValueError for discrete actions.

    Densities are per volume of the box, as published, or per volume of log ratios on the simplex (Aitchison & Shen
    1980). Per volume of weights, an allocation at the edge of the simplex would have unbounded entropy cost, although
    the best allocations are often at the edge.
    """

    def __init__(self, kind: Kind, action_size: int) -> None:
        if kind == "discrete":
            raise ValueError("SAC allocates continuously; this environment takes discrete actions")
        self.action_size: Final = action_size
        self.box: Final = kind == "box"
        self.family: Final = family(kind, action_size)

    def draw(self, mean: Tensor, log_spread: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return (actions float[R, A], log densities float[R]) of R rows, for standard normal noise float[R, K].

        Actions and log densities are differentiable with respect to `mean` and `log_spread`, the mean and the log
        standard deviation of the K coordinates. Axes: A entries of an action.
        """
        coordinates = mean + noise * log_spread.exp()
        log_prob = (-0.5 * noise * noise - log_spread - 0.5 * LOG_2PI).sum(-1)
        if self.box:
            # log(1 - tanh(u)^2), appendix C, without loss of precision near log 0
            log_prob = log_prob - (2.0 * (math.log(2.0) - coordinates - softplus(-2.0 * coordinates))).sum(-1)
        return self.family.mode(coordinates), log_prob

    def pull(self, action: Tensor, by_action: Tensor, by_log_prob: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """Return a loss's gradients float[R, K] with respect to the mean, and the log standard deviation, of the
        coordinates.

        `by_action` float[R, A] and `by_log_prob`, a number, are its gradients with respect to action and log density.
        `shift` float[R, K] is the noise from which `action` was drawn, times the standard deviation. Axes: R rows, K
        coordinates of an action, A entries of an action.
        """
        if self.box:
            # d tanh(u) / du = 1 - tanh(u)^2, and the log density falls by log of that: its derivative is 2 tanh(u)
            by_coordinates = by_action * (1.0 - action * action) + (2.0 * by_log_prob) * action
        else:
            # the gradient of softmax; the last weight has no coordinate of its own
            by_coordinates = (action * (by_action - (by_action * action).sum(-1, keepdim=True)))[:, :-1]
        return by_coordinates, by_coordinates * shift - by_log_prob


class Sac(OffPolicy):
    """The learner SAC; it learns in any VectorEnv with "simplex" or "box" actions."""

    losses = ("critic", "actor", "temperature", "entropy")

    def __init__(
        self, plan: SacPlan, observation_size: int, action_size: int, kind: Kind, seed: int, device: str = "cpu"
    ) -> None:
        """Make actor, critics, target critics and the learned temperature, which is stored as its logarithm."""
        self.plan: Final = plan
        self.squash: Final = Squash(kind, action_size)
        super().__init__(
            seed, device, lambda env: Replay(env, plan.buffer, plan.n_step, plan.gamma), plan.warmup, plan.train_every
        )
        self.coordinates: Final = self.squash.family.outputs
        sizes = (observation_size, action_size)
        self.actor, self.critics, self.target = _networks(plan, sizes, self.coordinates, self.random)
        self.target.requires_grad_(False).vector.copy_(self.critics.vector)
        self.log_temperature: Final = torch.full((1,), math.log(plan.temperature), device=device)
        learned = {"actor": self.actor.vector, "critics": self.critics.vector, "temperature": self.log_temperature}
        # 1e-8: Adam's epsilon
        self.optimisers = {
            name: Adam(vector, plan.learning_rate, 1e-8, plan.max_grad_norm) for name, vector in learned.items()
        }
        self._vectors = {"target": self.target.vector, **learned}

    @torch.no_grad()
    def act(self, observation: Tensor, *, greedy: bool = True) -> Tensor:
        """Map observations float[B, D] to actions float[B, A]; a greedy action is the transformed mean, the median.

        Axes: B environments, D entries of an observation, A entries of an action.
        """
        mean, log_spread = self.actor.forward(observation.to(self.actor.vector))
        return self.squash.family.mode(mean) if greedy else self.squash.draw(mean, log_spread, self._noise(mean))[0]

    def explore(self, observation: Tensor) -> Tensor:
        """Return actions float[B, A]: uniform in the first `plan.warmup` steps, then draws of the policy.

        Axes: B environments, A entries of an action.
        """
        if self.steps < self.plan.warmup:
            return uniform(self.squash.box, len(observation), self.squash.action_size, self.random)
        return self.act(observation, greedy=False)

    @torch.no_grad()
    def update(self, replay: Replay, tell: bool) -> Tensor | None:
        """Make one gradient step of critics, actor and temperature (the weight of the entropy).

        With `tell`, returns float[4]: the losses of critics and actor, the temperature and the entropy; else None.
        Source: Haarnoja et al. 2018.
        """
        plan, squash = self.plan, self.squash
        batch = replay.sample(plan.batch, self.random)
        temperature = self.log_temperature.exp()
        rows = len(batch.reward)
        next_mean, next_spread, _ = self.actor.run(batch.following)
        next_action, next_log_prob = squash.draw(next_mean, bounded(next_spread), self._noise(next_mean))
        # the soft value of the following state: the smaller critic's, plus temperature times entropy
        soft_value = self.target.run(batch.following, next_action)[0].amin(0) - temperature * next_log_prob
        expected = torch.addcmul(batch.reward, batch.discount, soft_value)
        # equation 5
        values, critic_pass = self.critics.run(batch.observation, batch.action)
        error = values - expected
        self.critics.pull(error / rows, critic_pass)
        self.optimisers["critics"].step(self.critics.gradient)
        # equation 9
        mean, spread, actor_pass = self.actor.run(batch.observation)
        log_spread, noise = bounded(spread), self._noise(mean)
        action, log_prob = squash.draw(mean, log_spread, noise)
        values, critic_pass = self.critics.run(batch.observation, action)
        action_value, lower_critic = values.min(0)
        by_value = torch.zeros_like(values).scatter_(0, lower_critic.unsqueeze(0), -1.0 / rows)
        by_action = self.critics.by_action(by_value, critic_pass, action.shape[-1])
        d_mean, d_log = squash.pull(action, by_action, temperature / rows, noise * log_spread.exp())
        # the derivative of x / (1 + |x|) is 1 / (1 + |x|)^2
        d_spread = d_log * HALF_RANGE / (1.0 + spread.abs()).square()
        self.actor.pull(d_mean.add_(mean, alpha=2.0 * plan.pull / mean.numel()), d_spread, actor_pass)
        self.optimisers["actor"].step(self.actor.gradient)
        # equation 18 in the logarithm, so that the temperature stays above 0
        entropy = -log_prob.mean()
        self.optimisers["temperature"].step((entropy - plan.entropy * self.coordinates).view(1))
        self.target.vector.lerp_(self.critics.vector, plan.tau)
        if not tell:
            return None
        critic_loss = 0.5 * (error * error).mean(-1).sum()
        actor_loss = plan.pull * mean.square().mean() - temperature[0] * entropy - action_value.mean()
        return torch.stack([critic_loss, actor_loss, temperature[0], entropy])

    def vectors(self) -> tuple[Tensor, ...]:
        return (self.actor.vector, self.critics.vector, self.log_temperature)

    def policy_networks(self) -> Actor:
        return Actor((self.actor,), self.squash.family.readout, 0, self.actor)

    def _noise(self, like: Tensor) -> Tensor:
        return torch.empty_like(like).normal_(generator=self.random)


Networks = tuple[GaussianActor | SharedActor, TwinCritics | SharedCritics, TwinCritics | SharedCritics]
"""The actor, the critics and their target."""


def _networks(plan: SacPlan, sizes: tuple[int, int], coordinates: int, random: torch.Generator) -> Networks:
    """Return the networks with initial weights drawn from `random`. `sizes` are (size of an observation, size of an
    action).

    `coordinates` is the number of the Gaussian coordinates from which an action is computed. The target's initial
    weights do not matter: the caller replaces them by the weights of the critics.
    """
    observation_size, action_size = sizes
    if plan.network == "shared":
        layout, hidden = required(plan.layout, plan.network), plan.hidden
        # the initial score of an asset beside cash, whose score is 0. Weights of a simplex include cash, and have one
        # coordinate fewer; positions of a box have one each, and begin at 0
        invested = INVESTED if action_size > coordinates else 0.0
        actor = SharedActor(observation_size, coordinates, random, layout=layout, hidden=hidden, invested=invested)
        critics, target = (
            SharedCritics(observation_size, action_size, random, layout=layout, hidden=hidden) for _ in range(2)
        )
        return actor, critics, target
    mlp = GaussianActor(observation_size, coordinates, random, hidden=plan.hidden, bfloat16=plan.bfloat16)
    mlp_critics, mlp_target = (
        TwinCritics(observation_size, action_size, random, hidden=plan.hidden, bfloat16=plan.bfloat16) for _ in range(2)
    )
    return mlp, mlp_critics, mlp_target
