"""POST /api/v1/plan/what-if: a plan under other limits, weights and shares, which changes nothing."""

import asyncio
from typing import Any

import pytest

from quantd.daemon.engine.state.snapshot import freeze
from quantd.server.api.access import keyring
from quantd.server.requests.tokens import created
from tests.server.requests.orders_by_hand import BY_HAND, post, world
from tests.support.api_world import RATES, RUN, command, get

__all__ = ["world"]

pytestmark = [
    pytest.mark.long,
    pytest.mark.parametrize("world", [BY_HAND.replace("[api]\n", f"[api]\n{RATES}")], indirect=True),
]


def by_limit(plan: Any) -> dict[str, Any]:
    return {row["limit"]: row for row in plan["limits"]}


async def test_a_tighter_limit_cuts_the_plan_and_the_run_is_unchanged(world: Any) -> None:
    before, seq = freeze(world.service.shell.state), world.store.last_seq(RUN)
    asked = {"agent": "even", "weights": {"SPY": 0.5}, "limits": ["risk.max_position_weight=0.05"]}
    status, body = await post(world, "plan/what-if", asked)
    assert status == 200, body
    free = await post(world, "plan/what-if", {**asked, "limits": []})
    assert free[0] == 200, free
    bought = {order["symbol"]: float(order["qty"]) for order in free[1]["then"]["orders"] if order["side"] == "buy"}
    cut = [row for row in body["then"]["refused"] if row["symbol"] == "SPY"]
    assert cut or bought.get("SPY", 0.0) > 0.0
    assert by_limit(body["then"])["max_position_weight"]["bound"] == 0.05
    assert by_limit(body["now"])["max_position_weight"]["bound"] == 0.6
    assert by_limit(body["now"])["max_drawdown"]["before"] == by_limit(body["now"])["max_drawdown"]["after"]
    assert body["looser"] == []
    assert body["now"]["var"] == pytest.approx(by_limit(body["now"])["var"]["before"])
    # the plan now is the one of the route without a question
    assert (await get(world, "/api/v1/plan"))[1] == body["now"]
    assert freeze(world.service.shell.state) == before
    assert world.store.last_seq(RUN) == seq
    status, body = await post(world, "plan/what-if", {"limits": ["risk.max_drawdown=0.5"]})
    assert (status, body["looser"]) == (200, ["risk.max_drawdown"])


async def test_given_weights_are_planned_for_that_agent_alone_and_a_share_moves_cash_between_books(world: Any) -> None:
    status, body = await post(world, "plan/what-if", {"agent": "even", "weights": {"SPY": 0.0}})
    assert status == 200, body
    answers = {each["agent"]: each for each in body["then"]["answers"]}
    assert not any(answers["even"]["weights"].values())
    assert answers["trend"] == {each["agent"]: each for each in body["now"]["answers"]}["trend"]
    sold = {
        order["symbol"] for order in body["then"]["orders"] if order["side"] == "sell" and "even" in order["agents"]
    }
    held = (await get(world, "/api/v1/status"))[1]["agents"]
    assert sold >= {symbol for each in held if each["name"] == "even" for symbol in each["weights"]} - {""}
    assert body["then"]["var_after"] < body["now"]["var"]
    house = (await get(world, "/api/v1/status"))[1]
    even = next(each for each in held if each["name"] == "even")
    share = float(even["equity"]) / float(house["equity"])
    assert share < 0.9
    status, body = await post(world, "plan/what-if", {"shares": {"manual": 0.02, "even": share + 0.05}})
    assert status == 200, body  # the book of orders by hand is in cash
    now, then = ({order["symbol"]: order for order in body[key]["orders"]} for key in ("now", "then"))
    assert then != now
    assert any("even" in order["agents"] and order["side"] == "buy" for order in then.values())
    status, body = await post(world, "plan/what-if", {"shares": {"even": 0.95}})
    assert (status, body["code"]) == (409, "conflict"), body
    assert "unallocated book has" in body["detail"]


async def test_what_is_no_limit_or_no_agent_is_refused_and_a_token_that_reads_is_enough(world: Any) -> None:
    for asked, field in (
        ({"limits": ["feed.path=/etc/passwd"]}, "limits"),
        ({"limits": ["risk.max_drawdown=15"]}, "limits"),
        ({"shares": {"even": 2.0}}, "shares"),
        ({"agent": "nobody", "weights": {"SPY": 0.1}}, None),
        ({"agent": "even", "weights": {"NONE": 0.1}}, "weights"),
        ({"weights": {"SPY": 0.1}}, "agent"),
        ({"limits": ["risk.max_drawdown=0.1", "risk.max_drawdown=0.2"]}, "limits"),
        ({"limits": ["risk.max_drawdown"]}, "limits"),
    ):
        status, body = await post(world, "plan/what-if", asked)
        assert status in (404, 422), (asked, body)
        assert field is None or body["errors"][0]["field"] == field, (asked, body)
    assert "/etc/passwd" not in str(await post(world, "plan/what-if", {"limits": ["feed.path=/etc/passwd"]}))
    _, secret = created(world.folder, "reader", "read")
    await asyncio.sleep(keyring.CHECK_S)
    headers = {"Authorization": f"Bearer {secret}"}
    async with world.session.post("/api/v1/plan/what-if", json={"limits": []}, headers=headers) as response:
        assert response.status == 200, await response.text()
    assert (await post(world, "plan/what-if", {}, bearer=False))[0] == 401
    status, body = await command(world, {"command": "halt", "reason": "a test"}, world.bearer)
    assert status == 200, body
    status, body = await post(world, "plan/what-if", {"limits": ["risk.max_drawdown=0.1"]})
    assert status == 200
    assert "HALT" in body["then"]["note"]
