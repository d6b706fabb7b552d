"""The guarantee of a verdict, judged by definition: what had to be refused, and every subset of what may fill.

Builds on the evaluator of `tests.support.risk_books`, which shares no formula with the gate, and adds what a hostile
market needs: inputs that are missing, baskets of many symbols, and how near the limits a verdict came.
"""

from collections.abc import Iterable, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantd.risk.limits.catalogue import value_of
from quantd.risk.pretrade.gate import HALT, RUN, Verdict
from quantd.trading.instruments import NANO
from tests.support.risk_books import (
    CLOSE,
    Book,
    Floats,
    Orders,
    orders_of,
    state_breaches,
)

MOST_VERTICES = 8
"""Orders up to which every subset is looked at."""

SCENARIOS = 24
"""Scenarios whose own worst subset is looked at where there are more orders than that."""


class Judgement(NamedTuple):
    """`wrong`: every way in which the verdict breaks a promise. `states`: fill states looked at. `use`: the largest
    share of a limit that some state uses, 1 at the limit; breached limits that nobody made worse are left out."""

    wrong: list[str]
    states: int
    use: float


def judge(book: Book, verdict: Verdict, rng: np.random.Generator, *, switch: int = RUN, partial: int = 24) -> Judgement:
    """The verdict of `book.asked`: what passed and should not have, and each state it can lead to."""
    wrong = [*_shape(book, verdict), *_refusals(book, verdict.lots, switch)]
    px = book.px
    book.px = np.where(_priced(book), px, 0.0)
    try:
        orders = orders_of(book, verdict.lots)
        wrong += [*_prices(book, orders), *_bought(book, orders)]
        if wrong or not orders.adding.any():
            return Judgement(wrong, 0, 0.0)
        fills = fill_states(rng, book, orders, partial)
        broken, use = state_breaches(book, orders, fills)
        return Judgement(broken, len(fills), use)
    finally:
        book.px = px


def use_of(book: Book, lots: Floats, rng: np.random.Generator) -> float:
    """The share of the nearest limit that `lots`, passed or not, could use."""
    orders = orders_of(book, lots)
    return state_breaches(book, orders, fill_states(rng, book, orders, 0))[1] if orders.adding.any() else 0.0


# ---- what a verdict may look like -------------------------------------------------------------------------


def _shape(book: Book, verdict: Verdict) -> Iterable[str]:
    lots, asked = verdict.lots, np.nan_to_num(book.asked, posinf=0.0, neginf=0.0)
    if not np.isfinite(lots).all() or (lots != np.trunc(lots)).any():
        yield "lots that are not whole numbers"
    if (np.abs(lots) > np.abs(asked)).any() or (lots * np.sign(asked) < 0).any():
        yield "more than was asked, or the other side"
    # a fraction of a lot is no lot, and needs no reason
    if (np.trunc(book.asked) != lots)[verdict.reason == 0].any():
        yield "cut without a reason"
    if ((verdict.reason != 0) & (lots == book.asked)).any():
        yield "a reason, though nothing was cut"


def _priced(book: Book) -> NDArray[np.bool_]:
    px = book.px
    return np.isfinite(px) & (px > 0.0) & (book.ctx.prices_nano > 0)


def _refusals(book: Book, lots: Floats, switch: int) -> Iterable[str]:
    """What had to be refused for want of an input, or by name."""
    a = book.account
    up = np.zeros(len(lots)) if a.up is None else a.up
    down = np.zeros(len(lots)) if a.down is None else a.down
    passed = lots != 0.0
    adding = passed & ~(lots * a.lots < 0.0)
    reducing = passed & ~adding
    if switch == HALT and passed.any():
        yield "something passed in HALT"
    if switch != RUN and adding.any():
        yield "something was added while only reductions may pass"
    if (passed & ~_priced(book)).any():
        yield "an order without a price"
    pending = np.where(lots > 0.0, up, down)
    if (np.abs(lots) + pending > np.abs(a.lots) + CLOSE)[reducing].any():
        yield "a reducing order that crosses zero, pending fills counted"
    if not adding.any():
        return
    money = (a.cash, a.equity, a.up_cash, 0.0 if a.open_loss is None else a.open_loss, a.open_gain, a.traded)
    if not (np.isfinite(money).all() and all(np.isfinite(x).all() for x in (a.lots, up, down))):
        yield "something was added to a book that is not known"
    if not a.equity > 0.0:
        yield "something was added without equity"
    if (((a.lots != 0.0) | (up != 0.0) | (down != 0.0)) & ~_priced(book)).any():
        yield "something was added beside a position without a price"
    yield from _by_name(book, lots, adding)
    yield from _history(book, adding | (a.lots != 0.0) | (up != 0.0) | (down != 0.0))


def _by_name(book: Book, lots: Floats, adding: NDArray[np.bool_]) -> Iterable[str]:
    """What a limit says of single orders that add risk."""
    a, limits, ctx = book.account, book.limits, book.ctx
    if not ((ctx.age_ns >= 0) & (ctx.age_ns <= limits.max_price_age_ns))[adding].all():
        yield "a price from the past or the future"
    if np.isin(book.names, limits.restricted)[adding].any():
        yield "a restricted instrument"
    if a.blocked is not None and (a.blocked & adding).any():
        yield "what a protective exit closed"
    if a.repeated is not None and ((a.repeated == lots) & adding).any():
        yield "the same order twice"
    if not limits.allow_short and (adding & (lots < 0.0)).any():
        yield "a short sale"
    if limits.max_sector_weight is not None and (np.array(ctx.universe.sectors) == "")[adding].any():
        yield "an instrument without a sector"
    worst = np.where(lots > 0.0, 1.0 + limits.collar, 1.0) * np.where(_priced(book), book.px, 0.0)
    most = np.inf if limits.max_order_notional is None else limits.max_order_notional
    if (np.abs(lots) * worst)[adding].max() > most * (1.0 + CLOSE):
        yield "an order's notional"
    volume = ctx.volume_lots[adding]
    weighed = limits.max_share_of_volume is not None or limits.liquidity is not None
    if weighed and not ((volume >= 0.0) & (volume < np.inf)).all():
        yield "no volume is known"


def _history(book: Book, matters: NDArray[np.bool_]) -> Iterable[str]:
    """Every portfolio measure has `min_history` rows in which all that matters has a return."""
    limits = book.limits
    specs = [s.lookback for s in (limits.var, limits.cvar, limits.correlation) if s is not None]
    if limits.max_volatility is not None or value_of(limits, "average_correlation") is not None:
        specs.append(limits.volatility_lookback)
    for lookback in specs:
        rows = np.isfinite(book.returns[-lookback:][:, matters]).all(axis=1)
        if np.count_nonzero(rows) < limits.min_history:
            yield "too few returns for a portfolio measure"


def _prices(book: Book, orders: Orders) -> Iterable[str]:
    """Every new order has a limit on its tick grid, on its own side of the mark, within the collar."""
    limits = book.limits
    for sym, lots, worst, new, adding in zip(
        orders.sym.tolist(), orders.lots.tolist(), orders.worst.tolist(), orders.new, orders.adding, strict=True
    ):
        if not new:
            continue
        mark = float(book.ctx.prices_nano[sym])
        collar = limits.collar if adding else limits.reduce_collar
        nano, tick = round(worst * NANO), book.ctx.universe.instruments[sym].tick_nano
        if nano % tick or nano <= 0:
            yield "a limit off the tick grid"
        within = mark <= nano <= mark * (1 + collar) + 1 if lots > 0 else mark * (1 - collar) - 1 <= nano <= mark
        if not within:
            yield "a limit beyond its collar"


def _bought(book: Book, orders: Orders) -> Iterable[str]:
    """What adds risk costs no more than the venue lets be bought, each order at its limit or the mark, whichever costs
    more, and its fee. Nothing else counts: not what is held or open, not what a margin account may owe."""
    power = book.limits.buying_power
    if power is None:
        return
    cost = sum(
        abs(lots) * max(worst, float(book.px[sym])) * (1.0 + book.limits.fee_bp / 10_000)
        for sym, lots, worst, adds in zip(orders.sym, orders.lots, orders.worst, orders.adding, strict=True)
        if adds
    )
    if cost > power.money * (1.0 + CLOSE) + CLOSE:
        yield f"bought for {cost:.2f} where the venue lets {power.money:.2f}"


# ---- what can fill ---------------------------------------------------------------------------------------------


def fill_states(rng: np.random.Generator, book: Book, orders: Orders, partial: int) -> Floats:
    """float64[K, orders] filled lots: every vertex up to 8 orders, else those that hurt most and random ones; then
    `partial` random partial fills."""
    m = len(orders.lots)
    if m <= MOST_VERTICES:
        corners = np.array(list(product((0.0, 1.0), repeat=m))).reshape(-1, m)
    else:
        corners = np.vstack((_worst_subsets(rng, book, orders), rng.random((64, m)) < rng.random((64, 1))))
    share = rng.random((partial, m))
    # some whole, some not at all, some in part
    share = np.where(rng.random((partial, m)) < 0.5, share, np.round(share))
    inside = np.trunc(share * np.abs(orders.lots)) * np.sign(orders.lots)
    return np.vstack((corners * orders.lots, inside))


def _worst_subsets(rng: np.random.Generator, book: Book, orders: Orders) -> NDArray[np.bool_]:
    """Subsets that a limit would fear: one side, one order, all but one, and what loses in one scenario."""
    m, buys, adding = len(orders.lots), orders.lots > 0, orders.adding
    one = np.eye(m, dtype=np.bool_)
    none = np.zeros(m, dtype=np.bool_)
    subsets: Sequence[NDArray[np.bool_]] = (none, ~none, buys, ~buys, adding, ~adding, buys & adding, ~buys & adding)
    rows = np.nan_to_num(book.returns)
    chosen = rows[rng.integers(len(rows), size=min(SCENARIOS, len(rows)))]
    moves = chosen[:, orders.sym] * np.sign(orders.lots)
    return np.vstack((*subsets, one, ~one, moves < 0.0, moves > 0.0))
