"""Runs of two days of minutes along a path of prices, with one program that sends orders."""

from collections.abc import Iterator, Sequence
from itertools import takewhile

import numpy as np

from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.state.snapshot import freeze
from quantd.daemon.runtime.timeline import Item
from quantd.risk.limits.catalogue import Limits
from quantd.trading.effects import Effect, Refused
from quantd.trading.events import Event, Proposed, Tick
from quantd.trading.orders import THE_DAY, OrderBasket, Wish
from tests.support.engine import taken
from tests.support.minutes import at
from tests.support.night import FREE, Night

FIRST = 10
"""The bar after which the orders are sent."""

BARS = 70
"""Bars of a run that is drawn."""


class Path(Night):
    """Two days of minute bars at 100, whose first symbol closes at each price of `moves` from its bar on."""

    def __init__(self, moves: dict[int, float], limits: Limits = FREE) -> None:
        super().__init__(limits=limits, moves=moves)

    def order(self, *wishes: Wish, id: str = "1", replaces: str = "") -> None:
        now = self.shell.state.now
        self.shell.run(Proposed(now, "a0", id, "a test", "me", orders=wishes, whole=True, replaces=replaces))

    def hold(self, lots: int) -> None:
        self.order(Wish(0, lots, 0, THE_DAY), id="held")

    def sent(self, id: str = "1") -> list[OrderBasket]:
        return [basket for basket in self.of(OrderBasket) if basket.cause == f"a0/{id}"]

    @property
    def refusals(self) -> list[str]:
        return [refused.text for refused in self.of(Refused)]

    def outcome_of(self, id: str) -> str:
        verdict = self.shell.state.outside["a0"].find(id)
        return "" if verdict is None else verdict.outcome


class Counted(Path):
    """A run that holds its books after each event to what the gate counted before it: only a proposal counts more."""

    def __init__(self, moves: dict[int, float], limits: Limits) -> None:
        self.most: dict[int, tuple[float, float]] = {}
        self.seen = 0
        super().__init__(moves, limits)

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        super().add(event, effects)
        self.check(event)

    def items(self) -> Iterator[Item]:
        """The first BARS minutes."""
        last = at(0, BARS)
        return takewhile(lambda item: not isinstance(item, Tick) or item.ts <= last, super().items())

    def check(self, event: Event) -> None:
        state = self.shell._state
        for book in (0, HOUSE) if state.sample else ():
            rows, held = [float(lots) for _, lots, *_ in state.open_rows(book)], float(state.lots(book)[0])
            # a fired stop waits for the end of an opposite rest; the gate is asked then
            rows += [float(np.frombuffer((plan.lots or {})[0])[0]) for plan in state.protection.postponed]
            low, high = (held + sum(lots for lots in rows if lots * side > 0) for side in (-1, 1))
            before = self.most.get(book)
            if before is not None and not isinstance(event, Proposed):
                assert before[0] <= low <= held <= high <= before[1], (event, before, low, held, high)
                self.seen += 1
            self.most[book] = low, high


def replayed(run: Path, state: State, events: Sequence[Event]) -> bytes:
    """The state, as bytes, after the events of a run."""
    for event in events:
        taken(state, event)
    return freeze(state)
