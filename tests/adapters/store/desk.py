"""Where the store of a test is, and the ways to it that tests use; in either database."""

import itertools
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantd.adapters.store.driver import UrlDriver
from quantd.adapters.store.journal.records import Records
from quantd.adapters.store.queries import Reader
from quantd.adapters.store.store import Store, read_only
from quantd.adapters.store.upkeep.verify import verify

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Desk:
    """A store and its state folder."""

    where: str | Path
    state: Path

    @property
    def postgres(self) -> bool:
        return isinstance(self.where, str)

    def open(self, **more: Any) -> Store:
        return Store.open(self.where, state=self.state, **more)

    def read_only(self) -> Records:
        return read_only(self.where, self.state)

    def reader(self, run: str | None = None) -> Reader:
        return Reader.open(self.where, run)

    def verify(self, newest: int | None = None) -> list[str]:
        return verify(self.where, self.state, newest)

    def sql(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Behind the store's back; rows where the statement gives some."""
        if not self.postgres:
            with closing(sqlite3.connect(self.state / "quantd.db")) as db:
                rows = db.execute(statement, values).fetchall()
                db.commit()
                return rows
        driver = UrlDriver(str(self.where))
        try:
            cursor = driver.execute(statement, values)
            rows = list(map(tuple, cursor.fetchall())) if cursor.description else []
            driver.commit()
            return rows
        finally:
            driver.close()


def new_schema(cluster: str) -> str:
    """URL of a new, empty schema: what an operator gives each instance."""
    name = f"desk{next(_numbers)}"
    driver = UrlDriver(cluster)
    try:
        driver.execute(f"CREATE SCHEMA {name}")
        driver.commit()
    finally:
        driver.close()
    return f"{cluster}&options=-csearch_path%3D{name}"
