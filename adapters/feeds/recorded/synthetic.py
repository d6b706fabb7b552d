"""Synthetic daily bars, to try programs with. Their symbols begin with MARK, so that every artefact shows what it is.

Returns have one market factor with regimes (calm, wild), GARCH(1, 1) volatility and Student's t shocks (Engle 1982;
Bollerslev 1987; Hamilton 1989). No figure on them says anything about a market.
"""

from typing import Final

import numpy as np
import polars as pl
from msgspec import Struct

from quantd.trading.instruments import MARK
from quantd.trading.market import Floats
from quantd.trading.sessions import Sessions

DEGREES: Final = 5.0
"""Degrees of freedom of the shocks."""

LEAST: Final = 0.5
"""Lowest price: below it a step of one cent would be a large move."""


class SyntheticPlan(Struct, frozen=True):
    """The settings of `symbols` price series from one seed. Annual drift and volatility are fractions (0.2: 20 %).

    `correlation` is the correlation of any two symbols' returns. In each session a wild regime begins with probability
    `wild_starts` or ends with `wild_ends`; during it, volatility is multiplied by `wild_times`.
    """

    symbols: int = 5
    seed: int = 1
    drift_annual: float = 0.06
    volatility_annual: float = 0.20
    correlation: float = 0.4
    wild_times: float = 2.5
    wild_starts: float = 0.01
    wild_ends: float = 0.05


def synthetic_bars(plan: SyntheticPlan, calendar: Sessions) -> pl.DataFrame:
    """Return bars of every session of a calendar: ts (the session's date), symbol, open, high, low, close, volume.

    The same plan and calendar give the same bars.

    The prices begin at 50. A year has 252 sessions. Daily moves are clipped to 0.3 in logs, and volumes are about
    1,000,000, more on days of large moves.
    """
    draw = np.random.default_rng(plan.seed)
    session_count, symbol_count = len(calendar.day_ns), plan.symbols
    daily_volatility = plan.volatility_annual / np.sqrt(252.0) * _regimes(plan, session_count, draw)
    market = _shocks(session_count, 1, draw)
    idiosyncratic = _shocks(session_count, symbol_count, draw)
    shocks = np.sqrt(plan.correlation) * market + np.sqrt(1.0 - plan.correlation) * idiosyncratic
    returns = plan.drift_annual / 252.0 + daily_volatility[:, None] * shocks
    close = np.round(np.maximum(50.0 * np.exp(np.clip(returns, -0.3, 0.3).cumsum(axis=0)), LEAST), 2)
    # a night has 0.4 of the volatility of a day; high and low reach about 0.5 of it beyond open and close
    overnight_moves = daily_volatility[:, None] * 0.4 * draw.standard_normal((session_count, symbol_count))
    previous_close = np.vstack([np.full((1, symbol_count), 50.0), close[:-1]])
    open_ = np.round(np.maximum(previous_close * np.exp(overnight_moves), LEAST), 2)
    reach = np.abs(daily_volatility[:, None] * 0.5 * draw.standard_normal((2, session_count, symbol_count)))
    high = np.round(np.maximum(open_, close) * (1.0 + reach[0]), 2)
    low = np.round(np.maximum(np.minimum(open_, close) * (1.0 - np.minimum(reach[1], 0.5)), LEAST / 2), 2)
    volume = np.round(1e6 * np.exp(0.3 * draw.standard_normal((session_count, symbol_count)) + np.abs(shocks) * 0.3))
    names = [f"{MARK}{k + 1:03d}" for k in range(symbol_count)]
    days = np.array(calendar.day_ns, dtype=np.int64)
    columns = {"open": open_, "high": np.maximum(high, np.maximum(open_, close)), "low": low, "close": close}
    return pl.DataFrame(
        {
            "ts": pl.Series(np.tile(days, symbol_count)).cast(pl.Datetime("ns", "UTC")),
            "symbol": np.repeat(names, session_count),
            **{name: values.T.ravel() for name, values in columns.items()},
            "volume": volume.T.ravel(),
        }
    )


def _regimes(plan: SyntheticPlan, count: int, draw: np.random.Generator) -> Floats:
    """Return float64[T], the factor on volatility in each of T sessions: 1 while calm."""
    draws, factor, is_wild = draw.random(count), np.ones(count), False
    for t in range(count):
        is_wild = draws[t] >= plan.wild_ends if is_wild else draws[t] < plan.wild_starts
        factor[t] = plan.wild_times if is_wild else 1.0
    return factor


def _shocks(count: int, size: int, draw: np.random.Generator) -> Floats:
    """Return float64[T, N] shocks of unit variance, T sessions of N series, each series with GARCH(1, 1) volatility."""
    raw = draw.standard_t(DEGREES, (count, size)) * np.sqrt((DEGREES - 2.0) / DEGREES)
    variance, shocks = np.ones(size), np.empty((count, size))
    for t in range(count):
        shocks[t] = np.sqrt(variance) * raw[t]
        variance = 0.05 + 0.05 * shocks[t] ** 2 + 0.90 * variance
    return shocks
