"""Alpaca's JSON and our values: orders, accounts and activities as its Trading API v2 documents them
(docs.alpaca.markets/reference), exact, without floats."""

from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from quantd.adapters.brokers.order_log import Sent
from quantd.adapters.calendars import instant_ns
from quantd.trading.instruments import MICRO, NANO
from quantd.trading.orders import Cause, Kind
from quantd.trading.ports import VenueFlow


class Garbled(ValueError):
    """A message that is not what the venue's documentation says."""


class Order(Struct, frozen=True):
    """An order as the venue tells it."""

    id: str
    client_order_id: str
    status: str
    side: str = ""
    symbol: str | None = ""
    qty: Decimal | None = None
    filled_qty: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    submitted_at: str | None = ""


class Update(Struct, frozen=True):
    """One message of the stream `trade_updates`; `qty` and `price` are those of an execution, which may take the place
    of a previous one."""

    event: str
    order: Order
    timestamp: str | None = ""
    qty: Decimal | None = None
    price: Decimal | None = None
    execution_id: str | None = ""
    previous_execution_id: str | None = ""


class StreamData(Struct, frozen=True):
    """What stands in `data` of the stream's own answers."""

    status: str = ""
    streams: list[str] = []
    error: str = ""


class Message(Struct, frozen=True):
    """Any message of the stream; `data` depends on `stream`."""

    stream: str
    data: msgspec.Raw = msgspec.Raw(b"{}")


class Account(Struct, frozen=True):
    """GET /v2/account."""

    status: str
    cash: Decimal
    currency: str = "USD"
    equity: Decimal | None = None
    buying_power: Decimal | None = None
    non_marginable_buying_power: Decimal | None = None
    multiplier: Decimal | None = None
    trading_blocked: bool = False
    account_blocked: bool = False
    trade_suspended_by_user: bool = False


class Position(Struct, frozen=True):
    """One of GET /v2/positions; `qty` is signed."""

    symbol: str
    qty: Decimal
    side: str = "long"


class Asset(Struct, frozen=True):
    """GET /v2/assets/{symbol}."""

    symbol: str
    status: str
    tradable: bool
    fractionable: bool = False
    shortable: bool = False
    easy_to_borrow: bool = False
    min_trade_increment: Decimal | None = None
    price_increment: Decimal | None = None


class Clock(Struct, frozen=True):
    """GET /v2/clock."""

    timestamp: str


class Activity(Struct, frozen=True):
    """One of GET /v2/account/activities: a FILL, or cash that moved."""

    id: str
    activity_type: str
    order_id: str = ""
    transaction_time: str = ""
    price: Decimal | None = None
    qty: Decimal | None = None
    cum_qty: Decimal | None = None
    date: str = ""
    created_at: str = ""
    net_amount: Decimal | None = None
    symbol: str | None = ""
    description: str | None = ""
    status: str | None = ""


class Refusal(Struct, frozen=True):
    """The body of an error. Without a message it is not the venue that speaks."""

    message: str
    code: int | None = None


_CONTEXT: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)
_TOP: Final = 20
"""Digits before the point beyond which a number is none of an account."""

_ZONE: Final = ZoneInfo("America/New_York")
"""The venue dates activities in the time of its exchanges."""


def whole(value: Decimal, scale: int) -> int:
    """A decimal number in units of 1/scale, half-even where it is finer. Raises Garbled for what is not a number."""
    if not value.is_finite() or value.adjusted() > _TOP:
        raise Garbled(f"{str(value)[:40]!r} is not an amount")
    return int(_CONTEXT.to_integral_exact(_CONTEXT.multiply(value, Decimal(scale))))


def nano(value: Decimal | None) -> int:
    """Nano-units; nothing is zero."""
    return 0 if value is None else whole(value, NANO)


def micro(value: Decimal | None) -> int | None:
    """Micro-currency; None for nothing."""
    return None if value is None else whole(value, MICRO)


def plain(value: Decimal) -> str:
    """Exact decimal text without an exponent."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def text_of(value_nano: int) -> str:
    """Nano-units as the shortest exact decimal text."""
    return plain(_CONTEXT.divide(Decimal(value_nano), Decimal(NANO)))


def instant(text: str) -> int:
    """RFC 3339 -> ns UTC, to the last digit. Raises Garbled."""
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
"""States of an order that may still fill, or whose end is still to come."""


def ended(order: Order) -> Cause | None:
    """What ended an order, None while it is open. Raises Garbled for a state that the venue does not document."""
    cause = ENDS.get(order.status)
    if cause is None and order.status not in OPEN:
        raise Garbled(f"an order in state {order.status[:40]!r}, which is not documented")
    if cause == Cause.REJECTED and order.filled_qty:
        return Cause.CANCELLED  # what is filled stays filled; the rest is gone
    return cause


def is_crypto(symbol: str) -> bool:
    """A pair: trades round the clock, in parts, good till cancelled."""
    return "/" in symbol


def tick_nano(price_nano: int) -> int:
    """The least step of a share's price (Rule 612 of Regulation NMS): a cent from one dollar, a hundredth of
    it below."""
    return NANO // 100 if price_nano >= NANO else NANO // 10_000


def on_tick(price_nano: int, tick: int, up: bool) -> int:
    """The next price on a tick, at or above `price_nano` or at or below it."""
    return -(-price_nano // tick) * tick if up else price_nano // tick * tick


def _step(symbol: str, price_nano: int, pair_tick: int) -> int:
    """The step of a price: of a pair what the venue says, or none that we know of."""
    return (pair_tick or 1) if is_crypto(symbol) else tick_nano(price_nano)


def body(sent: Sent, symbol: str, lot_nano: int, pair_tick: int = 0) -> dict[str, str] | str:
    """An order as the venue takes it, or in words why it takes none such.

    The limit is rounded to the venue's tick away from the market, the trigger of a stop towards it: the worst price
    never becomes worse, and a stop never sleeps longer than asked. `pair_tick` is the step of a pair's price.
    """
    size_nano = abs(sent.lots) * lot_nano
    sells = sent.lots < 0
    kind = Kind(sent.kind)
    fraction = size_nano % NANO != 0
    limit = on_tick(sent.worst_nano, _step(symbol, sent.worst_nano, pair_tick), sells)
    if limit <= 0:
        return f"its limit {text_of(sent.worst_nano)} is below the venue's least price"
    if is_crypto(symbol):
        if kind in (Kind.OPEN, Kind.CLOSE):
            return "a pair that trades round the clock has no auction"
        in_force = "gtc"
    elif kind == Kind.OPEN:
        in_force = "opg"
    elif kind == Kind.CLOSE:
        in_force = "cls"
    else:
        # parts of a share are taken for the day only
        in_force = "day" if sent.end or fraction else "gtc"
    if fraction and in_force in ("opg", "cls"):
        return "parts of a share trade in no auction"
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
        trigger = on_tick(sent.stop_nano, _step(symbol, sent.stop_nano, pair_tick), sells)
        if trigger <= 0:
            return "a stop without a trigger price"
        order["stop_price"] = text_of(trigger)
    return order


_KINDS: Final = {
    "CSD": "deposit", "CSW": "withdrawal", "DIV": "dividend", "FEE": "fee", "CFEE": "fee", "PTC": "fee",
    "INT": "interest",
}  # fmt: skip


def flow(activity: Activity) -> VenueFlow | None:
    """Cash that an activity moved, None when it moved none (a fill, a split, what was taken back).

    An activity that is dated by day only counts as of the end of that day.
    """
    amount = micro(activity.net_amount)
    if not amount or activity.activity_type == "FILL" or activity.status in ("canceled", "pending"):
        return None
    kind = _KINDS.get(activity.activity_type) or _KINDS.get(activity.activity_type[:3], "other")
    if activity.activity_type in ("JNLC", "TRANS"):
        kind = "deposit" if amount > 0 else "withdrawal"
    return VenueFlow(
        id=activity.id,
        ts=_when(activity),
        kind=kind,
        amount_micro=amount,
        symbol=activity.symbol or "",
        text=activity.description or activity.activity_type,
    )


def _when(activity: Activity) -> int:
    """When an activity happened: as it says, as its id says, or at the end of its date."""
    if activity.created_at:
        return instant(activity.created_at)
    digits = activity.id.partition("::")[0]
    try:
        if len(digits) == 17 and digits.isdigit() and digits[8:] != "000000000":
            moment = datetime.strptime(digits[:14], "%Y%m%d%H%M%S").replace(tzinfo=_ZONE)
            return round(moment.timestamp()) * NANO + int(digits[14:]) * MICRO
        day = datetime.strptime(activity.date[:10] or digits[:8], "%Y-%m-%d" if activity.date else "%Y%m%d")
    except ValueError:
        raise Garbled(f"activity {activity.id[:60]!r} has no date") from None
    end = day.replace(tzinfo=_ZONE) + timedelta(days=1)
    return round(end.timestamp()) * NANO - 1
