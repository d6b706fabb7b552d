"""Attacks on the sign-in of the page: one line each, refused with the expected status, and nothing journalled.

The attacker may run a page on another port of this machine, which gets the cookie of the session from the browser. It
does not have the CSRF token, which is only in the storage of the daemon's own origin.
"""

import asyncio
import json

import pytest
from structlog.testing import capture_logs

from quantd.server.api.access import keyring, sessions
from quantd.server.api.access.sessions import LINK_S, MOST_OF_TOKEN, SESSION_S
from quantd.server.requests.tokens import created, revoked
from tests.attacks.api_requests import COMMANDS, HALT, Attack, attacked, get, post, sent
from tests.support.api_world import RUN, World

STATUS, SIGN_IN, SIGN_OUT, ORDERS = "/api/v1/status", "/api/v1/sign-in", "/api/v1/sign-out", "/api/v1/orders"
COOKIE, CSRF = "Cookie: quantd_session_0={cookie}", "X-CSRF-Token: {csrf}"
READER, OWN, OTHER = "Cookie: quantd_session_0={reader}", "Origin: http://localhost", "Origin: http://localhost:9000"
LISTED, TOKEN = "Origin: https://pages.example", json.dumps({"token": "wrong"})
CANCEL, REVIEW = "/api/v1/orders/cancel", "/api/v1/agents/guest/review"
GONE, YES = json.dumps({"order": "q-1", "reason": "x"}), json.dumps({"id": "1", "approve": True, "reason": "x"})
FIELDS = json.dumps({"token": "x", "scope": "admin"})

ATTACKS = (
    get("cookie of no session", 401, STATUS, "Cookie: quantd_session_0=x"),
    get("empty cookie", 401, STATUS, "Cookie: quantd_session_0="),
    get("cookie of another port", 401, STATUS, "Cookie: quantd_session_8000={cookie}"),
    get("token as the cookie", 401, STATUS, "Cookie: quantd_session_0={owner}"),
    get("CSRF token as the cookie", 401, STATUS, "Cookie: quantd_session_0={csrf}"),
    get("CSRF token as a token", 401, STATUS, "Authorization: Bearer {csrf}"),
    get("cookie as a token", 401, STATUS, "Authorization: Bearer {cookie}"),
    get("session in the query", 401, STATUS + "?quantd_session_0={cookie}"),
    get("session of a revoked token", 401, STATUS, "Cookie: quantd_session_0={gone}"),
    get("session that was signed out", 401, STATUS, "Cookie: quantd_session_0={out}"),
    get("wrong token beside a session", 401, STATUS, COOKIE, "Authorization: Bearer x"),
    get("host of another name with a session", 421, STATUS, COOKIE, host="Host: evil.example"),
    post("cookie without a CSRF token", 403, COOKIE, OWN),
    post("cookie with an empty CSRF token", 403, COOKIE, OWN, "X-CSRF-Token: "),
    post("cookie with a wrong CSRF token", 403, COOKIE, OWN, CSRF + "x"),
    post("cookie with two CSRF tokens", 403, COOKIE, OWN, CSRF, CSRF),
    post("CSRF token of another session", 403, COOKIE, OWN, "X-CSRF-Token: {other}"),
    post("CSRF token in the query", 403, COOKIE, OWN, path=COMMANDS + "?X-CSRF-Token={csrf}"),
    post("CSRF token without a cookie", 401, OWN, CSRF),
    post("page of another port, with the CSRF token", 403, COOKIE, OTHER, CSRF),
    post("page of another origin, with the CSRF token", 403, COOKIE, "Origin: https://evil.example", CSRF),
    post("listed origin with a session", 403, COOKIE, LISTED, CSRF),
    post("page without an origin with a session", 403, COOKIE, "Origin: null", CSRF),
    post("form of another port", 403, COOKIE, OTHER, body="command=halt"),
    post("session of a reader halts", 403, READER, OWN, "X-CSRF-Token: {reading}"),
    post("session of a reader orders", 403, READER, OWN, "X-CSRF-Token: {reading}", path=ORDERS),
    post("session of a reader cancels an order", 403, READER, OWN, "X-CSRF-Token: {reading}", path=CANCEL, body=GONE),
    post("session of a reader approves", 403, READER, OWN, "X-CSRF-Token: {reading}", path=REVIEW, body=YES),
    post("page of another origin cancels an order", 403, COOKIE, "Origin: https://evil.example", CSRF, path=CANCEL),
    post("page of another origin approves", 403, COOKIE, "Origin: https://evil.example", CSRF, path=REVIEW, body=YES),
    post("cookie without a CSRF token approves", 403, COOKIE, OWN, path=REVIEW, body=YES),
    post("session of a revoked token halts", 401, "Cookie: quantd_session_0={gone}", OWN, CSRF),
    post("sign-in with a wrong token", 401, OWN, path=SIGN_IN, body=TOKEN),
    post("sign-in with the id of a token", 401, OWN, path=SIGN_IN, body='{"token": "{id}"}'),
    post("sign-in with a used link", 401, OWN, path=SIGN_IN, body='{"code": "{used}"}'),
    post("sign-in with an expired link", 401, OWN, path=SIGN_IN, body='{"code": "{late}"}'),
    post("sign-in with a token as the code", 401, OWN, path=SIGN_IN, body='{"code": "{owner}"}'),
    post("sign-in with a code as the token", 401, OWN, path=SIGN_IN, body='{"token": "{used}"}'),
    post("sign-in with both", 422, OWN, path=SIGN_IN, body='{"token": "x", "code": "y"}'),
    post("sign-in with nothing", 422, OWN, path=SIGN_IN, body="{}"),
    post("sign-in that names a scope", 422, OWN, path=SIGN_IN, body=FIELDS),
    post("sign-in with a metrics token", 403, OWN, path=SIGN_IN, body='{"token": "{metrics}"}'),
    post("sign-in from another port", 403, OTHER, path=SIGN_IN, body='{"token": "{owner}"}'),
    post("sign-in from a listed origin", 403, LISTED, path=SIGN_IN, body='{"token": "{owner}"}'),
    post("sign-in by a form", 415, OWN, path=SIGN_IN, body="token={owner}"),
    post("sign-out from another port", 403, COOKIE, OTHER, path=SIGN_OUT, body="{}"),
    post("sign-out without a session", 401, OWN, path=SIGN_OUT, body="{}"),
    Attack("sign-in by a link that GET opens", 401, "GET " + SIGN_IN + "?code={used}"),
)


def in_body(attack: Attack, secrets: dict[str, str]) -> Attack:
    body = attack.body
    for name, secret in secrets.items():
        body = body.replace(f"{{{name}}}", secret)
    return Attack(attack.name, attack.status, attack.request, attack.headers, body, attack.host)


async def signed_in(world: World, **what: str) -> tuple[str, str]:
    """(cookie, CSRF token) of a new session."""
    async with world.session.post(SIGN_IN, json=what) as response:
        assert response.status == 200
        secret = next(iter(response.cookies.values())).value
        return secret, (await response.json())["csrf"]


@pytest.mark.long
@pytest.mark.requirement("R-231")
async def test_no_attack_on_the_sign_in_reads_or_changes_anything(tmp_path, monkeypatch, caplog):
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) >= 40
    async with attacked(tmp_path) as (world, secrets):
        short_lived = created(world.folder, "short", "trade")[1]
        now = sessions.time.monotonic
        monkeypatch.setattr(sessions.time, "monotonic", lambda: now() - LINK_S)
        late = world.api.link().partition("code=")[2]
        monkeypatch.setattr(sessions.time, "monotonic", now)
        used = world.api.link().partition("code=")[2]
        await signed_in(world, code=used)
        await world.api._guard._keyring.refresh()
        gone, _ = await signed_in(world, token=short_lived)
        out, ended = await signed_in(world, token=world.token)
        cookie, csrf = await signed_in(world, token=world.token)
        reader, reading = await signed_in(world, token=secrets["read"])
        _, other = await signed_in(world, token=secrets["trade"])
        world.session.cookie_jar.clear()
        secrets |= {"late": late, "used": used, "gone": gone, "out": out, "cookie": cookie, "csrf": csrf}
        secrets |= {"reader": reader, "reading": reading, "other": other, "ended": ended}
        sign_out = post("out", 200, "Cookie: quantd_session_0={out}", OWN, path=SIGN_OUT, body="{}")
        revoked(world.folder, "short")
        await asyncio.sleep(keyring.CHECK_S)
        assert (await sent(world, secrets, sign_out))[0] == 200
        before, switch = world.store.last_seq(RUN), world.service.shell.state.switch.state
        wrong = {}
        with capture_logs() as logs:
            for attack in ATTACKS:
                world.api._guard._wrong.clear()
                status, text = await sent(world, secrets, in_body(attack, secrets))
                if status != attack.status or RUN.encode() in text or b"Set-Cookie" in text:
                    wrong[attack.name] = status, text[-200:]
        assert wrong == {}, [(name, reply[0]) for name, reply in wrong.items()]
        assert (world.store.last_seq(RUN), world.service.shell.state.switch.state) == (before, switch)
        said = repr(logs) + caplog.text
        assert not any(secret in said for name, secret in secrets.items() if name != "id")
        # the table would pass against a daemon that refuses everything
        assert (await sent(world, secrets, get("reader", 200, STATUS, READER)))[0] == 200
        assert (await sent(world, secrets, get("owner", 200, STATUS, COOKIE)))[0] == 200
        assert (await sent(world, secrets, post("halt", 200, COOKIE, OWN, CSRF, body=HALT)))[0] == 200


@pytest.mark.long
async def test_sessions_end_and_those_of_one_token_do_not_end_those_of_another(tmp_path, monkeypatch):
    async with attacked(tmp_path) as (world, secrets):
        owner, _ = await signed_in(world, token=world.token)
        first, _ = await signed_in(world, token=secrets["read"])
        for _ in range(MOST_OF_TOKEN):
            await signed_in(world, token=secrets["read"])
        world.session.cookie_jar.clear()
        assert len(world.api._guard.sessions) == 1 + MOST_OF_TOKEN

        async def status(cookie: str) -> int:
            return (await sent(world, {}, get("own", 200, STATUS, f"Cookie: quantd_session_0={cookie}")))[0]

        assert [await status(owner), await status(first)] == [200, 401]
        now = sessions.time.time
        monkeypatch.setattr(sessions.time, "time", lambda: now() + SESSION_S)
        assert await status(owner) == 401


@pytest.mark.long
async def test_guessed_tokens_at_the_sign_in_are_counted(tmp_path):
    async with attacked(tmp_path) as (world, _):
        statuses = []
        for k in range(12):
            async with world.session.post(SIGN_IN, json={"token": f"guess-{k}"}) as response:
                statuses.append(response.status)
        assert statuses == [401] * 10 + [429] * 2
