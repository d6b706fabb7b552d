"""A learner of PPO or A2C after a number of steps."""

from quantd.training.learners.a2c import A2cPlan
from quantd.training.learners.algorithms.proximal_policy import Ppo
from quantd.training.learners.algorithms.synchronous_actor_critic import A2c
from quantd.training.learners.ppo import PpoPlan
from tests.support.problems import Problem

STEPS = 65_536


def learner_of(plan: PpoPlan | A2cPlan, env: Problem, seed: int) -> Ppo | A2c:
    sizes = (env.observation_size, env.action_size, env.kind, seed)
    return Ppo(plan, *sizes) if isinstance(plan, PpoPlan) else A2c(plan, *sizes)


def trained(plan: PpoPlan | A2cPlan, env: Problem, seed: int, steps: int = STEPS) -> Ppo | A2c:
    learner = learner_of(plan, env, seed)
    learner.learn(env, steps, lambda _: False)
    return learner
