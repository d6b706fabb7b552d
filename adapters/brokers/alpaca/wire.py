"""Messages of Alpaca's Trading API v2 (docs.alpaca.markets/reference), and their exact conversion to integers,
without floats."""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from quantd.adapters.brokers.order_log import Sent
from quantd.adapters.calendars import instant_ns
from quantd.adapters.exchange.numbers import on_tick, text_of
from quantd.trading.instruments import MICRO, NANO
from quantd.trading.orders import Cause, Kind
from quantd.trading.ports import VenueFlow


class Garbled(ValueError):
    """A message of the venue that differs from its documentation."""


class Order(Struct, frozen=True):
    """An order as the venue's API returns it. `qty` is None for an order of an amount of money (`notional`), the prices
    where its type has none, and `symbol` and `side` are empty for an order of several legs."""

    id: str
    client_order_id: str
    status: str
    side: str | None
    symbol: str | None
    type: str | None
    qty: Decimal | None
    notional: Decimal | None
    filled_qty: Decimal
    filled_avg_price: Decimal | None
    limit_price: Decimal | None
    stop_price: Decimal | None
    submitted_at: str | None

    def __post_init__(self) -> None:
        if self.qty is None and self.notional is None:
            raise ValueError("an order without `qty` and `notional`")
        if (self.side in ("buy", "sell")) != bool(self.symbol) or (self.symbol and not self.type):
            raise ValueError("an order without `symbol`, `side` or `type`")
        if (self.limit_price is None and "limit" in (self.type or "")) or (
            self.stop_price is None and self.type in ("stop", "stop_limit")
        ):
            raise ValueError(f"an order of type {self.type} without its price")


class Update(Struct, frozen=True):
    """A message of the stream `trade_updates`; `qty` and `price` belong to the execution, not to the order."""

    event: str
    order: Order
    timestamp: str | None = ""
    qty: Decimal | None = None
    price: Decimal | None = None
    execution_id: str | None = ""
    previous_execution_id: str | None = ""


class StreamData(Struct, frozen=True):
    """The `data` of the stream's control messages."""

    status: str = ""
    streams: list[str] = []
    error: str = ""


class Message(Struct, frozen=True):
    """A message of the stream. `stream` names the kind of message, on which the form of `data` depends."""

    stream: str
    data: msgspec.Raw = msgspec.Raw(b"{}")


class AccountNumber(Struct, frozen=True):
    """What the emergency exit reads of the answer to GET /v2/account."""

    account_number: str


class Account(AccountNumber, frozen=True):
    """The answer to GET /v2/account. `crypto_status` is the permission to trade crypto pairs, None where the venue
    reports none."""

    status: str
    cash: Decimal
    currency: str
    equity: Decimal
    buying_power: Decimal
    non_marginable_buying_power: Decimal
    multiplier: Decimal
    trading_blocked: bool
    account_blocked: bool
    trade_suspended_by_user: bool
    crypto_status: str | None


class Position(Struct, frozen=True):
    """One position in the answer to GET /v2/positions; `qty` is signed. `qty_available` is `qty` less what open
    orders reserve, None where the venue does not say; `market_value` is None without a price."""

    asset_id: str
    symbol: str
    qty: Decimal
    side: Literal["long", "short"]
    market_value: Decimal | None
    qty_available: Decimal | None


class Asset(Struct, frozen=True):
    """The answer to GET /v2/assets/{symbol}: an instrument at the venue. Only a crypto pair has the three sizes.

    `id` stays the same when the symbol changes.
    """

    id: str
    symbol: str
    status: str
    tradable: bool
    fractionable: bool
    shortable: bool
    easy_to_borrow: bool
    min_order_size: Decimal | None = None
    min_trade_increment: Decimal | None = None
    price_increment: Decimal | None = None

    def __post_init__(self) -> None:
        if is_crypto(self.symbol) and None in (self.min_order_size, self.min_trade_increment, self.price_increment):
            raise ValueError("a crypto pair without `min_order_size`, `min_trade_increment` or `price_increment`")


class Clock(Struct, frozen=True):
    """The answer to GET /v2/clock: the venue's time."""

    timestamp: str


class TradeActivity(Struct, frozen=True):
    """One activity of type FILL: an execution. `cum_qty` is the filled quantity of its order after it."""

    id: str
    order_id: str
    symbol: str
    side: Literal["buy", "sell", "sell_short"]
    transaction_time: str
    price: Decimal
    qty: Decimal
    cum_qty: Decimal


class Activity(Struct, frozen=True):
    """One activity in the answer to GET /v2/account/activities: a fill (FILL), or a movement of cash or units.

    Cash has `net_amount`, and units have `symbol` and `qty`. The other keys are in some types of activity only.
    """

    id: str
    activity_type: str
    qty: Decimal | None = None
    date: str = ""
    created_at: str = ""
    net_amount: Decimal | None = None
    symbol: str | None = ""
    description: str | None = ""
    status: str | None = ""


class Cancelled(Struct, frozen=True):
    """One order in the answer to DELETE /v2/orders, with the status of its cancel."""

    id: str
    status: int


class Refusal(Struct, frozen=True):
    """The body of an error of the venue."""

    message: str
    code: int | None = None


_CONTEXT: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)
_MAX_EXPONENT: Final = 20
"""Maximum decimal exponent of an amount."""

_ZONE: Final = ZoneInfo("America/New_York")
"""The venue dates activities in the time of its exchanges."""


def whole(value: Decimal, scale: int) -> int:
    """Convert a decimal to whole units of 1/scale, rounded half-even. Raises Garbled for NaN, infinity or a huge
    number."""
    if not value.is_finite() or value.adjusted() > _MAX_EXPONENT:
        raise Garbled(f"{str(value)[:40]!r} is not an amount")
    return int(_CONTEXT.to_integral_exact(_CONTEXT.multiply(value, Decimal(scale))))


def nano(value: Decimal | None) -> int:
    """Convert a decimal to nano-units (1e-9); None becomes 0."""
    return 0 if value is None else whole(value, NANO)


def micro(value: Decimal | None) -> int | None:
    """Convert a decimal to micro-currency (1e-6); None stays None."""
    return None if value is None else whole(value, MICRO)


def instant(text: str) -> int:
    """Return the ns UTC of an RFC 3339 text, to the last digit. Raises Garbled for text without a zone or time."""
    try:
        return instant_ns(text)
    except ValueError:
        raise Garbled(f"{text[:40]!r} is not a time with a zone") from None


ENDS: Final[dict[str, Cause]] = {
    "filled": Cause.LAST_FILL,
    "canceled": Cause.CANCELLED,
    "expired": Cause.EXPIRED,
    "rejected": Cause.REJECTED,
    "replaced": Cause.CANCELLED,
}
OPEN: Final = frozenset(
    {
        "new", "partially_filled", "accepted", "pending_new", "accepted_for_bidding", "pending_cancel",
        "pending_replace",
        "pending_review", "held", "stopped", "suspended", "calculated", "done_for_day",
    }
)  # fmt: skip
"""States of an order that has not ended."""


def ended(order: Order) -> Cause | None:
    """Return the cause of an order's end, None while the order is open. Raises Garbled for an undocumented status."""
    cause = ENDS.get(order.status)
    if cause is None and order.status not in OPEN:
        raise Garbled(f"an order is in state {order.status[:40]!r}, which the venue does not document")
    if cause == Cause.REJECTED and order.filled_qty:
        return Cause.CANCELLED  # the filled part remains
    return cause


def is_crypto(symbol: str) -> bool:
    """Whether a symbol is a crypto pair, which trades round the clock and in fractions."""
    return "/" in symbol


def tick_nano(symbol: str, price_nano: int, pair_tick: int) -> int:
    """Return the tick (minimum price step) at a price, in nano-currency: `pair_tick` for a crypto pair, or 1 if
    `pair_tick` is 0 (unknown).

    A share has a tick of 1 cent at a price of $1 or more, and of 0.01 cent below (Rule 612 of Regulation NMS).
    """
    if is_crypto(symbol):
        return pair_tick or 1
    return NANO // 100 if price_nano >= NANO else NANO // 10_000


def body(sent: Sent, symbol: str, lot_nano: int, pair_tick: int = 0) -> dict[str, str] | str:
    """Return the order as the JSON fields of the venue's API, or the reason why the venue has no such order.

    The limit price is rounded to the tick away from the market (down for a purchase, up for a sale), so that the order
    never accepts a worse price than its unrounded limit. The trigger price of a stop is rounded towards the market.
    `pair_tick` is the tick (price step) of a crypto pair, 0 if unknown.

    Lots are negative for a sale, prices are in nano-currency. `sent.end` is 0 for an order without an end.
    """
    size_nano = abs(sent.lots) * lot_nano
    sells = sent.lots < 0
    kind = Kind(sent.kind)
    fraction = size_nano % NANO != 0
    limit = on_tick(sent.worst_nano, tick_nano(symbol, sent.worst_nano, pair_tick), down=not sells)
    if limit <= 0:
        return f"its limit {text_of(sent.worst_nano)} is below the venue's least price"
    # the venue's words: gtc is until cancelled, day is this day, opg and cls are the opening and closing auction
    if is_crypto(symbol):
        if kind in (Kind.OPEN, Kind.CLOSE):
            return "a pair that trades round the clock has no auction"
        in_force = "gtc"
    elif kind == Kind.OPEN:
        in_force = "opg"
    elif kind == Kind.CLOSE:
        in_force = "cls"
    else:
        # fractions of a share are accepted for the day only
        in_force = "day" if sent.end or fraction else "gtc"
    if fraction and in_force in ("opg", "cls"):
        return "fractions of a share trade in no auction"
    order = {
        "symbol": symbol,
        "qty": text_of(size_nano),
        "side": "sell" if sells else "buy",
        "type": "stop_limit" if kind == Kind.STOP else "limit",
        "time_in_force": in_force,
        "limit_price": text_of(limit),
        "client_order_id": sent.id,
    }
    if kind == Kind.STOP:
        trigger = on_tick(sent.stop_nano, tick_nano(symbol, sent.stop_nano, pair_tick), down=not sells)
        if trigger <= 0:
            return "a stop without a trigger price"
        order["stop_price"] = text_of(trigger)
    return order


_KINDS: Final = {
    "CSD": "deposit", "CSW": "withdrawal", "DIV": "dividend", "FEE": "fee", "CFEE": "fee", "PTC": "fee", "PTR": "fee",
    "WH": "fee", "INT": "interest", "CIL": "cash_in_lieu",
}  # fmt: skip
"""Type of activity -> VenueFlow's kind; a longer type, such as DIVNRA, has the kind of its first three letters."""

_TRANSFERS: Final = frozenset({"JNLC", "JNLS", "TRANS", "CSD", "CSW", "ACATC", "ACATS"})
"""Types by which a person moves money or units: a deposit or a withdrawal, by the sign."""

_BOOKED_OTHERWISE: Final = frozenset(
    {
        "FILL", "SPLIT", "SSO", "SSP", "MA", "NC", "REORG", "SC", "SPIN", "OPASN", "OPEXP", "OPXRC", "OPCA", "OPTRD",
        "MISC", "JNL",
    }
)  # fmt: skip
"""Types of executions and corporate actions: other parts of quantd book their units."""


def is_known(activity: Activity) -> bool:
    """Whether the venue documents the type of an activity."""
    kind = activity.activity_type
    return kind in _KINDS or kind[:3] in _KINDS or kind in _TRANSFERS or kind in _BOOKED_OTHERWISE


def flow(activity: Activity, listed: int = 0) -> VenueFlow | None:
    """Return the movement of cash, or of units of a crypto pair, that an activity reports; None for an activity that
    moves neither.

    An activity with a date but no time counts at the end of that day. An activity without a date counts at `listed`
    (ns), the time when it was first listed. Units of an undocumented type are income, or a fee if negative. Raises
    Garbled for an activity with neither date nor `listed`, and for one without the key that says how much it moves.

    Cash is in micro-currency, units are in nano-units; both are negative if they leave the account.
    """
    if activity.activity_type == "FILL" or activity.status in ("canceled", "pending"):
        return None
    amount, units = micro(activity.net_amount) or 0, _units(activity)
    if activity.qty is not None and not activity.symbol:
        raise Garbled("an activity with `qty` and without `symbol`")
    if not amount and not units:
        says_nothing = activity.net_amount is None or (activity.symbol and activity.qty is None)
        if says_nothing and activity.activity_type not in _BOOKED_OTHERWISE:
            raise Garbled("an activity without its `net_amount` or `qty`")
        return None
    kind = _KINDS.get(activity.activity_type) or _KINDS.get(activity.activity_type[:3], "other")
    if activity.activity_type in _TRANSFERS:
        kind = "deposit" if (amount or units) > 0 else "withdrawal"
    elif units:
        kind = "fee" if units < 0 else "interest"
    return VenueFlow(
        id=activity.id,
        ts=_time_of(activity, listed),
        kind=kind,
        amount_micro=amount,
        symbol=activity.symbol or "",
        text=activity.description or activity.activity_type,
        units_nano=units,
    )


def _units(activity: Activity) -> int:
    """Return the signed nano-units of a coin that an activity moves; 0 for shares, which fills and corporate actions
    move.

    An activity that moves cash, such as a dividend, moves no units: its quantity is the position on which the cash is
    paid.
    """
    symbol = activity.symbol or ""
    if activity.net_amount or activity.activity_type in _BOOKED_OTHERWISE or not symbol.endswith(_QUOTES):
        return 0
    return nano(activity.qty)


_QUOTES: Final = ("USD", "USDT", "USDC", "BTC")
"""Currencies of the venue's pairs, whose symbols an activity writes with or without a slash."""


def _time_of(activity: Activity, listed: int) -> int:
    """Return the time of an activity (ns UTC): its time stamp, else the time in its id, else the end of its date (a UTC
    day).

    An id begins with YYYYMMDDhhmmssfff in New York time; zeros after the date mean that the id has a date only.
    """
    if activity.created_at:
        return instant(activity.created_at)
    digits = activity.id.partition("::")[0]
    try:
        if len(digits) == 17 and digits.isdigit() and digits[8:] != "000000000":
            moment = datetime.strptime(digits[:14], "%Y%m%d%H%M%S").replace(tzinfo=_ZONE)
            return round(moment.timestamp()) * NANO + int(digits[14:]) * MICRO
        day = datetime.strptime(activity.date[:10] or digits[:8], "%Y-%m-%d" if activity.date else "%Y%m%d")
    except ValueError:
        if listed:
            return listed
        raise Garbled(f"activity {activity.id[:60]!r} has no date") from None
    end = day.replace(tzinfo=UTC) + timedelta(days=1)
    return round(end.timestamp()) * NANO - 1
