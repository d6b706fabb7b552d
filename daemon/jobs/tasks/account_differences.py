"""The account and the venue's record of it, line by line: executions, their fees, payments, and the cash at the close.

Lines belong to periods: the days of the account, and the time since the last one. A movement that both sides have is no
difference, even if one side has it a day later.
"""

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from quantd.daemon.jobs.tasks.account_lines import AccountLine, AccountRecord, Execution, StatementDay
from quantd.trading.display_text import session_date
from quantd.trading.instruments import Universe
from quantd.trading.orders import money_text, price_text, quantity_text
from quantd.trading.ports import VenueFlow, VenueTrade

CENT_MICRO: Final = 10_000

DifferenceKind = Literal["execution", "fee", "missing_here", "missing_at_venue", "amount", "booking", "cash"]

ADOPT: Final = "quantd reconcile compares again; --adopt AGENT --reason R books what stays"

KINDS: Final[dict[DifferenceKind, tuple[str, str]]] = {
    "execution": ("an execution that only one side has", ADOPT),
    "fee": ("another fee for the same executions", ADOPT),
    "missing_here": ("a payment of the venue that the books lack", ADOPT),
    "missing_at_venue": ("a payment in the books that the venue lacks", "Ask the venue; " + ADOPT),
    "amount": ("a payment with another amount", "The venue changed it after it was booked: " + ADOPT),
    "booking": ("a payment with another date, symbol or kind", "No cash differs: the venue's entry counts for taxes"),
    "cash": ("another balance of cash at the close", "quantd reconcile names it; --fence or --adopt AGENT decides"),
}
"""Kind of difference -> its meaning and its remedy."""


class Difference(Struct, frozen=True):
    """A difference between the account and the venue's statement. One side is empty where it has nothing.

    `difference` is the venue's cash less the account's, as exact text.
    """

    what: str
    ours: str
    venues: str
    kind: DifferenceKind = "execution"
    difference: str = "0.00"
    remedy: str = ""
    reference: str = ""


class VenueRecord(NamedTuple):
    """The venue's executions and payments, and its cash after them; None if it moved during every query."""

    trades: Sequence[VenueTrade]
    flows: Sequence[VenueFlow]
    cash_micro: int | None


class Found(NamedTuple):
    """A difference in the period `at` with its instant and its effect on the account's cash."""

    at: int
    ts: int
    effect_micro: int
    difference: Difference


class DayDifferences(NamedTuple):
    """The differences of one day, and the venue's cash at its close; None if it is unknown."""

    differences: list[Difference]
    cash_micro: int | None


def starts_of(record: AccountRecord, days: Sequence[StatementDay]) -> tuple[int, int]:
    """The instants since which the venue's executions and payments are compared: a payment may be booked late."""
    start = max(days[0].since_ns, record.began)
    lines = [line.ts - 1 for period in (*(day.lines for day in days), record.later) for line in period if line.payment]
    return start, min([start, *lines])


def compared(
    record: AccountRecord, venue: VenueRecord, days: Sequence[StatementDay], universe: Universe, fenced_micro: int
) -> dict[date, DayDifferences]:
    """Compare the newest days of the account with the venue's record since the first of them.

    `fenced_micro` is cash at the venue that an operator decided to leave alone.
    """
    ends = [day.until_ns for day in days]
    trades: list[list[VenueTrade]] = [[] for _ in range(len(days) + 1)]
    for trade in venue.trades:
        trades[bisect_left(ends, trade.ts)].append(trade)
    theirs = [executions_of(period, universe) for period in trades]
    ours = [*(record.booked.get(day.day, []) for day in days), record.later_booked]
    starts = [*(day.since_ns for day in days), ends[-1]]
    entries = [
        *(entry._replace(ts=starts[entry.at]) for entry in execution_differences(ours, theirs, universe)),
        *_payment_differences(record, venue.flows, days, universe),
    ]
    entries = _undecided(entries, record.decisions)
    gap = None if venue.cash_micro is None else venue.cash_micro - fenced_micro - record.cash_micro
    result = {}
    for at, day in enumerate(days):
        differences = _ordered(entry.difference for entry in entries if entry.at == at)
        if gap is None:
            result[day.day] = DayDifferences(differences, None)
            continue
        day_gap = gap - sum(entry.effect_micro for entry in entries if entry.at > at)
        explained = sum(entry.effect_micro for entry in entries if entry.at <= at)
        if abs(day_gap) >= CENT_MICRO:
            differences.append(_cash(day, day_gap, explained))
        result[day.day] = DayDifferences(differences, day.closing_micro + day_gap)
    return result


def execution_differences(
    ours: Sequence[Sequence[Execution]], theirs: Sequence[Sequence[Execution]], universe: Universe
) -> list[Found]:
    """The executions that only one side has, and fees that differ by a cent or more, by period.

    The same lots and value of one symbol, side and period agree, however they were divided. What is left agrees by lots
    and price, also across periods.
    """
    lot = dict(zip(universe.symbols, universe.lot_nano, strict=True))
    differences: list[Found] = []
    keys = sorted(
        {(execution.symbol, execution.lots > 0) for side in (ours, theirs) for period in side for execution in period}
    )
    for symbol, bought in keys:
        size = lot.get(symbol, 1)
        unpaired: list[tuple[int, Execution]] = []
        waiting: dict[tuple[int, int], deque[tuple[int, Execution]]] = defaultdict(deque)
        for at, period in enumerate(zip(ours, theirs, strict=True)):
            mine, venues = (
                [execution for execution in side if execution.symbol == symbol and (execution.lots > 0) == bought]
                for side in period
            )
            cash = [sum(_value(execution, size) for execution in side) for side in (mine, venues)]
            lots = [sum(execution.lots for execution in side) for side in (mine, venues)]
            if lots[0] == lots[1] and abs(cash[0] - cash[1]) < CENT_MICRO:
                differences += _fees(at, symbol, mine, venues)
                continue
            unpaired += [(at, execution) for execution in mine]
            for venue_execution in venues:
                waiting[venue_execution.lots, venue_execution.price_nano].append((at, venue_execution))
        for at, execution in unpaired:
            if pairs := waiting[execution.lots, execution.price_nano]:
                other, venue = pairs.popleft()
                differences += _fees(max(at, other), symbol, [execution], [venue])
            else:
                text = _text(execution, size)
                differences.append(
                    _found(at, "execution", "execution", text, "", _value(execution, size) + (execution.fee_micro or 0))
                )
        for at, venue_execution in (pair for pairs in waiting.values() for pair in pairs):
            effect = -_value(venue_execution, size) - (venue_execution.fee_micro or 0)
            differences.append(_found(at, "execution", "execution", "", _text(venue_execution, size), effect))
    return differences


def executions_of(trades: Iterable[VenueTrade], universe: Universe) -> list[Execution]:
    """The venue's executions in lots of the universe."""
    lot = dict(zip(universe.symbols, universe.lot_nano, strict=True))
    return [
        Execution(trade.symbol, trade.units_nano // lot.get(trade.symbol, 1), trade.price_nano, trade.fee_micro)
        for trade in trades
    ]


def _value(execution: Execution, lot_nano: int) -> int:
    """Lots at their price, in micro-currency: nano-currency x nano-units / 1e12."""
    return execution.lots * execution.price_nano * lot_nano // 10**12


def _text(execution: Execution, lot_nano: int) -> str:
    return f"{quantity_text(execution.lots, lot_nano)} {execution.symbol} at {price_text(execution.price_nano)}"


def _fees(at: int, symbol: str, ours: Sequence[Execution], venues: Sequence[Execution]) -> list[Found]:
    venue_fees = [execution.fee_micro for execution in venues]
    if not venues or None in venue_fees:
        return []
    fees = sum(execution.fee_micro or 0 for execution in ours), sum(fee or 0 for fee in venue_fees)
    if abs(fees[0] - fees[1]) < CENT_MICRO:
        return []
    return [_found(at, "fee", f"fee {symbol}", money_text(fees[0]), money_text(fees[1]), fees[0] - fees[1])]


class _Payment(NamedTuple):
    """A dividend, an interest payment, a fee, a deposit or a withdrawal, of either side."""

    id: str
    ts: int
    kind: str
    symbol: str
    amount_micro: int

    @property
    def booking(self) -> tuple[date, str, str]:
        return session_date(self.ts), self.kind, self.symbol

    @property
    def text(self) -> str:
        return (
            f"{' '.join(filter(None, (self.kind, self.symbol)))} {money_text(self.amount_micro)} of {self.booking[0]}"
        )


def _payment_differences(
    record: AccountRecord, flows: Iterable[VenueFlow], days: Sequence[StatementDay], universe: Universe
) -> list[Found]:
    """Payments that only one side has, or that differ. They are paired by the venue's id, else by all but the id."""
    our_payments = [
        (at, _own(line))
        for at, lines in enumerate([*(day.lines for day in days), record.later])
        for line in lines if line.payment
    ]  # fmt: skip
    before = {line.reference for day in record.days if day.until_ns <= days[0].since_ns for line in day.lines}
    ends, (start, _) = [day.until_ns for day in days], starts_of(record, days)
    venues = {flow.id: _venues(flow, universe) for flow in flows if flow.id not in before}
    differences: list[Found] = []
    unpaired: list[tuple[int, _Payment]] = []
    for at, line in our_payments:
        if (paid := venues.pop(line.id, None)) is None:
            unpaired.append((at, line))
        elif abs(effect := paid.amount_micro - line.amount_micro) >= CENT_MICRO:
            differences.append(_found(at, "amount", f"amount of {line.kind}", line.text, paid.text, effect, paid))
        elif line.booking != paid.booking:
            differences.append(_found(at, "booking", f"booking of {line.kind}", line.text, paid.text, effect, paid))
    for at, line in unpaired:
        counterpart = next((payment for payment in venues.values() if _same(line, payment)), None)
        if counterpart is not None:
            del venues[counterpart.id]
        else:
            text = f"{line.kind} at the venue"
            differences.append(_found(at, "missing_at_venue", text, line.text, "", -line.amount_micro, line))
    for paid in venues.values():
        if paid.ts > start:
            at = bisect_left(ends, paid.ts)
            differences.append(_found(at, "missing_here", f"{paid.kind} here", "", paid.text, paid.amount_micro, paid))
    return differences


def _own(line: AccountLine) -> _Payment:
    return _Payment(line.reference, line.ts, line.kind, line.symbol, line.amount_micro)


def _venues(paid: VenueFlow, universe: Universe) -> _Payment:
    kind = paid.booking
    has_symbol = kind != "flow" and paid.symbol in universe.index
    return _Payment(paid.id, paid.ts, kind, paid.symbol if has_symbol else "", paid.amount_micro)


def _same(one: _Payment, other: _Payment) -> bool:
    return one.booking == other.booking and abs(one.amount_micro - other.amount_micro) < CENT_MICRO


def _undecided(differences: Sequence[Found], decisions: Iterable[tuple[int, int]]) -> list[Found]:
    """The differences without those that an operator's later decision booked or fenced: one, or all of that time."""
    undecided = list(differences)
    for ts, amount in decisions:
        earlier = [difference for difference in undecided if difference.ts <= ts and difference.effect_micro]
        single_match = [difference for difference in earlier if abs(difference.effect_micro - amount) < CENT_MICRO][:1]
        joint_match = (
            earlier if abs(sum(difference.effect_micro for difference in earlier) - amount) < CENT_MICRO else []
        )
        for difference in single_match or joint_match:
            undecided.remove(difference)
    return undecided


def _cash(day: StatementDay, day_gap: int, explained: int) -> Difference:
    """The balance at the close, and how much of its difference the other differences so far make up."""
    if abs(day_gap - explained) < CENT_MICRO:
        reason = "all of it by the other differences"
    elif explained:
        reason = f"{money_text(explained)} of it by the other differences, {money_text(day_gap - explained)} by no line"
    else:
        reason = "by no line"
    ours, venues = money_text(day.closing_micro), money_text(day.closing_micro + day_gap)
    return _found(0, "cash", f"cash at the close, {reason}", ours, venues, day_gap).difference


def _found(
    at: int, kind: DifferenceKind, what: str, ours: str, venues: str, effect: int, paid: _Payment | None = None
) -> Found:
    id, ts = (paid.id, paid.ts) if paid is not None else ("", 0)
    return Found(at, ts, effect, Difference(what, ours, venues, kind, money_text(effect), KINDS[kind][1], id))


def _ordered(differences: Iterable[Difference]) -> list[Difference]:
    """Differences by kind, in the order of KINDS."""
    place = list(KINDS).index
    return sorted(differences, key=lambda difference: place(difference.kind))
