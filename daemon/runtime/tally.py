"""Counts of a run over its effects, printed at the end of `run`, `backtest` and `replay`."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from msgspec import Struct, field

from quantd.daemon.engine.state import HOUSE, State
from quantd.trading.effects import Effect, Filled, Planned, Publish, Refused, Switched, Valued
from quantd.trading.orders import OrderBasket


class Tally(Struct):
    """Counts of a run.

    A cut counts once a decision: its follow-ups ask again for the lots that it left.

    `orders` counts the orders that were sent, `fills` their fills (two for an order that filled in two parts).
    `refused` counts the requested trades, of an agent or of the whole account, of which the gate (the check of limits)
    passed no lot, or not all lots where they must pass whole; `clipped` counts the trades that it cut to another number
    of lots. `trips` counts moves of the house's kill switch away from RUN, `slices` the instants that had bars, and
    `symbol_bars` the bars of single symbols in them.
    """

    slices: int = 0
    symbol_bars: int = 0
    orders: int = 0
    fills: int = 0
    refused: int = 0
    clipped: int = 0
    alerts: int = 0
    trips: int = 0
    samples: int = 0
    counted: dict[int, bytearray] = field(default_factory=dict)
    """By book (`HOUSE` or an agent): 1 for each symbol in which a cut of its present decision is counted."""

    def marks(self, book: int, size: int) -> bytearray:
        """The marks of a book in `counted`, int8[N] for `size` symbols."""
        if book not in self.counted or len(self.counted[book]) != size:
            self.counted[book] = bytearray(size)
        return self.counted[book]

    def prepare(self, state: State) -> None:
        """Make the marks of every book."""
        for book in range(HOUSE, len(state.agents)):
            self.marks(book, state.universe.size)

    def lend(self, state: State) -> None:
        """Let the fold of a state write the marks."""
        size = state.universe.size
        state.round_plan.counted = memoryview(self.marks(HOUSE, size)).cast("b")
        for number, columns in enumerate(state.agent_columns):
            columns.counted = memoryview(self.marks(number, size)).cast("b")

    def add(self, effects: Sequence[Effect]) -> None:
        """Count the orders, fills and refusals of these effects of a step."""
        for effect in effects:
            count = _COUNTS.get(type(effect))
            if count is not None:
                count(self, effect)
            elif isinstance(effect, Planned):
                self._planned(effect, all_refused=not effect.n and any(isinstance(other, Refused) for other in effects))

    def _valued(self, effect: Valued) -> None:
        self.samples += 1

    def _published(self, effect: Publish) -> None:
        self.alerts += 1

    def _sent(self, effect: OrderBasket) -> None:
        self.orders += len(effect.sym)

    def _filled(self, effect: Filled) -> None:
        self.fills += len(effect.sym)

    def _planned(self, effect: Planned, all_refused: bool) -> None:
        """Count the cuts of a plan. What is refused whole is no cut, although a part of it would pass."""
        self._count_cuts(HOUSE, effect.net, effect.allowed, effect.follow_up, all_refused)
        for part in effect.agents:
            self._count_cuts(part.agent, part.asked, part.allowed, effect.follow_up, all_refused)

    def _switched(self, effect: Switched) -> None:
        if effect.agent < 0 and effect.before == 0:
            self.trips += 1

    def _count_cuts(self, book: int, requested: bytes, allowed: bytes, follow_up: int, all_refused: bool) -> None:
        if requested == allowed and (follow_up or book not in self.counted):
            return
        lots, passed = np.frombuffer(requested, dtype=np.int64), np.frombuffer(allowed, dtype=np.int64)
        counted = np.frombuffer(self.marks(book, len(lots)), dtype=np.int8)
        if not follow_up:  # another decision
            counted[:] = 0
        differs = (lots != passed) & (counted == 0)
        counted[differs] = 1
        refused = int((differs & ((passed == 0) | all_refused)).sum())
        self.refused += refused
        self.clipped += int(differs.sum()) - refused


_COUNTS: Final[dict[type, Callable[[Tally, Any], None]]] = {
    Valued: Tally._valued,
    Publish: Tally._published,
    OrderBasket: Tally._sent,
    Filled: Tally._filled,
    Switched: Tally._switched,
}
