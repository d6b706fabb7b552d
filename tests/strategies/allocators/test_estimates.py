"""Estimators against their definitions, and what they are for: less noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.strategies.allocators import estimates
from quantd.strategies.allocators.active_set import Infeasible
from quantd.trading.covariance import covariance, ewma_covariance, ledoit_wolf
from tests.support.examples import examples
from tests.support.returns import market


@pytest.mark.requirement("R-118")
def test_each_estimator_is_the_one_it_is_called() -> None:
    returns = market(1, 8)
    for kind, expected in (
        ("sample", np.cov(returns.T)),
        ("ledoit_wolf", ledoit_wolf(returns)),
        ("ewma", ewma_covariance(returns, 0.9)),
        ("denoised", estimates.denoised(returns)),
    ):
        np.testing.assert_allclose(estimates.covariance_of(kind, returns, 0.9), expected, rtol=1e-10)


def test_a_sample_covariance_of_too_few_samples_is_refused() -> None:
    with pytest.raises(Infeasible, match="singular"):
        estimates.covariance_of("sample", market(1, 30, 30), 0.94)
    estimates.covariance_of("sample", market(1, 29, 30), 0.94)


@settings(max_examples=examples(50), deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 40), rows=st.integers(3, 400))
def test_denoised_keeps_variances_and_is_positive_semidefinite(seed: int, size: int, rows: int) -> None:
    returns = market(seed, size, rows)
    denoised_cov = estimates.denoised(returns)
    np.testing.assert_allclose(denoised_cov.diagonal(), covariance(returns).diagonal(), rtol=1e-9)
    np.testing.assert_array_equal(denoised_cov, denoised_cov.T)
    assert np.linalg.eigvalsh(denoised_cov).min() > -1e-12 * np.trace(denoised_cov)


def test_denoised_is_nearer_to_the_truth_than_the_sample() -> None:
    nearer = 0
    for seed in range(20):
        draw = np.random.default_rng(seed)
        beta = draw.uniform(0.3, 1.0, 50)
        truth = np.outer(beta, beta) + np.eye(50)
        returns = draw.multivariate_normal(np.zeros(50), truth, 120)
        distances = [np.linalg.norm(c - truth) for c in (estimates.denoised(returns), covariance(returns))]
        nearer += distances[0] < distances[1]
    assert nearer >= 18


@settings(max_examples=examples(50), deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(3, 20))
def test_shrunk_means_lie_between_the_sample_and_one_common_value(seed: int, size: int) -> None:
    returns = market(seed, size)
    cov = covariance(returns)
    means, shrunk = returns.mean(axis=0), estimates.shrunk_means(returns, cov)
    weights = np.linalg.solve(cov, np.ones(size))
    anchor = means @ weights / weights.sum()
    # by another way: Jorion's own formula
    deviations = means - anchor
    share = (size + 2) / (size + 2 + len(returns) * deviations @ np.linalg.inv(cov) @ deviations)
    np.testing.assert_allclose(shrunk, (1 - share) * means + share * anchor, rtol=1e-6, atol=1e-12)
    assert 0.0 < share <= 1.0
