"""Order baskets from verdicts of the gate: the only place that builds orders."""

from collections.abc import Sequence
from math import floor
from typing import NamedTuple

import numpy as np

from quantd.risk.limits.case import Account
from quantd.risk.limits.catalogue import Limits
from quantd.risk.limits.context import Context, Floats, Ints
from quantd.risk.limits.ruleset import rules_of
from quantd.risk.pretrade.gate import Verdict
from quantd.trading.execution import ANY_BUY, ANY_SALE, MOST
from quantd.trading.instruments import NANO
from quantd.trading.orders import Kind, OrderBasket


def collar_price(buys: bool, mark: int, up: int, down: int, one: int, tick: int) -> int:
    """The limit price of a marketable order, nano-currency: `mark` x `up` / `one` ticks rounded down for a purchase,
    x `down` / `one` rounded up for a sale. `down` is 0 without a collar: then any price does."""
    if down == 0:
        return ANY_BUY if buys else ANY_SALE
    ticks, rest = divmod(mark * (up if buys else down), one)
    if rest > 0 and not buys:
        ticks += 1
    return min(ticks, MOST + 1) * tick


def worst_nano(ctx: Context, lots: Floats, limits: Limits, held: Floats | None = None) -> list[int]:
    """The marketable limit price of each row with `lots` (float64[N] signed), nano-currency, exact; 0 without lots.

    Mark x (1 + collar) for a buy, rounded down to the tick; mark x (1 - collar) for a sell, rounded up. `held` are the
    account's lots: orders against them have `reduce_collar`, with a stale price at most `flatten_collar`.
    """
    collar, reduce, stale = (round(c * NANO) for c in (limits.collar, limits.reduce_collar, limits.flatten_collar))
    rules = rules_of(limits, ctx.universe)
    adding, reducing, old = (rules.collar_ratios(width) for width in (collar, reduce, min(reduce, stale)))
    out = [0] * len(lots)
    marks, wanted, instruments = ctx.prices_nano.tolist(), lots.tolist(), ctx.universe.instruments
    against: list[float] = [0.0] * len(out) if held is None else held.tolist()
    for k in lots.nonzero()[0].tolist():
        size, ratios = wanted[k], adding
        if against[k] * size < 0.0:
            ratios = reducing if 0 <= int(ctx.age_ns[k]) <= limits.max_price_age_ns else old
        up, down, one = ratios[k]
        out[k] = collar_price(size > 0.0, marks[k], up, down, one, instruments[k].tick_nano)
    return out


class Part(NamedTuple):
    """One agent's part of a basket: lots and positions float64[N] signed, and the limits of its own gate call."""

    lots: Floats
    held: Floats
    limits: Limits


def _narrowed(
    worst: list[int], ctx: Context, verdict: Verdict, account: Account, limits: Limits, parts: list[Part]
) -> None:
    """Narrows worst prices to those of each agent's own gate call: its collars may be narrower, or it adds where the
    house reduces."""
    reduces = verdict.lots * account.lots < 0.0
    for part in parts:
        collars = (part.limits.collar, part.limits.reduce_collar, part.limits.flatten_collar)
        same = collars == (limits.collar, limits.reduce_collar, limits.flatten_collar)
        if same and not np.count_nonzero(reduces & (part.lots != 0.0) & (part.lots * part.held >= 0.0)):
            continue
        own = worst_nano(ctx, part.lots, part.limits, part.held)
        for k in part.lots.nonzero()[0].tolist():
            worst[k] = min(worst[k], own[k]) if part.lots[k] > 0.0 else max(worst[k], own[k])


def basket(
    verdict: Verdict,
    ctx: Context,
    account: Account,
    limits: Limits,
    *,
    sample: int,
    n: int,
    ts: int,
    end: list[int],
    parts: Sequence[Part] = (),
    kind: Kind = Kind.LIMIT,
    caps: Sequence[int] = (),
) -> OrderBasket | None:
    """The orders of a verdict; None when nothing passes. `end` is the expiry of each column's order. No price exceeds
    those of the agents' own gate calls in `parts`, nor the column's `caps` in nano-currency, 0 for none."""
    rows = verdict.lots.nonzero()[0].tolist()
    if not rows:
        return None
    worst = worst_nano(ctx, verdict.lots, limits, account.lots)
    _narrowed(worst, ctx, verdict, account, limits, list(parts))
    lots = verdict.lots.tolist()
    for k, cap_nano in enumerate(caps):
        if cap_nano and worst[k]:
            worst[k] = min(worst[k], cap_nano) if lots[k] > 0.0 else max(worst[k], cap_nano)
    codes = verdict.reason.tolist()
    return OrderBasket(
        sample=sample,
        n=n,
        ts=ts,
        sym=rows,
        lots=[floor(lots[k]) for k in rows],
        worst_nano=[worst[k] for k in rows],
        end=[end[k] for k in rows],
        reason=[codes[k] for k in rows],
        values=verdict.recorded,
        kind=[] if kind == Kind.LIMIT else [int(kind)] * len(rows),
    )


def batch_basket(sample: int, n: int, ts: int, orders: Ints, reason: Ints) -> OrderBasket:
    """The limit orders that a batch has judged with the kernel of the gate. `orders` int64[>= 4, K] are columns,
    signed lots, worst prices and ends of the orders; `reason` int64[K] what cut each."""
    sym, lots, worst, end = orders[:4].tolist()
    return OrderBasket(sample, n, ts, sym, lots, worst, end, reason=reason.tolist())


def stop_basket(
    verdict: Verdict,
    ctx: Context,
    account: Account,
    limits: Limits,
    lots: Floats,
    stops: Sequence[int],
    *,
    sample: int,
    n: int,
    ts: int,
) -> OrderBasket | None:
    """The part `lots` (float64[N] signed) of a verdict as stop orders, good till cancelled; None without any.

    `stops` are trigger prices by column, nano-currency, rounded to the tick towards the market. The worst price lies
    `reduce_collar` beyond. Rows that do not reduce a position, or did not pass whole, are left out.
    """
    granted_whole = (np.abs(lots) <= np.abs(verdict.lots)) & (lots * verdict.lots > 0.0) & (lots * account.lots < 0.0)
    ratios = rules_of(limits, ctx.universe).collar_ratios(round(limits.reduce_collar * NANO))
    sym, trigger, worst = [], [], []
    for k in granted_whole.nonzero()[0].tolist():
        tick, buys = ctx.universe.instruments[k].tick_nano, lots[k] > 0.0
        at = stops[k] // tick * tick if buys else -(-stops[k] // tick) * tick
        limit = collar_price(bool(buys), at, *ratios[k], tick)
        if at > 0 and limit > 0:
            sym.append(k)
            trigger.append(at)
            worst.append(limit)
    if not sym:
        return None
    return OrderBasket(
        sample=sample,
        n=n,
        ts=ts,
        sym=sym,
        lots=[floor(lots[k]) for k in sym],
        worst_nano=worst,
        end=[0] * len(sym),
        values=verdict.recorded,
        kind=[int(Kind.STOP)] * len(sym),
        stop_nano=trigger,
    )
