"""A spot exchange on 127.0.0.1 that speaks Binance's documented REST API and the user stream of its WebSocket API, as
far as it is used here.

Account and matching are driven by the test, and it misbehaves on command. Keys, signatures, time stamps, windows,
parameters, filters and weights are checked as the exchange documents them (binance-spot-api-docs: rest-api.md,
errors.md, filters.md); ccxt and python-binance are the clients that judge it.

Confirmed in Binance's pages: the codes -1000 to -2026 and the words of -2010 and -2011 (errors.md of 2025-01-09); the
window, the second ahead, -1007 after 10 s, lists from `startTime` on (rest-api.md, read in November 2026); the user
stream without a listen key (changes of 2025-04-01); lists of deposits and withdrawals, `completeTime`, `walletType`,
90 days, `spotBNBBurn` (pages of the wallet, as copies in public code); the weights of exchangeInfo 20, tickers 80,
openOrders 80 (copies of the pages). -4116 is a code of futures; spot has -2010 `Duplicate order sent.`

Not confirmed: how long the user stream stays without an event; whether `amount` of a withdrawal is without
`transactionFee` (quantd adds both); the weights account 20, myTrades 20, order 4.
"""

import hashlib
import hmac
import json
import re
import time
import urllib.parse
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from aiohttp import WSMsgType, web

from tests.support.venues.spot import AFTER, Spot

MILLI: Final = 1_000_000
"""Nanoseconds in a millisecond, the unit of the exchange's times."""
CLIENT_ID: Final = "^[a-zA-Z0-9-_]{1,36}$"
MODES: Final = ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"]
_STEP: Final = Decimal("0.00000001")

TOO_MANY: Final = "Too many new orders; current limit is 100 orders per 10 SECOND."
INTERNAL: Final = "An unknown error occurred while processing the request."

WEIGHTS: Final[dict[str, int]] = {
    "GET exchangeInfo": 20, "GET account": 20, "GET order": 4, "GET allOrders": 20, "GET myTrades": 20,
    "GET ticker/24hr": 2,
}  # fmt: skip
"""rest-api.md; the weights of openOrders and of myTrades with `orderId` depend on their parameters. Others count 1."""

COMMON: Final = frozenset({"timestamp", "recvWindow", "signature"})
NEW_ORDER: Final = frozenset(
    {
        "symbol", "side", "type", "timeInForce", "quantity", "quoteOrderQty", "price", "newClientOrderId", "stopPrice",
        "newOrderRespType", "selfTradePreventionMode",
    }
)  # fmt: skip
FIELDS: Final[dict[str, frozenset[str]]] = {
    "POST order": NEW_ORDER,
    "POST order/test": NEW_ORDER,
    "GET order": frozenset({"symbol", "orderId", "origClientOrderId"}),
    "DELETE order": frozenset({"symbol", "orderId", "origClientOrderId", "newClientOrderId", "cancelRestrictions"}),
    "GET openOrders": frozenset({"symbol"}),
    "DELETE openOrders": frozenset({"symbol"}),
    "GET allOrders": frozenset({"symbol", "orderId", "startTime", "endTime", "limit"}),
    "GET myTrades": frozenset({"symbol", "orderId", "startTime", "endTime", "fromId", "limit"}),
    "GET account": frozenset({"omitZeroBalances"}),
}
"""What a signed request may say; anything else is an unread parameter."""


def _error(code: int, words: str) -> str:
    return json.dumps({"code": code, "msg": words})


@dataclass(slots=True)
class Market:
    """One symbol and its filters."""

    base: str
    quote: str
    tick: str
    step: str
    least: str
    least_cost: str
    status: str = "TRADING"

    @property
    def name(self) -> str:
        return self.base + self.quote


@dataclass(slots=True)
class Order:
    """An order as the exchange has it. `at` in ns."""

    id: int
    client_id: str
    market: Market
    side: str
    type: str
    tif: str
    qty: Decimal
    price: Decimal
    stop: Decimal
    at: int
    stp: str
    filled: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)
    status: str = "NEW"
    changed: int = 0
    set_off: bool = False

    @property
    def open(self) -> bool:
        return self.status in ("NEW", "PARTIALLY_FILLED")

    @property
    def symbol(self) -> str:
        return self.market.name

    @property
    def client(self) -> str:
        return self.client_id

    @property
    def buys(self) -> bool:
        return self.side == "BUY"

    @property
    def left(self) -> Decimal:
        return self.qty - self.filled

    @property
    def limit(self) -> Decimal:
        return self.price

    @property
    def stop_at(self) -> Decimal:
        return Decimal(0) if self.set_off else self.stop


@dataclass(slots=True)
class Trade:
    id: int
    order: Order
    at: int
    price: Decimal
    qty: Decimal
    fee: Decimal
    fee_asset: str


@dataclass(slots=True)
class Moved:
    """A deposit, a withdrawal or a reward. `amount` without sign; `begun` and `done` in ns (`done` 0: not yet)."""

    id: str
    kind: str
    asset: str
    amount: Decimal
    begun: int
    done: int
    fee: Decimal = Decimal(0)
    wallet: int = 0


class Refused(Exception):
    """An answer with an error of the exchange."""

    def __init__(self, code: int, words: str, status: int = 400, retry_after: str = "") -> None:
        super().__init__(words)
        self.code, self.words, self.status, self.retry_after = code, words, status, retry_after


class Exchange(Spot[Order]):
    """The server and its books. `now` is its clock in ns; time stamps are checked by the clock of this machine and
    `skew_ns`."""

    answers: Final = {
        "429": (429, {"Retry-After": "0.05"}, _error(-1015, TOO_MANY)), "429 bare": (429, {}, _error(-1015, TOO_MANY)),
        "500": (500, {}, _error(-1000, INTERNAL)), "500 after": (500, {}, _error(-1000, INTERNAL)),
        "503": (503, {}, _error(-1008, "Server is currently overloaded with other requests. Please try again.")),
        "-1006 after": (400, {}, _error(-1006, "An unexpected response was received from the message bus. "
                                               "Execution status unknown.")),
        "-1007 after": (408, {}, _error(-1007, "Timeout waiting for response from backend server. Send status "
                                               "unknown; execution status unknown.")),
    }  # fmt: skip
    cut_text = '{"symbol":"BTCUSDT","orde'
    garbage_text = '{"subscriptionId": 0, "event": [{'

    def __init__(self, markets: Iterable[Market], now: Callable[[], int]) -> None:
        super().__init__(now)
        self.markets = {market.name: market for market in markets}
        self.key, self.secret = "key-of-the-test", "secret-of-the-test"
        self.may_trade = True
        self.trades: list[Trade] = []
        self.moved: list[Moved] = []
        self.maintenance = False
        self.wallet = True
        """Whether it has /sapi; the test network has not."""
        self.fee_rate = {"BUY": Decimal("0.001"), "SELL": Decimal("0.001")}
        self.bnb_burn = False
        self.bnb_price = Decimal(600)
        self.bar_price = Decimal(0)
        """Price of the bars of minutes until now, within 0.1 %; 0 for no bars."""
        self.reject_next: list[Refused] = []
        self.weight_limit = 0
        """Weight of a minute (0: no limit). Who goes on after a 429 is banned: 418 for `ban_s` seconds."""
        self.ban_s = 0.3
        self.asked: list[tuple[str, dict[str, str]]] = []
        """Each request with its fields."""
        self.banned_until = 0.0
        self._spent: deque[tuple[float, int]] = deque()
        self._warned = False

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/ws-api/v3", self._socket), web.get("/ws/{n}", self._market_socket),
            web.route("*", "/api/v3/{path:.*}", self._rest), web.route("*", "/sapi/v1/{path:.*}", self._rest),
        ]  # fmt: skip

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        path, body = request.match_info["path"], await request.text()
        name = f"{request.method} {path}"
        self.calls.append(name)
        met = self._meet(name)
        if met and met not in AFTER:
            return await self._faulty(request, met)
        fields = dict(urllib.parse.parse_qsl(request.query_string)) | dict(urllib.parse.parse_qsl(body))
        self.asked.append((name, fields))
        try:
            self._weigh(name, fields)
            if "/sapi/" in request.path and not self.wallet:
                raise web.HTTPNotFound
            handler = getattr(self, f"_{request.method.lower()}_{re.sub('[/]', '_', path).lower()}", None)
            if handler is None:
                return web.Response(status=404, text="<html><h2>404 Not found</h2></html>", content_type="text/html")
            if path not in ("ping", "time", "exchangeInfo", "ticker/24hr", "klines", "system/status"):
                self._signed(request.headers.get("X-MBX-APIKEY", ""), request.query_string + body, fields)
                self._read(name, fields)
            answer = handler(fields)
        except Refused as error:
            headers = {"Retry-After": error.retry_after} if error.retry_after else {}
            return web.json_response({"code": error.code, "msg": error.words}, status=error.status, headers=headers)
        return await self._faulty(request, met) if met else self._json(name, answer)

    def _weigh(self, name: str, fields: dict[str, str]) -> None:
        """Count the weight of the last minute. Raises 429 above the limit, and then 418."""
        now, limit = time.monotonic(), self.weight_limit
        if now < self.banned_until:
            raise Refused(-1003, f"Way too much request weight used; IP banned until {int(time.time() * 1000)}.", 418,
                          f"{self.banned_until - now:.3f}")  # fmt: skip
        weight = WEIGHTS.get(name, 1)
        if name == "GET openOrders":
            weight = 6 if "symbol" in fields else 80
        elif name == "GET myTrades" and "orderId" in fields:
            weight = 5
        while self._spent and self._spent[0][0] < now - 60:
            self._spent.popleft()
        self._spent.append((now, weight))
        if not limit or sum(spent for _, spent in self._spent) <= limit:
            self._warned = False
            return
        if self._warned:
            self.banned_until, self._warned = now + self.ban_s, False
            self._spent.clear()
            raise Refused(-1003, "Way too much request weight used; IP banned.", 418, f"{self.ban_s:.3f}")
        self._warned = True
        words = f"Too much request weight used; current limit is {limit} request weight per 1 MINUTE."
        raise Refused(-1003, words, 429, f"{self.ban_s:.3f}")

    def _signed(self, key: str, said: str, fields: dict[str, str]) -> None:
        """Raises Refused unless key, signature and time stamp are right."""
        payload, _, signature = said.rpartition("signature=")
        right = hmac.new(self.secret.encode(), payload.rstrip("&").encode(), hashlib.sha256).hexdigest()
        if key != self.key:
            raise Refused(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        if "timestamp" not in fields:
            raise Refused(-1102, "Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed.")
        if not hmac.compare_digest(right, signature):
            raise Refused(-1022, "Signature for this request is not valid.")
        self._in_time(fields)

    def _in_time(self, fields: dict[str, Any]) -> None:
        ours, theirs = (time.time_ns() + self.skew_ns) // MILLI, int(fields["timestamp"])
        window = float(fields.get("recvWindow", 5000))
        if window > 60_000:
            raise Refused(-1131, "recvWindow must be less than 60000.")
        if theirs >= ours + 1000:
            raise Refused(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
        if ours - theirs > window:
            raise Refused(-1021, "Timestamp for this request is outside of the recvWindow.")

    @staticmethod
    def _read(name: str, fields: dict[str, str]) -> None:
        known = FIELDS.get(name)
        if known is not None and (unread := fields.keys() - known - COMMON):
            words = f"Not all sent parameters were read; read '{len(fields) - len(unread)}' parameter(s)"
            raise Refused(-1104, f"{words} but was sent '{len(fields)}'.")

    # public

    def _get_ping(self, _: object) -> dict[str, Any]:
        return {}

    def _get_time(self, _: object) -> dict[str, Any]:
        return {"serverTime": (self.now() + self.skew_ns) // MILLI}

    def _get_exchangeinfo(self, _: object) -> dict[str, Any]:
        return {
            "timezone": "UTC", "serverTime": self.now() // MILLI, "exchangeFilters": [],
            "rateLimits": [
                {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
                {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
            ],
            "symbols": [
                {
                    "symbol": market.name, "status": market.status, "baseAsset": market.base, "baseAssetPrecision": 8,
                    "quoteAsset": market.quote, "quotePrecision": 8, "quoteAssetPrecision": 8,
                    "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"],
                    "icebergAllowed": True, "ocoAllowed": True, "isSpotTradingAllowed": True,
                    "isMarginTradingAllowed": False, "permissions": [], "permissionSets": [["SPOT"]],
                    "defaultSelfTradePreventionMode": "EXPIRE_MAKER", "allowedSelfTradePreventionModes": MODES,
                    "filters": [
                        {"filterType": "PRICE_FILTER", "minPrice": market.tick, "maxPrice": "1000000.00",
                         "tickSize": market.tick},
                        {"filterType": "LOT_SIZE", "minQty": market.least, "maxQty": "9000000.00",
                         "stepSize": market.step},
                        {"filterType": "NOTIONAL", "minNotional": market.least_cost, "applyMinToMarket": True,
                         "maxNotional": "9000000.00", "applyMaxToMarket": False, "avgPriceMins": 5},
                    ],
                }
                for market in self.markets.values()
            ],
        }  # fmt: skip

    def _get_ticker_24hr(self, fields: dict[str, str]) -> Any:
        names = json.loads(fields["symbols"]) if "symbols" in fields else [fields["symbol"]]
        last = {name: self.prices.get(name, "1") for name in names}
        rows = [
            {"symbol": self._market(name).name, "lastPrice": last[name], "openPrice": last[name], "closeTime": 1,
             "highPrice": last[name], "lowPrice": last[name], "volume": "1", "quoteVolume": "1"}
            for name in names
        ]  # fmt: skip
        return rows if "symbols" in fields else rows[0]

    def _get_klines(self, fields: dict[str, str]) -> list[Any]:
        """Bars of minutes, the oldest from startTime on or the newest."""
        self._market(fields["symbol"])
        end = min(int(fields.get("endTime", 2**62)), self.now() // MILLI)
        limit = int(fields.get("limit", 500))
        start = int(fields.get("startTime", end - (limit - 1) * 60_000))
        first = -(-start // 60_000) * 60_000
        if not self.bar_price:
            return []
        rows = []
        for ms in range(first, end + 1, 60_000)[:limit]:
            price = f"{self.bar_price * (1 + Decimal(ms // 60_000 % 7) / 10_000):.2f}"
            rows.append([ms, *[price] * 4, "10.00000000", ms + 59_999, "1.0", 7, "1.0", "1.0", "0"])
        return rows

    # the account

    def _get_account(self, _: object) -> dict[str, Any]:
        held = self.held()
        assets = {asset for market in self.markets.values() for asset in (market.base, market.quote)}
        return {
            "makerCommission": 10, "takerCommission": 10, "buyerCommission": 0, "sellerCommission": 0,
            "canTrade": self.may_trade, "canWithdraw": True, "canDeposit": True, "brokered": False,
            "requireSelfTradePrevention": False, "preventSor": False, "updateTime": self.now() // MILLI,
            "accountType": "SPOT", "permissions": ["SPOT"], "uid": 354937868,
            "balances": [
                {"asset": asset, "free": f"{self.balances.get(asset, Decimal(0)) - held.get(asset, Decimal(0)):.8f}",
                 "locked": f"{held.get(asset, Decimal(0)):.8f}"}
                for asset in sorted(assets | self.balances.keys())
            ],
        }  # fmt: skip

    def held(self) -> dict[str, Decimal]:
        """What open orders lock, by asset."""
        out: dict[str, Decimal] = {}
        for order in self.orders.values():
            if order.open:
                rest, buys = order.qty - order.filled, order.side == "BUY"
                asset = order.market.quote if buys else order.market.base
                out[asset] = out.get(asset, Decimal(0)) + (rest * order.price if buys else rest)
        return out

    def _market(self, name: str) -> Market:
        if name not in self.markets:
            raise Refused(-1121, "Invalid symbol.")
        return self.markets[name]

    def _new(self, fields: dict[str, str]) -> Order:
        """A new order that the exchange would take. Raises Refused."""
        if self.reject_next:
            raise self.reject_next.pop(0)
        for name in ("symbol", "side", "type"):
            if not fields.get(name):
                raise Refused(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        market, kind = self._market(fields["symbol"]), fields["type"]
        needed = {
            "LIMIT": ("timeInForce", "quantity", "price"), "MARKET": ("quantity",),
            "STOP_LOSS_LIMIT": ("timeInForce", "quantity", "price", "stopPrice"),
        }  # fmt: skip
        if kind not in needed:
            raise Refused(-1116, "Invalid orderType.")
        for name in needed[kind]:
            if not fields.get(name):
                raise Refused(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        client_id = fields.get("newClientOrderId", f"web_{len(self.orders)}")
        if not re.fullmatch(CLIENT_ID, client_id):
            raise Refused(-1100, "Illegal characters found in parameter 'newClientOrderId'; legal range is "
                          f"'{CLIENT_ID}'.")  # fmt: skip
        if fields.get("selfTradePreventionMode", "EXPIRE_MAKER") not in MODES:
            raise Refused(-1013, "This symbol does not allow the specified self-trade prevention mode.")
        if fields.get("timeInForce", "GTC") not in ("GTC", "IOC", "FOK"):
            raise Refused(-1115, "Invalid timeInForce.")
        last = self.prices.get(market.name, "1")
        order = Order(
            id=4_000_000 + len(self.orders), client_id=client_id, market=market, side=fields["side"], type=kind,
            tif=fields.get("timeInForce", "GTC"), qty=Decimal(fields["quantity"]),
            price=Decimal(fields.get("price", last)), stop=Decimal(fields.get("stopPrice", "0")), at=self.now(),
            stp=fields.get("selfTradePreventionMode", "EXPIRE_MAKER"),
        )  # fmt: skip
        self._filter(order)
        if not self.may_trade:
            raise Refused(-2010, "This account may not place or cancel orders.")
        if any(other.open and other.client_id == client_id for other in self.orders.values()):
            raise Refused(-2010, "Duplicate order sent.")
        if order.stop and market.name in self.prices and (
            Decimal(last) <= order.stop if order.side == "SELL" else Decimal(last) >= order.stop
        ):  # fmt: skip
            raise Refused(-2010, "Order would trigger immediately.")
        buys = order.side == "BUY"
        asset, needs = (market.quote, order.qty * order.price) if buys else (market.base, order.qty)
        if needs > self.balances.get(asset, Decimal(0)) - self.held().get(asset, Decimal(0)):
            raise Refused(-2010, "Account has insufficient balance for requested action.")
        return order

    @staticmethod
    def _filter(order: Order) -> None:
        market = order.market
        for name, value in (("quantity", order.qty), ("price", order.price), ("stopPrice", order.stop)):
            if -int(value.normalize().as_tuple().exponent) > 8:
                raise Refused(-1111, f"Parameter '{name}' has too much precision.")
        if market.status != "TRADING":
            raise Refused(-1013, "Market is closed.")
        if order.price % Decimal(market.tick) or order.stop % Decimal(market.tick):
            raise Refused(-1013, "Filter failure: PRICE_FILTER")
        if order.qty < Decimal(market.least) or order.qty % Decimal(market.step):
            raise Refused(-1013, "Filter failure: LOT_SIZE")
        if order.qty * order.price < Decimal(market.least_cost):
            raise Refused(-1013, "Filter failure: NOTIONAL")

    def _post_order(self, fields: dict[str, str]) -> dict[str, Any]:
        order = self._new(fields)
        self.orders[order.id] = order
        self._tell(order, "NEW")
        self.match(order, arrived=True)
        trades = [trade for trade in self.trades if trade.order is order]
        answer = self._said(order) | {"transactTime": order.at // MILLI}
        if fields.get("newOrderRespType") == "ACK":
            return {k: answer[k] for k in ("symbol", "orderId", "orderListId", "clientOrderId", "transactTime")}
        fills = [
            {"price": f"{t.price:.8f}", "qty": f"{t.qty:.8f}", "commission": f"{t.fee:.8f}",
             "commissionAsset": t.fee_asset, "tradeId": t.id}
            for t in trades
        ]  # fmt: skip
        return answer | {"fills": fills}

    def _post_order_test(self, fields: dict[str, str]) -> dict[str, Any]:
        self._new(fields)
        return {}

    def _find(self, fields: dict[str, str], missing: Refused) -> Order:
        market = self._market(fields.get("symbol", ""))
        if not fields.get("orderId") and not fields.get("origClientOrderId"):
            raise Refused(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
        found = [
            order
            for order in self.orders.values()
            if order.market is market
            and fields.get("orderId", str(order.id)) == str(order.id)
            and fields.get("origClientOrderId", order.client_id) == order.client_id
        ]
        if not found:
            raise missing
        return found[-1]

    def _get_order(self, fields: dict[str, str]) -> dict[str, Any]:
        return self._said(self._find(fields, Refused(-2013, "Order does not exist.")))

    def _delete_order(self, fields: dict[str, str]) -> dict[str, Any]:
        order = self._find(fields, Refused(-2011, "Unknown order sent."))
        before = self.on_cancel.pop(order.client_id, None)
        if before is not None and not before():
            raise Refused(-2011, "Order was not canceled due to cancel restrictions.")
        if not order.open:
            raise Refused(-2011, "Unknown order sent.")
        self.close(order, "CANCELED")
        ids = {"origClientOrderId": order.client_id, "clientOrderId": f"c{order.id}"}
        return self._said(order) | ids | {"transactTime": self.now() // MILLI}

    def _get_openorders(self, fields: dict[str, str]) -> list[Any]:
        name = self._market(fields["symbol"]).name if "symbol" in fields else ""
        return [self._said(o) for o in self.orders.values() if o.open and name in ("", o.market.name)]

    def _delete_openorders(self, fields: dict[str, str]) -> list[Any]:
        market = self._market(fields["symbol"])
        closed = [o for o in self.orders.values() if o.open and o.market is market]
        for order in closed:
            self.close(order, "CANCELED")
        return [self._said(order) for order in closed]

    def _get_allorders(self, fields: dict[str, str]) -> list[Any]:
        market, start = self._market(fields["symbol"]), int(fields.get("startTime", 0)) * MILLI
        return [self._said(o) for o in self.orders.values() if o.market is market and o.at >= start][-500:]

    def _get_mytrades(self, fields: dict[str, str]) -> list[Any]:
        """With a start the oldest ones from it on, else the newest (rest-api.md, General API Information)."""
        market, limit = self._market(fields["symbol"]), int(fields.get("limit", 500))
        start = int(fields.get("startTime", 0)) * MILLI
        listed = [
            t
            for t in self.trades[: len(self.trades) - self.trades_lag]
            if t.order.market is market and fields.get("orderId", str(t.order.id)) == str(t.order.id)
            and t.at // MILLI * MILLI >= start
        ]  # fmt: skip
        listed = listed[:limit] if "startTime" in fields else listed[-limit:]
        return [
            {"symbol": market.name, "id": t.id, "orderId": t.order.id, "orderListId": -1, "price": f"{t.price:.8f}",
             "qty": f"{t.qty:.8f}", "quoteQty": f"{t.price * t.qty:.8f}", "commission": f"{t.fee:.8f}",
             "commissionAsset": t.fee_asset, "time": t.at // MILLI, "isBuyer": t.order.side == "BUY",
             "isMaker": False, "isBestMatch": True}
            for t in listed
        ]  # fmt: skip

    def _said(self, order: Order) -> dict[str, Any]:
        return {
            "symbol": order.market.name, "orderId": order.id, "orderListId": -1, "clientOrderId": order.client_id,
            "price": f"{order.price:.8f}", "origQty": f"{order.qty:.8f}", "executedQty": f"{order.filled:.8f}",
            "origQuoteOrderQty": "0.00000000", "cummulativeQuoteQty": f"{order.cost:.8f}", "status": order.status,
            "timeInForce": order.tif, "type": order.type, "side": order.side, "stopPrice": f"{order.stop:.8f}",
            "icebergQty": "0.00000000", "time": order.at // MILLI, "updateTime": (order.changed or order.at) // MILLI,
            "isWorking": True, "workingTime": order.at // MILLI, "selfTradePreventionMode": order.stp,
        }  # fmt: skip

    # the wallet (/sapi), which the test network has not

    def _get_system_status(self, _: object) -> dict[str, Any]:
        return {"status": 1, "msg": "system maintenance"} if self.maintenance else {"status": 0, "msg": "normal"}

    def _get_bnbburn(self, _: object) -> dict[str, Any]:
        return {"spotBNBBurn": self.bnb_burn, "interestBNBBurn": False}

    def _get_account_apirestrictions(self, _: object) -> dict[str, Any]:
        return {"ipRestrict": True, "enableReading": True, "enableWithdrawals": False,
                "enableSpotAndMarginTrading": self.may_trade}  # fmt: skip

    def _moved(self, kind: str, fields: dict[str, str]) -> list[Moved]:
        start, end = int(fields.get("startTime", 0)), int(fields.get("endTime", 2**62))
        if "startTime" in fields and "endTime" in fields and end - start >= 90 * 86_400_000:
            raise Refused(-1127, "More than 2160 hours between startTime and endTime.")
        rows = [m for m in self.moved if m.kind == kind and start <= m.begun // MILLI <= end]
        return rows[: int(fields.get("limit", 1000))]

    def _get_capital_deposit_hisrec(self, fields: dict[str, str]) -> list[Any]:
        return [
            {"id": m.id, "amount": f"{m.amount:f}", "coin": m.asset, "network": "ETH", "status": 1 if m.done else 0,
             "address": "0x1", "txId": f"0x{m.id}", "insertTime": m.begun // MILLI, "transferType": 0,
             "completeTime": m.done // MILLI, "walletType": m.wallet}
            for m in self._moved("deposit", fields)
        ]  # fmt: skip

    def _get_capital_withdraw_history(self, fields: dict[str, str]) -> list[Any]:
        return [
            {"id": m.id, "amount": f"{m.amount:f}", "transactionFee": f"{m.fee:f}", "coin": m.asset,
             "status": 6 if m.done else 4, "address": "0x2", "txId": f"0x{m.id}", "applyTime": _utc(m.begun),
             "network": "ETH", "transferType": 0, "walletType": m.wallet}
            | ({"completeTime": _utc(m.done)} if m.done else {})
            for m in self._moved("withdrawal", fields)
        ]  # fmt: skip

    def _get_asset_assetdividend(self, fields: dict[str, str]) -> dict[str, Any]:
        rows = [
            {"id": int(m.id), "amount": f"{m.amount:f}", "asset": m.asset, "divTime": m.begun // MILLI,
             "enInfo": "Simple Earn Flexible Interest", "tranId": 2968885920}
            for m in self._moved("dividend", fields)
        ]  # fmt: skip
        return {"rows": rows, "total": len(rows)}

    # the market, as the test drives it

    def fill(self, order: Order, qty: Decimal, price: Decimal) -> Trade:
        """One execution of a resting order. The fee is taken from what is received, or in BNB."""
        assert order.open, order
        assert order.filled + qty <= order.qty, order
        buys, market, cost = order.side == "BUY", order.market, qty * price
        rate = self.fee_rate[order.side]
        fee, asset = (qty * rate, market.base) if buys else (cost * rate, market.quote)
        if self.bnb_burn:
            fee, asset = cost * rate / self.bnb_price, "BNB"
        fee = fee.quantize(_STEP)
        self.add(market.base, qty if buys else -qty)
        self.add(market.quote, -cost if buys else cost)
        self.add(asset, -fee)
        trade = Trade(28_000 + len(self.trades), order, self.now(), price, qty, fee, asset)
        self.trades.append(trade)
        order.filled, order.cost, order.changed = order.filled + qty, order.cost + cost, self.now()
        order.status = "FILLED" if order.filled == order.qty else "PARTIALLY_FILLED"
        self._tell(order, "TRADE", trade)
        return trade

    def prevented(self, order: Order) -> None:
        self.close(order, "EXPIRED_IN_MATCH")

    def close(self, order: Order, status: str) -> None:
        """End an open order: CANCELED | EXPIRED | EXPIRED_IN_MATCH."""
        order.status, order.changed = status, self.now()
        self._tell(order, "CANCELED" if status == "CANCELED" else "EXPIRED")

    # the user stream of the WebSocket API

    async def _market_socket(self, request: web.Request) -> web.StreamResponse:
        """The stream of bars, at which nothing happens."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                await socket.send_json({"result": None, "id": json.loads(message.data).get("id")})
        return socket

    async def _asked(self, socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        said = "&".join(f"{name}={params[name]}" for name in sorted(params) if name != "signature")
        try:
            if message["method"] != "userDataStream.subscribe.signature":
                raise Refused(-1020, "This operation is not supported.")
            fields = {name: str(value) for name, value in params.items()}
            self._signed(str(params.get("apiKey")), f"{said}&signature={params.get('signature')}", fields)
        except Refused as error:
            wrong = {"code": error.code, "msg": error.words}
            await socket.send_json({"id": message["id"], "status": error.status, "error": wrong})
            return
        await socket.send_json({"id": message["id"], "status": 200, "result": {"subscriptionId": 0}})
        self._listens(socket)

    def _tell(self, order: Order, kind: str, trade: Trade | None = None) -> None:
        cancelled = kind == "CANCELED"
        event = {
            "e": "executionReport", "E": self.now() // MILLI, "s": order.market.name,
            "c": f"c{order.id}" if cancelled else order.client_id, "C": order.client_id if cancelled else "",
            "S": order.side, "o": order.type, "f": order.tif, "q": f"{order.qty:.8f}", "p": f"{order.price:.8f}",
            "P": f"{order.stop:.8f}", "F": "0.00000000", "g": -1, "x": kind, "X": order.status, "r": "NONE",
            "i": order.id, "l": f"{trade.qty if trade else 0:.8f}", "z": f"{order.filled:.8f}",
            "L": f"{trade.price if trade else 0:.8f}", "n": f"{trade.fee if trade else 0:.8f}",
            "N": trade.fee_asset if trade else None, "T": self.now() // MILLI, "t": trade.id if trade else -1,
            "I": 1, "w": order.open, "m": False, "M": False, "O": order.at // MILLI, "Z": f"{order.cost:.8f}",
            "Y": f"{trade.qty * trade.price if trade else 0:.8f}", "Q": "0.00000000", "W": order.at // MILLI,
            "V": order.stp,
        }  # fmt: skip
        self._say(event)

    def message(self, news: dict[str, Any]) -> dict[str, Any]:
        return {"subscriptionId": 0, "event": news}


def _utc(ns: int) -> str:
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def bitcoin_market(exchange: Callable[..., Any]) -> Any:
    """An exchange that trades BTC for USDT, with an account of both."""
    server = exchange([Market("BTC", "USDT", "0.01", "0.00001", "0.00001", "5")], time.time_ns)
    server.add("USDT", Decimal(100_000))
    server.add("BTC", Decimal(2))
    server.prices["BTCUSDT"] = "60000.00"
    return server
