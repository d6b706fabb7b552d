"""Every command of `quantd` with its options. What a command does is imported when it runs."""

from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="quantd",
    help="An event-driven trading daemon. `quantd run` trades on paper; `quantd COMMAND --help` explains a command.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Config = Annotated[
    Path, typer.Option("--config", "-c", envvar="QUANTD_CONFIG", help="The configuration.", show_default="config.toml")
]
State = Annotated[
    Path | None,
    typer.Option("--state", envvar="QUANTD_STATE", help="The state folder, in place of the configured one."),
]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key; may be given again.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Last = Annotated[int, typer.Option("--last", "-n", min=1, max=1_000_000, help="How many, the newest.")]
Run = Annotated[str | None, typer.Option("--run", help="A run by its name; the newest without it.")]

CONFIG = Path("config.toml")


def _date(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date; write 2019-01-02") from None


Day = Annotated[date | None, typer.Option(parser=_date, metavar="DATE")]


@app.command(rich_help_panel="Trade")
def run(
    config: Config = CONFIG,
    state: State = None,
    sets: Sets = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="End the run in the state folder and begin a new one.")
    ] = False,
    live: Annotated[bool, typer.Option("--live", help="One of the four things that live trading needs.")] = False,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No summary on the terminal.")] = False,
) -> None:
    """Start the daemon; start it again and it continues where it was. Ctrl-C stops it in order."""
    from daemon.cli import running

    running.run(config, state, tuple(sets or ()), fresh=fresh, live=live, as_json=as_json, quiet=quiet)


@app.command(rich_help_panel="Trade")
def backtest(
    config: Config = CONFIG,
    start: Annotated[date | None, typer.Option("--from", parser=_date, metavar="DATE", help="First day.")] = None,
    end: Annotated[date | None, typer.Option("--to", parser=_date, metavar="DATE", help="Last day.")] = None,
    state: State = None,
    sets: Sets = None,
    journal: Annotated[bool, typer.Option("--journal", help="Keep the journal, for `quantd replay`.")] = False,
    report: Annotated[Path | None, typer.Option("--report", metavar="OUT.html", help="Write a page about it.")] = None,
    as_json: Json = False,
) -> None:
    """Run the configuration over its recorded market, as fast as it goes. The digest is that of `run`."""
    from daemon.cli import backtesting

    backtesting.backtest(
        config, tuple(sets or ()), start=start, end=end, as_json=as_json, state=state, journal=journal, report=report
    )
