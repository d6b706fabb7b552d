"""How near each limit is: INFO at 60 %, WARNING at 80 %, CRITICAL at 100 %, with hysteresis, one alert for a
crossing."""

from bisect import bisect
from math import inf
from typing import Final

from msgspec import Struct, field

from quantd.risk.limits.catalogue import FLOORS
from quantd.risk.limits.values import Values

NONE: Final = 0
INFO: Final = 1
WARNING: Final = 2
CRITICAL: Final = 3

THRESHOLDS: Final = (0.0, 0.60, 0.80, 1.0)
"""Share of the bound at which each level begins."""

QUIET: Final = THRESHOLDS[1] - 1e-9
"""A share below which there is surely no level."""

HYSTERESIS: Final = 0.05
"""A level ends only this far below where it began, so that a value on the edge is one alert."""

_BEGINS: Final = tuple(start - 1e-12 for start in THRESHOLDS[1:])
_ENDS: Final = tuple(start - HYSTERESIS for start in THRESHOLDS[1:])

UNWATCHED: Final = frozenset({"cash", "buying_power"})
"""Measured, and bounded by the gate, but no share of anything."""

NOISE: Final = {"max_drawdown": 0.02}
"""Key -> the value below which a limit has no level, whatever share of it that is."""

Crossing = tuple[str, int, int, float, float]
"""Key of the limit, level before, level after, value, bound."""


def usage(value: float, bound: float) -> float:
    """Share of the bound in use; a bound of 0 is used up by anything above it. Not-a-number counts as used up."""
    if bound > 0.0:
        return value / bound if value == value else 1.0
    return 0.0 if value <= 0.0 else 1.0


def floor_usage(value: float, bound: float) -> float:
    """Share of a floor in use: bound / value, so 1 at the floor and more below it; infinite for a value that is not
    positive. A floor of 0 is used up by what is below it."""
    if bound <= 0.0:
        return 0.0 if value >= bound else 1.0
    if value != value:
        return 1.0
    return bound / value if value > 0.0 else inf


def share_of(key: str, value: float, bound: float) -> float:
    """How much of the limit `key` is in use, as a share: 1 is all of it."""
    if key in FLOORS:
        return floor_usage(value, bound)
    if value < NOISE.get(key, -inf):
        return 0.0
    return usage(value, bound)


def level(share: float, before: int = NONE) -> int:
    """The level of a share of the bound, given the level before."""
    return max(bisect(_BEGINS, share), min(before, bisect(_ENDS, share)))


def observe(levels: dict[str, int], values: Values, *, falling: bool = True) -> list[Crossing]:
    """Note the present values in `levels` (key -> level, changed in place); the crossings, in order of keys.

    A limit that is no longer measured leaves at its level until it is measured again. Without `falling` levels only
    rise: of values that will not last, because orders are on their way.
    """
    found: list[Crossing] = []
    for key in sorted(values):
        value, bound = values[key]
        before = levels.get(key, NONE)
        if key in UNWATCHED or (not before and value < QUIET * bound and key not in FLOORS):
            continue
        after = level(share_of(key, value, bound), before)
        if after > before or (falling and after < before):
            levels[key] = after
            found.append((key, before, after, value, bound))
    return found


def band(key: str, at: int, bound: float) -> tuple[float, float]:
    """(low, high) of a ceiling: while its value stays above low and below high, its level stays `at`. Never too wide:
    what lies in the band keeps the level, what does not may."""
    high = inf if at == CRITICAL else (THRESHOLDS[at + 1] - 1e-9) * bound
    low = -inf if at == NONE else (THRESHOLDS[at] - HYSTERESIS + 1e-9) * bound
    return low, high


class Monitor(Struct):
    """The levels of one book. Freezes as it is; its size is bounded by the number of limits."""

    levels: dict[str, int] = field(default_factory=dict)
