"""`quantd` without a command: from an empty folder to a run on paper that trades, on the page and at the terminal."""

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from playwright.async_api import Page, expect

from quantd.daemon.cli.failures import Failure
from quantd.research.cli.setup.first_hour import Answers, field_of
from quantd.research.cli.setup.own_symbols import portfolio
from tests.support.browser import chromium, opened, sideways, violations
from tests.support.command_line import environment, quantd
from tests.support.market_frames import price_files
from tests.support.sockets import free_port


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of bars for each of two symbols."""
    return price_files(tmp_path_factory.mktemp("prices"), ("SPY", "BAC"), 2019)


class Terminal:
    """A person's terminal, in which `quantd` runs."""

    def __init__(self, folder: Path) -> None:
        self._ours, theirs = pty.openpty()
        self._seen = 0
        self.port = free_port()
        env = environment() | {"QUANTD_API__PORT": str(self.port), "QUANTD_BUS__PORT": "0"}
        env |= {"QUANTD_FEED__PACE": "fast", "COLUMNS": "200"}
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "QUANTD_CONFIG"):
            env.pop(name, None)
        command = [sys.executable, "-P", "-m", "quantd.daemon.cli"]
        self.process = subprocess.Popen(command, cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self.text = ""
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self) -> None:
        """Read all that is shown: a full terminal would hold `quantd` up."""
        while True:
            try:
                self.text += os.read(self._ours, 65_536).decode(errors="replace").replace("\r", "")
            except OSError:  # the process has ended
                return

    def read(self, pattern: str, within_s: float = 120.0) -> re.Match[str]:
        """What the terminal shows that matches; newer than what the last call returned."""
        end = time.monotonic() + within_s
        while (match := re.compile(pattern).search(self.text, self._seen)) is None:
            assert time.monotonic() < end, self.text
            assert self.process.poll() is None, self.text
            time.sleep(0.05)
        self._seen = match.end()
        return match

    def type(self, line: str) -> None:
        os.write(self._ours, f"{line}\n".encode())

    def end(self) -> int:
        """Ctrl-C; returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@contextmanager
def begun(folder: Path) -> Iterator[Terminal]:
    terminal = Terminal(folder)
    try:
        yield terminal
    finally:
        if terminal.process.poll() is None:
            terminal.process.kill()
            terminal.process.wait()


def sent(link: str, path: str, body: dict[str, Any] | None = None, **headers: str) -> tuple[int, dict[str, Any], str]:
    """Status, answer and cookie of a request to the site of a link."""
    site = link.partition("/#")[0]
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{site}{path}", data, {"Origin": site, **headers})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read()), answer.headers.get("Set-Cookie", "").partition(";")[0]
    except HTTPError as error:
        return error.code, json.loads(error.read()), ""


async def clean(page: Page) -> None:
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert await violations(page) == []
        assert await sideways(page) == 0


@pytest.mark.long
async def test_a_person_gets_from_an_empty_folder_to_a_run_that_trades_in_two_clicks(
    tmp_path: Path, prices: Path
) -> None:
    clicks = 0
    with begun(tmp_path) as terminal:
        link = (await asyncio.to_thread(terminal.read, r"http://127\.0\.0\.1:\d+/#\S+")).group()
        async with chromium() as browser, opened(browser, link, width=390) as page:
            await page.get_by_label("Symbols and weights").fill("SPY=60,BAC=50")
            await page.get_by_label("File or folder").fill(str(prices))
            await page.get_by_label("Capital").fill("50000")
            await page.get_by_label("fall from the highest value").fill("60")
            await page.get_by_role("button", name="Write and backtest").click()
            await expect(page.locator("#holds-fault")).to_have_text(
                "weights add up to 110 per cent; write at most 100; what is left is cash", timeout=90_000
            )
            await expect(page.get_by_label("Symbols and weights")).to_be_focused()
            await clean(page)
            await page.get_by_label("Symbols and weights").fill("SPY=60,BAC=30")
            await page.get_by_role("button", name="Write and backtest").click()
            clicks += 1
            await expect(page.get_by_text("Written, checked and backtested.")).to_be_visible(timeout=180_000)
            await expect(page.get_by_role("region", name="config.toml")).to_contain_text("max_drawdown = 0.6")
            await expect(page.locator("code")).to_contain_text("quantd init --weights=SPY=60,BAC=30")
            await expect(page.get_by_role("region", name="Output")).to_contain_text("equal weight")
            assert not (tmp_path / "config.toml").exists()
            await clean(page)
            await page.reload()  # the cookie lasts
            await page.get_by_role("button", name="Start on paper").click()
            clicks += 1
            await page.wait_for_url(f"http://127.0.0.1:{terminal.port}/**", timeout=120_000)
            await expect(page.get_by_text("Sign out")).to_be_attached(timeout=60_000)
            await page.wait_for_function(
                "() => fetch('/api/v1/fills').then((a) => a.json()).then((a) => a.fills.length)"
            )
        assert await asyncio.to_thread(terminal.end) == 0
    document = tomllib.loads((tmp_path / "config.toml").read_text())
    assert (document["broker"]["cash"], document["risk"]["max_drawdown"]) == ("50000.00", 0.6)
    assert document["agents"][0]["params"] == {"weights": {"SPY": 0.6, "BAC": 0.3}}
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".quantd-first-")]
    assert clicks == 2


@pytest.mark.long
def test_the_terminal_asks_the_same_and_a_wrong_answer_is_asked_again(tmp_path: Path, prices: Path) -> None:
    with begun(tmp_path) as terminal:
        terminal.read("press Enter")
        terminal.type("")
        nothing, wrong = ["", "", "", "", "", "", "", ""], ["BAC", str(prices), "", "12", "much", "", "", ""]
        for answers, refusal in (
            (nothing, "--symbols names no symbol; write SPY=60,TLT=40"), (wrong, "max_daily_loss=much"),
            (["", "", "", "-", "7", "", "", ""], ""),
        ):  # fmt: skip
            for answer in answers:
                terminal.read("> ")
                terminal.type(answer)
            if refusal:
                terminal.read(refusal)
        terminal.read(r"max_daily_loss = 0.07, as you chose")
        terminal.read(r"Start it on paper now\? \[Y/n\] ")
        terminal.type("")
        terminal.read(f"127.0.0.1:{terminal.port}/")
        assert terminal.end() == 0
    risk = tomllib.loads((tmp_path / "config.toml").read_text())["risk"]
    assert risk["max_daily_loss"] == 0.07
    assert risk["max_drawdown"] != 0.12, "an answer that is taken back"


@pytest.mark.long
def test_nobody_answers_in_place_of_the_person_at_the_terminal(tmp_path: Path) -> None:
    with begun(tmp_path) as terminal:
        link = terminal.read(r"http://127\.0\.0\.1:\d+/#\S+").group()
        code = link.partition("#")[2]
        assert sent(link, "/first/progress")[0] == 401
        assert sent(link, "/first/enter", {"code": "guessed"})[0] == 401
        assert sent(link, "/first/enter", {"code": code}, Origin="http://127.0.0.1:1")[0] == 403
        status, _, cookie = sent(link, "/first/enter", {"code": code})
        assert (status, sent(link, "/first/enter", {"code": code})[0]) == (200, 401)  # once
        assert sent(link, "/first/progress", Cookie=cookie)[0] == 200
        assert sent(link, "/first/progress", Cookie=cookie, Host="evil.example")[0] == 403  # a name that leads here
        assert sent(link, "/first/try", {"holds": "SPY"}, Cookie=cookie, Origin="http://localhost:1")[0] == 403
        status, answer, _ = sent(link, "/first/start", {}, Cookie=cookie)
        assert (status, answer["detail"]) == (409, "nothing was backtested yet: answer the questions first")
        assert sent(link, "/first/try", {"plan": "x"}, Cookie=cookie)[0] == 422
        assert terminal.end() == 130
    assert os.listdir(tmp_path) == []


def test_a_program_that_calls_quantd_without_a_command_still_gets_the_help(tmp_path: Path) -> None:
    done = quantd(tmp_path)
    assert done.returncode == 2
    assert "quantd COMMAND" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("fault", "field"),
    [
        ("--weights 'A' is not SYMBOL=NUMBER", "holds"), ("--cash 'x' is not an amount", "cash"),
        ("--limits max_daily_loss=0: a limit is above 0", "max_daily_loss"), ("--ntfy 'a b': topic is", "topic"),
        ("no.csv: there is no such file", "data"), ("Alpaca refuses the keys (status 403)", "venue"),
    ],
)  # fmt: skip
def test_a_refusal_stands_beside_the_answer_at_fault(fault: str, field: str) -> None:
    assert field_of(fault, Answers(holds="A", data="no.csv", venue="alpaca")) == field


def test_the_answers_are_the_options_of_init() -> None:
    answers = Answers("SPY=60, BAC=30", "bars", "5e4", "20", "", "70", "mine", "alpaca", "K", "S")
    assert answers.words() == [
        "--weights=SPY=60, BAC=30", "--data=bars", "--cash=5e4", "--limits=max_drawdown=20,max_position_weight=70",
        "--ntfy=mine", "--venue=alpaca",
    ]  # fmt: skip
    assert Answers(holds="-x").words() == ["--symbols=-x"]  # no option of its own


@pytest.mark.parametrize(
    ("limits", "topic", "venue", "text"),
    [
        (["max_drawdwn=20"], "", "", "--limits max_drawdwn: there are max_position_weight, max_drawdown"),
        (["max_drawdown=0"], "", "", "--limits max_drawdown=0: a limit is above 0 and at most 100; limits are per"),
        (["max_drawdown"], "", "", "--limits 'max_drawdown' is not NAME=NUMBER"),
        ([], "a b", "", "--ntfy 'a b': topic is not the name of a topic"),
        ([], "", "ibkr", "--venue 'ibkr': there is alpaca"),
    ],
)
def test_a_wrong_limit_topic_or_venue_is_refused_with_its_value(
    limits: list[str], topic: str, venue: str, text: str
) -> None:
    with pytest.raises(Failure, match=re.escape(text)):
        portfolio(["A=40"], "month", "1000", limits, topic, venue)
