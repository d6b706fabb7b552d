"""Diversification against skfolio, closed forms and what must not move it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from skfolio import Portfolio

from quantd.risk.measures import diversification
from quantd.trading.covariance import covariance
from tests.support.examples import examples


def book(seed: int, rows: int = 200, size: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    returns = rng.standard_t(5, size=(rows, 1)) * 0.008 + rng.standard_t(5, size=(rows, size)) * 0.01
    return returns, rng.dirichlet(np.ones(size))


seeds = st.integers(0, 10_000)


@given(seeds)
@settings(max_examples=examples(30))
def test_the_diversification_ratio_is_that_of_skfolio(seed: int) -> None:
    returns, weights = book(seed)
    oracle = Portfolio(X=returns, weights=weights)
    assert diversification.diversification_ratio(weights, covariance(returns)) == pytest.approx(
        oracle.diversification, rel=1e-9
    )


@given(seeds, st.lists(st.floats(-2.0, 2.0), min_size=6, max_size=6))
def test_the_share_of_risk_diversified_away_lies_between_none_and_all(seed: int, weights: list[float]) -> None:
    w, cov = np.array(weights), covariance(book(seed)[0])
    share = diversification.diversification(w, cov)
    assert np.isnan(share) == (not w.any())
    if w.any():
        assert 0.0 <= share < 1.0
        assert share == pytest.approx(1.0 - 1.0 / diversification.diversification_ratio(w, cov))


def test_one_position_is_not_diversified_and_a_perfect_hedge_is_wholly() -> None:
    cov = np.array([[4e-4, 4e-4], [4e-4, 4e-4]])
    assert diversification.diversification(np.array([1.0, 0.0]), cov) == 0.0
    assert diversification.diversification(np.array([0.5, 0.5]), cov) == pytest.approx(0.0, abs=1e-12)
    assert diversification.diversification_ratio(np.array([0.5, -0.5]), cov) == np.inf
    assert diversification.diversification(np.array([0.5, -0.5]), cov) == 1.0
    assert np.isnan(diversification.diversification_ratio(np.array([0.5, 0.5]), np.zeros((2, 2))))


@given(st.lists(st.floats(0.05, 1.0), min_size=2, max_size=6, unique=True), seeds)
def test_uncorrelated_positions_are_as_many_bets_as_the_entropy_of_their_variances(
    risk: list[float], seed: int
) -> None:
    w = np.random.default_rng(seed).dirichlet(np.ones(len(risk)))
    share = (w * risk) ** 2 / np.sum((w * risk) ** 2)
    expected = np.exp(stats.entropy(share))
    assert diversification.effective_bets(w, np.diag(np.array(risk) ** 2)) == pytest.approx(expected)


def test_what_never_moves_has_no_bets_and_two_of_one_kind_are_one() -> None:
    twins = np.array([[1.0, 1.0], [1.0, 1.0]])
    assert np.isnan(diversification.effective_bets(np.array([0.5, 0.5]), np.zeros((2, 2))))
    assert diversification.effective_bets(np.array([0.5, 0.5]), twins) == pytest.approx(1.0)


@given(seeds, st.sampled_from([(30, 6), (6, 6), (20, 50)]))
@settings(max_examples=examples(30))
def test_bets_are_the_same_by_instruments_and_by_samples(seed: int, shape: tuple[int, int]) -> None:
    returns, w = book(seed, *shape)
    expected = diversification.effective_bets(w, covariance(returns))
    assert diversification.components_of(returns).bets(w) == pytest.approx(expected, rel=1e-6)
