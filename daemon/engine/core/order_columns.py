"""The orders and the crosses of one decision, in columns, until the next bar fills them."""

from typing import Any

from quantd.trading.number_types import Ints, int_zeros


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
        self.symbol, self.lots, self.price = cells[0:rows], cells[rows : 2 * rows], cells[2 * rows : 3 * rows]
        self.fee, self.pairs, self.parts = cells[3 * rows : 4 * rows], cells[4 * rows : 5 * rows], cells[5 * rows :]
        self.worst, self.end = terms[0:rows], terms[rows : 2 * rows]
        self.reason, self.charged = terms[2 * rows : 3 * rows], terms[3 * rows :]


class Crosses:
    """Lots that agents exchange at the next open, by symbol; the agents' lots are in `AgentColumns.crossed`.

    `buy_worst` and `sell_worst` are the prices in nano outside which a cross waits; `end` is the end of each symbol's
    orders and crosses.
    """

    count: int
    """Number of symbols with a cross."""
    ts: int
    sample: int
    buy_worst: Ints
    sell_worst: Ints
    end: Ints

    def __init__(self, size: int) -> None:
        self.count = self.ts = self.sample = 0
        self.buy_worst, self.sell_worst, self.end = int_zeros(size), int_zeros(size), int_zeros(size)
