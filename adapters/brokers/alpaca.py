"""Alpaca as a broker: its Trading API v2 over HTTP and its stream of trade updates, without the vendor's client, which has
neither time-outs nor cancellation and sends orders again by itself."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from decimal import Decimal
from typing import Final

from adapters.brokers.alpaca_open import pair_ticks, refusal, refuse_clock, refuse_universe
from adapters.brokers.alpaca_rest import AlpacaSettings, Answer, Lost, NotSent, Rest
from adapters.brokers.alpaca_stream import Connected, Stream
from adapters.brokers.alpaca_stream import Lost as StreamLost
from adapters.brokers.alpaca_wire import (
    Account,
    Activity,
    Garbled,
    Order,
    Position,
    Update,
    body,
    ended,
    flow,
    instant,
    is_crypto,
    micro,
    nano,
    plain,
    stamp,
)
from adapters.brokers.errors import VenueError
from adapters.brokers.intervals import Execution, Trail, told
from adapters.brokers.sent import KEPT, Orders, Sent
from trading.events import CancelReported, Condition, NotFound, Unknown
from trading.instruments import NANO, Universe
from trading.orders import Cause, ForeignOrder, Kind, OrderBasket, Reports
from trading.ports import BrokerNews
from trading.venue import OpenOrder, VenueAccount, VenueFlow

ORDERS: Final = "v2/orders"
PAGE: Final = 100
"""Activities of one answer; the venue gives no more."""

MOST: Final = 500
"""Orders of one answer; the venue gives no more."""

POLL_S: Final = 0.25
"""Between two looks at what the venue has not come to yet."""


class Alpaca:
    """One account; implements `trading.ports.Broker`. `run` makes the client ids, `now` is our clock in ns UTC.

    Orders are known by client id, which the venue keeps unique for good, and executions by the order's cumulative
    quantity after each, which the stream and the list of activities both tell.
    """

    def __init__(
        self, settings: AlpacaSettings, universe: Universe, run: str, now: Callable[[], int] = time.time_ns
    ) -> None:
        self._settings, self._universe, self._now = settings, universe, now
        self._orders = Orders(universe, run)
        self._trails: dict[str, Trail] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._ticks: dict[str, int] = {}
        self._rest: Rest | None = None
        self._stream: Stream | None = None
        self._closed = asyncio.Event()
        # the venue writes a pair's position without its slash
        self._columns = {symbol.replace("/", ""): column for column, symbol in enumerate(universe.symbols)}

    async def open(self) -> None:
        """Connect and compare; VenueError with every mistake, ConnectionError when the venue does not answer."""
        if self._rest is None:
            self._rest = Rest(self._settings)
            self._stream = Stream(self._settings, self._rest.session)
        wrong = await refuse_clock(self._rest, self._settings, self._now)
        answer = await self._rest.read("v2/account")
        if not answer.ok:
            raise refusal(answer)
        account = answer.decode(Account)
        if account.status != "ACTIVE":
            wrong.append((f"the account is {account.status}, not ACTIVE", "finish what the venue asks for on its site"))
        if account.currency != self._universe.currency:
            found = f"the account is in {account.currency}, [universe] currency is {self._universe.currency}"
            wrong.append((found, f'set currency = "{account.currency}", or use another account'))
        assets, mistakes = await refuse_universe(self._rest, self._universe)
        self._ticks = pair_ticks(assets)
        wrong += mistakes
        if wrong:
            raise VenueError("Alpaca", "; ".join(w for w, _ in wrong), "; ".join(dict.fromkeys(r for _, r in wrong)))

    async def close(self) -> None:
        self._closed.set()
        if self._stream is not None:
            await self._stream.close()
        if self._rest is not None:
            await self._rest.close()

    # ------------------------------------------------------------ orders

    def remember(self, basket: OrderBasket) -> None:
        for sent in self._orders.add(basket):
            self._trail(sent).posted = self._trail(sent).posted or basket.ts

    async def submit(self, basket: OrderBasket, rows: Sequence[int] | None = None) -> Sequence[BrokerNews]:
        known = self._orders.add(basket)
        chosen = known if rows is None else [known[row] for row in rows]
        return _flat(await asyncio.gather(*(self._submit(sent) for sent in chosen)))

    async def _submit(self, sent: Sent) -> Sequence[BrokerNews]:
        trail = self._trail(sent)
        async with self._lock(sent):
            if not trail.posted:
                return await self._post(sent, trail)
            # it may be there: ask, and send only what the venue surely never had
            news = await self._ask(sent)
            if any(isinstance(each, NotFound) for each in news) and (not sent.end or self._now() < sent.end):
                return await self._post(sent, trail)
            return news

    async def _post(self, sent: Sent, trail: Trail) -> Sequence[BrokerNews]:
        """Send an order; under its lock."""
        order = self._body(sent)
        if isinstance(order, str):
            return [self._end(sent, Cause.REJECTED, order)]
        before, trail.posted = trail.posted, self._now()
        try:
            answer = await self._http().ask("POST", ORDERS, body=order, patience_s=self._left_s(sent))
        except NotSent as away:
            trail.posted = before
            return [self._end(sent, Cause.EXPIRED, f"never sent: {away}")]
        except Lost as lost:
            trail.posted = self._now()
            return [self._unknown(sent, str(lost))]
        trail.posted = self._now()
        if answer.ok:
            return await self._taken(sent, answer)
        if "client_order_id" in answer.words and "unique" in answer.words:
            return await self._ask(sent)  # the venue has it
        return [self._end(sent, Cause.REJECTED, answer.words)]

    async def _taken(self, sent: Sent, answer: Answer) -> Sequence[BrokerNews]:
        """The venue took an order: what it says of it."""
        try:
            return await self._say([(sent, answer.decode(Order))])
        except Lost as lost:
            return [self._unknown(sent, str(lost))]

    async def cancel(self, sample: int, n: int, row: int, ts: int) -> Sequence[BrokerNews]:
        found = self._orders.rows(sample, n, [row])
        if not found:
            return [CancelReported(sample, n, self._now(), row, "no such order was sent from here")]
        sent = found[0]
        async with self._lock(sent):
            return await self._cancel(sent)

    async def _cancel(self, sent: Sent) -> Sequence[BrokerNews]:
        try:
            order = await self._find(sent)
            if order is None:
                return [self._refused(sent, "the venue does not have it")]
            answer = await self._http().ask("DELETE", f"{ORDERS}/{order}")
        except NotSent as away:
            return [self._refused(sent, str(away))]
        except Lost as lost:
            return [self._unknown(sent, str(lost))]
        return [] if answer.ok else [self._refused(sent, answer.words)]

    async def _find(self, sent: Sent) -> str | None:
        """The venue's own id of an order. Raises NotSent or Lost."""
        trail = self._trail(sent)
        if not trail.venue_id:
            order = await self._order(sent)
            trail.venue_id = order.id if order is not None else ""
        return trail.venue_id or None

    async def _order(self, sent: Sent) -> Order | None:
        """An order as the venue has it now, None when it says that it has none. Raises NotSent or Lost."""
        answer = await self._http().ask("GET", f"{ORDERS}:by_client_order_id", {"client_order_id": sent.id})
        if answer.status == 404:
            return None
        if not answer.ok:
            raise Lost(answer.words)
        order = answer.decode(Order)
        if order.client_order_id != sent.id:
            raise Lost("the venue's answer is about another order")
        return order

    async def replace(self, sample: int, n: int, row: int, basket: OrderBasket) -> Sequence[BrokerNews]:
        """Changed in place while nothing of the old order is filled; else cancelled, and the new one sent once the old
        one has ended. One that filled more on the way is not replaced: together they would be more than was asked."""
        new = self._orders.add(basket)[0]
        found = self._orders.rows(sample, n, [row])
        if not found:
            return [self._end(new, Cause.EXPIRED, "never sent: the order it replaces is not known")]
        old = found[0]
        async with self._lock(old), self._lock(new):
            if self._trail(new).posted:
                return await self._ask(new)
            try:
                order = await self._order(old)
            except (NotSent, Lost) as away:
                return [self._end(new, Cause.EXPIRED, f"never sent: {away}")]
            if order is None:
                return [self._end(new, Cause.EXPIRED, "never sent: the venue does not have the order it replaces")]
            news = list(await self._said([(old, order)]))
            if not _open(order):
                return [*news, self._end(new, Cause.EXPIRED, "never sent: the order it replaces has ended")]
            if self._in_place(old, new, order):
                return await self._patch(old, new, order)
            return await self._one_after_the_other(old, new, order)

    def _in_place(self, old: Sent, new: Sent, order: Order) -> bool:
        """Whether the venue can change one into the other: whole shares, same kind, nothing filled."""
        symbol, lot = self._universe.symbols[old.column], self._universe.lot_nano[old.column]
        whole = (old.lots * lot) % NANO == 0 == (new.lots * lot) % NANO
        alike = old.column == new.column and old.kind == new.kind and (old.lots > 0) == (new.lots > 0)
        kind = old.kind in (Kind.LIMIT, Kind.STOP) and not is_crypto(symbol)
        return whole and alike and kind and order.status == "new" and not order.filled_qty

    async def _patch(self, old: Sent, new: Sent, order: Order) -> Sequence[BrokerNews]:
        change = self._body(new)
        if isinstance(change, str):
            return [self._end(new, Cause.REJECTED, change)]
        asked = {k: v for k, v in change.items() if k not in ("symbol", "side", "type")}
        trail = self._trail(new)
        trail.posted = self._now()
        try:
            answer = await self._http().ask("PATCH", f"{ORDERS}/{order.id}", body=asked, patience_s=self._left_s(new))
        except NotSent as away:
            trail.posted = 0
            return [self._end(new, Cause.EXPIRED, f"never sent: {away}")]
        except Lost as lost:
            trail.posted = self._now()
            return [self._unknown(old, str(lost)), self._unknown(new, str(lost))]
        if answer.ok:
            return await self._taken(new, answer)
        news = [self._end(new, Cause.REJECTED, answer.words)]
        return [*await self._ask(old), *news]

    async def _one_after_the_other(self, old: Sent, new: Sent, order: Order) -> Sequence[BrokerNews]:
        filled = nano(order.filled_qty)
        news = list(await self._cancel(old))
        waited = 0.0
        while not any(isinstance(each, Unknown) for each in news):
            try:
                now = await self._order(old)
            except (NotSent, Lost):
                break
            if now is None or not _open(now):
                news = [*news, *(await self._said([(old, now)]) if now else [])]
                if now is not None and nano(now.filled_qty) == filled and now.status != "filled":
                    return [*news, *await self._post(new, self._trail(new))]
                return [*news, self._end(new, Cause.EXPIRED, "never sent: the order it replaces filled on the way")]
            if waited >= self._settings.timeout_s:
                break
            pause = min(POLL_S, self._settings.timeout_s / 4)
            waited += pause
            await asyncio.sleep(pause)
        return [*news, self._end(new, Cause.EXPIRED, "never sent: the order it replaces has not ended")]

    async def query(self, sample: int, n: int, rows: Sequence[int]) -> Sequence[BrokerNews]:
        known = self._orders.rows(sample, n, rows)
        missing = sorted(set(rows) - {sent.row for sent in known})
        news: list[BrokerNews] = []
        if missing:
            news.append(Unknown(sample, n, self._now(), missing, "these orders are not known here"))
        return [*news, *_flat(await asyncio.gather(*(self._locked_ask(sent) for sent in known)))]

    async def _locked_ask(self, sent: Sent) -> Sequence[BrokerNews]:
        async with self._lock(sent):
            return await self._ask(sent)

    async def _ask(self, sent: Sent) -> Sequence[BrokerNews]:
        """What became of one order; under its lock."""
        trail = self._trail(sent)
        asked = self._now()
        try:
            order = await self._order(sent)
            if order is not None:
                return await self._say([(sent, order)])
        except (NotSent, Lost) as away:
            return [self._unknown(sent, str(away))]
        since = trail.posted or sent.ts
        if trail.venue_id:
            return [self._unknown(sent, "the venue had it, and says now that it never did")]
        if asked - since < self._settings.settle_s * NANO:
            return [self._unknown(sent, "the venue does not have it yet")]
        return [NotFound(sent.sample, sent.n, self._now(), [sent.row])]

    # ------------------------------------------------------------ what the venue says of orders

    async def _said(self, orders: Sequence[tuple[Sent, Order]]) -> Sequence[BrokerNews]:
        """As `_say`; an answer that does not come makes them unknown."""
        try:
            return await self._say(orders)
        except (NotSent, Lost) as away:
            return [self._unknown(sent, str(away)) for sent, _ in orders]

    async def _say(self, orders: Sequence[tuple[Sent, Order]]) -> Sequence[BrokerNews]:
        """Everything about orders as the venue has them: each execution, then the state. Raises NotSent or Lost."""
        news: list[BrokerNews] = []
        waited = 0.0
        for sent, order in orders:
            trail = self._trail(sent)
            trail.venue_id = order.id
            try:
                cause, cum = ended(order), nano(order.filled_qty)
                while trail.known_nano() < cum:
                    await self._executions(trail, order)
                    if trail.known_nano() >= cum or waited >= self._settings.listing_s:
                        break
                    pause = min(POLL_S, self._settings.listing_s / 4 or POLL_S)
                    waited += pause
                    await asyncio.sleep(pause)
            except Garbled as wrong:
                news.append(self._unknown(sent, str(wrong)))
                continue
            if trail.known_nano() < cum:
                news.append(self._unknown(sent, "it filled, and not all of its executions are listed yet"))
                continue
            report = told(sent, trail, self._lot(sent), self._now(), cause, cum, _why(order))
            if report is not None:
                news.append(report)
        return news

    async def _executions(self, trail: Trail, order: Order) -> None:
        """Look for executions of an order among the account's activities. Raises NotSent or Lost."""
        # a second earlier than the venue's own stamp of it: both are rounded
        since = instant(order.submitted_at) - NANO if order.submitted_at else self._now() - 7 * 86_400 * NANO
        async for each in self._activities("/FILL", since):
            if each.order_id == order.id and each.cum_qty is not None and each.price is not None:
                at = instant(each.transaction_time) if each.transaction_time else self._now()
                trail.add(Execution(nano(each.cum_qty), nano(each.qty), nano(each.price), at))

    async def _activities(self, kind: str, since: int) -> AsyncIterator[Activity]:
        """Activities after `since`, oldest first, all pages. Raises NotSent or Lost."""
        asked = {"after": stamp(since), "direction": "asc", "page_size": str(PAGE)}
        while True:
            answer = await self._http().ask("GET", f"v2/account/activities{kind}", asked)
            if not answer.ok:
                raise Lost(answer.words)
            page = answer.decode(list[Activity])
            for each in page:
                yield each
            if len(page) < PAGE:
                return
            asked["page_token"] = page[-1].id

    async def news(self) -> AsyncIterator[BrokerNews]:
        assert self._stream is not None
        up = True
        async for each in self._stream.items():
            match each:
                case Connected():
                    if not up:
                        up = True
                        yield Condition(self._now(), "broker", True)
                        for said in await self._clock():
                            yield said
                case StreamLost():
                    if up:
                        up = False
                        yield Condition(self._now(), "broker", False, str(each))
                case Update():
                    for said in self._update(each):
                        yield said

    async def _clock(self) -> Sequence[BrokerNews]:
        """After an interruption, whether the clocks still agree."""
        try:
            wrong = await refuse_clock(self._http(), self._settings, self._now)
        except ConnectionError:
            return []
        return [Condition(self._now(), "clock", False, wrong[0][0])] if wrong else []

    def _update(self, update: Update) -> Sequence[BrokerNews]:
        """One update of the stream; of an order that is not ours, nothing."""
        order = update.order
        sent = self._orders.find(order.client_order_id)
        if sent is None:
            return []
        trail = self._trail(sent)
        if trail.venue_id and trail.venue_id != order.id:
            return []  # our id at another order of the venue: `query` says what is what
        trail.venue_id = order.id
        ts = self._now()
        if update.event == "order_cancel_rejected":
            return [self._refused(sent, _why(order) or "the venue refused to cancel it")]
        try:
            cum, cause = nano(order.filled_qty), ended(order)
            if update.event in ("fill", "partial_fill") and update.qty is not None and update.price is not None:
                at = instant(update.timestamp) if update.timestamp else ts
                trail.add(Execution(cum, nano(update.qty), nano(update.price), at))
        except Garbled as wrong:
            return [self._unknown(sent, str(wrong))]
        report = told(sent, trail, self._lot(sent), ts, cause, cum, _why(order), news_only=True)
        return [] if report is None else [report]

    # ------------------------------------------------------------ the account

    async def account(self) -> VenueAccount:
        """Raises ConnectionError when the venue does not answer, VenueError when it refuses us."""
        account_, positions_, orders = await asyncio.gather(
            self._get("v2/account"), self._get("v2/positions"), self._open_orders()
        )
        account, positions = account_.decode(Account), positions_.decode(list[Position])
        try:
            return self._as_account(account, positions, orders)
        except Garbled as wrong:
            raise Lost(str(wrong)) from None

    def _as_account(self, account: Account, positions: Sequence[Position], orders: Sequence[Order]) -> VenueAccount:
        lots = [0] * self._universe.size
        odd, others = [], []
        for each in positions:
            column = self._columns.get(each.symbol.replace("/", ""))
            if column is None:
                others.append((each.symbol, plain(each.qty)))
                continue
            size, lot = nano(each.qty), self._universe.lot_nano[column]
            if each.side == "short":
                size = -abs(size)
            count, left = divmod(abs(size), lot)
            lots[column] = count if size > 0 else -count
            if left:
                odd.append((self._universe.symbols[column], plain((Decimal(left) / NANO).copy_sign(size))))
        ours, foreign = [], []
        for order in orders:
            sent = self._orders.find(order.client_order_id)
            if sent is not None:
                ours.append(OpenOrder(sent.sample, sent.n, sent.row, nano(order.filled_qty) // self._lot(sent)))
            elif (found := self._foreign(order)) is not None:
                foreign.append(found)
        cash = micro(account.cash)
        assert cash is not None
        return VenueAccount(
            ts=self._now(),
            currency=account.currency,
            lots=tuple(lots),
            cash_micro=cash,
            equity_micro=micro(account.equity),
            buying_power_micro=micro(account.buying_power),
            odd=tuple(odd),
            others=tuple(others),
            ours=tuple(ours),
            foreign=tuple(foreign),
            blocked=_blocked(account),
        )

    def _foreign(self, order: Order) -> ForeignOrder | None:
        """Somebody else's order, in lots rounded up: it reserves risk. None outside the universe."""
        column = self._columns.get((order.symbol or "").replace("/", ""))
        if column is None:
            return None
        lot = self._universe.lot_nano[column]
        left = nano(order.qty) - nano(order.filled_qty)
        lots = max(-(-left // lot), 1)
        limit = nano(order.limit_price or order.stop_price)
        return ForeignOrder(order.id, column, -lots if order.side == "sell" else lots, limit)

    async def _open_orders(self) -> list[Order]:
        """All of them. Raises NotSent, Lost or VenueError."""
        asked = {"status": "open", "limit": str(MOST), "direction": "asc"}
        found: dict[str, Order] = {}
        while True:
            page = (await self._get(ORDERS, asked)).decode(list[Order])
            before = len(found)
            found |= {order.id: order for order in page}
            if len(page) < MOST or len(found) == before or not page[-1].submitted_at:
                return list(found.values())
            asked["after"] = page[-1].submitted_at

    async def flows(self, since: int) -> Sequence[VenueFlow]:
        """What the venue dates by day only counts as of that day's end."""
        found = []
        try:
            # a day and more earlier: the venue may compare dates of its own zone
            async for each in self._activities("", since - 2 * 86_400 * NANO):
                moved = flow(each)
                if moved is not None and moved.ts > since:
                    found.append(moved)
        except Garbled as wrong:
            raise Lost(str(wrong)) from None
        return sorted(found, key=lambda f: (f.ts, f.id))

    # ------------------------------------------------------------ small things

    def _http(self) -> Rest:
        if self._rest is None:
            raise NotSent("not connected: the adapter is not open")
        return self._rest

    async def _get(self, path: str, query: dict[str, str] | None = None) -> Answer:
        """An answer. Raises NotSent or Lost (ConnectionErrors), and VenueError where the venue refuses us."""
        answer = await self._http().ask("GET", path, query)
        if not answer.ok:
            raise refusal(answer)
        return answer

    def _trail(self, sent: Sent) -> Trail:
        trail = self._trails.get(sent.id)
        if trail is None:
            if len(self._trails) > 2 * KEPT:
                self._trails = {k: v for k, v in self._trails.items() if self._orders.find(k) is not None}
            trail = self._trails[sent.id] = Trail()
        return trail

    def _lock(self, sent: Sent) -> asyncio.Lock:
        """One request about an order at a time: two of them cannot both find that it is not there."""
        if len(self._locks) > 2 * KEPT:
            self._locks = {k: v for k, v in self._locks.items() if v.locked()}
        return self._locks.setdefault(sent.id, asyncio.Lock())

    def _lot(self, sent: Sent) -> int:
        return self._universe.lot_nano[sent.column]

    def _body(self, sent: Sent) -> dict[str, str] | str:
        symbol = self._universe.symbols[sent.column]
        return body(sent, symbol, self._lot(sent), self._ticks.get(symbol, 0))

    def _left_s(self, sent: Sent) -> float:
        """Seconds for which this order may still be tried."""
        if not sent.end:
            return self._settings.patience_s
        return max((sent.end - self._now()) / NANO, 0.0)

    def _unknown(self, sent: Sent, reason: str) -> Unknown:
        return Unknown(sent.sample, sent.n, self._now(), [sent.row], self._settings.safe(reason))

    def _refused(self, sent: Sent, reason: str) -> CancelReported:
        return CancelReported(sent.sample, sent.n, self._now(), sent.row, self._settings.safe(reason))

    def _end(self, sent: Sent, cause: Cause, reason: str) -> Reports:
        """The end of an order that the venue never took."""
        sent.ended = int(cause)
        return Reports(
            sent.sample, sent.n, self._now(), [sent.row], [0], [0], [0], [0], [int(cause)], self._settings.safe(reason)
        )


def _open(order: Order) -> bool:
    try:
        return ended(order) is None
    except Garbled:
        return True


def _why(order: Order) -> str:
    """The end of an order in the venue's word, where it is no fill."""
    return "" if order.status in ("filled", "new", "partially_filled", "accepted", "pending_new") else order.status


def _blocked(account: Account) -> str:
    """Why nothing may be traded; empty when it may."""
    if account.account_blocked:
        return "the venue has blocked the account"
    if account.trading_blocked:
        return "the venue has blocked trading"
    if account.trade_suspended_by_user:
        return "trading is suspended in the account's settings"
    return "" if account.status == "ACTIVE" else f"the account is {account.status}"


def _flat(parts: Iterable[Sequence[BrokerNews]]) -> list[BrokerNews]:
    return [each for part in parts for each in part]
