"""What a trained policy is shown: declared once, computed by one function in training and in trading alike."""

from hashlib import blake2b
from typing import Final, Literal

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.models.history.panel import Panel
from quantd.models.observation.return_features import FEATURES, LOOKBACK, measure
from quantd.models.observation.table import Features, sight
from quantd.trading.market import Floats

SIGHT_VERSION: Final = 1
"""Raised when the meaning of an entry changes; part of the hash, so that an older artifact is refused."""

BOUND: Final = 8.0
"""A return in the window is cut at so many of its asset's deviations."""

Held = Literal["weights", "cash"]
"""What a policy may know of its own book: the daemon and the simulator agree on these. An episode's progress, or a drawdown
since its beginning, mean nothing where nothing ends."""


class SightSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """Asset after asset: `features` of quantd.models.observation.return_features, whether the asset is `known`, then its last `window` returns, oldest
    first, in deviations of the asset over LOOKBACK samples. After the assets, the book."""

    features: tuple[str, ...] = FEATURES
    window: int = 0
    book: tuple[Held, ...] = ("weights", "cash")
    version: int = SIGHT_VERSION

    @property
    def lookback(self) -> int:
        """Samples of returns that it reads."""
        return LOOKBACK

    @property
    def width(self) -> int:
        """Entries of one asset, without the book."""
        return len(self.features) + 1 + self.window

    def size(self, assets: int) -> int:
        """D: entries of an observation of so many assets."""
        return assets * self.width + sum(assets if part == "weights" else 1 for part in self.book)


def fault(spec: SightSpec) -> str:
    """Why this code cannot show `spec`; empty when it can."""
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


def digest(spec: SightSpec) -> str:
    """Hex BLAKE2b."""
    return blake2b(msgspec.json.encode(spec, order="sorted"), digest_size=16).hexdigest()


def names(spec: SightSpec) -> tuple[str, ...]:
    """Of the entries of one asset."""
    lags = (f"return_{lag}" for lag in range(spec.window - 1, -1, -1))
    return (*spec.features, "known", *lags)


def shown(spec: SightSpec, returns: Floats) -> NDArray[np.float32]:
    """float32[N, spec.width] of float64[LOOKBACK, N] total returns, oldest first; 0 for an asset that is not known."""
    features, known = measure(returns)
    parts = [features[:, [FEATURES.index(name) for name in spec.features]], known[:, None]]
    if spec.window:
        parts.append(_window(returns, known, spec.window))
    return np.concatenate(parts, axis=1)


def observation(spec: SightSpec, returns: Floats, weights: Floats, cash: float) -> NDArray[np.float32]:
    """float32[D]: what a policy is shown of a market float64[LOOKBACK, N] and of its book, weights float64[N] and cash as
    fractions of equity."""
    parts = [shown(spec, returns).reshape(-1)]
    for part in spec.book:
        parts.append(weights.astype(np.float32) if part == "weights" else np.array([cash], dtype=np.float32))
    return np.concatenate(parts)


def features_of(spec: SightSpec) -> Features:
    """`spec` over a whole panel, for `quantd.models.observation.table.observe(panel, features_of(spec), spec.book)`."""

    def measured(panel: Panel) -> tuple[NDArray[np.float32], tuple[str, ...]]:
        seen = sight(panel)
        chosen = [FEATURES.index(name) for name in spec.features]
        parts = [seen.features[:, :, chosen], seen.mask[:, :, None]]
        if spec.window:
            returns = panel.synchronous()
            windows = np.zeros((*returns.shape, spec.window), dtype=np.float32)
            for row in range(LOOKBACK + panel.behind, len(returns)):
                windows[row] = _window(returns[row - LOOKBACK + 1 : row + 1], seen.mask[row], spec.window)
            parts.append(windows)
        table = np.concatenate(parts, axis=2)
        table[: LOOKBACK + panel.behind] = np.nan
        return table, names(spec)

    return measured


def _window(returns: Floats, known: NDArray[np.float32], window: int) -> NDArray[np.float32]:
    """float32[N, window] in deviations of each asset; 0 where it is not known."""
    last = returns[len(returns) - window :]
    deviation = np.where(known > 0.0, returns.std(axis=0, ddof=1), 1.0)
    scaled = np.where(known > 0.0, last / deviation, 0.0)
    return np.ascontiguousarray(np.clip(scaled, -BOUND, BOUND).T, dtype=np.float32)
