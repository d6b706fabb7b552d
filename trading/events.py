"""Everything that can happen to the engine: the closed union Event.

Outside answers, time and randomness arrive only in here. Frozen, journalled, never changed in meaning:
a new field or kind raises the codec's version. A new event is a struct here, its name in the union of its source at the
end of this module, and its handler `on_<event>` in a module of `quantd.daemon.engine`.
"""

from typing import Literal

from msgspec import Struct

from quantd.trading.market import MarketSlice
from quantd.trading.orders import ForeignOrder, Reports


class Started(Struct, frozen=True, tag=True, omit_defaults=True):
    """First event of every start. Digests are hex BLAKE2b; `blas` names the kernel numpy uses."""

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


class Reloaded(Struct, frozen=True, tag=True, omit_defaults=True):
    """The limits in force from here on, as the engine freezes them: after the first start, and whenever a new
    configuration was read. `config` is its digest, `changed` the keys that changed."""

    ts: int
    config: str
    changed: tuple[str, ...] = ()
    limits: bytes = b""


class SliceRef(Struct, frozen=True, tag="Slice", omit_defaults=True):
    """How the journal names a slice of a replayed feed: by number."""

    index: int


class Bars(Struct, frozen=True, tag=True, omit_defaults=True):
    """How the journal keeps a slice of a live feed: its columns as little-endian bytes, N values each."""

    ts_open: int
    ts_event: int
    ts_seen: int
    key: int
    fresh: bytes
    open_nano: bytes
    close_nano: bytes
    columns: bytes


class Action(Struct, frozen=True, tag=True, omit_defaults=True):
    """A corporate action at the ex date's open, before that open's fills.

    split: `numerator` new shares for `denominator` old ones. dividend: `cash_nano` nano-currency per share
    held at the previous close. delisting: every share becomes `cash_nano` in cash (0: it is worth nothing), and there is
    no price until bars come again. `key` is the ex date (00:00 UTC).
    """

    ts: int
    key: int
    symbol: int
    kind: Literal["split", "dividend", "delisting"]
    numerator: int = 1
    denominator: int = 1
    cash_nano: int = 0


class Tick(Struct, frozen=True, tag=True, omit_defaults=True):
    """All ticks of one instant, after every slice of it.

    `sample`: this is the close of a house session: `key` is its date and `final` the instant from which
    its synchronous row is complete. `due` are the agents (by number) that are asked, `jobs` the names of other
    schedules. `warmup`: before the start; history only, nothing trades and nothing is valued. `macro`: what is known of
    each series of [feed] macro at a sample, in their order. `cash_rate` is the annual rate on cash since the sample
    before (RATE_ONE to the unit); None where cash earns nothing.
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


class Decided(Struct, frozen=True, tag=True, omit_defaults=True):
    """The answer to an Ask. `weights` is little-endian float64[N], None to hold; `failed` says why there
    is none. `memory` maps names to (shape, little-endian float64 bytes). `note` is a word of the policy for people; it
    `warns` where the answer is not what was wished for."""

    round: int
    agent: int
    weights: bytes | None = None
    failed: str = ""
    memory: dict[str, tuple[tuple[int, ...], bytes]] = {}
    note: str = ""
    warns: bool = False


class CancelReported(Struct, frozen=True, tag=True, omit_defaults=True):
    """The venue refused to cancel a row (it had ended, or it does not know it)."""

    sample: int
    n: int
    ts: int
    row: int
    reason: str


class Unknown(Struct, frozen=True, tag=True, omit_defaults=True):
    """Nobody knows what became of these rows: the answer to a submit or a cancel did not come in time."""

    sample: int
    n: int
    ts: int
    row: list[int]
    reason: str


class NotFound(Struct, frozen=True, tag=True, omit_defaults=True):
    """The venue says with authority, after its settling time, that it never had these rows. `again` is how often they had
    been sent again when it was asked: of a later sending this says nothing."""

    sample: int
    n: int
    ts: int
    row: list[int]
    again: int = 0


class Reconciled(Struct, frozen=True, tag=True, omit_defaults=True):
    """What the venue holds, to be compared with ours: `lots` by column, cash and buying power in micro, None where it
    was not asked; `others` are holdings that are no whole lots of ours, (symbol, decimal text). `counted` are the baskets,
    (sample, n), that the venue had heard of when it said what may be bought; `unlent` the columns of what it lends nobody."""

    ts: int
    lots: list[int]
    cash_micro: int | None = None
    buying_power_micro: int | None = None
    others: tuple[tuple[str, str], ...] = ()
    counted: tuple[tuple[int, int], ...] = ()
    unlent: tuple[int, ...] = ()


class ForeignFound(Struct, frozen=True, tag=True, omit_defaults=True):
    """Orders at the venue that are not ours: the whole present list."""

    ts: int
    orders: tuple[ForeignOrder, ...]


class Flow(Struct, frozen=True, tag=True, omit_defaults=True):
    """Cash that moved for another reason than a fill, in micro-currency: a deposit (positive) or a withdrawal of the book of
    `agent` (empty: the unallocated one), or what a venue pays and charges. `id` is the venue's, by which it is taken once;
    `symbol` the column of a dividend; `reason` what a person who moved it says."""

    ts: int
    amount_micro: int
    who: str = ""
    kind: Literal["flow", "dividend", "fee", "interest"] = "flow"
    id: str = ""
    symbol: int = -1
    agent: str = ""
    reason: str = ""


class Correction(Struct, frozen=True, tag=True, omit_defaults=True):
    """What the venue has more than we knew of, and what a person says of it: `how` is "fence" or an agent's name."""

    ts: int
    lots: list[int]
    cash_micro: int
    how: str
    reason: str
    who: str


class Wished(Struct, frozen=True, tag=True, omit_defaults=True):
    """An order by hand, for the book of `agent`: signed lots of a column. `stop_nano` and `target_nano`, 0 for none, are the
    levels of the whole position that it makes, in place of the book's own."""

    ts: int
    agent: str
    symbol: int
    lots: int
    reason: str
    who: str
    stop_nano: int = 0
    target_nano: int = 0


class Halted(Struct, frozen=True, tag=True, omit_defaults=True):
    """Trading of a column was halted at the venue, or by a person (`who`), or goes on. `announced`: by a stream, whose word
    that it goes on may be missed."""

    ts: int
    symbol: int
    halted: bool
    detail: str = ""
    who: str = ""
    announced: bool = False


class Limited(Struct, frozen=True, tag=True, omit_defaults=True):
    """The price of a column is at a limit up or down, which the venue keeps it within; nano-currency, 0 for none."""

    ts: int
    symbol: int
    down_nano: int
    up_nano: int


class Busted(Struct, frozen=True, tag=True, omit_defaults=True):
    """The venue takes back a fill of a row: `lots` (unsigned) at `price_nano`, as it was told then; 0 lots where it is not known
    which. `new_lots` at `new_price_nano` hold instead where it was corrected. `id` is the venue's, by which it is taken once."""

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
    """The account of another run is carried on in this one, whose universe or agents are others: `account` as the engine
    packs it, by name."""

    ts: int
    run: str
    account: bytes


class Shade(Struct, frozen=True, tag=True, omit_defaults=True):
    """What the simulated venue of a shadow agent (by number) says."""

    agent: int
    news: Reports | CancelReported | Unknown | NotFound


class Operator(Struct, frozen=True, tag=True, omit_defaults=True):
    """A person's command. `agent` is a name, empty for the house."""

    ts: int
    command: Literal["halt", "reduce", "resume", "flatten"]
    reason: str
    who: str
    agent: str = ""


class Condition(Struct, frozen=True, tag=True, omit_defaults=True):
    """Something the daemon stands on went down or came back."""

    ts: int
    what: Literal["feed", "broker", "store", "clock", "lag", "ledger", "bars", "upkeep", "calendar"]
    up: bool
    detail: str = ""


class Retrained(Struct, frozen=True, tag=True, omit_defaults=True):
    """What became of training a shadow's policy again, on data up to `until` (a date). `failed` says why there is nothing new.

    Nothing trades it yet: with `promoted` the folder that the shadow's policy names stands for `version` (its manifest's `digest`) from
    the next start on. `current` is the digest it was held against, over `sessions`: `gain` a year in the measure of `rule`, with `p`.
    """

    ts: int
    agent: str
    until: str = ""
    version: str = ""
    digest: str = ""
    current: str = ""
    promoted: bool = False
    reason: str = ""
    rule: str = ""
    sessions: int = 0
    gain: float = 0.0
    p: float = 1.0
    failed: str = ""


class Stopping(Struct, frozen=True, tag=True, omit_defaults=True):
    """The daemon stops; open orders are cancelled or kept as configured."""

    ts: int
    cancel_open: bool
    reason: str


External = (
    Started
    | Reloaded
    | Flow
    | Operator
    | Condition
    | Stopping
    | Reconciled
    | ForeignFound
    | Correction
    | Wished
    | Halted
    | Limited
    | Carried
    | Retrained
)
"""Events that nothing computes again: in a replay they come from the journal."""

VenueNews = Reports | CancelReported | Unknown | NotFound | Busted
"""Events that a venue reports. A simulated venue computes them again in a replay."""

Journalled = External | VenueNews | Action | Tick | Decided | Shade
"""Events that the journal stores as they are."""

Event = Journalled | MarketSlice
"""What `step` takes."""

JournalEvent = Journalled | SliceRef | Bars
"""What the journal stores. A MarketSlice is a SliceRef (replay) or Bars (live)."""
