"""Inputs and outputs of the forests: features of assets and of pairs, plain estimates, realised values.

Features are functions of past total returns only. An asset's row depends on its own returns and on means over all
assets, a pair's row on the returns of its two assets and on means over all. A permutation of the columns therefore only
permutes the rows.

What can go wrong, and what prevents it. A feature could use data from after its session: the returns end with the
session, and a test cuts the data off there. The last bit of a sum depends on the order of the columns: means over all
assets are taken over sorted values, and other sums within a column. A constant price has no volatility and no
correlation: its row is marked as unknown, not 0.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from quantd.models.artifacts.manifest import ForestFeatures, ForestKind
from quantd.models.observation.return_features import CLIP, STILL, USUAL_VOLATILITY
from quantd.trading.market import Bools, Floats

VERSION: Final = 1
"""Raised when the meaning of a feature changes. It is part of the hash, so that an older artifact is refused."""

LOOKBACK: Final = 126
"""Number of return samples behind the features."""

ASSET_FEATURES: Final = (
    "volatility_5",
    "volatility_21",
    "volatility_126",
    "volatility_ewma",
    "volatility_level",
    "downside",
    "largest",
    "momentum_21",
    "momentum_63",
    "momentum_126",
    "drawdown",
    "market_volatility_5",
    "market_volatility_21",
    "market_volatility_126",
)
"""Volatilities are logarithms of the ratio to the volatility of 63 samples; `volatility_level` is the logarithm of the
latter over USUAL_VOLATILITY."""

PAIR_FEATURES: Final = (
    "correlation_21",
    "correlation_63",
    "correlation_126",
    "correlation_change",
    "market_correlation",
    "volatility_gap",
    "volatility_change",
    "market_volatility_21",
)
"""Correlations are Fisher's z = artanh(r)."""

HIGHEST_CORRELATION: Final = 0.99
"""Largest absolute correlation, so that Fisher's z is finite."""

DECAY: Final = 0.94
"""Decay of the exponentially weighted volatility: RiskMetrics (J.P. Morgan 1996), for daily returns."""

_EWMA: Final[Floats] = (DECAY ** np.arange(LOOKBACK - 1, -1, -1.0) / (DECAY ** np.arange(float(LOOKBACK))).sum())[
    :, None
]


def features_of(kind: ForestKind) -> ForestFeatures:
    """Return the features that this program computes for one kind of forest."""
    names = PAIR_FEATURES if kind == "correlation" else ASSET_FEATURES
    return ForestFeatures(names, LOOKBACK, VERSION)


@dataclass(frozen=True, slots=True)
class Seen:
    """The input of a forest at one instant: R rows, one for each asset or pair.

    `features` is float64[R, F] for F features, and `plain` float64[R] the plain estimates. `known` bool[R] is False for
    missing history or a constant price; features and estimates are 0 there.
    """

    features: Floats
    plain: Floats
    known: Bools


@dataclass(frozen=True, slots=True)
class Past:
    """Past `returns` float64[LOOKBACK, N] of N assets, with the measures that several features use.

    `known` bool[N] is False for missing history or a constant price. The other fields are logarithms of volatility,
    float64[N]: over the last 5 (`short`), 21 (`month`), 63 (`quarter`) and LOOKBACK (`half`) samples, and exponentially
    weighted (`ewma`).
    """

    returns: Floats
    known: Bools
    short: Floats
    month: Floats
    quarter: Floats
    half: Floats
    ewma: Floats


def pairs(size: int) -> tuple[np.ndarray[tuple[int], np.dtype[np.intp]], np.ndarray[tuple[int], np.dtype[np.intp]]]:
    """Return the columns (i, j), i < j, of every pair of `size` assets, in the order of the rows of pairs."""
    return np.triu_indices(size, 1)


def look(returns: Floats) -> Past:
    """Compute the measures of total returns float64[LOOKBACK, N], oldest first, that several features use."""
    finite = np.isfinite(returns).all(axis=0)
    filled = returns if finite.all() else np.where(finite, returns, 0.0)
    # Sums by column instead of a matrix product: the result does not depend on a column's position, to the last bit.
    squares = filled * filled
    # root mean squares over a week, a month, a quarter and LOOKBACK, as logarithms
    week, month, quarter, half = (_log_root(squares[-k:].sum(axis=0) / k) for k in (5, 21, 63, LOOKBACK))
    ewma = _log_root((squares * _EWMA).sum(axis=0))
    mask = finite & (month > np.log(STILL)) & (half > np.log(STILL))
    return Past(filled, mask, week, month, quarter, half, ewma)


def see(kind: ForestKind, past: Past) -> Seen:
    """Return the rows that a forest of `kind` reads at this instant."""
    return _pairs(past) if kind == "correlation" else _assets(kind, past)


def realised(kind: ForestKind, future: Floats) -> Floats:
    """Return the realised values over `future` returns float64[h, N] of h samples: float64[N], or float64[N (N - 1) /
    2] for pairs.

    NaN marks a missing return or a constant price. For "allocation" the mean over all assets is not yet subtracted;
    `relative` subtracts it.
    """
    samples = len(future)
    root_mean_square = np.sqrt((future * future).sum(axis=0) / samples)
    is_moving = root_mean_square > STILL  # False for NaN too
    if kind == "risk":
        return np.log(root_mean_square, out=np.full(len(root_mean_square), np.nan), where=is_moving)
    if kind == "allocation":
        return np.divide(
            future.sum(axis=0),
            root_mean_square * samples**0.5,
            out=np.full(len(root_mean_square), np.nan),
            where=is_moving,
        )
    return _fisher(future, is_moving)  # correlations, by pair


def relative(scores: Floats) -> Floats:
    """Return float64[N]: the scores minus the mean of the scores that are not NaN; NaN stays."""
    finite = np.isfinite(scores)
    return scores - (np.sort(scores[finite]).sum() / finite.sum() if finite.any() else 0.0)


def _assets(kind: ForestKind, past: Past) -> Seen:
    """Return the rows of assets, with columns in the order of ASSET_FEATURES.

    Lengths in samples: 21 are a month, 63 a quarter, LOOKBACK half a year. The plain estimate, to which a forest adds,
    is the exponentially weighted volatility (a logarithm), and 0 for returns.
    """
    mask, returns = past.known, past.returns
    if not mask.any():
        return _unknown_rows(len(mask), len(ASSET_FEATURES))
    with np.errstate(divide="ignore", invalid="ignore"):
        usual_size = np.exp(past.quarter)
        square = returns[-63:] ** 2
        falls = np.where(returns[-63:] < 0.0, square, 0.0).sum(axis=0)
        path = returns.cumsum(axis=0)
        # in logarithms: ratios of the volatility of another period to that of a quarter
        changes = (past.short - past.quarter, past.month - past.quarter, past.half - past.quarter)
        columns = [
            *changes,
            past.ewma - past.quarter,
            past.quarter - np.log(USUAL_VOLATILITY),
            falls / square.sum(axis=0),
            np.abs(returns[-21:]).max(axis=0) / usual_size,
            *(returns[-k:].sum(axis=0) / (usual_size * k**0.5) for k in (21, 63, LOOKBACK)),
            (path[-1] - np.maximum(path.max(axis=0), 0.0)) / (usual_size * LOOKBACK**0.5),
            *(np.full(len(mask), _mean(change[mask])) for change in changes),
        ]
    features = _clipped(np.stack(columns, axis=1), mask)
    plain = np.where(mask, past.ewma, 0.0) if kind == "risk" else np.zeros(len(mask))
    return Seen(features, plain, mask)


def _pairs(past: Past) -> Seen:
    """Return the rows of pairs, with columns in the order of PAIR_FEATURES.

    Correlations are Fisher's z over 21 (a month), 63 (a quarter) and LOOKBACK samples; the last is the plain estimate.
    """
    i, j = pairs(len(past.known))
    month, quarter, half = (_fisher(past.returns[-k:], past.known) for k in (21, 63, LOOKBACK))
    mask = np.isfinite(month) & np.isfinite(quarter) & np.isfinite(half)
    if not mask.any():
        return _unknown_rows(len(mask), len(PAIR_FEATURES))
    # the change of the logarithm of the volatility
    change = past.month - past.quarter
    columns = [
        month,
        quarter,
        half,
        month - quarter,
        np.full(len(mask), _mean(quarter[mask])),
        np.abs(past.quarter[i] - past.quarter[j]),
        change[i] + change[j],
        np.full(len(mask), _mean(change[past.known])),
    ]
    return Seen(_clipped(np.stack(columns, axis=1), mask), np.where(mask, half, 0.0), mask)


def _unknown_rows(rows: int, width: int) -> Seen:
    """Return `rows` rows of `width` features that are all unknown."""
    return Seen(np.zeros((rows, width)), np.zeros(rows), np.zeros(rows, dtype=bool))


def _clipped(features: Floats, mask: Bools) -> Floats:
    """Return the features limited to the range -CLIP to CLIP, and 0 for unknown rows."""
    return np.where(mask[:, None], np.clip(features, -CLIP, CLIP), 0.0)


def _log_root(variance: Floats) -> Floats:
    """Return the logarithm of the volatility from the variance; finite even for a constant price."""
    return 0.5 * np.log(np.maximum(variance, STILL**2))


def _mean(values: Floats) -> float:
    # sorted, so that the result does not depend on the order of the columns, to the last bit
    return float(np.sort(values).sum() / len(values))


def _fisher(returns: Floats, mask: Bools) -> Floats:
    """Return Fisher's z of the correlation of each pair, float64[pairs]; NaN where an asset of the pair is unknown
    or constant."""
    i, j = pairs(returns.shape[1])
    clean = np.where(mask, returns, 0.0)
    centred = clean - clean.sum(axis=0) / len(clean)
    norm = np.sqrt((centred * centred).sum(axis=0))
    varies = mask & (norm > STILL * len(clean) ** 0.5)
    scale = np.divide(1.0, norm, out=np.zeros_like(norm), where=varies)
    standard = centred * scale
    correlation = (standard.T @ standard)[i, j]
    # clipped: z would be infinite for a correlation of 1
    z = np.arctanh(np.clip(correlation, -HIGHEST_CORRELATION, HIGHEST_CORRELATION))
    return np.where(varies[i] & varies[j], z, np.nan)
