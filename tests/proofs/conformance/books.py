"""The engine's side of a case: its ledger and its orders, folded from what the adapter says, by the engine's
own step."""

import asyncio
from collections.abc import Callable, Iterable

from quantd.daemon.engine import step
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.open_orders import Working
from quantd.daemon.engine.state.settings import AgentRules, Rules
from quantd.risk.limits.catalogue import Limits
from quantd.trading.effects import Again, Effect, Query
from quantd.trading.events import CancelReported, Condition, Flow, NotFound, Unknown
from quantd.trading.instruments import Universe
from quantd.trading.orders import Cause, OrderBasket, OrderState, Reports
from quantd.trading.ports import Broker, BrokerNews, VenueFlow
from quantd.trading.sessions import DAY_NS, Sessions
from tests.proofs.conformance.rig import CASH_MICRO, Truth


class Books:
    """One house with one agent. `news` is all that was heard, in order; `asked` what the engine wants to be
    asked for."""

    def __init__(self, universe: Universe, price_age_ns: int = 1_000_000_000) -> None:
        """What the venue never had is sent again while its price is not older than `price_age_ns`: in a case that waits
        for the venue to settle it is, and ends as expired."""
        sessions = Sessions("X", "UTC", (0,), (DAY_NS // 3,), (2 * DAY_NS // 3,))
        rules = Rules(
            universe,
            (sessions,),
            (0,) * universe.size,
            (AgentRules("a", CASH_MICRO, Limits()),),
            Limits(max_price_age_ns=price_age_ns),
            CASH_MICRO,
        )
        self.state = State(rules)
        self.news: list[BrokerNews] = []
        self.effects: list[Effect] = []
        self.flows_seen: set[str] = set()

    def sent(self, basket: OrderBasket) -> OrderBasket:
        """The engine has decided on this basket and its orders are on their way."""
        self.state.working[basket.sample, basket.n] = Working.sent(
            basket, [[(0, abs(lots))] for lots in basket.lots], len(self.state.agents)
        )
        return basket

    def holding(self, column: int, lots: int) -> None:
        """The account held that before."""
        self.state.ledger.house.held[column] += lots
        self.state.ledger.books[0].held[column] += lots

    def take(self, news: Iterable[BrokerNews]) -> None:
        """Step news, as the loop does; the ledger stays whole after each."""
        for message in news:
            self.news.append(message)
            if isinstance(message, Condition):
                continue
            self.effects.extend(step(self.state, message))
            self.state.ledger.check()

    def flow(self, flows: Iterable[VenueFlow]) -> None:
        """Each flow once, by its id."""
        for payment in flows:
            if payment.id not in self.flows_seen:
                self.flows_seen.add(payment.id)
                step(self.state, Flow(payment.ts, payment.amount_micro, "venue", id=payment.id))

    def queries(self) -> list[Query]:
        """What the engine wants to know, once."""
        queries = [effect for effect in self.effects if isinstance(effect, Query)]
        self.effects = [effect for effect in self.effects if not isinstance(effect, Query)]
        return queries

    def again(self) -> list[Again]:
        """What the engine wants to be sent once more, once."""
        resubmissions = [effect for effect in self.effects if isinstance(effect, Again)]
        self.effects = [effect for effect in self.effects if not isinstance(effect, Again)]
        return resubmissions

    def sent_again(self, basket: OrderBasket) -> dict[int, int]:
        """How often rows of a basket were sent again so far."""
        work = self.state.working.get((basket.sample, basket.n))
        return dict(work.again) if work is not None else {}

    def states(self, basket: OrderBasket) -> list[OrderState]:
        """Where each row of a basket is."""
        key = basket.sample, basket.n
        work = self.state.working.get(key) or self.state.ended.find(key)
        return [OrderState(state_code) for state_code in work.state]

    def filled(self, basket: OrderBasket) -> list[int]:
        """Unsigned lots filled of each row."""
        key = basket.sample, basket.n
        work = self.state.working.get(key) or self.state.ended.find(key)
        return list(work.filled)

    def truth(self) -> Truth:
        """Our side of the venue's books."""
        house = self.state.ledger.house
        return Truth(tuple(house.lots), house.cash_micro)

    def contradictions(self) -> list[str]:
        """What the engine found impossible in what it was told."""
        return [str(getattr(e, "text", e)) for e in self.effects if getattr(e, "level", "") == "CRITICAL"]

    def reports(self) -> list[Reports]:
        return [message for message in self.news if isinstance(message, Reports)]

    def unknown(self) -> list[Unknown]:
        return [message for message in self.news if isinstance(message, Unknown)]

    def not_found(self) -> list[NotFound]:
        return [message for message in self.news if isinstance(message, NotFound)]

    def cancels_refused(self) -> list[CancelReported]:
        return [message for message in self.news if isinstance(message, CancelReported)]

    def conditions(self) -> list[bool]:
        """`up` of each Condition("broker") in order."""
        return [message.up for message in self.news if isinstance(message, Condition) and message.what == "broker"]

    def causes(self, row: int) -> list[Cause]:
        """Everything that was said of one row number, in order."""
        return [
            Cause(cause)
            for report in self.reports()
            for at, cause in zip(report.row, report.cause, strict=True)
            if at == row
        ]


class Ear:
    """Listens to an adapter's news into books, in a task of its own."""

    def __init__(self, books: Books, broker: Broker) -> None:
        self._books = books
        self._heard = asyncio.Event()
        self._task = asyncio.create_task(self._listen(broker))

    async def _listen(self, broker: Broker) -> None:
        async for message in broker.news():
            self._books.take([message])
            self._heard.set()

    async def until(self, happened: Callable[[], bool], timeout_s: float = 20.0) -> bool:
        """Wait until it has happened; False when it has not within that time."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not happened():
            remaining_s = deadline - asyncio.get_running_loop().time()
            if remaining_s <= 0:
                return False
            self._heard.clear()
            try:
                await asyncio.wait_for(self._heard.wait(), min(remaining_s, 0.25))
            except TimeoutError:
                continue
        return True

    async def stop(self) -> None:
        """Stop listening; what listening raised is raised here."""
        if not self._task.done():
            self._task.cancel()
        try:
            await self._task
        except asyncio.CancelledError:
            return
