"""What a venue says of an account: its own words in our columns, for reconciliation and for what it lets be traded."""

from msgspec import Struct

from quantd.trading.orders import ForeignOrder


class OpenOrder(Struct, frozen=True):
    """One of our orders that is open at the venue, by the key of its row; `cum` are the unsigned lots filled so far."""

    sample: int
    n: int
    row: int
    cum: int = 0


class VenueAccount(Struct, frozen=True):
    """The account at one instant (`ts`, ns UTC, by our clock when the answer came).

    `lots` are signed, by column, floored towards zero; `odd` has what is left of a holding that is not whole lots,
    (symbol, exact decimal text). `others` are holdings outside the universe, (the venue's symbol, exact decimal text).
    Money is micro-currency; None where the venue does not say. `cash_micro` includes what is not settled yet,
    `settled_micro` does not. `ours` and `foreign` are all open orders: ours known by their client id, and those that
    somebody else placed. `blocked` is why the venue lets nothing be traded; empty when it does.
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
    """Columns of what cannot be sold short: the venue lends nobody any."""

    @property
    def spendable_micro(self) -> int | None:
        """What may be bought now: the venue's buying power, and no more than what is settled where the venue says what is.
        Money of a sale that has not settled is not spent: to sell again what it bought would violate good faith."""
        known = [each for each in (self.buying_power_micro, self.settled_micro) if each is not None]
        return min(known, default=None)


class VenueFlow(Struct, frozen=True):
    """Cash that moved at the venue for another reason than a fill: `kind` is "deposit" | "withdrawal" | "dividend" |
    "fee" | "interest" | "other". `id` is the venue's own, by which it is taken once."""

    id: str
    ts: int
    kind: str
    amount_micro: int
    symbol: str = ""
    text: str = ""
