"""What is said on the bus: topics, ids, exact text, and payloads that their published schemas accept."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.adapters.bus import schemas
from quantd.adapters.bus.entry_messages import EntryComposer, SentEntry
from quantd.adapters.bus.messages import Composer, Message
from quantd.adapters.bus.topics import checked_level, checked_prefix, escaped_level
from quantd.trading.codec import encode
from quantd.trading.display_text import microsecond_text
from quantd.trading.effects import (
    AgentPlan,
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
from quantd.trading.events import Tick
from quantd.trading.instruments import NANO, Instrument, Universe
from quantd.trading.orders import OrderBasket, OrderState
from tests.support.checkout import ROOT

UNIVERSE = Universe((Instrument("SPY"), Instrument("BTC", lot_nano=NANO // 10_000), Instrument("TLT")))
AGENTS = ("learned", "parity")
RUN = "7f3k2m1a"
TS = 1_720_026_000_000_000_000


def composer(**other: Any) -> Composer:
    return Composer(RUN, "paper", UNIVERSE, AGENTS, reasons=("", "weight", "cash"), **other)


class Entries:
    """Composes entries that are made of effects; `stored` has those that another process sent, by number of basket."""

    def __init__(self, of: Composer | None = None) -> None:
        self.stored: dict[tuple[int, int], SentEntry] = {}
        self.composer = EntryComposer(of or composer(), lambda sample, n: self.stored.get((sample, n)))

    def messages(self, sequence: int, effects: Sequence[Effect]) -> list[Message]:
        return self.composer.messages(sequence, encode(Tick(TS, sample=True), effects))


def entry(*effects: Effect) -> list[Message]:
    """The messages of entry 1 with these effects."""
    return Entries().messages(1, effects)


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


VALUED = EVERY_EFFECT[6]
assert isinstance(VALUED, Valued)


@pytest.mark.requirement("R-180")
def test_each_topic_has_its_place_and_only_states_are_retained() -> None:
    speaker = composer()
    found = [*speaker.critical(17, EVERY_EFFECT), *Entries().messages(17, EVERY_EFFECT)]
    found += speaker.portfolio(17, 6, VALUED, [31, 2_500, 0])
    assert [(m.topic, m.retain) for m in found] == [
        ("quantd/paper/alerts/CRITICAL/limit", False),
        ("quantd/paper/decisions", False),
        ("quantd/paper/orders", False),
        ("quantd/paper/fills", False),
        ("quantd/paper/fills", False),
        ("quantd/paper/orders", False),
        ("quantd/paper/portfolio", True),
    ]
    assert [m.id for m in found] == [f"{RUN}-17-{k}" for k in range(7)]


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
    found = [*speaker.critical(17, EVERY_EFFECT), *Entries(speaker).messages(17, EVERY_EFFECT)]
    found += speaker.portfolio(17, 6, VALUED, [31, 2_500, 0])
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
    payload = body(composer().critical(17, EVERY_EFFECT)[0])
    del payload[key]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(payload, schema("alert"))


def test_the_portfolio_names_books_and_positions() -> None:
    (payload,) = by_topic(composer().portfolio(1, 0, VALUED, [31, -2_500, 0]), "portfolio")
    assert payload["equity"] == "118402.17"
    assert payload["cash"] == "2310.400001"
    assert payload["books"] == {"learned": "60000.00", "parity": "58000.00", "unallocated": "402.17"}
    assert payload["positions"] == {"SPY": "31", "BTC": "-0.25"}


LIMITS = {"gross": (0.5, 1.0), "var": (float("inf"), 0.03)}


def test_risk_holds_the_switches_and_limits_and_a_restart_continues_them() -> None:
    speaker = composer()
    speaker.note(Switched(TS, -1, 0, 1, "drawdown"))
    speaker.note(Switched(TS, 1, 0, 2, "late"))
    message = speaker.risk(2, TS, "drawdown", LIMITS, 0.091)
    assert (message.topic, message.retain, message.id) == ("quantd/paper/risk", True, f"{RUN}-2-risk")
    payload = body(message)
    assert (payload["switch"], payload["agents"], payload["drawdown"]) == ("REDUCE", {"parity": "HALT"}, 0.091)
    assert (payload["reason"], payload["ts_event"]) == ("drawdown", TS)
    assert payload["limits"] == {"gross": {"value": 0.5, "bound": 1.0}, "var": {"value": None, "bound": 0.03}}
    again = composer(switch={-1: 1, 1: 2})
    assert body(again.risk(3, TS, "", LIMITS, 0.0))["switch"] == "REDUCE"


def test_alerts_that_are_not_critical_wait_for_the_store() -> None:
    assert (
        composer().critical(1, [Publish(TS, "WARNING", "order", "refused"), Switched(TS, -1, 0, 1, "drawdown")]) == []
    )


def test_an_alert_kept_by_the_store_is_the_same_message() -> None:
    (said,) = composer().critical(17, EVERY_EFFECT)
    assert composer().stored(said.payload) == said
    assert json.loads(composer().stored(said.payload, merged=3).payload)["count"] == 4


@given(st.text(st.characters(exclude_categories=())), st.text(st.characters(exclude_categories=())))
def test_no_text_of_an_alert_makes_another_topic_or_stops_it(kind: str, text: str) -> None:
    (found,) = composer().critical(1, [Publish(TS, "CRITICAL", kind, text, text, text, float("inf"), float("nan"))])
    assert found.topic.count("/") == 4
    assert found.topic.startswith("quantd/paper/alerts/CRITICAL/")
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
