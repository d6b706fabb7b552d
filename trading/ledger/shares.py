"""How agents share fills of common orders, and cross trades with each other."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quantd.trading.execution import with_remainder
from quantd.trading.integers import ratio

Share = tuple[int, int]
"""(book, lots)."""


def share_lots(lots: int, weights: list[int], parts: list[int]) -> None:
    """Split unsigned `lots` in proportion to unsigned `weights`, which do not add up to 0; writes `parts`.

    Leftover lots go to the largest fractions, ties in order. The fractions replace the weights.
    """
    whole, over = 0, lots
    for weight in weights:
        whole += weight
    for k in range(len(weights)):
        parts[k], weights[k] = ratio(lots, weights[k], 1, whole)
        over -= parts[k]
    for _ in range(over):
        first = 0
        for k in range(1, len(weights)):
            if weights[k] > weights[first]:
                first = k
        parts[first] += 1
        weights[first] = -1


def share(lots: int, remaining: Sequence[Share]) -> list[Share]:
    """Split unsigned `lots` among agents in proportion to their unsigned remaining lots, as `share_lots` does.

    `remaining` lists (agent, remaining lots). Agents with a share of zero are omitted. No share exceeds its remaining
    lots unless `lots` exceeds their sum.
    """
    if len(remaining) == 1:
        return [(remaining[0][0], lots)] if lots else []
    parts = [0] * len(remaining)
    share_lots(lots, [left for _, left in remaining], parts)
    return [(agent, part) for (agent, _), part in zip(remaining, parts, strict=True) if part]


def fee_parts(fee_micro: int, lots: int, shares: Sequence[Share]) -> list[int]:
    """Return each share's part of a fill's fee, as `Ledger.fills` books it. Parts are proportional and rounded down;
    the last share takes the remainder. `lots` and the shares have the same sign."""
    return with_remainder(fee_micro, [fee_micro * part // lots for _, part in shares[:-1]])


def net(wanted: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cross the agents' requested trades: int64[A, N] signed lots -> (crossed, surviving), same shape.

    crossed + surviving = wanted, and crossed adds up to 0 in each column. Survivors of a column are all on one side:
    they share the net lots in proportion to the wanted lots of that side. Where nothing crosses, `surviving` is
    `wanted` itself.
    """
    both = np.flatnonzero((wanted > 0).any(axis=0) & (wanted < 0).any(axis=0))
    if not both.size:
        return np.zeros_like(wanted), wanted
    surviving = wanted.copy()
    for k in both.tolist():
        own = wanted[:, k].tolist()
        whole, parts = sum(own), [0] * len(own)
        side = 1 if whole > 0 else -1
        share_lots(abs(whole), [max(side * lots, 0) for lots in own], parts)
        surviving[:, k] = [side * part for part in parts]
    return wanted - surviving, surviving
