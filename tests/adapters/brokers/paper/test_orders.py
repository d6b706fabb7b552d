"""A basket at rest: its rows, their windows, and what was said about them."""

from quantd.adapters.brokers.paper.orders import LONGEST_BAR_NS, NEVER, Resting, accept
from quantd.trading.orders import Cause, OrderBasket, Reports


def resting(end: int = 0) -> Resting:
    basket = OrderBasket(
        sample=10, n=2, ts=100, sym=[0, 1, 0], lots=[5, -7, -9], worst_nano=[1000, 2000, 3001], end=[end, 0, 0]
    )
    return accept(basket, latency_ns=20)


def test_an_accepted_basket_waits_from_its_time_plus_latency_until_its_ends() -> None:
    basket = resting(end=500)
    assert (basket.sample, basket.n, basket.open, basket.due) == (10, 2, [0, 1, 2], 500)
    assert basket.after == [120] * 3
    assert basket.until == [500, NEVER, NEVER]
    (said,) = basket.reports
    assert (said.ts, said.row, said.cause) == (100, [0, 1, 2], [Cause.ACCEPTED] * 3)


def test_the_reason_of_a_rejection_names_the_row() -> None:
    basket = accept(OrderBasket(sample=1, n=0, ts=1, sym=[0, 0], lots=[1, 1], worst_nano=[5, -3], end=[0, 0]), 0)
    assert basket.open == [0]
    assert basket.reports[0].reason == "row 1 has a limit of -3 nano"


def test_an_unknown_bar_before_the_cancel_keeps_the_row_and_its_close_lets_it_go() -> None:
    basket = resting()
    assert basket.cancel(1, 300) is None
    assert basket.settle(310) == []
    basket.after[1] = 305
    (said,) = basket.settle(310)
    assert (said.ts, said.row, said.cause) == (300, [1], [Cause.CANCELLED])
    assert (basket.open, basket.cancelling, basket.due) == ([0, 2], [], NEVER)


def test_a_cancel_that_no_unseen_bar_can_precede_ends_the_row_at_once() -> None:
    said = resting().cancel(2, 120)
    assert said is not None
    assert (said.ts, said.row, said.cause) == (120, [2], [Cause.CANCELLED])


def test_a_cancel_after_the_end_leaves_the_end_as_it_is() -> None:
    basket = resting(end=500)
    assert basket.cancel(0, 500) is None
    (said,) = basket.settle(500)
    assert (said.ts, said.cause) == (500, [Cause.EXPIRED])


def test_silence_ends_a_cancelled_row_after_the_longest_bar() -> None:
    basket = resting()
    basket.cancel(0, 300)
    assert basket.settle(300 + LONGEST_BAR_NS - 1) == []
    assert [said.ts for said in basket.settle(300 + LONGEST_BAR_NS)] == [300]


def test_ends_of_one_instant_and_cause_are_one_report() -> None:
    basket = OrderBasket(sample=1, n=0, ts=1, sym=[0] * 4, lots=[1] * 4, worst_nano=[9] * 4, end=[50, 40, 50, 0])
    open_basket = accept(basket, 0)
    assert [(said.ts, said.row) for said in open_basket.settle(60)] == [(50, [0, 2]), (40, [1])]
    assert (open_basket.open, open_basket.due) == ([3], NEVER)


def test_a_split_keeps_intervals_contiguous_and_limits_no_worse() -> None:
    basket = resting()
    basket.cum[2] = 7
    for cum, lots in ((4, 4), (7, 3)):
        basket.reports.append(Reports(10, 2, 200, [2], [cum], [lots], [900], [1], [Cause.PART_FILL]))
    said = basket.split(300, 0, 1, 3)
    assert said is None
    assert (basket.lots, basket.cum, basket.worst_nano) == ([1, -7, -3], [0, 0, 2], [3000, 2000, 9003])
    assert [(r.cum, r.lots, r.price_nano) for r in basket.reports[1:]] == [([1], [1], [2700]), ([2], [1], [2700])]


def test_a_split_that_leaves_only_what_was_filled_ends_the_row() -> None:
    basket = resting()
    basket.cum[2] = 8
    said = basket.split(300, 0, 1, 4)
    assert said is not None
    assert (said.ts, said.row, said.cum, said.cause) == (300, [2], [2], [Cause.CANCELLED])
    assert basket.open == [0, 1]


def test_only_the_rows_asked_for_are_told() -> None:
    basket = resting()
    basket.say(200, [0, 2], [Cause.EXPIRED, Cause.CANCELLED])
    reports = basket.reports_of({2})
    assert [(said.row, said.cause) for said in reports] == [([2], [Cause.ACCEPTED]), ([2], [Cause.CANCELLED])]
    assert basket.reports_of({7}) == []
