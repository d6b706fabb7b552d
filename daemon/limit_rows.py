"""Limits as rows of a table: what is measured, before and after, what is allowed, how much is left."""

from collections.abc import Iterable, Mapping
from math import isfinite

from msgspec import Struct

from quantd.daemon.engine.judged import Judged
from quantd.daemon.limit_words import HOUR_NS, LIMIT_OF, WORDS, is_of, unit, words
from quantd.risk.limits.catalogue import REASON_TEXT, Limits, Reason
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


_PLACE = {key: place for place, key in enumerate(WORDS)}


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
