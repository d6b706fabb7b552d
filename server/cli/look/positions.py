"""List the positions of the house and of each agent's book."""

from typing import Any, Final
from urllib.parse import urlencode

from quantd.daemon.cli.command import DEFAULTS, Command, Json, Largest, RunOptions, Search
from quantd.daemon.cli.output import answer, further, records, say
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
    answer(as_json, document, lambda: _print_positions(document))


def _print_positions(document: dict[str, Any]) -> None:
    say(f"run {document['run']} at {local(document['ts'])} New York" if document["ts"] else f"run {document['run']}")
    records(
        document["positions"],
        {"symbol": "symbol", "qty": "qty:", "price": "price:", "value": "value:", "weight": "weight:.1%",
         "cost": "cost:", "unrealised": "unrealised:",
         "risk": lambda row: "-" if row["risk_share"] is None else f"{row['risk_share']:.1%}",
         "group": lambda row: row["group"] or "-",
         "books": lambda row: ", ".join(f"{name} {qty}" for name, qty in row["agents"].items())},
        ("risk", "group"),
    )  # fmt: skip
    further(len(document["positions"]), document["count"])
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
