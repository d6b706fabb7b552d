"""A run in a simulated market whose account lies at a wire-level venue too: each fill of the run is executed there, and
payments of the venue are booked by the real reconciler."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from quantd.adapters.store.journal.job_runs import JobRun
from quantd.daemon.jobs.tasks.account_lines import AccountRecord
from quantd.daemon.jobs.tasks.statement_job import StatementFile, StatementJob, saved_statement
from quantd.daemon.live.reconciliation import Reconciler
from quantd.daemon.runtime.timeline import instants, time_of
from quantd.trading.events import Acknowledged, Stopping
from quantd.trading.execution import Costs
from quantd.trading.instruments import MICRO, NANO, Universe
from quantd.trading.ports import Broker
from quantd.trading.sessions import DAY_NS
from tests.proofs.conformance.rigs.alpaca import AlpacaRig
from tests.proofs.conformance.rigs.ccxt import CcxtRig
from tests.proofs.conformance.scene import opened
from tests.support.engine import OPEN, START, World, block, walk
from tests.support.mqtt import until
from tests.support.service_kit import Kit
from tests.support.venues.kraken import Pair

HOUR_NS = 3_600 * NANO


class AtVenue(Protocol):
    """The account at one venue. `at` sets its clock (ns UTC), `commission_bp` is the fee of an execution.

    `day` has payments of a day: (type, amount, symbol) in the venue's own words.
    """

    commission_bp: float
    day: tuple[tuple[str, str, str], ...]

    async def start(self, universe: Universe) -> Broker: ...

    async def stop(self) -> None: ...

    def at(self, ts: int) -> None: ...

    def now(self) -> int: ...

    def trade(self, symbol: str, units: Decimal, price: Decimal, fee: Decimal) -> None: ...

    def pay(self, kind: str, amount: Decimal, symbol: str = "") -> None: ...

    def payments(self) -> list[Any]:
        """The venue's payments, oldest first."""

    def cash(self, amount: Decimal) -> None:
        """Cash moves without any line."""

    def amend(self, number: int, amount: Decimal) -> None:
        """The amount of the payment `number` (-1 is the newest) changes, and so does the cash."""

    def withdraw(self, number: int) -> Any:
        """Remove a payment, and its cash; returns it."""

    def restore(self, payment: Any) -> None: ...

    def rename(self, number: int) -> None:
        """The payment is one of another symbol or kind, and back."""

    def charge(self, amount: Decimal) -> None:
        """The fee of the newest execution changes, and so does the cash."""


class AtAlpaca:
    commission_bp = 0.0
    day = (
        ("DIV", "12.34", "S0"), ("DIVNRA", "-1.85", "S0"), ("DIVCGL", "0.07", "S1"), ("INT", "0.31", ""),
        ("CIL", "4.10", "S1"), ("CSD", "5000.25", ""), ("CSW", "-1200.00", ""), ("JNLC", "10.00", ""),
        ("FEE", "-0.02", ""), ("CFEE", "-0.01", ""),
    )  # fmt: skip
    """Payments of a day: a dividend, the tax withheld from it, a capital gain, interest, flows and fees."""

    def __init__(self) -> None:
        self.rig = AlpacaRig()
        self.book = self.rig.server.book

    async def start(self, universe: Universe) -> Broker:
        await self.rig.start()
        for symbol in universe.symbols:
            self.rig.server.list(symbol, "100")
        self._broker = self.rig.adapter(universe=universe)
        await opened(self._broker)
        return self._broker

    async def stop(self) -> None:
        await self._broker.close()
        await self.rig.stop()

    def at(self, ts: int) -> None:
        self.rig.server.offset_ns = ts - time.time_ns()

    def now(self) -> int:
        return self.rig.now()

    def trade(self, symbol: str, units: Decimal, price: Decimal, fee: Decimal) -> None:
        assert not fee
        self.book.assets[symbol].price = price
        order = self.book.place({
            "symbol": symbol, "qty": str(abs(units)), "side": "buy" if units > 0 else "sell", "type": "market",
            "time_in_force": "day",
        })  # fmt: skip
        self.book.fill(order, abs(units), price)

    def pay(self, kind: str, amount: Decimal, symbol: str = "") -> None:
        self.book.move_cash(kind, amount, symbol, dated=kind == "INT")

    def cash(self, amount: Decimal) -> None:
        self.book.cash += amount

    def payments(self) -> list[dict[str, Any]]:
        return [activity for activity in self.book.activities if activity["activity_type"] != "FILL"]

    def amend(self, number: int, amount: Decimal) -> None:
        paid = self.payments()[number]
        paid["net_amount"] = str(Decimal(paid["net_amount"]) + amount)
        self.cash(amount)

    def withdraw(self, number: int) -> Any:
        paid = self.payments()[number]
        self.book.activities.remove(paid)
        self.cash(-Decimal(paid["net_amount"]))
        return paid

    def restore(self, payment: Any) -> None:
        self.book.activities.append(payment)
        self.cash(Decimal(payment["net_amount"]))

    def rename(self, number: int) -> None:
        paid = self.payments()[number]
        paid["symbol"] = {"S0": "S1", "S1": "S0"}[paid["symbol"]]

    def charge(self, amount: Decimal) -> None:
        raise AssertionError("this venue charges no fee on an execution")


class AtKraken:
    commission_bp = 26.0
    day = (
        ("dividend", "12.34", ""), ("adjustment", "-1.85", ""), ("staking", "0.31", ""), ("reward", "0.07", ""),
        ("deposit", "5000.25", ""), ("withdrawal", "-1200.00", ""), ("transfer", "10.00", ""),
    )  # fmt: skip
    """Payments of a day; the exchange has no type for a tax, and charges a withdrawal in its own line."""

    def __init__(self) -> None:
        self.rig = CcxtRig()

    async def start(self, universe: Universe) -> Broker:
        await self.rig.start()
        self.venue = self.rig.venue
        for symbol in universe.symbols:
            pair = Pair(
                f"{symbol}USD", f"{symbol}USD", f"{symbol}/USD", f"{symbol}/USD", symbol, "ZUSD", 9, 0, "1", "0.01"
            )
            self.venue.pairs[pair.id], self.venue.assets[symbol] = pair, symbol
        self._broker = self.rig.adapter(universe=universe)
        await opened(self._broker)
        return self._broker

    async def stop(self) -> None:
        await self._broker.close()
        await self.rig.stop()

    def at(self, ts: int) -> None:
        self.rig._ahead_ns = ts - time.time_ns()

    def now(self) -> int:
        return self.rig.now()

    def trade(self, symbol: str, units: Decimal, price: Decimal, fee: Decimal) -> None:
        fields = {
            "type": "buy" if units > 0 else "sell", "ordertype": "limit", "volume": f"{abs(units):f}",
            "price": f"{price:f}",
        }  # fmt: skip
        order = self.venue._order(self.venue.pairs[f"{symbol}USD"], fields)
        self.venue.orders[order.txid] = order
        self.venue.fill(order, abs(units), price, fee)

    def pay(self, kind: str, amount: Decimal, symbol: str = "") -> None:
        fee = Decimal("0.35") if kind == "withdrawal" else Decimal(0)
        self.cash(amount - fee)
        self.venue.enter(kind, "ZUSD", amount, fee)

    def cash(self, amount: Decimal) -> None:
        self.venue.add("ZUSD", amount)

    def payments(self) -> list[Any]:
        return [entry for entry in self.venue.ledger if entry.kind != "trade"]

    def amend(self, number: int, amount: Decimal) -> None:
        self.payments()[number].amount += amount
        self.cash(amount)

    def withdraw(self, number: int) -> Any:
        paid = self.payments()[number]
        self.venue.ledger.remove(paid)
        self.cash(paid.fee - paid.amount)
        return paid

    def restore(self, payment: Any) -> None:
        self.venue.ledger.append(payment)
        self.cash(payment.amount - payment.fee)

    def rename(self, number: int) -> None:
        paid = self.payments()[number]
        paid.kind = {"dividend": "staking", "staking": "dividend"}[paid.kind]

    def charge(self, amount: Decimal) -> None:
        trade = self.venue.trades[-1]
        self.venue.trades[-1] = replace(trade, fee=trade.fee + amount)
        self.cash(-amount)


class Account:
    """A service that trades day after day, and its account at a venue."""

    def __init__(self, folder: Path, seed: int, days: int, venue: AtVenue) -> None:
        self.folder, self.venue = folder, venue
        bars = block(walk(days, 2, seed))
        costs = Costs(commission_bp=venue.commission_bp)
        self.world = World(bars, [_varied], house=OPEN, agent=OPEN, log=None, costs=costs)
        self.kit = Kit(folder, self.world)
        self._days = [
            list(day_items) for _, day_items in groupby(instants(self.world.items()), lambda k: time_of(k[0]) // DAY_NS)
        ]
        self._mirrored = 0
        self.day = 0
        """Days so far."""

    async def start(self) -> None:
        self.broker = await self.venue.start(self.world.universe)
        self.venue.at(START)
        service = self.kit.service
        self.job = StatementJob(service, self.folder, self.broker, self.world.sessions)
        self._books = Reconciler(service, self.broker, None, START, self.venue.now)  # type: ignore[arg-type]
        self._service = asyncio.create_task(service.step_forever())

    async def stop(self) -> None:
        self.kit.service.inbox.command(Stopping(0, False, "test"))
        await asyncio.wait_for(self._service, 60)
        await self.venue.stop()
        self.kit.store.close()

    def at(self, hour: float) -> None:
        """Set the venue's clock to an hour of the day that is next."""
        self.venue.at(START + self.day * DAY_NS + int(hour * HOUR_NS))

    async def book(self) -> None:
        """Book the venue's payments."""
        await self._books.flows()

    async def trade(self) -> None:
        """The market goes on for a day, and the fills are executed at the venue."""
        shell, chunk = self.kit.shell, self._days[self.day]
        await self.kit.service.inbox.put(chunk)
        await until(lambda: shell.ts >= time_of(chunk[-1][-1]))
        await self.committed()
        self.at(10.0)
        record = self.record()
        lines = [line for day in record.days for line in day.lines] + record.later
        fees = {line.id.removesuffix(".fee"): -line.amount_micro for line in lines if line.kind == "fee"}
        trades = [line for line in lines if line.kind == "trade"]
        for line in trades[self._mirrored :]:
            fee = Decimal(fees.get(line.id, 0)) / MICRO
            self.venue.trade(line.symbol, Decimal(line.lots), Decimal(line.price_nano) / NANO, fee)
        self._mirrored = len(trades)
        self.day += 1
        self.venue.at(START + (self.day - 1) * DAY_NS + int(16.5 * HOUR_NS))

    async def committed(self) -> None:
        """Wait until what happened so far is in the store."""
        await self.kit.service.inbox.command(Acknowledged(self.kit.shell.state.now, "none", "test", "test"))

    def record(self) -> AccountRecord:
        return self.job._record()

    async def statement(self) -> tuple[str, StatementFile]:
        """The result of the job and the newest document."""
        job_result = await self.job.work(JobRun(1, "statement"))
        await self.committed()
        statement = saved_statement(self.folder, self.kit.service.run, self.record().days[-1].day)
        assert statement is not None
        return job_result, statement

    def active(self) -> set[str]:
        """The kinds of differences with an open incident."""
        kinds = {incident.kind for incident in self.kit.service.incidents.active()}
        return {kind.removeprefix("statement_") for kind in kinds if kind.startswith("statement_")}


@asynccontextmanager
async def account(folder: Path, venue: AtVenue, *, days: int = 12, seed: int = 3) -> AsyncIterator[Account]:
    """A started account; stopped at the end."""
    venue_account = Account(folder, seed, days, venue)
    await venue_account.start()
    try:
        yield venue_account
    finally:
        await venue_account.stop()


def _varied(view: Any) -> list[float]:
    """Weights that change every day."""
    day = view.time // DAY_NS
    return [0.1 + 0.05 * (day % 5), 0.4 - 0.07 * (day % 4)]
