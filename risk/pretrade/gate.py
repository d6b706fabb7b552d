"""The pre-trade gate: the part of a basket that complies with all limits, in closed form.

Reducing orders pass first and whole. Caps per symbol follow, then correlation pairs, then one common factor for all
orders that add risk.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from math import inf, isfinite

import numpy as np
from msgspec import Struct

from quantd.risk.factor import Codes, cap, common_factor
from quantd.risk.limits.case import Account, Case, Extent
from quantd.risk.limits.catalogue import LIMIT_OF, Limits, Reason
from quantd.risk.limits.context import Bools, Context, Floats
from quantd.risk.limits.position import largest_lots
from quantd.risk.limits.ruleset import Rules, rules_of
from quantd.risk.limits.values import Norms, Portfolio, Values, standing, standings
from quantd.risk.monitor.levels import QUIET, in_use
from quantd.risk.pairs import clip_pairs
from quantd.risk.plain import plain
from quantd.risk.switch import HALT, REDUCE, RUN

__all__ = [
    "HALT", "REDUCE", "RUN", "Account", "Context", "Verdict", "gate", "granted", "measure",
    "same_book",
]  # fmt: skip


class Verdict(Struct, eq=False):
    """The result of the gate: `lots` float64[N] signed, and `reason` int8[N], the limit that cut each symbol (0:
    uncut)."""

    lots: Floats
    reason: Codes
    _ctx: Context
    _account: Account
    _limits: Limits
    _values: Values | None = None
    _before: Values | None = None
    _recorded: Values | None = None

    @property
    def values(self) -> Values:
        """Limit -> (value after all fills of these and all open orders at reference prices, bound)."""
        if self._values is None:
            self._values = standing(self._ctx, self._account, self._limits, self.lots)
        return self._values

    @property
    def before(self) -> Values:
        """Limit -> (value of the present positions, bound)."""
        if self._before is None:
            self._before = standing(self._ctx, self._account, self._limits, None)
        return self._before

    @property
    def recorded(self) -> Values:
        """Those of `values` that a journal keeps: limits that cut a symbol, or whose use may raise an alert."""
        if self._recorded is None:
            measure([self])
        return self._recorded or {}

    def _cutting(self) -> set[str]:
        """The limits that cut a symbol."""
        return {LIMIT_OF[code] for code in set(self.reason.tolist()) if code}


def measure(
    verdicts: Sequence[Verdict], before: Sequence[Verdict] = (), norms: Mapping[int, Norms] | None = None
) -> None:
    """Computes `recorded` of some verdicts of one context in one pass, beside the present positions of `before`.

    `norms` of each lookback save the measurement of what surely stays small."""
    ctx = verdicts[0]._ctx
    cutting = [verdict._cutting() for verdict in verdicts]
    books = [Portfolio(ctx, v._account, v._limits, v.lots, own) for v, own in zip(verdicts, cutting, strict=True)]
    beside = [Portfolio(ctx, v._account, v._limits, None) for v in before]
    found = standings(ctx, books, QUIET, beside, norms)
    for verdict, own, values in zip(verdicts, cutting, found, strict=True):
        verdict._recorded = _kept(values, own)


def _kept(values: Values, cutting: Collection[str] = ()) -> Values:
    return {k: pair for k, pair in values.items() if in_use(k, *pair) or k.partition(".")[0] in cutting}


def granted(verdict: Verdict, norms: Mapping[int, Norms] | None = None) -> Verdict:
    """The verdict of the same limits on the lots of `verdict`, for the same account: they pass whole."""
    again = Verdict(verdict.lots, np.zeros(len(verdict.lots), np.int8), verdict._ctx, verdict._account, verdict._limits)
    measure([verdict], [verdict], norms)
    again._recorded = _kept(verdict.recorded)
    return again


def same_book(one: Account, other: Account) -> bool:
    """Whether two accounts have equal positions and cash, and no open orders."""
    return (
        one.cash == other.cash
        and one.equity == other.equity
        and one.up is one.down is other.up is other.down is None
        and one.lots.tobytes() == other.lots.tobytes()
    )


def gate(ctx: Context, account: Account, asked: Floats, limits: Limits, switch: int = RUN) -> Verdict:
    """The part of `asked` (float64[N] signed lots) that complies with every limit, for every subset and partial fill of
    it and of all open orders.

    Lots are whole. Lots that passed pass again whole, whatever the order of the symbols. A single order gets the most
    lots within the closed-form bounds. Reducing orders always pass. Values that are not finite are refused.
    """
    reason = np.zeros(len(asked), dtype=np.int8)
    if account.halted is not None:
        stopped = account.halted & (asked != 0.0)
        reason[stopped] = Reason.HALTED
        asked = np.where(stopped, 0.0, asked)
    if not asked.nonzero()[0].size:
        return Verdict(np.zeros(len(asked)), reason, ctx, account, limits)
    if switch == HALT:
        reason[asked != 0.0] = Reason.SWITCH
        return Verdict(np.zeros(len(asked)), reason, ctx, account, limits)
    if switch == RUN:
        short_way = plain(ctx, account, asked, rules_of(limits, ctx.universe), reason)
        if short_way is not None:
            return Verdict(short_way, reason, ctx, account, limits)
    lots, again = _pass(ctx, account, asked, limits, switch, reason)
    while again:
        # the rows of returns depend on the requested symbols; fewer symbols may leave more rows
        lots, again = _pass(ctx, account, lots, limits, switch, reason)
    return Verdict(lots, reason, ctx, account, limits)


def _pass(
    ctx: Context, account: Account, asked: Floats, limits: Limits, switch: int, reason: Codes
) -> tuple[Floats, bool]:
    rules = rules_of(limits, ctx.universe)
    wanted, known = _finite(ctx, account, asked, reason)
    opposite = wanted * account.lots < 0.0
    reducing = _reducing(ctx, account, wanted, opposite, rules, reason) if np.count_nonzero(opposite) else None
    size = np.where(opposite, 0.0, np.abs(wanted))
    if not np.count_nonzero(size):
        return (wanted if reducing is None else reducing), False
    buys = wanted > 0.0
    if switch != RUN:
        refusal = Reason.SWITCH
    elif not known:
        refusal = Reason.NOT_FINITE
    elif not account.equity > 0.0:
        refusal = Reason.EQUITY
    else:
        case = Case(ctx, account, rules, buys, _extents(ctx, account, reducing, rules))
        reductions = 0 if reducing is None else int(np.count_nonzero(reducing))
        kept, again = _adding(case, size, reductions, reason)
        signed = np.copysign(kept, wanted)
        return (signed if reducing is None else signed + reducing), again
    reason[size > 0.0] = refusal
    return (np.zeros(len(asked)) if reducing is None else reducing), False


def _finite(ctx: Context, account: Account, asked: Floats, reason: Codes) -> tuple[Floats, bool]:
    """Whole requested lots, refused where a symbol's numbers are not finite, and whether the whole book is known."""
    columns = [side for side in (account.lots, account.up, account.down) if side is not None]
    money = (account.cash, account.equity, account.up_cash, account.open_loss, account.open_gain, account.traded)
    known = isfinite(sum(filter(None, money)))
    # a product with anything that is not finite is not, even with a price of 0
    if not isfinite(sum([float(each.dot(ctx.px)) for each in (asked, *columns)])):
        bad = ~np.isfinite(columns).all(axis=0)
        known = known and not bad.any()
        bad |= ~np.isfinite(asked)
        reason[bad & (asked != 0.0)] = Reason.NOT_FINITE
        asked = np.where(bad, 0.0, asked)
    known = known and (ctx.all_priced or not (account.carried() & ~ctx.priced).any())
    return np.trunc(asked), bool(known)


def _reducing(ctx: Context, account: Account, wanted: Floats, opposite: Bools, rules: Rules, reason: Codes) -> Floats:
    """Signed lots of reducing orders: whole, but never beyond zero with all open orders."""
    left = np.floor(np.maximum(account.closable(), 0.0))
    size = np.abs(wanted) * opposite
    reason[size > left] = Reason.ZERO_CROSSING
    # NaN was refused before
    size = np.fmin(size, left)
    if not ctx.all_priced:
        reason[opposite & ~ctx.priced] = Reason.PRICE_MISSING
        size = np.where(ctx.priced, size, 0.0)
    bad = ctx.off_grid(rules.limits.reduce_collar, rules.ticks, rules.widest_tick)
    if bad is not None:
        reason[opposite & bad] = Reason.WORST_PRICE
        size = np.where(bad, 0.0, size)
    return np.copysign(size, wanted)


def _extents(ctx: Context, account: Account, reducing: Floats | None, rules: Rules) -> list[Extent]:
    """The worst state in flight and, where limits differ for it, the state after all fills."""
    limits, fee, px = rules.limits, rules.fee, ctx.px
    low, high = account.lots, account.lots
    up = down = 0.0
    if account.up is not None:
        high = high + account.up
        up = float(account.up.dot(px))
    if account.down is not None:
        low = low - account.down
        down = float(account.down.dot(px))
    paid, covered = (1.0 + limits.collar) * (1.0 + fee), (1.0 + limits.reduce_collar) * (1.0 + fee)
    up_loss = max(up * (paid - 1.0), account.up_cash - up)
    # an open sale may reduce a position or open a short one: it has one collar or the other
    sold_at = max(limits.collar, limits.reduce_collar)
    open_loss = up_loss + down * (sold_at + fee) if account.open_loss is None else account.open_loss
    open_fee, proceeds = (up + down) * fee, down * (1.0 - fee)
    traded = covers = sales = 0.0
    if reducing is not None:
        bought = np.maximum(reducing, 0.0)
        sold = bought - reducing
        high, low = high + bought, low - sold
        covers, sales = float(bought.dot(px)), float(sold.dot(px))
        traded = covers + sales
    low_equity = account.equity - open_loss
    # exposure and equity belong to one state: only a value beyond the bound at the highest equity is surely a breach
    before = account.equity + account.open_gain
    n = rules.size
    worst = np.empty(2 * n)
    np.multiply(low, px, out=worst[:n])
    np.negative(worst[:n], out=worst[:n])
    np.multiply(high, px, out=worst[n:])
    spent = account.up_cash - account.cash + limits.cash_reserve * account.equity
    turnover = account.traded + up + down + traded
    way = Extent(
        worst,
        low_equity - traded * (covered - 1.0),
        before,
        px * (paid - 1.0),
        spent + covers * covered + _owed(limits, low_equity - covers * (covered - 1.0), sales * (covered - 1.0), sales),
        turnover,
        False,
    )
    if not rules.two_states:
        return [way]
    after = low + high - account.lots
    exposures = after * px
    settled = account.equity - open_fee
    end = Extent(
        np.concatenate((-exposures, exposures)),
        settled - traded * fee,
        settled,
        px * fee,
        spent + covers * (1.0 + fee) - sales * (1.0 - fee) - proceeds,
        turnover,
        True,
    )
    return [way, end]


def _owed(limits: Limits, equity: float, lost: float, sales: float) -> float:
    """Largest permitted cash debit, negative: a share of the equity left by all open orders, reduced where a sale of
    this basket costs more of that share than it brings."""
    debit = limits.max_cash_debit
    return max(debit * lost - (sales - lost), 0.0) - debit * equity


def _adding(case: Case, size: Floats, reductions: int, reason: Codes) -> tuple[Floats, bool]:
    """Unsigned lots of adding orders that pass beside `reductions` others, and whether fewer symbols need a second
    pass."""
    lots = size
    for code, most_of in case.rules.caps:
        most = most_of(case, lots)
        if most is not None:
            lots = cap(lots, most, code, reason)
    asked = _counted(case, lots, reductions, reason)
    if not np.count_nonzero(asked):
        return asked, False
    lots, gaps = _history(case, asked, reason)
    spec = case.rules.limits.correlation
    if spec is not None and np.count_nonzero(lots):
        lots = cap(lots, clip_pairs(case, lots, spec, False), Reason.CORRELATION, reason)
    lots = _weigh_again(case, common_factor(case, lots, reason), reason)
    if case.rules.two_states:
        lots = _settled_cash(case, lots, reason)
    return lots, gaps and bool(np.count_nonzero(lots) < np.count_nonzero(asked))


def _counted(case: Case, lots: Floats, reductions: int, reason: Codes) -> Floats:
    """Keeps the largest notionals, as many as each count permits beside `reductions`."""
    for count in case.rules.counts:
        room = max(0, count.most - count.used(case.account) - reductions)
        if np.count_nonzero(lots) <= room:
            continue
        rows = np.flatnonzero(lots > 0.0).tolist()
        names, px = case.ctx.universe.symbols, case.ctx.px
        rows.sort(key=lambda k: (-lots[k] * px[k], names[k]))
        lots = lots.copy()
        lots[rows[room:]] = 0.0
        reason[rows[room:]] = count.reason
    return lots


def _history(case: Case, lots: Floats, reason: Codes) -> tuple[Floats, bool]:
    """Refuses symbols with too few returns; selects the scenario rows."""
    account = case.account
    least = case.rules.limits.min_history
    whole = case.ctx.whole(case.rules.lookbacks, least)
    if whole is not None:
        case.scenarios = whole
        return lots, False
    windows = {k: case.ctx.window(k, least) for k in case.rules.lookbacks}
    gaps = False
    carried = account.carried()
    for window in windows.values():
        if window.short is not None:
            lots = cap(lots, np.where(window.short, 0.0, inf), Reason.HISTORY, reason)
            if (carried & window.short).any():
                reason[lots > 0.0] = Reason.HISTORY
                return np.zeros(len(lots)), False
    matters = carried | (lots > 0.0)
    for lookback, window in windows.items():
        found = window.scenarios(matters)
        if len(found) < least:
            reason[lots > 0.0] = Reason.HISTORY
            return np.zeros(len(lots)), False
        case.scenarios[lookback] = found
        gaps = gaps or not (window.complete or window.uniform)
    return lots, gaps


def _weigh_again(case: Case, lots: Floats, reason: Codes) -> Floats:
    """Checks weights and pairs again at the lowest equity of the whole basket."""
    if case.rules.weight is not None and not case.weights_keep:
        equities = [e.equity - float(e.slip.dot(lots)) + e.slip * lots for e in case.extents]
        each = [largest_lots(case, e, case.rules.weight, own) for e, own in zip(case.extents, equities, strict=True)]
        lots = cap(lots, reduce(np.minimum, each), case.rules.weight_code, reason)
    if case.pairs is not None:
        lots = cap(lots, clip_pairs(case, lots, case.pairs, True), Reason.CORRELATION, reason)
    return lots


def _settled_cash(case: Case, lots: Floats, reason: Codes) -> Floats:
    """Cuts buys where short sales, cut after the factor, bring less proceeds."""
    added = case.sides(lots)
    at = next(k for k, row in enumerate(case.rules.rows) if row.reason == Reason.CASH)
    load, n = case.rules.settled_load[at], case.rules.size
    end = next(e for e in case.extents if e.settled)
    spent = float(load[n:] @ added[n:])
    room = max(-end.cash_used - float(load[:n] @ added[:n]) + case.tolerance, 0.0)
    if spent <= room:
        return lots
    return cap(lots, np.where(case.buys, lots * (room / spent), inf), Reason.CASH, reason)
