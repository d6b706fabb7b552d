"""A POST is answered with what its own event did, whatever is stepped beside it; a failure after it is reported."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, get_args

import aiohttp
import pytest

from quantd.daemon.runtime.feeder import feed_recorded
from quantd.daemon.runtime.timeline import instants, time_of
from quantd.server.api import commits
from quantd.server.api.routes import manual_routes
from quantd.trading.codec import decode
from quantd.trading.effects import Refusal, Shadowed
from quantd.trading.events import Flow, Operator, PortfolioClosed, PortfolioOpened, Proposed, Reminded
from quantd.trading.orders import OrderBasket, order_id
from tests.server.api.routes.outside_run import OUTSIDE
from tests.server.api.routes.portfolio_texts import CORE, PORTFOLIOS
from tests.server.api.shut_store import before, gated
from tests.server.requests.orders_by_hand import journalled, post
from tests.support.api_world import RUN, World, standing
from tests.support.mqtt import until

CASH = {"do": "add", "amount": "1000.00", "reason": "more"}
HALT = {"command": "halt", "reason": "lunch"}
RESUME = {"command": "resume", "reason": "back"}


world = standing(PORTFOLIOS)


async def stepped(world: Any, kind: type, count: int = 1) -> None:
    """Wait until so many events of a kind are stepped and not committed."""
    steps = world.service.journal.steps
    await until(lambda: sum(isinstance(event, kind) for event, _ in steps) >= count, f"step {count} of {kind}", 10.0)


@contextlib.asynccontextmanager
async def in_one_batch(world: Any) -> AsyncIterator[None]:
    """What is sent in this block is stepped in its order, and committed after it in one batch."""
    async with gated(world) as gate:
        first = asyncio.create_task(post(world, "halts", {"do": "halt", "symbol": "QQQ", "reason": "first"}))
        await gate.waiting.wait()
        yield
    assert (await first)[0] == 200


# the two faults that were seen


@pytest.mark.long
async def test_a_shadows_proposal_is_answered_after_a_fill_of_an_older_order(tmp_path: Path) -> None:
    world: Any = World(tmp_path, OUTSIDE)
    await world.api.start()
    stepping = asyncio.create_task(world.service.step_forever())
    market = list(instants(world.assembly.items()))
    at = [k for k, instant in enumerate(market) if getattr(instant[-1], "sample", False)][-3]

    async def feed(*part: list[Any]) -> None:
        await feed_recorded(world.service, iter(part), "fast", "wait")
        await until(lambda: world.service.shell.ts >= time_of(part[-1][-1]), "the market")

    await feed(*market[: at + 1])
    answers = []
    async with aiohttp.ClientSession(world.api.url) as world.session:
        for number, weight in enumerate((0.4, 0.1)):
            body = {"weights": {"SPY": weight}, "id": f"a-{number}", "reason": "momentum"}
            answers.append(await post(world, "agents/guest/propose", body))
            if number == 0:  # its order is filled more than 200 entries later, at the next open
                for _ in range(7):
                    quiet = [Reminded(world.service.shell.state.now, "none") for _ in range(30)]
                    await asyncio.gather(*map(world.service.inbox.command, quiet))
                await feed(*market[at + 1 : at + 4])
        assert [status for status, _ in answers] == [200, 200], answers
        for _, answer in answers:
            path = f"/api/v1/why/{answer['decision']}"
            async with world.session.get(path, headers=world.bearer) as response:
                explanation = await response.json()
            assert explanation["order"] == f"{order_of(world, answer['decision'])}@guest"
    world.service.shell.stopped = "the test is over"
    await stepping
    await world.api.stop()
    world.store.close()


def order_of(world: Any, decision: str) -> str:
    """The id of the one order of a shadow's decision, from the journal."""
    seq = int(decision[1:].partition("@")[0])
    entry = next(decode(data) for number, data in world.store.entries(RUN, seq) if number == seq)
    assert isinstance(entry.event, Proposed)
    (shadow_effect,) = (effect for effect in entry.effects if isinstance(effect, Shadowed))
    (basket,) = (effect for effect in shadow_effect.effects if isinstance(effect, OrderBasket))
    return order_id(RUN, basket.sample, "SPY", basket.n)


@pytest.mark.long
async def test_a_rebalance_is_answered_though_its_portfolio_was_closed_before_the_commit(world: Any) -> None:
    nothing = {"weights": {"SPY": 0.0}, "reason": "all in cash"}
    assert (await post(world, "portfolios", CORE | nothing))[0] == 200
    async with gated(world) as gate:
        rebalanced = asyncio.create_task(post(world, "agents/core/propose", nothing | {"id": "x-1"}))
        await gate.waiting.wait()
        closed = asyncio.create_task(post(world, "portfolios/core/close", {"how": "flatten", "reason": "over"}))
        await stepped(world, PortfolioClosed)
        assert world.service.shell.state.portfolios == {}
    (status, answer), (other, ended) = await rebalanced, await closed
    assert (status, answer["agent"], answer["verdict"]["id"], answer["repeated"]) == (200, "core", "x-1", False), answer
    assert (other, ended["state"]) == (200, "closed")


# each answer is that of its own event


@pytest.mark.long
async def test_deposits_of_one_batch_have_each_their_own_cash(world: Any) -> None:
    before = world.service.shell.state.ledger.books[-1].cash_micro
    async with in_one_batch(world):
        tasks = []
        for number in (1, 2, 3):
            tasks.append(asyncio.create_task(post(world, "cash", CASH)))
            await stepped(world, Flow, number)
    cash = [answer["cash"] for _, answer in [await task for task in tasks]]
    assert cash == [f"{(before + k * 10**9) / 1e6:.2f}" for k in (1, 2, 3)]


@pytest.mark.long
async def test_a_halt_is_answered_with_its_halt_though_a_resume_came_before_the_commit(world: Any) -> None:
    async with in_one_batch(world):
        halted = asyncio.create_task(post(world, "commands", HALT))
        await stepped(world, Operator)
        resumed = asyncio.create_task(post(world, "commands", RESUME))
        await stepped(world, Operator, 2)
    assert ((await halted)[1]["switch"], (await resumed)[1]["switch"]) == ("HALT", "RUN")


async def test_of_two_closings_at_once_the_second_is_refused_and_not_reported_as_done(world: Any) -> None:
    assert (await post(world, "portfolios", CORE))[0] == 200
    body = {"how": "flatten", "reason": "over"}
    before(world, PortfolioClosed, lambda event: [event])
    status, answer = await post(world, "portfolios/core/close", body)
    assert (status, answer["code"]) == (409, "conflict")
    assert answer["detail"] == "portfolio core was not closed: it is being closed already"


async def test_targets_that_are_refused_beside_an_opening_do_not_hide_the_opening(world: Any) -> None:
    before(world, PortfolioOpened, lambda event: [Operator(event.ts, "halt", "news", "me")])
    status, answer = await post(world, "portfolios", CORE)
    assert (status, answer["code"]) == (409, "refused")
    begin = "the portfolio core is open and all in cash; propose targets or close it: the proposal "
    assert answer["detail"].startswith(begin)
    assert "the house is halted" in answer["detail"]
    assert [portfolio.name for portfolio in world.service.shell.state.portfolios.values()] == ["core"]


def test_every_code_of_a_refusal_has_a_status() -> None:
    assert set(get_args(Refusal)) <= set(commits.STATUS)


# what a key says after a failure


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object) -> object:
        raise KeyError(3)

    monkeypatch.setattr(manual_routes, "became_of_flow", fault)


async def test_a_request_that_fails_after_its_commit_says_that_it_was_carried_out_and_so_does_its_key(
    world: Any, failing: None
) -> None:
    first = await post(world, "cash", CASH, key="once")
    status, answer = first
    assert (status, answer["code"]) == (500, "carried_out")
    (seq,) = (seq for seq, data in world.store.entries(RUN, 1) if isinstance(decode(data).event, Flow))
    assert answer["detail"].startswith(f"the request was carried out, as entry {seq} of the journal; do not send it")
    assert await post(world, "cash", CASH, key="once") == first
    assert len(journalled(world, Flow)) == 1
    assert (await post(world, "commands", HALT))[0] == 200


@pytest.mark.long
async def test_a_request_that_fails_before_it_queues_anything_says_that_nothing_was_carried_out(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_: object) -> object:
        raise ZeroDivisionError

    monkeypatch.setattr(manual_routes, "flow", fault)
    first = await post(world, "cash", CASH, key="once")
    assert (first[0], first[1]["code"]) == (500, "internal")
    assert first[1]["detail"].startswith("no command of the request was carried out; internal error")
    assert await post(world, "cash", CASH, key="once") == first
    assert journalled(world, Flow) == []
