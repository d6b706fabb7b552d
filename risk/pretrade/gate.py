"""The pre-trade gate: the part of a basket that complies with all limits, in closed form.

What can go wrong: an order that complies alone and breaks a limit when another one fills, or does not. Every open order
may fill wholly, partly or not at all. So each limit takes the exposures at their largest and equity at its lowest, even
if no single state has both. A search over all fills was rejected: it would gain a fraction of a lot
(docs/decisions/009).

The order of the checks gives the result its properties.

- Reducing orders pass first and whole, so that no limit keeps a position from being closed.
- Caps per symbol come next, then correlation pairs, then one common factor for all orders that add risk. Lots are
  rounded down. The result therefore does not depend on the order of the symbols, and what passed passes again whole.
- Limits on what may be opened see the orders that pass all others. If they refuse one, the others are decided again
  without it, because what it would have used is free.

`gate` ends: each further pass has fewer orders. Two paths, one of them for common baskets, were given up for one
(docs/decisions/013). A missing price, a short history or a NaN refuses.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.risk.limits.case import Account
from quantd.risk.limits.catalogue import LIMIT_OF, Limits, Reason
from quantd.risk.limits.context import Bools, Context, Floats
from quantd.risk.limits.kinds import Refused
from quantd.risk.limits.ruleset import Rules, rules_of
from quantd.risk.limits.values import Portfolio, Sums, Values, standing, standings
from quantd.risk.monitor.levels import QUIET, in_use
from quantd.risk.pretrade.gate_inputs import Market, Prepared, refusing
from quantd.risk.pretrade.judge import Gate
from quantd.risk.pretrade.standing import Basket
from quantd.risk.pretrade.vectors import quickest
from quantd.risk.switch import HALT, REDUCE, RUN

Codes = NDArray[np.int8]

LOOPS: Final = quickest()

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
    verdicts: Sequence[Verdict],
    before: Sequence[Verdict] = (),
    sums: Sums | None = None,
    wanted: Sequence[Collection[str] | None] | None = None,
) -> None:
    """Computes `recorded` of some verdicts of one context in one pass, beside the present positions of `before`.

    `sums` of each lookback save the measurement of what surely stays small. `wanted` are the limits of each verdict
    that count, None for all: others may be missing."""
    ctx = verdicts[0]._ctx
    cutting = [verdict._cutting() for verdict in verdicts]
    limits = wanted if wanted is not None else [None] * len(verdicts)
    books = [
        Portfolio(ctx, verdict._account, verdict._limits, verdict.lots, cuts, keys)
        for verdict, cuts, keys in zip(verdicts, cutting, limits, strict=True)
    ]
    beside = [Portfolio(ctx, v._account, v._limits, None) for v in before]
    readings = standings(ctx, books, QUIET, beside, sums)
    for verdict, cuts, values in zip(verdicts, cutting, readings, strict=True):
        verdict._recorded = _kept(values, cuts)


def _kept(values: Values, cutting: Collection[str] = ()) -> Values:
    return {k: pair for k, pair in values.items() if in_use(k, *pair) or k.partition(".")[0] in cutting}


def granted(verdict: Verdict, sums: Sums | None = None, wanted: Collection[str] | None = None) -> Verdict:
    """The verdict of the same limits on the lots of `verdict`, for the same account: they pass whole. `wanted` as in
    `measure`."""
    verdict_of_lots = Verdict(
        verdict.lots, np.zeros(len(verdict.lots), np.int8), verdict._ctx, verdict._account, verdict._limits
    )
    measure([verdict], [verdict], sums, [wanted])
    verdict_of_lots._recorded = _kept(verdict.recorded)
    return verdict_of_lots


def same_book(one: Account, other: Account) -> bool:
    """Whether two accounts have equal positions and cash, and no open orders."""
    return (
        one.cash == other.cash
        and one.equity == other.equity
        and one.up is one.down is other.up is other.down is None
        and one.lots.tobytes() == other.lots.tobytes()
    )


def gate(ctx: Context, account: Account, order_lots: Floats, limits: Limits, switch: int = RUN) -> Verdict:
    """Return the verdict on `order_lots` (float64[N], signed lots): the part of them that complies with every limit.

    It complies for every subset and partial fill of these orders and of all open orders. Lots are whole. Lots that
    passed pass again in full, whatever the order of the symbols. A single order gets the most lots within the
    closed-form bounds. Reducing orders always pass. Values that are not finite are refused.
    """
    reason = np.zeros(len(order_lots), dtype=np.int8)
    if account.halted is not None:
        stopped_orders = account.halted & (order_lots != 0.0)
        reason[stopped_orders] = Reason.HALTED
        order_lots = np.where(stopped_orders, 0.0, order_lots)
    if account.jumped is not None:
        stopped_orders = account.jumped & (order_lots != 0.0)
        if account.by_hand:
            stopped_orders &= order_lots * account.lots >= 0.0
        reason[stopped_orders] = Reason.PRICE_JUMP
        order_lots = np.where(stopped_orders, 0.0, order_lots)
    if not np.count_nonzero(order_lots):
        return Verdict(np.zeros(len(order_lots)), reason, ctx, account, limits)
    if switch == HALT:
        reason[order_lots != 0.0] = Reason.SWITCH
        return Verdict(np.zeros(len(order_lots)), reason, ctx, account, limits)
    rules = rules_of(limits, ctx.universe)
    while True:
        # a copy: the reasons of a pass count only if no opening is refused after it
        codes = reason.copy() if rules.openings else reason
        lots, is_partial = _pass(ctx, account, order_lots, rules, switch, codes)
        while is_partial:
            # the rows of returns depend on the requested symbols; fewer symbols may leave more rows
            lots, is_partial = _pass(ctx, account, lots, rules, switch, codes)
        refused_orders = _refused_openings(ctx, account, lots, rules, reason)
        if refused_orders is None:
            return Verdict(lots, codes, ctx, account, limits)
        # a second pass without the refused orders, so that the others can use the bounds that these would have used
        order_lots = np.where(refused_orders, 0.0, order_lots)


def _refused_openings(ctx: Context, account: Account, lots: Floats, rules: Rules, reason: Codes) -> Bools | None:
    """Symbols of complying `lots` that may only be reduced, with the limit in `reason`; None for none."""
    for code, refusal in rules.openings:
        try:
            refused = refusal(ctx, rules, account, lots)
        except Exception:
            refusing(code)
            adding: Bools = (lots != 0.0) & (lots * account.lots >= 0.0)
            refused = adding if adding.any() else None
        if refused is not None:
            reason[refused] = code
            return refused
    return None


def _prepared(rules: Rules) -> Prepared:
    prepared: Prepared | None = rules.prepared
    if prepared is None:
        prepared = rules.prepared = Prepared(rules)
    return prepared


def _pass(
    ctx: Context, account: Account, asked: Floats, rules: Rules, switch: int, reason: Codes
) -> tuple[Floats, bool]:
    """Signed lots that pass, and whether fewer symbols need a second pass."""
    prepared = _prepared(rules)
    ready = ctx.ready.get(id(rules))
    market: Market = _market(ctx, prepared) if ready is None else ready[1]
    # taken out while in use: a gate has scratch arrays, and another thread may decide at the same time
    gate: Gate = prepared.desks.pop() if prepared.desks else Gate(rules.size, LOOPS, len(rules.counts))
    basket = gate.basket
    _begin(basket, account, asked, reason)
    rooms = gate.rooms
    for k, count in enumerate(rules.counts):
        try:
            rooms[k] = count.most - count.used(account)
        except Exception:
            refusing(count.reason)
            rooms[k] = 0.0
    bars = []
    for place, code, refusal in rules.bars:
        try:
            bad = refusal(rules, account, asked)
        except Exception:
            refusing(code)
            bad = np.ones(rules.size, dtype=np.bool_)
        if bad is not None:
            bars.append((place, code, Refused(bad, bad)))
    least = 0
    while True:
        caps = market.barred(bars) if bars else market.caps
        if gate.judge(prepared.bounds, market.scene, caps, switch == RUN):
            break
        sizes = np.array(basket.size)
        market, gaps = market.with_rows(ctx, account.carried(), sizes)
        least = int(np.count_nonzero(sizes)) if gaps else 0
    out, reasons = np.empty(rules.size), reason.data
    passed: Any = out.data
    LOOPS.finish(basket, passed, reasons)
    prepared.desks.append(gate)
    # reducing orders are not counted
    kept = np.count_nonzero((out != 0.0) & (out * account.lots >= 0.0)) if least else 0
    return out, bool(kept < least)


def _begin(basket: Basket, account: Account, asked: Any, reason: Any) -> None:
    """A new basket of an account."""
    lots: Any = account.lots
    try:
        LOOPS.begin(basket, asked, lots, reason)
    except (ValueError, TypeError):  # compiled loops take contiguous arrays of floats only
        asked, lots = np.ascontiguousarray(asked, np.float64), np.ascontiguousarray(lots, np.float64)
        LOOPS.begin(basket, asked, lots, reason)
    if account.up is not None:
        np.asarray(basket.up)[:] = account.up
    if account.down is not None:
        np.asarray(basket.down)[:] = account.down
    given = account.open_loss
    basket.cash, basket.equity, basket.up_cash = account.cash, account.equity, account.up_cash
    basket.open_loss, basket.derived = 0.0 if given is None else given, given is None
    basket.open_gain, basket.traded = account.open_gain, account.traded


def _market(ctx: Context, prepared: Prepared) -> Market:
    rules = prepared.rules
    scenarios = ctx.whole(rules.lookbacks, rules.limits.min_history)
    market = Market(ctx, prepared, scenarios, complete=scenarios is not None)
    # an entry holds its rules, so that their id cannot come to mean others
    ctx.ready[id(rules)] = rules, market
    return market
