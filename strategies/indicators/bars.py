"""The fields of a bar as nodes (computed columns), and quantities of one bar and the previous one."""

from typing import Final

import numpy as np

from quantd.strategies.indicators.nodes import (
    Field,
    Node,
    Point,
    absolute,
    change,
    lag,
    larger,
    lowest,
    point,
    ratio,
    total,
)
from quantd.strategies.indicators.nodes import highest as highest_of
from quantd.trading.market import Floats

OPEN: Final = Field("open")
HIGH: Final = Field("high")
LOW: Final = Field("low")
CLOSE: Final = Field("close")
VOLUME: Final = Field("volume")
BENCHMARK: Final = Field("benchmark")
"""The benchmark's close, in every column."""

RANGE: Final = HIGH - LOW
TYPICAL: Final = point("typical", lambda high, low, close: (high + low + close) / 3.0, HIGH, LOW, CLOSE)
MEDIAN: Final = (HIGH + LOW) * 0.5
TRUE_RANGE: Final = larger(RANGE, larger(absolute(HIGH - lag(CLOSE, 1)), absolute(LOW - lag(CLOSE, 1))))
"""Wilder (1978): the range, including a gap from the previous close."""
TRUE_LOW: Final = point("true_low", np.minimum, LOW, lag(CLOSE, 1))
"""The low, or the previous close if that is lower."""

GAIN: Final = point("gain", lambda d: np.maximum(d, 0.0), change(CLOSE))
LOSS: Final = point("loss", lambda d: np.maximum(-d, 0.0), change(CLOSE))


TIE: Final = 1e-12
"""Prices closer than this fraction are equal. Otherwise rounding, which a split adjustment changes, would decide."""


def _if_larger(this: Floats, other: Floats, price: Floats) -> Floats:
    """Return `this` where it is positive and larger than `other`, else 0.

    A difference of at most TIE times `price` counts as a tie.
    """
    still = TIE * price
    return np.where((this > still) & (this - other > still), this, 0.0) + 0.0 * this  # NaN stays NaN


_HIGHER: Final = change(HIGH)
_LOWER: Final = lag(LOW, 1) - LOW
UP: Final = point("directional_up", _if_larger, _HIGHER, _LOWER, CLOSE)
DOWN: Final = point("directional_down", _if_larger, _LOWER, _HIGHER, CLOSE)
"""Wilder's directional movement (1978): the larger of the two moves, if positive."""

CLOSE_IN_RANGE: Final = ratio((CLOSE - LOW) - (HIGH - CLOSE), RANGE)
"""Position of the close in its bar, -1 .. 1; 0 for a bar without a range."""
MONEY_FLOW: Final = CLOSE_IN_RANGE * VOLUME
"""Volume times the position of the close in its bar."""


def place_in_range(x: Node, high: Node, low: Node, width: int) -> Point:
    """Return the position of x between the lowest low and the highest high of `width` bars, from 0 to 1."""
    bottom = lowest(low, width)
    return ratio(x - bottom, highest_of(high, width) - bottom)


def share(part: Node, base: Node, width: int) -> Point:
    """Return the sum of `part` over the sum of `base` in `width` bars; 0 where the sum of `base` is 0."""
    return ratio(total(part, width), total(base, width))
