"""What an environment shows at each close, measured once for a whole panel: a named table that episodes read rows of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.models.history.panel import Panel
from quantd.models.observation.return_features import FEATURES, LOOKBACK, measure
from quantd.strategies.regimes import REGIMES, RegimeParams, model_of
from quantd.trading.market import Floats
from quantd.trading.view import Memory

Part = Literal["weights", "cash", "drawdown", "progress", "value"]
"""Of an account: the weights of its assets, its cash and its drawdown as fractions, how much of the episode is over (0 to 1),
and equity over its starting capital."""

ACCOUNT: Final[tuple[Part, ...]] = ("weights", "cash", "drawdown", "progress")


class Sight(Struct, frozen=True):
    """What a policy sees at each close of a panel: float32[T, N, F] features and float32[T, N] mask."""

    features: NDArray[np.float32]
    mask: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Observed:
    """float32[T, M] of T sessions, its M `names`, and which parts of the account an environment appends.

    Rows before `warm` lack history.
    """

    table: NDArray[np.float32]
    names: tuple[str, ...]
    warm: int
    account: tuple[Part, ...] = ACCOUNT

    def __post_init__(self) -> None:
        if self.table.shape[1] != len(self.names) or len(set(self.names)) != len(self.names):
            raise ValueError(
                f"{self.table.shape[1]} columns, {len(self.names)} names: each column has a name of its own"
            )
        if not np.isfinite(self.table[self.warm :]).all():
            row, column = (int(v[0]) for v in np.nonzero(~np.isfinite(self.table[self.warm :])))
            raise ValueError(f"{self.names[column]} is not a number in row {row + self.warm} of the panel")


Features = Callable[[Panel], tuple[NDArray[np.float32], Sequence[str]]]
"""Of a panel: float32[T, N, F], row t from what was known at close t, and the names of the F features. NaN where a
whole row lacks history; 0 for an asset that has none yet."""


def sight(panel: Panel) -> Sight:
    """Features at every row, by the function and from the rows that trading has; rows with too little history see
    nothing."""
    returns = panel.synchronous()
    rows, size = returns.shape
    empty = measure(np.full((LOOKBACK, size), np.nan))
    seen = [measure(returns[t - LOOKBACK + 1 : t + 1]) if t >= LOOKBACK + panel.behind else empty for t in range(rows)]
    return Sight(np.stack([f for f, _ in seen]), np.stack([m for _, m in seen]))


def price_features(panel: Panel) -> tuple[NDArray[np.float32], Sequence[str]]:
    """The features that policies trade on (`quantd.models.observation.return_features`), and whether an asset's are `known`."""
    seen = sight(panel)
    features = np.concatenate([seen.features, seen.mask[:, :, None]], axis=2)
    features[: LOOKBACK + panel.behind] = np.nan
    return features, (*FEATURES, "known")


def observe(panel: Panel, features: Features = price_features, account: tuple[Part, ...] = ACCOUNT) -> Observed:
    """Each asset's features, named "SPY.momentum_5", asset after asset."""
    table, names = features(panel)
    rows, size, count = table.shape
    if (rows, size, count) != (*panel.close.shape, len(names)):
        raise ValueError(f"features of shape {table.shape} for {len(names)} names and a panel of {panel.close.shape}")
    flat = np.ascontiguousarray(table.reshape(rows, size * count), dtype=np.float32)
    whole = np.isfinite(flat).all(axis=1)
    warm = int(np.argmax(whole)) if whole.any() else rows
    return Observed(flat, tuple(f"{s}.{n}" for s in panel.symbols for n in names), warm, account)


def four_assets(panel: Panel, vix: Floats, ten_year: Floats) -> Observed:
    """The small state: 5 days of returns, a volatility and a weight of each asset, three regimes, VIX, the ten-year yield and
    the account's value; 34 entries for four assets.

    `vix` and `ten_year` float64[T] in percent, as known at each close of the panel; nothing is put in their place: NaN
    there is refused. Returns are in standard deviations of 1 %; VIX over 100, the yield over 10.
    """
    returns = panel.synchronous()
    rows, size = returns.shape
    for name, given in (("vix", vix), ("ten_year", ten_year)):
        if given.shape != (rows,):
            raise ValueError(f"{name} has {given.shape} values for {rows} sessions")
    deviation = np.full_like(returns, np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(returns, 20, axis=0)
    deviation[19:] = windows.std(axis=-1, ddof=1) * 252**0.5
    lags = np.full((rows, size, 5), np.nan)
    for lag in range(5):
        lags[lag:, :, lag] = returns[: rows - lag] * 100.0
    parts = [lags.reshape(rows, size * 5), deviation, regimes(returns), vix[:, None] / 100.0, ten_year[:, None] / 10.0]
    names = [f"{s}.return_{lag}" for s in panel.symbols for lag in range(5)]
    names += [f"{s}.volatility" for s in panel.symbols]
    names += [*(f"regime.{name}" for name in REGIMES), "vix", "ten_year"]
    table = np.concatenate(parts, axis=1).astype(np.float32)
    whole = np.isfinite(table).all(axis=1)
    warm = int(np.argmax(whole)) if whole.any() else rows
    return Observed(table, tuple(names), warm, ("weights", "value"))


def regimes(returns: Floats, params: RegimeParams | None = None) -> Floats:
    """float64[T, 3] probability of each of `quantd.strategies.regimes.REGIMES`, of equal weights and of the past alone; NaN in rows with too
    little history. By default the model of thresholds, which is sure of one."""
    model = model_of(params or RegimeParams())
    market = returns.mean(axis=1)
    out = np.full((len(market), len(REGIMES)), np.nan)
    first = int(np.argmax(np.isfinite(market)))
    memory: Memory = {}
    for row in range(first, len(market)):
        past = market[max(first, row + 1 - model.lookback) : row + 1]
        reading, memory = model.read(past, row, memory)
        if reading is not None:
            out[row] = reading.probabilities
    return out
