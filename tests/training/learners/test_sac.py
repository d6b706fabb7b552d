"""SAC: its densities against numerical integration, its updates by their equations, and problems whose best is
known."""

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from quantd.training.learners.algorithms.soft_actor_critic import Sac, Squash
from quantd.training.learners.record import Report
from quantd.training.learners.sac import SacPlan
from quantd.training.market.terms import Kind
from quantd.training.networks.gaussian import GaussianActor, TwinCritics, bounded
from tests.support.artifacts import session_of
from tests.support.examples import examples
from tests.support.problems import RevertingPair
from tests.training.learners.replay_problems import on

PLAN = SacPlan(
    hidden=(32, 32),
    learning_rate=3e-3,
    gamma=0.3,
    buffer=20_000,
    warmup=1000,
    train_every=32,
    tau=0.05,
    temperature=0.005,
)


@settings(max_examples=examples(30), deadline=None)
@given(mean=st.floats(-1.5, 1.5), log_spread=st.floats(-1.5, 0.0))
def test_the_density_of_a_position_is_what_integration_of_the_draws_says(mean: float, log_spread: float) -> None:
    squash = Squash("box", 1)
    at = torch.linspace(-12.0, 12.0, 40_001, dtype=torch.float64).unsqueeze(1)
    centre, spread = torch.full_like(at, mean), torch.full_like(at, log_spread)
    position, log_prob = squash.draw(centre, spread, (at - centre) / spread.exp())
    mass = torch.trapezoid(log_prob.exp(), position[:, 0])
    assert float(mass) == pytest.approx(1.0, abs=1e-4)
    # the mean position, by the density and by averaging tanh over the Gaussian
    by_density = torch.trapezoid(log_prob.exp() * position[:, 0], position[:, 0])
    normal = torch.distributions.Normal(mean, float(np.exp(log_spread)))
    by_draws = torch.trapezoid(normal.log_prob(at[:, 0]).exp() * torch.tanh(at[:, 0]), at[:, 0])
    assert float(by_density) == pytest.approx(float(by_draws), abs=1e-4)


@settings(max_examples=examples(10), deadline=None)
@given(first=st.floats(-1.0, 1.0), second=st.floats(-1.0, 1.0), log_spread=st.floats(-1.0, 0.0))
def test_the_density_of_an_allocation_integrates_to_one_over_the_simplex(
    first: float, second: float, log_spread: float
) -> None:
    # midpoints of a grid over two of three weights; per volume of log ratios, the volume of weights being their product
    cells = 400
    side = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    first_weight, second_weight = torch.meshgrid(side, side, indexing="ij")
    inside = first_weight + second_weight < 1.0 - 1e-9
    weights = torch.stack(
        [first_weight[inside], second_weight[inside], 1.0 - first_weight[inside] - second_weight[inside]], 1
    )
    ratios = weights[:, :2].log() - weights[:, 2:].log()
    mean = torch.tensor([[first, second]], dtype=torch.float64).expand_as(ratios)
    spread = torch.full_like(ratios, log_spread)
    back, log_prob = Squash("simplex", 3).draw(mean, spread, (ratios - mean) / spread.exp())
    torch.testing.assert_close(back, weights)
    mass = (log_prob.exp() / weights.prod(1)).sum() / cells**2
    assert float(mass) == pytest.approx(1.0, abs=0.01)


def gradients(learner: Sac, loss: Tensor, network: GaussianActor | TwinCritics) -> Tensor:
    return torch.cat([slope.reshape(-1) for slope in torch.autograd.grad(loss, list(network.parameters()))])


def values_of(critics: TwinCritics, observation: Tensor, action: Tensor) -> Tensor:
    """The critics' values float[2, R], with torch's autograd graph."""
    values = []
    for layers, value in critics.pair:
        x = torch.cat((observation, action), -1)
        for layer in layers:
            rounded = torch.mm(x.bfloat16(), layer.weight.t().bfloat16()).float() + layer.bias
            x = torch.relu(rounded if critics.rounded else layer(x))
        values.append(value(x).squeeze(-1))
    return torch.stack(values)


@pytest.mark.parametrize(("bfloat16", "near"), [(False, 1e-5), (True, 3e-2)])
def test_slopes_are_those_of_autograd(bfloat16: bool, near: float) -> None:
    random = torch.Generator().manual_seed(5)
    actor = GaussianActor(9, 3, random, hidden=(16, 12), bfloat16=bfloat16)
    critics = TwinCritics(9, 4, random, hidden=(16, 12), bfloat16=bfloat16)
    observations, actions = torch.randn(40, 9, generator=random), torch.rand(40, 4, generator=random)
    d_mean, d_spread, d_value = (torch.randn(size, generator=random) for size in ((40, 3), (40, 3), (2, 40)))

    def close(tensor: Tensor, expected: Tensor) -> None:
        assert float((tensor - expected).detach().norm()) <= near * float(expected.detach().norm())

    mean, spread, kept = actor.run(observations)
    outputs = actor(observations)
    close(mean, outputs[0])
    close(bounded(spread), outputs[1])
    slope = spread.clone().requires_grad_()
    (through,) = torch.autograd.grad(bounded(slope), slope, d_spread)
    actor.pull(d_mean, through, kept)
    expected = torch.autograd.grad(outputs, list(actor.parameters()), (d_mean, d_spread))
    close(actor.gradient, torch.cat([gradient.reshape(-1) for gradient in expected]))

    action_leaf = actions.clone().requires_grad_()
    values, tapes = critics.run(observations, actions)
    worth = values_of(critics, observations, action_leaf)
    close(values, worth)
    critics.gradient.fill_(7.0)
    by_action = critics.by_action(d_value, tapes, 4)
    assert bool((critics.gradient == 7.0).all())
    critics.pull(d_value, tapes)
    *by_leaf, slope_by_action = torch.autograd.grad(worth, [*critics.parameters(), action_leaf], d_value)
    close(critics.gradient, torch.cat([gradient.reshape(-1) for gradient in by_leaf]))
    close(by_action, slope_by_action)


@pytest.mark.parametrize("kind", ["box", "simplex"])
def test_the_written_out_gradient_of_a_draw_is_autograds(kind: Kind) -> None:
    random = torch.Generator().manual_seed(2)
    squash = Squash(kind, 4)
    mean, log_spread, noise = (torch.randn((7, squash.family.outputs), generator=random) for _ in range(3))
    by_action = torch.randn((7, 4), generator=random)
    mean.requires_grad_(), log_spread.requires_grad_()
    action, log_prob = squash.draw(mean, log_spread, noise)
    expected_slopes = torch.autograd.grad((action * by_action).sum() + 0.3 * log_prob.sum(), (mean, log_spread))
    shift = noise * log_spread.detach().exp()
    slopes = squash.pull(action.detach(), by_action, torch.tensor([0.3]), shift)
    torch.testing.assert_close(slopes, expected_slopes, rtol=1e-4, atol=1e-5)


def test_one_update_moves_everything_by_its_equation() -> None:
    """By hand, from the same draws; Adam's first step is the learning rate along the sign of the gradient."""
    plan = SacPlan(hidden=(8, 8), batch=16, warmup=100, buffer=200, tau=0.1, learning_rate=1e-3, gamma=0.9)
    env = RevertingPair("box", batch=4)
    learner = Sac(plan, 1, 1, "box", 3)
    learner.learn(env, 100, on)
    other = Sac(plan, 1, 1, "box", 4)
    other.load(learner.state())
    replay = learner._replay
    assert replay is not None
    assert learner.updates == 0
    random, critics, actor, target = other.random, other.critics, other.actor, other.target
    batch = replay.sample(16, random)
    mean, spread = actor(batch.following)
    action, log_prob = other.squash.draw(mean, spread, torch.randn(16, 1, generator=random))
    bellman_targets = batch.reward + 0.9 * (values_of(target, batch.following, action).min(0).values - log_prob)
    loss = sum(
        0.5 * ((values - bellman_targets.detach()) ** 2).mean()
        for values in values_of(critics, batch.observation, batch.action)
    )
    before = {"critics": critics.vector.clone(), "actor": actor.vector.clone(), "target": target.vector.clone()}
    slope = {"critics": gradients(other, loss, critics)}
    losses = learner.update(replay, tell=True)
    assert losses is not None
    # the actor is improved by critics that are already
    critics.vector.copy_(learner.critics.vector)
    mean, spread = actor(batch.observation)
    action, log_prob = other.squash.draw(mean, spread, torch.randn(16, 1, generator=random))
    pull = plan.pull * mean.square().mean()
    slope["actor"] = gradients(
        other, (log_prob - values_of(critics, batch.observation, action).min(0).values).mean() + pull, actor
    )
    for name, now in (("critics", learner.critics.vector), ("actor", learner.actor.vector)):
        sure = slope[name].abs() > 1e-5
        torch.testing.assert_close((now - before[name])[sure], -1e-3 * slope[name].sign()[sure], atol=2e-6, rtol=0.0)
    torch.testing.assert_close(learner.target.vector, 0.9 * before["target"] + 0.1 * learner.critics.vector)
    assert float(losses[3]) == pytest.approx(float(-log_prob.detach().mean()), abs=1e-5)
    # more random than asked: the temperature falls
    assert float(losses[3]) > plan.entropy
    assert float(learner.log_temperature) == pytest.approx(-1e-3, abs=1e-5)


@pytest.mark.one_of(2)
@pytest.mark.requirement("R-071")
@pytest.mark.long
@pytest.mark.parametrize("entropy", [-1.0, 0.3])
def test_the_temperature_brings_the_entropy_down_to_what_is_asked_where_chance_costs(entropy: float) -> None:
    plan = msgspec.structs.replace(PLAN, entropy=entropy, temperature=0.1)
    learner = Sac(plan, 1, 1, "box", 1)
    entropies: list[float] = []

    def listen(report: Report) -> bool:
        entropies.append(report.losses["entropy"])
        return False

    learner.learn(RevertingPair("box", batch=32), 20_000, listen)
    assert np.mean(entropies[-4:]) == pytest.approx(entropy, abs=0.2)


def test_discrete_environments_and_impossible_plans_are_refused() -> None:
    with pytest.raises(ValueError, match="discrete"):
        Sac(SacPlan(), 3, 3, "discrete", 1)
    for wrong in ({"hidden": ()}, {"tau": 0.0}, {"temperature": 0.0}, {"batch": 0}):
        with pytest.raises((ValueError, msgspec.ValidationError)):
            SacPlan(**wrong)


@settings(max_examples=examples(20), deadline=None)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(["simplex", "box"]))
def test_torch_and_onnx_runtime_allocate_the_same(seed: int, kind: Kind) -> None:
    learner = Sac(SacPlan(hidden=(16, 8)), 5, 4, kind, seed)
    with torch.no_grad():
        learner.actor.vector.mul_(2.0)
        learner.actor.mean.weight.mul_(50.0)
    session = session_of(learner.actor, learner.squash.family.readout, 5, 4)
    observation = np.random.default_rng(seed).normal(size=(1, 5)).astype(np.float32)
    (weights,) = session.run(["weights"], {"observation": observation})
    np.testing.assert_allclose(weights, learner.act(torch.from_numpy(observation)).numpy(), atol=1e-5)
