"""MLP and LSTM: gradients are autograd's, graphs are the same functions, a seed makes a network."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.training.learners.distributions import family
from quantd.training.market.terms import Kind
from quantd.training.networks import mlp
from quantd.training.networks.actor_critic import Heads
from quantd.training.networks.lstm import Lstm
from quantd.training.networks.mlp import Mlp
from tests.support.artifacts import session_of
from tests.support.examples import examples
from tests.training.networks.asset_observations import check_graph, random_of

KINDS: list[tuple[Kind, str]] = [
    ("discrete", "softmax_gaussian"),
    ("simplex", "softmax_gaussian"),
    ("simplex", "dirichlet"),
    ("box", "softmax_gaussian"),
]


def disturbed(network: Mlp | Lstm, seed: int) -> Mlp | Lstm:
    network.vector.add_(torch.randn(network.vector.shape, generator=random_of(seed)) * 0.1)
    return network


@pytest.mark.requirement("R-067")
def test_the_default_is_a_shared_trunk_of_256_with_two_heads() -> None:
    network = Mlp(20, 6, 0, random_of(0))
    assert [linear.out_features for linear, _ in network.blocks] == [256, 256]
    assert [norm.normalized_shape for _, norm in network.blocks] == [(256,), (256,)]
    assert (network.actor.in_features, network.actor.out_features) == (256, 6)
    assert (network.critic.in_features, network.critic.out_features) == (256, 1)


@settings(max_examples=examples(15), deadline=None)
@given(
    seed=st.integers(0, 1000),
    rows=st.sampled_from([1, 2, 9, mlp.PART, mlp.PART + 1, 3 * mlp.PART - 1]),
    hidden=st.sampled_from([(8,), (8, 16), (5, 5, 5)]),
)
def test_the_mlps_written_out_gradient_is_autograds(seed: int, rows: int, hidden: tuple[int, ...]) -> None:
    network = disturbed(Mlp(4, 3, 2, random_of(seed), hidden=hidden), seed)
    random = random_of(seed + 1)
    observations, d_actor = torch.randn((rows, 4), generator=random), torch.randn((rows, 3), generator=random)
    d_value, d_spread = torch.randn(rows, generator=random), torch.randn(2, generator=random)
    trunk = network.trunk(observations)  # with torch's tanh
    heads = Heads(network.actor(trunk), network.critic(trunk).squeeze(-1))
    ((heads.actor * d_actor).sum() + (heads.value * d_value).sum() + (network.spread * d_spread).sum()).backward()
    expected_gradient = network.gradient.clone()
    network.gradient.fill_(7.0)
    ran = network.run(observations, torch.zeros(rows), network.begin(rows), keep=True)
    network.pull(d_actor, d_spread, d_value)
    torch.testing.assert_close(ran.actor, heads.actor.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(network.gradient, expected_gradient, rtol=1e-4, atol=2e-5 * rows**0.5)


@pytest.mark.parametrize(("steps", "batch"), [(5, 8), (3, mlp.PART), (20, 32)])
def test_passes_recorded_step_by_step_give_the_outputs_and_the_gradient_of_one_run(steps: int, batch: int) -> None:
    network = disturbed(Mlp(4, 3, 2, random_of(1), hidden=(8, 16)), 1)
    observations = torch.randn((steps, batch, 4), generator=random_of(2))
    slopes = tuple(torch.randn(shape, generator=random_of(3)) for shape in ((steps, batch, 3), (2,), (steps, batch)))
    assert network.records
    ran = network.run(observations, torch.zeros(steps, batch), network.begin(batch), keep=True)
    network.pull(*slopes)
    expected_gradient = network.gradient.clone()
    network.record(observations[0], 0, steps)
    acted = [network.record(row, number, steps) for number, row in enumerate(observations)]
    recording = network.recorded(observations)
    network.pull(*slopes)
    torch.testing.assert_close(torch.stack(acted), ran.actor)
    torch.testing.assert_close(recording.actor, ran.actor)
    torch.testing.assert_close(recording.value, ran.value)
    torch.testing.assert_close(network.gradient, expected_gradient, rtol=1e-4, atol=1e-4)


def test_the_lstms_gradient_reaches_back_to_the_episodes_first_row_and_no_further() -> None:
    network = disturbed(Lstm(3, 2, 0, random_of(1), hidden=6), 1)
    observations = torch.randn((5, 2, 3), generator=random_of(2))
    started = torch.zeros((5, 2), dtype=torch.bool)
    started[2, 0] = True

    def last(values: torch.Tensor) -> torch.Tensor:
        return network(values, started, torch.ones(2, 12)).value[4]

    observations.requires_grad_()
    (first,) = torch.autograd.grad(last(observations)[0], observations)
    (second,) = torch.autograd.grad(last(observations)[1], observations)
    assert (first[:2, 0] == 0.0).all()
    assert (first[2:, 0] != 0.0).any(-1).all()
    assert (second[:, 1] != 0.0).any(-1).all()


@pytest.mark.parametrize(("kind", "simplex"), KINDS)
def test_onnx_runtime_gives_the_mlps_weights(kind: Kind, simplex: str) -> None:
    actions = family(kind, 5, simplex)  # type: ignore[arg-type]
    network = disturbed(Mlp(11, actions.outputs, actions.spread, random_of(3)), 3)
    session = session_of(network, actions.readout, 11, 5)

    def expected(row: torch.Tensor) -> torch.Tensor:
        actor, _ = network.act(row, network.begin(1))
        return actor.softmax(-1) if kind == "discrete" else actions.mode(actor)

    check_graph(session, 11, expected)


@pytest.mark.parametrize(("kind", "simplex"), KINDS)
def test_onnx_runtime_carries_the_lstms_state_as_torch_does(kind: Kind, simplex: str) -> None:
    actions = family(kind, 5, simplex)  # type: ignore[arg-type]
    network = disturbed(Lstm(11, actions.outputs, actions.spread, random_of(3), hidden=32), 3)
    session = session_of(network, actions.readout, 11, 5, carry=64)
    carry = network.begin(1)
    carried = carry.numpy()
    for row in torch.randn((20, 1, 11), generator=random_of(4)):
        actor, carry = network.act(row, carry)
        expected_weights = actor.softmax(-1) if kind == "discrete" else actions.mode(actor)
        weights, carried = session.run(["weights", "carried"], {"observation": row.numpy(), "carry": carried})
        np.testing.assert_allclose(weights, expected_weights.numpy(), atol=1e-5)
        np.testing.assert_allclose(carried, carry.numpy(), atol=1e-5)


def test_bfloat16_products_come_near_the_gradient_of_float32() -> None:
    plain, rounded = (Mlp(8, 3, 0, random_of(1), bfloat16=on) for on in (False, True))
    observations, d_actor = torch.randn((64, 8), generator=random_of(2)), torch.randn((64, 3), generator=random_of(3))
    for network in (plain, rounded):
        network.run(observations, torch.zeros(64), network.begin(64), keep=True)
        network.pull(d_actor, torch.zeros(0), torch.ones(64))
    assert not torch.equal(plain.gradient, rounded.gradient)
    distance = (plain.gradient - rounded.gradient).norm() / plain.gradient.norm()
    assert float(distance) < 0.02
