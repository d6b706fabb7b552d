"""A venue's account report in quantd's columns, for reconciliation and for the venue's trading restrictions."""

from msgspec import Struct

from quantd.trading.orders import ForeignOrder


class OpenOrder(Struct, frozen=True):
    """One of our open orders at the venue, by the key of its row; `cum` are the unsigned lots filled so far."""

    sample: int
    n: int
    row: int
    cum: int = 0


class VenueAccount(Struct, frozen=True):
    """The account at one instant `ts` (ns UTC, local clock at the arrival of the answer).

    `lots` are signed, by column, truncated towards zero. `odd` lists the fractional rest of holdings that are not whole
    lots, as (symbol, exact decimal text). `others` are holdings outside the universe, as (venue symbol, exact decimal
    text). Money is micro-currency, None where the venue does not report it. `cash_micro` includes unsettled cash,
    `settled_micro` does not. `ours` and `foreign` are all open orders: ours are identified by client id, foreign ones
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

    @property
    def spendable_micro(self) -> int | None:
        """The amount available for purchases: the venue's buying power, capped at settled cash where reported.

        Unsettled proceeds are not spent: to sell the purchased lots again would be a good-faith violation.
        """
        known = [each for each in (self.buying_power_micro, self.settled_micro) if each is not None]
        return min(known, default=None)


class VenueFlow(Struct, frozen=True):
    """A cash movement at the venue without a fill.

    `kind` is "deposit" | "withdrawal" | "dividend" | "fee" | "interest" | "other". `id` is the venue's identifier; each
    is booked once.
    """

    id: str
    ts: int
    kind: str
    amount_micro: int
    symbol: str = ""
    text: str = ""
