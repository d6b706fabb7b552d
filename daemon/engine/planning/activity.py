"""Recent activity of each book, for limits over time: turnover of a session, order rate, duplicates."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from quantd.risk.limits.catalogue import Limits
from quantd.trading.instruments import NANO
from quantd.trading.market import Floats
from quantd.trading.sessions import Sessions


class BookActivity(Struct):
    """One book: currency `traded` and `orders` sent in the session, `sent` (instant, orders) of recent baskets, and the
    last request: instant and float64[N] signed lots."""

    traded: float = 0.0
    sent: list[tuple[int, int]] = []
    asked_at: int = 0
    asked: bytes = b""
    orders: int = 0


class Activity(Struct):
    """All books, agents in order and the house last. `session_end` is the close of the counted session: a decision at
    a close trades in the next one."""

    books: list[BookActivity]
    session_end: int = 0

    def roll(self, now: int, sessions: Sessions) -> None:
        """Begin a new session when the counted one is over."""
        if now >= self.session_end:
            self.session_end = sessions.close_ns[sessions.next_close(now)]
            for book in self.books:
                book.traded = 0.0
                book.orders = 0

    def fill(
        self, sym: Sequence[int], price_nano: Sequence[int], shares: Sequence[Sequence[tuple[int, int]]], size: Floats
    ) -> None:
        """Count fills for the house and for each agent that shares in them."""
        for symbol, price, parts in zip(sym, price_nano, shares, strict=True):
            value = price / NANO * float(size[symbol])
            for agent, lots in parts:
                traded = abs(lots) * value
                self.books[agent].traded += traded
                self.books[-1].traded += traded

    def cross(self, price_nano: int, shares: Sequence[tuple[int, int]], size: float) -> None:
        """Count crosses between agents, which are no trades of the house."""
        for agent, lots in shares:
            self.books[agent].traded += abs(lots) * price_nano / NANO * size

    def send(self, book: int, now: int, orders: int, limits: Limits) -> None:
        """Count orders of a book within the window of its rate."""
        rate, own = limits.order_rate, self.books[book]
        if limits.max_orders_per_day is not None:
            own.orders += orders
        if rate is not None and orders:
            own.sent = [each for each in own.sent if each[0] > now - rate.per_ns] + [(now, orders)]

    def recent(self, book: int, now: int, limits: Limits) -> int:
        """Orders that a book sent within its rate's window."""
        rate = limits.order_rate
        if rate is None:
            return 0
        return sum(orders for ts, orders in self.books[book].sent if ts > now - rate.per_ns)

    def ask(self, book: int, now: int, lots: Floats, limits: Limits) -> None:
        """Record the lots that a book requests, with those within the duplicate window."""
        before = self.repeated(book, now, limits)
        own = self.books[book]
        own.asked_at, own.asked = now, (lots if before is None else np.where(lots != 0.0, lots, before)).tobytes()

    def repeated(self, book: int, now: int, limits: Limits) -> Floats | None:
        """float64[N] signed lots that a book requested within the duplicate window; None for none."""
        own = self.books[book]
        if not own.asked or now - own.asked_at >= limits.duplicate_window_ns:
            return None
        return np.frombuffer(own.asked)
