"""Attacks on the API of a running service: one line each, refused with the expected status, and nothing journalled.

All of them run against one service, which serves its owner as before when they are over.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from quantd.daemon.recovery.replay import save_config
from quantd.server.api.access import guard, keyring
from quantd.server.requests.tokens import created, revoked, rotated
from quantd.trading.codec import decode
from quantd.trading.events import Condition, Flow, Operator
from tests.attacks.api_requests import (
    APPROVAL,
    BEARER,
    COMMANDS,
    HALT,
    HISTORY,
    METRICS,
    ORDERS,
    REASON,
    STATUS,
    Attack,
    attacked,
    get,
    post,
    sent,
)
from tests.support.api_world import RUN
from tests.support.command_line import answer, quantd

CASH = json.dumps({"do": "add", "amount": "1000.00", "reason": "attack"})
RESUME = json.dumps({"command": "resume", "reason": "attack"})
ORDER = json.dumps({"side": "buy", "qty": "1", "symbol": "SPY", "agent": "even", "reason": "attack"})
SYMBOL = json.dumps({"do": "halt", "symbol": "SPY", "reason": "attack"})
SETTLE = json.dumps({"how": "fence", "reason": "attack"})
TARGETS = json.dumps({"weights": {"SPY": 0.1}, "id": "1", "reason": "attack"})
ELSE = json.dumps({"weights": {"SPY": 0.1}, "id": "1", "reason": "attack", "agent": "even"})
PROPOSE = "/api/v1/agents/{}/propose"
CLOSES = ", ".join(["100.0"] * 3_000)
TWICE = f'{{"method": "equal_weight", "prices": {{"SPY": [{CLOSES}], "SPY": [{CLOSES}]}}}}'


ATTACKS = (
    get("read without a token", 401, STATUS),
    get("metrics without a token", 401, METRICS),
    get("event stream without a token", 401, "/api/v1/events"),
    get("path in percent escapes", 401, "/api/v1/%73tatus"),
    get("health as a folder", 401, "/health/../api/v1/status"),
    get("health in a query", 401, "/api/v1/status?/health"),
    get("token in the query", 401, STATUS + "?token={owner}&access_token={owner}"),
    get("token in a cookie", 401, STATUS, "Cookie: token={owner}"),
    get("token in other headers", 401, STATUS, "X-Api-Key: {owner}", "Proxy-Authorization: Bearer {owner}"),
    get("token without a scheme", 401, STATUS, "Authorization: {owner}"),
    get("token of another scheme", 401, STATUS, "Authorization: Digest {owner}"),
    get("token cut by a character", 401, STATUS, BEARER + "{cut}"),
    get("token with a character more", 401, STATUS, BEARER + "{owner}x"),
    get("id of a token alone", 401, STATUS, BEARER + "{id}"),
    get("hash of a token", 401, STATUS, BEARER + "{hash}"),
    get("salt of a token", 401, STATUS, BEARER + "{salt}"),
    get("two tokens, the right one second", 401, STATUS, BEARER + "x", BEARER + "{owner}"),
    get("two tokens, the right one first", 401, STATUS, BEARER + "{owner}", BEARER + "x"),
    get("two tokens in one header", 401, STATUS, BEARER + "{owner}, Bearer {owner}"),
    get("bytes that are not UTF-8", 401, STATUS, BEARER + "\xff\xfe"),
    get("damaged password", 401, STATUS, "Authorization: Basic !!"),
    get("token as the user of a password", 401, STATUS, "Authorization: Basic {user}"),
    get("expired token", 401, STATUS, BEARER + "{expired}"),
    get("revoked token", 401, STATUS, BEARER + "{revoked}"),
    get("rotated token", 401, STATUS, BEARER + "{rotated}"),
    get("token that is not in the file any more", 401, METRICS, BEARER + "{planted}"),
    get("metrics token reads positions", 403, "/api/v1/positions", BEARER + "{metrics}"),
    get("metrics token reads the stream", 403, "/api/v1/events", BEARER + "{metrics}"),
    get("file of tokens", 404, "/tokens.json", BEARER + "{owner}"),
    get("file of the owner", 404, "/token", BEARER + "{owner}"),
    get("traversal to the tokens", 404, "/dashboard/..%2f..%2ftokens.json", BEARER + "{owner}"),
    post("command without a token", 401),
    post("command by password", 401, "Authorization: Basic {basic}"),
    post("metrics token halts", 403, BEARER + "{metrics}"),
    post("read token halts", 403, BEARER + "{read}"),
    post("read token orders", 403, BEARER + "{read}", path="/api/v1/orders", body=ORDER),
    post("read token halts a symbol", 403, BEARER + "{read}", path="/api/v1/halts", body=SYMBOL),
    post("trade token deposits", 403, BEARER + "{trade}", path="/api/v1/cash", body=CASH),
    post("trade token settles", 403, BEARER + "{trade}", path="/api/v1/reconcile", body=SETTLE),
    post("trade token at the path of cash, escaped", 403, BEARER + "{trade}", path="/api/v1/c%61sh", body=CASH),
    post("trade token calls itself another", 403, BEARER + "{trade}", "X-Scope: admin", path="/api/v1/cash", body=CASH),
    Attack("read by another method", 405, "PUT " + COMMANDS, (BEARER + "{owner}",), HALT),
    Attack("command as DELETE", 405, "DELETE " + COMMANDS, (BEARER + "{owner}",), HALT),
    Attack("method that a header names", 405, "GET " + COMMANDS, ("X-HTTP-Method-Override: POST", BEARER + "{owner}")),
    post("page of another origin with a token", 403, BEARER + "{owner}", "Origin: https://evil.example"),
    post("page without an origin", 403, BEARER + "{owner}", "Origin: null"),
    post("origin with the listed one as a prefix", 403, BEARER + "{owner}", "Origin: https://pages.example.evil"),
    post("listed origin without TLS", 403, BEARER + "{owner}", "Origin: http://pages.example"),
    post("form of a listed origin", 415, BEARER + "{owner}", "Origin: https://pages.example", body="command=halt"),
    Attack("preflight of another origin", 401, "OPTIONS " + COMMANDS, ("Origin: https://evil.example",)),
    get("host of another name", 421, STATUS, BEARER + "{owner}", host="Host: evil.example"),
    get("two hosts", 400, STATUS, BEARER + "{owner}", host="Host: localhost\r\nHost: evil.example"),
    get("no host", 400, STATUS, BEARER + "{owner}", host="X: y"),
    get(
        "host that a header forwards", 421, STATUS, BEARER + "{owner}", "X-Forwarded-Host: localhost", host="Host: e.f"
    ),
    get("address of this machine that a header forwards", 401, STATUS, "X-Forwarded-For: 127.0.0.1"),
    get("user of a proxy", 401, STATUS, "X-Forwarded-User: owner", "X-Remote-User: owner"),
    get("header after a line feed", 400, STATUS, "X: y\n" + BEARER + "{owner}\x00"),
    get("header of 64 KiB", 400, STATUS, "X: " + "a" * 65_536),
    get("ten thousand headers", 400, STATUS, *["X: y"] * 10_000),
    get("two lengths", 400, STATUS, "Content-Length: 5", "Content-Length: 6"),
    get("length below zero", 400, STATUS, "Content-Length: -1"),
    get("length beside chunks", 400, STATUS, "Content-Length: 5", "Transfer-Encoding: chunked"),
    get("chunks of an unknown kind", 400, STATUS, "Transfer-Encoding: cow"),
    get("folded header", 400, STATUS, "X: y", " " + BEARER + "{owner}"),
    get("address of another host as the path", 421, "http://evil.example/api/v1/status", BEARER + "{owner}"),
    get("upgrade to a web socket", 401, "/api/v1/events", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    Attack("head of a read", 401, "HEAD " + STATUS),
    Attack("trace", 405, "TRACE " + STATUS, (BEARER + "{owner}",)),
    Attack("tunnel", 404, "CONNECT localhost:22", (BEARER + "{owner}",)),
    Attack("removal of a command", 405, "DELETE " + STATUS, (BEARER + "{owner}",)),
    get("count that is no number", 422, HISTORY + "?limit=NaN", BEARER + "{owner}"),
    get("count below zero", 422, HISTORY + "?limit=-1", BEARER + "{owner}"),
    get("count without an end", 422, HISTORY + "?limit=1e9", BEARER + "{owner}"),
    get("count in other digits", 400, HISTORY + "?limit=\u0661".encode().decode("latin-1"), BEARER + "{owner}"),
    get("count beyond 64 bits", 422, HISTORY + "?limit=9223372036854775808", BEARER + "{owner}"),
    get("count twice", 422, HISTORY + "?limit=1&limit=2", BEARER + "{owner}"),
    get("count twice, once escaped", 422, HISTORY + "?limit=1&%6cimit=1", BEARER + "{owner}"),
    get("parameter that does not exist", 422, STATUS + "?admin=1", BEARER + "{owner}"),
    get("SQL in a path", 404, "/api/v1/why/'%20OR%201=1--", BEARER + "{owner}"),
    get("markup in a path", 404, "/api/v1/why/%3Cscript%3E", BEARER + "{owner}"),
    get("zero byte in a path", 404, "/api/v1/why/%00", BEARER + "{owner}"),
    post("proposal without a token", 401, path=PROPOSE.format("guest"), body=TARGETS),
    post("read token proposes", 403, BEARER + "{read}", path=PROPOSE.format("guest"), body=TARGETS),
    post("metrics token proposes", 403, BEARER + "{metrics}", path=PROPOSE.format("guest"), body=TARGETS),
    post("agent's token for another agent", 403, BEARER + "{propose}", path=PROPOSE.format("even"), body=TARGETS),
    post(
        "agent's token, another agent escaped", 403, BEARER + "{propose}", path=PROPOSE.format("e%76en"), body=TARGETS
    ),
    # no route has this address
    post("agent's token, another agent by dots", 404, BEARER + "{propose}", path=PROPOSE.format("guest/../even")),
    post(
        "agent's token, another agent in the body", 404, BEARER + "{propose}", path=PROPOSE.format("guest"), body=ELSE
    ),
    post("agent's token halts", 403, BEARER + "{propose}"),
    post("agent's token orders", 403, BEARER + "{propose}", path=ORDERS, body=ORDER),
    post("agent's token deposits", 403, BEARER + "{propose}", path="/api/v1/cash", body=CASH),
    post("agent's token approves looser limits", 403, BEARER + "{propose}", path=APPROVAL, body=REASON),
    post("trade token approves looser limits", 403, BEARER + "{trade}", path=APPROVAL, body=REASON),
    post("owner approves looser limits alone", 409, BEARER + "{owner}", path=APPROVAL, body=REASON),
    post("body of 17 KiB", 413, BEARER + "{owner}", body='{"command":"' + "h" * 17_000 + '"}'),
    post("body without an end of nesting", 422, BEARER + "{owner}", body='{"command":' + "[" * 8_000),
    post("body as another type", 415, BEARER + "{owner}", body="command=halt"),
    post("compressed body that is none", 400, BEARER + "{owner}", "Content-Encoding: gzip"),
    post("compression that is not there", 400, BEARER + "{owner}", "Content-Encoding: br"),
    post("command that does not exist", 422, BEARER + "{owner}", body='{"command": "withdraw"}'),
    post("command twice", 422, BEARER + "{owner}", body=HALT[:-1] + ', "command": "halt"}'),
    post("size of an order twice", 422, BEARER + "{owner}", path=ORDERS, body=ORDER[:-1] + ', "qty": "9"}'),
    post("size twice, once escaped", 422, BEARER + "{owner}", path=ORDERS, body=ORDER[:-1] + r', "\u0071ty": "9"}'),
    post("price of a symbol twice in a large body", 422, BEARER + "{owner}", path="/api/v1/allocate", body=TWICE),
    post("field that does not exist", 422, BEARER + "{owner}", body='{"command": "halt", "admin": true}'),
    post("agent with a path", 404, BEARER + "{owner}", body='{"command": "halt", "agent": "../x"}'),
    post("reason that is no text", 422, BEARER + "{owner}", body='{"command": "halt", "reason": {"a": 1}}'),
    post("order of a symbol outside", 404, BEARER + "{owner}", path=ORDERS, body=ORDER.replace("SPY", "XXX")),
    post("order of a negative size", 422, BEARER + "{owner}", path=ORDERS, body=ORDER.replace('"1"', '"-1"')),
    post("order of an absurd size", 422, BEARER + "{owner}", path=ORDERS, body=ORDER.replace('"1"', '"9e999"')),
    post("deposit of NaN", 422, BEARER + "{owner}", path="/api/v1/cash", body=CASH.replace("1000.00", "NaN")),
)


@pytest.mark.long
@pytest.mark.requirement("R-231")
async def test_no_attack_reads_or_changes_anything(tmp_path, caplog):
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) >= 90
    async with attacked(tmp_path) as (world, secrets):
        before, switch = world.store.last_seq(RUN), world.service.shell.state.switch.state
        wrong = {}
        with capture_logs() as logs:
            for attack in ATTACKS:
                world.api._guard._wrong.clear()
                status, text = await sent(world, secrets, attack)
                known_to_sender = BEARER + "{owner}" in attack.headers
                leaks = RUN.encode() in text and not known_to_sender
                if status != attack.status or leaks or b"Access-Control-Allow-Origin: *" in text:
                    wrong[attack.name] = status, text[-200:]
                assert not any(secret.encode() in text for secret in secrets.values()), attack.name
        assert wrong == {}, [(name, reply[0]) for name, reply in wrong.items()]
        assert (world.store.last_seq(RUN), world.service.shell.state.switch.state) == (before, switch)
        said = repr(logs) + caplog.text
        assert not any(secret in said for name, secret in secrets.items() if name != "id")
        # the table would pass against a daemon that refuses everything
        assert (await sent(world, secrets, get("owner", 200, STATUS, BEARER + "{owner}")))[0] == 200
        assert (await sent(world, secrets, get("password", 200, STATUS, "Authorization: Basic {basic}")))[0] == 200
        assert (await sent(world, secrets, get("metrics", 200, METRICS, BEARER + "{metrics}")))[0] == 200
        assert (await sent(world, secrets, get("health", 200, "/health")))[0] == 200
        assert (await sent(world, secrets, post("trade", 200, BEARER + "{trade}")))[0] == 200
        listed = post("listed", 200, BEARER + "{trade}", "Origin: https://pages.example")
        assert (await sent(world, secrets, listed))[0] == 200


@pytest.mark.requirement("R-206")
async def test_only_a_listed_origin_gets_a_preflight_and_never_with_credentials(tmp_path):
    async with attacked(tmp_path) as (world, secrets):
        for origin, status in (("https://pages.example", 204), ("https://evil.example", 401), ("null", 401)):
            head = (f"Origin: {origin}", "Access-Control-Request-Method: POST")
            reply_status, text = await sent(world, secrets, Attack(origin, status, f"OPTIONS {COMMANDS}", head))
            assert reply_status == status
            assert (f"Access-Control-Allow-Origin: {origin}".encode() in text) == (status == 204)
            assert b"Allow-Credentials" not in text
            assert b"Allow-Origin: *" not in text
        for path in (STATUS, "/health", "/nothing"):
            _, text = await sent(
                world, secrets, get(path, 200, path, BEARER + "{read}", "Origin: https://pages.example")
            )
            assert text.count(b"Access-Control-Allow-Origin: https://pages.example\r\n") == 1
            assert b"Vary: Origin" in text


async def wait_until(seen: Callable[[], Awaitable[bool]], within_s: float = 60.0) -> None:
    """Fails unless it is seen within the time."""
    for _ in range(int(within_s / 0.05)):
        if await seen():
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"not within {within_s} s")


@pytest.mark.long
async def test_changes_of_tokens_apply_without_a_restart_and_close_open_streams(tmp_path):
    async with attacked(tmp_path) as (world, _):

        async def status(secret: str) -> int:
            async with world.session.get(STATUS, headers={"Authorization": f"Bearer {secret}"}) as response:
                return response.status

        async def is_(secret: str, wanted: int) -> bool:
            world.api._guard._wrong.clear()
            return await status(secret) == wanted

        later = created(world.folder, "later", "read")[1]
        await wait_until(lambda: is_(later, 200))
        renewed = rotated(world.folder, "later", overlap_ns=10**10)[1]
        await wait_until(lambda: is_(renewed, 200))
        assert await status(later) == 200  # both, while they overlap
        async with world.session.get("/api/v1/events", headers={"Authorization": f"Bearer {renewed}"}) as stream:
            assert b"event" in await asyncio.wait_for(stream.content.readline(), 60)
            assert world.api.context.streams == 1
            revoked(world.folder, "later")
            await wait_until(lambda: is_(renewed, 401))
            assert await status(later) == 401
            with contextlib.suppress(Exception):  # whatever was in flight, then the end
                await asyncio.wait_for(stream.content.read(), 60)
            assert world.api.context.streams == 0
        new_owner = rotated(world.folder, "owner", owner_file="token")[1]
        await wait_until(lambda: is_(world.token, 401))
        assert await status(new_owner) == 200


@pytest.mark.long
@pytest.mark.parametrize("damage", ["[{]", '[{"name": "x"}]', "mode", "link", "folder", "pipe", "digest", "twice"])
async def test_a_file_of_tokens_that_cannot_be_trusted_grants_nothing_and_leaves_the_owner(tmp_path, damage):
    async with attacked(tmp_path) as (world, secrets):
        path = world.folder / "tokens.json"
        if damage == "mode":
            path.chmod(0o666)
        elif damage == "link":
            path.rename(tmp_path / "elsewhere")
            path.symlink_to(tmp_path / "elsewhere")
        elif damage in ("folder", "pipe"):
            path.unlink()
            (os.mkdir if damage == "folder" else os.mkfifo)(path)
        elif damage == "digest":
            path.write_text(path.read_text().replace(json.loads(path.read_text())[0]["digest"][:3], "ä١x"))
        elif damage == "twice":
            path.write_text(path.read_text().replace('"scope":"read"', '"scope":"read","scope":"admin"'))
        else:
            path.write_text(damage)
        await asyncio.sleep(keyring.CHECK_S)
        with capture_logs() as logs:
            statuses = [(await sent(world, secrets, get("x", 401, STATUS, BEARER + "{trade}")))[0] for _ in range(3)]
        assert statuses == [401] * 3
        assert [line["event"] for line in logs] == ["api.tokens_refused"]
        assert (await sent(world, secrets, post("owner", 200, BEARER + "{owner}")))[0] == 200
        events = [decode(data).event for _, data in world.store.entries(RUN, 1)]
        (alert,) = (event.detail for event in events if isinstance(event, Condition))
        assert "only the owner's token" in alert
        assert "tokens.json" in alert


@pytest.mark.long
@pytest.mark.requirement("R-235")
async def test_a_flood_without_a_token_is_limited_and_the_owner_is_not(tmp_path):
    async with attacked(tmp_path) as (world, secrets):
        ready = 0
        for k in range(40):
            tricks = (f"X-Forwarded-For: 10.0.0.{k}", f"Forwarded: for=10.0.0.{k}")
            status, text = await sent(world, secrets, post("flood", 401, *tricks))
            ready += status == 401
        assert status == 429
        assert b"Retry-After: 1" in text
        assert 20 <= ready < 30
        assert (await sent(world, secrets, post("owner", 200, BEARER + "{owner}")))[0] == 200
        # a token has a bucket too; its own halt passes all the same
        broken = post("own", 200, BEARER + "{trade}", path="/api/v1/halts", body="{")
        statuses = [(await sent(world, secrets, broken))[0] for _ in range(30)]
        assert statuses[0] == 422
        assert statuses[-1] == 429
        halts = [(await sent(world, secrets, post("halt", 200, BEARER + "{trade}")))[0] for _ in range(30)]
        assert set(halts) == {200}
        assert (await sent(world, secrets, post("owner", 200, BEARER + "{owner}")))[0] == 200


@pytest.mark.long
async def test_wrong_tokens_of_a_stranger_do_not_lock_the_owner_out(tmp_path):
    async with attacked(tmp_path) as (world, secrets):
        guesses = [(await sent(world, secrets, get("x", 401, STATUS, f"{BEARER}{k}")))[0] for k in range(14)]
        assert guesses == [401] * guard.WRONG_TOKENS + [429] * 4
        assert (await sent(world, secrets, get("owner", 200, STATUS, BEARER + "{owner}")))[0] == 200
        assert (await sent(world, secrets, post("trade", 200, BEARER + "{trade}")))[0] == 200


@pytest.mark.long
async def test_the_journal_names_the_token_and_replays_to_the_same_state(tmp_path):
    async with attacked(tmp_path) as (world, secrets):
        save_config(world.folder, world.config, tmp_path / "config.toml", (), {})
        sender = f"api:trade:{secrets['trade'][:8]}"
        deposit = post("cash", 200, BEARER + "{owner}", path="/api/v1/cash", body=CASH)
        resume = post("resume", 200, BEARER + "{trade}", body=RESUME)
        for attack in (post("halt", 200, BEARER + "{trade}"), deposit, resume):
            assert (await sent(world, secrets, attack))[0] == 200
        events = [decode(data).event for _, data in world.store.entries(RUN, 1)]
        named = [(type(event).__name__, event.who) for event in events if isinstance(event, Operator | Flow)]
        assert named == [("Operator", sender), ("Flow", "api:owner"), ("Operator", sender)]
    again = answer(await asyncio.to_thread(quantd, tmp_path, "replay", "--json"))
    assert again["same"]
    assert again["compared"] == again["steps"] >= len(events)
    assert secrets["trade"].encode() not in b"".join(path.read_bytes() for path in world.folder.glob("quantd.db*"))
