"""Buttons and commands of Telegram: they take risk away, for listed people, once, and the journal has the person."""

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
from quantd.server.requests.telegram_chat import LASTS_S, TelegramChat
from tests.server.requests.command_desk import Watched, happened
from tests.support.api_world import World, standing_at_the_end
from tests.support.command_line import quantd, running
from tests.support.sink_servers import ALERT, TOKEN, BotApi
from tests.support.venues.served import served

OWNER, STRANGER = 11, 99


class Desk(Watched):
    """A daemon at the end of its market, its bot, and who writes to it."""

    def __init__(self, world: World, bot: BotApi, sink: Telegram) -> None:
        self.world, self.bot, self.sink = world, bot, sink
        self.skipped_s = 0.0
        self.chat = TelegramChat(world.service, sink, world.folder, lambda: time.time() + self.skipped_s)
        self._number = 0

    async def buttons(self, **change: Any) -> dict[str, str]:
        """Deliver an alert; label -> code of its buttons."""
        await self.sink.deliver(replace(ALERT, **change))
        rows = self.bot.taken[-1].get("reply_markup", {"inline_keyboard": []})["inline_keyboard"]
        return {button["text"]: button["callback_data"] for row in rows for button in row}

    def sent(self, **content: Any) -> None:
        self._number += 1
        self.bot.news.append({"update_id": self._number, **content})

    async def press(self, code: str, person: int = OWNER) -> str:
        """Press a button; the answer."""
        before = len(self.bot.answered)
        message = {"chat": {"id": self.bot.chat}, "date": 1}
        pressed = {"id": "q", "from": {"id": person, "first_name": "A"}, "data": code, "message": message}
        self.sent(callback_query=pressed)
        await happened(lambda: len(self.bot.answered) > before)
        return str(self.bot.answered[-1]["text"])

    async def write(self, text: str, person: int = OWNER, age_s: int = 0) -> str:
        """Write to the bot; the answer, empty for none in half a second."""
        before = len(self.bot.taken)
        at = int(time.time() + self.skipped_s) - age_s
        chat = {"id": self.bot.chat}
        self.sent(message={"chat": chat, "date": at, "text": text, "from": {"id": person, "username": "ann"}})
        with_answer = await happened(lambda: len(self.bot.taken) > before, 0.5)
        return str(self.bot.taken[-1]["text"]) if with_answer else ""


@asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[Desk]:
    bot = BotApi()
    await bot.start()
    sink = Telegram(TelegramOptions(bot.chat, bot.url, people=(OWNER,)), {"telegram_token": TOKEN})
    async with standing_at_the_end(folder) as world:
        opened = Desk(world, bot, sink)
        following = asyncio.create_task(opened.chat.run())
        await asyncio.sleep(0.1)
        yield opened
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
            at.chat = TelegramChat(at.world.service, at.sink, tmp_path)
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
        for text in ("/resume", "/approve 1", "/order buy 1 SPY"):
            assert "on the page and in the shell" in await at.write(text)
        assert at.switch == RUN
        assert "Done by telegram 11 ann: reduce." in await at.write("/reduce@mine_bot")
        assert at.switch == REDUCE
        assert "Nothing changed: the switch was at REDUCE already." in await at.write("/reduce")
        assert "Done by telegram 11 ann: halt." in await at.write("/halt now")
        assert at.switch == HALT
        said = await at.write("/reduce")
        assert "Nothing changed: the switch was at HALT already, which is stricter." in said
        assert "Done" not in said


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
