"""Cross-sectional transforms of one feature over the instruments of a row; instruments without a value are excluded."""

import numpy as np

from quantd.strategies.features.specs import Across
from quantd.trading.market import Floats

STILL = 1e-9
"""Values closer than this fraction of the row's largest are equal, so that rounding does not create ranks."""


def across(row: Floats, how: Across) -> Floats:
    """Transform float64[N] across instruments. `rank` is the share of other instruments below, ties half, 0.5 for a
    single one. `z` is the deviation from the mean in standard deviations, `excess` the deviation from the mean."""
    finite = np.isfinite(row)
    values = row[finite]
    out = np.full(len(row), np.nan)
    if not len(values):
        return out
    scale = float(np.abs(values).max())
    if how == "rank":
        rounded = np.rint(values / (scale * STILL)) if scale > 0.0 else values
        order = np.sort(rounded)
        below = np.searchsorted(order, rounded, "left") + np.searchsorted(order, rounded, "right") - 1
        out[finite] = below / (2.0 * (len(values) - 1)) if len(values) > 1 else 0.5
        return out
    away = values - values.sum() / len(values)
    if how == "z":
        deviation = float(np.sqrt(away @ away / len(values)))
        away = away / deviation if deviation > STILL * scale else np.zeros_like(away)
    out[finite] = away
    return out
