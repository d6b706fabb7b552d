"""A statement of the account over some days, with its differences from the venue's record, and as CSV."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Final

from quantd.daemon.jobs.tasks.account_differences import Difference
from quantd.daemon.jobs.tasks.account_lines import AccountLine, StatementDay
from quantd.trading.display_text import csv_table, instant_text
from quantd.trading.instruments import Universe
from quantd.trading.orders import money_text, price_text, quantity_text

COLUMNS: Final = {
    "id": "the same in every statement of the run; the number of the journal's entry is its second part",
    "date": "the day of the account, ISO 8601",
    "time": "the instant of the movement, ISO 8601 in UTC",
    "kind": "opening, closing, the kind of movement, or difference",
    "symbol": "the instrument, empty without one",
    "quantity": "signed: a purchase is positive",
    "price": "the price of one unit",
    "amount": "signed change of cash; the balance for opening and closing",
    "currency": "the currency of price and amount",
    "reference": "the venue's identifier of a payment, or the basket of a trade",
    "text": "a note, or both sides of a difference and its remedy",
    "difference": "cash at the venue less cash here, on a line of the kind difference",
}
"""Column of the CSV -> meaning."""


def csv_text(
    run: str, universe: Universe, days: Sequence[StatementDay], differences: Mapping[date, Sequence[Difference]]
) -> str:
    """The statement of days as CSV, with their differences from the venue's record, by day.

    Decimals are exact. The amounts of a day add up to its closing less its opening balance. A difference moves no cash,
    so that its amount is 0.
    """
    lot_nano, currency = dict(zip(universe.symbols, universe.lot_nano, strict=True)), universe.currency
    rows: list[Iterable[object]] = [COLUMNS]
    for day in days:
        id_prefix = f"{run}-{day.day}"
        for kind, balance, lines in (("opening", day.opening_micro, day.lines), ("closing", day.closing_micro, ())):
            id = f"{id_prefix}-{kind}"
            rows.append((id, day.day, "", kind, "", "", "", money_text(balance), currency, "", "", ""))
            rows += (_cells(line, lot_nano.get(line.symbol, 1), currency) for line in lines)
        for number, difference in enumerate(differences.get(day.day, ()), 1):
            note = f"{difference_text(difference)}. {difference.remedy}"
            id = f"{id_prefix}-difference-{number}"
            fields = ("difference", "", "", "", "0.00", currency, difference.reference, note, difference.difference)
            rows.append((id, day.day, "", *fields))
    return csv_table(rows)


def difference_text(difference: Difference) -> str:
    """A difference between account and venue on one line, with both sides."""
    ours, venues = difference.ours or "nothing", difference.venues or "nothing"
    return f"{difference.what}: here {ours}, at the venue {venues}"


def _cells(line: AccountLine, lot: int, currency: str) -> tuple[str, ...]:
    return (
        line.id, line.day.isoformat(), instant_text(line.ts), line.kind, line.symbol,
        quantity_text(line.lots, lot) if line.lots else "", price_text(line.price_nano) if line.price_nano else "",
        money_text(line.amount_micro), currency, line.reference, line.text, "",
    )  # fmt: skip
