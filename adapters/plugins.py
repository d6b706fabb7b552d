"""What records of adapters have in common: options of the configuration, and functions named as text."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True, slots=True)
class Option:
    """A key of the configuration's table that an adapter reads.

    An option with a `missing` text is required; the text is the remedy. `flag` is the command-line option with an
    example. `choices` are the valid values, empty if any text is valid.
    """

    key: str
    flag: str = ""
    missing: str = ""
    choices: tuple[str, ...] = ()


def function(name: str) -> Callable[..., Any]:
    """Import and return the function named "module:function"."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)
