"""DQN: each of its parts by its definition, and problems whose best is known."""

from itertools import pairwise

import msgspec
import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from quantd.training.learners.algorithms.deep_q import Dqn, epsilon_of, targets
from quantd.training.learners.dqn import PROFILES, DqnPlan
from quantd.training.learners.replay import Batch
from quantd.training.networks.onnx_nodes import Graph
from quantd.training.networks.q_network import NoisyLinear, QNetwork
from tests.support.examples import examples
from tests.support.problems import DriftingAsset
from tests.training.learners.replay_problems import SwitchingFee, on

PLAIN = DqnPlan(
    hidden=(32,),
    learning_rate=1e-3,
    gamma=0.3,
    buffer=20_000,
    batch=256,
    warmup=1000,
    train_every=32,
    target_every=25,
    epsilon_decay=0.99,
)
RAINBOW = msgspec.structs.replace(
    PLAIN,
    hidden=(64, 64),
    streams=32,
    double=True,
    noisy=True,
    n_step=2,
    alpha=0.6,
    beta_updates=600,
    learning_rate=3e-3,
)


def network_of(seed: int, *, streams: int = 0, noisy: bool = False) -> QNetwork:
    return QNetwork(5, 4, torch.Generator().manual_seed(seed), hidden=(16, 8), streams=streams, noisy=noisy)


@pytest.mark.long
@pytest.mark.parametrize("n_step", [1, 3])
def test_it_pays_a_fee_now_for_what_comes_later_and_one_that_does_not_look_ahead_does_not(n_step: int) -> None:
    held = torch.eye(3)
    chosen = {}
    for gamma in (0.0, 0.9):
        env = SwitchingFee()
        plan = msgspec.structs.replace(PLAIN, gamma=gamma, n_step=n_step if gamma else 1, learning_rate=3e-3)
        learner = Dqn(plan, 3, 3, "discrete", 1)
        learner.learn(env, 16_000, on)
        chosen[gamma] = learner.act(held).tolist()
    assert chosen[0.9] == [2, 2, 2]
    assert chosen[0.0] == [0, 1, 2]


def batch_of(reward: float, discount: float) -> Batch:
    empty = torch.zeros(1, 1)
    return Batch(empty, empty, torch.tensor([reward]), torch.tensor([discount]), empty, empty, empty)


@pytest.mark.requirement("R-063")
def test_double_takes_the_choice_of_one_network_and_the_value_of_the_other() -> None:
    online, target = torch.tensor([[1.0, 5.0, 2.0]]), torch.tensor([[9.0, 3.0, 4.0]])
    assert targets(batch_of(1.0, 0.5), online, target, double=True).tolist() == [1.0 + 0.5 * 3.0]
    assert targets(batch_of(1.0, 0.5), online, target, double=False).tolist() == [1.0 + 0.5 * 9.0]
    assert targets(batch_of(1.0, 0.0), online, target, double=True).tolist() == [1.0]


@pytest.mark.requirement("R-063")
def test_updates_use_the_double_target_of_their_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def spy(batch: Batch, online: Tensor, target: Tensor, double: bool) -> Tensor:
        seen.append(torch.equal(online, target))
        return targets(batch, online, target, double)

    monkeypatch.setattr("quantd.training.learners.algorithms.deep_q.targets", spy)
    for double in (False, True):
        env = DriftingAsset("discrete", batch=4)
        plan = DqnPlan(hidden=(8,), warmup=40, double=double, target_every=1000, learning_rate=1e-2)
        Dqn(plan, 5, 5, "discrete", 1).learn(env, 60, on)
    # at the first update both networks are still the same
    assert seen[:20] == [True] * 20
    assert seen[20:] == [True] + [False] * 19


@pytest.mark.requirement("R-064")
def test_a_dueling_network_is_the_value_and_what_advantages_differ_from_their_mean() -> None:
    network = network_of(1, streams=12)
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(2))
    features = x
    for linear, norm in zip(network.features, network.norms, strict=True):
        features = norm(torch.relu(linear(features)))
    value = network.heads["value_out"](torch.relu(network.heads["value"](features)))
    advantage = network.heads["advantage_out"](torch.relu(network.heads["advantage"](features)))
    values = network(x)
    torch.testing.assert_close(values, value + advantage - advantage.mean(-1, keepdim=True))
    torch.testing.assert_close(values.mean(-1), value.squeeze(-1))
    with torch.no_grad():
        network.heads["advantage_out"].bias.add_(3.0)
    torch.testing.assert_close(network(x), values)


@settings(max_examples=examples(30), deadline=None)
@given(seed=st.integers(0, 10_000), streams=st.sampled_from([0, 12]), noisy=st.booleans())
def test_the_gradient_is_that_of_autograd(seed: int, streams: int, noisy: bool) -> None:
    network, random = network_of(seed, streams=streams, noisy=noisy), torch.Generator().manual_seed(seed)
    seen, slope = torch.randn(9, 5, generator=random), torch.randn(9, 4, generator=random)
    noise = network.draw(random)
    values = network(seen, noise)
    wanted = torch.autograd.grad((values * slope).sum(), list(network.parameters()))
    network.gradient.fill_(7.0)
    with torch.no_grad():
        torch.testing.assert_close(network.run(seen, noise), values.detach())
        network.pull(slope)
    torch.testing.assert_close(network.gradient, torch.cat([tensor.reshape(-1) for tensor in wanted]))


def test_a_noisy_layer_is_its_equation() -> None:
    layer = NoisyLinear(5, 3, torch.Generator().manual_seed(1))
    in_noise, out_noise = layer.draw(torch.Generator().manual_seed(2))
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(3))
    weight = layer.weight + layer.weight_spread * torch.outer(out_noise, in_noise)
    torch.testing.assert_close(
        layer(x, (in_noise, out_noise)), x @ weight.T + layer.bias + layer.bias_spread * out_noise
    )


@pytest.mark.requirement("R-065")
def test_noise_is_new_in_training_and_absent_in_evaluation() -> None:
    learner = Dqn(msgspec.structs.replace(RAINBOW, hidden=(16,)), 5, 4, "discrete", 1)
    seen = torch.randn(200, 5, generator=torch.Generator().manual_seed(2))
    assert torch.equal(learner.act(seen), learner.act(seen))
    assert torch.equal(learner.q_values(seen), learner.q_values(seen))
    assert not torch.equal(learner.act(seen, greedy=False), learner.act(seen, greedy=False))


@pytest.mark.requirement("R-061")
def test_epsilon_falls_by_its_factor_for_each_episode_down_to_its_least() -> None:
    plan = PROFILES["plain"]
    schedule = [epsilon_of(plan, episodes) for episodes in range(2000)]
    assert schedule[0] == 1.0
    assert schedule[1] == 0.995
    assert schedule[200] == pytest.approx(0.995**200)
    # 0.995 ** 919 is the first below 0.01
    assert schedule[918] > 0.01
    assert schedule[919:] == [0.01] * 1081
    assert all(later <= earlier for earlier, later in pairwise(schedule))


def test_continuous_environments_and_impossible_plans_are_refused() -> None:
    with pytest.raises(ValueError, match="discrete"):
        Dqn(DqnPlan(), 3, 3, "simplex", 1)
    for wrong in ({"hidden": ()}, {"n_step": 0}, {"epsilon": 0.001}, {"epsilon_decay": 0.0}, {"streams": -1}):
        with pytest.raises((ValueError, msgspec.ValidationError)):
            DqnPlan(**wrong)


@settings(max_examples=examples(20), deadline=None)
@given(seed=st.integers(0, 10_000), streams=st.sampled_from([0, 12]), noisy=st.booleans())
def test_torch_and_onnx_runtime_choose_the_same_allocation_and_value_it_the_same(
    seed: int, streams: int, noisy: bool
) -> None:
    network = network_of(seed, streams=streams, noisy=noisy)
    draw = np.random.default_rng(seed)
    allocations = draw.dirichlet(np.ones(3), size=4)
    graph = Graph()
    graph.node("Identity", [network.write(graph, "observation")], "q_values")
    graph.chosen("q_values", allocations)
    model = graph.model("q_network", {"observation": 5}, {"weights": 3, "q_values": 4})
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    seen = draw.normal(size=(1, 5)).astype(np.float32)
    weights, values = session.run(["weights", "q_values"], {"observation": seen})
    by_torch = network(torch.from_numpy(seen)).detach().numpy()
    np.testing.assert_allclose(values, by_torch, atol=1e-5)
    np.testing.assert_allclose(weights, allocations[by_torch.argmax(-1)], atol=1e-6)
