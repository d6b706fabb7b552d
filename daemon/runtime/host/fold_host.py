"""What Python does for the fold (compiled fast path) of a state: limits, questions, records, the state for handlers.

The fold (`quantd.daemon.engine.core.fold`) calls this class for rare work. `load` prepares the columns, and finds
whether the state is `ready`. `sync` brings the venue, the log and the counts up to the last item.

What can go wrong: a handler sends to a venue that lacks orders, or the fold goes on from columns that a handler has
made old. So whoever steps an event calls `sync` first, and the state is loaded again before the next item. `plain`
checks for everything that only handlers can do, stages that somebody adds included.

The sequence in `sync`: the log gets its records before the venue moves, and baskets are sent last. Their acceptance is
in the log already, and the venue gets a dividend after the baskets sent before it.

Rejected: state and host that always refer to each other. A sweep makes thousands of them, and a circle of references
would wait for a garbage collection.
"""

from collections.abc import Sequence
from operator import is_
from typing import Any, cast

import numpy as np

from quantd.daemon.engine import Handler, finish, idle
from quantd.daemon.engine.core.limiter import Limiter
from quantd.daemon.engine.core.sample_columns import RECORD_SAMPLES, SampleColumns
from quantd.daemon.engine.core.step_records import StepRecords
from quantd.daemon.engine.core.venue_orders import NEVER
from quantd.daemon.engine.market import book_crosses, rest_of_bar
from quantd.daemon.engine.planning.buying_power import spend
from quantd.daemon.engine.rounds import follow_ups
from quantd.daemon.engine.safety.market_regime import watch_regime
from quantd.daemon.engine.safety.monitor import (
    watch_levels,
    watch_plan,
    watched,
)
from quantd.daemon.engine.safety.notices import notices
from quantd.daemon.engine.safety.switch import STATE_LIMITS
from quantd.daemon.engine.samples import accrue, agents_due, begin_tick, note_balances, rest_of_tick
from quantd.daemon.engine.state.agent_state import AgentState
from quantd.daemon.engine.state.engine_state import ENDED_KEPT, HOUSE, Round, State
from quantd.daemon.engine.state.open_orders import Working
from quantd.daemon.engine.state.verdict_log import HouseVerdicts
from quantd.daemon.engine.stops.exits import begin_exits, forget_best, order_exits
from quantd.daemon.runtime.advance_answers import AdvanceAnswers, AnswersAhead, Foreseen
from quantd.daemon.runtime.digest import NoDigest
from quantd.daemon.runtime.host.exit_columns import load_changes, load_guards, note_orders, protections
from quantd.daemon.runtime.host.fold_records import FilledOrders, fill_columns, sample_rows
from quantd.daemon.runtime.host.limit_columns import LimitColumns
from quantd.daemon.runtime.host.market_host import MarketHost
from quantd.daemon.runtime.host.open_round import OpenRound
from quantd.daemon.runtime.host.record_calls import RecordCalls
from quantd.daemon.runtime.host.shell_parts import FoldShell, Parts, implements
from quantd.daemon.runtime.step_log import NoLog, SampleLog
from quantd.risk.switch import REDUCE
from quantd.risk.switch_state import Switch
from quantd.trading.codec import memory_of
from quantd.trading.effects import Ask, Effect, payment
from quantd.trading.events import Action, Decided, Event, Tick
from quantd.trading.market import Block, MarketSlice
from quantd.trading.number_types import Floats
from quantd.trading.orders import OrderBasket
from quantd.trading.ports import FoldVenue
from quantd.trading.sessions import DAY_NS


class FoldHost(MarketHost):
    """The host of one shell (engine runner) and its state. They refer to each other between `begin` and `end` only."""

    shell: FoldShell
    records: StepRecords
    """The records of steps; set only where the log reads every event."""
    open_round: OpenRound

    def __init__(self, state: State) -> None:
        self.state = state
        self._books = (HOUSE, *range(len(state.agents)))  # the whole account, then the agents by index
        self.limits = LimitColumns(state)
        self.watched: list[int] = []
        self._shown: tuple[int, int] | None = None
        """Bars and samples at the last `show`."""
        self._venue: FoldVenue | None = None
        self._counted = state.bars_taken, state.samples_taken
        """Bars and samples that the tally has counted."""
        self._at_venue: tuple[Block | None, int] = None, -1
        """The last bar that the venue got by `fill_at_venue`."""
        self._paid: Action | None = None
        """The last dividend."""
        self.recording = False
        """Whether the log reads only fills and samples, and is not `NoLog`."""
        self.sample_log: SampleLog | None = None
        """The log if it takes fills and samples as columns."""
        self._begun: Sequence[Effect] = ()
        """The alerts of the exits that the last bar began."""
        self._opening: Sequence[Effect] = ()
        """The effects of `begin_tick`, until the rest of the tick is done."""
        self._ahead = AdvanceAnswers(state)
        self._served: tuple[object, ...] | None = None
        """Log, answers, venue and parts of the shell at the last `begin`; None after `end`."""

    @property
    def stands_in(self) -> bool:
        """Whether the fold, the compiled fast path, computes the fills in place of the simulated venue."""
        return self._venue is not None

    def serves(self, shell: FoldShell, parts: Parts) -> bool:
        """Whether the log, answers and parts of this shell (engine runner) are the same as at the last `begin`."""
        present = shell.steps, shell.answer, shell.meanwhile, parts.broker, parts
        return self._served is not None and all(map(is_, self._served, present))

    def begin(self, shell: FoldShell, parts: Parts) -> None:
        """Start to serve a shell (the runner of one engine), with its log and its answers.

        The fold (compiled fast path) computes the fills of a simulated venue that is a FoldVenue; it calls any other
        venue.
        """
        log, answer, venue = shell.steps, shell.answer, parts.broker
        self.shell, self.parts = shell, parts
        self._served = log, answer, shell.meanwhile, venue, parts
        self.open_round = OpenRound(self)
        self._venue = cast(FoldVenue, venue) if implements(venue, FoldVenue) else None
        self.state.host = self.state.round_plan.host = self
        parts.tally.lend(self.state)
        self.state.journalled = not log.rows_only
        if self.state.journalled:
            self.state.records = self.records = StepRecords(RecordCalls(self), log, self.state.round_plan)
        self.recording = log.rows_only and type(log) is not NoLog
        self.sample_log = cast(SampleLog, log) if implements(log, SampleLog) else None
        # answers in advance are only counted, so a log that records each answer excludes them
        counted = not self.state.journalled and (not self.recording or self.sample_log is not None)
        source = cast(Foreseen, answer) if counted and implements(answer, Foreseen) else None
        self._ahead.begin(source, self.sample_log)

    def end(self) -> None:
        """Bring the state to the last item, and drop the references to the shell (engine runner)."""
        if self._served is None:
            return
        try:
            self.sync()
        finally:
            self._served = None
            self.state.host = self.state.round_plan.host = None
            del self.shell, self.parts, self.open_round

    def load(self) -> None:
        """Read the state into the columns.

        It is `ready` where nothing but bars, fills, samples and rounds can change it, and the fold (compiled fast path)
        knows the limits and the open orders.
        """
        state, terms = self.state, None if self._venue is None else self._venue.fill_terms()
        state.ready = bool(
            self.limits.renew(terms, remote=self.shell.remote)
            and self.plain()
            and (not state.working or self._orders_known())
        )
        orders, rows, digest = state.venue_orders, state.digest_rows, self.shell.digest
        orders.working, orders.baskets = state.working, list(state.working.values()) if state.ready else []
        state.fold_ledger, state.fold_history, state.fold_agents = state.ledger, state.history, state.agents
        held = bool(state.restrictions.jumped)
        state.reads_more = held or state.history.bars is not None or state.history.macro is not None
        state.warming, self._shown = state.switch.day_key < 0, None  # -1: the kill switch has seen no day yet
        rows.chain, rows.hashed = digest.chain, type(digest) is not NoDigest
        state.fold_ts, state.fold_ticked = self.parts.ts, self.parts.ticked
        state.volume_ring = state.volumes.data  # type: ignore[assignment]  # typeshed knows no other element than int
        state.market_columns.session_close = 0
        # a waiting bar: the sample that comes may be the only item until `sync`
        state.folding, state.bars_moved = True, state.market_columns.waiting
        if state.ready:
            self._load_rest()

    def _load_rest(self) -> None:
        """Read what samples, rounds and exits need."""
        state, plan = self.state, self.state.round_plan
        state.returns_known = self.limits.known_returns()
        state.venue_orders.whole = all(work.untouched() for work in state.venue_orders.baskets)
        forget_best(state)
        load_guards(state)
        reducing = self._reducing()
        # a sample that is never reached, where no kill switch is re-armed
        state.reducing, state.rearm_no = bool(reducing), min(map(self._rearm_sample, reducing), default=2**62)
        state.fold_watch, state.questions.seats = state.watch, state.seats
        plan.holdings = state.watch.holdings_of(state.universe.size)
        self._load_agents()
        self._watch()
        self.limits.load_books(self.watched)
        state.sample_columns.recording = self.recording
        if state.journalled:
            self.limits.load_records()
            self.records.follows = state.has_notices or state.rules.counts_refusals

    def plain(self) -> bool:
        """Whether only bars, fills, samples and rounds (decisions of all agents) can change the state until the next
        event of another kind. It is False where handlers in Python have work: parent orders, stops at the venue, halts,
        a real venue, the closing of all positions, portfolios, a round in progress, kill
        switches beyond REDUCE, and the like."""
        state, history = self.state, self.state.history
        protection, restrictions, venue = state.protection, state.restrictions, state.venue
        return (
            not (
                state.parents or protection.stops or protection.retries or protection.postponed or protection.own
                or restrictions.halted or restrictions.limited or restrictions.jumped
                or venue.foreign or venue.waits.unanswered or venue.waits.refused
                or state.flattening or state.later or state.down or state.reviews
                or any(portfolio.closing for portfolio in state.portfolios.values())
                or any(state.owed) or state.resting or state.awaiting or state.brackets
                or state.unreported()
            )
            and (state.carried == (0, 0) or max(state.carried) < self.parts.ts)  # else the account has some items
            and state.loosening is None
            and state.round is None
            and (state.judged is None or isinstance(state.judged, HouseVerdicts))
            and history.synchronous.count > 0
            and all(state.switch_at(book).state <= REDUCE for book in self._books)
            and len({state.switch_at(book).day_key < 0 for book in (HOUSE, *state.in_use())}) == 1
            and idle(state)
        )  # fmt: skip

    def _load_agents(self) -> None:
        """Tell the columns which books are in use, and whose policies are asked."""
        state, used = self.state, self.state.in_use()
        for number, (agent, rules) in enumerate(zip(state.agent_columns, state.rules.agents, strict=True)):
            agent.asked = state.seats[number] not in state.rules.outside
            agent.always, agent.owed = agent.asked and not rules.scheduled, 0  # else the state is not `ready`
            state.book_columns[number + 1].used = number in used

    def _watch(self) -> None:
        """Tell the columns the books whose alert levels are computed."""
        self.watched = watched(self.state)
        self.state.round_plan.watched = len(self.watched)
        for book, columns in zip(self._books, self.state.book_columns, strict=True):
            columns.watched = book in self.watched

    def move_limits(self, ts: int) -> None:
        """At a sample, count a session of mode live, see whether the market is volatile, and renew the limits."""
        state = self.state
        if state.rules.live is not None and state.session_ends(ts):
            state.live_sessions += 1
        self.show()
        self.add(watch_regime(state))
        self._renew()

    def _renew(self) -> None:
        self.limits.renew(self.limits.terms, remote=self.shell.remote)
        self._watch()
        self.limits.load_levels(self.watched)
        if self.state.journalled:
            self.limits.load_records()

    def spent(self, orders: Working) -> None:
        """Record what sent orders may cost of the venue's buying power, and renew the limits with what remains."""
        self.show()
        spend(self.state, orders.basket)
        self._renew()

    def _reducing(self) -> list[Switch]:
        switches = [self.state.switch_at(book) for book in self._books]
        return [switch for switch in switches if switch.state == REDUCE]

    def _rearm_sample(self, switch: Switch) -> int:
        """The number of the sample at which a kill switch is re-armed; 2**62 for never."""
        after = self.state.rules.rearm_samples
        return switch.since_sample + after if after > 0 and switch.reason in STATE_LIMITS else 2**62

    def _orders_known(self) -> bool:
        """Whether the columns describe every open order; if so, note the instant from which each can fill. Where one
        was filled in part, the venue fills them all: no bar is late enough for the fold."""
        venue, working = self._venue, self.state.working
        if self.shell.remote:
            return not any(work.basket.kind or work.odd or work.again for work in working.values())
        terms = self.limits.terms
        starts = venue.starts() if venue is not None and terms is not None and terms.computed else None
        if starts is None or list(starts) != list(working) or not all(work.untouched() for work in working.values()):
            if venue is None or any(work.basket.kind or work.odd or work.again for work in working.values()):
                return False
            starts = dict.fromkeys(working, NEVER)
        for key, work in working.items():
            work.starts = starts[key]
        return True

    def tell(self, item: MarketSlice | Tick) -> None:
        """Let the venue fill the open orders at a bar, or at the opens that a tick has, and step its reports."""
        self.sync()
        if isinstance(item, MarketSlice):
            self._at_venue = item.block, item.row
        self.shell.tell_venues(item)
        self.load()
        if self.recording and self.sample_log is not None and isinstance(item, MarketSlice):
            self.shell.steps.add(item, ())  # the reported fills are of this bar

    def book_crosses(self, bar: MarketSlice) -> None:
        """Book the crosses (trades between agents) that do not fit into the columns, as the handler of bars does."""
        self.add(book_crosses(self.state, bar))

    def rest_of_bar(self, bar: MarketSlice) -> None:
        """Let the engine's handlers in Python do what follows the closes of a bar."""
        before = self.records.take() if self.state.journalled else []
        self.sync()
        self._act_on(bar, before, rest_of_bar)

    def begin_tick(self, tick: Tick) -> None:
        """Do what precedes the history of a tick, as the handler of ticks does."""
        self._opening = begin_tick(self.state, tick)

    def rest_of_tick(self, tick: Tick) -> None:
        """Let the engine's handlers in Python do what follows the history of a tick."""
        state = self.state
        before = self.records.take() if state.journalled else []
        opening, self._opening = self._opening, ()
        self.sync()
        state._average = state.watch.context = None  # of an earlier sample
        state.samples_called += tick.sample
        self._act_on(tick, before, lambda state, tick: [*opening, *rest_of_tick(state, tick)])

    def sync(self) -> None:
        """Bring the venue, the log and the tally of counts up to the last item; no effect where they are."""
        state = self.state
        for shadow in self.shell.shadows:
            shadow.settle()
        if not state.folding:
            return
        if self.open_round.awaits:
            self.open_round.give_to_step()  # which calls `sync` again, without an awaited answer
            return
        state.folding = False
        if state.bars_moved:
            state.bars_moved = False
            self.flush()
            self.show()
            self._sync_market()
        self._send()

    def _sync_market(self) -> None:
        """Move clocks, the venue and the tally of counts to the last bar and sample."""
        state, parts, orders = self.state, self.parts, self.state.venue_orders
        tally = parts.tally
        block, row, size = state.market_columns.block, state.market_columns.row, state.universe.size
        bars, samples = state.bars_taken - self._counted[0], state.samples_taken - self._counted[1]
        self._counted = state.bars_taken, state.samples_taken
        tally.slices, tally.symbol_bars = tally.slices + bars, tally.symbol_bars + bars * size - state.bars_lacking
        state.bars_lacking = 0
        tally.samples, tally.orders = tally.samples + samples, tally.orders + orders.sent
        tally.fills += orders.done
        tally.refused += state.round_plan.refused
        tally.clipped += state.round_plan.clipped
        orders.sent = orders.done = state.round_plan.refused = state.round_plan.clipped = 0
        parts.ts, parts.ticked = state.fold_ts, state.fold_ticked
        market, venue = MarketSlice(block, row), parts.broker
        if bars and block is not None:  # None: the marks are those of no bar
            parts.market = market
        if orders.filled:
            assert self._venue is not None
            terms = self.limits.terms
            has_minimum = terms is not None and terms.terms.least_micro > 0
            # least: whether the venue's fees have a minimum for an order
            filled = [FilledOrders(basket, least=has_minimum) for basket in orders.filled]
            missed, orders.dropped = orders.dropped, None
            for basket in list(orders.filled)[-ENDED_KEPT:]:
                basket.fill_whole()
                state.ended.append((basket.sample, basket.n), basket)
            self._venue.catch_up(market, filled, None if missed is None else missed.sample)
            orders.filled.clear()
        elif bars and block is not None and (block, row) != self._at_venue:
            venue.on_slice(market)

    def show(self) -> None:
        """Drop what the state computed from an earlier bar or sample, before a handler reads it.

        Orders and the venue stay behind until `sync`.
        """
        state, sampled = self.state, self.state.samples_taken > self._counted[1]
        if self._shown == (state.bars_taken, state.samples_taken):
            return
        self._shown = state.bars_taken, state.samples_taken
        state._average = state.watch.context = None  # None: computed anew
        if sampled:
            if state.accrued != state.sample:
                state.borrowed_key, state.earned = state.sample_key - state.sample_key % DAY_NS, None
            if not state.journalled:
                # bounds of the limit values show that no alert level changed: skipped records count as made
                watch = state.watch
                watch.recorded_no += (state.sample_no - watch.recorded_no) // RECORD_SAMPLES * RECORD_SAMPLES
        state.booked()

    def _send(self) -> None:
        """Send the open baskets of orders that the venue does not have yet."""
        baskets, self.state.venue_orders.baskets = self.state.venue_orders.baskets, []
        for orders in baskets:
            if orders.at_venue:
                continue
            orders.at_venue = True
            accepted = self.state.journalled  # with a journal the log has an acceptance of each order
            for news in self.parts.broker.submit(orders.basket):
                if not accepted:
                    self.shell.run(news)
            if self._paid is not None and self._paid.ts > orders.ts:
                self.parts.broker.on_action(self._paid)  # a later dividend applies to the orders of the basket

    def flush(self) -> None:
        """Give the samples so far to the log, and the planned answers to their source."""
        samples = self.state.sample_columns
        if samples.count or samples.orders:
            self._record(samples)
        self._ahead.report()
        samples.count = 0

    def _record(self, samples: SampleColumns) -> None:
        """Give the log the fills and the samples since the last record.

        A log of columns takes all at once. Any other log gets each bar with its fills, then its sample.
        """
        market, block = self.state.market_columns, self.state.market_columns.block
        orders, samples.orders = samples.orders, []
        ticks, samples.ticks = samples.ticks, []
        filled = [(basket.row, fill_columns(basket)) for basket in orders]
        rows, bar_rows = (
            sample_rows(samples, market.bars.marks, self.state.universe.lot_size),
            list(samples.row)[: samples.count],
        )
        if self.sample_log is not None:
            first_row = min([*bar_rows[:1], *(row for row, _ in filled[:1])])
            self.sample_log.add_samples(MarketSlice(block, first_row), filled, rows)
            return
        fills: dict[int, list[Effect]] = {}
        for row, columns in filled:
            fills.setdefault(row, []).append(columns.effect())
        sampled = dict(zip(bar_rows, zip(ticks, rows.valued(), strict=True), strict=True))
        for row in sorted({*fills, *sampled}):  # a bar may have fills and no sample
            self.shell.steps.add(MarketSlice(block, row), fills.get(row, []))
            if row in sampled:
                tick, valued = sampled[row]
                self.shell.steps.add(tick, [valued])

    def exits(self, begins: bool) -> bool:
        """End the exits of closed positions; with `begins`, at a bar that may have touched a level, begin new exits.

        Returns True if there are positions to close.
        """
        self.show()
        self._begun = begin_exits(self.state) if begins else []
        closes = load_changes(self.state)
        if not closes:
            self.add(self._begun)
        return closes

    def exits_planned(self) -> None:
        """Write the weights of the exits to the records."""
        state = self.state
        self.add(self._begun)
        if state.journalled:
            for agent, columns in enumerate(state.agent_columns):
                columns.scale = 1.0  # a symbol that is closed has target 0, another one its present weight
                remaining = np.where(np.asarray(columns.change) != 0.0, 0.0, state.held_weights(agent))
                columns.put(remaining.tobytes())

    def exits_sent(self) -> None:
        """Record the orders of exits that the fold (the compiled fast path) planned."""
        if self.state.journalled:
            basket = next((effect for effect in self.records.effects if type(effect) is OrderBasket), None)
            self.records.effects.extend(protections(self.state, basket))
        note_orders(self.state)

    def order_exits(self) -> None:
        """Let the engine's handlers in Python plan the exits of a bar."""
        market = self.state.fold_items[self.state.fold_at]
        recorded = self.records.take() if self.state.journalled else []
        self.sync()
        self._act_on(market, recorded, lambda state, _: [*self._begun, *order_exits(state)])

    def dividend(self, action: Action) -> bool:
        """Book a dividend between two samples.

        Returns False, without a change, where `step` (Python) must take the action.
        """
        state = self.state
        if action.kind != "dividend" or state.rules.venue_pays or not state.ready or state.market_columns.waiting:
            return False
        if state.sample_columns.recording:
            self.flush()
        state.fold_ts, state.now = action.ts, max(state.now, action.ts)
        state.history.action(action.key, action.symbol, 1.0, action.cash_nano / 1e9)
        self._paid = action
        self.parts.broker.on_action(action)
        posted = state.ledger.dividend(action.symbol, action.cash_nano)
        booked = payment(action.ts, "dividend", action.symbol, posted)
        self._note(action, booked, booked)
        return True

    def accrue(self, tick: Tick) -> None:
        """Book the borrow fees and the interest of a sample, before it is valued."""
        state = self.state
        self.show()
        booked = accrue(state, tick)
        if tick.cash_rate is not None:
            note_balances(state)
        if booked and not state.journalled:
            self.flush()
            self.shell.steps.add(tick, booked)
        self.shell.digest.add(booked)
        self.add(booked)

    def realised(self) -> bool:
        """Whether the alert level of a realised measure (volatility, Sharpe ratio) changes at the last sample."""
        return self.limits.realised(self.watched)

    def check_levels(self) -> None:
        """Check the limits at a sample at which an alert level may have changed."""
        state = self.state
        self.show()
        reviews = None if state.journalled else self.limits.reviews(self.watched)
        self.add(watch_levels(state, self.watched, reviews))
        self.limits.load_levels(self.watched)

    def notices(self) -> None:
        self.show()
        self.add(notices(self.state))

    def check_plan(self) -> None:
        """Check the limits that a plan may bring to a higher alert level."""
        plans = self.limits.plans(self.watched)
        measured = any(plan.review.wanted is None or plan.review.wanted for plan in plans)  # None: every limit
        if measured:
            self.show()
        values = self.limits.plan_values(plans, measured=measured)
        self.parts.tally.add(watch_plan(self.state, values))
        self.limits.load_levels(self.watched)

    def volumes(self) -> bool:
        """Write the average volumes that gates (checks of limits) read. Returns False where a volume is unknown."""
        return self.limits.volumes()

    def caps(self, number: int, limiter: Limiter, requested: Floats) -> list[Any]:
        """The caps on the lots `requested` by an agent with symbols in a cooldown; `limiter` checks the agent's
        limits."""
        return self.limits.caps(number, limiter, requested)

    def ask(self, questions: Sequence[int], asks: Sequence[Ask]) -> list[Decided] | None:
        """The answers of agents to their questions; None where an answer is awaited.

        Where a policy raises an exception the questions stay open, as they do in `step` (in Python).
        """
        state = self.state
        self._ahead.report()
        try:
            answers = self.open_round.ask(asks)
        except BaseException:
            self.sync()
            state.round = Round(state.round_no, list(questions))
            raise
        self._ahead.look()
        return answers

    def note_ahead(self, answers: AnswersAhead) -> None:
        """Record that a plan used these answers, which were known in advance."""
        self._ahead.planned(answers)

    def remember(self, agent: AgentState, answer: Decided) -> None:
        """Store the memory that a policy returned with its answer."""
        agent.memory = memory_of(answer)

    def plan(self, questions: Sequence[int], answers: Sequence[Decided]) -> None:
        """Let the engine's handlers in Python plan these answers."""
        self.sync()
        self.state.round = Round(self.state.round_no, list(questions))
        self.shell.follow(answers)

    def finish_tick(self, tick: Tick) -> None:
        """Let the engine's handlers in Python do the rest of a tick: follow-ups and questions."""
        before = self.records.take() if self.state.journalled else []
        self.sync()
        due = frozenset(agents_due(self.state, tick.due, sample=tick.sample))
        self._act_on(tick, before, lambda state, _: follow_ups(state, due))

    def add(self, effects: Sequence[Effect]) -> None:
        """Count effects of the present event; a log that reads events gets these effects with the event."""
        self.parts.tally.add(effects)
        if self.state.journalled:
            self.records.effects.extend(effects)

    def _act_on(self, event: Event, before: list[Effect], handle: Handler) -> None:
        """Finish an event by `handle` and the stages after it, and step the events that follow from it.

        The effects `before` belong to the same event and are counted already.
        """
        finished = finish(self.state, event, before, handle)
        self._note(event, finished, finished[len(before) :])
        self.shell.carry_out(finished)

    def _note(self, event: Event, effects: Sequence[Effect], new: Sequence[Effect]) -> None:
        self.shell.steps.add(event, effects)
        self.shell.digest.add(new)
        self.parts.tally.add(new)
