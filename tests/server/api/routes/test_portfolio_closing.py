"""A closing of a portfolio is bound to its preview: what it would send, and from which lots."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from quantd.trading.events import PortfolioClosed
from tests.server.api.model_worlds import Halfway
from tests.server.api.routes.portfolio_texts import CORE, PORTFOLIOS

PATH = "/api/v1/portfolios"


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("how", [{"how": "flatten"}, {"how": "hand_over", "to": "even"}])
async def test_a_stale_plan_closes_nothing_and_the_plan_of_now_is_carried_out(
    tmp_path: Path, how: dict[str, str]
) -> None:
    world = Halfway(tmp_path, PORTFOLIOS)
    await world.api.start()
    stepping = asyncio.create_task(world.service.step_forever())
    await world.feed(160)
    body = {**how, "reason": "the end"}
    async with aiohttp.ClientSession(world.api.url) as world.session:
        status, portfolio = await world.post(PATH, CORE)
        assert status == 200, portfolio
        _, would = await world.post(f"{PATH}/core/close/preview", body)
        _, again = await world.post(f"{PATH}/core/close/preview", {**body, "reason": "in other words"})
        assert would["plan"] == again["plan"] != ""
        await world.feed(8)  # the first orders fill
        for stale in (would["plan"], "00"):
            status, answer = await world.post(f"{PATH}/core/close", {**body, "as_planned": stale})
            assert (status, "nothing was closed, preview it again" in answer["detail"]) == (409, True)
        assert world.events(PortfolioClosed) == []
        status, now = await world.post(f"{PATH}/core/close/preview", body)
        assert status == 200, now
        assert now["plan"] != would["plan"]
        assert len(now["trades"]["orders"]) == (2 if how["how"] == "flatten" else 0)
        status, done = await world.post(f"{PATH}/core/close", {**body, "as_planned": now["plan"]})
        assert status == 200, done
        sent = [(order["side"], order["symbol"], order["qty"], order["limit"]) for order in done["trades"]["orders"]]
        shown = [(order["side"], order["symbol"], order["qty"], order["limit"]) for order in now["trades"]["orders"]]
        assert (done["plan"], sent) == (now["plan"], shown)
        assert len(world.events(PortfolioClosed)) == 1
    world.service.shell.stopped = "the test is over"
    await stepping
    await world.api.stop()
    world.store.close()
