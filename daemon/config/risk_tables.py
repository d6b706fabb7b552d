"""[risk]: the settings of the house. The keys of its limits, and of those of an agent, come from other packages.

A missing limit is None here: `quantd.risk.limits.catalogue` applies the profile and the limits that are always on.
"""

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field

from quantd.daemon.config.values import START, Reload, Section, Written, bounds, duration, wrong
from quantd.trading.instruments import NANO


class LimitKey(NamedTuple):
    """A key of `[risk]`, of an agent's `limits` and of `[manual.limits]`: its name in the file, and its attribute and
    annotation in `Limits`."""

    key: str
    attribute: str
    annotation: Any


class Limits(Section):
    """Limits of the house or of an agent. `quantd.daemon.config.keys.document_of` adds a field for each `LimitKey`."""


class Move(Section):
    """The move of one symbol, one sector, or with "*" everything else in a shock: -0.2 is a fall of 20 %."""

    of: str
    by: Annotated[float, bounds(-1, 10)]


class ShockTable(Section):
    """A user-defined stress scenario."""

    name: str
    moves: tuple[Move, ...]


def _rearm(value: str) -> str:
    if value != "never" and not (value.isascii() and value.isdigit() and 1 <= int(value) <= 100_000):
        wrong("is not valid", 'write "never" or a number of samples, "21"')
    return value


class History(Section):
    """Length of the history that a running daemon holds in memory; the store has all of it."""

    portfolio: Annotated[int, bounds(1, 1_000_000), START] = 10_000
    risk: Annotated[int, bounds(1, 1_000_000), START] = 5_000
    allocations: Annotated[int, bounds(1, 1_000_000), START] = 5_000


class Risk(Limits):
    """The house: its limits, and the settings that only the house has."""

    shocks: Annotated[tuple[ShockTable, ...], START] = ()
    profile: Annotated[str, START] | None = None
    volume_lookback: Annotated[int, bounds(1, 252), START] = 20
    follow_ups: Annotated[int, bounds(0, 100), Reload("higher", on=True)] | None = None
    max_failures: Annotated[int, bounds(1, 1_000), START] = 3
    rearm: Annotated[str, AfterValidator(_rearm), START] | None = None
    flatten_on: Annotated[tuple[Literal["drawdown", "daily_loss", "weekly_loss"], ...], START] | None = None
    history: History = History()
    monitor_interval_ns: Annotated[int, duration("1s", "1d"), Written(), START] = Field(
        default=300 * NANO, alias="monitor_interval"
    )
    max_loop_lag_ns: Annotated[int, duration("100ms", "60s"), Written(), Reload("higher")] = Field(
        default=5 * NANO, alias="max_loop_lag"
    )
    max_clock_jump_ns: Annotated[int, duration("100ms", "1h"), Written(), Reload("higher")] = Field(
        default=2 * NANO, alias="max_clock_jump"
    )
    max_missed_bars: Annotated[int, bounds(1, 10), Reload("higher")] = 2
