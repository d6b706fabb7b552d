"""A spot exchange on 127.0.0.1 that speaks Bybit's documented API v5 and its private stream, as far as it is used here.

Account and matching are driven by the test, and it misbehaves on command. Keys, signatures, time stamps, windows and
filters are checked as the exchange documents them (bybit-exchange.github.io/docs/v5); ccxt and pybit are the clients
that judge it.
"""

import hashlib
import hmac
import json
import time
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from aiohttp import web

from tests.support.venues.binance import MILLI, Market
from tests.support.venues.spot import AFTER, Spot

DAY_MS: Final = 86_400_000
PAGES: Final = {"order/realtime": 20, "order/history": 20, "execution/list": 50, "account/transaction-log": 20}
"""Rows of a page without `limit`."""
RECENT: Final = 500
"""Ended orders that order/realtime finds by id."""


def _error(code: int, words: str) -> str:
    return json.dumps(
        {"retCode": code, "retMsg": words, "result": {}, "retExtInfo": {}, "time": int(time.time() * 1e3)}
    )


@dataclass(slots=True)
class Order:
    """An order as the exchange has it. `at` in ns."""

    id: str
    client: str
    market: Market
    side: str
    type: str
    qty: Decimal
    price: Decimal
    at: int
    stp: str
    tif: str = "GTC"
    filled: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)
    status: str = "New"
    changed: int = 0
    set_off: bool = False

    @property
    def symbol(self) -> str:
        return self.market.name

    @property
    def open(self) -> bool:
        return self.status in ("New", "PartiallyFilled")

    @property
    def buys(self) -> bool:
        return self.side == "Buy"

    @property
    def left(self) -> Decimal:
        return self.qty - self.filled

    @property
    def limit(self) -> Decimal:
        return self.price

    @property
    def stop_at(self) -> Decimal:
        return Decimal(0)


@dataclass(slots=True)
class Trade:
    id: str
    order: Order
    at: int
    price: Decimal
    qty: Decimal
    fee: Decimal
    fee_asset: str


@dataclass(slots=True)
class Entry:
    """One entry of the transaction log. `at` in ns."""

    id: str
    kind: str
    asset: str
    change: Decimal
    at: int
    fee: Decimal = Decimal(0)


class Refused(Exception):
    """An answer with an error of the exchange."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code, self.words = code, words


class Exchange(Spot[Order]):
    """The server and its books. `now` is its clock in ns; time stamps are checked by the clock of this machine and
    `skew_ns`."""

    answers: Final = {
        "429": (403, {"Retry-After": "0.05"}, _error(10018, "Exceeded the IP Rate Limit.")),
        "429 bare": (200, {}, _error(10006, "Too many visits!")),
        "500": (500, {}, _error(10016, "Server error.")), "500 after": (200, {}, _error(10016, "Server error.")),
        "503": (503, {}, _error(10019, "Service is restarting.")),
    }  # fmt: skip
    cut_text = '{"retCode":0,"retMsg":"OK","resu'
    garbage_text = '{"topic": "order", "data": [{'

    def __init__(self, markets: Iterable[Market], now: Callable[[], int]) -> None:
        super().__init__(now)
        self.markets = {market.name: market for market in markets}
        self.key, self.secret = "key-of-the-test", "secret-of-the-test"
        self.may_trade = True
        self.maintenance = False
        self.trades: list[Trade] = []
        self.log: list[Entry] = []
        self.fee_rate = {"Buy": Decimal("0.001"), "Sell": Decimal("0.001")}
        self.reject_next: list[Refused] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        """Each request with its fields."""

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v5/private", self._socket), web.route("*", "/v5/{path:.*}", self._rest)]

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        path, body = request.match_info["path"], await request.text()
        name = f"{request.method} {path}"
        self.calls.append(name)
        met = self._meet(name) or ("orderLinkId" in request.query and self._meet(f"{name} of one"))
        if met and met not in AFTER:
            return await self._faulty(request, met)
        said = body if request.method == "POST" else request.query_string
        fields = json.loads(body) if body else dict(urllib.parse.parse_qsl(request.query_string))
        self.asked.append((name, fields))
        handler = getattr(self, f"_{request.method.lower()}_{path.replace('/', '_').replace('-', '_')}", None)
        if handler is None:
            return web.Response(status=404, text="404 page not found")
        try:
            if not path.startswith(("market/", "system/")):
                self._signed(request.headers, urllib.parse.unquote(said) if request.method == "GET" else said)
            result = handler(fields)
        except Refused as error:
            return web.Response(text=_error(error.code, error.words), content_type="application/json")
        if met:
            return await self._faulty(request, met)
        ms = (self.now() + self.skew_ns) // MILLI
        return self._json(name, {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": ms})

    def _signed(self, headers: Any, said: str) -> None:
        """Raises Refused unless key, signature and time stamp are right."""
        stamp, window = headers.get("X-BAPI-TIMESTAMP", ""), headers.get("X-BAPI-RECV-WINDOW", "5000")
        right = hmac.new(self.secret.encode(), f"{stamp}{self.key}{window}{said}".encode(), hashlib.sha256).hexdigest()
        if headers.get("X-BAPI-API-KEY") != self.key:
            raise Refused(10003, "API key is invalid.")
        if not hmac.compare_digest(right, headers.get("X-BAPI-SIGN", "")):
            raise Refused(10004, "error sign! origin_string[...]")
        ours = (time.time_ns() + self.skew_ns) // MILLI
        if not ours - int(window) <= int(stamp) < ours + 1000:
            raise Refused(10002, f"invalid request, please check your server timestamp or recv_window param. "
                          f"req_timestamp[{stamp}],server_timestamp[{ours}],recv_window[{window}]")  # fmt: skip

    # public

    def _get_market_time(self, _: object) -> dict[str, Any]:
        ns = self.now() + self.skew_ns
        return {"timeSecond": str(ns // 10**9), "timeNano": str(ns)}

    def _get_system_status(self, _: object) -> dict[str, Any]:
        row = {"id": "1", "title": "Spot maintenance", "state": "ongoing", "begin": "1", "end": "2", "href": ""}
        return {"list": [row] if self.maintenance else []}

    def _get_market_instruments_info(self, fields: dict[str, str]) -> dict[str, Any]:
        assert fields["category"] == "spot"
        rows = [
            {"symbol": market.name, "baseCoin": market.base, "quoteCoin": market.quote, "innovation": "0",
             "status": market.status if market.status != "TRADING" else "Trading", "marginTrading": "none",
             "lotSizeFilter": {"basePrecision": market.step, "quotePrecision": "0.0000001", "maxOrderQty": "9000000",
                               "minOrderQty": market.least, "minOrderAmt": market.least_cost, "maxOrderAmt": "9000000"},
             "priceFilter": {"tickSize": market.tick}}
            for market in self.markets.values()
        ]  # fmt: skip
        return {"category": "spot", "list": rows}

    def _get_market_tickers(self, fields: dict[str, str]) -> dict[str, Any]:
        names = [fields["symbol"]] if "symbol" in fields else list(self.markets)
        rows = [
            {"symbol": name, "lastPrice": self.prices.get(name, "1"), "highPrice24h": "1", "lowPrice24h": "1",
             "prevPrice24h": "1", "volume24h": "1", "turnover24h": "1", "bid1Price": "1", "ask1Price": "1"}
            for name in names
        ]  # fmt: skip
        return {"category": "spot", "list": rows}

    # the account

    def _get_user_query_api(self, _: object) -> dict[str, Any]:
        return {
            "readOnly": 0,
            "uta": 1,
            "unified": 0,
            "ips": ["*"],
            "permissions": {"Spot": ["SpotTrade"], "Wallet": []},
        }

    def _get_account_wallet_balance(self, fields: dict[str, str]) -> dict[str, Any]:
        assert fields["accountType"] == "UNIFIED"
        held = self.held()
        coins = [
            {"coin": asset, "walletBalance": f"{amount:f}", "locked": f"{held.get(asset, Decimal(0)):f}",
             "equity": f"{amount:f}", "borrowAmount": "0", "usdValue": "1", "cumRealisedPnl": "0"}
            for asset, amount in self.balances.items()
        ]  # fmt: skip
        return {"list": [{"accountType": "UNIFIED", "totalEquity": "1", "totalWalletBalance": "1", "coin": coins}]}

    def held(self) -> dict[str, Decimal]:
        """What open orders lock, by asset."""
        out: dict[str, Decimal] = {}
        for order in self.orders.values():
            if order.open:
                asset = order.market.quote if order.buys else order.market.base
                out[asset] = out.get(asset, Decimal(0)) + order.left * (order.price if order.buys else 1)
        return out

    def _page(self, name: str, rows: list[dict[str, Any]], fields: dict[str, str]) -> dict[str, Any]:
        """One page of rows, and the cursor to the next one."""
        start, size = int(fields.get("cursor") or 0), int(fields.get("limit") or PAGES[name])
        more = str(start + size) if start + size < len(rows) else ""
        return {"category": "spot", "list": rows[start : start + size], "nextPageCursor": more}

    @staticmethod
    def _window(fields: dict[str, str]) -> tuple[int, int]:
        """The asked instants in ms: seven days from the start, or those until now."""
        start = int(fields.get("startTime") or 0) or int(time.time() * 1000) - 7 * DAY_MS
        end = int(fields.get("endTime") or 0) or start + 7 * DAY_MS
        if not 0 <= end - start <= 7 * DAY_MS:
            raise Refused(10001, "The interval between the startTime and endTime is incorrect")
        return start, end

    def _matching(self, fields: dict[str, str]) -> list[Order]:
        """The orders that a query means, the newest first."""
        return [
            order
            for order in reversed(self.orders.values())
            if fields.get("symbol", order.symbol) == order.symbol
            and fields.get("orderId", order.id) == order.id
            and fields.get("orderLinkId", order.client) == order.client
        ]

    def _get_order_realtime(self, fields: dict[str, str]) -> dict[str, Any]:
        orders, by_id = self._matching(fields), "orderId" in fields or "orderLinkId" in fields
        rows = orders[:RECENT] if by_id else [order for order in orders if order.open]
        return self._page("order/realtime", [self._said(order) for order in rows], fields)

    def _get_order_history(self, fields: dict[str, str]) -> dict[str, Any]:
        orders = [order for order in self._matching(fields) if not order.open]
        if "orderId" not in fields and "orderLinkId" not in fields:
            start, end = self._window(fields)
            orders = [order for order in orders if start <= order.at // MILLI <= end]
        return self._page("order/history", [self._said(order) for order in orders], fields)

    def _said(self, order: Order) -> dict[str, Any]:
        average = order.cost / order.filled if order.filled else Decimal(0)
        return {
            "orderId": order.id, "orderLinkId": order.client, "symbol": order.symbol, "price": f"{order.price:f}",
            "qty": f"{order.qty:f}", "side": order.side, "isLeverage": "0", "orderStatus": order.status,
            "avgPrice": f"{average:.8f}" if order.filled else "", "leavesQty": f"{order.left if order.open else 0:f}",
            "cumExecQty": f"{order.filled:f}", "cumExecValue": f"{order.cost:f}", "cumExecFee": "0",
            "timeInForce": order.tif, "orderType": order.type, "stopOrderType": "", "triggerPrice": "0",
            "smpType": order.stp, "rejectReason": "EC_NoError", "cancelType": "UNKNOWN", "marketUnit": "baseCoin",
            "createdTime": str(order.at // MILLI), "updatedTime": str((order.changed or order.at) // MILLI),
        }  # fmt: skip

    def _get_execution_list(self, fields: dict[str, str]) -> dict[str, Any]:
        start, end = self._window(fields)
        listed = self.trades[: len(self.trades) - self.trades_lag]
        rows = [
            {"symbol": t.order.symbol, "orderId": t.order.id, "orderLinkId": t.order.client, "side": t.order.side,
             "orderPrice": f"{t.order.price:f}", "orderQty": f"{t.order.qty:f}", "orderType": t.order.type,
             "execId": t.id, "execPrice": f"{t.price:f}", "execQty": f"{t.qty:f}", "execType": "Trade",
             "execValue": f"{t.price * t.qty:f}", "execTime": str(t.at // MILLI), "execFee": f"{t.fee:f}",
             "feeRate": "0.001", "feeCurrency": t.fee_asset, "isMaker": False, "leavesQty": "0", "seq": 1}
            for t in reversed(listed)
            if fields.get("symbol", t.order.symbol) == t.order.symbol and start <= t.at // MILLI <= end
            and fields.get("orderId", t.order.id) == t.order.id
        ]  # fmt: skip
        return self._page("execution/list", rows, fields)

    def _get_account_transaction_log(self, fields: dict[str, str]) -> dict[str, Any]:
        start, end = self._window(fields)
        rows = [
            {"id": e.id, "symbol": "", "side": "None", "funding": "", "orderLinkId": "", "orderId": "",
             "fee": f"{e.fee:f}", "change": f"{e.change:f}", "cashFlow": f"{e.change:f}", "type": e.kind,
             "transactionTime": str(e.at // MILLI), "size": "0", "qty": "0", "currency": e.asset,
             "cashBalance": f"{self.balances.get(e.asset, Decimal(0)):f}", "category": "spot", "tradeId": ""}
            for e in reversed(self.log)
            if start <= e.at // MILLI <= end and fields.get("currency", e.asset) == e.asset
        ]  # fmt: skip
        return self._page("account/transaction-log", rows, fields)

    # orders

    def new(self, fields: dict[str, str]) -> Order:
        """A new order that the exchange would take. Raises Refused."""
        if self.reject_next:
            raise self.reject_next.pop(0)
        market = self.markets.get(fields.get("symbol", ""))
        if fields.get("category") != "spot" or market is None:
            raise Refused(170121, "Invalid symbol.")
        if fields.get("orderFilter", "Order") != "Order":
            raise Refused(170202, "Invalid orderFilter parameter.")  # conditional orders are not served here
        if fields.get("side") not in ("Buy", "Sell") or fields.get("orderType") not in ("Limit", "Market"):
            raise Refused(10001, "params error: side or orderType invalid")
        client = fields.get("orderLinkId", "")
        if len(client) > 36:
            raise Refused(10001, "params error: OrderLinkedID too long")
        if client and any(other.client == client for other in self.orders.values()):
            raise Refused(170141, "Duplicate clientOrderId.")
        last = self.prices.get(market.name, "1")
        number = f"{1_000_000_000 + len(self.orders)}"
        order = Order(
            number, client, market, fields["side"], fields["orderType"], Decimal(fields["qty"]),
            Decimal(fields.get("price", last)), self.now(), fields.get("smpType", "None"),
        )  # fmt: skip
        self._filter(order)
        asset, needs = (market.quote, order.qty * order.price) if order.buys else (market.base, order.qty)
        if needs > self.balances.get(asset, Decimal(0)) - self.held().get(asset, Decimal(0)):
            raise Refused(170131, "Insufficient balance.")
        return order

    def _filter(self, order: Order) -> None:
        market = order.market
        if not self.may_trade:
            raise Refused(10005, "Permission denied, please check your API key permissions.")
        if market.status != "TRADING":
            raise Refused(170151, "The trading pair is not open yet.")
        if order.price % Decimal(market.tick):
            raise Refused(170134, "Order price has too many decimals.")
        if order.qty % Decimal(market.step):
            raise Refused(170137, "Order quantity has too many decimals.")
        if order.qty < Decimal(market.least):
            raise Refused(170136, "Order quantity exceeded lower limit.")
        if order.qty * order.price < Decimal(market.least_cost):
            raise Refused(170140, "Order value exceeded lower limit.")

    def _post_order_create(self, fields: dict[str, str]) -> dict[str, Any]:
        order = self.new(fields)
        self.orders[order.id] = order
        self._say(self._said(order))
        self.match(order, arrived=True)
        return {"orderId": order.id, "orderLinkId": order.client}

    def _post_order_cancel(self, fields: dict[str, str]) -> dict[str, Any]:
        if fields.get("orderFilter", "Order") != "Order":
            raise Refused(170213, "Order does not exist.")
        found = self._matching(fields) if {"orderId", "orderLinkId"} & fields.keys() else []
        if not found:
            raise Refused(170213, "Order does not exist.")
        order = found[0]
        before = self.on_cancel.pop(order.client, None)
        if before is not None and not before():
            raise Refused(170145, "This order type does not support cancellation")
        if not order.open:
            raise Refused(170213, "Order does not exist.")
        self.close(order, "Cancelled")
        return {"orderId": order.id, "orderLinkId": order.client}

    # the market, as the test drives it

    def fill(self, order: Order, qty: Decimal, price: Decimal) -> Trade:
        """One execution of a resting order. The fee is taken from what is received."""
        assert order.open, order
        assert order.filled + qty <= order.qty, order
        market, cost, rate = order.market, qty * price, self.fee_rate[order.side]
        fee, asset = (qty * rate, market.base) if order.buys else (cost * rate, market.quote)
        self.add(market.base, qty if order.buys else -qty)
        self.add(market.quote, -cost if order.buys else cost)
        self.add(asset, -fee)
        trade = Trade(f"2100000000{len(self.trades):08d}", order, self.now(), price, qty, fee, asset)
        self.trades.append(trade)
        for coin, change in ((market.base, qty if order.buys else -qty), (market.quote, -cost if order.buys else cost)):
            self.enter("TRADE", coin, change, fee if coin == asset else Decimal(0))
        order.filled, order.cost, order.changed = order.filled + qty, order.cost + cost, self.now()
        order.status = "Filled" if order.filled == order.qty else "PartiallyFilled"
        self._say(self._said(order))
        return trade

    def enter(self, kind: str, asset: str, change: Decimal, fee: Decimal = Decimal(0)) -> Entry:
        """An entry of the log; the balance is moved by whoever calls."""
        entry = Entry(f"592324{len(self.log):06d}_{asset}_1", kind, asset, change, self.now(), fee)
        self.log.append(entry)
        return entry

    def prevented(self, order: Order) -> None:
        self.close(order, "Cancelled")

    def close(self, order: Order, status: str) -> None:
        """End an open order: Cancelled | Deactivated; one that is filled in part has a status of its own."""
        order.status, order.changed = "PartiallyFilledCanceled" if order.filled else status, self.now()
        self._say(self._said(order))

    # the private stream

    async def _asked(self, socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        op, answer = message["op"], {"req_id": message.get("req_id", ""), "op": message["op"], "conn_id": "1"}
        if op == "ping":
            await socket.send_json(answer | {"op": "pong", "args": [str(int(time.time() * 1000))]})
        elif op == "auth":
            key, expires, signature = message["args"]
            right = hmac.new(self.secret.encode(), f"GET/realtime{expires}".encode(), hashlib.sha256).hexdigest()
            good = key == self.key and signature == right and int(expires) > time.time() * 1000
            await socket.send_json(answer | {"success": good, "ret_msg": "" if good else "Params Error"})
        elif op == "subscribe":
            await socket.send_json(answer | {"success": True, "ret_msg": ""})
            if "order" in message["args"]:
                self._listens(socket)

    def message(self, news: dict[str, Any]) -> dict[str, Any]:
        return {"id": "1", "topic": "order", "creationTime": self.now() // MILLI, "data": [news | {"category": "spot"}]}
