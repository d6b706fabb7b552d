"""Attacks on the sinks of alerts: one line each. An alert stays text, and no answer of a server reaches further.

Texts go to every kind of sink at once. Answers come from a server that writes bytes as it likes.
"""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from msgspec.structs import replace

from quantd.adapters.bus.payloads import Alert
from quantd.adapters.sinks.email import Email, EmailOptions
from quantd.adapters.sinks.http_post import ANSWER_BYTES, HttpPost
from quantd.adapters.sinks.ntfy import Ntfy, NtfyOptions
from quantd.adapters.sinks.sink import LONGEST_WAIT_S, OpenSink, SinkError
from quantd.adapters.sinks.telegram import Telegram, TelegramOptions
from quantd.adapters.sinks.webhook import Webhook, WebhookOptions
from tests.support.sink_servers import (
    ALERT,
    ID,
    KEY,
    NTFY_TOKEN,
    PASSWORD,
    TOKEN,
    USER,
    BotApi,
    MailServer,
    NtfyServer,
    Receiver,
)

OPS, THIEF = "ops@example.org", "thief@example.com"
RAW = {chr(c) for c in (*range(9), 11, 12, *range(14, 32), *range(127, 160), 0x2028, 0x2029, *range(0x202A, 0x202F))}
"""Control characters that no text of a sink has."""


@dataclass(frozen=True)
class Attack:
    """The fields of an alert that an attacker chose."""

    name: str
    fields: dict[str, str]


def text(name: str, value: str) -> Attack:
    return Attack(name, {"text": value})


def everywhere(name: str, value: str) -> Attack:
    """The same in each field of text but the id."""
    return Attack(name, dict.fromkeys(("run", "name", "kind", "text", "symbol", "agent"), value))


TEXTS = (
    everywhere("a header after a line feed", f"x\r\nBcc: {THIEF}"),
    everywhere("a header after line ends of other alphabets", f"x\x85Bcc: {THIEF}\u2028Cc: {THIEF}\x0bTo: {THIEF}"),
    everywhere("a header in an encoded word", f"=?utf-8?q?x=0D=0ABcc:_{THIEF}?="),
    everywhere("addresses", f"x, {THIEF}>, <{THIEF}"),
    everywhere(
        "a second message after the end of data", f"\r\n.\r\nMAIL FROM:<{THIEF}>\r\nRCPT TO:<{THIEF}>\r\nDATA\r\n"
    ),
    everywhere("an end of data in bare line feeds", f"\n.\nMAIL FROM:<{THIEF}>\r.\r\n"),
    Attack("a header and addresses in the id", {"id": f"x>\r\nBcc:{THIEF},<{THIEF}"}),
    text("fields of another alert", "x\nlevel: INFO\nid: 1\n\nvalue: 0"),
    text("control characters of a terminal", "\x1b]0;x\x07\x1b[2J\x1b[8mhidden\x9b2J\x00\x7f"),
    text("text that runs backwards", "loss of \u202e000.000.1\u202c \u2066x\u2069"),
    text("markup", "<img src=x onerror=alert(1)><a href='javascript:alert(1)'>*x* [y](http://evil.example) @everyone"),
    text("a document of JSON", '"}, "chat_id": 666, "parse_mode": "HTML", "text": {"x": "'),
    text("a text of a megabyte in one line", "x" * 1_000_000),
    text("a text of a hundred thousand lines", "x\n.\n" * 50_000),
)


@dataclass
class Servers:
    """A server of each kind, and a sink to it."""

    mail: MailServer
    hook: Receiver = field(default_factory=Receiver)
    bot: BotApi = field(default_factory=BotApi)
    ntfy: NtfyServer = field(default_factory=lambda: NtfyServer(NTFY_TOKEN))

    def sinks(self) -> tuple[OpenSink, ...]:
        table = {"host": "localhost", "from": "q@example.org", "to": [OPS], "port": self.mail.port, "user": USER,
                 "ca": str(self.mail.cert), "timeout_s": 20.0}  # fmt: skip
        return (
            Email(msgspec.convert(table, EmailOptions), {"smtp_password": PASSWORD}),
            Webhook(WebhookOptions(self.hook.url), {"webhook_key": KEY}),
            Telegram(TelegramOptions(-100123, self.bot.url), {"telegram_token": TOKEN}),
            Ntfy(NtfyOptions("quantd", self.ntfy.url), {"ntfy_token": NTFY_TOKEN}),
        )


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Servers]:
    servers = Servers(MailServer(folder))
    every = (servers.mail, servers.hook, servers.bot, servers.ntfy)
    for server in every:
        await server.start()
    yield servers
    for server in every:
        await server.stop()


def fault(servers: Servers, sent: Alert) -> str:
    """What the newest alert at a server is that it must not be; empty if there is nothing."""
    message, chat = servers.mail.taken[-1], servers.bot.taken[-1]
    texts = {"mail": message.get_content(), "chat": chat["text"], "ntfy": servers.ntfy.taken[-1]}
    heads = {"subject": str(message["Subject"]), "title": servers.ntfy.headers[-1]["Title"]}
    if servers.mail.recipients[-1] != [OPS] or (message["To"], message["From"]) != (OPS, "q@example.org"):
        return f"recipients {servers.mail.recipients[-1]}"
    if set(message.keys()) != HEADERS:
        return f"headers {message.keys()}"
    if message.get_content_type() != "text/plain" or message.is_multipart():
        return message.get_content_type()
    if set(chat) != {"chat_id", "text", "link_preview_options", "disable_notification"} or chat["chat_id"] != -100123:
        return f"message {sorted(chat)}"
    if servers.hook.taken[-1] != sent:
        return "another alert at the webhook"
    for name, content in (texts | heads).items():
        if RAW & set(content):
            return f"control characters in the {name}"
    for name in ("mail", "chat", "ntfy"):
        lines = [line for line in texts[name].splitlines() if not line.startswith("[quantd ")]
        if len(lines) > 4 or sum(bool(ID.match(line)) for line in lines) > 1:
            return f"a line of its own in the {name}"
    return ""


HEADERS = {
    "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "Content-Type", "Content-Transfer-Encoding",
    "MIME-Version",
}  # fmt: skip


async def test_no_text_of_an_alert_becomes_more_than_text(tmp_path: Path) -> None:
    async with served(tmp_path) as servers:
        sinks, wrong = servers.sinks(), {}
        for attack in TEXTS:
            alert = replace(ALERT, **attack.fields)
            for sink in sinks:
                await sink.deliver(alert)
            if violation := fault(servers, alert):
                wrong[attack.name] = violation
        counts = {len(server.taken) for server in (servers.mail, servers.hook, servers.bot, servers.ntfy)}
        for sink in sinks:
            await sink.close()
        assert wrong == {}
        assert counts == {len(TEXTS)}, "one message for each alert"


@dataclass(frozen=True)
class Answer:
    """What a server answers, in parts with `pause_s` between them, and the error of the sink."""

    name: str
    parts: Callable[[], list[bytes]]
    said: str = "the receiver"
    pause_s: float = 0.0
    open: bool = False
    """Whether the server goes on with the last part until the sink ends the connection."""


def head(status: str, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode()


def whole(name: str, status: str, *headers: str, body: bytes = b"", said: str = "the receiver") -> Answer:
    """A complete answer. In its headers, {other} is the address of another host."""
    return Answer(name, lambda: [head(status, *headers, f"Content-Length: {len(body)}"), body], said)


DEEP = b'{"ok": false, "x": ' + b"[" * 200_000
ANSWERS = (
    whole("a redirect to another host", "302 Found", "Location: {other}", said="answers 302"),
    whole("a redirect that repeats the body", "307 Temporary Redirect", "Location: {other}", said="answers 307"),
    whole("a permanent redirect", "308 Permanent Redirect", "Location: {other}", said="answers 308"),
    whole("another address to refresh to", "503 Wait", "Refresh: 0; url={other}", said="answers 503"),
    Answer("ten megabytes", lambda: [head("500 No"), *[b"x" * 2**20] * 10], "answers 500"),
    Answer("an answer without an end", lambda: [head("500 No"), b"x" * 2**16], "answers 500", open=True),
    Answer("a byte at a time", lambda: [head("200 OK", "Content-Length: 99999"), b"x"], "no answer within", 0.02, True),
    Answer("a header at a time", lambda: [b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"], "no answer within", 0.02, True),
    Answer("headers without an end", lambda: [b"HTTP/1.1 200 OK\r\n", b"X: " + b"y" * 2**16], open=True),
    whole(
        "a hundred megabytes in a compressed answer", "500 No", "Content-Encoding: gzip",
        body=gzip.compress(bytes(100 * 2**20), 1),
    ),
    whole("an answer nested without an end", "500 No", body=DEEP, said="answers 500"),
    whole("an answer of no alphabet", "500 No", body=b'{"description": "\xff\xfe"}', said="answers 500"),
    whole("a pause of NaN seconds", "429 No", "X-RateLimit-Reset: nan", said="answers 429"),
    whole("a pause of a thousand years", "429 No", "Retry-After: 31536000000", said="answers 429"),
    whole(
        "a pause until a date of no zone", "429 No", "Retry-After: Mon, 01 Jan 2024 00:00:00 +99999999999999",
        said="answers 429",
    ),
    whole("a success of another protocol", "101 Switching Protocols", "Upgrade: websocket", said=""),
    Answer("no HTTP", lambda: [b"\x16\x03\x01\x00\x00" * 20]),
    Answer("an end within the header", lambda: [b"HTTP/1.1 200 OK\r\nContent-Le"]),
)  # fmt: skip


class Hostile:
    """A server that reads a request and writes the parts of an answer."""

    def __init__(self) -> None:
        self.answer, self.other = ANSWERS[0], ""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            parts = self.answer.parts()
            while parts:
                writer.write(parts[0].replace(b"{other}", self.other.encode()))
                await writer.drain()
                await asyncio.sleep(self.answer.pause_s)
                if len(parts) > 1 or not self.answer.open:
                    del parts[0]
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def test_no_answer_of_a_server_leads_elsewhere_or_holds_up_a_sink() -> None:
    hostile, elsewhere = Hostile(), Receiver()
    server = await asyncio.start_server(hostile, "127.0.0.1", 0)
    await elsewhere.start()
    url, hostile.other = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", elsewhere.url
    wrong: dict[str, str] = {}
    for answer in ANSWERS:
        hostile.answer = answer
        for sink in (
            Webhook(WebhookOptions(url, 0.4), {"webhook_key": KEY}),
            Telegram(TelegramOptions(1, url, 0.4), {"telegram_token": TOKEN}),
        ):
            name = f"{answer.name}, {type(sink).__name__}"
            try:
                await sink.deliver(ALERT)
                wrong[name] = "delivered"
            except SinkError as why:
                if answer.said not in str(why) or not 0.0 <= why.retry_after_s <= LONGEST_WAIT_S:
                    wrong[name] = f"{why} {why.retry_after_s}"
            except Exception as why:
                wrong[name] = repr(why)[:200]
            await sink.close()
    http = HttpPost(5.0)
    hostile.answer = Answer("x", lambda: [head("200 OK"), *[b"x" * 2**20] * 10])
    response = await http.post(url, b"", {})
    await http.close()
    server.close()
    await elsewhere.stop()
    assert wrong == {}
    assert elsewhere.requests == 0
    assert (response.good, len(response.body)) == (True, ANSWER_BYTES)
