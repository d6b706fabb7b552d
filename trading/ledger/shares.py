"""How agents share fills of common orders, and cross trades with each other.

What can go wrong: a lot that belongs to nobody, and an agent that gets more than it asked for. Rounded proportions do
not add up to the fill. Each share is therefore rounded down, and the missing lots go to the largest fractions, ties in
order of the agents. Shares then add up exactly. No agent gets more than its request, unless the fill exceeds all
requests.

Opposite requests for one symbol are crossed first, without an order and without a fee. The requests that remain are all
on one side, and share the net lots as they would share a fill.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantd.trading.execution import with_remainder
from quantd.trading.integers import ratio
from quantd.trading.number_types import Ints, Whole, int_zeros

Share = tuple[int, int]
"""(book, lots): the index of an agent's book, and the lots that are its share."""


def share_lots(lots: int, weights: Ints, parts: Ints) -> None:
    """Split unsigned `lots` in proportion to unsigned `weights`, and write the shares to `parts`.

    Shares are rounded down; leftover lots go to the largest fractions, ties in order of index. `weights` must not add
    up to 0, and are overwritten.
    """
    total: int = 0
    leftover: int = lots
    weight: int
    for weight in weights:
        total += weight
    for k in range(len(weights)):
        # the weights become the remainders of the division
        parts[k], weights[k] = ratio(lots, weights[k], 1, total)
        leftover -= parts[k]
    for _ in range(leftover):
        first: int = 0
        for k in range(1, len(weights)):
            if weights[k] > weights[first]:
                first = k
        parts[first] += 1
        # no second leftover lot for this index
        weights[first] = -1


def cross_lots(wanted: Ints, weights: Ints, surviving: Ints) -> int:
    """Cross the signed lots `wanted` by agents in one symbol. Writes to `surviving` the lots that remain to be ordered.

    Returns the sum of the surviving lots. They are all on one side: the agents of that side share the net lots in
    proportion to their wanted lots. `weights` is memory for intermediate results.
    """
    bought: int = 0
    sold: int = 0
    for k in range(len(wanted)):
        surviving[k] = wanted[k]
        if wanted[k] > 0:
            bought += wanted[k]
        else:
            sold -= wanted[k]
    if bought > 0 and sold > 0:
        # the side with more lots, whose agents share the net
        side: int = 1 if bought >= sold else -1
        for k in range(len(wanted)):
            weights[k] = max(side * wanted[k], 0)
        net: int = side * (bought - sold)
        share_lots(net, weights, surviving)
        for k in range(len(wanted)):
            surviving[k] = surviving[k] * side
    return bought - sold


def share(lots: int, remaining: Sequence[Share]) -> list[Share]:
    """Split unsigned `lots` among agents in proportion to their unsigned remaining lots.

    Shares are rounded down; leftover lots go to the largest fractions. `remaining` lists (agent, remaining lots).
    Agents with a share of zero are omitted. No share exceeds its remaining lots unless `lots` exceeds their sum.
    """
    size: int = len(remaining)
    agent: int
    agent_lots: int
    if lots == 0:
        return []
    if size == 1:
        agent, agent_lots = remaining[0]
        return [(agent, lots)]
    weights: Ints = int_zeros(size)
    parts: Ints = int_zeros(size)
    for k in range(size):
        agent, agent_lots = remaining[k]
        weights[k] = agent_lots
    share_lots(lots, weights, parts)
    shares: list[Share] = []
    for k in range(size):
        if parts[k] != 0:
            agent, agent_lots = remaining[k]
            shares.append((agent, parts[k]))
    return shares


def fee_parts(fee_micro: int, lots: int, shares: Sequence[Share]) -> list[int]:
    """Return the part of a fill's fee for each of `shares`, as `Ledger.fills` books it. Parts are proportional to lots
    and rounded down; the last one takes the remainder. `lots` and the shares have the same sign."""
    fee: Whole = fee_micro
    return with_remainder(fee_micro, [fee * part // lots for _, part in shares[:-1]])


def net(wanted: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cross the agents' requested trades: `wanted` int64[A, N], signed lots of A agents in N symbols -> (crossed,
    surviving), same shape.

    To cross is to trade between agents without an order. crossed + surviving = wanted, and crossed adds up to 0 in each
    column. The surviving lots of a column are all on one side: the agents of that side share the net lots in proportion
    to their wanted lots. If nothing crosses in any column, `surviving` is `wanted` itself.
    """
    both: Any = np.flatnonzero((wanted > 0).any(axis=0) & (wanted < 0).any(axis=0))
    if both.size == 0:
        return np.zeros_like(wanted), wanted
    surviving: Any = wanted.copy()
    size: int = len(wanted)
    weights: Ints = int_zeros(size)
    parts: Ints = int_zeros(size)
    for k in both.tolist():
        column: Any = np.ascontiguousarray(wanted[:, k])
        cross_lots(column.data, weights, parts)
        surviving[:, k] = parts
    return wanted - surviving, surviving
