"""The state of the engine: books, marks, orders, kill switches and rounds. Only `step` changes it."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Final, Literal, NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.daemon.engine.core.fold import Core
from quantd.daemon.engine.core.market_columns import BlockColumns, Market
from quantd.daemon.engine.core.sample_columns import KEPT_SAMPLES
from quantd.daemon.engine.state.activity import Activity
from quantd.daemon.engine.state.agent_state import AgentState
from quantd.daemon.engine.state.bar_columns import block_columns, marks_alone
from quantd.daemon.engine.state.monitor_state import Noted, Watch
from quantd.daemon.engine.state.new_columns import set_columns, set_terms
from quantd.daemon.engine.state.open_orders import EndedBaskets, Key, OpenCrosses, Working
from quantd.daemon.engine.state.parents import Parent
from quantd.daemon.engine.state.promotion_rule import Pairing
from quantd.daemon.engine.state.proposal_log import ProposalLog
from quantd.daemon.engine.state.protective_stops import Protection
from quantd.daemon.engine.state.restrictions import Restrictions
from quantd.daemon.engine.state.settings import Rules, protective_sets
from quantd.daemon.engine.state.stop_records import Bracket
from quantd.daemon.engine.state.venue_account import VenueAccount
from quantd.daemon.engine.state.verdict_log import Judged
from quantd.risk.limits.catalogue import Limits
from quantd.risk.measures.portfolio import total
from quantd.risk.monitor.levels import Monitor
from quantd.risk.protective import Guards, Levels
from quantd.risk.switch_state import Switch
from quantd.trading.bars import BarRing
from quantd.trading.covariance import ones
from quantd.trading.effects import Effect, Refusal, Refused
from quantd.trading.events import Proposed
from quantd.trading.execution import UNLIMITED
from quantd.trading.history import History
from quantd.trading.instruments import MICRO
from quantd.trading.ledger.book import Book
from quantd.trading.ledger.books import Ledger
from quantd.trading.macro import MacroHistory
from quantd.trading.market import Block, Floats, Ints, MarketSlice
from quantd.trading.model_events import Act, ModelLoaded
from quantd.trading.number_types import read_floats
from quantd.trading.orders import Wish
from quantd.trading.sessions import DAY_NS

HOUSE: Final = -1
"""Book number of the house; agents count from 0."""

ENDED_KEPT: Final = 64
"""Ended baskets that are remembered for late reports of the venue."""

ENDED_KEPT_OF_PROGRAMS: Final = 1024
"""The same for orders of programs, beside them: each is a basket of its own."""

ACTS_KEPT: Final = 10_000
"""Acts that are remembered by their idempotency keys; an act of the last day is remembered in any case."""


class ActRecord(Struct, frozen=True, array_like=True):
    """What became of a request with an idempotency key: `code` and `text` are those of the refusal, or empty.

    `request` is the digest of its path and body.
    """

    ts: int
    request: bytes
    code: Refusal | Literal[""] = ""
    text: str = ""


class Portfolio(Struct):
    """An open portfolio: a place (an agent that starts without capital) with capital.

    `targets` are the last proposed weights as bytes of float64[N], empty before the first proposal. `proposal` is the
    id of that proposal, `proposed` its instant. `basis` is the origin of the weights ("weights", or the policy or agent
    that computed them). `because` is the text about the proposal that its orders record. `closing` is the way in which
    the portfolio is being closed, empty while it is open; `to` is the agent that takes it over.
    """

    name: str
    opened: int
    capital_micro: int
    who: str
    reason: str
    basis: str = ""
    targets: bytes = b""
    proposal: str = ""
    proposed: int = 0
    because: str = ""
    closing: Literal["", "flatten", "hand_over"] = ""
    to: str = ""


class Loosening(Struct, frozen=True):
    """Looser limits that wait since the event time `since`, and apply at `due` at the latest.

    `limits` are encoded as in a Reloaded event; `looser` are the names of the limits that are looser. `who` asked for
    them, the last one at the instant `asked_ns` of the machine's clock.
    """

    since: int
    due: int
    limits: bytes
    looser: tuple[str, ...]
    who: tuple[str, ...] = ()
    asked_ns: int = 0


class InForce(NamedTuple):
    """The limits of the whole account in force, as they were computed last.

    `lasting` and `inputs` are what they follow from: `steady`, the limits without moving bounds, from `lasting` alone.
    """

    lasting: tuple[object, ...]
    inputs: tuple[int | None, ...]
    steady: Limits
    limits: Limits


@dataclass(slots=True)
class Round:
    """All Asks (questions to policies) of one instant, until the last answer is in.

    `waiting` are the agents that have not answered; `answers` has the bytes of each answer by agent.
    """

    number: int
    waiting: list[int]
    answers: dict[int, bytes] = field(default_factory=dict)
    holds: list[int] = field(default_factory=list)
    """Agents that answered that they hold: a rest of their last target goes on."""


class State(Core):
    """Everything `step` reads and changes. Marks are those of the present row of `market_columns`: no array of them is
    written in place, because market slices (the bars of one instant) share them."""

    orders_at: dict[int, int]
    crosses: OpenCrosses

    # Long because each part of the state is declared once, here, with its meaning; a snapshot saves them by name.
    def __init__(self, rules: Rules) -> None:
        size = rules.universe.size
        self.host, self.folding, self.plans_in_python = None, False, False
        self.bars_taken = self.samples_taken = self.samples_called = self.rounds_taken = self.bars_lacking = 0
        self.universe = rules.universe
        self.ledger = Ledger(rules.universe, tuple(a.name for a in rules.agents))
        self.ledger.deposit(rules.cash_micro)
        for number, agent in enumerate(rules.agents):
            self.ledger.allocate(number, agent.capital_micro)
        bars = BarRing(size, rules.lookback + 1) if rules.keep_bars else None
        self.history = History(size, rules.lookback + 1, bars)
        if rules.macro:
            self.history.macro = MacroHistory(rules.macro, rules.lookback + 1)
        self.market_columns = Market(size, read_floats(self.universe.lot_size), rules.daily)
        self._bar: tuple[BlockColumns, int, Floats, Ints, Ints] | None = None
        """Block and row of the last bar, with its closes, exact closes and their instants, once they were read."""
        no_price = np.full(size, np.nan)
        self.set_marks(no_price, np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64), no_price)
        self.volumes: Floats = np.empty((rules.volume_lookback, size))
        """Units traded in the last `volume_count` sessions, in any order; NaN where unknown."""
        self.volume_count = 0
        self.activity = Activity(len(rules.agents) + 1, size)
        self._average: Floats | None = None
        self.now = 0
        self.sample = 0
        self.sample_key = 0
        self.sample_no = 0
        self.live_sessions = 0
        """House sessions since the first live start, this one included; the ramp depends on it."""
        self.loosening: Loosening | None = None
        """Looser limits of mode live that wait for their instant, or for an approval."""
        self.allowed: InForce | None = None
        self.agents = [AgentState(a.capital_micro, size) for a in rules.agents]
        self.seats: list[int] = [rules.first_seat + k for k in range(len(rules.agents))]
        """By agent: number of the policy that decides for it."""
        self.shadows: list[State] = [State(shadow_rules) for shadow_rules in rules.shadows]
        self.pairings: list[Pairing] = [Pairing() for _ in rules.shadows]
        self.artifacts: dict[str, str] = {}
        """Agent -> digests of its policy's artifacts."""
        self.loaded: dict[str, ModelLoaded] = {}
        """Agent -> the artifact that an operator loaded in place of the configured policy."""
        self.switch = Switch(high_water=rules.cash_micro)
        self.monitor = Monitor()
        self.watch = Watch(len(rules.agents))
        self.round_no = 0
        self.round: Round | None = None
        self.orders_at = {}
        self.working: dict[Key, Working] = {}
        self.ended = EndedBaskets(ENDED_KEPT, ENDED_KEPT_OF_PROGRAMS)
        self.protection = Protection()
        self.crosses = OpenCrosses(len(rules.agents), size)
        self.parents: list[Parent] = []
        """Parent orders in progress, in order of their decisions."""
        self.restrictions = Restrictions()
        self.venue = VenueAccount(size)
        self.owed: list[int] = [0] * len(rules.agents)
        """By agent, in micro-currency: capital to hand over once it has sold; negative: capital to receive."""
        self.acts: dict[str, ActRecord] = {}
        """Sender and idempotency key of a request -> what became of it."""
        self.portfolios: dict[int, Portfolio] = {}
        """Agent -> the portfolio that is open in it."""
        self.reviews: list[Proposed] = []
        """The proposals of outside agents that wait for a person, oldest first."""
        self.awaiting: list[Proposed] = []
        """Orders from outside that wait for the first price of their market, or for that of a stop order, oldest
        first."""
        self.brackets: list[Bracket] = []
        """The groups of entries and exits from outside that have not ended, oldest first."""
        self.noted = Noted()
        self.outside: dict[str, ProposalLog] = {}
        """Outside agent, or place of a portfolio -> its proposals with their verdicts."""
        self.later: set[str] = set()
        """Jobs that wait for the next sample, because they need books that were just valued."""
        self.down: set[str] = set()
        self.carried = 0, 0
        """Of an account carried over from an earlier run: the instant of the account, and the instant before which bars
        are history only."""
        self.borrowed_key = 0
        """Date up to which borrow fees and interest are accrued."""
        self.balances_micro: list[int] = []
        """Cash of each book at the last sample before its orders: the basis of interest. Empty without a rate."""
        self.earned: float | None = None
        self.accrued = -1
        """The last sample of which fees and interest are booked, ns UTC."""
        self.flattening = False
        self.flattens_jumped = False
        """Whether `flattening` also closes symbols in `jumped`: only an operator's command does, no loss limit."""
        self.judged: list[Judged] | None = None
        """Collects the gate calls; None while nobody reads them."""
        self._equities = np.zeros(len(rules.agents) + 2, dtype=np.int64)
        self.equities = self._equities.data
        self.revalue()
        self._lots: dict[int, Floats] = {}
        self._units: Floats | None = None
        self._priced: tuple[Floats, Floats, Floats] | None = None
        self.best: Floats = np.full((len(rules.agents), size), np.nan)
        """float64[A, N] side x the best mark since entry, where a stop trails."""
        self.levels: Levels | None = None
        """Prices that close positions; None after a booking, until they are needed."""
        set_columns(self)
        self.govern(rules)

    def govern(self, rules: Rules) -> None:
        """Apply new rules for the same universe and agents.

        A stop that trails under new rules starts from now. Exits in progress continue.
        """
        self.rules = rules
        self.counting = rules.counts_sessions()
        self.allowed = None  # the limits in force, and the levels below, are computed anew
        self.guards: Guards | None = protective_sets(rules, bool(self.protection.own))  # None: no protective level
        self.resting = self.guards is not None and any(self.guards.rests)
        """Whether stops are placed at the venue."""
        self.levels = None
        set_terms(self, rules)
        self.protecting = self.guards is not None or any(agent.exits or agent.blocked for agent in self.agents)
        if self.guards is None or not self.guards.trails:
            self.best = np.full_like(self.best, np.nan)

    def note_act(self, act: Act, effects: Sequence[Effect]) -> None:
        """Remember what became of a request with an idempotency key, by one of its events. The oldest acts are dropped
        beyond ACTS_KEPT once they are older than a day."""
        refusal = next((effect for effect in effects if isinstance(effect, Refused)), None)
        record, earlier = ActRecord(self.now, act.request), self.acts.get(act.key)
        if refusal is not None:
            partly = "a part of the request was carried out: " if earlier is not None and not earlier.code else ""
            record = ActRecord(self.now, act.request, refusal.code, partly + refusal.text)
        self.acts[act.key] = record
        while len(self.acts) > ACTS_KEPT:
            oldest = next(iter(self.acts))
            if self.acts[oldest].ts > self.now - DAY_NS:
                break
            del self.acts[oldest]

    @property
    def equity_micro(self) -> int:
        """Equity of the whole account at the last valuation, micro-currency."""
        return int(self._equities[0])

    @property
    def books_micro(self) -> list[int]:
        """Equities of the agents at the last valuation, then of what no agent has, micro-currency."""
        books_micro: list[int] = self._equities[1:].tolist()
        return books_micro

    @property
    def marks(self) -> Floats:
        """float64[N] the last close of each symbol, NaN without one; the same array until another bar or mark comes."""
        return self._last_bar()[2]

    @property
    def marks_nano(self) -> Ints:
        """int64[N], `marks` in nano-currency; 0 without a price."""
        return self._last_bar()[3]

    @property
    def mark_ts(self) -> Ints:
        """int64[N] the instants of the marks, ns UTC."""
        return self._last_bar()[4]

    @property
    def volume(self) -> Floats:
        """float64[N] units traded in the session so far, or in the last daily bar; NaN where unknown."""
        market = self.market_columns
        volume: Floats = market.bars.volumes[market.row] if market.daily else np.array(market.session)
        return volume

    def all_marks(self) -> tuple[Floats, Ints, Ints, Floats]:
        """The marks, the same in nano-currency, their instants, and `volume`."""
        return self.marks, self.marks_nano, self.mark_ts, self.volume

    def _last_bar(self) -> tuple[BlockColumns, int, Floats, Ints, Ints]:
        market, bar = self.market_columns, self._bar
        bars, row = market.bars, market.row
        if bar is None or bar[0] is not bars or bar[1] != row:
            times = np.full(self.universe.size, bars.ts_event[row]) if bars.times is None else bars.times[row]
            bar = self._bar = bars, row, bars.marks[row], bars.exact[row], times
        return bar

    def columns_of(self, block: Block, row: int) -> BlockColumns:
        """The columns of `block` from the bar `row` on; of this bar alone while a price is held, which changes marks at
        each bar."""
        return block_columns(block, row, self.all_marks(), alone=bool(self.restrictions.jumped))

    def keep_closes(self) -> None:
        """Put the closes of the last bar, where they wait for their sample, to the others of their date."""
        columns = self.market_columns
        if columns.waiting:
            columns.waiting = False
            bar = MarketSlice(columns.block, columns.row)
            self.history.bar(bar.key, bar.fresh, bar.full, bar.close)

    def set_marks(
        self, marks: Floats, marks_nano: Ints, mark_ts: Ints | None = None, volume: Floats | None = None
    ) -> None:
        """Replace the marks, for example after a split. Instants and daily volumes stay where they are not given."""
        columns = self.market_columns
        if mark_ts is None or volume is None:  # else the state has no bar yet, or is restored
            self.keep_closes()
            mark_ts = self.mark_ts if mark_ts is None else mark_ts
            volume = self.volume if volume is None else volume
        elif not columns.daily:
            columns.begin_session(read_floats(volume))
        ts, key = (0, 0) if columns.row < 0 else (columns.bars.ts_event[columns.row], columns.bars.keys[columns.row])
        columns.set_alone(marks_alone(ts, key, (marks, marks_nano, mark_ts, volume)))

    def account(self, book: int) -> Book:
        """The account of an agent or of the whole account."""
        return self.ledger.house if book == HOUSE else self.ledger.books[book]

    def equity_of(self, book: int) -> int:
        """Equity of an agent or of the whole account at the last valuation, micro-currency."""
        return int(self._equities[book + 1])

    def vacant(self, agent: int) -> bool:
        """Whether an agent is a place (an agent that waits for a portfolio) in which no portfolio is open."""
        return self.rules.agents[agent].place and agent not in self.portfolios

    def in_use(self) -> list[int]:
        """Indices of the agents whose book is in use: all but places (agents that wait for a portfolio) without a
        portfolio."""
        return [number for number in range(len(self.agents)) if not self.vacant(number)]

    def switch_at(self, book: int) -> Switch:
        """The kill switch of an agent or of the whole account."""
        return self.switch if book == HOUSE else self.agents[book].switch

    def basket(self, key: Key) -> Working | None:
        """The basket with this key: of open orders, of protective stops, or ended lately; None if it is unknown."""
        work = self.working.get(key) or self.protection.stops.get(key)
        return work or self.ended.find(key)

    def lots(self, book: int) -> Floats:
        """Return the signed lots of an agent or of the whole account, float64[N], read-only."""
        lots = self._lots.get(book)
        if lots is None:
            lots = np.array(self.account(book).lots, dtype=np.float64)
            lots.flags.writeable = False
            self._lots[book] = lots
        return lots

    def unreported(self) -> list[str]:
        """The programs with orders that no alert has counted yet."""
        return [sender for sender, log in self.outside.items() if log.orders[0] or log.orders[1]]

    def priced_today(self, symbol: int) -> bool:
        """Whether the market of a column is open, and the column has a price of this session. Sessions without a pause
        between them count as one."""
        sessions = self.rules.sessions[self.rules.calendar[symbol]]
        k = bisect_right(sessions.close_ns, self.now)
        if k == len(sessions.open_ns):
            return True  # the calendar ends, and says nothing
        if sessions.open_ns[k] > self.now:
            return False
        while k and sessions.close_ns[k - 1] == sessions.open_ns[k] >= self.mark_ts[symbol]:
            k -= 1
        return bool(self.mark_ts[symbol] > sessions.open_ns[k])

    def held_weights(self, agent: int, change: Floats | float = 0.0) -> Floats:
        """Return the positions of an agent plus `change` (lots) as fractions of its equity, float64[N].

        A weight is 0 for a symbol without a price, and for every symbol where the equity is not positive.
        """
        value: Floats = np.nan_to_num((self.lots(agent) + change) * self.marks * self.universe.lot_size)
        equity = self.equity_of(agent)
        return value * (MICRO / equity) if equity > 0 else np.zeros_like(value)

    def lot_values(self) -> Floats:
        """Return the value of one lot at the mark in currency, float64[N], read-only; 0 without a price."""
        return self._prices_at_marks()[2]

    def prices(self) -> Floats:
        """Return the marks in currency, float64[N], read-only; NaN without a price."""
        return self._prices_at_marks()[1]

    def _prices_at_marks(self) -> tuple[Floats, Floats, Floats]:
        """The marks in currency, a read-only view of them, and the value of one lot.

        They are computed once for each array of marks.
        """
        cached = self._priced
        if cached is None or cached[0] is not self.marks:
            values = self.marks * self.universe.lot_size
            if np.count_nonzero(self.marks_nano) != len(values):  # a symbol has no price: its lots have the value 0
                values = np.where(self.marks_nano > 0, values, 0.0)
            prices = self.marks.view()
            prices.flags.writeable = values.flags.writeable = False
            cached = self._priced = self.marks, prices, values
        return cached

    def exposure(self) -> float:
        """Long plus short value of the whole account at the marks, in account currency."""
        if self._units is None:
            self._units = np.abs(self.lots(HOUSE) * self.universe.lot_size)
        value = float(self._units.dot(self.marks))
        if value != value:  # NaN: an instrument has no price yet; it is not held, so that it adds nothing
            value = float(np.nansum(self._units * self.marks))
        return value

    def session_ends(self, ts: int) -> bool:
        """Whether the sample at `ts` (ns UTC) ends a session of the account's calendar."""
        return self.rules.daily or self.next_close(ts) == ts

    def next_close(self, ts: int) -> int:
        """The first close at or after `ts` of the account's calendar, ns UTC."""
        sessions = self.rules.house_sessions()
        return int(sessions.close_ns[sessions.next_close(ts - 1)])

    def average_volume(self) -> Floats:
        """float64[N] mean units traded per session with a known volume; NaN where none is known."""
        if self._average is None:
            sessions = self.volumes[: self.volume_count]
            if not len(sessions):
                return self.volume  # of the present session, or of the last daily bar
            average = ones(len(sessions)).dot(sessions) / len(sessions)
            if not isfinite(total(average)):  # a volume is unknown: the mean is over the sessions that have one
                reported = np.isfinite(sessions)
                count = reported.sum(axis=0)
                sums = np.where(reported, sessions, 0.0).sum(axis=0)
                average = np.divide(sums, count, out=np.full(len(sums), np.nan), where=count > 0)
            self._average = average
        return self._average

    def forget_orders(self) -> None:
        """Drop the oldest samples from `orders_at` (sample -> number of its last basket), once it has too many."""
        if len(self.orders_at) > KEPT_SAMPLES:
            # parent orders still number their children
            recent = {parent.sample for parent in self.parents}.union(list(self.orders_at)[-128:])
            self.orders_at = {at: n for at, n in self.orders_at.items() if at in recent}

    def booked(self) -> None:
        """Drop the values that were derived from lots and cash, after either has changed."""
        self._lots.clear()
        self._units = self.levels = None

    def revalue(self) -> None:
        """Compute the exact equity of the whole account and of each book at the marks."""
        house_micro, books_micro = self.ledger.equity(self.marks_nano)
        self._equities[0], self._equities[1:] = house_micro, books_micro

    def switch_of(self, name: str) -> Switch:
        """The kill switch of the agent or shadow (agent on paper) `name`, of the whole account for "". Raises
        StopIteration for an unknown name."""
        if not name:
            return self.switch
        houses = [self, *self.shadows]
        return next(a.switch for h in houses for r, a in zip(h.rules.agents, h.agents, strict=True) if r.name == name)

    def policy_of(self, agent: int) -> str:
        """The name of the agent whose policy decides for `agent`; empty where its own policy does."""
        policy_number = self.seats[agent]
        return "" if policy_number == self.rules.first_seat + agent else self.rules.seats[policy_number]

    def capital(self, agent: int) -> int:
        """Capital that an agent plans with, in micro-currency: its equity less what it owes to other agents."""
        return self.equity_of(agent) - max(self.owed[agent], 0)

    def mask(self, columns: Iterable[int]) -> NDArray[np.bool_] | None:
        """Return bool[N] by symbol, True at these columns; None if there are no columns."""
        if not (chosen := list(columns)):
            return None
        mask = np.zeros(self.universe.size, dtype=np.bool_)
        mask[chosen] = True
        return mask

    def at_venue(self) -> dict[Key, Working]:
        """Every basket of orders at the venue that has not ended, protective stops included."""
        return {**self.working, **self.protection.stops} if self.protection.stops else self.working

    def held_stops(self) -> Iterator[tuple[Proposed, Wish, int]]:
        """(proposal, its order, number of its book) of each stop order that waits for its price, oldest first.

        One whose bracket has the other exit at rest is left out: either of them fills.
        """
        other = {bracket.stop_cause for bracket in self.brackets if bracket.resting}
        for proposal in self.awaiting:
            if proposal.orders and proposal.orders[0].trigger_nano and proposal.cause not in other:
                policy = self.rules.outside_seat(proposal.agent)
                if policy is None:
                    yield proposal, proposal.orders[0], [a.name for a in self.rules.agents].index(proposal.agent)
                elif policy in self.seats:
                    yield proposal, proposal.orders[0], self.seats.index(policy)

    def causes_under_way(self) -> set[str]:
        """The causes of the orders from outside that have not ended, also of those that are not sent yet."""
        waiting = {proposal.cause for queue in (self.reviews, self.awaiting) for proposal in queue}
        postponed = {plan.intent.cause for plan in self.protection.postponed}
        return {work.cause for work in self.working.values()} | waiting | postponed

    def open_rows(
        self, book: int, without: frozenset[tuple[Key, int] | str] = frozenset()
    ) -> list[tuple[int, int, float, bool]]:
        """(column, signed lots, value of one lot at the worst price, whether it is of a proposal and rests) of orders
        and crosses (trades between agents) that may still fill, `without` these orders.

        A stop order counts before its price is reached, a purchase at its worst price then. The mark stands in for the
        worst price where an order has no price limit.
        """
        rows: list[tuple[int, int, float, bool]] = []
        lot_size, marks = self.universe.lot_size, self.marks_nano

        def value(symbol: int, worst_nano: int) -> float:
            return (int(marks[symbol]) if worst_nano in UNLIMITED else worst_nano) / 1e9 * float(lot_size[symbol])

        for key, work in self.working.items():
            for row, agent, lots in work.open_shares():
                if book in (HOUSE, agent) and (key, row) not in without:
                    symbol = work.basket.sym[row]
                    rows.append((symbol, lots, value(symbol, work.worst_nano[row]), bool(work.cause)))
        for proposal, wish, agent in self.held_stops() if self.awaiting else ():
            if book in (HOUSE, agent) and proposal.cause not in without:
                dearest = wish.limit_nano or round(wish.trigger_nano * (1.0 + self.rules.agents[agent].limits.collar))
                worst_nano = dearest if wish.lots > 0 else int(marks[wish.symbol])
                rows.append((wish.symbol, wish.lots, value(wish.symbol, worst_nano), False))
        if book == HOUSE:
            rows.extend((s, lots, value(s, limit), False) for s, lots, limit in self.venue.foreign)
        else:
            for cross in self.crosses:
                for lots in (lots for agent, lots in cross.shares if agent == book):
                    worst = cross.buy_worst_nano if lots > 0 else cross.sell_worst_nano
                    rows.append((cross.symbol, lots, value(cross.symbol, worst), False))
        return rows
