"""`quantd mcp --http` with the SDK's own client: an agent over streamable HTTP, sessions, TLS and wrong options."""

import asyncio
import contextlib
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.auth import OAuthClientProvider, OAuthFlowError, OAuthRegistrationError
from mcp.client.auth.utils import (
    build_protected_resource_metadata_discovery_urls,
    extract_resource_metadata_from_www_auth,
)
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata
from mcp.shared.exceptions import MCPError

from quantd.models.artifacts.receipt import public_key, unsealed
from quantd.server.api.access import keyring
from quantd.server.cli.operate.gate.gate_server import CHECK_S, MOST_SESSIONS
from quantd.server.cli.operate.gate.sessions import MOST
from quantd.server.requests.tokens import created, revoked
from tests.server.api.routes.outside_run import journalled, promote, world
from tests.server.cli.operate.mcp_calls import AGENT_TOOLS, WEIGHTS, call
from tests.server.cli.operate.mcp_server import INITIALIZE, served
from tests.support.command_line import environment, quantd
from tests.support.mqtt import certificate

__all__ = ["world"]

ACCEPT = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


@contextlib.asynccontextmanager
async def client_at(address: str, secret: str, *, verify: Any = True, **more: Any) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {secret}"}
    async with (
        httpx2.AsyncClient(headers=headers, verify=verify, timeout=30) as http,
        Client(streamable_http_client(address, http_client=http), **more) as client,
    ):
        yield client


async def token(world: Any, name: str, scope: Any, agent: str = "") -> str:
    secret = created(world.folder, name, scope, agent=agent)[1]
    await asyncio.sleep(keyring.CHECK_S)
    return secret


@pytest.mark.long
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_an_agent_stands_previews_proposes_and_asks_why_over_http(world: Any, mode: Any) -> None:
    secret = await token(world, "robot", "propose", "guest")
    async with served(world, "guest") as address, client_at(address, secret, mode=mode) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert names == AGENT_TOOLS
        worked, standing = await call(client, "standing")
        assert (worked, standing["mode"], standing["equity"]) == (True, "shadow", "30000.00")
        worked, shown = await call(client, "preview", weights=WEIGHTS)
        assert (worked, journalled(world)) == (True, []), shown
        worked, done = await call(client, "propose", weights={"SPY": 0.9}, id="p-1", reason="all in")
        assert (worked, done["verdict"]["outcome"]) == (True, "cut")
        worked, why = await call(client, "why", what=done["decision"])
        assert (worked, why["shadow"], why["cuts"][0]["reason"]) == (True, "guest", "position_weight"), why
        promote(world)
        worked, mode_answer = await call(client, "standing")
        assert (worked, mode_answer["mode"], mode_answer["book"]) == (True, "trading", "trend")
    assert [event.who.rsplit(":", 1)[0] for event in journalled(world)] == ["api:robot"]


async def test_a_proposal_over_mcp_has_its_receipt_where_no_model_reads_it(world: Any) -> None:
    secret = await token(world, "robot", "propose", "guest")
    async with served(world, "guest") as address, client_at(address, secret) as client:
        reply = await client.call_tool("propose", {"weights": {"SPY": 0.1}, "id": "p-1", "reason": "x"})
        assert reply.meta is not None
        receipt, key = unsealed(reply.meta["receipt"])
        assert (receipt.id, receipt.outcome, key) == ("p-1", "passed", public_key(world.folder))
        assert reply.meta["receipt"] not in "".join(getattr(block, "text", "") for block in reply.content)
        given = {"orders": {"SPY": "100000"}, "whole": True, "id": "p-2", "reason": "x"}
        refused = await client.call_tool("propose", given)
        (text,) = (getattr(block, "text", "") for block in refused.content)
        assert refused.is_error
        assert text.startswith("Error executing tool propose: 409 "), text
        receipt, _ = unsealed((refused.meta or {})["receipt"])
        assert (receipt.id, receipt.outcome) == ("p-2", "refused")
        again = await client.call_tool("propose", {**given, "id": ""})
        assert (again.is_error, "receipt" in (again.meta or {})) == (True, False)


@pytest.mark.long
async def test_each_client_acts_with_its_own_token(world: Any) -> None:
    robot = await token(world, "robot", "propose", "guest")
    reader = await token(world, "reader", "read")
    async with (
        served(world, "guest") as address,
        client_at(address, robot) as one,
        client_at(address, reader) as other,
    ):
        worked, text = await call(other, "propose", weights=WEIGHTS, id="p", reason="x")
        assert (worked, "403 scope" in text) == (False, True)
        worked, done = await call(one, "propose", weights=WEIGHTS, id="p", reason="x")
        assert worked, done
        revoked(world.folder, "robot")
        await asyncio.sleep(keyring.CHECK_S + CHECK_S)
        with pytest.raises(MCPError):
            await call(one, "standing")
        worked, mode_answer = await call(other, "standing")
        assert worked, mode_answer


@pytest.mark.long
async def test_a_session_belongs_to_the_token_that_opened_it(world: Any) -> None:
    one, other = await token(world, "one", "read"), await token(world, "other", "read")
    async with served(world, "") as address, httpx2.AsyncClient(headers=ACCEPT) as http:
        bearers = [{"Authorization": f"Bearer {secret}"} for secret in (one, other)]
        opened = await http.post(address, json=INITIALIZE, headers=bearers[0])
        session = {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
        listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
        assert (await http.post(address, json=listing, headers=bearers[0] | session)).status_code == 200
        assert (await http.post(address, json=listing, headers=bearers[1] | session)).status_code == 404
        assert (await http.delete(address, headers=bearers[1] | session)).status_code == 404


@pytest.mark.long
async def test_a_token_has_a_share_of_the_sessions_and_another_one_has_its_own(world: Any) -> None:
    one, other = await token(world, "one", "read"), await token(world, "other", "read")
    async with served(world, "") as address, httpx2.AsyncClient(headers=ACCEPT) as http:

        async def opened(secret: str) -> tuple[int, str]:
            response = await http.post(address, json=INITIALIZE, headers={"Authorization": f"Bearer {secret}"})
            return response.status_code, response.headers.get("mcp-session-id", "")

        first = await asyncio.gather(*(opened(one) for _ in range(MOST + 4)))
        assert sorted(status for status, _ in first) == [200] * MOST + [429] * 4
        assert await opened(one) == (429, "")
        assert (await opened(other))[0] == 200
        session = next(session for _, session in first if session)
        for secret, status in ((other, 404), (one, 200)):
            bearer = {"Authorization": f"Bearer {secret}", "Mcp-Session-Id": session}
            assert (await http.delete(address, headers=bearer)).status_code == status
            assert (await opened(one))[0] == (429 if status == 404 else 200)
        assert MOST * 8 <= MOST_SESSIONS


@pytest.mark.long
async def test_a_halt_over_http_is_confirmed_in_two_steps_of_one_token(world: Any) -> None:
    trade = await token(world, "desk", "trade")
    other = await token(world, "other", "trade")

    async with (
        served(world, "") as address,
        client_at(address, trade) as client,
        client_at(address, other) as stranger,
    ):
        worked, first = await call(client, "halt", reason="a drill")
        assert (worked, first["halted"]) == (True, False)
        worked, text = await call(stranger, "halt", reason="a drill", confirm=first["confirm"])
        assert (worked, world.service.shell.state.switch.state) == (False, 0), text
        worked, done = await call(client, "halt", reason="a drill", confirm=first["confirm"])
        assert (worked, done["switch"]) == (True, "HALT")


@pytest.mark.long
async def test_tls_serves_any_client_that_trusts_the_certificate(world: Any, tmp_path: Path) -> None:
    files = certificate(tmp_path)
    secret = await token(world, "robot", "propose", "guest")
    async with served(world, "guest", files) as address:
        assert address.startswith("https://")
        trusted = ssl.create_default_context(cafile=str(files[0]))
        async with client_at(address.replace("127.0.0.1", "localhost"), secret, verify=trusted) as client:
            assert (await call(client, "standing"))[0]


@pytest.mark.long
async def test_the_command_serves_until_a_signal_and_prints_its_address(world: Any) -> None:
    secret = await token(world, "robot", "propose", "guest")
    arguments = ["mcp", "--agent", "guest", "--http", "127.0.0.1:0", "--url", world.api.url]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "quantd.daemon.cli", *arguments, env=os.environ | environment(),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        address = line.split()[2].rstrip(";")
        async with client_at(address, secret) as client:
            assert (await call(client, "standing"))[1]["mode"] == "shadow"
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = await asyncio.wait_for(process.communicate(), 30)
    said = errors.decode()
    assert "Traceback" not in said
    assert secret not in said


async def test_a_client_without_a_token_gets_the_address_of_the_metadata_which_says_how_tokens_are_made() -> None:
    away = SimpleNamespace(api=SimpleNamespace(url="http://127.0.0.1:1"))
    async with served(away, "guest") as address, httpx2.AsyncClient(headers=ACCEPT) as http:
        for asked in (address, address.replace("127.0.0.1", "localhost")):
            refused = await http.post(asked, json=INITIALIZE)
            assert (refused.status_code, refused.headers["www-authenticate"].split()[0]) == (401, "Bearer")
            assert "quantd token create" in refused.headers["www-authenticate"]
            where = extract_resource_metadata_from_www_auth(refused)
            # the addresses that the official client tries, with the header and without it
            tried = [where, *build_protected_resource_metadata_discovery_urls(None, asked)]
            assert len(set(tried)) == 2
            for url in tried:
                document = (await http.get(str(url))).json()
                assert (document["resource"], document["bearer_methods_supported"]) == (asked, ["header"])
                assert "quantd token create" in document["quantd_tokens"]
                assert "authorization_servers" not in document
        stranger = await http.get(str(where), headers={"Host": "evil.example"})
        assert stranger.json()["resource"] == address
        assert (await http.post(str(where), json={})).status_code == 404


async def test_the_oauth_flow_of_the_official_client_ends_with_an_error_and_sends_nobody_to_a_login() -> None:
    class Nothing:
        async def get_tokens(self) -> None: ...
        async def set_tokens(self, tokens: Any) -> None: ...
        async def get_client_info(self) -> None: ...
        async def set_client_info(self, client_info: Any) -> None: ...

    async def login(url: str) -> None:
        raise AssertionError(url)

    away = SimpleNamespace(api=SimpleNamespace(url="http://127.0.0.1:1"))
    async with served(away, "guest") as address:
        about = OAuthClientMetadata.model_validate({"redirect_uris": ["http://127.0.0.1:1/"]})
        flow = OAuthClientProvider(address, about, Nothing(), redirect_handler=login)
        async with httpx2.AsyncClient(headers=ACCEPT, auth=flow, timeout=10) as http:
            with pytest.raises((OAuthFlowError, OAuthRegistrationError)):
                await http.post(address, json=INITIALIZE)


WRONG = (
    (("--http", "0.0.0.0:0"), "open to other machines: add --certificate FILE --key FILE"),
    (("--http", "example.com:8100"), "open to other machines"),
    (("--http", "8100"), "write 127.0.0.1:8100"),
    (("--http", "127.0.0.1:99999"), "write 127.0.0.1:8100"),
    (("--http", "me@127.0.0.1:8100"), "write 127.0.0.1:8100"),
    (("--http", "127.0.0.1:0", "--token-file", "robot.token"), "each client then sends its token"),
    ((), "write either --token-file FILE, or --http HOST:PORT"),
    (("--http", "127.0.0.1:0", "--key", "k.pem"), "--certificate and --key were not used together"),
    (("--http", "0.0.0.0:0", "--certificate", "c.pem", "--key", "k.pem"), "are no certificate with its key"),
    (("--http", "192.0.2.1:8100", "--certificate", "{cert}", "--key", "{key}"), "choose another port"),
)


def test_wrong_options_are_refused_with_the_remedy(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    for given, said in WRONG:
        options = [option.format(cert=cert, key=key) for option in given]
        process = quantd(tmp_path, "mcp", "--url", "http://127.0.0.1:1", *options)
        assert process.returncode != 0, given
        assert said in process.stderr, (given, process.stderr)


async def test_a_daemon_that_does_not_answer_accepts_no_token(capsys: pytest.CaptureFixture[str]) -> None:
    away = SimpleNamespace(api=SimpleNamespace(url="http://127.0.0.1:1"))
    async with served(away, "guest") as address, httpx2.AsyncClient(headers=ACCEPT) as http:
        response = await http.post(address, json=INITIALIZE, headers={"Authorization": "Bearer q"})
        assert response.status_code == 401
    assert "does not answer" in capsys.readouterr().err
