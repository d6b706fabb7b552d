"""One order at a venue that answers nothing by itself."""

from dataclasses import dataclass, field

import numpy as np

from quantd.daemon.engine.planning.late_orders import waits_for_answer
from quantd.daemon.engine.state.waits import UNANSWERED_NS
from quantd.daemon.engine.venue.account import difference
from quantd.daemon.engine.venue.settlements import settled_orders
from quantd.risk.limits.catalogue import PROFILES
from quantd.trading.effects import Again, Cancel, OrderBasket, Publish
from quantd.trading.events import (
    Correction,
    Event,
    NotFound,
    Operator,
    OrderSettled,
    Reconciled,
    Tick,
    Unknown,
)
from quantd.trading.orders import Cause, OpenOrder, Reports
from tests.support.engine import World, block, taken
from tests.support.orders_by_hand import by_hand

NANO = 10**9
MINUTE = 60 * NANO
LOTS = 100


@dataclass
class Venue:
    """One order at a venue that answers nothing by itself, and the books of a daemon that sent it."""

    side: int = 1
    arrived: bool = True
    world: World = field(init=False)
    executions: list[tuple[int, int]] = field(default_factory=list)
    open: bool = True
    told: int = 0

    def __post_init__(self) -> None:
        acts = [lambda v: np.array([0.4, 0.2])]
        self.world = World(block(np.full((6, 2), 100.0)), acts, house=PROFILES["research"]).run()
        state = self.world.shell.state
        self.lots, self.cash = list(state.ledger.house.lots), state.ledger.house.cash_micro
        self.reconcile()
        self.run(by_hand(state.now + 1, "a0", 0, self.side * LOTS, "by hand", "me"))
        (basket,) = [e for e in self.world.effects if isinstance(e, OrderBasket)][-1:]
        self.key = basket.sample, basket.n
        self.run(Unknown(*self.key, state.now + 1, [0], "no answer in time"))

    @property
    def state(self):  # type: ignore[no-untyped-def]
        return self.world.shell.state

    def run(self, event: Event) -> None:
        effects = taken(self.state, event)  # no simulated venue answers
        self.world.effects.extend(effects)
        self.state.ledger.check()
        for effect in effects:
            if isinstance(effect, Again):
                self.arrived = True
            elif isinstance(effect, Cancel):
                self.open = False

    @property
    def cum(self) -> int:
        return sum(lots for lots, _ in self.executions)

    # what happens at the venue

    def execute(self, lots: int, price: int) -> None:
        lots = min(lots, LOTS - self.cum)
        if self.arrived and self.open and lots:
            self.executions.append((lots, price * NANO))
            self.lots[0] += self.side * lots
            self.cash -= self.side * lots * price * 10**6
            self.open = self.cum < LOTS

    # what the daemon hears and is told

    def answer(self) -> None:
        """The answer to a query: everything that happened."""
        now = self.state.now + 1
        if not self.arrived:
            self.run(NotFound(*self.key, now, [0]))
            return
        self._report(self.executions, 0, end=not self.open)
        self.told = len(self.executions)

    def stream(self) -> None:
        """The next execution that was not told yet."""
        if self.told < len(self.executions):
            before = sum(lots for lots, _ in self.executions[: self.told])
            self._report(self.executions[self.told : self.told + 1], before, end=False)
            self.told += 1

    def _report(self, executions: list[tuple[int, int]], cum: int, *, end: bool) -> None:
        cums, lots, prices, causes = [], [], [], []
        for size, price in executions:
            cum += size
            cums.append(cum)
            lots.append(size)
            prices.append(price)
            causes.append(int(Cause.LAST_FILL if cum == LOTS else Cause.PART_FILL))
        if (end and cum < LOTS) or not causes:
            cums.append(cum)
            lots.append(0)
            prices.append(0)
            causes.append(int(Cause.CANCELLED if end else Cause.ACCEPTED))
        rows, none = [0] * len(causes), [0] * len(causes)
        self.run(Reports(*self.key, self.state.now + 1, rows, cums, lots, prices, none, causes))

    def settle(self, cum: int, price: int = 100) -> None:
        self.run(OrderSettled(self.state.now + 1, *self.key, 0, cum, price * NANO if cum else 0, "seen there", "op"))

    def late(self) -> None:
        self.run(Tick(self.state.now + UNANSWERED_NS + MINUTE))

    def ours(self) -> tuple[OpenOrder, ...]:
        return (OpenOrder(*self.key, 0, self.cum),) if hasattr(self, "key") and self.arrived and self.open else ()

    def reconcile(self, adopt: bool = False) -> None:
        """The account is compared; what differs is taken into the book if `adopt`.

        A comparison asks for every open order first; only one without an answer stays as it is.
        """
        work = self.state.working.get(self.key) if hasattr(self, "key") else None
        if work is not None and not waits_for_answer(work, 0):
            self.answer()
        word = Reconciled(
            self.state.now + 1, list(self.lots), self.cash, available=list(self.lots),
            orders=settled_orders(self.state, self.ours()), run="run00001",
        )  # fmt: skip
        self.run(word)
        lots, cash = difference(self.state, word)
        if adopt and (any(lots) or cash):
            orders = settled_orders(self.state, self.ours())
            self.run(Correction(self.state.now + 1, lots, cash, "a0", "as the venue has it", "op", orders))

    def restart(self) -> None:
        self.world.restart()

    def resume(self) -> None:
        self.run(Operator(self.state.now + 1, "resume", "looked at it", "op"))

    # what came of it

    def alerts(self, level: str) -> list[str]:
        return [e.text for e in self.world.of(Publish) if e.level == level]  # type: ignore[attr-defined]

    def finish(self) -> None:
        """The order ends at the venue, and everything is asked for."""
        self.open = False
        self.answer()
        self.answer()

    def equal(self) -> bool:
        house = self.state.ledger.house
        return (house.lots, house.cash_micro) == (self.lots, self.cash)
