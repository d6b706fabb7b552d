"""The paper venue: fills baskets from bars as a pure fold, without a clock and without shared randomness."""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from quantd.adapters.brokers.paper.fills import Fills
from quantd.adapters.brokers.paper.orders import NEVER, Resting, accept
from quantd.trading.events import Action, CancelReported, NotFound, Unknown
from quantd.trading.execution import (
    Costs,
)
from quantd.trading.instruments import Universe
from quantd.trading.market import MarketSlice
from quantd.trading.orders import Kind, OrderBasket, Reports
from quantd.trading.ports import BrokerNews
from quantd.trading.sessions import Sessions

KEPT: Final = 128
"""Ended baskets whose reports can still be asked for. Older ones are answered Unknown, never NotFound."""


class FrozenPaper(Struct, array_like=True):
    """The whole venue: baskets that rest and those that ended, in order."""

    ts: int
    resting: list[Resting]
    ended: list[Resting]
    forgotten: int


class Paper:
    """A simulated venue; implements `quantd.trading.ports.SimulatedBroker`.

    Fills. A row fills on a slice where its symbol is fresh and whose open is in the row's window (see `Resting`), at
    `fill_price` of the open, or at its limit when the open is beyond it and the bar later trades through it. A
    row whose window closes inside the bar is not credited with trading through: nobody knows which came first. With
    a participation cap, the rows of a symbol share a bar's volume in order of arrival; less than a whole lot is no
    fill. What is left rests.

    Auctions. An OPEN row fills at the open of the bar that opens its symbol's session, a CLOSE row at the close of the
    bar that ends it, with the costs of any fill, inside its limit, and nowhere else. `sessions` are those of each
    column; a venue that knows none has no auctions and rejects such rows.

    Stops. A STOP row sleeps until the market comes to its trigger: a bar that opens at or beyond it triggers and fills
    it at the open, one that trades at it later triggers it there and fills it at the trigger, both with the costs of
    any fill, never beyond its limit. An open beyond the limit triggers it too, and it fills at the limit if the bar
    trades through that. From its trigger on it is a limit order. A bar inside which its window closes triggers nothing
    but by its open.

    Ends. A row expires at its end, after the fills of the slice that closes then; its report is stamped with it.

    Cancels take effect at ts + latency. Bars arrive at their close: while a bar not yet seen may have opened in the
    row's window, the row waits for the symbol's next bar, its end, or a day (no bar is longer), may fill from that
    bar, and only then is CANCELLED, stamped with the time of effect. Where no such bar is possible, as for a cancel on
    the close of the bar last seen, or before the row could fill at all, it is CANCELLED at once.

    Randomness: only `slippage_noise`, a hash of (seed, decision, n, lots filled before).
    """

    def __init__(self, universe: Universe, costs: Costs, sessions: Sequence[Sessions] = ()) -> None:
        self._costs = costs
        self._fills = Fills(universe, costs, sessions)
        self._resting: list[Resting] = []
        self._ended: list[Resting] = []
        self._known: dict[tuple[int, int], Resting] = {}
        self._forgotten = -NEVER
        self._ts = 0
        self._seen: MarketSlice | None = None
        """The slice seen last: an order that comes of its fills has missed the rest of it."""

    def submit(self, basket: OrderBasket, rows: Sequence[int] | None = None) -> Sequence[BrokerNews]:
        """Accept a basket, or some rows of it, or reject rows without lots or a limit; one sent again is told what
        became of it."""
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
        return "" if self._fills.auctions else "this venue has no auctions"

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
        bar = self._fills.bar(market)
        self._ts = bar.ts_event
        news: list[Reports] = []
        ends = False
        for resting in self._resting:
            report = self._fills.filled(resting, bar)
            if report is not None:
                news.append(report)
                ends = ends or bool(resting.kind)  # an auction's fill may be of the bar's close
            ends = ends or resting.due <= bar.ts_event
        if ends:
            news += self._settle(bar.ts_event)
            news.sort(key=_ts)
        self._retire()
        return news

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
