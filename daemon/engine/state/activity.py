"""Recent activity of each book, for limits over time: turnover of a session, order rate, duplicates."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.daemon.engine.core.order_columns import Request
from quantd.risk.limits.catalogue import Limits
from quantd.trading.instruments import NANO
from quantd.trading.market import Floats
from quantd.trading.number_types import read_floats
from quantd.trading.sessions import Sessions


class FrozenBookActivity(Struct, frozen=True):
    """A `BookActivity` in a snapshot; `asked` are the lots of the last request as bytes of float64[N], empty without a
    request."""

    traded: float = 0.0
    sent: list[tuple[int, int]] = []
    asked_at: int = 0
    asked: bytes = b""
    orders: int = 0


class FrozenActivity(Struct, frozen=True):
    """An `Activity` (recent trading of each book) in a snapshot."""

    books: list[FrozenBookActivity]
    session_end: int = 0


class BookActivity:
    """The activity of one book: in the session the value `traded`, in currency, and the number of `orders`. `sent` has
    (instant in ns, number of orders) of recent baskets, `request` the signed lots of the last request."""

    __slots__ = ("orders", "request", "sent", "traded")

    def __init__(self, size: int) -> None:
        self.traded = 0.0
        self.sent: list[tuple[int, int]] = []
        self.orders = 0
        self.request: Final = Request(size)

    def forget(self) -> None:
        """Forget all recorded activity of the book: traded value, orders and last request."""
        self.traded, self.sent, self.orders = 0.0, [], 0
        self.request.drop()

    def freeze(self) -> FrozenBookActivity:
        """Return the book's activity as values of a snapshot."""
        request = self.request
        lots = bytes(request.lots) if request.given else b""
        return FrozenBookActivity(self.traded, self.sent, request.at, lots, self.orders)

    def thaw(self, frozen: FrozenBookActivity) -> None:
        self.traded, self.sent, self.orders = frozen.traded, frozen.sent, frozen.orders
        if frozen.asked:
            self.request.put(frozen.asked_at, read_floats(np.frombuffer(frozen.asked)))
        else:
            self.request.drop()


class Activity:
    """All books, agents in order and the whole account last. `session_end` (ns UTC) is the close of the
    session that is counted: from this instant on orders count for the next session."""

    __slots__ = ("books", "session_end")

    def __init__(self, books: int, size: int) -> None:
        self.books: Final = [BookActivity(size) for _ in range(books)]
        self.session_end = 0

    def freeze(self) -> FrozenActivity:
        return FrozenActivity([book.freeze() for book in self.books], self.session_end)

    def thaw(self, frozen: FrozenActivity) -> None:
        """Restore the recent activity of all books from a snapshot with the same number of books."""
        self.session_end = frozen.session_end
        for book, of_book in zip(self.books, frozen.books, strict=True):
            book.thaw(of_book)

    def roll(self, now: int, sessions: Sessions) -> None:
        """Begin a new session of counts when the counted session is over at `now` (ns)."""
        if now >= self.session_end:
            self.session_end = sessions.close_ns[sessions.next_close(now)]
            for book in self.books:
                book.traded = 0.0
                book.orders = 0

    def fill(
        self, sym: Sequence[int], price_nano: Sequence[int], shares: Sequence[Sequence[tuple[int, int]]], size: Floats
    ) -> None:
        """Count the value of fills for the whole account and for each agent that shares in them.

        `shares` has for each fill the (agent, lots); `size` are the units of one lot, float64[N].
        """
        for symbol, price, fill_shares in zip(sym, price_nano, shares, strict=True):
            value = price / NANO * float(size[symbol])
            for agent, lots in fill_shares:
                traded = abs(lots) * value
                self.books[agent].traded += traded
                self.books[-1].traded += traded  # the house

    def cross(self, price_nano: int, shares: Sequence[tuple[int, int]], size: float) -> None:
        """Count the value of a cross (trade between agents) for its agents only: it is no trade of the whole account.


        `shares` are (agent, lots); `size` are the units of one lot.
        """
        for agent, lots in shares:
            self.books[agent].traded += abs(lots) * price_nano / NANO * size

    def send(self, book: int, now: int, orders: int, limits: Limits) -> None:
        """Count orders that a book sends now; instants older than the window of its rate limit are dropped."""
        rate, book_activity = limits.order_rate, self.books[book]
        if limits.max_orders_per_day is not None:
            book_activity.orders += orders
        if rate is not None and orders:
            book_activity.sent = [
                submission for submission in book_activity.sent if submission[0] > now - rate.per_ns
            ] + [(now, orders)]

    def recent(self, book: int, now: int, limits: Limits) -> int:
        """The number of orders that a book sent within the window of its rate limit."""
        rate = limits.order_rate
        if rate is None:
            return 0
        return sum(orders for ts, orders in self.books[book].sent if ts > now - rate.per_ns)

    def repeated(self, book: int, now: int, limits: Limits) -> Floats | None:
        """float64[N] signed lots that a book requested within the duplicate window, read-only.

        None if it requested none.
        """
        request = self.books[book].request
        if not request.lasts(now, limits.duplicate_window_ns):
            return None
        lots = np.array(request.lots)
        lots.flags.writeable = False
        return lots
