"""Options that commands of backtests, walks, sweeps and studies share."""

import os
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

Report = Annotated[
    Path | None, typer.Option("--report", metavar="OUT.html", help="Write a report: .html, .json, .md or .csv.")
]
OVER: Final[Any] = typer.Option(
    "--over", metavar="KEY=VALUES", help="A key with FIRST:LAST:STEP or a list; repeatable."
)
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", "-j", min=1, max=10_000, help="Points at once.", show_default="the usable cores, at most 8"
    ),
]
MOST_WORKERS: Final = 8
"""Most workers where their number is not given: each needs about 200 MB."""

POINTS_EACH: Final = 10
"""Fewest points of a sweep for each worker where their number is not given: a worker needs a second to begin."""
On = Annotated[Literal["local", "ray"], typer.Option(help="Where points run.")]
Cuts = Annotated[int, typer.Option("--cuts", min=1, max=10_000, help="Number of earlier ends of the market.")]
RunName = Annotated[str | None, typer.Argument(metavar="RUN", help="Name of the run; the newest without it.")]
Resume = Annotated[bool, typer.Option("--resume", help="Leave out what the file has.")]


def workers_of(workers: int | None, on: str, most: int = MOST_WORKERS) -> int:
    """Return the number of workers: `workers` if it is given, else 1 in a cluster and here the usable cores, from 1 up
    to `most` and MOST_WORKERS."""
    if workers is not None or on != "local":
        return workers or 1
    # the cores that this process may use; only Linux has sched_getaffinity
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, most, MOST_WORKERS))


def workers_text(workers: int) -> str:
    return f"{workers} worker{'' if workers == 1 else 's'}"
