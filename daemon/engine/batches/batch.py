"""Rows of a recorded market that are taken together: computed by one kernel, and applied to the state at the end."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantd.daemon.engine.batches import layout as place
from quantd.daemon.engine.batches.arrays import Arrays
from quantd.daemon.engine.batches.columns import Bars, Rings
from quantd.daemon.engine.batches.filled_orders import FilledOrders
from quantd.daemon.engine.batches.inputs import Volumes, write_state
from quantd.daemon.engine.batches.kernel import Kernel
from quantd.daemon.engine.batches.row_effects import SampleRows, plan_alerts, row_effects, sample_rows
from quantd.daemon.engine.batches.rows_kernel import MARKS
from quantd.daemon.engine.rounds import follow_ups
from quantd.daemon.engine.safety.monitor import RECORD_SAMPLES, watch_levels, watched
from quantd.daemon.engine.samples import agents_due, serve_tick
from quantd.daemon.engine.state import ENDED_KEPT, HOUSE, FollowUp, Round, State
from quantd.daemon.engine.stops.exits import release_blocked
from quantd.daemon.engine.venue.open_orders import Cross, Working
from quantd.trading.codec import memory_of
from quantd.trading.effects import Ask, Effect
from quantd.trading.events import Decided, Tick
from quantd.trading.fill_prices import Columns
from quantd.trading.instruments import MICRO
from quantd.trading.market import Block, MarketSlice
from quantd.trading.number_types import read_int_rows, read_rows
from quantd.trading.orders import OrderBasket
from quantd.trading.ports import KernelVenue
from quantd.trading.sessions import DAY_NS
from quantd.trading.view import View

Ints = NDArray[np.int64]

VENUE_KEPT: Final = 128
"""Ended baskets of a batch that the venue gets."""


class Told(NamedTuple):
    """Answers to a later row at `ts`, told in advance: float64[N] weights by agent."""

    row: int
    ts: int
    answers: dict[int, bytes]


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
        self.pauses: list[int] = []
        """Rows before which the caller steps corporate actions."""
        self.paid = 0
        """The last row before which it has."""
        self.held: list[Effect] = []
        """Effects of the last tick that are not logged yet."""
        self._arrays = arrays
        self._cells = arrays.ints.data
        self._fills: deque[FilledOrders] = deque(maxlen=VENUE_KEPT)
        self._missed: int | None = None
        """Sample of the last basket that is no longer in `_fills`."""
        self._sent: tuple[int, int] = next(iter(state.working), (0, 0))
        """Sample and number of the last basket."""
        # a suspension ends a batch
        self._deciding = [
            (number, not rules.scheduled)
            for number, (agent, rules) in enumerate(zip(state.agents, state.rules.agents, strict=True))
            if not agent.suspended
        ]
        self._rest = {k: agent.follow_up for k, agent in enumerate(state.agents) if agent.follow_up is not None}
        self._decided: dict[int, Decided] = {}
        self._used = 0
        """Follow-ups before the plan that waits."""
        self._coming: list[Told] = []
        """The answers told in advance to the next call."""
        self.told, self.planned = list[Told](), list[Told]()
        """Those told to the last call, and those that it planned."""
        self._plans: list[list[int]] = []
        """The plans of the last call, as `layout.PLAN`."""
        self._filled: list[FilledOrders] = []
        """The fills of the last call."""
        self._waiting: dict[int, FollowUp] = {}
        """The rest of decisions that the plan that waits is of."""
        self._planned, self._traded, self._applied = -1, False, 0
        """The last row with a plan, whether anything was filled, and rows that the state has."""
        agents, size = len(state.agents), state.universe.size
        self._adjust()
        self._answers, self._weights, self._requested = (
            arrays.numbers(name, agents * size).reshape(agents, size)
            for name in (place.F_ANSWERS, place.F_WEIGHTS, place.F_REQUESTED)
        )
        self._ends = arrays.section(place.A_ENDS, size)
        self._volumes = Volumes(state, arrays, block, first)
        self._orders = arrays.ints[self._cells[place.A_REASONS] : self._cells[place.A_CROSSED]]
        self._copies = self._section_rows(place.A_COPIES, place.MOST_AHEAD + 2, len(self._orders))
        """What the fills of each basket of a call are made of."""
        self._sizes = size, agents
        write_state(state, arrays, block, first, ticks, self.gated)
        self._kernel = self._made_kernel(state, block, arrays)

    @staticmethod
    def _made_kernel(state: State, block: Block, arrays: Arrays) -> Kernel:
        columns = Columns(
            read_int_rows(block.open_nano), read_rows(block.low), read_rows(block.high), read_rows(block.volume)
        )
        bars = Bars(_cells(block.close_nano), _cells(block.close), read_rows(block.close), columns)
        rings = Rings(state.history.known, state.history.synchronous)
        floats = _cells(arrays.floats)
        return Kernel(arrays.ints.data, floats, state.ledger, bars, rings, arrays.gates, arrays.encoded, arrays.fills)

    def adjust(self) -> None:
        """Take in the corporate actions that the engine has stepped before the next row."""
        if any(key > self.ticks[self.rows].key for key, *_ in self.state.history.sync_actions):
            self.ticks, self.pauses = self.ticks[: self.rows], []  # the next row is not the one that they precede
        else:
            self._adjust()

    def _adjust(self) -> None:
        """Give the corporate actions before the next row to the rings."""
        history = self.state.history
        history.known.act(history.known_actions)
        history.synchronous.act([(column, ratio, dividend) for _, column, ratio, dividend in history.sync_actions])

    def take(self) -> int:
        """Plan the answers that wait, and take rows until agents are due; returns the status of the kernel."""
        cells, state = self._cells, self.state
        cells[place.ROWS] = self.pauses[0] if self.pauses else len(self.ticks)
        before, waits, sent_ts = self.rows, cells[place.ASKED], cells[place.SENT_TS]
        sent = self._sent, sent_ts
        status = self._kernel.take()
        plans = cells[place.A_PLANS]
        begins = range(plans, plans + place.PLAN * cells[place.PLANS], place.PLAN)
        self._plans = [cells[at : at + place.PLAN].tolist() for at in begins]
        self.told = self.planned = self._coming
        if self.told:
            self._coming, cells[place.AHEAD] = [], 0
            self.planned = self.told[: cells[place.NEXT]]
        if self._plans:
            self._finish_plans()
        elif waits:
            self._rest |= self._waiting
        taken = self.rows = cells[place.ROW]
        if taken > before:
            state.history.known_actions, state.history.sync_actions = [], []
        self._filled = self._note_fills(*sent) if cells[place.BASKETS] else []
        return status

    def _section_rows(self, name: int, rows: int, width: int) -> Ints:
        """The first rows of a section of integers."""
        return self._arrays.section(name, rows * width).reshape(rows, width)

    def _finish_plans(self) -> None:
        """Record what the plans of a call change besides their orders."""
        state, cells = self.state, self._cells
        for number, decided in self._decided.items():
            agent = state.agents[number]
            agent.failures = 0
            if decided.memory:
                agent.memory = memory_of(decided)
        for told in self.planned:
            state.round_no += 1
            for number in told.answers:
                state.agents[number].failures = 0
        if cells[place.PLANNED]:
            requested, at, follow = cells[place.A_REQUESTED], cells[place.A_ASKED_AT], cells[place.A_FOLLOW]
            made = [plan for plan in self._plans if plan[1]]
            self._planned, _, _, _, *sent = made[-1]
            for number, own in enumerate(state.activity.books[:-1]):
                if cells[requested + number]:
                    own.asked_at, own.asked = cells[at + number], self._requested[number].tobytes()
                if cells[follow + number]:
                    self._rest[number] = FollowUp(sent[0], self._answers[number].tobytes(), self._used)
            self._sent = sent[0], sent[1]
            for _, _, orders, _, sample, n in made:
                if orders:
                    state.forget_orders()
                    state.orders_at[sample] = n
        self._decided, self._waiting = {}, {}

    def _note_fills(self, key: tuple[int, int], ts: int) -> list[FilledOrders]:
        """Record the fills of a call. `key` and `ts` are those of the last basket before it."""
        cells, found = self._cells, list[FilledOrders]()
        baskets, made, at = cells[place.A_BASKETS], [plan for plan in self._plans if plan[1]], 0
        for number in range(cells[place.BASKETS]):
            row, orders = cells[baskets + 2 * number], cells[baskets + 2 * number + 1]
            while at < len(made) and made[at][0] < row:
                plan, at = made[at], at + 1
                key, ts = (plan[4], plan[5]), self.ticks[plan[0]].ts
            if len(self._fills) == VENUE_KEPT:
                self._missed = self._fills[0].key[0]
            known = self.state.working.get(key)
            filled = FilledOrders(
                self.block, self.first + row, key, ts, orders, self._copies[number].copy(), self._sizes,
                self._arrays.fills.terms.least_micro > 0, None if known is None else known.basket,
            )  # fmt: skip
            self._fills.append(filled)
            found.append(filled)
        self._traded = True
        return found

    @property
    def fills(self) -> int:
        """The number of orders that the last call filled."""
        return self._cells[place.FILLED]

    def filled(self) -> list[FilledOrders]:
        """The fills of the last call."""
        return self._filled

    def due(self) -> list[int]:
        """The agents that decide at the last row."""
        due = self.ticks[self.rows - 1].due
        return [number for number, always in self._deciding if always or number in due]

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
        planned = self._plan_next({k: rest.weights for k, rest in waiting.items()}, one.sample, one.used + 1)
        self._rest = {} if planned else self._rest
        return planned

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
        sample_no = state.sample_no + self.rows - self._applied
        if any(last >= sample_no for number in answers for last in state.agents[number].blocked.values()):
            return False
        if not self._volumes.write_volume(self.rows, self._applied):
            return False
        self._ends[:] = self._ends_at(self.ticks[self.rows - 1].ts)
        cells[place.ASKED], cells[place.FOLLOW_UPS], self._used = 1, used < state.rules.follow_ups, used
        cells[place.SENT_SAMPLE], cells[place.SENT_N] = sample, state.orders_at.get(sample, 0) + 1
        return True

    def _ends_at(self, ts: int) -> int | list[int]:
        """The ends of the orders of a decision: one, or one by symbol."""
        rules = self.state.rules
        if rules.good_till_cancelled:
            return 0
        per_calendar = [each.day_order_end(ts, rules.daily) for each in rules.sessions]
        return per_calendar[0] if len(per_calendar) == 1 else [per_calendar[c] for c in rules.calendar]

    def coming(self, most: int) -> list[tuple[int, int, list[int]]]:
        """The next rows whose answers may be told in advance, at most so many: row, instant and the agents due.

        Empty where a plan needs more than answers.
        """
        state, last = self.state, self.pauses[0] if self.pauses else len(self.ticks)
        if self._rest or self._waiting or self._used or self._volumes.needed:
            return []
        if any(agent.blocked or agent.note for agent in state.agents):
            return []
        found: list[tuple[int, int, list[int]]] = []
        for row in range(self.rows, last):
            tick = self.ticks[row]
            due = [number for number, always in self._deciding if always or number in tick.due]
            if due:
                found.append((row, tick.ts, due))
            if len(found) >= most:
                break
        return found

    def tell(self, told: "list[Told]") -> None:
        """Write answers to rows of `coming`, in order, for the next `take`."""
        cells, (size, agents), count = self._cells, self._sizes, len(told)
        self._coming, cells[place.AHEAD] = told, count
        if not count:
            return
        table = self._section_rows(place.A_AHEAD, count, 1 + agents + size)
        table[:, 0], table[:, 1 : 1 + agents] = [each.row for each in told], 0
        answers = self._arrays.numbers(place.F_AHEAD, count * agents * size).reshape(count, agents, size)
        for number in range(agents):
            rows = [k for k, each in enumerate(told) if number in each.answers]
            if rows:
                table[rows, 1 + number] = 1
                whole = b"".join([told[k].answers[number] for k in rows])
                answers[rows, number] = np.frombuffer(whole).reshape(len(rows), size)
        ends = [self._ends_at(each.ts) for each in told]
        table[:, 1 + agents :] = np.array(ends).reshape(count, -1)

    def asks(self, due: list[int]) -> list[Ask]:
        """The questions to agents at the last row."""
        state, cells, row = self.state, self._cells, self.rows - 1
        tick, at = self.ticks[row], cells[place.A_EQUITY]
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
                sample_time=tick.ts,
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

    def records(self, row: int, *, losses: bool) -> list[Effect]:
        """As `row_effects`, of a row of the last call."""
        closes = self.block.close[self.first + row]
        cash = self.state.ledger.house.cash_micro
        return row_effects(self.state, self._arrays, closes, cash, row, self.ticks[row].ts, losses=losses)

    def samples(self, before: int, until: int) -> SampleRows:
        """The valuations of rows of the last call, from number `before` up to and without `until`."""
        closes = self.block.close[self.first + before : self.first + until]
        return sample_rows(self.state, self._arrays, closes, before, self.ticks[before:until])

    def digest_rows(self, before: int) -> Iterable[tuple[int, int, int, bytes]]:
        """(instant, kind, number, rows) of the digest of the last call, whose first row was `before`. The kind -1 is
        the end of a slice."""
        cells, at, plans, filled = self._cells, 0, iter(self._plans), iter(self._filled)
        data = self._arrays.buffer[: cells[place.USED]].tobytes()
        samples, plan = cells[place.SAMPLES], next(plans, None)
        for row in range(before - 1, self.rows):
            if row >= before:
                fills, end = cells[samples + 2 * row], cells[samples + 2 * row + 1]
                if fills > at:
                    yield self.block.ts_open[self.first + row], 0, next(filled).rows, data[at:fills]
                yield self.block.ts_event[self.first + row], -1, 0, b""
                yield self.ticks[row].ts, 1, 1, data[fills:end]
                at = end
            if plan is not None and plan[0] == row:
                if plan[3] > at:
                    yield self.ticks[row].ts, 2, plan[2], data[at : plan[3]]
                    at = plan[3]
                plan = next(plans, None)

    @property
    def waits(self) -> bool:
        """Whether answers wait for the next `take`."""
        return self._cells[place.ASKED] > 0

    @property
    def sent(self) -> int:
        """The number of orders that the last call sent."""
        return self._cells[place.SENT]

    def cuts(self) -> tuple[int, int]:
        """The numbers of rows that limits rejected and cut."""
        return self._cells[place.REFUSED], self._cells[place.CLIPPED]

    def check_levels(self) -> list[Effect]:
        """The alerts of the last row, at which a level may have changed."""
        self._apply()
        return self._renewed(watch_levels(self.state))

    def check_plan(self) -> list[Effect]:
        """The alerts of the last plan, which may have raised a level."""
        self._apply()
        return self._renewed(plan_alerts(self.state, self._arrays))

    def _renewed(self, alerts: list[Effect]) -> list[Effect]:
        self._arrays.renew(self.state)
        return alerts

    def close(self, venue: KernelVenue | None) -> OrderBasket | None:
        """Move the state and the venue to the last row taken. Returns the basket that is still to be sent."""
        state, rows = self.state, self.rows
        for number, agent in enumerate(state.agents):
            agent.follow_up = self._rest.get(number)
        if not rows:
            return None
        self._apply()
        if not self.gated:
            state.forget_orders()
            return None
        for each in list(self._fills)[-ENDED_KEPT:]:
            state.ended.append(each.key, each.ended)
        if venue is not None and self._traded:
            venue.catch_up(MarketSlice(self.block, self.first + rows - 1), list(self._fills), self._missed)
        elif venue is not None:
            venue.on_slice(MarketSlice(self.block, self.first + rows - 1))
        if self._planned != rows - 1:
            state.forget_orders()
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
        for symbol in np.flatnonzero(np.abs(lots).sum(axis=0)).tolist():
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
        sent = FilledOrders(
            self.block, 0, self._sent, self._cells[place.SENT_TS], rows, self._orders, self._sizes, False, None
        )
        basket = sent.basket()
        state.working[basket.sample, basket.n] = Working.sent(basket, sent.shares())
        return basket

    def _apply(self) -> None:
        """Move the state to the last row taken, except its orders."""
        before, rows, state = self._applied, self.rows, self.state
        if rows > before:
            self._apply_market(before, rows)
            self._apply_books(before, rows)
            self._applied = rows
        if self._planned >= max(before - 1, 0):  # levels may have been checked at a row before its plan
            state.watch.recorded_no = state.sample_no - rows + self._planned + 1
        # each record of all limits would have found no level that changed
        state.watch.recorded_no += (state.sample_no - state.watch.recorded_no) // RECORD_SAMPLES * RECORD_SAMPLES
        if rows and self.gated:  # what was open at the beginning has filled at the first row
            state.booked()
            state.working.clear()
            state.crosses = []

    def _apply_market(self, before: int, rows: int) -> None:
        """Move marks, volumes and clocks."""
        state, block, last, tick = self.state, self.block, self.first + rows - 1, self.ticks[rows - 1]
        kept = state.rules.volume_lookback if state.rules.daily else rows
        skipped = max(rows - before - kept, 0)
        state.volume_count += skipped
        for k in range(before + skipped, rows):
            state.traded_volume(MarketSlice(block, self.first + k))
            state.session_volume(self.ticks[k].ts)
        state.marks, state.marks_nano = block.close[last], block.close_nano[last]
        state.mark_ts = np.full(state.universe.size, block.ts_event[last])
        state.now = max(state.now, block.ts_seen[last], tick.ts)
        state.sample, state.sample_key = tick.ts, tick.key
        state.borrowed_key, state.earned = tick.key - tick.key % DAY_NS, None

    def _apply_books(self, before: int, rows: int) -> None:
        """Move equity, switches and realised returns."""
        state, arrays, agents = self.state, self._arrays, len(self.state.agents)
        found = arrays.section(place.A_EQUITY, rows * (agents + 5)).reshape(rows, agents + 5)[before:]
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
        state.sample_no += rows - before
        release_blocked(state)
        arrays.finite = state.history.synchronous.count

    def finish_tick(self) -> list[Effect]:
        """The rest of the last tick by the engine, after `close`: follow-ups and questions."""
        state, tick = self.state, self.ticks[self.rows - 1]
        return list(
            serve_tick(state, tick, follow_ups(state, frozenset(agents_due(state, tick.due, sample=tick.sample))))
        )

    def reopen(self, answers: Sequence[Decided]) -> None:
        """Open the round of the last questions again, after `close`: the engine gets the answers."""
        self.state.round = Round(self.state.round_no, [each.agent for each in answers])


def _cells(values: NDArray[Any]) -> Any:
    """The cells of an array, row by row."""
    return values.reshape(-1).data
