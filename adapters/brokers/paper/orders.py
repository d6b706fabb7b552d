"""A basket at the paper venue: the state of each row, and all reports about it.

What can go wrong. Bars arrive at their close. When a cancel takes effect, a bar that opened before it may still be
unseen, and would have filled the order. A row (order) with a cancel therefore waits for that bar, for the row's own
end, or for the length of the longest bar.

Reports are stored, because a query repeats them. A split rescales them with the rows, so that the intervals of lots
stay contiguous in current lots. Every received row has a report, so that `unseen` (rows never received) follows from
the reports.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from quantd.trading.execution import split_row, split_stop
from quantd.trading.orders import Cause, OrderBasket, Reports
from quantd.trading.sessions import DAY_NS

NEVER: Final = 2**63 - 1
"""The end of a row that is good till cancelled."""

LONGEST_BAR_NS: Final = DAY_NS
"""The longest bar: after it, every bar that opened before a cancel has arrived."""

_ACCEPTED, _REJECTED = int(Cause.ACCEPTED), int(Cause.REJECTED)
_CANCELLED, _EXPIRED = int(Cause.CANCELLED), int(Cause.EXPIRED)


class Resting(Struct, array_like=True):
    """One basket at the paper venue, as lists with an entry for each row (order).

    A row can fill at opens in its window [after, until). `after` starts at the basket's time plus latency and moves to
    the close of each bar seen. `until` is the row's end or the time of effect of its cancel. `open` are the working
    rows in order, `cancelling` those with a cancel, `due` the earliest `until` of a working row. `cum` are filled lots,
    `charged_micro` commissions before an order's minimum applies, -1 until the first fill. `kind` has the Kind of each
    row, and is empty if all are LIMIT; `stop_nano` are triggers of stops, `triggered` the triggered rows.
    """

    sample: int
    n: int
    sym: list[int]
    lots: list[int]
    worst_nano: list[int]
    end: list[int]
    after: list[int]
    until: list[int]
    cum: list[int]
    charged_micro: list[int]
    open: list[int]
    cancelling: list[int]
    due: int
    reports: list[Reports]
    kind: list[int] = []
    stop_nano: list[int] = []
    triggered: list[int] = []

    def say(self, ts: int, rows: list[int], causes: list[int], reason: str = "") -> Reports:
        """Add and return a report without fills."""
        zeros = [0] * len(rows)
        cum = [self.cum[row] for row in rows]
        report = Reports(self.sample, self.n, ts, rows, cum, zeros, zeros, zeros, causes, reason)
        self.reports.append(report)
        return report

    def fill_whole(self, report: Reports, ts_event: int, charged_micro: list[int]) -> None:
        """Fill every row completely on one bar that closed at `ts_event`. `report` has the fills, `charged_micro` the
        commission of each row before its minimum applies."""
        self.after = [ts_event] * len(self.sym)
        self.cum, self.charged_micro = list(report.cum), charged_micro
        self.reports.append(report)
        self.keep([])

    def unseen(self, rows: Sequence[int]) -> list[int]:
        """Return the `rows` that the venue never received: every received row has a report."""
        seen = {row for report in self.reports for row in report.row}
        return [row for row in rows if row not in seen]

    def take(self, ts: int, rows: list[int], refused: str = "") -> Reports:
        """Accept new rows. Rows without lots or a limit are REJECTED; with a reason `refused`, all rows are
        rejected."""
        reason = refused
        causes = [_REJECTED if refused else _ACCEPTED] * len(rows)
        for k, row in enumerate(rows):
            if not self.lots[row] or self.worst_nano[row] <= 0:
                causes[k] = _REJECTED
                fault = f"a limit of {self.worst_nano[row]} nano" if self.lots[row] else "no lots"
                reason = reason or f"row {row} has {fault}"
        report = self.say(ts, rows, causes, reason)
        accepted = [row for row, cause in zip(rows, causes, strict=True) if cause == _ACCEPTED] if reason else rows
        self.keep([*self.open, *accepted] if self.open else accepted)
        return report

    def keep(self, rows: list[int]) -> None:
        """Set the rows (orders of the basket) that are still open."""
        self.open = rows
        if self.cancelling:
            self.cancelling = [row for row in self.cancelling if row in rows]
        self.due = min([self.until[row] for row in rows], default=NEVER)

    def cancel(self, row: int, at: int) -> Reports | None:
        """Cancel an open row (order) at `at` (ns UTC).

        Returns the report of the row. Returns None for an ended row, and while an unseen bar that opened before `at`
        may still fill the row.

        The row can fill at opens in the window [`after`, `until`); `due` is the earliest `until` of an open row.
        """
        if self.until[row] <= at:
            return None  # the row ends or is cancelled at `at` or earlier already
        due, self.until[row] = self.due, at
        if self.after[row] < at:
            self.cancelling.append(row)
            self.due = min(self.due, at)
            return None
        # a halt cancels thousands of rows one by one, so that a pass over all of them for each is too slow
        open_rows = self.open.copy()  # a report may hold the list
        open_rows.remove(row)
        # `keep` computes `due` anew, which is slow; it stays while the first open row still ends then
        if self.cancelling or not open_rows or self.until[open_rows[0]] != due:
            self.keep(open_rows)
        self.open = open_rows
        return self.say(at, [row], [_CANCELLED])

    def _cancelled(self, ts: int, rows: list[int], reason: str = "") -> Reports | None:
        """End working rows as CANCELLED; None if `rows` is empty."""
        if not rows:
            return None
        report = self.say(ts, rows, [_CANCELLED] * len(rows), reason)
        self.keep([row for row in self.open if row not in rows])
        return report

    def settle(self, ts: int) -> list[Reports]:
        """End the rows whose window has closed at `ts`: as expired, or as cancelled once no unseen bar can fill them.

        A cancelled row ends when its last bar was seen, when its own end has passed, or when no bar that opened before
        the cancel can still be in progress.

        The window of a row is [`after`, `until`) in ns UTC: `after` moves to the close of each bar that was seen. `end`
        is the row's own end, 0 without one.
        """
        ends: dict[tuple[int, int], list[int]] = {}
        open_rows = []
        for row in self.open:
            until, end = self.until[row], self.end[row]
            if until > ts:
                open_rows.append(row)
            elif row not in self.cancelling:
                ends.setdefault((until, _EXPIRED), []).append(row)
            elif self.after[row] >= until or 0 < end <= ts or until + LONGEST_BAR_NS <= ts:
                ends.setdefault((until, _CANCELLED), []).append(row)
            else:
                open_rows.append(row)
        reports = [self.say(until, rows, [cause] * len(rows)) for (until, cause), rows in ends.items()]
        self.keep(open_rows)
        return reports

    def split(self, ts: int, symbol: int, numerator: int, denominator: int) -> Reports | None:
        """Rescale the rows and reports of a symbol after a split. Rows with less than one lot unfilled are cancelled;
        their report is returned, None without any."""
        rows = [row for row, column in enumerate(self.sym) if column == symbol]
        if not rows:
            return None
        for row in rows:
            self.lots[row], self.cum[row], self.worst_nano[row] = split_row(
                self.lots[row], self.cum[row], self.worst_nano[row], numerator, denominator
            )
            if self.stop_nano:
                self.stop_nano[row] = split_stop(self.stop_nano[row], self.lots[row] > 0, numerator, denominator)
        self.reports = [_rescaled(report, rows, numerator, denominator) for report in self.reports]
        empty = [row for row in rows if row in self.open and self.cum[row] >= abs(self.lots[row])]
        return self._cancelled(ts, empty, f"the split {numerator}:{denominator} left less than a lot")

    def void(self, ts: int, symbol: int) -> Reports | None:
        """Cancel the open orders of a delisted symbol, and return their report; None without any."""
        return self._cancelled(ts, [row for row in self.open if self.sym[row] == symbol], "delisted")

    def reports_of(self, rows: set[int]) -> list[Reports]:
        return [selected for report in self.reports if (selected := _part_of_report(report, rows)) is not None]


def accept(basket: OrderBasket, latency_ns: int, some: Sequence[int] | None = None, refused: str = "") -> Resting:
    """Return the venue's record of a new basket, or of `some` of its rows, with its first report. A text in `refused`
    rejects all rows for that reason.

    A row can fill from the basket's time plus the latency until its end (NEVER if it has none). `charged_micro` is -1
    until the first fill. No row is open before `take` has accepted it.
    """
    size = len(basket.sym)
    resting = Resting(
        sample=basket.sample,
        n=basket.n,
        sym=list(basket.sym),
        lots=list(basket.lots),
        worst_nano=list(basket.worst_nano),
        end=list(basket.end),
        after=[basket.ts + latency_ns] * size,
        until=[end or NEVER for end in basket.end],
        cum=[0] * size,
        charged_micro=[-1] * size,
        open=[],
        cancelling=[],
        due=NEVER,
        reports=[],
        kind=list(basket.kind),
        stop_nano=list(basket.stop_nano),
    )
    resting.take(basket.ts, list(range(size) if some is None else some), refused)
    return resting


def _part_of_report(report: Reports, rows: set[int]) -> Reports | None:
    """Return the part of a report that is about `rows`; None if it has none of them."""
    indices = [k for k, row in enumerate(report.row) if row in rows]
    if len(indices) == len(report.row):
        return report
    if not indices:
        return None
    columns = (report.row, report.cum, report.lots, report.price_nano, report.fee_micro, report.cause)
    row, cum, lots, price, fee, cause = ([column[k] for k in indices] for column in columns)
    return Reports(report.sample, report.n, report.ts, row, cum, lots, price, fee, cause, report.reason)


def _rescaled(report: Reports, rows: Sequence[int], numerator: int, denominator: int) -> Reports:
    """Return a past report in the lots and prices after a split; a row's intervals of lots stay contiguous."""
    cum, lots, price = list(report.cum), list(report.lots), list(report.price_nano)
    for k, row in enumerate(report.row):
        if row in rows:
            previous_cum = (cum[k] - lots[k]) * numerator // denominator
            cum[k] = cum[k] * numerator // denominator
            lots[k] = cum[k] - previous_cum
            price[k] = price[k] * denominator // numerator
    return Reports(
        report.sample, report.n, report.ts, report.row, cum, lots, price, report.fee_micro, report.cause, report.reason
    )
