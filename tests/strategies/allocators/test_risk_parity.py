"""Risk parity against its definition, and against skfolio."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skfolio import RiskMeasure
from skfolio.moments import EmpiricalCovariance
from skfolio.optimization import RiskBudgeting
from skfolio.prior import EmpiricalPrior

from quantd.strategies.allocators.active_set import Infeasible
from quantd.strategies.allocators.mean_variance import Box
from quantd.strategies.allocators.risk_parity import RIDGE, equal_risk, risk_parity, shared_risk
from quantd.strategies.weights.rebalancing_rules import risk_shares
from quantd.trading.covariance import covariance
from tests.support.examples import examples
from tests.support.returns import Floats, market


@pytest.mark.requirement("R-111")
@settings(max_examples=examples(100), deadline=None)
@given(seed=st.integers(0, 100_000), size=st.integers(1, 40), rows=st.integers(2, 80), common=st.floats(0.0, 30.0))
def test_every_asset_carries_the_same_risk_whatever_the_correlation(
    seed: int, size: int, rows: int, common: float
) -> None:
    draw = np.random.default_rng(seed)
    # few rows: singular; a large common part: all but singular; signs: negative correlations
    returns = draw.normal(size=(rows, size)) + common * draw.normal(size=(rows, 1)) * draw.choice([-1, 1], size)
    returns -= returns.mean(axis=0)
    standard = returns / np.sqrt((returns**2).sum(axis=0))
    correlation = standard.T @ standard
    x = equal_risk(correlation)
    assert (x > 0.0).all()
    np.testing.assert_allclose(x * ((correlation + RIDGE * np.eye(size)) @ x), 1.0 / size, rtol=1e-4)


@pytest.mark.requirement("R-024", "R-122")
@settings(max_examples=examples(100), deadline=None)
@given(seed=st.integers(0, 100_000), size=st.integers(2, 30), spread=st.floats(0.0, 3.0))
def test_contributions_are_the_budgets(seed: int, size: int, spread: float) -> None:
    cov = covariance(market(seed, size))
    budgets = np.exp(spread * np.random.default_rng(seed).normal(size=size))
    w = risk_parity(cov, budgets)
    assert w.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(risk_shares(w, cov), budgets / budgets.sum(), rtol=1e-5)


def agree(returns: Floats, budgets: Floats) -> None:
    oracle = RiskBudgeting(
        risk_measure=RiskMeasure.VARIANCE,
        risk_budget=budgets,
        prior_estimator=EmpiricalPrior(covariance_estimator=EmpiricalCovariance()),
        solver_params={"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-10},
    )
    cov = covariance(returns)
    theirs = oracle.fit(returns * 100.0).weights_
    mine = risk_parity(cov, budgets)

    def objective(w: Floats) -> float:
        """What the budgets make least, whatever the scale of w: deviation over the weighted geometric mean of
        weights."""
        shares = budgets / budgets.sum()
        return float(np.sqrt(w @ cov @ w) / np.exp(shares @ np.log(w)))

    assert objective(mine) == pytest.approx(objective(theirs), rel=1e-6)
    assert objective(mine) <= objective(theirs) * (1.0 + 1e-12)
    np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_the_weights_are_those_of_skfolio() -> None:
    for seed in range(3):
        agree(market(seed, 20), np.full(20, 0.05))
        agree(market(seed, 20), np.random.default_rng(seed).dirichlet(np.full(20, 3.0)))
    agree(market(0, 100), np.full(100, 0.01))


def test_what_cancels_has_no_solution_without_a_ridge_and_halves_with_one() -> None:
    hedge = np.array([[1.0, -1.0], [-1.0, 1.0]])
    with pytest.raises(Infeasible, match="cancel"):
        shared_risk(hedge, np.full(2, 0.5))
    np.testing.assert_allclose(risk_parity(hedge * 1e-4), 0.5)


def test_bounds_are_met() -> None:
    w = risk_parity(covariance(market(5, 10)), None, Box(0.05, 0.12))
    assert w.min() >= 0.05 - 1e-12
    assert w.max() <= 0.12 + 1e-12
    assert w.sum() == pytest.approx(1.0)
