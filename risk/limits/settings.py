"""The values of a set of limits: one field for each limit, and the tables that some of them have."""

from math import isfinite
from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Struct, UnsetType

from quantd.risk.limits.bounds import Bounds, Fraction, Lookback, Share, Span, higher, lower, unmergeable
from quantd.risk.measures.stress import SHIPPED, Shock

DAY_NS: Final = 86_400_000_000_000

Method = Literal["historical", "filtered", "parametric", "ewma"]
"""Estimators of VaR and CVaR that have a bound over partial fills."""


class Tail(Struct, frozen=True, forbid_unknown_fields=True):
    """A limit on a tail of losses, as a fraction of equity, over the last `lookback` synchronous returns.

    `historical`: the returns as they were, on the portfolio as it would be; `filtered`: each rescaled to its
    instrument's volatility now; `parametric`: normal, with a shrunk covariance (Ledoit-Wolf); `ewma`: normal, with an
    exponentially weighted one. `horizon` in samples scales by its square root.
    """

    limit: Share
    method: Annotated[Method, unmergeable] = "historical"
    confidence: Annotated[float, Bounds(0.5, 0.999, percent=True), higher] = 0.95
    horizon: Annotated[int, Bounds(1, 60), higher] = 1
    lookback: Lookback = 252

    def __post_init__(self) -> None:
        _check("limit", self.limit, 0.0, float("inf"))
        if not 0.5 <= self.confidence < 1.0:
            raise ValueError(f"confidence = {self.confidence} must lie in [0.5, 1)")
        _check("horizon", self.horizon, 1, 10_000)
        _check("lookback", self.lookback, 2, 100_000)


class Correlation(Struct, frozen=True, forbid_unknown_fields=True):
    """Two instruments that move together (correlation above `threshold` on the same side, below
    -`threshold` on opposite ones) and each weigh more than `min_weight` may weigh `joint_weight`
    together; `strict`: may not be held together at all."""

    threshold: Share = 0.7
    joint_weight: Share = 0.5
    min_weight: Fraction = 0.05
    lookback: Lookback = 252
    strict: Annotated[bool, higher] = False

    def __post_init__(self) -> None:
        _check("threshold", self.threshold, 0.0, 1.0)
        _check("joint_weight", self.joint_weight, 0.0, float("inf"))
        _check("min_weight", self.min_weight, 0.0, float("inf"))
        _check("lookback", self.lookback, 2, 100_000)


class Stress(Struct, frozen=True, forbid_unknown_fields=True):
    """No scenario of `shocks` may lose more than `limit`, a fraction of equity."""

    limit: float
    shocks: tuple[Shock, ...]

    def __post_init__(self) -> None:
        _check("limit", self.limit, 0.0, float("inf"))
        if not self.shocks:
            raise ValueError("shocks must name at least one scenario")


class StressTable(Struct, frozen=True):
    """`stress` in config.toml. `scenarios` are built-in ones or those of [[risk.shocks]]."""

    limit: Share
    scenarios: Annotated[tuple[str, ...], unmergeable] = tuple(SHIPPED)


class GroupCap(Struct, frozen=True):
    """An entry of `group_caps` in config.toml: the cap of one of [[universe.groups]]."""

    group: str
    cap: Share


class Rate(Struct, frozen=True, forbid_unknown_fields=True):
    """No order that adds risk is sent beyond `orders` within `per_ns`; orders that reduce count."""

    orders: Annotated[int, Bounds(1, 1_000_000), lower]
    per_ns: Annotated[int, Span("1s", "7d"), higher] = 60_000_000_000

    def __post_init__(self) -> None:
        _check("orders", self.orders, 1, 1_000_000)
        _check("per_ns", self.per_ns, 1, 7 * DAY_NS)


class AccountCap(Struct, frozen=True, forbid_unknown_fields=True):
    """What is bounded, long and short value together or what may be bought, may be `money` (account currency) at most,
    which is `limit` of the equity now: the share is made anew for each plan, so that what the account is worth, or is
    said to be, does not move the money."""

    limit: float
    money: float

    def __post_init__(self) -> None:
        _check("limit", self.limit, 0.0, float("inf"))
        _check("money", self.money, 0.0, float("inf"))


class Ramp(Struct, frozen=True, forbid_unknown_fields=True):
    """Long and short together may be `limit` of equity at most while a live start is in its `session` of `days`."""

    limit: float
    session: int
    days: int

    def __post_init__(self) -> None:
        _check("limit", self.limit, 0.0, float("inf"))
        _check("session", self.session, 1, 10_000_000)
        _check("days", self.days, 0, 10_000)


class Liquidity(Struct, frozen=True, forbid_unknown_fields=True):
    """A position must be sold within `days` sessions, taking `participation` of the average volume."""

    days: Annotated[float, Bounds(0, 250, above=True), lower]
    participation: Share = 0.1

    def __post_init__(self) -> None:
        _check("days", self.days, 0.0, 1_000.0)
        _check("participation", self.participation, 0.0, 1.0)


class Protective(Struct, frozen=True, forbid_unknown_fields=True):
    """When a position is closed whatever its policy wants: `stop_loss` below the entry price (`trailing`: below the
    best price since), `take_profit` above it, as fractions; None is off. It is not entered again for `cooldown`
    samples.
    `at_venue`: the stop rests at the venue."""

    stop_loss: Share | None = None
    take_profit: Annotated[float, Bounds(0, 10, above=True, percent=True), lower] | None = None
    trailing: Annotated[bool, higher] = False
    cooldown: Annotated[int, Bounds(0, 1_000), higher] = 5
    at_venue: Annotated[bool, higher] = False

    def __post_init__(self) -> None:
        _check("stop_loss", self.stop_loss, 0.0, 1.0)
        _check("take_profit", self.take_profit, 0.0, float("inf"))
        _check("cooldown", self.cooldown, 0, 10_000)


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """One set of limits. None is off; fractions are of the equity of the book the set belongs to.

    Always on: finite inputs, price age, worst price (`collar`, for reducing orders `reduce_collar`, on a
    stale price at most `flatten_collar`), duplicate intent and cash. `fee_bp` is the most a fill can cost in
    commission; cash for it is reserved. Raises ValueError naming the key of a value that cannot be meant.
    """

    collar: float = 0.05
    reduce_collar: float = 0.15
    flatten_collar: float = 0.10
    max_price_age_ns: int = 4 * DAY_NS
    in_flight: float = 0.0
    max_cash_debit: float = 0.0
    cash_reserve: float = 0.0
    min_history: int = 60
    fee_bp: float = 0.0
    duplicate_window_ns: int = 1_000_000_000
    allow_short: bool = True
    restricted: tuple[str, ...] = ()
    max_position_weight: float | None = None
    max_gross_exposure: float | None = None
    max_net_exposure: float | None = None
    max_leverage: float | None = None
    max_sector_weight: float | None = None
    group_caps: tuple[tuple[str, float], ...] = ()
    max_concentration: float | None = None
    max_herfindahl: float | None = None
    max_account_notional: AccountCap | None = None
    ramp: Ramp | None = None
    buying_power: AccountCap | None = None
    no_borrow: tuple[str, ...] = ()
    max_order_notional: float | None = None
    max_share_of_volume: float | None = None
    liquidity: Liquidity | None = None
    max_turnover: float | None = None
    order_rate: Rate | None = None
    max_open_orders: int | None = None
    max_orders_per_day: int | None = None
    max_volatility: float | None = None
    volatility_lookback: int = 252
    var: Tail | None = None
    cvar: Tail | None = None
    stress: Stress | None = None
    correlation: Correlation | None = None
    protective: Protective | None = None
    max_drawdown: float | None = None
    max_daily_loss: float | None = None
    max_weekly_loss: float | None = None
    max_realised_volatility: float | None = None
    min_diversification: float | None = None
    min_sharpe: float | None = None
    extra: tuple[tuple[str, float], ...] | UnsetType = UNSET
    """(key, value) of each limit that is on and has no field here, in order of keys; unset, and not encoded, without
    any."""

    def __post_init__(self) -> None:
        for name in ("collar", "reduce_collar", "flatten_collar"):
            _check(name, getattr(self, name), 0.0, 0.99)
        _check("fee_bp", self.fee_bp, 0.0, 10_000.0)
        _check("cash_reserve", self.cash_reserve, 0.0, 1.0)
        _check("min_history", self.min_history, 2, 100_000)
        _check("volatility_lookback", self.volatility_lookback, 2, 100_000)
        for name in ("max_drawdown", "max_daily_loss", "max_weekly_loss", "max_share_of_volume", "min_diversification"):
            _check(name, getattr(self, name), 0.0, 1.0)
        for group, cap in self.group_caps:
            _check(f"group_caps.{group}", cap, 0.0, float("inf"))
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                _check(name, value, 0.0, float("inf"))
        for name, value in self.extra or ():
            _check(f"extra.{name}", value, 0.0, float("inf"))
        lookbacks = {"var": self.var, "cvar": self.cvar, "correlation": self.correlation}
        for name, spec in lookbacks.items():
            if spec is not None and spec.lookback < self.min_history:
                raise ValueError(f"{name}.lookback = {spec.lookback} is shorter than min_history = {self.min_history}")
        if self.max_volatility is not None and self.volatility_lookback < self.min_history:
            raise ValueError(
                f"volatility_lookback = {self.volatility_lookback} is shorter than min_history = {self.min_history}"
            )


def _check(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not (isfinite(value) and low <= value <= high):
        raise ValueError(f"{name} = {value} must be a number in [{low:g}, {high:g}]")


FIELDS: Final = frozenset(Limits.__struct_fields__) - {"extra"}
"""Keys that are fields of `Limits`."""


def value_of(limits: Limits, key: str) -> Any:
    """The value of a limit, whether it has a field or not; None where it is off."""
    if key in FIELDS:
        return getattr(limits, key)
    return dict(() if limits.extra is UNSET else limits.extra).get(key)


def bound_of(limits: Limits, key: str) -> float:
    """The bound that a limit sets; not-a-number where it is no number, as for a list of names, and where it is off."""
    spec = value_of(limits, key)
    for name in ("limit", "days", "orders", "joint_weight"):
        spec = getattr(spec, name, spec)
    return float(spec) if isinstance(spec, int | float) and not isinstance(spec, bool) else float("nan")
