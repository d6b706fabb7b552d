"""Regimes by thresholds on volatility and trend, with hysteresis.

A threshold that was passed stays passed until the volatility or trend is a margin below it. So a figure that oscillates
around a threshold does not switch the regime.
"""

from typing import Final

DOWN, FLAT, UP = -1, 0, 1

TABLE: Final[dict[int, tuple[str, str, str]]] = {
    # volatility level -> regime when the trend is down, flat, up; "" repeats the previous regime if that was bull or
    # bear
    0: ("bear", "bull", "bull"),
    1: ("bear", "", "bull"),
    2: ("bear", "volatile", "bull"),
    3: ("volatile", "volatile", "volatile"),
}


def level_of(volatility: float, levels: tuple[float, ...], before: int, margin: float) -> int:
    """Return how many of the ascending `levels` the volatility has reached.

    `before` is the previous result. A level that was reached ends only below (1 - margin) times the level.
    """
    return sum(
        volatility >= level * (1.0 - margin) if k < before else volatility >= level for k, level in enumerate(levels)
    )


def direction_of(trend: float, threshold: float, before: int, margin: float) -> int:
    """Return UP above `threshold`, DOWN below -`threshold`, FLAT between.

    `before` is the previous direction, which ends only below (1 - margin) times its threshold.
    """
    up = threshold * (1.0 - margin) if before == UP else threshold
    down = threshold * (1.0 - margin) if before == DOWN else threshold
    return UP if trend > up else DOWN if trend < -down else FLAT


def regime_of(level: int, direction: int, before: str) -> str:
    """Return the regime of TABLE for a volatility level (0 to 3) and the direction of the trend.

    Where TABLE has no entry, the previous regime `before` stays if it was bull or bear; otherwise the result is bull.
    """
    return TABLE[level][direction + 1] or (before if before in ("bull", "bear") else "bull")
