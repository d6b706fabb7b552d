"""What decisions leave, in columns: a book's last request, the rest that waits, and orders and crosses until a bar."""

from typing import Any

from quantd.daemon.engine.core.limiter import read
from quantd.daemon.engine.core.market_columns import BlockColumns
from quantd.trading.execution import MOST
from quantd.trading.ledger.book import Book, Postings
from quantd.trading.number_types import Floats, IntRows, Ints, ReadFloats, float_zeros, int_zero_rows, int_zeros


class Request:
    """The last request of a book: its instant `at` and the signed lots by symbol. Without one `given` is False."""

    given: bool
    at: int
    lots: Floats

    def __init__(self, size: int) -> None:
        self.given, self.at, self.lots = False, 0, float_zeros(size)

    def put(self, at: int, lots: ReadFloats) -> None:
        """Replace it."""
        read(self.lots, lots)
        self.at, self.given = at, True

    def drop(self) -> None:
        """Forget it."""
        self.at, self.given = 0, False


class FollowUp:
    """The rest of a decision that waits for its own sales.

    `weights` are the recorded answer, `used` are the follow-ups before it. `sample` is that of the decision; -1 where
    nothing waits.
    """

    sample: int
    used: int
    weights: Floats

    def __init__(self, size: int) -> None:
        self.sample, self.used, self.weights = -1, 0, float_zeros(size)

    def waits(self) -> bool:
        """Whether there is a rest."""
        return self.sample >= 0

    def put(self, sample: int, used: int, weights: ReadFloats) -> None:
        """Replace it."""
        read(self.weights, weights)
        self.sample, self.used = sample, used

    def drop(self) -> None:
        """Forget it."""
        self.sample, self.used = -1, 0


class Orders:
    """A basket of limit orders at the venue.

    `cells` has the columns in the order in which `Postings.post` reads them: symbols, signed lots, prices in nano, fees
    in micro, numbers of pairs, then the pairs (agent, signed lots). The columns below are views of it. `agents` is 1
    where one agent has every lot; then there are no pairs.
    """

    sample: int
    n: int
    ts: int
    rows: int
    agents: int
    starts: int
    """The instant from which a bar may fill them."""
    cells: Ints
    symbol: Ints
    lots: Ints
    price: Ints
    fee: Ints
    pairs: Ints
    """Number of pairs of each row."""
    parts: Ints
    """The pairs, row by row."""
    worst: Ints
    """Limit prices in nano."""
    end: Ints
    reason: Ints
    """Codes of the limits that cut them."""
    charged: Ints
    """Commissions in micro, before a minimum."""
    block: Any
    """The block of the bar that filled them; None before."""
    row: int
    work: Any
    """The same basket as handlers have it, where one of them sent it; else None."""

    def __init__(self, sample: int, n: int, ts: int, rows: int, agents: int) -> None:
        self.sample, self.n, self.ts, self.rows, self.agents = sample, n, ts, rows, agents
        self.starts, self.block, self.row, self.work = ts, None, -1, None
        cells: Ints = int_zeros(5 * rows + (2 * rows * agents if agents > 1 else 0))
        terms: Ints = int_zeros(4 * rows)
        self.cells = cells
        # one by one: a tuple would make a Python object of each view
        self.symbol = cells[0:rows]
        self.lots = cells[rows : 2 * rows]
        self.price = cells[2 * rows : 3 * rows]
        self.fee = cells[3 * rows : 4 * rows]
        self.pairs = cells[4 * rows : 5 * rows]
        self.parts = cells[5 * rows :]
        self.worst = terms[0:rows]
        self.end = terms[rows : 2 * rows]
        self.reason = terms[2 * rows : 3 * rows]
        self.charged = terms[3 * rows :]


class Crosses:
    """Lots that agents exchange at a next open, one cross by symbol.

    `lots` are those of each agent, signed; `micro` is what they cost. A cross waits while the open is outside its worst
    prices, in nano. `sample` and `ts` are those of its decision, `end` is when it lapses. A plan has an `end` in every
    symbol, for its orders too.
    """

    count: int
    """Number of symbols with a cross."""
    parties: Ints
    """Number of agents in the cross of each symbol; 0 without one. Other columns mean nothing there."""
    lots: IntRows
    micro: IntRows
    buy_worst: Ints
    sell_worst: Ints
    end: Ints
    sample: Ints
    ts: Ints
    further: list[Any]
    """Crosses behind those of the columns, which have no place there: records that only handlers book."""

    def __init__(self, agents: int, size: int) -> None:
        self.count, self.further = 0, []
        self.lots, self.micro, self.parties = int_zero_rows(agents, size), int_zero_rows(agents, size), int_zeros(size)
        self.buy_worst, self.sell_worst, self.end = int_zeros(size), int_zeros(size), int_zeros(size)
        self.sample, self.ts = int_zeros(size), int_zeros(size)

    def clear(self) -> None:
        """Forget every cross."""
        self.count, self.further = 0, []
        for k in range(len(self.parties)):
            self.parties[k] = 0

    def put(
        self, symbol: int, shares: list[Any], buy_worst: int, sell_worst: int, end: int, sample: int, ts: int
    ) -> bool:
        """Add a cross behind the others, with (agent, signed lots); False, without change, where the columns have no
        place for it."""
        last: int = -1
        if len(self.further) > 0 or len(shares) == 0:
            return False
        for k in range(symbol, len(self.parties)):
            if self.parties[k] != 0:
                return False
        for share in shares:
            agent: int = share[0]
            lots: int = share[1]
            if agent <= last or lots == 0:
                return False
            last = agent
        for number in range(len(self.lots)):
            self.lots[number, symbol] = 0
        for share in shares:
            agent = share[0]
            self.lots[agent, symbol] = share[1]
        self.buy_worst[symbol], self.sell_worst[symbol] = buy_worst, sell_worst
        self.end[symbol], self.sample[symbol], self.ts[symbol] = end, sample, ts
        self.parties[symbol] = len(shares)
        self.count += 1
        return True

    def take(self, planned: "Crosses", sample: int, ts: int) -> None:
        """Take the crosses of a plan that is sent. No other cross waits."""
        for k in range(len(self.parties)):
            self.parties[k] = planned.parties[k]
            if planned.parties[k] == 0:
                continue
            for number in range(len(self.lots)):
                self.lots[number, k] = planned.lots[number, k]
            self.buy_worst[k], self.sell_worst[k] = planned.buy_worst[k], planned.sell_worst[k]
            self.end[k], self.sample[k], self.ts[k] = planned.end[k], sample, ts
        self.count = planned.count

    def fit(self, ledger: Postings, bars: BlockColumns, row: int, ts_open: int) -> bool:
        """Whether each cross of the columns can be booked at the open of a bar; writes the amounts of each agent."""
        for k in range(len(self.parties)):
            remaining: int = self.parties[k]
            if remaining == 0:
                continue
            price: int = bars.open_nano[row, k]
            if ts_open < self.ts[k] or not self.sell_worst[k] <= price <= self.buy_worst[k]:
                return False
            owed: int = 0
            for number in range(len(self.lots)):
                lots: int = self.lots[number, k]
                if lots == 0:
                    continue
                remaining -= 1
                micro: int = owed
                if remaining > 0:
                    try:
                        micro = ledger.amount(k, lots, price)
                    except OverflowError:
                        return False
                    if abs(micro) > MOST // 64:
                        return False
                    owed -= micro
                self.micro[number, k] = micro
        return True

    def book(self, ledger: Postings) -> None:
        """Book the crosses of the columns, at the amounts that `fit` wrote."""
        for k in range(len(self.parties)):
            if self.parties[k] == 0:
                continue
            for number in range(len(self.lots)):
                lots: int = self.lots[number, k]
                if lots != 0:
                    book: Book = ledger.books[number]
                    book.trade(k, lots, self.micro[number, k])
            self.parties[k] = 0
        self.count = 0
