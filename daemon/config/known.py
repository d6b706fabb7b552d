"""Names that a configuration may use, and the tables of a document that checks walk."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from quantd.daemon.config.mistakes import Mistake, Source, shown, suggestion
from quantd.daemon.config.risk_tables import LimitKey
from quantd.daemon.config.scan import Path

MIN_HISTORY = 60
"""Default of `min_history`, as in `quantd.risk.limits.catalogue`."""


PROFILES = ("conservative", "balanced", "aggressive", "research")


SHOCKS = ("2008", "2020", "2022", "rates+200bp")
"""Built-in stress scenarios, as in `quantd.risk.measures.stress`."""


@dataclass(frozen=True, slots=True)
class Known:
    """Names that other packages of quantd define.

    Registered policies with the parameters of some, calendars, risk profiles, kinds of feeds and brokers, sinks with
    the struct of their options, and secrets with their meaning. `stops_at` has the exchanges that support working stop
    orders, by kind of broker; a kind without an entry supports them everywhere.
    """

    policies: tuple[str, ...]
    calendars: tuple[str, ...]
    profiles: tuple[str, ...] = PROFILES
    parameters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    feeds: tuple[str, ...] = ("replay",)
    brokers: tuple[str, ...] = ("paper",)
    stops_at: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[LimitKey, ...] = ()
    sinks: Mapping[str, type[Struct]] = field(default_factory=dict)


def tables(document: Mapping[str, Any], *path: str) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """(path, table) of each well-formed element of a list of tables."""
    value: Any = document
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, tuple):
        for k, element in enumerate(value):
            if isinstance(element, Mapping):
                yield (*path, k), element


def table_of(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    return value if isinstance(value, Mapping) else {}


def limit_tables(document: Mapping[str, Any]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """The tables of limits: the house's, each agent's and the book `manual`'s."""
    yield ("risk",), table_of(document, "risk")
    for path, agent in tables(document, "agents"):
        yield (*path, "limits"), table_of(agent, "limits")
    yield ("manual", "limits"), table_of(table_of(document, "manual"), "limits")


def texts_in(value: Any) -> tuple[str, ...]:
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, tuple) else ()


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def repetitions(document: Mapping[str, Any], source: Source, section: str) -> Iterator[Mistake]:
    seen: dict[str, Path] = {}
    for path, table in tables(document, section):
        name = table.get("name")
        if isinstance(name, str):
            if name in seen:
                where = source.place(seen[name])[1]
                yield source.mistake(
                    (*path, "name"), f'= "{name}" is already used (line {where})', "give each its own name"
                )
            seen.setdefault(name, path)


def unknown_member(source: Source, path: Path, value: Any, names: tuple[str, ...], what: str) -> Iterator[Mistake]:
    if isinstance(value, str) and value not in names:
        yield source.mistake(path, f"= {shown(value)} is not a known {what}", suggestion(value, names))
