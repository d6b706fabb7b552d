"""List the positions of the house and of each agent's book."""

from typing import Final

from quantd.daemon.cli.client import running
from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Json, Sets, State
from quantd.daemon.cli.output import local, print_json, say, table
from quantd.daemon.cli.places import place


def positions(config: ConfigFile = CONFIG_FILE, state: State = None, sets: Sets = None, as_json: Json = False) -> None:
    daemon = running(place(config, state, sets))
    if daemon is not None:
        found = daemon.get("/api/v1/positions")
    else:
        from quantd.daemon.cli.stopped_run import positions_at_rest

        found = positions_at_rest(config, state, sets)
    if as_json:
        print_json(found)
        return
    say(f"run {found['run']} at {local(found['ts'])} New York" if found["ts"] else f"run {found['run']}")
    rows = [
        (
            p["symbol"], p["qty"], p["price"], p["value"], f"{p['weight']:.1%}", p["cost"],
            ", ".join(f"{name} {qty}" for name, qty in p["agents"].items()),
        )
        for p in found["positions"]
    ]  # fmt: skip
    columns = ("symbol", "qty", "price", "value", "weight", "cost", "books")
    table(columns, rows, columns[1:-1])
    for p in found["positions"]:
        if p.get("halted"):
            say(f"  {p['symbol']} is halted: {p['halted']}")


COMMAND: Final = Command("Look", 30, positions)
