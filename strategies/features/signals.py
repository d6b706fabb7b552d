"""Six signals of three horizons, each -1 .. 1 per instrument, from its own bars.

The horizons are short (momentum, mean reversion), medium (trend, breakout) and long (value, growth). Windows are
counted in bars. A signal is a node (a computed column) and therefore also a feature (`trend_signal_20_60`), tested like
other features. The policy `signals` combines them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from quantd.strategies.indicators.bars import CLOSE, HIGH, LOW
from quantd.strategies.indicators.nodes import Node, deviation, growth, highest, lag, lowest, mean, point, ratio


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal: `make(**parameters)` returns its node (computed column), and `words` describe it in lists."""

    horizon: Literal["short", "medium", "long"]
    make: Callable[..., Node]
    words: str
    parameters: Mapping[str, float]


def _bounded(x: Node) -> Node:
    """Return x, limited to the range from -1 to 1."""
    return point(f"bounded({x.key})", lambda v: np.minimum(np.maximum(v, -1.0), 1.0), x)


def _squashed(x: Node) -> Node:
    """Return tanh(x), between -1 and 1."""
    return point(f"tanh({x.key})", np.tanh, x)


def _noise(period: int, horizon: int) -> Node:
    """Return the typical move of a price without a trend over `horizon` bars, from the volatility of `period` bars."""
    return deviation(growth(CLOSE), period, 1) * horizon**0.5


def momentum(period: int, threshold_percent: float) -> Node:
    """Return 1 where growth over `period` bars is above `threshold_percent`, -1 where below -`threshold_percent`, else
    0.
    """
    bound = threshold_percent / 100.0
    return point(
        f"beyond({period}, {bound:g})", lambda g: np.where(g > bound, 1.0, np.where(g < -bound, -1.0, 0.0 * g)),
        growth(CLOSE, period),
    )  # fmt: skip


def reversion(period: int) -> Node:
    """Return the close's negative distance from its mean of `period` bars: -1 at two standard deviations above."""
    return _bounded(-0.5 * ratio(CLOSE - mean(CLOSE, period), deviation(CLOSE, period)))


def trend(fast: int, slow: int) -> Node:
    """Return the mean of `fast` bars over the mean of `slow` bars, less 1, in typical moves of a trendless price."""
    return _squashed(ratio(ratio(mean(CLOSE, fast), mean(CLOSE, slow)) - 1.0, _noise(slow, fast)))


def breakout(period: int) -> Node:
    """Return the close's position in the channel of the previous `period` bars: 1 at its top, -1 at its bottom."""
    top, bottom = lag(highest(HIGH, period), 1), lag(lowest(LOW, period), 1)
    return _bounded(2.0 * ratio(CLOSE - bottom, top - bottom) - 1.0)


def value(period: int) -> Node:
    """Return a price-only proxy of value: the close's distance below its long mean, in typical trendless moves."""
    return _bounded(-ratio(ratio(CLOSE, mean(CLOSE, period)) - 1.0, _noise(period, period)))


def long_growth(period: int, skip: int) -> Node:
    """Return growth over a window that ended `skip` bars ago, in typical moves of a trendless price (Jegadeesh and
    Titman, 1993).
    """
    return _squashed(ratio(lag(growth(CLOSE, period), skip), _noise(period, period)))


SIGNALS: Final[Mapping[str, Signal]] = {
    "momentum_signal": Signal(
        "short", momentum, "1, 0 or -1: growth beyond a threshold in percent", {"period": 20, "threshold_percent": 2}
    ),
    "reversion_signal": Signal("short", reversion, "against the distance from the mean", {"period": 20}),
    "trend_signal": Signal("medium", trend, "short mean over long mean", {"fast": 20, "slow": 60}),
    "breakout_signal": Signal("medium", breakout, "place in the channel of the bars before", {"period": 55}),
    "value_signal": Signal("long", value, "distance below the long mean", {"period": 252}),
    "growth_signal": Signal("long", long_growth, "growth of a year but its last month", {"period": 231, "skip": 21}),
}
