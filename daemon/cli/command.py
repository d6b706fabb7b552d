"""The record that declares a command, and options that several commands share. Imports nothing heavy."""

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from datetime import date, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.places import Place, place
from quantd.trading.exit_codes import USAGE

if TYPE_CHECKING:
    from quantd.daemon.config import Config

Panel = Literal["Trade", "Look", "Operate", "Set up", "Learn"]
Action = Callable[..., int | None]


@dataclass(frozen=True, slots=True)
class Command:
    """One command of `quantd`. Its name is the name of its module, and its help is the docstring of the module.

    `order` decides the position in the panel of `quantd --help --all`; commands of the same order are sorted by name.
    An action returns the exit code; None means 0. A group of commands has a mapping of names to actions, whose
    docstrings are their help.
    """

    panel: Panel
    order: int
    action: Action | Mapping[str, Action]


def expanded(run: Action) -> Action:
    """Return an action whose options are the parameters of `run`; a parameter of a dataclass stands for its fields."""
    parameters = inspect.signature(run, eval_str=True).parameters
    annotations = {name: outer.annotation for name, outer in parameters.items()}
    records = {name: kind for name, kind in annotations.items() if isinstance(kind, type) and is_dataclass(kind)}
    options_of = {name: inspect.signature(record).parameters for name, record in records.items()}
    if not records:
        return run

    def action(**options: Any) -> int | None:
        grouped = {
            name: record(**{option: options.pop(option) for option in options_of[name]})
            for name, record in records.items()
        }
        return run(**options, **grouped)

    shown = chain.from_iterable(options_of.get(name, {name: outer}).values() for name, outer in parameters.items())
    # typer reads the parameters from the signature
    vars(action)["__signature__"] = inspect.Signature(list(shown))
    action.__doc__ = run.__doc__
    return action


def day(text: str) -> date:
    """Parse the date of an option: 2019-01-02. Raises typer.BadParameter."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date; write 2019-01-02") from None


def one_of(names: Sequence[str]) -> Callable[[str], str]:
    """Return the parser of an option whose value must be one of `names`."""

    def parsed(text: str) -> str:
        if text not in names:
            raise typer.BadParameter(f"{text!r} is not one of {', '.join(map(repr, names))}.")
        return text

    return parsed


def family(text: str) -> str:
    """Parse the name of a family of trials: at most 64 printable characters; empty text means no family.

    Raises typer.BadParameter.
    """
    name = text.strip()
    if len(name) > FAMILY_LENGTH or not name.isprintable():
        raise typer.BadParameter(f"{text!r} is not a name; write at most {FAMILY_LENGTH} printable characters")
    return name


def unused(mode: str, given: Mapping[str, object]) -> None:
    """Raise Failure for options that were given beside `mode`, which uses none of them. A value that is false is the
    default of its option."""
    if names := ", ".join(name for name, value in given.items() if value):
        raise Failure(f"{names} has no effect beside {mode}; leave it out", USAGE)


FAMILY_LENGTH: Final = 64
"""Most characters of the name of a family of trials."""

CONFIG_FILE: Final = Path("config.toml")

CREDENTIALS: Final = "credentials"
"""Folder of the secrets beside a configuration that no unit starts. Policy files are denied a folder of this name."""


def beside(config: Path) -> Path:
    """Let the command read its secrets from `credentials/` beside its configuration, where no unit names a folder."""
    folder = config.parent / CREDENTIALS
    if folder.is_dir():
        os.environ.setdefault("CREDENTIALS_DIRECTORY", str(folder.absolute()))
    return config


USUAL: Final = "yfinance"
"""The vendor of a download that names none: it needs no account."""

USUAL_EVERY, USUAL_CASH = "month", "100000"
"""The rebalances and the capital of a portfolio that names none."""

Url = Annotated[str, typer.Option("--url", help="Another address of the source, such as a proxy.")]

ConfigFile = Annotated[
    Path,
    typer.Option(
        "--config", "-c", envvar="QUANTD_CONFIG", help="The configuration.", show_default="config.toml", callback=beside
    ),
]
State = Annotated[
    Path | None,
    typer.Option("--state", envvar="QUANTD_STATE", help="The state folder, in place of the configured one."),
]


def one_value(sets: list[str] | None) -> list[str] | None:
    """Return the overrides. Raises typer.BadParameter where two of them give one key two values."""
    values: dict[str, str] = {}
    for key, _, value in (text.partition("=") for text in sets or ()):
        if (first := values.setdefault(key, value)) != value:
            raise typer.BadParameter(f"{key} has two values, {first} and {value}; write one")
    return sets


Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key; repeatable.", callback=one_value),
]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options by which a command finds a run: the configuration, another state folder, other values of keys."""

    config: ConfigFile = CONFIG_FILE
    state: State = None
    sets: Sets = None

    def place(self, *, checked: bool = True) -> Place:
        """Return the state folder and the store. Raises Failure and Refused, as `quantd.daemon.cli.places.place`."""
        return place(self.config, self.state, self.sets, checked=checked)

    def read(self, start: date | None = None, end: date | None = None) -> "Config":
        """Return the configuration with these values and, if given, this period. Raises ConfigError."""
        from quantd.daemon.cli.configuration import read  # loads what every command can need
        from quantd.daemon.config.overrides import between

        return read(self.config, between(self.sets, start, end))


DEFAULTS: Final = RunOptions()

PolicyAlone = Annotated[
    str,
    typer.Argument(
        metavar="POLICY", show_default=False,
        help="This policy alone with all the capital, in place of the agents: equal_weight, mine.py:act or a folder.",
    ),
]  # fmt: skip
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document only.")]
Family = Annotated[
    str,
    typer.Option(
        "--family", parser=family, metavar="NAME",
        help="Count the trials of this family too, whatever their market.", show_default=False,
    ),
]  # fmt: skip
Last = Annotated[int, typer.Option("--last", "-n", min=1, max=1_000_000, help="Number of the newest entries.")]
Largest = Annotated[int, typer.Option("--largest", "-n", min=1, max=10_000, help="Number of the largest rows.")]
Search = Annotated[str, typer.Option("--search", metavar="TEXT", help="Only symbols that contain this text.")]
Run = Annotated[str | None, typer.Option("--run", help="Name of a run; the newest without it.")]
OfShadow = Annotated[str, typer.Option("--shadow", metavar="NAME", help="The simulated book of this shadow.")]
FIRST_DAY: Final[Any] = typer.Option("--from", parser=day, metavar="DATE", help="First day.")
LAST_DAY: Final[Any] = typer.Option("--to", parser=day, metavar="DATE", help="Last day.")
From = Annotated[date | None, FIRST_DAY]
To = Annotated[date | None, LAST_DAY]
RayAddress = Annotated[
    str, typer.Option(help="Address of a Ray cluster.", show_default="a temporary cluster on this machine")
]
Order = Annotated[str, typer.Argument(metavar="ORDER", help="Its id, as `quantd orders` has it.")]

Reason = Annotated[str, typer.Option("--reason", "-r", help="Reason, for the journal.")]
Agent = Annotated[str, typer.Option("--agent", "-a", metavar="NAME", help="One agent; the whole house without it.")]
Mqtt = Annotated[
    str,
    typer.Option(
        "--mqtt",
        metavar="URL",
        help="Send it signed over MQTT: mqtt://host:1883/quantd/paper (docs/operate/switch.md).",
    ),
]
Symbol = Annotated[
    str, typer.Option("--symbol", "-s", metavar="SYMBOL", help="One symbol: no new orders for it; its positions stay.")
]

Jump = Annotated[
    str,
    typer.Option(
        "--jump",
        metavar="real|N:M",
        help="With --symbol: the jump was real, or a split of N new shares for M old ones.",
    ),
]

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="An artifact, such as models/shipped/scorer.")]
