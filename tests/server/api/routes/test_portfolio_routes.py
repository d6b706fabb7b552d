"""/api/v1/portfolios in front of a real service: a portfolio from its opening to its end, and every refusal."""

import asyncio
import json
import os
import signal
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantd.daemon.engine.state.snapshot import freeze
from quantd.trading.events import PortfolioClosed, PortfolioOpened, Proposed
from tests.server.answering_daemon import started, until
from tests.server.api.model_worlds import halfway
from tests.server.api.routes.portfolio_texts import CORE, PORTFOLIOS
from tests.server.requests.orders_by_hand import get, journalled
from tests.server.requests.orders_by_hand import post as sent
from tests.support.api_world import RUN, standing
from tests.support.command_line import answer, quantd, write

world = standing(PORTFOLIOS)


async def post(world: Any, path: str, body: object) -> tuple[int, Any]:
    return await sent(world, f"portfolios{path}", body)


async def targets(world: Any, body: dict[str, Any], what: str = "propose", name: str = "core") -> tuple[int, Any]:
    """Targets of an open portfolio: proposed, or previewed."""
    ids = {"id": uuid.uuid4().hex, "reason": "x"} if what == "propose" else {}
    return await sent(world, f"agents/{name}/{what}", ids | body)


@pytest.mark.requirement("R-025", "R-123", "R-125", "R-192", "R-193", "R-194", "R-268", "F-41")
async def test_a_portfolio_is_created_with_its_orders_and_expected_figures(world: Any) -> None:
    status, core = await post(world, "", CORE)
    assert status == 200, core
    assert (core["agent"], core["preview"], core["verdict"]["outcome"]) == ("core", False, "passed")
    rows = {row["symbol"]: row for row in core["allocations"]}
    assert {symbol: row["target"] for symbol, row in rows.items()} == {"SPY": 0.4, "IWM": 0.3}
    for row in rows.values():
        assert row["weight"] == pytest.approx(row["target"], abs=0.02)
        assert float(row["value"]) == pytest.approx(row["weight"] * 20000, abs=0.01)
    orders = core["trades"]["orders"]
    assert {(o["symbol"], o["side"], o["qty"]) for o in orders} == {(s, "buy", r["qty"]) for s, r in rows.items()}
    expected = core["expected"]
    assert expected["sharpe"] == pytest.approx((expected["expected_return"] - 0.02) / expected["volatility"])
    assert 1 <= expected["risk_score"] <= 7
    assert 0.0 <= expected["probability_positive"] <= 1.0
    assert "confidence" not in expected
    assert expected["samples"] > 100
    (opened,), (proposal,) = journalled(world, PortfolioOpened), journalled(world, Proposed)
    assert (opened.name, opened.who, opened.reason) == ("core", "api:owner", "a mandate")
    assert (proposal.id, proposal.agent) == (core["verdict"]["id"], "portfolio-1")
    _, decisions = await get(world, "decisions?limit=1")
    assert decisions["decisions"][0]["address"] == core["decision"]
    status, why = await get(world, f"why/{orders[0]['order']}")
    assert status == 200
    (part,) = why["agents"]
    assert part["because"] == f"portfolio core: proposal {proposal.id} of api:owner: a mandate"
    status, shown = await get(world, "agents/core/standing")
    assert (status, shown["open_orders"], shown["cash"], shown["mode"]) == (200, 2, "20000.00", "trading")
    line = shown["portfolio"]
    assert (line["agent"], line["capital"], line["proposal"]) == ("portfolio-1", "20000.00", proposal.id)
    _, history = await get(world, "agents/core/proposals")
    assert history["proposals"] == [core["verdict"]]
    _, listed = await get(world, "portfolios")
    assert (listed["places"], listed["vacant"], [p["name"] for p in listed["portfolios"]]) == (2, 1, ["core"])


async def test_a_name_of_another_book_is_refused_with_the_names_that_are_taken(world: Any) -> None:
    for name in ("house", "manual", "unallocated", "benchmark", "even", "portfolio-1", "portfolio-2", "portfolio-32"):
        status, problem = await post(world, "", CORE | {"name": name})
        assert (status, problem["code"]) == (409, "conflict"), name
        assert "benchmark, even, house, manual" in problem["detail"]
        assert "portfolio-1 to portfolio-32" in problem["detail"]
    assert journalled(world, PortfolioOpened) == []
    assert (await post(world, "", CORE | {"name": "portfolio-33"}))[0] == 200


@pytest.mark.requirement("R-194")
async def test_portfolios_that_are_opened_at_once_get_a_place_each(world: Any) -> None:
    both = [{**CORE, "name": name, "weights": weights} for name, weights in (("a", {"SPY": 0.4}), ("b", {"IWM": 0.3}))]
    answers = await asyncio.gather(*(post(world, "", request) for request in both))
    assert [status for status, _ in answers] == [200, 200]
    _, listed = await get(world, "portfolios")
    assert {portfolio["agent"] for portfolio in listed["portfolios"]} == {"portfolio-1", "portfolio-2"}
    for body in both:
        _, shown = await get(world, f"agents/{body['name']}/standing")
        assert {row["symbol"]: row["target"] for row in shown["positions"] if row["target"]} == body["weights"]


@pytest.mark.requirement("R-195")
async def test_a_dry_run_changes_nothing_and_its_plan_is_what_is_executed(world: Any) -> None:
    await post(world, "", CORE)
    state = world.service.shell.state
    before = freeze(state)
    new = {"weights": {"SPY": 0.1, "QQQ": 0.4}}
    status, shown = await targets(world, new, "preview")
    assert (status, shown["preview"], shown["decision"]) == (200, True, "")
    column, symbol = next(
        (state.universe.index[name], name) for name in state.universe.symbols if name in new["weights"]
    )
    marks, instants = (state.marks, state.marks_nano), state.mark_ts
    state.set_marks(*marks, np.where(np.arange(len(instants)) == column, 0, instants))
    _, old = await targets(world, new, "preview")
    (skipped,) = (line for line in old["verdict"]["symbols"] if line["outcome"] == "skipped")
    assert (skipped["symbol"], skipped["text"]) == (symbol, "the last price is older than max_price_age")
    state.set_marks(*marks, instants)
    assert freeze(state) == before
    assert len(journalled(world, Proposed)) == 1
    status, done = await targets(world, new | {"plan": shown["plan"]})
    assert status == 200, done
    for key in ("allocations", "plan", "expected", "basis"):
        assert done[key] == shown[key], key
    assert [order | {"order": ""} for order in done["trades"]["orders"]] == shown["trades"]["orders"]
    assert journalled(world, Proposed)[-1].plan == shown["plan"]
    # the orders of the first execution now cover a part: the same plan would be another one
    status, again = await targets(world, new | {"plan": shown["plan"]})
    assert status == 409, again
    assert "would differ now" in again["detail"]


@pytest.mark.long
async def test_weights_come_from_a_shipped_policy_or_a_running_agent(world: Any) -> None:
    body = {"name": "calm", "symbols": ["SPY", "IWM"], "policy": "inverse_volatility", "capital": "9000", "reason": "x"}
    status, answer = await post(world, "", body)
    assert (status, answer["basis"]) == (200, "inverse_volatility"), answer
    weights = {row["symbol"]: row["target"] for row in answer["allocations"]}
    assert set(weights) == {"SPY", "IWM"}
    assert sum(weights.values()) == pytest.approx(1.0)
    assert weights["SPY"] > weights["IWM"]
    status, shown = await targets(world, {"agent": "even", "symbols": ["QQQ"]}, "preview", "calm")
    assert (status, shown["basis"]) == (200, "even"), shown
    weights = {row["symbol"]: row["target"] for row in shown["allocations"] if row["target"]}
    assert weights == {"QQQ": pytest.approx(1 / 3)}
    status, answer = await post(world, "", {"name": "flat", "symbols": ["SPY", "IWM"], "capital": "900", "reason": "x"})
    assert (status, answer["basis"]) == (200, "equal_weight")


@pytest.mark.requirement("R-125", "R-268", "F-41")
async def test_closing_hands_the_cash_back_and_frees_the_name(world: Any) -> None:
    await post(world, "", CORE)
    status, refused = await post(world, "/core/close", {"how": "flatten", "to": "even", "reason": "the end"})
    assert (status, "'even' gets nothing" in refused["detail"]) == (409, True)
    status, closing = await post(world, "/core/close", {"how": "hand_over", "to": "even", "reason": "the end"})
    assert (status, closing["state"], closing["to"]) == (200, "closing", "even")
    status, refused = await post(world, "/core/close", {"how": "flatten", "reason": "again"})
    assert (status, "being closed already" in refused["detail"]) == (409, True)
    await post(world, "", CORE | {"name": "cash", "weights": {"SPY": 0.0}})
    status, closed = await post(world, "/cash/close", {"how": "flatten", "reason": "the end"})
    assert (status, closed["state"], closed["trades"]["orders"]) == (200, "closed", [])
    assert (await get(world, "agents/cash/standing"))[0] == 404
    assert len(journalled(world, PortfolioClosed)) == 2


NOT_CREATED: list[tuple[dict[str, Any], int, str, str]] = [
    ({"weights": {"XYZ": 0.5}}, 422, "targets", "'XYZ' is not in the universe of this run, SPY, QQQ, IWM. Add it"),
    ({"weights": {"SPY": 0.7, "QQQ": 0.7}}, 422, "targets", "add up to 1.4"),
    ({"weights": {"SPY": -0.1}}, 422, "targets", "no short position"),
    ({"weights": {}, "orders": {"SPY": "-1"}}, 422, "targets", "no short position, and the book holds 0"),
    ({"weights": {}}, 422, "targets", "send one of weights, orders, policy and agent"),
    ({"policy": "equal_weight"}, 422, "targets", "send one of weights, orders, policy and agent"),
    ({"symbols": ["SPY"]}, 422, "targets", "leave symbols out"),
    ({"weights": {}, "policy": "hold", "symbols": ["SPY"]}, 422, "targets", "'hold' is no policy that computes"),
    ({"weights": {}, "policy": "nope", "symbols": ["SPY"]}, 422, "targets", "write one of"),
    ({"weights": {}, "policy": "equal_weight"}, 422, "targets", "names no symbol"),
    ({"weights": {}, "symbols": ["SPY", "QQQ", "SPY"]}, 422, "targets", "names SPY twice"),
    ({"weights": {"SPY": 60}}, 422, "targets", "a weight is a fraction, 0.6 for 60 %"),
    ({"reason": "x" * 501}, 422, "command", "reason has 501 characters"),
    ({"weights": {}, "agent": "nobody"}, 404, "agent", "the agents are even, trend"),
    ({"capital": "999999999"}, 409, "conflict", "exceeds the free cash of the unallocated book"),
    ({"capital": "0"}, 422, "amount", "capital"),
    ({"capital": "0.05"}, 409, "conflict", "0.05 USD buys no lot of SPY, IWM, which takes"),
    ({"reason": " "}, 422, "reason", "needs a reason"),
    ({"name": "Bad Name"}, 422, "command", "name"),
    ({"size": 3}, 422, "command", "size"),
]
"""A change of the request, and the status, code and words of its refusal."""


@pytest.mark.requirement("R-192")
async def test_a_portfolio_that_is_not_created_says_why_and_leaves_no_event(world: Any) -> None:
    for change, status, code, words in NOT_CREATED:
        answer_status, answer = await post(world, "", CORE | change)
        assert (answer_status, answer["code"]) == (status, code), (change, answer)
        assert words in answer["detail"], (change, answer)
        assert not journalled(world, PortfolioOpened), change
        assert not journalled(world, Proposed), change


@pytest.mark.long
async def test_refusals_by_the_state_name_it(world: Any) -> None:
    assert (await targets(world, {"weights": {"SPY": 1}}))[0] == 404
    await post(world, "", CORE)
    status, answer = await post(world, "", CORE)
    assert (status, "is open already" in answer["detail"]) == (409, True)
    body = {"weights": {"SPY": 0.1}, "id": "mine"}
    status, first = await targets(world, body)
    assert (status, first["repeated"]) == (200, False)
    status, answer = await targets(world, body)
    assert (status, answer["repeated"], answer["verdict"]) == (200, True, first["verdict"])
    assert (await targets(world, body | {"weights": {"SPY": 0.2}}))[1]["code"] == "duplicate"
    order = {"side": "buy", "qty": "1", "symbol": "SPY", "reason": "x", "agent": "portfolio-1"}
    status, answer = await sent(world, "orders", order)
    assert (status, "changes only by" in answer["detail"]) == (409, True)
    nobody = {"command": "halt", "reason": "x", "agent": "portfolio-2"}  # a place without a portfolio
    assert (await sent(world, "commands", nobody))[0] == 404
    await asyncio.gather(*(targets(world, {"weights": {"SPY": 0.2}}) for _ in range(3)))
    assert (await sent(world, "commands", {"command": "halt", "reason": "x"}))[0] == 200
    status, answer = await targets(world, {"weights": {"SPY": 0.3}})
    assert (status, "halted" in answer["detail"]) == (409, True)


@pytest.mark.long
async def test_a_preview_of_an_opening_has_its_first_orders_and_binds_them(world: Any) -> None:
    before = world.store.last_seq(RUN)
    status, would = await post(world, "/open/preview", CORE)
    assert status == 200, would
    assert (would["preview"], would["agent"], len(would["trades"]["orders"])) == (True, "core", 2)
    assert world.store.last_seq(RUN) == before
    assert not world.service.shell.state.portfolios
    status, answer = await post(world, "", {**CORE, "as_planned": "00"})
    assert (status, "nothing was opened" in answer["detail"]) == (409, True)
    assert not journalled(world, PortfolioOpened)
    status, portfolio = await post(world, "", {**CORE, "as_planned": would["plan"]})
    assert status == 200, portfolio
    assert [order | {"order": ""} for order in portfolio["trades"]["orders"]] == would["trades"]["orders"]
    assert (await post(world, "/open/preview", CORE))[0] == 409  # it is open already


@pytest.mark.long
@pytest.mark.requirement("R-193")
async def test_places_that_are_not_open_are_not_shown(world: Any) -> None:
    async with world.session.get("/health") as response:
        assert (await response.json())["models"] == {"even": True, "trend": True}
    for path in ("", "status", "house", "risk", "risk/metrics", "equity", "positions", "portfolio/history"):
        _, answer = await get(world, path)
        assert "portfolio-" not in str(answer), path
    async with world.session.get("/metrics", headers=world.bearer) as response:
        assert "portfolio-" not in await response.text()
    await post(world, "", CORE)
    _, status = await get(world, "status")
    (row,) = (agent for agent in status["agents"] if agent["portfolio"])
    assert (row["name"], row["portfolio"], row["policy"]) == ("portfolio-1", "core", "targets")


async def test_a_portfolio_has_one_name_in_every_route(world: Any) -> None:
    assert (await post(world, "", CORE))[0] == 200
    for read in ("risk?agent=core", "alerts/active?agent=core", "performance?book=core", "agents/core/standing"):
        status, answer = await get(world, read)
        assert status == 200, (read, answer)
    _, decided = await get(world, "decisions?agent=core")
    assert decided["decisions"], "of its own place"
    assert decided == (await get(world, "decisions?agent=portfolio-1"))[1]
    order = {"command": "halt", "agent": "core", "reason": "x"}
    status, done = await sent(world, "commands", order)
    assert (status, done["agent"], done["switch"]) == (200, "core", "HALT")
    assert (await get(world, "agents/core/standing"))[1]["switch"] == "HALT"
    assert (await get(world, "risk?agent=nobody"))[0] == 404
    status, paid = await sent(world, "cash", {"do": "add", "amount": "5", "agent": "core", "reason": "x"})
    assert (status, paid["agent"]) == (200, "portfolio-1")
    order = {"side": "buy", "qty": "1", "symbol": "SPY", "agent": "core", "reason": "x"}
    status, refused = await sent(world, "orders", order)
    assert (status, "is the portfolio core" in refused["detail"]) == (409, True)


ELSEWHERE = [
    ("POST", "/portfolio/create", 'POST /api/v1/portfolios with a body such as {"name": "core", '),
    ("POST", "/api/v1/portfolio/rebalance", "POST /api/v1/agents/{name}/propose with a body such as {"),
    ("POST", "/portfolio/core/rebalance", "POST /api/v1/agents/{name}/propose with a body such as {"),
    ("GET", "/portfolio/list", "GET /api/v1/portfolios answers"),
    ("GET", "/portfolio/core", "GET /api/v1/portfolios answers"),
    ("GET", "/risk/metrics/core", "GET /api/v1/risk?agent=NAME"),
    ("GET", "/risk/alerts/core", "GET /api/v1/alerts/active?agent=NAME"),
    ("GET", "/performance/core", "GET /api/v1/performance?book=NAME"),
    ("GET", "/stats", "GET /api/v1/stats"),
    ("POST", "/predict", 'POST /api/v1/predict with a body such as {"agent": "learned"}'),
    ("POST", "/allocate_from_prices", 'POST /api/v1/allocate with a body such as {"method": "equal_weight", '),
]
"""Method and path of another service, and what is here in its place."""


async def test_an_address_of_another_service_is_answered_with_the_one_here(world: Any) -> None:
    for method, path, present in ELSEWHERE:
        async with world.session.request(method, path, headers=world.bearer) as response:
            problem = await response.json()
        assert (response.status, problem["code"]) == (404, "not_found"), path
        assert present in problem["detail"], path
        assert problem["detail"].endswith(" answers this"), path


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("how", [{"how": "flatten"}, {"how": "hand_over", "to": "even"}])
async def test_a_stale_plan_closes_nothing_and_the_plan_of_now_is_carried_out(
    tmp_path: Path, how: dict[str, str]
) -> None:
    body = {**how, "reason": "the end"}
    async with halfway(tmp_path, text=PORTFOLIOS) as world:
        status, portfolio = await world.post("/api/v1/portfolios", CORE)
        assert status == 200, portfolio
        _, would = await world.post("/api/v1/portfolios/core/close/preview", body)
        _, again = await world.post("/api/v1/portfolios/core/close/preview", {**body, "reason": "in other words"})
        assert would["plan"] == again["plan"] != ""
        await world.feed(8)  # the first orders fill
        for stale in (would["plan"], "00"):
            status, answer = await world.post("/api/v1/portfolios/core/close", {**body, "as_planned": stale})
            assert (status, "nothing was closed, preview it again" in answer["detail"]) == (409, True)
        assert world.events(PortfolioClosed) == []
        status, now = await world.post("/api/v1/portfolios/core/close/preview", body)
        assert status == 200, now
        assert now["plan"] != would["plan"]
        assert len(now["trades"]["orders"]) == (2 if how["how"] == "flatten" else 0)
        status, done = await world.post("/api/v1/portfolios/core/close", {**body, "as_planned": now["plan"]})
        assert status == 200, done
        sent = [(order["side"], order["symbol"], order["qty"], order["limit"]) for order in done["trades"]["orders"]]
        shown = [(order["side"], order["symbol"], order["qty"], order["limit"]) for order in now["trades"]["orders"]]
        assert (done["plan"], sent) == (now["plan"], shown)
        assert len(world.events(PortfolioClosed)) == 1


SLOW = PORTFOLIOS.replace('pace = "fast"', 'pace = "4/s"').replace('at_end = "stop"', 'at_end = "wait"')


def portfolio(folder: Path, *arguments: str) -> Any:
    return answer(quantd(folder, "portfolio", *arguments, "--json"))


@pytest.mark.long
def test_a_portfolio_survives_a_kill_and_a_replay_repeats_it(tmp_path: Path) -> None:
    write(tmp_path, SLOW)
    process = started(tmp_path)
    weights = ("-w", "SPY=0.4", "-w", "IWM=0.3", "-r", "a mandate", "--capital", "20000")
    try:
        until(lambda: quantd(tmp_path, "portfolio", "create", "core", *weights).returncode == 0, process)
        until(lambda: any(row["weight"] > 0.2 for row in portfolio(tmp_path, "list", "core")["positions"]), process)
        before = portfolio(tmp_path, "list", "core")
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
        process = started(tmp_path)
        until(lambda: quantd(tmp_path, "portfolio", "list", "core").returncode == 0, process)
        after = portfolio(tmp_path, "list", "core")
        same = ("name", "agent", "created", "capital", "proposal", "reason", "basis", "state")
        assert {key: after["portfolio"][key] for key in same} == {key: before["portfolio"][key] for key in same}
        assert {r["symbol"]: r["qty"] for r in after["positions"]} == {
            r["symbol"]: r["qty"] for r in before["positions"]
        }
        shown = portfolio(tmp_path, "rebalance", "core", "-w", "QQQ=0.5", "-r", "drift", "--dry-run")
        assert shown["trades"]["orders"]
        closing = portfolio(tmp_path, "close", "core", "hand_over", "--to", "even", "-r", "the end")
        assert closing["to"] == "even"
        until(lambda: not portfolio(tmp_path, "list")["portfolios"], process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    replayed = quantd(tmp_path, "replay", "--json")
    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(replayed.stdout)
