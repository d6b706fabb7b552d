"""Allocation along a tree of instruments, clustered by correlation: hierarchical risk parity, and correlated groups.

What can go wrong: weights that change when the columns are permuted, because left and right in a tree depend on the
numbering. So instruments are numbered by variance first. No matrix is inverted: a singular covariance is valid here,
unlike in `mean_variance` (M. Lopez de Prado, 2016).
"""

from collections.abc import Callable, Sequence

import numpy as np

from quantd.strategies.allocators.mean_variance import OPEN, Box, scaled, within
from quantd.trading.market import Floats

Linkage = list[tuple[int, int, float]]
"""Merges in order of distance: (cluster, cluster, distance), the smaller number first.

Leaves are 0 .. n-1; the k-th merge creates cluster n + k.
"""


Level = Callable[[Floats], Floats]
"""Returns weights float64[n] with the sum 1 from a covariance float64[n, n]."""


def distances(correlation: Floats) -> Floats:
    """Return float64[n, n], sqrt((1 - correlation) / 2), a metric from 0 to 1 (R. Mantegna, 1999)."""
    return np.sqrt(np.maximum((1.0 - correlation) * 0.5, 0.0))


def single_linkage(distance: Floats) -> Linkage:
    """Return the tree in which two clusters are as distant as their nearest members.

    The tree is a list of merges (cluster, cluster, distance): the k-th merge creates cluster n + k, leaves are 0 to
    n - 1. The merges of the tree are the edges of the minimum spanning tree in order of length (J. Gower and G. Ross,
    1969), found by R. Prim's algorithm (1957) in O(n^2).
    """
    size = len(distance)
    nearest = distance[0].copy()
    nearest[0] = np.inf
    edges = []
    nearest_member = np.zeros(size, dtype=np.intp)
    for _ in range(size - 1):
        joined = int(nearest.argmin())
        edges.append((float(nearest[joined]), int(nearest_member[joined]), joined))
        row = distance[joined]
        closer = row < nearest
        # instruments that have joined the tree have infinite distance, and keep it
        closer &= nearest < np.inf
        nearest_member[closer] = joined
        nearest[closer] = row[closer]
        nearest[joined] = np.inf
    edges.sort(key=lambda edge: edge[0])
    linkage: Linkage = []
    parents = list(range(2 * size - 1))

    def root(node: int) -> int:
        """Return the newest cluster that contains `node`, a leaf or cluster (union-find with path halving)."""
        while parents[node] != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node

    for k, (length, one_end, other_end) in enumerate(edges):
        low, high = sorted((root(one_end), root(other_end)))
        linkage.append((low, high, length))
        parents[low] = parents[high] = size + k
    return linkage


def leaves(linkage: Linkage) -> list[int]:
    """Return the instruments from left to right, with similar ones adjacent (quasi-diagonal order). The k-th merge of
    `linkage` creates cluster n + k; leaves are 0 to n - 1."""
    size = len(linkage) + 1
    order: list[int] = []
    pending = [2 * size - 2]
    while pending:
        node = pending.pop()
        if node < size:
            order.append(node)
        else:
            left_child, right_child, _ = linkage[node - size]
            pending += (right_child, left_child)
    return order


def clusters(linkage: Linkage, height: float) -> list[list[int]]:
    """Return the clusters of leaves that remain when merges above the distance `height` are undone."""
    size = len(linkage) + 1
    members = {leaf: [leaf] for leaf in range(size)}
    for k, (first, second, distance) in enumerate(linkage):
        if distance <= height:
            members[size + k] = sorted(members.pop(first) + members.pop(second))
    return sorted(members.values())


def correlated(correlation: Floats, threshold: float) -> list[list[int]]:
    """Return groups of columns (instruments).

    Each member of a group correlates with another member by at least `threshold`; an instrument without such a partner
    is a group alone.
    """
    return clusters(single_linkage(distances(correlation)), float(distances(np.array(threshold))))


def two_levels(cov: Floats, groups: Sequence[Sequence[int]], between: Level, inside: Level) -> Floats:
    """Return weights float64[n], fully invested: the weight of a group times the weight of the member in its group.

    Every column is in one group. `inside` gives the weights of the members of a group, and `between` the weights of the
    groups from the covariance of their returns. Raises Infeasible where `between` or `inside` raises it.
    """
    members = np.zeros((len(cov), len(groups)))
    for k, group in enumerate(groups):
        columns = np.array(group)
        members[columns, k] = inside(cov[columns[:, None], columns])
    return members.dot(between(members.T.dot(cov).dot(members)))


def hierarchical_risk_parity(cov: Floats, box: Box = OPEN) -> Floats:
    """Return weights float64[n], fully invested, by recursive bisection of the tree of instruments.

    Capital is divided between two halves by inverse variance; within each half the weights are inverse variances.
    Source: M. Lopez de Prado, Building diversified portfolios that outperform out of sample (2016), with a tree of
    correlation distances. No matrix is inverted, so a singular covariance is valid. Left and right in a tree depend on
    numbering: instruments are numbered by variance, so that the result does not depend on the order of columns.
    Excesses over bounds are redistributed (`within`).
    """
    size = len(cov)
    if size == 1:
        return within(np.ones(1), box)
    by_variance = np.argsort(cov.diagonal(), kind="stable")
    correlation, _ = scaled(cov[by_variance[:, None], by_variance])
    order = by_variance[leaves(single_linkage(distances(correlation)))]
    precision = 1.0 / cov.diagonal()[order]
    precision /= precision.max()
    # the variance of some instruments with weights in proportion to `precision` p is the sum of p_i p_j C_ij over the
    # square of the sum of p; `block` has p_i p_j C_ij in tree order
    block = cov[order[:, None], order]
    block *= precision
    block *= precision[:, None]
    weights = np.ones(size)
    pending = [(0, size)]
    while pending:
        begin, end = pending.pop()
        middle = (begin + end) // 2
        first_variance = _block_variance(block, precision, begin, middle)
        second_variance = _block_variance(block, precision, middle, end)
        # of the first half: the smaller its variance, the more
        share = second_variance / (first_variance + second_variance)
        weights[begin:middle] *= share
        weights[middle:end] *= 1.0 - share
        if middle - begin > 1:
            pending.append((begin, middle))
        if end - middle > 1:
            pending.append((middle, end))
    by_instrument = np.empty(size)
    by_instrument[order] = weights
    return within(by_instrument / by_instrument.sum(), box)


def _block_variance(block: Floats, precision: Floats, begin: int, end: int) -> float:
    """Return the variance of the instruments `begin` to `end` (exclusive) in tree order, weighted by `precision`."""
    if end - begin == 1:
        return float(block[begin, begin]) / float(precision[begin]) ** 2
    inside = float(np.add.reduce(block[begin:end, begin:end], axis=None))
    # rounding may move a perfect hedge below zero
    return max(inside, 1e-300) / float(np.add.reduce(precision[begin:end])) ** 2
