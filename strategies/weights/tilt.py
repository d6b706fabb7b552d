"""Tilts: weights moved by momentum, within a stated part of themselves. Pure arrays."""

import numpy as np

from quantd.trading.market import Floats


def momentum_scores(momentum: Floats, threshold: float) -> Floats:
    """float64[N] in -1 to 1: how strong each total return is beside the strongest, 0 within `threshold` of nothing and
    where it is unknown."""
    known = np.where(np.isfinite(momentum), momentum, 0.0)
    beyond = np.sign(known) * np.maximum(np.abs(known) - threshold, 0.0)
    most = float(np.abs(beyond).max(initial=0.0))
    return beyond / most if most > 0.0 else beyond


def tilted(weights: Floats, scores: Floats, most: float) -> Floats:
    """float64[N]: each weight times 1 + t, |t| <= `most`, more where the score is above the book's average; gross and
    sides stay as they are."""
    size = np.abs(weights)
    gross = float(size.sum())
    if gross <= 0.0:
        return weights
    lean = np.sign(weights) * scores
    lean = lean - float(size @ lean) / gross
    strongest = float(np.abs(lean[size > 0.0]).max())
    # a lean that sums to nothing over the book keeps its gross; beyond 1 it is scaled, so that no tilt passes `most`
    return weights * (1.0 + lean * (most / max(1.0, strongest)))
