"""GET /api/v1/profit and the paths below it: profit in money over a period, of the account, its books and positions.

Profit is computed from the journal and the present ledger. To fold the journal is to compute the account's history from
it, entry by entry.

What can go wrong: the first request folds the whole journal, which delays trading. With 100,000 orders that took about
four seconds of the processor. So the journal is folded in a thread, each entry once, at half speed, and also while no
request waits. The present ledger is read between steps, and the history is folded up to the same entry. A request waits
for the commit of that entry, and is refused if the commit is late.
"""

import asyncio
import contextlib
import time
from calendar import monthrange
from datetime import date, timedelta
from functools import partial
from typing import Annotated, Final, Literal

from aiohttp import web
from msgspec import Meta, Struct
from msgspec.structs import replace

from quantd.adapters.store.queries import Reader
from quantd.daemon.views.account_history import AccountHistory, Note
from quantd.daemon.views.account_profit import (
    AccountProfit,
    BookProfit,
    Curve,
    DayProfit,
    Present,
    Span,
    SymbolProfit,
)
from quantd.daemon.views.outside_wealth import outside_of
from quantd.daemon.views.overview import found_in
from quantd.daemon.views.rows import LIMIT_ROWS
from quantd.server.api.documents import END_NS, IN_NS, MOST_NS, Query, Rows, Search
from quantd.server.api.problems import Refused
from quantd.server.api.route_groups import RouteContext, RouteGroup
from quantd.server.api.route_records import Read
from quantd.server.api.routes.explanation_routes import rested
from quantd.server.api.run_reader import RunReader
from quantd.trading.display_text import instant_text, session_date
from quantd.trading.sessions import DAY_NS

COMMIT_S: Final = 2.0
"""Longest wait for the commit of the newest entry, in seconds: a failing store must not block every read."""

FOLLOWED: Final = 250
"""Number of new entries at which they are folded without a request. A large house adds 25 per sample."""

FOLLOW_S: Final = 1.0
"""Shortest time between two looks at the journal without a request, in seconds."""

MONTHS: Final = {"1M": 1, "3M": 3, "1Y": 12}

PeriodName = Literal["1D", "1W", "1M", "3M", "YTD", "1Y", "all"]


class OfPeriod(Query, frozen=True, rename={"start": "from", "end": "to"}):
    """A period by its name, or by dates, which take precedence."""

    period: Annotated[PeriodName, Meta(description="Up to now: the session of now, or that many days back.")] = "all"
    start: Annotated[date | None, Meta(description="First date, UTC.")] = None
    end: Annotated[date | None, Meta(description="Last date, included.")] = None


class PeriodNow(Struct, frozen=True):
    """A period in ns UTC: since < sample <= until for samples, since <= ts < until for other rows.

    `since` is 0 for the start of the run, and `until` is null where the period goes on. `first` and `last` are its
    dates; `first` is empty for the start of the run, and `last` is the present date where the period goes on.
    """

    run: str
    since: int
    until: int | None
    first: str
    last: str


class Window(Query, frozen=True):
    """A period in ns UTC, with the `since` and `until` of /api/v1/period."""

    since: Annotated[
        int,
        Meta(
            ge=0, le=MOST_NS, description="The opening is the last sample up to here, ns UTC.", extra_json_schema=IN_NS
        ),
    ] = 0
    until: Annotated[
        int,
        Meta(
            ge=0, le=MOST_NS, description="The closing is the last sample up to here, or now.",
            extra_json_schema=END_NS,
        ),
    ] = MOST_NS  # fmt: skip


class BySymbol(Window, frozen=True):
    """A period, and the largest rows of a list of symbols."""

    limit: Rows = 100
    search: Search = ""


class Profit(Struct, frozen=True):
    """Profit in money between two samples, `first` and `last`; `first` is empty for the start of the run.

    In each row, closing = opening + deposits + moved + profit. The `books` add up to the `account`. The profits of all
    symbols and `other` add up to the account's profit. `other` is interest, borrow fees and rounding; it is null if the
    profit of a symbol is null. `count` is the number of all symbols that match the search.
    """

    run: str
    currency: str
    first: str
    last: str
    account: BookProfit
    books: list[BookProfit]
    symbols: list[SymbolProfit]
    other: str | None
    count: int


class ByDay(Window, frozen=True):
    """A period divided into days, weeks or months."""

    by: Annotated[Span, Meta(description="The parts; a week begins on Monday.")] = "day"
    limit: Rows = 400


class Days(Struct, frozen=True):
    """Profit by day, week or month, the newest first. `count` is the number of all such spans in the period.

    The earliest span may begin before the period: its opening is the last sample up to `since`.
    """

    run: str
    currency: str
    by: Span
    days: list[DayProfit]
    count: int


class Drawn(Window, frozen=True):
    """A period as points of a chart."""

    points: Annotated[int, Meta(ge=2, le=LIMIT_ROWS, description="Number of points; others are left out.")] = 600


class CurveNow(Struct, frozen=True):
    """The curve of a period, and what happened in it: `notes` are starts, halts, deposits, promotions and others.

    `notes` has at most the newest 200, and `count` is the number of all notes of the period. `samples` is the number of
    samples of the period, with its opening. A benchmark outside the symbols has a line by its own bars. `missing` is
    the reason where it has none.
    """

    run: str
    currency: str
    benchmark: str
    samples: int
    curve: Curve
    notes: list[Note]
    count: int
    missing: str = ""


MOST_NOTES: Final = 200
"""Most notes in an answer."""


class AccountReader:
    """The account of one running service at every sample and now, computed once per entry of the journal."""

    def __init__(self, run: RunReader) -> None:
        self._run = run
        self._following: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._history: AccountHistory | None = None
        self._newest: tuple[int, AccountProfit] | None = None
        self._late = 0
        """The entry for whose commit a request has waited in vain; later requests do not wait for this entry."""

    def follow(self) -> None:
        """Begin to compute the account's history from the journal as it grows, also while no request asks for it."""
        self._following = asyncio.create_task(self._follow())

    def close(self) -> None:
        """End the computation that `follow` began."""
        if self._following is not None:
            self._following.cancel()

    async def _follow(self) -> None:
        """Add the journal's new entries to the account's history whenever FOLLOWED of them have come, so that a request
        has few entries to add.
        """
        service = self._run.service
        while True:
            await service.changed(FOLLOW_S)
            await asyncio.sleep(FOLLOW_S)
            seq = service.journal.seq
            if seq - self.folded < FOLLOWED:
                continue
            async with self._turn:
                with contextlib.suppress(Refused):  # the store fails: the next request reports that
                    await self._run.read(partial(self._fold_until, until=seq))

    @property
    def folded(self) -> int:
        """The number of the newest journal entry in the account's history; 0 before the first."""
        return self._history.seq if self._history is not None else 0

    async def profit(self) -> AccountProfit:
        """Return the account's profit up to the newest entry of the journal, computed once per entry.

        Raises Refused where the store has not committed this entry within COMMIT_S seconds.
        """
        service = self._run.service
        async with self._turn:
            await service.settled()
            seq = service.journal.seq
            if self._newest is None or self._newest[0] != seq:
                present = self._present(seq)
                # a request has waited for this entry in vain: the next ones look once
                deadline = time.monotonic() + (0.0 if seq == self._late else COMMIT_S)
                while (history := await self._run.read(lambda reader: self._fold_until(reader, seq))).seq < seq:
                    if time.monotonic() > deadline:
                        self._late = seq
                        raise Refused(
                            503, "store", "the newest entries of the journal are not committed yet; try again"
                        )
                    await service.changed(0.1)
                universe = service.shell.state.universe
                self._newest = seq, await asyncio.to_thread(AccountProfit, history, present, universe)
            return self._newest[1]

    def _present(self, seq: int) -> Present:
        """The present ledger; the journal entry `seq` was the last to change it.

        The method is called on the event loop, between steps, so that the state does not change meanwhile.
        """
        shell = self._run.service.shell
        state = shell.state
        state.revalue()
        return Present.of(state.ledger, state.marks_nano, state.equity_micro, state.books_micro, seq, shell.ts)

    def _fold_until(self, reader: Reader, until: int) -> AccountHistory:
        """The account's history up to the journal entry `until`, or up to the newest committed one.

        The history is computed at half speed (`rested`), so that the event loop can run.
        """
        if self._history is None:
            universe = self._run.service.shell.unsettled.universe  # `state` would raise in this thread
            self._history = AccountHistory(universe, reader.run.agents_at, self._run.parts.slices)
        for number, data in rested(reader.entries(self._history.seq + 1)):
            if number > until:
                break
            self._history.add_encoded(number, data)
        return self._history


class ProfitRoutes:
    """The routes of one running service."""

    def __init__(self, run: RunReader, account: AccountReader) -> None:
        self._run = run
        self._account = account

    async def period(self, request: web.Request, query: OfPeriod) -> PeriodNow:
        """A period in market time, so that a run on recorded bars is in the year of its bars. Raises Refused.

        `since` is 0 for the start of the run, and `until` None where the period goes on.
        """
        today = session_date(max(0, self._run.service.shell.ts - 1))
        first = query.start
        if query.start is None and query.end is None:
            first = _first_date(query.period, today)
        until = None if query.end is None else _ns(query.end + timedelta(days=1))
        since = 0 if first is None else max(0, _ns(first))
        return PeriodNow(self._run.service.run, since, until, str(first or ""), str(query.end or today))

    async def profit(self, request: web.Request, query: BySymbol) -> Profit:
        """The profit of the account, of its books and of the symbols in a period."""
        account_profit, window = await self._account.profit(), (query.since, query.until)

        def work() -> Profit:
            first, last = account_profit.instants(*window)
            symbols, other = account_profit.symbols(*window)
            shown = [symbol_profit for symbol_profit in symbols if found_in(query.search, symbol_profit.symbol)]
            return Profit(
                self._run.service.run, self._run.parts.universe.currency, instant_text(first), instant_text(last),
                account_profit.account(*window), account_profit.books(*window), shown[: query.limit], other, len(shown),
            )  # fmt: skip

        return await asyncio.to_thread(work)

    async def days(self, request: web.Request, query: ByDay) -> Days:
        account_profit = await self._account.profit()
        days = await asyncio.to_thread(account_profit.days, query.since, query.until, query.by)
        currency = self._run.parts.universe.currency
        return Days(self._run.service.run, currency, query.by, days[: query.limit], len(days))

    async def curve(self, request: web.Request, query: Drawn) -> CurveNow:
        """The curve of the account's profit in a period, thinned to `points`, with the notes on it."""
        account_profit, universe = await self._account.profit(), self._run.parts.universe
        curve = await asyncio.to_thread(account_profit.curve, query.since, query.until, query.points)
        begin, end = account_profit.span(query.since, query.until)
        notes = account_profit.notes(query.since, query.until)
        wealth, missing = await asyncio.to_thread(outside_of, self._run.parts, curve.ts)
        if wealth is not None:
            curve = replace(curve, benchmark=wealth.tolist())
        return CurveNow(
            self._run.service.run, universe.currency, universe.benchmark if curve.benchmark else "", end - begin + 1,
            curve, notes[-MOST_NOTES:], len(notes), missing,
        )  # fmt: skip


def _ns(day: date) -> int:
    """The beginning of a UTC date, in ns."""
    return (day - date(1970, 1, 1)).days * DAY_NS


def _first_date(period: PeriodName, today: date) -> date | None:
    """The first date of a period that ends today; None for the start of the run."""
    if period == "all":
        return None
    if period == "1D":
        return today
    if period == "1W":
        return today - timedelta(days=6)
    if period == "YTD":
        return today.replace(month=1, day=1)
    # N months ago, and one day later, since the first and the last day both count
    year, month = divmod(12 * today.year + today.month - 1 - MONTHS[period], 12)  # month 0 is January
    return date(year, month + 1, min(today.day, monthrange(year, month + 1)[1])) + timedelta(days=1)


def _opened(context: RouteContext) -> ProfitRoutes:
    account = AccountReader(context.run)
    context.at_start.append(account.follow)
    context.at_stop.append(account.close)
    return ProfitRoutes(context.run, account)


ROUTES: Final = RouteGroup(
    "profit",
    75,
    _opened,
    routes=(
        Read(
            "/api/v1/period", ProfitRoutes.period, "A period by its name, in instants.", call="period",
            form={"places": ("period",)},
        ),
        Read(
            "/api/v1/profit", ProfitRoutes.profit, "Profit in money of the account, its books and positions.",
            call="profit",
        ),
        Read("/api/v1/profit/days", ProfitRoutes.days, "Profit by day, week or month.", call="profit_days"),
        Read(
            "/api/v1/profit/curve", ProfitRoutes.curve, "The account beside its benchmark, and what happened.",
            call="profit_curve",
        ),
    ),
)  # fmt: skip
