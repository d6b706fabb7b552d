"""The risk profiles that a configuration chooses by name; each record of a limit has its value in them."""

from typing import Final

from quantd.risk.limits.catalogue import LIMITS, Limits, override

NAMES: Final = ("conservative", "balanced", "aggressive", "research")

PROFILES: Final[dict[str, Limits]] = {
    name: override(Limits(), **{key: each.profiles[name] for key, each in LIMITS.items() if name in each.profiles})
    for name in NAMES
}
"""Whole sets by name; explicit keys go over them with `override`."""
