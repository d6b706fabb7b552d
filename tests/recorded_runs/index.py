"""runs.toml: the runs of each store and their accounts at the end."""

import tomllib
from typing import Final

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
    return msgspec.convert(tomllib.loads(INDEX.read_text(encoding="utf-8")), dict[str, IndexedStore])


NAMES: Final = tuple(read_index())
