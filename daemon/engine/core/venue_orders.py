"""The baskets at the venue, and their fills at the open of a bar.

The baskets fill in the order of their arrival, because orders of one symbol share the volume of its bar. All baskets
fill whole, or the venue fills them, in parts, later or not at all, and its reports are stepped. So that nothing has to
be undone in that case, `fill` writes into columns of the baskets only, and `post` books all of them or none.
"""

from typing import Any, Final

from quantd.daemon.engine.core.book_columns import BookColumns
from quantd.daemon.engine.core.digest_rows import FILL, Rows
from quantd.daemon.engine.core.market_columns import BlockColumns, Market
from quantd.daemon.engine.core.order_columns import FILLED, Orders
from quantd.daemon.engine.core.sample_columns import SampleColumns
from quantd.trading.execution import ANY_SALE, MOST
from quantd.trading.fill_prices import LimitFills
from quantd.trading.ledger.book import Postings
from quantd.trading.ledger.errors import LedgerFull
from quantd.trading.number_types import Ints, ReadInts, Whole

PARTIAL: Final = 2
"""A value of `quantd.trading.orders.OrderState`. Orders up to it wait for fills; between it and FILLED they are being
cancelled, or their state is unknown."""

NEVER: Final = 2**62
"""The start of an order that only the venue fills, and the latency of such a venue, ns."""

KEPT: Final = 128
"""The largest number of filled baskets that are stored until the next `sync` hands them to the venue."""


class VenueOrders:
    """The open `baskets` of `Orders`, in order of their arrival; `terms` are the venue's rules of fills and fees.

    `latency` is the time in ns until an order may fill. `working` has the same baskets by (sample, number in the
    sample), for the handlers in Python. `filled` is a deque of the newest baskets that filled since the last `sync`,
    `dropped` the newest basket that was dropped from it. `sent` and `done` count the orders that were sent and filled
    since the last `sync`.
    """

    baskets: list[Any]
    working: dict[Any, Any]
    terms: LimitFills
    remote: bool
    """Whether the venue fills them itself, and reports later."""
    whole: bool
    """Whether every open order is as it was sent."""
    latency: int
    filled: Any
    dropped: Orders | None
    sent: int
    done: int

    def __init__(self, filled: Any) -> None:
        self.baskets, self.working, self.filled, self.dropped = [], {}, filled, None
        self.latency = self.sent = self.done = 0
        self.remote, self.whole = False, True

    def send(self, orders: Orders) -> None:
        orders.starts = orders.ts + self.latency
        self.baskets = [*self.baskets, orders]
        self.working[orders.sample, orders.n] = orders
        self.sent += orders.rows

    def last(self, now: int) -> bool:
        """Whether every open order waits for fills, and none ends by the instant `now` (ns)."""
        for place in range(len(self.baskets)):
            orders: Orders = self.baskets[place]
            ends: Ints = orders.end
            states: Ints = orders.state
            for k in range(orders.rows):
                if states[k] < FILLED and (states[k] > PARTIAL or ends[k] <= now):
                    return False
        return True

    def busy(self, number: int) -> bool:
        """Whether the agent with this number has lots in an open basket of orders."""
        for place in range(len(self.baskets)):
            orders: Orders = self.baskets[place]
            at: int = 0
            for k in range(orders.rows):
                for _ in range(1 if orders.lone else orders.pairs[k]):  # `lone`: the run has one agent only
                    if orders.waits(k, at) > 0 and (orders.lone or orders.parts[2 * at] == number):
                        return True
                    at += 1  # to the next pair (agent, lots)
        return False

    def reserve(self, books: list[BookColumns], market: Market, fee: float) -> None:
        """Count the open lots and orders of all baskets in the columns of the house and of each agent's book.

        `books` has the whole account first, then the agents. `fee` is the fee rate of the house.
        """
        columns: BookColumns
        for number in range(len(books)):
            columns = books[number]
            columns.clear_open()
        house: BookColumns = books[0]
        marks: ReadInts = market.closes()
        for place in range(len(self.baskets)):
            orders: Orders = self.baskets[place]
            at: int = 0
            for row in range(orders.rows):
                k: int = orders.symbol[row]
                limit: int = orders.worst_nano[row]
                # an order without a price limit counts at the mark
                limit = marks[k] if limit in (ANY_SALE, MOST) else limit
                worst: float = float(limit) / 1e9 * market.lot_size[k]
                mark: float = market.px[k]
                for _ in range(1 if orders.lone else orders.pairs[row]):
                    lots: float = float(orders.waits(row, at))
                    if lots != 0.0:
                        lots = lots if orders.lots[row] > 0 else -lots
                        number = 0 if orders.lone else orders.parts[2 * at]
                        columns = books[number + 1]
                        columns.add_open(k, lots, worst, mark, fee)
                        columns.open_orders += 1
                        house.add_open(k, lots, worst, mark, fee)
                    at += 1
                if orders.state[row] < FILLED:
                    house.open_orders += 1

    def fill(self, bars: BlockColumns, row: int, ts_open: int, ts_event: int) -> bool:
        """Whether every open order fills whole at the open of a bar (`row` of `bars`); writes prices and fees to the
        baskets."""
        if self.remote:
            return False
        fills: LimitFills = self.terms
        fills.begin(bars.columns, row, ts_open, ts_event)
        for place in range(len(self.baskets)):
            orders: Orders = self.baskets[place]
            if ts_open < orders.starts or not self.fill_basket(orders):
                return False
        return True

    def fill_basket(self, orders: Orders) -> bool:
        """Whether every order of a basket fills whole at the open; writes prices with slippage, and fees, to the
        basket.

        The commissions before the venue's minimum fee are written too.
        """
        fills: LimitFills = self.terms
        symbols: Ints = orders.symbol
        traded: Ints = orders.lots
        worst: Ints = orders.worst_nano
        ends: Ints = orders.end
        charged: Ints = orders.charged
        prices: Ints = orders.price
        fees: Ints = orders.fee
        for k in range(orders.rows):
            symbol: int = symbols[k]
            lots: int = traded[k]
            limit: int = worst[k]
            until: int = ends[k]
            size: int = lots if lots > 0 else -lots
            price: int = fills.opens(symbol, until)  # 0: the order cannot fill there
            if price > 0:
                price = fills.inside(symbol, price, limit, lots > 0, until)
            if price == 0 or fills.take(symbol, size) != size:
                return False
            price = fills.moved(price, limit, lots > 0, fills.rate(symbol, size))
            fee: int = fills.fee(symbol, size, price)
            if fee > MOST:
                return False
            charged[k], prices[k], fees[k] = fee, price, fills.least(-1, fee)  # -1: nothing charged yet
        return True

    def post(self, ledger: Postings, only: int) -> bool:
        """Book the fills of all baskets; False, with none booked, where a number would exceed the ledger's range.

        All orders belong to the book with the index `only`; where `only` is -1, to the agents that share in each order.
        """
        orders: Orders
        try:
            # one basket is posted whole or not at all; several are posted only after all are known to fit
            if len(self.baskets) > 1:
                new_postings: Whole = 0
                for place in range(len(self.baskets)):
                    orders = self.baskets[place]
                    new_postings += ledger.growth(orders.cells, orders.rows, only)
                ledger.reserve(new_postings)
            for place in range(len(self.baskets)):
                orders = self.baskets[place]
                ledger.post(orders.cells, orders.rows, only)
        except (OverflowError, LedgerFull):
            return False
        return True

    def note(self, block: Any, row: int, ts_open: int, samples: SampleColumns, rows: Rows) -> None:
        """Hand the baskets of orders that filled to the venue, the log and the digest (hash of the trading)."""
        for place in range(len(self.baskets)):
            orders: Orders = self.baskets[place]
            orders.block, orders.row = block, row
            if len(self.filled) == KEPT:
                self.dropped = self.filled.popleft()
            self.filled.append(orders)
            if samples.recording:
                samples.orders.append(orders)
            self.done += orders.rows
            if rows.hashed:
                rows.put_orders(orders, FILL, ts_open)
        self.baskets = []
        self.working.clear()
