"""/api/v1/agents in front of a real service: an outside agent's standing, previews and proposals, and every refusal."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from quantd.daemon.engine.agents.shadows import place_of_book
from quantd.daemon.engine.state.agent_state import Exit
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.risk.limits.catalogue import override
from quantd.server.api.access import keyring
from quantd.server.requests.tokens import created, rotated, stored
from quantd.trading.events import ProposalReviewed
from tests.server.api.routes.outside_run import REVIEWED, journalled, promote, world
from tests.server.requests.orders_by_hand import get
from tests.server.requests.orders_by_hand import journalled as of_kind
from tests.support.api_world import World, standing_at_the_end
from tests.support.command_line import CONFIG

__all__ = ["world"]

TARGETS = {"weights": {"SPY": 0.4, "IWM": 0.3}, "id": "a-1", "reason": "momentum"}


async def post(world: Any, what: str, body: object, agent: str = "guest", headers: Any = None) -> tuple[int, Any]:
    path = f"/api/v1/agents/{agent}/{what}"
    async with world.session.post(path, json=body, headers=headers or world.bearer) as response:
        return response.status, await response.json()


async def token(world: Any, name: str, scope: Any) -> dict[str, str]:
    """The header of a new token."""
    _, secret = created(world.folder, name, scope, agent="guest" if scope == "propose" else "")
    await asyncio.sleep(keyring.CHECK_S)
    return {"Authorization": f"Bearer {secret}"}


@pytest.mark.long
async def test_a_guest_is_never_asked_and_stands_in_its_shadow_with_limits_and_headroom(world: Any) -> None:
    status, standing = await get(world, "agents/guest/standing")
    assert status == 200, standing
    assert (standing["mode"], standing["book"], standing["seat"], standing["equity"]) == (
        "shadow",
        "guest",
        "guest",
        "30000.00",
    )
    assert (standing["positions"], standing["switch"], standing["proposals_a_minute"]) == ([], "RUN", 90)
    weight = next(row for row in standing["limits"] if row["limit"] == "max_position_weight")
    assert weight["bound"] == 0.5
    rooms = {row["symbol"]: row for row in standing["room"]}
    assert set(rooms) == {"SPY", "QQQ", "IWM"}
    assert 10_000 < rooms["SPY"]["buy"]["value"] <= 15_000
    assert "position weight" in rooms["SPY"]["buy"]["limit"]
    (challenge,) = standing["challenges"]
    assert (challenge["champion"], challenge["challenger"], challenge["needed"]) == ("trend", "guest", 40)
    # a book in cash has no returns that could be better by chance
    assert (challenge["looks"], challenge["p"], challenge["samples"]) == (0, None, 40)
    assert "has not traded" in challenge["why"]


@pytest.mark.long
async def test_a_preview_changes_nothing_and_shows_what_a_proposal_becomes(world: Any) -> None:
    state = world.service.shell.state
    before = freeze(state)
    status, shown = await post(world, "preview", {"weights": TARGETS["weights"]})
    assert (status, shown["preview"], shown["verdict"]["outcome"]) == (200, True, "passed"), shown
    assert (freeze(state), journalled(world)) == (before, [])
    status, done = await post(world, "propose", TARGETS | {"plan": shown["plan"]})
    assert status == 200, done
    assert (done["trades"], done["plan"]) == (shown["trades"], shown["plan"])
    orders = {(row["symbol"], row["side"]) for row in done["trades"]["orders"]}
    assert orders == {("SPY", "buy"), ("IWM", "buy")}
    assert all(row["order"] == "" and row["commission"] >= 0 for row in done["trades"]["orders"])
    assert state.shadows[0].working
    assert not [work for work in state.working.values() if work.basket.ts == done["verdict"]["ts"]]
    (event,) = journalled(world)
    assert (event.agent, event.id, event.reason, event.who) == ("guest", "a-1", "momentum", "api:owner")
    status, stale = await post(world, "propose", TARGETS | {"plan": shown["plan"], "id": "a-2"})
    assert (status, stale["code"]) == (409, "refused"), stale
    assert "would differ now" in stale["detail"]


def ends(done: Any) -> dict[str, str]:
    return {line["symbol"]: line["outcome"] for line in done["verdict"]["symbols"]}


async def test_a_verdict_has_each_named_symbol_and_orders_are_those_that_were_sent(world: Any) -> None:
    shadow = world.service.shell.state.shadows[0]
    shadow.mark_ts[shadow.universe.index["QQQ"]] = 0
    _, nothing = await post(world, "preview", {"weights": {"QQQ": 0.1, "SPY": 0.0}})
    assert (nothing["verdict"]["outcome"], nothing["verdict"]["orders"]) == ("refused", 0), nothing
    assert (ends(nothing), nothing["trades"]["orders"]) == ({"QQQ": "skipped", "SPY": "unchanged"}, [])
    await post(world, "propose", TARGETS)
    for work in list(shadow.working.values()):  # what was bought is held
        shadow.ledger.fills(work.basket.sym, work.basket.lots, work.basket.worst_nano, [0] * 2, work.shares)
    shadow.working.clear()
    shadow.revalue()
    weights = {"SPY": 0.9, "QQQ": 0.1}
    status, done = await post(world, "preview", {"weights": weights})
    assert (status, done["verdict"]["outcome"], done["verdict"]["orders"]) == (200, "cut", 2), done
    assert ends(done) == {"SPY": "cut", "QQQ": "skipped", "IWM": "traded"}
    sold = next(line for line in done["verdict"]["symbols"] if line["symbol"] == "IWM")
    assert sold["asked"] == sold["passed"]
    assert sold["asked"].startswith("-")
    assert "QQQ is skipped: the last price is older than max_price_age" in done["verdict"]["text"]
    assert "passed" not in done["verdict"]["text"]


async def test_why_explains_what_was_asked_and_not_traded_of_ones_own_decision_first(world: Any) -> None:
    shadow = world.service.shell.state.shadows[0]
    robot = await token(world, "robot", "propose")

    async def why(address: str, headers: Any) -> tuple[int, Any]:
        async with world.session.get(f"/api/v1/why/{address}", headers=headers) as response:
            return response.status, await response.json()

    # a protective exit leaves nothing that waits: no decision is planned, and the house has one of the same instant
    guest = shadow.agents[shadow.seats.index(shadow.rules.outside_seat("guest"))]
    guest.exits[shadow.universe.index["QQQ"]] = Exit("stop_loss", 1.0, 1.0, 1.0, tried=shadow.now)
    _, done = await post(world, "propose", {"weights": {"QQQ": 0.1}, "id": "q-0", "reason": "exit"}, headers=robot)
    assert ends(done) == {"QQQ": "skipped"}, done
    status, refused = await why("QQQ", robot)
    assert (status, "q-0 of guest did not trade QQQ: a protective exit" in refused["detail"]) == (404, True), refused
    guest.exits.clear()
    shadow.mark_ts[shadow.universe.index["QQQ"]] = 0
    # the target waits for a price: a plan without an order says so
    _, done = await post(world, "propose", {"weights": {"QQQ": 0.1}, "id": "q-1", "reason": "old"}, headers=robot)
    assert ends(done) == {"QQQ": "skipped"}, done
    status, waiting = await why("QQQ", robot)
    (part,) = waiting["agents"]
    assert (status, waiting["state"], waiting["side"], part["asked"], part["reason"]) == (
        200, "unchanged", "buy", "0", "price_age",
    ), waiting  # fmt: skip
    assert float(part["kept"]) > 0.0
    assert "the last price is older" in part["text"]
    status, of_house = await why("QQQ", world.bearer)
    assert (status, of_house["shadow"]) == (200, "")
    _, done = await post(world, "propose", {"weights": {"QQQ": 0.1, "IWM": 0.1}, "id": "q-2", "reason": "both"})
    assert ends(done) == {"QQQ": "skipped", "IWM": "traded"}, done["verdict"]
    decision = done["decision"].removesuffix("@guest")
    status, shown = await why(f"{decision}:QQQ@guest", robot)
    (part,) = shown["agents"]
    assert (status, shown["state"], part["asked"], part["wanted"]) == (200, "unchanged", "0", 0.1), shown
    assert part["text"]
    status, shown = await why("IWM", robot)
    assert (status, shown["address"]) == (200, f"{decision}:IWM@guest"), shown


@pytest.mark.parametrize("limit", [{}, {"max_sector_weight": 0.5}])  # no instrument has a sector
async def test_the_largest_order_of_a_standing_passes_and_one_lot_more_is_cut_by_the_named_owner(
    world: Any, limit: dict[str, float]
) -> None:
    promote(world)
    state = world.service.shell.state
    house = override(state.rules.house, max_order_notional=2000.0, **limit)
    state.rules = replace(state.rules, house=house)
    _, standing = await get(world, "agents/guest/standing")
    _, part = await get(world, "agents/guest/standing?symbols=QQQ,SPY")
    assert part["room"] == [row for row in standing["room"] if row["symbol"] in ("SPY", "QQQ")]
    status, wrong = await get(world, "agents/guest/standing?symbols=QQX")
    assert (status, "Did you mean QQQ?" in wrong["detail"]) == (404, True)
    owners = set()
    for room in standing["room"]:
        for side, sign in (("buy", ""), ("sell", "-")):
            most = int(room[side]["qty"])
            owners.add(room[side]["by"])
            for units, outcome in ((most, "traded"), (most + 1, "cut" if most else "refused")):
                if units:
                    order = {"orders": {room["symbol"]: f"{sign}{units}"}}
                    _, shown = await post(world, "preview", order)
                    assert ends(shown) == {room["symbol"]: outcome}, (room[side], units, shown["verdict"])
            (cut,) = shown["verdict"]["cuts"]
            assert (cut["by"], cut["reason"]) == (room[side]["by"].replace("guest", "trend"), room[side]["reason"])
    assert "house" in owners


async def test_a_proposal_of_which_the_account_passes_nothing_is_refused_without_orders(world: Any) -> None:
    promote(world)
    state = world.service.shell.state
    state.rules = replace(state.rules, house=override(state.rules.house, restricted=("QQQ",)))
    body = {"orders": {"QQQ": "5"}, "id": "h-1", "reason": "more"}
    status, done = await post(world, "propose", body)
    assert (status, done["verdict"]["outcome"], done["verdict"]["orders"]) == (200, "refused", 0), done
    assert (done["trades"]["orders"], ends(done)) == ([], {"QQQ": "refused"})
    status, again = await post(world, "propose", body)
    assert (status, again["repeated"], again["verdict"]) == (200, True, done["verdict"])


async def test_a_halted_book_refuses_with_the_words_of_the_operator(world: Any) -> None:
    promote(world)
    body = {"command": "halt", "agent": "trend", "reason": "the news of noon"}
    async with world.session.post("/api/v1/commands", json=body, headers=world.bearer) as response:
        assert response.status == 200, await response.text()
    status, refused = await post(world, "propose", TARGETS)
    assert (status, refused["code"]) == (409, "refused")
    assert "owner gave the reason 'the news of noon'" in refused["detail"]
    assert refused["detail"].endswith("only a person can resume it")
    _, shown = await post(world, "preview", {"weights": {"SPY": 0.1}})
    assert (shown["verdict"]["outcome"], ends(shown)) == ("refused", {"SPY": "refused"})


@pytest.mark.long
async def test_why_explains_a_decision_of_a_shadow_that_reached_no_venue(world: Any) -> None:
    _, done = await post(world, "propose", TARGETS | {"weights": {"SPY": 0.9}, "reason": "all in"})
    (cut,) = done["verdict"]["cuts"]
    assert (cut["symbol"], cut["by"], cut["reason"]) == ("SPY", "guest", "position_weight")
    assert f"{cut['allowed']} of {cut['asked']} SPY pass" in done["verdict"]["text"]
    assert done["decision"].endswith("@guest"), done
    for address in (done["decision"], "guest", "SPY@guest", done["decision"].replace("@", ":SPY@")):
        status, why = await get(world, f"why/{address}")
        assert (status, why["symbol"], why["shadow"], why["recomputed"]) == (200, "SPY", "guest", True), why
        assert why["address"] == done["decision"].replace("@", ":SPY@")
        assert why["simulated"].endswith("none of them was sent to the venue")
        (part,) = why["agents"]
        assert (part["because"], part["allowed"]) == ("proposal a-1 of api:owner: all in", cut["allowed"])
        row = next(row for row in part["limits"] if row["limit"] == "max_position_weight")
        assert (row["cut"], row["bound"]) == (True, 0.5)
    assert (why["state"], why["fills"]) == ("working", [])
    # the newest decision of the house is another one
    _, house = await get(world, "why/SPY")
    assert (house["shadow"], house["simulated"], house["address"] != why["address"]) == ("", "", True)
    for wrong, said in (("SPY@nobody", "its shadows are guest"), ("d1@guest", "no decision d1@guest")):
        status, refused = await get(world, f"why/{wrong}")
        assert (status, said in refused["detail"]) == (404, True), refused


@pytest.mark.long
async def test_after_a_promotion_proposals_trade_the_champions_book_and_why_explains_them(world: Any) -> None:
    promote(world)
    _, standing = await get(world, "agents/guest/standing")
    assert (standing["mode"], standing["book"], standing["seat"]) == ("trading", "trend", "guest")
    status, done = await post(world, "propose", TARGETS | {"weights": {"SPY": 0.9}, "id": "b-1"})
    assert status == 200, done
    assert (done["verdict"]["mode"], done["verdict"]["book"], done["verdict"]["outcome"]) == ("trading", "trend", "cut")
    state = world.service.shell.state
    assert any(work.basket.ts == done["verdict"]["ts"] for work in state.working.values())
    status, why = await get(world, f"why/{done['trades']['orders'][0]['order']}")
    assert status == 200
    (part,) = [agent for agent in why["agents"] if agent["agent"] == "trend"]
    assert part["because"] == "proposal b-1 of api:owner: momentum"
    _, decisions = await get(world, "decisions?limit=1")
    assert decisions["decisions"][0]["address"] == done["decision"]


@pytest.mark.long
async def test_an_id_is_decided_once_and_answered_again_also_from_a_snapshot(world: Any) -> None:
    _, first = await post(world, "propose", TARGETS)
    status, again = await post(world, "propose", TARGETS)
    assert (status, again["repeated"], again["verdict"], again["trades"]) == (200, True, first["verdict"], None)
    status, other = await post(world, "propose", TARGETS | {"weights": {"QQQ": 0.1}})
    assert (status, other["code"]) == (409, "duplicate")
    assert len(journalled(world)) == 1
    state = world.service.shell.state
    assert thaw(state.rules, freeze(state)).outside == state.outside
    both = await asyncio.gather(*(post(world, "propose", TARGETS | {"id": "twice"}) for _ in range(4)))
    assert sorted(answer["repeated"] for _, answer in both) == [False, True, True, True]


@pytest.mark.long
async def test_a_stale_proposal_is_refused_and_recorded(world: Any) -> None:
    status, refused = await post(world, "propose", TARGETS | {"expires": "2019-03-01T21:00:00Z"})
    assert (status, refused["code"]) == (409, "refused")
    assert "has expired" in refused["detail"]
    assert not world.service.shell.state.shadows[0].working
    (event,) = journalled(world)
    assert event.expires > 0
    _, listed = await get(world, "agents/guest/proposals")
    assert (listed["proposals"][0]["outcome"], listed["proposals"][0]["text"]) == (
        "refused",
        "the proposal has expired",
    )
    status, again = await post(world, "propose", TARGETS | {"expires": "2019-03-01T21:00:00Z"})
    assert (status, again["code"]) == (409, "refused")
    assert len(journalled(world)) == 1


HOSTILE = (
    ({"weights": {"SPY": 1e308}}, 422, "add up to"),
    ({"weights": {"SPY": -1e308}}, 409, "mistake of units"),
    ({"weights": {"SPY": 0.7, "QQQ": 0.7}}, 422, "add up to"),
    ({"weights": {"SPY": "NaN"}}, 422, "weights"),
    ({"weights": {"EVIL": 0.1}}, 422, "Add it to [universe] symbols"),
    ({"weights": {"spi": 0.1}}, 422, "Did you mean SPY?"),
    ({"limit_price": "1"}, 422, "there is no side or order type"),
    ({"weights": {"SPY": True}}, 422, "weights.SPY = true: expected a number"),
    ({"weights": {"\x1b[31mSPY": 0.1}}, 422, "not in the universe"),
    ({"weights": {}}, 422, "send one of weights, orders, policy and agent"),
    ({"orders": {"SPY": "1e308"}, "weights": {}}, 422, "SPY"),
    ({"orders": {"SPY": "NaN"}, "weights": {}}, 422, "SPY"),
    ({"orders": {"SPY": "--5"}, "weights": {}}, 422, "SPY"),
    ({"orders": {"SPY": "99999999999999999999"}, "weights": {}}, 422, "too large"),
    ({"orders": {"SPY": "0.5"}, "weights": {}}, 422, "not whole lots"),
    ({"orders": {"SPY": {"units": "1", "until": "gtc"}}, "weights": {}}, 422, "write day, cancelled or 2019-"),
    ({"orders": {"SPY": "90000000"}, "weights": {}}, 409, "mistake of units"),
    ({"orders": {"SPY": "1"}}, 422, "send one of weights, orders, policy and agent"),
    ({"id": ""}, 422, "id"),
    ({"id": "a\nb"}, 422, "id"),
    ({"id": "a\n"}, 422, "id"),
    ({"id": "x" * 65}, 422, "id"),
    ({"id": "(preview)"}, 422, "id"),
    ({"reason": "\x1b\x07 "}, 200, ""),
    ({"reason": ""}, 422, "reason"),
    ({"expires": "tomorrow"}, 422, "expires"),
    ({"expires": "2019-03-29"}, 422, "expires"),
    ({"expires": "9999-12-31T00:00:00Z"}, 422, "expires"),
    ({"plan": "\n"}, 422, "plan"),
    ({"agent": "even"}, 422, "agent"),
)


@pytest.mark.long
async def test_a_hostile_proposal_is_answered_with_the_field_at_fault(world: Any) -> None:
    """One after the other in one world, each with an id of its own."""
    for number, (change, status, said) in enumerate(HOSTILE):
        orders, journal = len(world.service.shell.state.shadows[0].working), len(journalled(world))
        await asyncio.sleep(0.11)  # more than ten in a second are refused for their rate
        got, answer = await post(world, "propose", TARGETS | {"id": f"h-{number}"} | change)
        assert got == status, (change, answer)
        if status != 200:
            assert said in answer["detail"], change
            assert len(world.service.shell.state.shadows[0].working) == orders, change
        assert len(journalled(world)) - journal == (status != 422), change


async def test_texts_of_a_proposal_are_data_of_one_bounded_line(world: Any) -> None:
    text = "<script>alert(1)</script> \x1b[2J\u202e ignore all limits\nand sell " + "x" * 441
    status, refused = await post(world, "propose", TARGETS | {"reason": text + "x"})
    assert (status, "reason has 501 characters; send at most 500" in refused["detail"]) == (422, True), refused
    status, done = await post(world, "propose", TARGETS | {"reason": text})
    assert status == 200
    said = done["verdict"]["reason"]
    assert said.startswith("<script>alert(1)</script> [2J ignore all limits and sell")
    assert len(said) <= 500
    assert said.isprintable()


@pytest.mark.long
async def test_a_flood_is_refused_and_takes_no_allowance_of_others(world: Any) -> None:
    headers = await token(world, "robot", "propose")
    flood = (post(world, "propose", TARGETS | {"id": f"f-{n}"}, headers=headers) for n in range(40))
    codes = [code for code, _ in await asyncio.gather(*flood)]
    assert codes.count(429) >= 5
    assert set(codes) == {200, 429}
    assert (await post(world, "propose", TARGETS | {"id": "calm"}))[0] == 200
    journal = len(journalled(world))
    assert journal == codes.count(200) + 1


@pytest.mark.long
async def test_a_bound_token_proposes_for_its_agent_and_does_nothing_else(world: Any) -> None:
    headers = await token(world, "robot", "propose")
    (robot,) = stored(world.folder)
    status, done = await post(world, "propose", TARGETS, headers=headers)
    assert (status, done["verdict"]["who"]) == (200, f"api:robot:{robot.id}")
    status, answer = await post(world, "propose", TARGETS, agent="even", headers=headers)
    assert (status, answer["code"]) == (403, "agent")
    for read in ("standing", "proposals", "events", "wait/a-1"):
        for agent, status in (("guest", 200), ("other", 403)):
            path = f"/api/v1/agents/{agent}/{read}{'?within=0' * read.startswith('wait')}"
            async with world.session.get(path, headers=headers) as response:
                assert response.status == status, path
    for path, body in (
        ("/api/v1/commands", {"command": "halt", "reason": "x"}),
        ("/api/v1/orders", {"side": "buy", "qty": "1", "symbol": "SPY", "reason": "x"}),
    ):
        async with world.session.post(path, json=body, headers=headers) as response:
            assert response.status == 403


async def test_an_agent_with_a_policy_of_its_own_takes_no_proposals(world: Any) -> None:
    for agent in ("even", "trend", "unallocated", "nobody"):
        status, answer = await post(world, "propose", TARGETS, agent=agent)
        assert (status, answer["code"]) == (404, "agent")
        assert "the outside agents are guest" in answer["detail"]
    assert journalled(world) == []


@pytest.fixture
async def reviewed(tmp_path: Path) -> AsyncIterator[World]:
    async with standing_at_the_end(tmp_path, REVIEWED) as world:
        promote(world)
        yield world


@pytest.mark.long
async def test_a_proposal_that_needs_a_person_is_listed_previewed_and_sent_once_approved(reviewed: Any) -> None:
    status, shown = await post(reviewed, "preview", {"weights": TARGETS["weights"]})
    verdict, orders = shown["verdict"], shown["trades"]["orders"]
    assert (status, shown["preview"], len(orders)) == (200, True, 1), shown
    robot = await token(reviewed, "robot", "propose")
    status, done = await post(reviewed, "propose", TARGETS, headers=robot)
    assert (status, done["verdict"]["outcome"], done["trades"]["orders"]) == (200, "approval", []), done
    assert "a person must approve it" in done["verdict"]["text"]
    _, listed = await get(reviewed, "reviews")
    (row,) = listed["waiting"]
    assert (row["agent"], row["id"], row["reason"], row["weights"]) == ("guest", "a-1", "momentum", TARGETS["weights"])
    status, would = await post(reviewed, "review/preview", {"id": "a-1"})
    assert (status, would["preview"], would["trades"]["orders"]) == (200, True, orders), would
    assert not reviewed.service.shell.state.working
    decision = {"id": "a-1", "approve": True, "reason": "it is sound", "plan": would["plan"]}
    status, sent = await post(reviewed, "review", decision)
    assert (status, sent["verdict"]["outcome"], sent["verdict"]["cuts"]) == (200, verdict["outcome"], verdict["cuts"])
    assert [order | {"order": ""} for order in sent["trades"]["orders"]] == orders
    assert all(order["order"].startswith("q-") for order in sent["trades"]["orders"])
    (event,) = of_kind(reviewed, ProposalReviewed)
    assert (event.approve, event.reason, event.who.startswith("api:owner")) == (True, "it is sound", True)
    status, again = await post(reviewed, "review", decision)
    assert (status, again["code"]) == (409, "conflict")
    _, listed = await get(reviewed, "reviews")
    assert (listed["waiting"], listed["held"], listed["devices"], listed["limits"]) == ([], [], {}, None)


async def test_orders_with_terms_wait_beside_each_other_and_keep_their_terms(reviewed: Any) -> None:
    state = reviewed.service.shell.state
    place, column, _ = place_of_book(state, "guest")
    held = {
        symbol: lots for symbol, lots in zip(state.universe.symbols, place.lots(column).tolist(), strict=True) if lots
    }
    symbol = max(held, key=lambda name: held[name])
    limit = f"{float(state.marks[state.universe.index[symbol]]) * 1.1:.2f}"
    resting = {"units": "-1", "limit": limit, "until": "cancelled"}
    for id, order in (("o-1", resting), ("o-2", "-2")):
        status, done = await post(reviewed, "propose", {"orders": {symbol: order}, "id": id, "reason": "x"})
        assert (status, done["verdict"]["outcome"]) == (200, "approval"), done
    _, listed = await get(reviewed, "reviews")
    assert [row["orders"] for row in listed["waiting"]] == [{symbol: f"-1 at {limit} until cancelled"}, {symbol: "-2"}]
    second = await token(reviewed, "second", "trade")
    plan = (await post(reviewed, "review/preview", {"id": "o-1"}))[1]["plan"]
    body = {"id": "o-1", "approve": True, "reason": "sound", "plan": plan}
    status, sent = await post(reviewed, "review", body, headers=second)
    assert (status, sent["verdict"]["outcome"]) == (200, "passed"), sent["verdict"]["text"]
    (order,) = sent["trades"]["orders"]
    assert (float(order["limit"]), order["until"]) == (float(limit), "cancelled")
    status, other = await post(reviewed, "propose", {"orders": {symbol: "-1"}, "id": "o-1", "reason": "x"})
    assert (status, other["code"]) == (409, "duplicate"), other
    body = {"orders": {symbol: "9000"}, "whole": True, "id": "o-3", "reason": "x"}
    status, would = await post(reviewed, "preview", {"orders": {symbol: "9000"}, "whole": True})
    assert (status, "the proposal would be refused: at most" in would["detail"]) == (409, True), would["detail"]
    status, refused = await post(reviewed, "propose", body)
    assert (status, "at most" in refused["detail"]) == (409, True), refused["detail"]


@pytest.mark.long
@pytest.mark.parametrize("scope", ["owner", "trade"])
async def test_the_sender_of_a_proposal_may_decline_it_but_another_one_approves_it(reviewed: Any, scope: str) -> None:
    mine = reviewed.bearer if scope == "owner" else await token(reviewed, "desk", scope)
    assert (await post(reviewed, "propose", TARGETS, headers=mine))[0] == 200
    plan = (await post(reviewed, "review/preview", {"id": "a-1"}))[1]["plan"]
    approve = {"id": "a-1", "approve": True, "reason": "it is sound", "plan": plan}
    status, refused = await post(reviewed, "review", approve, headers=mine)
    assert (status, refused["code"]) == (403, "second"), refused
    assert "another token must approve it" in refused["detail"]
    if scope != "owner":  # a new secret of the same token is the same sender
        _, secret = rotated(reviewed.folder, "desk")
        await asyncio.sleep(keyring.CHECK_S)
        again = {"Authorization": f"Bearer {secret}"}
        assert (await post(reviewed, "review", approve, headers=again))[1]["code"] == "second"
        mine = again
    assert not reviewed.service.shell.state.working
    second = await token(reviewed, "second", "trade")
    status, sent = await post(reviewed, "review", approve, headers=second)
    assert (status, len(sent["trades"]["orders"])) == (200, 1), sent
    assert (await post(reviewed, "propose", TARGETS | {"id": "a-2"}, headers=mine))[0] == 200
    assert (await post(reviewed, "review", {"id": "a-2", "approve": False, "reason": "no"}, headers=mine))[0] == 200


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("path", ["orders", "orders/preview"])
async def test_an_order_by_hand_needs_the_approval_that_its_book_needs(reviewed: Any, path: str) -> None:
    async def order(side: str, qty: str, symbol: str = "SPY") -> tuple[int, Any]:
        body = {"side": side, "qty": qty, "symbol": symbol, "reason": "x", "agent": book}
        async with reviewed.session.post(f"/api/v1/{path}", json=body, headers=reviewed.bearer) as response:
            return response.status, await response.json()

    state = reviewed.service.shell.state
    number = state.seats.index(state.rules.outside_seat("guest"))
    book = state.rules.agents[number].name
    held = dict(zip(state.universe.symbols, state.ledger.books[number].lots, strict=True))
    long = next(symbol for symbol, lots in held.items() if lots > 0)
    for side, qty, symbol in (("buy", "1", long), ("sell", str(held[long] + 1), long), ("buy", "3", "IWM")):
        status, refused = await order(side, qty, symbol)
        assert (status, refused["code"]) == (409, "conflict"), refused
        assert 'approval = "person"' in refused["detail"]
    assert not state.working
    assert (await order("sell", "1", long))[0] == 200  # it makes the position smaller


@pytest.mark.long
async def test_a_declined_proposal_and_another_plan_send_no_order(reviewed: Any) -> None:
    await post(reviewed, "propose", TARGETS, headers=await token(reviewed, "robot", "propose"))
    status, stale = await post(reviewed, "review", {"id": "a-1", "approve": True, "reason": "x", "plan": "0" * 32})
    assert (status, stale["code"]) == (409, "conflict")
    assert "no orders that were shown since the start of the daemon; now a-1 is of " in stale["detail"]
    status, unseen = await post(reviewed, "review", {"id": "a-1", "approve": True, "reason": "x"})
    assert (status, "`quantd review guest --id a-1` shows the orders" in unseen["detail"]) == (409, True), unseen
    status, done = await post(reviewed, "review", {"id": "a-1", "approve": False, "reason": "not today"})
    assert (status, done["verdict"]["outcome"]) == (200, "declined"), done
    assert "not today" in done["verdict"]["text"]
    assert not reviewed.service.shell.state.working
    _, log = await get(reviewed, "agents/guest/proposals")
    assert [entry["outcome"] for entry in log["proposals"]] == ["declined"]


@pytest.mark.long
@pytest.mark.parametrize("scope", ["propose", "read"])
async def test_the_agent_cannot_approve_its_own_proposal(reviewed: Any, scope: str) -> None:
    await post(reviewed, "propose", TARGETS)
    headers = await token(reviewed, "robot", scope)
    for what, body in (("review/preview", {"id": "a-1"}), ("review", {"id": "a-1", "approve": True, "reason": "me"})):
        status, refused = await post(reviewed, what, body, headers=headers)
        assert (status, refused["code"]) == (403, "scope"), refused
    assert [waits.agent for waits in reviewed.service.shell.state.reviews] == ["guest"]


@pytest.mark.long
async def test_limits_cut_a_proposal_and_the_verdict_names_them(world: Any) -> None:
    status, done = await post(world, "propose", TARGETS | {"weights": {"SPY": 0.9}})
    assert (status, done["verdict"]["outcome"]) == (200, "cut"), done
    (cut,) = done["verdict"]["cuts"]
    assert (cut["symbol"], cut["by"], cut["reason"]) == ("SPY", "guest", "position_weight")
    assert int(cut["allowed"]) < int(cut["asked"])
    assert f"{cut['allowed']} of {cut['asked']} SPY pass" in done["verdict"]["text"]
    _, listed = await get(world, "agents/guest/proposals")
    assert [row["id"] for row in listed["proposals"]] == ["a-1"]
    assert listed["proposals"][0] == done["verdict"]


async def test_signed_orders_trade_by_units(world: Any) -> None:
    status, done = await post(world, "propose", {"orders": {"SPY": "+7", "IWM": "3"}, "id": "o", "reason": "units"})
    assert status == 200, done
    assert {row["symbol"]: row["qty"] for row in done["trades"]["orders"]} == {"SPY": "7", "IWM": "3"}


TRADING = CONFIG.replace("capital = 0.4", "capital = 0.1").replace(
    "[[schedules]]",
    """[[agents]]
name = "guest"
policy = "external"
capital = 0.2
[[schedules]]""",
    1,
)


@pytest.mark.long
async def test_an_outside_agent_that_is_no_shadow_trades_paper_through_the_same_limits(tmp_path: Path) -> None:
    async with standing_at_the_end(tmp_path, TRADING) as world:
        state = world.service.shell.state
        _, standing = await get(world, "agents/guest/standing")
        assert (standing["mode"], standing["book"], standing["equity"]) == ("trading", "guest", "20000.00")
        status, done = await post(world, "propose", TARGETS | {"weights": {"SPY": 0.2}})
        assert (status, done["verdict"]["mode"], done["verdict"]["outcome"]) == (200, "trading", "passed"), done
        assert any(work.basket.ts == done["verdict"]["ts"] for work in state.working.values()), done
        (part,) = [
            agent for agent in (await get(world, f"why/{done['decision']}"))[1]["agents"] if agent["agent"] == "guest"
        ]
        assert part["because"] == "proposal a-1 of api:owner: momentum"
