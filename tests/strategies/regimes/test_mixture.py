"""The Gaussian mixture against scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture

from quantd.strategies.regimes.mixture import fit_mixture, log_densities, responsibilities, starts
from tests.support.examples import examples


def blobs(seed, rows, size):
    draw = np.random.default_rng(seed)
    centres = draw.normal(0.0, 4.0, (3, size))
    return centres[draw.integers(3, size=rows)] + draw.normal(size=(rows, size)) * draw.uniform(0.5, 1.5, size)


def theirs(fit):
    other = GaussianMixture(len(fit.shares))
    other.weights_, (other.means_, other.covariances_) = fit.shares, fit.states
    other.precisions_cholesky_ = np.linalg.cholesky(np.linalg.inv(fit.states.covariances))
    return other


@settings(max_examples=examples(25), deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 3), count=st.integers(2, 4))
def test_densities_and_probabilities_are_scikit_learns(seed, size, count):
    samples = blobs(seed, 200, size)
    fit = fit_mixture(samples, count, 20)
    other = theirs(fit)
    weight, score = responsibilities(samples, fit.shares, fit.states)
    np.testing.assert_allclose(weight, other.predict_proba(samples), atol=1e-8)
    assert score == pytest.approx(other.score(samples) * len(samples))
    assert fit.score == score
    assert log_densities(samples, fit.states).shape == (200, count)


@pytest.mark.requirement("R-038")
@pytest.mark.parametrize("seed", range(3))
def test_the_fit_is_as_likely_as_scikit_learns_best_of_four(seed):
    samples = blobs(seed, 400, 2)
    ours = fit_mixture(samples, 3, 500).score / len(samples)
    best = GaussianMixture(3, n_init=4, random_state=0, tol=1e-5, max_iter=200).fit(samples).score(samples)
    # starts without draws find the optimum or one near it
    assert ours > best - 0.05


@given(seed=st.integers(0, 10**6))
@settings(max_examples=examples(20), deadline=None)
def test_starts_follow_from_the_samples_and_every_state_has_some(seed):
    samples = blobs(seed, 30, 2)
    for one, two in zip(starts(samples, 4), starts(samples.copy(), 4), strict=True):
        np.testing.assert_array_equal(one.means, two.means)
        assert (np.linalg.eigvalsh(one.covariances) > 0).all()


def test_samples_that_are_all_alike_in_one_column_are_no_failure():
    samples = blobs(1, 100, 2)
    samples[:, 1] = 7.0
    assert np.isfinite(fit_mixture(samples, 3, 50).score)
