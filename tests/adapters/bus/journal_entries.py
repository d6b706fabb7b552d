"""Entries of a journal that are made of effects, and the messages that a composer writes for them."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from quantd.adapters.bus.entry_messages import EntryComposer, SentEntry
from quantd.adapters.bus.messages import Composer, Message
from quantd.trading.codec import encode
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


def by_topic(messages: list[Message], suffix: str) -> list[dict[str, Any]]:
    return [body(m) for m in messages if m.topic == f"quantd/paper/{suffix}"]


def schema(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "docs" / "schemas" / f"{name}.json").read_text())
