"""Records of adapters: found in the modules of a folder and among the entry points of installed packages."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from types import MappingProxyType
from typing import Any, Protocol, TypeVar


class Record(Protocol):
    """One adapter as data. `kind` is its name in the configuration."""

    @property
    def kind(self) -> str: ...


R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class Option:
    """A key of the configuration's table that an adapter reads.

    An option with a `missing` text is required; the text is the remedy. `flag` is the option on the command line with
    an example, and `choices` are its values where not every text is one.
    """

    key: str
    flag: str = ""
    missing: str = ""
    choices: tuple[str, ...] = ()


class DoubledKind(Exception):
    """Two records have the same kind."""


@cache
def records(package: str, record: type[R], group: str) -> Mapping[str, R]:
    """The records of a class by kind: of the modules in `package`, then of the entry points in `group`.

    Raises DoubledKind, and what an import of another package raises.
    """
    found: dict[str, R] = {}
    for module in iter_modules(import_module(package).__path__, f"{package}."):
        for each in vars(import_module(module.name)).values():
            if isinstance(each, record):
                _put(found, each, module.name)
    for point in entry_points(group=group):
        _put(found, point.load(), point.value)
    return MappingProxyType(found)


def _put(found: dict[str, R], record: R, where: str) -> None:
    if found.setdefault(record.kind, record) is not record:
        raise DoubledKind(f'{where}: kind "{record.kind}" has a record already')


def function(name: str) -> Callable[..., Any]:
    """The function of "module:function", imported now."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)
