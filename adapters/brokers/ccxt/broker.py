"""The broker for spot crypto exchanges, through ccxt; implements `quantd.trading.ports.Broker`.

The broker is tested over the network with Kraken, which supports client ids, fees in the quote currency
(`oflags=fciq`), expiry at an instant (GTD), a deadline of arrival, figures as text, and a list of deposits and
withdrawals. `open` refuses an exchange without the required functions.

What can go wrong. A request of an earlier process is still under way when this one looks for its order, and arrives
after it was sent again. An order that the exchange does not list yet is taken for one that never arrived. An older
answer overtakes a newer one.

What the order of the steps guarantees. An order that was decided before `open` is looked for, and again after
`in_flight_s`, before it is sent. By then the deadline of arrival has ended every request under way. A settling time
shorter than that deadline is refused. Queries follow one another under a lock. An order that the venue's lists do not
have is NOT_FOUND after the settling time only; until then it is UNKNOWN. A replacement is sent after the confirmed end
of the old order, with no fill in between.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final
from weakref import WeakValueDictionary

from quantd.adapters.brokers.ccxt.account import account_of, flows_of, trades_of
from quantd.adapters.brokers.ccxt.connection import CryptoSettings, Line
from quantd.adapters.brokers.ccxt.market import Markets, again, compare
from quantd.adapters.brokers.ccxt.orders import OrderQueries, OrderSender, OrderStatus
from quantd.adapters.brokers.ccxt.stream import COALESCE_S, OrderNews
from quantd.adapters.brokers.order_log import Orders, Sent, reports_of
from quantd.adapters.brokers.venue import Login
from quantd.adapters.brokers.venue_errors import VenueError
from quantd.adapters.exchange import client
from quantd.adapters.exchange.client import Access, NoExchange, connect, leave
from quantd.adapters.exchange.exchange_errors import outcome
from quantd.adapters.exchange.refusal_words import Outcome
from quantd.trading.events import CancelReported, NotFound, Unknown
from quantd.trading.instruments import NANO, Universe
from quantd.trading.orders import Cause, OrderBasket, Reports
from quantd.trading.ports import BrokerNews, VenueAccount, VenueFlow, VenueTrade

MARKETS_NS: Final = 3600 * NANO
"""Interval between two queries of the exchange's markets: ticks and least sizes change while a daemon runs."""


class Crypto:
    """One account at one crypto exchange, as a broker. `clock` returns ns UTC.

    The stream only announces changes. The state is then read by REST requests, each execution with its id. Repeated,
    reordered or lost updates therefore have no effect, and an exchange without a stream works in the same way. The
    executions of one order are sorted by time and the exchange's own number, so that each execution covers the same
    interval of the order's lots in every process.
    """

    def __init__(
        self, settings: CryptoSettings, universe: Universe, run: str, clock: Callable[[], int] = time.time_ns
    ) -> None:
        """Prepare the account; `open` connects. `clock` is our clock (ns UTC).

        `continues` is set by the caller if the run continues an earlier one. `set_aside` returns a text for each item
        of the venue that could not be read, since its last call.
        """
        self._line = Line(settings)
        self._settings = settings
        self._universe = universe
        self._clock = clock
        self._orders = Orders(universe, run, self._line.dialect.client_id)
        self._updates = OrderNews(self._line, self._look_for_news, clock)
        self.continues = False
        self.set_aside = self._line.unreadable.taken
        self._inherited: dict[str, int] = {}
        """Orders that an earlier process may have sent, by client id, with the time of their discovery (ns)."""
        self._not_found: set[str] = set()
        """Client ids of orders that the venue never received; they are not queried again."""
        self._reported: dict[str, tuple[int, int]] = {}
        """Client id -> (number of executions, Cause of the end or -1) of the last report."""
        self._opened_at = 0
        self._markets_read = 0  # when the markets were last read (ns UTC)
        self._reading = asyncio.Lock()
        self._baskets: WeakValueDictionary[tuple[int, int], asyncio.Lock] = WeakValueDictionary()
        self._use_markets(Markets((), (), (), {}))  # none before `open`

    def _use_markets(self, markets: Markets) -> None:
        self._markets, self.untradable = markets, markets.untradable
        self._sender = OrderSender(self._line, self._universe, markets, self._clock, self._updates.denied)

    async def open(self) -> None:
        """Connect, and compare functions, clock, markets and key with the exchange.

        Raises VenueError with every mistake and its remedy, ConnectionError when the venue does not answer.
        """
        # a sent order can still arrive for `in_flight_s` seconds: before, an absent order may not count as never
        # received
        where, settle_s, min_settle_s = self._line.access.venue, self._settings.settle_s, self._line.in_flight_s
        if settle_s < min_settle_s:
            raise VenueError(
                where, f"a settling time of {settle_s:g} s is too short", f"Make it at least {min_settle_s:g} s"
            )
        try:
            self._line.take(await connect(self._line.access))
        except NoExchange as error:
            raise VenueError(where, error.wrong, error.remedy) from None
        try:
            self._use_markets(await compare(self._line, self._universe, self._clock, continues=self.continues))
            self._queries = OrderQueries(self._line, self._universe, self._markets)
        except BaseException:
            await self.close()
            raise
        self._opened_at = self._markets_read = self._clock()

    async def close(self) -> None:
        """Stop the stream and disconnect."""
        await self._updates.close()
        await self._line.close()

    def remember(self, basket: OrderBasket) -> None:
        """Register a basket that an earlier process may have sent.

        `query` reports its orders as NotFound only once no request of the earlier process can still arrive.
        """
        now = self._clock()
        for sent in self._orders.add(basket):
            self._inherited.setdefault(sent.id, now)

    async def submit(self, basket: OrderBasket, rows: Sequence[int] | None = None) -> Sequence[BrokerNews]:
        """Send a basket of orders, or only the orders in its `rows`. An order that the venue already has is not sent
        again.

        Two calls for one basket run one after the other. If the state of an order is Unknown afterwards, the poll for
        updates runs at once.
        """
        basket_rows = self._orders.add(basket)
        lock = self._baskets.setdefault((basket.sample, basket.n), asyncio.Lock())
        async with lock:
            news = await self._submit(basket_rows if rows is None else [basket_rows[row] for row in rows])
        if any(isinstance(report, Unknown) for report in news):
            self._updates.wake()
        return news

    async def _submit(self, rows: Sequence[Sent]) -> list[BrokerNews]:
        """Query the orders that this process or an earlier one may have sent, and send those that the venue does not
        have.

        An order is queried first if this process sent it, if it has ended, or if it was decided before this process
        began. All other orders are sent at once.

        `_sender.at` has the client ids of the orders that this process sent; `ended` is -1 for an open order.
        """
        sent_here = [sent for sent in rows if sent.id in self._sender.at or sent.ended >= 0]
        for sent in rows:
            if sent.ts < self._opened_at:  # decided before this process: an earlier one may have sent it
                self._inherited.setdefault(sent.id, self._opened_at)
        sent_earlier = [sent for sent in rows if sent not in sent_here and sent.id in self._inherited]
        to_send = [sent for sent in rows if sent not in sent_here and sent not in sent_earlier]
        news: list[BrokerNews] = []
        if sent_here:
            reports = await self.query(sent_here[0].sample, sent_here[0].n, [sent.row for sent in sent_here])
            missing = {row for report in reports if isinstance(report, NotFound) for row in report.row}
            to_send += [sent for sent in sent_here if sent.row in missing]
            news += [report for report in reports if not isinstance(report, NotFound)]
        if sent_earlier:
            try:
                statuses = await self._look_settled(sent_earlier)
            except Exception as error:
                news += [self._sender.unknown(sent, self._line.words(error)) for sent in sent_earlier]
            else:
                news += [self._report(sent, statuses[sent.id]) for sent in sent_earlier if sent.id in statuses]
                to_send += [sent for sent in sent_earlier if sent.id not in statuses]
        if to_send:
            self._not_found -= {sent.id for sent in to_send}
            news += await self._sender.send(to_send)
        return news

    async def cancel(self, sample: int, n: int, row: int, ts: int) -> Sequence[BrokerNews]:
        """Request the cancellation of the order in `row` of basket (`sample`, `n`).

        An accepted cancel starts a poll at once, which reports the end of the order. A cancel without a timely answer
        is Unknown.
        """
        rows = self._orders.rows(sample, n, [row])
        if not rows:
            return (CancelReported(sample, n, self._clock(), row, "this adapter does not know the order"),)
        sent = rows[0]
        if sent.ended >= 0:
            return (CancelReported(sample, n, self._clock(), row, "the order has ended"),)
        exchange, params = self._line.exchange, {self._line.dialect.cancel_key: sent.id}
        try:
            market = self._markets.names[sent.column]
            answer = await self._line.ask(lambda: exchange.cancel_order(sent.venue_id or None, market, params))
        except Exception as error:
            self._updates.wake()
            words = self._line.words(error)
            match outcome(error, self._line.dialect.means):
                case Outcome.TAKEN:
                    return ()  # a cancel is already in progress
                case Outcome.UNKNOWN | Outcome.STRANGE:
                    return (self._sender.unknown(sent, words),)
                case Outcome.DENIED:
                    self._updates.denied(words)
                case Outcome.AGAIN | Outcome.REFUSED | Outcome.NOT_FOUND:
                    pass
            return (CancelReported(sample, n, self._clock(), row, words),)
        self._updates.wake()
        if not isinstance(answer, dict):
            return (self._sender.unknown(sent, "the answer to a cancel cannot be read"),)
        return ()

    async def replace(self, sample: int, n: int, row: int, basket: OrderBasket) -> Sequence[BrokerNews]:
        """Replace an order: cancel the old one, wait for its end, then send the new one.

        A change in place is not used: exchanges change an order only under its old client id (Kraken's AmendOrder) or
        under none (EditOrder), so that the new order could not be found by its own client id.

        The new order is sent only if the old one ended by the cancel and filled nothing more.
        """
        old = self._orders.rows(sample, n, [row])
        new = self._orders.add(basket)[0]
        refuse = self._sender.refuse
        if not old:
            return (refuse(new, "not sent: this adapter does not know the replaced order"),)
        filled_nano = old[0].log.known_nano()
        news = list(await self.cancel(sample, n, row, basket.ts))
        refused = any(isinstance(report, CancelReported) for report in news)
        status = await self._wait_for_end(old[0], once=refused)
        if status is None:
            news = news or [self._sender.unknown(old[0], "cancelled, and its end is not confirmed yet")]
            return (*news, refuse(new, "not sent: the replaced order may still be open"))
        news = [self._report(old[0], status)]
        if status.cum_nano != filled_nano or status.cause is not Cause.CANCELLED:
            return (*news, refuse(new, "not sent: the order that it replaces filled or ended first"))
        return (*news, *await self._sender.send([new]))

    async def _wait_for_end(self, sent: Sent, once: bool) -> OrderStatus | None:
        """Query an order until it has ended and all its executions are listed; None without an end in time.

        With `once`, or when the venue does not have the order, the order is queried a single time.

        The pause between two queries begins with COALESCE_S and doubles. A query that raises an error is repeated.
        """
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + self._line.access.timeout_s, COALESCE_S
        while True:
            with contextlib.suppress(Exception):
                status = (await self._read_statuses([sent])).get(sent.id)
                if status is not None and status.cause is not None and status.cum_nano == _total_nano(sent, status):
                    return status
                once = once or status is None
            if once or loop.time() + pause >= deadline:
                return None
            await asyncio.sleep(pause)
            pause *= 2

    async def query(self, sample: int, n: int, rows: Sequence[int]) -> Sequence[BrokerNews]:
        """Return the executions and the state of the orders in `rows` of basket (`sample`, `n`).

        An order that was refused when it was sent is reported without a request. Rows of a basket that this process
        does not know are Unknown.

        Times are in ns UTC. An order that the venue does not list is Unknown until its settling time is over. After
        that no request for it can be under way, so that it never arrived: it is then rejected if the venue had answered
        with an undocumented text (`order.words`), else NotFound.
        """
        now = self._clock()
        orders, news = self._orders.wanted(sample, n, rows, now)
        # a refused order was never at the venue: it is reported, and not queried
        news += [reports_of(order, now, Cause.REJECTED) for order in orders if order.ended == Cause.REJECTED]
        queried = [order for order in orders if order.ended != Cause.REJECTED]
        if not queried:
            return news
        try:
            statuses = await self._read_statuses(queried)
            # absent orders of an earlier process, whose time to settle has passed
            sent_earlier = [
                order for order in queried if order.id not in statuses and self._is_past_settling(order, now)
            ]
            sent_earlier = [order for order in sent_earlier if order.id not in self._sender.at]
            for order in sent_earlier:
                self._inherited.setdefault(order.id, self._opened_at)
            # where the exchange refuses late orders, a short wait settles them
            if sent_earlier and self._line.dialect.refuses_late:
                statuses |= await self._look_settled(sent_earlier)
        except Exception as error:
            return [*news, Unknown(sample, n, now, [order.row for order in queried], self._line.words(error))]
        news += [self._report(order, statuses[order.id]) for order in queried if order.id in statuses]
        absent = [order for order in queried if order.id not in statuses]
        absent_for_good = [order for order in absent if self._settled(order, now)]
        self._not_found |= {order.id for order in absent_for_good}
        news += [self._sender.refuse(order, order.words) for order in absent_for_good if order.words]
        if not_found := [order.row for order in absent_for_good if not order.words]:
            news.append(NotFound(sample, n, self._clock(), not_found))
        if len(absent_for_good) < len(absent):
            open_rows = [order.row for order in absent if order not in absent_for_good]
            news.append(Unknown(sample, n, now, open_rows, "the venue does not have it yet"))
        return news

    def _is_past_settling(self, sent: Sent, now: int) -> bool:
        """Whether the settling time since the decision of an order has passed."""
        return now - sent.ts >= int(self._settings.settle_s * NANO)

    def _settled(self, sent: Sent, now: int) -> bool:
        """Whether no request for an order can be under way at `now` (ns): if a query does not find the order then, it
        never arrived."""
        at = self._sender.at.get(sent.id)
        if at is not None:
            return now - at >= int(self._settings.settle_s * NANO)
        waited_s = (self._clock() - self._inherited.get(sent.id, 0)) / NANO
        return self._is_past_settling(sent, now) and waited_s >= self._line.in_flight_s

    async def _read_statuses(self, rows: Sequence[Sent]) -> dict[str, OrderStatus]:
        async with self._reading:  # one query at a time: otherwise an older answer could overwrite a newer one
            return await self._queries.look(rows)

    async def _look_settled(self, rows: Sequence[Sent]) -> dict[str, OrderStatus]:
        """Query orders of an earlier process, and query them again once none of them can still be under way."""
        statuses = await self._read_statuses(rows)
        absent = [sent for sent in rows if sent.id not in statuses]
        if absent:
            wait_s = self._line.in_flight_s - (self._clock() - max(self._inherited[sent.id] for sent in absent)) / NANO
            if wait_s > 0:
                await asyncio.sleep(wait_s + 0.01)
                statuses = await self._read_statuses(rows)
        return statuses

    def _report(self, sent: Sent, status: OrderStatus) -> Reports | Unknown:
        """Report the state of an order; executions that stay unlisted for `unlisted_s` are derived from its quantity
        and average price.

        `cum_nano` is the filled quantity by the exchange's count. `sent.behind` is the instant (ns) since which the
        listed executions add up to less, 0 if all are listed.
        """
        if status.unread:
            return self._sender.unknown(sent, status.unread)
        sent.log.add(*status.executions)
        if status.cum_nano > sent.log.known_nano():
            now = self._clock()
            sent.behind = sent.behind or now
            if status.average_nano and now - sent.behind >= self._settings.unlisted_s * NANO:
                sent.log.bridge(now, status.cum_nano, status.average_nano, status.fee_micro)
        else:
            sent.behind = 0
        report = reports_of(
            sent, self._clock(), status.cause, max(status.cum_nano, sent.log.known_nano()), status.reason
        )
        self._reported[sent.id] = len(sent.log.executions), sent.ended
        return report

    async def account(self) -> VenueAccount:
        """Read balances and open orders from the exchange, and once an hour its markets. Raises ConnectionError."""
        if self._clock() - self._markets_read >= MARKETS_NS:
            try:
                self._markets = self._sender.markets = await again(self._line, self._universe, self._markets)
            except Exception as error:
                raise self._line.lost(error) from None
            self.untradable, self._markets_read = self._markets.untradable, self._clock()
        return await account_of(self._line, self._universe, self._markets, self._orders, self._clock)

    async def flows(self, since: int) -> Sequence[VenueFlow]:
        """Return deposits, withdrawals and other movements later than `since` (ns UTC), oldest first.

        Raises ConnectionError.
        """
        return await flows_of(self._line, self._universe, self._markets, since, self._clock())

    async def trades(self, since: int) -> Sequence[VenueTrade]:
        """Return the executions in symbols of the universe later than `since` (ns UTC). Raises ConnectionError."""
        return await trades_of(self._line, self._universe, self._markets, since)

    def news(self) -> AsyncIterator[BrokerNews]:
        """Yield executions and ends of orders, until `close`. The reports come from polls of the open orders."""
        return self._updates.news()

    async def _look_for_news(self) -> tuple[Sequence[BrokerNews], bool]:
        """Query all open orders. Returns new reports, and whether executions are still missing.

        An order that the venue does not have counts as never received once its settling time has passed. At an exchange
        without an expiry of orders, those whose end has passed are cancelled.

        `_reported` has (number of executions, Cause of the end or -1) of an order's last report, so that an unchanged
        order is not reported again.
        """
        now = self._clock()
        may_be_at_venue = (self._sender.at.keys() | self._inherited.keys()) - self._not_found
        rows = [sent for sent in self._orders if sent.ended < 0 and sent.id in may_be_at_venue]
        if not rows:
            return (), False
        statuses = await self._read_statuses(rows)
        news: list[BrokerNews] = []
        lags = False
        for sent in rows:
            status = statuses.get(sent.id)
            if status is None:
                if self._settled(sent, now):
                    self._not_found.add(sent.id)
                continue
            previous = self._reported.get(sent.id, (0, -1))
            report = self._report(sent, status)
            if isinstance(report, Unknown):
                continue  # without an answer the state of the order is unknown: a later comparison queries it again
            if report.cause and self._reported[sent.id] != previous:
                news.append(report)
            lags = lags or status.cum_nano > sent.log.known_nano()
        for sent in rows if self._line.dialect.until is None else ():  # the exchange has no expiry
            if 0 < sent.end <= self._clock() and sent.ended < 0:
                await self.cancel(sent.sample, sent.n, sent.row, self._clock())
        return news, lags


def _total_nano(sent: Sent, status: OrderStatus) -> int:
    """Return the total quantity of an order's known executions, including new ones in `status`, in nano-units."""
    executions = sent.log.executions
    return sent.log.known_nano() + sum(
        execution.size_nano for execution in status.executions if execution.id not in executions
    )


def broker(login: Login) -> Crypto:
    """Return the account at an exchange as a broker, not yet connected."""
    return Crypto(CryptoSettings(access_of(login), settle_s=login.settle_s), login.universe, login.run)


async def may_withdraw(login: Login) -> bool | None:
    """Whether the key may withdraw; None where the exchange does not report it. Raises ccxt's errors."""
    exchange = await connect(access_of(login))
    try:
        return await client.may_withdraw(exchange)
    finally:
        await leave(exchange)


def access_of(login: Login) -> Access:
    """Return the exchange and the key of a login; without `live`, of the exchange's sandbox."""
    return Access(
        login.venue, key=login.secrets["ccxt_key"], secret=login.secrets["ccxt_secret"], url=login.url or None,
        sandbox=not login.live and not login.url, timeout_s=login.timeout_s,
    )  # fmt: skip
