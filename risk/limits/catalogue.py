"""What may be set: the limits, the profiles, and the reasons a verdict can give.

A limit is a key of `Limits` here and one function in `quantd.risk.limits.ruleset`.
"""

from difflib import get_close_matches
from enum import IntEnum
from math import isfinite
from typing import Annotated, Any, Final, Literal, get_args, get_type_hints

import msgspec
from msgspec import Meta, Struct

from quantd.risk.measures.stress import Shock

DAY_NS: Final = 86_400_000_000_000


class Reason(IntEnum):
    """Why an order was cut or refused. Codes are journalled: add at the end, change none."""

    NONE = 0
    POSITION_WEIGHT = 1
    GROSS = 2
    CASH = 3
    ORDER_NOTIONAL = 4
    PRICE_AGE = 5
    PRICE_MISSING = 6
    WORST_PRICE = 7
    HISTORY = 8
    NOT_FINITE = 9
    VAR = 10
    CVAR = 11
    VOLATILITY = 12
    CORRELATION = 13
    NET = 14
    SHORT = 15
    RESTRICTED = 16
    CONCENTRATION = 17
    SECTOR = 18
    TURNOVER = 19
    SHARE_OF_VOLUME = 20
    OPEN_ORDERS = 21
    SWITCH = 22
    ZERO_CROSSING = 23
    EQUITY = 24
    LEVERAGE = 25
    HERFINDAHL = 26
    GROUP = 27
    SECTOR_MISSING = 28
    VOLUME_MISSING = 29
    LIQUIDITY = 30
    ORDER_RATE = 31
    DUPLICATE = 32
    PROTECTED = 33
    STRESS = 34
    SHOCK_MISSING = 35
    HALTED = 36
    ACCOUNT_NOTIONAL = 37
    RAMP = 38
    ORDERS_PER_DAY = 39
    BUYING_POWER = 40
    NO_BORROW = 41


REASON_TEXT: Final[dict[Reason, str]] = {
    Reason.NONE: "as asked",
    Reason.POSITION_WEIGHT: "the position would weigh more than max_position_weight",
    Reason.GROSS: "long and short exposure together would exceed max_gross_exposure",
    Reason.CASH: "cash at worst prices with fees, sales not counted, would fall below what must stay",
    Reason.ORDER_NOTIONAL: "the order at its worst price would exceed max_order_notional",
    Reason.PRICE_AGE: "the last price is older than max_price_age",
    Reason.PRICE_MISSING: "there is no price",
    Reason.WORST_PRICE: "no price on the tick grid lies between the last price and the collar",
    Reason.HISTORY: "fewer than min_history synchronous returns are known",
    Reason.NOT_FINITE: "an input is not a finite number",
    Reason.VAR: "value at risk would exceed its limit",
    Reason.CVAR: "expected shortfall would exceed its limit",
    Reason.VOLATILITY: "annual volatility would exceed max_volatility",
    Reason.CORRELATION: "too much would be held in two instruments that move together",
    Reason.NET: "net exposure would exceed max_net_exposure",
    Reason.SHORT: "short selling is not allowed",
    Reason.RESTRICTED: "the instrument is on the restricted list",
    Reason.CONCENTRATION: "one asset, in all its instruments, would weigh more than max_concentration",
    Reason.SECTOR: "the sector would weigh more than max_sector_weight",
    Reason.TURNOVER: "more than max_turnover would be traded in this session",
    Reason.SHARE_OF_VOLUME: "the order would exceed max_share_of_volume of the average volume",
    Reason.OPEN_ORDERS: "more than max_open_orders would be open",
    Reason.SWITCH: "the switch passes only reducing orders, or none",
    Reason.ZERO_CROSSING: "the order would cross zero, pending fills counted: cut at zero",
    Reason.EQUITY: "equity at worst prices would not be above zero, or too low for the weights of what is held and on order",
    Reason.LEVERAGE: "borrowed money or shares would exceed max_leverage",
    Reason.HERFINDAHL: "the sum of squared weights would exceed max_herfindahl",
    Reason.GROUP: "a group of instruments would weigh more than its cap",
    Reason.SECTOR_MISSING: "the instrument names no sector, and max_sector_weight is on",
    Reason.VOLUME_MISSING: "no volume is known",
    Reason.LIQUIDITY: "the position would take longer to unwind than liquidity.days",
    Reason.ORDER_RATE: "more orders than order_rate would have been sent",
    Reason.DUPLICATE: "the same was asked for a moment ago",
    Reason.PROTECTED: "a protective exit closed this position; its cooldown is not over",
    Reason.STRESS: "a stress scenario would lose more than stress.limit",
    Reason.SHOCK_MISSING: "a stress scenario says nothing about this instrument",
    Reason.HALTED: "the venue does not trade it now: it is halted, or at a limit up or down",
    Reason.ACCOUNT_NOTIONAL: "long and short value together would exceed max_account_notional",
    Reason.RAMP: "the ramp of a live start does not let so much be held yet",
    Reason.ORDERS_PER_DAY: "more than max_orders_per_day would have been sent in this session",
    Reason.BUYING_POWER: "it could cost more than the venue's buying power, less what was sent since it was asked",
    Reason.NO_BORROW: "the venue lends no units of it, so it cannot be sold short",
}


Method = Literal["historical", "filtered", "parametric", "ewma"]
"""Estimators of VaR and CVaR that have a bound over partial fills."""


class Tail(Struct, frozen=True, forbid_unknown_fields=True):
    """A limit on a tail of losses, as a fraction of equity, over the last `lookback` synchronous returns.

    `historical`: the returns as they were, on the portfolio as it would be; `filtered`: each rescaled to its
    instrument's volatility now; `parametric`: normal, with a shrunk covariance (Ledoit-Wolf); `ewma`: normal, with an
    exponentially weighted one. `horizon` in samples scales by its square root.
    """

    limit: float
    method: Method = "historical"
    confidence: float = 0.95
    horizon: int = 1
    lookback: int = 252

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

    threshold: float = 0.7
    joint_weight: float = 0.5
    min_weight: float = 0.05
    lookback: int = 252
    strict: bool = False

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


class Rate(Struct, frozen=True, forbid_unknown_fields=True):
    """No order that adds risk is sent beyond `orders` within `per_ns`; orders that reduce count."""

    orders: int
    per_ns: int = 60_000_000_000

    def __post_init__(self) -> None:
        _check("orders", self.orders, 1, 1_000_000)
        _check("per_ns", self.per_ns, 1, 7 * DAY_NS)


class AccountCap(Struct, frozen=True, forbid_unknown_fields=True):
    """What is bounded, long and short value together or what may be bought, may be `money` (account currency) at most, which
    is `limit` of the equity now: the share is made anew for each plan, so that what the account is worth, or is said to be,
    does not move the money."""

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

    days: float
    participation: float = 0.1

    def __post_init__(self) -> None:
        _check("days", self.days, 0.0, 1_000.0)
        _check("participation", self.participation, 0.0, 1.0)


class Protective(Struct, frozen=True, forbid_unknown_fields=True):
    """When a position is closed whatever its policy wants: `stop_loss` below the entry price (`trailing`: below the
    best price since), `take_profit` above it, as fractions; None is off. It is not entered again for `cooldown` samples.
    `at_venue`: the stop rests at the venue."""

    stop_loss: float | None = None
    take_profit: float | None = None
    trailing: bool = False
    cooldown: int = 5
    at_venue: bool = False

    def __post_init__(self) -> None:
        _check("stop_loss", self.stop_loss, 0.0, 1.0)
        _check("take_profit", self.take_profit, 0.0, float("inf"))
        _check("cooldown", self.cooldown, 0, 10_000)


BREACH: Final = Meta(extra={"alert": "breach"})
"""Marks a limit that a plan may use up by intention: people are told of a breach, not of a use."""

Used = Annotated[float | None, BREACH]


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """One set of limits. None is off; fractions are of the equity of the book the set belongs to.

    Always on: finite inputs, price age, worst price (`collar`, for reducing orders `reduce_collar`, on a
    stale price at most `flatten_collar`), duplicate intent and cash. `fee_bp` is the most a fill can cost in commission; cash
    for it is reserved. Raises ValueError naming the key of a value that cannot be meant.
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
    max_position_weight: Used = None
    max_gross_exposure: Used = None
    max_net_exposure: Used = None
    max_leverage: Used = None
    max_sector_weight: Used = None
    group_caps: Annotated[tuple[tuple[str, float], ...], BREACH] = ()
    max_concentration: Used = None
    max_herfindahl: Used = None
    max_account_notional: Annotated[AccountCap | None, BREACH] = None
    ramp: Annotated[Ramp | None, BREACH] = None
    buying_power: AccountCap | None = None
    no_borrow: tuple[str, ...] = ()
    max_order_notional: float | None = None
    max_share_of_volume: float | None = None
    liquidity: Liquidity | None = None
    max_turnover: Used = None
    order_rate: Rate | None = None
    max_open_orders: int | None = None
    max_orders_per_day: int | None = None
    max_volatility: float | None = None
    volatility_lookback: int = 252
    var: Tail | None = None
    cvar: Tail | None = None
    stress: Stress | None = None
    correlation: Annotated[Correlation | None, BREACH] = None
    protective: Protective | None = None
    max_drawdown: float | None = None
    max_daily_loss: float | None = None
    max_weekly_loss: float | None = None
    max_realised_volatility: float | None = None
    min_diversification: float | None = None
    min_sharpe: float | None = None

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


ON_BREACH: Final = frozenset(
    name for name, hint in get_type_hints(Limits, include_extras=True).items() if BREACH in get_args(hint)
)
"""Limits marked with BREACH."""

LOOSER_WHEN_SMALLER: Final = frozenset(
    {"cash_reserve", "min_history", "fee_bp", "duplicate_window_ns", "min_diversification", "min_sharpe"}
)
"""Keys whose larger value is the tighter one."""

_ESTIMATORS: Final = frozenset({"volatility_lookback"})
"""Keys that choose an estimator: neither value is tighter."""


def override(profile: Limits, **keys: Any) -> Limits:
    """`profile` with explicit keys in place of its own; None turns a limit off. TypeError names an unknown key."""
    for name in keys:
        if name not in Limits.__struct_fields__:
            near = get_close_matches(name, Limits.__struct_fields__)
            hint = f". Did you mean {near[0]}?" if near else ""
            raise TypeError(f"{name} is not a limit{hint}")
    return msgspec.structs.replace(profile, **keys)


def tightest(a: Limits, b: Limits) -> Limits:
    """The set that complies exactly where both do, for one book.

    ValueError when two estimators (method, confidence, horizon, lookback) differ: neither is the tighter.
    """
    return Limits(**{name: _tighter(name, getattr(a, name), getattr(b, name)) for name in Limits.__struct_fields__})


def tightest_exits(a: Protective | None, b: Protective | None) -> Protective | None:
    """The protective set that closes a position as soon as either does, and keeps it closed as long as either."""
    found: Protective | None = _tighter("protective", a, b)
    return found


def _tighter(name: str, a: Any, b: Any) -> Any:
    if a is None or b is None or a == b:
        return b if a is None else a
    if name in ("restricted", "no_borrow"):
        return tuple(sorted({*a, *b}))
    if isinstance(a, Tail):
        if msgspec.structs.replace(a, limit=b.limit) != b:
            raise ValueError(f"{name}: two estimators ({a} and {b}) cannot be merged; give both the same")
        return min(a, b, key=lambda tail: tail.limit)
    if isinstance(a, AccountCap | Ramp):
        return min(a, b, key=lambda cap: cap.limit)
    if isinstance(a, Correlation):
        if a.lookback != b.lookback:
            raise ValueError(f"correlation: lookbacks {a.lookback} and {b.lookback} cannot be merged")
        return Correlation(
            threshold=min(a.threshold, b.threshold),
            joint_weight=min(a.joint_weight, b.joint_weight),
            min_weight=min(a.min_weight, b.min_weight),
            lookback=a.lookback,
            strict=a.strict or b.strict,
        )
    if name == "group_caps":
        caps: dict[str, float] = {}
        for group, cap in (*a, *b):
            caps[group] = min(cap, caps.get(group, cap))
        return tuple(sorted(caps.items()))
    if isinstance(a, Stress):
        return Stress(min(a.limit, b.limit), (*a.shocks, *(shock for shock in b.shocks if shock not in a.shocks)))
    if isinstance(a, Rate):
        # of two windows neither need be the tighter: as many as either allows, in the longer one
        return Rate(min(a.orders, b.orders), max(a.per_ns, b.per_ns))
    if isinstance(a, Liquidity):
        return Liquidity(min(a.days, b.days), min(a.participation, b.participation))
    if isinstance(a, Protective):
        return Protective(
            stop_loss=_tighter("stop_loss", a.stop_loss, b.stop_loss),
            take_profit=_tighter("take_profit", a.take_profit, b.take_profit),
            trailing=a.trailing or b.trailing,
            cooldown=max(a.cooldown, b.cooldown),
            at_venue=a.at_venue or b.at_venue,
        )
    if name in _ESTIMATORS:
        raise ValueError(f"{name}: {a} and {b} cannot be merged; give both the same")
    return max(a, b) if name in LOOSER_WHEN_SMALLER else min(a, b)
