"""Executions of a venue that tells how much of an order was filled after each: their intervals of lots do not depend on the
order in which they are heard, nor on who hears them after a restart."""

from msgspec import Struct

from quantd.adapters.brokers.order_log import Sent
from quantd.trading.orders import Cause, Reports


class Execution(Struct, frozen=True):
    """Nano-units (cum_nano - size_nano, cum_nano] of an order were filled at `price_nano` at `ts`."""

    cum_nano: int
    size_nano: int
    price_nano: int
    ts: int


class Trail(Struct):
    """What is known of one order at its venue. `posted` is when a request that made it may last have left (0: never);
    `tried` when its
    end was last asked for by ourselves; `executions` by their end; `heard` the ends in lots that the stream has told."""

    venue_id: str = ""
    posted: int = 0
    tried: int = 0
    executions: dict[int, Execution] = {}
    heard: set[int] = set()

    def add(self, execution: Execution) -> None:
        """Take one; the same a second time changes nothing."""
        if execution.size_nano > 0:
            self.executions.setdefault(execution.cum_nano, execution)

    def known_nano(self) -> int:
        """How much is filled by the executions that are known, wherever they lie."""
        return sum(each.size_nano for each in self.executions.values())

    def fills(self, lot_nano: int) -> list[tuple[int, int, int, int]]:
        """(cum, lots, price_nano, ts) of each execution that completes a lot, in whole lots, by cum.

        Where a lot is made of several executions its price is their average, to the nearest nano; while one of those is
        missing, nothing is said of that lot.
        """
        found = []
        for each in sorted(self.executions.values(), key=lambda e: e.cum_nano):
            low, odd = divmod(each.cum_nano - each.size_nano, lot_nano)
            high = each.cum_nano // lot_nano
            if high == low:
                continue
            price: int | None = each.price_nano
            if odd or each.cum_nano % lot_nano:
                price = self._average(low * lot_nano, high * lot_nano)
            if price is not None:
                found.append((high, high - low, price, each.ts))
        return found

    def _average(self, low_nano: int, high_nano: int) -> int | None:
        """The price of (low, high], None while a part of it is not known."""
        size = notional = 0
        for each in self.executions.values():
            part = min(high_nano, each.cum_nano) - max(low_nano, each.cum_nano - each.size_nano)
            if part > 0:
                size += part
                notional += part * each.price_nano
        if size != high_nano - low_nano:
            return None
        return (2 * notional + size) // (2 * size)


def told(
    sent: Sent, trail: Trail, lot_nano: int, ts: int, ended: Cause | None, cum_nano: int, reason: str = "", *,
    news_only: bool = False,
) -> Reports | None:  # fmt: skip
    """One order as one report that may be taken again: every execution in its interval, then the state.

    `ended` is the cause that ended it, None while it is open, and `cum_nano` what the venue says was filled. With
    `news_only` fills that were told with it before are left out, and None is the answer when nothing is left.
    """
    whole = abs(sent.lots)
    cum = min(cum_nano // lot_nano, whole)
    lots, price, cums, causes = [], [], [], []
    for end, size, at, _ in trail.fills(lot_nano):
        if news_only and end in trail.heard:
            continue
        if news_only:
            trail.heard.add(end)
        lots.append(size)
        price.append(at)
        cums.append(end)
        causes.append(int(Cause.LAST_FILL if end == whole else Cause.PART_FILL))
    sent.cum = max(sent.cum, cum)
    if ended is not None:
        sent.ended = int(ended)
        if ended != Cause.LAST_FILL or not causes or causes[-1] != Cause.LAST_FILL:
            lots.append(0)
            price.append(0)
            cums.append(cum)
            causes.append(int(ended))
    elif not causes:
        if news_only and cum:
            return None
        lots.append(0)
        price.append(0)
        cums.append(0)
        causes.append(int(Cause.ACCEPTED))
    size = len(causes)
    return Reports(sent.sample, sent.n, ts, [sent.row] * size, cums, lots, price, [0] * size, causes, reason)
