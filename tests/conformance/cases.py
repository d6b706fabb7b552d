"""The cases of the conformance suite by name; each group of them is a module beside this one."""

from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct

from tests.conformance.rig import Rig

Run = Callable[[Rig], Awaitable[None]]


class Case(Struct, frozen=True):
    """One case: `name` is its sentence, `group` where it stands in the table."""

    group: str
    name: str
    run: Run


CASES: Final[dict[str, Case]] = {}


def case(group: str) -> Callable[[Run], Run]:
    """Register a case; its function's name is its sentence."""

    def add(run: Run) -> Run:
        name = getattr(run, "__name__", "").replace("_", " ")
        assert name not in CASES, f"two cases have the name {name!r}"
        CASES[name] = Case(group, name, run)
        return run

    return add


def add(group: str, name: str, run: Run) -> None:
    """Register a case made from a table."""
    assert name not in CASES, f"two cases have the name {name!r}"
    CASES[name] = Case(group, name, run)
