"""The program `quantd`: finds the commands, and runs the one that the command line names.

A command's module is in the package that the command calls: each module in a folder `cli` of a package that declares
`COMMAND` is a command, with the name of its file. Other packages have theirs in the entry points of the group
`quantd.commands`. A command line imports the module of its command only; a list imports the modules that it lists. A
package that may import this one is named here as text.
"""

import inspect
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from errno import ELOOP
from importlib import import_module
from itertools import pairwise
from math import isfinite
from pathlib import Path
from shutil import get_terminal_size
from stat import S_IFREG, S_ISDIR, S_ISREG
from textwrap import wrap
from typing import Annotated, Any, Final, get_args

import typer

from quantd.daemon.cli.command import CONFIG_FILE, Action, Command, Panel, beside, expanded
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.gone_commands import CONFIG_FIRST, GONE, OPTIONS
from quantd.daemon.cli.streams import reads_only
from quantd.records import REMEDY, entry_points, modules
from quantd.regular_file import kind_of
from quantd.trading.exit_codes import CONFIG, USAGE

TOP: Final = Path(__file__).parents[2]
"""The folder of the package quantd; in a checkout it has a link for each top-level package."""

PACKAGES: Final = tuple(
    f"quantd.{building}.cli.{home.parent.name}"
    for building in ("daemon", "server", "training", "research")
    for home in sorted((TOP / building / "cli").glob("*/__init__.py"))
)
"""Packages with commands, which are in the folders of the `cli` of top-level packages."""

GROUP: Final = "quantd.commands"
"""Entry-point group of commands in other packages: name of a command -> its module."""

READING: Final = frozenset({"Trade", "Look"})
"""Panels of commands that only print."""

ACTING: Final = frozenset({"run", "demo", "serve"})
"""Commands of the panels in READING that do more than print."""

FIRST: Final[Mapping[Panel, tuple[str, ...]]] = {
    "Trade": ("demo", "init", "run", "backtest"),
    "Look": ("status", "why", "report", "doctor"),
    "Operate": ("halt", "reduce", "resume", "flatten"),
}
"""The commands of `quantd --help`, by panel; `quantd --help --all` lists all commands."""

FIRST_HOUR: Final = "quantd.research.cli.setup.first_hour"
"""Module of `quantd` without a command where no configuration is."""

ABOUT: Final = (
    "Event-driven trading daemon. `quantd run` trades on paper; `quantd COMMAND --help` explains a command, "
    "and `quantd --help --all` lists all commands."
)

OWN_OPTIONS: Final = """Options:
  --version  Show the version.
  --help     Show this list; with --all: of all commands."""

COMMAND: Final = re.compile("[a-z]+(-[a-z]+)*")
"""The name of a command."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A command in the list of commands; `help` is the docstring of its module."""

    command: Command
    help: str

    def in_panel(self, panel: Panel) -> "Entry":
        return Entry(replace(self.command, panel=panel), self.help)


def table() -> dict[str, str]:
    """Return the module of each command of quantd; no module is imported."""
    return {name.replace("_", "-"): module for name, module in modules(*PACKAGES).items()}


def commands(*names: str) -> dict[str, Entry]:
    """Return the commands by name, in the order of the panels: all of them, or only those in `names`."""
    modules_by_name = table()
    chosen = modules_by_name.keys() & names if names else modules_by_name
    entries = {name: entry for name in chosen if (entry := entry_of(modules_by_name[name])) is not None}
    if not names or not entries:  # a command of quantd itself needs no search among the installed packages
        entries = {**other_packages(*names), **entries}
    panels = get_args(Panel)
    place = {name: (panels.index(entry.command.panel), entry.command.order, name) for name, entry in entries.items()}
    return {name: entries[name] for name in sorted(entries, key=place.__getitem__)}


def other_packages(*names: str) -> dict[str, Entry]:
    """Return the commands of other packages by name: all of them, or only those in `names`.

    A command that cannot be read is omitted from the list; if it was asked for by name, Failure is raised.
    """
    entries = {}
    for point in entry_points(GROUP):
        if names and point.name not in names:
            continue
        try:
            entry = entry_of(point.value)
            fault = "declares no COMMAND"
        except Exception as why:  # the import of another package may raise any error
            entry, fault = None, f"{type(why).__name__}: {why}"
        if entry is not None:
            entries[point.name] = entry
        elif names:
            raise Failure(f"{point.value} ({GROUP}): {fault}; {REMEDY}", CONFIG)
    return entries


def entry_of(module: str) -> Entry | None:
    """Return the command that a module declares; None for a module that declares no command."""
    imported = import_module(module)
    command = getattr(imported, "COMMAND", None)
    return Entry(command, imported.__doc__ or "") if isinstance(command, Command) else None


def run(arguments: list[str]) -> None:
    """Run one command line. Raises SystemExit with its exit code."""
    first = arguments[0] if arguments else ""
    if not arguments and starts_anew():
        raise SystemExit(import_module(FIRST_HOUR).begin())
    for words in (first, " ".join(arguments[:2])):
        if words in GONE:
            raise Failure(f"quantd has no command `{words}`: `quantd {GONE[words]}` does its work", USAGE)
    entries = commands(first) if COMMAND.fullmatch(first) else {}
    if entries:
        # a command that only prints ends as soon as the reader of its output has gone
        if entries[first].command.panel in READING and first not in ACTING:
            reads_only()
        app = program(entries)
        _require_options(first, app, arguments)
        _require_values(first, arguments)
        _require_joined(arguments)
        _require_once(first, app, arguments)
    elif {"--help", "--all"}.issuperset(arguments):
        typer.echo(listing(commands() if "--all" in arguments else first_commands()), nl=False)
        raise SystemExit(0 if arguments else USAGE)
    elif first.startswith("-"):
        app = program({} if arguments == ["--version"] else commands(), listed=True)
    else:  # the error of an unknown command needs the names of the others
        names = [*table(), *(point.name for point in entry_points(GROUP))]
        app = program(dict.fromkeys(names, Entry(Command("Look", 0, lambda: None), "")), listed=True)
    app(arguments, prog_name="quantd")


def starts_anew() -> bool:
    """Whether a person is at a terminal in a folder without a configuration."""
    at_terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
    return at_terminal and not CONFIG_FILE.exists() and not os.environ.get("QUANTD_CONFIG")


def first_commands() -> dict[str, Entry]:
    """Return the commands of `FIRST`, in its panels."""
    panels = {name: panel for panel in FIRST for name in FIRST[panel]}
    entries = commands(*panels)
    return {name: entries[name].in_panel(panel) for name, panel in panels.items()}


def listing(entries: Mapping[str, Entry]) -> str:
    """Return the text of `quantd --help`: by panel, each command with the first paragraph of its help.

    typer's own list loads rich, which takes as long as all the rest of the command.
    """
    width, indent = min(get_terminal_size().columns, 100), max(map(len, entries)) + 4
    rows = [*wrap(ABOUT, width)]
    for panel in dict.fromkeys(entry.command.panel for entry in entries.values()):
        rows += ["", f"{panel}:"]
        for name, entry in entries.items():
            if entry.command.panel == panel:
                about, _, _ = entry.help.partition("\n\n")
                rows += wrap(f"  {name:{indent - 2}}{about}", width, subsequent_indent=" " * indent)
    return "\n".join(["Usage: quantd COMMAND [OPTIONS]", "", *rows, "", OWN_OPTIONS, ""])


def program(entries: Mapping[str, Entry], *, listed: bool = False) -> typer.Typer:
    """Return the typer program with these commands. With `listed` it lacks their options, and can only print
    their help."""
    app = typer.Typer(
        name="quantd",
        help=ABOUT,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        result_callback=_exit_with,
    )
    app.callback()(_options)
    for name, entry in entries.items():
        action, panel = entry.command.action, entry.command.panel
        if listed:
            app.command(name, help=_literal(entry.help), rich_help_panel=panel)(lambda: None)  # never run
        elif callable(action):
            app.command(name, help=_literal(entry.help), rich_help_panel=panel)(_checked(expanded(action)))
        else:
            group = typer.Typer(help=_literal(entry.help), no_args_is_help=True)
            for subcommand, subaction in action.items():
                group.command(subcommand, help=_literal(inspect.getdoc(subaction) or ""))(_checked(expanded(subaction)))
            app.add_typer(group, name=name, rich_help_panel=panel)
    return app


def _require_options(name: str, app: typer.Typer, arguments: list[str]) -> None:
    """Raise Failure for an option of other programs whose value a command with `--config` takes in another way, and
    for `--config` where the configuration is an argument."""
    if name in CONFIG_FIRST and (named := {"-c", "--config"} & {word.partition("=")[0] for word in arguments}):
        raise Failure(f"quantd {name} has no option {named.pop()}: write quantd {name} config.toml", USAGE)
    words = [word for argument in arguments if (word := argument.partition("=")[0]) in OPTIONS]
    if not words:
        return
    command = getattr(typer.main.get_command(app), "commands", {}).get(name)
    options = {option for parameter in getattr(command, "params", ()) for option in parameter.opts}
    for word in words:
        if word not in options and "--config" in options:
            raise Failure(f"quantd {name} has no option {word}: {OPTIONS[word]}", USAGE)


def _require_values(name: str, arguments: list[str]) -> None:
    """Raise Failure for an empty word, such as a variable of the shell that is not set: with `--agent ""` the whole
    account would be resumed or halted. A reason may be empty where none is needed, and so may a family (`family_of`).
    For `--actions` of a policy "" means none.
    """
    for before, word in pairwise(arguments):
        if word == "--" or name == "gateway":
            return
        option, equals, value = word.partition("=") if word.startswith("--") else (before, "=", word)
        none = option == "--actions" and name not in ("data", "init")
        if equals and not value and not none and option not in ("--reason", "--family"):
            what = f"{option} ''" if option.startswith("-") else f"the word '' after {before}"
            raise Failure(
                f"{what} is empty, perhaps by a variable that is not set; write its value, or leave it out", USAGE
            )
        if word[0:1] == "-" and word[1:2].isdigit() and not before.startswith("-"):
            turned = {"buy": "sell", "sell": "buy", "add": "remove", "remove": "add"}.get(before)
            remedy = f"quantd {name} {turned} {word[1:]}" if turned else f"{before} {word[1:]}"
            raise Failure(f"{word} after {before} is below 0, and amounts have no sign; write {remedy}", USAGE)


def _require_joined(arguments: list[str]) -> None:
    """Raise Failure for parts NAME=VALUE of one option, or symbols in capitals, that a space divides: the second would
    be another argument, such as the folder of `quantd init`."""
    for option, first, second in zip(arguments, arguments[1:], arguments[2:], strict=False):
        if option == "--":
            return
        parts = option.startswith("--") and "=" not in option and all("=" in w and w[0] != "-" for w in (first, second))
        if parts or (option == "--symbols" and second.isupper() and second[0] != "-"):
            remedy = f"--set {first} --set {second}" if option == "--set" else f"{option} {first.strip(',')},{second}"
            raise Failure(f"{option} has one value, and {second} is beside it; write {remedy}", USAGE)


def _require_once(name: str, app: typer.Typer, arguments: list[str]) -> None:
    """Raise Failure for an option of one value that has two, of which the last would count in silence. A halt is
    carried out."""
    words = list(arguments)
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "commands"):
        command = command.commands.get(words.pop(0))
    options = {option: parameter for parameter in getattr(command, "params", ()) for option in parameter.opts}
    earlier: dict[str, list[str]] = {}
    while words and (word := words.pop(0)) != "--" and name not in ("halt", "gateway"):
        option, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        parameter = options.get(option)
        if parameter is None or parameter.nargs < 1 or getattr(parameter, "is_flag", False):
            continue
        values = [value] if equals else words[: parameter.nargs]
        del words[: 0 if equals else parameter.nargs]
        if not parameter.multiple and earlier.setdefault(parameter.name, values) != values:
            two = f"{' '.join(earlier[parameter.name])} and {' '.join(values)}"
            raise Failure(f"{option} has two values, {two}; write one of them", USAGE)


def _checked(action: Action) -> Action:
    """Return an action whose options of type float refuse NaN and infinity, and whose paths refuse devices and pipes.

    In the help texts the name of a table, such as [broker], is no markup.

    No range of typer excludes such a number. A pipe or a device in place of a file may block its reader for ever.
    """
    for parameter in inspect.signature(action, eval_str=True).parameters.values():
        kind, *marks = get_args(parameter.annotation) or (parameter.annotation,)
        kinds = {kind, *get_args(kind), *(inner for outer in get_args(kind) for inner in get_args(outer))}
        check = _require_finite if float in kinds else _require_ordinary if Path in kinds else None
        for mark in marks:
            if getattr(mark, "help", None):
                mark.help = _literal(mark.help)
            if check is not None and hasattr(mark, "callback"):
                mark.callback = _require_ordinary_config if mark.callback is beside else mark.callback or check
    return action


def _literal(text: str) -> str:
    """A help text whose brackets typer prints; it would take the name of a table for a style, and drop it."""
    return re.sub(r"(?<!\\)\[", r"\\[", text)


def _require_finite(value: float | list[float] | None) -> float | list[float] | None:
    for number in value if isinstance(value, list) else [value]:
        if number is not None and not isfinite(number):
            raise typer.BadParameter(f"{number} is not a finite number")
    return value


def _require_ordinary(value: Path | list[Path] | None) -> Path | list[Path] | None:
    """Return paths unchanged. Raise Failure for a path that names neither a file nor a folder."""
    for path in value if isinstance(value, list) else [value]:
        try:
            mode = path.stat().st_mode if path is not None else S_IFREG
        except OSError as error:
            if error.errno == ELOOP:
                raise Failure(f"{path} is a link to itself; name a file or a folder", USAGE) from None
            continue  # a missing file, or one without rights: the command names it
        if not S_ISREG(mode) and not S_ISDIR(mode):
            text = f"{path} is {kind_of(mode)}, neither a file nor a folder; name a file, or write its content to one"
            raise Failure(text, USAGE)
    return value


def _require_ordinary_config(config: Path) -> Path:
    """`_require_ordinary` for the path of a configuration, then `beside`."""
    _require_ordinary(config)
    return beside(config)


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
) -> None:
    pass
