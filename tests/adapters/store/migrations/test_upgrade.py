"""The revisions lead to the tables of a new store, and a store of another version is refused with the remedy."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlmodel import SQLModel

from quantd.adapters.store.migrations.upgrade import config, engine_of_store, migrate
from quantd.adapters.store.store_errors import StoreMismatch
from quantd.adapters.store.tables.revision import REVISION
from tests.support.store import Desk


def place(desk: Desk):
    return desk.where if desk.postgres else desk.state / "quantd.db"


def drift(desk: Desk) -> list:
    engine = engine_of_store(place(desk))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return compare_metadata(context, SQLModel.metadata)


def test_a_migrated_store_and_a_new_one_are_the_declared_tables_with_no_drift(desk, tmp_path_factory):
    migrate(place(desk))
    migrate(place(desk))  # and again: nothing to do
    assert drift(desk) == []
    folder = tmp_path_factory.mktemp("new")
    new = Desk(folder, folder)
    new.open().close()
    assert drift(new) == []
    if not desk.postgres:  # to the letter
        schema = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"
        assert desk.sql(schema) == new.sql(schema)
    assert sorted(desk.sql("SELECT * FROM meta")) == sorted(new.sql("SELECT * FROM meta"))
    assert desk.sql("SELECT * FROM alembic_version") == new.sql("SELECT * FROM alembic_version") == [(REVISION,)]
    assert ScriptDirectory.from_config(config()).get_current_head() == REVISION


def test_a_database_without_tables_has_no_store_to_read(postgres):
    with pytest.raises(StoreMismatch, match="no store in this database; `quantd run` makes one"):
        postgres.read_only()
