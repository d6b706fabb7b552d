"""Injected unknown outcomes by the thousand: submits, cancels, replacements and queries that meet a fault, many orders
at once at one venue; none may be doubled, none assumed.

`python -m tests.proofs.conformance.unknown [--times 10000] [--seed 1] [--venue alpaca]`
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Callable, Iterable
from typing import Final, get_args

from msgspec import Struct

from quantd.trading.orders import ENDED, OrderBasket, OrderState
from tests.proofs.conformance.outcomes import settled, wrong
from tests.proofs.conformance.rig import Fault, On, Rig, Row
from tests.proofs.conformance.scene import Scene
from tests.proofs.conformance.suite import RIGS

FAULTS: Final[tuple[Fault, ...]] = tuple(f for f in get_args(Fault) if not f.startswith("429"))
BATCH: Final = 16
"""Orders at a time."""

BATCHES: Final = 8
"""Batches at one venue."""

TIMEOUT_S: Final = 0.4
"""Short: many answers do not come."""

AT_ONCE: Final = 4
"""Venues at a time: most of what one takes is waiting for answers that do not come."""


class Tally(Struct):
    """What was injected and found."""

    orders: int = 0
    unknown: int = 0
    doubled: int = 0
    assumed: int = 0
    unresolved: int = 0
    wrong: list[str] = []

    def note(self, errors: list[str]) -> None:
        self.wrong += errors
        self.doubled += sum("doubled" in error for error in errors)
        self.unresolved += sum("not resolved" in error for error in errors)
        self.assumed += sum("doubled" not in error and "not resolved" not in error for error in errors)


async def batch(scene: Scene, dice: random.Random, tally: Tally) -> None:
    """So many orders: sent, some filled, some cancelled or replaced, all with faults, then all asked for."""
    rig = scene.rig
    columns = [rig.column("plain"), rig.column("other")]
    baskets: list[OrderBasket] = []

    async def with_faults(on: On, share: float) -> None:
        for _ in range(BATCH):
            if dice.random() < share:
                await rig.misbehave(dice.choice(FAULTS), on)

    async def submit() -> None:
        basket = scene.decide(Row(dice.choice(columns), dice.randint(1, 9)))
        baskets.append(basket)
        scene.books.take(await scene.broker.submit(basket))

    async def ask(basket: OrderBasket) -> None:
        scene.books.take(await scene.broker.query(basket.sample, basket.n, [0]))

    async def change(basket: OrderBasket) -> None:
        if scene.known(basket) in ENDED:
            return
        if dice.random() < 0.3:
            new = scene.decide(Row(basket.sym[0], abs(basket.lots[0]), worst_nano=basket.worst_nano[0]))
            baskets.append(new)
            scene.books.take(await scene.broker.replace(basket.sample, basket.n, 0, new))
        elif dice.random() < 0.7:
            await scene.cancel(basket)

    def check() -> None:
        for basket in baskets:
            tally.note(wrong(scene, basket))

    await with_faults("submit", 0.8)
    await asyncio.gather(*(submit() for _ in range(BATCH)))
    check()
    await with_faults("query", 0.4)
    await asyncio.gather(*map(ask, baskets))
    check()
    for basket in baskets:
        orders = rig.has(basket, 0)
        if orders and orders[0].open and dice.random() < 0.4:
            await rig.fill(basket, 0, dice.randint(1, abs(basket.lots[0])), rig.price_nano(basket.sym[0]))
    await with_faults("cancel", 0.5)
    await with_faults("replace", 0.2)
    await with_faults("submit", 0.2)
    await asyncio.gather(*map(change, list(baskets)))
    check()
    await with_faults("query", 0.4)
    await asyncio.gather(*map(ask, baskets))
    check()
    # what is unknown still is asked for until the faults are used up and the venue has settled
    for _ in range(20):
        await rig.settle()
        await asyncio.gather(*(ask(basket) for basket in baskets if scene.known(basket) not in ENDED))
        check()
        if not any(scene.known(basket) in (OrderState.SENT, OrderState.UNKNOWN) for basket in baskets):
            break
    for basket in baskets:
        tally.note(settled(scene, basket))
    tally.orders += len(baskets)
    for basket in baskets:
        if any(order.open for order in rig.has(basket, 0)):
            await rig.end(basket, 0, "cancelled")


async def venue(make: Callable[[], Rig], seed: int, batches: int, tally: Tally) -> None:
    """One venue for some batches."""
    rig = make()
    rig.timeout_s = TIMEOUT_S
    await rig.start()
    scene = Scene(rig)
    try:
        await rig.listened()
        dice = random.Random(seed)
        for _ in range(batches):
            await batch(scene, dice, tally)
        await scene.ear.until(lambda: scene.books.truth() == rig.truth())
        if scene.books.truth() != rig.truth():
            tally.note([f"seed {seed}: books {scene.books.truth()}, venue {rig.truth()}"])
        tally.note([f"seed {seed}: {text}" for text in scene.books.contradictions()])
        tally.unknown += sum(len(report.row) for report in scene.books.unknown())
    finally:
        await scene.close()
        await rig.stop()


async def venues(make: Callable[[], Rig], seeds: Iterable[int], batches: int, tally: Tally) -> None:
    """Several venues at once, one for each seed."""
    await asyncio.gather(*(venue(make, seed, batches, tally) for seed in seeds))


def main() -> int:
    wanted = argparse.ArgumentParser(prog="python -m tests.proofs.conformance.unknown")
    wanted.add_argument("--times", type=int, default=10_000)
    wanted.add_argument("--seed", type=int, default=1)
    wanted.add_argument("--venue", choices=[name for name in RIGS if name != "paper"], default="alpaca")
    asked = wanted.parse_args()
    tally, seed, began = Tally(), asked.seed, time.perf_counter()
    while tally.unknown < asked.times and not tally.wrong:
        asyncio.run(venues(RIGS[asked.venue], range(seed, seed + AT_ONCE), BATCHES, tally))
        seed += AT_ONCE
        print(f"{tally.unknown} unknown outcomes of {tally.orders} orders", flush=True)
    for error in tally.wrong[:20]:
        print(error)
    print(
        f"{asked.venue}: {tally.unknown} unknown outcomes of {tally.orders} orders, seeds {asked.seed} to {seed - 1}: "
        f"{tally.doubled} doubled, {tally.assumed} assumed, {tally.unresolved} not resolved, "
        f"{time.perf_counter() - began:.0f} s"
    )
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
