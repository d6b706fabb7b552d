"""runs.toml: the runs of each store, their accounts at the end, and the number of events and effects of each kind."""

import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from quantd.trading.codec import Entry
from quantd.trading.effects import JournalEffect, Planned, Promotion, Publish, Shadowed
from quantd.trading.events import Action, JournalEvent, Operator, Reloaded
from quantd.trading.orders import Cause, Kind, OrderBasket, Reports
from tests.recorded_runs.archive import HERE

INDEX: Final = HERE / "runs.toml"


class Account(Struct, frozen=True):
    """An account at the end of a run. `books` are cash in micro, then the lots of each symbol, by name of the book."""

    digest: str
    equity_micro: int
    cash_micro: int
    lots: list[int]
    books: dict[str, list[int]]
    switch: int


class IndexedRun(Struct, frozen=True):
    """A run of a store: its steps, the numbers of the steps with a snapshot, and its account at the end."""

    run: str
    steps: int
    snapshots: list[int]
    account: Account


class IndexedStore(Struct, frozen=True):
    """A store: its runs, and the number of events and of effects of each kind in all of them."""

    runs: list[IndexedRun]
    events: dict[str, int]
    effects: dict[str, int]


def kinds_of_event(event: JournalEvent) -> Iterator[str]:
    """The kind of an event, then what is particular about it."""
    name = type(event).__name__
    yield name
    if isinstance(event, Action):
        yield f"{name} {event.kind}"
    elif isinstance(event, Operator):
        yield f"{name} {event.command}"
    elif isinstance(event, Reloaded) and event.later:
        yield f"{name} with looser limits that wait"
    elif isinstance(event, Reports) and Cause.PART_FILL in event.cause:
        yield f"{name} with a partial fill"


def kinds_of_effect(effect: JournalEffect) -> Iterator[str]:
    """The kind of an effect, then what is particular about it; those of shadows have the prefix `shadow`."""
    name = type(effect).__name__
    yield name
    if isinstance(effect, Shadowed):
        for shadowed_effect in effect.effects:
            yield from (f"shadow {kind}" for kind in kinds_of_effect(shadowed_effect))
    elif isinstance(effect, OrderBasket):
        if Kind.STOP in effect.kind:
            yield f"{name} of a stop"
        elif 0 in effect.end:
            yield f"{name} good till cancelled"
    elif isinstance(effect, Planned):
        if effect.portion is not None:
            yield f"{name} of a parent" if effect.n == 0 else f"{name} of a child, {effect.portion.style}"
        if any(agent_plan.because for agent_plan in effect.agents):
            yield f"{name} of a proposal"
    elif isinstance(effect, Promotion) and effect.promoted:
        yield f"{name} that promotes"
    elif isinstance(effect, Publish):
        yield f"{name} {effect.kind}"


def counted(entries: Iterable[Entry]) -> tuple[dict[str, int], dict[str, int]]:
    """(events, effects): how often each kind occurs."""
    events: Counter[str] = Counter()
    effects: Counter[str] = Counter()
    for entry in entries:
        events.update(kinds_of_event(entry.event))
        for effect in entry.effects:
            effects.update(kinds_of_effect(effect))
    return dict(sorted(events.items())), dict(sorted(effects.items()))


def read_index() -> dict[str, IndexedStore]:
    """The stores of runs.toml by name."""
    tables = tomllib.loads(INDEX.read_text(encoding="utf-8")) if INDEX.exists() else {}
    return msgspec.convert(tables, dict[str, IndexedStore])


def write_index(stores: Mapping[str, IndexedStore]) -> None:
    """Writes runs.toml."""
    lines = ["# Written by `python -m tests.recorded_runs NAME`, and checked by test_recorded_runs.py."]
    for name, store in sorted(stores.items()):
        for run in store.runs:
            lines += ["", f"[[{name}.runs]]", *_lines(msgspec.to_builtins(run))]
        for table, counts in (("events", store.events), ("effects", store.effects)):
            lines += ["", f"[{name}.{table}]", *_lines(counts)]
    INDEX.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{_text(key)} = {_text_of(value)}" for key, value in table.items()]


def _text(key: str) -> str:
    return key if key.replace("_", "").isalnum() else f'"{key}"'


def _text_of(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_text(key)} = {_text_of(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_text_of, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)
