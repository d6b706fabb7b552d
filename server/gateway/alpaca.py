"""The routes of the gateway: a core of Alpaca's trading API, version 2, for the book of the agent of a key.

What can go wrong: a client repeats a POST by itself after 429 and 504, and so sends an order twice; it believes in an
order that was accepted and changed; it sends fields that mean something at the vendor and nothing here. So an order
passes whole or is refused, with the limit and the largest order that would pass in the message, because clients show
nothing else. No POST is answered by 504, and 429 only before anything was queued. A used client id never makes a second
order. An unknown field, type or time in force is refused with one sentence.

One body: an order is a proposal (`Proposed`) with `whole`, like those of the REST API and of MCP. It passes the same
gate, approval and journal, and `quantd why` explains it. A key is an API token of scope `propose`: its id (or name) is
the key, its secret the secret.
"""

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from typing import Any, Final
from uuid import uuid4

import msgspec
from aiohttp import WSMsgType, web
from msgspec.structs import replace

from quantd.adapters.json_text import decoded
from quantd.adapters.store.queries import Reader
from quantd.daemon.engine.agents.shadows import place_of_book
from quantd.daemon.engine.state import State
from quantd.daemon.runtime.inbox import InboxFull
from quantd.daemon.runtime.service import Step
from quantd.server.api.access.guard import Handler, sender_of
from quantd.server.api.access.keyring import Keyring
from quantd.server.api.commits import OpenRequests, of_request
from quantd.server.api.problems import Refused, log_fault
from quantd.server.api.routes.profit_routes import AccountReader
from quantd.server.api.run_reader import RunReader
from quantd.server.gateway.activities import Activities, page_of, span_of
from quantd.server.gateway.equity_history import history_of
from quantd.server.gateway.feed import Feed
from quantd.server.gateway.refusals import figures, instead, largest
from quantd.server.gateway.request_form import body_of, client_id_of, exits_of, plain, reading, truth
from quantd.server.gateway.tickets import CLOSED, THROUGH, WITHDRAWN, Ticket, Tickets, Update, folded, name_of
from quantd.server.gateway.vendor_data import VendorData
from quantd.server.gateway.vendor_form import (
    Answer,
    Fault,
    account_of,
    answer,
    asset_of,
    clock_of,
    instant,
    invalid,
    order_of,
    position_of,
)
from quantd.server.requests.cancels import CancelOne, cancel_requested
from quantd.server.requests.control import (
    ENDED,
    NotDone,
    check_priced,
    check_ready,
    exact_amount,
    market_now,
)
from quantd.server.requests.manual_answers import ENDED_TEXT
from quantd.server.requests.proposals import proposer, remedy_of, uncovered
from quantd.server.requests.tokens import Token
from quantd.trading.events import CancelRequested, ProposalReviewed, Proposed
from quantd.trading.instruments import NANO
from quantd.trading.orders import THE_DAY, UNTIL_CANCELLED, Wish, order_id, price_text, quantity_text

TOKEN: Final = web.RequestKey("gateway_token", Token)

FIELDS: Final = frozenset({
    "symbol", "qty", "notional", "side", "type", "time_in_force", "limit_price", "stop_price", "client_order_id",
    "order_class", "extended_hours", "take_profit", "stop_loss",
})  # fmt: skip
"""Fields of an order that are read; any other is refused."""

PRICES: Final = {
    "market": (), "limit": ("limit_price",), "stop": ("stop_price",), "stop_limit": ("stop_price", "limit_price")
}  # fmt: skip
"""Type of an order -> its prices."""

OF_ORDERS: Final = ("status", "symbols", "side", "limit", "direction", "nested", "after", "until")
"""What the list of orders reads."""

REPLACED: Final = frozenset({"qty", "time_in_force", "limit_price", "stop_price", "client_order_id"})
"""Fields of an order that can be replaced."""

BODY_BYTES: Final = 64 * 1024
TRIES: Final = 3
"""Most smaller orders that are tried in place of an order that the limits cut, for a book with `cut = true`."""

QUEUED: Final = 10_000
"""Most updates that wait for one stream; a client that reads slower is disconnected, and asks for its orders again."""


class Gateway:
    """The routes over one running service."""

    def __init__(self, run: RunReader, keyring: Keyring, vendor: VendorData | None = None) -> None:
        """`vendor` passes reads of market data on; None serves the bars of the run."""
        self._run, self._service, self._keyring, self._store = run, run.service, keyring, run.where
        self._feed, self._vendor = Feed(run), vendor
        self.tickets = Tickets(run.service.run)
        self._streams: set[tuple[str, asyncio.Queue[Update]]] = set()
        self._open = OpenRequests()
        self._lists: dict[str, Activities] = {}  # by agent
        self._reading = asyncio.Lock()
        self._account_reader = AccountReader(run)
        self._cutting = {agent.name for agent in run.config.agents if agent.cut}
        run.service.subscribers.append(self._committed)

    @property
    def _state(self) -> State:
        return self._service.shell.state

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=BODY_BYTES)
        add = app.router
        for path in ("/stream", "/stream/"):  # clients differ in the slash
            add.add_get(path, self._stream)
        add.add_get("/v2/account", reading(self._account))
        add.add_get("/v2/account/portfolio/history", self._history)
        for path in ("/v2/account/activities", "/v2/account/activities/{type}"):
            add.add_get(path, self._activities)
        add.add_get("/v2/positions", reading(self._positions))
        add.add_delete("/v2/positions", reading(self._close_all, "cancel_orders"))
        add.add_get("/v2/positions/{symbol}", reading(self._position))
        add.add_delete("/v2/positions/{symbol}", reading(self._close, "qty"))
        add.add_get("/v2/clock", reading(self._clock))
        add.add_get("/v2/assets", reading(self._assets, "status", "asset_class"))
        add.add_get("/v2/assets/{symbol}", reading(self._asset))
        add.add_post("/v2/orders", reading(self._order))
        add.add_get("/v2/orders", reading(self._orders, *OF_ORDERS))
        add.add_delete("/v2/orders", reading(self._cancel_all))
        add.add_get("/v2/orders:by_client_order_id", reading(self._by_client_id, "client_order_id", "nested"))
        add.add_get("/v2/orders/{id}", reading(self._by_id, "nested"))
        add.add_delete("/v2/orders/{id}", reading(self._cancel))
        add.add_patch("/v2/orders/{id}", reading(self._replace))
        add.add_get("/v2/calendar", self._feed.calendar)
        (self._vendor or self._feed).add_to(add)
        return app

    async def rebuild(self) -> None:
        """Fold the tickets of the journals of the account."""
        self.tickets = await asyncio.to_thread(folded, self._store, self._service.run)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check the key, and answer each fault in the vendor's form."""
        headers: dict[str, str] = {}
        try:
            if request.path.rstrip("/") != "/stream":
                key, secret = (request.headers.get(f"APCA-API-{part}", "") for part in ("KEY-ID", "SECRET-KEY"))
                request[TOKEN] = await self._token(key, secret)
            return await handler(request)
        except Fault as why:
            status, code, text, headers = why.status, why.code, str(why), why.headers
        except (NotDone, InboxFull) as why:
            busy = isinstance(why, InboxFull) or why.fault == "not_ready"
            status, code, text = (429, 42910000, str(why)) if busy else (422, 42210000, str(why))
        except Refused as why:
            status = min(why.status, 500)  # never 504: a client would send its order again
            code, text = why.status * 100_000 + 10_000, str(why)
        except web.HTTPException as why:
            status, code, text = why.status, why.status * 100_000 + 10_000, f"{why.reason}: not served by the gateway"
        except Exception as why:
            log_fault(request.path, why)
            status, code, text = 500, 50010000, "internal server error; look the order up by its client id"
        refused = answer({"code": code, "message": text}, status)
        refused.headers.update(headers)
        return refused

    async def _token(self, key: str, secret: str) -> Token:
        """The token of a key pair. Raises Fault."""
        await self._keyring.refresh()
        token = self._keyring.find(secret.encode("utf-8", "surrogateescape")) if secret else None
        if token is None or not token.agent or key not in (token.id, token.name):
            raise Fault(401, 40110000, "request is not authorized")
        return token

    def _place(self, request: web.Request) -> tuple[State, int]:
        """The account's state, and the index of the book of a request's agent. Raises Fault for a shadow."""
        agent = request[TOKEN].agent
        place = place_of_book(self._state, agent)
        if place is None or place[2] is not None:
            raise Fault(403, 40310000, f"{agent} trades no book of the account now: it is a shadow, or has none")
        return place[0], place[1]

    def _column(self, text: str) -> int:
        """The column of a symbol or of an asset's id. Raises Fault."""
        for column, symbol in enumerate(self._state.universe.symbols):
            if text in (symbol, name_of("asset", symbol)):
                return column
        raise Fault(404, 40410000, f"asset not found for {text[:40]!r}. {remedy_of(text, self._state)}")

    # reads

    async def _account(self, request: web.Request) -> web.Response:
        agent = request[TOKEN].agent
        return answer(account_of(*self._place(request), self.tickets, agent, cut=agent in self._cutting))

    async def _activities(self, request: web.Request) -> web.Response:
        """The activities of the book of the key, from the run's journal. Raises Fault."""
        agent = request[TOKEN].agent
        self._place(request)
        listed = self._lists.setdefault(agent, Activities(self._state.universe, self.tickets.account, agent))
        asked = {key: ",".join(request.query.getall(key)) for key in request.query}

        def work(reader: Reader) -> list[Answer]:
            listed.read(reader)
            return page_of(listed.rows, asked, request.match_info.get("type", ""))

        try:
            async with self._reading:
                return answer(await self._run.read(work))
        except ValueError as why:
            raise invalid(str(why)) from None

    async def _history(self, request: web.Request) -> web.Response:
        """The equity of the book of the key over time. Raises Fault."""
        state, book = self._place(request)
        name, parts = state.ledger.names[book], self._run.parts
        house, now = parts.sessions[parts.universe.calendar], self._service.shell.ts
        profit = await self._account_reader.profit()
        return answer(await asyncio.to_thread(history_of, profit, name, request, house, parts.interval_ns, now))

    async def _positions(self, request: web.Request) -> web.Response:
        state, book = self._place(request)
        return answer([position_of(state, book, k) for k, lots in enumerate(state.lots(book).tolist()) if lots])

    async def _position(self, request: web.Request) -> web.Response:
        state, book = self._place(request)
        return answer(position_of(state, book, self._held(state, book, request.match_info["symbol"])))

    def _held(self, state: State, book: int, symbol: str) -> int:
        column = self._column(symbol)
        if not state.lots(book)[column]:
            raise Fault(404, 40410000, "position does not exist")
        return column

    async def _clock(self, request: web.Request) -> web.Response:
        return answer(clock_of(self._service))

    async def _assets(self, request: web.Request) -> web.Response:
        state, book = self._place(request)
        asked = {name.removeprefix("asset_"): text for name, text in request.query.items() if text}
        rows = (asset_of(state, book, k) for k in range(state.universe.size))
        return answer([row for row in rows if all(row[name] == text for name, text in asked.items())])

    async def _asset(self, request: web.Request) -> web.Response:
        return answer(asset_of(*self._place(request), self._column(request.match_info["symbol"])))

    async def _by_id(self, request: web.Request) -> web.Response:
        return answer(order_of(self._state, self._own(request, self.tickets.by_id.get(request.match_info["id"]))))

    async def _by_client_id(self, request: web.Request) -> web.Response:
        ticket = self.tickets.find(request[TOKEN].agent, request.query.get("client_order_id", ""))
        return answer(order_of(self._state, self._own(request, ticket)))

    def _own(self, request: web.Request, ticket: Ticket | None) -> Ticket:
        if ticket is None or ticket.agent != request[TOKEN].agent:
            raise Fault(404, 40410000, "order not found")
        return ticket

    async def _orders(self, request: web.Request) -> web.Response:
        """The orders of the key, the newest first. With `nested` the legs of an order that is listed are only in it."""
        asked = request.query
        status, most, direction = asked.get("status", "open"), asked.get("limit", "50"), asked.get("direction", "desc")
        symbols, side = set(filter(None, asked.get("symbols", "").split(","))), asked.get("side", "")
        if status not in ("open", "closed", "all") or not (most.isascii() and most.isdigit() and 1 <= int(most) <= 500):
            raise invalid("status must be open, closed or all, and limit a number from 1 to 500")
        if direction not in ("asc", "desc") or side not in ("", "buy", "sell"):
            raise invalid("direction must be asc or desc, and side buy or sell")
        names = self._state.universe.symbols
        if unknown := sorted(symbols.difference(names)):  # an empty list would say that nothing is open
            raise invalid(f"invalid symbol: {unknown[0][:40]} is none of the {len(names)} symbols of the run")
        try:
            since, until = span_of({name: asked.get(name, "") for name in ("after", "until")})
        except ValueError as why:
            raise invalid(str(why)) from None
        rows = [
            ticket
            for ticket in self.tickets.by_id.values()
            if ticket.agent == request[TOKEN].agent
            and since < ticket.created <= until
            and (not symbols or names[ticket.column] in symbols)
            and side in ("", "buy" if ticket.lots > 0 else "sell")
            and (status == "all" or (ticket.status in CLOSED) == (status == "closed"))
        ]
        if truth(request, "nested"):
            nested = {leg.id for ticket in rows for leg in ticket.legs}
            rows = [ticket for ticket in rows if ticket.id not in nested]
        return answer(
            [order_of(self._state, ticket) for ticket in (rows[::-1] if direction == "desc" else rows)[: int(most)]]
        )

    # orders

    async def _order(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        return await self._sent(request, self._wish(request, body), client_id_of(body))

    async def _replace(self, request: web.Request) -> web.Response:
        """Put an order with other terms in the place of an open one. Raises Fault; the open one then stays."""
        ticket = self._own(request, self.tickets.by_id.get(request.match_info["id"]))
        body = await body_of(request)
        if unknown := sorted(body.keys() - REPLACED):
            raise invalid(f"{unknown[0]} cannot be replaced; {', '.join(sorted(REPLACED))} can")
        if ticket.status in CLOSED or ticket.replaced_by:
            raise invalid(f"order is {ticket.status}; it cannot be replaced")
        given = order_of(self._state, ticket)
        terms = ("symbol", "qty", "side", "type", "time_in_force", "limit_price", "stop_price")
        changed = {key: value for key, value in body.items() if value is not None}
        wish = self._wish(request, {key: given[key] for key in terms} | changed)
        if abs(wish.lots) <= ticket.filled:
            raise invalid("the quantity must be more than what is filled")
        return await self._sent(request, wish, client_id_of(changed), ticket.client_id)

    async def _sent(self, request: web.Request, wish: Wish, client_id: str, replaces: str = "") -> web.Response:
        async def work() -> web.Response:
            try:
                return await self._submit(request, wish, client_id, replaces)
            except Fault as why:
                why.headers |= of_request().headers()
                raise

        return await self._open.answer(work)

    def _wish(self, request: web.Request, body: dict[str, Any]) -> Wish:
        """The order of a body. Raises Fault for what is not supported: nothing is accepted and changed."""
        given = {key: value for key, value in body.items() if value is not None}
        kind, tif, side = (str(given.get(key, "")) for key in ("type", "time_in_force", "side"))
        if kind not in PRICES:
            raise invalid(f"order type {kind[:20]!r} is not supported: {', '.join(PRICES)} are{instead(kind)}")
        if unknown := sorted(given.keys() - FIELDS):
            raise invalid(f"{unknown[0]} is not supported here; leave it out")
        if tif not in ("day", "gtc"):
            raise invalid(f"time_in_force {tif[:20]!r} is not supported: day and gtc are{instead(tif)}")
        if side not in ("buy", "sell"):
            raise invalid("side must be buy or sell")
        if given.get("extended_hours", False) is not False:
            raise invalid("only orders in regular hours are supported")
        prices = dict.fromkeys(("limit_price", "stop_price"), 0)
        for field in prices:
            if (field in PRICES[kind]) != (field in given):
                words = "require a" if field in PRICES[kind] else "have no"
                raise invalid(f"{kind} orders {words} {field.replace('_', ' ')}")
            if field in given:
                prices[field] = exact_amount(plain(given[field]), NANO, field.replace("_", " "), "95.50")
        if ("qty" in given) == ("notional" in given):
            raise invalid("either qty or notional is required")
        state, column = self._state, self._column(str(given.get("symbol", "")))
        lot, mark = state.universe.lot_nano[column], int(state.marks_nano[column])
        if "qty" in given:
            lots, rest = divmod(exact_amount(plain(given["qty"]), NANO, "qty", "10"), lot)
            if rest:
                raise invalid(f"qty {given['qty']} is no multiple of {quantity_text(1, lot)}")
        else:
            worth = exact_amount(plain(given["notional"]), NANO, "notional", "1000")
            limit, reached = prices["limit_price"], prices["stop_price"] or mark
            price = limit if limit and side == "buy" else max(limit, reached)
            if not price:
                raise invalid("notional needs a price, and the symbol has none yet")
            lots = worth * NANO // price // lot  # the largest order of at most this value
            if not lots:
                least = f"{quantity_text(1, lot)} at {price_text(price)}"
                raise invalid(f"notional {given['notional']} is less than the smallest order, {least}")
        end = UNTIL_CANCELLED if tif == "gtc" else THE_DAY
        signed = lots if side == "buy" else -lots
        exits = exits_of(given)
        return Wish(column, signed, prices["limit_price"], end, trigger_nano=prices["stop_price"], exits=exits)

    async def _submit(self, request: web.Request, wish: Wish, client_id: str, replaces: str) -> web.Response:
        """Send an order through the gate, and answer after the commit. Raises Fault for a refusal."""
        token = request[TOKEN]
        check_ready(self._service)
        check_priced(self._state)
        if self._service.status == ENDED:
            raise Fault(403, 40310000, ENDED_TEXT)
        await self._service.settled()
        state, book = self._place(request)
        if not 1 <= len(client_id) <= 128:
            raise invalid("client_order_id must have 1 to 128 characters")
        if why := uncovered(state, book, wish.symbol, wish.lots):
            raise Fault(403, 40310000, why)
        proposal = Proposed(
            market_now(self._service), proposer(state, token.agent), client_id, THROUGH, sender_of(token),
            orders=(wish,), portfolio=token.agent if book in state.portfolios else "", whole=True, replaces=replaces,
        )  # fmt: skip
        self._check_unused(state, token.agent, client_id)
        commits, cut = of_request(), token.agent in self._cutting
        commits.receipt = partial(self._service.receipts.find, proposal.agent, client_id)
        (commit,) = await commits.settled(commits.queue(self._service, [proposal], lambda *_: None))
        tries = TRIES if cut else 0
        while commit.refused is not None and tries and (lots := largest(commit.effects, wish)):
            # the limits look at the smaller order, too, and may have changed since
            tries -= 1
            smaller = replace(proposal, orders=(replace(wish, lots=lots),))
            (commit,) = await commits.settled(commits.queue(self._service, [smaller], lambda *_: None))
        if commit.refused is not None:
            self._check_unused(self._state, token.agent, client_id)  # another request had it meanwhile
            asked = quantity_text(abs(wish.lots), state.universe.lot_nano[wish.symbol])
            where = f" (quantd why {commit.address})" if commit.address else ""
            parts = [commit.refused.text, f"{asked} {state.universe.symbols[wish.symbol]} was asked for"]
            why = figures(self._place(request)[0], commit.effects, wish)
            raise Fault(403, 40310000, "; ".join(filter(None, [*parts, why])) + where)
        ticket = self.tickets.find(token.agent, client_id)
        if ticket is None:
            raise Fault(500, 50010000, "the order was taken, and is not known yet; look it up by its client id")
        return answer(order_of(self._state, ticket))

    def _check_unused(self, state: State, agent: str, client_id: str) -> None:
        """Raise Fault for a client id that an order of the account has."""
        log = state.outside.get(proposer(state, agent))
        if self.tickets.used(agent, client_id) or (log is not None and client_id in log.ids):
            earlier = self.tickets.find(agent, client_id)
            which = f" (it is {earlier.status}, {earlier.id})" if earlier is not None else ""
            raise Fault(422, 40010001, f"client_order_id must be unique{which}")

    async def _cancelled(self, ticket: Ticket, token: Token) -> None:
        """Cancel the open order of a ticket. Raises Fault."""
        if ticket.status in CLOSED:
            raise invalid(f"order is {ticket.status}; it cannot be canceled")
        if ticket.status == "held":
            raise invalid("the exit waits for the fill of its entry, and ends with it; cancel the entry")
        event: CancelRequested | ProposalReviewed
        if ticket.key == (0, 0):  # it waits for a person, or for a first price
            agent, _, id = ticket.cause.partition("/")
            event = ProposalReviewed(market_now(self._service), agent, id, False, WITHDRAWN, sender_of(token))
        else:
            symbol = self._state.universe.symbols[ticket.column]
            name = order_id(self._service.run, ticket.key[0], symbol, ticket.key[1])
            event = cancel_requested(self._service, CancelOne(name, WITHDRAWN), sender_of(token))
        commits = of_request()
        (commit,) = await commits.settled(commits.queue(self._service, [event], lambda *_: None))
        if commit.refused is not None:
            raise invalid(commit.refused.text)

    async def _cancel(self, request: web.Request) -> web.Response:
        ticket = self._own(request, self.tickets.by_id.get(request.match_info["id"]))

        async def work() -> web.Response:
            await self._cancelled(ticket, request[TOKEN])
            return web.Response(status=204)

        return await self._open.answer(work)

    async def _cancel_all(self, request: web.Request) -> web.Response:
        async def work() -> web.Response:
            rows = []
            for ticket in list(self.tickets.by_id.values()):
                if ticket.agent == request[TOKEN].agent and ticket.status not in (*CLOSED, "held"):
                    try:
                        await self._cancelled(ticket, request[TOKEN])
                        rows.append({"id": ticket.id, "status": 200})
                    except (Fault, NotDone, InboxFull):
                        rows.append({"id": ticket.id, "status": 500})
            return answer(rows, 207)

        return await self._open.answer(work)

    async def _close(self, request: web.Request) -> web.Response:
        """Close a position, or `qty` of it, by an order without a price."""
        state, book = self._place(request)
        column = self._held(state, book, request.match_info["symbol"])
        lots, lot = int(state.lots(book)[column]), state.universe.lot_nano[column]
        size = abs(lots)
        if "qty" in request.query:
            size, rest = divmod(exact_amount(plain(request.query["qty"]), NANO, "qty", "10"), lot)
            if rest or size > abs(lots):
                raise invalid(f"qty must be a multiple of {quantity_text(1, lot)}, and at most the position")
        return await self._sent(request, Wish(column, -size if lots > 0 else size, 0, THE_DAY), str(uuid4()))

    async def _close_all(self, request: web.Request) -> web.Response:
        state, book = self._place(request)
        if truth(request, "cancel_orders"):
            await self._cancel_all(request)
        rows = []
        for column, lots in enumerate(state.lots(book).tolist()):
            if lots:
                symbol = state.universe.symbols[column]
                try:
                    sent = await self._sent(request, Wish(column, -int(lots), 0, THE_DAY), str(uuid4()))
                    rows.append({"symbol": symbol, "status": 200, "body": json.loads(sent.body or b"null")})  # type: ignore[arg-type]
                except (Fault, NotDone, InboxFull) as why:
                    rows.append({"symbol": symbol, "status": 500, "body": {"code": 50010000, "message": str(why)}})
        return answer(rows, 207)

    # the stream

    def _committed(self, steps: Sequence[Step]) -> None:
        for event, effects in steps:
            for update in self.tickets.take(event, effects):  # type: ignore[arg-type]
                for agent, queue in list(self._streams):
                    if agent == update.ticket.agent and queue.full():
                        self._streams.discard((agent, queue))  # `_updates` ends the stream
                    elif agent == update.ticket.agent:
                        queue.put_nowait(update)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """`trade_updates` of the key's orders, as JSON in binary frames, which old and new clients read."""
        socket = web.WebSocketResponse(heartbeat=20, max_msg_size=BODY_BYTES)
        await socket.prepare(request)
        queue: asyncio.Queue[Update] = asyncio.Queue(QUEUED)
        agent, sending = "", None
        try:
            async for message in socket:
                if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    break
                asked = decoded(
                    message.data.encode() if isinstance(message.data, str) else message.data, dict[str, Any]
                )
                data = asked.get("data") or asked
                if asked.get("action") in ("authenticate", "auth"):
                    agent = await self._stream_agent(data)
                    status = "authorized" if agent else "unauthorized"
                    await send(socket, "authorization", {"status": status, "action": "authenticate"})
                elif asked.get("action") == "listen" and agent:
                    streams = [name for name in data.get("streams", ()) if name == "trade_updates"]
                    if streams and sending is None:
                        self._streams.add((agent, queue))
                        sending = asyncio.create_task(self._updates(socket, queue, agent))
                    await send(socket, "listening", {"streams": streams})
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            await socket.close(code=1007)
        finally:
            self._streams.discard((agent, queue))
            if sending is not None:
                sending.cancel()
        return socket

    async def _stream_agent(self, data: dict[str, Any]) -> str:
        """The agent of the key pair in a message of the stream; empty for a wrong one."""
        key, secret = data.get("key_id") or data.get("key"), data.get("secret_key") or data.get("secret")
        try:
            return (await self._token(str(key), str(secret))).agent
        except Fault:
            return ""

    async def _updates(self, socket: web.WebSocketResponse, queue: "asyncio.Queue[Update]", agent: str) -> None:
        while True:
            update = await queue.get()
            if (agent, queue) not in self._streams:
                await socket.close(code=1008, message=b"updates were lost: read the orders, and listen again")
                return
            ticket, state = update.ticket, self._state
            data: Answer = {
                "event": update.event, "execution_id": str(uuid4()), "timestamp": instant(update.ts),
                "order": order_of(state, ticket),
            }  # fmt: skip
            place = place_of_book(state, agent)
            if update.lots and place is not None:
                lot = state.universe.lot_nano[ticket.column]
                held = int(place[0].lots(place[1])[ticket.column])
                data |= {
                    "price": price_text(update.price_nano), "qty": quantity_text(update.lots, lot),
                    "position_qty": quantity_text(held, lot),
                }  # fmt: skip
            await send(socket, "trade_updates", data)


async def send(socket: web.WebSocketResponse, stream: str, data: Answer) -> None:
    await socket.send_bytes(msgspec.json.encode({"stream": stream, "data": data}))
