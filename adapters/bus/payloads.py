"""What each topic carries: one frozen struct per topic, written as JSON. Pure.

Money, prices and quantities are exact decimal text; weights and risk measures are floats (null where a
measure is not a number). `ts_event` is int64 ns UTC, `time` the same instant for people.
"""

from typing import Final, Literal

from msgspec import Struct

from quantd.trading.decision_lines import AgentLine
from quantd.trading.effects import Level

SCHEMA: Final = 1
"""Version of every payload here. A field may be added without a new version; nothing is changed or removed."""

SwitchName = Literal["RUN", "REDUCE", "HALT"]
StatusState = Literal["starting", "online", "ended", "stopped", "offline"]


class Stamp(Struct, frozen=True, kw_only=True, tag_field="type"):
    """What every payload begins with. `id` is the same whenever the same message is sent again."""

    schema: int
    id: str
    run: str
    name: str
    ts_event: int
    time: str


class Alert(Stamp, frozen=True, kw_only=True, tag="alert"):
    """Topic alerts/<level>/<kind>. `count` is above 1 where a full outbox merged alerts of one kind."""

    level: Level
    kind: str
    text: str
    symbol: str
    agent: str
    value: float | None
    bound: float | None
    count: int = 1


class OrderLine(Struct, frozen=True):
    """One order: `order` is its client id, empty with `symbol` where a restart forgot the basket of a report."""

    row: int
    order: str
    symbol: str
    side: Literal["buy", "sell", ""]
    qty: str
    limit: str
    state: str
    reason: str
    agent: str


class Orders(Stamp, frozen=True, kw_only=True, tag="orders"):
    """Topic orders: the rows of one basket that were sent, or that ended."""

    sample: int
    n: int
    orders: list[OrderLine]


class FillLine(Struct, frozen=True):
    """One fill of the house. `shares` says how it was shared: agent -> signed quantity."""

    order: str
    symbol: str
    side: Literal["buy", "sell"]
    qty: str
    price: str
    fee: str
    agent: str
    shares: dict[str, str]


class CrossLine(Struct, frozen=True):
    """Quantity that changed hands between agents without an order: agent -> signed quantity."""

    symbol: str
    price: str
    shares: dict[str, str]


class Fills(Stamp, frozen=True, kw_only=True, tag="fills"):
    """Topic fills: fills of one basket at one instant, or a cross between agents."""

    fills: list[FillLine]
    crosses: list[CrossLine]


class Portfolio(Stamp, frozen=True, kw_only=True, tag="portfolio"):
    """Topic portfolio (retained): the account at a sample. `books` are equities by agent."""

    equity: str
    cash: str
    gross: float | None
    drawdown: float | None
    books: dict[str, str]
    positions: dict[str, str]


class Measure(Struct, frozen=True):
    """A limit's measured value and its bound."""

    value: float | None
    bound: float | None


class Risk(Stamp, frozen=True, kw_only=True, tag="risk"):
    """Topic risk (retained): the switches, and the house's limits and drawdown, all of them at `ts_event`."""

    switch: SwitchName
    reason: str
    agents: dict[str, SwitchName]
    limits: dict[str, Measure]
    drawdown: float | None


class Decisions(Stamp, frozen=True, kw_only=True, tag="decisions"):
    """Topic decisions: how one round became orders."""

    sample: int
    n: int
    follow_up: int
    agents: list[AgentLine]
    crossed: dict[str, str]
    asked: dict[str, str]
    allowed: dict[str, str]
    reasons: dict[str, str]
    limits: dict[str, Measure]


class Status(Stamp, frozen=True, kw_only=True, tag="status"):
    """Topic status (retained). `offline` is the last will: the broker says it when the daemon cannot."""

    state: StatusState
    mode: str
    version: str
    text: str


class Heartbeat(Stamp, frozen=True, kw_only=True, tag="heartbeat"):
    """Topic heartbeat: the loop is alive; dropped, never queued, while the broker is away."""

    slices: int
    switch: SwitchName
    equity: str


Payload = Alert | Orders | Fills | Portfolio | Risk | Decisions | Status | Heartbeat
"""Everything that is ever published."""
