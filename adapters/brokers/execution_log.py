"""Executions of one order at a venue, as intervals of the order's lots.

What can go wrong. The same execution arrives by the stream and by a list, before and after a restart, or in another
sequence. A list lacks an execution for a while, or for ever. A fill that is booked twice doubles a position.

An execution is therefore stored as the interval (cum - size, cum] of its order's lots, where `cum` is the filled
quantity after it. The intervals depend neither on the order in which executions arrive nor on a restart in between, so
that a report may be applied twice. A lot is reported once all executions that fill it are known: without one of them,
its average price would be wrong.

Where a venue reports ids instead of cumulative quantities, the intervals follow from sorting by time and id. In that
case all executions must be listed, because a missing one would shift the later intervals. An execution that a venue
never lists is replaced by an estimate, a bridge, from the quantity and average price of the order (Alpaca-API issue
176). A later listing of the same units is ignored.
"""

from typing import NamedTuple

import msgspec
from msgspec import Struct


class Execution(Struct, frozen=True):
    """One execution: unsigned nano-units of the instrument at a price, and its fee, in micro-currency or in nano-units
    of the instrument.

    A venue identifies an execution by an `id`, or by `cum_nano`, the filled quantity of the order after it.
    """

    ts: int
    size_nano: int
    price_nano: int
    id: str = ""
    cum_nano: int = 0
    fee_micro: int = 0
    fee_nano: int = 0


class Fill(NamedTuple):
    """Whole lots that one execution completes; `cum` is the number of filled lots of the order after it."""

    cum: int
    lots: int
    price_nano: int
    fee_micro: int
    fee_nano: int


class ExecutionLog(Struct):
    """The known executions of one order, by id or by cumulative quantity.

    `reported` holds the `cum` (filled lots after the fill) of those fills that were reported from the stream. `bridged`
    is True once missing executions were derived from the order's quantity and average price.
    """

    executions: dict[str | int, Execution] = {}
    reported: set[int] = set()
    bridged: bool = False

    def bridge(self, ts: int, cum_nano: int, average_nano: int, fee_micro: int = 0) -> bool:
        """Fill the gaps up to `cum_nano` with estimated executions, at the price that makes the order's average
        `average_nano`.

        Some venues report quantity and average price of an order and never list some of its executions. Once an
        execution is estimated, a listed execution of the same units is ignored. `fee_micro` is the fee of the whole
        order so far. Returns False, and adds nothing, if no positive price gives that average.

        `cum_nano` is the order's filled quantity by the venue's count, in nano-units: each execution covers an interval
        of it. `average_nano` is in nano-currency for one unit.
        """
        intervals = sorted(
            (execution.cum_nano - execution.size_nano, execution.cum_nano) for execution in self.executions.values()
        )
        gaps, covered = [], 0
        for start, end in [*intervals, (cum_nano, cum_nano)]:
            if start > covered:
                gaps.append((covered, start))
            covered = max(covered, end)
        size = sum(end - start for start, end in gaps)
        value = sum(execution.size_nano * execution.price_nano for execution in self.executions.values())
        # the average of the missing units, rounded to the nearest nano
        price = (average_nano * cum_nano - value + size // 2) // size if size else 0
        if price <= 0 or covered > cum_nano:
            return False
        unassigned_fee_micro = max(fee_micro - sum(execution.fee_micro for execution in self.executions.values()), 0)
        for start, end in gaps:
            # the last gap has the whole fee that no listed execution has
            fee = unassigned_fee_micro if end == gaps[-1][1] else 0
            self.executions[f"bridge {end}"] = Execution(ts, end - start, price, cum_nano=end, fee_micro=fee)
        self.bridged = True
        return True

    def add(self, *executions: Execution) -> None:
        """Add executions that are not known yet.

        Executions with an id are sorted by time and id, and get adjacent intervals of the order's quantity in this
        order. Executions with a cumulative quantity state their interval themselves.

        The interval of an execution ends at its `cum_nano`, the filled quantity of the order after it, in nano-units.
        """
        # sorted before the intervals are assigned: the order of arrival can differ after a restart
        for execution in sorted(executions, key=lambda execution: (execution.ts, execution.id)):
            key = execution.id or execution.cum_nano
            if execution.size_nano <= 0 or key in self.executions or (self.bridged and self._covers(execution)):
                continue
            if execution.id:
                execution = msgspec.structs.replace(execution, cum_nano=self.known_nano() + execution.size_nano)
            self.executions[key] = execution

    def _covers(self, execution: Execution) -> bool:
        """Whether a listed execution has units that were bridged (estimated earlier).

        An execution with an id states no interval, and always counts as having such units.
        """
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
        """Return the fills in whole lots, sorted by `cum`, the filled lots of the order after each.

        A lot that several executions fill has their average price, to the nearest nano, and the sum of their fees. A
        lot is omitted while one of its executions is missing.

        Quantities of executions are in nano-units; `cum_nano` is the filled quantity of the order after an execution.
        """
        fills = []
        fee_micro = fee_nano = 0
        for execution in sorted(self.executions.values(), key=lambda execution: execution.cum_nano):
            first_lot, lot_remainder = divmod(execution.cum_nano - execution.size_nano, lot_nano)
            last_lot = execution.cum_nano // lot_nano
            # the execution begins with a lot: fees of an earlier, unfinished lot do not belong to it
            if not lot_remainder:
                fee_micro = fee_nano = 0
            fee_micro, fee_nano = fee_micro + execution.fee_micro, fee_nano + execution.fee_nano
            if last_lot == first_lot:
                continue
            price: int | None = execution.price_nano
            if lot_remainder or execution.cum_nano % lot_nano:
                price = self._average_price(first_lot * lot_nano, last_lot * lot_nano)
            if price is not None:
                fills.append(Fill(last_lot, last_lot - first_lot, price, fee_micro, fee_nano))
            fee_micro = fee_nano = 0
        return fills

    def _average_price(self, low_nano: int, high_nano: int) -> int | None:
        """Return the average price of the units in (`low_nano`, `high_nano`], to the nearest nano-currency; None while
        an execution within this range is missing."""
        size = notional = 0
        for execution in self.executions.values():
            overlap = min(high_nano, execution.cum_nano) - max(low_nano, execution.cum_nano - execution.size_nano)
            if overlap > 0:
                size += overlap
                notional += overlap * execution.price_nano
        if size != high_nano - low_nano:
            return None
        return (2 * notional + size) // (2 * size)
