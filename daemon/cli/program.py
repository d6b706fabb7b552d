"""The program `quantd`: finds the commands, and runs the one that the command line names.

Each module of the five folders that declares `COMMAND` is a command. A module is imported when its command runs or when
its help is shown, so its head imports nothing heavy.
"""

import re
from collections.abc import Mapping
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
    first = arguments[0] if arguments else ""
    modules = {} if arguments == ["--version"] else commands()
    if first in modules:
        made = program({first: modules[first]})
    else:
        made = program(modules, listed=first in ("", "--help") or not first.startswith("-"))
    made(arguments, prog_name="quantd")


def program(modules: Mapping[str, str], *, listed: bool = False) -> typer.Typer:
    """The program with these commands, in the order of their panels. With `listed` a command has its name and help
    only: to build its options takes time."""
    made = typer.Typer(
        name="quantd",
        help="An event-driven trading daemon. `quantd run` trades "
        "on paper; `quantd COMMAND --help` explains a command.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        result_callback=_leave,
    )
    made.callback()(_options)
    records: dict[str, Command] = {name: import_module(module).COMMAND for name, module in modules.items()}
    panels = get_args(Panel)
    for name in sorted(records, key=lambda each: (panels.index(records[each].panel), records[each].order, each)):
        action, panel = records[name].action, records[name].panel
        if listed:
            text = action.info.help if isinstance(action, typer.Typer) else action.__doc__
            made.command(name, help=text, rich_help_panel=panel)(_nothing)
        elif isinstance(action, typer.Typer):
            made.add_typer(action, name=name, rich_help_panel=panel)
        else:
            made.command(name, rich_help_panel=panel)(action)
    return made


def _nothing() -> None:
    """Stands for an action where the list of commands is shown, or a name is not in it. It is never run."""


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
