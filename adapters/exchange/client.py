"""One connection to an exchange through ccxt: opened off the loop, at another address where told, and strict about answers.

What ccxt makes of a broken answer is an empty list: here it is an error, as nobody may conclude from it that an order
does not exist.
"""

import asyncio
import contextlib
import importlib
from collections.abc import Awaitable, Callable
from difflib import get_close_matches
from typing import Any, Final, Protocol, cast
from urllib.parse import urlsplit, urlunsplit

from msgspec import Struct

from quantd.adapters.exchange.dialects import Dialect, dialect
from quantd.adapters.exchange.errors import NotWhole, Outcome, outcome
from quantd.adapters.pace import Pace, Rate

HANG_UP_S: Final = 3.0
"""How long a connection may take to close; aiohttp's can wait for ever for a reader that is gone."""

_LONGEST_TEXT: Final = 300


class Access(Struct, frozen=True):
    """Which exchange, as whom, and how patiently. `url` puts all its addresses on another host; `sandbox` uses its
    own test venue. `per_minute` are questions and, apart from them, orders; 0 keeps no pace. No text has the secrets."""

    venue: str
    key: str = ""
    secret: str = ""
    password: str = ""
    url: str | None = None
    sandbox: bool = False
    timeout_s: float = 10.0
    per_minute: int = 30
    orders_per_minute: int = 60

    def __repr__(self) -> str:
        return f"Access(venue={self.venue!r})"

    def scrub(self, text: object) -> str:
        """What may be shown of a text: short, in one line, and without secrets."""
        said = " ".join(str(text).split())
        for hidden in (self.key, self.secret, self.password):
            if len(hidden) > 3:
                said = said.replace(hidden, "***")
        return said if len(said) <= _LONGEST_TEXT else said[:_LONGEST_TEXT] + "..."


class NoExchange(Exception):
    """ccxt is not there, or has no such exchange, or no sandbox of it; `remedy` says what to do."""

    def __init__(self, wrong: str, remedy: str) -> None:
        self.wrong, self.remedy = wrong, remedy
        super().__init__(f"{wrong}. {remedy}")


class Exchange(Protocol):
    """What is used of a ccxt exchange. Numbers are text."""

    id: str
    has: dict[str, Any]
    features: dict[str, Any]
    fees: dict[str, Any]
    markets: dict[str, Any]
    timeframes: dict[str, Any]
    urls: dict[str, Any]
    clients: dict[str, Any]
    ws_dial_backoff: dict[str, Any]
    number: Any
    timeout_on_exit: int
    last_response_headers: dict[str, str] | None
    fetch: Callable[..., Awaitable[Any]]
    fetch2: Callable[..., Awaitable[Any]]

    async def load_markets(self) -> dict[str, Any]: ...
    async def fetch_time(self) -> int: ...
    async def fetch_status(self) -> dict[str, Any]: ...
    async def fetch_balance(self) -> dict[str, Any]: ...
    async def fetch_my_trades(
        self, symbol: str | None, since: int | None, limit: int | None, params: dict[str, Any]
    ) -> list[dict[str, Any]]: ...
    async def fetch_open_orders(self, symbol: str | None = None) -> list[dict[str, Any]]: ...
    async def fetch_ledger(
        self, code: str | None, since: int | None, limit: int | None, params: dict[str, Any]
    ) -> list[dict[str, Any]]: ...
    async def fetch_ohlcv(
        self, symbol: str, timeframe: str, since: int | None, limit: int | None
    ) -> list[list[Any]]: ...
    async def create_order(
        self, symbol: str, type: str, side: str, amount: str, price: str | None, params: dict[str, Any]
    ) -> dict[str, Any]: ...
    async def cancel_order(self, id: str | None, symbol: str, params: dict[str, Any]) -> dict[str, Any]: ...
    async def watch_orders(self) -> list[dict[str, Any]]: ...
    async def watch_my_trades(self, symbol: str | None, since: None, limit: None, params: dict[str, Any]) -> object: ...
    async def watch_ohlcv(self, symbol: str, timeframe: str) -> list[list[Any]]: ...
    async def close_ws_clients(self) -> None: ...
    async def close(self) -> None: ...


async def connect(access: Access) -> Exchange:
    """An exchange of ccxt, not yet asked for anything. Raises NoExchange."""
    try:
        # seconds: all its exchanges are imported with it
        pro = await asyncio.to_thread(importlib.import_module, "ccxt.pro")
        plain = importlib.import_module("ccxt.async_support")
    except ImportError:
        raise NoExchange("ccxt is not installed", 'Install it with: pip install "quantd[ccxt]"') from None
    if access.venue not in plain.exchanges:
        near = get_close_matches(access.venue, plain.exchanges, n=1)
        raise NoExchange(f'ccxt has no exchange "{access.venue}"', f"Did you mean {near[0]}?" if near else "Check it")
    make = getattr(pro if access.venue in pro.exchanges else plain, access.venue)
    local = access.url is not None and access.url.startswith("http://")
    exchange = make(
        {
            "apiKey": access.key, "secret": access.secret, "password": access.password,
            "timeout": int(access.timeout_s * 1000),
            "enableRateLimit": False,  # its own spends three seconds on every question; Pace allows bursts
            "verify": not local,
        }
    )  # fmt: skip
    exchange.number = str
    if access.sandbox:
        if not exchange.urls.get("test"):
            await exchange.close()
            raise NoExchange(f"{access.venue} has no sandbox", 'Use [quantd] mode = "shadow" or the paper broker')
        exchange.set_sandbox_mode(True)
    if access.url is not None:
        exchange.urls["api"] = _moved(exchange.urls["api"], access.url)
        if local:
            exchange.timeout_on_exit = 0  # it waits for TLS to end
    speaks = dialect(access.venue)
    exchange.fetch = strict(exchange.fetch, speaks)
    if access.per_minute:
        asks = Pace(Rate(access.per_minute), max(1, access.per_minute // 2))
        orders = Pace(Rate(access.orders_per_minute), access.orders_per_minute)
        exchange.fetch2 = paced(exchange.fetch2, speaks, asks, orders)
    return cast(Exchange, exchange)


async def hang_up(exchange: Exchange) -> None:
    """Close the streams of an exchange and forget them."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(exchange.close_ws_clients(), HANG_UP_S)
    exchange.clients.clear()


async def leave(exchange: Exchange) -> None:
    """Close everything of an exchange."""
    await hang_up(exchange)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(exchange.close(), HANG_UP_S)


def strict(fetch: Callable[..., Awaitable[Any]], speaks: Dialect) -> Callable[..., Awaitable[Any]]:
    """The exchange's own fetch, with an error for an answer that is none."""

    async def fetch_whole(*request: Any) -> Any:
        answer = await fetch(*request)
        if not speaks.whole(answer):
            raise NotWhole("the answer is not what was agreed")
        return answer

    return fetch_whole


def paced(
    ask: Callable[..., Awaitable[Any]], speaks: Dialect, asks: Pace, orders: Pace
) -> Callable[..., Awaitable[Any]]:
    """The exchange's own way from a path to an answer, in its turn: before it is signed, as what is signed first has to
    arrive first."""

    async def ask_in_turn(path: str, *request: Any) -> Any:
        pace = orders if path in speaks.makes_orders else asks
        for _ in range(2 if path in speaks.counts_twice else 1):
            await pace.turn()
        return await ask(path, *request)

    return ask_in_turn


def _moved(urls: Any, to: str) -> Any:
    """All addresses on another host, with their own paths; a WebSocket stays one."""
    if isinstance(urls, dict):
        return {name: _moved(each, to) for name, each in urls.items()}
    if not isinstance(urls, str):
        return urls
    here, there = urlsplit(urls), urlsplit(to)
    scheme = there.scheme
    if here.scheme in ("ws", "wss"):
        scheme = "wss" if scheme == "https" else "ws"
    return urlunsplit((scheme, there.netloc, here.path, here.query, ""))


def asked_to_wait_s(exchange: Exchange, longest_s: float) -> float:
    """How long the last answer asks us to wait (Retry-After, RFC 9110 section 10.2.3, in seconds), 0 when it does not."""
    text = (exchange.last_response_headers or {}).get("Retry-After", "")
    try:
        return min(max(float(text), 0.0), longest_s)
    except ValueError:
        return 0.0


async def patiently(exchange: Exchange, ask: Callable[[], Awaitable[Any]], patience_s: float) -> Any:
    """Ask; while nothing was accepted because we came too often, wait and ask again, `patience_s` in all."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_s
    pause = 0.05
    while True:
        try:
            return await ask()
        except Exception as error:
            if outcome(error) is not Outcome.AGAIN:
                raise
            wait = max(pause, asked_to_wait_s(exchange, patience_s))
            if loop.time() + wait >= deadline:
                raise
        await asyncio.sleep(wait)
        pause = min(2 * pause, 5.0)
