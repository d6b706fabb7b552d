"""`quantd report --statement`: the movements of the account's cash by day, as a table or as CSV for an accountant."""

from datetime import date
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import answer, records, write_whole
from quantd.daemon.cli.places import Place
from quantd.daemon.jobs.tasks.account_differences import Difference
from quantd.daemon.jobs.tasks.account_lines import account_record
from quantd.daemon.jobs.tasks.account_statement import csv_text, difference_text, statement_of
from quantd.daemon.jobs.tasks.statement_job import saved_statement, simulated_differences
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
    statement = statement_of(record, name, universe, *period)
    if not statement.days:
        raise Failure(f"run {name} has no sample between --from and --to, so there is no statement", CHECK_FAILED)
    rows = []
    for day in statement.days:
        saved = saved_statement(where.folder, name, day.day)
        # the reason why the day was not compared; empty for a day that was
        compared, differences = "not compared", list[Difference]()
        if saved is not None:
            compared, differences = saved.compared, saved.differences
        elif simulated:
            compared, differences = "", simulated_differences(record, day, universe)
        rows.append(
            Day(
                day.day.isoformat(), money_text(day.opening_micro), len(day.lines),
                money_text(sum(line.amount_micro for line in day.lines)), money_text(day.closing_micro),
                saved.venue_cash if saved is not None else "", money_text(day.equity_micro),
                compared or f"{len(differences)} differences", differences,
            )
        )  # fmt: skip
    if out is not None:
        differing = {day.day: row.differences for day, row in zip(statement.days, rows, strict=True)}
        write_whole(out, csv_text(replace(statement, differences=differing), universe).encode())
    lines = [
        text for row in rows for difference in row.differences
        for text in (f"{row.date}  {difference_text(difference)}", f"            {difference.remedy}")
    ]  # fmt: skip
    if out is not None:
        lines.append(f"{out}: {sum(row.lines for row in rows)} lines of run {name}, in {statement.currency}")
    document = {"run": name, "currency": statement.currency, "days": rows}
    answer(as_json, document, lambda: records(rows, COLUMNS), *lines)
    return CHECK_FAILED if any(row.differences for row in rows) else DONE
