"""What was sent to a venue across a network: client ids and rows, and executions as Reports that can be doubled.

A venue names executions by ids of its own and says nothing of ours; the engine knows fills as intervals of an order's lots.
Here each execution gets its interval once, in the order of the venue's times.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from quantd.trading.instruments import Universe
from quantd.trading.orders import Cause, Kind, OrderBasket, Reports, order_id

KEPT: Final = 4096
"""Orders remembered; the oldest ended ones are forgotten first."""


class Execution(Struct, frozen=True):
    """One execution as the venue tells it: unsigned lots at a price, its fee in micro-currency, or in nano-units of the
    instrument itself."""

    id: str
    ts: int
    lots: int
    price_nano: int
    fee_micro: int = 0
    fee_nano: int = 0


class Sent(Struct):
    """One row of a basket at the venue. `lots` are signed; `taken` are executions that have their interval, in order;
    `cum` unsigned lots filled; `ended` the Cause that ended it, -1 while it is open."""

    id: str
    sample: int
    n: int
    row: int
    column: int
    lots: int
    worst_nano: int
    stop_nano: int
    kind: int
    end: int
    ts: int
    venue_id: str = ""
    taken: dict[str, Execution] = {}
    cum: int = 0
    ended: int = -1


class Orders:
    """Everything sent for one run. `client_id` makes what the venue gets from our id, where it allows less than that."""

    def __init__(self, universe: Universe, run: str, client_id: Callable[[str], str] = str) -> None:
        self._symbols = universe.symbols
        self._run = run
        self._client_id = client_id
        self._by_id: dict[str, Sent] = {}
        self._by_key: dict[tuple[int, int], list[Sent]] = {}

    def add(self, basket: OrderBasket) -> list[Sent]:
        """The rows of a basket; those of one that is known already as they stand."""
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
                    worst_nano=basket.worst_nano[row],
                    stop_nano=basket.stop_nano[row] if basket.stop_nano else 0,
                    kind=basket.kind[row] if basket.kind else int(Kind.LIMIT),
                    end=basket.end[row],
                    ts=basket.ts,
                )
                for row, column in enumerate(basket.sym)
            ]
            self._by_key[key] = rows
            self._by_id |= {each.id: each for each in rows}
            self._forget()
        return self._by_key[key]

    def _forget(self) -> None:
        if len(self._by_id) <= KEPT:
            return
        for key, rows in list(self._by_key.items()):
            if all(each.ended >= 0 for each in rows):
                del self._by_key[key]
                for each in rows:
                    del self._by_id[each.id]
                if len(self._by_id) <= KEPT:
                    return

    def find(self, client_id: str) -> Sent | None:
        """The row of a client id; None when it is not ours."""
        return self._by_id.get(client_id)

    def rows(self, sample: int, n: int, rows: Iterable[int]) -> list[Sent]:
        """Rows of a basket, none for a basket that is not known."""
        known = self._by_key.get((sample, n), [])
        return [known[row] for row in rows if row < len(known)]

    def __iter__(self) -> Iterator[Sent]:
        return iter(self._by_id.values())


def told(
    sent: Sent, ts: int, executions: Sequence[Execution], ended: Cause | None, cum: int, reason: str = ""
) -> Reports:
    """All that is known of one order as one report that may be taken again: every execution in its interval, then the state.

    `executions` are all the venue has of this order, or the new ones; `cum` is its own cumulative figure. Where that is
    more than the executions add up to, the end says so, and the engine asks for what is missing. Causes of what
    was told before come again unchanged: the engine knows a doubled interval.
    """
    for each in sorted(executions, key=lambda e: (e.ts, e.id)):
        if each.id not in sent.taken:
            sent.taken[each.id] = each
            sent.cum += each.lots
    lots, price, fee, cums, causes = [], [], [], [], []
    total = 0
    whole = abs(sent.lots)
    for each in sent.taken.values():
        total += each.lots
        lots.append(each.lots)
        price.append(each.price_nano)
        fee.append(each.fee_micro)
        cums.append(total)
        causes.append(int(Cause.LAST_FILL if total == whole else Cause.PART_FILL))
    if ended is not None and ended != Cause.LAST_FILL:
        sent.ended = int(ended)
        lots, price, fee = [*lots, 0], [*price, 0], [*fee, 0]
        cums.append(max(cum, total))
        causes.append(int(ended))
    elif ended is None and not causes:
        lots, price, fee, cums, causes = [0], [0], [0], [0], [int(Cause.ACCEPTED)]
    if total == whole:
        sent.ended = int(Cause.LAST_FILL)
    in_coin = [each.fee_nano for each in sent.taken.values()]
    in_coin = [*in_coin, *[0] * (len(cums) - len(in_coin))] if any(in_coin) else []
    return Reports(
        sample=sent.sample, n=sent.n, ts=ts, row=[sent.row] * len(cums), cum=cums, lots=lots, price_nano=price,
        fee_micro=fee, cause=causes, reason=reason, fee_nano=in_coin,
    )  # fmt: skip
