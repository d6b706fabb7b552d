"""Orders of backtests and sweeps by a person during a run: checks which configuration keys they override.

What can go wrong: an override may name a file, and a policy from a file is code. The holder of an API token must not be
able to open a file or start a program. So only the tables and keys listed here may be overridden, and no value may name
a path. The values are then checked by the loader of the configuration.
"""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

from quantd.daemon.cli.configuration import read
from quantd.daemon.config import ConfigError
from quantd.daemon.config.overrides import between
from quantd.research.studies.grid import Grid, axes_of

Kind = Literal["backtest", "sweep"]

KINDS: Final[tuple[Kind, ...]] = ("backtest", "sweep")

MOST_POINTS: Final = 200
"""Maximum number of points of a sweep that a daemon runs beside trading."""

TABLES: Final = frozenset({"capital", "execution", "promotion", "risk"})
"""Tables of the configuration whose keys may all be overridden."""

KEYS: Final = {
    "account": frozenset({"cash_rate"}),
    "broker": frozenset({
        "borrow_bp_annual", "cash", "commission_bp", "commission_min", "impact", "latency", "participation", "seed",
        "slippage_bp", "slippage_noise", "spread_bp",
    }),
    "feed": frozenset({"end", "start"}),
    "universe": frozenset({"symbols"}),
}  # fmt: skip
"""Other tables, and the keys of each that may be overridden."""

AGENT_KEYS: Final = frozenset({"capital", "limits", "min_trade", "params", "policy", "profile", "rebalance", "sizing"})
"""Keys of an agent that may be overridden."""

PATH_MARKS: Final = ("/", "\\", ":", ".py", "~")
"""Texts whose presence in a value means that it names a file, a function of a file, or an address."""


class OrderRefused(Exception):
    """A backtest or sweep is refused. The text is for its sender; `field` is the faulty field, "sets" or "over"."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


class ResearchOrder(Struct, frozen=True):
    """One backtest, or one sweep over the axes `over`, from the date `start` to the date `end`.

    `over` has KEY=VALUES for each swept key, `sets` has KEY=VALUE for each override of the configuration. A date of
    None stands for the configured one. `own` are overrides that the daemon itself makes, which may be of any key. With
    `limit_s` its process is ended after so many seconds.
    """

    kind: Kind
    sets: tuple[str, ...] = ()
    over: tuple[str, ...] = ()
    start: date | None = None
    end: date | None = None
    own: tuple[str, ...] = ()
    limit_s: float = 0.0

    @property
    def overrides(self) -> tuple[str, ...]:
        """All overrides of the backtest or sweep: `sets` and `own`, then the overrides that set the dates."""
        return (*self.sets, *self.own, *between((), self.start, self.end))

    @property
    def words(self) -> str:
        """The backtest or sweep as text, such as "over agents.trend.params.lookback=21:126:21"."""
        return ", ".join((*(f"over {axis}" for axis in self.over), *self.overrides)) or "as the run"

    def command(self, file: Path, folder: Path, sets: tuple[str, ...]) -> Iterator[str]:
        """Yield the arguments of the `quantd` command that runs the backtest or sweep.

        `file` is the configuration, `folder` the state folder, and `sets` are the overrides of the trading run. The
        order's own overrides follow them and win.
        """
        if self.kind == "backtest":
            yield from ("backtest", "--config", str(file), "--journal", "--no-compare")
        else:
            # one worker: the limits on memory and processors are those of one process
            yield from ("sweep", str(file), "--workers", "1", *(f"--over={axis}" for axis in self.over))
        last = {override.partition("=")[0]: override for override in (*sets, *self.overrides)}
        for axis in self.over:
            last.pop(axis.partition("=")[0].strip(), None)
        yield from ("--state", str(folder), "--json", *(f"--set={override}" for override in last.values()))


def check(order: ResearchOrder, file: Path, sets: tuple[str, ...]) -> None:
    """Raise OrderRefused for a key that may not be overridden, and for a value that the configuration refuses.

    `sets` are the overrides of the trading run. The check reads the configuration file: call it in a thread, or it
    blocks trading.
    """
    for override in order.sets:
        _check_key("sets", override)
    points: list[tuple[str, ...]] = [()]  # a backtest is one point without further overrides
    if order.kind == "sweep":
        points = _extreme_points(order.over, order.overrides)
    for point in points:
        try:
            read(file, (*sets, *order.overrides, *point))
        except ConfigError as why:
            raise OrderRefused("over" if point else "sets", _fault_text(why, (*order.overrides, *point))) from None


def _extreme_points(over: tuple[str, ...], sets: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the first and the last point (combination of values) of a sweep, each as overrides KEY=VALUE.

    The configuration loader reads these two points only, and no point between them. Raises OrderRefused for an axis of
    a wrong form or of a key of `sets`, a key that may not be overridden, and too many points.
    """
    try:
        grid = Grid(axes_of(over, sets))
    except ValueError as why:
        raise OrderRefused("over", str(why)) from None
    for key, values in grid.axes.items():
        for value in values:
            _check_key("over", f"{key}={value}")
    if len(grid) > MOST_POINTS:
        text = f"the sweep has {len(grid):,} points; {MOST_POINTS} fit beside a run: use fewer, or run `quantd sweep`"
        raise OrderRefused("over", text)
    points = ([values[k] for values in grid.axes.values()] for k in (0, -1))
    return [tuple(f"{key}={value}" for key, value in zip(grid.keys, values, strict=True)) for values in points]


def _check_key(field: str, override: str) -> None:
    """Raise OrderRefused for a key that may not be overridden, and for a value that names a file.

    `field` is the field of the order that contains the override, "sets" or "over".
    """
    key, equals, value = (part.strip() for part in override.partition("="))
    if not equals or not key or not value:
        raise OrderRefused(field, f"{override!r} is not KEY=VALUE; write agents.trend.params.lookback=63")
    table, _, inner = key.partition(".")
    inner_keys = inner.split(".")
    # agents.NAME.KEY has the name of the agent before the key
    leaf = inner_keys[1] if table == "agents" and len(inner_keys) > 1 else inner_keys[0]
    # TABLES may be overridden in whole; of agents and the tables of KEYS, only the listed keys
    if not inner or not (table in TABLES or leaf in (AGENT_KEYS if table == "agents" else KEYS.get(table, ()))):
        tables = ", ".join(sorted({*TABLES, *KEYS, "agents"}))
        text = f"{key} may not be changed here; change a key that affects trading and names no file, of {tables}"
        raise OrderRefused(field, text)
    if any(mark in value for mark in PATH_MARKS):
        raise OrderRefused(field, f"{key}: {value} names a file or an address, which a token may not open; remove it")


def _fault_text(why: ConfigError, overrides: tuple[str, ...]) -> str:
    """Return the lines of the loader's error `why` that name a key of the overrides; all lines if none names one."""
    lines = [str(mistake) for mistake in why.mistakes]
    keys = [override.partition("=")[0].strip() for override in overrides]
    return "\n".join([line for line in lines if any(key in line for key in keys)] or lines)
