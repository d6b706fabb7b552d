"""Buttons and commands of Telegram: they take risk away, for listed people, once, and the journal has the person; a
resume needs a second press."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from quantd.adapters.sinks.telegram import Telegram, TelegramOptions
from quantd.risk.switch import HALT, REDUCE, RUN
from quantd.server.api.telegram_chat import COMMANDS, CONFIRM_S, LASTS_S, TelegramChat
from tests.server.requests.command_desk import Watched, happened
from tests.support.api_world import World, command, standing_at_the_end
from tests.support.command_line import CONFIG, quantd, running
from tests.support.sink_servers import ALERT, TOKEN, BotApi
from tests.support.venues.served import served

OWNER, STRANGER, READER = 11, 99, 12


DEVICE = """
[[agents]]
name = "outside"
policy = "external"
capital = 0.1
approval = "device"
within = "15m"
[approvals]
devices = ["phone:961049b56c514019c226b393bc944e523ed4fcb69dbbc0bd53f49b79368872e9"]
"""
SLOW = ("/profit", "/positions", "/orders", "/why", "/why SPY")


class Desk(Watched):
    """A daemon at the end of its market, its bot, and who writes to it."""

    def __init__(self, world: World, bot: BotApi, sink: Telegram) -> None:
        self.world, self.bot, self.sink = world, bot, sink
        self.skipped_s = 0.0
        self.chat = TelegramChat(world.api, sink, lambda: time.time() + self.skipped_s)
        self._number = 0
        self.named = "A"

    async def buttons(self, **change: Any) -> dict[str, str]:
        """Deliver an alert; label -> code of its buttons."""
        await self.sink.deliver(replace(ALERT, **change))
        rows = self.bot.taken[-1].get("reply_markup", {"inline_keyboard": []})["inline_keyboard"]
        return {button["text"]: button["callback_data"] for row in rows for button in row}

    def sent(self, **content: Any) -> None:
        self._number += 1
        self.bot.news.append({"update_id": self._number, **content})

    async def press(self, code: str, person: int = OWNER, chat: int | None = None) -> str:
        """Press a button; the answer, empty for none in half a second."""
        before = len(self.bot.answered)
        message = {"chat": {"id": chat or self.bot.chat}, "date": 1}
        pressed = {"id": "q", "from": {"id": person, "first_name": self.named}, "data": code, "message": message}
        self.sent(callback_query=pressed)
        with_answer = await happened(lambda: len(self.bot.answered) > before, 0.5 if chat else 10.0)
        return str(self.bot.answered[-1]["text"]) if with_answer else ""

    async def write(self, text: str, person: int = OWNER, age_s: int = 0, chat: int | None = None) -> str:
        """Write to the bot; the answer, empty for none in half a second."""
        before = len(self.bot.taken)
        at = int(time.time() + self.skipped_s) - age_s
        where = {"id": chat or self.bot.chat}
        self.sent(message={"chat": where, "date": at, "text": text, "from": {"id": person, "username": "ann"}})
        with_answer = await happened(lambda: len(self.bot.taken) > before, 5.0 if text in SLOW else 0.5)
        return str(self.bot.taken[-1]["text"]) if with_answer else ""


@asynccontextmanager
async def desk(folder: Path, text: str = CONFIG, resume: tuple[int, ...] = (OWNER,)) -> AsyncIterator[Desk]:
    bot = BotApi()
    bot.private = (OWNER, STRANGER)
    await bot.start()
    options = TelegramOptions(bot.chat, bot.url, people=(OWNER, READER), resume=resume)
    sink = Telegram(options, {"telegram_token": TOKEN})
    async with standing_at_the_end(folder, text) as world:
        opened = Desk(world, bot, sink)
        following = asyncio.create_task(opened.chat.run())
        await asyncio.sleep(0.1)
        try:
            yield opened
        finally:
            following.cancel()
            await sink.close()
            await bot.stop()


async def test_a_button_halts_once_and_the_journal_has_the_person(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        codes = await at.buttons(level="CRITICAL")
        assert list(codes) == ["Reduce only", "Halt all"]
        assert "Done by telegram 11 A: halt." in await at.press(codes["Halt all"])
        assert at.switch == HALT
        assert [(event.command, event.who) for event in at.operators()] == [("halt", "telegram 11 A")]
        assert "over" in await at.press(codes["Halt all"])
        assert len(at.operators()) == 1


@pytest.mark.parametrize("threat", ["a stranger", "an old message", "a forged code", "another run", "before the start"])
async def test_what_must_not_act_does_not_act(tmp_path: Path, threat: str) -> None:
    async with desk(tmp_path) as at:
        code = (await at.buttons(level="CRITICAL"))["Halt all"]
        person = STRANGER if threat == "a stranger" else OWNER
        if threat == "an old message":
            at.skipped_s = LASTS_S + 1
        if threat == "a forged code":
            code = code[:-1] + ("A" if code[-1] != "A" else "B")
        if threat == "another run":
            at.chat = TelegramChat(at.world.api, at.sink)
            code = "0" * 22
        if threat == "before the start":
            assert await at.write("/halt", age_s=int(LASTS_S) + 5) == ""
        else:
            assert "Done" not in await at.press(code, person)
        assert at.switch == RUN
        assert at.operators() == []


async def test_an_update_that_cannot_be_read_holds_up_no_other(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        at.sent(message={"chat": "no number", "text": "x" * 5_000})
        assert "/positions" in await at.write("/help")


async def test_commands_read_and_take_risk_away(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        assert "equity " in await at.write("/status")
        assert " at " in await at.write("/positions")
        assert await at.write("/why")
        assert await at.write("/status", STRANGER) == ""
        for text in ("/approve 1", "/order buy 1 SPY", "/start"):
            answer = await at.write(text)
            assert all(name in answer for name in COMMANDS)
        assert "takes no further word, and nothing was done: send /status without 'of trend'" in await at.write(
            "/status of trend"
        )
        assert at.switch == RUN
        assert "Done by telegram 11 ann: reduce." in await at.write("/Reduce@mine_bot")
        assert at.switch == REDUCE
        assert "Nothing changed: the switch was at REDUCE already." in await at.write("/reduce")
        assert "Done by telegram 11 ann: halt." in await at.write("/halt a bad print")
        assert at.switch == HALT
        assert at.operators()[-1].reason == "a bad print"
        said = await at.write("/reduce")
        assert "Nothing changed: the switch was at HALT already, which is stricter." in said
        assert "Done" not in said


async def test_reads_have_the_figures_of_their_routes(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        async with at.world.session.get("/api/v1/period", params={"period": "1W"}, headers=at.world.bearer) as response:
            since = (await response.json())["since"]
        lines = (await at.write("/profit")).splitlines()
        for line, begin in ((lines[1], since), (lines[2], 0)):
            query = {"since": str(begin)}
            async with at.world.session.get("/api/v1/profit", params=query, headers=at.world.bearer) as response:
                profit = await response.json()
            for book in (profit["account"], *profit["books"]):
                assert book["profit"].lstrip("-") in line
                assert book["name"] in ("account", *(name["name"] for name in profit["books"]))
        assert lines[0].startswith("today: ")
        async with at.world.session.get("/api/v1/orders", params={"limit": "10"}, headers=at.world.bearer) as response:
            orders = (await response.json())["orders"]
        text = await at.write("/orders")
        assert all(order["id"] in text for order in orders)
        assert orders[0]["symbol"] in await at.write(f"/why {orders[0]['id']}")
        assert "Not done: " in await at.write("/why NOSUCH")


async def test_only_the_chat_of_the_configuration_and_private_ones_get_an_answer(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        code = (await at.buttons(level="CRITICAL"))["Halt all"]
        assert await at.press(code, chat=-555) == ""
        assert await at.write("/halt", chat=-555) == ""
        assert await at.write("/status", STRANGER, chat=STRANGER) == ""
        assert await at.write("/halt@other_bot") == ""
        assert await at.write("good morning") == ""
        assert at.operators() == []
        assert "/profit" in await at.write("profit?", chat=OWNER)
        assert "Done" in await at.write("/halt", chat=OWNER)


async def resume_button(at: Desk, stop: str = "/halt") -> str:
    """Halt, ask for a resume, and return the code of its button."""
    await at.write(stop)
    assert "The switch is at " in await at.write("/resume looked at it")
    return str(at.bot.taken[-1]["reply_markup"]["inline_keyboard"][0][0]["callback_data"])


async def test_a_resume_needs_a_second_press_and_counts_once(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        assert "nothing to resume" in await at.write("/resume looked at it")
        code = await resume_button(at)
        assert at.switch == HALT
        assert "a resume needs a reason" in await at.write("/resume")
        assert "is for telegram 11 ann" in await at.press(code, READER)
        at.named = "ann"
        assert "Done by telegram 11 ann: resume." in await at.press(code)
        assert at.switch == RUN
        last = at.operators()[-1]
        assert (last.command, last.who, last.reason) == ("resume", "telegram 11 ann", "looked at it")
        await at.write("/halt")
        assert "over" in await at.press(code)
        assert at.switch == HALT


@pytest.mark.parametrize("threat", ["late", "moved", "halted again", "a file halts", "not listed", "a device approves"])
async def test_what_must_not_resume_does_not(tmp_path: Path, threat: str) -> None:
    text = CONFIG + DEVICE if threat == "a device approves" else CONFIG
    async with desk(tmp_path, text, () if threat == "not listed" else (OWNER,)) as at:
        at.named = "ann"
        if threat in ("late", "moved", "halted again"):
            code = await resume_button(at, "/reduce" if threat == "moved" else "/halt")
            if threat == "late":
                at.skipped_s = CONFIRM_S + 1
            elif threat == "moved":
                assert (await command(at.world, {"command": "halt"}, at.world.bearer))[0] == 200
            else:
                await at.write("/halt again")
            assert ("over" if threat == "halted again" else "Nothing was done") in await at.press(code)
        else:
            await at.write("/halt")
            if threat == "a file halts":
                (at.world.folder / "HALT").touch()
            words = {"a file halts": "remove it", "not listed": "does not list 11", "a device approves": "a device of"}
            assert words[threat] in await at.write("/resume looked at it")
            assert "reply_markup" not in at.bot.taken[-1]
        assert at.switch == HALT
        assert all(event.command != "resume" for event in at.operators())


async def test_an_alert_of_an_agent_pauses_it_and_an_incident_is_acknowledged(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        name = at.world.service.shell.state.rules.names()[0]
        at.world.service.alert("the feed is away", "feed")
        await happened(lambda: bool(at.world.service.incidents.active()))
        (incident,) = at.world.service.incidents.active()
        codes = await at.buttons(agent=name, state="raised", incident=incident.id)
        assert list(codes) == ["Acknowledge", f"Pause {name}", "Reduce only", "Halt all"]
        assert "Done" in await at.press(codes["Acknowledge"])
        assert at.world.service.incidents.find(incident.id).state == "acknowledged"
        assert "Done" in await at.press(codes[f"Pause {name}"])
        assert at.world.service.shell.state.switch_of(name).state == HALT
        assert at.switch == RUN
        assert await at.buttons(state="cleared", incident=incident.id) == {}
        assert "acknowledged already" in await at.press(
            (await at.buttons(state="reminded", incident=incident.id))["Acknowledge"]
        )


@pytest.mark.long
def test_a_daemon_follows_the_chat_of_its_configuration(tmp_path: Path) -> None:
    bot = BotApi()
    bot.chat = 5
    with served(bot.application()) as port:
        assert quantd(tmp_path, "init").returncode == 0
        table = f'\n[alerts.sinks.telegram]\nchat = 5\npeople = [{OWNER}]\nurl = "http://127.0.0.1:{port}"\n'
        with (tmp_path / "config.toml").open("a") as file:
            file.write(table)
        (tmp_path / "credentials").mkdir(mode=0o700)
        (tmp_path / "credentials" / "telegram_token").write_text(TOKEN)
        (tmp_path / "credentials" / "telegram_token").chmod(0o600)
        with running(tmp_path, "--set", "api.port=0", "--set", "bus.port=0", "--set", "feed.end=2019-03-29"):
            deadline = time.monotonic() + 60
            while not any("halt" in message["text"] for message in bot.taken) and time.monotonic() < deadline:
                sender = {"id": OWNER, "username": "ann"}
                message = {"chat": {"id": 5}, "date": int(time.time()), "text": "/halt", "from": sender}
                bot.news.append({"update_id": len(bot.news) + 1, "message": message})
                time.sleep(0.5)
            done = quantd(tmp_path, "status")
    assert "HALT" in done.stdout, done.stderr
    assert any("Done by telegram 11 ann: halt." in taken["text"] for taken in bot.taken)
