"""CREATE TABLE statements of the store, from the declared tables."""

from functools import lru_cache

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateTable
from sqlmodel import SQLModel

from adapters.store import tables

TABLES = (
    tables.Meta, tables.Run, tables.Journal, tables.SnapshotRow, tables.OrderRow, tables.FillRow, tables.CrossRow,
    tables.DecisionRow, tables.EquityRow, tables.AlertRow, tables.BookingRow, tables.SwitchRow, tables.OutboxRow,
    tables.QuarantineRow, tables.RiskRow,
)  # fmt: skip


LATER = (tables.RiskRow,)
"""Tables that a store of this schema may lack, since it was made before they came."""


@lru_cache
def statements(dialect: str) -> tuple[str, ...]:
    """One CREATE TABLE per table, in the words of "sqlite" or "postgresql"."""
    return tuple(statement_of(table, dialect) for table in TABLES)


def statement_of(table: type[SQLModel], dialect: str) -> str:
    words = sqlite.dialect() if dialect == "sqlite" else postgresql.dialect()  # type: ignore[no-untyped-call]
    return str(CreateTable(SQLModel.metadata.tables[str(table.__tablename__)]).compile(dialect=words))
