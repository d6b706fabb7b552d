"""Advantage actor-critic (Mnih et al. 2016) with synchronous workers: one gradient step per short rollout."""

from typing import Final

import torch
from torch import Tensor

from quantd.models.learners.on_policy import NetworkPlan, OnPolicy
from quantd.models.learners.optimisers import RmsProp
from quantd.models.learners.record import GAMMA, WIDTHS, Between, Learner, OneOf
from quantd.models.learners.rollout import Now, Rollout


class A2cPlan(NetworkPlan, frozen=True, forbid_unknown_fields=True):
    """The published settings, with the usual rates of the synchronous form."""

    horizon: int = 5
    """Steps of each environment in a rollout."""
    learning_rate: float = 7e-4
    gamma: float = 0.99
    gae_lambda: float = 1.0
    """1: the n-step return of the paper."""
    value_weight: float = 0.5
    entropy_weight: float = 0.01
    max_grad_norm: float = 0.5
    rms_decay: float = 0.99
    rms_epsilon: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.horizon < 1:
            raise ValueError(f"horizon {self.horizon}: from 1 on")


class A2c(OnPolicy):
    """Learns in any VectorEnv; a rollout is `plan.horizon` steps of all its environments."""

    plan: A2cPlan
    losses = ("policy", "value", "entropy")
    rollouts_a_report = 100
    """A rollout is short, and a report costs as much as an update."""
    one_pass = True

    def _optimiser(self) -> RmsProp:
        plan = self.plan
        return RmsProp(self.network.vector, plan.learning_rate, plan.rms_epsilon, plan.max_grad_norm, plan.rms_decay)

    def _update(self, rollout: Rollout, now: Now, tell: bool) -> Tensor | None:
        """Descend value_weight x squared error - entropy_weight x entropy - log_prob x advantage, means over rows."""
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


LEARNER: Final = Learner(
    name="a2c",
    plan=A2cPlan,
    algorithm=A2c,
    kinds=("simplex", "box", "discrete"),
    imitates=True,
    bfloat16=True,
    # one gradient step per rollout: its steps are larger than PPO's, and the length of its rollout matters most
    space={
        "learner.learning_rate": Between(1e-5, 3e-3, log=True),
        "learner.gamma": GAMMA,
        "learner.gae_lambda": Between(0.9, 1.0),
        "learner.horizon": OneOf((5, 10, 20)),
        "learner.value_weight": Between(0.3, 0.7),
        "learner.entropy_weight": Between(0.0, 0.1),
        "learner.hidden": WIDTHS,
    },
)
