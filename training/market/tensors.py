"""A panel of prices as tensors for many simulated accounts: prices relative to the previous close, and observations.

What can go wrong. A first price has no previous close: so its session counts as unchanged, and its weight stays in
cash. A row without enough history would be observed as if it had some: so rows with too little are refused, and the
error names the first day that has enough. Where an instrument closes after the decision, its close is not known
yet: so orders and the observed account use `marks`, and returns use closes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import combinations, combinations_with_replacement
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quantd.models.history.panel import Panel
from quantd.models.history.splits import DAY_NS, day_of
from quantd.models.observation.table import Observed
from quantd.trading.market import Floats
from quantd.training.market.accounts import Session, Shares
from quantd.training.market.arrays import Array, take, view

MOMENTUM: Final = 20
"""Sessions of the momentum term of rewards."""

CALM: Final = 20
"""Sessions of the market's volatility."""

LEAST_VOLATILITY: Final = 0.1
"""Minimum volatility as a fraction of its mean, so that a reward divided by it stays finite."""


@dataclass(frozen=True, slots=True)
class Market:
    """T sessions of N assets as tensors.

    Row t of `gap` (open), `total` (close) and `dividend`, float[T, N], is relative to close t - 1, per share held at
    that close.
    """

    symbols: tuple[str, ...]
    observed: Observed
    seen: Tensor
    """float[T, D] observation at close t; the last columns, which are for the account, are 0."""
    gap: Tensor
    total: Tensor
    dividend: Tensor | None
    close: Tensor
    """float[T, N] unadjusted; 1 before the first price."""
    split: Tensor
    days: Tensor
    """float[T] calendar days since the previous session."""
    known: Tensor | None
    """float[T, N] 1 where an asset can be held from this close, else 0; None when all always can."""
    momentum: Tensor
    """float[T, N]."""
    volatility: Tensor
    """float[T] of the equal-weight market over the CALM sessions to close t, relative to its mean over decisions."""
    first: int
    """Row of the first close with a decision."""
    last: int
    """Row of the last close that can be an outcome."""
    earned: Tensor | None = None
    """float[T] interest on cash since the previous session, as a fraction; None without interest."""
    marks: Tensor | None = None
    """float[T, N] the last price known at close t over close t; None where all closes are known. Orders are sized, and
    the account is shown, by these prices; returns are by closes."""
    idle: Tensor | None = None
    """float[T, N] 1 where orders of close t - 1 do not trade; None where all of them trade."""

    def viewed(self) -> "Market":
        """Return the market with its tensors as arrays, which the account code reads at each step."""
        values = ((attribute.name, getattr(self, attribute.name)) for attribute in fields(self))
        arrays: dict[str, Any] = {name: view(value) for name, value in values if isinstance(value, Tensor)}
        return replace(self, **arrays)

    def session(self, rows: Array, with_days: bool) -> Session:
        """Return the sessions in `rows` int64[B], one for each of B accounts; the market must come from `viewed`. With
        `with_days`, they have their calendar days, which borrow fees need.
        """
        dividend = None if self.dividend is None else take(self.dividend, rows)
        days = take(self.days, rows) if with_days else None
        earned = None if self.earned is None else take(self.earned, rows)
        idle = None if self.idle is None else take(self.idle, rows)
        return Session(take(self.gap, rows), take(self.total, rows), dividend, days, earned, idle)

    def shares(self, rows: Array) -> Shares:
        """Return the prices and splits for whole lots in `rows` int64[B]; the market must come from `viewed`.

        Axes: B accounts.
        """
        return Shares(take(self.close, rows - 1), take(self.split, rows))


def market_of(
    panel: Panel,
    observed: Observed,
    rows: range | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Market:
    """Convert `panel` to tensors. Decisions and outcomes are in `rows`, by default all rows with history.

    The first `observed.warm` rows lack history. The simulator fills the empty columns of the account in the
    observations. Raises ValueError for fewer than two rows and for rows without enough history, with the first day that
    has enough, and where the first row has no cash rate.
    """
    rows = range(observed.warm, len(panel.day_ns)) if rows is None else rows
    if rows.start < observed.warm or rows.stop > len(panel.day_ns) or len(rows) < 2:
        begins = min(observed.warm, len(panel.day_ns) - 1)
        day = day_of(panel.day_ns[begins])
        raise ValueError(
            f"{len(rows)} sessions from row {rows.start} of {len(panel.day_ns)}: the observation needs "
            f"{observed.warm} "
            f"earlier sessions (so it begins on {day}), and an episode two or more; begin later or give earlier bars"
        )

    rate = panel.cash_rate
    if rate is not None:
        rate.begins(int(panel.day_ns[rows.start]))

    def tensor(values: NDArray[np.floating]) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=device)

    account_columns = sum(len(panel.symbols) if part == "weights" else 1 for part in observed.account)
    previous_close = np.full_like(panel.close, np.nan)
    previous_close[1:] = panel.close[:-1]
    priced = np.isfinite(panel.close)

    def relative(values: Floats, missing: float) -> Floats:
        return np.nan_to_num(values / previous_close, nan=missing)

    returns = panel.returns()
    days = np.zeros(len(panel.day_ns))
    days[1:] = np.diff(panel.day_ns) // DAY_NS
    return Market(
        symbols=panel.symbols,
        observed=observed,
        seen=tensor(np.pad(observed.table, ((0, 0), (0, account_columns)))),
        gap=tensor(relative(panel.open * panel.split, 1.0)),
        total=tensor(relative(panel.close * panel.split, 1.0)),
        dividend=tensor(relative(panel.dividend, 0.0)) if panel.dividend[rows.start :].any() else None,
        close=tensor(np.nan_to_num(panel.close, nan=1.0)),
        split=tensor(panel.split),
        days=tensor(days),
        known=None if priced[rows.start :].all() else tensor(priced.astype(np.float64)),
        momentum=tensor(_momentum(returns)),
        volatility=tensor(relative_volatility(returns, rows)),
        first=rows.start,
        last=rows.stop - 1,
        earned=None if rate is None else tensor(rate.earned(panel.day_ns)),
        marks=tensor(np.nan_to_num(panel.known() / panel.close, nan=1.0)) if panel.late else None,
        idle=tensor(panel.idle.astype(np.float64)) if panel.idle is not None and panel.idle.any() else None,
    )


def _momentum(returns: Floats) -> Floats:
    """Return float64[T, N], the return over the MOMENTUM sessions up to each row; 0 in the first MOMENTUM rows.

    Axes: T sessions, N assets.
    """
    growth = np.cumprod(1.0 + np.nan_to_num(returns), axis=0)
    momentum = np.zeros_like(growth)
    momentum[MOMENTUM:] = growth[MOMENTUM:] / growth[:-MOMENTUM] - 1.0
    return momentum


def relative_volatility(returns: Floats, rows: range) -> Floats:
    """Return float64[T]: the recent volatility of an equal-weight market of N assets, over its mean.

    The volatility of row t is the root mean square of the last CALM returns up to row t; the mean is taken at the
    decisions of `rows`. `returns` float64[T, N] are NaN where an asset has none. The first rows have fewer than CALM
    returns; their volatility is computed from all returns up to the row. Axes: T sessions.
    """
    squares = (np.nansum(returns, axis=1) / np.isfinite(returns).sum(axis=1).clip(min=1)) ** 2
    sums = np.concatenate([[0.0], np.cumsum(squares)])
    ends = np.arange(1, len(squares) + 1)
    begins = np.maximum(ends - CALM, 0)
    deviation = np.sqrt((sums[ends] - sums[begins]).clip(min=0.0) / (ends - begins))
    mean = float(deviation[rows.start : rows.stop - 1].mean())
    return (deviation / mean).clip(min=LEAST_VOLATILITY) if mean else np.ones_like(deviation)


@dataclass(frozen=True, slots=True)
class Allocations:
    """A discrete action space: named weight vectors, float64[A, N + 1] with cash last; each row adds up to 1.

    Axes: N assets.
    """

    names: tuple[str, ...]
    weights: Floats


EQUAL_WEIGHT: Final = "equal weight"
"""Name of the allocation of equal parts of all symbols."""


def grid(
    symbols: Sequence[str], parts: int = 2, cash: bool = False, equal_weight: bool = False, *, distinct: bool = False
) -> Allocations:
    """Return every allocation of `parts` equal parts over `symbols`, and optionally cash.

    For n symbols (and cash, if used) there are C(n + parts - 1, parts) allocations; four assets in halves give ten.
    With `distinct`, all parts of an allocation are different symbols, which gives C(n, parts), and with `cash` one
    further allocation is cash alone. With `equal_weight`, a last allocation is equal parts of all symbols, the choice
    of a policy that knows nothing. Raises ValueError without parts or symbols, and for more distinct parts than
    symbols.
    """
    if parts < 1 or not symbols:
        raise ValueError(f"a grid of {parts} parts over {len(symbols)} symbols: it needs at least one of each")
    if distinct and parts > len(symbols):
        raise ValueError(f"a grid of {parts} distinct parts over {len(symbols)} symbols: lower parts or add symbols")
    holders = (*symbols, "cash")
    chosen: list[tuple[int, ...]] = (
        [*combinations(range(len(symbols)), parts), *([(len(symbols),) * parts] if cash else [])]
        if distinct
        else list(combinations_with_replacement(range(len(symbols) + cash), parts))
    )
    weights = np.zeros((len(chosen), len(symbols) + 1))
    for row, allocation in enumerate(chosen):
        np.add.at(weights[row], list(allocation), 1.0)
    weights /= parts
    names = tuple(
        " ".join(f"{holders[column]} {row[column]:.0%}" for column in np.flatnonzero(row)) for row in weights
    )  # "SPY 50% TLT 50%"
    if equal_weight:
        equal = np.append(np.full(len(symbols), 1.0 / len(symbols)), 0.0)
        names, weights = (*names, EQUAL_WEIGHT), np.vstack([weights, equal])
    return Allocations(names, weights)
