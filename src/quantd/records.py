"""The records of quantd and of installed packages: one registry for limits, policies, commands, vendors and the others.

A record is an object in one module that has everything about one thing. The table of names to modules is the folder of
a package: `modules` lists it and imports none of them. A package names its modules without a record in `HELPERS`.
Installed packages have their records in entry points.

What can go wrong: a package that is installed while the process runs is not found unless `sys.path` has changed. No
command needs that: a plug-in is loaded at the start.

Rejected: reading the folders of metadata without `importlib.metadata`. That takes 1 ms less, and would not find the
packages of other importers, such as archives.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from quantd.trading.exit_codes import CONFIG, ExplainedError

if TYPE_CHECKING:  # `quantd --help` does without it, a sixth of its time
    from importlib.metadata import EntryPoint

OURS: Final = "[quantd."
"""Start of the line of each group of quantd."""

REMEDY: Final = "repair that package, or uninstall it"

TWICE: Final = "has a record already; rename one of the two, or uninstall its package"


class FaultyRecord(ExplainedError):
    """A record that cannot be used; the message has the remedy."""

    exit_code = CONFIG


class Kind(Protocol):
    """A record whose `kind`, the name of its module, is its name in the configuration."""

    @property
    def kind(self) -> str: ...


class Ordered(Protocol):
    """A record with a name that is unique in its class, and the number by which the class is sorted."""

    @property
    def name(self) -> str: ...

    @property
    def order(self) -> int: ...


T = TypeVar("T")
R = TypeVar("R", bound=Kind)
N = TypeVar("N", bound=Ordered)


def entry_points(group: str) -> "Iterable[EntryPoint]":
    """The entry points of a group of quantd, in the order of the packages.

    `importlib.metadata` reads the metadata of every package for each group, 7 ms with 260 packages. So one pass, 3 ms,
    looks for a package with a group of quantd first; most installations have none.
    """
    from importlib.metadata import entry_points as of_all_packages

    return of_all_packages(group=group) if _has_ours(tuple(sys.path)) else ()


@lru_cache(maxsize=1)
def _has_ours(path: tuple[str, ...]) -> bool:
    """Whether a package on the path of imports has a group of quantd."""
    from importlib.metadata import distributions

    texts = (package.read_text("entry_points.txt") for package in distributions())
    return any(OURS in text for text in texts if text)


@cache
def modules(*packages: str) -> Mapping[str, str]:
    """Return the modules of packages, name -> dotted name, without the `HELPERS` of their package.

    A module in place of a package stands for itself. A package that is not installed is skipped.
    """
    table: dict[str, str] = {}
    for package in packages:
        try:
            home = import_module(package)
        except ModuleNotFoundError as why:
            if why.name is None or not f"{package}.".startswith(f"{why.name}."):
                raise  # the package is there, and a module that it imports is missing
            continue
        names = [module.name for module in iter_modules(getattr(home, "__path__", ()))]
        table |= {name: f"{package}.{name}" for name in names if name not in getattr(home, "HELPERS", ())}
        if not hasattr(home, "__path__"):
            table[package.rpartition(".")[2]] = package
    return MappingProxyType(table)


def loaded(point: "EntryPoint", record: type[T]) -> T:
    """Return the record of an entry point. Raises FaultyRecord if its import fails or it is no `record`."""
    try:
        value = point.load()
    except Exception as why:  # the import of a foreign package can raise anything
        raise FaultyRecord(f"{point.value} ({point.group}): {type(why).__name__}: {why}; {REMEDY}") from why
    if not isinstance(value, record):
        raise FaultyRecord(f"{point.value} ({point.group}): is no {record.__name__}; {REMEDY}")
    return value


def every(packages: tuple[str, ...], record: type[T]) -> Iterator[tuple[str, T]]:
    """Yield (module, record) for each record of a class once: values of the modules of packages, alone or in tuples."""
    seen: set[int] = set()
    for module in modules(*packages).values():
        for value in vars(import_module(module)).values():
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, record) and id(part) not in seen:
                    seen.add(id(part))
                    yield module, part


@cache
def ordered(packages: tuple[str, ...], record: type[N], group: str) -> Mapping[str, N]:
    """Return the records of a class by name, sorted by `order`, then name: of packages, and of entry points in `group`.

    Raises FaultyRecord for a name that occurs twice, and for an entry point without a record.
    """
    by_name: dict[str, N] = {}
    installed = ((point.value, loaded(point, record)) for point in entry_points(group))
    for where, entry in (*every(packages, record), *installed):
        if by_name.setdefault(entry.name, entry) is not entry:
            raise FaultyRecord(f'{where}: the name "{entry.name}" {TWICE}')
    return MappingProxyType(dict(sorted(by_name.items(), key=lambda item: (item[1].order, item[0]))))


class Records(Mapping[str, R]):
    """The records of a class by kind. The module of a record is imported when the record is first read."""

    def __init__(self, table: Mapping[str, str], record: type[R], installed: Mapping[str, R]) -> None:
        self._table, self._record, self._installed = table, record, installed

    def __getitem__(self, kind: str) -> R:
        if kind in self._installed:
            return self._installed[kind]
        values = vars(import_module(self._table[kind])).values()
        return next(value for value in values if isinstance(value, self._record) and value.kind == kind)

    def __contains__(self, kind: object) -> bool:
        return kind in self._table or kind in self._installed

    def __iter__(self) -> Iterator[str]:
        yield from self._table
        yield from self._installed

    def __len__(self) -> int:
        return len(self._table) + len(self._installed)


@cache
def records(package: str, record: type[R], group: str) -> Mapping[str, R]:
    """Return the records of a class by kind: of the modules in `package`, then of the entry points in `group`.

    Raises FaultyRecord for a kind with two records, and for an entry point without a record.
    """
    installed: dict[str, R] = {}
    for point in entry_points(group):
        value = loaded(point, record)
        if installed.setdefault(value.kind, value) is not value or value.kind in modules(package):
            raise FaultyRecord(f'{point.value}: the kind "{value.kind}" {TWICE}')
    return Records(modules(package), record, installed)
