"""Everything the engine can want: the closed union Effect. `quantd.daemon.runtime.loop` carries them out, nobody else."""

from typing import Literal

from msgspec import Struct

from quantd.trading.orders import OrderBasket
from quantd.trading.view import Memory, View

Level = Literal["INFO", "WARNING", "CRITICAL"]


class Ask:
    """Ask a policy: that of the agent (by number), or where policies changed places the one that came with agent `policy`.
    The view is rebuilt from the state in a replay, so the journal keeps only the names."""

    __slots__ = ("agent", "memory", "policy", "round", "view")

    def __init__(self, round: int, agent: int, view: View, memory: Memory, policy: int | None = None) -> None:
        self.round = round
        self.agent = agent
        self.view = view
        self.memory = memory
        self.policy = agent if policy is None else policy


class Asked(Struct, frozen=True, tag="Ask", omit_defaults=True):
    """How the journal keeps an Ask; `policy` is there where it is not the agent's own."""

    round: int
    agent: int
    policy: int = -1


class Cancel(Struct, frozen=True, tag=True, omit_defaults=True):
    """Ask the venue to cancel one row of a basket."""

    sample: int
    n: int
    row: int
    ts: int


class Query(Struct, frozen=True, tag=True, omit_defaults=True):
    """Ask the venue what became of rows whose outcome is unknown, by client id."""

    sample: int
    n: int
    row: list[int]


class Again(Struct, frozen=True, tag=True, omit_defaults=True):
    """Send rows of a basket once more, with the same ids: the venue said with authority that it never had them."""

    sample: int
    n: int
    row: list[int]


class Publish(Struct, frozen=True, tag=True, omit_defaults=True):
    """An alert for people. `kind` is a stable name, `text` one sentence, `value` and `bound` what was
    measured where something was measured; `symbol` and `agent` are names or empty."""

    ts: int
    level: Level
    kind: str
    text: str
    symbol: str = ""
    agent: str = ""
    value: float | None = None
    bound: float | None = None


class Filled(Struct, frozen=True, tag=True, omit_defaults=True):
    """Record: fills of rows of one basket, as posted. `lots` are signed; `shares` per row are (agent, signed lots)."""

    sample: int
    n: int
    ts: int
    sym: list[int]
    lots: list[int]
    price_nano: list[int]
    fee_micro: list[int]
    shares: list[list[tuple[int, int]]]


class Crossed(Struct, frozen=True, tag=True, omit_defaults=True):
    """Record: lots that changed hands between agents at one price, without an order or a fee."""

    sample: int
    ts: int
    symbol: int
    price_nano: int
    shares: list[tuple[int, int]]


class Ended(Struct, frozen=True, tag=True, omit_defaults=True):
    """Record: rows of one basket that ended without being filled whole, with their final OrderState; the columns they are
    of, and the marks then."""

    sample: int
    n: int
    ts: int
    row: list[int]
    state: list[int]
    reason: str = ""
    sym: list[int] = []
    mark_nano: list[int] = []


class AgentPlan(Struct, frozen=True, omit_defaults=True):
    """One agent's part of a round. Arrays are little-endian: float64[N] weights, int64[N] lots asked by
    the agent and allowed by its own limits, int8[N] reason codes. `scale` is what the headroom left of the weights;
    `policy` names the agent whose policy decided, where it is not its own."""

    agent: int
    weights: bytes
    scale: float
    asked: bytes
    allowed: bytes
    reason: bytes
    values: dict[str, tuple[float, float]]
    policy: str = ""


class Portion(Struct, frozen=True):
    """What a plan is of lots that are worked over time in a `style`: a child of the whole that was planned at the instant
    `decided`, or with 0 the whole itself."""

    style: str
    decided: int = 0


class Planned(Struct, frozen=True, tag=True, omit_defaults=True):
    """Record: how one round became orders, complete enough to explain each order and each refusal.

    `prices` float64[N] references; `before` int64[N] house lots; `net` int64[N] asked of the house gate after
    crossing; `allowed` int64[N] after it; `reason` int8[N]; `crossed` int64[N] lots crossed;
    `values_before` and `values` limit name -> (value, bound) of the house. `portion` is
    there where lots are worked over time: `n` of the whole's plan is 0, its children have plans of their own.
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
    values_before: dict[str, tuple[float, float]]
    values: dict[str, tuple[float, float]]
    follow_up: int = 0
    portion: Portion | None = None


class Valued(Struct, frozen=True, tag=True, omit_defaults=True):
    """Record: the account at a sample. `books` are equities in micro, agents in order, then the unallocated book."""

    ts: int
    equity_micro: int
    cash_micro: int
    books: list[int]
    gross: float
    drawdown: float


class Booked(Struct, frozen=True, tag=True, omit_defaults=True):
    """Record: cash that moved for another reason than a fill, or the value of lots that came or went without one. `book` is
    the agent whose book a flow moved, -1 the unallocated one."""

    ts: int
    kind: Literal["dividend", "borrow", "cash_in_lieu", "flow", "fee", "interest", "in_kind", "delisting"]
    symbol: int
    amount_micro: int
    book: int = -1


class Switched(Struct, frozen=True, tag=True, omit_defaults=True):
    """Record: the switch of the house (agent -1) or of an agent moved. States are 0 RUN, 1 REDUCE, 2 HALT."""

    ts: int
    agent: int
    before: int
    after: int
    reason: str


class Protected(Struct, frozen=True, tag=True, omit_defaults=True):
    """Record: an agent's whole position is being closed because a mark came to a level, whatever its policy wants.

    `sample` and `n` are those of the order that does it, n = 0 where none went out (all of it crossed, or it was
    refused). `entry`, `mark` (the one that came to the level) and `level` are prices of a unit. An exit whose order
    ended early has a record for each order.
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
    """Record: an order of the basket (`sample`, `n`) is a protective stop of an agent that rests at the venue, at `level`
    below (short: above) its `entry` price, or the best price since where it trails; prices of a unit."""

    ts: int
    sample: int
    n: int
    agent: int
    symbol: int
    kind: Literal["stop_loss", "trailing_stop"]
    entry: float
    level: float


class Snapshot(Struct, frozen=True, tag=True, omit_defaults=True):
    """Keep a snapshot of the state at the end of this batch."""

    ts: int


class Stop(Struct, frozen=True, tag=True, omit_defaults=True):
    """Leave the loop."""

    reason: str


class Assessed(Struct, frozen=True, tag=True, omit_defaults=True):
    """Record: the house's limits on what is held at a sample, name -> (value, bound); state limits too. All of them, or
    those that are known without measuring."""

    ts: int
    values: dict[str, tuple[float, float]]


class Worked(Struct, frozen=True, tag=True, omit_defaults=True):
    """Record: what an agent had worked over time has ended. `decided` is the instant of its plan; per row the signed
    `lots` it was to be, the unsigned ones that were `filled`, and the mark now. `reason`: what ended it."""

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


class Reallocated(Struct, frozen=True, tag=True, omit_defaults=True):
    """Record: capital moved between agents' books, in micro by agent. `moved` adds up to 0; `owed` is what each still has
    to hand over (negative: to receive), from what it sells first. `target` are the shares that the `method` wants, `shares`
    those before; both are empty where only what was owed is settled."""

    ts: int
    method: str
    why: str
    moved: list[int]
    owed: list[int]
    shares: list[float] = []
    target: list[float] = []


class Promotion(Struct, frozen=True, tag=True, omit_defaults=True):
    """Record: a challenger was held against its champion (agents by number). `gain` is what the challenger has more of
    `measure` (a year), `p` the chance of that much or more if it were no better, `alpha` the most that this `look` may
    take. Not `promoted`: `why` says what was missing; `look` 0 is none that counts."""

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
    """The champion's and the challenger's."""


class Shadowed(Struct, frozen=True, tag=True, omit_defaults=True):
    """What one event was to a shadow agent (by number, and by `name`): its orders go to a simulated venue of its own, its records are of a
    book that is no part of the account."""

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
    | Worked
    | Reallocated
    | Promotion
    | Rested
)
"""Effects that only tell the store and the bus what happened."""

Journalled = OrderBasket | Cancel | Query | Publish | Record | Snapshot | Stop | Again | Shadowed
"""Effects that the journal stores as they are."""

Effect = Ask | Journalled
"""What `step` gives."""

JournalEffect = Asked | Journalled
"""What the journal stores: an Ask without its view."""
