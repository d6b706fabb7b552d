"""Queries and answers of the API that have no type elsewhere. Times are int64 ns UTC, with text beside them."""

from typing import Annotated, Final

from msgspec import Meta, Struct

from quantd.adapters.store.read_models import Alert
from quantd.daemon.views.overview import Overview, PositionNow
from quantd.daemon.views.risk_measures import Metrics
from quantd.daemon.views.rows import LIMIT_ROWS, AllocationLine, DecisionLine, EquityLine, OrderLine, RiskLine
from quantd.risk.assessment import Assessment
from quantd.trading.effects import Promotion, Reallocated
from quantd.trading.orders import Fill

MOST_NS: Final = 2**63 - 1

Rows = Annotated[int, Meta(ge=1, le=LIMIT_ROWS, description="Number of rows, the newest ones.")]
Since = Annotated[int, Meta(ge=0, le=MOST_NS, description="Only rows from this instant on, in ns UTC.")]
PLAIN: Final = r"^[ -~]{0,64}$"
"""Printable ASCII: what a name or an instant may be."""

Symbol = Annotated[str, Meta(pattern=PLAIN, description="Only rows of this symbol.")]


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    """A query without parameters."""


class Newest(Query, frozen=True):
    """The newest rows."""

    last: Rows = 100
    since: Since = 0
    symbol: Symbol | None = None


class NewestDecisions(Query, frozen=True):
    """The newest decisions."""

    last: Rows = 20
    since: Since = 0


class NewestAlerts(Query, frozen=True):
    """The newest alerts, or those that follow an entry."""

    last: Rows = 100
    after: Annotated[int, Meta(ge=0, le=MOST_NS, description="Only alerts after this entry (`seq`).")] = 0


class Thinned(Query, frozen=True):
    """Points of a chart."""

    points: Annotated[int, Meta(ge=2, le=LIMIT_ROWS, description="Number of points; others are left out.")] = 1_000
    since: Since = 0


class From(Query, frozen=True):
    """Rows from an instant on."""

    since: Since = 0


class History(Query, frozen=True):
    """The newest records."""

    limit: Rows = 100
    since: Since = 0


class OneBook(Query, frozen=True):
    """A book and a symbol."""

    agent: Annotated[str, Meta(pattern=PLAIN, description="An agent; the house without it.")] | None = None
    symbol: Annotated[str, Meta(pattern=PLAIN, description="Headroom of this symbol only.")] | None = None


class Why(Query, frozen=True):
    """How a decision is found and explained."""

    at: Annotated[
        str, Meta(pattern=PLAIN, description="With a symbol: its newest decision up to a day or instant.")
    ] | (None) = None
    recorded: Annotated[str, Meta(pattern=PLAIN, description="Recorded values only, without a replay.")] | None = None


class About(Struct, frozen=True):
    """The daemon and its run. `agents` maps names to policies; `bus` is the address for subscribers of `topic`."""

    name: str
    product: str
    version: str
    mode: str
    run: str
    agents: dict[str, str]
    bus: str
    topic: str


class Health(Struct, frozen=True):
    """`ready` is also the status code: 200 or 503. `store` is the reason why the store takes no writes, else empty."""

    status: str
    ready: bool
    time: str
    switch: str
    store: str = ""


class Positions(Struct, frozen=True):
    """The positions of the house."""

    run: str
    ts: int
    time: str
    positions: list[PositionNow]


class RiskMetrics(Struct, frozen=True):
    """Risk measures of the house and of each agent; `house` has every one with the reason of an absent one."""

    run: str
    ts: int
    time: str
    metrics: Metrics
    agents: dict[str, Metrics]
    house: Assessment


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
    """Orders, the newest first."""

    run: str
    orders: list[OrderLine]


class Fills(Struct, frozen=True):
    """Fills, the newest first."""

    run: str
    fills: list[Fill]


class Equity(Struct, frozen=True):
    """The account at samples, oldest first."""

    run: str
    equity: list[EquityLine]


class Decisions(Struct, frozen=True):
    """Rounds and the orders that they became."""

    run: str
    decisions: list[DecisionLine]


class Alerts(Struct, frozen=True):
    """Alerts in the order of the journal."""

    run: str
    alerts: list[Alert]


class RiskHistory(Struct, frozen=True):
    """Records of the house's limits."""

    run: str
    history: list[RiskLine]


class PortfolioHistory(Struct, frozen=True):
    """The account at samples."""

    run: str
    history: list[EquityLine]


class Allocations(Struct, frozen=True):
    """The agents' decisions in rounds."""

    run: str
    allocations: list[AllocationLine]


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
