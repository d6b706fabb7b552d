"""The hidden Markov model against hmmlearn and against its own past."""

import numpy as np
import pytest
from hmmlearn.hmm import GaussianHMM
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.strategies.regimes.markov import expected, filtered, fit_markov, refined
from tests.support.examples import examples


def regimes(seed, rows, states=3):
    """Returns that were drawn from a chain, and the states they came from."""
    draw = np.random.default_rng(seed)
    means, deviations = np.array([0.0008, -0.0006, -0.002])[:states], np.array([0.006, 0.012, 0.03])[:states]
    state, path = 0, []
    for _ in range(rows):
        state = state if draw.random() < 0.97 else int(draw.integers(states))
        path.append(state)
    path = np.array(path)
    return (means[path] + deviations[path] * draw.normal(size=rows))[:, None], path


def theirs(model):
    other = GaussianHMM(n_components=len(model.initial), covariance_type="full", implementation="log")
    other.startprob_, other.transmat_ = model.initial, model.chain
    other.means_, other.covars_ = model.states
    return other


@pytest.mark.parametrize("states", [2, 3, 4])
def test_likelihood_and_smoothed_states_are_hmmlearns_on_a_long_record(states):
    samples, _ = regimes(states, 700)
    model = fit_markov(samples, states, 5)
    weight, _, score = expected(samples, model)
    other = theirs(model)
    assert score == pytest.approx(other.score(samples), rel=1e-9)
    np.testing.assert_allclose(weight, other.predict_proba(samples), atol=1e-8)
    # what is known at a sample is what its smoothed past ends with
    for cut in (1, 2, 40, 700):
        np.testing.assert_allclose(filtered(samples, model)[cut - 1], other.predict_proba(samples[:cut])[-1], atol=1e-8)


def test_rounds_of_baum_welch_are_hmmlearns():
    samples, _ = regimes(5, 400)
    start = fit_markov(samples, 3, 1)
    ours = refined(samples, start._replace(score=-np.inf), 8, floor=0.0)
    other = theirs(start)
    other.set_params(
        init_params="",
        params="stmc",
        n_iter=8,
        tol=-np.inf,
        min_covar=0.0,
        covars_prior=0.0,
        covars_weight=0.0,
        means_weight=0.0,
    )
    other.fit(samples)
    np.testing.assert_allclose(ours.states.means, other.means_, atol=1e-9)
    np.testing.assert_allclose(ours.states.covariances, other.covars_, rtol=1e-6)
    np.testing.assert_allclose(ours.chain, other.transmat_, atol=1e-8)
    assert ours.score == pytest.approx(other.score(samples), rel=1e-9)


@settings(max_examples=examples(30), deadline=None)
@given(seed=st.integers(0, 10**6), cut=st.integers(1, 119), states=st.integers(2, 4))
def test_what_is_said_of_a_sample_does_not_change_with_what_comes_after_it(seed, cut, states):
    samples, _ = regimes(seed, 120)
    model = fit_markov(samples[:60], states, 5)
    reference = filtered(samples, model)
    np.testing.assert_allclose(
        filtered(samples[:cut], model), reference[:cut], rtol=1e-9, atol=1e-15
    )  # its last bits are numpy's
    altered = samples.copy()
    altered[cut:] = 0.2
    np.testing.assert_allclose(filtered(altered, model)[:cut], reference[:cut], rtol=1e-9, atol=1e-15)
