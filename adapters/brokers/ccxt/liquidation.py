"""The emergency exit of a spot account at a crypto exchange: cancels every order, and sells every coin at market."""

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any, Final

from quantd.adapters.brokers.account_exit import Ended, Holding, WorkingOrder, quantity
from quantd.adapters.brokers.ccxt.broker import access_of
from quantd.adapters.brokers.ccxt.connection import CryptoSettings, Line
from quantd.adapters.brokers.ccxt.wire import history_of
from quantd.adapters.brokers.venue import Login
from quantd.adapters.brokers.venue_errors import KeysRefused, VenueError
from quantd.adapters.exchange.client import NoExchange, connect
from quantd.adapters.exchange.exchange_errors import outcome
from quantd.adapters.exchange.numbers import NotExact, decimal
from quantd.adapters.exchange.refusal_words import Outcome

CASH: Final = frozenset(
    {
        "USD", "EUR", "GBP", "CHF", "CAD", "AUD", "NZD", "JPY", "SGD", "HKD", "BRL", "MXN", "TRY", "PLN", "SEK", "NOK",
        "DKK", "CZK", "KRW", "USDT", "USDC", "USDP", "TUSD", "DAI", "PYUSD", "FDUSD", "RLUSD", "USDG", "EURC",
    }
)  # fmt: skip
"""Currencies, and coins with the value of a currency. They are money and no positions, and are not sold."""

PAGES: Final = 4
"""Maximum number of pages of ended orders that are read for the ends of cancelled ones."""

REMEDY: Final = "Check key and secret, and what the key is allowed to do, at the venue"


class CryptoExit:
    """The emergency exit of one account; implements `AccountExit`. Coins are sold for `currency`.

    A spot sale needs the coins that it sells: a repeated sale is refused and never opens a short position. Margin and
    derivative positions are not read.
    """

    def __init__(self, line: Line, currency: str) -> None:
        self._line, self._currency = line, currency
        self.where = self.page = line.access.venue
        self._prices: dict[str, Decimal | None] = {}
        self._markets: dict[str, Any] = {}

    async def open(self) -> None:
        """Connect to the exchange.

        Raises VenueError for an exchange that ccxt does not have, or whose client cannot be created.
        """
        try:
            self._line.take(await connect(self._line.access))
        except NoExchange as error:
            raise VenueError(self.where, error.wrong, error.remedy) from None
        self.page = str(self._line.exchange.urls.get("www") or self.where)

    async def close(self) -> None:
        await self._line.close()

    async def number(self) -> str:
        """Return empty text: exchanges of ccxt have no account number."""
        return ""

    async def orders(self) -> Sequence[WorkingOrder]:
        """Return every open order of the account, whoever placed it."""
        orders = await self._ask(self._line.open_orders)
        return [
            WorkingOrder(
                str(order["id"]),
                str(order["symbol"] or ""),
                str(order.get("side") or ""),
                _quantity_of(order, "amount"),
                _quantity_of(order, "filled"),
            )
            for order in orders
        ]

    async def cancel_all(self) -> None:
        """Cancel every open order in one request; do nothing at an exchange without such a request for all symbols."""
        if self._line.exchange.has.get("cancelAllOrders") is True and not self._line.dialect.by_symbol:
            await self._ask(self._line.exchange.cancel_all_orders)

    async def cancel(self, order: WorkingOrder) -> None:
        await self._ask(lambda: self._line.exchange.cancel_order(order.id, order.symbol))

    async def ended(self, orders: Sequence[WorkingOrder]) -> dict[str, Ended]:
        """Return how orders ended, by order id, from at most PAGES pages of the exchange's order history.

        Returns nothing at an exchange without such a history.
        """
        exchange, page = self._line.exchange, self._line.dialect.page
        name, ids = history_of(exchange.has), {order.id for order in orders}
        ends: dict[str, Ended] = {}
        if self._line.dialect.by_symbol:
            for order in orders:
                one = await self._ask(partial(exchange.fetch_order, order.id, order.symbol))
                if one.get("status") != "open":
                    ends[order.id] = Ended(str(one["status"]), _quantity_of(one, "filled"))
            return ends
        offset = 0
        for _ in range(PAGES if name else 0):
            params = page(offset) if page is not None else {}
            # None for symbol, since and limit: the orders of all symbols, with the page chosen by `params`
            listed = await self._ask(partial(getattr(exchange, name), None, None, None, params))
            for order in listed:
                if str(order["id"]) in ids and order.get("status") != "open":
                    ends[str(order["id"])] = Ended(str(order["status"]), _quantity_of(order, "filled"))
            offset += len(listed)
            if page is None or len(ends) == len(ids) or len(listed) < self._line.dialect.page_size:
                break
        return ends

    async def holdings(self) -> Sequence[Holding]:
        """Return every coin with a balance, except those in CASH, as a pair with the account's currency.

        The quantity is the whole balance, including what open orders reserve.
        """
        exchange = self._line.exchange
        if not self._markets:
            self._markets = await self._ask(exchange.load_markets)
        balance = await self._ask(exchange.fetch_balance)
        coins = {
            f"{code}/{self._currency}": _number_of(total)
            for code, total in balance["total"].items()
            if code not in CASH and code != self._currency and _number_of(total)
        }
        # a balance that cannot be read is not zero: it is listed, and nothing is sold
        coins |= {f"{code}/{self._currency}": Decimal("NaN") for code in self._line.unread_coins() - CASH}
        await self._read_prices([name for name in coins if name in self._markets])
        return [self._holding(name, qty) for name, qty in coins.items()]

    def _holding(self, name: str, qty: Decimal) -> Holding:
        """Return the holding; its worth is None without a price. A holding below the venue's least order has the
        reason in `dust`.

        A coin without a market has no least order.
        """
        if quantity(qty) is None:
            return Holding(name, qty)  # the caller reports it with a fault and sends no order
        price = self._prices.get(name)
        worth = None if price is None else qty * price
        if name not in self._markets:
            return Holding(name, qty, worth)
        limits = self._markets[name]["limits"]
        min_amount, min_cost = _minimum(limits, "amount"), _minimum(limits, "cost")
        if qty > 0 and self._in_steps(name, qty) < max(min_amount, Decimal("1e-18")):  # 0 steps are dust too
            return Holding(name, qty, worth, f"less than the venue's least order of {min_amount:f}")
        if worth is not None and 0 < worth < min_cost:
            return Holding(
                name, qty, worth, f"worth less than the venue's least order of {min_cost:f} {self._currency}"
            )
        return Holding(name, qty, worth)

    def _in_steps(self, name: str, qty: Decimal) -> Decimal:
        """Round a quantity down to the venue's quantity step for market `name`."""
        step = decimal(self._markets[name]["precision"].get("amount") or "0")
        return qty // step * step if step else qty

    async def _read_prices(self, names: Sequence[str]) -> None:
        """Read the last prices of markets that were not read yet. Without prices the exit continues."""
        missing = [name for name in names if name not in self._prices]
        if not missing or not self._line.exchange.has.get("fetchTickers"):
            return
        # None for each: a market without a price is not queried again
        self._prices |= dict.fromkeys(missing)
        try:
            tickers = await self._ask(lambda: self._line.exchange.fetch_tickers(missing))
        except (VenueError, ConnectionError):
            return
        for name in missing:
            with suppress(NotExact):
                self._prices[name] = decimal((tickers.get(name) or {}).get("last"))

    async def close_position(self, holding: Holding, client_id: str) -> str:
        """Sell the holding by a market order, rounded down to whole quantity steps of the market.

        Raises VenueError for a debt (a negative balance), and for a coin without a market.
        """
        if holding.symbol not in self._markets:
            raise VenueError(self.where, f"there is no market {holding.symbol}", "Convert it at the venue's web page")
        if holding.qty < 0:
            raise VenueError(
                self.where, "the account owes this coin, so that it cannot be sold", "Repay it at the venue's web page"
            )
        dialect = self._line.dialect
        client_id = dialect.client_id(client_id)
        params = {"clientOrderId": client_id, **dialect.order, **self._line.deadline(time.time_ns())}
        sell_qty = f"{self._in_steps(holding.symbol, holding.qty):f}"
        exchange = self._line.exchange
        # None: a market order has no price
        order = await self._ask(lambda: exchange.create_order(holding.symbol, "market", "sell", sell_qty, None, params))
        return str(order["id"])

    async def _ask(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Send one request, and repeat it while the venue refuses it because of the rate limit."""
        try:
            return await self._line.ask(ask)
        except Exception as error:
            words = self._line.words(error)
            match outcome(error, self._line.dialect.means):
                case Outcome.DENIED:
                    raise KeysRefused(self.where, f"the keys are refused ({words})", REMEDY) from None
                case Outcome.REFUSED | Outcome.NOT_FOUND | Outcome.TAKEN:
                    raise VenueError(self.where, f"refused ({words})", f"See {self.page}") from None
                case Outcome.AGAIN | Outcome.UNKNOWN | Outcome.STRANGE:
                    raise self._line.lost(error) from None


def _quantity_of(order: dict[str, Any], name: str) -> Decimal:
    return Decimal("NaN") if order.get("unread") else _number_of(order.get(name))


def _number_of(text: object) -> Decimal:
    """Parse a quantity of the venue; NaN for an unreadable one, so that one bad item does not hide the others."""
    try:
        return decimal(text or "0")
    except NotExact:
        return Decimal("NaN")


def _minimum(limits: dict[str, Any], name: str) -> Decimal:
    """Return the venue's minimum of an order in `name` ("amount" or "cost"), 0 without one."""
    return decimal((limits.get(name) or {}).get("min") or "0")


def account_exit(login: Login) -> CryptoExit:
    """Return the emergency exit of the account at an exchange, not yet connected."""
    settings = CryptoSettings(access_of(login), settle_s=login.settle_s, patience_s=login.timeout_s)
    return CryptoExit(Line(settings), login.universe.currency)
