"""A basket at rest: its rows, their windows, and what was said about them."""

from quantd.adapters.brokers.paper.orders import LONGEST_BAR_NS, NEVER, Resting, accept
from quantd.trading.orders import Cause, OrderBasket, Reports


def resting(end: int = 0) -> Resting:
    basket = OrderBasket(
        sample=10, n=2, ts=100, sym=[0, 1, 0], lots=[5, -7, -9], worst_nano=[1000, 2000, 3001], end=[end, 0, 0]
    )
    return accept(basket, latency_ns=20)


def test_an_accepted_basket_waits_from_its_time_plus_latency_until_its_ends() -> None:
    rest = resting(end=500)
    assert (rest.sample, rest.n, rest.open, rest.due) == (10, 2, [0, 1, 2], 500)
    assert rest.after == [120] * 3
    assert rest.until == [500, NEVER, NEVER]
    (said,) = rest.reports
    assert (said.ts, said.row, said.cause) == (100, [0, 1, 2], [Cause.ACCEPTED] * 3)


def test_the_reason_of_a_rejection_names_the_row() -> None:
    rest = accept(OrderBasket(sample=1, n=0, ts=1, sym=[0, 0], lots=[1, 1], worst_nano=[5, -3], end=[0, 0]), 0)
    assert rest.open == [0]
    assert rest.reports[0].reason == "row 1 has a limit of -3 nano"


def test_an_unknown_bar_before_the_cancel_keeps_the_row_and_its_close_lets_it_go() -> None:
    rest = resting()
    assert rest.cancel(1, 300) is None
    assert rest.settle(310) == []
    rest.after[1] = 305
    (said,) = rest.settle(310)
    assert (said.ts, said.row, said.cause) == (300, [1], [Cause.CANCELLED])
    assert (rest.open, rest.cancelling, rest.due) == ([0, 2], [], NEVER)


def test_a_cancel_that_no_unseen_bar_can_precede_ends_the_row_at_once() -> None:
    said = resting().cancel(2, 120)
    assert said is not None
    assert (said.ts, said.row, said.cause) == (120, [2], [Cause.CANCELLED])


def test_a_cancel_after_the_end_leaves_the_end_as_it_is() -> None:
    rest = resting(end=500)
    assert rest.cancel(0, 500) is None
    (said,) = rest.settle(500)
    assert (said.ts, said.cause) == (500, [Cause.EXPIRED])


def test_silence_ends_a_cancelled_row_after_the_longest_bar() -> None:
    rest = resting()
    rest.cancel(0, 300)
    assert rest.settle(300 + LONGEST_BAR_NS - 1) == []
    assert [said.ts for said in rest.settle(300 + LONGEST_BAR_NS)] == [300]


def test_ends_of_one_instant_and_cause_are_one_report() -> None:
    basket = OrderBasket(sample=1, n=0, ts=1, sym=[0] * 4, lots=[1] * 4, worst_nano=[9] * 4, end=[50, 40, 50, 0])
    rest = accept(basket, 0)
    assert [(said.ts, said.row) for said in rest.settle(60)] == [(50, [0, 2]), (40, [1])]
    assert (rest.open, rest.due) == ([3], NEVER)


def test_a_split_keeps_intervals_contiguous_and_limits_no_worse() -> None:
    rest = resting()
    rest.cum[2] = 7
    for cum, lots in ((4, 4), (7, 3)):
        rest.reports.append(Reports(10, 2, 200, [2], [cum], [lots], [900], [1], [Cause.PART_FILL]))
    said = rest.split(300, 0, 1, 3)
    assert said is None
    assert (rest.lots, rest.cum, rest.worst_nano) == ([1, -7, -3], [0, 0, 2], [3000, 2000, 9003])
    assert [(r.cum, r.lots, r.price_nano) for r in rest.reports[1:]] == [([1], [1], [2700]), ([2], [1], [2700])]


def test_a_split_that_leaves_only_what_was_filled_ends_the_row() -> None:
    rest = resting()
    rest.cum[2] = 8
    said = rest.split(300, 0, 1, 4)
    assert said is not None
    assert (said.ts, said.row, said.cum, said.cause) == (300, [2], [2], [Cause.CANCELLED])
    assert rest.open == [0, 1]


def test_only_the_rows_asked_for_are_told() -> None:
    rest = resting()
    rest.say(200, [0, 2], [Cause.EXPIRED, Cause.CANCELLED])
    told = rest.reports_of({2})
    assert [(said.row, said.cause) for said in told] == [([2], [Cause.ACCEPTED]), ([2], [Cause.CANCELLED])]
    assert rest.reports_of({7}) == []
