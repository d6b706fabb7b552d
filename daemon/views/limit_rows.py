"""Limits as rows of a table: what is measured, before and after, what is allowed, how much is left."""

from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from quantd.daemon.engine.planning.verdict_log import Judged
from quantd.risk.limits.catalogue import REASON_TEXT, Correlation, Limits, Reason, Tail
from quantd.risk.limits.values import FLOORS
from quantd.risk.pretrade.headroom import Figure, Most, figures_of, most, most_under, sent
from quantd.trading.instruments import Universe
from quantd.trading.orders import quantity_text


class LimitRow(Struct, frozen=True):
    """One limit of one book. `before` is what was held, `after` once the basket and all that was open have filled, at
    reference prices; `headroom` is what is left of the bound then (above it, for a `floor`), all in `unit`. `more` is how
    much more of the symbol this limit alone would let through after that, null where it is not known or another stops it
    first; `cut` marks the limit that cut the order."""

    limit: str
    words: str
    unit: str
    before: float | None
    after: float | None
    bound: float | None
    headroom: float | None
    use: float | None
    floor: bool
    cut: bool = False
    more: str | None = None


class Largest(Struct, frozen=True):
    """The most of one symbol that would have passed alone, and what stopped more; `qty` is null where nothing does."""

    side: str
    qty: str | None
    reason: str
    text: str


def row(
    key: str, limits: Limits, before: Figure | None, after: Figure | None, code: int = 0, more: str | None = None
) -> LimitRow:
    """A row from what was measured; what is not a number is null."""
    kind, floor = unit(key), key in FLOORS
    scale = 1.0 / HOUR_NS if kind == "hours" else 1.0
    last = after or before
    bound = _finite(last.bound * scale) if last is not None else None
    value = None if last is None else _finite(last.value * scale)
    left = None if bound is None or value is None else (value - bound if floor else bound - value)
    return LimitRow(
        limit=key,
        words=words(key, limits, last.about if last is not None else ""),
        unit=kind,
        before=None if before is None else _finite(before.value * scale),
        after=None if after is None else _finite(after.value * scale),
        bound=bound,
        headroom=left,
        use=value / bound if value is not None and bound is not None and bound > 0 and not floor else None,
        floor=floor,
        cut=bool(code) and is_of(key, code),
        more=more,
    )


def in_order(keys: Iterable[str]) -> list[str]:
    """Keys of limits in the order of `WORDS`, the weights first."""
    return sorted(keys, key=lambda key: (_PLACE.get(key.partition(".")[0], len(_PLACE)), key))


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def bound_of(limits: Limits, key: str) -> float:
    """The bound that a key of `Limits` sets; not-a-number where it is no number, as for a list of names."""
    spec = getattr(limits, key)
    for name in ("limit", "days", "orders", "joint_weight"):
        spec = getattr(spec, name, spec)
    return float(spec) if isinstance(spec, int | float) and not isinstance(spec, bool) else float("nan")


def recorded_rows(
    before: Mapping[str, tuple[float, float]], after: Mapping[str, tuple[float, float]], limits: Limits, code: int
) -> list[LimitRow]:
    """Rows of what the journal keeps of a verdict: of limits that hold for each symbol, the heaviest."""

    def known(values: Mapping[str, tuple[float, float]], key: str) -> Figure | None:
        return Figure(*values[key]) if key in values else None

    keys = in_order({*before, *after})
    return _with_cut([row(key, limits, known(before, key), known(after, key), code) for key in keys], limits, code)


def rows_of(judged: Judged, column: int) -> list[LimitRow]:
    """Rows of one symbol in one basket, measured anew on the state it was decided on."""
    ctx, account, limits, lots = judged.ctx, judged.account, judged.limits, judged.verdict.lots
    code = int(judged.verdict.reason[column])
    before = figures_of(ctx, account, limits, None, column)
    after = figures_of(ctx, account, limits, lots, column)
    then = sent(ctx, account, lots, limits)
    held = float(account.lots[column] + lots[column]) or float(judged.asked[column])
    side = 1 if held >= 0.0 else -1
    found = []
    for key in in_order({*before, *after}):
        more = None
        if "." not in key or key.startswith("group_caps."):
            left = most_under(ctx, then, limits, key, column, side)
            if left.bounded and is_of(key, left.reason):
                more = quantity_text(int(left.lots), ctx.universe.lot_nano[column])
        found.append(row(key, limits, before.get(key), after.get(key), code, more))
    return _with_cut(found, limits, code)


def _with_cut(rows: list[LimitRow], limits: Limits, code: int) -> list[LimitRow]:
    """A limit that measures nothing, such as the switch, has a row when it is the one that cut."""
    if not code or any(each.cut for each in rows):
        return rows
    return [*rows, row(LIMIT_OF[Reason(code)], limits, None, None, code)]


def largest_of(judged: Judged, column: int) -> Largest:
    """The most of the symbol, on the side that was asked, that the gate would have let through alone."""
    side = 1 if judged.asked[column] > 0.0 else -1
    found = most(judged.ctx, judged.account, judged.limits, column, side, judged.switch)
    return largest(found, side, judged.ctx.universe, column)


def largest(found: Most, side: int, universe: Universe, column: int) -> Largest:
    """As people read it."""
    return Largest(
        side="buy" if side > 0 else "sell",
        qty=quantity_text(int(found.lots), universe.lot_nano[column]) if found.bounded else None,
        reason=reason_name(found.reason),
        text=REASON_TEXT[found.reason] if found.bounded else "no limit that is on stops it",
    )


def reason_name(code: int) -> str:
    """Code of a reason as a word: 3 is "cash", 0 empty."""
    return "" if not code else Reason(code).name.lower()


def reason_text(code: int) -> str:
    """Code of a reason as a clause."""
    return REASON_TEXT[Reason(code)]


Unit = Literal["share", "number", "money", "orders", "sessions", "hours", "none"]
"""share: a fraction, shown in percent; number: as it is; none: a limit that is kept or not, with nothing to measure."""


HOUR_NS: Final = 3_600_000_000_000


Said = Callable[[Limits, str], str]
"""(limits, what the value is of) -> words."""


class Words(NamedTuple):
    """How one limit is told. `example` is a line for config.toml that switches it on; empty: it is always on."""

    said: Said
    unit: Unit
    example: str = ""


def _plain(text: str) -> Said:
    return lambda limits, about: text


def _of(text: str, heaviest: str = "") -> Said:
    return lambda limits, about: f"{text} {about}" if about else f"{text}{heaviest}"


def _tail(name: str, key: str) -> Said:
    def said(limits: Limits, about: str) -> str:
        spec: Tail | None = getattr(limits, key)
        if spec is None:
            return name
        days = "1 day" if spec.horizon == 1 else f"{spec.horizon} days"
        return f"{name} {100 * spec.confidence:.4g} % {days}, {spec.method}"

    return said


def _pair(limits: Limits, about: str) -> str:
    spec: Correlation | None = limits.correlation
    strict = ", not together at all" if spec is not None and spec.strict else ", joint"
    return f"correlation {about}{strict}" if about else "correlation, heaviest pair joint"


def _rate(limits: Limits, about: str) -> str:
    if limits.order_rate is None:
        return "orders sent within a time"
    return f"orders sent within {limits.order_rate.per_ns / 1e9:g} s"


def _account(limits: Limits, about: str) -> str:
    cap = limits.max_account_notional
    return "long and short value together" + ("" if cap is None else f", {cap.money:,.2f} at most")


def _ramp(limits: Limits, about: str) -> str:
    ramp = limits.ramp
    return "gross exposure, ramp of a live start" + ("" if ramp is None else f", session {ramp.session} of {ramp.days}")


def _unwind(limits: Limits, about: str) -> str:
    share = f" at {100 * limits.liquidity.participation:g} % of volume" if limits.liquidity is not None else ""
    return f"sessions to sell {about or 'a position'}{share}"


WORDS: Final[dict[str, Words]] = {
    "max_position_weight": Words(_of("position weight", ", heaviest"), "share", "max_position_weight = 0.35"),
    "max_gross_exposure": Words(_plain("gross exposure, long and short"), "share", "max_gross_exposure = 1.0"),
    "max_account_notional": Words(_account, "share"),
    "ramp": Words(_ramp, "share"),
    "no_borrow": Words(_plain("what the venue does not lend"), "none"),
    "buying_power": Words(_plain("purchases at worst prices, of the buying power the venue leaves"), "money"),
    "max_net_exposure": Words(_plain("net exposure, long less short"), "share", "max_net_exposure = 1.0"),
    "max_leverage": Words(_plain("leverage, assets over equity"), "number", "max_leverage = 1.0"),
    "max_sector_weight": Words(_of("sector", " weight, heaviest"), "share", "max_sector_weight = 0.5"),
    "group_caps": Words(_of("group"), "share", 'group_caps = [{ group = "large", cap = 0.5 }]'),
    "max_concentration": Words(_of("single asset", ", heaviest"), "share", "max_concentration = 0.3"),
    "max_herfindahl": Words(_plain("concentration, sum of squared weights"), "number", "max_herfindahl = 0.3"),
    "max_order_notional": Words(_plain("order value at its worst price"), "money", 'max_order_notional = "25000.00"'),
    "max_share_of_volume": Words(
        _plain("order, share of the average volume"), "share", "max_share_of_volume = 0.05"
    ),
    "liquidity": Words(_unwind, "sessions", "liquidity = { days = 3 }"),
    "max_turnover": Words(_plain("turnover of this session"), "share", "max_turnover = 0.5"),
    "order_rate": Words(_rate, "orders", 'order_rate = { orders = 60, per = "1m" }'),
    "max_open_orders": Words(_plain("open orders"), "orders", "max_open_orders = 50"),
    "max_orders_per_day": Words(_plain("orders sent in this session"), "orders"),
    "max_volatility": Words(
        lambda limits, about: f"volatility a year, {limits.volatility_lookback} samples", "share", "max_volatility = 0.2"
    ),
    "var": Words(_tail("VaR", "var"), "share", "var = { limit = 0.03 }"),
    "cvar": Words(_tail("CVaR (expected shortfall)", "cvar"), "share", "cvar = { limit = 0.04 }"),
    "correlation": Words(_pair, "share", "correlation = { threshold = 0.7, joint_weight = 0.5 }"),
    "cash": Words(_plain("cash at worst prices, sales not counted"), "money"),
    "max_drawdown": Words(_plain("drawdown from the highest equity"), "share", "max_drawdown = 0.25"),
    "max_daily_loss": Words(_plain("loss of this day"), "share", "max_daily_loss = 0.05"),
    "max_weekly_loss": Words(_plain("loss of this week"), "share", "max_weekly_loss = 0.1"),
    "protective": Words(_plain("stop loss, take profit and the cooldown after them"), "none", "protective = { stop_loss = 0.08 }"),
    "restricted": Words(_plain("restricted list"), "none", 'restricted = ["GME"]'),
    "allow_short": Words(_plain("no short selling"), "none", "allow_short = false"),
    "max_realised_volatility": Words(
        _plain("realised volatility a year (watched, cuts no order)"), "share", "max_realised_volatility = 0.25"
    ),
    "min_diversification": Words(_plain("diversification, 1 - 1 / diversification ratio (watched, cuts no order)"), "number", "min_diversification = 0.3"),
    "min_sharpe": Words(_plain("Sharpe ratio (watched, cuts no order)"), "number", "min_sharpe = 0.5"),
    "stress": Words(_of("stress scenario", ", worst"), "share", "stress = { limit = 0.3 }"),
    # always on, or how others are measured
    "max_price_age_ns": Words(_plain("age of the last price"), "hours"),
    "collar": Words(_plain("worst price, collar around the last price"), "share"),
    "reduce_collar": Words(_plain("worst price of a reducing order"), "share"),
    "flatten_collar": Words(_plain("worst price of a reducing order on an old price"), "share"),
    "in_flight": Words(_plain("how far a basket on its way may exceed a limit"), "share"),
    "max_cash_debit": Words(_plain("how far cash may go below zero"), "share"),
    "cash_reserve": Words(_plain("cash that must stay"), "share"),
    "min_history": Words(_plain("synchronous returns that must be known"), "number"),
    "fee_bp": Words(_plain("commission that is reserved, bp"), "number"),
    "duplicate_window_ns": Words(_plain("the same intent twice"), "hours"),
    "volatility_lookback": Words(_plain("samples of the volatility"), "number"),
    # what is no key: the state of things
    "switch": Words(_plain("the switch"), "none"),
    "halted": Words(_plain("trading at the venue"), "none"),
    "price": Words(_plain("a price"), "none"),
    "finite": Words(_plain("finite numbers"), "none"),
    "zero": Words(_plain("not through zero in one order"), "none"),
    "equity": Words(_plain("equity at worst prices, for the weights of what is held"), "none"),
}  # fmt: skip
"""Key of `Limits`, of a measure or of a state of things -> how it is told."""


_PLACE = {key: place for place, key in enumerate(WORDS)}

LIMIT_OF: Final[dict[Reason, str]] = {
    Reason.NONE: "",
    Reason.POSITION_WEIGHT: "max_position_weight",
    Reason.GROSS: "max_gross_exposure",
    Reason.CASH: "cash",
    Reason.ORDER_NOTIONAL: "max_order_notional",
    Reason.PRICE_AGE: "max_price_age_ns",
    Reason.PRICE_MISSING: "price",
    Reason.WORST_PRICE: "collar",
    Reason.HISTORY: "min_history",
    Reason.NOT_FINITE: "finite",
    Reason.VAR: "var",
    Reason.CVAR: "cvar",
    Reason.VOLATILITY: "max_volatility",
    Reason.CORRELATION: "correlation",
    Reason.NET: "max_net_exposure",
    Reason.SHORT: "allow_short",
    Reason.RESTRICTED: "restricted",
    Reason.CONCENTRATION: "max_concentration",
    Reason.SECTOR: "max_sector_weight",
    Reason.TURNOVER: "max_turnover",
    Reason.SHARE_OF_VOLUME: "max_share_of_volume",
    Reason.OPEN_ORDERS: "max_open_orders",
    Reason.SWITCH: "switch",
    Reason.ZERO_CROSSING: "zero",
    Reason.EQUITY: "equity",
    Reason.LEVERAGE: "max_leverage",
    Reason.HERFINDAHL: "max_herfindahl",
    Reason.GROUP: "group_caps",
    Reason.SECTOR_MISSING: "max_sector_weight",
    Reason.VOLUME_MISSING: "max_share_of_volume",
    Reason.LIQUIDITY: "liquidity",
    Reason.ORDER_RATE: "order_rate",
    Reason.DUPLICATE: "duplicate_window_ns",
    Reason.PROTECTED: "protective",
    Reason.STRESS: "stress",
    Reason.SHOCK_MISSING: "stress",
    Reason.HALTED: "halted",
    Reason.ACCOUNT_NOTIONAL: "max_account_notional",
    Reason.RAMP: "ramp",
    Reason.ORDERS_PER_DAY: "max_orders_per_day",
    Reason.BUYING_POWER: "buying_power",
    Reason.NO_BORROW: "no_borrow",
}
"""Reason -> the limit that gave it, a key of WORDS."""


def words(key: str, limits: Limits, about: str = "") -> str:
    """What a limit measures: "VaR 95 % 1 day, historical". `about` is what its value is of; a group names itself."""
    table, _, part = key.partition(".")
    known = WORDS.get(table)
    if known is None:
        return key.replace("_", " ").replace(".", " ")
    return known.said(limits, about or ("" if table == "correlation" else part))


def unit(key: str) -> Unit:
    known = WORDS.get(key.partition(".")[0])
    return "number" if known is None else known.unit


def is_of(key: str, code: int) -> bool:
    """Whether a row of this key is of the limit that a reason names."""
    limit = LIMIT_OF[Reason(code)]
    return bool(limit) and (key == limit or key.startswith(f"{limit}."))


def off(limits: Limits) -> list[tuple[str, str, str]]:
    """(key, words, line for config.toml) of every limit that is off."""
    plain = Limits()
    return [
        (key, told.said(limits, ""), told.example)
        for key, told in WORDS.items()
        if told.example and key in Limits.__struct_fields__ and getattr(limits, key) == getattr(plain, key)
    ]


def figure(value: float | None, kind: str) -> str:
    """A measured value for people: 27.1 %, 2,310.40, 3 sessions."""
    if value is None or not isfinite(value):
        return "unknown"
    match kind:
        case "share":
            return f"{100 * value:.1f} %"
        case "money":
            return f"{value:,.2f}"
        case "orders":
            return f"{value:,.0f}"
        case "sessions":
            return f"{value:.2f}"
        case "hours":
            return f"{value:.1f} h"
        case _:
            return f"{value:.3g}"
