"""Reports of one order: every fill in its interval, then the end, the same when they are made again."""

from quantd.adapters.brokers.execution_log import Execution
from quantd.adapters.brokers.order_log import Sent, reports_of
from quantd.trading.orders import Cause

NANO = 10**9


def sent(lots: int) -> Sent:
    return Sent("q-1", 1, 2, 3, 0, lots, NANO, 0, 0, 0, 0, 0)


def test_the_stream_reports_a_fill_once_and_a_query_always():
    order = sent(-10)
    order.log.add(Execution(1, 4 * NANO, 7, cum_nano=4 * NANO))
    first = reports_of(order, 5, None, 4 * NANO, news_only=True)
    assert (first.cum, first.lots, first.cause) == ([4], [4], [Cause.PART_FILL])
    assert not reports_of(order, 6, None, 4 * NANO, news_only=True).cause
    again = reports_of(order, 7, None, 4 * NANO)
    assert again.cum == [4]
    assert (again.sample, again.n, again.row) == (1, 2, [3])


def test_an_end_has_the_filled_quantity_also_where_the_fills_are_not_known():
    report = reports_of(sent(10), 5, Cause.CANCELLED, 6 * NANO, "canceled")
    assert (report.cum, report.lots, report.cause) == ([6], [0], [Cause.CANCELLED])


def test_the_last_fill_is_the_one_that_completes_the_order_whenever_it_arrives():
    order = sent(10)
    order.log.add(Execution(2, 3 * NANO, 8, cum_nano=10 * NANO))
    first = reports_of(order, 5, Cause.LAST_FILL, 10 * NANO, news_only=True)
    assert (first.cum, first.cause) == ([10], [Cause.LAST_FILL])
    assert order.ended == Cause.LAST_FILL
    order.log.add(Execution(1, 7 * NANO, 9, cum_nano=7 * NANO))
    late = reports_of(order, 6, None, 7 * NANO, news_only=True)
    assert (late.cum, late.lots, late.cause) == ([7], [7], [Cause.PART_FILL])


def test_an_order_that_is_filled_stays_open_until_its_last_fill_is_known():
    order = sent(10)
    order.log.add(Execution(1, 4 * NANO, 7, "a"))
    report = reports_of(order, 5, Cause.LAST_FILL, 10 * NANO)
    assert (report.cum, report.cause, order.ended) == ([4], [Cause.PART_FILL], -1)
    order.log.add(Execution(2, 6 * NANO, 7, "b"))
    report = reports_of(order, 6, Cause.LAST_FILL, 10 * NANO)
    assert (report.cum, report.cause) == ([4, 10], [Cause.PART_FILL, Cause.LAST_FILL])
    assert order.ended == Cause.LAST_FILL
    streamed = reports_of(sent(10), 5, Cause.LAST_FILL, 10 * NANO, news_only=True)
    assert (streamed.cum, streamed.lots, streamed.cause) == ([10], [0], [Cause.LAST_FILL])
