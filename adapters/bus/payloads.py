"""MQTT payloads: one frozen struct per topic, written as JSON. Pure.

Money, prices and quantities are exact decimal text. Weights and risk measures are floats, null for NaN. `ts_event` is
int64 ns UTC, `time` the same instant as text.
"""

from typing import Final, Literal

import msgspec
from msgspec import Struct

from quantd.adapters.bus.decision_lines import AgentLine
from quantd.trading.effects import Level
from quantd.trading.orders import Side

SCHEMA: Final = 1
"""Version of every payload here. Added fields do not change it; fields are never changed or removed."""

SwitchName = Literal["RUN", "REDUCE", "HALT"]
StatusState = Literal["starting", "online", "ended", "stopped", "offline"]


class Stamp(Struct, frozen=True, kw_only=True, tag_field="type"):
    """The common fields of every payload. `id` identifies the message, so that a repeated message can be recognised."""

    schema: int
    id: str
    run: str
    name: str
    ts_event: int
    time: str


class Rows(Stamp, frozen=True, kw_only=True):
    """A payload with rows. A payload that is too long for a broker is sent in parts, numbered from 1 to `parts`.

    Each row is in one part. To restore the payload, join the lists and merge the mappings of all parts; lines of one
    agent in several parts are merged too.
    """

    part: int = 1
    parts: int = 1


class Alert(Stamp, frozen=True, kw_only=True, tag="alert"):
    """An alert, on the topic alerts/<level>/<kind>, or alert_groups for a group of alerts.

    `count` is above 1 for a group, and where a full outbox merged alerts of one kind.

    `incident` is the id of the incident that the alert is about and `state` the incident's state; both are empty for a
    one-off event. `account` is the account when the alert was sent, in one line, where a sink sends it to a person.
    """

    level: Level
    kind: str
    text: str
    symbol: str
    agent: str
    value: float | None
    bound: float | None
    count: int = 1
    incident: str = ""
    state: Literal["", "raised", "reminded", "acknowledged", "cleared"] = ""
    account: str = ""


class OrderLine(Struct, frozen=True):
    """One order. `order` is its client id; `order` and `symbol` are empty where the store no longer has the order's
    basket."""

    row: int
    order: str
    symbol: str
    side: Literal["buy", "sell", ""]
    qty: str
    limit: str
    state: str
    reason: str
    agent: str


class Orders(Rows, frozen=True, kw_only=True, tag="orders"):
    """A message on the topic orders: the orders (rows) of one basket that were sent, or that ended."""

    sample: int
    n: int
    orders: list[OrderLine]


class FillLine(Struct, frozen=True):
    """One fill of an order of the account. `shares` maps each agent to its signed part of the quantity."""

    order: str
    symbol: str
    side: Side
    qty: str
    price: str
    fee: str
    agent: str
    shares: dict[str, str]


class CrossLine(Struct, frozen=True):
    """A quantity traded between agents without an order at the venue: agent -> signed quantity."""

    symbol: str
    price: str
    shares: dict[str, str]


class Fills(Rows, frozen=True, kw_only=True, tag="fills"):
    """A message on the topic fills: fills of one basket at one instant, or a trade between agents without an order."""

    fills: list[FillLine]
    crosses: list[CrossLine]


class Portfolio(Rows, frozen=True, kw_only=True, tag="portfolio"):
    """A message on the topics portfolio and portfolio/2 (the second part), retained: the account at one sample.

    A sample is an instant at which the account is valued. `books` has the equity of each agent.
    """

    equity: str
    cash: str
    gross: float | None
    limit_drawdown: float | None
    books: dict[str, str]
    positions: dict[str, str]


class Measure(Struct, frozen=True):
    """The measured value of a risk limit, and its bound."""

    value: float | None
    bound: float | None


class Risk(Stamp, frozen=True, kw_only=True, tag="risk"):
    """A message on the topic risk (retained): the trading switches, and limits and drawdowns of the account, all at
    `ts_event`. `limit_drawdown` is from the highest equity since the last resume: it counts for the limit."""

    switch: SwitchName
    reason: str
    agents: dict[str, SwitchName]
    limits: dict[str, Measure]
    drawdown: float | None
    limit_drawdown: float | None


class Decisions(Rows, frozen=True, kw_only=True, tag="decisions"):
    """A message on the topic decisions: how the decisions of one instant were converted into orders."""

    sample: int
    n: int
    follow_up: int
    agents: list[AgentLine]
    crossed: dict[str, str]
    net: dict[str, str] = msgspec.field(name="asked")
    allowed: dict[str, str]
    reasons: dict[str, str]
    limits: dict[str, Measure]


class Status(Stamp, frozen=True, kw_only=True, tag="status"):
    """A message on the topic status (retained): the state of the daemon.

    `offline` is the last will, which the broker publishes after a lost connection.
    """

    state: StatusState
    mode: str
    version: str
    text: str


class Heartbeat(Stamp, frozen=True, kw_only=True, tag="heartbeat"):
    """A message on the topic heartbeat: the daemon's event loop is alive.

    Without a connection to the broker it is dropped, never queued.
    """

    slices: int
    switch: SwitchName
    equity: str


Payload = Alert | Orders | Fills | Portfolio | Risk | Decisions | Status | Heartbeat
"""Every published payload."""
