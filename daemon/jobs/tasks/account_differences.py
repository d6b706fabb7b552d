"""Compares the account with the venue's record, line by line: executions, fees, payments, and cash at the close.

Lines belong to periods: the days of the account, and the time since the last day. A movement that both sides have is no
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
"""The remedy of a difference that can be booked."""

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
    """A difference between the account (`ours`) and the venue's statement (`venues`); a side without the line is empty.

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
    """The venue's executions and payments, and its cash after them; cash is None if it moved during every query."""

    trades: Sequence[VenueTrade]
    flows: Sequence[VenueFlow]
    cash_micro: int | None


class Found(NamedTuple):
    """A difference from the venue's record.

    The fields are the index `at` of its period, its instant, and the cash that the account lacks because of it.
    """

    at: int
    ts: int
    effect_micro: int
    difference: Difference


class DayDifferences(NamedTuple):
    """The differences of one day, and the venue's cash at its close; cash is None if it is unknown."""

    differences: list[Difference]
    cash_micro: int | None


def starts_of(record: AccountRecord, days: Sequence[StatementDay]) -> tuple[int, int]:
    """The instants since which (executions, payments) of the venue are compared.

    The instant for payments may be earlier, because a payment may be booked late.
    """
    start = max(days[0].since_ns, record.began)
    lines = [line.ts - 1 for period in (*(day.lines for day in days), record.later) for line in period if line.payment]
    return start, min([start, *lines])


def compared(
    record: AccountRecord, venue: VenueRecord, days: Sequence[StatementDay], universe: Universe, fenced_micro: int
) -> dict[date, DayDifferences]:
    """Compare the newest days of the account with the venue's record since the first of these days.

    Returns the differences of each day. `days` are the newest days of `record`, in order. `fenced_micro` is cash at the
    venue that an operator excluded from the account. A gap is the venue's cash less the account's (micro), None where
    the venue's cash is unknown. A gap at the close of a day is a difference too; it states the part of the gap that the
    other differences explain.
    """
    # a period for each day, and one more after the newest day
    ends = [day.until_ns for day in days]
    venue_trades: list[list[VenueTrade]] = [[] for _ in range(len(days) + 1)]
    for trade in venue.trades:
        venue_trades[bisect_left(ends, trade.ts)].append(trade)
    venue_executions = [executions_of(period, universe) for period in venue_trades]
    our_executions = [*(record.booked.get(day.day, []) for day in days), record.later_booked]
    starts = [*(day.since_ns for day in days), ends[-1]]
    entries = [
        *(
            entry._replace(ts=starts[entry.at])
            for entry in execution_differences(our_executions, venue_executions, universe)
        ),
        *_payment_differences(record, venue.flows, days, universe),
    ]
    entries = _undecided(entries, record.decisions)
    gap = None if venue.cash_micro is None else venue.cash_micro - fenced_micro - record.cash_micro
    by_day = {}
    for period, day in enumerate(days):
        differences = _ordered(entry.difference for entry in entries if entry.at == period)
        if gap is None:
            by_day[day.day] = DayDifferences(differences, None)
            continue
        # the gap at the close of a day is the present one without the differences after that close
        day_gap = gap - sum(entry.effect_micro for entry in entries if entry.at > period)
        explained = sum(entry.effect_micro for entry in entries if entry.at <= period)
        if abs(day_gap) >= CENT_MICRO:
            differences.append(_cash_difference(day, day_gap, explained))
        by_day[day.day] = DayDifferences(differences, day.closing_micro + day_gap)
    return by_day


def execution_differences(
    ours: Sequence[Sequence[Execution]], theirs: Sequence[Sequence[Execution]], universe: Universe
) -> list[Found]:
    """The executions that only one side has, and fees that differ by a cent or more, by period.

    `ours` and `theirs` have the executions of each period (a day). Executions of one symbol, side and period agree if
    their lots and values add up to the same, however they were divided. The remaining executions agree by lots and
    price, also across periods. The effect of a difference is the cash that the account lacks.
    """
    lot_nano_of = dict(zip(universe.symbols, universe.lot_nano, strict=True))
    differences: list[Found] = []
    keys = sorted(
        {
            (execution.symbol, execution.lots > 0)
            for side in (ours, theirs)
            for executions in side
            for execution in executions
        }
    )
    for symbol, bought in keys:
        lot_nano = lot_nano_of.get(symbol, 1)
        our_unpaired: list[tuple[int, Execution]] = []
        venue_by_terms: dict[tuple[int, int], deque[tuple[int, Execution]]] = defaultdict(deque)
        for period, sides in enumerate(zip(ours, theirs, strict=True)):
            our_side, their_side = (
                [execution for execution in side if execution.symbol == symbol and (execution.lots > 0) == bought]
                for side in sides
            )
            cash = [sum(_value(execution, lot_nano) for execution in side) for side in (our_side, their_side)]
            lots = [sum(execution.lots for execution in side) for side in (our_side, their_side)]
            if lots[0] == lots[1] and abs(cash[0] - cash[1]) < CENT_MICRO:
                differences += _fee_differences(period, symbol, our_side, their_side)
                continue
            our_unpaired += [(period, execution) for execution in our_side]
            for venue_execution in their_side:
                venue_by_terms[venue_execution.lots, venue_execution.price_nano].append((period, venue_execution))
        for period, execution in our_unpaired:
            if candidates := venue_by_terms[execution.lots, execution.price_nano]:
                venue_period, counterpart = candidates.popleft()
                differences += _fee_differences(max(period, venue_period), symbol, [execution], [counterpart])
            else:
                # our text, then the venue's: "" on the side that lacks the execution
                text = _execution_text(execution, lot_nano)
                differences.append(
                    _difference_at(
                        period,
                        "execution",
                        "execution",
                        text,
                        "",
                        _value(execution, lot_nano) + (execution.fee_micro or 0),
                    )
                )
        for period, venue_execution in (pair for candidates in venue_by_terms.values() for pair in candidates):
            effect = -_value(venue_execution, lot_nano) - (venue_execution.fee_micro or 0)
            differences.append(
                _difference_at(period, "execution", "execution", "", _execution_text(venue_execution, lot_nano), effect)
            )
    return differences


def executions_of(trades: Iterable[VenueTrade], universe: Universe) -> list[Execution]:
    """The venue's executions in lots of the universe."""
    lot = dict(zip(universe.symbols, universe.lot_nano, strict=True))
    return [
        Execution(trade.symbol, trade.units_nano // lot.get(trade.symbol, 1), trade.price_nano, trade.fee_micro)
        for trade in trades
    ]


def _value(execution: Execution, lot_nano: int) -> int:
    """Signed value of an execution in micro-currency: price (nano) * units (nano) / 1e12."""
    return execution.lots * execution.price_nano * lot_nano // 10**12


def _execution_text(execution: Execution, lot_nano: int) -> str:
    return f"{quantity_text(execution.lots, lot_nano)} {execution.symbol} at {price_text(execution.price_nano)}"


def _fee_differences(at: int, symbol: str, ours: Sequence[Execution], venues: Sequence[Execution]) -> list[Found]:
    venue_fees = [execution.fee_micro for execution in venues]
    if not venues or None in venue_fees:
        return []
    fees = sum(execution.fee_micro or 0 for execution in ours), sum(fee or 0 for fee in venue_fees)
    if abs(fees[0] - fees[1]) < CENT_MICRO:
        return []
    return [_difference_at(at, "fee", f"fee {symbol}", money_text(fees[0]), money_text(fees[1]), fees[0] - fees[1])]


class _Payment(NamedTuple):
    """A dividend, an interest payment, a fee, a deposit or a withdrawal, of the account or of the venue."""

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
    """Payments that only one side has, or that differ.

    `flows` are the venue's payments; payments in an earlier statement are left out. Payments are paired by the
    venue's id, or else by date, kind, symbol and amount. A payment at the venue before the first compared day is no
    difference.
    """
    our_payments = [
        (period, _our_payment(line))
        for period, lines in enumerate([*(day.lines for day in days), record.later])
        for line in lines if line.payment
    ]  # fmt: skip
    earlier_ids = {line.reference for day in record.days if day.until_ns <= days[0].since_ns for line in day.lines}
    ends, (start, _) = [day.until_ns for day in days], starts_of(record, days)
    venue_payments = {flow.id: _venue_payment(flow, universe) for flow in flows if flow.id not in earlier_ids}
    differences: list[Found] = []
    unpaired: list[tuple[int, _Payment]] = []
    for period, ours in our_payments:
        if (theirs := venue_payments.pop(ours.id, None)) is None:
            unpaired.append((period, ours))
        elif abs(effect := theirs.amount_micro - ours.amount_micro) >= CENT_MICRO:
            differences.append(
                _difference_at(period, "amount", f"amount of {ours.kind}", ours.text, theirs.text, effect, theirs)
            )
        elif ours.booking != theirs.booking:
            differences.append(
                _difference_at(period, "booking", f"booking of {ours.kind}", ours.text, theirs.text, effect, theirs)
            )
    for period, ours in unpaired:
        counterpart = next((payment for payment in venue_payments.values() if _agree(ours, payment)), None)
        if counterpart is not None:
            del venue_payments[counterpart.id]
        else:
            text = f"{ours.kind} at the venue"
            differences.append(
                _difference_at(period, "missing_at_venue", text, ours.text, "", -ours.amount_micro, ours)
            )
    for theirs in venue_payments.values():
        if theirs.ts > start:
            period = bisect_left(ends, theirs.ts)
            differences.append(
                _difference_at(
                    period, "missing_here", f"{theirs.kind} here", "", theirs.text, theirs.amount_micro, theirs
                )
            )
    return differences


def _our_payment(line: AccountLine) -> _Payment:
    return _Payment(line.reference, line.ts, line.kind, line.symbol, line.amount_micro)


def _venue_payment(paid: VenueFlow, universe: Universe) -> _Payment:
    kind = paid.booking
    has_symbol = kind != "flow" and paid.symbol in universe.index
    return _Payment(paid.id, paid.ts, kind, paid.symbol if has_symbol else "", paid.amount_micro)


def _agree(payment: _Payment, venue_payment: _Payment) -> bool:
    return (
        payment.booking == venue_payment.booking and abs(payment.amount_micro - venue_payment.amount_micro) < CENT_MICRO
    )


def _undecided(differences: Sequence[Found], decisions: Iterable[tuple[int, int]]) -> list[Found]:
    """The differences that no later decision of an operator booked or fenced (excluded from the account).

    `decisions` are (instant, cash in micro). To within a cent, a decision settles the earlier difference of the same
    amount, or else all earlier differences if their sum is its amount.
    """
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


def _cash_difference(day: StatementDay, day_gap: int, explained: int) -> Difference:
    """The difference between account and venue in the balance at the close of a day.

    `day_gap` is its amount, the venue's cash less the account's in micro; `explained` is the part that the other
    differences up to this day account for.
    """
    if abs(day_gap - explained) < CENT_MICRO:
        reason = "all of it by the other differences"
    elif explained:
        reason = f"{money_text(explained)} of it by the other differences, {money_text(day_gap - explained)} by no line"
    else:
        reason = "by no line"
    ours, venues = money_text(day.closing_micro), money_text(day.closing_micro + day_gap)
    # the caller knows the day: the period 0 is not read
    return _difference_at(0, "cash", f"cash at the close, {reason}", ours, venues, day_gap).difference


def _difference_at(
    at: int, kind: DifferenceKind, what: str, ours: str, venues: str, effect: int, paid: _Payment | None = None
) -> Found:
    id, ts = (paid.id, paid.ts) if paid is not None else ("", 0)
    return Found(at, ts, effect, Difference(what, ours, venues, kind, money_text(effect), KINDS[kind][1], id))


def _ordered(differences: Iterable[Difference]) -> list[Difference]:
    """Differences from the venue's record, sorted by kind in the order of KINDS."""
    index = list(KINDS).index
    return sorted(differences, key=lambda difference: index(difference.kind))
