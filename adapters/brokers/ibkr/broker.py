"""The broker at Interactive Brokers; implements `quantd.trading.ports.Broker`.

The gateway holds the log-in: quantd has no password, and the number of the account is its only key. The gateway ends
every connection at its nightly restart, and waits for a person at its weekly log-in; both are an interruption here,
after which the lists are read before the venue counts as up.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Final

from quantd.adapters.brokers.ibkr import VENUE
from quantd.adapters.brokers.ibkr.account import amount, read_account, read_contracts, read_trades, read_values
from quantd.adapters.brokers.ibkr.connection import WHERE, IbkrSettings, first_connection
from quantd.adapters.brokers.ibkr.orders import Desk
from quantd.adapters.brokers.ibkr.wire import client_id_of
from quantd.adapters.brokers.venue import Login
from quantd.adapters.brokers.venue_errors import VenueError
from quantd.trading.events import Condition
from quantd.trading.instruments import NANO, Universe
from quantd.trading.orders import Cause, OrderBasket
from quantd.trading.ports import BrokerNews, Identity, VenueAccount, VenueFlow, VenueTrade

MOST_NEWS: Final = 4096
"""Maximum length of the queue of news; what finds no place is found by a query."""


class Ibkr:
    """One account at Interactive Brokers. `run` is the id of the run, from which references of orders and the client id
    are derived. `now` returns ns UTC."""

    def __init__(
        self, settings: IbkrSettings, universe: Universe, run: str, now: Callable[[], int] = time.time_ns
    ) -> None:
        """Prepare the account; `open` connects.

        `continues` is set by the caller if the run continues an earlier one. `untradable` maps a column of the universe
        to the reason why the venue does not trade it.
        """
        self._settings, self._universe, self._now = settings, universe, now
        self._queue: asyncio.Queue[BrokerNews | None] = asyncio.Queue(MOST_NEWS)
        self._desk = Desk(settings, universe, run, now, self._say)
        self._desk.gone, self._desk.usable = self._lost, lambda: self._desk.look_soon(0)
        self.remember = self._desk.remember
        self.set_aside = self._desk.line.unreadable.taken
        self.continues = False
        self.identity = Identity()
        self.untradable: dict[int, str] = {}
        self._keeper: asyncio.Task[None] | None = None
        self._up = True
        self._wake = asyncio.Event()

    # ---------------------------------------------------------------- the connection

    async def open(self) -> None:
        """Connect, and compare account, currency, clock and contracts with the venue.

        Raises VenueError with every mistake and its remedy, ConnectionError when the gateway does not answer.
        """
        await first_connection(self._desk.line)
        try:
            await self._compare()
        except BaseException:
            await self.close()
            raise
        self._desk.opened_at = self._now()
        self._keeper = asyncio.create_task(self._keep())

    async def _compare(self) -> None:
        line, currency = self._desk.line, self._universe.currency
        wrong = await self._clock_mistakes()
        values = await read_values(line)
        if amount(values, "NetLiquidation", currency) is None:
            base = ", ".join(sorted({of for key, of in values if key == "NetLiquidation"}))
            text = f"the account is in {base or 'no currency'}, [universe] currency is {currency}"
            wrong.append((text, f'set currency = "{base}", or use another account'))
        if self.identity.account not in ("", self._settings.account):
            text = f"the account is {self._settings.account}, and this run has traded in {self.identity.account}"
            wrong.append((text, "set QUANTD_IBKR_ACCOUNT to that account, or start with --fresh"))
        assets = self.identity.assets
        contracts, self.untradable, mistakes = await read_contracts(
            line, self._universe, assets, continues=self.continues
        )
        if wrong := wrong + mistakes:
            raise VenueError(
                WHERE, "; ".join(fault for fault, _ in wrong), "; ".join(dict.fromkeys(remedy for _, remedy in wrong))
            )
        self._desk.contracts = contracts
        ids = {self._universe.symbols[column]: str(contract.conId) for column, contract in contracts.items()}
        self.identity = Identity(self._settings.account, ids | assets)

    async def _clock_mistakes(self) -> list[tuple[str, str]]:
        """Compare the venue's clock, which has whole seconds, with ours."""
        listing = await self._desk.line.list("time", lambda client, _: client.reqCurrentTime())
        theirs, ours = listing.items[0], self._now() / NANO
        if abs(theirs + 0.5 - ours) <= self._settings.skew_s:
            return []
        text = f"the venue's clock says {theirs} s and ours {ours:.1f} s since 1970"
        return [(text, "Synchronise the clock of this machine")]

    def _say(self, report: BrokerNews) -> None:
        try:
            self._queue.put_nowait(report)
        except asyncio.QueueFull:
            self._desk.line.unreadable.name("nobody read the venue's news: a report was dropped", report)

    def _lost(self, words: str) -> None:
        if self._up:
            self._up = False
            self._say(Condition(self._now(), "broker", False, words))
        self._wake.set()

    async def _keep(self) -> None:
        """Keep the connection: connect again after a loss, and look for news that were lost while it lived."""
        line, settings = self._desk.line, self._settings
        pause = settings.retry_first_s
        while True:
            try:
                if line.lost.is_set():
                    await line.connect()
                await line.client()
                await self._desk.look()
            except (ConnectionError, VenueError) as error:
                self._lost(str(error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, settings.retry_most_s)
                continue
            if not self._up:
                self._up = True
                self._say(Condition(self._now(), "broker", True))
            pause = settings.retry_first_s
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(settings.beat_s):
                    await self._wake.wait()

    async def close(self) -> None:
        """Disconnect. Open orders stay open at the venue."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await self._desk.close()
        self._desk.line.drop("")
        if self._queue.full():
            self._queue.get_nowait()
        self._say_end()

    def _say_end(self) -> None:
        self._queue.put_nowait(None)

    async def news(self) -> AsyncIterator[BrokerNews]:
        """Yield executions and ends of orders, and Condition events when the venue is lost or back, until `close`."""
        while (report := await self._queue.get()) is not None:
            yield report

    # ---------------------------------------------------------------- orders

    async def submit(self, basket: OrderBasket, rows: Sequence[int] | None = None) -> Sequence[BrokerNews]:
        """Send a basket of orders, or only those in its `rows`. An order that the venue already has is not sent
        again."""
        basket_rows = self._desk.orders.add(basket)
        chosen = basket_rows if rows is None else [basket_rows[row] for row in rows]
        return await asyncio.gather(*map(self._desk.submit, chosen))

    async def cancel(self, sample: int, n: int, row: int, ts: int) -> Sequence[BrokerNews]:
        """Request the cancellation of the order in `row` of basket (`sample`, `n`); the end is reported later."""
        desk = self._desk
        for sent in desk.orders.rows(sample, n, [row]):
            async with sent.lock:
                report = await desk.cancel(sent)
            return [] if report is None else [report]
        return [desk.not_cancelled_row(sample, n, row)]

    async def query(self, sample: int, n: int, rows: Sequence[int]) -> Sequence[BrokerNews]:
        """Return the executions and the state of the orders in `rows` of basket (`sample`, `n`)."""
        sent_rows, news = self._desk.orders.wanted(sample, n, rows, self._now())
        return [*news, *await asyncio.gather(*map(self._desk.query, sent_rows))]

    async def replace(self, sample: int, n: int, row: int, basket: OrderBasket) -> Sequence[BrokerNews]:
        """Replace the order in `row` of basket (`sample`, `n`) by the only order of `basket`: a cancel, its end, and
        then the new order."""
        new = self._desk.orders.add(basket)[0]
        for old in self._desk.orders.rows(sample, n, [row]):
            return await self._desk.replace(old, new)
        return [self._desk.end(new, Cause.EXPIRED, "never sent: the order it replaces is not known")]

    # ---------------------------------------------------------------- the account

    async def account(self) -> VenueAccount:
        """Read cash, holdings and open orders. Raises ConnectionError."""
        return await read_account(self._desk)

    async def flows(self, since: int) -> Sequence[VenueFlow]:
        """Return late commissions. The venue lists no deposits, dividends and the like to a program: its Flex
        statements have them. Raises ConnectionError when the gateway cannot be reached."""
        await self._desk.line.client()
        return [flow for flow in self._desk.late_fees if flow.ts > since]

    async def trades(self, since: int) -> Sequence[VenueTrade]:
        """Return the executions of today in symbols of the universe later than `since`. Raises ConnectionError."""
        return await read_trades(self._desk, since)


def settings_of(login: Login, client: str) -> IbkrSettings:
    """Return the settings of a login; `client` is the text of which the client id is derived. Raises VenueError."""
    account = login.secrets["ibkr_account"]
    if not account:
        raise VenueError(WHERE, "no account was given", "Set QUANTD_IBKR_ACCOUNT, or give a systemd credential")
    url = login.url or (VENUE.live_url if login.live else VENUE.paper_url)
    host, _, port = url.rpartition("://")[2].rstrip("/").rpartition(":")
    if not host or not port.isdecimal():
        raise VenueError(WHERE, f"{url!r} is no address of a gateway", f'Write url = "{VENUE.paper_url}"')
    return IbkrSettings(
        host, int(port), account, client_id_of(client), paper=not login.live, timeout_s=login.timeout_s,
        settle_s=login.settle_s,
    )  # fmt: skip


def broker(login: Login) -> Ibkr:
    """Return the account as a broker, not yet connected. Raises VenueError without an account."""
    return Ibkr(settings_of(login, login.run), login.universe, login.run)


async def may_withdraw(login: Login) -> bool:
    """Return False: the API has no request that moves money."""
    return False
