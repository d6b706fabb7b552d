"""How long a book takes to sell: days at a share of the usual volume. Nothing here knows prices to come or costs but
impact.

Volumes are the caller's: an average over recent samples, in lots a day, of what is known.
"""

from collections.abc import Sequence
from math import isfinite
from typing import Final

import numpy as np

from quantd.risk.measures.portfolio import Floats

PARTICIPATION: Final = 0.1
"""Share of the usual volume that selling may be, unless set."""


def unwind_days(lots: Floats, volume_lots: Floats, participation: float = PARTICIPATION) -> Floats:
    """float64[N] days to bring each position to zero at `participation` of float64[N] average volume a day; 0 where
    nothing is held, NaN where the volume is unknown (not a number, or not positive).

    Source: A. Bangia, F. Diebold, T. Schuermann and J. Stroughair, Modeling liquidity risk (1999), the exogenous part:
    position over what the market takes a day.
    """
    held = lots != 0.0
    daily = np.where(volume_lots > 0.0, volume_lots, np.nan) * participation
    return np.where(held, np.abs(lots) / daily, 0.0)


def book_days(values: Floats, days: Floats, shares: Sequence[float] = (0.5, 0.9, 1.0)) -> list[float]:
    """Days until each share of float64[N] gross value is unwound, all positions sold side by side, each evenly over its
    `unwind_days`. NaN for all of them where one position's value or days are unknown; 0 for an empty book.
    """
    held = values != 0.0
    value, each = np.abs(values[held]), days[held]
    if not len(value):
        return [0.0] * len(shares)
    whole = float(value.sum())
    if not (isfinite(whole) and isfinite(float(each.sum()))):
        return [float("nan")] * len(shares)
    order = np.argsort(each, kind="stable")
    value, each = value[order], each[order]
    # what is done at the end of each position: those before it whole, the others in proportion; straight lines between
    speed = np.divide(value, each, out=np.zeros_like(value), where=each > 0.0)
    after = speed.sum() - np.cumsum(speed)
    done = np.cumsum(value) + each * after
    known = np.concatenate(((0.0,), done)), np.concatenate(((0.0,), each))
    return [float(each[-1]) if share >= 1.0 else float(np.interp(share * whole, *known)) for share in shares]
