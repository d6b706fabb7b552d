"""The limits of a state in the columns of the compiled fold: gates (checks of limits), terms of agents and venue, and
bands (ranges within which no alert level changes)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite
from operator import attrgetter
from typing import Any, Final

import numpy as np

from quantd.daemon.engine.core.book_columns import BookColumns
from quantd.daemon.engine.core.gate_sets import GateSet, gate_set
from quantd.daemon.engine.core.limiter import Limiter
from quantd.daemon.engine.core.venue_orders import NEVER
from quantd.daemon.engine.planning.gate_account import account_of, limits_in_force, market_context
from quantd.daemon.engine.safety.monitor import Review, levels_of, review, watched
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.state.verdict_log import Judged
from quantd.risk.limits.case import Account
from quantd.risk.limits.catalogue import Limits
from quantd.risk.limits.record import herfindahl_of
from quantd.risk.limits.ruleset import MOVING, Rules, moves, rules_of
from quantd.risk.limits.values import Values
from quantd.risk.measures.portfolio import least, total
from quantd.risk.monitor.ceilings import KNOWN, Bands
from quantd.risk.monitor.levels import NOISE, NONE, ROUNDING, UNWATCHED, band, floor_band, level, share_of
from quantd.risk.pretrade.gate import Codes, Verdict, granted, measure
from quantd.risk.switch import REDUCE, STATE_LIMITS
from quantd.trading import market
from quantd.trading.fill_prices import LimitFills
from quantd.trading.instruments import MICRO
from quantd.trading.number_types import Floats
from quantd.trading.ports import FillTerms

Near = tuple[int, frozenset[str] | None, frozenset[str]]
"""(index of a book, 0 for the house; keys of the limits that a plan records, None for all; keys that cut a symbol)."""

watched_bounds: Final = attrgetter(*(key for key in MOVING if key not in UNWATCHED))
"""The bounds of the moving limits that have alert levels."""


@dataclass(frozen=True, slots=True)
class PlanReview:
    """The part of a book in a plan, for the check of the alert levels of its limits.

    `lots` float64[N] are the signed lots that pass, `reason` the code of the limit that cut each symbol, and `review`
    the limits whose alert level the plan may raise.
    """

    book: int
    lots: market.Floats
    reason: Codes
    review: Review


class LimitColumns:
    """The limits in force of each book of a state, the whole account first. `terms` are the venue's
    terms of a fill."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.books = (HOUSE, *range(len(state.agents)))
        self.terms: FillTerms | None = None
        self._rules: object = None
        """The rules at the last `renew`."""
        self._inputs: tuple[Any, ...] | None = None
        """The limits in force, the watched books and the terms at the last `renew`."""
        self._plain = False
        """The last result of `renew`."""
        self._sets: dict[int, GateSet | None] = {}
        """`id` of a book's limits -> their gates in the fold; None where a plan under them is made in Python."""
        self._levels: dict[int, tuple[dict[str, int], int, bool]] = {}
        """By book: (alert levels, state of its switch, whether it is watched) at the last `load_levels`."""
        self._finite = -1
        """The count of the ring of closes at the last check that found its returns finite."""
        self._lookback = 0
        """The most returns that a limit reads."""
        self._recorded: set[int] = set()
        """The books for which `load_records` has made the bands of values (`quiet`) in which a plan records nothing."""

    def renew(self, terms: FillTerms | None, *, remote: bool) -> bool:
        """Load the limits in force into the columns. Returns False where the compiled fold does not know one of them.

        `terms` are the venue's terms of a fill; a `remote` venue does not tell them. Nothing is loaded again while
        rules, limits and terms are unchanged since the last call.
        """
        state, rules = self.state, self.state.rules
        limits = [limits_in_force(state, book) for book in self.books]
        inputs = limits, watched(state) == [HOUSE], terms, state.journalled
        if self._rules is rules and self._inputs == inputs:
            return self._plain
        if self._rules is rules and self._inputs is not None and self._move(inputs):
            return self._plain
        self._rules, self._inputs, self._levels, self._finite = rules, inputs, {}, -1
        self._recorded = set()
        self._sets = {id(of_book): gate_set(of_book, state.universe) for of_book in limits}
        self.terms = terms
        state.spending = state.venue.buying_power_micro is not None
        state.limits_move = rules.live is not None or rules.regime is not None or state.spending
        self._plain = remote or self.terms is not None
        state.has_notices = rules.notices is not None
        # what follows a plan reads its effects, which only a journal makes
        follows = (rules.counts_refusals or state.has_notices) and not state.journalled
        state.plans_in_python = rules.execution.style != "marketable" or follows or None in self._sets.values()
        if self._plain:
            self._write_terms()
            if not state.plans_in_python:
                self._write_gates(limits)
        return self._plain

    def _move(self, inputs: tuple[Any, ...]) -> bool:
        """Whether only bounds of the house's moving limits differ from the last `renew`: they are written in place."""
        assert self._inputs is not None
        (before, *of_agents), *rest = self._inputs
        (house, *as_now), *now = inputs
        gates = self._sets.get(id(before))
        # an agent whose limits are the house's own has the same gates
        if gates is None or [*rest, of_agents] != [*now, as_now] or any(limits is before for limits in of_agents):
            return False
        if not moves(before, house):
            return False
        del self._sets[id(before)]
        self._sets[id(house)] = gates.moved(rules_of(house, self.state.universe))
        self._inputs = inputs
        if watched_bounds(before) != watched_bounds(house):  # buying power has no level, and no band of values
            self._levels.pop(HOUSE, None)
            self._recorded.discard(HOUSE)
        return True

    def _write_terms(self) -> None:
        """Write the venue's terms of a fill, and the costs of the account to the columns."""
        state, rules = self.state, self.state.rules
        orders = state.venue_orders
        orders.remote = self.terms is None
        if self.terms is not None:
            orders.terms = LimitFills(self.terms.terms)
            orders.latency = self.terms.latency_ns if self.terms.computed else NEVER  # else the venue fills
        state.follow_ups, state.house_fee = rules.follow_ups, rules.house.fee_bp / 1e4
        state.pays_borrow = rules.borrow_bp_annual > 0.0
        configured = [rules.house, *(agent.limits for agent in rules.agents)]
        state.reads_returns = any(
            of_book.max_realised_volatility is not None or of_book.min_sharpe is not None for of_book in configured
        )

    def _write_gates(self, limits: list[Limits]) -> None:
        """Give each book the gate (the check of limits) of its `limits`.

        The columns of the plan get what all gates need: whether a limit reads volumes, the smallest collar (distance
        of a worst price from the mark) and the widest tick.
        """
        state, plan, universe = self.state, self.state.round_plan, self.state.universe
        sets = [gates for of_book in limits if (gates := self._sets[id(of_book)]) is not None]
        for columns, gates in zip(state.book_columns, sets, strict=True):
            columns.limiter, columns.collars = gates.limiter, gates.rules.collars
            gates.rare.begin(state.history.synchronous)
        plan.by_volume = any(gates.by_volume for gates in sets)
        plan.least_collar = min(min(of_book.collar, of_book.reduce_collar) for of_book in limits)
        plan.widest_tick = float(max(instrument.tick_nano for instrument in universe.instruments))
        self._lookback = max((k for of_book in limits for k in rules_of(of_book, universe).lookbacks), default=0)

    def known_returns(self) -> bool:
        """Whether every return that a limit reads is finite, that is, has a price at both ends."""
        ring = self.state.history.synchronous
        if self._finite != ring.count:
            rows = min(ring.count - 1, self._lookback)
            ring.fill()
            # the sum of finite returns is finite, and one NaN or infinity makes it NaN or infinite
            if not np.isfinite(ring.filled_returns[ring.end - rows : ring.end].sum()):
                return False
            self._finite = ring.count
        return True

    def load_books(self, watching: list[int]) -> None:
        """Give the columns of each book its positions, its kill switch and, if it is watched, its returns.

        `watching` are the indices of the books whose limits raise alerts. At the end `load_levels` computes the
        ranges of values in which their alert levels stay.
        """
        state = self.state
        for book, columns in zip(self.books, state.book_columns, strict=True):
            columns.marks, columns.book = state.switch_at(book), state.account(book)
            columns.micro = state.equity_of(book)
            columns.take_lots()
            columns.returns = state.watch.realised[book + 1] if book in watching else None
        self.load_levels(watching)

    def load_levels(self, watching: list[int]) -> None:
        """Compute the bands of values within which the alert levels and the kill switch of each book do not change."""
        state = self.state
        for book, columns in zip(self.books, state.book_columns, strict=True):
            levels, watched_now = levels_of(state, book), book in watching
            present = levels, columns.marks.state, watched_now
            if self._levels.get(book) == present:
                continue
            self._levels[book] = dict(levels), columns.marks.state, watched_now
            self._load_losses(book, columns)
            self._load_realised(book, columns)
            if watched_now:
                limits = limits_in_force(state, book)
                columns.bands = state.watch.bands_of(book, limits, state.universe, levels)
                # True: only a rise of a level leaves its band
                columns.rising = Bands(rules_of(limits, state.universe), levels, True)

    def reviews(self, watching: list[int]) -> dict[int, Review]:
        """Watched book -> the limits whose alert level may have changed at the last sample."""
        state = self.state
        holdings, px, ring = state.round_plan.holdings, state.market_columns.px_view, state.history.synchronous
        return {
            book: review(
                levels_of(state, book), columns.doubts(holdings, px, ring), realised=not columns.keeps_realised()
            )
            for book, columns in zip(self.books, state.book_columns, strict=True)
            if book in watching
        }

    def plans(self, watching: list[int]) -> list[PlanReview]:
        """The plans of the whole account and of the agents that take part, each with the levels that it may raise."""
        state, plan = self.state, self.state.round_plan
        plans = []
        for number, book in enumerate(self.books):
            if book != HOUSE and not state.agent_columns[book].taking:
                continue
            columns = plan if book == HOUSE else state.agent_columns[book]
            doubts = (
                plan.doubts(state.book_columns[number].rising, number, columns.passed, state.history.synchronous)
                if book in watching
                else []
            )
            lots, reason = np.array(columns.passed), np.array(columns.reason, dtype=np.int8)
            plans.append(PlanReview(book, lots, reason, review(levels_of(state, book), doubts)))
        return plans

    def plan_values(self, plans: list[PlanReview], *, measured: bool) -> list[tuple[int, Values]]:
        """(book, values of the limits whose alert level its plan may raise) for each of `plans`.

        With `measured` the values include limits that have to be measured, in one pass for all books; the first of
        `plans` is the plan of the whole account.
        """
        if not measured:
            return [(plan.book, plan.review.values) for plan in plans]
        state, context = self.state, market_context(self.state)
        verdicts = [
            Verdict(plan.lots, plan.reason, context, self._account(plan.book), limits_in_force(state, plan.book))
            for plan in plans
        ]
        measure(verdicts, verdicts[:1], wanted=[plan.review.wanted for plan in plans])
        return [
            (plan.book, {**verdict.recorded, **plan.review.values})
            for plan, verdict in zip(plans, verdicts, strict=True)
        ]

    def load_records(self) -> None:
        """Make the ranges (bands) in which a plan records no limit value, once for the limits in force."""
        state = self.state
        for book, columns in zip(self.books, state.book_columns, strict=True):
            if book in self._recorded:
                continue
            self._recorded.add(book)
            rules = rules_of(limits_in_force(state, book), state.universe)
            # {}: no limit has reached an alert level; True: only a rise leaves the band; ROUNDING: its margin
            columns.quiet = Bands(rules, {}, True, ROUNDING)
            for key, *_ in rules.traded_measures:
                columns.quiet.unsettled = key  # no band knows what a plan trades
            columns.exposures = exposures_of(rules)
            columns.sums = frozenset(key for key, *_ in columns.exposures)
            columns.keys = rules.keys_by_code

    def recorded(self, near: Sequence[Near]) -> list[Values]:
        """The values that a plan records, one record for each book of `near`, in its order.

        Where the whole account has the same verdict as its only agent, the house's values come first, then
        the agent's. The caller has written the last sample to the state (`FoldHost.show`). `near` has by book (its
        number: 0 is the house, agents follow; keys of the limits to measure; keys of the limits that cut lots). None as
        keys measures all limits.
        """
        state, plan = self.state, self.state.round_plan
        context, sums = market_context(state), state.history.synchronous.sums
        verdicts = []
        for number, *_ in near:
            book = number - 1  # the house is the first of `books`, and agents count from 0
            columns = plan if book == HOUSE else state.agent_columns[book]
            lots, reason = np.array(columns.passed), np.array(columns.reason, dtype=np.int8)
            verdicts.append(Verdict(lots, reason, context, self._account(book), limits_in_force(state, book)))
        if plan.granted:
            of_house = granted(verdicts[0], sums, near[0][1])
            return [of_house.recorded, verdicts[0].recorded]
        measure(verdicts, verdicts[:1], sums, [wanted for _, wanted, _ in near])
        return [verdict.recorded for verdict in verdicts]

    def _account(self, book: int) -> Account:
        """The account of a book as input of a plan's measures."""
        state = self.state
        if state.working:
            return account_of(state, book)
        cash, equity = state.account(book).cash_micro / MICRO, state.equity_of(book) / MICRO
        return Account(lots=state.lots(book), cash=cash, equity=equity, traded=state.activity.books[book].traded)

    def house_call(self) -> Judged:
        """The gate call (check of orders against limits) of the whole account in the present plan.

        The caller has written the last sample to the state.
        """
        state, plan = self.state, self.state.round_plan
        context, account, limits = market_context(state), self._account(HOUSE), limits_in_force(state, HOUSE)
        verdict = Verdict(np.array(plan.passed), np.array(plan.reason, dtype=np.int8), context, account, limits)
        return Judged(HOUSE, context, account, np.array(plan.net), limits, state.switch.state, verdict)

    def _configured(self, book: int) -> Limits:
        rules = self.state.rules
        return rules.house if book == HOUSE else rules.agents[book].limits

    def _load_losses(self, book: int, columns: BookColumns) -> None:
        """Write, for each loss limit, the loss that moves the kill switch, and the losses that keep the alert level."""
        limits, levels = self._configured(book), levels_of(self.state, book)
        reduces = book != HOUSE and columns.marks.state == REDUCE  # a further loss moves nothing
        for index, key in enumerate(STATE_LIMITS):
            bound = getattr(limits, key)
            bound = inf if bound is None else bound
            # a little below the bound: `step` then decides the exact case, a rounded value cannot pass by it
            columns.moves_at[index] = inf if reduces else bound * (1.0 - 1e-9)
            low, columns.high[index] = band(key, levels.get(key, NONE), bound)
            columns.low[index] = max(low, NOISE.get(key, -inf)) if levels.get(key) else low

    def _load_realised(self, book: int, columns: BookColumns) -> None:
        limits, levels = self._configured(book), levels_of(self.state, book)
        key, max_volatility, least = "max_realised_volatility", limits.max_realised_volatility, limits.min_sharpe
        band_edges = (-inf, inf) if max_volatility is None else band(key, levels.get(key, NONE), max_volatility)
        columns.volatility_low, columns.volatility_high = band_edges
        band_edges = (-inf, inf) if least is None else floor_band(levels.get("min_sharpe", NONE), least)
        columns.sharpe_low, columns.sharpe_high = band_edges

    def realised(self, watching: list[int]) -> bool:
        """Whether the alert level of a realised measure (volatility, Sharpe ratio) changes at the last sample."""
        state, changes = self.state, False
        for book in watching:
            limits = self._configured(book)
            levels = levels_of(state, book)
            for key, (value, bound) in state.watch.realised[book + 1].values(limits).items():
                before = levels.get(key, 0)
                changes = changes or level(key, share_of(key, value, bound), before) != before
        return changes

    def volumes(self) -> bool:
        """Write the average volumes, in lots, that the gates (checks of limits) read. Returns False where a volume is
        not known."""
        state = self.state
        state._average = None  # so that it is computed anew
        average = state.average_volume() / state.universe.lot_size
        if not isfinite(total(average)) or least(average) < 0.0:
            return False
        for gates in self._sets.values():
            assert gates is not None
            gates.limiter.scene.volume[:] = average.data
        return True

    def caps(self, number: int, limiter: Limiter, requested: Floats) -> list[Any]:
        """The caps on the lots `requested` by agent `number`, some of whose symbols are blocked after a protective
        exit.

        `limiter` is the agent's gate (the check of limits) in the fold. Cash and equity are placeholders: no cap of a
        cooldown reads them.
        """
        state, lots = self.state, np.array(self.state.book_columns[number + 1].held)
        blocked = [k for k, last in state.agents[number].blocked.items() if state.sample_no <= last]
        account = Account(lots=lots, cash=0.0, equity=1.0, blocked=state.mask(blocked))
        holder = next(gates for gates in self._sets.values() if gates is not None and gates.limiter is limiter)
        return holder.caps(account, np.array(requested))


def exposures_of(rules: Rules) -> list[tuple[str, int, float]]:
    """The limits on the largest, net and gross weight of a book: (key, index of the measure in `KNOWN`, bound)."""
    families = {family.key for family in rules.families}
    return [
        (key, KNOWN[measure], bound)
        for key, bound, measure in rules.held_measures
        if measure in KNOWN and measure is not herfindahl_of and key not in families
    ]
