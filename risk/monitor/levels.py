"""Alert levels of limits: INFO at 60 %, WARNING at 80 %, CRITICAL at 100 % of the bound, with hysteresis.

What can go wrong: a value that moves around the start of a level raises an alert at each sample. A level therefore ends
only 5 % of the bound below its start, and such a value raises one alert. A value that is not a number is CRITICAL.
While orders are open a level may rise but not fall, because the value changes with their fills.

A limit that a plan may use fully (`ON_BREACH`) is CRITICAL only from BAND beyond its bound: a book that holds its limit
is moved past it by the next price, and neither the book nor its policy did wrong.
"""

from bisect import bisect
from math import inf
from typing import Final

from msgspec import Struct, field

from quantd.risk.limits.catalogue import FLOORS, ON_BREACH
from quantd.risk.limits.values import Values

NONE: Final = 0
INFO: Final = 1
WARNING: Final = 2
CRITICAL: Final = 3

THRESHOLDS: Final = (0.0, 0.60, 0.80, 1.0)
"""Share of the bound at which each level (NONE to CRITICAL) begins."""

QUIET: Final = THRESHOLDS[1] - 1e-9
"""Share below which no level begins."""

HYSTERESIS: Final = 0.05
"""A level ends at this share of the bound below its start, so that a value at the start raises one alert."""

BAND: Final = 0.05
"""The share of the bound beyond it at which a limit that a plan may use fully is CRITICAL: `in_flight` of the profiles,
by which the gate lets the same limits be exceeded while orders are open."""

ROUNDING: Final = 1e-9
"""The largest difference of two ways to compute a value, as a share of the bound."""


UNWATCHED: Final = frozenset({"cash", "buying_power", "equity"})
"""Limits of the gate that have no levels, because their use is not a share of a bound, or only explains a cut."""

NOISE: Final = {"max_drawdown": 0.02}
"""Key -> value below which a limit has no level."""

Crossing = tuple[str, int, int, float, float]
"""Key of the limit, level before, level after, value, bound."""


def usage(value: float, bound: float) -> float:
    """Return the share of an upper bound in use. A bound of 0 is used up by any positive value; NaN counts as used
    up."""
    if bound > 0.0:
        return value / bound if value == value else 1.0
    return 0.0 if value <= 0.0 else 1.0


def floor_usage(value: float, bound: float) -> float:
    """Return the share of a lower bound in use: bound / value, 1 at the bound and more below it; infinite for a value
    that is not positive. A lower bound of 0 is used up by values below it; NaN counts as used up."""
    if bound <= 0.0:
        return 0.0 if value >= bound else 1.0
    if value != value:
        return 1.0
    return bound / value if value > 0.0 else inf


def share_of(key: str, value: float, bound: float) -> float:
    """Return the share of the limit `key` in use, whether its bound is a maximum or a minimum."""
    if key in FLOORS:
        return floor_usage(value, bound)
    if value < NOISE.get(key, -inf):
        return 0.0
    return usage(value, bound)


def in_use(key: str, value: float, bound: float) -> bool:
    """Whether at least the share QUIET of the limit `key` is in use; False for the limits UNWATCHED, without levels."""
    if key.partition(".")[0] in UNWATCHED or (value < QUIET * bound and key not in FLOORS):
        return False
    return share_of(key, value, bound) >= QUIET


def starts(key: str) -> tuple[float, float, float, float]:
    """Return the share of the bound at which each level of the limit `key` (NONE to CRITICAL) begins."""
    return _BEYOND if key.partition(".")[0] in _BANDED else THRESHOLDS


_BANDED: Final = ON_BREACH - {"max_account_notional", "ramp", "max_turnover"}
"""Without amounts of money and counts, which `in_flight` does not widen."""
_BEYOND: Final = (*THRESHOLDS[:3], THRESHOLDS[3] + BAND)


def level(key: str, share: float, before: int = NONE) -> int:
    """Return the alert level of the limit `key` at a `share` of its bound. `before` is the previous level. A level ends
    only at a lower share than its start.
    """
    begins = starts(key)[1:]
    return max(bisect(begins, share + 1e-12), min(before, bisect(begins, share + HYSTERESIS)))


def sure(key: str, least: float, most: float, bound: float, before: int = NONE) -> bool:
    """Whether every value from `least` to `most`, and any within rounding of these two, has the same level. False for
    NaN, and for a bound that is not positive."""
    if not (bound > 0.0 and least <= most):
        return False
    shares = share_of(key, least, bound), share_of(key, most, bound)
    return level(key, min(shares) - ROUNDING, before) == level(key, max(shares) + ROUNDING, before)


def observe(levels: dict[str, int], values: Values, *, falling: bool = True) -> list[Crossing]:
    """Update `levels` (key -> alert level) with the present values. Returns the changes of level in order of keys.

    A limit without a value keeps its level. Without `falling`, levels only rise; this is for values that open orders
    may still change. NONE is the level of no alert, and QUIET the share of a bound below which no level begins.
    """
    crossings: list[Crossing] = []
    for key in sorted(values):
        value, bound = values[key]
        before = levels.get(key, NONE)
        # a small value without an alert changes nothing; a lower bound is breached by small values
        if key.partition(".")[0] in UNWATCHED or (not before and value < QUIET * bound and key not in FLOORS):
            continue
        after = level(key, share_of(key, value, bound), before)
        if after > before or (falling and after < before):
            levels[key] = after
            crossings.append((key, before, after, value, bound))
    return crossings


def band(key: str, at: int, bound: float) -> tuple[float, float]:
    """Return (low, high) for an upper bound: a value between them keeps the alert level `at`. A margin for rounding
    narrows the range."""
    begins = starts(key)
    high = inf if at == CRITICAL else (begins[at + 1] - 1e-9) * bound
    low = -inf if at == NONE else (begins[at] - HYSTERESIS + 1e-9) * bound
    return low, high


def floor_band(at: int, bound: float) -> tuple[float, float]:
    """Return (low, high) for a lower bound: a value between them keeps the alert level `at`. A margin for rounding
    narrows the range."""
    if not bound > 0.0:
        return (-inf, bound - 1e-9) if at == CRITICAL else (bound + 1e-9, inf) if at == NONE else (inf, -inf)
    low = -inf if at == CRITICAL else bound / (THRESHOLDS[at + 1] - 1e-9)
    return low, inf if at == NONE else bound / (THRESHOLDS[at] - HYSTERESIS + 1e-9)


class Monitor(Struct):
    """The alert levels of the limits of one book; part of the engine's saved state."""

    levels: dict[str, int] = field(default_factory=dict)
