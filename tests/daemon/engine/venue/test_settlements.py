"""Orders without an answer of the venue: their clock, an operator's word on them, and the venue's later word, which
wins."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.daemon.engine.state.waits import UNANSWERED_NS
from quantd.daemon.engine.venue.account import difference
from quantd.daemon.engine.venue.settlements import why_not_settled
from quantd.risk.switch import REDUCE, RUN
from quantd.trading.effects import OrderBasket, Refused
from quantd.trading.events import (
    Operator,
    Reconciled,
    Tick,
    Unknown,
)
from quantd.trading.orders import Cause, OrderState, Reports
from tests.daemon.engine.venue.silent_venue import LOTS, MINUTE, NANO, Venue
from tests.support.examples import examples


def late(side: int = 1, **keys: bool) -> Venue:
    venue = Venue(side, **keys)
    venue.late()
    return venue


# the clock


@pytest.mark.parametrize("side", [1, -1])
def test_an_order_without_an_answer_is_one_critical_alert_with_the_command_that_ends_it(side: int) -> None:
    venue = Venue(side)
    venue.run(Tick(venue.state.now + UNANSWERED_NS // 2))
    assert venue.alerts("CRITICAL") == []
    venue.late()
    venue.late()
    (text,) = venue.alerts("CRITICAL")
    assert "quantd settle q-run00001-" in text
    assert "--never-sent" in text
    assert f"{'buy' if side > 0 else 'sell'} {LOTS}" in text


def test_the_clock_goes_on_over_a_restart_and_ends_with_an_answer() -> None:
    venue = Venue()
    venue.run(Tick(venue.state.now + UNANSWERED_NS - MINUTE))
    venue.restart()
    venue.run(Tick(venue.state.now + 2 * MINUTE))
    assert len(venue.alerts("CRITICAL")) == 1
    venue.answer()
    assert venue.state.venue.waits.unanswered == []
    assert list(venue.state.working[venue.key].state) == [OrderState.WORKING]


def test_an_unknown_order_is_a_warning_once() -> None:
    venue = Venue()
    for _ in range(5):
        venue.run(Operator(venue.state.now + 1, "halt", "look", "me"))
        venue.run(Unknown(*venue.key, venue.state.now + 1, [0], "no answer in time"))
        venue.run(Tick(venue.state.now + 1))
    assert sum("outcome unknown" in text for text in venue.alerts("WARNING")) == 1


def test_nothing_is_settled_before_its_time_nor_after_an_answer() -> None:
    venue = Venue()
    assert "not waited for its time" in why_not_settled(venue.state, venue.key, 0, 0)
    venue.settle(LOTS)
    assert venue.world.of(Refused)
    venue.late()
    assert why_not_settled(venue.state, venue.key, 0, LOTS) == ""
    assert "at most" in why_not_settled(venue.state, venue.key, 0, LOTS + 1)
    venue.answer()
    assert "open there" in why_not_settled(venue.state, venue.key, 0, 0)
    assert "no such order" in why_not_settled(venue.state, (1, 2), 0, 0)


# the operator's word


def test_what_is_known_to_be_filled_stays_and_the_price_is_of_the_rest() -> None:
    venue = Venue()
    venue.execute(30, 99)
    venue.stream()
    venue.run(Unknown(*venue.key, venue.state.now + 1, [0], "no answer in time"))
    venue.late()
    assert "30" in why_not_settled(venue.state, venue.key, 0, 29)
    cash = venue.state.ledger.house.cash_micro
    venue.settle(50, 102)
    assert venue.state.ledger.house.cash_micro - cash == -20 * 102 * 10**6


# the venue's later word


def test_a_later_word_that_agrees_confirms_and_books_nothing_twice() -> None:
    venue = late()
    venue.execute(LOTS, 101)
    venue.settle(LOTS, 101)
    venue.answer()
    assert venue.equal()
    assert any("confirms" in text for text in venue.alerts("INFO"))
    assert venue.state.switch.state == RUN
    venue.answer()
    assert venue.equal()
    assert venue.state.venue.waits.settled == []


@pytest.mark.parametrize("claim", [(0, 0), (40, 101), (60, 99), (100, 101)])
@pytest.mark.parametrize("truth", [(0, 0), (40, 103), (60, 101), (100, 100)])
def test_a_later_word_that_differs_wins_is_critical_and_reduces(claim: tuple[int, int], truth: tuple[int, int]) -> None:
    venue = late()
    venue.settle(*claim)
    venue.execute(*truth)
    venue.open = False
    venue.answer()
    assert venue.equal()
    if claim == truth:
        assert venue.state.switch.state == RUN
        return
    assert venue.state.switch.state == REDUCE
    text = venue.alerts("CRITICAL")[1]
    assert "op settled q-run00001-" in text
    assert "the venue now reports filled" in text
    venue.resume()
    assert venue.state.switch.state == RUN


def test_an_order_that_is_open_after_all_is_cancelled_at_the_venue() -> None:
    venue = late()
    venue.settle(0)
    venue.answer()
    assert not venue.open
    venue.answer()
    assert venue.equal()


def test_a_venue_that_never_had_the_order_takes_a_claimed_fill_back() -> None:
    venue = late(arrived=False)
    venue.settle(LOTS, 101)
    assert not venue.equal()
    venue.answer()
    assert venue.equal()
    assert venue.state.switch.state == REDUCE


def test_a_second_word_of_the_operator_replaces_the_first() -> None:
    venue = late()
    venue.execute(70, 98)
    venue.settle(0)
    venue.settle(70, 98)
    assert venue.equal()


def test_a_late_fill_after_an_adoption_is_not_booked_twice() -> None:
    venue = late()
    venue.settle(0)
    venue.execute(LOTS, 97)
    venue.reconcile(adopt=True)
    assert venue.equal()
    venue.stream()
    venue.answer()
    assert venue.equal()
    assert any("the venue now reports filled 100" in text for text in venue.alerts("CRITICAL"))


def test_other_baskets_that_end_do_not_push_a_settled_one_out() -> None:
    venue = late()
    venue.settle(0)
    work = venue.state.ended.find(venue.key)
    for number in range(200):
        venue.state.ended.append((1, number), work)
    venue.execute(LOTS, 101)
    venue.finish()
    assert venue.equal()


# the others go on


@pytest.mark.parametrize("side", [1, -1])
def test_the_account_is_compared_beside_an_unknown_order(side: int) -> None:
    venue = late(side)
    venue.execute(LOTS, 100)  # what the order explains is no difference
    venue.reconcile()
    assert venue.state.switch.state == RUN
    venue.lots[1] -= 3  # somebody sells another symbol by hand
    venue.reconcile()
    assert venue.state.switch.state == REDUCE
    assert any("3 S1 less" in text for text in venue.alerts("CRITICAL"))


@pytest.mark.parametrize("extra", [-1, 1, 40])
def test_more_than_an_unknown_order_explains_is_a_difference(extra: int) -> None:
    venue = late()
    if extra > 0:
        venue.execute(LOTS, 100)
    venue.lots[0] += extra
    venue.reconcile()
    assert venue.state.switch.state == REDUCE
    word = Reconciled(venue.state.now, list(venue.lots), venue.cash)
    assert difference(venue.state, word) == ([extra, 0], 0)


@pytest.mark.long
@settings(max_examples=examples(200), deadline=None)
@given(st.sampled_from([1, -1]), st.lists(st.tuples(st.integers(1, 60), st.integers(95, 105)), max_size=4))
def test_no_fill_of_an_unknown_order_within_its_limit_is_a_difference(
    side: int, executions: list[tuple[int, int]]
) -> None:
    venue = late(side)
    (worst,) = venue.state.working[venue.key].worst_nano
    for lots, price in executions:
        if side * price * NANO <= side * worst:
            venue.execute(lots, price)
    word = Reconciled(venue.state.now, list(venue.lots), venue.cash)
    assert difference(venue.state, word) == ([0, 0], 0)


@pytest.mark.parametrize("side", [1, -1])
def test_flatten_closes_everything_but_what_an_unknown_order_may_have_closed(side: int) -> None:
    venue = late(side)
    held = list(venue.state.ledger.house.lots)
    venue.run(Operator(venue.state.now + 1, "flatten", "out", "me"))
    venue.run(Unknown(*venue.key, venue.state.now + 1, [0], "no answer in time"))
    venue.late()
    sold = [0, 0]
    for basket in venue.world.of(OrderBasket):
        for column, lots in zip(basket.sym, basket.lots, strict=True):  # type: ignore[attr-defined]
            if (
                (basket.sample, basket.n) != venue.key
                and lots < 0
                and basket.ts >= venue.state.venue.waits.flatten_since
            ):  # type: ignore[attr-defined]
                sold[column] -= lots
    assert sold == [held[0] - (LOTS if side < 0 else 0), held[1]]


def test_a_flatten_that_does_not_end_is_critical_once() -> None:
    venue = Venue()
    venue.run(Operator(venue.state.now + 1, "flatten", "out", "me"))
    venue.late()
    venue.late()
    assert sum("being closed for" in text for text in venue.alerts("CRITICAL")) == 1


def refused(venue: Venue) -> None:
    """The venue refuses the newest order of the books; none is sent while refused orders pause."""
    if not venue.state.working:
        return
    key, work = list(venue.state.working.items())[-1]
    rows = list(range(len(work.lots)))
    none, causes = [0] * len(rows), [int(Cause.REJECTED)] * len(rows)
    venue.run(Reports(*key, venue.state.now + 1, rows, none, none, none, none, causes, "insufficient qty"))


def test_refused_exits_are_critical_once_when_their_clock_passes_with_the_venues_words() -> None:
    venue = Venue()
    venue.finish()
    venue.run(Operator(venue.state.now + 1, "flatten", "out", "me"))
    refused(venue)
    for _ in range(3):
        assert not any("refuses for" in text for text in venue.alerts("CRITICAL"))
        venue.run(Tick(venue.state.now + UNANSWERED_NS // 4))
        refused(venue)
    for _ in range(3):
        venue.late()
        refused(venue)
    texts = [text for text in venue.alerts("CRITICAL") if "refuses for" in text]
    assert len(texts) == 2, "one for each symbol"
    assert all("insufficient qty" in text and "quantd emergency" in text for text in texts)
    venue.restart()
    venue.late()
    refused(venue)
    assert sum("refuses for" in text for text in venue.alerts("CRITICAL")) == 2


def test_the_clock_of_a_refused_exit_ends_when_nothing_is_to_be_closed() -> None:
    venue = Venue()
    venue.finish()
    venue.run(Operator(venue.state.now + 1, "flatten", "out", "me"))
    refused(venue)
    assert len(venue.state.venue.waits.refused) == 2
    venue.resume()
    venue.late()
    assert venue.state.venue.waits.refused == []


# in any order

Words = tuple[int, bool, list[tuple[object, ...]]]
STEPS = st.one_of(
    st.tuples(st.just("execute"), st.integers(1, 60), st.integers(95, 105)),
    st.tuples(st.just("settle"), st.integers(0, LOTS), st.integers(95, 105)),
    *(
        st.tuples(st.just(name))
        for name in ("answer", "stream", "late", "restart", "reconcile", "adopt", "end", "unknown")
    ),
)


WORDS = st.tuples(st.sampled_from([1, -1]), st.booleans(), st.lists(STEPS, max_size=14))


@pytest.mark.long
@settings(max_examples=examples(100), deadline=None)
@given(WORDS)
def test_any_order_of_words_ends_with_the_books_equal_to_the_venue(words: Words) -> None:
    require_equal(*words)


def require_equal(side: int, arrived: bool, steps: list[tuple[object, ...]]) -> None:
    """Ends a story of such words with the books equal to the venue."""
    venue = late(side, arrived=arrived)
    for name, *values in steps:
        match name:
            case "execute":
                venue.execute(*values)  # type: ignore[arg-type]
            case "settle":
                venue.settle(*values)  # type: ignore[arg-type]
            case "end":
                venue.open = False
            case "adopt":
                venue.reconcile(adopt=True)
            case "unknown":
                venue.run(Unknown(*venue.key, venue.state.now + 1, [0], "no answer in time"))
            case _:
                getattr(venue, str(name))()
    venue.finish()
    assert venue.equal(), (venue.state.ledger.house.lots, venue.lots)
    assert venue.state.venue.waits.settled == []
