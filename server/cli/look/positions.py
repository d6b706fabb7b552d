"""List the positions of the house and of each agent's book."""

from typing import Final
from urllib.parse import urlencode

from quantd.daemon.cli.command import DEFAULTS, Command, Json, Largest, RunOptions, Search
from quantd.daemon.cli.output import further, print_json, say, table
from quantd.server.cli.client import document_of
from quantd.trading.display_text import instant_text, local


def positions(
    chosen: RunOptions = DEFAULTS,
    largest: Largest = 100,
    search: Search = "",
    as_json: Json = False,
) -> None:
    where = chosen.place()
    path = f"/api/v1/positions?{urlencode({'limit': largest, 'search': search})}"
    document = document_of(where, path, lambda: _positions_of_stopped_run(chosen, largest, search))
    if as_json:
        print_json(document)
        return
    say(f"run {document['run']} at {local(document['ts'])} New York" if document["ts"] else f"run {document['run']}")
    rows = [
        (
            position["symbol"], position["qty"], position["price"], position["value"], f"{position['weight']:.1%}",
            position["cost"], position["unrealised"],
            "-" if position["risk_share"] is None else f"{position['risk_share']:.1%}", position["group"] or "-",
            ", ".join(f"{name} {qty}" for name, qty in position["agents"].items()),
        )
        for position in document["positions"]
    ]  # fmt: skip
    columns = ("symbol", "qty", "price", "value", "weight", "cost", "unrealised", "risk", "group", "books")
    table(columns, rows, columns[1:-1])
    further(len(rows), document["count"])
    for position in document["positions"]:
        if position.get("halted"):
            say(f"  {position['symbol']} is halted: {position['halted']}")
        if position.get("jumped"):
            say(f"  {position['symbol']} is held, and valued at the worse price: {position['jumped']}")


def _positions_of_stopped_run(chosen: RunOptions, most: int, search: str) -> dict[str, object]:
    """The positions of a run without a daemon, from its last state, which is rebuilt here."""
    from quantd.daemon.cli.stopped_run import at_rest
    from quantd.daemon.views import overview
    from quantd.daemon.views.risk_measures import assessed

    shell, run, _ = at_rest(chosen)
    shell.state.revalue()
    house_positions, count = overview.positions(shell.state, search=search, most=most)
    rows = overview.with_risk(house_positions, assessed(shell.state))
    return {"run": run, "ts": shell.ts, "time": instant_text(shell.ts), "positions": rows, "count": count}


COMMAND: Final = Command("Look", 30, positions)
