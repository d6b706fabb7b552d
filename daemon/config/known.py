"""Names that a configuration may use, and functions with which checks walk over a raw document."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from quantd.daemon.config.mistakes import Mistake, Source
from quantd.daemon.config.risk_tables import LimitKey
from quantd.daemon.config.scan import Path

MIN_HISTORY = 60
"""Default of `min_history`, as in `quantd.risk.limits.catalogue`."""


PROFILES = ("conservative", "balanced", "aggressive", "research")

SHOCKS = ("2008", "2020", "2022", "rates+200bp")
"""Built-in stress scenarios, as in `quantd.risk.measures.stress`."""

ENGINE_JOBS = (
    "rebalance", "reallocate", "promote", "flatten", "deposit", "snapshot", "reconcile", "before_open", "after_close",
)  # fmt: skip
"""Jobs of schedules that the engine carries out; every other job has a record with its worker."""

Table = Mapping[str, Any]

LIMITS = ("risk", "agents.*.limits", "manual.limits", "portfolios.limits")
"""The tables of limits: of the house, of each agent, of the book `manual`, and of every portfolio."""


@dataclass(frozen=True, slots=True)
class Known:
    """Names that other packages of quantd define.

    `parameters` maps a policy to the names of its parameters, where they are known. `sinks` maps a sink of alerts to
    the struct of its options, and `selection` is the struct of the keys that all sinks have. `secrets` maps a secret to
    its meaning. `stops_at` maps a kind of broker to the exchanges that support working stop orders; a kind without an
    entry supports them everywhere.
    """

    policies: tuple[str, ...]
    calendars: tuple[str, ...]
    profiles: tuple[str, ...] = PROFILES
    parameters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    feeds: tuple[str, ...] = ("replay",)
    brokers: tuple[str, ...] = ("paper",)
    jobs: tuple[str, ...] = ENGINE_JOBS
    stops_at: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[LimitKey, ...] = ()
    sinks: Mapping[str, type[Struct]] = field(default_factory=dict)
    selection: type[Struct] = Struct


def values_at(document: Table, dotted: str) -> Iterator[tuple[Path, Any]]:
    """Yield (path, value) of each key that a dotted pattern matches; `*` stands for every index of a list."""
    matches: list[tuple[Path, Any]] = [((), document)]
    for part in dotted.split("."):
        inner: list[tuple[Path, Any]] = []
        for path, value in matches:
            if part == "*" and isinstance(value, tuple):
                inner += [((*path, k), element) for k, element in enumerate(value)]
            elif isinstance(value, Mapping) and part in value:
                inner.append(((*path, part), value[part]))
        matches = inner
    yield from matches


def tables(document: Table, dotted: str) -> Iterator[tuple[Path, Table]]:
    """Yield (path, table) of each table that a dotted pattern matches; a value that is no table is skipped."""
    return ((path, value) for path, value in values_at(document, dotted) if isinstance(value, Mapping))


def limit_tables(document: Table) -> Iterator[tuple[Path, Table]]:
    """Yield (path, table) of each table of limits in a parsed config.toml."""
    return (place for dotted in LIMITS for place in tables(document, dotted))


def table_of(document: Table, name: str) -> Table:
    """Return the table `name` of a parsed config.toml; empty when it is missing or malformed."""
    value = document.get(name)
    return value if isinstance(value, Mapping) else {}


def is_number(value: Any) -> bool:
    """Whether a value is a number from 0 to 1."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def names_of(document: Table, *, shadows: bool = True) -> tuple[str, ...]:
    """Return the names of the agents, with or without the shadows (agents on paper)."""
    agents = (agent for _, agent in tables(document, "agents.*") if shadows or agent.get("shadow") is not True)
    return tuple(str(agent.get("name")) for agent in agents)


def mistakes_of(source: Source, *rules: tuple[object, Path, str, str]) -> Iterator[Mistake]:
    """Yield a mistake for each rule (condition, path, text, remedy) whose condition is true."""
    return (source.mistake(path, text, remedy) for condition, path, text, remedy in rules if condition)
