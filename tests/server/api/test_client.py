"""The Python client: a method for each route, typed answers, refusals as errors, and one attempt to change anything."""

import asyncio
import re
import subprocess
import sys
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

import quantd
from quantd.daemon.views.overview import with_risk
from quantd.daemon.views.risk_measures import assessed
from quantd.server.api.access.guard import DOORS
from quantd.server.api.client_side import python_client as client_module
from quantd.server.api.client_side.api_error import ApiError
from quantd.server.api.client_side.python_client import Client
from quantd.server.api.openapi import FOR_BROWSERS
from quantd.server.api.route_records import Entry, Page, Post, Read
from quantd.trading.events import Flow
from tests.server.requests.orders_by_hand import BY_HAND, journalled, world
from tests.support.api_world import RATES, RUN

__all__ = ["world"]

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "why": ("SPY",),
    "halt": ("a test",),
    "resume": ("a test",),
    "order": ("buy", "1", "SPY", "a test"),
    "preview_order": ("buy", "1", "SPY", "a test"),
    "cash": ("add", "10.00", "a test"),
    "halt_symbol": ("halt", "SPY", "a test"),
    "model": ("even",),
    "preview_setting": ("risk.max_drawdown", "0.1"),
}
REFUSED: dict[str, tuple[Any, ...]] = {
    "compare_backtests": ("none", "other"),
    "past_with_limit": ("feed.path=none",),
    "job": ("77",),
    "act": ("none",),
    "run_schedule": ("none", "a test"),
    "reconcile": (),
    "acknowledge": ("none", "a test"),
    "open_portfolio": ("core", "a test"),
    "preview_portfolio": ("core", "a test"),
    "preview_closing": ("none", "flatten", "a test"),
    "agent_standing": ("none",),
    "agent_proposals": ("none",),
    "agent_events": ("none",),
    "wait": ("none", "1"),
    "backtest_weights": ("none", {"SPY": 0.1}),
    "preview": ("none",),
    "propose": ("none", "1", "a test"),
    "close_portfolio": ("none", "flatten", "a test"),
    "cancel_order": ("q-none", "a test"),
    "settle_order": ("q-none", "a test"),
    "preview_cancel": ("q-none",),
    "preview_review": ("none", "1"),
    "review": ("none", "1", "a test"),
    "approve_limits": ("a test",),
    "load_model": ("none", "a test"),
    "shadow_model": ("none", "a test"),
    "predict": (),
    "start_backtest": ("a test",),
    "start_sweep": ("a test", ["no such key=1,2"]),
    "cancel_research": ("77", "a test"),
    "pin_backtest": ("a test",),
    "change_setting": ("risk.max_drawdown", "0.1", "a test"),
}
"""Requests that this world refuses: its venue is simulated, and it has no incidents, places or looser limits. The
change of a setting lacks the plan of its preview."""

NAMED: dict[str, dict[str, Any]] = {
    "settle_order": {"never_sent": True},
    "allocate": {"prices": {"SPY": [100.0, 101.0]}, "method": "equal_weight"},
    "open_portfolio": {"symbols": ("SPY",)},
    "preview_portfolio": {"symbols": ("SPY",)},
    "preview": {"weights": {"SPY": 0.1}},
    "propose": {"weights": {"SPY": 0.1}},
    "predict": {"artifact": "models/none"},
    "review": {"approve": True, "plan": "00"},
    "start_backtest": {"sets": ["no.such=1"]},
    "pin_backtest": {"backtest": "none"},
}
"""Arguments by keyword."""

METHODS = [name for name in vars(Client) if not name.startswith("_")]


class Noting(Client):
    """A client that notes what it requests."""

    asked: list[tuple[str, str]]

    def _ask(self, method: str, path: str, *more: Any) -> Any:
        self.asked.append((method, path.partition("?")[0]))
        return super()._ask(method, path, *more)


def client_of(world: Any, kind: type[Client] = Client) -> Any:
    return kind(world.api.url, world.token)


@pytest.mark.long
@pytest.mark.parametrize("world", [BY_HAND.replace("[api]\n", f"[api]\n{RATES}")], indirect=True)
async def test_each_route_has_a_method_and_each_answer_its_type(world: Any) -> None:
    client = client_of(world, Noting)
    client.asked = []

    def call() -> None:
        for name in METHODS:
            if name == "events":
                client.asked.append(("GET", "/api/v1/events"))
                assert next(iter(client.events())).overview.run == RUN
                continue
            if name == "change_model":
                assert client.change_model("even", "pause", "a test").suspended
                assert not client.change_model("even", "resume", "a test").suspended
                for do in ("promote", "demote"):
                    with pytest.raises(ApiError, match="no shadow"):
                        client.change_model("even", do, "a test")
                continue
            if name == "preview_exchange":
                for do in ("promote", "demote"):
                    with pytest.raises(ApiError, match="no shadow"):
                        client.preview_exchange("even", do, "a test")
                continue
            if name in REFUSED:
                with pytest.raises(ApiError) as refusal:
                    getattr(client, name)(*REFUSED[name], **NAMED.get(name, {}))
                assert refusal.value.status in ((422,) if name.startswith("start_") else (404, 409)), (
                    name,
                    refusal.value,
                )
                continue
            assert getattr(client, name)(*ARGUMENTS.get(name, ()), **NAMED.get(name, {})) is not None

    await asyncio.to_thread(call)
    for route in world.api._routes:
        if isinstance(route, Page) and (route.content_type in FOR_BROWSERS):
            continue
        # of browsers, and of `quantd connect phone`: a program sends its token
        if isinstance(route, Entry) or route.path in ("/api/v1/session", "/api/v1/pairing"):
            continue
        if route.path in DOORS:  # the same as a route below /api/v1
            continue
        assert isinstance(route, Read | Post | Page)
        pattern = re.compile(re.sub(r"{\w+}", "[^/]+", route.path))
        assert any(m == route.method and pattern.fullmatch(path) for m, path in client.asked), route.path


@pytest.mark.long
async def test_a_flag_a_search_and_a_name_reach_the_daemon(world: Any) -> None:
    client = client_of(world)

    def call() -> None:
        totals = client.orders(totals=True).totals
        assert len(client.orders(limit=10_000, group="filled").orders) == totals["filled"] > 0
        assert {order.side for order in client.orders(limit=10_000, search="sell").orders} == {"sell"}
        with pytest.raises(ApiError, match="a/b c"):
            client.model("a/b c")
        assert not client.why("SPY", recorded=True).recomputed

    await asyncio.to_thread(call)


@pytest.mark.long
async def test_answers_are_those_of_the_daemon_and_pages_follow_each_other(world: Any) -> None:
    client = client_of(world)

    def call() -> None:
        run = world.api.context.run
        assert client.positions().positions == with_risk(run.now().positions, assessed(world.service.shell.state))
        fills = client.fills(limit=10_000).fills
        page = client.fills(limit=3, symbol="SPY")
        paged_fills = list(page.fills)
        while page.next:
            page = client.fills(limit=3, symbol="SPY", cursor=page.next)
            paged_fills += page.fills
        assert paged_fills == [fill for fill in fills if fill.symbol == "SPY"]
        assert client.performance("trend", start=date(2019, 2, 1)).metrics["sharpe"] is not None

    await asyncio.to_thread(call)


async def test_a_refusal_is_an_error_of_quantd_that_names_field_and_remedy(world: Any) -> None:
    client = client_of(world)

    def call() -> None:
        with pytest.raises(quantd.Error, match="limit = '0'") as refusal:
            client.orders(limit=0)
        why: Any = refusal.value
        assert (why.status, why.code, [field.field for field in why.fields]) == (422, "query", ["limit"])
        with pytest.raises(ApiError, match="quantd token create"):
            Client(world.api.url).cash("add", "1.00", "x")
        world.service.status = "starting"
        assert not client.health().ready
        world.service.status = "ended"

    await asyncio.to_thread(call)


@pytest.mark.long
async def test_a_key_is_made_for_each_change_and_may_be_given_again(world: Any) -> None:
    client = client_of(world)

    def call() -> None:
        assert client.cash("add", "1.00", "x", key="one") == client.cash("add", "1.00", "x", key="one")
        client.cash("add", "1.00", "x")
        client.cash("add", "1.00", "x")

    await asyncio.to_thread(call)
    assert len(journalled(world, Flow)) == 3


class Flaky(BaseHTTPRequestHandler):
    """Refuses with 503 twice, then answers; it notes the keys of requests."""

    seen: list[str | None] = []

    def do_GET(self) -> None:
        self.seen.append(self.headers.get("Idempotency-Key"))
        status = 200 if len(self.seen) > 2 else 503
        body = b'{"detail":"busy"}' if status == 503 else b'{"run":"r","equity":[]}'
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(client_module, "REST_S", 0.01)
    Flaky.seen = []
    server = HTTPServer(("127.0.0.1", 0), Flaky)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Client(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()


def test_a_read_is_tried_three_times(flaky: Client) -> None:
    assert flaky.equity().run == "r"
    assert Flaky.seen == [None, None, None]


def test_a_change_is_sent_once_with_a_key(flaky: Client) -> None:
    with pytest.raises(ApiError) as refusal:
        flaky.cash("add", "1.00", "x")
    assert refusal.value.status == 503
    (key,) = Flaky.seen
    assert re.fullmatch("[0-9a-f]{32}", key or "")


def test_a_daemon_that_is_away_or_another_program_is_named(flaky: Client) -> None:
    with pytest.raises(ApiError, match="start it with `quantd run`"):
        Client("http://127.0.0.1:9").status()
    with pytest.raises(ApiError, match="is no address of a daemon"):
        Client("127.0.0.1:8000")
    Flaky.seen = [None, None]
    with pytest.raises(ApiError, match="in the format of another version"):
        flaky.status()


@pytest.mark.long
def test_the_client_loads_neither_torch_nor_the_server() -> None:
    code = "import sys, quantd; quantd.Client; print({'torch', 'quantd.server.api.server'} & {*sys.modules})"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert process.stdout.strip() == "set()", process.stderr
