"""Strength and direction of a trend, and channels."""

import numpy as np

from quantd.strategies.indicators import windows
from quantd.strategies.indicators.averages import Outputs
from quantd.strategies.indicators.bars import CLOSE, DOWN, HIGH, LOW, OPEN, RANGE, TRUE_RANGE, UP
from quantd.strategies.indicators.nodes import (
    Node,
    absolute,
    change,
    deviation,
    ema,
    highest,
    lag,
    logarithm,
    lowest,
    mean,
    point,
    ratio,
    total,
    wilder,
    wilder_sum,
    window,
)


def _directions(period: int) -> tuple[Node, Node]:
    """Return Wilder's plus and minus direction: the sums of upward and downward moves in percent of the true range."""
    moved = wilder_sum(TRUE_RANGE, period)
    # TA-Lib's first value is one bar after the first sum
    up, down = (100.0 * ratio(wilder_sum(d, period), moved) for d in (UP, DOWN))
    return _without_early(up, period), _without_early(down, period)


def _without_early(x: Node, first: int) -> Node:
    """Return x with NaN in place of its values before bar number `first`."""
    return point(f"{x.key} from {first}", lambda now, then: now + 0.0 * then, x, lag(x, first - x.first))


def _directional_index(period: int) -> Node:
    """Return the difference of Wilder's plus and minus direction over their sum, 0 to 100."""
    up, down = _directions(period)
    return 100.0 * ratio(absolute(up - down), up + down)


def directional(period: int) -> Outputs:
    """Wilder's directional movement system (1978): both directions, their index, and its mean in two forms.

    The mean of the index is ADX; ADXR is half the sum of ADX now and `period` - 1 bars ago.
    """
    up, down = _directions(period)
    strength = wilder(_directional_index(period), period)
    return {
        "plus_di": up,
        "minus_di": down,
        "dx": _directional_index(period),
        "adx": strength,
        "adxr": (strength + lag(strength, period - 1)) * 0.5,
    }


def aroon(period: int) -> Outputs:
    """Chande's Aroon (1995), 0 to 100: how recent the highest high and the lowest low are; 100 for the newest bar."""
    up = 100.0 - (100.0 / period) * window(windows.SINCE_HIGHEST, period + 1, HIGH)
    down = 100.0 - (100.0 / period) * window(windows.SINCE_LOWEST, period + 1, LOW)
    return {"aroon_up": up, "aroon_down": down, "aroon_oscillator": up - down}


def vortex(period: int) -> Outputs:
    """Vortex indicator of Botes and Siepman (2010): moves from low to next high, and from high to next low."""
    moved = total(TRUE_RANGE, period)
    return {
        "vortex_plus": ratio(total(absolute(HIGH - lag(LOW, 1)), period), moved),
        "vortex_minus": ratio(total(absolute(LOW - lag(HIGH, 1)), period), moved),
    }


def choppiness(period: int) -> Outputs:
    """Choppiness index of E. Dreiss: 100 for a market without direction, towards 0 for a straight move."""
    path, channel = total(TRUE_RANGE, period), highest(HIGH, period) - lowest(LOW, period)
    scale = 100.0 / np.log10(period)
    return {
        "choppiness": point(
            f"choppiness({period})",
            # without a move the index is 0; NaN stays NaN
            lambda path_over_channel: (
                scale * np.log10(np.where(path_over_channel > 0.0, path_over_channel, 1.0 + 0.0 * path_over_channel))
            ),
            ratio(path, channel),
        )
    }


def bollinger(period: int, deviations: float) -> Outputs:
    """Bollinger's bands (2001): mean and deviations of the close, its place between the bands, and their width over the
    mean.

    The bands are the mean plus and minus `deviations` standard deviations of the last `period` closes.
    """
    middle, spread = mean(CLOSE, period), deviations * deviation(CLOSE, period)
    upper, lower = middle + spread, middle - spread
    return {
        "bollinger_upper": upper,
        "bollinger_middle": middle,
        "bollinger_lower": lower,
        "bollinger_position": ratio(CLOSE - lower, upper - lower),
        "bollinger_width": ratio(upper - lower, middle),
    }


def donchian(period: int) -> Outputs:
    """Donchian's channel: the highest high, the lowest low, and the close's place between them."""
    top, bottom = highest(HIGH, period), lowest(LOW, period)
    return {
        "donchian_upper": top,
        "donchian_lower": bottom,
        "donchian_position": ratio(CLOSE - bottom, top - bottom),
    }


def keltner(period: int, ranges: float) -> Outputs:
    """Keltner's channel in Raschke's form: an exponential mean and average true ranges.

    The channel is the mean of the closes plus and minus `ranges` average true ranges. The position of the close is 0 at
    the lower bound and 1 at the upper one.
    """
    middle, spread = ema(CLOSE, period), ranges * wilder(TRUE_RANGE, period)
    return {
        "keltner_upper": middle + spread,
        "keltner_lower": middle - spread,
        "keltner_position": ratio(CLOSE - (middle - spread), 2.0 * spread),
    }


def mass_index(smooth: int, period: int) -> Outputs:
    """Dorsey's mass index (1992): the sum of a smoothed range over the same range smoothed again."""
    once = ema(RANGE, smooth)
    return {"mass_index": total(ratio(once, ema(once, smooth)), period)}


def trend_strength(period: int) -> Outputs:
    """Correlation of the logarithm of the close with time: 1 for a straight rise."""
    t = np.arange(period) - (period - 1) / 2.0
    line = window(windows.weighted("by_time", t / np.sqrt(t @ t) / np.sqrt(period)), period, logarithm(CLOSE))
    return {"trend_strength": ratio(line, deviation(logarithm(CLOSE), period))}


def distance(period: int) -> Outputs:
    """Distance of the close below its high and above its low of `period` bars, as fractions."""
    return {
        "from_high": ratio(CLOSE, highest(HIGH, period)) - 1.0,
        "from_low": ratio(CLOSE, lowest(LOW, period)) - 1.0,
    }


def qstick(period: int) -> Outputs:
    """Chande's Qstick: the mean of close less open."""
    return {"qstick": mean(CLOSE - OPEN, period)}


def vertical_horizontal(period: int) -> Outputs:
    """White (1991): the range of closes over the sum of their absolute changes."""
    return {"vhf": ratio(highest(CLOSE, period) - lowest(CLOSE, period), total(absolute(change(CLOSE)), period))}
