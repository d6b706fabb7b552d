"""Sends the commands of `quantd halt`, `reduce`, `resume` and `flatten`, for the house, an agent or a symbol.

The house is the whole account, with all agents.

If the API does not answer a halt of the house within a second, the command creates the file HALT in the state folder,
which also halts the house.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any, Final

import typer
from msgspec import Struct

from quantd.adapters.bus.commands import Name
from quantd.daemon.cli.command import DEFAULTS, Agent, Json, Jump, Mqtt, Reason, RunOptions, Symbol
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import answer
from quantd.daemon.cli.places import Place
from quantd.regular_file import create_empty
from quantd.server.cli.client import Unanswered, named, posted, reach
from quantd.trading.exit_codes import TRY_LATER

HALT_S: Final = 1.0
"""Seconds for an answer of the API to a halt."""


class HaltFile(Struct, frozen=True):
    """A halt by the file `file`; `why` is the reason why the API did not halt."""

    file: str
    why: str
    way: str = "file"


def switch(
    name: Name,
    chosen: RunOptions,
    *,
    reason: str,
    agent: str = "",
    symbol: str = "",
    jump: str = "",
    mqtt: str = "",
    as_json: bool,
) -> None:
    """Send a command to the daemon, or with `mqtt` (a URL) to a remote daemon over MQTT; return when it is journalled.

    The command applies to the whole account, to one agent, or to the orders of one symbol. `jump` is the
    cause of a price jump of this symbol: "real", or a split such as "2:1".
    """
    if jump and not symbol:
        raise typer.BadParameter("--jump was used without --symbol; add --symbol SYMBOL")
    if symbol and (agent or mqtt):
        raise typer.BadParameter("--symbol was used with --agent or --mqtt; leave --agent and --mqtt out")
    if mqtt:
        from quantd.server.cli.operate import remote

        remote.command(chosen.config, mqtt, name, reason=reason, agent=agent, as_json=as_json)
        return
    where = chosen.place(checked=name != "halt")  # a halt must work with a faulty configuration too
    if name == "halt" and not (agent or symbol):
        _answer_halt(_halt_house(where, reason), as_json)
        return
    with _hint_at_house_halt(name):
        if symbol:
            from quantd.server.requests.manual_answers import Stopped

            body = {"do": name, "symbol": symbol, "reason": reason, "jump": jump}
            stopped = posted(where, "/api/v1/halts", body, Stopped)
            halt_line = f"{stopped.symbol} is halted: {stopped.why}; no new orders for it"
            answer(as_json, stopped, halt_line if stopped.halted else f"{stopped.symbol} trades again")
            return
        body = {"command": name, "reason": reason, "agent": agent}
        daemon = reach(where)
        response = daemon.stop(name, body) if name in ("halt", "reduce") else daemon.post("/api/v1/commands", body)
    answer(as_json, response, *_switch_lines(response))


@contextmanager
def _hint_at_house_halt(name: Name) -> Iterator[None]:
    """When the API does not answer a halt of an agent or symbol, add a hint to the error.

    The hint: a halt of the whole account works without the API. The errors of other commands than "halt"
    are not changed.
    """
    try:
        yield
    except Unanswered as why:
        if name != "halt":
            raise
        text = "no file halts an agent or a symbol; `quantd halt` halts the whole house, also without the API"
        raise Unanswered(f"{why}\n{text}") from None


def _halt_house(where: Place, reason: str) -> dict[str, Any] | HaltFile:
    """Halt the whole account: return the answer of the API, or the file HALT that was made instead.

    Raises Failure if neither is possible.
    """
    response = _halt_by_api(where, reason)
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


def _halt_by_api(where: Place, reason: str) -> dict[str, Any] | Failure:
    """The answer of the API to a halt, or the failure, after HALT_S seconds at the latest.

    The request runs in a thread, because the time-out of a socket limits each of its waits but not their sum.
    """
    responses: list[dict[str, Any] | Failure] = []

    def ask() -> None:
        try:
            responses.append((named(where) or reach(where)).stop("halt", {"reason": reason}, HALT_S))
        except Failure as why:
            responses.append(why)
        except Exception as why:  # whatever went wrong, the file HALT must still be tried
            responses.append(Failure(f"{type(why).__name__}: {why}", TRY_LATER))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(HALT_S)
    return responses[0] if responses else Unanswered(f"the API did not answer within {HALT_S:g} s")


def _answer_halt(result: dict[str, Any] | HaltFile, as_json: bool) -> None:
    """Print how the house was halted."""
    if isinstance(result, HaltFile):
        lines = [
            f"halted by the file {result.file}, not by the API: {result.why}",
            "a running daemon halts at once, one that starts is halted; remove the file before `quantd resume`",
        ]
    else:
        lines = [*_switch_lines(result), "halted by the API"]
    answer(as_json, result, *lines)


def _switch_lines(response: dict[str, Any]) -> list[str]:
    """The state of the switch after a command, as lines."""
    why = f" ({response['reason']})" if response["reason"] and response["switch"] != "RUN" else ""
    sales = "; positions are being sold at the next prices" if response["flattening"] else ""
    lines = [f"{response['agent'] or 'house'}: switch {response['switch']}{why}{sales}"]
    if response.get("unrecorded"):
        lines.append(f"in force now; recorded when the store accepts writes again ({response['unrecorded']})")
    return lines


def action_of(name: Name, *omitted: str) -> Callable[..., None]:
    """The function of the CLI command `name`. The parameters `omitted` are no options of this command."""

    def action(
        chosen: RunOptions = DEFAULTS,
        reason: Reason = "",
        agent: Agent = "",
        symbol: Symbol = "",
        jump: Jump = "",
        mqtt: Mqtt = "",
        as_json: Json = False,
    ) -> None:
        switch(name, chosen, reason=reason, agent=agent, symbol=symbol, jump=jump, mqtt=mqtt, as_json=as_json)

    full_signature = signature(action)
    offered = [parameter for parameter in full_signature.parameters.values() if parameter.name not in omitted]
    setattr(action, "__signature__", full_signature.replace(parameters=offered))  # noqa: B010 - typer reads it
    return action
