"""Buttons under the messages of the sink `telegram`, and commands in its chat, for the people of its key `people`.

What can go wrong: another member of the chat, or the chat's company, presses. So a button or a command only takes risk
away (`quantd.server.requests.buttons`), or reads, and counts for the people that the configuration lists. The journal
has the person. `/resume` adds risk: it counts for the people of the key `resume` alone, needs a second press within
CONFIRM_S by the same person, and does nothing where a device approves. A chat that is neither the configured one nor
the private one of a listed person gets no answer.

A command has the answer of its route of the API (COMMANDS). A long read would hold up a halt behind it, so reads run
beside the chat. The daemon asks Telegram for what was pressed (long polling): nothing listens. What was sent before the
daemon started is dropped. The switches on the machine do not depend on the chat.
"""

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec
import structlog
from msgspec import Struct

from quantd.adapters.sinks.alert_text import shortened
from quantd.adapters.sinks.sink import SinkError
from quantd.adapters.sinks.telegram import CHARS, WAIT_S, Button, Telegram
from quantd.daemon.edges.edge_records import Edge, EdgeContext, EdgeTask, OpenEdge
from quantd.daemon.views.addresses import refused_lines
from quantd.daemon.views.explanation_text import why_lines
from quantd.daemon.views.overview import SWITCH, account_line
from quantd.server.api.documents import MOST_NS, BySize, Query, Why
from quantd.server.api.paging import PagedOrders
from quantd.server.api.problems import INTERNAL, Refused, log_fault
from quantd.server.api.routes.profit_routes import BySymbol, OfPeriod, PeriodName
from quantd.server.api.server import Api
from quantd.server.requests.buttons import LASTS_S, OVER, REASON, Buttons
from quantd.server.requests.control import NotDone, one_line, operator

log = structlog.get_logger("quantd.chat")

LONGEST_S: Final = 60.0
"""Longest pause after failures."""

CONFIRM_S: Final = 60.0
"""Seconds for which the button of a resume can be pressed."""

NUMBER: Final = re.compile(rb'"update_id":\s*([0-9]{1,18})')
"""The number of an update, by which one that cannot be read is passed over."""

SHOWN: Final = 10
"""Most rows of an answer."""

READS: Final = 5
"""Most commands that are answered at a time; a further one is refused."""

PERIODS: Final[Mapping[str, PeriodName]] = {"today": "1D", "7 days": "1W", "since the start": "all"}
"""The periods of /profit."""


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
    username: str = ""


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


class Me(Struct, frozen=True):
    """The answer to getMe."""

    result: Sender


class Resume(NamedTuple):
    """A resume that waits for a press of its button: the reason, who asked, the switch then, and the end."""

    code: str
    reason: str
    who: str
    switch: str
    until: float


class TelegramChat:
    """Follows one chat: what its people press and write becomes events of the run, and each is answered."""

    def __init__(self, api: Api, sink: Telegram, now: Callable[[], float] = time.time) -> None:
        self._api = api
        self._service = api.context.run.service
        self._sink = sink
        self._now = now
        self._buttons = Buttons(self._service, now)
        self._offset = -1  # the newest alone: what was sent before the start is not obeyed
        self._name = ""
        self._resume: Resume | None = None
        self._reading = 0
        sink.buttons = lambda alert: [Button(label, code) for label, code in self._buttons.under(alert)]

    async def run(self) -> None:
        """Ask for news until cancelled. A failure is logged once, and asked again after a growing pause."""
        failures = 0
        async with asyncio.TaskGroup() as reads:
            while True:
                try:
                    for update in await self._updates():
                        await self._take(update, reads)
                    failures = 0
                except SinkError as error:
                    if not failures:
                        log.warning("telegram.unread", error=str(error), then="alerts are sent; buttons wait")
                    failures += 1
                    await asyncio.sleep(min(max(2.0**failures, error.retry_after_s), LONGEST_S))

    async def _updates(self) -> list[Update]:
        """Return what was pressed and written since the last question; none at the first one."""
        first = self._offset < 0
        if not self._name:
            with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self._name = msgspec.json.decode(await self._sink.ask("getMe", {}), type=Me).result.username
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

    async def _take(self, update: Update, reads: asyncio.TaskGroup) -> None:
        """Obey one press or command, and answer it. What others send has no answer but to a press in the chat."""
        press, message = update.callback_query, update.message
        if press is not None:
            if press.message is None or not self._configured(press.message.chat):
                return
            text = await self._pressed(press)
            await self._say("answerCallbackQuery", {"callback_query_id": press.id, "text": text[:200]})
            if press.sender.id in self._sink.people:
                await self._send(press.message.chat, text)
        elif message is not None and message.sender is not None and self._configured(message.chat):
            words = message.text.split(maxsplit=1) or [""]
            name, _, bot = words[0].casefold().partition("@")
            private = message.chat.id == message.sender.id
            if not (private or name.startswith("/")) or (bot and bot != self._name.casefold()):
                return  # the talk of people, or a command for another bot
            if message.sender.id not in self._sink.people or self._now() - message.date > LASTS_S:
                return
            answer = self._answer(name, words[1].strip() if len(words) > 1 else "", message.sender, message.chat)
            if name in AT_ONCE:
                await answer
            elif self._reading < READS:
                self._reading += 1
                reads.create_task(self._read(answer))
            else:
                answer.close()
                await self._send(message.chat, f"{READS} commands are in work; wait for their answers, then ask again")

    def _configured(self, chat: Chat) -> bool:
        """Whether a chat is the one of the configuration, or the private one of a listed person."""
        at = str(self._sink.chat)
        return chat.id in self._sink.people or at.casefold() in (str(chat.id), f"@{chat.username}".casefold())

    async def _read(self, answer: Awaitable[None]) -> None:
        try:
            await answer
        finally:
            self._reading -= 1

    async def _say(self, method: str, body: Mapping[str, Any]) -> None:
        with suppress(SinkError):  # the act counts, with or without its answer
            await self._sink.ask(method, body)

    async def _send(self, chat: Chat, text: str, *buttons: Button) -> None:
        body: dict[str, Any] = {"chat_id": chat.id, "text": shortened(text, 2 * CHARS, "utf-16-le")}
        await self._say("sendMessage", body | ({"reply_markup": {"inline_keyboard": [buttons]}} if buttons else {}))

    async def _pressed(self, press: Press) -> str:
        """Carry out what a button means, once; returns the answer."""
        if press.sender.id not in self._sink.people:
            return "This button is for the people of [alerts.sinks.telegram] people alone."
        if self._resume is not None and secrets.compare_digest(press.data.encode(), self._resume.code.encode()):
            return await self._confirmed(self._resume, press.sender.who)
        self._resume = None
        text = await self._buttons.pressed(press.data, press.sender.who)
        return f"{text} /halt, /reduce and /status work." if text == OVER else text

    async def _answer(self, name: str, words: str, sender: Sender, chat: Chat) -> None:
        """Send the answer to a command with the rest of its message, `words`."""
        command = COMMANDS.get(name)
        buttons: list[Button] = []
        if command is None:
            text = "\n".join(f"{f'{key} {row.reads}'.strip()}: {row.words}" for key, row in COMMANDS.items())
            text = f"orders and approvals are on the page and in the shell; here:\n{text}"
        elif words and not command.reads:
            text = f"{name} takes no further word, and nothing was done: send {name} without {one_line(words)[:80]!r}"
        else:
            try:
                text = await command.answer(self, words, sender, buttons)
            except (Refused, NotDone) as why:
                text = f"Not done: {why}"
            except Exception as why:  # a fault of one read must not end the task that obeys /halt
                log_fault(name, why)
                text = INTERNAL
        await self._send(chat, text, *buttons)

    async def _halt(self, words: str, sender: Sender, _: list[Button], verb: str = "halt") -> str:
        self._resume = None  # a person stops: what another asked before counts no more
        return await self._buttons.act(verb, ("",), sender.who, words or REASON)

    async def _ask_resume(self, words: str, sender: Sender, buttons: list[Button]) -> str:
        """Offer the button of a resume of the whole account. Raises NotDone as `quantd resume` is refused."""
        if sender.id not in self._sink.resume:
            text = f"Not done: the key resume of [alerts.sinks.telegram] does not list {sender.id}"
            return f'{text}; in the shell: quantd resume --reason "…"'
        if self._service.shell.state.rules.approvals is not None:
            text = "Not done: a device of [approvals] approves what adds risk, and a chat has none"
            return f'{text}; on the page, or in the shell: quantd resume --reason "…"'
        if not words:
            raise NotDone("reason", "a resume needs a reason for the journal: /resume REASON")
        operator(self._service, "resume", words, sender.who)
        house = (await self._api.groups["switches"].switches(None, Query())).switches[0]
        if house.switch == "RUN":
            return "The switch of the account is at RUN: nothing to resume. /status shows the agents"
        self._resume = Resume(secrets.token_urlsafe(16), words, sender.who, self._standing(), self._now() + CONFIRM_S)
        buttons.append(Button("Resume trading", self._resume.code))
        return (
            f"Resume the account? The switch is at {self._standing()}. Losses then count from {house.equity} "
            f"instead of {house.high_water}. The button works for {CONFIRM_S:g} s and once."
        )

    def _standing(self) -> str:
        switch = self._service.shell.state.switch
        return f"{SWITCH[switch.state]} ({switch.reason})"

    async def _confirmed(self, asked: Resume, who: str) -> str:
        """Resume as asked, where the same person presses in time and the switch stands as then."""
        if who != asked.who:
            return f"Nothing was done: this button is for {asked.who}, who asked."
        self._resume = None
        if self._now() > asked.until or self._standing() != asked.switch:
            return "Nothing was done: the 60 s are over, or the switch has moved since. Ask again: /resume REASON"
        return await self._buttons.act("resume", ("",), who, asked.reason)

    async def _status(self, *_: object) -> str:
        state = self._service.shell.state
        agents = [f"{name}: {SWITCH[state.switch_of(name).state]}" for name in state.rules.names()[: len(state.agents)]]
        incidents = [f"{incident.level} {incident.kind}" for incident in self._service.incidents.active()]
        lines = [f"{self._service.status}: {account_line(self._service)}", ", ".join(agents)]
        return "\n".join([*lines, "open: " + (", ".join(incidents[:SHOWN]) or "no incident")])

    async def _profit(self, *_: object) -> str:
        """The profit of the account and of its books, in each of PERIODS."""
        routes, lines = self._api.groups["profit"], []
        for title, period in PERIODS.items():
            window = await routes.period(None, OfPeriod(period=period))
            until = MOST_NS if window.until is None else window.until
            profit = await routes.profit(None, BySymbol(since=window.since, until=until, limit=1))
            books = ", ".join(f"{book.name} {_signed(book.profit)}" for book in profit.books)
            share = "" if profit.account.total_return is None else f" ({profit.account.total_return:+.2%})"
            lines.append(f"{title}: {_signed(profit.account.profit)} {profit.currency}{share}; {books}")
        return "\n".join(lines)

    async def _positions(self, *_: object) -> str:
        page = await self._api.groups["readings"].positions(None, BySize(limit=SHOWN))
        lines = [
            f"{row.symbol}: {row.qty} at {row.price}, {row.weight:.1%}, open profit {row.unrealised}"
            for row in page.positions
        ]
        more = [f"and {page.count - SHOWN} more"] if page.count > SHOWN else []
        return "\n".join(lines + more) or "no position"

    async def _orders(self, *_: object) -> str:
        page = await self._api.groups["readings"].orders(None, PagedOrders(limit=SHOWN))
        lines = [
            f"{row.time[:16]} {row.side} {row.qty} {row.symbol}: {row.state}, filled {row.filled or 0}"
            f"{f' at {row.price}' if row.price else ''}; {row.id}"
            for row in page.orders
        ]
        return "\n".join([*lines, "older ones are on the page"] if page.next else lines) or "no order"

    async def _why(self, words: str, *_: object) -> str:
        """Why a symbol, an order or a decision is as it is; without one, the newest cuts and refusals."""
        run = self._api.context.run
        if words:
            return "\n".join(why_lines(await self._api.context.explaining().why(run.read, words, Why())))
        texts = [
            f"{line.time[:16]} {line.side} {line.asked} {line.symbol}: {line.allowed} passed, {line.text}"
            for line in await run.read(lambda reader: refused_lines(reader, last=5))
        ]
        return "\n".join(texts) or "no order was cut or refused"


def _signed(amount: str) -> str:
    return amount if amount.startswith("-") else f"+{amount}"


class Command(NamedTuple):
    """A command of the chat: what it reads after its name, empty for nothing, what it is for, and its answer."""

    reads: str
    words: str
    answer: Callable[[TelegramChat, str, Sender, list[Button]], Awaitable[str]]


COMMANDS: Final[Mapping[str, Command]] = {
    "/status": Command("", "the account, the switches and open incidents", TelegramChat._status),
    "/profit": Command("", "today, 7 days and since the start, by book", TelegramChat._profit),
    "/positions": Command("", "the ten largest", TelegramChat._positions),
    "/orders": Command("", "the ten newest", TelegramChat._orders),
    "/why": Command("[SYMBOL or ORDER]", "the decision behind it, or the newest refusals", TelegramChat._why),
    "/halt": Command("[REASON]", "stop the whole account", TelegramChat._halt),
    "/reduce": Command("[REASON]", "only orders that reduce", partial(TelegramChat._halt, verb="reduce")),
    "/resume": Command("REASON", "trade again, after a second press", TelegramChat._ask_resume),
}
"""The commands of the chat, by name."""

AT_ONCE: Final = frozenset({"/halt", "/reduce", "/resume"})
"""The commands that change the switch: they are obeyed in their order, before the next update is read."""


def opened(context: EdgeContext) -> OpenEdge | None:
    """The task that follows the chat; None without people in [alerts.sinks.telegram]."""
    for delivery in context.deliveries:
        if isinstance(delivery.sink, Telegram) and delivery.sink.people and isinstance(context.page, Api):
            return OpenEdge((EdgeTask("buttons of Telegram", TelegramChat(context.page, delivery.sink).run),))
    return None


TELEGRAM: Final = Edge("buttons of Telegram", 135, opened)
