"""Modules of the engine by their places in this checkout and in earlier commits, which `--beside` runs too."""

from importlib import import_module
from types import ModuleType


def first_of(*names: str) -> ModuleType:
    """The first of these modules that there is. Raises ModuleNotFoundError where there is none."""
    for name in names[:-1]:
        try:
            return import_module(name)
        except ModuleNotFoundError:
            continue
    return import_module(names[-1])
