"""Read models as a fold: what each kind of entry adds, and that columns match the declared tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.adapters.store.journal.archives import Archive
from quantd.adapters.store.journal.chain import JOURNAL_COLUMNS
from quantd.adapters.store.tables.projection import COLUMNS, LATE, MOVED, OUTBOX, Projection, order_ids
from quantd.adapters.store.tables.schema import statements
from quantd.adapters.store.tables.table_models import columns_of
from quantd.trading import codec
from quantd.trading.effects import Cancel, Ended, Publish, Switched
from quantd.trading.events import NotFound, SliceRef, Tick, Unknown
from quantd.trading.orders import Cause, OrderState, Reports, order_id
from tests.support.store import AGENTS, DAY, START, UNIVERSE, basket, entries, plan

RUN = "7f3k2m1a"
S = START


def fold() -> Projection:
    return Projection(RUN, UNIVERSE.symbols, AGENTS)


def report(row: int, cum: int, cause: Cause, ts: int = S + 1, reason: str = "") -> Reports:
    return Reports(S, 0, ts, [row], [cum], [cum], [10**9], [0], [cause], reason)


def column(rows: list, name: str) -> list:
    return [row[COLUMNS["orders"].index(name)] for row in rows]


@given(st.integers(0, 2**62), st.integers(0, 50_000), st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=4))
def test_order_ids_are_those_of_the_vocabulary(sample, n, symbols):
    assert order_ids(RUN, sample, n, symbols) == [order_id(RUN, sample, s, n) for s in symbols]


def test_links_and_archives_have_the_columns_of_their_tables():
    assert columns_of("journal") == JOURNAL_COLUMNS
    assert columns_of("archives") == (*Archive.__struct_fields__, "digest")


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_no_column_of_money_or_lots_is_a_float(dialect):
    floats = [
        line.split()[0]
        for text in statements(dialect)
        for line in text.splitlines()
        if "FLOAT" in line or "REAL" in line
    ]
    assert sorted(floats) == ["bound", "bound", "drawdown", "gross", "value", "value"]


def test_an_order_filled_in_the_batch_that_made_it_is_one_row_as_it_ended():
    f = fold()
    f.add(1, Tick(S), [plan(S), basket(S)])
    f.add(2, report(0, 5, Cause.LAST_FILL), [Ended(S, 0, S + 1, [0], [OrderState.FILLED])])
    rows = f.take()
    assert column(rows["orders"], "state") == [OrderState.FILLED, OrderState.SENT, OrderState.SENT]
    assert column(rows["orders"], "filled") == [5, 0, 0]
    assert column(rows["orders"], "ended_ts") == [S + 1, 0, 0]
    assert column(rows["orders"], "agents") == ["alpha", "alpha", "alpha+beta"]
    assert MOVED not in rows


def test_later_batches_say_where_an_order_is_now_and_once():
    f = fold()
    f.add(1, Tick(S), [basket(S)])
    f.take()
    f.add(2, report(2, 3, Cause.PART_FILL), [])
    f.add(3, SliceRef(1), [Cancel(S, 0, 2, S + 2)])
    f.add(4, report(2, 4, Cause.PART_FILL), [])
    assert f.take()[MOVED] == [(OrderState.CANCELLING, 4, 0, "", RUN, S, 0, 2)]
    f.add(5, report(2, 4, Cause.CANCELLED, S + 9, "as asked"), [])
    assert f.take()[MOVED] == [(OrderState.CANCELLED, 4, S + 9, "as asked", RUN, S, 0, 2)]
    assert f.take() == {}


def test_an_unknown_order_is_sent_again_under_its_id_or_expires():
    f = fold()
    f.add(1, Tick(S), [basket(S)])
    f.take()
    f.add(2, Unknown(S, 0, S + 1, [0, 1], "timed out"), [])
    assert [row[0] for row in f.take()[MOVED]] == [OrderState.UNKNOWN] * 2
    f.add(3, NotFound(S, 0, S + 2, [1]), [Ended(S, 0, S + 2, [1], [OrderState.EXPIRED], "never sent")])
    f.add(4, SliceRef(9), [basket(S, sym=(0,), lots=(5,))])
    moved = {row[-1]: row[:4] for row in f.take()[MOVED]}
    assert moved == {0: (OrderState.SENT, 0, 0, ""), 1: (OrderState.EXPIRED, 0, S + 2, "never sent")}


def test_the_engine_has_the_last_word_on_how_an_order_ended():
    f = fold()
    f.add(1, Tick(S), [basket(S)])
    f.add(2, report(0, 0, Cause.EXPIRED), [Ended(S, 0, S + 1, [0], [OrderState.CANCELLED], "house")])
    (row, *_) = f.take()["orders"]
    assert row[-4:] == (OrderState.CANCELLED, 0, S + 1, "house")


def test_a_fill_after_the_end_still_counts_and_reports_out_of_order_do_not_count_twice():
    f = fold()
    f.add(1, Tick(S), [basket(S, sym=(0,), lots=(9,))])
    f.add(2, report(0, 6, Cause.PART_FILL), [])
    f.add(3, report(0, 2, Cause.PART_FILL), [])
    f.add(4, report(0, 6, Cause.CANCELLED), [])
    (row,) = f.take()["orders"]
    assert row[-4:-2] == (OrderState.CANCELLED, 6)
    f.add(5, report(0, 9, Cause.LAST_FILL), [])
    assert f.take() == {LATE: [(9, RUN, S, 0, 0)]}


def test_alerts_go_to_the_outbox_with_their_id_and_numbers_that_are_none_are_absent():
    f = fold()
    f.add(7, SliceRef(1), [Publish(S, "CRITICAL", "feed", 'a "dead" feed', "", "", float("nan"), float("inf"))])
    f.add(8, SliceRef(2), [Switched(S, 1, 0, 2, "kill"), Switched(S, -1, 2, 0, "operator")])
    rows = f.take()
    assert rows["alerts"][0][-2:] == (None, None)
    # of a switch the engine's own alert tells; a row of it in the outbox would tell it twice
    assert [row[4:6] for row in rows[OUTBOX]] == [("CRITICAL", "feed")]
    assert '"id":"7f3k2m1a-7-0"' in rows[OUTBOX][0][6]
    assert len(rows["switches"]) == 2


def test_what_is_folded_live_equals_what_is_folded_from_the_journal():
    live, again = fold(), fold()
    for seq, (event, effects) in enumerate(entries(300, 4), 1):
        live.add(seq, event, effects)
        entry = codec.decode(codec.encode(event, effects))
        again.add(seq, entry.event, entry.effects)
    assert live.take() == again.take()


def test_memory_holds_only_open_baskets():
    f = fold()
    for k in range(50):
        s = S + k * DAY
        f.add(2 * k + 1, Tick(s), [basket(s, sym=(0,), lots=(1,))])
        f.add(2 * k + 2, Reports(s, 0, s, [0], [1], [1], [1], [0], [Cause.LAST_FILL]), [])
        f.take()
    assert not f.open_baskets
