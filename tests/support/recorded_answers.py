"""Reads a folder that `quantd doctor --venue NAME --record DIR` wrote, and decodes each answer as the adapter does."""

import json
import re
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import msgspec

from quantd.adapters.brokers.alpaca.wire import Account, Activity, Asset, Clock, Order, Position, Refusal
from quantd.adapters.brokers.ccxt import connection as exchange_line
from quantd.adapters.brokers.ibkr import connection as gateway_line
from quantd.adapters.brokers.ibkr.wire import Done
from quantd.adapters.brokers.ibkr.wire import Order as GatewayOrder
from quantd.adapters.exchange.client import Access, connect, leave, strict
from quantd.adapters.exchange.dialects import dialect_of

ALPACA: Final[dict[str, Any]] = {
    r"GET /v2/account": Account, r"GET /v2/clock": Clock, r"GET /v2/positions": list[Position],
    r"GET /v2/orders": list[Order], r"GET /v2/orders/\*|GET /v2/orders:by_client_order_id|POST /v2/orders": Order,
    r"GET /v2/assets": list[Asset], r"GET /v2/assets/.+": Asset, r"GET /v2/account/activities.*": list[Activity],
}  # fmt: skip
"""Method and path of a request -> the form of its answer."""


SERVER_VERSION: Final = 178
"""The newest version of the gateway whose messages are texts."""


class Seen:
    """What was decoded: the requests of each answer with a form, and what could not be read."""

    def __init__(self) -> None:
        self.decoded: list[str] = []
        self.unread: list[str] = []


async def read_back(folder: Path) -> Seen:
    """Decode every answer of a folder."""
    rows, seen = _rows(folder), Seen()
    if not rows:
        return seen
    venue = rows[0]["venue"]
    if venue == "alpaca":
        _alpaca(rows, seen)
    elif venue == "ibkr":
        _gateway(rows, seen)
    else:
        await _exchange(venue, rows, seen)
    return seen


def _rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def _alpaca(rows: list[dict[str, Any]], seen: Seen) -> None:
    for row in rows:
        name = f"{row['method']} {row['path'].partition('?')[0]}"
        kind = next((kind for form, kind in ALPACA.items() if re.fullmatch(form, name)), None)
        if row["status"] >= 400:
            kind = Refusal
        if kind is None or row["body"] is None:
            continue
        try:
            msgspec.json.decode(json.dumps(row["body"]), type=kind)
        except (msgspec.DecodeError, ValueError) as wrong:
            seen.unread.append(f"{name}: {wrong}")
        seen.decoded.append(name)


async def _exchange(venue: str, rows: list[dict[str, Any]], seen: Seen) -> None:
    access, dialect = Access(venue, "key", "secret"), dialect_of(venue)
    exchange, answer = await connect(access), SimpleNamespace(body=None)

    async def fetch(url: str, *request: Any) -> Any:
        return answer.body

    exchange.fetch = strict(fetch, dialect)
    line = exchange_line.Line(exchange_line.CryptoSettings(access))
    line.take(exchange)
    for row in rows:
        url = f"http://venue{row['path']}"
        if row["body"] is None or dialect.form_of(url, row["method"]) is None:
            continue
        answer.body = row["body"]
        try:
            await exchange.fetch(url, row["method"])
        except Exception as wrong:
            seen.unread.append(f"{row['path']}: {wrong}")
        seen.decoded.append(f"{row['method']} {row['path'].partition('?')[0]}")
    seen.unread += line.unreadable.taken()
    await leave(exchange)


class _Listener:
    """The news of a gateway; see `Listener` of the adapter."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def on_order(self, order: GatewayOrder) -> None:
        self._seen.decoded.append("order")

    def on_status(self, *status: object) -> None:
        self._seen.decoded.append("status")

    def on_execution(self, done: Done) -> None:
        self._seen.decoded.append("execution")

    def on_commission(self, *report: object) -> None:
        self._seen.decoded.append("commission")

    def on_error(self, *error: object) -> None:
        self._seen.decoded.append("error")

    def on_doubt(self) -> None:
        self._seen.unread.append("a message of the gateway")

    def on_lost(self, words: str) -> None: ...
    def on_usable(self) -> None: ...


def _gateway(rows: list[dict[str, Any]], seen: Seen) -> None:
    messages = [message for row in rows for message in row["body"]]
    accounts = next(message[2] for message in messages if message[0] == gateway_line.ACCOUNTS).split(",")
    settings = gateway_line.IbkrSettings("venue", 1, accounts[0], 1)
    line = gateway_line.Line(settings, _Listener(seen))
    line._accounts = accounts
    decoder = line.prepared(import_module("ib_async.client")).decoder
    decoder.serverVersion = SERVER_VERSION
    for message in messages:
        decoder.interpret(message)
        seen.decoded.append(f"message {message[0]}")
    seen.unread += line.unreadable.taken()
