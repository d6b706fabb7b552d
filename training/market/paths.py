"""Differentiable simulation of whole paths: B portfolios of N assets through episodes with known weights.

The simulation follows the event core, the engine of backtests and live trading: a decision at a close fills at the next
open, splits and dividends precede that open's fills, costs are those of quantd.trading.execution, and weights drift
between decisions. The simulation has no risk checks of orders, volume caps or partial fills.
`quantd.training.market.simulator` simulates the same accounts one step at a time, for learners that explore.

What can go wrong. A decision would use a later price: so units are decided at the close, in old shares if a split
follows. Whole lots have no gradient: so learning trades fractions, and evaluation trades lots.

What the order guarantees. A dividend is paid on the old shares, then the shares are split, and then the orders fill at
the open.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quantd.models.history.panel import Panel
from quantd.trading.execution import RATE_ONE, Costs
from quantd.trading.market import Floats
from quantd.training.market.accounts import most_invested


class Prices(NamedTuple):
    """Prices of N assets in B episodes of L steps, each float[B, L + 1, N]; 1 before an asset's first price."""

    open: Tensor
    close: Tensor
    split: Tensor
    dividend: Tensor


class Path(NamedTuple):
    """Result of an episode: equity float[B, L + 1] at closes, and traded value over equity float[B, L].

    Axes: B episodes, L sessions.
    """

    equity: Tensor
    turnover: Tensor


def episodes(panel: Panel, starts: NDArray[np.int64], length: int, dtype: torch.dtype = torch.float64) -> Prices:
    """Return B episodes of prices: `length` + 1 rows of `panel` from each row in `starts` int64[B] on."""
    rows = starts[:, None] + np.arange(length + 1)

    def cut(values: Floats, missing: float) -> Tensor:
        return torch.tensor(np.nan_to_num(values[rows], nan=missing), dtype=dtype)

    return Prices(cut(panel.open, 1.0), cut(panel.close, 1.0), cut(panel.split, 1.0), cut(panel.dividend, 0.0))


def simulate(
    prices: Prices, weights: Tensor, costs: Costs, cash: float = 1.0, lot: Tensor | float | None = None
) -> Path:
    """Simulate B portfolios of N assets over L sessions, from `cash` each, with target weights float[B, L, N].

    Each close but the last has a row of weights. Weights are fractions of equity at the close; an asset without a price
    must have weight 0. A sum of weights above `most_invested` is scaled down to it. Positions are whole lots, truncated
    towards zero; a lot has `lot` units, one size or float[N]. With `lot` None positions are fractional, and the result
    is differentiable.
    """
    fill_rate = costs.fixed_rate / RATE_ONE
    commission_rate = costs.commission_rate / RATE_ONE
    batch, length, size = weights.shape
    most = most_invested(costs)
    weights = weights * (most / weights.sum(-1, keepdim=True).clamp(min=most))
    units = weights.new_zeros((batch, size))
    balance = weights.new_full((batch,), cash)
    equity = [balance]
    turnover = []
    for t in range(length):
        close, next_open = prices.close[:, t], prices.open[:, t + 1]
        target_units = weights[:, t] * equity[-1][:, None] / close
        if lot is not None:
            target_units = torch.trunc(target_units / lot) * lot
        # The target is in old shares. A dividend is per old share, so that it precedes the split. Both precede the
        # fills at the open.
        balance = balance + (units * prices.dividend[:, t + 1]).sum(-1)
        units, target_units = units * prices.split[:, t + 1], target_units * prices.split[:, t + 1]
        change = target_units - units
        traded = change.abs() * next_open
        # A buy fills at open x (1 + rate), a sell at open x (1 - rate); commission is on the filled notional.
        notional = change * next_open + traded * fill_rate
        balance = balance - (notional + notional.abs() * commission_rate).sum(-1)
        units = target_units
        turnover.append(traded.sum(-1) / equity[-1])
        equity.append(balance + (units * prices.close[:, t + 1]).sum(-1))
    return Path(torch.stack(equity, dim=1), torch.stack(turnover, dim=1))
