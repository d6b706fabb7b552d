"""Real servers on 127.0.0.1 that take alerts: a webhook, SMTP with STARTTLS, Telegram's Bot API and ntfy. Each can go
away and come back."""

import asyncio
import hashlib
import hmac
import json
import re
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from aiohttp import web
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from quantd.adapters.bus.payloads import SCHEMA, Alert
from quantd.adapters.sinks.sink import OpenSink, SinkError
from tests.support.mqtt import certificate, free_port

ALERT = Alert(
    schema=SCHEMA, id="7f3k2m1a-7-0", run="7f3k2m1a", name="paper", ts_event=1, time="1970-01-01T00:00:00.000000Z",
    level="CRITICAL", kind="switch", text="halt é", symbol="", agent="", value=0.31, bound=None, count=2,
)  # fmt: skip

KEY = "the key of the webhook"
USER, PASSWORD = "alerts@example.org", "pass-word of smtp"
TOKEN = "12345:AAbb-cc_DDeeFFggHHiiJJkk"
NTFY_TOKEN = "tk_abcdefghij0123456789"
PLACE = "q8-ZxY-of-a-channel"
ID = re.compile(r"^[-0-9]{10} [0-9:]{5} UTC, .*\balert (\S+)\s*$", re.MULTILINE)


class MailServer:
    """A real SMTP server with a self-signed certificate. `answers` are the next answers to DATA, then 250.

    `refused` are recipients with the answer to them. It takes mail only after STARTTLS and a login.
    """

    def __init__(self, folder: Path, *, immediate: bool = False, starttls: bool = True, logins: bool = True) -> None:
        self._folder = folder
        self.cert, self._key = certificate(folder)
        self.port = free_port()
        self.password = PASSWORD
        self.immediate, self.starttls, self.logins = immediate, starttls, logins
        self.taken: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.answers: list[str] = []
        self.refused: dict[str, str] = {}
        self.silent = False
        self.attempts = 0
        self._server: asyncio.Server | None = None

    @property
    def ids(self) -> list[str]:
        return [ID.findall(message.get_content())[0] for message in self.taken]

    def renamed(self, names: str) -> None:
        """Have a certificate for other names from the next start on."""
        self.cert, self._key = certificate(self._folder, names)

    async def start(self) -> None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(self.cert, self._key)
        secure = self.starttls and not self.immediate

        def protocol() -> SMTP:
            return SMTP(
                self, hostname="localhost", tls_context=tls if secure else None, require_starttls=secure,
                auth_required=self.logins, auth_require_tls=secure,
                authenticator=self._login if self.logins else None,
            )  # fmt: skip

        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(protocol, "127.0.0.1", self.port, ssl=tls if self.immediate else None)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _login(self, server: Any, session: Any, envelope: Any, mechanism: str, auth: Any) -> AuthResult:
        good = isinstance(auth, LoginPassword) and (auth.login.decode(), auth.password.decode()) == (
            USER,
            self.password,
        )
        return AuthResult(success=good, handled=False)

    async def handle_RCPT(self, server: Any, session: Session, envelope: Envelope, to: str, _: Any) -> str:  # noqa: N802
        if to in self.refused:
            return self.refused[to]
        envelope.rcpt_tos.append(to)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.attempts += 1
        if self.silent:
            await asyncio.sleep(60)
        answer = self.answers.pop(0) if self.answers else "250 OK"
        if answer.startswith("250"):
            assert isinstance(envelope.content, bytes)
            message = message_from_bytes(envelope.content, policy=default)
            assert isinstance(message, EmailMessage)
            self.taken.append(message)
            self.recipients.append(list(envelope.rcpt_tos))
        return answer


class HttpServer:
    """A server at `port` that keeps what it accepted. `answers` are the next statuses, then 200."""

    path = ""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.answers: list[int] = []
        self.requests = 0
        self.silent = False
        self.port = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_post(self.path, self._take)
        return app

    async def start(self) -> None:
        self._runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        self.requests += 1
        if self.silent:
            await asyncio.sleep(60)
        status = self.answers.pop(0) if self.answers else 200
        return await self.answer(request, status)

    async def answer(self, request: web.Request, status: int) -> web.Response:
        raise NotImplementedError


class Receiver(HttpServer):
    """A webhook at `url`, which takes alerts with a good signature only.

    `rejects` has by a part of a body the status that such an alert is refused with.
    """

    path = "/alerts"

    def __init__(self) -> None:
        super().__init__()
        self.rejects: dict[str, int] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/alerts"

    @property
    def ids(self) -> list[str]:
        return [alert.id for alert in self.taken]

    async def answer(self, request: web.Request, status: int) -> web.Response:
        body = await request.read()
        expected = hmac.new(KEY.encode(), body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(request.headers["X-Quantd-Signature"], f"sha256={expected}"):
            return web.Response(status=401)
        status = next((refusal for part, refusal in self.rejects.items() if part.encode() in body), status)
        if status == 200:
            self.taken.append(msgspec.json.decode(body, type=Alert))
        return web.Response(status=status, headers={"Location": self.url} if status == 307 else None)


class Pulse(HttpServer):
    """The other side of a dead man's switch: `taken` are the times of requests."""

    path = "/ping/{id}"

    async def answer(self, request: web.Request, status: int) -> web.Response:
        self.taken.append(time.monotonic())
        return web.Response(status=status)


class BotApi(HttpServer):
    """The Bot API's sendMessage: 404 for an unknown token, 400 for an unknown chat or a bad text, 429 with retry_after.

    `chat` is the one group of the bot; `private` are chats with persons. getMe names the bot, and getUpdates has the
    messages of `written`, and by POST the updates of `news` from an offset on, as long polling without a wait.
    """

    path = "/bot{token}/sendMessage"
    chat: int | str = -100123
    private: tuple[int, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self.token = TOKEN
        self.retry_after = 1
        self.written: list[int] = []
        self.news: list[dict[str, Any]] = []
        self.answered: list[dict[str, Any]] = []
        """Presses that were answered."""

    def application(self) -> web.Application:
        app = super().application()
        app.router.add_get("/bot{token}/{method:getMe|getUpdates}", self._read)
        app.router.add_post("/bot{token}/{method:getMe}", self._read)
        app.router.add_post("/bot{token}/getUpdates", self._updates)
        app.router.add_post("/bot{token}/answerCallbackQuery", self._answered)
        return app

    async def _read(self, request: web.Request) -> web.Response:
        if request.match_info["token"] != self.token:
            return self._failed(401, "Unauthorized")
        bot = {"id": 1, "is_bot": True, "first_name": "a", "username": "mine_bot"}
        updates = [{"update_id": k, "message": {"chat": {"id": chat}}} for k, chat in enumerate(self.written)]
        return web.json_response({"ok": True, "result": bot if request.match_info["method"] == "getMe" else updates})

    async def _updates(self, request: web.Request) -> web.Response:
        """A negative offset counts from the end, and forgets what is before it (Bot API, getUpdates)."""
        asked = await request.json()
        offset = asked["offset"]
        if offset < 0:
            self.news = self.news[offset:]
        else:
            self.news = [update for update in self.news if update["update_id"] >= offset]
        await asyncio.sleep(0.02 if asked["timeout"] and not self.news else 0)
        return web.json_response({"ok": True, "result": self.news[: asked["limit"]]})

    async def _answered(self, request: web.Request) -> web.Response:
        self.answered.append(await request.json())
        return web.json_response({"ok": True, "result": True})

    @property
    def ids(self) -> list[str]:
        return [ID.findall(message["text"])[0] for message in self.taken]

    async def answer(self, request: web.Request, status: int) -> web.Response:
        if request.match_info["token"] != self.token:
            return self._failed(404, "Not Found")
        message = await request.json()
        if status == 429:
            text = f"Too Many Requests: retry after {self.retry_after}"
            return self._failed(429, text, parameters={"retry_after": self.retry_after})
        if status != 200:
            return self._failed(status, f"error at /bot{request.match_info['token']}/sendMessage")
        if str(message["chat_id"]) not in map(str, (self.chat, *self.private)):
            return self._failed(400, "Bad Request: chat not found")
        if not 1 <= len(message["text"].encode("utf-16-le")) // 2 <= 4_096:
            return self._failed(400, "Bad Request: message is too long")
        self.taken.append(message)
        return web.json_response({"ok": True, "result": {"message_id": len(self.taken), "text": message["text"]}})

    def _failed(self, status: int, description: str, **more: Any) -> web.Response:
        body = {"ok": False, "error_code": status, "description": description, **more}
        return web.json_response(body, status=status)


class DiscordChannel(HttpServer):
    """A channel's webhook: 204 for a message, 404 for another token, 400 for a bad content or unknown flags."""

    path = "/api/webhooks/{id}/{token}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/webhooks/1207/{PLACE}"

    async def answer(self, request: web.Request, status: int) -> web.Response:
        if request.match_info["token"] != PLACE:
            return web.json_response({"message": "Unknown Webhook", "code": 10015}, status=404)
        if status != 200:
            after = {"Retry-After": "2"} if status == 429 else {}
            return web.json_response({"message": "…", "retry_after": 1.5}, status=status, headers=after)
        message = await request.json()
        if not 1 <= len(message["content"]) <= 2_000 or message["flags"] & ~(1 << 2 | 1 << 12):
            return web.json_response({"content": ["Must be 2000 or fewer in length."]}, status=400)
        self.taken.append(message)
        return web.Response(status=204)


class SlackChannel(HttpServer):
    """A channel's incoming webhook: `ok` for a text, 404 for another token, 400 without a text."""

    path = "/services/T01/B02/{token}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/services/T01/B02/{PLACE}"

    async def answer(self, request: web.Request, status: int) -> web.Response:
        if request.match_info["token"] != PLACE:
            return web.Response(text="no_service", status=404)
        if status != 200:
            return web.Response(text="rate_limited", status=status, headers={"Retry-After": "2"})
        message = await request.json()
        if not message.get("text"):
            return web.Response(text="no_text", status=400)
        self.taken.append(message)
        return web.Response(text="ok")


class NtfyServer(HttpServer):
    """ntfy's publishing: 401 or 403 without the token of a protected topic, 429 where it is visited too often."""

    path = "/{topic}"

    def __init__(self, token: str = "") -> None:
        super().__init__()
        self.token = token
        self.headers: list[dict[str, str]] = []
        self.heard: list[dict[str, Any]] = []
        """Each message with its topic, as a subscriber gets it."""

    def application(self) -> web.Application:
        app = super().application()
        app.router.add_get("/{topic}/json", self._followed)
        return app

    async def _followed(self, request: web.Request) -> web.StreamResponse:
        """A topic as a stream of lines of JSON from an instant on, until the subscriber goes (docs of ntfy, Subscribe
        via API)."""
        login = request.headers.get("Authorization", "")
        if self.token and login != f"Bearer {self.token}":
            return web.json_response({"code": 40301, "http": 403, "error": "forbidden"}, status=403)
        topic, since, sent = request.match_info["topic"], int(request.query["since"]), 0
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        await response.write(
            json.dumps({"id": "open", "time": since, "event": "open", "topic": topic}).encode() + b"\n"
        )
        while True:
            for message in self.heard[sent:]:
                if message["topic"] == topic and message["time"] >= since:
                    await response.write(json.dumps(message).encode() + b"\n")
            sent = len(self.heard)
            await asyncio.sleep(0.02)

    @property
    def ids(self) -> list[str]:
        return [ID.findall(body)[0] for body in self.taken]

    async def answer(self, request: web.Request, status: int) -> web.Response:
        login = request.headers.get("Authorization", "")
        if self.token and login != f"Bearer {self.token}":
            status = 401 if login else 403
        if status != 200:
            after = {"Retry-After": "2"} if status == 429 else {}
            return web.json_response(
                {"code": status * 100 + 1, "http": status, "error": "…"}, status=status, headers=after
            )
        body = await request.text()
        assert len(body.encode()) <= 4_096
        self.taken.append(body)
        self.headers.append(dict(request.headers))
        sent = {"id": f"m{len(self.heard)}", "time": int(time.time()), "event": "message", "message": body}
        self.heard.append(sent | {"topic": request.match_info["topic"]})
        return web.json_response(self.heard[-1])


Opened = TypeVar("Opened", bound=OpenSink)
Served = TypeVar("Served", bound=HttpServer)
OPEN: list[OpenSink] = []
"""The sinks that `served` closes at its end."""


def opened(sink: Opened) -> Opened:
    OPEN.append(sink)
    return sink


@asynccontextmanager
async def served(server: Served) -> AsyncIterator[Served]:
    """A server that runs; at its end the sinks of `opened` are closed."""
    await server.start()
    yield server
    while OPEN:
        await OPEN.pop().close()
    await server.stop()


async def refusal(sink: OpenSink, alert: Alert = ALERT) -> SinkError:
    """The error of a delivery. Neither it nor its cause has a secret."""
    with pytest.raises(SinkError) as error_info:
        await sink.deliver(alert)
    error = error_info.value
    assert not any(secret in repr(error) for secret in (KEY, PASSWORD, TOKEN, NTFY_TOKEN, PLACE))
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
    return error


@contextmanager
def in_a_thread(*servers: MailServer | HttpServer) -> Iterator[None]:
    """Run the servers in a loop of their own, beside a test that blocks."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    for server in servers:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    try:
        yield
    finally:
        for server in servers:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
