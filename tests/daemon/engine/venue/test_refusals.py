"""Pauses after refusals: by symbol, side and words, with one alert; an exit pauses too, and says so CRITICAL."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.daemon.engine.planning.pauses import MOST_PAUSES, pause_after
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.daemon.engine.venue.refusals import words_of
from quantd.risk.limits.catalogue import PROFILES, Reason
from quantd.trading.effects import Planned, Publish
from quantd.trading.events import Operator, Tick, Unknown
from quantd.trading.orders import Cause, OrderBasket, Reports
from tests.support.engine import Silent, World, block
from tests.support.examples import examples
from tests.support.orders_by_hand import by_hand

MINUTE = 60 * 10**9

PDT = "trade denied due to pattern day trading protection"
LEAST = "cost basis must be >= minimal amount of order {n}"


class Venue(Silent):
    """Refuses orders for which `refuses(lots)` has words; others stay open until the test reports on them."""

    def __init__(self, refuses) -> None:  # type: ignore[no-untyped-def]
        self.refuses, self.sent = refuses, list[OrderBasket]()

    def submit(self, basket: OrderBasket, rows: object = None) -> Sequence[Reports]:
        self.sent.append(basket)
        return [self.answer(basket, row, lots) for row, lots in enumerate(basket.lots)]

    def answer(self, basket: OrderBasket, row: int, lots: int) -> Reports:
        words = self.refuses(lots)
        cause = Cause.REJECTED if words else Cause.ACCEPTED
        return Reports(basket.sample, basket.n, basket.ts, [row], [0], [0], [0], [0], [int(cause)], words or "")


def world(refuses, weight=0.5, days: int = 3, symbols: int = 1) -> World:  # type: ignore[no-untyped-def]
    """A run at the close of its second day, whose house wants `weight` of each symbol and whose venue refuses."""
    run = World(
        block(np.full((days, symbols), 100.0)), [lambda view: np.full(symbols, weight)], house=PROFILES["research"]
    )
    run.shell.broker = Venue(refuses)  # type: ignore[assignment]
    for item in list(run.items())[:2]:
        run.shell.take(item)
    return run


def minutes(run: World, count: int) -> list[int]:
    """Minutes from the first order, of `count`, at which an order was sent when the house decides every minute."""
    state, venue = run.shell.state, run.shell.broker
    began, at = state.now, [0] if venue.sent else []  # type: ignore[attr-defined]
    for minute in range(1, count):
        before = len(venue.sent)  # type: ignore[attr-defined]
        run.shell.take(Tick(began + minute * MINUTE, due=(0,)))
        at += [minute] * (len(venue.sent) - before)  # type: ignore[attr-defined]
    return at


def alerts(run: World) -> list[tuple[str, str]]:
    return [(p.level, p.text) for p in run.of(Publish) if p.kind == "refusal"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("words", "begins"),
    [(PDT, f"rejected by the venue: {PDT}"), ("not sent: 0.1 is less than 1", "not sent: 0.1 is less than 1")],
)
def test_a_refusal_that_lasts_pauses_one_two_four_up_to_sixty_minutes_with_one_alert(words: str, begins: str) -> None:
    run = world(lambda lots: words)
    assert minutes(run, 260) == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]
    ((level, text),) = alerts(run)
    assert level == "WARNING"
    assert text.startswith(f"{begins}; orders that add to it pause")
    codes = {int(c) for p in run.of(Planned) for c in np.frombuffer(p.reason, np.int8)}  # type: ignore[attr-defined]
    assert Reason.REFUSED in codes


def test_numbers_and_identifiers_in_the_words_begin_no_new_run() -> None:
    count = iter(range(10_000))
    run = world(lambda lots: LEAST.format(n=next(count)))
    assert len(minutes(run, 64)) == 7
    assert len(alerts(run)) == 1
    same = "order 61e69015-8549-4bfd requested: 0.1991, available: 0.0991", "order 7f01-22 requested: 5, available: .2"
    assert words_of(same[0]) == words_of(same[1])
    assert words_of("Unknown asset") != words_of("Unknown order")


@settings(max_examples=examples(20), deadline=None)
@given(
    st.lists(
        st.sampled_from([PDT, "insufficient buying power", "asset is not tradable", "EOrder:Ünknown", "", LEAST])
        | st.text(max_size=40),
        min_size=1,
        max_size=16,
    )
)
def test_a_sequence_of_refusals_in_any_words_sends_at_most_six_orders_in_sixteen_bars(words: list[str]) -> None:
    count = iter(range(10_000))
    run = world(lambda lots: words[next(count) % len(words)] or "no reason given")
    assert minutes(run, 16) == [0, 1, 3, 7, 15]
    assert len(alerts(run)) <= 5


def test_other_words_have_their_own_alert_and_no_pause_of_their_own() -> None:
    count = iter(range(10_000))
    run = world(lambda lots: PDT if next(count) < 4 else "asset is not tradable")
    assert minutes(run, 40) == [0, 1, 3, 7, 15, 31]
    assert [text.partition(";")[0] for _, text in alerts(run)] == [
        f"rejected by the venue: {PDT}", "rejected by the venue: asset is not tradable",
    ]  # fmt: skip


def test_words_without_end_are_bounded() -> None:
    state = world(lambda lots: "").shell.state
    for k in range(100):
        pause_after(state, -1, 0, "add", f"word {chr(97 + k % 26)}{chr(97 + k // 26)}")
    assert len(state.protection.retries) == MOST_PAUSES + 1
    assert {retry.times for retry in state.protection.retries.values()} == {100}


def test_a_refused_purchase_does_not_pause_a_sale_nor_another_symbol() -> None:
    run = world(lambda lots: PDT if lots > 0 else "", symbols=2)
    state = run.shell.state
    state.ledger.in_kind(0, 5_000, 500_000_000_000, 0)
    state.booked()
    run.policies[0] = type(run.policies[0])(lambda view: np.array([0.0, 0.5]))
    before = len(run.shell.broker.sent)  # type: ignore[attr-defined]
    run.shell.take(Tick(state.now + 1, due=(0,)))
    sent = run.shell.broker.sent[before:]  # type: ignore[attr-defined]
    assert [(b.sym, b.lots) for b in sent] == [([0], [-5_000])], "the purchase of the other symbol pauses"


def holding(refuses) -> World:  # type: ignore[no-untyped-def]
    """A run that holds 5,000 lots and wants none."""
    run = world(lambda lots: PDT)
    run.shell.state.protection.retries.clear()
    run.shell.state.ledger.in_kind(0, 5_000, 500_000_000_000, 0)
    run.shell.state.booked()
    run.shell.broker.refuses = refuses  # type: ignore[attr-defined]
    run.shell.broker.sent.clear()  # type: ignore[attr-defined]
    run.effects.clear()
    run.policies[0] = type(run.policies[0])(lambda view: np.zeros(1))
    return run


def test_an_exit_that_is_refused_pauses_alike_and_says_so_critical() -> None:
    run = holding(lambda lots: "insufficient qty available")
    assert minutes(run, 70) == [1, 2, 4, 8, 16, 32, 64]
    ((level, text),) = alerts(run)
    assert level == "CRITICAL"
    assert "orders that reduce it pause" in text


@pytest.mark.parametrize("pauses", [1, 5])
def test_an_operators_flatten_is_tried_at_once_and_then_pauses_on(pauses: int) -> None:
    run = holding(lambda lots: "insufficient qty available")
    minutes(run, 2**pauses + 1)
    state, sent = run.shell.state, run.shell.broker.sent  # type: ignore[attr-defined]
    before = len(sent)
    run.shell.run(Operator(state.now + 1, "flatten", "sell all", "ann"))
    assert len(sent) == before + 1
    run.shell.take(Tick(state.now + MINUTE // 2))
    assert len(sent) == before + 1
    assert len(alerts(run)) == 1


def test_an_order_by_hand_is_sent_whatever_pauses() -> None:
    run = world(lambda lots: PDT)
    state, sent = run.shell.state, run.shell.broker.sent  # type: ignore[attr-defined]
    before = len(sent)
    run.shell.run(by_hand(state.now + 1, "a0", 0, 10, "by hand", "ann"))
    assert len(sent) == before + 1


def test_a_fill_ends_the_run_with_one_info() -> None:
    run = world(lambda lots: PDT)
    minutes(run, 8)
    state, venue = run.shell.state, run.shell.broker
    venue.refuses = lambda lots: ""  # type: ignore[attr-defined]
    run.shell.take(Tick(state.now + 8 * MINUTE, due=(0,)))
    basket = venue.sent[-1]  # type: ignore[attr-defined]
    lots, price = basket.lots[0], 100 * 10**9
    assert len(alerts(run)) == 1, "an acceptance alone ends nothing"
    fill = Reports(basket.sample, basket.n, state.now + 1, [0], [lots], [lots], [price], [0], [int(Cause.LAST_FILL)])
    run.shell.run(fill)
    assert alerts(run)[1:] == [("INFO", "the venue takes orders that add to it again, after 4 refusals")]
    assert state.protection.retries == {}


def test_an_order_that_stands_as_long_as_the_last_pause_ends_the_run() -> None:
    run = world(lambda lots: PDT)
    state, venue = run.shell.state, run.shell.broker
    venue.refuses = lambda lots: ""  # type: ignore[attr-defined]
    run.shell.take(Tick(state.now + MINUTE, due=(0,)))
    assert state.protection.retries
    run.shell.take(Tick(state.now + MINUTE // 2))
    assert state.protection.retries
    run.shell.take(Tick(state.now + MINUTE // 2))
    assert state.protection.retries == {}
    assert alerts(run)[1:] == [("INFO", "the venue takes orders that add to it again, after 1 refusal")]


def test_an_order_that_is_accepted_and_refused_a_moment_later_goes_on_pausing() -> None:
    run = world(lambda lots: "")
    state, venue = run.shell.state, run.shell.broker
    at = []
    began = state.now
    for minute in range(1, 64):
        basket = venue.sent[-1]  # type: ignore[attr-defined]
        if state.working:
            at.append(minute - 1)
            run.shell.run(Reports(basket.sample, basket.n, state.now, [0], [0], [0], [0], [0], [5], "suspended"))
        run.shell.take(Tick(began + minute * MINUTE, due=(0,)))
    assert at == [0, 1, 3, 7, 15, 31]
    assert len(alerts(run)) == 1


def test_a_run_that_nothing_repeats_is_forgotten_after_an_hour() -> None:
    run = world(lambda lots: PDT)
    state = run.shell.state
    run.shell.take(Tick(state.now + 60 * MINUTE))
    assert state.protection.retries
    run.shell.take(Tick(state.now + MINUTE))
    assert state.protection.retries == {}
    assert alerts(run)[-1] == ("INFO", "orders that add to it were not refused for an hour, after 1 refusal")


@pytest.mark.parametrize("after", [1, 6, 20])
def test_a_restart_forgets_no_pause(after: int) -> None:
    run, straight = world(lambda lots: PDT), world(lambda lots: PDT)
    minutes(run, after + 1)
    state = thaw(run.rules, freeze(run.shell.state))
    assert state.protection.retries == run.shell.state.protection.retries
    run.restart(state)
    began = straight.shell.state.now
    at = [0, 1, 3, 7, 15, 31, 63]
    for minute in range(after + 1, 64):
        run.shell.take(Tick(began + minute * MINUTE, due=(0,)))
    assert [round((b.ts - began) / MINUTE) for b in run.shell.broker.sent] == at  # type: ignore[attr-defined]
    assert len(alerts(run)) == 1


def test_an_unknown_outcome_is_no_refusal() -> None:
    run = world(lambda lots: "")
    basket = run.shell.broker.sent[-1]  # type: ignore[attr-defined]
    run.shell.run(Unknown(basket.sample, basket.n, basket.ts, [0], "EService:Unavailable"))
    assert run.shell.state.protection.retries == {}
