"""The paper venue: simulated fills as a pure function of the bars, without a clock and without shared randomness.

What can go wrong. A simulated fill uses what no account could have reached: a bar that opened before the order arrived,
the high and low of a bar in which the order ended, or more volume than was traded. A cancel ends an order that a bar in
progress would have filled. The rules of `Paper` exclude each of these.

What the order of the steps guarantees. The fills of a bar precede the ends of orders at its close, because an order may
trade until its end. `on_time` is called after every slice (the bars of one instant). The same baskets and bars give the
same reports, in one run, after `thaw`, or where the engine computes the fills itself: slippage noise is a hash of the
fill and not the next number of a generator.

Rejected: to report a fill only when its bar ends (docs/decisions/018). The daily bar of a coin spans the close of New
York, and its fill would become known one decision too late.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Final

import msgspec
from msgspec import Struct

from quantd.adapters.brokers.paper.fills import Fills, slices_of_opens
from quantd.adapters.brokers.paper.orders import NEVER, Resting, accept
from quantd.trading.events import Action, CancelReported, NotFound, Unknown
from quantd.trading.execution import Costs
from quantd.trading.instruments import Universe
from quantd.trading.market import MarketSlice, Opening
from quantd.trading.orders import Kind, OrderBasket, Reports
from quantd.trading.ports import BrokerNews, FilledBasket, FillTerms
from quantd.trading.sessions import Sessions

MOST_ENDED: Final = 128
"""Number of ended baskets whose reports are kept for queries. A query of an older one returns Unknown, never
NotFound."""


class FrozenPaper(Struct, array_like=True):
    """The whole state of the venue as a record: working and ended baskets, oldest first.

    `forgotten` is the newest `sample` of the dropped baskets; a basket's `sample` is the time (ns UTC) of the sample on
    which it was decided.
    """

    ts: int
    resting: list[Resting]
    ended: list[Resting]
    forgotten: int


class Paper:
    """A simulated venue; implements `quantd.trading.ports.SimulatedBroker`.

    Fills. A row (one order) fills on a new bar whose open is in the row's window (from its arrival to its end or
    cancel), at `fill_price` of the open, or at the row's limit if the open is beyond the limit and the bar trades
    through it. If the window closes inside the bar, only the open counts, because the order of events is unknown. With
    a participation cap, the rows of a symbol share a bar's volume in order of arrival; less than a whole lot is no
    fill. The unfilled rest of the row stays open.

    Auctions. An OPEN row fills at the open of the first bar of its symbol's session only, a CLOSE row at the close of
    the last one, with costs, inside its limit. `sessions` has one calendar for each column; without it the venue
    has no auctions and rejects OPEN and CLOSE rows.

    Stops. A bar that opens at or beyond the trigger of a STOP row fills it at the open. A bar that trades at the
    trigger later fills it at the trigger. Both fills have costs and respect the limit. If the open is beyond the limit,
    the row fills at the limit if the bar trades through it. A triggered row is a limit order. If the window closes
    inside the bar, only the open can trigger.

    Ends. A row expires at its end, after the fills of the slice that closes then; its report has that time.

    Cancels take effect at ts + latency. Bars arrive at their close. While an unseen bar may have opened in the row's
    window, the row waits for the symbol's next bar, its end, or a day (the longest bar), and may fill from that bar.
    Then it is CANCELLED, with the time of effect. Where no unseen bar is possible, it is CANCELLED at once.

    Bars in progress. `on_time` fills at the opens of bars that have not ended, so that a fill is known before the next
    decision: a coin's daily bar spans the close of New York, at which decisions are made.

    Randomness: only `slippage_noise`, a hash of (seed, decision, n, lots filled before).
    """

    def __init__(self, universe: Universe, costs: Costs, sessions: Sequence[Sessions] = ()) -> None:
        """Prepare the venue; with `sessions`, one calendar for each column (symbol), it has auctions."""
        self._costs = costs
        self._fills = Fills(universe, costs, sessions)
        self._resting: list[Resting] = []
        self._ended: list[Resting | FilledBasket] = []
        self._by_key: dict[tuple[int, int], Resting | FilledBasket] = {}
        self._forgotten = -NEVER  # the newest sample of a dropped basket
        self._ts = 0
        self._seen: MarketSlice | None = None
        """The last slice: an order that follows from its fills has missed the rest of it."""

    def submit(self, basket: OrderBasket, rows: Sequence[int] | None = None) -> Sequence[BrokerNews]:
        """Accept a basket or some of its rows (orders).

        Rows without lots or without a limit price are rejected, and rows that were received earlier are reported again.

        `basket` has the orders of one decision, `resting` is the venue's record of it. `after` is the instant from
        which a row can fill (ns UTC).
        """
        self._ts = basket.ts
        key = basket.sample, basket.n
        if (previous := self._basket_of(key)) is not None:
            return self._submit_again(previous, range(len(basket.sym)) if rows is None else rows)
        resting = self._by_key[key] = accept(basket, self._costs.latency_ns, rows, self._why_refused(basket))
        market = self._seen
        # the order was decided inside the last bar, and has missed that bar
        if market is not None and basket.ts < market.ts_event:
            for row, column in enumerate(basket.sym):
                if market.fresh[column]:
                    resting.after[row] = max(resting.after[row], market.ts_event)
        self._resting.append(resting)
        if not resting.open:
            self._retire()
        return resting.reports[:]

    def _why_refused(self, basket: OrderBasket) -> str:
        """Return the reason to reject a whole basket, or empty text."""
        kinds = set(basket.kind)
        if not kinds or kinds == {Kind.LIMIT}:
            return ""
        if len(kinds) > 1:
            return "the orders of a basket must be of one kind"
        if kinds == {Kind.STOP}:
            return "" if all(trigger > 0 for trigger in basket.stop_nano) else "a stop without a trigger price"
        return "" if self._fills.auctions else "this venue has no auctions"

    def _submit_again(self, resting: Resting, rows: Sequence[int]) -> Sequence[BrokerNews]:
        """Accept the new rows of a basket that was received earlier, and repeat the reports of its other rows."""
        new = resting.unseen(rows)
        news: list[BrokerNews] = [*resting.reports_of(set(rows) - set(new))]
        if new:
            news.append(resting.take(self._ts, new))
            if resting not in self._resting:
                self._ended.remove(resting)
                self._resting.append(resting)
        return news

    def on_slice(self, market: MarketSlice) -> Sequence[BrokerNews]:
        """Fill orders on the bars of one instant, then apply the ends of orders up to that instant. Returns reports in
        order of time, then of the arrival of the orders.

        `resting` is a basket: its `kind` is empty if all rows are limit orders, its `due` is the earliest end of a
        working row (ns UTC).
        """
        self._seen = market
        if not self._resting:
            return ()
        self._fills.begin(market)
        self._ts = ts = market.ts_event
        news: list[Reports] = []
        ends = False
        for resting in self._resting:
            report = self._fills.filled(resting)
            if report is not None:
                news.append(report)
                # reports of a closing auction are later than fills at opens, and are sorted below
                ends = ends or bool(resting.kind)
            ends = ends or resting.due <= ts
        # after the fills: a row that ends at this close may still fill inside the bar
        if ends:
            news += self._settle(ts)
            news.sort(key=attrgetter("ts"))
        self._retire()
        return news

    def on_time(self, ts: int, opened: Sequence[Opening] = ()) -> Sequence[BrokerNews]:
        """Fill orders at the opens of bars in progress, then apply the ends of orders up to `ts` (ns UTC).

        The caller calls this method after every slice of the instant `ts`.
        """
        if not self._resting:
            return ()
        news = self._filled_at_opens(opened)
        self._ts = ts
        news += sorted(self._settle(ts), key=attrgetter("ts"))
        self._retire()
        return news

    def _filled_at_opens(self, opened: Sequence[Opening]) -> list[Reports]:
        """Fill at the opens of bars; an order that an open does not fill waits for the end of the bar.

        Orders of a closing auction take no part.
        """
        news: list[Reports] = []
        for market in slices_of_opens(opened, self._fills.size):
            self._fills.begin(market)
            for resting in self._resting:
                if resting.kind and resting.kind[0] == Kind.CLOSE:
                    continue
                previous_after = list(resting.after)
                report = self._fills.filled(resting)
                # the rest of the bar may still fill a row that its open did not
                filled_rows = () if report is None else report.row
                resting.after = [
                    resting.after[row] if row in filled_rows else earliest
                    for row, earliest in enumerate(previous_after)
                ]
                if report is not None:
                    news.append(report)
        return news

    def _settle(self, ts: int) -> list[Reports]:
        """Apply the ends (expiry, cancel) of orders that are due up to `ts` (ns UTC), and return the reports."""
        return [report for resting in self._resting if resting.due <= ts for report in resting.settle(ts)]

    def _retire(self) -> None:
        """Move baskets without open orders to the ended baskets, and drop the oldest ended baskets."""
        ended = [resting for resting in self._resting if not resting.open]
        if not ended:
            return
        self._resting = [resting for resting in self._resting if resting.open]
        self._ended += ended
        self._forget()

    def _forget(self) -> None:
        """Drop the oldest ended baskets."""
        excess = max(len(self._ended) - MOST_ENDED, 0)
        for oldest in self._ended[:excess]:
            key = (oldest.sample, oldest.n) if isinstance(oldest, Resting) else oldest.key
            del self._by_key[key]
            self._forgotten = max(self._forgotten, key[0])
        del self._ended[:excess]

    def cancel(self, sample: int, n: int, row: int, ts: int) -> Sequence[BrokerNews]:
        """Cancel one order with effect from `ts` plus the latency. Returns CancelReported for an unknown or ended
        order."""
        self._ts = ts
        resting = self._basket_of((sample, n))
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
        """Rescale the rows and past reports of a split symbol, so that queries use current lots.

        An order with less than one lot unfilled is CANCELLED, like every order in a delisted symbol. Dividends change
        no order.

        A split multiplies lots by numerator / denominator.
        """
        self._ts = action.ts
        if action.kind == "dividend":
            return ()
        if action.kind == "delisting":
            reports = [resting.void(action.ts, action.symbol) for resting in self._resting]
        else:
            reports = [
                resting.split(action.ts, action.symbol, action.numerator, action.denominator)
                for resting in (*self._ended_baskets(), *self._resting)
            ]
        self._retire()
        return [report for report in reports if report is not None]

    def query(self, sample: int, n: int, rows: Sequence[int]) -> Sequence[BrokerNews]:
        """Return the reports of these rows again: NotFound for rows that were never received, Unknown for a basket
        that was dropped.

        Of the ended baskets the newest MOST_ENDED stay; `_forgotten` is the newest `sample` of the dropped ones.
        """
        resting = self._basket_of((sample, n))
        if resting is None:
            if sample <= self._forgotten:
                return [Unknown(sample, n, self._ts, list(rows), "the venue does not keep orders this old")]
            return [NotFound(sample, n, self._ts, list(rows))]
        news: list[BrokerNews] = [*resting.reports_of(set(rows))]
        missing = resting.unseen(rows)
        if missing:
            news.append(NotFound(sample, n, self._ts, missing))
        return news

    def fill_terms(self) -> FillTerms:
        """Return the terms on which all limit orders fill, and whether the engine may compute the fills itself."""
        return self._fills.fold_terms

    def starts(self) -> dict[tuple[int, int], int] | None:
        """Return, for each open basket by (sample, n), the instant (ns UTC) from which its orders can fill.

        Returns None unless each has limit orders only, all accepted, from one instant, and without a fill or a cancel.
        """
        starts = {}
        for basket in self._resting:
            untouched = not (basket.kind or basket.cancelling or any(basket.cum))
            if len(basket.open) != len(basket.sym) or not untouched or len(set(basket.after)) > 1:
                return None
            starts[basket.sample, basket.n] = basket.after[0]
        return starts

    def catch_up(self, market: MarketSlice, filled: Sequence[FilledBasket], missed: int | None) -> None:
        """Record the baskets that the engine sent and filled itself up to the slice `market`.

        `filled` has the newest of these baskets. Older ones, up to the sample `missed` (ns UTC), filled too and are not
        listed. `missed` is None if `filled` has all; else the records in `filled` replace the open baskets.
        """
        self._seen, self._ts = market, max(self._ts, filled[-1].ts_event)
        if missed is not None:
            for resting in self._resting:
                del self._by_key[resting.sample, resting.n]
            self._resting, self._forgotten = [], max(self._forgotten, missed)
        still_open = {(basket.sample, basket.n): basket for basket in self._resting}
        self._resting = []
        for basket in filled:
            if (accepted := still_open.get(basket.key)) is not None:
                _, report, charged_micro = basket.made()
                accepted.fill_whole(report, basket.ts_event, charged_micro)
                self._ended.append(accepted)
            else:
                self._ended.append(basket)
                self._by_key[basket.key] = basket
        self._forget()

    def _basket_of(self, key: tuple[int, int]) -> Resting | None:
        """Return the basket with the key (sample, n), None for an unknown key. A basket whose fills the engine computed
        itself is converted first."""
        basket = self._by_key.get(key)
        return basket if basket is None or isinstance(basket, Resting) else self._caught_up(basket)

    def _caught_up(self, late: FilledBasket) -> Resting:
        """Convert a basket whose fills the engine computed itself to a basket of this venue, with its reports."""
        basket, report, charged_micro = late.made()
        resting = accept(basket, self._costs.latency_ns)
        resting.fill_whole(report, late.ts_event, charged_micro)
        self._by_key[late.key] = resting
        self._ended[next(k for k, entry in enumerate(self._ended) if entry is late)] = resting
        return resting

    def _ended_baskets(self) -> list[Resting]:
        """Return all ended baskets; those whose fills the engine computed itself are converted."""
        return [basket if isinstance(basket, Resting) else self._caught_up(basket) for basket in list(self._ended)]

    def freeze(self) -> bytes:
        """Return the whole state of the venue as msgpack bytes, for `thaw`."""
        return _encoder.encode(FrozenPaper(self._ts, self._resting, self._ended_baskets(), self._forgotten))

    def thaw(self, frozen: bytes) -> None:
        """Restore the state that `freeze` returned. Raises msgspec.DecodeError or ValidationError."""
        state = _decoder.decode(frozen)
        self._ts, self._resting, self._forgotten = state.ts, state.resting, state.forgotten
        self._ended = [*state.ended]
        self._by_key = {(resting.sample, resting.n): resting for resting in (*state.ended, *state.resting)}


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(FrozenPaper)
