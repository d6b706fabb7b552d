"""Executions as intervals of lots: the same whoever hears them, and in whatever order."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from quantd.adapters.brokers.execution_log import Execution, Trail, told
from quantd.adapters.brokers.order_log import Sent
from quantd.trading.orders import Cause

NANO = 10**9


def sent(lots: int) -> Sent:
    return Sent("q-1", 1, 2, 3, 0, lots, 0, 0, 0, 0, 0)


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, list[Execution]]:
    """A lot's size and an order's executions by their end, many of them of less than a lot."""
    lot = draw(st.sampled_from((1, 7, 1000)))
    sizes = draw(st.lists(st.integers(1, 3 * lot), min_size=1, max_size=8))
    found, cum = [], 0
    for k, size in enumerate(sizes):
        cum += size
        found.append(Execution(cum, size, draw(st.integers(1, 10**12)), k))
    return lot, found


@given(histories(), st.randoms())
def test_fills_do_not_depend_on_the_order_in_which_executions_are_heard(case, dice):
    lot, executions = case
    in_order, shuffled = Trail(), Trail()
    for each in executions:
        in_order.add(each)
    dice.shuffle(executions)
    for each in executions + executions[:3]:
        shuffled.add(each)
    assert shuffled.fills(lot) == in_order.fills(lot)


@given(histories())
def test_fills_cover_each_whole_lot_once_at_what_it_cost(case):
    lot, executions = case
    trail = Trail()
    for each in executions:
        trail.add(each)
    fills = trail.fills(lot)
    whole = executions[-1].cum_nano // lot
    assert [cum - lots for cum, lots, _, _ in fills] == [0, *(cum for cum, _, _, _ in fills)][: len(fills)]
    assert sum(lots for _, lots, _, _ in fills) == whole
    cost = Fraction(0)
    for each in executions:
        part = min(each.cum_nano, whole * lot) - (each.cum_nano - each.size_nano)
        cost += max(part, 0) * each.price_nano
    told_cost = sum(lots * lot * price for _, lots, price, _ in fills)
    assert abs(told_cost - cost) <= Fraction(whole * lot, 2)


@given(histories(), st.data())
def test_a_lot_of_which_a_part_is_missing_is_not_told(case, data):
    lot, executions = case
    missing = data.draw(st.integers(0, len(executions) - 1))
    whole, part = Trail(), Trail()
    for k, each in enumerate(executions):
        whole.add(each)
        if k != missing:
            part.add(each)
    assert set(part.fills(lot)) <= set(whole.fills(lot))


def test_the_stream_tells_a_fill_once_and_a_query_always():
    order, trail = sent(-10), Trail()
    trail.add(Execution(4 * NANO, 4 * NANO, 7, 1))
    first = told(order, trail, NANO, 5, None, 4 * NANO, news_only=True)
    assert first is not None
    assert (first.cum, first.lots, first.cause) == ([4], [4], [Cause.PART_FILL])
    assert told(order, trail, NANO, 6, None, 4 * NANO, news_only=True) is None
    again = told(order, trail, NANO, 7, None, 4 * NANO)
    assert again is not None
    assert again.cum == [4]
    assert (again.sample, again.n, again.row) == (1, 2, [3])


def test_an_end_tells_how_much_was_filled_also_where_the_fills_are_not_known():
    report = told(sent(10), Trail(), NANO, 5, Cause.CANCELLED, 6 * NANO, "canceled")
    assert report is not None
    assert (report.cum, report.lots, report.cause) == ([6], [0], [Cause.CANCELLED])


def test_the_last_fill_is_the_one_that_completes_the_order_whenever_it_is_heard():
    order, trail = sent(10), Trail()
    trail.add(Execution(10 * NANO, 3 * NANO, 8, 2))
    first = told(order, trail, NANO, 5, Cause.LAST_FILL, 10 * NANO, news_only=True)
    assert first is not None
    assert (first.cum, first.cause) == ([10], [Cause.LAST_FILL])
    trail.add(Execution(7 * NANO, 7 * NANO, 9, 1))
    late = told(order, trail, NANO, 6, None, 7 * NANO, news_only=True)
    assert late is not None
    assert (late.cum, late.lots, late.cause) == ([7], [7], [Cause.PART_FILL])
