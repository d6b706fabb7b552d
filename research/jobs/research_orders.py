"""Backtests and sweeps that a person starts beside a run: which keys they may change, and their check before a start.

What can go wrong: an override may name a file, and a policy from a file is code. A token opens no file and starts no
program, so the tables and keys are listed here, and no value may name a path. The values themselves are checked by the
loader of the configuration, with its own words.
"""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

from quantd.daemon.cli.configuration import read
from quantd.daemon.config import ConfigError
from quantd.daemon.config.overrides import between
from quantd.research.studies.grid import Grid, axis_of

Kind = Literal["backtest", "sweep"]

KINDS: Final[tuple[Kind, ...]] = ("backtest", "sweep")

MOST_POINTS: Final = 200
"""Points of a sweep that a daemon runs beside trading."""

TABLES: Final = frozenset({"capital", "execution", "promotion", "risk"})
"""Tables whose keys may all be changed."""

KEYS: Final = {
    "account": frozenset({"cash_rate"}),
    "broker": frozenset({
        "borrow_bp_annual", "cash", "commission_bp", "commission_min", "impact", "latency", "participation", "seed",
        "slippage_bp", "slippage_noise", "spread_bp",
    }),
    "feed": frozenset({"end", "start"}),
    "universe": frozenset({"symbols"}),
}  # fmt: skip
"""Keys of other tables that may be changed."""

OF_AGENTS: Final = frozenset({"capital", "limits", "min_trade", "params", "policy", "profile", "rebalance", "sizing"})
"""Keys of an agent that may be changed."""

PATHS: Final = ("/", "\\", ":", ".py", "~")
"""Parts of a value that names a file, a function of a file, or an address."""


class OrderRefused(Exception):
    """An order that cannot be carried out; the text is for its sender, and `field` names the part at fault."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


class ResearchOrder(Struct, frozen=True):
    """One backtest, or one sweep over the values of `over`. `sets` are overrides, from `start` to `end`."""

    kind: Kind
    sets: tuple[str, ...] = ()
    over: tuple[str, ...] = ()
    start: date | None = None
    end: date | None = None

    @property
    def overrides(self) -> tuple[str, ...]:
        """All overrides, those of the dates too."""
        return between(self.sets, self.start, self.end)

    @property
    def words(self) -> str:
        """The order as text."""
        return ", ".join((*(f"over {axis}" for axis in self.over), *self.overrides)) or "as the run"

    def command(self, file: Path, folder: Path, sets: tuple[str, ...]) -> Iterator[str]:
        """The command of quantd; `sets` are the overrides of the run."""
        if self.kind == "backtest":
            yield from ("backtest", "--config", str(file), "--journal", "--no-compare")
        else:
            yield from ("sweep", str(file), *(f"--over={axis}" for axis in self.over))
        yield from ("--state", str(folder), "--json", *(f"--set={override}" for override in (*sets, *self.overrides)))


def check(order: ResearchOrder, file: Path, sets: tuple[str, ...]) -> None:
    """Raise OrderRefused for a key or a value that the configuration refuses.

    The check reads the configuration file, so it belongs into a thread.
    """
    for override in order.sets:
        _check_key("sets", override)
    points: list[tuple[str, ...]] = [()]
    if order.kind == "sweep":
        points = _ends(order.over)
    for point in points:
        try:
            read(file, (*sets, *order.overrides, *point))
        except ConfigError as why:
            raise OrderRefused("over" if point else "sets", _own(why, (*order.overrides, *point))) from None


def _ends(over: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The first and the last point of a sweep."""
    try:
        grid = Grid(dict(map(axis_of, over)))
    except ValueError as why:
        raise OrderRefused("over", str(why)) from None
    for key, values in grid.axes.items():
        for value in values:
            _check_key("over", f"{key}={value}")
    if len(grid) > MOST_POINTS:
        text = f"the sweep has {len(grid):,} points; {MOST_POINTS} are the most beside a run. `quantd sweep` takes more"
        raise OrderRefused("over", text)
    ends = ([values[k] for values in grid.axes.values()] for k in (0, -1))
    return [tuple(f"{key}={value}" for key, value in zip(grid.keys, values, strict=True)) for values in ends]


def _check_key(field: str, text: str) -> None:
    """Raises OrderRefused for a key that may not be changed, and for a value that names a file."""
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not key or not value:
        raise OrderRefused(field, f"{text!r} is not KEY=VALUE; write agents.trend.params.lookback=63")
    table, _, inner = key.partition(".")
    parts = inner.split(".")
    leaf = parts[1] if table == "agents" and len(parts) > 1 else parts[0]
    if not inner or not (table in TABLES or leaf in (OF_AGENTS if table == "agents" else KEYS.get(table, ()))):
        tables = ", ".join(sorted({*TABLES, *KEYS, "agents"}))
        text = f"{key} may not be changed here; what affects trading and names no file may: keys of {tables}"
        raise OrderRefused(field, text)
    if any(part in value for part in PATHS):
        raise OrderRefused(field, f"{key}: {value} names a file or an address, and a token opens none")


def _own(why: ConfigError, overrides: tuple[str, ...]) -> str:
    """The words of the loader; those about the order alone where there are any."""
    lines = [str(mistake) for mistake in why.mistakes]
    keys = [override.partition("=")[0].strip() for override in overrides]
    return "\n".join([line for line in lines if any(key in line for key in keys)] or lines)
