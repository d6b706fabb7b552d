"""Vendors of bars, one in each module."""

from typing import Final

from quantd.adapters.plugins import declared
from quantd.entry_points import entry_points

GROUP: Final = "quantd.feeds"
"""The entry-point group of installed packages with records."""


def kinds() -> tuple[str, ...]:
    """Return the kinds of all vendors in alphabetical order: of the modules here, and of installed packages.

    A command lists vendors in its help without importing them. An entry point has the name of its vendor's kind.
    """
    return tuple(sorted({*declared(__name__, "Vendor"), *(point.name for point in entry_points(GROUP))}))
