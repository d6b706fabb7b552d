"""The largest order per symbol that passes, and the values of each limit for one symbol.

What can go wrong: the gate refuses an order of the size that was reported as permitted (the headroom). A formula for
each limit would have to be kept equal to the gate. Every size is therefore the answer of the gate to a very large
order, and no limit is implemented a second time. To find the size under one limit alone, all other limits are switched
off, and there is enough cash.

A very large order may cost so much to fill that nothing of it passes for lack of equity, although a smaller order would
pass. Only in that case the size is found by bisection.

In this module, `lots` are float64[N] by column of the universe, signed; money is in account currency.
"""

from collections.abc import Callable
from math import inf, isclose
from typing import Final, NamedTuple

import numpy as np
from msgspec.structs import replace

from quantd.risk.limits.average_correlation import KEY as AVERAGE
from quantd.risk.limits.average_correlation import beside
from quantd.risk.limits.case import SLACK, Account
from quantd.risk.limits.catalogue import EXTRA, FIELDS, LIMITS, Correlation, Limits, Reason, override, value_of
from quantd.risk.limits.context import Context, Floats, scenarios_of
from quantd.risk.limits.correlation import joint_bound, joint_weight
from quantd.risk.limits.settings import reserved
from quantd.risk.limits.values import Portfolio, standings
from quantd.risk.measures.stress import shock_returns, stress_losses
from quantd.risk.pretrade.baskets import worst_nano
from quantd.risk.pretrade.gate import gate
from quantd.risk.switch import RUN
from quantd.trading.execution import ANY_BUY, ANY_SALE
from quantd.trading.instruments import NANO

VAST: Final = 10_000.0
"""The very large order is worth this multiple of the book's equity, which no limit permits."""

_SINGLE: Final = ("max_position_weight", "max_concentration")
"""Limits of one instrument's weight."""

SETTLED_CASH: Final = "cash.settled"
"""Key of cash after all fills: the second bound of the limit cash, where `max_cash_debit` permits a debit until then.
Without a debit, cash while orders are open is never above it."""

_DEFAULTS: Final = {key: value_of(Limits(), key) for key in LIMITS if key in FIELDS or key in EXTRA}


class Most(NamedTuple):
    """The largest unsigned `lots` of one symbol that pass alone; `reason` is the limit that refuses one lot more.
    `bounded` is False when no limit applies."""

    lots: float
    reason: Reason
    bounded: bool


class Figure(NamedTuple):
    """The present value of a limit and its bound; `about` names what was measured: a symbol, sector, asset or pair
    of symbols."""

    value: float
    bound: float
    about: str = ""


def most(ctx: Context, account: Account, limits: Limits, column: int, side: int, switch: int = RUN) -> Most:
    """Return the largest order in one symbol that would pass alone, bought (`side` 1) or sold (-1). The limit on
    repeated orders is not checked.

    The gate decides an order of VAST times the equity, which no limit permits. The part that passes is the result.
    """
    price = float(ctx.px[column])
    unaffordable_lots = np.ceil(VAST * max(account.equity, 1.0) / price) if price > 0.0 else VAST
    account = replace(account, repeated=None)

    def answer(size: float) -> tuple[float, Reason]:
        asked = np.zeros(ctx.size)
        asked[column] = side * size
        verdict = gate(ctx, account, asked, limits, switch)
        return abs(float(verdict.lots[column])), Reason(int(verdict.reason[column]))

    asked_size = float(unaffordable_lots + abs(float(account.lots[column])))
    lots, reason = answer(asked_size)
    # the costs of so large an order use up the equity, and a smaller order could still pass: bisection finds its size
    if reason == Reason.EQUITY and answer(lots + 1.0)[0] > lots:
        lots, reason = _largest_between(answer, lots + 1.0, asked_size)
    return Most(lots, reason, reason != Reason.NONE)  # with NONE no limit applies


def _largest_between(
    answer: Callable[[float], tuple[float, Reason]], passes: float, cut: float
) -> tuple[float, Reason]:
    """Return (lots of the largest order that passes, limit that refuses one lot more), by bisection between a size that
    `passes` and a size that is `cut` for lack of equity.

    `answer` returns the lots of an order of some size that pass, and the limit that cut the order. After the costs of a
    very large order too little equity remains for the existing weights, so that the whole order is refused. After a
    smaller order enough equity remains, and another limit applies, or none.
    """
    reason = Reason.EQUITY
    while cut - passes > 1.0:
        tried = np.floor((passes + cut) / 2.0)
        lots, limit = answer(tried)
        if lots == tried:
            passes = tried
        elif limit != Reason.EQUITY:
            return lots, limit
        else:
            passes, cut = max(passes, lots), tried
    return float(passes), reason


def most_under(ctx: Context, account: Account, limits: Limits, key: str, column: int, side: int) -> Most:
    """Return the largest order under the limit `key` alone, bought (`side` 1) or sold (-1).

    Every other limit that can be off is off. Cash bounds the order only where `key` is "cash".
    """
    if key != "cash":
        # cash is always on: with enough of it only the limit `key` can cut the order
        account = replace(account, cash=account.cash + VAST * VAST * max(account.equity, 1.0))
    return most(ctx, account, only(limits, key), column, side)


_alone: dict[tuple[int, str], tuple[Limits, Limits]] = {}
_MOST_ALONE: Final = 512


def only(limits: Limits, key: str) -> Limits:
    """Return `limits` with every limit off except `key`, and except limits that are always on.

    The result is cached, because `rules_of` finds the rules of a set of limits by the identity of the set.
    """
    entry = _alone.get((id(limits), key))
    if entry is None:
        if len(_alone) >= _MOST_ALONE:
            _alone.clear()
        # an entry refers to its limits: while it exists, no new object can have their id
        entry = _alone[id(limits), key] = limits, _only(limits, key)
    return entry[1]


def _only(limits: Limits, key: str) -> Limits:
    """Return the result of `only` (`limits` with only `key` on) without the cache."""
    table, _, name = key.partition(".")
    off = {f: d for f, d in _DEFAULTS.items() if not LIMITS[f].always and f != table}
    off["group_caps"] = tuple((group, cap) for group, cap in limits.group_caps if group == name)
    return override(limits, **off)


def sent(ctx: Context, account: Account, lots: Floats, limits: Limits) -> Account:
    """Return the account with `lots` (float64[N] signed, which passed the gate) as open orders at their worst prices.

    An order without a price limit counts at the mark. The account is unchanged if there are no lots.
    """
    if not lots.any():
        return account
    worst = np.array(worst_nano(ctx, lots, limits, account.lots))
    per_lot = np.where((worst == ANY_SALE) | (worst == ANY_BUY), ctx.px, worst / NANO * ctx.universe.lot_size)
    fee = limits.fee_bp * 1e-4
    buys, sells = np.maximum(lots, 0.0), np.maximum(-lots, 0.0)
    # the fall of equity when the orders fill at their worst prices, with fees
    losses = buys * np.maximum(per_lot * (1.0 + fee) - ctx.px, 0.0)
    losses += sells * np.maximum(ctx.px - per_lot * (1.0 - fee), 0.0)
    order_count = int(np.count_nonzero(lots))
    return replace(
        account,
        up=buys + (0.0 if account.up is None else account.up),
        down=sells + (0.0 if account.down is None else account.down),
        up_cash=account.up_cash + float(buys @ per_lot) * (1.0 + fee),
        open_loss=float(losses.sum()) + (account.open_loss or 0.0),
        open_orders=account.open_orders + order_count,
        recent_orders=account.recent_orders + (order_count if limits.order_rate is not None else 0),
        session_orders=account.session_orders + (order_count if limits.max_orders_per_day is not None else 0),
        repeated=None,
    )


def figures(ctx: Context, account: Account, limits: Limits, lots: Floats | None) -> dict[str, Figure]:
    """Return the value and bound of every limit that is on, at the present positions (`lots` None) or after `lots` and
    all open orders fill.

    A limit per symbol, group or pair has the value of the heaviest symbol, group or pair.
    """
    book = Portfolio(ctx, account, limits, lots)
    standings(ctx, [book])
    by_key = {key: Figure(value, bound) for key, (value, bound) in book.values.items()}
    if book.equity > 0.0 and book.held.any():
        weights = np.abs(book.held * ctx.px) / book.equity
        heaviest = int(weights.argmax())
        named = [(key, ctx.universe.symbols[heaviest], float(weights[heaviest])) for key in _SINGLE]
        for key, name, value in (*named, *(row[:3] for row in _members(book, weights))):
            # the value is that of the heaviest member: this tells which one
            if key in by_key and isclose(by_key[key].value, value):
                by_key[key] = by_key[key]._replace(about=name)
        if limits.stress is not None:
            position_values = book.held * ctx.px
            worst = int(stress_losses(shock_returns(limits.stress.shocks, ctx.universe), position_values).argmax())
            by_key["stress"] = by_key["stress"]._replace(about=limits.stress.shocks[worst].name)
    if limits.max_cash_debit > 0.0:
        by_key[SETTLED_CASH] = settled_cash(ctx, account, limits, lots)
    order_count = 0 if lots is None else int(np.count_nonzero(lots))
    for count in book.rules.counts:
        by_key[count.key] = Figure(count.used(account) + order_count, count.most)
    return by_key


def settled_cash(ctx: Context, account: Account, limits: Limits, lots: Floats | None) -> Figure:
    """Return the cash after `lots` and all open orders fill at reference prices with fees, and the reserve as its
    bound. If `lots` is None, the value is the present cash."""
    bound = limits.cash_reserve * account.equity
    if lots is None:
        return Figure(account.cash, bound)
    fee = limits.fee_bp * 1e-4
    buys = np.maximum(lots, 0.0) + (0.0 if account.up is None else account.up)
    sales = np.maximum(-lots, 0.0) + (0.0 if account.down is None else account.down)
    px = np.nan_to_num(ctx.px)
    return Figure(account.cash - float(buys @ px) * (1.0 + fee) + float(sales @ px) * (1.0 - fee), bound)


def figures_of(ctx: Context, account: Account, limits: Limits, lots: Floats | None, column: int) -> dict[str, Figure]:
    """Return the value and bound of every limit that is on, now (`lots` None) or after `lots` and all open orders
    fill. For a limit per symbol, sector, group, asset or pair, the value is that of the symbol `column`."""
    book = Portfolio(ctx, account, limits, lots)
    standings(ctx, [book])
    by_key = figures(ctx, account, limits, lots)
    symbol = ctx.universe.symbols[column]
    for key in [k for k in by_key if k in ("max_sector_weight", "correlation") or k.startswith("group_caps.")]:
        del by_key[key]
    if book.equity > 0.0:
        weights = np.abs(book.held * ctx.px) / book.equity
        for key in _SINGLE:
            if key in by_key:
                by_key[key] = Figure(float(weights[column]), by_key[key].bound, symbol)
        for key, about, value, bound in _members(book, weights, column):
            by_key[key] = Figure(value, bound, about)
        if AVERAGE in by_key:
            by_key[AVERAGE] = by_key[AVERAGE]._replace(about=_beside(ctx, book, column))
        if limits.correlation is not None:
            by_key |= _pairs(ctx, book, limits.correlation, column)
    return by_key | _order_figures(ctx, account, limits, lots, column)


def _members(book: Portfolio, weights: Floats, column: int | None = None) -> list[tuple[str, str, float, float]]:
    """Return (key, name, weight, bound) of each sector, group and asset; with `column`, only of the sectors, groups and
    assets to which this symbol belongs.
    """
    universe = book.rules.universe
    members = []
    for family in book.rules.families:
        sums = np.bincount(family.labels, weights)
        labels = range(1, family.names + 1) if column is None else [int(family.labels[column])]
        for label in labels:
            if label:  # 0 is no group
                # any symbol of the group has the name of its sector or asset
                member = int((family.labels == label).argmax())
                names = {"max_sector_weight": universe.sectors[member], "max_concentration": universe.assets[member]}
                members.append((family.key, names.get(family.key, ""), float(sums[label]), family.settled_bound))
    return members


def _pairs(ctx: Context, book: Portfolio, spec: Correlation, column: int) -> dict[str, Figure]:
    """Return the joint weight of a symbol with each correlated symbol, if both exceed the minimum weight.

    The heaviest pair has the key `correlation`, each lighter pair `correlation.SYMBOL`. Without a pair, `correlation`
    is 0.
    """
    scenarios = scenarios_of(ctx, book.rules.lookbacks, book.limits.min_history, book.held)
    bound = joint_bound(spec)
    if scenarios is None:
        return {}
    n = ctx.size
    value = book.held * ctx.px
    names = ctx.universe.symbols
    tolerance = SLACK * abs(book.account.equity)
    pairs: list[tuple[float, str, str]] = []
    # a symbol is not linked to itself
    for other in np.flatnonzero(value).tolist():
        pair_values = np.zeros(n)
        pair_values[[column, other]] = value[[column, other]]
        joint = joint_weight(
            scenarios[spec.lookback],
            np.maximum(np.concatenate((-pair_values, pair_values)), 0.0),
            book.equity,
            tolerance,
            spec,
        )
        if joint > 0.0:
            rho = float(scenarios[spec.lookback].correlation([column, other])[0, 1])
            # negative, so that sorting puts the heaviest pair first
            pairs.append((-joint, names[other], f"{names[column]}~{names[other]} {rho:.2f}"))
    if not pairs:
        return {"correlation": Figure(0.0, bound)}
    heaviest, *lighter = sorted(pairs)
    by_key = {"correlation": Figure(-heaviest[0], bound, heaviest[2])}
    return by_key | {f"correlation.{other}": Figure(-joint, bound, about) for joint, other, about in lighter}


def _beside(ctx: Context, book: Portfolio, column: int) -> str:
    """Return, as text, the average correlation of a purchase of one symbol with all other positions; empty if there
    are none."""
    lots = book.held.copy()
    lots[column] = 1.0
    by_lookback = scenarios_of(ctx, book.rules.lookbacks, book.limits.min_history, lots)
    if by_lookback is None:
        return ""
    value = beside(by_lookback[book.limits.volatility_lookback], book.held, column)
    return f"{ctx.universe.symbols[column]} bought {value:.2f} with the others" if value == value else ""


def _order_figures(
    ctx: Context, account: Account, limits: Limits, lots: Floats | None, column: int
) -> dict[str, Figure]:
    """Return value and bound of the limits on a single order, for the order of `lots` in the symbol `column`.

    The size of the order is 0 if `lots` is None.
    """
    by_key = {"max_price_age_ns": Figure(float(ctx.age_ns[column]), float(limits.max_price_age_ns))}
    size = 0.0 if lots is None else float(lots[column])
    if limits.max_order_notional is not None:
        # a purchase is reserved at its worst price, a collar above the mark; a sale at the mark
        notional = max(size * (1.0 + reserved(limits.collar)), -size) * float(ctx.px[column])
        by_key["max_order_notional"] = Figure(notional, limits.max_order_notional)
    up, down = (0.0 if side is None else float(side[column]) for side in (account.up, account.down))
    volume = float(ctx.volume_lots[column])
    has_volume = 0.0 < volume < inf
    if limits.max_share_of_volume is not None and has_volume:
        by_key["max_share_of_volume"] = Figure((abs(size) + (up + down)) / volume, limits.max_share_of_volume)
    spec = limits.liquidity
    # without a volume or a participation no number of days follows
    if spec is not None and has_volume and spec.participation > 0.0:
        position = float(account.lots[column]) + size
        if lots is not None:
            position += up - down
        by_key["liquidity"] = Figure(abs(position) / (spec.participation * volume), spec.days)
    return by_key
