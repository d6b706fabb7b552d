"""The order terms of the gateway at each venue: what goes to the venue, and what the daemon holds and ends itself."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.proofs.live_day import VENUES, Arrived, World
from tests.proofs.venue_storm import Program, behind

DAY_NS = 86_400 * 10**9


async def placed(program: Program, **terms: str) -> dict[str, Any]:
    """An order of the program, accepted at the first price that the run has."""
    for _ in range(100):
        status, order = await program.ask("POST", "/v2/orders", {"symbol": "ETH/USD", **terms})
        if status == 200:
            return dict(order)
        assert status == 429 or "switch is at REDUCE" in order["message"], order  # a person resumes after a slow feed
        await asyncio.sleep(0.2)
    raise AssertionError("no order was accepted")


async def becomes(program: Program, order: dict[str, Any], status: str) -> dict[str, Any]:
    for _ in range(300):
        _, now = await program.ask("GET", f"/v2/orders/{order['id']}")
        if now["status"] == status:
            return dict(now)
        await asyncio.sleep(0.1)
    raise AssertionError(f"{now['status']}, not {status}")


def at(price: float) -> str:
    return f"{round(price * 2) / 2:.2f}"  # the step of every venue


@pytest.mark.long
@pytest.mark.parametrize(
    "venue", [pytest.param(venue, marks=pytest.mark.slow if venue in ("kraken", "bybit") else ()) for venue in VENUES]
)
async def test_limits_rest_at_the_venue_and_stops_wait_in_the_daemon_until_they_fire(
    tmp_path: Path, venue: str
) -> None:
    if venue != "alpaca":
        pytest.importorskip("ccxt")
    seen: list[Arrived] = []
    async with behind(tmp_path, venue, 1) as (world, programs, found):
        program, mark = programs[0], world.price["ETH/USD"]
        world.watch(seen.append)
        buy = {"side": "buy", "qty": "1"}
        await becomes(program, await placed(program, type="market", time_in_force="day", **buy), "filled")
        for end in ("day", "gtc"):
            rest = await placed(program, type="limit", limit_price=at(mark * 0.97), time_in_force=end, **buy)
            await becomes(program, rest, "new")
        assert [order.limit for order in world.open_orders()] == [Decimal(at(mark * 0.97))] * 2
        arrived = len(seen)
        sell = {"side": "sell", "qty": "0.5", "time_in_force": "gtc"}
        low = await placed(program, type="stop", stop_price=at(mark * 0.95), **sell)
        wait = await placed(program, type="stop_limit", stop_price=at(mark * 0.94), limit_price=at(mark * 0.93), **sell)
        assert [order["status"] for order in (low, wait)] == ["new", "new"]
        await asyncio.sleep(3.0)
        assert len(seen) == arrived, "a stop order is at no venue while it waits"
        await program.ask("DELETE", "/v2/orders")
        await falls(world, mark * 0.945, program, low, wait)
    assert found.wrong == []


async def falls(world: World, to: float, program: Program, low: dict[str, Any], wait: dict[str, Any]) -> None:
    """The orders were cancelled; the same stops again, and the market falls below the first of them alone."""
    for order in (low, wait):
        await becomes(program, order, "canceled")
    sell = {"side": "sell", "qty": "0.5", "time_in_force": "gtc"}
    mark = world.price["ETH/USD"]
    fires = await placed(program, type="stop", stop_price=at(mark * 0.98), **sell)
    waits = await placed(program, type="stop_limit", stop_price=at(mark * 0.8), limit_price=at(mark * 0.79), **sell)
    world.price["ETH/USD"] = min(to, mark * 0.975)
    await becomes(program, fires, "filled")
    await becomes(program, waits, "new")
