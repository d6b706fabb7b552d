"""Fills of one bar for the working orders of the paper venue, with prices and fees. The class `Paper` documents the
rules."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from zoneinfo import ZoneInfo

import numpy as np

from quantd.adapters.brokers.paper.bar_fills import BarFills
from quantd.adapters.brokers.paper.orders import Resting
from quantd.trading.display_text import instant
from quantd.trading.execution import RATE_ONE, Costs, commission_ratio, lowest, rate_of_bp
from quantd.trading.fill_prices import Columns, Terms, impact_rate
from quantd.trading.instruments import NANO, Universe
from quantd.trading.market import Block, MarketSlice, Opening
from quantd.trading.number_types import read_int_rows, read_rows
from quantd.trading.orders import Kind, Reports, decision_id
from quantd.trading.ports import FillTerms
from quantd.trading.sessions import Sessions


def slices_of_opens(opened: Sequence[Opening], size: int) -> Iterator[MarketSlice]:
    """Yield a slice (the bars of one instant) for each bar in progress, with the bar's open as its only price."""
    for opening in opened:
        price, lots = np.full((1, size), np.nan), np.full((1, size), np.nan)
        fresh, open_nano = np.zeros((1, size), dtype=np.bool_), np.zeros((1, size), dtype=np.int64)
        price[0, opening.symbol], lots[0, opening.symbol] = opening.open_nano / NANO, opening.volume
        fresh[0, opening.symbol], open_nano[0, opening.symbol] = True, opening.open_nano
        ts_open, ts_event = np.array([opening.ts_open], dtype=np.int64), np.array([opening.ts_event], dtype=np.int64)
        yield MarketSlice(
            Block(
                ts_open=ts_open, ts_event=ts_event, key=ts_event, open=price, high=price, low=price, close=price,
                volume=lots, fresh=fresh, open_nano=open_nano, close_nano=open_nano,
            ),
            0,
        )  # fmt: skip


class Fills:
    """Computes the fills of one simulated venue, with that venue's costs.

    `sessions` has one calendar for each column (symbol); without it the venue has no auctions.
    """

    def __init__(self, universe: Universe, costs: Costs, sessions: Sequence[Sessions]) -> None:
        """Convert the costs to exact fractions for the fills of each bar.

        `own_rates` means that a fill's rate depends on more than its bar: on slippage noise or on a table of costs.

        `sessions` has the calendar of each column, for auctions; it is empty at a venue without auctions. A rate is an
        integer with RATE_ONE as 100 %. `fold_terms` are the costs with which the engine may compute fills itself, or
        that say that it may not.
        """
        self._opens = [calendar.open_instants for calendar in sessions]
        self._closes = [calendar.close_instants for calendar in sessions]
        self.auctions = bool(sessions)
        self._symbols = universe.symbols
        self.size = universe.size
        self._lot_nano = universe.lot_nano
        self._costs = costs
        needs_volume, own_rates = costs.needs_volume, bool(costs.slippage_noise or costs.table is not None)
        self._terms = terms = Terms(
            [commission_ratio(size, costs.commission_rate) for size in universe.lot_nano],
            [costs.participation_ratio(size) for size in universe.lot_nano],
            list(universe.lot_nano),
        )
        # in lowest terms if no other rate is added: the products of a small fraction are exact in 64 bits
        fixed = costs.fixed_rate, RATE_ONE
        terms.rate, terms.one = fixed if costs.impact or own_rates else lowest(*fixed)
        terms.impact, terms.least_micro = float(costs.impact), costs.commission_min_micro
        terms.by_volume, terms.capped = needs_volume, costs.participation > 0.0
        self._bar = BarFills(terms, self._rate if own_rates else None)
        self._block: Block | None = None
        self._columns: Columns
        self._market: MarketSlice
        self._ts = 0
        """The instant of the fills in progress."""
        self._zones = [ZoneInfo(calendar.zone) for calendar in sessions]
        self.fold_terms = FillTerms(terms, costs.latency_ns, computed=not own_rates)

    def begin(self, market: MarketSlice) -> None:
        """Select the bars of a slice (one instant) for the following calls of `filled`."""
        block, t = market.block, market.row  # a block has one row for each instant
        if block is not self._block:
            self._block = block
            self._columns = Columns(
                read_int_rows(block.open_nano), read_rows(block.low), read_rows(block.high),
                read_rows(block.volume),
            )  # fmt: skip
        self._market = market
        # empty if every symbol has a bar, which is then not asked for each of them
        fresh = [] if block.full[t] else block.fresh[t].tolist()
        self._bar.begin(self._columns, t, fresh, block.ts_open[t], block.ts_event[t])

    def filled(self, resting: Resting) -> Reports | None:
        """Fill a basket on the selected bar, and return its fills; None without any. All rows of the basket are of one
        order kind.

        A row fills at its price plus costs, inside its limit, up to the lots that the bar's volume allows.

        The report has the time of the bar's open, or of its close for a closing auction.
        """
        kind, bar_fills = resting.kind[0] if resting.kind else Kind.LIMIT, self._bar
        self._ts = bar_fills.bar.ts_event if kind == Kind.CLOSE else bar_fills.bar.ts_open
        bar_fills.take(resting)
        if kind == Kind.LIMIT or kind == Kind.STOP:
            bar_fills.limit_orders(resting.open, resting.stop_nano if kind == Kind.STOP else (), resting.triggered)
        else:
            self._auction(resting, close=kind == Kind.CLOSE)
        if not bar_fills.row:
            return None
        if bar_fills.ended:
            resting.keep([] if bar_fills.ended == len(resting.open) else bar_fills.working(resting.open))
        report = Reports(
            resting.sample, resting.n, self._ts, bar_fills.row, bar_fills.filled, bar_fills.size, bar_fills.price,
            bar_fills.fee, bar_fills.cause,
        )  # fmt: skip
        resting.reports.append(report)
        return report

    def _auction(self, resting: Resting, *, close: bool) -> None:
        """Fill the orders of the opening auction; with `close`, the orders of the closing auction.

        A row fills if the auction of its symbol is within the row's window, and its price inside the row's limit.
        """
        bar_fills, ts = self._bar, self._ts
        if close:
            auction_instants, prices = self._closes, self._market.close_nano.tolist()
        else:
            auction_instants, prices = self._opens, self._market.open_nano.tolist()
        for row in resting.open:
            column, limit, until = resting.sym[row], resting.worst_nano[row], resting.until[row]
            if bar_fills.fresh and not bar_fills.fresh[column]:
                continue
            takes_part = bar_fills.bar.ts_open >= resting.after[row] and (ts <= until if close else ts < until)
            resting.after[row] = max(resting.after[row], bar_fills.bar.ts_event)
            price, buy = prices[column], resting.lots[row] > 0
            if (
                takes_part
                and ts in auction_instants[column]
                and price > 0
                and (price <= limit if buy else price >= limit)
            ):
                bar_fills.fill(row, price)

    def _rate(self, resting: Resting, row: int, lots: int, volume: float) -> int:
        """Return the cost rate of a fill of `lots`, where RATE_ONE is 100 % of the price. It comes from the venue's
        costs or the table of costs, with slippage noise if configured."""
        column = resting.sym[row]
        rate, impact = self._rates(column, self._ts)
        return rate + self._variable_rate(resting, row, lots, volume, impact)

    def _rates(self, column: int, ts: int) -> tuple[int, float]:
        """Return the fixed rate and the impact rate of a column at `ts` (ns UTC), from the table of costs if it has
        the symbol."""
        costs, table = self._costs, self._costs.table
        if table is not None:
            hour = instant(ts).astimezone(self._zones[column]).hour if self._zones else 0
            if (rates := table.at(self._symbols[column], hour)) is not None:
                return rate_of_bp(rates.fixed_bp), rates.impact
        return costs.fixed_rate, costs.impact

    def _variable_rate(self, resting: Resting, row: int, lots: int, volume: float, impact: float) -> int:
        """Return the rate that is added to the fixed rate of a fill: impact, and slippage noise of either sign."""
        costs, column, rate = self._costs, resting.sym[row], 0
        if impact:
            rate = impact_rate(impact, lots, self._lot_nano[column], volume)
        if costs.slippage_noise:
            decision = decision_id(resting.sample, "house", self._symbols[column])
            key = f"{costs.seed}|{decision}|{resting.n}|{resting.cum[row]}".encode()
            draw = int.from_bytes(blake2b(key, digest_size=6).digest(), "big") / 2**47 - 1  # uniform in [-1, 1)
            rate += round(costs.slippage_rate * costs.slippage_noise * draw)
        return rate
