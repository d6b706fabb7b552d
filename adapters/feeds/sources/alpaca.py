"""Alpaca's market data over REST: raw bars of stocks (v2) and crypto (v1beta3), splits and dividends."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal, TypeVar, cast, get_args

import msgspec
from msgspec import Struct

from quantd.adapters.calendars import day_ns, instant_ns
from quantd.adapters.feeds.bars.rows import ActionKind, ActionRow, Bar, Rows, actions_within, nano, rows_of, within
from quantd.adapters.feeds.bars.stamps import Stamps, interval_ns
from quantd.adapters.feeds.source import SourceError, whole
from quantd.adapters.feeds.sources.http_client import Web
from quantd.adapters.feeds.vendor import Request, RequestWrong, Vendor
from quantd.adapters.pace import Rate
from quantd.adapters.plugins import Option
from quantd.trading.instruments import NANO, Universe
from quantd.trading.sessions import DAY_NS

DATA_URL: Final = "https://data.alpaca.markets"
FREE_RATE: Final = Rate(200, 60.0)
"""The free plan allows 200 requests in 60 seconds."""

StockFeed = Literal["iex", "sip", "delayed_sip", "boats", "overnight"]

STOCK_FEEDS: Final[tuple[StockFeed, ...]] = get_args(StockFeed)

VENDOR: Final = Vendor(
    "alpaca",
    source="quantd.adapters.feeds.sources.alpaca:source",
    stream="quantd.adapters.feeds.sources.alpaca_stream:stream",
    options=(Option("url"), Option("plan", "--feed iex", choices=STOCK_FEEDS)),
    secrets={
        "alpaca_key": "key of the account at Alpaca",
        "alpaca_secret": "secret of the account at Alpaca",
    },
)

_PAGE_BARS: Final = 10_000
_PAGE_ACTIONS: Final = 1_000
_MOST_PAGES: Final = 100_000
_SYMBOLS_A_REQUEST: Final = 200
"""Most symbols in one request: they keep its address below 2 KiB."""

_TYPES: Final = "forward_split,reverse_split,stock_dividend,cash_dividend,cash_merger,worthless_removal"


class WireBar(Struct):
    """One bar as Alpaca sends it, with exact numbers."""

    t: str
    o: Decimal
    h: Decimal
    l: Decimal  # noqa: E741 - Alpaca's name
    c: Decimal
    v: Decimal


class _Page(Struct, kw_only=True):
    next_page_token: str | None = None


class _BarsPage(_Page):
    bars: dict[str, list[WireBar]] | None = None


class _Split(Struct):
    symbol: str
    ex_date: date
    new_rate: Decimal
    old_rate: Decimal


class _Dividend(Struct):
    symbol: str
    ex_date: date
    rate: Decimal


class _Merger(Struct):
    acquiree_symbol: str
    effective_date: date
    rate: Decimal


class _Removal(Struct):
    symbol: str
    process_date: date


class _Actions(Struct):
    forward_splits: list[_Split] = []
    reverse_splits: list[_Split] = []
    stock_dividends: list[_Dividend] = []
    cash_dividends: list[_Dividend] = []
    cash_mergers: list[_Merger] = []
    worthless_removals: list[_Removal] = []


class _ActionsPage(_Page):
    corporate_actions: _Actions


P = TypeVar("P", bound=_Page)
_bars_page: Final = msgspec.json.Decoder(_BarsPage)
_actions_page: Final = msgspec.json.Decoder(_ActionsPage)


class AlpacaBars:
    """A Source of bars of US stocks or, with `crypto`, of crypto pairs such as BTC/USD, but not of both.

    Daily bars are stamped with the session's date, shorter bars with their open, extended hours included. Daily crypto
    bars are refused, because Alpaca's crypto days end at midnight in Chicago and sessions in quantd end at midnight
    UTC. Raises SourceError for stocks without key and secret, and for daily crypto bars.
    """

    name: Final = "alpaca"
    adjusted: Final = False

    def __init__(
        self,
        universe: Universe,
        interval: str,
        *,
        key: str,
        secret: str,
        feed: StockFeed = "iex",
        crypto: bool = False,
        url: str = DATA_URL,
        rate: Rate | None = FREE_RATE,
        timeout_s: float = 20.0,
    ) -> None:
        """Raises SourceError for missing keys of stocks, and for daily bars of crypto pairs.

        `feed` is the vendor's name for the source of stock bars, such as "iex". `crypto` asks for crypto pairs, which
        need no keys. `rate` limits the requests, None does not.
        """
        if not (key and secret) and not crypto:
            remedy = "Set QUANTD_ALPACA_KEY and QUANTD_ALPACA_SECRET; paper accounts have them too"
            raise SourceError("alpaca", "it needs a key and a secret", remedy, again=False)
        self._length_ns = interval_ns(interval)
        if crypto and self._length_ns == DAY_NS:
            what = "its crypto days end at midnight in Chicago, not UTC"
            raise SourceError("alpaca", what, 'Ask for interval "1h", and build days of the hours', again=False)
        self._universe, self._crypto, self._feed = universe, crypto, feed
        self._timeframe = timeframe(self._length_ns)
        self._url = url.rstrip("/")
        self._headers = {"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": secret} if key else {}
        self._web = Web(self.name, rate=rate, timeout_s=timeout_s, hide=(key, secret))
        self.stamps: Final[Stamps] = "session" if self._length_ns == DAY_NS else "open"

    async def bars(self, start_ns: int, end_ns: int) -> Rows:
        """Return the bars of all symbols stamped in [start_ns, end_ns), ns UTC. Raises SourceError, and PartialAnswer
        if a long range lacks a symbol."""
        daily = self._length_ns == DAY_NS
        # a daily bar is stamped at midnight in New York, 4 or 5 hours after the requested date in UTC
        last_ns = end_ns + DAY_NS if daily else end_ns - 1
        params = {"timeframe": self._timeframe, "start": iso(start_ns), "end": iso(last_ns), "limit": str(_PAGE_BARS)}
        params |= {"sort": "asc"}
        path = "/v1beta3/crypto/us/bars"
        if not self._crypto:
            path = "/v2/stocks/bars"
            params |= {"adjustment": "raw", "feed": self._feed}
        all_bars: list[Bar] = []
        for symbols in _groups(self._universe.symbols):
            async for page in self._pages(path, params | {"symbols": ",".join(symbols)}, _bars_page):
                for symbol, bars in (page.bars or {}).items():
                    column = self._universe.index.get(symbol)
                    if column is None:
                        raise SourceError(self.name, f"bars of {symbol}, which was not requested", again=False)
                    for bar in bars:
                        ts = instant_ns(bar.t, UTC)
                        stamp = ts - ts % DAY_NS if daily else ts  # a daily bar gets its session's date
                        all_bars.append((stamp, column, bar.o, bar.h, bar.l, bar.c, bar.v))
        return whole(self.name, within(rows_of(all_bars), start_ns, end_ns), self._universe.symbols, start_ns, end_ns)

    async def actions(self, start_ns: int, end_ns: int) -> list[ActionRow]:
        """Return splits, stock dividends as splits, cash dividends, and delistings (cash mergers, worthless removals).

        Spin-offs and mergers for shares are omitted, because an ActionRow cannot express them. Raises SourceError where
        the answer is missing or incomplete.
        """
        if self._crypto:
            return []
        first, last = iso(start_ns)[:10], iso(end_ns - 1)[:10]
        params = {"types": _TYPES, "start": first, "end": last, "limit": str(_PAGE_ACTIONS), "sort": "asc"}
        rows: list[ActionRow] = []
        for symbols in _groups(self._universe.symbols):
            page_params = params | {"symbols": ",".join(symbols)}
            async for page in self._pages("/v1/corporate-actions", page_params, _actions_page):
                rows += self._rows(page.corporate_actions)
        return actions_within(rows, start_ns, end_ns)

    async def close(self) -> None:
        await self._web.close()

    async def _pages(
        self, path: str, params: Mapping[str, str], decoder: "msgspec.json.Decoder[P]"
    ) -> AsyncIterator[P]:
        """Yield the decoded pages of an answer. Raises SourceError for endless pages, and for undocumented ones."""
        token = ""
        for _ in range(_MOST_PAGES):
            page_params = {**params, "page_token": token} if token else params
            body = await self._web.get(self._url + path, page_params, self._headers)
            try:
                page = decoder.decode(body)
            except (msgspec.DecodeError, ValueError, RecursionError):
                raise self._web.unreadable(body, "as documented") from None
            yield page
            if not page.next_page_token:
                return
            if page.next_page_token == token:
                raise SourceError(self.name, "its pages never end: two pages name the same next page")
            token = page.next_page_token
        raise SourceError(self.name, f"more than {_MOST_PAGES} pages", "Ask for a shorter range", again=False)

    def _rows(self, page: _Actions) -> list[ActionRow]:
        """Return the actions of a page for symbols of the universe. A stock dividend is a split; a delisting has the
        cash per share."""
        no_change = Fraction(1)
        announced: list[tuple[str, date, ActionKind, Fraction, int]] = [
            (split.symbol, split.ex_date, "split", Fraction(split.new_rate) / Fraction(split.old_rate), 0)
            for split in (*page.forward_splits, *page.reverse_splits)
        ]
        announced += [
            (split.symbol, split.ex_date, "split", 1 + Fraction(split.rate), 0) for split in page.stock_dividends
        ]
        announced += [
            (dividend.symbol, dividend.ex_date, "dividend", no_change, nano(dividend.rate))
            for dividend in page.cash_dividends
            if nano(dividend.rate)
        ]
        announced += [
            (merger.acquiree_symbol, merger.effective_date, "delisting", no_change, nano(merger.rate))
            for merger in page.cash_mergers
        ]
        announced += [
            (removal.symbol, removal.process_date, "delisting", no_change, 0) for removal in page.worthless_removals
        ]
        return [
            ActionRow(day_ns(day), column, kind, ratio.numerator, ratio.denominator, cash)
            for symbol, day, kind, ratio, cash in announced
            if (column := self._universe.index.get(symbol)) is not None
        ]


def timeframe(length_ns: int) -> str:
    """Return Alpaca's name of an interval: 1Min to 59Min, 1Hour to 23Hour, 1Day. Raises SourceError for any other."""
    minutes, remainder = divmod(length_ns, 60 * NANO)
    if length_ns == DAY_NS:
        return "1Day"
    if not remainder and minutes < 60:
        return f"{minutes}Min"
    if not remainder and minutes % 60 == 0:
        return f"{minutes // 60}Hour"
    what = f"it has no bars of {length_ns // NANO} s"
    raise SourceError("alpaca", what, 'Ask for "1m" to "59m", "1h" to "23h" or "1d"', again=False)


def iso(ns: int) -> str:
    """Return an instant (ns UTC) as RFC 3339 text, with nanoseconds unless they are 0."""
    seconds, remainder = divmod(ns, NANO)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{remainder:09d}Z" if remainder else f"{text}Z"


def _groups(symbols: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [symbols[k : k + _SYMBOLS_A_REQUEST] for k in range(0, len(symbols), _SYMBOLS_A_REQUEST)]


def source(request: Request) -> AlpacaBars:
    """Open Alpaca's bars over REST. Raises SourceError for stocks without a key, and for an unsupported interval."""
    return AlpacaBars(
        request.universe, request.interval, key=request.secrets["alpaca_key"], secret=request.secrets["alpaca_secret"],
        feed=cast(StockFeed, request.plan), crypto=pairs(request.universe), url=request.url or DATA_URL,
    )  # fmt: skip


def pairs(universe: Universe) -> bool:
    """Whether the symbols are crypto pairs such as BTC/USD. Raises RequestWrong for a mix of pairs and stocks."""
    kinds = {"/" in symbol for symbol in universe.symbols}
    if len(kinds) > 1:
        raise RequestWrong(
            "alpaca", "stocks and crypto need separate requests", "Request them one after the other", again=False
        )
    return kinds == {True}
