"""Older schemas come to the newest with what is in them; newer ones are refused; a new store is as a migrated one."""

import contextlib
import os
import signal
import time

import msgspec
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlmodel import Field, SQLModel

from quantd.adapters.store.journal.writer import SnapshotOf
from quantd.adapters.store.migrations import upgrade
from quantd.adapters.store.migrations.upgrade import engine_of_store, migrate, refuse_other, revision_of, steps_from
from quantd.adapters.store.store_errors import StoreVersion
from quantd.adapters.store.tables.projection import COLUMNS, Projection
from quantd.adapters.store.tables.schema import READABLE, REVISION
from quantd.adapters.store.upkeep.verify import verify
from quantd.trading import codec
from tests.support.store import AGENTS, UNIVERSE, Desk, batch, connect, entries, make_first, write_first

RUN = "7f3k2m1a"
DAY = entries(120, 7)


@pytest.fixture
def first(desk: Desk) -> Desk:
    """A store of the first schema with a run of 90 entries."""
    make_first(desk)
    fold = Projection(RUN, UNIVERSE.symbols, AGENTS)
    batches = [batch(fold, k, DAY[k - 1 : k + 29], durable=True) for k in (1, 31, 61)]
    batches[-1].snapshot = SnapshotOf(90, "1", b"state")
    universe = msgspec.json.encode(UNIVERSE).decode()
    write_first(desk, [(RUN, 0, "paper", universe, msgspec.json.encode([(1, AGENTS)]).decode())], batches)
    return desk


def place(desk: Desk):
    return desk.where if desk.postgres else desk.state / "quantd.db"


def revision(desk: Desk) -> str:
    driver = connect(desk)
    try:
        return revision_of(driver)
    finally:
        driver.close()


def drift(desk: Desk) -> list:
    engine = engine_of_store(place(desk))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return compare_metadata(context, SQLModel.metadata)


@pytest.mark.long
def test_a_migrated_store_and_a_new_one_are_the_declared_tables_with_no_drift(first, tmp_path_factory, request):
    assert drift(first)  # the first schema lacks what came since
    migrate(place(first))
    assert drift(first) == []
    assert revision(first) == REVISION
    folder = tmp_path_factory.mktemp("new")
    new = Desk(folder, folder)
    new.open().close()
    assert drift(new) == []
    if not first.postgres:  # to the letter
        schema = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"
        assert first.sql(schema) == new.sql(schema)
    assert sorted(first.sql("SELECT * FROM meta")) == sorted(new.sql("SELECT * FROM meta"))
    assert first.sql("SELECT * FROM alembic_version") == new.sql("SELECT * FROM alembic_version")


def test_a_new_store_is_made_at_the_newest_of_the_revisions(desk):
    desk.open().close()
    assert drift(desk) == []
    scripts = upgrade._scripts()
    assert scripts.get_current_head() == REVISION == revision(desk)
    assert [step.revision for step in steps_from("0001")] == ["0002", "0003", "0004", "0005", "0006", "0007", "0008"]
    assert all(script.module.ADDS_TABLES_ONLY in (True, False) for script in scripts.walk_revisions())


@pytest.mark.long
def test_a_store_of_the_first_schema_is_checked_as_what_it_is_and_opens_with_all_it_held(first):
    assert revision(first) == "0001"
    assert first.verify() == []
    before = {
        table: sorted(first.sql(f"SELECT * FROM {table}"), key=repr)
        for table in COLUMNS
        if table not in ("risk", "house", "incidents")
    }
    with pytest.raises(StoreVersion, match=r"revision 0001, but this quantd reads .*`quantd upgrade`"):
        first.read_only()
    with first.open() as store:  # tables are only added: by itself
        assert [data for _, data in store.entries(RUN)] == [codec.encode(*entry) for entry in DAY[:90]]
        assert store.latest_snapshot(RUN) == (90, b"state")
        assert {t: sorted(first.sql(f"SELECT * FROM {t}"), key=repr) for t in before} == before
        fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
        store.commit(batch(fold, 91, DAY[90:], durable=True))
        assert verify(store.where, store.folder) == []  # and what a later read model holds was folded from the journal
        assert [point.kind for point in first.reader().risk()].count("plan") == len(first.reader().decisions()) > 20
    assert revision(first) == REVISION


def test_a_store_without_queues_of_sinks_is_read_as_it_is(desk):
    make_first(desk)
    migrate(place(desk), "0003")
    with pytest.raises(StoreVersion, match="revision 0003, but this quantd reads"):
        desk.read_only()
    migrate(place(desk), READABLE)
    assert desk.read_only().runs() == []
    assert revision(desk) == READABLE < REVISION
    assert desk.verify() == []


@pytest.mark.long
def test_a_table_that_an_earlier_version_added_without_filling_it_is_filled(first):
    migrate(place(first), "0002")
    first.sql("DROP TABLE alembic_version")
    first.sql("DELETE FROM risk WHERE seq < 40")
    assert any("risk: the row" in text for text in first.verify())
    with first.open() as store:
        assert verify(store.where, store.folder) == []


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("risk", [False, True])
def test_a_store_made_before_there_were_revisions_is_known_by_its_tables(desk, risk):
    make_first(desk, risk=risk)
    assert revision(desk) == ("0002" if risk else "0001")
    assert desk.verify() == []
    migrate(place(desk))
    migrate(place(desk))  # and again: nothing to do
    assert revision(desk) == REVISION
    assert desk.verify() == []


def test_a_store_of_a_newer_quantd_is_refused_with_the_remedy(desk):
    desk.open().close()
    desk.sql("UPDATE alembic_version SET version_num = '9999'")
    for attempt in (desk.open, desk.read_only, lambda: steps_from("9999"), lambda: migrate(place(desk))):
        with pytest.raises(
            StoreVersion, match=r"revision 9999, made by a newer quantd.*Install the newer version again"
        ):
            attempt()
    assert any("9999" in text for text in desk.verify())


def test_a_revision_that_changes_what_is_there_waits_for_upgrade(first, monkeypatch):
    steps = [upgrade.Step("0002", "adds", True), upgrade.Step("0003", "changes the ledger", False)]
    monkeypatch.setattr("quantd.adapters.store.handle.steps_from", lambda _: steps)
    with pytest.raises(StoreVersion, match=r"0003 \(changes the ledger\) changes what is in it: run `quantd upgrade`"):
        first.open()
    assert revision(first) == "0001"


@pytest.mark.long
def test_an_upgrade_cut_off_at_any_moment_leaves_the_old_store_or_the_new_one(tmp_path):
    """Killed while the revisions run, ten times; the last attempt is let through."""
    desk = Desk(tmp_path, tmp_path)
    make_first(desk)
    migrate(":memory:")  # what Alembic imports is imported before the fork
    seen = set()
    for kill in range(10):
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                migrate(tmp_path / "quantd.db")
            os._exit(0)
        time.sleep(0.004 * kill)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert revision(desk) in ("0001", REVISION)
        assert desk.verify() == []
        seen.add(revision(desk))
    assert "0001" in seen
    migrate(tmp_path / "quantd.db")
    assert revision(desk) == REVISION
    assert desk.verify() == []
    driver = connect(desk)
    refuse_other(driver)
    driver.close()


def test_a_generated_revision_can_be_run_as_it_is_written(tmp_path):
    """Alembic writes SQLModel's own types by their full name: without their import the revision would not run."""
    from alembic import command

    class Stray(SQLModel, table=True):
        __tablename__ = "stray"
        name: str = Field(primary_key=True)

    try:
        folder = tmp_path / "quantd.db"
        migrate(folder)
        config = upgrade._config()
        config.set_main_option("version_locations", f"{upgrade.FOLDER / 'versions'};{tmp_path}")
        config.set_main_option("path_separator", ";")
        with engine_of_store(folder).begin() as connection:
            config.attributes["connection"] = connection
            command.revision(config, "stray", autogenerate=True, version_path=str(tmp_path), rev_id="0099")
            (written,) = tmp_path.glob("*.py")
            text = written.read_text()
            assert "sqlmodel.sql.sqltypes.AutoString()" in text
            assert "ADDS_TABLES_ONLY = False" in text
            command.upgrade(config, "0099")
        desk = Desk(tmp_path, tmp_path)
        assert desk.sql("SELECT COUNT(*) FROM stray") == [(0,)]
    finally:
        SQLModel.metadata.remove(SQLModel.metadata.tables["stray"])
