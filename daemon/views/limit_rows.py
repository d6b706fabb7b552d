"""Limits as table rows: value before and after, bound and headroom."""

from collections.abc import Iterable, Mapping
from math import inf, isfinite
from typing import Final, TypedDict

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from quantd.daemon.engine.core.lacks import LOTS
from quantd.daemon.engine.state.causes import OF_CODE
from quantd.daemon.engine.state.proposal_log import LotCut
from quantd.daemon.engine.state.verdict_log import Judged
from quantd.risk.limits.catalogue import FLOORS, LIMIT_OF, LIMITS, REASON_TEXT, Limits, Reason, value_of
from quantd.risk.limits.record import Unit
from quantd.risk.pretrade.gate import Account, Context
from quantd.risk.pretrade.headroom import (
    SETTLED_CASH,
    Figure,
    Most,
    figures_of,
    most,
    most_under,
    sent,
    settled_cash,
)
from quantd.trading.display_text import figure
from quantd.trading.instruments import NANO, Universe
from quantd.trading.orders import Side, price_text, quantity_text, side_text


class LimitRow(Struct, frozen=True):
    """One limit of one book, in `unit`.

    `before` is the value of the present positions, `after` the value once the basket and all open orders have filled at
    reference prices, and `headroom` the distance from `after` to the bound. `more` is the largest further order of the
    symbol under this limit alone; null where it is unknown or another limit stops it. `cut` marks the limit that cut
    the order, `floor` a lower bound.
    """

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
    """The largest order of one symbol that would have passed alone, and the limit that stops the next lot.

    `qty` is null where no limit applies.
    """

    side: str
    qty: str | None
    reason: str
    text: str


def row(
    key: str, limits: Limits, before: Figure | None, after: Figure | None, code: int = 0, more: str | None = None
) -> LimitRow:
    """A row of a table of limits from the values `before` and `after` an order; NaN becomes null.

    Bound, headroom and use apply to `after`, or to `before` where `after` is None. A floor is a limit whose value must
    not fall below its bound. `code` is the reason code of the limit that cut the order, 0 for none, and `more` the text
    of the largest further order.
    """
    unit_name, floor = unit(key), is_floor(key)
    scale = 1.0 / HOUR_NS if unit_name == "hours" else 1.0
    newest = after or before
    bound = finite(newest.bound * scale) if newest is not None else None
    value = None if newest is None else finite(newest.value * scale)
    headroom = None if bound is None or value is None else (value - bound if floor else bound - value)
    return LimitRow(
        limit=key,
        words=words(key, limits, newest.about if newest is not None else ""),
        unit=unit_name,
        before=None if before is None else finite(before.value * scale),
        after=None if after is None else finite(after.value * scale),
        bound=bound,
        headroom=headroom,
        use=value / bound if value is not None and bound is not None and bound > 0 and not floor else None,
        floor=floor,
        cut=bool(code) and is_of(key, code),
        more=more,
    )


def in_order(keys: Iterable[str]) -> list[str]:
    return sorted(keys, key=lambda key: (_ORDER.get(key.partition(".")[0], len(_ORDER)), key))


def finite(value: float) -> float | None:
    """A number; None where it is not finite."""
    return value if isfinite(value) else None


def recorded_rows(
    before: Mapping[str, tuple[float, float]], after: Mapping[str, tuple[float, float]], limits: Limits, code: int
) -> list[LimitRow]:
    """Rows of limits from recorded (value, bound) pairs `before` and `after` an order.

    A limit that applies to each symbol has one row, with the value of its heaviest symbol (largest position). `code` is
    the reason code of the limit that cut the order, 0 for none.
    """

    def figure_of(values: Mapping[str, tuple[float, float]], key: str) -> Figure | None:
        return Figure(*values[key]) if key in values else None

    # `equity.SYMBOL` names the position of a reason's text, and is no limit of its own
    keys = in_order({key for key in (*before, *after) if not key.startswith("equity.")})
    return _with_cut(
        [row(key, limits, figure_of(before, key), figure_of(after, key), code) for key in keys], limits, code
    )


def rows_of(judged: Judged, column: int) -> list[LimitRow]:
    """The limits of one symbol in one gate call (check of orders), computed again on the state of the decision."""
    ctx, account, limits, lots = judged.ctx, judged.account, judged.limits, judged.verdict.lots
    code = int(judged.verdict.reason[column])
    before = figures_of(ctx, account, limits, None, column)  # None: without the order
    after = figures_of(ctx, account, limits, lots, column)
    account_after = sent(ctx, account, lots, limits)
    # of a position that ends at 0, the side of the order counts
    held_after = float(account.lots[column] + lots[column]) or float(judged.asked[column])
    side = 1 if held_after >= 0.0 else -1
    rows = []
    for key in in_order({*before, *after}):
        more = None
        # of the keys with a part (behind the dot), only a group bounds the order of one symbol
        if "." not in key or key.startswith("group_caps."):
            capacity = most_under(ctx, account_after, limits, key, column, side)
            if capacity.bounded and is_of(key, capacity.reason):
                more = quantity_text(int(capacity.lots), ctx.universe.lot_nano[column])
        # of the pairs of a symbol, the heaviest cut the order, and it has the key without a part
        rows.append(
            row(key, limits, before.get(key), after.get(key), 0 if key.startswith("correlation.") else code, more)
        )
    return _with_cut(_nearest_cash(rows), limits, code)


def _nearest_cash(rows: list[LimitRow]) -> list[LimitRow]:
    """Where there are two rows of cash (now, and after all fills), keep `more` and `cut` only in the row of the nearer
    bound."""
    cash_rows = [limit_row for limit_row in rows if limit_row.limit in ("cash", SETTLED_CASH)]
    if len(cash_rows) < 2:
        return rows
    nearest = min(cash_rows, key=lambda limit_row: limit_row.headroom if limit_row.headroom is not None else inf)
    more, was_cut = cash_rows[0].more, cash_rows[0].cut
    return [
        replace(limit_row, more=more if limit_row is nearest else None, cut=was_cut and limit_row is nearest)
        if limit_row in cash_rows
        else limit_row
        for limit_row in rows
    ]


def _with_cut(rows: list[LimitRow], limits: Limits, code: int) -> list[LimitRow]:
    """Adds a row to the table of limits for a cutting limit without a value, such as the kill switch."""
    if not code or any(limit_row.cut for limit_row in rows):
        return rows
    return [*rows, row(LIMIT_OF[code], limits, None, None, code)]


def largest_of(judged: Judged, column: int, lots: float) -> Largest:
    """The largest order of the symbol, on the side of `lots`, that would have passed alone."""
    side = 1 if lots > 0.0 else -1
    capacity = most(judged.ctx, judged.account, judged.limits, column, side, judged.switch)
    return largest(capacity, side, judged.ctx, judged.account, judged.limits, column)


def largest(capacity: Most, side: int, ctx: Context, account: Account, limits: Limits, column: int) -> Largest:
    """The largest order of a symbol as text, with the bound that the next lot breaks.

    `capacity` is the largest order that passes, `side` 1 for a purchase and -1 for a sale.
    """
    universe = ctx.universe
    return Largest(
        side=side_text(side),
        qty=quantity_text(int(capacity.lots), universe.lot_nano[column]) if capacity.bounded else None,
        reason=reason_name(capacity.reason),
        text=_stop_text(capacity, side, ctx, account, limits, column) if capacity.bounded else "no limit applies",
    )


def _stop_text(capacity: Most, side: int, ctx: Context, account: Account, limits: Limits, column: int) -> str:
    """The reason that stops the next lot, as text.

    Cash has two bounds, one of which is for the cash after all fills: the text names the bound that is broken.
    `capacity` is the largest order that passes, `side` 1 for a purchase and -1 for a sale.
    """
    if capacity.reason == Reason.CASH and limits.max_cash_debit > 0.0:
        lots = np.zeros(ctx.size)
        lots[column] = side * (capacity.lots + 1.0)
        cash = settled_cash(ctx, account, limits, lots)
        if cash.value < cash.bound:
            return (
                f"cash after all fills would be {figure(cash.value, 'money')}, below the reserve of "
                f"{figure(cash.bound, 'money')}"
            )
    return REASON_TEXT[capacity.reason]


def reason_text(code: int, values: Mapping[str, tuple[float, float]] = {}, symbol: str = "") -> str:
    """The code of a limit, or of another cause, as text. With the recorded `values` of a plan, a price jump has its two
    prices and the remedy, and a lack of equity names the position near its limit."""
    text = OF_CODE[code].text if code else REASON_TEXT[code]
    if code == Reason.EQUITY:
        for key, (weight, bound) in values.items():
            if key.startswith("equity."):
                tight = key.partition(".")[2]
                return (
                    f"{tight} stands at {weight:.1%} of equity, of {bound:.1%} that it may weigh, and this order could "
                    f"lift it above: sell some {tight} first, or with it, and the rest follows"
                )
    pair = values.get(f"price_jump.{symbol}") if code == Reason.PRICE_JUMP else None
    if pair is None:
        return text
    newest, before = (price_text(round(price * NANO)) for price in pair)
    remedy = f"`quantd resume --symbol {symbol} --jump real` or a split such as `--jump 2:1` ends the hold"
    return f"{text}: {before} before the jump, {newest} now; {remedy}"


class CutText(TypedDict):
    """Fields of every row about a cut trade: requested and passed units of a symbol, and the limit."""

    side: Side
    symbol: str
    asked: str
    allowed: str
    reason: str
    text: str


def cut_text(universe: Universe, cut: LotCut, values: Mapping[str, tuple[float, float]] = {}) -> CutText:
    """The fields of a row about a cut trade, without the owner of the limit.

    `values` are the recorded values of the plan: a price jump has its two prices there.
    """
    lot, symbol = universe.lot_nano[cut.symbol], universe.symbols[cut.symbol]
    return CutText(
        side=side_text(cut.asked),
        symbol=symbol,
        asked=quantity_text(abs(cut.asked), lot),
        allowed=quantity_text(abs(cut.allowed), lot),
        reason=reason_name(cut.code),
        text=reason_text(cut.code, values, symbol),
    )


def reason_name(code: int) -> str:
    """The name of a limit's reason code, 3 is "cash", or the key of another cause; empty for 0."""
    if code >= LOTS:
        return OF_CODE[code].key
    return "" if not code else Reason(code).name.lower()


def reasons_with(text: str) -> list[int]:
    """The codes of the limits whose name contains a text, in upper or lower case; a space stands for an underscore."""
    name = text.lower().replace(" ", "_")
    return [int(reason) for reason in Reason if reason and name in reason.name.lower()]


HOUR_NS: Final = 3_600_000_000_000


_ORDER: Final = {key: position for position, key in enumerate(LIMITS)}
"""Key of a limit -> its position in displays."""


def words(key: str, limits: Limits, about: str = "") -> str:
    """What a limit measures, as text: "VaR 95 % 1 day, historical". `about` is the symbol or group of the value."""
    if key == SETTLED_CASH:
        return "cash after all fills"
    table, _, part = key.partition(".")
    record = LIMITS.get(table)
    if record is None:
        return key.replace("_", " ").replace(".", " ")
    return record.words(limits, about or ("" if table == "correlation" else part))


def is_floor(key: str) -> bool:
    """Whether the limit `key` is a lower bound, which its value must not fall below."""
    return key.partition(".")[0] in FLOORS


def unit(key: str) -> Unit:
    """The unit of a limit's value and bound; "number" for an unknown key."""
    record = LIMITS.get(key.partition(".")[0])
    return "number" if record is None else record.unit


def is_of(key: str, code: int) -> bool:
    """Whether the row of this key belongs to the limit of a reason code."""
    limit = LIMIT_OF[code]
    return bool(limit) and (key == limit or key.startswith(f"{limit}."))


def off(limits: Limits) -> list[tuple[str, str, str]]:
    """(key, words, config.toml line) of every limit that is off."""
    defaults = Limits()
    return [
        (key, record.words(limits), record.example)
        for key, record in LIMITS.items()
        if record.example and value_of(limits, key) == value_of(defaults, key)
    ]
