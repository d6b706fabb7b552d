"""Round trips: quantities bought and sold again, or sold short and bought back, matched first in, first out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.trading.market import Floats

Ints = NDArray[np.int64]

ROUNDING: Final = 1e-12
"""A remainder below this share of a symbol's traded quantity is rounding error of summed quantities."""


class RoundTrip(Struct, frozen=True, gc=False):
    """A quantity that one fill opened and a later fill closed.

    `quantity` and both prices are in units of the exit: a split between entry and exit changes the entry's price.
    `fees` are the fees of both fills in proportion to the quantity. `profit` is after fees, in account currency.
    `samples` is the number of samples from entry to exit.
    """

    symbol: str
    side: Literal["long", "short"]
    quantity: float
    entry_ts: int
    entry_price: float
    exit_ts: int
    exit_price: float
    fees: float
    profit: float
    samples: int


class Split(NamedTuple):
    """A split of the symbol with the index `symbol`, into `ratio` new units for one old unit.

    Fills from `ts` (ns UTC) on are in new units.
    """

    ts: int
    symbol: int
    ratio: float


@dataclass(frozen=True, slots=True)
class Fills:
    """Columns of F fills: time (ns UTC), index of the symbol, signed quantity, price, and fee (positive is a cost)."""

    ts: Ints
    symbol: Ints
    quantity: Floats
    price: Floats
    fee: Floats

    def joined(self, after: "Fills") -> "Fills":
        """Return these fills, then those of `after`."""
        return Fills(*(np.concatenate((getattr(self, name), getattr(after, name))) for name in self.__slots__))

    def rows(self, chosen: Ints) -> "Fills":
        """Return the chosen fills, in the order of `chosen`."""
        return Fills(self.ts[chosen], self.symbol[chosen], self.quantity[chosen], self.price[chosen], self.fee[chosen])


class HitRate(Struct, frozen=True):
    """The round trips of one symbol.

    `wins` is the number with a profit after fees, `hit_rate` their share of all trips, and `profit` the sum of profits
    and losses.
    """

    symbol: str
    trips: int
    wins: int
    hit_rate: float
    profit: float


def round_trips(
    fills: Fills, symbols: Sequence[str], samples_ts: Ints, splits: Iterable[Split] = ()
) -> tuple[RoundTrip, ...]:
    """Return the round trips of fills, first in, first out within each symbol, ordered by exit.

    Fills need not be sorted; fills of one time keep their order. A fill larger than the position closes it, and opens
    the remainder on the other side. A position that is still open is no round trip. `samples_ts` int64[T+1] are the
    samples' times in ascending order. A fraction of a unit that a split turned into cash needs a separate fill.
    """
    by_time = np.argsort(fills.ts, kind="stable")
    ordered = fills.rows(by_time[fills.quantity[by_time] != 0.0])
    splits = tuple(splits)
    trips: list[RoundTrip] = []
    for index in np.unique(ordered.symbol):
        symbol_fills = ordered.rows(np.flatnonzero(ordered.symbol == index))
        scale = _scales(symbol_fills.ts, [split for split in splits if split.symbol == index])
        trips.extend(_matched(symbols[int(index)], symbol_fills, scale, samples_ts))
    return tuple(sorted(trips, key=lambda trip: (trip.exit_ts, trip.symbol, trip.entry_ts)))


def hit_rates(trips: Iterable[RoundTrip]) -> tuple[HitRate, ...]:
    """Return the hit rate of each symbol with a round trip, in the order of names. Source: C. Bacon (2008)."""
    profits: dict[str, list[float]] = {}
    for trip in trips:
        profits.setdefault(trip.symbol, []).append(trip.profit)
    return tuple(
        HitRate(symbol, len(trip_profits), wins, wins / len(trip_profits), float(np.sum(np.sort(trip_profits))))
        for symbol, trip_profits in sorted(profits.items())
        for wins in [sum(value > 0.0 for value in trip_profits)]
    )


def _scales(ts: Ints, splits: Sequence[Split]) -> Floats:
    """Return float64[F]: for each time of `ts` int64[F], how many units one unit becomes by all later splits."""
    scale = np.ones(len(ts))
    for split in splits:
        scale[ts < split.ts] *= split.ratio
    return scale


def _matched(symbol: str, fills: Fills, scale: Floats, samples_ts: Ints) -> list[RoundTrip]:
    """Return the round trips of one symbol's fills. Quantities are compared in units after all splits, by `scale`.

    The n-th unit that was opened is the n-th unit closed, also across a change from long to short. So the round trips
    are the segments between the breakpoints of two running totals: units opened and units closed.
    """
    quantity = fills.quantity * scale
    rounding_limit = ROUNDING * float(np.abs(quantity).sum())
    position = np.cumsum(quantity)
    position_before = np.concatenate((np.zeros(1), position[:-1]))
    reduces = np.sign(position_before) * np.sign(quantity) < 0.0
    closing = np.where(reduces, np.minimum(np.abs(quantity), np.abs(position_before)), 0.0)
    opened, closed = np.cumsum(np.abs(quantity) - closing), np.cumsum(closing)

    segment_ends = np.union1d(opened, closed)
    segment_ends = segment_ends[segment_ends <= closed[-1]]
    sizes = np.diff(segment_ends, prepend=0.0)
    significant = sizes > rounding_limit
    segment_ends, sizes = segment_ends[significant], sizes[significant]
    # a segment is looked up by its middle, which lies within one opening and one closing fill; an end touches two fills
    middles = segment_ends - sizes / 2.0
    entry, exit_ = np.searchsorted(opened, middles), np.searchsorted(closed, middles)

    side = np.sign(quantity[entry])
    exit_scale = scale[exit_]
    quantities = sizes / exit_scale
    entry_price = fills.price[entry] / scale[entry] * exit_scale
    fees = (fills.fee / np.abs(quantity))[entry] * sizes + (fills.fee / np.abs(quantity))[exit_] * sizes
    profit = side * quantities * (fills.price[exit_] - entry_price) - fees
    samples_held = np.searchsorted(samples_ts, fills.ts[exit_]) - np.searchsorted(samples_ts, fills.ts[entry])
    columns = (
        side.tolist(),
        quantities.tolist(),
        fills.ts[entry].tolist(),
        entry_price.tolist(),
        fills.ts[exit_].tolist(),
        fills.price[exit_].tolist(),
        fees.tolist(),
        profit.tolist(),
        samples_held.tolist(),
    )
    return [
        RoundTrip(symbol, "long" if sign > 0.0 else "short", *fields) for sign, *fields in zip(*columns, strict=True)
    ]
