"""runs.toml: the runs of each store and their accounts at the end."""

import tomllib
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

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
    """A store: its runs."""

    runs: list[IndexedRun]


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
