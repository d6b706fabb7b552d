"""The paper venue: fills baskets from bars as a pure fold, without a clock and without shared randomness."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import msgspec
from msgspec import Struct

from quantd.adapters.brokers.paper.orders import NEVER, Resting, accept
from quantd.trading.events import Action, CancelReported, NotFound, Unknown
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
from quantd.trading.orders import Cause, Kind, OrderBasket, Reports, decision_id
from quantd.trading.ports import BrokerNews
from quantd.trading.sessions import Sessions

KEPT: Final = 128
"""Ended baskets whose reports can still be asked for. Older ones are answered Unknown, never NotFound."""

_PART_FILL, _LAST_FILL = int(Cause.PART_FILL), int(Cause.LAST_FILL)


class FrozenPaper(Struct, array_like=True):
    """The whole venue: baskets that rest and those that ended, in order."""

    ts: int
    resting: list[Resting]
    ended: list[Resting]
    forgotten: int


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


class Paper:
    """A simulated venue; implements `quantd.trading.ports.SimulatedBroker`.

    Fills. A row fills on a slice where its symbol is fresh and whose open is in the row's window (see `Resting`), at
    `fill_price` of the open, or at its limit when the open is beyond it and the bar later trades through it. A
    row whose window closes inside the bar is not credited with trading through: nobody knows which came first. With
    a participation cap, the rows of a symbol share a bar's volume in order of arrival; less than a whole lot is no
    fill. What is left rests.

    Auctions. An OPEN row fills at the open of the bar that opens its symbol's session, a CLOSE row at the close of the bar
    that ends it, with the costs of any fill, inside its limit, and nowhere else. `sessions` are those of each column;
    a venue that knows none has no auctions and rejects such rows.

    Stops. A STOP row sleeps until the market comes to its trigger: a bar that opens at or beyond it triggers and fills it
    at the open, one that trades at it later triggers it there and fills it at the trigger, both with the costs of any
    fill, never beyond its limit. An open beyond the limit triggers it too, and it fills at the limit if the bar trades through
    that. From its trigger on it is a limit order. A bar inside which its window closes triggers nothing but by its open.

    Ends. A row expires at its end, after the fills of the slice that closes then; its report is stamped with it.

    Cancels take effect at ts + latency. Bars arrive at their close: while a bar not yet seen may have opened in the
    row's window, the row waits for the symbol's next bar, its end, or a day (no bar is longer), may fill from that
    bar, and only then is CANCELLED, stamped with the time of effect. Where no such bar is possible, as for a cancel on
    the close of the bar last seen, or before the row could fill at all, it is CANCELLED at once.

    Randomness: only `slippage_noise`, a hash of (seed, decision, n, lots filled before).
    """

    def __init__(self, universe: Universe, costs: Costs, sessions: Sequence[Sessions] = ()) -> None:
        self._opens = [frozenset(each.open_ns) for each in sessions]
        self._closes = [frozenset(each.close_ns) for each in sessions]
        self._symbols = universe.symbols
        self._lot_nano = universe.lot_nano
        self._costs = costs
        self._commission = [commission_ratio(size, costs.commission_rate) for size in universe.lot_nano]
        self._share = [costs.participation_ratio(size) for size in universe.lot_nano]
        self._needs_volume = costs.needs_volume
        # in lowest terms where nothing is added to it, as small ints are quick
        self._plain = not (self._needs_volume or costs.slippage_noise)
        self._fixed = lowest(costs.fixed_rate, RATE_ONE) if self._plain else (costs.fixed_rate, RATE_ONE)
        self._resting: list[Resting] = []
        self._ended: list[Resting] = []
        self._known: dict[tuple[int, int], Resting] = {}
        self._forgotten = -NEVER
        self._ts = 0
        self._seen: MarketSlice | None = None
        """The slice seen last: an order that comes of its fills has missed the rest of it."""

    def submit(self, basket: OrderBasket, rows: Sequence[int] | None = None) -> Sequence[BrokerNews]:
        """Accept a basket, or some rows of it, or reject rows without lots or a limit; one sent again is told what became
        of it."""
        self._ts = basket.ts
        key = basket.sample, basket.n
        if key in self._known:
            return self._more(self._known[key], range(len(basket.sym)) if rows is None else rows)
        resting = self._known[key] = accept(basket, self._costs.latency_ns, rows, self._refused(basket))
        seen = self._seen
        if seen is not None and basket.ts < seen.ts_event:
            for row, column in enumerate(basket.sym):
                if seen.fresh[column]:
                    resting.after[row] = max(resting.after[row], seen.ts_event)
        self._resting.append(resting)
        if not resting.open:
            self._retire()
        return resting.reports[:]

    def _refused(self, basket: OrderBasket) -> str:
        """Why no row of a basket is taken; empty when they are."""
        kinds = set(basket.kind)
        if not kinds or kinds == {Kind.LIMIT}:
            return ""
        if len(kinds) > 1:
            return "the orders of a basket are all of one kind"
        if kinds == {Kind.STOP}:
            return "" if all(each > 0 for each in basket.stop_nano) else "a stop without a trigger price"
        return "" if self._opens else "this venue has no auctions"

    def _more(self, resting: Resting, rows: Sequence[int]) -> Sequence[BrokerNews]:
        """Rows of a basket that is here: those that never came are taken now, the others told of."""
        new = resting.unseen(rows)
        news: list[BrokerNews] = [*resting.told(set(rows) - set(new))]
        if new:
            news.append(resting.take(self._ts, new))
            if resting not in self._resting:
                self._ended.remove(resting)
                self._resting.append(resting)
        return news

    def on_slice(self, market: MarketSlice) -> Sequence[BrokerNews]:
        """Fill what this bar fills, then end what ends by its close. Reports are in order of time, then of arrival."""
        self._seen = market
        if not self._resting:
            return ()
        bar = Bar(market, self._needs_volume)
        self._ts = bar.ts_event
        news: list[Reports] = []
        ends = False
        for resting in self._resting:
            report = self._of_kind(resting, bar) if resting.kind else self._fill(resting, bar)
            if report is not None:
                news.append(report)
                ends = ends or bool(resting.kind)  # an auction's fill may be of the bar's close
            ends = ends or resting.due <= bar.ts_event
        if ends:
            news += self._settle(bar.ts_event)
            news.sort(key=_ts)
        self._retire()
        return news

    def _fill(self, resting: Resting, bar: Bar) -> Reports | None:
        """What one bar fills of one basket."""
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

    def _of_kind(self, resting: Resting, bar: Bar) -> Reports | None:
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

    def on_time(self, ts: int) -> Sequence[BrokerNews]:
        """End what ends by `ts`, bar or no bar. Call it after every slice of that instant."""
        if not self._resting:
            return ()
        self._ts = ts
        news = self._settle(ts)
        self._retire()
        return sorted(news, key=_ts)

    def _settle(self, ts: int) -> list[Reports]:
        return [report for resting in self._resting if resting.due <= ts for report in resting.settle(ts)]

    def _retire(self) -> None:
        """Put baskets without a working row away, and forget the oldest of those."""
        ended = [resting for resting in self._resting if not resting.open]
        if not ended:
            return
        self._resting = [resting for resting in self._resting if resting.open]
        self._ended += ended
        while len(self._ended) > KEPT:
            oldest = self._ended.pop(0)
            del self._known[oldest.sample, oldest.n]
            self._forgotten = max(self._forgotten, oldest.sample)

    def cancel(self, sample: int, n: int, row: int, ts: int) -> Sequence[BrokerNews]:
        """Cancel one row from ts + latency on; CancelReported when it is not known or has ended."""
        self._ts = ts
        resting = self._known.get((sample, n))
        if resting is None or not 0 <= row < len(resting.sym):
            return [CancelReported(sample, n, ts, row, "there is no such order")]
        if row not in resting.open:
            return [CancelReported(sample, n, ts, row, "the order has ended")]
        report = resting.cancel(row, ts + self._costs.latency_ns)
        if report is None:
            return ()
        self._retire()
        return [report]

    def on_action(self, action: Action) -> Sequence[BrokerNews]:
        """Rescale rows of a symbol that splits, and past reports of it, so that a query speaks of the lots of now.

        A row of which less than a lot is left is CANCELLED, and so is every row of a symbol that is delisted. Dividends
        change no order.
        """
        self._ts = action.ts
        if action.kind == "dividend":
            return ()
        news = []
        if action.kind == "delisting":
            for resting in self._resting:
                report = resting.void(action.ts, action.symbol)
                if report is not None:
                    news.append(report)
            self._retire()
            return news
        for resting in (*self._ended, *self._resting):
            report = resting.split(action.ts, action.symbol, action.numerator, action.denominator)
            if report is not None:
                news.append(report)
        self._retire()
        return news

    def query(self, sample: int, n: int, rows: Sequence[int]) -> Sequence[BrokerNews]:
        """All that was said about these rows, again; NotFound for rows that never came, Unknown when the venue
        may have forgotten them."""
        resting = self._known.get((sample, n))
        if resting is None:
            if sample <= self._forgotten:
                return [Unknown(sample, n, self._ts, list(rows), "the venue does not keep orders this old")]
            return [NotFound(sample, n, self._ts, list(rows))]
        news: list[BrokerNews] = [*resting.told(set(rows))]
        missing = resting.unseen(rows)
        if missing:
            news.append(NotFound(sample, n, self._ts, missing))
        return news

    def freeze(self) -> bytes:
        """The whole venue as msgpack."""
        return _encoder.encode(FrozenPaper(self._ts, self._resting, self._ended, self._forgotten))

    def thaw(self, frozen: bytes) -> None:
        """Become the venue that `freeze` wrote; msgspec.DecodeError or ValidationError when the bytes are not one."""
        state = _decoder.decode(frozen)
        self._ts, self._resting, self._ended, self._forgotten = state.ts, state.resting, state.ended, state.forgotten
        self._known = {(resting.sample, resting.n): resting for resting in (*state.ended, *state.resting)}


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(FrozenPaper)


def _ts(report: Reports) -> int:
    return report.ts


def _at_least(least_micro: int, resting: Resting, row: int, fee_micro: int) -> int:
    """What a fill is charged so that its order has paid `least_micro` from its first fill on."""
    before = resting.charged_micro[row]
    charged = resting.charged_micro[row] = max(before, 0) + fee_micro
    return max(least_micro, charged) - (max(least_micro, before) if before >= 0 else 0)
