"""Sending an order to a crypto exchange: what it becomes there, and what the exchange's answer means."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from quantd.adapters.brokers.crypto_market import Markets
from quantd.adapters.brokers.crypto_settings import Line
from quantd.adapters.brokers.sent import Sent, told
from quantd.adapters.exchange.errors import Outcome, outcome
from quantd.adapters.exchange.numbers import lots_and_odd, on_tick, text_of
from quantd.trading.events import Unknown
from quantd.trading.instruments import NANO, Universe
from quantd.trading.orders import Cause, Kind, Reports
from quantd.trading.ports import BrokerNews

IN_FLIGHT: Final = 4
"""Orders of one basket that are on their way at one time."""


class Sending:
    """Sends rows and says what became of them. `at` is when a row may last have left, by client id (ns)."""

    def __init__(
        self, line: Line, universe: Universe, markets: Markets, clock: Callable[[], int], denied: Callable[[str], None]
    ) -> None:
        self._line = line
        self._universe = universe
        self._markets = markets
        self._clock = clock
        self._denied = denied
        self.at: dict[str, int] = {}

    async def send(self, rows: Sequence[Sent]) -> list[BrokerNews]:
        """Send rows, some at a time: none that is refused, or has no answer, holds up another."""
        for each in rows:
            self.at[each.id] = self._clock()
        rows, news = await self._coverable(rows)
        turn = asyncio.Semaphore(IN_FLIGHT)

        async def one(sent: Sent) -> BrokerNews:
            async with turn:
                return await self._one(sent)

        return news + list(await asyncio.gather(*(one(each) for each in rows)))

    async def _coverable(self, rows: Sequence[Sent]) -> tuple[list[Sent], list[BrokerNews]]:
        """The rows without sales of more than is free, and what is said of those."""
        sales = [each for each in rows if each.lots < 0]
        if not sales:
            return list(rows), []
        try:
            balance = await self._line.ask(self._line.exchange.fetch_balance)
        except Exception as error:
            for each in sales:
                del self.at[each.id]  # it never left
            reason = f"not sent: what is held could not be read: {self._line.words(error)}"
            return [each for each in rows if each.lots >= 0], [self.unknown(each, reason) for each in sales]
        free = {
            column: lots_and_odd(
                balance["free"].get(self._markets.bases[column]) or "0", self._universe.lot_nano[column]
            )[0]
            for column in {each.column for each in sales}
        }
        out: list[Sent] = []
        news: list[BrokerNews] = []
        for each in rows:
            if each.lots < 0 and max(free[each.column], 0) < -each.lots:
                text = f"a sale of {-each.lots} lots where {max(free[each.column], 0)} are free"
                news.append(self.refuse(each, f"{text}: this venue has no short sales"))
            else:
                out.append(each)
        return out, news

    async def _one(self, sent: Sent) -> BrokerNews:
        now = self._clock()
        if sent.kind in (Kind.OPEN, Kind.CLOSE):
            return self.refuse(sent, "this venue never closes and has no auctions")
        if not sent.lots or sent.worst_nano <= 0:
            return self.refuse(sent, "an order of no lots or without a limit")
        if 0 < sent.end <= now:
            return told(sent, now, (), Cause.EXPIRED, 0, "its end had passed before it was sent")
        try:
            order = await self._line.ask(lambda: self._create(sent))
        except Exception as error:
            return self._failed(sent, error)
        if not isinstance(order, dict) or not order.get("id"):
            return self.unknown(sent, "the answer has no order id")
        sent.venue_id = str(order["id"])
        return told(sent, self._clock(), (), None, 0)

    async def _create(self, sent: Sent) -> Any:
        now, speaks = self._clock(), self._line.speaks
        buy, tick = sent.lots > 0, self._markets.tick_nano[sent.column]
        params: dict[str, Any] = {"clientOrderId": sent.id, **speaks.order}
        if sent.end and speaks.until is not None:
            params |= speaks.until(sent.end)
        if speaks.refuse_after is not None:
            params |= speaks.refuse_after(now + int(self._line.in_flight_s * NANO))
        if sent.kind == Kind.STOP:
            # rather a tick too early than too late
            params["stopLossPrice"] = text_of(on_tick(sent.stop_nano, tick, down=buy))
        price = text_of(on_tick(sent.worst_nano, tick, down=buy))
        size = text_of(abs(sent.lots) * self._universe.lot_nano[sent.column])
        self.at[sent.id] = now
        market = self._markets.names[sent.column]
        return await self._line.exchange.create_order(market, "limit", "buy" if buy else "sell", size, price, params)

    def _failed(self, sent: Sent, error: Exception) -> BrokerNews:
        words = self._line.words(error)
        match outcome(error, self._line.speaks.refusals):
            case Outcome.UNKNOWN:
                return self.unknown(sent, words)
            case Outcome.TAKEN:
                return self.unknown(sent, f"the venue says that it has this order already: {words}")
            case Outcome.AGAIN:
                # our patience ended, not the venue's
                return told(sent, self._clock(), (), Cause.EXPIRED, 0, f"never sent: {words}")
            case Outcome.DENIED:
                self._denied(words)
                return self.refuse(sent, words)
            case Outcome.REFUSED | Outcome.NOT_FOUND:
                return self.refuse(sent, words)

    def refuse(self, sent: Sent, reason: str) -> Reports:
        """The order has no place at the venue, by its word or by ours."""
        return told(sent, self._clock(), (), Cause.REJECTED, 0, reason)

    def unknown(self, sent: Sent, reason: str) -> Unknown:
        return Unknown(sent.sample, sent.n, self._clock(), [sent.row], reason)
