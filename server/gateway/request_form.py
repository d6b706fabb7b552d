"""The parts of a request to the gateway: parameters, body, client id, amounts and exits.

What can go wrong: a program sends a parameter that nothing reads, and believes that it was obeyed. A cancel of the
orders of one symbol would cancel all. So each route names what it reads, and any other parameter is refused.
"""

import json
from decimal import Decimal
from typing import Any, Final
from uuid import uuid4

import msgspec
from aiohttp import web

from quantd.adapters.json_text import decoded
from quantd.server.api.access.guard import Handler
from quantd.server.gateway.refusals import instead
from quantd.server.gateway.vendor_form import Fault, invalid
from quantd.server.requests.control import exact_amount
from quantd.trading.instruments import NANO

EXITS: Final = {"simple": 0, "oto": 1, "bracket": 2}
"""Class of an order -> the number of its exits."""


def given(request: web.Request, known: frozenset[str]) -> dict[str, str]:
    """The parameters of a request that have a value. Raises Fault for one that is not read, and for one given twice."""
    if unknown := sorted(request.query.keys() - known):
        reads = ", ".join(sorted(known)) or "none"
        raise invalid(f"the parameter {unknown[0][:40]} is not supported; this route has: {reads}")
    if len(request.query) != len(set(request.query)):
        raise invalid("a parameter is given twice")
    return {name: text for name, text in request.query.items() if text}


def reading(handler: Handler, *names: str) -> Handler:
    """The handler of a route that reads the parameters `names`; any other one is refused, since nothing obeys it."""

    async def checked(request: web.Request) -> web.StreamResponse:
        given(request, frozenset(names))
        return await handler(request)

    return checked


def truth(request: web.Request, name: str) -> bool:
    """A parameter that is true or false; False without it. Raises Fault."""
    text = request.query.get(name, "false").lower()
    if text not in ("true", "false"):
        raise invalid(f"{name} must be true or false")
    return text == "true"


def client_id_of(body: dict[str, Any]) -> str:
    """The client id of a body, or a new one where it has none. Raises Fault."""
    id = body.get("client_order_id")
    if not isinstance(id, str | None):
        raise invalid(f"client_order_id {json.dumps(id)[:40]} must be text")
    return id or str(uuid4())


async def body_of(request: web.Request) -> dict[str, Any]:
    """The body of a request. Raises Fault."""
    try:
        return decoded(await request.read(), dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as why:
        raise Fault(400, 40010000, f"request body format is invalid: {str(why)[:200]}") from None


def exits_of(given: dict[str, Any]) -> tuple[int, ...]:
    """The prices of the exits of an order: take profit, stop loss, limit of the stop loss; empty for a simple order.

    Raises Fault.
    """
    wanted, kind = EXITS.get(str(given.get("order_class") or "simple")), str(given.get("order_class"))[:20]
    if wanted is None:
        raise invalid(f"order_class {kind!r} is not supported: {', '.join(EXITS)} are{instead(kind)}")
    legs = [field for field in ("take_profit", "stop_loss") if field in given]
    if len(legs) != wanted:
        texts = "have no take_profit and stop_loss", "have one of take_profit and stop_loss", "have both exits"
        raise invalid(f"orders of the class {kind if wanted else 'simple'} {texts[wanted]}")
    if not wanted:
        return ()
    prices = {"take_profit.limit_price": 0, "stop_loss.stop_price": 0, "stop_loss.limit_price": 0}
    for leg in legs:
        body = given[leg]
        if not isinstance(body, dict) or not body.get("limit_price" if leg == "take_profit" else "stop_price"):
            raise invalid(f"{leg} requires a {'limit' if leg == 'take_profit' else 'stop'} price")
        for name, value in body.items():
            if f"{leg}.{name}" not in prices:
                raise invalid(f"{leg}.{name[:40]} is not supported here; leave it out")
            if value is not None:
                prices[f"{leg}.{name}"] = exact_amount(plain(value), NANO, f"{leg} {name.replace('_', ' ')}", "95.50")
    return tuple(prices.values())


def plain(value: Any) -> str:
    """A number of a request as decimal text: clients send numbers as text and as JSON numbers."""
    text = str(value)
    try:  # Decimal reads the digits of every script, and digits in groups
        return f"{Decimal(text):f}" if text.isascii() and "_" not in text else text[:40]
    except ArithmeticError:
        return text[:40]
