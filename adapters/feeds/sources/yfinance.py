"""Yahoo Finance through yfinance: prices made raw again, splits and dividends as actions. Free, without a key and
without a promise: for study and as a fallback, not as the only source of a live account."""

import asyncio
import logging
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from threading import Lock, local
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import numpy as np

from quantd.adapters.feeds.bars.rows import ActionRow, Rows, actions_within, exact_nano, joined, rows_of, within
from quantd.adapters.feeds.bars.stamps import Stamps, interval_ns
from quantd.adapters.feeds.source import PartialAnswer, SourceError, some, whole
from quantd.adapters.feeds.sources.http_client import WORDS
from quantd.adapters.feeds.vendor import Request, Vendor
from quantd.adapters.plugins import Option
from quantd.trading.display_text import one_line, session_date
from quantd.trading.instruments import NANO, Instrument, Universe
from quantd.trading.market import Floats, Ints
from quantd.trading.sessions import DAY_NS

if TYPE_CHECKING:
    import pandas as pd

VENDOR: Final = Vendor(
    "yfinance",
    source="quantd.adapters.feeds.sources.yfinance:source",
    options=(Option("url"),),
    module="yfinance",
    adjusts=True,
    whole=True,  # its splits make it download up to now whatever the range is
)

REACH_DAYS: Final[Mapping[str, int]] = {
    "1m": 7, "2m": 60, "5m": 60, "15m": 60, "30m": 60, "90m": 60, "1h": 730, "1d": 36_500,
}  # fmt: skip
"""Yahoo's intervals, and how many days back it has them."""

_HISTORY_DAY: Final = datetime(1970, 1, 2, tzinfo=UTC)
_THREADS: Final = 4
_PRICES: Final = ("Open", "High", "Low", "Close")
_LARGEST_RATIO: Final = 10_000
_DIVIDEND_ROUNDED_BY: Final = 0.5e-6
"""Yahoo divides dividends by later splits and keeps six decimals: 0.108929 is 3.05 before 7:1 and 4:1."""

_FRESH_NS: Final = 60 * NANO
_one_at_a_time: Final = Lock()
"""yfinance keeps one session, one cookie and one set of switches for a whole process."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """One symbol's bars, and its actions of the same download."""

    rows: Rows
    actions: list[ActionRow]


class YahooSource:
    """A Source. Yahoo divides its prices, volumes and dividends by every later split: they are multiplied back, so that
    `bars` are what was paid. With `adjusted` prices are instead as Yahoo adjusts them for splits and dividends, and
    there are no actions.

    `symbols` maps ours to Yahoo's where they differ (US share classes and pairs are mapped anyway: BRK.B is BRK-B,
    BTC/USD is BTC-USD). `deadline_s` bounds one symbol. `gateway` ("http://host:port") receives what would go to
    yahoo.com: a proxy of one's own. `cookies` is a folder for yfinance's small caches. `told` hears which share of the
    symbols has been answered.
    `now` gives ns UTC.
    """

    name: Final = "yahoo"

    def __init__(
        self,
        universe: Universe,
        interval: str,
        *,
        adjusted: bool = False,
        symbols: Mapping[str, str] | None = None,
        deadline_s: float = 30.0,
        gateway: str = "",
        cookies: Path | None = None,
        told: Callable[[float], None] = lambda share: None,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        if interval not in REACH_DAYS:
            raise SourceError(
                self.name, f'it has no bars of "{interval}"', f"There are {', '.join(REACH_DAYS)}", again=False
            )
        self._universe, self._interval, self.adjusted = universe, interval, adjusted
        self._daily = interval_ns(interval) == DAY_NS
        self.stamps: Final[Stamps] = "session" if self._daily else "open"
        self._theirs = [(symbols or {}).get(i.symbol) or spelled(i) for i in universe.instruments]
        self._deadline_s, self._gateway, self._cookies, self._now = deadline_s, gateway, cookies, now
        self._threads = ThreadPoolExecutor(_THREADS, "yahoo")
        self._session: Any = None
        self._told = told
        self._newest: dict[int, tuple[int, int, _Answer]] = {}

    async def bars(self, start_ns: int, end_ns: int) -> Rows:
        """Raises SourceError; PartialAnswer names the symbols that Yahoo knows nothing of, with the bars of
        the others."""
        oldest = self._now() - REACH_DAYS[self._interval] * DAY_NS
        if start_ns < oldest and not self._daily:
            what = f"bars of {self._interval} go back {REACH_DAYS[self._interval]} days only, to {session_date(oldest)}"
            raise SourceError(self.name, what, "Ask for a later start or for longer bars", again=False)
        answers, lost = await self._each(lambda column: self._bars_of(column, start_ns, end_ns))
        rows = within(joined(a.rows for a in answers), start_ns, end_ns)
        if lost:
            missing = [self._universe.symbols[column] for column in lost]
            why = one_line(next(iter(lost.values())).what, WORDS)
            if len(lost) == self._universe.size:
                raise SourceError(
                    self.name, f"no bar of {some(missing)}: {why}", "Check how it spells them", again=False
                )
            raise PartialAnswer(self.name, rows, missing, why)
        return whole(self.name, rows, self._universe.symbols, start_ns, end_ns)

    async def actions(self, start_ns: int, end_ns: int) -> list[ActionRow]:
        """Raises SourceError. A fund's capital gains are paid like dividends and are among them, unless Yahoo lists
        them in its dividends already."""
        if self.adjusted:
            return []
        answers, lost = await self._each(lambda column: self._known(column, start_ns))
        for column, error in lost.items():
            raise SourceError(self.name, f"no actions of {self._universe.symbols[column]}: {error.what}", again=False)
        return actions_within((action for each in answers for action in each.actions), start_ns, end_ns)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._session is not None:
            self._session.close()
            self._session = None

    async def _each(self, ask: Callable[[int], _Answer]) -> tuple[list[_Answer], dict[int, SourceError]]:
        """Every symbol's answer; those that asking again cannot help are listed by column. Raises the first other
        error."""
        loop = asyncio.get_running_loop()
        size = self._universe.size
        asked = [loop.run_in_executor(self._threads, ask, column) for column in range(size)]
        for each in asked:
            each.add_done_callback(lambda _: self._told(sum(a.done() for a in asked) / size))
        rounds = -(-size // _THREADS)
        try:
            async with asyncio.timeout(self._deadline_s * rounds):
                results = await asyncio.gather(*asked, return_exceptions=True)
        except TimeoutError:
            for each in asked:
                each.cancel()
            raise SourceError(self.name, f"no answer within {self._deadline_s * rounds:g} s") from None
        answers, lost = [], {}
        for column, result in enumerate(results):
            if isinstance(result, _Answer):
                answers.append(result)
            elif isinstance(result, SourceError) and not result.again:
                lost[column] = result
            else:
                raise result
        return answers, lost

    def _bars_of(self, column: int, start_ns: int, end_ns: int) -> _Answer:
        """In a thread. Splits of after `end_ns` count too, so days are asked for up to now."""
        history = self._history(column, start_ns)
        if self._daily:
            return history
        frame = self._ask(column, start=_moment(start_ns), end=_moment(end_ns), interval=self._interval)
        return _Answer(self._rows(frame, column, history.actions), history.actions)

    def _history(self, column: int, start_ns: int) -> _Answer:
        # two weeks more: a range without a session is refused like an unknown symbol
        begin = max(_moment(start_ns - 14 * DAY_NS), _HISTORY_DAY)
        frame = self._ask(column, start=begin, end=None, interval="1d")
        if frame is None:
            raise self._unknown(column, "an empty chart")
        actions = _actions(frame, column)
        answer = _Answer(self._rows(frame, column, actions) if self._daily else rows_of(()), actions)
        self._newest[column] = (start_ns, self._now(), answer)
        return answer

    def _known(self, column: int, start_ns: int) -> _Answer:
        """The download of a moment ago, where there is one: whoever asks for bars asks for actions next."""
        start, at_ns, answer = self._newest.get(column, (0, 0, None))
        fresh = answer is not None and start <= start_ns and self._now() - at_ns < _FRESH_NS
        return answer if answer is not None and fresh else self._history(column, start_ns)

    def _ask(self, column: int, **range_: Any) -> "pd.DataFrame | None":
        """One download; None where the symbol is known and has nothing in the range. Raises SourceError."""
        import yfinance  # type: ignore[import-untyped]
        from yfinance.exceptions import YFException, YFRateLimitError  # type: ignore[import-untyped]

        symbol, session = self._theirs[column], self._prepared()
        session.chart.status = 0
        try:
            ticker = yfinance.Ticker(symbol, session=session)
            frame = ticker.history(
                **range_, auto_adjust=False, actions=True, prepost=False, keepna=True, timeout=self._deadline_s / 3
            )
            quoted = str(ticker.history_metadata.get("currency") or "")
        except YFRateLimitError:
            raise SourceError(self.name, f"too many requests ({symbol})", after_s=60.0) from None
        except (YFException, OSError, ValueError, KeyError, TypeError, IndexError) as error:
            # curl's errors are OSErrors; those below are yfinance's way of saying that an answer was not what it
            # expected
            status, words = session.chart.status, one_line(error, WORDS)
            if status == 404:
                raise self._unknown(column, words) from None
            if 200 <= status < 500:
                if isinstance(error, YFException | KeyError):
                    return None
                raise SourceError(self.name, f"{symbol}: an answer that is not as it used to be ({words})") from None
            raise SourceError(self.name, f"{symbol}: HTTP {status or 'failed'}: {words}") from None
        ours = self._universe.instruments[column].currency
        if quoted and quoted != ours:  # GBp is pence: a hundredth of GBP
            raise SourceError(self.name, f"{symbol} is quoted in {quoted}, not in {ours}", "Take it out", again=False)
        return frame

    def _unknown(self, column: int, words: str) -> SourceError:
        remedy = "It may be delisted or spelled otherwise"
        return SourceError(self.name, f"{self._theirs[column]}: {words}", remedy, again=False)

    def _prepared(self) -> Any:
        """yfinance set up so that it fails aloud and asks the network each time."""
        import yfinance
        from yfinance.data import YfData  # type: ignore[import-untyped]

        with _one_at_a_time:
            if self._session is None:
                yfinance.config.debug.hide_exceptions = False
                logging.getLogger("yfinance").addHandler(
                    logging.NullHandler()
                )  # what it raises need not be printed too
                warnings.filterwarnings("ignore", module=r"yfinance(\..*)?$")
                if self._cookies is not None:
                    self._cookies.mkdir(parents=True, exist_ok=True)
                    yfinance.set_tz_cache_location(str(self._cookies))
                self._session = _session(self._gateway)
            YfData.cache_get.cache_clear()  # it would keep an answer of 500 for as long as the process lives
            return self._session

    def _rows(self, frame: "pd.DataFrame | None", column: int, actions: Sequence[ActionRow]) -> Rows:
        if frame is None or frame.empty:
            return rows_of(())
        frame = frame[frame[list(_PRICES)].notna().any(axis=1)]  # a row of nothing is no bar
        day = _days(frame)
        ts = day if self._daily else _stamps(frame.index)
        factor = np.ones(len(ts)) if self.adjusted else factors(day, actions)
        values = {name: frame[name].to_numpy(dtype=np.float64) for name in (*_PRICES, "Adj Close", "Volume")}
        nano: dict[str, Ints] = {}
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = values["Adj Close"] / values["Close"]
        for name in _PRICES:
            nano[name] = exact_nano(values[name] * scale) if self.adjusted else paid(values[name], factor)
        money: dict[str, Floats] = {name: currency(nano[name]) for name in _PRICES}
        return Rows(
            ts=ts,
            column=np.full(len(ts), column, dtype=np.int64),
            open=money["Open"],
            high=money["High"],
            low=money["Low"],
            close=money["Close"],
            volume=np.where(factor == 1.0, values["Volume"], np.rint(values["Volume"] / factor)),
            open_nano=nano["Open"],
            close_nano=nano["Close"],
            source=np.zeros(len(ts), dtype=np.int64),
        )


def spelled(instrument: Instrument) -> str:
    """Yahoo's name of an instrument: BTC/USD is BTC-USD, a US share class BRK.B is BRK-B."""
    symbol = instrument.symbol.replace("/", "-")
    return symbol.replace(".", "-") if instrument.calendar in {"XNYS", "XNAS", "NYSE", "NASDAQ"} else symbol


def _actions(frame: "pd.DataFrame", column: int) -> list[ActionRow]:
    """Splits, and dividends as they were paid on the shares of their day."""
    if frame.empty:
        return []
    day = _days(frame)
    ratio = frame["Stock Splits"].to_numpy(dtype=np.float64)
    found = []
    for at in np.flatnonzero((ratio > 0) & np.isfinite(ratio)).tolist():
        exact = Fraction(float(ratio[at])).limit_denominator(_LARGEST_RATIO)
        if exact > 0:
            found.append(ActionRow(int(day[at]), column, "split", exact.numerator, exact.denominator, 0))
    cash = frame["Dividends"].to_numpy(dtype=np.float64)
    if "Capital Gains" in frame.columns:
        gains = frame["Capital Gains"].to_numpy(dtype=np.float64)
        cash = np.where(cash >= gains, cash, cash + gains)  # Yahoo has begun to list gains in the dividends too
    nano = paid(cash, factors(day, found), _DIVIDEND_ROUNDED_BY)
    for at in np.flatnonzero(nano > 0).tolist():
        found.append(ActionRow(int(day[at]), column, "dividend", 1, 1, int(nano[at])))
    return found


def _stamps(index: Any) -> Ints:
    """A pandas DatetimeIndex, whatever its unit, as ns UTC."""
    return np.asarray(index.as_unit("ns").asi8, dtype=np.int64)


def _days(frame: "pd.DataFrame") -> Ints:
    """Session dates: the exchange's own, whatever time zone it lies in."""
    index: Any = frame.index
    local = _stamps(index.tz_localize(None))
    return local - local % DAY_NS


def _session(gateway: str) -> Any:
    """A browser-like session of curl_cffi that remembers the status of a thread's last chart, which yfinance forgets;
    with a gateway it sends yahoo.com's requests there."""
    from curl_cffi import requests

    class Session(requests.Session):  # type: ignore[type-arg]
        def __init__(self) -> None:
            super().__init__(impersonate="chrome")
            self.chart = local()

        def request(self, method: Any, url: str, **options: Any) -> Any:  # type: ignore[override]
            asked = urlsplit(url)
            if gateway and (asked.hostname or "").endswith("yahoo.com"):
                url = gateway.rstrip("/") + asked.path + (f"?{asked.query}" if asked.query else "")
            answer = super().request(method, url, **options)
            if "/finance/chart/" in asked.path:
                self.chart.status = answer.status_code
            return answer

    return Session()


def _moment(ns: int) -> datetime:
    return datetime.fromtimestamp(ns // NANO, UTC)


_DECIMALS: Final = 9
_LARGEST: Final = 9.2e9


def factors(day_ns: Ints, splits: Sequence[ActionRow]) -> Floats:
    """float64[R]: new shares to one share of each bar's day, by the splits (of one symbol) with a later ex date.

    `day_ns` int64[R] is each bar's session date. A price times its factor is what was paid, a volume divided by it what
    was traded.
    """
    out = np.ones(len(day_ns))
    total = Fraction(1)
    for split in sorted((s for s in splits if s.kind == "split"), key=lambda s: -s.day_ns):
        total *= Fraction(split.numerator, split.denominator)
        out[day_ns < split.day_ns] = float(total)
    return out


def paid(prices: Floats, factor: Floats, rounded_by: float = 0.0) -> Ints:
    """int64[R] nano: the simplest decimal that is `prices` x `factor` to within single precision.

    Vendors that keep float32 send 124.80750274658203 for 124.8075, a quarter of 499.23. A price that is neither a
    widened float32 nor split is kept to its last digit. `rounded_by` is how far the vendor may have rounded what it
    sends, where that is coarser (half of its last decimal). 0 where there is no price.
    """
    product = prices * factor
    clean = np.where(np.isfinite(product) & (np.abs(product) < _LARGEST), product, 0.0)
    single = np.where(np.isfinite(prices), prices, 0.0).astype(np.float32)
    rough = (single.astype(np.float64) == prices) | (factor != 1.0)
    slack = np.maximum(np.spacing(np.abs(single)).astype(np.float64) * 0.51, rounded_by * 1.01) * factor
    out = exact_nano(clean)
    left = rough & (clean != 0.0)
    for decimals in range(_DECIMALS + 1):
        if not left.any():
            break
        rounded = np.round(clean, decimals)
        fits = left & (np.abs(rounded - clean) <= slack)
        out[fits] = np.rint(rounded[fits] * 10**decimals).astype(np.int64) * 10 ** (_DECIMALS - decimals)
        left &= ~fits
    return out


def currency(nano: Ints) -> Floats:
    """float64[R] of nano-currency; NaN for 0, which stands for no price."""
    return np.where(nano == 0, np.nan, nano / NANO)


def source(request: Request) -> YahooSource:
    """Opens Yahoo Finance. Raises SourceError."""
    return YahooSource(
        request.universe, request.interval, adjusted=request.adjusted, gateway=request.url, cookies=request.cookies,
        told=request.progress,
    )  # fmt: skip
