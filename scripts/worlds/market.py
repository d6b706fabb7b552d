"""Calendars, instruments, bars, corporate actions and price jumps of a random world."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from quantd.trading.events import Action
from quantd.trading.instruments import NANO, Instrument, Universe
from quantd.trading.market import Block, Opening, PriceJumped
from quantd.trading.sessions import DAY_NS, Sessions

HOUR_NS: Final = 3_600_000_000_000
MINUTE_NS: Final = HOUR_NS // 60
FIRST_DAY: Final = 19_000
"""Days since 1970 of the first session, a Saturday in January 2022."""

SECTORS: Final = ("technology", "energy", "bonds", "")

Array = np.ndarray[Any, Any]


def calendars_of(draw: random.Random, length: int, calm: bool, often: bool) -> dict[str, Sessions]:
    """The house's calendar X with weekends, holidays and half days, and sometimes two others; never in a calm world."""
    days = [FIRST_DAY + k for k in range(int(length * 1.6) + 60)]
    weekdays = [day for day in days if (day + 3) % 7 < 5 and draw.random() > 0.02]
    half = {day for day in weekdays if draw.random() < 0.03}
    calendars = {"X": _sessions("X", weekdays, 14.5, lambda day: 18.0 if day in half else 21.0)}
    if calm and draw.random() < 0.7:
        return calendars
    if draw.random() < 0.4 or often:
        calendars["Y"] = _sessions("Y", [d for d in weekdays if draw.random() > 0.02], 8.0, lambda day: 16.5)
    if draw.random() < 0.4 or often:
        calendars["24/7"] = _sessions("24/7", days, 0.0, lambda day: 24.0)
    return calendars


def _sessions(name: str, days: list[int], opens: float, close_of: Callable[[int], float]) -> Sessions:
    return Sessions(
        name,
        "UTC",
        tuple(day * DAY_NS for day in days),
        tuple(day * DAY_NS + int(opens * HOUR_NS) for day in days),
        tuple(day * DAY_NS + int(close_of(day) * HOUR_NS) for day in days),
    )


def universe_of(draw: random.Random, calendars: dict[str, Sessions], size: int, calm: bool) -> Universe:
    """Instruments of random lots, ticks, sectors and calendars, half of them on the house's calendar."""
    names = sorted(calendars)
    of_column = [draw.choice(names) if draw.random() < 0.5 else "X" for _ in range(size)]
    if len(names) > 1:
        of_column[-1] = names[0]
    sectors = SECTORS if draw.random() < 0.3 else SECTORS[:3]
    instruments = tuple(_instrument(draw, k, name, sectors, calm) for k, name in enumerate(of_column))
    groups = (("first", tuple(instrument.symbol for instrument in instruments[: max(1, size // 2)])),)
    return Universe(instruments, calendar="X", benchmark=instruments[0].symbol, groups=groups)


def _instrument(draw: random.Random, k: int, calendar: str, sectors: tuple[str, ...], calm: bool) -> Instrument:
    coin = calendar == "24/7"
    return Instrument(
        f"{'C' if coin else 'S'}{k:02d}",
        lot_nano=10 if coin else NANO if calm else draw.choice((NANO, NANO, NANO, NANO, NANO // 1000)),
        tick_nano=draw.choice((NANO // 100, NANO // 100, NANO // 1000, NANO // 20)),
        calendar=calendar,
        sector=draw.choice(sectors),
        asset=draw.choice(("", "", "", "gold")),
    )


@dataclass
class Market:
    """The market of a world: calendars, bars, actions and jumps."""

    universe: Universe
    sessions: tuple[Sessions, ...]
    calendar: tuple[int, ...]
    """Row of `sessions` of each column."""
    house_calendar: int
    interval: int
    """Length of a bar in nanoseconds; a day or more for daily bars."""
    length: int
    """Number of sessions of the house."""
    calm: bool
    order: list[tuple[int, int, int]] = field(default_factory=list)
    """(end, open, key) of each slice."""
    fresh: Array = field(default_factory=lambda: np.empty(0))
    factor: Array = field(default_factory=lambda: np.empty(0))
    """Old units per present unit, by slice and column."""
    first: Array = field(default_factory=lambda: np.empty(0))
    actions: list[Action] = field(default_factory=list)
    jumps: list[tuple[int, int, int, int]] = field(default_factory=list)
    """(slice, column, numerator, denominator) of splits that no action announces."""
    block: Any = None

    @property
    def house(self) -> Sessions:
        return self.sessions[self.house_calendar]

    def price_jumps(self) -> list[PriceJumped]:
        """The events of the jumps whose bars exist, each at the open of its bar."""
        events = []
        for row, column, numerator, denominator in self.jumps:
            seen = np.flatnonzero(self.block.fresh[:row, column])
            if not self.block.fresh[row, column] or not len(seen):
                continue
            before = round(float(self.block.close[seen[-1], column]) * NANO)
            after = round(float(self.block.open[row, column]) * NANO)
            events.append(PriceJumped(self.order[row][1], column, before, after, numerator, denominator))
        return events

    def opened(self, ts: int) -> tuple[Opening, ...]:
        """The bars in progress at an instant that have opened before it."""
        bars = []
        for row, (end, opens, _) in enumerate(self.order):
            if opens < ts < end:
                for column in np.flatnonzero(self.block.fresh[row]).tolist():
                    price = round(float(self.block.open[row, column]) * NANO)
                    bars.append(Opening(opens, end, column, price, float(self.block.volume[row, column])))
            if opens > ts + 2 * DAY_NS:
                break
        return tuple(bars)


def fill_market(draw: random.Random, rng: np.random.Generator, market: Market, *, often: bool) -> None:
    """Draw the bars, corporate actions and jumps; `often`: several of each kind."""
    market.order, listed = _slices(market)
    rows, size = listed.shape
    wild = draw.choice((0.004, 0.01, 0.01, 0.02, 0.04))
    drift = draw.choice((0.0, 0.0, 0.001, -0.002))
    moves = rng.standard_t(4, (rows, 1)) * wild * draw.choice((0.2, 0.8, 2.0)) + rng.standard_t(4, (rows, size)) * wild
    moves = np.clip(np.where(listed, moves + drift, 0.0), -0.4, 0.4)
    if draw.random() < 0.2 and size > 1:
        moves[:, 1] = moves[:, 0]  # two instruments that move as one
    market.first = np.exp(rng.uniform(np.log(2), np.log(500), size))
    if draw.random() < 0.1:
        market.first[0] = draw.choice((0.5, 90_000.0))
    for column, instrument in enumerate(market.universe.instruments):
        if instrument.lot_nano < NANO // 1000:
            market.first[column] = draw.choice((3_000.0, 60_000.0))
    calm = market.calm
    market.fresh = listed & (rng.random((rows, size)) > draw.choice((0.0, 0.0, 0.01, 0.1)))
    for column in range(0 if calm else size):
        if draw.random() < 0.1:
            market.fresh[: int(rows * draw.random() * 0.5), column] = False
        if draw.random() < 0.1:
            start = draw.randrange(rows)
            market.fresh[start : start + draw.randint(3, 40), column] = False
    market.factor = np.ones((rows, size))
    for _ in range(4 if often else draw.choice((0, 0, 1) if calm else (0, 0, 1, 2, 4))):
        _add_action(draw, market)
    for _ in range(2 if often else 0 if calm else draw.choice((0, 0, 0, 0, 1, 2))):
        _add_jump(draw, market)
    path = np.exp(moves.cumsum(axis=0)) * market.first
    market.block = _block(draw, rng, market, path, wild)


def _slices(market: Market) -> tuple[list[tuple[int, int, int]], Array]:
    """The spans of all slices in order, and bool[T, N]: the columns with a bar."""
    end = market.house.close_ns[market.length - 1]
    interval = market.interval
    spans: dict[tuple[int, int, int], list[int]] = {}
    for column, row in enumerate(market.calendar):
        sessions = market.sessions[row]
        for day, opens, closes in zip(sessions.day_ns, sessions.open_ns, sessions.close_ns, strict=True):
            if closes > end:
                break
            ts = opens
            while ts < closes:
                after = min(ts + interval, closes) if interval < DAY_NS else closes
                key = day if interval >= DAY_NS else after
                spans.setdefault((after, ts, key), []).append(column)
                ts = after
    order = sorted(spans)
    listed = np.zeros((len(order), market.universe.size), dtype=bool)
    for t, span in enumerate(order):
        listed[t, spans[span]] = True
    return order, listed


def _block(draw: random.Random, rng: np.random.Generator, market: Market, path: Array, wild: float) -> Block:
    """Bars along a path of prices, with the factors of splits, gaps and volumes."""
    digits = 2 if draw.random() < 0.7 else 4
    close = np.clip(np.round(path * market.factor, digits), 0.01, 5e5)
    gap = rng.normal(0, wild * 0.5, close.shape)
    before = np.vstack([market.first[None], path[:-1]]) * market.factor
    open_ = np.clip(np.round(before * np.exp(gap), digits), 0.01, 5e5)
    high = np.round(np.maximum(open_, close) * (1 + np.abs(rng.normal(0, wild / 2, close.shape))), 4)
    low = np.maximum(
        np.round(np.minimum(open_, close) * (1 - np.abs(rng.normal(0, min(wild / 2, 0.1), close.shape))), 4), 0.005
    )
    volume = np.round(np.exp(rng.normal(np.log(draw.choice((2e3, 1e5, 1e7))), 1.0, close.shape)))
    if draw.random() < 0.2:
        volume[rng.random(volume.shape) < 0.1] = 0.0
    columns = [np.where(market.fresh, column, np.nan) for column in (open_, high, low, close, volume)]
    if draw.random() < 0.1:
        columns[4][rng.random(volume.shape) < 0.1] = np.nan
    stamps = [np.array([span[part] for span in market.order], dtype=np.int64) for part in range(3)]
    return Block(
        ts_open=stamps[1], ts_event=stamps[0], key=stamps[2], open=columns[0], high=columns[1], low=columns[2],
        close=columns[3], volume=columns[4], fresh=market.fresh,
    )  # fmt: skip


def _place(draw: random.Random, market: Market) -> tuple[int, int, int, int]:
    """(column, open, date, first slice) of a random session of a random instrument."""
    column = draw.randrange(len(market.calendar))
    sessions = market.sessions[market.calendar[column]]
    at = draw.randrange(5, max(6, min(market.length, len(sessions.day_ns)) * 2 // 3))
    ts = sessions.open_ns[at]
    after = next((t for t, span in enumerate(market.order) if span[1] >= ts), len(market.order))
    return column, ts, sessions.day_ns[at], after


def _add_action(draw: random.Random, market: Market) -> None:
    """One corporate action at the open of a session; bars from there on show it."""
    column, ts, key, after = _place(draw, market)
    kind = draw.choice(("split", "split", "dividend", "dividend", "delisting"))
    price = market.first[column]
    if kind == "split":
        numerator, denominator = draw.choice(((2, 1), (3, 2), (1, 10), (7, 3)))
        market.factor[after:, column] *= denominator / numerator
        market.actions.append(Action(ts, key, column, "split", numerator, denominator))
    elif kind == "dividend":
        cash = int(price * draw.choice((0.001, 0.02)) * NANO)
        market.actions.append(Action(ts, key, column, "dividend", cash_nano=cash))
    else:
        if draw.random() < 0.8:
            market.fresh[after:, column] = False
        cash = draw.choice((0, int(price * NANO)))
        market.actions.append(Action(ts, key, column, "delisting", cash_nano=cash))


def _add_jump(draw: random.Random, market: Market) -> None:
    """A split that no action announces, or a move that looks like one."""
    column, _, _, after = _place(draw, market)
    numerator, denominator = draw.choice(((2, 1), (3, 1), (1, 4)))
    row = next((t for t in range(after, len(market.order)) if market.fresh[t, column]), None)
    if row is not None:
        market.factor[row:, column] *= denominator / numerator
        market.jumps.append((row, column, numerator, denominator))
