"""Documented habits of Alpaca, as switches of its books: what it charges, lists late, delists and refuses.

Each has the page or the thread that documents it.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.venues.alpaca_book import Book, Listed, Placed


@dataclass
class Habits:
    """Switches; as built, the venue has none of them.

    `coin_fee` is the share of what a trade in a pair credits (docs.alpaca.markets/docs/crypto-fees, alpaca-py#374), and
    `fees_late` lists it only by `list_fees` (the same page: at the end of the day). `hidden` are ids of executions that
    are never listed (Alpaca-API#176). `wash_trades` refuses an order against a resting one of the account
    (docs.alpaca.markets/docs/user-protection, alpaca-java#145). `least_cost` is that of a pair's order
    (docs.alpaca.markets/docs/crypto-trading).
    """

    coin_fee: Decimal = Decimal(0)
    fees_late: bool = False
    hidden: set[str] = field(default_factory=set)
    wash_trades: bool = False
    least_cost: Decimal = Decimal(0)
    unlisted: list[dict[str, Any]] = field(default_factory=list)


def refusal(book: "Book", asset: "Listed", order: "Placed", cost: Decimal) -> tuple[int, int, str] | None:
    """(status, code, words) with which a habit refuses an order; None where none does."""
    habits = book.habits
    if asset.crypto and cost < habits.least_cost:
        return 403, 40310000, f"cost basis must be >= minimal amount of order {habits.least_cost}"
    opposite = [o for o in book.orders.values() if o.open and o.symbol == asset.symbol and o.side != order.side]
    if habits.wash_trades and opposite:
        return 403, 40310000, "potential wash trade detected. use complex orders"
    return None


def charge(book: "Book", symbol: str, signed: Decimal, price: Decimal) -> None:
    """Take the fee of a fill."""
    habits = book.habits
    if not habits.coin_fee or "/" not in symbol:
        return
    fee: dict[str, Any] = {"activity_type": "CFEE", "symbol": symbol.replace("/", ""), "price": str(price)}
    if signed > 0:
        coin = (signed * habits.coin_fee).quantize(Decimal("0.000000001"))
        book.positions[symbol] -= coin
        fee |= {"qty": str(-coin), "net_amount": "0", "description": "Coin Pair Transaction Fee (Non USD)"}
    else:
        money = (-signed * price * habits.coin_fee).quantize(Decimal("0.01"))
        book.cash -= money
        fee |= {"qty": "0", "net_amount": str(-money), "description": "Coin Pair Transaction Fee (USD)"}
    habits.unlisted.append(fee)
    if not habits.fees_late:
        list_fees(book)


def list_fees(book: "Book") -> None:
    """List the fees that were taken, as at the end of the day."""
    from tests.support.venues.alpaca_book import activity_id

    for fee in book.habits.unlisted:
        at = book.tick()
        id = activity_id(at, book.id())
        day = f"{id[:4]}-{id[4:6]}-{id[6:8]}"
        book.activities.append({"id": id, "date": day, "status": "executed", "_at": at, **fee})
    book.habits.unlisted = []


def delist(book: "Book", symbol: str, *, inactive: bool = True) -> None:
    """Stop trading an asset: its orders end, its position stays (docs.alpaca.markets, assets: status, tradable)."""
    for order in [o for o in book.orders.values() if o.open and o.symbol == symbol]:
        book.end(order, "canceled")
    asset = book.assets[symbol]
    asset.tradable, asset.status = False, "inactive" if inactive else asset.status
