"""Policies by their names in a configuration: the built-in ones, and those of installed packages."""

from importlib import import_module
from pkgutil import iter_modules
from typing import Final

from quantd.strategies.policies.members import MAX_DEPTH, Composite, Load, MemberFailed
from quantd.strategies.policies.params import ParamsError, nearest
from quantd.strategies.policies.record import CompositeRecord, Make, PolicyRecord, Registry

RECORDS: Final = tuple(
    sorted(
        (
            record
            for module in iter_modules(__path__)
            for record in getattr(import_module(f"{__name__}.{module.name}"), "RECORDS", ())
        ),
        key=lambda record: record.name,
    )
)
"""Records of the built-in policies."""

POLICIES: Final[Registry[Make]] = Registry(
    {record.name: record.make for record in RECORDS if isinstance(record, PolicyRecord)}, PolicyRecord
)

COMPOSITES: Final[Registry[Composite]] = Registry(
    {record.name: record.make for record in RECORDS if isinstance(record, CompositeRecord)}, CompositeRecord
)
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
