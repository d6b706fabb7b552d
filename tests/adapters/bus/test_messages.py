"""What is said on the bus: topics, ids, exact text, and payloads that their published schemas accept."""

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.adapters.bus import schemas
from quantd.adapters.bus.messages import Composer
from quantd.adapters.bus.topics import checked_level, checked_prefix
from quantd.trading.effects import (
    Publish,
    Switched,
    Valued,
)
from tests.adapters.bus.journal_entries import (
    AGENTS,
    EVERY_EFFECT,
    RUN,
    TS,
    UNIVERSE,
    Entries,
    body,
    by_topic,
    composer,
    schema,
)

VALUED = EVERY_EFFECT[6]
assert isinstance(VALUED, Valued)


@pytest.mark.requirement("R-180")
def test_each_topic_has_its_place_and_only_states_are_retained() -> None:
    speaker = composer()
    messages = [*speaker.critical(17, EVERY_EFFECT), *Entries().messages(17, EVERY_EFFECT)]
    messages += speaker.portfolio(17, 6, VALUED, [31, 2_500, 0])
    assert [(m.topic, m.retain) for m in messages] == [
        ("quantd/paper/alerts/CRITICAL/limit", False),
        ("quantd/paper/decisions", False),
        ("quantd/paper/orders", False),
        ("quantd/paper/fills", False),
        ("quantd/paper/fills", False),
        ("quantd/paper/orders", False),
        ("quantd/paper/portfolio", True),
    ]
    assert [m.id for m in messages] == [f"{RUN}-17-{k}" for k in range(7)]


@pytest.mark.parametrize("name", sorted(schemas.TOPICS | schemas.COMMANDS))
def test_published_schemas_are_those_of_the_code(name: str, tmp_path: Path) -> None:
    schemas.write(tmp_path)
    assert (tmp_path / f"{name}.json").read_text() == json.dumps(schema(name), indent=2) + "\n"
    jsonschema.Draft202012Validator.check_schema(schema(name))


@pytest.mark.requirement("R-180")
def test_every_message_is_accepted_by_its_published_schema_and_every_schema_is_met() -> None:
    speaker = composer()
    messages = [*speaker.critical(17, EVERY_EFFECT), *Entries(speaker).messages(17, EVERY_EFFECT)]
    messages += speaker.portfolio(17, 6, VALUED, [31, 2_500, 0])
    messages += [speaker.status("online", TS, version="0.1.0", text="RUN"), speaker.heartbeat(TS, 1, 100, 5_000_000)]
    messages.append(speaker.risk(17, TS, "drawdown", LIMITS, 0.171, 0.091))
    seen = set()
    for message in messages:
        payload = body(message)
        jsonschema.validate(payload, schema(payload["type"]))
        assert payload["id"] == message.id
        assert (payload["schema"], payload["run"], payload["name"]) == (1, RUN, "paper")
        seen.add(payload["type"])
    assert seen == set(schemas.TOPICS)


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
    message = speaker.risk(2, TS, "drawdown", LIMITS, 0.171, 0.091)
    assert (message.topic, message.retain, message.id) == ("quantd/paper/risk", True, f"{RUN}-2-risk")
    payload = body(message)
    assert (payload["switch"], payload["agents"]) == ("REDUCE", {"parity": "HALT"})
    assert (payload["drawdown"], payload["limit_drawdown"]) == (0.171, 0.091)
    assert (payload["reason"], payload["ts_event"]) == ("drawdown", TS)
    assert payload["limits"] == {"gross": {"value": 0.5, "bound": 1.0}, "var": {"value": None, "bound": 0.03}}
    again = composer(switch={-1: 1, 1: 2})
    assert body(again.risk(3, TS, "", LIMITS, 0.0, 0.0))["switch"] == "REDUCE"


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
    (message,) = composer().critical(1, [Publish(TS, "CRITICAL", kind, text, text, text, float("inf"), float("nan"))])
    assert message.topic.count("/") == 4
    assert message.topic.startswith("quantd/paper/alerts/CRITICAL/")
    assert not set(message.topic) & set("+#\x00 \n")
    assert len(message.topic.encode()) < 128
    jsonschema.validate(body(message), schema("alert"))


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
