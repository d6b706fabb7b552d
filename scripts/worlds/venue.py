"""A simulated venue that does not answer, rejects, and loses, repeats or reorders reports."""

import random
from collections import Counter
from typing import Any, Final

from msgspec.structs import replace

from quantd.adapters.brokers.paper.broker import Paper
from quantd.daemon.runtime.outbound import Rows
from quantd.trading.effects import Cancel, Query
from quantd.trading.events import Action, NotFound, Tick, Unknown
from quantd.trading.execution import Costs
from quantd.trading.instruments import Universe
from quantd.trading.market import MarketSlice
from quantd.trading.orders import Cause, OrderBasket, Reports

COIN: Final = 10
"""Lot size of a coin in nano-units."""


class UnreliablePaper(Paper):
    """A simulated venue that does not answer, never receives or rejects some baskets, and loses, repeats or reorders
    some reports. `coin_fees` is the rate of its fees on purchases of coins, in the coin itself; 0 for none."""

    def __init__(
        self, universe: Universe, costs: Costs, sessions: Any, faults: float, seed: int, coin_fees: float = 0.0
    ) -> None:
        super().__init__(universe, costs, sessions)
        self.faults, self.seed, self.coin_fees = faults, seed, coin_fees
        self.lot_nano = universe.lot_nano
        self.bought: dict[tuple[int, int], list[int]] = {}
        """Basket -> columns of its purchases by row, -1 for a sale."""
        self.again: Counter[tuple[int, int]] = Counter()
        """Basket -> resubmissions of its rows."""

    def fill_terms(self) -> None:
        """No kernel knows what this venue does."""

    def submit(self, basket: OrderBasket, rows: Any = None) -> Any:
        columns = zip(basket.sym, basket.lots, strict=True)
        self.bought[basket.sample, basket.n] = [column if lots > 0 else -1 for column, lots in columns]
        self.again[basket.sample, basket.n] += rows is not None
        draw = self._drawn(f"{self.seed}|{basket.sample}|{basket.n}|{self.again[basket.sample, basket.n]}")
        every = list(range(len(basket.sym))) if rows is None else list(rows)
        if draw >= 1.0:
            return super().submit(basket, rows)
        if draw < 0.3:  # received, without an answer
            super().submit(basket, rows)
            return [Unknown(basket.sample, basket.n, basket.ts, every, "no answer")]
        if draw < 0.6:  # never received
            return [Unknown(basket.sample, basket.n, basket.ts, every, "no connection")]
        if draw < 0.8 and rows is None:
            nothing = [0] * len(every)
            causes = [int(Cause.REJECTED)] * len(every)
            why = "no" if draw < 0.7 else "the symbol is not trading"
            return [Reports(basket.sample, basket.n, basket.ts, every, nothing, nothing, nothing, nothing, causes, why)]
        return [*super().submit(basket, rows), *self.query(basket.sample, basket.n, every)]

    def on_slice(self, market: MarketSlice) -> Any:
        return self._disturbed(super().on_slice(market), market.ts_event)

    def on_time(self, ts: int, opened: Any = ()) -> Any:
        return self._disturbed(super().on_time(ts, opened), ts + 1)

    def _drawn(self, what: str) -> float:
        """A number that is below 1 with the probability of a fault."""
        return random.Random(what).random() / self.faults if self.faults else 1.0

    def _disturbed(self, news: Any, ts: int) -> Any:
        """The reports, some in reverse order, repeated, or lost until the next query."""
        if not news:
            return news
        if self.coin_fees:
            news = [self._charged(report) for report in news]
        draw = self._drawn(f"{self.seed}|{ts}")
        if draw < 0.3:
            return news[::-1]
        if draw < 0.6:
            return [*news, *news]
        if draw < 1.0:
            parts = [self.query(report.sample, report.n, report.row)[::-1] for report in news]
            return news[1:] if draw < 0.8 else [report for part in parts for report in part]
        return news

    def _charged(self, report: Any) -> Any:
        """A report whose purchases of coins have fees in the coin."""
        if type(report) is not Reports or (report.sample, report.n) not in self.bought:
            return report
        bought = self.bought[report.sample, report.n]
        columns = [bought[row] for row in report.row]
        fees = [
            int(lots * self.lot_nano[column] * self.coin_fees) if column >= 0 and self.lot_nano[column] == COIN else 0
            for column, lots in zip(columns, report.lots, strict=True)
        ]
        return replace(report, fee_nano=fees) if any(fees) else report

    def query(self, sample: int, n: int, rows: Any) -> Any:
        """A basket that was never received is not found, whatever its age."""
        if (sample, n) not in self._by_key:
            return [NotFound(sample, n, self._ts, list(rows), self.again[sample, n])]
        return super().query(sample, n, rows)


class Far:
    """A venue across a network: requests arrive after an item of the market, and some reports one item later."""

    def __init__(self, world: Any) -> None:
        self.venue, self.draw, self.late = world.venue(), random.Random(world.seed), []

    def moved(self, item: Any) -> list[Any]:
        """What it reports after an item of the market, and what was late before."""
        before, self.late, news = self.late, [], []
        if type(item) is MarketSlice:
            news = list(self.venue.on_slice(item))
        elif type(item) is Tick:
            news = list(self.venue.on_time(item.ts, item.opened))
        elif type(item) is Action:
            news = list(self.venue.on_action(item))
        if self.draw.random() < 0.2:
            self.late, news = news, []
        return [*before, *news]

    def answers(self, requests: list[Any]) -> list[Any]:
        """What it answers to requests at once."""
        news: list[Any] = []
        for request in requests:
            match request:
                case OrderBasket():
                    news.extend(self.venue.submit(request))
                case Rows():
                    news.extend(self.venue.submit(request.basket, request.row))
                case Cancel():
                    news.extend(self.venue.cancel(request.sample, request.n, request.row, request.ts))
                case Query():
                    news.extend(self.venue.query(request.sample, request.n, request.row))
        return news
