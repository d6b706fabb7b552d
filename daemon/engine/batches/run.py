"""Rows of a recorded market that are taken together: found by the items of the market, computed by one kernel, and
applied to the state at the end."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantd.daemon.engine.batches import layout as place
from quantd.daemon.engine.batches.arrays import FREED, LONGEST, Arrays, arrays_of
from quantd.daemon.engine.batches.kernel import OTHER_PLAN, TAKE_ROWS
from quantd.daemon.engine.batches.levels_kernel import MARKS
from quantd.daemon.engine.planning.gate_account import limits_in_force
from quantd.daemon.engine.rounds import follow_ups
from quantd.daemon.engine.safety.monitor import KNOWN_SAMPLES, RECORD_SAMPLES, watched
from quantd.daemon.engine.samples import agents_due, serve_tick
from quantd.daemon.engine.state import ENDED_KEPT, HOUSE, FollowUp, Round, State
from quantd.daemon.engine.stops.exits import current_levels
from quantd.daemon.engine.venue.open_orders import Cross, Working
from quantd.risk.limits.ruleset import rules_of
from quantd.risk.switch import RUN, Switch, losses
from quantd.trading.codec import memory_of
from quantd.trading.effects import Ask, Assessed, Effect, Filled, Valued
from quantd.trading.events import Decided, Tick
from quantd.trading.instruments import MICRO
from quantd.trading.market import Block, Floats, MarketSlice
from quantd.trading.orders import Cause, Kind, OrderBasket, OrderState, Reports
from quantd.trading.ports import KernelVenue
from quantd.trading.sessions import DAY_NS
from quantd.trading.view import View

Ints = NDArray[np.int64]

VENUE_KEPT: Final = 128
"""Ended baskets of a batch that the venue gets."""


def plain(tick: Tick) -> bool:
    """Whether a tick is a sample whose row is complete, without a job or a series."""
    return (
        tick.sample
        and not (tick.jobs or tick.warmup or tick.macro)
        and tick.final <= tick.ts
        and tick.cash_rate is None
    )


def steady(state: State) -> bool:
    """Whether nothing but marks, fills of its orders and decisions can change the state at a plain sample."""
    history, rules = state.history, state.rules
    if (
        state.parents
        or state.stops
        or state.halted
        or state.limited
        or state.foreign
        or state.flattening
        or state.later
        or state.shadows
        or state.down
        or state.round is not None
        or state.judged is not None
        or history.waiting
        or history.pending
        or history.sync_actions
        or history.known_actions
        or history.own_dates is not None
        or history.bars is not None
        or history.macro is not None
        or state.valuations.unclosed
        or rules.live is not None
        or any(state.owed)
        or not history.synchronous.count
        or not _guarded_by_marks(state)
    ):
        return False
    for book in (HOUSE, *range(len(state.agents))):
        switch = state.switch_at(book)
        if switch.state != RUN or switch.day_key < 0:
            return False
    return True


def _guarded_by_marks(state: State) -> bool:
    """Whether protective levels, if any, stay the same from a bar to the next."""
    if not state.protecting:
        return True
    guards = state.guards
    trails_or_rests = guards is not None and (guards.trails or state.resting)
    return not (trails_or_rests or state.own or any(agent.exits or agent.blocked for agent in state.agents))


def _plans(state: State) -> bool:
    """Whether orders are limit orders of a day, and nothing counts or protects them."""
    rules = state.rules
    return (
        rules.execution.style == "marketable"
        and state.guards is None
        and not state.counting
        and state.buying_power_micro is None
        and not state.unlent
    )


class Batch:
    """Rows of a block and their ticks. Until `close`, the ledger and the history of the state are ahead of the rest.

    `take` stops where agents are due. Then `asks` has the questions, and the next `take` plans their answers.
    """

    def __init__(self, state: State, block: Block, first: int, ticks: Sequence[Tick], arrays: Arrays) -> None:
        self.state = state
        self.block = block
        self.first = first
        self.ticks = ticks
        self.gated = arrays.gated
        """Whether plans may be made here."""
        self.rows = 0
        """Rows taken."""
        self.held: list[Effect] = []
        """Effects of the last tick that are not logged yet."""
        self._arrays = arrays
        self._cells = arrays.ints.data
        self._several = len(state.agents) > 1
        self._fills: deque[Fills] = deque(maxlen=VENUE_KEPT)
        self._missed: int | None = None
        """Sample of the last basket that is no longer in `_fills`."""
        self._sent: tuple[int, int] = 0, 0
        """Sample and number of the last basket."""
        self._rest = {k: agent.follow_up for k, agent in enumerate(state.agents) if agent.follow_up is not None}
        self._decided: dict[int, Decided] = {}
        self._used = 0
        """Follow-ups before the plan that waits."""
        self._waiting: dict[int, FollowUp] = {}
        """The rest of decisions that the plan that waits is of."""
        self._planned = -1
        """The last row with a plan."""
        self._traded = False
        self._begun = bool(state.working), bool(state.crosses)
        agents, size = len(state.agents), state.universe.size
        self._answers, self._weights, self._change = (
            arrays.numbers(name, agents * size).reshape(agents, size)
            for name in (place.F_ANSWERS, place.F_WEIGHTS, place.F_CHANGE)
        )
        self._ends = arrays.section(place.A_ENDS, size)
        self._load()
        known, by_date = state.history.known, state.history.synchronous
        self._args = (
            arrays.ints, arrays.floats, state.ledger.flat, block.close_nano.reshape(-1), block.close.reshape(-1),
            block.open_nano.reshape(-1), block.low.reshape(-1), block.high.reshape(-1), block.volume.reshape(-1),
            block.fresh.reshape(-1), known.prices.reshape(-1), known.filled_returns.reshape(-1),
            by_date.prices.reshape(-1), by_date.filled_returns.reshape(-1), by_date.columns(), arrays.fixed, _NONE,
            arrays.rows, arrays.losses, arrays.first, arrays.house, FREED, arrays.buffer, arrays.names,
        )  # fmt: skip

    def _load(self) -> None:
        """Write the state into the arrays."""
        state, arrays, cells, rows = self.state, self._arrays, self._cells, len(self.ticks)
        first, block, last = self.first, self.block, self.first + len(self.ticks)
        known, by_date, books = state.history.known, state.history.synchronous, len(state.agents) + 1
        for name, value in (
            (place.ROWS, rows), (place.ROW, 0), (place.FIRST, first), (place.END, by_date.end),
            (place.COUNT, by_date.count), (place.KNOWN_END, known.end), (place.ROOM, state.ledger.room),
            (place.ORDERS, 0), (place.CROSSES, 0), (place.ASKED, 0), (place.REFUSED, 0), (place.CLIPPED, 0),
            (place.LAST_TS, state.sample),
        ):  # fmt: skip
            cells[name] = value
        times = arrays.section(place.A_TIMES, 4 * rows).reshape(rows, 4)
        times[:, 0], times[:, 1] = block.ts_open[first:last], block.ts_event[first:last]
        times[:, 2] = [tick.ts for tick in self.ticks]
        times[:, 3] = [tick.key // DAY_NS for tick in self.ticks]
        always = any(
            not (agent.suspended or rules.scheduled)
            for agent, rules in zip(state.agents, state.rules.agents, strict=True)
        )
        arrays.section(place.A_DUE, rows)[:] = 1 if always else [bool(tick.due) for tick in self.ticks]
        marks: list[int] = []
        basis: list[float] = []
        for book in (HOUSE, *range(books - 1)):
            switch = state.switch_at(book)
            marks += (switch.high_water, switch.day_open, switch.week_open, switch.day_key, switch.week_key, switch.last)
            basis += state.watch.realised[book + 1].basis(state.account(book).flows_micro)
        arrays.section(place.A_MARKS, len(marks))[:] = marks
        arrays.numbers(place.F_BASIS, len(basis))[:] = basis
        size = state.universe.size
        arrays.numbers(place.F_HELD, books * size).reshape(books, size)[:] = state.ledger.cells[:books, :size]
        asked = [own.asked_at if own.asked else 0 for own in state.activity.books[: books - 1]]
        arrays.section(place.A_ASKED_AT, len(asked))[:] = asked
        arrays.section(place.A_FOLLOW, books - 1)[:] = [number in self._rest for number in range(books - 1)]

    def load_orders(self, venue: KernelVenue) -> bool:
        """Write the open basket and the crosses into the arrays; False where they are others than the kernel knows."""
        state, arrays, cells = self.state, self._arrays, self._cells
        size, agents = state.universe.size, len(state.agents)
        for (sample, n), work in state.working.items():
            rows, starts = len(work.lots), venue.starts(sample, n)
            whole = work.basket.lots == work.lots and work.basket.worst_nano == work.worst_nano
            if starts is None or len(state.working) > 1 or not whole or work.odd or work.basket.kind or work.again:
                return False
            if work.state != [OrderState.WORKING] * rows or any(work.filled) or 0 in work.basket.end:
                return False
            basket = work.basket
            columns = [*basket.sym, *basket.lots, *basket.worst_nano, *basket.end]
            arrays.section(place.A_ORDERS, 4 * rows)[:] = columns
            arrays.section(place.A_REASONS, rows)[:] = basket.reason or [0] * rows
            pairs = arrays.section(place.A_PAIRS, size + 2 * size * agents)
            pairs[:rows] = [len(each) for each in work.shares]
            flat = [value for each in work.shares for pair in each for value in pair]
            pairs[size : size + len(flat)] = flat
            cells[place.ORDERS], cells[place.AFTER] = rows, starts
            cells[place.SENT_SAMPLE], cells[place.SENT_N] = sample, n
            self._sent = sample, n
        lots = arrays.section(place.A_CROSSED, agents * size).reshape(agents, size)
        lots[:] = 0
        worst = arrays.section(place.A_CROSS_WORST, 2 * size).reshape(2, size)
        for cross in state.crosses:
            if lots[:, cross.symbol].any() or cross.ts > self.block.ts_open[self.first]:
                return False
            if [agent for agent, _ in cross.shares] != sorted({agent for agent, _ in cross.shares}):
                return False
            for agent, own in cross.shares:
                lots[agent, cross.symbol] = own
            worst[:, cross.symbol] = cross.buy_worst_nano, cross.sell_worst_nano
        cells[place.CROSSES] = len(state.crosses)
        return True

    def take(self) -> int:
        """Plan the answers that wait, and take rows until agents are due; returns the status of the kernel."""
        cells, state = self._cells, self.state
        before = self.rows
        waits = cells[place.ASKED]
        status = TAKE_ROWS.run(*self._args)
        if waits and status != OTHER_PLAN:
            self._finish_plan(before - 1)
        elif waits:
            self._rest |= self._waiting
        taken = self.rows = cells[place.ROW]
        if taken > before:
            state.history.known.extend(taken - before)
            state.history.synchronous.extend(taken - before)
        if cells[place.FILLED]:
            self._note_fills(before)
        return status

    def _finish_plan(self, row: int) -> None:
        """Record what a plan changes besides its orders."""
        state, cells, arrays = self.state, self._cells, self._arrays
        for number, decided in self._decided.items():
            agent = state.agents[number]
            agent.failures = 0
            if decided.memory:
                agent.memory = memory_of(decided)
        if cells[place.PLANNED]:
            self._planned = row
            ts, part, follow = self.ticks[row].ts, cells[place.A_PART], cells[place.A_FOLLOW]
            for number, own in enumerate(state.activity.books[:-1]):
                if cells[part + number]:
                    own.asked_at, own.asked = ts, self._change[number].tobytes()
                if cells[follow + number]:
                    self._rest[number] = FollowUp(cells[place.SENT_SAMPLE], self._answers[number].tobytes(), self._used)
            self._sent = cells[place.SENT_SAMPLE], cells[place.SENT_N]
            if cells[place.SENT]:
                self._forget_samples()
                state.orders_at[self._sent[0]] = self._sent[1]
        self._decided, self._waiting = {}, {}

    def _forget_samples(self) -> None:
        """Keep the newest samples with orders."""
        known = self.state.orders_at
        if len(known) > 256:
            self.state.orders_at = dict(list(known.items())[-128:])

    def _note_fills(self, row: int) -> None:
        """Record the fills at the open of a row."""
        arrays, rows = self._arrays, self._cells[place.FILLED]
        pairs = self._pairs(rows) if self._several else None
        if len(self._fills) == VENUE_KEPT:
            self._missed = self._fills[0].key[0]
        self._traded = True
        known = self.state.working.get(self._sent) if self._begun[0] else None
        self._fills.append(
            Fills(
                self.block, self.first + row, self._sent, self._cells[place.SENT_TS],
                arrays.section(place.A_ORDERS, 7 * rows).copy(), arrays.section(place.A_FILLS, 4 * rows).copy(),
                arrays.section(place.A_REASONS, rows).copy(), pairs, self._cells[place.LEAST] > 0,
                None if known is None else known.basket,
            )
        )  # fmt: skip

    def _pairs(self, rows: int) -> Ints:
        """The numbers of agents by order, then their (agent, unsigned lots)."""
        size = self.state.universe.size
        pairs = self._arrays.section(place.A_PAIRS, size + 2 * size * len(self.state.agents))
        return np.concatenate((pairs[:rows], pairs[size : size + 2 * int(pairs[:rows].sum())]))

    @property
    def fills(self) -> int:
        """The number of orders that were filled at the open of the first row of the last call."""
        return self._cells[place.FILLED]

    def filled(self) -> Filled:
        """The last fills."""
        return self._fills[-1].effect()

    def due(self) -> list[int]:
        """The agents that decide at the last row."""
        return agents_due(self.state, self.ticks[self.rows - 1])

    def follow(self, due: list[int]) -> bool | None:
        """Prepare the rest of earlier decisions for the next `take`; None where nothing follows, and False where it is
        for the engine."""
        waiting = {number: rest for number, rest in self._rest.items() if number not in due}
        for number in due:
            self._rest.pop(number, None)
            self._cells[self._cells[place.A_FOLLOW] + number] = 0
        if not waiting:
            return None
        one, self._waiting = next(iter(waiting.values())), waiting
        if due or any((each.sample, each.used) != (one.sample, one.used) for each in waiting.values()):
            return False
        self._rest = {}
        return self._plan_next({k: rest.weights for k, rest in waiting.items()}, one.sample, one.used + 1)

    def _plan_next(self, answers: dict[int, bytes], sample: int, used: int) -> bool:
        """Write answers for the next `take`."""
        state, cells, size = self.state, self._cells, self.state.universe.size
        answered, follow = cells[place.A_ANSWERED], cells[place.A_FOLLOW]
        for number in range(len(state.agents)):
            weights = answers.get(number)
            cells[answered + number] = weights is not None
            cells[follow + number] = 0
            if weights is not None:
                if len(weights) != 8 * size:
                    return False
                self._answers[number] = np.frombuffer(weights)
        rules, ts = state.rules, self.ticks[self.rows - 1].ts
        if rules.good_till_cancelled:
            self._ends[:] = 0
        else:
            per_calendar = [each.day_order_end(ts, rules.daily) for each in rules.sessions]
            self._ends[:] = per_calendar[0] if len(per_calendar) == 1 else [per_calendar[c] for c in rules.calendar]
        cells[place.ASKED], cells[place.FOLLOW_UPS], self._used = 1, used < rules.follow_ups, used
        cells[place.SENT_SAMPLE], cells[place.SENT_N] = sample, state.orders_at.get(sample, 0) + 1
        return True

    def asks(self, due: list[int]) -> list[Ask]:
        """The questions to agents at the last row."""
        state, cells, arrays, row = self.state, self._cells, self._arrays, self.rows - 1
        size, tick, at = state.universe.size, self.ticks[self.rows - 1], cells[place.A_EQUITY]
        state.round_no += 1
        prices, history = self.block.close[self.first + row], state.history
        asks: list[Ask] = []
        for number in due:
            equity = cells[at + row * (len(state.agents) + 5) + 1 + number]
            weights = self._weights[number].copy()
            weights.flags.writeable = False
            view = View(
                universe=state.universe,
                ring=history.known,
                by_date=history.by_date,
                prices=prices,
                weights=weights,
                cash=state.ledger.books[number].cash_micro / equity,
                equity=equity / MICRO,
                time=tick.ts,
                sample=tick.ts,
            )
            asks.append(Ask(state.round_no, number, view, state.agents[number].memory, state.seats[number]))
        return asks

    def answer(self, answers: Sequence[Decided]) -> bool:
        """Write the answers of a round for the next `take`; False where the engine must plan them."""
        given: dict[int, bytes] = {}
        for each in answers:
            if each.failed or each.note != self.state.agents[each.agent].note:
                return False
            if each.weights is not None:
                given[each.agent] = each.weights
        self._decided = {each.agent: each for each in answers}
        return self._plan_next(given, self.ticks[self.rows - 1].ts, 0)

    def valued(self, row: int) -> Valued:
        """The valuation of a row of the last call."""
        state, agents = self.state, len(self.state.agents)
        at = self._cells[place.A_EQUITY] + row * (agents + 5)
        equity, *books = self._arrays.ints[at : at + agents + 2].tolist()
        units = np.abs(self._arrays.numbers(place.F_HELD, state.universe.size) * state.universe.lot_size)
        return Valued(
            ts=self.ticks[row].ts,
            equity_micro=equity,
            cash_micro=state.ledger.house.cash_micro,
            books=books,
            gross=float(units.dot(self.block.close[self.first + row])) * MICRO / equity,
            drawdown=max(0.0, 1.0 - equity / max(self._cells[at + agents + 2], 1)),
        )

    def assessed(self, row: int) -> Assessed | None:
        """The record of the losses at a row; None where none is due."""
        if (self.state.sample_no + row + 1) % KNOWN_SAMPLES:
            return None
        agents = len(self.state.agents)
        at = self._cells[place.A_EQUITY] + row * (agents + 5)
        high, day_open, week_open = self._arrays.ints[at + agents + 2 : at + agents + 5].tolist()
        marks = Switch(high_water=high, day_open=day_open, week_open=week_open)
        known = losses(marks, self._cells[at], self.state.rules.house)
        return Assessed(self.ticks[row].ts, known) if known else None

    def digest_rows(self, before: int) -> Iterable[tuple[int, int, int, bytes]]:
        """(instant, kind, number, rows) of the digest of the last call, whose first row was `before`."""
        cells, at = self._cells, 0
        data = self._arrays.buffer[: cells[place.USED]].tobytes()
        samples, end = cells[place.SAMPLES], cells[place.ORDER_END]
        if end:
            yield cells[place.SENT_TS], 2, cells[place.SENT], data[:end]
            at = end
        for row in range(before, self.rows):
            fills, end = cells[samples + 2 * row], cells[samples + 2 * row + 1]
            if fills > at:
                yield self.block.ts_open[self.first + row], 0, cells[place.FILLED], data[at:fills]
            yield self.ticks[row].ts, 1, 1, data[fills:end]
            at = end

    @property
    def sent(self) -> int:
        """The number of orders that the last call sent."""
        return self._cells[place.SENT]

    def cuts(self) -> tuple[int, int]:
        """The numbers of rows that limits rejected and cut."""
        return self._cells[place.REFUSED], self._cells[place.CLIPPED]

    def close(self, venue: KernelVenue | None) -> OrderBasket | None:
        """Move the state and the venue to the last row taken. Returns the basket that is still to be sent."""
        state, cells, rows = self.state, self._cells, self.rows
        for number, agent in enumerate(state.agents):
            agent.follow_up = self._rest.get(number)
        if not rows:
            return None
        self._apply_market(rows)
        self._apply_books(rows)
        if self._traded or any(self._begun):
            state.booked()
        if not self.gated:
            self._forget_samples()
            return None
        if self._begun[0] and self._traded:
            state.working.clear()
        if self._begun[1]:
            state.crosses = []
        for each in list(self._fills)[-ENDED_KEPT:]:
            state.ended.append((each.key, _filled_whole(each.basket(), each.shares())))
        if venue is not None and self._traded:
            venue.catch_up(MarketSlice(self.block, self.first + rows - 1), list(self._fills), self._missed)
        elif venue is not None:
            venue.on_slice(MarketSlice(self.block, self.first + rows - 1))
        if self._planned != rows - 1:
            self._forget_samples()
            return None
        self._cross()
        return self._send()

    def _cross(self) -> None:
        """Record the crosses of the last plan."""
        state, cells, arrays = self.state, self._cells, self._arrays
        if not cells[place.CROSSES]:
            return
        size, agents = state.universe.size, len(state.agents)
        lots = arrays.section(place.A_CROSSED, agents * size).reshape(agents, size)
        worst, ends = arrays.section(place.A_CROSS_WORST, 2 * size), arrays.section(place.A_ENDS, size)
        for symbol in lots.any(axis=0).nonzero()[0].tolist():
            shares = [(agent, k) for agent, k in enumerate(lots[:, symbol].tolist()) if k]
            buy, sell = int(worst[symbol]), int(worst[size + symbol])
            state.crosses.append(
                Cross(self._sent[0], cells[place.SENT_TS], symbol, shares, buy, sell, int(ends[symbol]))
            )

    def _send(self) -> OrderBasket | None:
        """Record the orders of the last plan as working; returns their basket."""
        state, rows = self.state, self._cells[place.ORDERS]
        if not rows:
            return None
        arrays, pairs = self._arrays, self._pairs(rows) if self._several else None
        orders, reasons = arrays.section(place.A_ORDERS, 7 * rows), arrays.section(place.A_REASONS, rows)
        sent = Fills(self.block, 0, self._sent, self._cells[place.SENT_TS], orders, orders, reasons, pairs, False, None)
        basket = sent.basket()
        state.working[basket.sample, basket.n] = Working.sent(basket, sent.shares())
        return basket

    def _apply_market(self, rows: int) -> None:
        """Move marks, volumes and clocks."""
        state, block, last, tick = self.state, self.block, self.first + rows - 1, self.ticks[rows - 1]
        kept = state.rules.volume_lookback if state.rules.daily else rows
        state.volume_count += max(rows - kept, 0)
        for k in range(max(rows - kept, 0), rows):
            state.traded_volume(MarketSlice(block, self.first + k))
            state.session_volume(self.ticks[k].ts)
        state.marks, state.marks_nano = block.close[last], block.close_nano[last]
        state.mark_ts = np.full(state.universe.size, block.ts_event[last])
        state.now = max(state.now, block.ts_seen[last], tick.ts)
        state.sample, state.sample_key = tick.ts, tick.key
        state.borrowed_key, state.earned = tick.key - tick.key % DAY_NS, None

    def _apply_books(self, rows: int) -> None:
        """Move equity, switches and realised returns."""
        state, arrays, agents = self.state, self._arrays, len(self.state.agents)
        found = arrays.section(place.A_EQUITY, rows * (agents + 5)).reshape(rows, agents + 5)
        state.equity_micro, *state.books_micro = found[-1, : agents + 2].tolist()
        watch, books = state.watch, (HOUSE, *range(agents))
        watch.context = None
        marks = arrays.section(place.A_MARKS, MARKS * (agents + 1)).reshape(-1, MARKS).tolist()
        for book, own in zip(books, marks, strict=True):
            switch = state.switch_at(book)
            switch.high_water, switch.day_open, switch.week_open, switch.day_key, switch.week_key, switch.last = own
        basis = arrays.numbers(place.F_BASIS, 3 * (agents + 1))
        for book in watched(state):
            equity, flows = found[:, book + 1].tolist(), state.account(book).flows_micro
            watch.realised[book + 1].extend(equity, flows, float(basis[3 * (book + 1)]))
        state.sample_no += rows
        if self._planned >= 0:
            watch.recorded_no = state.sample_no - rows + self._planned + 1
        # each record of all limits would have found no level that changed
        watch.recorded_no += (state.sample_no - watch.recorded_no) // RECORD_SAMPLES * RECORD_SAMPLES
        state.ledger.room = self._cells[place.ROOM]
        arrays.finite = state.history.synchronous.count

    def finish_tick(self) -> list[Effect]:
        """The rest of the last tick by the engine, after `close`: follow-ups and questions."""
        state, tick = self.state, self.ticks[self.rows - 1]
        return list(serve_tick(state, tick, follow_ups(state, frozenset(agents_due(state, tick)))))

    def reopen(self, answers: Sequence[Decided]) -> None:
        """Open the round of the last questions again, after `close`: the engine gets the answers."""
        self.state.round = Round(self.state.round_no, [each.agent for each in answers])


_NONE: Final = np.empty((1, 1))


class Fills(NamedTuple):
    """The fills of a basket at the open of a `row` of a block, as the arrays had them.

    `orders` are 7 columns of orders, `fills` 4 of fills; `pairs` the agents' parts, None for a lone agent. `least`:
    orders have a minimum commission. `sent` is the basket, where it was sent before.
    """

    block: Block
    row: int
    key: tuple[int, int]
    ts: int
    orders: Ints
    fills: Ints
    reasons: Ints
    pairs: Ints | None
    least: bool
    sent: OrderBasket | None

    def basket(self) -> OrderBasket:
        """The basket."""
        if self.sent is not None:
            return self.sent
        rows = len(self.reasons)
        sym, lots, worst, end = self.orders[: 4 * rows].reshape(4, rows).tolist()
        return OrderBasket(*self.key, self.ts, sym, lots, worst, end, reason=self.reasons.tolist())

    def shares(self) -> list[list[tuple[int, int]]]:
        """The agents' unsigned lots of each order."""
        rows = len(self.reasons)
        if self.pairs is None:
            return [[(0, abs(lots))] for lots in self.orders[rows : 2 * rows].tolist()]
        pairs, at = self.pairs.tolist(), rows
        found = []
        for count in pairs[:rows]:
            own = pairs[at : at + 2 * count]
            found.append(list(zip(own[::2], own[1::2], strict=True)))
            at += 2 * count
        return found

    def effect(self) -> Filled:
        """The record of the fills."""
        sym, lots, prices, fees = self.fills.reshape(4, -1).tolist()
        signed = [
            [(who, part if own > 0 else -part) for who, part in each]
            for own, each in zip(lots, self.shares(), strict=True)
        ]
        return Filled(*self.key, self.block.ts_open[self.row], sym, lots, prices, fees, signed)

    @property
    def ts_event(self) -> int:
        """As `quantd.trading.ports.FilledBasket`."""
        return self.block.ts_event[self.row]

    def made(self) -> tuple[OrderBasket, Reports, list[int]]:
        """As `quantd.trading.ports.FilledBasket`."""
        rows = len(self.reasons)
        _, lots, prices, fees = self.fills.reshape(4, -1).tolist()
        whole = [abs(own) for own in lots]
        report = Reports(
            *self.key, self.block.ts_open[self.row], list(range(rows)), whole, whole, prices, fees,
            [int(Cause.LAST_FILL)] * rows,
        )  # fmt: skip
        charged = self.orders[6 * rows :].tolist() if self.least else [-1] * rows
        return self.basket(), report, charged


def _filled_whole(basket: OrderBasket, shares: list[list[tuple[int, int]]]) -> Working:
    """A basket whose orders are filled whole."""
    rows, unsigned = len(basket.sym), [[(who, abs(lots)) for who, lots in each] for each in shares]
    work = Working.sent(basket, unsigned)
    work.filled = [abs(lots) for lots in basket.lots]
    work.state = [int(OrderState.FILLED)] * rows
    work.shares = [[(who, 0) for who, _ in each] for each in unsigned]
    work.live = 0
    return work


def begin_batch(
    state: State, block: Block, first: int, ticks: Sequence[Tick], venue: KernelVenue | None, records: bool
) -> Batch | None:
    """A batch of row `first` of `block` and the tick after it, the next row and the next tick, and so on; None where
    the first is one for `step`. Without a `venue`, plans are left to the engine.

    With `records`, it ends before a record of all limits is due.
    """
    if not steady(state):
        return None
    plans = venue is not None and _plans(state)
    arrays = arrays_of(state, venue.fill_terms() if venue is not None and plans else None)
    if arrays is None or ((state.working or state.crosses) and not arrays.gated):
        return None
    ring, known = state.history.synchronous, state.history.known
    most = min(len(ticks), len(block) - first, LONGEST, ring.room(), known.room())
    most = _rows(state, block, first, ticks, most, records, arrays.gated)
    if not most or not _finite(state, arrays):
        return None
    ring.fill()
    known.fill()
    if state.ledger.room <= 0:
        state.ledger.admit()
    batch = Batch(state, block, first, ticks[:most], arrays)
    if (state.working or state.crosses) and (venue is None or not batch.load_orders(venue)):
        return None
    return batch


def _finite(state: State, arrays: Arrays) -> bool:
    """Whether the newest returns of every symbol are known."""
    ring = state.history.synchronous
    if arrays.finite != ring.count:
        lookbacks = [limits_in_force(state, book) for book in (HOUSE, *range(len(state.agents)))]
        most = max((k for each in lookbacks for k in rules_of(each, state.universe).lookbacks), default=0)
        columns, rows = ring.columns(), min(ring.count - 1, most)
        if not np.isfinite(columns[:, ring.end - rows : ring.end].sum()):
            return False
        arrays.finite = ring.count
    return True


def _rows(
    state: State, block: Block, first: int, ticks: Sequence[Tick], most: int, records: bool, gated: bool
) -> int:
    """Rows that may be taken: full ones, each of the date of its tick, inside the protective levels, before the next
    record of all limits."""
    waiting = [number for number, agent in enumerate(state.agents) if agent.follow_up is not None]
    if waiting and not gated:  # a new decision replaces the rest of an earlier one, which a sample without it would plan
        most = min(most, 1) if set(waiting) <= set(ticks[0].due) else 0
    if records:
        most = min(most, state.watch.recorded_no + RECORD_SAMPLES - 1 - state.sample_no)
    for k in range(most):
        row, tick = first + k, ticks[k]
        whole = block.full[row] and block.key[row] == tick.key and block.ts_seen[row] <= tick.ts
        if not whole or (k + 1 < len(ticks) and block.ts_event[row + 1] <= tick.ts):
            most = k
            break
    if state.guards is not None and most > 0:
        state.levels = current_levels(state, state.guards)
        state.best = state.levels.best
        close: Floats = block.close[first : first + most]
        touched = (close <= state.levels.lower) | (close >= state.levels.upper)
        most = int(np.append(touched.any(axis=1), True).argmax())
    return max(most, 0)
