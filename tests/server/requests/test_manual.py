"""Orders, cash and corrections by hand: through the API and the command line, in the journal, with what became
of them."""

import asyncio
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from quantd.daemon.engine import step
from quantd.daemon.engine.venue.account import free_micro
from quantd.server.requests.control import NotDone
from quantd.server.requests.manual import how_of
from quantd.server.requests.manual_answers import ENDED_TEXT
from quantd.trading.effects import Booked, Publish, Refused
from quantd.trading.events import CancelRequested, Flow, Halted, Proposed
from quantd.trading.sessions import DAY_NS
from tests.server.requests.orders_by_hand import BY_HAND, journalled, post, world
from tests.support.api_world import RATES, RUN, get, in_shared_loop, standing_shared
from tests.support.command_line import CONFIG, quantd
from tests.support.engine import World as Engine
from tests.support.engine import block, walk
from tests.support.live_runs import NOW, parts, slices, stretch, venue_of
from tests.support.remote_venue import Remote, Script

__all__ = ["world"]


shared = standing_shared(BY_HAND.replace("[api]\n", f"[api]\n{RATES}"))


ORDER = {"side": "buy", "qty": "10", "symbol": "SPY", "reason": "the desk wants it"}


@pytest.mark.long
async def test_an_order_goes_through_the_gate_into_the_book_of_orders_by_hand(world: Any) -> None:
    status, done = await post(world, "orders", ORDER)
    assert status == 200, done
    assert (done["agent"], done["allowed"], done["reason"]) == ("manual", "10", "")
    state = world.service.shell.state
    (wish,) = journalled(world, Proposed)
    assert (wish.agent, wish.orders[0].lots, wish.reason, wish.who) == ("manual", 10, "the desk wants it", "api:owner")
    (kept,) = (await get(world, "/api/v1/orders?limit=1"))[1]["orders"]
    assert (kept["id"], kept["symbol"]) == (done["order"], "SPY")
    assert kept["limit"] == done["limit"]
    (open_row,) = list(state.open_rows(len(state.agents) - 1))
    assert open_row[1] == 10


async def test_an_order_by_hand_may_rest_at_a_price_until_it_is_cancelled(world: Any) -> None:
    mark = float(world.service.shell.state.marks[world.service.shell.state.universe.index["SPY"]])
    limit = f"{mark * 0.9:.2f}"
    status, done = await post(world, "orders", ORDER | {"limit": limit, "until": "cancelled"})
    assert (status, done["allowed"], float(done["limit"])) == (200, "10", float(limit))
    (work,) = world.service.shell.state.working.values()
    assert (list(work.basket.end), bool(work.cause)) == ([0], True)
    for terms, words in (({"limit": f"{mark * 2:.2f}"}, "is beyond the collar"), ({"until": "soon"}, "instant")):
        status, answer = await post(world, "orders", ORDER | terms)
        assert status in (409, 422)
        assert words in str(answer)


async def test_an_order_by_hand_may_be_a_stop_order_and_gets_the_same_verdict_as_a_proposal(world: Any) -> None:
    state = world.service.shell.state
    mark = float(state.marks[state.universe.index["SPY"]])
    above, below = f"{mark * 1.1:.2f}", f"{mark * 0.9:.2f}"
    status, done = await post(world, "orders", ORDER | {"trigger": above, "limit": above, "until": "cancelled"})
    assert (status, done["waits"]) == (200, True)
    assert done["text"] == f"held until a bar of SPY closes at {float(above):.2f} or above; {ENDED_TEXT}"
    (held,) = state.awaiting
    assert (held.id, held.orders[0].trigger_nano) == (done["order"], held.orders[0].limit_nano)
    status, answer = await post(world, "orders", ORDER | {"trigger": below})
    assert status == 409
    assert "is reached" in str(answer)
    assert "send a market order, or another stop" in str(answer)
    status, answer = await post(world, "orders", ORDER | {"trigger": "soon"})
    assert (status, answer["code"]) == (422, "amount")
    assert len(state.awaiting) == 1
    # an order of the same instant has an id of its own, so that each of the two can be cancelled
    second = (await post(world, "orders", ORDER | {"symbol": "QQQ", "qty": "2", "trigger": "9000"}))[1]["order"]
    assert second == f"{done['order']}-2"
    for order, symbol in ((second, "QQQ"), (done["order"], "SPY")):
        status, gone = await post(world, "orders/cancel", {"order": order, "reason": "x"})
        assert (status, gone["symbol"]) == (200, symbol), gone
    assert not state.awaiting


async def test_what_the_gate_cuts_is_said_with_the_limit_and_whose(world: Any) -> None:
    status, done = await post(world, "orders", ORDER | {"qty": "100000"})
    assert status == 200
    assert 0 < int(done["allowed"]) < 100000
    assert done["cut_by"] in ("manual", "house")
    assert done["reason"]
    assert done["text"]
    await post(world, "commands", {"command": "halt", "agent": "manual", "reason": "x"})
    status, done = await post(world, "orders", ORDER | {"symbol": "QQQ"})
    assert (status, "`quantd resume --agent manual --reason R` sets it to RUN" in done["text"]) == (200, True), done
    await post(world, "commands", {"command": "halt", "reason": "x"})
    status, done = await post(world, "orders", ORDER | {"symbol": "QQQ"})
    assert (status, done["allowed"], done["order"], done["reason"]) == (200, "0", "", "switch")
    assert (done["cut_by"], done["text"]) == (
        "house", "the switch of house is HALT; `quantd resume --reason R` sets it to RUN"
    )  # fmt: skip


@pytest.mark.requirement("R-207")
async def test_an_order_with_the_plan_of_a_preview_is_refused_once_it_would_become_another(world: Any) -> None:
    asked, before = ORDER | {"side": "sell", "qty": "5", "agent": "trend"}, world.store.last_seq(RUN)
    status, preview = await post(world, "orders/preview", asked)
    assert (status, preview["would"]["allowed"]) == (200, "5")
    assert (await post(world, "orders/preview", asked | {"reason": "another"}))[1] == preview
    assert world.store.last_seq(RUN) == before
    planned = asked | {"as_planned": str(preview["plan"])}
    assert (await post(world, "orders", planned | {"qty": "6"}))[0] == 409
    status, done = await post(world, "orders", planned)
    assert (status, done["allowed"]) == (200, "5")
    assert (await post(world, "commands", {"command": "halt"}))[0] == 200
    status, refused = await post(world, "orders", planned)
    assert (status, refused["code"], "preview it again" in refused["detail"]) == (409, "conflict", True)


async def test_an_order_may_be_for_another_agents_book(world: Any) -> None:
    status, done = await post(world, "orders", ORDER | {"side": "sell", "qty": "1", "agent": "even"})
    assert (status, done["agent"], done["side"], done["allowed"]) == (200, "even", "sell", "1")


async def test_an_order_may_carry_a_stop_and_a_target_of_the_position_that_it_makes(world: Any) -> None:
    status, done = await post(world, "orders", ORDER | {"stop": "1.00", "target": "9000.5"})
    assert (status, done["allowed"], done["stop"], done["target"]) == (200, "10", "1.00", "9000.50")
    assert done["text"] == f"not cut; {ENDED_TEXT}"
    (wish,) = journalled(world, Proposed)
    assert (wish.orders[0].stop_nano, wish.orders[0].target_nano) == (10**9, 9_000_500_000_000)
    (protection,) = world.service.shell.state.protection.own.values()
    assert (protection.stop_nano, protection.target_nano) == (10**9, 9_000_500_000_000)
    for levels in ({"stop": "9000"}, {"target": "1"}):
        status, answer = await post(world, "orders", ORDER | levels)
        assert (status, answer["code"]) == (409, "conflict")
        assert "the price of SPY" in str(answer)
    status, answer = await post(world, "orders", ORDER | {"side": "sell", "qty": "1", "agent": "even", "stop": "9000"})
    assert status == 409
    assert "this order closes SPY" in str(answer)


@in_shared_loop
@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("orders", {"stop": "1e2"}, 422, "amount"),
        ("orders", {"target": "-3"}, 422, "amount"),
        ("orders", {"side": "hold"}, 422, "command"),
        ("orders", {"qty": "0"}, 422, "amount"),
        ("orders", {"qty": "-5"}, 422, "amount"),
        ("orders", {"qty": "1e3"}, 422, "amount"),
        ("orders", {"qty": "0.5"}, 409, "conflict"),
        ("orders", {"qty": "9" * 40}, 422, "amount"),
        ("orders", {"qty": "nan"}, 422, "amount"),
        ("orders", {"symbol": "SPYX"}, 404, "symbol"),
        ("orders", {"agent": "nobody"}, 404, "agent"),
        ("orders", {"reason": " "}, 422, "reason"),
        ("orders", {"reason": "x" * 501}, 422, "command"),
        ("orders", {"until": "gtc"}, 422, "targets"),
        ("cash", {"do": "add", "amount": "1.0000001", "reason": "x"}, 422, "amount"),
        ("cash", {"do": "add", "amount": "1000", "reason": ""}, 422, "reason"),
        ("cash", {"do": "add", "amount": "1000", "reason": "x", "agent": "nobody"}, 404, "agent"),
        ("cash", {"do": "remove", "amount": "1000000", "reason": "x"}, 409, "conflict"),
        ("cash", {"do": "spend", "amount": "1", "reason": "x"}, 422, "command"),
        ("reconcile", {}, 409, "venue"),
        ("reconcile", {"how": "fence", "reason": "x" * 20_000}, 413, "request_entity_too_large"),
    ],
)
async def test_what_cannot_be_meant_is_refused_and_changes_nothing(
    shared: Any, path: str, body: dict[str, str], status: int, code: str
) -> None:
    before = shared.store.last_seq(RUN)
    answer_status, answer = await post(shared, path, (ORDER | body) if path == "orders" else body)
    assert (answer_status, answer["code"]) == (status, code)
    assert shared.store.last_seq(RUN) == before


async def test_nobody_without_the_token_orders_or_moves_money(world: Any) -> None:
    for path, body in (("orders", ORDER), ("cash", {"do": "add", "amount": "1", "reason": "x"}), ("reconcile", {})):
        assert (await post(world, path, body, bearer=False))[0] == 401
    async with world.session.post("/api/v1/orders", data=json.dumps(ORDER), headers=world.bearer) as response:
        assert response.status == 415


@pytest.mark.parametrize("world", [CONFIG], indirect=True)
async def test_without_the_table_the_order_says_how_to_write_it(world: Any) -> None:
    status, answer = await post(world, "orders", ORDER)
    assert (status, answer["code"]) == (404, "agent")
    assert "[manual]" in answer["detail"]
    assert "even, trend" in answer["detail"]


async def test_the_book_of_orders_by_hand_is_asked_by_nobody(world: Any) -> None:
    state = world.service.shell.state
    assert [a.name for a in state.rules.agents] == ["even", "trend", "manual"]
    assert state.rules.agents[2].min_trade == 0.0
    book = state.ledger.books[2]
    assert book.cash_micro == state.rules.agents[2].capital_micro
    _, listed = await get(world, "/api/v1/decisions?limit=500")
    agents = {agent["agent"] for decision in listed["decisions"] for agent in decision["agents"]}
    assert agents <= {"even", "trend"}


@pytest.mark.long
async def test_money_moves_in_and_out_without_profit(world: Any) -> None:
    state = world.service.shell.state
    state.revalue()
    high, equity = state.switch.high_water, state.equity_micro
    status, paid = await post(world, "cash", {"do": "add", "amount": "1000.50", "reason": "more", "agent": "even"})
    assert status == 200, paid
    assert state.equity_micro == equity + 1_000_500_000
    assert state.switch.high_water == pytest.approx(high * (equity + 1_000_500_000) / equity, abs=1), (
        "the loss is the same fraction"
    )
    assert paid["cash"] == f"{state.ledger.books[0].cash_micro / 1e6:.6f}".rstrip("0") or paid["cash"]
    status, paid = await post(world, "cash", {"do": "remove", "amount": "500.50", "reason": "rent", "agent": "manual"})
    assert (status, paid["amount"]) == (200, "-500.50")
    assert [(f.amount_micro, f.agent, f.reason) for f in journalled(world, Flow)] == [
        (1_000_500_000, "even", "more"), (-500_500_000, "manual", "rent"),
    ]  # fmt: skip
    assert "rent" in (await get(world, "/api/v1/alerts?limit=2"))[1]["alerts"][0]["text"]


async def test_a_person_halts_one_symbol_and_ends_it_and_both_are_in_the_journal(world: Any) -> None:
    asked = {"do": "halt", "symbol": "QQQ", "reason": "earnings tonight"}
    status, done = await post(world, "halts", asked)
    why = "by hand: api:owner: earnings tonight"
    assert (status, done) == (200, {"symbol": "QQQ", "halted": True, "why": why, "replayed": False})
    status, refused = await post(world, "orders", ORDER | {"symbol": "QQQ"})
    assert (status, refused["order"], refused["reason"]) == (200, "", "halted")
    assert refused["text"] == f"QQQ is halted: {why}; `quantd resume --symbol QQQ --reason R`"
    assert (await get(world, "/api/v1/status"))[1]["halted"] == {"QQQ": "by hand: api:owner: earnings tonight"}
    assert (await post(world, "halts", asked | {"do": "resume", "reason": "they are out"}))[1]["halted"] is False
    assert [(h.halted, h.detail, h.who) for h in journalled(world, Halted)] == [
        (True, "earnings tonight", "api:owner"), (False, "they are out", "api:owner"),
    ]  # fmt: skip
    for body, status in (
        (asked | {"do": "resume"}, 409), (asked | {"symbol": "QQ"}, 404), (asked | {"reason": " "}, 422),
        ({"do": "stop"}, 422), (asked | {"jump": "real"}, 422),
    ):  # fmt: skip
        assert (await post(world, "halts", body))[0] == status
    assert (await post(world, "halts", asked, bearer=False))[0] == 401


async def test_no_more_is_taken_than_open_orders_leave(world: Any) -> None:
    state = world.service.shell.state
    number = len(state.agents) - 1
    before = free_micro(state, number)
    assert before == state.ledger.books[number].cash_micro
    await post(world, "orders", ORDER)
    after = free_micro(state, number)
    assert after < before
    more = {"do": "remove", "amount": f"{(after + 1) // 10**6 + 1}", "reason": "x", "agent": "manual"}
    assert (await post(world, "cash", more))[0] == 409
    assert (await post(world, "cash", more | {"amount": f"{after // 10**6}"}))[0] == 200


def test_the_engine_itself_moves_no_more_than_there_is() -> None:
    engine = Engine(block(walk(10, 2, 1)), [lambda view: view.weights])
    state = engine.shell.state
    before = state.ledger.house.cash_micro
    message, refused = step(state, Flow(0, -before - 1, "me", agent="a0", reason="greed"))
    assert isinstance(message, Publish)
    assert refused == Refused("conflict", message.text)
    assert (message.level, state.ledger.house.cash_micro) == ("WARNING", before)
    effects: Sequence[object] = step(state, Flow(0, -before, "me", agent="a0", reason="all of it"))
    assert any(isinstance(e, Booked) for e in effects)
    assert state.ledger.house.cash_micro == 0
    step(state, Flow(0, -5, "venue", id="v1"))
    assert state.ledger.house.cash_micro == -5, "what a venue took is gone, whatever we had"


async def test_the_commands_print_what_became_of_it(world: Any, tmp_path: Path) -> None:
    done = await asyncio.to_thread(quantd, tmp_path, "order", "buy", "3", "SPY", "--reason", "try", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["allowed"] == "3"
    levels = ("--stop", "1.00", "--target", "9000")
    done = await asyncio.to_thread(quantd, tmp_path, "order", "buy", "3", "QQQ", "--reason", "try", *levels)
    other = await asyncio.to_thread(quantd, tmp_path, "positions", "--set", "risk.max_drawdown=0.1")
    assert (other.returncode, "changes nothing for a daemon that runs" in other.stderr) == (2, True)
    assert "the position has stop 1.00 and target 9000.00" in done.stdout
    waits = ("--trigger", "0.01", "--until", "cancelled", "--reason", "try", "--json")
    stop = json.loads((await asyncio.to_thread(quantd, tmp_path, "order", "sell", "1", "SPY", *waits)).stdout)["order"]
    listed = (await asyncio.to_thread(quantd, tmp_path, "orders")).stdout
    assert f"{stop} of manual, SPY -1 from 0.01 on until cancelled, is held until a bar" in listed
    ends = re.search(r"`quantd (cancel .*) --reason WHY` ends it", listed)
    assert ends is not None
    assert (await asyncio.to_thread(quantd, tmp_path, *ends[1].split(), "--reason", "try")).returncode == 0
    assert stop not in (await asyncio.to_thread(quantd, tmp_path, "orders")).stdout
    done = await asyncio.to_thread(quantd, tmp_path, "order", "buy", "500000", "IWM", "--reason", "try")
    assert "cut from 500000" in done.stdout
    done = await asyncio.to_thread(quantd, tmp_path, "order", "buy", "1", "SPY")
    assert done.returncode == 2
    assert "--reason" in done.stderr
    done = await asyncio.to_thread(quantd, tmp_path, "cash", "add", "10.00", "--reason", "gift")
    assert "unallocated book has" in done.stdout
    done = await asyncio.to_thread(quantd, tmp_path, "reconcile")
    assert done.returncode == 1
    assert "no venue" in done.stderr


# ---- a venue across a network --------------------------------------------------------------------


async def at_a_venue(tmp_path: Path) -> Any:
    """The service of a run at a venue."""
    of = parts()
    venue = venue_of(of)
    stopped_run = await stretch(tmp_path, of, Script(of.universe, DAY_NS, slices(4), venue, NOW), Remote(venue))
    stopped_run.service.status = "running"
    return stopped_run.service


@pytest.mark.long
async def test_a_correction_needs_a_reason_and_a_book_that_there_is(tmp_path: Path) -> None:
    service = await at_a_venue(tmp_path)
    with pytest.raises(NotDone, match="reason"):
        how_of(service, "fence", "")
    with pytest.raises(NotDone, match="no agent"):
        how_of(service, "nobody", "x")
    assert how_of(service, "", "") == ""


@pytest.mark.long
async def test_cash_is_the_venues_business_where_there_is_one(tmp_path: Path) -> None:
    from quantd.server.requests.manual import Cash, flow

    service = await at_a_venue(tmp_path)
    with pytest.raises(NotDone, match="reports deposits and withdrawals itself") as refused:
        flow(service, Cash("add", "10.00", "x"))
    assert refused.value.fault == "venue"


async def test_one_open_order_is_previewed_cancelled_and_then_refused(world: Any) -> None:
    _, sent = await post(world, "orders", ORDER)
    _, other = await post(world, "orders", ORDER | {"symbol": "QQQ"})
    status, would = await post(world, "orders/cancel/preview", {"order": sent["order"]})
    assert (status, would["side"], would["left"], would["qty"], would["agents"]) == (200, "buy", "10", "10", ["manual"])
    assert journalled(world, CancelRequested) == []
    cancel = {"order": sent["order"], "reason": "the wrong symbol"}
    status, done = await post(world, "orders/cancel", cancel)
    assert (status, done["state"], done["symbol"]) == (200, "cancelled", "SPY"), done
    (event,) = journalled(world, CancelRequested)
    assert (event.reason, event.who.startswith("api:owner")) == ("the wrong symbol", True)
    status, again = await post(world, "orders/cancel", cancel)
    assert (status, again["code"]) == (409, "conflict"), again
    assert "is cancelled, so it cannot be cancelled" in again["detail"]
    _, kept = await post(world, "orders/cancel/preview", {"order": other["order"]})
    assert kept["left"] == "10"


@pytest.mark.long
async def test_why_names_the_halt_that_cancelled_an_order(world: Any) -> None:
    _, sent = await post(world, "orders", ORDER)
    status, _ = await post(world, "commands", {"command": "halt", "reason": "margin call"})
    assert status == 200
    _, why = await get(world, f"/api/v1/why/{sent['order']}?recorded=true")
    assert (why["state"], why["cancelled"].split(", ")[0]) == ("cancelled", "halt of api:owner: margin call"), why


@pytest.mark.long
async def test_the_cancel_of_an_unknown_order_or_without_a_reason_is_refused_with_the_remedy(world: Any) -> None:
    status, unknown = await post(world, "orders/cancel", {"order": "q-nothing", "reason": "x"})
    assert (status, unknown["code"]) == (404, "order")
    assert "`quantd orders` lists" in unknown["detail"]
    _, sent = await post(world, "orders", ORDER)
    status, silent = await post(world, "orders/cancel", {"order": sent["order"], "reason": " "})
    assert (status, silent["code"]) == (422, "reason"), silent
    assert journalled(world, CancelRequested) == []


@pytest.mark.long
async def test_the_command_cancel_names_what_it_ends(world: Any, tmp_path: Path) -> None:
    _, sent = await post(world, "orders", ORDER)
    shown = await asyncio.to_thread(quantd, tmp_path, "cancel", sent["order"], "--dry-run")
    assert shown.stdout.startswith("would cancel buy 10 of 10 SPY (0 filled)\nmanual may order again"), shown
    done = await asyncio.to_thread(quantd, tmp_path, "cancel", sent["order"], "--reason", "an error")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "cancelled: buy 10 of 10 SPY (0 filled)"), done
    again = await asyncio.to_thread(quantd, tmp_path, "cancel", sent["order"], "--reason", "an error")
    assert (again.returncode, "so it cannot be cancelled" in again.stderr) == (1, True), again
    why = await asyncio.to_thread(quantd, tmp_path, "why", sent["order"], "--recorded")
    (line,) = (line for line in why.stdout.splitlines() if "cancelled by" in line)
    assert re.fullmatch(r"  cancelled by \S+: an error, \d{4}-\d\d-\d\d \d\d:\d\d New York", line), why
