"""The revisions lead to the tables of a new store, and a store of another version is refused with the remedy."""

import re

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlmodel import SQLModel

from quantd.adapters.store.migrations.upgrade import config, engine_of_store, migrate
from quantd.adapters.store.store_errors import StoreFailing, StoreVersion
from quantd.adapters.store.tables.schema import REVISION
from quantd.adapters.store.upkeep.backup import backup
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


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ("UPDATE alembic_version SET version_num = '9999'", r"9999, made by a newer quantd.*Install the newer version"),
        ("UPDATE alembic_version SET version_num = '0007'", r"0007, made before the first.*new run in another folder"),
        ("DROP TABLE alembic_version", r"0000, made before the first.*new run in another folder"),
    ],
)
def test_a_store_of_another_version_is_refused_with_the_remedy_by_each_use(desk, change, remedy):
    desk.open().close()
    desk.sql(change)
    for attempt in (
        desk.open,
        desk.read_only,
        lambda: backup(desk.where, desk.state, desk.state / "kept.tar"),
    ):
        with pytest.raises(StoreVersion, match=remedy):
            attempt()
    (fault,) = desk.verify()
    assert re.search(remedy, fault)


def test_a_database_without_tables_has_no_store_to_read(postgres):
    with pytest.raises(StoreFailing, match="no store in this database; `quantd run` makes one"):
        postgres.read_only()
