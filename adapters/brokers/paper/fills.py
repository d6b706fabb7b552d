"""Fills of one bar for the working orders of the paper venue, with prices and fees. `Paper` documents the rules."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import chain
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from quantd.adapters.brokers.paper.orders import NEVER, Resting
from quantd.trading.display_text import instant
from quantd.trading.execution import (
    MOST,
    RATE_ONE,
    Costs,
    at_least,
    commission_micro,
    commission_ratio,
    fill_price,
    impact_rate,
    lots_to_be_had,
    lowest,
    rate_of_bp,
    reaches,
    trades_through,
)
from quantd.trading.instruments import NANO, Universe
from quantd.trading.market import Block, MarketSlice, Opening
from quantd.trading.orders import Cause, Kind, Reports, decision_id
from quantd.trading.ports import FillTerms
from quantd.trading.sessions import Sessions

_PART_FILL, _LAST_FILL = int(Cause.PART_FILL), int(Cause.LAST_FILL)


_NOTHING = np.zeros(0, dtype=np.int64)


class Bar:
    """One slice as the venue uses it, with its lists once `lists` was called. `left` int64[N] are the lots left of the
    bar's volume, -1 before an order asks."""

    __slots__ = ("fresh", "left", "lots_left", "market", "open_nano", "ts_event", "ts_open", "volume")

    fresh: list[bool] | None
    open_nano: list[int]
    volume: list[float]

    def __init__(self, market: MarketSlice, with_volume: bool) -> None:
        block, t = market.block, market.row
        self.market = market
        self.ts_open = block.ts_open[t]
        self.ts_event = block.ts_event[t]
        self.left = np.full(block.volume.shape[1], -1, dtype=np.int64) if with_volume else _NOTHING
        self.lots_left = self.left.data
        self.open_nano = []

    def lists(self) -> None:
        """Read the columns that orders need row by row."""
        if not self.open_nano:
            block, t = self.market.block, self.market.row
            self.fresh = None if block.full[t] else block.fresh[t].tolist()
            self.open_nano = block.open_nano[t].tolist()
            self.volume = block.volume[t].tolist() if len(self.left) else []


def slices_of_opens(opened: Sequence[Opening], size: int) -> Iterator[MarketSlice]:
    """Yield a slice for each bar in progress, with its open as its only price."""
    for each in opened:
        price, lots = np.full((1, size), np.nan), np.full((1, size), np.nan)
        fresh, exact = np.zeros((1, size), dtype=np.bool_), np.zeros((1, size), dtype=np.int64)
        price[0, each.symbol], lots[0, each.symbol] = each.open_nano / NANO, each.volume
        fresh[0, each.symbol], exact[0, each.symbol] = True, each.open_nano
        begins, ends = np.array([each.ts_open], dtype=np.int64), np.array([each.ts_event], dtype=np.int64)
        yield MarketSlice(
            Block(
                ts_open=begins, ts_event=ends, key=ends, open=price, high=price, low=price, close=price, volume=lots,
                fresh=fresh, open_nano=exact, close_nano=exact,
            ),
            0,
        )  # fmt: skip


class Fills:
    """Fills of one venue at its costs. `sessions` are those of each column; without them there are no auctions."""

    def __init__(self, universe: Universe, costs: Costs, sessions: Sequence[Sessions]) -> None:
        self._opens = [each.open_instants for each in sessions]
        self._closes = [each.close_instants for each in sessions]
        self.auctions = bool(sessions)
        self._symbols = universe.symbols
        self.size = universe.size
        self._lot_nano = universe.lot_nano
        self._costs = costs
        self._commission = [commission_ratio(size, costs.commission_rate) for size in universe.lot_nano]
        self._share = [costs.participation_ratio(size) for size in universe.lot_nano]
        self._needs_volume = costs.needs_volume
        # in lowest terms if nothing is added to it, because small ints are fast
        self._plain = not (self._needs_volume or costs.slippage_noise or costs.table is not None)
        self._fixed = lowest(costs.fixed_rate, RATE_ONE) if self._plain else (costs.fixed_rate, RATE_ONE)
        self._zones = [ZoneInfo(each.zone) for each in sessions]
        self._terms = None if costs.slippage_noise or costs.table is not None else self._of_kernel()
        self.kernel_terms: FillTerms | None = None
        if self._terms is not None:
            self.kernel_terms = FillTerms(
                self._terms, *self._fixed, costs.commission_min_micro, costs.participation > 0.0, float(costs.impact),
                costs.latency_ns,
            )  # fmt: skip

    def _of_kernel(self) -> NDArray[np.int64] | None:
        """The terms of the batches' `fill_limits`, int64[5 N]; None where one is beyond 62 bits."""
        ratios = (*zip(*self._commission, strict=True), *zip(*self._share, strict=True), self._lot_nano)
        terms = [*chain.from_iterable(ratios)]
        return np.array(terms, dtype=np.int64) if max(terms) <= MOST else None

    def filled(self, resting: Resting, bar: Bar) -> Reports | None:
        """The fills of a basket on one bar, None without any; its rows are all of one kind.

        A row fills at its price plus costs, inside its limit, up to the lots that the bar's volume allows.
        """
        kind, ts = resting.kind[0] if resting.kind else Kind.LIMIT, bar.ts_open
        bar.lists()
        if kind == Kind.LIMIT or kind == Kind.STOP:
            found = self._limits(resting, bar, stops=kind == Kind.STOP)
        else:
            ts = bar.ts_event if kind == Kind.CLOSE else ts
            found = self._auction(resting, bar, ts, close=kind == Kind.CLOSE)
        sym, signed, limits, cums = resting.sym, resting.lots, resting.worst_nano, resting.cum
        plain, (fixed, one) = self._plain, self._fixed
        commission, least = self._commission, self._costs.commission_min_micro
        made: list[tuple[int, int, int, int, int, int]] = []
        for row, price in found:
            column, total, done, rate = sym[row], signed[row], cums[row], fixed
            whole = total if total > 0 else -total
            wanted = whole - done
            if not plain:
                wanted = self._within_volume(column, wanted, bar)
                if not wanted:
                    continue
                rate, impact = self._rates(column, ts)
                rate += self._extra_rate(resting, row, wanted, bar, impact)
            if rate:  # costs stop at the limit
                price = fill_price(price, limits[row], total > 0, rate, one)
            fee = commission_micro(wanted, price, *commission[column])
            if least:
                charged = resting.charged_micro[row]
                resting.charged_micro[row], fee = max(charged, 0) + fee, at_least(least, charged, fee)
            done = cums[row] = done + wanted
            made.append((row, done, wanted, price, fee, _LAST_FILL if done == whole else _PART_FILL))
        if not made:
            return None
        rows, cum, lots, prices, fees, causes = map(list, zip(*made, strict=True))
        if _LAST_FILL in causes:
            resting.keep([row for row in resting.open if cums[row] != abs(signed[row])])
        report = Reports(resting.sample, resting.n, ts, rows, cum, lots, prices, fees, causes)
        resting.reports.append(report)
        return report

    def _limits(self, resting: Resting, bar: Bar, *, stops: bool) -> Iterator[tuple[int, int]]:
        """(row, price) of the limit orders that the bar fills, and of the stop orders triggered by it or before."""
        fresh, open_nano, ts_open, ts_event = bar.fresh, bar.open_nano, bar.ts_open, bar.ts_event
        sym, lots, limits, after, until = resting.sym, resting.lots, resting.worst_nano, resting.after, resting.until
        for row in resting.open:
            column = sym[row]
            if ts_open < after[row] or (fresh is not None and not fresh[column]):
                continue
            after[row] = ts_event
            price, limit, buy = open_nano[column], limits[row], lots[row] > 0
            if ts_open >= until[row] or price <= 0:
                continue
            if stops and row not in resting.triggered:
                stop = resting.stop_nano[row]
                if not (price >= stop if buy else price <= stop):
                    # trades at the trigger fill a sale and a purchase at it, from the other side
                    if until[row] < ts_event or not reaches(
                        stop, buy, bar.market.low.item(column), bar.market.high.item(column)
                    ):
                        continue
                    price = stop
                resting.triggered.append(row)
            if price > limit if buy else price < limit:
                low, high = bar.market.low.item(column), bar.market.high.item(column)
                if until[row] < ts_event or not trades_through(limit, buy, low, high):
                    continue
                price = limit
            yield row, price

    def _auction(self, resting: Resting, bar: Bar, ts: int, *, close: bool) -> Iterator[tuple[int, int]]:
        """(row, price) of the orders that the opening auction fills, or the closing one."""
        days, prices = (self._closes, bar.market.close_nano.tolist()) if close else (self._opens, bar.open_nano)
        for row in resting.open:
            column, limit, until = resting.sym[row], resting.worst_nano[row], resting.until[row]
            if bar.fresh is not None and not bar.fresh[column]:
                continue
            there = bar.ts_open >= resting.after[row] and (ts <= until if close else ts < until)
            resting.after[row] = max(resting.after[row], bar.ts_event)
            price, buy = prices[column], resting.lots[row] > 0
            if there and ts in days[column] and price > 0 and (price <= limit if buy else price >= limit):
                yield row, price

    def _within_volume(self, column: int, wanted: int, bar: Bar) -> int:
        """Take up to `wanted` lots from the bar's volume; returns their number."""
        if not self._needs_volume:
            return wanted
        left = bar.lots_left[column]
        if left < 0:
            volume = bar.volume[column]
            if self._costs.participation:
                left = lots_to_be_had(volume, *self._share[column])
            else:
                left = NEVER if volume > 0 else 0
        if wanted > left:
            wanted = left
        bar.lots_left[column] = left - wanted
        return wanted

    def _rates(self, column: int, ts: int) -> tuple[int, float]:
        """The fixed rate and the impact of a column at an instant: those of the table, where it has them."""
        costs, table = self._costs, self._costs.table
        if table is not None:
            hour = instant(ts).astimezone(self._zones[column]).hour if self._zones else 0
            if (found := table.at(self._symbols[column], hour)) is not None:
                return rate_of_bp(found.fixed_bp), found.impact
        return costs.fixed_rate, costs.impact

    def _extra_rate(self, resting: Resting, row: int, lots: int, bar: Bar, impact: float) -> int:
        """The rate of a fill beyond the fixed one: impact, and slippage noise of either sign."""
        costs, column, rate = self._costs, resting.sym[row], 0
        if impact:
            rate = impact_rate(impact, lots, self._lot_nano[column], bar.volume[column])
        if costs.slippage_noise:
            decision = decision_id(resting.sample, "house", self._symbols[column])
            key = f"{costs.seed}|{decision}|{resting.n}|{resting.cum[row]}".encode()
            draw = int.from_bytes(blake2b(key, digest_size=6).digest(), "big") / 2**47 - 1  # uniform in [-1, 1)
            rate += round(costs.slippage_rate * costs.slippage_noise * draw)
        return rate
