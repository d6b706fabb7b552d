"""CREATE statements of the declared tables and their index, for a new store.

The revisions of `quantd.adapters.store.migrations` lead to the same tables, as a test verifies.
"""

from functools import lru_cache
from typing import Final

from sqlalchemy import Column, MetaData, PrimaryKeyConstraint, String, Table
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlmodel import SQLModel

import quantd.adapters.store.tables.table_models  # noqa: F401 - declares the tables
from quantd.adapters.store.tables import revision

VERSIONS: Final = Table(
    revision.VERSIONS,
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""Alembic's dialect_module table, as Alembic creates it."""

NAMES: Final = (*SQLModel.metadata.tables, VERSIONS.name)


@lru_cache
def statements(dialect: str) -> tuple[str, ...]:
    """Return one CREATE statement per table and index, in the dialect "sqlite" or "postgresql"."""
    if dialect == "sqlite":
        from sqlalchemy.dialects import sqlite as dialect_module
    else:  # not needed for SQLite, where it would take a quarter of the time to import
        from sqlalchemy.dialects import postgresql as dialect_module  # type: ignore[no-redef]
    sql_dialect = dialect_module.dialect()
    all_tables = (*SQLModel.metadata.tables.values(), VERSIONS)
    tables = [CreateTable(table).compile(dialect=sql_dialect) for table in all_tables]
    indexes = [CreateIndex(index).compile(dialect=sql_dialect) for table in all_tables for index in table.indexes]
    return tuple(map(str, (*tables, *indexes)))


def facts() -> tuple[str, ...]:
    """Return the INSERT statements for the first rows of a new store's table `meta`."""
    meta = "INSERT INTO meta (name, value) VALUES ('schema', '3'), ('outbox_dropped', '0')"
    return meta, f"INSERT INTO alembic_version (version_num) VALUES ('{revision.REVISION}')"
