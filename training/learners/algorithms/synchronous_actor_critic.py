"""Advantage actor-critic (Mnih et al. 2016) with synchronous workers: one gradient step per short rollout.

What can go wrong. Where the network records the forward passes that chose the actions, these passes are used again for
the advantages and the gradient. A change of the weights in between would give a wrong gradient. So nothing may change
the network between the rollout (`collect`) and the computation of the gradient (`pull`).
"""

import torch
from torch import Tensor

from quantd.training.learners.a2c import A2cPlan
from quantd.training.learners.algorithms.on_policy import OnPolicy
from quantd.training.learners.optimisers import RmsProp
from quantd.training.learners.rollout import Now, Rollout


class A2c(OnPolicy):
    """The learner A2C; it learns in any VectorEnv. A rollout is `plan.horizon` steps of all its environments."""

    plan: A2cPlan
    losses = ("policy", "value", "entropy")
    rollouts_a_report = 100
    """A rollout is short, and a report costs as much as an update."""
    one_pass = True

    def _optimiser(self) -> RmsProp:
        plan = self.plan
        return RmsProp(self.network.vector, plan.learning_rate, plan.rms_epsilon, plan.max_grad_norm, plan.rms_decay)

    def _update(self, rollout: Rollout, now: Now, tell: bool) -> Tensor | None:
        """Make a gradient step on value_weight x squared error - entropy_weight x entropy - log_prob x advantage, means
        over rows.

        Returns the losses float[3] (policy, value, entropy) if `tell`, else None.
        """
        plan, network, family = self.plan, self.network, self.family
        # the passes that chose the actions serve the advantages and the gradient too
        advantage, target, heads = rollout.value(network, now, plan.gamma, plan.gae_lambda, keep=True)
        rows = advantage.numel()
        coordinates = family.coordinates(rollout.action).reshape(rows, -1)
        judged = family.judge(heads.actor.reshape(rows, -1), network.spread.detach(), coordinates)
        weight, error = advantage.reshape(-1), heads.value.reshape(-1) - target.reshape(-1)
        d_actor, d_spread = judged.pull(weight * (-1.0 / rows), -plan.entropy_weight / rows)
        network.pull(d_actor, d_spread, error * (2.0 * plan.value_weight / rows))
        self.optimiser.step(network.gradient)
        if not tell:
            return None
        policy = -(judged.log_prob * weight).mean()
        return torch.stack([policy, (error * error).mean(), judged.entropy.mean()])
