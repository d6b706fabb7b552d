"""Time to sell a book at a share of the usual volume.

Volumes are recent averages in lots per day.
"""

from collections.abc import Sequence
from math import isfinite
from typing import Final

import numpy as np

from quantd.risk.measures.portfolio import Floats

PARTICIPATION: Final = 0.1
"""Default share of the volume."""


def unwind_days(lots: Floats, volume_lots: Floats, participation: float = PARTICIPATION) -> Floats:
    """Return float64[N], the days to close each position at `participation` of its average daily volume `volume_lots`
    float64[N]; 0 without a position, NaN where the volume is unknown or not positive.

    Source: A. Bangia, F. Diebold, T. Schuermann and J. Stroughair, Modeling liquidity risk (1999), the exogenous part.
    """
    held = lots != 0.0
    daily = np.where(volume_lots > 0.0, volume_lots, np.nan) * participation
    return np.where(held, np.abs(lots) / daily, 0.0)


def book_days(values: Floats, days: Floats, shares: Sequence[float] = (0.5, 0.9, 1.0)) -> list[float]:
    """Return the days until each of the `shares` of the book's gross value is sold. All positions are sold in
    parallel, each evenly over its `days` (see `unwind_days`); `values` float64[N] are their gross values. NaN where
    a value or days are unknown; 0 for an empty book."""
    has_value = values != 0.0
    value, ends = np.abs(values[has_value]), days[has_value]
    if not len(value):
        return [0.0] * len(shares)
    total = float(value.sum())
    if not (isfinite(total) and isfinite(float(ends.sum()))):
        return [float("nan")] * len(shares)
    order = np.argsort(ends, kind="stable")
    value, ends = value[order], ends[order]
    # value sold at the end of each position: all of the earlier positions, a part of the later ones; linear in between
    speed = np.divide(value, ends, out=np.zeros_like(value), where=ends > 0.0)
    later_speed = speed.sum() - np.cumsum(speed)
    sold = np.cumsum(value) + ends * later_speed
    curve = np.concatenate(((0.0,), sold)), np.concatenate(((0.0,), ends))
    return [float(ends[-1]) if share >= 1.0 else float(np.interp(share * total, *curve)) for share in shares]
