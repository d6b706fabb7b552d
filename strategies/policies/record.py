"""Records of policies. A module of this package registers its policies in `RECORDS`, as can an installed package."""

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import EntryPoint
from typing import Final, Generic, TypeVar

from msgspec import Struct

from quantd.records import entry_points
from quantd.strategies.policies.members import Composite, Load
from quantd.strategies.policies.params import ParamsError, parse
from quantd.trading.ports import Policy

GROUP: Final = "quantd.policies"
"""Group of entry points; each names one record of an installed package."""

Make = Callable[[Mapping[str, object]], Policy]
"""Makes a policy from its parameters. Raises ParamsError for wrong parameters."""


class PolicyRecord(Struct, frozen=True):
    """The record of a policy: its name in a configuration, the function that makes it, and its class of parameters."""

    name: str
    make: Make
    params: type[Struct]


class CompositeRecord(Struct, frozen=True):
    """The record of a composite policy, which is made of other policies."""

    name: str
    make: Composite
    params: type[Struct]


P = TypeVar("P", bound=Struct)


def record(name: str, params: type[P], policy: Callable[[P], Policy]) -> PolicyRecord:
    """Return the record of a policy that is made from its parsed parameters."""
    return PolicyRecord(name, lambda given: policy(parse(name, given, params)), params)


def composite(name: str, params: type[P], policy: Callable[[P, Load], Policy]) -> CompositeRecord:
    """Return the record of a composite that is made from its parsed parameters."""
    return CompositeRecord(name, lambda given, load: policy(parse(name, given, params), load), params)


M = TypeVar("M")


class Registry(dict[str, M], Generic[M]):
    """Maps a name to the function that makes the policy, for the built-in policies and those of installed packages.

    Iteration yields only the built-in policies. Other names are looked up among the entry points of installed packages.
    """

    def __init__(self, built_in: Mapping[str, M], kind: type[Struct]) -> None:
        super().__init__(built_in)
        self._kind: Final = kind

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or isinstance(installed(name), self._kind)

    def __missing__(self, name: str) -> M:
        entry = installed(name)
        if not isinstance(entry, self._kind):
            raise KeyError(name)
        make: M = entry.make  # type: ignore[assignment]
        return make


def installed(name: object) -> PolicyRecord | CompositeRecord | None:
    """Return the policy record called `name` of an installed package; None without such a record.

    Raises ParamsError for an invalid record, and if two packages offer the name.
    """
    if not isinstance(name, str) or not name.isidentifier():
        return None
    offered = _offered().get(name, ())
    if not offered:
        return None
    packages = [entry_point.dist.name if entry_point.dist is not None else entry_point.value for entry_point in offered]
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
    """Return the entry points of installed policies by name.

    The scan takes about 30 ms, so it runs once, for a name that is not built in.
    """
    by_name: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(GROUP):
        by_name[point.name] = (*by_name.get(point.name, ()), point)
    return by_name
