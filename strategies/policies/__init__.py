"""Policies by their names in a configuration: the built-in ones, and those of installed packages."""

from typing import Final

from quantd.records import every
from quantd.strategies.policies.members import MAX_DEPTH, Composite, Load, MemberFailed
from quantd.strategies.policies.params import ParamsError, nearest
from quantd.strategies.policies.record import CompositeRecord, Make, PolicyRecord, Registry

_SINGLE: Final = [record for _, record in every((__name__,), PolicyRecord)]
_OF_OTHERS: Final = [record for _, record in every((__name__,), CompositeRecord)]

_BOTH: list[PolicyRecord | CompositeRecord] = [*_SINGLE, *_OF_OTHERS]

RECORDS: Final = tuple(sorted(_BOTH, key=lambda record: record.name))
"""Records of the built-in policies."""

POLICIES: Final[Registry[Make]] = Registry({record.name: record.make for record in _SINGLE}, PolicyRecord)

COMPOSITES: Final[Registry[Composite]] = Registry({record.name: record.make for record in _OF_OTHERS}, CompositeRecord)
"""Policies made of other policies."""

PASSIVE: Final = frozenset({"asked", "external", "hold", "targets"})
"""Policies that never name a weight: a comparison of them compares cash."""

__all__ = [
    "COMPOSITES",
    "MAX_DEPTH",
    "PASSIVE",
    "POLICIES",
    "RECORDS",
    "Load",
    "MemberFailed",
    "ParamsError",
    "nearest",
]
