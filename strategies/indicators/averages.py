"""Moving averages and regression lines over the newest bars."""

import numpy as np

from quantd.strategies.indicators import windows
from quantd.strategies.indicators.bars import CLOSE, MEDIAN, VOLUME
from quantd.strategies.indicators.nodes import Node, absolute, adaptive, change, ema, mean, point, ratio, total, window
from quantd.trading.market import Floats

Outputs = dict[str, Node]


def wma_of(x: Node, period: int) -> Node:
    """Return the weighted mean of `period` values, with weights from 1 (oldest) to `period` (newest)."""
    weights = np.arange(1.0, period + 1.0)
    return window(windows.weighted("wma", weights / weights.sum()), period, x)


def dema(period: int) -> Outputs:
    """Double exponential mean (P. Mulloy, 1994): less lag than the mean of the same period."""
    once = ema(CLOSE, period)
    return {"dema": 2.0 * once - ema(once, period)}


def tema(period: int) -> Outputs:
    """Triple exponential mean (P. Mulloy, 1994)."""
    once = ema(CLOSE, period)
    twice = ema(once, period)
    return {"tema": 3.0 * once - 3.0 * twice + ema(twice, period)}


def trima(period: int) -> Outputs:
    """Triangular mean: the mean of a mean, so that weights rise to the middle of the window and fall again."""
    first_width = (period + 1) // 2
    weights = np.convolve(np.ones(first_width), np.ones(period - first_width + 1))
    return {"trima": window(windows.weighted("trima", weights / weights.sum()), period, CLOSE)}


def efficiency_ratio(period: int) -> Node:
    """Kaufman's efficiency ratio (1995): net move over the sum of moves; 1 for a constant price."""

    def efficient(net_move: Floats, path: Floats) -> Floats:
        straight = (path <= net_move) | (path == 0.0)
        efficiency = np.ones_like(path)
        np.divide(np.abs(net_move), path, out=efficiency, where=~straight)
        return efficiency

    return point(f"efficiency({period})", efficient, change(CLOSE, period), total(absolute(change(CLOSE)), period))


def kama(period: int) -> Outputs:
    """Kaufman's adaptive mean (1995): with the efficiency ratio near 1 as fast as an exponential mean of 2 bars.

    Near 0 it is as slow as one of 30 bars.
    """
    slow, fast = 2.0 / 31.0, 2.0 / 3.0  # the alphas of periods of 30 and 2 bars
    root_coefficient = efficiency_ratio(period) * (fast - slow) + slow
    return {"kama": adaptive(CLOSE, root_coefficient * root_coefficient, slow * slow)}


def t3(period: int, volume_factor: float) -> Outputs:
    """Tillson's T3 (1998): six exponential means in a row, combined with `volume_factor`.

    The factor is Tillson's name for a weight from 0 (least overshoot) to 1 (least lag); no volume is read.
    """
    v = volume_factor
    chain: list[Node] = [CLOSE]
    for _ in range(6):
        chain.append(ema(chain[-1], period))
    # three times (1 + v) x mean - v x mean of the mean, multiplied out
    return {
        "t3": -(v**3) * chain[6]
        + 3.0 * (v**2 + v**3) * chain[5]
        - 3.0 * (2.0 * v**2 + v + v**3) * chain[4]
        + (1.0 + 3.0 * v + v**3 + 3.0 * v**2) * chain[3]
    }


def hma(period: int) -> Outputs:
    """Hull's moving average (2005): a weighted mean of a weighted mean without most of its lag."""
    raw = 2.0 * wma_of(CLOSE, period // 2) - wma_of(CLOSE, period)
    return {"hma": wma_of(raw, int(period**0.5))}


def vwma(period: int) -> Outputs:
    """Volume-weighted mean of closes."""
    return {"vwma": ratio(total(CLOSE * VOLUME, period), total(VOLUME, period))}


def awesome(fast: int, slow: int) -> Outputs:
    """Williams' awesome oscillator: the fast mean of the middle prices less the slow one.

    The middle price of a bar is the mean of its high and low; `fast` and `slow` are numbers of bars.
    """
    return {"awesome": mean(MEDIAN, fast) - mean(MEDIAN, slow)}


def line_at(period: int, ahead: float) -> Node:
    """Return the value of the least-squares line through `period` closes, `ahead` bars after the newest close."""
    t = np.arange(period) - (period - 1) / 2.0
    position = (period - 1) / 2.0 + ahead
    return window(windows.weighted(f"line{ahead:g}", 1.0 / period + position * t / (t @ t)), period, CLOSE)


def linear_regression(period: int) -> Outputs:
    """The least-squares line over the closes of a period: its newest value, slope, and next value."""
    centred_positions = np.arange(period) - (period - 1) / 2.0
    # `line_at` takes the distance from the newest bar: 0, the next bar
    slope = window(
        windows.weighted("slope", centred_positions / (centred_positions @ centred_positions)), period, CLOSE
    )
    return {
        "linreg": line_at(period, 0.0),
        "linreg_slope": slope,
        "linreg_forecast": line_at(period, 1.0),
    }
