"""A store as the first version of quantd made it, with a journal in it: its tables by the first revision, its rows by the
writer of that time (which knew no table `risk`, no leases and no archives)."""

from collections.abc import Sequence

from quantd.adapters.store.driver import Driver, SqliteDriver, UrlDriver
from quantd.adapters.store.journal.chain import GENESIS, Head, HeadFile
from quantd.adapters.store.journal.writer import Batch, Writer
from quantd.adapters.store.migrations.upgrade import migrate
from tests.adapters.store.desk import Desk


def connect(desk: Desk) -> Driver:
    return UrlDriver(str(desk.where)) if desk.postgres else SqliteDriver(desk.state / "quantd.db")


def make_first(desk: Desk, *, risk: bool = False) -> None:
    """Empty tables; with the table `risk` when they are those of the second version."""
    desk.state.mkdir(exist_ok=True)
    if not desk.postgres:
        (desk.state / "quantd.db").touch()
    migrate(desk.where if desk.postgres else desk.state / "quantd.db", "0002" if risk else "0001")
    desk.sql("DROP TABLE alembic_version")  # there were no revisions then
    HeadFile(desk.state / "journal.head").write(Head(0, "", 0, GENESIS))


def write_first(desk: Desk, runs: Sequence[tuple[object, ...]], batches: Sequence[Batch]) -> None:
    """`runs` are (run, ts, mode, universe, epochs) as in the table."""
    writer = Writer(lambda: connect(desk), HeadFile(desk.state / "journal.head"))
    writer.open()
    for *fields, epochs in runs:
        writer.begin(fields, str(epochs))
    for batch in batches:
        for later in ("risk", "house"):
            batch.rows.pop(later, None)
        writer.write(batch)
    writer.close()
