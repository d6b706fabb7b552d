"""Start the daemon, or continue its run. Ctrl-C stops it in order."""

import os
import sys
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from quantd.daemon.cli.command import DEFAULTS, Command, Json, PolicyAlone, RunOptions
from quantd.daemon.cli.failures import Failure, explained
from quantd.daemon.cli.output import closing, print_json, say
from quantd.trading.exit_codes import CONFIG, USAGE

if TYPE_CHECKING:
    from quantd.daemon.config import Config


Loosen = Annotated[bool, typer.Option("--loosen", help="Accept limits that are looser than those in force in the run.")]


def run(
    policy: PolicyAlone = "",
    chosen: RunOptions = DEFAULTS,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="End the run in the state folder and begin a new one.")
    ] = False,
    carry: Annotated[
        bool, typer.Option("--carry", help="Continue the account with another universe or other agents.")
    ] = False,
    loosen: Loosen = False,
    adopt: Annotated[
        str, typer.Option("--adopt", metavar="AGENT", help="First start: give the venue's positions to this agent.")
    ] = "",
    live: Annotated[bool, typer.Option("--live", help="Permit live trading, with the other three conditions.")] = False,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no summary.")] = False,
) -> None:
    import asyncio

    import structlog

    from quantd.daemon.app import BeginAnew, Options, serve
    from quantd.daemon.cli.configuration import read
    from quantd.daemon.config.overrides import alone
    from quantd.daemon.live.permission import refusal
    from quantd.daemon.monitoring.metrics import configure

    if fresh and carry:
        raise Failure("--fresh begins with a new account, and --carry keeps the old one; leave one of them out", USAGE)
    sets = [*alone(policy, chosen.config), *(chosen.sets or ())]
    settings = read(chosen.config, sets)
    if refusal_text := refusal(settings, settings.state_folder(chosen.state), live) or _unadoptable(settings, adopt):
        raise Failure(refusal_text, CONFIG)
    try:
        configure(settings.log.level.upper(), settings.log.format, instance=settings.quantd.name)  # type: ignore[arg-type]
    except OSError as error:
        folder = os.environ.get("LOGS_DIR", "")
        raise Failure(f"LOGS_DIR = {folder}: {str(error.strerror).lower()}; name another folder", CONFIG) from None
    options = Options(
        config=chosen.config, state=chosen.state, sets=tuple(sets), fresh=fresh, carry=carry, live=live,
        loosen=loosen, adopt=adopt, quiet=quiet or as_json, environ=dict(os.environ),
    )  # fmt: skip
    _note(settings)
    in_json = settings.log.format == "json"
    try:
        summary = asyncio.run(serve(settings, options))
    except BeginAnew:  # a reload changed the universe, the agents or the calendar: a new process moves the account
        os.execv(sys.executable, [sys.executable, *carrying(sys.orig_argv[1:])])
    except Exception as error:
        if not in_json:
            raise
        text, code = explained(error)
        structlog.get_logger("quantd.run").critical("ended", error=text, code=code)
        raise SystemExit(code) from None
    if as_json:
        print_json(summary)
    elif in_json:
        structlog.get_logger("quantd.run").info("ended", **msgspec.to_builtins(summary))
    elif not quiet:
        say(closing(summary))


def carrying(words: list[str]) -> list[str]:
    """Return the words of a command line with --carry, and without the options of one start."""
    options = ("--fresh", "--carry", "--loosen", "--adopt")
    kept = [
        word
        for before, word in zip(["", *words], words, strict=False)
        if word not in options and before != "--adopt" and not word.startswith("--adopt=")
    ]
    return [*kept, "--carry"]


def _unadoptable(settings: "Config", adopt: str) -> str:
    """Return why no positions can be given to the agent `adopt`, with the remedy; empty where nothing is wrong."""
    if not adopt:
        return ""
    if settings.broker.kind == "paper":
        return "--adopt: a simulated account begins with [broker] cash and no position; there is nothing to adopt"
    names = [agent.name for agent in settings.agents]
    return "" if adopt in names else f"--adopt {adopt}: there is no such agent; the agents are {', '.join(names)}"


def _note(settings: "Config") -> None:
    """Log what an operator must know of an installation and of the agents before a run."""
    import structlog

    from quantd.daemon.assembly.small_shares import overridden_shares, small_shares
    from quantd.engine_build.state import reason

    log = structlog.get_logger("quantd.run")
    if why := reason():
        log.info("engine.uncompiled", why=why, see="docs/develop/build.md")
    for text in overridden_shares(settings):
        log.info("agents.shares", found=text)
    for text in small_shares(settings):
        log.warning("agents.small_shares", found=text)


COMMAND: Final = Command("Trade", 10, run)
