"""Black-Litterman against its other formula, and against what He and Litterman printed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.strategies.allocators.black_litterman import doubt_of, posterior
from quantd.strategies.allocators.estimates import equilibrium
from quantd.trading.covariance import covariance
from tests.support.examples import examples
from tests.support.returns import market

# G. He and R. Litterman (1999), tables 1 and 2: Australia, Canada, France, Germany, Japan, UK, USA
VOLATILITY = np.array([16.0, 20.3, 24.8, 27.1, 21.0, 20.0, 18.7]) / 100.0
MARKET = np.array([1.6, 2.2, 5.2, 5.5, 11.6, 12.4, 61.5]) / 100.0
CORRELATION = np.array(
    [
        [1.000, 0.488, 0.478, 0.515, 0.439, 0.512, 0.491],
        [0.488, 1.000, 0.664, 0.655, 0.310, 0.608, 0.779],
        [0.478, 0.664, 1.000, 0.861, 0.355, 0.783, 0.668],
        [0.515, 0.655, 0.861, 1.000, 0.354, 0.777, 0.653],
        [0.439, 0.310, 0.355, 0.354, 1.000, 0.405, 0.306],
        [0.512, 0.608, 0.783, 0.777, 0.405, 1.000, 0.652],
        [0.491, 0.779, 0.668, 0.653, 0.306, 0.652, 1.000],
    ]
)
COV = CORRELATION * np.outer(VOLATILITY, VOLATILITY)
GERMANY = np.array([[0.0, 0.0, -0.295, 1.0, 0.0, -0.705, 0.0]])
"""Germany over the rest of Europe, by capitalisation, by 5 % a year (their section 3.1)."""


def test_equilibrium_returns_are_those_of_he_and_litterman() -> None:
    printed = [3.9, 6.9, 8.4, 9.0, 4.3, 6.8, 7.6]
    np.testing.assert_allclose(equilibrium(COV, MARKET, 2.5) * 100.0, printed, atol=0.06)


@pytest.mark.requirement("R-114")
def test_the_view_on_germany_moves_returns_and_weights_as_they_printed() -> None:
    doubt = np.einsum("ki,ij,kj->k", GERMANY, 0.05 * COV, GERMANY)
    mean, total = posterior(COV, MARKET, GERMANY, np.array([0.05]), doubt)
    # table 4: expected returns 4.3 7.6 9.3 11.0 4.5 7.0 8.1, optimal weights 1.5 2.1 -4.0 35.4 11.0 -9.5 58.6
    np.testing.assert_allclose(mean * 100.0, [4.3, 7.6, 9.3, 11.0, 4.5, 7.0, 8.1], atol=0.06)
    weights = np.linalg.solve(total, mean) / 2.5
    np.testing.assert_allclose(weights * 100.0, [1.5, 2.1, -4.0, 35.4, 11.0, -9.5, 58.6], atol=0.15)


@settings(max_examples=examples(80), deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(2, 20), count=st.integers(1, 5))
def test_the_posterior_is_that_of_the_other_formula(seed: int, size: int, count: int) -> None:
    draw = np.random.default_rng(seed)
    cov = covariance(market(seed, size)) * 252
    weights = draw.dirichlet(np.ones(size))
    picks, views, doubt = draw.normal(size=(count, size)), draw.normal(0.0, 0.1, count), draw.uniform(0.001, 0.1, count)
    mean, total = posterior(cov, weights, picks, views, doubt, tau=0.1, risk_aversion=3.0)
    prior, precise = 3.0 * cov @ weights, np.linalg.inv(0.1 * cov)
    spread = np.linalg.inv(precise + picks.T @ np.diag(1.0 / doubt) @ picks)
    np.testing.assert_allclose(mean, spread @ (precise @ prior + picks.T @ (views / doubt)), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(total, cov + spread, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("confidence", [0.1, 0.5, 0.8, 1.0])
def test_one_view_moves_its_portfolio_by_its_confidence(confidence: float) -> None:
    prior = float(GERMANY[0] @ equilibrium(COV, MARKET, 2.5))
    doubt = doubt_of(COV, GERMANY, np.array([confidence]))
    mean, _ = posterior(COV, MARKET, GERMANY, np.array([0.05]), doubt)
    assert GERMANY[0] @ mean == pytest.approx(prior + confidence * (0.05 - prior), abs=1e-9)


def test_two_certain_views_that_contradict_each_other_meet_half_way() -> None:
    picks = np.concatenate((GERMANY, GERMANY))
    mean, _ = posterior(COV, MARKET, picks, np.array([0.02, 0.06]), np.zeros(2))
    assert GERMANY[0] @ mean == pytest.approx(0.04, abs=1e-6)
