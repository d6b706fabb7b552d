"""Each learner finds a planted signal within 200 steps of 32 environments. Thresholds near the best run in `make
test-all`."""

from collections.abc import Callable

import pytest
from torch import Tensor

from quantd.training.learners.a2c import A2cPlan
from quantd.training.learners.algorithms.deep_q import Dqn
from quantd.training.learners.algorithms.deterministic_agents import Maddpg
from quantd.training.learners.algorithms.proximal_policy import Ppo
from quantd.training.learners.algorithms.soft_actor_critic import Sac
from quantd.training.learners.algorithms.synchronous_actor_critic import A2c
from quantd.training.learners.dqn import DqnPlan
from quantd.training.learners.maddpg import MaddpgPlan
from quantd.training.learners.ppo import PpoPlan
from quantd.training.learners.sac import SacPlan
from quantd.training.market.terms import Kind
from quantd.training.market.vector_env import Step
from tests.support.problems import Problem, RevertingPair, share

BATCH = 32
STEPS = 200
UNTRAINED = 0.6
"""Share of the best that no untrained learner reaches; one position whatever the spread is earns at most a
half of it."""

FOUND = 0.8

Learner = Ppo | A2c | Dqn | Sac | Maddpg


def ppo(env: Problem) -> Learner:
    plan = PpoPlan(
        horizon=20, hidden=(32,), gamma=0.0, entropy_weight=0.0, learning_rate=1e-2, minibatch=160, log_spread=0.7
    )
    return Ppo(plan, env.observation_size, env.action_size, env.kind, 1)


def a2c(env: Problem) -> Learner:
    plan = A2cPlan(hidden=(32,), gamma=0.0, entropy_weight=0.0, learning_rate=2e-3, log_spread=0.7)
    return A2c(plan, env.observation_size, env.action_size, env.kind, 1)


def dqn(env: Problem) -> Learner:
    plan = DqnPlan(
        hidden=(32,), learning_rate=3e-3, gamma=0.0, buffer=10_000, batch=128, warmup=640, train_every=32,
        target_every=25, epsilon_decay=0.98,
    )  # fmt: skip
    return Dqn(plan, env.observation_size, env.action_size, env.kind, 1)


def sac(env: Problem) -> Learner:
    plan = SacPlan(
        hidden=(32, 32), learning_rate=3e-3, gamma=0.0, buffer=10_000, warmup=640, train_every=32, tau=0.05,
        temperature=0.005,
    )  # fmt: skip
    return Sac(plan, env.observation_size, env.action_size, env.kind, 1)


def maddpg(env: Problem) -> Learner:
    plan = MaddpgPlan(
        agents=1, hidden=(32,), gamma=0.0, buffer=10_000, warmup=640, train_every=32, tau=0.05, actor_rate=3e-3,
        critic_rate=1e-2,
    )  # fmt: skip
    return Maddpg(plan, env.observation_size, env.action_size, env.kind, 1)


class Trending(RevertingPair):
    """The same spread, paid with the opposite sign."""

    def step(self, action: Tensor) -> Step:
        step = super().step(action)
        return step._replace(reward=-step.reward)


LEARNERS: dict[str, tuple[Callable[[Problem], Learner], Kind]] = {
    "ppo": (ppo, "box"),
    "a2c": (a2c, "box"),
    "dqn": (dqn, "discrete"),
    "sac": (sac, "box"),
    "maddpg": (maddpg, "box"),
}


@pytest.mark.quick_cases(1)
@pytest.mark.requirement("R-072")
@pytest.mark.parametrize("name", LEARNERS)
def test_two_hundred_steps_find_the_sign_of_a_planted_signal(name: str) -> None:
    make, kind = LEARNERS[name]
    judge = RevertingPair(kind, BATCH)
    assert abs(share(judge, make(judge).act)) < UNTRAINED
    earned = []
    for env in (RevertingPair(kind, BATCH), Trending(kind, BATCH)):
        learner = make(env)
        learner.learn(env, STEPS * BATCH, lambda _: False)
        earned.append(share(judge, learner.act))
    assert earned[0] > FOUND
    assert earned[1] < -FOUND
