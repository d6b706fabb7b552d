"""`quantd report --statement`: the movements of the account's cash by day, as a table or as CSV for an accountant."""

from datetime import date
from pathlib import Path
from typing import Final

from msgspec import Struct

from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import answer, records, write_whole
from quantd.daemon.cli.places import Place
from quantd.daemon.jobs.tasks.account_differences import Difference, compared, simulated_record
from quantd.daemon.jobs.tasks.account_lines import account_record
from quantd.daemon.jobs.tasks.account_statement import csv_text, difference_text
from quantd.daemon.jobs.tasks.statement_job import saved_statement
from quantd.trading.exit_codes import CHECK_FAILED, DONE
from quantd.trading.orders import money_text


class Day(Struct, frozen=True):
    """A day of the account. `compared` is the number of its differences, or the reason why it was not compared."""

    date: str
    opening: str
    lines: int
    change: str
    closing: str
    at_venue: str
    equity: str
    compared: str
    differences: list[Difference]


COLUMNS: Final = {
    "date": "date", "opening": "opening:", "lines": "lines:", "change": "change:", "closing": "closing:",
    "at venue": "at_venue:", "equity": "equity:", "compared": "compared",
}  # fmt: skip


def show_statement(
    where: Place, run: str | None, period: tuple[date | None, date | None], out: Path | None, *, simulated: bool,
    as_json: bool,
) -> int:  # fmt: skip
    """Print a statement, and write it to `out`; returns exit code 1 when a day differs from the venue's record.

    With `simulated`, a day without a saved statement is compared with the reports of the simulated venue.
    """
    reader = where.reader(run)
    name, universe = reader.run.run, reader.run.universe
    record = account_record(name, universe, where.records().entries(name, 1))
    first, last = period
    days = [day for day in record.days if (first or date.min) <= day.day <= (last or date.max)]
    if not days:
        raise Failure(f"run {name} has no sample between --from and --to, so there is no statement", CHECK_FAILED)
    simulated_days = (
        compared(record, simulated_record(record, record.days), record.days, universe, 0) if simulated else {}
    )
    rows = []
    for day in days:
        saved = saved_statement(where.folder, name, day.day)
        # the reason why the day was not compared; empty for a day that was
        why_not, differences = "not compared", list[Difference]()
        if saved is not None:
            why_not, differences = saved.compared, saved.differences
        elif simulated:
            why_not, differences = "", simulated_days[day.day].differences
        rows.append(
            Day(
                day.day.isoformat(), money_text(day.opening_micro), len(day.lines),
                money_text(sum(line.amount_micro for line in day.lines)), money_text(day.closing_micro),
                saved.venue_cash if saved is not None else "", money_text(day.equity_micro),
                why_not or f"{len(differences)} differences", differences,
            )
        )  # fmt: skip
    if out is not None:
        differing = {day.day: row.differences for day, row in zip(days, rows, strict=True)}
        write_whole(out, csv_text(name, universe, days, differing).encode())
    lines = [
        text for row in rows for difference in row.differences
        for text in (f"{row.date}  {difference_text(difference)}", f"            {difference.remedy}")
    ]  # fmt: skip
    if out is not None:
        lines.append(f"{out}: {sum(row.lines for row in rows)} lines of run {name}, in {universe.currency}")
    document = {"run": name, "currency": universe.currency, "days": rows}
    answer(as_json, document, lambda: records(rows, COLUMNS), *lines)
    return CHECK_FAILED if any(row.differences for row in rows) else DONE
