"""The emergency exit of one account: its working orders and its positions, without universe, run or store.

What can go wrong. The exit is needed when nothing else works: the configuration is wrong, the store is damaged, and a
venue sends numbers that nobody expects. A request whose answer is lost is repeated, and a second close could turn a
position around. A quantity with thousands of digits takes the memory of the machine.

The exit reads the account at the venue and needs no list of instruments. An order can be cancelled whatever its numbers
are. A position without a readable quantity is listed with a `fault`, a text that says why. Repeated requests of
`close_position` never turn a position around, at any venue.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple, Protocol

from msgspec import Struct
from msgspec.structs import replace


class WorkingOrder(Struct, frozen=True):
    """An open order in the account, whoever placed it. `qty` is the whole quantity, `filled` the part that has
    traded."""

    id: str
    symbol: str
    side: str
    qty: Decimal
    filled: Decimal = Decimal(0)

    @property
    def left(self) -> Decimal:
        return self.qty - self.filled


class Holding(Struct, frozen=True):
    """A position: its signed quantity `qty`, and its value `worth` at the venue's price (None if no price is known).

    `dust` is a text if the position is smaller than the venue's minimum order, so that no order can close it; else it
    is empty. `fault` says why its quantity cannot be used; `qty` is then 0.
    """

    symbol: str
    qty: Decimal
    worth: Decimal | None = None
    dust: str = ""
    fault: str = ""


MOST_DIGITS: Final = 24
"""Maximum number of digits before the decimal point, and after it. More would take the memory of the machine."""


def quantity(value: Decimal) -> Decimal | None:
    """Return a venue's quantity; None if no account can have it: NaN, infinite, or with too many digits."""
    if not value.is_finite() or value.adjusted() > MOST_DIGITS:
        return None
    exponent = value.as_tuple().exponent
    return value if isinstance(exponent, int) and exponent >= -MOST_DIGITS else None


def sound_order(order: WorkingOrder) -> WorkingOrder:
    """Return the order with printable quantities: an unreadable quantity becomes 0. A cancel needs no quantity."""
    qty, filled = quantity(order.qty), quantity(order.filled)
    if qty is not None and filled is not None:
        return order
    return replace(order, qty=qty or Decimal(0), filled=filled or Decimal(0))


def sound_holding(holding: Holding) -> Holding:
    """Return the position with printable numbers; an unusable quantity becomes 0, and `fault` names the reason."""
    worth = None if holding.worth is None else quantity(holding.worth)
    if (qty := quantity(holding.qty)) is None:
        text = f"the venue gives its quantity as {str(holding.qty)[:40]}"
        return replace(holding, qty=Decimal(0), worth=None, fault=text)
    return holding if worth is holding.worth else replace(holding, qty=qty, worth=worth)


class Ended(NamedTuple):
    """The end of an order in the venue's words ("canceled"), and the quantity that was filled."""

    status: str
    filled: Decimal


class AccountExit(Protocol):
    """One account in an emergency exit, which cancels its orders and closes its positions. Each method raises
    KeysRefused, VenueError for another refusal, or ConnectionError.

    After a ConnectionError it is unknown whether a cancel or a sale was accepted. `where` is the name of the venue and
    `page` its web page.
    """

    where: str
    page: str

    async def open(self) -> None:
        """Connect, without any request about the account."""

    async def close(self) -> None:
        """Disconnect."""

    async def number(self) -> str:
        """Return the account number, empty where the venue has none."""

    async def orders(self) -> Sequence[WorkingOrder]:
        """Return every open order."""

    async def cancel_all(self) -> None:
        """Cancel every open order in one request; nothing where the venue has no such request."""

    async def cancel(self, order: WorkingOrder) -> None:
        """Cancel one order."""

    async def ended(self, orders: Sequence[WorkingOrder]) -> dict[str, Ended]:
        """Return how orders ended, by order id; an order whose end is not known is absent."""

    async def holdings(self) -> Sequence[Holding]:
        """Return every position."""

    async def close_position(self, holding: Holding, client_id: str) -> str:
        """Close a position by a market order, and return the id of that order.

        A repeated request never turns the position around (from long to short or the reverse).
        """
