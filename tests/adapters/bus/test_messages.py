"""What is said on the bus: topics, ids, exact text, and payloads that their published schemas accept."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.adapters.bus import schemas
from quantd.adapters.bus.messages import BASKETS, Composer, Message
from quantd.adapters.bus.topics import checked_level, checked_prefix, escaped_level
from quantd.trading.display_text import microsecond_text
from quantd.trading.effects import (
    AgentPlan,
    Ask,
    Booked,
    Cancel,
    Crossed,
    Effect,
    Ended,
    Filled,
    Planned,
    Publish,
    Query,
    Snapshot,
    Stop,
    Switched,
    Valued,
)
from quantd.trading.instruments import NANO, Instrument, Universe
from quantd.trading.orders import OrderBasket, OrderState, order_id
from tests.support.checkout import ROOT

UNIVERSE = Universe((Instrument("SPY"), Instrument("BTC", lot_nano=NANO // 10_000), Instrument("TLT")))
AGENTS = ("learned", "parity")
RUN = "7f3k2m1a"
TS = 1_720_026_000_000_000_000


def composer(**other: Any) -> Composer:
    return Composer(RUN, "paper", UNIVERSE, AGENTS, reasons=("", "weight", "cash"), **other)


def ints(*values: int) -> bytes:
    return np.array(values, dtype="<i8").tobytes()


def basket(n: int = 1) -> OrderBasket:
    return OrderBasket(
        sample=TS,
        n=n,
        ts=TS,
        sym=[0, 1],
        lots=[31, -2_500],
        worst_nano=[500_123_456_789, 60_000 * NANO],
        end=[0, 0],
        reason=[0, 2],
    )


def plan(n: int = 1) -> Planned:
    def agent(number: int, asked: bytes, allowed: bytes) -> AgentPlan:
        weights = np.array([0.5, 0.0, 0.25]).tobytes()
        return AgentPlan(number, weights, 0.98, asked, allowed, bytes([0, 2, 0]), {"cash": (1.0, 2.0)})

    return Planned(
        sample=TS,
        n=n,
        ts=TS,
        agents=[agent(0, ints(40, -2_500, 0), ints(37, -2_500, 0)), agent(1, ints(-6, 0, 0), ints(-6, 0, 0))],
        prices=np.array([500.0, 60_000.0, 90.0]).tobytes(),
        before=ints(10, 5_000, 0),
        crossed=ints(6, 0, 0),
        net=ints(31, -2_500, 0),
        allowed=ints(31, -2_500, 0),
        reason=bytes([0, 1, 0]),
        values_before={},
        values={"gross": (0.5, 1.0), "var": (float("nan"), 0.03)},
    )


def filled(n: int = 1) -> Filled:
    return Filled(
        sample=TS,
        n=n,
        ts=TS + 1,
        sym=[0, 1],
        lots=[31, -2_500],
        price_nano=[499_990_000_001, 60_001 * NANO],
        fee_micro=[1_549_969, 15_000_250],
        shares=[[(0, 20), (1, 11)], [(0, -2_500)]],
    )


EVERY_EFFECT: list[Effect] = [
    Publish(TS, "CRITICAL", "limit", "VaR over its bound", "SPY", "learned", 0.031, 0.03),
    plan(),
    basket(),
    filled(),
    Crossed(TS, TS, 0, 500 * NANO, [(0, 6), (1, -6)]),
    Ended(TS, 1, TS, [0, 1], [OrderState.FILLED, OrderState.EXPIRED], "close"),
    Valued(TS, 118_402_170_000, 2_310_400_001, [60_000_000_000, 58_000_000_000, 402_170_000], 0.98, 0.091),
    Switched(TS, -1, 0, 1, "drawdown"),
    Booked(TS, "dividend", 0, 1_000_000),
    Cancel(TS, 1, 0, TS),
    Query(TS, 1, [0]),
    Snapshot(TS),
    Stop("asked"),
]


def body(message: Message) -> dict[str, Any]:
    return json.loads(message.payload)


def by_topic(found: list[Message], suffix: str) -> list[dict[str, Any]]:
    return [body(m) for m in found if m.topic == f"quantd/paper/{suffix}"]


@pytest.mark.requirement("R-180")
def test_each_topic_has_its_place_and_only_states_are_retained() -> None:
    found = composer().messages(17, EVERY_EFFECT)
    assert [(m.topic, m.retain) for m in found] == [
        ("quantd/paper/alerts/CRITICAL/limit", False),
        ("quantd/paper/decisions", False),
        ("quantd/paper/orders", False),
        ("quantd/paper/fills", False),
        ("quantd/paper/fills", False),
        ("quantd/paper/orders", False),
        ("quantd/paper/portfolio", True),
    ]


def schema(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "docs" / "schemas" / f"{name}.json").read_text())


@pytest.mark.parametrize("name", sorted(schemas.TOPICS | schemas.COMMANDS))
def test_published_schemas_are_those_of_the_code(name: str, tmp_path: Path) -> None:
    schemas.write(tmp_path)
    assert (tmp_path / f"{name}.json").read_text() == json.dumps(schema(name), indent=2) + "\n"
    jsonschema.Draft202012Validator.check_schema(schema(name))


@pytest.mark.requirement("R-180")
def test_every_message_is_accepted_by_its_published_schema_and_every_schema_is_met() -> None:
    speaker = composer()
    found = speaker.messages(17, EVERY_EFFECT, lots=[31, 2_500, 0])
    found += [speaker.status("online", TS, version="0.1.0", text="RUN"), speaker.heartbeat(TS, 1, 100, 5_000_000)]
    found.append(speaker.risk(17, TS, "drawdown", LIMITS, 0.091))
    seen = set()
    for message in found:
        payload = body(message)
        jsonschema.validate(payload, schema(payload["type"]))
        assert payload["id"] == message.id
        assert (payload["schema"], payload["run"], payload["name"]) == (1, RUN, "paper")
        seen.add(payload["type"])
    assert seen == set(schemas.TOPICS)


@pytest.mark.parametrize("key", ["schema", "id", "run", "ts_event", "type"])
def test_a_payload_without_its_stamp_is_not_accepted(key: str) -> None:
    payload = body(composer().messages(17, EVERY_EFFECT[:1])[0])
    del payload[key]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(payload, schema("alert"))


def test_the_same_entry_gives_the_same_messages_and_no_two_messages_share_an_id() -> None:
    first, second = composer(), composer()
    one = [m for k in range(20) for m in first.messages(k, EVERY_EFFECT)]
    two = [m for k in range(20) for m in second.messages(k, EVERY_EFFECT)]
    assert one == two
    assert len({m.id for m in one}) == len(one)
    assert all(m.id.startswith(f"{RUN}-") for m in one)


def test_another_run_has_other_ids() -> None:
    other = Composer("aaaaaaaa", "paper", UNIVERSE, AGENTS)
    assert {m.id for m in other.messages(1, EVERY_EFFECT)} & {
        m.id for m in composer().messages(1, EVERY_EFFECT)
    } == set()


def test_an_order_names_its_agents_its_exact_quantity_and_what_cut_it() -> None:
    (sent,) = by_topic(composer().messages(1, [plan(), basket()]), "orders")
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
    speaker = composer()
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


def test_a_report_about_a_basket_nobody_remembers_is_published_without_a_guess() -> None:
    ended = Ended(TS, 9, TS, [0], [OrderState.CANCELLED])
    (line,) = by_topic(composer().messages(1, [ended]), "orders")[0]["orders"]
    assert (line["order"], line["symbol"], line["state"]) == ("", "", "cancelled")
    speaker = composer()
    speaker.remember(basket(9), ["learned", "parity"])
    (line,) = by_topic(speaker.messages(1, [ended]), "orders")[0]["orders"]
    assert (line["order"], line["agent"]) == (order_id(RUN, TS, "SPY", 9), "learned")


def test_baskets_are_forgotten_when_they_ended_and_never_more_than_a_bound_is_kept() -> None:
    speaker = composer()
    speaker.messages(1, [basket(), Ended(TS, 1, TS, [0], [5])])
    assert len(speaker._baskets) == 1
    speaker.messages(2, [Ended(TS, 1, TS, [1], [8])])
    assert len(speaker._baskets) == 0
    for n in range(BASKETS + 10):
        speaker.remember(basket(n))
    assert len(speaker._baskets) == BASKETS


def test_fills_are_exact_text_and_say_how_they_were_shared() -> None:
    (payload,) = by_topic(composer().messages(1, [filled()]), "fills")
    spy, btc = payload["fills"]
    assert (spy["price"], spy["fee"], spy["qty"], spy["agent"]) == ("499.990000001", "1.549969", "31", "learned+parity")
    assert spy["shares"] == {"learned": "20", "parity": "11"}
    assert (btc["side"], btc["qty"], btc["fee"], btc["shares"]) == ("sell", "0.25", "15.00025", {"learned": "-0.25"})


def test_a_cross_is_not_a_fill_of_the_house() -> None:
    (payload,) = by_topic(composer().messages(1, [Crossed(TS, TS, 0, 500 * NANO, [(0, 6), (1, -6)])]), "fills")
    assert payload["fills"] == []
    assert payload["crosses"] == [{"symbol": "SPY", "price": "500.00", "shares": {"learned": "6", "parity": "-6"}}]


def test_the_portfolio_names_books_and_positions() -> None:
    (payload,) = by_topic(composer().messages(1, [EVERY_EFFECT[6]], lots=[31, -2_500, 0]), "portfolio")
    assert payload["equity"] == "118402.17"
    assert payload["cash"] == "2310.400001"
    assert payload["books"] == {"learned": "60000.00", "parity": "58000.00", "unallocated": "402.17"}
    assert payload["positions"] == {"SPY": "31", "BTC": "-0.25"}


LIMITS = {"gross": (0.5, 1.0), "var": (float("inf"), 0.03)}


def test_risk_holds_the_switches_and_limits_and_a_restart_continues_them() -> None:
    speaker = composer()
    speaker.messages(1, [plan(), Switched(TS, -1, 0, 1, "drawdown"), Switched(TS, 1, 0, 2, "late")])
    message = speaker.risk(2, TS, "drawdown", LIMITS, 0.091)
    assert (message.topic, message.retain, message.id) == ("quantd/paper/risk", True, f"{RUN}-2-risk")
    payload = body(message)
    assert (payload["switch"], payload["agents"], payload["drawdown"]) == ("REDUCE", {"parity": "HALT"}, 0.091)
    assert (payload["reason"], payload["ts_event"]) == ("drawdown", TS)
    assert payload["limits"] == {"gross": {"value": 0.5, "bound": 1.0}, "var": {"value": None, "bound": 0.03}}
    again = composer(switch={-1: 1, 1: 2}, lots=(1, 0, 0))
    assert body(again.risk(3, TS, "", LIMITS, 0.0))["switch"] == "REDUCE"
    assert by_topic(again.messages(3, [EVERY_EFFECT[6]]), "portfolio")[0]["positions"] == {"SPY": "1"}


def test_a_decision_says_what_each_agent_wanted_and_what_cut_it() -> None:
    (payload,) = by_topic(composer().messages(1, [plan()]), "decisions")
    learned = payload["agents"][0]
    assert learned["weights"] == {"SPY": 0.5, "TLT": 0.25}
    assert (learned["asked"], learned["allowed"]) == ({"SPY": "40", "BTC": "-0.25"}, {"SPY": "37", "BTC": "-0.25"})
    assert learned["reasons"] == {"BTC": "cash"}
    assert (payload["crossed"], payload["reasons"]) == ({"SPY": "6"}, {"BTC": "weight"})


def test_a_reason_without_a_name_is_its_code() -> None:
    (payload,) = by_topic(Composer(RUN, "paper", UNIVERSE, AGENTS).messages(1, [plan()]), "decisions")
    assert payload["reasons"] == {"BTC": "1"}


def test_asks_are_not_published() -> None:
    ask = Ask.__new__(Ask)
    assert composer().messages(1, [ask]) == []


def test_ids_name_the_journal_entry_and_the_place_of_the_effect_in_it() -> None:
    ids = [m.id for m in composer().messages(17, EVERY_EFFECT)]
    assert ids == [f"{RUN}-17-{k}" for k in range(7)]


def test_an_alert_kept_by_the_store_is_the_same_message() -> None:
    (said,) = composer().messages(17, EVERY_EFFECT[:1])
    assert composer().stored(said.payload) == said
    assert json.loads(composer().stored(said.payload, merged=3).payload)["count"] == 4


@given(st.text(st.characters(exclude_categories=())), st.text(st.characters(exclude_categories=())))
def test_no_text_of_an_alert_makes_another_topic_or_stops_it(kind: str, text: str) -> None:
    (found,) = composer().messages(1, [Publish(TS, "INFO", kind, text, text, text, float("inf"), float("nan"))])
    assert found.topic.count("/") == 4
    assert found.topic.startswith("quantd/paper/alerts/INFO/")
    assert not set(found.topic) & set("+#\x00 \n")
    assert len(found.topic.encode()) < 128
    jsonschema.validate(body(found), schema("alert"))


@given(st.text(st.characters(exclude_categories=())))
def test_a_kind_of_letters_and_digits_is_kept_as_it_is(text: str) -> None:
    level = escaped_level(text)
    assert level
    if text and text.isascii() and text.isalnum() and len(text) <= 64:
        assert level == text


@pytest.mark.parametrize("name", ["", "a/b", "a+", "#", "$SYS", "a b", "a\nb", "a\x00", "x" * 65, "a\u200bb"])
def test_a_name_that_would_change_the_topic_is_refused_with_its_key(name: str) -> None:
    with pytest.raises(ValueError, match=r"\[quantd\] name"):
        Composer(RUN, name, UNIVERSE, AGENTS)


def test_a_prefix_may_have_levels_but_no_wildcards() -> None:
    assert checked_prefix("site/quantd") == "site/quantd"
    assert checked_level("größe-1.x_y", "k") == "größe-1.x_y"
    for prefix in ("", "a//b", "/a", "a/", "a/#", "+/a"):
        with pytest.raises(ValueError, match="prefix"):
            checked_prefix(prefix)


def test_time_is_iso_8601_in_utc() -> None:
    assert microsecond_text(1_720_026_000_000_001_999) == "2024-07-03T17:00:00.000001Z"
    assert microsecond_text(0) == "1970-01-01T00:00:00.000000Z"


@given(st.integers(-(10**9), 10**9).filter(bool), st.integers(1, 10**14), st.integers(0, 10**12))
def test_quantity_price_and_fee_lose_nothing(lots: int, price_nano: int, fee_micro: int) -> None:
    from fractions import Fraction

    effect = Filled(TS, 1, TS, [1], [lots], [price_nano], [fee_micro], [[(0, lots)]])
    (line,) = by_topic(composer().messages(1, [effect]), "fills")[0]["fills"]
    sign = 1 if line["side"] == "buy" else -1
    assert Fraction(line["qty"]) * sign == Fraction(lots * UNIVERSE.lot_nano[1], NANO)
    assert Fraction(line["price"]) == Fraction(price_nano, NANO)
    assert Fraction(line["fee"]) == Fraction(fee_micro, 10**6)
