"""Show the movements of the account's cash by day, or write them as CSV for an accountant."""

from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from msgspec.structs import replace

from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, From, Json, Run, Sets, State, To
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import print_json, say, table, write_whole
from quantd.daemon.cli.places import place
from quantd.trading.exit_codes import CHECK_FAILED, DONE


def statement(
    config: ConfigFile = CONFIG_FILE,
    state: State = None,
    sets: Sets = None,
    first: From = None,
    last: To = None,
    out: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the lines as CSV.")] = None,
    run: Run = None,
    as_json: Json = False,
) -> int:
    """Exit code 1 when a day differs from the venue's record."""
    from quantd.daemon.cli.configuration import read
    from quantd.daemon.jobs.tasks.account_differences import Difference
    from quantd.daemon.jobs.tasks.account_lines import account_record
    from quantd.daemon.jobs.tasks.account_statement import csv_text, difference_text, statement_of
    from quantd.daemon.jobs.tasks.statement_job import saved_statement, simulated_differences
    from quantd.trading.orders import money_text

    where = place(config, state, sets)
    reader = where.reader(run)
    name, universe = reader.run.run, reader.run.universe
    record = account_record(name, universe, where.records().entries(name, 1))
    account_statement = statement_of(record, name, universe, first, last)
    if not account_statement.days:
        raise Failure(f"run {name} has no sample between --from and --to, so there is no statement", CHECK_FAILED)
    simulated = read(config, sets).broker.kind == "paper"
    rows: list[dict[str, Any]] = []
    for day in account_statement.days:
        saved = saved_statement(where.folder, name, day.day)
        # `compared` is the reason why the day was not compared; empty for a day that was
        compared, differences = "not compared", list[Difference]()
        if saved is not None:
            compared, differences = saved.compared, saved.differences
        elif simulated:
            compared, differences = "", simulated_differences(record, day, universe)
        rows.append({
            "date": day.day.isoformat(), "opening": money_text(day.opening_micro), "lines": len(day.lines),
            "change": money_text(sum(line.amount_micro for line in day.lines)),
            "closing": money_text(day.closing_micro), "at venue": saved.venue_cash if saved is not None else "",
            "equity": money_text(day.equity_micro),
            "compared": compared or f"{len(differences)} differences", "differences": differences,
        })  # fmt: skip
    if out is not None:
        differing = {day.day: row["differences"] for day, row in zip(account_statement.days, rows, strict=True)}
        write_whole(out, csv_text(replace(account_statement, differences=differing), universe).encode())
    differing_days = [row for row in rows if row["differences"]]
    if as_json:
        days = [{key.replace(" ", "_"): value for key, value in row.items()} for row in rows]
        print_json({"run": name, "currency": account_statement.currency, "days": msgspec.to_builtins(days)})
    else:
        columns = ("date", "opening", "lines", "change", "closing", "at venue", "equity", "compared")
        table(columns, [[str(row[c]) for c in columns] for row in rows], right=columns[1:7])
        for row in differing_days:
            for difference in row["differences"]:
                say(f"{row['date']}  {difference_text(difference)}")
                say(f"            {difference.remedy}")
        if out is not None:
            say(f"{out}: {sum(row['lines'] for row in rows)} lines of run {name}, in {account_statement.currency}")
    return CHECK_FAILED if differing_days else DONE


COMMAND: Final = Command("Look", 105, statement)
