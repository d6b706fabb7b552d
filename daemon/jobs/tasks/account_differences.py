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

from quantd.daemon.jobs.tasks.account_lines import AccountLine, AccountRecord, StatementDay
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
    """The venue's executions and payments, and its cash after them; cash is None if it moved during every query.

    A simulated venue has no account of its own: its payments and its cash are None.
    """

    trades: Sequence[VenueTrade]
    flows: Sequence[VenueFlow] | None
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


def simulated_record(record: AccountRecord, days: Sequence[StatementDay]) -> VenueRecord:
    """The record of a simulated venue since the first of `days`: its execution reports."""
    return VenueRecord([trade for trade in record.reported if trade.ts > days[0].since_ns], None, None)


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
    our_executions = [*(record.booked.get(day.day, []) for day in days), record.later_booked]
    starts = [*(day.since_ns for day in days), ends[-1]]
    entries = [entry._replace(ts=starts[entry.at]) for entry in _execution_differences(our_executions, venue_trades)]
    if venue.flows is not None:
        entries += _payment_differences(record, venue.flows, days, universe)
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


def _execution_differences(ours: Sequence[Sequence[VenueTrade]], theirs: Sequence[Sequence[VenueTrade]]) -> list[Found]:
    """The executions that only one side has, and fees that differ by a cent or more, by period.

    `ours` and `theirs` have the executions of each period (a day). Executions of one symbol, side and period agree if
    their units and values add up to the same, however they were divided. The remaining executions agree by units and
    price, also across periods. The effect of a difference is the cash that the account lacks.
    """
    sides: dict[tuple[str, bool], dict[int, tuple[list[VenueTrade], list[VenueTrade]]]] = {}
    for number, periods in enumerate((ours, theirs)):
        for period, trades in enumerate(periods):
            for trade in trades:
                by_period = sides.setdefault((trade.symbol, trade.units_nano > 0), {})
                by_period.setdefault(period, ([], []))[number].append(trade)
    differences: list[Found] = []
    for symbol, bought in sorted(sides):
        our_unpaired: list[tuple[int, VenueTrade]] = []
        venue_by_terms: dict[tuple[int, int], deque[tuple[int, VenueTrade]]] = defaultdict(deque)
        for period, pair in sorted(sides[symbol, bought].items()):
            our_side, their_side = pair
            units = [sum(trade.units_nano for trade in side) for side in pair]
            cash = [sum(_value(trade) for trade in side) for side in pair]
            if units[0] == units[1] and abs(cash[0] - cash[1]) < CENT_MICRO:
                differences += _fee_differences(period, symbol, our_side, their_side)
                continue
            our_unpaired += [(period, trade) for trade in our_side]
            for trade in their_side:
                venue_by_terms[trade.units_nano, trade.price_nano].append((period, trade))
        for period, trade in our_unpaired:
            if candidates := venue_by_terms[trade.units_nano, trade.price_nano]:
                venue_period, counterpart = candidates.popleft()
                differences += _fee_differences(max(period, venue_period), symbol, [trade], [counterpart])
            else:
                # our text, then the venue's: "" on the side that lacks the execution
                effect = _value(trade) + (trade.fee_micro or 0)
                differences.append(_difference_at(period, "execution", "execution", _trade_text(trade), "", effect))
        for period, trade in (pair for candidates in venue_by_terms.values() for pair in candidates):
            effect = -_value(trade) - (trade.fee_micro or 0)
            differences.append(_difference_at(period, "execution", "execution", "", _trade_text(trade), effect))
    return differences


def _value(trade: VenueTrade) -> int:
    """Signed value of an execution in micro-currency: price (nano) * units (nano) / 1e12."""
    return trade.units_nano * trade.price_nano // 10**12


def _trade_text(trade: VenueTrade) -> str:
    return f"{quantity_text(trade.units_nano, 1)} {trade.symbol} at {price_text(trade.price_nano)}"


def _fee_differences(at: int, symbol: str, ours: Sequence[VenueTrade], venues: Sequence[VenueTrade]) -> list[Found]:
    venue_fees = [execution.fee_micro for execution in venues]
    if not venues or None in venue_fees:
        return []
    fees = sum(execution.fee_micro or 0 for execution in ours), sum(fee or 0 for fee in venue_fees)
    if abs(fees[0] - fees[1]) < CENT_MICRO:
        return []
    return [_difference_at(at, "fee", f"fee {symbol}", money_text(fees[0]), money_text(fees[1]), fees[0] - fees[1])]


def _payment_differences(
    record: AccountRecord, flows: Iterable[VenueFlow], days: Sequence[StatementDay], universe: Universe
) -> list[Found]:
    """Payments that only one side has, or that differ.

    `flows` are the venue's payments; payments in an earlier statement are left out. Payments are paired by the
    venue's id, or else by date, kind, symbol and amount. A payment at the venue before the first compared day is no
    difference.
    """
    our_payments = [
        (period, line)
        for period, lines in enumerate([*(day.lines for day in days), record.later])
        for line in lines if line.payment
    ]  # fmt: skip
    earlier_ids = {line.reference for day in record.days if day.until_ns <= days[0].since_ns for line in day.lines}
    ends, (start, _) = [day.until_ns for day in days], starts_of(record, days)
    venue_payments = {flow.id: _venue_payment(flow, universe) for flow in flows if flow.id not in earlier_ids}
    differences: list[Found] = []
    unpaired: list[tuple[int, AccountLine]] = []
    for period, ours in our_payments:
        if (theirs := venue_payments.pop(ours.reference, None)) is None:
            unpaired.append((period, ours))
            continue
        effect = theirs.amount_micro - ours.amount_micro
        if (kind := _difference_of(ours, theirs)) is not None:
            texts = f"{kind} of {ours.kind}", _payment_text(ours), _payment_text(theirs)
            differences.append(_difference_at(period, kind, *texts, effect, theirs))
    for period, ours in unpaired:
        counterpart = next((line for line in venue_payments.values() if _difference_of(ours, line) is None), None)
        if counterpart is not None:
            del venue_payments[counterpart.id]
        else:
            texts = f"{ours.kind} at the venue", _payment_text(ours), ""
            differences.append(_difference_at(period, "missing_at_venue", *texts, -ours.amount_micro, ours))
    for theirs in venue_payments.values():
        if theirs.ts > start:
            texts = f"{theirs.kind} here", "", _payment_text(theirs)
            period = bisect_left(ends, theirs.ts)
            differences.append(_difference_at(period, "missing_here", *texts, theirs.amount_micro, theirs))
    return differences


def _venue_payment(paid: VenueFlow, universe: Universe) -> AccountLine:
    kind = paid.booking
    symbol = paid.symbol if kind != "flow" and paid.symbol in universe.index else ""
    return AccountLine(paid.id, session_date(paid.ts), paid.ts, kind, symbol, 0, 0, paid.amount_micro, paid.id)


def _difference_of(ours: AccountLine, theirs: AccountLine) -> Literal["amount", "booking"] | None:
    """How a payment of the venue differs from one in the books; None where they agree to the cent."""
    if abs(theirs.amount_micro - ours.amount_micro) >= CENT_MICRO:
        return "amount"
    return None if _booking(ours) == _booking(theirs) else "booking"


def _booking(line: AccountLine) -> tuple[date, str, str]:
    return session_date(line.ts), line.kind, line.symbol


def _payment_text(line: AccountLine) -> str:
    day, *what = _booking(line)
    return f"{' '.join(filter(None, what))} {money_text(line.amount_micro)} of {day}"


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
    at: int, kind: DifferenceKind, what: str, ours: str, venues: str, effect: int, paid: AccountLine | None = None
) -> Found:
    id, ts = (paid.reference, paid.ts) if paid is not None else ("", 0)
    return Found(at, ts, effect, Difference(what, ours, venues, kind, money_text(effect), KINDS[kind][1], id))


def _ordered(differences: Iterable[Difference]) -> list[Difference]:
    """Differences from the venue's record, sorted by kind in the order of KINDS."""
    index = list(KINDS).index
    return sorted(differences, key=lambda difference: index(difference.kind))
