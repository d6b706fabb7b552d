"""Telegram: sends each alert as a message of a bot (Bot API, sendMessage)."""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from quantd.adapters.bus.payloads import Alert
from quantd.adapters.pace import retry_after_s
from quantd.adapters.sinks.alert_text import body, shortened, title
from quantd.adapters.sinks.http_post import Answer, HttpPost, check_address
from quantd.adapters.sinks.sink import LONGEST_WAIT_S, Sink, SinkError
from quantd.trading.display_text import ESCAPES, one_line

CHARS: Final = 4_096
"""Maximum length of a message in UTF-16 units, which Telegram counts."""

WAIT_S: Final = 25.0
"""Seconds for which Telegram holds a question for news without any."""

JSON: Final = {"Content-Type": "application/json"}

TOKEN: Final = re.compile(r"[0-9]+:[A-Za-z0-9_-]+")
"""The form of a bot's token. Only such a token becomes a part of an address."""


class TelegramOptions(Struct, frozen=True):
    """The keys of the configuration table [alerts.sinks.telegram]. `chat` is the number of a chat, or the @name of a
    channel.

    `people` are the ids of the users whose buttons and commands the daemon obeys; without one it sends alone. Those in
    `resume` can also resume trading. `url` is the address of the Bot API, which differs for a server of your own.
    `timeout_s` bounds one request including its answer. Raises ValueError for a malformed `chat`, and for a user in
    `resume` alone.
    """

    chat: int | str
    url: str = "https://api.telegram.org"
    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 10.0
    people: tuple[Annotated[int, Meta(gt=0)], ...] = ()
    resume: tuple[Annotated[int, Meta(gt=0)], ...] = ()

    def __post_init__(self) -> None:
        check_address(self.url)
        if isinstance(self.chat, str) and not re.fullmatch(r"-?[0-9]+|@[A-Za-z0-9_]+", self.chat):
            raise ValueError(
                'chat is neither a number nor "@name"; write the number of the chat, or "@name" of a channel'
            )
        if others := sorted({*self.resume} - {*self.people}):
            raise ValueError(f"resume has {others[0]}, which people lacks; add it to people, or remove it from resume")


class Parameters(Struct, frozen=True):
    """Further fields of a refusal by Telegram. `retry_after` is the seconds to wait after too many requests, else 0.
    `migrate_to_chat_id` is the new number of a group that became a supergroup, else 0."""

    retry_after: float = 0.0
    migrate_to_chat_id: int = 0


class Result(Struct, frozen=True):
    """The fields of an answer of Telegram's Bot API that the sink uses."""

    ok: bool = False
    description: str = ""
    parameters: Parameters = Parameters()


class Button(Struct, frozen=True):
    """A button under a message, and what Telegram sends back when it is pressed: at most 64 bytes."""

    text: str
    callback_data: str


class Telegram:
    """Sends alerts to one Telegram chat, as plain text: markup in an alert has no effect."""

    def __init__(self, options: TelegramOptions, secrets: Mapping[str, str]) -> None:
        self._options = options
        self._token = secrets["telegram_token"]
        self._http = HttpPost(options.timeout_s)
        self._chat_http = HttpPost(options.timeout_s + WAIT_S)
        self.buttons: Callable[[Alert], list[Button]] = lambda alert: []
        """Returns the buttons under the message of an alert."""

    @property
    def people(self) -> tuple[int, ...]:
        """The ids of the users whose buttons and commands count."""
        return self._options.people

    @property
    def resume(self) -> tuple[int, ...]:
        """The ids of the users who can also resume trading."""
        return self._options.resume

    @property
    def chat(self) -> int | str:
        """The chat that gets the alerts: its number, or the @name of a channel."""
        return self._options.chat

    async def ask(self, method: str, body: Mapping[str, Any]) -> bytes:
        """Call a method of the Bot API for the chat, and return the answer's body. Raises SinkError for a refusal, and
        without an answer within WAIT_S and the time of one request."""
        answer = await self._chat_http.post(self._url(method), msgspec.json.encode(body), JSON)
        if not answer.good:
            raise self._refused(answer, Result())
        return answer.body

    def _url(self, method: str) -> str:
        return f"{self._options.url.rstrip('/')}/bot{self._token}/{method}"

    async def deliver(self, alert: Alert) -> None:
        """Send title and body in at most CHARS UTF-16 units. An alert of level INFO is sent silently.

        Raises SinkError for a malformed token, no answer or a refusal, with the delay that the Bot API asks for.
        """
        if not TOKEN.fullmatch(self._token):
            raise SinkError("the secret telegram_token is not the token of a bot; copy it from @BotFather again")
        # a unit of UTF-16 has two bytes
        text = shortened(f"{title(alert)}\n{body(alert)}", 2 * CHARS, "utf-16-le")
        message: dict[str, Any] = {
            "chat_id": self._options.chat,
            "text": text,
            "link_preview_options": {"is_disabled": True},  # Telegram requests no preview of an address in the text
            "disable_notification": alert.level == "INFO",
        }
        if buttons := self.buttons(alert):
            message["reply_markup"] = {"inline_keyboard": [buttons[k : k + 2] for k in range(0, len(buttons), 2)]}
        answer = await self._http.post(self._url("sendMessage"), msgspec.json.encode(message), JSON)
        try:
            result = msgspec.json.decode(answer.body, type=Result)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # a proxy answers
            result = Result()
        if not (answer.good and result.ok):
            raise self._refused(answer, result)

    def _refused(self, answer: Answer, result: Result) -> SinkError:
        """Return the error of an unsuccessful answer. The error is permanent unless the Bot API asks for a delay.

        The delay is 0 if neither the answer nor its headers name one.
        """
        # the answer of a server could repeat the address of the request
        why = one_line(result.description.translate(ESCAPES), 200, (self._token,))
        if answer.good:
            why = "not an answer of the Bot API"
        wait_s = min(max(result.parameters.retry_after, 0.0), LONGEST_WAIT_S) or retry_after_s(
            answer.headers, LONGEST_WAIT_S
        )
        text = f"the receiver answers {answer.status}{f': {why}' if why else ''}"
        if new_chat := result.parameters.migrate_to_chat_id:
            text = f"{text}; set chat = {new_chat} in [alerts.sinks.telegram]"
        text = f"{text}; next attempt after {wait_s:g} s" if wait_s else text
        return SinkError(text, wait_s, refused=answer.refused and not wait_s)

    async def close(self) -> None:
        await self._http.close()
        await self._chat_http.close()


SINK: Final = Sink(
    "telegram",
    TelegramOptions,
    "quantd.adapters.sinks.telegram:Telegram",
    secrets={"telegram_token": "token of the Telegram bot that sends alerts"},
)
