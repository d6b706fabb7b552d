"""Random scripts of everything that can happen to a broker's adapter, played at a venue; afterwards asking settles it
all.

`python -m tests.proofs.conformance.scripts [--first 0] [--count 300] [--venue alpaca]`; a failure names its seed.
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Callable, Iterable
from typing import Final, get_args

from quantd.trading.events import NotFound
from quantd.trading.orders import ENDED, OrderBasket
from quantd.trading.ports import Broker
from tests.proofs.conformance.books import Books
from tests.proofs.conformance.outcomes import settled, wrong
from tests.proofs.conformance.rig import Fault, On, Rig, Row, StreamFault
from tests.proofs.conformance.scene import Scene
from tests.proofs.conformance.suite import RIGS

FAULTS: Final[tuple[Fault, ...]] = get_args(Fault)
ONS: Final[tuple[On, ...]] = ("submit", "cancel", "query", "replace")
STREAM: Final[tuple[StreamFault, ...]] = ("lost", "doubled", "held", "reversed", "silent", "up", "garbage", "down")
STEPS: Final = 10
LONGEST_S: Final = 90.0
TIMEOUT_S: Final = 0.3
"""Short: many answers do not come."""

AT_ONCE: Final = 20
"""Scripts at a time."""

STARTING: Final = 2
"""Those of them that connect at a time."""


class Script:
    """One script. Every step is followed by a check that nothing was assumed."""

    def __init__(self, scene: Scene, dice: random.Random) -> None:
        self.scene, self.rig, self.dice = scene, scene.rig, dice
        self.broker: Broker = scene.broker
        self.baskets: list[OrderBasket] = []
        self.steps: list[str] = []

    async def play(self) -> list[str]:
        """What went wrong, with the steps that led there."""
        dice = self.dice
        steps = (
            (5, self.submit), (3, self.fill), (2, self.cancel), (2, self.query), (5, self.fault), (2, self.stream),
            (1, self.end), (1, self.replace), (1, self.again), (1, self.restart), (1, self.settle), (1, self.race),
        )  # fmt: skip
        for _ in range(STEPS):
            step = dice.choices([action for _, action in steps], [weight for weight, _ in steps])[0]
            self.steps.append(step.__name__)
            await step()
            errors = [error for basket in self.baskets for error in wrong(self.scene, basket)]
            if errors:
                return [*errors, f"after {self.steps}"]
        return await self.finish()

    async def finish(self) -> list[str]:
        """The venue behaves from here on: asking must settle everything."""
        scene = self.scene
        await self.rig.stream("up")
        for _ in range(60):
            await self.rig.settle()
            open_ = [basket for basket in self.baskets if any(s not in ENDED for s in scene.books.states(basket))]
            for basket in open_:
                await self.ask(basket)
            errors = [error for basket in self.baskets for error in settled(scene, basket)]
            if not errors and scene.books.truth() == self.rig.truth():
                return []
            await asyncio.sleep(0.02)
        errors = [error for basket in self.baskets for error in settled(scene, basket)]
        if scene.books.truth() != self.rig.truth():
            errors.append(f"books {scene.books.truth()}, venue {self.rig.truth()}")
        return [*errors, *scene.books.contradictions(), f"after {self.steps}"]

    async def ask(self, basket: OrderBasket) -> None:
        """Ask for a basket. What the venue never had is sent again where the engine wants that: in half of the
        scripts."""
        before = self.scene.books.sent_again(basket)
        for message in await self.broker.query(basket.sample, basket.n, range(len(basket.sym))):
            if isinstance(message, NotFound):
                self.scene.books.take(
                    NotFound(message.sample, message.n, message.ts, [row], before.get(row, 0)) for row in message.row
                )
            else:
                self.scene.books.take([message])
        for again in self.scene.books.again():
            sent = next(b for b in self.baskets if (b.sample, b.n) == (again.sample, again.n))
            self.scene.books.take(await self.broker.submit(sent, again.row))

    # ---------------------------------------------------------------- steps

    async def submit(self) -> None:
        dice = self.dice
        roles = dice.sample(("plain", "other", "fine"), dice.randint(1, 2))
        rows = [Row(self.rig.column(role), dice.randint(1, 20)) for role in roles]  # type: ignore[arg-type]
        basket = self.scene.decide(*rows)
        self.baskets.append(basket)
        self.scene.books.take(await self.broker.submit(basket))

    def _open(self) -> tuple[OrderBasket, int] | None:
        """A row that the venue has open."""
        open_rows = [
            (basket, row)
            for basket in self.baskets
            for row in range(len(basket.sym))
            if any(order.open for order in self.rig.has(basket, row))
        ]
        return self.dice.choice(open_rows) if open_rows else None

    async def fill(self) -> None:
        open_row = self._open()
        if open_row is not None:
            basket, row = open_row
            (order,) = self.rig.has(basket, row)
            column = basket.sym[row]
            price = (
                self.rig.price_nano(column) - self.dice.randint(0, 5) * self.rig.universe.instruments[column].tick_nano
            )
            await self.rig.fill(basket, row, self.dice.randint(1, abs(order.lots) - order.filled), price)

    async def end(self) -> None:
        open_row = self._open()
        if open_row is not None:
            await self.rig.end(*open_row, self.dice.choice(("cancelled", "expired")))

    async def race(self) -> None:
        """A fill in the moment before a cancel."""
        open_row = self._open()
        if open_row is not None:
            basket, row = open_row
            (order,) = self.rig.has(basket, row)
            lots = self.dice.randint(1, abs(order.lots) - order.filled)
            await self.rig.fill_on_cancel(basket, row, lots, self.rig.price_nano(basket.sym[row]))
            await self._cancel(basket, row)

    async def cancel(self) -> None:
        if self.baskets:
            basket = self.dice.choice(self.baskets)
            await self._cancel(basket, self.dice.randrange(len(basket.sym)))

    async def _cancel(self, basket: OrderBasket, row: int) -> None:
        news = await self.broker.cancel(basket.sample, basket.n, row, self.rig.now())
        self.scene.books.take(news)

    async def query(self) -> None:
        if self.baskets:
            await self.ask(self.dice.choice(self.baskets))

    async def replace(self) -> None:
        open_ = [b for b in self.baskets if len(b.sym) == 1 and self.scene.known(b) not in ENDED]
        if open_:
            old = self.dice.choice(open_)
            new = self.scene.decide(Row(old.sym[0], max(abs(old.lots[0]) - self.dice.randint(0, 3), 1)))
            self.baskets.append(new)
            self.scene.books.take(await self.broker.replace(old.sample, old.n, 0, new))

    async def again(self) -> None:
        """A basket that the engine sends once more."""
        alive = [b for b in self.baskets if all(s not in ENDED for s in self.scene.books.states(b))]
        if alive:
            self.scene.books.take(await self.broker.submit(self.dice.choice(alive)))

    async def restart(self) -> None:
        """Another process takes over: it remembers what was sent, and its stream is the one that is heard."""
        second = await self.scene.adapter()
        for basket in self.baskets:
            second.remember(basket)
        self.broker = second
        await self.scene.listen_to(second)

    async def settle(self) -> None:
        await self.rig.settle()

    async def fault(self) -> None:
        await self.rig.misbehave(self.dice.choice(FAULTS), self.dice.choice(ONS), self.dice.choice((1, 1, 2)))

    async def stream(self) -> None:
        await self.rig.stream(self.dice.choice(STREAM))


async def script(make: Callable[[], Rig], seed: int, starting: asyncio.Semaphore) -> list[str]:
    """Play the script of one seed at a venue of its own. Few start at a time: on a busy machine the attempts of many
    to connect would make each other late for ever."""
    rig = make()
    rig.timeout_s = TIMEOUT_S
    steps: list[str] = []
    try:
        async with asyncio.timeout(LONGEST_S):
            async with starting:
                await rig.start()
            # of every other script the prices stay fresh: what never arrived is sent again
            scene = Scene(rig, Books(rig.universe, price_age_ns=10**18) if seed % 2 else None)
            try:
                async with starting:
                    await rig.listened()
                script = Script(scene, random.Random(seed))
                steps = script.steps
                errors = await script.play()
            finally:
                await scene.close()
    except TimeoutError:
        errors = [f"hangs after {steps}"]
    finally:
        await rig.stop()
    return [f"seed {seed}: {error}" for error in errors]


async def scripts(make: Callable[[], Rig], seeds: Iterable[int]) -> list[str]:
    """Play the scripts of seeds, several at a time; what went wrong."""
    some, starting = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(STARTING)

    async def one(seed: int) -> list[str]:
        async with some:
            return await script(make, seed, starting)

    return [error for errors in await asyncio.gather(*map(one, seeds)) for error in errors]


def main() -> int:
    wanted = argparse.ArgumentParser(prog="python -m tests.proofs.conformance.scripts")
    wanted.add_argument("--first", type=int, default=0)
    wanted.add_argument("--count", type=int, default=300)
    wanted.add_argument("--venue", choices=[name for name in RIGS if name != "paper"], default="alpaca")
    asked = wanted.parse_args()
    began = time.perf_counter()
    errors = asyncio.run(scripts(RIGS[asked.venue], range(asked.first, asked.first + asked.count)))
    for error in errors[:40]:
        print(error)
    print(f"{asked.count} scripts, {len(errors)} wrong, {time.perf_counter() - began:.1f} s")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
