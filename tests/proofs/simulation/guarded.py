"""Protective exits as they must be, judged from books and marks in rational numbers.

Kept beside the daemon from what it committed; shares no arithmetic with `quantd.risk.protective`.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from quantd.daemon.engine.planning.stop_conflicts import live_stops
from quantd.daemon.engine.state import State
from quantd.risk.limits.catalogue import Protective, tighter_of
from quantd.risk.switch import HALT
from quantd.trading.effects import Cancel, Effect, Planned, Protected, Rested
from quantd.trading.events import Action, Decided, Event, Tick
from quantd.trading.market import MarketSlice
from tests.proofs.simulation.truth import Violation

Position = tuple[int, int]
"""(agent, column)."""

ROOM = Fraction(1, 10**6)
"""Relative room for the rounding of floats: a mark this near to its level may or may not be at it."""


class Guarded:
    """What is past its level and has to go, the best prices since entry, and what may not be entered yet."""

    def __init__(self, sets: Sequence[Protective | None]) -> None:
        self.sets = sets
        self.best: dict[Position, Fraction] = {}
        self.closing: set[Position] = set()
        self.near: set[Position] = set()
        """At their level as nearly as floats can tell; they may be closed, and go on to be."""
        self.until: dict[Position, int] = {}
        self.exits: set[tuple[int, int, int]] = set()
        """(sample, n, column) of the orders that close."""
        self.rests: dict[tuple[int, int, int], Position] = {}
        """(sample, n, column) -> whose position a stop at the venue is of."""
        self.filled: set[Position] = set()
        """Whose stop has filled: what an order on its way adds to it before a tick that finds nothing held goes too."""
        self.samples = 0
        self.seen = 0

    def saw(self, state: State, event: Event, effects: Sequence[Effect]) -> None:
        """Take one committed step; raises Violation when an exit is missing, undone or followed by an entry."""
        if isinstance(event, Tick):
            self._flat(state)
            if event.sample and not event.warmup:
                self.samples += 1  # what a tick plans is of its sample
        self._decisions(state, event, effects)
        self._flat(state)
        if isinstance(event, Action) and event.kind == "split":
            ratio = Fraction(event.denominator, event.numerator)
            self.best = {key: best * ratio if key[1] == event.symbol else best for key, best in self.best.items()}
        if isinstance(event, Tick):
            self.filled = {key for key in self.filled if state.ledger.books[key[0]].lots[key[1]]}
        if isinstance(event, MarketSlice):
            self._marks(state, effects)
        for effect in effects:
            if isinstance(effect, Rested):
                self._rests(state, effect)
            elif isinstance(effect, Protected):
                self._exit(state, effect)

    def _rests(self, state: State, effect: Rested) -> None:
        """A stop at the venue is where the position's level is, as near as a tick and what it is not moved for."""
        key = effect.agent, effect.symbol
        spec, book = self.sets[effect.agent], state.ledger.books[effect.agent]
        lots, cost = book.lots[effect.symbol], book.cost_micro[effect.symbol]
        assert spec is not None
        assert spec.stop_loss is not None
        side, unit = 1 if lots > 0 else -1, Fraction(state.universe.lot_nano[effect.symbol], 10**9)
        entry = Fraction(cost, 10**6) / (lots * unit)
        tops = {entry, self.best.get(key, entry) if spec.trailing else entry}
        away = min(abs(Fraction(effect.level) - top * (1 - side * Fraction(str(spec.stop_loss)))) for top in tops)
        if away > Fraction(2, 100) * entry:
            raise Violation(f"a stop rests {float(away)} from its level: {effect!r}")
        self.rests[effect.sample, effect.n, effect.symbol] = key

    def _exit(self, state: State, effect: Protected) -> None:
        """An exit has a reason, and no purchase of the same agent works against it."""
        key = effect.agent, effect.symbol
        lots = state.ledger.books[effect.agent].lots[effect.symbol]
        if self.rests.get((effect.sample, effect.n, effect.symbol)) == key:
            self.closing.add(key)  # a fill of its stop: the bar went through the level and came back, or did not
            self.filled.add(key)
            return
        if key not in self.closing | self.near | self.filled:
            raise Violation(f"a position that came to no level is closed: {effect!r}")
        for work in state.working.values():
            for row, who, open_lots in work.open_shares():
                if who == effect.agent and work.basket.sym[row] == effect.symbol and open_lots * lots > 0:
                    raise Violation(
                        f"a protective exit and {open_lots} lots the other way are in the market: {effect!r}"
                    )

    def _decisions(self, state: State, event: Event, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Protected):
                self.exits.add((effect.sample, effect.n, effect.symbol))
            elif isinstance(effect, Cancel) and isinstance(event, Decided):
                work = state.working.get((effect.sample, effect.n))
                if work is not None and (effect.sample, effect.n, work.basket.sym[effect.row]) in self.exits:
                    raise Violation(f"a decision withdraws the protective exit {effect!r}")
            elif isinstance(effect, Planned):
                for part in effect.agents:
                    allowed = np.frombuffer(part.allowed, dtype=np.int64)
                    lots = state.ledger.books[part.agent].lots
                    for column in np.flatnonzero(allowed).tolist():
                        adds = allowed[column] * lots[column] >= 0
                        if adds and self.samples <= self.until.get((part.agent, column), -1):
                            raise Violation(f"agent {part.agent} enters column {column} again in its cooldown")
                        if adds and (part.agent, column) in self.closing:
                            raise Violation(f"agent {part.agent} adds to column {column}, which is being closed")

    def _flat(self, state: State) -> None:
        for key in [key for key in self.closing | self.near if not state.ledger.books[key[0]].lots[key[1]]]:
            if key not in self.closing:
                self.near.discard(key)
                continue
            self.closing.discard(key)
            self.near.discard(key)
            spec = self.sets[key[0]]
            assert spec is not None
            if spec.cooldown:
                self.until[key] = self.samples + spec.cooldown
        self.best = {key: best for key, best in self.best.items() if state.ledger.books[key[0]].lots[key[1]]}

    def _marks(self, state: State, effects: Sequence[Effect]) -> None:
        for number, spec in enumerate(self.sets):
            if spec is None:
                continue
            book, halted = (
                state.ledger.books[number],
                max(state.switch.state, state.agents[number].switch.state) == HALT,
            )
            for column in (column for column, lots in enumerate(book.lots) if lots):
                key, lots = (number, column), book.lots[column]
                if self._beyond(spec, key, lots, book.cost_micro[column], state) and not halted:
                    self.seen += key not in self.closing
                    self.closing.add(key)
                if key in self.closing and not halted and not _goes(state, number, column, lots, effects):
                    raise Violation(f"agent {number} holds {lots} lots of column {column} beyond their level; no exit")

    def _beyond(self, spec: Protective, key: Position, lots: int, cost_micro: int, state: State) -> bool:
        if lots * cost_micro <= 0:
            return False
        side = 1 if lots > 0 else -1
        unit = Fraction(state.universe.lot_nano[key[1]], 10**9)
        mark = Fraction(int(state.marks_nano[key[1]]), 10**9)
        entry = Fraction(cost_micro, 10**6) / (lots * unit)
        seen = (self.best.get(key, entry), entry, mark)
        self.best[key] = max(seen) if side > 0 else min(seen)
        top = self.best[key] if spec.trailing else entry
        beyond = False
        if spec.stop_loss is not None:
            stop = top * (1 - side * Fraction(str(spec.stop_loss)))
            beyond = self._past(key, side * (stop - mark), ROOM * stop)
        if spec.take_profit is not None:
            target = entry * (1 + side * Fraction(str(spec.take_profit)))
            beyond = self._past(key, side * (mark - target), ROOM * target) or beyond
        return beyond

    def _past(self, key: Position, by: Fraction, room: Fraction) -> bool:
        if abs(by) <= room:
            self.near.add(key)
        return by > room


def _goes(state: State, agent: int, column: int, lots: int, effects: Sequence[Effect]) -> bool:
    """Whether all of a position is on its way out, waits for an order that is being cancelled, or was refused."""
    out = adding = 0
    for work in state.working.values():
        for row, who, open_lots in work.open_shares():
            if who == agent and work.basket.sym[row] == column:
                out += open_lots
                adding += open_lots * lots > 0
    for cross in state.crosses:
        out += sum(cross_lots for who, cross_lots in cross.shares if who == agent and cross.symbol == column)
    if adding or abs(out) >= abs(lots):
        return True
    if any(stop.symbol == column and (stop.going or stop.agent == agent) for stop in live_stops(state)):
        return True
    for plan in effects:
        if isinstance(plan, Planned):
            for part in plan.agents:
                asked = int(np.frombuffer(part.asked, dtype=np.int64)[column])
                agent_reason = np.frombuffer(part.reason, dtype=np.int8)[column]
                house = np.frombuffer(plan.reason, dtype=np.int8)[column]
                if part.agent == agent and asked * lots < 0 and (agent_reason or house):
                    return True
    return False


def guarded(house: Protective | None, agents: Sequence[Protective | None]) -> Guarded:
    """What to watch under these sets."""
    return Guarded([tighter_of("protective", house, agent_rules) for agent_rules in agents])
