"""The answers of the gateway have closed schemas, whose names are those of the vendor's client, and a fuzzer's requests
meet no other answer."""

import asyncio
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import alpaca.trading.models as models
import pytest

from tests.server.gateway.closed_schemas import (
    ACCOUNT,
    ANSWERS,
    ASSET,
    CLOCK,
    FAULT,
    FILL,
    ORDER,
    POSITION,
)
from tests.server.gateway.gateway_bot import WIDE, Bot, bot_of
from tests.support.checkout import ROOT
from tests.support.command_line import environment

LEFT = 50
"""Instants before the end of the market; one passes each second."""

SYMBOLS = ["SPY", "QQQ", "IWM"]

LEFT_OUT = {
    "Order": {"expires_at", "position_intent", "ratio_qty"},
    "TradeAccount": {
        "pending_transfer_in", "pending_transfer_out", "options_buying_power", "options_approved_level",
        "options_trading_level",
    },
    "Position": {"swap_rate", "avg_entry_swap_rate", "usd"},
    "Asset": {"maintenance_margin_requirement"},
    "TradeActivity": {"account_id"},
}  # fmt: skip
"""Optional fields of the client's models without a meaning at the gateway, and `account_id`, which the client adds."""


@pytest.mark.parametrize(
    ("model", "schema"),
    [
        ("Order", ORDER), ("TradeAccount", ACCOUNT), ("Position", POSITION), ("Asset", ASSET), ("Clock", CLOCK),
        ("TradeActivity", FILL),
    ],
)  # fmt: skip
def test_the_names_of_a_schema_are_those_of_the_clients_model(model: str, schema: Any) -> None:
    fields = getattr(models, model).model_fields
    names = {"class" if (model, name) == ("Asset", "asset_class") else name for name in fields}
    required = {name for name, field in fields.items() if field.is_required()} - {"asset_class", "account_id"}
    assert required <= schema["properties"].keys()
    assert schema["properties"].keys() == names - LEFT_OUT.get(model, set())


async def test_each_route_answers_by_its_schema(tmp_path: Path) -> None:
    """Each row of the schemas is met; `bot_of` checks every answer."""
    async with bot_of(tmp_path, WIDE) as bot:
        met: set[int] = set()
        resting = {"type": "limit", "limit_price": str(round(bot.mark * 0.9, 2)), "time_in_force": "gtc"}

        async def ask(method: str, path: str, body: Any = None) -> Any:
            status, answer = await bot.raw(method, path, body)
            plain = path.partition("?")[0]
            met.update(
                k for k, (of, at, code, _) in enumerate(ANSWERS)
                if (of, code) == (method, status) and re.fullmatch(at, plain)
            )  # fmt: skip
            return answer

        order = {"symbol": "SPY", "qty": "3", "side": "buy", "type": "market", "time_in_force": "day"}
        for symbol in SYMBOLS:
            await ask("POST", "/v2/orders", order | {"symbol": symbol, "client_order_id": symbol})
        await bot.world.go(3)
        rests = [await ask("POST", "/v2/orders", order | resting) for _ in range(3)]
        for path in (
            "account", "account/portfolio/history", "account/activities",
                "account/activities/FILL", "positions", "positions/SPY", "clock", "assets",
            "assets/SPY", "orders?status=all", "orders:by_client_order_id?client_order_id=SPY",
            f"orders/{rests[0]['id']}", "calendar", "stocks/bars?symbols=SPY,QQQ&timeframe=1Day",
            "stocks/SPY/bars?timeframe=1Day", "stocks/snapshots?symbols=SPY", "stocks/SPY/snapshot",
            *(f"stocks/{what}/latest?symbols=SPY" for what in ("bars", "quotes", "trades")),
            *(f"stocks/SPY/{what}/latest" for what in ("bars", "quotes", "trades")),
        ):  # fmt: skip
            await ask("GET", f"/v2/{path}")
        await ask("DELETE", f"/v2/orders/{rests[0]['id']}")
        await ask("PATCH", f"/v2/orders/{rests[1]['id']}", {"qty": "2"})
        await ask("DELETE", "/v2/orders")
        await bot.world.go(1)
        await ask("DELETE", "/v2/positions/SPY")
        await ask("DELETE", "/v2/positions")
        assert met == set(range(len(ANSWERS))), [ANSWERS[k][:2] for k in set(range(len(ANSWERS))) - met]


def document() -> dict[str, Any]:
    """An OpenAPI document of the requests, with the universe in its examples, and of the answers by closed schemas."""
    symbol = {"enum": SYMBOLS}
    size = {"type": "string", "pattern": "^[1-5]$"}
    sent = {
        "type": "object", "required": ["symbol", "qty", "side", "type", "time_in_force"],
        "additionalProperties": False,
        "properties": {
            "symbol": symbol, "qty": size, "side": {"enum": ["buy", "sell"]}, "type": {"enum": ["market"]},
            "time_in_force": {"enum": ["day", "gtc"]}, "extended_hours": {"enum": [False]},
            "client_order_id": {"type": "string", "pattern": "^[a-z0-9]{6,40}$"},
        },
        "example": {"symbol": "SPY", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"},
    }  # fmt: skip
    query = {
        "/v2/orders": {
            "status": {"enum": ["open", "closed", "all"]}, "limit": {"type": "integer", "minimum": 1, "maximum": 500},
            "direction": {"enum": ["asc", "desc"]}, "side": {"enum": ["buy", "sell"]}, "symbols": symbol,
        },
        "/v2/account/activities": {
            "direction": {"enum": ["asc", "desc"]}, "page_size": {"type": "integer", "minimum": 1, "maximum": 100},
            "after": {"type": "string", "format": "date-time"}, "date": {"type": "string", "format": "date"},
        },
    }  # fmt: skip
    paths: dict[str, Any] = {}
    for method, pattern, status, schema in ANSWERS:
        if "stocks" in pattern:
            continue
        path = pattern.replace("(/[^/]+)?", "").replace("[^/]+", "{name}")
        named = {"enum": [*SYMBOLS, "NOPE"]} if "orders" not in path else {"type": "string", "format": "uuid"}
        parameters = [{"name": "name", "in": "path", "required": True, "schema": named}] if "{name}" in path else []
        if method == "GET":
            parameters += [{"name": n, "in": "query", "schema": each} for n, each in query.get(path, {}).items()]
        if path.endswith("by_client_order_id"):
            parameters.append({"name": "client_order_id", "in": "query", "schema": {"type": "string"}})
        content = {} if schema is None else {"content": {"application/json": {"schema": schema}}}
        fault = {"description": "a fault", "content": {"application/json": {"schema": FAULT}}}
        operation: dict[str, Any] = {
            "parameters": parameters,
            "responses": {str(status): {"description": "an answer", **content}, "4XX": fault},
        }
        if method == "POST":
            operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": sent}}}
        paths.setdefault(path, {})[method.lower()] = operation
    return {"openapi": "3.1.0", "info": {"title": "gateway", "version": "2"}, "paths": paths}


async def fuzzed(bot: Bot, folder: Path, examples: int, seconds: int) -> str:
    """Run the fuzzer against a gateway whose market goes on; returns what it says. Raises AssertionError if it finds a
    fault."""
    (folder / "gateway.json").write_text(json.dumps(document()))
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", str(folder / "gateway.json"), "--url", bot.url,
        "-H", f"APCA-API-KEY-ID: {bot.key}", "-H", f"APCA-API-SECRET-KEY: {bot.secret}",
        "--checks", "not_a_server_error,response_schema_conformance,content_type_conformance",
        "--phases", "examples,fuzzing", "--max-examples", str(examples), "--seed", "1",
        "--generation-database", "none", "--suppress-health-check", "all", "--no-color",
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environment() | {"PYTHONPATH": str(ROOT / "src")}, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said = asyncio.create_task(process.communicate())
    async with asyncio.timeout(seconds):
        for _ in range(LEFT - 1):
            await asyncio.wait([said], timeout=1.0)
            if said.done():
                break
            await bot.world.go(1)  # its bar fills what is open
    text = (await said)[0].decode()
    assert process.returncode == 0, text[-4000:]
    return text


@pytest.mark.parametrize(
    ("examples", "accepted"),
    [
        pytest.param(40, 8, marks=pytest.mark.long, id="short"),
        pytest.param(600, 80, marks=pytest.mark.slow, id="all"),
    ],
)
async def test_a_fuzzer_that_knows_the_symbols_gets_orders_accepted_and_no_other_answer(
    tmp_path: Path, examples: int, accepted: int
) -> None:
    """More bars pass between two requests on a slow machine: more orders are filled, and more are refused (403)."""
    async with bot_of(tmp_path, WIDE, LEFT) as bot:
        text = await fuzzed(bot, tmp_path, examples, 400)
        taken = len(bot.gateway.tickets.by_id)
        statuses = Counter({key: count for key, count in bot.counts.items() if key[0] == "POST"})
        print(f"{sum(bot.counts.values())} answers, {taken} orders accepted, {dict(statuses)}")  # noqa: T201
        assert statuses["POST", 200] >= accepted, (statuses, text)
        assert statuses["POST", 200] <= taken  # closing a position is an order, too
        assert not [key for key in bot.counts if key[1] >= 500]
