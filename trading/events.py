"""Events: the closed union of all inputs of the trading engine.

External answers, time and randomness enter the engine only as events. Events are frozen, and their meaning never
changes. A new field or kind of event needs a new version of the codec. docs/develop/extending.md describes how to add
an event.
"""

from typing import Literal

from msgspec import Struct

from quantd.trading.market import JumpExplained, MarketSlice, Opening, PriceJumped
from quantd.trading.model_events import Act, Exchanged, ModelLoaded, Retrained
from quantd.trading.orders import ForeignOrder, OpenOrder, Reports, ScheduleRun, Wish


class Started(Struct, frozen=True, tag=True, omit_defaults=True):
    """The first event of every start of the daemon or of a backtest: what runs.

    `lock` (of the installed packages), `config`, `feed` and the values of `artifacts` are hex BLAKE2b digests. `blas`
    names the BLAS kernel of numpy. `loaded` are the agents that continue with an artifact, loaded by their last
    ModelLoaded event.
    """

    ts: int
    run: str
    version: str
    lock: str
    config: str
    feed: str
    symbols: tuple[str, ...]
    artifacts: dict[str, str]
    blas: str
    mode: str = "paper"
    loaded: tuple[str, ...] = ()


class Reloaded(Act, frozen=True, tag=True, omit_defaults=True):
    """The risk limits in force from this event on, as serialised by the engine.

    The event follows the first start and every reload of the configuration. `config` is the configuration's digest,
    `changed` are the changed keys. `later` are looser limits that apply from the instant `due` (ns UTC) on, or earlier
    if approved; `looser` are the names of these limits. Both are empty without such limits. `who` sent the request for
    them (empty for an edited file) at the instant `asked_ns` of the machine's clock, which a recorded market has not.
    """

    ts: int
    config: str
    changed: tuple[str, ...] = ()
    limits: bytes = b""
    later: bytes = b""
    due: int = 0
    looser: tuple[str, ...] = ()
    who: str = ""
    asked_ns: int = 0


class DeviceSignature(Struct, frozen=True, forbid_unknown_fields=True):
    """The signature of a device that approves: its public key, the end in ns UTC, and the signature (Ed25519).
    Key and signature are hexadecimal."""

    key: str
    expires: int
    signature: str


class Approved(Act, frozen=True, tag=True, omit_defaults=True):
    """A second person approves the looser risk limits that wait for approval; they apply from this event on.

    `limits` is the digest of the approved limits. If other limits wait by now, nothing is approved. `signed` approves a
    change of who may approve.
    """

    ts: int
    reason: str
    who: str
    limits: str = ""
    signed: DeviceSignature | None = None


class SliceRef(Struct, frozen=True, tag="Slice", omit_defaults=True):
    """The journal form of a slice (the bars of one instant) of a recorded feed: its index in the feed."""

    index: int


class Bars(Struct, frozen=True, tag=True, omit_defaults=True):
    """The journal form of a slice (the bars of one instant) of a live feed: its columns as little-endian bytes, N
    values each for N symbols."""

    ts_open: int
    ts_event: int
    ts_seen: int
    key: int
    fresh: bytes
    open_nano: bytes
    close_nano: bytes
    columns: bytes


class Action(Struct, frozen=True, tag=True, omit_defaults=True):
    """A corporate action, which takes effect at the open of the ex date, before the fills of that open.

    A split gives `numerator` new shares for `denominator` old ones. A dividend pays `cash_nano` nano-currency per share
    held at the previous close. At a delisting every share becomes `cash_nano` in cash (0: worthless), and there is no
    price until new bars arrive. `key` is the ex date (00:00 UTC).
    """

    ts: int
    key: int
    symbol: int
    kind: Literal["split", "dividend", "delisting"]
    numerator: int = 1
    denominator: int = 1
    cash_nano: int = 0


class Tick(Struct, frozen=True, tag=True, omit_defaults=True):
    """All timer ticks of one instant; the event follows every slice (bars of one instant) of that instant.

    - `sample` marks the close of a session on the house calendar (the account's). `key` is then the session's date, and
      `final` the instant from which all bars of that date are known.
    - `due` are the numbers of the agents that decide now, `jobs` the names of other schedules that are due.
    - `warmup` marks ticks before the start: they extend the history without trading or valuation.
    - `macro` are the known values at a sample: of the [feed] macro series in their order, then of the [feed] series per
      symbol.
    - `cash_rate` is the annual rate on cash since the previous sample (RATE_ONE is 100 %), None where cash earns
      nothing.
    - `coming`, at a tick with a message about the session, are the next runs of schedules with their times on the
      exchange's clock, soonest first.
    - `opened` are bars in progress, whose opens fill orders before the tick.
    """

    ts: int
    sample: bool = False
    key: int = 0
    final: int = 0
    due: tuple[int, ...] = ()
    jobs: tuple[str, ...] = ()
    warmup: bool = False
    macro: tuple[float, ...] = ()
    cash_rate: int | None = None
    coming: tuple[str, ...] = ()
    opened: tuple[Opening, ...] = ()


class Decided(Struct, frozen=True, tag=True, omit_defaults=True):
    """The answer of a policy to an Ask.

    `weights` is little-endian float64[N], None to keep all lots. `failed` is the reason why there is no answer, empty
    with an answer. `memory` maps names to (shape, little-endian float64 bytes). `note` is a message of the policy for
    operators. `warns` marks an answer that deviates from the policy's intention.
    """

    round: int
    agent: int
    weights: bytes | None = None
    failed: str = ""
    memory: dict[str, tuple[tuple[int, ...], bytes]] = {}
    note: str = ""
    warns: bool = False


class CancelReported(Struct, frozen=True, tag=True, omit_defaults=True):
    """Event: the venue refused to cancel a row (order of a basket), because the order had ended or is unknown to the
    venue.

    A basket has the orders from the decisions of one instant; (`sample`, `n`) identify it.
    """

    sample: int
    n: int
    ts: int
    row: int
    reason: str


class Unknown(Struct, frozen=True, tag=True, omit_defaults=True):
    """Event: the outcome of these rows (orders of a basket) is unknown, because a submit or cancel request was not
    answered in time.

    A basket has the orders from the decisions of one instant; (`sample`, `n`) identify it.
    """

    sample: int
    n: int
    ts: int
    row: list[int]
    reason: str


class NotFound(Struct, frozen=True, tag=True, omit_defaults=True):
    """Event: the venue confirmed, after its settling time, that it never received these rows (orders of a basket).

    A basket has the orders from the decisions of one instant; (`sample`, `n`) identify it. `again` is the number of
    times that the rows had been sent again before the query; the event says nothing about a later attempt.
    """

    sample: int
    n: int
    ts: int
    row: list[int]
    again: int = 0


class Reconciled(Struct, frozen=True, tag=True, omit_defaults=True):
    """Event: the venue's holdings, for comparison with the ledger.

    - `lots` are by column; cash and buying power are in micro-currency, None where not requested.
    - `others` are holdings that are not whole lots of the universe, as (symbol, decimal text).
    - `counted` are the baskets (orders of one instant, by sample and n) that the buying power already includes.
    - `unlent` are the columns that cannot be borrowed for a short sale.
    - `available` are the lots by column that the venue lets us close, signed as `lots`; empty if the venue does not
      report them.
    - `orders` are our open orders whose quantity, fills or prices at the venue differ from the books, and our orders
      whose outcome an operator stated (OrderSettled).
    - `run` is the name of the run; empty in journals of codec version 6 and earlier.
    """

    ts: int
    lots: list[int]
    cash_micro: int | None = None
    buying_power_micro: int | None = None
    others: tuple[tuple[str, str], ...] = ()
    counted: tuple[tuple[int, int], ...] = ()
    unlent: tuple[int, ...] = ()
    available: list[int] = []
    orders: tuple[OpenOrder, ...] = ()
    run: str = ""


class ForeignFound(Struct, frozen=True, tag=True, omit_defaults=True):
    """Event: the complete list of open orders at the venue that quantd did not send."""

    ts: int
    orders: tuple[ForeignOrder, ...]


class Flow(Act, frozen=True, tag=True, omit_defaults=True):
    """Event: a cash movement without a fill, in micro-currency.

    A deposit (positive) or withdrawal belongs to the book of `agent` (empty: the unallocated book). Other kinds are
    payments and charges of the venue. `id` is the venue's identifier of the movement; each identifier is booked once.
    A part of a deposit that a schedule expects has two more lines in it: the deposit and the agent.
    `symbol` is the column of a dividend, -1 for none; `reason` is the operator's reason. `units_nano` are signed
    nano-units of the instrument `symbol` itself, for a fee or a reward in a coin. With `ahead`, the flow is a fee that
    the venue has charged and does not list yet.
    """

    ts: int
    amount_micro: int
    who: str = ""
    kind: Literal["flow", "dividend", "cash_in_lieu", "fee", "interest"] = "flow"
    id: str = ""
    symbol: int = -1
    agent: str = ""
    reason: str = ""
    units_nano: int = 0
    ahead: bool = False

    @property
    def reference(self) -> str:
        """The venue's identifier of the movement, of which `id` may name a part; else the deposit that it is."""
        return next((line for line in self.id.split("\n") if line), "")


class Correction(Act, frozen=True, tag=True, omit_defaults=True):
    """Event: an operator corrects a difference between venue and ledger.

    `lots` (by column) and `cash_micro` are the venue's excess over the ledger. `how` is the name of the agent whose
    book receives the excess, or "fence" to keep the excess apart from all agents. `orders` are our orders whose outcome
    an operator had stated (OrderSettled), but which were open at the venue in that comparison.
    """

    ts: int
    lots: list[int]
    cash_micro: int
    how: str
    reason: str
    who: str
    orders: tuple[OpenOrder, ...] = ()


class OrderSettled(Act, frozen=True, tag=True, omit_defaults=True):
    """Event: an operator states the outcome of an order for which the venue gives no answer: `row` of the basket
    (sample, n).

    A basket has the orders from the decisions of one instant. `cum` are the order's unsigned filled lots, 0 for an
    order that was never sent. `price_nano` is the price of the filled lots that the books lack.
    """

    ts: int
    sample: int
    n: int
    row: int
    cum: int
    price_nano: int
    reason: str
    who: str


class CancelRequested(Act, frozen=True, tag=True, omit_defaults=True):
    """Event: an operator cancels one open order, row `row` of the basket (sample, n). What the order has filled so
    far stays.

    A basket has the orders from the decisions of one instant.
    """

    ts: int
    sample: int
    n: int
    row: int
    reason: str
    who: str


class PortfolioOpened(Act, frozen=True, tag=True, omit_defaults=True):
    """Event: a portfolio `name` is opened with capital from the unallocated book.

    `agent` is the name of a vacant place, an agent that [portfolios] places reserves for a portfolio. `basis` is the
    origin of the first weights: "weights", or the policy or agent that computed them.
    """

    ts: int
    agent: str
    name: str
    capital_micro: int
    reason: str
    who: str
    basis: str = ""


class PortfolioClosed(Act, frozen=True, tag=True, omit_defaults=True):
    """Event: a portfolio is closed. Its lots are sold and its cash returns to the unallocated book, or both go to
    the book `to`."""

    ts: int
    name: str
    how: Literal["flatten", "hand_over"]
    reason: str
    who: str
    to: str = ""


class Proposed(Act, frozen=True, tag=True, omit_defaults=True):
    """Event: targets from outside for the book of `agent`: `weights` float64[N], little-endian, or `orders`, at most
    one for each column.

    Targets with the same `id` are executed once. After `expires` (ns UTC; 0 for never) they are refused. `plan` is the
    digest of a dry run: the targets are refused if they would give another plan now. `basis` is the origin of the
    weights. With `whole` nothing is sent unless all of it passes the limits. `portfolio` is the name of the portfolio
    that they are for: the targets are refused if `agent` has another portfolio by now. Orders `by_hand` are of an
    operator, for the book of any agent; their `id` may be empty. `replaces` is the id of the open order of the agent
    that the order takes the place of: what that one has filled is no longer ordered.
    """

    ts: int
    agent: str
    id: str
    reason: str
    who: str
    weights: bytes = b""
    orders: tuple[Wish, ...] = ()
    expires: int = 0
    basis: str = ""
    plan: str = ""
    portfolio: str = ""
    whole: bool = False
    by_hand: bool = False
    replaces: str = ""

    @property
    def cause(self) -> str:
        """AGENT/ID, the name of the proposal in the plans and orders that carry it out."""
        return f"{self.agent}/{self.id}"


class ProposalReviewed(Act, frozen=True, tag=True, omit_defaults=True):
    """Event: a person approves or declines the proposal `id` of an outside agent, which waits for the review.

    `plan` is the digest of a dry run: an approval is refused if the targets would give another plan now. `signed` is
    the signature of a device, which an agent with `approval = "device"` needs.
    """

    ts: int
    agent: str
    id: str
    approve: bool
    reason: str
    who: str
    plan: str = ""
    signed: DeviceSignature | None = None


class Halted(Act, frozen=True, tag=True, omit_defaults=True):
    """Event: trading of a column (symbol) was halted (`halted` True) or resumed, by the venue or by an operator
    (`who`).

    `announced` is True for a halt from a stream of messages, whose message about the resumption may be missed.
    """

    ts: int
    symbol: int
    halted: bool
    detail: str = ""
    who: str = ""
    announced: bool = False


class Limited(Struct, frozen=True, tag=True, omit_defaults=True):
    """Event: the limit-up and limit-down prices of a column (symbol) at the venue, in nano-currency; 0 for none."""

    ts: int
    symbol: int
    down_nano: int
    up_nano: int


class Busted(Struct, frozen=True, tag=True, omit_defaults=True):
    """Event: the venue cancelled or corrected an earlier fill of a row (a trade bust).

    The row is an order of the basket (`sample`, `n`), the orders from the decisions of one instant. `lots` (unsigned)
    at `price_nano` are the original fill; 0 lots if the fill cannot be identified. After a correction, `new_lots` at
    `new_price_nano` replace it. `id` is the venue's identifier; each identifier is booked once.
    """

    sample: int
    n: int
    ts: int
    row: int
    lots: int
    price_nano: int
    new_lots: int = 0
    new_price_nano: int = 0
    id: str = ""


class Carried(Struct, frozen=True, tag=True, omit_defaults=True):
    """Event: the account of an earlier run continues in this run, which has other instruments or agents.

    `account` is the account with the names of instruments and agents, as serialised by the engine, at the instant
    `since`, with all corporate actions up to then. Bars before `until` are history only: protective stops and targets
    do not react to them. `loaded` are the agents that continue with the artifact that was loaded in the earlier run.
    """

    ts: int
    run: str
    account: bytes
    since: int = 0
    until: int = 0
    loaded: tuple[str, ...] = ()


class ShadowReport(Struct, frozen=True, tag="Shade", omit_defaults=True):
    """Event: a report of the venue that simulates the orders of the shadow agent with the number `agent`."""

    agent: int
    news: Reports | CancelReported | Unknown | NotFound


class Operator(Act, frozen=True, tag=True, omit_defaults=True):
    """Event: an operator's command. `agent` is a name, empty for the whole account."""

    ts: int
    command: Literal["halt", "reduce", "resume", "flatten", "pause"]
    reason: str
    who: str
    agent: str = ""


class Acknowledged(Act, frozen=True, tag=True, omit_defaults=True):
    """Event: an operator acknowledged an incident."""

    ts: int
    incident: str
    reason: str
    who: str


class Reminded(Struct, frozen=True, tag=True, omit_defaults=True):
    """Event: a reminder is due for an incident that nobody has acknowledged; `sink` is the next receiver of its
    escalation."""

    ts: int
    incident: str
    sink: str = ""


class Condition(Struct, frozen=True, tag=True, omit_defaults=True):
    """Event: a dependency `what` failed, or recovered (`up` True).

    A `what` of "account" is the venue's permission to trade, "comparison" the comparison of the books with the venue.
    "job" is the job named `job`, whose failure is CRITICAL if `critical`. "statement" is the comparison with the
    venue's record, where `difference` is the kind of difference.
    """

    ts: int
    what: Literal[
        "feed", "broker", "store", "clock", "lag", "ledger", "bars", "upkeep", "calendar", "missed", "job", "statement",
        "account", "comparison",
    ]  # fmt: skip
    up: bool
    detail: str = ""
    job: str = ""
    critical: bool = False
    difference: str = ""


class Stopping(Struct, frozen=True, tag=True, omit_defaults=True):
    """Event: the daemon stops; open orders are cancelled or left open as configured."""

    ts: int
    cancel_open: bool
    reason: str


External = (
    Started
    | Reloaded
    | Approved
    | Flow
    | Operator
    | Condition
    | Stopping
    | Reconciled
    | ForeignFound
    | Correction
    | OrderSettled
    | CancelRequested
    | PortfolioOpened
    | PortfolioClosed
    | Proposed
    | ProposalReviewed
    | Halted
    | JumpExplained
    | Limited
    | Carried
    | Retrained
    | Acknowledged
    | Reminded
    | ScheduleRun
    | ModelLoaded
    | Exchanged
)
"""Events that are not recomputed: a replay reads them from the journal."""

VenueNews = Reports | CancelReported | Unknown | NotFound | Busted
"""Events that a venue reports. In a replay, a simulated venue recomputes them."""

Journalled = External | VenueNews | Action | PriceJumped | Tick | Decided | ShadowReport
"""Events that the journal stores unchanged."""

Event = Journalled | MarketSlice
"""Inputs of `step`."""

JournalEvent = Journalled | SliceRef | Bars
"""Events in journal form. A MarketSlice is a SliceRef (replay) or Bars (live)."""


def split_of(event: object) -> Action | None:
    """Return the split that an event applies, from a corporate action or from an operator's explanation of a price
    jump.

    None for any other event.
    """
    if isinstance(event, JumpExplained) and event.numerator != event.denominator:
        return Action(event.ts, 0, event.symbol, "split", event.numerator, event.denominator)
    return event if isinstance(event, Action) and event.kind == "split" else None
