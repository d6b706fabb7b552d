"""[risk] and [alerts]: the settings of the whole account, and the receivers of its alerts.

The keys of limits, of the house and of an agent, are defined in other packages, and `document_of` of
`quantd.daemon.config.keys` adds them. A missing limit is None here: `quantd.risk.limits.catalogue` then applies the
profile, and the limits that are always on.
"""

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field

from quantd.daemon.config.alarm_bounds import alarm_texts
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
    """A limit as a key of `[risk]` and of every table `limits`.

    `key` is its name in the file; `attribute` and `annotation` are its name and type in `Limits`.
    """

    key: str
    attribute: str
    annotation: Any


class Limits(Section):
    """Limits of the whole account or of an agent.

    `quantd.daemon.config.keys.document_of` adds a field for each `LimitKey`.
    """


class Move(Section):
    """A price move in a shock: of a symbol, of a sector, or with "*" of everything else.

    `by` -0.2 is a fall of 20 %.
    """

    of: str
    by: Annotated[float, bounds(-1, 10)]


class ShockTable(Section):
    """A user-defined stress scenario."""

    name: str
    moves: tuple[Move, ...]


def _rearm(value: str) -> str:
    """Return the value of `rearm`, which must be "never" or a number of samples. Refuses any other text."""
    if value != "never" and not (value.isascii() and value.isdigit() and 1 <= int(value) <= 100_000):
        wrong("is not valid", 'write "never" or a number of samples, "21"')
    return value


class History(Section):
    """The number of rows of each history that a running daemon holds in memory; the store has all rows."""

    portfolio: Annotated[int, bounds(1, 1_000_000), START] = 10_000
    risk: Annotated[int, bounds(1, 1_000_000), START] = 5_000
    allocations: Annotated[int, bounds(1, 1_000_000), START] = 5_000


class RegimeCut(Section):
    """Less exposure in a volatile market.

    The regime begins when the annual volatility over `lookback` samples reaches `above`. The house may then hold the
    fraction `exposure` of `max_gross_exposure`. The regime ends when the volatility falls below (1 - `margin`) *
    `above`.
    """

    above: Annotated[float, bounds(0, 10, percent=True)]
    exposure: Annotated[float, bounds(0, 1, percent=True)]
    lookback: Annotated[int, bounds(20, 252)] = 20
    margin: Annotated[float, bounds(0, 0.9, percent=True)] = 0.1


class Risk(Limits):
    """The house, the whole account: its limits, and the settings that only the house has."""

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
    """Return the levels of alerts in a key of [alerts], which must include CRITICAL."""
    if "CRITICAL" not in value:
        wrong("has no CRITICAL, which is always sent", 'add "CRITICAL"')
    return value


def _some_hours(value: str) -> str:
    """Return quiet hours, which must not end at the minute of their begin."""
    if value and value[:5] == value[6:]:
        wrong("lasts no minute", "write two times that differ, or remove it")
    return value


class DeadMan(Section):
    """A heartbeat: a request to `url` in each interval `every` while the daemon is ready and bars arrive.

    The receiver raises an alarm when the heartbeat does not come.
    """

    url: Annotated[str, pattern(r"https://\S+|http://(127\.0\.0\.1|localhost|\[::1\])[:/]\S*", '"https://…"')]
    every_ns: Annotated[int, duration("1s", "1h"), Written()] = Field(default=60 * 10**9, alias="every")


class NoticeTable(Section):
    """Alerts about events that no limit covers; 0 is off.

    `milestone` is the growth of the account between two milestones, as a fraction. `decay` is the number of samples
    over which a policy's Sharpe ratio is compared with the ratio in its test. `correlation` is the change of the mean
    correlation of the holdings that causes an alert.
    """

    milestone: Annotated[float, bounds(0.0, 10.0)] = 0.0
    decay: Annotated[int, bounds(0, 252)] = 0
    correlation: Annotated[float, bounds(0.0, 2.0)] = 0.0
    rebalances: bool = False


class Alerts(Section):
    """Alerts: levels, quiet hours, reminders and receivers. `sinks` maps a kind of receiver to its options.

    An incident that nobody acknowledges is repeated after `remind` (0 s: never), and sent to the next sink of
    `escalate` after each `escalate_after`. `group` is the time for which sinks and the topic alert_groups collect
    alerts of one kind and level. Each text of `alarms` is a figure of the account with a bound, such as
    "drawdown > 0.1".
    """

    levels: Annotated[tuple[AlertLevel, ...], AfterValidator(_levels)] = ("INFO", "WARNING", "CRITICAL")
    per_minute: Annotated[int, bounds(1, 10_000)] = 60
    quiet_hours: Annotated[
        str,
        pattern(r"|([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d", '"22:00-07:00"'),
        AfterValidator(_some_hours),
    ] = ""
    quiet_levels: tuple[Literal["INFO", "WARNING"], ...] = ("INFO",)
    timezone: Zone = "UTC"
    remind_ns: Annotated[int, duration("0s", "30d"), Written()] = Field(default=3_600 * 10**9, alias="remind")
    group_ns: Annotated[int, duration("0s", "10m"), Written(), START] = Field(default=0, alias="group")
    escalate: Annotated[tuple[str, ...], distinct(), START] = ()
    escalate_after_ns: Annotated[int, duration("1s", "1d"), Written()] = Field(
        default=900 * 10**9, alias="escalate_after"
    )
    alarms: Annotated[tuple[str, ...], AfterValidator(alarm_texts)] = ()
    dead_man: Annotated[DeadMan | None, START] = None
    notices: Annotated[NoticeTable, START] = NoticeTable()
    sinks: Annotated[dict[str, dict[str, Any]], START] = {}
