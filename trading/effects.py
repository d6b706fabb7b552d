"""Effects: the closed union of all actions that the trading engine can request or record.

Effects are carried out only by `quantd.daemon.runtime.loop`.
"""

from typing import Literal

from msgspec import Struct

from quantd.trading.history.question import Ask as Ask
from quantd.trading.orders import OrderBasket

Level = Literal["INFO", "WARNING", "CRITICAL"]


class AskRecord(Struct, frozen=True, tag="Ask", omit_defaults=True):
    """The journal form of an Ask, a question to a policy. `policy` is the number of the agent whose policy was
    asked, -1 for `agent` itself."""

    round: int
    agent: int
    policy: int = -1


class Cancel(Struct, frozen=True, tag=True, omit_defaults=True):
    """Effect: requests the cancellation of one row (order) of a basket at the venue.

    A basket has the orders from the decisions of one instant; (`sample`, `n`) identify it.
    """

    sample: int
    n: int
    row: int
    ts: int


class Query(Struct, frozen=True, tag=True, omit_defaults=True):
    """Effect: queries the venue by client id for the state of rows (orders of a basket) whose outcome is unknown.

    A basket has the orders from the decisions of one instant; (`sample`, `n`) identify it.
    """

    sample: int
    n: int
    row: list[int]


class Again(Struct, frozen=True, tag=True, omit_defaults=True):
    """Effect: sends rows (orders) of a basket again with the same ids, after the venue confirmed that it never
    received them.

    A basket has the orders from the decisions of one instant; (`sample`, `n`) identify it.
    """

    sample: int
    n: int
    row: list[int]


class Publish(Struct, frozen=True, tag=True, omit_defaults=True):
    """Effect: publishes an alert for operators.

    `kind` is a stable name and `text` one sentence. `value` and `bound` are a measurement and its limit, None without
    one. `symbol` and `agent` are names or empty.
    """

    ts: int
    level: Level
    kind: str
    text: str
    symbol: str = ""
    agent: str = ""
    value: float | None = None
    bound: float | None = None


Refusal = Literal["agent", "agrees", "command", "conflict", "down", "reason", "refused"]
"""Codes of refused commands. The API returns them as error codes, so that their meaning never changes."""


class Refused(Struct, frozen=True, tag=True, omit_defaults=True):
    """Effect: the event was a command that was refused, and no part of it was carried out; `text` is the reason, for
    the sender.

    A Publish with an alert for operators precedes this effect. Journals of codec version 4 and earlier have only the
    alert.
    """

    code: Refusal
    text: str


class Filled(Struct, frozen=True, tag=True, omit_defaults=True):
    """Effect that records fills of the orders of one basket, which are posted to the books.

    A basket has the orders from the decisions of one instant; (`sample`, `n`) identify it. The lists have one element
    per fill: the column `sym`, signed `lots`, price, fee, and in `shares` the (agent, signed lots) that share the fill.
    """

    sample: int
    n: int
    ts: int
    sym: list[int]
    lots: list[int]
    price_nano: list[int]
    fee_micro: list[int]
    shares: list[list[tuple[int, int]]]


class Crossed(Struct, frozen=True, tag=True, omit_defaults=True):
    """Effect that records lots of one symbol traded between agents at one price, without an order or a fee.

    `shares` are (agent, signed lots), whose lots add up to 0.
    """

    sample: int
    ts: int
    symbol: int
    price_nano: int
    shares: list[tuple[int, int]]


class Ended(Struct, frozen=True, tag=True, omit_defaults=True):
    """Effect that records orders (rows) of one basket that ended before they were completely filled.

    A basket has the orders from the decisions of one instant; (`sample`, `n`) identify it. The lists have one element
    per order: its index `row` in the basket, its final OrderState, its column `sym` of the universe and the mark price
    at the end.
    """

    sample: int
    n: int
    ts: int
    row: list[int]
    state: list[int]
    reason: str = ""
    sym: list[int] = []
    mark_nano: list[int] = []


class AgentPlan(Struct, frozen=True, omit_defaults=True):
    """One agent's part of a plan (the decisions of one instant converted to orders).

    Arrays are little-endian: float64[N] `weights`, int64[N] lots `asked` by the agent and `allowed` by the agent's
    limits, int8[N] `reason` codes of the limits that reduced them. `scale` is the fraction of the weights that fits
    within the limits after all fills. `kept`, int64[N], are the lots of the target that wait until fills leave the cash
    at worst prices, until a position of the other sign is closed, or, with the reason PRICE_AGE, for a price; empty for
    none. `policy` names the agent whose
    policy decided, if it is another agent. `because` names the proposal, or the closing of the portfolio, that caused a
    portfolio's plan. `cause` is AGENT/ID of the proposal that this plan carries out; empty for the daemon's own.
    """

    agent: int
    weights: bytes
    scale: float
    asked: bytes
    allowed: bytes
    reason: bytes
    values: dict[str, tuple[float, float]] = {}
    policy: str = ""
    because: str = ""
    kept: bytes = b""
    cause: str = ""


class Portion(Struct, frozen=True):
    """The part of a parent order (an order worked over time) that a plan covers: a child order, or the parent itself.

    `style` is the execution style. `decided` is the time of the parent's plan for a child, and 0 for the parent.
    """

    style: str
    decided: int = 0


class Planned(Struct, frozen=True, tag=True, omit_defaults=True):
    """Effect that records how the decisions of one instant (a round) were converted into orders, complete enough to
    explain each order and each refusal.

    `prices` float64[N] are reference prices and `before` int64[N] the account's lots. `crossed` int64[N] are unsigned
    lots traded between agents. `net` int64[N] are the signed lots that remain after crossing, `allowed` int64[N] those
    that the account's limits permit; `reason` int8[N] are codes of limits. `values` maps names of limits, of the
    account and of each agent, to (value after all fills, bound), for limits that reduced an order or are at 60 % of
    their bound or more. Records of codec version 1 have all limits, and in `values_before` the values before the round.
    `portion` is present for lots that are worked over time in child orders. The parent's plan has `n` = 0, and each
    child order has its own plan.
    """

    sample: int
    n: int
    ts: int
    agents: list[AgentPlan]
    prices: bytes
    before: bytes
    crossed: bytes
    net: bytes
    allowed: bytes
    reason: bytes
    values_before: dict[str, tuple[float, float]] = {}
    values: dict[str, tuple[float, float]] = {}
    follow_up: int = 0
    portion: Portion | None = None

    @property
    def of_child(self) -> bool:
        """Whether this is the plan of child orders, whose parent order was decided by an earlier plan."""
        return self.portion is not None and self.portion.decided != 0


class Valued(Struct, frozen=True, tag=True, omit_defaults=True):
    """Effect that records the account's valuation at a sample.

    `books` are equities in micro-currency: the agents' books in order, then the unallocated book.
    """

    ts: int
    equity_micro: int
    cash_micro: int
    books: list[int]
    gross: float
    drawdown: float


class Booked(Struct, frozen=True, tag=True, omit_defaults=True):
    """Effect that records a cash movement without a fill, or the value of lots that arrived or left without a trade.

    `amount_micro` is positive for a receipt. `book` is the agent whose book a flow (a deposit or withdrawal) changed,
    -1 for the unallocated book. `parts` are (book, its part of the amount); they are empty for a flow, and where
    the only book with the symbol has all. `lots` arrived in kind.
    """

    ts: int
    kind: Literal["dividend", "borrow", "cash_in_lieu", "flow", "fee", "interest", "in_kind", "delisting"]
    symbol: int
    amount_micro: int
    book: int = -1
    parts: list[tuple[int, int]] = []
    lots: int = 0


def payment(
    ts: int, kind: Literal["dividend", "cash_in_lieu", "delisting"], symbol: int,
    posted: tuple[int, list[tuple[int, int]]],
) -> tuple[Booked, ...]:  # fmt: skip
    """Return the record of a payment to the books with lots of a symbol; empty where no book got anything.

    `posted` is (change of the account's cash, parts of the books), as the ledger returns it. The books have no lots
    after a delisting, which is therefore recorded with an amount of 0 also.
    """
    amount, parts = posted
    if not any(part for _, part in parts) and not (parts and kind == "delisting"):
        return ()
    return (Booked(ts, kind, symbol, amount, parts=parts if len(parts) > 1 else []),)


class Switched(Struct, frozen=True, tag=True, omit_defaults=True):
    """Effect that records a change of the trading switch of the account (agent -1) or of an agent. States are 0 RUN,
    1 REDUCE, 2 HALT."""

    ts: int
    agent: int
    before: int
    after: int
    reason: str


class Protected(Struct, frozen=True, tag=True, omit_defaults=True):
    """Effect that records a protective exit: the mark price reached a protective level (stop or target), and the
    agent's whole position is closed regardless of its policy.

    `sample` and `n` identify the closing order; `n` is 0 when no order was sent, because all lots were traded with
    other agents or the order was refused. `entry`, `mark` and `level` are prices per unit. If a closing order ends
    before it is filled, each further order has its own record.
    """

    ts: int
    sample: int
    n: int
    agent: int
    symbol: int
    kind: Literal["stop_loss", "take_profit", "trailing_stop"]
    entry: float
    mark: float
    level: float


class Rested(Struct, frozen=True, tag=True, omit_defaults=True):
    """Effect that records that the order of basket (`sample`, `n`) is an agent's protective stop order, open at the
    venue.

    `level` is below the `entry` price (above it for a short position), or below the best price since entry for a
    trailing stop. Prices are per unit.
    """

    ts: int
    sample: int
    n: int
    agent: int
    symbol: int
    kind: Literal["stop_loss", "trailing_stop"]
    entry: float
    level: float


class Snapshot(Struct, frozen=True, tag=True, omit_defaults=True):
    """Effect: saves a snapshot of the engine's state at the end of this batch of journal entries."""

    ts: int


class Stop(Struct, frozen=True, tag=True, omit_defaults=True):
    """Effect: ends the daemon's event loop."""

    reason: str


class Assessed(Struct, frozen=True, tag=True, omit_defaults=True):
    """Effect that records the account's risk limits on the positions at a sample: name -> (value, bound), including
    limits on losses.

    The record has all limits, or only those on losses and past returns, which need no new measurement.
    """

    ts: int
    values: dict[str, tuple[float, float]]


class LimitMoved(Struct, frozen=True, tag=True, omit_defaults=True):
    """Effect that records limits whose alert level changed.

    Each limit is (agent, -1 for the account; name of the limit; level before; level after; value; bound; whether an
    alert reports the change). Levels are 0 none, 1 INFO, 2 WARNING, 3 CRITICAL.
    """

    ts: int
    moves: list[tuple[int, str, int, int, float, float, bool]]


class Worked(Struct, frozen=True, tag=True, omit_defaults=True):
    """Effect that records the end of an agent's parent order, an order worked over time in child orders.

    `decided` is the time of the order's plan. The lists have one element per symbol: its column `sym`, signed planned
    `lots`, unsigned `filled` lots and current mark price. `reason` is the cause of the end.
    """

    ts: int
    sample: int
    decided: int
    agent: int
    style: str
    sym: list[int]
    lots: list[int]
    filled: list[int]
    mark_nano: list[int]
    reason: str = ""


class Transferred(Struct, frozen=True, tag=True, omit_defaults=True):
    """Effect that records cash and lots moved from the book `source` to the book `target`; for both it is a flow, not a
    profit.

    A book is an agent's number, -1 for the unallocated book. `lots` are (column, signed lots, value at the mark price
    in micro-currency).
    """

    ts: int
    source: int
    target: int
    cash_micro: int
    lots: list[tuple[int, int, int]] = []


class Reallocated(Struct, frozen=True, tag=True, omit_defaults=True):
    """Effect that records capital moved between agents' books, in micro-currency by agent.

    `moved` adds up to 0. `owed` is the amount that each agent still has to transfer once it has sold positions
    (negative: to receive). `target` are the shares of capital computed by `method`, `shares` the shares before. Both
    are empty when only an owed amount is settled.
    """

    ts: int
    method: str
    why: str
    moved: list[int]
    owed: list[int]
    shares: list[float] = []
    target: list[float] = []


class Promotion(Struct, frozen=True, tag=True, omit_defaults=True):
    """Effect that records a comparison of a challenger policy with the champion that it may replace, both as agent
    numbers.

    `gain` is the challenger's annual excess in `measure`, `p` its p-value if the challenger were no better, `alpha` the
    significance level of this `look` (the number of the test in a series of tests on growing data). When `promoted` is
    false, `why` gives the missing condition. `look` 0 means that the comparison does not count as a test.
    """

    ts: int
    champion: int
    challenger: int
    promoted: bool
    why: str
    samples: int
    look: int = 0
    measure: str = ""
    gain: float = 0.0
    p: float = 1.0
    alpha: float = 0.0
    names: tuple[str, str] = ("", "")
    """Names of the champion and the challenger."""


class ProposalEnded(Struct, frozen=True, tag=True, omit_defaults=True):
    """Effect that records the end of the proposal `id` of `agent` that waited, and sent no order.

    `outcome` is "declined" by a person, "lapsed" without a decision in time, "refused" by a limit, "withdrawn" for
    another order, or "replaced" by one; `why` is the reason.
    """

    ts: int
    agent: str
    id: str
    outcome: Literal["declined", "lapsed", "refused", "withdrawn", "replaced"]
    why: str


class OrdersHeld(Struct, frozen=True, tag=True, omit_defaults=True):
    """Effect that records that the orders of the proposal `id` of `agent` wait in the engine for the first price of
    their market, or for the price of a stop order; `why` says for what."""

    ts: int
    agent: str
    id: str
    why: str


class Shadowed(Struct, frozen=True, tag=True, omit_defaults=True):
    """The effects of one event on a shadow agent (simulated beside the account), identified by number and `name`.

    The agent's orders go to its own simulated venue, and its records belong to a book outside the account.
    """

    agent: int
    effects: list[
        OrderBasket
        | Cancel
        | Query
        | Again
        | Planned
        | Filled
        | Ended
        | Valued
        | Booked
        | Switched
        | Protected
        | Worked
        | ProposalEnded
        | OrdersHeld
    ]
    name: str = ""


Record = (
    Planned
    | Filled
    | Crossed
    | Ended
    | Valued
    | Booked
    | Switched
    | Protected
    | Assessed
    | LimitMoved
    | Worked
    | Reallocated
    | Transferred
    | Promotion
    | Rested
    | ProposalEnded
    | OrdersHeld
)
"""Effects that only report to the store and the bus."""

Journalled = OrderBasket | Cancel | Query | Publish | Refused | Record | Snapshot | Stop | Again | Shadowed
"""Effects that the journal stores unchanged."""

Effect = Ask | Journalled
"""Elements of the sequence returned by `step`."""

JournalEffect = AskRecord | Journalled
"""Effects in journal form: an Ask without its view."""
