"""The store from outside: what goes in comes out, in any batching, over restarts."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.store.errors import StoreDamaged, StoreFailing, StoreLocked
from adapters.store.projection import COLUMNS
from adapters.store.store import Store, read_only
from adapters.store.writing import BadBar, Batch, SnapshotOf
from tests.adapters.store.store_days import AGENTS, START, UNIVERSE, batch, entries
from trading import codec

RUN = "7f3k2m1a"


def fill(store: Store, day: list, cuts: list[int], run: str = RUN) -> None:
    fold = store.begin(run, UNIVERSE, agents=AGENTS)
    first = store.last_seq(run) + 1
    for size in cuts:
        part = day[first - 1 : first - 1 + size]
        if part:
            store.commit(batch(fold, first, part, durable=size % 2 == 0))
            first += len(part)


def models(folder: Path) -> dict[str, list]:
    db = sqlite3.connect(folder / "quantd.db")
    try:
        return {t: db.execute(f"SELECT * FROM {t} ORDER BY 1, 2, 3, 4").fetchall() for t in COLUMNS}
    finally:
        db.close()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), cuts=st.lists(st.integers(1, 40), min_size=1, max_size=12), twice=st.booleans())
def test_the_read_models_do_not_depend_on_how_entries_were_batched_or_when_the_process_restarted(
    tmp_path_factory, seed, cuts, twice
):
    day = entries(sum(cuts), seed)
    one, many = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("many")
    with Store.open(one) as store:
        fill(store, day, [len(day)])
    if twice:
        for size in cuts:
            with Store.open(many) as store:
                fill(store, day, [size])
    else:
        with Store.open(many) as store:
            fill(store, day, cuts)
    with Store.open(many) as store:
        assert [data for _, data in store.entries(RUN)] == [codec.encode(*entry) for entry in day]
        assert store.last_seq(RUN) == len(day)
    assert models(many) == models(one)


def test_entries_are_given_from_the_one_asked_for(tmp_path):
    day = entries(50)
    with Store.open(tmp_path) as store:
        fill(store, day, [20, 20, 10])
        for start in (0, 1, 2, 20, 21, 35, 50, 51):
            assert [seq for seq, _ in store.entries(RUN, start)] == list(range(max(start, 1), 51))


def test_a_second_process_is_refused_by_name_of_the_first(tmp_path):
    with Store.open(tmp_path), pytest.raises(StoreLocked, match=r"process \d+ already uses"):
        Store.open(tmp_path)
    Store.open(tmp_path).close()


def test_entries_that_do_not_follow_are_refused_and_the_right_ones_still_go_in(tmp_path):
    day = entries(30)
    with Store.open(tmp_path) as store:
        fold = store.begin(RUN, UNIVERSE)
        good = batch(fold, 1, day[:10])
        with pytest.raises(StoreFailing, match="entry 1 of run 7f3k2m1a is next, not 11"):
            store.commit(Batch(RUN, 11, good.entries, START, good.rows))
        store.commit(good)
        store.commit(good)  # the same again: a lost answer, not new entries
        assert store.last_seq(RUN) == 10
        with pytest.raises(StoreFailing):
            store.commit(Batch(RUN, 1, good.entries[:5], START, {}))


async def test_the_event_loop_goes_on_while_a_batch_is_written(tmp_path):
    with Store.open(tmp_path) as store:
        fold = store.begin(RUN, UNIVERSE)
        day = entries(200)
        await asyncio.gather(*(store.write(batch(fold, k * 20 + 1, day[k * 20 : k * 20 + 20])) for k in range(10)))
        assert store.last_seq(RUN) == 200


def test_snapshots_come_back_by_version_and_only_the_newest_stay(tmp_path):
    with Store.open(tmp_path) as store:
        fold = store.begin(RUN, UNIVERSE)
        assert store.latest_snapshot(RUN) is None
        day = entries(60)
        for k in range(6):
            made = batch(fold, k * 10 + 1, day[k * 10 : k * 10 + 10])
            made.snapshot = SnapshotOf(k * 10 + 10, "1.0" if k < 4 else "1.1", b"state %d" % k)
            store.commit(made)
        assert store.latest_snapshot(RUN) == (60, b"state 5")
        assert store.latest_snapshot(RUN, "1.0") == (40, b"state 3")
        assert store.latest_snapshot(RUN, "0.9") is None
        store.put_snapshot(RUN, 60, "1.1", b"again")
        assert store.latest_snapshot(RUN) == (60, b"again")
    db = sqlite3.connect(tmp_path / "quantd.db")
    assert db.execute("SELECT COUNT(*) FROM snapshots").fetchone() == (3,)


def test_a_snapshot_that_was_changed_is_refused(tmp_path):
    with Store.open(tmp_path) as store:
        store.put_snapshot(RUN, 5, "1", b"true")
        db = sqlite3.connect(tmp_path / "quantd.db")
        db.execute("UPDATE snapshots SET data = ?", (b"fals",))
        db.commit()
        with pytest.raises(StoreDamaged, match="after entry 5 was changed"):
            store.latest_snapshot(RUN)


def test_bad_bars_are_kept_with_their_reason_even_without_entries(tmp_path):
    with Store.open(tmp_path) as store:
        store.begin(RUN, UNIVERSE)
        store.commit(Batch(RUN, 1, [], START, quarantine=[BadBar(START, "SPY", "nan", "open=nan")]))
        store.commit(Batch(RUN, 1, [], START, quarantine=[BadBar(START, "TLT", "spike", "close=9e9")]))
    db = sqlite3.connect(tmp_path / "quantd.db")
    rows = db.execute("SELECT number, symbol, reason FROM quarantine").fetchall()
    assert rows == [(1, "SPY", "nan"), (2, "TLT", "spike")]


def test_runs_are_listed_and_an_ended_one_cannot_be_continued(tmp_path):
    with Store.open(tmp_path) as store:
        assert store.current_run() is None
        fill(store, entries(10), [10])
        store.finish(RUN, START, "fresh")
        with pytest.raises(StoreFailing, match="has ended"):
            store.begin(RUN, UNIVERSE)
        store.begin("second00", UNIVERSE, agents=("gamma",))
        assert [(r.run, r.ended, r.agents) for r in store.runs()] == [
            (RUN, "fresh", AGENTS),
            ("second00", "", ("gamma",)),
        ]
        assert store.current_run() == "second00"
        fill(store, entries(10), [5, 5], "second00")
        assert len(list(store.entries("second00"))) == 10


def test_a_reader_sees_committed_batches_while_the_writer_is_at_work(tmp_path):
    day = entries(100)
    with Store.open(tmp_path) as store:
        fold = store.begin(RUN, UNIVERSE)
        other = read_only(tmp_path)
        for k in range(10):
            store.commit(batch(fold, k * 10 + 1, day[k * 10 : k * 10 + 10]))
            walk = other.entries(RUN)
            next(walk)
            assert other.last_seq(RUN) == k * 10 + 10
            walk.close()
    assert read_only(tmp_path).last_seq(RUN) == 100
    with pytest.raises(StoreFailing, match="there is no store here"):
        read_only(tmp_path / "elsewhere")


def test_a_changed_journal_row_is_found_when_it_is_read(tmp_path):
    with Store.open(tmp_path) as store:
        fill(store, entries(30), [10, 10, 10])
    db = sqlite3.connect(tmp_path / "quantd.db")
    db.execute("UPDATE journal SET ts = ts + 1 WHERE number = 2")
    db.commit()
    with pytest.raises(StoreDamaged, match=r"row 2 .* was changed"):
        list(read_only(tmp_path).entries(RUN))
    db.execute("DELETE FROM journal WHERE number = 2")
    db.commit()
    with pytest.raises(StoreDamaged, match=r"entries 11 to 20 of run .* are missing"):
        list(read_only(tmp_path).entries(RUN))


@pytest.mark.parametrize("lost", ["the last row", "the file", "the head", "the row of the head"])
def test_a_journal_shorter_than_its_head_is_not_opened(tmp_path, lost):
    with Store.open(tmp_path) as store:
        fill(store, entries(20), [10, 10])
    db = sqlite3.connect(tmp_path / "quantd.db")
    if lost == "the last row":
        db.execute("DELETE FROM journal WHERE number = 2")
    elif lost == "the row of the head":
        db.execute("UPDATE journal SET hash = ? WHERE number = 2", (bytes(32),))
    elif lost == "the head":
        (tmp_path / "journal.head").unlink()
    db.commit()
    db.close()
    if lost == "the file":
        (tmp_path / "quantd.db").unlink()
    with pytest.raises(StoreDamaged, match=r"journal\.head"):
        Store.open(tmp_path)
    Path(tmp_path / "lock").unlink()  # and the folder is free again: nothing was left locked


def test_a_store_of_another_schema_is_refused(tmp_path):
    Store.open(tmp_path).close()
    db = sqlite3.connect(tmp_path / "quantd.db")
    db.execute("UPDATE meta SET value = '2' WHERE name = 'schema'")
    db.commit()
    with pytest.raises(StoreFailing, match="schema 2"):
        Store.open(tmp_path)


def test_a_store_made_before_risk_was_recorded_gets_its_table_and_goes_on(tmp_path):
    day = entries(60, 5)
    with Store.open(tmp_path) as store:
        fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
        store.commit(batch(fold, 1, day[:20], durable=True))
    with closing(sqlite3.connect(tmp_path / "quantd.db")) as db:
        db.execute("DROP TABLE risk")
        db.commit()
    with Store.open(tmp_path) as store:
        fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
        store.commit(batch(fold, 21, day[20:], durable=True))
        tables = [text for text in store.verify() if "schema" in text]
        assert tables == []
