"""The learners train in the batched market itself, and go on there bit for bit."""

import pytest
import torch
from torch import Tensor

from quantd.training.learners.a2c import A2cPlan
from quantd.training.learners.algorithms.proximal_policy import Ppo
from quantd.training.learners.algorithms.synchronous_actor_critic import A2c
from quantd.training.learners.ppo import PpoPlan
from quantd.training.market.episodes import Episodes
from quantd.training.market.simulator import Simulator
from quantd.training.market.tensors import grid
from quantd.training.market.terms import Kind
from tests.support.panels import market, panel_of

PLANS = [PpoPlan(horizon=16, hidden=(16,), epochs=2), A2cPlan(hidden=(16,))]


def world(kind: Kind) -> Simulator:
    days = market(panel_of(2, 80, 3))
    allocations = grid(days.symbols, 2) if kind == "discrete" else None
    return Simulator(days, batch=8, kind=kind, allocations=allocations, episodes=Episodes(length=12), seed=4)


def learner_of(plan: PpoPlan | A2cPlan, env: Simulator, seed: int) -> Ppo | A2c:
    sizes = (env.observation_size, env.action_size, env.kind, seed)
    return Ppo(plan, *sizes) if isinstance(plan, PpoPlan) else A2c(plan, *sizes)


@pytest.mark.quick_cases(2)
@pytest.mark.parametrize("kind", ["simplex", "discrete", "box"])
@pytest.mark.parametrize("plan", PLANS, ids=["ppo", "a2c"])
def test_training_in_the_market_resumes_to_the_same_bits(plan: PpoPlan | A2cPlan, kind: Kind) -> None:
    reference, half, resumed = (learner_of(plan, world(kind), seed) for seed in (3, 3, 9))
    reference.learn(world(kind), 640, lambda _: False)
    half.learn(world(kind), 320, lambda _: False)
    resumed.load(half.state())
    resumed.learn(world(kind), 640, lambda _: False)
    expected_state, state = reference.state(), resumed.state()
    assert {name for name in expected_state if name.startswith("env.")}
    for name, value in expected_state.items():
        same = torch.equal(value, state[name]) if isinstance(value, Tensor) else value == state[name]
        assert same, name
    assert not torch.equal(half.network.vector, reference.network.vector)
