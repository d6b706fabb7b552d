"""GET /api/v1/performance and /attribution: what the account, a book or the benchmark earned between two dates.

Both are computed from the run's own record in a thread, one request at a time.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import date
from typing import Annotated, Final, TypeVar

import numpy as np
from aiohttp import web
from msgspec import Meta, Struct

from quantd.adapters.store.queries import Reader
from quantd.daemon.api.documents import PLAIN, Query
from quantd.daemon.api.problems import FieldFault, Refused
from quantd.daemon.api.route_records import Read, Route
from quantd.daemon.api.routes.explanation_routes import rested
from quantd.daemon.api.run_reader import RunReader
from quantd.daemon.engine.valuation import Gain
from quantd.daemon.views.report.figures import own_closes
from quantd.research.attribution.book_history import BookHistory
from quantd.research.attribution.stored_history import SymbolPart, parting, stored_history
from quantd.research.attribution.stored_track import StoredBooks
from quantd.research.metrics.catalogue import METRICS, measure
from quantd.research.runs.comparison import samples_a_year
from quantd.research.runs.stored_run import RunUnusable
from quantd.trading.display_text import instant_text
from quantd.trading.market import Floats

BENCHMARK: Final = "benchmark"

T = TypeVar("T")


class Dates(Query, frozen=True):
    """A period."""

    start: Annotated[date | None, Meta(description="First date, UTC; the run's first without it.")] = None
    end: Annotated[date | None, Meta(description="Last date, included; the run's last without it.")] = None


class OfBook(Dates, frozen=True):
    """A book and a period."""

    book: Annotated[str, Meta(pattern=PLAIN, description='An agent, or "benchmark"; the house without it.')] = ""


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
    """The time-weighted return of the account over a period; the contributions add up to it."""

    run: str
    first: str
    last: str
    total_return: float
    symbols: list[SymbolPart]


class Performances:
    """The two routes of one running service."""

    def __init__(self, run: RunReader) -> None:
        self._run = run
        self._one = asyncio.Lock()
        self._history: tuple[int, BookHistory] | None = None

    def routes(self) -> tuple[Route, ...]:
        path = "/api/v1/performance"
        return (
            Read(path, self.performance, Performance, "Return, risk and ratios of a book.", OfBook),
            Read(f"{path}/attribution", self.attribution, Attribution, "The return by symbol.", Dates),
        )

    async def performance(self, request: web.Request, query: OfBook) -> Performance:
        _check(query)
        names = [agent.name for agent in self._run.config.agents]
        if query.book not in ("", BENCHMARK, *names):
            known = ", ".join((*names, BENCHMARK))
            raise _unknown(f"book: there is no book {query.book!r}; known: {known}, or none for the house")
        return await self._work(lambda reader, more: self._measured(StoredBooks(reader, self._run.parts, more), query))

    async def attribution(self, request: web.Request, query: Dates) -> Attribution:
        _check(query)
        return await self._work(lambda reader, more: self._parted(StoredBooks(reader, self._run.parts, more), query))

    async def _work(self, work: Callable[[Reader, Sequence[Gain]], T]) -> T:
        """One request at a time, in a thread. Raises Refused."""

        def guarded(reader: Reader) -> T:
            try:
                return work(reader, more)
            except RunUnusable as why:
                raise Refused(409, "unavailable", str(why)) from None

        async with self._one:
            await self._run.service.settled()
            more = own_closes(self._run.service.shell.state).get("", ())
            return await self._run.read(guarded)

    def _measured(self, books: StoredBooks, query: OfBook) -> Performance:
        first, last = books.span(query.start, query.end)
        metrics: dict[str, float | None] = {each.name: None for each in METRICS}
        if last >= first:
            if query.book == BENCHMARK:
                returns, book = self._benchmark(len(books.ts)), None
            else:
                returns, book = books.returns(query.book), query.book
            try:
                metrics = measure(books.track(returns, first, last, book))
            except ValueError as why:
                raise Refused(409, "unavailable", f"the book {query.book or 'house'}: {why}") from None
        parts = self._run.parts
        begin, end = _texts(books, first, last)
        periods, samples = samples_a_year(parts), max(0, last - first)
        return Performance(
            self._run.service.run, query.book, begin, end, samples, periods, parts.sharpe_definition, metrics
        )

    def _benchmark(self, samples: int) -> Floats:
        """float64[T+1]: total returns of [universe] benchmark between the samples."""
        universe, history = self._run.parts.universe, self._replayed()
        if not universe.benchmark:
            raise _unknown("book: there is no benchmark; write [universe] benchmark")
        if universe.benchmark not in universe.symbols:
            raise _unknown(f"book: the benchmark {universe.benchmark} is not one of [universe] symbols")
        own = history.asset_returns()[:, universe.symbols.index(universe.benchmark)]
        return np.concatenate((np.zeros(1), own))[:samples]

    def _parted(self, books: StoredBooks, query: Dates) -> Attribution:
        history = self._replayed()
        first, last = books.span(query.start, query.end)
        begin, end = _texts(books, first, last)
        if last <= first:
            return Attribution(self._run.service.run, begin, end, 0.0, [])
        try:
            found = parting(history.part(first, min(last, history.intervals)))
        except ValueError as why:
            raise Refused(409, "unavailable", str(why)) from None
        return Attribution(self._run.service.run, begin, end, found.total, found.symbols)

    def _replayed(self) -> BookHistory:
        """The history of the books, replayed once per sample however many requests there are."""
        service, run = self._run.service, self._run
        newest = service.histories.portfolio.newest(1)
        ts = newest[-1].ts if newest else 0
        if self._history is None or self._history[0] != ts:
            self._history = ts, stored_history(run.parts, service.store, service.run, run.folder, rested)
        return self._history[1]


def _check(query: Dates) -> None:
    if query.start is not None and query.end is not None and query.start > query.end:
        text = f"start = {query.start} is after end = {query.end}; exchange them"
        raise Refused(422, "query", text, errors=[FieldFault("start", text)])


def _unknown(text: str) -> Refused:
    return Refused(404, "not_found", text, errors=[FieldFault("book", text)])


def _texts(books: StoredBooks, first: int, last: int) -> tuple[str, str]:
    """The first and last valuation as text; empty without one."""
    return (instant_text(int(books.ts[first])), instant_text(int(books.ts[last]))) if last >= first else ("", "")
