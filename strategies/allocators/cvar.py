"""The minimum expected shortfall over historical scenarios.

What can go wrong: equal columns. The linear program then has many solutions, and the interior-point method lost
accuracy just before one; the agent held minimum variance instead. Equal columns are one in the program, and share its
weight.
"""

import numpy as np

from quantd.strategies.allocators.interior_point import Program, bounds, solve
from quantd.strategies.allocators.mean_variance import OPEN, Box, settled
from quantd.trading.market import Floats, Ints


def minimum_cvar(returns: Floats, confidence: float = 0.95, box: Box = OPEN) -> Floats:
    """Return float64[n], the fully invested long-only weights with the smallest CVaR of returns float64[S, n].

    That is the smallest mean loss in the worst (1 - confidence): least a + sum(max(0, -r_s'w - a)) / ((1 - confidence)
    S) over a and w. Equal columns are one in the program, and share its weight in equal parts. Source: R. Rockafellar
    and S. Uryasev, Optimization of conditional value-at-risk (2000). Raises Infeasible when the bounds do not permit
    the sum.
    """
    group, copies = copies_of(returns)
    if len(copies) < returns.shape[1]:
        lower, upper = box.sides(returns.shape[1])
        first = np.unique(group, return_index=True)[1]
        merged_weights = _minimum(returns[:, first], confidence, lower[first] * copies, upper[first] * copies)
        return settled((merged_weights / copies)[group], box)
    return settled(_minimum(returns, confidence, *box.sides(returns.shape[1])), box)


def copies_of(returns: Floats) -> tuple[Ints, Ints]:
    """Return int64[n], the number of the distinct column that each column of float64[S, n] equals, by first place.

    Also returns int64[m], the number of columns that equal each distinct one.
    """
    numbers: dict[bytes, int] = {}
    group = [numbers.setdefault(column.tobytes(), len(numbers)) for column in np.ascontiguousarray(returns.T)]
    return np.array(group, dtype=np.int64), np.bincount(group)


def _minimum(returns: Floats, confidence: float, lower: Floats, upper: Floats) -> Floats:
    """Return float64[n], the weights between bounds with the smallest CVaR, as the solver leaves them."""
    count, size = returns.shape
    unit = float(np.sqrt(np.einsum("ij,ij->", returns, returns) / returns.size))
    rows, floor = bounds(lower, upper)
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
    return solve(program, np.append(np.full(size, 1.0 / size), 1.0))[:size]
