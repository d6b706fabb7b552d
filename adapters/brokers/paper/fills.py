"""What one bar fills of orders that rest at the paper venue, at which prices and fees. `Paper` states the rules."""

from collections.abc import Sequence
from hashlib import blake2b

from quantd.adapters.brokers.paper.orders import NEVER, Resting
from quantd.trading.execution import (
    RATE_ONE,
    Costs,
    commission_micro,
    commission_ratio,
    fill_price,
    impact_rate,
    lots_to_be_had,
    lowest,
    reaches,
    trades_through,
)
from quantd.trading.instruments import Universe
from quantd.trading.market import MarketSlice
from quantd.trading.orders import Cause, Kind, Reports, decision_id
from quantd.trading.sessions import Sessions

_PART_FILL, _LAST_FILL = int(Cause.PART_FILL), int(Cause.LAST_FILL)


class Bar:
    """One slice as the venue uses it. `room` is what the participation cap leaves of it, by column."""

    __slots__ = ("fresh", "market", "open_nano", "room", "ts_event", "ts_open", "volume")

    def __init__(self, market: MarketSlice, with_volume: bool) -> None:
        block, t = market.block, market.row
        self.market = market
        self.ts_open = block.ts_open[t]
        self.ts_event = block.ts_event[t]
        self.fresh: list[bool] | None = None if block.full[t] else block.fresh[t].tolist()
        self.open_nano: list[int] = block.open_nano[t].tolist()
        self.volume: list[float] = block.volume[t].tolist() if with_volume else []
        self.room: dict[int, int] = {}


class Fills:
    """Fills of one venue at its costs. `sessions` are those of each column; without them there are no auctions."""

    def __init__(self, universe: Universe, costs: Costs, sessions: Sequence[Sessions]) -> None:
        self._opens = [frozenset(each.open_ns) for each in sessions]
        self._closes = [frozenset(each.close_ns) for each in sessions]
        self.auctions = bool(sessions)
        self._symbols = universe.symbols
        self._lot_nano = universe.lot_nano
        self._costs = costs
        self._commission = [commission_ratio(size, costs.commission_rate) for size in universe.lot_nano]
        self._share = [costs.participation_ratio(size) for size in universe.lot_nano]
        self._needs_volume = costs.needs_volume
        # in lowest terms where nothing is added to it, as small ints are quick
        self._plain = not (self._needs_volume or costs.slippage_noise)
        self._fixed = lowest(costs.fixed_rate, RATE_ONE) if self._plain else (costs.fixed_rate, RATE_ONE)

    def bar(self, market: MarketSlice) -> Bar:
        """A slice as fills read it."""
        return Bar(market, self._needs_volume)

    def limits(self, resting: Resting, bar: Bar) -> Reports | None:
        """What one bar fills of a basket of limit orders."""
        fresh, open_nano, ts_open, ts_event = bar.fresh, bar.open_nano, bar.ts_open, bar.ts_event
        plain, (fixed, one) = self._plain, self._fixed
        commission, least = self._commission, self._costs.commission_min_micro
        sym, signed, limits, cums = resting.sym, resting.lots, resting.worst_nano, resting.cum
        after, until = resting.after, resting.until
        rows: list[int] = []
        cum: list[int] = []
        lots: list[int] = []
        prices: list[int] = []
        fees: list[int] = []
        causes: list[int] = []
        left: list[int] = []
        for row in resting.open:
            column = sym[row]
            if ts_open < after[row] or (fresh is not None and not fresh[column]):
                left.append(row)
                continue
            after[row] = ts_event
            price, limit, total = open_nano[column], limits[row], signed[row]
            buy = total > 0
            inside = price <= limit if buy else price >= limit
            if not inside:
                price = limit
            if ts_open >= until[row] or not (inside or self._through(resting, row, bar)) or price <= 0:
                left.append(row)
                continue
            whole = total if buy else -total
            done = cums[row]
            wanted = whole - done
            rate = fixed
            if not plain:
                wanted = self._room(column, wanted, bar)
                if not wanted:
                    left.append(row)
                    continue
                rate += self._extra_rate(resting, row, wanted, bar)
            if rate:  # costs stop at the limit, where a bar that traded through it fills
                price = fill_price(price, limit, buy, rate, one)
            fee = commission_micro(wanted, price, commission[column])
            if least:
                fee = _at_least(least, resting, row, fee)
            done += wanted
            cums[row] = done
            rows.append(row)
            cum.append(done)
            lots.append(wanted)
            prices.append(price)
            fees.append(fee)
            if done == whole:
                causes.append(_LAST_FILL)
            else:
                causes.append(_PART_FILL)
                left.append(row)
        if not rows:
            return None
        if len(left) < len(resting.open):
            resting.keep(left)
        report = Reports(resting.sample, resting.n, ts_open, rows, cum, lots, prices, fees, causes)
        resting.reports.append(report)
        return report

    def of_kind(self, resting: Resting, bar: Bar) -> Reports | None:
        """What one bar fills of a basket that is not of limit orders: its rows are all of one kind."""
        return self._stops(resting, bar) if resting.kind[0] == Kind.STOP else self._auction(resting, bar)

    def _stops(self, resting: Resting, bar: Bar) -> Reports | None:
        """What one bar triggers of a basket of stops, and fills of those that were."""
        report = Reports(resting.sample, resting.n, bar.ts_open, [], [], [], [], [], [])
        for row in list(resting.open):
            column, limit, buy = resting.sym[row], resting.worst_nano[row], resting.lots[row] > 0
            fresh = bar.fresh is None or bar.fresh[column]
            if not fresh or bar.ts_open < resting.after[row]:
                continue
            resting.after[row] = bar.ts_event
            price = bar.open_nano[column]
            if bar.ts_open >= resting.until[row] or price <= 0:
                continue
            if row not in resting.triggered:
                stop = resting.stop_nano[row]
                if not (price >= stop if buy else price <= stop):
                    # what trades at the trigger fills a sale and a purchase at it, from the other side
                    if resting.until[row] < bar.ts_event or not reaches(
                        stop, buy, bar.market.low.item(column), bar.market.high.item(column)
                    ):
                        continue
                    price = stop
                resting.triggered.append(row)
            if price > limit if buy else price < limit:
                if not self._through(resting, row, bar):
                    continue
                price = limit
            self._take(resting, row, price, bar, report)
        return self._taken(resting, report)

    def _auction(self, resting: Resting, bar: Bar) -> Reports | None:
        """What one bar fills of a basket for an auction: its rows are all for the same one."""
        close = resting.kind[0] == Kind.CLOSE
        ts = bar.ts_event if close else bar.ts_open
        days, prices = (self._closes, bar.market.close_nano.tolist()) if close else (self._opens, bar.open_nano)
        report = Reports(resting.sample, resting.n, ts, [], [], [], [], [], [])
        for row in list(resting.open):
            column, limit, total = resting.sym[row], resting.worst_nano[row], resting.lots[row]
            fresh = bar.fresh is None or bar.fresh[column]
            there = bar.ts_open >= resting.after[row] and (
                ts <= resting.until[row] if close else ts < resting.until[row]
            )
            price, buy = prices[column], total > 0
            if not (fresh and there and ts in days[column] and price > 0):
                continue
            if price > limit if buy else price < limit:
                continue
            self._take(resting, row, price, bar, report)
        for row in resting.open:
            if bar.fresh is None or bar.fresh[resting.sym[row]]:
                resting.after[row] = max(resting.after[row], bar.ts_event)
        return self._taken(resting, report)

    def _take(self, resting: Resting, row: int, price: int, bar: Bar, report: Reports) -> None:
        """Fill what the bar's volume lets through of a row, at a price inside its limit and the costs of it."""
        column, limit, buy = resting.sym[row], resting.worst_nano[row], resting.lots[row] > 0
        whole = abs(resting.lots[row])
        wanted = self._room(column, whole - resting.cum[row], bar)
        if not wanted:
            return
        rate = self._costs.fixed_rate
        if not self._plain:
            rate += self._extra_rate(resting, row, wanted, bar)
        if rate:
            price = fill_price(price, limit, buy, rate, RATE_ONE)
        fee = commission_micro(wanted, price, self._commission[column])
        if self._costs.commission_min_micro:
            fee = _at_least(self._costs.commission_min_micro, resting, row, fee)
        resting.cum[row] += wanted
        done = resting.cum[row] == whole
        report.row.append(row)
        report.cum.append(resting.cum[row])
        report.lots.append(wanted)
        report.price_nano.append(price)
        report.fee_micro.append(fee)
        report.cause.append(_LAST_FILL if done else _PART_FILL)

    def _taken(self, resting: Resting, report: Reports) -> Reports | None:
        """Keep what was filled of a basket, None for nothing; rows that are filled whole rest no longer."""
        if not report.row:
            return None
        ended = {row for row, cause in zip(report.row, report.cause, strict=True) if cause == _LAST_FILL}
        resting.keep([row for row in resting.open if row not in ended])
        resting.reports.append(report)
        return report

    def _through(self, resting: Resting, row: int, bar: Bar) -> bool:
        """Whether a bar that opened beyond a row's limit came back through it while the row was still there."""
        if resting.until[row] < bar.ts_event:
            return False
        column, market = resting.sym[row], bar.market
        return trades_through(
            resting.worst_nano[row], resting.lots[row] > 0, market.low.item(column), market.high.item(column)
        )

    def _room(self, column: int, wanted: int, bar: Bar) -> int:
        """How many of the lots wanted the bar's volume lets through; they are taken."""
        if not self._needs_volume:
            return wanted
        left = bar.room.get(column)
        if left is None:
            volume = bar.volume[column]
            if self._costs.participation:
                left = lots_to_be_had(volume, self._share[column])
            else:
                left = NEVER if volume > 0 else 0
        if wanted > left:
            wanted = left
        bar.room[column] = left - wanted
        return wanted

    def _extra_rate(self, resting: Resting, row: int, lots: int, bar: Bar) -> int:
        """What a fill pays beyond the fixed rate: impact, and slippage noise of either sign."""
        costs, column, rate = self._costs, resting.sym[row], 0
        if costs.impact:
            rate = impact_rate(costs.impact, lots, self._lot_nano[column], bar.volume[column])
        if costs.slippage_noise:
            decision = decision_id(resting.sample, "house", self._symbols[column])
            key = f"{costs.seed}|{decision}|{resting.n}|{resting.cum[row]}".encode()
            draw = int.from_bytes(blake2b(key, digest_size=6).digest(), "big") / 2**47 - 1  # uniform in [-1, 1)
            rate += round(costs.slippage_rate * costs.slippage_noise * draw)
        return rate


def _at_least(least_micro: int, resting: Resting, row: int, fee_micro: int) -> int:
    """What a fill is charged so that its order has paid `least_micro` from its first fill on."""
    before = resting.charged_micro[row]
    charged = resting.charged_micro[row] = max(before, 0) + fee_micro
    return max(least_micro, charged) - (max(least_micro, before) if before >= 0 else 0)
