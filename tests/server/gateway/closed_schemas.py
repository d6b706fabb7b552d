"""Closed schemas of the gateway's answers: each field is required, no other is allowed, and each has its form.

The names are those of alpaca-py 0.43's models and of the trading API's document in the package `alpaca-mcp-server`
2.4.0 (specs/trading-api.json, specs/market-data-api.json), which forbid little: they require few fields and allow any
other. What an answer has in which case (a price of a fill, an end) is the gateway's.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import jsonschema

Schema = dict[str, Any]

UUID: Final = {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}
AT: Final = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$"}
DAY: Final = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d$"}
AMOUNT: Final = {"type": "string", "pattern": r"^-?\d+(\.\d{1,9})?$"}
SIZE: Final = {"type": "string", "pattern": r"^\d+(\.\d{1,9})?$"}
TEXT: Final = {"type": "string"}
NAME: Final = {"type": "string", "minLength": 1}
BOOL: Final = {"type": "boolean"}
NUMBER: Final = {"type": "number"}


def one_of(*values: Any) -> Schema:
    return {"enum": list(values)}


def none_or(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def closed(fields: Mapping[str, Schema], optional: Mapping[str, Schema] = {}) -> Schema:
    """An object with all these fields and no other; `optional` ones may be left out."""
    return {
        "type": "object", "properties": {**fields, **optional}, "required": list(fields), "additionalProperties": False,
    }  # fmt: skip


def named(names: str, schema: Schema) -> dict[str, Schema]:
    return dict.fromkeys(names.split(), schema)


def rows(item: Schema) -> Schema:
    return {"type": "array", "items": item}


STATUSES: Final = (
    "new", "pending_new", "accepted", "held", "partially_filled", "filled", "canceled", "expired", "rejected",
    "replaced",
)  # fmt: skip

ACCOUNT: Final = closed(
    named(
        "cash equity portfolio_value last_equity long_market_value short_market_value initial_margin "
        "maintenance_margin last_maintenance_margin sma accrued_fees",
        AMOUNT,
    )
    | named("buying_power regt_buying_power non_marginable_buying_power daytrading_buying_power", SIZE)
    | named(
        "pattern_day_trader shorting_enabled trading_blocked account_blocked transfers_blocked trade_suspended_by_user",
        BOOL,
    )
    | {
        "id": UUID, "account_number": NAME, "status": one_of("ACTIVE"), "crypto_status": one_of("INACTIVE"),
        "currency": NAME, "multiplier": one_of("1"), "daytrade_count": one_of(0), "created_at": AT,
    }
)  # fmt: skip
POSITION: Final = closed(
    named(
        "qty qty_available avg_entry_price cost_basis market_value current_price unrealized_pl unrealized_plpc "
        "unrealized_intraday_pl unrealized_intraday_plpc lastday_price change_today",
        AMOUNT,
    )
    | {
        "asset_id": UUID, "symbol": NAME, "exchange": one_of("NYSE"), "asset_class": one_of("us_equity"),
        "asset_marginable": BOOL, "side": one_of("long", "short"),
    }
)  # fmt: skip
ASSET: Final = closed(
    named("tradable marginable shortable easy_to_borrow fractionable", BOOL)
    | named("min_order_size min_trade_increment price_increment", SIZE)
    | {
        "id": UUID, "class": one_of("us_equity"), "exchange": one_of("NYSE"), "symbol": NAME, "name": NAME,
        "status": one_of("active"), "attributes": rows(TEXT),
    }
)  # fmt: skip
CLOCK: Final = closed(named("timestamp next_open next_close", AT) | {"is_open": BOOL})
LEG: Final = (
    named("created_at updated_at submitted_at", AT)
    | named("filled_at expired_at canceled_at failed_at replaced_at", none_or(AT))
    | named("replaced_by replaces", none_or(UUID))
    | named("notional trail_percent trail_price hwm", one_of(None))
    | named("type order_type", one_of("market", "limit", "stop", "stop_limit"))
    | named("filled_avg_price limit_price stop_price", none_or(SIZE))
    | named("qty filled_qty", SIZE)
    | {
        "id": UUID, "client_order_id": NAME, "asset_id": UUID, "symbol": NAME, "asset_class": one_of("us_equity"),
        "order_class": one_of("simple", "oto", "bracket"), "side": one_of("buy", "sell"), "status": one_of(*STATUSES),
        "time_in_force": one_of("day", "gtc"), "extended_hours": one_of(False),
    }
)  # fmt: skip
ORDER: Final = closed(LEG | {"legs": none_or(rows(closed(LEG | {"legs": one_of(None)})))})
FILL: Final = closed(
    named("qty cum_qty leaves_qty price", SIZE)
    | {
        "id": {"type": "string", "pattern": r"^\d{17}::[0-9a-f-]{36}$"}, "activity_type": one_of("FILL"),
        "transaction_time": AT, "type": one_of("fill", "partial_fill"), "symbol": NAME, "order_id": UUID,
        "side": one_of("buy", "sell", "sell_short"), "order_status": one_of("filled", "partially_filled"),
    }
)  # fmt: skip
MOVED: Final = closed(
    {
        "id": FILL["properties"]["id"], "date": DAY, "created_at": AT, "status": one_of("executed"),
        "activity_type": one_of("FEE", "DIV", "CIL", "INT", "MA", "SPLIT", "CSD", "CSW", "JNLC", "JNLS"),
        "net_amount": AMOUNT, "description": NAME,
    },
    {"symbol": NAME, "qty": AMOUNT},
)  # fmt: skip
FAULT: Final = closed({"code": {"type": "integer", "minimum": 40_010_000, "maximum": 50_399_999}, "message": NAME})
BAR: Final = closed({"t": AT} | named("o h l c v", NUMBER) | named("n vw", one_of(None)))
MARK: Final = {"t": AT, "c": rows(TEXT), "z": TEXT}
TRADE: Final = closed(MARK | {"p": NUMBER, "s": NUMBER, "x": TEXT, "i": NUMBER})
QUOTE: Final = closed(MARK | named("bp bs ap as", NUMBER) | named("bx ax", TEXT))
SNAPSHOT: Final = {
    "latestTrade": TRADE, "latestQuote": QUOTE, "minuteBar": none_or(BAR), "dailyBar": BAR, "prevDailyBar": none_or(BAR)
}  # fmt: skip
SESSION: Final = closed({"date": DAY} | named("open close session_open session_close", NAME))


def by_symbol(schema: Schema) -> Schema:
    return {"type": "object", "additionalProperties": schema}


TOKEN: Final = {"next_page_token": none_or(NAME)}
LATEST: Final = {"bars": ("bar", BAR), "quotes": ("quote", QUOTE), "trades": ("trade", TRADE)}

HISTORY: Final = closed({
    "timestamp": rows({"type": "integer"}), "equity": rows(NUMBER), "profit_loss": rows(NUMBER),
    "profit_loss_pct": rows(none_or(NUMBER)), "base_value": NUMBER,
    "timeframe": one_of("1Min", "5Min", "15Min", "1H", "1D"), "cashflow": closed({}),
})  # fmt: skip

ANSWERS: Final[tuple[tuple[str, str, int, Schema | None], ...]] = (
    ("GET", "/v2/account", 200, ACCOUNT),
    ("GET", "/v2/account/portfolio/history", 200, HISTORY),
    ("GET", "/v2/account/activities(/[^/]+)?", 200, rows({"anyOf": [FILL, MOVED]})),
    ("GET", "/v2/positions", 200, rows(POSITION)),
    ("GET", "/v2/positions/[^/]+", 200, POSITION),
    ("DELETE", "/v2/positions", 207, rows(closed({"symbol": NAME, "status": one_of(200, 500),
                                                   "body": {"anyOf": [ORDER, FAULT]}}))),
    ("DELETE", "/v2/positions/[^/]+", 200, ORDER),
    ("GET", "/v2/clock", 200, CLOCK),
    ("GET", "/v2/assets", 200, rows(ASSET)),
    ("GET", "/v2/assets/[^/]+", 200, ASSET),
    ("POST", "/v2/orders", 200, ORDER),
    ("GET", "/v2/orders", 200, rows(ORDER)),
    ("DELETE", "/v2/orders", 207, rows(closed({"id": UUID, "status": one_of(200, 500)}))),
    ("GET", "/v2/orders:by_client_order_id", 200, ORDER),
    ("GET", "/v2/orders/[^/]+", 200, ORDER),
    ("DELETE", "/v2/orders/[^/]+", 204, None),
    ("PATCH", "/v2/orders/[^/]+", 200, ORDER),
    ("GET", "/v2/calendar", 200, rows(SESSION)),
    ("GET", "/v2/stocks/bars", 200, closed({"bars": by_symbol(rows(BAR))} | TOKEN)),
    ("GET", "/v2/stocks/[^/]+/bars", 200, closed({"symbol": NAME, "bars": rows(BAR)} | TOKEN)),
    ("GET", "/v2/stocks/snapshots", 200, by_symbol(closed(SNAPSHOT))),
    ("GET", "/v2/stocks/[^/]+/snapshot", 200, closed({"symbol": NAME} | SNAPSHOT)),
    *(("GET", f"/v2/stocks/{many}/latest", 200, closed({many: by_symbol(each)})) for many, (_, each) in LATEST.items()),
    *(("GET", f"/v2/stocks/[^/]+/{many}/latest", 200, closed({"symbol": NAME, one: each}))
      for many, (one, each) in LATEST.items()),
)  # fmt: skip
"""Method, pattern of the path, status and schema of each answer; None: no body."""

FILLED: Final = {"price": SIZE, "qty": SIZE, "position_qty": AMOUNT}
UPDATE: Final = {"execution_id": UUID, "timestamp": AT, "order": ORDER}
STREAM: Final = {
    "authorization": closed({"status": one_of("authorized", "unauthorized"), "action": one_of("authenticate")}),
    "listening": closed({"streams": rows(one_of("trade_updates"))}),
    "trade_updates": {
        "anyOf": [
            closed({"event": one_of("fill", "partial_fill", "trade_bust")} | UPDATE | FILLED),
            closed({"event": one_of("pending_new", "accepted", "new", "canceled", "rejected", "expired")} | UPDATE),
        ]
    },
}
"""Name of a stream -> schema of the `data` of its messages."""


def check(schema: Schema, value: Any, where: str) -> None:
    """Raise AssertionError for a value that differs from its schema."""
    faults = [f"{'/'.join(map(str, e.absolute_path))}: {e.message}" for e in
              jsonschema.Draft202012Validator(schema).iter_errors(value)]  # fmt: skip
    assert not faults, (where, faults[:3])


def check_answer(method: str, path: str, status: int, body: Any) -> None:
    """Raise AssertionError for an answer of the gateway that no closed schema has."""
    if status >= 400:
        check(FAULT, body, f"{method} {path} {status}")
        assert body["code"] // 100_000 == status or (status, body["code"]) == (422, 40010001), (path, status, body)
        return
    for of, pattern, expected, schema in ANSWERS:
        if (of, expected) == (method, status) and re.fullmatch(pattern, path):
            if schema is None:
                assert body is None, (path, body)
            else:
                check(schema, body, f"{method} {path} {status}")
            return
    raise AssertionError(f"{method} {path} answered {status}, which has no schema")
