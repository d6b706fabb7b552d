"""GET /api/v1/bars and /api/v1/calendar: the bars of one symbol in a period, and the coming sessions."""

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from itertools import groupby
from typing import Annotated, Final, Literal

import numpy as np
from aiohttp import web
from msgspec import Meta, Struct

from quantd.daemon.assembly.parts import Assembly
from quantd.daemon.runtime.timeline import next_sample
from quantd.daemon.views.account_profit import start_of
from quantd.server.api.documents import MOST_NS, PLAIN, Query, Since, Until
from quantd.server.api.route_groups import RouteGroup
from quantd.server.api.route_records import Read
from quantd.server.api.run_reader import RunReader
from quantd.trading.display_text import instant_text, session_date
from quantd.trading.instruments import NANO
from quantd.trading.market import Floats
from quantd.trading.sessions import DAY_NS, interval_text

MOST_BARS: Final = 1_000
"""Most bars in an answer."""

MOST_JOINED: Final = 50_000
"""Most bars of the feed that are joined to longer ones, the newest: half a year of minute bars, or every daily bar."""


Per = Literal["bar", "day", "week", "month"]

LENGTHS: Final[dict[Per, int]] = {"day": DAY_NS, "week": 7 * DAY_NS, "month": 31 * DAY_NS}
"""Longest time that a joined bar covers, in ns."""


class OfSymbol(Query, frozen=True):
    """A symbol, a period and a number of bars."""

    symbol: Annotated[str, Meta(pattern=PLAIN, description="A symbol of the universe; the first one without it.")] = ""
    limit: Annotated[int, Meta(ge=1, le=MOST_BARS, description="Most bars, the newest.")] = 250
    since: Since = 0
    until: Until = MOST_NS
    per: Annotated[
        Per, Meta(description="Bars of the feed, or joined to those of UTC days, weeks from Monday or months.")
    ] = "bar"


class BarNow(Struct, frozen=True):
    """One bar: `ts` is its end in ns UTC. If the run has recorded its close only, open, high and low are null.

    `volume` is in units of the instrument, null where it is not known.
    """

    ts: int
    open: float | None
    high: float | None
    low: float | None
    close: float
    volume: float | None = None


class Level(Struct, frozen=True):
    """Prices of the stop and the target that an operator set for the position of one agent; null for none."""

    agent: str
    stop: float | None
    target: float | None


class BarsNow(Struct, frozen=True):
    """The newest bars of a symbol in a period, oldest first, unadjusted.

    `symbols` is the number of symbols of the universe. On a recorded market the bars are the bars of the feed. On a
    live market they are the bars at samples if a policy reads bars, else only the closes at samples. Each bar covers at
    most `interval_ns`.
    """

    run: str
    symbol: str
    symbols: int
    bars: list[BarNow]
    levels: list[Level]
    interval_ns: int


class NextSessions(Query, frozen=True):
    """The coming sessions."""

    limit: Annotated[int, Meta(ge=1, le=60, description="Most sessions.")] = 5


class SessionTimes(Struct, frozen=True):
    """The open and the close of one session, UTC."""

    date: str
    open: str
    close: str


class CalendarNow(Struct, frozen=True):
    """The present market time, and the sessions of the account's calendar that close after it.

    `next_sample` is when prices are next valued and policies may decide, null beyond the calendar. Bars cover
    `interval`. After the last bar of a recorded market `status` is "ended".
    """

    run: str
    ts: int
    time: str
    calendar: str
    zone: str
    interval: str
    status: str
    open: bool
    next_sample: str | None
    sessions: list[SessionTimes]


class MarketRoutes:
    """The handlers of bars and of the calendar."""

    def __init__(self, run: RunReader) -> None:
        self._run = run

    async def calendar(self, request: web.Request, query: NextSessions) -> CalendarNow:
        service, parts = self._run.service, self._run.parts
        house, ts = parts.sessions[parts.universe.calendar], service.shell.ts
        first = bisect_right(house.close_ns, ts)
        rows = range(first, min(first + query.limit, len(house.close_ns)))
        sample = next_sample(house, parts.interval_ns, ts)
        return CalendarNow(
            service.run, ts, instant_text(ts), house.name, house.zone, interval_text(parts.interval_ns), service.status,
            any(house.open_ns[row] <= ts for row in rows), None if sample is None else instant_text(sample),
            [
                SessionTimes(
                    str(session_date(house.day_ns[k])), instant_text(house.open_ns[k]), instant_text(house.close_ns[k])
                )
                for k in rows
            ],
        )  # fmt: skip

    async def bars(self, request: web.Request, query: OfSymbol) -> BarsNow:
        """The bars up to now. Raises Refused for an unknown symbol."""
        state = self._run.service.shell.state
        symbols = state.universe.symbols
        symbol = query.symbol or symbols[0]
        self._run.check_symbol(symbol)
        column = symbols.index(symbol)
        most = query.limit if query.per == "bar" else MOST_JOINED
        in_period = await self.seen(column, query.since, query.until, most)
        shown = (await asyncio.to_thread(joined, in_period, query.per))[-query.limit :]
        length = self._run.parts.interval_ns if query.per == "bar" else LENGTHS[query.per]
        names = state.rules.names()
        # stops and targets that an operator set for single positions; a price of 0 is none
        levels = [
            Level(names[exits.agent], exits.stop_nano / NANO or None, exits.target_nano / NANO or None)
            for (_, symbol_column), exits in state.protection.own.items()
            if symbol_column == column
        ]
        return BarsNow(self._run.service.run, symbol, len(symbols), shown, levels, length)

    async def seen(
        self, column: int, since: int = 0, until: int = MOST_NS, most: int = MOST_BARS, *, oldest: bool = False
    ) -> list[BarNow]:
        """Bars of a symbol that end in a period (ns UTC) and not after now, oldest first: the newest `most` of them, or
        with `oldest` the first.
        """
        parts = self._run.parts
        if isinstance(parts, Assembly):
            return await asyncio.to_thread(self._recorded, parts, column, since, until, most, oldest)
        bars = [bar for bar in self._sampled(column) if since <= bar.ts < until]
        return bars[:most] if oldest else bars[-most:]

    def _recorded(self, parts: Assembly, column: int, since: int, until: int, most: int, oldest: bool) -> list[BarNow]:
        """The bars of a recorded market: see `seen`."""
        table = parts.feed.columns
        end = int(np.searchsorted(table.ts_event, self._run.service.shell.ts, side="right"))
        first, last = np.searchsorted(table.ts_event[:end], (since, until))
        rows = first + np.flatnonzero(table.fresh[first:last, column])  # instants at which the symbol has a new bar
        rows = rows[:most] if oldest else rows[-most:]
        ts = table.ts_event[rows].tolist()
        prices = (series[rows, column].tolist() for series in (table.open, table.high, table.low, table.close))
        volumes = map(_null_if_nan, table.volume[rows, column])
        return [BarNow(*row) for row in zip(ts, *prices, volumes, strict=True)]

    def _sampled(self, column: int) -> list[BarNow]:
        """Bars at the samples of a live market, oldest first: whole bars if the run records them, else closes only.

        The instants of the bars are read from the newest points of the account's history, which has the same samples.
        """
        history = self._run.service.shell.state.history
        ts = [point.ts for point in self._run.service.histories.portfolio.newest(MOST_BARS)]
        close_ring, bar_ring = history.known, history.bars
        count = min(len(ts), close_ring.end)
        closes = close_ring.prices[close_ring.end - count : close_ring.end, column]
        rows = np.full((5, count), np.nan)  # open, high, low, nothing, and volume of each sample
        if bar_ring is not None and bar_ring.end >= count:
            rows = bar_ring.rows[:, bar_ring.end - count : bar_ring.end, column]
        return [
            _sampled_bar(bar_ts, rows[:, k], float(closes[k]))
            for k, bar_ts in enumerate(ts[len(ts) - count :])
            if np.isfinite(closes[k])
        ]


def joined(bars: Sequence[BarNow], per: Per) -> list[BarNow]:
    """Bars joined to bars of UTC days, weeks or months: first open, highest high, lowest low, last close, all volume.

    If one bar lacks open, high and low, or its volume, the bar into which it is joined lacks them too.
    """
    if per == "bar":
        return list(bars)
    joined_bars = []
    for _, group in groupby(bars, key=lambda bar: start_of(session_date(bar.ts - 1), per)):
        members = list(group)
        highs, lows = [bar.high for bar in members], [bar.low for bar in members]
        has_range = all(bar.open is not None for bar in members)
        volumes = [bar.volume for bar in members if bar.volume is not None]
        joined_bars.append(
            BarNow(
                members[-1].ts, members[0].open if has_range else None,
                max(high for high in highs if high is not None) if has_range else None,
                min(low for low in lows if low is not None) if has_range else None, members[-1].close,
                sum(volumes) if len(volumes) == len(members) else None,
            )
        )  # fmt: skip
    return joined_bars


def _sampled_bar(ts: int, row: Floats, close: float) -> BarNow:
    """The bar of a sample: `row` has open, high, low, nothing, and volume."""
    opened, high, low, _, volume = map(_null_if_nan, row[:5])
    return BarNow(ts, opened, high, low, close, volume)


def _null_if_nan(price: float) -> float | None:
    return None if np.isnan(price) else float(price)


ROUTES: Final = RouteGroup(
    "market",
    40,
    lambda context: MarketRoutes(context.run),
    routes=(
        Read("/api/v1/bars", MarketRoutes.bars, "The bars of a symbol.", call="bars", form={"places": ("symbol",)}),
        Read("/api/v1/calendar", MarketRoutes.calendar, "The coming sessions.", call="calendar"),
    ),
)  # fmt: skip
