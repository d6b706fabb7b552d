"""`quantd` without a command, in a folder without a configuration: five questions, a backtest, and a run on paper.

A person answers on a page of this machine or at the terminal. Both are forms over `quantd init`, which writes, checks
and backtests the configuration in a process of its own. Its files move into the present folder at the start of the run.

What can go wrong: another program or page of this machine answers in place of the person. So the page has a one-time
link, a cookie, and answers only requests of its own origin.
"""

import asyncio
import contextlib
import hmac
import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
import tempfile
import webbrowser
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from quantd.daemon.app import BeginAnew, Options, serve
from quantd.daemon.cli.command import CONFIG_FILE, USUAL_CASH
from quantd.daemon.cli.configuration import read
from quantd.daemon.cli.failures import Failure, explained, typed
from quantd.daemon.cli.output import closing, say
from quantd.daemon.cli.trade.run import carrying
from quantd.daemon.monitoring.metrics import configure
from quantd.regular_file import move, remove_folder
from quantd.server.api.access.guard import HEADERS
from quantd.server.api.access.sessions import Sessions
from quantd.server.api.route_records import BODY_BYTES, file_of
from quantd.server.api.routes.dashboard_routes import FILES, FOLDER, FOLDERS
from quantd.trading.exit_codes import CHECK_FAILED, DONE

MOST_LINES: Final = 400
"""Most lines of output that the page shows; the newest ones."""

HANDED_S: Final = 5.0
"""Seconds for which the page of the answers stays after the run has begun, so that the browser gets the new address."""

SHOWN_S: Final = 0.5
"""Seconds for which the page stays after a start that failed, so that it shows why."""

FIELDS: Final = {"weights": "holds", "symbols": "holds", "cash": "cash", "ntfy": "topic", "venue": "venue"}
"""Option of `quantd init` -> the answer that it takes; a limit has its own name, and the bars are the rest."""

Text = Annotated[str, Meta(max_length=2_000)]
Line = Annotated[str, Meta(max_length=200, pattern=r"^[^\r\n]*$")]


class Answers(Struct, frozen=True, forbid_unknown_fields=True):
    """What a person answers, as typed; an empty answer takes the usual value. Limits are in per cent.

    `holds` are weights or symbols, `data` is a file or a folder of bars. `key` and `secret` are of the venue.
    """

    holds: Text = ""
    data: Text = ""
    cash: Text = ""
    max_drawdown: Line = ""
    max_daily_loss: Line = ""
    max_position_weight: Line = ""
    topic: Line = ""
    venue: Literal["", "alpaca"] = ""
    key: Line = ""
    secret: Line = ""

    def words(self) -> list[str]:
        """The options of `quantd init` for these answers. An option and its value are one word, also with a dash."""
        limits = {name: getattr(self, name) for name in ("max_drawdown", "max_daily_loss", "max_position_weight")}
        options = {
            "weights" if "=" in self.holds else "symbols": self.holds,
            "data": self.data,
            "cash": "" if self.cash == USUAL_CASH else self.cash,
            "limits": ",".join(f"{name}={text}" for name, text in limits.items() if text),
            "ntfy": self.topic,
            "venue": self.venue,
        }
        return [f"--{name}={text}" for name, text in options.items() if text]


class Progress(Struct):
    """What the page shows: the answers without secrets, the output and the file of `quantd init`, and a refusal.

    `field` names the answer at fault. `topic` is a name for a topic that nobody guesses.
    """

    phase: Literal["asked", "tried", "passed"] = "asked"
    answers: Answers = Answers()
    command: str = ""
    lines: deque[str] = msgspec.field(default_factory=lambda: deque(maxlen=MOST_LINES))
    toml: str = ""
    fault: str = ""
    field: str = ""
    topic: str = msgspec.field(default_factory=lambda: f"quantd-{secrets.token_hex(8)}")


class Trial:
    """The files that `quantd init` writes for the answers, in a hidden folder until the run starts."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=".quantd-first-", dir="."))
        self.progress = Progress()

    def command(self, answers: Answers) -> list[str]:
        """The command line that tries the answers, in an empty folder."""
        remove_folder(self.folder, ignore_errors=True)
        if not answers.holds and not answers.data:
            raise Failure("--symbols names no symbol; write SPY=60,TLT=40, or name a file of bars")
        return [sys.executable, "-P", "-m", "quantd.daemon.cli", "init", str(self.folder), *answers.words()]

    async def run(self, answers: Answers) -> None:
        """Try the answers; `progress` has the output, then the file or the refusal."""
        shown = msgspec.structs.replace(answers, key="", secret="")
        progress = self.progress = Progress(
            "tried", shown, shlex.join(["quantd", "init", *answers.words()]), topic=self.progress.topic
        )
        try:
            pipe = asyncio.subprocess.PIPE
            process = await asyncio.create_subprocess_exec(
                *self.command(answers), stdin=pipe, stdout=pipe, stderr=pipe, limit=2**20
            )
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdin.write(f"{answers.key}\n{answers.secret}\n".encode())
            process.stdin.close()
            faults = asyncio.ensure_future(process.stderr.read())
            try:
                async for line in process.stdout:
                    progress.lines.append(self._plain(line.decode(errors="replace").rstrip()))
                fault = self._plain((await faults).decode(errors="replace")).strip()
                code = await process.wait()
            finally:
                if process.returncode is None:
                    process.terminate()
        except Failure as error:
            code, fault = CHECK_FAILED, str(error)
        if code == DONE:
            progress.phase, progress.toml = "passed", (self.folder / CONFIG_FILE).read_text(encoding="utf-8")
            return
        progress.phase, progress.field = "asked", field_of(fault, answers)
        reason = fault.partition("\nNext")[0]  # what follows is for a shell
        progress.fault = re.sub(r"--(?=\w)", "", reason) or "the backtest ended with the lines below; change an answer"

    def settle(self) -> None:
        """Move the files into the present folder. Raises Failure, and moves none, where one of them exists."""
        files = sorted(self.folder.iterdir())
        if taken := [file.name for file in files if Path(file.name).exists()]:
            raise Failure(f"{taken[0]} exists in this folder: move it away, or start `quantd` in another folder")
        for file in files:
            move(file, Path(file.name))

    def _plain(self, text: str) -> str:
        return text.replace(f"{self.folder}/", "")


def field_of(fault: str, answers: Answers) -> str:
    """The answer that a refusal of `quantd init` is about."""
    option = re.match(r"--(\w+)", fault)
    if option is None:  # of the venue, or of the bars: their file, or a vendor that does not have them
        return "venue" if answers.venue and "Alpaca" in fault else "data" if answers.data else "holds"
    if option[1] == "limits":
        return next((name for name in ("max_drawdown", "max_daily_loss") if name in fault), "max_position_weight")
    return FIELDS.get(option[1], "data")


class Site:
    """The page of the answers, on a free port of the loopback address."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._sessions, self._secret = Sessions(None), secrets.token_urlsafe(32)
        self._host = ""
        self._trying: asyncio.Task[None] | None = None
        self._runner: web.AppRunner | None = None
        self._leaving: asyncio.TimerHandle | None = None
        self.starts = asyncio.Event()
        """Whether the person has asked for the start of the run."""
        self.begun: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """The one-time link of the run's own page; its exception is the reason why no run began."""

    async def open(self) -> str:
        """Serve the page, and return its one-time link."""
        app = web.Application(middlewares=[self._guarded], client_max_size=BODY_BYTES)
        app.router.add_get("/", file_of(FOLDER / "panels" / "first_hour.html", "text/html"))
        for folder, names in FOLDERS.items():
            for name, kind in names.items():
                app.router.add_get(f"{FILES}/{name}", file_of(folder / name, kind))
        app.router.add_post("/first/enter", self._enter)
        app.router.add_get("/first/progress", self._progress)
        app.router.add_post("/first/try", self._try)
        app.router.add_post("/first/start", self._start)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._host = f"127.0.0.1:{self._runner.addresses[0][1]}"
        return f"http://{self._host}/#{self._sessions.link()}"

    async def close(self) -> None:
        if self._trying is not None:
            self._trying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._trying
        if self._runner is not None:
            await self._runner.cleanup()

    def hand_over(self, link: Callable[[], str]) -> None:
        """Send the browser to the page of the run that has begun, and end this one a little later."""
        loop, address = asyncio.get_running_loop(), link()
        self.begun.set_result(address)
        say(f"running on paper: {address.partition('#')[0]}", "Ctrl-C stops it; `quantd run` continues it")
        sys.stdout.flush()
        self._leaving = loop.call_later(HANDED_S, lambda: loop.create_task(self.close()))

    @web.middleware
    async def _guarded(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Refuses requests of other hosts and origins, and answers of browsers that did not follow the link."""
        cookie = request.cookies.get(self._cookie, "").encode("utf-8", "replace")
        if request.host != self._host or (
            request.method == "POST" and request.headers.get("Origin") != f"http://{self._host}"
        ):
            response: web.StreamResponse = _refused(403, f"this page is http://{self._host} alone")
        elif (
            request.path.startswith("/first/")
            and request.path != "/first/enter"
            and not hmac.compare_digest(cookie, self._secret.encode())
        ):
            response = _refused(401, "open the link that the terminal shows")
        else:
            try:
                response = await handler(request)
            except web.HTTPException as answer:
                response = answer
            except msgspec.DecodeError as why:
                response = _refused(422, str(why))
        response.headers.merge(HEADERS)
        return response

    @property
    def _cookie(self) -> str:
        return f"quantd_first_{self._host.rpartition(':')[2]}"

    async def _enter(self, request: web.Request) -> web.Response:
        code = msgspec.json.decode(await request.read(), type=dict[str, Line]).get("code", "")
        if not self._sessions.redeem(code):
            text = "this link was used, or is older than 15 minutes: press Ctrl-C in the terminal and start `quantd`"
            return _refused(401, text)
        response = _json({})
        response.set_cookie(self._cookie, self._secret, httponly=True, samesite="Strict")
        return response

    async def _progress(self, request: web.Request) -> web.Response:
        return _json(self._trial.progress)

    async def _try(self, request: web.Request) -> web.Response:
        answers = msgspec.json.decode(await request.read(), type=Answers)
        if self._trial.progress.phase == "tried" or self.starts.is_set():
            return _refused(409, "the answers before these are at work; wait for their result")
        self._trying = asyncio.create_task(self._trial.run(answers))
        await asyncio.sleep(0)  # the trial has begun
        return _json(self._trial.progress)

    async def _start(self, request: web.Request) -> web.Response:
        if self._trial.progress.phase != "passed":
            return _refused(409, "nothing was backtested yet: answer the questions first")
        self.starts.set()
        try:
            return _json({"link": await asyncio.shield(self.begun)})
        except Exception as error:  # whatever ends a start ends `quantd` too, with the same words in the terminal
            return _refused(500, explained(error)[0])


def _json(answer: object) -> web.Response:
    body = msgspec.json.encode(answer, enc_hook=list)
    return web.Response(body=body, content_type="application/json")


def _refused(status: int, text: str) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode({"detail": text}), content_type="application/json")


QUESTIONS: Final = (
    ("holds", "Symbols and weights in per cent, such as SPY=60,TLT=40; symbols alone are held in equal parts"),
    ("data", "A file or folder of their bars; Enter fetches them from Yahoo"),
    ("cash", f"Capital; Enter for {USUAL_CASH}"),
    ("max_drawdown", "All trading stops after a fall from the highest value of how many per cent? Enter: by the bars"),
    ("max_daily_loss", "It stops after a loss in one day of how many per cent? Enter: by the bars"),
    ("max_position_weight", "One symbol may be at most how many per cent of the account? Enter: by the weights"),
    ("topic", "Alerts to a phone: a topic of the app ntfy; Enter for none"),
    ("venue", "Venue: alpaca for its paper account; Enter simulates orders on this machine"),
)
"""The questions at the terminal, by answer."""


def at_terminal(trial: Trial) -> bool:
    """Ask at the terminal until the answers pass; returns whether the run is to start.

    After a refusal each answer is offered again, so that only the one at fault must be typed anew.
    """
    answers: dict[str, str] = {}
    while True:
        for name, question in QUESTIONS:
            before = answers.get(name, "")
            offer = f"\nEnter keeps {before}, - leaves it out" if before else ""
            text = typed(f"{question}{offer}\n> ").strip()
            answers[name] = "" if text == "-" else text or before
        try:
            command = trial.command(msgspec.convert(answers, Answers))
        except (Failure, msgspec.ValidationError) as error:
            say(str(error), "")
            continue
        if subprocess.run(command, check=False).returncode == DONE:
            return typed("Start it on paper now? [Y/n] ").strip().lower() in ("", "y", "yes")


async def on_page(trial: Trial) -> bool:
    """Serve the page until the run that it starts has ended; returns False where the terminal is to ask instead."""
    site, loop = Site(trial), asyncio.get_running_loop()
    link = await site.open()
    say("quantd: no config.toml here. Five questions lead to a run on paper.")
    say(f"  page      {link}    (opens once, within 15 minutes)", "  terminal  press Enter to answer here")
    say("  Ctrl-C ends it, and nothing is left behind. `quantd --help` lists the commands.")
    sys.stdout.flush()
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform == "darwin":
        webbrowser.open(link)
    here = asyncio.Event()

    def pressed() -> None:
        sys.stdin.readline()
        here.set()

    loop.add_reader(sys.stdin.fileno(), pressed)
    waits = [asyncio.ensure_future(event.wait()) for event in (here, site.starts)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_reader(sys.stdin.fileno())
        for wait in waits:
            wait.cancel()
    if here.is_set():
        await site.close()
        return False
    try:
        await traded(trial, site.hand_over)
    except BaseException as error:
        if not site.begun.done():
            site.begun.set_exception(error if isinstance(error, Exception) else Failure("stopped"))
            await asyncio.sleep(SHOWN_S)
        raise
    return True


async def traded(trial: Trial, began: Callable[[Callable[[], str]], None] | None = None) -> None:
    """Move the files into the present folder, and run the daemon there until it is stopped.

    `began` takes the maker of one-time links; a further link would void its own, so that the summary has none.
    """
    trial.settle()
    settings = read(CONFIG_FILE, [])
    configure(settings.log.level.upper(), settings.log.format, instance=settings.quantd.name)  # type: ignore[arg-type]
    options = Options(config=CONFIG_FILE, environ=dict(os.environ))
    if began is not None:
        options = replace(options, quiet=True, began=began)
    say(closing(await serve(settings, options)))


def begin() -> int:
    """Ask, write, check, backtest and run. Returns the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until the daemon sets its own: the folder is removed
    trial = Trial()
    try:
        if not asyncio.run(on_page(trial)) and at_terminal(trial):
            asyncio.run(traded(trial))
    except BeginAnew:  # as in `quantd run`, which this process is from now on
        os.execv(sys.executable, [sys.executable, *carrying([*sys.orig_argv[1:], "run"])])
    finally:
        remove_folder(trial.folder, ignore_errors=True)
    return DONE
