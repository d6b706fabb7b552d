"""Show the coming instants of the schedules."""

import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer

from quantd.daemon.assembly.parts import schedule_of, sessions_of
from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, Json, Sets, State
from quantd.daemon.cli.configuration import read
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import iso, print_json, say, table
from quantd.daemon.cli.places import place
from quantd.daemon.runtime.schedule import moved_from, next_instants, zone_of
from quantd.trading.exit_codes import CHECK_FAILED, USAGE

AHEAD: Final = timedelta(days=400)
"""How far sessions are looked up: a schedule that has no instant within a year has none worth showing."""


def schedule_next(
    n: Annotated[int, typer.Argument(min=1, max=10_000, help="How many.")] = 10,
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    sets: Sets = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="TIME|now", help="From a date or an instant on.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The coming instants in exchange time and UTC. A replayed run has a clock of its own; --after chooses another."""
    found = read(config, sets)
    tables = [k for k, s in enumerate(found.schedules) if s.enabled]
    if not tables:
        raise Failure(f"{config}: there are no [[schedules]]; agents without one decide at every sample", CHECK_FAILED)
    schedules = [schedule_of(found, k) for k in tables]
    where = place(config, state, sets)
    ts, clock = _after(found, where, after)
    begin = datetime.fromtimestamp(ts / 1e9, UTC).date()
    # a command that only shows makes no folder
    cache = where.folder / "cache" if where.folder.is_dir() else None
    sessions = sessions_of(found, begin - timedelta(days=10), begin + AHEAD, cache)
    rows: list[dict[str, Any]] = []
    for at, number in next_instants(schedules, sessions, ts, n):
        schedule = schedules[number]
        zone = zone_of(schedule, sessions)
        moment = datetime.fromtimestamp(at / 1e9, zone)
        closed = moved_from(schedule, sessions, at)
        rows.append(
            {
                "ts": at,
                "time": iso(at),
                "local": moment.isoformat(timespec="seconds"),
                "zone": zone.key,
                "schedule": schedule.name,
                "do": schedule.do,
                "agents": list(schedule.agents),
                "moved_from": None if closed is None else closed.isoformat(),
            }
        )
    if as_json:
        print_json({"after": iso(ts), "clock": clock, "instants": rows})
        return
    say(f"after {iso(ts)} ({clock})")
    table(
        ("exchange time", "zone", "UTC", "schedule", "does", "agents"),
        [
            (
                datetime.fromisoformat(r["local"]).strftime("%a %Y-%m-%d %H:%M:%S %z"),
                r["zone"],
                r["time"],
                r["schedule"],
                r["do"],
                (", ".join(r["agents"]) or "all")
                + (f" (moved from {r['moved_from']}, closed)" if r["moved_from"] else ""),
            )
            for r in rows
        ],
    )


def _after(config: Any, where: Any, given: str | None) -> tuple[int, str]:
    """From when on, and whose clock that is."""
    if given is not None and given != "now":
        try:
            moment = datetime.fromisoformat(given)
        except ValueError:
            raise Failure(f"--after {given}: write 2024-03-08, 2024-03-08T20:00:00Z or now", USAGE) from None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return int(moment.timestamp()) * 10**9, "as asked"
    if given is None and config.feed.kind == "replay":
        try:
            point = next(iter(where.reader().equity(last=1)), None)
        except Failure:
            point = None
        if point is not None:
            return point.ts, "the replayed clock of the run; --after now for the wall clock"
    return time.time_ns(), "the wall clock"


COMMAND: Final = Command("Look", 120, {"next": schedule_next})
