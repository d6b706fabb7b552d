"""[risk] and [alerts]: the settings of the house, and who learns of its alerts.

The keys of limits, of the house and of an agent, come from other packages.

A missing limit is None here: `quantd.risk.limits.catalogue` applies the profile and the limits that are always on.
"""

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field

from quantd.daemon.config.values import (
    START,
    Reload,
    Section,
    Written,
    Zone,
    bounds,
    distinct,
    duration,
    pattern,
    wrong,
)
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


class RegimeCut(Section):
    """Less exposure in a volatile market: from annual volatility `above` on, over `lookback` samples, the house may
    hold the share `exposure` of `max_gross_exposure`. The regime ends below (1 - `margin`) of `above`."""

    above: Annotated[float, bounds(0, 10, percent=True)]
    exposure: Annotated[float, bounds(0, 1, percent=True)]
    lookback: Annotated[int, bounds(20, 252)] = 20
    margin: Annotated[float, bounds(0, 0.9, percent=True)] = 0.1


class Risk(Limits):
    """The house: its limits, and the settings that only the house has."""

    shocks: Annotated[tuple[ShockTable, ...], START] = ()
    profile: Annotated[str, START] | None = None
    volume_lookback: Annotated[int, bounds(1, 252), START] = 20
    follow_ups: Annotated[int, bounds(0, 100), Reload("higher", on=True)] | None = None
    max_failures: Annotated[int, bounds(1, 1_000), START] = 3
    rearm: Annotated[str, AfterValidator(_rearm), START] | None = None
    flatten_on: Annotated[tuple[Literal["drawdown", "daily_loss", "weekly_loss"], ...], START] | None = None
    regime: Annotated[RegimeCut | None, START] = None
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


AlertLevel = Literal["INFO", "WARNING", "CRITICAL"]


def _levels(value: tuple[str, ...]) -> tuple[str, ...]:
    if "CRITICAL" not in value:
        wrong("has no CRITICAL, which is always sent", 'add "CRITICAL"')
    return value


class DeadMan(Section):
    """A request to `url` every `every` while the daemon is ready and bars arrive; its absence is the alarm."""

    url: Annotated[str, pattern(r"https://\S+|http://(127\.0\.0\.1|localhost|\[::1\])[:/]\S*", '"https://…"')]
    every_ns: Annotated[int, duration("1s", "1h"), Written()] = Field(default=60 * 10**9, alias="every")


class NoticeTable(Section):
    """Alerts about events that no limit covers; 0 is off.

    `milestone` is the growth of the account between two milestones. `decay` is the number of samples over which a
    policy's Sharpe ratio is compared with that of its test. `correlation` is the change of the mean correlation.
    """

    milestone: Annotated[float, bounds(0.0, 10.0)] = 0.0
    decay: Annotated[int, bounds(0, 252)] = 0
    correlation: Annotated[float, bounds(0.0, 2.0)] = 0.0
    rebalances: bool = False


class Alerts(Section):
    """`sinks`: options of receivers beside the bus, by kind.

    `remind` and `escalate_after` are for incidents that nobody has acknowledged, and 0 s is off. `escalate` names sinks
    in their order. `group` is the time for which sinks and the topic alert_groups collect alerts of one kind and level.
    """

    levels: Annotated[tuple[AlertLevel, ...], AfterValidator(_levels)] = ("INFO", "WARNING", "CRITICAL")
    per_minute: Annotated[int, bounds(1, 10_000)] = 60
    quiet_hours: Annotated[str, pattern(r"|([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d", '"22:00-07:00"')] = ""
    quiet_levels: tuple[Literal["INFO", "WARNING"], ...] = ("INFO",)
    timezone: Zone = "UTC"
    remind_ns: Annotated[int, duration("0s", "30d"), Written()] = Field(default=3_600 * 10**9, alias="remind")
    group_ns: Annotated[int, duration("0s", "10m"), Written(), START] = Field(default=0, alias="group")
    escalate: Annotated[tuple[str, ...], distinct(), START] = ()
    escalate_after_ns: Annotated[int, duration("1s", "1d"), Written()] = Field(
        default=900 * 10**9, alias="escalate_after"
    )
    dead_man: Annotated[DeadMan | None, START] = None
    notices: Annotated[NoticeTable, START] = NoticeTable()
    sinks: Annotated[dict[str, dict[str, Any]], START] = {}
