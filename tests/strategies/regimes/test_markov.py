"""The hidden Markov model against every path there is, against hmmlearn, and against its own past."""

from itertools import pairwise, product

import numpy as np
import pytest
from hmmlearn.hmm import GaussianHMM
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.strategies.regimes.markov import Markov, expected, filtered, fit_markov, refined
from quantd.strategies.regimes.mixture import States, log_densities
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


def model_of(seed, states, size=1):
    draw = np.random.default_rng(seed)
    chain = draw.dirichlet(np.ones(states), states)
    initial = draw.dirichlet(np.ones(states))
    spread = draw.normal(size=(states, size, size))
    return Markov(
        initial, chain, States(draw.normal(size=(states, size)), spread @ spread.transpose(0, 2, 1) + np.eye(size)), 0.0
    )


def theirs(model):
    other = GaussianHMM(n_components=len(model.initial), covariance_type="full", implementation="log")
    other.startprob_, other.transmat_ = model.initial, model.chain
    other.means_, other.covars_ = model.states
    return other


def all_paths(samples, model):
    """{path of states: joint probability}, by enumeration."""
    logs = log_densities(samples, model.states)
    with np.errstate(divide="ignore"):
        start, chain = np.log(model.initial), np.log(model.chain)
    return {
        path: np.exp(start[path[0]] + sum(chain[a, b] for a, b in pairwise(path)) + sum(logs[t, k] for t,
        k in enumerate(path)))
        for path in product(range(len(model.initial)), repeat=len(samples))
    }  # fmt: skip


@settings(max_examples=examples(15), deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 5), states=st.integers(1, 3), size=st.integers(1, 2))
def test_filter_smoother_and_likelihood_are_those_of_all_paths_together(seed, rows, states, size):
    model = model_of(seed, states, size)
    samples = np.random.default_rng(seed + 1).normal(size=(rows, size))
    now = filtered(samples, model)
    for t in range(rows):
        paths = all_paths(samples[: t + 1], model)
        total = sum(paths.values())
        for k in range(states):
            assert now[t, k] == pytest.approx(sum(p for path, p in paths.items() if path[-1] == k) / total, abs=1e-10)
    weight, moves, score = expected(samples, model)
    assert score == pytest.approx(np.log(total))
    for t, k in product(range(rows), range(states)):
        assert weight[t, k] == pytest.approx(sum(p for path, p in paths.items() if path[t] == k) / total, abs=1e-10)
    for a, b in product(range(states), repeat=2):
        count = sum(p * sum(x == a and y == b for x, y in pairwise(path)) for path, p in paths.items())
        assert moves[a, b] == pytest.approx(count / total, abs=1e-9)


@pytest.mark.parametrize("states", [2, 3, 4])
def test_likelihood_and_smoothed_states_are_hmmlearns_on_a_long_record(states):
    samples, _ = regimes(states, 700)
    model = fit_markov(samples, states, 5)
    weight, _, score = expected(samples, model)
    other = theirs(model)
    assert score == pytest.approx(other.score(samples), rel=1e-9)
    np.testing.assert_allclose(weight, other.predict_proba(samples), atol=1e-8)


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
