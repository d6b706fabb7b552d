"""A spot exchange on 127.0.0.1 that speaks Kraken's documented REST API and WebSocket v2, as far as it is used here.

Account and matching are driven by the test, and it misbehaves on command. Signatures and nonces are verified as the
exchange does; ccxt is the official client that checks it.
"""

import base64
import hashlib
import hmac
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from aiohttp import web

from tests.support.venues.spot import AFTER, Spot

NANO: Final = 1_000_000_000
PAGE: Final = 50
"""Orders, trades and ledger entries of one answer, as at the exchange."""
BARS: Final = 720
"""Bars of one answer; there is no way to older ones."""
_MICRO: Final = Decimal("0.000001")
_FEE: Final = Decimal("0.00001")


@dataclass(slots=True)
class Pair:
    """One market. `id` and `altname` as the exchange writes them (XXBTZUSD, XBTUSD), `wsname` with its old codes
    (XBT/USD),
    `symbol` with the new ones (BTC/USD)."""

    id: str
    altname: str
    wsname: str
    symbol: str
    base: str
    quote: str
    pair_decimals: int
    lot_decimals: int
    ordermin: str
    costmin: str
    status: str = "online"
    bars: list[tuple[int, str, str, str, str, str]] = field(default_factory=list)
    """(open in s, open, high, low, close, volume), oldest first."""


@dataclass(slots=True)
class Order:
    """An order as the exchange has it. `at` in ns."""

    txid: str
    cl_ord_id: str
    pair: Pair
    side: str
    ordertype: str
    vol: Decimal
    price: str
    price2: str
    oflags: str
    timeinforce: str
    expiretm: int
    at: int
    vol_exec: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)
    fee: Decimal = Decimal(0)
    status: str = "open"
    reason: str = ""
    closed_at: int = 0
    set_off: bool = False

    @property
    def limit(self) -> Decimal:
        return Decimal(self.price2 if self.ordertype == "stop-loss-limit" else self.price)

    @property
    def stop_at(self) -> Decimal:
        return Decimal(self.price if self.ordertype == "stop-loss-limit" and not self.set_off else "0")

    @property
    def symbol(self) -> str:
        return self.pair.symbol

    @property
    def client(self) -> str:
        return self.cl_ord_id

    @property
    def open(self) -> bool:
        return self.status == "open"

    @property
    def buys(self) -> bool:
        return self.side == "buy"

    @property
    def left(self) -> Decimal:
        return self.vol - self.vol_exec


@dataclass(slots=True)
class Trade:
    id: str
    number: int
    order: Order
    at: int
    price: Decimal
    vol: Decimal
    fee: Decimal


@dataclass(slots=True)
class Entry:
    """One line of the ledger."""

    id: str
    at: int
    kind: str
    asset: str
    amount: Decimal
    fee: Decimal
    balance: Decimal


class Refused(Exception):
    """An answer with an error in the exchange's own words."""


class Exchange(Spot[Order]):
    """The server and its books. `now` is its clock in ns."""

    answers: Final = {
        "429": (429, {"Retry-After": "0.05"}, "Too Many Requests"),
        "429 bare": (200, {}, '{"error":["EAPI:Rate limit exceeded"]}'),
        "500": (500, {}, '{"error":["EGeneral:Internal error"]}'),
        "500 after": (500, {}, '{"error":["EGeneral:Internal error"]}'),
        "503": (503, {}, '{"error":["EService:Unavailable"]}'),
    }  # fmt: skip
    cut_text = '{"error":[],"resu'
    garbage_text = '{"channel": "executions", "data": [{'

    def __init__(self, pairs: Iterable[Pair], assets: dict[str, str], now: Callable[[], int]) -> None:
        super().__init__(now)
        self.pairs = {pair.id: pair for pair in pairs}
        self.assets = assets
        self.key, self.secret = "key-of-the-test", base64.b64encode(b"secret of the test").decode()
        self.permissions = {"funds", "open", "closed", "modify", "ledger"}
        self.trades: list[Trade] = []
        self.ledger: list[Entry] = []
        self.status = "online"
        self.fee_rate = Decimal("0.0026")
        self.fee_in_coin = False
        """Whether a purchase pays its fee in the coin, as with oflags=fcib (docs.kraken.com, Add Order)."""
        self.reject_next: list[str] = []
        self.bars_forward = 0
        """Bars of one answer from the asked instant on, as most exchanges page; 0: the newest ones, as this
        one does."""
        self._nonces: dict[str, int] = {}
        self._count = 0
        self._ohlc: list[tuple[web.WebSocketResponse, str, int]] = []
        self._sequence = 0

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/0/public/{path}", self._public), web.post("/0/private/{path}", self._private),
            web.get("/v2", self._socket), web.get("/", self._socket),
        ]  # fmt: skip

    # REST

    async def _public(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        self.calls.append(path)
        met = self._meet(path)
        if met and met != "500 after":
            return await self._faulty(request, met)
        try:
            result: object = getattr(self, f"_public_{path.lower()}")(request.query)
        except Refused as error:
            return web.json_response({"error": [str(error)]})
        return self._json(path, {"error": [], "result": result})

    def _public_time(self, _query: object) -> dict[str, Any]:
        seconds = (self.now() + self.skew_ns) // NANO
        return {"unixtime": seconds, "rfc1123": "Fri, 20 Nov 26 14:00:00 +0000"}

    def _public_systemstatus(self, _query: object) -> dict[str, Any]:
        return {"status": self.status, "timestamp": "2026-11-20T14:00:00Z"}

    def _public_assets(self, _query: object) -> dict[str, Any]:
        return {
            asset: {
                "aclass": "currency",
                "altname": altname,
                "decimals": 10,
                "display_decimals": 5,
                "status": "enabled",
            }
            for asset, altname in self.assets.items()
        }

    def _public_assetpairs(self, _query: object) -> dict[str, Any]:
        return {
            pair.id: {
                "altname": pair.altname, "wsname": pair.wsname, "aclass_base": "currency", "base": pair.base,
                "aclass_quote": "currency", "quote": pair.quote, "lot": "unit", "cost_decimals": 5,
                "pair_decimals": pair.pair_decimals, "lot_decimals": pair.lot_decimals, "lot_multiplier": 1,
                "leverage_buy": [], "leverage_sell": [], "fees": [[0, 0.26]], "fees_maker": [[0, 0.16]],
                "fee_volume_currency": "ZUSD", "margin_call": 80, "margin_stop": 40, "ordermin": pair.ordermin,
                "costmin": pair.costmin, "tick_size": f"{Decimal(1).scaleb(-pair.pair_decimals):f}",
                "status": pair.status,
            }
            for pair in self.pairs.values()
        }  # fmt: skip

    def _public_ticker(self, query: Any) -> dict[str, Any]:
        tickers = {}
        for pair in map(self._pair, query["pair"].split(",")):
            last = self.prices.get(pair.symbol, "1")
            day = [last, last]
            tickers[pair.id] = {
                "a": [last, "1", "1.000"], "b": [last, "1", "1.000"], "c": [last, "1.0"], "v": ["1", "1"], "p": day,
                "t": [1, 1], "l": day, "h": day, "o": last,
            }  # fmt: skip
        return tickers

    def _public_ohlc(self, query: Any) -> dict[str, Any]:
        pair = self._pair(query["pair"])
        seconds = int(query.get("interval", "1")) * 60
        since = int(query.get("since", "0"))
        bars = [bar for bar in (pair.bars if self.bars_forward else pair.bars[-BARS:]) if bar[0] > since]
        bars = bars[: self.bars_forward or None]
        rows = [[ts, o, h, low, c, c, volume, 7] for ts, o, h, low, c, volume in bars]
        return {pair.id: rows, "last": pair.bars[-1][0] - seconds if pair.bars else 0}

    async def _private(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        body = await request.text()
        checked = "validate=true" in body  # an order that is only checked is no order
        self.calls.append("AddOrder, checked" if checked else path)
        met = "" if checked else self._meet(path)
        if met and met not in AFTER:
            return await self._faulty(request, met)
        try:
            fields = self._signed(request, body)
            if self.reject_next and path == "AddOrder" and not checked:
                raise Refused(self.reject_next.pop(0))
            result: object = getattr(self, f"_private_{path.lower()}")(fields)
        except Refused as error:
            return web.json_response({"error": [str(error)]})
        return await self._faulty(request, met) if met else self._json(path, {"error": [], "result": result})

    def _signed(self, request: web.Request, body: str) -> dict[str, str]:
        """The fields of a request whose key, signature and nonce are right."""
        fields = dict(urllib.parse.parse_qsl(body, strict_parsing=True))
        if request.headers.get("API-Key") != self.key:
            raise Refused("EAPI:Invalid key")
        nonce = fields.pop("nonce")
        digest = hashlib.sha256((nonce + body).encode()).digest()
        signed = hmac.new(base64.b64decode(self.secret), request.path.encode() + digest, hashlib.sha512).digest()
        if request.headers.get("API-Sign") != base64.b64encode(signed).decode():
            raise Refused("EAPI:Invalid signature")
        if int(nonce) <= self._nonces.get(self.key, 0):
            raise Refused("EAPI:Invalid nonce")
        self._nonces[self.key] = int(nonce)
        return fields

    def _may(self, permission: str) -> None:
        if permission not in self.permissions:
            raise Refused("EGeneral:Permission denied")

    def _pair(self, name: str) -> Pair:
        for pair in self.pairs.values():
            if name in (pair.id, pair.altname, pair.symbol):
                return pair
        raise Refused("EQuery:Unknown asset pair")

    def _private_balanceex(self, _fields: dict[str, str]) -> dict[str, Any]:
        self._may("funds")
        held = self.held()
        return {
            asset: {"balance": f"{amount:f}", "hold_trade": f"{held.get(asset, Decimal(0)):f}"}
            for asset, amount in self.balances.items()
        }

    def held(self) -> dict[str, Decimal]:
        """What open orders lock, by asset."""
        out: dict[str, Decimal] = {}
        for order in self.orders.values():
            if order.status == "open":
                open_volume = order.vol - order.vol_exec
                asset = order.pair.quote if order.side == "buy" else order.pair.base
                locked = open_volume * order.limit * (1 + self.fee_rate) if order.side == "buy" else open_volume
                out[asset] = out.get(asset, Decimal(0)) + locked
        return out

    def _private_openorders(self, fields: dict[str, str]) -> dict[str, Any]:
        self._may("open")
        orders = [o for o in self.orders.values() if o.status == "open" and self._wanted(o, fields)]
        return {"open": {order.txid: self._said(order) for order in orders}}

    def _private_closedorders(self, fields: dict[str, str]) -> dict[str, Any]:
        self._may("closed")
        orders = [o for o in self.orders.values() if o.status != "open" and self._wanted(o, fields)]
        start = float(fields.get("start", 0)) * NANO
        by_open = fields.get("closetime", "both") == "open"
        orders = [o for o in orders if (o.at if by_open else o.closed_at) > start]
        orders.sort(key=lambda o: -(o.at if by_open else o.closed_at))
        offset = int(fields.get("ofs", 0))
        return {
            "closed": {order.txid: self._said(order) for order in orders[offset : offset + PAGE]},
            "count": len(orders),
        }

    @staticmethod
    def _wanted(order: Order, fields: dict[str, str]) -> bool:
        return "cl_ord_id" not in fields or fields["cl_ord_id"] == order.cl_ord_id

    def _said(self, order: Order) -> dict[str, Any]:
        kind = f"{order.ordertype.replace('-limit', '').replace('-', ' ')} {order.price} -> limit {order.price2}"
        text = f"limit {order.price}" if order.ordertype == "limit" else kind
        average = order.cost / order.vol_exec if order.vol_exec else Decimal(0)
        document: dict[str, Any] = {
            "refid": None, "userref": None, "cl_ord_id": order.cl_ord_id or None, "status": order.status,
            "opentm": order.at / NANO, "starttm": 0, "expiretm": order.expiretm,
            "descr": {
                "pair": order.pair.altname, "aclass": "forex", "type": order.side, "ordertype": order.ordertype,
                "price": order.price, "price2": order.price2 or "0", "leverage": "none",
                "order": f"{order.side} {order.vol:.8f} {order.pair.altname} @ {text}", "close": "",
            },
            "vol": f"{order.vol:.8f}", "vol_exec": f"{order.vol_exec:.8f}", "cost": f"{order.cost:.5f}",
            "fee": f"{order.fee:.5f}", "price": f"{average:.5f}", "stopprice": "0.00000", "limitprice": "0.00000",
            "misc": "", "oflags": order.oflags,
        }  # fmt: skip
        if order.status != "open":
            document |= {"closetm": order.closed_at / NANO, "reason": order.reason or None}
        return document

    def _private_tradeshistory(self, fields: dict[str, str]) -> dict[str, Any]:
        self._may("closed")
        history = self.trades[: len(self.trades) - self.trades_lag]
        trades = [t for t in history if t.at > float(fields.get("start", 0)) * NANO]
        if fields.get("consolidate_taker", "true") == "true":
            trades = self._consolidated(trades)
        trades.sort(key=lambda t: -t.number)
        offset = int(fields.get("ofs", 0))
        return {
            "trades": {
                t.id: {
                    "ordertxid": t.order.txid, "postxid": "TKH2SE-M7IF5-CFI7LT", "pair": t.order.pair.id,
                    "time": round(t.at / NANO, 4), "type": t.order.side, "ordertype": "limit", "price": f"{t.price:f}",
                    "cost": f"{t.price * t.vol:.5f}", "fee": f"{t.fee:f}", "vol": f"{t.vol:.8f}",
                    "margin": "0.00000", "leverage": "0", "misc": "", "trade_id": t.number, "maker": False,
                }
                for t in trades[offset : offset + PAGE]
            },
            "count": len(trades),
        }  # fmt: skip

    @staticmethod
    def _consolidated(trades: list[Trade]) -> list[Trade]:
        """Executions of one order in one instant as one, as the exchange tells them unless asked otherwise."""
        out: dict[tuple[str, int], Trade] = {}
        for trade in trades:
            key = trade.order.txid, trade.at
            before = out.get(key)
            if before is None:
                out[key] = trade
            else:
                vol = before.vol + trade.vol
                price = (before.price * before.vol + trade.price * trade.vol) / vol
                out[key] = Trade(before.id, before.number, trade.order, trade.at, price, vol, before.fee + trade.fee)
        return list(out.values())

    def _private_ledgers(self, fields: dict[str, str]) -> dict[str, Any]:
        self._may("ledger")
        entries = [e for e in self.ledger if e.at > float(fields.get("start", 0)) * NANO]
        if "asset" in fields:
            entries = [e for e in entries if e.asset == fields["asset"]]
        entries.sort(key=lambda e: -e.at)
        offset = int(fields.get("ofs", 0))
        return {
            "ledger": {
                e.id: {
                    "refid": f"R{e.id}", "time": e.at / NANO, "type": e.kind, "subtype": "", "aclass": "currency",
                    "asset": e.asset, "amount": f"{e.amount:f}", "fee": f"{e.fee:f}", "balance": f"{e.balance:f}",
                }
                for e in entries[offset : offset + PAGE]
            },
            "count": len(entries),
        }  # fmt: skip

    def _private_getwebsocketstoken(self, _fields: dict[str, str]) -> dict[str, Any]:
        return {"token": "token-of-the-test", "expires": 900}

    def _private_addorder(self, fields: dict[str, str]) -> dict[str, Any]:
        self._may("modify")
        if self.status != "online":
            raise Refused(f"EService:Market in {self.status} mode")
        deadline = fields.get("deadline")
        if deadline is not None and _ns(deadline) < self.now() + self.skew_ns:
            raise Refused("EService:Deadline elapsed")
        pair = self._pair(fields["pair"])
        if pair.status != "online":
            raise Refused(f"EService:Market in {pair.status} mode")
        order = self._order(pair, fields)
        if order.vol < Decimal(pair.ordermin):
            raise Refused("EOrder:Order minimum not met")
        if order.vol * order.limit < Decimal(pair.costmin):
            raise Refused("EOrder:Cost minimum not met")
        if order.cl_ord_id and any(o.cl_ord_id == order.cl_ord_id and o.status == "open" for o in self.orders.values()):
            raise Refused("EGeneral:Invalid arguments:cl_ord_id")
        self._afford(order)
        if fields.get("validate") == "true":
            return {"descr": {"order": f"{order.side} {order.vol:.8f} {pair.altname} @ limit {order.price}"}}
        self.orders[order.txid] = order
        self._tell_order(order, "pending_new")
        self._tell_order(order, "new")
        self.match(order, arrived=True)
        text = f"{order.side} {order.vol:.8f} {pair.altname} @ limit {order.price}"
        return {"txid": [order.txid], "descr": {"order": text}}

    def _order(self, pair: Pair, fields: dict[str, str]) -> Order:
        kind = fields["ordertype"]
        if kind not in ("limit", "stop-loss-limit", "market"):
            raise Refused("EGeneral:Invalid arguments:ordertype")
        if kind == "market":
            fields = fields | {"price": self.prices.get(pair.symbol, "1")}
        for name in ("price", "price2"):
            text = fields.get(name, "")
            if text and -int(Decimal(text).as_tuple().exponent) > pair.pair_decimals:
                raise Refused(f"EOrder:Invalid price:{pair.altname} price can only be specified up to "
                              f"{pair.pair_decimals} decimals.")  # fmt: skip
        vol = Decimal(fields["volume"])
        if -int(vol.as_tuple().exponent) > pair.lot_decimals:
            raise Refused("EGeneral:Invalid arguments:volume")
        client_id = fields.get("cl_ord_id", "")
        if len(client_id) > 18 and len(client_id.replace("-", "")) != 32:
            raise Refused("EGeneral:Invalid arguments:cl_ord_id")
        expires = int(fields.get("expiretm", "0"))
        if (fields.get("timeinforce", "GTC") == "GTD") != bool(expires):
            raise Refused("EGeneral:Invalid arguments:expiretm")
        self._count += 1
        return Order(
            txid=f"O{self._count:05d}-ABCDE-FGHIJK", cl_ord_id=client_id, pair=pair, side=fields["type"],
            ordertype=kind,
            vol=vol, price=fields["price"], price2=fields.get("price2", ""), oflags=fields.get("oflags", "fciq"),
            timeinforce=fields.get("timeinforce", "GTC"), expiretm=expires, at=self.now(),
        )  # fmt: skip

    def _afford(self, order: Order) -> None:
        held = self.held()
        if order.side == "buy":
            have = self.balances.get(order.pair.quote, Decimal(0)) - held.get(order.pair.quote, Decimal(0))
            if order.vol * order.limit * (1 + self.fee_rate) > have:
                raise Refused("EOrder:Insufficient funds")
        else:
            have = self.balances.get(order.pair.base, Decimal(0)) - held.get(order.pair.base, Decimal(0))
            if order.vol > have:
                raise Refused("EOrder:Insufficient funds")

    def _private_cancelorder(self, fields: dict[str, str]) -> dict[str, Any]:
        self._may("modify")
        client_id, txid = fields.get("cl_ord_id"), fields.get("txid")
        for order in list(self.orders.values()):
            if order.status == "open" and ((client_id and order.cl_ord_id == client_id) or order.txid == txid):
                before = self.on_cancel.pop(order.cl_ord_id, None)
                if before is not None and not before():
                    raise Refused("EOrder:Order cannot be cancelled now")
                if order.status == "open":
                    self.close(order, "canceled", "User requested")
                    return {"count": 1}
        raise Refused("EOrder:Unknown order")

    def _private_cancelall(self, _fields: dict[str, str]) -> dict[str, Any]:
        self._may("modify")
        open_orders = [order for order in self.orders.values() if order.status == "open"]
        for order in open_orders:
            before = self.on_cancel.pop(order.cl_ord_id, None)
            if (before is None or before()) and order.status == "open":
                self.close(order, "canceled", "User requested")
        return {"count": len(open_orders)}

    # the market, as the test drives it

    def fill(self, order: Order, vol: Decimal, price: Decimal, fee: Decimal | None = None) -> Trade:
        """One execution of a resting order."""
        assert order.status == "open", order
        assert order.vol_exec + vol <= order.vol, order
        cost = (vol * price).quantize(_MICRO, ROUND_HALF_EVEN)
        charged = (cost * self.fee_rate).quantize(_FEE, ROUND_HALF_EVEN) if fee is None else fee
        sign = 1 if order.side == "buy" else -1
        in_coin = self.fee_in_coin and order.side == "buy"
        coin = (vol * self.fee_rate).quantize(Decimal(1).scaleb(-order.pair.lot_decimals)) if in_coin else Decimal(0)
        charged = Decimal(0) if in_coin else charged
        self.add(order.pair.base, sign * vol - coin)
        self.add(order.pair.quote, -sign * cost - charged)
        number = 40_000_000 + len(self.trades)
        trade = Trade(f"T{7919 * number % 99991:05d}-{number}", number, order, self.now(), price, vol, charged)
        self.trades.append(trade)
        order.vol_exec += vol
        order.cost += cost
        order.fee += charged
        is_filled = order.vol_exec == order.vol
        if is_filled:
            order.status, order.closed_at = "closed", self.now()
        self._tell_trade(trade, "filled" if is_filled else "partially_filled")
        if is_filled:
            self._tell_order(order, "filled")
        for asset, amount, paid in (
            (order.pair.base, sign * vol, coin),
            (order.pair.quote, -sign * cost, charged),
        ):
            self.enter("trade", asset, amount, paid)
        return trade

    def enter(self, kind: str, asset: str, amount: Decimal, fee: Decimal = Decimal(0)) -> Entry:
        """A line of the ledger; the balance is moved by whoever calls."""
        balance = self.balances.get(asset, Decimal(0))
        entry = Entry(f"L{len(self.ledger):05d}-AAAAA-BBBBBB", self.now(), kind, asset, amount, fee, balance)
        self.ledger.append(entry)
        return entry

    def price(self, symbol: str, price: str) -> None:
        for order in self.orders.values():
            if order.open and order.expiretm and order.expiretm * NANO <= self.now():
                self.close(order, "expired", "Expired")
        super().price(symbol, price)

    def prevented(self, order: Order) -> None:
        self.close(order, "canceled", "Self trade prevention")

    def close(self, order: Order, status: str, reason: str) -> None:
        """End an open order: canceled | expired."""
        order.status, order.reason, order.closed_at = status, reason, self.now()
        self._tell_order(order, status)

    # WebSocket v2

    async def _greet(self, socket: web.WebSocketResponse) -> None:
        status = {"version": "2.0.10", "system": "online", "api_version": "v2", "connection_id": 1}
        await socket.send_json({"channel": "status", "type": "update", "data": [status]})

    async def _asked(self, socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        if message["method"] == "ping":
            await socket.send_json({"method": "pong", "req_id": message.get("req_id")})
            return
        params = message["params"]
        answer = {"method": message["method"], "req_id": message.get("req_id"), "success": True, "result": params}
        if params["channel"] == "executions":
            if params.get("token") != "token-of-the-test":
                await socket.send_json(answer | {"success": False, "error": "ESession:Invalid session"})
                return
            await socket.send_json(answer | {"result": {"channel": "executions", "snap_orders": True}})
            self._listens(socket)
            open_orders = [self._update(o, "new") for o in self.orders.values() if o.status == "open"]
            self._sequence += 1
            await socket.send_json(
                {"channel": "executions", "type": "snapshot", "data": open_orders, "sequence": self._sequence}
            )
        elif params["channel"] == "ohlc":
            await socket.send_json(answer)
            for symbol in params["symbol"]:
                self._ohlc.append((socket, symbol, params["interval"]))
                pair = self._pair(symbol)
                await self._tell_bars(pair, "snapshot", pair.bars[-3:])

    async def bar(self, symbol: str, *bars: tuple[int, str, str, str, str, str]) -> None:
        """Bars happen, or the last one changes: (open in s, open, high, low, close, volume)."""
        pair = self._pair(symbol)
        for bar in bars:
            if pair.bars and pair.bars[-1][0] == bar[0]:
                pair.bars[-1] = bar
            else:
                pair.bars.append(bar)
        await self._tell_bars(pair, "update", list(bars))

    async def _tell_bars(self, pair: Pair, kind: str, bars: list[tuple[int, str, str, str, str, str]]) -> None:
        for socket, symbol, interval in list(self._ohlc):
            if symbol == pair.symbol and bars:
                # numbers, not text, as the exchange writes them in this channel
                entries = ",".join(
                    f'{{"symbol":"{symbol}","open":{o},"high":{h},"low":{low},"close":{c},"trades":7,"volume":{volume},'
                    f'"vwap":{c},"interval_begin":"{_iso(ts)}","interval":{interval},"timestamp":"{_iso(ts)}"}}'
                    for ts, o, h, low, c, volume in bars
                )
                await socket.send_str(f'{{"channel":"ohlc","type":"{kind}","data":[{entries}]}}')

    def _update(self, order: Order, kind: str) -> dict[str, Any]:
        status = {"pending_new": "pending_new", "new": "new", "filled": "filled"}.get(kind, kind)
        return {
            "order_id": order.txid, "cl_ord_id": order.cl_ord_id, "symbol": order.pair.symbol,
            "order_qty": float(order.vol), "cum_qty": float(order.vol_exec), "cum_cost": float(order.cost),
            "time_in_force": order.timeinforce, "exec_type": kind, "side": order.side, "order_type": order.ordertype,
            "limit_price_type": "static", "limit_price": float(order.limit), "order_status": status,
            "fee_usd_equiv": float(order.fee), "fee_ccy_pref": "fciq", "timestamp": _iso(self.now() // NANO),
        }  # fmt: skip

    def _tell_order(self, order: Order, kind: str) -> None:
        self._say(self._update(order, kind))

    def _tell_trade(self, trade: Trade, status: str) -> None:
        self._say(
            self._update(trade.order, "trade")
            | {
                "exec_id": trade.id, "trade_id": trade.number, "last_qty": float(trade.vol),
                "last_price": float(trade.price), "liquidity_ind": "t", "cost": float(trade.vol * trade.price),
                "order_status": status, "fees": [{"asset": "USD", "qty": float(trade.fee)}],
            }
        )  # fmt: skip

    def message(self, news: dict[str, Any]) -> dict[str, Any]:
        self._sequence += 1
        return {"channel": "executions", "type": "update", "data": [news], "sequence": self._sequence}

    def _connected(self) -> list[web.WebSocketResponse]:
        return [*self._sockets, *(subscriber for subscriber, _, _ in self._ohlc)]

    def _drop(self, socket: web.WebSocketResponse) -> None:
        super()._drop(socket)
        self._ohlc = [subscription for subscription in self._ohlc if subscription[0] is not socket]


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")


def _ns(text: str) -> int:
    return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * NANO)
