"""skfolio under constraints: they hold, without any it is the closed form, and what cannot be met is refused."""

import numpy as np
import pytest

from quantd.strategies.allocators import mean_variance
from quantd.strategies.allocators.active_set import Infeasible
from quantd.strategies.allocators.constrained import Limits, Objective, constrained, shortfall
from quantd.strategies.allocators.cvar import minimum_cvar
from quantd.strategies.allocators.mean_variance import Box
from quantd.trading.covariance import covariance
from tests.support.returns import Floats, market

FREE = 0.02 / 252
OBJECTIVES: list[Objective] = ["variance", "sharpe", "utility", "diversification", "cvar"]


def solve(objective: Objective, limits: Limits, seed: int = 1, box: Box = Box()) -> tuple[Floats, Floats]:  # noqa: B008
    returns = market(seed, 10, 300)
    held = np.full(10, 0.1)
    mean = returns.mean(axis=0)
    excess = mean - FREE if objective == "sharpe" else mean
    return returns, constrained(objective, returns, covariance(returns), excess, held, limits, box, risk_aversion=4.0)


def test_without_constraints_it_is_the_closed_form() -> None:
    for objective in OBJECTIVES:
        returns, w = solve(objective, Limits())
        cov, mean = covariance(returns), returns.mean(axis=0)
        expected = {
            "variance": lambda c=cov: mean_variance.minimum_variance(c),
            "sharpe": lambda c=cov, m=mean: mean_variance.maximum_sharpe(c, m - FREE),
            "utility": lambda c=cov, m=mean: mean_variance.maximum_utility(c, m, 4.0),
            "diversification": lambda c=cov: mean_variance.maximum_diversification(c),
            "cvar": lambda r=returns: minimum_cvar(r),
        }[objective]()
        np.testing.assert_allclose(w, expected, atol=2e-3)


def test_constraints_hold_and_cost_something() -> None:
    limits = Limits(groups=(((0, 1, 2), 0.3), ((5, 8), 0.4)), turnover=0.7)
    for objective in OBJECTIVES:
        returns, w = solve(objective, limits, box=Box(0.01, 0.35))
        assert w.sum() == pytest.approx(1.0)
        assert w[:3].sum() <= 0.3 + 1e-5
        assert w[[5, 8]].sum() <= 0.4 + 1e-5
        assert np.abs(w - 0.1).sum() <= 0.7 + 1e-4
        assert w.min() >= 0.01 - 1e-6
        assert w.max() <= 0.35 + 1e-6
        if objective == "variance":
            cov = covariance(returns)
            free = mean_variance.minimum_variance(cov)
            assert free @ cov @ free < w @ cov @ w


def test_a_cvar_is_kept() -> None:
    for objective in ("sharpe", "utility"):
        returns, free = solve(objective, Limits())
        cap = 0.97 * shortfall(returns, free, 0.95)
        returns, w = solve(objective, Limits(cvar=cap))
        assert shortfall(returns, w, 0.95) <= cap * (1.0 + 1e-3)


def test_costs_lower_the_turnover() -> None:
    turnover = [np.abs(solve("utility", Limits(cost=c))[1] - 0.1).sum() for c in (0.0, 1e-4, 1e-2)]
    assert turnover[0] > turnover[1] > turnover[2]
    assert turnover[2] < 1e-3


def test_what_cannot_be_met_is_refused() -> None:
    for limits in (Limits(groups=((tuple(range(10)), 0.5),)), Limits(cvar=1e-5)):
        with pytest.raises(Infeasible, match="meets every constraint"):
            solve("variance", limits)


def test_the_shortfall_is_the_least_over_a_of_its_formula() -> None:
    draw = np.random.default_rng(1)
    for rows, confidence in ((100, 0.95), (77, 0.9), (30, 0.99), (250, 0.5)):
        returns = draw.normal(size=(rows, 3))
        w = np.array([0.2, 0.3, 0.5])
        losses = -returns @ w
        formula = min(a + np.maximum(losses - a, 0.0).sum() / ((1.0 - confidence) * rows) for a in losses)
        assert shortfall(returns, w, confidence) == pytest.approx(formula)
