"""Sizing formulas against their definitions, and what they owe whatever comes in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from quantd.risk.measures.contributions import parametric
from quantd.strategies.allocators.risk_parity import risk_budgets
from quantd.strategies.weights.rebalancing_rules import covariance_of
from quantd.strategies.weights.sizing_rules import (
    earned_by,
    favourable,
    kelly_factor,
    kelly_of_bets,
    kelly_of_moments,
    spread_out,
    volatility_factor,
    within,
)
from tests.support.examples import examples


def rows(seed, count, size, scale=0.01):
    draw = np.random.default_rng(seed)
    return draw.normal(0.0003, scale, (count, size)) + draw.normal(0.0, scale / 2, (count, 1))


@pytest.mark.requirement("R-119")
@settings(deadline=None)
@given(p=st.floats(0.01, 0.99), b=st.floats(0.1, 10.0))
def test_kelly_of_bets_grows_wealth_fastest(p, b):
    best = minimize_scalar(
        lambda f: -(p * np.log1p(b * f) + (1 - p) * np.log1p(-f)), bounds=(0.0, 0.999), method="bounded",
        options={"xatol": 1e-9}
    )  # fmt: skip
    assert min(0.999, kelly_of_bets(p, b)) == pytest.approx(best.x, abs=1e-4)


@pytest.mark.requirement("R-119")
def test_no_edge_is_no_size():
    assert kelly_of_bets(0.5, 1.0) == 0.0
    assert kelly_of_bets(0.6, 0.0) == 0.0
    assert kelly_of_moments(0.0, 0.01) == kelly_of_moments(-0.001, 0.01) == 0.0
    assert kelly_of_moments(0.001, 0.0) == 0.0
    losing = rows(1, 300, 1) - 0.005
    for method in ("moments", "bets"):
        assert kelly_factor(np.array([1.0]), losing, 0.5, method, 0.0) == 0.0


@pytest.mark.requirement("R-119")
def test_twice_the_volatility_is_half_the_size():
    returns, one = rows(5, 63, 1), np.array([1.0])
    assert volatility_factor(one, 2 * returns, 0.1) == pytest.approx(volatility_factor(one, returns, 0.1) / 2)
    assert volatility_factor(np.zeros(1), returns, 0.1) == 1.0
    assert volatility_factor(one, np.zeros((63, 1)), 0.1) == 1.0


def test_rows_with_a_held_symbol_missing_do_not_count_and_others_do():
    returns = np.array([[0.01, np.nan], [0.02, 0.05], [np.nan, 0.01]])
    np.testing.assert_allclose(earned_by(np.array([0.5, 0.0]), returns), [0.005, 0.01])
    np.testing.assert_allclose(earned_by(np.array([0.5, 0.5]), returns), [0.035])


@pytest.mark.requirement("R-121")
def test_negative_momentum_opens_no_new_long():
    held = np.array([0.0, 0.3, 0.3, 0.0])
    wanted = np.array([0.4, 0.5, 0.1, 0.2])
    momentum = np.array([-0.1, -0.1, -0.1, 0.1])
    np.testing.assert_allclose(favourable(wanted, held, momentum), [0.0, 0.3, 0.1, 0.2])
    np.testing.assert_allclose(favourable(wanted, held, np.full(4, np.nan)), [0.0, 0.3, 0.1, 0.0])
    np.testing.assert_allclose(favourable(wanted, held, np.zeros(4)), [0.0, 0.3, 0.1, 0.0])


def test_positive_momentum_opens_no_new_short():
    wanted, momentum = np.array([-0.4, -0.4, -0.4]), np.array([0.1, 0.1, -0.1])
    np.testing.assert_allclose(favourable(wanted, np.array([0.0, -0.2, 0.0]), momentum), [0.0, -0.2, -0.4])
    # from long to short: the long may go, the short is not opened
    np.testing.assert_allclose(favourable(np.array([-0.4]), np.array([0.3]), np.array([0.1])), [0.0])


@pytest.mark.requirement("R-122")
@settings(max_examples=examples(100), deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 8), shorts=st.booleans())
def test_contributions_to_risk_are_the_budgets_and_sum_to_their_total(seed, size, shorts):
    draw = np.random.default_rng(seed)
    covariance = covariance_of(rows(seed, 80, size, 0.02))
    budgets = draw.uniform(0.005, 0.1, size)
    sides = draw.choice([-1.0, 1.0], size) if shorts else np.ones(size)
    weights = risk_budgets(sides, covariance, budgets)
    assert (np.sign(weights) == sides).all()
    np.testing.assert_allclose(parametric(covariance, weights, 252**0.5).component, budgets, rtol=1e-4)
    assert (weights @ covariance @ weights * 252) ** 0.5 == pytest.approx(budgets.sum(), rel=1e-4)


def test_what_is_not_wanted_not_budgeted_or_not_measured_gets_nothing():
    covariance = np.diag([1e-4, 1e-4, 1e-4, 0.0])
    weights = risk_budgets(np.array([1.0, 0.0, 1.0, 1.0]), covariance, np.array([0.1, 0.1, 0.0, 0.1]))
    np.testing.assert_array_equal(weights > 0, [True, False, False, False])
    assert parametric(covariance, weights, 252**0.5).component[0] == pytest.approx(0.1)
    assert not risk_budgets(np.zeros(4), covariance, np.full(4, 0.1)).any()


@given(seed=st.integers(0, 10**6), spread=st.floats(0, 1))
def test_spreading_out_keeps_gross_and_sides_and_lowers_concentration(seed, spread):
    draw = np.random.default_rng(seed)
    weights = draw.normal(size=6) * draw.integers(0, 2, 6)
    spread_weights = spread_out(weights, spread)
    assert np.abs(spread_weights).sum() == pytest.approx(np.abs(weights).sum())
    assert (np.sign(spread_weights) == np.sign(weights)).all()
    assert (spread_weights**2).sum() <= (weights**2).sum() + 1e-12


def test_purchases_are_cut_evenly_and_what_is_kept_is_kept():
    np.testing.assert_allclose(within(np.array([0.5, 0.5, 0.3]), np.array([0.5, 0.1, 0.1]), 1.0), [0.5, 0.3, 0.2])
    np.testing.assert_allclose(within(np.array([0.5, 0.4]), np.zeros(2), 1.0), [0.5, 0.4])
