"""A gateway on 127.0.0.1 that speaks the text protocol of Interactive Brokers' TWS API (server version 178), and
misbehaves on command.

A message is a length of 4 bytes and fields ended by NUL. Written from the fields that `ib_async.decoder` reads and
`ib_async.client` writes, and from the vendor's page of message codes; checked with the client itself in
test_ibkr_official.py. The answer 178 keeps a client at the text protocol: protobuf begins at 201.

Confirmed, by source:

- a copy of the vendor's page of error codes, read on 2026-11-29: 110, 161, 200 to 203, 320 to 322, 326, 355, 388, 399,
  404, 2100 to 2110, 2158, 10147, 10148, 10197, 10243 to 10252, 10318, and the codes of a missing subscription (162,
  354, 420, 10089); not which of them come with the number of an order
- the vendor's older page of message codes: 1100, 1101, 1102, the nightly reset; not how long a reset takes
- the vendor's page of executions: executions since midnight (whose is not written: quantd takes New York's),
  corrections by id
- the vendor's page of account values: `SettledCash`, `BuyingPower`; not which values mark an account without credit
- the vendor's pages of historical bars and their limits: a history that is adjusted for splits, durations, sizes of
  bars, pacing; not at which hour before the open a new split changes the history
- a trial at a paper gateway that another project published in October 2026 (ibapi 5.7): 326 at once, and at a
  reconnection until the old connection is gone
- reports of users: 10349, an order preset changed the time in force (ib_async, issue 191); an ended order without its
  number, with the quantity 0 (rust-ibapi, issue 220; ibsync, issue 11); status "Inactive" before or after 201 (not
  when it ends an order); codes of a missing subscription (not whether a delayed history comes with 10167)

Not confirmed: whether a gateway answers each reading of account values by a subscription at once; in which message a
busted trade comes (a correction alone is read).
"""

import asyncio
import struct
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

VERSION = 178
OPEN = ("PendingSubmit", "PreSubmitted", "Submitted", "PendingCancel", "Inactive")
KINDS = {"3": "submit", "4": "cancel", "16": "query", "99": "query", "7": "query", "6": "account", "61": "account"}
"""Number of a request -> the name under which it can be made to fail."""

AFTER = ("500 after", "time-out after", "answer lost", "malformed")
"""Faults at which the request is accepted."""


@dataclass
class Listed:
    """An instrument at the venue."""

    symbol: str
    con_id: int
    price: Decimal
    size_increment: Decimal = Decimal("0.0001")
    """The step of quantities: 1 where only whole shares trade."""
    shortable: bool = True


@dataclass
class Placed:
    """An order at the venue. `client_id` 0 and `order_id` 0 are those of an order by hand."""

    listed: Listed
    perm_id: int
    order_id: int
    client_id: int
    ref: str
    buy: bool
    qty: Decimal
    kind: str
    limit: Decimal
    stop: Decimal
    tif: str
    status: str = "Submitted"
    filled: Decimal = Decimal(0)
    paid: Decimal = Decimal(0)
    reason: str = ""

    @property
    def open(self) -> bool:
        return self.status in OPEN


@dataclass
class Executed:
    """An execution; `commission` is None while no report of it was made."""

    id: str
    order: Placed
    at_ns: int
    size: Decimal
    price: Decimal
    cum: Decimal
    commission: Decimal | None = None
    currency: str = "USD"


@dataclass
class Session:
    """A connected client."""

    writer: asyncio.StreamWriter
    client_id: int = -1
    times: list[float] = field(default_factory=list)


def text(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def frame(*fields: object) -> bytes:
    """A message: its length, and each field ended by NUL."""
    body = "".join(f"{text(value)}\0" for value in fields).encode()
    return struct.pack(">I", len(body)) + body


class Gateway:
    """The gateway. Everything public is its truth; `misbehave`, `held`, `silent` and so on make it lie or stutter."""

    def __init__(
        self, account: str = "DU1234567", cash: str = "1000000", now: Callable[[], int] = time.time_ns
    ) -> None:
        self.account, self.accounts, self.now = account, [account], now
        self.cash = Decimal(cash)
        self.unsettled = Decimal(0)
        self.base = "USD"
        self.margin = Decimal(1)
        """Buying power for each unit of available funds: 1 is a cash account."""
        self.ready = True
        self.other_cash: dict[str, Decimal] = {}
        self.listed: dict[str, Listed] = {}
        self.positions: dict[str, Decimal] = {}
        self.orders: list[Placed] = []
        self.executions: list[Executed] = []
        self.midnight_ns = 0
        """Executions and ended orders of before are listed no more."""
        self.commission: Decimal | None = Decimal("1.00")
        """Of each execution; None: no report is made."""
        self.requests: Counter[str] = Counter()
        self.faults: dict[str, deque[str]] = {}
        self.unlisted = False
        """No execution is listed."""
        self.silent_lists: set[str] = set()
        """Numbers of requests that are never answered."""
        self.answer_place: Callable[[Placed], Iterable[tuple[object, ...]]] | None = None
        """What is said of a new order in place of its status."""
        self.refuse: dict[str, tuple[int, str]] = {}
        """Symbol -> code and text with which its orders are refused."""
        self.fill_on_cancel: dict[str, tuple[Decimal, Decimal]] = {}
        self.refuse_cancels: set[str] = set()
        self.auto = False
        """Marketable orders fill at once, at the price of the instrument."""
        self.on_arrival: Callable[[Placed], None] | None = None
        self.next_id, self.skew_ns = 1, 0
        self.held: list[tuple[int, bytes]] | None = None
        self.doubled = self.silent = False
        self.accepting = True
        self.sessions: list[Session] = []
        self.most_in_a_second = 0
        self._perm, self._exec, self._con = 1_800_000_000, 0, 265_000
        self._server: asyncio.Server | None = None
        self._reads: set[asyncio.Task[None]] = set()
        self._joined = asyncio.Event()
        self.port = 0

    # ---------------------------------------------------------------- start and stop

    async def start(self) -> "Gateway":
        await self.up()
        return self

    async def up(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        """Nothing listens any more, and every connection is cut."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()
        await asyncio.sleep(0)

    async def stop(self) -> None:
        await self.down()
        for task in list(self._reads):
            task.cancel()
        await asyncio.gather(*self._reads, return_exceptions=True)

    def cut(self) -> None:
        """Cut every connection without a word."""
        for session in self.sessions:
            session.writer.transport.abort()
        self.sessions = []
        self._joined.clear()

    async def listened(self) -> None:
        """Wait until a client has finished its start."""
        await asyncio.wait_for(self._joined.wait(), 10)

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.port}"

    # ---------------------------------------------------------------- what happens at the venue

    def add(self, symbol: str, price: str, **more: object) -> Listed:
        self._con += 1
        self.listed[symbol] = Listed(symbol, self._con, Decimal(price), **more)  # type: ignore[arg-type]
        return self.listed[symbol]

    def place(
        self, symbol: str, lots: str, limit: str, *, client_id: int = 0, order_id: int = 0, ref: str = ""
    ) -> Placed:
        """An order that another client, or a person, placed."""
        size = Decimal(lots)
        order = Placed(
            self.listed[symbol], self._next_perm(), order_id, client_id, ref, size > 0, abs(size), "LMT",
            Decimal(limit), Decimal(0), "GTC",
        )  # fmt: skip
        self.orders.append(order)
        return order

    def _next_perm(self) -> int:
        self._perm += 1
        return self._perm

    def by_ref(self, ref: str) -> list[Placed]:
        return [order for order in self.orders if order.ref == ref]

    def order(self, ref: str) -> Placed:
        return next(order for order in reversed(self.orders) if order.ref == ref)

    def fill(
        self, order: Placed, size: Decimal, price: Decimal, *, status_first: bool = False, say_status: bool = True,
        say_execution: bool = True,
    ) -> Executed:  # fmt: skip
        """One execution of an order, with its report of the commission where there is one."""
        order.filled += size
        order.paid += size * price
        if order.filled >= order.qty:
            order.status = "Filled"
        signed = size if order.buy else -size
        self.cash -= signed * price
        symbol = order.listed.symbol
        self.positions[symbol] = self.positions.get(symbol, Decimal(0)) + signed
        self._exec += 1
        executed = Executed(f"0000e0d5.{self._exec:08x}.01.01", order, self.now(), size, price, order.filled)
        executed.commission = self.commission
        if self.commission is not None:
            self.cash -= self.commission
        self.executions.append(executed)
        if status_first and say_status:
            self._tell(order.client_id, self._status(order))
        if say_execution:
            self._tell(order.client_id, self._execution(executed, -1))
            if executed.commission is not None:
                self._tell(order.client_id, self._commission(executed))
        if say_status and not status_first:
            self._tell(order.client_id, self._status(order))
        return executed

    def correct(self, order: Placed, size: Decimal, price: Decimal) -> Executed:
        """The venue corrects the newest execution of an order: the id differs after its last period only."""
        old = next(e for e in reversed(self.executions) if e.order is order)
        sign = 1 if order.buy else -1
        self.cash += sign * (old.size * old.price - size * price)
        self.positions[order.listed.symbol] += sign * (size - old.size)
        head, _, number = old.id.rpartition(".")
        new = Executed(f"{head}.{int(number) + 1:02d}", order, self.now(), size, price, old.cum)
        self.executions.append(new)
        self._tell(order.client_id, self._execution(new, -1))
        return new

    def report_commission(self, executed: Executed, cost: str, currency: str = "USD") -> None:
        """The late report of a commission."""
        executed.commission, executed.currency = Decimal(cost), currency
        if currency == "USD":
            self.cash -= executed.commission
        self._tell(executed.order.client_id, self._commission(executed))

    def end(self, order: Placed, status: str = "Cancelled", reason: str = "") -> None:
        """The venue ends an open order on its own."""
        order.status, order.reason = status, reason
        self._tell(order.client_id, self._status(order))

    def reject(self, order: Placed, reason: str = "margin") -> None:
        """The venue rejects an order that rested: error 201, then the status."""
        order.status, order.reason = "Inactive", reason
        error = frame(4, 2, order.order_id, 201, f"Order rejected - reason:{reason}", "")
        self._tell(order.client_id, error)
        self._tell(order.client_id, self._status(order))
        order.status = "Rejected"

    def announce(self, code: int, words: str, id: int = -1) -> None:
        """A message of the system to every client."""
        for session in list(self.sessions):
            self._send(session, frame(4, 2, id, code, words, ""))

    def misbehave(self, fault: str, on: str, times: int = 1) -> None:
        faults = self.faults.setdefault(on, deque())
        if times:
            faults.extend([fault] * times)
        else:
            faults.clear()

    def release(self, *, backwards: bool = False) -> None:
        """Say what was held back."""
        held, self.held = self.held or [], None
        for client_id, message in reversed(held) if backwards else held:
            self._tell(client_id, message)

    # ---------------------------------------------------------------- the wire

    def _send(self, session: Session, message: bytes) -> None:
        if not session.writer.transport.is_closing():
            session.writer.write(message)

    def _tell(self, client_id: int, message: bytes) -> None:
        """Say something that nobody asked for to the client of an order."""
        if self.silent:
            return
        if self.held is not None:
            self.held.append((client_id, message))
            return
        for session in list(self.sessions):
            if session.client_id == client_id:
                self._send(session, message)
                if self.doubled:
                    self._send(session, message)

    def garbage(self) -> None:
        """A status whose numbers are none, and a message of an unknown kind."""
        for session in list(self.sessions):
            self._send(session, frame(11, "many", "fields", "less"))
            self._send(session, frame(4711, "x"))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._reads.add(task)
        session = Session(writer)
        try:
            if self.accepting:
                await self._talk(reader, session)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client left, or `stop`
        finally:
            self._reads.discard(task)
            if session in self.sessions:
                self.sessions.remove(session)
            writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, session: Session) -> None:
        assert await reader.readexactly(4) == b"API\0"
        (size,) = struct.unpack(">I", await reader.readexactly(4))
        versions = (await reader.readexactly(size)).decode().removeprefix("v").split("..")
        assert int(versions[0]) <= VERSION <= int(versions[1].split()[0])
        self._send(session, frame(VERSION, "20261129 12:00:00 EST"))
        while True:
            (size,) = struct.unpack(">I", await reader.readexactly(4))
            fields = (await reader.readexactly(size)).decode().split("\0")[:-1]
            session.times = [at for at in session.times if time.monotonic() - at < 1.0] + [time.monotonic()]
            self.most_in_a_second = max(self.most_in_a_second, len(session.times))
            self.requests[fields[0]] += 1
            if fields[0] == "71":
                await self._join(session, int(fields[2]))
            else:
                self._ask(session, fields)

    async def _join(self, session: Session, client_id: int) -> None:
        if any(other.client_id == client_id for other in self.sessions):
            words = "Unable to connect as the client id is already in use. Retry with a unique client id."
            self._send(session, frame(4, 2, -1, 326, words, ""))
            await session.writer.drain()
            raise ConnectionError("in use")
        session.client_id = client_id
        self.sessions.append(session)
        self._send(session, frame(15, 1, ",".join(self.accounts)))
        highest = max((o.order_id for o in self.orders if o.client_id == client_id), default=0)
        self._send(session, frame(9, 1, max(self.next_id, highest + 1)))
        for code, words in (
            (2104, "Market data farm connection is OK:usfarm"),
            (2106, "HMDS data farm connection is OK"),
        ):
            self._send(session, frame(4, 2, -1, code, words, ""))
        self._joined.set()

    def _ask(self, session: Session, fields: list[str]) -> None:
        """Answer a request, or misbehave."""
        kind, faults = KINDS.get(fields[0], ""), self.faults.get(KINDS.get(fields[0], ""))
        if kind:
            self.requests[kind] += 1
        fault = faults.popleft() if faults else ""
        if fields[0] in self.silent_lists:
            return
        if not fault:
            self._answer(session, fields)
            return
        if fault in AFTER:
            with suppress(StopIteration):
                self._answer(Session(_Nowhere(), session.client_id), fields)  # type: ignore[arg-type]
        if fault in ("answer lost", "reset before"):
            self.sessions = [other for other in self.sessions if other is not session]
            session.writer.transport.abort()
        elif fault == "malformed":
            self._send(session, frame(5, "x"))
        elif fault.startswith("500"):
            id = fields[1] if kind in ("submit",) else fields[2] if kind in ("cancel",) or fields[0] == "7" else -1
            self._send(session, frame(4, 2, id, 322, "Server error when processing an API client request.", ""))

    def _answer(self, session: Session, fields: list[str]) -> None:
        answers: dict[str, Callable[[Session, list[str]], None]] = {
            "3": self._place, "4": self._cancel, "5": self._open_orders, "6": self._account_updates,
            "7": self._list_executions, "8": self._ids, "9": self._contract, "16": self._open_orders,
            "49": self._time, "58": self._cancel_all, "61": self._list_positions, "76": self._no_models,
            "99": self._completed,
        }  # fmt: skip
        answer = answers.get(fields[0])
        if answer is not None:  # 64 and the like end subscriptions
            answer(session, fields)

    def _ids(self, session: Session, fields: list[str]) -> None:
        self._send(session, frame(9, 1, self.next_id))

    def _time(self, session: Session, fields: list[str]) -> None:
        self._send(session, frame(49, 1, (self.now() + self.skew_ns) // 1_000_000_000))

    def _no_models(self, session: Session, fields: list[str]) -> None:
        self._send(session, frame(74, 1, fields[2]))

    def _contract(self, session: Session, fields: list[str]) -> None:
        id, symbol, con_id = fields[2], fields[4], fields[3]
        found = [
            listed for listed in self.listed.values()
            if (str(listed.con_id) == con_id if con_id != "0" else listed.symbol == symbol and fields[12] == "USD")
        ]  # fmt: skip
        if not found:
            words = "No security definition has been found for the request"
            self._send(session, frame(4, 2, id, 200, words, ""))
            return
        for listed in found:
            self._send(
                session,
                frame(
                    10, id, listed.symbol, "STK", "", 0, "", "SMART", "USD", listed.symbol, "NMS", "NMS", listed.con_id,
                    "0.01", "", "LMT,MKT,STPLMT,LOC", "SMART,NYSE", 1, 0, f"{listed.symbol} INC", "NASDAQ", "", "", "",
                    "", "US/Eastern", "", "", "", "", 0, 1, "", "", "26", "", "COMMON", listed.size_increment,
                    listed.size_increment, Decimal(100),
                ),
            )  # fmt: skip
        self._send(session, frame(52, 1, id))

    def _place(self, session: Session, fields: list[str]) -> None:
        """An order: fields 2 to 13 are the contract, 16 to 26 what is ordered."""
        order_id = int(fields[1])
        by_id = {str(listed.con_id): listed for listed in self.listed.values()}
        listed = by_id.get(fields[2]) or self.listed.get(fields[3])
        ours = [o.order_id for o in self.orders if o.client_id == session.client_id]
        if order_id in ours:
            self._send(session, frame(4, 2, order_id, 103, "Duplicate order id", ""))
            return
        if listed is None:
            self._send(session, frame(4, 2, order_id, 200, "No security definition has been found for the request", ""))
            return
        qty, limit = Decimal(fields[17]), Decimal(fields[19] or 0)
        order = Placed(
            listed, self._next_perm(), order_id, session.client_id, fields[26], fields[16] == "BUY", qty, fields[18],
            limit,
            Decimal(fields[20] or 0), fields[21],
        )  # fmt: skip
        code, words = self._refusal(order)
        if code:
            self._send(session, frame(4, 2, order_id, code, words, ""))
            return
        self.orders.append(order)
        if self.on_arrival is not None:
            self.on_arrival(order)
        if self.answer_place is not None:
            for message in self.answer_place(order):
                self._send(session, frame(*message))
            return
        order.status = "PreSubmitted" if order.kind == "STP LMT" else "Submitted"
        self._send(session, self._open_order(order))
        self._send(session, self._status(order))
        if self.auto and self._is_marketable(order):
            self.fill(order, qty, listed.price)

    def _is_marketable(self, order: Placed) -> bool:
        price, limit = order.listed.price, order.limit
        return order.kind == "MKT" or (order.kind == "LMT" and (limit >= price if order.buy else limit <= price))

    def price(self, symbol: str, price: str) -> None:
        """The price of an instrument changes; what is marketable by then fills."""
        self.listed[symbol].price = Decimal(price)
        for order in self.orders:
            if self.auto and order.listed.symbol == symbol and order.open and self._is_marketable(order):
                self.fill(order, order.qty - order.filled, order.listed.price)

    def _refusal(self, order: Placed) -> tuple[int, str]:
        """The code and the text with which an order is refused; 0 where it is accepted."""
        listed, limit = order.listed, order.limit
        if listed.symbol in self.refuse:
            return self.refuse[listed.symbol]
        if order.qty % listed.size_increment:
            return (
                10243,
                "Fractional-sized order cannot be placed via API. Please use desktop version to place this order.",
            )
        tick = Decimal("0.01") if limit >= 1 else Decimal("0.0001")
        if limit % tick or order.stop % tick:
            return 110, "The price does not conform to the minimum price variation for this contract."
        held = self.positions.get(listed.symbol, Decimal(0))
        if not order.buy and order.qty > held and not listed.shortable:
            return 201, "Order rejected - reason:The contract is not available for short sale."
        if order.buy and order.qty * (limit or listed.price) > self.buying_power():
            return 201, "Order rejected - reason:YOUR ORDER IS NOT ACCEPTED. IN ORDER TO OBTAIN THE DESIRED POSITION"
        return 0, ""

    def buying_power(self) -> Decimal:
        reserved = sum((o.qty - o.filled) * (o.limit or o.listed.price) for o in self.orders if o.open and o.buy)
        return (self.cash - reserved) * self.margin

    def _cancel(self, session: Session, fields: list[str]) -> None:
        order_id = int(fields[2])
        order = next((o for o in self.orders if (o.order_id, o.client_id) == (order_id, session.client_id)), None)
        if order is None:
            self._send(
                session,
                frame(4, 2, order_id, 10147, f"OrderId {order_id} that needs to be cancelled is not found.", ""),
            )
            return
        if order.ref in self.fill_on_cancel:
            size, price = self.fill_on_cancel.pop(order.ref)
            self.fill(order, size, price)
        if not order.open or order.ref in self.refuse_cancels:
            self.refuse_cancels.discard(order.ref)
            words = f"OrderId {order_id} that needs to be cancelled can not be cancelled, state: {order.status}."
            self._send(session, frame(4, 2, order_id, 10148, words, ""))
            return
        order.status = "Cancelled"
        self._send(session, self._status(order))
        self._send(session, frame(4, 2, order_id, 202, "Order Canceled - reason:", ""))

    def _cancel_all(self, session: Session, fields: list[str]) -> None:
        for order in self.orders:
            if order.open:
                self.end(order)

    def _open_orders(self, session: Session, fields: list[str]) -> None:
        for order in self.orders:
            if order.open and (fields[0] == "16" or order.client_id == session.client_id):
                self._send(session, self._open_order(order))
                self._send(session, self._status(order))
        self._send(session, frame(53, 1))

    def _completed(self, session: Session, fields: list[str]) -> None:
        for order in self.orders:
            if not order.open and order.perm_id > self._yesterday_perm:
                self._send(session, self._completed_order(order))
        self._send(session, frame(102))

    _yesterday_perm = 0

    def new_day(self) -> None:
        """From now on, what has ended or was executed before is listed no more."""
        self.midnight_ns, self._yesterday_perm = self.now(), self._perm

    def _list_executions(self, session: Session, fields: list[str]) -> None:
        id = int(fields[2])
        for executed in () if self.unlisted else self.executions:
            if executed.at_ns > self.midnight_ns:
                self._send(session, self._execution(executed, id))
                if executed.commission is not None:
                    self._send(session, self._commission(executed))
        self._send(session, frame(55, 1, id))

    def _account_updates(self, session: Session, fields: list[str]) -> None:
        if fields[2] == "0":
            return
        net = self.cash + sum(size * self.listed[s].price for s, size in self.positions.items())
        values = [
            ("AccountReady", text(self.ready).replace("1", "true").replace("0", "false"), ""),
            ("CashBalance", self.cash, "USD"), ("CashBalance", self.cash, "BASE"),
            *(("CashBalance", amount, currency) for currency, amount in self.other_cash.items()),
            ("SettledCash", self.cash - self.unsettled, self.base), ("NetLiquidation", net, self.base),
            ("AvailableFunds", self.buying_power() / self.margin, self.base),
            ("BuyingPower", self.buying_power(), self.base), ("AccountType", "INDIVIDUAL", ""),
        ]  # fmt: skip
        for key, value, currency in values:
            self._send(session, frame(6, 2, key, value, currency, self.account))
        self._send(session, frame(8, 1, "12:00"))
        self._send(session, frame(54, 1, self.account))

    def _list_positions(self, session: Session, fields: list[str]) -> None:
        for symbol, size in self.positions.items():
            listed = self.listed[symbol]
            if size:
                self._send(
                    session,
                    frame(61, 3, self.account, listed.con_id, symbol, "STK", "", 0, "", "", "", "USD", symbol, "NMS",
                          size, listed.price),
                )  # fmt: skip
        self._send(session, frame(62, 1))

    # ---------------------------------------------------------------- messages of orders and executions

    def _contract_of(self, listed: Listed) -> tuple[object, ...]:
        return listed.con_id, listed.symbol, "STK", "", 0, "", "", "SMART", "USD", listed.symbol, "NMS"

    def _terms(self, order: Placed, qty: Decimal) -> tuple[object, ...]:
        """What open and completed orders have in common, from the side up to the reference."""
        return (
            "BUY" if order.buy else "SELL", qty, order.kind, order.limit, order.stop, order.tif, "", self.account,
            "", 0, order.ref,
        )  # fmt: skip

    def _open_order(self, order: Placed) -> bytes:
        margins = [""] * 9
        return frame(
            5, order.order_id, *self._contract_of(order.listed), *self._terms(order, order.qty), order.client_id,
            order.perm_id, 0, 0, 0, "", "", "", "", "", *[""] * 29, *[""] * 7, 0, 0, 0, "", "", "", "", 0, "", "", 0, 0,
            "", 0, 0, order.status, *margins, "", "", "", "", "", 0, 0, 0, *[""] * 16, *[""] * 3, *[""] * 5,
        )  # fmt: skip

    def _completed_order(self, order: Placed) -> bytes:
        """Its quantity is 0, and the filled one is told (scmhub/ibsync, issue 11)."""
        status = "Inactive" if order.status == "Rejected" else order.status
        words = order.reason or ("Filled Size: " + text(order.filled) if status == "Filled" else "Cancelled by Trader")
        return frame(
            101, *self._contract_of(order.listed), *self._terms(order, Decimal(0)), order.perm_id, 0, 0, 0, "", "", "",
            "", *[""] * 23, *[""] * 5, 0, 0, 0, "", "", "", "", "", "", 0, 0, "", 0, status, 0, 0, 0, *[""] * 6,
            order.filled, "", 0, "", 0, 0, "", "20261129 12:00:00 US/Eastern", words, *[""] * 5,
        )  # fmt: skip

    def _status(self, order: Placed) -> bytes:
        average = order.paid / order.filled if order.filled else Decimal(0)
        return frame(
            3, order.order_id, order.status, order.filled, order.qty - order.filled, average, order.perm_id, 0, 0,
            order.client_id, "", 0,
        )  # fmt: skip

    def _execution(self, executed: Executed, id: int) -> bytes:
        order = executed.order
        at = datetime.fromtimestamp(executed.at_ns / 1e9, UTC)
        return frame(
            11, id, order.order_id, *self._contract_of(order.listed), executed.id, f"{at:%Y%m%d %H:%M:%S} UTC",
            self.account, "NASDAQ", "BOT" if order.buy else "SLD", executed.size, executed.price, order.perm_id,
            order.client_id, 0, executed.cum, order.paid / order.filled, order.ref, "", "", "", 1, 0,
        )  # fmt: skip

    def _commission(self, executed: Executed) -> bytes:
        return frame(59, 1, executed.id, executed.commission, executed.currency, "", "", "")


class _Nowhere:
    """The writer of a client whose answers are lost."""

    class _Closing:
        def is_closing(self) -> bool:
            return True

    transport = _Closing()
