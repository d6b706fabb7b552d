"""The results of decisions, in columns: a book's last request, the rest that waits, and orders and crosses until a bar.

The handlers and the fold (the compiled fast path) refer to the same columns. If the fold had a copy, two versions of
one number would have to be kept equal, each call of the fold would pay for copying them out of the state and back, and
a measurement with open orders would have to stop the fold.

A cross is a trade between agents. The columns hold crosses as long as each has a later symbol than the one before, so
at most one of each symbol. Every further cross is a record, so that crosses stay in the order of their decisions; a bar
with such records is left to `step` (in Python). The basket of a decision is made when a handler or a log reads it.
"""

from typing import Any, Final

from quantd.daemon.engine.core.limiter import read
from quantd.daemon.engine.core.market_columns import BlockColumns
from quantd.risk.limits.catalogue import Reason
from quantd.trading.execution import MOST
from quantd.trading.ledger.book import Book, Postings
from quantd.trading.number_types import (
    Floats,
    IntRows,
    Ints,
    ReadCodes,
    ReadFloats,
    float_zeros,
    int_zero_rows,
    int_zeros,
)

SWITCH: Final = int(Reason.SWITCH)
HALTED: Final = int(Reason.HALTED)
PRICE_JUMP: Final = int(Reason.PRICE_JUMP)

SENT: Final = 0
WORKING: Final = 1
FILLED: Final = 5
"""Values of `quantd.trading.orders.OrderState`. An order with the value of FILLED or a larger one has ended."""


class Request:
    """The last request of a book: its instant `at` and the signed lots by symbol. `given` is False before any
    request."""

    given: bool
    at: int
    lots: Floats

    def __init__(self, size: int) -> None:
        self.given, self.at, self.lots = False, 0, float_zeros(size)

    def put(self, at: int, lots: ReadFloats) -> None:
        """Replace the book's last request of lots; `at` is its instant (ns)."""
        read(self.lots, lots)
        self.at, self.given = at, True

    def add(self, at: int, lots: ReadFloats, window: int, passed: ReadFloats, reason: ReadCodes) -> None:
        """Replace the book's last request of lots, of which the limits let `passed` pass, with a `reason` for each cut.

        If that request was less than `window` (ns) ago, symbols without new lots keep the lots of that request. Lots
        that a halt refuses are no request: they may be sent again as soon as it ends.
        """
        extends: bool = self.lasts(at, window)
        for k in range(len(self.lots)):
            code: int = reason[k]
            halted: bool = passed[k] == 0.0 and code in (SWITCH, HALTED, PRICE_JUMP)
            asked: float = 0.0 if halted else lots[k]
            if not extends or asked != 0.0:
                self.lots[k] = asked
        self.at, self.given = at, True

    def lasts(self, now: int, window: int) -> bool:
        """Whether the book has a last request, and it is less than `window` (ns) old."""
        return self.given and now - self.at < window

    def has(self, lots: Floats) -> bool:
        """Whether the book's last request has the same non-zero lots in any symbol as `lots`."""
        same: bool = False
        for k in range(len(self.lots)):
            same = same or (lots[k] != 0.0 and lots[k] == self.lots[k])
        return same

    def drop(self) -> None:
        """Forget the book's last request."""
        self.at, self.given = 0, False


class FollowUp:
    """The rest of a decision that waits: for fills, for the proceeds of its sales, or for later volume.

    `weights` are the recorded answer, `used` is the number of earlier follow-ups. `sample` is the sample of the
    decision; -1 where nothing waits.
    """

    sample: int
    used: int
    weights: Floats

    def __init__(self, size: int) -> None:
        self.sample, self.used, self.weights = -1, 0, float_zeros(size)

    def waits(self) -> bool:
        """Whether the rest of a decision waits."""
        return self.sample >= 0

    def put(self, sample: int, used: int, weights: ReadFloats) -> None:
        """Replace the waiting rest of a decision."""
        read(self.weights, weights)
        self.sample, self.used = sample, used

    def drop(self) -> None:
        """Forget the waiting rest of a decision."""
        self.sample, self.used = -1, 0


class Orders:
    """A basket of limit orders in columns by row, from its plan to its end.

    A row is one order. `lots` are signed, `worst_nano` the limit prices; a split rescales both. `filled` are unsigned
    lots, `state` is an `OrderState`, `live` is the number of orders that have not ended. A row belongs to the agents of
    its pairs (agent, signed lots as sent); `remaining` has the unsigned open lots of each pair. With `lone` one agent
    has every lot: then there are no pairs, and `remaining` is by row.

    `cells` begins with the columns in the order in which `Postings.post` reads them: symbols, lots, prices in
    nano-currency, fees in micro, numbers of pairs, then the pairs. All columns are views of it.
    """

    sample: int
    n: int
    ts: int
    rows: int
    lone: bool
    live: int
    at_venue: bool
    """Whether the venue has the basket."""
    plain: bool
    """Whether all are limit orders, with the lots, limits and agents with which they were sent."""
    starts: int
    """The instant from which a bar may fill the orders."""
    cells: Ints
    symbol: Ints
    lots: Ints
    price: Ints
    fee: Ints
    pairs: Ints
    """Number of pairs of each row."""
    parts: Ints
    """The pairs, row by row."""
    remaining: Ints
    worst_nano: Ints
    end: Ints
    reason: Ints
    """By row: the code of the limit that cut the order, 0 for none."""
    charged: Ints
    """Commissions in micro, before a minimum."""
    filled: Ints
    state: Ints
    block: Any
    """The block of the bar that filled the orders; None until then."""
    row: int
    """The row of that bar in the block."""
    odd: Any
    """Row -> the fills of the order whose reports came out of order."""
    again: Any
    """Row -> number of its resubmissions."""
    record: Any
    """The basket as it was sent; None until it is read."""
    shares_record: Any
    """The agents' lots when the basket was sent, where they differ from those of the pairs or were read; else None."""

    def __init__(self, sample: int, n: int, ts: int, rows: int, places: int) -> None:
        """Make room for `rows` orders and `places` pairs (agent, lots); `places` is 0 where one agent has every lot."""
        lone: bool = places == 0
        self.sample, self.n, self.ts, self.rows, self.lone = sample, n, ts, rows, lone
        self.live, self.at_venue, self.plain = rows, False, True
        self.starts, self.block, self.row = ts, None, -1
        self.odd, self.again, self.record, self.shares_record = {}, {}, None, None
        self.lay(places)

    def lay(self, places: int) -> None:
        """Allocate `cells`, and make each column a view of a part of it; `places` is the number of pairs.

        The allocation is not in `__init__`: a special method has no C types, and would make a Python object of each
        column.
        """
        rows: int = self.rows
        behind_parts: int = 5 * rows + 2 * places
        # one assignment for each view: a tuple assignment would make a Python object of each view
        cells: Ints = int_zeros(behind_parts + 6 * rows + (rows if self.lone else places))
        self.cells = cells
        self.symbol = cells[0:rows]
        self.lots = cells[rows : 2 * rows]
        self.price = cells[2 * rows : 3 * rows]
        self.fee = cells[3 * rows : 4 * rows]
        self.pairs = cells[4 * rows : 5 * rows]
        self.parts = cells[5 * rows : behind_parts]
        self.worst_nano = cells[behind_parts : behind_parts + rows]
        self.end = cells[behind_parts + rows : behind_parts + 2 * rows]
        self.reason = cells[behind_parts + 2 * rows : behind_parts + 3 * rows]
        self.charged = cells[behind_parts + 3 * rows : behind_parts + 4 * rows]
        self.filled = cells[behind_parts + 4 * rows : behind_parts + 5 * rows]
        self.state = cells[behind_parts + 5 * rows : behind_parts + 6 * rows]
        self.remaining = cells[behind_parts + 6 * rows :]  # by order if `lone`, else by pair

    def place(self, row: int) -> int:
        """Return the index in `remaining` of the first (agent, lots) pair of the order `row`."""
        if self.lone:
            return row
        at: int = 0
        for k in range(row):
            at += self.pairs[k]
        return at

    def write(self, columns: list[Any], shares: list[Any]) -> None:
        """Write symbols, lots, limit prices, ends and reasons of orders, and each order's (agent, unsigned lots).

        Where one agent has every lot (`lone`), `shares` is not read.
        """
        symbols: list[Any] = columns[0]
        lots: list[Any] = columns[1]
        limits: list[Any] = columns[2]
        ends: list[Any] = columns[3]
        reasons: list[Any] = columns[4]
        pair: int = 0
        for k in range(self.rows):
            self.symbol[k], self.lots[k], self.worst_nano[k], self.end[k] = symbols[k], lots[k], limits[k], ends[k]
            if len(reasons) > 0:
                self.reason[k] = reasons[k]
            if self.lone:
                continue
            for share in shares[k]:
                size: int = share[1]
                self.parts[2 * pair], self.parts[2 * pair + 1] = share[0], size if self.lots[k] > 0 else -size
                pair += 1
            self.pairs[k] = len(shares[k])
        self.open_whole()

    def terms(self) -> list[Any]:
        """Return the symbols, lots, limit prices, ends and reasons of the orders, as lists."""
        rows: int = self.rows
        ends: Ints = self.end
        end: Any = ends[0]
        same_end: bool = True
        for k in range(rows):
            same_end = same_end and ends[k] == ends[0]
        return [
            [self.symbol[k] for k in range(rows)],
            [self.lots[k] for k in range(rows)],
            [self.worst_nano[k] for k in range(rows)],
            [end] * rows if same_end else [ends[k] for k in range(rows)],  # one Python integer for equal ends
            [self.reason[k] for k in range(rows)],
        ]

    def fills(self) -> list[Any]:
        """Return the symbols, signed and unsigned lots, prices and fees of the fills, as lists.

        The lists of the basket as it was sent (`record`) are copied while its orders are unchanged (`plain`).
        """
        rows: int = self.rows
        sent_basket: Any = self.record
        from_record: bool = sent_basket is not None and self.plain
        return [
            sent_basket.sym.copy() if from_record else [self.symbol[k] for k in range(rows)],
            sent_basket.lots.copy() if from_record else [self.lots[k] for k in range(rows)],
            [self.lots[k] if self.lots[k] > 0 else -self.lots[k] for k in range(rows)],
            [self.price[k] for k in range(rows)],
            [self.fee[k] for k in range(rows)],
        ]

    def open_whole(self) -> None:
        """Set the open lots (`remaining`) of every order to all its lots, as when the basket is sent."""
        for k in range(len(self.remaining)):
            lots: int = self.lots[k] if self.lone else self.parts[2 * k + 1]
            self.remaining[k] = lots if lots > 0 else -lots

    def waits(self, row: int, place: int) -> int:
        """Return the unsigned lots that may still fill of the order `row`, of the pair at `place` in `remaining`."""
        return self.remaining[place] if self.state[row] < FILLED else 0

    def accept(self) -> bool:
        """Set every row from SENT to WORKING. Returns False, with nothing changed, where a row is in another state."""
        for k in range(self.rows):
            if self.state[k] != SENT:
                return False
        for k in range(self.rows):
            self.state[k] = WORKING
        return True

    def works_whole(self) -> bool:
        """Whether every order of the basket is WORKING, without a fill."""
        works: bool = len(self.odd) == 0
        for k in range(self.rows):
            works = works and self.state[k] == WORKING and self.filled[k] == 0
        return works

    def untouched(self) -> bool:
        """Whether every order is WORKING as it was sent, without a fill or a resubmission."""
        return self.plain and len(self.again) == 0 and self.works_whole()

    def fill_whole(self) -> None:
        """Mark every order of the basket as filled with all its lots."""
        for k in range(self.rows):
            lots: int = self.lots[k]
            self.filled[k] = lots if lots > 0 else -lots
            self.state[k] = FILLED
        for k in range(len(self.remaining)):
            self.remaining[k] = 0
        self.live = 0

    def fills_whole(self, lots: list[Any]) -> bool:
        """Whether every order is WORKING as it was sent, without a fill, and `lots` are all unsigned lots by row."""
        if len(lots) != self.rows or not self.plain or not self.works_whole():
            return False
        size: int
        for k in range(self.rows):
            size = lots[k]
            if size <= 0 or (size != self.lots[k] and size != -self.lots[k]):
                return False
        return True

    def shares_remaining(self) -> list[Any]:
        """Return, for each order of the basket, (agent, unsigned open lots) of each agent; if `lone`, of agent 0
        alone."""
        shares: list[Any] = []
        at: int = 0
        for row in range(self.rows):
            places: int = 1 if self.lone else self.pairs[row]
            parts: list[Any] = []
            for k in range(at, at + places):
                agent: int = 0 if self.lone else self.parts[2 * k]
                parts.append((agent, self.remaining[k]))
            shares.append(parts)
            at += places
        return shares

    def signed_shares(self) -> list[Any]:
        """Return, for each order of the basket, (agent, signed lots as sent) of each agent."""
        shares: list[Any] = []
        at: int = 0
        if self.lone:
            return [[(0, self.lots[row])] for row in range(self.rows)]
        for row in range(self.rows):
            places: int = self.pairs[row]
            shares.append([(self.parts[2 * k], self.parts[2 * k + 1]) for k in range(at, at + places)])
            at += places
        return shares

    def open_shares(self) -> list[Any]:
        """Return (row of the order, agent, signed lots) of everything in the basket that may still fill.

        If `lone`, agent 0 has every lot. An order whose state is FILLED or more has ended.
        """
        shares: list[Any] = []
        at: int = 0
        for row in range(self.rows):
            places: int = 1 if self.lone else self.pairs[row]
            if self.state[row] < FILLED:
                for k in range(at, at + places):
                    lots: int = self.remaining[k]
                    if lots != 0:
                        agent: int = 0 if self.lone else self.parts[2 * k]
                        shares.append((row, agent, lots if self.lots[row] > 0 else -lots))
            at += places
        return shares


class Crosses:
    """Lots that agents exchange at a next open, with at most one cross for each symbol.

    `lots` are signed, by agent and symbol; `micro` is their cost in micro-currency. A cross waits while the open is
    outside its worst prices, in nano-currency. `sample` and `ts` are of its decision, `end` is the instant at which it
    lapses. In a plan `end` is set for every symbol, because orders lapse then too.
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
    """Later crosses, which do not fit into the columns: records that only handlers book."""

    def __init__(self, agents: int, size: int) -> None:
        self.count, self.further = 0, []
        self.lots, self.micro, self.parties = int_zero_rows(agents, size), int_zero_rows(agents, size), int_zeros(size)
        self.buy_worst, self.sell_worst, self.end = int_zeros(size), int_zeros(size), int_zeros(size)
        self.sample, self.ts = int_zeros(size), int_zeros(size)

    def clear(self) -> None:
        """Forget every cross (trade between agents) that waits."""
        self.count, self.further = 0, []
        for k in range(len(self.parties)):
            self.parties[k] = 0

    def put(
        self, symbol: int, shares: list[Any], buy_worst: int, sell_worst: int, end: int, sample: int, ts: int
    ) -> bool:
        """Add a cross (trade between agents) as the last one, with (agent, signed lots) of each agent.

        Returns False, with nothing changed, where the cross does not fit into the columns: an earlier one has the same
        or a later symbol, or `shares` is unsorted. `parties` has the number of agents by symbol, and `further` the
        crosses outside the columns.
        """
        last_agent: int = -1
        if len(self.further) > 0 or len(shares) == 0:
            return False
        for k in range(symbol, len(self.parties)):
            if self.parties[k] != 0:
                return False
        for share in shares:
            agent: int = share[0]
            lots: int = share[1]
            if agent <= last_agent or lots == 0:
                return False
            last_agent = agent
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
        """Copy the crosses of a plan that is sent. Its decision is of the sample `sample` and the instant `ts`. The
        caller has made sure that no other cross waits."""
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
        """Whether each cross can be booked at the open of a bar, from the columns; writes the amount of each agent.

        The last agent of a cross (trade between agents) pays what all earlier ones receive, so that the amounts add up
        to 0.
        """
        if len(self.further) > 0:
            return False
        for k in range(len(self.parties)):
            agents_to_come: int = self.parties[k]
            if agents_to_come == 0:
                continue
            price: int = bars.open_nano[row, k]
            if ts_open < self.ts[k] or not self.sell_worst[k] <= price <= self.buy_worst[k]:
                return False
            balance: int = 0
            for number in range(len(self.lots)):
                lots: int = self.lots[number, k]
                if lots == 0:
                    continue
                agents_to_come -= 1
                micro: int = balance
                if agents_to_come > 0:
                    try:
                        micro = ledger.amount(k, lots, price)
                    except OverflowError:
                        return False
                    if abs(micro) > MOST // 64:  # so that the sum over the agents of a cross cannot overflow
                        return False
                    balance -= micro
                self.micro[number, k] = micro
        return True

    def book(self, ledger: Postings) -> None:
        """Book the crosses (trades between agents) of the columns, at the amounts that `fit` wrote."""
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


def write_ends(out: Ints, ends: Any) -> None:
    """Write the instants at which the orders of a decision lapse; `ends` is one instant, or a list by symbol."""
    end: int
    if type(ends) is list:
        for k in range(len(out)):
            end = ends[k]
            out[k] = end
        return
    end = ends
    for k in range(len(out)):
        out[k] = end
