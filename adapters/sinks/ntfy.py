"""ntfy: publishes each alert as a notification of a topic, on ntfy.sh or on a server of your own.

With `answers` the notification has buttons. A press publishes the code of its button to that second topic, which the
daemon follows: nothing listens.
"""

import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from quantd.adapters.bus.payloads import Alert
from quantd.adapters.sinks.alert_text import body, shortened, title
from quantd.adapters.sinks.http_post import HttpPost, check_address, check_page
from quantd.adapters.sinks.sink import Sink, SinkError
from quantd.trading.effects import Level

BODY_BYTES: Final = 4_000
"""Maximum length of a message; the server turns a text above 4,096 bytes into a file."""

NAME: Final = re.compile(r"[-_A-Za-z0-9]{1,64}")
"""The form of a topic, and of a sequence id."""

QUIET_S: Final = 120.0
"""Seconds without a line after which the connection counts as lost; a server sends one every 45 s."""

PRIORITIES: Final[Mapping[Level, str]] = {"INFO": "2", "WARNING": "4", "CRITICAL": "5"}
"""Priorities of ntfy, from 1 to 5."""

TAGS: Final[Mapping[Level, str]] = {
    "INFO": "information_source,quantd",
    "WARNING": "warning,quantd",
    "CRITICAL": "rotating_light,quantd",
}


class NtfyOptions(Struct, frozen=True):
    """The keys of the configuration table [alerts.sinks.ntfy]. `timeout_s` bounds one request including its answer.

    Anyone who knows the name of a topic without access control can read it. `answers` is the topic to which buttons
    publish, empty for no buttons; `page` is the address that a tap on the notification opens. Raises ValueError for a
    topic that ntfy does not accept.
    """

    topic: str
    url: str = "https://ntfy.sh"
    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 10.0
    answers: str = ""
    page: str = ""

    def __post_init__(self) -> None:
        check_address(self.url)
        if not NAME.fullmatch(self.topic):
            raise ValueError("topic is not the name of a topic; write at most 64 letters, digits, - and _")
        if self.answers and (not NAME.fullmatch(self.answers) or self.answers == self.topic):
            raise ValueError("answers is not the name of another topic; write at most 64 letters, digits, - and _")
        if self.page:
            check_page(self.page)


class Heard(Struct, frozen=True):
    """A line of a topic that is followed: a message has the event "message"."""

    id: str = ""
    event: str = ""
    message: str = ""


class Ntfy:
    """Publishes alerts to one topic of ntfy. Every HTTP status from 200 to 299 counts as delivered."""

    def __init__(self, options: NtfyOptions, secrets: Mapping[str, str]) -> None:
        self._url = f"{options.url.rstrip('/')}/{options.topic}"
        self._login = {"Authorization": f"Bearer {token}"} if (token := secrets["ntfy_token"]) else {}
        self._http = HttpPost(options.timeout_s)
        self._options = options
        self.buttons: Callable[[Alert], list[tuple[str, str]]] = lambda alert: []
        """Returns label and code of the buttons under the message of an alert."""

    @property
    def answers(self) -> str:
        """The topic to which buttons publish; empty for none."""
        return self._options.answers

    async def heard(self, since_s: int) -> AsyncIterator[Heard]:
        """Yield each line of the topic of answers from an instant on, until the server ends it. Raises SinkError."""
        address = f"{self._options.url.rstrip('/')}/{self.answers}/json?since={since_s}"
        async for line in self._http.lines(address, self._login, QUIET_S):
            try:
                yield msgspec.json.decode(line, type=Heard)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                raise SinkError("the receiver does not answer as ntfy does") from None

    async def say(self, text: str) -> None:
        """Publish a text of the daemon, such as what became of a press. Raises SinkError."""
        answer = await self._http.post(self._url, shortened(text, BODY_BYTES, "utf-8").encode(), self._login)
        answer.require_success(pages=True)

    def _actions(self, alert: Alert) -> dict[str, str]:
        """The headers of the buttons and of the page; a login would be readable by all who follow the topic."""
        address = f"{self._options.url.rstrip('/')}/{self.answers}"
        actions = [
            {"action": "http", "label": label, "url": address, "body": code, "clear": True}
            for label, code in self.buttons(alert)
        ]
        page = {"Click": self._options.page} if self._options.page else {}
        return page | ({"Actions": json.dumps(actions)} if actions else {})

    async def deliver(self, alert: Alert) -> None:
        """Post an alert as at most BODY_BYTES bytes of UTF-8, with title, priority and tags.

        Raises SinkError for a malformed access token, no answer, an unsuccessful HTTP status, or another server's page.
        """
        if not all(char.isascii() and char.isprintable() for char in self._login.get("Authorization", "")):
            raise SinkError("the secret ntfy_token is not an access token of printable ASCII; copy it again")
        headers = {
            "Content-Type": "text/plain; charset=utf-8",
            "Title": header(title(alert)),
            "Priority": PRIORITIES[alert.level],
            "Tags": TAGS[alert.level],
            # servers of version 2.16 or later show two messages with one sequence id as one
            "X-Sequence-ID": sequence_id(alert.id),
        } | self._actions(alert)
        text = shortened(body(alert), BODY_BYTES, "utf-8")
        answer = await self._http.post(self._url, text.encode(), headers | self._login)
        answer.require_success()

    async def close(self) -> None:
        await self._http.close()


def header(text: str) -> str:
    """Return a line of text as the value of an HTTP header: unchanged if it is ASCII, else as an encoded word (RFC
    2047)."""
    return text if text.isascii() else f"=?UTF-8?B?{base64.b64encode(text.encode()).decode()}?="


def sequence_id(id: str) -> str:
    """Return the ntfy sequence id of an alert: its own id, or the SHA-256 of an id that ntfy does not permit.

    ntfy shows two messages with one sequence id as one.
    """
    return id if NAME.fullmatch(id) else hashlib.sha256(id.encode()).hexdigest()


SINK: Final = Sink(
    "ntfy",
    NtfyOptions,
    "quantd.adapters.sinks.ntfy:Ntfy",
    secrets={"ntfy_token": "access token of the ntfy server; only where the topic needs one"},
    needs=lambda options: (),
)
