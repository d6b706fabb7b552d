"""The pre-trade gate: the part of a basket that complies with all limits, in closed form.

What can go wrong: an order complies alone, and breaks a limit when another order fills, or when it does not. Every open
order may fill wholly, partly or not at all. Each limit therefore takes the exposures at their largest and equity at its
lowest, even if these cannot occur together. A search over all combinations of fills was rejected: it would gain a
fraction of a lot (docs/decisions/009).

The order of the checks gives the result its properties.

- Reducing orders pass first and whole, so that no limit on risk keeps a position from being closed. Only a halt, a
  symbol on hold and a missing price refuse them.
- Caps per symbol come next, then correlation pairs, then one common factor for all orders that add risk. Lots are
  rounded down. So the result does not depend on the order of the symbols, and lots that passed once pass again.
- Limits on new positions (`Openings`) see the orders that pass all other limits. If they refuse an order, all other
  orders are decided again without it, because they may use the bounds that it would have used.

The function `gate` terminates, because each further pass has fewer orders. All baskets take the same path
(docs/decisions/013). A missing price, a history that is too short and a NaN lead to a refusal.
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
from quantd.risk.pretrade.loops import Loops
from quantd.risk.pretrade.standing import Basket
from quantd.risk.switch import HALT, REDUCE, RUN

Codes = NDArray[np.int8]

LOOPS: Final = Loops()

__all__ = [
    "HALT", "REDUCE", "RUN", "Account", "Context", "Verdict", "gate", "granted", "measure",
    "same_book",
]  # fmt: skip


class Verdict(Struct, eq=False):
    """The result of the risk gate: `lots` float64[N] signed, the lots that pass, and `reason` int8[N], the code of
    the limit that reduced each symbol's order (0: not reduced)."""

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
        """Return limit -> (value, bound) after all fills of the lots that pass and of all open orders at reference
        prices."""
        if self._values is None:
            self._values = standing(self._ctx, self._account, self._limits, self.lots)
        return self._values

    @property
    def before(self) -> Values:
        """Return limit -> (value, bound) of the present positions."""
        if self._before is None:
            self._before = standing(self._ctx, self._account, self._limits, None)
        return self._before

    @property
    def recorded(self) -> Values:
        """Return those `values` that a journal records: of limits that reduced an order, or whose use may raise an
        alert."""
        if self._recorded is None:
            measure([self])
        return self._recorded or {}

    def _cutting(self) -> set[str]:
        """Return the keys of the limits that reduced an order."""
        return {LIMIT_OF[code] for code in set(self.reason.tolist()) if code}


def measure(
    verdicts: Sequence[Verdict],
    before: Sequence[Verdict] = (),
    sums: Sums | None = None,
    wanted: Sequence[Collection[str] | None] | None = None,
) -> None:
    """Compute `recorded` (the limit values for the journal) of several verdicts on one market in one pass.

    The present positions of the verdicts in `before` only take part in the matrix products, on which the last bits of
    the values depend. With the running `sums` of each lookback, limits whose values surely stay below `QUIET`, the
    share of a bound from which alerts begin, are not measured. Limits that reduced an order (`cutting`) always are.
    `wanted` are the limits of each verdict whose values are required (None: all); values of other limits may be
    missing.
    """
    ctx = verdicts[0]._ctx
    cutting = [verdict._cutting() for verdict in verdicts]
    limits = wanted if wanted is not None else [None] * len(verdicts)
    books = [
        Portfolio(ctx, verdict._account, verdict._limits, verdict.lots, cuts, keys)
        for verdict, cuts, keys in zip(verdicts, cutting, limits, strict=True)
    ]
    # None: without orders the present positions are measured
    beside = [Portfolio(ctx, present._account, present._limits, None) for present in before]
    readings = standings(ctx, books, QUIET, beside, sums)
    for verdict, cuts, values in zip(verdicts, cutting, readings, strict=True):
        verdict._recorded = _values_to_record(values, cuts)
        if LIMIT_OF[Reason.EQUITY] in cuts:
            verdict._recorded = {**verdict._recorded, **_tightest(verdict._account, verdict._limits, ctx)}


def _tightest(account: Account, limits: Limits, ctx: Context) -> Values:
    """Return `equity.SYMBOL` -> (weight, bound) of the heaviest position: lower equity would lift it above its limit.
    Nothing where no position has a limit."""
    bounds = [bound for bound in (limits.max_position_weight, limits.max_concentration) if bound is not None]
    if not (bounds and account.equity > 0.0 and account.lots.any()):
        return {}
    weights = np.abs(account.lots * ctx.px) / account.equity
    heaviest = int(np.argmax(weights))
    return {f"equity.{ctx.universe.symbols[heaviest]}": (float(weights[heaviest]), min(bounds))}


def _values_to_record(values: Values, cutting: Collection[str] = ()) -> Values:
    """Return the values of the limits whose use may raise an alert, and of the limits in `cutting`."""
    return {k: pair for k, pair in values.items() if in_use(k, *pair) or k.partition(".")[0] in cutting}


def granted(verdict: Verdict, sums: Sums | None = None, wanted: Collection[str] | None = None) -> Verdict:
    """Return the verdict on the lots that `verdict` let pass, under the same limits and for the same account: all of
    them pass.

    The result is made without a call of the gate. `wanted` are the limits whose values are required, None for all.
    """
    # zeros: no limit reduces an order of the new verdict
    verdict_of_lots = Verdict(
        verdict.lots, np.zeros(len(verdict.lots), np.int8), verdict._ctx, verdict._account, verdict._limits
    )
    measure([verdict], [verdict], sums, [wanted])
    verdict_of_lots._recorded = _values_to_record(verdict.recorded)
    return verdict_of_lots


def same_book(first: Account, second: Account) -> bool:
    """Whether two accounts have equal positions and cash, and no open orders."""
    return (
        first.cash == second.cash
        and first.equity == second.equity
        and first.up is first.down is second.up is second.down is None
        and first.lots.tobytes() == second.lots.tobytes()
    )


def gate(ctx: Context, account: Account, order_lots: Floats, limits: Limits, switch: int = RUN) -> Verdict:
    """Return the verdict on `order_lots` (float64[N], signed lots): the part of them that complies with every limit.

    The permitted part complies with the limits for every subset and partial fill of its orders and of all open orders.
    Lots are whole. If the permitted lots are submitted again, they pass in full, whatever the order of the symbols. A
    single order gets the most lots that the closed-form bounds permit. No limit on risk cuts a reducing order.
    Such an order is still refused without a usable price, and in a symbol that is halted or on hold after a price jump.
    Values that are not finite are refused. `switch` is the kill switch: at HALT every order is refused, and unless it
    is at RUN only reducing orders pass.
    """
    reason = np.zeros(len(order_lots), dtype=np.int8)
    if account.halted is not None:
        stopped_orders = account.halted & (order_lots != 0.0)
        reason[stopped_orders] = Reason.HALTED
        order_lots = np.where(stopped_orders, 0.0, order_lots)
    if account.jumped is not None:
        stopped_orders = account.jumped & (order_lots != 0.0)
        # orders given by hand may still reduce a position
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
    """Return bool[N], True for symbols in which a limit on new positions refuses the order of `lots`; None for none.

    The code of the limit is written to `reason` at these symbols.
    """
    for code, refusal in rules.openings:
        try:
            refused = refusal(ctx, rules, account, lots)
        except Exception:  # raised again, unless the limit is of an installed package: then all adding orders fail
            refusing(code)
            adding: Bools = (lots != 0.0) & (lots * account.lots >= 0.0)
            refused = adding if adding.any() else None
        if refused is not None:
            reason[refused] = code
            return refused
    return None


def _prepared(rules: Rules) -> Prepared:
    """Return the gate's inputs for a set of rules, created at the first call."""
    prepared: Prepared | None = rules.prepared
    if prepared is None:
        prepared = rules.prepared = Prepared(rules)
    return prepared


def _pass(
    ctx: Context, account: Account, asked: Floats, rules: Rules, switch: int, reason: Codes
) -> tuple[Floats, bool]:
    """Decide the orders `asked` once.

    Returns (signed lots that pass, whether a further pass is needed). With fewer symbols more rows of returns may be
    complete. A limit of an installed package whose function raises permits nothing; an error of a built-in limit is
    raised again.
    """
    prepared = _prepared(rules)
    cached_market = ctx.ready.get(id(rules))
    market: Market = _market(ctx, prepared) if cached_market is None else cached_market[1]
    # removed from the free gates while in use: it has scratch arrays, and another thread may decide at the same time
    try:
        gate: Gate = prepared.desks.pop()
    except IndexError:  # none is free
        gate = Gate(rules.size, LOOPS, len(rules.counts))
    basket = gate.basket
    _begin(basket, account, asked, reason)
    rooms = gate.rooms  # by limit on a number of orders: how many more it permits
    for k, count in enumerate(rules.counts):
        try:
            rooms[k] = count.most - count.used(account)
        except Exception:
            refusing(count.reason)
            rooms[k] = 0.0
    refusals = []
    for place, code, refusal in rules.bars:
        try:
            refused_symbols = refusal(rules, account, asked)
        except Exception:
            refusing(code)
            refused_symbols = np.ones(rules.size, dtype=np.bool_)
        if refused_symbols is not None:
            refusals.append((place, code, Refused(refused_symbols, refused_symbols)))
    expected_count = 0  # adding orders for which the rows of returns were chosen; 0 if these rows are final
    while True:
        caps = market.barred(refusals) if refusals else market.caps
        # False: the rows of returns depend on the orders that are left, so judge again with the rows of these
        if gate.judge(prepared.bounds, market.scene, caps, switch == RUN):
            break
        sizes = np.array(basket.size)
        market, has_gaps = market.with_rows(ctx, account.carried(), sizes)
        expected_count = int(np.count_nonzero(sizes)) if has_gaps else 0
    passed_lots, reasons = np.empty(rules.size), reason.data
    passed: Any = passed_lots.data
    LOOPS.finish(basket, passed, reasons)
    prepared.desks.append(gate)
    # reducing orders are not counted
    adding_left = np.count_nonzero((passed_lots != 0.0) & (passed_lots * account.lots >= 0.0)) if expected_count else 0
    return passed_lots, bool(adding_left < expected_count)


def _begin(basket: Basket, account: Account, asked: Any, reason: Any) -> None:
    """Write an account and the orders `asked` into a basket (the orders of one sample).

    An account without `open_loss` (the largest fall of equity when open orders fill) is marked as `derived`: the gate
    then computes a bound of that loss.
    """
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
    open_loss = account.open_loss
    basket.cash, basket.equity, basket.up_cash = account.cash, account.equity, account.up_cash
    basket.open_loss, basket.derived = 0.0 if open_loss is None else open_loss, open_loss is None
    basket.open_gain, basket.traded = account.open_gain, account.traded


def _market(ctx: Context, prepared: Prepared) -> Market:
    """Return the market of a context under a set of rules, created at the first call."""
    rules = prepared.rules
    scenarios = ctx.whole(rules.lookbacks, rules.limits.min_history)
    market = Market(ctx, prepared, scenarios, complete=scenarios is not None)
    # an entry refers to its rules: while it exists, no new object can have their id
    ctx.ready[id(rules)] = rules, market
    return market
