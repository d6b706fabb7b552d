"""What a case of the conformance suite needs of a venue: a rig starts it, makes adapters, drives fills, lets it
misbehave by name, and says what it really has. A case speaks to nothing else, so that one text holds for all
brokers."""

from typing import Literal, Protocol

from msgspec import Struct

from quantd.trading.instruments import Universe
from quantd.trading.orders import Kind, OrderBasket
from quantd.trading.ports import Broker, VenueFlow

Fault = Literal[
    "429",  # too many requests, Retry-After short; nothing was accepted
    "429 bare",  # the same without Retry-After
    "500",  # an error of the venue's own, before anything was accepted
    "500 after",  # the same error, and the request was accepted
    "502 html",  # a proxy's page instead of an answer; nothing was accepted
    "503",  # maintenance; nothing was accepted
    "time-out before",  # no answer, nothing was accepted
    "time-out after",  # no answer, and it was accepted
    "answer lost",  # accepted, then the connection is reset
    "reset before",  # the connection is reset before anything was accepted
    "malformed",  # accepted, and the answer is not JSON
]
On = Literal["submit", "cancel", "query", "replace", "account"]
"""Which requests a fault meets. "query" is what `Broker.query` asks for, "account" what `Broker.account` does."""

StreamFault = Literal[
    "lost",  # the connection is cut; a new one is taken
    "down",  # cut, and no new one is taken until "up"
    "up",  # everything as it should be; what was held is let go
    "doubled",  # each update is said twice
    "held",  # updates are kept back until "up" (or "reversed")
    "reversed",  # what was held comes now, newest first
    "silent",  # connected, and nothing is ever said; what is missed stays missed
    "garbage",  # one message that is not what was agreed
]
Role = Literal[
    "plain",  # whole lots, liquid; lot, tick and price ordinary
    "other",  # a second one like it
    "fine",  # lots that are a part of one unit
    "cheap",  # priced so low that its ticks are finer than those of "plain"
    "short",  # may be sold without being held
    "unshortable",  # may not
]
Refusal = Literal["buying power", "not held", "unshortable", "untradable", "too small", "closed"]


class NotOffered(Exception):
    """This venue has no such thing; the case is counted as not offered, with this reason."""


class Row(Struct, frozen=True):
    """One order of a case. Prices in nano-currency; `worst_nano` 0 is a marketable limit 5 % beyond the price;
    `end` 0 is good till cancelled, -1 the rig's next close of a session."""

    column: int
    lots: int
    worst_nano: int = 0
    kind: Kind = Kind.LIMIT
    stop_nano: int = 0
    end: int = -1


class VenueOrder(Struct, frozen=True):
    """An order as the venue really has it. `lots` signed, `filled` unsigned; `in_force` is the venue's own word."""

    client_id: str
    lots: int
    filled: int
    limit_nano: int
    stop_nano: int
    in_force: str
    open: bool


class Truth(Struct, frozen=True):
    """The venue's books: signed whole lots by column, cash in micro-currency."""

    lots: tuple[int, ...]
    cash_micro: int


class Rig(Protocol):
    """One venue, started for one case. All times are ns UTC of the rig's clock, which venue and adapter share."""

    name: str
    universe: Universe
    run: str
    broker: Broker
    """The adapter under test, opened by `start`."""
    timeout_s: float
    """Time-out of a request of its adapters, where none is given: long enough for a busy machine, and set before
    `start` where thousands of answers are meant not to come."""

    async def start(self) -> None:
        """Start the venue with CASH and nothing held, and open the adapter."""
        ...

    async def stop(self) -> None: ...

    def adapter(
        self, *, key: str = "", universe: Universe | None = None, per_minute: int = 0, timeout_s: float = 0.0
    ) -> Broker:
        """One more adapter to the same venue, not opened; with another key or universe than the rig's where given. The
        case closes it."""
        ...

    def lacks(self, case: str) -> str:
        """Why this case cannot exist here; empty when it can. Better raise NotOffered where the reason is met."""
        ...

    async def listened(self) -> None:
        """Wait until the venue has somebody who hears its news; at once where it has no stream."""
        ...

    # the clock
    def now(self) -> int: ...

    async def settle(self) -> None:
        """Let the venue's settling time pass."""
        ...

    async def skew(self, seconds: float) -> None:
        """The venue's clock differs from ours by so much."""
        ...

    # orders
    def column(self, role: Role) -> int:
        """The column of an instrument for this purpose."""
        ...

    def price_nano(self, column: int) -> int:
        """What it trades at, on its tick."""
        ...

    def basket(self, *rows: Row, sample: int = 0) -> OrderBasket:
        """A basket as the gate builds it, stamped now; the rig numbers them, so that no two have one key."""
        ...

    def refused(self, why: Refusal) -> Row:
        """An order that this venue refuses for that reason when it is submitted."""
        ...

    # what the venue does by itself
    async def hold(self, column: int, lots: int) -> None:
        """The account holds that (signed) before the case begins; its cash does not change."""
        ...

    async def fill(self, basket: OrderBasket, row: int, lots: int, price_nano: int) -> None:
        """One execution of so many unsigned lots; the order rests at the venue already. Returns when it has happened
        there, not when it is heard of."""
        ...

    async def take_back(self, basket: OrderBasket, row: int, lots: int = 0, price_nano: int = 0) -> None:
        """The venue busts the last execution of an order, or corrects it to so many unsigned lots at that price."""
        ...

    async def end(self, basket: OrderBasket, row: int, how: Literal["cancelled", "expired", "rejected"]) -> None:
        """The venue ends an open order on its own."""
        ...

    async def fill_on_cancel(self, basket: OrderBasket, row: int, lots: int, price_nano: int) -> None:
        """The next cancel of this order comes too late for that: it fills so much in the moment before."""
        ...

    async def refuse_cancel(self, basket: OrderBasket, row: int) -> None:
        """The next cancel of this order is refused although it is open."""
        ...

    # somebody else at the same account
    async def foreign_order(self, column: int, lots: int, limit_nano: int) -> str:
        """An order that is not ours rests at the venue; its venue id."""
        ...

    async def foreign_trade(self, column: int, lots: int, price_nano: int) -> None:
        """Somebody trades by hand: lots (signed) and cash change."""
        ...

    async def flow(self, kind: str, amount_micro: int, column: int = -1) -> None:
        """Cash moves for another reason than a fill; `kind` is one of VenueFlow's."""
        ...

    async def odd(self, column: int) -> None:
        """A holding of less than a lot is added to that column."""
        ...

    async def outside(self) -> str:
        """A holding that is not in the universe; the venue's name of it."""
        ...

    async def block(self) -> None:
        """The venue lets nothing be traded any more."""
        ...

    async def revoke(self) -> None:
        """The venue takes the keys no more."""
        ...

    # misbehaviour
    async def misbehave(self, fault: Fault, on: On, times: int = 1) -> None:
        """The next `times` requests of that kind meet the fault. Those after it are answered as ever; 0 ends all faults
        of that kind of request."""
        ...

    async def stream(self, fault: StreamFault) -> None:
        """Do that to the stream of news; "up" ends it."""
        ...

    async def down(self) -> None:
        """Nothing listens any more: connections are refused, and the stream is cut."""
        ...

    async def up(self) -> None:
        """It listens again, at the same address, with the same books."""
        ...

    # what the venue really has
    def has(self, basket: OrderBasket, row: int) -> list[VenueOrder]:
        """Every order that it ever accepted under the client id of this row: two are one too many."""
        ...

    def truth(self) -> Truth: ...

    def requests(self, on: On) -> int:
        """How many such requests reached the venue, whatever became of them."""
        ...

    def flows(self) -> list[VenueFlow]:
        """The venue's list of them, oldest first; of `id` it is only said that no two are equal."""
        ...

    def secrets(self) -> tuple[str, ...]:
        """What no text may contain."""
        ...


CASH_MICRO = 1_000_000_000_000
"""What the account of a rig begins with: a million in its currency."""
