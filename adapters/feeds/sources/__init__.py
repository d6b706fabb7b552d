"""Vendors of bars, one in each module."""

import re
from importlib.metadata import entry_points
from pathlib import Path
from pkgutil import iter_modules
from typing import Final

RECORD: Final = re.compile(r'^\w+: Final = Vendor\(\s*"(\w+)"', re.MULTILINE)
GROUP: Final = "quantd.feeds"
"""The entry-point group of installed packages with records."""


def kinds() -> tuple[str, ...]:
    """Return the kinds of all vendors in alphabetical order: of the modules here, and of installed packages.

    It reads the sources of the modules, so that a command lists vendors in its help without importing them. An entry
    point has the name of its vendor's kind.
    """
    files = (Path(folder) / f"{module.name}.py" for folder in __path__ for module in iter_modules([folder]))
    declared = (kind for file in files if file.is_file() for kind in RECORD.findall(file.read_text(encoding="utf-8")))
    return tuple(sorted({*declared, *(point.name for point in entry_points(group=GROUP))}))
