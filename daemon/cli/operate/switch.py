"""The switch of the house, of an agent or of a symbol: what `quantd halt`, `reduce`, `resume` and `flatten` send."""

from pathlib import Path

import msgspec
import typer

from quantd.adapters.bus.commands import Name
from quantd.daemon.cli.client import reach
from quantd.daemon.cli.command import Sets
from quantd.daemon.cli.output import print_json, say
from quantd.daemon.cli.places import Place, place


def switch(
    name: Name,
    config: Path,
    state: Path | None,
    sets: Sets,
    *,
    reason: str,
    agent: str = "",
    symbol: str = "",
    mqtt: str = "",
    as_json: bool,
) -> None:
    """Send halt, reduce, resume or flatten to the daemon, or over MQTT; of a symbol, stop or resume its orders."""
    if symbol and (agent or mqtt):
        raise typer.BadParameter("--symbol is of the whole house, at the daemon itself: without --agent and --mqtt")
    if symbol:
        _switch_symbol(place(config, state, sets), name, symbol, reason, as_json)
    elif mqtt:
        from quantd.daemon.cli.operate import remote

        remote.command(config, mqtt, name, reason=reason, agent=agent, as_json=as_json)
    else:
        _switch_here(place(config, state, sets), name, reason, agent, as_json)


def _switch_here(where: Place, name: str, reason: str, agent: str, as_json: bool) -> None:
    """Returns once the command is in the journal, or in force and not yet recorded."""
    daemon = reach(where)
    done = daemon.post("/api/v1/commands", {"command": name, "reason": reason, "agent": agent})
    if as_json:
        print_json(done)
        return
    who = done["agent"] or "house"
    why = f" ({done['reason']})" if done["reason"] and done["switch"] != "RUN" else ""
    more = "; positions are being sold at the next prices" if done["flattening"] else ""
    say(f"{who}: switch {done['switch']}{why}{more}")
    if done.get("unrecorded"):
        say(f"in force now; recorded once the store takes writes again ({done['unrecorded']})")


def _switch_symbol(where: Place, do: str, symbol: str, reason: str, as_json: bool) -> None:
    """No new orders for one symbol, or again; returns once it is in the journal."""
    from quantd.daemon.commands.manual import Stopped

    body = {"do": do, "symbol": symbol, "reason": reason}
    done = msgspec.convert(reach(where).post("/api/v1/halts", body), Stopped)
    if as_json:
        print_json(done)
        return
    say(f"{done.symbol} is halted: {done.why}; no new orders for it" if done.halted else f"{done.symbol} trades again")
