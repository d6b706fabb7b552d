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
from quantd.daemon.cli.places import Place, place
from quantd.daemon.config import Config
from quantd.daemon.runtime.schedule import moved_from, next_instants, zone_of
from quantd.trading.exit_codes import CHECK_FAILED, USAGE

AHEAD: Final = timedelta(days=400)
"""Range of the sessions. A schedule has an instant within it or is not shown."""


def schedule_next(
    n: Annotated[int, typer.Argument(min=1, max=10_000, help="Number of instants.")] = 10,
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    sets: Sets = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="TIME|now", help="Start: a date or an instant.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the coming instants in exchange time and UTC. A replayed run has its own clock, unless --after is given."""
    found = read(config, sets)
    tables = [k for k, s in enumerate(found.schedules) if s.enabled]
    if not tables:
        raise Failure(f"{config}: there are no [[schedules]]; agents without one decide at every sample", CHECK_FAILED)
    schedules = [schedule_of(found, k) for k in tables]
    where = place(config, state, sets)
    ts, clock = _after(found, where, after)
    begin = datetime.fromtimestamp(ts / 1e9, UTC).date()
    # a command that reads creates no folder
    cache = where.folder / "cache" if where.folder.is_dir() else None
    sessions = sessions_of(found, begin - timedelta(days=10), begin + AHEAD, cache)
    rows: list[dict[str, Any]] = []
    for at, number in next_instants(schedules, sessions, ts, n):
        schedule = schedules[number]
        zone = zone_of(schedule, sessions)
        closed = moved_from(schedule, sessions, at)
        local = datetime.fromtimestamp(at / 1e9, zone).isoformat(timespec="seconds")
        rows.append({
            "ts": at, "time": iso(at), "local": local, "zone": zone.key, "schedule": schedule.name, "do": schedule.do,
            "agents": list(schedule.agents), "moved_from": None if closed is None else closed.isoformat(),
        })  # fmt: skip
    if as_json:
        print_json({"after": iso(ts), "clock": clock, "instants": rows})
        return
    say(f"after {iso(ts)} ({clock})")
    table(
        ("exchange time", "zone", "UTC", "schedule", "does", "agents"),
        [
            (
                datetime.fromisoformat(r["local"]).strftime("%a %Y-%m-%d %H:%M:%S %z"), r["zone"], r["time"],
                r["schedule"], r["do"],
                (", ".join(r["agents"]) or "all")
                + (f" (moved from {r['moved_from']}, closed)" if r["moved_from"] else ""),
            )
            for r in rows
        ],
    )  # fmt: skip


def _after(config: Config, where: Place, given: str | None) -> tuple[int, str]:
    """(the start in ns, the name of its clock)."""
    if given is not None and given != "now":
        try:
            moment = datetime.fromisoformat(given)
        except ValueError:
            raise Failure(f"--after {given}: write 2024-03-08, 2024-03-08T20:00:00Z or now", USAGE) from None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return int(moment.timestamp()) * 10**9, "as given"
    if given is None and config.feed.kind == "replay":
        try:
            point = next(iter(where.reader().equity(last=1)), None)
        except Failure:
            point = None
        if point is not None:
            return point.ts, "the replayed clock of the run; --after now for the wall clock"
    return time.time_ns(), "the wall clock"


COMMAND: Final = Command("Look", 120, {"next": schedule_next})
