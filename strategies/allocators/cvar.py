"""The minimum expected shortfall over historical scenarios.

What can go wrong: two instruments have equal returns (equal columns). The linear program then has many solutions, and
the interior-point method lost accuracy just before it reached a solution, so that the agent fell back to minimum
variance. Equal columns are therefore merged into one column of the program, and share its weight.
"""

import numpy as np

from quantd.strategies.allocators.interior_point import Program, bounds, solve
from quantd.strategies.allocators.mean_variance import OPEN, Box, settled
from quantd.trading.market import Floats, Ints


def minimum_cvar(returns: Floats, confidence: float = 0.95, box: Box = OPEN) -> Floats:
    """Return float64[n], the fully invested long-only weights with the smallest CVaR of returns float64[S, n].

    CVaR is the mean loss in the worst fraction 1 - `confidence` of the S samples. It is the minimum of a + sum(max(0,
    -r_s'w - a)) / ((1 - confidence) S) over all thresholds a, with r_s the returns of sample s and w the weights. Equal
    columns are merged, and share the merged weight in equal parts. Source: R. Rockafellar and S. Uryasev, Optimization
    of conditional value-at-risk (2000). Raises Infeasible when the bounds do not permit the sum.
    """
    distinct_of, copy_counts = copies_of(returns)
    if len(copy_counts) < returns.shape[1]:
        lower, upper = box.sides(returns.shape[1])
        first_columns = np.unique(distinct_of, return_index=True)[1]
        merged_weights = _unmerged_minimum(
            returns[:, first_columns],
            confidence,
            lower[first_columns] * copy_counts,
            upper[first_columns] * copy_counts,
        )
        return settled((merged_weights / copy_counts)[distinct_of], box)
    return settled(_unmerged_minimum(returns, confidence, *box.sides(returns.shape[1])), box)


def copies_of(returns: Floats) -> tuple[Ints, Ints]:
    """Return int64[n]: for each column of `returns` float64[S, n], the index of the distinct column that it equals.

    Distinct columns are numbered by their first appearance. Also returns int64[m], how many columns equal each of the m
    distinct columns.
    """
    index_of: dict[bytes, int] = {}
    distinct_of = [index_of.setdefault(column.tobytes(), len(index_of)) for column in np.ascontiguousarray(returns.T)]
    return np.array(distinct_of, dtype=np.int64), np.bincount(distinct_of)


def _unmerged_minimum(returns: Floats, confidence: float, lower: Floats, upper: Floats) -> Floats:
    """Return float64[n], the weights between bounds with the smallest CVaR, before small weights are set to zero.

    The variables of the program are the weights and, last, the threshold a of the CVaR.
    """
    count, size = returns.shape
    # in units of the root mean square return, because the solver expects numbers near 1
    unit = float(np.sqrt(np.einsum("ij,ij->", returns, returns) / returns.size))
    rows, floors = bounds(lower, upper)
    no_threshold = np.zeros((2 * size, 1))
    losses = np.concatenate((returns / unit, np.ones((count, 1))), axis=1)
    # minimise a; each sample is a soft row for its loss beyond a, each bound a hard row; the weights add up to 1
    program = Program(
        np.zeros((size + 1, size + 1)),
        np.append(np.zeros(size), 1.0),
        np.concatenate((losses, np.concatenate((rows, no_threshold), axis=1))),
        np.concatenate((np.zeros(count), floors)),
        np.concatenate((np.full(count, 1.0 / ((1.0 - confidence) * count)), np.full(2 * size, np.inf))),
        np.append(np.ones(size), 0.0)[None],
        np.ones(1),
    )
    return solve(program, np.append(np.full(size, 1.0 / size), 1.0))[:size]
