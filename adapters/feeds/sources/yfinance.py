"""Yahoo Finance through yfinance: raw prices, and splits and dividends as actions.

Yahoo is free and needs no key, but guarantees nothing: use it for study and as a fallback, not alone for a live
account.
"""

import asyncio
import logging
import re
import sqlite3
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import numpy as np

from quantd.adapters.feeds.bars.rows import ActionRow, Rows, actions_within, exact_nano, joined, rows_of, within
from quantd.adapters.feeds.bars.stamps import Stamps, interval_ns
from quantd.adapters.feeds.source import PartialAnswer, SourceError, Unreachable, whole
from quantd.adapters.feeds.sources.http_client import LATER, WORDS
from quantd.adapters.feeds.sources.yahoo_session import UNKNOWN, begin_chart, session_of
from quantd.adapters.feeds.vendor import Request, Vendor
from quantd.adapters.plugins import Option
from quantd.trading.display_text import one_line, session_date, some
from quantd.trading.instruments import NANO, Instrument, Universe, kind_of, suffix_of
from quantd.trading.market import Floats, Ints
from quantd.trading.sessions import DAY_NS

if TYPE_CHECKING:
    import pandas as pd

_T = TypeVar("_T")

VENDOR: Final = Vendor(
    "yfinance",
    source="quantd.adapters.feeds.sources.yfinance:source",
    options=(Option("url"),),
    module="yfinance",
    extra="yahoo",
    adjusts=True,
    whole=True,  # its splits make it download up to now whatever the range is
)

REACH_DAYS: Final[Mapping[str, int]] = {
    "1m": 7, "2m": 60, "5m": 60, "15m": 60, "30m": 60, "90m": 60, "1h": 730, "1d": 36_500,
}  # fmt: skip
"""Yahoo's intervals -> how many days back their bars reach."""

_HISTORY_DAY: Final = datetime(1970, 1, 2, tzinfo=UTC)
_THREADS: Final = 4
_PRICES: Final = ("Open", "High", "Low", "Close")
_LARGEST_RATIO: Final = 10_000
_LARGEST_SPLIT: Final = 1e6
_DECIMALS: Final = 9
_LARGEST: Final = 9.2e9
"""The largest price or amount that is counted in nano-units."""

_DIVIDEND_ROUNDED_BY: Final = 0.5e-6
"""Rounding error of Yahoo's dividends, which are divided by later splits and rounded to six decimals.

A dividend of 3.05, before splits of 7:1 and 4:1, is listed as 0.108929.
"""

_ADJUSTED_MISS: Final = 0.003
"""Largest difference, as a share of the close, between a dividend and the fall of the adjusted closes on its day.

The closes of a penny share have two or three digits, so that rounding alone moves them so far.
"""

_HOME: Final = frozenset(("XNYS", "XNAS", "NYSE", "NASDAQ"))
"""Names of the calendar of American shares, whose symbols have no suffix at Yahoo."""

_MINOR: Final = {"GBp": "GBX", "ZAc": "ZAC"}
"""Yahoo's codes of hundredths of a currency (pence, cents) -> their usual codes."""

_CODE: Final = re.compile(r"[A-Z]{3,5}")
"""A currency that config.toml accepts."""

_FRESH_NS: Final = 60 * NANO
_one_at_a_time: Final = Lock()
"""Guards the setup of yfinance, which has one session, one cookie and one set of switches per process."""

_CACHES: Final = ("tkr-tz.db", "cookies.db")
"""The databases of yfinance's caches. They are created before its threads run: each thread would switch a new database
to a write-ahead log, which SQLite allows one thread only, and the other threads would find it locked."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """One symbol's bars and actions from one download."""

    rows: Rows
    actions: list[ActionRow]


class YahooSource:
    """A Source of Yahoo's bars. Yahoo adjusts prices, volumes and dividends for later splits; the method `bars`
    reverses these adjustments.

    With `adjusted`, prices are as Yahoo adjusts them for splits and dividends, and there are no actions. `deadline_s`
    bounds the time for one symbol. `gateway` ("http://host:port") is a proxy for yahoo.com. `cookies` is a folder for
    yfinance's caches. `progress` receives the share of answered symbols. `now` returns ns UTC. Raises SourceError for
    an interval that Yahoo does not have.
    """

    name: Final = "yahoo"

    def __init__(
        self,
        universe: Universe,
        interval: str,
        *,
        adjusted: bool = False,
        deadline_s: float = 30.0,
        gateway: str = "",
        cookies: Path | None = None,
        progress: Callable[[float], None] = lambda share: None,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        """Raises SourceError for an interval that Yahoo has not.

        `_theirs` are Yahoo's spellings of the symbols, by column. `_newest` maps a column to (start in ns, time of the
        download, answer).
        """
        if interval not in REACH_DAYS:
            raise SourceError(
                self.name, f'it has no bars of "{interval}"', f"There are {', '.join(REACH_DAYS)}", again=False
            )
        self._universe, self._interval, self.adjusted = universe, interval, adjusted
        self._daily = interval_ns(interval) == DAY_NS
        self.stamps: Final[Stamps] = "session" if self._daily else "open"
        self._theirs = [spelled(i) for i in universe.instruments]
        self._deadline_s, self._gateway, self._cookies, self._now = deadline_s, gateway, cookies, now
        self._threads = ThreadPoolExecutor(_THREADS, "yahoo")
        self._session: Any = None
        self._progress = progress
        self._newest: dict[int, tuple[int, int, _Answer]] = {}

    async def bars(self, start_ns: int, end_ns: int) -> Rows:
        """Return the bars of all symbols. Raises SourceError, or PartialAnswer if Yahoo lacks only some symbols.

        `lost` maps a column to its error, which a repeated request cannot correct.
        """
        oldest = self._now() - REACH_DAYS[self._interval] * DAY_NS
        if start_ns < oldest and not self._daily:
            what = f"bars of {self._interval} go back {REACH_DAYS[self._interval]} days only, to {session_date(oldest)}"
            raise SourceError(self.name, what, "Ask for a later start or for longer bars", again=False)
        answers, lost = await self._each(lambda column: self._bars_answer(column, start_ns, end_ns))
        rows = within(joined(answer.rows for answer in answers), start_ns, end_ns)
        if lost:
            missing = [self._universe.symbols[column] for column in lost]
            why = one_line(next(iter(lost.values())).what, WORDS)
            if len(lost) == self._universe.size:
                remedies = {error.remedy for error in lost.values()} - {UNKNOWN}
                remedy = remedies.pop() if len(remedies) == 1 else "Check how it spells them"
                raise SourceError(self.name, f"no bar of {some(missing)}: {why}", remedy, again=False)
            raise PartialAnswer(self.name, rows, missing, why)
        return whole(self.name, rows, self._universe.symbols, start_ns, end_ns)

    async def actions(self, start_ns: int, end_ns: int) -> list[ActionRow]:
        """Return the actions. A fund's capital gains count as dividends, unless Yahoo includes them already.

        Raises SourceError where Yahoo has no answer for a symbol.
        """
        if self.adjusted:
            return []
        answers, lost = await self._each(lambda column: self._recent_answer(column, start_ns))
        for column, error in lost.items():
            raise SourceError(self.name, f"no actions of {self._universe.symbols[column]}: {error.what}", again=False)
        return actions_within((action for answer in answers for action in answer.actions), start_ns, end_ns)

    async def close(self) -> None:
        """Close the session; a request that is running in a thread ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._session is not None:
            self._session.close()
            self._session = None

    async def _each(self, answer_of: Callable[[int], _Answer]) -> tuple[list[_Answer], dict[int, SourceError]]:
        """Request every symbol. Returns (answers, column (symbol) -> error that a repeat cannot correct).

        Raises any other error.
        """
        loop = asyncio.get_running_loop()
        size = self._universe.size
        futures = [loop.run_in_executor(self._threads, answer_of, column) for column in range(size)]
        for future in futures:
            future.add_done_callback(
                lambda _: self._progress(sum(done_future.done() for done_future in futures) / size)
            )
        # each thread answers one symbol after another, each within the deadline
        rounds = -(-size // _THREADS)
        try:
            async with asyncio.timeout(self._deadline_s * rounds):
                results = await asyncio.gather(*futures, return_exceptions=True)
        except TimeoutError:
            for future in futures:
                future.cancel()
            host = urlsplit(self._gateway).netloc or "yahoo.com"
            raise Unreachable(self.name, host, f"no answer within {self._deadline_s * rounds:g} s") from None
        answers, errors = [], {}
        for column, result in enumerate(results):
            if isinstance(result, _Answer):
                answers.append(result)
            elif isinstance(result, SourceError) and not result.again:
                errors[column] = result
            else:
                raise result
        return answers, errors

    def _bars_answer(self, column: int, start_ns: int, end_ns: int) -> _Answer:
        """Return one symbol's bars and actions; runs in a worker thread.

        Yahoo's prices are adjusted for splits after `end_ns` too. The daily download, which has all splits, therefore
        extends to the present.
        """
        history = self._history(column, start_ns)
        if self._daily:
            return history

        def read(frame: "pd.DataFrame | None") -> _Answer:
            return _Answer(self._rows(frame, column, history.actions), history.actions)

        return self._ask(column, read, start=_moment(start_ns), end=_moment(end_ns), interval=self._interval)

    def _history(self, column: int, start_ns: int) -> _Answer:
        """Download one symbol's days since shortly before `start_ns`, and note them as its newest answer.

        The answer has the actions, and the bars if the source is of daily bars.
        """

        def read(frame: "pd.DataFrame | None") -> _Answer:
            if frame is None:
                raise self._unknown(column, "an empty chart")
            self._require_possible(column, frame)
            actions = _actions(frame, column)
            return _Answer(self._rows(frame, column, actions) if self._daily else rows_of(()), actions)

        # two weeks earlier, because a range without a session is refused like an unknown symbol
        first_moment = max(_moment(start_ns - 14 * DAY_NS), _HISTORY_DAY)
        answer = self._ask(column, read, start=first_moment, end=None, interval="1d")
        self._newest[column] = (start_ns, self._now(), answer)
        return answer

    def _recent_answer(self, column: int, start_ns: int) -> _Answer:
        """Return the last download of the same symbol if it is recent, else a new one.

        A request for actions follows a request for bars, whose download has the actions too.
        """
        answer_start, at_ns, answer = self._newest.get(column, (0, 0, None))
        is_recent = answer is not None and answer_start <= start_ns and self._now() - at_ns < _FRESH_NS
        return answer if answer is not None and is_recent else self._history(column, start_ns)

    def _ask(self, column: int, read: Callable[["pd.DataFrame | None"], _T], **range_: Any) -> _T:
        """Download one symbol and return the result of `read` on the table.

        `read` gets None for a known symbol without data in the range. Raises SourceError for any exception of yfinance,
        of its parsers or of `read`.
        """
        import yfinance  # type: ignore[import-untyped]
        from peewee import PeeweeException
        from yfinance.exceptions import YFRateLimitError  # type: ignore[import-untyped]

        symbol, session = self._theirs[column], self._prepared()
        chart = begin_chart()
        try:
            ticker = yfinance.Ticker(symbol, session=session)
            frame = ticker.history(
                **range_, auto_adjust=False, actions=True, prepost=False, keepna=True, timeout=self._deadline_s / 3
            )
            self._require_currency(column, ticker.history_metadata.get("currency"))
            return read(frame)
        except SourceError:
            raise
        except YFRateLimitError:
            what, after_s = f"too many requests: {chart.host or symbol} limits them ({symbol})", 60.0
            raise SourceError(self.name, what, LATER, after_s=after_s) from None
        except PeeweeException as error:
            raise self._cacheless(error) from None
        except Exception:
            # the answer itself tells a failure from a known symbol without data, for which yfinance raises too
            if (problem := chart.problem(self.name, symbol)) is not None:
                raise problem from None
        try:
            return read(None)
        except SourceError:
            raise
        except Exception:
            raise chart.unreadable(self.name, symbol) from None

    def _require_currency(self, column: int, quoted_currency: object) -> None:
        """Raise SourceError for prices in another currency than the instrument's; an index has points, no currency.

        _MINOR maps Yahoo's codes of hundredths, such as GBp, to the usual ones.
        """
        instrument = self._universe.instruments[column]
        if not quoted_currency or kind_of(instrument.symbol) == "index":
            return
        code = _MINOR.get(str(quoted_currency), str(quoted_currency))
        if code != instrument.currency:
            what = (
                f"{self._theirs[column]} is quoted in {one_line(quoted_currency, WORDS)}, not in {instrument.currency}"
            )
            remedy = f"Fetch it with --currency {code}: one file has one currency"
            raise SourceError(self.name, what, remedy if _CODE.fullmatch(code) else "Take it out", again=False)

    def _require_possible(self, column: int, frame: "pd.DataFrame") -> None:
        """Raise SourceError for a split or a dividend that no share can have had."""
        if frame.empty:
            return
        for name, largest in (("Stock Splits", _LARGEST_SPLIT), ("Dividends", _LARGEST)):
            amount = np.abs(frame[name].to_numpy(dtype=np.float64))
            if len(impossible_rows := np.flatnonzero(amount > largest)):
                day = session_date(int(_days(frame)[impossible_rows[0]]))
                what = f"{self._theirs[column]}: it lists {amount[impossible_rows[0]]:g} of {name} on {day}"
                raise SourceError(self.name, what, "Take another source, or a range after that day", again=False)

    def _unknown(self, column: int, words: str) -> SourceError:
        return SourceError(self.name, f"{self._theirs[column]}: {words}", UNKNOWN, again=False)

    def _make_caches(self, folder: Path) -> None:
        """Create the databases of yfinance's caches. Raises SourceError where the folder cannot be written."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name in _CACHES:
                with closing(sqlite3.connect(folder / name)) as database:
                    database.execute("PRAGMA journal_mode = wal")
        except (OSError, sqlite3.Error) as error:
            raise self._cacheless(error) from None

    def _cacheless(self, error: Exception) -> SourceError:
        where = f" in {self._cookies}" if self._cookies is not None else ""
        return SourceError(self.name, f"yfinance's cache{where}: {one_line(error, WORDS)}")

    def _prepared(self) -> Any:
        """Return yfinance's session, set up once so that yfinance raises errors and queries the network each time."""
        import yfinance
        from yfinance.data import YfData  # type: ignore[import-untyped]

        with _one_at_a_time:
            if self._session is None:
                yfinance.config.debug.hide_exceptions = False
                logging.getLogger("yfinance").addHandler(logging.NullHandler())  # errors are raised, not logged
                warnings.filterwarnings("ignore", module=r"yfinance(\..*)?$")
                if self._cookies is not None:
                    self._make_caches(self._cookies)
                    yfinance.set_tz_cache_location(str(self._cookies))
                self._session = session_of(self._gateway, self._deadline_s / 3)
            YfData.cache_get.cache_clear()  # else an answer of status 500 stays for the life of the process
            return self._session

    def _rows(self, frame: "pd.DataFrame | None", column: int, actions: Sequence[ActionRow]) -> Rows:
        """Convert Yahoo's table to bars; None gives no bars.

        Raw prices and volumes are as of the day, before the later splits in `actions`. Adjusted prices are adjusted by
        the ratio of the adjusted close to the close.
        """
        if frame is None or frame.empty:
            return rows_of(())
        frame = frame[frame[list(_PRICES)].notna().any(axis=1)]  # a row without prices is no bar
        session_dates = _days(frame)
        if self.adjusted and self._daily:
            self._require_dividends_held(frame, session_dates, column)
        ts = session_dates if self._daily else _stamps(frame.index)
        factor = np.ones(len(ts)) if self.adjusted else factors(session_dates, actions)
        values = {name: frame[name].to_numpy(dtype=np.float64) for name in (*_PRICES, "Adj Close", "Volume")}
        with np.errstate(divide="ignore", invalid="ignore"):
            adjustment = values["Adj Close"] / values["Close"]
        nano_prices = [
            exact_nano(values[n] * adjustment) if self.adjusted else paid(values[n], factor) for n in _PRICES
        ]
        volume = np.where(factor == 1.0, values["Volume"], np.rint(values["Volume"] / factor))
        zeros = np.zeros(len(ts), dtype=np.int64)
        opened, high, low, close = map(currency, nano_prices)
        # the last zeros: all bars are of one source
        return Rows(ts, zeros + column, opened, high, low, close, volume, nano_prices[0], nano_prices[3], zeros)

    def _require_dividends_held(self, frame: "pd.DataFrame", session_dates: Ints, column: int) -> None:
        """Raise SourceError if the adjusted closes are adjusted for another amount than the dividend of a day.

        Yahoo sometimes does not adjust for a dividend, adjusts for a hundredth of it, or subtracts a capital gain
        twice.
        """
        close, adjusted = (frame[name].to_numpy(dtype=np.float64) for name in ("Close", "Adj Close"))
        cash = _cash(frame)
        with np.errstate(divide="ignore", invalid="ignore"):
            dividend_share = np.append(np.nan, cash[1:] / close[:-1])
            adjusted_fall = np.append(np.nan, 1 - (adjusted[:-1] / close[:-1]) / (adjusted[1:] / close[1:]))
            contradicted = np.abs(adjusted_fall - dividend_share) > np.maximum(_ADJUSTED_MISS, dividend_share / 10)
        contradicted_days = np.flatnonzero(contradicted & (cash > 0))
        if len(contradicted_days):
            row = int(contradicted_days[0])
            raise SourceError(
                self.name,
                f"{self._theirs[column]}: its adjusted closes fall by {adjusted_fall[row]:.2%} for the dividend of "
                f"{cash[row]:.6g} on {session_date(int(session_dates[row]))}, "
                f"which is {dividend_share[row]:.2%} of the close before",
                "Fetch raw prices: without --adjusted",
                again=False,
            )


def spelled(instrument: Instrument) -> str:
    """Return Yahoo's name of an instrument: BTC-USD for BTC/USD, BRK-B for the share class BRK.B; TSCO.L stays.

    The last dot of a symbol begins an exchange's suffix or a share class. An earlier dot begins a share class: BT.A.L
    becomes BT-A.L. A symbol of another calendar than New York's stays as it is written if its suffix is unknown.
    """
    symbol = instrument.symbol.replace("/", "-")
    suffix = suffix_of(symbol)
    if not suffix and instrument.calendar not in _HOME:
        return symbol
    return symbol.removesuffix(suffix).replace(".", "-") + suffix


def _actions(frame: "pd.DataFrame", column: int) -> list[ActionRow]:
    """Return the splits, and the dividends as amounts per share of the day on which they were paid, before any later
    split."""
    if frame.empty:
        return []
    session_dates = _days(frame)
    ratio = frame["Stock Splits"].to_numpy(dtype=np.float64)
    actions = []
    for row in np.flatnonzero((ratio > 0) & np.isfinite(ratio)).tolist():
        exact_ratio = Fraction(float(ratio[row])).limit_denominator(_LARGEST_RATIO)
        if exact_ratio > 0:
            actions.append(
                ActionRow(int(session_dates[row]), column, "split", exact_ratio.numerator, exact_ratio.denominator, 0)
            )
    cash = _cash(frame)
    # the amount of a split's day is for each new share, and it is paid on the shares before: one instant earlier
    dividend_nano = paid(cash, factors(session_dates - 1, actions), _DIVIDEND_ROUNDED_BY)
    for row in np.flatnonzero(dividend_nano > 0).tolist():
        actions.append(ActionRow(int(session_dates[row]), column, "dividend", 1, 1, int(dividend_nano[row])))
    return actions


def _cash(frame: "pd.DataFrame") -> Floats:
    """Return float64[R], each day's dividend plus a fund's capital gains, per share after the day's split."""
    cash = frame["Dividends"].to_numpy(dtype=np.float64)
    if "Capital Gains" not in frame.columns:
        return cash
    gains = frame["Capital Gains"].to_numpy(dtype=np.float64)
    return np.where(cash >= gains, cash, cash + gains)  # Yahoo now includes gains in the dividends


def _stamps(index: Any) -> Ints:
    """Return the instants of a pandas DatetimeIndex, int64[R] ns UTC."""
    return np.asarray(index.as_unit("ns").asi8, dtype=np.int64)


def _days(frame: "pd.DataFrame") -> Ints:
    """Return int64[R], the session date of each row in the exchange's time zone (ns at 00:00)."""
    index: Any = frame.index
    local = _stamps(index.tz_localize(None))
    return local - local % DAY_NS


def _moment(ns: int) -> datetime:
    return datetime.fromtimestamp(ns // NANO, UTC)


def factors(day_ns: Ints, splits: Sequence[ActionRow]) -> Floats:
    """Return float64[R], the factor of later splits for each of R bars: how many of today's shares one share of that
    day has become.

    `day_ns` int64[R] is each bar's session date (ns at 00:00 UTC). The raw price is the adjusted price times the
    factor, the raw volume the adjusted volume divided by it.
    """
    new_per_old = np.ones(len(day_ns))
    total = Fraction(1)
    for split in sorted((split for split in splits if split.kind == "split"), key=lambda split: -split.day_ns):
        total *= Fraction(split.numerator, split.denominator)
        new_per_old[day_ns < split.day_ns] = float(total)
    return new_per_old


def paid(prices: Floats, factor: Floats, rounded_by: float = 0.0) -> Ints:
    """Return int64[R] nano-currency: the shortest decimal equal to `prices` x `factor` in single precision.

    0 stands for no price. Vendors with float32 send 124.80750274658203 for 124.8075, a quarter of 499.23. A price that
    is neither a widened float32 nor changed by a split is exact to its last digit. `rounded_by` is the vendor's
    rounding error (half of its last decimal); it applies where it is larger than the error of single precision.

    The tolerance is half a step of single precision, or the vendor's rounding error, with a small margin for the
    arithmetic.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        product = prices * factor
    representable = np.where(np.isfinite(product) & (np.abs(product) < _LARGEST), product, 0.0)
    as_float32 = np.where(np.abs(prices) < _LARGEST, prices, 0.0).astype(np.float32)
    is_approximate = (as_float32.astype(np.float64) == prices) | (factor != 1.0)
    tolerance = np.maximum(np.spacing(np.abs(as_float32)).astype(np.float64) * 0.51, rounded_by * 1.01) * factor
    nanos = exact_nano(representable)
    pending = is_approximate & (representable != 0.0)
    for decimals in range(_DECIMALS + 1):
        if not pending.any():
            break
        rounded = np.round(representable, decimals)
        fits = pending & (np.abs(rounded - representable) <= tolerance)
        nanos[fits] = np.rint(rounded[fits] * 10**decimals).astype(np.int64) * 10 ** (_DECIMALS - decimals)
        pending &= ~fits
    return nanos


def currency(nano: Ints) -> Floats:
    """Convert int64[R] nano-currency to float64[R] currency; 0, which means no price, becomes NaN."""
    return np.where(nano == 0, np.nan, nano / NANO)


def source(request: Request) -> YahooSource:
    """Return Yahoo's bars as a Source. Raises SourceError for an interval that Yahoo does not have."""
    return YahooSource(
        request.universe, request.interval, adjusted=request.adjusted, gateway=request.url, cookies=request.cookies,
        progress=request.progress,
    )  # fmt: skip
