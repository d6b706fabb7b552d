"""Tilts of weights by momentum, within a maximum fraction. Pure functions of arrays."""

import numpy as np

from quantd.trading.market import Floats


def momentum_scores(momentum: Floats, threshold: float) -> Floats:
    """Return float64[N] from -1 to 1: each total return's part beyond `threshold`, divided by the largest such part.

    A return within `threshold` of 0, and an unknown return, have the score 0.
    """
    returns = np.where(np.isfinite(momentum), momentum, 0.0)
    beyond = np.sign(returns) * np.maximum(np.abs(returns) - threshold, 0.0)
    largest = float(np.abs(beyond).max(initial=0.0))
    return beyond / largest if largest > 0.0 else beyond


def tilted(weights: Floats, scores: Floats, most: float) -> Floats:
    """Return float64[N]: each weight times 1 + t, with |t| <= `most`. t is positive where the score exceeds the average
    of the book, weighted by size.

    The sum of absolute weights and the signs do not change.
    """
    magnitudes = np.abs(weights)
    gross = float(magnitudes.sum())
    if gross <= 0.0:
        return weights
    lean = np.sign(weights) * scores
    lean = lean - float(magnitudes @ lean) / gross
    strongest = float(np.abs(lean[magnitudes > 0.0]).max())
    # A tilt that sums to 0 over the book preserves its gross; beyond 1 it is scaled, so that no tilt exceeds `most`.
    return weights * (1.0 + lean * (most / max(1.0, strongest)))
