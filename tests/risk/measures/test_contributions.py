"""Contributions against finite differences, sums and books evaluated again."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skfolio import Portfolio
from skfolio.measures import RiskMeasure

from quantd.risk.measures import contributions
from quantd.risk.measures.portfolio import historical_cvar, historical_var
from quantd.risk.measures.tails import normal_quantile
from quantd.trading.covariance import covariance, ledoit_wolf
from tests.support.examples import examples

seeds = st.integers(0, 100_000)


def world(seed: int, rows: int = 150, size: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    returns = rng.standard_t(4, size=(rows, 1)) * 0.01 + rng.standard_t(4, size=(rows, size)) * 0.01
    weights = rng.normal(0.2, 0.3, size)
    weights[0] = 0.0
    return returns, weights


def without(weights: np.ndarray, k: int) -> np.ndarray:
    remaining = weights.copy()
    remaining[k] = 0.0
    return remaining


@given(seeds, st.sampled_from([0.9, 0.95, 0.99]))
@settings(max_examples=examples(50))
def test_historical_components_add_up_and_incremental_is_the_book_evaluated_again(seed: int, confidence: float) -> None:
    returns, weights = world(seed)
    for parts, measure in zip(
        contributions.historical(returns, weights, confidence), (historical_var, historical_cvar), strict=True
    ):
        assert parts.total == pytest.approx(measure(-returns @ weights, confidence), rel=1e-12)
        assert parts.component.sum() == pytest.approx(parts.total, rel=1e-9)
        for k in range(len(weights)):
            without_it = measure(-returns @ without(weights, k), confidence)
            assert parts.incremental[k] == pytest.approx(parts.total - without_it, rel=1e-9, abs=1e-14)


@given(seeds)
@settings(max_examples=examples(50))
def test_marginal_is_the_slope_of_the_measure(seed: int) -> None:
    returns, weights = world(seed)
    step = 1e-9
    for parts, measure in zip(
        contributions.historical(returns, weights, 0.95), (historical_var, historical_cvar), strict=True
    ):
        for k in range(len(weights)):
            up = weights + step * np.eye(len(weights))[k]
            slope = (measure(-returns @ up, 0.95) - parts.total) / step
            assert slope == pytest.approx(parts.marginal[k], abs=1e-5)


@given(seeds)
def test_parametric_components_add_up_and_each_is_weight_times_slope(seed: int) -> None:
    returns, weights = world(seed)
    cov, z = ledoit_wolf(returns), normal_quantile(0.95)
    parts = contributions.parametric(cov, weights, z)

    def var(w: np.ndarray) -> float:
        return z * math.sqrt(w @ cov @ w)

    assert parts.total == pytest.approx(var(weights), rel=1e-12)
    assert parts.component.sum() == pytest.approx(parts.total, rel=1e-9)
    for k in range(len(weights)):
        step = 1e-6 * np.eye(len(weights))[k]
        slope = (var(weights + step) - var(weights - step)) / 2e-6
        assert parts.marginal[k] == pytest.approx(slope, rel=1e-5, abs=1e-9)
        assert parts.incremental[k] == pytest.approx(parts.total - var(without(weights, k)), rel=1e-7, abs=1e-12)


def test_volatility_contributions_are_those_of_skfolio_and_add_up_to_the_volatility() -> None:
    returns, weights = world(3)
    parts = contributions.parametric(covariance(returns), weights, math.sqrt(252))
    assert parts.total == pytest.approx(math.sqrt(252 * (weights @ covariance(returns) @ weights)))
    oracle = Portfolio(X=returns, weights=weights).contribution(RiskMeasure.STANDARD_DEVIATION)
    np.testing.assert_allclose(parts.component, oracle * math.sqrt(252), rtol=1e-4, atol=1e-7)


def test_where_nothing_moves_every_contribution_is_zero() -> None:
    parts = contributions.parametric(np.zeros((2, 2)), np.array([0.5, 0.5]), 1.645)
    assert parts.total == 0.0
    assert not parts.marginal.any()
    assert not parts.component.any()
    assert not parts.incremental.any()
