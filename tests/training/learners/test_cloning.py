"""A cloned policy answers as its teacher, in each kind of action, and learning can go on from there."""

import pytest
import torch
from torch import Tensor

from quantd.training.learners.algorithms.proximal_policy import Ppo
from quantd.training.learners.cloning import CloningPlan, clone, demonstrations
from quantd.training.learners.ppo import PpoPlan
from tests.support.problems import RegimeBandit, RevertingPair, share

PLAN = PpoPlan(hidden=(32,), horizon=16)


def taught(env: RegimeBandit | RevertingPair, teacher: object, plan: PpoPlan = PLAN) -> tuple[Ppo, list[float]]:
    learner = Ppo(plan, env.observation_size, env.action_size, env.kind, 1)
    observations, targets = demonstrations(env, teacher, 64, seed=2)  # type: ignore[arg-type]
    return learner, clone(learner, observations, targets, CloningPlan(learning_rate=3e-3, minibatch=64))


@pytest.mark.long
@pytest.mark.parametrize("simplex", ["softmax_gaussian", "dirichlet"])
def test_weights_are_cloned(simplex: str) -> None:
    rule = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.0, 0.0, 1.0]])

    def teacher(observation: Tensor) -> Tensor:
        return observation @ rule

    plan = PpoPlan(hidden=(32,), simplex=simplex)  # type: ignore[arg-type]
    learner, losses = taught(RegimeBandit("simplex", 32), teacher, plan)
    torch.testing.assert_close(learner.act(torch.eye(3)), rule, rtol=0, atol=0.03)
    assert losses[-1] < losses[0]


@pytest.mark.long
def test_allocations_are_cloned_and_ppo_learns_on_from_them() -> None:
    env = RegimeBandit("discrete", 32)
    learner, _ = taught(env, lambda observations: observations.argmax(1))
    assert share(env, learner.act) == 1.0
    learner.learn(env, 2048, lambda _: False)
    assert share(env, learner.act) == 1.0


def test_cloning_leaves_the_critics_head_and_the_spread_alone() -> None:
    env = RevertingPair("box", 32)
    learner = Ppo(PLAN, 1, 1, "box", 1)
    critic = learner.network.critic.weight.detach().clone()  # type: ignore[attr-defined]
    spread = learner.network.spread.detach().clone()
    observations, targets = demonstrations(env, lambda o: torch.ones_like(o), 8, seed=2)
    clone(learner, observations, targets)
    assert torch.equal(learner.network.critic.weight, critic)  # type: ignore[attr-defined]
    assert torch.equal(learner.network.spread, spread)


def test_targets_that_are_no_allocations_are_refused() -> None:
    learner = Ppo(PLAN, 3, 3, "discrete", 1)
    with pytest.raises(ValueError, match="int64"):
        clone(learner, torch.eye(3), torch.eye(3))
    with pytest.raises(ValueError, match="3 observations and 2 targets"):
        clone(learner, torch.eye(3), torch.zeros(2, dtype=torch.int64))
