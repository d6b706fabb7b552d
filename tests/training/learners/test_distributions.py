"""Actions' distributions against torch.distributions and integrals; every slope against autograd."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch import distributions as reference

from quantd.training.learners.distributions import Dirichlet, Discrete, Family, Gaussian
from tests.support.examples import examples

FAMILIES: list[Family] = [Discrete(5), Gaussian(4, "softmax_gaussian"), Gaussian(3, "tanh"), Dirichlet(5)]
NAMES = [distribution.readout for distribution in FAMILIES]
SEEDS = st.integers(0, 10_000)


def outputs(distribution: Family, seed: int, rows: int = 6) -> tuple[Tensor, Tensor, torch.Generator]:
    random = torch.Generator().manual_seed(seed)
    actor = torch.randn((rows, distribution.outputs), generator=random, dtype=torch.float64)
    return actor, torch.randn(distribution.spread, generator=random, dtype=torch.float64) * 0.3, random


def known(distribution: Family, actor: Tensor, spread: Tensor) -> reference.Distribution:
    match distribution:
        case Discrete():
            return reference.Categorical(logits=actor)
        case Dirichlet():
            return reference.Dirichlet(1.0 + torch.nn.functional.softplus(actor))
        case _:
            return reference.Independent(reference.Normal(actor, spread.exp()), 1)


@pytest.mark.parametrize("distribution", FAMILIES, ids=NAMES)
@settings(max_examples=examples(25), deadline=None)
@given(seed=SEEDS)
def test_log_probability_and_entropy_are_those_of_torch(distribution: Family, seed: int) -> None:
    actor, spread, random = outputs(distribution, seed)
    action = distribution.sample(actor, spread, random)
    judged = distribution.judge(actor, spread, distribution.coordinates(action))
    peer = known(distribution, actor, spread)
    value = action if distribution.readout in ("softmax", "dirichlet") else distribution.coordinates(action)
    torch.testing.assert_close(judged.log_prob, peer.log_prob(value), rtol=1e-9, atol=1e-8)
    torch.testing.assert_close(judged.entropy, peer.entropy(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("distribution", FAMILIES, ids=NAMES)
@settings(max_examples=examples(25), deadline=None)
@given(seed=SEEDS)
def test_slopes_are_those_of_autograd(distribution: Family, seed: int) -> None:
    actor, spread, random = outputs(distribution, seed)
    coordinates = distribution.coordinates(distribution.sample(actor, spread, random))
    by_log_prob = torch.randn(len(actor), generator=random, dtype=torch.float64)
    d_actor, d_spread = distribution.judge(actor, spread, coordinates).pull(by_log_prob, 0.7)
    actor.requires_grad_()
    spread.requires_grad_()
    judged = distribution.judge(actor, spread, coordinates)
    loss = (judged.log_prob * by_log_prob).sum() + 0.7 * judged.entropy.sum()
    expected_slopes = torch.autograd.grad(loss, [actor, spread], allow_unused=True)
    torch.testing.assert_close(d_actor, expected_slopes[0])
    if distribution.spread:
        torch.testing.assert_close(d_spread, expected_slopes[1])


@pytest.mark.parametrize("distribution", FAMILIES, ids=NAMES)
def test_actions_are_drawn_as_often_as_judged(distribution: Family) -> None:
    actor, spread, random = outputs(distribution, 3, rows=1)
    drawn = distribution.sample(actor.expand(40_000, -1).contiguous(), spread, random)
    if distribution.readout == "softmax":
        frequency = torch.bincount(drawn, minlength=distribution.outputs).double() / len(drawn)
        torch.testing.assert_close(frequency, actor[0].softmax(-1), rtol=0, atol=0.01)
        return
    # the mean surprise of draws is the entropy
    judged = distribution.judge(actor.expand(40_000, -1), spread, distribution.coordinates(drawn))
    assert float(-judged.log_prob.mean()) == pytest.approx(float(judged.entropy[0]), abs=0.03)


@pytest.mark.parametrize("distribution", FAMILIES, ids=NAMES)
@pytest.mark.parametrize("size", [0.0, 1.0, 40.0, 300.0])
def test_actions_are_allowed_and_finite_however_extreme_the_outputs(distribution: Family, size: float) -> None:
    actor, spread, random = outputs(distribution, 5, rows=50)
    actor, spread = actor.float() * size, spread.float()
    for action in (distribution.sample(actor, spread, random), distribution.mode(actor)):
        if distribution.readout == "softmax":
            assert action.dtype == torch.int64
            assert ((action >= 0) & (action < distribution.outputs)).all()
        elif distribution.readout == "tanh":
            assert (action.abs() <= 1.0).all()
        else:
            assert (action >= 0.0).all()
            torch.testing.assert_close(action.sum(-1), torch.ones(50))
    action = distribution.sample(actor, spread, random)
    judged = distribution.judge(actor, spread, distribution.coordinates(action))
    assert judged.log_prob.isfinite().all()
    assert all(slope.isfinite().all() for slope in judged.pull(torch.ones(50), 0.1))
