"""The entry points of installed packages in the groups of quantd.

A start asks for eight groups. `importlib.metadata` reads the metadata of every package for each of them, 7 ms with 260
packages, and most installations have no package with a group of quantd. So one pass, 3 ms, looks for such a group
first. Only where one is found are the entry points of a group read.

What can go wrong: a package that is installed while the process runs is not found unless `sys.path` has changed. No
command needs that: a plug-in is loaded at the start.

Rejected: reading the folders of metadata without `importlib.metadata`. That takes 1 ms less, and would not find the
packages of other importers, such as archives.
"""

import sys
from functools import lru_cache
from importlib.metadata import EntryPoints, distributions
from importlib.metadata import entry_points as of_all_packages
from typing import Final

OURS: Final = "[quantd."
"""Start of the line of each group of quantd."""

NONE: Final = EntryPoints(())


def entry_points(group: str) -> EntryPoints:
    """The entry points of a group of quantd, in the order of the packages."""
    return of_all_packages(group=group) if _has_ours(tuple(sys.path)) else NONE


@lru_cache(maxsize=1)
def _has_ours(path: tuple[str, ...]) -> bool:
    """Whether a package on the path of imports has a group of quantd."""
    texts = (package.read_text("entry_points.txt") for package in distributions())
    return any(OURS in text for text in texts if text)
