"""The account at the venue beside our orders: holdings and cash that belong to no book, unpaid dividends, fees, and
what the engine waits for."""

from collections import deque
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from quantd.daemon.engine.state.open_orders import Key
from quantd.daemon.engine.state.waits import Waits

FLOWS_KEPT: Final = 1024
"""Ids of cash flows at the venue that are remembered, so that each is booked once."""


class CoinFees(Struct):
    """Fees that the venue takes at a trade and lists later.

    `uncharged` has by column (nano-units bought whose fee is not listed yet, instant of the first such trade). `ahead`
    has by column the nano-units of fees that were booked before the venue listed them. The key -1 is for sales, whose
    fees are taken in currency: its amounts are in micro-currency.
    """

    uncharged: dict[int, tuple[int, int]] = {}
    ahead: dict[int, int] = {}


class FrozenVenue(Struct, frozen=True):
    """A VenueAccount in a snapshot, without the orders of others."""

    fenced: tuple[list[int], int] = ([], 0)
    flows: list[str] = []
    entitled: list[tuple[int, list[tuple[int, int]]]] = []
    foreign_ids: list[str] = []
    buying_power_micro: int | None = None
    spending: list[tuple[tuple[int, int], list[tuple[int, int]]]] = []
    dust: dict[int, int] = {}
    unlent: tuple[int, ...] = ()
    waits: Waits | UnsetType = UNSET
    coin_fees: CoinFees | UnsetType = UNSET
    """Absent without any, as in older snapshots."""


class VenueAccount:
    """The account at the venue, as the newest comparison and the reports since then show it."""

    __slots__ = (
        "buying_power_micro", "coin_fees", "dust", "entitled", "fenced", "flows", "foreign", "foreign_ids", "spending",
        "unlent", "waits",
    )  # fmt: skip

    def __init__(self, size: int) -> None:
        self.foreign: list[tuple[int, int, int]] = []
        """(column, signed lots, limit in nano) of orders at the venue that are not ours."""
        self.foreign_ids: list[str] = []
        self.fenced: tuple[list[int], int] = [0] * size, 0
        """(lots by column, cash in micro-currency) at the venue that are known not to be ours."""
        self.dust: dict[int, int] = {}
        """Column -> nano-units that remain of a lot after fees in the instrument itself: at the venue, in no book."""
        self.coin_fees: CoinFees | UnsetType = UNSET  # set with the first trade at a venue that lists fees later
        self.flows: deque[str] = deque(maxlen=FLOWS_KEPT)
        """The venue's ids of booked cash flows."""
        self.entitled: list[tuple[int, list[tuple[int, int]]]] = []
        """(column, [(book, lots)]) of each dividend whose ex date is over and that the venue has not paid."""
        self.buying_power_micro: int | None = None
        """Last buying power that the venue reported; None where it reports none."""
        self.unlent: tuple[int, ...] = ()
        """Columns that cannot be borrowed at the venue, and so not be sold short."""
        self.spending: dict[Key, list[tuple[int, int]]] = {}
        """Basket -> (row, worst cost in micro-currency) of orders that the reported buying power may not include."""
        self.waits = Waits()

    def freeze(self) -> FrozenVenue:
        """The venue's account as plain values for a snapshot, in which the orders of others are a separate field."""
        return FrozenVenue(
            fenced=self.fenced,
            flows=list(self.flows),
            entitled=self.entitled,
            foreign_ids=self.foreign_ids,
            buying_power_micro=self.buying_power_micro,
            spending=list(self.spending.items()),
            dust=self.dust,
            unlent=self.unlent,
            waits=UNSET if self.waits == Waits() else self.waits,
            coin_fees=self.coin_fees,
        )

    def thaw(self, frozen: FrozenVenue, foreign: list[tuple[int, int, int]]) -> None:
        """Take the venue's account from a snapshot. An old snapshot has no `fenced` values (holdings that are known not
        to be ours): then there are none."""
        if frozen.fenced[0]:
            self.fenced = frozen.fenced
        self.flows.extend(frozen.flows)
        self.spending = dict(frozen.spending)
        self.waits = Waits() if isinstance(frozen.waits, UnsetType) else frozen.waits
        self.entitled, self.foreign, self.foreign_ids = frozen.entitled, foreign, frozen.foreign_ids
        self.buying_power_micro, self.unlent = frozen.buying_power_micro, frozen.unlent
        self.dust, self.coin_fees = frozen.dust, frozen.coin_fees
