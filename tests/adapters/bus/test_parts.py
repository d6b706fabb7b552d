"""Long payloads are sent in parts: each below the bound, each row in one of them, and numbered."""

from typing import Any

import jsonschema
import numpy as np
import pytest

from quantd.adapters.bus.entry_messages import EntryComposer, SentEntry
from quantd.adapters.bus.messages import Composer, Message
from quantd.adapters.bus.parts import PART_BYTES, parts_of
from quantd.adapters.bus.payloads import Payload
from quantd.trading.codec import encode
from quantd.trading.effects import AgentPlan, Effect, Ended, Filled, Planned, Valued
from quantd.trading.events import Tick
from quantd.trading.instruments import NANO, Instrument, Universe
from quantd.trading.orders import OrderBasket, OrderState
from tests.adapters.bus.journal_entries import TS, body, schema

N = 6_000
UNIVERSE = Universe(tuple(Instrument(f"S{k:04d}") for k in range(N)))


def composer() -> Composer:
    return Composer("7f3k2m1a", "paper", UNIVERSE, ("first", "second"), reasons=("", "weight"))


def entries(of: Composer) -> EntryComposer:
    """Composes entries; the store has one that sent a basket of N rows."""
    return EntryComposer(of, lambda sample, n: SentEntry(encode(Tick(TS), [basket(N)]), of.agents))


def basket(rows: int) -> OrderBasket:
    return OrderBasket(TS, 1, TS, list(range(rows)), [7] * rows, [100 * NANO] * rows, [0] * rows, [0] * rows)


def plan(rows: int, agents: int = 2) -> Planned:
    lots, codes = np.ones(rows, "<i8").tobytes(), bytes([1] * rows)
    weights = np.full(rows, 1 / rows).tobytes()
    lines = [AgentPlan(k, weights, 1.0, lots, lots, codes, {}) for k in range(agents)]
    prices = np.full(rows, 100.0).tobytes()
    return Planned(TS, 1, TS, lines, prices, lots, lots, lots, lots, codes, {}, {"gross": (0.5, 1.0)})


def filled(rows: int) -> Filled:
    columns = list(range(rows)), [7] * rows, [100 * NANO] * rows, [1] * rows
    return Filled(TS, 1, TS, *columns, [[(0, 3), (1, 4)]] * rows)


def joined(messages: list[Message]) -> dict[str, Any]:
    """The payload of all parts, joined as the documents tell a subscriber to."""
    payload: dict[str, Any] = {}
    for part in map(body, messages):
        for key, value in part.items():
            if isinstance(value, dict):
                payload.setdefault(key, {}).update(value)
            elif isinstance(value, list):
                payload.setdefault(key, []).extend(value)
            else:
                payload.setdefault(key, value)
    if "agents" in payload:
        lines: dict[str, dict[str, Any]] = {}
        for line in payload["agents"]:
            agent_line = lines.setdefault(line["agent"], line)
            for key, value in line.items():
                if isinstance(value, dict):
                    agent_line[key] |= value
        payload["agents"] = list(lines.values())
    return payload


LONG: list[tuple[Effect, str]] = [
    (basket(N), "orders"),
    (Ended(TS, 1, TS, list(range(N)), [OrderState.FILLED] * N, "close"), "orders"),
    (filled(N), "fills"),
    (plan(N), "decisions"),
    (plan(N, agents=1), "decisions"),
    (Valued(TS, 10**12, 10**9, [1], 0.9, 0.0), "portfolio"),
]


def sent(effect: Effect) -> list[Message]:
    speaker = composer()
    if isinstance(effect, Valued):
        return speaker.portfolio(9, 0, effect, [5] * N)
    return entries(speaker).messages(9, encode(Tick(TS), [effect]))


@pytest.mark.long
@pytest.mark.parametrize(("effect", "kind"), LONG, ids=lambda value: getattr(value, "kind", str(value)[:8]))
def test_a_long_payload_is_sent_in_parts_below_the_bound_and_each_is_valid(effect: Effect, kind: str) -> None:
    messages = sent(effect)
    assert len(messages) > 1
    assert max(len(message.payload) for message in messages) <= PART_BYTES
    assert [(body(m)["part"], body(m)["parts"]) for m in messages] == [
        (k + 1, len(messages)) for k in range(len(messages))
    ]
    assert len({message.id for message in messages}) == len(messages)
    assert [body(message)["id"] for message in messages] == [message.id for message in messages]
    for message in (messages[0], messages[-1]):
        jsonschema.validate(body(message), schema(kind))


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("effect", [effect for effect, _ in LONG], ids=range(len(LONG)))
def test_the_parts_joined_are_the_whole_payload(effect: Effect, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = sent(effect)
    monkeypatch.setattr(parts_of, "__defaults__", (1 << 30,))
    (single_message,) = sent(effect)
    assert joined(messages) == body(single_message) | {"parts": len(messages)}


def orders(rows: int) -> Payload:
    _, payload = entries(composer())._payload(basket(rows), [], "r-1-0")
    return payload


def test_a_retained_part_has_a_topic_of_its_own_which_is_cleared_when_the_account_is_smaller() -> None:
    speaker = composer()
    valued = Valued(TS, 10**12, 10**9, [1], 0.9, 0.0)
    messages = speaker.portfolio(1, 0, valued, [5] * N)
    topics = ["quantd/paper/portfolio", *(f"quantd/paper/portfolio/{k}" for k in range(2, len(messages) + 1))]
    assert [m.topic for m in messages] == topics
    assert all(m.retain for m in messages)
    smaller = speaker.portfolio(2, 0, valued, [5] + [0] * (N - 1))
    assert [m.topic for m in smaller] == topics
    assert [m.payload for m in smaller[1:]] == [b""] * (len(topics) - 1)
    assert len(speaker.portfolio(3, 0, valued, [5] + [0] * (N - 1))) == 1


def test_a_row_that_is_longer_than_the_bound_stays_whole() -> None:
    payload = orders(1)
    assert [part for part, _ in parts_of(payload, 200)] == [payload]
