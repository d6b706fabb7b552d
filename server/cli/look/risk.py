"""Show the switch, the headroom of each limit and the largest order per symbol that would pass."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlencode

import typer

from quantd.daemon.cli.command import DEFAULTS, Command, Json, Largest, RunOptions, Search
from quantd.daemon.cli.output import answer, further, records, say
from quantd.daemon.cli.places import Place
from quantd.server.cli.client import document_of
from quantd.trading.display_text import figure, instant_text, local

if TYPE_CHECKING:
    from quantd.daemon.views.headroom import RiskNow


@dataclass(frozen=True, slots=True)
class RiskQuery:
    """The query of `quantd risk`: an agent's book (None: the account), and the symbols whose headroom is computed.

    `largest` is the maximum number of symbols, and `search` a text that each symbol contains.
    """

    agent: str | None
    symbol: str | None
    largest: int
    search: str


def risk(
    chosen: RunOptions = DEFAULTS,
    agent: Annotated[str | None, typer.Option("--agent", "-a", metavar="NAME", help="An agent's book.")] = None,
    symbol: Annotated[str | None, typer.Option(help="Headroom of one symbol.")] = None,
    largest: Largest = 20,
    search: Search = "",
    as_json: Json = False,
) -> None:
    filters = {name: value for name, value in (("agent", agent), ("symbol", symbol)) if value is not None}
    path = f"/api/v1/risk?{urlencode({'limit': largest, 'search': search, **filters})}"
    where, asked = chosen.place(), RiskQuery(agent, symbol, largest, search)
    document = document_of(where, path, lambda: _risk_of_stopped_run(chosen, asked))
    answer(as_json, document, lambda: _print_risk(document))


def _risk_of_stopped_run(chosen: RunOptions, asked: RiskQuery) -> "RiskNow":
    """The limits of a run without a daemon, from its last state or, if the state cannot be rebuilt, from the store."""
    from quantd.adapters.calendars import CalendarError
    from quantd.adapters.feeds.feed_errors import FeedError
    from quantd.daemon.cli.stopped_run import at_rest
    from quantd.daemon.policies.loading import PolicyError
    from quantd.daemon.recovery.replay import ConfigLost
    from quantd.daemon.runtime.journal import RecordTooLong, ReplayDifference
    from quantd.daemon.views.headroom import Book, named, risk_now

    try:
        shell, run, _ = at_rest(chosen)
    except (FeedError, ConfigLost, PolicyError, RecordTooLong, ReplayDifference, CalendarError) as why:
        return _recorded_risk(chosen.place(), str(why))
    book_index, columns = named(shell.state, asked.agent, asked.symbol, asked.search)
    book = Book(shell.state, book_index)
    return risk_now(shell.state, book, run, shell.ts, list(book.rooms(columns[: asked.largest])), len(columns))


def _recorded_risk(where: Place, why: str) -> "RiskNow":
    """The limits of the whole account after the newest decision in the store; `why` is the reason why the
    state could not be rebuilt."""
    from quantd.daemon.views.headroom import BookSwitch, RiskNow
    from quantd.daemon.views.limit_rows import in_order
    from quantd.daemon.views.overview import limit_now

    reader = where.reader()
    newest = next(iter(reader.decisions(last=1)), None)
    last_sample = next(iter(reader.equity(last=1)), None)
    moves = {switch_move.who: switch_move for switch_move in reader.switches()}

    def switch(name: str) -> BookSwitch:
        last_move = moves.get(name)
        if last_move is None or last_move.after == "RUN":
            return BookSwitch("RUN", "", False)  # without a reason, and not suspended
        return BookSwitch(last_move.after, last_move.reason, last_move.reason == "suspended")

    house = switch("house")
    values, ts = (newest.plan.values, newest.plan.ts) if newest is not None else ({}, 0)
    return RiskNow(
        run=reader.run.run,
        ts=ts,
        time=instant_text(ts),
        book="house",
        switch=house.switch,
        reason=house.reason,
        limit_drawdown=last_sample.drawdown if last_sample is not None else 0.0,
        agents={name: switch(name) for name in reader.run.agents},
        limits=[limit_now(key, *values[key]) for key in in_order(values)],
        off=[],
        room=[],
        note=f"only the limits recorded after the newest decision are shown; the largest orders are unknown: {why}",
    )


def _print_risk(now: dict[str, Any]) -> None:
    """Print the limits. `now` is decoded JSON, since the import of its type would take most of this command's time."""
    at = f" at {local(now['ts'])} New York" if now["ts"] else ""
    title = "house" if now["book"] == "house" else f"agent {now['book']}, its own limits"
    say(f"{title}{at}: switch {now['switch']} {now['reason'] if now['switch'] != 'RUN' else ''}".rstrip())
    if now["book"] == "house":
        for name, agent in now["agents"].items():
            say(f"  {name:12} {'suspended' if agent['suspended'] else agent['switch']} {agent['reason']}".rstrip())
    records(
        now["limits"],
        {"limit": "words", "now": lambda row: "on" if row["unit"] == "none" else _in_unit(row, "value"),
         "bound": lambda row: _in_unit(row, "bound"), "headroom": lambda row: _in_unit(row, "headroom"),
         "in use": "use:.0%"},
        ("now", "bound", "headroom"),
    )  # fmt: skip
    if now["room"]:
        say("")
        say("largest single order of each symbol, and the limit that the next lot would break:")
        records(
            now["room"],
            {"symbol": "symbol", "price": "price:", "held": "held:",
             "weight": lambda room: figure(room["weight"], "share"), **_order_columns("buy", ""),
             **_order_columns("sell", " ")},
            ("weight", "buy", "worth", "sell", "worth "),
        )  # fmt: skip
        further(len(now["room"]), now["count"])
    if now["note"]:
        say(f"  {now['note']}")
    if now["off"]:
        say("")
        say("off, and how to switch them on:")
        say("\n".join(f"  {limit['words']:52} {limit['switch_on']}" for limit in now["off"]))


def _in_unit(row: dict[str, Any], name: str) -> str:
    """A number of a limit in the limit's unit; empty where the limit has none."""
    return "" if row["unit"] == "none" or row[name] is None else figure(row[name], row["unit"])


def _order_columns(side: str, end: str) -> dict[str, Callable[[dict[str, Any]], str]]:
    """The columns of the largest order of a side: quantity, value, and the limit that the next lot would break."""
    return {
        side: lambda room: room[side]["qty"] or "any",
        f"worth{end}": lambda room: "" if room[side]["value"] is None else f"{room[side]['value']:,.2f}",
        f"then{end}": lambda room: room[side]["text"] if room[side]["qty"] is None else room[side]["limit"],
    }


COMMAND: Final = Command("Look", 50, risk)
