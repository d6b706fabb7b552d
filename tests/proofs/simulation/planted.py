"""Bugs to plant: each a place in the code and what stands there instead. The simulator must find every one."""

import inspect
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FunctionType
from typing import Any, NamedTuple

from quantd.daemon.engine import market, operator_events, samples
from quantd.daemon.engine.core import order_columns
from quantd.daemon.engine.planning import (
    gate_account,
    plan,
    stop_conflicts,
    targets,
)
from quantd.daemon.engine.safety import switch
from quantd.daemon.engine.state import agent_state, engine_state, market_data, open_orders, price_holds, snapshot
from quantd.daemon.engine.stops import exits, sync, venue_stops
from quantd.daemon.engine.venue import account, price_jumps, reports, splits, unknown
from quantd.daemon.runtime import journal
from quantd.engine_build.recipe import MODULES
from quantd.risk import protective
from quantd.risk.limits import cash, exposure, ruleset
from quantd.risk.pretrade import standing
from quantd.trading.ledger import book, books
from tests.proofs.simulation.runner import simulate


class Bug(NamedTuple):
    """`place` with `right` in its source replaced by `wrong`."""

    name: str
    place: Callable[..., Any]
    right: str
    wrong: str

    @property
    def listed(self) -> bool:
        """Whether it is in a module that may be compiled, in which nothing can be planted."""
        return self.place.__module__ in MODULES


BUGS = (
    Bug("every fill report is posted, repeated or not", reports.cover, "if low == work.filled[row]:", "if True:"),
    Bug(
        "an unknown outcome is taken as rejected", unknown.on_unknown,
        "TRANSITIONS[work.state[row]][Cause.TIMED_OUT]", "OrderState.REJECTED",
    ),
    Bug("a cancelled order that never arrived is never given up", unknown.on_not_found,
        "in UNCONFIRMED", "== OrderState.UNKNOWN"),
    Bug("the venue's word that it never had an order is ignored", unknown.on_not_found, "if work is None:", "if True:"),
    Bug("orders past their end are not asked for", samples.overdue, "work.basket.end[row] < state.now", "False"),
    Bug("unknown orders are asked for once only", samples.overdue, "order_state == OrderState.UNKNOWN or ", ""),
    Bug("an order ends although fills on the way are missing", reports.News._move,
        "if cause in ENDING and work.filled[row] < cum and before not in ENDED:", "if False:"),
    Bug("sales are booked as purchases", reports.News._fill, "self.lots.append(side * new)", "self.lots.append(new)"),
    Bug("fees are forgotten", reports.News._fill, "self.fee_micro.append(fee_micro)", "self.fee_micro.append(0)"),
    Bug("fees of a basket filled at once are forgotten", reports.News.all_filled,
        "self.price_nano, self.fee_micro = reports.price_nano, reports.fee_micro",
        "self.price_nano, self.fee_micro = reports.price_nano, [0] * size"),
    Bug("a basket is put away when its first row ends", reports.post, "if work.live == 0 and", "if news.ended and"),
    Bug("a report posts what is filled in all, not what is new", reports.News._fill,
        "self.lots.append(side * new)", "self.lots.append(side * cum)"),
    Bug("a split leaves resting orders as they were", splits.split_books,
        "work.split(symbol, numerator, denominator)", "pass"),
    Bug("a split of resting orders is turned round", splits.split_books,
        "work.split(symbol, numerator, denominator)", "work.split(symbol, denominator, numerator)"),
    Bug("dividends are not booked", market.on_action, "state.ledger.dividend(symbol, action.cash_nano)", "(0, [])"),
    Bug("marks are not rescaled by a split", splits.scale_mark,
    "marks_nano[symbol] = int(marks_nano[symbol]) * denominator // numerator", "pass"),
    Bug("a held symbol has the newest price", price_holds.PriceHold.worse_nano,
        "(max if lots < 0 else min)(self.before_nano, self.newest_nano)", "self.newest_nano"),
    Bug("agents trade a held symbol", gate_account.account_of, "jumped=state.mask(state.restrictions.jumped)",
        "jumped=None"),
    Bug("a snapshot forgets holds", snapshot.thaw, "decoded.limited, decoded.jumped)", "decoded.limited, {})"),
    Bug("an explained split leaves the lots", price_jumps._end_hold,
        "effects.extend(split_books(state, split.ts, symbol, numerator, denominator))", "pass"),
    Bug("a cancel is asked for once only, whatever became of it", samples.overdue,
        "if order_state == OrderState.CANCELLING:", "if False:"),
    Bug("re-arming takes an old equity", operator_events._resume, "state.revalue()", "pass"),
    Bug("a missing bar becomes a price of nothing", market.on_market_slice,
        "np.where(fresh, market.close_nano, state.marks_nano)", "market.close_nano"),
    Bug("a deposit is booked twice", account._deposit, "state.ledger.deposit(amount_micro, book)",
        "state.ledger.deposit(2 * amount_micro, book)"),
    Bug("a trip of the switch leaves orders open", switch.cancel_open_orders,
        "effects.append(work.cancel(row, state.now))", "work.cancel(row, state.now)"),
    Bug("open orders reserve nothing", gate_account.account_of,
        "if state.working or state.crosses or state.venue.foreign or state.awaiting:", "if state.venue.foreign:"),
    Bug("open purchases reserve no cash", gate_account._add_open_orders,
        "up_cash += lots * worst * (1.0 + fee)", "pass"),
    Bug("follow-ups count on sales that have not filled", gate_account.account_of,
        "cash=state.account(book).cash_micro / MICRO",
        "cash=state.account(book).cash_micro / MICRO "
        "+ sum(-lots * worst for _, lots, worst, _ in state.open_rows(book) if lots < 0)"),
    Bug("unknown orders reserve nothing", order_columns.Orders.open_shares,
        "if self.state[row] < FILLED:", "if self.state[row] < FILLED and self.state[row] != 4:"),
    Bug("orders being cancelled reserve nothing", order_columns.Orders.open_shares,
        "if self.state[row] < FILLED:", "if self.state[row] < FILLED and self.state[row] != 3:"),
    Bug("a snapshot forgets working orders", snapshot.thaw,
        "for key, work in decoded.working}", "for key, work in ()}"),
    Bug("a snapshot forgets crosses", snapshot.thaw,
        "state.crosses.keep(decoded.crosses)", "pass"),
    Bug("a snapshot forgets order numbers", snapshot.thaw, "state.orders_at = dict(decoded.orders_at)", "pass"),
    Bug("a snapshot forgets the age of prices", market_data.thaw_market,
        "np.frombuffer(f.marks[2], dtype=np.int64)", "np.zeros(len(state.marks), dtype=np.int64)"),
    Bug("a cancel is taken as done at once", open_orders.Working.cancel,
        "transition(self.state[row], Cause.CANCEL_ASKED)", "int(OrderState.CANCELLED)"),
    Bug("order numbers are not counted up", plan._plan_house, "state.orders_at.get(sample, 0) + 1", "1"),
    Bug("a restart asks for nothing", journal.unanswered,
        "order_state in (OrderState.SENT, OrderState.CANCELLING)", "False"),
    Bug("rounding loses its residue", book.Postings.settle, "house.lose(self.lost_atto)", "pass"),
    Bug("a cross pays a fee", books.Ledger.cross, "with_remainder(0, ", "with_remainder(-1, "),
    Bug("shorts are paid dividends", books.Ledger._per_unit, "round_micro(self.house.held[symbol] * unit)",
        "round_micro(abs(self.house.held[symbol]) * unit)"),
    Bug("a split rounds shorts away from zero", books.split_lots,
        "truncate(sum(lots), numerator, denominator)", "sum(lots) * numerator // denominator"),
    Bug("the gate forgets open purchases", standing.Standing.settle,
        "high: float = position + open_buys", "high: float = position"),
    Bug("the gate lets sell what is being sold", standing.Basket.split,
        "closable: float = position - open_sells if", "closable: float = position if"),
    Bug("cash is reserved at the mark, not at the worst price", cash.cash,
        "paid = (1.0 + reserved(limits.collar)) * (1.0 + fee)", "paid = 1.0 + fee"),
    Bug("limits of orders go out twice as wide as reserved", ruleset.Rules._collar,
        "common = gcd(", "width = min(2 * width, NANO)\n    common = gcd("),
    Bug("gross exposure is not limited", exposure.gross, "return [Linear(most, long=1.0, short=1.0)]", "return []"),
    Bug("cash is not limited", standing.Standing.count_worst,
        "basket.up_cash - basket.cash +", "basket.up_cash - 9.0 * basket.cash +"),
    Bug("a wish to hold withdraws a protective exit", targets.hold_back,
        "differs[list(state.agents[agent].exits)] = False", "pass"),
    Bug("a snapshot forgets protective exits", agent_state.AgentState.thaw,
        "self.exits, self.blocked = frozen.exits", "pass"),
    Bug("a protective exit is asked for once only", exits.due_exits,
        "else exit_.tried != state.now", "else not each.tried"),
    Bug("a split leaves the best price of a trailing stop", exits.split_exits,
        "state.best[:, symbol] *= denominator / numerator", "pass"),
    Bug("stops of shorts lie below their entry", protective._levels_of,
        "1.0 - side * settings.stop", "1.0 - settings.stop"),
    Bug("what is being closed may be added to", targets.target_change,
        "targets.omit(column, values[column])", "pass"),
    Bug("a cooldown is forgotten", gate_account._blocked, "if state.sample_no <= last", "if False"),
    Bug("levels stay as they were before a purchase", engine_state.State.booked, "self._units = self.levels = None",
    "self._units = None"),
    Bug("a protective exit does not wait for a purchase to end", exits.order_exits,
        "change = np.where(in_flight(state, number) * lots > 0.0, 0.0, change)", "pass"),
    Bug(
        "a sale does not wait for the stop of what it sells", stop_conflicts.cancel_conflicts,
        "if to_cancel:", "if False:",
    ),
    Bug("a stop stays when what it covers is gone", sync._differs, "if target is None or stop.lots > target.lots:",
    "if target is None:"),
    Bug("what a stop closes may be entered at once", venue_stops.stops_filled,
        "agent.exits[symbol] = Exit(kind, entry, price / NANO, level, since=state.now)", "pass"),
    Bug("the cancel of a stop is asked for once only", venue_stops.repeat_cancels, "stop.going and (at_tick",
    "False and (at_tick"),
    Bug("a snapshot forgets the stops at the venue", snapshot.thaw,
        "thaw(decoded.resting, decoded.stops, agents)", "thaw(decoded.resting, [], agents)"),
)  # fmt: skip


@contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """The program with one bug, wherever the function is used; as it was on leaving."""
    place = bug.place
    assert isinstance(place, FunctionType)
    source = textwrap.dedent(inspect.getsource(place))
    if source.count(bug.right) != 1:
        raise ValueError(f"{bug.name}: {bug.right!r} stands {source.count(bug.right)} times in {place.__qualname__}")
    names = dict(place.__globals__)
    exec(compile(source.replace(bug.right, bug.wrong), f"<{bug.name}>", "exec"), names)
    kept = place.__code__
    ruleset._ready.clear()
    place.__code__ = names[place.__name__].__code__
    try:
        yield
    finally:
        place.__code__ = kept
        ruleset._ready.clear()


def hunt(bug: Bug, seeds: Sequence[int]) -> tuple[int, str] | None:
    """The first of `seeds` whose world shows the bug, and how; None when none does."""
    with planted(bug):
        for seed in seeds:
            outcome = simulate(seed)
            if outcome.violations:
                return seed, outcome.violations[0]
    return None
