"""The HTTP edge in front of a real service with a real store: what it tells, and whom it obeys."""

import asyncio
import json
import re
import ssl

import aiohttp
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from quantd.adapters.sinks.sink import Counts
from quantd.daemon.assembly.names import known_names
from quantd.daemon.config import load
from quantd.daemon.engine.state import HOUSE
from quantd.daemon.engine.state.snapshot import freeze
from quantd.daemon.runtime.timeline import instants
from quantd.daemon.views import overview as views
from quantd.daemon.views.explanation import Explanation
from quantd.daemon.views.headroom import Book, RiskNow
from quantd.daemon.views.overview import limits_now
from quantd.daemon.views.preview import PlanNow
from quantd.daemon.views.risk_measures import assessed
from quantd.server.api import commits, server
from quantd.server.api.access import guard
from quantd.server.api.server import Api, ApiUnavailable
from quantd.trading.events import Condition, Tick
from tests.support.api_world import RUN, World, command, get, in_shared_loop, raw, standing_at_the_end
from tests.support.command_line import CONFIG, ROOT, write
from tests.support.mqtt import certificate, until
from tests.support.service_kit import FullFor, Slow


@in_shared_loop
async def test_the_status_has_the_largest_entries_of_its_lists_and_the_number_of_the_others(shared, monkeypatch):
    _, held = await get(shared, "/api/v1/positions")
    values = [abs(float(row["value"])) for row in held["positions"]]
    assert values == sorted(values, reverse=True)
    assert held["count"] == len(values) == 3
    _, status = await get(shared, "/api/v1/status")
    assert (status["more"], [agent["more"] for agent in status["agents"]]) == ({}, [0, 0])
    monkeypatch.setattr(views, "SHOWN", 1)
    monkeypatch.setattr(views, "WEIGHTS_SHOWN", 1)
    overview = msgspec.to_builtins(views.overview(shared.service, shared.assembly, shared.config))
    assert [row["symbol"] for row in overview["positions"]] == [held["positions"][0]["symbol"]]
    assert overview["more"] == {"positions": 2}
    for agent, before in zip(overview["agents"], status["agents"], strict=True):
        largest = max(before["weights"], key=lambda symbol: abs(before["weights"][symbol]))
        assert (list(agent["weights"]), agent["more"]) == ([largest], len(before["weights"]) - 1)


@in_shared_loop
async def test_positions_are_limited_and_found_by_a_part_of_their_symbol(shared):
    _, held = await get(shared, "/api/v1/positions")
    _, first = await get(shared, "/api/v1/positions?limit=1")
    assert (first["positions"], first["count"]) == (held["positions"][:1], 3)
    _, matches = await get(shared, "/api/v1/positions?search=qq")
    assert ([row["symbol"] for row in matches["positions"]], matches["count"]) == (["QQQ"], 1)
    status, wrong = await get(shared, "/api/v1/positions?limit=0")
    assert (status, wrong["errors"][0]["field"]) == (422, "limit")


@pytest.mark.requirement("R-125")
async def test_positions_have_their_unrealised_profit_and_their_share_of_the_risk(world):
    _, positions = await get(world, "/api/v1/positions")
    rows, house = positions["positions"], assessed(world.service.shell.state).house
    assert len(rows) > 1
    for row in rows:
        assert float(row["unrealised"]) == pytest.approx(float(row["value"]) - float(row["cost"]), abs=1e-6)
        part = house.positions[row["symbol"]].component_volatility
        assert row["risk_share"] == pytest.approx(part / house.volatility_annual)
    assert sum(row["risk_share"] for row in rows) == pytest.approx(1.0)
    assert any(float(row["unrealised"]) for row in rows)


@pytest.mark.long
@in_shared_loop
async def test_what_it_tells_agrees_with_the_account(shared):
    status, now = await get(shared, "/api/v1/status")
    state = shared.service.shell.state
    assert status == 200
    assert now["ready"]
    assert now["run"] == RUN
    assert now["equity"].replace(".", "").ljust(12, "0")[:12] == str(state.equity_micro)[:12].ljust(12, "0")
    assert {p["symbol"] for p in now["positions"]} == {
        s for s, lots in zip(state.universe.symbols, state.ledger.house.lots, strict=True) if lots
    }
    for agent in now["agents"]:
        assert sum(agent["weights"].values()) + agent["cash"] == pytest.approx(1.0)
    _, orders = await get(shared, "/api/v1/orders?limit=3")
    assert len(orders["orders"]) == 3
    _, equity = await get(shared, "/api/v1/equity?points=10")
    assert len(equity["equity"]) == 10
    assert equity["equity"][-1]["equity"] == now["equity"]


@in_shared_loop
async def test_room_and_plan_are_told_and_change_nothing(shared):
    state = shared.service.shell.state
    before = freeze(state)
    status, now = await get(shared, "/api/v1/risk")
    assert status == 200
    assert msgspec.to_builtins(msgspec.convert(now, RiskNow, strict=True)) == now
    direct = Book(state)
    largest = sorted(range(3), key=lambda column: -abs(state.lots(HOUSE)[column] * state.marks[column]))
    assert msgspec.to_builtins(list(direct.rooms(largest))) == now["room"]
    assert now["count"] == 3
    _, first = await get(shared, "/api/v1/risk?limit=1")
    assert (first["room"], first["count"]) == (now["room"][:1], 3)
    _, matches = await get(shared, "/api/v1/risk?search=wm")
    assert ([r["symbol"] for r in matches["room"]], matches["count"]) == (["IWM"], 1)
    status, risk = await get(shared, "/api/v1/risk?agent=trend&symbol=QQQ")
    assert (status, risk["book"], [r["symbol"] for r in risk["room"]]) == (200, "trend", ["QQQ"])
    status, plan = await get(shared, "/api/v1/plan")
    assert status == 200
    assert msgspec.to_builtins(msgspec.convert(plan, PlanNow, strict=True)) == plan
    assert [a["agent"] for a in plan["answers"]] == ["even", "trend"]
    assert freeze(state) == before
    assert shared.service.shell.state is state


@pytest.mark.long
@in_shared_loop
async def test_a_refusal_is_explained_by_its_address_and_a_symbol_by_its_newest(shared):
    _, listed = await get(shared, "/api/v1/decisions?limit=200")
    cut = next(d for d in reversed(listed["decisions"]) if d["reasons"])
    symbol = next(iter(cut["reasons"]))
    status, explanation = await get(shared, f"/api/v1/why/{cut['address']}:{symbol}")
    assert status == 200
    assert msgspec.to_builtins(msgspec.convert(explanation, Explanation, strict=True)) == explanation
    assert (explanation["address"], explanation["symbol"]) == (f"{cut['address']}:{symbol}", symbol)
    assert explanation["recomputed"]
    assert sum(row["cut"] for row in explanation["limits"]) == 1
    assert (await get(shared, f"/api/v1/why/{symbol}"))[1]["symbol"] == symbol
    earlier = (await get(shared, f"/api/v1/why/{symbol}?at=2019-02-15"))[1]
    assert earlier["time"] < "2019-02-16"
    recorded = (await get(shared, f"/api/v1/why/{cut['address']}:{symbol}?recorded=1"))[1]
    assert not recorded["recomputed"]
    assert recorded["allowed"] == explanation["allowed"]


SHIPPED = re.sub(r'"((?:data|models)/)', rf'"{ROOT}/\1', (ROOT / "config.toml").read_text()).replace(
    "[broker]", "end = 2020-04-30\n[broker]", 1
)


@pytest.mark.long
@pytest.mark.requirement("R-196")
async def test_a_risk_message_has_the_figures_of_one_instant_and_they_are_the_apis(tmp_path):
    world = World(tmp_path, SHIPPED)
    service, messages = world.service, []
    stepping = asyncio.create_task(service.step_forever())
    chunk = []
    for instant in instants(world.assembly.items()):
        chunk.append(instant)
        if not (isinstance(instant[-1], Tick) and instant[-1].sample) or instant[-1].warmup:
            continue
        await service.inbox.put(chunk)
        chunk = []
        while len(service.inbox) or service._stepping or service._committed < service.journal.seq:
            await service.changed(0.05)
        message = [json.loads(m.payload) for m in world.published if m.topic == "quantd/paper/risk"][-1]
        present = {limit.limit: limit.value for limit in limits_now(service.shell.state)}
        assert {name: limit["value"] for name, limit in message["limits"].items()} == present
        messages.append(message)
        world.published.clear()
    service.shell.stopped = "the test is over"
    await stepping
    world.store.close()
    assert len(messages) > 300
    assert max(message["drawdown"] for message in messages) > 0.05
    differences = [m for m in messages if abs(m["drawdown"] - m["limits"]["max_drawdown"]["value"]) > 1e-9]
    assert differences == []


@pytest.mark.requirement("R-188")
async def test_health_is_503_while_it_is_not_ready(world):
    assert (await get(world, "/health"))[0] == 200
    for state in ("starting", "store failing", "stopped"):
        world.service.status = state
        assert (await get(world, "/health"))[0] == 503
    world.service.status = "ended"


@pytest.mark.long
async def test_a_halt_is_answered_and_the_trouble_shown_while_the_store_takes_nothing(world):
    full = FullFor(world.store, 1_000_000)
    world.service.store = full
    status, done = await command(world, {"command": "halt", "reason": "full"}, world.bearer)
    assert (status, done["switch"]) == (200, "HALT")
    assert "no space left" in done["unrecorded"]
    status, health = await get(world, "/health")
    assert (status, health["status"], health["switch"]) == (503, "store failing", "HALT")
    assert health["store"] == (await get(world, "/api/v1/status"))[1]["store"] == done["unrecorded"]
    status, refused = await command(world, {"command": "flatten", "reason": "out"}, world.bearer)
    assert (status, refused["code"]) == (503, "not_ready")
    full.left = 0
    await until(lambda: not world.service.store_error, "a working store")
    status, done = await command(world, {"command": "halt", "reason": "again"}, world.bearer)
    assert (status, done["unrecorded"]) == (200, "")


@pytest.mark.long
async def test_a_halt_that_a_slow_store_has_not_taken_is_answered_as_in_force(world, monkeypatch):
    monkeypatch.setattr(commits, "WAIT_S", 0.1)
    world.service.store = Slow(world.store)
    status, done = await command(world, {"command": "halt", "reason": "slow"}, world.bearer)
    assert (status, done["switch"], done["unrecorded"]) == (200, "HALT", "the store did not commit within 0.1 s")
    status, refused = await command(world, {"command": "resume", "reason": "slow"}, world.bearer)
    assert (status, refused["code"]) == (504, "late")


async def test_a_sink_that_takes_no_alerts_is_in_status_and_metrics(world):
    sinks = world.service.sinks
    sinks["lines"], sinks["webhook"] = Counts(sent=7), Counts(2, 5, 3, "the receiver answers 503")
    while not (now := (await get(world, "/api/v1/status"))[1])["undelivered"]:
        await world.service.changed(0.1)
    assert now["undelivered"] == {"webhook": "the receiver answers 503"}
    assert now["sinks"]["webhook"] == {
        "queued": 2, "delivered": 5, "failures": 3, "error": "the receiver answers 503",
    }  # fmt: skip
    _, health = await get(world, "/health")
    assert health["sinks"] == {"lines": {"queued": 0, "failing": False}, "webhook": {"queued": 2, "failing": True}}
    async with world.session.get("/metrics") as response:
        text = await response.text()
    assert 'quantd_sink_failing{name="paper",sink="webhook"} 1.0' in text
    assert 'quantd_sink_failures_total{name="paper",sink="webhook"} 3.0' in text
    assert 'quantd_sink_queue_depth{name="paper",sink="webhook"} 2.0' in text
    assert 'quantd_sink_deliveries_total{name="paper",sink="lines"} 7.0' in text
    sinks.clear()


HELPED = """
[[agents]]
name = "helped"
policy = "learned_allocation"
capital = 0.1
"""


@pytest.mark.requirement("R-215")
async def test_a_scrape_tells_what_helper_models_are_worth_beside_their_plain_estimates(tmp_path):
    async with standing_at_the_end(tmp_path, CONFIG + HELPED) as world:
        async with world.session.get("/metrics") as response:
            text = await response.text()
        values = {
            (s.name, s.labels["model"], s.labels.get("estimate", "")): s.value
            for family in text_string_to_metric_families(text)
            for s in family.samples
            if s.labels.get("agent") == "helped" and "model" in s.labels
        }
        policy = world.assembly.policies[2]
        for kind, forest in policy.forests.items():
            judged = forest.artifact.manifest.together
            for estimate, score in (("model", judged.model), ("plain", judged.plain)):
                assert values["quantd_model_r2", kind, estimate] == pytest.approx(score.r2)
                assert values["quantd_model_mse", kind, estimate] == pytest.approx(score.mse)
                assert values["quantd_model_running_mse", kind, estimate] > 0.0
            assert values["quantd_model_training_seconds", kind, ""] == forest.artifact.seconds > 0.0
            assert values["quantd_model_on", kind, ""] == (judged.model.mse < judged.plain.mse)
        # started off, and said once in a whole run
        _, listing = await get(world, "/api/v1/alerts?limit=100")
        notes = [a["text"] for a in listing["alerts"] if "learned_allocation" in a["text"]]
        assert len(notes) == 1
        assert "stands in for allocation" in notes[0]


@pytest.mark.requirement("R-222")
async def test_a_proxy_passes_the_names_on_that_the_configuration_lists(tmp_path):
    async with standing_at_the_end(tmp_path, CONFIG + 'open_reads = false\nnames = ["trader.example"]\n') as world:
        for host, status in {"trader.example": 200, "TRADER.example:8443": 200, "other.trader.example": 421}.items():
            assert (await get(world, "/api/v1/status", headers={"Host": host, **world.bearer}))[0] == status
        assert (await get(world, "/api/v1/status", headers={"Host": "trader.example"}))[0] == 401


@pytest.mark.long
@pytest.mark.requirement("R-231")
async def test_beyond_this_machine_no_figure_is_read_without_the_token(tmp_path):
    cert, key = certificate(tmp_path)
    text = CONFIG.replace(
        "[api]", f'[api]\nhost = "0.0.0.0"\nopen_reads = false\ntls = {{ certificate = "{cert}", key = "{key}" }}'
    )
    async with standing_at_the_end(tmp_path, text) as world:
        trusting = ssl.create_default_context(cafile=cert)
        basic = {"Authorization": aiohttp.BasicAuth("me", world.token).encode()}
        routes = {
            route.resource.canonical.replace("{order}", "SPY").replace("{version}/{name}", "1/acts.js")
            for route in world.api.application().router.routes()
            if route.method == "GET"
        }
        assert {"/", "/metrics", "/api/v1/events", "/api/v1/why/SPY"} <= routes
        public = {"/health", "/", "/api/v1/session", *(path for path in routes if path.startswith("/dashboard/"))}
        for path in sorted(routes - public):
            world.api._guard._wrong.clear()
            for wrong in ({"Authorization": "Basic bWU6eA=="}, {"Authorization": "Basic !"}, {}):
                async with world.session.get(path, headers=wrong, ssl=trusting) as response:
                    assert (response.status, response.headers["WWW-Authenticate"]) == (401, 'Basic realm="quantd"')
                    assert RUN not in await response.text()
            for right in (world.bearer, basic):
                async with world.session.get(path, headers=right, ssl=trusting) as response:
                    # nothing has this name
                    # a WebSocket, and a read with a required parameter
                    found = {"/api/v1/link": 426, "/api/v1/research/limit": 422}.get(path, 200)
                    assert response.status == (404 if "{" in path else found), path
        async with world.session.get("/health", ssl=trusting) as response:
            assert response.status == 200
        for k in range(guard.WRONG_TOKENS + 1):
            guess = {"Authorization": f"Bearer {k}"}
            await (await world.session.get("/api/v1/status", headers=guess, ssl=trusting)).read()
        async with world.session.get("/api/v1/status", headers=guess, ssl=trusting) as response:
            assert response.status == 429
        async with world.session.get("/api/v1/status", ssl=trusting) as response:
            assert (response.status, "WWW-Authenticate" in response.headers) == (401, True)
        for path in public:  # the page holds no figures: it needs a sign-in to show some
            async with world.session.get(path, ssl=trusting) as response:
                assert (response.status, RUN in await response.text()) == (200, False), path
        body = {"command": "halt"}
        world.api._guard._wrong.clear()
        async with world.session.post("/api/v1/commands", json=body, headers=basic, ssl=trusting) as response:
            assert response.status == 401
        async with world.session.post("/api/v1/commands", json=body, headers=world.bearer, ssl=trusting) as response:
            assert response.status == 200


async def test_a_command_with_the_token_is_in_the_journal_when_it_is_answered(world):
    before = world.store.last_seq(RUN)
    status, done = await command(world, {"command": "halt", "reason": "lunch\nbreak"}, world.bearer)
    assert (status, done["switch"]) == (200, "HALT")
    assert world.store.last_seq(RUN) > before
    assert world.service.shell.state.switch.state == 2
    status, alerts = await get(world, "/api/v1/alerts?limit=1")
    assert "lunch break" in alerts["alerts"][0]["text"]
    status, refused = await command(world, {"command": "resume", "reason": " \n"}, world.bearer)
    assert (status, refused["code"]) == (422, "reason")
    status, refused = await command(world, {"command": "resume"}, world.bearer)
    assert (status, refused["code"]) == (422, "command")
    assert "reason" in refused["detail"]
    back = {"command": "resume", "reason": "back"}
    world.service.halt_file.touch()
    status, refused = await command(world, back, world.bearer)
    assert (status, refused["code"]) == (409, "halt_file")
    world.service.halt_file.unlink()
    assert (await command(world, back, world.bearer))[1]["switch"] == "RUN"


async def test_resuming_while_something_is_down_names_it(world):
    await world.service.inbox.command(Condition(world.service.shell.state.now, "clock", False, "it jumped"))
    status, refused = await command(world, {"command": "resume", "reason": "hope"}, world.bearer)
    assert (status, refused["code"]) == (409, "down")
    assert "clock" in refused["detail"]


@pytest.mark.requirement("R-231")
@in_shared_loop
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer x"},
        {"Authorization": "Basic eDp5"},
        {"Cookie": "token=x"},
    ],
)
async def test_nobody_without_the_token_changes_anything(shared, headers):
    status, body = await command(shared, {"command": "halt"}, headers)
    assert status == 401
    assert body["code"] == "token"
    assert shared.service.shell.state.switch.state == 0


@pytest.mark.long
async def test_a_token_of_any_bytes_is_a_wrong_token(world, caplog):
    head = b"POST /api/v1/commands HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nAuthorization: Bearer "
    answers = [(await raw(world, head + bytes([k]) + b"\r\n\r\n"))[0] for k in range(0xF0, 0x100)]
    assert answers == [401] * guard.WRONG_TOKENS + [429] * (len(answers) - guard.WRONG_TOKENS)
    assert not caplog.records


@pytest.mark.long
async def test_a_request_that_cannot_be_parsed_is_refused_in_one_line_without_a_stack(world, caplog):
    bearer = b"Authorization: " + world.bearer["Authorization"].encode()
    head = b"POST /api/v1/commands HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n" + bearer
    with capture_logs() as logs:
        for bad in (
            b"\r\nContent-Type: application/json\r\nContent-Encoding: br\r\n\r\n{}",
            b"\r\nX\x00: y\r\n\r\n{}",
        ):
            status, text = await raw(world, head + bad)
            assert status == 400
            assert b"Traceback" not in text
    assert [line["event"] for line in logs] == ["api.refused"] * 2
    assert all("exc_info" not in line and "\n" not in line["error"] for line in logs)
    assert not caplog.records


@in_shared_loop
async def test_a_form_of_another_page_cannot_command(shared):
    data = json.dumps({"command": "halt"})
    async with shared.session.post("/api/v1/commands", data=data, headers=shared.bearer) as response:
        assert response.status == 415
    async with shared.session.options("/api/v1/commands", headers={"Origin": "http://evil.example"}) as response:
        assert "Access-Control-Allow-Origin" not in response.headers
        assert response.status == 405


@in_shared_loop
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "",
        "[::2]:80",
        "[::1]evil.example",
        "[::1]:80evil",
        "[::1]:80:80",
        "localhost:80:80",
        "localhost@evil",
    ],
)
async def test_another_name_for_this_machine_is_refused(shared, host):
    assert (await get(shared, "/api/v1/status", headers={"Host": host}))[0] == 421


@in_shared_loop
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9", "LOCALHOST:1", "[::1]:80"])
async def test_its_own_names_are_accepted(shared, host):
    assert (await get(shared, "/api/v1/status", headers={"Host": host}))[0] == 200


@pytest.mark.requirement("R-207")
@in_shared_loop
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nothing", 404),
        ("/../../etc/passwd", 404),
        ("/dashboard/../../app.py", 404),
        ("/api/v1/orders?limit=-1", 422),
        ("/api/v1/equity?points=99999999", 422),
        *((f"/api/v1/{what}?since=2&until=1", 422) for what in ("orders", "fills", "alerts", "profit", "profit/days")),
        # seconds and milliseconds, which would choose every row, or none
        *((f"/api/v1/{what}?since=1546300800", 422) for what in ("orders", "fills", "alerts", "equity", "bars")),
        ("/api/v1/orders?until=1546300800000", 422),
        ("/api/v1/why/q-none", 404),
        ("/api/v1/why/d1:SPY", 404),
        ("/api/v1/why/SPYX", 404),
        ("/api/v1/risk?agent=nobody", 404),
        *((f"/api/v1/{what}?symbol=spy", 404) for what in ("risk", "orders", "fills", "refusals", "bars")),
        ("/api/v1/why/%27%3B%20DROP%20TABLE%20orders", 404),
    ],
)
async def test_errors_are_json_without_a_stack(shared, path, status):
    answer_status, body = await get(shared, path)
    assert answer_status == status
    assert set(body) == {"type", "title", "status", "code", "detail", "errors"}
    assert "Traceback" not in json.dumps(body)


@pytest.mark.parametrize(
    ("body", "remedy"),
    [
        ({"command": "resume", "agent": "even"}, '; send {"command": "resume", "reason": "..", "agent": "even"}'),
        ({"command": "RESUME", "agent": "even"}, '; send {"command": "resume", "reason": "..", "agent": "even"}'),
    ],
)
async def test_a_remedy_keeps_what_was_sent_without_a_fault(world, body, remedy):
    status, answer = await command(world, body, world.bearer)
    assert (status, answer["detail"].endswith(remedy)) == (422, True), answer["detail"]
    status, done = await command(world, json.loads(remedy.removeprefix("; send ")), world.bearer)
    assert (status, done["command"]) == (200, "resume")


@pytest.mark.parametrize("field", [{"agent": 5}, {"agent": ""}, {"agents": ["even"]}, {"until": "1h"}])
async def test_no_remedy_makes_an_act_on_a_part_one_on_the_whole_account(world, field):
    status, answer = await command(world, {"command": "halt", "reason": "x"} | field, world.bearer)
    assert (status, "; send" in answer["detail"]) == (422, False), answer["detail"]


@in_shared_loop
@pytest.mark.parametrize(
    ("asked", "remedy"),
    [
        ({"side": "sell", "qty": 5}, {"qty": "5"}),
        ({"side": "SELL", "qty": 0.5}, {"side": "sell", "qty": "0.5"}),
        ({"side": "SELL", "qty": "7", "limit": "43"}, {"side": "sell"}),
        ({"side": "buy", "qty": "7", "limit": 43}, {"limit": "43"}),
        ({"side": "short", "qty": "7"}, None),
        ({"side": "buy", "notional": 500}, None),
        ({"side": "sell", "qty": 5, "reason": "x" * 400}, None),
    ],
)
async def test_a_remedy_for_an_order_is_the_order_that_was_asked(shared, asked, remedy):
    body = {"symbol": "QQQ", "reason": "x"} | asked
    async with shared.session.post("/api/v1/orders", json=body, headers=shared.bearer) as response:
        status, answer = response.status, await response.json()
    shown = answer["detail"].partition("; send ")[2]
    assert status == 422
    assert (json.loads(shown) if shown else None) == (remedy and body | remedy), answer["detail"]


@in_shared_loop
@pytest.mark.parametrize("rest", [b"", b'"\xff"}', b"1e999}", b"[" * 5_000 + b"]" * 5_000 + b"}"])
async def test_a_body_that_is_malformed_behind_its_first_fault_is_refused(shared, rest):
    headers = shared.bearer | {"Content-Type": "application/json"}
    data = b'{"command": 5, "reason": ' + rest
    async with shared.session.post("/api/v1/commands", data=data, headers=headers) as response:
        assert (response.status, '; send {"command"' in (await response.json())["detail"]) == (422, True)


@pytest.mark.long
@pytest.mark.requirement("R-207")
async def test_a_fault_of_the_daemon_is_told_to_its_log_only(world):
    rules, world.service.shell.state.rules = world.service.shell.state.rules, None
    world.service.progress += 1
    with capture_logs() as logs:
        status, body = await get(world, "/api/v1/status")
    world.service.shell.state.rules = rules
    assert status == 500
    assert "NoneType" not in body["detail"]
    (line,) = logs
    assert "exc_info" not in line
    assert line["error"].startswith("AttributeError: 'NoneType'")
    assert "overview.py:" in line["at"]


@in_shared_loop
async def test_every_answer_has_the_security_headers(shared):
    for path in ("/", "/dashboard/dashboard.js", "/nothing", "/api/v1/status"):
        async with shared.session.get(path) as response:
            kept = {"Cache-Control": "no-cache"} if path in ("/", "/dashboard/dashboard.js") else {}
            policy = "Content-Security-Policy"
            door = f" http://127.0.0.1:{shared.api.context.guard.origins.door}"
            kept[policy] = guard.HEADERS[policy].replace("connect-src 'self'", f"connect-src 'self'{door}")
            assert {name: response.headers.get(name) for name in guard.HEADERS} == {**guard.HEADERS, **kept}


@pytest.mark.requirement("R-208")
async def test_events_follow_each_commit(world):
    async with world.session.get("/api/v1/events") as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"

        async def switch():
            while True:
                line = (await asyncio.wait_for(stream.content.readline(), 60)).decode()
                if line.startswith("data: "):
                    return json.loads(line[6:])["overview"]["switch"]

        assert await switch() == "RUN"
        await command(world, {"command": "halt"}, world.bearer)
        assert await switch() == "HALT"


@pytest.mark.long
@pytest.mark.parametrize("requests", [0, 2])
async def test_a_slow_header_ends_its_connection_after_earlier_requests_too(tmp_path, monkeypatch, requests):
    monkeypatch.setattr(server, "KEEPALIVE_S", 0.5)
    async with standing_at_the_end(tmp_path) as world:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(world.api.url.rsplit(":", 1)[1].strip("/")))
        for _ in range(requests):
            writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
            await reader.readexactly(int(re.search(rb"Content-Length: (\d+)", head)[1]))
        writer.write(b"GET /health HTTP/1.1\r\nX-Slow: ")
        assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()


@pytest.mark.long
async def test_a_taken_port_is_named_with_the_remedy(world, tmp_path):
    port = world.api.url.rsplit(":", 1)[1].strip("/")
    config = load(write(tmp_path), known_names(), sets=[f"api.port={port}"])
    other = Api(world.service, world.assembly, config, tmp_path / "other", None)
    with pytest.raises(ApiUnavailable, match=r"any free one: --set api[.]port=0 --set bus[.]port=0"):
        await other.start()
