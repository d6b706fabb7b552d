"""The store from outside: what goes in comes out, in any batching, over restarts."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.adapters.store.handle import Store, read_only
from quantd.adapters.store.journal.writer import BadBar, Batch, SnapshotOf
from quantd.adapters.store.store_errors import StoreDamaged, StoreError, StoreFailing, StoreLocked, StoreMismatch
from quantd.adapters.store.tables.projection import COLUMNS
from quantd.trading import codec
from tests.support.examples import examples
from tests.support.store import AGENTS, START, UNIVERSE, Desk, batch, entries, new_schema, put_snapshot

RUN = "7f3k2m1a"


def fill(store: Store, day: list, cuts: list[int], run: str = RUN) -> None:
    fold = store.begin(run, UNIVERSE, agents=AGENTS)
    first = store.last_seq(run) + 1
    for size in cuts:
        part = day[first - 1 : first - 1 + size]
        if part:
            store.commit(batch(fold, first, part, durable=size % 2 == 0))
            first += len(part)


def models(desk: Desk) -> dict[str, list]:
    return {t: sorted(desk.sql(f"SELECT * FROM {t}"), key=repr) for t in COLUMNS}


def batched_alike(one: Desk, many: Desk, seed: int, cuts: list[int], twice: bool) -> None:
    day = entries(sum(cuts), seed)
    with one.open() as store:
        fill(store, day, [len(day)])
    if twice:
        for size in cuts:
            with many.open() as store:
                fill(store, day, [size])
    else:
        with many.open() as store:
            fill(store, day, cuts)
    with many.open() as store:
        assert [data for _, data in store.entries(RUN)] == [codec.encode(*entry) for entry in day]
        assert store.last_seq(RUN) == len(day)
    assert models(many) == models(one)


@pytest.mark.long
@pytest.mark.requirement("R-008")
@settings(max_examples=examples(15), deadline=None)
@given(seed=st.integers(0, 10_000), cuts=st.lists(st.integers(1, 40), min_size=1, max_size=12), twice=st.booleans())
def test_the_read_models_do_not_depend_on_how_entries_were_batched_or_when_the_process_restarted(
    tmp_path_factory, seed, cuts, twice
):
    one, many = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("many")
    batched_alike(Desk(one, one), Desk(many, many), seed, cuts, twice)


@pytest.mark.long
@pytest.mark.parametrize("twice", [False, True])
def test_nor_do_they_in_postgresql(cluster, tmp_path, twice):
    one, many = (Desk(new_schema(cluster), tmp_path / name) for name in ("one", "many"))
    batched_alike(one, many, 11, [1, 17, 40, 2, 9, 33], twice)


def test_a_second_process_is_refused_by_name_of_the_first(desk):
    with desk.open(), pytest.raises(StoreLocked, match=r"process \d+ already uses"):
        desk.open()
    desk.open().close()


def test_entries_that_do_not_follow_are_refused_and_the_right_ones_still_go_in(desk):
    day = entries(30)
    with desk.open() as store:
        fold = store.begin(RUN, UNIVERSE)
        good = batch(fold, 1, day[:10])
        with pytest.raises(StoreFailing, match="entry 1 of run 7f3k2m1a is next, not 11"):
            store.commit(Batch(RUN, 11, good.entries, START, good.rows))
        store.commit(good)
        store.commit(good)  # the same again: a lost answer, not new entries
        assert store.last_seq(RUN) == 10
        with pytest.raises(StoreFailing):
            store.commit(Batch(RUN, 1, good.entries[:5], START, {}))


def test_snapshots_come_back_by_version_and_only_the_newest_stay(desk):
    with desk.open() as store:
        fold = store.begin(RUN, UNIVERSE)
        assert store.latest_snapshot(RUN) is None
        day = entries(60)
        for k in range(6):
            entry_batch = batch(fold, k * 10 + 1, day[k * 10 : k * 10 + 10])
            entry_batch.snapshot = SnapshotOf(k * 10 + 10, "1.0" if k < 4 else "1.1", b"state %d" % k)
            store.commit(entry_batch)
        assert store.latest_snapshot(RUN) == (60, b"state 5")
        assert store.latest_snapshot(RUN, "1.0") == (40, b"state 3")
        assert store.latest_snapshot(RUN, "0.9") is None
        put_snapshot(store, RUN, 60, "1.1", b"again")
        assert store.latest_snapshot(RUN) == (60, b"again")
    assert desk.sql("SELECT COUNT(*) FROM snapshots") == [(3,)]


def test_bad_bars_are_kept_with_their_reason_even_without_entries(desk):
    with desk.open() as store:
        store.begin(RUN, UNIVERSE)
        store.commit(Batch(RUN, 1, [], START, quarantine=[BadBar(START, "SPY", "nan", "open=nan")]))
        store.commit(Batch(RUN, 1, [], START, quarantine=[BadBar(START, "TLT", "spike", "close=9e9")]))
    rows = desk.sql("SELECT number, symbol, reason FROM quarantine ORDER BY number")
    assert rows == [(1, "SPY", "nan"), (2, "TLT", "spike")]


def test_runs_are_listed_and_an_ended_one_cannot_be_continued(desk):
    with desk.open() as store:
        assert store.current_run() is None
        fill(store, entries(10), [10])
        store.finish(RUN, START, "fresh")
        with pytest.raises(StoreMismatch, match="has ended"):
            store.begin(RUN, UNIVERSE)
        store.begin("second00", UNIVERSE, agents=("gamma",))
        assert [(r.run, r.ended, r.agents) for r in store.runs()] == [
            (RUN, "fresh", AGENTS),
            ("second00", "", ("gamma",)),
        ]
        assert store.current_run() == "second00"
        fill(store, entries(10), [5, 5], "second00")
        assert len(list(store.entries("second00"))) == 10


def test_a_changed_journal_row_is_found_when_it_is_read(desk):
    with desk.open() as store:
        fill(store, entries(30), [10, 10, 10])
    desk.sql("UPDATE journal SET ts = ts + 1 WHERE number = 2")
    with pytest.raises(StoreDamaged, match=r"row 2 .* was changed"):
        list(desk.read_only().entries(RUN))
    desk.sql("DELETE FROM journal WHERE number = 2")
    with pytest.raises(StoreDamaged, match=r"entries 11 to 20 of run .* are missing"):
        list(desk.read_only().entries(RUN))


@pytest.mark.quick_cases(2)
@pytest.mark.parametrize("lost", ["the last row", "the first row", "the file", "the head", "the row of the head"])
def test_a_journal_that_lost_something_is_not_opened(desk, lost):
    with desk.open() as store:
        fill(store, entries(20), [10, 10])
    if lost == "the last row":
        desk.sql("DELETE FROM journal WHERE number = 2")
    elif lost == "the first row":  # nothing stands for it: no archive has it
        desk.sql("DELETE FROM journal WHERE number = 1")
        with desk.open() as store, pytest.raises(StoreDamaged, match="entries 1 to 10 of run 7f3k2m1a are missing"):
            list(store.entries(RUN))
        return
    elif lost == "the row of the head":
        desk.sql("UPDATE journal SET hash = ? WHERE number = 2", (bytes(32),))
    elif lost == "the head":
        (desk.state / "journal.head").unlink()
    elif desk.postgres:
        desk.sql("DROP TABLE journal")
        with pytest.raises(StoreError, match="journal"):
            desk.open()
        return
    else:
        (desk.state / "quantd.db").unlink()
    with pytest.raises(StoreDamaged, match=r"journal\.head"):
        desk.open()
    (desk.state / "lock").unlink()  # and the folder is free again: nothing was left locked


def test_a_folder_without_a_store_names_that_of_its_backtests_or_the_commands_that_make_one(tmp_path):
    with pytest.raises(StoreMismatch) as none:
        read_only(tmp_path)
    remedy = f"`quantd run` makes one, and `quantd backtest --journal` one in {tmp_path / 'backtests'}"
    assert str(none.value).endswith(remedy)
    Store.open(tmp_path / "backtests").close()
    with pytest.raises(StoreMismatch) as beside:
        read_only(tmp_path)
    assert str(beside.value).endswith(f"the backtests have one: write --state {tmp_path / 'backtests'}")


def test_a_folder_that_cannot_be_written_is_refused_with_the_remedy(tmp_path):
    tmp_path.chmod(0o755)
    user_id = os.geteuid()
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o555)
    if user_id == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(StoreFailing, match=r"permission denied: .*with --state FOLDER"):
            Store.open(folder / "state")
    finally:
        os.seteuid(user_id)


def test_a_snapshot_that_was_changed_is_refused(desk):
    with desk.open() as store:
        put_snapshot(store, RUN, 5, "1", b"true")
        desk.sql("UPDATE snapshots SET data = ?", (b"fals",))
        with pytest.raises(StoreDamaged, match="after entry 5 does not match its digest"):
            store.latest_snapshot(RUN)
