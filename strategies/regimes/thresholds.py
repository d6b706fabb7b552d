"""Regimes by thresholds on volatility and trend, with hysteresis.

A passed threshold is left only a margin below it, so that a figure that oscillates around it does not switch.
"""

from typing import Final

DOWN, FLAT, UP = -1, 0, 1

TABLE: Final[dict[int, tuple[str, str, str]]] = {
    # volatility level -> regime when the trend is down, flat, up; "" repeats the last of bull and bear
    0: ("bear", "bull", "bull"),
    1: ("bear", "", "bull"),
    2: ("bear", "volatile", "bull"),
    3: ("volatile", "volatile", "volatile"),
}


def level_of(volatility: float, levels: tuple[float, ...], before: int, margin: float) -> int:
    """Return the number of reached `levels`; one reached before is left only below (1 - margin) of it."""
    return sum(
        volatility >= level * (1.0 - margin) if k < before else volatility >= level for k, level in enumerate(levels)
    )


def direction_of(trend: float, threshold: float, before: int, margin: float) -> int:
    """Return UP above `threshold`, DOWN below its negative, FLAT between; a direction is left with the same margin."""
    up = threshold * (1.0 - margin) if before == UP else threshold
    down = threshold * (1.0 - margin) if before == DOWN else threshold
    return UP if trend > up else DOWN if trend < -down else FLAT


def regime_of(level: int, direction: int, before: str) -> str:
    """Return the regime by TABLE; `before` is the last one."""
    return TABLE[level][direction + 1] or (before if before in ("bull", "bear") else "bull")
