"""GET /api/v1/performance and its parts: what the account, the book of an agent or the benchmark earned between two
dates.

All answers are computed from the run's own store in a thread. Requests that need the history of the books, whose first
reading takes a minute for 100,000 orders, wait for each other; all other requests wait for each other alone.
"""

import asyncio
from collections.abc import Callable
from datetime import date
from math import isfinite
from typing import Annotated, Final, TypeVar

import numpy as np
from aiohttp import web
from msgspec import Meta, Struct

from quantd.adapters.store.queries import Reader
from quantd.daemon.config.agent_tables import BENCHMARK
from quantd.daemon.views.outside_wealth import outside_of
from quantd.daemon.views.report.figures import var_test, with_values
from quantd.daemon.views.rows import LIMIT_ROWS
from quantd.research.attribution.book_history import BookHistory
from quantd.research.attribution.stored_history import StoredHistory, SymbolPart, parting
from quantd.research.attribution.stored_track import HOUSE, PastTrades, StoredBooks
from quantd.research.metrics.catalogue import METRICS, measure
from quantd.research.runs.comparison import samples_a_year
from quantd.research.runs.stored_run import RunUnusable
from quantd.risk.measures.var_backtest import VarBacktest
from quantd.server.api.documents import PLAIN, Query
from quantd.server.api.problems import FieldFault, Refused
from quantd.server.api.route_groups import RouteGroup
from quantd.server.api.route_records import Read
from quantd.server.api.routes.explanation_routes import rested
from quantd.server.api.run_reader import RunReader
from quantd.trading.display_text import instant_text
from quantd.trading.market import Floats
from quantd.trading.statistics import sharpe, simple_returns

T = TypeVar("T")


class OfBook(Query, frozen=True, rename={"start": "from", "end": "to"}):
    """A book and a period. A portfolio begins when it is opened."""

    start: Annotated[date | None, Meta(description="First date, UTC; the run's first without it.")] = None
    end: Annotated[date | None, Meta(description="Last date, included; the run's last without it.")] = None
    book: Annotated[
        str, Meta(pattern=PLAIN, description='An agent, an open portfolio, or "benchmark"; the house without it.')
    ] = ""


class Performance(Struct, frozen=True):
    """Figures of one book over a period, net of all costs; deposits and withdrawals are no return.

    `metrics` has each metric of `quantd backtest` by name, null where it is undefined: `total_return`, `cagr`,
    `volatility`, `sharpe`, `sortino`, `max_drawdown`, `calmar`, `win_rate` and others. `samples` is the number of
    returns, `samples_a_year` the factor of annual figures. `first` and `last` are the first and last valuation.
    """

    run: str
    book: str
    first: str
    last: str
    samples: int
    samples_a_year: float
    sharpe_definition: str
    metrics: dict[str, float | None]


class Attribution(Struct, frozen=True):
    """The time-weighted return of the whole account or a book over a period; the contributions add up to it."""

    run: str
    book: str
    first: str
    last: str
    total_return: float
    symbols: list[SymbolPart]


class Rolled(OfBook, frozen=True, rename={"start": "from", "end": "to"}):
    """A book, a period, and the samples of each ratio."""

    window: Annotated[int, Meta(ge=5, le=2_000, description="Returns behind each ratio.")] = 63
    points: Annotated[int, Meta(ge=2, le=LIMIT_ROWS, description="Number of points; others are left out.")] = 600


class Rolling(Struct, frozen=True):
    """The Sharpe ratio of the last `window` returns at each sample: `ts` in ns UTC, `sharpe` annual.

    A ratio is null where the returns do not vary.
    """

    run: str
    book: str
    window: int
    samples_a_year: float
    sharpe_definition: str
    ts: list[int]
    sharpe: list[float | None]


class VarRecord(Struct, frozen=True):
    """The recorded VaR against the returns that followed.

    `result` is null where they cannot be compared; `missing` is then the reason.
    """

    run: str
    result: VarBacktest | None
    missing: str = ""


class Performances:
    """The API routes for the performance of one running daemon's account and books."""

    def __init__(self, run: RunReader) -> None:
        self._run = run
        self._turn, self._history_turn = asyncio.Lock(), asyncio.Lock()
        self._stored: StoredHistory | None = None
        self._history: tuple[int, BookHistory] | None = None
        self._past = PastTrades()

    async def performance(self, request: web.Request, query: OfBook) -> Performance:
        book, since = self._agent_and_opening(query, BENCHMARK)
        return await self._work(lambda books, _: self._measured(books, query, book, since), self._turn_of(book))

    async def attribution(self, request: web.Request, query: OfBook) -> Attribution:
        book, since = self._agent_and_opening(query)
        return await self._work(lambda books, _: self._attributed(books, query, book, since), self._history_turn)

    async def rolling(self, request: web.Request, query: Rolled) -> Rolling:
        book, since = self._agent_and_opening(query, BENCHMARK)
        return await self._work(lambda books, _: self._rolled(books, query, book, since), self._turn_of(book))

    async def var(self, request: web.Request, query: Query) -> VarRecord:
        return await self._work(self._var, self._turn)

    def _agent_and_opening(self, query: OfBook, *further_books: str) -> tuple[str, int]:
        """Return the agent whose book a query names, and the instant (ns UTC) at which the book's portfolio was opened.

        The instant is 0 for a book without a portfolio.

        The query may name an agent, or an open portfolio, whose agent is then returned. An empty name (the whole
        account) and the names in `further_books` are returned unchanged. Raises Refused for an unknown book, and for a
        period that ends before it begins.
        """
        state = self._run.service.shell.state
        # name of an agent -> the instant at which its portfolio was opened, 0 for another agent
        agents = {state.rules.agents[k].name: 0 for k in state.in_use()}
        opened = {
            portfolio.name: (state.rules.agents[k].name, portfolio.opened) for k, portfolio in state.portfolios.items()
        }
        agents |= dict(opened.values())
        if query.book in ("", *further_books):
            return query.book, 0
        if query.book not in (*agents, *opened):
            names = ", ".join((*agents, *opened, *further_books))
            raise _unknown_book(f"book: there is no book {query.book!r}; known: {names}, or none for the house")
        return (query.book, agents[query.book]) if query.book in agents else opened[query.book]

    def _turn_of(self, book: str) -> asyncio.Lock:
        """Return the lock of reads of a book. The benchmark may lie in the universe, whose prices the history has."""
        return self._history_turn if book == BENCHMARK else self._turn

    async def _work(self, work: Callable[[StoredBooks, Reader], T], turn: asyncio.Lock) -> T:
        """Return the result of `work` in a thread, one request at a time of those that wait for the same `turn`.

        Raises Refused for an unusable run.
        """

        def guarded(reader: Reader) -> T:
            try:
                return work(StoredBooks(reader, self._run.parts, self._past), reader)
            except RunUnusable as why:
                raise Refused(409, "unavailable", str(why)) from None

        async with turn:
            await self._run.service.settled()
            return await self._run.read(guarded)

    def _measured(self, books: StoredBooks, query: OfBook, book: str, since: int) -> Performance:
        """Return the metrics of `book` over the period of the query, from the instant `since` at the earliest.

        All metrics are null for a period without samples. Raises Refused where the book lost everything.
        """
        first, last = _span(books, query, since)
        metrics: dict[str, float | None] = {metric.name: None for metric in METRICS}
        if last >= first:
            track_book = None if book == BENCHMARK else book  # a benchmark has no round trips
            returns = self._benchmark(books) if track_book is None else books.returns(track_book)
            try:
                metrics = measure(books.track(returns, first, last, track_book))
            except ValueError as why:
                raise Refused(409, "unavailable", f"the book {query.book or 'house'}: {why}") from None
        parts = self._run.parts
        begin, end = _instant_texts(books, first, last)
        periods, samples = samples_a_year(parts), max(0, last - first)
        return Performance(
            self._run.service.run, query.book, begin, end, samples, periods, parts.sharpe_definition, metrics
        )

    def _rolled(self, books: StoredBooks, query: Rolled, book: str, since: int) -> Rolling:
        """Return annual Sharpe ratios over `query.window` returns each, at most `query.points` of them."""
        first, last = _span(books, query, since)
        returns = self._benchmark(books) if book == BENCHMARK else books.returns(book)
        periods, window = samples_a_year(self._run.parts), query.window
        risk_free_annual = self._run.parts.risk_free_annual(books.days_ns.tolist(), periods)
        window_count = max(0, last - first - window + 1)
        # the newest sample is always shown; the negations round the step up
        ends = range(last, first + window - 1, -max(1, -(-window_count // query.points))) if window_count else range(0)
        ratios = [
            sharpe(
                returns[k - window + 1 : k + 1],
                periods,
                risk_free_annual if isinstance(risk_free_annual, float) else risk_free_annual[k - window + 1 : k + 1],
            )
            for k in reversed(ends)
        ]
        return Rolling(
            self._run.service.run, query.book, window, periods, self._run.parts.sharpe_definition,
            [int(books.ts[k]) for k in reversed(ends)], [ratio if isfinite(ratio) else None for ratio in ratios],
        )  # fmt: skip

    def _var(self, books: StoredBooks, reader: Reader) -> VarRecord:
        """Compare the newest VaR at each sample with the account's return to the next sample."""
        service, records = self._run.service, with_values(reader.risk(), reader.decisions())
        return VarRecord(service.run, *var_test(records, books.ts, books.returns(HOUSE), service.config))

    def _benchmark(self, books: StoredBooks) -> Floats:
        """Return float64[T+1], the total returns of [universe] benchmark to each sample, 0 at the first sample.

        The benchmark may lie in the universe or outside it. Raises Refused without a benchmark, or without its prices.
        """
        universe = self._run.parts.universe
        if not universe.benchmark:
            raise _unknown_book("book: there is no benchmark; name one in [universe] benchmark")
        if universe.benchmark in universe.symbols:
            asset_returns = self._history_now().asset_returns()[:, universe.symbols.index(universe.benchmark)]
            return np.concatenate((np.zeros(1), asset_returns))[: len(books.ts)]
        wealth, why = outside_of(self._run.parts, books.ts.tolist())
        if wealth is None:
            raise _unknown_book(f"book: {why}")
        return np.concatenate((np.zeros(1), simple_returns(wealth)))

    def _attributed(self, books: StoredBooks, query: OfBook, book: str, since: int) -> Attribution:
        """Return the parts of the return of `book` by symbol, over the period of the query; no parts for a period of
        one sample.

        An empty `book` is the whole account.
        """
        history = self._history_now()
        first, last = _span(books, query, since)
        begin, end = _instant_texts(books, first, last)
        if last <= first:
            return Attribution(self._run.service.run, query.book, begin, end, 0.0, [])
        try:
            part = history.part(first, min(last, history.intervals))
            parts = parting(part.book(book) if book else part)
        except ValueError as why:
            raise Refused(409, "unavailable", str(why)) from None
        return Attribution(self._run.service.run, query.book, begin, end, parts.total, parts.symbols)

    def _history_now(self) -> BookHistory:
        """Return the history of the books. An entry of the journal is read once, however many requests there are."""
        service, run = self._run.service, self._run
        newest = service.histories.portfolio.newest(1)
        ts = newest[-1].ts if newest else 0
        if self._history is None or self._history[0] != ts:
            stored = self._stored or StoredHistory(run.parts, service.store, service.run, rested)
            self._stored = self._history = None  # a reader that fails half-way is not used again
            self._history = ts, stored.newest()
            self._stored = stored
        return self._history[1]


def _span(books: StoredBooks, query: OfBook, since: int) -> tuple[int, int]:
    """Return the indices of the first and the last sample of a query; without a sample, last < first.

    A portfolio begins with the sample at which it was opened: `since` is this time in ns UTC, 0 for no portfolio.
    """
    first, last = books.span(query.start, query.end)
    return max(first, int(np.searchsorted(books.ts, since, side="right")) - 1), last


def _unknown_book(text: str) -> Refused:
    return Refused(404, "not_found", text, errors=[FieldFault("book", text)])


def _instant_texts(books: StoredBooks, first: int, last: int) -> tuple[str, str]:
    """Return the times of the samples at the indices `first` and `last`, as text; empty without a sample."""
    return (instant_text(int(books.ts[first])), instant_text(int(books.ts[last]))) if last >= first else ("", "")


ROUTES: Final = RouteGroup(
    "performance",
    70,
    lambda context: Performances(context.run),
    routes=(
        Read(
            "/api/v1/performance", Performances.performance, "Return, risk and ratios of a book.", call="performance",
            form={"places": ("book",)},
        ),
        Read("/api/v1/performance/attribution", Performances.attribution, "The return by symbol.", call="attribution"),
        Read(
            "/api/v1/performance/rolling", Performances.rolling, "The rolling Sharpe ratio of a book.", call="rolling",
            form={"places": ("book",)},
        ),
        Read("/api/v1/risk/var", Performances.var, "The VaR backtest of the house.", call="risk_var"),
    ),
)  # fmt: skip
