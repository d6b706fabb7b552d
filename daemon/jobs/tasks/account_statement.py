"""A statement of the account over some days, compared with the venue's own executions and flows, and as CSV."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Final

from msgspec import Struct

from quantd.daemon.jobs.tasks.account_lines import AccountLine, AccountRecord, Execution, StatementDay
from quantd.trading.display_text import instant_text
from quantd.trading.instruments import MICRO, Universe
from quantd.trading.orders import money_text, price_text, quantity_text
from quantd.trading.ports import VenueFlow, VenueTrade

CENT_MICRO: Final = 10_000

COLUMNS: Final = {
    "id": "the same in every statement of the run; the number of the journal's entry is its second part",
    "date": "the day of the account, ISO 8601",
    "time": "the instant of the movement, ISO 8601 in UTC",
    "kind": "opening, closing, or the kind of movement",
    "symbol": "the instrument, empty without one",
    "quantity": "signed: a purchase is positive",
    "price": "the price of one unit",
    "amount": "signed change of cash; the balance for opening and closing",
    "currency": "the currency of price and amount",
    "reference": "the venue's identifier of a flow, or the basket of a trade",
    "text": "a note",
}
"""Column of the CSV -> meaning."""


class Difference(Struct, frozen=True):
    """What the account and the venue's statement do not share. One side is empty where it has nothing."""

    what: str
    ours: str
    venues: str


class Statement(Struct, frozen=True):
    """Days of an account. `compared` is empty when the venue's statement was compared, else the reason."""

    run: str
    currency: str
    days: list[StatementDay]
    compared: str
    differences: list[Difference]


def statement_of(
    record: AccountRecord, run: str, universe: Universe, first: date | None, last: date | None
) -> Statement:
    """The statement of the days from `first` to `last`, not compared."""
    days = [day for day in record.days if (first or date.min) <= day.day <= (last or date.max)]
    return Statement(run, universe.currency, days, "not compared: the venue was not asked", [])


def executions_of(trades: Iterable[VenueTrade], universe: Universe) -> list[Execution]:
    """The venue's executions in lots of the universe."""
    lot = dict(zip(universe.symbols, universe.lot_nano, strict=True))
    return [
        Execution(each.symbol, each.units_nano // lot.get(each.symbol, 1), each.price_nano, each.fee_micro)
        for each in trades
    ]


def differing(ours: Sequence[Execution], venues: Sequence[Execution], universe: Universe) -> list[Difference]:
    """The executions that only one side has, and fees that differ by a cent or more.

    The same lots and value of one symbol and side agree, however they were divided.
    """
    lot = dict(zip(universe.symbols, universe.lot_nano, strict=True))
    found: list[Difference] = []
    keys = sorted({(each.symbol, each.lots > 0) for each in (*ours, *venues)})
    for symbol, bought in keys:
        mine, theirs = (
            [each for each in side if each.symbol == symbol and (each.lots > 0) == bought] for side in (ours, venues)
        )
        # nano-currency x nano-units / 1e12: micro
        cash = [sum(e.lots * e.price_nano for e in side) * lot.get(symbol, 1) // 10**12 for side in (mine, theirs)]
        lots = [sum(each.lots for each in side) for side in (mine, theirs)]
        if lots[0] != lots[1] or abs(cash[0] - cash[1]) >= CENT_MICRO:
            counts = Counter((e.lots, e.price_nano) for e in mine)
            counts.subtract(Counter((e.lots, e.price_nano) for e in theirs))
            for (count, price), times in sorted(counts.items()):
                text = f"{quantity_text(count, lot.get(symbol, 1))} {symbol} at {price_text(price)}"
                found += [Difference("execution", text, "")] * times + [Difference("execution", "", text)] * -times
        known = [each.fee_micro for each in theirs]
        if theirs and None not in known:
            fees = sum(each.fee_micro or 0 for each in mine), sum(fee or 0 for fee in known)
            if abs(fees[0] - fees[1]) >= CENT_MICRO:
                found.append(Difference(f"fee {symbol}", money_text(fees[0]), money_text(fees[1])))
    return found


def differing_flows(ours: dict[str, int], venues: Iterable[VenueFlow]) -> list[Difference]:
    """The venue's flows that the account lacks, or has with another amount."""
    found = []
    for each in venues:
        own = ours.get(each.id)
        if own is None or abs(own - each.amount_micro) >= CENT_MICRO:
            text = "" if own is None else money_text(own)
            found.append(Difference(f"{each.kind} {each.id}", text, money_text(each.amount_micro)))
    return found


def csv_text(statement: Statement, universe: Universe) -> str:
    """The statement as CSV, with exact decimals; the lines of a day add up to its closing less its opening."""
    lot = dict(zip(universe.symbols, universe.lot_nano, strict=True))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for day in statement.days:
        for kind, balance, lines in (("opening", day.opening_micro, day.lines), ("closing", day.closing_micro, ())):
            id = f"{statement.run}-{day.day}-{kind}"
            writer.writerow((id, day.day, "", kind, "", "", "", money_exact(balance), statement.currency, "", ""))
            writer.writerows(_cells(each, lot.get(each.symbol, 1), statement.currency) for each in lines)
    return text.getvalue()


def money_exact(micro: int) -> str:
    """Micro-currency with all its digits, at least two: "-12.345678", "3.00"."""
    whole, rest = divmod(abs(micro), MICRO)
    digits = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{'-' if micro < 0 else ''}{whole}.{digits}"


def _cells(line: AccountLine, lot: int, currency: str) -> tuple[str, ...]:
    return (
        line.id, line.day.isoformat(), instant_text(line.ts), line.kind, line.symbol,
        quantity_text(line.lots, lot) if line.lots else "", price_text(line.price_nano) if line.price_nano else "",
        money_exact(line.amount_micro), currency, line.reference, line.text,
    )  # fmt: skip
