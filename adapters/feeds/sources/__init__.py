"""Vendors of bars, one in each module."""

from typing import Final

from quantd.records import entry_points, modules

HELPERS: Final = ("alpaca_stream", "http_client", "yahoo_session")
"""Modules of this package without a vendor."""

GROUP: Final = "quantd.feeds"
"""The entry-point group under which installed packages offer records of vendors."""


def kinds() -> tuple[str, ...]:
    """Return the kinds of all vendors in alphabetical order: of the modules of this package, and of installed packages.

    No module is imported, so that a command can list the kinds in its help: the name of an entry point is its kind.
    """
    return tuple(sorted({*modules(__name__), *(point.name for point in entry_points(GROUP))}))
