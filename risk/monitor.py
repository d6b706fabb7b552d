"""How near each limit is after the trade: INFO at 60 %, WARNING at 80 %, CRITICAL at 100 %, with hysteresis."""

from typing import Final

from msgspec import Struct, field

from risk.standing import FLOORS, Values

NONE: Final = 0
INFO: Final = 1
WARNING: Final = 2
CRITICAL: Final = 3

THRESHOLDS: Final = (0.0, 0.60, 0.80, 1.0)
"""Share of the bound at which each level begins."""

_QUIET: Final = THRESHOLDS[1] - 1e-9
"""A share below which there is surely no level."""

HYSTERESIS: Final = 0.05
"""A level ends only this far below where it began, so that a value on the edge is one alert."""

Crossing = tuple[str, int, int, float, float]
"""Key of the limit, level before, level after, value, bound."""


def usage(value: float, bound: float) -> float:
    """Share of the bound in use; a bound of 0 is used up by anything above it. Not-a-number counts as used up."""
    if bound > 0.0:
        return value / bound if value == value else 1.0
    return 0.0 if value <= 0.0 else 1.0


def level(share: float, before: int = NONE) -> int:
    """The level of a share of the bound, given the level before."""
    if not before and share < THRESHOLDS[1] - 1e-12:
        return NONE
    reached = sum(share >= start - 1e-12 for start in THRESHOLDS[1:])
    if reached >= before:
        return reached
    held = sum(share >= start - HYSTERESIS for start in THRESHOLDS[1:])
    return min(before, max(reached, held))


def observe(levels: dict[str, int], values: Values) -> list[Crossing]:
    """Note the present values in `levels` (key -> level, changed in place); the crossings, in order of keys.

    A limit that is no longer measured leaves at its level until it is measured again.
    """
    found: list[Crossing] = []
    for key in sorted(values):
        if key in FLOORS:
            continue
        value, bound = values[key]
        before = levels.get(key, NONE)
        if not before and value < _QUIET * bound:
            continue
        after = level(usage(value, bound), before)
        if after != before:
            levels[key] = after
            found.append((key, before, after, value, bound))
    return found


class Monitor(Struct):
    """The levels of one book. Freezes as it is; its size is bounded by the number of limits."""

    levels: dict[str, int] = field(default_factory=dict)

    def observe(self, values: Values) -> list[Crossing]:
        """See `observe` of this module."""
        return observe(self.levels, values)
