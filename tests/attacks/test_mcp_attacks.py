"""Attacks on `quantd mcp --http`: one line each, refused with the expected status, and nothing journalled.

All of them run against one server in front of one service, which serves its owner as before when they are over.
"""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from quantd.server.cli.operate.gate.gate_server import BODY_BYTES
from tests.attacks.api_requests import BEARER, Attack, attacked, sent
from tests.server.cli.operate.mcp_server import INITIALIZE, served
from tests.support.api_world import RUN

OPEN = json.dumps(INITIALIZE)
CALL = json.dumps(
    {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "halt", "arguments": {"reason": "attack"}}}
)
ACCEPT = "Accept: application/json, text/event-stream"
OWN = BEARER + "{owner}"
HOST = "Host: {mcp}"


def post(name: str, status: int, *headers: str, body: str = OPEN, path: str = "/mcp", host: str = HOST) -> Attack:
    return Attack(name, status, f"POST {path}", (ACCEPT, *headers), body, host)


def other(name: str, status: int, request: str, *headers: str) -> Attack:
    return Attack(name, status, request, (ACCEPT, *headers), host=HOST)


ATTACKS = (
    post("session without a token", 401),
    post("halt without a token", 401, body=CALL),
    post("halt without a session, of the newest protocol", 401, "MCP-Protocol-Version: 2026-07-28", body=CALL),
    other("stream without a token", 401, "GET /mcp"),
    other("end of a session without a token", 401, "DELETE /mcp", "Mcp-Session-Id: x"),
    post("wrong token", 401, BEARER + "qt_wrong"),
    post("token cut by a character", 401, BEARER + "{cut}"),
    post("token with a character more", 401, OWN + "x"),
    post("token of 100,000 characters", 401, BEARER + "a" * 100_000),
    post("token of 300 characters", 401, BEARER + "a" * 300),
    post("token of other bytes", 401, BEARER + "\xf0\xf1"),
    post("empty token", 401, BEARER),
    post("id of a token alone", 401, BEARER + "{id}"),
    post("hash of a token", 401, BEARER + "{hash}"),
    post("revoked token", 401, BEARER + "{revoked}"),
    post("expired token", 401, BEARER + "{expired}"),
    post("rotated token", 401, BEARER + "{rotated}"),
    post("token of a file that others may write", 401, BEARER + "{planted}"),
    post("token that reads metrics only", 401, BEARER + "{metrics}"),
    post("token as a password", 401, "Authorization: Basic {basic}"),
    post("token of another scheme", 401, "Authorization: Digest {owner}"),
    post("token in the query", 401, path="/mcp?token={owner}&access_token={owner}"),
    post("token in a cookie", 401, "Cookie: token={owner}"),
    post("token in another header", 401, "X-Api-Key: {owner}"),
    post("page of another origin", 403, OWN, "Origin: https://evil.example"),
    post("page without an origin", 403, OWN, "Origin: null"),
    post("page of another port", 403, OWN, "Origin: http://127.0.0.1:1"),
    post("page of the same name with TLS", 403, OWN, "Origin: https://{mcp}"),
    post("name that begins with that of the server", 403, OWN, "Origin: http://{mcp}.evil.example"),
    post("DNS rebinding", 421, OWN, host="Host: evil.example"),
    post("DNS rebinding to the port", 421, OWN, host="Host: evil.example:8100"),
    post("DNS rebinding behind a forwarded name", 421, OWN, "X-Forwarded-Host: {mcp}", host="Host: evil.example"),
    post("another port in the name", 421, OWN, host="Host: 127.0.0.1:1"),
    post("two names", 400, OWN, "Host: evil.example"),
    post("preflight by a simple form", 400, OWN, body="reason=attack"),
    post("body beyond its bound", 413, OWN, body=OPEN[:-1] + ',"x":"' + "a" * BODY_BYTES + '"}'),
    post("two lengths", 400, OWN, "Content-Length: 1"),
    post("session of nobody", 404, OWN, "Mcp-Session-Id: 0123456789abcdef", body=CALL),
    post("halt without a session", 400, OWN, body=CALL),
    post("half a document", 400, OWN, body=OPEN[:-9]),
    post("another path", 404, OWN, path="/"),
    post("path above", 404, OWN, path="/mcp/../api/v1/commands"),
    other("another method", 405, "PUT /mcp", OWN),
    other("preflight", 401, "OPTIONS /mcp", "Origin: https://evil.example", "Access-Control-Request-Method: POST"),
)


@pytest.mark.long
async def test_no_attack_opens_a_session_or_changes_anything(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)
    async with attacked(tmp_path) as (world, secrets), served(world, "") as address:
        place = address.removeprefix("http://").removesuffix("/mcp")
        at: Any = SimpleNamespace(api=SimpleNamespace(url=f"http://{place}"))
        names = secrets | {"mcp": place}
        before, switch = world.store.last_seq(RUN), world.service.shell.state.switch.state
        wrong = {}
        with capture_logs() as logs:
            for attack in ATTACKS:
                world.api._guard._wrong.clear()
                status, text = await sent(at, names, attack)
                if status != attack.status or b"Access-Control-Allow" in text:
                    wrong[attack.name] = status, text[-300:]
                assert not any(secret.encode() in text for secret in secrets.values()), attack.name
        assert wrong == {}, wrong
        assert (world.store.last_seq(RUN), world.service.shell.state.switch.state) == (before, switch)
        said = repr(logs) + caplog.text + "".join(capsys.readouterr())
        assert not any(secret in said for name, secret in secrets.items() if name != "id")
        # the table would pass against a server that refuses everything
        assert (await sent(at, names, post("owner", 200, OWN)))[0] == 200
        assert (await sent(at, names, post("own page", 200, OWN, "Origin: http://{mcp}")))[0] == 200
