"""The world of a live day at the gateway of Interactive Brokers: `python -m tests.proofs.live_day --venue ibkr`.

The instruments have the names of the other worlds' pairs, so that one market serves all; to the gateway they are
contracts with a fine step.
"""

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from quantd.adapters.brokers.ibkr.broker import Ibkr
from quantd.adapters.brokers.ibkr.connection import IbkrSettings
from quantd.adapters.brokers.ibkr.wire import client_id_of
from quantd.daemon.assembly.parts import Parts
from quantd.trading.ports import Broker
from tests.proofs.live_day import SYMBOLS, Account, Arrived, World
from tests.support.venues.ibkr import Gateway, Placed


class GatewayWorld(World):
    """See `tests.proofs.live_day.World`."""

    venue: Gateway

    def __init__(self, folder: Path, scale: float, seed: int) -> None:
        super().__init__(folder, scale, seed)
        self.venue = Gateway(cash="100000", now=self.clock)
        self.venue.auto = True

    async def cut_stream(self) -> None:
        self.venue.cut()

    def quote(self, symbol: str, price: float) -> None:
        self.venue.price(symbol, f"{price:.2f}")

    def list_all(self) -> None:
        for symbol, price in self.price.items():
            self.venue.add(symbol, f"{price:.2f}")

    def states(self) -> list[tuple[object, ...]]:
        return [(order.perm_id, order.status, order.filled) for order in self.venue.orders]

    def account(self) -> Account:
        units = {symbol: self.venue.positions.get(symbol, Decimal(0)) for symbol in SYMBOLS}
        return Account(units, self.venue.cash, Counter(order.ref for order in self.venue.orders))

    def open_orders(self) -> list[Arrived]:
        return [self._arrived(order) for order in self.venue.orders if order.open]

    @staticmethod
    def _arrived(order: Placed) -> Arrived:  # type: ignore[override]
        return Arrived(order.ref, order.listed.symbol, order.buy, order.qty - order.filled, order.limit)

    def lose_answers(self) -> None:
        """The connection is lost, and the list of ended orders has the order without an execution."""
        self.venue.silent = self.venue.unlisted = True
        self.venue.misbehave("answer lost", "submit")

    def answer_again(self) -> None:
        self.venue.silent = self.venue.unlisted = False

    def watch(self, look: Callable[[Arrived], None]) -> None:
        self.venue.on_arrival = lambda order: look(self._arrived(order))

    def broker(self, parts: Parts, run: str) -> Broker:
        settings = IbkrSettings(
            "127.0.0.1", self.cable.port, self.venue.account, client_id_of(run), paper=True, timeout_s=2.0,
            settle_s=120.0, commission_s=0.5, beat_s=0.5, retry_first_s=0.02, retry_most_s=0.2, skew_s=60.0,
        )  # fmt: skip
        return Ibkr(settings, parts.universe, run, self.clock)
