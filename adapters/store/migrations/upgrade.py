"""Upgrades an older schema to the newest, by the revisions of `quantd.adapters.store.migrations`.

Alembic takes a second to import, and is imported only for stores of an older revision.

What can go wrong. An upgrade is interrupted, or two processes make tables in one database at once. An older program
writes to a store whose revision it does not know.

What the order of the steps guarantees. Another version's revision is refused before anything is changed. In PostgreSQL
an advisory lock is the first statement, so that a second process sees the tables of the first. All steps are one
transaction, so that an interruption leaves the old store. SQLAlchemy controls that transaction: SQLite's own mode
leaves changes of tables outside of it.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool, StaticPool

from quantd.adapters.store.driver import Driver, configure, engine_at
from quantd.adapters.store.tables.revision import REVISION, refuse_unknown, revision_of
from quantd.adapters.store.tables.schema import facts, statements

if TYPE_CHECKING:
    from alembic.config import Config

ONE_AT_A_TIME: Final = 0x7175616E7464
"""Key of the advisory lock under which PostgreSQL's tables are created or changed."""

FOLDER: Final = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Step:
    """One revision of the schema that a store lacks."""

    revision: str
    text: str


def steps_from(revision: str) -> list[Step]:
    """Return the revisions between `revision` and the newest, oldest first. Raises StoreVersion if `revision` is
    unknown."""
    refuse_unknown(revision)
    if revision == REVISION:
        return []
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(config()).iterate_revisions(REVISION, revision)
    return [Step(script.revision, (script.doc or "").strip()) for script in scripts][::-1]


def make(driver: Driver) -> None:
    """Create all tables of a new store, and the first rows of its table `meta`, in one transaction."""
    driver.begin(durable=True)
    try:
        if driver.dialect == "postgresql":
            driver.execute(f"SELECT pg_advisory_xact_lock({ONE_AT_A_TIME})")
        if not revision_of(driver):  # under the lock: another process may have made the tables
            for statement in (*statements(driver.dialect), *facts()):
                driver.execute(statement)
    except BaseException:
        driver.rollback()
        raise
    driver.commit()


def migrate(where: str | Path, to: str = REVISION) -> None:
    """Migrate a store (file or URL) to a revision in one transaction; an interruption leaves the old schema."""
    engine = engine_of_store(where)
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ONE_AT_A_TIME})")
            _migrate_through(connection, to)
    finally:
        engine.dispose()


def _migrate_through(connection: Connection, to: str) -> None:
    from alembic import command

    settings = config()
    settings.attributes["connection"] = connection
    command.upgrade(settings, to)


def sqlite_schema_at(revision: str) -> set[tuple[Any, ...]]:
    """Return (type, name, table, SQL) of everything in a SQLite store created at a revision."""
    if revision == REVISION:
        with closing(sqlite3.connect(":memory:")) as db:
            for statement in statements("sqlite"):
                db.execute(statement)
            return set(db.execute(_SCHEMA))
    engine = engine_of_store(":memory:")
    try:
        with engine.begin() as connection:
            _migrate_through(connection, revision)
            return {tuple(row) for row in connection.exec_driver_sql(_SCHEMA)}
    finally:
        engine.dispose()


_SCHEMA: Final = "SELECT type, name, tbl_name, sql FROM sqlite_schema"


def engine_of_store(where: str | Path) -> Engine:
    """Return a SQLAlchemy engine for a store, for Alembic.

    With SQLite, SQLAlchemy controls the transactions, because the driver's own mode leaves table changes outside of
    them.
    """
    if "://" in str(where):
        return engine_at(str(where))
    path = Path(where)
    if str(where) != ":memory:" and path.suffix != ".db":
        path = path / "quantd.db"
    engine = create_engine(f"sqlite:///{path}", poolclass=StaticPool if str(where) == ":memory:" else NullPool)

    def configure_connection(db: Any, _: object) -> None:
        db.isolation_level = None
        configure(db)
        db.execute("PRAGMA synchronous=FULL")

    event.listen(engine, "connect", configure_connection)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def config() -> "Config":
    """Return Alembic's settings for the revisions of this package."""
    from alembic.config import Config

    settings = Config(stdout=StringIO())
    settings.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return settings
