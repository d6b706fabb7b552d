"""The fold: the compiled path for bars, samples and rounds of a market, over columns that it owns. `State` is a `Core`.

What it takes
    a bar      orders and crosses fill at its open, then its closes are the marks
    a tick     its sample goes into the history, books are valued, losses and levels watched, agents that are due asked,
               and answers planned
    a dividend between two samples
    `fold` takes one item or many, and returns at a split, a delisting or a jump of a price, which `step` takes.

What Python does
    1. While the state is not `ready` (`FoldHost.load`), the venue fills, and `host` does what follows the closes of a
       bar, or the history of a tick: stops at the venue, parent orders, orders without an answer, a trading halt, a
       held price, HALT, a sale of all positions, items that a carried account has, a portfolio that is being closed,
       proposals and orders from outside that wait.
    2. The same at a tick that is no sample or lacks a bar, with a job, or with a loss or a re-arming that may move a
       switch.
    3. Of a round only: a failed answer or one with a note, an open order that is no exit, prices or returns that are
       not known, and, by `plans_in_python`, styles, counts and limits that the gate of the fold does not know.

Check, then write
    A stage checks all that it reads, and leaves the rest to Python before its first write, in the order of writes of
    the handlers. A round is counted before its agents are asked; if Python must plan the answers, it gets them in an
    open round. An exit begins before its order is planned; if Python must plan it, it gets the alerts of the exit.

What is rare is a call
    of `host`, after which the fold goes on: a level that may change, begin and end of an exit, the end of a cooldown, a
    dividend, a sample that lacks a close, notices, bars that a policy reads, limits that move, buying power, trades
    that a limit counts, a bar at which an order does not fill whole, crosses that wait, and what Python does.

Who is ahead
    The state is stored once. While `folding`, the venue lacks the new orders, and log and counts the new items, until
    `FoldHost.sync`. The simulated venue has records of its own, like a real one: with shared ones it could not differ.
"""

from typing import Any, Final

from quantd.daemon.engine.core.agent_columns import AgentColumns, note_sample
from quantd.daemon.engine.core.book_columns import CROSSES, EXACT, TRIPS, BookColumns, take_lots
from quantd.daemon.engine.core.digest_rows import ORDER, Rows
from quantd.daemon.engine.core.exit_orders import all_ordered, plan_exits, touches
from quantd.daemon.engine.core.limiter import copy
from quantd.daemon.engine.core.market_columns import BlockColumns, Market
from quantd.daemon.engine.core.order_columns import Crosses, FollowUp, Orders, Request, write_ends
from quantd.daemon.engine.core.questions import Questions, take_ahead, take_answers
from quantd.daemon.engine.core.round_plan import FOR_PYTHON, NO_REQUEST, RAISES_LEVEL, Plan
from quantd.daemon.engine.core.sample_columns import KEPT_SAMPLES, KNOWN_SAMPLES, RECORD_SAMPLES, ROOM, SampleColumns
from quantd.daemon.engine.core.step_records import StepRecords
from quantd.daemon.engine.core.venue_orders import VenueOrders
from quantd.trading.history.rings import History, Ring
from quantd.trading.ledger.book import Postings
from quantd.trading.number_types import FloatRows, Ints

DAY_NS: Final = 86_400_000_000_000


class Core:
    """Values that the fold (compiled fast path) and the Python handlers of a state share, then the fold's columns."""

    orders_at: dict[Any, Any]
    """Sample -> number of its last basket."""
    now: int
    sample: int
    sample_key: int
    sample_no: int
    round_no: int
    volume_count: int
    fold_ledger: Postings
    fold_history: History
    fold_agents: list[Any]
    fold_watch: Any
    """Ledger, history, agents and watch of the state, whose names are plain attributes: handlers read those faster."""
    questions: Questions
    follow_ups: int
    house_fee: float  # the rate that open orders are expected to pay
    losses_cross: bool
    """Whether a loss of the last sample may have changed its level."""
    host: Any
    """The `runtime.host.fold_host.FoldHost` of the present call; None between calls."""
    records: StepRecords  # of the present call, where they are `journalled`
    folding: bool
    """Whether venue, log and counts may be behind the columns."""
    bars_moved: bool
    """Whether a bar was folded since the last `load`."""
    slice_type: Any
    tick_type: Any
    action_type: Any
    fold_items: Any
    """The items of the present call, up to the index `fold_end`; the item at the index `fold_at` is being folded."""
    fold_at: int
    fold_end: int
    market_columns: Market
    book_columns: list[BookColumns]
    """The house first."""
    agent_columns: list[AgentColumns]
    """By agent."""
    equities: Ints
    """int64[B + 1] equities in micro: of the house, of each agent, and of what no agent has."""
    valued: Ints
    """The same at a sample that may be left to Python."""
    volume_ring: FloatRows
    round_plan: Plan
    digest_rows: Rows
    sample_columns: SampleColumns
    crosses: Crosses
    venue_orders: VenueOrders
    answers_ahead: dict[Any, Any]
    """Answers known in advance, by instant."""
    guarded: bool
    trailing: bool
    """Whether agents have protective levels, which follow from costs, or if `trailing` from closes."""
    plans_in_python: bool
    """Whether Python makes all plans: by a style, a count or a limit that the gate of the fold does not know."""
    has_notices: bool
    exiting: bool
    """Whether protective exits are in progress; `reducing`: whether a switch is at REDUCE."""
    reducing: bool
    rearm_no: int  # of the sample at which a switch is re-armed at the earliest
    cooling: bool  # whether an agent may not trade a symbol
    counting: bool
    """Whether a limit counts what is traded in a session."""
    limits_move: bool
    """Whether limits follow from equity, time or the market: then `host` renews them at each sample."""
    spending: bool
    """Whether orders spend the buying power that the venue reports: `host` notes their cost."""
    returns_known: bool
    """Whether every return that a limit reads is finite; else Python measures and plans."""
    pays_borrow: bool  # whether short positions have a borrow fee
    earned: Any  # the return on cash from the previous sample to this one; None without a rate
    reads_returns: bool  # whether a limit reads realised returns
    reads_more: bool
    """Whether `host` keeps bars: for policies that read them or macro series, or while a symbol's price is held."""
    ready: bool
    """Whether nothing waits that only handlers in Python know: the next items are taken from the columns alone."""
    journalled: bool
    """Whether a log reads every event with its effects: then `host` makes their records from the columns."""
    bars_taken: int
    bars_lacking: int
    """Bars of single symbols that were missing in the bars since the last `sync`."""
    samples_taken: int
    samples_called: int
    """Samples of which Python did what follows the history."""
    rounds_taken: int
    fold_ts: int  # the instant of the last item
    fold_ticked: int  # the instant of the last tick
    warming: bool
    """Whether the run has not started: ticks only extend the history, and no sample was valued yet."""

    def fold(self, items: Any, at: int, end: int) -> int:
        """Process items from index `at` on; returns the index of the first one that is left to `step`, or `end`."""
        self.fold_items, self.fold_end = items, end
        while at < end:
            item: Any = items[at]
            kind: Any = type(item)
            self.fold_at = at
            if kind is self.slice_type:
                self._take_bar(item)
            elif kind is self.tick_type:
                self._take_tick(item)
            elif kind is not self.action_type or not self.folding or not self.host.dividend(item):
                break
            at += 1
        self.fold_items = None
        return at

    # ---- bars ----------------------------------------------------------------------------------

    def _take_bar(self, item: Any) -> None:
        """Fill at a bar's open, and take its closes. Where the state is not `ready`, Python does what follows."""
        block: Any = item.block
        row: int = item.row
        records: StepRecords
        market: Market = self.market_columns
        crosses: Crosses = self.crosses
        orders: VenueOrders = self.venue_orders
        if self.sample_columns.count == ROOM:  # the columns of samples are full
            self.host.flush()
        if not self.folding:
            self.host.load()
        by_venue: bool = not self.ready
        if by_venue:
            self.host.tell(item)
        bars: BlockColumns = market.bars if market.continues(block, row) else self.host.columns_of(block, row)
        ts_open: int = bars.ts_open[row]
        only: int = 0 if len(self.agent_columns) == 1 else -1  # -1: the orders are of their agents
        filling: bool = not by_venue and len(orders.baskets) > 0 and not orders.remote
        fills: bool = filling and orders.fill(bars, row, ts_open, bars.ts_event[row])
        fills = fills and orders.post(self.fold_ledger, only)
        if filling and not fills:
            self.host.tell(item)  # the venue fills in parts, later or not at all, and reports
        crossing: bool = crosses.count > 0 or len(crosses.further) > 0
        fits: bool = crossing and self.ready and crosses.fit(self.fold_ledger, bars, row, ts_open)
        if market.waiting:  # the last bar had no sample
            self.host.keep_closes()
        if bars is not market.bars:
            self.host.flush()
        if self.counting and (fills or fits):
            self.host.count_trades(item, fills, fits)
        if fills:
            if self.journalled:
                records = self.records
                records.note_fills(orders.baskets, ts_open)
            orders.note(block, row, ts_open, self.sample_columns, self.digest_rows)
        if fits:
            if self.journalled:
                self.records.host.note_crosses()
            crosses.book(self.fold_ledger)
        elif crossing:
            self.host.book_crosses(item)
        if self.ready and (fills or crossing):
            take_lots(self.book_columns)
        market.block, market.bars = block, bars  # not earlier: until here the last bar is the present one
        self._take_closes(item, row)
        if not self.ready:
            self.host.rest_of_bar(item)
        elif not ((self.exiting or self.guarded) and self._take_exits()):
            self._record(item)

    def _take_closes(self, item: Any, row: int) -> None:
        """Make the bar `row` of the present block the last one, whose closes are the marks."""
        market: Market = self.market_columns
        bars: BlockColumns = market.bars
        rows: Rows = self.digest_rows
        market.take(row)
        self.bars_moved, self.fold_ts = True, bars.ts_event[row]
        self.now = max(self.now, bars.ts_seen[row])
        self.bars_taken += 1
        if bars.gaps:
            self.bars_lacking += bars.lacking[row]
        if rows.hashed:
            rows.chain.settle(self.fold_ts)
        if self.reads_more:
            self.host.keep_bar(item)

    def _take_exits(self) -> bool:
        """Begin protective exits, and order those in progress. Returns True if Python ordered and recorded them."""
        plan: Plan = self.round_plan
        orders: VenueOrders = self.venue_orders
        begins: bool = self.trailing or (self.guarded and touches(plan, self.fold_ledger))
        if not (begins or self.exiting) or not self.host.exits(begins):
            return False
        status: int = FOR_PYTHON
        by_python: bool = self._plan_needs_python() or self.limits_move  # limits of this instant
        if not by_python and len(orders.baskets) == 0:
            status = plan_exits(plan, self.fold_ledger, self.equities, self.now, self.fold_history.synchronous)
        if status == FOR_PYTHON:
            self.host.order_exits()
            return True
        self.host.exits_planned()
        if self.journalled:
            self._record_plan(self.sample, 0, status == RAISES_LEVEL)  # 0: no follow-up of a decision
        elif status == RAISES_LEVEL:
            self.host.check_plan()
        self._send(self.now, self.sample, 0)
        self.host.exits_sent()
        return False

    # ---- samples -------------------------------------------------------------------------------

    def _take_tick(self, tick: Any) -> None:
        """Append a sample to the history, value books and decide. If more is to do, Python does what follows."""
        market: Market = self.market_columns
        orders: VenueOrders = self.venue_orders
        if not self.folding:
            self.host.load()
        # orders may fill at opens of bars in progress
        by_venue: bool = not self.ready or (tick.opened and len(orders.baskets) > 0 and not orders.remote)
        if by_venue:
            self.host.tell(tick)
        alone: bool = self.ready and market.waiting and market.samples(tick) and self._nothing_waits(tick)
        if not alone:
            if not by_venue:
                self.host.tell(tick)
            self.now = max(self.now, tick.ts)
            self.host.begin_tick(tick)
        if tick.sample:
            self._extend(tick)
        if alone and self.warming:
            self._record(tick)
            return
        if not alone or not self._take_sample(tick):
            self.host.rest_of_tick(tick)
            return
        self._watch_levels()
        if self.has_notices:
            self.host.notices()
        if self.journalled:
            self._record_sample(tick.ts)
        if not ((tick.due or self._may_decide()) and self._decide(tick)):
            self._record(tick)

    def _record(self, item: Any) -> None:
        """Record an item of the market with its effects, if a log reads them."""
        if self.journalled:
            records: StepRecords = self.records
            records.record(item)

    def _record_sample(self, ts: int) -> None:
        records: StepRecords = self.records
        house: BookColumns = self.book_columns[0]
        equities: list[Any] = [self.equities[k] for k in range(len(self.equities))]
        records.note_sample(ts, equities, house.book.cash_micro, house.marks.high_water)

    def _nothing_waits(self, tick: Any) -> bool:
        """Whether no cross waits, every order stays open, every exit has its order, and the run does not just start."""
        now: int = max(self.now, tick.ts)
        orders: VenueOrders = self.venue_orders
        crosses: Crosses = self.crosses
        if crosses.count > 0 or len(crosses.further) > 0 or tick.warmup != self.warming:
            return False
        if len(orders.baskets) > 0 and (self.reducing or not orders.last(now)):
            return False
        return not self.exiting or all_ordered(self.fold_agents, now)

    def _extend(self, tick: Any) -> None:
        """Append a sample to the history, and move the clocks: all of a sample of the warm-up."""
        market: Market = self.market_columns
        ts: int = tick.ts
        self._append(tick, market.row)
        market.take_prices()
        if market.ends_session(ts, self.volume_ring, self.volume_count, self.host):
            self.volume_count += 1
        market.waiting, self.bars_moved = False, True
        self.fold_ts = self.fold_ticked = ts
        self.now = max(self.now, ts)

    def _take_sample(self, tick: Any) -> bool:
        """Book fees and interest, value books, observe losses. Returns False if Python must go on."""
        market: Market = self.market_columns
        columns: BookColumns
        ts: int = tick.ts
        key: int = tick.key
        row: int = market.row
        house: BookColumns = self.book_columns[0]
        if tick.cash_rate is not None or (self.pays_borrow and house.is_short()):
            self.host.accrue(tick)
        try:
            self.fold_ledger.write_values(market.closes(), self.valued)
        except OverflowError:
            return False
        if self.sample_no + 1 >= self.rearm_no:
            return False
        crossing: bool = False
        day: int = key // DAY_NS
        week: int = (day + 3) // 7  # the day 0, 1970-01-01, was a Thursday: weeks begin on Monday
        for book in range(len(self.book_columns)):
            columns = self.book_columns[book]
            if not columns.used:
                continue
            if not 0 < self.valued[book] < EXACT:  # not positive, or not exact as a float
                return False
            news: int = columns.losses(self.valued[book], day, week)
            if news == TRIPS:
                return False
            crossing = crossing or news == CROSSES
        for book in range(len(self.valued)):
            self.equities[book] = self.valued[book]
        earned: Any = self.earned if tick.cash_rate is not None else None
        for book in range(len(self.book_columns)):
            columns = self.book_columns[book]
            if columns.used:
                columns.observe(self.equities[book], day, week, earned)
        note_sample(self.agent_columns, self.book_columns, market.px_view, float(self.equities[0]) / 1e6)
        samples: SampleColumns = self.sample_columns
        if samples.recording:
            cash: int = self.fold_ledger.house.cash_micro
            samples.add(tick, ts, key, row, self.equities, cash, house.marks.high_water, house.held)
        self.sample, self.sample_key = ts, key
        self.sample_no += 1
        self.samples_taken += 1
        if len(self.orders_at) > KEPT_SAMPLES:
            self.host.forget_orders()
        if self.cooling:
            self.host.release()
        rows: Rows = self.digest_rows
        if rows.hashed:
            rows.put_equity(ts, self.equities)
        self.losses_cross = crossing
        if self.limits_move:
            self.host.move_limits(ts)
        return True

    def _append(self, tick: Any, row: int) -> None:
        """Append dividends, then closes, to the rings; Python does it where a close is missing."""
        history: History = self.fold_history
        market: Market = self.market_columns
        bars: BlockColumns = market.bars
        acting: bool = len(history.known_actions) > 0 or len(history.sync_actions) > 0
        fits: bool = market.waiting and history.own_dates is None and market.completes(tick)
        fits = fits and (not acting or self.host.act(tick.key))  # `act`: the dividends go into the rings
        if fits and not history.put(bars.close, row):
            fits = False
            if acting:
                self.host.withdraw_actions()
        if not fits:
            self.host.append(tick)
        elif self.reads_more or acting or len(history.pending) > 0:
            self.host.keep_sample(tick)
        if self.ready and (not fits or not self.returns_known):
            self.returns_known = self.host.limits.known_returns()

    def _watch_levels(self) -> None:
        """Check the alert levels of the watched books' limits; Python measures a level that may have changed."""
        plan: Plan = self.round_plan
        market: Market = self.market_columns
        ring: Ring = self.fold_history.synchronous  # the newest samples of one date in all calendars
        columns: BookColumns
        crossing: bool = self.losses_cross or not self.returns_known
        if self.reads_returns:
            settled: bool = True
            for book in range(len(self.book_columns)):
                columns = self.book_columns[book]
                settled = settled and (not columns.watched or columns.keeps_realised())
            crossing = crossing or (not settled and self.host.realised())
        for book in range(len(self.book_columns)):
            columns = self.book_columns[book]
            crossing = crossing or (columns.watched and not columns.keeps_levels(plan.holdings, market.px_view, ring))
        recorded: int = self.fold_watch.recorded_no
        if crossing or (self.journalled and self.sample_no - recorded >= RECORD_SAMPLES):  # all limits are recorded
            self.host.check_levels()
        elif self.journalled and self.sample_no % KNOWN_SAMPLES == 0:
            self.records.host.note_known()  # losses and returns, once a week

    # ---- decisions -----------------------------------------------------------------------------

    def _may_decide(self) -> bool:
        """Whether an agent decides at each sample, or the rest of a decision waits for sale proceeds."""
        for number in range(len(self.agent_columns)):
            agent: AgentColumns = self.agent_columns[number]
            follow_up: FollowUp = agent.follow_up
            if agent.always or follow_up.sample >= 0:
                return True
        return False

    def _decide(self, tick: Any) -> bool:
        """Plan the rests (what waits for the proceeds of sales) of earlier decisions, or ask the agents that are due
        and plan their answers. Returns True if the tick is recorded already."""
        ts: int = tick.ts
        due: Any = tick.due
        orders: VenueOrders = self.venue_orders
        questions: list[Any] = []
        rests: list[Any] = []
        for number in range(len(self.agent_columns)):
            agent: AgentColumns = self.agent_columns[number]
            follow_up: FollowUp = agent.follow_up
            state: Any = self.fold_agents[number]
            if state.suspended:
                follow_up.drop()
            elif agent.asked and (agent.always or number in due):  # `always`: it decides at each sample
                questions.append(number)  # its answer decides whether a rest goes on
            elif follow_up.sample >= 0 and not orders.busy(number):
                rests.append(number)
        # a log has the orders of a rest before the questions and their acceptance after them: Python makes that order
        also_asks: bool = self.journalled and len(questions) > 0
        by_python: bool = self._plan_needs_python()
        if rests and (by_python or also_asks or self.crosses.count > 0 or not self._plan_rests(rests, self.now)):
            self.host.finish_tick(tick)
            return True
        if not questions:
            return False
        self.round_no += 1
        ahead: Any = self.answers_ahead.pop(ts, None) if self.answers_ahead else None  # answers known in advance
        usable: bool = ahead is not None and not by_python
        usable = usable and take_ahead(self.agent_columns, self.fold_agents, ahead, questions)
        if usable and self._execute(self.now, ts, 0):
            self.host.note_ahead(ahead)
            self.rounds_taken += 1
            return True
        answers: Any = self._ask(questions, ts)
        if answers is not None and not self.plan_answers(answers):
            self.host.plan(questions, answers)
        return True

    def _plan_needs_python(self) -> bool:
        return self.plans_in_python or not self.returns_known or not self.market_columns.priced()

    def plan_answers(self, answers: list[Any]) -> bool:
        """Plan the answers of a round of agents. Returns False, with no order made, if `step` (Python) must plan."""
        if self._plan_needs_python():
            return False
        if not take_answers(self.agent_columns, self.fold_agents, answers, self.market_columns.size, self.host):
            return False
        if not self._execute(self.now, self.sample, 0):  # 0: the decision itself, no follow-up
            return False
        self.rounds_taken += 1
        if self.journalled:
            records: StepRecords = self.records
            records.note_round(answers)
        return True

    def _ask(self, questions: list[Any], ts: int) -> Any:
        """Return the answers of agents to the last sample; None where an answer is still awaited."""
        source: Questions = self.questions
        asks: list[Any] = source.asks(
            questions, self.round_no, ts, self.book_columns, self.fold_ledger, self.fold_history, self.fold_agents
        )
        return self.host.ask(questions, asks)

    def _plan_rests(self, rests: list[Any], ts: int) -> bool:
        """Plan the trades of one decision that waited for its sales: those of the agents `rests`. Returns False, with
        all still waiting, if `step` (Python) must plan. `used` counts the decision's earlier follow-ups."""
        number: int = rests[0]
        agent: AgentColumns = self.agent_columns[number]
        follow_up: FollowUp = agent.follow_up
        sample: int = follow_up.sample
        used: int = follow_up.used
        for k in range(len(self.agent_columns)):
            agent = self.agent_columns[k]
            agent.taking = False
        for member in rests:
            number = member
            agent = self.agent_columns[number]
            follow_up = agent.follow_up
            if follow_up.sample != sample or follow_up.used != used:
                return False
            agent.taking = True
            copy(agent.weights, follow_up.weights)
        for member in rests:  # dropped first: sending may put a further rest in place
            number = member
            agent = self.agent_columns[number]
            follow_up = agent.follow_up
            follow_up.drop()
        if self._execute(ts, sample, used + 1):
            return True
        for member in rests:
            number = member
            agent = self.agent_columns[number]
            follow_up = agent.follow_up
            follow_up.sample, follow_up.used = sample, used
        return False

    def _execute(self, ts: int, sample: int, used: int) -> bool:
        """Plan agents that are `taking` part, and send orders. Returns False, with nothing sent, if `step` must plan.
        `used` counts the earlier follow-ups of the decision at `sample`; RAISES_LEVEL means a possible new alert."""
        plan: Plan = self.round_plan
        orders: VenueOrders = self.venue_orders
        plan.open, plan.closing, plan.resting = len(orders.baskets) > 0, False, used > 0
        if self.crosses.count > 0 or len(self.crosses.further) > 0 or (plan.open and not orders.whole):
            return False
        if plan.open:
            orders.reserve(self.book_columns, self.market_columns, self.house_fee)
        status: int = plan.make(ts, self.fold_history.synchronous)
        if status == FOR_PYTHON:
            return False
        if status == NO_REQUEST:
            return True
        if self.journalled:
            self._record_plan(sample, used, status == RAISES_LEVEL)
        elif status == RAISES_LEVEL:
            self.host.check_plan()
        self._send(ts, sample, used)
        return True

    def _send(self, ts: int, sample: int, used: int) -> None:
        """Record the requests of a plan and the purchases that wait for its sales (follow-ups), and send its orders.
        `used` counts the earlier follow-ups of the decision at `sample`. Crosses (lots between agents) are not sent."""
        plan: Plan = self.round_plan
        crosses: Crosses = plan.crosses
        plan.count_cuts(used)
        for number in range(len(self.agent_columns)):
            agent: AgentColumns = self.agent_columns[number]
            if not agent.taking:
                continue
            request: Request = agent.request
            request.add(ts, agent.change_view, agent.window, agent.passed, agent.reason_view)
            if not plan.closing and plan.follows(number, used < self.follow_ups):
                follow_up: FollowUp = agent.follow_up
                follow_up.put(sample, used, agent.weights_view)
        self.fold_watch.recorded_no = self.sample_no  # a plan is a record of all limits
        count: int = plan.count()
        if crosses.count > 0 or count > 0:
            write_ends(crosses.end, self.host.ends(ts))
        if crosses.count > 0:
            state_crosses: Crosses = self.crosses
            state_crosses.take(crosses, sample, ts)
        if count == 0:
            return  # all lots cross, or the limits let none pass
        basket_number: int = self.orders_at.get(sample, 0) + 1
        self.orders_at[sample] = basket_number
        orders: Orders = plan.orders(sample, basket_number, ts)
        venue: VenueOrders = self.venue_orders
        venue.send(orders)
        rows: Rows = self.digest_rows
        if rows.hashed:
            rows.put_orders(orders, ORDER, ts)
        if self.journalled:
            records: StepRecords = self.records
            records.note_orders(orders)
        if self.spending:
            self.host.spent(orders)

    def _record_plan(self, sample: int, used: int, raises: bool) -> None:
        """Record a plan, after `used` follow-ups of its decision; with `raises` also the alert levels it raises."""
        plan: Plan = self.round_plan
        records: StepRecords = self.records
        n: int = self.orders_at.get(sample, 0) + 1 if plan.count() > 0 else 0
        values: list[Any] = records.note_plan(self.now, sample, n, used, self.fold_history.synchronous)
        if raises:
            self.records.host.raise_levels(values)
        if self.records.host.foresees():
            self.records.host.note_verdict()
