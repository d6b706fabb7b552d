"""Differentiable simulation of whole paths: B portfolios of N assets through episodes with known weights.

It follows the event core: a decision at a close fills at the next open, splits and dividends precede that open's fills,
costs are those of quantd.trading.execution, and weights drift between decisions. It has no gate, volume caps or partial
fills. `quantd.training.market.simulator` is the same account one step at a time, for learners that explore.

What can go wrong: an episode that needs a later price, or a gradient that is not the account's. Units are decided at
the close, on the scale before a split. Whole lots have no gradient; learning trades fractions, and evaluation trades
lots.

What the order guarantees. A dividend is paid on shares before the split, and the split precedes the fills of the open.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quantd.models.history.panel import Panel
from quantd.trading.execution import RATE_ONE, Costs
from quantd.trading.market import Floats


class Prices(NamedTuple):
    """Prices of a batch of episodes, each float[B, L + 1, N]; 1 before an asset's first price."""

    open: Tensor
    close: Tensor
    split: Tensor
    dividend: Tensor


class Path(NamedTuple):
    """Result of an episode: equity float[B, L + 1] at closes, and traded value over equity float[B, L]."""

    equity: Tensor
    turnover: Tensor


def episodes(panel: Panel, starts: NDArray[np.int64], length: int, dtype: torch.dtype = torch.float64) -> Prices:
    """Return `length` + 1 rows of `panel` from each of `starts` int64[B]."""
    rows = starts[:, None] + np.arange(length + 1)

    def cut(values: Floats, missing: float) -> Tensor:
        return torch.tensor(np.nan_to_num(values[rows], nan=missing), dtype=dtype)

    return Prices(cut(panel.open, 1.0), cut(panel.close, 1.0), cut(panel.split, 1.0), cut(panel.dividend, 0.0))


def simulate(
    prices: Prices, weights: Tensor, costs: Costs, cash: float = 1.0, lot: Tensor | float | None = None
) -> Path:
    """Simulate target weights float[B, L, N], one row per close but the last, from `cash` per portfolio.

    Weights are fractions of equity at the close; an asset without a price must have weight 0. Units are whole lots of
    `lot` units, one size or float[N], truncated towards zero. With `lot` None they are fractional, and the result is
    differentiable.
    """
    fill_rate = costs.fixed_rate / RATE_ONE
    commission_rate = costs.commission_rate / RATE_ONE
    batch, length, size = weights.shape
    units = weights.new_zeros((batch, size))
    free = weights.new_full((batch,), cash)
    equity = [free]
    turnover = []
    for t in range(length):
        reference, opening = prices.close[:, t], prices.open[:, t + 1]
        wanted = weights[:, t] * equity[-1][:, None] / reference
        if lot is not None:
            wanted = torch.trunc(wanted / lot) * lot
        # Units are decided on the previous scale. A dividend is per old share, so that it precedes the split. Both
        # precede the open's fills.
        free = free + (units * prices.dividend[:, t + 1]).sum(-1)
        units, wanted = units * prices.split[:, t + 1], wanted * prices.split[:, t + 1]
        change = wanted - units
        traded = change.abs() * opening
        # A buy fills at open x (1 + rate), a sell at open x (1 - rate); commission is on the filled notional.
        notional = change * opening + traded * fill_rate
        free = free - (notional + notional.abs() * commission_rate).sum(-1)
        units = wanted
        turnover.append(traded.sum(-1) / equity[-1])
        equity.append(free + (units * prices.close[:, t + 1]).sum(-1))
    return Path(torch.stack(equity, dim=1), torch.stack(turnover, dim=1))
