"""Orders sent to a venue across a network: client ids, rows, and the reports of each order.

What can go wrong. The process ends between sending an order and its answer. The next process knows the basket from the
journal, but not whether the venue has the order.

The client id is therefore derived from run, sample, symbol and basket number `n`, and is never random. A restart
derives the same id, finds the order by it, and does not send a second one. A report states the whole order, so that
applying it twice does no harm. A basket is dropped only after all of its rows ended: an order that is forgotten while
it is open could be neither cancelled nor reported.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from msgspec import Struct, field

from quantd.adapters.brokers.execution_log import ExecutionLog, Fill
from quantd.trading.events import Unknown
from quantd.trading.instruments import Universe
from quantd.trading.orders import Cause, Kind, OrderBasket, Reports, order_id
from quantd.trading.ports import BrokerNews

MOST_ORDERS: Final = 4096
"""Maximum number of remembered orders; the oldest ended ones are dropped first."""


class Sent(Struct):
    """One order (a row of a basket) at the venue. `column` is the symbol's column in the universe, `lots` are signed;
    `ended` is the Cause of its end, -1 while it is open.

    `posted` is the time of the last request that may have placed the order (ns, 0: none), `tried` the time of the last
    request to cancel it (ns). `behind` is the instant since which the venue lists fewer executions than the order has
    (ns, 0: none). `words` are the text of the venue's last answer, if the venue does not document that text. Such an
    answer counts as a refusal if the venue, after its settling time, has no such order.
    """

    id: str
    sample: int
    n: int
    row: int
    column: int
    lots: int
    lot_nano: int
    worst_nano: int
    stop_nano: int
    kind: int
    end: int
    ts: int
    venue_id: str = ""
    posted: int = 0
    tried: int = 0
    behind: int = 0
    log: ExecutionLog = field(default_factory=ExecutionLog)
    ended: int = -1
    words: str = ""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held during a request: two concurrent ones could both find the order missing, and send it."""


class Orders:
    """All orders of one run. `client_id` converts our order id to the venue's form of a client id, if the venue
    restricts it."""

    def __init__(self, universe: Universe, run: str, client_id: Callable[[str], str] = str) -> None:
        self._symbols = universe.symbols
        self._lot_nano = universe.lot_nano
        self._run = run
        self._client_id = client_id
        self._by_id: dict[str, Sent] = {}
        self._by_key: dict[tuple[int, int], list[Sent]] = {}

    def add(self, basket: OrderBasket) -> list[Sent]:
        """Return the rows (orders) of a basket, which is added if it is new."""
        key = basket.sample, basket.n
        if key not in self._by_key:
            rows = [
                Sent(
                    id=self._client_id(order_id(self._run, basket.sample, self._symbols[column], basket.n)),
                    sample=basket.sample,
                    n=basket.n,
                    row=row,
                    column=column,
                    lots=basket.lots[row],
                    lot_nano=self._lot_nano[column],
                    worst_nano=basket.worst_nano[row],
                    stop_nano=basket.stop_nano[row] if basket.stop_nano else 0,
                    kind=basket.kind[row] if basket.kind else int(Kind.LIMIT),
                    end=basket.end[row],
                    ts=basket.ts,
                )
                for row, column in enumerate(basket.sym)
            ]
            self._by_key[key] = rows
            self._by_id |= {sent.id: sent for sent in rows}
            self._forget()
        return self._by_key[key]

    def _forget(self) -> None:
        """Above MOST_ORDERS orders, drop the oldest baskets whose rows (orders) have all ended."""
        if len(self._by_id) <= MOST_ORDERS:
            return
        for key, rows in list(self._by_key.items()):
            if all(sent.ended >= 0 for sent in rows):
                del self._by_key[key]
                for sent in rows:
                    del self._by_id[sent.id]
                if len(self._by_id) <= MOST_ORDERS:
                    return

    def find(self, client_id: str) -> Sent | None:
        """Return the row (one of our orders) with this client id, None for an order of another client."""
        return self._by_id.get(client_id)

    def rows(self, sample: int, n: int, rows: Iterable[int]) -> list[Sent]:
        """Return the given rows (orders) of basket (`sample`, `n`); an empty list for an unknown basket."""
        basket_rows = self._by_key.get((sample, n), [])
        return [basket_rows[row] for row in rows if row < len(basket_rows)]

    def wanted(self, sample: int, n: int, rows: Iterable[int], ts: int) -> tuple[list[Sent], list[BrokerNews]]:
        """Return the given rows of a basket, and a report about those that this process neither sent nor registered:
        they are Unknown, never NotFound."""
        known_rows = self.rows(sample, n, rows)
        missing = sorted(set(rows) - {sent.row for sent in known_rows})
        return known_rows, [
            Unknown(sample, n, ts, missing, "this adapter does not know these orders")
        ] if missing else []

    def __iter__(self) -> Iterator[Sent]:
        return iter(self._by_id.values())


def reports_of(
    sent: Sent, ts: int, ended: Cause | None, cum_nano: int = 0, reason: str = "", *, news_only: bool = False
) -> Reports:
    """Return the state of one order as one report: each fill with its interval of lots, then the end. Applying it twice
    does no harm.

    `ended` is the cause of the order's end, None while it is open. `cum_nano` is the filled quantity by the venue's own
    count; if it exceeds the known fills, the report of the end has this quantity, and the engine queries the missing
    fills. With `news_only` (for the stream), fills that were reported before are omitted, and a report without rows
    means no news. The end of a filled order is its last fill. With `news_only` that end is reported even before the
    fill is known.
    """
    total, log = abs(sent.lots), sent.log
    fills = log.fills(sent.lot_nano)
    if news_only:
        fills = [fill for fill in fills if fill.cum not in log.reported]
        log.reported |= {fill.cum for fill in fills}
    cum = min(cum_nano // sent.lot_nano, total)
    end = None if ended == Cause.LAST_FILL and not news_only else ended
    if end is not None:
        sent.ended = int(end)
        if end == Cause.LAST_FILL and fills and fills[-1].cum == total:
            end = None  # the last fill ends the order: no separate end is reported
    elif log.known_nano() == total * sent.lot_nano:
        sent.ended = int(Cause.LAST_FILL)
    elif ended is None and not fills and not (news_only and cum):  # open, and nothing is filled
        end, cum = Cause.ACCEPTED, 0
    causes = [int(Cause.LAST_FILL if fill.cum == total else Cause.PART_FILL) for fill in fills]
    if end is not None:
        fills = [*fills, Fill(cum, 0, 0, 0, 0)]  # an end has no lots, price or fees
        causes.append(int(end))
    fees_in_instrument = [fill.fee_nano for fill in fills]
    return Reports(
        sample=sent.sample, n=sent.n, ts=ts, row=[sent.row] * len(fills), cum=[fill.cum for fill in fills],
        lots=[fill.lots for fill in fills], price_nano=[fill.price_nano for fill in fills],
        fee_micro=[fill.fee_micro for fill in fills], cause=causes, reason=reason,
        fee_nano=fees_in_instrument if any(fees_in_instrument) else [],
    )  # fmt: skip
