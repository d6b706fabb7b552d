"""The keys of `[risk]` and of an agent's `limits`, with the range of plausible values.

A missing key is None here: `quantd.risk.limits.catalogue` applies the profile and the limits that are always on.
"""

from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from quantd.daemon.config.values import (
    Collar,
    Fraction,
    Money,
    Multiple,
    Section,
    Share,
    Written,
    bounds,
    checked,
    duration,
    wrong,
)
from quantd.trading.instruments import NANO

Confidence = Annotated[float, bounds(0.5, 0.999, percent=True)]
Lookback = Annotated[int, bounds(20, 5_000)]


class Tail(Section):
    """VaR or CVaR: a loss, as a fraction of equity, over `horizon` samples."""

    limit: Share
    method: Literal["historical", "filtered", "parametric", "ewma"] = "historical"
    confidence: Confidence = 0.95
    horizon: Annotated[int, bounds(1, 60)] = 1
    lookback: Lookback = 252


class Correlation(Section):
    """Pairs with a correlation above `threshold` may have a joint weight of at most `joint_weight`.

    The limit applies to pairs in which each weight exceeds `min_weight`.
    """

    threshold: Annotated[float, bounds(0, 1, above=True, percent=True)] = 0.7
    joint_weight: Share = 0.5
    min_weight: Fraction = 0.05
    lookback: Lookback = 252
    strict: bool = False


class Rate(Section):
    """After `orders` orders within `per`, no order that adds risk is sent."""

    orders: Annotated[int, bounds(1, 1_000_000)]
    per_ns: Annotated[int, duration("1s", "7d"), Written()] = Field(default=60_000_000_000, alias="per")


class Liquidity(Section):
    """A position must be sold within `days` sessions at `participation` of the average volume."""

    days: Annotated[float, bounds(0, 250, above=True)]
    participation: Share = 0.1


class Protective(Section):
    """Exits that no policy can delay, below or above the entry price. `at_venue`: stop orders are open at the venue."""

    stop_loss: Share | None = None
    take_profit: Annotated[float, bounds(0, 10, above=True, percent=True)] | None = None
    trailing: bool = False
    cooldown: Annotated[int, bounds(0, 1_000)] = 5
    at_venue: bool = False


class Move(Section):
    """The move of one symbol, one sector, or with "*" everything else in a shock: -0.2 is a fall of 20 %."""

    of: str
    by: Annotated[float, bounds(-1, 10)]


class ShockTable(Section):
    """A user-defined stress scenario."""

    name: str
    moves: tuple[Move, ...]


class Stress(Section):
    """No scenario may lose more than `limit`; scenarios are built-in ones or those of [[risk.shocks]]."""

    limit: Share
    scenarios: tuple[str, ...] = ("2008", "2020", "2022", "rates+200bp")


class GroupCap(Section):
    """A cap on one of [[universe.groups]]."""

    group: str
    cap: Share


class Limits(Section):
    """Limits of the house or of an agent, as fractions of its own equity."""

    collar: Collar | None = None
    reduce_collar: Collar | None = None
    flatten_collar: Collar | None = None
    max_price_age_ns: Annotated[int, duration("1s", "14d"), Written()] | None = Field(
        default=None, alias="max_price_age"
    )
    in_flight: Fraction | None = None
    max_cash_debit: Fraction | None = None
    cash_reserve: Fraction | None = None
    min_history: Annotated[int, bounds(20, 5_000)] | None = None
    max_position_weight: Share | None = None
    max_gross_exposure: Multiple | None = None
    max_net_exposure: Multiple | None = None
    max_leverage: Multiple | None = None
    max_order_notional_micro: Money | None = Field(default=None, alias="max_order_notional")
    max_share_of_volume: Share | None = None
    liquidity: Liquidity | None = None
    order_rate: Rate | None = None
    duplicate_window_ns: Annotated[int, duration("1ms", "1d"), Written()] | None = Field(
        default=None, alias="duplicate_window"
    )
    allow_short: bool | None = None
    restricted: tuple[str, ...] | None = None
    max_sector_weight: Share | None = None
    group_caps: tuple[GroupCap, ...] | None = None
    max_concentration: Share | None = None
    max_herfindahl: Share | None = None
    max_turnover: Annotated[float, bounds(0, 4, above=True, percent=True)] | None = None
    max_volatility: Annotated[float, bounds(0, 2, above=True, percent=True)] | None = None
    volatility_lookback: Lookback | None = None
    var: Tail | None = None
    cvar: Tail | None = None
    stress: Stress | None = None
    correlation: Correlation | None = None
    protective: Protective | None = None
    max_drawdown: Share | None = None
    max_daily_loss: Share | None = None
    max_weekly_loss: Share | None = None
    max_open_orders: Annotated[int, bounds(1, 100_000)] | None = None
    max_realised_volatility: Annotated[float, bounds(0, 2, above=True, percent=True)] | None = None
    min_diversification: Fraction | None = None
    min_sharpe: Annotated[float, bounds(0, 10)] | None = None


class LimitKey(NamedTuple):
    """A key of `[risk]`, of an agent's `limits` and of `[manual.limits]`, declared by the record of a limit.

    Its value is a number from `low` to `high`; `above` excludes `low`. `percent`: 15 probably means 0.15. `floor`: the
    larger value is the tighter one.
    """

    key: str
    low: float
    high: float
    above: bool = False
    percent: bool = False
    floor: bool = False


def _rearm(value: str) -> None:
    if value != "never" and not (value.isascii() and value.isdigit() and 1 <= int(value) <= 100_000):
        wrong("is not valid", 'write "never" or a number of samples, "21"')


class History(Section):
    """Length of the history that a running daemon holds in memory; the store has all of it."""

    portfolio: Annotated[int, bounds(1, 1_000_000)] = 10_000
    risk: Annotated[int, bounds(1, 1_000_000)] = 5_000
    allocations: Annotated[int, bounds(1, 1_000_000)] = 5_000


class Risk(Limits):
    """The house: its limits, and the settings that only the house has."""

    shocks: tuple[ShockTable, ...] = ()
    profile: str | None = None
    volume_lookback: Annotated[int, bounds(1, 252)] = 20
    follow_ups: Annotated[int, bounds(0, 100)] | None = None
    max_failures: Annotated[int, bounds(1, 1_000)] = 3
    rearm: Annotated[str, checked(_rearm)] | None = None
    flatten_on: tuple[Literal["drawdown", "daily_loss", "weekly_loss"], ...] | None = None
    history: History = History()
    monitor_interval_ns: Annotated[int, duration("1s", "1d"), Written()] = Field(
        default=300_000_000_000, alias="monitor_interval"
    )
    max_loop_lag_ns: Annotated[int, duration("100ms", "60s"), Written()] = Field(default=5 * NANO, alias="max_loop_lag")
    max_clock_jump_ns: Annotated[int, duration("100ms", "1h"), Written()] = Field(
        default=2 * NANO, alias="max_clock_jump"
    )
    max_missed_bars: Annotated[int, bounds(1, 10)] = 2


LOOSER_WHEN_HIGHER = frozenset(
    {
        "collar", "reduce_collar", "flatten_collar", "max_price_age", "in_flight", "max_cash_debit", "follow_ups",
        "max_position_weight", "max_gross_exposure", "max_net_exposure", "max_order_notional", "max_share_of_volume",
        "allow_short", "max_sector_weight", "max_concentration", "max_turnover", "max_volatility", "max_drawdown",
        "max_daily_loss", "max_weekly_loss", "max_open_orders", "limit", "joint_weight", "threshold",
        "min_weight", "max_leverage", "max_herfindahl", "days", "participation", "orders", "cap",
        "max_realised_volatility", "stop_loss", "take_profit", "max_loop_lag", "max_clock_jump", "max_missed_bars",
        "max_account_notional", "max_orders_per_day",
    }
)  # fmt: skip
"""Keys whose value may only fall while positions are open."""

LOOSER_WHEN_LOWER = frozenset(
    {
        "cash_reserve", "min_history", "confidence", "horizon", "strict", "duplicate_window", "per", "trailing",
        "cooldown", "at_venue", "min_diversification", "min_sharpe",
    }
)  # fmt: skip
"""Keys whose value may only rise while positions are open."""
