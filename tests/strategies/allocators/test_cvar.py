"""The least CVaR against the linear program it is, solved by scipy, and against skfolio."""

import numpy as np
import pytest
from scipy.optimize import linprog

from quantd.strategies.allocators.active_set import Infeasible
from quantd.strategies.allocators.cvar import minimum_cvar
from quantd.strategies.allocators.mean_variance import OPEN, Box
from tests.support.returns import Floats, market


def shortfall(returns: Floats, weights: Floats, confidence: float) -> float:
    """The least over a of a + mean excess over it, which is at one of the losses."""
    losses = np.sort(-returns @ weights)
    excess = np.array([np.maximum(losses - a, 0.0).sum() for a in losses])
    return float((losses + excess / ((1.0 - confidence) * len(losses))).min())


def least_shortfall(returns: Floats, confidence: float, box: Box = OPEN) -> float:
    """The optimum of the linear program, by scipy."""
    rows, size = returns.shape
    oracle = linprog(
        np.concatenate((np.zeros(size), [1.0], np.full(rows, 1.0 / ((1.0 - confidence) * rows)))),
        A_ub=np.concatenate((-returns, -np.ones((rows, 1)), -np.eye(rows)), axis=1), b_ub=np.zeros(rows),
        A_eq=np.concatenate((np.ones(size), np.zeros(rows + 1)))[None], b_eq=[1.0],
        bounds=[(box.lower, min(box.upper, 1.0))] * size + [(None, None)] + [(0, None)] * rows,
    )  # fmt: skip
    return float(oracle.fun)


def dependent(kind: str, returns: Floats, draw: np.random.Generator) -> Floats:
    """Returns with columns that repeat, or are mixes of others."""
    mixes = [returns @ draw.dirichlet(np.ones(returns.shape[1])) for _ in range(2)]
    more = {
        "one copy": [returns[:, -1]],
        "two copies": [returns[:, -1], returns[:, 0]],
        "four of one": [returns[:, -1]] * 3,
        "their mean": [returns.mean(axis=1)],
        "two mixes": mixes,
        "a copy and a mix": [returns[:, 1], mixes[0]],
        "a copy but for rounding": [returns[:, 0] * (1.0 + 1e-9 * draw.normal(size=len(returns)))],
        "a leveraged copy": [2.0 * returns[:, 0]],
        "nothing but copies": [returns[:, 0]] * 4,
    }[kind]
    return np.column_stack((returns[:, :1] if kind == "nothing but copies" else returns, *more))


@pytest.mark.quick_cases(4)
@pytest.mark.parametrize("markets", [range(4), pytest.param(range(4, 20), marks=pytest.mark.slow)], ids=str)
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize(
    "kind",
    ["one copy", "two copies", "four of one", "their mean", "two mixes", "a copy and a mix", "a copy but for rounding",
     "a leveraged copy", "nothing but copies"],
)  # fmt: skip
def test_columns_that_repeat_or_mix_others_have_the_optimum_of_the_linear_program(
    kind: str, confidence: float, markets: range
) -> None:
    """Four markets; `pytest -m slow` adds sixteen."""
    for seed in markets:
        draw = np.random.default_rng(seed)
        base = market(seed, int(draw.integers(4, 9)), int(draw.choice([60, 120, 252])))
        returns = dependent(kind, base, draw)
        for box in (OPEN, Box(0.0, 0.4), Box(0.02, 0.5)):
            weights = minimum_cvar(returns, confidence, box)
            assert weights.sum() == pytest.approx(1.0)
            assert weights.min() >= box.lower - 1e-12
            assert weights.max() <= box.upper + 1e-12
            least = least_shortfall(returns, confidence, box)
            assert shortfall(returns, weights, confidence) - least < 2e-6 * float(returns.std()), (seed, box)


def test_copies_get_equal_parts() -> None:
    for seed in range(60):
        returns = market(seed, 5, 120)
        weights = minimum_cvar(np.column_stack((returns, returns[:, -1], returns[:, 2], returns[:, -1])))
        assert weights[4] == weights[5] == weights[7]
        assert weights[2] == weights[6]


@pytest.mark.parametrize(
    ("size", "rows", "confidence"), [(3, 60, 0.9), (20, 252, 0.95), (20, 504, 0.99), (60, 252, 0.8)]
)
@pytest.mark.parametrize("box", [Box(), Box(0.005, 0.35)])
def test_the_optimum_is_that_of_the_linear_program(size: int, rows: int, confidence: float, box: Box) -> None:
    for seed in range(3):
        returns = market(seed, size, rows)
        mine = minimum_cvar(returns, confidence, box)
        assert mine.sum() == pytest.approx(1.0)
        assert mine.min() >= box.lower - 1e-9
        assert mine.max() <= box.upper + 1e-9
        assert shortfall(returns, mine, confidence) == pytest.approx(
            least_shortfall(returns, confidence, box), rel=1e-6
        )


def test_bounds_that_do_not_allow_the_sum_are_refused() -> None:
    with pytest.raises(Infeasible, match="no weights within their bounds"):
        minimum_cvar(market(1, 4), 0.95, Box(0.0, 0.2))
