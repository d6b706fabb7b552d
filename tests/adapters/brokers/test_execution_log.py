"""Executions as intervals of lots: the same in every order of arrival, each fee counted once."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from quantd.adapters.brokers.execution_log import Execution, ExecutionLog


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, list[Execution]]:
    """A lot's size and an order's executions by their end, many of them of less than a lot."""
    lot = draw(st.sampled_from((1, 7, 1000)))
    sizes = draw(st.lists(st.integers(1, 3 * lot), min_size=1, max_size=8))
    executions, cum = [], 0
    for k, size in enumerate(sizes):
        cum += size
        executions.append(Execution(k, size, draw(st.integers(1, 10**12)), cum_nano=cum, fee_micro=10**k))
    return lot, executions


@given(histories(), st.randoms())
def test_fills_do_not_depend_on_the_order_in_which_executions_are_heard(case, dice):
    lot, executions = case
    in_order, shuffled = ExecutionLog(), ExecutionLog()
    for execution in executions:
        in_order.add(execution)
    dice.shuffle(executions)
    for execution in executions + executions[:3]:
        shuffled.add(execution)
    assert shuffled.fills(lot) == in_order.fills(lot)


@given(histories())
def test_fills_cover_each_whole_lot_once_at_what_it_cost(case):
    lot, executions = case
    trail = ExecutionLog()
    for execution in executions:
        trail.add(execution)
    fills = trail.fills(lot)
    lots = executions[-1].cum_nano // lot
    assert [fill.cum - fill.lots for fill in fills] == [0, *(fill.cum for fill in fills)][: len(fills)]
    assert sum(fill.lots for fill in fills) == lots
    cost = Fraction(0)
    for execution in executions:
        part = min(execution.cum_nano, lots * lot) - (execution.cum_nano - execution.size_nano)
        cost += max(part, 0) * execution.price_nano
    reported = sum(fill.lots * lot * fill.price_nano for fill in fills)
    assert abs(reported - cost) <= Fraction(lots * lot, 2)


@given(histories(), st.data())
def test_a_lot_of_which_a_part_is_missing_is_not_told(case, data):
    lot, executions = case
    missing = data.draw(st.integers(0, len(executions) - 1))
    complete, part = ExecutionLog(), ExecutionLog()
    for k, execution in enumerate(executions):
        complete.add(execution)
        if k != missing:
            part.add(execution)
    assert set(part.fills(lot)) <= set(complete.fills(lot))


@given(histories())
def test_a_fill_has_the_fees_of_the_executions_that_make_it(case):
    lot, executions = case
    log = ExecutionLog()
    log.add(*executions)
    fills = log.fills(lot)
    counted = [
        execution for execution in executions if fills and execution.cum_nano <= _end_of(fills[-1].cum, lot, executions)
    ]
    assert sum(fill.fee_micro for fill in fills) == sum(execution.fee_micro for execution in counted)


def _end_of(cum: int, lot: int, executions: list[Execution]) -> int:
    """Where the execution ends that completes lot number `cum`."""
    return next(execution.cum_nano for execution in executions if execution.cum_nano >= cum * lot)


@given(histories(), st.data(), st.randoms())
def test_what_is_never_listed_is_bridged_by_the_orders_own_average_and_a_late_listing_books_nothing(case, data, dice):
    lot, executions = case
    listed = data.draw(st.lists(st.sampled_from(executions), unique_by=lambda e: e.cum_nano))
    log, cum = ExecutionLog(), executions[-1].cum_nano
    log.add(*listed)
    average = (sum(execution.size_nano * execution.price_nano for execution in executions) + cum // 2) // cum
    if len(listed) == len(executions):
        return
    if not log.bridge(99, cum, average):
        return  # the venue's own figures contradict each other by more than rounding
    assert log.known_nano() == cum
    fills = log.fills(lot)
    assert sum(fill.lots for fill in fills) == cum // lot
    value = sum(execution.size_nano * execution.price_nano for execution in log.executions.values())
    assert abs(value - average * cum) <= cum
    dice.shuffle(executions)
    log.add(*executions)
    assert log.fills(lot) == fills


def test_a_bridge_waits_for_figures_that_can_be_right():
    log = ExecutionLog()
    log.add(Execution(1, 10, 1_000, cum_nano=10))
    assert not log.bridge(2, 20, 400), "the rest would be below zero"
    assert not log.bridge(2, 10, 1_000), "nothing is missing"
    assert log.bridge(2, 20, 1_500, fee_micro=7)
    assert [
        (execution.size_nano, execution.price_nano, execution.fee_micro) for execution in log.executions.values()
    ] == [
        (10, 1_000, 0),
        (10, 2_000, 7),
    ]
