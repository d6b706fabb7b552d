"""Read models of one shadow agent (simulated beside the account), computed in memory from the run's journal like
those of the account."""

import weakref
from collections.abc import Callable, Iterator
from typing import Final

from msgspec.structs import replace
from sqlalchemy import create_engine, insert
from sqlalchemy.pool import StaticPool
from sqlmodel import SQLModel

from quantd.adapters.store.queries import Reader
from quantd.adapters.store.store_errors import StoreMismatch
from quantd.adapters.store.tables.projection import COLUMNS, Projection
from quantd.trading.codec import Entry

Paced = Callable[[Iterator[tuple[int, Entry]]], Iterator[tuple[int, Entry]]]
"""Wraps the iterator over a journal with pauses, so that other threads get their turn."""

TABLES: Final = SQLModel.metadata.tables


def check_shadow(house: Reader, name: str) -> None:
    """Raise StoreMismatch unless the run that `house` reads (the account) has the shadow agent `name`."""
    names = house.shadows()
    if name not in names:
        shadows = f"its shadows are {', '.join(names)}" if names else "it has no shadow"
        raise StoreMismatch(f"run {house.run.run} has no shadow {name!r:.80}; {shadows}")


def reader_of_shadow(house: Reader, name: str, *, paced: Paced = iter) -> Reader:
    """Return a reader of the shadow agent `name`; `house` is the reader of the account.

    Its display names and order ids end with @NAME: the store has no rows of a shadow agent, and no venue has its
    orders. Raises StoreMismatch without a journal.

    The rows are computed again from the journal, into a database in memory. `paced` may pause between the entries.
    """
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    reader = Reader(engine, replace(house.run, epochs=((1, (name,)),)), house.records, name)
    weakref.finalize(reader, engine.dispose)
    fold = Projection(house.run.run, house.run.universe.symbols, (name,))
    for seq, entry in paced(reader.journal(1)):
        fold.add(seq, entry.event, entry.effects)
    SQLModel.metadata.create_all(engine, [TABLES[table] for table in COLUMNS])
    with engine.begin() as db:
        for table, rows in fold.take().items():
            rows_by_column = [dict(zip(COLUMNS[table], row, strict=True)) for row in rows]
            if table == "orders":
                rows_by_column = [row | {"id": f"{row['id']}@{name}"} for row in rows_by_column]
            if rows_by_column:
                db.execute(insert(TABLES[table]), rows_by_column)
    return reader
