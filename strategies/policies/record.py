"""The record of a policy: a module here that lists records in `RECORDS` registers policies; an installed package may
too."""

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final, Generic, TypeVar

from msgspec import Struct

from quantd.strategies.policies.members import Composite
from quantd.strategies.policies.params import ParamsError
from quantd.trading.ports import Policy

GROUP: Final = "quantd.policies"
"""Of entry points: each names one record of an installed package."""

Make = Callable[[Mapping[str, object]], Policy]
"""Parameters -> a policy; raises ParamsError for wrong ones."""


class PolicyRecord(Struct, frozen=True):
    """A policy by the name that a configuration uses."""

    name: str
    make: Make
    params: type[Struct]
    """Names and types of its parameters."""


class CompositeRecord(Struct, frozen=True):
    """A policy made of other policies."""

    name: str
    make: Composite
    params: type[Struct]


M = TypeVar("M")


class Registry(dict[str, M], Generic[M]):
    """Name -> function that makes the policy. Iteration gives the built-in ones; a name that is none of them is looked
    up among the entry points of installed packages."""

    def __init__(self, built_in: Mapping[str, M], kind: type[Struct]) -> None:
        super().__init__(built_in)
        self._kind: Final = kind

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or isinstance(installed(name), self._kind)

    def __missing__(self, name: str) -> M:
        found = installed(name)
        if not isinstance(found, self._kind):
            raise KeyError(name)
        make: M = found.make  # type: ignore[assignment]
        return make


def installed(name: object) -> PolicyRecord | CompositeRecord | None:
    """The record that an installed package offers under `name`. ParamsError where it cannot be loaded, or two
    offer it."""
    if not isinstance(name, str) or not name.isidentifier():
        return None
    offered = _offered().get(name, ())
    if not offered:
        return None
    packages = [each.dist.name if each.dist is not None else each.value for each in offered]
    if len(offered) > 1:
        raise ParamsError(f"policy {name!r} is offered by {' and '.join(packages)}; uninstall all but one")
    try:
        record = offered[0].load()
    except Exception as error:
        raise ParamsError(f"policy {name!r} of {packages[0]}: {type(error).__name__}: {error}") from error
    if not isinstance(record, PolicyRecord | CompositeRecord) or record.name != name:
        raise ParamsError(f"policy {name!r} of {packages[0]}: {offered[0].value} is no record of that name")
    return record


@cache
def _offered() -> Mapping[str, tuple[EntryPoint, ...]]:
    """Read once, and only for a name that is not built in: the scan takes about 30 ms."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for each in entry_points(group=GROUP):
        found[each.name] = (*found.get(each.name, ()), each)
    return found
