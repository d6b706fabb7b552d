"""A connection of the database's own driver, and the few statements in which databases differ.

SQLite is the default and what the fault tests cut. PostgreSQL takes the same SQL, portable on purpose.
"""

import errno
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from quantd.adapters.store.errors import StoreDamaged, StoreError, StoreFailing, StoreFull

if TYPE_CHECKING:
    from sqlalchemy import Engine

BUSY_MS: Final = 5_000
_STATEMENT_ROWS: Final = (512, 64)
"""Rows of one INSERT. One statement is one step of the driver, and it gives the interpreter's lock away once a step:
with one row a step the writer waits up to 5 ms for each row while another thread computes (measured 1,050 us
a row, 2 us with 512)."""


class Cursor(Protocol):
    """The part of DBAPI that the store uses."""

    @property
    def description(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def fetchone(self) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...


class Asked(Protocol):
    """What statements can be given to."""

    @property
    def dialect(self) -> str:
        """ "sqlite" or "postgresql"."""
        ...

    def execute(self, sql: str, values: Sequence[object] = ()) -> Cursor:
        """Run one statement; `?` marks a value."""
        ...


class Driver(Asked, Protocol):
    """One open connection, to be used by one thread."""

    def stream(self, sql: str, values: Sequence[object] = ()) -> Iterator[Any]:
        """Rows of a query too long to hold."""
        ...

    def begin(self, *, durable: bool) -> None: ...

    def snapshot(self) -> None:
        """From here to the end of the transaction every query sees the database of one instant, and none writes."""
        ...

    def commit(self) -> None: ...

    def missing(self) -> str:
        """Why what is committed would be lost, seen without a transaction and from any thread; empty when nothing
        would."""
        ...

    def rollback(self) -> None:
        """Back to before `begin`; nothing where nothing was begun. Raises when the connection is no longer usable."""
        ...

    def close(self) -> None: ...


class SqliteDriver:
    """SQLite in WAL mode. `durable` transactions sync the log before `commit` returns."""

    dialect: Final = "sqlite"

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        uri = path.resolve().as_uri() + ("?mode=ro" if read_only else "?mode=rw")
        self._db = sqlite3.connect(uri, uri=True, isolation_level=None, cached_statements=256, timeout=BUSY_MS / 1000)
        configure(self._db, read_only=read_only)
        self._durable: bool | None = None
        self._path = path
        real = path.resolve()  # also after a change of the working folder
        self._log = real.with_name(f"{real.name}-wal")
        self._ids = {real: _identity(real)}
        self._schema: int | None = None

    def execute(self, sql: str, values: Sequence[object] = ()) -> Cursor:
        return self._db.execute(sql, values)

    def stream(self, sql: str, values: Sequence[object] = ()) -> Iterator[Any]:
        return self._db.execute(sql, values)

    def snapshot(self) -> None:
        self._db.execute("BEGIN")

    def begin(self, *, durable: bool) -> None:
        if durable is not self._durable:
            self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        if missing := self.missing():
            raise StoreDamaged(missing)
        self._db.execute("BEGIN IMMEDIATE")
        if self._schema is not None and self._schema != self._schema_version():
            raise StoreDamaged(f"{self._path}: another program changed the tables while quantd runs; restore a backup")

    def commit(self) -> None:
        self._schema = self._schema_version()  # with what this transaction changed
        self._db.execute("COMMIT")
        self._ids.setdefault(self._log, _identity(self._log))

    def missing(self) -> str:
        """Why what is committed here would be lost; empty when the open file is still the one of that name."""
        gone = next((str(path) for path, known in list(self._ids.items()) if _identity(path) != known), "")
        return f"{gone} was deleted or replaced while quantd runs; restore a backup" if gone else ""

    def _schema_version(self) -> int:
        (version,) = self._db.execute("PRAGMA schema_version").fetchone()
        return int(version)

    def rollback(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def close(self) -> None:
        self._db.close()


SERVER_GONE: Final = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""Seconds, and milliseconds for the last, after which a server across a network that says nothing has failed: libpq's
own defaults wait for hours. What the URL says goes first."""


def _identity(path: Path) -> tuple[int, int]:
    """Device and inode; zeros where there is no file."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


class UrlDriver:
    """A database by its SQLAlchemy URL: PostgreSQL. Whether commits survive a loss of power is its server's setting."""

    def __init__(self, url: str) -> None:
        engine = engine_at(url)
        self._mark = {"qmark": "?", "format": "%s", "pyformat": "%s"}[engine.dialect.paramstyle]
        lent = engine.raw_connection()
        self._db: Any = lent.driver_connection
        lent.detach()  # a pool would log that a broken connection cannot be given back; the store says so itself
        self.dialect = engine.dialect.name

    def execute(self, sql: str, values: Sequence[object] = ()) -> Cursor:
        cursor = self._db.cursor()
        cursor.execute(sql.replace("?", self._mark), tuple(values))
        return cursor

    def stream(self, sql: str, values: Sequence[object] = ()) -> Iterator[Any]:
        cursor = self._db.cursor(name="rows")  # kept by the server, which sends some rows at a time
        try:
            cursor.execute(sql.replace("?", self._mark), tuple(values))
            yield from cursor
        finally:
            cursor.close()

    def begin(self, *, durable: bool) -> None:
        self._db.rollback()
        self.execute(f"SET LOCAL synchronous_commit = {'on' if durable else 'off'}")

    def snapshot(self) -> None:
        self._db.rollback()
        self.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def missing(self) -> str:
        return ""  # the server's affair

    def commit(self) -> None:
        self._db.commit()

    def rollback(self) -> None:
        self._db.rollback()

    def close(self) -> None:
        self._db.close()


@lru_cache(maxsize=8)
def engine_at(url: str) -> "Engine":
    """SQLAlchemy's way to a database by URL, without a pool: made once, as it asks a new server who it is. Raises StoreFailing for a URL that is none."""
    from sqlalchemy import create_engine, make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    from sqlalchemy.pool import NullPool

    try:
        found = make_url(url)
        if found.get_backend_name() != "postgresql":
            raise ArgumentError(f"{found.get_backend_name()} is no database that quantd can keep a store in")
        limits = {name: value for name, value in SERVER_GONE.items() if name not in found.query}
        return create_engine(found, poolclass=NullPool, connect_args=limits)
    except (ArgumentError, NoSuchModuleError) as wrong:
        raise StoreFailing(f"[store] url: {wrong}; write postgresql://USER@HOST:5432/DATABASE") from None


def table_names(driver: Asked) -> set[str]:
    """The tables that are there; for PostgreSQL those of the schema that a new table would be made in."""
    if driver.dialect == "sqlite":
        rows = driver.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    else:
        rows = driver.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()").fetchall()
    return {str(row[0]) for row in rows}


def configure(db: Any, *, read_only: bool = False) -> None:
    """Settings every SQLite connection needs, the writer's and the readers'."""
    db.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    db.execute("PRAGMA foreign_keys=ON")
    if not read_only:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA journal_size_limit=67108864")  # give a log that grew back to the disk


def insert(driver: Asked, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Insert rows in as few statements as the driver takes."""
    head = f"INSERT INTO {table} ({', '.join(columns)}) VALUES "
    one = f"({', '.join('?' * len(columns))})"
    start = 0
    for size in (*_STATEMENT_ROWS, 0):
        while len(rows) - start >= max(size, 1):
            count = size or len(rows) - start
            values = list(chain.from_iterable(rows[start : start + count]))
            driver.execute(head + ", ".join([one] * count), values)
            start += count


_FULL = ("SQLITE_FULL", "53100")  # PostgreSQL: disk_full
_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT", "XX001", "XX002")  # data_corrupted, index_corrupted


@contextmanager
def failures(doing: str) -> Iterator[None]:
    """Turn what the driver or the file system raises into the store's own three errors."""
    try:
        yield
    except StoreError:
        raise
    except OSError as wrong:
        if wrong.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull(f"{doing}: {wrong}") from wrong
        raise StoreFailing(f"{doing}: {wrong}") from wrong
    except Exception as raised:
        cause = getattr(raised, "orig", None) or raised  # what SQLAlchemy wraps
        code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None) or ""
        # every driver's errors derive from one called Error (PEP 249); anything else is a bug and stays one
        if not any(kind.__name__ == "Error" for kind in type(cause).__mro__):
            raise
        said = f"{doing}: {' '.join(str(cause).split())} {code}".rstrip()
        if code.startswith(_FULL) or "is full" in said:
            raise StoreFull(f"{doing}: no space left ({cause})") from raised
        if code.startswith(_DAMAGE) or "malformed" in said or "not a database" in said:
            raise StoreDamaged(said) from raised
        raise StoreFailing(said) from raised
