"""Buttons under the messages of the sink `telegram`, and five commands in its chat, for the people of its key `people`.

What can go wrong: another member of the chat, or the chat's company, presses. So a button or a command only takes risk
away (`quantd.server.requests.buttons`), or reads, and counts for the people that the configuration lists. The journal
has the person.

The daemon asks Telegram for what was pressed (long polling): nothing listens. What was sent before the daemon started
is dropped. The switches on the machine do not depend on the chat.
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
from msgspec import Struct

from quantd.adapters.sinks.sink import SinkError
from quantd.adapters.sinks.telegram import WAIT_S, Button, Telegram
from quantd.adapters.store.queries import Reader
from quantd.adapters.store.store_errors import StoreError
from quantd.daemon.edges.edge_records import Edge, EdgeContext, EdgeTask, OpenEdge
from quantd.daemon.runtime.service import Service
from quantd.daemon.views.addresses import refused_lines
from quantd.daemon.views.overview import SWITCH, account_line, positions
from quantd.server.requests.buttons import LASTS_S, OVER, Buttons
from quantd.server.requests.control import one_line

log = structlog.get_logger("quantd.chat")

LONGEST_S: Final = 60.0
"""Longest pause after failures."""

NUMBER: Final = re.compile(rb'"update_id":\s*([0-9]{1,18})')
"""The number of an update, by which one that cannot be read is passed over."""

SHOWN: Final = 10
"""Most lines of an answer to /positions and /why."""


class Sender(Struct, frozen=True):
    """A person at Telegram: `id` never changes, the names do."""

    id: int
    first_name: str = ""
    username: str = ""

    @property
    def who(self) -> str:
        """The person's name in the journal."""
        return one_line(f"telegram {self.id} {self.username or self.first_name}")[:80]  # a name may have anything


class Chat(Struct, frozen=True):
    id: int


class Message(Struct, frozen=True):
    chat: Chat
    date: int = 0
    text: str = ""
    sender: Sender | None = msgspec.field(default=None, name="from")


class Press(Struct, frozen=True):
    """A pressed button under `message`; `data` is its code."""

    id: str
    sender: Sender = msgspec.field(name="from")
    data: str = ""
    message: Message | None = None


class Update(Struct, frozen=True):
    update_id: int
    message: Message | None = None
    callback_query: Press | None = None


class Updates(Struct, frozen=True):
    result: list[Update] = []


class TelegramChat:
    """Follows one chat: what its people press and write becomes events of the run, and each is answered."""

    def __init__(
        self, service: Service, sink: Telegram, store: str | Path, now: Callable[[], float] = time.time
    ) -> None:
        self._service = service
        self._sink = sink
        self._store = store
        self._now = now
        self._buttons = Buttons(service, now)
        self._offset = -1  # the newest alone: what was sent before the start is not obeyed
        sink.buttons = lambda alert: [Button(label, code) for label, code in self._buttons.under(alert)]

    async def run(self) -> None:
        """Ask for news until cancelled. A failure is logged once, and asked again after a growing pause."""
        failures = 0
        while True:
            try:
                for update in await self._updates():
                    await self._take(update)
                failures = 0
            except SinkError as error:
                if not failures:
                    log.warning("telegram.unread", error=str(error), then="alerts are sent; buttons wait")
                failures += 1
                await asyncio.sleep(min(max(2.0**failures, error.retry_after_s), LONGEST_S))

    async def _updates(self) -> list[Update]:
        """Return what was pressed and written since the last question; none at the first one."""
        first = self._offset < 0
        query = {"offset": self._offset, "limit": 20, "timeout": 0 if first else int(WAIT_S)}
        content = await self._sink.ask("getUpdates", query | {"allowed_updates": ["message", "callback_query"]})
        try:
            updates = msgspec.json.decode(content, type=Updates).result
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # longer than is read, or another form
            if (number := NUMBER.search(content)) is None:
                raise SinkError("not an answer of the Bot API") from None
            self._offset = int(number[1]) + 1
            return []
        self._offset = max((update.update_id + 1 for update in updates), default=max(self._offset, 0))
        return [] if first else updates

    async def _take(self, update: Update) -> None:
        """Obey one press or command, and answer it. What others send has no answer but to a press."""
        press, message = update.callback_query, update.message
        if press is not None:
            text = await self._pressed(press)
            await self._say("answerCallbackQuery", {"callback_query_id": press.id, "text": text[:200]})
            if press.sender.id in self._sink.people and press.message is not None:
                await self._say("sendMessage", {"chat_id": press.message.chat.id, "text": text})
        elif message is not None and message.sender is not None and message.text.startswith("/"):
            if message.sender.id not in self._sink.people or self._now() - message.date > LASTS_S:
                return
            text = await self._commanded(message.text, message.sender)
            await self._say("sendMessage", {"chat_id": message.chat.id, "text": text})

    async def _say(self, method: str, body: Mapping[str, Any]) -> None:
        with suppress(SinkError):  # the act counts, with or without its answer
            await self._sink.ask(method, body)

    async def _pressed(self, press: Press) -> str:
        """Carry out what a button means, once; returns the answer."""
        if press.sender.id not in self._sink.people:
            return "This button is for the people of [alerts.sinks.telegram] people alone."
        text = await self._buttons.pressed(press.data, press.sender.who)
        return f"{text} /halt, /reduce and /status work." if text == OVER else text

    async def _commanded(self, text: str, sender: Sender) -> str:
        """The answer to a command."""
        command = text.split()[0].split("@")[0]
        if command in ("/halt", "/reduce"):
            return await self._buttons.act(command[1:], ("",), sender.who)
        if command == "/status":
            return self._status()
        if command == "/positions":
            return self._positions()
        if command == "/why":
            return await asyncio.to_thread(self._refused)
        return "/status /positions /why /halt /reduce; resume, orders and approvals are on the page and in the shell"

    def _status(self) -> str:
        state = self._service.shell.state
        agents = [f"{name}: {SWITCH[state.switch_of(name).state]}" for name in state.rules.names()[: len(state.agents)]]
        incidents = [f"{incident.level} {incident.kind}" for incident in self._service.incidents.active()]
        lines = [f"{self._service.status}: {account_line(self._service)}", ", ".join(agents)]
        return "\n".join([*lines, "open: " + (", ".join(incidents[:SHOWN]) or "no incident")])

    def _positions(self) -> str:
        rows, count = positions(self._service.shell.state, most=SHOWN)
        lines = [
            f"{row.symbol}: {row.qty} at {row.price}, {row.weight:.1%}, open profit {row.unrealised}" for row in rows
        ]
        return "\n".join(lines + ([f"and {count - SHOWN} more"] if count > SHOWN else [])) or "no position"

    def _refused(self) -> str:
        """The newest orders that were cut or refused, with the limit."""
        try:
            lines = refused_lines(Reader.open(self._store, self._service.run), last=5)
        except StoreError as error:
            return f"The store cannot be read: {error}"
        texts = [
            f"{line.time[:16]} {line.side} {line.asked} {line.symbol}: {line.allowed} passed, {line.text}"
            for line in lines
        ]
        return "\n".join(texts) or "no order was cut or refused"


def opened(context: EdgeContext) -> OpenEdge | None:
    """The task that follows the chat; None without people in [alerts.sinks.telegram]."""
    for delivery in context.deliveries:
        if isinstance(delivery.sink, Telegram) and delivery.sink.people:
            chat = TelegramChat(context.service, delivery.sink, context.store)
            return OpenEdge((EdgeTask("buttons of Telegram", chat.run),))
    return None


TELEGRAM: Final = Edge("buttons of Telegram", 135, opened)
