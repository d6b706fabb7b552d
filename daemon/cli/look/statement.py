"""Show the movements of the account's cash by day, or write them as CSV for an accountant."""

from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from quantd.daemon.cli.command import CONFIG_FILE, Command, ConfigFile, From, Json, Run, Sets, State, To
from quantd.daemon.cli.configuration import read
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import print_json, say, table, write_whole
from quantd.daemon.cli.places import place
from quantd.daemon.jobs.tasks.account_lines import account_record
from quantd.daemon.jobs.tasks.account_statement import csv_text, differing, money_exact, statement_of
from quantd.daemon.jobs.tasks.statement_job import FOLDER, StatementFile, difference_text
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
    where = place(config, state, sets)
    reader = where.reader(run)
    name, universe = reader.run.run, reader.run.universe
    record = account_record(name, universe, where.records().entries(name, 1))
    found = statement_of(record, name, universe, first, last)
    if not found.days:
        raise Failure(f"run {name} has no sample between --from and --to, so there is no statement", CHECK_FAILED)
    simulated = read(config, sets).broker.kind == "paper"
    rows: list[dict[str, Any]] = []
    for day in found.days:
        saved = _saved(where.folder / FOLDER / f"statement-{day.day}.json", name)
        if saved is not None:
            compared, differences = saved.compared, saved.differences
        elif simulated:
            compared, differences = "", differing(record.booked[day.day], record.reported[day.day], universe)
        else:
            compared, differences = "not compared", []
        rows.append({
            "date": day.day.isoformat(), "opening": money_exact(day.opening_micro), "lines": len(day.lines),
            "change": money_exact(sum(line.amount_micro for line in day.lines)),
            "closing": money_exact(day.closing_micro), "equity": money_exact(day.equity_micro),
            "compared": compared or f"{len(differences)} differences", "differences": differences,
        })  # fmt: skip
    if out is not None:
        write_whole(out, csv_text(found, universe).encode())
    differing_days = [row for row in rows if row["differences"]]
    if as_json:
        print_json({"run": name, "currency": found.currency, "days": msgspec.to_builtins(rows)})
    else:
        columns = ("date", "opening", "lines", "change", "closing", "equity", "compared")
        table(columns, [[str(row[c]) for c in columns] for row in rows], right=columns[1:6])
        for row in differing_days:
            for each in row["differences"]:
                say(f"{row['date']}  {difference_text(each)}")
        if out is not None:
            say(f"{out}: {sum(row['lines'] for row in rows)} lines of run {name}, in {found.currency}")
    return CHECK_FAILED if differing_days else DONE


def _saved(file: Path, run: str) -> StatementFile | None:
    """The document that the job wrote for a day; None without one of this run."""
    try:
        found = msgspec.json.decode(file.read_bytes(), type=StatementFile)
    except (OSError, msgspec.MsgspecError):
        return None
    return found if found.run == run else None


COMMAND: Final = Command("Look", 105, statement)
