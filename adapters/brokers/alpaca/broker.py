"""The Alpaca broker: Trading API v2 over HTTP, and the stream of trade updates.

The broker does not use Alpaca's own Python client, which has neither time-outs nor cancellation and repeats orders by
itself.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import msgspec

from quantd.adapters.brokers.alpaca import VENUE
from quantd.adapters.brokers.alpaca.account import other_account, read_account, read_flows, read_trades
from quantd.adapters.brokers.alpaca.connection import AlpacaSettings, Lost, Rest
from quantd.adapters.brokers.alpaca.market import read_listing, refuse_clock, renamed_text, unlent
from quantd.adapters.brokers.alpaca.orders import Desk
from quantd.adapters.brokers.alpaca.replacement import exchange
from quantd.adapters.brokers.alpaca.stream import Connected, Stream
from quantd.adapters.brokers.alpaca.wire import Account, Update, is_crypto, nano
from quantd.adapters.brokers.venue import Login
from quantd.adapters.brokers.venue_errors import KeysRefused, VenueError
from quantd.trading.events import Condition
from quantd.trading.instruments import NANO, Universe
from quantd.trading.orders import OrderBasket
from quantd.trading.ports import BrokerNews, Identity, VenueAccount, VenueFlow, VenueTrade

LENT_NS: Final = 3600 * NANO
"""Interval between two queries of the shares that the venue lends."""

WATCH_S: Final = 1.0
"""Interval between two searches for orders of pairs whose end has passed: the venue has no day orders for pairs."""


class Alpaca:
    """One Alpaca account; implements `quantd.trading.ports.Broker`.

    `run` is the id of the run, from which client ids of orders are derived. `now` returns ns UTC.
    """

    def __init__(
        self, settings: AlpacaSettings, universe: Universe, run: str, now: Callable[[], int] = time.time_ns
    ) -> None:
        """Prepare the account of the keys; `open` connects. `now` is our clock (ns UTC).

        `_desk` sends orders and queries their state. `continues` is set by the caller if the run continues an earlier
        one. `untradable` maps a column of the universe to the reason why the venue does not trade it. `set_aside`
        returns a text for each item of the venue that could not be read, since its last call.
        """
        self._settings, self._universe, self._now = settings, universe, now
        self._rest = Rest(settings)
        self._desk = desk = Desk(settings, universe, run, now, self._rest)
        self.remember = desk.remember
        self.continues = False
        self.identity = Identity()
        self.untradable: dict[int, str] = {}
        self.set_aside = self._rest.unreadable.taken
        self._stream = Stream(settings, self._rest)
        self._watch: asyncio.Task[None] | None = None
        self._refused: KeysRefused | None = None
        self._unlisted: dict[int, str] = {}  # `untradable` by the list of assets
        self._unlent: tuple[int, ...] = ()  # columns that cannot be sold short
        self._lent_asked = 0  # when `_unlent` was last read (ns UTC)

    async def open(self) -> None:
        """Connect, and compare clock, instruments and account with the venue.

        Raises VenueError with every mistake and its remedy, ConnectionError when the venue does not answer.
        """
        wrong = await refuse_clock(self._rest, self._settings, self._now)
        account = (await self._rest.read("v2/account")).value(Account)
        if account.status != "ACTIVE":
            wrong.append((f"the account is {account.status}, not ACTIVE", "complete the account on the venue's site"))
        if account.currency != self._universe.currency:
            text = f"the account is in {account.currency}, [universe] currency is {self._universe.currency}"
            wrong.append((text, f'set currency = "{account.currency}", or use another account'))
        if other := other_account(self.identity, account.account_number):
            remedy = f"set the keys of account {self.identity.account}, or start with --fresh, which begins a new run"
            wrong.append((other, remedy))
        known = self.identity.assets
        assets, self._unlisted, mistakes = await read_listing(
            self._rest, self._universe, known, continues=self.continues
        )
        self.untradable = self._unlisted
        ids = {symbol: asset.id for symbol, asset in assets.items()}
        self.identity = Identity(self.identity.account or account.account_number, ids | known)
        self._desk.ticks = {
            symbol: nano(asset.price_increment) for symbol, asset in assets.items() if is_crypto(symbol)
        }
        self._desk.least_nano = {symbol: nano(asset.min_order_size) for symbol, asset in assets.items()}
        # columns that the venue does not lend, so that they cannot be sold short, and when this was asked
        self._unlent, self._lent_asked = unlent(self._universe, assets), self._now()
        wrong += mistakes
        if wrong:
            raise VenueError(
                "Alpaca",
                "; ".join(fault for fault, _ in wrong),
                "; ".join(dict.fromkeys(remedy for _, remedy in wrong)),
            )
        if self._watch is None and any(map(is_crypto, self._universe.symbols)):
            self._watch = asyncio.create_task(self._cancel_overdue_pairs())

    async def close(self) -> None:
        """Disconnect: cancel the task that ends overdue orders of pairs, then close the stream and the HTTP
        connection."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self._stream.close()
        await self._rest.close()

    async def _cancel_overdue_pairs(self) -> None:
        """Cancel orders of crypto pairs whose end time has passed; the stream reports the result."""
        while True:
            await asyncio.sleep(WATCH_S)
            await self._desk.cancel_overdue()

    async def submit(self, basket: OrderBasket, rows: Sequence[int] | None = None) -> Sequence[BrokerNews]:
        """Send a basket of orders, or only the orders in its `rows`. An order that the venue already has is not sent
        again.

        If Alpaca has begun to refuse the keys, the reports end with a Condition event: the account may not trade.
        """
        return self._with_refused_keys(await self._desk.submit(basket, rows))

    async def cancel(self, sample: int, n: int, row: int, ts: int) -> Sequence[BrokerNews]:
        """Request the cancellation of the order in `row` of basket (`sample`, `n`); the end is reported later.

        If Alpaca has begun to refuse the keys, the reports end with a Condition event: the account may not trade.
        """
        return self._with_refused_keys(await self._desk.cancel(sample, n, row, ts))

    async def query(self, sample: int, n: int, rows: Sequence[int]) -> Sequence[BrokerNews]:
        """Return the executions and the state of the orders in `rows` of basket (`sample`, `n`).

        If Alpaca has begun to refuse the keys, the reports end with a Condition event: the account may not trade.
        """
        return self._with_refused_keys(await self._desk.query(sample, n, rows))

    async def replace(self, sample: int, n: int, row: int, basket: OrderBasket) -> Sequence[BrokerNews]:
        """Replace the order in `row` of basket (`sample`, `n`) by the only order of `basket`.

        If Alpaca has begun to refuse the keys, the reports end with a Condition event: the account may not trade.
        """
        return self._with_refused_keys(await exchange(self._desk, sample, n, row, basket))

    def _with_refused_keys(self, news: Sequence[BrokerNews]) -> Sequence[BrokerNews]:
        """Return the reports. If the venue has begun to refuse the keys, a Condition event follows: the account may not
        trade."""
        previous, self._refused = self._refused, self._rest.refused
        if self._refused is None or previous is not None:
            return news
        return [*news, Condition(self._now(), "account", False, str(self._refused))]

    async def account(self) -> VenueAccount:
        """Read cash, holdings and open orders from the venue.

        Once an hour, also read which shares can be borrowed for short sales and which assets are tradable.
        """
        account = await read_account(
            self._rest, self._universe, self._desk.orders, self._desk.ticks, self._now, self.identity
        )
        if self._now() - self._lent_asked >= LENT_NS:
            # the lists of lent shares and of tradable assets change daily
            assets, self._unlisted, _ = await read_listing(
                self._rest, self._universe, self.identity.assets, continues=True
            )
            self._unlent, self._lent_asked = unlent(self._universe, assets), self._now()
        symbols = self._universe.symbols
        self.untradable = {k: renamed_text(symbols[k], name) for k, name in account.renamed} | self._unlisted
        return msgspec.structs.replace(account, unlent=self._unlent)

    async def flows(self, since: int) -> Sequence[VenueFlow]:
        return await read_flows(self._rest, self._universe, since, self._now)

    async def trades(self, since: int) -> Sequence[VenueTrade]:
        """Return the executions in symbols of the universe later than `since` (ns UTC). Raises ConnectionError when
        the venue does not answer."""
        return await read_trades(self._rest, self._universe, since)

    async def news(self) -> AsyncIterator[BrokerNews]:
        """Yield reports from the stream of trade updates, and a Condition event when the connection is lost or
        restored.

        After a reconnection, the venue's clock and ours are compared again.
        """
        up = True
        async for event in self._stream.items():
            match event:
                case Connected():
                    if not up:
                        up = True
                        yield Condition(self._now(), "broker", True)
                        for condition in await self._compare_clocks():
                            yield condition
                case Lost():
                    if up:
                        up = False
                        yield Condition(self._now(), "broker", False, str(event))
                case Update():
                    await self._desk.learn(event)
                    for report in self._desk.update(event):
                        yield report

    async def _compare_clocks(self) -> Sequence[BrokerNews]:
        """Compare the venue's clock with ours after an interruption; return a report of a difference, or nothing."""
        try:
            wrong = await refuse_clock(self._rest, self._settings, self._now)
        except (ConnectionError, VenueError):
            return []
        return [Condition(self._now(), "clock", False, wrong[0][0])] if wrong else []


def broker(login: Login) -> Alpaca:
    """Return the account of the keys, not yet connected. Raises VenueError without a key."""
    key, secret = login.secrets["alpaca_key"], login.secrets["alpaca_secret"]
    if not (key and secret):
        remedy = "Set QUANTD_ALPACA_KEY and QUANTD_ALPACA_SECRET, or give systemd credentials"
        raise VenueError("Alpaca", "no key was given", remedy)
    url = login.url or (VENUE.live_url if login.live else VENUE.paper_url)
    settings = AlpacaSettings(
        url=url, stream_url=url.replace("http", "ws", 1).rstrip("/") + "/stream", key=key, secret=secret,
        timeout_s=login.timeout_s, settle_s=login.settle_s,
    )  # fmt: skip
    return Alpaca(settings, login.universe, login.run)


async def may_withdraw(login: Login) -> bool:
    """Return False: a key of the trading API cannot withdraw."""
    return False
