"""Netting of the changes that agents want, and fills and fees shared out among them."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantd.trading.books import Share
from quantd.trading.execution import with_remainder

_INT64_SAFE: Final = 2**31
"""Products of lots below this bound fit int64. Above it, netting uses Python integers."""


def share(lots: int, remaining: Sequence[Share]) -> list[Share]:
    """Split unsigned `lots` among agents in proportion to their unsigned remaining lots.

    `remaining` lists (agent, remaining lots). Leftover lots go to the largest fractions, ties in the given order.
    Agents with a share of zero are omitted. No share exceeds its remaining lots unless `lots` exceeds their sum.
    """
    if len(remaining) == 1:
        return [(remaining[0][0], lots)] if lots else []
    total = sum(left for _, left in remaining)
    parts = [divmod(lots * left, total) for _, left in remaining]
    whole = [quotient for quotient, _ in parts]
    if over := lots - sum(whole):
        for k in sorted(range(len(whole)), key=lambda k: -parts[k][1])[:over]:
            whole[k] += 1
    return [(agent, part) for (agent, _), part in zip(remaining, whole, strict=True) if part]


def fee_parts(fee_micro: int, lots: int, shares: Sequence[Share]) -> list[int]:
    """Return each share's part of a fill's fee, as `Ledger.fills` books it. Parts are proportional and rounded down;
    the last share takes the remainder. `lots` and the shares have the same sign."""
    return with_remainder(fee_micro, [fee_micro * part // lots for _, part in shares[:-1]])


def net(wanted: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cross the agents' requested trades: int64[A, N] signed lots -> (crossed, surviving), same shape.

    crossed + surviving = wanted, and crossed adds up to 0 in each column. Survivors of a column are all on one side.
    They share the net quantity in proportion to their requested lots (see `share`). Where nothing crosses, `surviving`
    is `wanted` itself.
    """
    if len(wanted) > 1:
        buys, sells = np.maximum(wanted, 0), np.maximum(-wanted, 0)
        bought, sold = buys.sum(axis=0), sells.sum(axis=0)
        both = np.flatnonzero(np.minimum(bought, sold))
        if both.size:
            return _crossed(wanted, both, buys, sells, bought, sold)
    return np.zeros_like(wanted), wanted


def _crossed(
    wanted: NDArray[np.int64],
    both: NDArray[np.intp],
    buys: NDArray[np.int64],
    sells: NDArray[np.int64],
    bought: NDArray[np.int64],
    sold: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    bought, sold = bought[both], sold[both]
    side = np.where(bought >= sold, buys[:, both], sells[:, both])
    total, left = np.maximum(bought, sold), np.abs(bought - sold)
    if total.max() < _INT64_SAFE:
        whole, fraction = np.divmod(side * left, total)
        over = left - whole.sum(axis=0)
        order = np.argsort(-fraction, axis=0, kind="stable")
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(len(side))[:, None], axis=0)
        whole += rank < over
    else:
        whole = np.zeros_like(side)
        for k, (lots, column) in enumerate(zip(left.tolist(), side.T.tolist(), strict=True)):
            for agent, part in share(lots, list(enumerate(column))):
                whole[agent, k] = part
    surviving = wanted.copy()
    surviving[:, both] = np.where(bought >= sold, whole, -whole)
    return wanted - surviving, surviving
