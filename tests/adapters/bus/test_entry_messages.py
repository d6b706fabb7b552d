"""Messages of a journal entry are a function of its bytes: exact text, ids, agents, ends of earlier baskets."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.adapters.bus.entry_messages import BASKETS, EntryComposer, SentEntry
from quantd.adapters.bus.messages import Composer
from quantd.trading.codec import encode
from quantd.trading.effects import Crossed, Effect, Ended, Filled
from quantd.trading.events import Tick
from quantd.trading.instruments import NANO
from quantd.trading.orders import OrderState, order_id
from tests.adapters.bus.journal_entries import (
    AGENTS,
    RUN,
    TS,
    UNIVERSE,
    Entries,
    basket,
    body,
    by_topic,
    composer,
    entry,
    filled,
    plan,
)


def test_an_order_names_its_agents_its_exact_quantity_and_what_cut_it() -> None:
    (sent,) = by_topic(entry(plan(), basket()), "orders")
    assert sent["orders"][0] == {
        "row": 0,
        "order": order_id(RUN, TS, "SPY", 1),
        "symbol": "SPY",
        "side": "buy",
        "qty": "31",
        "limit": "500.123456789",
        "state": "sent",
        "reason": "",
        "agent": "learned",
    }
    assert (sent["orders"][1]["qty"], sent["orders"][1]["side"], sent["orders"][1]["reason"]) == (
        "0.25",
        "sell",
        "cash",
    )


def test_an_ended_row_is_named_although_the_effect_only_knows_its_number() -> None:
    speaker = Entries()
    speaker.messages(1, [plan(), basket()])
    (ended,) = by_topic(speaker.messages(2, [Ended(TS, 1, TS, [1], [OrderState.EXPIRED], "close")]), "orders")
    assert ended["orders"] == [
        {
            "row": 1,
            "order": order_id(RUN, TS, "BTC", 1),
            "symbol": "BTC",
            "side": "sell",
            "qty": "0.25",
            "limit": "60000.00",
            "state": "expired",
            "reason": "close",
            "agent": "learned",
        }
    ]


def test_the_end_of_a_basket_is_the_same_message_if_another_process_sent_it_or_its_entry_was_dropped() -> None:
    here, after = Entries(), Entries()
    here.messages(1, [plan(), basket()])
    sent = encode(Tick(TS, sample=True), [plan(), basket()])
    after.stored[TS, 1] = SentEntry(sent, AGENTS)
    ends = [Ended(TS, 1, TS, [row], [OrderState.EXPIRED], "close") for row in (1, 0)]
    messages = [here.messages(k, [end]) for k, end in enumerate(ends, 2)]
    assert messages == [after.messages(k, [end]) for k, end in enumerate(ends, 2)]
    assert [line["agent"] for (message,) in messages for line in body(message)["orders"]] == ["learned", "learned"]


def test_the_agents_of_a_stored_basket_have_the_names_of_its_time() -> None:
    speaker = Entries(Composer(RUN, "paper", UNIVERSE, ("newer", "parity")))
    speaker.stored[TS, 1] = SentEntry(encode(Tick(TS, sample=True), [plan(), basket()]), AGENTS)
    (line,) = by_topic(speaker.messages(2, [Ended(TS, 1, TS, [0], [OrderState.EXPIRED])]), "orders")[0]["orders"]
    assert line["agent"] == "learned"


def test_an_entry_whose_store_cannot_be_read_now_is_composed_to_the_same_messages_later() -> None:
    down = True

    def sent_by(sample: int, n: int) -> SentEntry:
        if down:
            raise OSError(5, "Input/output error")
        return SentEntry(encode(Tick(TS, sample=True), [plan(n), basket(n)]), AGENTS)

    entries, reference = EntryComposer(composer(), sent_by), EntryComposer(composer(), sent_by)
    ends: list[Effect] = [Ended(TS, n, TS, [0, 1], [OrderState.FILLED] * 2, "close") for n in (1, 2)]
    data = encode(Tick(TS), ends)
    entries.messages(1, encode(Tick(TS), [plan(1), basket(1)]))
    with pytest.raises(OSError, match="Input/output"):  # after the first end, whose basket it has
        entries.messages(2, data)
    down = False
    assert entries.messages(2, data) == reference.messages(2, data)


def test_a_report_about_a_basket_that_no_store_has_is_published_without_a_guess() -> None:
    ended = Ended(TS, 9, TS, [0], [OrderState.CANCELLED])
    (line,) = by_topic(entry(ended), "orders")[0]["orders"]
    assert (line["order"], line["symbol"], line["state"]) == ("", "", "cancelled")


def test_baskets_are_forgotten_when_they_ended_and_never_more_than_a_bound_is_kept() -> None:
    speaker = Entries()
    baskets = speaker.composer._baskets
    speaker.messages(1, [basket(), Ended(TS, 1, TS, [0], [5])])
    assert len(baskets) == 1
    speaker.messages(2, [Ended(TS, 1, TS, [1], [8])])
    assert len(baskets) == 0
    for n in range(BASKETS + 10):
        speaker.messages(3, [basket(n)])
    assert len(baskets) == BASKETS


def test_fills_are_exact_text_and_say_how_they_were_shared() -> None:
    (payload,) = by_topic(entry(filled()), "fills")
    spy, btc = payload["fills"]
    assert (spy["price"], spy["fee"], spy["qty"], spy["agent"]) == ("499.990000001", "1.549969", "31", "learned+parity")
    assert spy["shares"] == {"learned": "20", "parity": "11"}
    assert (btc["side"], btc["qty"], btc["fee"], btc["shares"]) == ("sell", "0.25", "15.00025", {"learned": "-0.25"})


def test_a_cross_is_not_a_fill_of_the_house() -> None:
    (payload,) = by_topic(entry(Crossed(TS, TS, 0, 500 * NANO, [(0, 6), (1, -6)])), "fills")
    assert payload["fills"] == []
    assert payload["crosses"] == [{"symbol": "SPY", "price": "500.00", "shares": {"learned": "6", "parity": "-6"}}]


def test_a_decision_says_what_each_agent_wanted_and_what_cut_it() -> None:
    (payload,) = by_topic(entry(plan()), "decisions")
    learned = payload["agents"][0]
    assert learned["weights"] == {"SPY": 0.5, "TLT": 0.25}
    assert (learned["asked"], learned["allowed"]) == ({"SPY": "40", "BTC": "-0.25"}, {"SPY": "37", "BTC": "-0.25"})
    assert learned["reasons"] == {"BTC": "cash"}
    assert (payload["crossed"], payload["reasons"]) == ({"SPY": "6"}, {"BTC": "weight"})


@given(st.integers(-(10**9), 10**9).filter(bool), st.integers(1, 10**14), st.integers(0, 10**12))
def test_quantity_price_and_fee_lose_nothing(lots: int, price_nano: int, fee_micro: int) -> None:
    effect = Filled(TS, 1, TS, [1], [lots], [price_nano], [fee_micro], [[(0, lots)]])
    (line,) = by_topic(entry(effect), "fills")[0]["fills"]
    sign = 1 if line["side"] == "buy" else -1
    assert Fraction(line["qty"]) * sign == Fraction(lots * UNIVERSE.lot_nano[1], NANO)
    assert Fraction(line["price"]) == Fraction(price_nano, NANO)
    assert Fraction(line["fee"]) == Fraction(fee_micro, 10**6)
