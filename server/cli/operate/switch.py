"""Sends the commands of `quantd halt`, `reduce`, `resume` and `flatten`: for the house, an agent or a symbol.

Where the API has not answered a halt of the house within a second, the file HALT in the state folder halts it.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any, Final

import typer
from msgspec import Struct

from quantd.adapters.bus.commands import Name
from quantd.daemon.cli.command import CONFIG_FILE, Agent, ConfigFile, Json, Jump, Mqtt, Reason, Sets, State, Symbol
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import answer
from quantd.daemon.cli.places import Place, place
from quantd.regular_file import create_empty
from quantd.server.cli.client import Daemon, Unanswered, named, posted, reach
from quantd.trading.exit_codes import TRY_LATER

HALT_S: Final = 1.0
"""Seconds for an answer of the API."""

RETRY_S: Final = 0.05


class HaltFile(Struct, frozen=True):
    """A halt by the file `file`; `why` is the reason why the API did not do it."""

    file: str
    why: str
    way: str = "file"


def switch(
    name: Name,
    config: Path,
    state: Path | None,
    sets: Sets,
    *,
    reason: str,
    agent: str = "",
    symbol: str = "",
    jump: str = "",
    mqtt: str = "",
    as_json: bool,
) -> None:
    """Send a command to the daemon or over MQTT; with a symbol, of its orders. Returns when it is journalled."""
    if jump and not symbol:
        raise typer.BadParameter("--jump explains the jump of one symbol: add --symbol SYMBOL")
    if symbol and (agent or mqtt):
        raise typer.BadParameter("--symbol excludes --agent and --mqtt")
    if mqtt:
        from quantd.server.cli.operate import remote

        remote.command(config, mqtt, name, reason=reason, agent=agent, as_json=as_json)
        return
    where = place(config, state, sets, checked=name != "halt")
    if name == "halt" and not (agent or symbol):
        _answer_halt(_halt_house(where, reason), as_json)
        return
    with _naming_the_house(name):
        if symbol:
            from quantd.server.requests.manual_answers import Stopped

            asked = {"do": name, "symbol": symbol, "reason": reason, "jump": jump}
            stopped = posted(where, "/api/v1/halts", asked, Stopped)
            halted = f"{stopped.symbol} is halted: {stopped.why}; no new orders for it"
            answer(as_json, stopped, halted if stopped.halted else f"{stopped.symbol} trades again")
            return
        done = reach(where).post("/api/v1/commands", {"command": name, "reason": reason, "agent": agent})
    answer(as_json, done, *_lines(done))


@contextmanager
def _naming_the_house(name: Name) -> Iterator[None]:
    """Add the remedy of a halt of the house to an unanswered halt of an agent or a symbol, for which no file exists."""
    try:
        yield
    except Unanswered as why:
        if name != "halt":
            raise
        text = "no file halts an agent or a symbol; `quantd halt` halts the whole house, also without the API"
        raise Unanswered(f"{why}\n{text}") from None


def _halt_house(where: Place, reason: str) -> dict[str, Any] | HaltFile:
    """The answer of the API, or the file that was made instead. Raises Failure where neither is possible."""
    response = _by_api(where, reason)
    if not isinstance(response, Failure):
        return response | {"way": "api"}
    path = where.folder / "HALT"
    if not where.folder.is_dir():
        raise response
    try:
        create_empty(path)
    except OSError as why:
        daemon = named(where)
        pid = "PID of the daemon" if daemon is None else str(daemon.reached.pid)
        text = f"NOT halted: {response}\n{path} cannot be made: {(why.strerror or str(why)).lower()}"
        raise Failure(f"{text}\nHalt with the signal: kill -USR1 {pid}", TRY_LATER) from None
    return HaltFile(str(path), str(response))


def _by_api(where: Place, reason: str) -> dict[str, Any] | Failure:
    """The answer, or the failure to get one; a thread, because a time-out of a socket bounds each wait only."""
    until_s = time.monotonic() + HALT_S
    responses: list[dict[str, Any] | Failure] = []

    def ask() -> None:
        try:
            responses.append(_asked(named(where) or reach(where), reason, until_s))
        except Failure as why:
            responses.append(why)
        except Exception as why:  # whatever it is, the file remains
            responses.append(Failure(f"{type(why).__name__}: {why}", TRY_LATER))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(HALT_S)
    return responses[0] if responses else Unanswered(f"the API did not answer within {HALT_S:g} s")


def _asked(daemon: Daemon, reason: str, until_s: float) -> dict[str, Any]:
    """Send a halt, and repeat it while it has no answer, until `until_s` (monotonic): a second halt changes nothing.

    Raises Failure where the daemon refuses, or has not answered by then.
    """
    while True:
        left_s = until_s - time.monotonic()
        try:
            response: dict[str, Any] = daemon.post("/api/v1/commands", {"command": "halt", "reason": reason}, left_s)
            return response
        except Unanswered:
            if until_s - time.monotonic() <= RETRY_S:
                raise
        time.sleep(RETRY_S)


def _answer_halt(done: dict[str, Any] | HaltFile, as_json: bool) -> None:
    if isinstance(done, HaltFile):
        lines = [
            f"halted by the file {done.file}, not by the API: {done.why}",
            "a running daemon halts at once, one that starts is halted; remove the file before `quantd resume`",
        ]
    else:
        lines = [*_lines(done), "halted by the API"]
    answer(as_json, done, *lines)


def _lines(done: dict[str, Any]) -> list[str]:
    why = f" ({done['reason']})" if done["reason"] and done["switch"] != "RUN" else ""
    more = "; positions are being sold at the next prices" if done["flattening"] else ""
    lines = [f"{done['agent'] or 'house'}: switch {done['switch']}{why}{more}"]
    if done.get("unrecorded"):
        lines.append(f"in force now; recorded when the store accepts writes again ({done['unrecorded']})")
    return lines


def action_of(name: Name, *omitted: str) -> Callable[..., None]:
    """The action of a command, without the parameters `omitted`."""

    def action(
        config: ConfigFile = CONFIG_FILE,
        state: State = None,
        sets: Sets = None,
        reason: Reason = "",
        agent: Agent = "",
        symbol: Symbol = "",
        jump: Jump = "",
        mqtt: Mqtt = "",
        as_json: Json = False,
    ) -> None:
        switch(
            name, config, state, sets, reason=reason, agent=agent, symbol=symbol, jump=jump, mqtt=mqtt, as_json=as_json
        )

    every = signature(action)
    offered = [parameter for parameter in every.parameters.values() if parameter.name not in omitted]
    setattr(action, "__signature__", every.replace(parameters=offered))  # noqa: B010 - typer reads it
    return action
