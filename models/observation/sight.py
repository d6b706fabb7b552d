"""The observation of a trained policy: declared once, computed by one function in training and in trading."""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.models.history.panel import Panel
from quantd.models.observation.return_features import FEATURES, LOOKBACK, columns_of, measure
from quantd.models.observation.table import Features, sight
from quantd.trading.market import Floats

SIGHT_VERSION: Final = 1
"""Raised when the meaning of an entry changes. It is part of the hash, so that an older artifact is refused."""

BOUND: Final = 8.0
"""Cut of windowed returns, in deviations of their asset."""

Held = Literal["weights", "cash"]
"""Observable parts of a policy's own book; progress and drawdown exist only in episodes."""


class SightSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """Layout of an observation: asset after asset, then the book.

    Each asset has `features` of quantd.models.observation.return_features and its `known` flag. Its last `window`
    returns follow, oldest first, in deviations of the asset over LOOKBACK samples.
    """

    features: tuple[str, ...] = FEATURES
    window: int = 0
    book: tuple[Held, ...] = ("weights", "cash")
    version: int = SIGHT_VERSION

    @property
    def lookback(self) -> int:
        """Number of return samples that it reads."""
        return LOOKBACK

    @property
    def width(self) -> int:
        """Number of entries per asset, without the book."""
        return len(self.features) + 1 + self.window

    def size(self, assets: int) -> int:
        """Return D, the number of entries of an observation."""
        return assets * self.width + sum(assets if part == "weights" else 1 for part in self.book)


def fault(spec: SightSpec) -> str:
    """Return why this code cannot compute `spec`; empty when it can."""
    if spec.version != SIGHT_VERSION:
        return f"a sight of version {spec.version}; this quantd shows version {SIGHT_VERSION}"
    unknown = [name for name in spec.features if name not in FEATURES]
    if unknown or len(set(spec.features)) != len(spec.features):
        return f"features {', '.join(unknown) or 'twice'}; this quantd computes {', '.join(FEATURES)}"
    if not 0 <= spec.window <= LOOKBACK:
        return f"a window of {spec.window} samples; 0 to {LOOKBACK} can be shown"
    if not spec.features and not spec.window:
        return "no features and no window: nothing would be shown"
    if len(set(spec.book)) != len(spec.book):
        return f"of the book {', '.join(spec.book)}: each at most once"
    return ""


def entry_names(spec: SightSpec, symbols: Sequence[str]) -> tuple[str, ...]:
    """Return the name of each of the D entries of an observation, in order: "momentum_5 SPY", "weight SPY", "cash"."""
    shown = (*spec.features, "known", *(f"return_{lag}" for lag in range(spec.window - 1, -1, -1)))
    names = [f"{name} {symbol}" for symbol in symbols for name in shown]
    for part in spec.book:
        names += [f"weight {symbol}" for symbol in symbols] if part == "weights" else ["cash"]
    return tuple(names)


def shown(spec: SightSpec, returns: Floats) -> NDArray[np.float32]:
    """Return float32[N, spec.width] of float64[LOOKBACK, N] total returns, oldest first; 0 for an unknown asset."""
    features, known = measure(returns)
    parts = [features[:, columns_of(spec.features)], known[:, None]]
    if spec.window:
        parts.append(_window(returns, known, spec.window))
    return np.concatenate(parts, axis=1)


def observation(spec: SightSpec, returns: Floats, weights: Floats, cash: float) -> NDArray[np.float32]:
    """Return the observation float32[D] of returns float64[LOOKBACK, N], and of held weights float64[N] and cash."""
    parts = [shown(spec, returns).reshape(-1)]
    for part in spec.book:
        parts.append(weights.astype(np.float32) if part == "weights" else np.array([cash], dtype=np.float32))
    return np.concatenate(parts)


def features_of(spec: SightSpec) -> Features:
    """Return a feature function for `quantd.models.observation.table.observe(panel, features_of(spec), spec.book)`."""

    def measured(panel: Panel) -> tuple[NDArray[np.float32], tuple[str, ...]]:
        seen = sight(panel)
        parts = [seen.features[:, :, columns_of(spec.features)], seen.mask[:, :, None]]
        if spec.window:
            returns = panel.synchronous()
            windows = np.zeros((*returns.shape, spec.window), dtype=np.float32)
            for row in range(LOOKBACK + panel.behind, len(returns)):
                windows[row] = _window(returns[row - LOOKBACK + 1 : row + 1], seen.mask[row], spec.window)
            parts.append(windows)
        table = np.concatenate(parts, axis=2)
        table[: LOOKBACK + panel.behind] = np.nan
        return table, (*spec.features, "known", *(f"return_{lag}" for lag in range(spec.window - 1, -1, -1)))

    return measured


def _window(returns: Floats, known: NDArray[np.float32], window: int) -> NDArray[np.float32]:
    """Return float32[N, window] in deviations of each asset; 0 where it is unknown."""
    last = returns[len(returns) - window :]
    deviation = np.where(known > 0.0, returns.std(axis=0, ddof=1), 1.0)
    scaled = np.where(known > 0.0, last / deviation, 0.0)
    return np.ascontiguousarray(np.clip(scaled, -BOUND, BOUND).T, dtype=np.float32)
