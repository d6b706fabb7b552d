"""One ccxt connection to an exchange: opened in a worker thread, optionally at another address, with strict answers.

ccxt converts a malformed answer into an empty list. Here a malformed answer is an error, because an empty list would
imply that an order does not exist.
"""

import asyncio
import contextlib
import importlib
import re
from collections.abc import Awaitable, Callable, Mapping
from copy import deepcopy
from difflib import get_close_matches
from typing import Any, Final, Protocol, cast
from urllib.parse import urlsplit, urlunsplit

import msgspec
from msgspec import Struct

from quantd.adapters.exchange.dialects import Dialect, dialect_of
from quantd.adapters.exchange.exchange_errors import MalformedAnswer, outcome
from quantd.adapters.exchange.refusal_words import Outcome
from quantd.adapters.pace import Pace, Rate, retry_after_s
from quantd.adapters.proxies import ProxyWrong, proxy_of
from quantd.adapters.wire_record import RECORD, WireRecord
from quantd.extras import command
from quantd.trading.display_text import one_line

HANG_UP_S: Final = 3.0
"""Longest time to close a connection, in seconds; aiohttp's close can wait forever for a disconnected reader."""

SHORT_WAIT_S: Final = 1.0
"""A shorter wait that an exchange demands is waited for; until the end of a longer one each request is refused here."""

LONGEST_BAN_S: Final = 3 * 86_400.0
"""The longest ban of Binance, three days (rest-api.md, IP Limits)."""

NOT_DOCUMENTED: Final = "the answer is not in the form that the exchange documents"

_LONGEST_TEXT: Final = 300


class Access(Struct, frozen=True):
    """Name, credentials, address and rate limits of an exchange.

    `url` replaces the host of all addresses of the exchange; `sandbox` selects the exchange's test venue. `per_minute`
    limits queries and `orders_per_minute` orders, None as the exchange's dialect does; with `per_minute` 0 neither is
    limited. Text forms never include secrets.
    """

    venue: str
    key: str = ""
    secret: str = ""
    password: str = ""
    url: str | None = None
    sandbox: bool = False
    timeout_s: float = 10.0
    per_minute: int | None = None
    orders_per_minute: int | None = None

    def __repr__(self) -> str:
        return f"Access(venue={self.venue!r})"

    def scrub(self, text: object) -> str:
        """Return a printable form of a text: short, in one line, without secrets and signatures."""
        unsigned = _SIGNED.sub("signature=***", str(text))
        return one_line(unsigned, _LONGEST_TEXT, (self.key, self.secret, self.password))


class NoExchange(Exception):
    """ccxt is not installed, or lacks the exchange or its sandbox; `remedy` is the correction."""

    def __init__(self, wrong: str, remedy: str) -> None:
        self.wrong, self.remedy = wrong, remedy
        super().__init__(f"{wrong}. {remedy}")


_SIGNED: Final = re.compile(r"signature=[^\s&;]*")
"""The signature in the address of a request, which is valid for some seconds."""

Call = Callable[..., Awaitable[Any]]


class Exchange(Protocol):
    """The methods and fields of a ccxt exchange that quantd uses, with ccxt's parameters. Numbers in answers are
    text."""

    id: str
    has: dict[str, Any]
    timeout: int
    urls: dict[str, Any]
    features: dict[str, Any]
    timeframes: dict[str, Any]
    clients: dict[str, Any]
    ws_dial_backoff: dict[str, Any]
    last_response_headers: dict[str, str] | None
    load_markets: Call
    fetch_time: Call
    fetch_status: Call
    fetch_balance: Call
    fetch_my_trades: Call
    fetch_open_orders: Call
    fetch_order: Call
    fetch_ledger: Call
    fetch_ohlcv: Call
    fetch_tickers: Call
    create_order: Call
    cancel_order: Call
    cancel_all_orders: Call
    watch_orders: Call
    watch_my_trades: Call
    watch_ohlcv: Call
    close_ws_clients: Call
    fetch: Call
    markets: dict[str, Any]
    safe_currency_code: Callable[[str], str]
    close: Call


def market_of(markets: Mapping[str, Any], symbol: str, currency: str) -> str | None:
    """Return the exchange's name of a symbol's market in `currency`, None without a market. The symbols BTC/USD,
    BTC-USD and BTC mean the same market."""
    return next((name for name in (symbol, symbol.replace("-", "/"), f"{symbol}/{currency}") if name in markets), None)


async def connect(access: Access) -> Exchange:
    """Create a ccxt exchange without any request to it.

    Raises NoExchange without ccxt, for an unknown exchange, and for a sandbox that the exchange does not have.
    """
    try:
        # the import takes seconds, because it loads all exchanges
        stream_exchanges = await asyncio.to_thread(importlib.import_module, "ccxt.pro")
        rest_exchanges = importlib.import_module("ccxt.async_support")
    except ImportError:
        raise NoExchange("ccxt is not installed", f"Install it with: {command('ccxt')}") from None
    if access.venue not in rest_exchanges.exchanges:
        similar = get_close_matches(access.venue, rest_exchanges.exchanges, n=1)
        raise NoExchange(
            f'ccxt has no exchange "{access.venue}"', f"Did you mean {similar[0]}?" if similar else "Check it"
        )
    exchange_class = getattr(
        stream_exchanges if access.venue in stream_exchanges.exchanges else rest_exchanges, access.venue
    )
    dialect = dialect_of(access.venue)
    plain_http = access.url is not None and access.url.startswith("http://")
    exchange = exchange_class(
        {
            "apiKey": access.key, "secret": access.secret, "password": access.password,
            "timeout": int(access.timeout_s * 1000),
            "enableRateLimit": False,  # ccxt's limiter waits three seconds per query; Pace permits bursts
            "verify": not plain_http,
            "options": deepcopy(dialect.options),  # ccxt changes them
            "has": dict(dialect.has),
        }
    )  # fmt: skip
    # ccxt then returns numbers as text, so that no digit is lost
    exchange.number = str
    if access.sandbox:
        if not exchange.urls.get("test"):
            await exchange.close()
            remedy = 'Use [quantd] mode = "shadow" or the paper broker; `quantd doctor --venue` needs --live'
            raise NoExchange(f"{access.venue} has no sandbox", remedy)
        exchange.set_sandbox_mode(True)
    if access.url is not None:
        exchange.urls["api"] = _redirected(exchange.urls["api"], access.url)
        if plain_http:
            exchange.timeout_on_exit = 0  # otherwise it waits for the end of TLS
    _apply(dialect, exchange, access)
    _use_proxy(exchange)
    if access.key and (record := RECORD.get()) is not None:
        exchange.on_rest_response = recorded(record)
    exchange.fetch = strict(exchange.fetch, dialect)
    per_minute = dialect.per_minute if access.per_minute is None else access.per_minute
    if per_minute:
        orders = dialect.orders_per_minute if access.orders_per_minute is None else access.orders_per_minute
        # half of a minute's queries may go out at once, and all of a minute's orders
        query_pace = Pace(Rate(per_minute), max(1, per_minute // 2))
        order_pace = Pace(Rate(orders), min(orders, dialect.orders_at_once or orders))
        exchange.fetch2 = paced(exchange.fetch2, dialect, query_pace, order_pace)
    exchange.fetch2 = obedient(exchange.fetch2, exchange, dialect)
    return cast(Exchange, exchange)


def _apply(dialect: Dialect, exchange: Any, access: Access) -> None:
    """Set what the dialect says of errors, stream and window in a client of ccxt."""
    if dialect.own_errors and access.key:
        exchange.exceptions = {"exact": {}, "broad": {}}
    if dialect.stream_alive_ms:
        exchange.streaming["keepAlive"] = dialect.stream_alive_ms
        exchange.client = unheard(exchange.client)
    if dialect.window_option:
        exchange.options[dialect.window_option] = int(dialect.latest_s(access.timeout_s) * 1000)


async def hang_up(exchange: Exchange) -> None:
    """Close the WebSocket streams of an exchange and discard them."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(HANG_UP_S):
            await exchange.close_ws_clients()
    exchange.clients.clear()


async def leave(exchange: Exchange) -> None:
    await hang_up(exchange)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(HANG_UP_S):
            await exchange.close()


def unheard(client_of: Callable[[str], Any]) -> Callable[[str], Any]:
    """Wrap the exchange's function that returns the client of a stream, by address: an error for which nobody waits is
    not logged with its traceback. ccxt makes such an error when a stream that it subscribes to is lost."""

    def client(url: str) -> Any:
        stream = client_of(url)
        if not hasattr(stream, "heard_future"):
            stream.heard_future = stream.future

            def future(name: str) -> Any:
                heard = stream.heard_future(name)
                heard.add_done_callback(lambda done: done.cancelled() or done.exception())
                return heard

            stream.future = future
        return stream

    return client


def strict(fetch: Call, dialect: Dialect) -> Call:
    """Wrap the exchange's fetch method, so that an answer without a documented key raises MalformedAnswer.

    The items of a list are not read: one item of another form must not hide the others.
    """

    async def fetch_whole(url: str, *request: Any) -> Any:
        answer = await fetch(url, *request)
        if not dialect.whole(answer):
            raise MalformedAnswer(NOT_DOCUMENTED)
        form = dialect.form_of(url, *request[:1])
        if form is not None and not dialect.refused(answer):
            try:
                msgspec.convert(dialect.result(answer), form.result, strict=False)  # ccxt turns numbers into text
            except (msgspec.ValidationError, ArithmeticError) as wrong:
                raise MalformedAnswer(f"{NOT_DOCUMENTED}: {wrong}") from None
        return answer

    return fetch_whole


def recorded(record: WireRecord) -> Callable[..., str]:
    """Return ccxt's handler of an answer's text, which adds it to a record."""

    def note(status: int, reason: str, url: str, method: str, headers: Any, body: str, *request: Any) -> str:
        record.add(method, url, status, body)
        return body.strip()

    return note


def paced(request_method: Call, dialect: Dialect, query_pace: Pace, order_pace: Pace) -> Call:
    """Wrap the exchange's request method with rate limits.

    The limits apply before the request is signed, because requests must arrive in the order of their signatures.
    """

    async def ask_in_turn(path: str, *request: Any) -> Any:
        names = path, f"{request[1] if len(request) > 1 else ''} {path}"
        pace = order_pace if dialect.makes_orders.intersection(names) else query_pace
        for _ in range(max(dialect.weights.get(name, 1) for name in names)):
            await pace.turn()
        return await request_method(path, *request)

    return ask_in_turn


def obedient(request_method: Call, exchange: Any, dialect: Dialect) -> Call:
    """Wrap the exchange's request method: no request goes out before the instant that a refusal named.

    Who goes on after "too many requests" is banned, and who goes on while banned is banned for longer.
    """
    until = 0.0  # the loop's time
    refusal: Exception | None = None

    async def ask_when_permitted(path: str, *request: Any) -> Any:
        nonlocal until, refusal
        now = asyncio.get_running_loop().time
        if refusal is not None and now() + SHORT_WAIT_S < until:
            raise type(refusal)(f"{refusal}; no request is sent for another {until - now():.1f} s")
        await asyncio.sleep(max(until - now(), 0.0))
        try:
            return await request_method(path, *request)
        except Exception as error:
            if outcome(error, dialect.means) is Outcome.AGAIN:
                wait_s = retry_after_s(exchange.last_response_headers or {}, LONGEST_BAN_S)
                until, refusal = max(until, now() + wait_s), error
            raise

    return ask_when_permitted


def _use_proxy(exchange: Any) -> None:
    """Let an exchange use the proxy of the environment for REST and WebSockets. Raises NoExchange."""
    urls = exchange.urls["api"]
    while isinstance(urls, dict):  # by kind of API; "ws" has the WebSockets
        urls = next(url for name, url in urls.items() if name != "ws")
    try:
        proxy = proxy_of(str(urls).replace("{hostname}", str(exchange.hostname or "")))
    except ProxyWrong as wrong:
        raise NoExchange(wrong.wrong, wrong.remedy) from None
    if proxy is not None:
        secure = str(urls).startswith("https")
        setattr(exchange, "https_proxy" if secure else "http_proxy", proxy)
        setattr(exchange, "wss_proxy" if secure else "ws_proxy", proxy)


def _redirected(urls: Any, to: str) -> Any:
    """Replace the host of all addresses by the host of `to`; paths stay, and WebSocket addresses stay WebSocket."""
    if isinstance(urls, dict):
        return {name: _redirected(url, to) for name, url in urls.items()}
    if not isinstance(urls, str):
        return urls
    old_parts, new_parts = urlsplit(urls), urlsplit(to)
    scheme = new_parts.scheme
    if old_parts.scheme in ("ws", "wss"):
        scheme = "wss" if scheme == "https" else "ws"
    return urlunsplit((scheme, new_parts.netloc, old_parts.path, old_parts.query, ""))


async def patiently(
    exchange: Exchange,
    request: Callable[[], Awaitable[Any]],
    patience_s: float,
    means: Callable[[str], Outcome | None] | None = None,
) -> Any:
    """Send a request, and repeat it for up to `patience_s` seconds while the exchange's rate limit refuses it.

    `means` is the exchange's table of errors (Dialect).
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_s
    pause = 0.05
    while True:
        try:
            return await request()
        except Exception as error:
            if outcome(error, means) is not Outcome.AGAIN:
                raise
            wait = max(pause, retry_after_s(exchange.last_response_headers or {}, patience_s))
            if loop.time() + wait >= deadline:
                raise
        await asyncio.sleep(wait)
        pause = min(2 * pause, 5.0)


WITHDRAWAL_QUERIES: Final[dict[str, tuple[str, Callable[[Mapping[str, Any]], bool]]]] = {
    "binance": ("sapi_get_account_apirestrictions", lambda answer: bool(answer["enableWithdrawals"])),
    "bybit": ("private_get_v5_user_query_api", lambda answer: "Withdraw" in answer["result"]["permissions"]["Wallet"]),
    "okx": (
        "private_get_account_config",
        lambda answer: any("withdraw" in key["perm"].split(",") for key in answer["data"]),
    ),
}
"""Exchange -> the name of its query in ccxt, and a function from the answer to whether the key may withdraw.

The formats follow the documentation of Binance (GET /sapi/v1/account/apiRestrictions), Bybit (GET /v5/user/query-api)
and OKX (GET /api/v5/account/config).
"""


async def may_withdraw(exchange: Exchange) -> bool | None:
    """Return whether the key may withdraw; None where the exchange does not report it. Raises ccxt's errors.

    An answer of unexpected form counts as permission to withdraw, because it does not prove the contrary.
    """
    query = WITHDRAWAL_QUERIES.get(exchange.id)
    if query is None:
        return None
    ask, means = query
    answer = await getattr(exchange, ask)()
    try:
        return means(answer)
    except (KeyError, TypeError, AttributeError):
        return True
