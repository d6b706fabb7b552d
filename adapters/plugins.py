"""Finds the records that describe adapters as data: in modules of quantd, and among the entry points of installed
packages."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path
from pkgutil import iter_modules
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from quantd.entry_points import entry_points
from quantd.trading.exit_codes import CONFIG, ExplainedError


class Record(Protocol):
    """The description of one adapter as data. `kind` is the adapter's name in the configuration."""

    @property
    def kind(self) -> str:
        """The adapter's name in the configuration."""
        ...


class Ordered(Protocol):
    """A record with a name, and a sort key `order` among the records of its class."""

    @property
    def name(self) -> str:
        """The record's name, unique in its class."""
        ...

    @property
    def order(self) -> int:
        """The number by which the records of the class are sorted."""
        ...


R = TypeVar("R", bound=Record)
N = TypeVar("N", bound=Ordered)
T = TypeVar("T")


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


class DoubledKind(Exception):
    """Two records have the same kind."""


class FaultyRecord(ExplainedError):
    """A record of an adapter that cannot be used; the message has the remedy."""

    exit_code = CONFIG


@cache
def ordered(packages: tuple[str, ...], record: type[N], group: str) -> Mapping[str, N]:
    """Return the records of a class by name, sorted by `order`, then name: from modules in `packages` and entry points
    in `group`.

    A package that is not installed is skipped. A module is imported only if a line of its source begins with `NAME:
    Final = CLASS(`, so that other modules of the package are not imported. Raises FaultyRecord for a name that occurs
    twice, and for an entry point without a record.

    A record is an object that describes one plug-in; `record` is its class.
    """
    declares = re.compile(rf"^\w+: Final = {record.__name__}\(", re.MULTILINE)
    by_name: dict[str, N] = {}
    for name in [module for package in packages for module in declaring(package, declares)]:
        for value in vars(import_module(name)).values():
            if isinstance(value, record):
                _add(by_name, value, name)
    for point in entry_points(group):
        _add(by_name, loaded(point, record), point.value)
    return MappingProxyType(dict(sorted(by_name.items(), key=lambda item: (item[1].order, item[0]))))


def declaring(package: str, declares: re.Pattern[str]) -> Iterator[str]:
    """Yield the modules of a package whose source has a line that matches; none where the package is not installed.

    `declares` is the pattern of a line.
    """
    try:
        folders = import_module(package).__path__
    except ModuleNotFoundError as why:
        if why.name is None or not f"{package}.".startswith(f"{why.name}."):
            raise  # the package is there, and a module that it imports is missing
        return
    for folder in folders:
        for module in iter_modules([folder]):
            source = Path(folder) / f"{module.name}.py"
            if source.is_file() and declares.search(source.read_text(encoding="utf-8")):
                yield f"{package}.{module.name}"


def loaded(point: EntryPoint, record: type[T]) -> T:
    """Return the record of an entry point. Raises FaultyRecord if its import fails or it is no `record`."""
    remedy = "repair that package, or uninstall it"
    try:
        value = point.load()
    except Exception as why:  # the import of a foreign package can raise anything
        raise FaultyRecord(f"{point.value} ({point.group}): {type(why).__name__}: {why}; {remedy}") from why
    if not isinstance(value, record):
        raise FaultyRecord(f"{point.value} ({point.group}): is no {record.__name__}; {remedy}")
    return value


def _add(by_name: dict[str, N], record: N, where: str) -> None:
    if by_name.setdefault(record.name, record) is not record:
        raise FaultyRecord(
            f'{where}: the name "{record.name}" has a record already; rename one of the two, or uninstall its package'
        )


class Records(Mapping[str, R]):
    """The records of a class by kind. The module of a record is imported when the record is first read."""

    def __init__(self, modules: Mapping[str, str], record: type[R], installed: Mapping[str, R]) -> None:
        self._modules, self._record, self._installed = modules, record, installed

    def __getitem__(self, kind: str) -> R:
        if kind in self._installed:
            return self._installed[kind]
        values = vars(import_module(self._modules[kind])).values()
        return next(value for value in values if isinstance(value, self._record) and value.kind == kind)

    def __contains__(self, kind: object) -> bool:
        return kind in self._modules or kind in self._installed

    def __iter__(self) -> Iterator[str]:
        yield from self._modules
        yield from self._installed

    def __len__(self) -> int:
        return len(self._modules) + len(self._installed)


@cache
def records(package: str, record: type[R], group: str) -> Mapping[str, R]:
    """Return the records of a class by kind: of the modules in `package`, then of the entry points in `group`.

    Raises DoubledKind for a kind with two records, and any exception of the import of an installed package.
    """
    modules, installed = declared(package, record.__name__), dict[str, R]()
    for point in entry_points(group):
        value = point.load()
        if installed.setdefault(value.kind, value) is not value or value.kind in modules:
            raise DoubledKind(f'{point.value}: kind "{value.kind}" has a record already')
    return Records(modules, record, installed)


def declared(package: str, record: str) -> Mapping[str, str]:
    """Return, by kind, the module of each record of a class in a package, read from the sources.

    A record begins with a line `NAME: Final = CLASS(`, and its kind is the first argument. Raises DoubledKind for a
    kind that two modules have.
    """
    declares = re.compile(rf'^\w+: Final = {record}\(\s*"(\w+)"', re.MULTILINE)
    modules: dict[str, str] = {}
    for folder in import_module(package).__path__:
        for module in iter_modules([folder]):
            source = Path(folder, module.name, "__init__.py") if module.ispkg else Path(folder, f"{module.name}.py")
            name = f"{package}.{module.name}"
            for kind in declares.findall(source.read_text(encoding="utf-8")) if source.is_file() else ():
                if modules.setdefault(kind, name) != name:
                    raise DoubledKind(f'{name}: kind "{kind}" has a record already')
    return MappingProxyType(modules)


def function(name: str) -> Callable[..., Any]:
    """Import and return the function named "module:function"."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)
