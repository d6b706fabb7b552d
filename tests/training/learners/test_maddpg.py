"""MADDPG: its updates by their equations, whose gradient reaches whom, a problem only agreement solves, and desks of a
market."""

import msgspec
import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from quantd.models.observation.sight import SightSpec
from quantd.training.learners.algorithms.deterministic_agents import Maddpg
from quantd.training.learners.joint_replay import JointReplay, Views
from quantd.training.learners.maddpg import MaddpgPlan
from quantd.training.market.vector_env import Step
from quantd.training.networks.onnx_nodes import Graph
from quantd.training.networks.sizes import Layout, Sizes
from tests.support.problems import DriftingAsset, RevertingPair, share
from tests.training.learners.joint_problems import CooperativeSplit
from tests.training.learners.replay_problems import on

PLAN = MaddpgPlan(
    agents=3,
    hidden=(64, 32),
    gamma=0.3,
    buffer=30_000,
    warmup=1500,
    train_every=24,
    tau=0.05,
    noise_steps=20_000,
    actor_rate=3e-3,
    critic_rate=1e-2,
    pull=3e-4,
)
SMALL = MaddpgPlan(agents=2, hidden=(8, 8), batch=16, warmup=100, buffer=400, train_every=100, tau=0.1, gamma=0.9)


def of_optimum(seed: int, steps: int) -> float:
    env = CooperativeSplit(desks=16)
    learner = Maddpg(PLAN, env.observation_size, env.action_size, env.kind, seed)
    learner.learn(env, steps, on)
    return share(env, learner.act)


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_agents_that_must_split_the_assets_come_within_2_percent_of_the_best(seed: int) -> None:
    assert of_optimum(seed, 24_000) >= 0.98


def gradient(loss: Tensor, leaves: list[torch.nn.Parameter]) -> Tensor:
    return torch.cat([slope.reshape(-1) for slope in torch.autograd.grad(loss, leaves)])


def ready(plan: MaddpgPlan, env: CooperativeSplit | RevertingPair, seed: int = 3) -> tuple[Maddpg, JointReplay]:
    """A learner with a memory, before its first update."""
    learner = Maddpg(plan, env.observation_size, env.action_size, env.kind, seed)
    learner.learn(env, plan.warmup, on)
    assert learner.updates <= 1
    replay = learner._replay
    assert replay is not None
    return learner, replay


@pytest.mark.requirement("R-073")
def test_a_critics_slope_reaches_its_own_agents_actor_alone() -> None:
    learner, replay = ready(SMALL, CooperativeSplit(desks=4, agents=2))
    batch = replay.sample(16, learner.random)
    for who in range(2):
        outputs = learner.network.forward(learner.views.each(batch.state)).detach().requires_grad_()
        worth = learner.critics.judge(learner.critics.read(batch.state), learner.own_acts(outputs, batch.action))
        (slope,) = torch.autograd.grad(worth[who].sum(), outputs)
        assert float(slope[who].abs().max()) > 0.0
        assert float(slope[1 - who].abs().max()) == 0.0
    # what the others do is what they did, not what they would do now
    acts = learner.own_acts(outputs, batch.action)
    assert torch.equal(acts[0, :, 1], batch.action[:, 1])
    torch.testing.assert_close(acts[0, :, 0], learner.family.mode(outputs[0]))


@pytest.mark.requirement("R-073")
def test_every_critic_knows_what_every_agent_sees_and_does() -> None:
    plan = msgspec.structs.replace(SMALL, layout=Layout(1, 1, 0))
    learner = Maddpg(plan, 3, 4, "simplex", 1)
    assert learner.views == Views(2, 1, 2)
    state = torch.randn((1, learner.views.size), requires_grad=True)
    action = torch.rand((1, 2, 4), requires_grad=True)
    for worth in learner.critics.judge(learner.critics.read(state), action)[:, 0]:
        for slope in torch.autograd.grad(worth, (state, action), retain_graph=True):
            assert (slope != 0.0).all()


def test_with_one_agent_an_update_is_that_of_ddpg() -> None:
    """By hand, as Lillicrap et al. 2016 (algorithm 1) have it; Adam's first step is its rate along the sign of the
    gradient."""
    plan = msgspec.structs.replace(SMALL, agents=1, warmup=100, train_every=1000)
    learner, replay = ready(plan, RevertingPair("box", batch=4))
    random = torch.Generator().manual_seed(0)
    random.set_state(learner.random.get_state())
    batch = replay.sample(16, random)
    before = {name: vector.clone() for name, vector in learner._vectors.items()}

    def network(layers: list[tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
        for depth, (weight, bias) in enumerate(layers):
            x = x @ weight + bias
            x = x if depth == 2 else x.relu()
        return x

    def layers(leaves: list[torch.nn.Parameter]) -> list[tuple[Tensor, Tensor]]:
        return [(leaves[k][0], leaves[k + 1][0, 0]) for k in (0, 2, 4)]

    actor, critic = layers(learner.network.leaves), layers(learner.critics.leaves)
    action, reward = batch.action[:, 0], batch.reward[:, 0]
    with torch.no_grad():
        acts = torch.tanh(network(actor, batch.following))
        follows = network(critic, torch.cat((batch.following, acts), 1))[:, 0]
    values = network(critic, torch.cat((batch.state, action), 1))[:, 0]
    loss = (values - (reward + 0.9 * batch.going[:, 0] * follows)).square().mean()
    critics_slope = gradient(loss, learner.critics.leaves)
    output = network(actor, batch.state)
    worth = network(critic, torch.cat((batch.state, torch.tanh(output)), 1))
    actors_slope = gradient((1e-3 * output * output - worth).mean(), learner.network.leaves)
    losses = learner.update(replay, tell=True)
    assert losses is not None
    assert float(losses[0]) == pytest.approx(float(loss.detach()), rel=1e-5)
    for name, slope, rate in (("critics", critics_slope, 1e-3), ("actors", actors_slope, 1e-4)):
        sure = slope.abs() > 1e-5
        moved = learner._vectors[name] - before[name]
        assert sure.any()
        torch.testing.assert_close(moved[sure], -rate * slope[sure].sign(), atol=2e-2 * rate, rtol=0.0)
    torch.testing.assert_close(learner.target.vector, 0.9 * before["target"] + 0.1 * learner.network.vector)
    torch.testing.assert_close(
        learner.critics_target.vector, 0.9 * before["critics_target"] + 0.1 * learner.critics.vector
    )


@pytest.mark.parametrize("kind", ["simplex", "box"])
def test_what_is_explored_is_an_allocation_as_far_from_the_policys_as_noise_says(kind: str) -> None:
    learner = Maddpg(msgspec.structs.replace(SMALL, agents=1), 5, 4, kind, 1)  # type: ignore[arg-type]
    observations = torch.randn((4000, 5), generator=torch.Generator().manual_seed(1))
    uniform, greedy = learner.explore(observations), learner.act(observations)
    learner.steps = SMALL.warmup
    noisy = learner.explore(observations)
    for action in (uniform, greedy, noisy):
        if kind == "simplex":
            assert (action >= 0.0).all()
            torch.testing.assert_close(action.sum(1), torch.ones(4000))
        else:
            assert (action.abs() <= 1.0).all()
    if kind == "simplex":
        torch.testing.assert_close(noisy.mean(0), greedy.mean(0) * 0.8 + 0.05, atol=0.01, rtol=0.0)
    else:
        assert float((noisy - greedy).std()) == pytest.approx(0.2, abs=0.01)


@given(agents=st.integers(1, 4), shared=st.integers(0, 3), own_columns=st.integers(0, 3), desks=st.integers(1, 4))
@settings(deadline=None)
def test_what_agents_see_together_is_what_each_sees(agents: int, shared: int, own_columns: int, desks: int) -> None:
    assume(shared + own_columns > 0)
    views = Views(agents, shared, own_columns)
    rows = torch.randn((desks, agents, shared + own_columns), generator=torch.Generator().manual_seed(1))
    rows[:, :, :shared] = rows[:, :1, :shared]
    state = views.together(rows.flatten(0, 1))
    assert state.shape == (desks, views.size)
    assert torch.equal(views.each(state), rows.transpose(0, 1))
    assert torch.equal(views.apart(rows.flatten(0, 1)), rows.transpose(0, 1))


def test_a_step_drawn_is_that_of_one_desk_with_each_agents_reward_and_end() -> None:
    env = CooperativeSplit(desks=2, agents=3)
    replay = JointReplay(env, Views(3, 0, 4), 12)
    for number in range(3):
        observations = torch.full((6, 4), float(number)) + torch.arange(6).view(6, 1) / 10
        reward = torch.arange(6.0) + 10 * number
        ended = torch.arange(6) == number
        replay.add(
            observations,
            torch.full((6, 4), 0.25) * number,
            Step(observations, reward, ended, ~ended, observations + 100.0),
        )
    assert len(replay) == 4
    batch = replay.sample(200, torch.Generator().manual_seed(1))
    # the ring holds two rows: the first was overwritten
    assert set(batch.reward[:, 0].tolist()) == {10.0, 13.0, 20.0, 23.0}
    for row in range(200):
        first = float(batch.reward[row, 0])
        number, desk = int(first // 10), int(first % 10 > 0)
        assert batch.reward[row].tolist() == [first, first + 1, first + 2]
        assert batch.going[row].tolist() == [float(3 * desk + k != number) for k in range(3)]
        assert float(batch.state[row, 4]) == pytest.approx(number + (3 * desk + 1) / 10)
        assert float(batch.following[row, 4] - batch.state[row, 4]) == pytest.approx(100.0)
    with pytest.raises(ValueError, match="no whole number of desks"):
        JointReplay(env, Views(4, 0, 4), 12)


SIGHT = SightSpec(features=("momentum_5", "drawdown"), window=6, book=())
LAYOUT = Layout(3, 3, 6)
TINY = Sizes(width=8, heads=2, layers=2, widening=2)


@pytest.mark.parametrize("network", ["mlp", "transformer"])
def test_onnx_runtime_gives_every_agents_weights(network: str) -> None:
    plan = MaddpgPlan(agents=3, network=network, transformer=TINY, layout=LAYOUT)  # type: ignore[arg-type]
    learner = Maddpg(plan, SIGHT.size(3), 4, "simplex", 1)
    with torch.no_grad():
        learner.network.vector.add_(torch.randn(learner.network.vector.shape, generator=learner.random) * 0.2)
    for number, actor in enumerate(learner.policy_networks().networks):
        graph = Graph()
        graph.readout(actor.write(graph, "observation", f"seat{number}."), learner.family.readout)
        session = onnxruntime.InferenceSession(graph.model("seat", {"observation": SIGHT.size(3)}, {"weights": 4}))
        for row in torch.randn((5, 1, SIGHT.size(3)), generator=learner.random):
            (weights,) = session.run(None, {"observation": row.numpy()})
            np.testing.assert_allclose(weights[0], learner.act(row)[number].numpy(), atol=1e-5)


def test_discrete_environments_and_impossible_plans_are_refused() -> None:
    with pytest.raises(ValueError, match="discrete"):
        Maddpg(MaddpgPlan(), 3, 3, "discrete", 1)
    with pytest.raises(ValueError, match="needs the layout"):
        Maddpg(MaddpgPlan(network="transformer"), 3, 3, "simplex", 1)
    with pytest.raises(ValueError, match="no whole number of desks"):
        Maddpg(SMALL, 5, 6, "simplex", 1).learn(DriftingAsset("simplex", batch=3), 10, on)
    for wrong in ({"hidden": ()}, {"tau": 0.0}, {"noise": 1.5}, {"batch": 0}, {"least_noise": 0.5}):
        with pytest.raises(ValueError, match=r"hidden|tau|must be 1 or more"):
            MaddpgPlan(**wrong)
