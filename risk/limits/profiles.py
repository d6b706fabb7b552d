"""The risk profiles of a configuration, built from the records of the limits."""

from typing import Final

from quantd.risk.limits.catalogue import LIMITS, Limits, override

NAMES: Final = ("conservative", "balanced", "aggressive", "research")

PROFILES: Final[dict[str, Limits]] = {
    name: override(Limits(), **{key: each.profiles[name] for key, each in LIMITS.items() if name in each.profiles})
    for name in NAMES
}
"""Name -> set of limits; explicit keys replace its values."""
