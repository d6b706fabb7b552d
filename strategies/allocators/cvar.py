"""The minimum expected shortfall over historical scenarios."""

import numpy as np

from quantd.strategies.allocators.interior_point import Program, bounds, solve
from quantd.strategies.allocators.mean_variance import OPEN, Box, settled
from quantd.trading.market import Floats


def minimum_cvar(returns: Floats, confidence: float = 0.95, box: Box = OPEN) -> Floats:
    """Return float64[n], the fully invested long-only weights with the smallest CVaR of returns float64[S, n].

    That is the smallest mean loss in the worst (1 - confidence): least a + sum(max(0, -r_s'w - a)) / ((1 - confidence)
    S) over a and w. Source: R. Rockafellar and S. Uryasev, Optimization of conditional value-at-risk (2000). Raises
    Infeasible when the bounds do not permit the sum.
    """
    count, size = returns.shape
    unit = float(np.sqrt(np.einsum("ij,ij->", returns, returns) / returns.size))
    rows, floor = bounds(*box.sides(size))
    zero = np.zeros((2 * size, 1))
    losses = np.concatenate((returns / unit, np.ones((count, 1))), axis=1)
    program = Program(
        np.zeros((size + 1, size + 1)),
        np.append(np.zeros(size), 1.0),
        np.concatenate((losses, np.concatenate((rows, zero), axis=1))),
        np.concatenate((np.zeros(count), floor)),
        np.concatenate((np.full(count, 1.0 / ((1.0 - confidence) * count)), np.full(2 * size, np.inf))),
        np.append(np.ones(size), 0.0)[None],
        np.ones(1),
    )
    return settled(solve(program, np.append(np.full(size, 1.0 / size), 1.0))[:size], box)
