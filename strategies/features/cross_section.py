"""Transforms of one feature across the instruments at one sample; instruments without a value are excluded."""

import numpy as np

from quantd.strategies.features.specs import Across
from quantd.trading.market import Floats

STILL = 1e-9
"""Values that differ by less than this fraction of the largest in the row are equal: rounding creates no ranks."""


def across(row: Floats, how: Across) -> Floats:
    """Return float64[N], the value of each instrument relative to the others; NaN stays NaN.

    "rank" is the fraction of the other instruments with a lower value; an equal value counts half, and a single
    instrument has 0.5. "excess" is the deviation from the mean, and "z" is that deviation divided by the standard
    deviation.
    """
    finite = np.isfinite(row)
    values = row[finite]
    transformed = np.full(len(row), np.nan)
    if not len(values):
        return transformed
    scale = float(np.abs(values).max())
    if how == "rank":
        # values that differ by rounding only are equal
        rounded = np.rint(values / (scale * STILL)) if scale > 0.0 else values
        ascending = np.sort(rounded)
        # a lower value counts 2, an equal one 1, the value itself 0
        below = np.searchsorted(ascending, rounded, "left") + np.searchsorted(ascending, rounded, "right") - 1
        transformed[finite] = below / (2.0 * (len(values) - 1)) if len(values) > 1 else 0.5
        return transformed
    deviations = values - values.sum() / len(values)
    if how == "z":
        deviation = float(np.sqrt(deviations @ deviations / len(values)))
        deviations = deviations / deviation if deviation > STILL * scale else np.zeros_like(deviations)
    transformed[finite] = deviations
    return transformed
