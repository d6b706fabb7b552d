"""What an agent reads over MCP: bars, sessions, events, a fill and a backtest, and what a guarded fill costs it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from quantd.server.api.access import keyring
from quantd.server.cli.operate.gate.gate_server import server_of
from quantd.server.cli.operate.gate.gateway import Gateway
from quantd.server.requests.tokens import created
from quantd.trading.display_text import instant_text
from tests.server.api.routes.outside_run import OUTSIDE, market, promote
from tests.server.cli.operate.mcp_calls import call

FIVE = ("AAPL", "BAC", "IWM", "QQQ", "SPY")
TWENTY = (
    "AAPL", "AMZN", "BA", "BAC", "COST", "CVX", "GS", "HD", "JNJ", "KO", "MRK", "MSFT", "NEE", "PEP", "PFE", "PG",
    "UPS", "VZ", "WMT", "XOM",
)  # fmt: skip


def text_of(symbols: tuple[str, ...], file: str) -> str:
    """The world of an outside agent with other symbols, each of them as much as the limits permit."""
    text = OUTSIDE.replace('["SPY", "QQQ", "IWM"]', json.dumps(symbols)).replace("us_daily", f"{file}_daily")
    text = text.replace("us_actions", f"{file}_actions").replace("warmup = 130", "warmup = 70")
    return text.replace("var = { limit = 0.03 }", "var = { limit = 0.03 }\nmax_concentration = 0.9")


async def client_of(world: Any) -> Client:
    _, secret = created(world.folder, "robot", "propose", agent="guest")
    await asyncio.sleep(keyring.CHECK_S)
    return Client(server_of(Gateway(world.api.url, secret), "guest"))


async def counted(client: Client, sizes: dict[str, int], name: str, **given: Any) -> Any:
    """Call a tool, and count the characters of its arguments and of its answer."""
    reply = await client.call_tool(name, given)
    assert reply.structured_content is None  # the document is sent once
    (block,) = reply.content
    sizes[name] = len(json.dumps(given)) + len(block.text)
    worked, document = await call(client, name, **given) if name != "propose" else (True, json.loads(block.text))
    assert worked, document
    return document


def tokens(characters: int) -> float:
    """An estimate of tokens: a token of JSON has about four characters."""
    return characters / 4


@pytest.mark.long
@pytest.mark.parametrize(("symbols", "file", "most"), [(FIVE, "us", 1_200), (TWENTY, "us20", 2_000)])
async def test_a_guarded_fill_costs_few_tokens(tmp_path: Path, symbols: tuple[str, ...], file: str, most: int) -> None:
    async with market(tmp_path, text_of(symbols, file)) as world:
        promote(world)
        async with await client_of(world) as client:
            listed = (await client.list_tools()).tools
            tools = json.dumps([tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in listed])
            assert tokens(len(tools)) <= 2_500, tokens(len(tools))
            sizes: dict[str, int] = {}
            standing = await counted(client, sizes, "standing")
            assert [row["symbol"] for row in standing["room"]] == list(symbols)
            weights = {symbol: round(0.8 / len(symbols), 4) for symbol in symbols}
            shown = await counted(client, sizes, "preview", weights=weights)
            given = {"weights": weights, "id": "p-1", "reason": "equal weights", "plan": shown["plan"]}
            done = await counted(client, sizes, "propose", **given)
            assert done["verdict"]["outcome"] in ("passed", "cut"), done
            assert len(done["orders"]) > len(symbols) / 2
            await world.go(2)
            end = await counted(client, sizes, "wait", id="p-1")
            assert end["ended"] is True
            assert {row["state"] for row in end["orders"]} == {"filled"}
            assert tokens(sum(sizes.values())) <= most, sizes
            worked, why = await call(client, "why", what=symbols[0])
            assert worked, why
            assert len(json.dumps(why)) <= 1_100


@pytest.mark.long
async def test_an_agent_sees_the_market_up_to_its_time_and_its_own_book(tmp_path: Path) -> None:
    async with market(tmp_path) as world:
        now = instant_text(world.service.shell.ts)
        async with await client_of(world) as client:
            worked, bars = await call(client, "bars", symbols=["SPY", "IWM"], n=30)
            assert worked, bars
            assert [len(bars[symbol]) for symbol in ("SPY", "IWM")] == [30, 30]
            assert max(row["time"] for row in bars["SPY"]) <= now
            assert all(row["low"] <= row["close"] <= row["high"] for row in bars["SPY"])
            worked, weeks = await call(client, "bars", symbols=["SPY"], n=3, per="week")
            assert (worked, len(weeks["SPY"]), weeks["SPY"][-1]["close"]) == (True, 3, bars["SPY"][-1]["close"])
            worked, text = await call(client, "bars", symbols=["SPYX"])
            assert (worked, "404" in text) == (False, True)
            worked, calendar = await call(client, "calendar", sessions=2)
            assert (worked, calendar["time"], len(calendar["sessions"])) == (True, now, 2)
            assert calendar["next_sample"] > now
            worked, few = await call(client, "headroom", symbols=["QQQ"])
            assert (worked, [row["symbol"] for row in few["room"]]) == (True, ["QQQ"])
            worked, before = await call(client, "events")
            assert worked, before
            worked, done = await call(client, "propose", weights={"SPY": 0.2}, id="p-1", reason="a test")
            assert worked, done
            # a wait of one client holds up no other call
            waiting = [asyncio.create_task(call(client, "wait", id="p-1")) for _ in range(20)]
            await asyncio.sleep(0.5)
            worked, standing = await asyncio.wait_for(call(client, "standing"), 3.0)
            assert (worked, standing["open_orders"]) == (True, 1)
            assert not any(task.done() for task in waiting)
            await world.go(2)
            for worked, end in await asyncio.gather(*waiting):
                assert (worked, end["ended"], end["orders"][0]["state"]) == (True, True, "filled"), end
            worked, after = await call(client, "events", since=before["next"])
            assert worked, after
            assert [event["kind"] for event in after["events"]] == ["proposal", "fill"], after
            worked, text = await call(client, "wait", id="none")
            assert (worked, "no verdict on a proposal 'none'" in text) == (False, True)


@pytest.mark.long
async def test_an_agent_backtests_weights_and_reads_a_result_later(tmp_path: Path) -> None:
    async with market(tmp_path) as world, await client_of(world) as client:
        worked, tested = await call(client, "backtest", weights={"SPY": 0.2, "IWM": 0.1}, start="2018-09-03")
        assert worked, tested
        assert (tested["state"], "Sharpe" in tested["result"]) == ("succeeded", True)
        worked, again = await call(client, "backtest", id=tested["id"])
        assert (worked, again) == (True, tested)
        worked, text = await call(client, "backtest")
        assert (worked, "give weights, or the id" in text) == (False, True)
        worked, text = await call(client, "backtest", weights={"SPY": 0.2}, end="2019-03-29")
        assert (worked, "is no period up to" in text) == (False, True)
