"""The books of a venue that trades as Alpaca does: an account, its orders and executions, and what it refuses in which
words.

Everything is exact (Decimal). Prices and fills come from the test; nothing happens by itself unless `auto` is set.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from itertools import count
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from tests.support.venues import alpaca_habits
from tests.support.venues.alpaca_habits import Habits

Json = dict[str, Any]

OPEN = (
    "accepted",
    "pending_new",
    "new",
    "partially_filled",
    "held",
    "pending_cancel",
    "pending_replace",
    "done_for_day",
)
ZONE = ZoneInfo("America/New_York")
PENNY, HUNDREDTH = Decimal("0.01"), Decimal("0.0001")


class Refused(Exception):
    """The venue refuses: HTTP status, its own code, its words."""

    def __init__(self, status: int, code: int, message: str, **more: str) -> None:
        self.status, self.body = status, {"code": code, "message": message, **more}
        super().__init__(message)


@dataclass
class Listed:
    """One asset."""

    symbol: str
    tradable: bool = True
    fractionable: bool = True
    shortable: bool = True
    status: str = "active"
    price: Decimal = Decimal(100)
    number: int = 0
    id: str = ""
    """The id that stays when the symbol changes; "" gives one of its number."""

    @property
    def crypto(self) -> bool:
        return "/" in self.symbol

    def json(self) -> Json:
        listing: Json = {
            "id": self.id or str(UUID(int=0xA55E << 64 | self.number)),
            "class": "crypto" if self.crypto else "us_equity",
            "exchange": "CRYPTO" if self.crypto else "ARCA",
            "symbol": self.symbol,
            "name": f"{self.symbol} as listed",
            "status": self.status,
            "tradable": self.tradable,
            "marginable": not self.crypto,
            "maintenance_margin_requirement": 30,
            "shortable": self.shortable,
            "easy_to_borrow": self.shortable,
            "fractionable": self.fractionable,
            "attributes": [],
        }
        if self.crypto:
            listing |= {"min_order_size": "0.0001", "min_trade_increment": "0.0001", "price_increment": "0.5"}
        return listing


@dataclass
class Placed:
    """One order of the account; `foreign` was placed by somebody else."""

    id: str
    client_id: str
    symbol: str
    side: str
    qty: Decimal
    kind: str
    in_force: str
    limit: Decimal | None
    stop: Decimal | None
    created: int
    number: int
    status: str = "new"
    filled: Decimal = Decimal(0)
    notional: Decimal = Decimal(0)
    updated: int = 0
    ended: int = 0
    replaces: str | None = None
    replaced_by: str | None = None
    foreign: bool = False

    @property
    def open(self) -> bool:
        return self.status in OPEN

    @property
    def left(self) -> Decimal:
        return self.qty - self.filled


@dataclass
class Book:
    """The account and its orders. `say(event, order, more)` is told of everything that the stream would tell."""

    now: Callable[[], int]
    cash: Decimal = Decimal(1_000_000)
    multiplier: int = 1
    auto: bool = False
    slow_cancel: bool = False
    say: Callable[[str, Placed, Json], None] = lambda event, order, more: None
    assets: dict[str, Listed] = field(default_factory=dict)
    positions: dict[str, Decimal] = field(default_factory=dict)
    orders: dict[str, Placed] = field(default_factory=dict)
    by_client: dict[str, list[Placed]] = field(default_factory=dict)
    activities: list[Json] = field(default_factory=list)
    executed: dict[str, tuple[str, Decimal, Decimal]] = field(default_factory=dict)
    """Order -> (id, quantity, price) of its last execution, as it holds now."""
    hidden: int = 0
    """So many of the newest executions are not listed yet."""
    account_status: str = "ACTIVE"
    currency: str = "USD"
    trading_blocked: bool = False
    refuse_cancels: set[str] = field(default_factory=set)
    fill_on_cancel: dict[str, tuple[Decimal, Decimal]] = field(default_factory=dict)
    habits: Habits = field(default_factory=Habits)
    ids: "count[int]" = field(default_factory=lambda: count(1))
    last: int = 0

    def copy(self) -> "Book":
        """The book as it is now, for an answer that is behind the truth."""
        orders = {id: replace(order) for id, order in self.orders.items()}
        by_client = {name: [orders[order.id] for order in placed] for name, placed in self.by_client.items()}
        return replace(
            self, assets={name: replace(asset) for name, asset in self.assets.items()}, orders=orders,
            positions=dict(self.positions), by_client=by_client, activities=list(self.activities),
        )  # fmt: skip

    # ---------------------------------------------------------------- time and ids

    def tick(self) -> int:
        """Now, never twice the same microsecond."""
        self.last = max(self.now(), self.last + 1_000)
        return self.last

    def id(self) -> str:
        return str(UUID(int=0xA1FACA << 96 | next(self.ids)))

    # ---------------------------------------------------------------- what clients ask for

    def place(self, body: Json, *, foreign: bool = False) -> Placed:
        """A new order, or Refused."""
        order = self._checked(body)
        order.foreign = foreign
        self._enter(order)
        self.say("new", order, {})
        if self.auto:
            self.match(order.symbol)
        return order

    def _enter(self, order: Placed) -> None:
        self.orders[order.id] = order
        self.by_client.setdefault(order.client_id, []).append(order)

    def _checked(self, body: Json, replacing: Placed | None = None) -> Placed:
        symbol = str(body.get("symbol", ""))
        asset = self.assets.get(symbol)
        if asset is None:
            raise Refused(422, 42210000, f'asset "{symbol}" not found')
        if not asset.tradable or asset.status != "active":
            raise Refused(422, 42210000, f"asset {symbol} is not tradable")
        client_id = str(body.get("client_order_id") or self.id())
        if len(client_id) > 128:
            raise Refused(422, 40010001, "client_order_id must be no more than 128 characters")
        if client_id in self.by_client:
            raise Refused(422, 40010001, "client_order_id must be unique")
        qty, side, kind = _number(body, "qty"), body.get("side"), body.get("type")
        in_force = body.get("time_in_force")
        if qty is None or qty <= 0:
            raise Refused(422, 40010001, "qty must be > 0")
        if side not in ("buy", "sell"):
            raise Refused(422, 40010001, "invalid side")
        if kind not in ("market", "limit", "stop", "stop_limit"):
            raise Refused(422, 40010001, "invalid order type")
        limit, stop = _number(body, "limit_price"), _number(body, "stop_price")
        if kind in ("limit", "stop_limit") and limit is None:
            raise Refused(422, 40010001, f"{kind} orders require limit price")
        if kind in ("stop", "stop_limit") and stop is None:
            raise Refused(422, 40010001, f"{kind} orders require stop price")
        for name, price in (("limit_price", limit), ("stop_price", stop)):
            self._price(asset, name, price)
        self._in_force(asset, str(kind), str(in_force), qty)
        if self.trading_blocked or self.account_status != "ACTIVE":
            raise Refused(403, 40310000, "account is restricted from trading")
        at = self.tick()
        order = Placed(
            self.id(), client_id, symbol, str(side), qty, str(kind), str(in_force), limit, stop, at, len(self.orders),
            updated=at,
        )  # fmt: skip
        self._afford(asset, order, replacing)
        return order

    def _price(self, asset: Listed, name: str, price: Decimal | None) -> None:
        if price is None:
            return
        if price <= 0:
            raise Refused(422, 40010001, f"{name} must be > 0")
        step = Decimal("0.5") if asset.crypto else PENNY if price >= 1 else HUNDREDTH
        if price % step:
            words = f"invalid {name} {price}. sub-penny increment does not fulfill minimum pricing criteria"
            raise Refused(422, 42210000, words)

    def _in_force(self, asset: Listed, kind: str, in_force: str, qty: Decimal) -> None:
        if asset.crypto:
            if in_force not in ("gtc", "ioc"):
                raise Refused(422, 42210000, "invalid crypto time_in_force")
            if kind == "stop":
                raise Refused(422, 42210000, "invalid order type for crypto order")
            if qty % Decimal("0.0001"):
                raise Refused(422, 42210000, "qty increment must be 0.0001")
            return
        if in_force not in ("day", "gtc", "opg", "cls", "ioc", "fok"):
            raise Refused(422, 40010001, "invalid time_in_force")
        if in_force in ("opg", "cls") and kind not in ("market", "limit"):
            raise Refused(422, 42210000, f"{in_force} orders must be market or limit orders")
        if qty % 1:
            if not asset.fractionable:
                raise Refused(403, 40310000, f'asset "{asset.symbol}" is not fractionable')
            if in_force != "day":
                raise Refused(422, 42210000, "fractional orders must be DAY orders")

    def _afford(self, asset: Listed, order: Placed, replacing: Placed | None) -> None:
        price = order.limit or asset.price
        cost = order.qty * price
        if not asset.crypto and cost < 1:
            raise Refused(403, 40310000, "cost basis must be >= minimal amount of order 1")
        if refused := alpaca_habits.refusal(self, asset, order, cost):
            raise Refused(*refused)
        held = self.positions.get(asset.symbol, Decimal(0))
        resting = [o for o in self.orders.values() if o.open and o.symbol == asset.symbol and o is not replacing]
        if order.side == "sell":
            selling = sum((o.left for o in resting if o.side == "sell"), Decimal(0))
            if held > 0:
                if order.qty > held - selling:
                    words = (
                        f"insufficient qty available for order (requested: {order.qty}, available: {held - selling})"
                    )
                    raise Refused(403, 40310000, words, symbol=asset.symbol)
                return
            if asset.crypto:
                words = f"insufficient balance for {asset.symbol} (requested: {order.qty}, available: {held})"
                raise Refused(403, 40310000, words)
            if not asset.shortable:
                raise Refused(422, 42210000, f'asset "{asset.symbol}" cannot be sold short')
            if order.qty % 1:
                raise Refused(422, 42210000, "fractional orders cannot be sold short")
        elif held < 0:
            if order.qty > -held:
                words = f"insufficient qty available for order (requested: {order.qty}, available: {-held})"
                raise Refused(403, 40310000, words)
            return
        if cost > self.buying_power(replacing):
            raise Refused(403, 40310000, "insufficient buying power", buying_power=str(self.buying_power()))

    def buying_power(self, without: Placed | None = None) -> Decimal:
        """What new orders may cost: open ones that open a position are reserved."""
        reserved = Decimal(0)
        for order in self.orders.values():
            opening = order.side == "buy" or self.positions.get(order.symbol, Decimal(0)) <= 0
            if order.open and opening and order is not without:
                reserved += order.left * (order.limit or self.assets[order.symbol].price)
        shorts = sum(
            (-qty * self.assets[s].price for s, qty in self.positions.items() if qty < 0 and s in self.assets),
            Decimal(0),
        )
        return max((self.cash - 2 * shorts) * self.multiplier - reserved, Decimal(0))

    def cancel(self, order_id: str) -> None:
        """Take a cancel, or Refused."""
        order = self.orders.get(order_id)
        if order is None:
            raise Refused(404, 40410000, f"order not found for {order_id}")
        if order.client_id in self.fill_on_cancel:
            qty, price = self.fill_on_cancel.pop(order.client_id)
            self.fill(order, qty, price)
        if order.client_id in self.refuse_cancels:
            self.refuse_cancels.discard(order.client_id)
            raise Refused(422, 42210000, "order is not cancelable")
        if not order.open:
            raise Refused(422, 42210000, f'order is already in "{order.status}" state')
        if order.status == "pending_cancel":
            raise Refused(422, 42210000, "order pending cancel")
        if self.slow_cancel:
            self._become(order, "pending_cancel")
        else:
            self.end(order, "canceled")

    def liquidate(self, symbol: str) -> Placed:
        """Close a position by a market order, or Refused."""
        held = next((s for s in self.positions if s.replace("/", "") == symbol.replace("/", "")), None)
        if held is None:
            raise Refused(404, 40410000, f"position not found: {symbol}")
        qty = self.positions[held]
        resting = [o for o in self.orders.values() if o.open and o.symbol == held]
        free = abs(qty) - sum((o.left for o in resting if (o.side == "sell") == (qty > 0)), Decimal(0))
        if free < abs(qty):
            words = f"insufficient qty available for order (requested: {abs(qty)}, available: {free})"
            raise Refused(403, 40310000, words)
        return self.place(
            {
                "symbol": held, "qty": text(abs(qty)), "side": "sell" if qty > 0 else "buy", "type": "market",
                "time_in_force": "gtc" if "/" in held else "day",
            }
        )  # fmt: skip

    def replace(self, order_id: str, body: Json) -> Placed:
        """Change an order, or Refused."""
        old = self.orders.get(order_id)
        if old is None:
            raise Refused(404, 40410000, f"order not found for {order_id}")
        if old.status not in ("new", "partially_filled"):
            raise Refused(422, 42210000, f'unable to replace order, order is in "{old.status}" state')
        merged = {
            "symbol": old.symbol, "qty": str(old.qty), "side": old.side, "type": old.kind,
            "time_in_force": old.in_force, "limit_price": old.limit, "stop_price": old.stop,
        } | {k: v for k, v in body.items() if v is not None}  # fmt: skip
        if Decimal(str(merged["qty"])) != old.qty and (old.qty % 1 or Decimal(str(merged["qty"])) % 1):
            raise Refused(422, 42210000, "qty of a fractional order cannot be changed")
        new = self._checked(merged, replacing=old)
        new.replaces, old.replaced_by = old.id, new.id
        self._enter(new)
        self.end(old, "replaced")
        self.say("new", new, {})
        return new

    # ---------------------------------------------------------------- what the market does

    def fill(self, order: Placed, qty: Decimal, price: Decimal) -> None:
        """One execution."""
        assert order.open, f"{order.status} orders do not fill"
        assert 0 < qty <= order.left, f"{qty} of {order.left}"
        signed = qty if order.side == "buy" else -qty
        self.trade(order.symbol, signed, price)
        alpaca_habits.charge(self, order.symbol, signed, price)
        order.filled += qty
        order.notional += qty * price
        is_filled = order.filled == order.qty
        if is_filled or order.status != "pending_cancel":
            order.status = "filled" if is_filled else "partially_filled"
        at = order.updated = self.tick()
        if is_filled:
            order.ended = at
        execution = self.id()
        self.executed[order.id] = execution, qty, price
        self.activities.append(
            {
                "id": activity_id(at, execution), "activity_type": "FILL", "account_id": self.account_id(),
                "transaction_time": iso(at), "type": "fill" if is_filled else "partial_fill", "price": text(price),
                "qty": text(qty), "side": order.side, "symbol": order.symbol, "leaves_qty": text(order.left),
                "order_id": order.id, "cum_qty": text(order.filled), "order_status": order.status, "_at": at,
            }
        )  # fmt: skip
        more = {
            "execution_id": execution, "price": text(price), "qty": text(qty),
            "position_qty": text(self.positions.get(order.symbol, Decimal(0))),
        }  # fmt: skip
        self.say("fill" if is_filled else "partial_fill", order, more)

    def take_back(self, order: Placed, qty: Decimal | None = None, price: Decimal | None = None) -> None:
        """The last execution of an order is busted, or corrected to another quantity and price. The order stays as it
        is."""
        execution, last_qty, last_price = self.executed[order.id]
        side = 1 if order.side == "buy" else -1
        self.trade(order.symbol, -side * last_qty, last_price)
        order.filled -= last_qty
        order.notional -= last_qty * last_price
        more = {"execution_id": self.id(), "previous_execution_id": execution}
        if qty is not None and price is not None:
            self.trade(order.symbol, side * qty, price)
            order.filled += qty
            order.notional += qty * price
            more |= {"qty": text(qty), "price": text(price)}
            self.executed[order.id] = more["execution_id"], qty, price
        order.updated = self.tick()
        self.say("trade_bust" if qty is None else "trade_correct", order, more)

    def trade(self, symbol: str, signed: Decimal, price: Decimal) -> None:
        """Move lots and cash."""
        held = self.positions.get(symbol, Decimal(0)) + signed
        if held:
            self.positions[symbol] = held
        else:
            self.positions.pop(symbol, None)
        self.cash -= signed * price

    def end(self, order: Placed, status: str) -> None:
        """An open order ends."""
        assert order.open
        order.ended = self.tick()
        self._become(order, status)

    def _become(self, order: Placed, status: str) -> None:
        order.status = status
        order.updated = self.tick()
        self.say(status, order, {})

    def price(self, symbol: str, price: Decimal) -> None:
        """The market moves; with `auto` what is marketable then fills."""
        self.assets[symbol].price = price
        if self.auto:
            self.match(symbol)

    def match(self, symbol: str) -> None:
        """Fill at the price what is marketable, triggers of stops included."""
        price = self.assets[symbol].price
        for order in [o for o in self.orders.values() if o.open and o.symbol == symbol]:
            buys = order.side == "buy"
            if order.stop is not None and order.kind.startswith("stop"):
                if (price < order.stop) if buys else (price > order.stop):
                    continue
                order.kind = "limit" if order.limit is not None else "market"
            if order.limit is None or (price <= order.limit if buys else price >= order.limit):
                self.fill(order, order.left, price)

    def move_cash(
        self, kind: str, amount: Decimal, symbol: str = "", *, sub_type: str = "", dated: bool = False
    ) -> None:
        """A deposit, a dividend and so on, by Alpaca's own type; a `dated` one has no time of day."""
        self.cash += amount
        at = self.tick()
        day = datetime.fromtimestamp(at // 10**9, ZONE).date()
        id = f"{day:%Y%m%d}000000000::{self.id()}" if dated else activity_id(at, self.id())
        self.activities.append(
            {
                "id": id, "activity_type": kind, "activity_sub_type": sub_type, "account_id": self.account_id(),
                "date": day.isoformat(), "net_amount": text(amount), "currency": self.currency, "group_id": self.id(),
                "description": f"{kind} of the test", "status": "executed", "_at": at,
            }
            | ({"symbol": symbol, "qty": "1", "per_share_amount": text(amount)} if symbol else {})
        )  # fmt: skip

    # ---------------------------------------------------------------- in JSON

    @staticmethod
    def account_id() -> str:
        return str(UUID(int=0xACC0))

    def account_json(self) -> Json:
        longs = sum(
            (q * self.assets[s].price for s, q in self.positions.items() if q > 0 and s in self.assets), Decimal(0)
        )
        shorts = sum(
            (q * self.assets[s].price for s, q in self.positions.items() if q < 0 and s in self.assets), Decimal(0)
        )
        return {
            "id": self.account_id(), "account_number": "PA0TEST", "status": self.account_status,
            "crypto_status": "ACTIVE", "currency": self.currency, "cash": text(self.cash),
            "buying_power": text(self.buying_power()), "regt_buying_power": text(self.buying_power()),
            "non_marginable_buying_power": text(self.cash), "accrued_fees": "0",
            "portfolio_value": text(self.cash + longs + shorts),
            "equity": text(self.cash + longs + shorts), "last_equity": text(self.cash + longs + shorts),
            "long_market_value": text(longs), "short_market_value": text(shorts), "multiplier": str(self.multiplier),
            "trading_blocked": self.trading_blocked, "transfers_blocked": False, "account_blocked": False,
            "trade_suspended_by_user": False, "shorting_enabled": True, "created_at": "2023-01-01T18:20:20.272275Z",
            "initial_margin": "0", "maintenance_margin": "0", "sma": "0",
        }  # fmt: skip

    def positions_json(self) -> list[Json]:
        positions = []
        for symbol, qty in self.positions.items():
            asset = self.assets.get(symbol) or Listed(symbol)
            value = qty * asset.price
            positions.append(
                {
                    "asset_id": asset.json()["id"], "symbol": symbol.replace("/", ""),
                    "exchange": asset.json()["exchange"],
                    "asset_class": asset.json()["class"], "asset_marginable": True, "qty": text(qty),
                    "qty_available": text(self.available(symbol)), "avg_entry_price": text(asset.price),
                    "side": "long" if qty > 0 else "short", "market_value": text(value), "cost_basis": text(value),
                    "unrealized_pl": "0", "unrealized_plpc": "0", "unrealized_intraday_pl": "0",
                    "unrealized_intraday_plpc": "0", "current_price": text(asset.price),
                    "lastday_price": text(asset.price), "change_today": "0",
                }
            )  # fmt: skip
        return positions

    def available(self, symbol: str) -> Decimal:
        """A position less what open orders hold of it; signed as the position."""
        qty = self.positions[symbol]
        closing = "sell" if qty > 0 else "buy"
        held = sum(
            (o.left for o in self.orders.values() if o.open and o.symbol == symbol and o.side == closing), Decimal(0)
        )
        return qty - held if qty > 0 else qty + held

    def order_json(self, order: Placed) -> Json:
        def at(when: int, *statuses: str) -> str | None:
            return iso(when) if when and order.status in statuses else None

        return {
            "id": order.id, "client_order_id": order.client_id, "created_at": iso(order.created),
            "updated_at": iso(order.updated), "submitted_at": iso(order.created),
            "filled_at": at(order.ended, "filled"),
            "expired_at": at(order.ended, "expired"), "canceled_at": at(order.ended, "canceled"),
            "failed_at": at(order.ended, "rejected"), "replaced_at": at(order.ended, "replaced"),
            "replaced_by": order.replaced_by, "replaces": order.replaces,
            "asset_id": self.assets[order.symbol].json()["id"], "symbol": order.symbol,
            "asset_class": self.assets[order.symbol].json()["class"], "notional": None, "qty": text(order.qty),
            "filled_qty": text(order.filled),
            "filled_avg_price": text(round(order.notional / order.filled, 9)) if order.filled else None,
            "order_class": "", "order_type": order.kind, "type": order.kind, "side": order.side,
            "position_intent": "buy_to_open" if order.side == "buy" else "sell_to_close",
            "time_in_force": order.in_force, "limit_price": None if order.limit is None else text(order.limit),
            "stop_price": None if order.stop is None else text(order.stop), "status": order.status,
            "extended_hours": False, "legs": None, "trail_percent": None, "trail_price": None, "hwm": None,
            "subtag": None, "source": None, "expires_at": None,
        }  # fmt: skip

    def listed(self) -> list[Json]:
        """Activities that the venue lists by now."""
        fills = [a for a in self.activities if a["activity_type"] == "FILL"]
        hidden = {a["id"] for a in fills[len(fills) - self.hidden :]} if self.hidden else set()
        hidden |= self.habits.hidden
        return [a for a in self.activities if a["id"] not in hidden]


def _number(body: Json, name: str) -> Decimal | None:
    value = body.get(name)
    if value is None:
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise Refused(422, 40010001, f"{name} must be a number") from None
    if not number.is_finite():
        raise Refused(422, 40010001, f"{name} must be a number")
    return number


def text(value: Decimal) -> str:
    """Exact, without exponent."""
    digits = format(value, "f")
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def iso(ts: int) -> str:
    """RFC 3339 with nanoseconds, as the venue writes it."""
    return datetime.fromtimestamp(ts // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ts % 10**9:09d}Z"


def activity_id(ts: int, number: str) -> str:
    """The venue's form: local time of its exchanges to the millisecond, and an id."""
    return datetime.fromtimestamp(ts // 10**9, ZONE).strftime("%Y%m%d%H%M%S") + f"{ts % 10**9 // 10**6:03d}::{number}"
