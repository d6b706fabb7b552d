"""The emergency exit of one account: its working orders and its positions, without universe, run or store."""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol

from msgspec import Struct


class WorkingOrder(Struct, frozen=True):
    """An open order of anybody in the account. `qty` is the whole quantity, `filled` the part that has traded."""

    id: str
    symbol: str
    side: str
    qty: Decimal
    filled: Decimal = Decimal(0)

    @property
    def left(self) -> Decimal:
        """The quantity that may still trade."""
        return self.qty - self.filled


class Holding(Struct, frozen=True):
    """A position: its signed quantity, and its value at the venue's price, None where no price is known.

    `dust` is the reason why no order can close it, because it is smaller than the venue's least order.
    """

    symbol: str
    qty: Decimal
    worth: Decimal | None = None
    dust: str = ""


class Ended(NamedTuple):
    """The end of an order in the venue's word, and its filled quantity."""

    status: str
    filled: Decimal


class AccountExit(Protocol):
    """One account. Each method raises KeysRefused, VenueError for another refusal, or ConnectionError.

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
        """The number of the account, empty where the venue has none."""

    async def orders(self) -> Sequence[WorkingOrder]:
        """Every open order."""

    async def cancel_all(self) -> None:
        """Cancel every open order in one request; nothing where the venue has no such request."""

    async def cancel(self, order: WorkingOrder) -> None:
        """Cancel one order."""

    async def ended(self, orders: Sequence[WorkingOrder]) -> dict[str, Ended]:
        """The ends of orders by id; an order without a known end is absent."""

    async def holdings(self) -> Sequence[Holding]:
        """Every position."""

    async def close_position(self, holding: Holding, client_id: str) -> str:
        """Close a position at market, and return the id of the order. A repeated request never turns it around."""
