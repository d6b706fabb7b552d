"""Settings of the connection to a crypto exchange, and the connection itself."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import Struct

from quantd.adapters.brokers.unreadable import WRONG, Unreadable
from quantd.adapters.brokers.venue_errors import KeysRefused
from quantd.adapters.exchange.client import NOT_DOCUMENTED, Access, Call, Exchange, leave, patiently
from quantd.adapters.exchange.dialects import Dialect, dialect_of
from quantd.adapters.exchange.exchange_errors import Incomplete, MalformedAnswer, outcome
from quantd.adapters.exchange.refusal_words import Outcome
from quantd.trading.instruments import NANO

TRIES: Final = 4
"""Attempts of a query at `open`."""

PARSERS: Final = {
    "parse_order": "order", "parse_trade": "execution", "parse_ledger_entry": "entry of the ledger",
}  # fmt: skip
"""Function of ccxt that converts one item of a list -> the name of the item in messages."""

UNREAD: Final[dict[str, Any]] = {"symbol": None, "currency": None, "unread": True}
"""The form of an item that could not be converted; its id is added."""

FIRST_MS: Final = 1_230_940_800_000
"""The first days of 2009, in ms: no order or execution of a coin is older, so that an earlier time counts as none."""

LATEST_MS: Final = 4_102_444_800_000
"""The first day of 2100, in ms: the time of an item without a readable one, which is then in every list."""

PAGES: Final = 200
"""Most pages of a list. A list that is not complete after them raises Incomplete."""


class CryptoSettings(Struct, frozen=True):
    """Address, credentials and time limits of the connection to a crypto exchange, in seconds.

    After `settle_s` the venue knows every order that reached it. If executions of an order stay unlisted for
    `unlisted_s`, they are derived from the order's quantity and average price. A request that is refused because of the
    rate limit is retried for `patience_s`. Orders are queried every `poll_s`, even while a stream is connected. A clock
    difference above `skew_s` is refused. `retry_*_s` are the pauses between attempts to reconnect.
    """

    access: Access
    settle_s: float = 30.0
    unlisted_s: float = 60.0
    patience_s: float = 20.0
    poll_s: float = 15.0
    skew_s: float = 2.0
    retry_first_s: float = 0.5
    retry_most_s: float = 30.0
    stream: bool = True


_NEXT_PAGE: Final[ContextVar[str]] = ContextVar("next page", default="")
"""The cursor in the newest answer to this task, empty on the last page. ccxt puts it into one item of the page, sorts
the items by time, and drops some."""


class Line:
    """The connection to the exchange that all parts of the broker share. `exchange` raises ConnectionError before it
    is open."""

    def __init__(self, settings: CryptoSettings) -> None:
        self.settings = settings
        self.access = settings.access
        self.dialect: Dialect = dialect_of(settings.access.venue)
        self._exchange: Exchange | None = None
        self.unreadable = Unreadable(settings.access.scrub)
        self.unread: dict[str, set[str]] = {}
        """Kind of item ("Balance", "Pair") -> the exchange's ids of the unreadable ones in the last answer."""

    @property
    def exchange(self) -> Exchange:
        """The open connection. Raises ConnectionError before `take` and after `close`."""
        if self._exchange is None:
            raise ConnectionError(f"the connection to {self.access.venue} is not open")
        return self._exchange

    def take(self, exchange: Exchange) -> None:
        """Use an opened exchange. Items of its answers that ccxt or the adapter cannot read are noted in
        `unreadable`."""
        self._exchange = exchange
        for name, what in PARSERS.items():
            setattr(exchange, name, partial(self._parse_or_set_aside, getattr(exchange, name), what))
        exchange.fetch = self._with_bad_items_apart(exchange.fetch)

    async def balances(self) -> dict[str, Any]:
        """Return ccxt's balances of the account. Raises MalformedAnswer if it lists no asset: an account that trades
        has one, and an empty list must not count as zeros."""
        balance: dict[str, Any] = await self.exchange.fetch_balance()
        if not balance["total"] and not self.unread_coins():
            raise MalformedAnswer(f"{NOT_DOCUMENTED}: no asset is listed")
        return balance

    async def open_orders(self) -> list[dict[str, Any]]:
        """Return every open order of the account, of all pages. Raises Incomplete."""
        orders: list[dict[str, Any]] = []
        params: dict[str, Any] = {}
        for _ in range(PAGES):
            page: list[dict[str, Any]] = await self.exchange.fetch_open_orders(None, None, None, params)
            orders += page
            cursor = _NEXT_PAGE.get() if self.dialect.cursor else ""
            if not cursor:
                return orders
            params = {self.dialect.cursor: cursor}
        raise Incomplete(PAGES)

    def unread_coins(self) -> set[str]:
        """Return the coins with an unreadable balance in the last answer."""
        return {str(self.exchange.safe_currency_code(asset)) for asset in self.unread.get("Balance", ())}

    def _parse_or_set_aside(self, parse: Callable[..., Any], what: str, item: Any, *more: Any) -> Any:
        """Convert an item to ccxt's form. An item that ccxt cannot read is replaced by a record marked as `unread`, and
        noted in `unreadable`.

        ccxt drops items without a time, or before the requested time, from its lists. An order without a time therefore
        gets a late one, because a dropped order would look like one that never arrived.

        `what` names the kind of item, such as order. A time earlier than FIRST_MS counts as missing.
        """
        item_id = item.get("id") if isinstance(item, dict) else None
        unread_item = {**UNREAD, "id": item_id, "timestamp": LATEST_MS, "info": item}
        if isinstance(item, dict) and "unread" in item:  # noted already
            return unread_item
        try:
            parsed_item = parse(item, *more)
            if (parsed_item.get("timestamp") or 0) >= FIRST_MS:
                return parsed_item
            if what == "order":
                return {**parsed_item, "timestamp": LATEST_MS}
            raise ValueError("the answer has no time")
        except WRONG as wrong:
            self.unreadable.add(what, item, wrong)
            return unread_item

    def _with_bad_items_apart(self, fetch: Call) -> Call:
        """Wrap `fetch`: items of its answer without a documented key are noted in `unreadable`, before ccxt reads
        them as zeros.

        An order or an execution becomes a record marked as `unread`, which keeps its client id. A balance or a market
        is removed, and its id is added to `unread`.
        """

        async def fetch_and_read(url: str, *request: Any) -> Any:
            answer = await fetch(url, *request)
            if self.dialect.cursor and not self.dialect.refused(answer):
                _NEXT_PAGE.set(str(self.dialect.result(answer).get("nextPageCursor") or ""))
            form = self.dialect.form_of(url, *request[:1])
            if form is None or form.item is None or self.dialect.refused(answer):
                return answer
            result = self.dialect.result(answer)
            items = result[form.items] if form.items else result
            what = form.item.__name__
            self.unread[what] = set()
            # the last first: the places of the others stay when one is removed
            for key, item in reversed(list(items.items() if isinstance(items, dict) else enumerate(items))):
                try:
                    msgspec.convert(item, form.item, strict=False)  # ccxt turns numbers into text
                except WRONG as wrong:
                    self.unreadable.add(what.lower(), {key: item}, wrong)
                    if form.keep:
                        client_id = item.get(form.keep) if isinstance(item, dict) else None
                        items[key] = {form.keep: client_id, "unread": item}
                        continue
                    del items[key]
                    name = item.get(form.named) if form.named and isinstance(item, dict) else key
                    if form.named and not isinstance(name, str):
                        raise MalformedAnswer(f"{NOT_DOCUMENTED}: {wrong}") from None
                    self.unread[what].add(str(name))
            return answer

        return fetch_and_read

    async def ask(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Send one request, and repeat it while the venue refuses it because of the rate limit."""
        return await patiently(self.exchange, ask, self.settings.patience_s, self.dialect.means)

    async def read(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Send one query, and repeat it when no answer comes."""
        for _ in range(TRIES - 1):
            try:
                return await self.ask(ask)
            except Exception as error:
                if outcome(error, self.dialect.means) is not Outcome.UNKNOWN:
                    raise
            await asyncio.sleep(self.settings.retry_first_s)
        return await self.ask(ask)

    async def pages(
        self, fetch: Call, code: str | None, since_ms: int, params: dict[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield each item of a history since `since_ms` (ms UTC), page after page; an item may come twice.

        `fetch` is a function of ccxt, `code` the asset or symbol to ask for (None: all). A page that is not full is the
        last. An exchange without pages answers once. Raises Incomplete after PAGES pages that were not the last.
        """
        dialect, offset = self.dialect, 0
        if dialect.cursor:
            async for item in self._pages_by_cursor(fetch, code, since_ms, params):
                yield item
            return
        for _ in range(PAGES):
            page_params = {**params, **(dialect.page(offset) if dialect.page is not None else {})}
            items: list[dict[str, Any]] = await self.ask(partial(fetch, code, since_ms, None, page_params))
            for item in items:
                yield item
            offset += len(items)
            if len(items) < dialect.page_size or (dialect.page is None and not dialect.by_symbol):
                return
            if dialect.by_symbol:  # the next page begins at the last readable item
                since_ms = max((item["timestamp"] for item in items if item["timestamp"] < LATEST_MS), default=since_ms)
        raise Incomplete(PAGES)

    async def _pages_by_cursor(
        self, fetch: Call, code: str | None, since_ms: int, params: dict[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        """As `pages`, at an exchange that lists `span_days` at a time, and names the next page in its answer. Each
        span has at most PAGES pages."""
        day_ms, now_ms = 86_400_000, int(time.time() * 1000)
        span_ms = self.dialect.span_days * day_ms
        since_ms = max(since_ms, now_ms - self.dialect.kept_days * day_ms)
        while True:
            cursor = ""
            for _ in range(PAGES):
                more = {"endTime": since_ms + span_ms} | ({self.dialect.cursor: cursor} if cursor else {})
                items: list[dict[str, Any]] = await self.ask(partial(fetch, code, since_ms, None, params | more))
                cursor = _NEXT_PAGE.get()  # read before the items go out, as their reader may ask too
                for item in items:
                    yield item
                if not cursor:
                    break
            else:
                raise Incomplete(PAGES)
            since_ms += span_ms
            if since_ms > now_ms:
                return

    async def trades(self, symbols: Iterable[str], since_ms: int) -> AsyncIterator[dict[str, Any]]:
        """Yield the account's executions in `symbols` (ccxt's names) since `since_ms` (ms UTC), and maybe others."""
        fetch, history = self.exchange.fetch_my_trades, self.dialect.history
        named = [symbol for symbol in dict.fromkeys(symbols) if symbol in self.exchange.markets]
        for symbol in named if self.dialect.by_symbol else (None,):
            async for trade in self.pages(fetch, symbol, since_ms, history):
                yield trade

    async def ledger(self, since_ms: int, now_ms: int) -> AsyncIterator[dict[str, Any]]:
        """Yield the entries of the ledger from `since_ms` to `now_ms` (ms UTC).

        At an exchange with lists of movements in its place, these may have begun up to `movements_days` earlier; its
        test network may have none.
        """
        dialect = self.dialect
        if not dialect.movements:
            async for entry in self.pages(self.exchange.fetch_ledger, None, since_ms, {}):
                yield entry
            return
        span = dialect.movements_days * 86_400_000
        for name, entries_of in dialect.movements.items() if self.has_wallet else ():
            start = max(since_ms - span, FIRST_MS)
            while start < now_ms:
                params = {"startTime": start, "endTime": min(start + span, now_ms)}
                for entry in entries_of(await self.ask(partial(getattr(self.exchange, name), params))):
                    yield entry
                start += span

    def booked_apart(self, coins: Sequence[str]) -> Sequence[str]:
        """Return those of the universe's `coins` in which a fee is an entry of its own (`account.flows_of`)."""
        return coins if self.dialect.movements else ()

    @property
    def has_wallet(self) -> bool:
        """Whether the venue has the requests of the wallet (Dialect)."""
        return self.dialect.wallet_in_sandbox or not self.access.sandbox

    def words(self, error: BaseException) -> str:
        """Return the text of an exception, without secrets, with the remedy where only a person can help."""
        text = self.access.scrub(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
        return ". ".join([text, *(remedy for part, remedy in self.dialect.remedies.items() if part in text)])

    def refused(self, error: Exception) -> KeysRefused | None:
        """Return a KeysRefused for an exception by which the venue refused the keys; None for any other exception."""
        if outcome(error, self.dialect.means) is not Outcome.DENIED:
            return None
        wrong = f"the venue refuses the keys ({self.words(error)})"
        return KeysRefused(self.access.venue, wrong, "Check that the key exists, and may query and trade")

    def lost(self, error: BaseException) -> ConnectionError:
        return ConnectionError(f"{self.access.venue}: {self.words(error)}")

    @property
    def in_flight_s(self) -> float:
        """Maximum time for which a sent order can still arrive: its deadline if the venue has one, else the settling
        time."""
        dialect = self.dialect
        if not dialect.refuses_late:
            return self.settings.settle_s
        return dialect.latest_s(self.access.timeout_s)

    def deadline(self, now: int) -> dict[str, str]:
        """Return the parameters by which the venue refuses an order that is sent `now` (ns UTC) and arrives late."""
        dialect = self.dialect
        if dialect.window:
            return {dialect.window: str(int(self.in_flight_s * 1000))}
        return {} if dialect.refuse_after is None else dialect.refuse_after(now + int(self.in_flight_s * NANO))

    async def close(self) -> None:
        """Disconnect. Nothing happens without a connection."""
        if self._exchange is not None:
            exchange, self._exchange = self._exchange, None
            await leave(exchange)
