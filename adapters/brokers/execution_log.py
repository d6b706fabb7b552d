"""Executions of one order at a venue, as intervals of the order's lots.

What can go wrong. The same execution arrives by the stream and by a list, before and after a restart, or in another
order. A list lacks one for a while, or for ever. A fill that is booked twice doubles a position.

An execution is therefore an interval (cum - size, cum] of its order. The intervals depend neither on the order in which
executions arrive nor on a restart in between, so that a report may be applied twice. A lot is reported once all parts
of it are known: with a part missing, its price would be that of the other parts.

Where a venue has ids instead of cumulative quantities, time and id give the intervals. All executions must be listed
then, because a missing one would shift those after it. What a venue never lists is bridged by the order's own quantity
and average price (Alpaca-API issue 176). A later listing of the same units is ignored.
"""

from typing import NamedTuple

import msgspec
from msgspec import Struct


class Execution(Struct, frozen=True):
    """One execution: unsigned nano-units of the instrument at a price, its fee in micro-currency or in nano-units of
    the instrument.

    A venue identifies it by an `id` of its own, or by `cum_nano`: the filled quantity of the order after it.
    """

    ts: int
    size_nano: int
    price_nano: int
    id: str = ""
    cum_nano: int = 0
    fee_micro: int = 0
    fee_nano: int = 0


class Fill(NamedTuple):
    """Whole lots that one execution completes; `cum` is the number of filled lots after it."""

    cum: int
    lots: int
    price_nano: int
    fee_micro: int
    fee_nano: int


class ExecutionLog(Struct):
    """The known executions of one order, by id or by cumulated quantity. `reported` holds the `cum` of fills that were
    reported from the stream. `bridged` once missing executions were derived from the order's own quantity and price."""

    executions: dict[str | int, Execution] = {}
    reported: set[int] = set()
    bridged: bool = False

    def bridge(self, ts: int, cum_nano: int, average_nano: int, fee_micro: int = 0) -> bool:
        """Add what is missing up to `cum_nano` at the price that makes `average_nano` of the whole; whether it could.

        The venue reports quantity and average price of the order, and never lists some of its executions. From here on,
        a listing is ignored where it covers the same units. `fee_micro` is the fee of the whole order so far.
        """
        held = sorted(
            (execution.cum_nano - execution.size_nano, execution.cum_nano) for execution in self.executions.values()
        )
        gaps, low = [], 0
        for start, end in [*held, (cum_nano, cum_nano)]:
            if start > low:
                gaps.append((low, start))
            low = max(low, end)
        size = sum(end - start for start, end in gaps)
        value = sum(execution.size_nano * execution.price_nano for execution in self.executions.values())
        price = (average_nano * cum_nano - value + size // 2) // size if size else 0
        if price <= 0 or low > cum_nano:
            return False
        left_micro = max(fee_micro - sum(execution.fee_micro for execution in self.executions.values()), 0)
        for start, end in gaps:
            fee = left_micro if end == gaps[-1][1] else 0
            self.executions[f"bridge {end}"] = Execution(ts, end - start, price, cum_nano=end, fee_micro=fee)
        self.bridged = True
        return True

    def add(self, *executions: Execution) -> None:
        """Add executions that are not known yet.

        Those with an id get the next interval, in the order of time and id; the others have theirs.
        """
        # sorted before the intervals are given: the order of arrival would be another one after a restart
        for execution in sorted(executions, key=lambda e: (e.ts, e.id)):
            key = execution.id or execution.cum_nano
            if execution.size_nano <= 0 or key in self.executions or (self.bridged and self._covers(execution)):
                continue
            if execution.id:
                execution = msgspec.structs.replace(execution, cum_nano=self.known_nano() + execution.size_nano)
            self.executions[key] = execution

    def _covers(self, execution: Execution) -> bool:
        """Whether units of a listed execution were bridged; one with an id of its own has no place of its own."""
        if execution.id:
            return True
        low = execution.cum_nano - execution.size_nano
        return any(
            low < listed.cum_nano and listed.cum_nano - listed.size_nano < execution.cum_nano
            for listed in self.executions.values()
        )

    def known_nano(self) -> int:
        """Return the total quantity of the known executions, in nano-units."""
        return sum(execution.size_nano for execution in self.executions.values())

    def fills(self, lot_nano: int) -> list[Fill]:
        """The fills in whole lots, by `cum`.

        A lot of several executions has their average price, to the nearest nano, and their fees. It is left out while
        one of them is missing.
        """
        fills = []
        fee_micro = fee_nano = 0
        for execution in sorted(self.executions.values(), key=lambda e: e.cum_nano):
            low, part = divmod(execution.cum_nano - execution.size_nano, lot_nano)
            high = execution.cum_nano // lot_nano
            if not part:
                fee_micro = fee_nano = 0
            fee_micro, fee_nano = fee_micro + execution.fee_micro, fee_nano + execution.fee_nano
            if high == low:
                continue
            price: int | None = execution.price_nano
            if part or execution.cum_nano % lot_nano:
                price = self._average(low * lot_nano, high * lot_nano)
            if price is not None:
                fills.append(Fill(high, high - low, price, fee_micro, fee_nano))
            fee_micro = fee_nano = 0
        return fills

    def _average(self, low_nano: int, high_nano: int) -> int | None:
        """The price of (low, high], None while a part of it is not known."""
        size = notional = 0
        for execution in self.executions.values():
            part = min(high_nano, execution.cum_nano) - max(low_nano, execution.cum_nano - execution.size_nano)
            if part > 0:
                size += part
                notional += part * execution.price_nano
        if size != high_nano - low_nano:
            return None
        return (2 * notional + size) // (2 * size)
