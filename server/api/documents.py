"""Queries and answers of the API whose types are in no other module.

Instants are int64 nanoseconds UTC (`ts`); beside them `time` has the same instant as text.
"""

from typing import Annotated, ClassVar, Final

from msgspec import Meta, Struct

from quantd.adapters.store.read_models import Alert
from quantd.daemon.views.overview import Overview, PositionNow
from quantd.daemon.views.risk_measures import Metrics
from quantd.daemon.views.rows import LIMIT_ROWS, AllocationLine, DecisionLine, EquityLine, OrderLine, RiskLine
from quantd.risk.assessment import Assessment
from quantd.server.requests.control import AgentName
from quantd.server.requests.proposals import Weights
from quantd.trading.effects import Promotion, Reallocated
from quantd.trading.orders import Fill

MOST_NS: Final = 2**63 - 1
"""The largest instant in ns UTC: the default end of a period."""

LEAST_NS: Final = 10**16
"""A smaller instant is not in ns, but in seconds, milliseconds or microseconds; 0 is the beginning."""

Rows = Annotated[int, Meta(ge=1, le=LIMIT_ROWS, description="Most rows of a page.")]
IN_NS: Final = {"anyOf": [{"const": 0}, {"minimum": LEAST_NS}]}
"""JSON schema of an instant that may be 0, the beginning."""

END_NS: Final = {"anyOf": [{"minimum": LEAST_NS}]}
"""JSON schema of the end of a period: `minimum` beside the bound of the type would be left out."""

Since = Annotated[
    int, Meta(ge=0, le=MOST_NS, description="Only rows from this instant on, in ns UTC.", extra_json_schema=IN_NS)
]
Until = Annotated[
    int,
    Meta(
        ge=0, le=MOST_NS, description="Only rows before this instant, in ns UTC.",
        extra_json_schema=END_NS,
    ),
]  # fmt: skip
PLAIN: Final = r"^[ -~]{0,64}(?!\n)$"
"""Pattern of a name or an instant: at most 64 printable ASCII characters."""

NAMES: Final = r"^[ -~]{0,1024}(?!\n)$"
"""Pattern of several names, separated by commas: at most 1,024 printable ASCII characters."""

Symbol = Annotated[str, Meta(pattern=PLAIN, description="Only rows of this symbol.")]
Search = Annotated[str, Meta(pattern=PLAIN, description="Only symbols that contain this text, in any case.")]


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    """A query without parameters."""

    in_ns: ClassVar[bool] = True
    """Whether `since` and `until` are instants in ns UTC."""


class Thinned(Query, frozen=True):
    """Points of a chart; a longer series is thinned to `points` of them."""

    points: Annotated[int, Meta(ge=2, le=LIMIT_ROWS, description="Number of points; others are left out.")] = 1_000
    since: Since = 0


class From(Query, frozen=True):
    """Rows from an instant on."""

    since: Since = 0


class BySize(Query, frozen=True):
    """The largest rows of a list of symbols."""

    limit: Rows = 100
    search: Search = ""


class OneBook(Query, frozen=True):
    """A book, and the symbols whose headroom is computed."""

    agent: Annotated[str, Meta(pattern=PLAIN, description="An agent; the house without it.")] | None = None
    symbol: Annotated[str, Meta(pattern=PLAIN, description="Headroom of this symbol only.")] | None = None
    limit: Annotated[int, Meta(ge=0, le=LIMIT_ROWS, description="Most symbols in `room`, the largest first.")] = 20
    search: Search = ""


class WhatIfAsked(Struct, frozen=True, forbid_unknown_fields=True):
    """Other limits (KEY=VALUE as in config.toml), target weights of one agent, and shares of agents in the equity."""

    limits: Annotated[list[Annotated[str, Meta(max_length=200, pattern=PLAIN)]], Meta(max_length=20)] = []
    agent: AgentName = ""
    weights: Weights = {}
    shares: Annotated[dict[str, float], Meta(max_length=20)] = {}


class Why(Query, frozen=True):
    """The decision to explain, and whether the journal is replayed up to it."""

    at: Annotated[
        str, Meta(pattern=PLAIN, description="With a symbol: its newest decision up to a day or instant.")
    ] | (None) = None
    recorded: Annotated[str, Meta(pattern=PLAIN, description="Recorded values only, without a replay.")] | None = None


class About(Struct, frozen=True):
    """The daemon and its run. `agents` maps names of agents to policies.

    `bus` is the address of the message bus, and `topic` the topic to subscribe to. `models` maps the name of each
    trained artifact to its Sharpe ratio out of sample.
    """

    name: str
    product: str
    version: str
    mode: str
    run: str
    agents: dict[str, str]
    bus: str
    topic: str
    status: str
    models: dict[str, float]


class SinkHealth(Struct, frozen=True):
    """A sink of alerts: the number of alerts that wait for it, and whether its last delivery failed."""

    queued: int
    failing: bool


class Health(Struct, frozen=True):
    """`ready` is also the status code: 200 or 503. `store` is the reason why the store takes no writes, else empty.

    `models` maps an agent to whether its model is loaded and in force: false after its failures have suspended it.
    `sinks` has the queue of each sink of alerts. The reasons of failures are in the status, which needs the token.
    `leader` says that the trading daemon of a read-only instance does not answer; else it is empty.
    """

    status: str
    ready: bool
    time: str
    switch: str
    store: str = ""
    models: dict[str, bool] = {}
    sinks: dict[str, SinkHealth] = {}
    leader: str = ""


class Positions(Struct, frozen=True):
    """The largest positions of the account, the largest value first; with `search`, of symbols that contain its text.

    `count` is the number of all such positions, also of those that `limit` leaves out.
    """

    run: str
    ts: int
    time: str
    positions: list[PositionNow]
    count: int = 0


class RiskMetrics(Struct, frozen=True):
    """Risk measures of the house and of each agent; `house` has every measure, or the reason why it is absent.

    `windows` maps a book to the number of equity returns behind its drawdown and ratios; the empty name is the house.
    `house.samples` is the number of returns behind the measures that use returns of the positions.
    """

    run: str
    ts: int
    time: str
    metrics: Metrics
    agents: dict[str, Metrics]
    house: Assessment
    windows: dict[str, int] = {}


class Correlations(Struct, frozen=True):
    """Correlations of the returns of the largest positions of the house: `rows[i][j]` is of symbols i and j.

    A correlation is null where an instrument's price did not move. `symbols` is empty while too few returns are known.
    """

    run: str
    ts: int
    symbols: list[str]
    rows: list[list[float | None]]


class HouseAgent(Struct, frozen=True):
    """One agent in the house: its share of the capital, and its target share."""

    name: str
    shadow: bool
    challenges: str
    policy: str
    decided_by: str
    share: float | None
    target: float | None
    equity: str


class HouseNow(Struct, frozen=True):
    """The agents, the capital moved between them, and the tests of challengers."""

    run: str
    ts: int
    time: str
    diversity: float | None
    agents: list[HouseAgent]
    capital: list[Reallocated]
    promotions: list[Promotion]


class Orders(Struct, frozen=True):
    """A page of orders, the newest first. With `totals=yes`, `totals` has the number of all orders of each group."""

    run: str
    orders: list[OrderLine]
    next: str = ""
    totals: dict[str, int] = {}


class Fills(Struct, frozen=True):
    """A page of fills, the newest first."""

    run: str
    fills: list[Fill]
    next: str = ""


class Equity(Struct, frozen=True):
    """The account at samples, oldest first."""

    run: str
    equity: list[EquityLine]


class Decisions(Struct, frozen=True):
    """A page of rounds and the orders that they became, the newest first."""

    run: str
    decisions: list[DecisionLine]
    next: str = ""


class Alerts(Struct, frozen=True):
    """A page of alerts, the newest first. With `totals=yes`, `total` is the number of all alerts."""

    run: str
    alerts: list[Alert]
    next: str = ""
    total: int | None = None


class RiskHistory(Struct, frozen=True):
    """A page of records of the house's limits, the newest first."""

    run: str
    history: list[RiskLine]
    next: str = ""


class PortfolioHistory(Struct, frozen=True):
    """A page of the account at samples, the newest first."""

    run: str
    history: list[EquityLine]
    next: str = ""


class Allocations(Struct, frozen=True):
    """A page of the agents' decisions in rounds, the newest first."""

    run: str
    allocations: list[AllocationLine]
    next: str = ""


class ShownAlert(Struct, frozen=True):
    """An alert as the dashboard shows it."""

    ts: int
    level: str
    kind: str
    text: str
    symbol: str
    agent: str


class Live(Struct, frozen=True):
    """One event of the stream: the overview, the newest alerts, and each agent's last decision."""

    overview: Overview
    alerts: list[ShownAlert]
    decided: dict[str, str]
