"""Advantage actor-critic (Mnih et al. 2016) with synchronous workers: one gradient step per short rollout."""

import torch
from torch import Tensor

from quantd.training.learners.a2c import A2cPlan
from quantd.training.learners.algorithms.on_policy import OnPolicy
from quantd.training.learners.optimisers import RmsProp
from quantd.training.learners.rollout import Now, Rollout
from quantd.training.networks.actor_critic import slope


class A2c(OnPolicy):
    """The learner A2C; it learns in any VectorEnv. A rollout is `plan.horizon` steps of all its environments."""

    plan: A2cPlan
    losses = ("policy", "value", "entropy")
    rollouts_a_report = 100
    """A rollout is short, and a report costs as much as an update."""

    def _optimiser(self) -> RmsProp:
        plan = self.plan
        return RmsProp(self.network.vector, plan.learning_rate, plan.rms_epsilon, plan.max_grad_norm, plan.rms_decay)

    def _update(self, rollout: Rollout, now: Now, tell: bool) -> Tensor | None:
        """Make a gradient step on value_weight x squared error - entropy_weight x entropy - log_prob x advantage, means
        over rows.

        Returns the losses float[3] (policy, value, entropy) if `tell`, else None.
        """
        plan, network, family = self.plan, self.network, self.family
        advantage, target, heads = rollout.value(network, now, plan.gamma, plan.gae_lambda, keep=True)
        rows = advantage.numel()
        coordinates = family.coordinates(rollout.action).reshape(rows, -1)
        judged = family.judge(heads.actor.reshape(rows, -1), network.spread, coordinates)
        policy, squared = -(judged.log_prob * advantage.reshape(-1)).mean(), (heads.value - target).square().mean()
        entropy = judged.entropy.mean()
        loss = plan.value_weight * squared - plan.entropy_weight * entropy + policy
        self.optimiser.step(slope(network, loss))
        return torch.stack([policy, squared, entropy]).detach() if tell else None
