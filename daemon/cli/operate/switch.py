"""Sends the commands of `quantd halt`, `reduce`, `resume` and `flatten`: for the house, an agent or a symbol."""

from collections.abc import Callable
from inspect import signature
from pathlib import Path

import typer

from quantd.adapters.bus.commands import Name
from quantd.daemon.cli.client import posted, reach
from quantd.daemon.cli.command import CONFIG_FILE, Agent, ConfigFile, Json, Jump, Mqtt, Reason, Sets, State, Symbol
from quantd.daemon.cli.output import answer
from quantd.daemon.cli.places import place


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
        from quantd.daemon.cli.operate import remote

        remote.command(config, mqtt, name, reason=reason, agent=agent, as_json=as_json)
        return
    where = place(config, state, sets)
    if symbol:
        from quantd.daemon.commands.manual import Stopped

        stopped = posted(
            where, "/api/v1/halts", {"do": name, "symbol": symbol, "reason": reason, "jump": jump}, Stopped
        )
        halted = f"{stopped.symbol} is halted: {stopped.why}; no new orders for it"
        answer(as_json, stopped, halted if stopped.halted else f"{stopped.symbol} trades again")
        return
    done = reach(where).post("/api/v1/commands", {"command": name, "reason": reason, "agent": agent})
    why = f" ({done['reason']})" if done["reason"] and done["switch"] != "RUN" else ""
    more = "; positions are being sold at the next prices" if done["flattening"] else ""
    lines = [f"{done['agent'] or 'house'}: switch {done['switch']}{why}{more}"]
    if done.get("unrecorded"):
        lines.append(f"in force now; recorded when the store accepts writes again ({done['unrecorded']})")
    answer(as_json, done, *lines)


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
    offered = [each for each in every.parameters.values() if each.name not in omitted]
    setattr(action, "__signature__", every.replace(parameters=offered))  # noqa: B010 - typer reads it
    return action
