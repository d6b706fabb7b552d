"""The state of the engine: books, marks, orders, switches and rounds. Only `step` changes it."""

from collections import deque
from math import isfinite
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.daemon.engine.agents.promotion_rule import Pairing
from quantd.daemon.engine.planning.activity import Activity, Book
from quantd.daemon.engine.planning.parents import Parent
from quantd.daemon.engine.planning.verdict_log import Judged
from quantd.daemon.engine.safety.monitor_state import Watch
from quantd.daemon.engine.settings import Rules, protective_sets
from quantd.daemon.engine.stops.records import Own, Postponed, Rest, Retry
from quantd.daemon.engine.valuation import Valuations
from quantd.daemon.engine.venue.open_orders import Cross, Key, Working
from quantd.risk.limits.catalogue import Limits
from quantd.risk.measures.portfolio import total
from quantd.risk.monitor.levels import Monitor
from quantd.risk.protective import Guards, Kind, Levels
from quantd.risk.switch import Switch
from quantd.trading.bars import BarRing
from quantd.trading.books import Ledger
from quantd.trading.covariance import ones
from quantd.trading.history import History
from quantd.trading.macro import MacroHistory
from quantd.trading.market import Floats, MarketSlice
from quantd.trading.view import EMPTY_MEMORY, Memory

HOUSE: Final = -1
"""The house where an agent's number is expected."""

FLOWS_KEPT: Final = 1024
"""Flows of the venue that are remembered, so that each is taken once."""

ENDED_KEPT: Final = 64
"""Ended baskets kept for late news of the venue."""


class FollowUp(Struct):
    """What is left of a decision that waits for its own sales. `weights` are the recorded answer."""

    sample: int
    weights: bytes
    used: int


class Exit(Struct):
    """A position that is being closed, and the breach that began it; `tried` is when it was last asked for, `held`
    whether that waits for a stop at the venue to end, `since` when such a stop began to fill."""

    kind: Kind
    entry: float
    mark: float
    level: float
    tried: int = 0
    held: bool = False
    since: int = 0


class AgentState:
    """One agent: its memory, its switch, its failures, what is left of its last decision; by column the `exits` under
    way and the last sample (by number) at which a symbol is `blocked` after one."""

    __slots__ = ("blocked", "exits", "failures", "follow_up", "memory", "note", "suspended", "switch")

    def __init__(self, capital_micro: int) -> None:
        self.memory: Memory = EMPTY_MEMORY
        self.note = ""
        """What its policy said last."""
        self.switch = Switch(high_water=capital_micro)
        self.failures = 0
        self.suspended = False
        self.follow_up: FollowUp | None = None
        self.exits: dict[int, Exit] = {}
        self.blocked: dict[int, int] = {}


class Round:
    """All asks of one instant, until the last answer is in."""

    __slots__ = ("answers", "number", "waiting")

    def __init__(self, number: int, waiting: list[int]) -> None:
        self.number = number
        self.waiting = waiting
        self.answers: dict[int, bytes] = {}


class State:
    """Everything `step` reads and changes. Arrays of marks are replaced, never written: slices share them."""

    def __init__(self, rules: Rules) -> None:
        size = rules.universe.size
        self.universe = rules.universe
        self.ledger = Ledger(rules.universe, tuple(a.name for a in rules.agents))
        self.ledger.deposit(rules.cash_micro)
        for number, agent in enumerate(rules.agents):
            self.ledger.allocate(number, agent.capital_micro)
        bars = BarRing(size, rules.lookback + 1) if rules.keep_bars else None
        self.history = History(size, rules.lookback + 1, bars)
        if rules.macro:
            self.history.macro = MacroHistory(rules.macro, rules.lookback + 1)
        self.valuations = Valuations()
        self.marks: Floats = np.full(size, np.nan)
        self.marks_nano: NDArray[np.int64] = np.zeros(size, dtype=np.int64)
        self.mark_ts: NDArray[np.int64] = np.zeros(size, dtype=np.int64)
        self.volume: Floats = np.full(size, np.nan)
        """Units traded of each instrument in the session so far, or in its last daily bar."""
        self.volumes: Floats = np.empty((rules.volume_lookback, size))
        """What was traded of each instrument in the last `volume_count` sessions, in any order; NaN where unknown."""
        self.volume_count = 0
        self.activity = Activity([Book() for _ in range(len(rules.agents) + 1)])
        self._average: Floats | None = None
        self.now = 0
        self.sample = 0
        self.sample_key = 0
        self.sample_no = 0
        self.live_sessions = 0
        """House sessions that ended since the first live start, this one counted: where the ramp stands."""
        # limits_in_force, with what they were computed from
        self.allowed: tuple[tuple[int, int, int | None, tuple[int, ...]], Limits] | None = None
        self.agents = [AgentState(a.capital_micro) for a in rules.agents]
        self.seats: list[int] = [rules.first_seat + k for k in range(len(rules.agents))]
        """By agent: the number of the policy that decides for it."""
        self.shadows: list[State] = [State(each) for each in rules.shadows]
        self.pairings: list[Pairing] = [Pairing() for _ in rules.shadows]
        self.artifacts: dict[str, str] = {}
        """By the name of who has it configured: the digests of what a policy is made of, at the last start."""
        self.switch = Switch(high_water=rules.cash_micro)
        self.monitor = Monitor()
        self.watch = Watch(len(rules.agents))
        self.round_no = 0
        self.round: Round | None = None
        self.orders_at: dict[int, int] = {}
        """Sample -> number of the last basket that rests on it."""
        self.working: dict[tuple[int, int], Working] = {}
        self.ended: deque[tuple[tuple[int, int], Working]] = deque(maxlen=ENDED_KEPT)
        self.stops: dict[tuple[int, int], Working] = {}
        """Protective stops at the venue, by basket: they reserve nothing, and give way to what reduces."""
        self.rests: dict[tuple[int, int], Rest] = {}
        """What those baskets are of."""
        self.postponed: list[Postponed] = []
        """Plans that wait for stops in their way to end."""
        self.leaving = False
        """The daemon stops and took everything back: nothing rests again before the next start."""
        self.retries: dict[tuple[int, int], Retry] = {}
        """(agent, column) -> stops that the venue did not take, or ended by itself."""
        self.own: dict[tuple[int, int], Own] = {}
        """(agent, column) -> levels that a person gave that position."""
        self.crosses: list[Cross] = []
        self.parents: list[Parent] = []
        """Decisions that are worked over time, in order."""
        self.halted: dict[int, tuple[int, str]] = {}
        """Column -> (since when, why) of what the venue does not trade for now."""
        self.limited: dict[int, tuple[int, int]] = {}
        """Column -> (limit down, limit up) in nano of prices that are at one; 0 for none."""
        self.foreign: list[tuple[int, int, int]] = []
        """(column, signed lots, limit in nano) of orders at the venue that are not ours."""
        self.foreign_ids: list[str] = []
        self.fenced: tuple[list[int], int] = [0] * size, 0
        """(lots by column, cash in micro) at the venue that are known not to be ours."""
        self.dust: dict[int, int] = {}
        """Column -> nano-units that fees in the instrument itself left of a lot: at the venue, and in no book."""
        self.flows: deque[str] = deque(maxlen=FLOWS_KEPT)
        """Flows of the venue that were taken, by its own ids."""
        self.entitled: list[tuple[int, list[tuple[int, int]]]] = []
        """(column, (book, lots)) of ex dates whose dividend the venue has not paid."""
        self.buying_power_micro: int | None = None
        """What the venue lets be bought, when it was last asked; None where it does not say."""
        self.unlent: tuple[int, ...] = ()
        """Columns of what the venue lends nobody: it cannot be sold short."""
        self.spending: dict[Key, list[tuple[int, int]]] = {}
        """Basket -> (row, cost at worst in micro) of what was sent that this may not have in it."""
        self.owed: list[int] = [0] * len(rules.agents)
        """By agent, in micro: capital that it has to hand over once it has sold (negative: that it is to receive)."""
        self.later: set[str] = set()
        """Jobs that wait for the next sample, because they need books that were just valued."""
        self.down: set[str] = set()
        self.borrowed_key = 0
        """The date up to which borrow and interest are accrued."""
        self.balances_micro: list[int] = []
        """Cash of each book at the last sample, orders of that sample not counted: what earns interest. Empty without a
        rate."""
        self.earned: float | None = None
        """What cash earned from the sample before to this one, as a fraction; None without a rate."""
        self.flattening = False
        self.judged: list[Judged] | None = None
        """Where baskets are noted as the gates saw them; None while nobody looks on."""
        self.books_micro: list[int] = []
        self.equity_micro = rules.cash_micro
        self._lots: dict[int, Floats] = {}
        self._units: Floats | None = None
        self.best: Floats = np.full((len(rules.agents), size), np.nan)
        """By agent and column: side x the best mark since entry, where a stop trails."""
        self.levels: Levels | None = None
        """Prices that close positions; None after a booking, until they are needed."""
        self.govern(rules)

    def govern(self, rules: Rules) -> None:
        """New rules, for the same universe and agents. A stop that trails from now on counts from now on; exits under
        way go on under whatever rules."""
        self.rules = rules
        self.counting = rules.counts_sessions()
        self.allowed = None
        self.guards: Guards | None = protective_sets(rules, bool(self.own))
        self.resting = self.guards is not None and any(self.guards.rests)
        """Whether stops are to rest at the venue."""
        self.levels = None
        self.protecting = self.guards is not None or any(a.exits or a.blocked for a in self.agents)
        if self.guards is None or not self.guards.trails:
            self.best = np.full_like(self.best, np.nan)

    def lots(self, book: int) -> Floats:
        """float64[N] signed lots of an agent's book, or of the house; read-only, kept until the next booking."""
        found = self._lots.get(book)
        if found is None:
            account = self.ledger.house if book == HOUSE else self.ledger.books[book]
            found = np.array(account.lots, dtype=np.float64)
            found.flags.writeable = False
            self._lots[book] = found
        return found

    def exposure(self) -> float:
        """Long and short value of the house at the marks, in account currency."""
        if self._units is None:
            self._units = np.abs(self.lots(HOUSE) * self.universe.lot_size)
        value = float(self._units.dot(self.marks))
        if value != value:  # an instrument without a first price is not held
            value = float(np.nansum(self._units * self.marks))
        return value

    def traded_volume(self, market: MarketSlice) -> None:
        """Take the volume of a slice."""
        if self.rules.daily:
            self.volume = market.volume if market.full else np.where(market.fresh, market.volume, self.volume)
        else:
            # a bar of a part of the session; the sum with an unknown one is that of the others
            before = np.where(np.isfinite(self.volume), self.volume, 0.0)
            self.volume = np.where(market.fresh & np.isfinite(market.volume), before + market.volume, self.volume)

    def session_ends(self, ts: int) -> bool:
        """Whether the sample at `ts` ends a session of the house."""
        sessions = self.rules.house_sessions()
        return self.rules.daily or sessions.close_ns[sessions.next_close(ts - 1)] == ts

    def session_volume(self, ts: int) -> None:
        """A sample at `ts`: where a session is over, its volume joins the average."""
        if not self.session_ends(ts):
            return
        self.volumes[self.volume_count % len(self.volumes)] = self.volume
        self.volume_count += 1
        self._average = None
        if not self.rules.daily:
            self.volume = np.full(self.universe.size, np.nan)

    def average_volume(self) -> Floats:
        """float64[N] units traded a session, over the sessions in which a volume is known; NaN where none is."""
        if self._average is None:
            rows = self.volumes[: self.volume_count]
            if not len(rows):
                return self.volume
            average = ones(len(rows)).dot(rows) / len(rows)
            if not isfinite(total(average)):
                known = np.isfinite(rows)
                count = known.sum(axis=0)
                sums = np.where(known, rows, 0.0).sum(axis=0)
                average = np.divide(sums, count, out=np.full(len(sums), np.nan), where=count > 0)
            self._average = average
        return self._average

    def booked(self) -> None:
        """Lots or cash changed: what was derived from them is gone."""
        self._lots.clear()
        self._units = self.levels = None
        self.watch.changed = True

    def revalue(self) -> None:
        """Equity of the house and of each book at the marks, exact."""
        self.equity_micro, self.books_micro = self.ledger.equity(self.marks_nano.tolist())

    def switch_of(self, name: str) -> Switch:
        """The switch of the agent or shadow of this name; of the house for none. StopIteration for an unknown one."""
        if not name:
            return self.switch
        houses = [self, *self.shadows]
        return next(a.switch for h in houses for r, a in zip(h.rules.agents, h.agents, strict=True) if r.name == name)

    def policy_of(self, agent: int) -> str:
        """The name of the agent whose policy decides for this one; empty where that is its own."""
        seat = self.seats[agent]
        return "" if seat == self.rules.first_seat + agent else self.rules.seats[seat]

    def capital(self, agent: int) -> int:
        """What an agent plans with, in micro: its equity less what it has to hand over."""
        return self.books_micro[agent] - max(self.owed[agent], 0)

    def halts(self) -> NDArray[np.bool_] | None:
        """bool[N], what is halted; None for nothing."""
        if not self.halted:
            return None
        found = np.zeros(self.universe.size, dtype=np.bool_)
        found[list(self.halted)] = True
        return found

    def blocked(self, agent: int) -> NDArray[np.bool_] | None:
        """bool[N], what the agent may not enter yet after a protective exit; None for nothing."""
        closed = [symbol for symbol, last in self.agents[agent].blocked.items() if self.sample_no <= last]
        if not closed:
            return None
        found = np.zeros(self.universe.size, dtype=np.bool_)
        found[closed] = True
        return found

    def at_venue(self) -> dict[tuple[int, int], Working]:
        """Every basket that has not ended, stops too."""
        return {**self.working, **self.stops} if self.stops else self.working

    def open_rows(self, book: int) -> list[tuple[int, int, float]]:
        """(column, signed lots, worst value of a lot in currency) of all that may still fill into a book or
        the house."""
        rows: list[tuple[int, int, float]] = []
        size = self.universe.lot_size
        for work in self.working.values():
            for row, agent, lots in work.open_shares():
                if book in (HOUSE, agent):
                    symbol = work.basket.sym[row]
                    rows.append((symbol, lots, work.worst_nano[row] / 1e9 * float(size[symbol])))
        if book == HOUSE:
            rows.extend((s, lots, limit / 1e9 * float(size[s])) for s, lots, limit in self.foreign)
        else:
            for cross in self.crosses:
                for agent, lots in cross.shares:
                    if agent == book:
                        worst = cross.buy_worst_nano if lots > 0 else cross.sell_worst_nano
                        rows.append((cross.symbol, lots, worst / 1e9 * float(size[cross.symbol])))
        return rows
