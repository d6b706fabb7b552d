"""GET /api/v1/bars: the bars of one symbol in a period, for a chart."""

import asyncio
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import groupby
from typing import Annotated, Final, Literal

import numpy as np
from aiohttp import web
from msgspec import Meta, Struct

from quantd.daemon.assembly.parts import Assembly
from quantd.server.api.client_calls import read
from quantd.server.api.documents import MOST_NS, PLAIN, Query, Since, Until
from quantd.server.api.problems import Refused
from quantd.server.api.route_groups import RouteGroup
from quantd.server.api.route_records import Read, Route
from quantd.server.api.run_reader import RunReader
from quantd.trading.display_text import session_date
from quantd.trading.instruments import NANO
from quantd.trading.sessions import DAY_NS

MOST_BARS: Final = 1_000

MOST_JOINED: Final = 50_000
"""Bars that are joined at most, the newest: half a year of minutes, or all days."""


Per = Literal["bar", "day", "week", "month"]

LENGTHS: Final[dict[Per, int]] = {"day": DAY_NS, "week": 7 * DAY_NS, "month": 31 * DAY_NS}
"""Longest time from the start to the end of a bar that others were joined to."""


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
    """One bar: `ts` is its end in ns UTC. Without a record of its range, open, high and low are null."""

    ts: int
    open: float | None
    high: float | None
    low: float | None
    close: float


class Level(Struct, frozen=True):
    """Levels that an operator set for the position of one agent; null for none."""

    agent: str
    stop: float | None
    target: float | None


class BarsNow(Struct, frozen=True):
    """The newest bars of a symbol in a period, oldest first, unadjusted.

    Of a recorded market they are its bars. Of a live market they are the bars of samples where a policy reads bars,
    and the closes of samples otherwise. Each bar is at most `interval_ns` long.
    """

    run: str
    symbol: str
    symbols: int
    bars: list[BarNow]
    levels: list[Level]
    interval_ns: int


class MarketRoutes:
    """The handler about bars."""

    def __init__(self, run: RunReader) -> None:
        self._run = run

    def routes(self) -> tuple[Route, ...]:
        """The route of this module."""
        return (Read("/api/v1/bars", self.bars, BarsNow, "The bars of a symbol.", OfSymbol),)

    async def bars(self, request: web.Request, query: OfSymbol) -> BarsNow:
        """The bars up to now. Raises Refused for an unknown symbol."""
        state = self._run.service.shell.state
        symbols = state.universe.symbols
        symbol = query.symbol or symbols[0]
        if symbol not in symbols:
            raise Refused(404, "symbol", f"there is no symbol {symbol!r}; the universe has {len(symbols)}")
        column = symbols.index(symbol)
        bars = await asyncio.to_thread(self._recorded, column, query)
        if bars is None:
            bars = self._sampled(column)
        inside = [bar for bar in bars if query.since <= bar.ts < query.until]
        shown = (await asyncio.to_thread(joined, inside, query.per))[-query.limit :]
        length = self._run.parts.interval_ns if query.per == "bar" else LENGTHS[query.per]
        names = state.rules.names()
        levels = [
            Level(names[exits.agent], exits.stop_nano / NANO or None, exits.target_nano / NANO or None)
            for (_, of), exits in state.protection.own.items()
            if of == column
        ]
        return BarsNow(self._run.service.run, symbol, len(symbols), shown, levels, length)

    def _recorded(self, column: int, query: OfSymbol) -> list[BarNow] | None:
        """Bars of a recorded market in a period, never one that ends after now; the newest where none is joined."""
        parts = self._run.parts
        if not isinstance(parts, Assembly):
            return None
        table = parts.feed.columns
        end = int(np.searchsorted(table.ts_event, self._run.service.shell.ts, side="right"))
        first, last = np.searchsorted(table.ts_event[:end], (query.since, query.until))
        rows = first + np.flatnonzero(table.fresh[first:last, column])
        rows = rows[-(query.limit if query.per == "bar" else MOST_JOINED) :]
        ts = table.ts_event[rows].tolist()
        prices = (series[rows, column].tolist() for series in (table.open, table.high, table.low, table.close))
        return [BarNow(*row) for row in zip(ts, *prices, strict=True)]

    def _sampled(self, column: int) -> list[BarNow]:
        """Samples: their bars where the run keeps them, else their closes, dated by the account's history."""
        history = self._run.service.shell.state.history
        ts = [point.ts for point in self._run.service.histories.portfolio.newest(MOST_BARS)]
        ring, kept = history.known, history.bars
        count = min(len(ts), ring.end)
        closes = ring.prices[ring.end - count : ring.end, column]
        ranges = np.full((3, count), np.nan)
        if kept is not None and kept.end >= count:
            ranges = kept.rows[:3, kept.end - count : kept.end, column]
        return [
            BarNow(at, _known(ranges[0, k]), _known(ranges[1, k]), _known(ranges[2, k]), float(closes[k]))
            for k, at in enumerate(ts[len(ts) - count :])
            if np.isfinite(closes[k])
        ]


def joined(bars: Sequence[BarNow], per: Per) -> list[BarNow]:
    """Bars joined to those of days, weeks or months: the first open, the highest high, the lowest low, the last close.

    A bar without a range makes the range of its joined bar unknown.
    """
    if per == "bar":
        return list(bars)
    joined_bars = []
    for _, group in groupby(bars, key=lambda bar: _begin(session_date(bar.ts - 1), per)):
        part = list(group)
        highs, lows = [bar.high for bar in part], [bar.low for bar in part]
        has_range = all(bar.open is not None for bar in part)
        joined_bars.append(
            BarNow(
                part[-1].ts, part[0].open if has_range else None,
                max(x for x in highs if x is not None) if has_range else None,
                min(x for x in lows if x is not None) if has_range else None, part[-1].close,
            )
        )  # fmt: skip
    return joined_bars


def _begin(day: date, per: Per) -> date:
    if per == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if per == "month" else day


def _known(price: float) -> float | None:
    return None if np.isnan(price) else float(price)


ROUTES: Final = RouteGroup(
    "market",
    40,
    lambda context: MarketRoutes(context.run),
    calls=(read("bars", "/bars", BarsNow, "The newest bars of a symbol.", OfSymbol, places=("symbol",)),),
)
