"""One case being played: a rig, the engine's books, and what both must agree on at the end."""

import asyncio
from collections.abc import Callable

from quantd.trading.orders import ENDED, TRANSITIONS, Cause, OrderBasket, OrderState
from quantd.trading.ports import Broker
from tests.proofs.conformance.books import Books, Ear
from tests.proofs.conformance.rig import Rig, Role, Row

ROUNDS = 8
"""How often the engine may ask about the same thing before a case gives up."""

TRIES = 20
"""How often an adapter is opened that finds its venue slow."""


async def opened(broker: Broker) -> None:
    """Open an adapter, as a daemon does that starts on a busy machine: again while its venue does not answer
    in time."""
    for _ in range(TRIES):
        try:
            return await broker.open()
        except ConnectionError:
            await asyncio.sleep(0.05)
    return await broker.open()


class Scene:
    """What a case speaks to. Times out by itself; nothing in it waits for a fixed while."""

    def __init__(self, rig: Rig, books: Books | None = None) -> None:
        self.rig = rig
        self.broker = rig.broker
        self.books = books or Books(rig.universe)
        self.baskets: list[OrderBasket] = []
        self.compare = True
        """Whether our books must equal the venue's at the end; False where somebody else traded."""
        self.ear = Ear(self.books, rig.broker)
        self._more: list[Broker] = []

    def column(self, role: Role) -> int:
        return self.rig.column(role)

    async def adapter(self, **how: int) -> Broker:
        """A second adapter to the same venue, open; closed at the end."""
        broker = self.rig.adapter(**how)  # type: ignore[arg-type]
        self._more.append(broker)
        await opened(broker)
        return broker

    async def listen_to(self, broker: Broker) -> None:
        """Hear the news of another adapter instead."""
        await self.ear.stop()
        self.ear = Ear(self.books, broker)

    # ---------------------------------------------------------------- orders

    def decide(self, *rows: Row) -> OrderBasket:
        """A basket that the engine has decided on and not yet sent."""
        basket = self.books.sent(self.rig.basket(*rows))
        self.baskets.append(basket)
        return basket

    async def send(self, *rows: Row) -> OrderBasket:
        """Decide on a basket and send it."""
        basket = self.decide(*rows)
        self.books.take(await self.broker.submit(basket))
        return basket

    async def rest(self, *rows: Row) -> OrderBasket:
        """Send a basket and wait until the engine knows that all of it works."""
        basket = await self.send(*rows)
        await self.answer()
        await self.state(basket, OrderState.WORKING)
        return basket

    async def cancel(self, basket: OrderBasket, row: int = 0) -> None:
        """The engine asks for a cancel."""
        work = self.books.state.working.get((basket.sample, basket.n))
        if work is not None:
            work.state[row] = TRANSITIONS[work.state[row]][Cause.CANCEL_ASKED]
        self.books.take(await self.broker.cancel(basket.sample, basket.n, row, self.rig.now()))

    async def query(self, basket: OrderBasket, broker: Broker | None = None) -> None:
        """Ask for all rows of a basket."""
        rows = list(range(len(basket.sym)))
        self.books.take(await (broker or self.broker).query(basket.sample, basket.n, rows))

    async def answer(self) -> None:
        """Ask the venue what the engine wants to know, until it wants nothing more."""
        for _ in range(ROUNDS):
            asked = self.books.queries()
            if not asked:
                return
            for query in asked:
                self.books.take(await self.broker.query(query.sample, query.n, query.row))

    # ---------------------------------------------------------------- what is known

    async def until(self, happened: Callable[[], bool], what: str = "") -> None:
        """Wait until it has happened; AssertionError when it does not."""
        in_time = await self.ear.until(happened)
        assert in_time, what or f"did not happen; heard {self.books.news[-6:]}"

    async def state(self, basket: OrderBasket, state: OrderState, row: int = -1) -> None:
        """Wait until a row (or all) of a basket is in that state."""

        def there() -> bool:
            states = self.books.states(basket)
            return all(row_state == state for row_state in (states if row < 0 else [states[row]]))

        for _ in range(10):
            if await self.ear.until(there, 2.0):
                return
            await self.answer()  # a daemon asks again too
        raise AssertionError(f"{self.books.states(basket)}, not {state.name}; heard {self.books.news[-6:]}")

    async def filled(self, basket: OrderBasket, lots: int, row: int = 0) -> None:
        """Wait until so many lots are booked."""
        await self.until(lambda: self.books.filled(basket)[row] == lots, f"not {lots} lots filled")

    def known(self, basket: OrderBasket, row: int = 0) -> OrderState:
        return self.books.states(basket)[row]

    # ---------------------------------------------------------------- the end

    async def finish(self) -> None:
        """What holds at the end of every case: no order is doubled, none contradicts itself, no secret was said, and
        the books are equal once all that is open has been asked for."""
        for basket in self.baskets:
            for row in range(len(basket.sym)):
                assert len(self.rig.has(basket, row)) <= 1, f"row {row} is doubled at the venue"
        if self.compare and self.books.truth() != self.rig.truth():
            await self.answer()
            for basket in self.baskets:
                if any(state not in ENDED for state in self.books.states(basket)):
                    await self.query(basket)
            await self.ear.until(lambda: self.books.truth() == self.rig.truth())
        if self.compare:
            assert self.books.truth() == self.rig.truth()
        assert self.books.contradictions() == []
        said = repr(self.books.news)
        for secret in self.rig.secrets():
            assert secret not in said
            assert secret not in repr(self.broker)

    async def close(self) -> None:
        await self.ear.stop()
        for broker in self._more:
            await broker.close()
        await asyncio.sleep(0)
