"""Alembic's entry point: runs the revisions through the connection of the caller (`connection_of_caller`), or with
`-x url=URL` on the command line."""

from alembic import context
from sqlalchemy import Connection
from sqlmodel import SQLModel

import quantd.adapters.store.tables.table_models  # noqa: F401 - declares the tables
from quantd.adapters.store.migrations.upgrade import engine_of_store


def migrate(connection: Connection) -> None:
    """Run the requested revisions. SQLite cannot alter a table: Alembic builds a new table beside the old one."""
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        render_as_batch=True,
        compare_type=True,
        transactional_ddl=True,  # SQLite creates and drops tables within transactions; Alembic assumes the opposite
    )
    with context.begin_transaction():
        context.run_migrations()


connection_of_caller = context.config.attributes.get("connection")
if connection_of_caller is not None:
    migrate(connection_of_caller)
else:
    where = context.get_x_argument(as_dictionary=True).get("url", "state")
    with engine_of_store(where).begin() as new_connection:
        migrate(new_connection)
