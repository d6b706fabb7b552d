"""Policies by the names that a configuration uses: the records of the modules here, and those of installed packages."""

from importlib import import_module
from pkgutil import iter_modules
from typing import Final

from quantd.strategies.policies.allocator import Allocator
from quantd.strategies.policies.equal_weight import EqualWeight
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
"""Of the built-in policies."""

POLICIES: Final[Registry[Make]] = Registry(
    {each.name: each.make for each in RECORDS if isinstance(each, PolicyRecord)}, PolicyRecord
)

COMPOSITES: Final[Registry[Composite]] = Registry(
    {each.name: each.make for each in RECORDS if isinstance(each, CompositeRecord)}, CompositeRecord
)
"""Policies made of others: their functions also take how members are found."""

__all__ = [
    "COMPOSITES",
    "MAX_DEPTH",
    "POLICIES",
    "RECORDS",
    "Allocator",
    "EqualWeight",
    "Load",
    "MemberFailed",
    "ParamsError",
    "nearest",
]
