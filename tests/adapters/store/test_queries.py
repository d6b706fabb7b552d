"""What people read: exact text, names by the epoch they held in, and the newest when only some are asked for."""

from collections import Counter
from decimal import Decimal

import pytest

from quantd.adapters.store.journal.writer import BadBar
from quantd.adapters.store.queries import END
from quantd.adapters.store.store_errors import StoreMismatch
from quantd.adapters.store.upkeep.verify import verify
from quantd.trading.display_text import instant_text
from quantd.trading.effects import Assessed, Crossed, Ended, Filled, Publish, Valued
from quantd.trading.events import SliceRef, Tick
from quantd.trading.orders import Cause, OrderState, Reports, order_id
from tests.support.store import AGENTS, DAY, START, UNIVERSE, basket, batch, plan

RUN = "7f3k2m1a"


@pytest.fixture
def folder(desk):
    s = START
    day = [
        (Tick(s, sample=True), [plan(s), basket(s), Valued(s, 100_000_500_000, 10**10, [7, 8, 9], 0.5, 0.0)]),
        (
            Reports(
                s, 0, s + 1, [0, 1], [5, 1], [5, 1], [10**9, 2 * 10**9], [7, 8], [Cause.LAST_FILL, Cause.PART_FILL]
            ),
            [
                Filled(s, 0, s + 1, [0, 1], [5, -1], [10**9, 2 * 10**9], [7, 8], [[(0, 3), (1, 2)], [(1, -1)]]),
                Ended(s, 0, s + 1, [0], [OrderState.FILLED]),
            ],
        ),
        (SliceRef(1), [Publish(s + 2, "WARNING", "stale", "SPY is stale", "SPY", "", float("nan"), 1.0)]),
        (SliceRef(2), [Crossed(s, s + 3, 3, 10**9, [(0, 4), (1, -4)])]),
        (Tick(s + DAY, sample=True), [basket(s + DAY)]),
    ]
    with desk.open() as store:
        fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
        entry_batch = batch(fold, 1, day[:2])
        entry_batch.quarantine = [BadBar(s, "SPY", "nan", "open=nan")]
        store.commit(entry_batch)
        fold = store.begin(RUN, UNIVERSE, agents=("gamma", "delta"))
        store.commit(batch(fold, 3, day[2:]))
    return desk


def test_orders_are_shown_as_they_are_now(folder):
    read = folder.reader()
    first, second, third, *later = read.orders()
    assert (first.state, first.filled, first.ended, first.agent) == ("filled", "5", instant_text(START + 1), "alpha")
    assert (second.state, second.filled, second.side, second.qty) == ("partial", "1", "sell", "3")
    assert (third.state, third.limit, third.agent) == ("sent", "100.00", "alpha+beta")
    assert len(later) == 3
    assert [o.symbol for o in read.orders(last=2)] == ["TLT", "GLD"]
    assert second.id == order_id(RUN, START, "TLT", 0)
    assert len(read.orders(symbol="SPY")) == 2
    assert len(read.orders(since=START + 1)) == 3


def test_the_counts_of_orders_by_state_are_those_of_the_list_of_orders(folder):
    reader = folder.reader()
    orders = reader.orders()
    last = orders[-1].ts
    for since, until in ((0, END), (last, END), (0, last - 1)):
        counts = Counter(order.state for order in orders if since <= order.ts <= until)
        assert list(reader.order_counts(since=since, until=until).items()) == counts.most_common()


def test_fills_carry_their_order_and_the_names_of_then(folder):
    read = folder.reader()
    spy, tlt = read.fills()
    assert (spy.order, spy.qty, spy.price, spy.fee, spy.agent) == (
        order_id(RUN, START, "SPY", 0), "5", "1.00", "0.000007", "alpha+beta",
    )  # fmt: skip
    assert (tlt.side, tlt.agent) == ("sell", "beta")
    assert [(f.agent, f.side, f.qty, f.symbol) for f in read.shares()] == [
        ("alpha", "buy", "3", "SPY"), ("beta", "buy", "2", "SPY"), ("beta", "sell", "1", "TLT"),
        ("gamma", "buy", "4", "BTC"), ("delta", "sell", "4", "BTC"),
    ]  # fmt: skip
    assert sum(Decimal(f.fee) for f in read.shares()) == sum(Decimal(f.fee) for f in read.fills())


def test_equity_alerts_and_refused_bars_come_with_what_they_say(folder):
    read = folder.reader(RUN)
    (point,) = read.equity()
    assert (point.equity_micro, point.cash_micro, point.books) == (100_000_500_000, 10**10, [7, 8, 9])
    (alert,) = read.alerts()
    assert (alert.kind, alert.value, alert.bound) == ("stale", None, 1.0)
    assert read.alerts(since=alert.ts + 1) == []
    assert folder.sql("SELECT symbol, reason FROM quarantine") == [("SPY", "nan")]


def test_an_order_leads_to_the_plan_that_made_it(folder):
    read = folder.reader()
    decision = read.decision(order_id(RUN, START, "GLD", 0))
    assert decision.plan == plan(START)
    assert decision.agents == AGENTS
    assert [d.plan for d in read.decisions()] == [plan(START)]
    with pytest.raises(StoreMismatch, match="was not made by a plan"):
        read.decision(order_id(RUN, START + DAY, "GLD", 0))
    with pytest.raises(StoreMismatch, match="there is no order q-nothing"):
        read.decision("q-nothing")


def test_several_plans_of_one_step_have_numbers_of_their_own(desk):
    twice = [plan(START, 1), plan(START, 2)]
    steps = [
        (Tick(START, sample=True), [plan(START - DAY, 1)]),
        (Tick(START + 1, sample=True), [*twice, Valued(START, 10**11, 10**10, [], 0.5, 0.0)]),
        (Tick(START + 2, sample=True), [plan(START + DAY, 1)]),
    ]
    with desk.open() as store:
        fold = store.begin(RUN, UNIVERSE, agents=AGENTS)
        store.commit(batch(fold, 1, steps))
    read = desk.reader()
    assert [d.address for d in read.decisions()] == ["d1", "d2", "d2.2", "d3"]
    # a page that begins in the middle of a step
    assert [d.address for d in read.decisions(last=2)] == ["d2.2", "d3"]
    assert [read.decision_at(2, k).plan for k in (1, 2)] == twice
    assert read.decision_at(2, 2).seq == 2
    with pytest.raises(StoreMismatch, match=r"no decision d2\.3 in run 7f3k2m1a; the nearest: d1 and d2"):
        read.decision_at(2, 3)
    with pytest.raises(StoreMismatch, match="the nearest: d3"):
        read.decision_at(9, 1)


def test_a_run_that_is_not_there_is_named_beside_those_that_are(folder):
    with pytest.raises(StoreMismatch, match="there is no run other; there are: 7f3k2m1a"):
        folder.reader("other")


def test_a_store_without_a_run_says_so(desk):
    desk.open().close()
    with pytest.raises(StoreMismatch, match="no run yet"):
        desk.reader()


@pytest.mark.long
def test_records_of_risk_are_what_was_planned_and_what_was_held(folder):
    with folder.open() as store:
        fold = store.begin(RUN, UNIVERSE, agents=("gamma", "delta"))
        seq = store.last_seq(RUN) + 1
        held = Assessed(START + 2 * DAY, {"var": (0.02, 0.03), "correlation": (float("nan"), 0.6)})
        store.commit(batch(fold, seq, [(Tick(START + 2 * DAY, sample=True), [held])]))
        assert verify(store.where, store.folder) == []
    read = folder.reader()
    first, last = read.risk()
    assert (first.kind, first.ts, first.measures) == ("plan", START, plan(START).values)
    assert (last.kind, last.measures) == ("held", {"var": (0.02, 0.03), "correlation": (None, 0.6)})
    assert read.risk(last=1) == read.risk(since=START + 1) == [last]
