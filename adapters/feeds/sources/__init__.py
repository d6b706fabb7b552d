"""Vendors of bars, one in each module."""

from typing import Final

from quantd.adapters.plugins import declared
from quantd.entry_points import entry_points

GROUP: Final = "quantd.feeds"
"""The entry-point group under which installed packages offer records of vendors."""


def kinds() -> tuple[str, ...]:
    """Return the kinds of all vendors in alphabetical order: of the modules of this package, and of installed packages.

    No module is imported, so that a command can list the kinds in its help: the name of an entry point is its kind.
    """
    return tuple(sorted({*declared(__name__, "Vendor"), *(point.name for point in entry_points(GROUP))}))
