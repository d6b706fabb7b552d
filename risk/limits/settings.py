"""The values of a set of limits: one field per limit, and the tables that some limits use."""

from math import inf, isfinite
from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Struct, UnsetType

from quantd.risk.limits.bounds import Bounds, Fraction, Lookback, Share, Span, higher, lower, unmergeable
from quantd.risk.measures.stress import SHIPPED, Shock

DAY_NS: Final = 86_400_000_000_000

NO_COLLAR: Final = 1.0
"""The collar of orders that fill at any price: nothing is 100 % below the last price."""

Method = Literal["historical", "filtered", "parametric", "ewma"]
"""Estimators of VaR and CVaR that the gate can bound over every partial fill."""


class Tail(Struct, frozen=True, forbid_unknown_fields=True):
    """A limit on VaR or CVaR, as a fraction of equity, over the last `lookback` synchronous returns.

    The method `historical` applies the unchanged returns to the portfolio, `filtered` the returns rescaled to present
    volatility. `parametric` assumes a normal distribution with a shrunk covariance (Ledoit-Wolf), `ewma` one with an
    exponentially weighted covariance. `horizon` in samples scales the measure by its square root. Raises ValueError for
    a confidence outside [0.5, 1).
    """

    limit: Share
    method: Annotated[Method, unmergeable] = "historical"
    confidence: Annotated[float, Bounds(0.5, 0.999, percent=True), higher] = 0.95
    horizon: Annotated[int, Bounds(1, 60), higher] = 1
    lookback: Lookback = 252

    def __post_init__(self) -> None:
        _check(self, horizon=(1, 10_000), lookback=(2, 100_000))
        if not 0.5 <= self.confidence < 1.0:
            raise ValueError(f"confidence = {self.confidence} must lie in [0.5, 1)")


class Correlation(Struct, frozen=True, forbid_unknown_fields=True):
    """A limit on the joint weight of two correlated instruments.

    Two instruments that each weigh more than `min_weight` may weigh `joint_weight` together. They count as correlated
    if the correlation is above `threshold` and they are on the same side, or below -`threshold` and they are on
    opposite sides. With `strict` only one of them may weigh more than `min_weight`.
    """

    threshold: Share = 0.7
    joint_weight: Share = 0.5
    min_weight: Fraction = 0.05
    lookback: Lookback = 252
    strict: Annotated[bool, higher] = False

    def __post_init__(self) -> None:
        _check(self, threshold=(0.0, 1.0), lookback=(2, 100_000))


class Stress(Struct, frozen=True, forbid_unknown_fields=True):
    """A limit on stress losses: no scenario of `shocks` may lose more than `limit`, a fraction of equity.

    Raises ValueError if there is no scenario.
    """

    limit: float
    shocks: tuple[Shock, ...]

    def __post_init__(self) -> None:
        _check(self)
        if not self.shocks:
            raise ValueError("shocks must name at least one scenario")


class StressTable(Struct, frozen=True):
    """The value of `stress` in config.toml. `scenarios` are names of built-in scenarios or of [[risk.shocks]]."""

    limit: Share
    scenarios: Annotated[tuple[str, ...], unmergeable] = tuple(SHIPPED)


class GroupCap(Struct, frozen=True):
    """An entry of `group_caps` in config.toml: the limit on the weight of one group of [[universe.groups]]."""

    group: str
    cap: Share


class Rate(Struct, frozen=True, forbid_unknown_fields=True):
    """A limit on the rate of orders: at most `orders` within `per_ns`.

    Reducing orders count, but only orders that add risk are refused.
    """

    orders: Annotated[int, Bounds(1, 1_000_000), lower]
    per_ns: Annotated[int, Span("1s", "7d"), higher] = 60_000_000_000

    def __post_init__(self) -> None:
        _check(self, orders=(1, 1_000_000), per_ns=(1, 7 * DAY_NS))


class AccountCap(Struct, frozen=True, forbid_unknown_fields=True):
    """An absolute cap on a live account: `money` in account currency, and `limit`, the same amount as a fraction of the
    present equity.

    The fraction is computed anew for each plan, so that a changed equity does not change the amount.
    """

    limit: float
    money: float

    def __post_init__(self) -> None:
        _check(self)


class Ramp(Struct, frozen=True, forbid_unknown_fields=True):
    """A limit that rises after a live start: gross exposure of at most the fraction `limit` of equity in session
    number `session` of the first `days` sessions."""

    limit: float
    session: int
    days: int

    def __post_init__(self) -> None:
        _check(self, session=(1, 10_000_000), days=(0, 10_000))


class Liquidity(Struct, frozen=True, forbid_unknown_fields=True):
    """A limit on position sizes: a position must be small enough to be sold within `days` sessions at
    `participation` of the average volume."""

    days: Annotated[float, Bounds(0, 250, above=True), lower]
    participation: Share = 0.1

    def __post_init__(self) -> None:
        _check(self, days=(0.0, 1_000.0), participation=(0.0, 1.0))


class Protective(Struct, frozen=True, forbid_unknown_fields=True):
    """Protective exits, which no policy can delay, as fractions of a price; None is off.

    `stop_loss` is the distance below the entry price, or with `trailing` below the best price since entry;
    `take_profit` is the distance above the entry price. After an exit the symbol is blocked for `cooldown` samples.
    With `at_venue`, stop orders are sent to the venue.
    """

    stop_loss: Share | None = None
    take_profit: Annotated[float, Bounds(0, 10, above=True, percent=True), lower] | None = None
    trailing: Annotated[bool, higher] = False
    cooldown: Annotated[int, Bounds(0, 1_000), higher] = 5
    at_venue: Annotated[bool, higher] = False

    def __post_init__(self) -> None:
        _check(self, stop_loss=(0.0, 1.0), cooldown=(0, 10_000))


BY_VOLUME: Final = ("max_share_of_volume", "liquidity")
"""The keys of the limits by average volume: with one of them on, a symbol without a volume is not traded."""


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """One set of risk limits. None is off; fractions are of the equity of the book.

    These limits are always on: finite inputs, price age, worst price, duplicates and cash. The worst price is set by
    `collar`, for reducing orders by `reduce_collar`, and for those at a stale price by at most `flatten_collar`;
    NO_COLLAR is no limit. `fee_bp` is the largest commission of a fill in basis points; cash for it is reserved. Raises
    ValueError with the key of an implausible value.
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
    """(key, value) of each limit without a field here, sorted; not encoded when unset."""

    @property
    def by_volume(self) -> tuple[str, ...]:
        """Return the keys of the limits by volume (BY_VOLUME) that are on."""
        return tuple(key for key in BY_VOLUME if getattr(self, key) is not None)

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of bounds, and for a lookback shorter than `min_history`."""
        _check(self, **_RANGES)
        parts = {"group_caps": self.group_caps, "extra": self.extra or ()}
        for name, value in ((f"{part}.{key}", value) for part, pairs in parts.items() for key, value in pairs):
            _within(name, value, 0.0, inf)
        lookbacks = {"var": self.var, "cvar": self.cvar, "correlation": self.correlation}
        for name, spec in lookbacks.items():
            if spec is not None and spec.lookback < self.min_history:
                raise ValueError(f"{name}.lookback = {spec.lookback} is shorter than min_history = {self.min_history}")
        averaged = any(key == "average_correlation" for key, _ in self.extra or ())
        if (self.max_volatility is not None or averaged) and self.volatility_lookback < self.min_history:
            raise ValueError(
                f"volatility_lookback = {self.volatility_lookback} is shorter than min_history = {self.min_history}"
            )


_RANGES: Final[dict[str, tuple[float, float]]] = {
    **dict.fromkeys(("collar", "reduce_collar", "flatten_collar"), (0.0, NO_COLLAR)),
    **dict.fromkeys(("min_history", "volatility_lookback"), (2, 100_000)),
    "fee_bp": (0.0, 10_000.0),
    **dict.fromkeys(
        ("cash_reserve", "max_drawdown", "max_daily_loss", "max_weekly_loss", "max_share_of_volume"), (0.0, 1.0)
    ),
    "min_diversification": (0.0, 1.0),
}


def _check(table: Struct, **ranges: tuple[float, float]) -> None:
    """Raise ValueError for a number of the table outside its range, which is 0 to infinity by default."""
    for name in table.__struct_fields__:
        value = getattr(table, name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            _within(name, value, *ranges.get(name, (0.0, inf)))


def _within(name: str, value: float, low: float, high: float) -> None:
    """Raise ValueError for a value outside `low` to `high`, or not finite."""
    if not (isfinite(value) and low <= value <= high):
        raise ValueError(f"{name} = {value} must be a number in [{low:g}, {high:g}]")


FIELDS: Final = frozenset(Limits.__struct_fields__) - {"extra"}
"""Keys that are fields of `Limits`."""


def reserved(collar: float) -> float:
    """Return how far above the last price an order may pay, as a fraction; the gate reserves cash for it.

    Without a collar (limit distance) the price is not bounded. The order then counts at the last price, and if the fill
    costs more, cash may fall below its floor by the difference.
    """
    return 0.0 if collar >= NO_COLLAR else collar


def value_of(limits: Limits, key: str) -> Any:
    """Return the value of the limit `key`, whether it is a field of `Limits` or in `extra`; None where it is off."""
    if key in FIELDS:
        return getattr(limits, key)
    return dict(() if limits.extra is UNSET else limits.extra).get(key)


def bound_of(limits: Limits, key: str) -> float:
    """Return the number that the limit `key` sets; NaN where it is off or not a number."""
    spec = value_of(limits, key)
    for name in ("limit", "days", "orders", "joint_weight"):
        spec = getattr(spec, name, spec)
    return float(spec) if isinstance(spec, int | float) and not isinstance(spec, bool) else float("nan")
