"""The connection to a gateway of Interactive Brokers: requests that end with an answer, and the news of the gateway.

ib_async's client has the protocol: it frames, paces and decodes messages in our event loop. Its class `IB`, which keeps
a state of orders of its own, is not used.

What can go wrong. The end of a list never comes, or comes after its time-out and is taken for the end of the next list,
which is then too short. A message cannot be read, and its order is missing in the list. The gateway is up, and has lost
the venue. A dead connection is still open.

What is done about it. A list whose end is late ends its connection, unless its messages carry the number of the
request. A list with an unreadable message is marked, so that nothing counts as absent. Between the codes 1100 and 1102
nothing is sent.
"""

import asyncio
import importlib
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, Final, Protocol

from aiolimiter import AsyncLimiter
from msgspec import Struct

from quantd.adapters.brokers.ibkr.wire import (
    IN_USE,
    LOST,
    NEEDED,
    NOISE,
    RESTORED,
    Done,
    Order,
    done_of,
    number,
    order_of,
)
from quantd.adapters.brokers.unreadable import WRONG, Unreadable
from quantd.adapters.brokers.venue_errors import VenueError
from quantd.adapters.wire_record import RECORD, WireRecord
from quantd.extras import command

WHERE: Final = "Interactive Brokers"
PACE: Final = (4, 0.1)
"""Messages, and the seconds in which they go out. The gateway takes 50 in a second. ib_async's own 45 in a second
arrived as 80 within one: those before and after a pause of a second come together when some are delayed."""
ACCOUNTS: Final = "15"
"""The message that lists the accounts of the log-in."""
WORDS: Final = 200
"""Maximum length of the gateway's words in a message."""


class IbkrSettings(Struct, frozen=True):
    """Address, account and time limits of the connection, in seconds.

    After `settle_s` the lists of the venue have every order that reached it. An execution whose commission is not
    reported within `commission_s` is booked without it. `beat_s` is the interval of questions on a quiet connection.
    """

    host: str
    port: int
    account: str
    client_id: int
    paper: bool = False
    timeout_s: float = 10.0
    settle_s: float = 10.0
    commission_s: float = 5.0
    skew_s: float = 2.0
    beat_s: float = 30.0
    retry_first_s: float = 0.5
    retry_most_s: float = 30.0


class Listener(Protocol):
    """Where the news of the gateway go."""

    def on_order(self, order: Order) -> None: ...
    def on_status(self, perm_id: int, order_id: int, client_id: int, status: str, filled: Decimal) -> None: ...
    def on_execution(self, done: Done) -> None: ...
    def on_commission(self, id: str, cost: Decimal, currency: str) -> None: ...
    def on_error(self, order_id: int, code: int, words: str) -> None: ...
    def on_doubt(self) -> None:
        """A message could not be read."""

    def on_lost(self, words: str) -> None: ...
    def on_usable(self) -> None: ...


class Listing:
    """A request under way: what came of it so far, and how many messages could not be read meanwhile."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.unread = 0
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class _Unread(logging.Handler):
    """The decoder of ib_async logs what it cannot read, and goes on."""

    def __init__(self, line: "Line") -> None:
        super().__init__()
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        """Set the message aside."""
        self._line.set_aside(record.getMessage(), record.exc_info[1] if record.exc_info else "")


class Line:
    """One connection at a time to the gateway. `lost` is set while there is none."""

    def __init__(self, settings: IbkrSettings, listener: Listener) -> None:
        self.settings, self._listener = settings, listener
        self.unreadable = Unreadable()
        self._client: Any = None
        self._usable, self.lost = asyncio.Event(), asyncio.Event()
        self._severed = ""
        self._listings: dict[str | int, Listing] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._accounts: list[str] = []
        self._refusal: asyncio.Future[None] | None = None
        self._pace = AsyncLimiter(*PACE)
        self.lost.set()

    # ---------------------------------------------------------------- connect

    async def connect(self) -> None:
        """Connect, and check the account. Raises VenueError for a setting that a person must change, and
        ConnectionError."""
        settings = self.settings
        try:
            module = await asyncio.to_thread(importlib.import_module, "ib_async.client")
        except ImportError:
            raise VenueError(WHERE, "ib_async is not installed", f"Install it with: {command('ibkr')}") from None
        client = self.prepared(module)
        if (record := RECORD.get()) is not None:
            _record_messages(client, record)
        self._refusal = asyncio.get_running_loop().create_future()
        self._refusal.add_done_callback(lambda done: None if done.cancelled() else done.exception())  # read: not logged
        client.apiError += self._refuse
        task = asyncio.ensure_future(client.connectAsync(settings.host, settings.port, settings.client_id, None))
        try:
            async with asyncio.timeout(settings.timeout_s):
                await asyncio.wait({task, self._refusal}, return_when=asyncio.FIRST_COMPLETED)
            if self._refusal.done():
                self._refusal.result()
            task.result()
        except BaseException as error:
            task.cancel()
            with suppress(OSError, RuntimeError):
                client.disconnect()  # ready or not: it would hold the client id
            await asyncio.gather(task, return_exceptions=True)
            if isinstance(error, TimeoutError):
                raise ConnectionError(f"the gateway at {self.where} does not answer") from None
            if isinstance(error, OSError) and not isinstance(error, _InUse):
                raise ConnectionError(f"the gateway at {self.where}: {error}") from None
            raise
        finally:
            self._refusal.cancel()
        self._accounts = client.getAccounts()
        self._client, self._severed = client, ""
        self.lost.clear()
        self._usable.set()
        try:
            self._check_account()
        except VenueError:
            self.drop("")
            raise

    def prepared(self, module: Any) -> Any:
        """Return a client of `module`, ib_async's, without a connection; its decoder passes the messages on to here."""
        client = module.Client(self._wrapper())
        client.MaxRequests = 0  # it has no pace of its own: `client` waits, so that no message waits unsent in a queue
        client._logger = logging.Logger("ibkr", logging.CRITICAL)
        client.decoder.logger = logging.Logger("ibkr")  # of its own: not in the log of the daemon
        client.decoder.logger.addHandler(_Unread(self))
        for kind, places in NEEDED.items():
            client.decoder.handlers[kind] = _complete(client.decoder.handlers[kind], places)
        return client

    def _refuse(self, words: str) -> None:
        """The connection ended before it was ready."""
        if self._refusal is not None and not self._refusal.done():
            self._refusal.set_exception(ConnectionError(str(words)))

    @property
    def where(self) -> str:
        return f"{self.settings.host}:{self.settings.port}"

    def _check_account(self) -> None:
        account, have = self.settings.account, ", ".join(self._accounts)
        if account not in self._accounts:
            text = f"the log-in of the gateway at {self.where} has no account of the key ibkr_account; it has {have}"
            raise VenueError(WHERE, text, "Set QUANTD_IBKR_ACCOUNT to one of them, or log in with another user")
        if self.settings.paper and not account.startswith("D"):
            text = f"account {account} has money, and mode is not live: numbers of paper accounts begin with D"
            raise VenueError(WHERE, text, "Log in to the paper account, or name the port of its gateway in url")

    def drop(self, words: str) -> None:
        """End the connection. Without words nobody hears of it."""
        client, self._client = self._client, None
        if client is None:
            return
        with suppress(OSError, RuntimeError):
            client.disconnect()
        self._gone(words)

    def _gone(self, words: str) -> None:
        self._client = None
        self._usable.clear()
        self.lost.set()
        listings, self._listings = self._listings, {}
        for listing in listings.values():
            if not listing.end.done():
                listing.end.set_exception(ConnectionError(words or "the connection was closed"))
        if words:
            self._listener.on_lost(words)

    async def client(self) -> Any:
        """Return ib_async's client once the venue can be reached and takes a message, which the caller sends at once.
        Raises ConnectionError after the time-out."""
        await self._pace.acquire()
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                await self._usable.wait()
        except TimeoutError:
            raise ConnectionError(self._severed or f"no connection to the gateway at {self.where}") from None
        return self._client

    # ---------------------------------------------------------------- requests

    async def list(self, key: str, send: Callable[[Any, int], None], *, numbered: bool = False) -> Listing:
        """Send one request and collect its items until its end. One request of a `key` runs at a time.

        A numbered request has its number in each message. Raises ConnectionError without an end in time.
        """
        async with self._locks.setdefault(key, asyncio.Lock()):
            client = await self.client()
            id = client.getReqId() if numbered else 0
            listing = self._listings[id if numbered else key] = Listing()
            try:
                async with asyncio.timeout(self.settings.timeout_s):
                    send(client, id)
                    await listing.end
            except TimeoutError:
                words = f"the gateway at {self.where} did not end its list of {key}"
                if not numbered:  # its end could come later, and be taken for that of the next one
                    self.drop(words)
                raise ConnectionError(words) from None
            finally:
                self._listings.pop(id if numbered else key, None)
            return listing

    def _item(self, key: str | int, item: Any) -> None:
        if (listing := self._listings.get(key)) is not None:
            listing.items.append(item)

    def _end(self, key: str | int) -> None:
        if (listing := self._listings.get(key)) is not None and not listing.end.done():
            listing.end.set_result(None)

    # ---------------------------------------------------------------- news

    def set_aside(self, item: str, why: object) -> None:
        """Note a message that cannot be read."""
        self.unreadable.add("message", item, why)
        for listing in self._listings.values():
            listing.unread += 1
        self._listener.on_doubt()

    def _read(self, read: Callable[..., None]) -> Callable[..., None]:
        """Wrap a handler: what it cannot convert is set aside."""

        def handle(*fields: Any) -> None:
            try:
                read(*fields)
            except WRONG as wrong:
                self.set_aside(str(fields), wrong)

        return handle

    def _wrapper(self) -> Any:
        """Return the object whose functions ib_async's decoder calls, by its names."""
        handlers: dict[str, Callable[..., None]] = {
            "openOrder": self._open_order, "orderStatus": self._status, "completedOrder": self._completed,
            "execDetails": self._execution, "commissionReport": self._commission, "position": self._position,
        }  # fmt: skip

        def nothing(*fields: Any) -> None:
            pass

        return SimpleNamespace(
            **{name: self._read(handler) for name, handler in handlers.items()},
            ib=SimpleNamespace(TimezoneTWS="America/New_York"),  # of a time without a zone
            defaultTimezone=UTC,
            connectAck=nothing,
            setEventsDone=nothing,
            connectionClosed=lambda: self._gone(f"the gateway at {self.where} closed the connection"),
            nextValidId=lambda id: self._client.updateReqId(id) if self._client is not None else None,
            error=self._error,
            openOrderEnd=lambda: self._end("open orders"),
            completedOrdersEnd=lambda: self._end("ended orders"),
            execDetailsEnd=self._end,
            positionEnd=lambda: self._end("positions"),
            accountDownloadEnd=lambda account: self._end("account values"),
            updateAccountValue=lambda *value: self._item("account values", value),
            contractDetails=self._item,
            contractDetailsEnd=self._end,
            currentTime=self._time,
        )

    def _time(self, seconds: int) -> None:
        self._item("time", seconds)
        self._end("time")

    def _is_ours(self, account: str) -> bool:
        """Whether a message is about our account. Raises ValueError for an account that the log-in does not have."""
        if account not in self._accounts:
            raise ValueError(f"account {account[:20]!r} is not one of the log-in's")
        return account == self.settings.account

    def _open_order(self, order_id: int, contract: Any, order: Any, state: Any) -> None:
        if not self._is_ours(order.account or self.settings.account):
            return
        item = order_of(contract, order, state, ended=False)
        if self._client is not None and item.client_id == self.settings.client_id:
            self._client.updateReqId(item.order_id + 1)  # ids of orders only grow
        self._item("open orders", item)
        self._listener.on_order(item)

    def _completed(self, contract: Any, order: Any, state: Any) -> None:
        if self._is_ours(order.account or self.settings.account):
            item = order_of(contract, order, state, ended=True)
            self._item("ended orders", item)
            self._listener.on_order(item)

    def _status(
        self, order_id: int, status: str, filled: float, remaining: float, average: float, perm_id: int, parent: int,
        last: float, client_id: int, *more: Any,
    ) -> None:  # fmt: skip
        self._item("open orders", (perm_id, status, number(filled)))
        self._listener.on_status(perm_id, order_id, client_id, status, number(filled))

    def _execution(self, id: int, contract: Any, execution: Any) -> None:
        if self._is_ours(execution.acctNumber):
            done = done_of(contract, execution)
            self._item(id, done)
            self._listener.on_execution(done)

    def _commission(self, report: Any) -> None:
        self._listener.on_commission(report.execId, number(report.commission), report.currency)

    def _position(self, account: str, contract: Any, size: float, cost: float) -> None:
        if self._is_ours(account):
            self._item("positions", (contract.conId, contract.symbol, contract.secType, number(size)))

    def _error(self, id: int, code: int, words: str, more: str) -> None:
        """A message with a code: about the connection, a request, or an order."""
        words = f"{words[:WORDS]} (code {code})"
        if code == IN_USE:
            if self._refusal is not None and not self._refusal.done():
                self._refusal.set_exception(_InUse(words))
        elif code in LOST:
            self._severed = words
            self._usable.clear()
            self._listener.on_lost(words)
        elif code in RESTORED:
            self._severed = ""
            if self._client is not None:
                self._usable.set()
                self._listener.on_usable()
        elif (listing := self._listings.get(id)) is not None and not listing.end.done():
            listing.end.set_exception(Refused(words))
        elif id > 0:
            self._listener.on_error(id, code, words)
        elif code not in NOISE:
            self.unreadable.name(f"the gateway said: {words}", words)


def _record_messages(client: Any, record: WireRecord) -> None:
    """Add every message of a client of ib_async to a record."""
    send, interpret = client.sendMsg, client.decoder.interpret

    def sent(message: str) -> None:
        record.sent(message.partition("\0")[0])
        send(message)

    def heard(fields: list[str]) -> None:
        if fields[0] == ACCOUNTS:
            for account in filter(None, fields[2].split(",")):
                record.hide(account)
        record.heard(fields)
        interpret(fields)

    client.sendMsg, client.decoder.interpret = sent, heard


class _InUse(ConnectionError):
    """The client id is in use: at a reconnection the gateway may not have noticed yet that the old one ended."""


class Refused(Exception):
    """The gateway refuses a request, in its words."""


def _complete(handle: Callable[[list[str]], None], places: Sequence[int]) -> Callable[[list[str]], None]:
    """Wrap a handler of the decoder, which then raises ValueError for an empty field in one of `places`."""

    def check(fields: list[str]) -> None:
        if not all(fields[place] for place in places):
            raise ValueError("a field without a value")
        handle(fields)

    return check


async def first_connection(line: Line) -> None:
    """Connect for the first time: a client id in use is then a mistake."""
    try:
        await line.connect()
    except _InUse as used:
        remedy = "Stop the other daemon of this run, or the other program with this client id, and start again"
        raise VenueError(WHERE, f"client id {line.settings.client_id}: {used}", remedy) from None
