"""Every command with its options, from the program itself."""

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import click
import typer

from quantd.daemon.cli.program import commands, program
from scripts.site.reference.tables import cell, code, table

_HELP: Final = ("--help",)


@cache
def tree() -> dict[str, click.Command]:
    """Command line without options ("data fetch") -> its command, every command of the program."""
    root: Any = typer.main.get_command(program(commands()))
    return dict(_below(root, ""))


def _below(group: Any, above: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        path = f"{above} {name}".strip()
        if hasattr(command, "commands"):
            yield from _below(command, path)
        else:
            yield path, command


def page() -> str:
    """The page of commands."""
    entries = commands()
    parts = [
        "# Commands\n\nThis page lists every command of the program `quantd`, with its arguments and options. "
        "`quantd COMMAND --help` prints the same. The exit codes have [a page](exit-codes.md).\n"
    ]
    for path, command in tree().items():
        first = path.split(" ")[0]
        about = (command.help or entries[first].help).replace(r"\[", "[")
        parts.append(f"## quantd {path}\n\n{' '.join(about.split())}\n\n" + _options(command))
    return "\n".join(parts)


def _options(command: click.Command) -> str:
    rows = []
    for parameter in command.params:
        if parameter.name == "help":
            continue
        option = parameter.param_type_name == "option"
        name = ", ".join([*parameter.opts, *parameter.secondary_opts]) if option else str(parameter.name).upper()
        default = (
            "" if callable(parameter.default) or parameter.default in (None, False, ()) else str(parameter.default)
        )
        about = (getattr(parameter, "help", "") or "").replace(r"\[", "[")
        required = "required" if parameter.required else default
        rows.append([code(name), cell(about), code(required) if required != "required" else required])
    return table(["argument or option", "about", "default"], rows) if rows else "No options.\n"
