"""Tilted and dynamic allocation: the bound of a tilt, and each factor of the product."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.daemon.policies.loading import PolicyError, load, probe
from quantd.strategies.policies import COMPOSITES
from quantd.strategies.weights.tilt import momentum_scores, tilted
from tests.support.examples import examples
from tests.support.policies import made, market, prices_of, view_of, walk, weights_in


def answer(name, params, prices):
    *_, (_, said, _) = walk(made(name, params), prices)
    return weights_in(said)


@settings(max_examples=examples(300))
@given(seed=st.integers(0, 10**6), size=st.integers(1, 8), most=st.floats(0, 0.3), short=st.booleans())
def test_no_weight_is_tilted_by_more_than_allowed_and_gross_and_sides_stay(seed, size, most, short):
    draw = np.random.default_rng(seed)
    weights = draw.dirichlet(np.ones(size)) * draw.uniform(0.1, 1.0) * draw.integers(0, 2, size)
    if short:
        weights = weights * draw.choice([-1.0, 1.0], size)
    after = tilted(weights, draw.uniform(-1, 1, size), most)
    assert (np.abs(after - weights) <= most * np.abs(weights) + 1e-12).all()
    assert np.abs(after).sum() == pytest.approx(np.abs(weights).sum())
    assert (np.sign(after) == np.sign(weights)).all()


def test_what_rose_gets_more_of_what_fell():
    after = tilted(np.array([0.5, 0.5]), np.array([1.0, -1.0]), 0.3)
    np.testing.assert_allclose(after, [0.65, 0.35])
    # of a short it is the fall that speaks for more
    np.testing.assert_allclose(tilted(np.array([-0.5, -0.5]), np.array([1.0, -1.0]), 0.3), [-0.35, -0.65])


def test_momentum_within_two_percent_is_none():
    scores = momentum_scores(np.array([0.02, -0.02, 0.03, -0.04, np.nan]), 0.02)
    np.testing.assert_allclose(scores, [0.0, 0.0, 0.5, -1.0, 0.0])
    np.testing.assert_array_equal(momentum_scores(np.array([0.01, np.nan]), 0.02), 0.0)


def trends(*means, rows=80, shake=0.0):
    steps = np.tile(np.array(means), (rows, 1))
    return prices_of(steps + shake * np.where(np.arange(rows) % 2, 1.0, -1.0)[:, None])


@pytest.mark.requirement("R-117")
def test_a_tilted_base_leans_by_a_third_at_most():
    np.testing.assert_allclose(answer("momentum_tilted", {}, trends(0.002, -0.002)), [0.65, 0.35], atol=0.006)
    np.testing.assert_allclose(
        answer("momentum_tilted", {"max_tilt": 0.1}, trends(0.002, -0.002)), [0.55, 0.45], atol=0.002
    )
    np.testing.assert_allclose(answer("momentum_tilted", {"threshold": 0.1}, trends(0.002, -0.002)), [0.5, 0.5])
    base = {"policy": "fixed_mix", "params": {"weights": {"A": 0.2, "B": 0.6}}}
    weights = answer("momentum_tilted", {"base": base}, trends(0.002, -0.002))
    assert weights.sum() == pytest.approx(0.8)
    np.testing.assert_allclose(weights, [0.26, 0.54], atol=0.001)


QUIET = {"momentum_factor": 0.0, "volatility_target": 2.0, "max_adjustment": 1.0, "base": {"policy": "equal_weight"}}


@pytest.mark.requirement("R-115")
@pytest.mark.parametrize(("mean", "exposure"), [(0.002, 0.9), (-0.002, 0.3)])
def test_dynamic_weights_change_with_the_regime_as_configured(mean, exposure):
    params = {**QUIET, "bull": 0.9, "bear": 0.3}
    np.testing.assert_allclose(answer("dynamic", params, trends(mean, mean)), exposure / 2)


@pytest.mark.requirement("R-040", "R-115")
def test_dynamic_weights_change_with_momentum_and_with_volatility():
    params = {**QUIET, "momentum_factor": 0.5, "bull": 0.5}
    prices = trends(0.004, 0.004 - 0.0015)
    momentum = prices[-1] / prices[-21] - 1.0
    scores = (momentum - 0.02) / (momentum[0] - 0.02)
    np.testing.assert_allclose(answer("dynamic", params, prices), 0.25 * (1 + 0.5 * scores))
    shaken = {**QUIET, "volatility_target": 0.05, "max_adjustment": 3.0}
    prices = trends(0.001, 0.001, shake=0.008)
    returns = (prices[1:] / prices[:-1] - 1.0)[-60:]
    volatility = returns.mean(axis=1).std(ddof=1) * 252**0.5
    np.testing.assert_allclose(answer("dynamic", shaken, prices), 0.5 * 0.05 / volatility)
    np.testing.assert_allclose(answer("dynamic", {**shaken, "max_adjustment": 1.5}, prices), 0.5 / 1.5)


PARAMS = {
    "dynamic": {"regime": {"model": "markov", "window": 120, "iterations": 10}},
    "momentum_tilted": {"base": {"policy": "inverse_volatility", "params": {"lookback": 30}}},
    "ensemble": {"members": [{"policy": "equal_weight"}, {"policy": "momentum", "params": {"lookback": 30}}]},
    "regime_switched": {
        "bull": {"policy": "equal_weight"}, "bear": {"policy": "hold"}, "volatile": {"policy": "inverse_volatility"},
    },
}  # fmt: skip


def test_the_table_of_this_test_has_every_composite():
    assert set(PARAMS) == set(COMPOSITES)


@pytest.mark.parametrize("name", sorted(PARAMS))
def test_every_composite_is_long_only_unlevered_steady_and_the_same_when_replayed(name):
    prices = market(6, 4, 200)
    policy = made(name, PARAMS[name])
    walked = [(row, said) for row, said, _ in walk(policy, prices, every=11)]
    assert walked == [(row, said) for row, said, _ in walk(made(name, PARAMS[name]), prices, every=11)]
    for _, said in walked:
        assert not said.failed
        if said.weights is not None:
            assert (weights_in(said) >= 0.0).all()
            assert weights_in(said).sum() <= 1.0 + 1e-9
    assert probe(policy, view_of(prices, policy.lookback)) == ""


@pytest.mark.parametrize("name", sorted(PARAMS))
@pytest.mark.parametrize("unknown", [[], [1, 3], [0, 1, 2, 3]])
def test_every_composite_stands_unknown_prices_and_permutes_with_the_columns(name, unknown):
    prices = market(6, 4, 200)
    prices[:, unknown] = np.nan
    order = [3, 1, 0, 2]
    policy = made(name, PARAMS[name])

    def weights(given):
        return getattr(given, "weights", given)

    straight = weights(policy.act(view_of(prices, policy.lookback), {})[0])
    turned = weights(policy.act(view_of(prices[:, order], policy.lookback, order=order), {})[0])
    if isinstance(straight, np.ndarray):
        assert np.isfinite(straight).all()
        assert not straight[unknown].any()
        np.testing.assert_allclose(turned, straight[order], rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("name", ["dynamic", "momentum_tilted"])
def test_a_wrong_base_is_named_by_its_path(name):
    with pytest.raises(PolicyError, match=r"^params\.base\.policy: there is no policy 'x'"):
        load(name, {"base": {"policy": "x"}}, Path())
    with pytest.raises(PolicyError, match=f"^{name} has no parameter 'bas'; did you mean 'base'"):
        load(name, {"bas": 1}, Path())
