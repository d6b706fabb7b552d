"""The hook into Python's imports: it hands listed modules to `finder`, which is loaded for the first of them."""

import sys
from typing import TYPE_CHECKING

from quantd.engine_build.recipe import LIBRARIES

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec


class Hook:
    """Finds the listed modules, all in one build or all in their source. A library beside a source is never loaded."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> "ModuleSpec | None":
        """Where a listed module is loaded from; None for every other module."""
        if name not in LIBRARIES:
            return None
        from quantd.engine_build.finder import spec

        return spec(name)


def install() -> None:
    """Put the hook before Python's own finders, once."""
    if not any(type(path_finder) is Hook for path_finder in sys.meta_path):
        sys.meta_path.insert(0, Hook())
