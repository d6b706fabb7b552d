"""The closed forms against skfolio, and against what only an optimum does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skfolio import RiskMeasure
from skfolio.moments import EmpiricalCovariance
from skfolio.optimization import MaximumDiversification, MeanRisk, ObjectiveFunction
from skfolio.prior import EmpiricalPrior

from quantd.strategies.allocators import mean_variance
from quantd.strategies.allocators.active_set import Infeasible
from quantd.strategies.allocators.mean_variance import Box
from quantd.trading.covariance import covariance
from tests.support.examples import examples
from tests.support.returns import Floats, market

FREE = 0.02 / 252


def ratio(weights: Floats, reward: Floats, cov: Floats) -> Floats:
    return weights @ reward / np.sqrt(np.einsum("...i,ij,...j->...", weights, cov, weights))


@pytest.mark.requirement("R-113")
@settings(max_examples=examples(60), deadline=None)
@given(
    seed=st.integers(0, 10_000),
    size=st.integers(2, 40),
    low=st.floats(0.0, 0.95),
    high=st.floats(1.05, 6.0),
    rows=st.integers(3, 300),
)
def test_within_any_bounds_no_feasible_portfolio_is_better(
    seed: int, size: int, low: float, high: float, rows: int
) -> None:
    box = Box(low / size, high / size)
    returns = market(seed, size, rows)
    cov, excess = covariance(returns), returns.mean(axis=0) - FREE
    draw = np.random.default_rng(seed)
    feasible = [
        mean_variance.within(draw.dirichlet(np.full(size, alpha)), box) for alpha in (0.1, 1.0, 5.0) for _ in range(10)
    ]
    best = mean_variance.minimum_variance(cov, box)
    # its neighbours: the hardest rivals
    feasible += [0.99 * best + 0.01 * o for o in feasible]
    rivals = np.array(feasible)
    for weights in (best, *rivals):
        assert weights.sum() == pytest.approx(1.0)
        assert weights.min() >= box.lower - 1e-9
        assert weights.max() <= box.upper + 1e-9
    variance = np.einsum("pi,ij,pj->p", rivals, cov, rivals)
    unit = np.trace(cov) / size
    assert best @ cov @ best <= variance.min() + 1e-8 * unit
    try:
        w = mean_variance.maximum_sharpe(cov, excess, box)
    except Infeasible:
        assert mean_variance.highest(excess, box) <= 0.0
        return
    assert box.lower - 1e-9 <= w.min()
    assert w.max() <= box.upper + 1e-9
    near = 0.99 * w + 0.01 * rivals
    floor = 1e-12 * unit  # a singular covariance has riskless portfolios; ratios of nothing say nothing
    for rival in (*rivals, *near):
        if rival @ cov @ rival > floor:
            assert ratio(w, excess, cov + 2e-10 * np.diag(np.diag(cov))) >= ratio(
                rival, excess, cov + 2e-10 * np.diag(np.diag(cov))
            ) * (1 - 1e-6)


EXACT = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-10}
"""Without these the oracle's variance is right to five digits only."""


def oracles(returns: Floats) -> dict[str, Floats]:
    percent = returns * 100.0  # daily variances as fractions are below its tolerances
    prior = EmpiricalPrior(covariance_estimator=EmpiricalCovariance())
    common = {"prior_estimator": prior, "solver_params": EXACT}
    sharpe = MeanRisk(
        objective_function=ObjectiveFunction.MAXIMIZE_RATIO,
        risk_measure=RiskMeasure.STANDARD_DEVIATION,
        risk_free_rate=FREE * 100.0,
        **common,
    )
    return {
        "variance": MeanRisk(risk_measure=RiskMeasure.VARIANCE, **common).fit(percent).weights_,
        "sharpe": sharpe.fit(percent).weights_,
        "diversification": MaximumDiversification(**common).fit(percent).weights_,
    }


def agree(returns: Floats) -> None:
    cov, excess = covariance(returns), returns.mean(axis=0) - FREE
    oracle_weights = oracles(returns)
    deviation = np.sqrt(np.diag(cov))
    least = mean_variance.minimum_variance(cov)
    assert least @ cov @ least == pytest.approx(oracle_weights["variance"] @ cov @ oracle_weights["variance"], rel=1e-6)
    for name, reward in (("sharpe", excess), ("diversification", deviation)):
        mine = mean_variance.maximum_sharpe(cov, reward)
        theirs = oracle_weights[name] / oracle_weights[name].sum()
        assert ratio(mine, reward, cov) == pytest.approx(ratio(theirs, reward, cov), rel=1e-6)
        # and where they differ ours is the better one
        assert ratio(mine, reward, cov) >= ratio(theirs, reward, cov) * (1.0 - 1e-9)


@pytest.mark.requirement("R-112")
@pytest.mark.parametrize(("size", "seeds"), [(20, range(4)), (100, range(1))])
def test_the_optimum_is_that_of_skfolio(size: int, seeds: range) -> None:
    for seed in seeds:
        agree(market(seed, size))


@pytest.mark.parametrize("size", [20, 100])
def test_on_a_hundred_covariances_the_conditions_of_an_optimum_hold(size: int) -> None:
    for seed in range(100):
        returns = market(seed, size)
        cov, excess = covariance(returns), returns.mean(axis=0) - FREE
        w = mean_variance.minimum_variance(cov)
        slope = cov @ w / (w @ cov @ w)  # 1 where there is a weight, no less elsewhere
        assert np.abs(slope[w > 0.0] - 1.0).max() < 1e-6
        assert slope.min() > 1.0 - 1e-6
        w = mean_variance.maximum_sharpe(cov, excess)
        slope = excess / (w @ excess) - cov @ w / (w @ cov @ w)
        assert np.abs(slope[w > 0.0]).max() < 1e-6
        assert slope.max() < 1e-6


def test_where_nothing_beats_cash_there_is_no_maximum_sharpe_ratio() -> None:
    cov = covariance(market(1, 4))
    with pytest.raises(Infeasible, match="more than the risk-free rate"):
        mean_variance.maximum_sharpe(cov, np.full(4, -1e-4))
    with pytest.raises(Infeasible, match="more than the risk-free rate"):
        # one does, but its cap leaves the rest to those that do not
        mean_variance.maximum_sharpe(cov, np.array([1e-4, -1e-3, -1e-3, -1e-3]), Box(0.2, 0.4))


@pytest.mark.requirement("R-118")
def test_merton_of_one_instrument_is_its_formula() -> None:
    # excess return over risk aversion times variance: 0.0003 / (4 x 0.0002) = 0.375
    assert mean_variance.merton(np.array([[0.0002]]), np.array([0.0003]), 4.0)[0] == pytest.approx(0.375, rel=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_merton_is_long_only_unlevered_and_the_best_of_such(seed: int) -> None:
    returns = market(seed, 6)
    cov, excess = covariance(returns), returns.mean(axis=0) - FREE
    for aversion, cap, most in ((1.0, 1.0, 1.0), (3.0, 0.8, 0.3), (50.0, 1.0, 1.0)):
        w = mean_variance.merton(cov, excess, aversion, cap, most)
        assert w.min() >= 0.0
        assert w.max() <= most + 1e-12
        assert w.sum() <= cap + 1e-9
        draw = np.random.default_rng(seed)
        rivals = draw.dirichlet(np.ones(7), 2000)[:, :6] * cap
        rivals = np.concatenate((rivals[(rivals <= most).all(axis=1)], 0.99 * w + 0.01 * np.minimum(rivals, most)))
        utility = rivals @ excess - aversion / 2.0 * np.einsum("pi,ij,pj->p", rivals, cov, rivals)
        assert w @ excess - aversion / 2.0 * w @ cov @ w >= utility.max() - 1e-13


def test_costs_keep_what_is_held_and_without_them_it_is_the_best_utility() -> None:
    returns = market(7, 8)
    cov, mean = covariance(returns), returns.mean(axis=0)
    held = np.full(8, 0.125)
    free = mean_variance.mean_variance(cov, mean, 5.0, held, 0.0)
    np.testing.assert_allclose(free, mean_variance.maximum_utility(cov, mean, 5.0))
    np.testing.assert_allclose(mean_variance.mean_variance(cov, mean, 5.0, held, 0.05), held, atol=1e-6)
    turnover = [
        np.abs(mean_variance.mean_variance(cov, mean, 5.0, held, c) - held).sum() for c in (1e-6, 1e-5, 1e-4, 5e-4)
    ]
    assert turnover == sorted(turnover, reverse=True)
    assert turnover[0] > turnover[-1] + 0.1


@pytest.mark.parametrize("seed", range(4))
def test_costs_are_weighed_as_skfolio_weighs_them(seed: int) -> None:
    returns = market(seed, 12)
    cov, mean = covariance(returns), returns.mean(axis=0)
    held = np.random.default_rng(seed).dirichlet(np.ones(12))
    mine = mean_variance.mean_variance(cov, mean, 4.0, held, 2e-4)
    oracle = MeanRisk(
        objective_function=ObjectiveFunction.MAXIMIZE_UTILITY,
        risk_measure=RiskMeasure.VARIANCE,
        risk_aversion=2.0,  # its utility has no half
        transaction_costs=2e-4,
        previous_weights=held,
        prior_estimator=EmpiricalPrior(covariance_estimator=EmpiricalCovariance()),
    )
    theirs = oracle.fit(returns).weights_

    def utility(w: Floats) -> float:
        return float(mean @ w - 2.0 * w @ cov @ w - 2e-4 * np.abs(w - held).sum())

    assert utility(mine) == pytest.approx(utility(theirs), rel=1e-6)
    assert utility(mine) >= utility(theirs) - 1e-10


def test_a_volatility_target_makes_smaller_and_never_larger() -> None:
    cov = covariance(market(1, 4))
    w = np.full(4, 0.25)
    now = mean_variance.annual_volatility(cov, w, 252.0)
    assert mean_variance.annual_volatility(
        cov, mean_variance.at_volatility(cov, w, now / 2, 252.0), 252.0
    ) == pytest.approx(now / 2)
    np.testing.assert_array_equal(mean_variance.at_volatility(cov, w, now * 2, 252.0), w)
