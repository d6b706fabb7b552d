"""The least CVaR against the linear program it is, solved by scipy, and against skfolio."""

import numpy as np
import pytest
from scipy.optimize import linprog
from skfolio import RiskMeasure
from skfolio.optimization import MeanRisk

from quantd.strategies.allocators.active_set import Infeasible
from quantd.strategies.allocators.cvar import minimum_cvar
from quantd.strategies.allocators.mean_variance import Box
from tests.support.returns import Floats, market


def shortfall(returns: Floats, weights: Floats, confidence: float) -> float:
    """The least over a of a + mean excess over it, which is at one of the losses."""
    losses = np.sort(-returns @ weights)
    excess = np.array([np.maximum(losses - a, 0.0).sum() for a in losses])
    return float((losses + excess / ((1.0 - confidence) * len(losses))).min())


@pytest.mark.parametrize(
    ("size", "rows", "confidence"), [(3, 60, 0.9), (20, 252, 0.95), (20, 504, 0.99), (60, 252, 0.8)]
)
@pytest.mark.parametrize("box", [Box(), Box(0.005, 0.35)])
def test_the_optimum_is_that_of_the_linear_program(size: int, rows: int, confidence: float, box: Box) -> None:
    for seed in range(3):
        returns = market(seed, size, rows)
        mine = minimum_cvar(returns, confidence, box)
        oracle = linprog(
            np.concatenate((np.zeros(size), [1.0], np.full(rows, 1.0 / ((1.0 - confidence) * rows)))),
            A_ub=np.concatenate((-returns, -np.ones((rows, 1)), -np.eye(rows)), axis=1), b_ub=np.zeros(rows),
            A_eq=np.concatenate((np.ones(size), np.zeros(rows + 1)))[None], b_eq=[1.0],
            bounds=[(box.lower, min(box.upper, 1.0))] * size + [(None, None)] + [(0, None)] * rows,
        )  # fmt: skip
        assert mine.sum() == pytest.approx(1.0)
        assert mine.min() >= box.lower - 1e-9
        assert mine.max() <= box.upper + 1e-9
        assert shortfall(returns, mine, confidence) == pytest.approx(oracle.fun, rel=1e-6)


def test_the_optimum_is_that_of_skfolio() -> None:
    for seed in range(3):
        returns = market(seed, 20, 252)
        theirs = MeanRisk(risk_measure=RiskMeasure.CVAR, cvar_beta=0.95).fit(returns * 100.0).weights_
        mine = minimum_cvar(returns, 0.95)
        assert shortfall(returns, mine, 0.95) <= shortfall(returns, theirs, 0.95) * (1.0 + 1e-7)
        assert shortfall(returns, mine, 0.95) == pytest.approx(shortfall(returns, theirs, 0.95), rel=1e-5)


def test_bounds_that_do_not_allow_the_sum_are_refused() -> None:
    with pytest.raises(Infeasible, match="do not allow"):
        minimum_cvar(market(1, 4), 0.95, Box(0.0, 0.2))
