"""Upgrades an older schema to the newest, by the revisions of `quantd.adapters.store.migrations`; refuses a newer
schema.

Alembic takes a second to import, and is imported only for stores of an older revision.

What can go wrong. An upgrade is interrupted, or two processes make tables in one database at once. A new read model
(derived table) stays empty, although the journal has the entries for it. An older program writes to a store whose
revision it does not know.

What the order of the steps guarantees. A newer revision is refused before anything is changed. In PostgreSQL an
advisory lock is the first statement, so that a second process sees the tables of the first. The tables are listed
before the upgrade, and those that it added are filled from the journal in the same transaction, so that an interruption
leaves the old store. SQLAlchemy controls that transaction: SQLite's own mode leaves changes of tables outside of it.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool, StaticPool

from quantd.adapters.store.driver import Driver, Queries, configure, engine_at, table_names
from quantd.adapters.store.migrations.refill import refill
from quantd.adapters.store.store_errors import StoreVersion
from quantd.adapters.store.tables.projection import COLUMNS
from quantd.adapters.store.tables.schema import READABLE, REVISION, VERSIONS, facts, statements

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

UNVERSIONED: Final = {False: "0001", True: "0002"}
"""Revision of a store without a recorded one, by whether it has the table `risk`. Such stores predate revisions."""

ONE_AT_A_TIME: Final = 0x7175616E7464
"""Key of the advisory lock under which PostgreSQL's tables are created or changed."""

FOLDER: Final = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Step:
    """One revision of the schema that a store lacks."""

    revision: str
    text: str
    adds_tables_only: bool


def revision_of(driver: Queries) -> str:
    """Return the revision of a store; empty without tables."""
    tables = table_names(driver)
    if VERSIONS.name in tables:
        row = driver.execute("SELECT version_num FROM alembic_version").fetchone()
        return "" if row is None else str(row[0])
    return UNVERSIONED["risk" in tables] if "meta" in tables else ""


def refuse_newer(revision: str) -> None:
    """Raise StoreVersion for a schema revision that this version of quantd does not know."""
    if revision > REVISION:
        raise StoreVersion(
            f"the store is of revision {revision}, made by a newer quantd; this one knows revisions up to {REVISION}."
            " Install the newer version again, or restore the backup that `quantd upgrade` made (docs/operate/store.md)"
        )


def refuse_other(driver: Driver) -> None:
    """Raise StoreVersion unless this version of quantd can read the store's schema revision."""
    revision = revision_of(driver)
    refuse_newer(revision)
    if revision < READABLE:
        raise StoreVersion(
            f"the store is of revision {revision or 'none'}, but this quantd reads {REVISION}: `quantd upgrade` brings "
            "it there, with a backup first"
        )


def steps_from(revision: str) -> list[Step]:
    """Return the revisions between `revision` and the newest, oldest first. Raises StoreVersion if `revision` is
    unknown or newer."""
    refuse_newer(revision)
    if revision == REVISION:
        return []
    steps = [
        Step(script.revision, (script.doc or "").strip(), bool(getattr(script.module, "ADDS_TABLES_ONLY", False)))
        for script in _scripts().walk_revisions()
    ]
    return [step for step in reversed(steps) if step.revision > revision]


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
            migrate_through(connection, to)
    finally:
        engine.dispose()


def migrate_through(connection: Connection, to: str = REVISION) -> None:
    """Migrate a store in the transaction of `connection`. Read models (derived tables) that the migration adds are
    filled from the journal."""
    from alembic import command

    config = _config()
    config.attributes["connection"] = connection
    driver = _DriverOf(connection)
    # before the upgrade: what it adds is empty, and is filled from the journal below
    tables_before = table_names(driver)
    revision = revision_of(driver)
    refuse_newer(revision)
    if revision and VERSIONS.name not in tables_before:
        command.stamp(config, revision)  # otherwise Alembic would create the first tables again
    command.upgrade(config, to)
    added_tables = (table_names(driver) - tables_before) & COLUMNS.keys()
    if revision and VERSIONS.name not in tables_before and "risk" in tables_before:
        # An earlier quantd added this table without filling it from the existing journal.
        driver.execute("DELETE FROM risk")
        added_tables.add("risk")
    if revision and added_tables:
        refill(driver, sorted(added_tables))


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
            migrate_through(connection, revision)
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


def _config() -> "Config":
    from alembic.config import Config

    config = Config(stdout=StringIO())
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return config


def _scripts() -> "ScriptDirectory":
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config())


class _DriverOf:
    """Gives a SQLAlchemy connection the query methods of a Driver."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.dialect = connection.dialect.name
        self._mark = "?" if self.dialect == "sqlite" else "%s"

    def execute(self, sql: str, values: Sequence[object] = ()) -> Any:
        return self._connection.exec_driver_sql(sql.replace("?", self._mark), tuple(values))
