"""Markets of the same law as a recorded one, on which the edge of a rule remains and that of a lookup is lost.

A rule that looks at prices earns its edge on every market of the same law. A lookup of what came next, by whatever
key, earns it only on the market from which the key was taken. Two kinds of market are made:

- other prices at the same dates: each row mixes the bars of two rows of the recorded market, drawn in blocks of
  BLOCK rows. Means, variances, correlations and autocorrelations within a block remain, and no number is the same;
- the same prices at other dates: all rows move by 1 to 20 sessions, and the last ones continue at the beginning.

The edge is what the weights earn before costs beside their own averages, as a t-statistic: a fixed mix has none.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from msgspec import Struct, structs

from quantd.adapters.feeds.bars.merge import Columns
from quantd.daemon.assembly.parts import Assembly
from quantd.daemon.views.outside_wealth import grown
from quantd.research.studies.synchronous_rows import fill_prices
from quantd.trading.market import Floats, Ints, nano

DRAWS: Final = 12
"""Number of markets with other prices."""

SHIFTS: Final = (1, 3, 8, 20)
"""Sessions by which all prices move on the markets with other dates."""

BLOCK: Final = 20
"""Rows of the recorded market that are drawn together."""

SHARE: Final = 0.8
"""Weight of the first of two mixed rows; the second has sqrt(1 - SHARE ** 2), so that variances remain."""

LOST: Final = 3.5
"""Deviations by which the edge must exceed that on the other markets to be called lost."""

SEED: Final = 20_261_128


class Edge(Struct, frozen=True):
    """The edge on the recorded market and its means on markets with other prices, and with other dates (t-statistics).

    `lost` names the kinds of market on which it is lost: "other prices", "other dates". `by_dates` is True if all
    answers are the same on all markets with other prices, although they change in time.
    """

    recorded: float
    prices: float
    dates: float
    lost: tuple[str, ...]
    by_dates: bool


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A series whose values move with the rows: at each instant it has the values that were known at another one."""

    series: Any
    times: Ints
    sources: Ints

    def __getattr__(self, name: str) -> Any:
        return getattr(self.series, name)

    def known(self, ts: int) -> tuple[float, ...]:
        """Return the values that were known at the instant from which the row at `ts` was drawn."""
        row = int(np.searchsorted(self.times, ts))
        return tuple(self.series.known(int(self.sources[row]) if row < len(self.times) else ts))


def altered_markets(assembly: Assembly) -> list[tuple[str, Assembly]]:
    """Return the markets, each with its kind: "other prices" (DRAWS), then "other dates" (SHIFTS)."""
    rows = assembly.feed.count
    draw = np.random.default_rng(SEED)
    made = [("other prices", _altered(assembly, _blocks(rows, draw), _blocks(rows, draw))) for _ in range(DRAWS)]
    shifts = [shift for shift in SHIFTS if shift < rows]
    return made + [("other dates", _altered(assembly, (np.arange(rows) + shift) % rows)) for shift in shifts]


def _blocks(rows: int, draw: np.random.Generator) -> Ints:
    """Return int64[rows]: numbers of rows in blocks of BLOCK that begin anywhere; the last row precedes the first."""
    starts = draw.integers(0, rows, -(-rows // BLOCK))
    return np.asarray((starts[:, None] + np.arange(BLOCK)).ravel()[:rows] % rows, dtype=np.int64)


def _altered(assembly: Assembly, first: Ints, second: Ints | None = None) -> Assembly:
    """Return the market whose row t has the bars of the row `first[t]`, mixed with those of `second[t]` if given.

    A symbol has bars at the same rows as before, each of its own bars at or before the drawn row. Splits and dividends
    are in the prices; a payment at a delisting keeps its share of the price.
    """
    feed, columns = assembly.feed, assembly.feed.columns
    prices = {name: getattr(columns, name).copy() for name in ("open", "high", "low", "close", "volume")}
    actions = []
    for symbol in range(feed.universe.size):
        own = np.flatnonzero(columns.fresh[:, symbol] & (columns.open[:, symbol] > 0.0))
        if not len(own):
            continue
        own_actions = [action for action in feed.actions if action.symbol == symbol]
        parts = _parts(columns, own, symbol, grown(own_actions, columns.ts_open[own], columns.open[own, symbol]))
        drawn = parts[_own_bar(own, first[own])]
        if second is not None:
            other, mean = parts[_own_bar(own, second[own])], parts[:, :3].mean(axis=0)
            rest = np.sqrt(1.0 - SHARE**2)
            mixed = mean + SHARE * (drawn[:, :3] - mean) + rest * (other[:, :3] - mean)
            drawn = np.column_stack([mixed, SHARE * drawn[:, 3:] + (1.0 - SHARE) * other[:, 3:]])
        opens, closes = _path(float(columns.open[own[0], symbol]), drawn)
        above, below = np.maximum(opens, closes), np.minimum(opens, closes)
        values = (opens, above * np.exp(drawn[:, 3]), below * np.exp(-drawn[:, 4]), closes, np.expm1(drawn[:, 2]))
        before = columns.close[own, symbol]
        for name, value in zip(prices, values, strict=True):
            prices[name][own, symbol] = np.round(np.maximum(value, 0.0 if name == "volume" else 1e-6), 6)
        for action in own_actions:
            if action.kind == "delisting":
                row = max(int(np.searchsorted(columns.ts_open[own], action.ts)) - 1, 0)
                cash = round(action.cash_nano * float(closes[row] / before[row]))
                actions.append(structs.replace(action, cash_nano=cash))
    stamps: Any = {name: getattr(columns, name).copy() for name in ("ts_open", "ts_event", "key", "fresh")}
    nanos: Any = {"open_nano": nano(prices["open"]), "close_nano": nano(prices["close"])}
    altered = replace(
        feed,
        digest=f"{feed.digest} altered",
        columns=Columns(**stamps, **prices, **nanos),
        actions=tuple(sorted(actions, key=lambda action: action.ts)),
        jumps=(),
    )
    macro: Any = tuple(_Drawn(series, columns.ts_event, columns.ts_event[first]) for series in assembly.macro)
    return replace(assembly, feed=altered, macro=macro)


def _own_bar(own: Ints, rows: Ints) -> Ints:
    """Return the numbers of a symbol's own bars at or before `rows`; a row before its first bar has another bar."""
    found = np.searchsorted(own, rows, side="right") - 1
    return np.where(found < 0, rows % len(own), found)


def _parts(columns: Columns, own: Ints, symbol: int, growth: Floats) -> Floats:
    """Return float64[T, 5] of a symbol's bars: the logarithms of the gap to the close before (splits and dividends
    reinvested), of the close over the open and of the volume, and the logarithmic distances of high and low."""
    opens, high, low, close = (
        np.maximum(getattr(columns, name)[own, symbol], 1e-6) for name in ("open", "high", "low", "close")
    )
    gap = np.r_[0.0, np.log(opens[1:] / close[:-1] * growth[1:])]
    volume = np.log1p(np.maximum(np.nan_to_num(columns.volume[own, symbol]), 0.0))
    above, below = np.log(high / np.maximum(opens, close)), np.log(np.minimum(opens, close) / low)
    return np.column_stack([gap, np.log(close / opens), volume, np.maximum(above, 0.0), np.maximum(below, 0.0)])


def _path(start: float, drawn: Floats) -> tuple[Floats, Floats]:
    """Return the opens and closes, float64[T] each, of a path that begins at the price `start`."""
    closes = np.log(start) + np.cumsum(drawn[:, 0] + drawn[:, 1]) - drawn[0, 0]
    return np.exp(closes - drawn[:, 1]), np.exp(closes)


def edge_of(assembly: Assembly, times: Ints, weights: Floats) -> float:
    """Return the t-statistic of what `weights` float64[T, N], decided at `times` (int64[T], ns UTC), earn before costs
    beside their own averages; 0 where they never change."""
    worth = fill_prices(assembly, times)[2]
    with np.errstate(all="ignore"):
        returns = np.nan_to_num(worth[1:] / worth[:-1] - 1.0)
    held = np.nan_to_num(weights)
    earned = ((held - held.mean(axis=0))[:-1] * returns).sum(axis=1)
    deviation = float(earned.std(ddof=1)) if len(earned) > 1 else 0.0
    return float(earned.mean() / deviation * np.sqrt(len(earned))) if deviation > 1e-15 else 0.0


def judged(recorded: float, others: list[tuple[str, float]], *, by_dates: bool, either_sign: bool = False) -> Edge:
    """Return the edge on the recorded market beside those on other markets, each with its kind.

    The edge is lost on a kind of market if it exceeds the mean there by LOST deviations, of which one is at least 1
    (that of a t-statistic), and less than half of it remains. With `either_sign` a negative edge counts as well, as of
    a factor that ranks the wrong way round.
    """
    sign = -1.0 if either_sign and recorded < 0.0 else 1.0
    means, lost = {"other prices": 0.0, "other dates": 0.0}, []
    for kind in means:
        found = np.array([sign * value for name, value in others if name == kind])
        if not len(found):
            continue
        means[kind] = float(found.mean())
        deviation = max(1.0, float(found.std(ddof=1)) if len(found) > 1 else 1.0)
        if sign * recorded - means[kind] > LOST * deviation and means[kind] < 0.5 * sign * recorded:
            lost.append(kind)
    return Edge(recorded, sign * means["other prices"], sign * means["other dates"], tuple(lost), by_dates)


def words(edge: Edge, *, decided: bool) -> list[str]:
    """Return what the edge shows as lines of text; `decided` begins the verdict, else the lines only report."""
    if edge.by_dates:
        head = "answers by date only: with other prices at the same dates all answers are the same"
        return [f"not decided: {head}" if decided else f"  {head}"] + ([_figures(edge)] if edge.lost else [])
    if not edge.lost:
        return []
    kinds = " and with ".join(edge.lost)
    head = f"its edge is lost on markets of the same law with {kinds}"
    return [f"not clean, or in sample: {head}" if decided else f"  {head}", _figures(edge)]


def _figures(edge: Edge) -> str:
    return (
        f"  edge before costs (t): {edge.recorded:+.1f} on the recorded market, {edge.prices:+.1f} with other prices, "
        f"{edge.dates:+.1f} with other dates"
    )
