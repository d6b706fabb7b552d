"""Features of each asset from its past returns, in numpy: the one code that training and trading both run.

Every feature is a function of one column, or of one column and a mean over all: permuting the columns
permutes the rows of the result and changes nothing else.
"""

from hashlib import blake2b
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from trading.market import Floats

FEATURES_VERSION: Final = 1
"""Raised when the meaning of a feature changes; part of the hash, so that an older artifact is refused."""

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
"""Samples of returns that the features read."""

CLIP: Final = 4.0
"""Features are measured in standard deviations or logarithms; beyond this they are cut."""

USUAL_VOLATILITY: Final = 0.0126
"""20 % a year, as a deviation a day: where the feature `volatility` is zero."""

STILL: Final = 1e-9
"""A price whose returns deviate less than this is not moving: nothing can be measured."""


class FeatureSpec(Struct, frozen=True):
    """Which features a network reads, in their order, and how much history they need."""

    names: tuple[str, ...] = FEATURES
    lookback: int = LOOKBACK
    version: int = FEATURES_VERSION


def spec_hash(spec: FeatureSpec) -> str:
    """Hex BLAKE2b of a spec."""
    return blake2b(msgspec.json.encode(spec, order="sorted"), digest_size=16).hexdigest()


def spec_fault(spec: FeatureSpec) -> str:
    """Why this code cannot compute `spec`; empty when it can."""
    if spec.version != FEATURES_VERSION:
        return f"features of version {spec.version}; this quantd computes version {FEATURES_VERSION}"
    if spec.lookback != LOOKBACK:
        return f"a lookback of {spec.lookback} samples; this quantd computes {LOOKBACK}"
    unknown = [n for n in spec.names if n not in FEATURES]
    if unknown or len(set(spec.names)) != len(spec.names) or not spec.names:
        return f"features {', '.join(unknown) or 'none or twice'}; this quantd computes {', '.join(FEATURES)}"
    return ""


def measure(returns: Floats) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(float32[N, 9] FEATURES in order, float32[N] mask) of float64[LOOKBACK, N] total returns, oldest first.

    An asset with a missing return, or whose price does not move, has mask 0 and features 0.
    """
    k = len(returns)
    mean = returns.sum(axis=0) / k
    centred = returns - mean
    deviation = np.sqrt(np.einsum("ij,ij->j", centred, centred) / (k - 1))
    known = deviation > STILL  # False for NaN too
    out = np.zeros((len(known), len(FEATURES)), dtype=np.float32)
    if not known.all():
        if not known.any():
            return out, known.astype(np.float32)
        returns, centred, deviation = returns[:, known], centred[:, known], deviation[known]
    path = np.cumsum(returns, axis=0)
    last = path[-1]
    short = returns[-21:]
    short_deviation = np.sqrt(np.einsum("ij,ij->j", short, short) / 21)
    market = centred.sum(axis=1) / len(deviation)
    spread = float(market @ market) ** 0.5
    # column by column: the deviation cancels the scale of an asset
    rows = np.empty((len(FEATURES), len(deviation)))
    rows[0] = (last - path[-6]) / (deviation * 5**0.5)
    rows[1] = (last - path[-22]) / (deviation * 21**0.5)
    rows[2] = (last - path[-64]) / (deviation * 63**0.5)
    rows[3] = last / (deviation * k**0.5)
    logarithm = np.log(deviation)
    rows[4] = logarithm - np.log(USUAL_VOLATILITY)
    rows[5] = np.log(np.maximum(short_deviation, STILL)) - logarithm
    rows[6] = logarithm - logarithm.sum() / len(logarithm)
    rows[7] = (last - path.max(axis=0)) / (deviation * k**0.5)
    rows[8] = market @ centred / (max(spread, STILL) * deviation * (k - 1) ** 0.5)
    np.clip(rows, -CLIP, CLIP, out=rows)
    out[known] = rows.T
    return out, known.astype(np.float32)


def columns_of(spec: FeatureSpec) -> list[int]:
    """Where the features of `spec` are in what `measure` gives."""
    return [FEATURES.index(n) for n in spec.names]
