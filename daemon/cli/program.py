"""The program `quantd`: finds the commands, and runs the one that the command line names.

Each module of the five folders that declares `COMMAND` is a command. A module is imported when its command runs or when
its help is shown, so its head imports nothing heavy.
"""

import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Annotated, Final, get_args

import typer

from quantd.daemon.cli.command import Command, Panel

HERE: Final = Path(__file__).parent
FOLDERS: Final = ("trade", "look", "operate", "setup", "learn")
RECORD: Final = re.compile(r"^COMMAND\b", re.MULTILINE)
"""The line of a command's record. A helper module beside the commands has none, and is not imported for a list."""


def commands() -> dict[str, str]:
    """Name of each command -> its module."""
    return {
        each.name.replace("_", "-"): f"quantd.daemon.cli.{folder}.{each.name}"
        for folder in FOLDERS
        for each in iter_modules([str(HERE / folder)])
        if not each.ispkg and RECORD.search((HERE / folder / f"{each.name}.py").read_text(encoding="utf-8"))
    }


def run(arguments: list[str]) -> None:
    """Run one command line. Leaves by SystemExit with the exit code."""
    found = commands()
    named = {arguments[0]: found[arguments[0]]} if arguments and arguments[0] in found else found
    records: dict[str, Command] = {name: import_module(module).COMMAND for name, module in named.items()}
    program = typer.Typer(
        name="quantd",
        help="An event-driven trading daemon. `quantd run` trades on paper; `quantd COMMAND --help` explains a command.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        result_callback=_leave,
    )
    program.callback()(_options)
    panels = get_args(Panel)
    for name in sorted(records, key=lambda each: (panels.index(records[each].panel), records[each].order, each)):
        record = records[name]
        # a group is added by name, as a command is
        if isinstance(record.action, typer.Typer):
            program.add_typer(record.action, name=name, rich_help_panel=record.panel)
        else:
            program.command(name, rich_help_panel=record.panel)(record.action)
    program(arguments, prog_name="quantd")


def _leave(code: int | None, version: bool) -> None:
    raise typer.Exit(code or 0)


def _version(wanted: bool) -> None:
    if wanted:
        from quantd.daemon.runtime.version import code_version

        typer.echo(f"quantd {code_version()}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass
