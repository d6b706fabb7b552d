"""The program `quantd`: finds the commands, and runs the one that the command line names.

A command's module is in the package that the command calls: each module in a folder `cli` of a package that declares
`COMMAND` is a command. Other packages have theirs in the entry points of the group `quantd.commands`. The list of
commands is read from their source: a module is imported only when its command runs or shows its own help. A package
that may import this one is named here as text, and not imported.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final, get_args

import typer

from quantd.daemon.cli.command import Command, Panel
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.gone_commands import GONE
from quantd.daemon.cli.streams import reads_only
from quantd.trading.exit_codes import CONFIG, USAGE

TOP: Final = Path(__file__).parents[2]
"""The folder of the package quantd; in a checkout it has a link for each top-level package."""

BUILDINGS: Final = ("daemon", "server", "training", "research")
"""Top-level packages with commands, which are in the folders of their `cli`."""

GROUP: Final = "quantd.commands"
"""Entry-point group of commands in other packages: name of a command -> its module."""

RECORD: Final = re.compile(
    r'\A"""(.+?)"""\n.*^COMMAND: Final = Command\(\s*"(.+?)",\s*(\d+),', re.DOTALL | re.MULTILINE
)
"""Matches (docstring, panel, order) in the source of a command, and nothing in a helper module beside the commands."""

READING: Final = frozenset({"Trade", "Look"})
"""Panels of commands that only print."""

ACTING: Final = frozenset({"run", "demo", "serve"})
"""Commands of the panels in READING that do more than print."""

FIRST: Final = {
    "Trade": ("demo", "init", "run", "backtest"),
    "Look": ("status", "why", "report", "doctor"),
    "Operate": ("halt", "reduce", "resume", "flatten"),
}
"""The commands of `quantd --help`, by panel; `quantd --help --all` lists all commands."""

COMMAND: Final = re.compile("[a-z]+(-[a-z]+)*")
"""The name of a command."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A command in the list of commands."""

    module: str
    panel: str
    order: int
    help: str


def commands(name: str = "") -> dict[str, Entry]:
    """Return the commands by name, in the order of the panels: all of them, or only the one called `name`."""
    entries: dict[str, Entry] = {}
    for building in BUILDINGS:
        for file in (TOP / building / "cli").glob(f"*/{name.replace('-', '_') or '*'}.py"):
            module = f"quantd.{building}.cli.{file.parent.name}.{file.stem}"
            if entry := entry_of(file, module):
                entries[file.stem.replace("_", "-")] = entry
    if not name or not entries:  # a command of quantd itself needs no search among the installed packages
        entries = {**other_packages(name), **entries}
    panels = get_args(Panel)
    return dict(sorted(entries.items(), key=lambda item: (panels.index(item[1].panel), item[1].order, item[0])))


def other_packages(name: str = "") -> dict[str, Entry]:
    """Return the commands of other packages by name: all of them, or only the one called `name`.

    A command that cannot be read is omitted from the list; if it was asked for by name, Failure is raised.
    """
    from quantd.entry_points import entry_points

    entries = {}
    for point in entry_points(GROUP):
        if name not in ("", point.name):
            continue
        try:
            spec = find_spec(point.value)
            entry = entry_of(Path(spec.origin), point.value) if spec is not None and spec.origin else None
            fault = "" if entry is not None else "declares no COMMAND"
        except Exception as why:  # the import of another package may raise any error
            entry, fault = None, f"{type(why).__name__}: {why}"
        if entry is not None:
            entries[point.name] = entry
        elif name:
            raise Failure(f"{point.value} ({GROUP}): {fault}; repair that package, or uninstall it", CONFIG)
    return entries


def entry_of(file: Path, module: str) -> Entry | None:
    """Return the command that a module declares; None for a module that declares no command."""
    record = RECORD.match(file.read_text(encoding="utf-8"))
    return Entry(module, record[2], int(record[3]), record[1]) if record else None


def run(arguments: list[str]) -> None:
    """Run one command line. Raises SystemExit with its exit code."""
    first = arguments[0] if arguments else ""
    for words in (first, " ".join(arguments[:2])):
        if words in GONE:
            raise Failure(f"quantd has no command `{words}`: `quantd {GONE[words]}` does its work", USAGE)
    # only the module of the named command is read, which is faster
    entries = commands(first) if COMMAND.fullmatch(first) else {}
    if entries:
        # a command that only prints ends as soon as the reader of its output has gone
        if entries[first].panel in READING and first not in ACTING:
            reads_only()
        app = program(entries)
    else:
        entries = {} if arguments == ["--version"] else commands()
        if first in ("", "--help") and "--all" not in arguments:
            entries = {name: replace(entries[name], panel=panel) for panel in FIRST for name in FIRST[panel]}
        # an unknown command fails, and --help lists: neither needs the modules of the commands
        app = program(entries, listed=first in ("", "--help", "--all") or not first.startswith("-"))
    app(arguments, prog_name="quantd")


def program(entries: Mapping[str, Entry], *, listed: bool = False) -> typer.Typer:
    """Return the typer program with these commands. With `listed` the commands are not imported, and the program can
    only print their help."""
    app = typer.Typer(
        name="quantd",
        help="Event-driven trading daemon. `quantd run` trades on paper; `quantd COMMAND --help` explains a command, "
        "and `quantd --help --all` lists all commands.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        result_callback=_exit_with,
    )
    app.callback()(_options)
    for name, entry in entries.items():
        if listed:
            app.command(name, help=entry.help, rich_help_panel=entry.panel)(lambda: None)  # never run
            continue
        command: Command = import_module(entry.module).COMMAND
        if callable(command.action):
            app.command(name, help=entry.help, rich_help_panel=entry.panel)(command.action)
            continue
        group = typer.Typer(help=entry.help, no_args_is_help=True)
        for subcommand, action in command.action.items():
            group.command(subcommand)(action)
        app.add_typer(group, name=name, rich_help_panel=entry.panel)
    return app


def _exit_with(code: int | None, **options: bool) -> None:
    """Make the returned code of an action the exit code; typer passes the options of the program."""
    raise typer.Exit(code or 0)


def _print_version(wanted: bool) -> None:
    if wanted:
        from quantd.daemon.runtime.version import code_version
        from quantd.engine_build.state import short

        typer.echo(f"quantd {code_version()}, engine {short()}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="With --help: list all commands.")] = False,
) -> None:
    pass
