"""The protocols between the trading core and the outside world: brokers, feeds and policies."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.trading.events import Action, Condition, VenueNews
from quantd.trading.fill_prices import Terms
from quantd.trading.instruments import Universe
from quantd.trading.market import Jump, MarketSlice, Opening
from quantd.trading.orders import ForeignOrder, OpenOrder, OrderBasket, Reports
from quantd.trading.view import Hold, Memory, Noted, View


class VenueAccount(Struct, frozen=True):
    """The account at one instant `ts` (ns UTC, local clock at the arrival of the answer).

    `lots` are signed, by column, truncated towards zero. `odd` lists the fractional rest of holdings that are not whole
    lots, as (symbol, exact decimal text). `others` are holdings outside the universe, as (venue symbol, exact decimal
    text). Money is micro-currency, None where the venue does not report it. `cash_micro` includes unsettled cash,
    `settled_micro` does not. `ours` and `foreign` are all open orders: `ours` are recognised by client id, `foreign`
    were placed by others. `blocked` is the venue's reason for a trading block, empty without one.
    """

    ts: int
    currency: str
    lots: tuple[int, ...]
    cash_micro: int
    equity_micro: int | None = None
    buying_power_micro: int | None = None
    settled_micro: int | None = None
    odd: tuple[tuple[str, str], ...] = ()
    others: tuple[tuple[str, str], ...] = ()
    ours: tuple[OpenOrder, ...] = ()
    foreign: tuple[ForeignOrder, ...] = ()
    blocked: str = ""
    unlent: tuple[int, ...] = ()
    """Columns that cannot be sold short, because the venue does not lend them."""
    unread: tuple[int, ...] = ()
    """Columns whose holding cannot be read; their `lots` are 0, and are not compared."""
    available: tuple[int, ...] = ()
    """Lots by column that we can close, signed as `lots`: without lots that are reserved for foreign open orders. Lots
    reserved for our open orders are included, because these are cancelled first. Empty if the venue does not report
    it."""
    renamed: tuple[tuple[int, str], ...] = ()
    """(column, the venue's symbol) of positions that the venue lists under another symbol than the universe. Their
    `lots` count in the column, and none of them is `available`."""

    @property
    def spendable_micro(self) -> int | None:
        """The amount available for purchases in micro-currency: the lower of the venue's buying power and the settled
        cash. A figure that the venue does not report is left out; None if it reports neither.

        Unsettled proceeds are not spent: to sell the purchased lots again would be a good-faith violation.
        """
        return min(
            [amount for amount in (self.buying_power_micro, self.settled_micro) if amount is not None], default=None
        )


class VenueFlow(Struct, frozen=True):
    """A cash movement at the venue without a fill.

    `kind` is "deposit" | "withdrawal" | "dividend" | "cash_in_lieu" | "fee" | "interest" | "other". `id` is the venue's
    identifier of the movement; each identifier is booked once. `units_nano` are signed nano-units of the instrument
    `symbol` that moved.
    """

    id: str
    ts: int
    kind: str
    amount_micro: int
    symbol: str = ""
    text: str = ""
    units_nano: int = 0

    @property
    def booking(self) -> Literal["flow", "dividend", "cash_in_lieu", "fee", "interest"]:
        """The kind under which the books record this movement: "flow" for a deposit or withdrawal, else a kind of
        profit or loss.
        """
        match self.kind:
            case "dividend" | "cash_in_lieu" | "fee" | "interest":
                return self.kind
            case _:
                return "flow"


class VenueTrade(Struct, frozen=True):
    """One execution in the venue's record. `units_nano` are signed; `fee_micro` is None if the record has no fee."""

    id: str
    ts: int
    symbol: str
    units_nano: int
    price_nano: int
    fee_micro: int | None = None


@runtime_checkable
class TradeRecord(Protocol):
    """A venue that lists the executions of the account."""

    async def trades(self, since: int) -> Sequence[VenueTrade]:
        """Return the executions in instruments of the universe later than `since` (ns UTC). Raises ConnectionError."""
        ...


@runtime_checkable
class Delists(Protocol):
    """A venue that may stop trading an instrument of the universe.

    The caller sets `continues` before it calls `open`. True means that the run has already traded at this venue. Then
    an instrument unknown to the venue counts as delisted, not as a mistake in the configuration. `untradable` maps the
    columns that the venue does not trade to the reasons.
    """

    continues: bool
    untradable: dict[int, str]


class Identity(Struct, frozen=True):
    """The ids of an account and of its assets at the venue, which do not change.

    `account` is the number of the account, empty if the venue has none. `assets` has the venue's id of each symbol of
    the universe; a symbol is absent if the venue has no ids.
    """

    account: str = ""
    assets: dict[str, str] = {}


@runtime_checkable
class Identifies(Protocol):
    """A venue that identifies the account and its assets by ids.

    The caller sets `identity` before it calls `open`, to the ids with which the run has traded; it is empty at the
    first start. `open` raises VenueError for another account, and adds the ids that `identity` lacks. A symbol whose
    asset has another id is untradable.
    """

    identity: Identity


@runtime_checkable
class SetsAside(Protocol):
    """A venue whose answers may list orders or other items that cannot be read. Such an item is set aside, and the
    readable items are used."""

    def set_aside(self) -> Sequence[str]:
        """Return a text for each item that was set aside since the last call."""
        ...


BrokerNews = VenueNews | Condition
"""Reports from a venue. An adapter reports a lost or restored connection as Condition("broker")."""


class Policy(Protocol):
    """Decides target weights.

    `lookback` is the number of samples of returns or bars that the policy reads. A policy that reads `view.bars` has a
    true attribute `uses_bars`: bars are stored only in runs with such a policy.
    """

    @property
    def lookback(self) -> int:
        """The number of newest samples of returns or bars that `act` reads."""
        ...

    def act(self, view: View, memory: Memory) -> tuple[NDArray[np.float64] | Hold | Noted, Memory]:
        """Return (target weights, new memory). The weights float64[N], by column, are fractions of the book's equity;
        the remainder is cash. HOLD in place of weights keeps all lots. A Noted answer has weights or HOLD and a message
        for operators, which is published when it changes."""
        ...


def leaves(policy: Policy) -> Iterator[Policy]:
    """Yield the component policies of `policy`, or `policy` itself if it has none. A composed policy lists its
    components as `inside`."""
    inside: tuple[Policy, ...] = getattr(policy, "inside", ())
    if not inside:
        yield policy
    for component in inside:
        yield from leaves(component)


class Until(Struct, frozen=True):
    """An item of a feed: all bars and actions up to `ts` (ns UTC) have arrived, so that everything due by then can
    be processed."""

    ts: int


class LiveFeed(Protocol):
    """A live market. `items` yields first the items since a given instant, then new items as they arrive.

    The items are in time order. An Until says up to which time the market is known; if there are no other items, one is
    yielded at least four times a second. The feed recovers from lost connections by itself: it retries until it is
    closed, and reports the failure in `trouble`.
    """

    @property
    def universe(self) -> Universe:
        """The instruments of the market, in the order of the columns of a slice (the bars of one instant)."""
        ...

    @property
    def interval_ns(self) -> int:
        """The length of a bar, ns."""
        ...

    @property
    def trouble(self) -> str:
        """The reason why no items arrive at present; empty without a failure."""
        ...

    @property
    def absent(self) -> tuple[str, ...]:
        """Symbols whose bars are overdue at the vendor; other symbols continue."""
        ...

    def items(self, after: int) -> AsyncIterator[Action | Jump | MarketSlice | Until]:
        """Yield every item later than `after` (ns UTC): corporate actions, jumps, slices (bars of one instant) and
        times.

        A jump, an open that looks like an unannounced split, immediately precedes the slice of its bar.
        """
        ...

    async def close(self) -> None:
        """End the iteration over `items` and disconnect from the vendor."""
        ...


class FillTerms(NamedTuple):
    """The terms on which a simulated venue fills limit orders (costs and sizes), and the latency of an order in ns.

    `computed` is False where a fill depends on more than these terms, so that only the venue computes it.
    """

    terms: Terms
    latency_ns: int
    computed: bool = True


class FilledBasket(Protocol):
    """A basket whose orders all filled completely on one bar."""

    @property
    def key(self) -> tuple[int, int]:
        """The basket's (sample, n)."""
        ...

    @property
    def ts_event(self) -> int:
        """The close of the bar on which the basket filled, ns UTC."""
        ...

    def made(self) -> tuple[OrderBasket, Reports, list[int]]:
        """Return the basket, the report of its fills, and for each order its commission in micro-currency before the
        minimum is applied; -1 where the fees have no minimum."""
        ...


class SimulatedBroker(Protocol):
    """A simulated venue. Its state depends only on the baskets, cancels, actions, slices and times passed to it."""

    def submit(self, basket: OrderBasket, rows: Sequence[int] | None = None) -> Sequence[BrokerNews]:
        """Accept a basket, or only its orders with the indices `rows` (None: all). Returns the reports that follow at
        once: of rejected orders, and the state of orders that the venue already has."""
        ...

    def cancel(self, sample: int, n: int, row: int, ts: int) -> Sequence[BrokerNews]:
        """Cancel the order `row` of the basket (`sample`, `n`) at `ts` (ns UTC). Returns CancelReported for an unknown
        or ended order. The end of an open order is reported later."""
        ...

    def on_action(self, action: Action) -> Sequence[BrokerNews]:
        """Apply a corporate action to open orders. Returns the reports of the orders that the action ends."""
        ...

    def on_slice(self, market: MarketSlice) -> Sequence[BrokerNews]:
        """Apply the bars of one instant. Returns fills and ends, in order of time."""
        ...

    def on_time(self, ts: int, opened: Sequence[Opening] = ()) -> Sequence[BrokerNews]:
        """Apply the opens of bars in progress, then end orders that expire up to `ts` (ns UTC). The caller calls
        this method after every slice (bars of one instant) of that time. Returns the reports of fills and ends."""
        ...

    def query(self, sample: int, n: int, rows: Sequence[int]) -> Sequence[BrokerNews]:
        """Return the reports of the orders `rows` of the basket (`sample`, `n`) again; NotFound for orders that the
        venue never received, Unknown where the venue cannot tell."""
        ...

    def freeze(self) -> bytes:
        """Return the state of the simulated venue as bytes, for a snapshot."""
        ...

    def thaw(self, frozen: bytes) -> None:
        """Restore the state of the simulated venue from the bytes that `freeze` returned."""
        ...


@runtime_checkable
class FoldVenue(SimulatedBroker, Protocol):
    """A simulated venue whose fills the engine's fold (`quantd.daemon.engine.core.fold`) may compute in its place.

    The fold (the engine's loop over recorded bars) does so while all open orders are limit orders without a fill or
    cancel.
    """

    def fill_terms(self) -> FillTerms | None:
        """Return the terms on which all limit orders fill; None if the venue may refuse or not answer them."""
        ...

    def starts(self) -> dict[tuple[int, int], int] | None:
        """Return (sample, n) of each open basket -> the instant (ns UTC) from which its orders can fill, in order of
        arrival. None where an order of these baskets was not accepted, or has a fill or a cancel."""
        ...

    def catch_up(self, market: MarketSlice, filled: Sequence[FilledBasket], missed: int | None) -> None:
        """Record, in order, the baskets that the engine's fold sent and filled completely up to the slice `market`.

        `filled` lists the newest of these baskets. Older ones, up to the sample `missed` (ns UTC), filled too and are
        not listed. `missed` is None where `filled` lists all.
        """
        ...


class Broker(Protocol):
    """A venue across a network.

    Order outcomes arrive as reports, never as exceptions. A request without a timely answer gives an Unknown report. An
    order is reported as rejected only if the venue refused it.
    """

    async def open(self) -> None:
        """Connect, and check clock, account, currency, and the universe's lot and tick sizes at the venue. Raises
        VenueError with every mistake and its remedy."""
        ...

    def remember(self, basket: OrderBasket) -> None:
        """Register a basket that was sent before a restart, so that its rows (orders) can be queried and reports
        about them are recognised."""
        ...

    async def submit(self, basket: OrderBasket, rows: Sequence[int] | None = None) -> Sequence[BrokerNews]:
        """Send all orders of a basket, or only those with the indices `rows` (None: all). Returns the reports.

        An order that the venue already has is not sent a second time; its current state is returned.
        """
        ...

    async def cancel(self, sample: int, n: int, row: int, ts: int) -> Sequence[BrokerNews]:
        """Request the cancellation of the order in `row` of basket (`sample`, `n`).

        Returns CancelReported if the venue refuses. If it accepts, the end of the order is reported later.
        """
        ...

    async def replace(self, sample: int, n: int, row: int, basket: OrderBasket) -> Sequence[BrokerNews]:
        """Replace the order in `row` of basket (`sample`, `n`) by the only row of `basket`, in one step where the venue
        can.

        The old order ends as cancelled, and the two are never open together.
        """
        ...

    async def query(self, sample: int, n: int, rows: Sequence[int]) -> Sequence[BrokerNews]:
        """Return each execution and the state of the orders in `rows` of basket (`sample`, `n`), by client id.

        NotFound is returned only after the venue's settling time, when the venue confirms that it never received the
        order.
        """
        ...

    async def account(self) -> VenueAccount:
        """Return the venue's holdings. Raises ConnectionError when the venue does not answer."""
        ...

    async def flows(self, since: int) -> Sequence[VenueFlow]:
        """Return cash movements without a fill later than `since` (ns UTC), oldest first. Raises ConnectionError."""
        ...

    def news(self) -> AsyncIterator[BrokerNews]:
        """Iterate over unsolicited reports of the venue, until `close`.

        A lost connection gives one Condition("broker", up=False), and reconnection attempts back off. The restored
        connection gives Condition("broker", up=True). The caller must query the reports missed in between.
        """
        ...

    async def close(self) -> None:
        """End the iteration over `news` and disconnect. Open orders stay open at the venue."""
        ...
