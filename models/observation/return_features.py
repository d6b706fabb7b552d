"""Features of each asset from its past returns, in numpy: the same code for training and trading.

Every feature is a function of one asset's returns, or of these and a mean over all assets. A permutation of the columns
therefore only permutes the result's rows.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.trading.market import Floats

FEATURES_VERSION: Final = 1
"""Raised when the meaning of a feature changes. It is part of the hash, so that an older artifact is refused."""

FEATURES: Final = (
    "momentum_5",
    "momentum_21",
    "momentum_63",
    "momentum_126",
    "volatility",
    "volatility_change",
    "volatility_relative",
    "drawdown",
    "market_correlation",
)

LOOKBACK: Final = 126
"""Number of return samples behind the features."""

CLIP: Final = 4.0
"""Largest absolute value of a feature; features are in standard deviations or logarithms."""

USUAL_VOLATILITY: Final = 0.0126
"""20 % a year as a daily deviation, at which the feature `volatility` is zero."""

STILL: Final = 1e-9
"""Standard deviation of returns below which a price counts as constant, and has no features."""


_USUAL: Final = float(np.log(USUAL_VOLATILITY))


_HORIZONS: Final = np.stack([np.where(np.arange(LOOKBACK, 0, -1) <= h, h**-0.5, 0.0) for h in (5, 21, 63, LOOKBACK)])
"""float64[4, LOOKBACK]: times returns, it gives the sum over each horizon divided by its square root."""


class FeatureSpec(Struct, frozen=True):
    """The features that a network reads, in order, and their history length."""

    names: tuple[str, ...] = FEATURES
    lookback: int = LOOKBACK
    version: int = FEATURES_VERSION


def spec_hash(spec: Struct) -> str:
    """Return the hex BLAKE2b of a declaration of features (any struct)."""
    return blake2b(msgspec.json.encode(spec, order="sorted"), digest_size=16).hexdigest()


def spec_fault(spec: FeatureSpec) -> str:
    """Return why this code cannot compute `spec`; empty when it can."""
    if spec.version != FEATURES_VERSION:
        return f"features of version {spec.version}; this quantd computes version {FEATURES_VERSION}"
    if spec.lookback != LOOKBACK:
        return f"a lookback of {spec.lookback} samples; this quantd computes {LOOKBACK}"
    unknown = [n for n in spec.names if n not in FEATURES]
    if unknown or len(set(spec.names)) != len(spec.names) or not spec.names:
        return (
            f"features {', '.join(unknown) or '(the list is empty or names one twice)'}; this quantd computes "
            f"{', '.join(FEATURES)}"
        )
    return ""


def measure(returns: Floats) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the features float32[N, 9], in the order of FEATURES, and a mask float32[N], from total returns
    float64[LOOKBACK, N], oldest first.

    An asset with a missing return, or with a constant price, has mask 0 and features 0.
    """
    sums = _HORIZONS @ returns
    # sums[3] is the sum over LOOKBACK divided by its root; divided by the root again, it is the mean
    centred = returns - sums[3] / LOOKBACK**0.5
    deviation = np.sqrt(np.einsum("ij,ij->j", centred, centred) / (LOOKBACK - 1))
    mask = deviation > STILL  # False for NaN too
    if mask.all():
        return np.ascontiguousarray(_rows(returns, sums, centred, deviation).T, dtype=np.float32), mask.astype(
            np.float32
        )
    features = np.zeros((len(mask), len(FEATURES)), dtype=np.float32)
    if mask.any():
        features[mask] = _rows(returns[:, mask], sums[:, mask], centred[:, mask], deviation[mask]).T
    return features, mask.astype(np.float32)


def _rows(returns: Floats, sums: Floats, centred: Floats, deviation: Floats) -> Floats:
    """Return the features float64[9, N] of assets that are all known, in the order of FEATURES.

    `sums` float64[4, N] are the sums of returns over the horizons, each divided by the root of its length; `centred`
    are the returns less their mean, `deviation` is their standard deviation. The division by the deviation removes the
    scale of an asset's returns.
    """
    rows = np.empty((len(FEATURES), len(deviation)))
    np.divide(sums, deviation, out=rows[:4])
    path = np.add.accumulate(returns, axis=0)
    newest_month = returns[-21:]
    log_deviation = np.log(deviation)
    market = centred @ np.full(len(deviation), 1.0 / len(deviation))  # the mean of all assets, by sample
    rows[4] = log_deviation - _USUAL
    rows[5] = 0.5 * np.log(np.maximum(np.einsum("ij,ij->j", newest_month, newest_month) / 21, STILL**2)) - log_deviation
    rows[6] = log_deviation - np.add.reduce(log_deviation) / len(log_deviation)
    rows[7] = (path[-1] - np.maximum.reduce(path)) / (deviation * LOOKBACK**0.5)
    rows[8] = market @ centred / (max(float(market @ market) ** 0.5, STILL) * (LOOKBACK - 1) ** 0.5 * deviation)
    return np.minimum(np.maximum(rows, -CLIP, out=rows), CLIP, out=rows)


def columns_of(names: Sequence[str]) -> list[int]:
    """Return the column index of each named feature in the result of `measure`."""
    return [FEATURES.index(name) for name in names]
