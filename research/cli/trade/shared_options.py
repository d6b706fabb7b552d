"""Options that commands of backtests, walks, sweeps and studies share."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

Report = Annotated[
    Path | None, typer.Option("--report", metavar="OUT.html", help="Write a report: .html, .json, .md or .csv.")
]
OVER: Final[Any] = typer.Option(
    "--over", metavar="KEY=VALUES", help="A key with FIRST:LAST:STEP or a list; repeatable."
)
Workers = Annotated[int, typer.Option("--workers", "-j", min=1, max=10_000, help="Points at once.")]
On = Annotated[Literal["local", "ray"], typer.Option(help="Where points run.")]
Cuts = Annotated[int, typer.Option("--cuts", min=1, max=10_000, help="Number of earlier ends of the market.")]
RunName = Annotated[str | None, typer.Argument(metavar="RUN", help="Name of the run; the newest without it.")]
Resume = Annotated[bool, typer.Option("--resume", help="Leave out what the file has.")]
