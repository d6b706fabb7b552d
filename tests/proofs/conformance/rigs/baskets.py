"""Baskets as the gate builds them, for rigs."""

from collections.abc import Sequence
from typing import Protocol

from quantd.trading.instruments import Universe
from quantd.trading.orders import Kind, OrderBasket
from tests.proofs.conformance.rig import Row


class Prices(Protocol):
    """What a basket needs of its rig."""

    universe: Universe

    def now(self) -> int: ...

    def price_nano(self, column: int) -> int: ...


def numbered(rig: Prices, n: int, rows: Sequence[Row], sample: int, close: int) -> OrderBasket:
    """The n-th basket of a rig, stamped now; DAY rows end at `close`. Kinds are left out where all are plain limits, as
    the gate does."""
    worst = []
    for row in rows:
        tick = rig.universe.instruments[row.column].tick_nano
        price = rig.price_nano(row.column) * (105 if row.lots > 0 else 95) // 100
        worst.append(row.worst_nano or (price // tick * tick if row.lots > 0 else -(-price // tick) * tick))
    plain = all(row.kind == Kind.LIMIT for row in rows)
    now = rig.now()
    return OrderBasket(
        sample=sample or now // 1000 * 1000,
        n=n,
        ts=now,
        sym=[row.column for row in rows],
        lots=[row.lots for row in rows],
        worst_nano=worst,
        end=[close if row.end == -1 else row.end for row in rows],
        kind=[] if plain else [int(row.kind) for row in rows],
        stop_nano=[] if plain else [row.stop_nano for row in rows],
    )
