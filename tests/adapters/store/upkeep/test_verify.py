"""The full check: whole stores pass, and each kind of tampering is named with its place."""

import pytest

from quantd.adapters.store.journal.compaction import Keep
from quantd.adapters.store.journal.writer import BadBar, SnapshotOf
from quantd.adapters.store.store_errors import REMEDY
from quantd.adapters.store.upkeep.verify import verify
from quantd.trading.effects import Filled, Valued
from quantd.trading.events import Tick
from quantd.trading.orders import Cause, Reports
from tests.support.store import AGENTS, DAY, START, UNIVERSE, basket, batch, entries, plan

RUN = "7f3k2m1a"


@pytest.fixture
def folder(desk):
    day = entries(120, 3)
    with desk.open() as store:
        fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
        for first in range(1, 121, 30):
            entry_batch = batch(fold, first, day[first - 1 : first + 29], durable=True)
            entry_batch.snapshot = SnapshotOf(first + 29, "1", b"state")
            entry_batch.quarantine = [BadBar(1, "SPY", "nan", "x")]
            store.commit(entry_batch)
    return desk


def tamper(folder, sql: str) -> list[str]:
    assert folder.verify() == []
    folder.sql(sql)
    return folder.verify()


@pytest.mark.quick_cases(8)
@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("UPDATE journal SET ts = ts + 1 WHERE number = 2",
        "journal: row 2 (run 7f3k2m1a, entries 31 to 60) does not match its hash: it was changed"),
        ("DELETE FROM journal WHERE number = 3", "journal: row 3 is missing (next is 4)"),
        ("DELETE FROM journal WHERE number = 4", "the journal ends at row 3"),
        ("UPDATE orders SET filled = filled + 1 WHERE filled = 3", "filled 4, the journal says 3"),
        ("UPDATE orders SET note = 'x' WHERE note = ''", "note 'x', the journal says ''"),
        ("DELETE FROM orders WHERE symbol = 'GLD'", "is missing"),
        ("UPDATE fills SET price_nano = price_nano * 1.5", "price_nano"),
        ("UPDATE fills SET k = 7", "does not come from the journal"),
        ("UPDATE equity SET drawdown = 0.010000000000000002", "the journal says 0.01"),
        ("DELETE FROM alerts", "alerts: the row 7f3k2m1a,"),
        ("UPDATE outbox SET body = '{}'", "outbox: the row 7f3k2m1a,"),
        ("UPDATE snapshots SET seq = seq + 1", "snapshots: the row 7f3k2m1a, 61, 1 does not match its digest"),
        ("UPDATE quarantine SET reason = 'ok'", "quarantine: the row 1, 7f3k2m1a, 1 does not match its digest"),
        ("UPDATE runs SET mode = 'live'", "run 7f3k2m1a does not match its digest"),
        ("CREATE INDEX stray ON orders (symbol)", "schema: stray is not as quantd makes it"),
        ("UPDATE meta SET value = 'x' WHERE name = 'outbox_dropped'", "meta: unexpected facts"),
    ],
)  # fmt: skip
def test_tampering_is_named_with_its_place(folder, sql, says):
    findings = tamper(folder, sql)
    if folder.postgres and "CREATE INDEX" in sql:  # indexes are an administrator's affair there
        assert findings == []
        return
    assert any(says in finding for finding in findings), findings
    # the check of a start that covers the whole journal finds the same
    assert folder.verify(1_000) == findings


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("newest", [1, 31, 61, 1_000])
def test_a_start_finds_what_was_done_to_any_row_of_the_journal_and_to_what_the_newest_entries_made(folder, newest):
    assert folder.verify(newest) == []
    folder.sql("UPDATE fills SET price_nano = price_nano + 1 WHERE seq = (SELECT MAX(seq) FROM fills)")
    assert [f for f in folder.verify(newest) if "price_nano" in f]
    folder.sql("UPDATE fills SET price_nano = price_nano - 1 WHERE seq = (SELECT MAX(seq) FROM fills)")
    assert folder.verify(newest) == []
    folder.sql("UPDATE fills SET price_nano = price_nano + 1 WHERE seq = (SELECT MIN(seq) FROM fills)")
    assert bool(folder.verify(newest)) == (newest == 1_000), "older read models are the doctor's"
    if not folder.postgres:
        folder.sql("CREATE TRIGGER foreign_one AFTER INSERT ON fills BEGIN SELECT 1; END")
        assert [f for f in folder.verify(newest) if "foreign_one" in f]
        folder.sql("DROP TRIGGER foreign_one")
    folder.sql("UPDATE journal SET blob = ? WHERE number = 1", (bytes(9),))
    assert folder.verify(newest)[0] == (
        "journal: row 1 (run 7f3k2m1a, entries 1 to 30) does not match its hash: it was changed"
    )


def test_a_start_covers_everything_since_the_last_snapshot_however_few_entries_it_is_asked_for(folder):
    folder.sql("DELETE FROM snapshots WHERE seq > 60")
    folder.sql("UPDATE fills SET lots = lots + 1 WHERE seq = (SELECT MIN(seq) FROM fills WHERE seq > 60)")
    assert [f for f in folder.verify(1) if "has lots" in f]


@pytest.mark.long
def test_a_store_is_whole_for_a_start_wherever_its_fold_begins(desk):
    """Baskets that were open there, orders and read models that were let go, archived rows, two runs, other agents."""
    with desk.open() as store:
        for run, seed in (("first000", 5), (RUN, 3)):
            fold = store.begin(run, UNIVERSE, agents=AGENTS)
            day = entries(300, seed)
            for first in range(1, 301, 20):
                entry_batch = batch(fold, first, day[first - 1 : first + 19], durable=True)
                entry_batch.snapshot = SnapshotOf(first + 19, "1", b"state")
                store.commit(entry_batch)
        findings = [desk.verify(newest) for newest in (1, 30, 100, 290, 310, 599, 10_000)]
        store.compact(Keep(journal_days=0.0, orders_days=20, equity_days=20, alerts_days=20))
        assert desk.sql("SELECT COUNT(*) FROM archives") != [(0,)]
        findings += [desk.verify(newest) for newest in (1, 30, 100, 290, 310, 10_000)]
    assert findings == [[]] * 13


@pytest.mark.long
def test_fills_of_an_order_that_was_open_where_the_fold_begins_stay_with_their_order(desk):
    def value(day: int) -> tuple[object, list[object]]:
        at = START + day * DAY
        return Tick(at, sample=True), [Valued(at, 10**11, 10**10, [10**11, 0], 0.9, 0.01)]

    sample = START + DAY
    part = Reports(sample, 0, START + 25 * DAY, [0], [2], [2], [10**9], [0], [Cause.PART_FILL])
    filled = [Filled(sample, 0, START + 25 * DAY, [0], [2], [10**9], [0], [[(0, 2)]])]
    day = [(Tick(sample, sample=True), [plan(sample), basket(sample)]), *map(value, range(2, 25)), (part, filled)]
    day += map(value, range(26, 91))
    with desk.open() as store:
        fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
        for first in range(1, 91, 10):
            entry_batch = batch(fold, first, day[first - 1 : first + 9], durable=True)
            entry_batch.ts = START + (first + 9) * DAY
            entry_batch.snapshot = SnapshotOf(first + 9, "1", b"state")
            store.commit(entry_batch)
        store.compact(Keep(journal_days=1000.0, orders_days=20))
        assert desk.sql("SELECT COUNT(*) FROM fills") == [(1,)]
        assert [desk.verify(newest) for newest in (None, 1_000, 75, 30)] == [[]] * 4


def test_an_empty_file_is_said_to_be_one(tmp_path):
    (tmp_path / "quantd.db").touch()
    assert verify(tmp_path) == [f"{tmp_path}/quantd.db is empty: it has none of quantd's tables. {REMEDY}"]


def test_a_forged_outbox_message_with_a_right_digest_is_still_not_from_the_journal(folder):
    from quantd.adapters.store.journal.chain import row_digest

    row = (RUN, 999, 0, 1, "CRITICAL", "forged", "{}", 0)
    folder.sql("INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, row_digest(*row)))
    row = ("webhook", *row)
    folder.sql("INSERT INTO deliveries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, row_digest(*row)))
    assert folder.verify() == [
        f"{table}: message 7f3k2m1a-999-0 does not come from the journal" for table in ("deliveries", "outbox")
    ]


@pytest.mark.long
def test_agents_renamed_over_a_restart_are_no_difference(folder):
    day = entries(200, 3)
    with folder.open() as store:
        fold = store.begin(RUN, UNIVERSE, agents=("gamma", "delta", "epsilon"))
        store.commit(batch(fold, 121, day[120:160], durable=True))
        assert verify(store.where, store.folder) == []
    with folder.open() as store:
        fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
        store.commit(batch(fold, 161, day[160:], durable=True))
        assert verify(store.where, store.folder) == []
        (run,) = store.runs()
        assert [first for first, _ in run.epochs] == [1, 121, 161]


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("sql", ["DROP TABLE risk", "ALTER TABLE alerts ADD COLUMN stray TEXT"])
def test_tables_that_are_not_as_made_are_named(folder, sql):
    assert any("schema: " in finding for finding in tamper(folder, sql))


def test_a_file_that_is_no_database_is_said_to_be_one_that_is_not(tmp_path):
    (tmp_path / "quantd.db").write_bytes(b"not a database at all" * 400)
    assert any("not a database" in finding for finding in verify(tmp_path))
