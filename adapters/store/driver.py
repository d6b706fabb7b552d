"""Database connections for SQLite and PostgreSQL, and the statements in which the two differ.

SQLite is the default and the target of the fault tests. PostgreSQL runs the same SQL, which is deliberately portable.
"""

import errno
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from quantd.adapters.store.store_errors import StoreDamaged, StoreError, StoreFailing, StoreFull, StoreMismatch
from quantd.extras import lack
from quantd.regular_file import check_file
from quantd.trading.exit_codes import PackageMissing

if TYPE_CHECKING:
    from sqlalchemy import Engine

BUSY_MS: Final = 5_000
_STATEMENT_ROWS: Final = (512, 64)
"""Rows of one INSERT statement: statements of 512 rows, then of 64, then one with the remaining rows.

The driver releases the interpreter lock once per statement. With one row per statement, the writer waits up to 5 ms for
each row while another thread computes (measured 1,050 us a row; 2 us with 512).
"""


class Queries(Protocol):
    """Executes SQL statements."""

    @property
    def dialect(self) -> str:
        """ "sqlite" or "postgresql"."""

    def execute(self, sql: str, values: Sequence[object] = (), /) -> Any:
        """Run one statement; `?` marks a value. Returns the DBAPI cursor."""


class SqliteDriver:
    """SQLite in WAL mode. A `durable` transaction syncs the log to disk before `commit` returns."""

    dialect: Final = "sqlite"

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open the database at `path`, which must exist. Its files must be regular files.

        The files are the database and those that SQLite puts beside it.
        """
        for end in ("", "-wal", "-shm", "-journal"):
            check_file(path.with_name(f"{path.name}{end}"))
        uri = path.resolve().as_uri() + ("?mode=ro" if read_only else "?mode=rw")
        self._db = sqlite3.connect(uri, uri=True, isolation_level=None, cached_statements=256, timeout=BUSY_MS / 1000)
        configure(self._db, read_only=read_only)
        self._durable: bool | None = None  # the setting of `PRAGMA synchronous`; None before the first transaction
        self._path = path
        real = path.resolve()  # also valid after a change of the working folder
        self._log = real.with_name(f"{real.name}-wal")
        self._ids = {real: _identity(real)}  # file -> its device and inode when it was opened
        self._schema: int | None = None  # version of the schema at the last commit

    def execute(self, sql: str, values: Sequence[object] = ()) -> Any:
        return self._db.execute(sql, values)

    def stream(self, sql: str, values: Sequence[object] = ()) -> Iterator[Any]:
        """Iterate over the rows of a query that does not fit memory."""
        return self._db.execute(sql, values)

    def snapshot(self) -> None:
        """Begin a read-only transaction: until it ends, every query reads the database as of one instant."""
        self._db.execute("BEGIN")

    def begin(self, *, durable: bool) -> None:
        """Begin a write transaction; a `durable` one syncs the log at its commit. Raises StoreDamaged if a file of the
        database was replaced, or if another program changed the tables."""
        if durable is not self._durable:
            self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        if missing := self.missing():
            raise StoreDamaged(missing)
        self._db.execute("BEGIN IMMEDIATE")
        if self._schema is not None and self._schema != self._schema_version():
            raise StoreDamaged(f"{self._path}: another program changed the tables while quantd runs")

    def commit(self) -> None:
        """Commit the transaction, and record the schema version with which the next `begin` compares."""
        self._schema = self._schema_version()  # includes the changes of this transaction
        self._db.execute("COMMIT")
        self._ids.setdefault(self._log, _identity(self._log))

    def missing(self) -> str:
        """Return the reason why commits would be lost, such as a deleted file; empty text if none. Any thread may
        call it."""
        missing_path = next(
            (str(path) for path, identity in list(self._ids.items()) if _identity(path) != identity), ""
        )
        return f"{missing_path} was deleted or replaced while quantd runs; restore a backup" if missing_path else ""

    def _schema_version(self) -> int:
        (version,) = self._db.execute("PRAGMA schema_version").fetchone()
        return int(version)

    def rollback(self) -> None:
        """Roll back an open transaction. Raises when the connection is no longer usable."""
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection; an open transaction is rolled back."""
        self._db.close()


SERVER_GONE: Final = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""Timeouts after which an unresponsive server counts as failed, in seconds (the last in milliseconds).

The defaults of libpq wait for hours. Settings in the URL take precedence.
"""


def _identity(path: Path) -> tuple[int, int]:
    """Return device and inode; zeros without a file."""
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_dev, stat.st_ino


class UrlDriver:
    """PostgreSQL, connected by a SQLAlchemy URL. The server's settings determine whether commits survive a power
    loss."""

    def __init__(self, url: str) -> None:
        engine = engine_at(url)
        # the driver's placeholder for a value
        self._mark = {"qmark": "?", "format": "%s", "pyformat": "%s"}[engine.dialect.paramstyle]
        pooled = engine.raw_connection()
        self._db = db = cast(Any, pooled.driver_connection)
        pooled.detach()  # a pool would log that it cannot return a broken connection; the store reports that itself
        self.commit, self.rollback, self.close = db.commit, db.rollback, db.close
        self.dialect = engine.dialect.name

    def execute(self, sql: str, values: Sequence[object] = ()) -> Any:
        cursor = self._db.cursor()
        cursor.execute(sql.replace("?", self._mark), tuple(values))
        return cursor

    def stream(self, sql: str, values: Sequence[object] = ()) -> Iterator[Any]:
        """Iterate over the rows of a query that does not fit memory, by a cursor in the server."""
        cursor = self._db.cursor(name="rows")  # a server-side cursor, which sends some rows at a time
        try:
            cursor.execute(sql.replace("?", self._mark), tuple(values))
            yield from cursor
        finally:
            cursor.close()

    def begin(self, *, durable: bool) -> None:
        """Begin a write transaction; a commit waits for the server's disk only if it is `durable`."""
        self._db.rollback()  # ends the transaction that an earlier query opened
        self.execute(f"SET LOCAL synchronous_commit = {'on' if durable else 'off'}")

    def snapshot(self) -> None:
        """Begin a read-only transaction: until it ends, every query reads the database as of one instant."""
        self._db.rollback()  # PostgreSQL accepts the isolation level only as the first statement of a transaction
        self.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def missing(self) -> str:
        """Return empty text: the files belong to the server, and this process cannot check them."""
        return ""  # the server is responsible for its files


Driver = SqliteDriver | UrlDriver
"""One open connection, used by one thread."""


@lru_cache(maxsize=8)
def engine_at(url: str) -> "Engine":
    """Return a SQLAlchemy engine for a URL, without a pool.

    The engine is cached, because a new engine queries the server's version. Raises StoreFailing for an invalid URL, and
    PackageMissing without the driver.
    """
    from sqlalchemy import create_engine, make_url  # SQLite does without it, whose import takes half a status's time
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    from sqlalchemy.pool import NullPool

    try:
        server_url = make_url(url)
        if server_url.get_backend_name() != "postgresql":
            raise ArgumentError(f"{server_url.get_backend_name()} is no database that quantd can keep a store in")
        limits = {name: value for name, value in SERVER_GONE.items() if name not in server_url.query}
        return create_engine(server_url, poolclass=NullPool, connect_args=limits)
    except ModuleNotFoundError:
        raise PackageMissing(lack("[store] url", "postgres", "psycopg")) from None
    except (ArgumentError, NoSuchModuleError) as wrong:
        raise StoreMismatch(f"[store] url: {wrong}; write postgresql://USER@HOST:5432/DATABASE") from None


def table_names(driver: Queries) -> set[str]:
    """Return the existing table names; for PostgreSQL those of the schema in which new tables are created."""
    sql = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
    if driver.dialect == "sqlite":
        sql = "SELECT name FROM sqlite_schema WHERE type = 'table'"
    return {str(name) for (name,) in driver.execute(sql).fetchall()}


def configure(db: Any, *, read_only: bool = False) -> None:
    """Apply the settings that every SQLite connection needs, the writer's and the readers'."""
    db.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    db.execute("PRAGMA foreign_keys=ON")
    if not read_only:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA journal_size_limit=67108864")  # return the space of a grown log to the disk


def insert(driver: Queries, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    head = f"INSERT INTO {table} ({', '.join(columns)}) VALUES "
    row_marks = f"({', '.join('?' * len(columns))})"
    start = 0
    for size in (*_STATEMENT_ROWS, 0):  # 0: one statement with all remaining rows
        while len(rows) - start >= max(size, 1):
            count = size or len(rows) - start
            driver.execute(
                head + ", ".join([row_marks] * count), list(chain.from_iterable(rows[start : start + count]))
            )
            start += count


_FULL = ("SQLITE_FULL", "53100")  # PostgreSQL: disk_full
_DAMAGE_WORDS = ("malformed", "not a database", "no such table")
_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT", "XX001", "XX002")  # data_corrupted, index_corrupted


@contextmanager
def failures(doing: str) -> Iterator[None]:
    """A context manager that converts errors of the driver or the file system into the store's error types.

    `doing` names the operation and begins each message. Raises StoreFull for a full disk, StoreDamaged for damaged
    data, and StoreFailing for any other error of the driver or the file system.
    """
    try:
        yield
    except StoreError:
        raise
    except OSError as wrong:
        if wrong.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull(f"{doing}: {wrong}") from wrong
        if wrong.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise StoreFailing(
                f"{doing}: {str(wrong.strerror).lower()}: {wrong.filename}. Name a folder that this user can "
                "write, with --state FOLDER"
            ) from wrong
        raise StoreFailing(f"{doing}: {wrong}") from wrong
    except Exception as raised:
        cause = getattr(raised, "orig", None) or raised  # the error that SQLAlchemy wraps
        code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None) or ""
        # Errors of every driver derive from a class named Error (PEP 249). Anything else is a bug and is re-raised.
        if not any(kind.__name__ == "Error" for kind in type(cause).__mro__):
            raise
        message = f"{doing}: {' '.join(str(cause).split())} {code}".rstrip()
        if code.startswith(_FULL) or "is full" in message:
            raise StoreFull(f"{doing}: no space left ({cause})") from raised
        if code.startswith(_DAMAGE) or any(words in message for words in _DAMAGE_WORDS):
            raise StoreDamaged(message) from raised
        raise StoreFailing(message) from raised
