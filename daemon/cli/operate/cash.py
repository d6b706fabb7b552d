"""Deposit into or withdraw from a simulated account."""

from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from quantd.daemon.cli.client import reach
from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Json, Reason, Sets, State
from quantd.daemon.cli.output import print_json, say
from quantd.daemon.cli.places import place
from quantd.daemon.commands.manual import Paid

Amount = Annotated[str, typer.Argument(metavar="AMOUNT", help="1000.00")]
Book = Annotated[str, typer.Option("--agent", "-a", metavar="NAME", help="Whose book; the unallocated one without it.")]


def add(
    amount: Amount,
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    sets: Sets = None,
    reason: Reason = "",
    agent: Book = "",
    as_json: Json = False,
) -> None:
    """Pay in. No profit: the high-water mark moves with it."""
    _cash("add", amount, config, state, sets, reason, agent, as_json)


def remove(
    amount: Amount,
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    sets: Sets = None,
    reason: Reason = "",
    agent: Book = "",
    as_json: Json = False,
) -> None:
    """Take out, at most what no open order may need. No loss."""
    _cash("remove", amount, config, state, sets, reason, agent, as_json)


def _cash(
    do: str,
    amount: str,
    config: Path,
    state: Path | None,
    sets: Sets,
    reason: str,
    agent: str,
    as_json: bool,
) -> None:
    """Pay in or take out; returns once it is in the journal."""
    body = {"do": do, "amount": amount, "reason": reason, "agent": agent}
    done = msgspec.convert(reach(place(config, state, sets)).post("/api/v1/cash", body), Paid)
    if as_json:
        print_json(done)
        return
    verb = "withdrawal of" if done.amount.startswith("-") else "deposit of"
    whose = f"book {done.agent}" if done.agent else "the unallocated book"
    say(f"{verb} {done.amount.lstrip('-')}: {whose} has {done.cash} in cash, the house {done.equity} in all")


COMMAND: Final = Command("Operate", 70, {"add": add, "remove": remove})
